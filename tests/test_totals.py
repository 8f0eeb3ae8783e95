"""Totals per day answer as the rows do, whatever is loaded in whatever order, or not at all."""

import dataclasses
import datetime as dt
import random
from collections.abc import Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.catalog import METRICS, Catalog, Measure
from analytics.habits import habits_of
from analytics.measure import daily, quantities
from analytics.period import between
from analytics.scope import Filter, Filters, Scope, Window
from analytics.totals import Totals, source_of, summed
from storage.engines import arrow_type
from storage.load.load import load_tables, rebuild_totals
from storage.schema import events, metadata
from storage.store import Store
from storage.totals import TOTALS
from tests.conftest import fill

#: Zones whose clocks change on the days below: Berlin at night, São Paulo at midnight.
CHANGES = {
    "Europe/Berlin": dt.datetime(2018, 10, 28),
    "America/Sao_Paulo": dt.datetime(2018, 11, 4),
    "Asia/Kathmandu": dt.datetime(2018, 10, 28),
}
ENTITIES = ("sessions", "active_days", "order_lines", "orders")
CATALOG = Catalog()
WEB = {"channel": ("search", "email", "", None), "device": ("mobile", "Desktop", None)}

Batch = dict[str, list[dict[str, Any]]]


def batch_of(draw: random.Random, begin: dt.datetime) -> Batch:
    """Rows of a few people around some midnights: new ones, and others in the place of old ones.

    A session's name comes back within a day, or rarely on another day.
    """
    made: Batch = {"people": [], "items": [], "orders": [], "order_lines": [], "events": []}

    def key(many: int) -> str:
        return f"{draw.randrange(many)}"

    def instant() -> dt.datetime:
        near = begin + dt.timedelta(days=draw.randrange(4), hours=draw.choice((2, 3, 22, 23, 12)))
        return near + dt.timedelta(seconds=draw.randrange(5400), microseconds=draw.randrange(9))

    person = lambda: draw.choice("abc")  # noqa: E731 - a draw, not a function with a meaning
    for i in {key(60) for _ in range(draw.randrange(25))}:
        at, session = instant(), None
        if draw.random() < 0.5:
            rare = draw.random() < 0.01
            session = "long" if rare else f"s{at:%d}{draw.randrange(2)}"
        made["events"].append(
            {
                "event_id": i,
                "person_id": person(),
                "session_id": session,
                "at": at,
                "name": draw.choice(("visit", "view_item", "add_to_cart", "purchase", "click")),
                "order_id": draw.choice((None, None, "1")),
                **{name: draw.choice(values) for name, values in WEB.items()},
                "country": draw.choice(("DE", None)),
            }
        )
    for i in {key(12) for _ in range(draw.randrange(8))}:
        kind = draw.choice(("sale", "sale", "return"))
        made["orders"].append(
            {
                "order_id": i,
                "person_id": draw.choice(("a", "b", "c", None)),
                "ordered_at": instant(),
                "kind": kind,
                "amount_cents": draw.randrange(1, 999) * (-1 if kind == "return" else 1),
            }
        )
    for i in {key(12) for _ in range(draw.randrange(8))}:
        made["order_lines"] += [
            {
                "order_id": i,
                "line_no": n,
                "item_id": draw.choice("xyz"),
                "quantity": draw.randrange(1, 5),
                "amount_cents": draw.randrange(999),
            }
            for n in range(draw.randrange(1, 3))
        ]
    if draw.random() < 0.5:
        made["items"] = [
            {
                "item_id": i,
                "category": draw.choice(("bags", None)),
                "is_product": draw.random() < 0.8,
            }
            for i in "xy"
        ]
        made["people"] = [
            {"person_id": p, "first_seen_at": begin, "country": draw.choice(("FR", None))}
            for p in "ab"
        ]
    return made


