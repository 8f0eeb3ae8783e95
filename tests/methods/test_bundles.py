"""Bundles: hand-worked revenue, triples that are only pairs, and what is folded."""

from itertools import combinations

import numpy as np
import pytest
from pandas import DataFrame
from scipy.stats import hypergeom

from analytics.methods.bundles import (
    Bundles,
    break_even,
    bundles_of,
    extra_revenue,
    price_of,
    unlike,
)
from analytics.methods.itemsets import Baskets, frequent_itemsets


def found(rows, min_lift=1.2, support=0.02):
    lines = DataFrame(
        [(n, i) for n, row in enumerate(rows) for i in row], columns=["basket", "item"]
    )
    baskets = Baskets.from_lines(lines, n_baskets=len(rows))
    itemsets = frequent_itemsets(baskets, min_support=support, max_length=3)
    return itemsets, bundles_of(itemsets, min_lift=min_lift)


def test_bread_and_milk_by_hand() -> None:
    """Each in 40 of 100 orders, both in 30: 1.875 times as often as the 16 by chance."""
    _, bundles = found(["bm"] * 30 + ["b"] * 10 + ["m"] * 10 + ["t"] * 50)
    assert bundles.items.tolist() == [[0, 1, -1]]
    assert bundles.count.tolist() == [30]
    assert bundles.lacking.tolist() == [[10, 10, 0]]
    assert bundles.lift == pytest.approx([1.875])
    # 30 of 40 go with the other, 40 of 100 by chance: of ten who lack it, 3.5 are drawn to it
    assert bundles.inclined == pytest.approx(np.array([[3.5, 3.5, 0]]))
    assert bundles.q == pytest.approx(hypergeom.sf(29, 100, 40, 40), rel=1e-9)
    prices = np.array([100.0, 200.0, 50.0])
    assert price_of(bundles, prices) == pytest.approx([300])
    # at 5 % off: 3.5 · (100 − 15) + 3.5 · (200 − 15) = 945 to win; 15 · 30 = 450 to lose
    assert extra_revenue(bundles, prices, 0.05, 0.5) == pytest.approx([22.5])
    assert break_even(bundles, prices, 0.05) == pytest.approx([450 / 945])
    assert np.isnan(break_even(bundles, prices, 0.1)[0])  # 840 to win, 900 to lose
    assert break_even(bundles, prices, 0.0).tolist() == [0.0]


def test_a_triple_is_as_sure_as_its_least_sure_part() -> None:
    """Coffee is in every other order whatever else is in it: no bundle with bread and milk."""
    rows = [set("bm")] * 30 + [set("b")] * 10 + [set("m")] * 10 + [set("t")] * 50
    with_coffee = [row | {"c"} if n % 2 else row for n, row in enumerate(rows)]
    itemsets, bundles = found([sorted(r) for r in with_coffee])
    named = [[itemsets.names[i] for i in row if i >= 0] for row in bundles.items.tolist()]
    assert named == [["b", "m"]]
    assert sum(len(level.counts) for level in itemsets.levels[1:3]) > 1


def test_lift_and_lacking_of_triples_are_those_of_counting_by_hand() -> None:
    rng = np.random.default_rng(2)
    rows = [sorted(np.flatnonzero(rng.random(7) < 0.4).tolist()) for _ in range(120)]
    _, bundles = found(rows, min_lift=0.0, support=0.01)
    sets = [set(r) for r in rows]

    def count(items):
        return sum(set(items) <= s for s in sets)

    every = [c for n in (2, 3) for c in combinations(range(7), n) if count(c) >= 2]
    got = [tuple(i for i in row if i >= 0) for row in bundles.items.tolist()]
    assert sorted(got) == sorted(every)
    for k, items in enumerate(got):
        rest = [tuple(i for i in items if i != out) for out in items]
        assert bundles.count[k] == count(items)
        assert bundles.lacking[k, : len(items)].tolist() == [count(r) - count(items) for r in rest]
        least = min(
            count(items) * 120 / (count(r) * count([out]))
            for r, out in zip(rest, items, strict=True)
        )
        assert bundles.lift[k] == pytest.approx(least)


def test_bundles_that_share_two_items_with_a_better_one_are_folded() -> None:
    items = np.array([[0, 1, -1], [0, 1, 2], [1, 2, -1], [3, 4, -1], [2, 3, 4]])
    blank = np.zeros(5)
    bundles = Bundles(items, blank.astype(int), items * 0, items * 0.0, blank, blank)
    assert unlike(bundles, 9).tolist() == [0, 2, 3]
    assert unlike(bundles, 2).tolist() == [0, 2]


def test_where_nothing_meets_there_is_no_bundle() -> None:
    _, bundles = found(["a", "b", "c"] * 9, support=0.2)
    assert len(bundles) == 0
    assert extra_revenue(bundles, np.ones(3), 0.1, 0.5).tolist() == []
