"""classify: planted causes as rules, columns and segments as classes, no look ahead, refusals."""

import dataclasses
import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from analytics.catalog import Members
from analytics.command import Context
from analytics.commands.classify import Classify, question, studied
from analytics.errors import NotEnoughDataError, UnknownNameError, UserError
from analytics.result import Chart, Note, Table
from analytics.scope import Filter, Filters
from bot.dispatch import answer
from bot.parse import parse, unparse
from storage.schema import people
from storage.store import Store
from tests.conftest import fill

LAST = dt.datetime(2026, 9, 30, 12)


def planted(n=360, seed=5):
    """Weekly buyers, of whom those with a checkout left behind on 25 June order no more.

    Half are French, who spend ten times as much; bags are bought after June by those who had
    bought a hat, and a few.
    """
    rng = np.random.default_rng(seed)
    orders, lines, events, members = [], [], [], []
    for i in range(n):
        person, french, hats = f"p{i:03}", i % 2 == 0, i % 3 == 0
        leaves = rng.random() < 0.4
        if rng.random() < (0.9 if leaves else 0.05):
            events.append(
                {"event_id": person, "person_id": person, "name": "checkout",
                 "at": dt.datetime(2026, 6, 25, 18)}
            )  # fmt: skip
        members.append(
            {"person_id": person, "first_seen_at": dt.datetime(2026, 1, 1),
             "country": "France" if french else "Spain"}
        )  # fmt: skip
        for week in range(38):
            at = dt.datetime(2026, 1, 5, 12) + dt.timedelta(days=7 * week + int(rng.integers(3)))
            if at > (dt.datetime(2026, 6, 25) if leaves else LAST):
                break
            order_id, cents = f"{person}/{week}", (5000 if french else 500)
            item = "hat" if hats and week == 2 else "mug"
            if at > dt.datetime(2026, 7, 2) and week == 30 and (hats or rng.random() < 0.1):
                item = "bag"
            orders.append(
                {"order_id": order_id, "person_id": person, "ordered_at": at, "kind": "sale",
                 "amount_cents": cents}
            )  # fmt: skip
            lines.append(
                {"order_id": order_id, "line_no": 1, "item_id": item, "quantity": 1,
                 "amount_cents": cents}
            )  # fmt: skip
    items = [
        {"item_id": i, "name": i.upper(), "category": f"{i}s", "is_product": True}
        for i in ("mug", "hat", "bag")
    ]
    return {
        "orders": orders, "order_lines": lines, "events": events, "people": members, "items": items,
    }  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    return planted()


def duck():
    """A context over an empty DuckDB store."""
    return Context(
        store=Store.open("duckdb:///:memory:"),
        now=dt.datetime(2026, 10, 1, 10, tzinfo=dt.UTC),
        zone=ZoneInfo("Europe/Berlin"),
        currency="EUR",
    )


@pytest.fixture(scope="module")
def market(rows):
    ctx = duck()
    fill(ctx.store, **rows)
    yield ctx
    ctx.store.close()


def table(result, title):
    found = next(p for p in result.parts if isinstance(p, Table) and p.title.startswith(title))
    return pd.DataFrame(found.rows, columns=[c.key for c in found.columns])


def notes(result):
    return "\n".join(p.text for p in result.parts if isinstance(p, Note))


def test_the_planted_cause_is_the_first_rule_of_the_tree(market: Context) -> None:
    result = Classify(target="churned", method="tree").run(market)
    tree = table(result, "The tree")
    assert tree["rule"].iloc[0] == "all people"
    assert tree["rule"].iloc[1] == "checkouts left behind since the last order up to 0"
    assert tree["people"].iloc[0] == 360
    assert result.headline.startswith(
        "Of people with checkouts left behind since the last order over 0, "
    )
    assert "stopped ordering" in result.headline
    quality = table(result, "How good it is")
    assert quality["model"].iloc[0] == "decision tree (taken)"
    assert quality["auc"].min() > 0.85
    confusion = table(result, "What is, and what was named")
    assert confusion[["c0", "c1"]].to_numpy().sum() == 360
    assert confusion["c1"].iloc[1] > 5 * confusion["c0"].iloc[1]
    chart, picture = (p for p in result.parts if isinstance(p, Chart))
    assert chart.x[0] == "checkouts left behind since the last order"
    assert picture.x[0] == "all people (360)"
    assert picture.series[0].values == tuple(tree["share"])
    assert table(result, "How sure it was")["people"].sum() == 360
    assert not result.person_level


def test_nothing_after_the_day_is_read(rows, market: Context) -> None:
    honest = studied(market, question(market, "churned", Filters(), 90), "tree")
    ctx = duck()
    fill(ctx.store, **rows)
    told = dt.datetime(2026, 7, 3, 12)
    gone = {o["person_id"] for o in rows["orders"]} - {
        o["person_id"] for o in rows["orders"] if o["ordered_at"] > dt.datetime(2026, 7, 3)
    }
    assert len(gone) > 30
    fill(ctx.store, events=[
        {"event_id": f"later/{p}", "person_id": p, "at": told, "name": "checkout"} for p in gone
    ])  # fmt: skip
    tempted = studied(ctx, question(ctx, "churned", Filters(), 90), "tree")
    assert tempted.quality.auc == honest.quality.auc
    assert tempted.weights == honest.weights
    ctx.store.close()


def test_shuffled_labels_are_no_model(market: Context, monkeypatch) -> None:
    from analytics.commands import classify as module

    asked = question(market, "churned", Filters(), 90)
    mixed = np.random.default_rng(2).permutation(asked.labels)
    monkeypatch.setattr(module, "question", lambda *_: dataclasses.replace(asked, labels=mixed))
    result = Classify(target="churned").run(market)
    assert result.headline.startswith("I have no model: nothing that I know")
    assert table(result, "How good it is")["auc"].iloc[0] == pytest.approx(0.5, abs=0.08)


