"""Who people are, and who reads a channel, as Slack says; kept for five minutes, then asked anew.

A failed look-up tells nothing and is not kept: what can't be found out is refused, not allowed.
(docs.slack.dev, reference/objects/user-object and conversation-object.)
"""

import logging
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, TypeVar, cast

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.access import Person, Place
from bot.slack.post import error_word

log = logging.getLogger("daybreak.slack")

KEPT_S = 300.0
MOST_KEPT = 10_000
#: Not marked as a bot in the users' list.
SLACKBOT = "USLACKBOT"
#: Slack's words for a channel that we are no member of, or a kind that we have no scope for.
UNSEEN = frozenset({"channel_not_found", "missing_scope", "method_not_supported_for_channel_type"})

T = TypeVar("T")


class People:
    """What Slack knows of people, groups and channels; safe to use from many threads."""

    def __init__(
        self,
        client_of: Callable[[str], WebClient | None],
        home_of: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client_of(team)` speaks for a workspace, `home_of(team)` is its id; `clock`: seconds."""
        self.client_of = client_of
        self.home_of = home_of
        self.clock = clock
        self._kept: dict[tuple[str, str, str], tuple[float, object]] = {}
        self._turn = threading.Lock()

    def person(self, team: str, user: str, *, ask: bool) -> Person | None:
        """What kind of person that is."""
        known = self._known("person", team, user, self._ask_person, ask=ask)
        return known[0] if known else None

    def place(self, team: str, channel: str, *, ask: bool) -> Place | None:
        """Who reads that channel: also direct messages may be those of two other people."""
        return self._known("place", team, channel, self._ask_place, ask=ask)

    def members(self, team: str, group: str, *, ask: bool) -> frozenset[str] | None:
        """The people of a user group."""
        return self._known("group", team, group, self._ask_group, ask=ask)

    def name(self, team: str, user: str) -> str:
        """`@maria` where it was looked up, else the id."""
        known = self._known("person", team, user, self._ask_person, ask=False)
        return f"@{known[1] if known else user}"

    def _known(
        self,
        kind: str,
        team: str,
        subject: str,
        find_out: Callable[[WebClient, str, str], T],
        *,
        ask: bool,
    ) -> T | None:
        """What is kept and not too old, else what `find_out` tells."""
        key = (kind, team, subject)
        with self._turn:
            at, value = self._kept.get(key, (float("-inf"), None))
        asked_at = self.clock()
        if asked_at - at < KEPT_S:
            return cast(T, value)
        client = self.client_of(team) if ask else None
        if client is None:
            return None
        try:
            told = find_out(client, team, subject)
        except (SlackClientError, OSError, HTTPException) as error:
            log.warning("not_looked_up", extra={"kind": kind, "error": error_word(error)})
            return None
        with self._turn:
            while len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept.pop(key, None)
            self._kept[key] = (asked_at, told)
        return told

    def _ask_person(self, client: WebClient, team: str, user: str) -> tuple[Person, str]:
        """The kind and the name of a person."""
        found = client.users_info(user=user)["user"]
        profile = found.get("profile") or {}
        name = profile.get("display_name") or found.get("name") or user
        return person_of(found, self.home_of(team)), str(name)

    def _ask_place(self, client: WebClient, _: str, channel: str) -> Place:
        """Who reads a channel."""
        try:
            return place_of(client.conversations_info(channel=channel)["channel"])
        except SlackApiError as error:
            if error_word(error) in UNSEEN:
                return "unseen"
            raise

    def _ask_group(self, client: WebClient, _: str, group: str) -> frozenset[str]:
        """The people of a user group."""
        return frozenset(client.usergroups_users_list(usergroup=group)["users"])


def person_of(user: dict[str, Any], home: str) -> Person:
    """The kind of a person, by Slack's user object; `home` is the id of our workspace."""
    if user.get("is_bot") or user.get("is_app_user") or user.get("is_workflow_bot"):
        return "app"
    if user.get("id") == SLACKBOT:
        return "app"
    teams = {user.get("team_id"), *((user.get("enterprise_user") or {}).get("teams") or ())}
    if home not in teams or user.get("is_stranger") or user.get("deleted"):
        return "stranger"
    if user.get("is_restricted") or user.get("is_ultra_restricted"):
        return "guest"
    return "member"


def place_of(channel: dict[str, Any]) -> Place:
    """Who reads a channel, by Slack's conversation object: also who is invited to.

    A channel shared inside of an organisation is read by people of other workspaces, too.
    """
    marks = ("is_ext_shared", "is_pending_ext_shared", "is_org_shared", "is_shared")
    return "shared" if any(channel.get(mark) for mark in marks) else "own"
