"""Totals per local day: how they are made of the rows, and which questions they answer exactly.

They are made by the builders of `entities.py`, so that what a visit or an active day is stands in
one place. `source_of` decides, for all who aggregate rows, between rows and totals: totals answer
where the question asks for whole local days of their zone, nothing is filtered and nothing is split
that they do not hold, and every measure adds up from them; else the rows answer, as ever.
"""

import datetime as dt
import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from analytics.catalog import ENTITY, SEGMENT, Catalog, Dimension, Measure
from analytics.entities import (
    Rows,
    active_day_rows,
    amounts,
    by_item,
    flag,
    order_line_rows,
    rows_of,
    session_rows,
    slice_names,
)
from analytics.period import between
from analytics.scope import (
    Scope,
    Window,
    clock_changes,
    column_of,
    day_number,
    day_of,
    instant,
    start_of_day,
)
from storage.schema import events, items, orders, people
from storage.sql import DuckDialect, Sql, icount, isum
from storage.totals import (
    TOTALS,
    Kept,
    Writes,
    day_visits,
    item_days,
    person_day_visits,
    person_days,
    totals_kept,
)

#: Visits are cut and named as of a day on either side of what is read (`entities.session_rows`).
MARGIN = dt.timedelta(days=1)

#: A visit that is longer can be told neither from a part of the rows nor from its day.
LONGEST_VISIT_S = 23 * 3600

#: In so many days no zone changes its clocks oftener than `clock_changes` tells.
FEW_CLOCK_CHANGES_DAYS = 366

#: More runs of days than this are refreshed as one.
MOST_RUNS = 8

#: The dimensions of a visit that are kept: columns of its events.
HELD = ("country", "channel", "device")

#: Sums per visit that are kept under their own names; the flags among them are 0 or 1 per visit.
FLAGS = ("carted", "ordered", "abandoned")
SUMS = ("seconds", "events", "pages", *FLAGS)

BY_HELD = tuple(Dimension(n, n, n, columns=(f"events.{n}",)) for n in HELD)


# --- which questions ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Aggregated:
    """Rows to aggregate, and what to ask of them: other measures, where they are totals."""

    rows: sa.FromClause
    asked: Mapping[Measure, Measure]
    is_totals: bool


def source_of(
    entity: str, scope: Scope, measures: Sequence[Measure], *, by_person: bool = False
) -> Aggregated:
    """The entity's totals where they answer exactly, else its rows. Raises CannotAnswerError.

    `by_person`: the rows that come back have to say whose they are.
    """
    asked = {m: summed(m) for m in measures}
    by_person = by_person or any(m.column == "person_id" for m in measures)
    rows = totals_of(entity, scope, by_person=by_person) if all(asked.values()) else None
    if rows is None:
        return Aggregated(rows_of(entity, scope), {m: m for m in measures}, is_totals=False)
    return Aggregated(rows, {m: s for m, s in asked.items() if s is not None}, is_totals=True)


def summed(measure: Measure) -> Measure | None:
    """A measure of the entity's rows as one of its totals; None where it does not add up."""
    match measure:
        case Measure(entity="active_days", aggregate="count", column="" | "person_id", where=()):
            return measure
        case Measure(entity="active_days", aggregate="distinct", column="person_id", where=()):
            return measure
        case Measure(entity="sessions", aggregate="count", column="", where=()):
            return replace(measure, aggregate="sum", column="visits")
        case Measure(entity="sessions", aggregate="count", column="seconds", where=()):
            return replace(measure, aggregate="sum", column="timed")
        case Measure(entity="sessions", aggregate="sum", where=()) if measure.column in SUMS:
            return measure
        case Measure(entity="sessions", aggregate="distinct", column="person_id", where=()):
            return measure
        case Measure(
            entity="sessions", aggregate="distinct", column="person_id", where=((name, (1,)),)
        ) if name in FLAGS:
            return replace(measure, where=((f"any_{name}", (1,)),))
        case Measure(entity="order_lines", aggregate="sum" | "distinct") if measure.column in (
            "quantity",
            "amount_cents",
            "item_id",
        ) and of_items(measure):
            return measure
        case Measure(entity="order_lines", aggregate="count", column="") if of_items(measure):
            return replace(measure, aggregate="sum", column="lines")
        case Measure(entity="orders", aggregate="sum") if measure.column in (
            "amount_cents",
            "returned_cents",
        ) and all(name == "kind" for name, _ in measure.where):
            return measure
        case _:
            return None


