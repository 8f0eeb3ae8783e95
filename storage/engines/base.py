"""What every engine of the analytic store has: compile, run to Arrow, write at once, cancel.

Analytic reads never go through SQLAlchemy's row fetch: Arrow is 12 to 15 times cheaper.
"""

import contextlib
import functools
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.base import Executable

from storage.overlay import Overlay, OverlayError, empty_sql, expanded, overlay_sql
from storage.schema import Instant, metadata
from storage.totals import Keeper, derived, watches

Statement = Executable | sa.ClauseElement


class StoreError(Exception):
    """The store cannot do it. `message` and `hint` may be shown; `detail` is for the log."""

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        """`message` is one sentence without SQL or paths of other people's."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


class StoreUnavailableError(StoreError):
    """The store is missing, locked, unreachable or refuses us."""


class QueryCancelledError(StoreError):
    """The query was interrupted."""


class StoppedError(QueryCancelledError):
    """A time limit, ours or the server's, stopped the query, and not who asked it."""


class OutOfMemoryError(StoreError):
    """The query needs more memory than the engine may take."""


class Running:
    """One query in flight, to be cancelled from any thread."""

    def __init__(self) -> None:
        """Nothing to interrupt yet."""
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._interrupt: Callable[[], object] | None = None
        self.cancelled = False

    def start(self, interrupt: Callable[[], object]) -> None:
        """The query begins; `interrupt()` stops it. Cancelled before: it never begins."""
        with self._lock:
            if self.cancelled:
                raise QueryCancelledError("The question was cancelled.")
            self._interrupt = interrupt

    def done(self) -> None:
        """The query has ended; there is nothing to interrupt any more."""
        with self._lock:
            self._interrupt = None
            self._ended.notify_all()

    def cancel(self) -> None:
        """Stop the query, and refuse to start another."""
        with self._lock:
            if self.cancelled:
                return
            self.cancelled = True
            if self._interrupt is None:
                return
            self._interrupt()
        threading.Thread(target=self._insist, name="cancel", daemon=True).start()

    def _insist(self) -> None:
        """Interrupt until the query ends: an engine that has not begun yet forgets the first."""
        with self._lock:
            while not self._ended.wait_for(lambda: self._interrupt is None, timeout=0.1):
                if self._interrupt is not None:
                    self._interrupt()


class Writer(ABC):
    """Writes inside one transaction: all of it is in the store afterwards, or none."""

    def __init__(self, engine: "Engine") -> None:
        """Made by `Engine.writing()`."""
        self.engine = engine

    @abstractmethod
    def run(self, statement: Statement) -> None:
        """Run a statement that returns nothing."""

    @abstractmethod
    def fetch(self, statement: Statement) -> pa.Table:
        """Run a statement inside the transaction and fetch its rows."""

    @abstractmethod
    def append(self, table: str, rows: pa.Table, *, temporary: bool = False) -> None:
        """Add rows; columns are matched by name. `temporary` makes a table for this transaction."""


#: How often an overlay looks for tables that came since.
LOOK_AGAIN_AFTER_S = 300.0


def first_line(error: Exception) -> str:
    """What an engine said, without its position and trace."""
    text = str(getattr(error, "detail", "") or error).strip()
    return text.partition("\n")[0][:300]


class Library(Protocol):
    """Methods of an engine's own library, for rows that do not fit this process.

    Each takes a statement's text and values as `Engine.fetch` does.
    """

    name: str

    def itemsets(
        self,
        sql: str,
        values: Sequence[Any],
        running: Running,
        *,
        minimum: int,
        longest: int | None,
        most: int,
    ) -> pa.Table:
        """`items` and `baskets`: the sets of items that `minimum` baskets or more hold."""

    def holding(
        self, sql: str, values: Sequence[Any], running: Running, sets: Sequence[Sequence[str]]
    ) -> pa.Table:
        """`place`, `late` and `baskets`: how many early and late baskets hold each set."""

    def factors(
        self,
        sql: str,
        values: Sequence[Any],
        running: Running,
        *,
        pairs: int,
        width: int,
        rounds: int,
        extra: float,
        held_back: float,
    ) -> pa.Table:
        """`item` and `vector`, by alternating least squares."""


