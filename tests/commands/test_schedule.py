"""Schedules as they are made, listed and changed by asking, and by config.yaml."""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from analytics.command import Asker, Context, Rights
from analytics.errors import UserError
from analytics.result import Note, Result, Table
from bot.config import ConfigError, ScheduleSettings, Settings
from bot.dispatch import answer
from bot.scheduling import run_parts, take_config
from storage.schedules import RunKey, Schedule, Schedules
from storage.state import State
from storage.store import Store

GROWTH = "<#C0123ABCD|growth>"
ANN = Asker("U0ANN", channel="C0OPS00")
BOB = Asker("U0BOB", channel="C0OPS00", rights=Rights(is_admin=False))


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Context]:
    """Ann, asking in #ops of a bot whose zone is Berlin's."""
    store = Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}")
    state = State.open(f"sqlite:///{tmp_path / 'state.sqlite'}")
    now = dt.datetime(2026, 10, 10, 10, tzinfo=dt.UTC)
    yield Context(store, now, ZoneInfo("Europe/Berlin"), "EUR", asker=ANN, state=state)
    state.close()
    store.close()


def ask(ctx: Context, text: str, asker: Asker | None = None) -> Result:
    return answer(text, dataclasses.replace(ctx, asker=asker or ctx.asker)).result


def refusal(ctx: Context, text: str, asker: Asker | None = None) -> str:
    with pytest.raises(UserError) as refused:
        ask(ctx, text, asker)
    assert refused.value.code != "internal"
    return str(refused.value)


def kept(ctx: Context) -> list[Schedule]:
    assert ctx.state is not None
    return Schedules(ctx.state).all()


def test_a_question_with_times_is_kept_and_its_next_runs_are_shown(ctx: Context) -> None:
    result = ask(ctx, f"kpis every weekday 09:00 America/New_York to {GROWTH}")
    (schedule,) = kept(ctx)
    assert (schedule.question, schedule.every) == ("kpis last 30 days", "weekday 09:00")
    assert (schedule.zone, schedule.channel, schedule.place) == (
        "America/New_York", "C0123ABCD", "#growth"
    )  # fmt: skip
    assert (schedule.owner, schedule.surface) == ("U0ANN", "slack")
    assert "`kpis last 30 days` every weekday 09:00 America/New_York to #growth" in result.headline
    table = next(part for part in result.parts if isinstance(part, Table))
    assert len(table.rows) == 3
    assert all("09:00 -0" in str(row[1]) for row in table.rows)
    assert schedule.next_at.astimezone(ZoneInfo("America/New_York")).hour == 9


def test_without_a_zone_it_is_the_bots_and_without_a_place_where_it_is_asked(ctx: Context) -> None:
    ask(ctx, "schedule kpis by country every monday and thursday 8am as csv")
    (schedule,) = kept(ctx)
    assert (schedule.zone, schedule.channel, schedule.place) == (
        "Europe/Berlin", "C0OPS00", "here"
    )  # fmt: skip
    assert schedule.question == "kpis last 30 days by country as csv"
    assert schedule.every == "monday and thursday 08:00"


