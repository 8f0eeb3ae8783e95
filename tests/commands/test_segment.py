"""segment: hand-worked traits, planted segments, and what is refused."""

import dataclasses
import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from analytics.command import Context
from analytics.commands.segment import Segment, choice_words
from analytics.errors import NotEnoughDataError, TooLargeError, UnknownNameError, UserError
from analytics.methods.portraits import clustering
from analytics.methods.portraits.clustering import Candidate, Choice, Density
from analytics.period import parse_period
from analytics.result import Chart, Note, Result, Table
from analytics.scope import Filter, Filters
from analytics.segments import by_value, known_people, refuse_alike, renamed
from bot.parse import parse
from storage.store import Store
from tests.conftest import fill

TODAY = dt.date(2026, 10, 10)
LAST_90 = parse_period("last 90 days", TODAY)


def at(text):
    """An instant, UTC."""
    return dt.datetime.fromisoformat(text)


def order(order_id, person, when, cents, country="DE"):
    return {
        "order_id": order_id,
        "person_id": person,
        "ordered_at": at(when),
        "kind": "sale" if cents >= 0 else "return",
        "amount_cents": cents,
        "country": country,
    }


def line(order_id, line_no, item, cents):
    return {
        "order_id": order_id,
        "line_no": line_no,
        "item_id": item,
        "quantity": 1 if cents >= 0 else -1,
        "amount_cents": cents,
    }


def event(event_id, person, when, name, session=None, device=None, order_id=None):
    return {
        "event_id": event_id,
        "person_id": person,
        "at": at(when),
        "name": name,
        "session_id": session,
        "device": device,
        "order_id": order_id,
    }


ITEMS = [
    {"item_id": "mug", "name": "Mug", "category": "kitchen", "is_product": True},
    {"item_id": "bag", "name": "Bag", "category": "bags", "is_product": True},
    {"item_id": "post", "name": "Postage", "is_product": False},
]

#: The period is 2026-07-12 to 2026-10-09 in Berlin, which is two hours ahead of UTC.
HAND_WORKED = {
    "items": ITEMS,
    "orders": [
        order("a1", "ann", "2026-10-09 08:00", 10000),
        order("a2", "ann", "2026-09-01 08:00", 5000),
        order("a3", "ann", "2026-09-02 08:00", -2000),
        order("b1", "bob", "2026-07-11 22:30", 900, "FR"),  # half past midnight of the first day
        order("c1", "cat", "2026-07-11 21:30", 700),  # the evening before
        order("c2", "cat", "2026-08-01 12:00", 800),
        order("d1", "dan", "2026-08-02 12:00", 7_000_000),
        order("d2", "dan", "2026-08-02 12:10", -7_000_000),
        order("e1", "eve", "2026-08-03 12:00", -500),  # of an order long ago
        order("n1", None, "2026-08-04 12:00", 400),
        order("f1", "fay", "2026-10-10 08:00", 400),  # today: not in the period
    ],
    "order_lines": [
        line("a1", 1, "mug", 9000),
        line("a1", 2, "post", 1000),
        line("a2", 1, "mug", 2000),
        line("a2", 2, "bag", 3000),
        line("a3", 1, "mug", -2000),
        line("b1", 1, "bag", 900),
    ],
    "events": [
        event("1", "ann", "2026-09-01 07:50", "view_item", "s1", "mobile"),
        event("2", "ann", "2026-09-01 07:55", "add_to_cart", "s1", "mobile"),
        event("3", "ann", "2026-09-01 08:00", "purchase", "s1", "mobile", "a2"),
        event("4", "ann", "2026-10-01 08:00", "view_item", "s2", "desktop"),
        event("5", "ann", "2026-10-01 08:01", "view_item", "s2", "desktop"),
        event("6", "ann", "2026-10-01 08:02", "add_to_cart", "s2", "desktop"),
        event("7", "bob", "2026-08-01 08:00", "visit", None, "desktop"),
        event("8", "bob", "2026-08-01 08:40", "view_item", None, "desktop"),  # 40 idle minutes
        event("9", "vic", "2026-08-01 08:00", "visit", None, None),
        event("10", "fay", "2026-08-01 08:00", "visit", None, None),
    ],
}


