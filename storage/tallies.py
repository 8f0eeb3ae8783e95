"""What happened so far, counted in the bot's memory: right over all processes and restarts.

A count is raised in the transaction of what it counts, so it is neither lost nor counted twice. Of
what takes time there is a count for each bound under which its seconds lie. Labels are kinds of
things, never people, channels or texts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from storage.state import State, metadata

#: The upper bounds of seconds; what lies beyond the last one has `BEYOND`.
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
BEYOND = "+Inf"

tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("labels", sa.Text, primary_key=True, comment="JSON: values by name, in order"),
    sa.Column("bound", sa.Text, primary_key=True, comment="of seconds; empty: nothing was timed"),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False, comment="of them together"),
)


@dataclass(frozen=True)
class Tally:
    """How often something happened, with seconds above the bound before and up to this one."""

    name: str
    labels: Mapping[str, str]
    bound: str
    number: int
    seconds: float


def count_in(
    state: State,
    connection: sa.Connection,
    name: str,
    *,
    seconds: float | None = None,
    **labels: str,
) -> None:
    """It happened once more, and took so long; inside the transaction of what happened."""
    bound = "" if seconds is None else bound_of(seconds)
    took = max(0.0, seconds or 0.0)
    row = {
        "name": name,
        "labels": json.dumps(labels, sort_keys=True),
        "bound": bound,
        "number": 1,
        "seconds": took,
    }
    raised = {"number": tallies.c.number + 1, "seconds": tallies.c.seconds + took}
    key = [tallies.c.name, tallies.c.labels, tallies.c.bound]
    counting = state.insert(tallies).values(row)
    connection.execute(counting.on_conflict_do_update(index_elements=key, set_=raised))


def bound_of(seconds: float) -> str:
    """The lowest bound that they do not pass."""
    return next((str(bound) for bound in BOUNDS if seconds <= bound), BEYOND)


def counted(state: State) -> list[Tally]:
    """All that was counted, in the order of names and labels."""
    chosen = sa.select(tallies).order_by(tallies.c.name, tallies.c.labels, tallies.c.bound)
    with state.transaction() as connection:
        rows = connection.execute(chosen).all()
    return [Tally(r.name, json.loads(r.labels), r.bound, r.number, r.seconds) for r in rows]
