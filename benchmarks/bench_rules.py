"""rules: the demo shop, and growing numbers of baskets."""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.stats import false_discovery_control, hypergeom

from analytics.result import Note, Result, Table
from benchmarks.plain.rules import rules
from benchmarks.side_by_side import Case, Row, measure, same
from benchmarks.stores import (
    TODAY,
    asking,
    first_table,
    order_table,
    scripted,
    shop_of,
    twin_of,
)

#: Made-up shops: how many items, how many in a basket on average, and pairs that go together.
ITEMS = 1_000
PER_BASKET = 8
PAIRS = 40


def agree(ours: Result, theirs: tuple[pd.DataFrame, pd.DataFrame, int]) -> None:
    """The same itemsets and baskets; the same rules in the same order once theirs are folded."""
    found, itemsets, baskets = theirs
    notes = " ".join(p.text for p in ours.parts if isinstance(p, Note))
    said = [int(n.replace(",", "")) for n in re.findall(r"([\d,]+) (?:orders by|itemset)", notes)]
    expected = [baskets, len(itemsets)]
    if said != expected:
        raise AssertionError(f"baskets, itemsets: ours {said}, the script's {expected}")
    sizes = itemsets["itemsets"].map(len)
    best = folded(found, baskets, tested=int(sizes[sizes > 1].sum()))
    table = next(p for p in ours.parts if isinstance(p, Table))
    rows = first_table(ours)
    same("rules", table.of_rows or len(rows), len(best))
    for row, rule in zip(rows, best.head(len(rows)).to_dict("records"), strict=True):
        for metric in ("support", "confidence", "lift"):
            same(f"{metric} of {row['antecedents']}", row[metric], rule[metric])


def folded(found: pd.DataFrame, baskets: int, tested: int) -> pd.DataFrame:
    """The script's rules without the redundant and mirrored ones and those that may be chance.

    This is not part of the script, and not timed: it lets each rule that we show be checked.
    """
    both, left, right = (
        (found[column] * baskets).round().astype(int)
        for column in ("support", "antecedent support", "consequent support")
    )
    exact = found.assign(
        confidence=both / left,  # the script divides two rounded shares
        beyond=both * baskets - left * right,
        p=hypergeom.sf(both - 1, baskets, left, right),
        words=found["antecedents"].map(lambda side: tuple(sorted(side))),
        sides=[frozenset(s) for s in zip(found["antecedents"], found["consequents"], strict=True)],
    )
    by_consequent: dict[frozenset[str], dict[frozenset[str], float]] = defaultdict(dict)
    rules_of = ["antecedents", "consequents", "confidence"]
    for antecedent, consequent, confidence in exact[rules_of].itertuples(index=False):
        by_consequent[consequent][antecedent] = confidence
    redundant = [
        len(antecedent) > 1
        and any(a < antecedent and c >= confidence for a, c in by_consequent[consequent].items())
        for antecedent, consequent, confidence in exact[rules_of].itertuples(index=False)
    ]
    kept = exact[~np.array(redundant)].sort_values(
        ["confidence", "words"], ascending=[False, True], kind="stable"
    )
    kept = kept.drop_duplicates("sides")
    p = kept["p"].to_numpy()
    q = false_discovery_control(np.concatenate([p, np.ones(tested - len(p))]))[: len(p)]
    return kept[q <= 0.05].sort_values(
        ["beyond", "lift", "confidence", "words"], ascending=[False, False, False, True]
    )


def case(days: int, size: int, limit: float | None = None) -> Case:
    """The question over so many baskets."""
    question = f"rules last {days} days"
    return Case(
        question,
        size,
        "baskets",
        partial(asking, question=question),
        partial(scripted, script=rules, end=TODAY, days=days),
        agree,
        limit,
    )


def on_demo(demo: Path, twin: Path) -> list[Row]:
    """On the demo: a quarter, and all of it."""
    return [
        measure(case(90, 6_873, limit=3.0), demo, twin, repeats=3),
        measure(case(365, 19_000, limit=3.0), demo, twin, repeats=3),
    ]


def growing(folder: Path, *, full: bool) -> Iterator[Row]:
    """10 thousand, 100 thousand and, in full, a million baskets."""
    for n in (10_000, 100_000, 1_000_000) if full else (10_000, 100_000):
        file = shop_of(folder / f"baskets-{n}.duckdb", shop(n))
        yield measure(case(90, n), file, twin_of(file), repeats=3 if n < 500_000 else 1)


def shop(n: int, seed: int = 3) -> dict[str, pa.Table]:
    """`n` baskets: items by Zipf's law, and PAIRS of them that often come together."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(10, ITEMS + 10)
    chance /= chance.sum()
    sizes = rng.poisson(PER_BASKET, n) + 1
    basket = np.repeat(np.arange(n), sizes)
    item = rng.choice(ITEMS, len(basket), p=chance)
    lead = rng.permutation(ITEMS // 4)[: 2 * PAIRS].reshape(PAIRS, 2)
    partner = np.full(ITEMS, -1)
    partner[lead[:, 0]] = lead[:, 1]
    drawn = (partner[item] >= 0) & (rng.random(len(item)) < 0.5)
    basket = np.concatenate([basket, basket[drawn]])
    item = np.concatenate([item, partner[item[drawn]]])
    order = np.argsort(basket, kind="stable")
    basket, item = basket[order], item[order]
    rows = len(basket)
    day = np.arange(n) * 85 // n
    at = np.datetime64(TODAY, "us") - (1 + day).astype("timedelta64[D]") + np.timedelta64(12, "h")
    ids = pa.array(np.arange(n)).cast(pa.string())
    names = pa.array([f"item {i:04}" for i in range(ITEMS)])
    first = np.searchsorted(basket, np.arange(n))
    return {
        "items": pa.table(
            {
                "item_id": names,
                "name": names,
                "category": pa.nulls(ITEMS, pa.string()),
                "is_product": pa.array([True] * ITEMS),
                "attributes": pa.nulls(ITEMS, pa.string()),
                "source": pa.array(["benchmark"] * ITEMS),
            }
        ),
        "orders": order_table(ids, ids, pa.array(at), pa.array(sizes * 100)),
        "order_lines": pa.table(
            {
                "order_id": ids.take(pa.array(basket)),
                "line_no": pa.array(np.arange(rows) - first[basket] + 1),
                "item_id": names.take(pa.array(item)),
                "quantity": pa.array(np.ones(rows, dtype=np.int64)),
                "amount_cents": pa.array(np.full(rows, 100)),
                "source": pa.array(["benchmark"] * rows),
            }
        ),
    }
