"""trend: a metric over time, what of it is usual, and what may come next."""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from analytics.catalog import ENTITY, SALE, Measure, Metric
from analytics.command import Command, Context, says
from analytics.course import band_of, numbers
from analytics.entities import CannotAnswerError, adds_up
from analytics.errors import NotEnoughDataError, UserError
from analytics.measure import (
    Quantities,
    Span,
    Spans,
    coverage_notes,
    daily,
    read,
    reading,
    span_of,
    spans_of,
)
from analytics.methods.seasonal import (
    HELD,
    Band,
    Floats,
    Forecast,
    Slope,
    forecast,
    season_shape,
    slope,
)
from analytics.period import Period, add_months, between, unit_start
from analytics.result import Chart, Column, Note, Number, Part, Result, Series, Table, Value, plain
from analytics.scope import Filters, Scope, Window, in_words, scope_of
from analytics.words import counted, date_words, listed, share_words, short_words

Step = Literal["day", "week", "month"]

#: Points that make a season, points read before the period, points told ahead, and the fewest
#: known points from which anything is told.
SEASON: dict[Step, int] = {"day": 7, "week": 1, "month": 1}
HISTORY: dict[Step, int] = {"day": 26 * 7, "week": 52, "month": 36}
AHEAD: dict[Step, int] = {"day": 14, "week": 4, "month": 3}
FEWEST: dict[Step, int] = {"day": 42, "week": 13, "month": 8}
DAYS: dict[Step, int] = {"day": 1, "week": 7, "month": 30}

#: The most points whose people can be counted one by one where they don't add up.
MOST_WINDOWS = 120
MOST_ROWS = 12

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

#: Buyers of a day are the people who ordered on it.
BUYERS_OF_A_DAY = Measure("orders", "distinct", "person_id", SALE)


class NoSeriesError(UserError):
    """The metric has no value of its own for each day."""

    code = "no_series"


@dataclass(frozen=True)
class Points:
    """A metric per day, week or month: first days, values and samples (NaN where unknown)."""

    days: tuple[dt.date, ...]
    values: Floats
    samples: Floats


