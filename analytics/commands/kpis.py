"""kpis: the headline numbers, against the period before."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from analytics.catalog import ENTITY, SEGMENT, Dimension, Metric
from analytics.command import Command, Context, says
from analytics.entities import adds_up
from analytics.errors import NotEnoughDataError, UserError
from analytics.measure import (
    Quantities,
    Reading,
    Spans,
    coverage_notes,
    daily,
    gather,
    read,
    reading,
    readings_by_slice,
    span_of,
    spans_of,
)
from analytics.methods.drivers import within_chance
from analytics.period import DAY, Period
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
from analytics.scope import Filters, Scope, Window, in_words, previous_in_words, scope_of
from analytics.words import date_words, listed, moved, share_words, short_words

#: How many values of a dimension get a row of their own; the rest are summed up as "other".
MOST_ROWS = 10

#: The longest period that is drawn day by day, then week by week.
DAYS_BY_DAY = 62
DAYS_BY_WEEK = 366

#: What a slice is described by, and the tables behind it. The first that is known ranks the
#: slices; visits stand in where the orders can't be told apart.
SLICE_METRICS = ("revenue", "orders", "buyers", "average_order", "conversion")
VISIT_METRICS = ("sessions", "sessions_per_person", "time_per_session", "conversion")
SLICED_TABLES = ("orders", "events")

#: Returns of this share of the revenue are worth a word in the headline.
MUCH = 0.1

#: What two groups of people are compared by, whatever their size; the first that are known.
COMPARED = ("average_order", "conversion", "orders_per_buyer", "repeat_rate", "revenue")
UNIT_TITLES: dict[Unit, str] = {
    "share": "Shares",
    "money": "Money",
    "number": "Averages",
    "score": "Scores",
    "seconds": "Times",
    "days": "Days",
    "times": "Ratios",
    "points": "Points",
    "change": "Changes",
    "count": "Counts",
}
#: Units that may be below zero: nothing is a multiple of them.
SIGNED = frozenset({"score", "points", "change"})
#: What to mind about numbers of a saved segment.
CHOSEN = (
    "The people of a segment are chosen by what they did up to today: part of any rise is that "
    "choice."
)

#: What the chart shows, the first that is known.
CHARTED = ("revenue", "daily_active", "new_people")


@dataclass(frozen=True, kw_only=True)
class Kpis(Command):
    """Headline numbers, and how they moved.

    Growth, activity, conversion and satisfaction in a period, each beside the same number of the
    period before. `by <dimension>` gives a row for each country, category, channel or device;
    `vs segment <name>` sets a saved segment beside everybody, or beside another one.
    What the data can't tell is shown as unknown, with the reason.
    """

    examples = ("kpis", "kpis last 90 days", "kpis by country", "kpis for category bags")
    aliases = ("kpi", "numbers", "metrics", "overview")

    period: Period = says("last 30 days", help="the days to look at")
    where: Filters = says(Filters(), help="only these countries, categories, channels, ...")
    by: Dimension | None = says(None, help="a row for each value of a dimension")
    vs: str | None = says(
        None,
        help="a saved segment to set beside",
        words=("vs segment", "versus segment", "versus"),
        unit="segment",
    )

    def run(self, ctx: Context) -> Result:
        """Figures by group with a daily chart; or a table by the dimension."""
        spans = spans_of(ctx.store, ctx.zone, SLICED_TABLES if self.by else ())
        if not spans:
            raise NotEnoughDataError(
                "The store holds no data yet.",
                hint="Load some with `python -m bot load orders FILE`, or try `make demo`.",
            )
        if self.vs:
            return self.beside(ctx, self.vs, spans)
        scope = scope_of(
            ctx.store, ctx.catalog, ctx.zone, compared(self.period, spans), self.where, self.by
        )
        notes = caveats(self.period, scope, spans, ctx)
        if self.by:
            return sliced_result(self.period, self.by, scope, spans, ctx, notes)
        readings = read(ctx.store, scope, ctx.catalog.metrics, spans)
        if all(r.now is None for r in readings):
            return self.beyond(scope, spans, notes)
        chart = main_chart(self.period, scope, spans, ctx, readings)
        figures = [figure(r) for r in in_groups(readings)]
        return Result(
            title("Key figures", self.period, scope),
            headline(self.period, scope, readings, ctx.currency),
            (*notes, *figures, *([chart] if chart else [])),
            follow_ups(self.period, scope, spans),
        )

    def beyond(self, scope: Scope, spans: Spans, notes: Sequence[Part]) -> Result:
        """Nothing is known of the period: no figures, and the data's last days to ask for."""
        first, last = min(s.first for s in spans.values()), max(s.last for s in spans.values())
        start = max(first, last - (self.period.end - self.period.start) + DAY)
        covered = f"{start.isoformat()}..{last.isoformat()}"
        return Result(
            title("Key figures", self.period, scope),
            f"Nothing is known {in_words(self.period)}: the data run from {date_words(first)} "
            f"to {date_words(last)}.",
            tuple(notes),
            (f"kpis {covered} {scope.filters.said()}".strip(),),
        )

    def beside(self, ctx: Context, other: str, spans: Spans) -> Result:
        """The figures of two groups of people, side by side."""
        if self.by:
            raise UserError(
                "Two segments can't be set beside each other by a dimension too.",
                hint=f"Leave out `by {self.by.name}`.",
            )
        ours = tuple(f for f in self.where if f.dimension == SEGMENT.name)
        rest = Filters(tuple(f for f in self.where if f not in ours))
        pair = (self.where, rest.plus(SEGMENT.name, other))
        now = compared(self.period, spans)[:1]
        scopes = [scope_of(ctx.store, ctx.catalog, ctx.zone, now, where) for where in pair]
        sides = [read(ctx.store, scope, ctx.catalog.metrics, spans) for scope in scopes]
        names = (Filters(ours).words() or "everybody", f"segment {scopes[1].members[-1].name}")
        known = [
            (a, b) for a, b in zip(*sides, strict=True) if a.now is not None or b.now is not None
        ]
        if not known:
            raise NotEnoughDataError(
                f"Nothing is known of either {in_words(self.period)}.", hint="Try another period."
            )
        headed = ", ".join(
            t for t in (" beside ".join(names), self.period.words, rest.words()) if t
        )
        said = self.where.said()
        return Result(
            f"Key figures: {headed}",
            beside_headline(self.period, names, known, ctx.currency),
            (
                *caveats(self.period, scopes[0], spans, ctx),
                *few_behind(known),
                *beside_tables(names, known),
                *beside_chart(names, known),
                Note(CHOSEN),
            ),
            (
                f"kpis {self.period.words} {said}".strip(),
                f"kpis {self.period.words} {pair[1].said()}",
                f"top items {self.period.words} {pair[1].said()}",
            ),
        )


