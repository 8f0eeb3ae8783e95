"""The bot itself, over real sockets: every way in, every way out, both transports."""

import json
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from bot.slack.sendable import assert_sendable
from tests.e2e.driver import Driver, OverHttp, Workspace, button
from tests.e2e.proxy import Limited, Refused
from tests.e2e.running import bot_settings, chores_are_done, running

pytestmark = pytest.mark.e2e

KPIS = "kpis last 30 days"


def test_a_command_is_acknowledged_and_answered(workspace: Workspace, driver: Driver) -> None:
    ack = driver.command(KPIS)
    assert (ack.status, ack.text) == (200, f"Working on `{KPIS}` …")
    assert ack.seconds < 1
    message = workspace.wait_for_message("Simulated")
    assert_sendable({"text": message["text"], "blocks": message["blocks"]})
    types = [b["type"] for b in message["blocks"]]
    assert types[:2] == ["header", "context"]
    assert "section" in types
    assert types[-3:] == ["actions", "actions", "context"]
    assert KPIS in message["blocks"][1]["elements"][0]["text"]
    asked = workspace.proxy.calls_of("chat.postMessage")[0].arguments
    assert asked["unfurl_links"] in (False, "false", "0")


def test_each_follow_up_is_answered_in_the_thread(workspace: Workspace, driver: Driver) -> None:
    driver.command(KPIS)
    message = workspace.wait_for_message("Simulated")
    asks = [e["action_id"] for b in message["blocks"] for e in b.get("elements", [])
            if str(e.get("action_id", "")).startswith("ask_")]  # fmt: skip
    assert asks
    for n, action_id in enumerate(asks, 1):
        ack = driver.click(message, button(message, action_id))
        assert ack.status == 200
        assert ack.seconds < 1

        def enough(n: int = n) -> bool:
            told = [r for r in workspace.sink.responses if not r.error]
            return (
                len([m for m in workspace.replies(message["ts"]) if m.get("blocks")]) + len(told)
                >= n
            )

        workspace.proxy.wait_for(enough, 60)
    assert driver.click(message, button(message, "again")).status == 200
    headline = message["text"].splitlines()[0]
    workspace.proxy.wait_for(
        lambda: [m for m in workspace.replies(message["ts"]) if headline in m["text"]], 30
    )


def test_the_sql_goes_to_who_asks(workspace: Workspace, driver: Driver) -> None:
    driver.command(KPIS)
    message = workspace.wait_for_message("Simulated")
    driver.click(message, button(message, "sql"))
    told = workspace.sink.wait_for(lambda r: "SELECT" in r.body["text"].upper())
    assert told.body["response_type"] == "ephemeral"
    assert told.body["replace_original"] is False
    assert [m for m in workspace.history() if "SELECT" in m["text"].upper()] == []


def test_an_answer_is_shared_in_the_chosen_channel(workspace: Workspace, driver: Driver) -> None:
    driver.command(KPIS)
    message = workspace.wait_for_message("Simulated")
    driver.click(message, button(message, "share"))
    opened = workspace.proxy.wait_for(lambda: workspace.proxy.calls_of("views.open"))[0]
    assert opened.answer["ok"] is True
    view = opened.arguments["view"]
    assert view["private_metadata"] == KPIS
    channels = workspace.slack.conversations_list()["channels"]
    target = next(c["id"] for c in channels if c["name"] == "kpi-digest")
    chosen = {"type": "conversations_select", "selected_conversation": ""}
    refused = driver.submit(view, {"channel": {"channel": chosen}})
    assert refused.body["errors"] == {"channel": "Choose a channel."}
    chosen["selected_conversation"] = target
    assert driver.submit(view, {"channel": {"channel": chosen}}).status == 200
    shared = workspace.proxy.wait_for(lambda: workspace.history(target), 30)[0]
    assert shared["blocks"][-1]["elements"][0]["text"] == f"Shared by <@{workspace.user}>"


def test_a_mention_is_answered_once_in_its_thread(workspace: Workspace, driver: Driver) -> None:
    asked = workspace.slack.chat_postMessage(channel=workspace.channel, text="kpis?")
    for retry in range(3):
        ack = driver.mention(KPIS, ts=asked["ts"], event_id="Ev1", retry=retry)
        assert ack.status == 200
    workspace.proxy.wait_for(lambda: workspace.replies(asked["ts"]), 30)
    driver.mention("status", ts=asked["ts"], event_id="Ev2")
    workspace.proxy.wait_for(lambda: len(workspace.proxy.calls_of("chat.postMessage")) == 2, 30)
    texts = [m["text"] for m in workspace.replies(asked["ts"]) if m.get("blocks")]
    assert ["Revenue" in text for text in texts] == [True, False]


def test_a_thread_goes_on_from_its_last_question(workspace: Workspace, driver: Driver) -> None:
    driver.command(KPIS)
    message = workspace.wait_for_message("Simulated", 30)
    mention = {"type": "app_mention", "user": driver.user, "channel": driver.channel,
               "text": "<@U00000DAY> by country", "ts": "9.9",
               "thread_ts": message["ts"]}  # fmt: skip
    assert driver.event(mention).status == 200

    def understood() -> list[str]:
        return [m["blocks"][1]["elements"][0]["text"] for m in workspace.replies(message["ts"])
                if m.get("blocks")]  # fmt: skip

    assert workspace.proxy.wait_for(understood, 30) == [f"Understood: {KPIS} by country"]


