"""Outsiders over real sockets: whatever Slack calls them, and whichever way they come."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.e2e.driver import TEAM, Driver, Workspace
from tests.e2e.running import Mode, bot_settings, running

pytestmark = pytest.mark.e2e

PERSON = {"name": "eve", "team_id": TEAM}
OUTSIDERS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "guest": (PERSON | {"is_restricted": True}, {}),
    "single-channel guest": (PERSON | {"is_restricted": True, "is_ultra_restricted": True}, {}),
    "app": (PERSON | {"is_bot": True}, {}),
    "stranger": (PERSON | {"team_id": "T0THER", "is_stranger": True}, {}),
    "connected channel": (PERSON, {"is_ext_shared": True}),
    "channel of the organisation": (PERSON, {"is_org_shared": True}),
    "channel that is invited to": (PERSON, {"is_pending_ext_shared": True}),
    "channel that we do not see": (PERSON, None),
}


@pytest.fixture(params=get_args(Mode))
def driver(
    request: pytest.FixtureRequest,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Driver]:
    """Eve in #ops, over each transport in turn."""
    settings = bot_settings(workspace, tmp_path, request.param)
    with running(workspace, settings, monkeypatch) as (_, acting):
        yield acting
    assert workspace.proxy.refusals == []


def ways(driver: Driver) -> dict[str, Callable[[], Any]]:
    """Every way in."""
    message = {"ts": "1.1", "text": "x", "blocks": []}
    button = {"action_id": "again", "type": "button", "value": "schema"}
    form = {"callback_id": "share", "type": "modal", "private_metadata": "schema"}
    chosen = {"selected_conversation": driver.channel, "type": "conversations_select"}
    return {
        "command": lambda: driver.command("schema"),
        "mention": lambda: driver.mention("schema"),
        "direct message": lambda: driver.direct_message("schema", "D0000000001"),
        "home": driver.open_home,
        "button": lambda: driver.click(message, button),
        "form": lambda: driver.submit(form, {"channel": {"channel": chosen}}),
    }


@pytest.mark.parametrize("kind", OUTSIDERS)
def test_outsiders_get_nothing_by_any_way(workspace: Workspace, driver: Driver, kind: str) -> None:
    user, channel = OUTSIDERS[kind]

    def place(*_: Any) -> dict[str, Any]:
        if channel is None:
            return {"ok": False, "error": "channel_not_found"}
        return {"ok": True, "channel": {"id": driver.channel} | channel}

    workspace.proxy.answers["users.info"] = lambda *_: {
        "ok": True, "user": user | {"id": driver.user},
    }  # fmt: skip
    workspace.proxy.answers["conversations.info"] = place
    in_channel = user is not PERSON or ("direct message", "home")
    for way, ask in ways(driver).items():
        if in_channel is not True and way in in_channel:
            continue  # there a member is no outsider
        ack = ask()
        assert (ack.status, ack.seconds < 1) == (200, True), way

    def said() -> list[str]:
        calls = [c.arguments for c in workspace.proxy.calls if c.method.startswith("chat.post")]
        views = [c.arguments["view"] for c in workspace.proxy.calls_of("views.publish")]
        return [str(b) for b in (*calls, *views, *(r.body for r in workspace.sink.responses))]

    wanted = 3
    workspace.proxy.wait_for(lambda: len(said()) >= wanted, 20)
    assert not any("entities" in text or "data_table" in text for text in said())
