"""churn and purchase: hand-worked traits, planted causes, no look ahead, and what is refused."""

import dataclasses
import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from analytics.command import Context
from analytics.commands import churn
from analytics.commands.churn import (
    TRAITS,
    Churn,
    Plan,
    Purchase,
    Question,
    folds_of,
    people_at,
    planned,
    studied,
    way,
    why,
)
from analytics.errors import NotEnoughDataError, UserError
from analytics.measure import Span
from analytics.period import between
from analytics.result import Chart, Note, Table
from analytics.scope import Filter, Filters, scope_of
from bot.dispatch import answer
from storage.state import State
from storage.store import Store
from tests.conftest import fill

EVERYTHING = Filters()
FIRST = dt.date(2025, 10, 1)
DAYS = 260


def order(person, at, cents=1000):
    """A sale, or a return where the amount is below zero."""
    return {
        "order_id": f"{person}/{at}/{cents}",
        "person_id": person,
        "ordered_at": at,
        "kind": "sale" if cents >= 0 else "return",
        "amount_cents": cents,
        "country": "DE",
    }


def event(person, at, name):
    return {"event_id": f"{person}/{at}/{name}", "person_id": person, "at": at, "name": name}


def at(text):
    return dt.datetime.fromisoformat(text)


HAND_WORKED = {
    "orders": [
        order("ann", at("2026-01-01 12:00"), 1000),
        order("ann", at("2026-01-21 12:00"), 3000),
        order("ann", at("2026-01-22 12:00"), -500),
        order("ann", at("2026-01-31 22:30"), 2000),  # 31 January in Berlin
        order("ann", at("2026-01-31 23:30"), 9000),  # the day of the cut: not known yet
        order("bob", at("2026-01-10 12:00"), 700),
        order("old", at("2025-11-01 12:00"), 700),  # too long ago
    ],
    "order_lines": [
        {
            "order_id": f"ann/{at('2026-01-21 12:00')}/3000",
            "line_no": i,
            "item_id": item,
            "quantity": 1,
            "amount_cents": 1500,
        }
        for i, item in enumerate(["mug", "bag"])
    ],
    "events": [
        event("ann", at("2026-01-20 12:00"), "checkout"),  # before the last order: completed
        event("ann", at("2026-01-31 23:00"), "checkout"),  # at the cut
        event("bob", at("2026-01-11 12:00"), "add_to_cart"),
        event("bob", at("2026-01-11 12:05"), "checkout"),
        event("bob", at("2026-01-28 12:00"), "visit"),
        event("vic", at("2026-01-28 12:00"), "visit"),
    ],
}


def at_cut(ctx, days=20, stays=False):
    """The hand-worked people on 1 February, with 20 days ahead."""
    cut = dt.date(2026, 2, 1)
    question = Question(days, EVERYTHING, stays=stays)
    plan = Plan((cut,), cut, cut + days * churn.DAY, look=60, active=40)
    whole = between(dt.date(2025, 11, 1), plan.now)
    scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("orders", whole)])
    return people_at(ctx, scope, plan, cut, question).set_index("person_id").to_dict("index")


def test_traits_of_hand_worked_people(ctx: Context) -> None:
    fill(ctx.store, **HAND_WORKED)
    people = at_cut(ctx)
    assert list(people) == ["ann", "bob"]
    ann, bob = people["ann"], people["bob"]
    assert (ann["recency"], ann["tenure"], ann["orders"], ann["gap"]) == (1, 31, 3, 15)
    assert (ann["revenue"], ann["basket"], ann["products"]) == (5500, 2000, 2)
    assert (ann["recent_orders"], ann["recent_revenue"]) == (2, 4500)
    assert ann["returned"] == pytest.approx(500 / 6000)
    assert ann["overdue"] == pytest.approx(1 / 15)
    assert ann["worth"] == pytest.approx(5500 * 20 / 60)
    assert (ann["checkouts"], ann["carts"], ann["visit_days"]) == (0, 0, 1)
    assert (bob["checkouts"], bob["carts"], bob["visit_days"], bob["since_visit"]) == (1, 1, 1, 4)
    assert np.isnan(bob["gap"])
    assert (ann["label"], bob["label"]) == (0, 1)
    assert {p: t["label"] for p, t in at_cut(ctx, stays=True).items()} == {"ann": 1, "bob": 0}


def test_nothing_after_a_cut_is_seen_before_it(ctx: Context) -> None:
    fill(ctx.store, **HAND_WORKED)
    before = at_cut(ctx)
    fill(
        ctx.store,
        orders=[order("bob", at("2026-02-03 12:00"), 99_000)],
        events=[event(p, at("2026-02-02 12:00"), "checkout") for p in ("ann", "bob")],
    )
    after = at_cut(ctx)
    assert after["bob"].pop("label") != before["bob"].pop("label")
    assert pd.DataFrame(after).equals(pd.DataFrame(before))


