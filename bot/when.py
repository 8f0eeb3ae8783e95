"""Wall-clock times: `weekday 09:00 Europe/Berlin` -> the instant of each day.

    when  = days ["at"] time [["in"] zone]
    days  = "day" | "weekday" | name {("and" | ",") name} | "week" ["on" name]
          | "month" ["on" ["the"] ordinal]
    time  = "09:00" | "9:30" | "9" | "9am" | "9:30 pm" | "noon" | "midnight"
    zone  = an IANA name (`Europe/Berlin`), or its last part (`Berlin`)
    place = "#channel" | "<#id|channel>" | an id | "me" | "here"

Every local day that is meant has one instant. Where the clock skips the time, it is the end of
the gap; where the clock shows it twice, the first. A day that the zone skips has none. A month
that is too short has its last day for the 29th to the 31st.
"""

import datetime as dt
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from analytics.errors import NotUnderstoodError, nearest

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WEEK = tuple(range(7))
WORKING_WEEK = tuple(range(5))
NAMED_TIMES = {"noon": dt.time(12), "midday": dt.time(12), "midnight": dt.time(0)}
CLOCK = re.compile(r"(\d{1,2})(?:[:.](\d{2}))?\s*(am|pm|h)?", re.IGNORECASE)
ORDINAL = re.compile(r"(\d{1,2})(?:st|nd|rd|th|\.)?", re.IGNORECASE)
#: `<#C0123ABCD|growth>` as Slack writes a channel, `#growth` as people do, the bare id.
LINKED = re.compile(r"<#([CG][A-Z0-9]{2,30})(?:\|([^<>|]*))?>")
NAMED = re.compile(r"#[^\s<>#@|,`\"]{1,80}")
ID = re.compile(r"[CG][A-Z0-9]{7,20}")

EXAMPLE = "Say `every weekday 09:00 Europe/Berlin to #growth`."

Oddity = Literal["", "skipped", "twice"]


@dataclass(frozen=True)
class Fire:
    """One run: its local day, its instant (UTC), and whether the clock is odd at that time."""

    day: dt.date
    at: dt.datetime
    oddity: Oddity = ""


@dataclass(frozen=True)
class When:
    """Days by `weekdays` (0: Monday), or by `month_day`; `zone` is empty where none was said."""

    weekdays: tuple[int, ...]
    time: dt.time
    month_day: int | None = None
    zone: str = ""

    @property
    def words(self) -> str:
        """The canonical text, which `read_when` reads again."""
        if self.month_day is not None:
            days = f"month on the {ordinal(self.month_day)}"
        elif self.weekdays == WEEK:
            days = "day"
        elif self.weekdays == WORKING_WEEK:
            days = "weekday"
        else:
            days = " and ".join(DAYS[d] for d in self.weekdays)
        return " ".join(filter(None, (days, f"{self.time:%H:%M}", self.zone)))

    def falls_on(self, day: dt.date) -> bool:
        """Whether this local day is meant."""
        if self.month_day is None:
            return day.weekday() in self.weekdays
        tomorrow = day + dt.timedelta(days=1)
        is_last = tomorrow.month != day.month
        return day.day == self.month_day or (is_last and day.day < self.month_day)

    def after(self, instant: dt.datetime, zone: ZoneInfo) -> Iterator[Fire]:
        """The runs after an aware instant, for ever, in their order."""
        day = instant.astimezone(zone).date() - dt.timedelta(days=1)
        while True:
            if self.falls_on(day):
                fire = fire_of(day, self.time, zone)
                if fire is not None and fire.at > instant:
                    yield fire
            day += dt.timedelta(days=1)


def fire_of(day: dt.date, time: dt.time, zone: ZoneInfo) -> Fire | None:
    """The run of a local day; None for a day that the zone skips."""
    at, oddity = resolved(day, time, zone)
    if oddity == "skipped" and resolved(day, dt.time(), zone)[0].astimezone(zone).date() != day:
        return None
    return Fire(day, at, oddity)


