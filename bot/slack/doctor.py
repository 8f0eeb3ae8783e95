"""`python -m bot doctor`: what keeps the bot from its work, each line with what to do.

Looks, and changes nothing but one row of the bot's own memory. With `live`, each kind of message,
form and Home goes to Slack's `blocks.validate`, which judges it and posts nothing
(docs.slack.dev, reference/methods/blocks.validate).
"""

import datetime as dt
import email.utils
import errno
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from analytics.errors import UserError
from analytics.result import Chart, Column, Figure, Note, Result, Series, Table
from bot.config import ConfigError, Settings, secret
from bot.ids import is_direct, split
from bot.parse import verbs
from bot.setup import open_store
from bot.slack.blocks import JsonObject, Message, error_message, ladder, plain_message
from bot.slack.home import home_view
from bot.slack.modals import Filled, modal_of
from bot.slack.notices import slow_message
from bot.slack.oauth import INSTALL, workspaces_of
from bot.slack.post import error_word
from storage import processes
from storage.engines import StoreError
from storage.schedules import Schedules
from storage.state import State, StateError

Status = Literal["ok", "warn", "fail"]
Surface = Literal["message", "modal", "home"]

#: Slack refuses requests that seem older than five minutes; leases want far less.
SKEW_WARN_S = 2.0
SKEW_FAIL_S = 60.0
OLD_DATA_S = 48 * 3600.0
DISK_WARN_BYTES = 1 << 30
DISK_FAIL_BYTES = 64 << 20
MANIFEST = Path(__file__).resolve().parents[2] / "manifest.yaml"
UNREACHABLE = (SlackClientError, OSError)
#: Slack's words where it judges nothing for this token.
NO_JUDGE = frozenset({"unknown_method", "missing_scope", "not_allowed_token_type"})


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, and what to do where it is not well."""

    status: Status
    name: str
    said: str
    hint: str = ""

    @property
    def line(self) -> str:
        """As the terminal shows it."""
        to_do = f"\n      → {self.hint}" if self.hint else ""
        return f"{self.status:<4}  {self.name}: {self.said}{to_do}"


def doctor(
    settings: Settings,
    client: Callable[[str], WebClient],
    *,
    live: bool = False,
    environment: Mapping[str, str] = os.environ,
    say: Callable[[str], None] = print,
) -> int:
    """Say how everything is; 0 where nothing fails, else 1. `client(token)` speaks to Slack."""
    fails = warnings = 0
    for check in checks(settings, client, live=live, environment=environment):
        say(check.line)
        fails += check.status == "fail"
        warnings += check.status == "warn"
    say(f"{fails} failed, {warnings} to mind.")
    return 1 if fails else 0


def checks(
    settings: Settings,
    client: Callable[[str], WebClient],
    *,
    live: bool,
    environment: Mapping[str, str],
) -> Iterator[Check]:
    """All checks, each as it is done."""
    state = None
    try:
        state = State.open(settings.state.url)
        yield from of_state(state)
    except StateError as error:
        yield Check("fail", "state", error.message, error.hint)
    yield from of_store(settings, state)
    yield from of_ports(settings, state)
    yield from of_secrets(settings, environment)
    try:
        token = secret("SLACK_BOT_TOKEN", environment)
    except ConfigError:
        token = None  # said above
    if settings.slack.workspaces and state is not None:
        yield from of_workspaces(settings, state, client, environment, live=live)
    elif token and not settings.slack.workspaces:
        yield from of_slack(client(token), settings, state, live=live)
    if state is not None:
        state.close()


# The bot's memory.


def of_state(state: State) -> Iterator[Check]:
    """Whether it can be written, has room, and agrees on the time. Raises StateError."""
    state.first_time(f"doctor:{secrets.token_hex(8)}")
    ours, theirs = dt.datetime.now(dt.UTC), state.now()
    kind = state.engine.dialect.name
    yield Check("ok", "state", f"{kind}, schema {state.version()}, readable and writable")
    yield of_clock("clock of the state database", theirs, ours)
    path = Path(state.engine.url.database or "")
    if state.is_sqlite and path.is_file():
        yield of_disk(path, shutil.disk_usage(path.parent).free)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            said = f"{path} can be read by others"
            yield Check("warn", "state's file", said, f"Run `chmod 600 {path}`.")


def of_disk(path: Path, free: int) -> Check:
    """Whether there is room where the memory lies; `free` in bytes."""
    status: Status = "ok"
    if free < DISK_WARN_BYTES:
        status = "fail" if free < DISK_FAIL_BYTES else "warn"
    hint = "" if status == "ok" else "Make room: without it no question can be accepted."
    return Check(status, "disk", f"{free / (1 << 30):.1f} GB free at {path.parent}", hint)


def of_clock(name: str, theirs: dt.datetime, ours: dt.datetime) -> Check:
    """How far two clocks are apart; both aware."""
    skew = abs((theirs - ours).total_seconds())
    status: Status = "fail" if skew > SKEW_FAIL_S else "warn" if skew > SKEW_WARN_S else "ok"
    hint = "" if status == "ok" else "Let both machines set their clocks by NTP."
    return Check(status, name, f"{skew:.1f} s from this machine's", hint)


# The data.


def of_store(settings: Settings, state: State | None) -> Iterator[Check]:
    """Whether the data can be read, by which engine, and how old they are."""
    try:
        store = open_store(settings)
    except StoreError as error:
        running = processes.living(state, "analyst") if state is not None else []
        if not running:
            yield Check("fail", "store", error.message, error.hint)
            return
        yield Check("ok", "store", f"held by the running {running[0].name}")
        told = running[0].facts.get("data_through")
        yield of_data(settings, None if told is None else dt.datetime.fromisoformat(told))
        return
    except UserError as error:
        yield Check("fail", "store", error.message, error.hint)
        return
    try:
        yield Check("ok", "store", store.engine.version)
        yield of_data(settings, store.fork().data_through())
    except StoreError as error:
        yield Check("fail", "store", error.message, error.hint)
    finally:
        store.close()


def of_data(settings: Settings, through: dt.datetime | None) -> Check:
    """How old the data are; `through` is naive UTC."""
    if through is None:
        return Check("warn", "data", "there are none", "Load files: docs/loading.md.")
    age = (dt.datetime.now(dt.UTC).replace(tzinfo=None) - through).total_seconds()
    said = f"through {through:%Y-%m-%d %H:%M} UTC, {age / 3600:.1f} h old"
    if settings.clock == "now" and age > OLD_DATA_S:
        return Check("warn", "data", said, "Look whether what loads them still runs.")
    return Check("ok", "data", said)


# The ports.


def of_ports(settings: Settings, state: State | None) -> Iterator[Check]:
    """Whether the bot can listen where it is told to, or does so already."""
    told = [("operate", settings.operate.host, settings.operate.port)]
    if settings.slack.mode == "http":
        told.append(("slack", settings.slack.host, settings.slack.port))
    for section, host, port in told:
        if not port:
            continue
        name, where = f"{section}.port", f"{host}:{port}"
        kind = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.socket(kind) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind((host, port))
            yield Check("ok", name, f"{where} is free")
        except OSError as error:
            edges = processes.living(state, "edge") if state is not None else []
            if edges and error.errno == errno.EADDRINUSE:
                yield Check("ok", name, f"{where} is held while {edges[0].name} runs")
                continue
            yield Check(
                "fail",
                name,
                f"nobody can listen on {where}: {error.strerror or error}",
                f"Stop what listens there, or change {section}.host and {section}.port.",
            )


# The secrets.


def of_secrets(settings: Settings, environment: Mapping[str, str]) -> Iterator[Check]:
    """Which are there, and who may read their files."""
    http = settings.slack.mode == "http"
    names = ["SLACK_SIGNING_SECRET" if http else "SLACK_APP_TOKEN"]
    names += [] if settings.slack.workspaces else ["SLACK_BOT_TOKEN"]
    starts = {"SLACK_APP_TOKEN": "xapp-", "SLACK_BOT_TOKEN": "xoxb-"}
    for name in names:
        try:
            value = secret(name, environment)
        except ConfigError as error:
            yield Check("fail", name, error.message, error.hint)
            continue
        if not value:
            hint = "The terminal works without; docs/slack.md says where it comes from."
            yield Check("warn", name, "not set", hint)
        elif not value.startswith(starts.get(name, "")):
            yield Check("fail", name, f"does not begin with {starts[name]}", "See docs/slack.md.")
        else:
            yield Check("ok", name, "set")


# Slack.


def of_workspaces(
    settings: Settings,
    state: State,
    client: Callable[[str], WebClient],
    environment: Mapping[str, str],
    *,
    live: bool,
) -> Iterator[Check]:
    """The token of each workspace that may install the app; none is exchanged for another."""
    try:
        workspaces = workspaces_of(settings, state, environment)
    except ConfigError as error:
        yield Check("fail", "workspaces", error.message, error.hint)
        return
    install = f"Open {settings.slack.public_url.rstrip('/')}{INSTALL} and choose it."
    for team in settings.slack.workspaces:
        name = f"token of {team}"
        try:
            installed = workspaces.store.installed(team)
        except ConfigError as error:
            yield Check("fail", name, error.message, error.hint)
            continue
        if installed is None or not installed.bot_token:
            yield Check("warn", name, "the app is not installed there", install)
            continue
        expires = installed.bot_token_expires_at
        if expires is not None and expires < dt.datetime.now(dt.UTC).timestamp():
            said = "expired while nobody ran"
            yield Check("warn", name, said, "`serve` exchanges it when it starts.")
            continue
        speaking = client(installed.bot_token)
        yield from of_slack(speaking, settings, state, live=live, team=team)
        live = False  # Slack judges alike for all


def of_slack(
    client: WebClient, settings: Settings, state: State | None, *, live: bool, team: str = ""
) -> Iterator[Check]:
    """The token, its scopes, Slack's clock, and the channels to which something is posted.

    `team` is the workspace, where there are several.
    """
    name = f"token of {team}" if team else "token"
    try:
        me = client.auth_test()
    except SlackApiError as error:
        said = f"Slack does not take it ({error_word(error)})"
        anew = "Install the app there anew." if team else "Copy the Bot User OAuth Token anew."
        yield Check("fail", name, said, anew)
        return
    except UNREACHABLE:
        yield Check("fail", "Slack", "can't be reached", f"Check the way to {client.base_url}.")
        return
    if team and me.get("team_id") != team:
        said = f"it is that of {me.get('team_id')}"
        yield Check("fail", name, said, "Install the app there anew.")
        return
    yield Check("ok", name, f"{me.get('user') or me.get('user_id')} in {me.get('team')}")
    headers = {name.lower(): first_of(value) for name, value in (me.headers or {}).items()}
    scopes = of_scopes(headers.get("x-oauth-scopes"))
    yield replace(scopes, name=f"scopes of {team}") if team else scopes
    if "date" in headers:
        theirs = email.utils.parsedate_to_datetime(headers["date"])
        # its seconds are whole
        yield of_clock("Slack's clock", theirs, dt.datetime.now(dt.UTC).replace(microsecond=0))
    if state is not None:
        yield from of_channels(client, state, team)
    if live:
        yield from of_templates(client, settings)


def first_of(header: Any) -> str:
    """A header's value, which some transports give as a list."""
    return str(header[0] if isinstance(header, list) and header else header)


