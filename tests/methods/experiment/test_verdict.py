"""Verdict: each state, which one wins, and its words."""

from dataclasses import replace
from typing import get_args

import pytest

from analytics.methods.experiment.arms import Arm, Unknown
from analytics.methods.experiment.comparison import compare_arms, compare_moments
from analytics.methods.experiment.guardrails import Guardrail, check_guardrails
from analytics.methods.experiment.health import Health, Split, split_check
from analytics.methods.experiment.moments import Moments
from analytics.methods.experiment.planning import TimeLeft
from analytics.methods.experiment.prior import Belief
from analytics.methods.experiment.regimes import Look, OpenEnded, Planned, SingleLook
from analytics.methods.experiment.tails import Skew
from analytics.methods.experiment.verdict import Cause, Evidence, State, Verdict, verdict
from analytics.methods.experiment.words import (
    CAUSES,
    GUARDRAILS,
    STATES,
    TONES,
    by_luck,
    chance,
    time_left_words,
)


def moved(z, **options):
    """100 ± 1 with a difference of z standard errors: a lift of z %."""
    arms = Arm(5_000, 100.0, 0.5, 4_999), Arm(5_000, 100.0 + z, 0.5, 4_999)
    return compare_arms(*arms, **options)


def guardrails(*zs, margin=0.03):
    """Findings at a single look, named by position."""
    rows = [Guardrail(f"g{i}", moved(z), margin) for i, z in enumerate(zs)]
    return check_guardrails(rows, SingleLook())


ENDED = SingleLook()
RUNNING = Planned(28, (Look(14, 1.0),))
BASE = Evidence(moved(0.5), ENDED, 28, conversions=(500, 500))
BROKEN = Split((400, 600), (500.0, 500.0), 1e-9)
LOPSIDED = Skew(50.0, 887_500, 4_000, 0.7)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"primary": Unknown("zero_variance")}, Verdict("no_result", "zero_variance")),
        ({"health": Health(split=BROKEN)}, Verdict("invalid", "split")),
        ({"health": Health(allocation_changed=True)}, Verdict("invalid", "allocation_changed")),
        ({"health": Health(None, 20, 1_000)}, Verdict("invalid", "contamination")),
        ({"health": Health(exposure_logging_differs=True)}, Verdict("invalid", "exposure_logging")),
        ({"days": 5}, Verdict("too_early", "days", left=TimeLeft("running", 2))),
        ({"skew": LOPSIDED}, Verdict("too_skewed", "skew")),
        (
            {"guardrails": guardrails(0, -4)},
            Verdict("guardrail_harmed", "guardrail", "g1"),
        ),
        ({"primary": moved(3)}, Verdict("ship", "primary_better")),
        ({"primary": moved(3), "guardrails": guardrails(0)}, Verdict("ship", "primary_better")),
        ({"primary": moved(-3)}, Verdict("dont_ship", "primary_worse")),
        (
            {"primary": moved(-3), "guardrails": guardrails(-1.9)},
            Verdict("dont_ship", "primary_worse"),
        ),
        (
            {"primary": moved(3, more_is_better=False)},
            Verdict("dont_ship", "primary_worse"),
        ),
        ({"meaningful": 0.03}, Verdict("no_meaningful_difference", "within_margin")),
        ({"meaningful": 0.01}, Verdict("plan_used_up", "undecided")),
        ({}, Verdict("plan_used_up", "undecided")),
        (
            {"primary": moved(3), "guardrails": guardrails(0, -1.9)},
            Verdict("plan_used_up", "guardrail_undecided", "g1"),
        ),
        ({"conversions": (99, 500)}, Verdict("plan_used_up", "conversions")),
        (
            {"regime": RUNNING, "days": 14},
            Verdict("keep_running", "undecided", left=TimeLeft("running", 14)),
        ),
        (
            {"regime": RUNNING, "days": 14, "primary": moved(3), "guardrails": guardrails(-1.9)},
            Verdict("keep_running", "guardrail_undecided", "g0", TimeLeft("running", 14)),
        ),
        (
            {"regime": RUNNING, "days": 14, "conversions": (70, 80)},
            Verdict("too_early", "conversions", left=TimeLeft("running", 7)),
        ),
        (
            {"regime": RUNNING, "days": 26, "conversions": (50, 80)},
            Verdict("too_early", "conversions", left=TimeLeft("running", 2)),
        ),
        (
            {"regime": RUNNING, "days": 14, "conversions": (0, 0)},
            Verdict("too_early", "conversions", left=TimeLeft("running", 14)),
        ),
        (
            {"regime": OpenEnded(10_000), "days": 14, "conversions": (0, 0)},
            Verdict("too_early", "conversions", left=TimeLeft("unknown")),
        ),
    ],
)
def test_each_state_has_its_cause(change, expected):
    assert verdict(replace(BASE, **change)) == expected


