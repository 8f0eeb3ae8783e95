"""The store: what it records, the types it hands out, what it refuses."""

import datetime as dt
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from storage import sql
from storage.schema import (
    EPOCH,
    Instant,
    consents,
    events,
    items,
    order_lines,
    orders,
    people,
    ratings,
)
from storage.store import Source, Store, conform, tables_of, to_frame
from tests.conftest import fill

NOON = dt.datetime(2026, 10, 1, 12, 0, 0, 999_999)


def order(order_id: str, **more: Any) -> dict[str, Any]:
    """An order of one euro at noon."""
    return {
        "order_id": order_id,
        "ordered_at": NOON,
        "kind": "sale",
        "amount_cents": 100,
        **more,
    }


@pytest.fixture
def shop(store: Store) -> Store:
    """Two orders and a return of one of them."""
    fill(
        store,
        orders=[
            order("1", person_id="p1", country="DE"),
            order("2", amount_cents=250, country="EG", ordered_at=NOON - dt.timedelta(days=1)),
            order("3", person_id="p1", kind="return", amount_cents=-100, ordered_at=EPOCH),
        ],
    )
    return store


# --- the record ---------------------------------------------------------------------------------


def test_each_read_is_recorded_with_text_values_rows_and_time(shop: Store) -> None:
    asked = shop.fork()
    asked.rows(sa.select(orders.c.order_id).where(orders.c.country == "it's 100 %"))
    asked.frame(sa.select(orders.c.order_id).where(orders.c.ordered_at >= EPOCH))
    first, second = asked.reads
    assert first.rows == 0
    assert first.values == ("it's 100 %",)
    assert "it's" not in first.sql
    assert second.rows == 3
    assert second.seconds >= 0
    assert second.sql.startswith("SELECT orders.order_id")
    assert asked.tables_read == {"orders"}
    assert shop.reads == []


def test_the_receipts_text_and_values_can_be_run_again(shop: Store) -> None:
    from storage.engines import Running

    asked = shop.fork()
    wanted = asked.rows(
        sa.select(orders.c.order_id)
        .where(orders.c.ordered_at.between(NOON, NOON), orders.c.country.in_(["DE", "EG"]))
        .limit(1)
    )
    (read,) = asked.reads
    assert shop.engine.fetch(read.sql, read.values, Running()).to_pylist() == wanted


def test_the_tables_of_a_statement_are_seen_wherever_they_stand() -> None:
    cte = sa.select(orders.c.order_id, orders.c.person_id).cte("o")
    subquery = sa.select(order_lines.c.order_id).where(order_lines.c.quantity > 1).subquery()
    exists = sa.exists().where(people.c.person_id == cte.c.person_id)
    scalar = sa.select(sa.func.max(ratings.c.score)).scalar_subquery()
    statement = sa.union_all(
        sa.select(cte.c.order_id.label("x"), scalar.label("y"))
        .join(subquery, subquery.c.order_id == cte.c.order_id)
        .where(exists),
        sa.select(items.alias("i").c.item_id, sa.literal(1)),
        sa.select(events.c.event_id, sa.literal(2)).where(
            events.c.person_id.in_(sa.select(consents.c.person_id))
        ),
    )
    assert tables_of(statement) == {
        "orders", "order_lines", "people", "ratings", "items", "events", "consents",
    }  # fmt: skip
    assert tables_of(sa.select(sa.literal(1).label("x"))) == set()


# --- types --------------------------------------------------------------------------------------


def typed() -> dict[str, Any]:
    """A column of each kind, and expressions that engines type differently."""
    return {
        "text": orders.c.country,
        "whole": orders.c.amount_cents,
        "at": orders.c.ordered_at,
        "latest": sa.func.max(orders.c.ordered_at).over(),
        "either": sa.func.coalesce(orders.c.ordered_at, orders.c.ordered_at),
        "big": orders.c.amount_cents > 100,
        "both": sa.and_(orders.c.amount_cents > 0, orders.c.kind == "sale"),
        "half": sql.dbl(orders.c.amount_cents) / 2,
        "mixed": sa.case((orders.c.amount_cents > 0, sql.dbl(1)), else_=0),
        "total": sa.func.sum(orders.c.amount_cents).over(),
        "mean": sa.func.avg(orders.c.amount_cents, type_=sa.Double()).over(),
        "some": sa.case((orders.c.amount_cents > 100, orders.c.amount_cents)),
        "perhaps": sa.case((orders.c.kind == "sale", orders.c.amount_cents > 100)),
        "never": sa.cast(sa.null(), sa.BigInteger),
        "no_text": sa.cast(sa.null(), sa.Text),
        "no_time": sa.type_coerce(sa.cast(sa.null(), Instant()), Instant()),
    }