def compared(period: Period, spans: Spans) -> list[tuple[str, Period]]:
    """The windows to read: the period and the one before; all time is from the first row on."""
    if not period.is_all_time:
        return [("now", period), ("before", period.previous())]
    first = min(s.first for s in spans.values())
    return [("now", replace(period, start=min(first, period.last_day)))]


def caveats(period: Period, scope: Scope, spans: Spans, ctx: Context) -> list[Part]:
    """What to know before the numbers: what the data do not cover, that today runs on, and how the
    people of a segment were chosen.
    """
    if period.is_all_time:
        return []
    notes: list[Part] = list(coverage_notes(scope, spans, ("orders", "events")))
    if scope.members and len(scope.windows) > 1:
        notes.append(Note(CHOSEN))
    if period.start <= ctx.today < period.end:
        notes.append(Note("Today is not over: its numbers still grow."))
    return notes


def title(what: str, period: Period, scope: Scope) -> str:
    """`Key figures, last 30 days, country France`."""
    return ", ".join(t for t in (what, period.words, scope.filters.words()) if t)


def in_groups(readings: Sequence[Reading]) -> list[Reading]:
    """In the catalogue's order, a group's metrics together."""
    groups = list(dict.fromkeys(r.metric.group for r in readings))
    return sorted(readings, key=lambda r: groups.index(r.metric.group))


