"""Result -> text for a terminal: everything that Slack and the web show, in plain characters."""

import datetime as dt
import io
from collections.abc import Sequence
from itertools import groupby
from typing import assert_never

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from analytics.result import Chart, Column, Figure, Note, Number, Part, Receipt, Result, Table
from analytics.words import change, counted, range_words, short_words, speaking, words
from bot.parse import Form
from bot.render.chart import step_words

BLOCKS = "▁▂▃▄▅▆▇█"
#: Without those that some fonts set on another line.
SPARKS = "▁▂▃▅▆▇"
BAR_CHARACTERS = 40
MAX_BARS = 15
MAX_BLOCKS = 92
#: Tables that need more characters have cells of several lines, and lines between their rows.
WIDE = 108
#: Texts longer than this stand beneath a table that has less room than this for each of them.
LONG_TEXT = 50
LEAST_ROOM = 32


def to_text(result: Result, *, form: Form = "answer", rows: int = 20, width: int = 100) -> str:
    """The answer as plain text without colours."""
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(renderable(result, form=form, rows=rows))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def renderable(result: Result, *, form: Form = "answer", rows: int = 20) -> RenderableType:
    """The answer for a rich console. Warnings come before the numbers."""
    with speaking(result.language):
        return drawn(result, form, rows)


def drawn(result: Result, form: Form, rows: int) -> RenderableType:
    """The answer, in the language that is spoken."""
    receipt = result.receipt
    currency = receipt.currency if receipt else ""
    if form == "sql":
        return Group(Text(sql_text(receipt)))
    parts: list[RenderableType] = []
    if receipt:
        parts.append(Text(f"Understood: {receipt.question}", style="dim"))
    parts.append(Text(result.headline, style="bold"))
    warnings = [p for p in result.parts if isinstance(p, Note) and p.level == "warning"]
    parts += [Text(f"⚠ {w.text}", style="yellow") for w in warnings]
    if receipt and receipt.simulated:
        parts.append(Text(f"⚠ {receipt.caution}", style="yellow"))
    told = (*result.parts, *result.detail)
    chosen = [p for p in told if p not in warnings and wanted(p, form)]
    for is_figure, run in groupby(chosen, key=lambda p: isinstance(p, Figure)):
        if is_figure:
            parts += ["", figures_grid([p for p in run if isinstance(p, Figure)], currency)]
        else:
            for part in run:
                parts += ["", part_renderable(part, currency, rows)]
    if result.follow_ups:
        parts += ["", Text("Next: " + " · ".join(result.follow_ups), style="cyan")]
    if receipt:
        parts += ["", Text(receipt_line(receipt), style="dim")]
    return Group(*parts)


def wanted(part: Part, form: Form) -> bool:
    """Whether a part belongs to the form that was asked for."""
    match form:
        case "chart":
            return isinstance(part, Chart)
        case "table" | "csv":
            return isinstance(part, Table | Figure)
        case "answer" | "sql":
            return True
        case _:
            assert_never(form)


def part_renderable(part: Part, currency: str, rows: int) -> RenderableType:
    """One part."""
    match part:
        case Table():
            return table_grid(part, currency, rows)
        case Chart():
            return Padding(Text(chart_text(part, currency)), (0, 0, 0, 2))
        case Figure():
            return figures_grid([part], currency)
        case Note():
            return Text(part.text, style="dim" if part.level == "info" else "yellow")
        case _:
            assert_never(part)


def is_numeric(column: Column) -> bool:
    """Whether a column stands to the right."""
    return column.unit not in ("text", "date", "instant", "flag")


def table_grid(table: Table, currency: str, rows: int) -> RenderableType:
    """A table with its title; says how many of its rows are shown.

    Columns of numbers are as wide as they need to be and never cut; text takes the rest. Where
    there is too little left, columns of long texts are said beneath, a line for each row.
    """
    total = table.of_rows or len(table.rows)
    shown = [
        [cell_words(v, c, currency) for c, v in zip(table.columns, row, strict=True)]
        for row in table.rows[:rows]
    ]
    title = table.title + (f" – {len(shown)} of {total:,} rows" if len(shown) < total else "")
    needs = [max(len(row[i]) for row in shown) for i in range(len(table.columns))]
    labels = [len(c.label) for c in table.columns]
    roomy = sum(map(max, needs, labels)) + 3 * len(needs) <= WIDE
    long = [i for i, need in enumerate(needs) if i and need > LONG_TEXT]
    room = WIDE - sum(needs) - 3 * len(needs) + sum(needs[i] for i in long)
    beneath = long if room < LEAST_ROOM * len(long) else []
    kept = [i for i in range(len(needs)) if i not in beneath]
    lines = sum(needs[i] for i in kept) + 3 * len(kept) > WIDE
    grid = Grid(title=title, title_justify="left", title_style="bold", header_style="bold",
                show_lines=lines)  # fmt: skip
    for i in kept:
        column = table.columns[i]
        if is_numeric(column):
            words_of = [column.label] if roomy else column.label.split()
            wide = max(needs[i], *map(len, words_of))
            grid.add_column(column.label, justify="right", width=wide)
        else:
            grid.add_column(column.label, overflow="fold")
    for row in shown:
        grid.add_row(*(Text(row[i]) for i in kept))
    said: list[RenderableType] = []
    for i in beneath:
        said.append(Text(table.columns[i].label, style="bold"))
        said += [Padding(Text(f"{row[0]}: {row[i]}"), (0, 0, 0, 2)) for row in shown]
    return Group(grid, *said)


