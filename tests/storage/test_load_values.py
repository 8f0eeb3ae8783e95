"""What becomes of a cell: numbers are exact, times are UTC, what cannot be read is rejected."""

import csv
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from storage.load.errors import LoadError
from storage.load.load import LoadReport, load_files, rejected
from storage.load.mapping import Mapping, parse_mapping
from storage.load.pseudonym import VARIABLE, pseudonym, pseudonym_key
from storage.schema import metadata
from storage.store import Store


@pytest.fixture
def duck() -> Iterator[Store]:
    """An empty DuckDB store."""
    opened = Store.open("duckdb:///:memory:")
    yield opened
    opened.close()


BASE: dict[str, dict[str, Any]] = {
    "orders": {
        "order_id": "id",
        "ordered_at": {"constant": "2026-01-01"},
        "amount_cents": {"constant": 1},
    },
    "order_lines": {
        "order_id": "id",
        "line_no": {"constant": 1},
        "item_id": {"constant": "x"},
        "quantity": {"constant": 1},
        "amount_cents": {"constant": 1},
    },
    "items": {"item_id": "id"},
    "people": {"person_id": "id", "first_seen_at": {"constant": "2026-01-01"}},
    "ratings": {
        "rating_id": "id",
        "at": {"constant": "2026-01-01"},
        "kind": {"constant": "nps"},
        "score": {"constant": 1},
    },
}


def load_column(
    store: Store, folder: Path, target: str, spec: Any, cells: list[Any], **more: Any
) -> tuple[dict[str, Any], LoadReport]:
    """Load one column `x` of cells into `entity.column`; what each line's row got, by line."""
    entity, column = target.split(".")
    config = {"entity": entity, "columns": {**BASE[entity], column: spec}, **more}
    mapping = parse_mapping(config)
    assert isinstance(mapping, Mapping)
    if any(not isinstance(c, str | None) for c in cells):
        file = folder / "x.parquet"
        pq.write_table(pa.table({"id": [str(i) for i in range(len(cells))], "x": cells}), file)
    else:
        file = folder / "x.csv"
        with file.open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([["id", "x"], *([i, c] for i, c in enumerate(cells))])
    report = load_files(store, entity, [file], mapping, source="t", description="t")
    table = metadata.tables[entity]
    key = table.primary_key.columns[0]
    rows = store.fork().rows(sa.select(key.label("id"), table.c[column].label("got")))
    got = {r["id"]: r["got"] for r in rows}
    store_report = report
    with store.engine.writing() as writer:
        writer.run(sa.delete(table))
    return got, store_report


@pytest.mark.parametrize(
    ("cells", "more", "cents"),
    [
        (["12.34", "-0.005", "0.005", "1e2", " 7 "], {}, [1234, -1, 1, 10000, 700]),
        (["1.234,50", "-2,5"], {"decimal": ",", "thousands": "."}, [123450, -250]),
        (["£1,000.10", "-£3"], {"strip": "£", "thousands": ","}, [100010, -300]),
        ([0.285, 1.005, -2.675, 3.0], {}, [29, 101, -268, 300]),
        ([5, -7], {}, [500, -700]),
    ],
)
def test_money_is_exact_and_rounded_half_away_from_zero(
    duck: Store, tmp_path: Path, cells: list[Any], more: dict[str, Any], cents: list[int]
) -> None:
    """Decimal text, and the shortest decimal of a double."""
    got, report = load_column(duck, tmp_path, "orders.amount_cents", "x", cells, **more)
    assert [got[str(i)] for i in range(len(cells))] == cents
    assert report.rows_rejected == 0


def test_money_of_other_scales_and_in_minor_units(duck: Store, tmp_path: Path) -> None:
    """Yen have no decimals; a file may hold cents already."""
    yen, _ = load_column(duck, tmp_path, "orders.amount_cents", {"from": "x", "scale": 0}, ["1250"])
    cents, _ = load_column(
        duck, tmp_path, "orders.amount_cents", {"from": "x", "as": "integer"}, ["1250"]
    )
    assert (yen["0"], cents["0"]) == (1250, 1250)


