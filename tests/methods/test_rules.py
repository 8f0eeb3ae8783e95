"""Association rules: hand-worked numbers, published counts, and mlxtend as the oracle."""

from collections.abc import Sequence
from fractions import Fraction
from math import comb
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlxtend.frequent_patterns import association_rules as mlxtend_rules
from pandas import DataFrame
from scipy.stats import false_discovery_control

from analytics.methods import rules as module
from analytics.methods.itemsets import Baskets, Itemsets, MiningTooLargeError, frequent_itemsets
from analytics.methods.rules import (
    association_rules,
    candidate_rules,
    fold_mirrors,
    is_redundant,
    order_for_people,
    significance,
    stable_in_halves,
)
from tests.methods.groceries import groceries_lines
from tests.methods.test_itemsets import BASKETS, MARKET, METHODS, RELAXED, baskets_of

MLXTEND_METRICS = [
    "antecedent support",
    "consequent support",
    "support",
    "confidence",
    "lift",
    "representativity",
    "leverage",
    "conviction",
    "zhangs_metric",
    "jaccard",
    "certainty",
    "kulczynski",
]


def mine(rows: Sequence[Any], min_support: float) -> Itemsets:
    return frequent_itemsets(baskets_of(rows), min_support=min_support)


def rule(rules: DataFrame, left: str, right: str) -> dict[str, Any]:
    """The one rule with these items (in words)."""
    wanted = (rules["antecedents"] == frozenset(left.split())) & (
        rules["consequents"] == frozenset(right.split())
    )
    (found,) = rules[wanted].to_dict("records")
    return found


def sides(rules: DataFrame) -> list[tuple[str, str]]:
    return [
        (" ".join(sorted(left)), " ".join(sorted(right)))
        for left, right in zip(rules["antecedents"], rules["consequents"], strict=True)
    ]


def made(*rows: tuple[str, str, int, int, int], n: int = 100) -> DataFrame:
    """Rules from (left, right, count, antecedent_count, consequent_count) of `n` baskets."""
    frame = DataFrame(
        [(frozenset(a.split()), frozenset(c.split()), *counts) for a, c, *counts in rows],
        columns=["antecedents", "consequents", "count", "antecedent_count", "consequent_count"],
    )
    both, left, right = (frame[c] for c in frame.columns[2:])
    return frame.assign(
        confidence=both / left,
        lift=both * n / (left * right),
        leverage=(both * n - left * right) / n**2,
    )


# The rules and their metrics


def test_the_metrics_of_the_market_basket_example():
    """Nappies → beer: 3 of 5 baskets hold both, 4 nappies, 3 beer."""
    found = rule(association_rules(mine(MARKET, 0.4)), "nappies", "beer")
    assert found == {
        "antecedents": frozenset({"nappies"}),
        "consequents": frozenset({"beer"}),
        "antecedent support": 0.8,
        "consequent support": 0.6,
        "support": 0.6,
        "confidence": 0.75,
        "lift": 1.25,
        "representativity": 1.0,
        "leverage": 0.12,
        "conviction": 1.6,
        "zhangs_metric": 1.0,
        "jaccard": 0.75,
        "certainty": 0.375,
        "kulczynski": 0.875,
        "extra_baskets": 0.6,
        "count": 3,
        "antecedent_count": 4,
        "consequent_count": 3,
    }
    back = rule(association_rules(mine(MARKET, 0.4)), "beer", "nappies")
    assert (back["confidence"], back["conviction"]) == (1.0, np.inf)