def test_a_direct_message_is_answered_there(workspace: Workspace, driver: Driver) -> None:
    opened = workspace.slack.conversations_open(users=[workspace.user])
    direct = opened["channel"]["id"]
    asked = workspace.slack.chat_postMessage(channel=direct, text="status")
    assert driver.direct_message("status", direct, ts=asked["ts"]).status == 200
    found = workspace.proxy.wait_for(lambda: workspace.replies(asked["ts"], direct), 30)
    assert "through" in found[0]["text"]


def test_home_shows_key_figures_and_what_was_asked(workspace: Workspace, driver: Driver) -> None:
    driver.command("kpis last 90 days")
    workspace.wait_for_message("Simulated", 30)
    assert driver.open_home().status == 200
    call = workspace.proxy.wait_for(lambda: workspace.proxy.calls_of("views.publish"), 30)[0]
    assert call.answer["ok"] is True
    shown = json.dumps(call.arguments["view"])
    assert "kpis yesterday" in shown
    assert "kpis last 90 days" in shown
    view = call.arguments["view"]
    asked = next(e for b in view["blocks"] for e in b.get("elements", [])
                 if e.get("value") == "status")  # fmt: skip
    action = {"action_id": asked["action_id"], "type": "button", "value": "status"}
    container = {"type": "view", "view_id": "V1"}
    assert driver.click({"ts": "1"}, action, channel=None, container=container).status == 200
    direct = workspace.slack.conversations_open(users=[workspace.user])["channel"]["id"]
    found = workspace.proxy.wait_for(lambda: workspace.history(direct), 30)
    assert "through" in found[0]["text"]


def test_a_mistake_is_told_to_the_asker_alone(workspace: Workspace, driver: Driver) -> None:
    driver.command("kpsi last 30 days")
    told = workspace.sink.wait_for(lambda r: "Did you mean" in r.body["text"])
    assert told.body["response_type"] == "ephemeral"
    driver.mention("kpsi last 30 days")
    call = workspace.proxy.wait_for(lambda: workspace.proxy.calls_of("chat.postEphemeral"))[0]
    assert call.arguments["user"] == workspace.user
    assert workspace.history() == []


def test_help_does_not_fill_the_channel(workspace: Workspace, driver: Driver) -> None:
    driver.command("")
    told = workspace.sink.wait_for(lambda r: "blocks" in r.body)
    assert told.body["response_type"] == "ephemeral"
    assert "data_table" in [b["type"] for b in told.body["blocks"]]
    assert workspace.history() == []


def test_a_refused_block_goes_a_rung_down(workspace: Workspace, driver: Driver) -> None:
    workspace.proxy.upset("chat.postMessage", Refused("invalid_blocks"), Limited(1))
    driver.command("kpis last 30 days by country")
    message = workspace.wait_for_message("Simulated", 30)
    types = [b["type"] for b in message["blocks"]]
    assert "data_table" not in types
    assert "data_visualization" not in types
    assert "rich_text" in types
    assert len(workspace.proxy.calls_of("chat.postMessage")) == 3


def test_where_we_are_no_member_the_response_url_answers(
    workspace: Workspace, driver: Driver
) -> None:
    workspace.proxy.upset("chat.postMessage", Refused("not_in_channel"))
    driver.command(KPIS)
    told = workspace.sink.wait_for(lambda r: "Simulated" in r.body["text"], 30)
    assert told.body["response_type"] == "in_channel"


def test_a_stranger_gets_nothing(workspace: Workspace, driver: Driver) -> None:
    ack = driver.command(KPIS, team_id="T0OTHER")
    assert (ack.status, ack.text.split()[:3]) == (200, ["I", "only", "answer"])
    assert driver.mention(KPIS, is_ext_shared_channel=True).status == 200
    driver.command("status")
    workspace.sink.wait_for(lambda r: "blocks" in r.body)
    assert workspace.history() == []
    assert len(workspace.sink.responses) == 1


def test_forged_stale_and_repeated_requests_do_nothing(
    workspace: Workspace, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = bot_settings(workspace, tmp_path, "http", store=store_url)
    with running(workspace, settings, monkeypatch) as (service, driver):
        workspace.proxy.wait_for(lambda: chores_are_done(service.queue), 60)
        way_in = driver.way_in
        assert isinstance(way_in, OverHttp)
        way_in.forged = True
        assert driver.command("status").status == 401
        way_in.forged, way_in.age = False, 301
        assert driver.command("status").status == 401
        way_in.age = 0
        trigger = driver.trigger()
        assert driver.command("status", trigger_id=trigger).text.startswith("Working on")
        assert driver.command("status", trigger_id=trigger).text == ""
        workspace.sink.wait_for(lambda r: "blocks" in r.body)
        base = f"http://127.0.0.1:{settings.slack.port}"
        for path, body in (("/healthz", b"ok"), ("/readyz", b"ready")):
            with urlopen(base + path, timeout=5) as response:
                assert response.read() == body
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{base}/other", timeout=5)
    assert len(workspace.sink.responses) == 1
