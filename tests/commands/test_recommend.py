"""recommend: planted tastes, named items, private persons, consent, and what is refused."""

import dataclasses
import datetime as dt

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from analytics.catalog import Members
from analytics.command import Context
from analytics.commands.recommend import Recommend
from analytics.errors import NotEnoughDataError, UnknownNameError, UserError
from analytics.period import parse_period
from analytics.result import Chart, Note, Table
from analytics.scope import Filter, Filters
from bot.dispatch import answer
from storage.schema import orders
from storage.store import Store
from tests.conftest import fill

TODAY = dt.date(2026, 10, 10)
YEAR = parse_period("last 365 days", TODAY)
FIRST = dt.datetime(2026, 4, 1, 12)
NAMES = {"a00": "RED MUG", "a01": "BLUE MUG", "b00": "RED BAG", "b01": "RED BAG"}


def market(n=240, seed=0):
    """People of two tastes (items a.., b..), who go on buying of the same; zz is bought by all."""
    rng = np.random.default_rng(seed)
    orders, lines = [], []

    def buys(person, item, day):
        order_id = f"{person}/{item}"
        orders.append(
            {
                "order_id": order_id,
                "person_id": person,
                "ordered_at": FIRST + dt.timedelta(days=day),
                "kind": "sale",
                "amount_cents": 500,
                "country": "DE",
            }
        )
        lines.append(
            {
                "order_id": order_id,
                "line_no": 1,
                "item_id": item,
                "quantity": 1,
                "amount_cents": 500,
            }
        )

    for i in range(n):
        world = "ab"[i % 2]
        for k, j in enumerate(rng.permutation(12)[:6]):
            buys(f"p{i:03}", f"{world}{j:02}", int(rng.integers(0, 120)) if k < 3 else 170)
        buys(f"p{i:03}", "zz", 60)
    for i in range(6):
        buys(f"q{i}", "lonely", i)  # bought by people who buy nothing else
    buys("new", "rare", 100)
    ids = sorted({line["item_id"] for line in lines})
    items = [
        {
            "item_id": i,
            "name": NAMES.get(i, f"THING {i.upper()}"),
            "category": "mugs" if i[0] == "a" else "bags",
            "is_product": True,
        }
        for i in ids
    ]
    return {"orders": orders, "order_lines": lines, "items": items}


@pytest.fixture(scope="module")
def rows():
    return market()


@pytest.fixture
def sold(ctx: Context, rows) -> Context:
    fill(ctx.store, **rows)
    return ctx


def ask(ctx: Context, **fields):
    return Recommend(**({"period": YEAR} | fields)).run(ctx)


def table(result, n=0):
    found = [p for p in result.parts if isinstance(p, Table)][n]
    return pd.DataFrame(found.rows, columns=[c.key for c in found.columns])


def notes(result):
    return "\n".join(p.text for p in result.parts if isinstance(p, Note))


def test_the_planted_tastes_beat_popularity(sold: Context) -> None:
    result = ask(sold)
    compared = table(result)
    assert compared["recommender"].iloc[0].endswith("(taken)")
    assert compared["recommender"].iloc[-1] == "popularity"
    assert compared["hit_rate"].iloc[0] > compared["hit_rate"].iloc[-1] + 0.1
    assert not result.person_level
    assert isinstance(result.parts[1], Chart)
    assert "more than popularity" in notes(result)
    assert "1 item with fewer than 5 buyers left out" in notes(result)
    shown = table(result, 1)
    assert shown["people"].is_monotonic_decreasing
    assert "the ten bestsellers do for" in result.headline


def test_a_person_gets_items_of_their_taste_with_reasons(sold: Context) -> None:
    result = ask(sold, user="p001", top=3)
    shown = table(result)
    assert result.person_level
    assert len(shown) == 3
    assert shown["item"].str.contains("BAG|THING B").all()  # p001 buys of b..
    assert shown["because"].str.startswith("bought ").all()
    assert shown["share"].between(0, 1).all()
    bought = {f"THING {o['order_id'].split('/')[1].upper()}" for o in market()["orders"]
              if o["person_id"] == "p001"}  # fmt: skip
    assert not bought & set(shown["item"])
    assert result.headline.startswith("Offer p001 ")
    assert "of those who did bought it too" in result.headline


def test_one_who_bought_nothing_common_gets_what_most_buy(sold: Context) -> None:
    for person in ("new", "q1"):  # a rare item, and an item that nobody bought with another
        shown = table(ask(sold, user=person, top=2))
        assert shown["item"].iloc[0] == "THING ZZ"
        assert shown["because"].tolist() == ["most people buy it"] * 2
    assert "bought nothing in the last 365 days" in notes(ask(sold, user="new"))


