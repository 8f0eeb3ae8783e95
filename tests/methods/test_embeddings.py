"""Embeddings: a half step solves its least squares, and what adds up to a score."""

import numpy as np
import pytest
import scipy.sparse as sp

from analytics.methods.compiled import half_step
from analytics.methods.embeddings import EXTRA, Embeddings, cells, gram_of, trained


def two_tastes(n=60, seed=1):
    """People who buy of items 0 to 5, or of 6 to 11."""
    rng = np.random.default_rng(seed)
    table = np.zeros((n, 12), dtype="f4")
    for person in range(n):
        table[person, 6 * (person % 2) + rng.permutation(6)[:4]] = 1
    return sp.csr_matrix(table)


def test_half_steps_arrive_at_the_least_squares() -> None:
    bought = two_tastes()
    items = np.random.default_rng(0).normal(0, 0.5, (12, 3))
    exact = Embeddings(items, gram_of(items)).people(bought)
    people = np.zeros((60, 3))
    for _ in range(3):  # three gradients each, of three dimensions
        half_step(*cells(bought), people, items, gram_of(items), EXTRA)
    assert people == pytest.approx(exact, abs=1e-9)
    one = bought[[0]].toarray().ravel()
    weights = np.diag(1 + EXTRA * one)
    system = items.T @ weights @ items + 10 * np.eye(3)
    assert exact[0] == pytest.approx(np.linalg.solve(system, items.T @ weights @ one))


def test_people_like_what_those_of_their_taste_like() -> None:
    bought = two_tastes()
    model = trained(bought, width=4, rounds=6)
    scores = model.scores(bought)
    assert (scores[0::2, :6].min(axis=1) > scores[0::2, 6:].max(axis=1)).all()
    assert (scores[1::2, 6:].min(axis=1) > scores[1::2, :6].max(axis=1)).all()
    assert (trained(bought, width=4, rounds=6).items == model.items).all()


def test_the_shares_of_what_was_bought_sum_to_the_score() -> None:
    bought = two_tastes()
    model = trained(bought, width=4, rounds=4)
    own = np.sort(bought[[3]].indices).astype(np.int64)
    for shown in (0, 7):
        total = model.shares(own, shown).sum()
        assert total == pytest.approx(model.scores(bought[[3]])[0, shown], rel=1e-4)


def test_nobody_likes_nothing() -> None:
    table = sp.csr_matrix(np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0]], dtype="f4"))
    model = trained(table, width=2, rounds=2)
    assert model.scores(table)[1].tolist() == [0, 0, 0]
    assert model.items[2].tolist() == [0, 0]
