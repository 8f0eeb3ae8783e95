"""What each engine does beyond compiling: opening, writing, cancelling; and that they agree."""

import contextlib
import datetime as dt
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa

from storage import sql
from storage.engines import (
    OutOfMemoryError,
    QueryCancelledError,
    Running,
    StoreError,
    StoreUnavailableError,
    open_engine,
)
from storage.engines.lite import sqlite_column
from storage.schema import EPOCH, events, items, metadata, order_lines, orders
from storage.store import Store
from tests.conftest import fill

HOUR = dt.timedelta(hours=1)


def count(store: Store, table: sa.Table) -> int:
    """The number of rows of a table."""
    return int(store.row(sa.select(sql.icount().label("n")).select_from(table))["n"])


def item(item_id: str, **more: Any) -> dict[str, Any]:
    """An item."""
    return {"item_id": item_id, "is_product": True, **more}


# --- opening ------------------------------------------------------------------------------------


def test_a_store_opens_twice_and_keeps_its_rows(
    engine_name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = (
        request.getfixturevalue("new_database")()
        if engine_name == "postgresql"
        else f"{engine_name}:///{tmp_path / 'deep' / 'er' / 'store.db'}"
    )
    first = Store.open(url)
    fill(first, items=[item("1")])
    assert first.engine.table_names() == set(metadata.tables)
    first.close()
    second = Store.open(url)
    assert count(second, items) == 1
    second.close()


def test_the_version_names_the_engine(store: Store, engine_name: str) -> None:
    name, number = store.engine.version.split()
    assert name.lower() == engine_name
    assert number[0].isdigit()


def test_a_view_in_the_place_of_a_table_is_left_alone(
    engine_name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """People may have their own tables behind our names."""
    url = (
        request.getfixturevalue("new_database")()
        if engine_name == "postgresql"
        else f"{engine_name}:///{tmp_path / 'store.db'}"
    )
    engine = open_engine(url)
    with engine.writing() as writer:
        writer.run(sa.text("CREATE VIEW consents AS SELECT 1 AS person_id"))
    engine.create_tables()
    assert "consents" in engine.table_names()
    engine.close()


def test_threads_that_open_a_new_postgresql_store_at_once_all_succeed(new_database: Any) -> None:
    url = new_database()
    together(lambda _: Store.open(url).close(), threads=6)


@pytest.mark.parametrize(
    ("url", "says", "hints"),
    [
        ("mysql://host/db", "kind “mysql”", "duckdb:///"),
        ("nonsense", "no URL", "duckdb:///"),
        ("", "no URL", "duckdb:///"),
        ("user:secret@host/db", "kind “user”", "duckdb:///"),
        ("duckdb://", "names no file", "three slashes"),
        ("sqlite:", "names no file", "three slashes"),
        ("duckdb:////dev/null/x/store.db", "can't be made", "who may write"),
        ("sqlite:////dev/null/x/store.db", "can't be made", "who may write"),
        ("postgresql://nobody:secret@127.0.0.1:1/none", "can't be reached", "password"),
        ("postgresql://nobody@no-such-host.invalid/none", "can't be reached", "host"),
        ("postgresql://host:no-port/none", "can't be reached", "host"),
    ],
)
def test_a_store_that_cannot_be_opened_says_what_to_do(url: str, says: str, hints: str) -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        open_engine(url)
    assert says in caught.value.message
    assert hints in caught.value.hint
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("engine", ["duckdb", "sqlite"])
def test_a_file_of_another_kind_is_refused_and_kept(engine: str, tmp_path: Path) -> None:
    """Even where its path has the word "lock" in it."""
    path = tmp_path / "clock.txt"
    path.write_text("I am a letter, not a store. " * 200)
    with pytest.raises(StoreUnavailableError, match="can't be opened"):
        open_engine(f"{engine}:///{path}")
    assert path.read_text().startswith("I am a letter")


def test_a_missing_database_is_refused(postgres_url: str) -> None:
    with pytest.raises(StoreUnavailableError, match="can't be reached") as caught:
        open_engine(postgres_url.replace("/postgres?", "/no_such_database?"))
    assert "database" in caught.value.hint


def test_a_duckdb_file_that_another_process_holds_says_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True);"
            " sys.stdin.read()",
            str(path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreUnavailableError, match="Another process has the store") as caught:
            open_engine(f"duckdb:///{path}")
        assert "one process" in caught.value.hint
    finally:
        holder.stdin.close()
        holder.wait(30)
        holder.stdout.close()
    Store.open(f"duckdb:///{path}").close()


def test_a_sqlite_file_that_another_connection_writes_is_said_to_be_busy(tmp_path: Path) -> None:
    """A writer of ours waits; one that waits too long says why."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    first, second = Store.open(url), Store.open(url)
    with first.engine.writing():
        with second.engine._pool.lent() as connection:  # type: ignore[attr-defined]
            connection.execute("PRAGMA busy_timeout=1")
        with (
            pytest.raises(StoreUnavailableError, match="writing to the store"),
            second.engine.writing(),
        ):
            pass
    first.close()
    second.close()


def test_duckdb_reads_no_files_and_changes_no_settings(tmp_path: Path) -> None:
    """A query cannot reach beside the store, whatever it is made of."""
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    engine = open_engine(f"duckdb:///{tmp_path / 'store.duckdb'}")
    for text in (
        f"SELECT * FROM read_csv('{secret}')",
        f"SELECT * FROM '{secret}'",
        f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
        f"ATTACH '{tmp_path / 'other.db'}'",
        "SET enable_external_access = true",
    ):
        with pytest.raises((duckdb.Error, StoreError)):
            engine.fetch(text, (), Running())
    assert sorted(p.name for p in tmp_path.glob("o*")) == []
    engine.close()


def test_duckdb_beyond_its_memory_says_so(tmp_path: Path) -> None:
    engine = open_engine(f"duckdb:///{tmp_path / 's.duckdb'}", memory_limit="60MB", threads=1)
    with pytest.raises(OutOfMemoryError, match="more memory") as caught:
        engine.fetch("SELECT len(list(i)) FROM range(20000000) t(i)", (), Running())
    assert "memory_limit" in caught.value.hint
    engine.close()


def test_a_duckdb_limit_that_is_no_size_is_refused() -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        open_engine("duckdb:///:memory:", memory_limit="a lot")
    assert "memory_limit" in caught.value.hint


def test_postgresql_reads_cannot_write(new_database: Any) -> None:
    engine = open_engine(new_database())
    with pytest.raises(Exception, match="read-only transaction"):
        engine.fetch("CREATE TABLE t (a int)", (), Running())
    assert engine.table_names() == set()
    engine.close()


@pytest.mark.parametrize(
    ("limit", "sort"),
    [("", "64MB"), ("8GiB", "256MB"), ("1 MiB", "4MB"), ("80%", "64MB")],
)
def test_postgresql_reads_have_memory_by_the_limit(
    new_database: Any, limit: str, sort: str
) -> None:
    engine = open_engine(new_database(), memory_limit=limit)
    names = ("work_mem", "hash_mem_multiplier", "jit", "transaction_read_only")
    sql = "SELECT " + ", ".join(f"current_setting('{name}') AS {name}" for name in names)
    (found,) = engine.fetch(sql, (), Running()).to_pylist()
    assert found == {
        "work_mem": sort,
        "hash_mem_multiplier": "4",
        "jit": "off",
        "transaction_read_only": "on",
    }
    engine.close()


def test_a_postgresql_user_without_rights_is_told_so(postgres_url: str, new_database: Any) -> None:
    """And reads what is there: an analyst's role needs SELECT alone."""
    import psycopg

    url = new_database()
    Store.open(url).close()
    role = f"reader_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")  # type: ignore[arg-type]
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")  # type: ignore[arg-type]
    reader = Store.open(url.replace("//postgres:", f"//{role}:"))
    try:
        assert count(reader, items) == 0
        with pytest.raises(StoreUnavailableError, match="does not allow") as caught:
            fill(reader, items=[item("1")])
        assert "Grant" in caught.value.hint
    finally:
        reader.close()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {role}")  # type: ignore[arg-type]
            connection.execute(f"DROP ROLE {role}")  # type: ignore[arg-type]


