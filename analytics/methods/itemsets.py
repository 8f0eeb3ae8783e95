"""Frequent itemsets: which items share baskets, counted exactly.

Four engines here, and one where the data are, find the same itemsets; which one ran is part of the
answer:

- mlxtend fpgrowth: FP-Growth (Han, Pei, Yin 2000), for small data.
- vertical bitmaps: Eclat (Zaki 2000) with one bit per basket, for everything larger. Pairs are
  counted along the baskets; from triples on, the bitmaps hold only the baskets of one item.
- compiled bitmaps: the same in machine code, for many lines.
- mlxtend apriori: level by level (Agrawal, Srikant 1994), only where it is asked for by name.
- Spark MLlib: FP-Growth on a cluster, over baskets that do not fit here.

Thresholds are whole numbers of baskets, so nothing is won or lost by rounding at the boundary.
Memory is bounded: what does not fit is refused with the support that would.
"""

import math
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Literal, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame
from scipy.sparse import coo_array

from analytics.methods.arrays import Codes, Ints

Method = Literal["fpgrowth", "apriori", "bitmaps", "compiled"]
Engine = Literal[
    "mlxtend fpgrowth", "mlxtend apriori", "vertical bitmaps", "compiled bitmaps", "Spark MLlib"
]

MOST_ITEMSETS = 200_000
MOST_BYTES = 1 << 30
BYTES_PER_LINE = 64  # of the bitmaps' working memory; measured at a million baskets
APRIORI_BYTES_PER_CELL = 3  # the table of yes and no, and copies of up to all of it

# Up to here FP-Growth in Python is done in half a second; the bitmaps are 8 to 40 times as fast.
SMALL_CELLS = 2_000_000  # baskets times frequent items
SMALL_LINES = 100_000
SMALL_ITEMSETS = 20_000

# From here on compiled code is worth its loading: 0.3 s once in a process.
LARGE_LINES = 100_000
PAIRS_AT_ONCE = 1 << 26  # cells of four bytes in the table of pairs


class MiningTooLargeError(ValueError):
    """The question asks for more itemsets, rules or memory than allowed.

    `what` is over `limit`: at least `needed` of it. `feasible_support` is a minimum support (share
    of baskets) that fits, None where it is not known.
    """

    def __init__(
        self,
        what: Literal["itemsets", "bytes", "rules"],
        needed: int,
        limit: int,
        feasible_support: float | None = None,
    ) -> None:
        super().__init__(f"at least {needed:,} {what} needed, {limit:,} allowed")
        self.what = what
        self.needed = needed
        self.limit = limit
        self.feasible_support = feasible_support


