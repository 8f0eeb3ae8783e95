"""The frozen model behind a segment: how traits are scaled, and the centres of the groups.

What it says of a person depends on that person's traits alone. `labels` here and the expressions
that ask the store (`analytics/saved.py`) are one formula, in one order of operations: a saved
segment holds whom `segment` showed in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.methods.portraits.clustering import Labels, Points
from analytics.methods.portraits.scaling import LIMIT, Scaler


@dataclass(frozen=True)
class Model:
    """Groups 0.. by their centres over the scaled and weighed `traits` (keys).

    A trait x becomes (ln(1 + x) - mean) / deviation, cut at ±LIMIT, times its weight; an unknown
    one 0. `offsets` (k) and `slopes` (k, d) give a group's score, the squared distance to its
    centre less what is the same for all groups; the least wins, the first of equals.
    """

    traits: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    weights: tuple[float, ...]
    offsets: tuple[float, ...]
    slopes: tuple[tuple[float, ...], ...]

    def labels(self, columns: Sequence[NDArray[np.float64]]) -> Labels:
        """The group of each person; a column per trait, NaN where it is unknown."""
        points = [
            np.nan_to_num(np.clip((np.log1p(x) - mean) / deviation, -LIMIT, LIMIT)) * weight
            for x, mean, deviation, weight in zip(
                columns, self.means, self.deviations, self.weights, strict=True
            )
        ]
        best = np.full(len(points[0]), np.inf)
        found = np.zeros(len(points[0]), dtype=np.int64)
        for group, (offset, slopes) in enumerate(zip(self.offsets, self.slopes, strict=True)):
            score = np.full(len(best), offset)
            for slope, point in zip(slopes, points, strict=True):
                score += slope * point
            nearer = score < best
            found[nearer] = group
            best[nearer] = score[nearer]
        return found

    def reordered(self, groups: Sequence[int]) -> "Model":
        """With these groups, in this order."""
        return Model(
            self.traits,
            self.means,
            self.deviations,
            self.weights,
            tuple(self.offsets[g] for g in groups),
            tuple(self.slopes[g] for g in groups),
        )


def model_of(
    traits: Sequence[str], scaler: Scaler, weights: Sequence[float], centres: Points
) -> Model:
    """Freeze a scaler of the kind `log` and centres (k, d) over all its traits.

    Traits that do not count, or do not vary, are left out.
    """
    kept = [i for i, w in enumerate(weights) if w and np.isfinite(scaler.deviations[i])]
    own = centres.astype(np.float64)[:, kept]
    return Model(
        tuple(traits[i] for i in kept),
        tuple(float(scaler.means[i]) for i in kept),
        tuple(float(scaler.deviations[i]) for i in kept),
        tuple(float(weights[i]) for i in kept),
        tuple(float(c) for c in (own * own).sum(axis=1)),
        tuple(tuple(float(s) for s in row) for row in -2 * own),
    )
