"""Several workspaces: each installs the app by OAuth, and is served with a token of its own.

Only workspaces that `slack.workspaces` names may install. Their tokens are kept in the bot's
memory, encrypted with a key that is not there, and are rotated before they expire. Every id is
qualified with its workspace where a request comes in (`qualify`), and `TeamsClient` speaks, for
each call, with the token of the workspace that the call's ids name.
"""

import base64
import html
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from slack_bolt import BoltRequest, BoltResponse
from slack_bolt.error import BoltError
from slack_bolt.oauth import OAuthFlow
from slack_bolt.oauth.callback_options import CallbackOptions, FailureArgs, SuccessArgs
from slack_bolt.oauth.oauth_settings import OAuthSettings
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError, SlackTokenRotationError
from slack_sdk.oauth import OAuthStateUtils
from slack_sdk.oauth.installation_store import Installation
from slack_sdk.oauth.installation_store.sqlalchemy import SQLAlchemyInstallationStore
from slack_sdk.oauth.state_store.sqlalchemy import SQLAlchemyOAuthStateStore
from slack_sdk.oauth.token_rotation import TokenRotator
from slack_sdk.web import SlackResponse

from bot.config import ConfigError, Settings, secret
from bot.ids import split, within
from bot.slack.blocks import JsonObject
from bot.slack.post import error_word, web_client
from storage.grants import Grant, forget_grants, give
from storage.state import State

log = logging.getLogger("daybreak.slack")

INSTALL, REDIRECT = "/slack/install", "/slack/oauth_redirect"
#: What an installation asks for: the bot scopes of manifest.yaml, and a test holds them equal.
SCOPES = (
    "app_mentions:read", "assistant:write", "channels:history", "channels:read", "chat:write",
    "commands", "files:write", "groups:history", "groups:read", "im:history", "im:read", "im:write",
    "usergroups:read", "users:read",
)  # fmt: skip
LEAST_KEY = 32
NONCE_BYTES = 12
VERSION = "v1:"
STATE_KEPT_S = 600
#: An installation is read again after so long: another process may have taken it away.
KEPT_S = 60.0
#: A token is rotated so long before it expires, by one process, which is given so long for it.
ROTATE_MINUTES = 120
ROTATING_S = 300.0
WAIT_S, LOOK_S = 5.0, 0.2
#: The arguments of Slack's calls that hold an id of a workspace's own.
IDS = ("channel", "channel_id", "user", "user_id", "users", "usergroup", "trigger_id", "view_id")

Page = Callable[[BoltRequest], BoltResponse]


class Vault:
    """Encrypts tokens: AES-256-GCM, bound to their owner, so that no row can borrow another's."""

    def __init__(self, key: str) -> None:
        """`key` is any secret text of 32 characters or more. Raises ConfigError."""
        if len(key) < LEAST_KEY:
            raise ConfigError(
                f"DAYBREAK_STATE_KEY is shorter than {LEAST_KEY} characters.",
                hint="Make one with `python -c 'import secrets; print(secrets.token_hex(32))'`.",
            )
        derived = HKDF(SHA256(), 32, salt=None, info=b"daybreak tokens").derive(key.encode())
        self._cipher = AESGCM(derived)

    def lock(self, text: str, owner: str) -> str:
        """A text that only `unlock` with the same owner reads."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), owner.encode())
        return VERSION + base64.b64encode(sealed).decode()

    def unlock(self, locked: str, owner: str) -> str:
        """The text again. Raises ConfigError where the key is another."""
        try:
            sealed = base64.b64decode(locked.removeprefix(VERSION), validate=True)
            nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
            return self._cipher.decrypt(nonce, rest, owner.encode()).decode()
        except (ValueError, InvalidTag) as error:
            raise ConfigError(
                "The tokens in the bot's memory are not readable with DAYBREAK_STATE_KEY.",
                hint="Set the key with which they were kept, or install the app anew.",
            ) from error


class InstallationStore(SQLAlchemyInstallationStore):
    """slack_sdk's store on the state database, with the tokens encrypted."""

    def __init__(self, client_id: str, state: State, vault: Vault) -> None:
        """The tables are made by the state's migrations."""
        super().__init__(client_id, state.engine, logger=log)
        self.vault = vault

    def save(self, installation: Installation) -> None:
        """Keep an installation; what acts for a person is not kept at all."""
        kept = Installation(**installation.to_dict_for_copying())
        kept.user_token = kept.user_refresh_token = kept.incoming_webhook_url = None
        kept.bot_token = self._locked(installation.bot_token, installation, "token")
        kept.bot_refresh_token = self._locked(installation.bot_refresh_token, installation, "more")
        super().save(kept)

    def installed(self, team: str) -> Installation | None:
        """The newest installation in a workspace, with its tokens. Raises ConfigError."""
        found = self.find_installation(enterprise_id=None, team_id=team)
        if found is None:
            return None
        if found.bot_token:
            found.bot_token = self.vault.unlock(found.bot_token, f"{team} token")
        if found.bot_refresh_token:
            found.bot_refresh_token = self.vault.unlock(found.bot_refresh_token, f"{team} more")
        return found

    def _locked(self, text: str | None, installation: Installation, what: str) -> str | None:
        return self.vault.lock(text, f"{installation.team_id} {what}") if text else None


