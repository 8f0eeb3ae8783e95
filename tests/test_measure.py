"""Measures as queries: sums per person for experiments, days, and what the data cover."""

import datetime as dt
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from analytics.catalog import ENTITY, Catalog, Measure
from analytics.entities import rows_of
from analytics.measure import Span, coverage_notes, daily, per_person, quantities, spans_of
from analytics.period import parse_period
from analytics.result import Note
from analytics.scope import Scope, Window
from storage.schema import exposures
from tests.conftest import fill

BERLIN = ZoneInfo("Europe/Berlin")
TODAY = dt.date(2026, 10, 10)


def at(text: str) -> dt.datetime:
    """A UTC instant of 2026, `10-01 10:00`."""
    return dt.datetime.fromisoformat(f"2026-{text}")


def scope(*words: str) -> Scope:
    names = ("now", "before", "earlier")
    periods = [parse_period(w, TODAY) for w in words]
    windows = (Window.of(n, p, BERLIN) for n, p in zip(names, periods, strict=False))
    return Scope(BERLIN, tuple(windows), Catalog())


def orders(*rows: tuple[str, str | None, str, int]) -> list[dict]:
    return [
        {"order_id": i, "person_id": p, "ordered_at": at(when), "kind": "sale", "amount_cents": c}
        for i, p, when, c in rows
    ]


def test_a_metric_of_the_catalogue_is_summed_per_person_after_exposure(ctx):
    fill(
        ctx.store,
        orders=orders(
            ("1", "a", "10-01 09:00", 100),  # before the exposure
            ("2", "a", "10-02 09:00", 200),
            ("3", "a", "10-03 09:00", 300),
            ("4", "b", "10-03 09:00", 400),
            ("5", None, "10-03 09:00", 500),
        ),
        exposures=[
            {"experiment": "x", "person_id": p, "variant": v, "exposed_at": at("10-01 12:00")}
            for p, v in (("a", "new"), ("b", "old"))
        ],
    )
    metric = Catalog().metric("average_order")
    rows = rows_of("orders", scope("last 30 days"))
    assert metric.denominator is not None
    statement = per_person(
        [metric.numerator, metric.denominator],
        rows,
        rows.c["at"] >= exposures.c.exposed_at,
        exposures.c.person_id == rows.c.person_id,
        exposures.c.experiment == "x",
    ).order_by(sa.literal_column("1"))
    assert ctx.store.rows(statement) == [
        {"person_id": "a", "m0": 500, "m1": 2},
        {"person_id": "b", "m0": 400, "m1": 1},
    ]


def test_windows_may_overlap_and_reach_back_beyond_themselves(ctx):
    fill(
        ctx.store,
        orders=orders(
            ("1", "a", "08-20 09:00", 1),
            ("2", "a", "10-01 09:00", 10),
            ("3", "b", "10-08 09:00", 100),
        ),
    )
    week, ever, month = (
        Measure("orders", "sum", "amount_cents", reach=r) for r in ("period", "ever", 30)
    )
    found = quantities(ctx.store, scope("last 7 days", "last 14 days"), [week, ever, month])
    assert found[()] == {
        (week, 0): 100, (week, 1): 110, (ever, 0): 111, (ever, 1): 111, (month, 0): 110,
        (month, 1): 110,
    }  # fmt: skip
    days = Measure("active_days", "count", reach="ever")
    assert quantities(ctx.store, scope("last 7 days"), [days])[()] == {(days, 0): 3}
    assert quantities(ctx.store, scope("last 7 days"), [Measure("active_days", "days")]) == {}


def test_a_series_has_the_local_days_with_rows(ctx):
    fill(ctx.store, orders=orders(("1", "a", "10-08 21:59", 1), ("2", "a", "10-08 22:00", 10)))
    sales, days = Measure("orders", "sum", "amount_cents"), Measure("active_days", "count")
    asked = scope("last 7 days")
    assert daily(ctx.store, asked, [sales]) == {
        sales: {dt.date(2026, 10, 8): 1, dt.date(2026, 10, 9): 10}
    }
    assert daily(ctx.store, asked, [days])[days] == {
        dt.date(2026, 10, 8): 1,
        dt.date(2026, 10, 9): 1,
    }


def test_the_span_of_the_data_is_in_local_days(ctx):
    assert spans_of(ctx.store, BERLIN) == {}
    fill(
        ctx.store,
        orders=orders(("1", "a", "10-08 22:30", 1)),
        people=[{"person_id": "a", "first_seen_at": at("10-01 12:00")}],
    )
    assert spans_of(ctx.store, BERLIN) == {
        "orders": Span(dt.date(2026, 10, 9), dt.date(2026, 10, 9)),
        # no new people since 1 October, as far as the orders reach
        "people": Span(dt.date(2026, 10, 1), dt.date(2026, 10, 9)),
    }


def test_what_the_data_do_not_cover_is_said_the_earlier_window_first():
    asked = scope("2026-09-11..2026-10-10", "2026-08-12..2026-09-10")
    spans = {
        "orders": Span(dt.date(2026, 9, 1), dt.date(2026, 10, 9)),
        "events": Span(dt.date(2026, 9, 5), dt.date(2026, 10, 10)),
    }
    assert coverage_notes(asked, spans, ("orders", "events")) == [
        Note(
            "The orders begin on 1 Sep 2026: "
            "only 10 of the 30 days of the period before are known.",
            "warning",
        ),
        Note(
            "The events begin on 5 Sep 2026: only 6 of the 30 days of the period before are known.",
            "warning",
        ),
        Note(
            "The orders end on 9 Oct 2026: only 29 of the 30 days of this period are known.",
            "warning",
        ),
    ]
    assert coverage_notes(asked, {}, ("orders",)) == []
    only = {"orders": spans["orders"]}
    assert coverage_notes(asked, only, ("orders", "events"))[0].text.startswith("The data begin on")


def test_every_entity_needs_a_table_that_has_a_span(ctx):
    tables = {"people", "orders", "order_lines", "events", "ratings"}
    assert {t for e in ENTITY.values() for t in e.needs} == tables
