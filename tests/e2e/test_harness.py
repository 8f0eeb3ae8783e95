"""The counterpart itself: a small Bolt app goes through every way in and out of it."""

import copy
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_bolt.adapter.wsgi import SlackRequestHandler
from slack_sdk.errors import SlackApiError
from slack_sdk.web import WebClient

from tests.e2e.driver import APP_TOKEN, SIGNING_SECRET, OverHttp, Workspace
from tests.e2e.emulator import EmulatorError, emulator
from tests.e2e.proxy import Broken, Limited, Lost, Refused, Slow

pytestmark = pytest.mark.e2e

CSV = b"segment,people\nLoyal,1204\nAt risk,311\n"


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


TABLE = {
    "type": "table",
    "rows": [
        [{"type": "raw_text", "text": "Segment"}, {"type": "raw_text", "text": "People"}],
        [
            {"type": "raw_text", "text": "Loyal"},
            {"type": "raw_number", "value": 1204, "text": "1,204"},
        ],
    ],
}
BUTTONS = {
    "type": "actions",
    "elements": [{"type": "button", "action_id": "again", "text": plain("Again"), "value": "x"}],
}
FORM = {
    "type": "modal",
    "callback_id": "settings",
    "title": plain("Settings"),
    "submit": plain("Save"),
    "blocks": [
        {
            "type": "input",
            "block_id": "days",
            "label": plain("Days"),
            "element": {"type": "number_input", "action_id": "n", "is_decimal_allowed": False},
        }
    ],
}


def small_bot(client: WebClient) -> App:
    """A Bolt app that answers a command, a mention, the home, a click and a form."""
    app = App(client=client, signing_secret=SIGNING_SECRET, logger=logging.getLogger("small_bot"))
    answered: set[str] = set()

    def accept(ack: Any, command: dict[str, Any]) -> None:
        ack(f"Working on {command['text']} …")

    def work(client: WebClient, command: dict[str, Any], respond: Any) -> None:
        channel, text = command["channel_id"], f"Answer to {command['text']}"
        client.chat_postMessage(channel=channel, text=text, blocks=[TABLE, BUTTONS])
        client.files_upload_v2(
            channel=channel, content=CSV, filename="segments.csv", title="Segments"
        )
        respond(text="Done", response_type="ephemeral")

    app.command("/ops")(ack=accept, lazy=[work])

    @app.event("app_mention")
    def mentioned(event: dict[str, Any], body: dict[str, Any], say: Any) -> None:
        if body["event_id"] not in answered:
            answered.add(body["event_id"])
            say(text=f"You said {event['text']}", thread_ts=event["ts"])

    @app.event("app_home_opened")
    def home(event: dict[str, Any], client: WebClient) -> None:
        blocks = [{"type": "header", "text": plain("Daybreak")}]
        client.views_publish(user_id=event["user"], view={"type": "home", "blocks": blocks})

    @app.action("again")
    def again(ack: Any, body: dict[str, Any], client: WebClient) -> None:
        ack()
        channel, ts = body["channel"]["id"], body["message"]["ts"]
        client.chat_update(channel=channel, ts=ts, text="Once more", blocks=[BUTTONS])
        client.views_open(trigger_id=body["trigger_id"], view=FORM)

    @app.view("settings")
    def saved(ack: Any, view: dict[str, Any]) -> None:
        days = int(view["state"]["values"]["days"]["n"]["value"])
        if days > 365:
            ack(response_action="errors", errors={"days": "365 at most."})
        else:
            ack()

    return app


class Server(ThreadingMixIn, WSGIServer):
    """One thread for each request, so that a retry can arrive beside the first."""


