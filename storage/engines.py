"""A URL -> an engine: compile a statement, run it to Arrow, write in one transaction, cancel.

| URL | engine |
|---|---|
| `duckdb:///path/store.duckdb`, `duckdb:///:memory:` | DuckDB in this process (the default) |
| `postgresql://user:password@host/database` | PostgreSQL; reads by ADBC |
| `sqlite:///path/store.sqlite`, `sqlite:///:memory:` | SQLite |

Analytic reads never go through SQLAlchemy's row fetch: Arrow is 12 to 15 times cheaper.
"""

import contextlib
import datetime as dt
import functools
import hashlib
import json
import sqlite3
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.base import Executable

from storage.schema import EPOCH, Instant, instant_us, metadata
from storage.sql import DuckDialect
from storage.sqlite import write_ahead

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


class Engine(ABC):
    """One kind of database. Safe to use from many threads."""

    name: ClassVar[str]
    dialect: Dialect
    has_keys: ClassVar[bool] = True
    #: waits, until the transaction ends, for other processes that make our tables
    schema_lock: ClassVar[str] = ""

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
        """How many transactions have changed the data; None where others may change them too."""
        return None

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

    def create_tables(self) -> None:
        """Create our tables, keys and indexes where they are missing."""
        there = self.table_names()
        missing = [t for t in metadata.sorted_tables if t.name not in there]
        if not missing:
            return
        with self.writing() as writer:
            if self.schema_lock:
                writer.run(sa.text(self.schema_lock))
            for table in missing:
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
        if self.has_keys:
            keys = ", ".join(quote(c.name) for c in table.primary_key.columns)
            lines.append(f"PRIMARY KEY ({keys})")
        return f"CREATE TABLE IF NOT EXISTS {quote(table.name)} ({', '.join(lines)})"


def open_engine(url: str, *, memory_limit: str = "", threads: int = 0) -> Engine:
    """The engine of a store URL. Raises StoreUnavailableError with what to do."""
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    match scheme.partition("+")[0]:
        case "duckdb":
            return DuckEngine(path_of(url), memory_limit=memory_limit, threads=threads)
        case "sqlite":
            return SqliteEngine(path_of(url))
        case "postgresql" | "postgres":
            return PostgresEngine(url)
        case _:
            raise StoreUnavailableError(
                f"I can't open a store of the kind “{scheme}”."
                if scheme
                else "store.url is no URL.",
                hint="Use duckdb:///file, postgresql://user@host/database or sqlite:///file.",
            )


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


# --- DuckDB -------------------------------------------------------------------------------------


