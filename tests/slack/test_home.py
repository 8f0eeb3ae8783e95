"""App Home: what it shows, and that Slack takes it however much there is."""

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest

from analytics.command import Context
from bot.dispatch import answer
from bot.setup import Bot
from bot.slack.analysts import Analyst
from bot.slack.answering import Job
from bot.slack.blocks import Message, plain_message, to_message
from bot.slack.home import LATELY, QUESTION, SCHEDULES, asked_lately, home_view
from bot.slack.post import Poster
from bot.slack.sendable import assert_sendable
from bot.slack.sending import Senders
from storage.outbox import Outbox
from storage.queue import Queue
from storage.schedules import Schedule
from storage.state import Question
from tests.slack.conftest import ADMIN, FakeSlack

AT = dt.datetime(2026, 10, 10, 8, tzinfo=dt.UTC)


def asked(canonical: str | None, *, surface: str = "slack", outcome: str = "answered") -> Question:
    return Question(1, AT, "U1", surface, "C1", canonical, canonical, outcome, "", 0.1, "")


def scheduled(number: int, **changes: Any) -> Schedule:
    schedule = Schedule(
        id=number,
        name=None,
        question="kpis last 30 days",
        every="weekday 09:00",
        zone="Europe/Berlin",
        channel="C012ABC",
        place="#growth",
        owner="U1",
        team="T1",
        surface="slack",
        made_at=AT,
        next_at=dt.datetime(2026, 10, 12, 7, tzinfo=dt.UTC),
        next_day=dt.date(2026, 10, 12),
        paused="",
        mark="",
    )
    return dataclasses.replace(schedule, **changes)


def shown(recent: list[Question], schedules: list[Schedule], message: Message) -> str:
    view = home_view(message, recent, schedules)
    assert_sendable(view, "home")
    return json.dumps(view, ensure_ascii=False)


@pytest.fixture(scope="module")
def figures(shop: Context) -> Message:
    return to_message(answer(QUESTION, shop).result)


def test_it_shows_the_day_the_schedules_and_what_to_ask(figures: Message) -> None:
    told = shown([asked("kpis by country")], [scheduled(3)], figures)
    for part in (
        "Revenue",
        "data through",
        "Your schedules",
        "*kpis last 30 days*",
        "every weekday 09:00 to <#C012ABC> · next Mon 2026-10-12 09:00 +02:00",
        '"schedule pause 3"',
        "You asked lately",
        '"kpis by country"',
        "Ask with a form",
    ):
        assert part in told
    assert "data_visualization" not in told


def test_an_empty_memory_says_how_to_begin(figures: Message) -> None:
    told = shown([], [], figures)
    assert "None yet" in told
    assert '"help schedule-add"' in told
    assert "You asked lately" not in told


def test_why_there_are_no_figures_is_said() -> None:
    assert "The store is empty." in shown([], [], plain_message("The store is empty."))


def test_paused_schedules_come_last_and_can_go_on() -> None:
    view = home_view(
        plain_message("x"),
        [],
        [scheduled(1, paused="paused by U1"), scheduled(2), scheduled(3, paused="no such channel")],
    )
    sections = [b for b in view["blocks"] if b["type"] == "section"]
    actions = [b["elements"] for b in view["blocks"] if b["type"] == "actions"]
    assert [[button["value"] for button in row] for row in actions[:3]] == [
        ["schedule pause 2", "schedule delete 2"],
        ["schedule resume 1", "schedule delete 1"],
        ["schedule resume 3", "schedule delete 3"],
    ]
    assert all("confirm" in row[1] for row in actions[:3])
    assert sections[1]["text"]["text"].endswith("· paused")
    assert sections[2]["text"]["text"].endswith("· no such channel")


def test_what_was_asked_lately_is_once_each_and_changes_nothing() -> None:
    recent = [
        asked("kpis last 7 days"),
        asked("kpis last 7 days"),
        asked(QUESTION),
        asked(QUESTION, surface="home"),
        asked("status", surface="prompts"),
        asked("top items last 30 days", outcome="not_enough_data"),
        asked(None),
        asked("schedule-delete 1"),
        asked("kpis last 7 days every monday 09:00 to #ops"),
        asked("trend revenue last 90 days", surface="terminal"),
        asked("gone-command x"),
    ]
    assert asked_lately(recent) == ["kpis last 7 days", "trend revenue last 90 days"]
    assert len(asked_lately([asked(f"kpis last {n} days") for n in range(2, 30)])) == LATELY


def test_any_amount_fits(figures: Message) -> None:
    recent = [asked(f"kpis last {n} days where country:{'x' * 60}") for n in range(2, 60)]
    many = [scheduled(n, question="k" * 900, every="e" * 200) for n in range(1, 40)]
    told = shown(recent, many, dataclasses.replace(figures, blocks=figures.blocks * 20))
    assert "All 39 schedules" in told
    assert told.count("schedule pause") == SCHEDULES


@pytest.mark.parametrize("verb", ["pause", "resume", "delete"])
def test_home_is_drawn_anew_after_a_schedule_was_changed_in_it(
    bot: Bot, slack: FakeSlack, verb: str
) -> None:
    queue = Queue(bot.state, workers=1, waiting=9, per_person=9)
    outbox = Outbox(bot.state)
    analyst = Analyst(bot, queue, outbox, Poster(slack))
    senders = Senders(outbox, Poster(slack, patience_seconds=0))

    def ask(text: str) -> int:
        """Ask in App Home, and let all that comes of it be done; how many jobs that were."""
        queue.put(text, ADMIN, Job(text, ADMIN, "", "direct").to_json())
        done = 0
        while claim := queue.claim(60):
            analyst.work(claim)
            done += 1
        while parcel := outbox.claim(60):
            senders.send(parcel)
        return done

    ask("schema every weekday 09:00 UTC to me")
    if verb == "resume":
        ask("schedule pause 1")
    before = len(slack.of("views.publish"))
    assert ask(f"schedule {verb} 1") == 2
    (drawn,) = [call["view"] for call in slack.of("views.publish")[before:]]
    assert_sendable(drawn, "home")
    shows = {"pause": "schedule resume 1", "resume": "schedule pause 1", "delete": "None yet"}
    assert shows[verb] in json.dumps(drawn)
    assert ask("help") == 1
