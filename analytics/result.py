"""What a command answers: a title, a headline, parts and a receipt.

Four kinds of part hold raw values with units; no text is formatted here. A new command never needs
a new kind of part, and a new kind must be met by every renderer (`assert_never` shows where).
"""

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

#: Money is in minor units (cents); a share is 0..1; points are differences of two shares, as a
#: share; `change` is relative (0.12 is 12 % more); `times` is a ratio such as lift; an instant is
#: naive UTC, a date is local.
Unit = Literal[
    "text",
    "count",
    "number",
    "share",
    "points",
    "change",
    "score",
    "money",
    "days",
    "seconds",
    "times",
    "date",
    "instant",
    "flag",
]

Value = str | int | float | bool | dt.date | dt.datetime | None
Number = int | float | None


def checked(value: object, where: str) -> None:
    """Refuse what is not plain: numpy scalars, NaN and infinity never leave a command."""
    if value is None or type(value) in (str, int, bool, dt.date, dt.datetime):
        return
    if type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"{where}: {value!r} is no value; unknown is None")
        return
    raise TypeError(f"{where}: {value!r} is a {type(value).__name__}, not a plain value")


def plain(value: Any) -> Value:
    """A frame's cell as a plain value: numpy scalars unwrapped, NaN, NaT and NA as None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dt.datetime) and type(value) is not dt.datetime:  # pandas Timestamp, NaT
        return None if value != value else value.to_pydatetime()  # type: ignore[attr-defined]
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, float) and not math.isfinite(item):
        return None
    if type(item).__name__ in ("NAType", "NaTType"):
        return None
    return item  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Column:
    """One column of a table: its key in JSON and CSV, its heading, its unit."""

    key: str
    label: str
    unit: Unit = "text"


@dataclass(frozen=True)
class Table:
    """Rows of raw values under typed columns; at least one row, none ragged.

    `of_rows` is how many rows there are in all where `rows` shows only the first of them.
    `person_level` marks rows about single persons: they go to the asker alone.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    of_rows: int | None = None
    person_level: bool = False

    def __post_init__(self) -> None:
        """Hold the promises that renderers rely on."""
        if not self.rows:
            raise ValueError(f"table {self.title!r} has no rows; say so in a Note")
        if len({c.key for c in self.columns}) != len(self.columns):
            raise ValueError(f"table {self.title!r} has two columns of one key")
        for i, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: row {i} has {len(row)} cells")
            for column, value in zip(self.columns, row, strict=True):
                checked(value, f"table {self.title!r}, row {i}, {column.key}")

    @classmethod
    def of(
        cls,
        title: str,
        columns: Sequence[Column],
        records: Iterable[Mapping[str, Any]],
        *,
        of_rows: int | None = None,
        person_level: bool = False,
    ) -> "Table":
        """From records (dicts, or `frame.to_dict("records")`), each cell made plain."""
        rows = tuple(tuple(plain(r[c.key]) for c in columns) for r in records)
        return cls(title, tuple(columns), rows, of_rows, person_level)


@dataclass(frozen=True)
class Series:
    """One line, or one set of bars or dots; `low` and `high` bound an interval around each."""

    name: str
    values: tuple[Number, ...]
    low: tuple[Number, ...] | None = None
    high: tuple[Number, ...] | None = None


@dataclass(frozen=True)
class Chart:
    """A picture to be drawn: every series has one value for each x.

    Kinds: `line` and `area` over dates or ordered x; `bar` over categories; `pie` of one series
    with positive values; `scatter` with numeric x, where each series is a group of dots (None
    where the dot is another group's); `interval` (forest plot), one row per x with its interval;
    `waterfall` of one series: a level, the steps from it, and the level they lead to.
    """

    title: str
    kind: Literal["line", "area", "bar", "pie", "scatter", "interval", "waterfall"]
    x: tuple[str | int | float | dt.date, ...]
    series: tuple[Series, ...]
    unit: Unit = "number"
    x_label: str = ""
    y_label: str = ""
    x_unit: Unit = "text"

    def __post_init__(self) -> None:
        """Every series has one plain value for each x."""
        if not self.x or not self.series:
            raise ValueError(f"chart {self.title!r} has nothing to draw")
        for s in self.series:
            for values in (s.values, s.low, s.high):
                if values is None:
                    continue
                if len(values) != len(self.x):
                    raise ValueError(f"chart {self.title!r}, {s.name!r}: {len(values)} values")
                for v in values:
                    checked(v, f"chart {self.title!r}, {s.name!r}")
        for x in self.x:
            checked(x, f"chart {self.title!r}, x")


@dataclass(frozen=True)
class Figure:
    """One number, and the same number of the period before where there is one.

    `group` gathers figures under a heading (Growth, Activity, ...); `note` says why a value is
    unknown, or what to mind. `earlier` are further values to compare with, each with the words for
    when (`the day before`); where it is given, `when` are the words for `before`. `course` is the
    way here, this value last; `usual` the ends of the band that such a value usually lies in.
    """

    label: str
    value: Value
    unit: Unit
    before: Value = None
    more_is_better: bool | None = None
    group: str = ""
    note: str = ""
    when: str = ""
    earlier: tuple[tuple[str, Value], ...] = ()
    course: tuple[Number, ...] = ()
    usual: tuple[int | float, int | float] | None = None

    def __post_init__(self) -> None:
        """Plain values only."""
        values = (self.value, self.before, *(v for _, v in self.earlier), *self.course)
        for value in (*values, *(self.usual or ())):
            checked(value, f"figure {self.label!r}")

    @property
    def out_of_usual(self) -> Literal["above", "below", ""]:
        """On which side of the band it lies; empty within it, or where it is not known."""
        if self.usual is None or not isinstance(self.value, int | float):
            return ""
        low, high = self.usual
        return "below" if self.value < low else "above" if self.value > high else ""


