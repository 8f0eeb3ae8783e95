"""Experiments in the bot's memory: as registered in chat, and what was read of them each day.

A snapshot of an experiment is what its questions read from the store on one day, query by query:
sums per variant and day of first exposure, or per variant and segment, never a person's row. The
first to ask keeps it, and all later asks of the day read the same.
"""

import datetime as dt
import hashlib
import io
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from storage.state import State, metadata, storable
from storage.store import Read, Select, Store, conform, tables_of

registrations = sa.Table(
    "experiments",
    metadata,
    sa.Column("name", sa.Text, primary_key=True, comment="as the exposures call it"),
    sa.Column("plan", sa.Text, nullable=False, comment="JSON; empty: planned elsewhere or not"),
    sa.Column("stopped", sa.Text, nullable=False, comment="the first local day that doesn't count"),
    sa.Column("by", sa.Text, nullable=False, comment="who said so last"),
    sa.Column("said_on", sa.Text, nullable=False, comment="the local day of it"),
)

snapshots = sa.Table(
    "experiment_snapshots",
    metadata,
    sa.Column("experiment", sa.Text, primary_key=True),
    sa.Column("day", sa.Text, primary_key=True, comment="the local day whose morning it shows"),
    sa.Column("query", sa.Text, primary_key=True, comment="SHA-256 of engine, text and values"),
    sa.Column("taken_at", sa.Text, nullable=False, comment="ISO 8601, the asker's clock"),
    sa.Column("rows", sa.LargeBinary, nullable=False, comment="an Arrow stream"),
)

#: Days for which snapshots are kept.
KEPT_DAYS = 35


@dataclass(frozen=True)
class Registration:
    """What was said in chat of an experiment: its plan as JSON, and from which day it is over."""

    name: str
    plan: str
    stopped: dt.date | None
    by: str
    on: dt.date


class Experiments:
    """Registrations in the bot's memory. Safe to use from many threads and processes."""

    def __init__(self, state: State) -> None:
        """Over the bot's memory."""
        self.state = state

    def all(self) -> list[Registration]:
        """All registrations, by name."""
        chosen = sa.select(registrations).order_by(registrations.c.name)
        with self.state.transaction() as connection:
            rows = connection.execute(chosen).mappings().all()
        return [
            Registration(
                r["name"], r["plan"], day_or_none(r["stopped"]), r["by"], as_day(r["said_on"])
            )
            for r in rows
        ]

    def put(self, registration: Registration) -> None:
        """Keep a registration in place of an earlier one of the name."""
        row = {
            "name": storable(registration.name),
            "plan": registration.plan,
            "stopped": registration.stopped.isoformat() if registration.stopped else "",
            "by": storable(registration.by),
            "said_on": registration.on.isoformat(),
        }
        insert = insert_into(self.state, registrations).values(row)
        others = {k: v for k, v in row.items() if k != "name"}
        with self.state.transaction() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=others))

    def drop(self, name: str) -> None:
        """Forget a registration."""
        with self.state.transaction() as connection:
            connection.execute(sa.delete(registrations).where(registrations.c.name == name))

    def purge_snapshots(self, *, before: dt.date) -> int:
        """Delete the snapshots of earlier days; how many queries' rows it were."""
        old = sa.delete(snapshots).where(snapshots.c.day < before.isoformat())
        with self.state.transaction() as connection:
            return connection.execute(old).rowcount


class Snapshot(Store):
    """A store that answers a query about an experiment as it was first answered that day.

    It writes into the record of the store that it stands for, and is cancelled with it. `taken`
    are the instants at which the answers given were read.
    """

    def __init__(
        self,
        store: Store,
        state: State,
        *,
        experiment: str,
        day: dt.date,
        now: dt.datetime,
        fresh: bool = False,
    ) -> None:
        """`fresh` reads all anew, and keeps that for the rest of the day."""
        super().__init__(store.engine, seconds_limit=store.seconds_limit)
        self.reads, self.tables_read = store.reads, store.tables_read
        self._running, self._deadline = store._running, store._deadline
        self._state, self._fresh = state, fresh
        self._key = {"experiment": storable(experiment), "day": day.isoformat()}
        self._now = now.astimezone(dt.UTC)
        self._kept: dict[str, tuple[str, bytes]] | None = None
        self.taken: list[dt.datetime] = []

    def arrow(self, statement: Select) -> pa.Table:
        """The rows as they were first read on the day."""
        sql, values = self.engine.compile(statement)
        digest = hashlib.sha256(repr((self.engine.name, sql, values)).encode()).hexdigest()
        kept = self._all()
        if digest not in kept:
            table = super().arrow(statement)
            self._keep(digest, packed(table))
            # another asker may have been first: theirs is the day's
            self._kept = None
            taken, rows = self._all()[digest]
            self.taken.append(dt.datetime.fromisoformat(taken))
            return conform(unpacked(rows), statement)
        taken, rows = kept[digest]
        self.taken.append(dt.datetime.fromisoformat(taken))
        table = conform(unpacked(rows), statement)
        self.reads.append(Read(sql, values, table.num_rows, 0.0))
        if sql not in self.engine.tables_of_sql:
            self.engine.tables_of_sql[sql] = frozenset(tables_of(statement))
        self.tables_read |= self.engine.tables_of_sql[sql]
        return table

    def known(self, statement: Select) -> list[dict[str, Any]]:
        """As `rows`: facts about all the data belong to the day too."""
        return self.rows(statement)

    def _all(self) -> dict[str, tuple[str, bytes]]:
        """Query -> when it was read and its rows; a fresh one begins with nothing."""
        if self._kept is None:
            if self._fresh:
                self._forget()
                self._fresh = False
            chosen = sa.select(snapshots.c.query, snapshots.c.taken_at, snapshots.c.rows).where(
                *(snapshots.c[name] == value for name, value in self._key.items())
            )
            with self._state.transaction() as connection:
                rows = connection.execute(chosen).all()
            self._kept = {query: (taken, bytes(body)) for query, taken, body in rows}
        return self._kept

    def _forget(self) -> None:
        old = sa.delete(snapshots).where(*(snapshots.c[n] == v for n, v in self._key.items()))
        with self._state.transaction() as connection:
            connection.execute(old)

    def _keep(self, digest: str, rows: bytes) -> None:
        row = {**self._key, "query": digest, "taken_at": self._now.isoformat(), "rows": rows}
        insert = insert_into(self._state, snapshots).values(row).on_conflict_do_nothing()
        with self._state.transaction() as connection:
            connection.execute(insert)


def insert_into(state: State, table: sa.Table) -> Any:
    """An insert that knows what to do about a row that is there."""
    return sqlite.insert(table) if state.is_sqlite else postgresql.insert(table)


def packed(table: pa.Table) -> bytes:
    """A table as bytes, to the last bit."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def unpacked(rows: bytes) -> pa.Table:
    """The table of `packed`."""
    with pa.ipc.open_stream(rows) as reader:
        return reader.read_all()


def as_day(text: str) -> dt.date:
    """A kept day."""
    return dt.date.fromisoformat(text)


def day_or_none(text: str) -> dt.date | None:
    """A kept day; None for none."""
    return as_day(text) if text else None
