"""The audit tells of each accepted question once: how it ended, and how long it was worked on."""

import dataclasses
import json
from typing import Any

import pytest
import sqlalchemy as sa

from analytics.errors import TooLateError
from bot import elsewhere, terminal
from bot.setup import Bot
from bot.slack.analysts import MOST_BEGUN, Analyst, finish_without
from bot.slack.answering import Job
from bot.slack.blocks import Message
from bot.slack.keeper import Killed
from bot.slack.post import Poster
from storage import processes
from storage.engines import QueryCancelledError
from storage.outbox import Outbox
from storage.processes import beat, own_name, take_reply
from storage.queue import Claim, Queue, jobs
from storage.state import NowUs, Question
from storage.store import Store
from tests.slack.conftest import FakeSlack
from tests.slack.test_app import Taken, app, click, command, taken

__all__ = ["app", "taken"]

ASKED = Job("schema", "U1", "C1", "mention", thread_ts="1.1")


@pytest.fixture
def queue(bot: Bot) -> Queue:
    return Queue(bot.state, workers=2, waiting=9, per_person=9)


@pytest.fixture
def analyst(bot: Bot, queue: Queue, slack: FakeSlack) -> Analyst:
    return Analyst(bot, queue, Outbox(bot.state), Poster(slack))


def claimed(queue: Queue, job: Job) -> Claim:
    queue.put(job.text + job.way, job.user, job.to_json())
    claim = queue.claim(60)
    assert claim is not None
    return claim


def since(queue: Queue, seconds: int) -> None:
    """Let every job have been begun so long ago."""
    ago = NowUs() - seconds * 1_000_000
    with queue.state.transaction() as connection:
        connection.execute(sa.update(jobs).where(jobs.c.begun_at > 0).values(begun_at=ago))


def rows(bot: Bot) -> list[Question]:
    return bot.state.recent_questions()


def test_what_is_answered_is_written_down_with_its_claim(
    bot: Bot, queue: Queue, analyst: Analyst
) -> None:
    analyst.work(claimed(queue, ASKED))
    (row,) = rows(bot)
    assert (row.outcome, row.text, row.canonical) == ("answered", "schema", "schema")
    assert (row.asker, row.surface, row.channel) == ("U1", "slack", "C1")
    assert row.seconds > 0


def test_what_is_refused_is_written_down_by_why(bot: Bot, queue: Queue, analyst: Analyst) -> None:
    for text in ("kpsi", "kpis"):
        analyst.work(claimed(queue, Job(text, "U1", "C1", "mention", thread_ts="1.1")))
    assert [row.outcome for row in rows(bot)] == ["not_enough_data", "not_understood"]


def test_a_question_cancelled_at_work_is_written_down_once_with_its_seconds(
    bot: Bot, app: Any, taken: Taken, analyst: Analyst
) -> None:
    command(app, "schema", "1")
    claim = taken.queue.claim(60)
    assert claim is not None
    since(taken.queue, 7)
    click(app, "cancel", str(claim.job), trigger="c1")
    click(app, "cancel", str(claim.job), trigger="c2")
    analyst.work(claim)  # what it still brings must not count
    (row,) = rows(bot)
    assert (row.outcome, row.text, row.asker, row.channel) == ("cancelled", "schema", "U1", "C1")
    assert 7 <= row.seconds < 10


def test_a_question_cancelled_in_the_line_was_not_worked_on(
    bot: Bot, app: Any, taken: Taken
) -> None:
    command(app, "schema", "1")
    click(app, "cancel", "1")
    assert [(row.outcome, row.seconds) for row in rows(bot)] == [("cancelled", 0.0)]


@pytest.mark.parametrize("outcome", ["killed_for_time", "killed_for_memory"])
def test_a_question_that_cost_its_process_is_written_down_by_why(
    bot: Bot, queue: Queue, outcome: Killed
) -> None:
    claim = claimed(queue, ASKED)
    since(queue, 300)
    outbox = Outbox(bot.state)
    assert finish_without(bot, queue, outbox, claim, ASKED, Message("late"), outcome)
    assert not finish_without(bot, queue, outbox, claim, ASKED, Message("late"), outcome)
    (row,) = rows(bot)
    assert (row.outcome, row.text) == (outcome, "schema")
    assert 300 <= row.seconds < 303


def test_a_question_stopped_by_the_time_limit_was_not_cancelled_by_its_asker(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise QueryCancelledError("The question was cancelled.")

    hasty = dataclasses.replace(bot, opened=Store(bot.store.engine, seconds_limit=1e-9))
    bot.store.engine.facts.clear()
    monkeypatch.setattr(bot.store.engine, "fetch", interrupted)
    with pytest.raises(TooLateError, match="time limit"):
        hasty.answer("schema", surface="slack")
    assert [row.outcome for row in rows(bot)] == ["too_late"]


def test_a_terminal_that_is_interrupted_cancels(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    without = dataclasses.replace(bot, opened=None)
    beat(bot.state, own_name("analyst"), "analyst", {})

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(elsewhere.time, "sleep", interrupted)
    assert terminal.ask(without, "schema") == terminal.EXIT_REFUSED
    assert [(row.outcome, row.text) for row in rows(bot)] == [("cancelled", "schema")]
    assert Queue(bot.state, workers=1, waiting=1, per_person=1).unfinished() == 0


def test_a_terminal_that_waits_no_more_is_written_down(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = dataclasses.replace(bot, opened=None)
    monkeypatch.setattr(processes, "living", lambda *_: [])
    assert terminal.ask(without, "schema") == terminal.EXIT_REFUSED
    assert [(row.outcome, row.surface) for row in rows(bot)] == [("lost_process", "terminal")]


def test_a_terminal_whose_question_was_killed_hears_why(bot: Bot, queue: Queue) -> None:
    wanted = json.dumps(vars(terminal.Wanted()))
    job = Job("schema", "terminal", "", "terminal", wanted=wanted)
    claim = claimed(queue, job)
    words = Message("I gave it up.")
    assert finish_without(bot, queue, Outbox(bot.state), claim, job, words, "killed_for_time")
    reply = take_reply(bot.state, claim.job)
    assert reply is not None
    assert "I gave it up." in terminal.Shown.from_json(reply).err
    assert [row.surface for row in rows(bot)] == ["terminal"]
    assert Outbox(bot.state).unfinished() == 0


def test_a_question_that_lost_its_process_too_often_is_written_down(
    bot: Bot, queue: Queue, analyst: Analyst
) -> None:
    claim = claimed(queue, ASKED)
    for _ in range(MOST_BEGUN):
        assert queue.give_back(claim, counts=True)
        again = queue.claim(60)
        assert again is not None
        claim = again
    since(queue, 40)
    analyst.work(claim)
    (row,) = rows(bot)
    assert row.outcome == "lost_process"
    assert 40 <= row.seconds < 43


def test_a_claim_says_how_long_its_job_has_waited(queue: Queue) -> None:
    queue.put("k", "U1", ASKED.to_json())
    with queue.state.transaction() as connection:
        connection.execute(sa.update(jobs).values(accepted_at=NowUs() - 5_000_000))
    claim = queue.claim(60)
    assert claim is not None
    assert 5 <= claim.waited < 8
