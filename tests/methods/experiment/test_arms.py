"""Arms: ratio, CUPED, strata and clustered quantiles."""

import numpy as np
import pytest

from analytics.methods.experiment.arms import (
    Arm,
    Unknown,
    arms,
    cuped_arms,
    mean_arm,
    ratio_arm,
    variance_kept,
)
from analytics.methods.experiment.comparison import Comparison, compare_arms, compare_moments
from analytics.methods.experiment.moments import Moments
from analytics.methods.experiment.quantiles import design_effect, neighbour_ranks, quantile_arm
from analytics.methods.experiment.strata import fold_small, stratified_arms


def test_a_ratio_by_hand():
    """Orders 1,2,3 over sessions 2,2,2: ratio 1, error² = 1/(3·4)."""
    arm = ratio_arm(Moments.of([1, 2, 3], [2, 2, 2]))
    assert arm == Arm(3, 1.0, pytest.approx(1 / 12), 2)


def test_a_ratio_that_everyone_shares_has_no_error():
    arm = ratio_arm(Moments.of([1, 2, 3], [2, 4, 6]))
    assert arm == Arm(3, 0.5, 0.0, 2)
    pair = (Moments.of([1, 2, 3], [2, 4, 6]),) * 2
    assert compare_moments("ratio", *pair) == Unknown("zero_variance")


@pytest.mark.parametrize(
    ("moments", "reason"),
    [
        (Moments(0), "no_data"),
        (Moments.of([1], [2]), "too_few"),
        (Moments.of([1, 2], [0, 0]), "zero_denominator"),
    ],
)
def test_a_ratio_that_cannot_be_says_why(moments, reason):
    assert ratio_arm(moments) == Unknown(reason)


def test_reasons_other_than_too_few_pass_through():
    good, empty = Moments.of([1, 2, 3], [1, 2, 2]), Moments.of([1, 2], [0, 0])
    assert compare_moments("ratio", good, empty) == Unknown("zero_denominator")


def test_cuped_removes_what_the_covariate_explains():
    """y = x + noise: the error shrinks to the noise's, and a difference in x is taken out."""
    rng = np.random.default_rng(7)
    x, noise = rng.normal(0, 3, (2, 2000)), rng.normal(0, 1, (2, 2000))
    pair = [Moments.of(a + e, a) for a, e in zip(x, noise, strict=True)]
    raw, adjusted = compare_moments("mean", *pair), compare_moments("cuped", *pair)
    assert adjusted.standard_error == pytest.approx(np.sqrt(2 / 2000), rel=0.05)
    assert (adjusted.standard_error / raw.standard_error) ** 2 == pytest.approx(
        variance_kept(*pair), rel=0.02
    )


def test_a_covariate_without_spread_leaves_the_means_alone():
    pair = Moments.of([1, 2, 3], [4, 4, 4]), Moments.of([2, 3, 9], [4, 4, 4])
    assert cuped_arms(*pair) == (mean_arm(pair[0]), mean_arm(pair[1]))
    assert variance_kept(*pair) is None


def test_a_covariate_equal_to_the_metric_leaves_no_variance():
    pair = Moments.of([1, 2, 3], [1, 2, 3]), Moments.of([2, 3, 9], [2, 3, 9])
    assert compare_moments("cuped", *pair) == Unknown("zero_variance")


@pytest.mark.parametrize(("empty", "reason"), [([], "no_data"), ([1], "too_few")])
def test_cuped_with_an_arm_too_small_says_why(empty, reason):
    control, treatment = cuped_arms(Moments.of(empty, empty), Moments.of([1, 2, 4], [1, 3, 3]))
    assert control == Unknown(reason)
    assert isinstance(treatment, Arm)


def test_every_kind_has_its_arms():
    pair = Moments.of([1, 0, 1], [1, 2, 3]), Moments.of([1, 1, 0], [1, 2, 2])
    for kind in ("mean", "proportion", "ratio", "cuped"):
        assert all(isinstance(a, Arm) for a in arms(kind, *pair))


