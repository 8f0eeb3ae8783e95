"""The course of metrics: a value per day or week, what of it is usual, and whether it can be told.

Whatever the metrics, all of it comes from two queries: one over orders and what hangs on them, one
over events. Each reads its rows once, into groups that are small enough to be gone through again
(a person's visit by hour; the orders), and takes from them the metrics' measures per day, and the
rows per hour for the gate. Of the days that are told and the seven before them, rows are read once
more: for copies, faults and orphans, and for what moved by dimension.
"""

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sqlalchemy as sa

from analytics.catalog import ENTITY, Dimension, Measure, Metric
from analytics.command import Context
from analytics.entities import (
    ONE,
    ZERO,
    CannotAnswerError,
    adds_up,
    cut_visits,
    flag,
    grouped_visits,
    order_rows,
    rows_of,
    seen_events,
    sliced,
    slices_of,
)
from analytics.errors import UserError
from analytics.gate import (
    HISTORY_DAYS,
    VERDICTS,
    Source,
    days_of,
    hour_lengths,
    profile,
    said,
    sources,
)
from analytics.measure import (
    Quantities,
    Reading,
    Span,
    Spans,
    aggregate,
    reached,
    reading,
)
from analytics.methods.drivers import EMPTY, Cell, Driver, Key, Whole, drivers, marginal
from analytics.methods.quality import (
    HOURS,
    LIMITS,
    WEEK,
    Day,
    Finding,
    Verdict,
    faults,
    judge,
    kinds,
)
from analytics.methods.seasonal import Band, Floats, usual_band
from analytics.period import Period, between
from analytics.result import Number
from analytics.scope import (
    Filters,
    Scope,
    Window,
    day_number,
    day_of,
    days_before,
    scope_of,
)
from analytics.totals import Aggregated, source_of
from analytics.words import date_words, listed
from storage.schema import EPOCH, events, orders
from storage.sql import Sql, icount, idiv, isum

#: How many days or weeks are read, the ones told included: what the band takes.
BLOCKS = {1: 26 * WEEK, WEEK: 52}

#: No filter.
EVERYTHING = Filters()

#: Days before the first one told from which faults, copies and kinds are known.
RECENT_DAYS = WEEK

#: By so many dimensions at most is told what moved.
MOST_DIMENSIONS = 3

#: The entities that are made of one reading of the orders, and of one of the events.
ORDER_SIDE = ("orders", "buyers")
VISIT_SIDE = ("sessions", "active_days")

#: The tables that the gate looks at.
GATED = ("orders", "events", "ratings")


class NoCourseError(UserError):
    """The metric or period has no value of its own for each day or week."""

    code = "no_series"


# --- what is known ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One metric: a value per block, the last being the one told; NaN where unknown.

    `movers` are the parts of its change from the reference block, per dimension.
    """

    metric: Metric
    values: Floats
    samples: Floats
    band: Band
    note: str
    season: int
    movers: tuple[tuple[Dimension, tuple[Driver, ...]], ...] = ()

    @property
    def now(self) -> Number:
        """The value told."""
        return self.back(0)

    @property
    def sample(self) -> int | None:
        """What a ratio stands on; None where it is none, or unknown."""
        found = number(self.samples[-1])
        return None if found is None else int(found)

    def back(self, blocks: int) -> Number:
        """The value so many blocks before."""
        return number(self.values[-1 - blocks]) if blocks < len(self.values) else None

    @property
    def reference(self) -> Number:
        """The value it is compared with: that of the weekday, or the week, before."""
        return self.back(self.season)

    @property
    def score(self) -> float | None:
        """How unusual, in deviations; None where what is usual is not known."""
        return number(self.band.score[-1])

    @property
    def usual(self) -> tuple[float, float] | None:
        """The band of what is usual."""
        low, high = number(self.band.low[-1]), number(self.band.high[-1])
        if low is None or high is None:
            return None
        return (max(low, 0), min(high, 1)) if self.metric.unit == "share" else (low, high)

    @property
    def is_unusual(self) -> bool:
        """Out of the band, on a sample that is large enough."""
        small = self.sample is not None and self.sample < self.metric.minimum
        return bool(self.band.unusual[-1]) and not small


@dataclass(frozen=True)
class Gate:
    """Whether the days told are whole: the gravest verdict, and why, the gravest first.

    `complete` is the least share of the usual rows outside of gaps, of any table; None where too
    little came before to know. `missing` counts the hours without data.
    `gone` are the reasons that say that rows did not come at all.
    """

    verdict: Verdict
    reasons: tuple[tuple[Verdict, str], ...]
    complete: float | None
    missing: int
    judged: bool
    gone: tuple[str, ...] = ()


@dataclass(frozen=True)
class Course:
    """All of it; `days` are the blocks' first days."""

    period: Period
    scope: Scope
    days: tuple[dt.date, ...]
    lines: tuple[Line, ...]
    gate: Gate
    spans: Spans