def figure(r: Reading) -> Figure:
    """A reading as a figure."""
    m = r.metric
    return Figure(m.label, r.now, m.unit, r.before, m.more_is_better, m.group, r.note)


def headline(period: Period, scope: Scope, readings: Sequence[Reading], currency: str) -> str:
    """Revenue and what moved it, then conversion; or the first thing that is known."""
    by_name = {r.metric.name: r for r in readings}
    known = [r for r in readings if r.now is not None]
    when = in_words(period)
    lead = by_name.get("revenue")
    if lead is None or lead.now is None:
        lead = known[0]
    text = f"{lead.metric.label} {short_words(lead.now, lead.metric.unit, currency)} {when}"
    text += f" for {scope.filters.words()}" if scope.filters else ""
    change = moved(lead.now, lead.before, lead.metric.unit)
    if change:
        text += (
            f", {change} {'from' if change == 'unchanged' else 'on'} {previous_in_words(period)}"
        )
    if lead.metric.name == "revenue" and change:
        drivers = [
            f"{r.metric.label.lower()} {how}"
            for r in (by_name.get("orders"), by_name.get("average_order"))
            if r and (how := moved(r.now, r.before, r.metric.unit))
        ]
        text += f" ({listed(drivers)})" if drivers else ""
    returns = by_name.get("returns")
    if (
        lead.metric.name == "revenue"
        and returns
        and (returns.now or 0) >= MUCH * (lead.now or 0) > 0
    ):
        text += f"; {short_words(returns.now, 'money', currency)} was taken back"
    conversion = by_name.get("conversion")
    if conversion and conversion.now is not None and lead is not conversion:
        text += f"; {conversion_words(conversion)}"
    return f"{text}."


def conversion_words(r: Reading) -> str:
    """`conversion fell to 2.9 % from 3.3 %`, or `held at` where the change may be chance."""
    now = float(r.now or 0)
    if r.before is None:
        return f"conversion is {share_words(now)}"
    before = float(r.before)
    if within_chance(now, before, *(n or 1 for n in r.samples[:2])):
        return f"conversion held at {share_words(now)}"
    verb = "rose" if now > before else "fell"
    return f"conversion {verb} to {share_words(now)} from {share_words(before)}"


def follow_ups(period: Period, scope: Scope, spans: Spans) -> tuple[str, ...]:
    """Slices and questions that go further."""
    taken = {f.dimension for f in scope.filters}
    verbs = [f"kpis by {name}" for name in ("country", "category") if name not in taken]
    verbs += ["segment"] * ("orders" in spans) + ["rules"] * ("order_lines" in spans)
    return tuple(f"{v} {period.words} {scope.filters.said()}".strip() for v in verbs)


# --- beside a segment ----------------------------------------------------------------------------

Pair = tuple[Reading, Reading]


def beside_headline(
    period: Period, names: tuple[str, str], known: Sequence[Pair], currency: str
) -> str:
    """What sets the two apart: average order, conversion and the rest, the first three known."""
    by_name = {a.metric.name: (a, b) for a, b in known}
    told = []
    for name in COMPARED:
        ours, theirs = by_name.get(name, (None, None))
        if ours and theirs and ours.now is not None and theirs.now is not None:
            values = [short_words(r.now, r.metric.unit, currency) for r in (ours, theirs)]
            told.append(f"{ours.metric.label.lower()} {' against '.join(values)}")
    text = f"{names[0][0].upper()}{names[0][1:]} beside {names[1]} {in_words(period)}"
    return f"{text}: {listed(told[:3])}." if told else f"{text}: no figure is known of both."


