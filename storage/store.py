"""The store: the only door to the analytic data. Every read is recorded for the receipt."""

import datetime as dt
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from storage.engines import (
    Engine,
    QueryCancelledError,
    Running,
    StoppedError,
    StoreError,
    arrow_type,
    open_engine,
)
from storage.engines.base import first_line
from storage.overlay import Overlay
from storage.schema import ENTITIES, events, metadata, orders, ratings, sources
from storage.sql import icount
from storage.totals import KEPT, MADE_FROM, Keeper, Kept, kept_of

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

Select = sa.Select[*tuple[Any, ...]] | sa.CompoundSelect[*tuple[Any, ...]]


@dataclass(frozen=True)
class Read:
    """One query as it was sent."""

    sql: str
    values: tuple[Any, ...]
    rows: int
    seconds: float


@dataclass(frozen=True)
class Source:
    """Where rows of an entity came from."""

    name: str
    entity: str
    description: str
    attribution: str | None
    simulated: bool
    rows: int


class Store:
    """Reads for one question: `fork()` gives each question its own record and its own cancel.

    Reads are `select()` objects, never text. Results have the types that the query declares, the
    same on every engine: int64 (Int64 with nulls), float64, str, bool (boolean with nulls),
    datetime64[us] in UTC. Each column needs a label of its own.
    """

    def __init__(self, engine: Engine, *, seconds_limit: float | None = None) -> None:
        """`seconds_limit` bounds all reads of one question together."""
        self.engine = engine
        self.seconds_limit = seconds_limit
        self.reads: list[Read] = []
        self.tables_read: set[str] = set()
        self._running = Running()
        self._deadline = time.monotonic() + seconds_limit if seconds_limit else None

    @classmethod
    def open(
        cls,
        url: str,
        *,
        memory_limit: str = "",
        threads: int = 0,
        seconds_limit: float | None = None,
        overlays: Mapping[str, Overlay] | None = None,
        may_be_empty: bool = False,
    ) -> "Store":
        """Open by URL, and create what tables are missing or lay our entities over theirs.

        `may_be_empty`: it is opened to be filled. Raises StoreUnavailableError, or OverlayError.
        """
        engine = open_engine(
            url,
            memory_limit=memory_limit,
            threads=threads,
            has_views=not overlays,
            may_be_empty=may_be_empty,
        )
        try:
            if overlays:
                engine.lay(overlays)
            else:
                engine.create_tables()
        except BaseException:
            engine.close()
            raise
        return cls(engine, seconds_limit=seconds_limit)

    def fork(self) -> "Store":
        """The same data with an empty record, for one more question."""
        self.engine.look_again()
        return Store(self.engine, seconds_limit=self.seconds_limit)

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()

    def keep(self, keeper: Keeper) -> None:
        """Have totals per day follow the rows that are loaded, and be read where they are fresh.

        Engines that can't keep them right, tables of other people's, and a database that lets us
        make no table have none.
        """
        engine = self.engine
        if not engine.keeps_totals or engine.overlays:
            return
        refusals: tuple[type[Exception], ...] = (StoreError, *engine.faults)
        try:
            engine.create_totals()
        except refusals as error:
            log.warning("totals_not_kept", extra={"detail": first_line(error)})
            return
        engine.keeper = keeper

    def totals(self) -> Kept | None:
        """The totals per day that agree with the rows now; None where none do."""
        keeper = self.engine.keeper
        if keeper is None:
            return None
        return self._remembered("totals", lambda: kept_of(self._aside().rows(KEPT), keeper))

    def cancel(self) -> None:
        """Stop this question's running read, and refuse further ones. From any thread."""
        self._running.cancel()

    def arrow(self, statement: Select) -> pa.Table:
        """The rows, columns cast to the types that the statement declares."""
        sql, values = self.engine.compile(statement)
        started = time.monotonic()
        with self._bounded():
            table = self.engine.fetch(sql, values, self._running)
        table = conform(table, statement)
        self.reads.append(Read(sql, values, table.num_rows, time.monotonic() - started))
        if sql not in self.engine.tables_of_sql:
            self.engine.tables_of_sql[sql] = frozenset(tables_of(statement))
        self.tables_read |= self.engine.tables_of_sql[sql]
        return table

    @property
    def library(self) -> str:
        """The name of the engine's own library of methods; empty where it has none."""
        return self.engine.library.name if self.engine.library else ""

    def by_library(
        self, method: Literal["itemsets", "holding", "factors"], statement: Select, **how: Any
    ) -> pa.Table:
        """What the engine's library finds in the rows of a statement, without fetching them."""
        sql, values = self.engine.compile(statement)
        started = time.monotonic()
        with self._bounded():
            found = getattr(self.engine.library, method)(sql, values, self._running, **how)
        self.reads.append(Read(sql, values, found.num_rows, time.monotonic() - started))
        self.tables_read |= tables_of(statement)
        return found

    def frame(self, statement: Select) -> pd.DataFrame:
        """The rows as a frame."""
        return to_frame(self.arrow(statement))

    def rows(self, statement: Select) -> list[dict[str, Any]]:
        """The rows as dicts of plain Python values: for small answers."""
        return self.arrow(statement).to_pylist()  # type: ignore[no-any-return]

    def row(self, statement: Select) -> dict[str, Any]:
        """The one row of an aggregate. ValueError where there is another number of rows."""
        (row,) = self.rows(statement)
        return row

    def known(self, statement: Select) -> list[dict[str, Any]]:
        """As `rows`, for a small fact about all the data: asked once until they change, where
        nobody else writes. It stands in the record each time.
        """
        writes = self.engine.writes
        if writes is None:
            return self.rows(statement)
        sql, values = self.engine.compile(statement)
        facts = self.engine.facts
        if (sql, values, writes) not in facts:
            facts[sql, values, writes] = self.arrow(statement)
            return facts[sql, values, writes].to_pylist()  # type: ignore[no-any-return]
        table = facts[sql, values, writes]
        self.reads.append(Read(sql, values, table.num_rows, 0.0))
        self.tables_read |= self.engine.tables_of_sql.get(sql) or tables_of(statement)
        return table.to_pylist()  # type: ignore[no-any-return]

    def column(self, statement: Select) -> list[Any]:
        """The first column."""
        return self.arrow(statement).column(0).to_pylist()  # type: ignore[no-any-return]

    def stream(self, statement: Select, rows: int = 100_000) -> Iterator[pd.DataFrame]:
        """The rows in frames of at most `rows`."""
        for batch in self.arrow(statement).to_batches(max_chunksize=rows):
            yield to_frame(pa.Table.from_batches([batch]))

    def data_through(self) -> dt.datetime | None:
        """The latest instant at which anything happened, naive UTC; None in an empty store."""
        latest = [
            sa.select(sa.func.max(column).label("at"))
            for column in (orders.c.ordered_at, events.c.at, ratings.c.at)
        ]

        def ask() -> dt.datetime | None:
            found = self._aside().column(sa.union_all(*latest))
            return max((at for at in found if at is not None), default=None)

        return self._remembered("data through", ask)

    def counts(self) -> dict[str, int]:
        """Rows per entity, in the order of `ENTITIES`."""
        each = [
            sa.select(sa.literal(t.name).label("entity"), icount().label("rows")).select_from(t)
            for t in ENTITIES
        ]
        found = {r["entity"]: r["rows"] for r in self.fork().rows(sa.union_all(*each))}
        return {str(t.name): found[t.name] for t in ENTITIES}

    def sources(self, tables: set[str] | None = None) -> list[Source]:
        """Where the rows of `tables` (default: of all) came from, largest first."""
        columns = (
            sources.c.source.label("name"),
            sources.c.entity,
            sources.c.description,
            sources.c.attribution,
            sources.c.simulated,
            sources.c.rows,
        )
        chosen = sa.select(*columns).order_by(
            sources.c.rows.desc(), sources.c.source, sources.c.entity
        )
        found = self._remembered(
            "sources", lambda: [Source(**row) for row in self._aside().rows(chosen)]
        )
        return [s for s in found if tables is None or s.entity in tables]

    def _remembered(self, what: str, ask: Callable[[], Answer]) -> Answer:
        """A fact about all the data: asked once until they change, where nobody else writes."""
        writes = self.engine.writes
        if writes is None:
            return ask()
        facts = self.engine.facts
        if (what, writes) not in facts:  # a write while we ask goes under the next number
            facts[what, writes] = ask()
        return facts[what, writes]  # type: ignore[no-any-return]

    def _aside(self) -> "Store":
        """Reads that belong to the question, but not to its record."""
        aside = self.fork()
        aside._running, aside._deadline = self._running, self._deadline
        return aside

    def _bounded(self) -> "_TimeLimit":
        return _TimeLimit(self._running, self._deadline)


