"""portrait: one hand-worked person, a planted segment, and who may see whom."""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from analytics.command import Asker, Context
from analytics.commands.portrait import OrderDay, Portrait, gaps_of, is_overdue, orders_chart
from analytics.errors import NotEnoughDataError, UnknownNameError, UserError
from analytics.period import parse_period
from analytics.result import Chart, Figure, Note, Result, Table
from analytics.scope import day_number
from bot.dispatch import answer
from bot.parse import parse
from storage.state import State
from storage.store import Store
from tests.commands.test_segment import HAND_WORKED, TODAY, line, order, planted
from tests.conftest import fill


@pytest.fixture
def duck(tmp_path: Path) -> Iterator[Context]:
    """A context with a memory over an empty DuckDB store."""
    store = Store.open("duckdb:///:memory:")
    state = State.open(f"sqlite:///{tmp_path / 'state.sqlite'}")
    yield Context(
        store=store,
        now=dt.datetime(2026, 10, 10, 10, tzinfo=dt.UTC),
        zone=ZoneInfo("Europe/Berlin"),
        currency="EUR",
        state=state,
    )
    state.close()
    store.close()


def ask(text: str, ctx: Context) -> Result:
    return answer(text, ctx).result


def figures(result: Result) -> dict[str, Figure]:
    return {p.label: p for p in result.parts if isinstance(p, Figure)}


def table(result: Result, title: str) -> Table:
    return next(p for p in result.parts if isinstance(p, Table) and p.title == title)


def notes(result: Result) -> str:
    return "\n".join(p.text for p in result.parts if isinstance(p, Note))


def test_a_hand_worked_person(duck: Context) -> None:
    fill(duck.store, **HAND_WORKED)
    ask("segment save twice where orders >= 2", duck)
    result = ask("portrait user ann last 90 days", duck)
    found = figures(result)
    assert found["Days since last order"].value == 1
    assert found["Orders"].value == 2
    assert found["Net spend"].value == 13000
    assert found["Net spend"].note == "more than 66.6 % of buyers"
    assert found["Orders"].note == "more than 66.6 % of buyers; usual is 1"
    bought = table(result, "What ann buys")
    assert [row[0] for row in bought.rows] == ["Mug", "Bag"]
    assert bought.rows[0] == ("Mug", "kitchen", 9000, 1, 2)
    latest = table(result, "What ann did last").rows
    assert latest[0] == (dt.datetime(2026, 10, 9, 8), "order", "a1", 10000)
    assert ("return", "a3", -2000) in [row[1:] for row in latest]
    assert "Saved segments: twice." in notes(result)
    assert "2 days with orders: too few for a rhythm" in notes(result)
    assert result.headline.startswith("ann stands under “")


def test_a_person_is_shown_to_the_asker_alone(duck: Context) -> None:
    fill(duck.store, **HAND_WORKED)
    result = ask("portrait user ann last 90 days", duck)
    assert result.person_level
    assert Portrait(user="ann", period=parse_period("all time", TODAY)).shows_people
    assert not Portrait(segment="x", period=parse_period("all time", TODAY)).shows_people
    stranger = dataclasses.replace(duck, asker=Asker("eve", may_see_people=False))
    with pytest.raises(UserError):
        ask("portrait user ann", stranger)


def test_who_bought_nothing_is_shown_by_what_they_did(duck: Context) -> None:
    fill(duck.store, **HAND_WORKED)
    result = ask("portrait user vic last 90 days", duck)
    assert result.headline == "vic bought nothing in the last 90 days."
    assert table(result, "What vic did last").rows[0][1] == "visit"
    assert result.person_level
    quiet = ask("portrait user fay yesterday", duck)
    assert "Nothing is known of this person" in notes(quiet)


def test_nobody_of_that_name_is_refused(duck: Context) -> None:
    fill(duck.store, **HAND_WORKED)
    with pytest.raises(UnknownNameError, match="I don't know the person"):
        ask("portrait user zoe", duck)
    with pytest.raises(UserError, match="one person or one segment"):
        ask("portrait", duck)
    with pytest.raises(UserError, match="one person or one segment"):
        ask("portrait user ann segment twice", duck)


def days(*back: int) -> list[OrderDay]:
    """Order days so many days before 2026-10-10."""
    return [OrderDay(day_number(TODAY) - b, 1, 1000) for b in sorted(back, reverse=True)]


