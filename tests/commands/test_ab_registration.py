"""ab start, ab stop, ab snapshot, ab list: what is kept in chat, and what answers make of it."""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from analytics.catalog import Catalog, Limit, Plan
from analytics.command import COMMANDS, Asker, Context
from analytics.errors import NotEnoughDataError, NotUnderstoodError, UnknownNameError, UserError
from analytics.plans import NoMemoryError, PlanClashError, plan_from, plan_text, registered_as
from analytics.result import Note, Result, Table
from bot.config import ConfigError, load_settings
from bot.dispatch import answer
from bot.parse import parse
from storage.state import State
from storage.store import Store
from tests.commands.test_ab import order, seen, split_of
from tests.conftest import fill

TODAY = dt.date(2026, 10, 10)


@pytest.fixture
def ctx_kept(tmp_path: Path) -> Iterator[Context]:
    """An empty DuckDB store with a memory, on 2026-10-10 at noon in Berlin; U1 asks."""
    store = Store.open(f"duckdb:///{tmp_path / 'ab.db'}")
    state = State.open(f"sqlite:///{tmp_path / 'state.sqlite'}")
    now = dt.datetime(2026, 10, 10, 10, tzinfo=dt.UTC)
    zone = ZoneInfo("Europe/Berlin")
    yield Context(store=store, now=now, zone=zone, currency="EUR", state=state, asker=Asker("U1"))
    state.close()
    store.close()


@pytest.fixture
def shop_kept(ctx_kept: Context) -> Callable[..., Context]:
    """The same holding rows, with plans of the file."""

    def made(rows: dict[str, list[dict[str, Any]]], *plans: Plan) -> Context:
        fill(ctx_kept.store, **rows)
        return dataclasses.replace(ctx_kept, catalog=Catalog(plans=plans))

    return made


def on(day: str, ctx: Context) -> Context:
    """The same at noon of another day."""
    now = dt.datetime.fromisoformat(f"{day}T10:00+00:00")
    return dataclasses.replace(ctx, now=now)


def said(text: str, ctx: Context) -> Result:
    return answer(text, ctx).result


def notes(result: Result) -> list[str]:
    return [p.text for p in result.parts if isinstance(p, Note)]


def rows_of(result: Result) -> list[tuple[Any, ...]]:
    return [row for p in result.parts if isinstance(p, Table) for row in p.rows]


GAIN = split_of([("control", 3000, 300), ("treatment", 3000, 480)])


# --- ab start -----------------------------------------------------------------------------------


def test_a_plan_said_in_chat_is_kept_and_said_back(ctx_kept: Context) -> None:
    result = said(
        "ab start new_page end:2026-11-06 metric:revenue mde:3% "
        'split:control=90,treatment=10 guardrails:"returns=5%" adjusted',
        ctx_kept,
    )
    assert result.headline == (
        "new_page is registered: 10 Oct 2026 to 6 Nov 2026, 28 days, judged by revenue per person."
    )
    assert registered_as("new_page", ctx_kept).plan == Plan(
        "new_page",
        TODAY,
        dt.date(2026, 11, 6),
        metric="revenue",
        mde=0.03,
        split=(("control", 0.9), ("treatment", 0.1)),
        guardrails=(Limit("returns", 0.05),),
        adjusted=True,
    )
    assert ("Split", "control 90 % and treatment 10 %") in rows_of(result)
    assert registered_as("new_page", ctx_kept).by == "U1"


def test_a_plan_is_the_same_after_being_kept() -> None:
    plan = Plan(
        "a", TODAY, TODAY + dt.timedelta(days=13), "p90 average_order", 0.1, "off",
        (("off", 0.5), ("on", 0.5)), (Limit("returns", 0.05),), strata="day",
    )  # fmt: skip
    assert plan_from(plan_text(plan)) == plan


