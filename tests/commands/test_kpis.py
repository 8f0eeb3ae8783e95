"""kpis: hand-worked numbers on a small shop, the same on every engine."""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from analytics.catalog import Catalog
from analytics.command import Context
from analytics.commands.kpis import Kpis, days_per_point
from analytics.errors import NotEnoughDataError, UnknownNameError
from analytics.period import parse_period
from analytics.result import Chart, Figure, Note, Result, Table
from analytics.scope import Filter, Filters
from storage.store import Store
from tests.conftest import ENGINES, fill


def at(text: str) -> dt.datetime:
    """A UTC instant of 2026, `09-15 10:00`."""
    return dt.datetime.fromisoformat(f"2026-{text}")


def order(order_id: str, person: str | None, when: str, cents: int, country: str) -> dict[str, Any]:
    kind = "sale" if cents >= 0 else "return"
    return {
        "order_id": order_id, "person_id": person, "ordered_at": at(when), "kind": kind,
        "amount_cents": cents, "country": country,
    }  # fmt: skip


def event(person: str, when: str, name: str, session: str | None, order_id: str | None = None):
    return {
        "event_id": f"{person}{when}", "person_id": person, "session_id": session, "at": at(when),
        "name": name, "order_id": order_id, "country": "DE" if person != "p2" else "FR",
    }  # fmt: skip


def line(order_id: str, n: int, item: str, quantity: int, cents: int) -> dict[str, Any]:
    return {
        "order_id": order_id, "line_no": n, "item_id": item, "quantity": quantity,
        "amount_cents": cents,
    }  # fmt: skip


def rating(n: int, kind: str, score: int) -> dict[str, Any]:
    return {
        "rating_id": f"r{n}", "person_id": "p1", "at": at("09-25 10:00"), "kind": kind,
        "score": score,
    }  # fmt: skip


#: Two windows seen from 10 October in Berlin: 10 Sep to 9 Oct, and 11 Aug to 9 Sep.
SHOP: dict[str, list[dict[str, Any]]] = {
    "people": [
        {"person_id": "p1", "first_seen_at": at("08-01 10:00"), "country": "DE"},
        {"person_id": "p2", "first_seen_at": at("09-01 10:00"), "country": "FR"},
        {"person_id": "p3", "first_seen_at": at("09-20 10:00"), "country": "DE"},
    ],
    "orders": [
        order("o1", "p1", "08-01 10:00", 1000, "DE"),  # before both
        order("o2", "p1", "08-20 10:00", 2000, "DE"),  # before
        order("o3", "p2", "09-01 10:00", 500, "FR"),  # before
        order("o4", "p1", "09-15 10:05", 3000, "DE"),
        order("o5", "p3", "09-20 10:00", 1000, "DE"),
        order("o6", "p3", "09-21 10:00", 2000, "DE"),
        order("o7", None, "10-01 10:00", 4000, "FR"),
        order("o8", "p2", "10-09 21:59", 100, "FR"),  # 23:59 in Berlin: the last minute
        order("o9", "p2", "10-09 22:00", 900, "FR"),  # midnight in Berlin: today
        order("r1", "p1", "10-02 10:00", -1000, "DE"),
    ],
    "items": [
        {"item_id": "i1", "name": "Tote", "category": "Shopping-Bags", "is_product": True},
        {"item_id": "i2", "name": "Mug", "category": "Mugs", "is_product": True},
        {"item_id": "post", "name": "Postage", "is_product": False},
    ],
    "order_lines": [
        line("o4", 1, "i1", 2, 2000), line("o4", 2, "i2", 1, 900), line("o4", 3, "post", 1, 100),
        line("o5", 1, "i1", 1, 1000),
        line("o7", 1, "i2", 4, 4000),
        line("r1", 1, "i1", -1, -1000),
    ],
    "events": [
        event("p1", "09-15 10:00:00", "visit", "s1"),
        event("p1", "09-15 10:01:00", "view_item", "s1"),
        event("p1", "09-15 10:02:00", "add_to_cart", "s1"),
        event("p1", "09-15 10:05:00", "purchase", "s1", "o4"),
        # without session ids: exactly 30 idle minutes go on, one second more begins anew
        event("p2", "09-16 08:00:00", "visit", None),
        event("p2", "09-16 08:20:00", "view_item", None),
        event("p2", "09-16 08:50:00", "add_to_cart", None),
        event("p2", "09-16 09:20:01", "visit", None),
        # begins on 9 September in Berlin, goes on after midnight: a session of the period before
        event("p3", "09-09 21:59:00", "visit", "s3"),
        event("p3", "09-09 22:10:00", "view_item", "s3"),
    ],
    "ratings": [
        *(rating(i, "nps", score) for i, score in enumerate((10, 9, 7, 3))),
        *(rating(i + 10, "csat", score) for i, score in enumerate((5, 4, 2))),
    ],
}  # fmt: skip


