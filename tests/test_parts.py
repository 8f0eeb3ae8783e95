"""People too many to be read at once: parts that leave nobody out, and the same answers."""

import dataclasses
import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from analytics.catalog import Members
from analytics.command import Context
from analytics.commands import churn, classify, value
from analytics.commands.churn import Churn, Purchase, Question, Study, judged, studied
from analytics.commands.classify import Classify
from analytics.commands.value import Value
from analytics.errors import NotEnoughDataError
from analytics.parts import BUCKETS, EVERYBODY, Shard, drawn_words, parts_of, sample_of
from analytics.period import parse_period
from analytics.result import Figure, Note, Table
from analytics.scope import Filter, Filters, scope_of
from storage.engines.base import QueryCancelledError
from storage.schema import orders
from storage.store import Store
from tests.commands.test_churn import planted
from tests.conftest import fill

PEOPLE, MOST, LEARNT_FROM = 840, 210, 400
NOW = dt.datetime(2026, 6, 18, 10, tzinfo=dt.UTC)
QUESTION = Question(30, Filters(), stays=False)


# --- who is in a part ----------------------------------------------------------------------------


@given(st.none() | st.integers(0, 10**10), st.integers(1, 10**8))
def test_parts_leave_nobody_out_and_hold_nobody_twice(people: int | None, most: int) -> None:
    parts = parts_of(people, most)
    held = [b for p in parts for b in (p.low, p.high)]
    assert held == sorted(held)
    assert (held[0], held[-1]) == (0, BUCKETS)
    assert held[1:-1:2] == held[2:-1:2]  # each begins where the one before it ended
    assert sum(p.share for p in parts) == pytest.approx(1)
    assert all(p.share > 0 for p in parts)
    if people and people <= BUCKETS * most:
        assert max(p.share for p in parts) * people <= most + people / BUCKETS


@given(st.none() | st.integers(0, 10**10), st.integers(1, 10**8))
def test_a_sample_is_no_larger_and_the_same_people_are_in_every_larger_one(
    people: int | None, most: int
) -> None:
    sample = sample_of(people, most)
    assert (sample == EVERYBODY) == (not people or people <= most)
    if people and people > most:
        assert sample.low == 0
        assert sample.share * people <= max(most, people / BUCKETS) * (1 + 1e-9)
    assert sample.high <= sample_of(people, 2 * most).high


def test_each_person_is_in_one_part_on_every_engine(ctx: Context) -> None:
    ids = [f"p{i}" for i in range(400)] + ["Zoë", "", "a b", "7"]
    noon = dt.datetime(2026, 1, 1, 12)
    fill(
        ctx.store,
        orders=[
            {"order_id": str(i), "person_id": p, "ordered_at": noon, "kind": "sale",
             "amount_cents": 1}
            for i, p in enumerate([*ids, None])
        ],
    )  # fmt: skip
    person = orders.c.person_id

    def held(*parts: Shard) -> list[str]:
        asked = [sa.select(person).where(person.is_not(None), *p.holds(person)) for p in parts]
        return [p for statement in asked for p in ctx.store.column(statement)]

    assert sorted(held(*parts_of(len(ids), 60))) == sorted(ids)
    assert sorted(held(EVERYBODY)) == sorted(ids)
    drawn = held(sample_of(len(ids), 100))
    assert 70 < len(drawn) < 130
    assert sorted(held(*parts_of(len(ids), 200))) == sorted(ids)


def test_a_sample_in_words() -> None:
    assert drawn_words(Shard(0, 1_666), 3_000_000) == (
        "a stable sample of about 499,800 of 3,000,000 people (by a hash of their ids)"
    )


# --- the same answers ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows():
    return planted(PEOPLE)


@pytest.fixture(scope="module")
def many(rows):
    store = Store.open("duckdb:///:memory:")
    fill(store, **rows)
    yield Context(store=store, now=NOW, zone=ZoneInfo("Europe/Berlin"), currency="EUR")
    store.close()


