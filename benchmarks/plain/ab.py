"""An experiment of two arms, in pandas and scipy.

python -m benchmarks.plain.ab STORE.duckdb checkout_v2
"""

import sys
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd
from scipy import stats

ZONE = "Europe/London"


@dataclass(frozen=True)
class Arms:
    """`table`: per arm people, who ordered, and means per person. `metrics`: lift, low, high, p."""

    table: pd.DataFrame
    metrics: pd.DataFrame
    srm: float


def compare(connection: duckdb.DuckDBPyConnection, experiment: str) -> Arms:
    """Both arms from each person's first exposure to the end of the last day with exposures."""
    seen = connection.execute(
        "SELECT person_id, variant, exposed_at FROM exposures WHERE experiment = ?", [experiment]
    ).df()
    arms = seen.groupby("person_id").agg(
        variant=("variant", "first"), variants=("variant", "nunique"), since=("exposed_at", "min")
    )
    arms = arms[arms["variants"] == 1]
    last = seen["exposed_at"].max().tz_localize("UTC").tz_convert(ZONE)
    until = (last.normalize() + pd.Timedelta(days=1)).tz_convert("UTC").tz_localize(None)
    arms = arms[arms["since"] < until]
    orders = connection.execute(
        "SELECT person_id, ordered_at, kind, amount_cents FROM orders "
        "WHERE person_id IS NOT NULL AND ordered_at >= ? AND ordered_at < ?",
        [seen["exposed_at"].min(), until],
    ).df()
    ratings = connection.execute(
        "SELECT person_id, r.at AS at, score FROM ratings r "
        "WHERE kind = 'nps' AND r.at >= ? AND r.at < ?",
        [seen["exposed_at"].min(), until],
    ).df()
    bought = orders.merge(arms[["since"]], left_on="person_id", right_index=True)
    bought = bought[bought["ordered_at"] >= bought["since"]]
    sales, returns = (bought[bought["kind"] == kind] for kind in ("sale", "return"))
    people = arms.assign(
        orders=sales.groupby("person_id").size(),
        revenue=sales.groupby("person_id")["amount_cents"].sum(),
        returns=-returns.groupby("person_id")["amount_cents"].sum(),
    ).fillna({"orders": 0, "revenue": 0, "returns": 0})
    people["ordered"] = people["orders"] > 0
    for money in ("revenue", "returns"):  # a handful of wholesalers would drown the rest
        cap = np.quantile(people[money], 0.999, method="inverted_cdf")
        people[money] = people[money].clip(upper=cap)
    rated = ratings.merge(arms[["since", "variant"]], left_on="person_id", right_index=True)
    rated = rated[rated["at"] >= rated["since"]]
    nps = rated.groupby("variant")["score"].agg(lambda s: 100 * ((s >= 9).mean() - (s <= 6).mean()))
    by_arm = people.groupby("variant")
    table = by_arm.agg(
        people=("ordered", "size"),
        ordered=("ordered", "sum"),
        rate=("ordered", "mean"),
        orders=("orders", "mean"),
        revenue=("revenue", "mean"),
        returns=("returns", "mean"),
    ).assign(nps=nps)
    metrics = pd.DataFrame(
        {m: lift(people, m) for m in ("ordered", "orders", "revenue", "returns")}
    ).T
    return Arms(table, metrics, float(stats.chisquare(table["people"]).pvalue))


def lift(people: pd.DataFrame, metric: str) -> dict[str, float]:
    """Treatment over control, with a 95 % interval by the delta method, and Welch's p."""
    a, b = (
        people.loc[people["variant"] == v, metric].astype(float) for v in ("control", "treatment")
    )
    ratio = b.mean() / a.mean()
    error = ratio * np.sqrt(b.var() / len(b) / b.mean() ** 2 + a.var() / len(a) / a.mean() ** 2)
    p = stats.ttest_ind(b, a, equal_var=False).pvalue
    return {"lift": ratio - 1, "low": ratio - 1.96 * error - 1, "high": ratio + 1.96 * error - 1,
            "p": p}  # fmt: skip


if __name__ == "__main__":
    with duckdb.connect(sys.argv[1], read_only=True) as opened:
        print(compare(opened, sys.argv[2]))