@dataclass(frozen=True)
class Credentials:
    """Who the app is at Slack."""

    client_id: str
    client_secret: str


class Workspaces:
    """The workspaces that may install the app; safe to use from many threads."""

    def __init__(
        self,
        state: State,
        credentials: Credentials,
        vault: Vault,
        allowed: Iterable[str],
        client_with: Callable[[str], WebClient],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`client_with(token)` makes a client; `clock` is in seconds since 1970."""
        self.state = state
        self.credentials = credentials
        self.allowed = frozenset(allowed)
        self.client_with = client_with
        self.clock = clock
        self.store = InstallationStore(credentials.client_id, state, vault)
        self._kept: dict[str, tuple[float, Installation | None]] = {}
        self._clients: dict[str, WebClient] = {}
        self._turn = threading.Lock()

    def installed(self, team: str) -> Installation | None:
        """The installation in a workspace; None where there is none, or none is allowed."""
        if team not in self.allowed:
            return None
        at, kept = self._kept.get(team, (float("-inf"), None))
        if self.clock() - at >= KEPT_S:
            at, kept = self.clock(), self.store.installed(team)
            self._kept[team] = (at, kept)
        return kept

    def client(self, team: str) -> WebClient | None:
        """A client with the workspace's token, rotated where it is about to expire."""
        with self._turn:
            installation = self.installed(team)
            if installation is None or not installation.bot_token:
                return None
            if self._left(installation) < ROTATE_MINUTES * 60:
                installation = self._rotated(team, installation)
            token = installation.bot_token or ""
            known = self._clients.get(team)
            if known is None or known.token != token:
                known = self._clients[team] = self.client_with(token)
            return known

    def save(self, installation: Installation) -> None:
        """Keep a new installation; who installed is the workspace's first admin.

        Raises BoltError where the workspace may not install.
        """
        team = installation.team_id or ""
        if team not in self.allowed or installation.is_enterprise_install:
            log.warning("install_refused", extra={"team": team})
            raise BoltError(f"The workspace {team} is not among slack.workspaces.")
        self.store.save(installation)
        admin = Grant("", "admin", "user", installation.user_id, f"@{installation.user_id}")
        give(self.state, team, admin, by="install")
        self._kept.pop(team, None)
        log.info("installed", extra={"team": team})

    def forget(self, team: str) -> None:
        """The app was uninstalled: its tokens and all rights that were given there go."""
        self.store.delete_all(enterprise_id=None, team_id=team)
        forget_grants(self.state, team)
        with self._turn:
            self._kept.pop(team, None)
            self._clients.pop(team, None)
        log.info("uninstalled", extra={"team": team})

    def _left(self, installation: Installation) -> float:
        """Seconds until the token expires; endless where it does not."""
        expires = installation.bot_token_expires_at
        return float("inf") if expires is None else expires - self.clock()

    def _rotated(self, team: str, installation: Installation) -> Installation:
        """The installation with a new token, from Slack or from the process that has got it."""
        expires = installation.bot_token_expires_at
        slot = int(self.clock() // ROTATING_S)
        if self.state.first_time(f"rotate:{team}:{expires}:{slot}"):
            rotator = TokenRotator(
                client_id=self.credentials.client_id,
                client_secret=self.credentials.client_secret,
                client=self.client_with(""),
            )
            try:
                rotated = rotator.perform_token_rotation(
                    installation=installation, minutes_before_expiration=ROTATE_MINUTES
                )
            except (SlackTokenRotationError, SlackClientError, OSError) as error:
                log.exception("token_not_rotated", extra={"team": team, "error": error_word(error)})
                return installation
            if rotated is not None:
                self.store.save(rotated)
                installation = rotated
                log.info("token_rotated", extra={"team": team})
        else:
            installation = self._others(team, installation)
        self._kept[team] = (self.clock(), installation)
        return installation

    def _others(self, team: str, installation: Installation) -> Installation:
        """What another process keeps; an expired token is waited for a while."""
        pause, until = threading.Event(), time.monotonic() + WAIT_S
        while True:
            found = self.store.installed(team) or installation
            if self._left(found) > 0 or time.monotonic() > until:
                return found
            pause.wait(LOOK_S)


class TeamsClient(WebClient):
    """A client that speaks for the workspace that a call's ids name; set `workspaces` first."""

    workspaces: Workspaces

    def __init__(self, api_url: str) -> None:
        """It has no token of its own."""
        super().__init__(base_url=api_url, retry_handlers=[])

    def api_call(self, api_method: str, **how: Any) -> SlackResponse:
        """The call, with plain ids, by the workspace's own client. Raises SlackApiError."""
        team = ""
        for kind in ("json", "params", "data"):
            if isinstance(how.get(kind), dict):
                found, how[kind] = plain_arguments(how[kind])
                team = team or found
        answer = self._speaking(team, api_method).api_call(api_method, **how)
        opened = answer.get("channel")
        if api_method == "conversations.open" and isinstance(opened, dict):
            opened["id"] = within(team, opened["id"])
        return answer

    def files_upload_v2(self, **upload: Any) -> SlackResponse:
        """The upload, which is several calls, by the workspace's own client."""
        team, channel = split(upload["channel"])
        client = self._speaking(team, "files.completeUploadExternal")
        return client.files_upload_v2(**upload | {"channel": channel})

    def _speaking(self, team: str, method: str) -> WebClient:
        """The workspace's own client."""
        client = self.workspaces.client(team)
        if client is None:
            answer = SlackResponse(
                client=self, http_verb="POST", api_url=method, req_args={}, headers={},
                data={"ok": False, "error": "account_inactive"}, status_code=200,
            )  # fmt: skip
            raise SlackApiError(  # type: ignore[no-untyped-call]
                "the app is not installed there", answer
            )
        return client


def plain_arguments(arguments: JsonObject) -> tuple[str, JsonObject]:
    """The workspace that a call's ids name, and the arguments with plain ids.

    Raises ValueError where they name two.
    """
    plain = dict(arguments)
    teams = {plain.pop("team_id")} if plain.get("team_id") else set()
    for name in IDS:
        value = plain.get(name)
        value = ",".join(value) if isinstance(value, list | tuple) else value
        if isinstance(value, str):
            parts = [split(part) for part in value.split(",")]
            teams |= {team for team, _ in parts if team}
            plain[name] = ",".join(part for _, part in parts)
    if len(teams) > 1:
        raise ValueError("a call for two workspaces")
    return next(iter(teams), ""), plain


# Requests that come in.

#: Where a request's ids stand: keys from the top; `*` is any key, or each of a list.
PLACES = (
    ("user_id",), ("channel_id",), ("trigger_id",),
    ("user", "id"), ("channel", "id"), ("view", "id"),
    ("container", "channel_id"), ("container", "view_id"),
    ("event", "user"), ("event", "channel"),
    ("response_urls", "*", "channel_id"),
    ("view", "state", "values", "*", "*", "selected_conversation"),
    ("view", "state", "values", "*", "*", "selected_channel"),
    ("view", "state", "values", "*", "*", "selected_user"),
)  # fmt: skip


def qualify(body: JsonObject, team: str) -> None:
    """Put the workspace before every id of a request, in place."""
    for place in PLACES:
        for holder in holders(body, place[:-1]):
            if isinstance(holder.get(place[-1]), str):
                holder[place[-1]] = within(team, holder[place[-1]])


def holders(inside: Any, path: tuple[str, ...]) -> list[JsonObject]:
    """The objects at a path."""
    found = [inside]
    for key in path:
        found = [
            below
            for one in found
            for below in (
                (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
                if key == "*"
                else (one.get(key),)
                if isinstance(one, dict)
                else ()
            )
        ]
    return [one for one in found if isinstance(one, dict)]


def team_of(body: JsonObject) -> str:
    """The workspace that a request is for: that of the installation which hears it."""
    heard: JsonObject = next(iter(body.get("authorizations") or ()), {})
    team = body.get("team")
    of_team = team.get("id") if isinstance(team, dict) else None
    return str(heard.get("team_id") or body.get("team_id") or of_team or "")


# Installing.


class Flow(OAuthFlow):
    """Bolt's flow, which keeps an installation only where the workspace is allowed."""

    workspaces: Workspaces

    def store_installation(
        self,
        request: BoltRequest,  # noqa: ARG002 - Bolt's
        installation: Installation,
    ) -> None:
        """Keep it, or give the token back. Raises BoltError."""
        try:
            self.workspaces.save(installation)
        except BoltError:
            if installation.bot_token:
                self.give_back(installation.bot_token)
            raise

    def give_back(self, token: str) -> None:
        """Make a token that is not kept worthless."""
        try:
            self.workspaces.client_with(token).auth_revoke()
        except (SlackClientError, OSError) as error:
            log.warning("token_not_revoked", extra={"error": error_word(error)})


def pages(workspaces: Workspaces, settings: Settings) -> dict[str, Page]:
    """What browsers may open: the way to Slack's page, and the way back from it."""
    flow = Flow(
        client=workspaces.client_with(""),
        logger=log,
        settings=OAuthSettings(
            client_id=workspaces.credentials.client_id,
            client_secret=workspaces.credentials.client_secret,
            scopes=SCOPES,
            user_scopes=(),
            redirect_uri=settings.slack.public_url.rstrip("/") + REDIRECT,
            install_page_rendering_enabled=False,
            installation_store=workspaces.store,
            state_store=SQLAlchemyOAuthStateStore(STATE_KEPT_S, workspaces.state.engine),
            state_expiration_seconds=STATE_KEPT_S,
            callback_options=CallbackOptions(success=installed_page, failure=failed_page),
        ),
    )
    flow.workspaces = workspaces
    return {INSTALL: flow.handle_installation, REDIRECT: flow.handle_callback}


def installed_page(done: SuccessArgs) -> BoltResponse:
    """It is installed."""
    team = done.installation.team_name or done.installation.team_id or ""
    return page(
        200,
        f"Installed in {team}",
        "You are its first admin there. Go back to Slack, and say /ops help.",
    )


def failed_page(failed: FailureArgs) -> BoltResponse:
    """It is not installed, and why."""
    told = {
        "access_denied": "You did not allow it.",
        "invalid_browser": "Begin anew in this browser.",
        "invalid_state": "That took too long, or was used before. Begin anew.",
        "storage_error": "Your workspace is not among those that I serve. Whoever runs me can add "
        "it to slack.workspaces.",
    }.get(failed.reason, "Slack did not confirm it. Begin anew.")
    status = 403 if failed.reason == "storage_error" else failed.suggested_status_code
    return page(status, "Not installed", told)


def page(status: int, title: str, text: str) -> BoltResponse:
    """A plain page; it forgets the state of the browser."""
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Daybreak</title>'
        f"<h1>{html.escape(title)}</h1><p>{html.escape(text)}</p></html>"
    )
    headers: dict[str, Any] = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'",
        "Set-Cookie": OAuthStateUtils().build_set_cookie_for_deletion(),
    }
    return BoltResponse(status=status, body=body, headers=headers)


def workspaces_of(
    settings: Settings, state: State, environment: Mapping[str, str] = os.environ
) -> Workspaces:
    """The workspaces of the settings. Raises ConfigError where a secret is missing."""
    secrets = {}
    for name in ("SLACK_CLIENT_ID", "SLACK_CLIENT_SECRET", "DAYBREAK_STATE_KEY"):
        value = secret(name, environment)
        if not value:
            raise ConfigError(
                f"{name} is not set.",
                hint="Several workspaces need it; docs/access.md says where it comes from.",
            )
        secrets[name] = value
    api_url = settings.slack.api_url
    return Workspaces(
        state,
        Credentials(secrets["SLACK_CLIENT_ID"], secrets["SLACK_CLIENT_SECRET"]),
        Vault(secrets["DAYBREAK_STATE_KEY"]),
        settings.slack.workspaces,
        lambda token: web_client(token, api_url),
    )
