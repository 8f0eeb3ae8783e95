"""PostgreSQL by ADBC: binary in, Arrow out."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import asyncpg

from storage.engines.base import (
    Engine,
    OutOfMemoryError,
    Pool,
    QueryCancelledError,
    Running,
    Statement,
    StoppedError,
    StoreError,
    StoreUnavailableError,
    Writer,
    missing_table,
)

#: What reads may take in all where store.memory_limit says nothing; one sort has a 32nd of it, and
#: one hash table four times as much.
MEMORY_LIMIT = 2 * 2**30
SORTS, HASHES_PER_SORT = 32, 4
UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}

#: Of one read. The defaults of a server suit many small transactions: with 4 MB a question groups
#: millions of rows along an index, a random page per row; and its text is compiled to machine code
#: for longer than it runs. What an administrator has set higher stays.
SETTINGS = """SELECT set_config('transaction_read_only', 'on', true),
set_config('jit', 'off', true),
set_config('hash_mem_multiplier',
  greatest(current_setting('hash_mem_multiplier')::float8, {hashes})::text, true),
set_config('work_mem',
  greatest(pg_size_bytes(current_setting('work_mem')) / 1024, {sort_kb}) || 'kB', true)"""


def bytes_of(size: str) -> int | None:
    """`4GB` or `512 MiB`, as DuckDB reads them; None for what is neither."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGTkmgt]i?[Bb])\s*", size)
    return int(float(found[1]) * UNITS[found[2].lower()]) if found else None


class PostgresEngine(Engine):
    """PostgreSQL by ADBC: binary in, Arrow out. A connection per running query."""

    name = "postgresql"
    keeps_totals = True
    schema_lock = "SELECT pg_advisory_xact_lock(hashtextextended('daybreak store', 0))"

    def __init__(self, url: str, *, memory_limit: str = "") -> None:
        """Connect once, to find faults early. `memory_limit` bounds what sorts and hashes take."""
        # imported here: who has no PostgreSQL need not wait for the driver
        import adbc_driver_manager
        import adbc_driver_postgresql.dbapi

        self.dialect = asyncpg.dialect()  # type: ignore[no-untyped-call]
        self._adbc = adbc_driver_postgresql.dbapi
        self._error: type[Exception] = adbc_driver_manager.Error
        self.faults = (self._error,)
        self._url = "postgresql://" + url.partition("://")[2]
        if "connect_timeout=" not in url:
            self._url += f"{'&' if '?' in url else '?'}connect_timeout=10"
        self._pool = Pool(self._connect)
        most = bytes_of(memory_limit) or MEMORY_LIMIT
        self._settings = SETTINGS.format(hashes=HASHES_PER_SORT, sort_kb=most // SORTS // 1024)
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
                cursor.execute(self._settings)
                cursor.fetchone()
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
            return StoppedError(
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
