"""ClickHouse: a server, or the engine in this process (`chdb`).

ClickHouse has no transactions: each block of rows is in the table afterwards or not, but a load of
several tables can break off between them. So stores are copied into it, or filled by whoever runs
it; `load` writes to the others.
"""

import contextlib
import datetime as dt
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler

from storage.engines.base import (
    Engine,
    OutOfMemoryError,
    QueryCancelledError,
    Running,
    Statement,
    StoppedError,
    StoreError,
    StoreUnavailableError,
    Writer,
    first_line,
    make_folder,
    missing_column,
    missing_package,
    missing_table,
    path_of,
)
from storage.schema import Instant, metadata

log = logging.getLogger(__name__)

#: What makes it speak SQL as the others do: nulls of outer joins, of sums over no rows and of
#: casts stay nulls, and a column's name means the column, not what is selected under its name.
SETTINGS = {
    "join_use_nulls": 1,
    "aggregate_functions_null_for_empty": 1,
    "cast_keep_nullable": 1,
    "prefer_column_name_to_alias": 1,
    "union_default_mode": "DISTINCT",
    "session_timezone": "UTC",
    "output_format_arrow_string_as_string": 1,
    # lists of people are written into the text; 256 kB are no more than 40,000 numbers
    "max_query_size": 2**25,
}

UNKNOWN_TABLE, UNKNOWN_COLUMN, UNKNOWN_DATABASE = 60, 47, 81
NO_MEMORY, CANCELLED, TIMED_OUT = 241, 394, 159
#: Too many rows, too slow, a quota, too many questions at once, too many bytes.
OVER_LIMITS = (158, 160, 201, 202, 307, 396)
#: Read-only, unknown user, wrong or no password, a grant is missing.
DENIED = (164, 192, 193, 194, 497, 516)

#: A server that does not know a question yet forgets that it should stop it: told again so often.
TELL_AGAIN_AFTER_S = 0.5


def clickhouse_dialect() -> Any:
    """The driver's own dialect, with integers of 64 bits and counts that have a sign."""
    from clickhouse_connect.cc_sqlalchemy.dialect import ClickHouseDialect

    class Compiler(ClickHouseDialect.statement_compiler):  # type: ignore[misc]
        def visit_bindparam(self, bindparam: Any, *args: Any, **kw: Any) -> str:
            text = super().visit_bindparam(bindparam, *args, **kw)
            is_instant = isinstance(bindparam.type, Instant | sa.DateTime)
            return f"toDateTime64({text}, 6, 'UTC')" if is_instant else str(text)

        def visit_count_func(self, function: Any, **kw: Any) -> str:
            inside = self.function_argspec(function, **kw)
            text = f"count({inside.removeprefix('(').removesuffix(')')})"
            return text if kw.get("windowed") else f"toInt64({text})"

        def visit_over(self, over: Any, **kw: Any) -> str:
            text = str(super().visit_over(over, windowed=True, **kw))
            ranked = getattr(over.element, "name", "") in ("count", "row_number", "rank")
            return f"toInt64({text})" if ranked else text

        def group_by_clause(self, select: Any, **kw: Any) -> str:
            # the expression, since a name means the column where there is one
            return str(SQLCompiler.group_by_clause(self, select, **kw))  # type: ignore[no-untyped-call]

    class Types(ClickHouseDialect.type_compiler_cls):  # type: ignore[misc]
        def visit_INTEGER(self, *_: Any, **__: Any) -> str:  # noqa: N802
            return "Int64"

        visit_BIGINT = visit_INTEGER  # noqa: N815

        def visit_TEXT(self, *_: Any, **__: Any) -> str:  # noqa: N802
            return "String"

        visit_VARCHAR = visit_TEXT  # noqa: N815

        def visit_BOOLEAN(self, *_: Any, **__: Any) -> str:  # noqa: N802
            return "Bool"

        def visit_DATETIME(self, *_: Any, **__: Any) -> str:  # noqa: N802
            return "DateTime64(6, 'UTC')"

        def visit_FLOAT(self, *_: Any, **__: Any) -> str:  # noqa: N802
            return "Float64"

        visit_DOUBLE = visit_FLOAT  # noqa: N815
        visit_DOUBLE_PRECISION = visit_FLOAT  # noqa: N815

    class Dialect(ClickHouseDialect):  # type: ignore[misc]
        statement_compiler = Compiler
        type_compiler_cls = Types
        supports_statement_cache = True
        supports_simple_order_by_label = False

    return Dialect(paramstyle="format")