class _Watch:
    """One thread that cancels what runs past its deadline; a timer thread a read would cost more
    than many a read.
    """

    def __init__(self) -> None:
        # made when it is needed: a process that is forked from ours has no threads but its own
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._due: dict[int, tuple[float, Callable[[], None]]] = {}
        self._numbers = itertools.count()
        self._wakes_at = math.inf

    def add(self, deadline: float, cancel: Callable[[], None]) -> int:
        """Call `cancel` at the deadline, unless `drop(number)` comes before."""
        with self._changed:
            number = next(self._numbers)
            self._due[number] = (deadline, cancel)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="daybreak-deadlines", daemon=True
                )
                self._thread.start()
            elif deadline < self._wakes_at:
                self._changed.notify()
            return number

    def drop(self, number: int) -> None:
        """It ended in time."""
        with self._changed:
            self._due.pop(number, None)

    def _run(self) -> None:
        """Sleep until the next deadline."""
        while True:
            with self._changed:
                self._wakes_at = min((at for at, _ in self._due.values()), default=math.inf)
                left = self._wakes_at - time.monotonic()
                if left > 0:
                    self._changed.wait(None if math.isinf(left) else left)
                now = time.monotonic()
                late = [n for n, (at, _) in self._due.items() if at <= now]
                cancels = [self._due.pop(n)[1] for n in late]
            for cancel in cancels:
                cancel()


