"""What to show whom: recommenders of items, and which of them is best on a later time.

People are rows and items columns of a table of 0 and 1: who bought what. A person's scores are
their row times a table of weights from item to item:

* popularity: the number of buyers, the same for all; what every other must beat;
* cosine: how alike two items' buyers are, the NEIGHBOURS most alike of each item;
* bm25: the same after people with many items, and items with many people, are weighed down
  (Robertson and Zaragoza 2009, "The probabilistic relevance framework");
* ease: the linear model whose weights best rebuild the table without an item telling itself
  (Steck 2019, "Embarrassingly shallow autoencoders for sparse data"); it takes items cubed;
* content: how alike two items' words are (see contents);
* hybrid: ease, or bm25 where it does not fit, and a little of content;
* embedding: a vector per item, and a person's score is a dot product (see embeddings);
* als: the same, its vectors fitted where the purchases are, by the library of the store's engine.

Everything is the same for the same input. Callers run this under one thread.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import lapack

from analytics.methods.arrays import Codes, Floats, Ints, Singles
from analytics.methods.contents import words_of
from analytics.methods.embeddings import Embeddings, trained

Kind = Literal["popularity", "cosine", "bm25", "ease", "content", "hybrid", "embedding", "als"]

#: Those that are fitted in this process.
KINDS: tuple[Kind, ...] = (
    "popularity", "cosine", "bm25", "ease", "content", "hybrid", "embedding",
)  # fmt: skip
#: Items beyond which EASE does not fit, and item tables are made in blocks.
MOST_ITEMS = 8_000
#: Pairs beyond which embeddings are not trained while one waits.
MOST_TRAINED = 2_000_000
#: How much of content stands beside a hybrid's purchases.
BY_WORDS = 0.2
#: How far EASE's weights are held back; from 200 to 800 is much the same on shops and films.
HELD_BACK = 300.0
NEIGHBOURS = 50
#: Likeness of items with few buyers is drawn towards none by as many who bought neither.
SHRINK = 10.0
#: Buyers of an item buy a similar one so many times as often as anybody.
LEAST_LIFT = 1.2
#: BM25's usual constants.
SATURATION, BY_LENGTH = 1.2, 0.75
Texts = Sequence[str]
#: Recommended at once; quality is measured on so many.
SHOWN = 10
#: People on whom recommenders are compared: half choose, half judge.
COMPARE_ON = 1_000
ROWS = 512


@dataclass(frozen=True, eq=False)
class Log:
    """Who bought what first when: positions in `people` and `items` (both sorted), and days.

    Each pair of person and item is there once. Logs of one content are equal.
    """

    people: NDArray[np.object_]
    items: NDArray[np.object_]
    person: Ints
    item: Ints
    day: Ints

    @classmethod
    def of(cls, person: pd.Series, item: pd.Series, day: pd.Series) -> "Log":
        """From columns of equal length; the first day of each pair counts."""
        who, people = pd.factorize(person, sort=True)
        what, items = pd.factorize(item, sort=True)
        days = day.to_numpy(dtype=np.int64)
        pair = who.astype(np.int64) * max(len(items), 1) + what
        order = np.argsort(pair, kind="stable")
        pair, days = pair[order], days[order]
        begins = np.flatnonzero(np.diff(pair, prepend=-1))
        who, what = np.divmod(pair[begins], max(len(items), 1))
        first = np.minimum.reduceat(days, begins) if len(begins) else days
        return cls(np.array(people, dtype=object), np.array(items, dtype=object), who, what, first)

    @functools.cached_property
    def digest(self) -> bytes:
        """Of all that it holds."""
        found = hashlib.blake2b(digest_size=16)
        for ids in (self.people, self.items):
            found.update(("\0".join(map(str, ids)) + "\0\0").encode())
        for column in (self.person, self.item, self.day):
            found.update(np.ascontiguousarray(column).tobytes())
        return found.digest()

    def __eq__(self, other: object) -> bool:
        """By content."""
        return isinstance(other, Log) and self.digest == other.digest

    def __hash__(self) -> int:
        """By content."""
        return hash(self.digest)

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.person)

    def table(self, kept: NDArray[np.bool_] | None = None) -> sp.csr_matrix:
        """People x items, 1 where bought; of the pairs that are kept."""
        person, item = (
            (self.person, self.item) if kept is None else (self.person[kept], self.item[kept])
        )
        starts = np.searchsorted(person, np.arange(len(self.people) + 1))
        shape = (len(self.people), len(self.items))
        return sp.csr_matrix((np.ones(len(item), dtype=np.float32), item, starts), shape)

    def in_play(self, least: int) -> "Log":
        """Only items with so many buyers or more, and people with such an item."""
        buyers = np.bincount(self.item, minlength=len(self.items))
        return self.only(buyers[self.item] >= least)

    def only(self, kept: NDArray[np.bool_]) -> "Log":
        """Only these pairs, and the people and items in them."""
        people, person = np.unique(self.person[kept], return_inverse=True)
        items, item = np.unique(self.item[kept], return_inverse=True)
        return Log(self.people[people], self.items[items], person, item, self.day[kept])


@dataclass(frozen=True, eq=False)
class Recommender:
    """A fitted recommender: `weights` (items x items, sparse or dense), `embeddings`, or `popular`
    scores. What is `barred` is never shown.
    """

    kind: Kind
    popular: Singles
    weights: Any = None
    embeddings: Embeddings | None = None
    barred: NDArray[np.bool_] | None = None

    @functools.cached_property
    def rank(self) -> Ints:
        """Of each item its place by popularity, from 0; equals in the order of their ids."""
        rank = np.empty(len(self.popular), dtype=np.int64)
        rank[np.argsort(-self.popular, kind="stable")] = np.arange(len(self.popular))
        return rank

    @functools.cached_property
    def hidden(self) -> NDArray[np.bool_]:
        """Of each item whether it is never shown."""
        return np.zeros(len(self.popular), bool) if self.barred is None else self.barred

    @functools.cached_property
    def links(self) -> tuple[Ints, Codes, Singles]:
        """The cells of sparse weights."""
        return cells(self.weights)

    def scores(self, bought: sp.csr_matrix) -> Singles:
        """Of each item for each row of what was bought."""
        if self.embeddings is not None:
            return self.embeddings.scores(bought)
        if self.weights is None:
            return np.tile(self.popular, (bought.shape[0], 1))
        return np.asarray(bought.toarray() @ self.weights, dtype=np.float32)

    def best(self, bought: sp.csr_matrix, n: int = SHOWN) -> Ints:
        """The `n` best items that each row has not bought, best first; -1 where there are fewer.

        Equal scores stand in order of popularity, then of the items' ids. An item without any score
        is not recommended.
        """
        if sp.issparse(self.weights):
            # imported here: slow to load
            from analytics.methods.compiled import best_items

            return best_items(*cells(bought), *self.links, self.rank, self.hidden, n)
        found = np.full((bought.shape[0], n), -1, dtype=np.int64)
        for start in range(0, bought.shape[0], ROWS):
            rows = bought[start : start + ROWS]
            scores = self.scores(rows)
            scores[rows.nonzero()] = -np.inf
            scores[:, self.hidden] = -np.inf
            for i, row in enumerate(scores):
                likely = np.flatnonzero(row > 0)
                likely = likely[row[likely] >= nth_largest(row[likely], n)]
                order = likely[np.lexsort((self.rank[likely], -row[likely]))][:n]
                found[start + i, : len(order)] = order
        return found


def nth_largest(row: Singles, n: int) -> float:
    """The `n`th largest value of a row, its least where it is shorter, 0 where it is empty."""
    if len(row) <= n:
        return float(row.min()) if len(row) else 0.0
    return float(np.partition(row, len(row) - n)[len(row) - n])


def fit(kind: Kind, bought: sp.csr_matrix, texts: Texts = ()) -> Recommender:
    """A recommender of a kind; `possible` says which there are for a table and items' texts."""
    popular = np.asarray(bought.sum(axis=0), dtype=np.float32).ravel()
    match kind:
        case "popularity":
            return Recommender(kind, popular)
        case "cosine":
            return Recommender(kind, popular, neighbours(bought))
        case "bm25":
            return Recommender(kind, popular, neighbours(weighed_down(bought), shrink=0.0))
        case "ease":
            return Recommender(kind, popular, ease(bought))
        case "content":
            return Recommender(kind, popular, by_words(texts))
        case "hybrid":
            return Recommender(kind, popular, mixed(bought, texts))
        case "embedding":
            return Recommender(kind, popular, embeddings=trained(bought))
        case "als":
            raise ValueError("als is fitted by the engine's library")
        case _:
            assert_never(kind)


