"""Result -> what Slack shows: blocks, files, and the whole finding as plain words.

Three rungs, each simpler than the one before: `native` (Slack's own tables and charts), `simple`
(tables as aligned text, charts as pictures), `text` (words and files only). Whatever stands in the
data is shown and never acts: it goes into plain text, cells and rich text, or through
`text.value` where it must be mrkdwn.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal, assert_never

from analytics.errors import UserError
from analytics.result import (
    Chart,
    Figure,
    Note,
    Part,
    Receipt,
    Result,
    Table,
    Value,
)
from analytics.words import EXPONENTS, counted, moved, short_words, speaking, words
from bot.parse import FORMS, Form
from bot.render.chart import alt_text, notes_of, png
from bot.render.sheet import Sheet, file_name, sheets
from bot.render.text import (
    cell_words,
    changes,
    is_numeric,
    receipt_line,
    spark,
    sql_text,
    usual_words,
    wanted,
)
from bot.slack import text as safe
from bot.slack.sendable import (
    BUTTON_TEXT,
    BUTTON_VALUE,
    CHART_LABEL,
    CHART_POINTS,
    CHART_SERIES,
    CHART_TITLE,
    DATA_TABLE_ROWS,
    DATA_TABLE_TEXT,
    FILE_ALT_TEXT,
    HEADER_TEXT,
    MESSAGE_BLOCKS,
    MESSAGE_CHARTS,
    MESSAGE_TEXT,
    SECTION_FIELDS,
    SECTION_TEXT,
    TABLE_COLUMNS,
)

JsonObject = dict[str, Any]
Rung = Literal["native", "simple", "text"]

FOLLOW_UPS = 5
CELL_CHARACTERS = 200
#: Aligned text wraps beyond this width, and is then no table any more.
GRID_WIDTH = 76
GRID_CELL = 28
#: The most characters of a button that a phone shows whole.
BUTTON_LABEL = 40
ROWS_IN_WORDS = 5
PAGE = 20
#: The blocks of title, question, headline, buttons and receipt, beside those of the parts.
FRAME_BLOCKS = 8
UNKNOWN_CELL = "–"
MINOR = 10.0
INLINE_CODE = re.compile(r"`([^`]+)`")
FORM_AT_END = re.compile(rf"\s+as (?:{'|'.join(FORMS)})$")

#: What a button does, by the start of its action_id; its value is the question.
ASK, AGAIN, CHANGE, SQL, CSV, SHARE = "ask", "again", "change", "sql", "csv", "share"
#: The question that is answered with what can be asked.
HELP = "help"
#: This one's value is the number of the question.
CANCEL = "cancel"


@dataclass(frozen=True)
class File:
    """A file beside a message; `alt` says in words what a picture shows."""

    name: str
    content: bytes
    title: str
    alt: str = ""


@dataclass(frozen=True)
class Message:
    """One message; `ephemeral` ones are for the asker's eyes alone, and so are their files.

    `detail` is a second message, in the thread under the first.
    """

    text: str
    blocks: tuple[JsonObject, ...] = ()
    files: tuple[File, ...] = ()
    ephemeral: bool = False
    detail: "Message | None" = None

    @property
    def payload(self) -> JsonObject:
        """What chat.postMessage takes, without the channel; links in it are not unfolded."""
        body: JsonObject = {"text": self.text, "unfurl_links": False, "unfurl_media": False}
        return body | ({"blocks": list(self.blocks)} if self.blocks else {})


def ladder(
    result: Result,
    *,
    form: Form = "answer",
    rows: int = 20,
    native_tables: bool = True,
    native_charts: bool = True,
) -> Iterator[Message]:
    """The message on each rung, the best first; the last is words and files only."""
    rungs: tuple[Rung, ...] = ("native", "simple", "text")
    if not (native_tables or native_charts):
        rungs = rungs[1:]
    for rung in rungs:
        native = rung == "native"
        yield to_message(
            result,
            rung,
            form=form,
            rows=rows,
            native_tables=native_tables and native,
            native_charts=native_charts and native,
        )


def to_message(
    result: Result,
    rung: Rung = "native",
    *,
    form: Form = "answer",
    rows: int = 20,
    native_tables: bool = True,
    native_charts: bool = True,
) -> Message:
    """One message with the answer; `rows` of each table are shown, the file has all."""
    with speaking(result.language):
        return drawn_message(result, rung, form, rows, native_tables, native_charts)


def drawn_message(
    result: Result,
    rung: Rung,
    form: Form,
    rows: int,
    native_tables: bool,
    native_charts: bool,
) -> Message:
    """The message, in the language that is spoken."""
    if form == "sql":
        return sql_message(result, rung)
    receipt = result.receipt
    currency = receipt.currency if receipt else ""
    parts = [p for p in result.parts if wanted(p, form)]
    chosen = parts or [Note(f"This answer has no {form}.")]
    drawing = Drawing(currency, rows, native_tables, native_charts)
    body = drawing.blocks(chosen) if rung != "text" else drawing.pictures(chosen)
    files = drawing.files(chosen, receipt)
    more = [p for p in result.detail if wanted(p, form)]
    detail = None
    if more:
        below = Drawing(currency, rows, native_tables, native_charts)
        found = below.blocks(more) if rung != "text" else below.pictures(more)
        files += below.files(more, receipt)
        drawing.cut |= below.cut
        said = filled(safe.fit(detail_words(more, currency), MESSAGE_TEXT))
        detail = Message(said, tuple(found[:MESSAGE_BLOCKS]), (), result.person_level)
    everything = sheets(result)
    wanted_sheets = everything if form == "csv" else cut_sheets(everything, drawing.cut)
    files += [sheet_file(s, result.title) for s in unique_names(wanted_sheets)]
    blocks: tuple[JsonObject, ...] = ()
    if rung != "text":
        blocks = (*head(result), *body[: MESSAGE_BLOCKS - FRAME_BLOCKS], *foot(result))
    return Message(
        in_words(result, chosen, currency), blocks, tuple(files), result.person_level, detail
    )


def error_message(error: UserError, question: str = "") -> Message:
    """A refusal: what is wrong, then what to do, and a button to the form of the question."""
    lines = [safe.value(error.message, 1_500), safe.value(error.hint, 1_500)]
    blocks = [rich(error.message)] + ([rich(error.hint)] if safe.shown(error.hint) else [])
    if can_be_value(question):
        blocks.append({"type": "actions", "elements": [button(CHANGE, "Change…", question)]})
    return Message("\n".join(line for line in lines if line) or "Sorry.", tuple(blocks), (), True)


def plain_message(text: str, *, ephemeral: bool = True) -> Message:
    """A sentence of ours, data in it included as they are."""
    said = safe.cut_mrkdwn(safe.value(text, 2_000), MESSAGE_TEXT)
    return Message(filled(said), (), (), ephemeral)


# The frame around the parts.


def head(result: Result) -> list[JsonObject]:
    """Title, the question as understood, the finding, and what to mind before the numbers."""
    title = filled(safe.cut(safe.shown(result.title), HEADER_TEXT))
    blocks: list[JsonObject] = [{"type": "header", "text": plain(title)}]
    if result.receipt:
        blocks.append(context(f"Understood: {result.receipt.question}"))
    blocks.append(rich(result.headline, bold=True))
    said = cautions(result)
    if said:
        blocks.append(rich_lines([f"⚠ {caution}" for caution in said]))
    return blocks


def cautions(result: Result) -> list[str]:
    """Warnings, and what of the data is simulated: they stand before the numbers."""
    warnings = [p.text for p in result.parts if isinstance(p, Note) and p.level == "warning"]
    caution = result.receipt.caution if result.receipt else ""
    return [*warnings, *([caution] if caution else [])]


def foot(result: Result) -> list[JsonObject]:
    """Follow-up questions, what can be done with the answer, and its receipt."""
    blocks: list[JsonObject] = []
    asks = [
        button(f"{ASK}_{i}", safe.cut(label, BUTTON_LABEL), question)
        for i, (question, label) in enumerate(follow_ups(result)[:FOLLOW_UPS])
    ]
    if asks:
        blocks.append({"type": "actions", "elements": asks})
    if result.receipt:
        question = FORM_AT_END.sub("", result.receipt.question)
        if can_be_value(question):
            blocks.append({"type": "actions", "elements": tools(result, question)})
        blocks.append(context(receipt_line(result.receipt)))
    return blocks


def follow_ups(result: Result) -> list[tuple[str, str]]:
    """The follow-up questions that can be a button, each once, and what the button says."""
    labels = (*result.labels, *result.follow_ups[len(result.labels) :])
    distinct = dict(reversed(list(zip(result.follow_ups, labels, strict=True))))
    return [(q, distinct[q]) for q in dict.fromkeys(result.follow_ups) if can_be_value(q)]


def can_be_value(question: str) -> bool:
    """Whether a button can hand a question back as it is."""
    whole = not any("\ud800" <= c <= "\udfff" for c in question)
    return whole and bool(safe.shown(question)) and len(question) <= BUTTON_VALUE


def tools(result: Result, question: str) -> list[JsonObject]:
    """The buttons beside any answer; what shows single persons is not shared."""
    change = "Ask with a form" if question.split()[0] == HELP else "Change…"
    found = [button(AGAIN, "Run again", question), button(CHANGE, change, question)]
    if result.receipt and result.receipt.queries:
        found.append(button(SQL, "Show SQL", question))
    if any(isinstance(p, Table | Figure) for p in result.parts):
        found.append(button(CSV, "CSV", question))
    if not result.person_level:
        found.append(button(SHARE, "Share", question))
    return found


def sql_message(result: Result, rung: Rung) -> Message:
    """The queries with their values, for the asker; long ones also as a file."""
    sql = sql_text(result.receipt)
    question = result.receipt.question if result.receipt else result.title
    lead = f"The SQL behind “{safe.value(question, 200)}”:"
    most = min(SECTION_TEXT, MESSAGE_TEXT) - len(lead) - 20
    text = f"{lead}\n{safe.fence(sql, most)}"
    blocks = () if rung == "text" else ({"type": "section", "text": mrkdwn(text), "expand": True},)
    whole = File("query.sql", sql.encode("utf-8", "replace"), "Queries with their values")
    return Message(text, blocks, (whole,) if len(sql) > most - 200 else (), True)


# The parts.


class Drawing:
    """Draws the parts of one message, and remembers what did not fit it."""

    def __init__(self, currency: str, rows: int, native_tables: bool, native_charts: bool) -> None:
        """`rows` of each table are shown."""
        self.currency = currency
        self.rows = rows
        self.native_tables = native_tables
        self.native_charts = native_charts
        self.tables = 0
        self.charts = 0
        #: Titles of the tables that were cut, and the charts that must be pictures.
        self.cut: set[str] = set()
        self.as_picture: list[Chart] = []

    def blocks(self, parts: Sequence[Part]) -> list[JsonObject]:
        """The blocks in the order of the parts; figures that stand together share sections."""
        found: list[JsonObject] = []
        kept = [p for p in parts if not (isinstance(p, Note) and p.level == "warning")]
        for is_figure, run in groupby(kept, key=lambda p: isinstance(p, Figure)):
            if is_figure:
                found += self.figures([p for p in run if isinstance(p, Figure)])
            else:
                for part in run:
                    found += self.part(part)
        return found

    def pictures(self, parts: Sequence[Part]) -> list[JsonObject]:
        """No block at all: each chart is a picture, each table that is cut a file."""
        self.as_picture = [p for p in parts if isinstance(p, Chart)]
        self.cut = {p.title for p in parts if isinstance(p, Table)}
        return []

    def part(self, part: Part) -> list[JsonObject]:
        """One part."""
        match part:
            case Table():
                return self.table(part)
            case Chart():
                return self.chart(part)
            case Figure():
                return self.figures([part])
            case Note():
                return [rich(part.text) if "`" in part.text else context(part.text)]
            case _:
                assert_never(part)

    def figures(self, figures: Sequence[Figure]) -> list[JsonObject]:
        """A section for each group: label, value, and how it moved."""
        blocks: list[JsonObject] = []
        whens = shared_whens(figures)
        if whens:
            n = max(len(f.course) for f in figures)
            said = f"Changes: on {' / on '.join(whens)}. Bars: the last {n} values, least to most."
            blocks.append(context(said))
        for group, run in groupby(figures, key=lambda f: f.group):
            of_group = list(run)
            if any(f.course for f in of_group):
                lines = [figure_lines(f, self.currency, whens) for f in of_group]
                heading = [f"*{safe.value(group)}*"] if safe.shown(group) else []
                text = safe.fit([*heading, *lines], SECTION_TEXT)
                blocks.append({"type": "section", "text": mrkdwn(text), "expand": True})
                continue
            fields = [mrkdwn(figure_field(f, self.currency)) for f in of_group]
            for start in range(0, len(fields), SECTION_FIELDS):
                section: JsonObject = {"type": "section"}
                if start == 0 and safe.shown(group):
                    section["text"] = mrkdwn(f"*{safe.value(group)}*")
                blocks.append(section | {"fields": fields[start : start + SECTION_FIELDS]})
        return blocks

    def table(self, table: Table) -> list[JsonObject]:
        """Slack's own table for the first one that fits, else aligned text."""
        if self.native_tables and not self.tables:
            self.tables += 1
            rows = min(self.rows, len(table.rows), DATA_TABLE_ROWS - 1)
            while rows and cells_length(table, rows, self.currency) > DATA_TABLE_TEXT:
                rows -= 1
            if rows:
                self._note_cut(table, rows, TABLE_COLUMNS)
                return [data_table(table, rows, self.currency)]
        return self.grid(table)

    def grid(self, table: Table) -> list[JsonObject]:
        """A table as aligned text where it is narrow, else as a line of words for each row."""
        rows = min(self.rows, len(table.rows))
        if wordy(table, rows, self.currency):
            lines = [row_words(table, row, self.currency) for row in table.rows[:rows]]
            while len(lines) > 1 and sum(map(len, lines)) > SECTION_TEXT:
                lines.pop()
            self._note_cut(table, len(lines), len(table.columns))
            return [rich(caption(table, len(lines)), bold=True), rich_list(lines)]
        columns = narrow_columns(table, rows, self.currency)
        grid = grid_text(table, rows, columns, self.currency)
        while rows > 1 and len(grid) > SECTION_TEXT:
            rows -= 1
            grid = grid_text(table, rows, columns, self.currency)
        self._note_cut(table, rows, columns)
        return [
            rich(caption(table, rows), bold=True),
            {
                "type": "rich_text",
                "elements": [
                    {
                        "type": "rich_text_preformatted",
                        "elements": [{"type": "text", "text": safe.cut(grid, SECTION_TEXT)}],
                    }
                ],
            },
        ]

    def _note_cut(self, table: Table, rows: int, columns: int) -> None:
        if rows < (table.of_rows or len(table.rows)) or columns < len(table.columns):
            self.cut.add(table.title)

    def chart(self, chart: Chart) -> list[JsonObject]:
        """Slack's own chart where it fits, else a picture beside the message."""
        if self.native_charts and self.charts < MESSAGE_CHARTS:
            native = data_visualization(chart, self.currency)
            if native:
                self.charts += 1
                return [native]
        self.as_picture.append(chart)
        return [context(f"In the thread: {chart.title}")]

    def files(self, parts: Sequence[Part], receipt: Receipt | None) -> list[File]:
        """The charts that are not in the message, as pictures."""
        charts = [p for p in parts if isinstance(p, Chart)]
        return [
            File(
                f"chart-{charts.index(chart) + 1}.png",
                png(chart, self.currency, notes_of(receipt)),
                filled(safe.cut(safe.shown(chart.title), 150)),
                filled(
                    safe.cut(safe.shown(alt_text(chart, self.currency, 950)), FILE_ALT_TEXT)
                ),
            )
            for chart in self.as_picture
        ]  # fmt: skip


