"""alerts and alert when, check, pause, resume, delete: metrics that are watched."""

import dataclasses
import datetime as dt
from dataclasses import dataclass
from typing import ClassVar, Literal

from analytics.command import Command, Context, says
from analytics.errors import NotUnderstoodError
from analytics.period import Period
from analytics.result import Column, Note, Part, Result, Table, Value
from analytics.scope import Filters, resolve
from analytics.words import counted, range_words, short_words
from bot.parse import parse, unparse
from bot.scheduling import TERMINAL, NotYoursError, Target, target_of
from bot.watching import (
    PATIENCE_S,
    REARM,
    AlertError,
    Condition,
    Seen,
    Watch,
    expected,
    is_quiet,
    limit_of,
    look,
    read_quiet,
    step,
)
from bot.when import Place, read_place
from storage.alerts import DELETED, Alert, Incident
from storage.alerts import Alerts as Kept

GROUP = "By the clock"
NUMBER = "the number of an alert, as `alerts` shows it"


@dataclass(frozen=True, kw_only=True)
class AlertWhen(Command):
    """Watch a metric, and say so once when it passes a limit or is unusual.

    It is looked at whenever data arrive. One message tells of an incident: it is kept up to date,
    and says when it is over. Beyond the limit is below or above a value, a drop or rise against
    what is usual for the weekday, or unusual. A ratio on too small a sample is not judged. Quiet
    hours put off the first word, not the last. That data are missing is told by itself.
    """

    examples: ClassVar = (
        "alert when conversion below 2 % to #growth",
        "alert when revenue drops 20 % where country:France to me",
        "alert when sessions unusual quiet 22:00-07:00 to #growth",
        "alert when conversion below 1.5 % today sample 500 to #growth",
    )
    group: ClassVar = GROUP
    writes: ClassVar = True

    metric: str = says(positional=True, unit="metric", help="the metric to watch")
    below: float | None = says(
        None, words=("below", "under"), unit="share", help="a value, such as 2 % or 5000"
    )
    above: float | None = says(
        None, words=("above", "over"), unit="share", help="a value, such as 2 % or 5000"
    )
    drops: float | None = says(
        None, words=("drops", "falls"), unit="share", low=0.001, high=1.0,
        help="so far below the usual",
    )  # fmt: skip
    rises: float | None = says(
        None, words=("rises", "grows"), unit="share", low=0.001, high=100.0,
        help="so far above the usual",
    )  # fmt: skip
    condition: Literal["unusual"] | None = says(None, help="out of its usual band")
    period: Period = says("yesterday", help="a day, a week, or today as it runs")
    where: Filters = says(Filters(), help="only these countries, channels, ...")
    sample: int | None = says(None, low=1, unit="count", help="the least that a ratio stands on")
    quiet: str | None = says(None, unit="hours", help="hours without a first word: 22:00-07:00")
    to: str | None = says(
        None, words=("to",), unit="place", help="where: #channel, me; without, where it is asked"
    )

    def watch(self, ctx: Context) -> Watch:
        """What it looks at. Raises UserError."""
        metric = ctx.catalog.find_metric(self.metric)
        said: list[tuple[Condition, float | None]] = [
            ("below", self.below),
            ("above", self.above),
            ("drops", self.drops),
            ("rises", self.rises),
            ("unusual", 0.0 if self.condition else None),
        ]
        chosen = [(name, value) for name, value in said if value is not None]
        if len(chosen) != 1:
            raise NotUnderstoodError(
                "Say one condition." if chosen else "When shall I say something?",
                hint="Say `below 2 %`, `above 5000`, `drops 20 %`, `rises 20 %` or `unusual`.",
            )
        ((condition, limit),) = chosen
        runs_on = self.period.end > ctx.today
        if runs_on and condition != "above" and (condition != "below" or not metric.denominator):
            raise NotUnderstoodError(
                f"While the day runs, {metric.label} can't be judged by that.",
                hint="Leave `today` away, or say `above`; ratios can be watched `below` too.",
            )
        if condition in ("below", "above"):
            limit = limit_of(metric, limit, ctx.currency)
        where = resolve(ctx.store, ctx.catalog, self.where) if self.where else self.where
        return Watch(metric.name, condition, limit, self.period, where, self.sample)

    def run(self, ctx: Context) -> Result:
        """Keep it, and show what it sees now."""
        kept = kept_of(ctx)
        if self.quiet is not None:
            read_quiet(self.quiet)
        watch = self.watch(ctx)
        target = reachable(target_of(read_place(self.to) if self.to else Place("here"), ctx.asker))
        (seen,) = look(ctx, [watch])
        number = kept.add(
            question=unparse(dataclasses.replace(self, to=None)),
            owner=ctx.asker.name,
            team=ctx.asker.team,
            channel=target.channel,
            place=target.place,
        )
        words = watch.words(ctx.catalog, ctx.currency)
        where = "you" if target.place == "me" else target.place
        where = "here" if where == "here" else f"to {where}"
        return Result(
            "Alert",
            f"Alert {number}: I say {where} when {words}. {now_words(seen, ctx)}",
            (checks([(number, "", seen)], ctx), *rules(self, seen)),
            (f"alert check {number}", f"alert pause {number}", "alerts"),
        )