def resolved(day: dt.date, time: dt.time, zone: ZoneInfo) -> tuple[dt.datetime, Oddity]:
    """The instant of a wall time: the first of two, or the end of the gap that it lies in."""
    wall = dt.datetime.combine(day, time)

    def shown(instant: dt.datetime) -> dt.datetime:
        return instant.astimezone(zone).replace(tzinfo=None, fold=0)

    first = wall.replace(tzinfo=zone).astimezone(dt.UTC)
    if shown(first) == wall:
        second = wall.replace(tzinfo=zone, fold=1).astimezone(dt.UTC)
        return first, "twice" if second != first and shown(second) == wall else ""
    # the clock goes past the wall time within a day or so of here: halve to the second
    low, high = first - dt.timedelta(hours=26), first + dt.timedelta(hours=26)
    while high - low > dt.timedelta(seconds=1):
        middle = low + (high - low) // 2
        low, high = (low, middle) if shown(middle) >= wall else (middle, high)
    return high.replace(microsecond=0), "skipped"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 11th."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{ending or 'th'}"


def read_when(words: Sequence[str]) -> When:
    """All of the words as a wall-clock time. Raises NotUnderstoodError with what to say."""
    when, rest = read_when_in(words)
    if rest:
        raise NotUnderstoodError(f"I don't understand “{rest[0][:40]}” in a schedule.",
                                 hint=EXAMPLE)  # fmt: skip
    return when


def read_when_in(words: Sequence[str]) -> tuple[When, list[str]]:
    """The wall-clock time that the words begin with, and the words that follow it.

    Raises NotUnderstoodError with what to say.
    """
    rest = [part for word in words for part in word.split(",") if part]
    weekdays, month_day, rest = _days(rest)
    rest = _without(rest, "at")
    time, rest = _time(rest)
    zone, rest = _zone(rest)
    return When(weekdays, time, month_day, zone), rest


def _without(words: list[str], *fillers: str) -> list[str]:
    """The words behind fillers."""
    i = 0
    while i < len(words) and words[i].casefold() in fillers:
        i += 1
    return words[i:]


def _days(words: list[str]) -> tuple[tuple[int, ...], int | None, list[str]]:
    """Weekdays, or the day of the month, and the words that follow."""
    word = words[0].casefold() if words else ""
    match word:
        case "day" | "days":
            return WEEK, None, words[1:]
        case "weekday" | "weekdays" | "workday":
            return WORKING_WEEK, None, words[1:]
        case "weekend":
            return (5, 6), None, words[1:]
        case "month":
            rest = _without(words[1:], "on", "the")
            said = ORDINAL.fullmatch(rest[0]) if rest else None
            with_on = len(rest) < len(words) - 1
            # `every month 9` has a time there, `every month on the 9 09:00` has both
            if said and (len(rest[0]) > len(said[1]) or (with_on and len(rest) > 1)):
                number = int(said[1])
                if not 1 <= number <= 31:
                    raise NotUnderstoodError(f"No month has a day {number}.", hint=EXAMPLE)
                return (), number, _without(rest[1:], "day")
            return (), 1, rest
        case "week":
            rest = _without(words[1:], "on")
            found, after = _names(rest)
            return found or (0,), None, after
    found, after = _names(words)
    if not found:
        near = nearest(word, ["day", "weekday", *DAYS, "week", "month"])
        hint = f"Did you mean `every {near[0]}`?" if near else EXAMPLE
        raise NotUnderstoodError(
            f"I don't know on which days “{f'every {word[:40]}'.strip()}” is.", hint=hint
        )
    return found, None, after


def _names(words: list[str]) -> tuple[tuple[int, ...], list[str]]:
    """The weekdays that the words begin with."""
    found: set[int] = set()
    i = 0
    while i < len(words):
        word = words[i].casefold().removesuffix("s")
        named = [n for n, day in enumerate(DAYS) if len(word) >= 3 and day.startswith(word)]
        if named:
            found.add(named[0])
        elif not (found and word == "and"):
            break
        i += 1
    return tuple(sorted(found)), words[i:]


