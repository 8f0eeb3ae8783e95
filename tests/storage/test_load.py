"""Files of every format load the same on every engine; loading again changes nothing."""

import csv
import datetime as dt
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.load.errors import LoadError
from storage.load.load import LoadReport, load_files, load_tables, rejected, sample_of
from storage.load.mapping import Mapping, Recipe, parse_mapping
from storage.schema import loads, metadata, orders, people, rejected_rows, sources
from storage.store import Store

ORDERS = parse_mapping(
    {
        "entity": "orders",
        "columns": {
            "order_id": "Order No",
            "person_id": "customer",
            "ordered_at": "when",
            "amount_cents": "total",
            "country": "country",
        },
    }
)
HEADER = ["order_no", "Customer", "when", "total", "Country"]
ROWS = [
    ["1", "ann", "2026-01-05 10:00:00", "12.34", "Österreich"],
    ["2", "bob", "2026-01-06T11:30:00", "-5", "Côte d'Ivoire"],
    ["3", None, "2026-01-07 00:00:00.25", "0.1", None],
]
LOADED = [
    ("1", "ann", dt.datetime(2026, 1, 5, 10), "sale", 1234, "Österreich"),
    ("2", "bob", dt.datetime(2026, 1, 6, 11, 30), "return", -500, "Côte d'Ivoire"),
    ("3", None, dt.datetime(2026, 1, 7, 0, 0, 0, 250_000), "sale", 10, None),
]


def load(store: Store, file: Path, mapping: Mapping | Recipe = ORDERS, **more: Any) -> LoadReport:
    """Load a file of orders under the source "shop"."""
    entity = mapping.entity if isinstance(mapping, Mapping) else mapping.entities[-1]
    told: dict[str, Any] = {"source": "shop", "description": "a test", **more}
    return load_files(store, entity, [file], mapping, **told)


def stored(store: Store) -> list[tuple[Any, ...]]:
    """The orders in the store, without what no test file has."""
    o = orders.c
    columns = (o.order_id, o.person_id, o.ordered_at, o.kind, o.amount_cents, o.country)
    chosen = sa.select(*columns).order_by(o.order_id)
    return [tuple(r.values()) for r in store.fork().rows(chosen)]


def contents(store: Store) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables."""
    return {
        t.name: store.fork().rows(sa.select(t).order_by(*t.primary_key.columns))
        for t in metadata.sorted_tables
    }


def text(rows: list[list[Any]], delimiter: str = ",", quoting: Any = csv.QUOTE_MINIMAL) -> str:
    """Rows under the header as delimited text."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n", quoting=quoting)
    writer.writerows([HEADER, *rows])
    return out.getvalue()


def write_csv(path: Path, rows: list[list[Any]]) -> Path:
    """A plain CSV file."""
    path.write_text(text(rows), encoding="utf-8")
    return path


def semicolons_with_bom(folder: Path) -> Path:
    """As Excel in Europe saves it, but for the decimal sign."""
    path = folder / "orders.csv"
    path.write_text(text(ROWS, ";"), encoding="utf-8-sig")
    return path


def latin_1(folder: Path) -> Path:
    """As old systems save it."""
    path = folder / "orders.csv"
    path.write_text(text(ROWS), encoding="latin-1")
    return path


def utf_16_tabs(folder: Path) -> Path:
    """Excel's "Unicode text"."""
    path = folder / "orders.txt"
    path.write_text(text(ROWS, "\t"), encoding="utf-16")
    return path


def tabs(folder: Path) -> Path:
    """Tab separated."""
    path = folder / "orders.tsv"
    path.write_text(text(ROWS, "\t"), encoding="utf-8")
    return path


def pipes_windows_lines(folder: Path) -> Path:
    """Bars, and lines that end as on Windows."""
    path = folder / "orders.csv"
    path.write_bytes(text(ROWS, "|").replace("\n", "\r\n").encode())
    return path


