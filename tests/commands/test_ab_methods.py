"""Percentiles, strata and the recording of exposures, through SQL on every engine."""

import dataclasses
import datetime as dt
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from analytics.catalog import Catalog, Plan
from analytics.command import Context
from analytics.commands.ab import Ab
from analytics.errors import UserError
from analytics.methods.experiment.comparison import Comparison, compare_arms
from analytics.methods.experiment.moments import Moments
from analytics.methods.experiment.quantiles import QuantileSums, neighbour_ranks, rank_of
from analytics.methods.experiment.strata import Strata, stratified_arms
from analytics.outcomes import ORDERED, NoOutcomeError, named_outcome
from analytics.result import Note, Result
from analytics.trials import compared, moments_by, sides_of, sighting_of, trial_of
from bot.slack.chores import snapshots
from storage.experiments import Experiments
from storage.state import State
from tests.commands.test_ab import at, order, seen, split_of
from tests.conftest import fill

START = dt.date(2026, 10, 1)
PLAN = Plan("new_page", START, START + dt.timedelta(days=8))


def with_plan(ctx: Context, **fields: Any) -> Context:
    plan = dataclasses.replace(PLAN, **fields)
    return dataclasses.replace(ctx, catalog=dataclasses.replace(ctx.catalog, plans=(plan,)))


def notes(result: Result, level: str = "info") -> list[str]:
    return [p.text for p in result.parts if isinstance(p, Note) and p.level == level]


# --- percentiles --------------------------------------------------------------------------------


def baskets(people: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """People of two variants with none to five orders after, some before, the exposure."""
    draws = random.Random(seed)
    rows: dict[str, list[dict[str, Any]]] = {"exposures": [], "orders": []}
    for i in range(people):
        variant, person = ("control", "treatment")[i % 2], f"p{i:04}"
        rows["exposures"].append(seen(person, variant, "10-02 08:00"))
        rows["orders"].append(order(person, "10-01 09:00", 999_999))
        own = draws.gauss(0, 0.6)
        for n in range(draws.choice((0, 0, 1, 2, 5))):
            cents = round(1000 * 2.718 ** (own + draws.gauss(0, 0.6)) * (1 + 0.2 * (i % 2)))
            rows["orders"].append(order(person, f"10-03 09:00:{n:02}", cents))
    return rows


def test_a_percentile_is_that_of_the_rows_with_people_as_units(ctx: Context) -> None:
    """Against numpy: value, neighbours, and the delta method over each person's counts."""
    rows = baskets(600, 3)
    fill(ctx.store, **rows)
    ctx = with_plan(ctx)
    trial = trial_of(sighting_of("new_page", ctx), ctx, None)
    p90 = named_outcome("p90 order value", ctx.catalog)
    sides = sides_of(trial, p90, moments_by(trial, [p90], ctx), ctx)[p90]
    variant = {e["person_id"]: e["variant"] for e in rows["exposures"]}
    arms = []
    for name in trial.variants:
        by_person: dict[str, list[int]] = {}
        for row in rows["orders"]:
            if variant[row["person_id"]] == name and row["amount_cents"] != 999_999:
                by_person.setdefault(row["person_id"], []).append(row["amount_cents"])
        values = np.sort([v for own in by_person.values() for v in own])
        ranks = neighbour_ranks(0.9, len(values))
        assert ranks is not None
        edges = [
            float(np.quantile(values, share, method="inverted_cdf")) for share in (0.9, *ranks)
        ]
        below = [sum(v <= edges[0] for v in own) for own in by_person.values()]
        moments = Moments.of(
            np.array(below, float), np.array([len(own) for own in by_person.values()], float)
        )
        side = sides[name]
        assert isinstance(side, QuantileSums)
        assert [side.value, side.low, side.high] == edges
        assert side.below.variance == pytest.approx(moments.variance, rel=1e-12)
        assert side.below.covariance == pytest.approx(moments.covariance, rel=1e-12)
        arms.append(QuantileSums(0.9, *edges, moments).arm())
    plain = compare_arms(*arms)
    found = compared(p90, *(sides[v] for v in trial.variants), critical=1.959963984540054)
    assert isinstance(plain, Comparison)
    assert isinstance(found, Comparison)
    assert (found.p, found.low, found.lift) == pytest.approx(
        (plain.p, plain.low, plain.lift), rel=1e-9
    )


def test_ranks_are_those_of_the_empirical_distribution() -> None:
    values = np.arange(1, 101)
    for share in (0.005, 0.01, 0.5, 0.9, 0.901, 0.999, 1.0):
        found = np.quantile(values, share, method="inverted_cdf")
        assert rank_of(share, 100) == found


def test_a_percentile_is_told_in_words(ctx: Context) -> None:
    fill(ctx.store, **baskets(600, 3))
    result = Ab(experiment="new_page", metric="p90 order value").run(with_plan(ctx))
    assert "90th percentile of order value" in result.headline
    assert named_outcome("median order value", ctx.catalog).label == "Median order value"
    assert named_outcome("p90 revenue", ctx.catalog).label == "90th percentile of revenue"


@pytest.mark.parametrize("said", ["p90 buyers", "p0 revenue", "p90 repeat rate", "p90 orders"])
def test_what_adds_up_no_values_has_no_percentile(said: str) -> None:
    with pytest.raises(NoOutcomeError):
        named_outcome(said, Catalog())


def test_a_percentile_of_five_orders_is_unknown(ctx: Context) -> None:
    rows = split_of([("control", 300, 2), ("treatment", 300, 3)])
    fill(ctx.store, **rows)
    result = Ab(experiment="new_page", metric="p90 order value").run(with_plan(ctx))
    assert result.headline.startswith("new_page: no result yet.")


def test_a_plan_may_judge_by_a_percentile(ctx: Context) -> None:
    fill(ctx.store, **baskets(600, 3))
    result = Ab(experiment="new_page").run(with_plan(ctx, metric="p90 average_order"))
    assert "90th percentile of order value" in result.headline


# --- strata -------------------------------------------------------------------------------------


def ramp() -> dict[str, list[dict[str, Any]]]:
    """A tenth treated on the first day, when 5 % buy; a half on the second, when 20 % do.

    The treatment makes no difference on either day; together it seems to.
    """
    rows: dict[str, list[dict[str, Any]]] = {"exposures": [], "orders": []}
    for day, sizes, share in ((1, (1800, 200), 0.05), (2, (1000, 1000), 0.2)):
        for variant, people in zip(("control", "treatment"), sizes, strict=True):
            for i in range(people):
                person = f"{variant}{day}{i:04}"
                rows["exposures"].append(seen(person, variant, f"10-0{day} 10:00"))
                if i < people * share:
                    rows["orders"].append(order(person, f"10-0{day} 11:00", 1000))
    return rows


def test_days_as_strata_undo_a_change_of_allocation(ctx: Context) -> None:
    """Simpson: 10.4 % against 17.5 % together, alike within each day."""
    fill(ctx.store, **ramp())
    pooled = Ab(experiment="new_page").run(with_plan(ctx))
    assert pooled.headline.startswith("new_page: not valid.")
    by_day = with_plan(ctx, strata="day")
    trial = trial_of(sighting_of("new_page", by_day), by_day, None)
    sides = sides_of(trial, ORDERED, moments_by(trial, [ORDERED], by_day), by_day)[ORDERED]
    pairs = [
        (Moments.of_proportion(90, 1800), Moments.of_proportion(10, 200)),
        (Moments.of_proportion(200, 1000), Moments.of_proportion(200, 1000)),
    ]
    plain = compare_arms(*stratified_arms(pairs))
    found = compared(ORDERED, *(sides[v] for v in trial.variants), critical=1.959963984540054)
    assert isinstance(plain, Comparison)
    assert isinstance(found, Comparison)
    assert found.difference == pytest.approx(0, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), rel=1e-9)
    result = Ab(experiment="new_page").run(by_day)
    assert "undecided" in result.headline
    assert any("those of the same day of first exposure" in text for text in notes(result))
    assert any("is not checked against a plan" in text for text in notes(result))