EVERYTHING = Filters()


def traits_of(ctx, where=EVERYTHING):
    """What is known, and the traits of each person by id."""
    known = known_people(ctx, LAST_90, where)
    return known, known.people.set_index("person_id").to_dict("index")


def test_traits_of_hand_worked_people(ctx: Context) -> None:
    fill(ctx.store, **HAND_WORKED)
    _, people = traits_of(ctx)
    assert list(people) == ["ann", "bob", "cat"]
    ann, bob, cat = people["ann"], people["bob"], people["cat"]
    assert (ann["recency"], ann["orders"], ann["revenue"]) == (1, 2, 13000)
    assert (ann["basket"], ann["products"], ann["is_new"]) == (6500.0, 2, 1)
    assert (ann["sessions"], ann["pages"], ann["abandoned"], ann["mobile"]) == (2, 1.5, 0.5, 0.5)
    assert (bob["recency"], bob["orders"], bob["revenue"], bob["products"]) == (90, 1, 900, 1)
    assert (bob["sessions"], bob["pages"], bob["mobile"]) == (2, 1.0, 0.0)
    assert np.isnan(bob["abandoned"])
    assert (cat["recency"], cat["orders"], cat["revenue"]) == (70, 1, 800)
    assert (cat["products"], cat["is_new"]) == (0, 0)
    assert np.isnan(cat["sessions"])


def test_who_gave_all_back_and_who_only_visited_is_counted(ctx: Context) -> None:
    fill(ctx.store, **HAND_WORKED)
    known, _ = traits_of(ctx)
    assert known.returned == 1  # dan; eve ordered nothing in the period
    assert known.visitors == 2  # vic, and fay, who ordered after it
    assert known.visits == pytest.approx(2 / 3)
    assert not known.simulated


def test_filters_count_only_what_they_name(ctx: Context) -> None:
    fill(ctx.store, **HAND_WORKED)
    known, people = traits_of(ctx, Filters((Filter("category", ("bags",)),)))
    assert {p: (t["orders"], t["revenue"]) for p, t in people.items()} == {
        "ann": (1, 3000),
        "bob": (1, 900),
    }
    assert known.visits is None  # visits have no category
    _, people = traits_of(ctx, Filters((Filter("country", ("fr",)),)))
    assert list(people) == ["bob"]


TYPES = {
    # name: (people, days since last order, orders, cents per order)
    "regular": (40, 3, 8, 40_000),
    "large": (30, 75, 1, 90_000),
    "small": (80, 60, 1, 900),
    "fresh": (50, 4, 1, 1_500),
}


def planted():
    """People of four types, each a little different from the next; ids do not tell the type."""
    rng = np.random.default_rng(11)
    orders, events = [], []
    kinds = [kind for kind, (people, *_) in TYPES.items() for _ in range(people)]
    for i, j in enumerate(rng.permutation(len(kinds))):
        _, days, n, cents = TYPES[kinds[j]]
        person = f"{kinds[j][0]}-{i:03}"
        for k in range(n):
            day = TODAY - dt.timedelta(days=int(days * rng.uniform(0.8, 1.2)) + 7 * k)
            amount = int(cents * np.exp(rng.normal(0, 0.15)))
            orders.append(order(f"{person}/{k}", person, f"{day} 12:00", amount))
            events.append(
                event(f"{person}/{k}", person, f"{day} 11:59", "visit", f"{person}/{k}", "mobile")
            )
    return {"orders": orders, "events": events}


def ask(ctx: Context, **fields) -> Result:
    return Segment(**({"period": LAST_90} | fields)).run(ctx)


def table(result: Result, title: str) -> pd.DataFrame:
    found = next(p for p in result.parts if isinstance(p, Table) and p.title == title)
    return pd.DataFrame(found.rows, columns=[c.key for c in found.columns])


def notes(result: Result) -> str:
    return "\n".join(p.text for p in result.parts if isinstance(p, Note))


