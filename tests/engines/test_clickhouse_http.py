"""ClickHouse over HTTP: the engine behind a front of ours, which tells what it was asked."""

import dataclasses
import datetime as dt
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from analytics.command import Context
from analytics.errors import DataUnavailableError
from bot.dispatch import answer
from bot.moving import questions, told
from storage.copying import copy_store
from storage.engines import (
    OutOfMemoryError,
    QueryCancelledError,
    StoppedError,
    StoreUnavailableError,
    clickhouse,
    open_engine,
)
from storage.engines.clickhouse import ClickhouseEngine
from storage.schema import items, orders
from storage.sql import icount
from storage.store import Store
from tests.conftest import fill
from tests.engines.clickhouse_front import BUSY, HANG_UP, Server, started

pytestmark = [pytest.mark.engines]

PROMPTLY_S = 5
NUMBERS = sa.table("numbers", sa.column("number", sa.BigInteger), schema="system")


def endless(tag: str) -> Any:
    """A question that is never answered, told by its tag among what the front was asked."""
    counted = sa.select(icount().label("n")).select_from(NUMBERS)
    return counted.where(NUMBERS.c.number * NUMBERS.c.number % 7 < 6, sa.literal(tag) != "")


def saying(text: str) -> Any:
    return sa.select(sa.literal(text, sa.Text).label("said"))


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started(tmp_path_factory.mktemp("front")) as server:
        yield server


@pytest.fixture(scope="module")
def served(shop: Context, front: Server) -> Iterator[Context]:
    """The demo shop, as `copy-store` brings it there."""
    store = Store.open(front.url())
    assert all(t.moved == t.rows for t in copy_store(shop.store, store))
    yield dataclasses.replace(shop, store=store)
    store.close()


@pytest.fixture
def opened(front: Server, served: Context) -> Iterator[Callable[..., Store]]:
    """Opens stores at the front, with the shop in `shop`: `opened(user, database)`."""
    stores = []

    def open_(user: str = "ops", database: str = "shop", **how: Any) -> Store:
        stores.append(Store.open(front.url(user, database=database), **how))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


def test_a_second_copy_passes_over_what_is_there(shop: Context, served: Context) -> None:
    assert sum(t.moved for t in copy_store(shop.store, served.store)) == 0
    assert served.store.counts() == shop.store.counts()


@pytest.mark.parametrize("text", questions())
def test_a_question_over_http_has_duckdbs_answer(text: str, shop: Context, served: Context) -> None:
    assert told(text, served)[0] == told(text, shop)[0]


def test_each_question_brings_its_settings_and_an_id(front: Server, served: Context) -> None:
    served.store.fork().row(saying("with settings"))
    (asked,) = front.lines("asked", "with settings")
    sent = {name: str(value) for name, value in clickhouse.SETTINGS.items()}
    assert sent.items() <= asked["values"].items()
    assert asked["values"]["query_id"].startswith("daybreak-")
    assert asked["values"]["database"] == "shop"


def test_two_questions_are_at_the_server_at_once(front: Server, served: Context) -> None:
    long, short = served.store.fork(), served.store.fork()
    with ThreadPoolExecutor() as threads:
        first = threads.submit(long.row, endless("beside"))
        front.until("the first to be there", lambda: front.lines("asked", "beside"))
        assert short.row(sa.select(icount().label("n")).select_from(orders))["n"] > 0
        assert not first.done()
        long.cancel()
        with pytest.raises(QueryCancelledError):
            first.result()


@pytest.mark.parametrize(
    ("user", "password"), [("ops", "wrong"), ("nobody", "secret"), ("default", "")]
)
def test_a_user_who_is_not_let_in(user: str, password: str, front: Server) -> None:
    before = len(front.lines("asked"))
    with pytest.raises(StoreUnavailableError, match="can't be reached") as refusal:
        open_engine(front.url(user, password))
    assert "user and password" in refusal.value.hint
    assert "Authentication failed" in refusal.value.detail
    assert len(front.lines("asked")) == before + 1


def test_signs_of_every_kind_in_user_and_password(front: Server) -> None:
    engine = open_engine(front.url("o'ps@berlin", "s/cr%t:é"))
    assert engine.version.startswith("ClickHouse 2")
    engine.close()


def test_a_database_that_is_not_there(front: Server) -> None:
    with pytest.raises(StoreUnavailableError, match="no such database") as refusal:
        open_engine(front.url(database="gone"))
    assert "CREATE DATABASE" in refusal.value.hint


def test_clickhouses_speaks_nothing_but_tls(front: Server) -> None:
    before = len(front.lines("asked"))
    with pytest.raises(StoreUnavailableError, match="can't be reached"):
        open_engine(front.url().replace("clickhouse:", "clickhouses:"))
    assert len(front.lines("asked")) == before