def figure_field(figure: Figure, currency: str) -> str:
    """`*Orders* 1,234`, then `▲ up 12 % from 1,102`."""
    lines = [filled(safe.value(words(figure.value, figure.unit, currency), 200))]
    change = figure_change(figure, currency)
    if change:
        lines.append(f"{arrow(figure)} {safe.value(change, 200)}")
    if safe.shown(figure.note):
        lines.append(f"_{safe.value(figure.note, 300)}_")
    return safe.field(figure.label, "\n".join(lines))


def shared_whens(figures: Sequence[Figure]) -> list[str]:
    """What several figures with a course are all compared with: said once above them."""
    if len([f for f in figures if f.course]) < 2:
        return []
    return list(dict.fromkeys(when for f in figures for when, _ in changes(f)))


def figure_lines(figure: Figure, currency: str, whens: Sequence[str] = ()) -> str:
    """`*Orders 1,234*  +12 % on the Friday before`, then the course and what is usual.

    Where the `whens` are said already, the changes stand in their order: `+12 % / -3 %`.
    """
    said = f"{figure.label} {short_words(figure.value, figure.unit, currency)}"
    moved_by = dict(changes(figure))
    moves = ", ".join(f"{text} on {when}" for when, text in moved_by.items())
    if whens and moved_by:
        moves = " / ".join(moved_by.get(when, UNKNOWN_CELL) for when in whens)
    lines = [f"*{safe.value(said, 200)}*" + (f"  {safe.value(moves, 200)}" if moves else "")]
    usual = safe.value(usual_words(figure, currency), 100)
    side = {"above": "▲ ", "below": "▼ ", "": ""}[figure.out_of_usual]
    course = spark(figure.course)
    if course or usual:
        lines.append(f"{course}  {f'{side}*{usual}*' if side else usual}".strip())
    if safe.shown(figure.note):
        lines.append(f"_{safe.value(figure.note, 300)}_")
    return "\n".join(lines)


