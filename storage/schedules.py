"""What is asked by the clock, in the state database: schedules, and one run for each local day.

A run is keyed by schedule, local day and slot (empty for the run by the clock), so that however
many tickers see it due, one of them makes it. It is

    due -> queued -> posting -> posted | failed
                  -> held (tried again until its window ends) | unchanged | failed
    missed: nobody was there within the window

Instants are those of the database's clock. What a wall-clock time means stands in `bot.when`.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from storage.state import ID, NowUs, State, instant, metadata, microseconds

RunState = Literal["due", "queued", "posting", "posted", "held", "missed", "failed", "unchanged"]

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("id", ID, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, unique=True, comment="in config.yaml; null: made by asking"),
    sa.Column("question", sa.Text, nullable=False, comment="canonical"),
    sa.Column("every", sa.Text, nullable=False, comment="canonical, without the zone"),
    sa.Column("zone", sa.Text, nullable=False, comment="IANA name"),
    sa.Column("channel", sa.Text, nullable=False, comment="Slack's id; empty: not known yet"),
    sa.Column("place", sa.Text, nullable=False, comment="as people read it: #growth, me"),
    sa.Column("owner", sa.Text, nullable=False, comment="whose rights it runs with"),
    sa.Column("team", sa.Text, nullable=False, comment="the workspace, where there are several"),
    sa.Column("surface", sa.Text, nullable=False, comment="slack, terminal, config"),
    sa.Column("made_at", sa.BigInteger, nullable=False),
    sa.Column("next_at", sa.BigInteger, nullable=False, comment="the next run is due"),
    sa.Column("next_day", sa.Text, nullable=False, comment="its local day, ISO 8601"),
    sa.Column("paused", sa.Text, nullable=False, comment="why it rests; empty: it runs"),
    sa.Column("mark", sa.Text, nullable=False, comment="of the last answer"),
    sa.Index("ix_schedules_next_at", "next_at"),
)

schedule_runs = sa.Table(
    "schedule_runs",
    metadata,
    sa.Column("schedule", ID, primary_key=True, autoincrement=False),
    sa.Column("day", sa.Text, primary_key=True, comment="local, ISO 8601"),
    sa.Column("slot", sa.Text, primary_key=True, comment="empty: the run by the clock"),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("try_until", sa.BigInteger, nullable=False, comment="the catch-up window ends"),
    sa.Column("next_try", sa.BigInteger, nullable=False, comment="of a held run; 0: none"),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.Column("note", sa.Text, nullable=False, comment="why it is in this state"),
    sa.Column("is_told", sa.Integer, nullable=False, comment="1: people heard of it"),
    sa.Index("ix_schedule_runs_state", "state", "next_try"),
)


@dataclass(frozen=True)
class Schedule:
    """A question, its times, where the answer goes, and with whose rights it is asked.

    `name` is that of config.yaml, None for what was made by asking; `channel` is Slack's id,
    empty while only the `place` is known; `paused` says why it rests, empty where it runs.
    """

    id: int
    name: str | None
    question: str
    every: str
    zone: str
    channel: str
    place: str
    owner: str
    team: str
    surface: str
    made_at: dt.datetime
    next_at: dt.datetime
    next_day: dt.date
    paused: str
    mark: str


@dataclass(frozen=True)
class RunKey:
    """Names one run."""

    schedule: int
    day: dt.date
    slot: str = ""

    @property
    def text(self) -> str:
        """As the outbox names the run's message."""
        return f"run:{self.schedule}:{self.day.isoformat()}:{self.slot}"

    @classmethod
    def from_text(cls, text: str) -> "RunKey":
        """From `text`."""
        _, schedule, day, slot = text.split(":", 3)
        return cls(int(schedule), dt.date.fromisoformat(day), slot)


@dataclass(frozen=True)
class Run:
    """One run, and how it stands."""

    key: RunKey
    due_at: dt.datetime
    state: RunState
    try_until: dt.datetime
    tries: int
    changed_at: dt.datetime
    note: str


