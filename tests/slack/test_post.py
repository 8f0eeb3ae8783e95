"""What becomes of a post when Slack is slow, busy, picky or gone."""

from http.client import RemoteDisconnected
from typing import Any

import pytest

from bot.slack.blocks import File, Message, plain_message
from bot.slack.post import UNSENDABLE, Poster
from tests.slack.conftest import FakeSlack

SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "fine"}}
FINE = Message("fine", (SECTION,))
WORDS = Message("words")


@pytest.fixture
def poster(slack: FakeSlack) -> Poster:
    return Poster(slack)


def test_a_message_is_posted_once_in_its_thread(poster: Poster, slack: FakeSlack) -> None:
    posted = poster.post("C1", [FINE, WORDS], thread_ts="1.2")
    assert (posted.outcome, posted.ts, posted.message) == ("sent", "1.0", FINE)
    (call,) = slack.of("chat.postMessage")
    assert call["thread_ts"] == "1.2"
    assert call["unfurl_links"] is False
    assert call["unfurl_media"] is False


def test_too_fast_is_waited_out(poster: Poster, slack: FakeSlack) -> None:
    slack.fail("chat.postMessage", slack.refuse("ratelimited", 429, **{"Retry-After": "0"}))
    assert poster.post("C1", [FINE]).outcome == "sent"
    assert len(slack.of("chat.postMessage")) == 2


def test_who_stops_does_not_wait(poster: Poster, slack: FakeSlack) -> None:
    slack.fail("chat.postMessage", slack.refuse("ratelimited", 429, **{"Retry-After": "20"}))
    poster.stop()
    assert poster.post("C1", [FINE]).error == "stopping"


def test_who_has_no_patience_hears_how_long_to_wait(slack: FakeSlack) -> None:
    slack.fail("chat.postMessage", slack.refuse("ratelimited", 429, **{"Retry-After": "7"}))
    posted = Poster(slack, patience_seconds=0).post("C1", [FINE])
    assert (posted.outcome, posted.wait_seconds) == ("not sent", 7.0)


def test_refused_blocks_go_a_rung_down(poster: Poster, slack: FakeSlack) -> None:
    slack.fail("chat.postMessage", slack.refuse("invalid_blocks"))
    posted = poster.post("C1", [FINE, WORDS])
    assert (posted.outcome, posted.message) == ("sent", WORDS)


def test_what_is_not_sendable_is_not_sent_and_not_silent(poster: Poster, slack: FakeSlack) -> None:
    bad = Message("bad", ({"type": "nope"},))
    posted = poster.post("C1", [bad])
    assert posted.message == UNSENDABLE
    assert [c["text"] for c in slack.of("chat.postMessage")] == [UNSENDABLE.text]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TimeoutError(), "unknown"),
        (RemoteDisconnected("cut"), "unknown"),
        (ConnectionResetError(), "unknown"),
        (ConnectionRefusedError(), "not sent"),
    ],
)
def test_an_answer_that_never_came_is_not_asked_for_again(
    poster: Poster, slack: FakeSlack, error: OSError, outcome: str
) -> None:
    slack.fail("chat.postMessage", error)
    assert poster.post("C1", [FINE, WORDS]).outcome == outcome
    assert len(slack.of("chat.postMessage")) == 1


def test_a_server_error_may_have_posted(poster: Poster, slack: FakeSlack) -> None:
    slack.fail("chat.postMessage", slack.refuse("fatal_error", 503))
    assert poster.post("C1", [FINE]).outcome == "unknown"
    slack.fail("chat.postMessage", slack.refuse("not_in_channel"))
    assert poster.post("C1", [FINE]).error == "not_in_channel"


def test_a_whisper_is_for_one(poster: Poster, slack: FakeSlack) -> None:
    assert poster.whisper("C1", "U1", [plain_message("hello")]).outcome == "sent"
    (call,) = slack.of("chat.postEphemeral")
    assert (call["user"], call["text"]) == ("U1", "hello")
    assert "unfurl_links" not in call


def test_a_direct_channel_that_is_not_given_is_empty(poster: Poster, slack: FakeSlack) -> None:
    assert poster.direct_channel("U1") == "D1"
    slack.fail("conversations.open", slack.refuse("user_disabled"))
    assert poster.direct_channel("U1") == ""


def test_a_picture_without_words_is_not_uploaded(poster: Poster) -> None:
    with pytest.raises(ValueError, match="alt_txt"):
        poster.upload("C1", [File("a.png", b"x", "A")])


def test_a_response_url_that_is_gone_is_no_crash(poster: Poster) -> None:
    gone: Any = poster.respond("http://127.0.0.1:1/gone", [FINE], to_all=False)
    assert gone.outcome == "not sent"