def figure_change(figure: Figure, currency: str) -> str:
    """`up 12 % from 1,102`; empty where that is not known."""
    now, before = number(figure.value), number(figure.before)
    if now is None or before is None:
        return ""
    said = moved(now, before, figure.unit)
    if said is None or said == "unchanged" or " from " in said:
        return said or ""
    return f"{said} from {words(before, figure.unit, currency)}"


def arrow(figure: Figure) -> str:
    """The direction of a change."""
    now, before = number(figure.value), number(figure.before)
    if now is None or before is None or now == before:
        return "■"
    return "▲" if now > before else "▼"


def number(value: Value) -> int | float | None:
    """A value that can be compared."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def caption(table: Table, rows: int) -> str:
    """The title, and how many of the rows are shown."""
    total = table.of_rows or len(table.rows)
    title = safe.cut(safe.shown(table.title), 150) or "Table"
    return title if rows >= total else f"{title} – {rows:,} of {total:,} rows"


def data_table(table: Table, rows: int, currency: str) -> JsonObject:
    """Slack's sortable table."""
    columns = table.columns[:TABLE_COLUMNS]
    shown_rows = [
        [raw_cell(v, is_numeric(c), cell_words(v, c, currency), c.unit == "money", currency)
         for c, v in zip(columns, row, strict=False)]
        for row in table.rows[:rows]
    ]  # fmt: skip
    header = [raw_text(c.label) for c in columns]
    return {
        "type": "data_table",
        "caption": caption(table, rows),
        "rows": [header, *shown_rows],
        "page_size": min(rows, PAGE),
    }