def _time(words: list[str]) -> tuple[dt.time, list[str]]:
    """The time of day that the words begin with."""
    if words and words[0].casefold() in NAMED_TIMES:
        return NAMED_TIMES[words[0].casefold()], words[1:]
    for n in (2, 1):
        said = CLOCK.fullmatch(" ".join(words[:n])) if len(words) >= n else None
        if said is None:
            continue
        hour, minute, half = int(said[1]), int(said[2] or 0), (said[3] or "").casefold()
        if half in ("am", "pm") and 1 <= hour <= 12:
            hour = hour % 12 + (12 if half == "pm" else 0)
        elif half in ("am", "pm"):
            hour = 24
        if hour > 23 or minute > 59:
            raise NotUnderstoodError(
                f"“{' '.join(words[:n])}” is no time of day.", hint="Say `09:00`, or `9am`."
            )
        return dt.time(hour, minute), words[n:]
    raise NotUnderstoodError("At what time?", hint=EXAMPLE)


@functools.cache
def zones() -> dict[str, tuple[str, ...]]:
    """Lower-case zone names, and their last parts, -> the zones that they may mean."""
    found: dict[str, set[str]] = {}
    for name in available_timezones():
        if "/" not in name and name not in ("UTC", "GMT"):
            continue
        found.setdefault(name.casefold(), set()).add(name)
        if not name.startswith(("Etc/", "posix/", "right/", "SystemV/", "US/")):
            found.setdefault(name.rpartition("/")[2].casefold(), set()).add(name)
    return {said: tuple(sorted(names)) for said, names in found.items()}


def _zone(words: list[str]) -> tuple[str, list[str]]:
    """The zone that the words begin with, empty where they don't."""
    rest = _without(words, "in")
    for n in (3, 2, 1):
        if len(rest) >= n:
            names = zones().get("_".join(rest[:n]).casefold(), ())
            if len(names) == 1:
                return names[0], rest[n:]
            if names:
                raise NotUnderstoodError(
                    f"“{' '.join(rest[:n])}” may be {' or '.join(names)}.", hint="Say which."
                )
    if rest and (len(rest) < len(words) or "/" in rest[0]):
        near = nearest(rest[0], list(zones()))
        meant = f"Did you mean {zones()[near[0]][0]}?" if near else "Say `Europe/Berlin`, or `UTC`."
        raise NotUnderstoodError(f"I know no time zone “{rest[0][:40]}”.", hint=meant)
    return "", words


@dataclass(frozen=True)
class Place:
    """Where to post: a channel by its `id`, or its `name` where no id is known; or `me`, `here`."""

    kind: Literal["channel", "me", "here"]
    id: str = ""
    name: str = ""

    @property
    def words(self) -> str:
        """The canonical text, which `read_place` reads again."""
        if self.kind != "channel":
            return self.kind
        if not self.id:
            return self.shown
        return f"<#{self.id}|{self.name}>" if self.name else self.id

    @property
    def shown(self) -> str:
        """As people read it."""
        if self.kind != "channel":
            return self.kind
        return f"#{self.name}" if self.name else self.id


def read_place(said: str) -> Place:
    """A place. Raises NotUnderstoodError."""
    if said.casefold() in ("me", "here"):
        return Place("me" if said.casefold() == "me" else "here")
    linked = LINKED.fullmatch(said)
    if linked:
        return Place("channel", linked[1], (linked[2] or "").strip())
    if ID.fullmatch(said):
        return Place("channel", said)
    if NAMED.fullmatch(said):
        return Place("channel", name=said[1:])
    raise NotUnderstoodError(
        f"“{said[:40]}” is no place to post.", hint="Say `to #growth`, `to me` or `to here`."
    )
