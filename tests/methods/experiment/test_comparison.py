"""Comparison: Welch and Fieller by hand, their agreement, and the numeric traps."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analytics.methods.experiment.arms import Arm, Unknown
from analytics.methods.experiment.comparison import (
    Comparison,
    compare_arms,
    compare_moments,
    fieller,
    t_quantile,
)
from analytics.methods.experiment.moments import Moments


def known(found):
    """The comparison, asserting that there is one."""
    assert isinstance(found, Comparison)
    return found


def test_welch_by_hand():
    """1,2,3 v 2,4,6: difference 2, variances 1 and 4, error √(5/3), df (5/3)²/(1/18+16/18)."""
    found = known(compare_moments("mean", Moments.of([1, 2, 3]), Moments.of([2, 4, 6])))
    assert found.difference == 2
    assert found.standard_error == pytest.approx(math.sqrt(5 / 3))
    assert found.df == pytest.approx((25 / 9) / (17 / 18))
    assert found.finding == "unclear"


def test_welch_is_scipys():
    rng = np.random.default_rng(5)
    a, b = rng.normal(10, 2, 40), rng.normal(11, 5, 70)
    found = known(compare_moments("mean", Moments.of(a), Moments.of(b)))
    oracle = stats.ttest_ind(b, a, equal_var=False)
    low, high = oracle.confidence_interval()
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-9)
    assert found.df == pytest.approx(oracle.df)
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize(("critical", "df"), [(1.96, 3.0), (4.3, 50.0), (7.9, 500.0)])
def test_a_bound_becomes_the_t_quantile_of_the_same_level(critical, df):
    assert t_quantile(critical, df) == pytest.approx(stats.t.isf(stats.norm.sf(critical), df))


def test_fieller_solves_its_own_equation():
    """At both ends r: (t − r·c)² = q²(var_t + r²·var_c)."""
    control, treatment, q = Arm(9, 10.0, 1.0, 8), Arm(9, 12.0, 2.0, 8), 2.0
    lift = fieller(control, treatment, q)
    assert lift is not None
    assert lift[0] == pytest.approx(0.2)
    for end in lift[1:]:
        r = 1 + end
        assert (12 - r * 10) ** 2 == pytest.approx(q * q * (2 + r * r * 1))


@given(
    st.floats(0.5, 100),
    st.floats(-100, 100),
    st.floats(0.01, 10),
    st.floats(0.01, 10),
    st.sampled_from([1.96, 2.5, 4.0]),
    st.sampled_from([1, -1]),
    st.booleans(),
)
def test_the_lift_never_contradicts_the_test(c, t, sc, st_, critical, sign, more):
    """Whatever the sign of the baseline, the lift excludes zero exactly when the test does."""
    control, treatment = Arm(50, sign * c, sc**2, 49), Arm(60, t, st_**2, 59)
    found = known(compare_arms(control, treatment, critical=critical, more_is_better=more))
    if found.lift_low is None or found.lift_high is None:
        return
    edge = min(abs(found.low), abs(found.high))
    if edge < 1e-9:
        return
    assert (found.lift_low > 0 or found.lift_high < 0) == (found.finding != "unclear")
    assert found.lift_low <= found.lift <= found.lift_high


def test_the_lift_is_hidden_when_the_control_is_not_clear_of_zero():
    """Control 1 ± 1: g = 1.96² > 1, so only natural units are shown."""
    found = known(compare_arms(Arm(500, 1.0, 1.0, 499), Arm(500, 9.0, 1.0, 499)))
    assert found.lift is None
    assert found.lift_low is None
    assert found.lift_high is None
    assert found.gain is None
    assert found.finding == "better"
    assert found.natural_gain[0] == 8


def test_a_control_of_zero_has_no_lift():
    assert fieller(Arm(5, 0.0, 1.0, 4), Arm(5, 1.0, 1.0, 4), 2.0) is None


def test_a_negative_baseline_that_rises_is_a_gain():
    """−5.0 → −4.5 is +10 %."""
    found = known(compare_arms(Arm(900, -5.0, 1e-4, 899), Arm(900, -4.5, 1e-4, 899)))
    assert found.difference == pytest.approx(0.5)
    assert found.lift == pytest.approx(0.1)
    assert found.lift_low < 0.1 < found.lift_high
    assert found.finding == "better"


def test_lower_is_better_turns_finding_and_gain_but_not_the_numbers():
    """Latency 100 → 90 is a lift of −10 % and a gain of +10 %."""
    arms = Arm(900, 100.0, 1.0, 899), Arm(900, 90.0, 1.0, 899)
    found = known(compare_arms(*arms, more_is_better=False))
    assert found.finding == "better"
    assert found.lift == pytest.approx(-0.1)
    assert found.gain[0] == pytest.approx(0.1)
    assert found.gain[1] == pytest.approx(-found.lift_high)
    assert found.z > 0
    assert known(compare_arms(*arms)).finding == "worse"
    assert known(compare_arms(*arms[::-1], more_is_better=False)).finding == "worse"
    assert known(compare_arms(*arms)).z < 0


def test_values_offset_by_a_billion_give_the_same_difference_and_p():
    rng = np.random.default_rng(6)
    a, b = rng.normal(0, 1, 300).round(4), rng.normal(0.2, 1, 300).round(4)
    near = known(compare_moments("mean", Moments.of(a), Moments.of(b)))
    far = known(compare_moments("mean", Moments.of(a + 1e9), Moments.of(b + 1e9)))
    assert far.p == pytest.approx(near.p, rel=1e-4)
    assert far.difference == pytest.approx(near.difference, abs=1e-6)


@pytest.mark.parametrize(
    ("control", "treatment", "reason"),
    [
        ([], [], "no_data"),
        ([1, 2, 3], [], "one_arm"),
        ([], [1, 2, 3], "one_arm"),
        ([1, 2], [3], "too_few"),
        ([5] * 20, [5] * 20, "zero_variance"),
        ([5] * 20, [6] * 20, "zero_variance"),
    ],
)
def test_what_cannot_be_compared_says_why(control, treatment, reason):
    """No data, one arm, three users, all equal, no spread."""
    found = compare_moments("mean", Moments.of(control), Moments.of(treatment))
    assert found == Unknown(reason)


def test_one_arm_without_spread_can_still_be_compared():
    found = known(compare_moments("mean", Moments.of([5] * 20), Moments.of([5, 6] * 10)))
    assert found.df == pytest.approx(19)


def test_no_number_is_nan_even_for_a_certain_difference():
    """A p that underflows to 0 is still a number, and its z is infinite."""
    found = known(compare_arms(Arm(10**6, 1.0, 1e-12, 1e6), Arm(10**6, 2.0, 1e-12, 1e6)))
    assert found.p == 0
    assert found.z == math.inf


def test_one_whale_widens_the_interval_instead_of_deciding():
    """1,000 buyers of 1, and one of 100,000 in the treatment: unclear, and z near 1."""
    control = Moments.of([1.0, 0.0] * 500)
    treatment = Moments.of([1.0, 0.0] * 499 + [100_000.0, 0.0])
    found = known(compare_moments("mean", control, treatment))
    assert found.finding == "unclear"
    assert found.z == pytest.approx(1, abs=0.01)