def test_postgresql_connections_that_the_server_ends_are_replaced(new_database: Any) -> None:
    import psycopg

    url = new_database()
    store = Store.open(url)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    end += " AND datname = current_database()"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(end)
    with contextlib.suppress(StoreUnavailableError):
        count(store, items)
    assert count(store, items) == 0
    store.close()


# --- writing ------------------------------------------------------------------------------------


class OnPurposeError(Exception):
    """Raised by a test inside a transaction."""


def test_a_writer_that_raises_leaves_nothing_behind(store: Store) -> None:
    fill(store, items=[item("kept")])
    rows = pa.table({"item_id": ["lost"], "is_product": [True], "source": ["test"]})

    def write() -> None:
        with store.engine.writing() as writer:
            writer.append("items", rows)
            writer.append("staged", rows, temporary=True)
            writer.run(sa.delete(items).where(items.c.item_id == "kept"))
            raise OnPurposeError

    with pytest.raises(OnPurposeError):
        write()
    assert store.column(sa.select(items.c.item_id)) == ["kept"]
    fill(store, items=[item("next")])
    assert count(store, items) == 2


def test_a_statement_that_fails_undoes_the_whole_transaction(store: Store) -> None:
    rows = pa.table({"item_id": ["lost"], "is_product": [True], "source": ["test"]})
    broken = sa.text("INSERT INTO items (item_id) VALUES ('without what must be there')")

    def write() -> None:
        with store.engine.writing() as writer:
            writer.append("items", rows)
            writer.run(broken)

    with pytest.raises(Exception, match=r"(?i)not.null"):
        write()
    assert count(store, items) == 0
    assert store.engine.table_names() == set(metadata.tables)


