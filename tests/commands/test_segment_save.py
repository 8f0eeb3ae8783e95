"""Saved segments: the same people on every engine, in every question, and who may do what."""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from analytics.command import Asker, Context, Rights
from analytics.commands.segment_moves import Flow, flow_table, headline
from analytics.errors import NotEnoughDataError, NotUnderstoodError, UnknownNameError, UserError
from analytics.habits import Condition, Conditions
from analytics.methods.portraits.boxes import Boxes
from analytics.methods.portraits.clustering import one_thread
from analytics.methods.portraits.rfm import NAMES, Grid, fit_grid, names_of
from analytics.period import parse_period
from analytics.result import Figure, Note, Result, Table
from analytics.saved import Cell, Nearest, Rule, Within, checked_name, passing, people_of
from analytics.scope import Filter, Filters
from analytics.segments import boxes_for, group, known_people
from bot.dispatch import answer
from bot.parse import parse
from storage.segments import saved_segments
from storage.state import State
from storage.store import Store
from tests.commands.test_segment import HAND_WORKED, LAST_90, TODAY, order, planted
from tests.conftest import fill
from tests.test_every_command import comparable


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[State]:
    """An empty memory."""
    state = State.open(f"sqlite:///{tmp_path / 'state.sqlite'}")
    yield state
    state.close()


@pytest.fixture
def asked(ctx: Context, memory: State) -> Context:
    """A context with a memory, on each engine in turn."""
    return dataclasses.replace(ctx, state=memory)


@pytest.fixture
def duck(memory: State, ctx: Context) -> Iterator[Context]:
    """A context with a memory over an empty DuckDB store."""
    store = Store.open("duckdb:///:memory:")
    yield dataclasses.replace(ctx, store=store, state=memory)
    store.close()


@pytest.fixture
def engine_name() -> str:
    """DuckDB, unless a test asks for each engine."""
    return "duckdb"


every_engine = pytest.mark.parametrize("engine_name", ["duckdb", "sqlite", "postgresql"])


def ask(text: str, ctx: Context) -> Result:
    return answer(text, ctx).result


def ids(ctx: Context, rule: Rule) -> set[str]:
    """Who belongs to a rule."""
    return set(ctx.store.column(people_of(ctx, rule)))


def figure(result: Result, label: str) -> Figure:
    return next(p for p in result.parts if isinstance(p, Figure) and p.label == label)


def rows(result: Result, title: str) -> list[tuple]:
    return list(next(p for p in result.parts if isinstance(p, Table) and p.title == title).rows)


@every_engine
def test_a_saved_group_holds_exactly_whom_segment_showed(asked: Context) -> None:
    fill(asked.store, **planted())
    known = known_people(asked, LAST_90, Filters())
    for k in (None, 3, 7):
        with one_thread():
            groups = group(known, k, "kmeans", "log")
        for portrait in groups.named:
            rule = Rule("last 90 days", Filters(), Nearest(groups.model, portrait.label), "x")
            shown = known.people["person_id"][groups.labels == portrait.label]
            assert ids(asked, rule) == set(shown)
            assert len(shown) == portrait.people


@every_engine
def test_a_dense_group_is_kept_as_boxes_that_hold_it(asked: Context) -> None:
    fill(asked.store, **planted())
    for method in ("dbscan", "hdbscan"):
        known = known_people(asked, LAST_90, Filters(), method)
        with one_thread():
            groups = group(known, None, method, "log")
            table = known.people[["recency", "orders", "revenue"]].to_numpy(dtype=np.float64)
            assert len(groups.named) >= 4
            for portrait in groups.named:
                boxes = boxes_for(known, groups, portrait.label)
                rule = Rule("last 90 days", Filters(), Within(boxes), "x")
                assert Rule.from_json(rule.to_json()) == rule
                assert ids(asked, rule) == set(known.people["person_id"][boxes.holds(table)])
                shown = set(known.people["person_id"][groups.labels == portrait.label])
                assert len(ids(asked, rule) ^ shown) <= max(2, 0.05 * len(shown))
                assert min(boxes.reach, boxes.purity) > 0.7


