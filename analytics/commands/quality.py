"""quality: whether the data of each day are whole enough to be told."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from analytics.command import Command, Context, says
from analytics.errors import NotEnoughDataError
from analytics.gate import Told, judged, reasons, verdict_of
from analytics.methods.quality import LEAST_WEEKS
from analytics.period import Period
from analytics.result import Chart, Column, Note, Part, Result, Series, Table, Value
from analytics.scope import in_words
from analytics.words import counted, date_words, listed, share_words

#: The longest period that is judged day by day.
MOST_DAYS = 92

#: The most findings that are listed.
MOST_FINDINGS = 100


@dataclass(frozen=True, kw_only=True)
class Quality(Command):
    """Whether each day's data are whole: gaps, volume, copies, empty or impossible values, orphans.

    Every day is judged by the days before it: `ok`; `note`, to be read with care; or `held`,
    not to be told. Hours are compared with the same hours of the same weekday in the last eight
    weeks, shares of faulty rows with the usual ones, orders with the events that tell of them.
    """

    examples: ClassVar = ("quality", "quality last 30 days", "quality 2011-11-25")
    aliases: ClassVar = ("checks", "freshness", "data-quality")

    period: Period = says("last 14 days", help="the days to judge")

    def run(self, ctx: Context) -> Result:
        """One pass over each table, then every day by those before it."""
        end = min(self.period.end, ctx.today + dt.timedelta(days=1))
        start = max(self.period.start, end - dt.timedelta(days=MOST_DAYS))
        if start >= end:
            raise NotEnoughDataError(f"Nothing can be known yet {in_words(self.period)}.")
        told, labels = judged(ctx, start, end)
        if not told:
            raise NotEnoughDataError(
                f"There is too little to judge the data by {in_words(self.period)}: it takes "
                f"{LEAST_WEEKS} weeks before it.",
                hint="`status` shows what is loaded, and from when.",
            )
        shown_days = [start + dt.timedelta(days=d) for d in range((end - start).days)]
        notes: list[Part] = []
        if start > self.period.start and not self.period.is_all_time:
            notes.append(Note(f"Only the last {MOST_DAYS} days are judged."))
        if shown_days[-1] == ctx.today:
            notes.append(Note("Today is judged by the hours that are over."))
        return Result(
            f"Data quality, {self.period.words}",
            headline(shown_days, told, labels),
            (
                *notes,
                latest_table(shown_days[-1], told, labels),
                *findings_table(shown_days, told, labels),
                *history_table(shown_days, told),
                *volume_chart(shown_days, told, labels),
                Note(
                    "A day is held where it has a long gap, a volume or a share of faulty rows far "
                    "from what is usual for its weekday. The limits hold at most 1 % of clean days "
                    "that scatter by 8 %, and every outage of 6 hours from 500 rows a day on "
                    "(simulated)."
                ),
            ),
            follow_ups(shown_days, told),
        )


# --- what is shown ------------------------------------------------------------------------------


def headline(days: Sequence[dt.date], told: Told, labels: Mapping[str, str]) -> str:
    """The last day's verdict with what is wrong, then how many days were held."""
    last = verdict_of(told, -1) or "ok"
    day = date_words(days[-1])
    why = reasons(told, labels, -1)
    if last == "ok":
        text = f"{day} is ok: {complete_words(told)}"
    else:
        grave = [t for v, t in why if v == last]
        text = f"{day} is {'held' if last == 'held' else 'to be read with care'}: {grave[0]}"
        if len(why) > 1:
            text += f", and {counted(len(why) - 1, 'more finding')}"
    if len(days) > 1:
        verdicts = [verdict_of(told, i) for i in range(len(days))]
        held, noted = verdicts.count("held"), verdicts.count("note")
        text += f"; of {len(days)} days {held} are held and {noted} noted"
    return f"{text}."


def complete_words(told: Told) -> str:
    """`98.9 % complete`, the least of all tables."""
    shares = [j.complete for js in told.values() if (j := js[-1]) and j.complete is not None]
    return f"{share_words(min(shares))} complete" if shares else "nothing is wrong"


def latest_table(day: dt.date, told: Told, labels: Mapping[str, str]) -> Table:
    """Each table on the last day."""
    columns = (
        Column("table", "Table"),
        Column("verdict", "Verdict"),
        Column("rows", "Rows", "count"),
        Column("usual", "Usual", "number"),
        Column("ratio", "Of usual", "share"),
        Column("complete", "Complete", "share"),
        Column("findings", "Findings", "count"),
    )
    rows: list[tuple[Value, ...]] = []
    for name, judgements in told.items():
        j = judgements[-1]
        assert j is not None  # noqa: S101 - a table is told from three weeks on
        judged = j.expected is not None
        rows.append(
            (
                labels[name],
                j.verdict if judged else None,
                int(j.rows),
                round(j.expected, 1) if j.expected is not None else None,
                j.ratio,
                j.complete,
                len(j.findings),
            )
        )
    return Table(f"{date_words(day)}", columns, tuple(rows))


def findings_table(days: Sequence[dt.date], told: Told, labels: Mapping[str, str]) -> list[Part]:
    """Everything that was found, the latest day first."""
    columns = (
        Column("day", "Day", "date"),
        Column("verdict", "Verdict"),
        Column("finding", "What is wrong"),
    )
    rows: list[tuple[Value, ...]] = [
        (days[i], verdict, text)
        for i in reversed(range(len(days)))
        for verdict, text in reasons(told, labels, i)
    ]
    if not rows:
        return [Note("Nothing was found wrong on any of these days.")]
    more = len(rows) if len(rows) > MOST_FINDINGS else None
    return [Table("Findings", columns, tuple(rows[:MOST_FINDINGS]), of_rows=more)]


def history_table(days: Sequence[dt.date], told: Told) -> list[Part]:
    """Each day's verdict."""
    if len(days) < 2:
        return []
    columns = (
        Column("day", "Day", "date"),
        Column("weekday", "Weekday"),
        Column("verdict", "Verdict"),
        Column("complete", "Complete", "share"),
        Column("findings", "Findings", "count"),
    )
    rows: list[tuple[Value, ...]] = []
    for i in reversed(range(len(days))):
        here = [j for js in told.values() if (j := js[i]) is not None]
        shares = [j.complete for j in here if j.complete is not None]
        rows.append(
            (
                days[i],
                f"{days[i]:%a}",
                verdict_of(told, i),
                min(shares, default=None),
                sum(len(j.findings) for j in here),
            )
        )
    return [Table("Day by day", columns, tuple(rows))]


def volume_chart(days: Sequence[dt.date], told: Told, labels: Mapping[str, str]) -> list[Part]:
    """Rows against the usual, per table and day."""
    if len(days) < 2:
        return []
    series = [
        Series(labels[name], tuple(j.ratio if j is not None else None for j in judgements))
        for name, judgements in told.items()
        if any(j is not None and j.ratio is not None for j in judgements)
    ]
    return [
        Chart(
            "Rows against the usual",
            "line",
            tuple(days),
            tuple(series),
            "share",
            y_label="Of the usual rows",
            x_unit="date",
        )
    ]


def follow_ups(days: Sequence[dt.date], told: Told) -> tuple[str, ...]:
    """The worst day by itself, and the course of what is counted."""
    verdicts = [verdict_of(told, i) for i in range(len(days))]
    held = [d for d, v in zip(days, verdicts, strict=True) if v == "held"]
    steps = [f"quality {held[-1].isoformat()}"] if held and len(days) > 1 else []
    names = listed(list(told))
    steps.append("trend sessions" if "events" in names else "trend orders")
    return (*steps, "status")