class DuckEngine(Engine):
    """DuckDB owns its file: one process at a time, one cursor per query.

    The connection is shut off from files and configuration, so no query can read or write beside
    the store. Files are written in the format that DuckDB 1.5 reads too. There are no keys on the
    tables: they would slow loads and forbid replacing a row in one transaction; loads merge on the
    key instead.
    """

    name = "duckdb"
    has_keys = False

    def __init__(self, path: str, *, memory_limit: str = "", threads: int = 0) -> None:
        """Open or create the file. Limits are DuckDB's (`4GB`; 0 threads = all cores)."""
        self.dialect = DuckDialect()
        self.path = path
        config: dict[str, Any] = {
            "enable_external_access": "false",
            "lock_configuration": "true",
        }
        if int(duckdb.__version__.split(".")[0]) >= 2:
            config["storage_compatibility_version"] = "v1.5.0"
        if memory_limit:
            config["memory_limit"] = memory_limit
        if threads:
            config["threads"] = threads
        if path != ":memory:":
            make_folder(path)
        try:
            self._connection = duckdb.connect(path, config=config)
        except duckdb.Error as error:
            text = str(error)
            if "Could not set lock" in text:
                raise StoreUnavailableError(
                    "Another process has the store open.",
                    hint="DuckDB lets one process open its file: ask the running bot, or stop it.",
                    detail=text,
                ) from error
            raise StoreUnavailableError(
                f"{path} can't be opened as a DuckDB file.",
                hint="Check store.url and store.memory_limit, and that the file is a DuckDB store.",
                detail=text,
            ) from error
        self._writing = threading.Lock()
        self._writes = 0

    @property
    def writes(self) -> int:
        """Nobody else can write: the file is ours."""
        return self._writes

    @property
    def version(self) -> str:
        """Such as `DuckDB 2.0.1`."""
        return f"DuckDB {duckdb.__version__}"

    def fetch(self, sql: str, values: Sequence[Any], running: Running) -> pa.Table:
        """On a cursor of its own."""
        cursor = self._connection.cursor()
        try:
            return self._run(cursor, sql, values, running)
        finally:
            running.done()
            cursor.close()

    def _run(self, cursor: Any, sql: str, values: Sequence[Any], running: Running) -> pa.Table:
        running.start(cursor.interrupt)
        try:
            result = cursor.execute(sql, list(values))
            return duck_arrow(result)
        except duckdb.InterruptException as error:
            raise QueryCancelledError("The question was cancelled.") from error
        except duckdb.OutOfMemoryException as error:
            raise OutOfMemoryError(
                "The question needs more memory than the store may take.",
                hint="Ask for a shorter period, or raise store.memory_limit in config.yaml.",
                detail=str(error),
            ) from error
        except duckdb.CatalogException as error:
            raise missing_table(error) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """One writer at a time."""
        with self._writing:
            cursor = self._connection.cursor()
            cursor.execute("BEGIN")
            try:
                yield DuckWriter(self, cursor)
                cursor.execute("COMMIT")
                self._writes += 1
            except BaseException:
                with contextlib.suppress(duckdb.Error):
                    cursor.execute("ROLLBACK")
                raise
            finally:
                cursor.close()

    def table_names(self) -> set[str]:
        """Tables and views of the store's own schema."""
        sql = (
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_catalog = current_database() AND table_schema = current_schema()"
        )
        return set(self.fetch(sql, (), Running()).column(0).to_pylist())

    def close(self) -> None:
        """Checkpoint and let go of the file."""
        self._connection.close()


def duck_arrow(result: Any) -> pa.Table:
    """A DuckDB result as one Arrow table, on 1.5 and 2.x."""
    reader = getattr(result, "to_arrow_reader", None) or result.fetch_record_batch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return reader().read_all()


class DuckWriter(Writer):
    """A DuckDB transaction."""

    engine: DuckEngine

    def __init__(self, engine: DuckEngine, cursor: Any) -> None:
        """`cursor` is inside BEGIN."""
        super().__init__(engine)
        self.cursor = cursor

    def run(self, statement: Statement) -> None:
        """As SQLAlchemy statement or `text()`."""
        sql, values = self.engine.compile(statement)
        self.cursor.execute(sql, list(values))

    def fetch(self, statement: Statement) -> pa.Table:
        """Rows of a query."""
        sql, values = self.engine.compile(statement)
        return duck_arrow(self.cursor.execute(sql, list(values)))

    def append(self, table: str, rows: pa.Table, *, temporary: bool = False) -> None:
        """Arrow goes in without a copy."""
        self.cursor.register("daybreak_rows", rows)
        try:
            verb = (
                f'CREATE TEMP TABLE "{table}" AS' if temporary else f'INSERT INTO "{table}" BY NAME'
            )
            self.cursor.execute(f"{verb} SELECT * FROM daybreak_rows")  # noqa: S608 - our own name
        finally:
            self.cursor.unregister("daybreak_rows")


def missing_table(error: Exception) -> StoreUnavailableError:
    """The store lacks one of our tables."""
    return StoreUnavailableError(
        "The store lacks a table that this question needs.",
        hint="Load data first: `python -m bot load orders FILE`, or run the demo.",
        detail=str(error),
    )


# --- SQLite -------------------------------------------------------------------------------------


