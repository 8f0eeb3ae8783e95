"""Drift: hand-worked indices, unknown as a bin of its own, nothing where nothing moved."""

import numpy as np
import pytest

from analytics.methods.drift import MOVED, MOVED_FAR, Histogram, stability


def test_counts_by_bounds_and_the_index_by_hand() -> None:
    before = Histogram.of(np.array([1.0, 1.0, 2.0, np.nan]), (1.0,))
    assert before == Histogram((1.0,), (2, 1, 1))
    # shares with half a count each: 2.5, 1.5, 1.5 of 5.5; now 1.5, 2.5, 1.5
    expected = 2 * (1.0 / 5.5) * np.log(2.5 / 1.5)
    assert stability(before, np.array([1.0, 2.0, 3.0, np.nan])) == pytest.approx(expected)


def test_draws_of_one_distribution_have_not_moved_and_shifted_ones_have() -> None:
    rng = np.random.default_rng(3)
    before = Histogram.of(rng.normal(size=2_000))
    assert len(before.bounds) == 9
    assert stability(before, rng.normal(size=2_000)) < MOVED
    assert stability(before, rng.normal(0.8, 1, 2_000)) > MOVED_FAR


def test_few_values_and_none() -> None:
    ones = np.ones(50)
    before = Histogram.of(ones)
    assert (before.bounds, before.counts) == ((1.0,), (50, 0, 0))
    assert stability(before, ones) == 0
    unknown = Histogram.of(np.full(5, np.nan))
    assert unknown == Histogram((), (0, 5))
    assert stability(unknown, np.full(5, np.nan)) == 0
