"""SQL for warehouses that cannot be run here: compiled, parsed, and compared with what it was.

`python -m tests.engines.test_warehouses` writes the expected texts anew: read what changed.
"""

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from analytics.command import Context
from analytics.errors import UserError
from bot.dispatch import answer
from bot.moving import questions
from storage import sql
from storage.engines import StoreUnavailableError, open_engine
from storage.engines.base import Engine
from storage.engines.warehouse import WarehouseEngine
from storage.schema import events, orders
from storage.store import Store
from tests.engines.cluster import LOCAL, free_port

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("ignore::Warning")]

GOLDEN = Path(__file__).parent / "golden"
DIALECTS = {
    "trino": ("trino.sqlalchemy.dialect", "TrinoDialect"),
    "snowflake": ("snowflake.sqlalchemy.snowdialect", "SnowflakeDialect"),
    "bigquery": ("sqlalchemy_bigquery", "BigQueryDialect"),
    "redshift": ("sqlalchemy_redshift.dialect", "RedshiftDialect_redshift_connector"),
    "databricks": ("databricks.sqlalchemy", "DatabricksDialect"),
}


def dialect_of(name: str) -> Any:
    """A maker's dialect, without a connection."""
    module, cls = DIALECTS[name]
    return getattr(importlib.import_module(module), cls)()


def text_of(statement: Any, dialect: Any) -> str:
    """The text that the driver gets."""
    return str(statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))


def zoo() -> Any:
    """Every construct of ours once."""
    day = sql.local_day(orders.c.ordered_at, "Europe/Berlin").label("day")
    return (
        sa.select(
            day,
            sql.epoch_day(orders.c.ordered_at).label("utc_day"),
            sql.epoch_s(orders.c.ordered_at).label("second"),
            sql.epoch_us(orders.c.ordered_at).label("microsecond"),
            sql.idiv(orders.c.amount_cents, sa.literal_column("100")).label("whole"),
            sql.isum(orders.c.amount_cents).label("cents"),
            sql.dsum(orders.c.amount_cents).label("sum"),
            sql.dbl(orders.c.amount_cents).label("double"),
            sql.icount().label("n"),
            sql.json_text(events.c.properties, "plan").label("plan"),
            sql.bucket(orders.c.order_id, sa.literal_column("100")).label("bucket"),
            sql.sum_of_squares(orders.c.amount_cents).label("squares"),
            sql.natural_log1p(orders.c.amount_cents).label("log"),
        )
        .select_from(orders.join(events, events.c.order_id == orders.c.order_id))
        .where(orders.c.country.in_(["France", "it's"]), orders.c.kind == "sale")
        .group_by(day)
        .order_by(day)
        .limit(10)
    )


def golden(name: str) -> str:
    """The zoo and a percentile, in a maker's words."""
    dialect = dialect_of(name)
    half = sql.percentiles(
        sa.select(orders).subquery("o"), ("country",), "amount_cents", {"half": 0.5}, dialect.name
    )
    return f"{text_of(zoo(), dialect)}\n\n{text_of(half, dialect)}\n"


@pytest.mark.parametrize("name", DIALECTS)
def test_the_text_is_what_it_was(name: str) -> None:
    assert golden(name) == (GOLDEN / f"{name}.sql").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def asked(shop: Context) -> list[Any]:
    """Every statement that the examples of all commands ask."""
    found: dict[str, Any] = {}

    class Listening(Store):
        def arrow(self, statement: Any) -> Any:
            found.setdefault(self.engine.compile(statement)[0], statement)
            return super().arrow(statement)

        def fork(self) -> "Store":
            return Listening(self.engine)

    ctx = dataclasses.replace(shop, store=Listening(shop.store.engine))
    for text in questions():
        try:
            answer(text, ctx)
        except UserError:
            continue
    return list(found.values())


@pytest.mark.parametrize("name", DIALECTS)
def test_every_statement_compiles_and_parses(name: str, asked: list[Any]) -> None:
    sqlglot = importlib.import_module("sqlglot")
    dialect = dialect_of(name)
    assert len(asked) > 80
    for statement in asked:
        text = text_of(statement, dialect)
        if dialect.paramstyle in ("pyformat", "format"):  # placeholders that no SQL knows
            text = sqlglot_text(text)
        assert sqlglot.parse_one(text, read=name)


def sqlglot_text(text: str) -> str:
    """Placeholders of Python's drivers as question marks."""
    return re.sub(r"%\(\w+\)s|%s", "?", text).replace("%%", "%")


@pytest.mark.parametrize("name", DIALECTS)
def test_a_warehouse_without_its_packages_says_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise sa.exc.NoSuchModuleError(name)

    monkeypatch.setattr(sa, "create_engine", refuse)
    with pytest.raises(StoreUnavailableError, match="not installed") as refusal:
        open_engine(f"{name}://someone@example/shop")
    assert "pip install" in refusal.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "trino://me@{}/catalog/schema",
        "redshift+redshift_connector://me:word@{}/dev",
        "redshift://me:word@{}/dev",
        "databricks://token:word@{}?http_path=/sql/1.0/warehouses/a&catalog=main&schema=shop",
    ],
)
def test_a_warehouse_that_is_not_there(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if url.startswith("redshift"):
        pytest.importorskip("redshift_connector")
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with pytest.raises(StoreUnavailableError, match="can't be reached") as refusal:
        open_engine(url.format(f"{LOCAL}:{free_port()}"))
    assert "store.url" in refusal.value.hint


@pytest.mark.parametrize(
    "url", ["trino://me@host:port/catalog/schema", "databricks://token:word@host:port"]
)
def test_a_warehouse_whose_url_is_none(url: str) -> None:
    with pytest.raises(StoreUnavailableError, match=r"store\.url is no URL"):
        open_engine(url)


def test_a_warehouse_that_finds_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(StoreUnavailableError, match="BigQuery refused") as refusal:
        open_engine("bigquery://project/shop")
    assert "none.json" in refusal.value.detail


def test_a_warehouse_answers_through_its_driver(tmp_path: Path) -> None:
    # SQLite by SQLAlchemy's rows stands in for a warehouse: the adapter is the same
    store = Store.open(f"sqlite:///{tmp_path / 'w.sqlite'}")
    store.close()
    engine: Engine = WarehouseEngine(f"sqlite:///{tmp_path / 'w.sqlite'}")
    read = Store(engine)
    assert read.row(sa.select(sql.icount().label("n")).select_from(orders)) == {"n": 0}
    chosen = sa.select(sa.literal("it's", sa.Text).label("a"), sa.literal(7).label("b"))
    assert read.fork().row(chosen) == {"a": "it's", "b": 7}
    gone = sa.Table("gone", sa.MetaData(), sa.Column("x", sa.BigInteger))
    with pytest.raises(StoreUnavailableError, match="lacks a table"):
        read.fork().rows(sa.select(gone.c.x))
    with pytest.raises(StoreUnavailableError, match="only read"), engine.writing():
        pass
    assert "orders" in engine.table_names()
    engine.close()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in DIALECTS:
        (GOLDEN / f"{each}.sql").write_text(golden(each), encoding="utf-8")