def test_a_dense_group_is_saved_with_how_far_its_rule_holds_it(duck: Context) -> None:
    fill(duck.store, **planted())
    saved = ask("segment save core cluster 1 by dbscan", duck)
    assert "are now segment core: " in saved.headline
    (note,) = (p for p in saved.parts if isinstance(p, Note))
    assert "of bounds on days since last order, orders and net spend, learnt from" in note.text
    assert "the rule finds" in note.text
    (kept,) = saved_segments(duck.state)
    assert kept.question == "segment last 90 days by dbscan"
    shown = ask("kpis for segment core last 90 days", duck)
    assert figure(shown, "Buyers").value == figure(saved, "People").value
    asks = ask(kept.question, duck).follow_ups
    assert any(a.endswith("cluster 1 last 90 days by dbscan") for a in asks)
    with pytest.raises(UserError, match="DBSCAN finds the number of segments by itself"):
        ask("segment save core cluster 1 k 3 by dbscan", duck)


def test_a_dense_group_that_no_bounds_tell_is_not_kept(duck: Context, monkeypatch) -> None:
    fill(duck.store, **planted())
    vague = Boxes(("recency",), (((None, 3.0),),), 0.9, 0.5)
    monkeypatch.setattr("analytics.commands.segment_save.boxes_for", lambda *_: vague)
    with pytest.raises(UserError, match="can't be told by bounds"):
        ask("segment save core cluster 1 by hdbscan", duck)
    shaky = dataclasses.replace(vague, purity=0.8)
    monkeypatch.setattr("analytics.commands.segment_save.boxes_for", lambda *_: shaky)
    saved = ask("segment save core cluster 1 by hdbscan", duck)
    assert [p.level for p in saved.parts if isinstance(p, Note)] == ["warning"]


@every_engine
def test_the_cells_of_the_rfm_grid_part_everybody(asked: Context) -> None:
    fill(asked.store, **planted())
    known = known_people(asked, LAST_90, Filters())
    groups = group(known, None, "rfm", "log")
    seen: list[str] = []
    for portrait in groups.named:
        found = ids(
            asked, Rule("last 90 days", Filters(), Cell(groups.grid, portrait.name), portrait.name)
        )
        assert found == set(known.people["person_id"][groups.labels == portrait.label])
        seen += found
    assert sorted(seen) == sorted(known.people["person_id"])


@every_engine
@pytest.mark.parametrize(
    ("said", "who"),
    [
        ("orders >= 2", {"ann"}),
        ("spend > 8 and spend < 130", {"bob"}),
        ("spend >= 8 and orders = 1", {"bob", "cat"}),
        ("recency <= 70", {"ann", "cat"}),
        ("recency > 70", {"bob"}),
        ("basket >= 65", {"ann"}),
        ("products < 1", {"cat"}),
        ("visits >= 2", {"ann", "bob"}),
        ("mobile >= 50%", {"ann"}),  # cat's is not known
    ],
)
def test_conditions_hold_of_hand_worked_people(asked: Context, said: str, who: set[str]) -> None:
    fill(asked.store, **HAND_WORKED)
    ask(f"segment save them where {said}", asked)
    (kept,) = saved_segments(asked.state)
    assert ids(asked, Rule.from_json(kept.rule)) == who
    assert kept.people == len(who)


@every_engine
def test_a_segment_narrows_questions_about_what_people_did(asked: Context) -> None:
    fill(asked.store, **HAND_WORKED)
    ask("segment save twice where orders >= 2", asked)
    everybody = ask("kpis last 90 days", asked)
    hers = ask("kpis for segment twice last 90 days", asked)
    others = ask("kpis where segment!=twice last 90 days", asked)
    assert figure(hers, "Revenue").value == 15000
    ask("segment save once where orders = 1", asked)
    either = ask("kpis where segment:twice,once last 90 days", asked)
    assert figure(either, "Revenue").value == 16700
    assert figure(hers, "Buyers").value == 1
    assert figure(hers, "Sessions").value == 2
    assert figure(hers, "Revenue").value + figure(others, "Revenue").value == (
        figure(everybody, "Revenue").value
    )
    assert "segment twice (`segment save twice where orders >= 2" in hers.receipt.window
    assert "by what people did in 2026-07-12 to 2026-10-09" in hers.receipt.window
    sold = rows(
        ask("top items for segment twice last 90 days", asked),
        "Top items, last 90 days, segment twice",
    )
    assert [(name, cents) for name, cents, *_ in sold] == [("Mug", 9000), ("Bag", 3000)]