WATCH = _Watch()


class _TimeLimit:
    """Cancels a running read at the deadline, and says that it was the time."""

    def __init__(self, running: Running, deadline: float | None) -> None:
        self._running = running
        self._deadline = deadline
        self._number = -1

    def __enter__(self) -> None:
        if self._deadline is not None:
            self._number = WATCH.add(self._deadline, self._running.cancel)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._deadline is None:
            return
        WATCH.drop(self._number)
        if time.monotonic() >= self._deadline and isinstance(error, QueryCancelledError):
            raise StoppedError(
                "The question took longer than the time limit.",
                hint="Ask for a shorter period, or raise limits.seconds in config.yaml.",
            ) from error


def tables_of(statement: Select) -> set[str]:
    """The names of our tables that a statement reads, and of those that totals are made from; each
    part of it is looked at once.
    """
    found: set[str] = set()
    seen: set[int] = set()
    waiting: list[Any] = [statement]
    while waiting:
        element = waiting.pop()
        if id(element) in seen:
            continue
        seen.add(id(element))
        if isinstance(element, sa.Table) and element.name in metadata.tables:
            found.add(element.name)
        elif isinstance(element, sa.Table) and element.name in MADE_FROM:
            found |= {element.name, *MADE_FROM[element.name]}
        waiting.extend(element.get_children())
    return found


#: The pandas types of columns that hold nulls, where pandas' own choice is floats or objects.
NULLABLE = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


def conform(table: pa.Table, statement: Select) -> pa.Table:
    """Cast what an engine returned to what the statement declares."""
    columns = []
    for declared, column in zip(statement.selected_columns, table.columns, strict=True):
        wanted = arrow_type(declared.type)
        if wanted is None and is_exact_number(column.type):
            wanted = pa.float64()
        if wanted is None or column.type == wanted:
            columns.append(column)
        elif pa.types.is_decimal(column.type) and wanted == pa.int64():
            columns.append(column.cast(pa.decimal128(38, 0)).cast(wanted))
        elif wanted == pa.bool_() and not pa.types.is_boolean(column.type):
            columns.append(column.cast(pa.int64()).cast(wanted))
        elif pa.types.is_timestamp(wanted) and pa.types.is_timestamp(column.type):
            columns.append(column.cast(pa.timestamp("us", column.type.tz)).cast(wanted))
        else:
            columns.append(column.cast(wanted))
    return pa.table(columns, names=column_names(statement))


def column_names(statement: Select) -> list[str]:
    """The labels of a statement's columns. ValueError where one is missing or stands twice."""
    names = [getattr(c, "name", None) for c in statement.selected_columns]
    if None in names or len(set(names)) < len(names):
        raise ValueError(f"columns need labels of their own: {names}")
    return [str(name) for name in names]


def is_exact_number(type_: pa.DataType) -> bool:
    """A decimal, which PostgreSQL's driver hands over as text of the type numeric."""
    return pa.types.is_decimal(type_) or getattr(type_, "type_name", "") == "numeric"


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Arrow to pandas; integers and booleans that hold nulls become Int64 and boolean."""
    frame: pd.DataFrame = table.to_pandas()
    for field, column in zip(table.schema, table.columns, strict=True):
        if column.null_count and field.type in NULLABLE:
            frame[field.name] = column.to_pandas(types_mapper=NULLABLE.get)
    return frame