def cell_words(value: object, column: Column, currency: str) -> str:
    """A cell; what is unknown is a dash in a table."""
    return "–" if value is None else words(value, column.unit, currency)  # type: ignore[arg-type]


def courses_grid(figures: Sequence[Figure], currency: str) -> RenderableType:
    """Figures with the way they came: value, changes, course, and what is usual."""
    grid = Grid(header_style="bold")
    grid.add_column("Figure")
    grid.add_column("Now", justify="right")
    whens = list(dict.fromkeys(when for f in figures for when, _ in changes(f)))
    for when in whens:
        grid.add_column(f"On {when}", justify="right", max_width=12)
    grid.add_column(f"Last {max(len(f.course) for f in figures)}")
    grid.add_column("Usual")
    for group, run in groupby(figures, key=lambda f: f.group):
        if group:
            grid.add_row(Text(group, style="bold cyan"))
        for f in run:
            moved = dict(changes(f))
            usual = usual_words(f, currency) or f.note
            grid.add_row(
                Text(f.label),
                Text(short_words(f.value, f.unit, currency)),
                *(Text(moved.get(when, "")) for when in whens),
                Text(spark(f.course)),
                Text(usual, style="bold yellow" if f.out_of_usual else "dim"),
            )
    return grid


def changes(figure: Figure) -> list[tuple[str, str]]:
    """What a figure with a course is compared with, and how it moved: `the day before`, `+3 %`."""
    pairs = [(figure.when, figure.before), *figure.earlier]
    now = figure.value
    return [
        (when, text)
        for when, before in pairs
        if _is_number(now) and _is_number(before)
        and (text := change(now, before, figure.unit))  # type: ignore[arg-type]
    ]  # fmt: skip


def usual_words(figure: Figure, currency: str) -> str:
    """`usual £41k to £58k`, or on which side of that the value lies; empty where unknown."""
    if figure.usual is None:
        return ""
    ends = range_words(*figure.usual, figure.unit, currency)
    side = figure.out_of_usual
    return f"{side} the usual {ends}" if side else f"usual {ends}"


def spark(values: Sequence[Number]) -> str:
    """A line of blocks from the least to the most; a dot where a value is unknown."""
    known = [v for v in values if v is not None]
    if not known:
        return ""
    low, span = min(known), (max(known) - min(known)) or 1
    last = len(SPARKS) - 1
    return "".join("·" if v is None else SPARKS[round((v - low) / span * last)] for v in values)


def figures_grid(figures: Sequence[Figure], currency: str) -> RenderableType:
    """Figures under their groups; with the period before and the change where one is known."""
    if any(f.course for f in figures):
        return courses_grid(figures, currency)
    grid = Grid(header_style="bold", title_justify="left")
    compared = any(f.before is not None for f in figures)
    notes = any(f.note for f in figures)
    grid.add_column("Figure")
    grid.add_column("Now" if compared else "Value", justify="right")
    if compared:
        grid.add_column("Before", justify="right")
        grid.add_column("Change", justify="right")
    if notes:
        grid.add_column("Note")
    for group, run in groupby(figures, key=lambda f: f.group):
        if group:
            grid.add_row(Text(group, style="bold cyan"))
        for f in run:
            cells = [Text(f.label), Text(words(f.value, f.unit, currency))]
            if compared:
                moved, style = change_text(f)
                before = "" if f.before is None else words(f.before, f.unit, currency)
                cells += [Text(before), Text(moved, style=style)]
            grid.add_row(*cells, *([Text(f.note, style="dim")] if notes else []))
    return grid