def table_of(name: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    table = metadata.tables[name]
    return pa.table(
        {
            c.name: pa.array([r.get(c.name) for r in rows], arrow_type(c.type))
            for c in table.columns
            if c.name != "source"
        }
    )


def load(store: Store, batch: Batch, draw: random.Random) -> None:
    """The batch's tables in any order, together or one after the other."""
    tables = {name: table_of(name, rows) for name, rows in batch.items() if rows}
    names = draw.sample(list(tables), len(tables))
    parts = [names] if draw.random() < 0.5 else [[n] for n in names]
    for part in parts:
        load_tables(store, {n: tables[n] for n in part}, source="test", description="made up")


MEASURES = {
    e: tuple(
        dict.fromkeys(
            m
            for metric in METRICS
            for m in metric.measures
            if m.entity == e and m.aggregate != "days" and summed(m) is not None
        )
    )
    for e in ENTITIES
} | {"orders": (Measure("orders", "sum", "amount_cents", (("kind", ("sale",)),)),)}


def scopes(zone: ZoneInfo, begin: dt.datetime, draw: random.Random) -> Iterator[Scope]:
    """Some days, alone and beside the days before."""
    for alone in (False, True):
        first = begin.date() + dt.timedelta(days=draw.randrange(-1, 4))
        days = dt.timedelta(days=draw.randrange(1, 4))
        now = Window.of("now", between(first, first + days), zone)
        before = Window.of("before", between(first - days, first), zone)
        yield Scope(zone, (now,) if alone else (now, before), CATALOG)


def answers(store: Store, scope: Scope, *, kept: bool) -> dict[str, Any]:
    """What the entities that have totals answer, by rows or by totals."""
    totals = store.totals() if kept else None
    scope = dataclasses.replace(scope, totals=totals)
    found: dict[str, Any] = {}
    cuts: tuple[tuple[str, ...], ...] = ((), ("channel",), ("country", "device"), ("category",))
    for entity, measures in MEASURES.items():
        for cut in cuts:
            if ("category" in cut) != (entity in ("order_lines", "orders")) and cut:
                continue
            by = [CATALOG.dimension(n) for n in cut]
            sliced = scope.slicing(by[0], *by[1:]) if by else scope
            if by and entity == "active_days":
                continue
            if not by and entity == "orders":
                continue
            found[f"{entity} {cut}"] = quantities(store.fork(), sliced, measures)
            if adding := [m for m in measures if m.column != "person_id"]:
                found[f"{entity} {cut} adding"] = quantities(store.fork(), sliced, adding)
        if entity != "orders":
            plain = [m for m in measures if m.reach == "period"]
            found[f"{entity} daily"] = daily(store.fork(), scope, plain)
            if adding := [m for m in plain if m.column != "person_id"]:
                found[f"{entity} daily adding"] = daily(store.fork(), scope, adding)
    of_bags = dataclasses.replace(scope, filters=Filters((Filter("category", ("bags",)),)))
    found["bags"] = quantities(store.fork(), of_bags, MEASURES["order_lines"])
    if len(scope.windows) == 1:
        by_device = scope.slicing(CATALOG.dimension("device"))
        habits = store.fork().rows(sa.select(habits_of(by_device)))
        found["habits"] = sorted(habits, key=lambda r: r["person_id"])
    return found


def contents(store: Store) -> list[Any]:
    """All rows of all totals."""
    return [sorted(repr(r) for r in store.fork().rows(sa.select(*t.c))) for t in TOTALS]


def agree(store: Store, zone_name: str, seed: int) -> bool:
    """Load at random, asking after each load; True where visits were told by totals at last."""
    draw = random.Random(seed)
    zone, begin = ZoneInfo(zone_name), CHANGES[zone_name] - dt.timedelta(days=2)
    store.keep(Totals(zone))
    for _ in range(draw.randrange(1, 4)):
        load(store, batch_of(draw, begin), draw)
    for scope in scopes(zone, begin, draw):
        assert answers(store, scope, kept=True) == answers(store, scope, kept=False)
    followed = contents(store)
    kept = store.totals()
    again = rebuild_totals(store)
    if kept is not None and again is not None and kept.whole_visits:
        assert again.whole_visits
        assert contents(store) == followed
    return bool(again and again.whole_visits)


@given(seed=st.integers(0, 10**9), zone_name=st.sampled_from(sorted(CHANGES)))
@settings(max_examples=8)
def test_totals_answer_as_rows_do_whatever_is_loaded(seed: int, zone_name: str) -> None:
    store = Store.open("duckdb:///:memory:")
    agree(store, zone_name, seed)
    store.close()


@pytest.mark.parametrize("seed", [11, 12])
def test_every_engine_that_keeps_totals_answers_from_them_as_from_rows(store, seed):
    assert store.engine.keeps_totals
    assert agree(store, "Europe/Berlin", seed)


def test_any_other_write_to_the_rows_makes_totals_stale_until_they_are_made_again(store):
    zone = ZoneInfo("Europe/Berlin")
    window = Window.of("now", between(dt.date(2018, 10, 27), dt.date(2018, 10, 28)), zone)

    def told_by_totals() -> bool:
        scope = Scope(zone, (window,), CATALOG, totals=store.totals())
        return source_of("sessions", scope, MEASURES["sessions"]).is_totals

    store.keep(Totals(zone))
    at = dt.datetime(2018, 10, 27, 12)
    row = {"event_id": "1", "person_id": "a", "at": at, "name": "visit"}
    load_tables(store, {"events": table_of("events", [row])}, source="test", description="one")
    assert told_by_totals()
    fill(store, ratings=[{"rating_id": "1", "at": at, "kind": "nps", "score": 9}])
    assert told_by_totals()
    fill(store, events=[row | {"event_id": "2"}])
    assert not told_by_totals()
    assert rebuild_totals(store) is not None
    assert told_by_totals()
    with store.engine.writing() as writer:
        writer.run(sa.delete(events).where(events.c.event_id == "2"))
    assert not told_by_totals()
