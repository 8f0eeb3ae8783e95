"""Health: splits, segments, allocation and contamination."""

import pytest
from scipy import stats

from analytics.methods.experiment.health import (
    Health,
    allocation_p,
    graded,
    split_by_segment,
    split_check,
)


def test_the_cookie_cats_split_is_warned_about():
    """44,700 / 45,489: p = 0.0086 (chi-square without continuity)."""
    split = split_check((44_700, 45_489))
    assert split.p == pytest.approx(0.008608, abs=1e-6)
    assert split.status == "warn"
    assert split.expected == (45_094.5, 45_094.5)


def test_many_units_are_scipys_chi_square():
    counts, shares = (5_100, 2_430, 2_470), (2, 1, 1)
    split = split_check(counts, shares)
    assert split.p == pytest.approx(stats.chisquare(counts, [5_000, 2_500, 2_500]).pvalue)


@pytest.mark.parametrize("counts", [(60, 40), (3, 0), (0, 9), (450, 549), (499, 500)])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_few_units_are_scipys_exact_test(counts, share):
    split = split_check(counts, (share, 1 - share))
    assert split.p == pytest.approx(stats.binomtest(counts[0], sum(counts), share).pvalue)


@pytest.mark.parametrize(
    ("p", "status"),
    [(None, "ok"), (0.01, "ok"), (0.0099, "warn"), (0.001, "warn"), (0.0009, "block")],
)
def test_a_split_warns_below_one_in_100_and_blocks_below_one_in_1000(p, status):
    assert graded(p) == status


@pytest.mark.parametrize("counts", [(0, 0), (5,), (3, 4, 5)])
def test_too_few_to_say_is_unknown(counts):
    assert split_check(counts).p is None
    assert split_check(counts).status == "ok"


@pytest.mark.parametrize(
    ("counts", "planned"), [((1, 2), (1,)), ((1, 2), (1, 0)), ((-1, 2), (1, 1))]
)
def test_a_plan_that_does_not_fit_is_refused(counts, planned):
    with pytest.raises(ValueError, match="share"):
        split_check(counts, planned)


def test_segments_pay_for_their_number():
    """p of one segment times three; a segment without units is not counted."""
    segments = {"ios": (5_000, 5_300), "web": (700, 710), "tv": (40, 41), "none": (0, 0)}
    found = split_by_segment(segments)
    assert found["ios"].p == pytest.approx(3 * split_check((5_000, 5_300)).p)
    assert found["web"].p == 1.0
    assert found["none"].p is None


def test_a_change_of_allocation_shows_between_days():
    steady, changed = [(500, 500), (510, 490), (490, 505)], [(900, 100), (500, 500), (500, 510)]
    assert allocation_p(steady) > 0.1
    assert allocation_p(changed) < 1e-9


def test_allocation_is_scipys_test_of_a_table():
    days = [(500, 480), (530, 490), (450, 505)]
    oracle = stats.chi2_contingency(days, correction=False).pvalue
    assert allocation_p(days) == pytest.approx(oracle)


def test_thin_days_are_put_together():
    """Two days of 3 + 3 make one row with enough units; the last thin day joins its neighbour."""
    thin = allocation_p([(3, 3), (3, 3), (50, 60), (1, 0)])
    assert thin == pytest.approx(
        stats.chi2_contingency([(6, 6), (51, 60)], correction=False).pvalue
    )


@pytest.mark.parametrize("days", [[], [(0, 0)], [(500, 500)], [(1, 1), (1, 1)], [(50, 0), (60, 0)]])
def test_allocation_of_one_day_or_one_arm_is_unknown(days):
    assert allocation_p(days) is None


def test_contamination_blocks_above_one_percent():
    assert Health(contaminated=101, exposed=10_000).too_contaminated
    assert not Health(contaminated=100, exposed=10_000).too_contaminated
    assert Health(contaminated=100, exposed=10_000).contamination == 0.01
    assert Health().contamination is None
    assert not Health().too_contaminated
