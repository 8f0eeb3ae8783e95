"""What moved a number: its change taken apart into parts that add up to it exactly.

A *cell* is a value of a dimension, or a pair of values; it holds the metric's additive parts, now
and before. For a number that adds up (revenue) a cell's part of the change is its own change. For
a ratio (conversion) the change of R = sum(n) / sum(d) is split by the symmetric form of Kitagawa,
"Components of a Difference Between Two Rates", JASA 50 (1955) 1168-1194 (the same weights as
Bennet's indicator of 1920): with w = d / sum(d) and r = n / d of a cell,

    rate = (w1 + w0) / 2 * (r1 - r0)                  the cell itself became better or worse
    mix  = (w1 - w0) * ((r1 + r0) / 2 - (R1 + R0) / 2)    more or fewer of its kind came

and the sum over all cells of mix + rate is R1 - R0. Shares add up to one, so the subtracted mean
changes no sum; it makes a growing cell that is as good as the rest no cause. A cell that was not
there before, or is no more, has no rate to compare: all of its part is mix.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

#: A cell's identity: a value per dimension; None is unknown.
Key = tuple[str | None, ...]


@dataclass(frozen=True)
class Cell:
    """The additive parts of a metric in one cell; `bottom` is 0 where the metric is no ratio."""

    top: float
    top_before: float
    bottom: float = 0.0
    bottom_before: float = 0.0

    def __add__(self, other: "Cell") -> "Cell":
        """Both together."""
        return Cell(
            self.top + other.top,
            self.top_before + other.top_before,
            self.bottom + other.bottom,
            self.bottom_before + other.bottom_before,
        )

    def __sub__(self, other: "Cell") -> "Cell":
        """What is left without the other."""
        return Cell(
            self.top - other.top,
            self.top_before - other.top_before,
            self.bottom - other.bottom,
            self.bottom_before - other.bottom_before,
        )

    def __bool__(self) -> bool:
        """Whether anything is in it."""
        return any((self.top, self.top_before, self.bottom, self.bottom_before))


EMPTY = Cell(0, 0, 0, 0)


@dataclass(frozen=True)
class Driver:
    """A cell's part of the change: `part` = `mix` + `rate`, in the metric's own unit.

    `now` and `before` are the metric within the cell (None: it has none); `weight` and
    `weight_before` its share of the whole (of the denominator, or of the number itself; None where
    the whole is zero). `peculiarity` says how far the part is from what the cell would have had,
    had all cells moved alike, in units of the root of its size: it compares cells of all sizes.
    """

    key: Key
    now: float | None
    before: float | None
    weight: float | None
    weight_before: float | None
    mix: float
    rate: float
    peculiarity: float

    @property
    def part(self) -> float:
        """Its part of the change."""
        return self.mix + self.rate


@dataclass(frozen=True)
class Whole:
    """The metric's whole: `scale * top`, or `scale * top / bottom`; per window its own scale."""

    cell: Cell
    is_ratio: bool
    scale: float = 1.0
    scale_before: float = 1.0

    @property
    def now(self) -> float:
        """The value now."""
        return self.value(self.cell.top, self.cell.bottom, self.scale) or 0.0

    @property
    def before(self) -> float:
        """The value before."""
        return self.value(self.cell.top_before, self.cell.bottom_before, self.scale_before) or 0.0

    @property
    def change(self) -> float:
        """Now less before."""
        return self.now - self.before

    def value(self, top: float, bottom: float, scale: float) -> float | None:
        """The metric of some parts; None over no denominator."""
        if not self.is_ratio:
            return scale * top
        return scale * top / bottom if bottom else None


def drivers(whole: Whole, cells: Mapping[Key, Cell], rest: Key) -> list[Driver]:
    """Each cell's part of the whole's change, the largest in size first; they add up to it.

    Where the cells do not make up the whole (a person counted in two of them), the difference is a
    cell of its own under the key `rest`.
    """
    known = {key: cell for key, cell in cells.items() if cell}
    left = whole.cell - sum(known.values(), EMPTY)
    if left:
        known[rest] = known.get(rest, EMPTY) + left
    found = [driver(whole, key, cell) for key, cell in known.items() if key != rest]
    if rest in known:
        found.append(replace(driver(whole, rest, known[rest]), peculiarity=0.0))
    return sorted(found, key=lambda d: (-abs(d.part), tuple(str(k) for k in d.key)))


