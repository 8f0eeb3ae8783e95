"""Schedules and their runs, on SQLite and PostgreSQL."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storage.schedules import RunKey, Schedules, schedule_runs, schedules
from storage.state import State

HOUR = dt.timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """An empty state on each engine in turn."""
    url = f"sqlite:///{tmp_path / 'state.sqlite'}"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("new_database")())
    opened = State.open(url)
    yield opened
    opened.close()


def add(kept: Schedules, **more: Any) -> int:
    """A schedule whose next run was due an hour ago."""
    at = kept.state.now() - HOUR
    values: dict[str, Any] = {
        "question": "kpis last 7 days",
        "every": "day 09:00",
        "zone": "Europe/Berlin",
        "channel": "C1",
        "place": "#growth",
        "owner": "U1",
        "team": "",
        "surface": "slack",
        "next_at": at,
        "next_day": at.date(),
    }
    return kept.add(**values | more)


def begin(kept: Schedules, key: RunKey, **more: Any) -> bool:
    now = kept.state.now()
    with kept.state.transaction() as connection:
        return kept.begin_in(connection, key, due_at=now, try_until=now + HOUR, **more)


def test_what_is_due_and_does_not_rest_is_found(state: State) -> None:
    kept = Schedules(state)
    later = state.now() + HOUR
    first, second = add(kept), add(kept, next_at=later)
    assert [s.id for s in kept.due()] == [first]
    assert kept.change(first, paused="paused by U1")
    assert kept.due() == []
    assert [s.id for s in kept.all()] == [first, second]
    assert kept.get(second) is not None
    assert kept.get(99) is None
    schedule = kept.all()[1]
    assert (schedule.next_at, schedule.next_day) == (later, (later - HOUR).date())


def test_a_run_is_made_once(state: State) -> None:
    kept = Schedules(state)
    key = RunKey(add(kept), dt.date(2026, 11, 25))
    assert begin(kept, key)
    assert not begin(kept, key)
    assert begin(kept, RunKey(key.schedule, key.day, "101500"))
    assert RunKey.from_text(RunKey(3, key.day, "10:15").text) == RunKey(3, key.day, "10:15")


def test_only_one_of_two_tickers_moves_a_schedule_on(state: State) -> None:
    kept = Schedules(state)
    add(kept)
    (seen,) = kept.due()
    tomorrow = seen.next_at + 24 * HOUR
    with state.transaction() as connection:
        assert kept.advance_in(connection, seen, next_at=tomorrow, next_day=tomorrow.date())
        assert not kept.advance_in(connection, seen, next_at=tomorrow, next_day=tomorrow.date())
    assert kept.due() == []


def test_a_held_run_is_queued_again_when_its_time_comes(state: State) -> None:
    kept = Schedules(state)
    key = RunKey(add(kept), dt.date(2026, 11, 25))
    begin(kept, key)
    with state.transaction() as connection:
        kept.set_in(connection, key, "held", note="no rows", tried=True, retry_seconds=60)
        assert kept.waiting_in(connection) == []
        connection.execute(sa.update(schedule_runs).values(next_try=1))
        assert kept.waiting_in(connection) == [key]
        assert kept.waiting_in(connection) == []
    run = kept.run(key)
    assert run is not None
    assert (run.state, run.tries, run.note) == ("queued", 1, "no rows")


def test_a_run_that_is_asked_for_waits_to_be_queued(state: State) -> None:
    kept = Schedules(state)
    key = RunKey(add(kept), dt.date(2026, 11, 25), "101500")
    begin(kept, key, state="due")
    with state.transaction() as connection:
        assert kept.waiting_in(connection) == [key]


def test_only_what_is_being_posted_becomes_posted(state: State) -> None:
    kept = Schedules(state)
    posting, held = (RunKey(add(kept), dt.date(2026, 11, day)) for day in (24, 25))
    for key, standing in ((posting, "posting"), (held, "held")):
        begin(kept, key)
        with state.transaction() as connection:
            kept.set_in(connection, key, standing)  # type: ignore[arg-type]
            kept.posted_in(connection, key)
    last = kept.last_runs()
    assert [last[key.schedule].state for key in (posting, held)] == ["posted", "held"]


def test_missed_runs_are_told_once_and_oldest_first(state: State) -> None:
    kept = Schedules(state)
    number = add(kept)
    keys = [RunKey(number, dt.date(2026, 11, day)) for day in (23, 24)]
    for key in keys:
        begin(kept, key, state="missed")
    assert [run.key for run in kept.missed(number)] == keys
    with state.transaction() as connection:
        kept.told_in(connection, keys)
    assert kept.missed(number) == []


def test_with_a_schedule_go_its_runs(state: State) -> None:
    kept = Schedules(state)
    number = add(kept)
    begin(kept, RunKey(number, dt.date(2026, 11, 25)))
    assert kept.delete(number)
    assert not kept.delete(number)
    assert kept.last_runs() == {}


def test_old_runs_are_let_go_of(state: State) -> None:
    kept = Schedules(state)
    begin(kept, RunKey(add(kept), dt.date(2026, 11, 25)))
    assert kept.purge(older_than_seconds=60) == 0
    assert kept.purge(older_than_seconds=-1) == 1


def test_two_of_config_do_not_have_one_name(state: State) -> None:
    kept = Schedules(state)
    add(kept, name="morning")
    with pytest.raises(sa.exc.IntegrityError):
        add(kept, name="morning")
    add(kept)
    add(kept)
    with state.transaction() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schedules)).scalar() == 3
