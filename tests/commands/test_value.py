"""value: hand-worked histories, simulated people, the check, and what is refused."""

import dataclasses
import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from analytics.command import Context
from analytics.commands import value
from analytics.commands.value import (
    Check,
    Value,
    before,
    checked,
    correlation,
    histories,
    known_days,
)
from analytics.errors import NotEnoughDataError
from analytics.methods.lifetime import NoFitError
from analytics.period import parse_period
from analytics.result import Chart, Figure, Note, Table
from analytics.scope import Filter, Filters, scope_of
from bot.dispatch import answer
from storage.store import Store
from tests.conftest import fill

TODAY = dt.date(2026, 10, 10)
FIRST = dt.date(2025, 11, 1)
ALL_TIME = parse_period("all time", TODAY)


def order(person, when, cents, country="DE"):
    """An order, or a return where the amount is below zero."""
    return {
        "order_id": f"{person}/{when}/{cents}",
        "person_id": person,
        "ordered_at": dt.datetime.fromisoformat(when),
        "kind": "sale" if cents >= 0 else "return",
        "amount_cents": cents,
        "country": country,
    }


HAND_WORKED = [
    order("ann", "2026-01-01 10:00", 1000),
    order("ann", "2026-01-01 22:30", 500),  # the same day in Berlin
    order("ann", "2026-01-01 23:30", 700),  # the next day in Berlin
    order("ann", "2026-03-02 10:00", 2000),
    order("ann", "2026-03-09 10:00", -600),  # returned a week later
    order("bob", "2026-02-01 10:00", 9000),
    order("bob", "2026-02-01 11:00", -9000),  # undone at once: no purchase
    order("bob", "2026-02-03 10:00", 300),
    order("cat", "2026-02-01 10:00", 400),
    order("cat", "2026-02-01 11:00", -400),
    order("dan", "2026-03-10 10:00", -100),
    order(None, "2026-03-31 10:00", 800),  # nobody we know, but the data run to here
]


def history_of(ctx, period="all time", cut="2026-03-01", days=30):
    period = known_days(ctx, parse_period(period, TODAY))
    scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("history", period)])
    whole = period.start <= dt.date(2026, 1, 1)
    return period, histories(ctx, scope, dt.date.fromisoformat(cut), days, whole=whole)


def test_histories_of_hand_worked_people(ctx: Context) -> None:
    fill(ctx.store, orders=HAND_WORKED)
    period, people = history_of(ctx)
    assert (period.start, period.last_day) == (dt.date(2026, 1, 1), dt.date(2026, 3, 31))
    assert people["person_id"].tolist() == ["ann", "bob"]
    ann, bob = people.to_dict("records")
    assert (ann["orders"], ann["amount"], ann["first_amount"], ann["net"]) == (3, 4200, 1500, 3600)
    assert (ann["last_day"] - ann["first_day"], ann["early_orders"]) == (60, 2)
    assert (ann["early_amount"], ann["just_orders"]) == (2200, 0)
    assert (bob["orders"], bob["amount"], bob["net"], bob["just_orders"]) == (1, 300, 300, 1)
    seen = before(people, period.end)
    assert seen.repeats.tolist() == [2, 0]
    assert seen.mean.tolist() == [1350, 0]
    assert (seen.last * 7).tolist() == [60, 0]
    assert np.round(seen.age * 7).tolist() == [89, 56]


def test_who_had_bought_before_the_period_is_left_out(ctx: Context) -> None:
    fill(ctx.store, orders=HAND_WORKED)
    _, people = history_of(ctx, "2026-01-15..2026-03-31")
    assert people["person_id"].tolist() == ["bob"]