def driver(whole: Whole, key: Key, cell: Cell) -> Driver:
    """One cell's part."""
    return ratio_driver(whole, key, cell) if whole.is_ratio else sum_driver(whole, key, cell)


def sum_driver(whole: Whole, key: Key, cell: Cell) -> Driver:
    """The part of a cell of a number that adds up: its own change."""
    now, before = whole.scale * cell.top, whole.scale_before * cell.top_before
    part = now - before
    alike = before * whole.change / whole.before if whole.before else 0.0
    return Driver(
        key,
        now,
        before,
        now / whole.now if whole.now else None,
        before / whole.before if whole.before else None,
        0.0,
        part,
        peculiar(part - alike, abs(now) + abs(before)),
    )


def ratio_driver(whole: Whole, key: Key, cell: Cell) -> Driver:
    """The part of a cell of a ratio: its mix and its rate."""
    all_now, all_before = whole.cell.bottom, whole.cell.bottom_before
    weight, weight_before = cell.bottom / all_now, cell.bottom_before / all_before
    now = whole.value(cell.top, cell.bottom, whole.scale)
    before = whole.value(cell.top_before, cell.bottom_before, whole.scale_before)
    part = (
        whole.scale * cell.top / all_now
        - whole.scale_before * cell.top_before / all_before
        - (whole.now + whole.before) / 2 * (weight - weight_before)
    )
    size = (weight + weight_before) / 2
    rate = size * (now - before) if now is not None and before is not None else 0.0
    return Driver(
        key,
        now,
        before,
        weight,
        weight_before,
        part - rate,
        rate,
        peculiar(part - size * whole.change, size),
    )


def peculiar(excess: float, size: float) -> float:
    """An excess in units of the root of a size: what counts that scatter by chance grow with."""
    return excess / math.sqrt(size) if size > 0 else 0.0


def culprit(found: Sequence[Driver], change: float, least: float) -> Driver | None:
    """The cell that moved against the rest the most, in the direction of the change.

    Its values must be known, and its part at least the share `least` of the change; None where no
    cell's is, and where there is one cell only.
    """
    if len(found) < 2 or not change:
        return None
    able = [
        d
        for d in found
        if d.part * change > 0
        and d.peculiarity * change > 0
        and abs(d.part) >= least * abs(change)
        and None not in d.key
    ]
    return max(able, key=lambda d: (abs(d.peculiarity), str(d.key)), default=None)


def marginal(cells: Mapping[Key, Cell], places: Sequence[int]) -> dict[Key, Cell]:
    """Cells of fewer dimensions: those at `places`, the others summed up."""
    found: dict[Key, Cell] = {}
    for key, cell in cells.items():
        short = tuple(key[p] for p in places)
        found[short] = found.get(short, EMPTY) + cell
    return found


def summed(found: Sequence[Driver], whole: Whole, cells: Mapping[Key, Cell], key: Key) -> Driver:
    """Several drivers as one, under a key: their parts added up."""
    together = driver(whole, key, sum((cells.get(d.key, EMPTY) for d in found), EMPTY))
    mix, rate = math.fsum(d.mix for d in found), math.fsum(d.rate for d in found)
    return Driver(
        key, together.now, together.before, together.weight, together.weight_before, mix, rate, 0.0
    )


def within_chance(now: float, before: float, sample: int, sample_before: int) -> bool:
    """Whether two shares differ by less than 1.96 pooled standard errors."""
    pooled = (now * sample + before * sample_before) / (sample + sample_before)
    error = math.sqrt(max(pooled * (1 - pooled), 0.0) * (1 / sample + 1 / sample_before))
    return abs(now - before) <= 1.96 * error
