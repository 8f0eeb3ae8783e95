"""The manifest asks for what the code registers and calls: no more, no less."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from slack_bolt.listener import CustomListener

from bot.config import SlackSettings
from bot.setup import Bot
from bot.slack.agent import PROMPTS
from bot.slack.app import ASK_ABOUT, ASK_ANYWHERE, Identity, slack_app
from bot.slack.post import Poster
from storage.queue import Queue
from tests.slack.conftest import BOT_ID, BOT_USER, TEAM, FakeSlack

ROOT = Path(__file__).parents[2]

#: What each call of the Web API needs (docs.slack.dev, reference/methods); none: any token will do.
SCOPES: dict[str, set[str]] = {
    "assistant_threads_setStatus": {"chat:write"},
    "assistant_threads_setSuggestedPrompts": {"assistant:write"},
    "assistant_threads_setTitle": {"assistant:write"},
    "auth_test": set(),
    "blocks_validate": set(),
    "chat_postMessage": {"chat:write"},
    "chat_postEphemeral": {"chat:write"},
    # who reads a channel
    "conversations_info": {"channels:read", "groups:read", "im:read"},
    # looks for its own message where Slack did not say whether it took it
    "conversations_history": {"channels:history", "groups:history", "im:history"},
    "chat_update": {"chat:write"},
    "chat_delete": {"chat:write"},
    "conversations_list": {"channels:read", "groups:read"},
    "conversations_open": {"im:write"},
    "conversations_replies": {"channels:history", "groups:history", "im:history"},
    "files_upload_v2": {"files:write"},
    "usergroups_users_list": {"usergroups:read"},
    "users_info": {"users:read"},
    "views_open": set(),
    "views_publish": set(),
    "views_update": set(),
}
EVENT_SCOPES = {
    "app_home_opened": set(),
    "app_mention": {"app_mentions:read"},
    "message.im": {"im:history"},
}


@pytest.fixture
def manifest() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "manifest.yaml").read_text())
    return read


def called() -> Iterator[str]:
    """The methods that the code calls on a client."""
    for path in (ROOT / "bot" / "slack").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                if owner == "client" or owner.endswith(".client"):
                    yield node.func.attr


def test_scopes_are_those_of_the_calls_and_events(manifest: dict[str, Any]) -> None:
    methods = set(called()) - {"is_connected"}  # that asks the socket, not Slack
    assert methods == set(SCOPES)
    events = manifest["settings"]["event_subscriptions"]["bot_events"]
    needed = {"commands"} | {scope for e in events for scope in EVENT_SCOPES[e]}
    needed |= {scope for method in methods for scope in SCOPES[method]}
    assert set(manifest["oauth_config"]["scopes"]["bot"]) == needed


def test_events_and_commands_are_those_registered(
    manifest: dict[str, Any], bot: Bot, slack: FakeSlack
) -> None:
    queue = Queue(bot.state, workers=1, waiting=1, per_person=1)
    app = slack_app(bot, queue, Poster(slack), Identity(TEAM, BOT_ID, BOT_USER))
    listeners = [x.ack_function.__name__ for x in app._listeners if isinstance(x, CustomListener)]
    app.listener_runner.listener_executor.shutdown()
    assert listeners == [
        "command",
        "mention",
        "message",
        "home",
        "ask",
        "ask",
        "change",
        "sql",
        "csv",
        "share",
        "cancel",
        "pick",
        "shared",
        "formed",
        "ask_anywhere",
        "ask_about",
    ]
    shortcuts = {s["callback_id"]: s["type"] for s in manifest["features"]["shortcuts"]}
    assert shortcuts == {ASK_ANYWHERE: "global", ASK_ABOUT: "message"}
    commands = [c["command"] for c in manifest["features"]["slash_commands"]]
    assert commands == [SlackSettings().command]
    events = manifest["settings"]["event_subscriptions"]["bot_events"]
    assert events == ["app_home_opened", "app_mention", "message.im"]
    assert manifest["features"]["app_home"]["home_tab_enabled"] is True
    assert manifest["settings"]["interactivity"]["is_enabled"] is True
    offered = manifest["features"]["agent_view"]["suggested_prompts"]
    known = {(p.title, p.question) for p in PROMPTS}
    assert {(p["title"], p["message"]) for p in offered} <= known
    assert manifest["settings"]["socket_mode_enabled"] is (SlackSettings().mode == "socket")


def test_lengths_are_those_that_slack_takes(manifest: dict[str, Any]) -> None:
    about = manifest["display_information"]
    agent = manifest["features"]["agent_view"]
    assert len(agent["agent_description"]) <= 300
    assert 1 <= len(agent["suggested_prompts"]) <= 4
    assert len(about["name"]) <= 35
    assert len(about["description"]) <= 140
    for command in manifest["features"]["slash_commands"]:
        assert len(command["command"]) <= 32
        assert len(command["usage_hint"]) <= 1_000
    for shortcut in manifest["features"]["shortcuts"]:
        assert len(shortcut["name"]) <= 24
        assert len(shortcut["description"]) <= 150
        assert len(shortcut["callback_id"]) <= 255
