"""Drift: how far a distribution has moved, by the population stability index."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Above so much a distribution has moved, and moved far (Siddiqi 2006, Credit Risk Scorecards).
MOVED, MOVED_FAR = 0.1, 0.25
BINS = 10


@dataclass(frozen=True)
class Histogram:
    """Counts of values up to each of the bounds, above the last, and of unknown ones."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: Floats, bounds: tuple[float, ...] | None = None) -> "Histogram":
        """By tenths of the values, fewer where many are equal; or by bounds that are given."""
        known = values[~np.isnan(values)]
        if bounds is None:
            cuts = np.quantile(known, np.arange(1, BINS) / BINS) if len(known) else np.empty(0)
            bounds = tuple(map(float, np.unique(cuts)))
        places = np.searchsorted(np.array(bounds), known, side="left")
        counts = np.bincount(places, minlength=len(bounds) + 1)
        return cls(bounds, (*map(int, counts), len(values) - len(known)))


def stability(before: Histogram, values: Floats) -> float:
    """The population stability index of values against an earlier histogram; 0 is unmoved.

    Half a count is added to each bin, so that an empty one does not decide.
    """
    now = Histogram.of(values, before.bounds)
    p, q = (np.array(h.counts) + 0.5 for h in (before, now))
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())
