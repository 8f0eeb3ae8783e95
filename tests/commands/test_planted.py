"""What is planted in the demo is found by the question for it, and not in a twin without it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from sklearn.metrics import adjusted_rand_score

from analytics.command import Context
from analytics.period import parse_period
from analytics.result import Chart, Note, Result, Table
from analytics.scope import Filters
from analytics.segments import group, known_people
from bot.dispatch import answer
from storage.demo import planted, real
from storage.demo.items import items
from storage.demo.simulate import manners, read_shop, simulate
from storage.schema import events
from storage.store import Store
from tests.shop import shop_context, shop_file

CHECKOUTS = "checkouts left behind since the last order"
SINCE_VISIT = "days since the last visit"


@pytest.fixture(scope="module")
def lines() -> pd.DataFrame:
    return real.lines()


@pytest.fixture(scope="module")
def twin(
    lines: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Context]:
    """The demo with visits in which nothing of what is asked here is planted."""
    without = {
        "MANNER_KEPT": 0.0,
        "TOGETHER_SHARE": 0.0,
        "VISITS_BEFORE": (0.0, 6.0),
        "LAPSE_LEAVES": 0.0,
        "ABANDONED_IF_LAPSED": 0.2,
        "ABANDONED_IF_BACK": 0.2,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in without.items():
            patch.setattr(planted, name, value)
        seen = simulate(lines)["events"]
    cache = Path(pytestconfig.cache.mkdir("daybreak-shop"))
    store = Store.open(f"duckdb:///{shop_file(tmp_path_factory.mktemp('twin'), cache)}")
    with store.engine.writing() as writer:
        writer.run(sa.delete(events))
        writer.append("events", seen)
    yield shop_context(store)
    store.close()


def ask(text: str, ctx: Context) -> Result:
    return answer(text, dataclasses.replace(ctx, store=ctx.store.fork())).result


def column(result: Result, title: str, key: str) -> list[Any]:
    table = next(p for p in result.parts if isinstance(p, Table) and p.title.startswith(title))
    return list(pd.DataFrame(table.rows, columns=[c.key for c in table.columns])[key])


def test_churn_names_the_planted_driver_first(shop: Context, twin: Context) -> None:
    for question in ("churn", "churn next 60 days"):
        result = ask(question, shop)
        assert column(result, "What it goes by", "trait")[0] == CHECKOUTS
        assert column(result, "What it goes by", "way")[0] == "the more, the likelier to stop"
        assert result.headline.endswith(f"what tells most is {CHECKOUTS}.")
        assert "simulated in this store" in notes(result)
        assert column(ask(question, twin), "What it goes by", "trait")[0] != CHECKOUTS
    named = ask("churn top 20", shop)
    reasons = column(named, "The first 20", "why")
    assert sum(CHECKOUTS in why for why in reasons) >= 5


def test_a_tree_of_who_stops_goes_by_the_planted_driver(shop: Context, twin: Context) -> None:
    question = "classify churned by tree"
    assert CHECKOUTS in charted(ask(question, shop))[:2]
    assert any(CHECKOUTS in rule for rule in column(ask(question, shop), "The tree", "rule"))
    assert CHECKOUTS not in charted(ask(question, twin))[:2]


def charted(result: Result) -> list[str]:
    chart = next(p for p in result.parts if isinstance(p, Chart))
    return [str(x) for x in chart.x]


def test_purchase_goes_by_the_visits_before_an_order(shop: Context, twin: Context) -> None:
    result = ask("purchase", shop)
    assert column(result, "What it goes by", "trait")[0] == SINCE_VISIT
    assert column(result, "What it goes by", "way")[0] == "the less, the likelier to order"
    assert column(ask("purchase", twin), "What it goes by", "trait")[0] != SINCE_VISIT


def test_the_pairs_looked_at_together_are_the_rules_of_views(
    shop: Context, twin: Context, lines: pd.DataFrame
) -> None:
    names = dict(items(lines).select(["item_id", "name"]).to_pandas().itertuples(index=False))
    pairs = {frozenset(names[i] for i in pair) for pair in planted.LOOKED_AT_TOGETHER}
    question = "rules of views last 365 days"
    result = ask(question, shop)
    assert pairs_of(result) == pairs
    assert all(lift > 20 for lift in column(result, "Rules of views", "lift"))
    assert all(column(result, "Rules of views", "stable"))
    assert ask(question, twin).headline.startswith("No rule stands out")
    assert not pairs & pairs_of(ask("rules last 365 days", shop))  # in no rule of the orders


def pairs_of(result: Result) -> set[frozenset[str]]:
    sides = (column(result, "Rules", key) for key in ("antecedents", "consequents"))
    return {frozenset(both) for both in zip(*sides, strict=True)}


def test_manners_are_the_segments_by_visits(
    shop: Context, twin: Context, lines: pd.DataFrame
) -> None:
    people = read_shop(lines)
    truth = pd.Series(manners(people), people.person_ids)
    found = {}
    for name, ctx in (("demo", shop), ("twin", twin)):
        period = parse_period("last 365 days", ctx.today)
        known = known_people(ctx, period, Filters(), "visits")
        groups = group(known, None, "visits", "log")
        own = truth.reindex(known.people["person_id"]).to_numpy()
        seen = known.people["sessions"].to_numpy()
        found[name] = [
            adjusted_rand_score(own[kept], groups.labels[kept])
            for kept in (seen >= 1, seen >= 5)  # one visit tells little of a manner
        ]
    assert found["demo"][0] > 0.75
    assert found["demo"][1] > 0.95
    assert max(map(abs, found["twin"])) < 0.05
    result = ask("segment by visits last 365 days", shop)
    assert len(column(result, "Segments", "people")) == len(planted.MANNERS)
    apart = " ".join(column(result, "Segments", "apart"))
    assert "visits on mobile 9" in apart
    assert "They alone make these segments" in notes(result)


def notes(result: Result) -> str:
    return "\n".join(p.text for p in result.parts if isinstance(p, Note))