def planted(n=330, seed=4):
    """People who order about every 12 days, and now and then not for 80.

    A checkout left behind goes before four in five of the lapses, and follows one in ten orders
    otherwise.
    """
    rng = np.random.default_rng(seed)
    orders, events = [], []
    for i in range(n):
        person, day = f"p{i:03}", float(rng.uniform(0, 20))
        while day < DAYS:
            now = dt.datetime.combine(FIRST, dt.time(9)) + dt.timedelta(days=day)
            orders.append(order(person, now, int(rng.gamma(4, 500)) + 1))
            lapses = rng.random() < 0.2
            if rng.random() < (0.8 if lapses else 0.1):
                events.append(event(person, now + dt.timedelta(days=1), "checkout"))
            day += 80 if lapses else 1.5 + rng.exponential(10)
    return {"orders": orders, "events": [e for e in events if e["at"] < orders[-1]["ordered_at"]]}


@pytest.fixture(scope="module")
def rows():
    return planted()


def duck():
    """A context over an empty DuckDB store."""
    return Context(
        store=Store.open("duckdb:///:memory:"),
        now=dt.datetime(2026, 6, 18, 10, tzinfo=dt.UTC),
        zone=ZoneInfo("Europe/Berlin"),
        currency="EUR",
    )


@pytest.fixture(scope="module")
def lapsing(rows):
    ctx = duck()
    fill(ctx.store, **rows)
    yield ctx
    ctx.store.close()


def table(result, title):
    found = next(p for p in result.parts if isinstance(p, Table) and p.title.startswith(title))
    return pd.DataFrame(found.rows, columns=[c.key for c in found.columns])


def notes(result):
    return "\n".join(p.text for p in result.parts if isinstance(p, Note))


def test_the_planted_cause_is_found(lapsing: Context) -> None:
    result = Churn(horizon=30).run(lapsing)
    going_by = table(result, "What it goes by").set_index("trait")
    told = going_by.loc["checkouts left behind since the last order"]
    assert told["way"] == "the more, the likelier to stop"
    quality = table(result, "How good it was")
    assert quality["auc"].iloc[0] > 0.75
    assert quality["auc"].iloc[0] > quality["auc"].iloc[-1] + 0.05  # the baseline stands last
    groups = table(result, "Today's people")
    assert groups["share"].is_monotonic_decreasing
    assert f"About {round(groups['expected'].sum())} of {groups['people'].sum()}" in result.headline
    assert isinstance(result.parts[1], Chart)
    assert not result.person_level
    assert "simulated" not in notes(result)


def test_a_trait_of_the_future_changes_nothing(rows, lapsing: Context) -> None:
    question = Question(30, EVERYTHING, stays=False)
    honest = studied(lapsing, question)
    ahead = between(honest.plan.test, honest.plan.now)
    gone = {o["person_id"] for o in rows["orders"]} - {
        o["person_id"]
        for o in rows["orders"]
        if ahead.start <= (o["ordered_at"] + dt.timedelta(hours=2)).date()
    }
    told = dt.datetime.combine(honest.plan.test, dt.time(12))
    ctx = duck()
    fill(ctx.store, orders=rows["orders"], events=rows["events"])
    fill(ctx.store, events=[event(p, told, "checkout") for p in sorted(gone)])
    tempted = studied(ctx, question)
    assert len(gone) > 30
    assert tempted.qualities == honest.qualities
    assert tempted.drivers == honest.drivers
    ctx.store.close()