def course_of(
    ctx: Context, metrics: Sequence[Metric], period: Period, filters: Filters = EVERYTHING
) -> Course:
    """The metrics up to the period's end, of which the last block is the period.

    Raises NoCourseError for a metric that looks back over many days, or a period that is neither a
    day nor a week.
    """
    if period.days not in BLOCKS:
        raise NoCourseError(
            f"{period.words.capitalize()} is neither a day nor a week.",
            hint=f"Try `kpis {period.words}`.",
        )
    for metric in metrics:
        if any(m.reach != "period" for m in metric.measures):
            raise NoCourseError(
                f"{metric.label} looks back over many days: it has no value for each.",
                hint="Try `daily_active` or `new_people`.",
            )
    grid = Grid.of(ctx, period, filters)
    asked = by_entity(metrics)
    tables = [t for t in GATED if any(t in ENTITY[e].needs for e in asked)]
    checks = {s.name: s for s in sources(utc(ctx.now), grid.recent) if s.name in tables}
    parts, refused = branches(grid, asked, checks)
    found: list[dict[str, Any]] = []
    for side in parts:
        if side:
            found += ctx.store.rows(together(side))
    return Reader(ctx, grid, asked, checks, refused, found).course(metrics)


def by_entity(metrics: Iterable[Metric]) -> dict[str, list[Measure]]:
    """The measures to be asked for, per entity."""
    found: dict[str, list[Measure]] = {}
    for measure in dict.fromkeys(m for metric in metrics for m in metric.measures):
        if measure.aggregate != "days":
            found.setdefault(measure.entity, []).append(measure)
        else:
            found.setdefault(measure.entity, [])
    return found


def utc(at: dt.datetime) -> dt.datetime:
    """An aware instant as the store keeps it."""
    return at.astimezone(dt.UTC).replace(tzinfo=None)


# --- the two queries ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """The blocks that are read: `blocks` of `length` days, up to the period's end."""

    period: Period
    scope: Scope
    recent: Scope
    blocks: int

    @classmethod
    def of(cls, ctx: Context, period: Period, filters: Filters) -> "Grid":
        """The blocks before a period, and the period. Raises UnknownNameError."""
        blocks = BLOCKS[period.days]
        start = days_before(period.end, blocks * period.days)
        read = between(start, period.end)
        scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("read", read)], filters)
        since = between(days_before(period.start, RECENT_DAYS), period.end)
        recent = replace(
            scope, windows=(Window.of("recent", since, ctx.zone),), filters=Filters(), by=None
        )
        return cls(period, scope, recent, blocks)

    @property
    def first(self) -> int:
        """The first day's number."""
        return day_number(self.scope.windows[0].start)

    @property
    def days(self) -> tuple[dt.date, ...]:
        """The blocks' first days."""
        return tuple(day_of(self.first + i * self.period.days) for i in range(self.blocks))

    @property
    def judged(self) -> Scope:
        """The days that the gate goes by."""
        start = days_before(self.period.start, HISTORY_DAYS)
        read = between(max(start, self.scope.windows[0].start), self.period.end)
        return replace(self.scope, windows=(Window.of("judged", read, self.scope.zone),))

    @property
    def compared(self) -> Scope:
        """The block told and the one that it is compared with."""
        before = between(
            self.period.start - dt.timedelta(days=WEEK), self.period.end - dt.timedelta(days=WEEK)
        )
        windows = (
            Window.of("now", self.period, self.scope.zone),
            Window.of("before", before, self.scope.zone),
        )
        return replace(self.scope, windows=windows)

    @property
    def ever(self) -> Scope:
        """From the beginning on."""
        read = between(EPOCH.date(), self.period.end)
        return replace(self.scope, windows=(Window.of("ever", read, self.scope.zone),))

    def block(self, day: Sql) -> Sql:
        """The block of a day number inside the span that is read."""
        number_ = day - sa.literal_column(str(self.first))
        if self.period.days == 1:
            return number_
        return idiv(number_, sa.literal_column(str(self.period.days)))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Branch:
    """Groups of one kind: what they are, where they lie, words and whole numbers of each."""

    what: str
    rows: sa.FromClause
    at: Sql
    values: tuple[Sql, ...]
    words: tuple[Sql, ...] = ()
    where: tuple[Sql, ...] = ()
    grouped: bool = True