def test_two_segments_stand_beside_each_other(duck: Context) -> None:
    fill(duck.store, **HAND_WORKED)
    ask("segment save twice where orders >= 2", duck)
    ask("segment save once where orders = 1", duck)
    result = ask("kpis for segment twice vs segment once last 90 days", duck)
    money = {label: (ours, theirs) for label, ours, theirs, _ in rows(result, "Money")}
    assert money["Revenue"] == (15000, 1700)
    assert "Segment twice beside segment once" in result.headline
    with pytest.raises(UserError, match="by a dimension too"):
        ask("kpis vs segment once by country", duck)
    assert "Everybody beside segment once" in ask("kpis vs once last 90 days", duck).headline


def test_new_people_and_new_orders_leave_the_rule_as_it_is(duck: Context) -> None:
    fill(duck.store, **planted())
    ask("segment save rich cluster 1", duck)
    (kept,) = saved_segments(duck.state)
    before = ids(duck, Rule.from_json(kept.rule))
    crowd = [order(f"n{i}", f"n{i}", "2026-08-01 12:00", 50_000) for i in range(300)]
    fill(duck.store, orders=crowd)
    assert ids(duck, Rule.from_json(kept.rule)) & before == before
    listed = rows(ask("segments", duck), "Saved segments")
    assert [(name, then) for name, _, then, *_ in listed] == [("rich", len(before))]


def test_people_leave_a_segment_as_days_go_by(duck: Context) -> None:
    fill(duck.store, orders=[order(str(i), f"p{i}", "2026-10-01 12:00", 100) for i in range(3)])
    ask("segment save lately where recency <= 10 last 30 days", duck)
    (kept,) = saved_segments(duck.state)
    later = dataclasses.replace(duck, now=duck.now + dt.timedelta(days=5))
    assert len(ids(duck, Rule.from_json(kept.rule))) == 3
    assert ids(later, Rule.from_json(kept.rule)) == set()


def test_a_rule_reads_back_to_the_last_bit() -> None:
    grid = fit_grid(*np.random.default_rng(1).random((3, 50)))
    where = Filters((Filter("country", ("FR", "DE"), negated=True),))
    for test in (Cell(grid, "Loyal"), Conditions((Condition("spend", ">", 0.1),))):
        rule = Rule("last 30 days", where, test, "Loyal")
        assert Rule.from_json(rule.to_json()) == rule


def test_a_frozen_model_reads_back_to_the_last_bit(duck: Context) -> None:
    fill(duck.store, **planted())
    model = group(known_people(duck, LAST_90, Filters()), 5, "kmeans", "log").model
    rule = Rule("last 30 days", Filters(), Nearest(model, 2), "x")
    assert Rule.from_json(rule.to_json()) == rule


def test_an_unknown_segment_gets_the_nearest_name(duck: Context) -> None:
    fill(duck.store, **HAND_WORKED)
    with pytest.raises(UnknownNameError) as refused:
        ask("kpis for segment loyal", duck)
    assert refused.value.hint.startswith("None is saved yet")
    ask("segment save loyal where orders >= 2", duck)
    with pytest.raises(UnknownNameError) as refused:
        ask("kpis for segment loyl", duck)
    assert refused.value.hint == "Did you mean loyal?"
    assert "segment loyal" in ask("kpis for segment Loyal last 90 days", duck).headline


def test_what_has_no_people_behind_it_takes_no_segment(duck: Context) -> None:
    with pytest.raises(NotUnderstoodError, match="can't be narrowed by segment"):
        ask("quality for segment loyal", duck)
    fill(duck.store, **HAND_WORKED)
    with pytest.raises(UserError, match="overlap, so nothing can be split by them"):
        ask("kpis by segment", duck)


def test_names_have_one_spelling() -> None:
    assert checked_name("At Risk") == checked_name("at_risk") == "at-risk"
    for bad in ("", "1st", "a;b", "x" * 41, "-"):
        with pytest.raises(UserError, match="can't be the name"):
            checked_name(bad)


