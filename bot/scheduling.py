"""What may be asked by the clock, where its answer goes, and when: what commands and config share.

The instants are those of the state database, and so is "now": the clock of old data stands still.
"""

import datetime as dt
import itertools
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from analytics.catalog import Catalog
from analytics.command import Asker, Context
from analytics.errors import DataUnavailableError, UserError
from analytics.result import Column, Note, Table
from bot.config import ConfigError, Settings
from bot.ids import is_direct, within
from bot.parse import parse
from bot.when import Fire, Place, When, read_place, read_when
from storage.schedules import RunKey, Schedule, Schedules
from storage.state import State

TERMINAL = "terminal"
CONFIG = "config"
SHOWN_RUNS = 3
#: So far ahead a run at an hour that the clock skips or repeats is warned of.
LOOK_AHEAD_DAYS = 400
RUN_COLUMNS = (
    Column("run", "Run"),
    Column("local", "Local time"),
    Column("at", "UTC", "instant"),
)


class NotSchedulableError(UserError):
    """It can't be asked by the clock, or not to that place."""

    code = "not_schedulable"


class NotYoursError(UserError):
    """The asker has no right to it: others made the schedule, or may see the answer."""

    code = "refused"


@dataclass(frozen=True)
class Target:
    """Where the answers go: Slack's id of a channel (empty: not known yet), and its name."""

    channel: str
    place: str

    @property
    def is_direct(self) -> bool:
        """Whether one person alone reads there."""
        return self.place == "me"


def schedules_of(ctx: Context) -> Schedules:
    """The schedules. Raises DataUnavailableError where the bot has no memory."""
    if ctx.state is None:
        raise DataUnavailableError(
            "I have no memory here, so I can't keep schedules.", hint="Ask in Slack."
        )
    return Schedules(ctx.state)


def target_of(place: Place, asker: Asker) -> Target:
    """Where that is for this asker. Raises NotSchedulableError where it is nowhere."""
    if place.kind == "channel":
        return Target(within(asker.team, place.id), place.shown)
    if asker.name == TERMINAL or (place.kind == "here" and not asker.channel):
        raise NotSchedulableError(
            "From the terminal I don't know where to post.", hint="Say `to #growth` at the end."
        )
    if place.kind == "me" or is_direct(asker.channel):
        return Target(asker.channel if is_direct(asker.channel) else "", "me")
    return Target(asker.channel, "here")


def check_question(
    text: str, today: dt.date, catalog: Catalog, target: Target, asker: Asker | None = None
) -> str:
    """The canonical text of a question that may be asked by the clock. Raises UserError.

    `asker` must have the right to the answer; without one it is the operator.
    """
    request = parse(text, today, catalog)
    command = request.command
    if command.writes:
        raise NotSchedulableError(
            f"`{command.verb()}` changes what I keep, so it is not asked by the clock.",
            hint="Schedule a question, such as `kpis every weekday 09:00`.",
        )
    if command.shows_people and not target.is_direct:
        raise NotSchedulableError(
            "The answer shows single persons, so it is not posted to a channel.",
            hint="Say `to me`, or ask without them.",
        )
    if command.shows_people and asker and not asker.rights.covers(command.verb(), "people"):
        raise NotYoursError("You may not see single people here.", hint=asker.rights.hint)
    return request.text


def next_fire(every: str, zone: str, now: dt.datetime) -> Fire:
    """The first run after an instant."""
    return next(read_when(every.split()).after(now, ZoneInfo(zone)))


def timed(when: When, zone: str) -> tuple[str, str]:
    """The times without their zone, and the zone: theirs, else this one."""
    return When(when.weekdays, when.time, when.month_day).words, when.zone or zone


def run_parts(every: str, zone: str, now: dt.datetime) -> tuple[Table | Note, ...]:
    """The next three runs with their offsets from UTC; warnings of hours that the clock skips."""
    when, in_zone = read_when(every.split()), ZoneInfo(zone)
    runs = list(itertools.islice(when.after(now, in_zone), SHOWN_RUNS))
    rows = tuple(
        (ordinals, local_words(fire.at, in_zone), fire.at.replace(tzinfo=None))
        for ordinals, fire in zip(("next", "then", "and then"), runs, strict=True)
    )
    until = now + dt.timedelta(days=LOOK_AHEAD_DAYS)
    ahead = itertools.takewhile(lambda fire: fire.at < until, when.after(now, in_zone))
    odd = [fire for fire in ahead if fire.oddity]
    warnings = tuple(Note(oddity_words(fire, when, in_zone), "warning") for fire in odd[:2])
    return (*warnings, Table(f"Next runs ({zone})", RUN_COLUMNS, rows))