class Quiet(WSGIRequestHandler):
    """Requests are not printed."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def listening(app: App) -> Iterator[str]:
    """The address of the app, served over HTTP."""
    server = make_server(
        "127.0.0.1", 0, SlackRequestHandler(app), server_class=Server, handler_class=Quiet
    )
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/slack/events"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
        app.listener_runner.listener_executor.shutdown()


@pytest.fixture
def bot_url(workspace: Workspace) -> Iterator[str]:
    """The small bot over HTTP."""
    with listening(small_bot(workspace.bot_client())) as url:
        yield url


def test_a_command_is_acknowledged_answered_and_read_back(
    workspace: Workspace, bot_url: str
) -> None:
    ack = workspace.over_http(bot_url).command("segment last 30 days")
    assert (ack.status, ack.text) == (200, "Working on segment last 30 days …")
    assert ack.seconds < 3
    message = workspace.wait_for_message("Answer to segment last 30 days")
    assert [b["type"] for b in message["blocks"]] == ["table", "actions"]
    assert message["blocks"][0]["rows"] == TABLE["rows"]
    assert workspace.sink.wait_for().body["text"] == "Done"
    with_file = workspace.proxy.wait_for(lambda: [m for m in workspace.history() if m.get("files")])
    assert workspace.file_bytes(with_file[0]) == CSV
    assert workspace.proxy.calls_of("upload")[0].arguments["bytes"] == len(CSV)
    assert workspace.proxy.refusals == []


def test_a_forged_or_stale_request_is_turned_away(workspace: Workspace, bot_url: str) -> None:
    driver = workspace.over_http(bot_url)
    way_in = driver.way_in
    assert isinstance(way_in, OverHttp)
    way_in.forged = True
    assert driver.command("segment").status == 401
    way_in.forged, way_in.age = False, 600
    assert driver.command("segment").status == 401
    assert workspace.history() == []


def test_a_mention_is_answered_once_in_its_thread(workspace: Workspace, bot_url: str) -> None:
    driver = workspace.over_http(bot_url)
    asked = workspace.slack.chat_postMessage(channel=workspace.channel, text="kpis?")
    ack = driver.mention("kpis", ts=asked["ts"], event_id="Ev1")
    assert ack.status == 200

    def replies() -> list[dict[str, Any]]:
        return workspace.replies(asked["ts"])

    assert "kpis" in workspace.proxy.wait_for(replies)[0]["text"]
    assert driver.mention("kpis", ts=asked["ts"], event_id="Ev1", retry=1).status == 200
    assert driver.mention("rules", ts=asked["ts"], event_id="Ev2").status == 200
    workspace.proxy.wait_for(lambda: [m for m in replies() if "rules" in m["text"]])
    assert len(replies()) == 2


def test_the_home_is_published(workspace: Workspace, bot_url: str) -> None:
    assert workspace.over_http(bot_url).open_home().status == 200
    call = workspace.proxy.wait_for(lambda: workspace.proxy.calls_of("views.publish"))[0]
    assert call.answer["ok"] is True
    assert call.arguments["view"]["blocks"][0]["text"]["text"] == "Daybreak"


def test_a_click_updates_the_message_and_opens_a_form(workspace: Workspace, bot_url: str) -> None:
    driver = workspace.over_http(bot_url)
    posted = workspace.slack.chat_postMessage(
        channel=workspace.channel, text="First", blocks=[BUTTONS]
    )
    action = {"action_id": "again", "type": "button", "value": "x"}
    assert driver.click({"ts": posted["ts"], "text": "First"}, action).status == 200
    opened = workspace.proxy.wait_for(lambda: workspace.proxy.calls_of("views.open"))[0]
    assert opened.answer["ok"] is True
    assert workspace.history()[0]["text"] == "Once more"
    values = {"days": {"n": {"type": "number_input", "value": "30"}}}
    accepted = driver.submit(FORM, values)
    assert (accepted.status, accepted.body) == (200, "")
    values["days"]["n"]["value"] = "9999"
    refused = driver.submit(FORM, values).body
    assert refused == {"response_action": "errors", "errors": {"days": "365 at most."}}


def test_socket_mode_goes_round(workspace: Workspace) -> None:
    app = small_bot(workspace.bot_client())
    handler = SocketModeHandler(app, APP_TOKEN)
    with closing(handler):
        handler.connect()
        driver = workspace.over_socket()
        ack = driver.command("ab checkout_v2")
        assert (ack.status, ack.text) == (200, "Working on ab checkout_v2 …")
        assert workspace.wait_for_message("Answer to ab checkout_v2")["blocks"]
        assert workspace.sink.wait_for().body["text"] == "Done"
        asked = workspace.slack.chat_postMessage(channel=workspace.channel, text="kpis?")
        assert driver.mention("kpis", ts=asked["ts"]).status == 200
        replies = workspace.proxy.wait_for(lambda: workspace.replies(asked["ts"]))
        assert replies[0]["text"].endswith("kpis")
        values = {"days": {"n": {"type": "number_input", "value": "366"}}}
        assert driver.submit(FORM, values).body["response_action"] == "errors"
    app.listener_runner.listener_executor.shutdown()


def test_a_message_that_slack_would_refuse_is_refused(workspace: Workspace) -> None:
    bot = workspace.bot_client()
    table = copy.deepcopy(TABLE)
    table["rows"] = [[{"type": "raw_text", "text": ""}]]
    with pytest.raises(SlackApiError) as caught:
        bot.chat_postMessage(channel=workspace.channel, text="x", blocks=[table])
    assert caught.value.response["error"] == "invalid_blocks"
    assert workspace.proxy.refusals[0].faults[0].path == "blocks[0].rows[0][0].text"
    with pytest.raises(SlackApiError, match="invalid_arguments"):
        bot.views_open(trigger_id="1", view={**FORM, "title": plain("x" * 25)})
    with pytest.raises(SlackApiError, match="invalid_arguments"):
        bot.files_upload_v2(channel=workspace.channel, content=b"\x89PNG", filename="orders.png")
    assert [r.method for r in workspace.proxy.refusals] == [
        "chat.postMessage",
        "views.open",
        "files.getUploadURLExternal",
    ]
    assert workspace.history() == []


def test_faults_are_met_in_the_order_in_which_they_were_laid(workspace: Workspace) -> None:
    bot, channel = workspace.bot_client(), workspace.channel

    def post(text: str) -> Any:
        return bot.chat_postMessage(channel=channel, text=text)

    workspace.proxy.upset(
        "chat.postMessage", Limited(7), Broken(503), Refused("not_in_channel"), Lost(), Slow(0.2)
    )
    with pytest.raises(SlackApiError) as limited:
        post("one")
    assert limited.value.response.status_code == 429
    assert limited.value.response.headers["Retry-After"] == "7"
    with pytest.raises(SlackApiError) as broken:
        post("two")
    assert broken.value.response.status_code == 503
    with pytest.raises(SlackApiError, match="not_in_channel"):
        post("three")
    with pytest.raises(OSError):  # noqa: PT011 - what a cut connection raises differs
        post("four")
    assert post("five")["ok"]
    assert post("six")["ok"]
    assert [m["text"] for m in workspace.history()] == ["six", "five", "four"]
    calls = workspace.proxy.calls_of("chat.postMessage")
    assert [c.status for c in calls] == [429, 503, 200, 0, 200, 200]
    assert [c.reached for c in calls] == [False, False, False, True, True, True]
    assert calls[4].at - calls[3].at >= 0.2


def test_a_response_url_has_five_uses(workspace: Workspace) -> None:
    url = workspace.sink.new_url()
    taken = [workspace.sink.take(url, {"text": str(i)}).error for i in range(6)]
    assert taken == [""] * 5 + ["used_url"]
    assert workspace.sink.take(workspace.sink.new_url(), {"blocks": []}).error == "invalid_blocks"


def test_a_stream_becomes_a_message(workspace: Workspace) -> None:
    bot, channel = workspace.bot_client(), workspace.channel
    asked = workspace.slack.chat_postMessage(channel=channel, text="kpis?")
    begun = bot.chat_startStream(channel=channel, thread_ts=asked["ts"], markdown_text="Orders ")
    bot.chat_appendStream(channel=channel, ts=begun["ts"], markdown_text="are up.")
    bot.chat_stopStream(channel=channel, ts=begun["ts"], blocks=[TABLE])
    thread = workspace.slack.conversations_replies(channel=channel, ts=asked["ts"])["messages"]
    assert thread[-1]["text"] == "Orders are up."
    assert thread[-1]["blocks"][0]["type"] == "table"
    with pytest.raises(SlackApiError, match="message_not_in_streaming_state"):
        bot.chat_appendStream(channel=channel, ts=begun["ts"], markdown_text="late")


def test_what_the_emulator_lacks_is_answered(workspace: Workspace) -> None:
    bot = workspace.bot_client()
    workspace.proxy.user_groups["analysts"] = ("S1", (workspace.user,))
    assert bot.usergroups_list()["usergroups"][0]["handle"] == "analysts"
    assert bot.usergroups_users_list(usergroup="S1")["users"] == [workspace.user]
    checks: tuple[Callable[[], Any], ...] = (
        bot.api_test,
        lambda: bot.assistant_threads_setStatus(channel_id="D1", thread_ts="1", status="thinking"),
    )
    assert all(check()["ok"] for check in checks)
    with pytest.raises(SlackApiError, match="unknown_method"):
        bot.api_call("nothing.known")
    with pytest.raises(SlackApiError, match="missing_scope"):
        workspace.bot_client("xoxb-no-scopes").chat_postMessage(channel=workspace.channel, text="x")


def test_a_socket_is_connected_anew_when_slack_asks(workspace: Workspace) -> None:
    app = small_bot(workspace.bot_client())
    handler = SocketModeHandler(app, APP_TOKEN)
    with closing(handler):
        handler.connect()
        workspace.proxy.wait_for(lambda: workspace.proxy.connected == 1)
        workspace.proxy.refresh_connections()
        opened = workspace.proxy.calls_of
        workspace.proxy.wait_for(lambda: len(opened("apps.connections.open")) == 2)
        assert workspace.over_socket().command("still here").status == 200
        assert workspace.wait_for_message("Answer to still here")
        assert workspace.sink.wait_for()
    app.listener_runner.listener_executor.shutdown()


@pytest.mark.usefixtures("emulator_installed")
def test_the_emulator_is_gone_afterwards(tmp_path: Path) -> None:
    with emulator(tmp_path / "log") as url:
        port = urlsplit(url).port or 0
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


@pytest.mark.usefixtures("emulator_installed")
def test_an_emulator_that_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.e2e.emulator.SEED", tmp_path / "nothing.yaml")
    with (
        pytest.raises(EmulatorError, match=r"nothing\.yaml"),
        emulator(tmp_path / "log"),
    ):
        pytest.fail("it started")