#: The words of a branch: dimensions, or the kind of row.
WORDS = MOST_DIMENSIONS

Asked = Mapping[str, Sequence[Measure]]


def together(parts: Sequence[Branch]) -> sa.CompoundSelect[*tuple[Any, ...]]:
    """Branches as one query, the shorter ones filled up."""
    wide = max(len(b.values) for b in parts)
    selects = []
    for b in parts:
        words = [*b.words, *[sa.cast(sa.null(), sa.Text)] * (WORDS - len(b.words))]
        values = [*b.values, *[sa.literal_column("0", sa.BigInteger)] * (wide - len(b.values))]
        chosen = sa.select(
            sa.literal_column(f"'{b.what}'", sa.Text).label("what"),
            sa.cast(b.at, sa.BigInteger).label("at"),
            *(w.label(f"k{i}") for i, w in enumerate(words)),
            *(sa.cast(v, sa.BigInteger).label(f"v{i}") for i, v in enumerate(values)),
        ).select_from(b.rows)
        chosen = chosen.where(*b.where)
        selects.append(chosen.group_by(b.at, *b.words) if b.grouped else chosen)
    return sa.union_all(*selects)


def kept(rows: sa.Select[*tuple[Any, ...]], name: str) -> sa.CTE:
    """Rows that are read once and gone through several times."""
    cte = rows.cte(name)
    for dialect in ("duckdb", "postgresql", "sqlite"):
        cte = cte.prefix_with("MATERIALIZED", dialect=dialect)
    return cte


def branches(
    grid: Grid, asked: Asked, checks: Mapping[str, Source]
) -> tuple[list[list[Branch]], dict[str, str]]:
    """The branches of each query, and why an entity can't answer."""
    refused: dict[str, str] = {}
    sides: list[list[Branch]] = [[], []]
    groups: dict[str, tuple[int, tuple[str, ...]]] = {
        e: (0, (e,)) for e in asked if e not in (*ORDER_SIDE, *VISIT_SIDE)
    }
    groups |= {"orders": (0, ORDER_SIDE), "sessions": (1, VISIT_SIDE)}
    for name, (side, entities) in groups.items():
        wanted = {e: asked[e] for e in entities if e in asked}
        try:
            if wanted and name == "orders":
                sides[side] += order_branches(grid, wanted)
            elif wanted and name == "sessions":
                sides[side] += visit_branches(grid, wanted)
            elif wanted:
                sides[side] += plain_branches(grid, name, wanted[name])
        except CannotAnswerError as error:
            refused |= dict.fromkeys(wanted, f"Not told apart by {listed(error.dimensions)}.")
    for name, source in checks.items():
        sides[name == "events"].append(recent_branch(grid, source))
    for entity, side in (("orders", 0), ("sessions", 1)):
        if asked.get(entity) and entity not in refused:
            sides[side] += mover_branches(grid, entity, asked[entity])
    return sides, refused


def placed(grid: Grid, found: sa.FromClause) -> sa.Select[*tuple[Any, ...]]:
    """Rows with their block and local hour; -1 where they lie before the span that is read."""
    at = found.c["at"]
    inside = grid.scope.within(at)
    return sa.select(
        *found.c,
        sa.case((inside, grid.block(grid.scope.local_day(at))), else_=-ONE).label("block"),
        sa.case((inside, grid.scope.local_hour(at)), else_=-ONE).label("hour"),
    )


