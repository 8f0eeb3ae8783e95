"""A bot over an empty store, and a Slack that only remembers what it was told."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse, WebClient

from bot.access import Person, Place
from bot.config import AccessSettings, Settings, SlackSettings, StateSettings, StoreSettings
from bot.setup import Bot

TEAM, BOT_ID, BOT_USER = "T000000001", "B00000DAY", "U00000DAY"
ADMIN = "U0ADMIN"


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
        data["messages"] = []
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


class Members:
    """A directory in which all are members, but those that are named otherwise."""

    def __init__(self) -> None:
        """Nobody is named yet."""
        self.people: dict[str, Person | None] = {}
        self.places: dict[str, Place | None] = {}
        self.groups: dict[str, frozenset[str] | None] = {}
        #: What was looked up, and may be told without asking.
        self.asked: set[str] = set()

    def person(self, team: str, user: str, *, ask: bool) -> Person | None:
        """As named, else a member."""
        return self.people.get(user, "member") if self._may_tell(user, ask) else None

    def place(self, team: str, channel: str, *, ask: bool) -> Place | None:
        """As named, else our own."""
        return self.places.get(channel, "own") if self._may_tell(channel, ask) else None

    def members(self, team: str, group: str, *, ask: bool) -> frozenset[str] | None:
        """As named, else nobody."""
        return self.groups.get(group, frozenset()) if self._may_tell(group, ask) else None

    def name(self, team: str, user: str) -> str:
        """The id."""
        return f"@{user}"

    def _may_tell(self, subject: str, ask: bool) -> bool:
        if ask:
            self.asked.add(subject)
        return subject in self.asked


@pytest.fixture
def members() -> Members:
    """Who is in the workspace."""
    return Members()


@pytest.fixture
def slack() -> FakeSlack:
    """A Slack without a network."""
    return FakeSlack()


@pytest.fixture
def bot(tmp_path: Path, members: Members) -> Iterator[Bot]:
    """A bot over an empty store of its own."""
    settings = Settings(
        store=StoreSettings(url=f"duckdb:///{tmp_path / 'store.duckdb'}"),
        state=StateSettings(url=f"sqlite:///{tmp_path / 'state.sqlite'}"),
        slack=SlackSettings(mode="http"),
        access=AccessSettings(admins=(ADMIN,)),
    )
    opened = Bot.open(settings).knowing(members)
    yield opened
    opened.close()