@pytest.fixture(scope="module", params=ENGINES)
def small(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Context]:
    """The small shop on each engine, shared: read only."""
    if request.param == "postgresql":
        postgres_url = request.getfixturevalue("postgres_url")
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS small_shop")
            connection.execute("CREATE DATABASE small_shop")
        url = postgres_url.replace("/postgres?", "/small_shop?")
    else:
        url = f"{request.param}:///{tmp_path_factory.mktemp('small') / 'store.db'}"
    store = Store.open(url)
    fill(store, **SHOP)
    yield context(store)
    store.close()


@pytest.fixture
def fresh(ctx: Context) -> Context:
    """A small shop of a test's own."""
    fill(ctx.store, **SHOP)
    return ctx


def context(store: Store) -> Context:
    """10 October 2026 in Berlin."""
    now = dt.datetime(2026, 10, 10, 10, tzinfo=dt.UTC)
    return Context(store=store, now=now, zone=ZoneInfo("Europe/Berlin"), currency="EUR")


def ask(ctx: Context, words: str = "last 30 days", **fields: Any) -> Result:
    return Kpis(period=parse_period(words, ctx.today), **fields).run(ctx)


def figures(result: Result) -> dict[str, tuple[Any, Any]]:
    """Label -> (value, before)."""
    return {p.label: (p.value, p.before) for p in result.parts if isinstance(p, Figure)}


def notes(result: Result) -> list[str]:
    return [p.text for p in result.parts if isinstance(p, Note)]


def table(result: Result) -> list[dict[str, Any]]:
    (found,) = (p for p in result.parts if isinstance(p, Table))
    return [dict(zip((c.key for c in found.columns), r, strict=True)) for r in found.rows]


def where(dimension: str, *values: str, negated: bool = False) -> Filters:
    return Filters((Filter(dimension, values, negated),))


def test_every_figure_of_the_small_shop_is_as_worked_by_hand(small):
    assert figures(ask(small)) == {
        "New people": (1, 1),
        "People in total": (3, 2),
        "Buyers": (3, 2),
        "New buyers": (1, 1),
        "Returning buyers": (2, 1),
        "Orders": (5, 2),
        "Revenue": (10_100, 2_500),
        "Returns": (1_000, 0),
        "Net revenue": (9_100, 2_500),
        "Items sold": (8, 0),
        "Active per day": (6 / 30, 3 / 30),
        "Active in 7 days": (1, 1),
        "Active in 30 days": (3, 3),
        "Stickiness": (pytest.approx(6 / 30 / 3), pytest.approx(3 / 30 / 3)),
        "Orders per buyer": (4 / 3, 1.0),
        "Sessions": (3, 1),
        "Sessions per person": (1.5, 1.0),
        "Time per session (mean)": (1650.0, 660.0),
        "Pages per session": (5 / 3, 2.0),
        "Conversion": (1 / 3, 0.0),
        "People who ordered": (0.5, 0.0),
        "Cart abandonment": (0.5, None),
        "Repeat rate": (1.0, 0.5),
        "Average order": (2020.0, 1250.0),
        "NPS": (25.0, None),
        "Satisfied (CSAT)": (pytest.approx(2 / 3), None),
        "Review score": (None, None),
    }


def test_the_headline_says_what_moved_revenue(small):
    assert ask(small).headline == (
        "Revenue €101 in the last 30 days, up 304 % on the 30 days before (orders up 150 % and "
        "average order up 62 %); conversion held at 33.3 %."
    )


