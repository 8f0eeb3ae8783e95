"""Tails: capping and the skew gate."""

import math

import numpy as np
import pytest

from analytics.methods.experiment.moments import Moments
from analytics.methods.experiment.tails import pooled_cap, skew_check


def test_the_cap_is_the_pooled_quantile_and_cuts_only_above_it():
    """Of 1 … 1,000 the 99.9th percentile is 999: one value is cut."""
    values = np.arange(1, 1001)
    cap = pooled_cap(values)
    assert cap.threshold == 999
    assert cap.share(values) == 0.001
    assert cap.apply(values).max() == 999
    assert cap.apply([5, 2_000]).tolist() == [5, 999]


def test_a_cap_that_would_cut_everything_is_none():
    """Fewer than one in 1,000 bought: the percentile is zero."""
    assert pooled_cap([0.0] * 9_999 + [50.0]) is None
    assert pooled_cap([]) is None
    assert pooled_cap([3.0, 3.0]) is None
    assert pooled_cap([1.0, 2.0]).share([]) is None


def test_capping_takes_a_whale_out_of_the_mean():
    values = np.array([1.0, 0.0, 2.0, 3.0] * 500 + [100_000.0])
    assert Moments.of(pooled_cap(values).apply(values)).mean == pytest.approx(1.5, abs=0.01)


def revenue(n, sigma=1.5, seed=12):
    """5 % buy, lognormal amounts."""
    rng = np.random.default_rng(seed)
    return Moments.of(np.where(rng.uniform(size=n) < 0.05, rng.lognormal(0, sigma, n), 0.0))


def test_heavy_tails_in_equal_arms_warn_but_do_not_block():
    """Their skews cancel in the difference: the test is conservative there (0.045 of 0.05)."""
    skew = skew_check(revenue(10_000), revenue(10_000, seed=13))
    assert skew.warns
    assert not skew.blocks
    assert skew.difference == 0
    assert skew.needed == math.ceil(355 * skew.skewness**2)


def test_heavy_tails_in_unequal_arms_block():
    skew = skew_check(revenue(36_000), revenue(4_000, seed=13))
    assert skew.blocks
    assert skew.smallest_arm == 4_000


def test_the_difference_of_a_small_and_a_huge_arm_is_as_skewed_as_the_small_mean():
    skew = skew_check(revenue(4_000), revenue(2_000_000, seed=13))
    assert skew.difference == pytest.approx(skew.skewness / math.sqrt(4_000), rel=0.01)


def test_a_metric_without_tails_passes():
    rng = np.random.default_rng(14)
    skew = skew_check(Moments.of(rng.normal(size=3_000)), Moments.of(rng.normal(size=300)))
    assert not skew.warns


def test_without_spread_or_an_arm_there_is_nothing_to_check():
    flat = Moments.of([1.0, 1.0])
    assert skew_check(flat, flat) is None
    assert skew_check(Moments.of([1.0, 2.0]), Moments(0)) is None