INSTANTS = [
    # text, zone, UTC
    ("2026-01-15 12:00", "Europe/London", "2026-01-15 12:00"),
    ("2026-07-15 12:00:00", "Europe/London", "2026-07-15 11:00"),
    ("2026-07-15T12:00:00Z", "Europe/London", "2026-07-15 12:00"),
    ("2026-07-15T12:00:00+02:00", "Europe/London", "2026-07-15 10:00"),
    ("2026-07-15 12:00:00-0330", "Europe/London", "2026-07-15 15:30"),
    ("2026-07-15 12:00:00.5+02", "Europe/London", "2026-07-15 10:00:00.5"),
    ("2026-07-15 12:00:00 America/New_York", "Europe/London", "2026-07-15 16:00"),
    ("2026-07-15", "Europe/London", "2026-07-14 23:00"),
    ("2026-07-15 12:00", "UTC", "2026-07-15 12:00"),
    ("2026-07-15 12:00", "Asia/Kathmandu", "2026-07-15 06:15"),
    # the clocks go from 01:00 to 02:00: half past one is moved on to half past two
    ("2026-03-29 00:59", "Europe/London", "2026-03-29 00:59"),
    ("2026-03-29 01:30", "Europe/London", "2026-03-29 01:30"),
    ("2026-03-29 02:00", "Europe/London", "2026-03-29 01:00"),
    # and back from 02:00 to 01:00: half past one is the second one
    ("2026-10-25 00:59", "Europe/London", "2026-10-24 23:59"),
    ("2026-10-25 01:30", "Europe/London", "2026-10-25 01:30"),
    ("2026-10-25 02:00", "Europe/London", "2026-10-25 02:00"),
]


@pytest.mark.parametrize(("text", "zone", "utc"), INSTANTS)
def test_times_become_utc(duck: Store, tmp_path: Path, text: str, zone: str, utc: str) -> None:
    """By their own offset, else by the mapping's zone; across both changes of the clocks."""
    got, _ = load_column(duck, tmp_path, "orders.ordered_at", "x", [text], timezone=zone)
    assert got["0"] == dt.datetime.fromisoformat(utc)


def test_a_column_may_have_a_zone_of_its_own(duck: Store, tmp_path: Path) -> None:
    """It wins over the file's."""
    spec = {"from": "x", "timezone": "America/New_York"}
    got, _ = load_column(duck, tmp_path, "orders.ordered_at", spec, ["2026-07-15 12:00"])
    assert got["0"] == dt.datetime(2026, 7, 15, 16)


@pytest.mark.parametrize(
    ("format_", "cell"),
    [
        ("%d/%m/%Y %H:%M", "15/07/2026 12:30"),
        ("%d.%m.%y, %H:%M Uhr", "15.07.26, 12:30 Uhr"),
        ("%Y-%m-%d %H:%M %z", "2026-07-15 14:30 +0200"),
        ("epoch_s", "1784118600"),
        ("epoch_ms", "1784118600000"),
        ("epoch_us", 1784118600000000),
    ],
)
def test_formats_of_times(duck: Store, tmp_path: Path, format_: str, cell: Any) -> None:
    """`strptime`'s, and Unix times."""
    spec = {"from": "x", "format": format_}
    got, _ = load_column(duck, tmp_path, "orders.ordered_at", spec, [cell])
    assert got["0"] == dt.datetime(2026, 7, 15, 12, 30)


def test_typed_times_keep_what_they_say(duck: Store, tmp_path: Path) -> None:
    """A timestamp with a zone is an instant, one without and a date are local."""
    zone = "Europe/London"
    aware = [dt.datetime(2026, 7, 15, 12, tzinfo=dt.UTC)]
    naive = [dt.datetime(2026, 7, 15, 12)]
    day = [dt.date(2026, 7, 15)]
    got = [
        load_column(duck, tmp_path, "orders.ordered_at", "x", cells, timezone=zone)[0]["0"]
        for cells in (aware, naive, day)
    ]
    assert got == [
        dt.datetime(2026, 7, 15, 12),
        dt.datetime(2026, 7, 15, 11),
        dt.datetime(2026, 7, 14, 23),
    ]