@pytest.mark.parametrize(
    ("text", "end", "split"),
    [
        ("days 14", dt.date(2026, 10, 23), ()),
        ("start:2026-10-12 days 14 split:50/50", dt.date(2026, 10, 25), ()),
        ("end:2026-10-23 split:a=1,b=3", dt.date(2026, 10, 23), (("a", 0.25), ("b", 0.75))),
    ],
)
def test_ends_and_splits_are_read_as_people_say_them(
    ctx_kept: Context, text: str, end: dt.date, split: tuple[tuple[str, float], ...]
) -> None:
    said(f"ab start new_page {text}", ctx_kept)
    plan = registered_as("new_page", ctx_kept).plan
    assert plan is not None
    assert (plan.end, plan.split) == (end, split)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ab start new_page", "needs an end"),
        ("ab start new_page days 14 end:2026-10-23", "one end"),
        ("ab start new_page end:soon", "not a day"),
        ("ab start new_page end:2026-10-12", "at least 7 days"),
        ("ab start new_page start:2026-09-01 end:2026-09-30", "is over"),
        ("ab start new_page start:2026-12-01 end:2026-11-30", "before it starts"),
        ("ab start new_page days 14 metric:people", "can't be measured"),
        ("ab start new_page days 14 metric:revnue", "I don't know the metric"),
        ("ab start new_page days 14 split:control", "can't read the split"),
        ("ab start new_page days 14 split:a=1,b=0", "share above zero"),
        ("ab start new_page days 14 split:a=1,b=1 control:c", "not in its split"),
        ('ab start new_page days 14 guardrails:"returns=500%"', "between 0 and 100 %"),
        ("ab start new_page days 14 strata:devic", "I don't know the dimension"),
        ("ab start new_page days 14 strata:day adjusted", "not both"),
    ],
)
def test_what_cannot_be_planned_is_refused(ctx_kept: Context, text: str, told: str) -> None:
    with pytest.raises(UserError) as refused:
        said(text, ctx_kept)
    assert told in refused.value.message
    assert registered_as("new_page", ctx_kept).plan is None


def test_a_plan_may_be_said_anew_until_its_first_day(ctx_kept: Context) -> None:
    said("ab start new_page start:2026-10-12 days 14", ctx_kept)
    said("ab start new_page start:2026-10-13 days 28", ctx_kept)
    plan = registered_as("new_page", ctx_kept).plan
    assert plan is not None
    assert plan.days == 28
    with pytest.raises(UserError, match="has begun: a plan that is changed along the way"):
        said("ab start new_page days 7", on("2026-10-13", ctx_kept))


def test_exposures_before_the_plan_are_warned_about(shop_kept: Any) -> None:
    ctx = shop_kept(GAIN)
    told = notes(said("ab start New-Page days 14 split:a=1,b=1", ctx))
    assert told[0].startswith("People were exposed since 1 Oct 2026 already")
    assert "The exposures know control and treatment, the split names a and b" in told[1]
    told = notes(said("ab start other start:2026-10-05 days 15", ctx))
    assert told[0].startswith("It is registered 5 days after its start")
    assert "Whole weeks" in told[1]


def test_without_a_memory_nothing_is_registered(ctx_kept: Context) -> None:
    for text in ("ab start new_page days 14", "ab stop new_page", "ab snapshot"):
        with pytest.raises(NoMemoryError):
            said(text, dataclasses.replace(ctx_kept, state=None))


# --- file and chat ------------------------------------------------------------------------------


def planned(days: int = 28, **fields: Any) -> Plan:
    start = dt.date(2026, 10, 1)
    return Plan("new_page", start, start + dt.timedelta(days=days - 1), **fields)


def test_the_file_and_the_chat_may_not_differ(shop_kept: Any) -> None:
    ctx = shop_kept(GAIN)
    said("ab start new_page start:2026-10-01 days 28", ctx)
    same = dataclasses.replace(ctx, catalog=Catalog(plans=(planned(),)))
    assert registered_as("new_page", same).plan == planned()
    other = dataclasses.replace(ctx, catalog=Catalog(plans=(planned(14),)))
    with pytest.raises(PlanClashError, match="until 14 Oct 2026, and by U1 in chat"):
        said("ab new_page", other)
    with pytest.raises(UserError, match=r"is registered in config\.yaml"):
        said("ab start new_page start:2026-10-01 days 21", same)


def test_more_experiments_may_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("experiments_file: tests.yaml\n", encoding="utf-8")
    more = tmp_path / "tests.yaml"
    more.write_text("- {name: a, start: 2026-11-02, end: 2026-11-29, strata: device}\n")
    (plan,) = load_settings(config, {}).catalog().plans
    assert (plan.name, plan.days, plan.strata) == ("a", 28, "device")
    for text, told in (("a: 1", "no list"), ("- [", "not YAML"), ("- {name: a}", "start")):
        more.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=told):
            load_settings(config, {})
    more.unlink()
    with pytest.raises(ConfigError, match="can't be read"):
        load_settings(config, {})


# --- ab stop ------------------------------------------------------------------------------------