def test_every_part_of_an_itemset_can_be_a_side():
    rules = association_rules(mine([{"a", "b", "c"}, {"a"}], 0.5))
    pairs = [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")]
    one_to_two = [("a", "b c"), ("b", "a c"), ("c", "a b")]
    two_to_one = [(right, left) for left, right in one_to_two]
    assert sorted(sides(rules)) == sorted([*pairs, *one_to_two, *two_to_one])
    assert rule(rules, "b c", "a")["count"] == 1
    assert rule(rules, "b c", "a")["consequent_count"] == 2
    assert rule(rules, "a", "b c")["antecedent_count"] == 2
    assert candidate_rules(mine([{"a", "b", "c"}, {"a"}], 0.5)) == 12


def test_a_single_consequent_leaves_one_item_on_the_right():
    itemsets = mine([{"a", "b", "c"}, {"a"}], 0.5)
    rules = association_rules(itemsets, single_consequent=True)
    assert len(rules) == candidate_rules(itemsets, single_consequent=True) == 9
    assert set(rules["consequents"].map(len)) == {1}


def test_thresholds_are_decided_on_whole_baskets():
    """12 of 15 is a confidence of 0.8, though the supports in floats give a little less."""
    rows = [{"a", "b"}] * 12 + [{"a"}] * 3 + [set()] * 3
    assert (12 / 18) / (15 / 18) < 0.8
    rules = association_rules(mine(rows, 0.1), min_confidence=0.8)
    assert sides(rules) == [("a", "b"), ("b", "a")]
    assert rules["confidence"].tolist() == [0.8, 1.0]
    assert len(association_rules(mine(rows, 0.1), min_confidence=0.8000001)) == 1


def test_independent_sides_have_a_lift_of_exactly_one():
    rows = [{"a", "b"}] * 3 + [{"a"}] * 27 + [{"b"}] * 7 + [set()] * 63
    rules = association_rules(mine(rows, 0.03), min_lift=1.0)
    assert rules["lift"].tolist() == [1.0, 1.0]
    assert rules["extra_baskets"].tolist() == [0.0, 0.0]
    assert association_rules(mine(rows, 0.03), min_lift=1.0000001).empty


@pytest.mark.parametrize("rows", [[], [{"a"}, {"b"}], [{"a", "b"}]])
def test_without_rules_the_frame_has_its_columns_all_the_same(rows: list[set[str]]):
    rules = association_rules(mine(rows, 0.5), min_lift=1.5)
    assert rules.empty
    assert list(rules.columns) == [
        "antecedents",
        "consequents",
        *MLXTEND_METRICS,
        "extra_baskets",
        "count",
        "antecedent_count",
        "consequent_count",
    ]
    folded = fold_mirrors(significance(rules, max(len(rows), 1)))
    assert (folded.redundant, folded.mirrors) == (0, 0)
    assert order_for_people(folded.rules).empty


def agree(ours: DataFrame, theirs: DataFrame) -> None:
    """The same rules with the same metrics."""
    left, right = (
        frame.set_index(
            pd.Index(
                [
                    (tuple(sorted(map(str, a))), tuple(sorted(map(str, c))))
                    for a, c in zip(frame["antecedents"], frame["consequents"], strict=True)
                ],
                tupleize_cols=False,
            )
        ).sort_index()
        for frame in (ours, theirs)
    )
    assert list(left.index) == list(right.index)
    # Where a side is in every basket mlxtend divides one rounding error by another; we have 0.
    sure = (left["antecedent support"] < 1) & (left["consequent support"] < 1)
    for metric in MLXTEND_METRICS:
        compared = sure if metric in ("zhangs_metric", "certainty") else slice(None)
        np.testing.assert_allclose(
            left.loc[compared, metric].to_numpy(float),
            right.loc[compared, metric].to_numpy(float),
            rtol=1e-12,
            atol=1e-12,
        )


@RELAXED
@given(rows=BASKETS, min_confidence=st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]))
def test_rules_equal_mlxtends(rows: list[set[int]], min_confidence: float):
    itemsets = mine(rows, 0.15)
    frame = itemsets.frame()
    ours = association_rules(itemsets, min_confidence=min_confidence)
    if len(frame):
        theirs = mlxtend_rules(
            frame.assign(support=frame["count"]),  # its own division by baskets would round
            metric="confidence",
            min_threshold=min_confidence,
            return_metrics=["support"],
        )
        assert len(ours) == len(theirs)
        if len(ours):
            with np.errstate(all="ignore"):
                theirs = mlxtend_rules(
                    frame, num_itemsets=len(rows), metric="support", min_threshold=0.0
                )
            agree(association_rules(itemsets), theirs)
    else:
        assert ours.empty


def test_rules_equal_mlxtends_on_groceries():
    itemsets = frequent_itemsets(Baskets.from_lines(groceries_lines()), min_support=0.002)
    ours = association_rules(itemsets, min_lift=1.0)
    theirs = mlxtend_rules(itemsets.frame(), num_itemsets=9835, metric="lift", min_threshold=1.0)
    assert len(ours) > 10_000
    agree(ours, theirs)


@pytest.mark.parametrize("method", METHODS)
def test_groceries_has_the_published_numbers_of_rules(method: Any):
    """R's arules: apriori(Groceries, support 0.001, confidence 0.5) writes 5668 rules, at 0.8 410.

    mlxtend with its default num_itemsets=1 finds 406 of the 410.
    """
    itemsets = frequent_itemsets(
        Baskets.from_lines(groceries_lines()), min_support=0.001, method=method
    )
    assert len(association_rules(itemsets, min_confidence=0.5, single_consequent=True)) == 5668
    strict = association_rules(itemsets, min_confidence=0.8, single_consequent=True)
    assert len(strict) == 410
    assert len(association_rules(itemsets, min_confidence=0.8)) == 413
    (best,) = strict[strict["antecedents"] == frozenset({"liquor", "red/blush wine"})].to_dict(
        "records"
    )
    assert best["consequents"] == {"bottled beer"}
    assert best["count"] == 19
    assert best["confidence"] == pytest.approx(0.9047619, abs=5e-8)
    assert best["lift"] == pytest.approx(11.23527, abs=5e-6)