def gzipped(folder: Path) -> Path:
    """Packed."""
    path = folder / "orders.csv.gz"
    path.write_bytes(gzip.compress(text(ROWS).encode()))
    return path


def hostile_name(folder: Path) -> Path:
    """A name that would be a pattern, or end a literal."""
    return write_csv(folder / "or'ders[1]*.csv", ROWS)


def json_lines(folder: Path) -> Path:
    """Keys in any order, some missing, an empty line at the end."""
    path = folder / "orders.jsonl"
    records = [{k: v for k, v in zip(HEADER, r, strict=True) if v is not None} for r in ROWS]
    records[0]["total"] = 12.34
    records[1] = dict(reversed(records[1].items()))
    path.write_text("\n".join(json.dumps(r) for r in records) + "\n\n", encoding="utf-8")
    return path


def json_array(folder: Path) -> Path:
    """One JSON document."""
    path = folder / "orders.json"
    records = [dict(zip(HEADER, r, strict=True)) for r in ROWS]
    path.write_text(json.dumps(records, indent=1), encoding="utf-8")
    return path


def parquet(folder: Path) -> Path:
    """With types of its own: times, doubles."""
    path = folder / "orders.parquet"
    columns = list(zip(*ROWS, strict=True))
    times = [dt.datetime.fromisoformat(t or "") for t in columns[2]]
    table = pa.table(
        {
            "order_no": pa.array([int(c or 0) for c in columns[0]], pa.int16()),
            "Customer": pa.array(columns[1], pa.string()),
            "when": pa.array(times, pa.timestamp("ns")),
            "total": pa.array([float(c or 0) for c in columns[3]]),
            "Country": pa.array(columns[4], pa.string()),
        }
    )
    pq.write_table(table, path)
    return path


def excel(folder: Path) -> Path:
    """Typed cells below an empty row."""
    path = folder / "orders.xlsx"
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append([])
    sheet.append(HEADER)
    for row in ROWS:
        time = dt.datetime.fromisoformat(row[2] or "")
        sheet.append([int(row[0] or 0), row[1], time, float(row[3] or 0), row[4]])
    book.save(path)
    return path


FORMATS: tuple[Callable[[Path], Path], ...] = (
    semicolons_with_bom, latin_1, utf_16_tabs, tabs, pipes_windows_lines, gzipped, hostile_name,
    json_lines, json_array, parquet, excel,
)  # fmt: skip


@pytest.fixture
def duck(tmp_path: Path) -> Any:
    """An empty DuckDB store."""
    opened = Store.open(f"duckdb:///{tmp_path / 'duck.db'}")
    yield opened
    opened.close()


