"""Spark, by Spark Connect: this process is a client only, the cluster does the work.

The tables are where they are: in the catalogue, or as folders of Parquet files that Spark can read
(a local path, s3a://, gs://, abfss:// as Spark is configured). `?tables=` at the end of the URL
says where: `sc://host:15002?tables=s3a://bucket/shop` or `?tables=catalog.shop`. Each of our
entities becomes a temporary view of the session, with our types; an entity that is not there is an
empty one.
"""

import contextlib
import datetime as dt
import logging
import secrets
import socket
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

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
    missing_column,
    missing_package,
    missing_table,
)
from storage.engines.mllib import MLlib
from storage.schema import ENTITIES, metadata
from storage.sql import SparkDialect

#: Days and instants are UTC; integers that overflow are errors, never wrapped.
SETTINGS = {"spark.sql.session.timeZone": "UTC", "spark.sql.ansi.enabled": "true"}

#: Rows travel to the cluster in pieces of at most so many rows and bytes, and each is one file
#: there. A task bears a whole piece, twice its size: one of 60 MB takes the server's gigabyte by
#: default, and a server whose scheduler has died so answers nothing any more.
PIECE_ROWS = 100_000
PIECE_BYTES = 2**23

PORT = 15002
CONNECT_WITHIN_S = 10.0
#: Pauses of 0.05, 0.2, 0.8 and 3.2 s: a breath of the network, not an outage.
RETRIES = 4

#: Others write the tables: what is known of the data as a whole is asked anew so often.
KNOWN_FOR_S = 30.0

HINT = "Check store.url and that the Spark Connect server runs: sc://host:15002."


