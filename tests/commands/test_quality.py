"""quality: rows made by hand, on every engine; the demo's real gaps."""

import datetime as dt
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from analytics.command import Context
from analytics.commands.quality import Quality
from analytics.errors import NotEnoughDataError
from analytics.gate import hour_lengths
from analytics.period import parse_period
from analytics.result import Note, Result, Table
from tests.conftest import fill

LAST = dt.date(2026, 10, 9)


def quality(ctx: Context, period: str = "last 3 days") -> Result:
    return Quality(period=parse_period(period, ctx.today)).run(ctx)


def visits(days: int = 80) -> list[dict[str, Any]]:
    """Twelve events an hour from 8 to 20 local time, one of them a purchase; by day and hour."""
    rows = []
    for back in range(days):
        day = LAST - dt.timedelta(days=back)
        for hour in range(8, 20):
            at = dt.datetime(day.year, day.month, day.day, hour, tzinfo=ZoneInfo("Europe/Berlin"))
            at = at.astimezone(dt.UTC).replace(tzinfo=None)
            rows += [
                {"event_id": f"{day}-{hour}-{n}", "person_id": f"p{n}", "session_id": f"s{n}",
                 "at": at + dt.timedelta(minutes=5 * n), "channel": "ads", "country": "DE",
                 "device": "mobile", "name": "purchase" if n == 0 else "visit"}
                for n in range(12)
            ]  # fmt: skip
    return rows


def loaded(ctx: Context, rows: list[dict[str, Any]], **tables: Any) -> Context:
    people = [{"person_id": f"p{n}", "first_seen_at": dt.datetime(2026, 1, 1)} for n in range(12)]
    fill(ctx.store, people=people, events=rows, **tables)
    return ctx


def tables(result: Result) -> dict[str, list[tuple[Any, ...]]]:
    return {p.title: list(p.rows) for p in result.parts if isinstance(p, Table)}


def local(row: dict[str, Any]) -> dt.datetime:
    at: dt.datetime = row["at"]
    return at.replace(tzinfo=dt.UTC).astimezone(ZoneInfo("Europe/Berlin"))


def test_whole_days_are_ok(ctx: Context) -> None:
    result = quality(loaded(ctx, visits()))
    assert result.headline == (
        "9 Oct 2026 is ok: 100 % complete; of 3 days 0 are held and 0 noted."
    )
    assert tables(result)["9 Oct 2026"] == [("Events", "ok", 144, 144.0, 1.0, 1.0, 0)]
    assert [row[:3] for row in tables(result)["Day by day"]] == [
        (LAST, "Fri", "ok"),
        (LAST - dt.timedelta(days=1), "Thu", "ok"),
        (LAST - dt.timedelta(days=2), "Wed", "ok"),
    ]


def test_an_afternoon_that_is_missing_holds_the_day(ctx: Context) -> None:
    rows = [r for r in visits() if local(r).date() != LAST or local(r).hour < 14]
    result = quality(loaded(ctx, rows))
    assert result.headline.startswith(
        "9 Oct 2026 is held: Events: nothing from 14:00 to 20:00, usually 72 rows"
    )
    assert tables(result)["9 Oct 2026"] == [("Events", "held", 72, 144.0, 0.5, 0.5, 1)]
    assert result.follow_ups[0] == "quality 2026-10-09"


def test_copies_empty_fields_and_strangers_are_told(ctx: Context) -> None:
    day = LAST
    rows = visits()
    again = [{**r, "event_id": f"{r['event_id']}-again"} for r in rows if local(r).date() == day][
        :30
    ]
    before = LAST - dt.timedelta(days=1)
    for n, row in enumerate(r for r in rows if local(r).date() == before):
        if n % 2:
            row["device"] = ""
        if n % 3 == 0:
            row["person_id"] = "stranger"
    result = quality(loaded(ctx, [*rows, *again]))
    found = {row[:2]: row[2] for row in tables(result)["Findings"]}
    assert found[day, "held"] == "Events: 17.2 % of the rows are copies (usually 0 %)"
    texts = [row[2] for row in tables(result)["Findings"] if row[0] == before]
    assert texts == [
        "Events: device is empty in 50 % (usually 0 %)",
        "Events: person is unknown to us in 33.3 % (usually 0 %)",
    ]


def test_a_kind_of_event_that_no_longer_comes_holds(ctx: Context) -> None:
    rows = [r for r in visits() if local(r).date() != LAST or r["name"] == "visit"]
    result = quality(loaded(ctx, rows))
    assert "no “purchase” came (usually 8.3 % of the rows)" in result.headline