def test_tables_and_columns_that_are_not_there(served: Context) -> None:
    gone = sa.Table("gone", sa.MetaData(), sa.Column("x", sa.BigInteger))
    with pytest.raises(StoreUnavailableError, match="lacks a table"):
        served.store.fork().rows(sa.select(gone.c.x))
    more = sa.Table("orders", sa.MetaData(), sa.Column("colour", sa.Text))
    with pytest.raises(StoreUnavailableError, match="lacks a column"):
        served.store.fork().rows(sa.select(more.c.colour))


def test_a_server_that_does_not_know_our_settings(
    front: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(clickhouse.SETTINGS, "of_next_year", 1)
    with pytest.raises(StoreUnavailableError, match="too old for me") as refusal:
        open_engine(front.url())
    assert "of_next_year" in refusal.value.hint


def with_progress(store: Store) -> Store:
    """The server is asked for a line of progress each 50 ms: the answer begins before its end."""
    engine = store.engine
    assert isinstance(engine, ClickhouseEngine)
    engine._client._backend.progress_interval = "50"
    return store


@pytest.mark.parametrize("trouble", [HANG_UP, BUSY])
def test_what_breaks_off_is_not_asked_again(trouble: str, front: Server, served: Context) -> None:
    before = len(front.lines("asked", trouble))
    with pytest.raises(StoreUnavailableError, match="broke off"):
        served.store.fork().row(saying(trouble))
    assert len(front.lines("asked", trouble)) == before + 1
    assert served.store.fork().row(saying("all is well")) == {"said": "all is well"}


def test_what_breaks_off_after_lines_of_progress_is_not_asked_again(
    front: Server, opened: Callable[..., Store]
) -> None:
    store = with_progress(opened())
    slow = sa.select(sa.func.sleep(0.3).label("slept")).where(sa.literal(HANG_UP) != "of progress")
    with pytest.raises(StoreUnavailableError, match="broke off"):
        store.fork().row(slow)
    assert front.lines("progress", "of progress")
    assert len(front.lines("asked", "of progress")) == 1


def test_an_error_after_lines_of_progress_is_told(
    front: Server, opened: Callable[..., Store]
) -> None:
    store = with_progress(opened("hasty"))
    with pytest.raises(StoppedError, match="ClickHouse store stopped"):
        store.fork().row(endless("late error"))
    assert front.lines("progress", "late error")


def test_a_connection_that_the_server_closed_meanwhile_is_made_anew(
    front: Server, opened: Callable[..., Store]
) -> None:
    store = opened()
    store.fork().row(saying("before"))
    closed = len(front.lines("closed"))
    front.until("the connection to end", lambda: len(front.lines("closed")) > closed)
    assert store.fork().row(saying("afterwards")) == {"said": "afterwards"}
    assert len(front.lines("asked", "afterwards")) == 1


def test_a_server_that_is_killed_in_mid_question(tmp_path: Path) -> None:
    with started(tmp_path) as front:
        store = Store.open(front.url())
        with ThreadPoolExecutor() as threads:
            asking = threads.submit(store.fork().row, endless("killed"))
            front.until("the question", lambda: front.lines("asked", "killed"))
            front.kill()
            with pytest.raises(StoreUnavailableError, match="broke off") as refusal:
                asking.result()
        assert "check that the server runs" in refusal.value.hint
        with pytest.raises(StoreUnavailableError, match="broke off"):
            store.fork().row(saying("anybody there?"))
    with started(tmp_path, front.port) as again:
        assert store.fork().row(saying("back")) == {"said": "back"}
        assert len(again.lines("asked", "killed")) == 1
    store.close()


@pytest.mark.parametrize("user", ["ops", "careful", "prepared"])
def test_cancel_kills_the_question_by_its_id(
    user: str, front: Server, opened: Callable[..., Store]
) -> None:
    store, tag = opened(user), f"cancelled by {user}"
    with ThreadPoolExecutor() as threads:
        asking = threads.submit(store.row, endless(tag))
        front.until("the question", lambda: front.lines("asked", tag))
        began = time.monotonic()
        store.cancel()
        with pytest.raises(QueryCancelledError, match="was cancelled"):
            asking.result()
        assert time.monotonic() - began < PROMPTLY_S
    (asked,) = front.lines("asked", tag)
    name = asked["values"]["query_id"]
    kills = front.lines("asked", f"KILL QUERY WHERE query_id = '{name}'")
    assert 1 <= len(kills) <= PROMPTLY_S / clickhouse.TELL_AGAIN_AFTER_S
    front.until("its end at the server", lambda: front.lines("answered", tag))
    assert front.lines("answered", tag)[0]["code"] == "394"


def test_a_user_who_may_not_see_what_runs_cannot_stop_it(
    front: Server, opened: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    store = opened("reader")
    slow = sa.select(sa.func.sleep(1.5).label("slept")).where(sa.literal("unstopped") != "")
    with ThreadPoolExecutor() as threads:
        asking = threads.submit(store.row, slow)
        front.until("the question", lambda: front.lines("asked", "unstopped"))
        store.cancel()
        assert asking.result() == {"slept": 0}
    with pytest.raises(QueryCancelledError, match="was cancelled"):
        store.row(saying("no more"))
    (asked,) = front.lines("asked", "unstopped")
    assert len(front.lines("asked", f"query_id = '{asked['values']['query_id']}'")) == 1
    (warned,) = [r for r in caplog.records if r.getMessage() == "question_not_stopped"]
    assert "SELECT ON system.processes" in warned.__dict__["detail"]


def test_the_time_limit_stops_the_servers_query_too(
    front: Server, opened: Callable[..., Store]
) -> None:
    store = opened(seconds_limit=1.0)
    with pytest.raises(StoppedError, match="longer than the time limit"):
        store.fork().row(endless("limited"))
    front.until("its end at the server", lambda: front.lines("answered", "limited"))
    assert front.lines("answered", "limited")[0]["code"] == "394"
    assert len(front.lines("asked", "limited")) == 1


def test_limits_of_the_servers_own(opened: Callable[..., Store]) -> None:
    with pytest.raises(StoppedError, match="ClickHouse store stopped") as refusal:
        opened("hasty").fork().row(endless("hasty"))
    assert "max_execution_time" in refusal.value.hint
    with pytest.raises(StoppedError, match="limits forbid") as limit:
        opened("frugal").fork().row(endless("frugal"))
    assert "quotas" in limit.value.hint
    many = sa.select(sa.func.count(sa.distinct(NUMBERS.c.number)).label("n"))
    with pytest.raises(OutOfMemoryError) as lack:
        opened("small").fork().row(many)
    assert "max_memory_usage" in lack.value.hint


def test_values_go_through_unharmed(opened: Callable[..., Store]) -> None:
    store = opened(database="aside")
    signs = [
        "it's",
        'a "b"',
        "back\\slash\\'",
        "100 %",
        "%s %(a)s {x:String}",
        "🦊 ü\n\t\0",
        "~=;--",
    ]
    instant = dt.datetime(2026, 2, 28, 23, 59, 59, 123457)
    fill(
        store,
        items=[{"item_id": s, "name": s, "is_product": True} for s in signs],
        orders=[
            {"order_id": "1", "ordered_at": instant, "kind": "sale", "amount_cents": 5},
            {"order_id": "2", "ordered_at": instant, "kind": "sale", "amount_cents": 2**53 + 1},
        ],
    )
    for sign in signs:
        asked = sa.select(items.c.name, sa.literal(sign, sa.Text).label("same"), items.c.category)
        row = store.fork().row(asked.where(items.c.item_id == sign))
        assert row == {"name": sign, "same": sign, "category": None}
    listed = sa.select(items.c.item_id).where(items.c.item_id.in_(signs))
    assert sorted(store.fork().column(listed)) == sorted(signs)
    at = sa.select(orders.c.ordered_at, orders.c.amount_cents, orders.c.person_id)
    asked = at.where(orders.c.ordered_at == instant).order_by(orders.c.order_id)
    assert store.fork().rows(asked) == [
        {"ordered_at": instant, "amount_cents": 5, "person_id": None},
        {"ordered_at": instant, "amount_cents": 2**53 + 1, "person_id": None},
    ]
    later = instant + dt.timedelta(microseconds=1)
    assert store.fork().rows(at.where(orders.c.ordered_at >= later)) == []


def test_a_list_longer_than_a_servers_usual_text(served: Context) -> None:
    numbers = [str(n) for n in range(60_000)]
    asked = sa.select(icount().label("n")).select_from(orders).where(orders.c.order_id.in_(numbers))
    assert served.store.fork().row(asked)["n"] >= 0


def test_a_user_without_settings_is_told_what_to_change(front: Server) -> None:
    with pytest.raises(StoreUnavailableError, match="may change no settings") as refusal:
        open_engine(front.url("bare"))
    assert "readonly = 2" in refusal.value.hint
    assert "join_use_nulls = 1" in refusal.value.hint


@pytest.mark.parametrize("user", ["reader", "careful", "prepared"])
def test_who_may_only_read_answers_and_writes_nothing(
    user: str, shop: Context, served: Context, opened: Callable[..., Store]
) -> None:
    theirs = dataclasses.replace(served, store=opened(user))
    assert told("kpis", theirs)[0] == told("kpis", shop)[0]
    with pytest.raises(StoreUnavailableError, match="does not allow") as refusal:
        fill(theirs.store, items=[{"item_id": "1", "is_product": True}])
    assert "INSERT" in refusal.value.hint


def test_who_may_only_read_makes_no_tables(front: Server) -> None:
    with pytest.raises(StoreUnavailableError, match="does not allow") as refusal:
        Store.open(front.url("reader", database="empty"))
    assert "CREATE TABLE" in refusal.value.hint


def test_an_asker_hears_that_the_server_went(shop: Context, tmp_path: Path) -> None:
    with started(tmp_path) as front:
        store = Store.open(front.url())
        front.kill()
        with pytest.raises(DataUnavailableError, match="broke off"):
            answer("kpis", dataclasses.replace(shop, store=store))
        store.close()
