"""digest: the day's key numbers in one message, what of them is unusual, and how whole it is."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from analytics.catalog import Catalog, Dimension, Metric
from analytics.command import Command, Context, says
from analytics.course import Course, Gate, Line, course_of, number
from analytics.errors import HeldError, NotEnoughDataError
from analytics.methods.drivers import Driver, culprit
from analytics.period import Period, between
from analytics.result import (
    Chart,
    Column,
    Figure,
    Note,
    Number,
    Part,
    Result,
    Series,
    Table,
    Unit,
    Value,
)
from analytics.scope import Filters
from analytics.words import (
    counted,
    date_words,
    listed,
    moved,
    range_words,
    share_words,
    short_words,
    speaking,
)

#: What is told where nothing else is asked for.
USUAL_METRICS = (
    "revenue",
    "buyers",
    "new_buyers",
    "daily_active",
    "sessions",
    "conversion",
    "average_order",
    "csat",
    "nps",
)

#: So many days, or weeks, are drawn.
SHOWN = {1: 28, 7: 26}

#: For so many metrics is told what moved them, by so many values.
MOST_MOVED = 3
MOST_VALUES = 6

#: A value explains a change where it has at least this share of it.
EXPLAINS = 0.3

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, kw_only=True)
class Digest(Command):
    """The day's key numbers in one message: what moved, and how unusual that is.

    Growth, activity, conversion and satisfaction, each with its change, its last four weeks and
    the band it usually lies in for the weekday. Say which metrics, or the name of a digest of
    config.yaml. A day whose data are not whole is held back; `digest anyway` shows it marked.
    """

    examples: ClassVar = (
        "digest 2011-12-08",
        "digest revenue, buyers, conversion 2011-11-25",
        "digest last week",
        "digest yesterday anyway",
    )
    aliases: ClassVar = ("briefing", "morning")

    metrics: tuple[str, ...] = says(
        (), positional=True, unit="metric", help="metrics, or the name of a digest of your own"
    )
    period: Period = says("yesterday", help="a day, or a week")
    where: Filters = says(Filters(), help="only these countries, channels, ...")
    held: Literal["anyway"] | None = says(None, help="show it even where the data are not whole")

    def run(self, ctx: Context) -> Result:
        """The metrics' course, unless the gate holds it."""
        language = language_of(self.metrics, ctx.catalog)
        with speaking(language):
            return replace(self.told(ctx), language=language)

    def told(self, ctx: Context) -> Result:
        """The same, in the language that is spoken."""
        if self.period.end > ctx.today:
            raise NotEnoughDataError(
                f"{self.period.words.capitalize()} is not over: it can't be put beside whole days.",
                hint=f"Try `kpis {self.period.words}`, or `digest yesterday`.",
            )
        metrics = metrics_of(self.metrics, ctx.catalog)
        course = course_of(ctx, metrics, self.period, self.where)
        if not course.spans:
            raise NotEnoughDataError(
                "The store holds no data of this time.",
                hint="Load some with `python -m bot load orders FILE`, or try `make demo`.",
            )
        if course.gate.verdict == "held" and self.held is None:
            raise HeldError(held_words(course), hint=f"`{self.anyway()}` shows it marked.")
        known = [line for line in course.lines if line.now is not None]
        if not known:
            note = next((line.note for line in course.lines if line.note), "")
            said = f"Nothing is known of {day_words(self.period)}. {note}"
            raise NotEnoughDataError(said.strip())
        told = Told(self, ctx, course, known)
        return Result(
            told.title(),
            told.headline(),
            told.parts(),
            told.follow_ups(),
            mark=told.mark(),
            detail=told.detail(),
        )

    def anyway(self) -> str:
        """The same question, to be answered even where the gate holds it."""
        names = ", ".join(self.metrics)
        days = between(self.period.start, self.period.end).words  # it may be asked later
        return " ".join(f"digest {names} {days} {self.where.said()} anyway".split())


def metrics_of(names: Sequence[str], catalog: Catalog) -> list[Metric]:
    """The metrics that were asked for; a digest's name stands for its own."""
    found: list[str] = []
    for name in names or USUAL_METRICS:
        plan = catalog.digest(name)
        found += plan.metrics if plan else (name,)
    return [catalog.find_metric(name) for name in dict.fromkeys(found)]