def plain_branches(grid: Grid, entity: str, measures: Sequence[Measure]) -> list[Branch]:
    """An entity whose rows lie in time: its measures per block, and rows per hour."""
    rows = kept(placed(grid, rows_of(entity, grid.scope)), f"{entity}_read")
    inside = (rows.c.block >= ZERO,) if entity != "people" else ()
    values = tuple(aggregate(m, rows) for m in measures)
    parts = [Branch(entity, rows, rows.c.block, values, where=inside)]
    if entity in GATED:
        parts.append(Branch(f"hours {entity}", rows, rows.c.hour, (icount(),), where=inside))
    return parts


def order_branches(grid: Grid, asked: Asked) -> list[Branch]:
    """Orders and buyers per block, orders per hour: one reading of the orders.

    Who is new takes the first order of each person, whenever it was: then all orders are read.
    """
    buyers = asked.get("buyers", ())
    whole = any("is_" in f"{m.column} {m.where}" for m in buyers)
    read = grid.ever if whole and not grid.scope.filters else grid.scope
    rows = kept(placed(grid, order_rows(read).subquery("orders_found")), "orders_read")
    inside = (rows.c.block >= ZERO,)
    parts = [Branch("hours orders", rows, rows.c.hour, (icount(),), where=inside)]
    if asked.get("orders"):
        values = tuple(aggregate(m, rows) for m in asked["orders"])
        parts.append(Branch("orders", rows, rows.c.block, values, where=inside))
    if buyers:
        bought = buyers_by_block(grid, rows, whole=whole)
        values = tuple(aggregate(m, bought) for m in buyers)
        parts.append(Branch("buyers", bought, bought.c.block, values))
    return parts


def buyers_by_block(grid: Grid, rows: sa.FromClause, *, whole: bool) -> sa.FromClause:
    """The entity `buyers` for each block: one row per person with an order in it.

    `whole` says that the first order of anything matters, which filtered orders don't tell.
    """
    each = (
        sa.select(
            rows.c.person_id,
            rows.c.block,
            icount().label("orders"),
            isum(rows.c.amount_cents).label("amount_cents"),
        )
        .where(rows.c.kind == "sale", rows.c.person_id.is_not(None))
        .group_by(rows.c.person_id, rows.c.block)
        .subquery("bought")
    )
    first: Sql = each.c.block
    source: sa.FromClause = each
    if whole and grid.scope.filters:
        anything = placed(
            grid, order_rows(replace(grid.ever, filters=Filters())).subquery("orders_ever")
        ).subquery("orders_placed")
        firsts = (
            sa.select(anything.c.person_id, sa.func.min(anything.c.block).label("first_block"))
            .where(anything.c.kind == "sale", anything.c.person_id.is_not(None))
            .group_by(anything.c.person_id)
            .subquery("firsts")
        )
        source = each.join(firsts, firsts.c.person_id == each.c.person_id)
        first = firsts.c.first_block
    elif whole:
        first = sa.func.min(each.c.block).over(partition_by=each.c.person_id)
    told = sa.select(*each.c, first.label("first_block")).select_from(source).subquery("told")
    known = told.c.first_block < told.c.block
    return (
        sa.select(
            told.c.person_id,
            told.c.block,
            told.c.orders,
            told.c.amount_cents,
            flag(sa.not_(known)).label("is_new"),
            flag(known).label("is_returning"),
            flag(sa.or_(known, told.c.orders >= 2)).label("is_repeat"),
        )
        .where(told.c.block >= ZERO)
        .subquery("buyers_read")
    )