def possible(items: int, pairs: int = 0, texts: Texts = ()) -> tuple[Kind, ...]:
    """The kinds that so many items and pairs allow; those by words where items have texts."""
    out: set[Kind] = set()
    if items > MOST_ITEMS:
        out |= {"ease"}
    if pairs > MOST_TRAINED:
        out |= {"embedding"}
    if not any(texts):
        out |= {"content", "hybrid"}
    return tuple(k for k in KINDS if k not in out)


def neighbours(table: sp.csr_matrix, k: int = NEIGHBOURS, shrink: float = SHRINK) -> sp.csr_matrix:
    """Items x items: the cosine of each item and the `k` most like it; the rest is 0.

    Of equally like items those of lower columns stand first.
    """
    # imported here: slow to load
    from analytics.methods.compiled import nearest

    squares = table.multiply(table).sum(axis=0)
    norms = np.sqrt(np.asarray(squares, dtype=np.float64).ravel()) + 1e-9
    found, alike = nearest(*cells(table.T.tocsr()), *cells(table), norms, shrink, k)
    n = len(norms)
    starts = np.concatenate(([0], np.cumsum((found >= 0).sum(axis=1))))
    weights = sp.csr_matrix((alike[found >= 0], found[found >= 0], starts), (n, n))
    weights.sort_indices()
    return weights


