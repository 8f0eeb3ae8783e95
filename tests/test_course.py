"""The course of metrics: the same numbers as the slow ways give, in two queries."""

import datetime as dt
import json
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pytest

from analytics.catalog import Metric
from analytics.command import Context
from analytics.commands.trend import Trend
from analytics.course import NoCourseError, course_of
from analytics.gate import judged, verdict_of
from analytics.measure import read, spans_of
from analytics.period import between, parse_period
from analytics.result import Chart
from analytics.scope import Filter, Filters, scope_of
from tests.conftest import fill

DAY = dt.date(2011, 11, 25)
FRANCE = Filters((Filter("country", ("France",)),))


def fresh(ctx: Context) -> Context:
    """The same with a record of reads of its own."""
    return replace(ctx, store=ctx.store.fork())


def of_days(ctx: Context) -> list[Metric]:
    """The metrics that have a value for each day."""
    return [m for m in ctx.catalog.metrics if all(x.reach == "period" for x in m.measures)]


@pytest.mark.parametrize("filters", [Filters(), FRANCE], ids=["all", "France"])
@pytest.mark.parametrize("text", ["2011-11-25", "2011-W47"])
def test_every_metric_is_what_it_is_asked_alone(text: str, filters: Filters, shop: Context) -> None:
    ctx = fresh(shop)
    period = parse_period(text, ctx.today)
    metrics = of_days(ctx)
    course = course_of(ctx, metrics, period, filters)
    before = replace(
        period, start=period.start - dt.timedelta(7), end=period.end - dt.timedelta(7), words="b"
    )
    spans = spans_of(ctx.store, ctx.zone)
    scope = scope_of(
        ctx.store, ctx.catalog, ctx.zone, [("now", period), ("before", before)], filters
    )
    for line, alone in zip(course.lines, read(ctx.store, scope, metrics, spans), strict=True):
        assert same(line.now, alone.now), (line.metric.name, line.now, alone.now)
        assert same(line.reference, alone.before), line.metric.name


def same(a: Any, b: Any) -> bool:
    return a == b if None in (a, b) else math.isclose(a, b, rel_tol=1e-12)


@pytest.mark.parametrize("name", ["revenue", "conversion", "sessions", "average_order"])
def test_the_band_is_that_of_trend(name: str, shop: Context) -> None:
    (line,) = course_of(
        fresh(shop), [shop.catalog.metric(name)], between(DAY, DAY + dt.timedelta(1))
    ).lines
    asked = Trend(metric=name, period=between(DAY, DAY + dt.timedelta(1)))
    chart = next(p for p in asked.run(fresh(shop)).parts if isinstance(p, Chart))
    usual = next(s for s in chart.series if s.name == "usual")
    assert usual.low is not None
    assert usual.high is not None
    low, high = line.band.low[-1], line.band.high[-1]
    assert np.allclose([usual.low[0], usual.high[0]], [low, high], rtol=1e-12)  # type: ignore[arg-type]


def test_two_queries_read_no_row_more_than_twice(shop: Context) -> None:
    ctx = fresh(shop)
    course_of(ctx, of_days(ctx)[:20], between(DAY, DAY + dt.timedelta(1)))
    assert len(ctx.store.reads) == 2
    rows, total = scanned(ctx), ctx.store.counts()
    assert rows["events"] > 0
    assert rows["events"] <= 2 * total["events"]


def scanned(ctx: Context) -> Counter[str]:
    """Rows that the scans of each table read, as DuckDB counted them."""
    rows: Counter[str] = Counter()
    engine: Any = ctx.store.engine
    connection: duckdb.DuckDBPyConnection = engine._connection.cursor()
    for made in ctx.store.reads:
        explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {made.sql}"
        found = connection.execute(explained, list(made.values)).fetchall()
        waiting = json.loads(found[0][1])["operator"]
        while waiting:
            node = waiting.pop()
            waiting += node.get("children", [])
            if node.get("type") == "TABLE_SCAN" or "Table" in node.get("extra_info", {}):
                table = str(node["extra_info"].get("Table", "")).rpartition(".")[2].strip('"')
                rows[table] += node.get("rows_scanned", 0)
    return rows


