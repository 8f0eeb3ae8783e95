"""Asks the store for metrics: one query per entity, whatever the metrics, windows and slices.

Each measure becomes one conditional aggregate per window, so "now" and "before" (or as many
windows as there are) come from one pass over the entity's rows; the idea of metrics that declare
their aggregates is tea-tasting's. What is unknown is None, with the reason beside it.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from analytics.catalog import ENTITY, Entity, Measure, Metric
from analytics.entities import CannotAnswerError, slices_of
from analytics.result import Note, Number, Value
from analytics.scope import Scope, Window, day_number, day_of, days_before, instant, start_of_day
from analytics.totals import source_of
from analytics.words import date_words, listed
from storage.schema import EPOCH, events, order_lines, orders, people, ratings
from storage.sql import Sql, distinct_where, isum, json_text
from storage.store import Store

#: Far enough back for `ever`.
ALL_DAYS = 1_000_000

#: What a query brought: (measure, number of the window) -> value.
Quantities = dict[tuple[Measure, int], int]

#: Rows, windows and slices: a slice is its values, one for each dimension that cuts.
Slices = dict[tuple[Value, ...], Quantities]


@dataclass(frozen=True)
class Reading:
    """A metric's value and sample in each window; `note` says why one is unknown or uncertain."""

    metric: Metric
    values: tuple[Number, ...]
    samples: tuple[int | None, ...]
    note: str = ""

    @property
    def now(self) -> Number:
        """The value in the first window."""
        return self.values[0]

    @property
    def before(self) -> Number:
        """The value in the second window; None where there is none."""
        return self.values[1] if len(self.values) > 1 else None


@dataclass(frozen=True)
class Span:
    """The local days of the first and last row of a table."""

    first: dt.date
    last: dt.date

    def days_in(self, window: Window) -> int:
        """How many days of a window it covers."""
        end = min(window.end, self.last + dt.timedelta(days=1))
        return max((end - max(window.start, self.first)).days, 0)


Spans = dict[str, Span]


def spans_of(store: Store, zone: ZoneInfo, tables: Sequence[str] = ()) -> Spans:
    """For each table that has rows, the days from which to which it has them. One query.

    `tables` are those to look at; all where none is named.
    """
    clocks = (
        ("people", people.c.first_seen_at, sa.true()),
        ("orders", orders.c.ordered_at, sa.true()),
        ("order_lines", orders.c.ordered_at, sa.exists(sa.select(order_lines.c.order_id))),
        ("events", events.c["at"], sa.true()),
        ("ratings", ratings.c["at"], sa.true()),
    )

    def ends(name: str, at: Any, condition: Any) -> sa.Select[*tuple[Any, ...]]:
        found: list[Any] = [sa.func.min(at), sa.func.max(at)]
        if store.engine.one_end_at_a_time:
            found = [sa.select(end).where(condition).scalar_subquery() for end in found]
            condition = sa.true()
        named = sa.literal_column(f"'{name}'", sa.Text).label("name")
        return sa.select(named, found[0].label("first_at"), found[1].label("last_at")).where(
            condition
        )

    parts = [ends(*clock) for clock in clocks if not tables or clock[0] in tables]
    found = {
        r["name"]: Span(local_date(r["first_at"], zone), local_date(r["last_at"], zone))
        for r in store.known(sa.union_all(*parts))
        if r["first_at"] is not None
    }
    if "people" in found:  # nobody new for a while is a fact, not an end of the data
        last = max(s.last for s in found.values())
        found["people"] = Span(found["people"].first, last)
    return found


def local_date(at: dt.datetime, zone: ZoneInfo) -> dt.date:
    """The local day of a naive UTC instant."""
    return at.replace(tzinfo=dt.UTC).astimezone(zone).date()


def span_of(entity: Entity, spans: Spans) -> Span | None:
    """The days that an entity's tables cover together; None where one is empty that it needs."""
    found = [spans[t] for t in entity.needs if t in spans]
    if not found or (len(found) < len(entity.needs) and not entity.needs_any):
        return None
    if entity.needs_any:
        return Span(min(s.first for s in found), max(s.last for s in found))
    return found[0]


