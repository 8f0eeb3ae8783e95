"""The key figures of a period and the one before, in pandas.

python -m benchmarks.plain.kpis STORE.duckdb
"""

import datetime as dt
import sys

import duckdb
import pandas as pd

DAY = pd.Timedelta(days=1)
ZONE = "Europe/London"

Figures = dict[str, tuple[float, float]]


def key_figures(
    connection: duckdb.DuckDBPyConnection, end: dt.date, days: int = 30
) -> tuple[Figures, pd.Series]:
    """Label -> (now, before) up to but without `end`; and the revenue in pence by day."""
    last = pd.Timestamp(end)
    windows = [(last - days * DAY, last), (last - 2 * days * DAY, last - days * DAY)]
    since, until = utc(windows[1][0]), utc(last)
    orders = read(
        connection,
        "SELECT order_id, person_id, ordered_at AS at, kind, amount_cents FROM orders",
    )
    lines = read(
        connection,
        "SELECT l.quantity, o.ordered_at AS at FROM order_lines l JOIN orders o USING (order_id) "
        "LEFT JOIN items i USING (item_id) WHERE o.kind = 'sale' AND i.is_product IS NOT FALSE "
        "AND o.ordered_at >= ? AND o.ordered_at < ?",
        [since, until],
    )
    events = read(
        connection,
        "SELECT person_id, session_id, e.at AS at, name, order_id FROM events e "
        "WHERE e.at >= ? AND e.at < ?",
        [since - DAY, until + DAY],
    )
    people = read(connection, "SELECT first_seen_at AS at FROM people")
    ratings = read(
        connection,
        "SELECT r.at AS at, kind, score FROM ratings r WHERE r.at >= ? AND r.at < ?",
        [since, until],
    )

    sales = orders[orders["kind"] == "sale"]
    returns = orders[orders["kind"] == "return"]
    first_order = sales.groupby("person_id")["at"].min()
    visits = sessions_of(events)
    known_sales = sales[sales["person_id"].notna()]
    active = pd.concat([events[["person_id", "at"]], known_sales[["person_id", "at"]]])
    active = active[(active["at"] >= since) & (active["at"] < until)]
    active["day"] = local_day(active["at"])
    active = active[["person_id", "day"]].drop_duplicates()

    columns = []
    for begin, finish in windows:
        low, high = utc(begin), utc(finish)

        def inside(frame: pd.DataFrame, low: pd.Timestamp = low, high: pd.Timestamp = high):
            return frame[(frame["at"] >= low) & (frame["at"] < high)]

        sold, back, seen = inside(sales), inside(returns), inside(visits)
        bought = sold.groupby("person_id")["order_id"].count()
        new = first_order.loc[bought.index] >= low
        in_30 = active[(active["day"] >= finish - 30 * DAY) & (active["day"] < finish)]
        in_7 = active[(active["day"] >= finish - 7 * DAY) & (active["day"] < finish)]
        in_window = active[(active["day"] >= begin) & (active["day"] < finish)]
        rated = inside(ratings)
        nps = rated.loc[rated["kind"] == "nps", "score"]
        csat = rated.loc[rated["kind"] == "csat", "score"]
        carts = seen["cart"].sum()
        columns.append(
            {
                "New people": len(inside(people)),
                "People in total": int((people["at"] < high).sum()),
                "Buyers": len(bought),
                "New buyers": int(new.sum()),
                "Returning buyers": int((~new).sum()),
                "Orders": len(sold),
                "Revenue": int(sold["amount_cents"].sum()),
                "Returns": -int(back["amount_cents"].sum()),
                "Net revenue": int(sold["amount_cents"].sum() + back["amount_cents"].sum()),
                "Items sold": int(inside(lines)["quantity"].sum()),
                "Active per day": len(in_window) / days,
                "Active in 7 days": in_7["person_id"].nunique(),
                "Active in 30 days": in_30["person_id"].nunique(),
                "Stickiness": len(in_30) / in_30["person_id"].nunique() / 30,
                "Orders per buyer": bought.mean(),
                "Sessions": len(seen),
                "Sessions per person": len(seen) / seen["person_id"].nunique(),
                "Time per session (mean)": seen.loc[seen["events"] > 1, "seconds"].mean(),
                "Pages per session": seen["page"].sum() / len(seen),
                "Conversion": seen["buys"].mean(),
                "People who ordered": seen.loc[seen["buys"], "person_id"].nunique()
                / seen["person_id"].nunique(),
                "Cart abandonment": (seen["cart"] & ~seen["buys"]).sum() / carts,
                "Repeat rate": (~new | (bought >= 2)).mean(),
                "Average order": sold["amount_cents"].mean(),
                "NPS": 100 * ((nps >= 9).mean() - (nps <= 6).mean()),
                "Satisfied (CSAT)": (csat >= 4).mean(),
            }
        )
    figures = {label: (value, columns[1][label]) for label, value in columns[0].items()}
    recent = sales[(sales["at"] >= since) & (sales["at"] < until)]
    return figures, recent.groupby(local_day(recent["at"]))["amount_cents"].sum()


def read(connection: duckdb.DuckDBPyConnection, sql: str, values: object = ()) -> pd.DataFrame:
    """The rows of a query."""
    return connection.execute(sql, values).df()


def sessions_of(events: pd.DataFrame) -> pd.DataFrame:
    """One row per session."""
    seen = events.assign(
        page=events["name"].isin(["visit", "view_item"]),
        cart=events["name"] == "add_to_cart",
        buys=events["order_id"].notna(),
    )
    found = seen.groupby("session_id").agg(
        person_id=("person_id", "first"),
        at=("at", "min"),
        last=("at", "max"),
        events=("at", "size"),
        page=("page", "sum"),
        cart=("cart", "any"),
        buys=("buys", "any"),
    )
    return found.assign(seconds=(found["last"] - found["at"]).dt.total_seconds())


def utc(local: pd.Timestamp) -> pd.Timestamp:
    """A local midnight as naive UTC."""
    return local.tz_localize(ZONE).tz_convert("UTC").tz_localize(None)


def local_day(at: pd.Series) -> pd.Series:
    """The local day of naive UTC instants."""
    return at.dt.tz_localize("UTC").dt.tz_convert(ZONE).dt.tz_localize(None).dt.normalize()


if __name__ == "__main__":
    with duckdb.connect(sys.argv[1], read_only=True) as opened:
        for name, pair in key_figures(opened, dt.date(2011, 12, 10))[0].items():
            print(f"{name:26} {pair[0]:>16,.3f} {pair[1]:>16,.3f}")