def test_what_comes_after_a_stop_does_not_count(shop_kept: Any) -> None:
    ctx = shop_kept(split_of([("control", 3000, 300), ("treatment", 3000, 303)]))
    said("ab start new_page start:2026-10-01 days 28", ctx)
    before = said("ab new_page", ctx)
    assert before.headline.startswith("new_page: keep running.")
    result = said("ab stop new_page", ctx)
    assert result.headline == "new_page is stopped: what people do after 9 Oct 2026 does not count."
    late = [order(f"treatment{i:05}", "10-12 10:00", 500) for i in range(1, 3000, 3)]
    fill(ctx.store, orders=late)
    after = said("ab new_page", on("2026-10-20", ctx))
    assert after.headline.startswith("new_page: undecided. We can't tell yet")
    assert after.headline.endswith("and it was stopped after 9 Oct 2026.")
    assert after.title == "Experiment new_page: report at its end"
    numbers = rows_of(before)[:2], rows_of(after)[:2]
    assert numbers[0] == numbers[1]
    assert "already" in said("ab stop new_page", ctx).headline
    with pytest.raises(UserError, match="can start anew from then on"):
        said("ab start new_page start:2026-10-01 days 14", ctx)


def test_a_plan_that_has_not_begun_is_forgotten(ctx_kept: Context) -> None:
    said("ab start new_page start:2026-10-12 days 14", ctx_kept)
    assert "is forgotten" in said("ab stop new_page", ctx_kept).headline
    assert registered_as("new_page", ctx_kept).plan is None
    with pytest.raises(UnknownNameError):
        said("ab stop new_page", ctx_kept)


def test_one_of_the_file_is_stopped_with_its_plan(shop_kept: Any) -> None:
    ctx = shop_kept(GAIN, planned())
    said("ab stop new_page", ctx)
    known = registered_as("new_page", ctx)
    assert (known.plan, known.stopped) == (planned(), TODAY)


# --- ab list ------------------------------------------------------------------------------------


def test_the_list_knows_plans_and_those_not_begun(shop_kept: Any) -> None:
    rows = dict(GAIN)
    rows["exposures"] = [*rows["exposures"], seen("z1", "on", "09-01 10:00", "old"),
                         seen("z2", "off", "09-03 10:00", "old")]  # fmt: skip
    ctx = shop_kept(rows, planned())
    said("ab start later start:2026-10-12 days 14", ctx)
    said("ab stop old", ctx)
    result = said("ab list", ctx)
    table = [(row[0], row[2], row[-1]) for row in rows_of(result)]
    assert table == [
        ("later", 0, "from 12 Oct 2026"),
        ("new_page", 6000, "day 10 of 28"),
        ("old", 2, "stopped 10 Oct 2026"),
    ]
    assert rows_of(said("ab", on("2026-11-02", ctx)))[1][-1] == "ended 28 Oct 2026"


def test_a_registered_one_without_exposures_says_so(ctx_kept: Context) -> None:
    said("ab start new_page days 14", ctx_kept)
    assert [row[0] for row in rows_of(said("ab list", ctx_kept))] == ["new_page"]
    with pytest.raises(NotEnoughDataError):
        said("ab new_page", ctx_kept)
    fill(ctx_kept.store, exposures=[seen("z1", "on", "09-01 10:00", "old")])
    with pytest.raises(NotEnoughDataError, match="registered from 10 Oct 2026 on, but nobody"):
        said("ab new_page", ctx_kept)


# --- the day's snapshot -------------------------------------------------------------------------


def test_asks_within_a_day_repeat_whatever_is_loaded(shop_kept: Any) -> None:
    ctx = shop_kept(GAIN, planned())
    first = said("ab new_page", ctx)
    late = [order(f"control{i:05}", "10-09 10:00", 500) for i in range(1, 3000, 2)]
    fill(ctx.store, orders=late)
    later = dataclasses.replace(ctx, now=ctx.now + dt.timedelta(hours=6))
    again = said("ab new_page", later)
    assert again.headline == first.headline
    assert again.parts == first.parts
    assert notes(again)[-1] == (
        "As of the snapshot taken at 12:00 on 10 Oct 2026. Asked again today, the answer is the "
        "same; with the word fresh, the store is read anew."
    )
    assert again.receipt is not None
    assert first.receipt is not None
    assert again.receipt.queries == first.receipt.queries
    fresh = said("ab new_page fresh", later)
    assert fresh.headline != first.headline
    assert "taken at 18:00 on 10 Oct 2026" in notes(fresh)[-1]
    assert said("ab new_page", later).parts[:-1] == fresh.parts[:-1]


