"""Regimes: group-sequential bounds against published ones, confidence sequences, schedules."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from analytics.methods.experiment.bounds import (
    CEILING,
    bounds,
    crossing,
    drift_for_power,
    obrien_fleming_spent,
)
from analytics.methods.experiment.regimes import (
    Look,
    OpenEnded,
    Planned,
    SingleLook,
    information,
)
from analytics.methods.experiment.roots import root

# Lan-DeMets O'Brien-Fleming, two-sided 5 %, equal looks: as printed by the ld98 program, whose
# own grid leaves 1e-4 (3.3569 where adaptive quadrature gives 3.35701).
PUBLISHED = {
    1: [1.96],
    2: [2.9626, 1.9686],
    3: [3.7103, 2.5114, 1.9930],
    4: [4.3326, 2.9631, 2.3590, 2.0141],
    5: [4.8769, 3.3569, 2.6803, 2.2898, 2.0310],
}


def equal_looks(k):
    """Times and information of k equal looks."""
    return tuple((i + 1) / k for i in range(k)), tuple(float(i + 1) for i in range(k))


@pytest.mark.parametrize("k", PUBLISHED)
def test_bounds_are_the_published_ones(k):
    assert bounds(*equal_looks(k)) == pytest.approx(PUBLISHED[k], abs=1.5e-4)


#: spotify-confidence 4.1.0's solver (`sequential_bound_solver.bounds`, one side, alpha 0.025), its
#: power family replaced by the O'Brien-Fleming spending of one side. Its searches stop at 1e-7 of
#: the spending, on a grid of 0.05: about 1e-4 of the bound. It can't run beside pandas 3.
SPOTIFY = {
    (1 / 4, 2 / 4, 3 / 4, 1.0): [4.33263, 2.96311, 2.35902, 2.01406],
    (1 / 5, 2 / 5, 3 / 5, 4 / 5, 1.0): [4.87688, 3.35695, 2.68026, 2.28979, 2.031],
    tuple(d / 14 for d in range(7, 15)): [
        2.96259, 2.79729, 2.63571, 2.49735, 2.3783, 2.27465, 2.18343, 2.10234,
    ],
    tuple(d / 28 for d in range(7, 29, 3)): [
        4.33263, 3.57692, 3.10664, 2.78173, 2.54084, 2.35327, 2.20192, 2.07647,
    ],
}  # fmt: skip


@pytest.mark.parametrize("times", SPOTIFY)
def test_bounds_are_those_of_spotify_confidence(times):
    assert bounds(times, times) == pytest.approx(SPOTIFY[times], abs=1.5e-4)


def test_the_second_bound_is_that_of_adaptive_quadrature():
    """P(first inside, second outside) by scipy's quad is what the second look may spend."""
    first, second = bounds(*equal_looks(5))[:2]
    sd, edge = math.sqrt(0.2), second * math.sqrt(0.4)

    def leaves(y):
        out = stats.norm.sf((edge - y) / sd) + stats.norm.cdf((-edge - y) / sd)
        return stats.norm.pdf(y / sd) / sd * out

    chance, _ = integrate.quad(leaves, -first * sd, first * sd, epsabs=1e-14, epsrel=1e-11)
    increment = obrien_fleming_spent(0.4, 0.05) - obrien_fleming_spent(0.2, 0.05)
    assert chance == pytest.approx(increment, rel=1e-8)


@pytest.mark.parametrize("k", [2, 5, 14, 28, 90])
def test_all_looks_together_err_exactly_the_level(k):
    times, seen = equal_looks(k)
    assert sum(crossing(bounds(times, seen), seen)) == pytest.approx(0.05, abs=1e-9)


def test_looks_with_nothing_to_spend_cannot_decide():
    """Day 1 of 28 would have spent 1e-31: carried forward."""
    assert bounds(*equal_looks(28))[0] == CEILING


def test_spending_starts_at_nothing_and_ends_at_the_level():
    assert obrien_fleming_spent(0, 0.05) == 0
    assert obrien_fleming_spent(1, 0.05) == pytest.approx(0.05)
    assert obrien_fleming_spent(7, 0.05) == pytest.approx(0.05)
    assert obrien_fleming_spent(0.5, 0.05) == pytest.approx(2 * 0.0015 + 5e-5, abs=6e-5)


def test_simulated_walks_leave_the_bounds_five_times_in_a_hundred():
    """50,000 walks over uneven looks; band of 99 %: 0.05 ± 0.0025."""
    seen = np.array([3.0, 4.0, 9.0, 10.0, 16.0, 20.0])
    limits = bounds(tuple(seen / 20), tuple(seen))
    steps = np.sqrt(np.diff(seen, prepend=0))
    walks = (np.random.default_rng(10).normal(size=(50_000, 6)) * steps).cumsum(axis=1)
    left = (np.abs(walks / np.sqrt(seen)) >= limits).any(axis=1).mean()
    assert left == pytest.approx(0.05, abs=0.0025)


