"""Embeddings: vectors of people and items whose dot product says how much one likes the other.

Trained on who bought what by alternating least squares: every pair counts, what was bought
1 + EXTRA times as much (Hu, Koren, Volinsky 2008, "Collaborative filtering for implicit feedback
datasets"), each row by a few steps of conjugate gradients (Takács, Pilászy, Tikk 2011). People's
vectors need not be kept: anybody's follows from what they bought.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from analytics.methods.arrays import Floats

WIDTH = 64
ROUNDS = 8
EXTRA = 1.0
HELD_BACK = 10.0
SEED = 7


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors of items, and Y'Y + HELD_BACK · I over them.

    `per_item` holds a person back by so much more for each thing they bought. Scores are rounded to
    `digits` where the last of them may differ between two fits to the same purchases.
    """

    items: Floats
    gram: Floats
    per_item: float = 0.0
    digits: int | None = None

    def people(self, bought: sp.csr_matrix) -> Floats:
        """The vectors of people, from what they bought: each the least squares, exactly."""
        found = np.zeros((bought.shape[0], self.items.shape[1]))
        for row in range(bought.shape[0]):
            own = self.items[bought.indices[bought.indptr[row] : bought.indptr[row + 1]]]
            if len(own):
                found[row] = np.linalg.solve(self.system(own), (1 + EXTRA) * own.sum(axis=0))
        return found

    def system(self, own: Floats) -> Floats:
        """Of the least squares of a person who bought these."""
        found: Floats = self.gram + EXTRA * own.T @ own
        found[np.diag_indices(len(found))] += self.per_item * len(own)
        return found

    def scores(self, bought: sp.csr_matrix) -> NDArray[np.float32]:
        """Of each item for each row of what was bought."""
        found = self.people(bought) @ self.items.T
        if self.digits is not None:
            found = found.round(self.digits)
        return found.astype(np.float32)

    def shares(self, own: NDArray[np.int64], shown: int) -> Floats:
        """How much each bought item adds to the score of the one that is shown; they sum to it."""
        vectors = self.items[own]
        to_shown = np.linalg.solve(self.system(vectors), self.items[shown])
        found: Floats = (1 + EXTRA) * vectors @ to_shown
        return found


def trained(bought: sp.csr_matrix, width: int = WIDTH, rounds: int = ROUNDS) -> Embeddings:
    """Embeddings of a table of people and items; the same for the same table."""
    # imported here: slow to load
    from analytics.methods.compiled import half_step

    by_person, by_item = bought.tocsr(), bought.T.tocsr()
    random = np.random.default_rng(SEED)
    people, items = (random.normal(0.0, 0.1, (n, width)) for n in bought.shape)
    for _ in range(rounds):
        half_step(*cells(by_person), people, items, gram_of(items), EXTRA)
        half_step(*cells(by_item), items, people, gram_of(people), EXTRA)
    return Embeddings(items, gram_of(items))


def cells(table: sp.csr_matrix) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Where each row begins, and the columns."""
    return table.indptr.astype(np.int64), table.indices.astype(np.int32)


def gram_of(vectors: Floats) -> Floats:
    """Y'Y, held back."""
    gram: Floats = vectors.T @ vectors + HELD_BACK * np.eye(vectors.shape[1])
    return gram