def beside_tables(names: tuple[str, str], known: Sequence[Pair]) -> list[Table]:
    """A table per unit, two columns each; how many times as much the first has."""
    tables = []
    units = sorted({a.metric.unit for a, _ in known}, key=list(UNIT_TITLES).index)
    for unit in units:
        rows = [
            (a.metric.label, a.now, b.now, None if unit in SIGNED else times(a.now, b.now))
            for a, b in known
            if a.metric.unit == unit
        ]
        columns = (
            Column("metric", "Figure"),
            Column("ours", f"{names[0][0].upper()}{names[0][1:]}", unit),
            Column("theirs", f"{names[1][0].upper()}{names[1][1:]}", unit),
            Column("times", "Times", "times"),
        )
        tables.append(Table(UNIT_TITLES[unit], columns, tuple(rows)))
    return tables


def times(ours: Number, theirs: Number) -> Number:
    """How many times as much; None where that can't be said."""
    return ours / theirs if ours is not None and theirs else None


def few_behind(known: Sequence[Pair]) -> list[Note]:
    """A word about the figures that stand on few of either."""
    few = [
        a.metric.label
        for a, b in known
        if any(s is not None and s < a.metric.minimum for s in (a.samples[0], b.samples[0]))
    ]
    return [Note(f"Small samples on one side or both: {listed(few)}.", "warning")] if few else []


def beside_chart(names: tuple[str, str], known: Sequence[Pair]) -> list[Chart]:
    """The shares of both; nothing where none is known."""
    shares = [(a, b) for a, b in known if a.metric.unit == "share"]
    if not shares:
        return []
    series = (
        Series(names[0], tuple(a.now for a, _ in shares)),
        Series(names[1], tuple(b.now for _, b in shares)),
    )
    labels = tuple(a.metric.label for a, _ in shares)
    return [Chart("Shares, side by side", "bar", labels, series, "share", y_label="Share")]


# --- chart --------------------------------------------------------------------------------------


def main_chart(
    period: Period, scope: Scope, spans: Spans, ctx: Context, readings: Sequence[Reading]
) -> Chart | None:
    """The main series over the period's days, the period before beside it; None if unknown."""
    known = {r.metric.name: r for r in readings if r.now is not None}
    metric = next((known[n].metric for n in CHARTED if n in known), None)
    span = span_of(ENTITY[metric.numerator.entity], spans) if metric else None
    if metric is None or span is None:
        return None
    measure = metric.numerator
    found = daily(ctx.store, scope, [measure])[measure]
    step = days_per_point(scope.windows[0].days)
    x, values = points(scope.windows[0], found, step, span.first, span.last)
    series = [Series(period.words, values)]
    if len(scope.windows) > 1:
        _, before = points(scope.windows[1], found, step, span.first, span.last)
        # the period before may be shorter or longer (months): compare from the first day on
        aligned = (*before[: len(x)], *[None] * (len(x) - len(before)))
        if any(v is not None for v in aligned):
            series.append(Series(previous_in_words(period), aligned))
    per = {1: "per day", 7: "per 7 days", 28: "per 4 weeks"}[step]
    unit = "count" if metric.unit == "number" else metric.unit
    label = metric.label.removesuffix(" per day")
    return Chart(f"{label} {per}", "line", x, tuple(series), unit, y_label=label, x_unit="date")


def days_per_point(days: int) -> int:
    """Days, weeks or four weeks: blocks of equal length, so that no point is a part of one."""
    return 1 if days <= DAYS_BY_DAY else 7 if days <= DAYS_BY_WEEK else 28


def points(
    window: Window, found: dict[dt.date, int], step: int, first: dt.date, last: dt.date
) -> tuple[tuple[dt.date, ...], tuple[Number, ...]]:
    """The sums of blocks of `step` days that end with the window, a leftover at its start aside.

    A block is dated by its first day; None where the data do not cover it.
    """
    blocks = window.days // step
    start = window.end - dt.timedelta(days=blocks * step)
    x, values = [], []
    for b in range(blocks):
        days = [start + dt.timedelta(days=b * step + d) for d in range(step)]
        x.append(days[0])
        covered = days[0] >= first and days[-1] <= last
        values.append(sum(found.get(d, 0) for d in days) if covered else None)
    return tuple(x), tuple(values)