def visit_branches(grid: Grid, asked: Asked) -> list[Branch]:
    """Visits and active days per block, of one reading of the events; and events per hour, over
    the weeks that the gate goes by.
    """
    parts = [hours_branch(grid)]
    sources_ = {e: source_of(e, grid.scope, m) for e, m in asked.items() if m}
    if all(s.is_totals for s in sources_.values()):
        return parts + [total_branch(grid, asked[e], e, s) for e, s in sources_.items()]
    visits = kept(visits_of(grid.scope), "visits")
    if asked.get("sessions"):
        day = grid.scope.local_day(visits.c["at"])
        rows = (
            sa.select(*visits.c, grid.block(day).label("block"))
            .where(grid.scope.within(visits.c["at"]))
            .subquery("visits_read")
        )
        values = tuple(aggregate(m, rows) for m in asked["sessions"])
        parts.append(Branch("sessions", rows, rows.c.block, values))
    if asked.get("active_days"):
        active = active_by_block(grid, visits)
        values = tuple(aggregate(m, active) for m in asked["active_days"])
        parts.append(Branch("active_days", active, active.c.block, values))
    return parts


def total_branch(
    grid: Grid, measures: Sequence[Measure], entity: str, source: Aggregated
) -> Branch:
    """An entity's totals per block."""
    rows = sa.select(*source.rows.c, grid.block(source.rows.c.day).label("block")).subquery(
        f"{entity}_totals"
    )
    values = tuple(aggregate(source.asked[m], rows) for m in measures)
    return Branch(entity, rows, rows.c.block, values)


def hours_branch(grid: Grid) -> Branch:
    """Events per local hour."""
    scope = grid.judged
    main, conditions, _ = sliced(scope, "events", events, events.c.person_id, {"events": events})
    rows = (
        sa.select(scope.local_hour(events.c["at"]).label("hour"))
        .select_from(main)
        .where(scope.within(events.c["at"]), *conditions)
        .subquery("events_by_hour")
    )
    return Branch("hours events", rows, rows.c.hour, (icount(),))


def visits_of(scope: Scope) -> sa.Select[*tuple[Any, ...]]:
    """The entity `sessions` as `entities.session_rows` has it, with the last event of each, also of
    the day before and after.
    """
    main, conditions, _ = sliced(scope, "sessions", events, events.c.person_id, {"events": events})
    seen = seen_events(scope, main, conditions)
    named = seen.where(events.c.session_id.is_not(None)).subquery("named")
    nameless = seen.where(events.c.session_id.is_(None)).subquery("nameless")
    parts = []
    for rows, key in ((named, named.c.session_id), cut_visits(nameless)):
        visit = grouped_visits(rows, key)
        parts.append(visit.add_columns(sa.func.max(rows.c["at"]).label("last_at")))
    return sa.union_all(*parts).subquery("all_visits").select()


def active_by_block(grid: Grid, visits: sa.FromClause) -> sa.FromClause:
    """The entity `active_days` with the block of each day.

    A visit is of the days of its first and last event; where there are days between them, its
    person's events tell which.
    """
    scope = grid.scope
    main, conditions, _ = sliced(scope, "orders", orders, orders.c.person_id, {"orders": orders})
    each = sa.select(
        visits.c.person_id,
        visits.c["at"],
        visits.c.last_at,
        scope.local_day(visits.c["at"]).label("first_day"),
        scope.local_day(visits.c.last_at).label("last_day"),
    ).subquery("days_of_visits")
    long = each.c.last_day > each.c.first_day + ONE
    between_ = sa.and_(
        events.c.person_id == each.c.person_id,
        events.c["at"] >= each.c["at"],
        events.c["at"] <= each.c.last_at,
    )
    days = sa.union(
        sa.select(each.c.person_id, each.c.first_day.label("day")),
        sa.select(each.c.person_id, each.c.last_day).where(each.c.last_day > each.c.first_day),
        sa.select(events.c.person_id, scope.local_day(events.c["at"]).label("day"))
        .select_from(each.join(events, between_))
        .where(long),
        sa.select(orders.c.person_id, scope.local_day(orders.c.ordered_at).label("day"))
        .select_from(main)
        .where(
            scope.within(orders.c.ordered_at),
            orders.c.kind == "sale",
            orders.c.person_id.is_not(None),
            *conditions,
        ),
    ).subquery("person_days")
    first: Sql = sa.literal_column(str(grid.first))
    end: Sql = sa.literal_column(str(grid.first + grid.blocks * grid.period.days))
    return (
        sa.select(*days.c, grid.block(days.c.day).label("block"))
        .where(days.c.day >= first, days.c.day < end)
        .subquery("active_read")
    )


