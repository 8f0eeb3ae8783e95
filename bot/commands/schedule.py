"""schedules and schedule add, edit, pause, resume, run, delete: questions asked by the clock."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from analytics.command import Command, Context, says
from analytics.errors import NotUnderstoodError
from analytics.result import Column, Note, Result, Table
from analytics.words import counted
from bot.scheduling import (
    CONFIG,
    TERMINAL,
    Target,
    changeable,
    check_question,
    local_words,
    may_see,
    next_fire,
    next_run,
    run_parts,
    said,
    schedules_of,
    target_of,
    timed,
)
from bot.when import Place, read_place, read_when
from storage.schedules import Run, RunKey, Schedule

GROUP = "By the clock"
NUMBER = "the number of a schedule, as `schedules` shows it"
COLUMNS = (
    Column("number", "Number", "count"),
    Column("question", "Question"),
    Column("every", "Every"),
    Column("zone", "Zone"),
    Column("where", "Where"),
    Column("owner", "Owner"),
    Column("last", "Last run"),
    Column("next", "Next run"),
)


@dataclass(frozen=True, kw_only=True)
class Schedules(Command):
    """The questions that I ask by the clock: when, where, whose, how the last run ended."""

    examples: ClassVar = ("schedules",)
    group: ClassVar = GROUP

    def run(self, ctx: Context) -> Result:
        """One row for each schedule that is any of the asker's business."""
        kept = schedules_of(ctx)
        shown = [s for s in kept.all() if may_see(ctx.asker, s)]
        if not shown:
            return Result(
                "Schedules",
                "Nothing is asked by the clock yet.",
                (Note("Say `kpis every weekday 09:00 Europe/Berlin to #growth`."),),
            )
        last = kept.last_runs()
        resting = sum(bool(s.paused) for s in shown)
        table = Table("Schedules", COLUMNS, tuple(row_of(s, last.get(s.id)) for s in shown))
        notes = tuple(Note(f"Schedule {s.id} rests: {s.paused}.") for s in shown if s.paused)
        first = shown[0].id
        return Result(
            "Schedules",
            f"{counted(len(shown), 'schedule')}, {len(shown) - resting} of them running.",
            (table, *notes),
            (f"schedule run {first}", f"schedule pause {first}"),
        )


def row_of(schedule: Schedule, last: Run | None) -> tuple[Any, ...]:
    """A schedule as the list shows it."""
    zone = ZoneInfo(schedule.zone)
    owner = f"config.yaml ({schedule.name})" if schedule.surface == CONFIG else schedule.owner
    return (
        schedule.id,
        schedule.question,
        schedule.every,
        schedule.zone,
        schedule.place if schedule.place != "here" else schedule.channel,
        owner,
        outcome_words(last, zone) if last else None,
        "rests" if schedule.paused else local_words(schedule.next_at, zone),
    )


def outcome_words(run: Run, zone: ZoneInfo) -> str:
    """How a run ended: `posted, due Mon 2026-11-30 09:00 +01:00`."""
    why = f" ({run.note})" if run.note else ""
    return f"{run.state}{why}, due {local_words(run.due_at, zone)}"


@dataclass(frozen=True, kw_only=True)
class ScheduleAdd(Command):
    """Ask a question by the clock, and post the answer to a channel.

    Any question with `every` behind it: every day, weekday, monday, monday and thursday, month on
    the 1st, then the time, the zone if it is not the bot's, and where to. Every local day that is
    meant has one run: at a time that the clock skips it is the end of the gap, at one that it shows
    twice the first. It is asked with the rights of who made it, as they are at that time.
    """

    examples: ClassVar = (
        "schedule add kpis every weekday 09:00 Europe/Berlin to #growth",
        "schedule add kpis last 30 days every month on the 1st 8am to #growth",
    )
    group: ClassVar = GROUP
    writes: ClassVar = True

    question: str = says(positional=True, unit="question", help="what to ask")
    every: str = says(words=("every",), unit="when", help="when: weekday 09:00 Europe/Berlin")
    to: str | None = says(
        None, words=("to",), unit="place", help="where: #channel, me; without, where it is asked"
    )

    def run(self, ctx: Context) -> Result:
        """Keep it, and show the next runs."""
        kept = schedules_of(ctx)
        target = target_of(read_place(self.to) if self.to else Place("here"), ctx.asker)
        question = check_question(self.question, ctx.today, ctx.catalog, target, ctx.asker)
        every, zone = timed(read_when(self.every.split()), ctx.zone.key)
        fire = next_fire(every, zone, kept.state.now())
        number = kept.add(
            question=question,
            every=every,
            zone=zone,
            channel=target.channel,
            place=target.place,
            owner=ctx.asker.name,
            team=ctx.asker.team,
            surface=TERMINAL if ctx.asker.name == TERMINAL else "slack",
            next_at=fire.at,
            next_day=fire.day,
        )
        return confirmed(ctx, number, "Scheduled")


def confirmed(ctx: Context, number: int, title: str) -> Result:
    """What was understood, with its next runs."""
    schedule = schedules_of(ctx).get(number)
    if schedule is None:
        raise LookupError(number)  # it was there a moment ago, in our own hands
    before = schedule.next_at - dt.timedelta(microseconds=1)
    parts: tuple[Any, ...] = run_parts(schedule.every, schedule.zone, before)
    if not schedule.channel and schedule.place != "me":
        parts += (Note(f"I must be a member of {schedule.place}: /invite me there."),)
    return Result(
        title,
        f"Schedule {number}: {said(schedule)}; the next run is "
        f"{local_words(schedule.next_at, ZoneInfo(schedule.zone))}.",
        parts,
        (f"schedule run {number}", f"schedule pause {number}", "schedules"),
    )


