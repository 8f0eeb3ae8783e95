"""Numeric traps through the command: a right answer or a named state, never NaN or a guess."""

import dataclasses
import datetime as dt
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from analytics.catalog import Catalog, Measure, Metric, Plan
from analytics.command import Context
from analytics.errors import NotEnoughDataError
from analytics.result import Chart, Figure, Note, Result, Table
from bot.dispatch import answer
from bot.render.text import to_text
from bot.slack.blocks import ladder
from bot.slack.sendable import assert_sendable
from storage.store import Store
from tests.commands.test_ab import at, order, seen
from tests.conftest import fill

#: Net revenue may be below zero; losses are better when they are less.
METRICS = (
    Metric("net", "Net", "money", Measure("orders", "sum", "amount_cents")),
    Metric("cost", "Cost", "money", Measure("orders", "sum", "amount_cents"), more_is_better=False),
)
START = dt.date(2026, 10, 1)
PLAN = Plan("new_page", START, START + dt.timedelta(days=8))


@pytest.fixture
def ctx_duck(tmp_path: Path) -> Iterator[Context]:
    """An empty DuckDB store on the morning after the plan's nine days."""
    store = Store.open(f"duckdb:///{tmp_path / 'ab.db'}")
    now = dt.datetime(2026, 10, 10, 10, tzinfo=dt.UTC)
    catalog = Catalog(metrics=(*Catalog().metrics, *METRICS), plans=(PLAN,))
    zone = ZoneInfo("Europe/Berlin")
    yield Context(store=store, now=now, zone=zone, currency="EUR", catalog=catalog)
    store.close()


Amounts = Sequence[int | None]


@pytest.fixture
def told(ctx_duck: Context) -> Callable[..., Result]:
    """The answer on arms of one amount per person (None: no order)."""

    def ask(metric: str, *, catalog: Catalog | None = None, **arms: Amounts) -> Result:
        rows: dict[str, list[dict[str, Any]]] = {"exposures": [], "orders": []}
        for variant, amounts in arms.items():
            for i, cents in enumerate(amounts):
                person, day = f"{variant}{i:05}", 1 + i % 9
                rows["exposures"].append(seen(person, variant, f"10-{day:02} 08:00"))
                if cents is not None:
                    rows["orders"].append(
                        {
                            "order_id": person, "person_id": person, "kind": "sale",
                            "ordered_at": at(f"10-{day:02} 09:00"), "amount_cents": cents,
                        }
                    )  # fmt: skip
        fill(ctx_duck.store, **{name: r for name, r in rows.items() if r})
        ctx = dataclasses.replace(ctx_duck, catalog=catalog) if catalog else ctx_duck
        result = answer(f"ab new_page metric {metric}", ctx).result
        sound(result)
        return result

    return ask


def sound(result: Result) -> None:
    """No NaN or infinity anywhere, and every surface takes it."""
    for part in result.parts:
        values: list[Any] = []
        match part:
            case Table():
                values = [v for row in part.rows for v in row]
            case Figure():
                values = [part.value]
            case Chart():
                values = [v for s in part.series for v in (*s.values, *(s.low or ()))]
            case Note():
                pass
        assert all(math.isfinite(v) for v in values if isinstance(v, float))
    shown = to_text(result)
    assert not re.search(r"\b(nan|inf|None)\b", shown)
    for message in ladder(result):
        assert_sendable({"channel": "C0000000001", **message.payload})


def metric_row(result: Result) -> dict[str, Any]:
    """The main metric's row."""
    table = next(p for p in result.parts if isinstance(p, Table) and "Metrics" in p.title)
    return dict(zip((c.key for c in table.columns), table.rows[0], strict=True))


def spread(n: int, mean: float, seed: int, sd: float = 100.0) -> list[int]:
    """Whole numbers about a mean."""
    return [round(v) for v in np.random.default_rng(seed).normal(mean, sd, n)]


def test_values_offset_by_a_billion_give_the_same_difference(
    told: Callable[..., Result],
) -> None:
    """Cents near 1e9 with a spread of 100 and a gain of 20: 6.3 standard errors.

    Sums are cut at the value that 4 of the 4,000 people exceed.
    """
    a, b = spread(2000, 0, 1), spread(2000, 20, 2)
    result = told("net", control=[10**9 + v for v in a], treatment=[10**9 + v for v in b])
    cap = sorted(a + b)[-5]
    a, b = [min(v, cap) for v in a], [min(v, cap) for v in b]
    row = metric_row(result)
    assert result.headline.startswith("new_page: ship.")
    assert row["lift"] == pytest.approx((np.mean(b) - np.mean(a)) / (1e9 + np.mean(a)), rel=1e-9)
    error = math.sqrt(np.var(a, ddof=1) / 2000 + np.var(b, ddof=1) / 2000)
    width = (row["high"] - row["low"]) * 1e9 / 2
    assert 1.96 < width / error < 2.1  # the last of three looks costs a little more than one


