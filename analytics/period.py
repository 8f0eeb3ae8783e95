"""Periods: half-open ranges of local days, and how people say them.

`start` is in, `end` is out. `words` is the canonical text: reading it again on the same day gives
an equal period, and relative words ("last 30 days") stay relative when they are saved.

Grammar (case does not matter; N is a whole number above zero):

    period    = "all time" | "today" | "yesterday"
              | ("last" | "past" | "previous") [N] unit
                                       N units end yesterday; without N: the calendar unit before
              | N "d" | N "w" | N "m" | N "y"
                                       as last N days, weeks, months, years
              | "this" unit            the calendar unit so far, today included
              | year | year "-" month | year "-Q" n | year "-W" n
              | "Q" n [year] | month-name [year]
                                       without a year: the latest that has begun
              | day [".." day]         both days included
              | "from" day ("to" | "until") day | "between" day "and" day
              | "since" day            until today, today included
    unit      = "day" | "week" | "month" | "quarter" | "year", or their plurals
    day       = YYYY-MM-DD | N month-name [year] | month-name N [year] | "today" | "yesterday"

Weeks are ISO weeks (Monday first). "last 4 weeks" is 28 days; "last 3 months" starts on the same
day of the month, or on the month's last day where there is none.
"""

import calendar
import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from analytics.errors import NotUnderstoodError

Span = Literal["days", "week", "month", "quarter", "year"]

ALL_TIME_START = dt.date(1970, 1, 1)
DAY = dt.timedelta(days=1)
MORNING = dt.time(9)
UNITS = {u: u.rstrip("s") for u in ("day", "week", "month", "quarter", "year")}
UNITS |= {f"{u}s": u for u in list(UNITS)}
LETTERS = {"d": "day", "w": "week", "m": "month", "mo": "month", "y": "year"}
MONTHS = {name.lower(): i for i, name in enumerate(calendar.month_name) if name}
MONTHS |= {name.lower(): i for i, name in enumerate(calendar.month_abbr) if name} | {"sept": 9}


