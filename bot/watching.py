"""What an alert looks at, what it sees, and what follows: the rules of incidents.

An incident of a metric opens when its value is beyond the limit, on a sample that is large enough
and outside of the quiet hours. It is over when the value was back inside on two days in a row: a
value on the edge does not open and close it every morning. While data are missing nothing is
judged; their absence is an incident of its own, once it lasts.
"""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from analytics.catalog import Catalog, Metric
from analytics.command import Context
from analytics.course import Course, Line, course_of
from analytics.errors import NotUnderstoodError, UserError
from analytics.period import Period
from analytics.scope import Filters
from analytics.words import EXPONENTS, share_words, short_words
from storage.alerts import Event, Standing

Condition = Literal["below", "above", "drops", "rises", "unusual"]

#: Days in a row back inside after which an incident is over.
REARM = 2

#: Data that are missing for so long are told of.
PATIENCE_S = 3600

QUIET = re.compile(r"(\d{1,2})(?::?(\d{2}))?-(\d{1,2})(?::?(\d{2}))?")


@dataclass(frozen=True)
class Watch:
    """What an alert looks at. `limit` is in the metric's own unit, or a share of the usual for
    `drops` and `rises`; `sample` is the least that a ratio must stand on (None: the metric's own).
    """

    metric: str
    condition: Condition
    limit: float
    period: Period
    where: Filters
    sample: int | None = None

    def words(self, catalog: Catalog, currency: str) -> str:
        """`conversion below 2 %`, `revenue 20 % below the usual`, `sessions unusual`."""
        metric = catalog.find_metric(self.metric)
        where = f" for {self.where.words()}" if self.where else ""
        return f"{metric.label}{where} {self.limit_words(metric, currency)}"

    def limit_words(self, metric: Metric, currency: str) -> str:
        """`below 2 %`."""
        match self.condition:
            case "unusual":
                return "unusual"
            case "drops" | "rises":
                side = "below" if self.condition == "drops" else "above"
                return f"{share_words(self.limit)} {side} the usual"
            case _:
                return f"{self.condition} {short_words(self.limit, metric.unit, currency)}"

    def least(self, metric: Metric) -> int:
        """The sample that a ratio must stand on."""
        return metric.minimum if self.sample is None else self.sample


@dataclass(frozen=True)
class Seen:
    """What an alert saw: whether the limit is passed (None: it can't be said, `why`), on which
    block, and whether the data were there at all. `read` holds the record of what was read.
    """

    watch: Watch
    course: Course | None
    line: Line | None
    is_beyond: bool | None
    block: str
    stamp: int
    why: str = ""
    absence: str = ""
    value: float | None = None
    read: Context | None = None


def look(ctx: Context, watches: Sequence[Watch]) -> list[Seen]:
    """What each sees now; those of one period and filter share two queries."""
    found: dict[int, Seen] = {}
    groups: dict[tuple[Period, Filters], list[int]] = {}
    for i, watch in enumerate(watches):
        groups.setdefault((watch.period, watch.where), []).append(i)
    through = ctx.store.data_through()
    stamp = 0 if through is None else round(through.replace(tzinfo=dt.UTC).timestamp() * 1e6)
    for (period, where), places in groups.items():
        names = dict.fromkeys(watches[i].metric for i in places)
        metrics = [ctx.catalog.find_metric(name) for name in names]
        read = replace(ctx, store=ctx.store.fork())
        course = course_of(read, metrics, period, where)
        for i in places:
            found[i] = replace(seen_in(watches[i], course, ctx, stamp), read=read)
    return [found[i] for i in range(len(watches))]


def seen_in(watch: Watch, course: Course, ctx: Context, stamp: int) -> Seen:
    """What one sees in a course."""
    line = next(one for one in course.lines if one.metric.name == watch.metric)
    block = course.period.start.isoformat()
    if course.period.end > ctx.today:  # the running day: every hour may say something new
        block += f" {ctx.now.astimezone(ctx.zone):%H}"
    value = None if line.now is None else float(line.now)
    seen = Seen(watch, course, line, None, block, stamp, value=value)
    if not course.spans:
        return replace(seen, absence="Nothing has come at all")
    if course.gate.gone:
        return replace(seen, absence=course.gate.gone[0])
    if line.now is None:
        return replace(seen, why=line.note or "It is unknown.")
    least = watch.least(line.metric)
    if line.sample is not None and line.sample < least:
        return replace(seen, why=f"Too small a sample: {line.sample:,} of at least {least:,}.")
    return replace(seen, is_beyond=beyond(watch, line))


