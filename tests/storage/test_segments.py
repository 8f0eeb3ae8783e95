"""Saved segments in the bot's memory, on SQLite and PostgreSQL."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from storage.segments import SavedSegment, drop_segment, put_segment, saved_segments
from storage.state import State

LOYAL = SavedSegment("loyal", "segment last 90 days", "{}", "ann", dt.date(2026, 10, 10), 40)


@pytest.fixture(params=["sqlite", "postgresql"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """An empty memory of each kind."""
    state = State.open(
        f"sqlite:///{tmp_path / 'state.sqlite'}"
        if request.param == "sqlite"
        else request.getfixturevalue("new_database")()
    )
    yield state
    state.close()


def test_a_segment_is_kept_replaced_by_its_owner_and_forgotten(memory: State) -> None:
    other = replace(LOYAL, name="at-risk", owner="bob")
    assert put_segment(memory, LOYAL)
    assert put_segment(memory, other)
    assert saved_segments(memory) == (other, LOYAL)
    assert not put_segment(memory, replace(LOYAL, owner="bob", people=1))
    assert put_segment(memory, replace(LOYAL, people=50))
    assert [s.people for s in saved_segments(memory)] == [40, 50]
    assert drop_segment(memory, "loyal")
    assert not drop_segment(memory, "loyal")
    assert saved_segments(memory) == (other,)
