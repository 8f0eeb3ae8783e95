"""The inner loops that are compiled (numba): mining itemsets, likeness of items, embeddings.

Compiled code is kept beside this module, else in the user's cache folder; where neither can be
written it is compiled once per process. `python -m analytics.methods.compiled` compiles all of it
beforehand. All functions run on one thread, and give the same for the same input.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from analytics.methods.arrays import Codes, Floats, Ints, Singles, Words

Function = TypeVar("Function", bound=Callable[..., Any])

#: Steps of conjugate gradients a row in a half step: more change little, the rounds go on.
GRADIENT_STEPS = 3


def compiled(function: Function) -> Function:
    """Machine code for a function, made at its first call."""
    make: Any = njit
    try:
        made: Function = make(nogil=True, cache=True)(function)
    except RuntimeError:  # nowhere to keep it
        made = make(nogil=True)(function)
    return made


def bits_set(typing: Any, word: Any) -> Any:  # noqa: ARG001 - numba calls them by these names
    """The number of ones in a word, by the processor's own instruction."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.ctpop(values[0])

    return types.uint64(types.uint64), code


make_intrinsic: Any = intrinsic
ones_in: Callable[[Any], Any] = make_intrinsic(bits_set)


# --- itemsets ------------------------------------------------------------------------------------


@compiled
def ranked_rows(starts: Ints, items: Ints, rank: Codes) -> tuple[Ints, Codes]:
    """The baskets with ranks for items, ascending; items of rank -1 are left out."""
    rows = len(starts) - 1
    new_starts = np.zeros(rows + 1, np.int64)
    ranks = np.empty(len(items), np.int32)
    end = 0
    for row in range(rows):
        begin = end
        for at in range(starts[row], starts[row + 1]):
            one = rank[items[at]]
            if one >= 0:
                place = end
                while place > begin and ranks[place - 1] > one:
                    ranks[place] = ranks[place - 1]
                    place -= 1
                ranks[place] = one
                end += 1
        new_starts[row + 1] = end
    return new_starts, ranks[:end]


