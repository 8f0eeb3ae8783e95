"""Frequent itemsets: hand-worked baskets, published counts, and engines that must agree."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlxtend.frequent_patterns import fpgrowth
from pandas import DataFrame

from analytics.methods import itemsets as module
from analytics.methods.itemsets import (
    Baskets,
    Itemsets,
    Method,
    MiningTooLargeError,
    feasible_support,
    frequent_itemsets,
    minimum_count,
)
from tests.methods.groceries import groceries_lines

RELAXED = settings(deadline=None, max_examples=60)

METHODS: tuple[Method, ...] = get_args(Method)
ENGINE = {
    "fpgrowth": "mlxtend fpgrowth",
    "apriori": "mlxtend apriori",
    "bitmaps": "vertical bitmaps",
    "compiled": "compiled bitmaps",
}

# Tan, Steinbach, Karpatne, Kumar, "Introduction to Data Mining", table 5.1.
MARKET = (
    {"bread", "milk"},
    {"bread", "nappies", "beer", "eggs"},
    {"milk", "nappies", "beer", "cola"},
    {"bread", "milk", "nappies", "beer"},
    {"bread", "milk", "nappies", "cola"},
)


def lines_of(rows: Sequence[Any]) -> DataFrame:
    pairs = [(at, item) for at, row in enumerate(rows) for item in sorted(row)]
    return DataFrame(pairs, columns=["basket", "item"])


def baskets_of(rows: Sequence[Any]) -> Baskets:
    return Baskets.from_lines(lines_of(rows), n_baskets=len(rows))


def counts(itemsets: Itemsets) -> dict[frozenset[Any], int]:
    frame = itemsets.frame()
    return dict(zip(frame["itemsets"], frame["count"], strict=True))


def by_force(
    rows: Sequence[Any], min_support: float, max_length: int | None
) -> dict[frozenset[Any], int]:
    items = sorted(set().union(*rows))
    return {
        frozenset(chosen): count
        for length in range(1, (max_length or len(items)) + 1)
        for chosen in combinations(items, length)
        if (count := sum(set(chosen) <= set(row) for row in rows)) / len(rows) >= min_support
        and count
    }


# Baskets


def test_repeated_lines_count_once_and_lines_without_basket_or_item_not_at_all():
    lines = DataFrame(
        {"basket": ["b", "a", "b", "b", None, "a"], "item": ["x", "y", "x", "w", "x", None]}
    )
    baskets = Baskets.from_lines(lines)
    assert baskets.names == ("w", "x", "y")
    assert baskets.starts.tolist() == [0, 1, 3]
    assert baskets.items.tolist() == [2, 0, 1]
    assert baskets.n_baskets == 2
    assert baskets.item_counts.tolist() == [1, 1, 1]


def test_numbers_and_categories_serve_as_names_too():
    numbers = Baskets.from_lines(DataFrame({"basket": [7, 7, 9], "item": [30, 20, 20]}))
    assert numbers.names == (20, 30)
    lines = DataFrame({"basket": [7, 7, 9], "item": ["b", "a", "a"]})
    categories = Baskets.from_lines(lines.astype({"item": "category"}))
    assert categories.names == ("a", "b")
    assert categories.items.tolist() == [0, 1, 0]


def test_baskets_that_hold_none_of_the_items_still_count():
    baskets = Baskets.from_lines(lines_of(MARKET), n_baskets=10)
    assert counts(frequent_itemsets(baskets, min_support=0.4)) == {
        frozenset({"bread"}): 4,
        frozenset({"milk"}): 4,
        frozenset({"nappies"}): 4,
    }
    assert frequent_itemsets(baskets, min_support=0.4).frame()["support"].tolist() == [0.4] * 3


def test_fewer_baskets_than_rows_are_refused():
    with pytest.raises(ValueError, match="5 rows do not fit 4 baskets"):
        Baskets.from_lines(lines_of(MARKET), n_baskets=4)


def test_a_sample_has_its_size_and_whole_baskets():
    baskets = Baskets.from_lines(lines_of(MARKET), n_baskets=8)
    sample = baskets.sample(6, seed=1)
    assert sample.n_baskets == 6
    assert 3 <= len(sample.starts) - 1 <= 5
    rows = [
        {sample.names[code] for code in row} for row in np.split(sample.items, sample.starts[1:-1])
    ]
    assert all(row in MARKET for row in rows)
    again = baskets.sample(6, seed=1)
    assert again.items.tolist() == sample.items.tolist()
    assert baskets.sample(8, seed=1) is baskets


def test_a_sample_keeps_the_share_of_baskets_that_hold_nothing():
    baskets = Baskets.from_lines(lines_of([{"a"}] * 500), n_baskets=2000)
    assert baskets.sample(400, seed=3).item_counts[0] == pytest.approx(100, abs=35)


def test_itemsets_are_counted_by_name():
    baskets = baskets_of(MARKET)
    wanted = [{"milk"}, {"beer", "nappies"}, {"bread", "milk", "nappies"}, {"beer", "tea"}]
    assert baskets.counts_of(wanted).tolist() == [4, 3, 2, 0]
    assert baskets.counts_of([]).tolist() == []


# Itemsets


@pytest.mark.parametrize("method", METHODS)
def test_the_market_basket_example(method: Method):
    itemsets = frequent_itemsets(baskets_of(MARKET), min_support=0.6, method=method)
    assert itemsets.engine == ENGINE[method]
    assert itemsets.frame().to_dict("list") == {
        "support": [0.8, 0.8, 0.8, 0.6, 0.6, 0.6, 0.6, 0.6],
        "itemsets": [
            frozenset(names.split())
            for names in (
                "bread",
                "milk",
                "nappies",
                "beer",
                "beer nappies",
                "bread milk",
                "bread nappies",
                "milk nappies",
            )
        ],
        "count": [4, 4, 4, 3, 3, 3, 3, 3],
    }
    assert len(itemsets) == 8


@pytest.mark.parametrize("method", METHODS)
def test_lengths_can_be_limited(method: Method):
    itemsets = frequent_itemsets(baskets_of(MARKET), min_support=0.4, method=method, max_length=2)
    assert counts(itemsets) == by_force(MARKET, 0.4, 2)
    single = frequent_itemsets(baskets_of(MARKET), min_support=0.4, method=method, max_length=1)
    assert counts(single) == by_force(MARKET, 0.4, 1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("rows", "min_support"), [([], 0.5), ([set(), set()], 0.5), ([{"a"}, {"b"}, {"c"}], 0.5)]
)
def test_where_nothing_is_frequent_the_frame_is_empty(
    method: Method, rows: list[set[str]], min_support: float
):
    frame = frequent_itemsets(baskets_of(rows), min_support=min_support, method=method).frame()
    assert list(frame.columns) == ["support", "itemsets", "count"]
    assert frame.empty


@pytest.mark.parametrize("support", [0, -0.1, 1.01, float("nan")])
def test_a_support_that_is_no_share_is_refused(support: float):
    with pytest.raises(ValueError, match="a share above 0 and up to 1"):
        frequent_itemsets(baskets_of(MARKET), min_support=support)


def test_the_minimum_is_the_least_count_whose_share_reaches_the_support():
    assert minimum_count(0.07, 100) == 7  # where 0.07 · 100 = 7.000000000000001
    assert minimum_count(0.29, 100) == 29
    assert minimum_count(0.001, 9835) == 10
    assert minimum_count(1e-9, 50) == 1
    assert minimum_count(1.0, 50) == 50
    for n in range(1, 200):
        assert [minimum_count(c / n, n) for c in range(1, n + 1)] == list(range(1, n + 1))


BASKETS = st.integers(1, 7).flatmap(
    lambda items: st.lists(st.sets(st.integers(0, items - 1)), min_size=1, max_size=40)
)


@RELAXED
@given(rows=BASKETS, data=st.data(), max_length=st.sampled_from([None, None, 1, 2, 3]))
def test_all_methods_find_what_counting_by_hand_finds(
    rows: list[set[int]], data: st.DataObject, max_length: int | None
):
    """The support is that of some count, so that itemsets lie exactly on the boundary."""
    support = data.draw(st.integers(1, len(rows))) / len(rows)
    expected = by_force(rows, support, max_length)
    for method in METHODS:
        itemsets = frequent_itemsets(
            baskets_of(rows), min_support=support, method=method, max_length=max_length
        )
        assert counts(itemsets) == expected


@RELAXED
@given(rows=BASKETS, support=st.floats(0.01, 1))
@example(rows=[{0, 1}] * 7 + [{2}] * 93, support=0.07)
@example(rows=[{0, 1, 2}, {0, 1}, {0, 2}, {0}], support=0.5)  # an item in every basket
def test_the_bitmaps_agree_with_mlxtend_left_alone(rows: list[set[int]], support: float):
    table = DataFrame([[item in row for item in range(7)] for row in rows])
    mlxtend = fpgrowth(table, support)
    ours = frequent_itemsets(baskets_of(rows), min_support=support, method="bitmaps").frame()
    theirs = dict(zip(mlxtend["itemsets"], mlxtend["support"], strict=True))
    found = dict(zip(ours["itemsets"], ours["support"], strict=True))
    assert theirs.items() <= found.items()
    if not (support * len(rows)).is_integer() and support != 0.07:  # there it loses the boundary
        assert found == theirs


@RELAXED
@given(rows=BASKETS, seed=st.integers(0, 99))
def test_the_order_of_the_lines_changes_nothing(rows: list[set[int]], seed: int):
    lines = lines_of(rows)
    mixed = lines.sample(frac=1, random_state=seed)
    for method in METHODS:
        first, second = (
            frequent_itemsets(
                Baskets.from_lines(frame, n_baskets=len(rows)), min_support=0.2, method=method
            ).frame()
            for frame in (lines, mixed)
        )
        pd.testing.assert_frame_equal(first, second)


def test_many_baskets_with_long_itemsets_agree_across_engines():
    """Several words of bits per item, and planted sets of up to six items."""
    rng = np.random.default_rng(5)
    held = rng.random((900, 30)) < rng.uniform(0.02, 0.5, 30)
    for _ in range(5):
        bundle = rng.choice(30, 6, replace=False)
        held[np.ix_(rng.choice(900, 60, replace=False), bundle)] = True
    baskets = baskets_of([set(np.flatnonzero(row)) for row in held])
    mined = [counts(frequent_itemsets(baskets, min_support=0.05, method=m)) for m in METHODS]
    assert max(map(len, mined[0])) >= 6
    assert mined[0] == mined[1] == mined[2] == mined[3]


@pytest.mark.parametrize("method", METHODS)
def test_groceries_has_the_known_number_of_itemsets(method: Method):
    baskets = Baskets.from_lines(groceries_lines())
    assert (baskets.n_baskets, len(baskets.names), len(baskets.items)) == (9835, 169, 43367)
    itemsets = frequent_itemsets(baskets, min_support=0.001, method=method)
    assert itemsets.engine == ENGINE[method]
    assert len(itemsets) == 13_492


# Limits


def test_large_data_are_mined_by_bitmaps_and_the_answer_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SMALL_LINES", 10)
    itemsets = frequent_itemsets(baskets_of(MARKET), min_support=0.4)
    assert itemsets.engine == "vertical bitmaps"
    assert counts(itemsets) == by_force(MARKET, 0.4, None)


def test_many_itemsets_of_small_data_are_mined_by_bitmaps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SMALL_ITEMSETS", 12)
    itemsets = frequent_itemsets(baskets_of(MARKET), min_support=0.4)
    assert itemsets.engine == "vertical bitmaps"
    assert counts(itemsets) == by_force(MARKET, 0.4, None)


@pytest.mark.parametrize("method", METHODS)
def test_too_many_itemsets_are_refused_with_a_support_that_fits(method: Method):
    baskets = Baskets.from_lines(groceries_lines())
    with pytest.raises(MiningTooLargeError, match="1,000 allowed") as refusal:
        frequent_itemsets(baskets, min_support=0.001, method=method, max_itemsets=1000)
    error = refusal.value
    assert (error.what, error.limit) == ("itemsets", 1000)
    assert error.needed > 1000
    # At support 0.005, which is 50 baskets, there are 1,001; at 51 baskets fewer.
    assert error.feasible_support is not None
    assert 51 / 9835 <= error.feasible_support <= 51 / 9835 * 1.25
    fitting = frequent_itemsets(
        baskets, min_support=error.feasible_support, method=method, max_itemsets=1000
    )
    assert 0 < len(fitting) <= 1000


@pytest.mark.parametrize("method", METHODS)
def test_one_long_itemset_is_refused_before_its_subsets_are_listed(method: Method):
    rows = [set(range(60))] * 3 + [{0, 1}] * 3
    with pytest.raises(MiningTooLargeError) as refusal:
        frequent_itemsets(baskets_of(rows), min_support=0.5, method=method)
    assert refusal.value.feasible_support == 4 / 6


def test_where_no_support_fits_none_is_suggested():
    rows = [set(range(60))] * 3
    assert feasible_support(baskets_of(rows), min_support=0.1) is None
    with pytest.raises(MiningTooLargeError) as refusal:
        frequent_itemsets(baskets_of(rows), min_support=0.1)
    assert refusal.value.feasible_support is None


def test_a_support_that_fits_is_left_as_it_is():
    assert feasible_support(baskets_of(MARKET), min_support=0.41) == 0.41


@RELAXED
@given(rows=BASKETS, most=st.integers(1, 12))
def test_the_feasible_support_fits_and_hardly_less_would(rows: list[set[int]], most: int):
    baskets = baskets_of(rows)
    support = feasible_support(baskets, min_support=1 / len(rows), max_itemsets=most)
    least = next(
        (
            count
            for count in range(1, len(rows) + 1)
            if len(by_force(rows, count / len(rows), None)) <= most
        ),
        None,
    )
    if least is None:
        assert support is None
    elif support is None:
        assert least * 1.25 + 1 > len(rows)
    else:
        assert least <= minimum_count(support, len(rows)) <= least * 1.25 + 1
        fitting = frequent_itemsets(
            baskets, min_support=support, method="bitmaps", max_itemsets=most
        )
        assert len(fitting) <= most


def test_more_lines_than_memory_allows_are_refused():
    """Nothing but fewer baskets would help, so no support is suggested."""
    for method in ("bitmaps", "apriori"):
        with pytest.raises(MiningTooLargeError, match="bytes") as refusal:
            frequent_itemsets(baskets_of(MARKET), min_support=0.4, method=method, max_bytes=100)
        assert refusal.value.what == "bytes"
        assert refusal.value.feasible_support is None
    assert feasible_support(baskets_of(MARKET), min_support=0.4, max_bytes=100) is None


def test_a_table_that_is_too_large_at_any_support_leaves_apriori_without_a_hint():
    with pytest.raises(MiningTooLargeError, match="540 bytes") as refusal:
        frequent_itemsets(
            baskets_of([set(range(60))] * 3), min_support=0.5, method="apriori", max_bytes=100
        )
    assert refusal.value.feasible_support is None


def test_a_table_too_large_for_apriori_is_refused_with_a_support_that_fits():
    rows = [{0}] * 20 + [set(range(1, 40))] * 5 + [set(range(40, 42))] * 9
    with pytest.raises(MiningTooLargeError) as refusal:
        frequent_itemsets(baskets_of(rows), min_support=0.1, method="apriori", max_bytes=3000)
    error = refusal.value
    assert (error.what, error.needed, error.limit) == ("bytes", 3 * 34 * 42, 3000)
    assert error.feasible_support == 6 / 34  # at 5 baskets there are 42 columns
    fitting = frequent_itemsets(
        baskets_of(rows), min_support=6 / 34, method="apriori", max_bytes=3000
    )
    assert counts(fitting)[frozenset({40, 41})] == 9