def recent_branch(grid: Grid, source: Source) -> Branch:
    """A table's profile for the gate, over the days told and those right before them."""
    rows = profile(source, grid.recent).subquery(f"recent_{source.name}")
    values = (
        rows.c.rows,
        rows.c.different,
        *(rows.c[f"fault_{i}"] for i in range(len(source.faults))),
    )
    return Branch(f"recent {source.name}", rows, rows.c.hour, values, (rows.c.kind,), grouped=False)


def mover_branches(grid: Grid, entity: str, measures: Sequence[Measure]) -> list[Branch]:
    """Those of an entity's measures that add up, in the block told and the one before it, by the
    dimensions that its own rows bear.
    """
    scope = grid.compared
    dimensions = own_dimensions(scope, entity)
    adding = [m for m in measures if adds_up(m, scope)]
    if not adding or not dimensions or scope.filters:
        return []
    cut = scope.slicing(dimensions[0], *dimensions[1:])
    source = source_of(entity, cut, adding)
    rows = source.rows
    values = [
        aggregate(source.asked[m], rows, reached(m, rows, cut, i)) for m in adding for i in range(2)
    ]
    nowhere = sa.literal_column("0", sa.BigInteger)
    cells = (
        sa.select(
            nowhere.label("at"),
            *slices_of(rows),
            *(v.label(f"v{i}") for i, v in enumerate(values)),
        )
        .group_by(*slices_of(rows))
        .subquery(f"movers_{entity}")
    )
    named = tuple(c for c in cells.c if c.name.startswith("slice"))
    found = tuple(cells.c[f"v{i}"] for i in range(len(values)))
    return [Branch(f"movers {entity}", cells, cells.c["at"], found, named, grouped=False)]


def own_dimensions(scope: Scope, entity: str) -> list[Dimension]:
    """The dimensions that stand in the first of an entity's tables."""
    first = ENTITY[entity].tables[0]
    return [d for d in scope.catalog.dimensions if scope.place(ENTITY[entity], d) == first][
        :MOST_DIMENSIONS
    ]


# --- what came back -----------------------------------------------------------------------------