def test_rules_of_many_long_itemsets_are_made_in_chunks(monkeypatch: pytest.MonkeyPatch):
    itemsets = mine(MARKET, 0.2)
    whole = association_rules(itemsets)
    monkeypatch.setattr(module, "SUBSETS_AT_ONCE", 8)
    pieces = association_rules(itemsets)
    assert len(pieces) == len(whole) == candidate_rules(itemsets)
    assert set(sides(pieces)) == set(sides(whole))
    pd.testing.assert_frame_equal(order_for_people(pieces), order_for_people(whole))


def test_too_many_rules_are_refused():
    with pytest.raises(MiningTooLargeError, match="10 allowed") as refusal:
        association_rules(mine(MARKET, 0.2), max_rules=10)
    assert (refusal.value.what, refusal.value.limit) == ("rules", 10)
    assert refusal.value.feasible_support is None


# For people


def test_mirrors_become_the_more_confident_direction():
    rules = made(("a", "b", 10, 40, 20), ("b", "a", 10, 20, 40), ("c", "d", 9, 30, 90))
    folded = fold_mirrors(rules)
    assert sides(folded.rules) == [("b", "a"), ("c", "d")]
    assert folded.rules["confidence"].tolist() == [0.5, 0.3]
    assert folded.rules["reverse_confidence"].tolist() == [0.25, 0.1]
    assert (folded.mirrors, folded.redundant) == (1, 0)


def test_equally_confident_mirrors_go_by_name():
    rules = made(("b", "a", 10, 20, 20), ("a", "b", 10, 20, 20))
    assert sides(fold_mirrors(rules).rules) == [("a", "b")]
    assert sides(fold_mirrors(rules[::-1]).rules) == [("a", "b")]


def test_only_mirrors_are_folded_not_every_split_of_an_itemset():
    rules = made(("a b", "c", 9, 10, 50), ("a", "b c", 9, 60, 20), ("b c", "a", 9, 20, 60))
    folded = fold_mirrors(rules)
    assert sides(folded.rules) == [("a b", "c"), ("b c", "a")]


def test_a_longer_rule_that_is_no_more_confident_is_redundant():
    rules = made(
        ("a", "z", 20, 40, 50),  # 0.5
        ("a b", "z", 10, 20, 50),  # 0.5: b adds nothing
        ("a c", "z", 12, 20, 50),  # 0.6: c adds something
        ("a b c", "z", 11, 20, 50),  # 0.55: better than a, but not than a c
        ("a d", "y", 1, 20, 50),  # another consequent
    )
    assert is_redundant(rules).tolist() == [False, True, False, True, False]
    folded = fold_mirrors(rules)
    assert (folded.redundant, folded.mirrors) == (2, 0)
    assert len(rules) == 5


def test_redundancy_sees_past_a_missing_rule_in_between():
    """a b → z and b c → z were below the threshold, a → z was not."""
    rules = made(("a", "z", 20, 30, 50), ("a b c", "z", 8, 13, 50))
    assert is_redundant(rules).tolist() == [False, True]


@RELAXED
@given(rows=BASKETS, min_confidence=st.sampled_from([0.0, 0.4, 0.7]))
def test_redundancy_is_as_defined(rows: list[set[int]], min_confidence: float):
    """Against the definition, with all rules at hand rather than those above the threshold."""
    every = association_rules(mine(rows, 0.1))
    confidence = {
        (a, c): Fraction(int(k), int(n))
        for a, c, k, n in zip(
            every["antecedents"],
            every["consequents"],
            every["count"],
            every["antecedent_count"],
            strict=True,
        )
    }
    rules = association_rules(mine(rows, 0.1), min_confidence=min_confidence)
    expected = [
        any(
            simpler < a and confidence[simpler, c] >= confidence[a, c]
            for simpler, of in confidence
            if of == c
        )
        for a, c in zip(rules["antecedents"], rules["consequents"], strict=True)
    ]
    assert is_redundant(rules).tolist() == expected


def test_people_read_first_what_moves_most_baskets():
    rules = made(
        ("rare", "odd", 2, 2, 2),  # lift 50, confidence 1: 1.96 extra baskets
        ("milk", "bread", 30, 50, 50),  # lift 1.2: 5 extra
        ("wine", "cheese", 12, 15, 20),  # lift 4: 9 extra
    )
    ordered = order_for_people(rules)
    assert sides(ordered) == [("wine", "cheese"), ("milk", "bread"), ("rare", "odd")]
    assert ordered.index.tolist() == [0, 1, 2]