@dataclass(frozen=True, kw_only=True)
class Trend(Command):
    """A metric over time: what is usual for the weekday, which days were not, and what may come.

    The band of what is usual is made from the same weekday of the eight weeks before and the level
    of the last two; a day is never judged by itself or by later ones. The forecast carries the
    same on, and says how far it was off before.
    """

    examples: ClassVar = (
        "trend revenue",
        "trend conversion last 60 days",
        "trend orders 2011 by week",
    )
    aliases: ClassVar = ("trends", "forecast", "course")

    metric: str = says(positional=True, unit="metric", help="the metric to follow")
    period: Period = says("last 90 days", help="the days to show; earlier ones tell what is usual")
    where: Filters = says(Filters(), help="only these countries, categories, channels, ...")
    step: Step = says("day", after_by=True, help="one point per day, week or month")
    ahead: int | None = says(
        None,
        low=1,
        high=90,
        unit="days",
        words=("next", "ahead"),
        help="how many days to look ahead",
    )

    def run(self, ctx: Context) -> Result:
        """The series with its history, its band, what lies out of it, and the forecast."""
        metric = daily_form(ctx.catalog.find_metric(self.metric), self.step)
        spans = spans_of(ctx.store, ctx.zone)
        known = span_of_metric(metric, spans)
        first, end = self.extent(known, metric)
        period = replace(self.period, start=max(self.period.start, first))
        scope = scope_of(
            ctx.store, ctx.catalog, ctx.zone, [("now", between(first, end))], self.where
        )
        points = points_of(ctx, metric, scope, spans, known, self.step)
        found = np.isfinite(points.values).sum()
        if found < FEWEST[self.step]:
            raise NotEnoughDataError(
                f"{metric.label} is known for {counted(int(found), self.step)} only; what is usual "
                f"takes {FEWEST[self.step]}.",
                hint="Ask by day." if self.step != "day" else "Ask again when more has come in.",
            )
        season = SEASON[self.step]
        band = band_of(metric, points.values, points.samples, season)
        ahead = math.ceil(self.ahead / DAYS[self.step]) if self.ahead else AHEAD[self.step]
        coming = forecast(points.values, season, ahead)
        shown = [i for i, day in enumerate(points.days) if day >= period.start]
        if not shown:
            raise NotEnoughDataError(
                f"The period holds no whole {self.step}.", hint="Ask for a longer period."
            )
        unusual = [i for i in shown if band.unusual[i]]
        moving = slope(points.values[shown], season)
        told = Told(self, metric, period, scope, points, band, coming, shown, unusual, moving)
        notes: list[Part] = list(
            coverage_notes(
                replace(scope, windows=(Window.of("now", self.period, ctx.zone),)),
                spans,
                tuple(dict.fromkeys(t for m in metric.measures for t in ENTITY[m.entity].needs)),
            )
            if not self.period.is_all_time
            else []
        )
        if end > ctx.today:
            notes.append(Note("Today is not over: its numbers still grow.", "warning"))
        return Result(
            ", ".join(
                t for t in (f"{metric.label} per {self.step}", self.period.words,
                            scope.filters.words()) if t
            ),
            told.headline(ctx.currency),
            (*notes, told.chart(), *told.tables(), *told.notes()),
            told.follow_ups(),
        )  # fmt: skip

    def extent(self, known: Span, metric: Metric) -> tuple[dt.date, dt.date]:
        """From which day to read, and until which; Raises NotEnoughDataError."""
        end = min(self.period.end, known.last + dt.timedelta(days=1))
        start = max(self.period.start, known.first)
        if start >= end:
            raise NotEnoughDataError(
                f"Nothing is known of {metric.label.lower()} {in_words(self.period)}: the data run "
                f"from {date_words(known.first)} to {date_words(known.last)}."
            )
        match self.step:
            case "day":
                first = start - dt.timedelta(days=HISTORY["day"])
            case "week":
                first = start - dt.timedelta(weeks=HISTORY["week"])
            case "month":
                first = add_months(start, -HISTORY["month"])
        return max(first, known.first), end


# --- the series ---------------------------------------------------------------------------------


def daily_form(metric: Metric, step: Step) -> Metric:
    """The metric as it is told for each day. Raises NoSeriesError where that says nothing."""
    if metric.numerator == Measure("buyers", "count") and metric.denominator is None:
        return replace(metric, numerator=BUYERS_OF_A_DAY)
    reaching = [m for m in metric.measures if m.reach != "period"]
    if reaching:
        raise NoSeriesError(
            f"{metric.label} looks back over many days: a series of it is a running sum.",
            hint="Try `trend daily_active` or `trend new_people`.",
        )
    if step == "day" and any(ENTITY[m.entity].clock == "window" for m in metric.measures):
        raise NoSeriesError(
            f"{metric.label} says little for one day, on which few people order twice.",
            hint=f"Try `trend {metric.name} by week`.",
        )
    return metric


def span_of_metric(metric: Metric, spans: Spans) -> Span:
    """The days that all its entities cover. Raises NotEnoughDataError."""
    found = [span_of(ENTITY[m.entity], spans) for m in metric.measures]
    known = [s for s in found if s is not None]
    if len(known) < len(found):
        lacking = [
            ENTITY[m.entity].label for m, s in zip(metric.measures, found, strict=True) if s is None
        ]
        raise NotEnoughDataError(
            f"{metric.label} is unknown: no {listed(list(dict.fromkeys(lacking)))} are loaded.",
            hint="Load some with `python -m bot load orders FILE`, or try `make demo`.",
        )
    return Span(max(s.first for s in known), min(s.last for s in known))


