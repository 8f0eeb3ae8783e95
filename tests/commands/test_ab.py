"""ab: exact sums against plain Python, planted truths, published results, and every refusal."""

import dataclasses
import datetime as dt
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analytics.catalog import Catalog, Limit, Measure, Metric, Plan
from analytics.command import Context
from analytics.commands.ab import Ab
from analytics.errors import NotEnoughDataError, UnknownNameError
from analytics.methods.experiment.comparison import Comparison
from analytics.methods.experiment.moments import Moments, total
from analytics.outcomes import ORDERED, NoOutcomeError, Outcome, outcome_of
from analytics.result import Chart, Note, Result, Table
from analytics.trials import (
    Trial,
    before_p,
    compared,
    control_of,
    levels,
    moments_by,
    sighting_of,
    trial_of,
)
from storage.store import Store
from tests.conftest import fill
from tests.data import shared

CATALOG = Catalog()
REVENUE = outcome_of(CATALOG.metric("revenue"))
ORDERS = outcome_of(CATALOG.metric("orders"))
RETURNS = outcome_of(CATALOG.metric("returns"))
BASKET = outcome_of(CATALOG.metric("average_order"))


def at(text: str) -> dt.datetime:
    """A UTC instant of 2026, `09-15 10:00`."""
    return dt.datetime.fromisoformat(f"2026-{text}")


def seen(person: str, variant: str, when: str, experiment: str = "new_page") -> dict[str, Any]:
    return {
        "experiment": experiment, "person_id": person, "variant": variant, "exposed_at": at(when),
    }  # fmt: skip


def order(person: str | None, when: str, cents: int) -> dict[str, Any]:
    return {
        "order_id": f"{person}{when}{cents}", "person_id": person, "ordered_at": at(when),
        "kind": "sale" if cents >= 0 else "return", "amount_cents": cents,
    }  # fmt: skip


def trial_in(ctx: Context, name: str = "new_page") -> Trial:
    return trial_of(sighting_of(name, ctx), ctx, None)


def tables(result: Result) -> dict[str, list[dict[str, Any]]]:
    """Title -> rows as dicts."""
    return {
        p.title: [dict(zip((c.key for c in p.columns), row, strict=True)) for row in p.rows]
        for p in result.parts
        if isinstance(p, Table)
    }


def warnings(result: Result) -> list[str]:
    return [p.text for p in result.parts if isinstance(p, Note) and p.level == "warning"]


# --- what is counted ----------------------------------------------------------------------------

#: Seen from 10 October 2026, Berlin; the experiment runs since 1 October.
SMALL = {
    "exposures": [
        seen("p1", "control", "10-01 10:00"),
        seen("p1", "control", "10-05 10:00"),  # again: the first counts
        seen("p2", "control", "10-01 22:30"),  # 00:30 on 2 October in Berlin
        seen("p3", "treatment", "10-01 10:00"),
        seen("p4", "treatment", "10-02 10:00"),
        seen("p5", "control", "10-02 10:00"),
        seen("p5", "treatment", "10-03 10:00"),  # in both: left out
        seen("p6", "treatment", "10-09 22:30"),  # today in Berlin: not yet
        seen("p7", "control", "09-01 10:00", "other"),
    ],
    "orders": [
        order("p1", "10-01 09:59", 9900),  # before the exposure
        order("p1", "10-01 10:00", 1000),
        order("p1", "10-09 21:59", 300),  # the last minute of yesterday
        order("p1", "10-09 22:00", 5000),  # today
        order("p1", "10-04 10:00", -400),
        order("p3", "10-02 10:00", 700),
        order("p5", "10-04 10:00", 8000),
        order(None, "10-04 10:00", 8000),
    ],
}


def test_only_what_comes_after_the_first_exposure_and_before_today_counts(ctx: Context) -> None:
    fill(ctx.store, **SMALL)
    trial = trial_in(ctx)
    assert trial.people == {"control": 2, "treatment": 2}
    assert trial.mixed == 1
    assert (trial.start, trial.days) == (dt.date(2026, 10, 1), 9)
    assert trial.counts["control"] == {dt.date(2026, 10, 1): 1, dt.date(2026, 10, 2): 1}
    found = moments_by(trial, [ORDERED, ORDERS, REVENUE, RETURNS, BASKET], ctx)
    sums = {
        o.name: {v: total(list(days.values())) for v, days in by_key.items()}
        for o, by_key in found.items()
    }
    assert [sums["ordered"][v].positives for v in trial.variants] == [1, 1]
    assert sums["orders"]["control"].mean == 1.0  # two of p1, none of p2
    assert sums["revenue"]["control"].mean == 650
    assert sums["returns"]["control"].mean == 200
    assert sums["average_order"]["control"].x_mean == 1.0
    assert sums["revenue"]["treatment"].mean == 350
    assert found[ORDERED]["control"].keys() == {dt.date(2026, 10, 1), dt.date(2026, 10, 2)}