def test_an_unknown_figure_says_why_and_a_small_sample_its_size(small):
    by_label = {p.label: p.note for p in ask(small).parts if isinstance(p, Figure)}
    assert by_label["Review score"] == "No ratings to measure it by."
    assert by_label["NPS"] == "Small sample: n = 4."
    assert by_label["Conversion"] == "Small sample: n = 3."


def test_the_chart_has_a_point_per_day_and_the_days_before_beside(small):
    (chart,) = (p for p in ask(small).parts if isinstance(p, Chart))
    assert chart.x[0], chart.x[-1] == (dt.date(2026, 9, 10), dt.date(2026, 10, 9))
    now, before = chart.series
    assert sum(now.values) == 10_100
    assert now.values[5] == 3_000  # 15 September
    assert now.values[-1] == 100
    assert before.values[9] == 2_000  # 20 August


def test_long_periods_are_drawn_in_blocks_of_equal_length():
    assert [days_per_point(d) for d in (1, 62, 63, 366, 367)] == [1, 1, 7, 7, 28]


def test_a_category_filter_takes_orders_with_such_a_line_and_the_amount_of_these_lines(small):
    result = ask(small, where=where("category", "shopping bag"))
    found = figures(result)
    assert found["Orders"] == (2, 0)
    assert found["Revenue"] == (3_000, 0)
    assert found["Returns"] == (1_000, 0)
    assert found["Items sold"] == (3, 0)
    assert found["Buyers"] == (2, 0)
    assert found["Average order"] == (1500.0, None)
    assert "for category Shopping-Bags" in result.headline


def test_figures_that_a_filter_does_not_reach_are_unknown_not_unfiltered(small):
    result = ask(small, where=where("category", "Mugs"))
    sessions = next(p for p in result.parts if isinstance(p, Figure) and p.label == "Sessions")
    assert sessions.value is None
    assert sessions.note == "Not told apart by category."


def test_a_negated_filter_keeps_rows_where_the_value_is_unknown(small):
    found = figures(ask(small, where=where("category", "mugs", negated=True)))
    assert found["Revenue"] == (2000 + 100 + 1000, 0)  # bags, and the postage without category
    assert figures(ask(small, where=where("country", "fr", negated=True)))["Orders"] == (3, 1)


def test_a_country_filter_reaches_every_figure_with_a_country(small):
    found = figures(ask(small, where=where("country", "fr")))
    assert found["Orders"] == (2, 1)
    assert found["Buyers"] == (1, 1)
    assert found["New people"] == (0, 1)
    assert found["Sessions"] == (2, 0)
    assert found["NPS"] == (None, None)  # the raters are from elsewhere


def test_an_unknown_value_gets_a_suggestion(small):
    with pytest.raises(UnknownNameError, match="Did you mean Shopping-Bags"):
        ask(small, where=where("category", "shoping bgs"))


def test_by_country_gives_a_row_each_with_change_and_share(small):
    result = ask(small, by=small.catalog.dimension("country"))
    assert table(result) == [
        {"country": "DE", "revenue": 6_000, "change": 2.0,
         "share": 6_000 / 10_100, "orders": 3, "buyers": 2, "average_order": 2000.0,
         "conversion": 1.0},
        {"country": "FR", "revenue": 4_100, "change": 7.2,
         "share": 4_100 / 10_100, "orders": 2, "buyers": 1, "average_order": 2050.0,
         "conversion": 0.0},
    ]  # fmt: skip
    assert result.headline == (
        "DE leads with €60.00 revenue in the last 30 days, 59.4 % of all; it moved most: "
        "up €40.00 (up 200 %)."
    )


def test_by_category_counts_an_order_once_per_category(small):
    rows = table(ask(small, by=small.catalog.dimension("category")))
    assert [(r["category"], r["revenue"], r["orders"]) for r in rows] == [
        ("Mugs", 4_900, 2),
        ("Shopping-Bags", 3_000, 2),
        (None, 100, 1),
    ]
    assert "conversion" not in rows[0]