def beyond(watch: Watch, line: Line) -> bool | None:
    """Whether the limit is passed; None where what is usual is not known."""
    now = float(line.now or 0)
    match watch.condition:
        case "below":
            return now < watch.limit
        case "above":
            return now > watch.limit
        case "unusual":
            return None if line.score is None else bool(line.band.unusual[-1])
        case "drops" | "rises":
            usual = expected(line)
            if usual is None or usual <= 0:
                return None
            if watch.condition == "drops":
                return now <= usual * (1 - watch.limit)
            return now >= usual * (1 + watch.limit)


def expected(line: Line) -> float | None:
    """What is usual for the day; else what was a week before."""
    middle = float(line.band.expected[-1])
    if middle == middle:
        return middle
    return None if line.reference is None else float(line.reference)


# --- what follows -------------------------------------------------------------------------------


def step(standing: Standing, seen: Seen, *, quiet: bool) -> tuple[Standing, Event | None]:
    """The next standing of a condition, and what is to be told. Seeing the same again is nothing;
    older data than those seen are none.
    """
    if seen.is_beyond is None or seen.stamp < standing.stamp:
        return standing, None
    told = replace(standing, value=seen.value, block=seen.block, stamp=seen.stamp)
    if not standing.is_open:
        if seen.is_beyond and not quiet:
            return replace(told, is_open=True, calm=0), "opened"
        return standing, None
    changed = (seen.value, seen.block) != (standing.value, standing.block)
    if seen.is_beyond:
        return replace(told, calm=0), "updated" if changed or standing.calm else None
    if standing.calm and seen.block == standing.block:
        return told, "updated" if changed else None
    if standing.calm + 1 >= REARM:
        return replace(told, is_open=False, calm=0), "resolved"
    return replace(told, calm=standing.calm + 1), "updated"


def step_absence(
    standing: Standing, seen: Seen, now_us: int, *, quiet: bool
) -> tuple[Standing, Event | None]:
    """The same for data that are missing: told once they are missing for an hour, over at once."""
    if not seen.absence:
        if standing.is_open:
            return Standing(stamp=seen.stamp), "resolved"
        return (Standing(stamp=seen.stamp), None) if standing.waits_since else (standing, None)
    if standing.is_open or seen.stamp < standing.stamp:
        return standing, None
    waits = standing.waits_since or now_us
    waiting = replace(standing, waits_since=waits, block=seen.block, stamp=seen.stamp)
    if now_us - waits < PATIENCE_S * 1_000_000 or quiet:
        return waiting, None
    return replace(waiting, is_open=True), "opened"


# --- quiet hours and limits ---------------------------------------------------------------------


def read_quiet(said: str) -> tuple[dt.time, dt.time]:
    """`22:00-07:00` or `22-7`. Raises NotUnderstoodError."""
    match = QUIET.fullmatch(said.replace(" ", ""))
    hours = [int(n or 0) for n in match.groups()] if match else [99] * 4
    if max(hours[0], hours[2]) > 24 or max(hours[1], hours[3]) > 59:
        raise NotUnderstoodError(f"“{said[:40]}” are no hours.", hint="Say `quiet 22:00-07:00`.")
    return dt.time(hours[0] % 24, hours[1]), dt.time(hours[2] % 24, hours[3])


def is_quiet(quiet: str | None, local: dt.datetime) -> bool:
    """Whether nothing new is to be told at that local time."""
    if quiet is None:
        return False
    start, end = read_quiet(quiet)
    at = local.time()
    return start <= at < end if start <= end else at >= start or at < end


def limit_of(metric: Metric, said: float, currency: str) -> float:
    """A limit as it was said -> in the metric's own unit. Raises NotUnderstoodError."""
    if metric.unit == "money":
        return float(said * 10 ** EXPONENTS.get(currency, 2))
    if metric.unit == "share" and not 0 <= said <= 1:
        raise NotUnderstoodError(
            f"{metric.label} lies between 0 % and 100 %, not at {said:g}.",
            hint=f"Say `{said:g} %`." if 1 < said <= 100 else "",
        )
    return float(said)


class AlertError(UserError):
    """An alert that can't be, or that is not there."""

    code = "no_alert"
