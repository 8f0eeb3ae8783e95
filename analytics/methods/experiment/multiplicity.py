"""Many questions at once, where one explores; guardrails take Holm's steps by themselves."""

from collections.abc import Sequence


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given; the share of false finds is held (BH 1995)."""
    adjusted = [0.0] * len(p)
    lowest = 1.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i], reverse=True)):
        lowest = min(lowest, len(p) / (len(p) - rank) * p[i])
        adjusted[i] = lowest
    return adjusted