def test_persons_are_private_known_and_asked(sold: Context) -> None:
    assert Recommend(period=YEAR, user="p001").shows_people
    assert not Recommend(period=YEAR, item="RED MUG").shows_people
    with pytest.raises(UnknownNameError, match="person “nobody”"):
        ask(sold, user="nobody")
    with pytest.raises(UserError, match="a person or an item"):
        ask(sold, user="p001", item="RED MUG")
    consent = {"person_id": "p001", "purpose": "Personalisation"}
    fill(
        sold.store,
        consents=[
            consent | {"at": FIRST, "granted": True},
            consent | {"at": FIRST + dt.timedelta(days=1), "granted": False},
            consent | {"person_id": "p003", "at": FIRST, "granted": True},
        ],
        people=[{"person_id": "visitor", "first_seen_at": FIRST}],
    )
    with pytest.raises(UserError, match="p001 has not agreed"):
        ask(sold, user="p001")
    assert ask(sold, user="p003").person_level
    assert "most people buy" in notes(ask(sold, user="visitor"))


def test_similar_items_are_of_the_same_taste(sold: Context) -> None:
    result = ask(sold, item="red mug", top=4)
    shown = table(result)
    assert shown["item"].str.contains("MUG|THING A").all()
    assert shown["alike"].is_monotonic_decreasing
    assert (shown["lift"] > 1).all()
    buyers = sum(o["order_id"].endswith("/a00") for o in market()["orders"])
    assert shown["both"].iloc[0] == round(shown["share"].iloc[0] * buyers)
    assert f"its {buyers} buyers" in result.headline
    assert not result.person_level


def test_an_item_is_found_by_id_words_or_the_nearest_name(sold: Context) -> None:
    assert "RED MUG" in ask(sold, item="A00").title
    assert "RED BAG (b00)" in ask(sold, item="b00").title  # two share the name
    result = ask(sold, item="red")
    assert "is also in 2 other names" in notes(result)
    with pytest.raises(UnknownNameError, match="item “RED MUGS”") as unknown:
        ask(sold, item="RED MUGS")
    assert "RED MUG" in unknown.value.hint
    with pytest.raises(NotEnoughDataError, match="Nobody who bought THING LONELY"):
        ask(sold, item="lonely")


def test_every_engine_gives_the_same_answer(sold: Context, rows) -> None:
    reference = Store.open("duckdb:///:memory:")
    fill(reference, **rows)
    there = dataclasses.replace(sold, store=reference)
    for fields in ({}, {"user": "p002"}, {"item": "RED MUG"}):
        assert ask(sold, **fields).to_dict() == ask(there, **fields).to_dict()
    reference.close()


def test_too_little_is_refused(ctx: Context, rows) -> None:
    with pytest.raises(NotEnoughDataError, match="No order lines are loaded"):
        ask(ctx)
    fill(ctx.store, **rows)
    with pytest.raises(NotEnoughDataError, match="No orders in 2020"):
        ask(ctx, period=parse_period("2020", TODAY))
    with pytest.raises(NotEnoughDataError, match="Only 12 items"):
        ask(ctx, where=Filters((Filter("category", ("mugs",)),)))
    with pytest.raises(NotEnoughDataError, match="Too few people bought something new"):
        ask(ctx, period=parse_period("2026-04-01..2026-08-25", TODAY))


def test_where_nothing_beats_the_bestsellers_it_is_said(ctx: Context) -> None:
    rng = np.random.default_rng(1)
    early = [(f"p{i:03}", f"c{j:02}", 1) for i in range(200) for j in rng.permutation(30)[:3]]
    hits = [(f"p{i:03}", hit, 1 if i % 2 else 170) for i in range(200) for hit in ("x", "y")]
    orders, lines = [], []
    for person, item, day in early + hits:
        order_id = f"{person}/{item}"
        at = FIRST + dt.timedelta(days=day)
        orders.append(
            {"order_id": order_id, "person_id": person, "ordered_at": at, "kind": "sale",
             "amount_cents": 1}
        )  # fmt: skip
        lines.append(
            {"order_id": order_id, "line_no": 1, "item_id": item, "quantity": 1, "amount_cents": 1}
        )
    fill(ctx.store, orders=orders, order_lines=lines)
    result = ask(ctx)
    assert table(result).set_index("recommender")["ndcg"].max() == 1
    assert "nothing does better than showing everybody the bestsellers" in notes(result)


