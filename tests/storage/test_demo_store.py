"""The demo store holds the real set by its stated rules, and says what is made up."""

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from analytics.command import Context
from storage.demo.install import demo_recipe, install_demo
from storage.demo.real import FILE, lines
from storage.load.load import load_files, rejected
from storage.load.mapping import Recipe
from storage.schema import events, items, loads, order_lines, orders, people
from storage.sql import icount, isum
from storage.store import Store

REAL = "online_retail"


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    """The file, untouched."""
    frame: pd.DataFrame = pq.read_table(FILE).to_pandas()
    return frame


@pytest.fixture(scope="module")
def taken(raw: pd.DataFrame) -> pd.DataFrame:
    """The lines that the rules take, in plain pandas."""
    good = ~raw["InvoiceNo"].str.startswith("A") & (raw["UnitPrice"] > 0)
    return raw[good].assign(pence=lambda f: (f["Quantity"] * f["UnitPrice"] * 100).round())


def one(store: Store, statement: Any) -> Any:
    """The one number of a query."""
    return store.fork().column(statement)[0]


def test_lines_orders_and_people_are_as_many_as_the_rules_leave(
    shop: Context, taken: pd.DataFrame
) -> None:
    """539,391 lines, 23,795 invoices, 4,371 people."""
    counts = {t.name: one(shop.store, sa.select(icount()).where(t.c.source == REAL))
              for t in (order_lines, orders, people)}  # fmt: skip
    assert counts == {"order_lines": 539_391, "orders": 23_795, "people": 4_371}
    assert counts["order_lines"] == len(taken)
    assert counts["orders"] == taken["InvoiceNo"].nunique()
    assert counts["people"] == taken["CustomerID"].nunique()


@pytest.mark.parametrize(("kind", "pounds"), [("sale", 10_655_622.48), ("return", -896_812.49)])
def test_revenue_is_that_of_plain_pandas_to_the_penny(
    shop: Context, taken: pd.DataFrame, kind: str, pounds: float
) -> None:
    """From the lines and from the orders."""
    chosen = taken["InvoiceNo"].str.startswith("C") == (kind == "return")
    plain = int(taken.loc[chosen, "pence"].sum())
    of_orders = one(shop.store, sa.select(isum(orders.c.amount_cents)).where(orders.c.kind == kind))
    joined = order_lines.join(orders, orders.c.order_id == order_lines.c.order_id)
    of_lines = one(
        shop.store,
        sa.select(isum(order_lines.c.amount_cents))
        .select_from(joined)
        .where(orders.c.kind == kind),
    )
    assert of_orders == of_lines == plain == round(pounds * 100)


def test_an_order_is_its_lines(shop: Context) -> None:
    """Every order's amount is the sum of its lines, and their numbers have no gap."""
    per_order = (
        sa.select(
            order_lines.c.order_id,
            isum(order_lines.c.amount_cents).label("amount"),
            icount().label("n"),
            sa.func.max(order_lines.c.line_no).label("last"),
        )
        .group_by(order_lines.c.order_id)
        .subquery()
    )
    differs = sa.or_(per_order.c.amount != orders.c.amount_cents, per_order.c.n != per_order.c.last)
    joined = orders.outerjoin(per_order, per_order.c.order_id == orders.c.order_id)
    wrong = sa.select(icount()).select_from(joined)
    assert one(shop.store, wrong.where(sa.or_(differs, per_order.c.n.is_(None)))) == 0


