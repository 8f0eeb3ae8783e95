"""Planning: power, smallest findable effect, sample size, and the time that still takes.

Normal approximation with both tails (Chow, Shao, Wang 2008, "Sample size calculations in clinical
research", 3.2): the sizes of experiments here make the t correction invisible. Daily looks cost a
little more; `inflation` says how much.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from scipy import special

from analytics.methods.experiment.bounds import bounds, drift_for_power
from analytics.methods.experiment.regimes import FIRST_DAY
from analytics.methods.experiment.roots import root

LONGEST_DAYS = 90
WEEK = 7


def power(effect: float, standard_error: float, alpha: float = 0.05) -> float | None:
    """The chance to find this effect in natural units; None without an error."""
    if standard_error <= 0:
        return None
    z = float(-special.ndtri(alpha / 2))
    shift = abs(effect) / standard_error
    return float(special.ndtr(shift - z) + special.ndtr(-shift - z))


def smallest_findable(
    standard_error: float, alpha: float = 0.05, wanted: float = 0.8
) -> float | None:
    """The effect in natural units that is found with the wanted power (the MDE)."""
    if standard_error <= 0:
        return None
    return standard_error * _standard_errors(alpha, wanted)


def units_needed(
    effect: float,
    control_variance: float,
    treatment_variance: float | None = None,
    *,
    treatment_share: float = 0.5,
    alpha: float = 0.05,
    wanted: float = 0.8,
    inflation: float = 1.0,
) -> int | None:
    """Units in both arms together to find the effect; None for no effect or no spread.

    n = k²·(var0/(1−s) + var1/s)/effect² with k standard errors for the wanted power.
    """
    spread = control_variance if treatment_variance is None else treatment_variance
    if not 0 < treatment_share < 1:
        raise ValueError("the treatment's share must lie between 0 and 1")
    if effect == 0 or control_variance + spread <= 0:
        return None
    per_unit = control_variance / (1 - treatment_share) + spread / treatment_share
    return math.ceil(inflation * per_unit * (_standard_errors(alpha, wanted) / effect) ** 2)


@lru_cache(maxsize=256)
def inflation(days: int, alpha: float = 0.05, wanted: float = 0.8) -> float:
    """How many times the units of a single look the daily looks of a plan need (1.01 to 1.05).

    Ratio of squared drifts (Jennison, Turnbull 2000, "Group sequential methods", 2.5).
    """
    looks = tuple(float(day) for day in range(min(FIRST_DAY, days), days + 1))
    limits = bounds(tuple(day / days for day in looks), looks, alpha)
    return (drift_for_power(limits, looks, wanted) / _standard_errors(alpha, wanted)) ** 2


@dataclass(frozen=True)
class TimeLeft:
    """How long until an answer: whole weeks, as days; None when unknown or beyond 90 days."""

    state: Literal["done", "running", "would_not_finish", "unknown"]
    days: int | None = None


def time_left(needed: float | None, so_far: int, days_so_far: int) -> TimeLeft:
    """Days until `needed` units at the traffic so far, rounded up to whole weeks.

    Would not finish: the run as a whole would take more than 90 days.
    """
    if needed is None or so_far <= 0 or days_so_far <= 0:
        return TimeLeft("unknown")
    if so_far >= needed:
        return TimeLeft("done", 0)
    days = (needed - so_far) / (so_far / days_so_far)
    if days_so_far + days > LONGEST_DAYS:
        return TimeLeft("would_not_finish")
    return TimeLeft("running", WEEK * math.ceil(days / WEEK - 1e-9))


def units_for_width(half_width: float, target: float, so_far: int) -> float | None:
    """Units at which an interval of this half-width would shrink to the target: n·(w/target)²."""
    return so_far * (half_width / target) ** 2 if target > 0 and half_width > 0 else None


def progress(half_width: float, target: float) -> float | None:
    """How far the interval is on its way to the target: (target/half-width)², at most 1."""
    if half_width <= 0 or target <= 0:
        return None
    return min(1.0, (target / half_width) ** 2)


def _standard_errors(alpha: float, wanted: float) -> float:
    """The effect, in standard errors, that a single look finds with the wanted power."""
    if not alpha < wanted < 1:
        raise ValueError("power must lie between the level and 1")
    z = float(-special.ndtri(alpha / 2))
    return root(lambda k: float(special.ndtr(k - z) + special.ndtr(-k - z)) - wanted, 0.0, z + 10.0)
