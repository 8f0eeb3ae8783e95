"""Which processes of the bot live, and what they hand to others through the bot's memory.

A process says every few seconds that it lives, on the database's clock; one that was not heard of
for longer counts as gone. What an analyst knows of the data stands beside, for processes that
never open the store. Answers to the terminal wait here until they are fetched.
"""

import datetime as dt
import json
import os
import socket
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from storage.queue import CANCELLED, DONE
from storage.state import NowUs, State, instant, jobs, metadata, microseconds

Role = Literal["edge", "analyst"]

#: How often a process says that it lives, and after how long without a word it counts as gone.
BEAT_EVERY_S = 3.0
GONE_AFTER_S = 12.0

processes = sa.Table(
    "processes",
    metadata,
    sa.Column("name", sa.Text, primary_key=True, comment="host and process id"),
    sa.Column("role", sa.Text, nullable=False, comment="edge, analyst"),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
    sa.Column("facts", sa.Text, nullable=False, comment="JSON: numbers and instants by name"),
)

replies = sa.Table(
    "replies",
    metadata,
    sa.Column("job", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("body", sa.Text, nullable=False, comment="JSON; the surface's own"),
    sa.Column("made_at", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True)
class Process:
    """A process as it was heard of last."""

    name: str
    role: Role
    seen_at: dt.datetime
    facts: dict[str, Any]


def own_name(role: Role) -> str:
    """What this process is called: the same for as long as it lives."""
    return f"{role}@{socket.gethostname()}:{os.getpid()}"


def beat(state: State, name: str, role: Role, facts: dict[str, Any]) -> None:
    """This process lives, and knows this; those that were not heard of for a day are forgotten."""
    row = {"name": name, "role": role, "seen_at": NowUs(), "facts": json.dumps(facts)}
    saying = state.insert(processes).values(row)
    changed = {"role": role, "seen_at": NowUs(), "facts": row["facts"]}
    old = processes.c.seen_at < NowUs() - microseconds(86_400)
    with state.transaction() as connection:
        connection.execute(
            saying.on_conflict_do_update(index_elements=[processes.c.name], set_=changed)
        )
        connection.execute(sa.delete(processes).where(old))


def gone(state: State, name: str) -> None:
    """This process ends."""
    with state.transaction() as connection:
        connection.execute(sa.delete(processes).where(processes.c.name == name))


def living(state: State, role: Role, *, within_seconds: float = GONE_AFTER_S) -> list[Process]:
    """The processes of a role that were heard of lately, the latest first."""
    lately = processes.c.seen_at >= NowUs() - microseconds(within_seconds)
    chosen = (
        sa.select(processes)
        .where(processes.c.role == role, lately)
        .order_by(processes.c.seen_at.desc(), processes.c.name)
    )
    with state.transaction() as connection:
        rows = connection.execute(chosen).all()
    return [Process(r.name, r.role, instant(r.seen_at), json.loads(r.facts)) for r in rows]


def data_through(state: State) -> dt.datetime | None:
    """The latest row of the store as its analyst knew last, naive UTC; None: unknown, or empty."""
    known = living(state, "analyst", within_seconds=86_400)
    told = next((p.facts.get("data_through") for p in known), None)
    return None if told is None else dt.datetime.fromisoformat(told)


def put_reply_in(connection: sa.Connection, job: int, body: str) -> None:
    """The answer to a job, for who waits for it; inside the transaction that ends its claim."""
    connection.execute(sa.insert(replies).values(job=job, body=body, made_at=NowUs()))


def take_reply(state: State, job: int) -> str | None:
    """The answer to a job, once; None where it is not there yet. LookupError: it never will be."""
    fetch = sa.delete(replies).where(replies.c.job == job).returning(replies.c.body)
    ended = sa.select(jobs.c.id).where(jobs.c.id == job, jobs.c.status.in_((DONE, CANCELLED)))
    with state.transaction() as connection:
        body = connection.execute(fetch).scalar_one_or_none()
        if body is None and connection.execute(ended).first() is not None:
            raise LookupError(job)
    return body


def purge_replies(state: State, *, older_than_seconds: float) -> int:
    """Delete answers that nobody fetched; how many it were."""
    old = replies.c.made_at < NowUs() - microseconds(older_than_seconds)
    with state.transaction() as connection:
        return connection.execute(sa.delete(replies).where(old)).rowcount
