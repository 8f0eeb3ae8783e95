"""top: hand-worked sales, the same on every engine."""

import datetime as dt
from typing import Any

import pytest

from analytics.command import Context
from analytics.commands.top import Top
from analytics.errors import NotEnoughDataError
from analytics.period import parse_period
from analytics.result import Result, Table
from analytics.scope import Filter, Filters
from tests.conftest import fill

# seen from 10 October in Berlin: now is 10 Sep to 9 Oct, before is 11 Aug to 9 Sep
SALES = [
    ("o1", "2026-09-15", "mug", 2, 2000, "sale"),
    ("o2", "2026-09-16", "mug", 1, 1000, "sale"),
    ("o2", "2026-09-16", "cap", 4, 1000, "sale"),
    ("o3", "2026-08-20", "mug", 2, 2000, "sale"),
    ("o3", "2026-08-20", "old", 9, 9000, "sale"),
    ("o4", "2026-09-20", "mug", -1, -1000, "return"),
    ("o5", "2026-09-21", "post", 1, 700, "sale"),
    ("o6", "2026-09-21", "new", 1, 500, "sale"),
]
NAMES = {"mug": ("RED MUG", "cups"), "cap": ("BLUE CAP", None), "old": ("OLD", "cups")}


def sold(ctx: Context) -> Context:
    orders = {
        o: {"order_id": o, "ordered_at": dt.datetime.fromisoformat(day), "kind": kind,
            "amount_cents": 0, "country": "FR" if o == "o2" else "DE"}
        for o, day, _, _, _, kind in SALES
    }  # fmt: skip
    lines = [
        {"order_id": o, "line_no": n, "item_id": i, "quantity": q, "amount_cents": c}
        for n, (o, _, i, q, c, _) in enumerate(SALES)
    ]
    items = [
        {"item_id": i, "name": name, "category": category, "is_product": True}
        for i, (name, category) in NAMES.items()
    ]
    items.append({"item_id": "post", "name": "POSTAGE", "is_product": False})
    fill(ctx.store, orders=list(orders.values()), order_lines=lines, items=items)
    return ctx


def top(ctx: Context, **said: Any) -> Result:
    return Top(**({"period": parse_period("last 30 days", ctx.today)} | said)).run(ctx)


def rows(result: Result) -> list[tuple[Any, ...]]:
    (table,) = (p for p in result.parts if isinstance(p, Table))
    return list(table.rows)


def test_items_by_revenue_with_the_period_before(ctx: Context) -> None:
    # three mugs less the one that came back; postage is no product; "old" sold only before
    assert rows(top(sold(ctx))) == [
        ("RED MUG", 2000, 2000 / 3500, 2000, 2, 2),
        ("BLUE CAP", 1000, 1000 / 3500, 0, 4, 1),
        ("new", 500, 500 / 3500, 0, 1, 1),
    ]


def test_categories_say_what_has_none(ctx: Context) -> None:
    found = rows(top(sold(ctx), what="categories"))
    assert [(r[0], r[1], r[3]) for r in found] == [
        ("cups", 2000, 11000),
        ("without category", 1500, 0),
    ]


def test_a_country_narrows_the_sales(ctx: Context) -> None:
    france = top(sold(ctx), where=Filters((Filter("country", ("fr",)),)))
    assert [r[:2] for r in rows(france)] == [("BLUE CAP", 1000), ("RED MUG", 1000)]


def test_the_headline_says_what_sells_and_how_it_moved(ctx: Context) -> None:
    assert top(sold(ctx)).headline == (
        "RED MUG sells best in the last 30 days: €20.00, 57.1 % of all, "
        "unchanged from the 30 days before."
    )


def test_an_order_that_was_cancelled_sells_nothing(ctx: Context) -> None:
    orders = [
        {"order_id": f"x{n}", "ordered_at": dt.datetime(2026, 9, 20), "kind": k, "amount_cents": c}
        for n, (k, c) in enumerate([("sale", 900_000), ("return", -900_000), ("sale", 100)])
    ]
    lines = [
        {"order_id": o["order_id"], "line_no": 1, "item_id": "small" if n == 2 else "giant",
         "quantity": 1, "amount_cents": o["amount_cents"]}
        for n, o in enumerate(orders)
    ]  # fmt: skip
    fill(ctx.store, orders=orders, order_lines=lines)
    assert [r[0] for r in rows(top(ctx))] == ["small"]


def test_no_sales_are_refused(ctx: Context) -> None:
    with pytest.raises(NotEnoughDataError, match="Nothing was sold"):
        top(sold(ctx), period=parse_period("2025-01", ctx.today))