def test_strata_by_hand():
    """Half of all units in each stratum: mean of 1.5 and 11, and of 3.5 and 13."""
    strata = [
        (Moments.of([1, 2]), Moments.of([3, 4])),
        (Moments.of([10, 12]), Moments.of([12, 14])),
    ]
    control, treatment = stratified_arms(strata)
    assert control.value == 6.25
    assert treatment.value == 8.25
    assert control.squared_error == pytest.approx(0.25 * 0.25 + 0.25 * 1.0)


def test_strata_undo_a_change_of_allocation():
    """Better on both days, worse when pooled, because day 2 is poor and mostly treated."""
    day1 = (Moments.of_proportion(2000, 10_000), Moments.of_proportion(220, 1_000))
    day2 = (Moments.of_proportion(100, 1_000), Moments.of_proportion(1200, 10_000))
    pooled = compare_moments("proportion", day1[0] + day2[0], day1[1] + day2[1])
    found = compare_arms(*stratified_arms([day1, day2]))
    assert pooled.finding == "worse"
    assert found.finding == "better"
    assert found.difference == pytest.approx(0.02)


def test_strata_too_small_are_put_together():
    one, two = Moments.of([1.0]), Moments.of([1.0, 2.0])
    assert [c.n for c, _ in fold_small([(two, two), (one, one), (one, two)])] == [2, 2]
    assert [c.n for c, _ in fold_small([(two, two), (one, Moments(0))])] == [3]
    assert fold_small([(Moments(0), Moments(0))]) == []


def test_strata_that_cannot_be_compared_say_why():
    assert stratified_arms([]) == (Unknown("no_data"), Unknown("no_data"))
    control, _ = stratified_arms([(Moments.of([1.0]), Moments.of([1.0, 2.0]))])
    assert control == Unknown("too_few")


def test_strata_without_spread_are_zero_variance():
    flat = Moments.of([2.0, 2.0])
    assert compare_arms(*stratified_arms([(flat, flat)])) == Unknown("zero_variance")


def test_independent_events_have_a_design_effect_near_one():
    """One event a person: the clustered error is the textbook one of a quantile."""
    rng = np.random.default_rng(8)
    values = rng.normal(size=40_000)
    ranks = neighbour_ranks(0.9, values.size)
    middle, low, high = np.quantile(values, [0.9, *ranks])
    below = Moments.of((values <= middle).astype(float), np.ones(values.size))
    arm = quantile_arm(0.9, middle, low, high, below)
    assert design_effect(0.9, below) == pytest.approx(1, abs=0.01)
    density = np.exp(-(1.2815515655**2) / 2) / np.sqrt(2 * np.pi)
    assert np.sqrt(arm.squared_error) == pytest.approx(
        np.sqrt(0.09 / values.size) / density, rel=0.1
    )


def test_events_of_one_person_count_once():
    """Each value five times over: a design effect of 5."""
    rng = np.random.default_rng(9)
    below = Moments.of(5.0 * (rng.uniform(size=4000) < 0.9), np.full(4000, 5.0))
    assert design_effect(0.9, below) == pytest.approx(5, rel=0.1)


def test_a_quantile_without_room_or_spread_says_so():
    below = Moments.of([1.0, 0.0, 1.0], [1.0, 1.0, 1.0])
    assert quantile_arm(0.5, 3.0, 3.0, 3.0, below) == Unknown("zero_variance")
    assert quantile_arm(0.5, 3.0, 2.0, 4.0, Moments(0)) == Unknown("no_data")
    assert design_effect(0.5, Moments(0)) is None
    assert neighbour_ranks(0.9, 10) is None
    assert neighbour_ranks(0.9, 0) is None
    assert neighbour_ranks(1.0, 100) is None


def test_a_quantile_compares_like_any_arm():
    arm = Arm(100, 10.0, 0.25, 99)
    assert isinstance(compare_arms(arm, Arm(100, 11.0, 0.25, 99)), Comparison)