@compiled
def frequent_pairs(
    starts: Ints, ranks: Codes, first: int, end: int, minimum: int
) -> tuple[Ints, Codes, Ints]:
    """Per item of `first <= rank < end`, the more frequent items it is often with, and how often.

    One pass along the baskets into a triangular table. Returns where each item's partners end.
    """
    base = first * (first - 1) // 2
    table = np.zeros(max(end * (end - 1) // 2 - base, 0), np.int32)
    for row in range(len(starts) - 1):
        for at in range(starts[row] + 1, starts[row + 1]):
            one = np.int64(ranks[at])
            if one < first:
                continue
            if one >= end:
                break
            line = one * (one - 1) // 2 - base
            for other in range(starts[row], at):
                table[line + ranks[other]] += 1
    found = int((table >= minimum).sum())
    ends = np.zeros(end - first, np.int64)
    partners = np.empty(found, np.int32)
    counts = np.empty(found, np.int64)
    found = 0
    cell = 0
    for item in range(first, end):
        for other in range(item):
            if table[cell] >= minimum:
                partners[found] = other
                counts[found] = table[cell]
                found += 1
            cell += 1
        ends[item - first] = found
    return ends, partners, counts


@compiled
def rows_by_item(
    starts: Ints, ranks: Codes, wanted: NDArray[np.bool_], item_counts: Ints
) -> tuple[Ints, Codes]:
    """The rows of each wanted item, ascending, and where each item's begin."""
    begins = np.zeros(len(wanted) + 1, np.int64)
    for item in range(len(wanted)):
        begins[item + 1] = begins[item] + (item_counts[item] if wanted[item] else 0)
    rows = np.empty(begins[-1], np.int32)
    place = begins[:-1].copy()
    for row in range(len(starts) - 1):
        for at in range(starts[row], starts[row + 1]):
            item = ranks[at]
            if wanted[item]:
                rows[place[item]] = row
                place[item] += 1
    return begins, rows


@compiled
def bitmaps(begins: Ints, rows: Codes, slot: Ints, slots: int, words: int) -> Words:
    """A bit per row, for each item that has a slot."""
    bits = np.zeros((slots, words), np.uint64)
    for item in range(len(slot)):
        if slot[item] >= 0:
            for at in range(begins[item], begins[item + 1]):
                row = rows[at]
                bits[slot[item], row >> 6] |= np.uint64(1) << np.uint64(row & 63)
    return bits


@compiled
def common(one: Words, other: Words, both: Words) -> int:
    """Bits set in both, into `both`; how many."""
    found = np.uint64(0)
    for word in range(one.shape[0]):
        value = one[word] & other[word]
        both[word] = value
        found += ones_in(value)
    return int(found)


@compiled
def probed(rows: Codes, of: Words, into: Words) -> None:
    """Bit t of `into`: is the bit of the t-th of these rows set."""
    for word in range(into.shape[0]):
        gathered = np.uint64(0)
        for t in range(min(64, len(rows) - word * 64)):
            row = rows[word * 64 + t]
            gathered |= ((of[row >> 6] >> np.uint64(row & 63)) & np.uint64(1)) << np.uint64(t)
        into[word] = gathered


@compiled
def longer_itemsets(
    items: Ints,
    ends: Ints,
    partners: Codes,
    pair_counts: Ints,
    begins: Ints,
    rows: Codes,
    bits: Words,
    slot: Ints,
    minimum: int,
    longest: int,
    most: int,
) -> tuple[Codes, Ints, Codes, bool]:
    """Lengths, counts and items of all itemsets of three items and more, each under its rarest.

    Eclat: an itemset's bitmap is over the rows of its rarest item only. Depth first, the rarest
    extension first. False where there are more than `most`, and these are not all.
    """
    lengths = np.empty(1024, np.int32)
    counts = np.empty(1024, np.int64)
    found_items = np.empty(4096, np.int32)
    found = 0
    filled = 0
    for item in items:
        first = 0 if item == 0 else ends[item - 1]
        width = ends[item] - first
        own = rows[begins[item] : begins[item + 1]]
        words = (len(own) + 63) // 64
        order = np.argsort(pair_counts[first : ends[item]], kind="mergesort")
        bits_of = [np.empty((width, words), np.uint64)]
        items_of = [np.empty(width, np.int64)]
        counts_of = [np.empty(width, np.int64)]
        for k in range(width):
            items_of[0][k] = partners[first + order[k]]
            counts_of[0][k] = pair_counts[first + order[k]]
            probed(own, bits[slot[items_of[0][k]]], bits_of[0][k])
        deepest = min(width + 1, longest)
        path = np.empty(deepest + 1, np.int64)
        path[0] = item
        widths = np.zeros(deepest + 1, np.int64)
        at = np.zeros(deepest + 1, np.int64)
        widths[0] = width
        depth = 0
        while depth >= 0:
            k = at[depth]
            if k >= widths[depth]:
                depth -= 1
                continue
            at[depth] += 1
            length = depth + 2
            path[depth + 1] = items_of[depth][k]
            if length > 2:
                if found == most:
                    return lengths[:found], counts[:found], found_items[:filled], False
                if found == len(lengths):
                    lengths = np.concatenate((lengths, np.empty_like(lengths)))
                    counts = np.concatenate((counts, np.empty_like(counts)))
                while filled + length > len(found_items):
                    found_items = np.concatenate((found_items, np.empty_like(found_items)))
                lengths[found] = length
                counts[found] = counts_of[depth][k]
                for z in range(length):
                    found_items[filled + z] = path[z]
                found += 1
                filled += length
            rest = widths[depth] - k - 1
            if rest == 0 or length >= longest:
                continue
            if len(bits_of) == depth + 1:
                bits_of.append(np.empty((rest, words), np.uint64))
                items_of.append(np.empty(rest, np.int64))
                counts_of.append(np.empty(rest, np.int64))
            elif len(items_of[depth + 1]) < rest:
                bits_of[depth + 1] = np.empty((rest, words), np.uint64)
                items_of[depth + 1] = np.empty(rest, np.int64)
                counts_of[depth + 1] = np.empty(rest, np.int64)
            kept = 0
            for z in range(k + 1, widths[depth]):
                count = common(bits_of[depth][k], bits_of[depth][z], bits_of[depth + 1][kept])
                if count >= minimum:
                    items_of[depth + 1][kept] = items_of[depth][z]
                    counts_of[depth + 1][kept] = count
                    kept += 1
            if kept:
                depth += 1
                widths[depth] = kept
                at[depth] = 0
    return lengths[:found], counts[:found], found_items[:filled], True


# --- likeness of items ---------------------------------------------------------------------------


@compiled
def nearest(
    item_starts: Ints,
    item_people: Codes,
    item_values: Singles,
    starts: Ints,
    items: Codes,
    values: Singles,
    norms: Floats,
    shrink: float,
    k: int,
) -> tuple[Codes, Singles]:
    """Per item, the `k` items of the highest cosine, best first; -1 where there are fewer.

    The table stands by item and by person. Of equal cosines the item of the lower code stands
    first. One accumulator of the length of the items: nothing grows with their square.
    """
    count = len(norms)
    found = np.full((count, k), -1, np.int32)
    best = np.zeros((count, k), np.float32)
    together = np.zeros(count, np.float32)
    touched = np.empty(count, np.int32)
    for item in range(count):
        seen = 0
        for at in range(item_starts[item], item_starts[item + 1]):
            person = item_people[at]
            weight = item_values[at]
            for cell in range(starts[person], starts[person + 1]):
                other = items[cell]
                if together[other] == 0.0:
                    touched[seen] = other
                    seen += 1
                together[other] += weight * values[cell]
        kept = 0
        for place in range(seen):
            other = touched[place]
            alike = np.float32(together[other] / (norms[item] * norms[other] + shrink))
            together[other] = 0.0
            if other == item or alike <= 0.0:
                continue
            if kept == k and (
                alike < best[item, k - 1]
                or (alike == best[item, k - 1] and other > found[item, k - 1])
            ):
                continue
            slot = min(kept, k - 1)
            while slot > 0 and (
                best[item, slot - 1] < alike
                or (best[item, slot - 1] == alike and found[item, slot - 1] > other)
            ):
                best[item, slot] = best[item, slot - 1]
                found[item, slot] = found[item, slot - 1]
                slot -= 1
            best[item, slot] = alike
            found[item, slot] = other
            kept = min(kept + 1, k)
    return found, best


@compiled
def best_items(
    starts: Ints,
    items: Codes,
    values: Singles,
    link_starts: Ints,
    link_items: Codes,
    links: Singles,
    rank: Ints,
    barred: NDArray[np.bool_],
    n: int,
) -> Ints:
    """Per row of what was bought, the `n` items that its links score highest; -1 where fewer are.

    Left out are what the row holds, what is barred, and scores of 0 or below. Of equal scores the
    lower rank stands first.
    """
    found = np.full((len(starts) - 1, n), -1, np.int64)
    best = np.zeros(n, np.float32)
    score = np.zeros(len(rank), np.float32)
    touched = np.empty(1_024, np.int64)
    for row in range(len(starts) - 1):
        seen = 0
        for at in range(starts[row], starts[row + 1]):
            for cell in range(link_starts[items[at]], link_starts[items[at] + 1]):
                other = link_items[cell]
                if score[other] == 0.0:
                    if seen == len(touched):
                        touched = np.concatenate((touched, np.empty(seen, np.int64)))
                    touched[seen] = other
                    seen += 1
                score[other] += values[at] * links[cell]
        for at in range(starts[row], starts[row + 1]):
            score[items[at]] = 0.0
        kept = 0
        for place in range(seen):
            other = touched[place]
            own = score[other]
            score[other] = 0.0
            if own <= 0.0 or barred[other]:
                continue
            if kept == n and (
                own < best[n - 1] or (own == best[n - 1] and rank[other] > rank[found[row, n - 1]])
            ):
                continue
            slot = min(kept, n - 1)
            while slot > 0 and (
                best[slot - 1] < own
                or (best[slot - 1] == own and rank[found[row, slot - 1]] > rank[other])
            ):
                best[slot] = best[slot - 1]
                found[row, slot] = found[row, slot - 1]
                slot -= 1
            best[slot] = own
            found[row, slot] = other
            kept = min(kept + 1, n)
    return found


# --- embeddings ----------------------------------------------------------------------------------


@compiled
def half_step(
    starts: Ints, columns: Codes, own: Floats, other: Floats, gram: Floats, extra: float
) -> None:
    """Each row of `own` moves towards its least squares given `other`, in place.

    The system of a row is gram + extra · Σ y y' over the y of its columns, its right side
    (1 + extra) · Σ y; a few steps of conjugate gradients from where it stands.
    """
    width = other.shape[1]
    for row in range(len(starts) - 1):
        first, end = starts[row], starts[row + 1]
        if first == end:
            own[row, :] = 0.0
            continue
        x = own[row]
        residual = -gram @ x
        for at in range(first, end):
            y = other[columns[at]]
            step = 1.0 + extra * (1.0 - np.dot(y, x))
            for f in range(width):
                residual[f] += step * y[f]
        way = residual.copy()
        size = np.dot(residual, residual)
        for _ in range(GRADIENT_STEPS):
            if size < 1e-12:
                break
            image = gram @ way
            for at in range(first, end):
                y = other[columns[at]]
                step = extra * np.dot(y, way)
                for f in range(width):
                    image[f] += step * y[f]
            along = size / np.dot(way, image)
            for f in range(width):
                x[f] += along * way[f]
                residual[f] -= along * image[f]
            before = size
            size = np.dot(residual, residual)
            for f in range(width):
                way[f] = residual[f] + size / before * way[f]


def main() -> None:
    """Compile everything, for a first answer without delay."""
    starts, codes = np.array([0, 3, 6]), np.array([0, 1, 2, 0, 1, 2], np.int32)
    new_starts, ranks = ranked_rows(starts, codes.astype(np.int64), np.arange(3, dtype=np.int32))
    ends, partners, counts = frequent_pairs(new_starts, ranks, 0, 3, 1)
    every, two = np.ones(3, bool), np.full(3, 2)
    begins, rows = rows_by_item(new_starts, ranks, every, two)
    bits = bitmaps(begins, rows, np.arange(3), 3, 1)
    longer_itemsets(
        np.array([2]), ends, partners, counts, begins, rows, bits, np.arange(3), 1, 3, 9
    )
    ones = np.ones(6, np.float32)
    by_item = np.array([0, 2, 4, 6]), np.array([0, 1, 0, 1, 0, 1], np.int32)
    nearest(*by_item, ones, starts, codes, ones, np.ones(3), 0.0, 2)
    best_items(starts, codes, ones, *by_item, ones, np.arange(3), every, 2)
    half_step(starts, codes, np.ones((2, 2)), np.ones((3, 2)), np.eye(2), 1.0)


if __name__ == "__main__":
    main()