def test_everyone_alike_is_no_result(told: Callable[..., Result]) -> None:
    result = told("net", control=[500] * 2000, treatment=[500] * 2000)
    assert result.headline == (
        "new_page: no result yet. Everyone has the same value, so there is nothing to compare."
    )


def test_two_constants_that_differ_are_no_result_either(told: Callable[..., Result]) -> None:
    """Nothing varies within an arm: luck can't be told from effect."""
    result = told("net", control=[500] * 2000, treatment=[600] * 2000)
    assert result.headline.startswith("new_page: no result yet.")


def test_one_arm_alone_is_refused(told: Callable[..., Result]) -> None:
    with pytest.raises(NotEnoughDataError, match="only one variant: control"):
        told("net", control=spread(2000, 500, 1))


def test_an_arm_in_which_nobody_buys_counts_as_zero(told: Callable[..., Result]) -> None:
    result = told("net", control=[None] * 2000, treatment=[100 + i % 9 for i in range(2000)])
    row = metric_row(result)
    assert row["lift"] is None  # nothing to be a share of
    assert "difference €" in row["finding"]
    assert result.headline == (
        "new_page: undecided, and the plan is used up. There were fewer than 100 conversions in a "
        "variant."
    )


def test_a_negative_baseline_that_rises_is_a_gain(told: Callable[..., Result]) -> None:
    """-5.00 to -4.50 is +10 %, not -10 %."""
    plan = dataclasses.replace(PLAN, metric="net")
    catalog = Catalog(metrics=(*Catalog().metrics, *METRICS), plans=(plan,))
    a, b = spread(4000, -500, 1), spread(4000, -450, 2)
    result = told("net", catalog=catalog, control=a, treatment=b)
    row = metric_row(result)
    assert row["lift"] == pytest.approx((np.mean(b) - np.mean(a)) / abs(np.mean(a)), rel=1e-9)
    assert 0 < row["low"] < row["lift"] < row["high"]
    assert row["finding"] == "better"
    assert result.headline.startswith("new_page: ship. Net revenue per person rose from -€5.0")


@pytest.mark.parametrize(("change", "verdict"), [(-20, "ship"), (20, "don't ship")])
def test_less_cost_is_better(told: Callable[..., Result], change: int, verdict: str) -> None:
    a, b = spread(3000, 500, 1), spread(3000, 500 + change, 2)
    catalog = Catalog(metrics=METRICS, plans=(PLAN,))
    result = told("cost", catalog=catalog, control=a, treatment=b)
    assert result.headline.startswith(f"new_page: {verdict}.")
    assert (metric_row(result)["lift"] < 0) == (change < 0)


def test_one_whale_does_not_decide(told: Callable[..., Result]) -> None:
    """A purchase of a million in one arm: cut for revenue, which is capped."""
    a, b = spread(3000, 5000, 1, 1000), spread(3000, 5000, 2, 1000)
    result = told("revenue", control=a, treatment=[*b[:-1], 100_000_000])
    row = metric_row(result)
    assert abs(row["lift"]) < 0.02
    assert not result.headline.startswith(("new_page: ship", "new_page: don't ship"))


def test_an_uncapped_whale_in_a_small_arm_is_named(
    ctx_duck: Context, told: Callable[..., Result]
) -> None:
    """Orders are not cut: one person's 400 among a tenth of the people decide the mean."""
    split = (("control", 0.9), ("treatment", 0.1))
    plans = (dataclasses.replace(PLAN, split=split),)
    whale = [order("treatment00001", f"10-05 10:{n // 60:02}:{n % 60:02}", n) for n in range(400)]
    fill(ctx_duck.store, orders=whale)
    result = told(
        "orders",
        catalog=dataclasses.replace(ctx_duck.catalog, plans=plans),
        control=[500 if i % 3 else None for i in range(4500)],
        treatment=[500 if i % 3 else None for i in range(500)],
    )
    assert result.headline == (
        "new_page: can't be judged on this average. A few very large values decide the average, "
        "and the variants differ in size."
    )


@pytest.mark.parametrize("metric", ["ordered", "revenue", "net", '"p90 revenue"', "average_order"])
def test_three_people_are_never_a_verdict(told: Callable[..., Result], metric: str) -> None:
    result = told(metric, control=[100, None], treatment=[300])
    state = result.headline.split(": ", 1)[1]
    assert state.startswith(("no result yet", "too early", "undecided"))


def test_orders_of_no_value_are_all_equal(told: Callable[..., Result]) -> None:
    result = told("revenue", control=[0] * 500, treatment=[0] * 500)
    assert result.headline.startswith("new_page: no result yet.")
    result = told('"p90 revenue"', control=[], treatment=[])
    assert result.headline.startswith("new_page: no result yet.")
