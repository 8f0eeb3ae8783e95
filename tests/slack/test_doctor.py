"""The doctor: each fault is named with what to do, and a sound bot has none."""

import datetime as dt
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.oauth.installation_store import Installation
from slack_sdk.web import SlackResponse

from bot.config import OperateSettings, Settings, SlackSettings, StateSettings, StoreSettings
from bot.slack.doctor import (
    DISK_FAIL_BYTES,
    Check,
    checks,
    doctor,
    of_clock,
    of_disk,
    of_scopes,
    of_slack,
    of_templates,
    templates,
)
from bot.slack.oauth import workspaces_of
from bot.slack.sendable import assert_sendable
from storage import processes
from storage.state import State
from tests.slack.conftest import FakeSlack

TOKENS = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A store and a memory of its own."""
    return Settings(
        store=StoreSettings(url=f"duckdb:///{tmp_path / 'store.duckdb'}"),
        state=StateSettings(url=f"sqlite:///{tmp_path / 'state.sqlite'}"),
    )


class Told(FakeSlack):
    """A Slack that says which scopes the token has, and what time it is."""

    def __init__(self, **headers: str) -> None:
        """`headers` of each answer."""
        super().__init__()
        self.told = headers
        self.team = "T1"

    def _response(
        self, method: str, data: dict[str, Any], status: int, headers: dict[str, str]
    ) -> SlackResponse:
        data = {"user": "daybreak", "user_id": "U1", "team": "Shop", "team_id": self.team} | data
        return super()._response(method, data, status, self.told | headers)


def found(settings: Settings, slack: FakeSlack, environment: dict[str, str]) -> dict[str, Check]:
    """The checks by name; of one name the last."""
    seen: Iterator[Check] = checks(settings, lambda _: slack, live=False, environment=environment)
    return {check.name: check for check in seen}


def test_without_slack_s_secrets_the_rest_is_looked_at(
    settings: Settings, slack: FakeSlack
) -> None:
    said: list[str] = []
    assert doctor(settings, lambda _: slack, environment={}, say=said.append) == 0
    assert any("ok    state: sqlite, schema 00" in line for line in said)
    assert any("ok    store: DuckDB" in line for line in said)
    assert any("warn  SLACK_BOT_TOKEN: not set" in line for line in said)
    assert not slack.calls


def test_a_state_that_cannot_be_opened_fails(tmp_path: Path, slack: FakeSlack) -> None:
    settings = Settings(
        store=StoreSettings(url=f"duckdb:///{tmp_path / 'store.duckdb'}"),
        state=StateSettings(url="sqlite:////proc/no/state.sqlite"),
    )
    assert doctor(settings, lambda _: slack, environment={}, say=lambda _: None) == 1


def test_a_secret_s_file_that_others_can_read_fails(
    settings: Settings, slack: FakeSlack, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("xoxb-1")
    file.chmod(0o644)
    check = found(settings, slack, {"SLACK_BOT_TOKEN_FILE": str(file)})["SLACK_BOT_TOKEN"]
    assert (check.status, check.hint) == ("fail", "Run `chmod 600` on it.")


def test_a_token_that_slack_refuses_fails(settings: Settings, slack: FakeSlack) -> None:
    slack.fail("auth.test", slack.refuse("invalid_auth"))
    check = found(settings, slack, TOKENS)["token"]
    assert check.status == "fail"
    assert "invalid_auth" in check.said


def test_slack_s_clock_is_compared(settings: Settings) -> None:
    slow = Told(Date="Mon, 02 Nov 2020 00:00:00 GMT")
    assert found(settings, slow, TOKENS)["Slack's clock"].status == "fail"


def test_a_missing_scope_is_named() -> None:
    check = of_scopes("chat:write,commands")
    assert check.status == "fail"
    assert "files:write" in check.said
    assert of_scopes(None).status == "warn"


@pytest.mark.parametrize(("seconds", "status"), [(0.5, "ok"), (5, "warn"), (-90, "fail")])
def test_clocks_apart(seconds: float, status: str) -> None:
    ours = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)
    assert of_clock("clock", ours + dt.timedelta(seconds=seconds), ours).status == status


def test_the_token_of_each_workspace_is_looked_at(settings: Settings) -> None:
    several = SlackSettings(
        mode="http",
        public_url="https://bot.example",
        workspaces=("T1ONE", "T2TWO", "T3OLD", "T4NO"),
    )
    environment = {
        "SLACK_SIGNING_SECRET": "s",
        "SLACK_CLIENT_ID": "1.2",
        "SLACK_CLIENT_SECRET": "secret",
        "DAYBREAK_STATE_KEY": "k" * 32,
    }
    settings = settings.model_copy(update={"slack": several})
    state = State.open(settings.state.url)
    kept = workspaces_of(settings, state, environment).store
    for team, token, expires in (
        ("T1ONE", "xoxb-1", None),
        ("T2TWO", "xoxb-2", None),
        ("T3OLD", "xoxe.xoxb-3", 1_000_000_000),
    ):
        kept.save(
            Installation(
                app_id="A1", team_id=team, user_id="U1", bot_token=token,
                bot_id="B1", bot_user_id="U2", bot_token_expires_at=expires,
            )
        )  # fmt: skip
    state.close()
    clients = {"xoxb-1": Told(**{"x-oauth-scopes": "commands"}), "xoxb-2": Told()}
    clients["xoxb-1"].team, clients["xoxb-2"].team = "T1ONE", "T2TWO"
    clients["xoxb-2"].fail("auth.test", clients["xoxb-2"].refuse("token_revoked"))
    asked = checks(settings, clients.__getitem__, live=False, environment=environment)
    seen = {check.name: check for check in asked}
    assert seen["token of T1ONE"].status == "ok"
    assert "files:write" in seen["scopes of T1ONE"].said
    assert (seen["token of T2TWO"].status, seen["token of T2TWO"].said) == (
        "fail", "Slack does not take it (token_revoked)"
    )  # fmt: skip
    assert "expired" in seen["token of T3OLD"].said
    assert seen["token of T4NO"].hint == "Open https://bot.example/slack/install and choose it."
    assert "token" not in seen
    keyless = checks(settings, clients.__getitem__, live=False, environment=environment | {
        "DAYBREAK_STATE_KEY": "x" * 32
    })  # fmt: skip
    seen = {check.name: check for check in keyless}
    assert "not readable" in seen["token of T1ONE"].said


def test_a_token_of_another_workspace_fails(settings: Settings) -> None:
    slack = Told()
    slack.team = "T2TWO"
    (check,) = of_slack(slack, settings, None, live=False, team="T1ONE")
    assert (check.status, check.said) == ("fail", "it is that of T2TWO")


def on_port(settings: Settings, port: int) -> Settings:
    """Told to listen there."""
    return settings.model_copy(update={"operate": OperateSettings(port=port)})


def test_a_port_is_looked_at_only_where_one_is_named(settings: Settings, slack: FakeSlack) -> None:
    assert "operate.port" not in found(settings, slack, {})


def test_a_port_that_another_program_holds_fails(settings: Settings, slack: FakeSlack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        check = found(on_port(settings, port), slack, {})["operate.port"]
        assert (check.status, check.said.split(": ")[0]) == (
            "fail", f"nobody can listen on 127.0.0.1:{port}",
        )  # fmt: skip
        assert "change operate.host and operate.port" in check.hint
    assert found(on_port(settings, port), slack, {})["operate.port"].status == "ok"


def test_a_port_that_the_running_bot_holds_is_well(settings: Settings, slack: FakeSlack) -> None:
    state = State.open(settings.state.url)
    processes.beat(state, "edge-1", "edge", {})
    state.close()
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        check = found(on_port(settings, port), slack, {})["operate.port"]
    assert (check.status, check.said) == ("ok", f"127.0.0.1:{port} is held while edge-1 runs")


def test_a_full_disk_fails() -> None:
    assert of_disk(Path("/x/y"), DISK_FAIL_BYTES - 1).status == "fail"


def test_every_template_is_sendable(settings: Settings) -> None:
    kinds = set()
    for name, surface, payload in templates(settings):
        assert_sendable(payload, surface)
        kinds.add(name.split(",")[0].split(" of ")[0])
    assert kinds == {"answer", "detail", "error", "sentence", "progress", "home", "form"}


def test_slack_judges_every_template(settings: Settings, slack: FakeSlack) -> None:
    slack.fail("blocks.validate", slack.refuse("invalid_blocks"))
    judged = list(of_templates(slack, settings))
    assert [check.status for check in judged] == ["fail", "ok"]
    assert judged[0].name == "template answer, native"
    assert len(slack.of("blocks.validate")) == len(list(templates(settings)))