class Engine(ABC):
    """One kind of database. Safe to use from many threads."""

    name: str
    dialect: Dialect
    has_keys: ClassVar[bool] = True
    #: what its driver raises
    faults: tuple[type[Exception], ...] = ()
    #: waits, until the transaction ends, for other processes that make our tables
    schema_lock: ClassVar[str] = ""
    #: fits itemsets and factors where the rows are
    library: Library | None = None
    #: the least or the greatest of an indexed column is read off its index, both together are not
    one_end_at_a_time: ClassVar[bool] = False
    #: totals per day can be kept in it, and stay right whoever writes
    keeps_totals: ClassVar[bool] = False
    #: makes totals per day follow the rows; None: they are neither kept nor read
    keeper: Keeper | None = None
    #: the tables of totals are there
    has_totals = False

    @property
    @abstractmethod
    def version(self) -> str:
        """The engine's name and version, for receipts."""

    @abstractmethod
    def fetch(self, sql: str, values: Sequence[Any], running: Running) -> pa.Table:
        """Run a query whose text and values came from `compile`."""

    @abstractmethod
    def writing(self) -> contextlib.AbstractContextManager[Writer]:
        """A transaction: committed at the end of the block, undone when it raises."""

    @abstractmethod
    def table_names(self) -> set[str]:
        """The tables and views that exist where new tables go."""

    @abstractmethod
    def close(self) -> None:
        """Give back the file, connections and threads."""

    @property
    def writes(self) -> int | None:
        """A number that grows when the data may have changed; None: they may at any time."""
        return None

    @functools.cached_property
    def overlays(self) -> dict[str, Overlay]:
        """Our entities over other people's tables; empty: the tables are ours."""
        return {}

    @functools.cached_property
    def facts(self) -> Any:
        """What is known of the data as a whole, by name and number of writes."""
        return sa.util.LRUCache(20)

    @functools.cached_property
    def tables_of_sql(self) -> Any:
        """Our tables that a text reads, of the last texts."""
        return sa.util.LRUCache(500)

    @functools.cached_property
    def _compiled(self) -> Any:
        """Texts of the queries that were compiled last, by their shape."""
        return sa.util.LRUCache(500)

    def compile(self, statement: Statement) -> tuple[str, tuple[Any, ...]]:
        """The engine's text of a statement, and its values in the order of their places.

        A query of a shape that was compiled before takes its text from the cache: compiling is a
        tenth of the time of a small question.
        """
        compiled: Any
        if isinstance(statement, sa.SelectBase):
            compiled, extracted, collected, _ = statement._compile_w_cache(
                self.dialect, compiled_cache=self._compiled, column_keys=[]
            )
            values = compiled.construct_params(
                extracted_parameters=extracted, _collected_params=collected, _no_postcompile=True
            )
        else:
            compiled = statement.compile(dialect=self.dialect)  # type: ignore[union-attr]
            values = compiled.construct_params(_no_postcompile=True)
        # the expanded state knows the places and the values of IN lists
        state = compiled._process_parameters_for_postcompile(values)
        written = {**compiled._bind_processors, **state.processors}
        return state.statement, tuple(
            written[n](state.parameters[n]) if n in written else state.parameters[n]
            for n in state.positiontup or ()
        )

    def tables_there(self) -> set[str]:
        """Tables and views of all schemas, as `schema.table`, and of ours without it."""
        sql = "SELECT table_schema, table_name FROM information_schema.tables"
        schemas, names = (c.to_pylist() for c in self.fetch(sql, (), Running()).columns)
        return self.table_names() | {f"{s}.{n}" for s, n in zip(schemas, names, strict=True)}

    def lay(self, overlays: Mapping[str, Overlay]) -> None:
        """Read our entities from other people's tables from now on; those not named are empty.

        Raises OverlayError, with the keys at fault, where their engine refuses one.
        """
        self.overlays = dict(overlays)
        self._lay_now()
        for entity, overlay in overlays.items():
            self._check(entity, overlay)

    def _lay_now(self) -> None:
        starred = any("*" in t for o in self.overlays.values() for t in o.tables)
        there = self.tables_there() if starred else set()
        texts = {}
        self.laid = {}
        for name in metadata.tables:
            overlay = self.overlays.get(name)
            if overlay is None:
                texts[name] = empty_sql(name, self.dialect)
                continue
            self.laid[name] = expanded(overlay.tables, there)
            texts[name] = overlay_sql(name, overlay, self.laid[name], self.dialect)
        if texts != getattr(self.dialect, "overlays", None):
            self.dialect.overlays = texts  # type: ignore[attr-defined]
            self._compiled.clear()
        self._laid_at = time.monotonic()

    def laid_said(self) -> tuple[tuple[str, str, str], ...]:
        """What is read from other people's tables: our column, their expression, their tables."""
        return tuple(
            (f"{entity}.{name}", expression, ", ".join(self.laid[entity]))
            for entity, overlay in self.overlays.items()
            for name, expression in overlay.columns.items()
        )

    def look_again(self) -> None:
        """See tables that came since, such as a new month's, every few minutes."""
        if self.overlays and time.monotonic() - self._laid_at > LOOK_AGAIN_AFTER_S:
            self._lay_now()

    def _check(self, entity: str, overlay: Overlay) -> None:
        """Ask for no rows of an entity, then for each column alone where that is refused."""
        if not self.laid[entity]:
            raise OverlayError("names no table that is there", (entity, "from"))
        fault = self._fault(entity, overlay)
        if not fault:
            return
        if not self._fault(entity, replace(overlay, columns={})):
            for name, expression in overlay.columns.items():
                if alone := self._fault(entity, replace(overlay, columns={name: expression})):
                    raise OverlayError(alone, (entity, "columns", name))
        raise OverlayError(fault, (entity, "from"))

    def _fault(self, entity: str, overlay: Overlay) -> str:
        """What the engine says against an overlay; empty where it reads it."""
        text = overlay_sql(entity, overlay, self.laid[entity], self.dialect)
        refusals: tuple[type[Exception], ...] = (StoreError, *self.faults)
        try:
            self.fetch(f"SELECT * FROM ({text}) AS x WHERE 1 = 0", (), Running())  # noqa: S608
        except refusals as error:
            return first_line(error)
        return ""

    def create_tables(self) -> None:
        """Create our tables, keys and indexes where they are missing."""
        there = self.table_names()
        self.has_totals = all(t.name in there for t in derived.sorted_tables)
        missing = [t for t in metadata.sorted_tables if t.name not in there]
        if not missing:
            return
        with self.writing() as writer:
            self._create(writer, missing)

    def create_totals(self) -> None:
        """Create the tables of totals per day, and what makes them stale, where missing."""
        if self.has_totals:
            return
        with self.writing() as writer:
            self._create(writer, derived.sorted_tables)
            for trigger in watches(self.name):
                writer.run(sa.text(trigger))
        self.has_totals = True

    def _create(self, writer: Writer, tables: Sequence[sa.Table]) -> None:
        if self.schema_lock:
            writer.run(sa.text(self.schema_lock))
        for table in tables:
            writer.run(sa.text(self.ddl(table)))
            if self.has_keys:
                for index in table.indexes:
                    columns = ", ".join(c.name for c in index.columns)
                    name = f"ix_{table.name}_{columns}"
                    sql = f"CREATE INDEX IF NOT EXISTS {name} ON {table.name} ({columns})"
                    writer.run(sa.text(sql))

    def ddl(self, table: sa.Table) -> str:
        """CREATE TABLE in this engine's types; `has_keys` adds the primary key."""
        quote = self.dialect.identifier_preparer.quote
        lines = []
        for column in table.columns:
            type_ = column.type.compile(dialect=self.dialect)
            lines.append(f"{quote(column.name)} {type_}{'' if column.nullable else ' NOT NULL'}")
        if self.has_keys and table.primary_key.columns:
            keys = ", ".join(quote(c.name) for c in table.primary_key.columns)
            lines.append(f"PRIMARY KEY ({keys})")
        return f"CREATE TABLE IF NOT EXISTS {quote(table.name)} ({', '.join(lines)})"


