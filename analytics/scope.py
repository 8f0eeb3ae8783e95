"""What part of the data a question is about: windows of time, filters, and a way to slice.

A filter's values are checked against the store before anything is computed (`resolve`): an unknown
value gets "did you mean", never an empty answer. An entity that cannot answer a filter or slice
says so (`Scope.place` is None): its figures are unknown, never silently unfiltered.
"""

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from analytics.catalog import SEGMENT, Catalog, Dimension, Entity, Members, folded
from analytics.errors import UnknownNameError, UserError
from analytics.period import Period
from storage.schema import EPOCH, Instant, metadata
from storage.sql import Sql, epoch_s, idiv, json_text, local_day
from storage.store import Store
from storage.totals import Kept

#: Above so many clock changes, local days are left to the engine's own time zones.
MOST_CLOCK_CHANGES = 24

#: Plural endings and what they stand for; a bare `s` is cut off otherwise.
PLURALS = (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("sses", "ss"))


@dataclass(frozen=True)
class Filter:
    """Rows whose `dimension` is (or, negated, is not) one of `values`.

    Rows where it is unknown are not among the values: a negated filter keeps them.
    """

    dimension: str
    values: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True)
class Filters:
    """Filters that must all hold."""

    all: tuple[Filter, ...] = ()

    def __iter__(self) -> Iterator[Filter]:
        """In the order they were said."""
        return iter(self.all)

    def __bool__(self) -> bool:
        """Whether anything is filtered."""
        return bool(self.all)

    def words(self) -> str:
        """For sentences: `country France or Spain, category not bags`; empty for none."""
        return ", ".join(
            f"{f.dimension} {'not ' if f.negated else ''}{' or '.join(f.values)}" for f in self.all
        )

    def said(self) -> str:
        """As a clause of a question: `where country:"France" and category!="bags"`."""
        texts = [
            f"{f.dimension}{'!=' if f.negated else ':'}{','.join(map(in_quotes, f.values))}"
            for f in self.all
        ]
        return f"where {' and '.join(texts)}" if texts else ""

    def plus(self, dimension: str, value: str) -> "Filters":
        """With one more filter."""
        return Filters((*self.all, Filter(dimension, (value,))))