@pytest.fixture
def crowded(many: Context, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A crowd of people for whoever reads no more than 210 at once; reads are its own."""
    return crowding(many, monkeypatch)


@pytest.fixture(scope="module")
def study(many: Context):
    """What was learnt of a sample of the crowd."""
    with pytest.MonkeyPatch.context() as patch:
        return studied(crowding(many, patch), QUESTION)


def crowding(many: Context, patch: pytest.MonkeyPatch) -> Context:
    """People are too many to be read at once."""
    for module in (churn, value, classify):
        patch.setattr(module, "MOST_PEOPLE", MOST)
    patch.setattr(churn, "LEARN_FROM", LEARNT_FROM)
    patch.setattr(value, "LEARN_FROM", LEARNT_FROM)
    patch.setattr(classify, "READ_FROM", LEARNT_FROM)
    return dataclasses.replace(many, store=many.store.fork())


def tables(result):
    return {p.title: p for p in result.parts if isinstance(p, Table)}


def notes(result):
    return "\n".join(p.text for p in result.parts if isinstance(p, Note))


def same(one: Table, other: Table) -> None:
    """Equal cells, numbers to nine digits."""
    assert one.columns == other.columns
    for row, like in zip(one.rows, other.rows, strict=True):
        for cell, other_cell in zip(row, like, strict=True):
            if isinstance(cell, float):
                assert cell == pytest.approx(other_cell, rel=1e-9)
            else:
                assert cell == other_cell


def at_once(monkeypatch: pytest.MonkeyPatch, module) -> None:
    """The same model, of the same sample, judges everybody at once."""
    monkeypatch.setattr(module, "parts_of", lambda *_: [EVERYBODY])


@pytest.mark.parametrize(
    "command", [Churn(horizon=30, top=12, budget=50.0), Purchase(horizon=30, top=12)]
)
def test_parts_judge_as_all_at_once(command, crowded: Context, monkeypatch) -> None:
    monkeypatch.setattr(churn, "best_kind", lambda *_: "logistic")  # chances that are not tied
    told: list[str] = []
    ctx = dataclasses.replace(crowded, tell=told.append)
    parted = command.run(ctx)
    assert [t for t in told if "part" in t] == [
        f"Judging everybody: part {i} of 4" for i in (1, 2, 3, 4)
    ]
    assert "everybody" not in notes(parted)
    assert "Everybody was judged, in 4 parts." in notes(parted)
    assert "Learnt from a stable sample of about 400 of 840 people" in notes(parted)
    at_once(monkeypatch, churn)
    whole = command.run(crowded)
    assert parted.headline == whole.headline
    assert list(tables(parted)) == list(tables(whole))
    for title, table in tables(parted).items():
        same(table, tables(whole)[title])
    judged = tables(parted)["Today's people, highest chance first"]
    assert sum(row[1] for row in judged.rows) > 1.5 * LEARNT_FROM  # more than were learnt from


def test_values_in_parts_are_those_of_all_at_once(crowded: Context, monkeypatch) -> None:
    command = Value(period=parse_period("all time", NOW.date()), horizon=30, top=12)
    parted = command.run(crowded)
    assert "Everybody was foreseen, in 4 parts." in notes(parted)
    assert sum(row[1] for row in next(iter(tables(parted).values())).rows) == PEOPLE
    at_once(monkeypatch, value)
    whole = command.run(crowded)
    assert parted.headline == whole.headline
    for title, table in tables(parted).items():
        same(table, tables(whole)[title])
    for one, other in zip(parted.parts, whole.parts, strict=True):
        if isinstance(one, Figure):
            assert one.value == pytest.approx(other.value, rel=1e-9)


def test_no_more_are_fetched_at_once_than_a_part_holds(crowded: Context) -> None:
    Churn(horizon=30).run(crowded)
    Value(period=parse_period("all time", NOW.date())).run(crowded)
    fetched = [read.rows for read in crowded.store.reads]
    assert max(fetched) < LEARNT_FROM * 1.2  # a hash makes no equal parts
    assert sum(n > MOST * 1.2 for n in fetched) <= 5  # the sample: at four cuts, and of value


def test_a_model_of_a_sample_ranks_as_one_of_everybody(many: Context, study: Study) -> None:
    sampled, whole = study, studied(many, QUESTION)
    assert sampled.learnt_from < LEARNT_FROM * 2
    assert whole.crowd is None
    assert whole.sample == EVERYBODY
    errors = [(s.quality.auc_high - s.quality.auc_low) / (2 * 1.96) for s in (sampled, whole)]
    assert abs(sampled.quality.auc - whole.quality.auc) < 3 * float(np.hypot(*errors))
    planted_cause = [t.key for t in churn.TRAITS].index("checkouts")
    assert all(planted_cause in {d.feature for d in s.drivers} for s in (sampled, whole))


def test_engines_draw_the_same_sample_and_say_the_same(rows, crowded: Context, tmp_path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'many.sqlite'}")
    fill(store, **rows)
    other = dataclasses.replace(crowded, store=store)
    period = parse_period("all time", NOW.date())
    for command in (Churn(horizon=30, top=5), Value(period=period, top=5)):
        assert command.run(crowded).to_dict() == command.run(other).to_dict()
    store.close()


def test_a_cancel_is_heard_between_parts(crowded: Context, study: Study) -> None:
    store = crowded.store

    def tell(text: str) -> None:
        if "part 3 of 4" in text:
            store.cancel()

    with pytest.raises(QueryCancelledError):
        judged(dataclasses.replace(crowded, tell=tell), study, 0, by="risk")
    assert len(store.reads) == 2


# --- of a segment --------------------------------------------------------------------------------


def of_segment(ctx: Context, chosen: sa.Select) -> tuple[Context, Filters]:
    """The context that knows a saved segment, and the filter for it."""
    members = Members("some", "some people", lambda: chosen)
    catalog = dataclasses.replace(ctx.catalog, segments=lambda: (members,))
    where = Filters((Filter("segment", ("some",)),))
    return dataclasses.replace(ctx, catalog=catalog), where


def test_people_of_a_segment_are_looked_for_in_every_part(crowded: Context) -> None:
    """The five of a segment may all be in one part, and outside the sample."""
    late = Shard(9_000, BUCKETS).holds(orders.c.person_id)
    chosen = sa.select(orders.c.person_id).distinct().where(*late)
    ctx, where = of_segment(crowded, chosen)
    few = Churn(horizon=30, where=where, top=10).run(ctx)
    assert "About " in few.headline
    named = next(t for title, t in tables(few).items() if title.startswith("The first"))
    assert {row[0] for row in named.rows} <= set(crowded.store.column(chosen))
    worth = Value(period=parse_period("all time", NOW.date()), where=where).run(ctx)
    people = len(crowded.store.column(chosen))
    assert f"{people} known buyers" in worth.headline


def test_a_segment_of_nobody_is_refused(crowded: Context, study: Study) -> None:
    chosen = sa.select(orders.c.person_id).where(orders.c.person_id == "nobody")
    ctx, where = of_segment(crowded, chosen)
    command = Value(period=parse_period("all time", NOW.date()), where=where)
    with pytest.raises(NotEnoughDataError, match="Nobody of segment some"):
        command.run(ctx)
    asked = scope_of(ctx.store, ctx.catalog, ctx.zone, [("orders", command.period)], where)
    with pytest.raises(NotEnoughDataError, match="Nobody of segment some"):
        judged(ctx, dataclasses.replace(study, asked=asked), 0, by="risk")


# --- what is said --------------------------------------------------------------------------------


def test_a_sample_too_small_is_called_a_sample(crowded: Context, monkeypatch) -> None:
    monkeypatch.setattr(churn, "LEARN_FROM", 100)
    monkeypatch.setattr(value, "LEARN_FROM", 100)
    monkeypatch.setattr(classify, "READ_FROM", 100)
    period = parse_period("all time", NOW.date())
    for command in (
        Churn(horizon=30),
        Value(period=period),
        Classify(target="churned", horizon=30),
    ):
        with pytest.raises(NotEnoughDataError, match="people of a sample"):
            command.run(crowded)


def test_where_nobody_is_judged_that_is_not_said(crowded: Context, study: Study) -> None:
    chance = dataclasses.replace(study.quality, auc=0.5, auc_low=0.45)
    none = dataclasses.replace(study, qualities=dict.fromkeys(study.qualities, chance))
    said = "\n".join(note.text for note in churn.card(crowded, none))
    assert "Learnt from a stable sample of about 400 of 840 people" in said
    assert "Everybody" not in said


# --- classify ------------------------------------------------------------------------------------


def test_classes_are_told_by_a_sample(crowded: Context, rows) -> None:
    buyers = sorted({o["person_id"] for o in rows["orders"]})
    sample = sample_of(PEOPLE, LEARNT_FROM)
    person = orders.c.person_id
    drawn = set(crowded.store.column(sa.select(person).distinct().where(*sample.holds(person))))
    odd = sa.select(person).distinct().where(person.in_(buyers[::2]))
    ctx, where = of_segment(crowded, odd)
    asked = classify.question(ctx, None, where, 30)
    ids = asked.people["person_id"].tolist()
    assert set(ids) <= drawn
    assert asked.labels.tolist() == [int(p in set(buyers[::2])) for p in ids]
    assert crowded.store.reads[-1].rows < LEARNT_FROM
    said = notes(Classify(target="churned", horizon=30, method="tree").run(crowded))
    assert "Drawn from a stable sample of about 400 of 840 people" in said
    assert "nobody else was read" in said
