"""Moments: hand-worked sums, adding, and what cancellation must not do."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analytics.methods.experiment.moments import Moments, total


def test_moments_of_a_few_values_can_be_checked_by_hand():
    """1, 2, 3, 6: mean 3, variance (4+1+0+9)/3, m3 = (−8−1+0+27)/4."""
    m = Moments.of([1, 2, 3, 6])
    assert m.mean == 3
    assert m.variance == pytest.approx(14 / 3)
    assert m.skewness == pytest.approx((18 / 4) / (14 / 4) ** 1.5)
    assert m.positives == 4


def test_a_covariate_gives_its_mean_variance_and_covariance():
    m = Moments.of([1, 2, 3, 6], [10, 20, 30, 60])
    assert m.x_mean == 30
    assert m.x_variance == pytest.approx(1400 / 3)
    assert m.covariance == pytest.approx(140 / 3)


def test_skewness_is_scipys():
    values = np.random.default_rng(1).lognormal(size=500)
    assert Moments.of(values).skewness == pytest.approx(stats.skew(values), rel=1e-9)


@pytest.mark.parametrize("offset", [1e6, 1e9, -1e9])
def test_an_offset_of_a_billion_changes_neither_variance_nor_skewness(offset):
    values = np.random.default_rng(2).lognormal(size=2000).round(3)
    plain, moved = Moments.of(values), Moments.of(values + offset)
    assert moved.variance == pytest.approx(plain.variance, rel=1e-6)
    assert moved.skewness == pytest.approx(plain.skewness, rel=1e-5)


def test_raw_sums_of_huge_values_are_no_spread_and_never_a_negative_variance():
    """The store forgot to shift: what is left of the variance is rounding, so none is claimed."""
    values = 1e9 + np.random.default_rng(3).normal(size=1000)
    assert Moments.of(values, shift=0.0).variance == 0.0


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30),
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30),
)
def test_parts_add_up_to_the_whole_whatever_their_shifts(a, b):
    """Each part is shifted by its own first value; the sum is that of all values together."""
    both = Moments.of(a) + Moments.of(b)
    direct = Moments.of(a + b)
    assert both.n == direct.n
    assert both.mean == pytest.approx(direct.mean, abs=1e-9)
    assert both.variance == pytest.approx(direct.variance, rel=1e-6, abs=1e-6)


def test_adding_nothing_changes_nothing():
    m = Moments.of([1.0, 2.0], [3.0, 5.0])
    assert m + Moments(0) == m
    assert Moments(0) + m == m
    assert total([]) == Moments(0)
    assert total([m, Moments(0)]) == m


def test_covariances_survive_adding_across_shifts():
    rng = np.random.default_rng(4)
    y, x = rng.normal(5, 1, 50), rng.normal(9, 2, 50)
    both = Moments.of(y[:20], x[:20]) + Moments.of(y[20:], x[20:])
    assert both.covariance == pytest.approx(np.cov(y, x)[0, 1])
    assert both.skewness == pytest.approx(stats.skew(y))


def test_a_row_of_the_store_is_read_with_decimals_and_absent_keys():
    m = Moments.from_row({"n": 2, "y1": Decimal(4), "y2": 10, "positives": 2}, shift=1)
    assert m.mean == 3
    assert m.variance == 2
    assert m.x1 == 0


def test_sums_over_no_rows_are_null_and_mean_nobody():
    m = Moments.from_row({"n": 0, "y1": None, "y2": None, "y3": None, "positives": None})
    assert m.mean is None
    assert m.variance is None
    assert m.skewness is None
    assert m.x_mean is None
    assert m.x_variance is None
    assert m.covariance is None


@pytest.mark.parametrize(
    "row",
    [
        {"n": 3, "y1": None},
        {"n": 3, "y1": float("nan")},
        {"n": 3, "y2": float("inf")},
        {"n": -1},
        {"n": 2, "positives": 3},
    ],
)
def test_impossible_rows_are_refused(row):
    with pytest.raises(ValueError, match=r"NULL|finite|impossible"):
        Moments.from_row(row)


def test_one_unit_has_a_mean_and_no_variance():
    m = Moments.of([7.0])
    assert m.mean == 7
    assert m.variance is None


def test_equal_values_have_no_spread_and_no_skewness():
    m = Moments.of([0.1] * 1000, shift=0.3)
    assert m.variance == 0.0
    assert m.skewness is None


def test_no_values_are_nobody():
    assert Moments.of([]) == Moments(0)