def of_scopes(header: str | None) -> Check:
    """Those of the token, as Slack's header names them, against those of manifest.yaml."""
    if header is None:
        return Check("warn", "scopes", "Slack did not say which the token has")
    if not MANIFEST.is_file():
        return Check("warn", "scopes", "there is no manifest.yaml to compare with")
    given = {word.strip() for word in header.split(",")} - {""}
    manifest = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    needed = set(manifest["oauth_config"]["scopes"]["bot"])
    missing, more = sorted(needed - given), sorted(given - needed)
    if missing:
        hint = "Paste manifest.yaml under App Manifest anew, then reinstall the app."
        return Check("fail", "scopes", f"missing: {', '.join(missing)}", hint)
    if more:
        return Check(
            "warn", "scopes", f"more than needed: {', '.join(more)}", "Take them from the app."
        )
    return Check("ok", "scopes", f"all {len(needed)} of manifest.yaml, and no more")


def of_channels(client: WebClient, state: State, team: str = "") -> Iterator[Check]:
    """Whether the channels of schedules, those of one workspace, can be posted to."""
    schedules = [s for s in Schedules(state).all() if s.channel and not s.paused]
    for channel, place in {s.channel: s.place for s in schedules}.items():
        home, plain = split(channel)
        if is_direct(channel) or home != team:
            continue
        name = f"channel {place} of {team}" if team else f"channel {place}"
        try:
            found = client.conversations_info(channel=plain)["channel"]
        except SlackApiError as error:
            hint = "Invite me there, or let `schedule edit` name another."
            yield Check("fail", name, error_word(error), hint)
            continue
        except UNREACHABLE:
            yield Check("fail", name, "Slack can't be reached")
            continue
        if found.get("is_archived"):
            yield Check("fail", name, "archived", "Let `schedule edit` name another.")
        elif not found.get("is_member"):
            yield Check("fail", name, "I am no member", "Invite me there.")
        else:
            yield Check("ok", name, "I am a member")