# --- queries ------------------------------------------------------------------------------------


def aggregate(measure: Measure, rows: sa.FromClause, *conditions: Sql) -> Sql:
    """The measure over those of the entity's rows for which the conditions hold.

    The building block of totals, series and of sums per person (`per_person`).
    """
    wanted = [*conditions, *(holds(rows, name, values) for name, values in measure.where)]
    if measure.aggregate == "count":
        value: Sql = value_of(rows, measure.column) if measure.column else sa.literal_column("1")
        return sa.func.count(sa.case((sa.and_(*wanted), value)) if wanted else value)
    value = value_of(rows, measure.column)
    if measure.aggregate == "distinct":
        plain: Sql = sa.func.count(sa.distinct(value))
        return distinct_where(value, sa.and_(*wanted)) if wanted else plain
    chosen = sa.case((sa.and_(*wanted), value)) if wanted else value
    return sa.func.coalesce(isum(chosen), sa.literal_column("0"))


def value_of(rows: sa.FromClause, column: str) -> Sql:
    """A column of the rows, or a key of one of its JSON columns."""
    name, _, key = column.partition(".")
    found: Sql = rows.c[name]
    return json_text(found, sa.literal(key)) if key else found


def holds(rows: sa.FromClause, column: str, values: tuple[Any, ...]) -> Sql:
    """The column has one of the values; flags are 0 or 1."""
    plain = [int(v) if isinstance(v, bool) else v for v in values]
    if "." in column:
        plain = [str(v) for v in plain]
    value = value_of(rows, column)
    return value == plain[0] if len(plain) == 1 else value.in_(plain)


def reached(measure: Measure, rows: sa.FromClause, scope: Scope, number: int) -> Sql:
    """The rows that a measure takes for one of the scope's windows."""
    window = scope.windows[number]
    match "day" if "day" in rows.c else ENTITY[measure.entity].clock:
        case "window":
            return rows.c.window == sa.literal_column(str(number))
        case "day":
            until: Sql = sa.literal_column(str(day_number(window.end)))
            if measure.reach == "ever":
                return rows.c.day < until
            start: Sql = sa.literal_column(str(day_number(first_day(measure, window))))
            return sa.and_(rows.c.day >= start, rows.c.day < until)
        case "at":
            before_end = rows.c["at"] < instant(window.until)
            if measure.reach == "ever":
                return before_end
            since = start_of_day(first_day(measure, window), scope.zone)
            return sa.and_(rows.c["at"] >= instant(since), before_end)


def first_day(measure: Measure, window: Window) -> dt.date:
    """The first day that a measure looks at."""
    if isinstance(measure.reach, int):
        return days_before(window.end, measure.reach)
    return EPOCH.date() if measure.reach == "ever" else window.start


def lookback(measures: Iterable[Measure]) -> int:
    """How many days before a window's end must be read."""
    days = [
        m.reach if isinstance(m.reach, int) else ALL_DAYS * (m.reach == "ever") for m in measures
    ]
    return max(days, default=0)


def quantities(store: Store, scope: Scope, measures: Sequence[Measure]) -> Slices:
    """The measures of one entity in every window and slice: one query.

    Raises CannotAnswerError where the entity does not know a dimension of the question.
    """
    asked = [m for m in dict.fromkeys(measures) if m.aggregate != "days"]
    if not asked:
        return {}
    entity = asked[0].entity
    scope = scope.looking_back(lookback(asked))
    source = source_of(entity, scope, asked)
    rows, read_as = source.rows, source.asked
    cells = [(m, i) for m in asked for i in range(len(scope.windows))]
    names = [f"{m.column.replace('.', '_') or 'rows'}_{n}" for n, (m, _) in enumerate(cells)]
    columns = [
        aggregate(read_as[m], rows, reached(m, rows, scope, i)).label(
            f"{scope.windows[i].name}_{name}"
        )
        for (m, i), name in zip(cells, names, strict=True)
    ]
    labels = [c.name for c in columns]
    if not scope.slices:
        row = store.row(sa.select(*columns))
        return {(): dict(zip(cells, (row[k] for k in labels), strict=True))}
    slices = slices_of(rows)
    found = store.rows(sa.select(*slices, *columns).group_by(*slices))
    return {
        tuple(r[s.name] for s in slices): dict(zip(cells, (r[k] for k in labels), strict=True))
        for r in found
    }


