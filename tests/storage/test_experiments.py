"""The bot's memory of experiments: registrations, and snapshots that repeat to the last bit."""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.experiments import Experiments, Registration, Snapshot, packed, unpacked
from storage.schema import orders
from storage.state import State
from storage.store import Store
from tests.conftest import fill

DAY = dt.date(2026, 10, 10)
NOW = dt.datetime(2026, 10, 10, 7, tzinfo=dt.UTC)
AMOUNTS = sa.select(
    sa.func.sum(orders.c.amount_cents).label("cents"),
    sa.func.max(orders.c.ordered_at).label("last"),
    (sa.func.avg(orders.c.amount_cents) / 3).label("third"),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """An empty memory on each database that it may be kept in."""
    if request.param == "postgresql":
        url = request.getfixturevalue("new_database")()
    else:
        url = f"sqlite:///{tmp_path / 'state.sqlite'}"
    opened = State.open(url)
    yield opened
    opened.close()


@pytest.fixture
def duck(tmp_path: Path) -> Iterator[Store]:
    """A store with one order."""
    opened = Store.open(f"duckdb:///{tmp_path / 'store.duckdb'}")
    sell(opened, "1", 1000)
    yield opened
    opened.close()


def sell(store: Store, order: str, cents: int) -> None:
    at = dt.datetime(2026, 10, 9, 12)
    row = {"order_id": order, "ordered_at": at, "kind": "sale", "amount_cents": cents}
    fill(store, orders=[row])


def snapshot(store: Store, state: State, **said: object) -> Snapshot:
    given = {"experiment": "x", "day": DAY, "now": NOW} | said
    return Snapshot(store.fork(), state, **given)  # type: ignore[arg-type]


def test_the_first_answer_of_a_day_is_that_of_the_day(duck: Store, state: State) -> None:
    first = snapshot(duck, state)
    rows = first.rows(AMOUNTS)
    sell(duck, "2", 50_000)
    later = snapshot(duck, state, now=NOW + dt.timedelta(hours=9))
    assert later.rows(AMOUNTS) == rows
    assert rows[0]["cents"] == 1000
    assert later.taken == first.taken == [NOW]


def test_the_record_is_the_same_as_that_of_reading(duck: Store, state: State) -> None:
    stores = [duck.fork(), duck.fork()]
    for store in stores:
        Snapshot(store, state, experiment="x", day=DAY, now=NOW).rows(AMOUNTS)
    first, later = (
        [dataclasses.replace(read, seconds=0.0) for read in store.reads] for store in stores
    )
    assert first == later
    assert first[0].sql == duck.engine.compile(AMOUNTS)[0]
    assert stores[0].tables_read == stores[1].tables_read == {"orders"}


@pytest.mark.parametrize(
    "other", [{"experiment": "y"}, {"day": DAY + dt.timedelta(days=1)}, {"fresh": True}]
)
def test_another_experiment_day_or_a_fresh_look_reads_anew(
    duck: Store, state: State, other: dict[str, object]
) -> None:
    snapshot(duck, state).rows(AMOUNTS)
    sell(duck, "2", 50_000)
    assert snapshot(duck, state, **other).rows(AMOUNTS)[0]["cents"] == 51_000


def test_a_fresh_look_becomes_that_of_the_day(duck: Store, state: State) -> None:
    snapshot(duck, state).rows(AMOUNTS)
    sell(duck, "2", 50_000)
    later = NOW + dt.timedelta(hours=1)
    snapshot(duck, state, fresh=True, now=later).rows(AMOUNTS)
    sell(duck, "3", 1)
    again = snapshot(duck, state, now=NOW + dt.timedelta(hours=2))
    assert again.rows(AMOUNTS)[0]["cents"] == 51_000
    assert again.taken == [later]


def test_who_comes_second_gets_the_first_ones_rows(duck: Store, state: State) -> None:
    """Both began before either had kept anything."""
    one, two = snapshot(duck, state), snapshot(duck, state)
    assert one._all() == two._all() == {}
    assert one.rows(AMOUNTS)[0]["cents"] == 1000
    sell(duck, "2", 50_000)
    assert two.rows(AMOUNTS)[0]["cents"] == 1000


def test_rows_survive_to_the_last_bit(duck: Store) -> None:
    table = duck.fork().arrow(AMOUNTS)
    assert unpacked(packed(table)).equals(table)


def test_old_snapshots_are_let_go(duck: Store, state: State) -> None:
    snapshot(duck, state).rows(AMOUNTS)
    kept = Experiments(state)
    assert kept.purge_snapshots(before=DAY) == 0
    assert kept.purge_snapshots(before=DAY + dt.timedelta(days=1)) == 1


def test_a_registration_is_kept_replaced_and_dropped(state: State) -> None:
    kept = Experiments(state)
    row = Registration("new_page", '{"a": 1}', None, "U1", DAY)
    kept.put(row)
    assert kept.all() == [row]
    stopped = dataclasses.replace(row, stopped=DAY, by="U2")
    kept.put(stopped)
    assert kept.all() == [stopped]
    kept.drop("new_page")
    assert kept.all() == []
