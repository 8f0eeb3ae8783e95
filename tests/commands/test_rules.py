"""rules: hand-worked baskets, thresholds, wording, and what is refused."""

import dataclasses
import datetime as dt
from typing import Any

import pytest

from analytics.command import Context
from analytics.commands.rules import LEAST_BASKETS, Rules
from analytics.errors import NotEnoughDataError, TooLargeError, UnknownNameError, UserError
from analytics.period import parse_period
from analytics.result import Chart, Note, Result, Table
from analytics.scope import Filter, Filters
from tests.conftest import fill

# 100 orders: bread with milk in 30, bread alone in 10, milk alone in 10, tea alone in 50.
# Of the 30, 15 lie in each half of the period, so the rule is stable.
BOTH, BREAD, MILK, TEA = 30, 10, 10, 50
NAMES = {"b": "BREAD", "m": "MILK", "t": "TEA", "p": "POSTAGE"}


def basket(number: int, items: str, day: dt.date, **more: Any) -> tuple[dict, list[dict]]:
    order = {
        "order_id": f"o{number:04}", "ordered_at": dt.datetime.combine(day, dt.time(12)),
        "kind": "sale", "amount_cents": 100, "country": "France", "person_id": None,
    } | more  # fmt: skip
    lines = [
        {"order_id": order["order_id"], "line_no": i, "item_id": item, "quantity": 1,
         "amount_cents": 100}
        for i, item in enumerate(items, 1)
    ]  # fmt: skip
    return order, lines


def shop(ctx: Context) -> Context:
    """The hundred orders, postage on every one, a return, and an order outside the period."""
    kinds = ["bmp"] * BOTH + ["bp"] * BREAD + ["mp"] * MILK + ["tp"] * TEA
    orders, lines = [], []
    for n, items in enumerate(kinds):
        day = dt.date(2026, 9, 11) if n % 2 else dt.date(2026, 10, 5)
        order, of_order = basket(n, items, day, country="France" if n % 2 else "Spain")
        orders.append(order)
        lines += of_order
    for n, more in (
        (900, {"kind": "return"}),
        (901, {"ordered_at": dt.datetime.combine(dt.date(2025, 1, 1), dt.time())}),
    ):
        order, of_order = basket(n, "tb", dt.date(2026, 10, 5), **more)
        orders.append(order)
        lines += of_order
    lines.append(lines[0] | {"line_no": 9})  # bread twice in one order is bread once
    items = [
        {"item_id": i, "name": n, "category": "food" if i in "bm" else "drinks",
         "is_product": i != "p"}
        for i, n in NAMES.items()
    ]  # fmt: skip
    fill(ctx.store, orders=orders, order_lines=lines, items=items)
    return ctx


def rules(ctx: Context, **said: Any) -> Result:
    asked = {"period": parse_period("last 30 days", ctx.today)} | said
    return Rules(**asked).run(ctx)


def rows_of(result: Result) -> list[dict[str, Any]]:
    (table,) = (p for p in result.parts if isinstance(p, Table))
    return [dict(zip([c.key for c in table.columns], r, strict=True)) for r in table.rows]


def test_bread_and_milk_by_hand(ctx: Context) -> None:
    (row,) = rows_of(rules(shop(ctx)))
    # bread is in 40 of 100 orders, milk in 40, both in 30: lift 30*100/(40*40), 16 by chance
    assert row == {
        "antecedents": "BREAD", "consequents": "MILK", "count": 30, "support": 0.3,
        "confidence": 0.75, "lift": 1.875, "extra_baskets": 14, "reverse_confidence": 0.75,
        "stable": True,
    }  # fmt: skip


def test_the_headline_says_what_to_do(ctx: Context) -> None:
    result = rules(shop(ctx))
    assert result.headline == (
        "Who buys BREAD also buys MILK in 75 % of orders, 1.9 times as often as by chance: "
        "offer them together. 1 rule in all."
    )
    (chart,) = (p for p in result.parts if isinstance(p, Chart))
    assert (chart.x, chart.series[0].values) == (("BREAD → MILK",), (1.875,))