# What Slack says of each kind of message.


def of_templates(client: WebClient, settings: Settings) -> Iterator[Check]:
    """Have Slack judge each."""
    good = 0
    for name, surface, payload in templates(settings):
        try:
            if surface == "message":
                client.blocks_validate(message=payload)
            else:
                client.blocks_validate(view=payload)
        except SlackApiError as error:
            word = error_word(error)
            if word in NO_JUDGE:
                said = f"Slack judges nothing for this token ({word})"
                yield Check("warn", "templates", said)
                return
            told = (error.response.get("response_metadata") or {}).get("messages") or []
            yield Check("fail", f"template {name}", "; ".join((word, *map(str, told[:3]))))
        except UNREACHABLE:
            yield Check("fail", "templates", "Slack can't be reached")
            return
        else:
            good += 1
    yield Check("ok", "templates", f"Slack takes {good}")


def templates(settings: Settings) -> Iterator[tuple[str, Surface, JsonObject]]:
    """One of each kind that is sent: its name, where it stands, and its payload."""
    rungs: list[Message] = list(ladder(sample()))
    for rung, message in zip(("native", "simple", "text"), rungs, strict=True):
        yield f"answer, {rung}", "message", message.payload
        if message.detail:
            yield f"detail, {rung}", "message", message.detail.payload
    refusal = UserError("There is no metric “revenu”.", hint="Did you mean `revenue`?")
    yield "error", "message", error_message(refusal, "kpis last 7 days").payload
    yield "sentence", "message", plain_message("This answer has no table.").payload
    yield "progress", "message", slow_message("segment last 90 days", 1, "Reading").payload
    yield "home", "home", home_view(rungs[0], [])
    catalog = settings.catalog()
    yield "form", "modal", modal_of(Filled(), catalog)
    for verb in sorted({command.verb() for command in verbs().values()}):
        yield f"form of {verb}", "modal", modal_of(Filled(verb), catalog)


def sample() -> Result:
    """An answer with every kind of part; its numbers mean nothing."""
    days = tuple(dt.date(2026, 11, day) for day in (2, 3, 4))
    columns = (Column("day", "Day", "date"), Column("orders", "Orders", "count"))
    table = Table("Orders by day", columns, tuple(zip(days, (3, 5, 4), strict=True)))
    return Result(
        title="Sample",
        headline="12 orders, 2 more than before.",
        parts=(
            Figure("Orders", 12, "count", before=10, group="Activity", when="the week before"),
            Figure("Conversion", None, "share", note="no visits"),
            Chart("Orders by day", "line", days, (Series("Orders", (3, 5, 4)),), unit="count"),
            Chart("By channel", "bar", ("a", "b"), (Series("Orders", (8, 4)),), unit="count"),
            table,
            Note("A note.", "warning"),
        ),
        follow_ups=("kpis last 30 days",),
        detail=(table,),
    )