def test_many_values_end_in_a_row_of_the_rest(fresh):
    cents = [10 * (20 - i) for i in range(15)]
    more = [order(f"x{i}", f"q{i}", "09-12 10:00", c, f"C{i:02}") for i, c in enumerate(cents)]
    fill(fresh.store, orders=more)
    rows = table(ask(fresh, by=fresh.catalog.dimension("country")))
    assert len(rows) == 11
    assert rows[-1]["country"] == "other (7)"
    assert rows[-1]["revenue"] == sum(cents[8:])
    assert rows[-1]["orders"] == 7
    assert rows[-1]["buyers"] is None  # a buyer of two countries would count twice
    assert sum(r["revenue"] for r in rows) == 10_100 + sum(cents)


def test_a_dimension_that_no_row_knows_is_refused(small):
    with pytest.raises(NotEnoughDataError, match="Nothing can be said by device"):
        ask(small, by=small.catalog.dimension("device"))


def test_an_empty_store_is_refused_with_what_to_do(ctx):
    with pytest.raises(NotEnoughDataError, match="The store holds no data yet"):
        ask(ctx)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("2025-03", "The data begin on 1 Aug 2026: nothing is known of this period."),
        ("2027-03", "The data end on 10 Oct 2026: nothing is known of this period."),
    ],
)
def test_a_period_beyond_the_data_is_unknown_not_zero(small, words, text):
    result = ask(small, words)
    assert not figures(result)
    assert text in notes(result)
    assert result.follow_ups == ("kpis 2026-09-10..2026-10-10",)
    assert result.headline == (
        f"Nothing is known in {words}: the data run from 1 Aug 2026 to 10 Oct 2026."
    )


def test_a_partly_covered_period_before_is_said_first(small):
    result = ask(small, "2026-09-01..2026-09-30")
    first = result.parts[0]
    assert first == Note(
        "The events begin on 9 Sep 2026: nothing of them is known in the period before.", "warning"
    )
    assert figures(result)["Sessions"] == (4, None)


def test_all_time_has_nothing_to_compare_with(small):
    result = ask(small, "all time")
    assert figures(result)["Orders"] == (9, None)
    assert notes(result) == []
    row = table(ask(small, "all time", by=small.catalog.dimension("country")))[0]
    assert "revenue" in row
    assert "change" not in row


def test_conversion_is_unknown_where_no_event_names_an_order(ctx):
    visits = [e for e in SHOP["events"] if e["order_id"] is None]
    fill(ctx.store, **{**SHOP, "events": visits})
    result = ask(ctx)
    assert figures(result)["Conversion"] == (None, None)
    assert figures(result)["Sessions"] == (3, 1)


def test_a_metric_of_the_config_file_is_answered_like_ours(small):
    catalog = Catalog().extended(
        metrics=[
            {
                "name": "carts", "label": "Carts", "unit": "count", "group": "Activity",
                "numerator": {"entity": "events", "aggregate": "distinct", "column": "person_id",
                              "where": {"name": ["add_to_cart", "purchase"]}},
            }
        ]
    )  # fmt: skip
    found = figures(ask(dataclasses.replace(small, catalog=catalog)))
    assert found["Carts"] == (2, 0)


def test_each_entity_is_read_once(small):
    store = small.store.fork()
    ask(dataclasses.replace(small, store=store))
    sources = 1  # the span of the data
    entities = 7  # people, orders, order_lines, buyers, sessions, active_days, ratings
    assert len(store.reads) == sources + entities + 1  # and the daily series


def test_an_orders_device_is_that_of_the_event_that_completed_it(fresh):
    completing = event("p3", "09-20 09:59", "purchase", "s9")
    clicks = [
        completing | {"event_id": f"d{i}", "order_id": f"o{i}", "device": "mobile"} for i in (5, 6)
    ]
    fill(fresh.store, events=clicks)
    found = figures(ask(fresh, where=where("device", "Mobile")))
    assert found["Orders"] == (2, 0)
    assert found["Buyers"] == (1, 0)
    assert found["Sessions"] == (1, 0)
    assert found["Active in 30 days"] == (1, 0)
    assert found["New people"] == (None, None)
    rows = table(ask(fresh, by=fresh.catalog.dimension("device")))
    assert [(r["device"], r["revenue"]) for r in rows] == [(None, 7_100), ("mobile", 3_000)]