def morning_after(through: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """Nine in the morning on the local day after an instant (naive UTC); aware UTC."""
    day = through.replace(tzinfo=dt.UTC).astimezone(zone).date() + DAY
    return dt.datetime.combine(day, MORNING, zone).astimezone(dt.UTC)


@dataclass(frozen=True)
class Period:
    """Local days `start <= day < end`; `span` says whether it is a whole or running unit."""

    start: dt.date
    end: dt.date
    words: str
    span: Span = "days"

    def __post_init__(self) -> None:
        """An empty period is a mistake of the caller's."""
        if self.start >= self.end:
            raise ValueError(f"empty period {self.start}..{self.end}")

    @property
    def days(self) -> int:
        """How many local days it covers."""
        return (self.end - self.start).days

    @property
    def last_day(self) -> dt.date:
        """The last day that is in."""
        return self.end - DAY

    @property
    def is_all_time(self) -> bool:
        """Whether it reaches back to before any data."""
        return self.start <= ALL_TIME_START

    def previous(self) -> "Period":
        """The period to compare with: the calendar unit before, or as many days right before.

        A unit that is still running is compared with as many first days of the unit before.
        """
        if self.span == "days":
            return between(self.start - (self.end - self.start), self.start)
        start = unit_start(self.start - DAY, self.span)
        whole = unit_end(self.start, self.span) == self.end
        end = self.start if whole else min(start + (self.end - self.start), self.start)
        return between(start, end)


def between(start: dt.date, end: dt.date) -> Period:
    """The period of explicit days, `end` excluded."""
    if end - start == DAY:
        return Period(start, end, start.isoformat())
    return Period(start, end, f"{start.isoformat()}..{(end - DAY).isoformat()}")


def unit_start(day: dt.date, unit: str) -> dt.date:
    """The first day of the calendar unit that holds `day`."""
    match unit:
        case "week":
            return day - dt.timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case "year":
            return day.replace(month=1, day=1)
        case _:
            return day


def unit_end(start: dt.date, unit: str) -> dt.date:
    """The first day after the calendar unit that begins on `start`."""
    months = {"month": 1, "quarter": 3, "year": 12}
    if unit in months:
        return add_months(start, months[unit])
    return start + (7 if unit == "week" else 1) * DAY


def add_months(day: dt.date, n: int) -> dt.date:
    """The same day `n` months later (or earlier), or that month's last day."""
    month0 = day.year * 12 + day.month - 1 + n
    year, month = month0 // 12, month0 % 12 + 1
    return dt.date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def whole(start: dt.date, unit: Span) -> Period:
    """The calendar unit that begins on `start`."""
    iso = start.isocalendar()
    words = {
        "week": f"{iso.year}-W{iso.week:02}",
        "month": f"{start.year:04}-{start.month:02}",
        "quarter": f"{start.year:04}-Q{(start.month - 1) // 3 + 1}",
        "year": f"{start.year:04}",
    }[unit]
    return Period(start, unit_end(start, unit), words, unit)


def parse_period(text: str, today: dt.date) -> Period:
    """Read a text that is a period and nothing else."""
    words = text.split()
    read = read_period(words, today)
    if read is None or read[1] != len(words):
        raise NotUnderstoodError(f"“{text}” is no period.", hint=PERIOD_HINT)
    return read[0]


PERIOD_HINT = "Try `last 30 days`, `last week`, `2026-10` or `2026-10-01..2026-10-31`."


def read_period(words: Sequence[str], today: dt.date) -> tuple[Period, int] | None:
    """The period that `words` begin with, and how many words it takes; None where they don't.

    Raises NotUnderstoodError for a period that cannot be (`2026-13`, an end before its start).
    """
    folded = [w.casefold().strip(",") for w in words[:8]]
    for reader in READERS:
        try:
            found = reader(folded, today)
        except (ValueError, OverflowError) as error:
            said = " ".join(words[:4])
            raise NotUnderstoodError(f"“{said}” is no day or period.", hint=PERIOD_HINT) from error
        if found is not None:
            return found
    return None


Reader = Callable[[Sequence[str], dt.date], tuple[Period, int] | None]


def read_word(words: Sequence[str], today: dt.date) -> tuple[Period, int] | None:
    """`today`, `yesterday`, `all time`."""
    match list(words[:2]):
        case ["today", *_]:
            return Period(today, today + DAY, "today"), 1
        case ["yesterday", *_]:
            return Period(today - DAY, today, "yesterday"), 1
        case ["all", "time"]:
            return Period(ALL_TIME_START, today + DAY, "all time"), 2
    return None


def read_last(words: Sequence[str], today: dt.date) -> tuple[Period, int] | None:
    """`last [N] unit`, and `30d`."""
    short = re.fullmatch(r"([1-9][0-9]{0,5})(d|w|mo?|y)", words[0]) if words else None
    if short:
        return rolling(int(short[1]), LETTERS[short[2]], today), 1
    if len(words) < 2 or words[0] not in ("last", "past", "previous"):
        return None
    if words[1] in UNITS:
        unit = UNITS[words[1]]
        if unit == "day":
            return Period(today - DAY, today, "yesterday"), 2
        start = unit_start(unit_start(today, unit) - DAY, unit)
        return Period(start, unit_end(start, unit), f"last {unit}", unit), 2  # type: ignore[arg-type]
    if len(words) > 2 and re.fullmatch(r"[0-9]{1,6}", words[1]) and words[2] in UNITS:
        if int(words[1]) == 0:
            raise ValueError("a period of nothing")
        return rolling(int(words[1]), UNITS[words[2]], today), 3
    return None


def rolling(n: int, unit: str, today: dt.date) -> Period:
    """`n` units that end yesterday."""
    months = {"month": n, "quarter": 3 * n, "year": 12 * n}
    if unit in months:
        start = add_months(today, -months[unit])
    else:
        start = today - n * (7 if unit == "week" else 1) * DAY
    return Period(start, today, f"last {n} {unit}{'' if n == 1 else 's'}")


def read_this(words: Sequence[str], today: dt.date) -> tuple[Period, int] | None:
    """`this month`: what has passed of it, today included."""
    if len(words) < 2 or words[0] != "this" or words[1] not in UNITS or UNITS[words[1]] == "day":
        return None
    unit = UNITS[words[1]]
    return Period(unit_start(today, unit), today + DAY, f"this {unit}", unit), 2  # type: ignore[arg-type]


def read_unit(words: Sequence[str], today: dt.date) -> tuple[Period, int] | None:
    """`2026`, `2026-10`, `2026-Q3`, `2026-W40`, `Q3 [2026]`, `October [2026]`."""
    if not words:
        return None
    word = words[0]
    if m := re.fullmatch(r"(\d{4})(?:-(?:(\d{2})|q(\d)|w(\d{2})))?", word):
        year = int(m[1])
        if not 1970 <= year <= 2199:
            return None
        if m[2]:
            return whole(dt.date(year, int(m[2]), 1), "month"), 1
        if m[3]:
            return whole(quarter_start(year, int(m[3])), "quarter"), 1
        if m[4]:
            return whole(dt.date.fromisocalendar(year, int(m[4]), 1), "week"), 1
        return whole(dt.date(year, 1, 1), "year"), 1
    has_year = len(words) > 1 and re.fullmatch(r"(19[7-9]|20|21)\d+", words[1]) is not None
    if m := re.fullmatch(r"q(\d)", word):
        year = int(words[1]) if has_year else today.year
        start = quarter_start(year, int(m[1]))
        if not has_year and start > today:
            start = quarter_start(year - 1, int(m[1]))
        return whole(start, "quarter"), 1 + has_year
    if word in MONTHS and not (len(words) > 1 and re.fullmatch(r"\d{1,2}(st|nd|rd|th)?", words[1])):
        year = int(words[1]) if has_year else today.year
        start = dt.date(year, MONTHS[word], 1)
        if not has_year and start > today:
            start = start.replace(year=year - 1)
        return whole(start, "month"), 1 + has_year
    return None


def quarter_start(year: int, n: int) -> dt.date:
    """The first day of quarter `n`; ValueError outside 1..4."""
    if not 1 <= n <= 4:
        raise ValueError(f"quarter {n}")
    return dt.date(year, 3 * n - 2, 1)


def read_days(words: Sequence[str], today: dt.date) -> tuple[Period, int] | None:
    """`day`, `day..day`, `from day to day`, `between day and day`, `since day`."""
    if not words:
        return None
    if ".." in words[0]:
        left, _, right = words[0].partition("..")
        first, last = read_day([left], today), read_day([right.lstrip(".")], today)
        if first is None or last is None:
            return None
        return between(first[0], last[0] + DAY), 1
    if words[0] in ("from", "between"):
        first = read_day(words[1:], today)
        if first is None:
            return None
        n = 1 + first[1]
        if n < len(words) and words[n] in ("to", "until", "and", "till"):
            last = read_day(words[n + 1 :], today)
            if last is not None:
                return between(first[0], last[0] + DAY), n + 1 + last[1]
        raise ValueError("a period with a first day and no last one")
    if words[0] == "since":
        first = read_day(words[1:], today)
        if first is None:
            return None
        day = first[0]
        return Period(day, today + DAY, f"since {day.isoformat()}"), 1 + first[1]
    first = read_day(words, today)
    if first is None or words[0] in ("today", "yesterday"):
        return None
    return between(first[0], first[0] + DAY), first[1]


def read_day(words: Sequence[str], today: dt.date) -> tuple[dt.date, int] | None:
    """One day; without a year it is the latest such day that has come."""
    if not words:
        return None
    if words[0] in ("today", "yesterday"):
        return today - DAY * (words[0] == "yesterday"), 1
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", words[0]):
        return dt.date.fromisoformat(words[0]), 1
    if len(words) < 2:
        return None
    number = r"(\d{1,2})(?:st|nd|rd|th)?"
    if (m := re.fullmatch(number, words[0])) and words[1] in MONTHS:
        day, month = int(m[1]), MONTHS[words[1]]
    elif (m := re.fullmatch(number, words[1])) and words[0] in MONTHS:
        day, month = int(m[1]), MONTHS[words[0]]
    else:
        return None
    if len(words) > 2 and re.fullmatch(r"(19[7-9]|20|21)\d+", words[2]):
        return dt.date(int(words[2]), month, day), 3
    year = today.year
    while (month, day) == (2, 29) and not calendar.isleap(year):
        year -= 1
    found = dt.date(year, month, day)
    if found > today:
        year -= 1
        while (month, day) == (2, 29) and not calendar.isleap(year):
            year -= 1
        found = dt.date(year, month, day)
    return found, 2


READERS: tuple[Reader, ...] = (read_word, read_last, read_this, read_days, read_unit)
