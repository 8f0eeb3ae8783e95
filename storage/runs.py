"""Runs of models in the bot's memory: what the people judged were like, as counts by bounds.

A question has one run for a day of the data; the first one of a day stays. No person is in it.
"""

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from storage.state import State, metadata, storable

runs = sa.Table(
    "model_runs",
    metadata,
    sa.Column("question", sa.Text, primary_key=True, comment="its canonical text"),
    sa.Column("day", sa.Text, primary_key=True, comment="the day that the model looked ahead from"),
    sa.Column("facts", sa.Text, nullable=False, comment="JSON: counts by bounds"),
)


@dataclass(frozen=True)
class Run:
    """What was kept of a run."""

    day: dt.date
    facts: str


class Runs:
    """Safe to use from many threads and processes."""

    def __init__(self, state: State) -> None:
        """Over the bot's memory."""
        self.state = state

    def keep(self, question: str, run: Run) -> None:
        """Keep a run, unless there is one of the day."""
        row = {"question": storable(question), "day": run.day.isoformat(), "facts": run.facts}
        insert = self.state.insert(runs).values(row).on_conflict_do_nothing()
        with self.state.transaction() as connection:
            connection.execute(insert)

    def before(self, question: str, day: dt.date) -> Run | None:
        """The newest run of an earlier day."""
        chosen = (
            sa.select(runs.c.day, runs.c.facts)
            .where(runs.c.question == storable(question), runs.c.day < day.isoformat())
            .order_by(runs.c.day.desc())
            .limit(1)
        )
        with self.state.transaction() as connection:
            found = connection.execute(chosen).first()
        return Run(dt.date.fromisoformat(found.day), found.facts) if found else None
