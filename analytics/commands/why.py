"""why: what moved a metric, taken apart so that the parts add up to the change."""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import ClassVar

from analytics.catalog import ENTITY, Catalog, Dimension, Metric
from analytics.command import Command, Context, says
from analytics.entities import adds_up
from analytics.errors import NotEnoughDataError, UserError
from analytics.measure import (
    Quantities,
    Reading,
    Slices,
    Spans,
    coverage_notes,
    gather,
    reading,
    span_of,
    spans_of,
)
from analytics.methods.drivers import (
    Cell,
    Driver,
    Key,
    Whole,
    culprit,
    drivers,
    marginal,
    summed,
    within_chance,
)
from analytics.period import Period, between
from analytics.result import Chart, Column, Note, Part, Result, Series, Table, Unit, Value
from analytics.scope import Filters, Scope, blank_places, in_words, previous_in_words, scope_of
from analytics.words import change, listed, short_words

#: How many parts get a row of their own, and a bar; the rest are summed up as "other".
MOST_ROWS = 10
MOST_BARS = 7

#: A cause explains at least this share of the change.
LEAST_SHARE = 0.2

#: Of so many dimensions, those in which single values stand out the most, pairs are looked at;
#: of fewer where each pair takes a query of its own.
PAIRED = 4
PAIRED_APART = 3

#: Two values together are named instead of one where they stand out by so much more ...
SHARPER = 1.1

#: ... and still explain this share of what the one explains.
KEPT = 0.6

#: Where so much of the change falls into several cells at once, no cell is its cause.
MOST_BLUR = 0.5

#: A cause of more than so many times the change is told beside what the others took back.
REVERSED = 1.5

#: What falls into several cells, or into none.
OVERLAP = ("counted in several",)


class NoDriversError(UserError):
    """The metric's change can't be taken apart."""

    code = "no_drivers"


@dataclass(frozen=True)
class Split:
    """The change taken apart by one dimension or two; `cause` is the cell that stands out."""

    dimensions: tuple[Dimension, ...]
    cells: dict[Key, Cell]
    found: list[Driver]
    cause: Driver | None

    @property
    def label(self) -> str:
        """`Device`, `Device × channel`."""
        first, *more = (d.label for d in self.dimensions)
        return " × ".join([first, *(m.lower() for m in more)])