class SparkEngine(Engine):
    """A session of a Spark Connect server; questions run side by side, each under its own tag."""

    name = "spark"
    has_keys = False

    def __init__(self, url: str, *, has_views: bool = True, may_be_empty: bool = False) -> None:
        """Connect, and lay our names over the tables unless an overlay will.

        Raises StoreUnavailableError, also where none of our tables is there, unless it may be so.
        """
        self.has_views = has_views
        self.may_be_empty = may_be_empty
        # it warns of pandas 3, which works, and of every pause before it asks again
        warnings.filterwarnings("ignore", module=r"pyspark\.")
        try:
            from grpc import RpcError
            from pyspark.errors import PySparkException
            from pyspark.sql import SparkSession
            from pyspark.sql.connect.client.retries import DefaultPolicy
        except ImportError as error:
            raise missing_package("Spark", "spark") from error
        # it writes whole traces of the server, with the query, to standard error
        for name in (
            "pyspark.sql.connect.logging",
            "pyspark.sql.connect.client",
            "SQLQueryContextLogger",
        ):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.dialect = SparkDialect()
        self._wrote = 0
        self._error: tuple[type[Exception], ...] = (PySparkException, RpcError)
        self.faults = self._error
        self.remote, _, place = url.partition("?tables=")
        self.place = place.rstrip("/")
        self.library = MLlib(self)
        try:
            self._knock()
            # a session of our own: views of another store on the same server are another's
            self._session = SparkSession.builder.remote(self.remote).create()
            # the client's own policy tries for ten minutes, whoever waits
            self._session.client.set_retry_policies([DefaultPolicy(max_retries=RETRIES)])
            for key, value in SETTINGS.items():
                self._session.conf.set(key, value)
            self._version = str(self._session.version)
            self._there = self.lay_views() if self.has_views else set()
        except self._error as error:
            if condition(error) in NO_PLACE:
                raise StoreUnavailableError(
                    f"{self.place} is no place where the cluster has tables.",
                    hint="Write ?tables=catalog.schema, or a folder as Spark reads it.",
                    detail=str(error),
                ) from error
            raise self._explained(error) or error from error

    def _knock(self) -> None:
        """Raises StoreUnavailableError where nobody listens: the client would wait for long."""
        host, _, port = self.remote.removeprefix("sc://").partition("/")[0].rpartition(":")
        if not port.isdigit():  # no port was said
            host, port = port, str(PORT)
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_WITHIN_S).close()
        except (OSError, OverflowError) as error:
            raise StoreUnavailableError(
                "The Spark Connect server can't be reached.", hint=HINT, detail=str(error)
            ) from error

    @property
    def version(self) -> str:
        """Such as `Spark 4.3.0`."""
        return f"Spark {self._version}"

    @property
    def writes(self) -> int:
        """Grows with each write of ours, and every half minute, for those of others."""
        return self._wrote + int(time.monotonic() / KNOWN_FOR_S)

    def source_of(self, table: str) -> str:
        """Where Spark reads one of our tables: a name of the catalogue, or a folder of Parquet."""
        if "/" in self.place:
            return f"parquet.`{self.place}/{table}`"
        return f"{self.place}.{table}" if self.place else f"spark_catalog.default.{table}"

    def lay_views(self) -> set[str]:
        """A temporary view per table of ours; the names of those that hold something.

        Raises StoreUnavailableError where none of the entities is there, unless it may be so.
        """
        there = self.lay_views_of(str(t.name) for t in metadata.sorted_tables)
        if not self.may_be_empty and not there & {str(t.name) for t in ENTITIES}:
            raise StoreUnavailableError(
                f"None of our tables is in {self.place or 'the catalogue’s default schema'}.",
                hint="Say where they are at the end of store.url: ?tables=catalog.schema or "
                "?tables=s3a://bucket/folder, with folders orders, events, people, … in it; or "
                "fill it: `python -m bot copy-store FROM TO`.",
            )
        return there

    def lay_views_of(self, names: Iterable[str]) -> set[str]:
        """A temporary view of each; the names of those that are there."""
        there = set()
        for name in names:
            table = metadata.tables[name]
            types = {c.name: c.type.compile(dialect=self.dialect) for c in table.columns}
            found = self._columns(self.source_of(name))
            if found is None:
                chosen = ", ".join(f"CAST(NULL AS {t}) AS `{c}`" for c, t in types.items())
                body = f"SELECT {chosen} WHERE false"
            else:
                there.add(name)
                # a column that is not there is refused when a question needs it, not before
                chosen = ", ".join(
                    f"CAST(`{c}` AS {t}) AS `{c}`" for c, t in types.items() if c in found
                )
                body = f"SELECT {chosen} FROM {self.source_of(name)}"  # noqa: S608
            self._session.sql(f"CREATE OR REPLACE TEMPORARY VIEW `{name}` AS {body}")
        return there

    def _columns(self, source: str) -> set[str] | None:
        try:
            return set(self.rows(f"SELECT * FROM {source} WHERE false").column_names)  # noqa: S608 - names of ours
        except self._error as error:
            if condition(error) in (
                "TABLE_OR_VIEW_NOT_FOUND",
                "PATH_NOT_FOUND",
                "SCHEMA_NOT_FOUND",
            ):
                return None
            if condition(error) == "UNABLE_TO_INFER_SCHEMA":
                return None
            raise

    def create_tables(self) -> None:
        """Nothing: the tables are other people's, and what is not there reads as empty."""

    def fetch(self, sql: str, values: Sequence[Any], running: Running) -> pa.Table:
        """Under a tag of its own, by which it can be stopped."""
        with self.asking(running):
            return self.rows(sql, values)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> pa.Table:
        """In one call: `session.sql(…).toArrow()` is three, and each plans the query anew."""
        from pyspark.sql.connect.plan import SQL

        plan = SQL(sql, self.literals(values)).to_proto(self._session.client)
        table: pa.Table = self._session.client.to_table(plan, {})[0]
        return table

    @staticmethod
    def literals(values: Sequence[Any]) -> list[Any]:
        """Bound values as Spark's columns; instants, which are naive UTC, as TIMESTAMP_NTZ.

        By itself pyspark takes a naive instant for the local time of this machine, and asks the
        server for each of them which kind it likes better.
        """
        from pyspark.sql.connect.column import Column
        from pyspark.sql.connect.expressions import LiteralExpression
        from pyspark.sql.connect.functions import lit
        from pyspark.sql.types import TimestampNTZType

        without_zone = TimestampNTZType()
        return [
            Column(LiteralExpression(v, without_zone)) if isinstance(v, dt.datetime) else lit(v)
            for v in values
        ]

    @contextlib.contextmanager
    def asking(self, running: Running) -> Iterator[Any]:
        """The session, for one question; what goes wrong with it is said in our words."""
        tag = f"daybreak-{secrets.token_hex(8)}"

        def stop() -> None:
            with contextlib.suppress(*self._error):
                self._session.interruptTag(tag)

        running.start(stop)
        try:
            self._session.addTag(tag)  # of this thread
            yield self._session
        except self._error as error:
            if explained := self._explained(error, running):
                raise explained from error
            raise
        finally:
            running.done()
            self._session.removeTag(tag)

    def _explained(self, error: Exception, running: Running | None = None) -> StoreError | None:
        text, kind = str(error), condition(error)
        if running is not None and running.cancelled:
            return QueryCancelledError("The question was cancelled.")
        if kind == "SCHEMA_NOT_FOUND":
            return StoreUnavailableError(
                f"The catalogue has no schema {self.place}.",
                hint=f"Make it in Spark first: CREATE DATABASE {self.place}.",
                detail=text,
            )
        if kind in ("TABLE_OR_VIEW_NOT_FOUND", "PATH_NOT_FOUND"):
            return missing_table(error)
        if kind.startswith("UNRESOLVED_COLUMN"):
            return missing_column(error)
        if "OPERATION_CANCELED" in text or kind == "OPERATION_CANCELED":
            return StoppedError(
                "The Spark cluster stopped the question.",
                hint="Ask for a shorter period.",
                detail=text,
            )
        if "OutOfMemoryError" in text or "maxResultSize" in text:
            return OutOfMemoryError(
                "The question needs more memory than the cluster may take.",
                hint="Ask for a shorter period, or give Spark's driver or executors more memory.",
                detail=text,
            )
        if "PERMISSION_DENIED" in text or "UNAUTHENTICATED" in text:
            return StoreUnavailableError(
                "The Spark Connect server refuses us.",
                hint="Check the token in store.url: sc://host:15002/;token=…",
                detail=text,
            )
        if kind == "INVALID_CONNECT_URL":
            return StoreUnavailableError(
                "store.url is no URL of a Spark Connect server.", hint=HINT, detail=text
            )
        if "handshake failed" in text:
            return StoreUnavailableError(
                "The Spark Connect server does not speak TLS.",
                hint="With a token I speak TLS, to all hosts but `localhost`: put a proxy that "
                "speaks it before the server, or a tunnel to localhost.",
                detail=text,
            )
        if any(word in text for word in UNREACHABLE):
            return StoreUnavailableError(
                "The Spark Connect server can't be reached.", hint=HINT, detail=text
            )
        return None

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """Rows are added as files or to tables of the catalogue; the views show them afterwards."""
        try:
            writer = SparkWriter(self, self._session)
            yield writer
            if self.has_views:
                self._there |= self.lay_views_of(sorted(writer.written))
            self._wrote += 1
        except self._error as error:
            if explained := self._explained(error):
                raise explained from error
            raise

    def tables_there(self) -> set[str]:
        """Tables and views of all schemas of the catalogue, as `schema.table`."""
        found = set()
        for schema in self._session.sql("SHOW SCHEMAS").toArrow().column(0).to_pylist():
            tables = self._session.sql(f"SHOW TABLES IN `{schema}`").toArrow()
            found |= {f"{schema}.{name}" for name in tables.column("tableName").to_pylist()}
        return found

    def table_names(self) -> set[str]:
        """Those of our tables that are there."""
        return set(self._there)

    def close(self) -> None:
        """End the session."""
        with contextlib.suppress(*self._error):
            self._session.stop()