def test_apriori_finds_the_same_and_says_so(ctx: Context) -> None:
    shop(ctx)
    by_growth, by_levels = rules(ctx), rules(ctx, method="apriori")
    assert rows_of(by_growth) == rows_of(by_levels)
    assert any("mlxtend apriori" in p.text for p in by_levels.parts if isinstance(p, Note))
    assert any("mlxtend fpgrowth" in p.text for p in by_growth.parts if isinstance(p, Note))


def test_fees_returns_and_other_days_are_no_baskets(ctx: Context) -> None:
    notes = [p.text for p in rules(shop(ctx)).parts if isinstance(p, Note)]
    assert notes[0].startswith("Found in 100 orders by ")


def test_a_category_narrows_the_items_and_not_the_orders(ctx: Context) -> None:
    shop(ctx)
    food = rules(ctx, where=Filters((Filter("category", ("FOOD",)),)))
    (row,) = rows_of(food)
    assert (row["count"], row["support"], row["lift"]) == (30, 0.3, 1.875)
    with pytest.raises(UnknownNameError, match="fod"):
        rules(ctx, where=Filters((Filter("category", ("fod",)),)))


def test_a_country_narrows_the_orders(ctx: Context) -> None:
    shop(ctx)
    france = rules(ctx, where=Filters((Filter("country", ("france",)),)), min_support=0.05)
    (row,) = rows_of(france)
    assert (row["count"], row["support"]) == (15, 0.3)  # 15 of 50
    assert row["stable"] is False  # all French orders lie in one half


def test_with_item_keeps_rules_that_hold_it(ctx: Context) -> None:
    shop(ctx)
    assert len(rows_of(rules(ctx, item="milk"))) == 1
    nothing = rules(ctx, item="tea")
    assert nothing.headline.startswith("No rule stands out")
    with pytest.raises(UnknownNameError, match=r"Did you mean BREAD\?|I don't know the item"):
        rules(ctx, item="braed")


def test_thresholds_are_reached_at_their_value(ctx: Context) -> None:
    shop(ctx)
    assert rows_of(rules(ctx, min_support=0.3, min_confidence=0.75, min_lift=1.875))
    for above in ({"min_support": 0.31}, {"min_confidence": 0.76}, {"min_lift": 1.88}):
        assert rules(ctx, **above).headline.startswith("No rule stands out")


def test_what_may_be_chance_is_left_out(ctx: Context) -> None:
    """Two items in half of the orders each, together in 27 of 100 where chance gives 25."""
    kinds = ["xy"] * 27 + ["x"] * 23 + ["y"] * 23 + ["z"] * 27
    made = [basket(n, k, dt.date(2026, 10, 1)) for n, k in enumerate(kinds)]
    fill(
        ctx.store, orders=[o for o, _ in made], order_lines=[line for _, ls in made for line in ls]
    )
    result = rules(ctx, min_lift=1)
    assert result.headline.startswith("No rule stands out")
    assert any("may be chance left out" in p.text for p in result.parts if isinstance(p, Note))


def test_too_few_orders_are_refused(ctx: Context) -> None:
    fill(ctx.store, orders=[basket(1, "b", dt.date(2026, 10, 5))[0]])
    with pytest.raises(NotEnoughDataError, match=f"rules need {LEAST_BASKETS}"):
        rules(ctx)