def test_a_writer_sees_its_own_rows_and_nobody_else_does_before_the_end(store: Store) -> None:
    mine = sa.select(items.c.item_id)
    rows = pa.table({"item_id": ["1"], "is_product": [True], "source": ["test"]})
    with store.engine.writing() as writer:
        writer.append("items", rows)
        assert writer.fetch(mine).column(0).to_pylist() == ["1"]
        assert store.column(mine) == []
    assert store.column(mine) == ["1"]


def test_a_temporary_table_ends_with_its_transaction(store: Store) -> None:
    """So that the next load may use the name again."""
    staged = sa.table("staged", sa.column("item_id", sa.Text), sa.column("size", sa.BigInteger))
    for size in (1, 2):
        with store.engine.writing() as writer:
            rows = pa.table({"item_id": ["it's"], "size": pa.array([size], pa.int64())})
            writer.append("staged", rows, temporary=True)
            assert writer.fetch(sa.select(staged.c.size)).column(0).to_pylist() == [size]
    with pytest.raises(StoreUnavailableError, match="lacks a table"):
        store.rows(sa.select(staged.c.size))


def test_rows_are_matched_by_name_and_what_is_left_out_is_null(store: Store) -> None:
    at = dt.datetime(1969, 12, 31, 23, 59, 59, 999_999)
    rows = pa.table(
        {
            "source": ["test"],
            "at": pa.array([at], pa.timestamp("us")),
            "name": ["visit"],
            "person_id": ["p"],
            "event_id": ["e"],
        }
    )
    with store.engine.writing() as writer:
        writer.append("events", rows)
    row = store.row(sa.select(events))
    assert {k: v for k, v in row.items() if v is not None} == rows.to_pylist()[0]


def test_writers_take_turns(store: Store) -> None:
    def write(n: int) -> None:
        with store.engine.writing() as writer:
            for i in range(20):
                values = {"item_id": f"{n}-{i}", "is_product": True, "source": "test"}
                writer.run(sa.insert(items).values(**values))

    together(write, threads=4)
    assert count(store, items) == 80


# --- many threads -------------------------------------------------------------------------------


