"""What is bought together in a period, in pandas and mlxtend.

python -m benchmarks.plain.rules STORE.duckdb
"""

import datetime as dt
import sys

import duckdb
import pandas as pd
from mlxtend.frequent_patterns import association_rules, fpgrowth
from mlxtend.preprocessing import TransactionEncoder

ZONE = "Europe/London"
METRICS = ["antecedent support", "consequent support", "support", "confidence", "lift", "leverage"]


def rules(
    connection: duckdb.DuckDBPyConnection,
    end: dt.date,
    days: int,
    min_confidence: float = 0.2,
    min_lift: float = 1.2,
) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Rules with one consequent, strongest first; the itemsets; how many baskets there were."""
    since, until = (utc(pd.Timestamp(end) - pd.Timedelta(days=d)) for d in (days, 0))
    lines = connection.execute(
        "SELECT l.order_id, l.item_id FROM order_lines l JOIN orders o USING (order_id) "
        "LEFT JOIN items i USING (item_id) WHERE o.kind = 'sale' AND i.is_product IS NOT FALSE "
        "AND o.ordered_at >= ? AND o.ordered_at < ?",
        [since, until],
    ).df()
    baskets = lines.groupby("order_id")["item_id"].agg(list)
    encoder = TransactionEncoder()
    table = pd.DataFrame(encoder.fit_transform(baskets), columns=encoder.columns_)
    support = max(0.01, 20 / len(table))
    itemsets = fpgrowth(table, min_support=support, use_colnames=True)
    # a share of exactly 20 % may come out as a hair less
    found = association_rules(
        itemsets,
        metric="confidence",
        min_threshold=min_confidence - 1e-9,
        return_metrics=METRICS,
    )
    kept = found[(found["lift"] >= min_lift - 1e-9) & (found["consequents"].map(len) == 1)]
    return kept.sort_values("leverage", ascending=False), itemsets, len(table)


def utc(local: pd.Timestamp) -> pd.Timestamp:
    """A local midnight as naive UTC."""
    return local.tz_localize(ZONE).tz_convert("UTC").tz_localize(None)


if __name__ == "__main__":
    with duckdb.connect(sys.argv[1], read_only=True) as opened:
        print(rules(opened, dt.date(2011, 12, 10), 90)[0].head(20).to_string())