def test_a_support_that_was_asked_for_is_refused_and_not_changed(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analytics import market as module
    from analytics.methods.itemsets import MiningTooLargeError

    def full(*_: Any, min_support: float, **__: Any) -> Any:
        raise MiningTooLargeError("itemsets", 9, 8, 0.25)

    shop(ctx)
    monkeypatch.setattr(module, "frequent_itemsets", full)
    with pytest.raises(TooLargeError, match=r"min-support 25% fits"):
        rules(ctx, min_support=0.01)


def test_a_market_too_large_is_sampled_by_order_and_says_so(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analytics import market as module

    shop(ctx)
    monkeypatch.setattr(module, "MOST_LINES", 91)  # 130 product lines: 700 of 1,000 buckets
    result = rules(ctx, min_support=0.05)
    warned = [p.text for p in result.parts if isinstance(p, Note) and p.level == "warning"]
    assert len(warned) == 1
    assert "stable sample of" in warned[0]
    (row,) = rows_of(result)
    assert 0 < row["count"] < 30
    assert rows_of(rules(ctx, min_support=0.05)) == [row]


def test_items_that_share_a_name_are_told_apart(ctx: Context) -> None:
    shop(ctx)
    with ctx.store.engine.writing() as writer:
        import sqlalchemy as sa

        writer.run(sa.text("UPDATE items SET name = 'BREAD' WHERE item_id = 'm'"))
    (row,) = rows_of(rules(ctx))
    assert {row["antecedents"], row["consequents"]} == {"BREAD (b)", "BREAD (m)"}


def test_the_demo_shop_sells_hand_warmers_together(shop: Context) -> None:
    result = rules(dataclasses.replace(shop, store=shop.store.fork()),
                   period=parse_period("last 7 days", shop.today))  # fmt: skip
    assert rows_of(result)[0]["antecedents"].startswith("HAND WARMER")


def seen(visit: str, item: str | None, day: dt.date, name: str = "view_item", **more: Any) -> dict:
    return {
        "event_id": f"{visit}/{item}/{name}", "session_id": visit, "person_id": "ann", "name": name,
        "item_id": item, "at": dt.datetime.combine(day, dt.time(12)), "device": "mobile",
    } | more  # fmt: skip


def test_what_is_looked_at_together_by_hand(ctx: Context) -> None:
    """Of 100 visits 30 see bread and milk, 10 either alone, 50 tea: as the orders above."""
    days = [ctx.today - dt.timedelta(days=3 + 20 * (n % 2)) for n in range(100)]
    kinds = ["bmp"] * BOTH + ["bp"] * BREAD + ["mp"] * MILK + ["tp"] * TEA
    fill(
        ctx.store,
        items=[
            {"item_id": i, "name": n, "category": "FOOD", "is_product": n != "POSTAGE"}
            for i, n in NAMES.items()
        ],
        events=[
            *(seen(f"s{n}", i, days[n]) for n, kind in enumerate(kinds) for i in kind),
            *(seen(f"s{n}", "t", days[n], "add_to_cart") for n in range(100)),  # no view
            *(seen(f"n{n}", "b", days[n], session_id=None) for n in range(60)),  # of no known visit
        ],
    )
    result = rules(ctx, of="views")
    (row,) = rows_of(result)
    assert row == {
        "antecedents": "BREAD", "consequents": "MILK", "count": 30, "support": 0.3,
        "confidence": 0.75, "lift": 1.875, "extra_baskets": 14, "reverse_confidence": 0.75,
        "stable": True,
    }  # fmt: skip
    assert result.headline == (
        "Who looks at BREAD also looks at MILK in 75 % of visits, 1.9 times as often as by chance: "
        "show them beside each other. 1 rule in all."
    )
    (table,) = (p for p in result.parts if isinstance(p, Table))
    assert "Visits with both" in [c.label for c in table.columns]
    assert "rules last 30 days" in result.follow_ups
    nothing = rules(ctx, of="views", min_support=0.5)
    assert "nothing is looked at together in at least 50 % of visits" in nothing.headline
    assert rules(ctx, of="views", where=Filters((Filter("device", ("mobile",)),))).parts


def test_views_are_not_known_by_category_and_few_are_refused(ctx: Context) -> None:
    shop(ctx)
    with pytest.raises(UserError, match="What was looked at is not known by category"):
        rules(ctx, of="views", where=Filters((Filter("category", ("FOOD",)),)))
    with pytest.raises(NotEnoughDataError, match="Only 0 visits that looked at an item"):
        rules(ctx, of="views")