def kept_of(ctx: Context) -> Kept:
    """The alerts. Raises AlertError where the bot has no memory."""
    if ctx.state is None:
        raise AlertError("I have no memory here, so I can't keep alerts.", hint="Ask in Slack.")
    return Kept(ctx.state)


def reachable(target: Target) -> Target:
    """A place whose id is known. Raises AlertError."""
    if not target.channel:
        raise AlertError(
            f"I don't know the channel {target.place} by its id.",
            hint="Pick it from Slack's list as you type, or ask in that channel.",
        )
    return target


def rules(asked: AlertWhen, seen: Seen) -> list[Part]:
    """How it behaves, in sentences."""
    line = seen.line
    notes: list[Part] = []
    if line is not None and line.metric.denominator is not None:
        least = seen.watch.least(line.metric)
        notes.append(Note(f"A sample below {least:,} is not judged."))
    if asked.quiet is not None:
        notes.append(Note(f"Nothing new is said from {asked.quiet.replace('-', ' to ')}."))
    notes.append(
        Note(
            f"An incident is one message, kept up to date; it is over after {REARM} days in a row "
            f"back inside. Data that are missing for {PATIENCE_S // 3600} hour are told of too."
        )
    )
    return notes


def now_words(seen: Seen, ctx: Context) -> str:
    """What it sees now, in a sentence."""
    if seen.absence:
        return f"The data are not whole now: {seen.absence}."
    if seen.is_beyond is None or seen.line is None:
        return f"It can't be judged now. {seen.why or 'What is usual is not known yet.'}"
    value = short_words(seen.line.now, seen.line.metric.unit, ctx.currency)
    verdict = "beyond the limit" if seen.is_beyond else "inside"
    return f"Now it is {value} on {seen.block}: {verdict}."


def checks(rows: list[tuple[int, str, Seen]], ctx: Context) -> Table:
    """What each alert sees now."""
    columns = (
        Column("number", "Alert", "count"),
        Column("watches", "Watches"),
        Column("day", "Day"),
        Column("now", "Now"),
        Column("usual", "Usual"),
        Column("sample", "Sample", "count"),
        Column("verdict", "Now"),
        Column("says", "Would say"),
    )
    found: list[tuple[Value, ...]] = []
    for number, says_now, seen in rows:
        line = seen.line
        value = usual = None
        if line is not None:
            unit = line.metric.unit
            value = short_words(line.now, unit, ctx.currency)
            usual = range_words(*line.usual, unit, ctx.currency) if line.usual else None
            middle = expected(line)
            if seen.watch.condition in ("drops", "rises") and middle is not None:
                usual = short_words(round(middle) if middle > 1 else middle, unit, ctx.currency)
        verdict = (
            "no data" if seen.absence
            else "beyond" if seen.is_beyond
            else "inside" if seen.is_beyond is False
            else "not judged"
        )  # fmt: skip
        sample = line.sample if line is not None else None
        watches = seen.watch.words(ctx.catalog, ctx.currency)
        found.append(
            (number, watches, seen.block, value, usual, sample, verdict, says_now or "nothing")
        )
    return Table("What they see", columns, tuple(found))


@dataclass(frozen=True, kw_only=True)
class Alerts(Command):
    """The metrics that are watched: by which limit, how they stand, where I say so."""

    examples: ClassVar = ("alerts",)
    group: ClassVar = GROUP

    def run(self, ctx: Context) -> Result:
        """One row for each alert that is any of the asker's business."""
        kept = kept_of(ctx)
        shown = visible(ctx)
        if not shown:
            return Result(
                "Alerts",
                "Nothing is watched yet.",
                (Note("Say `alert when conversion below 2 % to #growth`."),),
            )
        columns = (
            Column("number", "Alert", "count"),
            Column("question", "Watches"),
            Column("where", "Where"),
            Column("owner", "Owner"),
            Column("state", "State"),
            Column("since", "Since", "instant"),
        )
        latest: dict[int, Incident] = {}
        for incident in kept.incidents_of(limit=200):
            if incident.resolved_at is None:
                latest.setdefault(incident.alert, incident)
        rows: list[tuple[Value, ...]] = []
        for a in shown:
            incident_ = latest.get(a.id)
            state = (
                "rests" if a.paused
                else "watching" if incident_ is None
                else "incident" if incident_.kind == "condition"
                else "no data"
            )  # fmt: skip
            since = None if incident_ is None else incident_.opened_at.replace(tzinfo=None)
            place = a.channel if a.place == "here" else a.place
            watches = a.question.removeprefix("alert-when ")
            rows.append((a.id, watches, place, a.owner, state, since))
        told = [Note(f"Alert {a.id} rests: {a.paused}.") for a in shown if a.paused]
        n = sum(1 for row in rows if row[4] in ("incident", "no data"))
        return Result(
            "Alerts",
            f"{counted(len(shown), 'alert')}, {n} with an open incident.",
            (Table("Alerts", columns, tuple(rows)), *told),
            ("alert check", f"alert pause {shown[0].id}"),
        )