def local_words(at: dt.datetime, zone: ZoneInfo) -> str:
    """An instant on the wall clock, with its offset: `Mon 2026-11-30 09:00 +01:00`."""
    local = at.astimezone(zone)
    offset = f"{local:%z}"
    return f"{local:%a %Y-%m-%d %H:%M} {offset[:3]}:{offset[3:5]}"


def oddity_words(fire: Fire, when: When, zone: ZoneInfo) -> str:
    """What happens at a time that the clock skips or shows twice."""
    if fire.oddity == "skipped":
        return (
            f"On {fire.day.isoformat()} the clock skips {when.time:%H:%M}: "
            f"that day I run at {fire.at.astimezone(zone):%H:%M}."
        )
    return f"On {fire.day.isoformat()} the clock shows {when.time:%H:%M} twice: I run at the first."


def said(schedule: Schedule) -> str:
    """A schedule in one line: its question, times, zone and place."""
    place = "to me" if schedule.place == "me" else f"to {schedule.place}"
    return f"`{schedule.question}` every {schedule.every} {schedule.zone} {place}"


def changeable(ctx: Context, number: int, *, anywhere: bool = True) -> Schedule:
    """The schedule of a number, if the asker may change it. Raises UserError.

    What stands in config.yaml can be changed there only, unless it may be `anywhere`.
    """
    schedule = schedules_of(ctx).get(number)
    if schedule is None or not may_see(ctx.asker, schedule):
        raise NotSchedulableError(
            f"There is no schedule {number}.", hint="`schedules` lists them with their numbers."
        )
    if schedule.owner != ctx.asker.name and not ctx.asker.rights.is_admin:
        raise NotYoursError(
            f"Schedule {number} belongs to {schedule.owner}.",
            hint="Ask them, or an admin, to change it; you can make one of your own.",
        )
    if schedule.surface == CONFIG and not anywhere:
        raise NotSchedulableError(
            f"Schedule {number} stands in config.yaml as “{schedule.name}”.",
            hint="Change it there and start me again; `schedule pause` works here.",
        )
    return schedule


def may_see(asker: Asker, schedule: Schedule) -> bool:
    """Whether a schedule is any of the asker's business: their own, or of where they ask."""
    if asker.name == TERMINAL:
        return True
    own = schedule.owner == asker.name or asker.rights.is_admin
    is_here = schedule.channel == asker.channel and schedule.place != "me"
    return schedule.team in ("", asker.team) and (own or is_here)


def take_config(state: State, settings: Settings, catalog: Catalog) -> None:
    """Make the schedules of config.yaml those of the bot's memory. Raises ConfigError."""
    kept = Schedules(state)
    now = state.now()
    today = now.astimezone(settings.zone).date()
    known = {s.name: s for s in kept.all() if s.name is not None}
    for row in settings.schedules:
        try:
            place = read_place(row.to)
            if place.kind != "channel":
                raise NotSchedulableError("It must be posted to a channel.", hint="`to: #growth`")
            every, zone = timed(read_when(row.every.split()), row.zone or settings.time_zone)
            fire = next_fire(every, zone, now)
            question = check_question(row.question, today, catalog, Target(place.id, place.shown))
        except UserError as error:
            raise ConfigError(
                f"`schedules` ({row.name}): {error.message}", hint=error.hint
            ) from error
        values = {
            "question": question,
            "every": every,
            "zone": zone,
            "place": place.shown,
            "owner": row.owner,
            "team": row.team,
            "surface": CONFIG,
        }
        old = known.pop(row.name, None)
        if old is None:
            kept.add(name=row.name, channel=place.id, next_at=fire.at, next_day=fire.day, **values)
        elif any(getattr(old, name) != value for name, value in values.items()):
            channel = place.id or (old.channel if old.place == place.shown else "")
            kept.change(old.id, channel=channel, **next_run(kept, old.id, every, zone), **values)
    for gone in known.values():
        kept.delete(gone.id)


def next_run(kept: Schedules, number: int, every: str, zone: str) -> dict[str, Any]:
    """The next run of a schedule that was changed or goes on: on a day that had none yet."""
    for fire in read_when(every.split()).after(kept.state.now(), ZoneInfo(zone)):
        if kept.run(RunKey(number, fire.day)) is None:
            return {"next_at": fire.at, "next_day": fire.day}
    raise AssertionError("days end")