def test_a_dimension_as_strata_weighs_its_values_by_their_people(ctx: Context) -> None:
    rows: dict[str, list[dict[str, Any]]] = {"exposures": [], "orders": [], "events": []}
    buyers = {("mobile", "control"): 40, ("mobile", "treatment"): 60,
              ("desktop", "control"): 90, ("desktop", "treatment"): 80}  # fmt: skip
    for (device, variant), n in buyers.items():
        for i in range(400):
            person = f"{device}{variant}{i:03}"
            rows["exposures"].append(seen(person, variant, f"10-0{1 + i % 7} 10:00"))
            rows["events"].append(
                {"event_id": person, "person_id": person, "at": at(f"10-0{1 + i % 7} 09:00"),
                 "name": "visit", "device": device}
            )  # fmt: skip
            if i < n:
                rows["orders"].append(order(person, f"10-0{1 + i % 7} 11:00", 1000))
    fill(ctx.store, **rows)
    planned = with_plan(ctx, strata="device")
    trial = trial_of(sighting_of("new_page", planned), planned, None)
    sides = sides_of(trial, ORDERED, moments_by(trial, [ORDERED], planned), planned)[ORDERED]
    assert all(isinstance(side, Strata) and len(side.parts) == 2 for side in sides.values())
    found = compared(ORDERED, sides["control"], sides["treatment"], 1.959963984540054)
    pooled = compared(
        ORDERED,
        *(Moments.of_proportion(n, 800) for n in (130, 140)),
        critical=1.959963984540054,
    )
    assert isinstance(found, Comparison)
    assert isinstance(pooled, Comparison)
    assert found.difference == pytest.approx(pooled.difference)
    assert found.standard_error < pooled.standard_error
    result = Ab(experiment="new_page").run(planned)
    assert any("those of the same device" in text for text in notes(result))


