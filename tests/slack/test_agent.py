"""The agent surface: prompts that fit the data, and threads that go on."""

import datetime as dt

import pytest

from analytics.catalog import Catalog
from analytics.command import COMMANDS, Context
from analytics.result import Column, Note, Result, Table
from bot.dispatch import Answer, answer
from bot.parse import parse
from bot.setup import Bot
from bot.slack.agent import (
    FALLBACK,
    MOST_PROMPTS,
    PROMPTS,
    QUESTION,
    asked_before,
    begun,
    prompts,
    prompts_for,
    status_of,
    title_of,
)
from bot.slack.answering import Job, delivery_of, told
from bot.slack.blocks import plain_message
from bot.slack.post import Poster
from bot.slack.sending import Senders
from storage.outbox import Outbox
from tests.slack.conftest import FakeSlack

EXAMPLES = {text for c in COMMANDS.values() for text in c.examples}


def held(*entities: str) -> Result:
    """A status over these rows."""
    columns = (Column("entity", "Entity"), Column("rows", "Rows", "count"))
    return Result("Status", "Here.", (Table("Rows", columns, tuple((e, 1) for e in entities)),))


def test_prompts_fit_the_data() -> None:
    assert prompts_for(held("orders", "order_lines")) == (
        "kpis last 90 days", "segment last 90 days", "rules last 90 days", "status",
    )  # fmt: skip
    assert prompts_for(held("events", "exposures")) == (
        "ab", "trend conversion last 60 days", "status", "help",
    )  # fmt: skip
    assert prompts_for(Result("Status", "Empty.", (Note("Nothing."),))) == ("status", "help")


def test_prompts_are_examples_of_their_commands() -> None:
    assert {p.question for p in PROMPTS} <= EXAMPLES
    assert set(FALLBACK) <= EXAMPLES


def test_the_demo_is_asked_for_what_it_holds(shop: Context) -> None:
    shown = prompts_for(answer(QUESTION, shop).result)
    assert shown == tuple(p.question for p in PROMPTS[:MOST_PROMPTS])
    for prompt in prompts(shown):
        assert parse(prompt["message"], shop.today, shop.catalog)


@pytest.mark.parametrize("known", [True, False])
def test_prompts_are_set_without_a_thread(bot: Bot, slack: FakeSlack, known: bool) -> None:
    job = Job(QUESTION, "U1", "D1", "prompts")
    delivery = told(job, plain_message("The store is empty."))
    if known:
        result = held("orders")
        request = parse(QUESTION, bot.context().today, bot.catalog)
        delivery, _ = delivery_of(bot, job, Answer(request, result, 0.1))
    senders = Senders(Outbox(bot.state), Poster(slack))
    senders.outbox.add(key="k", lane=delivery.lane, body=delivery.to_json())
    parcel = senders.outbox.claim(60)
    assert parcel
    senders.send(parcel)
    (call,) = slack.of("assistant.threads.setSuggestedPrompts")
    assert call["channel_id"] == "D1"
    assert "thread_ts" not in call
    wanted = prompts_for(held("orders")) if known else FALLBACK
    assert {p["message"] for p in call["prompts"]} == set(wanted)
    assert senders.outbox.unfinished() == 0


def test_what_was_asked_before_in_a_channel_is_known(bot: Bot) -> None:
    for channel, canonical, outcome in (
        ("D1", "kpis last 30 days", "answered"),
        ("D2", "status", "answered"),
        ("D1", "schedule-delete 1", "answered"),
        ("D1", "rules last 90 days", "not_enough_data"),
    ):
        bot.state.record_question(
            asker="U1", surface="slack", channel=channel, text="x", canonical=canonical,
            outcome=outcome, seconds=0.1, reference="",
        )  # fmt: skip
    assert asked_before(bot.state, "U1", "D1") == "kpis last 30 days"
    assert asked_before(bot.state, "U2", "D1") == ""
    assert asked_before(bot.state, "U1", "D3") == ""


@pytest.mark.parametrize(
    ("text", "before", "meant"),
    [
        ("by country", "kpis last 30 days", "kpis last 30 days by country"),
        ("rules last 90 days", "kpis last 30 days", "rules last 90 days"),
        ("good morning", "kpis last 30 days", "good morning"),
        ("by country", "", "by country"),
    ],
)
def test_a_thread_begins_with_a_question_or_with_what_was_asked_before(
    text: str, before: str, meant: str
) -> None:
    assert begun(text, before, dt.date(2026, 10, 10), Catalog()) == meant


def test_status_and_title_are_short_lines() -> None:
    long = "kpis where country:" + "x" * 500
    assert len(status_of(long)) < 120
    assert len(title_of(long + "\nand more")) <= 120
    assert status_of("a\nb") == "is working on a b …"