def test_to_me_is_for_the_owner_alone(ctx: Context) -> None:
    ask(ctx, "kpis every day 9 to me")
    ask(ctx, "kpis every day 9", Asker("U0ANN", channel="D0ANN00"))
    assert [(s.channel, s.place) for s in kept(ctx)] == [("", "me"), ("D0ANN00", "me")]
    assert "1 schedule" not in ask(ctx, "schedules", BOB).headline
    assert ask(ctx, "schedules", BOB).headline == "Nothing is asked by the clock yet."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("schedule pause 1 every day 9 to #growth", "changes what I keep"),
        ("schedules every day 9 to #growth every day 10", "“every”"),
        ("kpsi every day 9", "Did you mean `kpis`"),
        ("kpis every day", "At what time?"),
        ("churn top 5 every monday 9 to #growth", "single persons"),
        ("kpis every day 9 to growth", "no place to post"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(ctx: Context, text: str, says: str) -> None:
    assert says in refusal(ctx, text)
    assert kept(ctx) == []


def test_from_the_terminal_the_place_must_be_said(ctx: Context) -> None:
    terminal = Asker()
    assert "Say `to #growth`" in refusal(ctx, "kpis every day 9", terminal)
    assert "Say `to #growth`" in refusal(ctx, "kpis every day 9 to me", terminal)
    result = ask(ctx, "kpis every day 9 to #growth", terminal)
    assert any("/invite" in part.text for part in result.parts if isinstance(part, Note))
    (schedule,) = kept(ctx)
    assert (schedule.channel, schedule.place, schedule.surface) == ("", "#growth", "terminal")


def test_hours_that_the_clock_skips_or_repeats_are_warned_of() -> None:
    now = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    warnings = [p.text for p in run_parts("day 02:30", "Europe/Berlin", now) if isinstance(p, Note)]
    assert warnings == [
        "On 2026-03-29 the clock skips 02:30: that day I run at 03:00.",
        "On 2026-10-25 the clock shows 02:30 twice: I run at the first.",
    ]
    assert all(isinstance(p, Table) for p in run_parts("day 09:00", "Europe/Berlin", now))
    table = run_parts("day 09:00", "Europe/Berlin", dt.datetime(2026, 3, 28, 7, tzinfo=dt.UTC))[0]
    assert isinstance(table, Table)
    assert [row[1] for row in table.rows] == [
        "Sat 2026-03-28 09:00 +01:00", "Sun 2026-03-29 09:00 +02:00", "Mon 2026-03-30 09:00 +02:00"
    ]  # fmt: skip


def test_the_list_shows_what_runs_and_what_rests(ctx: Context) -> None:
    assert ask(ctx, "schedules").headline == "Nothing is asked by the clock yet."
    ask(ctx, f"kpis every day 9 to {GROWTH}")
    ask(ctx, "segment last 30 days every monday 8:00")
    ask(ctx, "schedule pause 2")
    result = ask(ctx, "schedules")
    assert result.headline == "2 schedules, 1 of them running."
    table = next(part for part in result.parts if isinstance(part, Table))
    assert [row[0] for row in table.rows] == [1, 2]
    assert table.rows[1][-1] == "rests"
    assert any("paused by U0ANN" in p.text for p in result.parts if isinstance(p, Note))


def test_a_pause_ends_with_the_next_run_from_now(ctx: Context) -> None:
    ask(ctx, "kpis every day 9")
    assert ctx.state is not None
    long_ago = ctx.state.now() - dt.timedelta(days=30)
    Schedules(ctx.state).change(1, next_at=long_ago, next_day=long_ago.date())
    ask(ctx, "schedule pause 1")
    assert Schedules(ctx.state).due() == []
    ask(ctx, "schedule resume 1")
    (schedule,) = kept(ctx)
    assert schedule.paused == ""
    assert schedule.next_at > ctx.state.now()


def test_what_is_not_said_in_an_edit_stays(ctx: Context) -> None:
    ask(ctx, f"kpis every day 9 America/New_York to {GROWTH}")
    (before,) = kept(ctx)
    ask(ctx, "schedule edit 1 every monday 08:00")
    (after,) = kept(ctx)
    assert (after.every, after.zone) == ("monday 08:00", "America/New_York")
    assert (after.question, after.channel) == (before.question, before.channel)
    assert after.next_at.astimezone(ZoneInfo("America/New_York")).weekday() == 0
    ask(ctx, 'schedule edit 1 question "kpis by country" to me')
    (last,) = kept(ctx)
    assert (last.question, last.place, last.every) == (
        "kpis last 30 days by country", "me", "monday 08:00"
    )  # fmt: skip
    assert "What shall I change?" in refusal(ctx, "schedule edit 1")


def test_an_edit_makes_no_second_run_of_a_day(ctx: Context) -> None:
    ask(ctx, "kpis every day 00:00 UTC")
    assert ctx.state is not None
    kept_, now = Schedules(ctx.state), ctx.state.now()
    today = now.date()
    with ctx.state.transaction() as connection:
        kept_.begin_in(connection, RunKey(1, today), due_at=now, try_until=now)
    ask(ctx, "schedule edit 1 every day 23:59 UTC")
    (schedule,) = kept(ctx)
    assert schedule.next_day == today + dt.timedelta(days=1)
    table = next(p for p in ask(ctx, "schedule resume 1").parts if isinstance(p, Table))
    assert table.rows[0][2] == schedule.next_at.replace(tzinfo=None)


def test_others_see_what_is_posted_where_they_ask(ctx: Context) -> None:
    ask(ctx, f"kpis every day 9 to {GROWTH}")
    ask(ctx, "kpis every day 10")
    table = next(p for p in ask(ctx, "schedules", BOB).parts if isinstance(p, Table))
    assert [row[0] for row in table.rows] == [2]


def test_run_now_makes_a_run_beside_those_of_the_clock(ctx: Context) -> None:
    ask(ctx, "kpis every day 9")
    ask(ctx, "schedule run 1")
    assert ctx.state is not None
    last = Schedules(ctx.state).last_runs()[1]
    assert (last.state, bool(last.key.slot)) == ("due", True)


def test_only_its_owner_or_an_admin_changes_a_schedule(ctx: Context) -> None:
    ask(ctx, "kpis every day 9")
    for text in ("pause 1", "resume 1", "run 1", "delete 1", "edit 1 every day 10"):
        refused = refusal(ctx, f"schedule {text}", BOB)
        assert "belongs to U0ANN" in refused or "may not change" in refused
    ask(ctx, "schedule pause 1", Asker("U0EVE", rights=Rights(is_admin=True)))
    ask(ctx, "schedule delete 1")
    assert kept(ctx) == []
    assert "no schedule 1" in refusal(ctx, "schedule delete 1")


def test_another_workspace_sees_nothing(ctx: Context) -> None:
    ask(ctx, "kpis every day 9", dataclasses.replace(ANN, team="T1"))
    other = Asker("U0EVE", team="T2")
    assert ask(ctx, "schedules", other).headline == "Nothing is asked by the clock yet."
    assert "no schedule 1" in refusal(ctx, "schedule delete 1", other)


# --- config.yaml --------------------------------------------------------------------------------


def configured(*rows: dict[str, str]) -> Settings:
    given = {"question": "kpis", "every": "weekday 09:00", "to": "#growth"}
    return Settings(
        time_zone="Europe/Berlin",
        schedules=tuple(ScheduleSettings.model_validate(given | row) for row in rows),
    )


def test_schedules_of_config_are_made_changed_and_dropped_with_it(ctx: Context) -> None:
    assert ctx.state is not None
    take_config(ctx.state, configured({"name": "a"}, {"name": "b", "to": "C0123ABCD"}), ctx.catalog)
    first, second = kept(ctx)
    assert (first.name, first.zone, first.place, first.owner) == (
        "a", "Europe/Berlin", "#growth", "terminal"
    )  # fmt: skip
    assert second.channel == "C0123ABCD"
    Schedules(ctx.state).change(first.id, channel="C1", paused="paused by U0ANN")
    take_config(ctx.state, configured({"name": "a"}, {"name": "c"}), ctx.catalog)
    same, new = kept(ctx)
    assert (same.id, same.channel, same.paused) == (first.id, "C1", "paused by U0ANN")
    assert new.name == "c"
    take_config(ctx.state, configured({"name": "a", "every": "day 7:00"}), ctx.catalog)
    (changed,) = kept(ctx)
    assert (changed.id, changed.every, changed.channel) == (first.id, "day 07:00", "C1")


def test_what_stands_in_config_is_changed_there(ctx: Context) -> None:
    assert ctx.state is not None
    take_config(ctx.state, configured({"name": "a"}), ctx.catalog)
    admin = Asker("U0EVE", rights=Rights(is_admin=True))
    assert "config.yaml" in refusal(ctx, "schedule delete 1", admin)
    assert "config.yaml" in refusal(ctx, "schedule edit 1 every day 9", admin)
    ask(ctx, "schedule pause 1", admin)
    table = next(p for p in ask(ctx, "schedules").parts if isinstance(p, Table))
    assert table.rows[0][5] == "config.yaml (a)"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "kpsi"}, "`schedules` (a): I don't know the command “kpsi”."),
        ({"question": "schedule delete 1"}, "changes what I keep"),
        ({"question": "churn top 5"}, "single persons"),
        ({"to": "me"}, "must be posted to a channel"),
    ],
)
def test_a_bad_row_of_config_is_named(ctx: Context, row: dict[str, str], says: str) -> None:
    assert ctx.state is not None
    with pytest.raises(ConfigError) as refused:
        take_config(ctx.state, configured({"name": "a"} | row), ctx.catalog)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "row", [{"every": "dya 9"}, {"zone": "Mars/Phobos"}, {"name": ""}, {"colour": "red"}]
)
def test_what_cannot_be_read_is_refused_with_the_settings(row: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(row))):
        configured({"name": "a"} | row)
    with pytest.raises(ValueError, match="two are called a"):
        configured({"name": "a"}, {"name": "a"})


def test_a_runs_key_names_its_message() -> None:
    key = RunKey(3, dt.date(2026, 11, 25))
    assert key.text == "run:3:2026-11-25:"