def together(work: Any, *, threads: int) -> list[Any]:
    """Runs `work(0..n-1)` in threads that start at one moment; raises what one of them raised."""
    results: list[Any] = [None] * threads
    faults: list[BaseException] = []
    line = threading.Barrier(threads)

    def run(n: int) -> None:
        try:
            line.wait(30)
            results[n] = work(n)
        except BaseException as error:  # noqa: BLE001 - raised again below
            faults.append(error)

    workers = [threading.Thread(target=run, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    if faults:
        raise faults[0]
    return results


def test_eight_threads_read_one_store_at_once(store: Store) -> None:
    fill(store, items=[item(str(i), category=f"c{i % 5}") for i in range(1000)])

    def work(n: int) -> list[int]:
        fork = store.fork()
        got = [
            fork.row(
                sa.select(sql.icount().label("n")).where(items.c.category == f"c{(n + k) % 6}")
            )["n"]
            for k in range(12)
        ]
        assert len(fork.reads) == 12
        return got

    for n, got in enumerate(together(work, threads=8)):
        assert got == [0 if (n + k) % 6 == 5 else 200 for k in range(12)]


def test_an_in_memory_sqlite_store_is_one_store_for_all_threads() -> None:
    store = Store.open("sqlite:///:memory:")
    fill(store, items=[item("1")])

    def work(n: int) -> int:
        if n % 2:
            fill(store, items=[item(f"more {n}")])
        return count(store, items)

    assert all(1 <= n <= 5 for n in together(work, threads=8))
    assert count(store, items) == 5
    store.close()


def test_threads_that_come_and_go_leave_no_connections_behind(new_database: Any) -> None:
    """A server allows a hundred."""
    store = Store.open(new_database())
    for _ in range(150):
        together(lambda _: count(store, items), threads=1)
    activity = sa.table("pg_stat_activity", sa.column("datname", sa.Text))
    mine = sa.select(sql.icount().label("n")).where(
        activity.c.datname == sa.func.current_database()
    )
    assert store.row(mine.select_from(activity))["n"] <= 2
    store.close()


# --- cancelling ---------------------------------------------------------------------------------


def endless() -> sa.Select[*tuple[Any, ...]]:
    """A query that no test waits for: counts to 10**11 by recursion."""
    numbers = sa.select(sa.cast(sa.literal(0), sa.BigInteger).label("i")).cte(
        "numbers", recursive=True
    )
    numbers = numbers.union_all(sa.select(numbers.c.i + 1).where(numbers.c.i < 10**11))
    return sa.select(sql.icount().label("n")).select_from(numbers)


class Watched(Running):
    """A query that tells when it has begun."""

    def __init__(self) -> None:
        """Not begun."""
        super().__init__()
        self.begun = threading.Event()

    def start(self, interrupt: Any) -> None:
        """Begin, and tell."""
        super().start(interrupt)
        self.begun.set()


def test_a_cancel_from_another_thread_ends_a_query_and_the_engine_lives_on(store: Store) -> None:
    """Also one that comes before the engine has begun, which engines forget."""
    running = Watched()
    store._running = running
    cancelled_at: list[float] = []

    def cancel() -> None:
        assert running.begun.wait(30)
        cancelled_at.append(time.monotonic())
        store.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(QueryCancelledError, match="was cancelled"):
        store.arrow(endless())
    assert time.monotonic() - cancelled_at[0] < 5
    canceller.join(30)
    with pytest.raises(QueryCancelledError, match="was cancelled"):
        store.rows(sa.select(items.c.item_id))
    assert count(store.fork(), items) == 0


def test_a_cancel_in_the_middle_of_a_query_ends_it_too(store: Store) -> None:
    timer = threading.Timer(0.4, store.cancel)
    timer.start()
    started = time.monotonic()
    with pytest.raises(QueryCancelledError, match="was cancelled"):
        store.arrow(endless())
    assert time.monotonic() - started < 6
    timer.join(30)


def test_a_cancel_touches_no_other_question(store: Store) -> None:
    one, other = store.fork(), store.fork()
    one.cancel()
    one.cancel()
    assert count(other, items) == 0


def test_the_time_limit_says_that_it_was_the_time(store: Store) -> None:
    limited = Store(store.engine, seconds_limit=0.3)
    with pytest.raises(QueryCancelledError, match="longer than the time limit") as caught:
        limited.arrow(endless())
    assert "shorter period" in caught.value.hint
    with pytest.raises(QueryCancelledError, match="longer than the time limit"):
        limited.rows(sa.select(items.c.item_id))
    assert count(limited.fork(), items) == 0


def test_a_missing_table_says_to_load_first(store: Store) -> None:
    nowhere = sa.table("nowhere", sa.column("x", sa.BigInteger))
    with pytest.raises(StoreUnavailableError, match="lacks a table") as caught:
        store.rows(sa.select(nowhere.c.x))
    assert "load" in caught.value.hint
    assert "nowhere" not in caught.value.message
    assert "nowhere" in caught.value.detail


def test_a_column_that_mixes_kinds_in_sqlite_comes_back_as_one_kind() -> None:
    assert sqlite_column([1, "x", None]).to_pylist() == ["1", "x", None]
    assert sqlite_column([None, None]).type == pa.null()
    assert sqlite_column([2**60 + 1, 0.5, None]).to_pylist() == [2.0**60, 0.5, None]


# --- the engines agree --------------------------------------------------------------------------


def small_shop() -> dict[str, list[dict[str, Any]]]:
    """A shop of 60 people and 1,500 events over 70 days, made with a fixed seed."""
    rng = random.Random(20261010)
    start = dt.datetime(2026, 3, 1)
    names = ("visit", "view_item", "add_to_cart", "order")
    seen, bought, lines = [], [], []
    for i in range(1500):
        at = start + dt.timedelta(microseconds=rng.randrange(70 * 86_400 * 10**6))
        at = at.replace(microsecond=999_999) if i % 7 == 0 else at
        seen.append(
            {
                "event_id": f"e{i}",
                "person_id": f"p{rng.randrange(60)}",
                "at": at,
                "name": rng.choices(names, (6, 4, 2, 1))[0],
                "properties": json.dumps({"price": rng.randrange(100), "ü": "it's"}),
            }
        )
    for i in range(250):
        bought.append(
            {
                "order_id": f"o{i}",
                "person_id": None if i % 11 == 0 else f"p{rng.randrange(60)}",
                "ordered_at": start + dt.timedelta(seconds=rng.randrange(70 * 86_400)),
                "kind": "sale",
                "amount_cents": rng.randrange(1, 100_000),
                "country": rng.choice(["DE", "EG", None]),
            }
        )
        lines.extend(
            {
                "order_id": f"o{i}",
                "line_no": k,
                "item_id": f"i{rng.randrange(8)}",
                "quantity": 1,
                "amount_cents": 100,
            }
            for k in range(rng.randrange(1, 5))
        )
    return {"events": seen, "orders": bought, "order_lines": lines}


def people_features(store: Store) -> sa.Select[*tuple[Any, ...]]:
    """Sessions, active days, retention week 1, RFM and a bucket: one row per person."""
    at = sql.epoch_s(events.c.at)
    before = sa.func.lag(at, 1, -(10**9)).over(partition_by=events.c.person_id, order_by=at)
    stepped = sa.select(
        events.c.person_id,
        at.label("s"),
        sql.local_day(events.c.at, "Africa/Cairo").label("day"),
        sa.case((at - before > 1800, 1), else_=0).label("opens"),
        sa.cast(sql.json_text(events.c.properties, "price"), sa.BigInteger).label("price"),
    ).cte("stepped")
    first = (
        sa.select(stepped.c.person_id, sa.func.min(stepped.c.day).label("day0"))
        .group_by(stepped.c.person_id)
        .cte("first")
    )
    week = sql.idiv(stepped.c.day - first.c.day0, 7)
    behaviour = (
        sa.select(
            stepped.c.person_id,
            sql.isum(stepped.c.opens).label("sessions"),
            sa.func.count(stepped.c.day.distinct()).label("days"),
            sa.func.max(sa.case((week == 1, 1), else_=0)).label("back"),
            sql.isum(stepped.c.price).label("price"),
        )
        .join(first, first.c.person_id == stepped.c.person_id)
        .group_by(stepped.c.person_id)
        .cte("behaviour")
    )
    money = (
        sa.select(
            orders.c.person_id,
            sa.func.max(orders.c.ordered_at).label("last_at"),
            sql.icount().label("orders"),
            sql.isum(orders.c.amount_cents).label("cents"),
            sql.sum_of_squares(orders.c.amount_cents).label("squares"),
        )
        .where(orders.c.person_id.is_not(None))
        .group_by(orders.c.person_id)
        .cte("money")
    )
    return (
        sa.select(
            behaviour,
            money.c.last_at,
            sa.func.coalesce(money.c.orders, 0).label("orders"),
            sa.func.coalesce(money.c.cents, 0).label("cents"),
            money.c.squares,
            sql.bucket(behaviour.c.person_id, 10).label("bucket"),
        )
        .outerjoin(money, money.c.person_id == behaviour.c.person_id)
        .order_by(behaviour.c.person_id)
    )


def shop_numbers(store: Store) -> sa.CompoundSelect[*tuple[Any, ...]]:
    """Rolling actives, an ordered funnel within 7 days, pairs, moments and medians as one list."""
    day = sql.epoch_day(events.c.at).label("day")
    active = sa.select(day, events.c.person_id).distinct().cte("active")
    days = sa.select(active.c.day).distinct().cte("days")
    rolling = (
        sa.select(
            sa.literal("rolling").label("what"),
            days.c.day.label("k"),
            sql.dbl(sa.func.count(active.c.person_id.distinct())).label("v"),
        )
        .join(active, sa.and_(active.c.day <= days.c.day, active.c.day > days.c.day - 7))
        .group_by(days.c.day)
    )
    at = sql.epoch_s(events.c.at)
    started = sa.func.max(sa.case((events.c.name == "view_item", at))).over(
        partition_by=events.c.person_id,
        order_by=(at, events.c.event_id),
        rows=(None, 0),
    )
    chained = sa.select(
        events.c.person_id, events.c.name, at.label("s"), started.label("started")
    ).cte("chained")
    funnel = sa.select(
        sa.literal("funnel"),
        sa.literal(1),
        sql.dbl(sa.func.count(chained.c.person_id.distinct())),
    ).where(chained.c.name == "order", chained.c.s - chained.c.started <= 7 * 86_400)
    left, right = order_lines.alias("l"), order_lines.alias("r")
    pairs = (
        sa.select(sa.literal("pair"), sql.bucket(left.c.item_id, 1000), sql.dbl(sql.icount()))
        .join(
            right,
            sa.and_(left.c.order_id == right.c.order_id, left.c.item_id < right.c.item_id),
        )
        .group_by(left.c.item_id, right.c.item_id)
    )
    split = sa.select(
        sql.bucket(orders.c.order_id, 7).label("arm"), orders.c.amount_cents.label("cents")
    ).subquery()
    moments = sa.select(
        sa.literal("log"), split.c.arm, sql.dsum(sql.natural_log1p(split.c.cents))
    ).group_by(split.c.arm)
    daily = sa.select(
        sql.epoch_day(orders.c.ordered_at).label("day"), orders.c.amount_cents.label("cents")
    ).subquery()
    half = sql.percentiles(
        daily, ("day",), "cents", {"half": 0.5}, store.engine.dialect.name
    ).subquery()
    medians = sa.select(sa.literal("median"), half.c.day, half.c.half)
    return sa.union_all(rolling, funnel, pairs, moments, medians)


def digest(rows: list[dict[str, Any]]) -> str:
    """A digest of rows in a fixed order, doubles at 10 digits."""
    lines = sorted(
        "|".join(f"{v:.10g}" if isinstance(v, float) else str(v) for v in row.values())
        for row in rows
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_the_engines_give_the_same_rows_for_hard_questions(
    tmp_path: Path, new_database: Any
) -> None:
    shop = small_shop()
    digests: dict[str, tuple[str, str]] = {}
    for url in (
        f"duckdb:///{tmp_path / 's.duckdb'}",
        f"sqlite:///{tmp_path / 's.sqlite'}",
        new_database(),
    ):
        store = Store.open(url)
        fill(store, **shop)
        features, numbers = store.rows(people_features(store)), store.rows(shop_numbers(store))
        assert len(features) == 60
        assert sum(r["sessions"] for r in features) > 1000
        assert {r["what"] for r in numbers} == {"rolling", "funnel", "pair", "log", "median"}
        # two figures by plain Python, so that all three cannot be wrong together
        assert sum(r["price"] for r in features) == sum(
            json.loads(e["properties"])["price"] for e in shop["events"]
        )
        assert max(r["v"] for r in numbers if r["what"] == "rolling") == most_active(shop)
        digests[store.engine.name] = (digest(features), digest(numbers))
        store.close()
    assert len(set(digests.values())) == 1, digests


def most_active(shop: dict[str, list[dict[str, Any]]]) -> int:
    """The most people active in 7 days that end on a day with activity."""
    pairs = {((e["at"] - EPOCH).days, e["person_id"]) for e in shop["events"]}
    return max(len({p for d, p in pairs if day - 7 < d <= day}) for day, _ in pairs)


def test_an_instant_that_the_statement_gives_no_type_compares_as_one(store: Store) -> None:
    fill(
        store,
        orders=[
            {"order_id": "1", "ordered_at": at, "kind": "sale", "amount_cents": 1}
            for at in [dt.datetime(2026, 3, 1)]
        ],
    )
    inner = sa.select(orders.c.ordered_at.label("at")).subquery()
    late = sa.case((inner.c["at"] >= sa.literal(dt.datetime(2026, 2, 1)), 1), else_=0)
    early = sa.case((inner.c["at"] < sa.literal(dt.datetime(2026, 2, 1)), 1), else_=0)
    assert store.row(sa.select(late.label("late"), early.label("early"))) == {
        "late": 1,
        "early": 0,
    }
