"""What goes wrong with an engine is a sentence with what to do, and nothing is retried blindly."""

import dataclasses
import datetime as dt
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from analytics.command import Context
from analytics.errors import CancelledError, DataUnavailableError
from bot.dispatch import answer
from bot.moving import comparable
from storage.copying import copy_store
from storage.engines import QueryCancelledError, Running, StoreUnavailableError, open_engine
from storage.schema import metadata, orders
from storage.sql import icount
from storage.store import Store
from tests.conftest import fill
from tests.engines.cluster import LOCAL, Cluster, free_port, started

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("ignore::Warning:pyspark")]

#: A join of so many pairs that no engine is through with it within a minute.
a, b = (orders.alias(name) for name in "ab")
LONG = sa.select(icount().label("n")).where(a.c.amount_cents * b.c.amount_cents % 7 < 6)


def nobody_listens(scheme: str) -> str:
    return f"{scheme}://{LOCAL}:{free_port()}"


@pytest.mark.parametrize("scheme", ["clickhouse", "sc"])
def test_an_engine_that_is_not_there(scheme: str) -> None:
    with pytest.raises(StoreUnavailableError, match="can't be reached") as refusal:
        open_engine(nobody_listens(scheme))
    assert "store.url" in refusal.value.hint


@pytest.mark.parametrize("url", ["sc://{}/;colour=7=8", "sc://{}/path?tables=a.b"])
def test_a_spark_url_that_is_none(url: str, cluster: Cluster) -> None:
    with pytest.raises(StoreUnavailableError, match="is no URL"):
        open_engine(url.format(cluster.url.removeprefix("sc://")))
    with pytest.raises(StoreUnavailableError, match="can't be reached"):
        open_engine(f"sc://{LOCAL}:99999")


def test_a_token_for_a_spark_server_without_tls(cluster: Cluster) -> None:
    with pytest.raises(StoreUnavailableError, match="does not speak TLS") as refusal:
        open_engine(f"{cluster.url}/;token=secret")
    assert "localhost" in refusal.value.hint


@pytest.mark.parametrize("place", ["nowhere.shop", "shop; DROP"])
def test_a_spark_place_that_is_none(place: str, cluster: Cluster) -> None:
    with pytest.raises(StoreUnavailableError, match="is no place"):
        open_engine(f"{cluster.url}?tables={place}")


def test_a_store_is_copied_to_a_schema_of_sparks_catalogue(cluster: Cluster) -> None:
    ours = Store.open("duckdb:///:memory:")
    fill(
        ours,
        items=[{"item_id": f"i{i}", "is_product": i % 2 == 0} for i in range(25)],
        orders=[
            {
                "order_id": f"o{i}",
                "ordered_at": dt.datetime(2026, 3, 1, 12, 30, 15, i),
                "kind": "sale",
                "amount_cents": i,
            }
            for i in range(25)
        ],
    )
    url = f"{cluster.url}?tables=spark_catalog.shop"
    theirs = Store.open(url, may_be_empty=True)
    with pytest.raises(StoreUnavailableError, match=r"no schema spark_catalog\.shop") as refusal:
        copy_store(ours, theirs)
    assert "CREATE DATABASE spark_catalog.shop" in refusal.value.hint
    theirs.engine.fetch("CREATE DATABASE spark_catalog.shop", (), Running())
    assert sum(table.moved for table in copy_store(ours, theirs, piece_rows=10)) == 50
    assert sum(table.moved for table in copy_store(ours, theirs, piece_rows=10)) == 0
    theirs.close()
    again = Store.open(url)
    assert again.counts()["orders"] == 25
    most = sa.select(sa.func.max(orders.c.ordered_at).label("at"))
    assert again.fork().row(most) == {"at": dt.datetime(2026, 3, 1, 12, 30, 15, 24)}
    again.close()
    ours.close()


def test_a_spark_place_without_our_tables(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="None of our tables") as refusal:
        open_engine(f"{cluster.url}?tables={tmp_path}")
    assert "?tables=" in refusal.value.hint


def test_a_store_is_copied_to_a_spark_place_without_our_tables(
    cluster: Cluster, tmp_path: Path
) -> None:
    ours = Store.open("duckdb:///:memory:")
    fill(ours, items=[{"item_id": "i1", "is_product": True}])
    theirs = Store.open(f"{cluster.url}?tables={tmp_path / 'shop'}", may_be_empty=True)
    assert sum(table.moved for table in copy_store(ours, theirs)) == 1
    assert theirs.counts()["items"] == 1
    theirs.close()
    ours.close()