#: What Spark says of a place that can be none.
NO_PLACE = ("PARSE_SYNTAX_ERROR", "REQUIRES_SINGLE_PART_NAMESPACE", "CATALOG_NOT_FOUND")

#: What the client says of a server that is not there, or has gone.
UNREACHABLE = (
    "UNAVAILABLE",
    "failed to connect",
    "Connection refused",
    "SESSION_CLOSED",
    "SESSION_NOT_FOUND",
    "Socket closed",
    "DNS resolution failed",
)


def condition(error: Exception) -> str:
    """Spark's word for an error, such as TABLE_OR_VIEW_NOT_FOUND; empty where it has none."""
    for ask in ("getCondition", "getErrorClass"):
        told = getattr(error, ask, lambda: None)()
        if told:
            return str(told).split(".")[0] if not str(told).startswith("UNRESOLVED") else str(told)
    return ""


class SparkWriter(Writer):
    """Adds rows to where the tables are."""

    engine: SparkEngine

    def __init__(self, engine: SparkEngine, session: Any) -> None:
        """`session` is the engine's."""
        super().__init__(engine)
        self.session = session
        self.written: set[str] = set()

    def run(self, statement: Statement) -> None:
        """Raises StoreUnavailableError: rows are added, never changed."""
        del statement
        raise StoreUnavailableError(
            "A Spark store is not changed by me.",
            hint="Load into DuckDB or PostgreSQL and run `python -m bot copy-store FROM TO`, or "
            "fill the tables yourself.",
        )

    def fetch(self, statement: Statement) -> pa.Table:
        """Rows of a query."""
        sql, values = self.engine.compile(statement)
        return self.session.sql(sql, args=self.engine.literals(values)).toArrow()

    def append(self, table: str, rows: pa.Table, *, temporary: bool = False) -> None:
        """In pieces. Raises StoreUnavailableError for temporary tables, which loads need."""
        if temporary:
            self.run(sa.text(""))
        self.written.add(table)
        known = [c.name for c in metadata.tables[table].columns if c.name in rows.column_names]
        rows = rows.select(known)
        pieces = max(-(-rows.num_rows // PIECE_ROWS), -(-rows.nbytes // PIECE_BYTES), 1)
        each = max(1, -(-rows.num_rows // pieces))
        for start in range(0, max(rows.num_rows, 1), each):
            piece = self.session.createDataFrame(rows.slice(start, each))
            # else a file from each core of the cluster, and the more of them the longer each read
            writer = piece.coalesce(1).write.mode("append")
            if "/" in self.engine.place:
                writer.parquet(f"{self.engine.place}/{table}")
            else:
                writer.saveAsTable(self.engine.source_of(table))
