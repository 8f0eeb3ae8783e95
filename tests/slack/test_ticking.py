"""What the clock asks for: due once a day, whatever happens to clocks, databases and replicas."""

import datetime as dt
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.config import LimitSettings
from bot.scheduling import next_fire
from bot.slack.chores import Chore
from bot.slack.ticking import MOST_MISSED, TICK_S, Ticker
from storage.schedules import RunKey, Schedules, schedule_runs
from storage.state import State, StateError, jobs

SECOND, MINUTE, HOUR = (dt.timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours"))
BERLIN = "Europe/Berlin"
NINE = dt.datetime(2026, 11, 25, 8, tzinfo=dt.UTC)
JULIAN_1970 = 2440587.5
SECONDS_PER_DAY = 86_400


class Clock:
    """The database's clock, moved by hand; `is_down` refuses every connection."""

    def __init__(self, now: dt.datetime) -> None:
        """Stands still."""
        self.now = now
        self.is_down = False

    def julianday(self, *_: object) -> float:
        """In place of SQLite's own."""
        if self.is_down:
            raise sqlite3.OperationalError("down")
        return self.now.timestamp() / SECONDS_PER_DAY + JULIAN_1970


@pytest.fixture
def clock() -> Clock:
    """A minute to nine in Berlin."""
    return Clock(NINE - MINUTE)


@pytest.fixture
def state(tmp_path: Path, clock: Clock) -> Iterator[State]:
    """A state whose clock is ours."""
    opened = State.open(f"sqlite:///{tmp_path / 'state.sqlite'}")
    opened.engine.dispose()

    @sa.event.listens_for(opened.engine, "connect")
    def on_connect(connection: sqlite3.Connection, _: object) -> None:
        connection.create_function("julianday", -1, clock.julianday)

    @sa.event.listens_for(opened.engine, "begin")
    def on_begin(_: sa.Connection) -> None:
        if clock.is_down:
            raise sa.exc.OperationalError("BEGIN", None, ConnectionRefusedError("restarting"))

    yield opened
    opened.close()


def ticker(state: State, **limits: float) -> Ticker:
    """One of the replicas."""
    return Ticker(state, LimitSettings.model_validate(limits), ())


def schedule(state: State, every: str = "day 09:00", zone: str = BERLIN) -> int:
    """A schedule whose next run is the first after now."""
    fire = next_fire(every, zone, state.now())
    return Schedules(state).add(
        question="kpis last 7 days", every=every, zone=zone, channel="C1", place="#growth",
        owner="U1", team="", surface="slack", next_at=fire.at, next_day=fire.day,
    )  # fmt: skip


def runs(state: State) -> list[tuple[str, str]]:
    """Day and state of all runs by the clock."""
    chosen = sa.select(schedule_runs.c.day, schedule_runs.c.state).order_by(schedule_runs.c.day)
    with state.transaction() as connection:
        return [(row.day, row.state) for row in connection.execute(chosen)]


def queued(state: State) -> int:
    """Jobs in the line."""
    with state.transaction() as connection:
        counted = sa.select(sa.func.count()).select_from(jobs)
        return int(connection.execute(counted).scalar_one())


def test_a_run_is_queued_once_when_its_time_has_come(state: State, clock: Clock) -> None:
    schedule(state)
    replicas = [ticker(state) for _ in range(3)]
    assert [t.tick() for t in replicas] == [0, 0, 0]
    clock.now = NINE
    assert sorted(t.tick() for t in replicas) == [0, 0, 1]
    clock.now += MINUTE
    assert [t.tick() for t in replicas] == [0, 0, 0]
    assert runs(state) == [("2026-11-25", "queued")]
    assert queued(state) == 1


def test_two_tickers_that_saw_the_same_make_one_run(state: State, clock: Clock) -> None:
    schedule(state)
    clock.now = NINE
    first, second = ticker(state), ticker(state)
    (seen,) = Schedules(state).due()
    assert first._fire(seen, NINE) + second._fire(seen, NINE) == 1
    assert runs(state) == [("2026-11-25", "queued")]


@pytest.mark.parametrize("step", [8 * MINUTE, -8 * MINUTE])
@pytest.mark.parametrize("at", [-3 * SECOND, 0 * SECOND, 3 * SECOND])
def test_a_step_of_the_clock_fires_once_and_within_a_minute(
    state: State, clock: Clock, step: dt.timedelta, at: dt.timedelta
) -> None:
    """Real time goes on in ticks; the database's clock steps around the fire time."""
    schedule(state)
    replica = ticker(state)
    real, fired, has_stepped = NINE - 20 * SECOND, [], False
    offset = dt.timedelta()
    while real < NINE + 10 * MINUTE:
        if not has_stepped and real >= NINE + at:
            offset, has_stepped = step, True
        clock.now = real + offset
        if replica.tick():
            fired.append((real, clock.now))
        real += TICK_S * SECOND
    ((_, shown),) = fired
    # by the clock that people see, the run is never early, and a minute late at most: but for
    # what the step itself left out
    left_out = step if step > dt.timedelta() and at <= dt.timedelta() else dt.timedelta()
    assert NINE <= shown <= NINE + left_out + MINUTE
    assert len(runs(state)) == 1


def test_a_database_that_restarts_at_the_fire_time_delays_only(state: State, clock: Clock) -> None:
    schedule(state)
    replica = ticker(state)
    replica.tick()
    fired = []
    while clock.now < NINE + 2 * MINUTE:
        clock.is_down = NINE - 10 * SECOND <= clock.now < NINE + 20 * SECOND
        try:
            if replica.tick():
                fired.append(clock.now - NINE)
        except StateError:
            assert clock.is_down
        clock.now += TICK_S * SECOND
    ((late),) = fired
    assert 20 * SECOND <= late <= MINUTE


@pytest.mark.parametrize(
    ("late", "expected"),
    [(4 * HOUR, "queued"), (4 * HOUR + SECOND, "missed"), (25 * HOUR, "queued")],
)
def test_what_is_late_runs_within_the_window_and_is_missed_beyond(
    state: State, clock: Clock, late: dt.timedelta, expected: str
) -> None:
    schedule(state)
    clock.now = NINE + late
    ticker(state).tick()
    assert runs(state)[-1][1] == expected
    assert all(standing == "missed" for _, standing in runs(state)[:-1])


def test_after_days_away_the_last_run_is_caught_up_and_the_others_are_missed(
    state: State, clock: Clock
) -> None:
    number = schedule(state)
    clock.now = NINE + 3 * 24 * HOUR + HOUR
    assert ticker(state).tick() == 1
    assert runs(state) == [
        ("2026-11-25", "missed"), ("2026-11-26", "missed"), ("2026-11-27", "missed"),
        ("2026-11-28", "queued"),
    ]  # fmt: skip
    assert [run.key.day.day for run in Schedules(state).missed(number)] == [25, 26, 27]
    clock.now = NINE + 200 * 24 * HOUR
    ticker(state).tick()
    assert len(runs(state)) <= 4 + MOST_MISSED + 1


def test_no_window_at_all_can_be_set(state: State, clock: Clock) -> None:
    schedule(state)
    clock.now = NINE + SECOND
    ticker(state, catch_up_hours=0).tick()
    assert runs(state) == [("2026-11-25", "missed")]


@pytest.mark.parametrize(
    ("zone", "every", "around"),
    [
        (BERLIN, "day 02:30", "2026-03-29"),
        (BERLIN, "day 02:30", "2026-10-25"),
        ("America/New_York", "day 01:30", "2026-11-01"),
        ("America/Santiago", "day 00:00", "2026-09-06"),
        ("Africa/Cairo", "day 00:00", "2026-04-24"),
        ("Asia/Beirut", "day 00:00", "2026-03-29"),
        ("Australia/Lord_Howe", "day 01:45", "2026-04-05"),
        ("Australia/Lord_Howe", "day 02:15", "2026-10-04"),
    ],
)
def test_a_summer_time_day_has_one_run_however_the_ticks_fall(
    state: State, clock: Clock, zone: str, every: str, around: str
) -> None:
    day = dt.date.fromisoformat(around)
    clock.now = dt.datetime.combine(day, dt.time(), dt.UTC) - 60 * HOUR
    schedule(state, every, zone)
    draw = random.Random(around)
    end = clock.now + 120 * HOUR
    replicas = [ticker(state), ticker(state)]
    while clock.now < end:
        draw.choice(replicas).tick()
        clock.now += draw.randint(1, 40) * MINUTE
    days = Counter(day for day, _ in runs(state))
    assert set(days.values()) == {1}
    wanted = [day + dt.timedelta(days=n) for n in (-1, 0, 1)]
    assert {d.isoformat() for d in wanted} <= set(days)


def test_what_rests_is_not_run(state: State, clock: Clock) -> None:
    number = schedule(state)
    Schedules(state).change(number, paused="paused by U1")
    clock.now = NINE
    assert ticker(state).tick() == 0
    assert runs(state) == []


def test_a_zone_that_this_machine_lacks_holds_up_no_other(state: State, clock: Clock) -> None:
    first, second = schedule(state), schedule(state)
    Schedules(state).change(first, zone="Mars/Phobos")
    clock.now = NINE
    assert ticker(state).tick() == 1
    assert list(Schedules(state).last_runs()) == [second]


def test_a_run_that_is_asked_for_and_a_held_one_are_queued(state: State, clock: Clock) -> None:
    kept, number = Schedules(state), schedule(state)
    key = RunKey(number, dt.date(2026, 11, 25), "085900")
    with state.transaction() as connection:
        kept.begin_in(connection, key, due_at=clock.now, try_until=clock.now, state="due")
    assert [ticker(state).tick(), ticker(state).tick()] == [1, 0]
    with state.transaction() as connection:
        kept.set_in(connection, key, "held", retry_seconds=900)
    assert ticker(state).tick() == 0
    clock.now += 15 * MINUTE
    clock.now -= 14 * MINUTE  # the clock goes back: later, not never
    assert ticker(state).tick() == 1  # nine o'clock is due, the held one not yet
    clock.now += 15 * MINUTE
    assert ticker(state).tick() == 1


def test_a_chore_is_queued_once_in_each_slot(state: State, clock: Clock) -> None:
    chores = (Chore("count", 600, lambda _: ()),)
    replicas = [Ticker(state, LimitSettings(), chores) for _ in range(2)]
    ticks = []
    for _ in range(7):
        ticks.append(sum(t.tick() for t in replicas))
        clock.now += 5 * MINUTE
    assert sum(ticks) == 4
    assert set(ticks) == {0, 1}


def test_the_thread_ticks_and_stops(state: State, clock: Clock) -> None:
    schedule(state)
    clock.now = NINE
    running = ticker(state)
    running.start()
    for _ in range(500):
        if runs(state):
            break
        running._ended.wait(0.01)
    running.stop()
    assert runs(state) == [("2026-11-25", "queued")]


def test_the_fixture_of_the_clock_is_what_the_ticker_reads(state: State, clock: Clock) -> None:
    assert abs(state.now() - clock.now) < SECOND
