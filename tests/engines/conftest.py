"""The demo shop on ClickHouse in this process, and on a Spark cluster of this machine."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from analytics.command import Context
from storage.copying import copy_store
from storage.schema import metadata
from storage.store import Store
from tests.engines.cluster import Cluster, started


@pytest.fixture(scope="session")
def clickhouse(shop: Context, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """The real engine of ClickHouse, filled as `copy-store` fills it."""
    store = Store.open(f"chdb:///{tmp_path_factory.mktemp('clickhouse') / 'db'}")
    copy_store(shop.store, store)
    yield dataclasses.replace(shop, store=store)
    store.close()


@pytest.fixture(scope="session")
def parquet(shop: Context, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's tables as folders of Parquet files; empty tables have none."""
    folder = tmp_path_factory.mktemp("parquet")
    for table in metadata.sorted_tables:
        rows = shop.store.fork().arrow(sa.select(table))
        if rows.num_rows:
            (folder / table.name).mkdir()
            pq.write_table(rows, folder / table.name / "part-0.parquet")
    return folder


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A master, two workers and a Connect server, each a process of its own."""
    os.environ.setdefault("SPARK_CONNECT_PROGRESS_BAR_ENABLED", "false")
    with started(tmp_path_factory.mktemp("spark")) as running:
        yield running


@pytest.fixture(scope="session")
def spark(shop: Context, cluster: Cluster, parquet: Path) -> Iterator[Context]:
    """The demo shop as Parquet files that the cluster reads in place."""
    store = Store.open(f"{cluster.url}?tables={parquet}")
    yield dataclasses.replace(shop, store=store)
    store.close()
