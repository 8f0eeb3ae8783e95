"""A scheduled run or a chore -> what is posted, and how it stands afterwards.

A run whose data are not there yet, or that meets a fault which may pass, is tried again until its
catch-up window ends. While it is held one message says so; the answer takes that message's place.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

from analytics.command import Asker
from analytics.errors import UserError
from bot.access import TRY_AGAIN, RefusedError
from bot.dispatch import Answer, Asked
from bot.setup import Bot
from bot.slack import text as safe
from bot.slack.answering import Delivery, Finished, Job, delivery_of, noted, to_owner
from bot.slack.blocks import Message, error_message
from bot.slack.chores import CHORES, Chore
from bot.slack.post import NotShownNowError, Poster
from storage.outbox import Outbox
from storage.schedules import Run, RunKey, RunState, Schedule, Schedules
from storage.store import Store

log = logging.getLogger("daybreak.slack")

HELD = "held"
#: Work that ended its process so often is not begun again.
MOST_BEGUN = 3
#: A run that was given up so is begun anew after a while, so often.
MOST_GIVEN_UP = 3
#: Faults that may be over the next time: the run is tried again, and nothing is said meanwhile.
PASSING = frozenset({"data_unavailable", "cancelled", "too_late", "internal"})
#: A run that is later than this says that it is.
LATE = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class NotNowError(Exception):
    """The run can't go on now; `note` says why."""

    note: str


@dataclass(frozen=True)
class Endings:
    """How runs end that have no answer."""

    bot: Bot

    def given_up(self, job: Job, why: str) -> Finished:
        """A run that ended its process, or that was stopped: tried again a few times, later."""
        kept = Schedules(self.bot.state)
        key = RunKey.from_text(job.run)
        schedule, run = kept.get(key.schedule), kept.run(key)
        if schedule is None or run is None:
            return Finished()
        log.error("run_given_up", extra={"run": job.run, "why": why})
        return self.later(schedule, run, why, is_last=run.tries >= MOST_GIVEN_UP)

    def owner(self, schedule: Schedule, words: str, hint: str = "") -> tuple[Delivery, ...]:
        """A sentence to the owner, and what to do, if they are in Slack."""
        job = Job(schedule.question, schedule.owner, schedule.channel, "share")
        notice = to_owner(job, words, hint)
        if notice is None:
            log.warning("schedule_notice", extra={"schedule": schedule.id, "said": words})
        return () if notice is None else (notice,)

    def later(self, schedule: Schedule, run: Run, note: str, *, is_last: bool = False) -> Finished:
        """Try again without a word; at the end of the window the owner hears."""
        if is_last or self.bot.state.now() >= run.try_until:
            words = f"Schedule {schedule.id} could not run on {run.key.day}: {note}"
            hint = f"`schedule run {schedule.id}` tries it again."
            return self.ended(run, "failed", note, self.owner(schedule, words, hint))
        kept = Schedules(self.bot.state)
        seconds = self.bot.settings.limits.retry_minutes * 60

        def record(connection: Any) -> None:
            kept.set_in(connection, run.key, "held", note=note, tried=True, retry_seconds=seconds)

        return Finished((), record)

    def ended(
        self, run: Run, state: RunState, note: str, notices: tuple[Delivery, ...] = ()
    ) -> Finished:
        """Nothing is posted where the schedule posts."""

        def record(connection: Any) -> None:
            Schedules(self.bot.state).set_in(connection, run.key, state, note=note)

        return Finished(tuple((notice, iter(())) for notice in notices), record)