def raw_text(text: str) -> JsonObject:
    """A cell of text; never empty."""
    return {"type": "raw_text", "text": filled(safe.cut(safe.shown(text), CELL_CHARACTERS))}


def raw_cell(value: Value, numeric: bool, said: str, money: bool, currency: str) -> JsonObject:
    """A cell; numbers stay numbers, so that Slack sorts them as such."""
    amount = number(value)
    if amount is None or not numeric:
        return raw_text(said)
    sorts_by = amount / MINOR ** EXPONENTS.get(currency, 2) if money else amount
    return {"type": "raw_number", "value": sorts_by, "text": said}


def cells_length(table: Table, rows: int, currency: str) -> int:
    """The characters of a native table."""
    block = data_table(table, rows, currency)
    return sum(len(cell["text"]) for row in block["rows"] for cell in row)


def cell_texts(table: Table, row: Sequence[Value], currency: str) -> list[str]:
    """A row's cells as they are read."""
    cells = zip(table.columns, row, strict=True)
    return [filled(safe.shown(cell_words(v, c, currency))) for c, v in cells]


def wordy(table: Table, rows: int, currency: str) -> bool:
    """Whether a cell is a text too long to stand in a column."""
    return any(
        len(text) > GRID_CELL
        for row in table.rows[:rows]
        for text in cell_texts(table, row, currency)[1:]
    )


