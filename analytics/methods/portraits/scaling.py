"""Scaling: heavy-tailed traits made comparable before people are grouped.

A few people buy a hundred times what the rest buy. Unscaled or only standardised, K-means puts
everybody else into one group; after log1p (or quantiles mapped to the normal) it finds the types.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.floating]
How = Literal["log", "normal"]

#: Standard deviations beyond which a person is no further from the rest.
LIMIT = 3.0
#: Quantiles kept by the `normal` scaling.
KNOTS = 1_000


@dataclass(frozen=True)
class Scaler:
    """Maps traits (n, d) to comparable numbers (n, d), around 0 with deviation 1.

    `knots` are the quantiles of each trait for `normal`, one column each; empty for `log`.
    """

    how: How
    means: Floats
    deviations: Floats
    knots: Floats

    def apply(self, traits: Floats) -> NDArray[np.float32]:
        """Scaled, cut at ±LIMIT; an unknown (NaN) trait becomes 0: it speaks for no group."""
        bent = bend(traits, self.how, self.knots)
        scaled = np.clip((bent - self.means) / self.deviations, -LIMIT, LIMIT)
        return np.nan_to_num(scaled, copy=False, nan=0.0).astype(np.float32)


def fit_scaler(traits: Floats, how: How = "log") -> Scaler:
    """Learn a scaling from traits (n, d) that are not below zero; NaN is unknown.

    A trait that is the same for everybody, or unknown for all, scales to 0.
    """
    fractions = np.linspace(0, 1, KNOTS)
    knots = np.zeros((0, traits.shape[1]))
    if how == "normal":
        knots = np.column_stack([quantiles(column, fractions) for column in traits.T])
    bent = bend(traits, how, knots)
    known = ~np.isnan(bent)
    n = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, bent, 0.0).sum(axis=0) / n
    deviations = np.sqrt(np.where(known, (bent - means) ** 2, 0.0).sum(axis=0) / n)
    return Scaler(how, means, np.where(deviations > 1e-9, deviations, np.inf), knots)


def quantiles(column: Floats, fractions: Floats) -> Floats:
    """The quantiles of what is known in a column; zeros where nothing is."""
    known = column[~np.isnan(column)]
    return np.quantile(known, fractions) if known.size else np.zeros(len(fractions))


def bend(traits: Floats, how: How, knots: Floats) -> Floats:
    """Take the heavy tail away: log1p, or each value's quantile mapped to the normal."""
    if how == "log":
        return np.log1p(np.asarray(traits, dtype=np.float64))
    fractions = np.linspace(0, 1, len(knots))
    bent = np.empty(traits.shape)
    for i, column in enumerate(traits.T):
        # ties stand in the middle of the quantiles that they cover
        below = np.interp(column, knots[:, i], fractions)
        above = 1 - np.interp(-column, -knots[::-1, i], fractions)
        bent[:, i] = ndtri(np.clip((below + above) / 2, 1e-3, 1 - 1e-3))
    return bent


def stable_sample(ids: pd.Series, size: int) -> NDArray[np.intp]:
    """Positions of `size` people, chosen by a hash of their ids; all where there are no more.

    The same people are chosen wherever they stand, and adding a person changes at most one.
    Positions are ascending.
    """
    if len(ids) <= size:
        return np.arange(len(ids))
    hashes = pd.util.hash_array(ids.to_numpy(dtype=object), categorize=False)
    return np.sort(np.argpartition(hashes, size)[:size])
