"""A store copied: counts, contents, resuming, and what is refused."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from storage.copying import Copied, CopyError, copy_store, fingerprints
from storage.schema import items, metadata, orders
from storage.store import Store
from tests.conftest import fill

AT = dt.datetime(2026, 3, 1, 12, 30, 15, 123_456)


def rows(n: int) -> list[dict[str, Any]]:
    """Orders with every kind of value, nulls among them."""
    return [
        {
            "order_id": f"o{i}",
            "person_id": None if i % 3 == 0 else f"p{i % 7}",
            "ordered_at": AT + dt.timedelta(hours=i),
            "kind": "sale",
            "amount_cents": (-1) ** i * i * 10**9,
            "country": ["Österreich", "it's 100 %", "", None][i % 4],
        }
        for i in range(n)
    ]


@pytest.fixture
def full(tmp_path: Path) -> Store:
    """A store with orders and items."""
    store = Store.open(f"duckdb:///{tmp_path / 'full.duckdb'}")
    fill(
        store,
        orders=rows(50),
        items=[{"item_id": f"i{i}", "is_product": i % 2 == 0} for i in range(5)],
    )
    return store


def everything(store: Store, table: sa.Table) -> list[dict[str, Any]]:
    """All rows, in the order of the key."""
    return store.fork().rows(sa.select(table).order_by(*table.primary_key.columns))


def test_a_copy_has_the_same_rows_on_every_engine(full: Store, store: Store) -> None:
    done = copy_store(full, store)
    for table in metadata.sorted_tables:
        assert everything(store, table) == everything(full, table)
        assert fingerprints(store, table) == fingerprints(full, table)
    assert Copied("orders", 50, 50) in done
    assert Copied("items", 5, 5) in done


def test_a_second_copy_moves_nothing(full: Store, store: Store) -> None:
    copy_store(full, store)
    assert sum(c.moved for c in copy_store(full, store)) == 0


def test_a_copy_that_broke_off_goes_on_where_it_was(
    full: Store, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCutError(Exception):
        pass

    def cut(name: str, done: int, of: int) -> None:
        if name == "orders" and 20 <= done < of:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        copy_store(full, store, cut, piece_rows=10)
    there = len(everything(store, orders))
    assert 0 < there < 50
    (resumed,) = (c for c in copy_store(full, store, piece_rows=10) if c.table == "orders")
    assert resumed == Copied("orders", 50, 50 - there)
    assert everything(store, orders) == everything(full, orders)


def test_other_rows_in_the_target_are_refused(full: Store, store: Store) -> None:
    fill(store, orders=[{**rows(1)[0], "order_id": "someone else's"}])
    with pytest.raises(CopyError, match="orders holds other rows"):
        copy_store(full, store)
    assert len(everything(store, orders)) == 1


def test_a_changed_value_is_found(full: Store, store: Store) -> None:
    copy_store(full, store)
    with store.engine.writing() as writer:
        writer.run(sa.update(orders).where(orders.c.order_id == "o7").values(amount_cents=1))
    with pytest.raises(CopyError, match="orders holds other rows"):
        copy_store(full, store)


def test_rows_lost_on_the_way_are_found(full: Store, store: Store) -> None:
    class Losing:
        def __init__(self, engine: Any) -> None:
            self.engine = engine

        def __getattr__(self, name: str) -> Any:
            return getattr(self.engine, name)

        def writing(self) -> Any:
            return _losing(self.engine.writing())

    store.engine = Losing(store.engine)  # type: ignore[assignment]
    with pytest.raises(CopyError, match="differs from the source after copying"):
        copy_store(full, store)


class _losing:  # noqa: N801 - a context manager that drops a row
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __enter__(self) -> Any:
        writer = self.inner.__enter__()
        append = writer.append
        writer.append = lambda name, table: append(name, table.slice(1))
        return writer

    def __exit__(self, *error: Any) -> Any:
        return self.inner.__exit__(*error)


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3) | st.none()), max_size=6))
def test_equal_fingerprints_are_equal_rows(pairs: list[tuple[str, str | None]]) -> None:
    store = Store.open("duckdb:///:memory:")
    keyed = {f"{i}{a}": b for i, (a, b) in enumerate(pairs)}
    keyed = {k.replace("\x00", ""): v and v.replace("\x00", "") for k, v in keyed.items()}
    keyed = {k: v for k, v in keyed.items() if k.isprintable() and (v or "").isprintable()}
    if not keyed:
        return
    made = [{"item_id": k, "name": v, "is_product": True} for k, v in keyed.items()]
    fill(store, items=made)
    first = fingerprints(store, items)
    last = list(keyed)[-1]
    with store.engine.writing() as writer:
        writer.run(sa.update(items).where(items.c.item_id == last).values(name="another"))
    assert (fingerprints(store, items) == first) == (keyed[last] == "another")
    store.close()
