"""Accepted questions are worked off once, by whoever lives."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.queue import CHORE, Claim, Full, Place, Queue, add_job_in, purge_jobs
from storage.state import State, StateError, jobs


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """An empty state on each engine in turn."""
    url = f"sqlite:///{tmp_path / 'state.sqlite'}"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("new_database")())
    opened = State.open(url)
    yield opened
    opened.close()


@pytest.fixture
def queue(state: State) -> Queue:
    return Queue(state, workers=2, waiting=3, per_person=4)


def let_leases_end(state: State) -> None:
    """As if time had passed."""
    with state.transaction() as connection:
        connection.execute(sa.update(jobs).where(jobs.c.lease_until > 0).values(lease_until=1))


def claimed(queue: Queue) -> Claim:
    claim = queue.claim(60)
    assert claim is not None
    return claim


def test_who_takes_over_begins_again_what_was_in_work(queue: Queue) -> None:
    for name in ("a", "b", "c"):
        queue.put(name, name, "{}")
    old, done = claimed(queue), claimed(queue)
    assert queue.finish(done)
    assert queue.take_over() == 1
    again = claimed(queue)
    assert (again.job, again.fence) == (old.job, 2)
    assert not queue.finish(old)
    assert queue.finish(again)


def test_places_are_counted_and_the_line_is_bounded(queue: Queue) -> None:
    places = [queue.put(f"k{i}", f"p{i}", "{}") for i in range(6)]
    assert [p.number if isinstance(p, Place) else p for p in places] == [
        0,
        0,
        1,
        2,
        3,
        Full(by_person=False),
    ]


def test_one_person_cannot_fill_the_line(queue: Queue) -> None:
    for i in range(4):
        assert isinstance(queue.put(f"k{i}", "p", "{}"), Place)
    assert queue.put("k4", "p", "{}") == Full(by_person=True)
    assert isinstance(queue.put("k5", "other", "{}"), Place)


def test_the_same_key_is_taken_once(queue: Queue) -> None:
    assert isinstance(queue.put("k", "p", "{}"), Place)
    assert queue.put("k", "p", "{}") is None
    assert queue.unfinished() == 1


def test_a_job_is_claimed_once_and_in_order(queue: Queue) -> None:
    for i in range(3):
        queue.put(f"k{i}", f"p{i}", f'"{i}"')
    assert [claimed(queue).work for _ in range(3)] == ['"0"', '"1"', '"2"']
    assert queue.claim(60) is None


def test_a_lease_that_ran_out_goes_to_another_and_the_first_is_void(
    queue: Queue, state: State
) -> None:
    queue.put("k", "p", "{}")
    first = claimed(queue)
    assert queue.renew([first], 60) == [first]
    let_leases_end(state)
    second = claimed(queue)
    assert (second.job, second.fence) == (first.job, 2)
    assert queue.held([first, second]) == [second]
    assert queue.renew([first, second], 60) == [second]
    assert not queue.finish(first)
    assert queue.finish(second)
    assert not queue.finish(second)
    assert queue.unfinished() == 0


def test_what_is_given_back_is_claimed_again_without_being_counted(queue: Queue) -> None:
    queue.put("k", "p", "{}")
    assert queue.give_back(claimed(queue))
    assert claimed(queue).fence == 1


def test_only_who_asked_cancels(queue: Queue) -> None:
    place = queue.put("k", "p", "{}")
    assert isinstance(place, Place)
    claim = claimed(queue)
    assert not queue.cancel(place.job, "other")
    assert queue.cancel(place.job, "p")
    assert not queue.cancel(place.job, "p")
    assert not queue.finish(claim)
    assert queue.renew([claim], 60) == []
    assert queue.claim(60) is None


def test_many_claim_at_once_and_each_job_goes_to_one(state: State) -> None:
    queue = Queue(state, workers=4, waiting=100, per_person=100)
    for i in range(40):
        queue.put(f"k{i}", "p", "{}")
    found: list[int] = []
    lock = threading.Lock()

    def work() -> None:
        while claim := queue.claim(60):
            with lock:
                found.append(claim.job)
            assert queue.finish(claim)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found)) == 40


def test_many_offers_at_once_keep_to_the_bounds(queue: Queue) -> None:
    answers: list[Place | Full | None] = []

    def offer(n: int) -> None:
        answers.append(queue.put(f"k{n // 2}", f"p{n}", "{}"))

    threads = [threading.Thread(target=offer, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    places = sorted(a.number for a in answers if isinstance(a, Place))
    assert places == [0, 0, 1, 2, 3]
    assert answers.count(None) == 20
    assert answers.count(Full(by_person=False)) == 15


def test_who_offers_hears_that_the_memory_is_gone(queue: Queue) -> None:
    with queue.state.transaction() as connection:
        connection.execute(sa.text("drop table jobs"))
    with pytest.raises((sa.exc.SQLAlchemyError, StateError)):
        queue.put("k", "p", "{}")


def test_finished_jobs_are_purged(queue: Queue) -> None:
    queue.put("k", "p", "{}")
    queue.put("l", "p", "{}")
    queue.finish(claimed(queue))
    assert purge_jobs(queue.state, older_than_seconds=60) == 0
    assert purge_jobs(queue.state, older_than_seconds=-1) == 1
    assert queue.unfinished() == 1


def test_chores_make_nobody_wait(state: State) -> None:
    queue = Queue(state, workers=1, waiting=1, per_person=3)
    with state.transaction() as connection:
        chores = [add_job_in(connection, f"{CHORE}{n}", "{}") for n in range(5)]
    assert queue.unfinished() == 0
    first, second = (queue.put(key, "U1", "{}") for key in "ab")
    assert isinstance(first, Place)
    assert first.number == 0
    assert isinstance(second, Place)
    assert second.number == 1
    assert queue.put("c", "U2", "{}") == Full(by_person=False)
    claimed = [c.job for _ in range(7) if (c := queue.claim(30))]
    assert claimed == [*chores, first.job, second.job]