def of_items(measure: Measure) -> bool:
    """Whether a measure of order lines looks only at what is the same all over an item's day."""
    return all(name in ("kind", "item_id", "is_product") for name, _ in measure.where)


def totals_of(entity: str, scope: Scope, *, by_person: bool) -> sa.FromClause | None:
    """The entity's totals per day in the scope's span; None where they don't know the question.

    Those of visits bear their number as `visits`, those of order lines as `lines`.
    """
    span = whole_days(scope)
    if span is None or scope.totals is None:
        return None
    match entity:
        case "active_days" if not scope.dimensions and not scope.filters:
            chosen: Rows = sa.select(person_days.c.person_id, person_days.c.day)
            return chosen.where(*within(person_days, span)).subquery(entity)
        case "sessions" if not scope.filters and scope.totals.whole_visits:
            return visits_kept(scope, span, by_person=by_person)
        case "order_lines" | "orders" if of_items_only(scope):
            return lines_kept(entity, scope, span)
        case _:
            return None


def whole_days(scope: Scope) -> tuple[int, int] | None:
    """The day numbers `first <= day < end` of the span that is read, where all of its windows are
    whole local days of the zone that totals are kept in; else None.
    """
    zone = scope.zone
    if scope.totals is None or scope.totals.zone != zone.key:
        return None
    for w in scope.windows:
        if (w.since, w.until) != (start_of_day(w.start, zone), start_of_day(w.end, zone)):
            return None
    first, end = local_date(scope.since, zone), max(w.end for w in scope.windows)
    if start_of_day(first, zone) != scope.since or start_of_day(end, zone) != scope.until:
        return None
    return day_number(first), day_number(end)


def local_date(at: dt.datetime, zone: ZoneInfo) -> dt.date:
    """The local day of a naive UTC instant."""
    return at.replace(tzinfo=dt.UTC).astimezone(zone).date()


def within(table: sa.Table, span: tuple[int, int]) -> tuple[Sql, Sql]:
    """A day inside a span."""
    first, end = span
    return (
        table.c.day >= sa.literal(first, sa.BigInteger),
        table.c.day < sa.literal(end, sa.BigInteger),
    )


def visits_kept(scope: Scope, span: tuple[int, int], *, by_person: bool) -> sa.FromClause | None:
    """The visits' totals with the question's slices, by person only where they are asked for or
    split by; None where a slice is not held.
    """
    places = [scope.place(ENTITY["sessions"], d) for d in scope.slices]
    of_people = "people" in places
    kept = person_day_visits if by_person or of_people else day_visits
    main: sa.FromClause = kept
    if of_people:
        main = kept.outerjoin(people, people.c.person_id == kept.c.person_id)
    slices: list[Sql] = []
    for dimension, table, name in zip(scope.slices, places, slice_names(scope), strict=True):
        path = dimension.path(table) if table else None
        if table == "events" and path is not None and path[0] in HELD and not path[1]:
            slices.append(kept.c[path[0]].label(name))
        elif table == "people":
            slices.append(column_of(dimension, "people", people).label(name))
        else:
            return None
    numbers: list[Sql] = [kept.c[n] for n in ("day", "visits", "timed", *SUMS)]
    if kept is person_day_visits:
        numbers += [kept.c.person_id, *(flag(kept.c[n] > 0).label(f"any_{n}") for n in FLAGS)]
    chosen = sa.select(*numbers, *slices).select_from(main)
    return chosen.where(*within(kept, span)).subquery("sessions")


def of_items_only(scope: Scope) -> bool:
    """Whether all that is filtered or split by is known of an item."""
    places = {scope.place(ENTITY["order_lines"], d) for d in scope.dimensions}
    named = any(f.dimension == SEGMENT.name for f in scope.filters)
    return places <= {"items"} and not named