def daily(
    store: Store, scope: Scope, measures: Sequence[Measure]
) -> dict[Measure, dict[dt.date, int]]:
    """The measures of one entity per local day on which it has rows: one query.

    The entity is one whose rows lie in time (not `buyers`).
    """
    source = source_of(measures[0].entity, scope, measures)
    rows = source.rows
    if "day" not in rows.c:
        day = scope.local_day(rows.c["at"]).label("day")
        rows = sa.select(*rows.c, day).subquery("by_day")
    columns = [aggregate(source.asked[m], rows).label(f"v{i}") for i, m in enumerate(measures)]
    found = store.rows(sa.select(rows.c.day, *columns).group_by(rows.c.day).order_by(rows.c.day))
    return {m: {day_of(r["day"]): r[f"v{i}"] for r in found} for i, m in enumerate(measures)}


def per_person(
    measures: Sequence[Measure], rows: sa.FromClause, *conditions: Sql
) -> sa.Select[*tuple[Any, ...]]:
    """`person_id` and one column `m0, m1, ...` per measure, over the rows that the conditions keep.

    `rows` are the measures' entity's (`rows_of`), joined with whatever the conditions speak of:
    an experiment joins first exposures and keeps what came after them.
    """
    columns = [aggregate(m, rows).label(f"m{i}") for i, m in enumerate(measures)]
    person = rows.c.person_id
    return sa.select(person, *columns).where(person.is_not(None), *conditions).group_by(person)


# --- readings -----------------------------------------------------------------------------------


def read(store: Store, scope: Scope, metrics: Sequence[Metric], spans: Spans) -> list[Reading]:
    """Each metric in each window, unsliced."""
    found, refused = gather(store, scope.slicing(None), metrics, spans)
    whole = found.get((), {})
    return [reading(m, scope, whole, whole, spans, refused) for m in metrics]


def readings_by_slice(
    scope: Scope,
    metrics: Sequence[Metric],
    spans: Spans,
    found: Slices,
    refused: dict[str, str],
) -> dict[Value, list[Reading]]:
    """Readings of quantities per slice; what a slice has no rows of is zero."""
    everywhere: Quantities = {}
    for values in found.values():
        for cell, value in values.items():
            everywhere[cell] = everywhere.get(cell, 0) + value
    return {
        key[0]: [
            reading(m, scope, dict.fromkeys(everywhere, 0) | values, everywhere, spans, refused)
            for m in metrics
        ]
        for key, values in found.items()
    }


def gather(
    store: Store, scope: Scope, metrics: Sequence[Metric], spans: Spans
) -> tuple[Slices, dict[str, str]]:
    """All quantities the metrics need, one query per entity, and why an entity can't answer."""
    by_entity: dict[str, list[Measure]] = {}
    for measure in (m for metric in metrics for m in metric.measures):
        by_entity.setdefault(measure.entity, []).append(measure)
    found: Slices = {}
    refused: dict[str, str] = {}
    for entity, measures in by_entity.items():
        if span_of(ENTITY[entity], spans) is None:
            continue
        try:
            slices = quantities(store, scope, measures)
        except CannotAnswerError as error:
            refused[entity] = f"Not told apart by {listed(error.dimensions)}."
            continue
        for key, values in slices.items():
            found.setdefault(key, {}).update(values)
    return found, refused


def reading(
    metric: Metric,
    scope: Scope,
    values: Quantities,
    everywhere: Quantities,
    spans: Spans,
    refused: dict[str, str],
) -> Reading:
    """A metric from its quantities; `everywhere` are those of all slices together."""
    results: list[Number] = []
    samples: list[int | None] = []
    notes: list[str] = []
    for i, window in enumerate(scope.windows):
        why = why_unknown(metric, window, spans, refused)
        if not why and metric.proof is not None:
            known = sum(everywhere.get((metric.proof, n), 0) for n in range(len(scope.windows)))
            why = "" if known else metric.unproven
        value, sample = (None, None) if why else computed(metric, values, i, window, spans)
        if not why and value is None and metric.denominator is not None:
            why = f"No {ENTITY[metric.denominator.entity].label} to measure it by."
        results.append(value)
        samples.append(sample)
        notes.append(why)
    return Reading(metric, tuple(results), tuple(samples), note_of(metric, notes, samples))