@dataclass(frozen=True, kw_only=True)
class ScheduleEdit(Command):
    """Change the question, times or place of a schedule; what is not said stays."""

    examples: ClassVar = (
        "schedule edit 1 every monday 08:00",
        'schedule edit 1 question "kpis last 30 days" to #growth',
    )
    group: ClassVar = GROUP
    writes: ClassVar = True

    number: int = says(positional=True, unit="count", low=1, help=NUMBER)
    question: str | None = says(None, words=("question",), help="what to ask, in quotes")
    to: str | None = says(None, words=("to",), unit="place", help="where: #channel, me")
    every: str | None = says(None, words=("every",), unit="when", help="when: weekday 09:00")

    def run(self, ctx: Context) -> Result:
        """Change it, and show the next runs."""
        schedule = changeable(ctx, self.number, anywhere=False)
        if self.question is None and self.to is None and self.every is None:
            raise NotUnderstoodError(
                "What shall I change?", hint="Say `schedule edit 1 every monday 08:00`."
            )
        target = Target(schedule.channel, schedule.place)
        if self.to:
            target = target_of(read_place(self.to), ctx.asker)
        question = check_question(
            self.question or schedule.question, ctx.today, ctx.catalog, target, ctx.asker
        )
        every, zone = schedule.every, schedule.zone
        if self.every:
            every, zone = timed(read_when(self.every.split()), schedule.zone)
        kept = schedules_of(ctx)
        kept.change(
            schedule.id,
            question=question,
            every=every,
            zone=zone,
            channel=target.channel,
            place=target.place,
            mark=schedule.mark if question == schedule.question else "",
            **(next_run(kept, schedule.id, every, zone) if self.every else {}),
        )
        return confirmed(ctx, schedule.id, "Changed")


@dataclass(frozen=True, kw_only=True)
class SchedulePause(Command):
    """Let a schedule rest until `schedule resume`; what falls into the rest is not caught up."""

    examples: ClassVar = ("schedule pause 1",)
    group: ClassVar = GROUP
    writes: ClassVar = True

    number: int = says(positional=True, unit="count", low=1, help=NUMBER)

    def run(self, ctx: Context) -> Result:
        """Pause it."""
        schedule = changeable(ctx, self.number)
        schedules_of(ctx).change(schedule.id, paused=f"paused by {ctx.asker.name}")
        return Result(
            "Paused",
            f"Schedule {schedule.id} rests: {said(schedule)}.",
            (Note("`schedule resume` lets it go on."),),
            (f"schedule resume {schedule.id}", "schedules"),
        )


@dataclass(frozen=True, kw_only=True)
class ScheduleResume(Command):
    """Let a schedule go on that rests."""

    examples: ClassVar = ("schedule resume 1",)
    group: ClassVar = GROUP
    writes: ClassVar = True

    number: int = says(positional=True, unit="count", low=1, help=NUMBER)

    def run(self, ctx: Context) -> Result:
        """Resume it, and show the next runs."""
        schedule = changeable(ctx, self.number)
        kept = schedules_of(ctx)
        if schedule.paused:
            goes_on = next_run(kept, schedule.id, schedule.every, schedule.zone)
            kept.change(schedule.id, paused="", **goes_on)
        return confirmed(ctx, schedule.id, "Resumed")


@dataclass(frozen=True, kw_only=True)
class ScheduleRun(Command):
    """Run a schedule now, beside its runs by the clock."""

    examples: ClassVar = ("schedule run 1",)
    group: ClassVar = GROUP
    writes: ClassVar = True

    number: int = says(positional=True, unit="count", low=1, help=NUMBER)

    def run(self, ctx: Context) -> Result:
        """Make the run due; the bot in Slack takes it within seconds."""
        schedule = changeable(ctx, self.number)
        kept = schedules_of(ctx)
        now = kept.state.now()
        day = now.astimezone(ZoneInfo(schedule.zone)).date()
        with kept.state.transaction() as connection:
            kept.begin_in(
                connection,
                RunKey(schedule.id, day, f"{now:%H%M%S.%f}"),
                due_at=now,
                try_until=now,
                state="due",
            )
        return Result(
            "Running",
            f"Schedule {schedule.id} runs now: {said(schedule)}.",
            (Note("The answer is posted where the schedule posts, once the bot in Slack runs."),),
            ("schedules",),
        )


@dataclass(frozen=True, kw_only=True)
class ScheduleDelete(Command):
    """Drop a schedule."""

    examples: ClassVar = ("schedule delete 1",)
    group: ClassVar = GROUP
    writes: ClassVar = True

    number: int = says(positional=True, unit="count", low=1, help=NUMBER)

    def run(self, ctx: Context) -> Result:
        """Drop it; what was said is in the answer, to be said again."""
        schedule = changeable(ctx, self.number, anywhere=False)
        schedules_of(ctx).delete(schedule.id)
        return Result(
            "Deleted",
            f"Schedule {schedule.id} is gone: {said(schedule)}.",
            (Note("To have it back, say it again."),),
            ("schedules",),
        )