@dataclass(frozen=True, kw_only=True)
class Why(Command):
    """What moved a metric: its change taken apart by country, device, ..., adding up exactly.

    The period is compared with the one before it; one day is compared with the same day of the
    week before. Each value of a dimension, or pair of values, has its part of the change; all
    parts together are the change. A ratio's part is split into rate (it became better or worse
    itself) and mix (more or fewer of its kind came). The cause that is named stands out against
    the rest: a lead to follow, no proof.
    """

    examples: ClassVar = (
        "why conversion 2011-11-25",
        "why revenue last 30 days",
        "why average order by country last 30 days",
    )
    aliases: ClassVar = ("explain", "drivers")

    metric: str = says(positional=True, unit="metric", help="the metric that moved")
    period: Period = says("last 7 days", help="the days to explain, against those before")
    where: Filters = says(Filters(), help="only these countries, categories, channels, ...")
    by: Dimension | None = says(None, help="take it apart by this dimension only")

    def run(self, ctx: Context) -> Result:
        """The whole once, its slices, then the parts of the split that says the most."""
        metric = ctx.catalog.find_metric(self.metric)
        if self.period.is_all_time:
            raise NotEnoughDataError(
                "Before all time there is nothing to compare with.",
                hint=f"Name a period: `why {metric.name} last 30 days`.",
            )
        periods = [("now", self.period), ("before", compared_with(self.period))]
        spans = spans_of(ctx.store, ctx.zone)
        if not spans:
            raise NotEnoughDataError(
                "The store holds no data yet.",
                hint="Load some with `python -m bot load orders FILE`, or try `make demo`.",
            )
        scope = scope_of(ctx.store, ctx.catalog, ctx.zone, periods, self.where, self.by)
        scope = replace(
            scope, blank=scope.blank | blank_places(ctx.store, ctx.catalog.dimensions), by=None
        )
        whole, read = whole_of(ctx, metric, scope, spans)
        notes = self.notes(read, scope, spans, ctx)
        dimensions = self.dimensions(metric, scope, ctx.catalog)
        splits = all_splits(ctx, metric, scope, spans, dimensions, whole, alone=bool(self.by))
        best = most_telling(splits)
        parts = [
            *notes,
            parts_table(best, metric, whole),
            *splits_table(splits, metric, whole),
            parts_chart(best, metric, whole, self.period),
            *method_notes(best, whole),
        ]
        return Result(
            ", ".join(
                t for t in (f"Why {metric.label}", self.period.words, scope.filters.words()) if t
            ),
            headline(self.period, scope, read, whole, best, ctx.currency),
            tuple(parts),
            follow_ups(self.period, scope, metric, best),
        )

    def notes(self, read: Reading, scope: Scope, spans: Spans, ctx: Context) -> list[Part]:
        """What the data do not cover, small samples, and days that are not over."""
        tables = dict.fromkeys(t for m in read.metric.measures for t in ENTITY[m.entity].needs)
        notes: list[Part] = list(coverage_notes(scope, spans, tuple(tables)))
        if self.period.start <= ctx.today < self.period.end:
            notes.append(Note("Today is not over: its numbers still grow.", "warning"))
        if read.note:
            notes.append(Note(f"{read.metric.label}: {read.note}"))
        return notes

    def dimensions(self, metric: Metric, scope: Scope, catalog: Catalog) -> list[Dimension]:
        """What the metric can be taken apart by. Raises NoDriversError where there is nothing."""
        fixed = {f.dimension for f in scope.filters if len(f.values) == 1 and not f.negated}
        entities = [ENTITY[m.entity] for m in metric.measures]
        able = [
            d
            for d in catalog.dimensions
            if d.name not in fixed and all(scope.place(e, d) is not None for e in entities)
        ]
        if self.by and self.by not in able:
            raise NoDriversError(
                f"{metric.label} is not told apart by {self.by.label.lower()}.",
                hint=f"Try `by {able[0].name}`." if able else "",
            )
        if not able:
            raise NoDriversError(f"The data hold nothing to take {metric.label.lower()} apart by.")
        return [self.by] if self.by else able


def compared_with(period: Period) -> Period:
    """The same weekday of the week before for a day; else the period before."""
    if period.span == "days" and period.days == 1:
        week = dt.timedelta(days=7)
        return between(period.start - week, period.end - week)
    return period.previous()


def compared_in_words(period: Period) -> str:
    """`the Friday before`, `the 30 days before`."""
    if period.span == "days" and period.days == 1:
        return f"the {period.start:%A} before"
    return previous_in_words(period)


# --- the whole and its slices -------------------------------------------------------------------


def whole_of(ctx: Context, metric: Metric, scope: Scope, spans: Spans) -> tuple[Whole, Reading]:
    """The metric's parts in both windows. Raises NotEnoughDataError where one is unknown."""
    found, refused = gather(ctx.store, scope, [metric], spans)
    values = found.get((), {})
    read = reading(metric, scope, values, values, spans, refused)
    if read.now is None or read.before is None:
        when = "in this period" if read.now is None else "in the period before"
        raise NotEnoughDataError(
            f"{metric.label} is unknown {when}. {read.note.removeprefix('Before: ')}".strip(),
            hint="Ask for a period that the data cover: `status` shows what is loaded.",
        )
    scales = [metric.scale, metric.scale]
    by_days = metric.denominator is not None and metric.denominator.aggregate == "days"
    if metric.denominator is not None and by_days:
        span = span_of(ENTITY[metric.denominator.entity], spans)
        scales = [metric.scale / span.days_in(w) for w in scope.windows] if span else scales
    is_ratio = metric.denominator is not None and not by_days
    return Whole(cell_of(metric, values), is_ratio, *scales), read