def in_quotes(value: str) -> str:
    """A value that can't be read as anything else."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def start_of_day(day: dt.date, zone: ZoneInfo) -> dt.datetime:
    """The first instant of a local day, in naive UTC.

    Where a clock change skips midnight, the day begins at the end of the gap.
    """
    midnight = dt.datetime.combine(day, dt.time(), zone)  # in a gap: the offset before it holds
    return midnight.astimezone(dt.UTC).replace(tzinfo=None)


def instants(period: Period, zone: ZoneInfo) -> tuple[dt.datetime, dt.datetime]:
    """The period as naive UTC instants `from <= at < until`."""
    return start_of_day(period.start, zone), start_of_day(period.end, zone)


def instant(at: dt.datetime) -> Sql:
    """A naive UTC instant inside a query, as the engine keeps instants."""
    return sa.literal(at, Instant)


def day_number(day: dt.date) -> int:
    """Days since 1970-01-01: how queries count days."""
    return (day - EPOCH.date()).days


def day_of(number: int) -> dt.date:
    """The day of a day number."""
    return EPOCH.date() + dt.timedelta(days=number)


def days_before(day: dt.date, days: int) -> dt.date:
    """So many days earlier, but not before 1970."""
    return max(day - dt.timedelta(days=min(days, day_number(day))), EPOCH.date())


def in_words(period: Period) -> str:
    """The period inside a sentence: `in the last 30 days`, `last week`, `in 2026-10`."""
    first, *rest = period.words.split()
    if period.is_all_time:
        return "over all time"
    if first in ("today", "yesterday", "since", "this"):
        return period.words
    if first == "last":
        return f"in the {period.words}" if len(rest) > 1 else period.words
    if period.span != "days":
        return f"in {period.words}"
    return f"on {period.words}" if period.days == 1 else f"from {period.start} to {period.last_day}"


def previous_in_words(period: Period) -> str:
    """What a period is compared with: `the 30 days before`, `the week before`."""
    if period.span != "days":
        return f"the {period.span} before"
    return "the day before" if period.days == 1 else f"the {period.days} days before"


@dataclass(frozen=True)
class Window:
    """Local days `start <= day < end` and the same as naive UTC instants."""

    name: str
    start: dt.date
    end: dt.date
    since: dt.datetime
    until: dt.datetime

    @classmethod
    def of(cls, name: str, period: Period, zone: ZoneInfo) -> "Window":
        """A period as a window."""
        return cls(name, period.start, period.end, *instants(period, zone))

    @property
    def days(self) -> int:
        """Its length."""
        return (self.end - self.start).days


@dataclass(frozen=True)
class Scope:
    """Windows, filters and slice of a question, with what the store can say about them.

    `filters` hold stored spellings. `also` are further dimensions to slice by: one slice for each
    combination of values. `blank` are the pairs (dimension, table) where the table's
    column holds no value at all: there the entity looks to its next table. `lookback` is how many
    days before a window's end are read at least. `members` are the saved segments that the
    filters name. `totals` are those per day that agree with the rows (`totals.py`).
    """

    zone: ZoneInfo
    windows: tuple[Window, ...]
    catalog: Catalog
    filters: Filters = field(default_factory=Filters)
    by: Dimension | None = None
    blank: frozenset[tuple[str, str]] = frozenset()
    lookback: int = 0
    also: tuple[Dimension, ...] = ()
    members: tuple[Members, ...] = ()
    totals: Kept | None = None

    @property
    def since(self) -> dt.datetime:
        """The first instant that is read."""
        back = [days_before(w.end, self.lookback) for w in self.windows if self.lookback]
        return (
            min(w.since for w in self.windows)
            if not back
            else min(
                *(w.since for w in self.windows), *(start_of_day(day, self.zone) for day in back)
            )
        )

    @property
    def until(self) -> dt.datetime:
        """The end of the last window."""
        return max(w.until for w in self.windows)

    @property
    def slices(self) -> tuple[Dimension, ...]:
        """The dimensions that the rows are cut by, in the order of the slices' values."""
        return (*((self.by,) if self.by else ()), *self.also)

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The dimensions that rows must know: those of the filters, and the slice."""
        names = [f.dimension for f in self.filters if f.dimension != SEGMENT.name]
        names += [d.name for d in self.slices]
        return tuple(self.catalog.dimension(n) for n in dict.fromkeys(names))

    def looking_back(self, days: int) -> "Scope":
        """The same, reading at least so many days before each window's end."""
        return replace(self, lookback=max(days, self.lookback))

    def slicing(self, by: Dimension | None, *also: Dimension) -> "Scope":
        """The same, cut by other dimensions or not at all."""
        return replace(self, by=by, also=also)

    def place(self, entity: Entity, dimension: Dimension) -> str | None:
        """The table from which the entity takes a dimension; None where it has none."""
        for table in entity.tables:
            if dimension.path(table) and (dimension.name, table) not in self.blank:
                return table
        return None

    def missing(self, entity: Entity) -> tuple[Dimension, ...]:
        """The dimensions of this question that the entity's rows do not know."""
        return tuple(d for d in self.dimensions if self.place(entity, d) is None)

    def within(self, column: Sql) -> Sql:
        """An instant inside the span of all windows."""
        return sa.and_(column >= instant(self.since), column < instant(self.until))

    def conditions(self, values: dict[str, Sql]) -> list[Sql]:
        """The filters as conditions; `values` has an expression per dimension's name."""
        return [
            condition(f, values[f.dimension]) for f in self.filters if f.dimension != SEGMENT.name
        ]

    def of_everybody(self) -> "Scope":
        """The same without saved segments: what foretells must not be learnt from people who were
        chosen by what they did since.
        """
        kept = tuple(f for f in self.filters if f.dimension != SEGMENT.name)
        return replace(self, filters=Filters(kept), members=())

    def whose(self, person_id: Sql) -> list[Sql]:
        """The saved segments among the filters, as conditions on whoever did something.

        Nobody known is in no segment, and passes a negated filter.
        """
        conditions: list[Sql] = []
        for wanted in self.filters:
            if wanted.dimension == SEGMENT.name:
                named = [m for m in self.members if m.name in wanted.values]
                within = sa.or_(*(person_id.in_(m.people()) for m in named))
                outside = sa.or_(person_id.is_(None), sa.not_(within))
                conditions.append(outside if wanted.negated else within)
        return conditions

    def local_day(self, at: Sql) -> Sql:
        """The local day number of an instant in the span that is read.

        The zone's few clock changes in that span are written out: an addition and a division, the
        same on every engine and far cheaper than the engine's own zone conversion.
        """
        if len(clock_changes(self.zone, self.since, self.until)) > MOST_CLOCK_CHANGES:
            return local_day(at, sa.literal(self.zone.key))  # type: ignore[no-any-return]
        return idiv(self.local_second(at), sa.literal_column("86400"))  # type: ignore[no-any-return]

    def local_hour(self, at: Sql) -> Sql:
        """The local hour number, 24 a day, of an instant in a span of few clock changes."""
        return idiv(self.local_second(at), sa.literal_column("3600"))  # type: ignore[no-any-return]

    def local_second(self, at: Sql) -> Sql:
        """Seconds that the local clock shows since 1970, of an instant in the span that is read."""
        changes = clock_changes(self.zone, self.since, self.until)
        *later, (_, first) = reversed(changes)
        offset: Sql = sa.literal_column(str(first))
        if later:
            offset = sa.case(
                *((at >= instant(a), sa.literal_column(str(o))) for a, o in later),
                else_=offset,
            )
        return epoch_s(at) + offset  # type: ignore[no-any-return]