def test_follow_ups_are_questions_with_the_same_period_and_filters(small):
    result = ask(small, where=where("country", "de"))
    assert 'kpis by category last 30 days where country:"DE"' in result.follow_ups
    assert 'segment last 30 days where country:"DE"' in result.follow_ups


def test_a_period_that_runs_on_says_so(small):
    assert "Today is not over: its numbers still grow." in notes(ask(small, "this month"))


def test_a_store_of_orders_alone_leaves_the_rest_unknown(ctx):
    fill(ctx.store, orders=SHOP["orders"])
    result = ask(ctx)
    found = figures(result)
    assert found["Orders"] == (5, 2)
    assert found["People in total"] == (None, None)
    assert found["Conversion"] == (None, None)
    assert found["Active per day"] == (4 / 30, 2 / 30)
    reasons = {p.label: p.note for p in result.parts if isinstance(p, Figure)}
    assert reasons["Items sold"] == "No order lines are loaded."
    assert reasons["Conversion"] == "No events are loaded."
    assert reasons["NPS"] == "No ratings are loaded."


def test_what_is_loaded_of_active_days_is_named(ctx):
    fill(ctx.store, people=SHOP["people"])
    reasons = {p.label: p.note for p in ask(ctx).parts if isinstance(p, Figure)}
    assert reasons["Active per day"] == "No events or orders are loaded."


def test_a_store_of_visits_alone_leads_with_what_it_knows(ctx):
    fill(ctx.store, events=SHOP["events"])
    result = ask(ctx, "2026-09-01..2026-09-15")
    assert result.headline.startswith("Active per day 0.429 from 2026-09-01 to 2026-09-15;")
    chart = next(p for p in result.parts if isinstance(p, Chart))
    assert (chart.title, chart.unit) == ("Active per day", "count")
    reasons = {p.label: p.note for p in result.parts if isinstance(p, Figure)}
    assert reasons["Active in 30 days"] == "It takes 30 days; the data begin on 9 Sep 2026."


def test_a_store_of_ratings_alone_has_no_chart(ctx):
    fill(ctx.store, ratings=SHOP["ratings"])
    result = ask(ctx)
    assert result.headline == "NPS 25 in the last 30 days."
    assert not any(isinstance(p, Chart) for p in result.parts)


def visits(month: str, n: int, orders: int) -> list[dict[str, Any]]:
    """Visits of one event each, the first `orders` of them with an order."""
    days = [f"{month}-{1 + i % 28:02} 10:00:{i // 28:02}" for i in range(n)]
    return [
        event(f"v{i}", day, "purchase" if i < orders else "visit", f"{month}{i}")
        for i, day in enumerate(days)
    ]


def test_a_small_sample_of_the_period_before_is_said(ctx):
    fill(ctx.store, events=visits("08", 50, 5) + visits("09", 400, 80))
    by_label = {p.label: p.note for p in ask(ctx, "2026-09").parts if isinstance(p, Figure)}
    assert by_label["Conversion"] == "Small sample before: n = 50."


def test_a_change_of_conversion_beyond_chance_is_said(ctx):
    fill(ctx.store, events=visits("08", 400, 40) + visits("09", 400, 80))
    assert ask(ctx, "2026-09").headline.endswith("conversion rose to 20 % from 10 %.")


def test_revenue_that_no_value_has_is_said_so(fresh):
    seen = event("p9", "09-20 09:59", "visit", "s9") | {"channel": "ads"}
    fill(fresh.store, events=[seen])
    result = ask(fresh, by=fresh.catalog.dimension("channel"))
    assert result.headline == "No revenue is told apart by channel in the last 30 days."
    assert [r["channel"] for r in table(result)] == [None, "ads"]


def test_visits_are_sliced_where_no_order_tells_the_values_apart(ctx):
    fill(ctx.store, events=[e | {"device": "mobile"} for e in visits("09", 30, 3)])
    (row,) = table(ask(ctx, "2026-09", by=ctx.catalog.dimension("device")))
    assert (row["device"], row["sessions"], row["share"]) == ("mobile", 30, 1.0)
    assert row["conversion"] == 0.1


# --- the demo shop: real orders, simulated visits -------------------------------------------------