def test_planted_segments_are_found_named_and_valued(ctx: Context) -> None:
    fill(ctx.store, **planted())
    result = ask(ctx)
    found = table(result, "Segments")
    assert found["people"].tolist() == [40, 30, 50, 80]
    assert (
        found["segment"].tolist()
        == [
            "Champions",
            "Lapsed big spenders",
            "New one-time buyers",
            "Lapsed one-time buyers",
        ]
        or found["segment"].is_unique
    )
    assert found["people_share"].sum() == pytest.approx(1)
    assert found["revenue_share"].sum() == pytest.approx(1)
    spent = sum(o["amount_cents"] for o in planted()["orders"])
    assert found["revenue"].sum() == spent
    assert found["revenue"].is_monotonic_decreasing
    assert found["orders"].tolist() == [8, 1, 1, 1]
    assert "4 segments part these people best" in notes(result)
    assert "Champions are 20 % of 200 buyers" in result.headline


def test_planted_segments_are_found_in_half_of_the_people_and_all_are_counted(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ctx.store, **planted())
    exact = ["people", "people_share", "revenue", "revenue_share"]
    of_all = table(ask(ctx, k=4), "Segments")[exact]
    monkeypatch.setattr("analytics.segments.MOST_PEOPLE", 100)
    of_half = table(ask(ctx, k=4), "Segments")[exact]  # the order, and names, are the sample's
    assert sorted(of_half["people"]) == [30, 40, 50, 80]
    assert sorted(of_half.to_numpy().tolist()) == sorted(of_all.to_numpy().tolist())


def test_every_engine_gives_the_same_answer(ctx: Context) -> None:
    rows = planted()
    fill(ctx.store, **rows)
    reference = Store.open("duckdb:///:memory:")
    fill(reference, **rows)
    for fields in ({}, {"k": 3}, {"method": "dbscan"}, {"scaling": "quantile"}):
        there = ask(dataclasses.replace(ctx, store=reference), **fields)
        assert ask(ctx, **fields).to_dict() == there.to_dict()
    reference.close()


@pytest.fixture
def duck(tmp_path) -> Context:
    """A context over an empty DuckDB store."""
    store = Store.open("duckdb:///:memory:")
    yield Context(
        store=store,
        now=dt.datetime(2026, 10, 10, 10, tzinfo=dt.UTC),
        zone=ZoneInfo("Europe/Berlin"),
        currency="EUR",
    )
    store.close()


def test_the_same_question_has_the_same_answer(duck: Context) -> None:
    fill(duck.store, **planted())
    assert ask(duck) == ask(duck)


def test_a_giant_order_that_was_cancelled_makes_no_segment(duck: Context) -> None:
    rows = planted()
    fill(duck.store, **rows)
    before = ask(duck)
    fill(
        duck.store,
        orders=[
            order("giant", "r-000", "2026-10-01 12:00", 16_846_960),
            order("giant-back", "r-000", "2026-10-01 12:05", -16_846_960),
            order("huge", "zed", "2026-10-01 12:00", 7_718_360),
            order("huge-back", "zed", "2026-10-01 12:16", -7_718_360),
        ],
    )
    after = ask(duck)
    assert table(after, "Segments")["people"].min() >= 30
    assert table(after, "Segments")["revenue"].sum() == table(before, "Segments")["revenue"].sum()
    assert "1 buyer took back all they bought" in notes(after)


@pytest.mark.parametrize("k", [2, 3, 6, 12])
def test_as_many_segments_as_asked_no_two_of_one_name(duck: Context, k: int) -> None:
    fill(duck.store, **planted())
    found = table(ask(duck, k=k), "Segments")
    assert len(found) == k
    assert found["segment"].is_unique
    assert found["people"].sum() == 200


def test_dbscan_says_who_fits_no_group(duck: Context) -> None:
    rows = planted()
    strays = [order(f"x{i}", f"x{i}", "2026-08-20 12:00", 10 ** (i + 6)) for i in range(3)]
    fill(duck.store, orders=rows["orders"] + strays)
    result = ask(duck, method="dbscan")
    found = table(result, "Segments")
    assert found["segment"].tolist()[-1] == "Unlike any group"
    assert found["people"].tolist()[-1] >= 3
    assert "fit none and bring" in result.headline
    assert "the knee of the distances" in notes(result)