def test_a_table_that_is_not_there(clickhouse: Context) -> None:
    gone = sa.Table("gone", sa.MetaData(), sa.Column("x", sa.BigInteger))
    with pytest.raises(StoreUnavailableError, match="lacks a table"):
        clickhouse.store.fork().rows(sa.select(gone.c.x))


@pytest.mark.parametrize("engine", ["clickhouse", "spark"])
def test_a_column_that_is_not_there(engine: str, request: pytest.FixtureRequest) -> None:
    ctx: Context = request.getfixturevalue(engine)
    more = sa.Table("orders", sa.MetaData(), sa.Column("colour", sa.Text))
    with pytest.raises(StoreUnavailableError, match="lacks a column"):
        ctx.store.fork().rows(sa.select(more.c.colour))


def test_a_spark_table_may_lack_what_is_not_asked(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "orders").mkdir()
    made = pa.table({"order_id": ["1", "2"], "amount_cents": [5, 7]})
    pq.write_table(made, tmp_path / "orders" / "rows.parquet")
    store = Store.open(f"{cluster.url}?tables={tmp_path}")
    assert store.fork().row(sa.select(sa.func.max(orders.c.amount_cents).label("most"))) == {
        "most": 7
    }
    assert store.counts()["people"] == 0
    with pytest.raises(StoreUnavailableError, match="lacks a column"):
        store.fork().rows(sa.select(orders.c.person_id))
    store.close()


def test_rows_are_added_to_a_spark_store(cluster: Cluster, tmp_path: Path) -> None:
    for table in metadata.sorted_tables:
        (tmp_path / table.name).mkdir()
    pq.write_table(
        pa.table({"order_id": ["1"], "amount_cents": [5]}), tmp_path / "orders" / "rows.parquet"
    )
    store = Store.open(f"{cluster.url}?tables={tmp_path}")
    fill(store, items=[{"item_id": "i1", "is_product": True}])
    assert store.counts()["items"] == 1
    with (
        store.engine.writing() as writer,
        pytest.raises(StoreUnavailableError, match="not changed"),
    ):
        writer.run(sa.delete(orders))
    store.close()


def test_values_are_never_read_as_sql(spark: Context, clickhouse: Context) -> None:
    for ctx in (spark, clickhouse):
        for text in ("it's", 'a "b"', "back\\slash", "'; DROP TABLE orders; --", "100 %", "ü\n"):
            asked = sa.select(sa.literal(text, sa.Text).label("same"))
            assert ctx.store.fork().row(asked) == {"same": text}


def test_a_spark_question_is_cancelled(spark: Context) -> None:
    store = spark.store.fork()
    cancelling = threading.Timer(2.0, store.cancel)
    cancelling.start()
    started_at = time.monotonic()
    with pytest.raises(QueryCancelledError):
        store.row(LONG)
    assert time.monotonic() - started_at < 30
    cancelling.join()


def test_a_spark_question_ends_at_the_time_limit(spark: Context) -> None:
    store = Store(spark.store.engine, seconds_limit=2.0)
    with pytest.raises(QueryCancelledError, match="longer than the time limit"):
        store.row(LONG)
    ctx = dataclasses.replace(spark, store=Store(spark.store.engine, seconds_limit=0.01))
    with pytest.raises(CancelledError):
        answer("kpis", ctx)


def test_a_cluster_that_loses_a_worker_answers_all_the_same(
    shop: Context, parquet: Path, tmp_path: Path
) -> None:
    with started(tmp_path / "spark") as cluster:
        store = Store.open(f"{cluster.url}?tables={parquet}")
        ctx = dataclasses.replace(shop, store=store)
        answer("kpis", ctx)  # the executors are at work
        reads = []

        def begun(asked: Store) -> None:
            reads.append(asked)
            threading.Timer(0.5, cluster.kill, ("worker0",)).start()

        told = answer("digest yesterday anyway", ctx, begun=begun).result
        assert comparable(told) == comparable(answer("digest yesterday anyway", shop).result)
        assert reads
        cluster.until("the loss to be known", lambda: cluster.alive() == 1)
        assert answer("kpis", ctx).result.headline
        # and when the server itself goes in mid-question, the asker hears
        threading.Timer(1.0, cluster.kill, ("connect",)).start()
        with pytest.raises(StoreUnavailableError, match="can't be reached"):
            store.fork().row(LONG)
        with pytest.raises(DataUnavailableError):
            answer("kpis", ctx)