def test_the_demo_shop_beats_its_bestsellers(shop: Context) -> None:
    result = answer("recommend", shop).result
    compared = table(result).set_index("recommender")
    assert compared["ndcg"].iloc[0] > 2 * compared.loc["popularity", "ndcg"]


def with_facts(rows):
    """The market's items with attributes, and three that nobody has bought."""
    facts = {"a02": '{"stock": 0}', "a03": '{"Stock": 4, "colour": "green"}', "b02": "no JSON"}
    items = [i | {"attributes": facts.get(i["item_id"])} for i in rows["items"]]
    new = [
        {"item_id": i, "name": n, "category": c, "is_product": p, "attributes": a}
        for i, n, c, p, a in (
            ("n1", "GREEN MUG", "mugs", True, None),
            ("n2", "GREEN BAG", "bags", True, None),
            ("n3", "LOST MUG", "mugs", True, '{"available": "no"}'),
            ("n4", "MUG POSTAGE", "mugs", False, None),
        )
    ]
    return rows | {"items": items + new}


@pytest.fixture
def furnished(ctx: Context, rows) -> Context:
    fill(ctx.store, **with_facts(rows))
    return ctx


def test_what_is_out_of_stock_is_never_shown(furnished: Context) -> None:
    shown = {i for n in range(0, 40, 2) for i in table(ask(furnished, user=f"p{n:03}"))["item"]}
    assert "THING A02" not in shown
    assert "THING A03" in shown
    assert "1 item out of stock never shown" in notes(ask(furnished))


def test_new_items_are_placed_by_their_words(furnished: Context) -> None:
    result = ask(furnished, what="new-items")
    shown = table(result).set_index("item")
    assert set(shown.index) == {"GREEN MUG", "GREEN BAG"}  # LOST MUG can't be had
    assert shown.loc["GREEN MUG", "like"] == "THING A03"  # green by its attributes
    assert shown["people"].to_dict() == {"GREEN BAG": 126, "GREEN MUG": 120}  # six by category
    assert "hidden as if nobody had bought them" in notes(result)
    assert not result.person_level
    own = ask(furnished, what="new-items", user="p001")
    assert table(own)["item"].iloc[0] == "GREEN BAG"  # p001 buys of b..
    assert own.person_level


def test_where_no_item_is_new_it_is_said(sold: Context) -> None:
    with pytest.raises(NotEnoughDataError, match="No item is new"):
        ask(sold, what="new-items")


def test_a_list_of_people_is_private_and_leaves_out_who_refused(sold: Context) -> None:
    said = {"purpose": "personalisation", "at": FIRST, "granted": False}
    fill(sold.store, consents=[{"person_id": p} | said for p in ("p000", "p002")])
    result = ask(sold, what="each-person", top=2)
    listed = table(result)
    assert result.person_level
    assert Recommend(period=YEAR, what="each-person").shows_people
    assert not {"p000", "p002"} & set(listed["person_id"])
    assert "2 people left out who did not agree" in notes(result)
    assert list(listed.columns) == ["person_id", "item_0", "item_1", "because"]
    mugs = listed[listed["person_id"].str.match(r"p\d*[02468]$")]
    assert mugs["item_0"].str.contains("MUG|THING A|THING ZZ").all()
    for fields in ({"user": "p001"}, {"item": "RED MUG"}):
        with pytest.raises(UserError, match="each-person"):
            ask(sold, what="each-person", **fields)


def test_a_segment_is_shown_what_its_people_would_be(sold: Context) -> None:
    bags = select(orders.c.person_id).where(orders.c.order_id.like("%/b%")).distinct()
    members = Members("bag-lovers", "buyers of bags", lambda: bags)
    catalog = dataclasses.replace(sold.catalog, segments=lambda: (members,))
    ctx = dataclasses.replace(sold, catalog=catalog)
    where = Filters((Filter("segment", ("bag-lovers",)),))
    result = ask(ctx, where=where, top=5)
    assert table(result, 1)["item"].str.contains("BAG|THING B").all()
    assert "120 buyers of segment bag-lovers" in result.parts[2].title
    assert result.headline.startswith("Offer segment bag-lovers ")
    everybody = ask(sold)
    assert table(result)["ndcg"].tolist() == table(everybody)["ndcg"].tolist()  # learnt from all
    listed = table(ask(ctx, where=where, what="each-person"))
    assert len(listed) == 120