TYPES = {
    "text": "str", "whole": "int64", "at": "datetime64[us]", "latest": "datetime64[us]",
    "either": "datetime64[us]", "big": "bool", "both": "bool", "half": "float64",
    "mixed": "float64", "total": "int64", "mean": "float64", "some": "Int64",
    "perhaps": "boolean", "never": "Int64", "no_text": "str", "no_time": "datetime64[us]",
}  # fmt: skip


def test_a_frame_has_the_declared_types_on_every_engine(shop: Store) -> None:
    columns = [c.label(name) for name, c in typed().items()]
    frame = shop.frame(sa.select(*columns).order_by(orders.c.order_id))
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == TYPES
    assert frame["at"].tolist() == [NOON, NOON - dt.timedelta(days=1), EPOCH]
    assert frame["latest"].tolist() == [NOON] * 3
    assert frame["big"].tolist() == [False, True, False]
    assert frame["half"].tolist() == [50.0, 125.0, -50.0]
    assert frame["mixed"].tolist() == [1.0, 1.0, 0.0]
    assert frame["total"].tolist() == [250] * 3
    assert frame["mean"].tolist() == pytest.approx([250 / 3] * 3, rel=1e-15)
    assert frame["some"].isna().tolist() == [True, False, True]
    assert frame["perhaps"].tolist()[:2] == [False, True]
    assert pd.isna(frame["perhaps"][2])


def test_an_empty_answer_keeps_its_types(shop: Store) -> None:
    columns = [c.label(name) for name, c in typed().items()]
    frame = shop.frame(sa.select(*columns).where(orders.c.order_id == "none"))
    assert len(frame) == 0
    without_nulls = {"some": "int64", "perhaps": "bool", "never": "int64"}
    assert {n: str(t) for n, t in frame.dtypes.items()} == TYPES | without_nulls


def test_aggregates_over_no_rows_are_null_of_their_type(store: Store) -> None:
    table = store.arrow(
        sa.select(
            sa.func.max(orders.c.ordered_at).label("at"),
            sa.func.min(orders.c.country).label("country"),
            sa.func.sum(orders.c.amount_cents).label("cents"),
            sa.func.avg(orders.c.amount_cents).label("mean"),
        )
    )
    assert table.schema.types[:3] == [pa.timestamp("us"), pa.string(), pa.int64()]
    assert table.to_pylist() == [{"at": None, "country": None, "cents": None, "mean": None}]


def test_an_exact_number_that_declares_no_type_is_a_double(shop: Store) -> None:
    """PostgreSQL averages integers to its numeric, which the driver hands over as text."""
    frame = shop.frame(sa.select(sa.func.avg(orders.c.amount_cents).label("mean")))
    assert frame["mean"].tolist() == pytest.approx([250 / 3], rel=1e-12)
    assert str(frame["mean"].dtype) == "float64"


def test_whole_numbers_keep_every_digit(store: Store) -> None:
    sizes = [2**63 - 1, -(2**63), 2**53 + 1]
    fill(store, orders=[order(str(i), amount_cents=v) for i, v in enumerate(sizes)])
    found = store.frame(sa.select(orders.c.amount_cents).order_by(orders.c.order_id))
    assert found["amount_cents"].tolist() == sizes


def test_booleans_are_booleans_on_every_engine(store: Store) -> None:
    fill(
        store,
        items=[{"item_id": "a", "is_product": True}, {"item_id": "b", "is_product": False}],
    )
    chosen = sa.select(items.c.item_id, items.c.is_product).order_by(items.c.item_id)
    assert store.rows(chosen) == [
        {"item_id": "a", "is_product": True},
        {"item_id": "b", "is_product": False},
    ]
    assert store.column(sa.select(items.c.item_id).where(items.c.is_product)) == ["a"]
    assert store.column(sa.select(items.c.item_id).where(~items.c.is_product)) == ["b"]
    assert store.column(sa.select(items.c.item_id).where(items.c.is_product.is_(True))) == ["a"]


def test_a_union_takes_the_names_and_types_of_its_first_part(shop: Store) -> None:
    both = sa.union_all(
        sa.select(sa.func.max(orders.c.ordered_at).label("at"), sa.literal("o").label("what")),
        sa.select(sa.func.max(events.c.at), sa.literal("e")),
    )
    assert sorted(shop.rows(both), key=str) == [
        {"at": None, "what": "e"},
        {"at": NOON, "what": "o"},
    ]


def test_a_number_that_is_not_whole_is_never_cut_to_an_integer() -> None:
    statement = sa.select(sa.literal(1).label("n"))
    assert conform(pa.table({"n": [2.0]}), statement).to_pylist() == [{"n": 2}]
    with pytest.raises(pa.ArrowInvalid):
        conform(pa.table({"n": [2.5]}), statement)