@pytest.mark.parametrize("write", FORMATS, ids=lambda w: w.__name__)
def test_every_format_gives_the_same_rows(
    duck: Store, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    """Delimiter, encoding and kind of file are found out."""
    report = load(duck, write(tmp_path))
    assert stored(duck) == LOADED
    assert (report.rows_read, report.rows_new, report.rows_rejected) == (3, 3, 0)


def test_loading_twice_changes_nothing(store: Store, tmp_path: Path) -> None:
    """Neither by the file's digest, nor when every row is compared again."""
    file = write_csv(tmp_path / "orders.csv", ROWS)
    first = load(store, file)
    before = contents(store)
    second = load(store, file)
    assert second.nothing_changed
    assert second.known == ("orders.csv",)
    assert (second.rows_unchanged, second.load_id) == (3, first.load_id)
    assert contents(store) == before
    third = load(store, file, again=True)
    assert (third.nothing_changed, third.rows_unchanged) == (True, 3)
    moved = {"loads"}  # the later time and the counts of the third load
    assert {k: v for k, v in contents(store).items() if k not in moved} == {
        k: v for k, v in before.items() if k not in moved
    }


def test_new_rows_are_added_and_changed_ones_replaced(store: Store, tmp_path: Path) -> None:
    """On every engine, with and without keys."""
    load(store, write_csv(tmp_path / "a.csv", ROWS))
    changed = [ROWS[0], [*ROWS[1][:3], "-7.50", None], ["4", "eve", "2026-02-01", "1", "DE"]]
    report = load(store, write_csv(tmp_path / "b.csv", changed))
    assert (report.rows_new, report.rows_changed, report.rows_unchanged) == (1, 1, 1)
    assert stored(store) == [
        LOADED[0],
        ("2", "bob", dt.datetime(2026, 1, 6, 11, 30), "return", -750, None),
        LOADED[2],
        ("4", "eve", dt.datetime(2026, 2, 1), "sale", 100, "DE"),
    ]
    assert store.fork().column(sa.select(sources.c.rows)) == [4]
    taken = sa.select(loads.c.rows_taken, loads.c.rows_unchanged).where(loads.c.file == "b.csv")
    assert store.fork().row(taken) == {"rows_taken": 2, "rows_unchanged": 1}


def test_each_source_counts_its_own_rows(store: Store, tmp_path: Path) -> None:
    """A row that another source replaces is no longer counted for the first."""
    load(store, write_csv(tmp_path / "a.csv", ROWS))
    load(store, write_csv(tmp_path / "b.csv", ROWS[:1]), source="other", attribution="by me")
    found = {s.name: s for s in store.sources()}
    assert {name: s.rows for name, s in found.items()} == {"shop": 2, "other": 1}
    assert (found["other"].attribution, found["shop"].attribution) == ("by me", None)


def test_rejected_rows_are_kept_with_reason_and_line(store: Store, tmp_path: Path) -> None:
    """They can be asked for, on every engine; the good lines are loaded."""
    bad = ["5", "eve", "31/02/2011", "a lot", None]
    report = load(store, write_csv(tmp_path / "a.csv", [ROWS[0], bad, ROWS[1]]))
    assert (report.rows_read, report.rows_new, report.rows_rejected) == (3, 2, 1)
    assert rejected(store, report.load_id) == [
        {
            "line_no": 2,
            "reason": "`ordered_at` is not a time: “31/02/2011”; "
            "`amount_cents` is not an amount: “a lot”",
            "row": '{"order_no":"5","Customer":"eve","when":"31/02/2011","total":"a lot",'
            '"Country":null}',
        }
    ]
    assert report.reasons == {
        "`ordered_at` is not a time": 1,
        "`amount_cents` is not an amount": 1,
    }
    assert rejected(store, report.load_id, limit=0) == []


def test_lines_that_are_no_rows_keep_the_numbers_of_the_others(duck: Store, tmp_path: Path) -> None:
    """Quoted line ends, empty lines and wrong widths before a line do not shift its number."""
    file = tmp_path / "a.csv"
    file.write_text(
        "order_no,customer,when,total,country\n"
        '1,"an\nn",2026-01-05,1,AT\n'
        "\n"
        "2,bob\n"
        "3,bob,2026-01-05,1,AT,more\n"
        "4,bob,never,1,AT\n"
        "5,bob,2026-01-05,1,AT\n"
    )
    report = load(duck, file)
    assert [r[0] for r in stored(duck)] == ["1", "5"]
    assert [(r["line_no"], r["reason"]) for r in rejected(duck, report.load_id)] == [
        (2, "the line has 2 columns, the header 5"),
        (3, "the line has 6 columns, the header 5"),
        (4, "`ordered_at` is not a time: “never”"),
    ]
    assert json.loads(rejected(duck, report.load_id)[0]["row"]) == ["2", "bob"]


def test_json_lines_that_are_no_objects_are_rejected(duck: Store, tmp_path: Path) -> None:
    """By line, as text."""
    file = tmp_path / "a.jsonl"
    good = json.dumps(dict(zip(HEADER, ROWS[0], strict=True)))
    file.write_text(f"{good}\n{{broken\n[1, 2]\n")
    report = load(duck, file)
    assert report.rows_new == 1
    assert [(r["line_no"], json.loads(r["row"])) for r in rejected(duck, report.load_id)] == [
        (2, "{broken"),
        (3, "[1, 2]"),
    ]
    assert report.reasons == {"the line is not a JSON object": 2}


def test_a_key_that_comes_twice_counts_once_or_is_rejected(duck: Store, tmp_path: Path) -> None:
    """The same values: once. Others: the first line stays."""
    other = [*ROWS[0][:3], "99", "DE"]
    report = load(duck, write_csv(tmp_path / "a.csv", [ROWS[0], ROWS[1], ROWS[0], other]))
    assert (report.rows_new, report.rows_unchanged, report.rows_rejected) == (2, 1, 1)
    assert stored(duck) == LOADED[:2]
    assert rejected(duck, report.load_id)[0]["reason"] == (
        "`order_id` came before with other values, on line 1: “1”"
    )
    assert report.reasons == {"`order_id` came before with other values": 1}


def test_files_load_one_after_the_other(duck: Store, tmp_path: Path) -> None:
    """The later file's rows replace the earlier one's; each file is a load of its own."""
    a = write_csv(tmp_path / "a.csv", ROWS[:2])
    b = write_csv(tmp_path / "b.csv", [[*ROWS[0][:3], "1", "AT"]])
    report = load_files(duck, "orders", [a, b], ORDERS, source="shop", description="d")
    assert (report.rows_new, report.rows_changed, len(set(report.load_ids))) == (2, 1, 2)
    assert stored(duck)[0][4] == 100


def test_a_failing_load_leaves_the_store_as_it_was(store: Store, tmp_path: Path) -> None:
    """An error at the last moment undoes the whole file."""
    load(store, write_csv(tmp_path / "a.csv", ROWS[:1]))
    before = contents(store)

    def stop(done: int, total: int | None, phase: str) -> None:
        if phase == "recording":
            raise RuntimeError("stop")

    changed = [[*ROWS[0][:3], "77", "AT"], ROWS[1]]
    file = write_csv(tmp_path / "b.csv", changed)
    with pytest.raises(RuntimeError, match="stop"):
        load(store, file, progress=stop)
    assert contents(store) == before
    assert load(store, file).rows_changed == 1


def test_progress_is_told_in_order(duck: Store, tmp_path: Path) -> None:
    """Reading, checking, writing, recording, done; rows never go back."""
    told: list[tuple[int, int | None, str]] = []
    load(duck, write_csv(tmp_path / "a.csv", ROWS), progress=lambda *p: told.append(p))
    phases = [phase for _, _, phase in told]
    assert list(dict.fromkeys(phases)) == ["reading", "checking", "writing", "recording", "done"]
    assert told[-1] == (3, 3, "done")


WIDE_CONFIG: dict[str, Any] = {
    "reject": [{"when": {"price": {"not_above": 0}}, "because": "no price"}],
    "tables": [
        {
            "entity": "people",
            "by": ["user"],
            "columns": {
                "person_id": "user",
                "first_seen_at": {"from": "when", "pick": "earliest"},
                "country": {"from": "country", "pick": "last"},
            },
        },
        {
            "entity": "items",
            "by": ["sku"],
            "columns": {"item_id": "sku", "name": {"from": "title", "pick": "most"}},
        },
        {
            "entity": "orders",
            "by": ["no"],
            "columns": {
                "order_id": "no",
                "person_id": "user",
                "ordered_at": "when",
                "amount_cents": {"multiply": ["qty", "price"], "pick": "sum"},
            },
        },
        {
            "entity": "order_lines",
            "columns": {
                "order_id": "no",
                "line_no": {"running_number_in": "no"},
                "item_id": "sku",
                "quantity": "qty",
                "amount_cents": {"multiply": ["qty", "price"]},
            },
        },
    ],
}
WIDE = parse_mapping(WIDE_CONFIG)
WIDE_HEADER = "no,user,when,sku,title,qty,price,country\n"


def test_a_recipe_fills_several_tables_from_wide_lines(store: Store, tmp_path: Path) -> None:
    """An order is the sum of its taken lines; who has no account is no person."""
    file = tmp_path / "wide.csv"
    file.write_text(
        WIDE_HEADER
        + "A,ann,2026-01-02,x,Cup,3,0.85,AT\n"
        + "A,ann,2026-01-02,y,Jug,1,0,AT\n"
        + "A,ann,2026-01-02,x,Mug,1,0.85,DE\n"
        + "B,,2026-01-01,x,Mug,-1,0.85,AT\n"
        + "C,ann,2026-01-03,z,,2,1.005,FR\n"
    )
    report = load(store, file, WIDE)
    found = contents(store)
    assert [(p["person_id"], p["first_seen_at"].day, p["country"]) for p in found["people"]] == [
        ("ann", 2, "FR")
    ]
    assert [(i["item_id"], i["name"], i["is_product"]) for i in found["items"]] == [
        ("x", "Mug", True),
        ("z", None, True),
    ]
    assert [
        (o["order_id"], o["person_id"], o["kind"], o["amount_cents"]) for o in found["orders"]
    ] == [("A", "ann", "sale", 340), ("B", None, "return", -85), ("C", "ann", "sale", 201)]
    assert [
        (x["order_id"], x["line_no"], x["item_id"], x["amount_cents"]) for x in found["order_lines"]
    ] == [("A", 1, "x", 255), ("A", 2, "x", 85), ("B", 1, "x", -85), ("C", 1, "z", 201)]
    assert (report.rows_read, report.rows_rejected, report.reasons) == (5, 1, {"no price": 1})
    assert {e.entity: e.new for e in report.entities} == {
        "people": 1, "items": 2, "orders": 3, "order_lines": 4,
    }  # fmt: skip
    assert {s.entity for s in store.sources()} == {"people", "items", "orders", "order_lines"}


def test_first_seen_stays_the_earliest_over_files_in_any_order(
    store: Store, tmp_path: Path
) -> None:
    """A later file does not make an old customer new; an earlier one makes them older."""
    days = {"may": "2026-05-01", "june": "2026-06-01", "april": "2026-04-01"}
    for name in ("may", "june", "april"):
        file = tmp_path / f"{name}.csv"
        file.write_text(WIDE_HEADER + f"{name},ann,{days[name]},x,Cup,1,1,AT\n")
        load(store, file, WIDE)
        first = store.fork().column(sa.select(people.c.first_seen_at))
        assert first == [dt.datetime(2026, 4 if name == "april" else 5, 1)]


def test_ready_rows_merge_the_same_way(store: Store) -> None:
    """Arrow tables: columns that are missing are null, unknown ones are refused."""
    rows = pa.table(
        {
            "order_id": ["1", "2"],
            "ordered_at": pa.array([dt.datetime(2026, 1, 1)] * 2, pa.timestamp("us")),
            "kind": ["sale", "sale"],
            "amount_cents": [1, 2],
        }
    )
    about = {"source": "simulated", "description": "made up", "simulated": True}
    first = load_tables(store, {"orders": rows}, **about)  # type: ignore[arg-type]
    again = load_tables(store, {"orders": rows}, **about)  # type: ignore[arg-type]
    assert (first.rows_new, again.rows_new, again.rows_unchanged) == (2, 0, 2)
    assert store.sources()[0].simulated is True
    with pytest.raises(LoadError, match="orders has no column “total”"):
        load_tables(store, {"orders": rows.append_column("total", [[1, 2]])}, **about)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.csv", None, "gone.csv can't be read."),
        ("a.csv", b"", "a.csv is empty."),
        ("a.csv", b"x,y\n1,2\n", "The file has no column “Order No”."),
        ("a.csv", b"order_no,orderno,customer,when,total,country\n", "“Order No” could be"),
        ("a.xlsx", b"PK\x03\x04 no workbook", "a.xlsx is not an Excel workbook."),
        ("a.parquet", b"PAR1 no parquet", "a.parquet is not a Parquet file."),
        ("a.jsonl", b"1\n2\n", "a.jsonl holds no JSON objects."),
        ("a.json", b"[1, ", "a.json is not JSON."),
    ],
)
def test_files_that_cannot_be_loaded_say_why(
    duck: Store, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    """And leave no trace."""
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LoadError, match="^" + said.replace(".", r"\.")):
        load(duck, file)
    assert contents(duck)["loads"] == []