class ClickhouseEngine(Engine):
    """`clickhouse://user:password@host:8123/database`, or `chdb:///folder` in this process."""

    name = "clickhouse"
    has_keys = False

    def __init__(self, url: str) -> None:
        """Connect once, to find faults early."""
        try:
            import clickhouse_connect
            from clickhouse_connect.driver import exceptions
        except ImportError as error:
            raise missing_package("ClickHouse", "clickhouse") from error
        self._error: type[Exception] = exceptions.Error
        self.faults = (self._error,)
        self.dialect = clickhouse_dialect()
        self.in_process = url.startswith("chdb:")
        #: the engine in process answers one question at a time
        self._turn: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if self.in_process else contextlib.nullcontext()
        )
        self.url = url
        try:
            if self.in_process:
                path = path_of(url)
                make_folder(path)
                self._client = clickhouse_connect.get_client(interface="chdb", path=path)
            else:
                self._client = clickhouse_connect.get_client(
                    dsn=url,
                    secure=url.startswith("clickhouses:"),
                    autogenerate_session_id=False,
                    connect_timeout=10,
                    query_retries=0,
                    dedicated_pool=True,
                )
                pool = self._client.http
                pool.request = sent_once(pool.request)
            self._version = str(self._client.server_version)
            self._set()
        except ImportError as error:
            raise missing_package("chdb", "clickhouse") from error
        except (self._error, OSError) as error:
            if code_of(error) == UNKNOWN_DATABASE:
                raise StoreUnavailableError(
                    "The ClickHouse server has no such database.",
                    hint="Make it there (CREATE DATABASE), or name another in store.url.",
                    detail=str(error),
                ) from error
            raise StoreUnavailableError(
                "The ClickHouse store can't be reached.",
                hint="Check store.url: host, port, database, user and password.",
                detail=str(error),
            ) from error

    def _set(self) -> None:
        """Send our settings with each question from now on.

        Raises StoreUnavailableError where the server does not know them or the user may not.
        """
        known = self._client.server_settings
        if strange := [n for n in SETTINGS if n not in known]:
            self.close()
            raise StoreUnavailableError(
                f"{self.version} is too old for me.",
                hint=f"It does not know {', '.join(strange)}: take a newer one.",
            )
        wanted = {n: v for n, v in SETTINGS.items() if known[n].value != str(v)}
        if any(known[n].readonly for n in wanted):
            self.close()
            missing = ", ".join(f"{n} = {v!r}" for n, v in wanted.items())
            raise StoreUnavailableError(
                "The ClickHouse store's user is read-only and may change no settings.",
                hint="Give it readonly = 2, or no readonly and only SELECT on the tables; or set "
                f"in its profile: {missing}.",
            )
        for name, value in SETTINGS.items():
            self._client.set_client_setting(name, value)

    @property
    def version(self) -> str:
        """Such as `ClickHouse 26.9.2`."""
        return f"ClickHouse {self._version}"

    def fetch(self, sql: str, values: Sequence[Any], running: Running) -> pa.Table:
        """Under a name of its own, by which it can be stopped."""
        name = f"daybreak-{secrets.token_hex(8)}"
        told_at = -TELL_AGAIN_AFTER_S

        def stop() -> None:
            nonlocal told_at
            if self.in_process or time.monotonic() < told_at + TELL_AGAIN_AFTER_S:
                return
            told_at = time.monotonic()
            try:
                self._client.command(f"KILL QUERY WHERE query_id = '{name}' ASYNC")
            except self._error as error:
                if code_of(error) in DENIED:  # a server lets no one stop what he can't see
                    told_at = math.inf
                    log.warning("question_not_stopped", extra={"detail": first_line(error)})

        with self._turn:
            running.start(stop)
            try:
                return self._client.query_arrow(
                    sql,
                    parameters=[bound(v) for v in values] or None,
                    settings={} if self.in_process else {"query_id": name},
                    use_strings=True,
                )
            except self._error as error:
                if explained := self._explained(error, running):
                    raise explained from error
                raise
            finally:
                running.done()

    def _explained(self, error: Exception, running: Running | None = None) -> StoreError | None:
        text, code = str(error), code_of(error)
        if running is not None and running.cancelled:
            return QueryCancelledError("The question was cancelled.")
        if code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
            return missing_table(error)
        if code == UNKNOWN_COLUMN:
            return missing_column(error)
        if code == NO_MEMORY:
            return OutOfMemoryError(
                "The question needs more memory than the store may take.",
                hint="Ask for a shorter period, or raise the server's max_memory_usage.",
                detail=text,
            )
        if code in (CANCELLED, TIMED_OUT):
            return StoppedError(
                "The ClickHouse store stopped the question.",
                hint="Ask for a shorter period, or raise the server's max_execution_time.",
                detail=text,
            )
        if code in OVER_LIMITS:
            return StoppedError(
                "The ClickHouse store's limits forbid the question.",
                hint="Ask for a shorter period, or raise the limits and quotas of its user.",
                detail=text,
            )
        if code in DENIED:
            rights = "SELECT" if running is not None else "SELECT, CREATE TABLE and INSERT"
            return StoreUnavailableError(
                "The ClickHouse store does not allow that.",
                hint=f"Grant the store's user {rights} on the database, or name another user.",
                detail=text,
            )
        if code is None:
            return StoreUnavailableError(
                "The ClickHouse store broke off.",
                hint="Ask again; if it stays so, check that the server runs.",
                detail=text,
            )
        return None

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """One block of rows after the other: what was written stays when a later one fails."""
        with self._turn:
            try:
                yield ClickhouseWriter(self, self._client)
            except self._error as error:
                if explained := self._explained(error):
                    raise explained from error
                raise

    def ddl(self, table: sa.Table) -> str:
        """Sorted by its key; every column that may be null says so."""
        quote = self.dialect.identifier_preparer.quote
        lines = []
        for column in table.columns:
            type_ = column.type.compile(dialect=self.dialect)
            lines.append(
                f"{quote(column.name)} " + (f"Nullable({type_})" if column.nullable else type_)
            )
        keys = ", ".join(quote(c.name) for c in table.primary_key.columns)
        return (
            f"CREATE TABLE IF NOT EXISTS {quote(table.name)} ({', '.join(lines)}) "
            f"ENGINE = MergeTree ORDER BY ({keys})"
        )

    def tables_there(self) -> set[str]:
        """Tables and views of all databases, as `database.table`, and of ours without it."""
        sql = "SELECT concat(database, '.', name) AS name FROM system.tables"
        return self.table_names() | set(self.fetch(sql, (), Running()).column(0).to_pylist())

    def table_names(self) -> set[str]:
        """Tables and views of the database."""
        sql = "SELECT name FROM system.tables WHERE database = currentDatabase()"
        return set(self.fetch(sql, (), Running()).column(0).to_pylist())

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class ClickhouseWriter(Writer):
    """Writes as they come."""

    engine: ClickhouseEngine

    def __init__(self, engine: ClickhouseEngine, client: Any) -> None:
        """`client` is the driver's."""
        super().__init__(engine)
        self.client = client

    def run(self, statement: Statement) -> None:
        """As SQLAlchemy statement or `text()`."""
        sql, values = self.engine.compile(statement)
        self.client.command(sql, parameters=[bound(v) for v in values] or None)

    def fetch(self, statement: Statement) -> pa.Table:
        """Rows of a query."""
        sql, values = self.engine.compile(statement)
        return self.client.query_arrow(
            sql, parameters=[bound(v) for v in values] or None, use_strings=True
        )

    def append(self, table: str, rows: pa.Table, *, temporary: bool = False) -> None:
        """As Arrow. Raises StoreUnavailableError for temporary tables, which loads need."""
        if temporary:
            raise StoreUnavailableError(
                "A ClickHouse store is not filled by `load`.",
                hint="Load into DuckDB or PostgreSQL and run `python -m bot copy-store FROM TO`, "
                "or fill the tables yourself.",
            )
        known = {c.name for c in metadata.tables[table].columns}
        kept = rows.select([n for n in rows.column_names if n in known])
        self.client.insert_arrow(table, kept)


def bound(value: Any) -> Any:
    """A value as the driver writes it into the text: instants with their microseconds."""
    return value.isoformat(" ", "microseconds") if isinstance(value, dt.datetime) else value


def code_of(error: Exception) -> int | None:
    """ClickHouse's number of an error, as in `Code: 60. DB::Exception`; None: none of its own."""
    return getattr(error, "code", None)


def sent_once(request: Callable[..., Any]) -> Callable[..., Any]:
    """The request of the driver's pool, without what makes the driver repeat it.

    It sends a read again when the connection ends before the answer: the server may be at work on
    the first, or have died of it.
    """
    from urllib3.exceptions import HTTPError

    def requested(*words: Any, **named: Any) -> Any:
        try:
            response = request(*words, **named)
        except HTTPError as error:
            raise HTTPError(str(error)) from error
        if response.status == HTTPStatus.OK and all(
            name.lower() == "x-clickhouse-progress" for name in response.headers
        ):
            response.close()
            raise HTTPError("the connection ended before the answer began")
        return response

    return requested
