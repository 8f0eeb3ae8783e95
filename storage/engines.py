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
import sqlite3
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.base import Executable

from storage.schema import Instant, metadata
from storage.sql import DuckDialect

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
        self._interrupt: Any = None
        self.cancelled = False

    def start(self, interrupt: Any) -> None:
        """The query begins; `interrupt()` stops it. Cancelled before: it never begins."""
        with self._lock:
            if self.cancelled:
                raise QueryCancelledError("The question was cancelled.")
            self._interrupt = interrupt

    def done(self) -> None:
        """The query has ended; there is nothing to interrupt any more."""
        with self._lock:
            self._interrupt = None

    def cancel(self) -> None:
        """Stop the query, and refuse to start another."""
        with self._lock:
            self.cancelled = True
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
        """Add rows; columns are matched by name. `temporary` makes a table of this connection."""


class Engine(ABC):
    """One kind of database. Safe to use from many threads."""

    name: ClassVar[str]
    dialect: Dialect
    has_keys: ClassVar[bool] = True

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
        """The tables that exist."""

    @abstractmethod
    def close(self) -> None:
        """Give back the file, connections and threads."""

    def compile(self, statement: Statement) -> tuple[str, tuple[Any, ...]]:
        """The engine's text of a statement, and its values in the order of their places."""
        compiled: Any = statement.compile(  # type: ignore[union-attr]
            dialect=self.dialect, compile_kwargs={"render_postcompile": True}
        )
        names = compiled.positiontup or ()
        processors = compiled._bind_processors
        params = compiled.construct_params()
        return str(compiled), tuple(
            processors[n](params[n]) if n in processors else params[n] for n in names
        )

    def create_tables(self) -> None:
        """Create our tables, keys and indexes where they are missing."""
        missing = [t for t in metadata.sorted_tables if t.name not in self.table_names()]
        if not missing:
            return
        with self.writing() as writer:
            for table in missing:
                writer.run(sa.text(self.ddl(table)))
                if self.has_keys:
                    for index in table.indexes:
                        columns = ", ".join(c.name for c in index.columns)
                        name = f"ix_{table.name}_{columns}"
                        writer.run(sa.text(f"CREATE INDEX {name} ON {table.name} ({columns})"))

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
        return f"CREATE TABLE {quote(table.name)} ({', '.join(lines)})"


def open_engine(url: str, *, memory_limit: str = "", threads: int = 0) -> Engine:
    """The engine of a store URL. Raises StoreUnavailableError with what to do."""
    scheme = urlsplit(url).scheme.split("+")[0]
    match scheme:
        case "duckdb":
            return DuckEngine(path_of(url), memory_limit=memory_limit, threads=threads)
        case "sqlite":
            return SqliteEngine(path_of(url))
        case "postgresql" | "postgres":
            return PostgresEngine(url)
        case _:
            raise StoreUnavailableError(
                f"I can't open a store of the kind “{scheme or url}”.",
                hint="Use duckdb:///file, postgresql://user@host/database or sqlite:///file.",
            )


def path_of(url: str) -> str:
    """`duckdb:///relative.db` and `duckdb:////absolute.db`, as SQLAlchemy writes them."""
    path = url.split("://", 1)[1]
    return path[1:] if path.startswith("/") else path


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
            "preserve_insertion_order": "false",
        }
        if duckdb.__version__.split(".")[0] >= "2":
            config["storage_compatibility_version"] = "v1.5.0"
        if memory_limit:
            config["memory_limit"] = memory_limit
        if threads:
            config["threads"] = threads
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = duckdb.connect(path, config=config)
        except duckdb.IOException as error:
            text = str(error)
            if "lock" in text:
                raise StoreUnavailableError(
                    "Another process has the store open.",
                    hint="DuckDB lets one process open its file: ask the running bot, or stop it.",
                    detail=text,
                ) from error
            raise StoreUnavailableError(
                f"{path} can't be opened as a DuckDB file.",
                hint="Check the path in store.url, and that the file is a DuckDB store.",
                detail=text,
            ) from error
        self._writing = threading.Lock()

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
            except BaseException:
                with contextlib.suppress(duckdb.Error):
                    cursor.execute("ROLLBACK")
                raise
            finally:
                cursor.close()

    def table_names(self) -> set[str]:
        """Base tables of the main schema."""
        cursor = self._connection.cursor()
        rows = cursor.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        cursor.close()
        return {name for (name,) in rows}

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
            if temporary:
                self.cursor.execute(f'CREATE TEMP TABLE "{table}" AS SELECT * FROM daybreak_rows')
            else:
                self.cursor.execute(f'INSERT INTO "{table}" BY NAME SELECT * FROM daybreak_rows')
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