def cells(table: sp.csr_matrix) -> tuple[Ints, Codes, Singles]:
    """Where each row begins, the columns, and the values."""
    table.sort_indices()
    return (
        table.indptr.astype(np.int64, copy=False),
        table.indices.astype(np.int32, copy=False),
        table.data.astype(np.float32, copy=False),
    )


def by_words(texts: Texts) -> sp.csr_matrix:
    """Items x items: how alike their words are, of the NEIGHBOURS most like each."""
    return neighbours(words_of(texts).T.tocsr(), shrink=0.0)


def mixed(bought: sp.csr_matrix, texts: Texts) -> Any:
    """Weights by purchases, and BY_WORDS as much (by their norms) of weights by words."""
    words = by_words(texts)
    if bought.shape[1] > MOST_ITEMS:
        weights: Any = neighbours(weighed_down(bought), shrink=0.0)
        size = float(np.sqrt(weights.multiply(weights).sum()))
    else:
        weights = ease(bought)
        size = float(np.linalg.norm(weights))
    length = float(np.sqrt(words.multiply(words).sum()))
    if not length:
        return weights
    words = words * np.float32(BY_WORDS * size / length)
    if sp.issparse(weights):
        return (weights + words).tocsr()
    cells_of = words.tocoo()
    weights[cells_of.row, cells_of.col] += cells_of.data
    return weights


def weighed_down(table: sp.csr_matrix) -> sp.csr_matrix:
    """The table by BM25: each person is a text, each item a word of it."""
    cells = table.tocoo()
    people, items = table.shape
    buyers = np.bincount(cells.col, minlength=items)
    rarity = np.log(people / (1.0 + buyers))
    lengths = np.bincount(cells.row, cells.data, minlength=people)
    mean = lengths.sum() / max(people, 1)
    length = 1 - BY_LENGTH + BY_LENGTH * lengths[cells.row] / mean
    weight = cells.data * (SATURATION + 1) / (SATURATION * length + cells.data)
    values = weight * np.maximum(rarity[cells.col], 1e-6)
    return sp.csr_matrix((values.astype(np.float32), (cells.row, cells.col)), table.shape)


