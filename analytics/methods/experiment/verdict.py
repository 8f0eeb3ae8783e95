"""Verdict: from the evidence to one of ten states; the first that matches wins.

Health comes before effects, harm before gain. Ship needs the primary metric above zero at today's
bound *and* every guardrail shown safe; rejecting needs no guardrail.
"""

from dataclasses import dataclass, field
from typing import Literal

from analytics.methods.experiment.arms import Unknown
from analytics.methods.experiment.comparison import Comparison
from analytics.methods.experiment.guardrails import GuardrailFinding
from analytics.methods.experiment.health import Health
from analytics.methods.experiment.planning import WEEK, TimeLeft, time_left, units_for_width
from analytics.methods.experiment.regimes import FIRST_DAY, Planned, Regime
from analytics.methods.experiment.tails import Skew

FEWEST_CONVERSIONS = 100  # per arm, before any verdict

State = Literal[
    "no_result",
    "invalid",
    "too_early",
    "too_skewed",
    "guardrail_harmed",
    "ship",
    "dont_ship",
    "no_meaningful_difference",
    "keep_running",
    "plan_used_up",
]

Cause = Literal[
    "no_data",
    "one_arm",
    "too_few",
    "zero_variance",
    "zero_denominator",
    "split",
    "allocation_changed",
    "contamination",
    "exposure_logging",
    "days",
    "conversions",
    "skew",
    "guardrail",
    "primary_better",
    "primary_worse",
    "within_margin",
    "undecided",
    "guardrail_undecided",
]


@dataclass(frozen=True)
class Evidence:
    """All that a verdict rests on, at one snapshot.

    `days` are full days since the start. `conversions` per arm is None for metrics that count none;
    `skew` is None where it does not apply (proportions have their own small-sample rule).
    `meaningful` is the smallest lift that matters, as a share of the control; None if none was set.
    """

    primary: Comparison | Unknown
    regime: Regime
    days: int
    health: Health = field(default_factory=Health)
    conversions: tuple[int, ...] | None = None
    skew: Skew | None = None
    guardrails: tuple[GuardrailFinding, ...] = ()
    meaningful: float | None = None


@dataclass(frozen=True)
class Verdict:
    """The state, why, which guardrail if one is the cause, and how long until more is known."""

    state: State
    cause: Cause
    guardrail: str | None = None
    left: TimeLeft | None = None


def verdict(evidence: Evidence) -> Verdict:
    """The first rule that has something to say."""
    primary = evidence.primary
    if isinstance(primary, Unknown):
        return Verdict("no_result", primary.reason)
    return (
        _invalid(evidence.health)
        or _too_early(evidence)
        or _too_skewed(evidence.skew)
        or _guardrail_harmed(evidence.guardrails)
        or _decided(primary, _not_safe(evidence.guardrails))
        or _no_meaningful_difference(primary, evidence.meaningful)
        or _undecided(primary, evidence)
    )


def _invalid(health: Health) -> Verdict | None:
    if health.split and health.split.status == "block":
        return Verdict("invalid", "split")
    if health.allocation_changed:
        return Verdict("invalid", "allocation_changed")
    if health.too_contaminated:
        return Verdict("invalid", "contamination")
    if health.exposure_logging_differs:
        return Verdict("invalid", "exposure_logging")
    return None


def _too_early(evidence: Evidence) -> Verdict | None:
    """A plan that has ended with too few conversions is used up, not early."""
    if evidence.days < FIRST_DAY:
        return Verdict("too_early", "days", left=TimeLeft("running", FIRST_DAY - evidence.days))
    if evidence.conversions is None or min(evidence.conversions) >= FEWEST_CONVERSIONS:
        return None
    if evidence.regime.ended:
        return Verdict("plan_used_up", "conversions")
    left = time_left(FEWEST_CONVERSIONS, min(evidence.conversions), evidence.days)
    return Verdict("too_early", "conversions", left=_not_past_the_plan(left, evidence))


def _too_skewed(skew: Skew | None) -> Verdict | None:
    return Verdict("too_skewed", "skew") if skew and skew.blocks else None


def _guardrail_harmed(guardrails: tuple[GuardrailFinding, ...]) -> Verdict | None:
    for finding in guardrails:
        if finding.status == "harmed":
            return Verdict("guardrail_harmed", "guardrail", finding.guardrail.name)
    return None


def _not_safe(guardrails: tuple[GuardrailFinding, ...]) -> str | None:
    """The first guardrail not shown safe."""
    return next((f.guardrail.name for f in guardrails if f.status != "safe"), None)


def _decided(primary: Comparison, not_safe: str | None) -> Verdict | None:
    if primary.finding == "worse":
        return Verdict("dont_ship", "primary_worse")
    if primary.finding == "better" and not_safe is None:
        return Verdict("ship", "primary_better")
    return None


def _no_meaningful_difference(primary: Comparison, meaningful: float | None) -> Verdict | None:
    """The whole interval lies within what is too small to matter (Schuirmann 1987)."""
    gain = primary.gain
    if gain and meaningful and -meaningful < gain[1] and gain[2] < meaningful:
        return Verdict("no_meaningful_difference", "within_margin")
    return None


def _undecided(primary: Comparison, evidence: Evidence) -> Verdict:
    waiting = _not_safe(evidence.guardrails) if primary.finding == "better" else None
    cause: Cause = "guardrail_undecided" if waiting else "undecided"
    if evidence.regime.ended:
        return Verdict("plan_used_up", cause, waiting)
    return Verdict("keep_running", cause, waiting, _time_to_decide(primary, evidence))


def _time_to_decide(primary: Comparison, evidence: Evidence) -> TimeLeft:
    """To the planned end; without one, until the interval is as narrow as what matters."""
    if isinstance(evidence.regime, Planned):
        return TimeLeft("running", max(0, evidence.regime.days - evidence.days))
    gain = primary.gain
    if gain is None or not evidence.meaningful:
        return TimeLeft("unknown")
    units = primary.control_n + primary.treatment_n
    needed = units_for_width((gain[2] - gain[1]) / 2, evidence.meaningful, units)
    left = time_left(needed, units, evidence.days)
    # Narrow enough and still on the edge: another week is the honest answer.
    return TimeLeft("running", WEEK) if left.state == "done" else left


def _not_past_the_plan(left: TimeLeft, evidence: Evidence) -> TimeLeft:
    if not isinstance(evidence.regime, Planned):
        return left
    end = max(0, evidence.regime.days - evidence.days)
    return TimeLeft("running", end if left.days is None else min(end, left.days))
