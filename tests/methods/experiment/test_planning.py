"""Planning: power, sizes and time left, by hand and against statsmodels."""

import math

import pytest

from analytics.methods.experiment.planning import (
    TimeLeft,
    inflation,
    power,
    progress,
    smallest_findable,
    time_left,
    units_for_width,
    units_needed,
)


def error_of_ten_percent_on_five(n):
    """The standard error of the difference between 5 % and 5.5 % with n per arm."""
    return math.sqrt((0.05 * 0.95 + 0.055 * 0.945) / n)


@pytest.mark.parametrize(("n", "theory"), [(10_000, 0.354), (31_234, 0.800), (40_000, 0.887)])
def test_power_of_ten_percent_on_a_conversion_of_five(n, theory):
    assert power(0.005, error_of_ten_percent_on_five(n)) == pytest.approx(theory, abs=0.0006)


def test_power_and_size_are_those_of_statsmodels():
    from statsmodels.stats.power import NormalIndPower

    oracle = NormalIndPower()
    assert power(0.2, math.sqrt(2 / 300)) == pytest.approx(oracle.power(0.2, 300, 0.05), abs=1e-9)
    each = oracle.solve_power(0.2, alpha=0.05, power=0.9)
    assert units_needed(0.2, 1.0, wanted=0.9) == math.ceil(2 * each)


def test_no_effect_is_found_at_the_level():
    assert power(0.0, 1.0) == pytest.approx(0.05)


def test_size_by_hand():
    """(1.96 + 0.8416)²·(1/0.5 + 1/0.5)/0.1² = 3,139.6."""
    assert units_needed(0.1, 1.0) == 3140
    assert units_needed(-0.1, 1.0) == 3140
    assert units_needed(0.1, 1.0, inflation=1.05) == math.ceil(3139.55 * 1.05)


def test_an_uneven_split_needs_more():
    assert units_needed(0.1, 1.0, treatment_share=0.1) > 2.7 * units_needed(0.1, 1.0)


def test_the_smallest_findable_effect_is_found_with_the_wanted_power():
    effect = smallest_findable(0.02, wanted=0.8)
    assert effect == pytest.approx(2.8016 * 0.02, abs=1e-5)
    assert power(effect, 0.02) == pytest.approx(0.8)


def test_daily_looks_cost_a_few_percent():
    assert inflation(7) == pytest.approx(1.0, abs=1e-6)
    assert 1.01 < inflation(14) < inflation(28) < 1.06


def test_what_cannot_be_planned_is_unknown():
    assert power(0.1, 0.0) is None
    assert smallest_findable(0.0) is None
    assert units_needed(0.0, 1.0) is None
    assert units_needed(0.1, 0.0) is None
    assert progress(0.0, 0.1) is None
    assert units_for_width(0.0, 0.1, 100) is None


def test_impossible_wishes_are_refused():
    with pytest.raises(ValueError, match="power"):
        units_needed(0.1, 1.0, wanted=0.04)
    with pytest.raises(ValueError, match="share"):
        units_needed(0.1, 1.0, treatment_share=1.0)


@pytest.mark.parametrize(
    ("needed", "so_far", "days", "left"),
    [
        (2_000, 1_000, 10, TimeLeft("running", 14)),
        (1_700, 1_000, 10, TimeLeft("running", 7)),
        (1_000, 1_000, 10, TimeLeft("done", 0)),
        (9_000, 1_000, 10, TimeLeft("running", 84)),
        (9_100, 1_000, 10, TimeLeft("would_not_finish")),
        (None, 1_000, 10, TimeLeft("unknown")),
        (2_000, 0, 10, TimeLeft("unknown")),
        (2_000, 10, 0, TimeLeft("unknown")),
    ],
)
def test_time_left_is_whole_weeks_or_a_refusal(needed, so_far, days, left):
    """100 units a day; 90 days in all is the longest that still finishes."""
    assert time_left(needed, so_far, days) == left


def test_an_interval_twice_too_wide_needs_four_times_the_units():
    assert units_for_width(0.02, 0.01, 500) == 2_000
    assert progress(0.02, 0.01) == 0.25
    assert progress(0.005, 0.01) == 1.0