def visible(ctx: Context) -> list[Alert]:
    """The alerts that are any of the asker's business: their own, of this channel, or all."""
    asker = ctx.asker
    return [
        a
        for a in kept_of(ctx).all()
        if a.paused != DELETED
        and a.team == asker.team
        and (
            a.owner == asker.name
            or asker.name == TERMINAL
            or asker.rights.is_admin
            or (a.channel == asker.channel and a.place != "me")
        )
    ]


def own(ctx: Context, number: int) -> Alert:
    """The alert of a number, if the asker may change it. Raises UserError."""
    found = next((a for a in visible(ctx) if a.id == number), None)
    if found is None:
        raise AlertError(
            f"There is no alert {number}.", hint="`alerts` lists them with their numbers."
        )
    if found.owner != ctx.asker.name and not ctx.asker.rights.is_admin:
        raise NotYoursError(
            f"Alert {number} belongs to {found.owner}.",
            hint="Ask them, or an admin, to change it; you can make one of your own.",
        )
    return found


def command_of(alert: Alert, today: dt.date, ctx: Context) -> AlertWhen:
    """What an alert was asked with, read today. Raises UserError where that can't be any more."""
    command = parse(alert.question, today, ctx.catalog).command
    if not isinstance(command, AlertWhen):
        raise AlertError(f"Alert {alert.id} is none: {alert.question}.")
    return command


@dataclass(frozen=True, kw_only=True)
class AlertCheck(Command):
    """What the alerts see now and would say, without saying it."""

    examples: ClassVar = ("alert check",)
    group: ClassVar = GROUP

    number: int | None = says(None, positional=True, unit="count", low=1, help=NUMBER)

    def run(self, ctx: Context) -> Result:
        """A dry run."""
        kept = kept_of(ctx)
        chosen = [a for a in visible(ctx) if self.number in (None, a.id)]
        how = "Say `alert when conversion below 2 % to #growth`."
        if not chosen and self.number:
            raise AlertError(f"There is no alert {self.number}.", hint=how)
        if not chosen:
            return Result("Alerts, dry run", "Nothing is watched yet.", (Note(how),))
        commands = [command_of(a, ctx.today, ctx) for a in chosen]
        found = look(ctx, [c.watch(ctx) for c in commands])
        local = ctx.now.astimezone(ctx.zone)
        rows = []
        for alert, command, seen in zip(chosen, commands, found, strict=True):
            quiet = is_quiet(command.quiet, local)
            _, event = step(kept.standing(alert.id), seen, quiet=quiet)
            rests = "nothing: it rests" if alert.paused else ""
            hushed = "nothing: quiet hours" if seen.is_beyond and quiet and not event else ""
            rows.append((alert.id, rests or (event or "") or hushed, seen))
        n = sum(bool(seen.is_beyond) for _, _, seen in rows)
        return Result(
            "Alerts, dry run",
            f"{counted(len(rows), 'alert')} looked: {n} beyond the limit. Nothing was posted.",
            (checks(rows, ctx),),
            ("alerts",),
        )


@dataclass(frozen=True, kw_only=True)
class AlertPause(Command):
    """Let an alert rest until `alert resume`; its open incident stays open."""

    examples: ClassVar = ("alert pause 1",)
    group: ClassVar = GROUP
    writes: ClassVar = True

    number: int = says(positional=True, unit="count", low=1, help=NUMBER)

    def run(self, ctx: Context) -> Result:
        """Pause it."""
        alert = own(ctx, self.number)
        kept_of(ctx).change(alert.id, paused=f"paused by {ctx.asker.name}")
        said = f"Alert {alert.id} rests."
        return Result("Paused", said, (Note(alert.question),), (f"alert resume {alert.id}",))


@dataclass(frozen=True, kw_only=True)
class AlertResume(Command):
    """Let a resting alert look again."""

    examples: ClassVar = ("alert resume 1",)
    group: ClassVar = GROUP
    writes: ClassVar = True

    number: int = says(positional=True, unit="count", low=1, help=NUMBER)

    def run(self, ctx: Context) -> Result:
        """Resume it."""
        alert = own(ctx, self.number)
        kept_of(ctx).change(alert.id, paused="", seen="")
        said = f"Alert {alert.id} looks again."
        return Result("Resumed", said, (Note(alert.question),), (f"alert check {alert.id}",))


@dataclass(frozen=True, kw_only=True)
class AlertDelete(Command):
    """Forget an alert; the message of an open incident says that it is no longer watched."""

    examples: ClassVar = ("alert delete 1",)
    aliases: ClassVar = ("alert-remove",)
    group: ClassVar = GROUP
    writes: ClassVar = True

    number: int = says(positional=True, unit="count", low=1, help=NUMBER)

    def run(self, ctx: Context) -> Result:
        """Delete it, at once for people, and soon from the memory."""
        alert = own(ctx, self.number)
        kept_of(ctx).change(alert.id, paused=DELETED)
        return Result("Deleted", f"Alert {alert.id} is gone.", (Note(alert.question),), ("alerts",))
