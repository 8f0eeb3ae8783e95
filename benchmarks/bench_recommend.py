"""Recommending from growing numbers of purchases, beside the implicit library on the same arrays.

Both fit item likeness (cosine, the 50 nearest of each item), and both give one person's ten items
from what is fitted. People buy by taste: items lie in groups.
"""

import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from analytics.methods.recommenders import NEIGHBOURS, SHOWN, Recommender, fit, neighbours
from benchmarks.side_by_side import Case, Row, measure

PER_PERSON = 10
TASTES = 50
#: Wall seconds that a fit, and one person's items, may take at any size here.
FIT_S, ONE_S = 60.0, 0.05
ASKED, MANY = 7, 10_000
#: Of many people's items so many are the same: equal scores may stand in another order.
ALIKE = 0.97


def growing(folder: Path, *, full: bool) -> Iterator[Row]:
    """100 thousand, a million and, in full, 10 million purchases, of up to 100,000 items."""
    if not importlib.util.find_spec("implicit"):
        print("NOT RUN: implicit is not installed", file=sys.stderr)
        return
    for n in (100_000, 1_000_000, 10_000_000) if full else (100_000, 1_000_000):
        file = folder / f"purchases-{n}.npz"
        sp.save_npz(file, market(n), compressed=False)
        repeats = 3 if n < 5_000_000 else 1
        unit = "purchases"
        fits = Case("recommend: fit", n, unit, fitting, fitting_theirs, kinds_agree, FIT_S)
        yield measure(fits, file, file, repeats)
        one = Case("recommend: one person", n, unit, asking, asking_theirs, items_agree, ONE_S)
        yield measure(one, file, file, repeats=15)
        many = Case(f"recommend: {MANY:,} people", n, unit, asking_many, many_theirs, many_agree)
        yield measure(many, file, file, repeats=3)


def kinds_agree(ours: Recommender, theirs: Any) -> None:
    """Both hold at most so many neighbours of each item."""
    most = int(np.diff(ours.weights.indptr).max())
    if most > NEIGHBOURS + 1 or theirs.similarity.shape != ours.weights.shape:
        raise AssertionError(f"{most} neighbours; {theirs.similarity.shape}")


def items_agree(ours: Any, theirs: Any) -> None:
    """Of ten items all but one are the same: equal scores may stand in another order."""
    same = len(set(ours.tolist()) & set(theirs.tolist()))
    if same < SHOWN - 1:
        raise AssertionError(f"only {same} of {SHOWN} items are the same")


def many_agree(ours: Any, theirs: Any) -> None:
    """Nearly all items of all people are the same."""
    same = np.mean([len(set(a) & set(b)) / SHOWN for a, b in zip(ours, theirs, strict=True)])
    if same < ALIKE:
        raise AssertionError(f"only {same:.3f} of the items are the same")


@contextmanager
def fitting(file: Path) -> Iterator[Callable[[], Recommender]]:
    """Ours, from the table."""
    bought = sp.load_npz(file).tocsr()
    yield partial(fit, "cosine", bought)


@contextmanager
def fitting_theirs(file: Path) -> Iterator[Callable[[], Any]]:
    """implicit's, from the table."""
    bought = sp.load_npz(file).tocsr()
    yield partial(fitted_theirs, bought)


def fitted_theirs(bought: sp.csr_matrix) -> Any:
    """implicit's item likeness."""
    from implicit.nearest_neighbours import CosineRecommender

    model = CosineRecommender(K=NEIGHBOURS + 1, num_threads=1)  # it counts the item itself
    with warnings.catch_warnings():  # of its own calls
        warnings.simplefilter("ignore")
        model.fit(bought, show_progress=False)
    return model


@contextmanager
def asking(file: Path) -> Iterator[Callable[[], Any]]:
    """Ours, for one person."""
    model, bought = fitted(file)
    yield lambda: model.best(bought[ASKED], SHOWN)[0]


@contextmanager
def asking_many(file: Path) -> Iterator[Callable[[], Any]]:
    """Ours, for many people."""
    model, bought = fitted(file)
    yield lambda: model.best(bought[:MANY], SHOWN)


def fitted(file: Path) -> tuple[Recommender, sp.csr_matrix]:
    """Ours, without shrinkage of rare items' likeness, as theirs has none."""
    bought = sp.load_npz(file).tocsr()
    popular = np.asarray(bought.sum(axis=0), dtype=np.float32).ravel()
    return Recommender("cosine", popular, neighbours(bought, shrink=0.0)), bought


@contextmanager
def asking_theirs(file: Path) -> Iterator[Callable[[], Any]]:
    """implicit's, for one person."""
    bought = sp.load_npz(file).tocsr()
    model = fitted_theirs(bought)
    yield lambda: model.recommend(ASKED, bought[ASKED], N=SHOWN)[0]


@contextmanager
def many_theirs(file: Path) -> Iterator[Callable[[], Any]]:
    """implicit's, for many people."""
    bought = sp.load_npz(file).tocsr()
    model = fitted_theirs(bought)
    yield lambda: model.recommend(np.arange(MANY), bought[:MANY], N=SHOWN)[0]


def market(n: int, seed: int = 1) -> sp.csr_matrix:
    """People x items with about `n` ones: each buys by Zipf's law, four in five of one taste."""
    rng = np.random.default_rng(seed)
    people, items = n // PER_PERSON, min(100_000, n // 20)
    per_taste = items // TASTES
    who = np.repeat(np.arange(people), PER_PERSON)
    chance = 1.0 / (10.0 + np.arange(per_taste))
    within = rng.choice(per_taste, len(who), p=chance / chance.sum())
    own = rng.integers(0, TASTES, people)[who]
    taste = np.where(rng.random(len(who)) < 0.8, own, rng.integers(0, TASTES, len(who)))
    what = taste * per_taste + within
    table = sp.csr_matrix(
        (np.ones(len(who), dtype=np.float32), (who, what)), (people, per_taste * TASTES)
    )
    table.data[:] = 1.0  # once is enough
    return table