def test_where_nothing_tells_there_is_no_model() -> None:
    """Of several stores of chance one may look like more: a bound of 97.5 % lets one in 40 by."""
    first, areas, silent = dt.datetime(2026, 1, 5, 12), [], []
    for seed in (1, 2, 3, 4):
        rng = np.random.default_rng(seed)
        ctx = duck()
        fill(ctx.store, orders=[
            {"order_id": f"{i}/{d}", "person_id": f"p{i:03}", "kind": "sale", "amount_cents": 1000,
             "ordered_at": first + dt.timedelta(days=d)}
            for i in range(300) for d in range(260) if rng.random() < 0.03
        ])  # fmt: skip
        result = Classify(target="churned", horizon=30).run(ctx)
        ctx.store.close()
        areas.append(table(result, "How good it is")["auc"].iloc[0])
        if result.headline.startswith("I have no model: nothing that I know of people tells"):
            silent.append(result)
    assert len(silent) >= 3
    assert np.mean(areas) == pytest.approx(0.5, abs=0.06)  # three errors of the mean of four
    for result in silent:
        assert [p.title for p in result.parts if isinstance(p, Table)] == [
            "How good it is on people it never saw"
        ]
        assert not any(isinstance(p, Chart) for p in result.parts)


def test_who_buys_a_category_and_of_which_country_people_are(market: Context) -> None:
    bags = Filters((Filter("category", ("bags",)),))
    result = Classify(target="bought", where=bags).run(market)
    assert result.title == "Who buys category bags within 90 days"
    assert table(result, "How good it is")["auc"].iloc[0] > 0.7
    country = Classify(target="country", method="tree").run(market)
    assert table(country, "How good it is")["right"].iloc[0] == 1.0  # by what they spend
    rules = table(country, "The tree")["rule"]
    assert rules.str.contains("spend").any()
    assert not rules.str.contains("country").any()


def test_a_saved_segment_can_be_explained(market: Context) -> None:
    french = select(people.c.person_id).where(people.c.country == "France")
    members = Members("big", "who spends much", lambda: french)
    catalog = dataclasses.replace(market.catalog, segments=lambda: (members,))
    ctx = dataclasses.replace(market, catalog=catalog)
    where = Filters((Filter("segment", ("big",)),))
    result = Classify(where=where).run(ctx)
    assert result.title == "Who is in segment big"
    assert "100 % are in segment big (180 people), against 50 % of all" in result.headline


def test_svms_are_taken_where_asked_for(market: Context) -> None:
    result = Classify(target="churned", method="svm").run(market)
    assert (
        table(result, "How good it is")["model"].iloc[0].endswith("support vector machine (taken)")
    )
    assert "is right for" in result.headline
    assert "The tree" not in [p.title for p in result.parts if isinstance(p, Table)]
    assert "classify churned by tree" in result.follow_ups


def test_every_engine_gives_the_same_answer(ctx: Context, rows, market: Context) -> None:
    fill(ctx.store, **rows)
    for command in (Classify(target="churned"), Classify(target="country")):
        assert command.run(ctx).to_dict() == command.run(market).to_dict()


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("classify churned", {"target": "churned"}),
        ("classify country by svm", {"target": "country", "method": "svm"}),
        ("classify country", {"target": "country"}),
        ("classify churned for country France",
         {"target": "churned", "where": Filters((Filter("country", ("France",)),))}),
        ("classify bought category bags",
         {"target": "bought", "where": Filters((Filter("category", ("bags",)),))}),
        ("classify segment loyal", {"where": Filters((Filter("segment", ("loyal",)),))}),
    ],
)  # fmt: skip
def test_how_it_is_asked(text: str, fields, market: Context) -> None:
    command = parse(text, market.today, market.catalog).command
    assert command == Classify(**fields)
    assert parse(unparse(command), market.today, market.catalog).command == command


def test_what_can_not_be_classified_is_refused(ctx: Context, rows) -> None:
    with pytest.raises(NotEnoughDataError, match="No orders are loaded"):
        Classify(target="churned").run(ctx)
    fill(ctx.store, **rows)
    for fields, problem in (
        ({}, "Classify what"),
        ({"target": "bought"}, "Bought what"),
        ({"target": "country", "where": Filters((Filter("country", ("France",)),))}, "all people"),
    ):
        with pytest.raises(UserError, match=problem):
            Classify(**fields).run(ctx)
    with pytest.raises(UnknownNameError, match="“nonsense”"):
        Classify(target="nonsense").run(ctx)
    with pytest.raises(UnknownNameError, match="column of people"):
        Classify(target="category").run(ctx)
    spain = Filters((Filter("country", ("Spain",)),))
    with pytest.raises(NotEnoughDataError, match="Of only"):
        Classify(target="churned", where=spain).run(ctx)
    with pytest.raises(NotEnoughDataError, match="this takes 400"):
        Classify(target="churned", horizon=200).run(ctx)
    hats = Filters((Filter("category", ("hats",)),))
    with pytest.raises(NotEnoughDataError, match="of the class “bought”"):
        Classify(target="bought", where=hats).run(ctx)


def test_the_demo_finds_the_checkouts_that_were_planted(shop: Context) -> None:
    for text in ("classify churned by tree", "classify churned by svm"):
        result = answer(text, shop).result
        chart = next(p for p in result.parts if isinstance(p, Chart))
        assert "checkouts left behind since the last order" in chart.x
        assert "are simulated" in notes(result)
