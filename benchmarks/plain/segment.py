"""Customer segments of a period by K-means, in pandas and scikit-learn.

python -m benchmarks.plain.segment STORE.duckdb
"""

import datetime as dt
import sys
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.metrics import davies_bouldin_score, silhouette_score
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

ZONE = "Europe/London"
#: Beyond this many customers all pairwise distances would never end.
SILHOUETTE_ON = 5_000
#: How much recency, orders, spend and products count.
WEIGHTS = (1.0, 1.0, 1.0, 1 / 3)


@dataclass(frozen=True)
class Segments:
    """Per k its (silhouette, Davies-Bouldin, smallest share); the k taken; sizes by revenue."""

    scores: dict[int, tuple[float, float, float]]
    k: int
    table: pd.DataFrame
    tree: DecisionTreeClassifier


def segments(connection: duckdb.DuckDBPyConnection, end: dt.date, days: int) -> Segments:
    """Segments of those who bought in the `days` before `end`, best customers first."""
    last = pd.Timestamp(end)
    since, until = (utc(at) for at in (last - pd.Timedelta(days=days), last))
    people = habits(connection, since, until, last)
    traits = people[["recency", "orders", "revenue", "products"]]
    scaled = np.clip(StandardScaler().fit_transform(np.log1p(traits)), -3, 3) * WEIGHTS
    scores, labels = {}, {}
    for k in range(2, 9):
        labels[k] = KMeans(k, n_init=10, random_state=0).fit_predict(scaled)
        size = min(SILHOUETTE_ON, len(scaled))
        scores[k] = (
            silhouette_score(scaled, labels[k], sample_size=size, random_state=0),
            davies_bouldin_score(scaled, labels[k]),
            np.bincount(labels[k]).min() / len(scaled),
        )
    k = best(scores)
    people["segment"] = labels[k]
    by_segment = people.groupby("segment")
    medians = by_segment.median(numeric_only=True)
    table = medians.assign(people=by_segment.size(), revenue=by_segment["revenue"].sum())
    tree = DecisionTreeClassifier(max_leaf_nodes=12, random_state=0).fit(traits, labels[k])
    return Segments(scores, k, table.sort_values("revenue", ascending=False), tree)


def habits(
    connection: duckdb.DuckDBPyConnection,
    since: pd.Timestamp,
    until: pd.Timestamp,
    end: pd.Timestamp,
) -> pd.DataFrame:
    """One row per buyer: recency, orders, net spend, products, and habits of visiting."""
    window = [since, until]
    orders = connection.execute(
        "SELECT order_id, person_id, ordered_at, kind, amount_cents FROM orders "
        "WHERE person_id IS NOT NULL AND ordered_at >= ? AND ordered_at < ?",
        window,
    ).df()
    lines = connection.execute(
        "SELECT o.person_id, l.item_id FROM order_lines l JOIN orders o USING (order_id) "
        "LEFT JOIN items i USING (item_id) WHERE o.kind = 'sale' AND i.is_product IS NOT FALSE "
        "AND o.person_id IS NOT NULL AND o.ordered_at >= ? AND o.ordered_at < ?",
        window,
    ).df()
    events = connection.execute(
        "SELECT person_id, session_id, name, device, order_id FROM events e "
        "WHERE e.at >= ? AND e.at < ?",
        window,
    ).df()
    sales = orders[orders["kind"] == "sale"].groupby("person_id")
    last = sales["ordered_at"].max().dt.tz_localize("UTC").dt.tz_convert(ZONE)
    people = pd.DataFrame(
        {
            "recency": (end - last.dt.tz_localize(None).dt.normalize()).dt.days,
            "orders": sales.size(),
            "revenue": orders.groupby("person_id")["amount_cents"].sum(),
            "products": lines.groupby("person_id")["item_id"].nunique(),
        }
    ).dropna(subset="orders")
    people["products"] = people["products"].fillna(0)
    people["basket"] = people["revenue"] / people["orders"]
    people = people[people["revenue"] > 0]
    if events.empty:
        return people
    seen = events[events["person_id"].isin(people.index)]
    visits = (
        seen.assign(
            page=seen["name"].isin(["visit", "view_item"]),
            cart=seen["name"] == "add_to_cart",
            buys=seen["order_id"].notna(),
            mobile=seen["device"] == "mobile",
        )
        .groupby(["person_id", "session_id"])[["page", "cart", "buys", "mobile"]]
        .agg({"page": "sum", "cart": "any", "buys": "any", "mobile": "any"})
    )
    visits["left"] = visits["cart"] & ~visits["buys"]
    per = visits.groupby("person_id").agg(
        sessions=("page", "size"),
        pages=("page", "mean"),
        carts=("cart", "sum"),
        left=("left", "sum"),
        mobile=("mobile", "mean"),
    )
    per["abandoned"] = per["left"] / per["carts"].where(per["carts"] > 0)
    return people.join(per[["sessions", "pages", "abandoned", "mobile"]])


def best(scores: dict[int, tuple[float, float, float]]) -> int:
    """Of the k whose silhouette is near the best, the one of the least Davies-Bouldin.

    Two segments are only taken where they lie well apart, and none may be tiny.
    """
    fit = {k: s for k, s in scores.items() if s[2] >= 0.02 and (k > 2 or s[0] >= 0.5)}
    top = max(s[0] for s in fit.values())
    return min((k for k in fit if fit[k][0] >= 0.85 * top), key=lambda k: fit[k][1])


def utc(local: pd.Timestamp) -> pd.Timestamp:
    """A local midnight as naive UTC."""
    return local.tz_localize(ZONE).tz_convert("UTC").tz_localize(None)


if __name__ == "__main__":
    with duckdb.connect(sys.argv[1], read_only=True) as opened:
        print(segments(opened, dt.date(2011, 12, 10), 90).table.to_string())