def test_new_kinds_and_impossible_values_are_told(ctx: Context) -> None:
    rows = visits()
    for row in [r for r in rows if local(r).date() == LAST][:10]:
        row["name"] = "signup"
    orders = [
        {"order_id": r["event_id"], "person_id": r["person_id"], "ordered_at": r["at"],
         "kind": "sale", "country": "DE", "device": "mobile", "channel": "ads",
         "amount_cents": -100 if local(r).date() == LAST and local(r).hour == 9 else 100}
        for r in rows
    ]  # fmt: skip
    result = quality(loaded(ctx, rows, orders=orders))
    assert [row[1:] for row in tables(result)["Findings"]] == [
        ("held", "Orders: amount is impossible in 8.3 % (usually 0 %)"),
        ("note", "Events: “signup” is new (6.9 % of the rows)"),
    ]


def test_days_before_three_weeks_are_not_judged(ctx: Context) -> None:
    result = quality(loaded(ctx, visits(30)), "last 14 days")
    verdicts = [row[2] for row in tables(result)["Day by day"]]
    assert verdicts == ["ok"] * 9 + [None] * 5


def test_orders_are_checked_against_the_events_that_tell_of_them(ctx: Context) -> None:
    rows = visits()
    orders = []
    for row in rows:
        if row["name"] == "purchase":
            orders += [
                {"order_id": f"o-{row['event_id']}-{n}", "person_id": "p0", "kind": "sale",
                 "ordered_at": row["at"] + n * dt.timedelta(seconds=9), "country": "DE",
                 "amount_cents": 100 + n}
                for n in range(10)
            ]  # fmt: skip
    told = [
        {**rows[0], "event_id": f"e{n}", "order_id": o["order_id"], "at": o["ordered_at"],
         "name": "purchase"}
        for n, o in enumerate(orders)
        if not (o["ordered_at"].date() == LAST and n % 2)
    ]  # fmt: skip
    result = quality(loaded(ctx, [*rows, *told], orders=orders))
    texts = [row[2] for row in tables(result)["Findings"]]
    assert "Orders: 50 % have no event that tells of them (usually 0 %)" in texts


def test_today_is_judged_by_the_hours_that_are_over(ctx: Context) -> None:
    # it is noon in Berlin
    today = dt.date(2026, 10, 10)
    rows = visits()
    more = [
        {**r, "event_id": f"t-{r['event_id']}", "at": r["at"] + dt.timedelta(days=1)}
        for r in rows
        if local(r).date() == LAST and local(r).hour < 12
    ]
    result = quality(loaded(ctx, [*rows, *more]), "today")
    assert tables(result)["10 Oct 2026"] == [("Events", "ok", 48, 48.0, 1.0, 1.0, 0)]
    assert any(isinstance(p, Note) and "hours that are over" in p.text for p in result.parts)
    assert today == ctx.today


def test_clocks_that_change_are_known() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    now = dt.datetime(2027, 1, 1)
    spring = hour_lengths(dt.date(2026, 3, 29), berlin, now)
    autumn = hour_lengths(dt.date(2026, 10, 25), berlin, now)
    assert (spring[2], spring.sum()) == (0, 23)
    assert (autumn[2], autumn.sum()) == (2, 25)
    half = hour_lengths(dt.date(2026, 10, 4), ZoneInfo("Australia/Lord_Howe"), now)
    assert half.sum() == 23.5
    morning = hour_lengths(dt.date(2026, 10, 10), berlin, dt.datetime(2026, 10, 10, 8, 40))
    assert morning.tolist() == [1.0] * 10 + [0.0] * 14


def test_the_demo_ends_at_noon_of_its_last_day(shops: dict[str, Context]) -> None:
    for ctx in shops.values():
        result = quality(ctx, "last 14 days")
        assert result.headline == (
            "9 Dec 2011 is held: Events: nothing from 13:00 to 24:00, usually 1,440 rows, and "
            "2 more findings; of 14 days 1 are held and 2 noted."
        )


def test_refusals(ctx: Context, shop: Context) -> None:
    with pytest.raises(NotEnoughDataError, match="too little to judge"):
        quality(ctx)
    with pytest.raises(NotEnoughDataError, match="too little to judge"):
        quality(loaded(ctx, visits(10)))
    with pytest.raises(NotEnoughDataError, match="Nothing can be known yet"):
        quality(ctx, "2027-01")


def test_long_periods_are_judged_by_their_last_days(shop: Context) -> None:
    result = quality(shop, "2011")
    assert any(isinstance(p, Note) and "last 92 days" in p.text for p in result.parts)
    later = replace(shop, now=dt.datetime(2012, 1, 10, tzinfo=dt.UTC))
    assert "is held" in quality(later, "2012-01-05").headline
