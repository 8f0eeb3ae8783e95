"""A workspace installs the app by OAuth, is answered with its own token, and uninstalls."""

from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pytest

from tests.e2e.driver import BOT_TOKEN, TEAM, Driver, Workspace
from tests.e2e.running import bot_settings, running

pytestmark = pytest.mark.e2e

#: Registered with the emulator's app; nobody listens there: the browser's way is gone by hand.
PUBLIC = "http://127.0.0.1:3000"


class Stay(HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *_: Any) -> None:
        return None


def answer(url: str, form: dict[str, str] | None = None, **headers: str) -> tuple[int, Any, str]:
    """Status, headers and body, whatever the status is."""
    body = urlencode(form).encode() if form else None
    try:
        with build_opener(Stay()).open(Request(url, body, headers), timeout=10) as response:
            return response.status, response.headers, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def install(workspace: Workspace, root: str) -> tuple[int, str]:
    """As a browser does it: to Slack, allow, and back."""
    status, headers, _ = answer(f"{root}/slack/install")
    assert status == 302
    asked = {k: v[0] for k, v in parse_qs(urlsplit(headers["Location"]).query).items()}
    upstream = workspace.proxy.upstream
    status, allowed, _ = answer(
        f"{upstream}/oauth/v2/authorize/callback", asked | {"user_id": workspace.user}
    )
    assert status == 302
    back = allowed["Location"].replace(PUBLIC, root)
    cookie = headers["Set-Cookie"].partition(";")[0]
    status, _, page = answer(back, Cookie=cookie)
    return status, page


def settings_of(workspace: Workspace, folder: Path, *teams: str, store: str = "") -> Any:
    return bot_settings(workspace, folder, "http", store=store, workspaces=teams, public_url=PUBLIC)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("SLACK_CLIENT_ID", "111.222")
    monkeypatch.setenv("SLACK_CLIENT_SECRET", "not-a-secret")
    monkeypatch.setenv("DAYBREAK_STATE_KEY", "k" * 32)
    return monkeypatch


def test_a_workspace_installs_is_answered_and_uninstalls(
    workspace: Workspace, tmp_path: Path, secrets: pytest.MonkeyPatch
) -> None:
    settings = settings_of(workspace, tmp_path, TEAM)
    with running(workspace, settings, secrets) as (_, driver):
        root = f"http://127.0.0.1:{settings.slack.port}"
        assert "only answer people of the workspace" in driver.command("grants").text
        status, page = install(workspace, root)
        assert (status, "Installed in" in page) == (200, True)
        answered(workspace, driver)
        gone = driver.event({"type": "app_uninstalled"})
        assert gone.status == 200
        assert "only answer people of the workspace" in driver.command("grants").text
    assert workspace.proxy.refusals == []


def answered(workspace: Workspace, driver: Driver) -> None:
    """Who installed is admin; the answer leaves with the new token alone."""
    assert driver.mention("grants").status == 200
    (posted,) = workspace.proxy.wait_for(lambda: workspace.proxy.calls_of("chat.postMessage"), 30)
    assert "You are an admin" in posted.arguments["text"]
    assert posted.answer["ok"]
    assert posted.token not in ("", BOT_TOKEN)
    assert "Working on" in driver.command("grants").text


def test_a_workspace_that_is_not_named_does_not_install(
    workspace: Workspace, tmp_path: Path, secrets: pytest.MonkeyPatch
) -> None:
    settings = settings_of(workspace, tmp_path, "T0THER")
    with running(workspace, settings, secrets) as (_, driver):
        status, page = install(workspace, f"http://127.0.0.1:{settings.slack.port}")
        assert (status, "not among those that I serve" in page) == (403, True)
        assert "only answer people of the workspace" in driver.command("grants").text
    assert workspace.proxy.calls_of("auth.revoke")
