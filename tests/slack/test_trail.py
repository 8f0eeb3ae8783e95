"""One id from the acknowledgement to the post: in every line, the audit and the outbox."""

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from slack_bolt import App

from bot.logs import JsonLines, Stamped
from bot.setup import Bot
from bot.slack.analysts import Analyst, finish_without
from bot.slack.answering import Delivery, Job
from bot.slack.blocks import Message
from bot.slack.post import Poster
from bot.slack.sending import Senders
from bot.slack.ticking import job_of
from storage.outbox import Outbox
from storage.schedules import RunKey
from tests.slack.conftest import FakeSlack
from tests.slack.test_app import Taken, app, click, command, event, mention, taken

__all__ = ["app", "taken"]

NAMES = ("accepted", "started", "question_done", "answered", "posted")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the bot logs, as JSON."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines())
    handler.addFilter(Stamped("all"))
    log = logging.getLogger("daybreak")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield out
    log.removeHandler(handler)
    log.setLevel(before)


def said(lines: io.StringIO, *names: str) -> list[dict[str, Any]]:
    """The lines of these names, in order."""
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [line for line in found if line["message"] in names]


def work_off(bot: Bot, taken: Taken, slack: FakeSlack) -> list[Delivery]:
    """Answer and post all that was accepted; what was posted."""
    outbox, posted = Outbox(bot.state), []
    while claim := taken.queue.claim(60):
        Analyst(bot, taken.queue, outbox, Poster(slack)).work(claim)
    senders = Senders(outbox, Poster(slack, patience_seconds=0))
    while parcel := outbox.claim(60):
        posted.append(Delivery.from_json(parcel.body))
        senders.send(parcel)
    return posted


@pytest.mark.parametrize("way", ["command", "mention", "button"])
def test_a_question_has_one_id_from_its_acknowledgement_to_its_post(
    bot: Bot, app: App, taken: Taken, slack: FakeSlack, lines: io.StringIO, way: str
) -> None:
    match way:
        case "command":
            command(app, "schema", response_url="")
        case "mention":
            event(app, mention("schema"))
        case _:
            click(app, "again", "schema")
    (delivery,) = work_off(bot, taken, slack)
    stages = said(lines, *NAMES)
    assert [line["message"] for line in stages] == list(NAMES)
    (reference,) = {line["id"] for line in stages}
    assert re.fullmatch("[0-9a-f]{12}", reference)
    assert delivery.job.reference == reference
    (row,) = bot.state.recent_questions()
    assert (row.outcome, row.reference) == ("answered", reference)
    assert {line["way"] for line in stages if "way" in line} == {way}


def test_each_question_has_its_own(
    bot: Bot, app: App, taken: Taken, slack: FakeSlack, lines: io.StringIO
) -> None:
    command(app, "schema", "1", response_url="")
    command(app, "status", "2", response_url="")
    work_off(bot, taken, slack)
    ids = [{line["id"] for line in said(lines, name)} for name in ("accepted", "posted")]
    assert len(ids[0]) == 2
    assert ids[0] == ids[1]


def test_a_fault_is_told_under_the_id_that_its_lines_have(
    bot: Bot,
    app: App,
    taken: Taken,
    slack: FakeSlack,
    lines: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("bot.dispatch.run", broken)
    command(app, "kpis for country Carol", response_url="")
    (delivery,) = work_off(bot, taken, slack)
    failed, posted = said(lines, "question_failed", "posted")
    assert f"this reference: {failed['id']}" in delivery.message.text
    assert "ZeroDivisionError" in failed["trace"]
    assert posted["id"] == failed["id"]
    assert "Carol" not in lines.getvalue()
    assert bot.state.recent_questions()[0].reference == failed["id"]


def test_what_is_turned_away_cancelled_or_killed_has_its_id_in_the_audit(
    bot: Bot, app: App, taken: Taken, lines: io.StringIO
) -> None:
    command(app, "grant people to @U2", "1")
    command(app, "schema", "2")
    click(app, "cancel", "1", trigger="3")
    command(app, "schema", "4")
    claim = taken.queue.claim(60)
    assert claim is not None
    job = Job.from_json(claim.work)
    outbox = Outbox(bot.state)
    assert finish_without(bot, taken.queue, outbox, claim, job, Message("x"), "killed_for_time")
    killed, cancelled, refused = bot.state.recent_questions()
    first, last = said(lines, "accepted")
    assert (cancelled.reference, killed.reference) == (first["id"], last["id"])
    assert said(lines, "cancelled")[0]["id"] == cancelled.reference
    assert said(lines, "turned_away")[0]["id"] == refused.reference
    assert len({killed.reference, cancelled.reference, refused.reference}) == 3


def test_what_the_clock_asks_has_an_id_too() -> None:
    key = RunKey.from_text("run:1:2026-11-02:")
    first, second = (Job.from_json(job_of(key)[1]) for _ in range(2))
    assert first.reference
    assert first.reference != second.reference
    assert first == second  # an id does not make another question of it


def test_a_job_of_an_older_version_is_taken() -> None:
    body = json.loads(Job("schema", "U1", "C1", "mention").to_json())
    del body["reference"]
    assert Job.from_json(json.dumps(body)).reference == ""
