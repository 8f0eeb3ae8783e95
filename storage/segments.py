"""Saved segments in the bot's memory: groups of people under a name, each a rule and never a list.

A segment keeps the question that made it and its rule as JSON: bounds on traits, or a frozen model
(scaling and centres). Who belongs to it is asked of the store anew each time.
"""

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from storage.state import State, metadata, storable

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("question", sa.Text, nullable=False, comment="the canonical text that saved it"),
    sa.Column("rule", sa.Text, nullable=False, comment="JSON"),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("saved_on", sa.Text, nullable=False, comment="the local day of it"),
    sa.Column("people", sa.BigInteger, nullable=False, comment="how many it had then"),
)


@dataclass(frozen=True)
class SavedSegment:
    """A row: the name, who saved it and when, and the rule as JSON."""

    name: str
    question: str
    rule: str
    owner: str
    saved_on: dt.date
    people: int


def saved_segments(state: State) -> tuple[SavedSegment, ...]:
    """All of them, by name."""
    with state.transaction() as connection:
        rows = connection.execute(sa.select(segments).order_by(segments.c.name)).mappings().all()
    return tuple(
        SavedSegment(**{**row, "saved_on": dt.date.fromisoformat(row["saved_on"])}) for row in rows
    )


def put_segment(state: State, segment: SavedSegment) -> bool:
    """Keep a segment, in place of one of the name by the same owner; False: it is another's."""
    row = {
        "name": storable(segment.name),
        "question": storable(segment.question),
        "rule": segment.rule,
        "owner": storable(segment.owner),
        "saved_on": segment.saved_on.isoformat(),
        "people": segment.people,
    }
    insert = state.insert(segments).values(row)
    kept = insert.on_conflict_do_update(
        index_elements=["name"],
        set_={name: value for name, value in row.items() if name != "name"},
        where=segments.c.owner == row["owner"],
    )
    with state.transaction() as connection:
        return connection.execute(kept.returning(segments.c.name)).first() is not None


def drop_segment(state: State, name: str) -> bool:
    """Forget a segment; whether there was one."""
    with state.transaction() as connection:
        return connection.execute(sa.delete(segments).where(segments.c.name == name)).rowcount == 1
