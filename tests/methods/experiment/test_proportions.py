"""Small proportions: the score method against statsmodels and against its own definition."""

import itertools
import math

import pytest
from scipy.optimize import minimize_scalar

from analytics.methods.experiment.arms import Unknown
from analytics.methods.experiment.comparison import (
    SINGLE_LOOK,
    Comparison,
    compare_moments,
    compare_small_proportions,
)
from analytics.methods.experiment.moments import Moments

CASES = [
    ((3, 50), (9, 48)),
    ((1, 1000), (7, 990)),
    ((5, 6), (1, 4)),
    ((12, 5000), (3, 500)),
    ((1, 20), (0, 25)),
]


@pytest.mark.parametrize(("control", "treatment"), CASES)
def test_p_and_ratio_interval_are_those_of_statsmodels(control, treatment):
    """statsmodels 0.15 is no oracle for the difference (see the next test)."""
    from statsmodels.stats import proportion

    found = compare_small_proportions(control, treatment)
    assert isinstance(found, Comparison)
    counts = (*treatment, *control)
    p = proportion.test_proportions_2indep(*counts, value=0, compare="diff", method="score").pvalue
    assert found.p == pytest.approx(p, abs=1e-9)
    if treatment[0]:
        low, high = proportion.confint_proportions_2indep(*counts, compare="ratio", method="score")
        assert (1 + found.lift_low, 1 + found.lift_high) == pytest.approx((low, high), rel=1e-6)


@pytest.mark.parametrize(("control", "treatment"), CASES[:4])
def test_the_difference_interval_ends_where_the_likeliest_rates_give_the_bound(control, treatment):
    """At each end the statistic, with rates found by maximising the likelihood, is ±1.96."""
    (x0, n0), (x1, n1) = control, treatment
    found = compare_small_proportions(control, treatment)

    for delta, sign in ((found.low, 1), (found.high, -1)):

        def unlikely(p, d=delta):
            q = p + d
            logs = ((x0, p), (n0 - x0, 1 - p), (x1, q), (n1 - x1, 1 - q))
            return -sum(k * math.log(r) for k, r in logs)

        inside = (max(0, -delta) + 1e-12, min(1, 1 - delta) - 1e-12)
        p = minimize_scalar(unlikely, bounds=inside, method="bounded", options={"xatol": 1e-13}).x
        q, n = p + delta, n0 + n1
        error = math.sqrt((p * (1 - p) / n0 + q * (1 - q) / n1) * n / (n - 1))
        assert (x1 / n1 - x0 / n0 - delta) / error == pytest.approx(sign * SINGLE_LOOK, abs=1e-6)


def test_test_and_both_intervals_agree_for_every_small_table():
    """All outcomes of 5 v 5, 8 v 12 and 20 v 4: 252 comparable tables, no contradiction."""
    seen = 0
    for n0, n1 in ((5, 5), (8, 12), (20, 4)):
        for x0, x1 in itertools.product(range(n0 + 1), range(n1 + 1)):
            found = compare_small_proportions((x0, n0), (x1, n1))
            if isinstance(found, Unknown):
                assert x0 + x1 in (0, n0 + n1)
                continue
            seen += 1
            apart = found.p < 0.05
            assert apart == (found.low > 0 or found.high < 0)
            assert -1 <= found.low <= found.difference <= found.high <= 1
            if found.lift is not None:
                assert apart == (found.lift_low > 0 or found.lift_high < 0)
                assert found.lift_low <= found.lift <= found.lift_high
    assert seen == 252


def test_a_control_without_success_has_no_lift_but_a_difference():
    found = compare_small_proportions((0, 20), (5, 25))
    assert found.lift is None
    assert 0 < found.low < 0.2 < found.high


def test_a_ratio_out_of_all_reach_is_hidden():
    """1 of 10 million million against 5 of 5."""
    assert compare_small_proportions((1, 10**13), (5, 5)).lift is None


@pytest.mark.parametrize(
    ("control", "treatment", "reason"),
    [
        ((0, 0), (0, 0), "no_data"),
        ((0, 0), (1, 9), "one_arm"),
        ((0, 2), (1, 1), "too_few"),
        ((0, 50), (0, 60), "zero_variance"),
        ((50, 50), (60, 60), "zero_variance"),
    ],
)
def test_what_cannot_be_compared_says_why(control, treatment, reason):
    assert compare_small_proportions(control, treatment) == Unknown(reason)


@pytest.mark.parametrize(("successes", "method"), [(9, "score"), (10, "welch"), (491, "score")])
def test_a_cell_below_ten_takes_the_score_method(successes, method):
    control, treatment = Moments.of_proportion(50, 500), Moments.of_proportion(successes, 500)
    assert compare_moments("proportion", control, treatment).method == method


def test_one_arm_of_a_proportion_is_one_arm():
    assert compare_moments("proportion", Moments(0), Moments.of_proportion(1, 9)) == Unknown(
        "one_arm"
    )
