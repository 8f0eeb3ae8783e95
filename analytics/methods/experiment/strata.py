"""Post-stratification: compare like with like, weighting strata by their share of all units."""

from collections.abc import Sequence
from dataclasses import dataclass

from analytics.methods.experiment.arms import Arm, Unknown, mean_arm
from analytics.methods.experiment.moments import Moments, total

Stratum = tuple[Moments, Moments]  # control, treatment


@dataclass(frozen=True)
class Strata:
    """One variant's units by stratum, in the same order for all variants."""

    parts: tuple[Moments, ...]

    @property
    def whole(self) -> Moments:
        """All units together."""
        return total(self.parts)


def stratified_arms(strata: Sequence[Stratum]) -> tuple[Arm | Unknown, Arm | Unknown]:
    """Both means as Σ W_h ȳ_h with W_h the stratum's share of both arms' units.

    Variance Σ W_h² s_h²/n_h. Source: Miratrix, Sekhon, Yu 2013, "Adjusting treatment effect
    estimates by post-stratification in randomized experiments", eq. 4 and 8; degrees of freedom by
    Satterthwaite 1946. Strata with fewer than two units in an arm are put together. With the day of
    first exposure as stratum this also undoes a change of allocation (Simpson's paradox).
    """
    kept = fold_small(strata)
    if not kept:
        return Unknown("no_data"), Unknown("no_data")
    units = sum(c.n + t.n for c, t in kept)
    weights = [(c.n + t.n) / units for c, t in kept]
    return (
        _weighted([mean_arm(c) for c, _ in kept], weights),
        _weighted([mean_arm(t) for _, t in kept], weights),
    )


def fold_small(strata: Sequence[Stratum], fewest: int = 2) -> list[Stratum]:
    """The strata with those of fewer than `fewest` units in an arm merged, then into the smallest.

    The order of the large ones is kept; empty ones vanish.
    """
    filled = [s for s in strata if s[0].n + s[1].n]
    large = [s for s in filled if min(s[0].n, s[1].n) >= fewest]
    small = [s for s in filled if min(s[0].n, s[1].n) < fewest]
    if not small:
        return large
    rest = small[0]
    for stratum in small[1:]:
        rest = (rest[0] + stratum[0], rest[1] + stratum[1])
    if min(rest[0].n, rest[1].n) >= fewest or not large:
        return [*large, rest]
    at = min(range(len(large)), key=lambda i: large[i][0].n + large[i][1].n)
    large[at] = (large[at][0] + rest[0], large[at][1] + rest[1])
    return large


def _weighted(parts: list[Arm | Unknown], weights: list[float]) -> Arm | Unknown:
    known: list[Arm] = []
    for part in parts:
        if isinstance(part, Unknown):
            return part
        known.append(part)
    terms = [w * w * a.squared_error for w, a in zip(weights, known, strict=True)]
    squared = sum(terms)
    spread = sum(term * term / a.df for term, a in zip(terms, known, strict=True))
    n = sum(a.n for a in known)
    value = sum(w * a.value for w, a in zip(weights, known, strict=True))
    return Arm(n, value, squared, squared * squared / spread if spread else n - 1)