@pytest.mark.parametrize(
    ("meaningful", "left"),
    [
        (None, TimeLeft("unknown")),
        (0.015, TimeLeft("running", 21)),
        (0.005, TimeLeft("would_not_finish")),
        (0.0199, TimeLeft("running", 7)),
    ],
)
def test_without_a_planned_end_the_time_left_is_until_the_interval_is_narrow(meaningful, left):
    """Half-width 1.98 % after 28 days: 1.5 % takes 1.7 times the units, 0.5 % takes 16 times."""
    evidence = replace(BASE, regime=OpenEnded(10_000), meaningful=meaningful)
    assert verdict(evidence) == Verdict("keep_running", "undecided", left=left)


def test_a_hidden_lift_leaves_the_time_unknown():
    hidden = compare_arms(Arm(500, 1.0, 1.0, 499), Arm(500, 1.0, 1.0, 499))
    evidence = replace(BASE, primary=hidden, regime=OpenEnded(1_000), meaningful=0.01)
    assert verdict(evidence).left == TimeLeft("unknown")


def test_earlier_states_win():
    """Everything is wrong at once; mending one thing after another shows the next."""
    evidence = Evidence(
        Unknown("one_arm"),
        ENDED,
        3,
        Health(split=BROKEN),
        (500, 500),
        LOPSIDED,
        guardrails(-4),
        0.05,
    )
    seen = []
    mends = (
        {"primary": moved(-3)},
        {"health": Health()},
        {"days": 28},
        {"skew": None},
        {"guardrails": ()},
        {"primary": moved(0.5)},
        {"meaningful": None},
    )
    for mend in mends:
        seen.append(verdict(evidence).state)
        evidence = replace(evidence, **mend)
    assert seen == [
        "no_result",
        "invalid",
        "too_early",
        "too_skewed",
        "guardrail_harmed",
        "dont_ship",
        "no_meaningful_difference",
    ]
    assert verdict(evidence).state == "plan_used_up"


def test_a_warned_split_does_not_block():
    assert (
        verdict(replace(BASE, health=Health(split=split_check((44_700, 45_489))))).state
        != "invalid"
    )


def test_three_users_get_a_named_state():
    found = compare_moments("mean", Moments.of([1.0, 2.0]), Moments.of([5.0]))
    assert verdict(Evidence(found, ENDED, 14)) == Verdict("no_result", "too_few")


def test_there_are_ten_states_and_each_state_and_cause_has_words():
    assert len(get_args(State)) == 10
    assert set(STATES) == set(TONES) == set(get_args(State))
    assert set(CAUSES) == set(get_args(Cause))
    assert {"safe", "harmed", "undecided", "unknown"} == set(GUARDRAILS)


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.0, "less than once in 1,000 times"),
        (0.00155, "about 2 times in 1,000"),
        (0.001, "about once in 1,000"),
        (0.0744, "about 7 times in 100"),
        (0.0096, "about 10 times in 1,000"),
        (0.12, "about once in 10"),
        (0.97, "nearly always"),
    ],
)
def test_luck_in_words(p, words):
    assert by_luck(p) == words


@pytest.mark.parametrize(
    ("z", "words"),
    [
        (0.0, "about 5 in 10"),
        (1.6449, "about 95 in 100"),
        (-1.6449, "about 5 in 100"),
        (9.0, "more than 99 in 100"),
        (-9.0, "less than 1 in 100"),
    ],
)
def test_chance_in_words_is_never_certain(z, words):
    assert chance(Belief(z, 1.0)) == words


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (TimeLeft("done", 0), "none"),
        (TimeLeft("unknown"), "not known"),
        (TimeLeft("would_not_finish"), "would not finish (> 90 days)"),
        (TimeLeft("running", 7), "1 week"),
        (TimeLeft("running", 21), "3 weeks"),
        (TimeLeft("running", 1), "1 day"),
        (TimeLeft("running", 5), "5 days"),
    ],
)
def test_time_left_in_words(left, words):
    assert time_left_words(left) == words