def test_ties_go_by_lift_then_confidence_then_names():
    rules = made(
        ("d", "c", 10, 20, 40),
        ("b", "a", 10, 20, 40),
        ("a", "b", 10, 40, 20),
        ("e", "f", 4, 10, 20),  # as many extra baskets: 2
    ).sample(frac=1, random_state=1)
    assert sides(order_for_people(rules)) == [("e", "f"), ("b", "a"), ("d", "c"), ("a", "b")]


@RELAXED
@given(rows=BASKETS, seed=st.integers(0, 99))
def test_the_order_is_total(rows: list[set[int]], seed: int):
    rules = association_rules(mine(rows, 0.1))
    mixed = rules.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(order_for_people(rules), order_for_people(mixed))


# Chance


def by_hand(count: int, left: int, right: int, n: int) -> Fraction:
    """The hypergeometric tail in whole numbers."""
    ways = sum(
        comb(right, k) * comb(n - right, left - k) for k in range(count, min(left, right) + 1)
    )
    return Fraction(ways, comb(n, left))


def test_p_is_fishers():
    """The lady tasting tea: 3 of 4 cups right among 8 has 17 chances in 70, all 4 one in 70."""
    rules = made(("a", "b", 3, 4, 4), ("a", "c", 4, 4, 4), n=8)
    assert significance(rules, 8)["p"].tolist() == pytest.approx([17 / 70, 1 / 70], rel=1e-12)


@pytest.mark.parametrize(
    ("count", "left", "right", "n"),
    [(0, 5, 7, 20), (5, 5, 7, 20), (30, 300, 400, 9835), (50, 60, 55, 100_000), (3, 3, 3, 10**6)],
)
def test_p_is_exact_far_out_in_the_tail(count: int, left: int, right: int, n: int):
    rules = made(("a", "b", count, left, right), ("b", "a", count, right, left), n=n)
    exact = float(by_hand(count, left, right, n))
    assert significance(rules, n)["p"].tolist() == pytest.approx([exact, exact], rel=1e-9)


def test_q_is_benjamini_and_hochbergs():
    itemsets = frequent_itemsets(Baskets.from_lines(groceries_lines()), min_support=0.005)
    rules = significance(association_rules(itemsets), 9835)
    expected = false_discovery_control(rules["p"].to_numpy())
    np.testing.assert_allclose(rules["q"].to_numpy(), expected, rtol=1e-12)
    assert (rules["q"] >= rules["p"]).all()


def test_rules_that_were_tested_and_dropped_count_too():
    rules = made(("a", "b", 3, 4, 4), ("a", "c", 4, 4, 4), n=8)
    found = significance(rules, 8, tested=20)
    assert found["q"].tolist() == pytest.approx([1.0, 20 / 70])  # 17/70 · 20/2 is over 1
    with pytest.raises(ValueError, match="2 rules cannot come from 1 tested"):
        significance(rules, 8, tested=1)


def test_independent_items_are_rarely_significant():
    """2,000 baskets of independent items: hardly a pair is a discovery at q = 0.05."""
    rng = np.random.default_rng(11)
    rows = [set(np.flatnonzero(row)) for row in rng.random((2000, 40)) < 0.15]
    itemsets = frequent_itemsets(baskets_of(rows), min_support=0.01, max_length=2)
    rules = significance(
        association_rules(itemsets, min_lift=1.0), 2000, tested=candidate_rules(itemsets)
    )
    assert len(rules) > 600
    assert (rules["q"] < 0.05).sum() <= 2
    assert rules["p"].min() < 0.01


def test_a_rule_that_holds_in_one_half_only_is_not_stable():
    first = [{"a", "b"}] * 6 + [{"a"}] * 2 + [{"c", "d"}] * 4 + [{"b"}] * 3
    second = [{"a", "b"}] * 5 + [{"a"}] * 3 + [{"c"}] * 4 + [{"d"}] * 4 + [{"e"}] * 4
    rules = association_rules(mine(first + second, 0.05))
    halves = stable_in_halves(rules, baskets_of(first), baskets_of(second))
    lasting, gone = rule(halves, "a", "b"), rule(halves, "c", "d")
    assert (lasting["count_first"], lasting["count_second"]) == (6, 5)
    assert lasting["lift_first"] == pytest.approx(6 * 15 / (8 * 9))
    assert lasting["lift_second"] == pytest.approx(5 * 20 / (8 * 5))
    assert lasting["stable"]
    assert (gone["lift_first"], gone["lift_second"], gone["stable"]) == (3.75, 0.0, False)


def test_a_half_that_lacks_a_side_has_no_lift():
    rules = made(("a", "b", 10, 40, 20))
    halves = stable_in_halves(rules, baskets_of([{"a", "b"}, {"c"}]), baskets_of([{"a"}]))
    assert halves["lift_first"].tolist() == [2.0]
    assert np.isnan(halves["lift_second"]).all()
    assert halves["stable"].tolist() == [False]
