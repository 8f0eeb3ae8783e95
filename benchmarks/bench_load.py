"""load: CSV files of orders, some of whose rows are bad, in growing sizes."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pandas as pd
import sqlalchemy as sa

from benchmarks.plain import load as script
from benchmarks.side_by_side import Case, Row, measure, same
from storage.load.load import LoadReport, load_files
from storage.load.mapping import parse_mapping
from storage.schema import orders
from storage.sql import icount, isum
from storage.store import Store

MAPPING = {
    "entity": "orders",
    "timezone": script.ZONE,
    "columns": {
        "order_id": "Order",
        "person_id": "Customer",
        "ordered_at": {"from": "Placed", "format": "%Y-%m-%d %H:%M:%S"},
        "kind": {"constant": "sale"},
        "amount_cents": {"from": "Amount", "as": "money"},
        "country": "Country",
    },
}


@contextmanager
def loading(file: Path) -> Iterator[Callable[[], tuple[LoadReport, int, int]]]:
    """Our side: the file into a new store each time, with bad rows kept and reasoned."""
    mapping = parse_mapping(MAPPING)

    def ask() -> tuple[LoadReport, int, int]:
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            store = Store.open(f"duckdb:///{folder}/store.duckdb")
            report = load_files(store, "orders", [file], mapping, source="s", description="d")
            held = sa.select(icount().label("rows"), isum(orders.c.amount_cents).label("pence"))
            row = store.row(held)
            store.close()
        return report, row["rows"], row["pence"]

    yield ask


@contextmanager
def scripted(file: Path) -> Iterator[Callable[[], tuple[int, int, pd.DataFrame]]]:
    """Their side: the same, with bad rows dropped."""

    def ask() -> tuple[int, int, pd.DataFrame]:
        with (
            tempfile.TemporaryDirectory(dir=file.parent) as folder,
            duckdb.connect(f"{folder}/store.duckdb") as connection,
        ):
            return script.load(connection, file)

    yield ask


def agree(ours: tuple[LoadReport, int, int], theirs: tuple[int, int, pd.DataFrame]) -> None:
    """As many rows taken and refused, and their amount to the penny."""
    report, rows, pence = ours
    same("rows", rows, theirs[0])
    same("pence", pence, theirs[1])
    same("refused", report.rows_rejected, len(theirs[2]))


def growing(folder: Path, *, full: bool) -> Iterator[Row]:
    """A tenth of a million rows, a million and, in full, five."""
    for n in (100_000, 1_000_000, 5_000_000) if full else (100_000, 1_000_000):
        file = csv(folder / f"orders-{n}.csv", n)
        case = Case("load orders", n, "rows", loading, scripted, agree)
        yield measure(case, file, file, repeats=3 if n < 500_000 else 1)
        file.unlink()


def csv(file: Path, n: int) -> Path:
    """`n` orders over a year, one in a thousand with an amount or a time that can't be read."""
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT 'o' || i AS \"Order\", 'p' || hash(i) % 200000 AS Customer, "
            "CASE WHEN i % 2000 = 7 THEN 'soon' ELSE strftime(TIMESTAMP '2011-01-01 09:00:00' "
            "+ INTERVAL (i * 31536000 // $1) SECOND, '%Y-%m-%d %H:%M:%S') END AS Placed, "
            "CASE WHEN i % 2000 = 13 THEN 'n/a' ELSE (hash(i * 7) % 100000 / 100)::DECIMAL(9,2) "
            "::VARCHAR END AS Amount, "
            "['France', 'Spain', 'United Kingdom', ''][1 + (hash(i * 3) % 4)::INT] AS Country "
            f"FROM range($1) r(i)) TO '{file}' (HEADER)",
            [n],
        )
    return file