class SqliteEngine(Engine):
    """SQLite: a connection per thread, our own functions for zones and hashing."""

    name = "sqlite"

    def __init__(self, path: str) -> None:
        """Open or create the file (write-ahead log)."""
        self.dialect = sqlite_dialect.dialect(paramstyle="qmark")
        self.path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._writing = threading.RLock()
        if path == ":memory:":
            self.path = f"file:daybreak-{id(self)}?mode=memory&cache=shared"
        else:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection()
        except sqlite3.Error as error:
            raise StoreUnavailableError(
                f"{path} can't be opened as a SQLite file.",
                hint="Check the path in store.url.",
                detail=str(error),
            ) from error

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self.path,
                uri=self.path.startswith("file:"),
                isolation_level=None,
                check_same_thread=False,
                timeout=30,
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA cache_size=-200000")
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.create_function("local_day", 2, sqlite_local_day, deterministic=True)
            connection.create_function("md5_bucket", 2, md5_bucket, deterministic=True)
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    @property
    def version(self) -> str:
        """Such as `SQLite 3.40.1`."""
        return f"SQLite {sqlite3.sqlite_version}"

    def fetch(self, sql: str, values: Sequence[Any], running: Running) -> pa.Table:
        """On this thread's connection."""
        connection = self._connection()
        running.start(connection.interrupt)
        try:
            return sqlite_arrow(connection.execute(sql, tuple(values)))
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                raise QueryCancelledError("The question was cancelled.") from error
            if "no such table" in str(error):
                raise missing_table(error) from error
            raise
        finally:
            running.done()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """Takes the write lock at once, so that two writers wait for each other."""
        with self._writing:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield SqliteWriter(self, connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise

    def table_names(self) -> set[str]:
        """Tables of the main database."""
        rows = self._connection().execute("SELECT name FROM sqlite_master WHERE type='table'")
        return {name for (name,) in rows}

    def close(self) -> None:
        """Close every thread's connection."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._local = threading.local()


class SqliteWriter(Writer):
    """A SQLite transaction."""

    engine: SqliteEngine

    def __init__(self, engine: SqliteEngine, connection: sqlite3.Connection) -> None:
        """`connection` is inside BEGIN."""
        super().__init__(engine)
        self.connection = connection

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
        marks = ", ".join("?" * rows.num_columns)
        columns = [
            c.cast(pa.timestamp("us")).cast(pa.int64()) if pa.types.is_timestamp(c.type) else c
            for c in rows.columns
        ]
        values = zip(*(c.to_pylist() for c in columns), strict=True)
        self.connection.executemany(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', values)  # noqa: S608 - names are columns of ours


def sqlite_arrow(cursor: sqlite3.Cursor) -> pa.Table:
    """A cursor's rows as Arrow; types are inferred, the store casts them to the query's."""
    names = [d[0] for d in cursor.description]
    rows = cursor.fetchall()
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pa.table([pa.array(list(c), from_pandas=False) for c in columns], names=names)


@functools.lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@functools.lru_cache(maxsize=200_000)
def _quarter_hour_day(quarter_hour: int, zone: str) -> int:
    at = dt.datetime.fromtimestamp(quarter_hour * 900, _zone(zone))
    return at.date().toordinal() - dt.date(1970, 1, 1).toordinal()


def sqlite_local_day(at_us: int | None, zone: str) -> int | None:
    """The local date of an instant; zones change on quarter hours only, which caches well."""
    return None if at_us is None else _quarter_hour_day(at_us // 900_000_000, zone)


def md5_bucket(key: str | None, n: int) -> int | None:
    """The first 32 bits of the MD5 modulo `n`."""
    if key is None:
        return None
    digest = hashlib.md5(str(key).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "big") % n


# --- PostgreSQL ---------------------------------------------------------------------------------


class PostgresEngine(Engine):
    """PostgreSQL by ADBC: binary in, Arrow out. A connection per thread."""

    name = "postgresql"

    def __init__(self, url: str) -> None:
        """Connect once, to find faults early."""
        # imported here: who has no PostgreSQL need not wait for the driver
        import adbc_driver_manager
        import adbc_driver_postgresql.dbapi

        self.dialect = asyncpg.dialect()  # type: ignore[no-untyped-call]
        self._adbc = adbc_driver_postgresql.dbapi
        self._error: type[Exception] = adbc_driver_manager.Error
        self._url = "postgresql://" + url.split("://", 1)[1]
        self._local = threading.local()
        self._connections: list[Any] = []
        rows = self.fetch("SELECT current_setting('server_version')", (), Running())
        self._version = rows.column(0)[0].as_py().split()[0]

    def _connection(self) -> Any:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            try:
                connection = self._adbc.connect(self._url)
            except self._error as error:
                raise StoreUnavailableError(
                    "The PostgreSQL store can't be reached.",
                    hint="Check store.url: host, database, user and password.",
                    detail=str(error),
                ) from error
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    @property
    def version(self) -> str:
        """Such as `PostgreSQL 16.2`."""
        return f"PostgreSQL {self._version}"

    def fetch(self, sql: str, values: Sequence[Any], running: Running) -> pa.Table:
        """On this thread's connection, in a read-only transaction."""
        connection = self._connection()
        with connection.cursor() as cursor:
            running.start(cursor.adbc_cancel)
            try:
                cursor.execute("SET TRANSACTION READ ONLY")
                cursor.execute(sql, tuple(values) or None)
                return cursor.fetch_arrow_table()
            except self._error as error:
                raise self._explained(error, running) from error
            finally:
                running.done()
                self._end(connection)

    def _end(self, connection: Any) -> None:
        """End the read's transaction; a broken connection is dropped, the next read makes one."""
        try:
            connection.rollback()
        except self._error:
            self._local.connection = None

    def _explained(self, error: Exception, running: Running) -> Exception:
        if running.cancelled:
            return QueryCancelledError("The question was cancelled.")
        if getattr(error, "sqlstate", "") == "42P01":
            return missing_table(error)
        if getattr(error, "sqlstate", "") in ("", "00000", "57P01", "08006", None):
            return StoreUnavailableError(
                "The PostgreSQL store broke off.",
                hint="Ask again; if it stays so, check that the server runs.",
                detail=str(error),
            )
        return error

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """One transaction."""
        connection = self._connection()
        try:
            yield PostgresWriter(self, connection)
            connection.commit()
        except BaseException:
            self._end(connection)
            raise

    def table_names(self) -> set[str]:
        """Tables of the schema that new tables go to."""
        sql = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()"
        return set(self.fetch(sql, (), Running()).column(0).to_pylist())

    def close(self) -> None:
        """Close every thread's connection."""
        for connection in self._connections:
            with contextlib.suppress(self._error):
                connection.close()
        self._connections.clear()
        self._local = threading.local()


class PostgresWriter(Writer):
    """A PostgreSQL transaction."""

    engine: PostgresEngine

    def __init__(self, engine: PostgresEngine, connection: Any) -> None:
        """ADBC connections are always inside a transaction."""
        super().__init__(engine)
        self.connection = connection

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
