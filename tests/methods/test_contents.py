"""What items are: words by hand, and new items that inherit from those most like them."""

import numpy as np
import pytest
import scipy.sparse as sp

from analytics.methods.contents import most_like, weights_of_new, words_of


def test_items_are_as_like_as_the_words_that_they_share() -> None:
    words = words_of(["red mug", "red bag", "blue mug", "red mug", "unique"])
    found, cosines = most_like(words[[0]], words, 3)
    assert found[0].tolist() == [0, 3, 1] or found[0].tolist() == [0, 3, 2]
    assert cosines[0, :2] == pytest.approx([1, 1])
    assert 0 < cosines[0, 2] < 1
    assert words[4].nnz == 0  # no word of another's
    assert words_of(["one", "two"]).nnz == 0


def test_a_new_item_takes_after_those_most_like_it() -> None:
    weights = np.array([[0.0, 0.4, 0.1], [0.4, 0.0, 0.2], [0.1, 0.2, 0.0]], dtype="f4")
    found, cosines = np.array([[0, 1], [2, 0]]), np.array([[0.6, 0.2], [0.0, 0.0]], dtype="f4")
    made = weights_of_new(weights, found, cosines).toarray()
    # three quarters of item 0's column, one of item 1's, and 0.4 for having bought them
    assert made[:, 0] == pytest.approx([0.1 + 0.3, 0.3 + 0.1, 0.075 + 0.05])
    assert made[:, 1].tolist() == [0, 0, 0]
    sparse = weights_of_new(sp.csr_matrix(weights), found, cosines).toarray()
    assert sparse == pytest.approx(made)
