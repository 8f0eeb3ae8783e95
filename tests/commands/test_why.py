"""why: hand-worked changes on every engine, exact sums on the demo, the planted cause first."""

import datetime as dt
import math
from dataclasses import replace
from typing import Any

import pytest

from analytics.catalog import METRICS
from analytics.command import Context
from analytics.commands.why import (
    OVERLAP,
    NoDriversError,
    Why,
    all_splits,
    compared_with,
    whole_of,
)
from analytics.errors import NotEnoughDataError, UnknownNameError
from analytics.measure import spans_of
from analytics.period import Period, parse_period
from analytics.result import Chart, Note, Result, Table
from analytics.scope import Filter, Filters, blank_places, scope_of
from bot.parse import parse, unparse
from storage.demo.planted import BROKEN_CHECKOUT
from tests.conftest import fill


def why(ctx: Context, metric: str, period: str, **said: Any) -> Result:
    return Why(metric=metric, period=parse_period(period, ctx.today), **said).run(ctx)


def table(result: Result, place: int = 0) -> Table:
    return [p for p in result.parts if isinstance(p, Table)][place]


def records(result: Result) -> list[dict[str, Any]]:
    found = table(result)
    return [dict(zip([c.key for c in found.columns], row, strict=True)) for row in found.rows]


def orders(ctx: Context) -> Context:
    # now is 3 to 9 October, before is 26 September to 2 October
    sold = [
        ("2026-10-05", "FR", "mobile", 3000), ("2026-10-06", "FR", "desktop", 1000),
        ("2026-10-07", "DE", "desktop", 1000), ("2026-09-28", "FR", "mobile", 1000),
        ("2026-09-29", "DE", "desktop", 1000), ("2026-09-30", "DE", "mobile", 500),
    ]  # fmt: skip
    rows = [
        {"order_id": str(n), "person_id": f"p{n % 2}", "kind": "sale", "amount_cents": cents,
         "ordered_at": dt.datetime.fromisoformat(f"{day}T10:00"), "country": c, "device": d}
        for n, (day, c, d, cents) in enumerate(sold)
    ]  # fmt: skip
    fill(ctx.store, orders=rows)
    return ctx


def test_revenue_by_country_adds_up(ctx: Context) -> None:
    result = why(orders(ctx), "revenue", "last 7 days", by=ctx.catalog.dimension("country"))
    assert [(r["value"], r["part"], r["now"], r["before"]) for r in records(result)] == [
        ("FR", 3000, 4000, 1000),
        ("DE", -500, 1000, 1500),
        ("all", 2500, 5000, 2500),
    ]
    assert result.headline == (
        "Revenue rose to €50.00 in the last 7 days from €25.00 the 7 days before (+100 %); "
        "FR explains +€30.00 of +€25.00."
    )


def test_two_dimensions_together_name_the_cell(ctx: Context) -> None:
    result = why(orders(ctx), "sales", "last 7 days")
    assert "FR" in result.headline
    (chart,) = (p for p in result.parts if isinstance(p, Chart))
    assert chart.kind == "waterfall"
    assert (chart.x[0], chart.x[-1]) == ("the 7 days before", "last 7 days")
    *steps, now = chart.series[0].values
    assert math.fsum(v or 0 for v in steps) == now == 5000


def test_a_ratio_is_split_into_rate_and_mix(ctx: Context) -> None:
    result = why(orders(ctx), "aov", "last 7 days", by=ctx.catalog.dimension("country"))
    by_value = {r["value"]: r for r in records(result)}
    # orders: FR 2 of 3 at 2000 (was 1 of 3 at 1000), DE 1 of 3 at 1000 (was 2 of 3 at 750)
    assert by_value["FR"]["rate"] == pytest.approx(0.5 * 1000)
    assert by_value["FR"]["mix"] == pytest.approx(1 / 3 * (1500 - 1250))
    assert by_value["DE"]["rate"] == pytest.approx(0.5 * 250)
    assert by_value["DE"]["mix"] == pytest.approx(-1 / 3 * (875 - 1250))
    assert by_value["all"]["part"] == pytest.approx(5000 / 3 - 2500 / 3)
    assert any(isinstance(p, Note) and "Kitagawa" in p.text for p in result.parts)


def test_people_in_two_cells_are_taken_back(ctx: Context) -> None:
    result = why(orders(ctx), "buyers", "last 7 days", by=ctx.catalog.dimension("country"))
    # now p0 bought in both countries, p1 in FR; before p1 did in both, and p0 in DE
    parts = {r["value"]: r["part"] for r in records(result)}
    assert parts == {"FR": 1, "DE": -1, OVERLAP[0]: 0, "all": 0}
    assert any(isinstance(p, Note) and OVERLAP[0] in p.text for p in result.parts)
    assert result.headline.startswith("Buyers did not move: 2 in the last 7 days")


def test_a_day_is_compared_with_the_same_weekday() -> None:
    day = parse_period("2011-11-25", dt.date(2011, 12, 10))
    assert compared_with(day).start == dt.date(2011, 11, 18)
    month = parse_period("2011-11", dt.date(2011, 12, 10))
    assert compared_with(month) == month.previous()