BAD = [
    # target, spec, cell, reason
    ("orders.ordered_at", "x", "31/02/2011", "`ordered_at` is not a time: “31/02/2011”"),
    ("orders.ordered_at", "x", "2026-02-30", "`ordered_at` is not a time: “2026-02-30”"),
    ("orders.ordered_at", "x", "9999-12-31", "`ordered_at` is not a time: “9999-12-31”"),
    ("orders.ordered_at", "x", "infinity", "`ordered_at` is not a time: “infinity”"),
    ("orders.ordered_at", "x", "1784118600", "`ordered_at` is not a time: “1784118600”"),
    ("orders.ordered_at", "x", "2026-01-01 10:00 Mars/Sea", "`ordered_at` is not a time: “2026-01-01 10:00 Mars/Sea”"),  # noqa: E501
    ("orders.ordered_at", {"from": "x", "format": "%d/%m/%Y"}, "2026-01-01", "`ordered_at` is not a time: “2026-01-01”"),  # noqa: E501
    ("orders.ordered_at", {"from": "x", "format": "epoch_s"}, "1e30", "`ordered_at` is not a time: “1e30”"),  # noqa: E501
    ("orders.ordered_at", "x", "", "`ordered_at` is missing"),
    ("orders.amount_cents", "x", "12,34", "`amount_cents` is not an amount: “12,34”"),
    ("orders.amount_cents", "x", "1_0", "`amount_cents` is not an amount: “1_0”"),
    ("orders.amount_cents", "x", "nan", "`amount_cents` is not an amount: “nan”"),
    ("orders.amount_cents", "x", "9" * 30, "`amount_cents` is not an amount: “" + "9" * 30 + "”"),
    ("orders.amount_cents", {"multiply": ["id", "x"]}, "two", "`amount_cents` needs a number in `x`: “two”"),  # noqa: E501
    ("orders.amount_cents", {"multiply": ["id", "x"]}, "", "`amount_cents` is missing"),
    ("orders.kind", "x", "gift", "`kind` is not sale or return: “gift”"),
    ("order_lines.quantity", "x", "7.5", "`quantity` is not a whole number: “7.5”"),
    ("order_lines.quantity", "x", "0x7", "`quantity` is not a whole number: “0x7”"),
    ("order_lines.quantity", "x", "9" * 25, "`quantity` is not a whole number: “" + "9" * 25 + "”"),
    ("items.is_product", "x", "perhaps", "`is_product` is not yes or no: “perhaps”"),
    ("items.attributes", "x", "[1]", "`attributes` is not a JSON object: “[1]”"),
    ("items.attributes", "x", "{", "`attributes` is not a JSON object: “{”"),
    ("items.name", "x", "a\0b", "`name` holds a zero byte"),
    ("ratings.score", "x", "11", "`score` is outside of its scale: “11”"),
    ("people.person_id", "x", "  ", "`person_id` is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "spec", "cell", "reason"), BAD)
def test_what_cannot_be_read_is_rejected_with_a_reason(
    duck: Store, tmp_path: Path, target: str, spec: Any, cell: str, reason: str
) -> None:
    """The reason quotes the cell; the kind of reason is counted without it."""
    got, report = load_column(duck, tmp_path, target, spec, [cell])
    found = rejected(duck, report.load_id)
    assert [(r["line_no"], r["reason"]) for r in found] == [(1, reason)]
    assert report.reasons == {reason.split(": “")[0]: 1}
    assert got == {}


def test_whole_numbers_yes_and_no_and_documents(duck: Store, tmp_path: Path) -> None:
    """As they are commonly written."""
    numbers, _ = load_column(duck, tmp_path, "order_lines.quantity", "x", ["7", "+7", "7.0", "-7"])
    assert list(numbers.values()) == [7, 7, 7, -7]
    words = ["Yes", "n", "TRUE", "0"]
    truths, _ = load_column(duck, tmp_path, "items.is_product", "x", words)
    assert list(truths.values()) == [True, False, True, False]
    documents, _ = load_column(duck, tmp_path, "items.attributes", "x", ['{"a": 1}', ""])
    assert list(documents.values()) == ['{"a": 1}', None]


def test_identifiers_stay_text(duck: Store, tmp_path: Path) -> None:
    """Leading zeros stay; a double that is whole has no `.0`; blanks around are taken off."""
    texts, _ = load_column(duck, tmp_path, "items.name", "x", ["007", " 7 ", "7.0"])
    assert list(texts.values()) == ["007", "7", "7.0"]
    doubles, _ = load_column(duck, tmp_path, "items.name", "x", [17850.0, None, 0.5])
    assert list(doubles.values()) == ["17850", None, "0.5"]
    whole, _ = load_column(
        duck, tmp_path, "items.name", {"from": "x", "as": "integer"}, ["17850.0"]
    )
    assert whole == {"0": "17850"}


@pytest.mark.parametrize(
    ("spec", "cells", "expected"),
    [
        ({"constant": "web"}, ["a"], ["web"]),
        ({"constant": "it's"}, ["a"], ["it's"]),
        ({"from": "x", "default": "none"}, ["a", ""], ["a", "none"]),
        ({"from": "x", "spelling": "upper"}, [" a  b "], ["A B"]),
        ({"case": [{"when": {"x": {"starts": "C"}}, "give": "c"}]}, ["C1", "D"], ["c", None]),
        (
            {"case": [{"when": {"x": {"is": "a", "ends": "a"}}, "give": "one"},
                      {"when": {"x": {"in": ["b", "c"]}}, "give": "two"},
                      {"when": {"x": {"contains": "'"}}, "give": "quote"},
                      {"when": {"x": {"empty": True}}, "give": "none"}], "otherwise": "rest"},
            ["a", "c", "it's", "", "z"], ["one", "two", "quote", "none", "rest"],
        ),
        (
            {"case": [{"when": {"x": {"above": 5}}, "give": "high"},
                      {"when": {"x": {"below": -5.5}}, "give": "low"},
                      {"when": {"x": {"not_above": 5}}, "give": "mid"}]},
            ["6", "-6", "5", "word"], ["high", "low", "mid", None],
        ),
    ],
)  # fmt: skip
def test_specs_of_texts(
    duck: Store, tmp_path: Path, spec: Any, cells: list[str], expected: list[str | None]
) -> None:
    """Constants, defaults, spelling, cases with every test."""
    got, _ = load_column(duck, tmp_path, "items.name", spec, cells)
    assert [got[str(i)] for i in range(len(cells))] == expected


def test_a_document_of_columns_leaves_out_what_is_empty(duck: Store, tmp_path: Path) -> None:
    """And is null where all is."""
    spec = {"json": {"colour's": "x"}}
    got, _ = load_column(duck, tmp_path, "items.attributes", spec, ["red", ""])
    assert json.loads(got["0"]) == {"colour's": "red"}
    assert got["1"] is None


def test_a_digest_makes_identifiers(duck: Store, tmp_path: Path) -> None:
    """Lines with equal values are one row, whatever their id column says."""
    got, report = load_column(
        duck, tmp_path, "ratings.rating_id", {"digest": ["x"]}, ["a", "b", "a", ""]
    )
    assert (len(got), report.rows_unchanged) == (3, 1)


def test_where_takes_only_some_lines(duck: Store, tmp_path: Path) -> None:
    """The others are neither taken nor rejected."""
    got, report = load_column(
        duck, tmp_path, "items.name", "x", ["a", "b"], where={"x": {"is": "b"}}
    )
    assert (got, report.rows_rejected) == ({"1": "b"}, 0)


def test_pseudonyms_hide_people_everywhere(
    duck: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the store, in rejected rows; the same person has one pseudonym."""
    monkeypatch.setenv(VARIABLE, "a key of twenty chars")
    spec = {"from": "x", "pseudonym": True}
    cells = ["Ann@example.org", " ann@EXAMPLE.org", "bob@example.org"]
    got, report = load_column(
        duck,
        tmp_path,
        "orders.person_id",
        spec,
        cells,
        reject=[{"when": {"x": {"starts": "bob"}}, "because": "no"}],
    )
    assert got["0"] == got["1"] == pseudonym("ann@example.org", pseudonym_key())
    assert got["0"].startswith("u_")
    assert rejected(duck, report.load_id)[0]["row"] == '{"id":"2","x":"withheld"}'
    monkeypatch.setenv(VARIABLE, "another key of twenty")
    assert pseudonym("ann@example.org", pseudonym_key()) != got["0"]


def test_without_a_key_there_are_no_pseudonyms(
    duck: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor with one that can be guessed."""
    monkeypatch.setenv(VARIABLE, "short")
    with pytest.raises(LoadError, match="holds no key"):
        load_column(duck, tmp_path, "people.person_id", {"from": "x", "pseudonym": True}, ["ann"])