def test_the_entity_must_be_one_that_the_mapping_fills(duck: Store, tmp_path: Path) -> None:
    """Else the mapping is of another file."""
    with pytest.raises(LoadError, match="fills orders, not events"):
        load_files(duck, "events", [], ORDERS, source="s", description="d")


def test_a_header_without_rows_loads_nothing(store: Store, tmp_path: Path) -> None:
    """It is no error, and is recorded."""
    report = load(store, write_csv(tmp_path / "a.csv", []))
    assert (report.rows_read, report.nothing_changed) == (0, True)
    assert len(contents(store)["loads"]) == 1


def test_a_sample_has_the_first_rows(tmp_path: Path) -> None:
    """By column, a second column of the same name under a name of its own."""
    file = tmp_path / "a.csv"
    file.write_text("a,a,\n1,2,3\n4,,6\n")
    names = ["a", "a (2)", "column 3"]
    assert sample_of(file, rows=1) == (names, [dict(zip(names, "123", strict=True))])


def test_many_rejected_rows_are_all_kept(duck: Store, tmp_path: Path) -> None:
    """More than one batch of the reader."""
    rows = [[str(i), "ann", "never", "1", None] for i in range(3000)]
    report = load(duck, write_csv(tmp_path / "a.csv", rows))
    chosen = sa.select(sa.func.count()).select_from(rejected_rows)
    assert (report.rows_rejected, duck.fork().column(chosen)) == (3000, [3000])


