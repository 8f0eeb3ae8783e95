"""digest: its nine metrics, their bands and the gate, beside one query by hand per metric."""

import datetime as dt
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import duckdb

from analytics.result import Figure, Result
from benchmarks.plain.digest import Courses, courses
from benchmarks.side_by_side import Case, Row, measure, same
from benchmarks.stores import TODAY, asking, scripted, twin_of
from storage.store import Store

QUESTION = "digest"

#: Events of a visit, visits per order, orders per rating, days of data, and people per visit.
EVENTS, VISITS_PER_ORDER, ORDERS_PER_RATING, DAYS, VISITS_PER_PERSON = 5, 25, 2, 200, 3

VISITS = """CREATE TEMP TABLE visits AS
SELECT k, 'p' || (hash(k) % $people) AS person_id, 's' || k AS session_id,
  TIMESTAMP '2011-12-09 23:55:00' - to_seconds(($visits - 1 - k) * $seconds // $visits) AS at
FROM range($visits) r(k)"""

ROWS = (
    """INSERT INTO events BY NAME SELECT session_id || '-' || i AS event_id, person_id, session_id,
  v.at + to_seconds(40 * i) AS at,
  CASE WHEN i = 0 THEN 'visit' WHEN i < 4 THEN 'view_item' WHEN k % $per_order = 0 THEN 'purchase'
    ELSE 'add_to_cart' END AS name,
  CASE WHEN i = 4 AND k % $per_order = 0 THEN 'o' || k END AS order_id,
  ['search', 'email', 'ads'][1 + k % 3] AS channel, ['mobile', 'desktop'][1 + k % 2] AS device,
  ['France', 'Spain', 'Italy', 'Norway'][1 + k // 7 % 4] AS country, 'made up' AS source
FROM visits v, range($events) r(i)""",
    """INSERT INTO orders BY NAME SELECT 'o' || k AS order_id, person_id,
  v.at + INTERVAL 160 SECOND AS ordered_at, 'sale' AS kind,
  500 + CAST(hash(k) % 20000 AS BIGINT) AS amount_cents,
  ['France', 'Spain', 'Italy', 'Norway'][1 + k // 7 % 4] AS country, 'made up' AS source
FROM visits v WHERE k % $per_order = 0""",
    """INSERT INTO ratings BY NAME SELECT 'r' || k AS rating_id, person_id, v.at,
  ['csat', 'nps'][1 + k // $per_order % 2] AS kind,
  1 + CAST(hash(k) % 5 AS BIGINT) AS score, 'made up' AS source
FROM visits v WHERE k % ($per_order * $per_rating) IN (0, $per_order)""",
    """INSERT INTO people BY NAME SELECT person_id, min(v.at) AS first_seen_at, 'made up' AS source
FROM visits v GROUP BY person_id""",
)


def made_up(file: Path, events: int) -> Path:
    """A store of so many events, in the order of time, up to the evening of the last day."""
    Store.open(f"duckdb:///{file}").close()
    visits = events // EVENTS
    said = {
        "visits": visits,
        "people": max(visits // VISITS_PER_PERSON, 1),
        "seconds": DAYS * 86_400,
        "events": EVENTS,
        "per_order": VISITS_PER_ORDER,
        "per_rating": ORDERS_PER_RATING,
    }
    with duckdb.connect(str(file)) as connection:
        for statement in (VISITS, *ROWS):
            used = {name: n for name, n in said.items() if f"${name}" in statement}
            connection.execute(statement, used)
    return file


def agree(ours: Result, theirs: Courses) -> None:
    """Each metric's 28 days, and what it is compared with."""
    found = {p.label: p for p in ours.parts if isinstance(p, Figure)}
    if set(found) != set(theirs):
        raise AssertionError(f"ours {sorted(found)}, by hand {sorted(theirs)}")
    last = TODAY - dt.timedelta(days=1)
    for label, by_day in theirs.items():
        figure = found[label]
        same(f"{label} a week before", figure.course[-8], by_day[last - dt.timedelta(days=7)])
        same(f"{label} before", figure.course[-8], figure.before)  # type: ignore[arg-type]
        for back, value in enumerate(reversed(figure.course)):
            day = last - dt.timedelta(days=back)
            same(f"{label} on {day}", value, by_day.get(day))


def case(size: int) -> Case:
    """The question over a store of so many events."""
    return Case(
        f"{QUESTION} (9 metrics, bands, gate)",
        size,
        "events",
        partial(asking, question=QUESTION),
        partial(scripted, script=courses, end=TODAY),
        agree,
    )


def growing(folder: Path) -> Iterator[Row]:
    """1 and 10 million events."""
    for events in (1_000_000, 10_000_000):
        file = made_up(folder / f"events-{events}.duckdb", events)
        twin = twin_of(file)
        yield measure(case(events), file, twin, repeats=3)
        file.unlink()
        twin.unlink()