@dataclass(frozen=True)
class Note:
    """A sentence beside the numbers; a warning is said before them."""

    text: str
    level: Literal["info", "warning"] = "info"


Part = Table | Chart | Figure | Note


@dataclass(frozen=True)
class Query:
    """One query as it was sent: its text, its bound values, the rows that came back."""

    sql: str
    values: tuple[Value, ...]
    rows: int
    seconds: float = field(compare=False)


@dataclass(frozen=True)
class Receipt:
    """How the numbers came about: enough to show them and to run them again.

    `from_totals`: some were read from totals per day in place of the rows.
    """

    question: str
    window: str
    engine: str
    data_through: dt.datetime | None
    as_of: dt.datetime
    currency: str
    zone: str
    queries: tuple[Query, ...]
    sources: tuple[str, ...]
    simulated: tuple[str, ...]
    seconds: float = field(compare=False)
    from_totals: bool = field(default=False, compare=False)

    @property
    def rows_read(self) -> int:
        """Rows that the engine handed to Python."""
        return sum(q.rows for q in self.queries)

    @property
    def caution(self) -> str:
        """What of the data is simulated, in one sentence; empty where nothing is."""
        return f"Simulated in this answer: {'; '.join(self.simulated)}." if self.simulated else ""


@dataclass(frozen=True)
class Result:
    """An answer. `headline` is one sentence that a person can act on; `follow_ups` are commands.

    `receipt` is added by the dispatcher. `mark` is a word for what the answer amounts to, such as
    a verdict: a schedule that speaks on change posts when it differs from the last. `detail` are
    parts for those who want to know more: in the thread under a message, below in a terminal.
    `language` is that of the signs in its numbers. `labels` name the first follow-ups on buttons,
    where a word says it better than the question.
    """

    title: str
    headline: str
    parts: tuple[Part, ...]
    follow_ups: tuple[str, ...] = ()
    receipt: Receipt | None = None
    mark: str = ""
    detail: tuple[Part, ...] = ()
    language: str = "en"
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """An answer has a sentence and at least one part."""
        if not self.parts or not self.headline.strip():
            raise ValueError(f"result {self.title!r} lacks a headline or parts")

    @property
    def person_level(self) -> bool:
        """Whether any part shows single persons."""
        parts = (*self.parts, *self.detail)
        return any(isinstance(p, Table) and p.person_level for p in parts)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types: dates and instants in ISO 8601, each part with its `part` name."""
        return {
            "title": self.title,
            "headline": self.headline,
            "parts": [_part_dict(p) for p in self.parts],
            "detail": [_part_dict(p) for p in self.detail],
            "follow_ups": list(self.follow_ups),
            "receipt": _receipt_dict(self.receipt) if self.receipt else None,
        }


def _json(value: Value) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat() + "Z"
    return value.isoformat() if isinstance(value, dt.date) else value


def _part_dict(part: Part) -> dict[str, Any]:
    match part:
        case Table():
            return {
                "part": "table",
                "title": part.title,
                "columns": [vars(c) for c in part.columns],
                "rows": [[_json(v) for v in row] for row in part.rows],
                "of_rows": part.of_rows,
                "person_level": part.person_level,
            }
        case Chart():
            return {
                "part": "chart",
                "title": part.title,
                "kind": part.kind,
                "x": [_json(v) for v in part.x],
                "x_label": part.x_label,
                "x_unit": part.x_unit,
                "y_label": part.y_label,
                "unit": part.unit,
                "series": [
                    {k: list(v) if isinstance(v, tuple) else v for k, v in vars(s).items()}
                    for s in part.series
                ],
            }
        case Figure():
            return {
                "part": "figure",
                **vars(part),
                "value": _json(part.value),
                "before": _json(part.before),
                "earlier": [[when, _json(v)] for when, v in part.earlier],
                "course": list(part.course),
                "usual": list(part.usual) if part.usual else None,
            }
        case Note():
            return {"part": "note", **vars(part)}


def _receipt_dict(receipt: Receipt) -> dict[str, Any]:
    return {
        "question": receipt.question,
        "window": receipt.window,
        "engine": receipt.engine,
        "data_through": _json(receipt.data_through),
        "as_of": _json(receipt.as_of),
        "currency": receipt.currency,
        "zone": receipt.zone,
        "rows_read": receipt.rows_read,
        "queries": [
            {"sql": q.sql, "values": [_json(v) for v in q.values], "rows": q.rows}
            for q in receipt.queries
        ],
        "sources": list(receipt.sources),
        "simulated": list(receipt.simulated),
        "seconds": round(receipt.seconds, 3),
    }