def test_traffic_that_doubles_still_spends_exactly_the_level():
    """Calendar spending, information as it came."""
    times = tuple(d / 14 for d in range(7, 15))
    seen = tuple(float(d + 2 * max(0, d - 9)) for d in range(7, 15))
    assert sum(crossing(bounds(times, seen), seen)) == pytest.approx(0.05, abs=1e-9)


def test_a_look_with_no_new_units_repeats_the_last_bound():
    limits = bounds((0.5, 0.6, 1.0), (10.0, 10.0, 20.0))
    assert limits[1] == limits[0]
    assert sum(crossing(limits, (10.0, 10.0, 20.0))) == pytest.approx(0.05, abs=1e-9)


def test_power_of_a_single_look_is_the_textbook_drift():
    """z(0.975) + z(0.8) = 2.8016."""
    assert drift_for_power([1.959964], [1.0], 0.8) == pytest.approx(2.8016, abs=1e-3)


@pytest.mark.parametrize(
    ("times", "seen"), [((0.5,), (1.0, 2.0)), ((0.0,), (1.0,)), ((1.0,), (0.0,))]
)
def test_looks_without_time_or_information_are_refused(times, seen):
    with pytest.raises(ValueError, match="above zero"):
        bounds(times, seen)


def daily_plan(days, last):
    """A plan of `days` looked at every day up to `last`."""
    return Planned(days, tuple(Look(d, 500.0 * d) for d in range(1, last + 1)))


def test_looks_before_the_first_week_cost_nothing():
    assert [look.day for look in daily_plan(14, 9).counted] == [7, 8, 9]
    assert daily_plan(14, 6).decides is None
    assert daily_plan(14, 6).critical() > daily_plan(14, 7).critical()


def test_a_plan_looked_at_once_at_its_end_is_a_single_look():
    plan = Planned(14, (Look(14, 9000.0),))
    assert plan.ended
    assert plan.critical() == pytest.approx(SingleLook().critical())


def test_after_the_plan_is_used_up_the_last_look_is_repeated():
    """Day 14's snapshot and bound answer on day 20 too."""
    at_end, later = daily_plan(14, 14), daily_plan(14, 20)
    assert later.ended
    assert later.decides == 14
    assert later.critical() == at_end.critical()


def test_a_missed_end_is_looked_at_on_the_first_day_after_it():
    plan = Planned(14, (Look(13, 1.0), Look(16, 1.3), Look(17, 1.4)))
    assert plan.decides == 16
    assert not Planned(14, (Look(13, 1.0),)).ended


def test_asking_twice_a_day_is_one_look():
    twice = Planned(14, (Look(7, 1.0), Look(7, 1.1), Look(8, 1.2)))
    assert [look.information for look in twice.counted] == [1.0, 1.2]


@pytest.mark.parametrize(("days", "looks"), [(6, ()), (14, (Look(9, 1.0), Look(8, 1.0)))])
def test_a_plan_must_hold_a_week_and_its_looks_be_in_order(days, looks):
    with pytest.raises(ValueError, match="days"):
        Planned(days, looks)


def test_the_confidence_sequence_by_its_formula():
    """n = tuning = 5000, level 0.05: ρ²n = −2ln α + ln(1 − 2ln α) = 7.9370."""
    s = -2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))
    assert OpenEnded(5000).critical() == pytest.approx(
        math.sqrt(2 * (s + 1) / s * math.log(math.sqrt(s + 1) / 0.05))
    )
    assert OpenEnded(5000).critical() == pytest.approx(3.035209, abs=1e-6)
    assert not OpenEnded(5000).ended


def test_its_p_is_the_level_exactly_at_its_bound():
    sequence = OpenEnded(20_000)
    assert sequence.always_valid_p(sequence.critical()) == pytest.approx(0.05)
    assert sequence.always_valid_p(0.0) == 1.0
    assert OpenEnded(0).always_valid_p(9.0) == 1.0
    assert OpenEnded(0).critical() == math.inf


def test_information_counts_the_smaller_arm():
    assert information(1000, 1000) == 500
    assert information(9000, 1000) == 900
    assert information(0, 1000) == 0
    assert SingleLook().ended


def test_a_root_needs_a_change_of_sign():
    assert root(lambda x: x - 2, 0, 2) == 2
    assert root(lambda x: x, 0, 2) == 0
    assert root(lambda x: x * x - 2, 0, 2) == pytest.approx(math.sqrt(2))
    with pytest.raises(ValueError, match="sign"):
        root(lambda x: x + 1, 0, 2)