def test_an_order_is_overdue_by_the_persons_own_habit() -> None:
    period = parse_period("last 365 days", TODAY)
    monthly = days(190, 160, 130, 100)
    assert gaps_of(monthly) == [30, 30, 30]
    assert is_overdue(monthly, period)
    assert not is_overdue(days(100, 70, 40, 10), period)
    assert not is_overdue(days(300, 200), period)


def test_a_late_person_is_said_to_be_late(duck: Context) -> None:
    orders = [
        order(f"m{i}", "max", f"{TODAY - dt.timedelta(days=100 + 30 * i)} 12:00", 1000)
        for i in range(4)
    ]
    fill(duck.store, orders=orders)
    result = ask("portrait user max", duck)
    assert result.headline.endswith("that is late for somebody who orders every 30 days.")
    found = figures(result)
    assert found["Gaps that were shorter than the silence now"].value == 1.0
    assert found["Days between orders (median)"].value == 30


def test_months_without_an_order_are_drawn_as_zero() -> None:
    june, august = (day_number(dt.date(2026, m, 3)) for m in (6, 8))
    (chart,) = orders_chart([OrderDay(june, 1, 500), OrderDay(august, 2, 700)])
    assert chart.x == ("2026-06", "2026-07", "2026-08")
    assert chart.series[0].values == (500, 0, 700)
    assert orders_chart([OrderDay(june, 1, 500), OrderDay(june + 3, 2, 700)]) == []


def with_items() -> dict[str, list[dict]]:
    """The planted people; regulars buy mugs, all others bags."""
    rows = planted()
    lines = [
        line(
            o["order_id"], 1, "mug" if o["person_id"].startswith("r") else "bag", o["amount_cents"]
        )
        for o in rows["orders"]
    ]
    return rows | {"order_lines": lines, "items": HAND_WORKED["items"][:2]}


def test_a_saved_segment_is_set_apart_from_all_buyers(duck: Context) -> None:
    fill(duck.store, **with_items())
    ask("segment save best cluster 1", duck)
    result = ask("portrait segment best", duck)
    assert figures(result)["People"].value == 40
    assert figures(result)["Share of buyers"].value == pytest.approx(0.2)
    apart = table(result, "What sets it apart").rows
    traits = [row[0] for row in apart]
    assert traits[0] in ("orders", "net spend", "days since last order")
    assert [abs(row[2]) for row in apart] == sorted((abs(row[2]) for row in apart), reverse=True)
    assert table(result, "What it buys most").rows[0][0::2] == ("Mug", 1.0)
    assert table(result, "What it buys most").rows[0][3] == pytest.approx(5)
    (chart,) = (p for p in result.parts if isinstance(p, Chart))
    spent = sum(o["amount_cents"] for o in planted()["orders"] if o["person_id"][0] == "r")
    assert sum(chart.series[0].values) == pytest.approx(spent, rel=0.05)  # whole weeks only
    assert not result.person_level
    assert result.headline.startswith("Segment best is 40 people, 20 % of buyers with ")
    assert "“Champions” of `segment last 90 days`" in notes(result)


def test_a_cell_of_the_grid_needs_no_saving(duck: Context) -> None:
    fill(duck.store, **with_items())
    result = ask("portrait segment champions last 90 days", duck)
    assert "not saved" in notes(result)
    save = next(f for f in result.follow_ups if "save" in f)
    assert "now segment champions" in ask(save, duck).headline
    again = ask("portrait segment champions last 90 days", duck)
    assert figures(again)["People"].value == figures(result)["People"].value
    assert parse(result.follow_ups[-1], TODAY, duck.catalog).text == "segments"


def test_a_segment_that_is_not_known_or_empty_is_refused(duck: Context) -> None:
    fill(duck.store, **with_items())
    with pytest.raises(UnknownNameError) as refused:
        ask("portrait segment champignons", duck)
    assert refused.value.hint == "Did you mean Champions?"
    ask("segment save week where recency <= 3 last 90 days", duck)
    later = dataclasses.replace(duck, now=duck.now + dt.timedelta(days=20))
    with pytest.raises(NotEnoughDataError, match="Nobody is in segment week today"):
        ask("portrait segment week", later)


def test_a_segment_of_everybody_is_set_apart_by_nothing(duck: Context) -> None:
    fill(duck.store, **planted())
    ask("segment save everyone where orders >= 1", duck)
    result = ask("portrait segment everyone", duck)
    assert "Nothing that is known sets these people apart" in notes(result)
