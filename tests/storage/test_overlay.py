"""Our entities over other people's tables: renamed, cast, joined, filtered, a table per month."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storage.engines import base, open_engine
from storage.overlay import OverlayError, expanded, parse_overlay
from storage.schema import orders, people
from storage.sql import icount
from storage.store import Store

#: A shop of 2026: sales by month in local time and euros, and customers beside them.
THEIRS = (
    "CREATE TABLE customers (id INTEGER, land VARCHAR(9))",
    "INSERT INTO customers VALUES (1, 'AT'), (2, NULL)",
    "CREATE TABLE sales_2026_03 (no INTEGER, customer INTEGER, sold VARCHAR(30), "
    "total DECIMAL(9, 2), state VARCHAR(9))",
    "INSERT INTO sales_2026_03 VALUES (1, 1, '2026-03-29 01:30:00', 12.34, 'paid'), "
    "(2, 2, '2026-03-29 03:30:00', 5.00, 'paid'), (3, 2, '2026-03-30 00:00:00', 9.99, 'test')",
    "CREATE TABLE sales_2026_04 (no INTEGER, customer INTEGER, sold VARCHAR(30), "
    "total DECIMAL(9, 2), state VARCHAR(9))",
    "INSERT INTO sales_2026_04 VALUES (4, NULL, '2026-04-01 00:00:00', 1.00, 'paid')",
)

ORDERS: dict[str, Any] = {
    "from": "sales_2026_*",
    "join": "LEFT JOIN customers c ON c.id = t.customer",
    "where": "t.state <> 'test' AND t.state NOT LIKE '100%'",
    "zone": "Europe/Berlin",
    "columns": {
        "order_id": "t.no",
        "person_id": "t.customer",
        "ordered_at": "t.sold",
        "kind": "'sale'",
        "amount_cents": "t.total * 100",
        "country": "c.land",
    },
}


@pytest.fixture
def theirs(engine_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A database of other people's, with nothing of ours in it."""
    if engine_name == "postgresql":
        url = request.getfixturevalue("new_database")()
    else:
        url = f"{engine_name}:///{tmp_path / 'theirs.db'}"
    engine = open_engine(url)
    with engine.writing() as writer:
        for text in THEIRS:
            writer.run(sa.text(text))
    engine.close()
    return str(url)


def base_engine(url: str) -> base.Engine:
    """Without our tables."""
    from storage.engines import open_engine

    return open_engine(url)


def over(url: str, **entities: Any) -> Store:
    """A store with our entities laid over the tables."""
    return Store.open(url, overlays={n: parse_overlay(n, told) for n, told in entities.items()})


def test_their_rows_are_read_as_ours(theirs: str) -> None:
    store = over(theirs, orders=ORDERS)
    found = store.rows(sa.select(orders).order_by(orders.c.order_id))
    assert [
        (r["order_id"], r["person_id"], r["ordered_at"], r["amount_cents"], r["country"])
        for r in found
    ] == [
        ("1", "1", dt.datetime(2026, 3, 29, 0, 30), 1234, "AT"),  # before the clocks change
        ("2", "2", dt.datetime(2026, 3, 29, 1, 30), 500, None),  # after it
        ("4", None, dt.datetime(2026, 3, 31, 22), 100, None),
    ]
    assert {r["source"] for r in found} == {"your tables"}
    assert {r["device"] for r in found} == {None}
    store.close()


def test_what_they_have_not_is_empty_and_nothing_is_made(theirs: str) -> None:
    store = over(theirs, orders=ORDERS)
    assert store.counts()["orders"] == 3
    assert store.counts()["people"] == 0
    assert store.data_through() == dt.datetime(2026, 3, 31, 22)
    assert store.engine.table_names() == {"customers", "sales_2026_03", "sales_2026_04"}
    store.close()


def test_aliases_and_joins_see_the_overlay(theirs: str) -> None:
    store = over(theirs, orders=ORDERS, people={
        "from": "customers",
        "columns": {"person_id": "t.id", "first_seen_at": "'2026-01-01 00:00:00'",
                    "country": "t.land"},
    })  # fmt: skip
    first, second = orders.alias("first"), orders.alias("second")
    joined = (
        sa.select(people.c.person_id, icount().label("n"))
        .select_from(people.join(first, first.c.person_id == people.c.person_id))
        .where(sa.exists(sa.select(second.c.order_id).where(second.c.order_id == "1")))
        .group_by(people.c.person_id)
        .order_by(people.c.person_id)
    )
    assert store.rows(joined) == [{"person_id": "1", "n": 1}, {"person_id": "2", "n": 1}]
    store.close()


def test_a_new_months_table_is_seen(theirs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = over(theirs, orders=ORDERS)
    with store.engine.writing() as writer:
        writer.run(sa.text(THEIRS[4].replace("_04", "_05")))
        writer.run(sa.text(THEIRS[5].replace("_04", "_05").replace("(4,", "(5,")))
    counting = sa.select(icount().label("n")).select_from(orders)
    assert store.fork().row(counting) == {"n": 3}
    monkeypatch.setattr(base, "LOOK_AGAIN_AFTER_S", -1.0)
    assert store.fork().row(counting) == {"n": 4}
    store.close()


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"from": "nowhere"}, ("orders", "from")),
        ({"from": "sales_1999_*"}, ("orders", "from")),
        ({"join": "LEFT JOIN nobody n ON n.id = t.customer"}, ("orders", "from")),
        (
            {"columns": ORDERS["columns"] | {"country": "c.nation"}},
            ("orders", "columns", "country"),
        ),
    ],
)
def test_what_their_engine_refuses_names_the_key(
    theirs: str, change: dict[str, Any], where: tuple[str, ...]
) -> None:
    with pytest.raises(OverlayError) as fault:
        over(theirs, orders=ORDERS | change)
    assert fault.value.where == where
    assert str(fault.value)


@pytest.mark.parametrize(
    ("entity", "told", "where"),
    [
        ("order", ORDERS, ("order",)),
        ("orders", {"columns": {}}, ("orders", "from")),
        ("orders", ORDERS | {"form": "x"}, ("orders", "form")),
        ("orders", ORDERS | {"columns": {"colour": "x"}}, ("orders", "columns", "colour")),
        ("orders", ORDERS | {"columns": {"order_id": "x"}}, ("orders", "columns")),
    ],
)
def test_what_cannot_be_is_refused_before_it_is_asked(
    entity: str, told: dict[str, Any], where: tuple[str, ...]
) -> None:
    with pytest.raises(OverlayError) as fault:
        parse_overlay(entity, told)
    assert fault.value.where == where


def test_stars_name_tables_in_order_and_once() -> None:
    there = ["shop.b_2", "shop.b_1", "shop.c"]
    assert expanded(["shop.b_*", "other", "shop.b_1"], there) == ["shop.b_1", "shop.b_2", "other"]