def points_of(
    ctx: Context, metric: Metric, scope: Scope, spans: Spans, known: Span, step: Step
) -> Points:
    """The metric at each step of the scope's one window. Raises NotEnoughDataError."""
    (window,) = scope.windows
    blocks = blocks_of(window, step)
    if not blocks:
        raise NotEnoughDataError(f"The data hold no whole {step}.", hint="Ask by day.")
    try:
        additive = all(
            adds_up(m, scope) or step == "day" for m in metric.measures if m.aggregate != "days"
        ) and not any(ENTITY[m.entity].clock == "window" for m in metric.measures)
        if additive:
            found = by_day(ctx, metric, scope)
        elif len(blocks) <= MOST_WINDOWS:
            return by_windows(ctx, metric, scope, spans, blocks)
        else:
            raise NoSeriesError(
                f"{metric.label} does not add up, and {len(blocks)} {step}s are too many to count "
                "one by one.",
                hint=f"Ask for fewer than {MOST_WINDOWS - HISTORY[step]} {step}s.",
            )
    except CannotAnswerError as error:
        raise NoSeriesError(
            f"{metric.label} is not told apart by {listed(error.dimensions)}."
        ) from error
    values: list[Number] = []
    samples: list[int | None] = []
    everywhere = {(m, 0): sum(days.values()) for m, days in found.items()}
    for block in blocks:
        days = [block.start + dt.timedelta(days=d) for d in range((block.end - block.start).days)]
        parts: Quantities = {
            (m, 0): sum(of_day.get(day, 0) for day in days) for m, of_day in found.items()
        }
        own = replace(scope, windows=(Window.of("now", block, scope.zone),))
        inside = block.start >= known.first and block.last_day <= known.last
        told = reading(metric, own, parts, everywhere, spans, {}) if inside else None
        values.append(told.now if told else None)
        samples.append(told.samples[0] if told else None)
    return Points(tuple(b.start for b in blocks), numbers(values), numbers(samples))


def by_day(ctx: Context, metric: Metric, scope: Scope) -> dict[Measure, dict[dt.date, int]]:
    """The metric's measures per day: one query per entity."""
    by_entity: dict[str, list[Measure]] = {}
    for measure in dict.fromkeys(metric.measures):
        if measure.aggregate != "days":
            by_entity.setdefault(measure.entity, []).append(measure)
    found: dict[Measure, dict[dt.date, int]] = {}
    for measures in by_entity.values():
        found |= daily(ctx.store, scope, measures)
    return found


def by_windows(
    ctx: Context, metric: Metric, scope: Scope, spans: Spans, blocks: Sequence[Period]
) -> Points:
    """The metric in each block by itself, where days don't add up: people are counted once."""
    windows = tuple(Window.of(f"w{i}", b, scope.zone) for i, b in enumerate(blocks))
    (told,) = read(ctx.store, replace(scope, windows=windows), [metric], spans)
    return Points(tuple(b.start for b in blocks), numbers(told.values), numbers(told.samples))


def blocks_of(window: Window, step: Step) -> list[Period]:
    """The whole days, ISO weeks or months of a window."""
    blocks: list[Period] = []
    start = unit_start(window.start, step)
    if start < window.start:
        start = following(start, step)
    while following(start, step) <= window.end:
        blocks.append(between(start, following(start, step)))
        start = following(start, step)
    return blocks


def following(day: dt.date, step: Step) -> dt.date:
    """The first day of the next step."""
    if step == "month":
        return add_months(day, 1)
    return day + dt.timedelta(days=7 if step == "week" else 1)


