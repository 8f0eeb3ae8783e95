"""The ticker: sees by the database's clock what is due, and puts it in the line.

It looks every few seconds and keeps nothing in memory that matters: clock steps, restarts and an
unreachable database only delay. However many tickers there are, one makes each run (its key is
there once), and the run and its job are one transaction.
"""

import datetime as dt
import itertools
import logging
import threading
import time
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from analytics.errors import UserError
from bot import trail
from bot.config import LimitSettings
from bot.slack.answering import Job
from bot.slack.chores import CHORES, Chore
from bot.when import Fire, read_when
from storage.queue import CHORE, add_job_in
from storage.schedules import RunKey, Schedule, Schedules, us
from storage.state import MICROSECONDS_PER_SECOND, State, StateError

log = logging.getLogger("daybreak.slack")

TICK_S = 2.0
#: After a long absence so many of the latest missed runs are kept and told of.
MOST_MISSED = 31


class Ticker:
    """A thread that looks at the database's clock. It waits by the monotonic clock: the wall
    clock may step.
    """

    def __init__(
        self, state: State, limits: LimitSettings, chores: Sequence[Chore] = CHORES
    ) -> None:
        """`limits` say how late a run may be."""
        self.state = state
        self.schedules = Schedules(state)
        self.catch_up = dt.timedelta(hours=limits.catch_up_hours)
        self.chores = chores
        self._slots: dict[str, int] = {}
        self._ticked = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="ticker", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(TICK_S)

    @property
    def since_tick(self) -> float:
        """Seconds since it last looked and could."""
        return time.monotonic() - self._ticked

    def _loop(self) -> None:
        while True:
            try:
                self.tick()
                self._ticked = time.monotonic()
            except StateError as error:
                log.exception("state_error", extra={"detail": error.detail})
            except Exception:
                log.exception("tick_failed")
            if self._ended.wait(TICK_S):
                return

    def tick(self) -> int:
        """Put what is due in the line; how many jobs that are."""
        now = self.state.now()
        queued = 0
        for schedule in self.schedules.due():
            try:
                queued += self._fire(schedule, now)
            except (UserError, ValueError, LookupError, OSError):  # a zone that this machine lacks
                log.exception("schedule_unreadable", extra={"schedule": schedule.id})
        queued += self._waiting()
        return queued + sum(self._chore(chore, now) for chore in self.chores)

    def _fire(self, schedule: Schedule, now: dt.datetime) -> int:
        """Make the runs that are due; the last one is queued if it is not too late."""
        zone, when = ZoneInfo(schedule.zone), read_when(schedule.every.split())
        first = Fire(schedule.next_day, schedule.next_at)
        later = when.after(schedule.next_at, zone)
        due = [first, *itertools.takewhile(lambda fire: fire.at <= now, later)]
        following = next(when.after(max(now, schedule.next_at), zone))
        in_time = now - due[-1].at <= self.catch_up
        missed = (due[:-1] if in_time else due)[-MOST_MISSED:]
        queued = 0
        with self.state.transaction() as connection:
            for fire in missed:
                self.schedules.begin_in(
                    connection,
                    RunKey(schedule.id, fire.day),
                    due_at=fire.at,
                    try_until=fire.at,
                    state="missed",
                    note="I was not running",
                )
            if in_time:
                key = RunKey(schedule.id, due[-1].day)
                until = due[-1].at + self.catch_up
                if self.schedules.begin_in(connection, key, due_at=due[-1].at, try_until=until):
                    add_job_in(connection, *job_of(key))
                    queued = 1
            self.schedules.advance_in(
                connection, schedule, next_at=following.at, next_day=following.day
            )
        log.info(
            "schedule_fired",
            extra={"schedule": schedule.id, "queued": queued, "missed": len(missed)},
        )
        return queued

    def _waiting(self) -> int:
        """Queue runs that were asked for, and held ones whose next try is due."""
        with self.state.transaction() as connection:
            keys = self.schedules.waiting_in(connection)
            for key in keys:
                add_job_in(connection, *job_of(key))
        return len(keys)

    def _chore(self, chore: Chore, now: dt.datetime) -> int:
        """Queue a chore once in its slot."""
        slot = us(now) // (chore.every_seconds * MICROSECONDS_PER_SECOND)
        if self._slots.get(chore.name) == slot:
            return 0
        with self.state.transaction() as connection:
            is_new = self.state.first_time_in(connection, f"chore:{chore.name}:{slot}")
            if is_new:
                new = trail.new()
                job = Job(text=chore.name, user="", channel="", way="chore", reference=new)
                add_job_in(connection, f"{CHORE}{chore.name}", job.to_json())
        self._slots[chore.name] = slot
        return int(is_new)


def job_of(key: RunKey) -> tuple[str, str]:
    """A run's job: whose place in the line it takes (its own), and the work."""
    job = Job(text="", user="", channel="", way="schedule", run=key.text, reference=trail.new())
    return f"schedule:{key.schedule}", job.to_json()