def test_a_window_that_leaked_would_be_seen(rows, lapsing: Context, monkeypatch) -> None:
    """The same temptation, had the days of the traits run into those of the label."""
    question = Question(30, EVERYTHING, stays=False)
    honest = studied(lapsing, question)
    told = [dt.datetime.combine(day, dt.time(12)) for day in (*honest.plan.train, honest.plan.test)]
    ctx = duck()
    fill(ctx.store, orders=rows["orders"], events=rows["events"])
    buyers = sorted({o["person_id"] for o in rows["orders"]})
    for cut in told:
        ahead = {
            o["person_id"]
            for o in rows["orders"]
            if cut.date()
            <= (o["ordered_at"] + dt.timedelta(hours=2)).date()
            < cut.date() + 30 * churn.DAY
        }
        gone = [p for p in buyers if p not in ahead]
        fill(ctx.store, events=[event(p, cut, "checkout") for p in gone])

    def leaky(start, end):
        return between(start, end + churn.DAY if (end - start).days > 30 else end)

    monkeypatch.setattr("analytics.foresight.between", leaky)
    leaked = studied(ctx, question)
    assert leaked.quality.auc > honest.quality.auc + 0.05
    assert TRAITS[leaked.drivers[0].feature].event
    ctx.store.close()


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_where_nothing_tells_there_is_no_model(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ctx = duck()
    days = [(f"p{i:03}", d) for i in range(300) for d in range(DAYS) if rng.random() < 0.03]
    noon = dt.datetime.combine(FIRST, dt.time(12))
    fill(ctx.store, orders=[order(p, noon + dt.timedelta(days=d)) for p, d in days])
    for command in (Churn(horizon=30, top=20, budget=100.0), Purchase(horizon=30, top=20)):
        result = command.run(ctx)
        assert result.headline.startswith("I have no model: nothing that I know of people tells")
        assert "0.5 is a coin" in result.headline
        quality = table(result, "How good it was")
        assert quality["auc"].iloc[0] == pytest.approx(0.5, abs=0.13)  # three errors of the area
        assert not result.person_level  # nobody is ranked by nonsense
        titles = [p.title for p in result.parts if isinstance(p, Table)]
        assert titles == ["How good it was on people of a later time"]
        assert not any(isinstance(p, Chart) for p in result.parts)
    ctx.store.close()


def test_people_are_named_with_reasons_for_the_asker_alone(lapsing: Context) -> None:
    result = Churn(horizon=30, top=12).run(lapsing)
    named = table(result, "The first 12")
    assert result.person_level
    assert named["stake"].is_monotonic_decreasing
    assert named["why"].str.contains("usually").any()
    likeliest = table(Purchase(horizon=14, top=5).run(lapsing), "The first 5")
    assert likeliest["risk"].is_monotonic_decreasing
    assert [c.shows_people for c in (Churn(top=5), Purchase(top=5))] == [True, True]
    assert [c.shows_people for c in (Churn(), Purchase())] == [False, False]


def test_a_budget_is_weighed_against_what_it_keeps(lapsing: Context) -> None:
    result = Churn(horizon=30, top=20, budget=50.0, saved=0.25).run(lapsing)
    best, random = table(result, "What acting brings").to_dict("records")
    named = table(result, "The first 20")
    assert best["cost"] == 5000
    assert best["stop"] == pytest.approx(named["risk"].sum())
    assert best["kept"] == pytest.approx(named["risk"].sum() / 4)
    assert best["revenue"] == pytest.approx(named["stake"].sum() / 4)
    assert best["brings"] == pytest.approx(named["stake"].sum() / 4 - 5000)
    assert best["brings"] > random["brings"]
    assert "25 % of those who would stop is an assumption" in notes(result)
    with pytest.raises(UserError, match="say how many"):
        Churn(budget=50.0).run(lapsing)


def test_every_engine_gives_the_same_answer(ctx: Context, rows, lapsing: Context) -> None:
    fill(ctx.store, **rows)
    for command in (Churn(horizon=30, top=10, budget=50.0), Purchase(horizon=14)):
        assert command.run(ctx).to_dict() == command.run(lapsing).to_dict()


def test_cuts_do_not_overlap_and_the_test_ends_with_the_data() -> None:
    question = Question(30, EVERYTHING, stays=False)
    span = Span(dt.date(2026, 1, 1), dt.date(2026, 12, 31))
    plan = planned(span, question)
    assert plan.now == dt.date(2027, 1, 1)
    assert [(plan.now - c).days for c in (plan.test, *plan.train)] == [30, 60, 90]
    assert (plan.look, plan.active) == (275, 60)
    assert planned(span, dataclasses.replace(question, stays=True)).active == 275
    assert len(planned(span, dataclasses.replace(question, horizon=120)).train) == 1
    with pytest.raises(NotEnoughDataError, match="learn and test over 122 days takes 366") as short:
        planned(span, dataclasses.replace(question, horizon=122))
    assert "next 121 days" in short.value.hint
    tiny = Span(dt.date(2026, 1, 1), dt.date(2026, 1, 9))
    with pytest.raises(NotEnoughDataError, match="run for 9 days") as short:
        planned(tiny, dataclasses.replace(question, horizon=7))
    assert short.value.hint == "Load earlier orders."


def test_too_few_are_refused(ctx: Context, rows) -> None:
    for command in (Churn(), Purchase()):
        with pytest.raises(NotEnoughDataError, match="No orders are loaded"):
            command.run(ctx)
    fill(ctx.store, orders=rows["orders"])
    nobody = Filters((Filter("country", ("DE",), negated=True),))
    with pytest.raises(NotEnoughDataError, match="Only 0 people had ordered"):
        Churn(horizon=30, where=nobody).run(ctx)


def test_too_few_of_an_outcome_are_refused() -> None:
    ctx = duck()
    noon = dt.datetime.combine(FIRST, dt.time(12))
    days = [(f"p{i:03}", d) for i in range(210) for d in range(i % 7, DAYS, 7)]
    fill(ctx.store, orders=[order(p, noon + dt.timedelta(days=d)) for p, d in days])
    with pytest.raises(NotEnoughDataError, match="Only 0 people stopped"):
        Churn(horizon=30).run(ctx)
    ctx.store.close()


def test_one_person_is_in_one_fold_at_every_cut() -> None:
    ids = pd.Series(["a", "b", "c", "a", "b"])
    folds = folds_of(ids)
    assert folds[0] == folds[3]
    assert folds[1] == folds[4]


def test_a_model_that_is_no_better_than_its_baseline_says_so(lapsing: Context, monkeypatch) -> None:
    study = studied(lapsing, Question(30, EVERYTHING, stays=False))
    qualities = study.qualities | {"baseline": study.quality}
    plain = dataclasses.replace(study, qualities=qualities, drivers=())
    monkeypatch.setattr(churn, "studied", lambda *_: plain)
    for command, tells in ((Churn(horizon=30), "will not order"), (Purchase(), "will order")):
        result = command.run(lapsing)
        assert tells in result.headline
        assert "what tells most" not in result.headline
        assert "hardly better than days since the last order alone" in notes(result)
        assert "What it goes by" not in [p.title for p in result.parts if isinstance(p, Table)]


def test_people_unlike_those_of_the_training_are_warned_of(lapsing: Context) -> None:
    study = studied(lapsing, Question(30, EVERYTHING, stays=False))
    moved = study.people.assign(
        **{TRAITS[d.feature].key: study.people[TRAITS[d.feature].key] + 1e6 for d in study.drivers}
    )
    warned = list(churn.drifted(lapsing, dataclasses.replace(study, people=moved)))
    assert len(warned) == min(len(study.drivers), churn.SHOWN_DRIVERS)
    assert "Today's people differ" in warned[0].text
    assert list(churn.drifted(lapsing, dataclasses.replace(study, drivers=()))) == []


def test_drift_is_told_against_the_last_run_of_an_earlier_day(lapsing: Context, tmp_path) -> None:
    state = State.open(f"sqlite:///{tmp_path / 'state.sqlite'}")
    ctx = dataclasses.replace(lapsing, state=state)
    none = "There is no run of this model for an earlier day"
    first, again = (Churn(horizon=30).run(ctx) for _ in range(2))
    assert none in notes(first)
    assert again.to_dict() == first.to_dict()
    study = studied(ctx, Question(30, EVERYTHING, stays=False))

    def later(days, **changed):
        plan = dataclasses.replace(study.plan, now=study.plan.now + days * churn.DAY)
        people = study.people.assign(**changed)
        moved = dataclasses.replace(study, plan=plan, people=people)
        return "\n".join(note.text for note in churn.since_last_run(ctx, moved))

    assert "neither the chance nor a trait has moved" in later(7)
    told = later(14, tenure=study.people["tenure"] + 400)
    assert "people have moved in days since the first order (" in told
    assert "orders (" not in told
    assert none in notes(Purchase(horizon=14).run(ctx))  # another question has runs of its own
    assert none not in notes(Churn(horizon=30).run(lapsing))  # without a memory nothing is said
    state.close()


def test_reasons_and_directions_in_words() -> None:
    keys = [t.key for t in TRAITS]
    added, values, usual = (np.zeros(len(TRAITS)) for _ in range(3))
    added[keys.index("recency")], values[keys.index("recency")] = 0.2, 82.0
    added[keys.index("revenue")], values[keys.index("revenue")] = 0.1, 123_456.0
    usual[keys.index("recency")] = 31
    assert why(added, values, usual, "EUR") == (
        "days since the last order 82 (usually 31); net spend €1,235 (usually €0.00)"
    )
    assert why(np.zeros(len(TRAITS)), values, usual, "EUR") == "like most people"
    assert way(-0.5, "stop") == "the less, the likelier to stop"
    assert way(0.02, "stop") == "not one way only"


def test_the_demo_finds_the_checkouts_that_were_planted(shop: Context) -> None:
    result = answer("churn", shop).result
    going_by = table(result, "What it goes by").set_index("trait")
    told = going_by.loc["checkouts left behind since the last order"]
    assert told["way"] == "the more, the likelier to stop"
    assert "Visits, carts and checkouts are simulated" in notes(result)
