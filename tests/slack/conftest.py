"""A bot over an empty store, and a Slack that only remembers what it was told."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse, WebClient

from bot.config import Settings, SlackSettings, StateSettings, StoreSettings
from bot.setup import Bot

TEAM, BOT_ID, BOT_USER = "T000000001", "B00000DAY", "U00000DAY"


class FakeSlack(WebClient):
    """Answers every call at once; `fail` lays out errors for the next calls of a method."""

    def __init__(self) -> None:
        """No address: nothing is sent."""
        super().__init__("xoxb-test", base_url="http://127.0.0.1:1/api/", retry_handlers=[])
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.failures: dict[str, list[BaseException]] = {}
        self.changed = threading.Condition()

    def fail(self, method: str, *errors: BaseException) -> None:
        """The next calls of `method` raise these."""
        self.failures.setdefault(method, []).extend(errors)

    def api_call(self, api_method: str, **more: Any) -> SlackResponse:  # type: ignore[override]
        """Remember, then answer or raise."""
        arguments = dict(more.get("json") or more.get("params") or more.get("data") or {})
        with self.changed:
            self.calls.append((api_method, arguments))
            n = len(self.calls)
            self.changed.notify_all()
        if self.failures.get(api_method):
            raise self.failures[api_method].pop(0)
        channel: Any = arguments.get("channel", "C1")
        if api_method == "conversations.open":
            channel = {"id": "D1"}
        data = {"ok": True, "ts": f"{n}.0", "message_ts": f"{n}.0", "channel": channel}
        return self._response(api_method, data, 200, {})

    def refuse(self, error: str, status: int = 200, **headers: str) -> SlackApiError:
        """An error as slack_sdk raises it."""
        response = self._response("x", {"ok": False, "error": error}, status, headers)
        return SlackApiError(error, response)

    def _response(
        self, method: str, data: dict[str, Any], status: int, headers: dict[str, str]
    ) -> SlackResponse:
        return SlackResponse(
            client=self,
            http_verb="POST",
            api_url=method,
            req_args={},
            data=data,
            headers=headers,
            status_code=status,
        )

    def of(self, method: str) -> list[dict[str, Any]]:
        """The calls of one method."""
        return [arguments for name, arguments in self.calls if name == method]

    def wait_for(self, method: str, n: int = 1) -> list[dict[str, Any]]:
        """The calls of a method once there are `n`."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.of(method)) >= n, 10):
                raise AssertionError(f"no {n} calls of {method}: {self.calls}")
        return self.of(method)


@pytest.fixture
def slack() -> FakeSlack:
    """A Slack without a network."""
    return FakeSlack()


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    """A bot over an empty store of its own."""
    settings = Settings(
        store=StoreSettings(url=f"duckdb:///{tmp_path / 'store.duckdb'}"),
        state=StateSettings(url=f"sqlite:///{tmp_path / 'state.sqlite'}"),
        slack=SlackSettings(mode="http"),
    )
    opened = Bot.open(settings)
    yield opened
    opened.close()