def test_the_published_totals_of_online_retail_are_met(shop):
    found = figures(ask(shop, "all time"))
    assert found["Orders"][0] == 19_959
    assert found["Revenue"][0] == 1_065_562_248
    assert found["Returns"][0] == 89_681_249
    assert found["Buyers"][0] == 4_338
    assert found["New buyers"][0] == 4_338


def test_the_planted_ratings_and_devices_are_seen(shop):
    found = figures(ask(shop, "2011-11-14..2011-12-09"))
    now, before = found["NPS"]
    assert before - now > 20  # planted: from 43 to 3 with the orders of 14 November on
    rows = {r["device"]: r for r in table(ask(shop, by=shop.catalog.dimension("device")))}
    assert rows["mobile"]["conversion"] < 0.6 * rows["desktop"]["conversion"]  # planted: 0.55
    held = ask(shop).headline
    assert "£228k was taken back; conversion held at 5.7 %" in held


def test_the_broken_checkout_shows_by_channel(shop):
    result = ask(
        shop, "2011-11-25", where=where("device", "mobile"), by=shop.catalog.dimension("channel")
    )
    by_channel = {r["channel"]: r["conversion"] for r in table(result)}
    assert by_channel["ads"] == 0.0
    assert by_channel["email"] > 0


def test_the_three_engines_agree_on_scattered_data(tmp_path: Path, new_database: Any):
    tables = scattered(3_000)
    answers = []
    for engine in ENGINES:
        url = new_database() if engine == "postgresql" else f"{engine}:///{tmp_path / engine}.db"
        store = Store.open(url)
        fill(store, **tables)
        here = context(store)
        answers.append(
            [
                ask(here).to_dict(),
                ask(here, "last 6 months", where=where("category", "c1", "c2")).to_dict(),
                ask(here, by=here.catalog.dimension("country")).to_dict(),
                ask(here, by=here.catalog.dimension("category")).to_dict(),
            ]
        )
        store.close()
    assert answers[0] == answers[1] == answers[2]


def scattered(n: int) -> dict[str, list[dict[str, Any]]]:
    """Pseudo-random orders, lines, events and ratings over a year with two clock changes."""
    state = 12345

    def pick(k: int) -> int:
        nonlocal state
        state = (state * 1103515245 + 12345) % 2**31
        return (state >> 8) % k

    def moment() -> dt.datetime:
        return dt.datetime(2025, 10, 10) + dt.timedelta(days=pick(365), seconds=pick(86_400))

    countries = ["DE", "FR", "ES", None]
    people = [
        {"person_id": f"p{i}", "first_seen_at": moment(), "country": countries[pick(4)]}
        for i in range(200)
    ]
    orders = [
        {
            "order_id": f"o{i}", "person_id": f"p{pick(200)}" if pick(5) else None,
            "ordered_at": moment(), "kind": "sale" if pick(10) else "return",
            "amount_cents": 0, "country": countries[pick(4)],
        }
        for i in range(n)
    ]  # fmt: skip
    lines = []
    for o in orders:
        sign = 1 if o["kind"] == "sale" else -1
        for k in range(1 + pick(3)):
            cents = sign * (100 + pick(5000))
            o["amount_cents"] += cents
            lines.append(line(o["order_id"], k, f"i{pick(30)}", sign * (1 + pick(4)), cents))
    names = ["visit", "view_item", "add_to_cart", "purchase", "search"]
    events = []
    for i in range(n):
        start, person, session = moment(), f"p{pick(200)}", f"s{i}" if pick(2) else None
        events += [
            {
                "event_id": f"e{i}_{k}", "person_id": person, "session_id": session,
                "at": start + dt.timedelta(seconds=k * pick(2400)), "name": names[pick(5)],
                "country": countries[pick(4)],
            }
            for k in range(1 + pick(4))
        ]  # fmt: skip
    return {
        "people": people,
        "orders": orders,
        "order_lines": lines,
        "events": events,
        "items": [
            {"item_id": f"i{i}", "category": f"c{i % 4}" if i % 5 else None, "is_product": True}
            for i in range(28)
        ],
        "ratings": [
            {"rating_id": f"r{i}", "person_id": f"p{pick(200)}", "at": moment(), "kind": "nps",
             "score": pick(11)}
            for i in range(500)
        ],
    }  # fmt: skip
