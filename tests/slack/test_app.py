"""Each way in, by signed requests to `app.dispatch`: no socket, real checks, real middleware."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from slack_bolt import App, BoltRequest, BoltResponse
from slack_sdk.signature import SignatureVerifier

from analytics.catalog import Catalog
from bot.setup import Bot
from bot.slack.answering import Job
from bot.slack.app import Identity, is_stranger, said, share_form, slack_app
from bot.slack.modals import Filled, modal_of
from bot.slack.post import Poster
from bot.slack.sendable import assert_sendable
from storage.queue import Queue
from tests.slack.conftest import BOT_ID, BOT_USER, TEAM, FakeSlack
from tests.slack.forms import sent_in

SECRET = "test-secret"
ME = Identity(TEAM, BOT_ID, BOT_USER)
RESPONSE_URL = "http://127.0.0.1:1/nowhere"


class Taken:
    """The jobs that were put in the queue."""

    def __init__(self, bot: Bot) -> None:
        self.queue = Queue(bot.state, workers=2, waiting=1, per_person=2)
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1

    @property
    def jobs(self) -> list[Job]:
        """In the order in which they came; those that run are not among them."""
        found = []
        while claim := self.queue.claim(600):
            found.append(Job.from_json(claim.work))
            self.queue.finish(claim)
        return found


@pytest.fixture
def taken(bot: Bot) -> Taken:
    return Taken(bot)


@pytest.fixture
def app(bot: Bot, slack: FakeSlack, taken: Taken) -> Iterator[App]:
    made = slack_app(bot, taken.queue, Poster(slack), ME, wake=taken.wake, signing_secret=SECRET)
    yield made
    made.listener_runner.listener_executor.shutdown()


def send(app: App, body: str, kind: str, *, secret: str = SECRET, age: int = 0) -> BoltResponse:
    at = str(int(time.time()) - age)
    signature = SignatureVerifier(secret).generate_signature(timestamp=at, body=body) or ""
    headers = {
        "content-type": [kind],
        "x-slack-request-timestamp": [at],
        "x-slack-signature": [signature],
    }
    return app.dispatch(BoltRequest(body=body, headers=headers))


def command(app: App, text: str, trigger: str = "1.1", **more: Any) -> BoltResponse:
    how = {k: more.pop(k) for k in ("secret", "age") if k in more}
    fields = {
        "command": "/ops",
        "text": text,
        "team_id": TEAM,
        "user_id": "U1",
        "channel_id": "C1",
        "trigger_id": trigger,
        "response_url": RESPONSE_URL,
    }
    return send(app, urlencode(fields | more), "application/x-www-form-urlencoded", **how)


def event(app: App, event: dict[str, Any], event_id: str = "Ev1", **more: Any) -> BoltResponse:
    body = {"type": "event_callback", "team_id": TEAM, "event_id": event_id, "event": event}
    return send(app, json.dumps(body | more), "application/json")


def interaction(app: App, payload: dict[str, Any]) -> BoltResponse:
    who = {"team": {"id": TEAM}, "user": {"id": "U1", "team_id": TEAM}}
    form = urlencode({"payload": json.dumps(who | payload)})
    return send(app, form, "application/x-www-form-urlencoded")


def click(app: App, action_id: str, value: str, **more: Any) -> BoltResponse:
    container = {"message_ts": "9.9", "channel_id": "C1", "is_ephemeral": False}
    return interaction(
        app,
        {
            "type": "block_actions",
            "trigger_id": more.get("trigger", "2.2"),
            "response_url": RESPONSE_URL,
            "channel": {"id": more.get("channel", "C1")},
            "container": container | more.get("container", {}),
            "actions": [
                {"type": "button", "action_id": action_id, "block_id": "b", "value": value}
            ],
        },
    )


def mention(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "app_mention", "user": "U1", "text": f"<@{BOT_USER}> {text}", "ts": "5.5",
            "channel": "C1", **more}  # fmt: skip


def test_a_command_is_taken_and_told_so(app: App, taken: Taken) -> None:
    response = command(app, "funnel view &gt; buy last 30 days")
    assert response.status == 200
    body = json.loads(response.body)
    assert body == {
        "response_type": "ephemeral",
        "text": "Working on `funnel view &gt; buy last 30 days` …",
    }
    (job,) = taken.jobs
    assert job == Job(
        "funnel view > buy last 30 days", "U1", "C1", "command", response_url=RESPONSE_URL
    )


def test_who_waits_and_who_is_sent_away_is_told(app: App) -> None:
    assert "Working" in command(app, "kpis", "1").body
    assert "Working" in command(app, "kpis", "2").body
    assert "already have 2" in command(app, "kpis", "3").body
    waiting = json.loads(command(app, "kpis", "4", user_id="U2").body)
    assert waiting["text"] == "You are number 1 in line with `kpis`."
    assert waiting["blocks"][1]["elements"][0]["action_id"] == "cancel"
    assert "busy" in command(app, "kpis", "5", user_id="U3").body


def test_the_same_trigger_is_taken_once(app: App, taken: Taken) -> None:
    assert command(app, "kpis", "7").body
    assert [command(app, "kpis", "7").body for _ in range(3)] == [""] * 3
    assert [j.text for j in taken.jobs] == ["kpis"]


def test_a_forged_or_stale_command_is_refused(app: App, taken: Taken) -> None:
    assert command(app, "kpis", secret="other").status == 401
    assert command(app, "kpis", age=400).status == 401
    assert taken.jobs == []


def test_a_hostile_text_stays_words(app: App) -> None:
    body = json.loads(command(app, "<!channel> `x` <https://evil.example|click>").body)
    assert body["text"] == "Working on `!channel ˋxˋ click` …"


def test_a_mention_is_answered_in_its_thread(app: App, taken: Taken) -> None:
    assert event(app, mention("kpis")).status == 200
    assert event(app, mention("by device", thread_ts="4.4", user="U2"), "Ev3").status == 200
    assert event(app, mention("kpis"), "Ev1").status == 200
    assert [(j.text, j.thread_ts) for j in taken.jobs] == [("kpis", "5.5"), ("by device", "4.4")]
    assert taken.woken == 2


def test_direct_messages_are_taken_and_other_messages_are_not(app: App, taken: Taken) -> None:
    direct = {"type": "message", "channel_type": "im", "user": "U1", "text": "kpis", "ts": "1.0",
              "channel": "D1"}  # fmt: skip
    assert event(app, direct, "E1").status == 200
    for i, other in enumerate(
        (
            direct | {"channel_type": "channel"},
            direct | {"subtype": "message_changed"},
            direct | {"bot_id": "B1"},
            direct | {"bot_id": BOT_ID, "user": BOT_USER},
        )
    ):
        assert event(app, other, f"F{i}").status == 200
    assert [(j.way, j.channel) for j in taken.jobs] == [("direct", "D1")]


def test_who_waits_for_a_mention_is_told_alone(app: App, slack: FakeSlack) -> None:
    for i in range(3):
        event(app, mention("kpis", user=f"U{i}"), f"E{i}")
    (call,) = slack.wait_for("chat.postEphemeral")
    assert (call["user"], call["thread_ts"]) == ("U2", "5.5")
    assert call["text"] == "You are number 1 in line with `kpis`."


def test_home_is_drawn_like_an_answer(app: App, taken: Taken) -> None:
    opened = {"type": "app_home_opened", "user": "U1", "channel": "D0", "tab": "home"}
    assert event(app, opened, "H1").status == 200
    assert event(app, opened | {"tab": "else"}, "H2").status == 200
    assert taken.jobs == [Job("kpis yesterday", "U1", "", "home")]


def test_prompts_are_found_when_direct_messages_are_opened(app: App, taken: Taken) -> None:
    opened = {"type": "app_home_opened", "user": "U1", "channel": "D0", "tab": "messages"}
    for _ in range(2):
        assert event(app, opened, "H1").status == 200
    assert taken.jobs == [Job("status", "U1", "D0", "prompts")]


def test_a_direct_message_begins_a_thread_with_a_title_and_a_status(
    app: App, taken: Taken, slack: FakeSlack
) -> None:
    direct = {"type": "message", "channel_type": "im", "user": "U1", "text": "kpis", "ts": "1.0",
              "channel": "D1"}  # fmt: skip
    event(app, direct, "E1")
    (title,) = slack.wait_for("assistant.threads.setTitle")
    (status,) = slack.wait_for("assistant.threads.setStatus")
    assert (title["channel_id"], title["thread_ts"], title["title"]) == ("D1", "1.0", "kpis")
    assert (status["thread_ts"], status["status"]) == ("1.0", "is working on kpis …")
    event(app, direct | {"ts": "2.0", "thread_ts": "1.0", "text": "by country"}, "E2")
    slack.wait_for("assistant.threads.setStatus", 2)
    assert [(j.text, j.thread_ts) for j in taken.jobs] == [("kpis", "1.0"), ("by country", "1.0")]
    assert len(slack.of("assistant.threads.setTitle")) == 1


def test_a_button_of_home_is_answered_in_a_direct_message(app: App, taken: Taken) -> None:
    body = {"type": "block_actions", "trigger_id": "h1", "container": {"type": "view"},
            "actions": [{"type": "button", "action_id": "ask_10", "block_id": "b",
                         "value": "kpis"}]}  # fmt: skip
    assert interaction(app, body).status == 200
    assert taken.jobs == [Job("kpis", "U1", "", "direct")]


def test_only_who_asked_cancels(app: App, taken: Taken) -> None:
    command(app, "kpis", "1", user_id="U2")
    command(app, "rules", "2")
    assert click(app, "cancel", "1", trigger="c1").status == 200
    assert click(app, "cancel", "2", trigger="c2").status == 200
    assert click(app, "cancel", "nonsense", trigger="c3").status == 200
    assert [j.text for j in taken.jobs] == ["kpis"]


def test_buttons_ask_in_the_thread_of_their_message(app: App, taken: Taken) -> None:
    jobs: list[Job] = []
    for i, (action, value) in enumerate(
        (("ask_0", "rules"), ("again", "kpis"), ("sql", "kpis"), ("csv", "kpis"))
    ):
        for _ in range(2):
            assert click(app, action, value, trigger=f"t{i}").status == 200
        jobs += taken.jobs
    assert [(j.text, j.private, j.files_only) for j in jobs] == [
        ("rules", False, False),
        ("kpis", False, False),
        ("kpis as sql", True, False),
        ("kpis as csv", False, True),
    ]
    assert {j.thread_ts for j in jobs} == {"9.9"}


def test_a_hidden_message_is_followed_up_hidden(app: App, taken: Taken) -> None:
    click(app, "again", "people", container={"is_ephemeral": True})
    (job,) = taken.jobs
    assert job.private
    assert job.thread_ts == ""


def test_an_unknown_button_is_no_crash(app: App) -> None:
    assert click(app, "nope", "x").status == 404


def test_share_asks_for_the_channel(app: App, taken: Taken, slack: FakeSlack) -> None:
    assert click(app, "share", "kpis").status == 200
    (opened,) = slack.wait_for("views.open")
    assert "kpis" in json.dumps(opened["view"])
    values = {"channel": {"channel": {"selected_conversation": "C2"}}}
    view = {"id": "V1", "hash": "1", "callback_id": "share", "private_metadata": "kpis",
            "state": {"values": values}, "type": "modal"}  # fmt: skip
    for _ in range(2):
        assert interaction(app, {"type": "view_submission", "view": view}).status == 200
    assert taken.jobs == [Job("kpis", "U1", "C2", "share")]
    assert_sendable(share_form("kpis"), "modal")


def opened(slack: FakeSlack, n: int = 1) -> dict[str, Any]:
    """The view that was opened last."""
    view: dict[str, Any] = slack.wait_for("views.open", n)[-1]["view"]
    assert_sendable(view, "modal")
    return view


def verb_of(view: dict[str, Any]) -> str:
    """The command whose form it is."""
    return str(json.loads(view["private_metadata"])["verb"])


def submit(app: App, view: dict[str, Any], changes: dict[str, str | None] | None = None,
           **more: Any) -> BoltResponse:  # fmt: skip
    body = {"type": "view_submission", "view": sent_in(view, changes) | more.pop("view", {})}
    return interaction(app, body | more)


def test_the_shortcut_opens_the_choice_and_then_a_form(
    app: App, taken: Taken, slack: FakeSlack
) -> None:
    shortcut = {"type": "shortcut", "callback_id": "ask", "trigger_id": "s1"}
    for _ in range(2):
        assert interaction(app, shortcut).status == 200
    view = opened(slack)
    assert verb_of(view) == ""
    pick = {"type": "static_select", "action_id": "pick", "block_id": "pick",
            "selected_option": {"value": "segment"}}  # fmt: skip
    picked = {"type": "block_actions", "trigger_id": "s2", "container": {"type": "view"},
              "view": sent_in(view), "actions": [pick]}  # fmt: skip
    assert interaction(app, picked).status == 200
    (update,) = slack.wait_for("views.update")
    assert (update["view_id"], update["hash"]) == ("V1", "1.a")
    assert verb_of(update["view"]) == "segment"
    assert submit(app, update["view"], {"segment/k": "4"}).status == 200
    assert taken.jobs == [Job("segment last 90 days k 4", "U1", "", "direct")]
    assert len(slack.of("views.open")) == 1


def test_a_form_is_taken_once_and_answered_in_the_chosen_channel(
    app: App, taken: Taken, slack: FakeSlack
) -> None:
    click(app, "change", "kpis last 7 days by country")
    view = opened(slack)
    urls = {"response_urls": [{"response_url": RESPONSE_URL, "channel_id": "C2"}]}
    for _ in range(2):
        assert submit(app, view, {"place": "C2"}, **urls).status == 200
    assert taken.jobs == [
        Job("kpis last 7 days by country", "U1", "C2", "command", response_url=RESPONSE_URL)
    ]


def test_a_changed_question_is_answered_in_the_thread_of_its_answer(
    app: App, taken: Taken, slack: FakeSlack
) -> None:
    click(app, "change", "kpis last 7 days")
    assert submit(app, opened(slack), {"kpis/by": "country"}).status == 200
    assert taken.jobs == [
        Job("kpis last 7 days by country", "U1", "C1", "button", "9.9", RESPONSE_URL)
    ]


def test_a_hidden_answer_is_changed_hidden(app: App, taken: Taken, slack: FakeSlack) -> None:
    click(app, "change", "segment", container={"is_ephemeral": True})
    assert submit(app, opened(slack), {"segment/k": "4"}).status == 200
    (job,) = taken.jobs
    assert (job.text, job.private, job.channel) == ("segment last 90 days k 4", True, "C1")
    assert job.response_url == RESPONSE_URL


def test_what_is_wrong_in_a_form_is_told_at_its_field(
    app: App, taken: Taken, slack: FakeSlack
) -> None:
    click(app, "change", "segment")
    response = submit(app, opened(slack), {"segment/k": "99", "segment/where": "contry:France"})
    told = json.loads(response.body)
    assert told["response_action"] == "errors"
    assert set(told["errors"]) == {"segment/k", "segment/where"}
    assert taken.jobs == []


def test_a_form_that_can_not_be_taken_stays_open(app: App, slack: FakeSlack) -> None:
    for trigger in "12":
        command(app, "kpis", trigger)
    click(app, "change", "segment")
    response = submit(app, opened(slack), {"segment/k": "4"})
    told = json.loads(response.body)
    assert told["response_action"] == "update"
    assert_sendable(told["view"], "modal")
    assert "already have 2" in json.dumps(told["view"]["blocks"])
    assert '"initial_value": "4"' in response.body


def test_a_form_that_waits_closes_and_can_be_cancelled(app: App, slack: FakeSlack) -> None:
    for trigger, user in (("1", "U2"), ("2", "U3")):
        command(app, "kpis", trigger, user_id=user)
    interaction(app, {"type": "shortcut", "callback_id": "ask", "trigger_id": "s1"})
    view = sent_in(modal_of(Filled("segment"), Catalog()))
    assert interaction(app, {"type": "view_submission", "view": view}).body == ""
    told = slack.wait_for("chat.postMessage")[-1]
    assert told["text"] == "You are number 1 in line with `segment last 90 days`."
    assert "cancel" in json.dumps(told["blocks"])


def test_a_form_of_a_command_that_is_no_more_gets_the_choice(app: App, taken: Taken) -> None:
    view = sent_in(modal_of(Filled("kpis"), Catalog()))
    old = view | {"private_metadata": view["private_metadata"].replace("kpis", "gone")}
    told = json.loads(interaction(app, {"type": "view_submission", "view": old}).body)
    assert told["response_action"] == "update"
    assert verb_of(told["view"]) == ""
    assert taken.jobs == []


def test_a_question_cancelled_in_a_thread_takes_its_status_away(app: App, slack: FakeSlack) -> None:
    event(app, mention("kpis"))
    slack.wait_for("assistant.threads.setStatus")
    click(app, "cancel", "1", container={"thread_ts": "5.5"})
    assert slack.wait_for("assistant.threads.setStatus", 2)[1]["status"] == ""


def test_who_waits_in_line_is_told_beside_our_name(app: App, slack: FakeSlack) -> None:
    for n in ("1", "2"):
        command(app, "kpis", n, user_id="U2")
    direct = {"type": "message", "channel_type": "im", "user": "U1", "text": "kpis", "ts": "5.5"}
    event(app, direct | {"channel": "D1"}, "Ev2")
    (status,) = slack.wait_for("assistant.threads.setStatus")
    assert status["status"] == "has you as number 1 in line …"
    assert (status["channel_id"], status["thread_ts"]) == ("D1", "5.5")
    (told,) = slack.wait_for("chat.postEphemeral")
    assert told["text"] == "You are number 1 in line with `kpis`."


def test_a_channel_must_be_chosen_to_share(app: App) -> None:
    values = {"channel": {"channel": {"selected_conversation": None}}}
    view = {"id": "V1", "hash": "1", "callback_id": "share", "private_metadata": "kpis",
            "state": {"values": values}, "type": "modal"}  # fmt: skip
    told = json.loads(interaction(app, {"type": "view_submission", "view": view}).body)
    assert told["errors"] == {"channel": "Choose a channel."}


def message_shortcut(app: App, message: dict[str, Any]) -> None:
    body = {"type": "message_action", "callback_id": "ask_about", "trigger_id": message["ts"],
            "message_ts": message["ts"], "channel": {"id": "C1"}, "message": message}  # fmt: skip
    assert interaction(app, body).status == 200


def test_a_message_is_asked_about(app: App, taken: Taken, slack: FakeSlack) -> None:
    metadata = {"event_type": "daybreak_answer", "event_payload": {"question": "rules"}}
    change = {"type": "actions", "elements": [{"action_id": "change", "value": "top items"}]}
    ours = {"bot_id": BOT_ID, "text": "Found."}
    for n, (message, verb) in enumerate((
        (ours | {"metadata": metadata}, "rules"),
        (ours | {"blocks": [{"type": "divider"}, change]}, "top"),
        (ours, ""),
        ({"bot_id": "B2", "blocks": [change], "text": "x"}, ""),
        ({"user": "U2", "text": f"<@{BOT_USER}> kpis by country"}, ""),
        ({"user": "U2", "text": "kpis by country"}, "kpis"),
        ({"user": "U2", "text": "who knows our revenue?"}, ""),
    ), 1):  # fmt: skip
        message_shortcut(app, {"ts": f"{n}.5", **message})
        assert verb_of(opened(slack, n)) == verb
    view = slack.of("views.open")[5]["view"]
    submit(app, view)
    assert taken.jobs == [Job("kpis last 30 days by country", "U1", "C1", "button", "6.5")]


@pytest.mark.parametrize("text", ["", "help", " ASK "])
def test_help_offers_the_form(app: App, taken: Taken, slack: FakeSlack, text: str) -> None:
    body = json.loads(command(app, text).body)
    assert body["text"] == "Working on `help` …"
    ask = body["blocks"][1]["elements"][0]
    assert (ask["action_id"], ask["text"]["text"]) == ("change", "Ask with a form")
    assert [j.text for j in taken.jobs] == ["help"]
    click(app, "change", ask["value"])
    assert verb_of(opened(slack)) == ""


@pytest.mark.parametrize(
    "body",
    [
        {"team_id": "T2"},
        {"team": {"id": TEAM}, "user": {"id": "U1", "team_id": "T2"}},
        {"team_id": TEAM, "event": {"user_team": "T2"}},
        {"team_id": TEAM, "is_ext_shared_channel": True, "event": {}},
    ],
)
def test_strangers_are_known(body: dict[str, Any]) -> None:
    assert is_stranger(body, ME)


def test_a_stranger_is_not_answered(app: App, taken: Taken) -> None:
    assert "only answer people" in command(app, "kpis", team_id="T2").body
    assert event(app, mention("kpis", user_team="T2")).status == 200
    assert taken.jobs == []


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("kpis", "kpis"),
        ("<@U00000DAY> kpis", "kpis"),
        ("to <@U012|maria lopez>", "to <@U012|maria-lopez>"),
        ("to <#C012|ops> or <#C012>", "to <#C012|ops> or <#C012>"),
        ("to <!subteam^S012|@data>", "to <!subteam^S012|@data>"),
        ("a &lt;b&gt; &amp; c", "a <b> & c"),
        ("<https://a.example/x|a.example>", "a.example"),
        ("where country:<mailto:a@b.c|a@b.c>", "where country:a@b.c"),
    ],
)
def test_slacks_formatting_is_taken_off(sent: str, meant: str) -> None:
    assert said(sent, "U00000DAY") == meant
