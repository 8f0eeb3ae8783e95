"""Novelty: is the effect of the first week the effect that stays?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy import special

from analytics.methods.experiment.arms import Kind, Unknown
from analytics.methods.experiment.comparison import SINGLE_LOOK, Comparison, compare_moments
from analytics.methods.experiment.moments import Moments, total

NOTED_BELOW = 0.01  # a side question asked of every experiment: noted only when clear
FIRST_WEEK = 7


@dataclass(frozen=True)
class Novelty:
    """The effect in the first week against the effect after it, in natural units."""

    first: Comparison
    later: Comparison
    change: float
    low: float
    high: float
    p: float

    @property
    def noted(self) -> bool:
        """The effect changed, beyond what luck explains at 1 %."""
        return self.p < NOTED_BELOW

    @property
    def fading(self) -> bool:
        """It changed towards nothing or beyond: the later effect has less of the first's sign."""
        return self.noted and self.change * self.first.difference < 0


def novelty(first: Comparison | Unknown, later: Comparison | Unknown) -> Novelty | None:
    """Later effect minus first effect with a 95 % interval; None unless both are known.

    The two come from different units, so their variances add (z test of an interaction; Altman,
    Bland 2003, "Interaction revisited").
    """
    if isinstance(first, Unknown) or isinstance(later, Unknown):
        return None
    change = later.difference - first.difference
    error = math.hypot(first.standard_error, later.standard_error)
    half = SINGLE_LOOK * error
    p = float(2 * special.ndtr(-abs(change) / error))
    return Novelty(first, later, change, change - half, change + half, p)


def first_week_check(
    days: Mapping[int, tuple[Moments, Moments]],
    *,
    kind: Kind = "mean",
    more_is_better: bool = True,
    first_days: int = FIRST_WEEK,
) -> Novelty | None:
    """Units first exposed on days 0 … first_days−1 against those exposed later.

    `days` maps the day since the start to the moments of control and treatment.
    """

    def effect(chosen: list[tuple[Moments, Moments]]) -> Comparison | Unknown:
        control, treatment = total([c for c, _ in chosen]), total([t for _, t in chosen])
        return compare_moments(kind, control, treatment, more_is_better=more_is_better)

    first = [pair for day, pair in sorted(days.items()) if day < first_days]
    later = [pair for day, pair in sorted(days.items()) if day >= first_days]
    return novelty(effect(first), effect(later))
