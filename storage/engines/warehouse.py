"""Trino, Snowflake, BigQuery, Redshift, Databricks: by their makers' SQLAlchemy dialects.

Their SQL is compiled and parsed in the tests, and not run there: `python -m bot verify-engine URL`
proves a warehouse of one's own before its answers are trusted. Rows come through the maker's
driver, which is slower than Arrow; the tables are read only.
"""

import contextlib
import logging
import socket
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from storage.engines.base import (
    Engine,
    QueryCancelledError,
    Running,
    Statement,
    StoreError,
    StoreUnavailableError,
    Writer,
    missing_column,
    missing_table,
)

#: Scheme -> what to install.
PACKAGES = {
    "trino": "trino[sqlalchemy]",
    "snowflake": "snowflake-sqlalchemy",
    "bigquery": "sqlalchemy-bigquery",
    "redshift": "sqlalchemy-redshift redshift_connector",
    "databricks": "databricks-sqlalchemy",
}

#: Scheme -> the port where the URL names none. Snowflake and BigQuery have no host of one's own.
PORTS = {"trino": 8080, "redshift": 5439, "databricks": 443}
CONNECT_WITHIN_S = 10.0
#: What a driver is told of its own: Databricks' tries for a quarter of an hour otherwise.
PATIENCE: dict[str, dict[str, Any]] = {"databricks": {"_retry_stop_after_attempts_duration": 60.0}}

NO_TABLE = (
    "does not exist",
    "not found",
    "table_or_view_not_found",
    "no such table",
    "unknown table",
)
NO_COLUMN = ("invalid identifier", "unrecognized name", "cannot be resolved", "unresolved_column",
             "column_not_found", "no such column")  # fmt: skip


class WarehouseEngine(Engine):
    """`trino://user@host/catalog/schema`, `snowflake://…`, and so on, as its maker writes it."""

    has_keys = False

    def __init__(self, url: str) -> None:
        """Connect once, to find faults early. Raises StoreUnavailableError."""
        scheme, _, rest = url.partition(":")
        kind = scheme.partition("+")[0].lower()
        self.name = kind
        self._opened = False
        if scheme == "redshift":  # else SQLAlchemy takes psycopg2, which we don't name
            url = f"redshift+redshift_connector:{rest}"
        try:
            self._engine = sa.create_engine(
                url, pool_pre_ping=True, connect_args=PATIENCE.get(kind, {})
            )
        except (sa.exc.NoSuchModuleError, ImportError) as error:
            raise StoreUnavailableError(
                f"The packages for {self.version} are not installed.",
                hint=f"Run: pip install {PACKAGES.get(kind, kind)}",
            ) from error
        except (sa.exc.ArgumentError, ValueError) as error:
            raise StoreUnavailableError(
                "store.url is no URL.",
                hint="Write it as the warehouse's own pages say.",
                detail=str(error),
            ) from error
        except Exception as error:  # BigQuery's looks for its keys here
            raise self._explained(error, Running()) from error
        logging.getLogger(kind).setLevel(logging.CRITICAL)  # Trino's tells each attempt
        self._knock()
        self.dialect = self._engine.dialect
        #: Names of the values of a text, where the driver wants names.
        self._names: Any = sa.util.LRUCache(500)
        self.fetch("SELECT 1", (), Running())
        self._opened = True

    def _knock(self) -> None:
        """Raises StoreUnavailableError where nobody listens: some drivers try for many minutes."""
        where = self._engine.url
        if self.name not in PORTS or not where.host or urllib.request.getproxies():
            return
        try:
            address = where.host, where.port or PORTS[self.name]
            socket.create_connection(address, CONNECT_WITHIN_S).close()
        except (OSError, OverflowError) as error:
            raise StoreUnavailableError(
                f"{self.version} can't be reached.",
                hint="Check the host and the port in store.url.",
                detail=str(error),
            ) from error

    @property
    def version(self) -> str:
        """Such as `Trino`: warehouses have no version that says much."""
        return "BigQuery" if self.name == "bigquery" else self.name.capitalize()

    def compile(self, statement: Statement) -> tuple[str, tuple[Any, ...]]:
        """The maker's text, and the values in the order in which the text names them."""
        compiled: Any = statement.compile(dialect=self.dialect)  # type: ignore[union-attr]
        state = compiled._process_parameters_for_postcompile(
            compiled.construct_params(_no_postcompile=True)
        )
        written = {**compiled._bind_processors, **state.processors}
        names = tuple(state.positiontup or state.parameters)
        self._names[state.statement] = () if state.positiontup else names
        return state.statement, tuple(
            written[n](state.parameters[n]) if n in written else state.parameters[n] for n in names
        )

    def fetch(self, sql: str, values: Sequence[Any], running: Running) -> pa.Table:
        """On a connection of its own; cancelling closes it."""
        names = self._names.get(sql)
        bound: Any = dict(zip(names, values, strict=True)) if names else tuple(values)
        try:
            with self._engine.connect() as connection:
                running.start(connection.invalidate)
                try:
                    cursor = connection.exec_driver_sql(sql, bound or None)
                    rows = [tuple(row) for row in cursor.fetchall()]
                    labels = [str(label).lower() for label in cursor.keys()]  # noqa: SIM118
                finally:
                    running.done()
        except Exception as error:
            raise self._explained(error, running) from error
        columns = zip(*rows, strict=True) if rows else [()] * len(labels)
        return pa.table([pa.array(list(c)) for c in columns], names=labels)

    def _explained(self, error: Exception, running: Running) -> StoreError:
        text = str(error).lower()
        if running.cancelled:
            return QueryCancelledError("The question was cancelled.")
        if self._opened:  # before, it is a file of keys or a project that is not found
            if any(word in text for word in NO_COLUMN):
                return missing_column(error)
            if any(word in text for word in NO_TABLE):
                return missing_table(error)
        return StoreUnavailableError(
            f"{self.version} refused the question, or can't be reached.",
            hint="Check store.url, the user's rights, and that the warehouse runs; the log has "
            "its own words.",
            detail=str(error),
        )

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """Raises StoreUnavailableError: a warehouse is read."""
        raise StoreUnavailableError(
            f"I only read from {self.version}.", hint="Fill its tables with your own tools."
        )
        yield  # type: ignore[unreachable]

    def create_tables(self) -> None:
        """Nothing: the tables are other people's."""

    def table_names(self) -> set[str]:
        """Tables and views of the schema that the URL names."""
        look = sa.inspect(self._engine)
        return {n.lower() for n in (*look.get_table_names(), *look.get_view_names())}

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()
