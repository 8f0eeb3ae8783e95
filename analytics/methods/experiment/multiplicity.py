"""Many questions at once: Holm where one error hurts, Benjamini-Hochberg where exploring."""

from collections.abc import Sequence


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given; any one error is held to the level (Holm 1979)."""
    adjusted = [0.0] * len(p)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given; the share of false finds is held (BH 1995)."""
    adjusted = [0.0] * len(p)
    lowest = 1.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i], reverse=True)):
        lowest = min(lowest, len(p) / (len(p) - rank) * p[i])
        adjusted[i] = lowest
    return adjusted