@pytest.mark.parametrize(
    ("label", "headline"),
    [
        (-1, "No dense groups among 200 buyers: they differ too gradually to be parted."),
        (0, "1 dense group among 200 buyers: nobody stands apart."),
    ],
)
def test_dbscan_without_groups_or_without_noise_says_so(
    duck: Context, monkeypatch: pytest.MonkeyPatch, label: int, headline: str
) -> None:
    fill(duck.store, **planted())
    alone = Density(np.full(200, label), radius=0.5, neighbours=10)
    monkeypatch.setattr("analytics.segments.dense_groups", lambda _: alone)
    result = ask(duck, method="dbscan")
    assert result.headline == headline
    titles = [p.title for p in result.parts if isinstance(p, Table)]
    assert titles == ["Segments", "Profiles (medians)"]


def test_unstable_segments_are_warned_of(duck: Context) -> None:
    rng = np.random.default_rng(3)
    orders = [
        order(
            f"{i}", f"p{i}", f"2026-08-{rng.integers(1, 29):02} 12:00", int(rng.integers(1, 9999))
        )
        for i in range(120)
    ]
    fill(duck.store, orders=orders)
    result = ask(duck, k=11)
    (warning,) = (p for p in result.parts if isinstance(p, Note) and p.level == "warning")
    assert warning.text.startswith("These segments are unstable")


def test_people_are_alike_only_if_all_of_them_are() -> None:
    first_alike = np.zeros((1500, 2), dtype=np.float32)
    with pytest.raises(NotEnoughDataError, match="All 1,500 people bought alike"):
        refuse_alike(first_alike, 0)
    first_alike[1200:, 0] = np.arange(300)
    refuse_alike(first_alike, 0)


def test_visits_shape_segments_unless_they_are_simulated(duck: Context) -> None:
    fill(duck.store, **planted())
    known = known_people(duck, LAST_90, Filters())
    weights = dict(zip((t.key for t in known.traits), known.weights, strict=True))
    assert weights["recency"] == weights["orders"] == weights["revenue"] == 1
    assert weights["sessions"] == weights["mobile"] == pytest.approx(1 / 3)
    assert "abandoned" not in weights  # nobody put anything into a cart
    fill(
        duck.store,
        sources=[
            {
                "source": "shop",
                "entity": "events",
                "description": "made-up visits",
                "simulated": True,
                "rows": 1,
                "loaded_at": at("2026-10-10 00:00"),
            }
        ],
    )
    known = known_people(duck, LAST_90, Filters())
    weights = dict(zip((t.key for t in known.traits), known.weights, strict=True))
    assert weights["sessions"] == 0
    assert "They describe the segments, and do not make them." in notes(ask(duck))


def test_visits_of_few_buyers_are_left_out_and_said(duck: Context) -> None:
    rows = planted()
    fill(duck.store, orders=rows["orders"], events=rows["events"][:5])
    result = ask(duck)
    assert "Visits are known of only" in notes(result)
    assert "sessions" not in table(result, "Profiles (medians)")


def test_visitors_who_did_not_buy_are_said(duck: Context) -> None:
    rows = planted()
    more = [event(f"v{i}", f"v{i}", "2026-10-01 09:00", "visit") for i in range(1234)]
    fill(duck.store, orders=rows["orders"], events=rows["events"] + more)
    assert "1,234 people visited but did not buy: not part of these segments." in notes(ask(duck))


def test_the_chart_sets_people_beside_revenue(duck: Context) -> None:
    fill(duck.store, **planted())
    result = ask(duck)
    (chart,) = (p for p in result.parts if isinstance(p, Chart))
    assert chart.kind == "bar"
    assert chart.x == tuple(table(result, "Segments")["segment"])
    assert [s.name for s in chart.series] == ["Share of people", "Share of revenue"]