@dataclass(frozen=True, eq=False, kw_only=True)
class Baskets:
    """Baskets as rows of item codes.

    Row r holds `items[starts[r]:starts[r + 1]]`, ascending and each once; `names[code]` is the
    item. `n_baskets` is the denominator of every support: it also counts baskets that hold none
    of the items and so need no row.
    """

    starts: Ints
    items: Ints
    names: tuple[Hashable, ...]
    n_baskets: int

    def __post_init__(self) -> None:
        if self.n_baskets < len(self.starts) - 1:
            raise ValueError(f"{len(self.starts) - 1} rows do not fit {self.n_baskets} baskets")

    @classmethod
    def from_lines(cls, lines: DataFrame, *, n_baskets: int | None = None) -> Self:
        """From a line per `basket` and `item`; repeated lines count once, unknown ones not at all.

        Codes follow the names' order, so the order of the lines changes nothing.
        """
        basket, baskets = pd.factorize(lines["basket"], sort=True)
        item, names = pd.factorize(lines["item"], sort=True)
        known = (basket >= 0) & (item >= 0)
        every = len(baskets) if n_baskets is None else n_baskets
        return cls._of_codes(basket[known], item[known], tuple(names.tolist()), every)

    @classmethod
    def in_halves(cls, lines: DataFrame, n_baskets: tuple[int, int]) -> tuple[Self, Self, Self]:
        """All baskets, those whose `late` is 0, and those whose `late` is 1; `n_baskets` per half.

        The items of both halves have the same codes.
        """
        basket, _ = pd.factorize(lines["basket"], sort=True)
        item, found = pd.factorize(lines["item"], sort=True)
        late, names = lines["late"].to_numpy() == 1, tuple(found.tolist())
        first, second = (
            cls._of_codes(basket[half], item[half], names, n)
            for half, n in zip((~late, late), n_baskets, strict=True)
        )
        return cls._of_codes(basket, item, names, sum(n_baskets)), first, second

    @classmethod
    def _of_codes(
        cls, basket: Ints, item: Ints, names: tuple[Hashable, ...], n_baskets: int
    ) -> Self:
        width = max(len(names), 1)
        pairs = np.sort(basket.astype(np.int64) * width + item)
        pairs = pairs[np.diff(pairs, prepend=-1) != 0]
        rows, codes = np.divmod(pairs, width)
        begins = np.flatnonzero(np.diff(rows, prepend=-1) != 0)
        return cls(
            starts=np.append(begins, len(rows)), items=codes, names=names, n_baskets=n_baskets
        )

    @property
    def rows(self) -> Ints:
        """The row of each entry of `items`."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @cached_property
    def item_counts(self) -> Ints:
        """Baskets that hold each item, by code."""
        return np.bincount(self.items, minlength=len(self.names))

    def sample(self, n_baskets: int, *, seed: int) -> Self:
        """That many of the baskets, drawn without replacement; all where there are no more."""
        if n_baskets >= self.n_baskets:
            return self
        drawn = np.random.default_rng(seed).choice(self.n_baskets, n_baskets, replace=False)
        rows = np.sort(drawn[drawn < len(self.starts) - 1])
        sizes = np.diff(self.starts)[rows]
        starts = np.concatenate(([0], np.cumsum(sizes)))
        entries = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], sizes)
        return type(self)(
            starts=starts, items=self.items[entries], names=self.names, n_baskets=n_baskets
        )

    def counts_of(self, itemsets: Sequence[Collection[Hashable]]) -> Ints:
        """Baskets that hold each of these (non-empty) itemsets; 0 where an item is unknown."""
        wanted = set().union(*itemsets)
        codes = {name: code for code, name in enumerate(self.names) if name in wanted}
        held = np.zeros(len(self.names), bool)
        held[list(codes.values())] = True
        entries = np.flatnonzero(held[self.items])
        entries = entries[np.argsort(self.items[entries], kind="stable")]
        by_item = np.searchsorted(self.starts, entries, side="right") - 1
        ends = np.cumsum(np.where(held, self.item_counts, 0))
        rows_of = {
            name: by_item[ends[code] - self.item_counts[code] : ends[code]]
            for name, code in codes.items()
        }
        counts = np.zeros(len(itemsets), np.int64)
        for k, itemset in enumerate(itemsets):
            parts = sorted((rows_of.get(name, entries[:0]) for name in itemset), key=len)
            common = parts[0]
            for part in parts[1:]:
                common = np.intersect1d(common, part, assume_unique=True)
            counts[k] = len(common)
        return counts


class Counted(Protocol):
    """Baskets of which one can ask how many hold a set."""

    @property
    def n_baskets(self) -> int:
        """All of them."""

    def counts_of(self, itemsets: Sequence[Collection[Hashable]]) -> Ints:
        """Baskets that hold each of these itemsets."""


@dataclass(frozen=True, eq=False)
class Known:
    """Baskets that are elsewhere: the counts of the sets that were asked for; 0 of any other."""

    n_baskets: int
    counts: dict[frozenset[Hashable], int]

    def counts_of(self, itemsets: Sequence[Collection[Hashable]]) -> Ints:
        """Baskets that hold each of these itemsets."""
        return np.array([self.counts.get(frozenset(s), 0) for s in itemsets], np.int64)


@dataclass(frozen=True, eq=False)
class Level:
    """The frequent itemsets of one length: item codes ascend along and down the rows."""

    items: Ints  # one itemset a row
    counts: Ints  # baskets that hold it


@dataclass(frozen=True, eq=False, kw_only=True)
class Itemsets:
    """All frequent itemsets: `levels[k - 1]` are those of k items. Every subset of one is in it."""

    levels: tuple[Level, ...]
    names: tuple[Hashable, ...]
    n_baskets: int
    engine: Engine

    @classmethod
    def of_sets(
        cls, sets: Sequence[Sequence[str]], counts: Ints, *, n_baskets: int, engine: Engine
    ) -> Self:
        """From sets that were found elsewhere, every subset of one among them, in any order."""
        lengths = np.fromiter(map(len, sets), np.int64, len(sets))
        codes, names = pd.factorize(
            np.array([item for one in sets for item in one], dtype=object), sort=True
        )
        return cls(
            levels=tuple(_levels(lengths, counts, codes)),
            names=tuple(names.tolist()),
            n_baskets=n_baskets,
            engine=engine,
        )

    def __len__(self) -> int:
        return sum(len(level.counts) for level in self.levels)

    def frame(self) -> DataFrame:
        """mlxtend's frame (`support`, `itemsets`) and the `count` behind each support.

        The most frequent first, then the shortest, then by the items' names.
        """
        names = np.fromiter(self.names, object, len(self.names))
        sets = [frozenset(row) for level in self.levels for row in names[level.items].tolist()]
        counts = np.concatenate([np.zeros(0, np.int64), *(level.counts for level in self.levels)])
        order = np.argsort(-counts, kind="stable")
        return DataFrame(
            {
                "support": counts[order] / max(self.n_baskets, 1),
                "itemsets": pd.Series([sets[at] for at in order], dtype=object),
                "count": counts[order],
            }
        )

    def extend(self, places: Ints, codes: Ints, length: int) -> Ints:
        """Places, in the level of `length`, of the itemsets at `places` one level up plus an item.

        The item of each must come after those it joins, and the result must be frequent.
        """
        return np.searchsorted(self._keys[length - 1], places * len(self.names) + codes)

    @cached_property
    def _keys(self) -> list[Ints]:
        """One number per itemset, ascending: the place of all but its last item, and that item."""
        keys: list[Ints] = []
        for level in self.levels:
            places = np.zeros(len(level.counts), np.int64)
            for column, known in zip(level.items.T, keys, strict=False):
                places = np.searchsorted(known, places * len(self.names) + column)
            keys.append(places * len(self.names) + level.items[:, -1])
        return keys


def minimum_count(min_support: float, n_baskets: int) -> int:
    """The fewest baskets, at least one, whose share of all reaches `min_support`.

    Not ceil(min_support · n): 0.07 · 100 is a little more than 7, but 7/100 does reach 0.07.
    """
    if not 0 < min_support <= 1:
        raise ValueError(f"minimum support is a share above 0 and up to 1, not {min_support}")
    count = max(1, math.ceil(min_support * n_baskets) - 1)
    while count < n_baskets and count / n_baskets < min_support:
        count += 1
    return count


def frequent_itemsets(
    baskets: Baskets,
    *,
    min_support: float,
    method: Method = "fpgrowth",
    max_length: int | None = None,
    max_itemsets: int = MOST_ITEMSETS,
    max_bytes: int = MOST_BYTES,
) -> Itemsets:
    """All itemsets in at least `min_support` (share) of the baskets, of at most `max_length` items.

    All methods find the same. `apriori` is always mlxtend's; `fpgrowth` is mlxtend's on small
    data and gives way to the bitmaps on larger. MiningTooLargeError says what does not fit and
    which support would.
    """
    minimum = minimum_count(min_support, baskets.n_baskets)
    if method == "compiled" or (method == "fpgrowth" and len(baskets.items) >= LARGE_LINES):
        found = _compiled(baskets, minimum, max_length, max_itemsets, max_bytes)
        if found is not None:
            return found
    data = _Frequent.of(baskets, minimum)
    if method == "apriori":
        return _apriori(data, max_length, max_itemsets, max_bytes)
    if method == "fpgrowth" and data.is_small:
        with suppress(MiningTooLargeError):
            return _fpgrowth(data, max_length, min(max_itemsets, SMALL_ITEMSETS))
    return _vertical(data, max_length, max_itemsets, max_bytes)


def feasible_support(
    baskets: Baskets,
    *,
    min_support: float,
    max_length: int | None = None,
    max_itemsets: int = MOST_ITEMSETS,
    max_bytes: int = MOST_BYTES,
) -> float | None:
    """A support from `min_support` on that stays within the limits.

    At most a quarter above the least that keeps within `max_itemsets`. None where only fewer
    baskets would do. Takes a few times as long as mining `max_itemsets` itemsets.
    """
    data = _Frequent.of(baskets, minimum_count(min_support, baskets.n_baskets))
    try:
        _vertical(data, max_length, max_itemsets, max_bytes)
    except MiningTooLargeError as error:
        return error.feasible_support
    return min_support


@dataclass(frozen=True, eq=False, kw_only=True)
class _Frequent:
    """Only the frequent items, renumbered from the most to the least frequent: their ranks."""

    baskets: Baskets
    minimum: int
    codes: Ints  # by rank
    rows: Ints  # the row of each entry: only rows that hold a frequent item, numbered afresh
    ranks: Ints  # the rank of each entry
    n_rows: int

    @classmethod
    def of(cls, baskets: Baskets, minimum: int) -> Self:
        codes, rank = _by_count(baskets, minimum)
        ranks = rank[baskets.items]
        rows = baskets.rows[ranks >= 0]
        fresh = np.cumsum(np.diff(rows, prepend=-1) != 0) - 1
        return cls(
            baskets=baskets,
            minimum=minimum,
            codes=codes,
            rows=fresh,
            ranks=ranks[ranks >= 0],
            n_rows=int(fresh[-1]) + 1 if len(fresh) else 0,
        )

    @property
    def cells(self) -> int:
        """Size of the baskets as a table of yes and no."""
        return self.n_rows * len(self.codes)

    @property
    def is_small(self) -> bool:
        """Whether Python objects per line and itemset are affordable."""
        return self.cells <= SMALL_CELLS and len(self.rows) <= SMALL_LINES

    @property
    def support(self) -> float:
        """The minimum as a share of the rows, half a basket low: no rounding can cross it."""
        return (self.minimum - 0.5) / self.n_rows

    def table(self) -> DataFrame:
        """Baskets by ranks, yes and no: what mlxtend takes."""
        held = np.zeros((self.n_rows, len(self.codes)), bool)
        held[self.rows, self.ranks] = True
        return DataFrame(held)

    def support_of_cells(self, max_bytes: int) -> float | None:
        """The least support whose fewer items make a table that Apriori can take; None if none."""
        counts = self.baskets.item_counts[self.codes]
        columns = max_bytes // (APRIORI_BYTES_PER_CELL * self.n_rows)
        minimum = int(counts[columns]) + 1
        return minimum / self.baskets.n_baskets if minimum <= self.baskets.n_baskets else None


class _Found:
    """Itemsets as they are found, in blocks of ranks of one length, within a limit.

    Past the limit no itemsets are kept any more. Instead the minimum count rises, by a quarter at
    least, until what has been found fits again: the walk ends at a minimum that would have fitted.
    """

    def __init__(self, data: _Frequent, most: int) -> None:
        self.minimum = data.minimum
        self._over: MiningTooLargeError | None = None
        self._data = data
        self._most = most
        self._blocks: dict[int, list[tuple[Ints, Ints]]] = {}
        self._tally = np.zeros(data.baskets.n_baskets + 1, np.int64)  # itemsets by their count
        self._total = 0

    def add(self, itemsets: Ints, counts: Ints) -> None:
        """Also weighs the subsets that a long itemset is sure to have."""
        length = itemsets.shape[1]
        np.add.at(self._tally, counts, 1)
        self._total += len(counts)
        if len(counts) and (sure := 2**length - 1) > self._most:
            self._raise_minimum(sure, above=int(counts.max()))
        elif self._total > self._most:
            self._raise_minimum(self._total)
        if self._over is None:
            self._blocks.setdefault(length, []).append((itemsets, counts))

    def _raise_minimum(self, needed: int, *, above: int = 0) -> None:
        """Over `above`, and so far that the itemsets found are few enough."""
        if self._over is None:
            self._over = MiningTooLargeError("itemsets", needed, self._most)
            self._blocks.clear()
        at_least = np.cumsum(self._tally[::-1])[::-1]  # itemsets with this count or more
        enough = int(np.searchsorted(-at_least, -self._most))
        self.minimum = max(self.minimum + 1 + self.minimum // 4, above + 1, enough)
        self._total = int(at_least[self.minimum]) if self.minimum < len(at_least) else 0

    def itemsets(self, engine: Engine) -> Itemsets:
        """What was found, or MiningTooLargeError with the support that would fit."""
        if self._over is not None:
            if self.minimum <= self._data.baskets.n_baskets:
                self._over.feasible_support = self.minimum / self._data.baskets.n_baskets
            raise self._over
        return Itemsets(
            levels=tuple(self._level(length) for length in sorted(self._blocks)),
            names=self._data.baskets.names,
            n_baskets=self._data.baskets.n_baskets,
            engine=engine,
        )

    def _level(self, length: int) -> Level:
        ranks, counts = (np.concatenate(part) for part in zip(*self._blocks[length], strict=True))
        items = np.sort(self._data.codes[ranks], axis=1)
        order = np.lexsort(items.T[::-1])
        return Level(items[order], counts[order])


def _fpgrowth(data: _Frequent, max_length: int | None, max_itemsets: int) -> Itemsets:
    """mlxtend's FP-tree, walked by mlxtend, but only as far as the limit on itemsets allows."""
    # imported here: slow to load
    from mlxtend.frequent_patterns.fpcommon import setup_fptree
    from mlxtend.frequent_patterns.fpgrowth import fpg_step

    found = _Found(data, max_itemsets)
    if data.n_rows:
        tree, _, _ = setup_fptree(data.table(), data.support)
        walk = fpg_step(tree, data.minimum, None, max_length, 0)
        by_length: dict[int, list[tuple[int, list[int]]]] = {}
        for count, itemset in islice(walk, max_itemsets + 1):
            by_length.setdefault(len(itemset), []).append((count, itemset))
        for of_one_length in by_length.values():
            counts, sets = zip(*of_one_length, strict=True)
            found.add(np.array(sets, np.int64), np.array(counts, np.int64))
    return found.itemsets("mlxtend fpgrowth")