def ease(table: sp.csr_matrix, held_back: float = HELD_BACK) -> NDArray[np.float32]:
    """EASE's weights: -P / diag(P) off the diagonal, 0 on it, P = (X'X + held_back I)^-1.

    By Cholesky in place: items cubed operations, one table of items squared.
    """
    gram = np.asfortranarray((table.T @ table).toarray().astype(np.float32))
    n = len(gram)
    gram[np.diag_indices(n)] += held_back
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1, clean=0)
    inverse, wrong = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or wrong:
        raise ValueError("the item table cannot be inverted")
    for start in range(0, n, ROWS):  # the upper half, a mirror of the lower
        end = min(start + ROWS, n)
        block = np.tril(inverse[start:end, start:end])
        inverse[start:end, start:end] = block + np.tril(block, -1).T
        inverse[start:end, end:] = inverse[end:, start:end].T
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices(n)] = 0
    return np.ascontiguousarray(weights)


# --- comparing -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quality:
    """How well SHOWN items per person meet what `people` bought next.

    `ndcg` is the discounted gain against the best order there could be, `hit_rate` the share of
    people who bought one of the items or more, `coverage` the share of items that anybody was
    shown.
    """

    people: int
    ndcg: float
    hit_rate: float
    coverage: float


def quality(shown: Ints, later: sp.csr_matrix, items: int | None = None) -> Quality:
    """Of items shown (rows x n, -1 for none) against what each row bought later (at least one).

    `items` is how many could be shown, all columns where it is not said.
    """
    people, n = shown.shape
    hits = np.zeros(shown.shape, dtype=bool)
    bought = np.diff(later.indptr)
    for i in range(people):
        hits[i] = np.isin(shown[i], later.indices[later.indptr[i] : later.indptr[i + 1]])
    discount = 1 / np.log2(np.arange(2, n + 2))
    ideal = np.cumsum(discount)[np.minimum(np.maximum(bought, 1), n) - 1]
    gains = (hits * discount).sum(axis=1) / ideal
    different = len(np.unique(shown[shown >= 0]))
    return Quality(
        people,
        float(gains.mean()),
        float(hits.any(axis=1).mean()),
        different / (later.shape[1] if items is None else items),
    )


@dataclass(frozen=True, eq=False)
class Study:
    """Recommenders compared on what people bought from a day on, and the best fitted on all.

    `qualities` are of the people who did not choose: `taken` was chosen on the other half.
    """

    log: Log
    bought: sp.csr_matrix
    qualities: dict[Kind, Quality]
    taken: Kind
    model: Recommender

    def row(self, person: str) -> sp.csr_matrix:
        """What a person bought, as one row; empty for one who is not in the log."""
        found = np.flatnonzero(self.log.people == person)
        if len(found):
            return self.bought[[int(found[0])]]
        return sp.csr_matrix((1, self.bought.shape[1]), dtype=np.float32)


class TooFewError(Exception):
    """Too few people bought something new after the cut to compare recommenders on them."""


@functools.lru_cache(maxsize=2)
def studied(
    log: Log, cut: int, least: int, kinds: tuple[Kind, ...], texts: tuple[str, ...] = ()
) -> Study:
    """Fit on what was bought before the day `cut`, compare on what came after, refit on all.

    People are judged by items that were new to them. Fewer than `least` on either half raise
    TooFewError. `texts` are the items'. Studies of one log are made once.
    """
    before, bought = log.table(log.day < cut), log.table()
    qualities, taken = compared(log, cut, least, kinds, lambda kind: fit(kind, before, texts))
    return Study(log, bought, qualities, taken, fit(taken, bought, texts))


