"""Frequent itemsets at 0.1 % of growing numbers of baskets of 5,000 items: ours, and two peers.

The peers are mlxtend's FP-Growth, which is given only the frequent items as a sparse table, and
rusket's (Rust), the fastest that is found as a wheel. All start from the same arrays and must find
the same itemsets with the same counts.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlxtend.frequent_patterns import fpgrowth
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from analytics.methods.itemsets import Baskets, Itemsets, frequent_itemsets, minimum_count
from benchmarks.side_by_side import Case, Row, measure

ITEMS = 5_000
PER_BASKET = 9.0
BUNDLES = 400
BUNDLED = 0.35
SUPPORT = 0.001

Counts = dict[frozenset[int], int]


def growing(folder: Path, *, full: bool) -> Iterator[Row]:
    """10 thousand, 100 thousand and, in full, a million baskets."""
    for n in (10_000, 100_000, 1_000_000) if full else (10_000, 100_000):
        file = folder / f"itemsets-{n}.npz"
        np.savez(file, **market(n))
        if importlib.util.find_spec("rusket"):
            yield measure(case("rusket's FP-Growth", n, by_rusket), file, file, repeats=3)
        else:
            print("NOT RUN: rusket is not installed", file=sys.stderr)
        repeats = 1 if n >= 100_000 else 3
        yield measure(case("mlxtend's FP-Growth", n, by_mlxtend), file, file, repeats=repeats)


def case(peer: str, n: int, theirs: Callable[[Path], Any]) -> Case:
    """Our miner beside one of the others."""
    return Case(f"itemsets at 0.1 %, beside {peer}", n, "baskets", ours, theirs, partial(agree, n))


def agree(n: int, mine: Itemsets, theirs: Any) -> None:
    """The same itemsets with the same counts; rusket's arrays are made into sets first."""
    frame = mine.frame()
    if isinstance(theirs, tuple):
        counts, begins, members = theirs
        sets = [frozenset(m.tolist()) for m in np.split(members, begins[1:-1])]
        theirs = dict(zip(sets, counts.tolist(), strict=True))
    if dict(zip(frame["itemsets"], frame["count"], strict=True)) != theirs:
        raise AssertionError(f"itemsets in {n} baskets: ours {len(mine)}, theirs {len(theirs)}")


def read(file: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each basket begins, and the items."""
    with np.load(file) as arrays:
        return arrays["starts"], arrays["items"]


@contextmanager
def ours(file: Path) -> Iterator[Callable[[], Itemsets]]:
    """As `rules` mines."""
    starts, items = read(file)

    def mine() -> Itemsets:
        baskets = Baskets(
            starts=starts, items=items, names=tuple(range(ITEMS)), n_baskets=len(starts) - 1
        )
        return frequent_itemsets(baskets, min_support=SUPPORT)

    yield mine


@contextmanager
def by_rusket(file: Path) -> Iterator[Callable[[], Any]]:
    """rusket, from the arrays that it takes to the arrays that it gives."""
    from rusket import _rusket

    starts, items = (a.astype(np.int32) for a in read(file))
    minimum = minimum_count(SUPPORT, len(starts) - 1)

    yield lambda: _rusket.fpgrowth_from_csr(starts, items, ITEMS, minimum, None)


@contextmanager
def by_mlxtend(file: Path) -> Iterator[Callable[[], Counts]]:
    """mlxtend, from a sparse table of the items that are frequent at all."""
    starts, items = read(file)
    n = len(starts) - 1
    table = csr_matrix((np.ones(len(items), dtype=bool), items, starts), (n, ITEMS))
    codes = np.flatnonzero(np.bincount(items, minlength=ITEMS) >= minimum_count(SUPPORT, n))
    frame = pd.DataFrame.sparse.from_spmatrix(table[:, codes])

    def mine() -> Counts:
        found = fpgrowth(frame, min_support=SUPPORT)
        counts = np.rint(found["support"].to_numpy(dtype=float) * n).astype(int)
        sets = [frozenset(codes[list(s)].tolist()) for s in found["itemsets"]]
        return dict(zip(sets, counts.tolist(), strict=True))

    yield mine


def market(n: int, seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """`n` baskets: items by the law of Zipf and Mandelbrot, and planted bundles of 2 to 6 items."""
    rng = np.random.default_rng(seed)
    chance = 1.0 / (10.0 + np.arange(1, ITEMS + 1))
    chance /= chance.sum()
    sizes = 1 + rng.poisson(rng.gamma(2.0, PER_BASKET / 2.0, n))
    drawn = rng.choice(ITEMS, int(sizes.sum()), p=chance)
    often = np.sqrt(chance) / np.sqrt(chance).sum()
    bundles = [rng.choice(ITEMS, k, replace=False, p=often) for k in rng.integers(2, 7, BUNDLES)]
    taken = rng.choice(BUNDLES, int(n * BUNDLED), p=zipf(BUNDLES, 0.8))
    lengths = np.array([len(b) for b in bundles])[taken]
    inside = np.repeat(rng.integers(0, n, len(taken)), lengths)
    bundled = np.concatenate([bundles[b] for b in taken])
    kept = rng.random(len(bundled)) < 0.9  # not always whole
    basket = np.concatenate([np.repeat(np.arange(n), sizes), inside[kept]])
    item = rng.permutation(ITEMS)[np.concatenate([drawn, bundled[kept]])]
    basket, item = np.divmod(np.unique(basket * ITEMS + item), ITEMS)
    return {"starts": np.searchsorted(basket, np.arange(n + 1)), "items": item}


def zipf(n: int, power: float) -> NDArray[np.float64]:
    """Chances of the first, second, ... of `n`."""
    weights = 1.0 / np.arange(1, n + 1) ** power
    return weights / weights.sum()
