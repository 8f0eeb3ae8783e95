"""Bundles: items that go together so surely that they may be offered as one, and what that brings.

A set of two or three items is a bundle where every way to part it in two meets more often than by
chance: the least sure of these counts (Webb 2010, "Self-sufficient itemsets": productive itemsets).

Offered at a discount d of their prices together, a bundle brings, over as many orders again,

    uptake · Σ_m inclined_m · (price_m − d · price) − d · price · count

where `count` orders hold all of it anyway and now pay less. Of the orders that hold all of it but
item m, those are inclined to it whom the rest draws to m: as large a share as hold m of the orders
with the rest, less the share of all orders that do. `uptake` of the inclined take the bundle.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.methods.arrays import Ints
from analytics.methods.itemsets import Itemsets
from analytics.methods.rules import benjamini_hochberg

Floats = NDArray[np.float64]

LARGEST = 3


@dataclass(frozen=True, eq=False)
class Bundles:
    """Sets of items as rows, filled up with -1; `lacking` and `inclined` are 0 there.

    `count` orders hold all, `lacking[:, m]` all but item m, of which `inclined[:, m]` are drawn to
    it. `lift` and `q` are of the least sure
    way to part them: times as often as by chance, and how likely that is chance, for all sets that
    were looked at (Benjamini and Hochberg).
    """

    items: Ints
    count: Ints
    lacking: Ints
    inclined: Floats
    lift: Floats
    q: Floats

    def only(self, rows: Ints) -> "Bundles":
        """Some of them, in this order."""
        return Bundles(**{name: column[rows] for name, column in vars(self).items()})

    def __len__(self) -> int:
        """How many."""
        return len(self.count)


def bundles_of(itemsets: Itemsets, *, min_lift: float) -> Bundles:
    """The pairs and triples among the itemsets whose every parting has the lift.

    `q` is for all pairs and triples there are: those below the lift count as tested and not sure.
    """
    levels = itemsets.levels[1:LARGEST]
    parts = [_of_length(itemsets, length, min_lift) for length, _ in enumerate(levels, 2)]
    if not parts:
        nothing, none = np.zeros((0, LARGEST), np.int64), np.zeros(0)
        return Bundles(nothing, nothing[:, 0], nothing, nothing.astype(float), none, none)
    items, count, lacking, inclined, lift, p = (np.concatenate(c) for c in zip(*parts, strict=True))
    tested = sum(len(level.counts) for level in levels)
    return Bundles(items, count, lacking, inclined, lift, benjamini_hochberg(p, tested))


def _of_length(
    itemsets: Itemsets, length: int, min_lift: float
) -> tuple[Ints, Ints, Ints, Floats, Floats, Floats]:
    # imported here: slow to load
    from scipy.stats import hypergeom

    level = itemsets.levels[length - 1]
    n, rows = itemsets.n_baskets, len(level.counts)
    places = np.searchsorted(itemsets.levels[0].items[:, 0], level.items)
    without, alone = np.zeros((2, rows, length), np.int64)
    for out in range(length):
        first, *others = (m for m in range(length) if m != out)
        rest = places[:, first]
        for at, m in enumerate(others, 2):
            rest = itemsets.extend(rest, level.items[:, m], at)
        without[:, out] = itemsets.levels[length - 2].counts[rest]
        alone[:, out] = itemsets.levels[0].counts[places[:, out]]
    lift = (level.counts[:, None] * n / (without * alone)).min(axis=1)
    kept = np.flatnonzero(lift >= min_lift)
    count, without, alone = level.counts[kept], without[kept], alone[kept]
    p = hypergeom.sf(
        count[:, None] - 1, n, np.maximum(without, alone), np.minimum(without, alone)
    ).max(axis=1, initial=0.0)
    items, lacking = np.full((len(kept), LARGEST), -1), np.zeros((len(kept), LARGEST), np.int64)
    items[:, :length] = level.items[kept]
    lacking[:, :length] = without - count[:, None]
    drawn = np.zeros((len(kept), LARGEST))
    drawn[:, :length] = np.maximum(count[:, None] / without - alone / n, 0.0)
    return items, count, lacking, lacking * drawn, lift[kept], p


def price_of(bundles: Bundles, prices: Floats) -> Floats:
    """Of all items together, one of each; `prices` by item code."""
    whole: Floats = np.where(bundles.items >= 0, prices[bundles.items], 0.0).sum(axis=1)
    return whole


def extra_revenue(bundles: Bundles, prices: Floats, discount: float, uptake: float) -> Floats:
    """What offering each brings over as many orders again; see above."""
    gain, cost = _gain_and_cost(bundles, prices, discount)
    return uptake * gain - cost


def break_even(bundles: Bundles, prices: Floats, discount: float) -> Floats:
    """The uptake from which on each brings more than it costs; NaN where none does."""
    gain, cost = _gain_and_cost(bundles, prices, discount)
    enough = np.full(len(bundles), np.nan)
    np.divide(cost, gain, out=enough, where=gain > 0)
    return np.where(enough <= 1, enough, np.nan)


def _gain_and_cost(bundles: Bundles, prices: Floats, discount: float) -> tuple[Floats, Floats]:
    """If all who are inclined took the bundle; and what those cost who hold all of it anyway."""
    whole = price_of(bundles, prices)
    own = np.where(bundles.items >= 0, prices[bundles.items], 0.0)
    gain: Floats = (bundles.inclined * (own - discount * whole[:, None])).sum(axis=1)
    return gain, discount * whole * bundles.count


def unlike(bundles: Bundles, most: int) -> Ints:
    """The first `most` of them that share fewer than two items with any before."""
    kept: list[int] = []
    seen: list[set[int]] = []
    for row, items in enumerate(bundles.items.tolist()):
        own = {i for i in items if i >= 0}
        if all(len(own & other) < 2 for other in seen):
            kept.append(row)
            seen.append(own)
        if len(kept) == most:
            break
    return np.array(kept, np.int64)