def compared(
    log: Log, cut: int, least: int, kinds: Sequence[Kind], fitted: Callable[[Kind], Recommender]
) -> tuple[dict[Kind, Quality], Kind]:
    """The quality after `cut` of recommenders `fitted` to what was bought before, and the best.

    Raises TooFewError.
    """
    early = log.day < cut
    before, after = log.table(early), log.table(~early)
    judged = np.flatnonzero((np.diff(before.indptr) > 0) & (np.diff(after.indptr) > 0))
    hashes = pd.util.hash_array(log.people, categorize=False)
    judged = np.sort(judged[np.argsort(hashes[judged], kind="stable")][:COMPARE_ON])
    chooses = (hashes[judged] >> np.uint64(8)) % 2 == 0
    if min(chooses.sum(), (~chooses).sum()) < least:
        raise TooFewError
    qualities, choosing = {}, {}
    for kind in kinds:
        shown = fitted(kind).best(before[judged])
        choosing[kind] = quality(shown[chooses], after[judged[chooses]])
        qualities[kind] = quality(shown[~chooses], after[judged[~chooses]])
    return qualities, max(choosing, key=lambda k: choosing[k].ndcg)


# --- reasons -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reason:
    """Why an item is shown: the bought `item` that speaks most for it.

    `both` of the `buyers` of that item bought the one that is shown too.
    """

    item: int
    both: int
    buyers: int


def speaks_for(study: Study, row: sp.csr_matrix, shown: int) -> int | None:
    """The bought item that adds most to the score of `shown`; None where nothing does."""
    weights, embeddings = study.model.weights, study.model.embeddings
    if (weights is None and embeddings is None) or not row.nnz:
        return None
    own = np.sort(row.indices).astype(np.int64)
    if embeddings is not None:
        adds = embeddings.shares(own, shown)
    else:
        column = weights[own, shown]
        adds = np.asarray(column.toarray() if sp.issparse(column) else column).ravel()
    return int(own[int(adds.argmax())]) if adds.max() > 0 else None


def reason(study: Study, row: sp.csr_matrix, shown: int) -> Reason | None:
    """Why `shown` is recommended to one row; None where it is for all alike."""
    source = speaks_for(study, row, shown)
    return None if source is None else Reason(source, *together(study.bought, source, shown))


def together(bought: sp.csr_matrix, item: int, other: int) -> tuple[int, int]:
    """(how many bought both, how many bought the first)."""
    pair = bought[:, [item, other]].toarray() > 0
    return int(pair.all(axis=1).sum()), int(pair[:, 0].sum())


def alike(bought: sp.csr_matrix, item: int, n: int) -> Iterator[tuple[int, float, int]]:
    """(other item, cosine, people who bought both) of the items most like one, best first.

    What everybody buys is like nothing: an item's buyers must be LEAST_LIFT times as likely to buy
    the other as anybody.
    """
    column = bought[:, [item]]
    both = np.asarray((bought.T @ column).toarray()).ravel()
    buyers = np.asarray(bought.sum(axis=0), dtype=np.float64).ravel()
    yield from most_alike(both, buyers, bought.shape[0], item, n)


def most_alike(
    both: Floats, buyers: Floats, people: int, item: int, n: int
) -> Iterator[tuple[int, float, int]]:
    """The same from counts: people who bought both, an item's `buyers`, and all people."""
    norms = np.sqrt(buyers)
    cosines = both / (norms * norms[item] + SHRINK)
    chance = norms**2 * norms[item] ** 2 / people
    cosines[item] = 0
    cosines[both < LEAST_LIFT * chance] = 0
    for other in np.lexsort((np.arange(len(both)), -cosines))[:n]:
        if cosines[other] > 0:
            yield int(other), float(cosines[other]), int(both[other])


def shown_most(study: Study, people: Sequence[int], n: int = SHOWN) -> list[tuple[int, int]]:
    """(item, to how many of the people it is shown), most first."""
    shown = study.model.best(study.bought[np.asarray(people, dtype=np.int64)], n)
    items, counts = np.unique(shown[shown >= 0], return_counts=True)
    order = np.lexsort((items, -counts))
    return [(int(items[i]), int(counts[i])) for i in order]
