"""ab-plan: sizes worked by hand, against statsmodels, and found again in the demo's traffic."""

import dataclasses
import datetime as dt
import math
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from analytics.command import Context
from analytics.commands.ab import Ab
from analytics.commands.ab_plan import AbPlan, Traffic, traffic_of
from analytics.errors import NotEnoughDataError, NotUnderstoodError, UnknownNameError
from analytics.methods.experiment.planning import inflation
from analytics.outcomes import ORDERED
from analytics.result import Figure, Result, Table
from analytics.scope import Filter, Filters
from storage.store import Store
from tests.conftest import fill

TODAY = dt.date(2026, 10, 10)


def visit(person: str, day: int, name: str = "visit", device: str = "mobile") -> dict[str, Any]:
    """An event so many days ago, at noon."""
    at = dt.datetime.combine(TODAY, dt.time(12)) - dt.timedelta(days=day)
    return {
        "event_id": f"{person}-{day}-{name}", "person_id": person, "name": name, "at": at,
        "device": device,
    }  # fmt: skip


def traffic() -> dict[str, list[dict[str, Any]]]:
    """50 new people a day for 28 days, each seen again the next day; one in ten orders at once."""
    events, orders = [], []
    for day in range(1, 29):
        for i in range(50):
            person = f"p{day:02}-{i:02}"
            events.append(visit(person, day, device="mobile" if i < 20 else "desktop"))
            if day > 1:
                events.append(visit(person, day - 1))
            if i % 10 == 0:
                events.append(visit(person, day, "checkout"))
                at = events[-1]["at"] + dt.timedelta(minutes=1)
                orders.append(
                    {
                        "order_id": person, "person_id": person, "ordered_at": at, "kind": "sale",
                        "amount_cents": 2000,
                    }
                )  # fmt: skip
    events.append(visit("too-early", 29))
    return {"events": events, "orders": orders}


@pytest.fixture
def busy(ctx: Context) -> Context:
    """The traffic on each engine."""
    fill(ctx.store, **traffic())
    return ctx


@pytest.fixture
def quiet(tmp_path: Any) -> Any:
    """An empty DuckDB store."""
    store = Store.open(f"duckdb:///{tmp_path / 'quiet.db'}")
    now = dt.datetime(2026, 10, 10, 10, tzinfo=dt.UTC)
    yield Context(store=store, now=now, zone=ZoneInfo("Europe/Berlin"), currency="EUR")
    store.close()


def figures(result: Result) -> dict[str, Any]:
    return {p.label: p.value for p in result.parts if isinstance(p, Figure)}


def weeks(result: Result) -> list[tuple[Any, ...]]:
    (table,) = (p for p in result.parts if isinstance(p, Table))
    return list(table.rows)


def test_the_baseline_is_the_last_four_weeks(busy: Context) -> None:
    found = traffic_of(AbPlan(), ORDERED, busy)
    assert found.arrivals == (50,) * 28
    assert found.value == pytest.approx(0.1)
    assert found.variance == pytest.approx(0.1 * 0.9 * 1400 / 1399)
    assert found.people_in(35) == 50 * 35


def test_the_size_is_that_of_the_textbook(busy: Context) -> None:
    """n per variant = 2·(1.960 + 0.842)²·variance/effect², times the cost of daily looks."""
    result = AbPlan(mde=0.5).run(busy)
    week = figures(result)["Weeks"]
    single = 2 * (1.959964 + 0.841621) ** 2 * 0.1 * 0.9 * 1400 / 1399 / 0.05**2
    wanted = single * inflation(7 * week)
    assert figures(result)["Per variant"] == pytest.approx(wanted, abs=1.5)
    assert week == math.ceil(2 * wanted / 350)
    assert f"run {week} weeks" in result.headline


def test_a_size_agrees_with_statsmodels(busy: Context) -> None:
    from statsmodels.stats.power import NormalIndPower

    result = AbPlan(mde=0.6, power=0.9).run(busy)
    spread = math.sqrt(0.1 * 0.9 * 1400 / 1399)
    size = NormalIndPower().solve_power(effect_size=0.06 / spread, alpha=0.05, power=0.9)
    cost = inflation(7 * figures(result)["Weeks"], 0.05, 0.9)
    assert figures(result)["Per variant"] == pytest.approx(size * cost, abs=1.5)


def test_each_number_of_weeks_finds_less_than_the_one_before(busy: Context) -> None:
    result = AbPlan().run(busy)
    table = weeks(result)
    lifts = [row[3] for row in table]
    assert lifts == sorted(lifts, reverse=True)
    assert [row[:3] for row in table[:2]] == [(1, 350, 175), (2, 700, 350)]
    assert result.headline.startswith("In 4 weeks, 1,400 people, a lift of ")


def test_what_would_take_too_long_is_said(busy: Context) -> None:
    result = AbPlan(mde=0.02).run(busy)
    assert "more than 90 days" in result.headline
    assert figures(result)["Weeks"] is None


def test_more_variants_need_more_people(busy: Context) -> None:
    two, three = (AbPlan(mde=0.9, variants=n).run(busy) for n in (2, 3))
    assert figures(three)["Per variant"] > figures(two)["Per variant"]
    assert figures(three)["People needed"] == pytest.approx(
        3 * figures(three)["Per variant"], abs=3
    )


def test_only_those_who_come_so_far_and_are_meant(busy: Context) -> None:
    mobile = Filters((Filter("device", ("mobile",)),))
    found = traffic_of(AbPlan(where=mobile), ORDERED, busy)
    # people on desktops come again by mobile the next day; three of the last day check out so
    assert sum(found.arrivals) == 20 * 28 + 30 * 27 + 3
    deep = AbPlan(event="Checkout", where=mobile)
    with pytest.raises(NotEnoughDataError, match="the same for everyone"):
        traffic_of(deep, ORDERED, busy)
    with pytest.raises(UnknownNameError) as refused:
        AbPlan(event="chekout").run(busy)
    assert "checkout" in refused.value.hint


def test_without_traffic_there_is_no_plan(quiet: Context) -> None:
    with pytest.raises(NotEnoughDataError, match="No events of the last 28 days"):
        AbPlan().run(quiet)
    fill(quiet.store, **traffic())
    later = dataclasses.replace(quiet, now=dt.datetime(2026, 12, 10, tzinfo=dt.UTC))
    with pytest.raises(NotEnoughDataError, match="No events of the last 28 days"):
        AbPlan().run(later)


def test_traffic_beyond_the_seen_days_is_like_the_last_two_weeks() -> None:
    found = Traffic(ORDERED, (100,) * 14 + (10,) * 14, 0.1, 0.09)
    assert found.people_in(14) == 1400
    assert found.people_in(28) == 1540
    assert found.people_in(35) == 1610


def test_ab_plan_is_pointed_to(shop: Context) -> None:
    with pytest.raises(NotUnderstoodError) as refused:
        Ab(experiment="plan").run(shop)
    assert "ab-plan" in refused.value.hint


def test_the_demo_plans_the_experiment_it_had(shop: Context) -> None:
    """Four weeks of the demo find a lift of about 14 %: its planted one is 15 %."""
    result = AbPlan().run(shop)
    (month,) = (row for row in weeks(result) if row[0] == 4)
    assert month[3] == pytest.approx(0.14, abs=0.005)