def lines_kept(entity: str, scope: Scope, span: tuple[int, int]) -> sa.FromClause | None:
    """The items' totals with the question's slices; of orders only what is asked by item."""
    if entity == "orders" and not by_item(scope):
        return None
    kept = item_days
    main = kept.outerjoin(items, items.c.item_id == kept.c.item_id)
    values = {d.name: column_of(d, "items", items) for d in scope.dimensions}
    slices: list[Sql] = [
        values[d.name].label(name) for d, name in zip(scope.slices, slice_names(scope), strict=True)
    ]
    own: tuple[Any, ...] = amounts(kept.c.kind, kept.c.amount_cents)
    if entity == "order_lines":
        is_product = sa.case((items.c.is_product.is_(sa.false()), 0), else_=1)
        own = (
            kept.c.item_id,
            is_product.label("is_product"),
            kept.c.lines,
            kept.c.quantity,
            kept.c.amount_cents,
        )
    chosen = sa.select(kept.c.day, kept.c.kind, *own, *slices).select_from(main)
    return chosen.where(*within(kept, span), *scope.conditions(values)).subquery(entity)


# --- how they are made --------------------------------------------------------------------------


@dataclass(frozen=True)
class Totals:
    """Keeps totals of a zone's local days (`storage.totals.Keeper`)."""

    zone: ZoneInfo

    @property
    def zone_name(self) -> str:
        """Whose days they are."""
        return self.zone.key

    @functools.cached_property
    def definition(self) -> str:
        """A digest of the statements that make them: another visit is another digest."""
        scope = scope_of_days(1, 2, self.zone)
        texts = [str(made.compile(dialect=DuckDialect())) for _, made in made_of(scope)]
        return hashlib.blake2b("\0".join(texts).encode(), digest_size=16).hexdigest()

    def refresh(self, writer: Writes, before: Kept | None, days: Iterable[int]) -> None:
        """Make them anew for the local days that overlap these UTC days, and those whose visits
        may be cut otherwise; all of them where they did not agree `before`.
        """
        writer.run(sa.delete(totals_kept))
        runs = runs_of(self.reached(d) for d in days) if before else []
        whole = before is None or before.whole_visits
        if before is None:
            for table in TOTALS:
                writer.run(sa.delete(table))
            everything = self.all_days(writer)
            runs = [everything] if everything else []
        for first, end in runs:
            if not self.days_are_whole(first, end):
                return  # stale: the rows answer
            scope = scope_of_days(first, end, self.zone)
            for table, made in made_of(scope):
                if before is not None:
                    writer.run(sa.delete(table).where(*within(table, (first, end))))
                writer.run(sa.insert(table).from_select(list(made.selected_columns.keys()), made))
            too_long = too_long_visits(scope, (first, end), everywhere=before is None)
            whole = whole and not any(writer.fetch(s).num_rows for s in too_long)
        row = {"zone": self.zone_name, "definition": self.definition, "whole_visits": whole}
        writer.run(sa.insert(totals_kept).values(**row))

    def reached(self, utc_day: int) -> tuple[int, int]:
        """The local days `first <= day < end` whose totals the rows of a UTC day may move."""
        since = dt.datetime.combine(day_of(utc_day), dt.time())
        until = since + dt.timedelta(days=1)
        first, last = local_date(since, self.zone), local_date(until, self.zone)
        earlier = local_date(start_of_day(first, self.zone) - MARGIN, self.zone)
        later = local_date(start_of_day(last + dt.timedelta(days=1), self.zone) + MARGIN, self.zone)
        return day_number(earlier), day_number(later) + 1

    def all_days(self, writer: Writes) -> tuple[int, int] | None:
        """From the first to the last row; None where there are none."""
        found = writer.fetch(
            sa.union_all(
                *(
                    sa.select(sa.func.min(at).label("first"), sa.func.max(at).label("last"))
                    for at in (events.c["at"], orders.c.ordered_at)
                )
            )
        )
        told = [as_instant(v) for c in found.columns for v in c.to_pylist() if v is not None]
        if not told:
            return None
        first, last = local_date(min(told), self.zone), local_date(max(told), self.zone)
        return day_number(first), day_number(last) + 1

    def days_are_whole(self, first: int, end: int) -> bool:
        """Whether the local date never steps back, as it does where clocks are set back over
        midnight, and no day lies before 1970.
        """
        second = dt.timedelta(seconds=1)
        for begin in range(first, end, FEW_CLOCK_CHANGES_DAYS):
            last = min(begin + FEW_CLOCK_CHANGES_DAYS, end)
            since, until = (start_of_day(day_of(d), self.zone) for d in (begin, last))
            for at, _ in clock_changes(self.zone, since - second, until)[1:]:
                if local_date(at - second, self.zone) > local_date(at, self.zone):
                    return False
        return first >= 0


