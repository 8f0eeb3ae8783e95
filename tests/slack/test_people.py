"""What Slack says of people and channels: read rightly, kept for five minutes, failing closed."""

from typing import Any

import pytest
from slack_sdk.web import SlackResponse, WebClient

from bot.slack.people import KEPT_S, People, person_of, place_of
from tests.slack.conftest import TEAM, FakeSlack

MARIA = {"id": "U1", "team_id": TEAM, "name": "maria", "profile": {"display_name": "Maria"}}


class Lookups(FakeSlack):
    """Answers look-ups."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, dict[str, Any]] = {
            "users.info": {"user": MARIA},
            "conversations.info": {"channel": {"id": "C1"}},
            "usergroups.users.list": {"users": ["U1", "U2"]},
        }

    def api_call(self, api_method: str, **more: Any) -> SlackResponse:  # type: ignore[override]
        answer = super().api_call(api_method, **more)
        answer.data.update(self.answers[api_method])  # type: ignore[union-attr]
        return answer


class Clock:
    """Seconds, as set."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def looked() -> Lookups:
    return Lookups()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(looked: Lookups, clock: Clock) -> People:
    def client_of(team: str) -> WebClient | None:
        return looked if team == "" else None

    return People(client_of, lambda _: TEAM, clock)


@pytest.mark.parametrize(
    ("user", "kind"),
    [
        (MARIA, "member"),
        (MARIA | {"is_restricted": True}, "guest"),
        (MARIA | {"is_restricted": True, "is_ultra_restricted": True}, "guest"),
        (MARIA | {"is_ultra_restricted": True}, "guest"),
        (MARIA | {"is_bot": True}, "app"),
        (MARIA | {"is_app_user": True}, "app"),
        (MARIA | {"is_workflow_bot": True}, "app"),
        (MARIA | {"id": "USLACKBOT"}, "app"),
        (MARIA | {"team_id": "T2"}, "stranger"),
        (MARIA | {"team_id": "T2", "is_restricted": True}, "stranger"),
        (MARIA | {"is_stranger": True}, "stranger"),
        (MARIA | {"deleted": True}, "stranger"),
        ({"id": "U1"}, "stranger"),
        ({}, "stranger"),
        (MARIA | {"team_id": "T2", "enterprise_user": {"teams": [TEAM, "T2"]}}, "member"),
        (MARIA | {"team_id": "T2", "enterprise_user": {"teams": ["T2"]}}, "stranger"),
    ],
)
def test_people_are_told_apart(user: dict[str, Any], kind: str) -> None:
    assert person_of(user, TEAM) == kind


@pytest.mark.parametrize(
    ("channel", "kind"),
    [
        ({}, "own"),
        ({"is_private": True, "is_shared": False}, "own"),
        ({"is_ext_shared": True}, "shared"),
        ({"is_shared": True}, "shared"),
        ({"is_org_shared": True}, "shared"),
        ({"is_pending_ext_shared": True}, "shared"),
    ],
)
def test_shared_channels_are_told_apart(channel: dict[str, Any], kind: str) -> None:
    assert place_of(channel) == kind


def test_what_was_looked_up_is_kept_for_five_minutes(
    people: People, looked: Lookups, clock: Clock
) -> None:
    assert people.person("", "U1", ask=False) is None
    assert people.name("", "U1") == "@U1"
    assert looked.calls == []
    assert people.person("", "U1", ask=True) == "member"
    assert people.name("", "U1") == "@Maria"
    clock.now += KEPT_S - 1
    looked.answers["users.info"] = {"user": MARIA | {"is_restricted": True}}
    assert people.person("", "U1", ask=True) == "member"
    assert len(looked.calls) == 1
    clock.now += 1
    assert people.person("", "U1", ask=False) is None
    assert people.person("", "U1", ask=True) == "guest"
    assert len(looked.calls) == 2


def test_channels_and_groups_are_looked_up(people: People, looked: Lookups) -> None:
    assert people.place("", "C1", ask=True) == "own"
    assert people.members("", "S1", ask=True) == {"U1", "U2"}
    assert [name for name, _ in looked.calls] == ["conversations.info", "usergroups.users.list"]


def test_what_cannot_be_looked_up_is_not_known_and_asked_again(
    people: People, looked: Lookups
) -> None:
    limited = looked.refuse("ratelimited", 429, **{"Retry-After": "1"})
    for method, look in (
        ("users.info", lambda: people.person("", "U1", ask=True)),
        ("conversations.info", lambda: people.place("", "C1", ask=True)),
        ("usergroups.users.list", lambda: people.members("", "S1", ask=True)),
    ):
        looked.fail(method, limited, OSError("no route"), looked.refuse("user_not_found"))
        assert [look(), look(), look()] == [None] * 3
        assert look() is not None


def test_a_channel_that_we_cannot_see_is_that(people: People, looked: Lookups) -> None:
    """Direct messages of two other people among them."""
    for channel in ("C1", "D1"):
        looked.fail("conversations.info", looked.refuse("channel_not_found"))
        assert people.place("", channel, ask=True) == "unseen"


def test_a_workspace_without_a_token_knows_nobody(people: People) -> None:
    assert people.person("T9", "U1", ask=True) is None