def row_words(table: Table, row: Sequence[Value], currency: str) -> str:
    """`Champions: orders 5, net spend £1,841.02`."""
    first, *rest = cell_texts(table, row, currency)
    said = [
        f"{safe.shown(c.label)} {text}"
        for c, text in zip(table.columns[1:], rest, strict=True)
        if text != UNKNOWN_CELL
    ]
    return f"{first}: {', '.join(said)}" if said else first


def rich_list(lines: Sequence[str]) -> JsonObject:
    """A list with bullets."""
    items = [{"type": "rich_text_section", "elements": inline(line, False)} for line in lines]
    bullets = {"type": "rich_text_list", "style": "bullet", "elements": items}
    return {"type": "rich_text", "elements": [bullets]}


def grid_widths(table: Table, rows: int, currency: str) -> list[int]:
    """How wide each column of aligned text is."""
    lines = [[safe.shown(c.label) for c in table.columns]]
    lines += [cell_texts(table, row, currency) for row in table.rows[:rows]]
    return [
        max(len(safe.cut(line[i], GRID_CELL)) for line in lines) for i in range(len(table.columns))
    ]


def narrow_columns(table: Table, rows: int, currency: str) -> int:
    """How many of the first columns do not wrap; at least one."""
    used, columns = -2, 0
    for width in grid_widths(table, rows, currency):
        used += 2 + width
        if used > GRID_WIDTH and columns:
            break
        columns += 1
    return columns