def simulated(n=420, days=300, seed=2):
    """People who order at their own pace, and leave; more than 200 of them come again."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        day = int(rng.integers(0, days // 2))
        rate, stop = rng.gamma(1.0, 1 / 30.0), rng.beta(1, 6)
        mean = 6 * 3000 / rng.gamma(4, 1 / 0.75)
        while day < days:
            at = dt.datetime(2025, 12, 14, 12) + dt.timedelta(days=day)
            cents = int(rng.gamma(6, mean / 6)) + 1
            rows.append(order(f"p{i:03}", f"{at:%Y-%m-%d %H:%M}", cents))
            if rng.random() < stop:
                break
            day += 1 + int(rng.exponential(1 / max(rate, 1e-3)))
    return rows


@pytest.fixture(scope="module")
def rows():
    return simulated()


def ask(ctx: Context, **fields):
    return Value(**({"period": ALL_TIME} | fields)).run(ctx)


def parts(result, kind):
    return [p for p in result.parts if isinstance(p, kind)]


def notes(result):
    return "\n".join(p.text for p in parts(result, Note))


def test_simulated_people_are_foreseen(ctx: Context, rows) -> None:
    fill(ctx.store, orders=rows)
    result = ask(ctx)
    figures = {f.label: f.value for f in parts(result, Figure)}
    tenths, by_orders = parts(result, Table)
    assert len(tenths.rows) == 10
    assert sum(r[1] for r in tenths.rows) == 420
    assert sum(r[4] for r in tenths.rows) == pytest.approx(figures["Expected value"])
    assert sum(r[5] for r in by_orders.rows) == pytest.approx(1)
    assert [r[4] for r in tenths.rows] == sorted((r[4] for r in tenths.rows), reverse=True)
    assert 0 < figures["Repeat buyers still there"] < 1
    assert sum(parts(result, Chart)[1].series[0].values) > 200
    assert "Correlation over people" in notes(result)
    assert "BG/NBD" in notes(result)
    assert "420 known buyers should bring €" in result.headline
    assert not result.person_level


def test_people_are_named_for_the_asker_alone(ctx: Context, rows) -> None:
    fill(ctx.store, orders=rows)
    result = ask(ctx, top=5, horizon=30)
    named = parts(result, Table)[-1]
    assert result.person_level
    assert named.person_level
    assert (len(named.rows), named.of_rows) == (5, 420)
    values = [row[5] for row in named.rows]
    assert values == sorted(values, reverse=True)
    assert Value(period=ALL_TIME, top=5).shows_people
    assert not Value(period=ALL_TIME).shows_people


def test_every_engine_gives_the_same_answer(ctx: Context, rows) -> None:
    fill(ctx.store, orders=rows)
    reference = Store.open("duckdb:///:memory:")
    fill(reference, orders=rows)
    there = ask(dataclasses.replace(ctx, store=reference), top=20)
    assert ask(ctx, top=20).to_dict() == there.to_dict()
    reference.close()


def test_a_longer_horizon_than_the_history_is_warned_of(ctx: Context, rows) -> None:
    fill(ctx.store, orders=rows)
    result = ask(ctx, horizon=730)
    assert any("further than" in n.text and n.level == "warning" for n in parts(result, Note))


def test_too_few_are_refused(ctx: Context, rows) -> None:
    with pytest.raises(NotEnoughDataError, match="No orders are loaded"):
        ask(ctx)
    fill(ctx.store, orders=rows)
    with pytest.raises(NotEnoughDataError, match="came back on another day"):
        ask(ctx, period=parse_period("last 30 days", TODAY))
    with pytest.raises(NotEnoughDataError, match="No orders in 2020"):
        ask(ctx, period=parse_period("2020", TODAY))
    foreign = Filters((Filter("country", ("DE",), negated=True),))
    with pytest.raises(NotEnoughDataError, match="Only 0 people"):
        ask(ctx, where=foreign)


def duck(rows):
    """A context over a DuckDB store with these orders."""
    store = Store.open("duckdb:///:memory:")
    fill(store, orders=rows)
    now = dt.datetime(2026, 10, 10, 10, tzinfo=dt.UTC)
    return Context(store=store, now=now, zone=ZoneInfo("Europe/Berlin"), currency="EUR")


def test_who_spends_more_the_more_often_is_warned_of(rows) -> None:
    often = {}
    for r in rows:
        often[r["person_id"]] = often.get(r["person_id"], 0) + 1
    dearer = [r | {"amount_cents": r["amount_cents"] * often[r["person_id"]] ** 2} for r in rows]
    ctx = duck(dearer)
    result = ask(ctx, where=Filters((Filter("country", ("DE",)),)))
    assert "also spends more each time" in notes(result)
    assert result.title == "Value in the next 90 days (country DE)"
    ctx.store.close()


def test_what_cannot_be_checked_is_said(rows, monkeypatch) -> None:
    ctx = duck(rows)
    monkeypatch.setattr(value, "LEAST_TO_CHECK", 10_000)
    result = ask(ctx)
    assert "too short to check" in notes(result)
    assert "the same forecast" not in result.headline
    ctx.store.close()


def test_where_the_model_has_no_fit_there_is_no_answer(rows, monkeypatch) -> None:
    def nothing(_):
        raise NoFitError

    ctx = duck(rows)
    _, people = history_of(ctx)
    monkeypatch.setattr(value, "fit_lives", nothing)
    people["early_orders"] = people["orders"]
    people["early_last_day"] = people["last_day"]
    people["early_amount"] = people["amount"]
    assert checked(people, TODAY, 30) is None
    with pytest.raises(NotEnoughDataError, match="do not tell how long they stay"):
        ask(ctx)
    ctx.store.close()


def test_a_shop_of_one_price_and_pace_is_foreseen_too() -> None:
    rows = [
        order(f"p{i:03}", f"{FIRST + dt.timedelta(days=d)} 12:00", 999)
        for i in range(250)
        for d in range(i % 30, 330, 30)
    ]
    ctx = duck(rows)
    result = ask(ctx, horizon=60)
    figures = {f.label: f.value for f in parts(result, Figure)}
    assert figures["Expected orders"] == pytest.approx(477, rel=0.02)
    assert figures["Expected value"] == pytest.approx(477 * 999, rel=0.02)
    assert "order at one rate" in notes(result)
    assert "everybody's mean of €9.99" in notes(result)
    ctx.store.close()


def test_what_does_not_vary_has_no_correlation() -> None:
    assert correlation(np.ones(3), np.arange(3.0)) == 0
    assert correlation(np.arange(3.0), np.arange(3.0)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("expected", "words"),
    [(100.4, "was right to 1 %"), (88, "12 % too low"), (150, "50 % too high")],
)
def test_the_check_in_short(expected, words) -> None:
    check = Check(TODAY, 90, 9, 9, 9.0, 9, 100, expected, 0.5, 0.4, 1.0, 1.1)
    assert words in check.in_short()


def test_the_demo_shop_says_that_nobody_is_known_to_have_left(shop: Context) -> None:
    result = answer("value next 90 days", shop).result
    assert "Nobody can be told to have left" in notes(result)
    assert "too low: " not in result.headline
    assert "the same forecast for the last 90 days was 41 % too low" in result.headline
    assert [c.key for c in parts(result, Table)[0].columns][-1] == "share"