def test_a_name_is_its_owners(duck: Context) -> None:
    fill(duck.store, **HAND_WORKED)
    ann = dataclasses.replace(duck, asker=Asker("ann", rights=Rights(is_admin=False)))
    bob = dataclasses.replace(duck, asker=Asker("bob", rights=Rights(is_admin=True)))
    from analytics.commands.segment_delete import SegmentDelete
    from analytics.saved import knowing_segments

    def save(who: Context, text: str) -> Result:
        return parse(text, TODAY, who.catalog).command.run(who)

    save(bob, "segment save mine where orders >= 2")
    save(bob, "segment save mine where orders >= 1")
    assert saved_segments(duck.state)[0].people == 3
    with pytest.raises(UserError, match="Somebody else saved a segment called mine"):
        save(ann, "segment save mine where orders >= 2")
    with pytest.raises(UserError, match="is somebody else's"):
        SegmentDelete(name="mine").run(knowing_segments(ann))
    SegmentDelete(name="mine").run(knowing_segments(bob))
    assert saved_segments(duck.state) == ()
    assert ask("segments", duck).headline == "No segment is saved yet."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("segment save x", "Say which people"),
        ("segment save x cluster 1 like Champions", "Say which people"),
        ("segment save x cluster 9", "There are 4 groups"),
        ("segment save x where segment:y and orders > 1", "can't stand on another"),
        ("segment save x where orders > 99", "Nobody met that"),
    ],
)
def test_what_can_not_be_saved_is_refused(duck: Context, text: str, message: str) -> None:
    fill(duck.store, **planted())
    with pytest.raises(UserError, match=message):
        ask(text, duck)


def test_a_group_is_saved_by_its_name(duck: Context) -> None:
    fill(duck.store, **planted())
    result = ask('segment save best like "champions"', duck)
    assert result.headline.startswith("“Champions” are now segment best: 40 people, 20 % of buyers")
    assert "the 4 centres found now" in next(p.text for p in result.parts if isinstance(p, Note))
    with pytest.raises(UnknownNameError, match="I don't know the group"):
        ask('segment save best like "champignons"', duck)


def test_without_a_memory_nothing_is_saved(duck: Context) -> None:
    fill(duck.store, **HAND_WORKED)
    with pytest.raises(UserError, match="there is none here"):
        ask("segment save x where orders > 1", dataclasses.replace(duck, state=None))
    with pytest.raises(UnknownNameError):
        ask("kpis for segment x", dataclasses.replace(duck, state=None))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("segments", "segments"),
        ("segment", "segment last 90 days"),
        ("segment save x where orders>=5 and spend > 1,500 last year",
         "segment-save \"x\" where orders >= 5 and spend > 1500 last year"),
        ("segment save loyal with orders ≥ 2", "segment-save loyal where orders >= 2 last 90 days"),
        ("top for segment at risk last week", 'top last week where segment:"at risk"'),
        ("kpis vs segment loyal", 'kpis last 30 days vs segment "loyal"'),
    ],
)  # fmt: skip
def test_segments_are_said_so(duck: Context, text: str, canonical: str) -> None:
    request = parse(text, TODAY, duck.catalog)
    assert request.text == canonical
    assert parse(canonical, TODAY, duck.catalog) == request


def test_a_bound_that_is_no_number_is_refused(duck: Context) -> None:
    with pytest.raises(UserError):
        ask("segment save x where orders >= many", duck)
    with pytest.raises(UserError):
        ask("kpis where orders >= 5", duck)


# --- moves ---------------------------------------------------------------------------------------


def twice(shift: int) -> list[dict]:
    """The planted orders, as many days earlier."""
    return [
        o
        | {
            "order_id": f"{o['order_id']}-{shift}",
            "ordered_at": o["ordered_at"] - dt.timedelta(days=shift),
        }
        for o in planted()["orders"]
    ]


@every_engine
def test_who_does_the_same_again_stays(asked: Context) -> None:
    early = [order("0", "zero", "2025-01-01 12:00", 100)]
    fill(asked.store, orders=twice(0) + twice(90) + early)
    result = ask("segment moves last 90 days", asked)
    found = {(a, b): n for a, b, n, *_ in rows(result, "From where to where")}
    stayed = sum(n for (a, b), n in found.items() if a == b)
    assert sum(found.values()) == 200
    assert stayed == 200
    assert "nobody moved between segments" in result.headline


def test_moves_need_a_past(duck: Context) -> None:
    with pytest.raises(NotEnoughDataError, match="no period before"):
        ask("segment moves", duck)
    fill(duck.store, **planted())
    with pytest.raises(NotEnoughDataError, match="The orders begin on"):
        ask("segment moves last 90 days", duck)


def test_flows_are_told_by_both_ends() -> None:
    found = [Flow(None, 0, 50), Flow(0, 0, 30), Flow(0, 1, 10), Flow(1, None, 5)]
    names = {0: "Regulars", 1: "Strays"}
    table = flow_table(found, names)
    assert table.rows[0] == ("Did not buy", "Regulars", 50, None, 50 / 80)
    assert table.rows[-1] == ("Regulars", "Regulars", 30, 30 / 40, 30 / 80)
    period = parse_period("last 90 days", TODAY)
    assert headline(found, names, period) == (
        "Of 45 buyers of the 90 days before, 66.7 % are in the same segment now and 11.1 % did not "
        "buy again; the largest step is from Regulars to Strays: 10 people."
    )