def test_the_planted_checkout_is_the_first_line(shops: dict[str, Context]) -> None:
    planted = BROKEN_CHECKOUT
    said = f"why conversion {planted.day.isoformat()}"
    for ctx in shops.values():
        result = parse(said, ctx.today, ctx.catalog).command.run(ctx)
        first = records(result)[0]
        assert first["value"] == f"{planted.device} × {planted.channel}"
        assert first["part"] < -0.015
        assert result.headline == (
            "Conversion fell to 4.3 % on 2011-11-25 from 5.8 % the Friday before; "
            "mobile × ads explains -1.7 of -1.5 points."
        )
        assert result.follow_ups[0] == (
            'why conversion 2011-11-25 where device:"mobile" and channel:"ads"'
        )


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_every_metric_adds_up_by_every_dimension(metric: Any, shop: Context) -> None:
    command = Why(metric=metric.name, period=parse_period("last 30 days", shop.today))
    periods = [("now", command.period), ("before", compared_with(command.period))]
    spans = spans_of(shop.store, shop.zone)
    scope = scope_of(shop.store, shop.catalog, shop.zone, periods)
    scope = replace(scope, blank=blank_places(shop.store, shop.catalog.dimensions))
    try:
        whole, read = whole_of(shop, metric, scope, spans)
    except NotEnoughDataError as refusal:
        assert metric.name == "review_score", refusal
        return
    assert (whole.now, whole.before) == (read.now, read.before)
    dimensions = command.dimensions(metric, scope, shop.catalog)
    assert dimensions
    splits = all_splits(shop, metric, scope, spans, dimensions, whole, alone=False)
    assert {s.dimensions for s in splits} >= {(d,) for d in dimensions}
    for split in splits:
        assert math.fsum(d.part for d in split.found) == pytest.approx(whole.change, abs=1e-9)
        assert all(math.isfinite(d.part) for d in split.found)


def test_joint_cells_are_the_same_as_single_ones(shop: Context) -> None:
    def parts(period: str, by: str) -> dict[Any, Any]:
        found = why(shop, "conversion", period, by=shop.catalog.dimension(by))
        return {r["value"]: round(r["part"], 12) for r in records(found)}

    device = parts("2011-11", "device")
    assert math.fsum(v for k, v in device.items() if k != "all") == pytest.approx(device["all"])
    assert set(device) == {"desktop", "mobile", "tablet", "all"}


def test_a_filter_narrows_and_leaves_its_dimension(shop: Context) -> None:
    mobile = Filters((Filter("device", ("mobile",)),))
    result = why(shop, "conversion", "2011-11-25", where=mobile)
    assert table(result).columns[0].label == "Channel"
    assert records(result)[0]["value"] == "ads"
    assert "for device mobile" in result.headline


def test_the_words_of_a_metric_are_read_together(ctx: Context) -> None:
    for said, name in {
        "why average order yesterday": "average_order",
        "why orders per buyer last month by country": "orders_per_buyer",
        "why active per day": "daily_active",
        "why metric conversion rate 2026-09": "conversion",
        "why did revenue 2026-09": None,
    }.items():
        if name is None:
            with pytest.raises(UnknownNameError, match="did"):
                parse(said, ctx.today, ctx.catalog)
            continue
        command = parse(said, ctx.today, ctx.catalog).command
        assert isinstance(command, Why)
        assert command.metric == name
        assert parse(unparse(command), ctx.today, ctx.catalog).command == command


def test_refusals(ctx: Context, shop: Context) -> None:
    with pytest.raises(NotEnoughDataError, match="no data yet"):
        why(ctx, "revenue", "last 7 days")
    with pytest.raises(UnknownNameError, match="revnue"):
        parse("why revnue", ctx.today, ctx.catalog)
    with pytest.raises(UnknownNameError, match="revnue") as unknown:
        why(shop, "revnue", "last 7 days")
    assert "revenue" in unknown.value.hint
    with pytest.raises(NotEnoughDataError, match="Before all time"):
        why(shop, "revenue", "all time")
    with pytest.raises(NotEnoughDataError, match="unknown in this period"):
        why(shop, "revenue", "2015-01")
    with pytest.raises(NotEnoughDataError, match="unknown in the period before"):
        why(shop, "revenue", "2010-12")
    with pytest.raises(NoDriversError, match="not told apart by category"):
        why(shop, "conversion", "last 7 days", by=shop.catalog.dimension("category"))


def test_a_change_without_a_single_cause_says_so(shop: Context) -> None:
    headline = why(shop, "nps", "2011-11").headline
    assert headline.startswith("NPS fell to 23.6 in 2011-11 from 44.3 the month before")
    assert headline.endswith("no single country explains it.")


def test_a_cause_larger_than_the_change_is_told_beside_the_others(shop: Context) -> None:
    result = why(shop, "revenue", "2011-11-25", by=shop.catalog.dimension("country"))
    assert result.headline.endswith("Italy moved it by -£1,363, all others by +£910.")


def test_a_change_that_may_be_chance_has_no_cause(shop: Context) -> None:
    assert why(shop, "conversion", "yesterday").headline.endswith(
        "no more than chance can do: look for no cause."
    )


def test_what_reads_the_same_held(shop: Context) -> None:
    headline = why(shop, "conversion", "2011-11").headline
    assert headline == "Conversion held at 5.7 % in 2011-11, as the month before."


def test_nothing_to_take_apart_by_is_refused(ctx: Context) -> None:
    rows = [
        {"order_id": str(n), "kind": "sale", "amount_cents": 100,
         "ordered_at": dt.datetime(2026, 9, 28) + dt.timedelta(days=n)}
        for n in range(12)
    ]  # fmt: skip
    fill(ctx.store, orders=rows)
    with pytest.raises(NoDriversError, match="nothing to take revenue apart by"):
        why(ctx, "revenue", "last 3 days")


def test_today_is_said_to_run_on(shop: Context) -> None:
    morning = replace(shop, now=dt.datetime(2011, 12, 9, 13))
    period = Period(dt.date(2011, 12, 9), dt.date(2011, 12, 10), "today")
    result = Why(metric="revenue", period=period).run(morning)
    assert any(isinstance(p, Note) and "not over" in p.text for p in result.parts)
    assert OVERLAP[0] not in str(result)
