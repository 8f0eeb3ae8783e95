"""Tables and figures -> CSV. Numbers stay numbers; text can't become a formula."""

import csv
import datetime as dt
import io
import unicodedata
from dataclasses import dataclass

from analytics.result import Column, Figure, Result, Table, Unit, Value
from analytics.words import EXPONENTS

FORMULA_STARTS = "=+-@|\t\r"


@dataclass(frozen=True)
class Sheet:
    """One CSV file: a name without ending, a header and rows of plain values; its table's title."""

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]
    title: str = ""

    @property
    def content(self) -> bytes:
        """UTF-8 with a byte-order mark: without one, Excel misreads accents."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow(self.header)
        writer.writerows(self.rows)
        return b"\xef\xbb\xbf" + out.getvalue().encode(errors="replace")


def sheets(result: Result) -> tuple[Sheet, ...]:
    """The figures (as one sheet) and each table, with all rows."""
    currency = result.receipt.currency if result.receipt else ""
    found = []
    parts = (*result.parts, *result.detail)
    figures = [p for p in parts if isinstance(p, Figure)]
    if figures:
        found.append(figure_sheet(figures, currency))
    found += [table_sheet(p, currency) for p in parts if isinstance(p, Table)]
    return tuple(found)


def table_sheet(table: Table, currency: str) -> Sheet:
    """A table's columns, with the unit in the heading."""
    header = tuple(heading(c, currency) for c in table.columns)
    rows = tuple(
        tuple(cell(v, c.unit, currency) for c, v in zip(table.columns, row, strict=True))
        for row in table.rows
    )
    return Sheet(file_name(table.title), header, rows, table.title)


def figure_sheet(figures: list[Figure], currency: str) -> Sheet:
    """One row for each figure."""
    header = ("Group", "Figure", "Now", "Before", "Unit", "Note")
    rows = tuple(
        (
            safe_text(f.group),
            safe_text(f.label),
            cell(f.value, f.unit, currency),
            cell(f.before, f.unit, currency),
            unit_name(f.unit, currency),
            safe_text(f.note),
        )
        for f in figures
    )
    return Sheet("figures", header, rows)


def heading(column: Column, currency: str) -> str:
    """The label, with its unit where the label alone would mislead."""
    name = unit_name(column.unit, currency)
    return safe_text(f"{column.label} ({name})" if name else column.label)


def unit_name(unit: Unit, currency: str) -> str:
    """The unit as it stands in a CSV: money is in major units, shares are 0 to 1."""
    return {
        "money": currency,
        "share": "share of 1",
        "points": "share of 1",
        "change": "share of 1",
        "seconds": "seconds",
        "days": "days",
        "instant": "UTC",
    }.get(unit, "")


def cell(value: Value, unit: Unit, currency: str) -> str | int | float:
    """A value as CSV: unknown is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, str):
        return safe_text(value)
    if unit == "money":
        exponent = EXPONENTS.get(currency, 2)
        return f"{value / 10**exponent:.{exponent}f}"
    return value


def safe_text(text: str) -> str:
    """Text that a spreadsheet will not run: an apostrophe before what could start a formula."""
    start = unicodedata.normalize("NFKC", text).lstrip(" \ufeff\u200b\n")
    return f"'{text}" if start[:1] and start[0] in FORMULA_STARTS else text


def file_name(title: str) -> str:
    """A title as a file's name: lower case, words joined by hyphens."""
    kept = "".join(c if c.isalnum() else " " for c in title.lower())
    return "-".join(kept.split())[:60] or "table"