class Reader:
    """Rows of both queries -> the course."""

    def __init__(
        self,
        ctx: Context,
        grid: Grid,
        asked: Asked,
        checks: Mapping[str, Source],
        refused: dict[str, str],
        found: Sequence[Mapping[str, Any]],
    ) -> None:
        """`found` are the rows of all branches."""
        self.ctx = ctx
        self.grid = grid
        self.asked = asked
        self.checks = checks
        self.refused = refused
        self.parts: dict[str, list[Mapping[str, Any]]] = {}
        for row in found:
            self.parts.setdefault(row["what"], []).append(row)
        self.all_days = tuple(day_of(grid.first + i) for i in range(grid.blocks * grid.period.days))

    def course(self, metrics: Sequence[Metric]) -> Course:
        """Values, bands, movers and the gate."""
        grid = self.grid
        hours = {t: self.hours(t) for t in GATED if f"hours {t}" in self.parts}
        spans = self.spans(hours)
        blocks = [
            Window.of(f"b{i}", between(d, d + dt.timedelta(days=grid.period.days)), grid.scope.zone)
            for i, d in enumerate(grid.days)
        ]
        values: Quantities = {}
        for entity, measures in self.asked.items():
            for row in self.parts.get(entity, ()):
                if row["at"] >= 0:
                    for i, measure in enumerate(measures):
                        values[measure, int(row["at"])] = row[f"v{i}"]
        lines = [self.line(m, blocks, values, spans) for m in metrics]
        gate = self.gate(hours, spans)
        return Course(grid.period, grid.scope, grid.days, tuple(lines), gate, spans)

    def hours(self, table: str) -> dict[int, int]:
        """Rows per local hour."""
        return {int(r["at"]): r["v0"] for r in self.parts[f"hours {table}"] if r["at"] >= 0}

    def spans(self, hours: Mapping[str, Mapping[int, int]]) -> Spans:
        """The days from which to which each table has rows, of those read."""
        spans = {
            table: Span(day_of(min(found) // HOURS), day_of(max(found) // HOURS))
            for table, found in hours.items()
            if found
        }
        visits = next((self.parts[e] for e in VISIT_SIDE if e in self.parts), ())
        if "events" in spans and visits:  # their hours are read of the latest weeks only
            begun = self.grid.days[min(int(r["at"]) for r in visits)]
            spans["events"] = Span(min(begun, spans["events"].first), spans["events"].last)
        last = max((s.last for s in spans.values()), default=None)
        if "order_lines" in self.parts and "orders" in spans:
            spans["order_lines"] = spans["orders"]
        elif "order_lines" in self.parts:
            days = [self.grid.days[int(r["at"])] for r in self.parts["order_lines"] if r["at"] >= 0]
            if days:
                spans["order_lines"] = spans["orders"] = Span(min(days), max(days))
        if "people" in self.parts:
            first = min(int(r["at"]) for r in self.parts["people"])
            begun = self.grid.days[max(first, 0)]
            spans["people"] = Span(begun, last or self.grid.period.last_day)
        return spans

    def line(
        self, metric: Metric, blocks: Sequence[Window], values: Quantities, spans: Spans
    ) -> Line:
        """One metric's values, newest last."""
        scope = replace(self.grid.scope, windows=tuple(blocks))
        told = reading(metric, scope, values, values, spans, self.refused)
        season = WEEK if self.grid.period.days == 1 else 1
        last = len(blocks) - 1
        two = replace(scope, windows=(blocks[last], blocks[last - season]))
        pair = {
            (measure, i): values[measure, place]
            for i, place in enumerate((last, last - season))
            for measure in metric.measures
            if (measure, place) in values
        }
        proven: Quantities = {}
        if metric.proof is not None:
            proven[metric.proof, 0] = sum(v for (m, _), v in values.items() if m == metric.proof)
        note = reading(metric, two, pair, proven, spans, self.refused).note
        points, samples = numbers(told.values), numbers(told.samples)
        band = band_of(metric, points, samples, season)
        return Line(metric, points, samples, band, note, season, self.movers(metric, told, season))

    def movers(
        self, metric: Metric, told: Reading, season: int
    ) -> tuple[tuple[Dimension, tuple[Driver, ...]], ...]:
        """The parts of a metric's change per dimension; none where its parts don't add up."""
        entities = {m.entity for m in metric.measures if m.aggregate != "days"}
        if len(entities) != 1 or told.values[-1] is None or told.values[-1 - season] is None:
            return ()
        (entity,) = entities
        scope = self.grid.compared
        parts = self.parts.get(f"movers {entity}", ())
        adding = [m for m in self.asked[entity] if adds_up(m, scope)]
        top, bottom = metric.numerator, metric.denominator
        if not parts or top not in adding or (bottom is not None and bottom not in adding):
            return ()
        dimensions = own_dimensions(scope, entity)
        cells: dict[Key, Cell] = {}
        for row in parts:
            key = tuple(row[f"k{i}"] for i in range(len(dimensions)))
            n = 2 * adding.index(top)
            d = 2 * adding.index(bottom) if bottom is not None else None
            cells[key] = Cell(
                row[f"v{n}"],
                row[f"v{n + 1}"],
                row[f"v{d}"] if d is not None else 0,
                row[f"v{d + 1}"] if d is not None else 0,
            )
        total = sum(cells.values(), EMPTY)
        if bottom is not None and not (total.bottom and total.bottom_before):
            return ()
        whole = Whole(total, bottom is not None, metric.scale, metric.scale)
        found = []
        for i, dimension in enumerate(dimensions):
            by_value = marginal(cells, (i,))
            if len([k for k in by_value if k != (None,)]) > 1:
                found.append((dimension, tuple(drivers(whole, by_value, ("",)))))
        return tuple(found)

    # -- the gate

    def gate(self, hours: Mapping[str, Mapping[int, int]], spans: Spans) -> Gate:
        """Each table on each day told: gaps and volume by eight weeks, the rest by seven days."""
        now = utc(self.ctx.now)
        zone = self.grid.scope.zone
        first = max(len(self.all_days) - HISTORY_DAYS - self.grid.period.days, 0)
        days = self.all_days[first:]
        lengths = [hour_lengths(day, zone, now) for day in days]
        reasons: list[tuple[Verdict, str]] = []
        shares: list[float] = []
        missing, judged_any = 0, False
        silent: list[str] = []
        for table, found in hours.items():
            label = self.checks[table].label
            history = [
                Day(
                    np.array(
                        [found.get(day_number(d) * HOURS + h, 0) for h in range(HOURS)], float
                    ),
                    length,
                )
                for d, length in zip(days, lengths, strict=True)
            ]
            begun = next((i for i, d in enumerate(history) if d.rows), len(history))
            recent = self.recent(table, now)
            for back in reversed(range(self.grid.period.days)):
                place = len(history) - 1 - back
                if place <= begun:
                    continue
                told = judge(history[max(begun, place - HISTORY_DAYS) : place + 1])
                judged_any |= told.expected is not None
                if told.complete is not None:
                    shares.append(told.complete)
                grave = [*told.findings, *recent_findings(recent, back)]
                day = days[place]
                gone = sum(f.hours[1] - f.hours[0] for f in grave if f.hours)
                missing = max(missing, gone)
                on = f" on {date_words(day)}" if self.grid.period.days > 1 else ""
                reasons += [(f.verdict, said(f, label) + on) for f in grave]
                gone_ = [f for f in grave if f.check == "gap" and f.verdict == "held"]
                silent += [said(f, label) + on for f in gone_]
        for table, span in spans.items():
            if (
                table in hours
                and span.last < self.grid.period.last_day
                and not any(r.startswith(self.checks[table].label) for _, r in reasons)
                and table != "ratings"
            ):
                text = f"{self.checks[table].label}: they end on {date_words(span.last)}"
                reasons.append(("held", text))
                silent.append(text)
        reasons.sort(key=lambda r: -VERDICTS.index(r[0]))
        verdict: Verdict = reasons[0][0] if reasons else "ok"
        complete = min(shares, default=None)
        return Gate(verdict, tuple(reasons), complete, missing, judged_any, tuple(silent))

    def recent(self, table: str, now: dt.datetime) -> list[Day]:
        """The recent days' profile."""
        window = self.grid.recent.windows[0]
        days = [window.start + dt.timedelta(days=i) for i in range(window.days)]
        source = self.checks[table]
        rows = [
            {
                "hour": int(r["at"]),
                "kind": r["k0"],
                "rows": r["v0"],
                "different": r["v1"],
                **{f"fault_{i}": r[f"v{i + 2}"] for i in range(len(source.faults))},
            }
            for r in self.parts.get(f"recent {table}", ())
        ]
        lengths = [hour_lengths(d, self.grid.scope.zone, now) for d in days]
        return days_of(rows, source, days, lengths)


def recent_findings(recent: Sequence[Day], back: int) -> list[Finding]:
    """A recent day's faults by the seven days before it, its kinds by the day a week ago."""
    place = len(recent) - 1 - back
    before = [d for d in recent[place - RECENT_DAYS : place] if d.rows]
    return [
        *(faults(recent[place], before, LIMITS) if before else ()),
        *kinds(recent[place], recent[place - WEEK : place - WEEK + 1], LIMITS),
    ]


def numbers(values: Sequence[Number]) -> Floats:
    """As floats, NaN for what is unknown."""
    return np.array([math.nan if v is None else float(v) for v in values], dtype=np.float64)


def number(value: float) -> Number:
    """A plain number, None for NaN and what is infinite; whole numbers as such."""
    found = float(value)
    if not math.isfinite(found):
        return None
    return int(found) if found.is_integer() else found


def band_of(metric: Metric, values: Floats, samples: Floats, season: int) -> Band:
    """The usual band, no narrower than what chance does to a count or share of this size."""
    first = usual_band(values, season)
    expected = np.where(first.expected > 0, first.expected, np.nan)
    if metric.unit == "count":
        return usual_band(values, season, np.sqrt(expected))
    if metric.unit == "share":
        share = np.clip(expected, 0.0, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.sqrt(share * (1 - share) / samples)
        return usual_band(values, season, np.where(np.isfinite(error), error, np.nan))
    return first
