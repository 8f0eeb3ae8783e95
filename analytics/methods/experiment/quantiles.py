"""Quantiles of event values (latency, basket size) when people, not events, were randomised.

Two things come from the store: the quantile with its two neighbours at given ranks, and per unit
the count of events at or below the quantile (y) among all its events (x).
"""

import math
from dataclasses import dataclass

from analytics.methods.experiment.arms import Arm, Unknown, ratio_arm
from analytics.methods.experiment.moments import Moments

BAND = 1.959963984540054  # the neighbours stand at p ± BAND·√(p(1−p)/events)


@dataclass(frozen=True)
class QuantileSums:
    """What one arm's p-quantile is made from: see `quantile_arm`."""

    p: float
    value: float
    low: float
    high: float
    below: Moments

    def arm(self) -> Arm | Unknown:
        """The quantile with its error."""
        return quantile_arm(self.p, self.value, self.low, self.high, self.below)


def rank_of(share: float, events: int) -> int:
    """The place of a quantile among sorted values, from 1: the first with `share` at or below.

    The inverse of the empirical distribution (Hyndman, Fan 1996, definition 1).
    """
    return min(events, max(1, math.ceil(share * events - 1e-9)))


def neighbour_ranks(p: float, events: int) -> tuple[float, float] | None:
    """The two ranks (as shares) whose quantiles show how dense the values are around p.

    None when there are too few events for a rank on both sides.
    """
    if not 0 < p < 1 or events < 1:
        return None
    half = BAND * math.sqrt(p * (1 - p) / events)
    low, high = p - half, p + half
    return (low, high) if low > 0 and high < 1 else None


def quantile_arm(p: float, value: float, low: float, high: float, below: Moments) -> Arm | Unknown:
    """The p-quantile of events with a cluster-adjusted error.

    `value`, `low`, `high` are the quantiles at p and at its `neighbour_ranks`; `below` has per unit
    y = events at or below `value`, x = events. The independent-events error (high−low)/(2·BAND) is
    scaled by the square root of the design effect: delta-method variance of Σy/Σx over p(1−p)/N.
    Source: Deng, Knoblich, Lu 2018, "Applying the delta method in metric analytics", section 4.2.
    Values so tied that both neighbours coincide give no error: zero_variance.
    """
    share = ratio_arm(below)
    if isinstance(share, Unknown):
        return share
    events = (below.x_mean or 0.0) * below.n
    if high <= low:
        return Unknown("zero_variance")
    design_effect = share.squared_error * events / (p * (1 - p))
    error = (high - low) / (2 * BAND)
    return Arm(below.n, value, error * error * design_effect, share.df)


def design_effect(p: float, below: Moments) -> float | None:
    """How many times wider than independent events: 1 = no clustering; None when unknown."""
    share = ratio_arm(below)
    if isinstance(share, Unknown) or not 0 < p < 1:
        return None
    return share.squared_error * (below.x_mean or 0.0) * below.n / (p * (1 - p))