def grid_text(table: Table, rows: int, count: int, currency: str) -> str:
    """The first `count` columns of a table as aligned text."""
    columns = table.columns[:count]
    lines = [[safe.cut(safe.shown(c.label), GRID_CELL) for c in columns]]
    lines += [
        [safe.cut(text, GRID_CELL) for text in cell_texts(table, row, currency)[:count]]
        for row in table.rows[:rows]
    ]
    widths = grid_widths(table, rows, currency)[:count]
    align: list[Callable[[str, int], str]] = [
        str.rjust if is_numeric(c) else str.ljust for c in columns
    ]
    text = "\n".join(
        "  ".join(a(cell, w) for a, cell, w in zip(align, line, widths, strict=True)).rstrip()
        for line in lines
    )
    return filled(text)


def data_visualization(chart: Chart, currency: str) -> JsonObject | None:
    """Slack's own chart; None where it has no such kind, or its limits are too narrow."""
    if chart.kind in ("scatter", "interval", "waterfall") or len(chart.x) > CHART_POINTS:
        return None
    if any(v is None for s in chart.series for v in s.values):
        return None
    labels = [label(x if isinstance(x, str) else words(x, chart.x_unit, currency)) for x in chart.x]
    names = [label(s.name or chart.y_label or "value") for s in chart.series]
    if None in labels or None in names:
        return None
    if len(set(labels)) < len(labels) or len(set(names)) < len(names) or len(names) > CHART_SERIES:
        return None
    values = [[drawn(v, chart, currency) for v in s.values] for s in chart.series]
    drawing: JsonObject
    if chart.kind == "pie":
        if len(names) > 1 or len(labels) > CHART_SERIES or min(values[0]) <= 0:
            return None
        segments = zip(labels, values[0], strict=True)
        drawing = {
            "type": "pie",
            "segments": [{"label": x, "value": v} for x, v in segments],
        }
    else:
        drawing = {
            "type": chart.kind,
            "series": [
                {
                    "name": name,
                    "data": [{"label": x, "value": v} for x, v in zip(labels, points, strict=True)],
                }
                for name, points in zip(names, values, strict=True)
            ],
            "axis_config": {"categories": labels} | axis_labels(chart, currency),
        }
    title = filled(safe.cut(safe.shown(chart.title), CHART_TITLE))
    return {"type": "data_visualization", "title": title, "chart": drawing}