def cell_of(metric: Metric, values: Quantities) -> Cell:
    """The metric's additive parts, now and before."""
    top, bottom = metric.numerator, metric.denominator
    tops = [values.get((top, i), 0) for i in (0, 1)]
    if bottom is None or bottom.aggregate == "days":
        return Cell(*tops)
    return Cell(*tops, *(values.get((bottom, i), 0) for i in (0, 1)))


def cells_by(
    ctx: Context, metric: Metric, scope: Scope, spans: Spans, dimensions: Sequence[Dimension]
) -> dict[Key, Cell]:
    """The metric's parts per combination of the dimensions' values: one query per entity."""
    found: Slices
    found, _ = gather(ctx.store, scope.slicing(*dimensions), [metric], spans)
    return {
        tuple(None if v is None else str(v) for v in key): cell_of(metric, values)
        for key, values in found.items()
    }


def all_splits(
    ctx: Context,
    metric: Metric,
    scope: Scope,
    spans: Spans,
    dimensions: Sequence[Dimension],
    whole: Whole,
    *,
    alone: bool,
) -> list[Split]:
    """The change by each dimension, then by pairs of them.

    Where all measures add up over the slices, one query by all dimensions holds every split.
    """

    def adds(chosen: Sequence[Dimension]) -> bool:
        sliced = scope.slicing(*chosen)
        return all(adds_up(m, sliced) for m in metric.measures if m.aggregate != "days")

    def split(chosen: tuple[Dimension, ...]) -> Split:
        if together and all(d in jointly for d in chosen):
            cells = marginal(together, [jointly.index(d) for d in chosen])
        else:
            cells = cells_by(ctx, metric, scope, spans, chosen)
        found = drivers(whole, cells, OVERLAP)
        blurred = any(
            d.key == OVERLAP and abs(d.part) > MOST_BLUR * abs(whole.change) for d in found
        )
        cause = None if blurred else culprit(found, whole.change, LEAST_SHARE)
        return Split(chosen, cells, found, cause)

    jointly = [d for d in dimensions if adds([d])][:PAIRED]
    if len(jointly) < 2 or not adds(jointly):
        jointly = []
    together = cells_by(ctx, metric, scope, spans, jointly) if jointly else {}
    singles = [split((d,)) for d in dimensions]
    if alone:
        return singles
    leading = sorted(singles, key=lambda s: -stands_out(s))
    leading = leading[: PAIRED if jointly else PAIRED_APART]
    kept = [s.dimensions[0] for s in sorted(leading, key=lambda s: len(s.cells))]
    return [*singles, *(split(pair) for pair in combinations(kept, 2))]


def stands_out(split: Split) -> float:
    """How much the cause stands out; 0 where there is none."""
    return abs(split.cause.peculiarity) if split.cause else 0.0


def explains(split: Split) -> float:
    """The size of the cause's part; 0 where there is none."""
    return abs(split.cause.part) if split.cause else 0.0


def most_telling(splits: Sequence[Split]) -> Split:
    """The split whose cause stands out the most; two values only where they say clearly more."""
    singles = [s for s in splits if len(s.dimensions) == 1]
    best = max(singles, key=stands_out)
    pairs = [s for s in splits if len(s.dimensions) == 2 and s.cause]
    for pair in sorted(pairs, key=stands_out, reverse=True):
        if best.cause is None or (
            stands_out(pair) >= SHARPER * stands_out(best)
            and explains(pair) >= KEPT * explains(best)
        ):
            return pair
    return best


# --- what is shown ------------------------------------------------------------------------------


def unit_of_change(metric: Metric) -> Unit:
    """A difference of shares is told in points."""
    return "points" if metric.unit == "share" else metric.unit


