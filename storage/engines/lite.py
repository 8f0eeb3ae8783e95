"""SQLite in this process."""

import contextlib
import datetime as dt
import functools
import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.engine.interfaces import Dialect

from storage.engines.base import (
    Engine,
    OneConnection,
    Pool,
    QueryCancelledError,
    Running,
    Statement,
    StoreError,
    StoreUnavailableError,
    Writer,
    make_folder,
    missing_table,
)
from storage.schema import EPOCH, instant_us
from storage.sqlite import write_ahead


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
    faults = (sqlite3.Error,)
    one_end_at_a_time = True
    keeps_totals = True

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
        connection.create_function("utc_us", 2, sqlite_utc_us, deterministic=True)
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

    def tables_there(self) -> set[str]:
        """All tables and views: a file has one schema."""
        return self.table_names()

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


def sqlite_utc_us(told: str | int | None, zone: str) -> int | None:
    """Other people's time as microseconds UTC: ISO text read in the zone, integers as they are."""
    if told is None or isinstance(told, int):
        return told
    at = dt.datetime.fromisoformat(told)
    aware = at if at.tzinfo else at.replace(tzinfo=_zone(zone))
    return instant_us(aware.astimezone(dt.UTC).replace(tzinfo=None))


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