# --- the RFM grid --------------------------------------------------------------------------------


def test_rfm_scores_count_the_quintiles_passed() -> None:
    values = np.arange(1.0, 11.0)
    grid = fit_grid(values, values, values)
    assert grid == Grid(*((2.0, 4.0, 6.0, 8.0),) * 3)
    late, much = grid.scores(np.array([1.0, 3, 10]), np.array([10.0, 3, 1]), np.array([10.0, 1, 3]))
    assert late.tolist() == [5, 4, 1]
    assert much.tolist() == [5, 2, 2]


def test_every_cell_of_the_grid_has_one_name() -> None:
    cells = [(r, m) for _, _, rows_, columns in NAMES for r in rows_ for m in columns]
    assert sorted(cells) == [(r, m) for r in range(1, 6) for m in range(1, 6)]
    late, much = np.array([5, 1, 1]), np.array([5, 5, 1])
    assert [NAMES[i][0] for i in names_of(late, much)] == ["Champions", "Can't lose them", "Lost"]


def test_an_unknown_trait_meets_no_condition(duck: Context) -> None:
    habits = sa.select(
        sa.literal("x").label("person_id"), sa.cast(sa.null(), sa.Double()).label("mobile")
    ).subquery()
    test = Conditions((Condition("mobile", ">=", 0.0),))
    assert duck.store.column(passing(test, habits, "EUR")) == []


# --- in the commands that foretell or compare -----------------------------------------------------


@pytest.fixture
def demo(shop: Context, memory: State) -> Context:
    """The demo shop with its champions saved."""
    ctx = dataclasses.replace(shop, store=shop.store.fork(), state=memory)
    ask("segment save champ cluster 1 last 90 days", ctx)
    return ctx


def test_an_experiment_takes_a_segment_as_it_stood_before(demo: Context) -> None:
    result = ask("ab checkout_v2 for segment champ", demo)
    told = " ".join(p.text for p in result.parts if isinstance(p, Note))
    assert result.headline.startswith("Only segment champ: checkout_v2")
    assert "Explore only: one part of the people" in told
    assert "by what people did in 2011-08-09 to 2011-11-06: before the experiment began" in told
    some = {row[0]: row[1] for row in rows(result, "Variants")}
    everybody = {row[0]: row[1] for row in rows(ask("ab checkout_v2", demo), "Variants")}
    assert all(0 < some[variant] < everybody[variant] / 5 for variant in everybody)
    with pytest.raises(NotUnderstoodError, match="narrows one experiment"):
        ask("ab for segment champ", demo)


def test_forecasts_learn_from_everybody_and_tell_of_the_segment(demo: Context) -> None:
    """Champions bought lately by choice: learnt from them alone, nobody would ever stop."""
    result = ask("value for segment champ", demo)
    assert result.headline.startswith("488 known buyers")
    result = ask("churn for segment champ", demo)
    assert "of 488 recent buyers" in result.headline
    told = " ".join(p.text for p in result.parts if isinstance(p, Note))
    assert "Learnt from and tested on all buyers" in told


@pytest.mark.parametrize(
    "text",
    [
        "kpis for segment champ last 30 days",
        "top items for segment risky last 365 days",
        "rules for segment champ last 90 days",
        "trend revenue for segment big last 90 days",
        "value for segment big",
        "segment for segment big last 90 days",
    ],
)
def test_engines_agree_about_segments(text: str, shops: dict[str, Context], tmp_path: Path) -> None:
    state = State.open(f"sqlite:///{tmp_path / 'state.sqlite'}")
    told = {}
    for engine in ("duckdb", "sqlite", "postgresql"):
        ctx = dataclasses.replace(shops[engine], state=state)
        if engine == "duckdb":  # the rule of one engine, asked of all
            ask("segment save champ cluster 1 last 90 days", ctx)
            ask('segment save risky by rfm like "At risk" last 365 days', ctx)
            ask("segment save big where orders >= 3 and spend > 800 last 365 days", ctx)
        told[engine] = comparable(ask(text, ctx))
    state.close()
    assert told["sqlite"] == told["postgresql"] == told["duckdb"]