def named(key: Key, split: Split) -> str:
    """`mobile × ads`; what is unknown says of what."""
    if key == OVERLAP:
        return OVERLAP[0]
    names = [
        f"unknown {d.label.lower()}" if v is None else v
        for v, d in zip(key, split.dimensions, strict=False)
    ]
    return " × ".join(names)


def shown(split: Split, whole: Whole, most: int) -> list[tuple[str, Driver]]:
    """The parts in order, the cause first, the small ones as one."""
    order = sorted(split.found, key=lambda d: d is not split.cause)
    rows = [(named(d.key, split), d) for d in order]
    if len(rows) <= most + 1:
        return rows
    rest = [d for _, d in rows[most:] if d.key != OVERLAP]
    apart = [(n, d) for n, d in rows[most:] if d.key == OVERLAP]
    label = f"other ({len(rest)})"
    return [*rows[:most], (label, summed(rest, whole, split.cells, (label,))), *apart]


def parts_table(split: Split, metric: Metric, whole: Whole) -> Table:
    """Each part of the change; the last row is all of it."""
    unit = unit_of_change(metric)
    columns = [
        Column("value", split.label),
        Column("part", "Part of the change", unit),
        Column("share", "Of the change", "share"),
    ]
    if whole.is_ratio:
        columns += [Column("rate", "By rate", unit), Column("mix", "By mix", unit)]
    columns += [
        Column("now", metric.label, metric.unit),
        Column("before", "Before", metric.unit),
        Column("weight", "Weight", "share"),
        Column("weight_before", "Weight before", "share"),
    ]
    total = Driver(
        (),
        whole.now,
        whole.before,
        1.0 if whole.now or whole.is_ratio else None,
        1.0 if whole.before or whole.is_ratio else None,
        math.fsum(d.mix for d in split.found),
        math.fsum(d.rate for d in split.found),
        0.0,
    )
    rows = [
        part_row(name, d, whole) for name, d in [*shown(split, whole, MOST_ROWS), ("all", total)]
    ]
    more = len(split.found) > MOST_ROWS + 1
    return Table(
        f"What moved {metric.label.lower()}, by {split.label.lower()}",
        tuple(columns),
        tuple(rows),
        of_rows=len(split.found) + 1 if more else None,
    )


def part_row(name: str, d: Driver, whole: Whole) -> tuple[Value, ...]:
    """One row of the table."""
    overlap = d.key == OVERLAP
    cells: list[Value] = [name, d.part, d.part / whole.change if whole.change else None]
    if whole.is_ratio:
        cells += [d.rate, d.mix]
    if d.key == ():
        cells[2] = 1.0 if whole.change else None
    return (
        *cells,
        None if overlap else d.now,
        None if overlap else d.before,
        None if overlap else d.weight,
        None if overlap else d.weight_before,
    )


def splits_table(splits: Sequence[Split], metric: Metric, whole: Whole) -> list[Part]:
    """For each dimension and pair in which a value stands out, which; the clearest first."""
    columns = (
        Column("dimension", "Dimension"),
        Column("value", "Stands out"),
        Column("part", "Part of the change", unit_of_change(metric)),
        Column("share", "Of the change", "share"),
    )
    order = sorted(splits, key=lambda s: (-stands_out(s), s.label))
    rows: list[tuple[Value, ...]] = [
        (s.label, named(s.cause.key, s), s.cause.part, s.cause.part / whole.change)
        for s in order[:MOST_BARS]
        if s.cause is not None
    ]
    return [Table("Where to look", columns, tuple(rows))] if len(rows) > 1 else []


def parts_chart(split: Split, metric: Metric, whole: Whole, period: Period) -> Chart:
    """From the value before, over the parts, to the value now."""
    order = sorted(split.found, key=lambda d: d is not split.cause)[:MOST_BARS]
    rest = [d for d in split.found if d not in order]
    names = [named(d.key, split) for d in order]
    values = [d.part for d in order]
    if rest:
        names.append(f"other ({len(rest)})")
        values.append(math.fsum(d.part for d in rest))
    return Chart(
        f"What moved {metric.label.lower()}",
        "waterfall",
        (compared_in_words(period), *names, period.words),
        (Series(metric.label, (whole.before, *values, whole.now)),),
        metric.unit,
        y_label=metric.label,
    )


