"""Guests, apps, people of other workspaces and shared channels get nothing, by any way in."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from slack_bolt import App, BoltResponse

from analytics.commands.churn import Churn
from analytics.result import Column, Result, Table
from bot.access import Person, Place
from bot.setup import Bot
from bot.slack.analysts import Analyst
from bot.slack.answering import Delivery
from bot.slack.app import slack_app
from bot.slack.post import Poster
from storage.grants import Grant, give, take
from storage.outbox import Outbox
from storage.queue import Queue
from tests.slack.conftest import ADMIN, TEAM, FakeSlack, Members
from tests.slack.test_app import (
    ME,
    RESPONSE_URL,
    SECRET,
    click,
    command,
    event,
    interaction,
    mention,
)

DIRECT = {"type": "message", "channel_type": "im", "user": "U1", "text": "schema", "ts": "1.0",
          "channel": "D1"}  # fmt: skip
HOME = {"type": "app_home_opened", "user": "U1", "channel": "D0", "tab": "home"}


def shared_form(app: App, n: str) -> BoltResponse:
    values = {"channel": {"channel": {"selected_conversation": "C1"}}}
    view = {"id": f"V{n}", "hash": "1", "callback_id": "share", "private_metadata": "schema",
            "state": {"values": values}, "type": "modal"}  # fmt: skip
    return interaction(app, {"type": "view_submission", "view": view})


def home_button(app: App, n: str) -> BoltResponse:
    body = {"type": "block_actions", "trigger_id": n, "container": {"type": "view"},
            "actions": [{"type": "button", "action_id": "ask_10", "block_id": "b",
                         "value": "schema"}]}  # fmt: skip
    return interaction(app, body)


#: Every way in, and whether a channel is part of it; each request has a number of its own.
WAYS: dict[str, tuple[Callable[[App, str], BoltResponse], bool]] = {
    "command": (lambda app, n: command(app, "schema", n), True),
    "mention": (lambda app, n: event(app, mention("schema"), n), True),
    "direct": (lambda app, n: event(app, DIRECT, n), False),
    "home": (lambda app, n: event(app, HOME, n), False),
    "home button": (home_button, False),
    "follow-up": (lambda app, n: click(app, "ask_0", "schema", trigger=n), True),
    "again": (lambda app, n: click(app, "again", "schema", trigger=n), True),
    "sql": (lambda app, n: click(app, "sql", "schema", trigger=n), True),
    "csv": (lambda app, n: click(app, "csv", "schema", trigger=n), True),
    "shared": (shared_form, True),
}
#: Who asks, and who reads the channel; None: Slack does not say.
OTHERS: tuple[tuple[Person | None, Place | None], ...] = (
    ("guest", "own"), ("app", "own"), ("stranger", "own"), (None, "own"),
    ("member", "shared"), ("member", "unseen"), ("member", None),
)  # fmt: skip


class Bench:
    """A bot whose questions are answered one by one, by hand."""

    def __init__(self, bot: Bot, slack: FakeSlack) -> None:
        self.bot = bot
        self.queue = Queue(bot.state, workers=9, waiting=9, per_person=9)
        self.outbox = Outbox(bot.state)
        self.analysts = Analyst(bot, self.queue, self.outbox, Poster(slack, patience_seconds=0))
        self.app = slack_app(bot, self.queue, Poster(slack), ME, signing_secret=SECRET)

    def answers(self) -> list[Delivery]:
        """What is to be posted for all that was taken."""
        while claim := self.queue.claim(600):
            self.analysts.work(claim)
        found = []
        while parcel := self.outbox.claim(600):
            found.append(Delivery.from_json(parcel.body))
            self.outbox.sent(parcel)
        return found

    @property
    def refused(self) -> int:
        """Refusals in the audit."""
        return sum(q.outcome == "refused" for q in self.bot.state.recent_questions())


@pytest.fixture
def bench(bot: Bot, slack: FakeSlack) -> Iterator[Bench]:
    made = Bench(bot, slack)
    yield made
    made.app.listener_runner.listener_executor.shutdown()


@pytest.mark.parametrize("way", WAYS)
def test_a_member_is_answered_and_others_get_nothing(
    bench: Bench, members: Members, way: str
) -> None:
    """Whether it is known when they ask, or only when they are to be answered."""
    send, in_channel = WAYS[way]
    assert send(bench.app, "0").status == 200
    (delivery,) = bench.answers()
    assert bench.refused == 0
    if way not in ("home", "sql"):  # the empty store has no figures of yesterday
        assert "entities" in delivery.message.text
    give(bench.bot.state, "", Grant("", "all", "user", "U1"), by=ADMIN)
    for n, (person, place) in enumerate(OTHERS, 1):
        if person == "member" and not in_channel:
            continue
        members.people["U1"], members.places["C1"] = person, place
        for known in (False, True):
            members.asked = {"U1", "C1"} if known else set()
            before = bench.refused
            assert send(bench.app, f"{n}.{known}").status == 200
            deliveries = bench.answers()
            assert bench.refused == before + 1
            assert len(deliveries) <= 1
            if known and None not in (person, place):
                assert deliveries == []  # it was not even accepted
            for refusal in deliveries:
                assert refusal.private
                assert not refusal.message.files
                assert "entities" not in refusal.to_json()


@pytest.mark.parametrize("field", ["team", "user_team", "source_team"])
def test_an_event_of_another_workspace_is_dropped(bench: Bench, field: str) -> None:
    assert event(bench.app, mention("schema", **{field: "T2"})).status == 200
    assert event(bench.app, DIRECT | {field: "T2"}, "E2").status == 200
    assert bench.answers() == []


def test_a_click_from_another_workspace_is_dropped(bench: Bench) -> None:
    body: dict[str, Any] = {
        "type": "block_actions", "trigger_id": "x", "channel": {"id": "C1"}, "container": {},
        "user": {"id": "U1", "team_id": "T2"}, "team": {"id": TEAM}, "response_url": RESPONSE_URL,
        "actions": [{"type": "button", "action_id": "again", "block_id": "b", "value": "schema"}],
    }  # fmt: skip
    assert interaction(bench.app, body).status == 200
    assert bench.answers() == []


def test_an_app_that_writes_is_not_heard(bench: Bench) -> None:
    assert event(bench.app, mention("schema", bot_id="B9")).status == 200
    assert event(bench.app, DIRECT | {"bot_id": "B9"}, "E2").status == 200
    assert bench.answers() == []


def test_a_form_opens_for_members_alone(bench: Bench, members: Members, slack: FakeSlack) -> None:
    assert click(bench.app, "share", "schema").status == 200
    slack.wait_for("views.open")
    members.people["U1"] = "guest"
    assert click(bench.app, "share", "schema", trigger="t9", channel="C1").status == 200
    bench.app.listener_runner.listener_executor.shutdown(wait=True)
    assert len(slack.of("views.open")) == 1


def test_a_refusal_names_who_can_help_and_is_kept_once(bench: Bench) -> None:
    told = [json.loads(command(bench.app, "churn top 5").body or "{}") for _ in range(3)]
    assert "may not see single people" in told[0]["text"]
    assert ADMIN in json.dumps(told[0])
    assert told[1:] == [{}, {}]
    assert bench.answers() == []
    assert bench.refused == 1


def test_a_right_that_ends_while_the_question_waits_is_no_right(bench: Bench) -> None:
    grant = Grant("", "people", "user", "U1")
    give(bench.bot.state, "", grant, by=ADMIN)
    assert "Working" in command(bench.app, "churn top 5").body
    take(bench.bot.state, "", grant)
    (delivery,) = bench.answers()
    assert "may not see single people" in delivery.message.text
    assert bench.refused == 1


def test_people_in_a_granted_channel_still_go_to_the_asker_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = Table("P", (Column("p", "Person"),), (("p1",),), person_level=True)
    monkeypatch.setattr(Churn, "run", lambda *_: Result("Churn", "p1 may leave.", (people,)))
    give(bench.bot.state, "", Grant("churn", "all", "channel", "C1"), by=ADMIN)
    command(bench.app, "churn top 5")
    event(bench.app, mention("churn top 5"))
    click(bench.app, "csv", "churn top 5")
    deliveries = bench.answers()
    assert [d.private for d in deliveries] == [True] * 3
    assert all("p1" in json.dumps(d.to_json()) for d in deliveries)
    assert bench.refused == 0