def test_large_crowds_are_fitted_on_a_sample_and_it_is_said(
    duck: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics.segments.FIT_ON", 120)
    fill(duck.store, **planted())
    result = ask(duck, k=4)
    assert "found on 120 people" in notes(result)
    assert "all 200 were assigned" in notes(result)
    assert table(result, "Segments")["people"].tolist() == [40, 30, 50, 80]


def test_hdbscan_says_how_many_fit_none(duck: Context) -> None:
    fill(duck.store, **planted())
    result = ask(duck, method="hdbscan")
    assert "HDBSCAN on recency, orders and net spend: groups of 10 people" in notes(result)
    assert "of people fit none" in notes(result)
    with pytest.raises(UserError, match="HDBSCAN finds the number of segments by itself"):
        ask(duck, method="hdbscan", k=3)


def test_the_rfm_grid_names_its_cells(duck: Context) -> None:
    fill(duck.store, **planted())
    result = ask(duck, method="rfm")
    found = table(result, "Segments")
    assert found["segment"][0] == "Champions"
    assert found["people"].sum() == 200
    assert found["cluster"].tolist() == list(range(1, len(found) + 1))
    assert "no group is looked for" in notes(result)
    grid = table(result, "The grid: people in each cell (5 is best)")
    assert grid["late"].tolist() == [5, 4, 3, 2, 1]
    assert grid.drop(columns="late").to_numpy().sum() == 200
    assert grid.loc[0, ["much_4", "much_5"]].sum() == found["people"][0]
    assert "Champions are" in result.headline


def test_too_few_buyers_are_refused(duck: Context) -> None:
    orders = [order(f"{i}", f"p{i}", "2026-10-01 12:00", 100 + i) for i in range(55)]
    fill(duck.store, orders=orders[:49])
    with pytest.raises(NotEnoughDataError) as refused:
        ask(duck)
    assert refused.value.message == (
        "Only 49 people bought in the last 90 days; segments need 50 or more."
    )
    assert refused.value.hint == "Try a longer period, or fewer filters."
    fill(duck.store, orders=orders[49:])
    with pytest.raises(NotEnoughDataError) as refused:
        ask(duck, k=6)
    assert refused.value.message == (
        "Only 55 people bought in the last 90 days; 6 segments need 60 or more."
    )
    assert "fewer segments" in refused.value.hint


def test_an_empty_store_and_an_empty_period_are_told_apart(duck: Context) -> None:
    with pytest.raises(NotEnoughDataError) as refused:
        ask(duck)
    assert refused.value.message == "Nobody we know bought anything in the last 90 days."
    assert refused.value.hint == "Load orders with `load orders FILE`."
    fill(duck.store, orders=[order("1", "p", "2025-01-02 12:00", 100)])
    with pytest.raises(NotEnoughDataError) as refused:
        ask(duck)
    assert refused.value.hint.startswith("The data run through 2 Jan 2025")


def test_dbscan_of_a_given_number_of_segments_is_refused(duck: Context) -> None:
    with pytest.raises(UserError, match="finds the number of segments by itself"):
        ask(duck, k=4, method="dbscan")


def test_dbscan_of_too_many_people_is_refused(
    duck: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics.segments.DBSCAN_LIMIT", 100)
    fill(duck.store, **planted())
    with pytest.raises(TooLargeError) as refused:
        ask(duck, method="dbscan")
    assert refused.value.message == "DBSCAN takes up to 100 people, and 200 bought."


def test_an_unknown_value_is_refused(duck: Context) -> None:
    fill(duck.store, **planted())
    with pytest.raises(UnknownNameError, match="I don't know the country"):
        ask(duck, where=Filters((Filter("country", ("Germny",)),)))


def test_people_who_are_all_alike_make_no_segments_worth_a_name(duck: Context) -> None:
    fill(
        duck.store,
        orders=[order(f"{i}", f"p{i}", "2026-10-01 12:00", 100) for i in range(60)],
    )
    for fields in ({}, {"k": 2}, {"method": "dbscan"}):
        with pytest.raises(NotEnoughDataError, match="bought alike"):
            ask(duck, **fields)


def test_follow_ups_are_questions_and_keep_the_people(duck: Context) -> None:
    fill(duck.store, **planted())
    where = Filters((Filter("country", ("DE",)),))
    other = ask(duck, where=where).follow_ups[0]
    understood = parse(other, TODAY, duck.catalog).command
    assert understood == Segment(period=LAST_90, where=where, method="dbscan")


def test_groups_are_numbered_by_value_and_noise_stays_noise() -> None:
    labels = np.array([2, 2, 0, 1, -1])
    order = by_value(labels, np.array([1, 1, 9, 2, 99]))
    assert order == [0, 2, 1]
    assert renamed(labels, order).tolist() == [1, 1, 0, 2, -1]
    assert by_value(np.array([-1, -1]), np.array([1, 2])) == []
    assert renamed(np.array([-1, -1]), []).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("silhouette", "stability", "words"),
    [
        (0.6, 0.95, "They lie well apart."),
        (0.3, 0.95, "moves few of them (ARI 0.95)."),
        (0.1, 0.95, "There are no sharp edges: people differ by degrees."),
        (0.3, 0.5, "3 segments are the steadiest of 3 to 4"),
    ],
)
def test_the_choice_of_k_is_explained(silhouette: float, stability: float, words: str) -> None:
    centres = np.zeros((3, 2), dtype=np.float32)
    taken = Candidate(3, centres, silhouette, 1.0, 0.2)
    other = Candidate(4, centres, silhouette / 2, 1.5, 0.2)
    assert words in choice_words(Choice(taken, stability, (taken, other)))


def test_more_segments_than_lie_furthest_apart_are_explained() -> None:
    centres = np.zeros((3, 2), dtype=np.float32)
    fewer, taken = Candidate(3, centres, 0.3, 1.0, 0.2), Candidate(4, centres, 0.28, 1.1, 0.2)
    said = choice_words(Choice(taken, 0.9, (fewer, taken), strength=0.96, fewer=3))
    assert said.startswith(
        "3 segments of 3 to 4 would lie further apart, but two halves of the people, grouped by "
        "themselves, agree on 4 (prediction strength 0.96), so 3 would hide some"
    )


def test_the_demo_has_champions_and_says_what_is_made_up(shop: Context) -> None:
    ctx = dataclasses.replace(shop, store=shop.store.fork())
    result = Segment(period=parse_period("last 90 days", shop.today)).run(ctx)
    found = table(result, "Segments")
    assert found["segment"].tolist()[0] == "Champions"
    assert found["segment"].is_unique
    assert found["people"].sum() == 2873
    assert found["revenue_share"][0] > 2 * found["people_share"][0]
    assert "31,450 people visited but did not buy" in notes(result)
    assert "Simulated in this store: visits" in notes(result)
    assert found["people"].min() >= clustering.LEAST_SHARE * 2873


def test_visits_alone_can_make_the_segments(ctx: Context) -> None:
    """Sixty come twice, mostly on mobile, to a page or two; sixty on desktop to four or five."""
    orders, events = [], []
    for i in range(120):
        person, mobile = f"p{i:03}", i % 2 == 0
        day = TODAY - dt.timedelta(days=5 + i // 2 % 40)
        orders.append(order(person, person, f"{day} 12:00", 1000 + 10 * (i // 2 % 7)))
        for visit in range(2):
            device = "mobile" if mobile and (visit or i % 6) else "desktop"
            events += [
                event(f"{person}/{visit}/{n}", person, f"{day} 1{visit}:0{n}", "visit",
                      f"{person}/{visit}", device)
                for n in range((1 if mobile else 4) + i // 2 % 2)
            ]  # fmt: skip
    fill(ctx.store, orders=orders, events=events)
    result = ask(ctx, method="visits", k=2)
    found = table(result, "Segments")
    assert found["people"].tolist() == [60, 60]
    apart = table(result, "What sets each segment apart")
    assert {"pages per visit", "visits on mobile"} <= set(apart["trait"])
    assert "Pages per visit and the share on mobile make the segments" in notes(result)
    assert not any("moves" in f for f in result.follow_ups)


def test_segments_by_visits_need_visits(ctx: Context) -> None:
    fill(ctx.store, orders=planted()["orders"])
    with pytest.raises(NotEnoughDataError, match="Visits are known of only 0 % of the buyers"):
        ask(ctx, method="visits")