# --- what is shown ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """All that the answer is made of. `shown` and `unusual` are places in the points."""

    asked: Trend
    metric: Metric
    period: Period
    scope: Scope
    points: Points
    band: Band
    coming: Forecast | None
    shown: list[int]
    unusual: list[int]
    moving: Slope | None

    @property
    def step(self) -> Step:
        """Day, week or month."""
        return self.asked.step

    @property
    def next_days(self) -> list[dt.date]:
        """The first days of the points ahead."""
        days: list[dt.date] = []
        day = self.points.days[-1]
        for _ in range(len(self.coming.values) if self.coming else 0):
            day = following(day, self.step)
            days.append(day)
        return days

    def headline(self, currency: str) -> str:
        """How it moves, what was unusual, what to expect."""
        unit = self.metric.unit
        label = self.metric.label
        where = f" for {self.scope.filters.words()}" if self.scope.filters else ""
        per = "week" if self.step != "month" else "month"
        if self.moving is None:
            text = f"{label}{where} per {self.step} {in_words(self.asked.period)}"
        elif not self.moving.is_clear or abs(self.moving.per_season) < 0.0005:
            text = f"{label}{where} held its level {in_words(self.asked.period)}"
        else:
            verb = "rose" if self.moving.per_season > 0 else "fell"
            size = share_words(abs(self.moving.per_season))
            text = f"{label}{where} {verb} by about {size} a {per} {in_words(self.asked.period)}"
        if self.unusual:
            worst = max(self.unusual, key=lambda i: abs(self.band.score[i]))
            value, low, high = (
                short_words(plain(v[worst]), unit, currency)
                for v in (self.points.values, self.band.low, self.band.high)
            )
            day = date_words(self.points.days[worst])
            most = "most of all" if len(self.unusual) > 1 else ""
            which = " ".join(t for t in (most, day) if t)
            text += (
                f"; {counted(len(self.unusual), f'unusual {self.step}')}, {which}: {value}, "
                f"usually {low} to {high}"
            )
        elif np.isfinite(self.band.score[self.shown]).any():
            text += f"; no {self.step} was unusual"
        if self.coming is not None:
            text += f"; {self.expectation(currency)}"
        return f"{text}."

    def expectation(self, currency: str) -> str:
        """`expect about £620k in the next 14 days`, or what a day will be."""
        assert self.coming is not None  # noqa: S101 - the caller knows
        n = len(self.coming.values)
        steps = f"{n} {self.step}s" if n > 1 else self.step
        ratio = self.metric.denominator is not None
        adds = not ratio and self.metric.numerator.aggregate != "distinct"
        value = float(self.coming.values.sum() if adds else np.nanmean(self.coming.values))
        value = round(value) if self.metric.unit in ("count", "money") else value
        each = "" if adds else " on average" if ratio else f" per {self.step}"
        said = short_words(value, self.metric.unit, currency)
        return f"expect about {said}{each} in the next {steps}"

    def chart(self) -> Chart:
        """The series, the band, what lies out of it, and the forecast."""
        ahead = [None] * len(self.next_days)
        behind = [None] * len(self.shown)

        def past(values: Floats) -> tuple[Number, ...]:
            return (*(number(values[i]) for i in self.shown), *ahead)

        series = [
            Series(self.metric.label, past(self.points.values)),
            Series("usual", past(self.band.expected), past(self.band.low), past(self.band.high)),
        ]
        if self.unusual:
            out = np.full(len(self.points.values), np.nan)
            out[self.unusual] = self.points.values[self.unusual]
            series.append(Series("unusual", past(out)))
        if self.coming is not None:
            told = (self.coming.values, self.coming.low, self.coming.high)
            values, low, high = ((*behind, *map(number, v)) for v in told)
            series.append(Series("forecast", values, low, high))
        return Chart(
            f"{self.metric.label} per {self.step}",
            "line",
            (*(self.points.days[i] for i in self.shown), *self.next_days),
            tuple(series),
            "number" if self.metric.unit == "count" else self.metric.unit,
            y_label=self.metric.label,
            x_unit="date",
        )

    def tables(self) -> list[Part]:
        """The unusual points, the points ahead."""
        unit = self.metric.unit
        unit = "number" if unit == "count" else unit
        day = [Column("day", self.step.capitalize(), "date")]
        if self.step == "day":
            day.append(Column("weekday", "Weekday"))
        ends = [Column("low", "Usual from", unit), Column("high", "to", unit)]
        tables: list[Part] = []
        if self.unusual:
            order = sorted(self.unusual, key=lambda i: -abs(self.band.score[i]))
            rows = [
                (
                    *self.dated(self.points.days[i]),
                    number(self.points.values[i]),
                    number(self.band.low[i]),
                    number(self.band.high[i]),
                    number(self.band.score[i]),
                )
                for i in order[:MOST_ROWS]
            ]
            columns = (
                *day,
                Column("value", self.metric.label, unit),
                *ends,
                Column("score", "Deviations", "number"),
            )
            more = len(order) if len(order) > MOST_ROWS else None
            tables.append(Table(f"Unusual {self.step}s", columns, tuple(rows), of_rows=more))
        if self.coming is not None:
            columns = (
                *day,
                Column("forecast", "Forecast", unit),
                Column("low", "From", unit),
                Column("high", "to", unit),
            )
            told = zip(
                self.next_days,
                self.coming.values,
                self.coming.low,
                self.coming.high,
                strict=True,
            )
            ahead: list[tuple[Value, ...]] = [
                (*self.dated(d), number(v), number(a), number(b)) for d, v, a, b in told
            ]
            tables.append(Table(f"The next {len(ahead)} {self.step}s", columns, tuple(ahead)))
        return tables

    def dated(self, day: dt.date) -> tuple[Value, ...]:
        """A day, and its weekday where points are days."""
        return (day, f"{day:%a}") if self.step == "day" else (day,)

    def notes(self) -> list[Part]:
        """The weekdays, how the forecast did, and how both are made."""
        notes: list[Part] = []
        if self.step == "day":
            shape = season_shape(self.points.values, 7, self.points.days[0].weekday())
            if np.isfinite(shape).all() and (self.points.values[self.shown] >= 0).all():
                best, least = int(np.argmax(shape)), int(np.argmin(shape))
                notes.append(
                    Note(
                        f"{WEEKDAYS[best]} is the highest weekday ({share_words(shape[best])} of "
                        f"the mean day), {WEEKDAYS[least]} the lowest "
                        f"({share_words(shape[least])})."
                    )
                )
        if self.coming is not None and self.coming.error is not None:
            error, naive = self.coming.error, self.coming.naive_error or 0.0
            repeat = f"last {self.step}" if self.step != "day" else "last week"
            verdict = "" if error < naive else ", which it does not beat"
            notes.append(
                Note(
                    f"Tried on the last {counted(self.coming.trials, 'forecast point')}, the "
                    f"forecast was off by {share_words(error)} of the total, repeating the "
                    f"{repeat} by {share_words(naive)}{verdict}. Its band holds "
                    f"{share_words(HELD)} of those errors."
                )
            )
        last = self.unusual[-1] if self.unusual else None
        if last == len(self.points.days) - 1 and self.step == "day":
            day = date_words(self.points.days[last])
            notes.append(Note(f"{day} is the last day of the data: it may not be complete."))
        if not np.isfinite(self.band.score[self.shown]).any():
            notes.append(Note(f"What is usual is not known yet: too few {self.step}s came before."))
        same = "the same weekday of the 8 weeks" if self.step == "day" else f"the 8 {self.step}s"
        notes.append(
            Note(
                f"Usual is the median of {same} before, moved by the latest level, give or take "
                f"{self.band.limit:g} median deviations; the forecast carries it on and knows of "
                "no holidays or plans."
            )
        )
        return notes

    def follow_ups(self) -> tuple[str, ...]:
        """Why the latest unusual day was so; coarser steps; all figures."""
        said = self.scope.filters.said()
        name = self.metric.name
        steps: list[str] = []
        if self.unusual:
            last = self.points.days[self.unusual[-1]]
            block = between(last, following(last, self.step))
            steps.append(f"why {name} {block.words} {said}".strip())
        else:
            steps.append(f"why {name} {self.asked.period.words} {said}".strip())
        if self.step == "day":
            steps.append(" ".join(f"trend {name} {self.asked.period.words} {said} by week".split()))
        steps.append(f"kpis {self.asked.period.words} {said}".strip())
        return tuple(s for s in steps if not s.startswith("why") or not self.period.is_all_time)


def number(value: float) -> Number:
    """A plain number, None for NaN and what is infinite."""
    found = float(value)
    return found if math.isfinite(found) else None
