"""A digest by hand: one query per metric, each with its value for every day that the band takes.

python -m benchmarks.plain.digest STORE.duckdb
"""

import datetime as dt
import sys

import duckdb

ZONE = "Europe/London"

#: Days that tell what is usual.
DAYS = 182

Courses = dict[str, dict[dt.date, float]]

INSIDE = "{at} >= $since AND {at} < $until"
DAY = f"CAST({{at}} AT TIME ZONE 'UTC' AT TIME ZONE '{ZONE}' AS DATE)"
ORDERS = f"""SELECT {DAY} AS day, {{value}} AS value FROM orders
WHERE kind = 'sale' AND {INSIDE} GROUP BY day""".replace("{at}", "ordered_at")
RATINGS = f"""SELECT {DAY} AS day, {{value}} AS value FROM ratings
WHERE kind = '{{kind}}' AND {INSIDE} GROUP BY day""".replace("{at}", "ratings.at")
VISITS = f"""SELECT {DAY.replace("{at}", "first_at")} AS day, {{value}} AS value FROM (
  SELECT min(events.at) AS first_at,
    max(CASE WHEN order_id IS NOT NULL OR name IN ('purchase', 'order')
    THEN 1 ELSE 0 END) AS ordered
  FROM events WHERE {INSIDE.replace("{at}", "events.at")} GROUP BY person_id, session_id
) GROUP BY day"""

QUERIES = {
    "Revenue": ORDERS.format(value="sum(amount_cents)"),
    "Buyers": ORDERS.format(value="count(DISTINCT person_id)"),
    "New buyers": f"""SELECT {DAY.replace("{at}", "first_at")} AS day, count(*) AS value FROM (
  SELECT min(ordered_at) AS first_at FROM orders WHERE kind = 'sale' AND person_id IS NOT NULL
  GROUP BY person_id
) WHERE {INSIDE.replace("{at}", "first_at")} GROUP BY day""",
    "Active": f"""SELECT day, count(DISTINCT person_id) AS value FROM (
  SELECT {DAY.replace("{at}", "events.at")} AS day, person_id FROM events
  WHERE {INSIDE.replace("{at}", "events.at")}
  UNION ALL SELECT {DAY.replace("{at}", "ordered_at")}, person_id FROM orders
  WHERE kind = 'sale' AND person_id IS NOT NULL AND {INSIDE.replace("{at}", "ordered_at")}
) GROUP BY day""",
    "Sessions": VISITS.format(value="count(*)"),
    "Conversion": VISITS.format(value="sum(ordered) / count(*)"),
    "Average order": ORDERS.format(value="sum(amount_cents) / count(*)"),
    "Satisfied (CSAT)": RATINGS.format(
        kind="csat", value="sum(CASE WHEN score >= 4 THEN 1 ELSE 0 END) / count(*)"
    ),
    "NPS": RATINGS.format(
        kind="nps",
        value="100 * sum(CASE WHEN score >= 9 THEN 1 WHEN score <= 6 THEN -1 ELSE 0 END) "
        "/ count(*)",
    ),
}


def courses(connection: duckdb.DuckDBPyConnection, end: dt.date) -> Courses:
    """Label -> day -> value, up to but without `end`."""
    since, until = (
        connection.execute(
            f"SELECT CAST(? AS TIMESTAMP) AT TIME ZONE '{ZONE}' AT TIME ZONE 'UTC'", [day]
        ).fetchone()[0]  # type: ignore[index]
        for day in (end - dt.timedelta(days=DAYS), end)
    )
    found: Courses = {}
    for label, query in QUERIES.items():
        rows = connection.execute(query, {"since": since, "until": until}).fetchall()
        found[label] = {day: float(value) for day, value in rows}
    return found


if __name__ == "__main__":
    with duckdb.connect(sys.argv[1], read_only=True) as opened:
        for name, by_day in courses(opened, dt.date(2011, 12, 10)).items():
            last = max(by_day)
            print(f"{name}: {by_day[last]:,.4g} on {last}")
