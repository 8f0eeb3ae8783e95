"""Health: is the experiment sound enough for its result to be shown at all?

Most broken experiments show in their head counts. A failed gate suppresses the verdict (Fabijan et
al. 2019, "Diagnosing sample ratio mismatch in online controlled experiments").
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

SRM_WARNS = 0.01
SRM_BLOCKS = 0.001  # seen on any of 28 days by chance in 0.9 % of sound experiments (simulated)
EXACT_BELOW = 1000  # units of two arms up to which the split is tested exactly
FEWEST_EXPECTED = 5.0
MOST_CONTAMINATION = 0.01

Health3 = Literal["ok", "warn", "block"]


@dataclass(frozen=True)
class Split:
    """The head counts against the planned shares. p is None when there are too few to say."""

    counts: tuple[int, ...]
    expected: tuple[float, ...]
    p: float | None

    @property
    def status(self) -> Health3:
        """Warn below 0.01, block below 0.001."""
        return graded(self.p)


def graded(p: float | None) -> Health3:
    """What a p-value of a health check means."""
    if p is None or p >= SRM_WARNS:
        return "ok"
    return "block" if p < SRM_BLOCKS else "warn"


def split_check(counts: Sequence[int], planned: Sequence[float] | None = None) -> Split:
    """Sample-ratio mismatch: do the counts fit the planned shares (equal unless given)?

    Chi-square without continuity correction (Pearson 1900); two arms with fewer than 1,000 units by
    the exact two-sided binomial test, summing all outcomes no likelier than the one seen.
    """
    weights = [1.0] * len(counts) if planned is None else list(planned)
    if len(weights) != len(counts) or any(w <= 0 for w in weights) or any(c < 0 for c in counts):
        raise ValueError("each arm needs a count and a planned share above zero")
    total, whole = sum(counts), sum(weights)
    expected = tuple(total * w / whole for w in weights)
    return Split(tuple(counts), expected, _split_p(tuple(counts), expected))


def split_by_segment(
    segments: Mapping[str, Sequence[int]], planned: Sequence[float] | None = None
) -> dict[str, Split]:
    """The same check in each segment, p multiplied by their number (Bonferroni), at most 1."""
    found = {name: split_check(counts, planned) for name, counts in segments.items()}
    tested = sum(split.p is not None for split in found.values())
    return {
        name: Split(s.counts, s.expected, None if s.p is None else min(1.0, s.p * tested))
        for name, s in found.items()
    }


def allocation_p(days: Sequence[Sequence[int]]) -> float | None:
    """Did the shares of the arms change between days? Chi-square of homogeneity (Pearson 1900).

    `days` holds each day's counts per arm; days with fewer than 5 expected in an arm are put
    together with the next. None with fewer than two such days. Pooling across a change of
    allocation turns two gains into a loss (Simpson), so p < 0.001 is to be taken as a change.
    """
    table = _filled_days(np.asarray(days, dtype=np.float64))
    if table.shape[0] < 2 or table.shape[1] < 2:
        return None
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return float(special.chdtrc((table.shape[0] - 1) * (table.shape[1] - 1), statistic))


@dataclass(frozen=True)
class Health:
    """What is known of an experiment's soundness; the defaults are a sound one.

    `contaminated` units were seen in more than one arm (and left out) of `exposed` in all.
    """

    split: Split | None = None
    contaminated: int = 0
    exposed: int = 0
    allocation_changed: bool = False
    exposure_logging_differs: bool = False

    @property
    def contamination(self) -> float | None:
        """The share of exposed units seen in more than one arm; None when nobody was exposed."""
        return self.contaminated / self.exposed if self.exposed else None

    @property
    def too_contaminated(self) -> bool:
        """More than 1 % were in two arms."""
        return (self.contamination or 0.0) > MOST_CONTAMINATION


def _split_p(counts: tuple[int, ...], expected: tuple[float, ...]) -> float | None:
    total = sum(counts)
    if not total or len(counts) < 2:
        return None
    if len(counts) == 2 and total < EXACT_BELOW:
        return _binomial_p(counts[0], total, expected[0] / total)
    if min(expected) < FEWEST_EXPECTED:
        return None
    statistic = sum((c - e) ** 2 / e for c, e in zip(counts, expected, strict=True))
    return float(special.chdtrc(len(counts) - 1, statistic))


def _binomial_p(successes: int, n: int, share: float) -> float:
    """Two-sided exact binomial: the chance of all outcomes no likelier than this one."""
    k = np.arange(n + 1)
    ways = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    chances = np.exp(ways + k * math.log(share) + (n - k) * math.log1p(-share))
    return min(1.0, float(chances[chances <= chances[successes] * (1 + 1e-7)].sum()))


def _filled_days(
    table: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Neighbouring days put together until each arm expects at least 5 units."""
    if table.ndim != 2 or not table.size or not table.sum():
        return np.zeros((0, 0))
    table = table[:, table.sum(axis=0) > 0]
    shares = table.sum(axis=0) / table.sum()
    rows: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = []
    held = np.zeros(table.shape[1])
    for row in table:
        held = held + row
        if held.sum() * shares.min() >= FEWEST_EXPECTED:
            rows.append(held)
            held = np.zeros(table.shape[1])
    if rows and held.sum():
        rows[-1] = rows[-1] + held
    return np.array(rows) if rows else np.zeros((0, 0))