def method_notes(split: Split, whole: Whole) -> list[Part]:
    """How the parts came about, where it is not plain."""
    notes: list[Part] = []
    if whole.is_ratio:
        notes.append(
            Note(
                "Rate is what the value itself changed, at its mean weight; mix is what its weight "
                "changed, against the whole's mean (Kitagawa 1955). All parts add up to the "
                "change."
            )
        )
    if any(d.key == OVERLAP for d in split.found):
        notes.append(
            Note(
                f"“{OVERLAP[0]}” takes back what several values of "
                f"{listed([d.label.lower() for d in split.dimensions])} share, and adds what none "
                "has."
            )
        )
    return notes


def headline(
    period: Period, scope: Scope, read: Reading, whole: Whole, best: Split, currency: str
) -> str:
    """How the metric moved, and which cell explains how much of it."""
    metric = read.metric
    now, before = (short_words(v, metric.unit, currency) for v in (read.now, read.before))
    where = f" for {scope.filters.words()}" if scope.filters else ""
    against = compared_in_words(period)
    if not whole.change:
        return f"{metric.label}{where} did not move: {now} {in_words(period)} as on {against}."
    verb = "rose" if whole.change > 0 else "fell"
    how = change(read.now, read.before, metric.unit) if metric.unit != "share" else None
    moved_words = f"{verb} to {now} {in_words(period)} from {before} {against}"
    if now == before:
        moved_words = f"held at {now} {in_words(period)}, as {against}"
    text = f"{metric.label}{where} {moved_words}{f' ({how})' if how else ''}"
    samples = [n for n in read.samples[:2] if n]
    if metric.unit == "share" and len(samples) == 2 and whole.is_ratio:
        shares = [min(max(float(v or 0), 0.0), 1.0) for v in (read.now, read.before)]
        if within_chance(shares[0], shares[1], *samples):
            chance = "" if now == before else ", no more than chance can do: look for no cause"
            return f"{text}{chance}."
    cause = best.cause
    if cause is None:
        return f"{text}; no single {best.label.lower()} explains it."
    unit = unit_of_change(metric)
    name = named(cause.key, best)
    if abs(cause.part) > REVERSED * abs(whole.change):
        part, rest = (signed(v, unit, currency) for v in (cause.part, whole.change - cause.part))
        return f"{text}; {name} moved it by {part}, all others by {rest}."
    part, whole_change = (signed(v, unit, currency) for v in (cause.part, whole.change))
    part = part.removesuffix(" points") if whole_change.endswith(" points") else part
    return f"{text}; {name} explains {part} of {whole_change}."


def signed(value: float, unit: Unit, currency: str) -> str:
    """`+1.5 points`, `-£1.2k`."""
    text = short_words(value, unit, currency).replace(" pts", " points")
    return text if value < 0 else f"+{text}"


def follow_ups(period: Period, scope: Scope, metric: Metric, best: Split) -> tuple[str, ...]:
    """On to the cell that is named: why there, its other dimensions, its people, its course."""
    if best.cause is None:
        return (
            f"trend {metric.name} {scope.filters.said()}".strip(),
            f"kpis by {best.dimensions[0].name} {period.words} {scope.filters.said()}".strip(),
        )
    inner = scope.filters
    for dimension, value in zip(best.dimensions, best.cause.key, strict=True):
        inner = inner.plus(dimension.name, str(value))
    first, *second = best.dimensions
    outer = scope.filters.plus(first.name, str(best.cause.key[0])) if second else scope.filters
    split = second[0] if second else first
    return (
        f"why {metric.name} {period.words} {inner.said()}",
        f"kpis by {split.name} {period.words} {outer.said()}".strip(),
        f"kpis {period.words} {inner.said()}",
        f"trend {metric.name} {inner.said()}",
    )