def computed(
    metric: Metric, values: Quantities, number: int, window: Window, spans: Spans
) -> tuple[Number, int | None]:
    """The value in one window, and the sample where the metric is a ratio."""
    top = values.get((metric.numerator, number), 0)
    if metric.denominator is None:
        return (top if metric.scale == 1 else top * metric.scale), None
    if metric.denominator.aggregate == "days":
        span = span_of(ENTITY[metric.denominator.entity], spans)
        days = span.days_in(window) if span else 0
        return (metric.scale * top / days if days else None), None
    sample = values.get((metric.denominator, number), 0)
    return (metric.scale * top / sample if sample else None), sample


def why_unknown(metric: Metric, window: Window, spans: Spans, refused: dict[str, str]) -> str:
    """Why a metric can't be known in a window; empty where it can."""
    for measure in metric.measures:
        entity = ENTITY[measure.entity]
        if entity.name in refused:
            return refused[entity.name]
        span = span_of(entity, spans)
        if span is None:
            return f"No {absent(entity, spans)} are loaded."
        tables = "data" if entity.needs_any or entity.name == "people" else entity.needs[0]
        if window.end <= span.first:
            return f"The {tables} begin on {date_words(span.first)}."
        if window.start > span.last:
            return f"The {tables} end on {date_words(span.last)}."
        if isinstance(measure.reach, int) and first_day(measure, window) < span.first:
            return f"It takes {measure.reach} days; the {tables} begin on {date_words(span.first)}."
    return ""


def absent(entity: Entity, spans: Spans) -> str:
    """The rows that would have to be loaded first."""
    lacking = [t.replace("_", " ") for t in entity.needs if t not in spans]
    return " or ".join(lacking) if entity.needs_any else lacking[0]


def note_of(metric: Metric, notes: list[str], samples: list[int | None]) -> str:
    """What to mind about a reading: why it is unknown, or how small its sample is."""
    if notes[0]:
        return notes[0]
    sample = samples[0]
    if sample is not None and sample < metric.minimum:
        return f"Small sample: n = {sample:,}."
    if any(notes[1:]):
        return f"Before: {next(n for n in notes[1:] if n)}"
    if len(samples) > 1 and samples[1] is not None and samples[1] < metric.minimum:
        return f"Small sample before: n = {samples[1]:,}."
    return f"n = {sample:,}" if sample is not None and metric.group == "Satisfaction" else ""


def coverage_notes(scope: Scope, spans: Spans, tables: Sequence[str]) -> list[Note]:
    """Warnings where the data cover a window in part or not at all; the earlier window first."""
    found = {t: spans[t] for t in tables if t in spans}
    if not found:
        return []
    together = Span(min(s.first for s in found.values()), max(s.last for s in found.values()))
    names = ["this period", "the period before", *(w.name for w in scope.windows[2:])]
    windows = sorted(zip(names, scope.windows, strict=False), key=lambda pair: pair[1].start)
    notes: list[Note] = []
    for name, window in windows:
        if not together.days_in(window):
            notes.append(
                Note(f"{limit('data', together, window)}: nothing is known of {name}.", "warning")
            )
            continue
        if all(span == together for span in found.values()):
            found = {"data": together}
        for table, span in found.items():
            covered = span.days_in(window)
            if covered < window.days:
                what = f"only {covered} of the {window.days} days of {name} are known"
                what = what if covered else f"nothing of them is known in {name}"
                notes.append(Note(f"{limit(table, span, window)}: {what}.", "warning"))
    return notes


def limit(what: str, span: Span, window: Window) -> str:
    """Which end of the data a window crosses."""
    if window.start < span.first:
        return f"The {what} begin on {date_words(span.first)}"
    return f"The {what} end on {date_words(span.last)}"
