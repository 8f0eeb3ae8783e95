"""Heavy tails: a cap fixed before the look, and the check whether a mean may be trusted.

One customer who buys for 100,000 moves a mean of thousands. Two guards: values are capped at the
99.9th percentile of both arms together, fixed once; and where the third moment says that the mean
is not normal enough, no verdict is given.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analytics.methods.experiment.moments import Moments

CAP_AT = 0.999
UNITS_PER_SQUARED_SKEW = 355
MOST_SKEW = 1 / math.sqrt(UNITS_PER_SQUARED_SKEW)  # of a mean, 0.053


@dataclass(frozen=True)
class Cap:
    """Values above `threshold` count as the threshold. Made once, before outcomes are compared."""

    threshold: float

    def apply(self, values: ArrayLike) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """The values, none above the threshold."""
        return np.minimum(np.asarray(values, dtype=np.float64), self.threshold)

    def share(self, values: ArrayLike) -> float | None:
        """The share of values that the cap cuts; None without values."""
        array = np.asarray(values, dtype=np.float64)
        return float((array > self.threshold).mean()) if array.size else None


def pooled_cap(values: ArrayLike, at: float = CAP_AT) -> Cap | None:
    """The cap at the quantile `at` of all arms' values together: the arms must share one.

    None where it would cut everything away: no values, or the quantile is the lowest value.
    """
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        return None
    threshold = float(np.quantile(array, at, method="inverted_cdf"))
    return Cap(threshold) if threshold > float(array.min()) else None


@dataclass(frozen=True)
class Skew:
    """How lopsided a metric is, against what its numbers of units can bear.

    `needed` are the units per arm that Kohavi's rule asks for. `difference` is the skewness of the
    difference of means if both arms are alike: it vanishes with equal arms and grows as they
    differ.
    """

    skewness: float
    needed: int
    smallest_arm: int
    difference: float

    @property
    def warns(self) -> bool:
        """An arm has fewer units than 355·skew²."""
        return self.smallest_arm < self.needed

    @property
    def blocks(self) -> bool:
        """The difference itself is too lopsided for a verdict: unequal arms with heavy tails."""
        return self.warns and self.difference > MOST_SKEW


def skew_check(control: Moments, treatment: Moments) -> Skew | None:
    """The skew of both arms together against 355·skew² units per arm; None without spread.

    Source of the rule: Kohavi, Deng, Longbotham, Xu 2014, "Seven rules of thumb for web site
    experimenters", rule 7: skewness of a mean γ/√n at most 1/√355. For a difference of means of
    like arms the third cumulants subtract: γ·(1/m² − 1/n²)/(1/m + 1/n)^1.5 with m < n.
    """
    both = control + treatment
    skewness = both.skewness
    if skewness is None or not control.n or not treatment.n:
        return None
    m, n = sorted((control.n, treatment.n))
    difference = abs(skewness) * (1 / m**2 - 1 / n**2) / (1 / m + 1 / n) ** 1.5
    return Skew(skewness, math.ceil(UNITS_PER_SQUARED_SKEW * skewness**2), m, difference)
