"""Stores to ask: the demo, several demos in one, and files that hold made-up people."""

import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from analytics.command import Context
from analytics.period import morning_after
from analytics.result import Result, Table
from bot.dispatch import answer
from storage.demo.install import install_demo
from storage.demo.real import CURRENCY, ZONE
from storage.store import Store

#: Which columns of the demo bear ids that a copy must change.
IDS = {
    "people": ("person_id",),
    "orders": ("order_id", "person_id"),
    "order_lines": ("order_id",),
    "events": ("event_id", "person_id", "session_id", "order_id"),
    "exposures": ("person_id",),
    "ratings": ("rating_id", "person_id"),
}


@contextmanager
def asking(file: Path, question: str) -> Iterator[Callable[[], Result]]:
    """Our side: the question through the bot's own path, from text to Result."""
    store = Store.open(f"duckdb:///{file}")
    through, zone = store.data_through(), ZoneInfo(ZONE)
    assert through
    ctx = Context(store=store, now=morning_after(through, zone), zone=zone, currency=CURRENCY)
    try:
        yield lambda: answer(question, ctx).result
    finally:
        store.close()


@contextmanager
def scripted(
    file: Path, script: Callable[..., object], **said: object
) -> Iterator[Callable[[], object]]:
    """Their side: a script over a connection of its own."""
    with duckdb.connect(str(file), read_only=True) as connection:
        yield lambda: script(connection, **said)


def demo_file(folder: Path) -> Path:
    """The demo shop in a file."""
    file = folder / "demo.duckdb"
    store = Store.open(f"duckdb:///{file}")
    install_demo(store)
    store.close()
    return file


def several(demo: Path, times: int) -> Path:
    """The demo, and copies of it with ids of their own on the same days; items are shared."""
    file = demo.with_name(f"demo-{times}.duckdb")
    shutil.copyfile(demo, file)
    with duckdb.connect(str(file)) as connection:
        for table, ids in IDS.items():
            changed = ", ".join(f"{i} || '-' || n AS {i}" for i in ids)
            connection.execute(
                f"INSERT INTO {table} SELECT t.* REPLACE ({changed}) "
                f"FROM (FROM {table}) t, range(1, {times}) r(n)"
            )
    return file


def twin_of(file: Path) -> Path:
    """A copy for the script: one file can't be open twice with different settings."""
    twin = file.with_name(f"{file.stem}-twin.duckdb")
    shutil.copyfile(file, twin)
    return twin


def shop_of(file: Path, tables: dict[str, pa.Table]) -> Path:
    """A new store of these rows."""
    store = Store.open(f"duckdb:///{file}")
    with store.engine.writing() as writer:
        for name, rows in tables.items():
            writer.append(name, rows)
    store.close()
    return file


def order_table(ids: pa.Array, people: pa.Array, at: pa.Array, cents: pa.Array) -> pa.Table:
    """Orders of which no more is known than this."""
    rows = len(ids)
    return pa.table(
        {
            "order_id": ids,
            "person_id": people,
            "ordered_at": at.cast(pa.timestamp("us")),
            "kind": pa.array(["sale"] * rows),
            "amount_cents": cents,
            **{name: pa.nulls(rows, pa.string()) for name in ("country", "channel", "device")},
            "source": pa.array(["benchmark"] * rows),
        }
    )


def first_table(result: Result) -> list[dict[str, object]]:
    """The rows of a result's first table as dicts."""
    table = next(p for p in result.parts if isinstance(p, Table))
    keys = [c.key for c in table.columns]
    return [dict(zip(keys, row, strict=True)) for row in table.rows]


#: The day after the last row of everything made up here.
TODAY = dt.date(2011, 12, 10)