class Schedules:
    """Safe to use from many threads and processes."""

    def __init__(self, state: State) -> None:
        """Kept in the bot's memory."""
        self.state = state

    # Schedules.

    def add(
        self,
        *,
        question: str,
        every: str,
        zone: str,
        channel: str,
        place: str,
        owner: str,
        team: str,
        surface: str,
        next_at: dt.datetime,
        next_day: dt.date,
        name: str | None = None,
    ) -> int:
        """Keep a schedule; its number."""
        row = {
            "name": name,
            "question": question,
            "every": every,
            "zone": zone,
            "channel": channel,
            "place": place,
            "owner": owner,
            "team": team,
            "surface": surface,
            "made_at": NowUs(),
            "next_at": us(next_at),
            "next_day": next_day.isoformat(),
            "paused": "",
            "mark": "",
        }
        with self.state.transaction() as connection:
            inserted = connection.execute(
                sa.insert(schedules).values(row).returning(schedules.c.id)
            )
            return int(inserted.scalar_one())

    def all(self) -> list[Schedule]:
        """Every schedule, by its number."""
        return self._chosen(sa.select(schedules).order_by(schedules.c.id))

    def get(self, number: int) -> Schedule | None:
        """The schedule of a number."""
        found = self._chosen(sa.select(schedules).where(schedules.c.id == number))
        return found[0] if found else None

    def due(self, limit: int = 100) -> list[Schedule]:
        """Those that do not rest and whose next run is due, by the database's clock."""
        due = (schedules.c.next_at <= NowUs()) & (schedules.c.paused == "")
        return self._chosen(
            sa.select(schedules).where(due).order_by(schedules.c.next_at).limit(limit)
        )

    def change(self, number: int, **values: Any) -> bool:
        """Set columns of a schedule (instants and days as such); whether there is one."""
        with self.state.transaction() as connection:
            return self.change_in(connection, number, **values)

    def change_in(self, connection: sa.Connection, number: int, **values: Any) -> bool:
        """As `change`, inside a transaction."""
        kept = {name: _kept(value) for name, value in values.items()}
        change = sa.update(schedules).where(schedules.c.id == number).values(kept)
        return connection.execute(change).rowcount == 1

    def delete(self, number: int) -> bool:
        """Drop a schedule with its runs; whether there was one."""
        with self.state.transaction() as connection:
            connection.execute(sa.delete(schedule_runs).where(schedule_runs.c.schedule == number))
            dropped = connection.execute(sa.delete(schedules).where(schedules.c.id == number))
            return dropped.rowcount == 1

    def _chosen(self, chosen: sa.Select[Any]) -> list[Schedule]:
        with self.state.transaction() as connection:
            rows = connection.execute(chosen).mappings().all()
        return [
            Schedule(
                **{
                    **row,
                    "made_at": instant(row["made_at"]),
                    "next_at": instant(row["next_at"]),
                    "next_day": dt.date.fromisoformat(row["next_day"]),
                }
            )
            for row in rows
        ]

    # Runs.

    def begin_in(
        self,
        connection: sa.Connection,
        key: RunKey,
        *,
        due_at: dt.datetime,
        try_until: dt.datetime,
        state: RunState = "queued",
        note: str = "",
    ) -> bool:
        """Make a run; False where it was made before."""
        row: dict[str, Any] = {
            "schedule": key.schedule,
            "day": key.day.isoformat(),
            "slot": key.slot,
            "due_at": us(due_at),
            "state": state,
            "try_until": us(try_until),
            "next_try": NowUs() if state == "due" else 0,
            "tries": 0,
            "changed_at": NowUs(),
            "note": note,
            "is_told": 0,
        }
        made = self.state.insert(schedule_runs).values(row).on_conflict_do_nothing()
        return connection.execute(made.returning(schedule_runs.c.day)).first() is not None

    def advance_in(
        self,
        connection: sa.Connection,
        schedule: Schedule,
        *,
        next_at: dt.datetime,
        next_day: dt.date,
    ) -> bool:
        """Set the next run; False where another did, or the schedule was changed meanwhile."""
        as_seen = (schedules.c.id == schedule.id) & (schedules.c.next_at == us(schedule.next_at))
        change = sa.update(schedules).where(as_seen).values(
            next_at=us(next_at), next_day=next_day.isoformat()
        )  # fmt: skip
        return connection.execute(change).rowcount == 1

    def run(self, key: RunKey) -> Run | None:
        """One run."""
        found = self._runs(sa.select(schedule_runs).where(_is(key)))
        return found[0] if found else None

    def last_runs(self) -> dict[int, Run]:
        """The latest run of each schedule that has one."""
        newest = sa.func.row_number().over(
            partition_by=schedule_runs.c.schedule,
            order_by=(schedule_runs.c.due_at.desc(), schedule_runs.c.slot.desc()),
        )
        ranked = sa.select(schedule_runs, newest.label("nth")).subquery()
        chosen = sa.select(*(ranked.c[c.name] for c in schedule_runs.c)).where(ranked.c.nth == 1)
        return {run.key.schedule: run for run in self._runs(chosen)}

    def waiting_in(self, connection: sa.Connection) -> list[RunKey]:
        """Runs that are due, and held ones to be tried again now: they are queued by this call."""
        due = schedule_runs.c.state.in_(("due", "held")) & (schedule_runs.c.next_try > 0)
        again = (
            sa.update(schedule_runs)
            .where(due, schedule_runs.c.next_try <= NowUs())
            .values(state="queued", next_try=0, changed_at=NowUs())
            .returning(schedule_runs.c.schedule, schedule_runs.c.day, schedule_runs.c.slot)
        )
        return [
            RunKey(row.schedule, dt.date.fromisoformat(row.day), row.slot)
            for row in connection.execute(again)
        ]

    def set_in(
        self,
        connection: sa.Connection,
        key: RunKey,
        state: RunState,
        *,
        note: str = "",
        tried: bool = False,
        retry_seconds: float = 0.0,
    ) -> bool:
        """How a run stands now; `tried` counts a try, `retry_seconds` from now is the next."""
        next_try = NowUs() + microseconds(retry_seconds) if retry_seconds else 0
        change = (
            sa.update(schedule_runs)
            .where(_is(key))
            .values(
                state=state,
                note=note[:300],
                next_try=next_try,
                tries=schedule_runs.c.tries + int(tried),
                changed_at=NowUs(),
            )
        )
        return connection.execute(change).rowcount == 1

    def posted_in(self, connection: sa.Connection, key: RunKey) -> None:
        """The run's answer stands in Slack; what is held or waits again stays so."""
        change = sa.update(schedule_runs).where(_is(key), schedule_runs.c.state == "posting")
        connection.execute(change.values(state="posted", changed_at=NowUs()))

    def missed(self, number: int) -> list[Run]:
        """Missed runs of a schedule that nobody heard of yet, oldest first."""
        quiet = (schedule_runs.c.state == "missed") & (schedule_runs.c.is_told == 0)
        return self._runs(
            sa.select(schedule_runs)
            .where(quiet, schedule_runs.c.schedule == number)
            .order_by(schedule_runs.c.due_at)
        )

    def told_in(self, connection: sa.Connection, keys: Iterable[RunKey]) -> None:
        """People heard of these missed runs."""
        for key in keys:
            connection.execute(sa.update(schedule_runs).where(_is(key)).values(is_told=1))

    def purge(self, *, older_than_seconds: float) -> int:
        """Delete runs that ended long ago; how many it were."""
        old = schedule_runs.c.due_at < NowUs() - microseconds(older_than_seconds)
        with self.state.transaction() as connection:
            return connection.execute(sa.delete(schedule_runs).where(old)).rowcount

    def _runs(self, chosen: sa.Select[Any]) -> list[Run]:
        with self.state.transaction() as connection:
            rows = connection.execute(chosen).all()
        return [
            Run(
                key=RunKey(row.schedule, dt.date.fromisoformat(row.day), row.slot),
                due_at=instant(row.due_at),
                state=row.state,
                try_until=instant(row.try_until),
                tries=row.tries,
                changed_at=instant(row.changed_at),
                note=row.note,
            )
            for row in rows
        ]


def us(at: dt.datetime) -> int:
    """An aware instant as it is kept."""
    return (at - instant(0)) // dt.timedelta(microseconds=1)


def _kept(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return us(value)
    return value.isoformat() if isinstance(value, dt.date) else value


def _is(key: RunKey) -> sa.ColumnElement[bool]:
    return (
        (schedule_runs.c.schedule == key.schedule)
        & (schedule_runs.c.day == key.day.isoformat())
        & (schedule_runs.c.slot == key.slot)
    )