def test_few_buyers_take_the_small_sample_way_strata_or_not(ctx: Context) -> None:
    fill(ctx.store, **split_of([("control", 300, 4), ("treatment", 300, 6)]))
    planned = with_plan(ctx, strata="day")
    trial = trial_of(sighting_of("new_page", planned), planned, None)
    sides = sides_of(trial, ORDERED, moments_by(trial, [ORDERED], planned), planned)[ORDERED]
    found = compared(ORDERED, sides["control"], sides["treatment"], 1.96)
    assert isinstance(found, Comparison)
    assert found.method == "score"


# --- how exposures are recorded -----------------------------------------------------------------


def logged(early: dict[str, int], silent: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
    """1,500 people a variant; so many had an event an hour before, so many have none at all."""
    rows = split_of([("control", 1500, 150), ("treatment", 1500, 160)])
    rows["events"] = []
    for e in rows["exposures"]:
        number, variant = int(e["person_id"][-5:]), e["variant"]
        hour = dt.timedelta(hours=1)
        if number < early[variant]:
            rows["events"].append(event(e, -hour))
        if number >= silent[variant]:
            rows["events"].append(event(e, hour))
    return rows


def event(exposure: dict[str, Any], after: dt.timedelta) -> dict[str, Any]:
    person = exposure["person_id"]
    return {
        "event_id": f"{person}{after}", "person_id": person, "name": "visit",
        "at": exposure["exposed_at"] + after,
    }  # fmt: skip


def test_variants_that_record_at_different_moments_are_not_valid(ctx: Context) -> None:
    """Treatment is recorded after a first page: 40 % had one before, of control 10 %."""
    fill(
        ctx.store,
        **logged({"control": 150, "treatment": 600}, {"control": 15, "treatment": 15}),
    )
    result = Ab(experiment="new_page").run(with_plan(ctx))
    assert result.headline.startswith(
        "new_page: not valid. The variants record who saw them differently"
    )
    assert notes(result, "warning")[0].startswith(
        "Active in the day before they first saw it: control 10 % and treatment 40 %."
    )


def test_people_who_do_nothing_at_all_are_warned_about(ctx: Context) -> None:
    """It may be an effect: the verdict stays."""
    fill(
        ctx.store,
        **logged({"control": 150, "treatment": 150}, {"control": 15, "treatment": 120}),
    )
    result = Ab(experiment="new_page").run(with_plan(ctx))
    assert "not valid" not in result.headline
    (warning,) = notes(result, "warning")
    assert warning.startswith("Did nothing at all from then on: control 1 % and treatment 8 %.")


def test_variants_that_record_alike_raise_no_doubt(ctx: Context) -> None:
    fill(
        ctx.store,
        **logged({"control": 150, "treatment": 170}, {"control": 15, "treatment": 20}),
    )
    assert notes(Ab(experiment="new_page").run(with_plan(ctx)), "warning") == []


def test_who_was_exposed_before_the_plan_does_not_count(ctx: Context) -> None:
    rows = split_of([("control", 300, 30), ("treatment", 300, 45)])
    rows["exposures"].append(seen("control00001", "control", "09-20 10:00"))
    fill(ctx.store, **rows)
    ctx = with_plan(ctx)
    trial = trial_of(sighting_of("new_page", ctx), ctx, None)
    assert trial.people == {"control": 299, "treatment": 300}


# --- the chore ----------------------------------------------------------------------------------


def test_the_chore_reads_the_snapshot_of_the_morning(ctx: Context, tmp_path: Path) -> None:
    fill(ctx.store, **split_of([("control", 300, 30), ("treatment", 300, 45)]))
    state = State.open(f"sqlite:///{tmp_path / 'state.sqlite'}")
    kept = dataclasses.replace(with_plan(ctx), state=state)
    bot: Any = SimpleNamespace(context=lambda: kept)
    assert snapshots(bot) == ()
    later = dataclasses.replace(kept, now=kept.now + dt.timedelta(hours=5))
    result = Ab(experiment="new_page").run(later)
    assert "taken at 12:00 on 10 Oct 2026" in notes(result)[-1]
    assert Experiments(state).purge_snapshots(before=dt.date(2026, 10, 11)) > 0
    fill(ctx.store, exposures=[seen("z", "on", "01-01 10:00", "zzz")])
    over = dataclasses.replace(kept, now=kept.now + dt.timedelta(days=200))
    assert snapshots(SimpleNamespace(context=lambda: over)) == ()  # type: ignore[arg-type]
    state.close()


def test_what_is_said_wrong_is_refused() -> None:
    with pytest.raises(UserError):
        named_outcome("p90 nothing", Catalog())