# --- by a dimension -----------------------------------------------------------------------------


def sliced_result(
    period: Period, by: Dimension, scope: Scope, spans: Spans, ctx: Context, notes: list[Part]
) -> Result:
    """One row per value, the largest first, the rest as "other"."""
    metrics = slice_metrics(scope, spans)
    found, refused = gather(ctx.store, scope, metrics, spans)
    slices = readings_by_slice(scope, metrics, spans, found, refused)
    known = [m for i, m in enumerate(metrics) if any(r[i].now is not None for r in slices.values())]
    if not known:
        reasons = [n.text for n in notes if isinstance(n, Note)] + list(refused.values())
        why = reasons[-1] if reasons else "Nothing happened in this period."
        raise NotEnoughDataError(f"Nothing can be said by {by.label.lower()}. {why}")
    rank, place = known[0], metrics.index(known[0])
    order = sorted(
        slices,
        key=lambda v: (-(slices[v][place].now or 0), -(slices[v][place].before or 0), str(v)),
    )
    shown = order[:MOST_ROWS] if len(order) > MOST_ROWS + 1 else order
    rows: list[tuple[Value, list[Reading]]] = [(v, slices[v]) for v in shown]
    rest = [v for v in order if v not in shown]
    if rest:
        together = summed([found[(v,)] for v in rest])
        everywhere = summed(list(found.values()))
        other = [
            reading(m, scope, together, everywhere, spans, refused)
            if all(adds_up(x, scope) for x in m.measures)
            else Reading(m, (None,) * len(scope.windows), (None,) * len(scope.windows))
            for m in metrics
        ]
        rows.append((f"other ({len(rest)})", other))
    total = sum(r[place].now or 0 for r in slices.values())
    for m in metrics:
        if m not in known:
            note = next((r[metrics.index(m)].note for r in slices.values()), "")
            notes.append(Note(f"{m.label} is not shown: {note or 'it is unknown here.'}"))
    notes += small_samples(rows)
    compared_too = len(scope.windows) > 1
    table = Table(
        title(f"By {by.label.lower()}", period, scope),
        slice_columns(by, rank, known, compared_too),
        tuple(slice_row(v, rs, place, known, metrics, total, compared_too) for v, rs in rows),
        of_rows=len(order) if rest else None,
    )
    parts: list[Part] = [*notes, table]
    if len(shown) > 1:
        parts.append(slice_chart(period, by, rank, place, rows, compared_too))
    return Result(
        title(f"Key figures by {by.label.lower()}", period, scope),
        slice_headline(period, by, rank, place, rows, total, ctx.currency),
        tuple(parts),
        slice_follow_ups(period, by, scope, [v for v in shown if v is not None]),
    )


def small_samples(rows: Sequence[tuple[Value, list[Reading]]]) -> list[Part]:
    """A note per metric that stands on too small a sample in some rows."""
    notes: list[Part] = []
    for i, first in enumerate(rows[0][1]):
        least = first.metric.minimum
        few = [
            "unknown" if v is None else str(v)
            for v, r in rows
            if r[i].now is not None and (r[i].samples[0] or least) < least
        ]
        if few and first.metric.denominator:
            what = ENTITY[first.metric.denominator.entity].label
            notes.append(
                Note(f"{first.metric.label} stands on fewer than {least} {what}: {listed(few)}.")
            )
    return notes


def slice_metrics(scope: Scope, spans: Spans) -> list[Metric]:
    """What the slices are described by: orders where they know the dimensions, else visits."""
    told_apart = "orders" in spans and not scope.missing(ENTITY["orders"])
    return [scope.catalog.metric(n) for n in (SLICE_METRICS if told_apart else VISIT_METRICS)]