def _apriori(
    data: _Frequent, max_length: int | None, max_itemsets: int, max_bytes: int
) -> Itemsets:
    """mlxtend's Apriori, once the bitmaps have shown that the itemsets fit: it knows no limit."""
    # imported here: slow to load
    from mlxtend.frequent_patterns import apriori

    if (needed := APRIORI_BYTES_PER_CELL * data.cells) > max_bytes:
        support = data.support_of_cells(max_bytes)
        if support is not None:
            support = feasible_support(
                data.baskets,
                min_support=support,
                max_length=max_length,
                max_itemsets=max_itemsets,
                max_bytes=max_bytes,
            )
        raise MiningTooLargeError("bytes", needed, max_bytes, support)
    _vertical(data, max_length, max_itemsets, max_bytes)
    found = _Found(data, max_itemsets)
    if data.n_rows:
        mined = apriori(data.table(), data.support, max_len=max_length, low_memory=True)
        counts = np.rint(mined["support"].to_numpy() * data.n_rows).astype(np.int64)
        lengths = mined["itemsets"].map(len).to_numpy()
        for length in range(1, lengths.max() + 1):
            sets = [list(itemset) for itemset in mined["itemsets"][lengths == length]]
            found.add(np.array(sets, np.int64), counts[lengths == length])
    return found.itemsets("mlxtend apriori")


