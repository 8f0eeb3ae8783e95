"""Analysts answer into the outbox; senders empty it, each message once."""

from http.client import RemoteDisconnected
from typing import Any

import pytest
import sqlalchemy as sa

from bot.setup import Bot
from bot.slack import sending
from bot.slack.analysts import MOST_BEGUN, Analyst
from bot.slack.answering import Delivery, Job, told
from bot.slack.blocks import File, Message, plain_message
from bot.slack.post import Poster
from bot.slack.sendable import assert_sendable
from bot.slack.sending import Senders
from storage.outbox import Outbox
from storage.queue import Claim, Queue
from storage.state import jobs, posts
from tests.slack.conftest import FakeSlack

MENTION = Job("schema", "U1", "C1", "mention", thread_ts="1.1")
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "fine"}}
FINE = Message("fine", (SECTION,))


class History(FakeSlack):
    """Shows the messages that it was given, and can act without answering."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []
        self.cut = 0
        self.uploads: list[dict[str, Any]] = []

    def files_upload_v2(self, **upload: Any) -> Any:
        self.uploads.append(upload)

    def api_call(self, api_method: str, **more: Any) -> Any:
        arguments = dict(more.get("json") or more.get("params") or more.get("data") or {})
        if api_method == "chat.postMessage" and not self.failures.get(api_method):
            stamp = f"{len(self.messages) + 1}.5"
            self.messages.append(arguments | {"ts": stamp})
            answer = super().api_call(api_method, **more)
            answer.data["ts"] = stamp
            if self.cut:
                self.cut -= 1
                raise RemoteDisconnected("cut")
            return answer
        answer = super().api_call(api_method, **more)
        if api_method in ("conversations.history", "conversations.replies"):
            answer.data["messages"] = list(reversed(self.messages))
        return answer


@pytest.fixture
def history() -> History:
    return History()


@pytest.fixture
def senders(bot: Bot, history: History) -> Senders:
    return Senders(Outbox(bot.state), Poster(history, patience_seconds=0))


@pytest.fixture
def queue(bot: Bot) -> Queue:
    return Queue(bot.state, workers=1, waiting=9, per_person=9)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "SETTLE_S", 0.0)


def put(senders: Senders, delivery: Delivery, key: str = "k") -> None:
    senders.outbox.add(key=key, lane=delivery.lane, body=delivery.to_json())


def send_all(senders: Senders, most: int = 20) -> int:
    """Hand out and send until nothing may go; how many claims it took."""
    for n in range(most):
        with senders.outbox.state.transaction() as connection:
            connection.execute(sa.update(posts).values(not_before=0))
        parcel = senders.outbox.claim(60)
        if parcel is None:
            return n
        senders.send(parcel)
    raise AssertionError("no end")


def died(senders: Senders) -> None:
    """As if the sender had died and its lease had ended."""
    with senders.outbox.state.transaction() as connection:
        connection.execute(sa.update(posts).values(lease_until=0))


def test_a_delivery_survives_the_outbox() -> None:
    job = Job("kpis", "U1", "C1", "command", "1.1", "http://x", private=True, files_only=True)
    message = Message("t", (SECTION,), (File("a.csv", b"\x00\xff", "A"),), True)
    delivery = Delivery(job, message, private=True, question="kpis")
    assert Delivery.from_json(delivery.to_json()) == delivery
    assert Job.from_json(job.to_json()) == job


def test_a_post_and_its_files_go_out_once(senders: Senders, history: History) -> None:
    files = (File("a.csv", b"x", "A"),)
    put(senders, Delivery(MENTION, Message("t", (SECTION,), files), private=False))
    assert send_all(senders) == 1
    assert [m["text"] for m in history.messages] == ["t"]
    assert history.uploads[0]["thread_ts"] == "1.1"
    assert senders.outbox.unfinished() == 0


def test_files_that_cannot_be_uploaded_are_said(senders: Senders, history: History) -> None:
    history.fail("conversations.open", history.refuse("user_not_found"))
    job = Job("kpis", "U1", "C1", "mention", private=True)
    put(senders, Delivery(job, Message("t", (), (File("a.csv", b"x", "A"),)), private=True))
    send_all(senders)
    texts = [call["text"] for call in history.of("chat.postEphemeral")]
    assert texts == ["t", "I could not post the files or details of this answer."]


def test_detail_stands_in_the_thread_before_the_files(senders: Senders, history: History) -> None:
    files = (File("a.csv", b"1", "A"),)
    message = Message("fine", (SECTION,), files, detail=Message("more", (SECTION,)))
    put(senders, Delivery(Job("digest", "U1", "C1", "mention"), message, private=False))
    send_all(senders)
    assert [m["text"] for m in history.messages] == ["fine", "more"]
    assert history.messages[1]["thread_ts"] == "1.5"
    assert len(history.uploads) == 1


def test_a_detail_whose_answer_was_cut_is_looked_up(senders: Senders, history: History) -> None:
    message = Message("fine", (SECTION,), detail=Message("more"))
    put(senders, Delivery(Job("digest", "U1", "C1", "mention"), message, private=False))
    history.cut = 2
    send_all(senders)
    assert [m["text"] for m in history.messages] == ["fine", "more"]


def test_a_cut_answer_is_looked_up(senders: Senders, history: History) -> None:
    history.cut = 1
    put(senders, Delivery(MENTION, FINE, private=False))
    send_all(senders)
    assert len(history.messages) == 1
    assert senders.outbox.unfinished() == 0


def test_a_post_that_never_arrived_is_sent_again(senders: Senders, history: History) -> None:
    history.fail("chat.postMessage", TimeoutError(), history.refuse("fatal_error", 503))
    put(senders, Delivery(MENTION, FINE, private=False))
    send_all(senders)
    assert len(history.messages) == 1


def test_after_a_death_a_post_is_looked_up(senders: Senders, history: History) -> None:
    put(senders, Delivery(MENTION, FINE, private=False))
    assert senders.outbox.claim(60)
    senders.poster.post("C1", [FINE], thread_ts="1.1", key="k")
    died(senders)
    send_all(senders)
    assert len(history.messages) == 1
    assert senders.outbox.unfinished() == 0


def test_where_history_is_closed_an_unknown_post_counts_as_sent(
    senders: Senders, history: History
) -> None:
    history.fail("chat.postMessage", TimeoutError())
    history.fail("conversations.replies", history.refuse("missing_scope"))
    put(senders, Delivery(MENTION, FINE, private=False))
    send_all(senders)
    assert history.messages == []
    assert senders.outbox.unfinished() == 0


def test_429_waits_in_the_outbox_and_keeps_the_order(senders: Senders, history: History) -> None:
    history.fail("chat.postMessage", history.refuse("ratelimited", 429, **{"Retry-After": "9"}))
    put(senders, Delivery(MENTION, Message("one"), private=False), "a")
    put(senders, Delivery(MENTION, Message("two"), private=False), "b")
    send_all(senders)
    assert [m["text"] for m in history.messages] == ["one", "two"]


def test_the_asker_hears_where_the_bot_is_no_member(senders: Senders, history: History) -> None:
    history.fail("chat.postMessage", history.refuse("not_in_channel"))
    put(senders, Delivery(MENTION, FINE, private=False))
    send_all(senders)
    (call,) = history.of("chat.postEphemeral")
    assert "Invite me" in call["text"]


def test_what_is_for_one_goes_by_direct_message_at_last(senders: Senders, history: History) -> None:
    history.fail("chat.postEphemeral", history.refuse("user_not_in_channel"))
    put(senders, told(MENTION, plain_message("psst")))
    send_all(senders)
    assert [m["channel"] for m in history.messages] == ["D1"]


def test_a_post_that_is_tried_for_ever_is_given_up(
    senders: Senders, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MOST_CLAIMS", 2)
    history.fail("chat.postMessage", *[ConnectionRefusedError()] * 9)
    put(senders, Delivery(MENTION, FINE, private=False))
    assert send_all(senders) == 3
    assert senders.outbox.unfinished() == 0
    assert len(history.of("chat.postEphemeral")) == 1


# Analysts.


@pytest.fixture
def analysts(bot: Bot, queue: Queue, senders: Senders) -> Analyst:
    return Analyst(bot, queue, senders.outbox, senders.poster)


def claimed(queue: Queue, job: Job) -> Claim:
    queue.put(job.text, job.user, job.to_json())
    claim = queue.claim(60)
    assert claim is not None
    return claim


def test_an_answer_is_in_the_outbox_when_its_question_is_done(
    analysts: Analyst, queue: Queue, senders: Senders, history: History
) -> None:
    analysts.work(claimed(queue, MENTION))
    assert queue.unfinished() == 0
    send_all(senders)
    assert history.messages[0]["thread_ts"] == "1.1"


def test_what_is_not_understood_is_told_to_the_asker(
    analysts: Analyst, queue: Queue, senders: Senders, history: History
) -> None:
    analysts.work(claimed(queue, Job("kpsi", "U1", "C1", "mention")))
    send_all(senders)
    assert "kpis" in history.of("chat.postEphemeral")[0]["text"]
    assert history.messages == []


def test_home_shows_an_answer_or_why_there_is_none(
    analysts: Analyst, queue: Queue, senders: Senders, history: History
) -> None:
    analysts.work(claimed(queue, Job("schema", "U1", "", "home")))
    analysts.work(claimed(queue, Job("status", "U1", "", "home")))
    send_all(senders)
    drawn, empty = [call["view"] for call in history.of("views.publish")]
    for view in (drawn, empty):
        assert_sendable(view, "home")
    assert "schema" in str(drawn["blocks"])
    assert "store is empty" in str(empty["blocks"])
    assert history.messages == []


def test_what_is_asked_in_home_is_answered_directly(
    analysts: Analyst, queue: Queue, senders: Senders, history: History
) -> None:
    analysts.work(claimed(queue, Job("help", "U1", "", "direct")))
    send_all(senders)
    assert [m["channel"] for m in history.messages] == ["D1"]


def test_a_thread_goes_on_whoever_asks(
    analysts: Analyst, queue: Queue, senders: Senders, history: History
) -> None:
    analysts.work(claimed(queue, Job("help rules", "U1", "C1", "mention", thread_ts="1.1")))
    send_all(senders)
    assert senders.poster.last_question("C1", "1.1") == "help rules"
    analysts.work(claimed(queue, Job("segment", "U2", "C1", "mention", thread_ts="1.1")))
    analysts.work(claimed(queue, Job("topic:kpis", "U2", "C1", "mention", thread_ts="1.1")))
    send_all(senders)
    payloads = [m["metadata"]["event_payload"]["question"] for m in history.messages]
    assert payloads[-1] == "help kpis"


def test_a_cancelled_question_is_not_answered(
    analysts: Analyst, queue: Queue, senders: Senders
) -> None:
    claim = claimed(queue, MENTION)
    assert queue.cancel(claim.job, "U1")
    analysts.work(claim)
    assert senders.outbox.unfinished() == 0


def test_a_question_that_ends_its_process_again_and_again_is_given_up(
    analysts: Analyst, queue: Queue, senders: Senders, history: History
) -> None:
    queue.put("k", "U1", MENTION.to_json())
    for _ in range(MOST_BEGUN):
        assert queue.claim(60)
        with queue.state.transaction() as connection:
            connection.execute(sa.update(jobs).values(lease_until=1))
    claim = queue.claim(60)
    assert claim is not None
    analysts.work(claim)
    send_all(senders)
    assert "gave it up" in history.of("chat.postEphemeral")[0]["text"]


def test_a_bug_in_drawing_is_told(
    analysts: Analyst,
    queue: Queue,
    senders: Senders,
    history: History,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("bot.slack.analysts.delivery_of", broken)
    analysts.work(claimed(queue, MENTION))
    send_all(senders)
    assert "could not draw" in history.of("chat.postEphemeral")[0]["text"]


# Simpler forms.


def refused_once(senders: Senders, history: History) -> None:
    history.fail("chat.postMessage", history.refuse("invalid_blocks"))
    parcel = senders.outbox.claim(60)
    assert parcel is not None
    senders.send(parcel)


def worked_off(analysts: Analyst, queue: Queue) -> None:
    claim = queue.claim(60)
    assert claim is not None
    analysts.work(claim)


def test_a_refused_form_is_drawn_simpler_and_keeps_its_place(
    analysts: Analyst, queue: Queue, senders: Senders, history: History
) -> None:
    analysts.work(claimed(queue, Job("schema", "U1", "C1", "mention", "1.1")))
    put(senders, Delivery(MENTION, Message("next"), private=False), "next")
    refused_once(senders, history)
    assert senders.outbox.claim(60) is None
    worked_off(analysts, queue)
    send_all(senders)
    assert [m["text"] == "next" for m in history.messages] == [False, True]
    tried, simpler, _ = history.of("chat.postMessage")
    assert simpler["blocks"] != tried["blocks"]


def test_a_form_refused_to_the_end_leaves_its_words(
    analysts: Analyst, queue: Queue, senders: Senders, history: History
) -> None:
    analysts.work(claimed(queue, Job("schema", "U1", "C1", "mention", "1.1")))
    for _ in range(2):
        refused_once(senders, history)
        worked_off(analysts, queue)
    send_all(senders)
    assert ["blocks" in m for m in history.messages] == [False]


def test_after_a_restart_a_refused_form_leaves_its_words(
    analysts: Analyst, queue: Queue, senders: Senders, history: History
) -> None:
    put(senders, Delivery(MENTION, FINE, private=False))
    refused_once(senders, history)
    worked_off(analysts, queue)
    send_all(senders)
    assert [(m["text"], "blocks" in m) for m in history.messages] == [("fine", False)]
    assert queue.unfinished() == 0
