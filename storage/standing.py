"""How the running bot stands, read from its memory: its lines, its clock, its processes.

One process can so tell of all of them. Nothing names a person, a channel or a text.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from storage.alerts import incidents
from storage.outbox import DUE, FAILED, SENDING
from storage.processes import GONE_AFTER_S, processes
from storage.queue import IS_CHORE, RUNNING, WAITING, seconds_of
from storage.schedules import schedule_runs, schedules
from storage.state import NowUs, State, jobs, microseconds, posts

#: A post that is being sent, of which nobody knows whether Slack took it.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Depth:
    """How many there are in a line, and seconds since the oldest came; 0 where there is none."""

    number: int
    oldest_seconds: float


@dataclass(frozen=True)
class Standing:
    """Numbers by status: those that may be 0 are there."""

    questions: dict[str, Depth]
    posts: dict[str, Depth]
    schedules: dict[str, int]
    runs: dict[str, int]
    incidents: int
    processes: dict[str, int]


def standing(state: State) -> Standing:
    """How it stands now. Raises StateError."""
    is_unknown = (posts.c.status == SENDING) & (posts.c.lease_until < NowUs())
    post = sa.case((is_unknown, UNKNOWN), else_=posts.c.status)
    unfinished = posts.c.status.in_((DUE, SENDING, FAILED))
    asked = jobs.c.status.in_((WAITING, RUNNING)) & ~IS_CHORE
    rests = sa.case((schedules.c.paused == "", "active"), else_="paused")
    lately = processes.c.seen_at >= NowUs() - microseconds(GONE_AFTER_S)
    is_open = incidents.c.resolved_at == 0
    with state.transaction() as connection:
        return Standing(
            questions=dict.fromkeys((WAITING, RUNNING), Depth(0, 0.0))
            | _depths(connection, jobs.c.status, jobs.c.accepted_at, asked),
            posts=dict.fromkeys((DUE, SENDING, UNKNOWN, FAILED), Depth(0, 0.0))
            | _depths(connection, post, posts.c.made_at, unfinished),
            schedules=dict.fromkeys(("active", "paused"), 0) | _numbers(connection, rests),
            runs=dict.fromkeys(("due", "queued", "held", "missed", "failed", "posted"), 0)
            | _numbers(connection, schedule_runs.c.state),
            incidents=int(
                connection.execute(
                    sa.select(sa.func.count()).select_from(incidents).where(is_open)
                ).scalar_one()
            ),
            processes=dict.fromkeys(("edge", "analyst"), 0)
            | _numbers(connection, processes.c.role, lately),
        )


def _depths(
    connection: sa.Connection,
    status: sa.ColumnElement[str],
    since: sa.Column[int],
    condition: sa.ColumnElement[bool],
) -> dict[str, Depth]:
    age = NowUs() - sa.func.min(since)
    chosen = sa.select(status.label("status"), sa.func.count(), age).where(condition)
    found = connection.execute(chosen.group_by(sa.literal_column("1")))
    return {name: Depth(n, seconds_of(oldest)) for name, n, oldest in found}


def _numbers(
    connection: sa.Connection, status: sa.ColumnElement[str], *conditions: sa.ColumnElement[bool]
) -> dict[str, int]:
    chosen = sa.select(status.label("status"), sa.func.count()).where(*conditions)
    return {name: int(n) for name, n in connection.execute(chosen.group_by(sa.literal_column("1")))}