def label(text: str) -> str | None:
    """A text that fits beneath a chart, or None: a cut label could name the wrong thing."""
    seen = safe.shown(text)
    return seen if 0 < len(seen) <= CHART_LABEL else None


def drawn(value: int | float | None, chart: Chart, currency: str) -> float:
    """A value as Slack draws it: money in major units, shares and points in per cent."""
    known: float = value or 0
    match chart.unit:
        case "money":
            return round(known / MINOR ** EXPONENTS.get(currency, 2), 6)
        case "share" | "points" | "change":
            return round(known * 100, 6)
        case _:
            return known


def axis_labels(chart: Chart, currency: str) -> JsonObject:
    """The names of the axes, the unit with them."""
    unit = {"money": currency, "share": "%", "change": "%", "points": "points"}.get(chart.unit, "")
    said = safe.shown(chart.y_label)
    y = f"{said} ({unit})" if said and unit else said or unit
    found = {"x_label": safe.cut(safe.shown(chart.x_label), 50), "y_label": safe.cut(y, 50)}
    return {key: text for key, text in found.items() if text}


# The files.


def cut_sheets(everything: Iterable[Sheet], titles: Iterable[str]) -> tuple[Sheet, ...]:
    """The sheets of the tables that the message could not hold in full."""
    names = {file_name(title) for title in titles}
    return tuple(s for s in everything if s.name in names)


def unique_names(found: Sequence[Sheet]) -> list[Sheet]:
    """Sheets under names of their own."""
    taken: dict[str, int] = {}
    renamed = []
    for sheet in found:
        taken[sheet.name] = taken.get(sheet.name, 0) + 1
        again = taken[sheet.name]
        name = sheet.name if again == 1 else f"{sheet.name}-{again}"
        renamed.append(replace(sheet, name=name))
    return renamed


def sheet_file(sheet: Sheet, title: str) -> File:
    """A sheet as a CSV file."""
    said = f"{safe.shown(sheet.title or title)}, {counted(len(sheet.rows), 'row')}"
    return File(f"{sheet.name}.csv", sheet.content, safe.cut(said, 200))


# The finding in words.


def in_words(result: Result, parts: Sequence[Part], currency: str) -> str:
    """The whole finding for screen readers and notifications, as mrkdwn that does not act."""
    lines = [safe.value(result.headline, 1_500)]
    lines += [f"⚠ {safe.value(said, 500)}" for said in cautions(result)]
    for part in parts:
        lines += part_words(part, currency)
    if result.receipt:
        lines.append(safe.value(receipt_line(result.receipt), 400))
    return filled(safe.fit([line for line in lines if line], MESSAGE_TEXT))