@dataclass(frozen=True)
class Runner(Endings):
    """Does what the clock asks for."""

    poster: Poster
    chores: tuple[Chore, ...] = CHORES

    def chore(self, job: Job, *, begun: int = 1) -> Finished:
        """Do a chore; one that failed, or ended its process, waits for its next slot."""
        chore = next((c for c in self.chores if c.name == job.text), None)
        if chore is None or begun > MOST_BEGUN:
            log.error("chore_not_done", extra={"chore": job.text, "begun": begun})
            return Finished()
        try:
            return Finished(tuple((delivery, iter(())) for delivery in chore.run(self.bot)))
        except Exception:
            log.exception("chore_failed", extra={"chore": job.text})
            return Finished()

    def run(
        self,
        job: Job,
        *,
        tell: Callable[[str], None] = lambda _: None,
        begun: Callable[[Store], None] = lambda _: None,
        keep: Callable[[Asked], None] | None = None,
    ) -> Finished:
        """Ask what a schedule asks. A run that is queued no more, or whose schedule is gone, is
        nothing. `keep` gets the audit's row.
        """
        kept = Schedules(self.bot.state)
        key = RunKey.from_text(job.run)
        schedule, run = kept.get(key.schedule), kept.run(key)
        if schedule is None or run is None or run.state != "queued":
            return Finished()
        if schedule.paused and not key.slot:
            return self.ended(run, "missed", schedule.paused)
        try:
            schedule = self.placed(schedule)
            asker = self.asker(schedule)
            answer = self.bot.answer(
                schedule.question,
                asker,
                surface="schedule",
                channel=schedule.channel,
                tell=tell,
                begun=begun,
                keep=keep,
            )
        except NotNowError as error:
            return self.later(schedule, run, error.note)
        except RefusedError as error:
            return self.rests(schedule, run, error)
        except UserError as error:
            return self.refused(schedule, run, error)
        return self.answered(schedule, run, answer)

    # Where, and whose.

    def placed(self, schedule: Schedule) -> Schedule:
        """The schedule with Slack's id of its channel, which is kept. Raises NotNowError."""
        if schedule.channel:
            return schedule
        if schedule.place == "me":
            channel = self.poster.direct_channel(schedule.owner)
            if not channel:
                raise NotNowError("Slack gave no direct channel")
        else:
            try:
                channel = self.poster.channel_called(
                    schedule.place.removeprefix("#"), schedule.team
                )
            except NotShownNowError as error:
                raise NotNowError("Slack did not list its channels") from error
        if not channel:
            raise RefusedError(
                f"I see no channel {schedule.place}.", hint="Invite me there, or name another."
            )
        Schedules(self.bot.state).change(schedule.id, channel=channel)
        return replace(schedule, channel=channel)

    def asker(self, schedule: Schedule) -> Asker:
        """The owner with the rights that they have now. Raises NotNowError."""
        surface = "terminal" if schedule.owner == "terminal" else "slack"
        asker = self.bot.asker(
            schedule.owner, channel=schedule.channel, surface=surface, team=schedule.team
        )
        if asker.rights.refusal and asker.rights.hint == TRY_AGAIN:
            raise NotNowError(asker.rights.refusal)
        return asker

    def job(self, schedule: Schedule, run: Run) -> Job:
        """As the sender knows the run."""
        return Job(
            text=schedule.question,
            user=schedule.owner,
            channel=schedule.channel,
            way="schedule",
            run=run.key.text,
        )

    # How it ends.

    def answered(self, schedule: Schedule, run: Run, answer: Answer) -> Finished:
        """The answer, unless it is the same as before and speaks on changes only."""
        kept = Schedules(self.bot.state)
        mark = answer.result.mark
        on_change = answer.request.command.speaks == "changes" and mark and not run.key.slot
        is_open = Outbox(self.bot.state).ts_of(run.key.text) is not None
        if on_change and mark == schedule.mark and not is_open:
            return self.ended(run, "unchanged", mark)
        delivery, rungs = delivery_of(self.bot, self.job(schedule, run), answer)
        if delivery.private and schedule.place != "me":
            words = (
                f"Schedule {schedule.id} shows single persons, so I did not post it to "
                f"{schedule.place}."
            )
            notices = self.owner(schedule, words, f"Say `schedule edit {schedule.id} to me`.")
            return self.ended(run, "failed", "it shows persons", notices)
        missed = [] if run.key.slot else kept.missed(schedule.id)
        lines = lines_under(schedule, run, missed, self.bot.state.now())
        post = self.post(schedule, run, noted(delivery.message, lines), delivery.question)

        def record(connection: Any) -> None:
            kept.set_in(connection, run.key, "posting", tried=True)
            kept.change_in(connection, schedule.id, mark=mark)
            kept.told_in(connection, [m.key for m in missed])

        simpler = (noted(message, lines) for message in rungs)
        return Finished(((post, simpler),), record)

    def post(self, schedule: Schedule, run: Run, message: Message, question: str) -> Delivery:
        """The run's message: the first of it is posted, later ones take its place."""
        first = run.key.text
        job = self.job(schedule, run)
        if Outbox(self.bot.state).ts_of(first) is None:
            return Delivery(job, message, False, question, key=first)
        return Delivery(job, message, False, question, key=f"{first}:{run.tries}", replaces=first)

    def refused(self, schedule: Schedule, run: Run, error: UserError) -> Finished:
        """There is no answer: held until the data are there, tried again, or said in its place."""
        if error.code in PASSING:
            return self.later(schedule, run, error.message)
        over = self.bot.state.now() >= run.try_until
        if error.code == HELD and not over:
            message = noted(error_message(error), (self.waiting_words(schedule, run),))
            return self.said(schedule, run, message, "held", error.message, again=True)
        state: RunState = "held" if error.code == HELD else "failed"
        lines = lines_under(schedule, run, [], self.bot.state.now())
        if error.code == HELD:
            lines = [*lines, "I try no more: the time to catch up is over."]
        return self.said(
            schedule, run, noted(error_message(error), lines), state, error.message, again=False
        )

    def said(
        self,
        schedule: Schedule,
        run: Run,
        message: Message,
        state: RunState,
        note: str,
        *,
        again: bool,
    ) -> Finished:
        """A sentence in the answer's place."""
        kept = Schedules(self.bot.state)
        seconds = self.bot.settings.limits.retry_minutes * 60 if again else 0.0

        def record(connection: Any) -> None:
            kept.set_in(connection, run.key, state, note=note, tried=True, retry_seconds=seconds)

        simpler: Iterator[Message] = iter(())
        return Finished(((self.post(schedule, run, message, ""), simpler),), record)

    def rests(self, schedule: Schedule, run: Run, error: RefusedError) -> Finished:
        """The owner's rights are gone, or the place is: the schedule rests, and its owner hears."""
        kept = Schedules(self.bot.state)
        words = f"Schedule {schedule.id} (“{schedule.question}”) rests: {error}"
        hint = f"When that is mended, say `schedule resume {schedule.id}`."

        def record(connection: Any) -> None:
            kept.set_in(connection, run.key, "failed", note=error.message)
            kept.change_in(connection, schedule.id, paused=error.message.rstrip("."))

        notices = self.owner(schedule, words, hint)
        return Finished(tuple((notice, iter(())) for notice in notices), record)

    def waiting_words(self, schedule: Schedule, run: Run) -> str:
        """Until when it is tried again."""
        until = run.try_until.astimezone(ZoneInfo(schedule.zone))
        every = self.bot.settings.limits.retry_minutes
        return (
            f"Schedule {schedule.id}. I try again every {every:g} min until {until:%H:%M}; "
            "the answer will stand here."
        )


def lines_under(schedule: Schedule, run: Run, missed: list[Run], now: dt.datetime) -> list[str]:
    """What is said under a scheduled answer: which schedule, how late, what was missed."""
    zone = ZoneInfo(schedule.zone)
    times = "asked for" if run.key.slot else f"every {schedule.every} {schedule.zone}"
    lines = [f"Schedule {schedule.id} · {safe.value(times)}"]
    if not run.key.slot and now - run.due_at > LATE:
        why = "it was tried more than once" if run.tries else "late"
        lines.append(f"*{why.capitalize()}*: it was due at {run.due_at.astimezone(zone):%H:%M}.")
    if missed:
        days = [f"{m.due_at.astimezone(zone):%a %d %b}" for m in missed]
        lines.append(f"Missed while I was not running: {', '.join(days)}.")
    return lines
