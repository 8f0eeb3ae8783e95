"""Windows of local days, filters in the store's spelling, local days in queries."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from analytics.catalog import ENTITY, Catalog, Measure
from analytics.entities import adds_up
from analytics.errors import UnknownNameError
from analytics.period import parse_period
from analytics.scope import (
    Filter,
    Filters,
    Scope,
    Window,
    clock_changes,
    column_of,
    day_number,
    day_of,
    in_words,
    instants,
    previous_in_words,
    resolve,
    scope_of,
    singular,
    start_of_day,
)
from storage.schema import events
from tests.conftest import fill

TODAY = dt.date(2026, 10, 10)
DAY = dt.timedelta(days=1)


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def where(dimension: str, *values: str, negated: bool = False) -> Filters:
    return Filters((Filter(dimension, values, negated),))


@pytest.mark.parametrize(
    ("day", "zone", "instant"),
    [
        ("2026-03-29", "Europe/Berlin", "2026-03-28 23:00"),
        ("2026-03-30", "Europe/Berlin", "2026-03-29 22:00"),
        ("2026-09-06", "America/Santiago", "2026-09-06 04:00"),  # midnight is skipped
        ("2011-12-29", "Pacific/Apia", "2011-12-29 10:00"),
        ("2011-12-30", "Pacific/Apia", "2011-12-30 10:00"),  # this day never was: it is empty
        ("2011-12-31", "Pacific/Apia", "2011-12-30 10:00"),
        ("2026-11-01", "America/Havana", "2026-11-01 04:00"),  # midnight comes twice
    ],
)
def test_a_day_begins_at_its_first_instant(day, zone, instant):
    assert start_of_day(dt.date.fromisoformat(day), ZoneInfo(zone)) == utc(instant)


def test_a_period_is_half_open_in_utc():
    period = parse_period("2026-03", TODAY)
    assert instants(period, ZoneInfo("Europe/Berlin")) == (
        utc("2026-02-28 23:00"),
        utc("2026-03-31 22:00"),
    )


def test_clock_changes_are_found_to_the_second():
    zone = ZoneInfo("Europe/Berlin")
    assert clock_changes(zone, utc("2026-01-01"), utc("2027-01-01")) == [
        (utc("2026-01-01"), 3600),
        (utc("2026-03-29 01:00"), 7200),
        (utc("2026-10-25 01:00"), 3600),
    ]


def test_local_days_in_a_query_are_those_of_the_calendar(ctx):
    names = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC",
             "America/Santiago", "Africa/Casablanca", "Pacific/Apia")  # fmt: skip
    since, until = utc("2025-12-01"), utc("2027-01-05")
    moments = {since + dt.timedelta(minutes=i * 613) for i in range(900)}
    for name in names:
        for change, _ in clock_changes(ZoneInfo(name), since, until):
            moments |= {change + s * dt.timedelta(seconds=1) for s in (-1, 0, 1)}
    rows = [
        {"event_id": f"{i:05}", "person_id": "p", "at": at, "name": "visit"}
        for i, at in enumerate(sorted(moments))
        if since <= at < until
    ]
    fill(ctx.store, events=rows)
    window = Window("now", since.date(), until.date(), since, until)
    for name in names:
        scope = Scope(ZoneInfo(name), (window,), Catalog())
        day = scope.local_day(events.c["at"]).label("day")
        found = ctx.store.column(sa.select(day).order_by(events.c.event_id))
        local = [r["at"].replace(tzinfo=dt.UTC).astimezone(ZoneInfo(name)).date() for r in rows]
        assert [day_of(d) for d in found] == local, name


def test_a_span_of_very_many_clock_changes_is_left_to_the_engine(ctx):
    fill(
        ctx.store,
        events=[
            {"event_id": "1", "person_id": "p", "at": utc("1999-07-01 22:30"), "name": "visit"}
        ],
    )
    window = Window.of("now", parse_period("all time", TODAY), ctx.zone)
    scope = Scope(ctx.zone, (window,), Catalog())
    statement = sa.select(scope.local_day(events.c["at"]).label("day"))
    assert ctx.store.column(statement) == [day_number(dt.date(1999, 7, 2))]


@pytest.fixture
def shop(ctx):
    fill(
        ctx.store,
        items=[
            {"item_id": str(i), "category": c, "is_product": True}
            for i, c in enumerate(["Shopping-Bags", "mugs", "Boxes", "Mugs", None, ""])
        ],
        orders=[
            {"order_id": "1", "ordered_at": utc("2026-10-01"), "kind": "sale", "amount_cents": 1,
             "country": "United Kingdom"}
        ],
        events=[{"event_id": "1", "person_id": "p", "at": utc("2026-10-01"), "name": "visit"}],
    )  # fmt: skip
    return ctx


def test_values_are_taken_in_the_stores_spelling(shop):
    spellings = {
        "Shopping-Bags": ("Shopping-Bags",),
        "shopping bag": ("Shopping-Bags",),
        "SHOPPING_BAGS": ("Shopping-Bags",),
        "box": ("Boxes",),
        "mugs": ("mugs",),  # to the letter
        "mug": ("Mugs", "mugs"),  # either spelling of the store
    }
    for said, stored in spellings.items():
        found = resolve(shop.store, shop.catalog, where("category", said, negated=True))
        assert found == where("category", *stored, negated=True)


def test_an_alias_of_a_dimension_is_its_name(shop):
    found = resolve(shop.store, shop.catalog, where("market", "united kingdom"))
    assert found == where("country", "United Kingdom")


def test_an_unknown_value_or_dimension_gets_a_suggestion(shop):
    with pytest.raises(UnknownNameError, match="Did you mean Shopping-Bags"):
        resolve(shop.store, shop.catalog, where("category", "shoping bags"))
    with pytest.raises(UnknownNameError, match="Did you mean category"):
        resolve(shop.store, shop.catalog, where("categry", "mugs"))


def test_a_column_without_any_value_is_blank(shop):
    periods = [("now", parse_period("last 30 days", TODAY))]
    scope = scope_of(
        shop.store, shop.catalog, shop.zone, periods, where("country", "united-kingdom")
    )
    assert scope.filters == where("country", "United Kingdom")
    assert ("country", "events") in scope.blank
    assert ("country", "orders") not in scope.blank


def test_a_scope_knows_where_each_entity_has_a_dimension(shop):
    periods = [("now", parse_period("last 30 days", TODAY))]
    category = shop.catalog.dimension("category")
    scope = scope_of(shop.store, shop.catalog, shop.zone, periods, by=category)
    assert scope.place(ENTITY["orders"], category) == "items"
    assert scope.missing(ENTITY["sessions"]) == (category,)
    assert scope.missing(ENTITY["orders"]) == ()
    assert not adds_up(Measure("orders", "count"), scope)  # an order may be in two categories
    assert adds_up(Measure("orders", "sum", "amount_cents"), scope)
    assert adds_up(Measure("orders", "count"), scope.slicing(None))
    with pytest.raises(KeyError, match="category has no column in events"):
        column_of(category, "events", events)


@pytest.mark.parametrize(
    ("words", "inside", "before"),
    [
        ("last 30 days", "in the last 30 days", "the 30 days before"),
        ("last week", "last week", "the week before"),
        ("yesterday", "yesterday", "the day before"),
        ("2026-09", "in 2026-09", "the month before"),
        ("2026-09-01..2026-09-10", "from 2026-09-01 to 2026-09-10", "the 10 days before"),
        ("2026-09-01", "on 2026-09-01", "the day before"),
        ("since 1 September", "since 2026-09-01", "the 40 days before"),
        ("all time", "over all time", "the 20737 days before"),
    ],
)
def test_periods_stand_in_sentences(words, inside, before):
    period = parse_period(words, TODAY)
    assert in_words(period) == inside
    assert previous_in_words(period) == before


def test_filters_are_said_in_words_and_as_a_clause():
    filters = Filters(
        (Filter("country", ("France", 'The "North"')), Filter("category", ("bags",), True))
    )
    assert filters.words() == 'country France or The "North", category not bags'
    assert filters.said() == 'where country:"France","The \\"North\\"" and category!="bags"'
    assert Filters().said() == ""
    assert list(Filters().plus("country", "ES")) == [Filter("country", ("ES",))]
    assert not Filters()


@pytest.mark.parametrize(
    ("plural", "one"),
    [("Bags", "bag"), ("boxes", "box"), ("Parties", "party"), ("glass", "glass"), ("bus", "bus"),
     ("glasses", "glass"), ("Christmas", "christma"), ("tea towels", "tea towel"), ("", "")],
)  # fmt: skip
def test_plurals_are_compared_without_their_ending(plural, one):
    assert singular(plural) == one