def clock_changes(
    zone: ZoneInfo, since: dt.datetime, until: dt.datetime
) -> list[tuple[dt.datetime, int]]:
    """(from naive UTC instant, offset in seconds) of a zone in a span; the first is at `since`."""

    def offset(at: dt.datetime) -> int:
        shift = at.replace(tzinfo=dt.UTC).astimezone(zone).utcoffset()
        return int(shift.total_seconds()) if shift else 0

    changes = [(since, offset(since))]
    at = since
    while at < until and len(changes) <= MOST_CLOCK_CHANGES:
        later = min(at + dt.timedelta(days=1), until)
        if offset(later) != changes[-1][1]:
            same, seconds = 0, math.ceil((later - at).total_seconds())
            while seconds - same > 1:  # the change lies in (same, seconds]
                middle = (same + seconds) // 2
                if offset(at + dt.timedelta(seconds=middle)) == changes[-1][1]:
                    same = middle
                else:
                    seconds = middle
            change = at + dt.timedelta(seconds=seconds)
            changes.append((change, offset(change)))
        at = later
    return changes


def condition(wanted: Filter, value: Sql) -> Sql:
    """A filter on the expression that holds its dimension."""
    if wanted.negated:
        return sa.or_(value.is_(None), value.not_in(wanted.values))
    return value.in_(wanted.values)


def column_of(dimension: Dimension, table: str, source: sa.FromClause) -> Sql:
    """A dimension's expression over a table (or an alias of it); empty text is unknown."""
    path = dimension.path(table)
    if path is None:
        raise KeyError(f"{dimension.name} has no column in {table}")
    name, key = path
    column: Sql = source.c[name]
    return sa.func.nullif(json_text(column, sa.literal(key)) if key else column, "")


def values_of(store: Store, dimension: Dimension) -> dict[str, list[str]]:
    """The values that a dimension has in the store, per table that may hold it."""
    parts = []
    for path in dimension.columns:
        table = path.partition(".")[0]
        value = column_of(dimension, table, metadata.tables[table])
        name = sa.literal_column(f"'{table}'", sa.Text)
        value = sa.type_coerce(value, sa.Text)
        parts.append(sa.select(name.label("place"), value.label("value")).distinct())
    found: dict[str, list[str]] = {p.partition(".")[0]: [] for p in dimension.columns}
    for row in store.rows(sa.union_all(*parts)):
        if row["value"] is not None:
            found[row["place"]].append(row["value"])
    return {table: sorted(values) for table, values in found.items()}


