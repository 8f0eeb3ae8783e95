"""A group of people told by bounds on their traits: what a density method found, made a rule.

DBSCAN and HDBSCAN say who is in a group, and not who would be: a tree learns it from them, and the
leaves that hold mostly people of the group are boxes in the space of traits. How faithful they are
is measured on people from whom the tree did not learn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

SEED = 7
#: Leaves of the tree, and the least people in one.
LEAVES = 32
LEAST_IN_LEAF = 3
FOLDS = 5

#: Per trait: above the first (excluded), up to the second (included); None is unbounded.
Bounds = tuple[tuple[float | None, float | None], ...]


@dataclass(frozen=True)
class Boxes:
    """Who lies in one of some boxes over `traits` (keys).

    `reach` is the share of the group that such boxes hold, `purity` the share of those they hold
    who are of it: both of people from whom the boxes were not learnt.
    """

    traits: tuple[str, ...]
    boxes: tuple[Bounds, ...]
    reach: float
    purity: float

    def holds(self, table: Floats) -> Flags:
        """Whether each row (n, d) lies in a box."""
        found = np.zeros(len(table), dtype=bool)
        for box in self.boxes:
            inside = np.ones(len(table), dtype=bool)
            for column, (low, high) in zip(table.T, box, strict=True):
                if low is not None:
                    inside &= column > low
                if high is not None:
                    inside &= column <= high
            found |= inside
        return found


def boxes_of(table: Floats, inside: Flags, traits: Sequence[str]) -> Boxes:
    """The boxes of those `inside`, over a table (n, d) without unknowns; none where none fits.

    Neighbouring people are near each other in every trait, so a few boxes go far; rows come in a
    fixed order.
    """
    fold = np.random.default_rng(SEED).permutation(len(table)) % FOLDS
    told = np.zeros(len(table), dtype=bool)
    for k in range(FOLDS):
        learnt = leaves_of(table[fold != k], inside[fold != k])
        told[fold == k] = Boxes((), learnt, 0, 0).holds(table[fold == k])
    right = int((told & inside).sum())
    return Boxes(
        tuple(traits),
        leaves_of(table, inside),
        right / max(1, int(inside.sum())),
        right / max(1, int(told.sum())),
    )


def leaves_of(table: Floats, inside: Flags) -> tuple[Bounds, ...]:
    """The leaves of a tree in which most people are inside, as bounds on every column."""
    # imported here: slow to load
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(
        max_leaf_nodes=LEAVES, min_samples_leaf=LEAST_IN_LEAF, random_state=SEED
    ).fit(table, inside.astype(np.int64))
    if len(tree.classes_) < 2:
        return (((None, None),) * table.shape[1],) if inside.any() else ()
    grown, found = tree.tree_, []
    waiting: list[tuple[int, Bounds]] = [(0, ((None, None),) * table.shape[1])]
    while waiting:
        node, bounds = waiting.pop()
        if grown.children_left[node] < 0:
            if grown.value[node][0][1] > grown.value[node][0][0]:
                found.append(bounds)
            continue
        column, at = int(grown.feature[node]), float(grown.threshold[node])
        low, high = bounds[column]
        below, above = (low, at), (at, high)
        for child, own in ((grown.children_right, above), (grown.children_left, below)):
            waiting.append((int(child[node]), (*bounds[:column], own, *bounds[column + 1 :])))
    return tuple(found)