def detail_words(parts: Sequence[Part], currency: str) -> list[str]:
    """The parts below in lines of words."""
    return [line for part in parts for line in part_words(part, currency)]


def part_words(part: Part, currency: str) -> list[str]:
    """One part in lines of words."""
    match part:
        case Figure():
            said = safe.value(f"{part.label}: {words(part.value, part.unit, currency)}", 200)
            if part.course:
                moves = [f"{text} on {when}" for when, text in changes(part)]
                bits = [*moves, usual_words(part, currency), part.note]
                return [f"{said} ({safe.value('; '.join(b for b in bits if b), 300)})"]
            change = figure_change(part, currency)
            note = f" ({part.note})" if safe.shown(part.note) else ""
            return [said + safe.value((f", {change}" if change else "") + note, 300)]
        case Table():
            rows = part.rows[:ROWS_IN_WORDS]
            return [safe.value(caption(part, len(rows)), 200) + ":"] + [
                "• "
                + safe.value(
                    "; ".join(
                        f"{c.label}: {cell_words(v, c, currency)}"
                        for c, v in zip(part.columns, row, strict=True)
                    ),
                    400,
                )
                for row in rows
            ]
        case Chart():
            return [safe.value(alt_text(part, currency, 600), 600)]
        case Note():
            return [] if part.level == "warning" else [safe.value(part.text, 600)]
        case _:
            assert_never(part)


# Small blocks.


def filled(text: str) -> str:
    """The text, or a dash where it has nothing to read: Slack refuses empty texts."""
    return text if text.strip() else UNKNOWN_CELL


def plain(text: str) -> JsonObject:
    """Text that is shown as it is."""
    return {"type": "plain_text", "text": filled(text), "emoji": False}


def mrkdwn(text: str) -> JsonObject:
    """Text with our own formatting; Slack makes no links or names of what is in it."""
    return {"type": "mrkdwn", "text": filled(text), "verbatim": True}


def context(text: str) -> JsonObject:
    """A small line."""
    return {"type": "context", "elements": [plain(safe.cut(safe.shown(text), 1_500))]}


def rich(text: str, *, bold: bool = False) -> JsonObject:
    """A paragraph; what stands between back-ticks is shown as code, all else as it is."""
    return rich_lines([text], bold=bold)


def rich_lines(lines: Sequence[str], *, bold: bool = False) -> JsonObject:
    """Paragraphs of one block."""
    sections = [{"type": "rich_text_section", "elements": inline(line, bold)} for line in lines]
    return {"type": "rich_text", "elements": sections}


def inline(line: str, bold: bool) -> list[JsonObject]:
    """The pieces of a paragraph: code and not code in turn."""
    pieces = INLINE_CODE.split(safe.cut(re.sub(r"\s+", " ", line), SECTION_TEXT))
    found: list[JsonObject] = []
    for i, piece in enumerate(pieces):
        kept = safe.shown(piece)
        before = " " if piece[:1] == " " and kept else ""
        after = " " if piece[-1:] == " " and kept else ""
        if not kept:
            if piece.strip(" ") != piece and found:
                found.append({"type": "text", "text": " "})
            continue
        style = {"code": True} if i % 2 else {"bold": True} if bold else {}
        text: JsonObject = {"type": "text", "text": before + kept + after}
        found.append(text | ({"style": style} if style else {}))
    return found or [{"type": "text", "text": UNKNOWN_CELL}]


def button(action: str, words_on_it: str, value: str) -> JsonObject:
    """A button that hands back `value`."""
    return {
        "type": "button",
        "action_id": action,
        "text": plain(safe.cut(safe.shown(words_on_it), BUTTON_TEXT)),
        "value": value,
    }
