"""DuckDB in this process: the default store."""

import contextlib
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from storage.engines.base import (
    Engine,
    OutOfMemoryError,
    QueryCancelledError,
    Running,
    Statement,
    StoreUnavailableError,
    Writer,
    make_folder,
    missing_table,
)
from storage.sql import DuckDialect
from storage.totals import ROW_NAMES, changes_rows


class DuckEngine(Engine):
    """DuckDB owns its file: one process at a time, one cursor per query.

    The connection is shut off from files and configuration, so no query can read or write beside
    the store. Files are written in the format that DuckDB 1.5 reads too. There are no keys on the
    tables: they would slow loads and forbid replacing a row in one transaction; loads merge on the
    key instead.
    """

    name = "duckdb"
    has_keys = False
    keeps_totals = True
    faults = (duckdb.Error,)

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
                    hint="DuckDB lets one process open its file: stop the running bot, or "
                    "keep the data in PostgreSQL.",
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
        if changes_rows(statement):
            self._totals_are_stale()
        sql, values = self.engine.compile(statement)
        self.cursor.execute(sql, list(values))

    def fetch(self, statement: Statement) -> pa.Table:
        """Rows of a query."""
        sql, values = self.engine.compile(statement)
        return duck_arrow(self.cursor.execute(sql, list(values)))

    def append(self, table: str, rows: pa.Table, *, temporary: bool = False) -> None:
        """Arrow goes in without a copy."""
        if table in ROW_NAMES and not temporary:
            self._totals_are_stale()
        self.cursor.register("daybreak_rows", rows)
        try:
            verb = (
                f'CREATE TEMP TABLE "{table}" AS' if temporary else f'INSERT INTO "{table}" BY NAME'
            )
            self.cursor.execute(f"{verb} SELECT * FROM daybreak_rows")  # noqa: S608 - our own name
        finally:
            self.cursor.unregister("daybreak_rows")

    def _totals_are_stale(self) -> None:
        """Until a keeper says otherwise in this transaction or a later one."""
        if self.engine.has_totals:
            self.cursor.execute("DELETE FROM totals_kept")