def language_of(names: Sequence[str], catalog: Catalog) -> str:
    """The language of the numbers: that of the first digest that is named."""
    plans = [plan for name in names if (plan := catalog.digest(name))]
    return plans[0].language if plans else "en"


def day_words(period: Period) -> str:
    """`Fri 25 Nov 2011`, or `the week from 28 Nov 2011`."""
    if period.days == 1:
        return f"{period.start:%a} {date_words(period.start)}"
    return f"the week from {date_words(period.start)}"


def held_words(course: Course) -> str:
    """Why a digest is held: what is missing, and how much of the day there is."""
    gate = course.gate
    texts = [text for verdict, text in gate.reasons if verdict == "held"]
    words = f"The digest of {day_words(course.period)} is held: {texts[0]}"
    if len(texts) > 1:
        words += f"; {texts[1]}" if len(texts) == 2 else f", and {len(texts) - 1} more findings"
    return f"{words}.{missing_words(gate)}"


def missing_words(gate: Gate) -> str:
    """` 10 hours are without data: 41 % complete.`; empty where that is not so."""
    if not gate.missing or gate.complete is None:
        return ""
    hours = counted(gate.missing, "hour is", "hours are")
    return f" {hours} without data: {share_words(gate.complete)} complete."


# --- what is shown ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """All that the answer is made of; `known` are the lines whose value is known."""

    asked: Digest
    ctx: Context
    course: Course
    known: Sequence[Line]

    @property
    def is_day(self) -> bool:
        """Whether a day is told, not a week."""
        return self.asked.period.days == 1

    @property
    def unusual(self) -> list[Line]:
        """What is out of its band, the farthest first."""
        found = [line for line in self.known if line.is_unusual]
        return sorted(found, key=lambda line: -abs(line.score or 0))

    @property
    def reference(self) -> str:
        """What the change is against: `the Friday before`, `the week before`."""
        if not self.is_day:
            return "the week before"
        return f"the {WEEKDAYS[self.asked.period.start.weekday()]} before"

    def title(self) -> str:
        """`Digest, Fri 25 Nov 2011`."""
        names = self.asked.metrics
        plan = self.ctx.catalog.digest(names[0]) if len(names) == 1 else None
        name = f"{plan.name.replace('_', ' ').capitalize()} digest" if plan else "Digest"
        where = self.course.scope.filters.words()
        return ", ".join(t for t in (name, day_words(self.asked.period), where) if t)

    def headline(self) -> str:
        """The most unusual move, or that all is as usual."""
        marked = "Incomplete data. " if self.course.gate.verdict == "held" else ""
        unusual = self.unusual
        if unusual:
            first, *rest = unusual
            text = self.move(first)
            if rest:
                names = [line.metric.label for line in rest]
                text += f"; also unusual: {listed(names)}"
            return f"{marked}{text}."
        judged = [line for line in self.known if line.score is not None]
        lead = self.known[0]
        said = f"{lead.metric.label.lower()} {self.short(lead, lead.now)}"
        change = moved(lead.now, lead.reference, lead.metric.unit)
        if change:
            said += f", {change} {'from' if change == 'unchanged' else 'on'} {self.reference}"
        usual = "All as usual" if judged else "What is usual is not known yet"
        place = "on" if self.is_day else "in"
        return f"{marked}{usual} {place} {day_words(self.asked.period)}: {said}."

    def move(self, line: Line) -> str:
        """`Conversion fell to 4.3 %, below the usual 4.7 % to 7.1 %: mobile moved it most`."""
        metric, usual = line.metric, line.usual
        assert usual is not None  # noqa: S101 - it is unusual
        above = float(line.now or 0) > usual[1]
        ends = range_words(*usual, metric.unit, self.ctx.currency)
        text = (
            f"{metric.label} {'rose' if above else 'fell'} to {self.short(line, line.now)}, "
            f"{'above' if above else 'below'} the usual {ends}"
        )
        cause = self.cause(line, above=above)
        if cause:
            _, driver = cause
            unit: Unit = "points" if metric.unit == "share" else metric.unit
            total = float(line.now or 0) - float(line.reference or 0)
            part, whole = (short_words(v, unit, self.ctx.currency) for v in (driver.part, total))
            whole = whole.removesuffix(" pts")
            text += f"; {driver.key[0]} explains {part.removesuffix(' pts')} of {whole}"
            text += " points" if unit == "points" else ""
        return text

    def cause(self, line: Line, *, above: bool) -> tuple[Dimension, Driver] | None:
        """The value of a dimension that stands out in a move; None where the change from the
        reference has the other direction, or nothing stands out.
        """
        if line.reference is None or line.now is None:
            return None
        total = float(line.now) - float(line.reference)
        if (total > 0) != above:
            return None
        found = [
            (dimension, driver)
            for dimension, parts in line.movers
            if (driver := culprit(parts, total, EXPLAINS)) is not None
        ]
        return max(found, key=lambda f: (abs(f[1].peculiarity), f[0].name), default=None)

    def short(self, line: Line, value: Number) -> str:
        """A value in a sentence."""
        return short_words(value, line.metric.unit, self.ctx.currency)

    # -- parts

    def parts(self) -> tuple[Part, ...]:
        """Warnings, the figures by group, what is unknown, and how fresh the data are."""
        gate = self.course.gate
        parts: list[Part] = []
        if gate.verdict == "held":
            texts = [text for verdict, text in gate.reasons if verdict == "held"]
            parts.append(
                Note(f"These data are not whole: {'; '.join(texts[:3])}.{missing_words(gate)}",
                     "warning")
            )  # fmt: skip
        groups = list(dict.fromkeys(line.metric.group for line in self.known))
        ordered = sorted(self.known, key=lambda line: groups.index(line.metric.group))
        parts += [self.figure(line) for line in ordered]
        unknown = [line for line in self.course.lines if line.now is None]
        if unknown:
            why = list(dict.fromkeys(line.note for line in unknown if line.note))
            names = listed([line.metric.label for line in unknown])
            parts.append(Note(f"Unknown: {names}. {' '.join(why)}".strip()))
        if gate.verdict == "note":
            texts = [text for verdict, text in gate.reasons if verdict == "note"]
            parts.append(Note(f"Read with care: {'; '.join(texts[:3])}."))
        parts.append(Note(self.freshness()))
        return tuple(parts)

    def figure(self, line: Line) -> Figure:
        """A metric with its course."""
        earlier = [("the day before", line.back(1))] if self.is_day else []
        note = line.note if line.note.startswith("Small") else ""
        return Figure(
            line.metric.label.removesuffix(" per day") if self.is_day else line.metric.label,
            line.now,
            line.metric.unit,
            line.reference,
            line.metric.more_is_better,
            line.metric.group,
            note,
            self.reference,
            tuple(earlier),
            self.last(line),
            None if note else line.usual,
        )

    def last(self, line: Line) -> tuple[Number, ...]:
        """The values that are drawn."""
        return tuple(number(v) for v in line.values[-SHOWN[self.asked.period.days] :])

    def freshness(self) -> str:
        """`Data through 8 Dec 2011, 20:01; 99.8 % complete.`"""
        through = self.ctx.store.data_through()
        gate = self.course.gate
        bits = []
        if through is not None:
            local = through.replace(tzinfo=dt.UTC).astimezone(self.ctx.zone)
            day = "" if local.date() == self.ctx.today else f"{date_words(local)}, "
            bits.append(f"Data through {day}{local:%H:%M}")
        if gate.complete is not None:
            bits.append(f"{share_words(gate.complete)} complete")
        elif not gate.judged:
            bits.append("too little came before to say whether they are whole")
        return f"{'; '.join(bits)}." if bits else "Nothing is known of the data's age."

    # -- detail

    def detail(self) -> tuple[Part, ...]:
        """The numbers in full, the course of the first metric, and what moved the unusual ones."""
        units = list(dict.fromkeys(self.unit(line) for line in self.known))
        parts: list[Part] = [self.table(unit) for unit in units]
        lead = [*self.unusual, *self.known]
        parts.insert(0, self.chart(lead[0]))
        for line in (self.unusual or self.known)[:MOST_MOVED]:
            parts += self.moved(line)
        season = "the same weekday in the last 8 weeks" if self.is_day else "the last 8 weeks"
        parts.append(
            Note(
                f"From and to are the usual band: the median of {season}, moved by the latest "
                "level, give or take 4 median deviations and never narrower than chance."
            )
        )
        return tuple(parts)

    def unit(self, line: Line) -> Unit:
        """The unit of a line's numbers in a table: bands of counts are no whole numbers."""
        return "number" if line.metric.unit == "count" else line.metric.unit

    def table(self, unit: Unit) -> Table:
        """The metrics of one unit."""
        names: dict[str, str] = {
            "money": "Money",
            "number": "Counts",
            "share": "Shares",
            "score": "Scores",
        }
        columns = [
            Column("metric", "Metric"),
            Column("now", "Now", unit),
            Column("before", "Week ago" if self.is_day else "Week before", unit),
        ]
        if self.is_day:
            columns.append(Column("day_before", "Day before", unit))
        columns += [Column("low", "From", unit), Column("high", "To", unit)]
        sampled = any(self.unit(line) == unit and line.sample is not None for line in self.known)
        columns += [Column("sample", "n", "count")] if sampled else []
        rows: list[tuple[Value, ...]] = []
        for line in self.known:
            if self.unit(line) != unit:
                continue
            low, high = line.usual or (None, None)
            rows.append(
                (
                    line.metric.label,
                    line.now,
                    line.reference,
                    *([line.back(1)] if self.is_day else []),
                    low,
                    high,
                    *([line.sample] if sampled else []),
                )
            )
        return Table(names.get(unit, unit.capitalize()), tuple(columns), tuple(rows))

    def chart(self, line: Line) -> Chart:
        """A metric's last days and the band."""
        n = SHOWN[self.asked.period.days]
        low, middle, high = (
            tuple(number(v) for v in ends[-n:])
            for ends in (line.band.low, line.band.expected, line.band.high)
        )
        unit = self.unit(line)
        per = "day" if self.is_day else "week"
        return Chart(
            f"{line.metric.label.removesuffix(' per day')} per {per}",
            "line",
            self.course.days[-n:],
            (Series(line.metric.label, self.last(line)), Series("usual", middle, low, high)),
            unit,
            y_label=line.metric.label,
            x_unit="date",
        )

    def moved(self, line: Line) -> list[Part]:
        """By dimension, the values with the largest parts of the change from the reference."""
        unit = self.unit(line)
        rows: list[tuple[Value, ...]] = []
        for dimension, parts in line.movers:
            for driver in parts[: MOST_VALUES // 2]:
                value = driver.key[0] or "unknown"
                rows.append(
                    (dimension.label, value, number_of(driver.now), number_of(driver.before),
                     driver.part)
                )  # fmt: skip
        if not rows:
            return []
        columns = (
            Column("dimension", "By"),
            Column("value", "Value"),
            Column("now", "Now", unit),
            Column("before", self.reference.removeprefix("the ").capitalize(), unit),
            Column("part", "Of the change", "points" if unit == "share" else unit),
        )
        title = f"{line.metric.label}: what moved from {self.reference}"
        return [Table(title, columns, tuple(rows))]

    def mark(self) -> str:
        """What a schedule that speaks on change goes by: the verdict and what is unusual."""
        return ", ".join([self.course.gate.verdict, *(line.metric.name for line in self.unusual)])

    def follow_ups(self) -> tuple[str, ...]:
        """Why the unusual ones moved, and who came."""
        # a button is pressed later than it is made: no `yesterday`
        period = between(self.asked.period.start, self.asked.period.end).words
        said = self.course.scope.filters.said()
        lines = (self.unusual or list(self.known))[:2]
        steps = [
            f"why {line.metric.name} {period} {said}"
            for line in lines
            if line.reference is not None
        ]
        steps.append(f"trend {lines[0].metric.name} {said}")
        if "orders" in self.course.spans:
            steps.append(f"segment last 90 days {said}")
        steps.append(f"quality {period}")
        return tuple(" ".join(s.split()) for s in steps)


def number_of(value: float | None) -> Number:
    """A plain number, None where there is none."""
    return None if value is None else number(value)