# blanks of other scripts count as blanks: only the plain one is tried around a text
ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
PLAIN = ANY.filter(lambda c: c == " " or not c.isspace() or c in "\r\n\t")
TEXTS = st.text(PLAIN, max_size=20)
RECORDS = st.lists(
    st.tuples(
        TEXTS.filter(lambda t: bool(t.strip(" "))),
        TEXTS,
        st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2199, 12, 31)),
        st.integers(-(10**13), 10**13),
        TEXTS,
    ),
    max_size=12,
    unique_by=lambda r: r[0].strip(" "),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(records=RECORDS, delimiter=st.sampled_from(",;\t|"))
def test_what_is_written_as_csv_comes_back(
    tmp_path: Path, records: list[tuple[Any, ...]], delimiter: str
) -> None:
    """Any text, instant and amount, but for blanks around a text."""
    rows = [
        [no, who, at.isoformat(), f"{'-' if c < 0 else ''}{abs(c) // 100}.{abs(c) % 100:02}", where]
        for no, who, at, c, where in records
    ]
    file = tmp_path / "any.csv"
    file.write_text(text(rows, delimiter, csv.QUOTE_ALL), encoding="utf-8", newline="")
    store = Store.open("duckdb:///:memory:")
    report = load(store, file)
    expected = sorted(
        (
            no.strip(" "),
            who.strip(" ") or None,
            at,
            "return" if cents < 0 else "sale",
            cents,
            where.strip(" ") or None,
        )
        for no, who, at, cents, where in records
    )
    assert sorted(stored(store)) == expected
    assert report.rows_rejected == 0
    store.close()