def test_a_new_day_reads_anew(shop_kept: Any) -> None:
    ctx = shop_kept(GAIN, planned())
    assert said("ab new_page", ctx).headline.startswith("new_page: ship.")
    fill(ctx.store, orders=[order(f"control{i:05}", "10-10 10:00", 500) for i in range(3000)])
    assert said("ab new_page", on("2026-10-11", ctx)).headline.startswith("new_page: don't ship.")


def test_nothing_is_kept_before_yesterdays_data_are_in(shop_kept: Any) -> None:
    ctx = on("2026-10-11", shop_kept(GAIN, planned()))
    assert notes(said("ab new_page", ctx))[-1].startswith("Read from the store just now")


def test_the_snapshot_of_all_that_run_serves_verdict_and_segments(shop_kept: Any) -> None:
    rows = dict(GAIN)
    rows["orders"] = [o | {"device": "mobile"} for o in rows["orders"]]
    rows["events"] = [
        {
            "event_id": e["person_id"], "person_id": e["person_id"], "at": e["exposed_at"],
            "name": "visit", "device": ("mobile", "desktop")[int(e["person_id"][-1]) % 2],
        }
        for e in rows["exposures"]
    ]  # fmt: skip
    rows["exposures"] = [*rows["exposures"], seen("z1", "on", "09-01 10:00", "old"),
                         seen("z2", "off", "09-03 10:00", "old")]  # fmt: skip
    ctx = shop_kept(rows, planned())
    result = said("ab snapshot", ctx)
    assert rows_of(result) == [("new_page", dt.date(2026, 10, 9), 6000, "12:00")]
    fill(ctx.store, orders=[order(f"control{i:05}", "10-09 10:00", 5) for i in range(3000)])
    later = dataclasses.replace(ctx, now=ctx.now + dt.timedelta(hours=6))
    for question in ("ab new_page", "ab new_page by device", "ab new_page days"):
        told = said(question, later)
        assert "taken at 12:00 on 10 Oct 2026" in notes(told)[-1]
    assert said("ab new_page", later).headline.startswith("new_page: ship.")
    with pytest.raises(NotEnoughDataError, match="No experiment runs"):
        said("ab snapshot", on("2026-12-01", ctx))
    with pytest.raises(UnknownNameError):
        said("ab snapshot other", ctx)


def test_what_cannot_be_read_is_said_beside_the_others(shop_kept: Any) -> None:
    rows = dict(GAIN)
    rows["exposures"] = [*rows["exposures"], seen("z1", "on", "10-09 10:00", "lonely")]
    told = notes(said("ab snapshot", shop_kept(rows, planned())))
    assert told == ["lonely: lonely has only one variant: on."]


# --- schedules ----------------------------------------------------------------------------------


def test_the_mark_changes_with_the_verdict_and_at_the_end(shop_kept: Any) -> None:
    assert COMMANDS["ab"].speaks == "changes"
    ctx = shop_kept(split_of([("control", 3000, 300), ("treatment", 3000, 303)]), planned())
    marks = {}
    for day in ("2026-10-05", "2026-10-10", "2026-10-20", "2026-10-29", "2026-11-20"):
        result = said("ab new_page", on(day, ctx))
        marks[day] = result.mark
        assert ("report at its end" in result.title) == (day > "2026-10-28")
    assert list(marks.values()) == [
        "treatment too_early; running",
        "treatment keep_running; running",
        "treatment keep_running; running",
        "treatment plan_used_up; over",
        "treatment plan_used_up; over",
    ]


def test_a_winner_found_early_is_reported_once_more_at_the_end(shop_kept: Any) -> None:
    ctx = shop_kept(GAIN, planned())
    early, late = (said("ab new_page", on(d, ctx)) for d in ("2026-10-12", "2026-10-29"))
    assert (early.mark, late.mark) == ("treatment ship; running", "treatment ship; over")


@pytest.mark.parametrize("name", ["ab-start", "ab-stop", "ab-snapshot"])
def test_what_is_kept_is_marked_as_writing(name: str) -> None:
    assert COMMANDS[name].writes


def test_a_percentile_of_segments_is_refused(shop_kept: Any) -> None:
    ctx = shop_kept(GAIN, planned())
    for question in ("ab new_page days metric p90 revenue",):
        with pytest.raises(NotUnderstoodError, match="for all together only"):
            said(question, ctx)
    assert parse("ab new_page fresh", TODAY, Catalog()).text == "ab new_page fresh"
