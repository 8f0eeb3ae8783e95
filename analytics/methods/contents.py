"""What items are: likeness by their words, and weights for items that nobody has bought yet.

An item's text is its name, category and attributes; words are weighed by TF-IDF (Salton and Buckley
1988), counts on a log scale. Two items are as like as the cosine of their words.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

#: Of so many items most like a new one by their words, the weights are taken over.
LIKE = 20
WORD = r"[^\W_]+"


def words_of(texts: Sequence[str]) -> sp.csr_matrix:
    """Items x words, each row of length 1, or 0 where an item has no word of another's."""
    # imported here: slow to load
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectoriser = TfidfVectorizer(token_pattern=WORD, min_df=2, sublinear_tf=True, dtype=np.float32)
    try:
        return vectoriser.fit_transform(texts).tocsr()
    except ValueError:  # not one word that two items share
        return sp.csr_matrix((len(texts), 1), dtype=np.float32)


def most_like(
    some: sp.csr_matrix, others: sp.csr_matrix, k: int = LIKE
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each row of `some` the `k` most like rows of `others`, best first, and the cosines."""
    k = min(k, others.shape[0])
    found, cosines = np.zeros((2, some.shape[0], k))
    for start in range(0, some.shape[0], 256):
        block = (some[start : start + 256] @ others.T).toarray()
        order = np.argsort(-block, axis=1, kind="stable")[:, :k]
        found[start : start + 256] = order
        cosines[start : start + 256] = np.take_along_axis(block, order, axis=1)
    return found.astype(np.int64), cosines.astype(np.float32)


def weights_of_new(
    weights: Any, found: NDArray[np.int64], cosines: NDArray[np.float32]
) -> sp.csr_matrix:
    """Known items x new ones: the mean of the weights towards the items most like each.

    Who bought one of these itself counts as much as the largest weight. Weighed by the cosines; 0
    for a new item that is like nothing.
    """
    total = cosines.sum(axis=1, keepdims=True)
    shares = np.divide(cosines, total, out=np.zeros_like(cosines), where=total > 0)
    new, k = found.shape
    mixed = sp.csr_matrix(
        (shares.ravel(), (found.ravel(), np.repeat(np.arange(new), k))), (weights.shape[0], new)
    )
    own = sp.diags_array(np.full(weights.shape[0], float(weights.max()), dtype=np.float32))
    return sp.csr_matrix(weights @ mixed) + sp.csr_matrix(own @ mixed)
