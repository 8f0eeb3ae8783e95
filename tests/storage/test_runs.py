"""Runs of models: one a day and question, the newest of an earlier day, on both databases."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.runs import Run, Runs
from storage.state import State


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """An empty memory on each database that it may be kept in."""
    if request.param == "postgresql":
        url = request.getfixturevalue("new_database")()
    else:
        url = f"sqlite:///{tmp_path / 'state.sqlite'}"
    opened = State.open(url)
    yield opened
    opened.close()


DAY = dt.timedelta(days=1)


def test_the_first_run_of_a_day_stays_and_the_newest_earlier_one_is_found(state: State) -> None:
    runs, day = Runs(state), dt.date(2026, 9, 1)
    runs.keep("churn", Run(day, "first"))
    runs.keep("churn", Run(day, "second"))
    runs.keep("churn", Run(day + 2 * DAY, "third"))
    runs.keep("purchase", Run(day + 3 * DAY, "another's"))
    assert runs.before("churn", day) is None
    assert runs.before("churn", day + DAY) == Run(day, "first")
    assert runs.before("churn", day + 9 * DAY) == Run(day + 2 * DAY, "third")
