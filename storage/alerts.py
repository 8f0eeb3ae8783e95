"""Alerts and their incidents, in the state database.

An alert watches a metric. For each kind of incident (its `condition`; the `absence` of data) it
has one standing: whether an incident is open, and what was said last. A standing changes in one
transaction with the incident's row and the post that tells of it, on a locked row: however many
replicas look, and however often, each change happens and is told once.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa

from storage.outbox import Outbox
from storage.state import ID, NowUs, State, instant, metadata

Kind = Literal["condition", "absence"]
Event = Literal["opened", "updated", "resolved"]

#: Why an alert rests that is to be forgotten as soon as its open incidents were told so.
DELETED = "deleted"

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", ID, primary_key=True, autoincrement=True),
    sa.Column("question", sa.Text, nullable=False, comment="canonical"),
    sa.Column("owner", sa.Text, nullable=False, comment="whose rights it looks with"),
    sa.Column("team", sa.Text, nullable=False, comment="the workspace, where there are several"),
    sa.Column("channel", sa.Text, nullable=False, comment="Slack's id"),
    sa.Column("place", sa.Text, nullable=False, comment="as people read it: #growth, me"),
    sa.Column("made_at", sa.BigInteger, nullable=False),
    sa.Column("paused", sa.Text, nullable=False, comment="why it rests; empty: it looks"),
    sa.Column("seen", sa.Text, nullable=False, comment="the data it looked at last"),
)

alert_standings = sa.Table(
    "alert_standings",
    metadata,
    sa.Column("alert", ID, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, primary_key=True, comment="condition, absence"),
    sa.Column("incident", ID, nullable=False, autoincrement=False, comment="open; 0: none is"),
    sa.Column("value", sa.Double, comment="said last"),
    sa.Column("block", sa.Text, nullable=False, comment="the day said last"),
    sa.Column("calm", sa.Integer, nullable=False, comment="days in a row back inside"),
    sa.Column("stamp", sa.BigInteger, nullable=False, comment="of the data looked at last"),
    sa.Column("waits_since", sa.BigInteger, nullable=False, comment="absence, until it is told"),
)

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", ID, primary_key=True, autoincrement=True),
    sa.Column("alert", ID, nullable=False, autoincrement=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.Column("resolved_at", sa.BigInteger, nullable=False, comment="0: open"),
    sa.Column("version", sa.Integer, nullable=False, comment="counts what was said of it"),
    sa.Column("first_block", sa.Text, nullable=False),
    sa.Column("first_value", sa.Double),
    sa.Column("value", sa.Double, comment="the newest"),
)


@dataclass(frozen=True)
class Alert:
    """One alert; `paused` is why it rests, empty where it looks."""

    id: int
    question: str
    owner: str
    team: str
    channel: str
    place: str
    made_at: dt.datetime
    paused: str
    seen: str


@dataclass(frozen=True)
class Standing:
    """How an alert stands. `value` and `block` are what was said last, `calm` counts the days in a
    row on which it was back inside, `stamp` orders what was looked at.
    """

    is_open: bool = False
    value: float | None = None
    block: str = ""
    calm: int = 0
    stamp: int = 0
    waits_since: int = 0


@dataclass(frozen=True)
class Incident:
    """One incident; `version` is 1 for the first thing said of it."""

    id: int
    alert: int
    kind: Kind
    opened_at: dt.datetime
    resolved_at: dt.datetime | None
    version: int
    first_block: str
    first_value: float | None
    value: float | None

    @property
    def key(self) -> str:
        """Names its message."""
        return f"alert:{self.alert}:{self.id}"


@dataclass(frozen=True)
class Post:
    """What is to be said: the lane and body of a delivery whose key is given."""

    lane: str
    body: str


Step = Callable[[Standing, int], tuple[Standing, Event | None]]
Say = Callable[[Incident, Event, str, str], Post]


class Alerts:
    """Safe to use from many threads and processes."""

    def __init__(self, state: State) -> None:
        """Kept in the bot's memory."""
        self.state = state

    def add(self, *, question: str, owner: str, team: str, channel: str, place: str) -> int:
        """Keep an alert; its number."""
        row = {
            "question": question,
            "owner": owner,
            "team": team,
            "channel": channel,
            "place": place,
            "made_at": NowUs(),
            "paused": "",
            "seen": "",
        }
        with self.state.transaction() as connection:
            inserted = connection.execute(sa.insert(alerts).values(row).returning(alerts.c.id))
            return int(inserted.scalar_one())

    def all(self) -> list[Alert]:
        """In the order in which they were made."""
        with self.state.transaction() as connection:
            rows = connection.execute(sa.select(alerts).order_by(alerts.c.id)).mappings().all()
        return [_alert(row) for row in rows]

    def get(self, number: int) -> Alert | None:
        """The alert of a number."""
        chosen = sa.select(alerts).where(alerts.c.id == number)
        with self.state.transaction() as connection:
            row = connection.execute(chosen).mappings().one_or_none()
        return None if row is None else _alert(row)

    def change(self, number: int, **values: Any) -> None:
        """Change columns of an alert."""
        change = sa.update(alerts).where(alerts.c.id == number).values(values)
        with self.state.transaction() as connection:
            connection.execute(change)

    def delete(self, number: int, say: Say) -> None:
        """Forget an alert; where an incident is open, `say` what is told of its end."""
        with self.state.transaction() as connection:
            here = alert_standings.c.alert == number
            open_ones = sa.select(alert_standings.c.incident).where(
                here, alert_standings.c.incident > 0
            )
            for (incident,) in connection.execute(open_ones).all():
                ended = connection.execute(
                    sa.update(incidents)
                    .where(incidents.c.id == incident)
                    .values(version=incidents.c.version + 1)
                    .returning(incidents)
                )
                found = _incident(ended.mappings().one())
                key = f"{found.key}:{found.version}"
                post = say(found, "resolved", key, found.key)
                Outbox(self.state).add_in(connection, key=key, lane=post.lane, body=post.body)
            connection.execute(sa.delete(alert_standings).where(here))
            connection.execute(sa.delete(incidents).where(incidents.c.alert == number))
            connection.execute(sa.delete(alerts).where(alerts.c.id == number))

    def standing(self, number: int, kind: Kind = "condition") -> Standing:
        """How an alert stands."""
        with self.state.transaction() as connection:
            return self._standing(connection, number, kind)[0]

    def incidents_of(self, number: int | None = None, limit: int = 20) -> list[Incident]:
        """The latest incidents, of one alert or of all; the newest first."""
        chosen = sa.select(incidents).order_by(incidents.c.id.desc()).limit(limit)
        if number is not None:
            chosen = chosen.where(incidents.c.alert == number)
        with self.state.transaction() as connection:
            rows = connection.execute(chosen).mappings().all()
        return [_incident(row) for row in rows]

    def advance(self, number: int, kind: Kind, step: Step, say: Say) -> Event | None:
        """Take one step, and tell of it; None where nothing is to be told.

        `step(standing, now)` gives the next standing and what happened; `say(incident, event, key,
        replaces)` the post, which is put into the outbox in the same transaction. An alert that
        rests or is gone takes none.
        """
        looking = (alerts.c.id == number) & (alerts.c.paused == "")
        locked = sa.select(alerts.c.id).where(looking).with_for_update()
        with self.state.transaction() as connection:
            if connection.execute(locked).first() is None:
                return None
            before, open_incident = self._standing(connection, number, kind)
            now = int(connection.execute(sa.select(NowUs())).scalar_one())
            after, event = step(before, now)
            if after == before and event is None:
                return None
            if event is None:
                self._keep(connection, number, kind, after, open_incident)
                return None
            incident = self._told(connection, number, kind, after, event, open_incident)
            still = 0 if event == "resolved" else incident.id
            after = replace(after, is_open=bool(still))
            self._keep(connection, number, kind, after, still)
            first = incident.version == 1
            key = incident.key if first else f"{incident.key}:{incident.version}"
            post = say(incident, event, key, "" if first else incident.key)
            Outbox(self.state).add_in(connection, key=key, lane=post.lane, body=post.body)
            return event

    def _standing(self, connection: sa.Connection, number: int, kind: Kind) -> tuple[Standing, int]:
        """How it stands, and the open incident."""
        here = (alert_standings.c.alert == number) & (alert_standings.c.kind == kind)
        row = connection.execute(sa.select(alert_standings).where(here)).one_or_none()
        if row is None:
            return Standing(), 0
        standing = Standing(
            bool(row.incident), row.value, row.block, row.calm, row.stamp, row.waits_since
        )
        return standing, int(row.incident)

    def _keep(
        self, connection: sa.Connection, number: int, kind: Kind, standing: Standing, incident: int
    ) -> None:
        here = (alert_standings.c.alert == number) & (alert_standings.c.kind == kind)
        row = {
            "incident": incident,
            "value": standing.value,
            "block": standing.block,
            "calm": standing.calm,
            "stamp": standing.stamp,
            "waits_since": standing.waits_since,
        }
        if not connection.execute(sa.update(alert_standings).where(here).values(row)).rowcount:
            connection.execute(
                sa.insert(alert_standings).values(row | {"alert": number, "kind": kind})
            )

    def _told(
        self,
        connection: sa.Connection,
        number: int,
        kind: Kind,
        standing: Standing,
        event: Event,
        incident: int,
    ) -> Incident:
        """The incident after an event."""
        if event == "opened":
            row: dict[str, Any] = {
                "alert": number,
                "kind": kind,
                "opened_at": NowUs(),
                "changed_at": NowUs(),
                "resolved_at": 0,
                "version": 1,
                "first_block": standing.block,
                "first_value": standing.value,
                "value": standing.value,
            }
            made = connection.execute(sa.insert(incidents).values(row).returning(incidents))
            return _incident(made.mappings().one())
        change: dict[str, Any] = {
            "changed_at": NowUs(),
            "version": incidents.c.version + 1,
            "value": standing.value,
        }
        if event == "resolved":
            change["resolved_at"] = NowUs()
        changed = connection.execute(
            sa.update(incidents)
            .where(incidents.c.id == incident)
            .values(change)
            .returning(incidents)
        )
        return _incident(changed.mappings().one())


def _alert(row: sa.RowMapping) -> Alert:
    return Alert(**{**row, "made_at": instant(row["made_at"])})


def _incident(row: sa.RowMapping) -> Incident:
    return Incident(
        row["id"],
        row["alert"],
        row["kind"],
        instant(row["opened_at"]),
        instant(row["resolved_at"]) if row["resolved_at"] else None,
        row["version"],
        row["first_block"],
        row["first_value"],
        row["value"],
    )