def test_the_store_holds_the_lines_that_the_simulation_stands_on(shop: Context) -> None:
    """The recipe and `real.lines` say the same of every line."""
    mine = shop.store.fork().frame(
        sa.select(
            order_lines.c.order_id,
            order_lines.c.line_no,
            order_lines.c.item_id,
            order_lines.c.quantity,
            order_lines.c.amount_cents,
            orders.c.person_id,
            orders.c.kind,
            orders.c.country,
        )
        .select_from(order_lines.join(orders, orders.c.order_id == order_lines.c.order_id))
        .order_by(order_lines.c.order_id, order_lines.c.line_no)
    )
    theirs = lines().sort_values(["order_id", "line_no"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(
        mine.astype(object).where(mine.notna(), None),
        theirs[list(mine.columns)].astype(object).where(theirs[list(mine.columns)].notna(), None),
    )


def test_rejected_lines_carry_reason_and_line(shop: Context, raw: pd.DataFrame) -> None:
    """3 adjustments and 2,517 prices; the line number leads to the line in the file."""
    load_id = one(shop.store, sa.select(loads.c.load_id).where(loads.c.rows_rejected > 0))
    found = rejected(shop.store, load_id, limit=10_000)
    adjusted = [r for r in found if "an accounting adjustment, not an order" in r["reason"]]
    unpriced = [r for r in found if "the price is not above zero: a stock write-off" in r["reason"]]
    assert (len(found), len(adjusted), len(unpriced)) == (2_518, 3, 2_517)
    assert all(raw["InvoiceNo"].iloc[r["line_no"] - 1].startswith("A") for r in adjusted)
    assert all(raw["UnitPrice"].iloc[r["line_no"] - 1] <= 0 for r in unpriced)
    assert '"UnitPrice":' in found[0]["row"]


def test_times_are_london_times_in_utc(shop: Context) -> None:
    """In winter the same, in summer an hour less."""
    times = shop.store.fork().rows(
        sa.select(orders.c.order_id, orders.c.ordered_at)
        .where(orders.c.order_id.in_(["536365", "558638"]))
        .order_by(orders.c.order_id)
    )
    assert times[0]["ordered_at"] == dt.datetime(2010, 12, 1, 8, 26)
    summer = lines().query("order_id == '558638'")["at"].iloc[0]
    assert times[1]["ordered_at"] == summer.to_pydatetime() - dt.timedelta(hours=1)


def test_fees_are_no_products_and_items_have_categories(shop: Context) -> None:
    """POST is a fee; each item has a category."""
    post = shop.store.fork().row(
        sa.select(items.c.is_product, items.c.category).where(items.c.item_id == "POST")
    )
    assert post["is_product"] is False
    assert one(shop.store, sa.select(icount()).where(items.c.category.is_(None))) == 0


def test_sources_name_the_licence_and_the_simulation(shop: Context) -> None:
    """Real rows carry the attribution, made-up rows are marked, counts are right."""
    found = {(s.name, s.entity): s for s in shop.store.sources()}
    assert "CC BY 4.0" in (found[REAL, "orders"].attribution or "")
    assert found[REAL, "orders"].description != found[REAL, "order_lines"].description
    assert {s.entity for s in found.values() if s.simulated} == {
        "people", "events", "exposures", "ratings",
    }  # fmt: skip
    assert found["simulated web events", "events"].rows == one(
        shop.store, sa.select(icount()).select_from(events)
    )
    assert all(s.rows > 0 for s in found.values())


def test_the_clock_stands_on_the_morning_after_the_last_row(shop: Context) -> None:
    """Nine o'clock in London on 10 December 2011."""
    assert shop.now == dt.datetime(2011, 12, 10, 9, tzinfo=dt.UTC)


def test_installing_again_changes_nothing(tmp_path: Path) -> None:
    """Neither by the mark of a complete demo, nor by loading each part anew."""
    store = Store.open(f"duckdb:///{tmp_path / 'shop.duckdb'}")
    assert not install_demo(store).nothing_changed
    before = store.sources(), store.fork().rows(sa.select(loads).order_by(loads.c.load_id))
    assert install_demo(store).nothing_changed
    assert before == (
        store.sources(),
        store.fork().rows(sa.select(loads).order_by(loads.c.load_id)),
    )
    report = load_files(
        store, "orders", [FILE], demo_recipe(), source=REAL, description="again", again=True
    )
    assert report.nothing_changed
    assert report.rows_unchanged == 4_371 + 23_795 + 539_391
    store.close()


def test_the_demo_loads_by_the_mapping_that_users_write() -> None:
    """A recipe of three tables, with no code of its own."""
    recipe = demo_recipe()
    assert isinstance(recipe, Recipe)
    assert recipe.entities == ("people", "orders", "order_lines")
