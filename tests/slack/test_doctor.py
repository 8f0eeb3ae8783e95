"""The doctor: each fault is named with what to do, and a sound bot has none."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.web import SlackResponse

from bot.config import Settings, StateSettings, StoreSettings
from bot.slack.doctor import (
    DISK_FAIL_BYTES,
    Check,
    checks,
    doctor,
    of_clock,
    of_disk,
    of_scopes,
    of_templates,
    templates,
)
from bot.slack.sendable import assert_sendable
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

    def _response(
        self, method: str, data: dict[str, Any], status: int, headers: dict[str, str]
    ) -> SlackResponse:
        data = {"user": "daybreak", "user_id": "U1", "team": "Shop"} | data
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
