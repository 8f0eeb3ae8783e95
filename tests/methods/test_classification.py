"""Classification: planted rules are read back, kernels bend, shuffled labels are no model."""

import numpy as np
import pytest

from analytics.methods.classification import (
    KINDS,
    Classifier,
    branches,
    cross_validated,
    goes_by,
    nested,
    quality,
)
from analytics.methods.portraits.clustering import one_thread
from analytics.methods.prediction import auc_error


@pytest.fixture(autouse=True)
def single():
    """As commands do."""
    with one_thread():
        yield


def people(n=900, seed=3):
    """Class 1: came late (feature 0 above 30) and bought little (1 below 4); feature 2 is noise."""
    rng = np.random.default_rng(seed)
    table = np.column_stack([rng.uniform(0, 60, n), rng.integers(1, 9, n), rng.normal(size=n)])
    labels = ((table[:, 0] > 30) & (table[:, 1] < 4)).astype(np.int64)
    flipped = rng.random(n) < 0.05
    return table.astype(float), np.where(flipped, 1 - labels, labels), np.arange(n) % 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_rule_is_learnt(kind) -> None:
    table, labels, folds = people()
    found = quality(labels, cross_validated(kind, table, labels, folds))
    assert found.auc > 0.85
    assert found.is_a_model
    assert found.right >= found.usual
    assert found.ece < 0.08
    assert found.confusion.sum() == len(labels)
    assert found.confusion.sum(axis=1).tolist() == np.bincount(labels).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_labels_are_no_model(kind) -> None:
    table, labels, folds = people()
    mixed = np.random.default_rng(8).permutation(labels)
    found = quality(mixed, cross_validated(kind, table, mixed, folds))
    assert found.auc == pytest.approx(0.5, abs=0.06)
    assert not found.is_a_model


def test_the_tree_reads_as_the_rule() -> None:
    table, labels, _ = people()
    tree = branches(Classifier("tree", table, labels))
    root = tree[0]
    assert (root.depth, root.feature, root.rows) == (0, None, 900)
    assert root.shares[1] == pytest.approx(labels.mean())
    first = next(b for b in tree if b.depth == 1)
    assert {first.feature} <= {0, 1}
    low = next(n for n, b in enumerate(tree) if b.feature == 1 and b.below)
    assert tree[low].bound == pytest.approx(3.5)
    assert tree[low + 1].feature == 0  # only of them does it matter when they came
    assert tree[low + 1].bound == pytest.approx(30, abs=2)
    leaves = [b for b in tree if b.leaf]
    assert sum(b.rows for b in leaves) == 900
    assert max(b.shares[1] for b in leaves) > 0.85


def test_it_goes_by_what_was_planted_and_not_by_noise() -> None:
    table, labels, _ = people()
    model = Classifier("tree", table[:450], labels[:450])
    (first, _), (second, least), *noise = goes_by(model, table[450:], labels[450:])
    assert {first, second} == {0, 1}
    assert all(weight < least / 5 for _, weight in noise)
    assert goes_by(model, table[:9], labels[:9] * 0) == []


def test_three_classes_and_unknown_values() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(600) % 3
    table = np.column_stack([labels * 10.0 + rng.normal(size=600), rng.normal(size=600)])
    table[::7, 1] = np.nan
    table[labels == 2, 0] = np.nan  # unknown tells
    for kind in KINDS:
        found = quality(labels, cross_validated(kind, table, labels, np.arange(600) % 4))
        assert found.auc > 0.95
        assert found.confusion.shape == (3, 3)
    unknown = [b for b in branches(Classifier("tree", table, labels)) if b.feature == 0]
    assert any(b.unknown for b in unknown)


def test_a_circle_needs_the_kernel() -> None:
    rng = np.random.default_rng(5)
    table = rng.normal(size=(800, 2))
    labels = ((table**2).sum(axis=1) > 1.4).astype(np.int64)
    folds = np.arange(800) % 4
    linear, kernel = (
        quality(labels, cross_validated(k, table, labels, folds)).auc
        for k in ("linear svm", "rbf svm")
    )
    assert linear < 0.6
    assert kernel > 0.95


def test_quality_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2]])
    found = quality(np.array([0, 0, 1, 1]), probabilities)
    assert found.auc == 0.75  # of four pairs of a 1 and a 0, three stand right
    assert (found.right, found.usual) == (0.75, 0.5)
    assert found.confusion.tolist() == [[2, 0], [1, 1]]
    assert found.ece == pytest.approx((0.1 + 0.8 + 0.3 + 0.4) / 4)


def test_neither_model_nor_choice_sees_whom_they_are_judged_on() -> None:
    table, labels, folds = people(n=300)
    asked: list[set[int]] = []

    def choose(rows):
        asked.append(set(rows.tolist()))
        return KINDS[int(labels[rows].sum()) % 2]

    honest = nested(table, labels, folds, choose)
    assert [seen & set(np.flatnonzero(folds == i)) for i, seen in enumerate(asked)] == [set()] * 5
    labels = np.where(folds == 0, 1 - labels, labels)
    turned = nested(table, labels, folds, choose)
    assert (turned[folds == 0] == honest[folds == 0]).all()
    assert (turned[folds == 1] != honest[folds == 1]).any()


def test_the_choice_among_models_of_nothing_does_not_flatter() -> None:
    """The best of three on its own folds is above chance; chosen without them it is not."""
    best, chosen = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        table, labels = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)
        folds = np.arange(200) % 4

        def judged(rows, kind, table=table, labels=labels, folds=folds):
            inner = np.unique(folds[rows], return_inverse=True)[1]
            said = cross_validated(kind, table[rows], labels[rows], inner)
            return quality(labels[rows], said).auc

        def choose(rows, judged=judged):
            return KINDS[int(np.argmax([judged(rows, kind) for kind in KINDS]))]

        best.append(max(judged(np.arange(200), kind) for kind in KINDS))
        chosen.append(quality(labels, nested(table, labels, folds, choose)).auc)
    assert np.mean(best) > np.mean(chosen) + 0.01
    assert abs(np.mean(chosen) - 0.5) < 3 * 0.041 / np.sqrt(8)  # 0.041: the error of one area


@pytest.mark.parametrize("seed", range(5))
def test_labels_without_a_cause_give_an_area_within_noise(seed) -> None:
    table, labels, folds = people(n=600, seed=seed)
    mixed = np.random.default_rng(seed).permutation(labels)
    for kind in KINDS:
        found = quality(mixed, cross_validated(kind, table, mixed, folds))
        error = auc_error(0.5, int(mixed.sum()), int((1 - mixed).sum()))
        assert abs(found.auc - 0.5) < 3.5 * error
