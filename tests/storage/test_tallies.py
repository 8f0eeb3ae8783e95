"""What is counted, and how the lines stand, on both engines."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.outbox import Outbox
from storage.processes import beat
from storage.queue import CHORE, Queue, add_job_in
from storage.standing import Depth, standing
from storage.state import State, jobs
from storage.tallies import BEYOND, BOUNDS, Tally, bound_of, count_in, counted


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """An empty state on each engine in turn."""
    url = f"sqlite:///{tmp_path / 'state.sqlite'}"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("new_database")())
    opened = State.open(url)
    yield opened
    opened.close()


def test_counts_of_many_at_once_add_up(state: State) -> None:
    def count(_: int) -> None:
        with state.transaction() as connection:
            count_in(state, connection, "question", seconds=0.5, verb="kpis", outcome="answered")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(20)))
    labels = {"outcome": "answered", "verb": "kpis"}
    assert counted(state) == [Tally("question", labels, "0.5", 20, 10.0)]


def test_a_bound_counts_what_does_not_pass_it() -> None:
    assert [bound_of(s) for s in (-1, 0.05, 0.051, 300, 301)] == [
        "0.05", "0.05", "0.1", "300.0", BEYOND,
    ]  # fmt: skip
    assert list(BOUNDS) == sorted(BOUNDS)


def test_an_empty_memory_stands_at_nothing(state: State) -> None:
    now = standing(state)
    none = Depth(0, 0.0)
    assert now.questions == {"waiting": none, "running": none}
    assert now.posts == {"due": none, "sending": none, "unknown": none, "failed": none}
    assert now.processes == {"edge": 0, "analyst": 0}
    assert now.incidents == 0
    assert set(now.runs.values()) == set(now.schedules.values()) == {0}


def test_lines_are_told_by_status_with_the_age_of_the_oldest(state: State) -> None:
    queue = Queue(state, workers=1, waiting=9, per_person=9)
    for key in "abc":
        queue.put(key, "U1", "{}")
    assert queue.claim(60) is not None
    with state.transaction() as connection:
        add_job_in(connection, f"{CHORE}alerts", "{}")  # nobody's question
        back = jobs.c.accepted_at - 90_000_000
        connection.execute(sa.update(jobs).where(jobs.c.id == 2).values(accepted_at=back))
    outbox = Outbox(state)
    for key in "pq":
        outbox.add(key=key, lane=key, body="{}")
    parcel = outbox.claim(-1)  # its sender is gone: nobody knows
    assert parcel is not None
    beat(state, "edge@here:1", "edge", {})
    now = standing(state)
    assert (now.questions["waiting"].number, now.questions["running"].number) == (2, 1)
    assert 90 <= now.questions["waiting"].oldest_seconds < 120
    assert {status: depth.number for status, depth in now.posts.items()} == {
        "due": 1, "sending": 0, "unknown": 1, "failed": 0,
    }  # fmt: skip
    assert now.processes == {"edge": 1, "analyst": 0}
