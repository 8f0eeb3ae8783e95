"""Guardrails, multiplicity, the prior and novelty."""

import math

import numpy as np
import pytest

from analytics.methods.experiment.arms import Arm, Unknown
from analytics.methods.experiment.comparison import compare_arms
from analytics.methods.experiment.guardrails import Guardrail, check_guardrails, worst_gain
from analytics.methods.experiment.moments import Moments
from analytics.methods.experiment.multiplicity import benjamini_hochberg
from analytics.methods.experiment.novelty import first_week_check, novelty
from analytics.methods.experiment.prior import Belief, belief
from analytics.methods.experiment.regimes import Look, OpenEnded, Planned, SingleLook


def moved(z, *, more_is_better=True):
    """A comparison of 100 ± 1 with a difference of z standard errors, nearly normal."""
    half = 0.5
    arms = Arm(10**6, 100.0, half, 1e6), Arm(10**6, 100.0 + z, half, 1e6)
    return compare_arms(*arms, more_is_better=more_is_better)


@pytest.mark.parametrize(
    ("z", "margin", "status"),
    [
        (0.0, 0.03, "safe"),
        (0.0, 0.01, "undecided"),
        (-1.5, 0.03, "undecided"),
        (-3.0, 0.03, "harmed"),
        (-3.0, 0.06, "safe"),
        (5.0, 0.0, "safe"),
    ],
)
def test_a_guardrail_is_safe_only_when_its_worst_case_is_within_the_margin(z, margin, status):
    """A sure loss within the margin is still safe: the margin says what may be lost."""
    (finding,) = check_guardrails([Guardrail("g", moved(z), margin)], SingleLook())
    assert finding.status == status


def test_a_margin_may_be_in_natural_units():
    guardrail = Guardrail("latency", moved(1.0, more_is_better=False), 4.0, margin_of="natural")
    assert worst_gain(guardrail) == pytest.approx(-1 - 1.96, abs=0.001)
    assert check_guardrails([guardrail], SingleLook())[0].status == "safe"


def test_what_cannot_be_measured_is_unknown_not_safe():
    guardrail = Guardrail("crashes", Unknown("zero_variance"), 0.01)
    assert check_guardrails([guardrail], SingleLook())[0].status == "unknown"
    assert worst_gain(guardrail) is None


def test_a_hidden_lift_cannot_be_shown_safe():
    hidden = compare_arms(Arm(500, 1.0, 1.0, 499), Arm(500, 1.0, 1.0, 499))
    guardrail = Guardrail("g", hidden, 0.5)
    assert worst_gain(guardrail) is None
    assert check_guardrails([guardrail], SingleLook())[0].status == "undecided"


def test_harm_is_called_by_holms_steps():
    """z of 2.1 is harm alone and not among three; once 3.0 is called, 2.3 needs only 2.24."""

    def statuses(*zs):
        guardrails = [Guardrail(str(z), moved(-z), 0.0) for z in zs]
        return [f.status for f in check_guardrails(guardrails, SingleLook())]

    assert statuses(2.1) == ["harmed"]
    assert statuses(2.1, 0.1, 0.2) == ["undecided"] * 3
    assert statuses(3.0, 2.3, 0.0) == ["harmed", "harmed", "undecided"]


@pytest.mark.parametrize("regime", [Planned(14, (Look(7, 1.0),)), OpenEnded(1000)])
def test_an_early_look_needs_more_for_harm(regime):
    guardrail = Guardrail("g", moved(-2.5), 0.0)
    assert check_guardrails([guardrail], SingleLook())[0].status == "harmed"
    assert check_guardrails([guardrail], regime)[0].status == "undecided"


@pytest.mark.parametrize("size", [1, 2, 5, 20])
def test_adjusted_p_values_are_those_of_statsmodels(size):
    """Ties, zeros and ones among them."""
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(size)
    for p in (rng.uniform(size=size), rng.integers(0, 3, size) / 2, rng.uniform(size=size) ** 9):
        oracle = multipletests(p, method="fdr_bh")[1]
        assert benjamini_hochberg(p.tolist()) == pytest.approx(oracle, abs=1e-12)


def test_no_questions_need_no_adjusting():
    assert benjamini_hochberg([]) == []


def test_the_prior_shrinks_by_hand():
    """Lift 0.10 ± 0.05 under N(0, 0.05²): half of it, 0.05 ± 0.0354, chance Φ(√2) = 0.921."""
    found = compare_arms(Arm(9, 100.0, 1e-12, 8), Arm(9, 110.0, 25.0, 8), critical=0.1)
    b = belief(found)
    assert b.mean == pytest.approx(0.05)
    assert b.sd == pytest.approx(0.05 / math.sqrt(2))
    assert b.chance_to_win == pytest.approx(0.92135, abs=1e-5)


def test_lower_is_better_turns_the_belief():
    found = compare_arms(
        Arm(9, 100.0, 0.1, 8), Arm(9, 110.0, 25.0, 8), critical=0.1, more_is_better=False
    )
    assert belief(found).chance_to_win < 0.5


def test_no_lift_no_belief():
    hidden = compare_arms(Arm(500, 1.0, 1.0, 499), Arm(500, 1.0, 1.0, 499))
    assert belief(hidden) is None
    assert Belief(0.0, 0.1).chance_to_win == 0.5


def days_with(first_lift, later_lift, seed=11):
    """Fourteen days of 400 + 400 units, standard deviation 1, mean 10."""
    rng = np.random.default_rng(seed)
    lift = [first_lift] * 7 + [later_lift] * 7
    return {
        day: (Moments.of(rng.normal(10, 1, 400)), Moments.of(rng.normal(10 + by, 1, 400)))
        for day, by in enumerate(lift)
    }


def test_an_effect_that_fades_after_the_first_week_is_noted():
    found = first_week_check(days_with(0.5, 0.1))
    assert found.noted
    assert found.fading
    assert found.low < -0.4 < found.high


def test_an_effect_that_stays_is_not():
    found = first_week_check(days_with(0.3, 0.3))
    assert not found.noted
    assert not found.fading


def test_an_effect_that_grows_is_noted_but_not_fading():
    found = first_week_check(days_with(0.1, 0.6))
    assert found.noted
    assert not found.fading


def test_without_a_second_week_nothing_is_said():
    days = {day: pair for day, pair in days_with(0.5, 0.1).items() if day < 7}
    assert first_week_check(days) is None
    assert novelty(moved(1), Unknown("no_data")) is None