def test_the_gate_says_what_quality_says(shop: Context) -> None:
    for day in (DAY, dt.date(2011, 12, 8), dt.date(2011, 12, 9), dt.date(2011, 6, 3)):
        told, _ = judged(fresh(shop), day, day + dt.timedelta(1))
        metrics = [shop.catalog.metric(n) for n in ("revenue", "sessions", "nps")]
        gate = course_of(fresh(shop), metrics, between(day, day + dt.timedelta(1))).gate
        ours = {t: js for t, js in told.items() if t != "order_lines"}
        assert gate.verdict == verdict_of(ours, 0), day


def test_what_moved_adds_up_to_the_change(shop: Context) -> None:
    names = ("revenue", "orders", "sessions", "conversion", "average_order")
    metrics = [shop.catalog.metric(n) for n in names]
    course = course_of(fresh(shop), metrics, between(DAY, DAY + dt.timedelta(1)))
    for line in course.lines:
        assert line.movers, line.metric.name
        assert line.now is not None
        assert line.reference is not None
        for _, parts in line.movers:
            total = math.fsum(p.part for p in parts)
            assert math.isclose(total, line.now - line.reference, rel_tol=1e-9, abs_tol=1e-9)


def test_what_looks_back_or_is_no_day_is_refused(shop: Context) -> None:
    revenue = shop.catalog.metric("revenue")
    with pytest.raises(NoCourseError):
        course_of(fresh(shop), [revenue], parse_period("last 30 days", shop.today))
    with pytest.raises(NoCourseError):
        course_of(
            fresh(shop),
            [shop.catalog.metric("weekly_active")],
            parse_period("yesterday", shop.today),
        )


def test_visits_without_a_session_are_cut_and_counted(ctx: Context) -> None:
    """Two visits of one person 31 minutes apart, one of them bought; one visit with a session."""
    day = dt.datetime(2026, 10, 9, 8)
    seen = [(0, None), (5, None), (36, None), (10, "s1"), (90, "s1")]
    fill(
        ctx.store,
        events=[
            {
                "event_id": str(i),
                "person_id": "p1",
                "session_id": session,
                "at": day + dt.timedelta(minutes=minute),
                "name": "purchase" if minute == 36 else "visit",
                "order_id": "o1" if minute == 36 else None,
            }
            for i, (minute, session) in enumerate(seen)
        ],
        people=[{"person_id": "p1", "first_seen_at": day}],
    )
    names = ("sessions", "conversion", "time_per_session", "daily_active", "new_people")
    metrics = [ctx.catalog.metric(n) for n in names]
    course = course_of(ctx, metrics, parse_period("yesterday", ctx.today))
    values = [line.now for line in course.lines]
    assert values == [3, 1 / 3, (300 + 4800) / 2, 1, 1]


def test_who_is_new_is_known_from_all_orders(ctx: Context) -> None:
    """One buyer ordered years ago, one twice on the day, one for the first time."""

    def order(n: int, person: str, at: dt.datetime) -> dict[str, Any]:
        return {"order_id": str(n), "person_id": person, "ordered_at": at, "kind": "sale",
                "amount_cents": 100 * n}  # fmt: skip

    day = dt.datetime(2026, 10, 9, 12)
    fill(
        ctx.store,
        orders=[
            order(1, "old", dt.datetime(2020, 1, 1)),
            order(2, "old", day),
            order(3, "twice", day),
            order(4, "twice", day + dt.timedelta(hours=1)),
            order(5, "once", day),
        ],
    )
    names = ("revenue", "buyers", "new_buyers", "returning_buyers", "repeat_rate", "orders")
    metrics = [ctx.catalog.metric(n) for n in names]
    course = course_of(ctx, metrics, parse_period("yesterday", ctx.today))
    assert [line.now for line in course.lines] == [1400, 3, 2, 1, 2 / 3, 4]
