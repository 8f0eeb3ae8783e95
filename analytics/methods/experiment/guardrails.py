"""Guardrails: metrics that must not get worse by more than a margin.

"No significant harm" is not safety. A guardrail is *safe* only when its whole interval lies above
minus the margin (non-inferiority; Schultzberg, Ankargren, Frånberg 2024, "Risk-aware product
decisions in A/B tests with multiple metrics"). Ship asks all of them to be safe, which needs no
correction (intersection-union, Berger 1982); calling harm does, and gets Holm's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from analytics.methods.experiment.arms import Unknown
from analytics.methods.experiment.comparison import Comparison
from analytics.methods.experiment.regimes import Regime

GuardrailStatus = Literal["safe", "harmed", "undecided", "unknown"]


@dataclass(frozen=True)
class Guardrail:
    """A metric with the loss that may be tolerated: a share of the control, or natural units."""

    name: str
    comparison: Comparison | Unknown
    margin: float
    margin_of: Literal["lift", "natural"] = "lift"


@dataclass(frozen=True)
class GuardrailFinding:
    """What can be said of one guardrail at today's strictness."""

    guardrail: Guardrail
    status: GuardrailStatus


def check_guardrails(
    guardrails: Sequence[Guardrail], regime: Regime, alpha: float = 0.05
) -> tuple[GuardrailFinding, ...]:
    """Each guardrail's status, in the order given."""
    harmed = _harmed(guardrails, regime, alpha)
    return tuple(GuardrailFinding(g, _status(g, g.name in harmed)) for g in guardrails)


def _status(guardrail: Guardrail, harmed: bool) -> GuardrailStatus:
    if isinstance(guardrail.comparison, Unknown):
        return "unknown"
    low = worst_gain(guardrail)
    if low is not None and low > -guardrail.margin:
        return "safe"
    return "harmed" if harmed else "undecided"


def worst_gain(guardrail: Guardrail) -> float | None:
    """The low end of the interval on the margin's scale, more being better; None if unknown."""
    comparison = guardrail.comparison
    if isinstance(comparison, Unknown):
        return None
    if guardrail.margin_of == "natural":
        return comparison.natural_gain[1]
    gain = comparison.gain
    return gain[1] if gain else None


def _harmed(guardrails: Sequence[Guardrail], regime: Regime, alpha: float) -> set[str]:
    """Names worse than zero by Holm's steps, each at the bound of its own share of the level."""
    known = [(g.name, g.comparison.z) for g in guardrails if isinstance(g.comparison, Comparison)]
    found: set[str] = set()
    for rank, (name, z) in enumerate(sorted(known, key=lambda pair: pair[1])):
        if -z <= regime.critical(alpha / (len(known) - rank)):
            break
        found.add(name)
    return found