def crowd(people: int, seed: int, offset: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Random exposures to three variants, orders with one whale, ratings."""
    draws = random.Random(seed)
    shown_to, bought, rated = [], [], []
    for i in range(people):
        person = f"p{i:04}"
        day, variant = draws.randrange(1, 10), draws.choice("abc")
        shown_to.append(seen(person, variant, f"10-{day:02} 08:00:00"))
        for n in range(draws.choice((0, 0, 0, 1, 2))):
            cents = offset + int(draws.lognormvariate(8, 1.2)) * (-1 if n else 1)
            bought.append(order(person, f"10-{draws.randrange(1, 10):02} 09:00:{n:02}", cents))
        if draws.random() < 0.4:
            rated.append(
                {
                    "rating_id": person, "person_id": person, "at": at("10-09 10:00"),
                    "kind": "nps", "score": draws.randrange(11),
                }
            )  # fmt: skip
    bought.append(order("p0000", "10-09 12:00", 90_000_000))
    return {"exposures": shown_to, "orders": bought, "ratings": rated}


def by_hand(
    rows: dict[str, list[dict[str, Any]]], value: Callable[[dict[str, Any]], int]
) -> dict[str, list[int]]:
    """Per variant the sums of `value` over each person's orders after the exposure."""
    since = {e["person_id"]: (e["variant"], e["exposed_at"]) for e in rows["exposures"]}
    sums: dict[str, int] = dict.fromkeys(since, 0)
    for row in rows["orders"]:
        if row["ordered_at"] >= since[row["person_id"]][1]:
            sums[row["person_id"]] += value(row)
    found: dict[str, list[int]] = defaultdict(list)
    for person, (variant, _) in since.items():
        found[variant].append(sums[person])
    return found


def amount(row: dict[str, Any]) -> int:
    return int(row["amount_cents"]) if row["kind"] == "sale" else 0


@pytest.mark.parametrize("offset", [0, 1_000_000_000])
def test_sums_are_those_of_plain_python_to_the_last_bit(ctx: Context, offset: int) -> None:
    """Values near 1e9 cents keep their variance: the sums are exact whole numbers."""
    rows = crowd(1500, 3, offset)
    fill(ctx.store, **rows)
    trial = trial_in(ctx)
    plain = by_hand(rows, amount)
    net = by_hand(rows, lambda r: r["amount_cents"])
    cap = sorted(v for values in plain.values() for v in values)[-2]  # rank 1,499 of 1,500
    net_metric = dataclasses.replace(REVENUE, name="net", capped=False, top=NET)
    found = moments_by(trial, [REVENUE, net_metric], ctx)
    for variant in "abc":
        capped = [min(v, cap) for v in plain[variant]]
        moments = total(list(found[REVENUE][variant].values()))
        exact = Moments.of(np.array(capped, dtype=float), shift=moments.shift)
        assert moments.n == len(capped)
        assert moments.mean == pytest.approx(float(np.mean(capped)), rel=1e-14)
        assert moments.variance == pytest.approx(float(np.var(capped, ddof=1)), rel=1e-11)
        assert moments.skewness == pytest.approx(exact.skewness, rel=1e-9)
        assert moments.positives == sum(v > 0 for v in capped)
        moments = total(list(found[net_metric][variant].values()))
        assert moments.variance == pytest.approx(float(np.var(net[variant], ddof=1)), rel=1e-11)


NET = Measure("orders", "sum", "amount_cents")


def test_a_ratio_has_the_error_of_the_delta_method_over_people(ctx: Context) -> None:
    rows = crowd(900, 5)
    fill(ctx.store, **rows)
    trial = trial_in(ctx)
    found = moments_by(trial, [BASKET], ctx)[BASKET]
    cents, count = by_hand(rows, amount), by_hand(rows, lambda r: r["kind"] == "sale")
    a, b = (total(list(found[v].values())) for v in "ab")
    comparison = compared(BASKET, a, b, 1.96)
    assert isinstance(comparison, Comparison)
    squared = 0.0
    for variant in "ab":
        y, x = np.array(cents[variant], dtype=float), np.array(count[variant], dtype=float)
        ratio = y.sum() / x.sum()
        squared += float(np.var(y - ratio * x, ddof=1) / (len(x) * x.mean() ** 2))
    assert comparison.control == pytest.approx(sum(cents["a"]) / sum(count["a"]), rel=1e-12)
    assert comparison.standard_error == pytest.approx(squared**0.5, rel=1e-9)


def test_nps_is_a_ratio_over_the_people_who_answered(ctx: Context) -> None:
    rows = crowd(900, 7)
    fill(ctx.store, **rows)
    trial = trial_in(ctx)
    nps = outcome_of(CATALOG.metric("nps"))
    found = moments_by(trial, [nps], ctx)[nps]
    variant = {e["person_id"]: e["variant"] for e in rows["exposures"]}
    scores = [r["score"] for r in rows["ratings"] if variant[r["person_id"]] == "b"]
    by_hand_nps = 100 * np.mean([(s >= 9) - int(s <= 6) for s in scores])
    comparison = compared(nps, *(total(list(found[v].values())) for v in "ab"), 1.96)
    assert isinstance(comparison, Comparison)
    assert 100 * comparison.treatment == pytest.approx(by_hand_nps, rel=1e-12)


def test_what_people_did_before_takes_spread_away(ctx: Context) -> None:
    """CUPED (Deng et al. 2013): ȳ − θ(x̄ − x̄ of both), θ of both arms, against plain numpy."""
    draws = random.Random(11)
    rows: dict[str, list[dict[str, Any]]] = {"exposures": [], "orders": []}
    y: dict[str, list[float]] = {"control": [], "treatment": []}
    x: dict[str, list[float]] = {"control": [], "treatment": []}
    for i in range(800):
        person, variant = f"p{i:03}", ("control", "treatment")[i % 2]
        day, habit = draws.randrange(1, 10), draws.randrange(100, 9000)
        rows["exposures"].append(seen(person, variant, f"10-{day:02} 08:00"))
        before, after = habit + draws.randrange(500), habit + draws.randrange(500)
        rows["orders"] += [
            order(person, f"09-{day + 15:02} 09:00", before),
            order(person, "08-20 09:00", 777_777),  # more than 28 days before
            order(person, f"10-{day:02} 09:00", after),
        ]
        x[variant].append(before)
        y[variant].append(after)
    fill(ctx.store, **rows)
    uncapped = dataclasses.replace(REVENUE, capped=False, adjusted=True)
    sums = moments_by(trial_in(ctx), [uncapped], ctx)[uncapped]
    pair = [total(list(sums[v].values())) for v in ("control", "treatment")]
    both_x, both_y = x["control"] + x["treatment"], y["control"] + y["treatment"]
    theta = np.cov(both_x, both_y)[0, 1] / np.var(both_x, ddof=1)
    found = compared(uncapped, *pair, 1.96)
    assert isinstance(found, Comparison)
    for value, v in ((found.control, "control"), (found.treatment, "treatment")):
        adjusted = np.mean(y[v]) - theta * (np.mean(x[v]) - np.mean(both_x))
        assert value == pytest.approx(float(adjusted), rel=1e-11)
    raw = compared(dataclasses.replace(uncapped, adjusted=False), *pair, 1.96)
    assert isinstance(raw, Comparison)
    assert found.standard_error < raw.standard_error / 5
    assert (before_p(*pair) or 0) > 0.001


# --- verdicts on small experiments --------------------------------------------------------------


def split_of(
    variants: Sequence[tuple[str, int, int]], days: int = 9, first: int = 1
) -> dict[str, list[dict[str, Any]]]:
    """(variant, people, of whom order), exposed evenly over days of October."""
    exposed, bought = [], []
    for variant, people, buyers in variants:
        for i in range(people):
            person, day = f"{variant}{i:05}", first + i % days
            exposed.append(seen(person, variant, f"10-{day:02} 08:00"))
            if (i * buyers) // people != ((i + 1) * buyers) // people:
                bought.append(order(person, f"10-{day:02} 09:00", 1000 + i % 7))
    return {"exposures": exposed, "orders": bought}


@pytest.fixture
def shop_of(tmp_path: Any, ctx_duck: Context) -> Callable[..., Context]:
    """A DuckDB shop holding the given rows."""

    def made(rows: dict[str, list[dict[str, Any]]], *plans: Plan) -> Context:
        fill(ctx_duck.store, **rows)
        return dataclasses.replace(ctx_duck, catalog=Catalog(plans=plans))

    return made


@pytest.fixture
def ctx_duck(tmp_path: Any) -> Any:
    """An empty DuckDB store on 2026-10-10 at noon in Berlin."""
    from zoneinfo import ZoneInfo

    store = Store.open(f"duckdb:///{tmp_path / 'ab.db'}")
    now = dt.datetime(2026, 10, 10, 10, tzinfo=dt.UTC)
    yield Context(store=store, now=now, zone=ZoneInfo("Europe/Berlin"), currency="EUR")
    store.close()


def ask(ctx: Context, experiment: str | None = "new_page", **fields: Any) -> Result:
    return Ab(experiment=experiment, **fields).run(ctx)


def test_a_clear_gain_ships_and_says_by_how_much(shop_of: Any) -> None:
    result = ask(shop_of(split_of([("control", 3000, 300), ("treatment", 3000, 480)])))
    assert result.headline.startswith("new_page: ship. People who ordered rose from 10 % to 16 %")
    arms = tables(result)["Variants"]
    assert [(r["variant"], r["people"], r["with"]) for r in arms] == [
        ("control", 3000, 300),
        ("treatment", 3000, 480),
    ]
    main = tables(result)["Metrics, with 95 % intervals"][0]
    assert main["lift"] == pytest.approx(0.6)
    assert 0 < main["low"] < 0.6 < main["high"]
    assert main["finding"] == "better"


def test_a_clear_loss_is_not_shipped(shop_of: Any) -> None:
    result = ask(shop_of(split_of([("control", 3000, 480), ("treatment", 3000, 300)])))
    assert result.headline.startswith("new_page: don't ship. People who ordered fell from 16 %")


def test_a_lost_tenth_of_one_arm_hides_the_effects(shop_of: Any) -> None:
    result = ask(shop_of(split_of([("control", 3000, 300), ("treatment", 2600, 416)])))
    assert result.headline.startswith("new_page: not valid.")
    assert "3,000 control and 2,600 treatment where 50/50 was planned" in result.headline
    assert list(tables(result)) == ["Split"]
    assert not any(isinstance(p, Chart) for p in result.parts)
    assert warnings(result)[0].startswith("Uneven split")
    days = ask(shop_of({}), view="days")
    assert "not valid" in days.headline
    assert list(tables(days)) == ["People by day of first exposure"]


def test_before_seven_days_it_is_too_early(shop_of: Any) -> None:
    rows = split_of([("control", 3000, 300), ("treatment", 3000, 480)], days=4, first=6)
    result = ask(shop_of(rows))
    assert result.headline.startswith("new_page: too early to say.")
    assert "ask again in 3 days" in result.headline


def test_below_a_hundred_conversions_it_is_too_early(shop_of: Any) -> None:
    result = ask(shop_of(split_of([("control", 900, 90), ("treatment", 900, 60)])))
    assert result.headline.startswith("new_page: too early to say. It needs 100 conversions")


def test_no_difference_is_never_called_no_effect(shop_of: Any) -> None:
    result = ask(shop_of(split_of([("control", 3000, 300), ("treatment", 3000, 303)])))
    assert result.headline.startswith("new_page: keep running. We can't tell yet whether")
    assert "no effect" not in result.headline


def test_people_in_two_variants_are_left_out_and_counted(shop_of: Any) -> None:
    rows = split_of([("control", 3000, 300), ("treatment", 3000, 480)])
    rows["exposures"] += [seen(f"control{i:05}", "treatment", "10-09 12:00") for i in range(20)]
    result = ask(shop_of(rows))
    assert "20 people (0.33 %) saw several variants and are left out." in [
        p.text for p in result.parts if isinstance(p, Note)
    ]
    assert tables(result)["Variants"][0]["people"] == 2980
    more = [seen(f"control{i:05}", "treatment", "10-09 13:00") for i in range(100, 160)]
    assert "More than 1 % of people saw more than one" in ask(shop_of({"exposures": more})).headline


def test_each_of_three_arms_is_judged_by_holms_steps(shop_of: Any) -> None:
    arms = [("control", 3000, 300), ("blue", 3000, 480), ("green", 3000, 360)]
    ctx = shop_of(split_of(arms))
    trial = trial_in(ctx)
    assert trial.variants == ("control", "blue", "green")
    sums = {
        v: total(list(days.values()))
        for v, days in moments_by(trial, [ORDERED], ctx)[ORDERED].items()
    }
    assert levels(trial, ORDERED, sums) == {"blue": 0.025, "green": 0.05}
    result = ask(ctx)
    assert result.headline.startswith("new_page: ship blue.")
    rows = tables(result)["Metrics, with 95 % intervals"]
    assert [r["variant"] for r in rows if r["role"] == "main"] == ["blue", "green"]


def test_one_arm_or_nobody_who_orders_is_no_result(shop_of: Any) -> None:
    rows = split_of([("control", 3000, 0), ("treatment", 3000, 0)])
    rows["orders"] = [order("somebody", "10-02 10:00", 100)]
    result = ask(shop_of(rows))
    assert result.headline.startswith("new_page: no result yet. Everyone has the same value")


def test_one_variant_alone_is_refused(shop_of: Any) -> None:
    with pytest.raises(NotEnoughDataError, match="only one variant"):
        ask(shop_of(split_of([("control", 300, 30)])))


def test_three_people_are_no_verdict(shop_of: Any) -> None:
    result = ask(shop_of(split_of([("control", 2, 1), ("treatment", 1, 1)], days=1)))
    assert result.headline.startswith("new_page: ")
    assert "ship" not in result.headline


def test_a_worse_guardrail_stops_a_gain(shop_of: Any) -> None:
    rows = split_of([("control", 3000, 300), ("treatment", 3000, 480)])
    rows["orders"] += [
        order(e["person_id"], "10-09 15:00", -500)
        for e in rows["exposures"]
        if e["variant"] == "treatment" and e["person_id"][-1] in "012"
    ]
    result = ask(shop_of(rows))
    assert result.headline.startswith("new_page: don't ship. Returns per person rose")


def test_less_is_better_where_the_metric_says_so(shop_of: Any) -> None:
    rows = split_of([("control", 3000, 300), ("treatment", 3000, 300)])
    rows["orders"] += [
        order(e["person_id"], "10-09 15:00", -500 - int(e["person_id"][-3:]))
        for e in rows["exposures"]
        if e["person_id"][-1] in ("012" if e["variant"] == "control" else "0")
    ]
    result = ask(shop_of(rows), metric="returns")
    assert result.headline.startswith("new_page: ship. Returns per person fell")


def test_asks_within_a_day_are_answered_alike(shop_of: Any) -> None:
    ctx = shop_of(split_of([("control", 3000, 300), ("treatment", 3000, 480)]))
    evening = dataclasses.replace(ctx, now=dt.datetime(2026, 10, 10, 21, tzinfo=dt.UTC))
    assert ask(ctx) == ask(evening)


def test_an_experiment_that_stopped_counts_to_its_last_day(shop_of: Any) -> None:
    rows = split_of([("control", 900, 120), ("treatment", 900, 120)], days=8)
    rows["orders"].append(order("control00001", "10-20 10:00", 500))
    ctx = dataclasses.replace(shop_of(rows), now=dt.datetime(2026, 11, 1, tzinfo=dt.UTC))
    trial = trial_in(ctx)
    assert trial.stopped
    assert trial.until == dt.date(2026, 10, 9)
    assert "nobody was exposed after 8 Oct 2026" in ask(ctx).headline


# --- words, names, refusals ---------------------------------------------------------------------


def test_the_control_is_found_by_its_name_or_the_alphabet() -> None:
    plan = Plan("x", dt.date(2026, 1, 1), dt.date(2026, 1, 31), control="zeta")
    assert control_of(["Treatment", "Control"], None) == "Control"
    assert control_of(["b", "a"], None) == "a"
    assert control_of(["on", "off"], None) == "off"
    assert control_of(["gate_40", "gate_30"], None) == "gate_30"
    assert control_of(["alpha", "zeta"], plan) == "zeta"


def test_an_unknown_experiment_gets_did_you_mean(shop_of: Any) -> None:
    ctx = shop_of(split_of([("control", 300, 30), ("treatment", 300, 30)]))
    with pytest.raises(UnknownNameError) as refused:
        ask(ctx, "new_pgae")
    assert "new_page" in refused.value.hint
    assert ask(ctx, "New-Page").title == "Experiment new_page"


def test_without_a_name_all_are_listed(shop_of: Any) -> None:
    rows = split_of([("control", 3000, 300), ("treatment", 2600, 480)])
    rows["exposures"] += [
        seen("z1", "on", "09-01 10:00", "old"),
        seen("z2", "off", "09-03 10:00", "old"),
    ]
    result = ask(shop_of(rows), None)
    (table,) = tables(result).values()
    assert [r["experiment"] for r in table] == ["new_page", "old"]
    assert table[1] == {
        "experiment": "old", "variants": "off, on", "people": 2, "first": dt.date(2026, 9, 1),
        "last": dt.date(2026, 9, 3), "days": 3, "split": "as planned", "plan": "none",
    }  # fmt: skip
    assert "The split of new_page is uneven" in result.headline
    assert ask(shop_of({}), "list") == result


@pytest.mark.parametrize("metric", ["people", "monthly_active", "repeat_rate"])
def test_a_metric_without_a_meaning_per_person_is_refused(shop_of: Any, metric: str) -> None:
    ctx = shop_of(split_of([("control", 300, 30), ("treatment", 300, 30)]))
    with pytest.raises(NoOutcomeError) as refused:
        ask(ctx, metric=metric)
    assert refused.value.hint


def test_what_is_not_loaded_is_named(shop_of: Any) -> None:
    ctx = shop_of({"exposures": [seen("p1", "a", "10-01 10:00"), seen("p2", "b", "10-01 10:00")]})
    with pytest.raises(NotEnoughDataError, match="no orders are loaded"):
        ask(ctx)


def test_an_empty_store_says_how_to_begin(ctx: Context) -> None:
    with pytest.raises(NotEnoughDataError, match="No experiment"):
        ask(ctx, None)


def test_an_experiment_of_today_is_told_to_wait(shop_of: Any) -> None:
    ctx = shop_of({"exposures": [seen("p1", "a", "10-10 08:00"), seen("p2", "b", "10-10 08:00")]})
    with pytest.raises(NotEnoughDataError, match="no full day"):
        ask(ctx)


# --- segments and days --------------------------------------------------------------------------


def test_a_segment_is_what_was_known_at_the_exposure(ctx: Context) -> None:
    rows = split_of([("control", 400, 60), ("treatment", 400, 60)])
    visits = []
    for e in rows["exposures"]:
        device = "mobile" if int(e["person_id"][-2:]) < 30 else "desktop"
        visits += [
            {"event_id": f"{e['person_id']}-1", "person_id": e["person_id"], "name": "visit",
             "at": e["exposed_at"], "device": device},
            {"event_id": f"{e['person_id']}-2", "person_id": e["person_id"], "name": "visit",
             "at": e["exposed_at"] + dt.timedelta(hours=1), "device": "tablet"},
        ]  # fmt: skip
    fill(ctx.store, **rows, events=visits)
    device = ctx.catalog.dimension("device")
    trial = trial_of(sighting_of("new_page", ctx), ctx, device)
    found = moments_by(trial, [ORDERED], ctx, device)[ORDERED]
    assert {k: m.n for k, m in found["control"].items()} == {"desktop": 280, "mobile": 120}
    result = ask(ctx, by=device)
    assert "no device stands out" in result.headline
    table = tables(result)["People who ordered by device, with 95 % intervals"]
    assert [(r["segment"], r["people"]) for r in table] == [("desktop", 560), ("mobile", 240)]


def test_segments_fall_back_on_the_person(ctx: Context) -> None:
    rows = split_of([("control", 400, 60), ("treatment", 400, 60)])
    people = [
        {"person_id": e["person_id"], "first_seen_at": e["exposed_at"], "country": "DE"}
        for e in rows["exposures"][:500]
    ]
    fill(ctx.store, **rows, people=people)
    result = ask(ctx, by=ctx.catalog.dimension("country"))
    assert "Not shown: 300 people of unknown country." in [
        p.text for p in result.parts if isinstance(p, Note)
    ]


def test_what_is_only_known_afterwards_is_no_segment(shop_of: Any) -> None:
    ctx = shop_of(split_of([("control", 400, 60), ("treatment", 400, 60)]))
    with pytest.raises(NoOutcomeError, match="before they were exposed"):
        ask(ctx, by=CATALOG.dimension("category"))


def test_days_add_up_to_the_whole(shop_of: Any) -> None:
    ctx = shop_of(split_of([("control", 3000, 300), ("treatment", 3000, 480)]))
    result = ask(ctx, view="days")
    (table,) = tables(result).values()
    assert sum(r["people_0"] for r in table) == 3000
    assert table[-1]["lift_0"] == pytest.approx(0.6)
    assert [r["day"] for r in table] == [dt.date(2026, 10, d) for d in range(1, 10)]


# --- the demo -----------------------------------------------------------------------------------


def test_the_planned_experiment_ships_at_its_end(shop: Context) -> None:
    """PLANTED.md: control 734 of 8,863, treatment 845 of 8,864, lift +15.1 %."""
    result = ask(shop, "checkout_v2")
    assert result.headline.startswith(
        "checkout_v2: ship. People who ordered rose from 8.3 % to 9.5"
    )
    arms = tables(result)["Variants"]
    assert [(r["people"], r["with"]) for r in arms] == [(8863, 734), (8864, 845)]
    main = tables(result)["Metrics, with 95 % intervals"][0]
    assert main["lift"] == pytest.approx(0.151, abs=0.0005)
    assert 0 < main["low"] < 0.15 < main["high"]


def test_without_a_plan_the_same_lift_is_not_enough(shop: Context) -> None:
    """z = 2.93 lies within an interval that holds at any number of looks."""
    result = ask(dataclasses.replace(shop, catalog=CATALOG), "checkout_v2")
    assert result.headline.startswith("checkout_v2: undecided. We can't tell yet")
    main = tables(result)["Metrics, with 95 % intervals"][0]
    assert main["low"] < 0 < main["high"]
    assert not any("by luck alone" in p.text for p in result.parts if isinstance(p, Note))


def test_the_broken_split_is_invalid(shop: Context) -> None:
    result = ask(shop, "banner_blue")
    assert result.headline.startswith("banner_blue: not valid. People were not split as planned")
    assert "7,269 control and 6,603 treatment" in result.headline


def test_the_aa_test_finds_nothing(shop: Context) -> None:
    result = ask(shop, "free_delivery_note")
    assert result.headline.startswith("free_delivery_note: no difference that matters.")
    main = tables(result)["Metrics, with 95 % intervals"][0]
    assert main["lift"] == pytest.approx(-0.019, abs=0.0005)
    loose = ask(dataclasses.replace(shop, catalog=CATALOG), "free_delivery_note")
    assert loose.headline.startswith("free_delivery_note: undecided. We can't tell yet")


# --- plans --------------------------------------------------------------------------------------


def plan(days: int = 14, **fields: Any) -> Plan:
    """A plan that begins on 1 October 2026."""
    start = dt.date(2026, 10, 1)
    return Plan("new_page", start, start + dt.timedelta(days=days - 1), **fields)


def critical(ctx: Context) -> float:
    return trial_in(ctx).regime("treatment").critical()


def test_a_look_before_the_end_is_stricter_and_shows_no_p(shop_of: Any) -> None:
    ctx = shop_of(split_of([("control", 3000, 300), ("treatment", 3000, 350)]), plan())
    assert 2.2 < critical(ctx) < 3.2  # O'Brien-Fleming on day 9 of 14
    result = ask(ctx)
    assert result.headline.startswith("new_page: keep running.")
    assert "5 days to go" in result.headline
    texts = [p.text for p in result.parts if isinstance(p, Note)]
    assert any(t.startswith("Day 9 of 14") for t in texts)
    assert not any("by luck alone" in t for t in texts)


def test_after_the_planned_end_the_answer_stands_for_ever(shop_of: Any) -> None:
    rows = split_of([("control", 3000, 300), ("treatment", 3000, 350)])
    rows["orders"] += [order(f"control{i:05}", "10-12 10:00", 100) for i in range(0, 3000, 7)]
    ctx = shop_of(rows, plan(9))
    month_later = dataclasses.replace(ctx, now=dt.datetime(2026, 11, 20, tzinfo=dt.UTC))
    first, later = ask(ctx), ask(month_later)
    assert first == later
    assert any("by luck alone" in p.text for p in first.parts if isinstance(p, Note))


def test_an_undecided_plan_is_used_up(shop_of: Any) -> None:
    ctx = shop_of(split_of([("control", 3000, 300), ("treatment", 3000, 303)]), plan(9))
    assert ask(ctx).headline.startswith("new_page: undecided, and the plan is used up.")
    near = ask(dataclasses.replace(ctx, catalog=Catalog(plans=(plan(9, mde=0.3),))))
    assert "no difference that matters" in near.headline
    assert "less than the 30 % that matter" in near.headline


def test_an_uneven_split_may_be_planned(shop_of: Any) -> None:
    rows = split_of([("control", 4500, 450), ("treatment", 500, 50)])
    assert "not valid" in ask(shop_of(rows)).headline
    shares = (("control", 0.9), ("treatment", 0.1))
    planned = shop_of({}, plan(split=shares))
    assert "not valid" not in ask(planned).headline
    wrong = shop_of({}, plan(split=(("control", 0.5), ("blue", 0.5))))
    with pytest.raises(NotEnoughDataError, match="was planned with control and blue"):
        ask(wrong)


def test_a_limit_that_is_not_shown_to_hold_holds_the_launch(shop_of: Any) -> None:
    """Returns of one in fifty can't be told to within a tenth of a per cent."""
    rows = split_of([("control", 3000, 300), ("treatment", 3000, 480)])
    back = [e["person_id"] for e in rows["exposures"][::50]]
    rows["orders"] += [order(p, "10-09 15:00", -100 - n) for n, p in enumerate(back)]
    limits = (Limit("returns", 0.001),)
    result = ask(shop_of(rows, plan(9, guardrails=limits)))
    assert "the plan is used up. People who ordered: better, but returns" in result.headline
    table = tables(result)["Metrics, with 95 % intervals"]
    assert (table[-1]["role"], table[-1]["finding"]) == ("guardrail", "undecided")


def test_an_adjusted_plan_says_what_it_gained(shop: Context) -> None:
    old = shop.catalog.plan("checkout_v2")
    assert old is not None
    plans = (dataclasses.replace(old, adjusted=True),)
    result = ask(dataclasses.replace(shop, catalog=Catalog(plans=plans)), "checkout_v2")
    (text,) = (
        p.text for p in result.parts if isinstance(p, Note) and p.text.startswith("Allowed for")
    )
    assert "28 days before, which takes away" in text
    arms = tables(result)["Variants"]
    assert [r["with"] for r in arms] == [734, 845]


def test_another_metric_than_the_planned_one_is_a_hint(shop_of: Any) -> None:
    ctx = shop_of(split_of([("control", 3000, 300), ("treatment", 3000, 350)]), plan())
    texts = [p.text for p in ask(ctx, metric="revenue").parts if isinstance(p, Note)]
    assert any(t.startswith("The plan judges by people who ordered") for t in texts)


# --- Cookie Cats --------------------------------------------------------------------------------

INSTALLED = at("09-01 12:00")


@pytest.fixture(scope="module")
def cookie_cats(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """90,189 players as exposures, their returns as events.

    The data have no times: everybody installs at one instant, and comes back 1 and 7 days later.
    """
    from zoneinfo import ZoneInfo

    import pyarrow as pa

    from storage.engines import arrow_type
    from storage.schema import metadata

    frame = pd.read_csv(shared("cookie_cats/cookie_cats.csv.gz"))
    store = Store.open(f"duckdb:///{tmp_path_factory.mktemp('cats') / 'cats.db'}")
    person = frame["userid"].astype(str)
    exposed = pd.DataFrame(
        {
            "experiment": "gate", "person_id": person, "variant": frame["version"],
            "exposed_at": INSTALLED, "source": "test",
        }
    )  # fmt: skip
    returns = pd.concat(
        pd.DataFrame(
            {
                "event_id": person[frame[f"retention_{day}"]] + f"-{day}",
                "person_id": person[frame[f"retention_{day}"]],
                "at": INSTALLED + dt.timedelta(days=day),
                "name": f"back_{day}",
                "source": "test",
            }
        )
        for day in (1, 7)
    )
    with store.engine.writing() as writer:
        for name, rows in (("exposures", exposed), ("events", returns)):
            columns = {
                c.name: pa.array(
                    rows[c.name] if c.name in rows else [None] * len(rows),
                    arrow_type(c.type),
                    from_pandas=True,
                )
                for c in metadata.tables[name].columns
            }
            writer.append(name, pa.table(columns))
    metrics = [
        Metric(
            f"retention_{day}",
            f"Back after {day} days",
            "share",
            Measure("events", "distinct", "person_id", (("name", (f"back_{day}",)),)),
        )
        for day in (1, 7)
    ]
    catalog = Catalog(metrics=(*CATALOG.metrics, *metrics))
    now = dt.datetime(2026, 9, 15, 9, tzinfo=dt.UTC)
    yield Context(store=store, now=now, zone=ZoneInfo("UTC"), currency="EUR", catalog=catalog)
    store.close()


def gate(ctx: Context, metric: str) -> Comparison:
    trial = trial_in(ctx, "gate")
    outcome: Outcome = outcome_of(ctx.catalog.metric(metric))
    found = moments_by(trial, [outcome], ctx)[outcome]
    comparison = compared(outcome, *(total(list(found[v].values())) for v in trial.variants), 1.96)
    assert isinstance(comparison, Comparison)
    return comparison


def test_cookie_cats_gives_the_published_p_values(cookie_cats: Context) -> None:
    assert gate(cookie_cats, "retention_7").p == pytest.approx(0.00155, abs=1e-5)
    assert gate(cookie_cats, "retention_1").p == pytest.approx(0.0744, abs=5e-5)


def test_cookie_cats_warns_of_its_split(cookie_cats: Context) -> None:
    result = ask(cookie_cats, "gate", metric="retention_7")
    (warning,) = warnings(result)
    assert "gate_30 44,700 and gate_40 45,489" in warning
    assert "about 9 times in 1,000" in warning
    assert "gate_30 is taken as the control" in result.parts[-1].text  # type: ignore[union-attr]


def test_cookie_cats_with_its_plan_is_not_shipped(cookie_cats: Context) -> None:
    """Fourteen days after the installs, one look at the planned end."""
    start = INSTALLED.date()
    planned = Plan("gate", start, start + dt.timedelta(days=13), metric="retention_7")
    ctx = dataclasses.replace(
        cookie_cats, catalog=dataclasses.replace(cookie_cats.catalog, plans=(planned,))
    )
    result = ask(ctx, "gate")
    assert result.headline.startswith(
        "gate: don't ship. Back after 7 days fell from 19 % to 18.2 % (lift -4.3 %, "
    )
    assert any("about 2 times in 1,000 by luck" in getattr(p, "text", "") for p in result.parts)