def change_text(figure: Figure) -> tuple[str, str]:
    """How a figure moved, and the colour of good or bad."""
    now, before = figure.value, figure.before
    if not _is_number(now) or not _is_number(before):
        return "", ""
    moved = change(now, before, figure.unit)  # type: ignore[arg-type]
    if moved is None or figure.more_is_better is None or now == before:
        return moved or "", ""
    good = (now > before) == figure.more_is_better  # type: ignore[operator]
    return moved, "green" if good else "red"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def chart_text(chart: Chart, currency: str) -> str:
    """A small chart of characters: bars for few values, one line of blocks for many."""
    lines = [chart.title]
    if chart.kind in ("bar", "pie", "interval", "waterfall") and len(chart.x) <= MAX_BARS:
        lines += _bars(chart, currency)
    elif chart.kind == "scatter":
        lines += [
            f"  {s.name}: {counted(sum(v is not None for v in s.values), 'point')}"
            for s in chart.series
        ]
    else:
        known = [v for s in chart.series for v in s.values if v is not None]
        span = (min(0, *known), max(known)) if known else (0, 0)
        lines += [_sparkline(chart, s.name, s.values, currency, span) for s in chart.series]
    return "\n".join(lines)


def _bars(chart: Chart, currency: str) -> list[str]:
    known = [v for s in chart.series for v in s.values if v is not None]
    top = max((abs(v) for v in known), default=0) or 1
    labels = [
        str(x) if len(chart.series) == 1 else f"{x} · {s.name}"
        for x in chart.x
        for s in chart.series
    ]
    wide = min(max(map(len, labels)), 48)
    lines: list[str] = []
    for i, _ in enumerate(chart.x):
        for s in chart.series:
            label = labels[len(lines)]
            label = label if len(label) <= wide else label[: wide - 1] + "…"
            value = s.values[i]
            bar = "▇" * max(1, round(abs(value) / top * BAR_CHARACTERS)) if value else ""
            step = chart.kind == "waterfall" and 0 < i < len(chart.x) - 1
            said = (step_words if step else words)(value, chart.unit, currency)
            if s.low is not None and s.high is not None and s.low[i] is not None:
                low, high = (words(b[i], chart.unit, currency) for b in (s.low, s.high))
                lines.append(f"  {label:<{wide}}  {said} ({low} to {high})")
            else:
                lines.append(f"  {label:<{wide}}  {bar} {said}")
    return lines


def _sparkline(
    chart: Chart, name: str, values: Sequence[Number], currency: str, span: tuple[float, float]
) -> str:
    """Blocks as high as the values within `span`, which all series of a chart share."""
    known = [v for v in values if v is not None]
    if not known:
        return f"  {name}: unknown"
    low, high = span
    values = condensed(values)
    line = "".join(
        " " if v is None else BLOCKS[min(7, int((v - low) / ((high - low) or 1) * 7.999))]
        for v in values
    )
    least, most = (short_words(v, chart.unit, currency) for v in (min(known), max(known)))
    return f"  {line}  {name}: {least} to {most}"


def condensed(values: Sequence[Number]) -> Sequence[Number]:
    """As many values as fit a line: means of neighbours, None where none of them is known."""
    size = -(-len(values) // MAX_BLOCKS)
    if size == 1:
        return values
    groups = [
        [v for v in values[i : i + size] if v is not None] for i in range(0, len(values), size)
    ]
    return [sum(g) / len(g) if g else None for g in groups]


def receipt_line(receipt: Receipt) -> str:
    """One line: window, data through, engine, rows and time."""
    through = "no data" if receipt.data_through is None else words(receipt.data_through, "instant")
    bits = [
        receipt.window,
        f"data through {through}",
        receipt.engine,
        counted(len(receipt.queries), "query", "queries"),
        f"{counted(receipt.rows_read, 'row')} read",
        "from totals per day" if receipt.from_totals else "",
        f"{receipt.seconds:.2f} s",
        *receipt.sources,
    ]
    return " · ".join(b for b in bits if b)


def sql_text(receipt: Receipt | None) -> str:
    """Every query of the receipt with its values, ready to be run again."""
    if receipt is None or not receipt.queries:
        return "No query was needed."
    blocks = []
    for i, q in enumerate(receipt.queries, 1):
        values = ", ".join(v.isoformat() if isinstance(v, dt.date) else repr(v) for v in q.values)
        blocks.append(f"-- query {i} of {len(receipt.queries)}: {counted(q.rows, 'row')}")
        blocks.append(q.sql + (f"\n-- values: {values}" if values else ""))
    return "\n".join(blocks)