def blank_places(store: Store, dimensions: Sequence[Dimension]) -> frozenset[tuple[str, str]]:
    """The pairs (dimension, table) whose column holds no value at all. One query."""
    parts = []
    for dimension in dimensions:
        for table in dict.fromkeys(path.partition(".")[0] for path in dimension.columns):
            value = column_of(dimension, table, metadata.tables[table])
            some = sa.exists(sa.select(sa.literal_column("1")).where(value.is_not(None)))
            parts.append(
                sa.select(
                    sa.literal_column(f"'{dimension.name}'", sa.Text).label("dimension"),
                    sa.literal_column(f"'{table}'", sa.Text).label("place"),
                ).where(sa.not_(some))
            )
    if not parts:
        return frozenset()
    return frozenset((r["dimension"], r["place"]) for r in store.rows(sa.union_all(*parts)))


def scope_of(
    store: Store,
    catalog: Catalog,
    zone: ZoneInfo,
    periods: Sequence[tuple[str, Period]],
    filters: Filters = Filters(),
    by: Dimension | None = None,
) -> Scope:
    """The scope of a question: named periods, with filters checked against the store.

    Raises UnknownNameError for a dimension, value or segment that is not known.
    """
    if by == SEGMENT:
        raise UserError(
            "Saved segments overlap, so nothing can be split by them.",
            hint="Compare two: `kpis for segment loyal vs segment new`.",
        )
    windows = tuple(Window.of(name, period, zone) for name, period in periods)
    blank: set[tuple[str, str]] = set()
    found: dict[str, dict[str, list[str]]] = {}
    wanted = [catalog.find_dimension(f.dimension) for f in filters] + ([by] if by else [])
    members = {
        value: catalog.find_segment(value)
        for f, d in zip(filters, wanted, strict=False)
        for value in f.values
        if d == SEGMENT
    }
    for dimension in wanted:
        if dimension.name not in found and dimension != SEGMENT:
            found[dimension.name] = values_of(store, dimension)
            blank |= {(dimension.name, t) for t, v in found[dimension.name].items() if not v}
    spelled = tuple(
        replace(
            f,
            dimension=d.name,
            values=tuple(dict.fromkeys(members[v].name for v in f.values))
            if d == SEGMENT
            else spell(d, f.values, found[d.name]),
        )
        for f, d in zip(filters, wanted, strict=False)
    )
    return Scope(
        zone,
        windows,
        catalog,
        Filters(spelled),
        by,
        frozenset(blank),
        members=tuple(dict.fromkeys(members.values())),
        totals=store.totals(),
    )


def resolve(store: Store, catalog: Catalog, filters: Filters) -> Filters:
    """The filters in the store's spelling; UnknownNameError with what was probably meant."""
    found = {f.dimension: catalog.find_dimension(f.dimension) for f in filters}
    known = {d.name: values_of(store, d) for d in found.values()}
    return Filters(
        tuple(
            replace(f, dimension=d.name, values=spell(d, f.values, known[d.name]))
            for f in filters
            for d in (found[f.dimension],)
        )
    )


def spell(
    dimension: Dimension, said: tuple[str, ...], known: dict[str, list[str]]
) -> tuple[str, ...]:
    """Each value as the store spells it.

    Case, hyphens, underscores and a plural's ending do not matter; a spelling that is right to the
    letter wins.
    """
    values = sorted({v for column in known.values() for v in column})
    by_fold: dict[str, list[str]] = {}
    for value in values:
        by_fold.setdefault(folded(value), []).append(value)
        by_fold.setdefault(singular(value), []).append(value)
    spelled: list[str] = []
    for text in said:
        if text in values:
            spelled.append(text)
            continue
        matches = by_fold.get(folded(text)) or by_fold.get(singular(text))
        if not matches:
            raise UnknownNameError(dimension.name, text, values)
        spelled += matches
    return tuple(dict.fromkeys(spelled))


def singular(text: str) -> str:
    """A folded name without its plural ending, for comparison only: `Boxes` and `box` agree."""
    words = folded(text).split()
    if not words:
        return ""
    last = words[-1]
    for ending, stem in (
        ("ies", "y"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("xes", "x"),
        ("sses", "ss"),
    ):
        if last.endswith(ending) and len(last) > len(ending) + 1:
            return " ".join([*words[:-1], last.removesuffix(ending) + stem])
    if last.endswith("s") and not last.endswith(("ss", "us", "is")) and len(last) > 2:
        last = last[:-1]
    return " ".join([*words[:-1], last])
