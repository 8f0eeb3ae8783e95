"""trend: hand-worked series on every engine, and the demo's planted day."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from analytics.command import Context
from analytics.commands.trend import NoSeriesError, Trend
from analytics.errors import NotEnoughDataError, UnknownNameError
from analytics.period import parse_period
from analytics.result import Chart, Note, Result, Series, Table
from analytics.scope import Filter, Filters
from bot.parse import parse, unparse
from bot.render.chart import spec, svg
from tests.conftest import fill


def trend(ctx: Context, metric: str, period: str = "last 28 days", **said: Any) -> Result:
    return Trend(metric=metric, period=parse_period(period, ctx.today), **said).run(ctx)


def orders(ctx: Context, days: int = 98, **broken: int) -> Context:
    """So many days up to yesterday: ten orders each of one euro, on Sundays none."""
    last = dt.date(2026, 10, 9)
    rows = []
    for back in range(days):
        day = last - dt.timedelta(days=back)
        count = broken.get(f"d{day:%Y%m%d}", 0 if day.weekday() == 6 else 10)
        rows += [
            {"order_id": f"{day}-{n}", "person_id": f"p{n}", "kind": "sale", "amount_cents": 100,
             "ordered_at": dt.datetime(day.year, day.month, day.day, 10),
             "country": "DE" if n % 2 else "FR"}
            for n in range(count)
        ]  # fmt: skip
    fill(ctx.store, orders=rows)
    return ctx


def chart(result: Result) -> Chart:
    (found,) = (p for p in result.parts if isinstance(p, Chart))
    return found


def series(result: Result) -> dict[str, Series]:
    return {s.name: s for s in chart(result).series}


def tables(result: Result) -> dict[str, Table]:
    return {p.title: p for p in result.parts if isinstance(p, Table)}


def notes(result: Result) -> str:
    return " ".join(p.text for p in result.parts if isinstance(p, Note))


def test_a_fallen_day_is_out_of_the_band(ctx: Context) -> None:
    result = trend(orders(ctx, d20261006=2), "revenue")
    unusual = tables(result)["Unusual days"]
    assert [row[:3] for row in unusual.rows] == [(dt.date(2026, 10, 6), "Tue", 200.0)]
    assert "1 unusual day, 6 Oct 2026: €2.00" in result.headline
    assert result.follow_ups[0] == "why revenue 2026-10-06"
    shown = series(result)
    known = [v for v in shown["unusual"].values if v is not None]
    assert known == [200.0]
    sunday = chart(result).x.index(dt.date(2026, 10, 4))
    assert (shown["Revenue"].values[sunday], shown["usual"].values[sunday]) == (0, 0)


def test_the_forecast_goes_on_with_the_week(ctx: Context) -> None:
    result = trend(orders(ctx), "orders", ahead=7)
    told = tables(result)["The next 7 days"]
    assert [(row[0], row[2]) for row in told.rows] == [
        (dt.date(2026, 10, 10 + n), 0.0 if n == 1 else 10.0) for n in range(7)
    ]
    assert "no day was unusual; expect about 60 in the next 7 days" in result.headline
    assert "off by 0 % of the total, repeating the last week by 0 %, which it does not beat" in (
        notes(result)
    )
    assert len(chart(result).x) == 28 + 7


def test_a_filter_narrows_the_series(ctx: Context) -> None:
    france = Filters((Filter("country", ("FR",)),))
    result = trend(orders(ctx), "orders", where=france)
    assert max(v or 0 for v in series(result)["Orders"].values) == 5
    assert "country FR" in result.title


def test_weeks_are_whole_and_people_are_counted_once(ctx: Context) -> None:
    result = trend(orders(ctx), "buyers", "last 56 days", step="week")
    shown = series(result)["Buyers"]
    assert [v for v in shown.values if v is not None] == [10.0] * 7
    days = [x for x in chart(result).x if isinstance(x, dt.date)]
    assert {d.weekday() for d in days} == {0}
    per_buyer = trend(ctx, "orders per buyer", "last 56 days", step="week")
    assert [v for v in series(per_buyer)["Orders per buyer"].values if v is not None] == [6.0] * 7
    revenue = trend(ctx, "revenue", "last 56 days", step="week")
    assert [v for v in series(revenue)["Revenue"].values if v is not None] == [6000.0] * 7


def test_ahead_is_said_in_days(ctx: Context) -> None:
    command = parse("trend revenue next 7 days by week", ctx.today, ctx.catalog).command
    assert isinstance(command, Trend)
    assert (command.ahead, command.step) == (7, "week")
    assert parse(unparse(command), ctx.today, ctx.catalog).command == command


def test_refusals(ctx: Context, shop: Context) -> None:
    with pytest.raises(NotEnoughDataError, match="no orders are loaded"):
        trend(ctx, "revenue")
    with pytest.raises(NotEnoughDataError, match="known for 19 days only"):
        trend(orders(ctx, 20), "revenue")
    with pytest.raises(NotEnoughDataError, match="Nothing is known of revenue"):
        trend(ctx, "revenue", "2020")
    with pytest.raises(NotEnoughDataError, match="no whole month"):
        trend(ctx, "revenue", "last 7 days", step="month")
    with pytest.raises(UnknownNameError, match="revnue"):
        trend(shop, "revnue")
    with pytest.raises(NoSeriesError, match="looks back"):
        trend(shop, "weekly_active")
    with pytest.raises(NoSeriesError, match="little for one day"):
        trend(shop, "repeat_rate")
    with pytest.raises(NoSeriesError, match="not told apart by category"):
        trend(shop, "conversion", where=Filters((Filter("category", ("bags",)),)))


def test_people_are_not_counted_over_too_many_weeks(ctx: Context) -> None:
    with pytest.raises(NoSeriesError, match="too many to count"):
        trend(orders(ctx, 900), "orders per buyer", "all time", step="week")
    with pytest.raises(NotEnoughDataError, match="holds no whole week"):
        trend(ctx, "revenue", "last 3 days", step="week")


def test_the_planted_day_is_the_only_unusual_one(shops: dict[str, Context]) -> None:
    for ctx in shops.values():
        result = trend(ctx, "conversion", "last 60 days")
        unusual = tables(result)["Unusual days"]
        assert [row[0] for row in unusual.rows] == [dt.date(2011, 11, 25)]
        assert "25 Nov 2011: 4.3 %" in result.headline


def test_the_band_is_drawn(shop: Context) -> None:
    drawn = chart(trend(shop, "conversion", "last 60 days"))
    marks = [layer["mark"]["type"] for layer in spec(drawn)["layer"]]
    assert marks == ["area", "line", "point"]
    assert svg(drawn).startswith("<svg")


def test_every_metric_has_a_series_or_a_reason(shop: Context) -> None:
    told = set()
    for metric in shop.catalog.metrics:
        try:
            told.add(metric.name if trend(shop, metric.name, "last 60 days").headline else "")
        except (NoSeriesError, NotEnoughDataError) as refusal:
            assert refusal.message.endswith(".")
    assert told >= {"revenue", "orders", "buyers", "conversion", "daily_active", "net_revenue"}


def test_today_and_missing_days_are_said(shop: Context) -> None:
    morning = replace(shop, now=dt.datetime(2011, 12, 9, 13, tzinfo=dt.UTC))
    result = trend(morning, "revenue", "2011-12-01..2011-12-20")
    assert "only 9 of the 20 days" in notes(result)
    assert "Today is not over" in notes(result)