def as_instant(told: Any) -> dt.datetime:
    """SQLite keeps microseconds."""
    if isinstance(told, dt.datetime):
        return told
    return dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=told)  # noqa: DTZ001 - naive UTC


def scope_of_days(first: int, end: int, zone: ZoneInfo) -> Scope:
    """Everything on the local days `first <= day < end`, by the dimensions that are held."""
    window = Window.of("kept", between(day_of(first), day_of(end)), zone)
    by, *also = BY_HELD
    return Scope(zone, (window,), Catalog(dimensions=BY_HELD), by=by, also=tuple(also))


def runs_of(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same days as few spans, in order."""
    runs: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if runs and first <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
        else:
            runs.append((first, end))
    return runs if len(runs) <= MOST_RUNS else [(runs[0][0], runs[-1][1])]


def made_of(scope: Scope) -> tuple[tuple[sa.Table, Rows], ...]:
    """Each table of totals, and the query that makes it for the scope's days; it may read those
    before it. Rows come by day and person, so that a period's lie together.
    """
    plain = scope.slicing(None)
    visits = session_rows(scope).subquery("visits")
    lines = order_line_rows(plain).subquery("sold")
    held = [visits.c[n].label(h) for n, h in zip(slice_names(scope), HELD, strict=True)]
    visit_day = scope.local_day(visits.c["at"]).label("day")
    line_day = scope.local_day(lines.c["at"]).label("day")

    def total(column: Sql, name: str) -> Sql:
        return sa.func.coalesce(isum(column), 0).label(name)

    of_visits: Rows = sa.select(
        visit_day,
        visits.c.person_id,
        *held,
        icount().label("visits"),
        sa.cast(sa.func.count(visits.c.seconds), sa.BigInteger).label("timed"),
        total(visits.c.seconds, "seconds"),
        sa.func.coalesce(sa.func.max(visits.c.seconds), 0).label("longest"),
        *(total(visits.c[n], n) for n in SUMS if n != "seconds"),
    ).group_by(visit_day, visits.c.person_id, *held)
    (window,) = scope.windows
    span = day_number(window.start), day_number(window.end)
    every = person_day_visits
    dimensions = [every.c[n] for n in HELD]
    of_days: Rows = (
        sa.select(
            every.c.day,
            *dimensions,
            *(isum(every.c[n]).label(n) for n in ("visits", "timed", *SUMS)),
        )
        .where(*within(every, span))
        .group_by(every.c.day, *dimensions)
    )
    of_items: Rows = sa.select(
        line_day,
        lines.c.item_id,
        lines.c.kind,
        icount().label("lines"),
        total(lines.c.quantity, "quantity"),
        total(lines.c.amount_cents, "amount_cents"),
    ).group_by(line_day, lines.c.item_id, lines.c.kind)
    return (
        (person_days, active_day_rows(plain).order_by("day", "person_id")),
        (person_day_visits, of_visits.order_by(visit_day, visits.c.person_id)),
        (day_visits, of_days),
        (item_days, of_items),
    )


def too_long_visits(scope: Scope, span: tuple[int, int], *, everywhere: bool) -> list[Rows]:
    """Queries that find a row where a visit is too long to be told from its day.

    Besides those that are seen to be long: a session with an event on the days in the middle, on
    which the rows changed, and one outside of all. Where all rows were read there is no outside.
    """
    kept = person_day_visits
    one = sa.literal_column("1", sa.Integer).label("x")
    long: Rows = (
        sa.select(one).where(*within(kept, span), kept.c.longest >= LONGEST_VISIT_S).limit(1)
    )
    if everywhere:
        return [long]
    at = events.c["at"]
    middle = (at >= instant(scope.since + MARGIN), at < instant(scope.until - MARGIN))
    outside = sa.or_(at < instant(scope.since), at >= instant(scope.until))
    here = (
        sa.select(events.c.person_id, events.c.session_id)
        .where(events.c.session_id.is_not(None), *middle)
        .distinct()
        .subquery("here")
    )
    elsewhere: Rows = (
        sa.select(one)
        .select_from(
            events.join(
                here,
                sa.and_(
                    events.c.person_id == here.c.person_id,
                    events.c.session_id == here.c.session_id,
                ),
            )
        )
        .where(outside)
        .limit(1)
    )
    return [long, elsewhere]
