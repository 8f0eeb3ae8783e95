"""A URL -> an engine: compile a statement, run it to Arrow, write in one transaction, cancel.

| URL | engine |
|---|---|
| `duckdb:///path/store.duckdb`, `duckdb:///:memory:` | DuckDB in this process (the default) |
| `postgresql://user:password@host/database` | PostgreSQL; reads by ADBC |
| `sqlite:///path/store.sqlite`, `sqlite:///:memory:` | SQLite |
| `clickhouse://user:password@host:8123/database` | ClickHouse; `chdb:///folder`: in this process |
| `sc://host:15002/;…?tables=…` | Spark, by Spark Connect |
| `trino://…`, `snowflake://…`, `bigquery://…`, `redshift://…`, `databricks://…` | by their makers |
"""

from storage.engines.base import (
    Engine,
    OutOfMemoryError,
    QueryCancelledError,
    Running,
    StoppedError,
    StoreError,
    StoreUnavailableError,
    Writer,
    arrow_type,
    path_of,
)
from storage.engines.duck import DuckEngine
from storage.engines.lite import SqliteEngine
from storage.engines.postgres import PostgresEngine

__all__ = [
    "Engine",
    "OutOfMemoryError",
    "QueryCancelledError",
    "Running",
    "StoppedError",
    "StoreError",
    "StoreUnavailableError",
    "Writer",
    "arrow_type",
    "of_one_process",
    "open_engine",
]


def of_one_process(url: str) -> bool:
    """Whether one process at a time may open a store."""
    return url.partition(":")[0].lower() in ("duckdb", "chdb")


def open_engine(
    url: str,
    *,
    memory_limit: str = "",
    threads: int = 0,
    has_views: bool = True,
    may_be_empty: bool = False,
) -> Engine:
    """The engine of a store URL. Raises StoreUnavailableError with what to do.

    Where tables can't be made by opening, a store without any is taken for a wrong URL, unless it
    `may_be_empty`.
    """
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    match scheme.partition("+")[0]:
        case "duckdb":
            return DuckEngine(path_of(url), memory_limit=memory_limit, threads=threads)
        case "sqlite":
            return SqliteEngine(path_of(url))
        case "postgresql" | "postgres":
            return PostgresEngine(url, memory_limit=memory_limit)
        case "clickhouse" | "clickhouses" | "chdb":
            from storage.engines.clickhouse import ClickhouseEngine

            return ClickhouseEngine(url)
        case "sc":
            from storage.engines.spark import SparkEngine

            return SparkEngine(url, has_views=has_views, may_be_empty=may_be_empty)
        case "trino" | "snowflake" | "bigquery" | "redshift" | "databricks":
            from storage.engines.warehouse import WarehouseEngine

            return WarehouseEngine(url)
        case _:
            raise StoreUnavailableError(
                f"I can't open a store of the kind “{scheme}”."
                if scheme
                else "store.url is no URL.",
                hint="Use duckdb:///file, postgresql://user@host/database, sqlite:///file, "
                "clickhouse://user@host/database or sc://host:15002.",
            )