def path_of(url: str) -> str:
    """`duckdb:///relative.db` and `duckdb:////absolute.db`, as SQLAlchemy writes them."""
    path = url.partition("://")[2].removeprefix("/")
    if not path:
        raise StoreUnavailableError(
            "store.url names no file.",
            hint="Write duckdb:///path/to/store.duckdb, with three slashes before the path.",
        )
    return path


def make_folder(path: str) -> None:
    """The folder of a store's file. Raises StoreUnavailableError where there can be none."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailableError(
            f"The folder of {path} can't be made.",
            hint="Check the path in store.url, and who may write there.",
            detail=str(error),
        ) from error


class Pool:
    """Connections to lend: as many as are at work at once, whichever threads come and go."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        """`connect()` makes one more."""
        self._connect = connect
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def lent(self, fit: Callable[[Any], bool] = bool) -> Iterator[Any]:
        """A connection for one read or transaction; kept afterwards if it is `fit`."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect()
        try:
            yield connection
        finally:
            keep = fit(connection)
            with self._lock:
                keep = keep and not self._closed
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def close(self) -> None:
        """Close the idle ones now, the others when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class OneConnection:
    """One connection that threads take turns with."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        """Connects at once."""
        self._connection = connect()
        self._turn = threading.RLock()

    @contextlib.contextmanager
    def lent(self) -> Iterator[Any]:
        """The connection, alone."""
        with self._turn:
            yield self._connection

    def close(self) -> None:
        """Close it, and lose what it holds."""
        with self._turn:
            self._connection.close()


def missing_table(error: Exception) -> StoreUnavailableError:
    """The store lacks one of our tables."""
    return StoreUnavailableError(
        "The store lacks a table that this question needs.",
        hint="Load data first: `python -m bot load orders FILE`, or run the demo.",
        detail=str(error),
    )


def missing_column(error: Exception) -> StoreUnavailableError:
    """One of the store's tables lacks a column of ours."""
    return StoreUnavailableError(
        "A table of the store lacks a column that this question needs.",
        hint="Compare the tables with `schema`, or lay our entities over yours in config.yaml.",
        detail=str(error),
    )


def missing_package(engine: str, extra: str) -> StoreUnavailableError:
    """The engine's packages are not installed."""
    return StoreUnavailableError(
        f"The packages for {engine} are not installed.",
        hint=f"Run: pip install -r requirements-{extra}.txt",
    )


def arrow_type(type_: sa.types.TypeEngine[Any]) -> pa.DataType | None:
    """The Arrow type in which a column of a query comes back; None: as it is."""
    match type_:
        case Instant() | sa.DateTime():
            return pa.timestamp("us")
        case sa.Boolean():
            return pa.bool_()
        case sa.Integer():
            return pa.int64()
        case sa.Numeric() | sa.Float():
            return pa.float64()
        case sa.String():
            return pa.string()
        case _:
            return None