@pytest.mark.parametrize(
    "columns",
    [
        (orders.c.source, people.c.source),
        (orders.c.amount_cents + 1,),
    ],
)
def test_columns_without_labels_of_their_own_are_refused(store: Store, columns: Any) -> None:
    """Two columns of one name would be one in a row's dict."""
    joined = orders.outerjoin(people, people.c.person_id == orders.c.person_id)
    with pytest.raises(ValueError, match="labels of their own"):
        store.rows(sa.select(*columns).select_from(joined))


def test_an_instant_with_a_zone_is_refused(store: Store) -> None:
    aware = NOON.replace(tzinfo=dt.UTC)
    with pytest.raises(Exception, match="naive UTC"):
        store.rows(sa.select(orders.c.order_id).where(orders.c.ordered_at > aware))


def test_a_frame_of_nulls_keeps_a_column_of_integers() -> None:
    frame = to_frame(pa.table({"n": pa.array([None, 2**53 + 1], pa.int64())}))
    assert frame["n"].dropna().tolist() == [2**53 + 1]


# --- shapes of answers --------------------------------------------------------------------------


def test_row_wants_exactly_one(shop: Store) -> None:
    assert shop.row(sa.select(sql.icount().label("n")).select_from(orders)) == {"n": 3}
    with pytest.raises(ValueError, match="values to unpack"):
        shop.row(sa.select(orders.c.order_id))
    with pytest.raises(ValueError, match="values to unpack"):
        shop.row(sa.select(events.c.event_id))


def test_a_stream_comes_in_frames_of_at_most_so_many_rows(store: Store) -> None:
    fill(store, orders=[order(f"{i:03}") for i in range(25)])
    chosen = sa.select(orders.c.order_id).order_by(orders.c.order_id)
    frames = list(store.stream(chosen, rows=10))
    assert all(len(f) <= 10 for f in frames)
    assert pd.concat(frames)["order_id"].tolist() == [f"{i:03}" for i in range(25)]


def test_the_data_run_through_the_latest_of_orders_events_and_ratings(store: Store) -> None:
    assert store.data_through() is None
    fill(store, orders=[order("1")])
    assert store.data_through() == NOON
    later = NOON + dt.timedelta(microseconds=1)
    fill(
        store,
        events=[{"event_id": "e", "person_id": "p", "at": EPOCH, "name": "visit"}],
        ratings=[{"rating_id": "r", "at": later, "kind": "nps", "score": 9}],
    )
    assert store.data_through() == later
    assert store.reads == []


def test_sources_are_listed_largest_first_and_for_the_tables_asked(store: Store) -> None:
    def source(name: str, entity: str, rows: int, *, simulated: bool) -> dict[str, Any]:
        return {
            "source": name,
            "entity": entity,
            "description": "d",
            "simulated": simulated,
            "rows": rows,
            "loaded_at": EPOCH,
        }

    fill(
        store,
        sources=[
            source("real", "orders", 5, simulated=False),
            source("made", "events", 9, simulated=True),
        ],
    )
    made = Source("made", "events", "d", None, simulated=True, rows=9)
    real = Source("real", "orders", "d", None, simulated=False, rows=5)
    assert store.sources() == [made, real]
    assert store.sources({"orders"}) == [real]
    assert store.reads == []


def test_reads_beside_the_record_stop_with_the_question(store: Store) -> None:
    from storage.engines import QueryCancelledError

    asked = store.fork()
    asked.cancel()
    with pytest.raises(QueryCancelledError):
        asked.data_through()


def test_a_known_fact_is_recorded_each_time_and_asked_again_after_a_write(store: Store) -> None:
    latest = sa.select(sa.func.max(orders.c.amount_cents).label("most"))
    order = {"order_id": "1", "ordered_at": dt.datetime(2026, 1, 1), "kind": "sale"}
    fill(store, orders=[order | {"amount_cents": 5}])
    for _ in range(2):
        asked = store.fork()
        assert asked.known(latest) == [{"most": 5}]
        assert [r.rows for r in asked.reads] == [1]
        assert asked.tables_read == {"orders"}
    fill(store, orders=[order | {"order_id": "2", "amount_cents": 9}])
    assert store.fork().known(latest) == [{"most": 9}]
    assert store.data_through() == dt.datetime(2026, 1, 1)
    fill(store, orders=[order | {"order_id": "3", "amount_cents": 1,
                                 "ordered_at": dt.datetime(2026, 2, 1)}])  # fmt: skip
    assert store.data_through() == dt.datetime(2026, 2, 1)