def _vertical(
    data: _Frequent, max_length: int | None, max_itemsets: int, max_bytes: int
) -> Itemsets:
    """Each item in turn with the more frequent ones: pairs by counting, longer sets by bitmaps.

    These others have at least as many lines as the item has baskets, so their bitmaps are a few
    bytes per line even with all depths alive: the lines alone decide about the memory.
    """
    if (needed := BYTES_PER_LINE * len(data.rows)) > max_bytes:
        raise MiningTooLargeError("bytes", needed, max_bytes)
    found = _Found(data, max_itemsets)
    item_counts = data.baskets.item_counts[data.codes]
    longest = min(max_length or len(data.codes), len(data.codes))
    if longest:
        found.add(np.arange(len(data.codes))[:, None], item_counts)
    for item, others, sizes in _companions(data) if longest > 1 else ():
        if item_counts[item] < found.minimum:
            break
        counts = np.bincount(others, minlength=item)
        partners = np.flatnonzero(counts >= found.minimum)
        partners = partners[np.argsort(counts[partners], kind="stable")]  # small branches first
        if longest == 2 or len(partners) < 2:
            found.add(_joined([item], partners), counts[partners])
            continue
        slot = np.full(item, -1)
        slot[partners] = np.arange(len(partners))
        slots = slot[others]
        kept = slots >= 0
        basket = np.repeat(np.arange(len(sizes)), sizes)[kept]
        bits = _bitmaps(slots[kept], basket, len(partners), -(-len(sizes) // 64))
        _grow([item], partners, counts[partners], bits, longest, found)
    return found.itemsets("vertical bitmaps")


def _compiled(
    baskets: Baskets, minimum: int, max_length: int | None, max_itemsets: int, max_bytes: int
) -> Itemsets | None:
    """As `_vertical`, in machine code; None where it does not fit: `_vertical` says what does.

    Pairs are counted in one pass along the baskets, in several where their table is too large. From
    triples on, each item's bitmaps are read off those of the whole market.
    """
    # imported here: slow to load
    from analytics.methods.compiled import (
        bitmaps,
        longer_itemsets,
        ranked_rows,
        rows_by_item,
    )

    codes, rank = _by_count(baskets, minimum)
    item_counts = baskets.item_counts[codes]
    longest = min(max_length or len(codes), len(codes))
    parts: list[tuple[Ints, Ints, Ints]] = [
        (np.ones(len(codes), np.int64), item_counts, np.arange(len(codes)))
    ]
    if longest > 1:
        starts, ranks = ranked_rows(baskets.starts, baskets.items, rank.astype(np.int32))
        ends, partners, counts = _pairs(starts, ranks, len(codes), minimum)
        widths = np.diff(ends, prepend=0)
        rarer = np.repeat(np.arange(len(codes)), widths)
        pairs = np.column_stack([rarer, partners]).ravel()
        parts.append((np.full(len(counts), 2), counts, pairs))
        branching = widths > 1
        extending = np.zeros(len(codes), bool)
        extending[partners[branching[rarer]]] = True
        words = -(-(len(starts) - 1) // 64)
        needed = 8 * words * int(extending.sum()) + 8 * len(baskets.items)
        most = max_itemsets - len(codes) - len(counts)
        if most < 0 or needed > max_bytes:
            return None
        if longest > 2 and branching.any():
            slot = np.where(extending, np.cumsum(extending) - 1, -1)
            begins, rows = rows_by_item(starts, ranks, extending | branching, item_counts)
            bits = bitmaps(begins, rows, slot, int(extending.sum()), words)
            lengths, longer, ranks_of, whole = longer_itemsets(
                np.flatnonzero(branching), ends, partners, counts, begins, rows, bits, slot,
                minimum, longest, most,
            )  # fmt: skip
            if not whole:
                return None
            parts.append((lengths.astype(np.int64), longer, ranks_of.astype(np.int64)))
    elif len(codes) > max_itemsets:
        return None
    sizes, all_counts, all_ranks = (np.concatenate(p) for p in zip(*parts, strict=True))
    return Itemsets(
        levels=tuple(_levels(sizes, all_counts, codes[all_ranks])),
        names=baskets.names,
        n_baskets=baskets.n_baskets,
        engine="compiled bitmaps",
    )


def _pairs(starts: Ints, ranks: Codes, items: int, minimum: int) -> tuple[Ints, Codes, Ints]:
    """Where each item's partners end, the partners, and the counts of these pairs."""
    # imported here: slow to load
    from analytics.methods.compiled import frequent_pairs

    found = []
    first = total = 0
    while first < items:
        end = int(math.sqrt(first * first + 2 * PAIRS_AT_ONCE))
        end = min(max(end, first + 1), items)
        ends, partners, counts = frequent_pairs(starts, ranks, first, end, minimum)
        found.append((ends + total, partners, counts))
        first, total = end, total + len(partners)
    ends, partners, counts = map(np.concatenate, zip(*found, strict=True))
    return ends, partners, counts


def _levels(lengths: Ints, counts: Ints, items: Ints) -> Iterator[Level]:
    """Itemsets of mixed lengths, their items one after the other, as sorted levels."""
    begins = np.cumsum(lengths) - lengths
    for length in range(1, int(lengths.max(initial=0)) + 1):
        own = np.flatnonzero(lengths == length)
        sets = np.sort(items[begins[own][:, None] + np.arange(length)], axis=1)
        order = np.lexsort(sets.T[::-1])
        yield Level(sets[order], counts[own][order])


def _by_count(baskets: Baskets, minimum: int) -> tuple[Ints, Ints]:
    """The codes of the frequent items, the most frequent first, and each code's rank or -1."""
    counts = baskets.item_counts
    codes = np.argsort(-counts, kind="stable")
    codes = codes[counts[codes] >= minimum]
    rank = np.full(len(counts), -1)
    rank[codes] = np.arange(len(codes))
    return codes, rank


def _companions(data: _Frequent) -> Iterator[tuple[int, Ints, Ints]]:
    """Per item, the more frequent items beside it, basket after basket, and how many in each."""
    shape = (data.n_rows, len(data.codes))
    entries = coo_array((np.zeros(len(data.rows), np.int8), (data.rows, data.ranks)), shape)
    by_item = entries.tocsc()
    by_basket = by_item.tocsr()  # now with the ranks of each basket ascending
    by_basket.data = np.arange(len(data.rows))
    place = by_basket.tocsc().data  # of each entry of by_item within by_basket
    for item in range(1, len(data.codes)):
        own = slice(by_item.indptr[item], by_item.indptr[item + 1])
        starts = by_basket.indptr[by_item.indices[own]]
        sizes = place[own] - starts
        ends = np.cumsum(sizes)
        along = np.arange(ends[-1]) + np.repeat(starts - (ends - sizes), sizes)
        yield item, by_basket.indices[along], sizes


def _grow(
    prefix: list[int],
    items: Ints,
    counts: Ints,
    bits: NDArray[np.uint64],
    longest: int,
    found: _Found,
) -> None:
    """Depth first: `bits` has a row per item, of the baskets that hold it and all of the prefix."""
    found.add(_joined(prefix, items), counts)
    if len(prefix) + 1 == longest:
        return
    for at in (counts[:-1] >= found.minimum).nonzero()[0]:
        both = bits[at] & bits[at + 1 :]
        together = np.bitwise_count(both).sum(axis=1, dtype=np.int64)
        kept = (together >= found.minimum).nonzero()[0]
        if len(kept):
            both = both[kept]
            longer = [*prefix, int(items[at])]
            _grow(longer, items[at + 1 :][kept], together[kept], both, longest, found)


def _joined(prefix: list[int], items: Ints) -> Ints:
    """One row per item: the prefix and the item."""
    rows = np.empty((len(items), len(prefix) + 1), np.int64)
    rows[:, :-1] = prefix
    rows[:, -1] = items
    return rows


def _bitmaps(slots: Ints, baskets: Ints, n_slots: int, words: int) -> NDArray[np.uint64]:
    """A row of 64-bit words per slot, with a bit set for each basket that holds it."""
    bits = np.zeros(n_slots * words, np.uint64)
    bit = np.uint64(1) << (baskets & 63).astype(np.uint64)
    np.bitwise_or.at(bits, slots * words + (baskets >> 6), bit)
    return bits.reshape(n_slots, words)


def _starts(rows: Ints, n_rows: int) -> Ints:
    """Where each row begins, given the row of each entry."""
    return np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=n_rows))))