def summed(parts: Sequence[Quantities]) -> Quantities:
    """Cell by cell; right only for measures that add up over slices."""
    total: Quantities = {}
    for values in parts:
        for cell, value in values.items():
            total[cell] = total.get(cell, 0) + value
    return total


def slice_columns(
    by: Dimension, rank: Metric, known: Sequence[Metric], compared_too: bool
) -> tuple[Column, ...]:
    """The value, the ranking metric with its change and share, the other metrics."""
    columns = [Column(by.name, by.label), Column(rank.name, rank.label, rank.unit)]
    if compared_too:
        columns.append(Column("change", "Change", "change"))
    columns.append(Column("share", "Share", "share"))
    columns += [Column(m.name, m.label, m.unit) for m in known[1:]]
    return tuple(columns)


def slice_row(
    value: Value,
    readings: Sequence[Reading],
    place: int,
    known: Sequence[Metric],
    metrics: Sequence[Metric],
    total: float,
    compared_too: bool,
) -> tuple[Value, ...]:
    """One row of the table."""
    ranked = readings[place]
    cells: list[Value] = [value, ranked.now]
    if compared_too:
        cells.append(relative(ranked))
    cells.append(ranked.now / total if ranked.now is not None and total > 0 else None)
    cells += [readings[metrics.index(m)].now for m in known[1:]]
    return tuple(cells)


def relative(r: Reading) -> float | None:
    """The change as a share of the value before; None where there was nothing before."""
    if r.now is None or r.before is None or r.before <= 0:
        return None
    return (r.now - r.before) / r.before


def slice_chart(
    period: Period,
    by: Dimension,
    rank: Metric,
    place: int,
    rows: Sequence[tuple[Value, list[Reading]]],
    compared_too: bool,
) -> Chart:
    """Bars of the ranking metric by value."""
    series = [Series(period.words, tuple(r[place].now for _, r in rows))]
    if compared_too and any(r[place].before is not None for _, r in rows):
        series.append(Series(previous_in_words(period), tuple(r[place].before for _, r in rows)))
    x = tuple("unknown" if v is None else str(v) for v, _ in rows)
    heading = f"{rank.label} by {by.label.lower()}"
    return Chart(heading, "bar", x, tuple(series), rank.unit, y_label=rank.label)


def slice_headline(
    period: Period,
    by: Dimension,
    rank: Metric,
    place: int,
    rows: Sequence[tuple[Value, list[Reading]]],
    total: float,
    currency: str,
) -> str:
    """The largest value and its share, then what moved the most."""
    named = [(v, r[place]) for v, r in rows if v is not None]
    value, top = named[0] if named else (None, rows[0][1][place])
    if named and not top.now:
        return f"No {rank.label.lower()} is told apart by {by.label.lower()} {in_words(period)}."
    text = (
        f"{value or f'Unknown {by.label.lower()}'} leads with "
        f"{short_words(top.now, rank.unit, currency)} {rank.label.lower()} {in_words(period)}"
    )
    if total > 0 and top.now is not None:
        text += f", {share_words(top.now / total)} of all"
    steps = [
        (r.now - r.before, v, r) for v, r in named if r.now is not None and r.before is not None
    ]
    step, name, moving = max(steps, key=lambda s: abs(s[0]), default=(0, None, top))
    if step:
        change = moved(moving.now, moving.before, rank.unit)
        size = short_words(abs(step), rank.unit, currency)
        text += "; it moved most: " if moving is top else f"; {name} moved most: "
        text += f"{'up' if step > 0 else 'down'} {size}{f' ({change})' if change else ''}"
    return f"{text}."


def slice_follow_ups(
    period: Period, by: Dimension, scope: Scope, values: Sequence[Value]
) -> tuple[str, ...]:
    """Into the first values."""
    inner = [scope.filters.plus(by.name, str(v)).said() for v in values[:2]]
    return tuple(f"kpis {period.words} {w}".strip() for w in (*inner, scope.filters.said()))