class _Microseconds(sa.DateTime):
    """A bound instant as SQLite keeps it, also where the statement gave it no type of ours."""

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Integer microseconds; null stays null."""
        return lambda at: None if at is None else instant_us(at)


class _SqliteDialect(sqlite_dialect.dialect):  # type: ignore[misc, valid-type]
    """SQLite with instants as integers: as texts they would compare as greater than any number."""

    supports_statement_cache = True
    colspecs: ClassVar[dict[Any, Any]] = {
        **sqlite_dialect.dialect.colspecs,
        sa.DateTime: _Microseconds,
    }


class SqliteEngine(Engine):
    """SQLite: a connection per running query, our own functions for zones, JSON and hashing."""

    name = "sqlite"

    def __init__(self, path: str) -> None:
        """Open or create the file (write-ahead log)."""
        self.dialect = _SqliteDialect(paramstyle="qmark")
        self.path = path
        if path == ":memory:":
            # a connection of its own would see an empty database: all take turns with one
            self._pool: Pool | OneConnection = OneConnection(self._connect)
        else:
            make_folder(path)
            self._pool = Pool(self._connect)
        self._writing = threading.RLock()
        try:
            with self._pool.lent():
                pass
        except sqlite3.Error as error:
            raise StoreUnavailableError(
                f"{path} can't be opened as a SQLite file.",
                hint="Check the path in store.url.",
                detail=str(error),
            ) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=30
        )
        write_ahead(connection)
        connection.execute("PRAGMA cache_size=-200000")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.create_function("local_day", 2, sqlite_local_day, deterministic=True)
        connection.create_function("md5_bucket", 2, md5_bucket, deterministic=True)
        connection.create_function("json_text", 2, sqlite_json_text, deterministic=True)
        return connection

    @property
    def version(self) -> str:
        """Such as `SQLite 3.40.1`."""
        return f"SQLite {sqlite3.sqlite_version}"

    def fetch(self, sql: str, values: Sequence[Any], running: Running) -> pa.Table:
        """On a connection of its own."""
        with self._pool.lent() as connection:
            running.start(connection.interrupt)
            try:
                return sqlite_arrow(connection.execute(sql, tuple(values)))
            except sqlite3.OperationalError as error:
                if explained := self._explained(error):
                    raise explained from error
                raise
            finally:
                running.done()

    def _explained(self, error: sqlite3.OperationalError) -> StoreError | None:
        text = str(error)
        if "interrupted" in text:
            return QueryCancelledError("The question was cancelled.")
        if "no such table" in text:
            return missing_table(error)
        if "database is locked" in text:
            return StoreUnavailableError(
                "Another process is writing to the store.",
                hint="Ask again when it has finished.",
                detail=text,
            )
        return None

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """Takes the write lock at once, so that two writers wait for each other."""
        with self._writing, self._pool.lent() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if explained := self._explained(error):
                    raise explained from error
                raise
            writer = SqliteWriter(self, connection)
            try:
                yield writer
                writer.drop_temporary()
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def table_names(self) -> set[str]:
        """Tables and views of the main database."""
        sql = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        return set(self.fetch(sql, (), Running()).column(0).to_pylist())

    def close(self) -> None:
        """Close the connections that are not at work."""
        self._pool.close()


class SqliteWriter(Writer):
    """A SQLite transaction."""

    engine: SqliteEngine

    def __init__(self, engine: SqliteEngine, connection: sqlite3.Connection) -> None:
        """`connection` is inside BEGIN."""
        super().__init__(engine)
        self.connection = connection
        self._temporary: list[str] = []

    def run(self, statement: Statement) -> None:
        """As SQLAlchemy statement or `text()`."""
        sql, values = self.engine.compile(statement)
        self.connection.execute(sql, values)

    def fetch(self, statement: Statement) -> pa.Table:
        """Rows of a query."""
        sql, values = self.engine.compile(statement)
        return sqlite_arrow(self.connection.execute(sql, values))

    def append(self, table: str, rows: pa.Table, *, temporary: bool = False) -> None:
        """Instants become integer microseconds."""
        names = ", ".join(f'"{n}"' for n in rows.column_names)
        if temporary:
            self.connection.execute(f'CREATE TEMP TABLE "{table}" ({names})')
            self._temporary.append(table)
        marks = ", ".join("?" * rows.num_columns)
        columns = [
            c.cast(pa.timestamp("us")).cast(pa.int64()) if pa.types.is_timestamp(c.type) else c
            for c in rows.columns
        ]
        values = zip(*(c.to_pylist() for c in columns), strict=True)
        self.connection.executemany(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', values)  # noqa: S608 - names are columns of ours

    def drop_temporary(self) -> None:
        """The connection goes back to the pool without our temporary tables."""
        for table in self._temporary:
            self.connection.execute(f'DROP TABLE temp."{table}"')


def sqlite_arrow(cursor: sqlite3.Cursor) -> pa.Table:
    """A cursor's rows as Arrow; types are inferred, the store casts them to the query's."""
    names = [d[0] for d in cursor.description]
    rows = cursor.fetchall()
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pa.table([sqlite_column(c) for c in columns], names=names)


def sqlite_column(values: Sequence[Any]) -> pa.Array:
    """A column's values; SQLite may mix kinds in a column: then text wins over numbers."""
    try:
        return pa.array(values, from_pandas=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        widest = str if any(isinstance(v, str) for v in values) else float
        return pa.array([None if v is None else widest(v) for v in values])


@functools.lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@functools.lru_cache(maxsize=200_000)
def _day_at(second: int, zone: str) -> int:
    at = EPOCH.replace(tzinfo=dt.UTC) + dt.timedelta(seconds=second)
    return at.astimezone(_zone(zone)).date().toordinal() - EPOCH.toordinal()


#: 1972, since when every zone changes, and has its midnights, on quarter hours of UTC.
QUARTER_HOURS_SINCE_S = 63_072_000


def sqlite_local_day(at_us: int | None, zone: str) -> int | None:
    """The local date of an instant, cached by quarter hour."""
    if at_us is None:
        return None
    second = at_us // 1_000_000
    return _day_at(second - second % 900 if second >= QUARTER_HOURS_SINCE_S else second, zone)


def sqlite_json_text(document: str | None, key: str) -> str | None:
    """A key's value as text: SQLite's own `->>` reads keys as paths and true as 1."""
    found = None if document is None else json.loads(document)
    value = found.get(key) if isinstance(found, dict) else None
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def md5_bucket(key: str | None, n: int) -> int | None:
    """The first 32 bits of the MD5 modulo `n`."""
    if key is None:
        return None
    digest = hashlib.md5(str(key).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "big") % n


# --- PostgreSQL ---------------------------------------------------------------------------------


class PostgresEngine(Engine):
    """PostgreSQL by ADBC: binary in, Arrow out. A connection per running query."""

    name = "postgresql"
    schema_lock = "SELECT pg_advisory_xact_lock(hashtextextended('daybreak store', 0))"

    def __init__(self, url: str) -> None:
        """Connect once, to find faults early."""
        # imported here: who has no PostgreSQL need not wait for the driver
        import adbc_driver_manager
        import adbc_driver_postgresql.dbapi

        self.dialect = asyncpg.dialect()  # type: ignore[no-untyped-call]
        self._adbc = adbc_driver_postgresql.dbapi
        self._error: type[Exception] = adbc_driver_manager.Error
        self._url = "postgresql://" + url.partition("://")[2]
        if "connect_timeout=" not in url:
            self._url += f"{'&' if '?' in url else '?'}connect_timeout=10"
        self._pool = Pool(self._connect)
        rows = self.fetch("SELECT current_setting('server_version')", (), Running())
        self._version = rows.column(0)[0].as_py().split()[0]

    def _connect(self) -> Any:
        try:
            return self._adbc.connect(self._url)
        except self._error as error:
            raise StoreUnavailableError(
                "The PostgreSQL store can't be reached.",
                hint="Check store.url: host, database, user and password.",
                detail=str(error),
            ) from error

    @property
    def version(self) -> str:
        """Such as `PostgreSQL 16.2`."""
        return f"PostgreSQL {self._version}"

    def fetch(self, sql: str, values: Sequence[Any], running: Running) -> pa.Table:
        """On a connection of its own, in a read-only transaction."""

        def fit(connection: Any) -> bool:
            # a cancel that comes late would hit the next query of the connection
            return not running.cancelled and self._ended(connection)

        with self._pool.lent(fit) as connection, connection.cursor() as cursor:
            running.start(cursor.adbc_cancel)
            try:
                cursor.execute("SET TRANSACTION READ ONLY")
                cursor.execute(sql, tuple(values) or None)
                return cursor.fetch_arrow_table()
            except self._error as error:
                if explained := self._explained(error, running):
                    raise explained from error
                raise
            finally:
                running.done()

    def _ended(self, connection: Any) -> bool:
        """End the transaction; False where the connection is broken."""
        try:
            connection.rollback()
        except self._error:
            return False
        return True

    def _explained(self, error: Exception, running: Running | None = None) -> StoreError | None:
        state = getattr(error, "sqlstate", None)
        if running is not None and running.cancelled:
            return QueryCancelledError("The question was cancelled.")
        if state == "42P01":
            return missing_table(error)
        if state == "42501":
            return StoreUnavailableError(
                "The PostgreSQL store does not allow that.",
                hint="Grant the store's user what it needs, or name another user in store.url.",
                detail=str(error),
            )
        if state == "57014":
            return QueryCancelledError(
                "The PostgreSQL store stopped the question.",
                hint="Ask for a shorter period, or raise the server's statement_timeout.",
                detail=str(error),
            )
        if state in ("53200", "53400"):
            return OutOfMemoryError(
                "The question needs more memory than the store may take.",
                hint="Ask for a shorter period, or raise the server's limits.",
                detail=str(error),
            )
        if state in ("", "00000", "57P01", "57P02", "57P03", "08006", "08003", None):
            return StoreUnavailableError(
                "The PostgreSQL store broke off.",
                hint="Ask again; if it stays so, check that the server runs.",
                detail=str(error),
            )
        return None

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """One transaction."""
        with self._pool.lent(self._ended) as connection:
            writer = PostgresWriter(self, connection)
            try:
                yield writer
                writer.drop_temporary()
                connection.commit()
            except self._error as error:
                if explained := self._explained(error):
                    raise explained from error
                raise

    def table_names(self) -> set[str]:
        """Tables and views of the schema that new tables go to."""
        sql = (
            "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'v', 'm', 'p', 'f') "
            "AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
        )
        return set(self.fetch(sql, (), Running()).column(0).to_pylist())

    def close(self) -> None:
        """Close the connections that are not at work."""
        self._pool.close()


class PostgresWriter(Writer):
    """A PostgreSQL transaction."""

    engine: PostgresEngine

    def __init__(self, engine: PostgresEngine, connection: Any) -> None:
        """ADBC connections are always inside a transaction."""
        super().__init__(engine)
        self.connection = connection
        self._temporary: list[str] = []

    def run(self, statement: Statement) -> None:
        """As SQLAlchemy statement or `text()`."""
        sql, values = self.engine.compile(statement)
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values or None)

    def fetch(self, statement: Statement) -> pa.Table:
        """Rows of a query."""
        sql, values = self.engine.compile(statement)
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetch_arrow_table()

    def append(self, table: str, rows: pa.Table, *, temporary: bool = False) -> None:
        """By binary COPY."""
        with self.connection.cursor() as cursor:
            mode = "create" if temporary else "append"
            cursor.adbc_ingest(table, rows, mode=mode, temporary=temporary)
        if temporary:
            self._temporary.append(table)

    def drop_temporary(self) -> None:
        """The connection goes back to the pool without our temporary tables."""
        for table in self._temporary:
            self.run(sa.text(f'DROP TABLE pg_temp."{table}"'))


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
