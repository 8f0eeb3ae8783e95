"""Several workspaces: installing, tokens at rest and in turn, and each workspace apart."""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
import yaml
from pydantic import ValidationError
from slack_bolt import App, BoltRequest, BoltResponse
from slack_sdk.errors import SlackApiError
from slack_sdk.oauth.installation_store import Installation
from slack_sdk.web import SlackResponse

from bot.config import AccessSettings, ConfigError, Settings, SlackSettings
from bot.ids import is_direct, split, within
from bot.setup import Bot
from bot.slack.analysts import Analyst
from bot.slack.answering import Job
from bot.slack.app import Identity, slack_app
from bot.slack.oauth import (
    INSTALL,
    REDIRECT,
    SCOPES,
    Credentials,
    Page,
    TeamsClient,
    Vault,
    Workspaces,
    pages,
    plain_arguments,
    qualify,
    team_of,
    workspaces_of,
)
from bot.slack.people import People
from bot.slack.post import Poster
from bot.slack.sending import Senders
from storage.grants import Grant, give, grants_of
from storage.installs import bots, installations, oauth_states, purge_oauth_states
from storage.outbox import Outbox
from storage.queue import Queue
from storage.state import State
from tests.slack.conftest import FakeSlack
from tests.slack.test_app import SECRET, click, command, event, interaction, mention

ROOT = Path(__file__).parents[2]
KEY = "k" * 32
ONE, TWO = "T0000000ONE", "T0000000TWO"
CREDENTIALS = Credentials("111.222", "a-client-secret")
HOUR = 3600


class Slack:
    """All workspaces: one fake client for each token, and what oauth.v2.access answers."""

    def __init__(self) -> None:
        self.clients: dict[str, Tokened] = {}
        self.access: list[dict[str, Any]] = []
        self.home = {"xoxb-one": ONE, "xoxb-two": TWO, "xoxe.xoxb-new": ONE}

    def __call__(self, token: str) -> "Tokened":
        return self.clients.setdefault(token, Tokened(self, token))

    def said(self, token: str, method: str) -> list[dict[str, Any]]:
        """The calls with a token."""
        return self.clients[token].of(method) if token in self.clients else []


class Tokened(FakeSlack):
    """A client with its own token."""

    def __init__(self, slack: Slack, token: str) -> None:
        super().__init__()
        self.slack = slack
        self.token = token

    def api_call(self, api_method: str, **more: Any) -> SlackResponse:
        answer = super().api_call(api_method, **more)
        data: Any = answer.data
        with_token = dict(more.get("params") or {}).get("token") or self.token
        home = self.slack.home.get(with_token or "", "")
        match api_method:
            case "oauth.v2.access":
                data.update(self.slack.access.pop(0))
                if not data["ok"]:
                    raise SlackApiError(data["error"], answer)
            case "auth.test":
                data.update(team_id=home, bot_id=f"B{home[-3:]}", user_id=f"U{home[-3:]}BOT")
            case "users.info":
                data["user"] = {"id": "U1", "team_id": home, "name": "maria"}
            case "conversations.info":
                data["channel"] = {"id": "C1"}
        return answer


class Clock:
    """Seconds since 1970, as set."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def workspace_slack() -> Slack:
    return Slack()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    told = Clock()
    monkeypatch.setattr("slack_sdk.oauth.token_rotation.rotator.time", told)
    return told


@pytest.fixture
def workspaces(bot: Bot, workspace_slack: Slack, clock: Clock) -> Workspaces:
    return Workspaces(bot.state, CREDENTIALS, Vault(KEY), [ONE, TWO], workspace_slack, clock)


def installation(team: str = ONE, token: str = "xoxb-one", **more: Any) -> Installation:
    about = {"app_id": "A1", "team_id": team, "bot_token": token, "bot_id": f"B{team[-3:]}",
             "bot_user_id": f"U{team[-3:]}BOT", "user_id": "UBOSS"}  # fmt: skip
    return Installation(**about | more)


# --- ids ----------------------------------------------------------------------------------------


def test_an_id_is_qualified_once_and_split_again() -> None:
    assert within(ONE, "U1") == f"{ONE}/U1" == within(ONE, within(ONE, "U1"))
    assert (within("", "U1"), within(ONE, "")) == ("U1", "")
    assert split(f"{ONE}/13.44.ab/c") == (ONE, "13.44.ab/c")
    assert split("U1") == ("", "U1")
    assert [is_direct(c) for c in ("D1", f"{ONE}/D1", "C1", f"{ONE}/C1")] == [True, True, False,
                                                                              False]  # fmt: skip


def test_every_id_of_a_request_is_qualified() -> None:
    chosen = {"selected_conversation": "C2", "type": "conversations_select"}
    body: dict[str, Any] = {
        "user": {"id": "U1"}, "channel": {"id": "C1"}, "trigger_id": "1.2",
        "view": {"id": "V1", "state": {"values": {"b": {"a": chosen}}}},
        "container": {"channel_id": "C1", "view_id": "V1"},
        "event": {"user": "U1", "channel": "D1", "text": "kpis"},
        "response_urls": [{"channel_id": "C1", "response_url": "u"}],
    }  # fmt: skip
    qualify(body, ONE)
    assert json.dumps(body).count(f"{ONE}/") == 10
    assert body["event"]["text"] == "kpis"
    flat = {"user_id": "U1", "channel_id": "C1", "trigger_id": "1.2", "user": "U1", "view": None}
    qualify(flat, ONE)
    assert flat["user_id"] == f"{ONE}/U1"


def test_a_call_speaks_for_one_workspace() -> None:
    assert plain_arguments({"channel": f"{ONE}/C1", "text": "T9/x"}) == (
        ONE, {"channel": "C1", "text": "T9/x"},
    )  # fmt: skip
    assert plain_arguments({"team_id": ONE, "limit": 1}) == (ONE, {"limit": 1})
    with pytest.raises(ValueError, match="two workspaces"):
        plain_arguments({"channel": f"{ONE}/C1", "user": f"{TWO}/U1"})


def test_a_request_is_for_the_workspace_that_hears_it() -> None:
    assert team_of({"authorizations": [{"team_id": ONE}], "team_id": TWO}) == ONE
    assert team_of({"team_id": ONE}) == ONE
    assert team_of({"team": {"id": ONE}, "user": {"id": "U1"}}) == ONE
    assert team_of({"team": None}) == ""


# --- tokens at rest -----------------------------------------------------------------------------


def test_no_token_stands_in_the_database(bot: Bot, workspaces: Workspaces) -> None:
    workspaces.save(
        installation(
            bot_refresh_token="xoxe-1-refresh", bot_token_expires_in=12 * HOUR,
            user_token="xoxp-person", incoming_webhook_url="https://hooks.slack.com/x",
        )
    )  # fmt: skip
    with bot.state.transaction() as connection:
        rows = [*connection.execute(sa.select(bots)), *connection.execute(sa.select(installations))]
    written = " ".join(str(value) for row in rows for value in row)
    assert len(rows) == 2
    for token in ("xoxb", "xoxe", "xoxp", "hooks.slack.com"):
        assert token not in written
    found = workspaces.store.installed(ONE)
    assert found is not None
    assert (found.bot_token, found.bot_refresh_token) == ("xoxb-one", "xoxe-1-refresh")


def test_a_token_is_read_with_its_key_and_for_its_owner_only() -> None:
    vault = Vault(KEY)
    locked = vault.lock("xoxb-one", ONE)
    assert locked != vault.lock("xoxb-one", ONE)
    assert vault.unlock(locked, ONE) == "xoxb-one"
    for other, owner in ((vault, TWO), (Vault("x" * 32), ONE)):
        with pytest.raises(ConfigError, match="not readable"):
            other.unlock(locked, owner)
    with pytest.raises(ConfigError, match="not readable"):
        vault.unlock("v1:nonsense", ONE)
    with pytest.raises(ConfigError, match="shorter than 32"):
        Vault("short")


def test_secrets_are_asked_for(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    slack = SlackSettings(mode="http", workspaces=(ONE,), public_url="https://ops.example")
    settings = Settings(slack=slack)
    given = {"SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "s", "DAYBREAK_STATE_KEY": KEY}
    for name in given:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        with pytest.raises(ConfigError, match=name):
            workspaces_of(settings, bot.state)
        monkeypatch.setenv(name, value)
    assert workspaces_of(settings, bot.state).allowed == {ONE}


def test_several_workspaces_need_a_way_back() -> None:
    for more in ({"mode": "socket", "public_url": "https://x.example"}, {"mode": "http"}):
        with pytest.raises(ValidationError, match="several workspaces need"):
            SlackSettings.model_validate({"workspaces": [ONE]} | more)


# --- installing ---------------------------------------------------------------------------------


@pytest.fixture
def install(workspaces: Workspaces) -> dict[str, Page]:
    slack = SlackSettings(mode="http", workspaces=(ONE,), public_url="https://ops.example/")
    return pages(workspaces, Settings(slack=slack))


def begin(install: dict[str, Page]) -> tuple[dict[str, list[str]], str]:
    """Slack's page that the browser is sent to, and the cookie that it gets."""
    response = install[INSTALL](BoltRequest(body="", query={}, headers={}))
    assert response.status == 302
    asked = urlsplit(response.headers["location"][0])
    assert asked.netloc == "slack.com"
    return parse_qs(asked.query), response.headers["set-cookie"][0].partition(";")[0]


def come_back(install: dict[str, Page], cookie: str, **query: str) -> BoltResponse:
    return install[REDIRECT](BoltRequest(body="", query=query, headers={"cookie": [cookie]}))


def granted(team: str = ONE, token: str = "xoxb-one", **more: Any) -> dict[str, Any]:
    return {
        "ok": True, "app_id": "A1", "team": {"id": team, "name": "Acme <b>"},
        "access_token": token, "token_type": "bot", "bot_user_id": f"U{team[-3:]}BOT",
        "scope": ",".join(SCOPES), "authed_user": {"id": "UBOSS"}, **more,
    }  # fmt: skip


def test_a_workspace_installs(
    bot: Bot, workspaces: Workspaces, workspace_slack: Slack, install: dict[str, Page]
) -> None:
    asked, cookie = begin(install)
    assert asked["scope"] == [",".join(SCOPES)]
    assert "user_scope" not in asked
    assert asked["redirect_uri"] == ["https://ops.example/slack/oauth_redirect"]
    workspace_slack.access = [granted()]
    done = come_back(install, cookie, code="c", state=asked["state"][0])
    assert done.status == 200
    assert "Installed in Acme &lt;b&gt;" in done.body
    kept = workspaces.installed(ONE)
    assert kept is not None
    assert (kept.bot_token, kept.bot_id) == ("xoxb-one", "BONE")
    (grant,) = grants_of(bot.state, ONE)
    assert (grant.scope, grant.principal) == ("admin", "UBOSS")


def test_who_is_not_named_gives_the_token_back(
    bot: Bot, workspaces: Workspaces, workspace_slack: Slack, install: dict[str, Page]
) -> None:
    for more in ({"team": {"id": "T0000EVIL"}}, {"is_enterprise_install": True}):
        asked, cookie = begin(install)
        workspace_slack.access = [granted(token="xoxb-evil") | more]
        done = come_back(install, cookie, code="c", state=asked["state"][0])
        assert done.status == 403
        assert "not among those that I serve" in done.body
    assert len(workspace_slack.said("xoxb-evil", "auth.revoke")) == 2
    with bot.state.transaction() as connection:
        assert connection.execute(sa.select(bots)).all() == []


def test_a_state_is_good_once_and_in_its_browser(
    workspace_slack: Slack, install: dict[str, Page]
) -> None:
    asked, cookie = begin(install)
    state = asked["state"][0]
    workspace_slack.access = [granted(), granted()]
    refused = [
        come_back(install, "other=1", code="c", state=state),
        come_back(install, "slack-app-oauth-state=x", code="c", state="x"),
        come_back(install, cookie, error="access_denied"),
    ]
    assert [r.status for r in refused] == [400, 401, 200]
    assert all("Not installed" in r.body for r in refused)
    assert come_back(install, cookie, code="c", state=state).status == 200
    assert come_back(install, cookie, code="c", state=state).status == 401


def test_what_was_begun_and_not_ended_is_forgotten(
    bot: Bot, install: dict[str, Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(install)
    assert purge_oauth_states(bot.state) == 0
    with bot.state.transaction() as connection:
        connection.execute(sa.update(oauth_states).values(expire_at=dt.datetime(2026, 1, 1)))
    assert purge_oauth_states(bot.state) == 1


def test_a_code_that_slack_does_not_know_installs_nothing(
    workspaces: Workspaces, workspace_slack: Slack, install: dict[str, Page]
) -> None:
    asked, cookie = begin(install)
    workspace_slack.access = [{"ok": False, "error": "invalid_code"}]
    assert come_back(install, cookie, code="c", state=asked["state"][0]).status == 401
    assert workspaces.installed(ONE) is None


def test_scopes_are_those_of_the_manifest() -> None:
    manifest = yaml.safe_load((ROOT / "manifest.yaml").read_text())
    assert list(SCOPES) == sorted(manifest["oauth_config"]["scopes"]["bot"])


# --- rotation -----------------------------------------------------------------------------------


def rotating(clock: Clock, expires_in: float) -> Installation:
    return installation(
        bot_refresh_token="xoxe-1-first", bot_token_expires_at=int(clock.now + expires_in)
    )


def new_token(token: str = "xoxe.xoxb-new") -> dict[str, Any]:
    return {"ok": True, "token_type": "bot", "access_token": token,
            "refresh_token": "xoxe-1-second", "expires_in": 12 * HOUR}  # fmt: skip


def test_a_token_is_rotated_before_it_expires(
    workspaces: Workspaces, workspace_slack: Slack, clock: Clock
) -> None:
    workspaces.save(rotating(clock, 12 * HOUR))
    first = workspaces.client(ONE)
    assert first is workspaces.client(ONE)
    assert first is not None
    assert first.token == "xoxb-one"
    clock.now += 10.5 * HOUR
    workspace_slack.access = [new_token()]
    second = workspaces.client(ONE)
    assert second is not None
    assert second.token == "xoxe.xoxb-new"
    (asked,) = workspace_slack.said("", "oauth.v2.access")
    assert (asked["grant_type"], asked["refresh_token"]) == ("refresh_token", "xoxe-1-first")
    found = workspaces.store.installed(ONE)
    assert found is not None
    assert (found.bot_token, found.bot_refresh_token) == ("xoxe.xoxb-new", "xoxe-1-second")
    assert workspaces.client(ONE) is second


def test_an_expired_token_is_rotated_when_the_bot_comes_back(
    workspaces: Workspaces, workspace_slack: Slack, clock: Clock
) -> None:
    workspaces.save(rotating(clock, -24 * HOUR))
    workspace_slack.access = [new_token()]
    client = workspaces.client(ONE)
    assert client is not None
    assert client.token == "xoxe.xoxb-new"


def test_one_process_rotates_and_the_other_takes_its_token(
    bot: Bot, workspaces: Workspaces, workspace_slack: Slack, clock: Clock
) -> None:
    workspaces.save(rotating(clock, HOUR))
    other = Workspaces(bot.state, CREDENTIALS, Vault(KEY), [ONE], workspace_slack, clock)
    workspace_slack.access = [new_token()]
    tokens = [client.token for w in (workspaces, other) if (client := w.client(ONE))]
    assert tokens == ["xoxe.xoxb-new"] * 2
    assert len(workspace_slack.said("", "oauth.v2.access")) == 1


def test_a_rotation_that_fails_is_tried_again_later(
    workspaces: Workspaces, workspace_slack: Slack, clock: Clock
) -> None:
    workspaces.save(rotating(clock, HOUR))
    workspace_slack.access = [{"ok": False, "error": "ratelimited"}, new_token()]
    tokens = []
    for _ in range(2):
        client = workspaces.client(ONE)
        tokens.append(client.token if client else None)
        clock.now += 300
    assert tokens == ["xoxb-one", "xoxe.xoxb-new"]


def test_postgresql_keeps_installations_too(
    new_database: Callable[[], str], workspace_slack: Slack, clock: Clock
) -> None:
    """Its columns must take what SQLite takes anyway: tokens grow when they are encrypted."""
    state = State.open(new_database())
    try:
        made = Workspaces(state, CREDENTIALS, Vault(KEY), [ONE], workspace_slack, clock)
        made.save(rotating(clock, HOUR))
        workspace_slack.access = [new_token("xoxe.xoxb-" + "n" * 300)]
        client = made.client(ONE)
        assert client is not None
        assert client.token == "xoxe.xoxb-" + "n" * 300
        made.forget(ONE)
        assert made.installed(ONE) is None
    finally:
        state.close()


# --- each workspace apart -----------------------------------------------------------------------


class Several:
    """A bot in two workspaces, and its app."""

    def __init__(self, bot: Bot, workspaces: Workspaces) -> None:
        workspaces.save(installation())
        workspaces.save(installation(TWO, "xoxb-two"))
        client = TeamsClient("http://127.0.0.1:1/api/")
        client.workspaces = workspaces
        self.workspaces = workspaces
        self.bot = bot.knowing(People(workspaces.client, lambda team: team))
        self.queue = Queue(bot.state, workers=9, waiting=9, per_person=1)
        self.poster = Poster(client, patience_seconds=0)
        self.senders = Senders(Outbox(bot.state), self.poster)
        self.app = slack_app(
            self.bot, self.queue, self.poster, Identity("", "", ""), signing_secret=SECRET,
            workspaces=workspaces,
        )  # fmt: skip

    def work(self) -> list[Job]:
        """Answer and post all that was taken; the jobs."""
        analyst = Analyst(self.bot, self.queue, self.senders.outbox, self.poster)
        jobs = []
        while claim := self.queue.claim(600):
            jobs.append(Job.from_json(claim.work))
            analyst.work(claim)
        while parcel := self.senders.outbox.claim(600):
            self.senders.send(parcel)
        return jobs


@pytest.fixture
def several(bot: Bot, workspaces: Workspaces) -> Iterator[Several]:
    made = Several(bot, workspaces)
    yield made
    made.app.listener_runner.listener_executor.shutdown()


def ask_in(app: App, team: str, token: str, text: str = "grants", event_id: str = "E") -> int:
    about = mention(text, team=team) | {"text": f"<@U{team[-3:]}BOT> {text}"}
    heard = [{"team_id": team, "is_bot": True}]
    return event(app, about, event_id + token, team_id=team, authorizations=heard).status


def test_each_workspace_is_answered_with_its_own_token(
    several: Several, workspace_slack: Slack
) -> None:
    for team, token in ((ONE, "xoxb-one"), (TWO, "xoxb-two")):
        assert ask_in(several.app, team, token) == 200
    jobs = several.work()
    assert [(j.user, j.channel, j.text) for j in jobs] == [
        (f"{ONE}/U1", f"{ONE}/C1", "grants"),
        (f"{TWO}/U1", f"{TWO}/C1", "grants"),
    ]
    for token in ("xoxb-one", "xoxb-two"):
        (posted,) = workspace_slack.said(token, "chat.postMessage")
        assert (posted["channel"], "figures about many" in posted["text"]) == ("C1", True)
    assert workspace_slack.said("", "chat.postMessage") == []


def test_rights_of_one_workspace_are_none_in_the_other(several: Several) -> None:
    give(several.bot.state, ONE, Grant("", "all", "user", "U1"), by="UBOSS")
    told = {
        team: json.loads(
            command(several.app, "churn top 5", f"{team}.1", team_id=team, user_id="U1").body
        )["text"]
        for team in (ONE, TWO)
    }
    assert "Working on" in told[ONE]
    assert "may not see single people" in told[TWO]


def test_who_installed_is_admin_there_and_nowhere_else(several: Several) -> None:
    asker = several.bot.asker(f"{ONE}/UBOSS", channel=f"{ONE}/C1", surface="slack")
    assert asker.rights.is_admin
    assert (asker.name, asker.team) == (f"{ONE}/UBOSS", ONE)
    settings = AccessSettings(admins=("U1", f"{TWO}/U2"))
    assert several.bot.access.__class__(settings, several.bot.state).admins(ONE, ()) == set()


def test_a_workspace_that_did_not_install_is_not_answered(several: Several) -> None:
    assert ask_in(several.app, "T00000THREE", "x") == 200
    body = command(several.app, "schema", team_id="T00000THREE").body
    assert "only answer people of the workspace" in body
    assert several.work() == []


def test_a_stranger_in_an_installed_workspace_is_not_answered(several: Several) -> None:
    about = mention("schema", user_team=TWO, team=TWO)
    heard = [{"team_id": ONE}]
    assert event(several.app, about, team_id=ONE, authorizations=heard).status == 200
    assert several.work() == []


def test_a_button_of_home_opens_the_right_direct_channel(
    several: Several, workspace_slack: Slack
) -> None:
    assert several.poster.direct_channel(f"{TWO}/U1") == f"{TWO}/D1"
    (asked,) = workspace_slack.said("xoxb-two", "conversations.open")
    assert asked["users"] == "U1"


@pytest.mark.parametrize(
    "gone", [{"type": "app_uninstalled"}, {"type": "tokens_revoked", "tokens": {"bot": ["U1"]}}]
)
def test_an_uninstalled_workspace_is_forgotten(
    several: Several, workspaces: Workspaces, gone: dict[str, Any]
) -> None:
    kept = {"type": "tokens_revoked", "tokens": {"oauth": ["U1"]}}
    assert event(several.app, kept, "G0", team_id=ONE).status == 200
    assert workspaces.installed(ONE)
    assert event(several.app, gone, "G1", team_id=ONE).status == 200
    assert workspaces.installed(ONE) is None
    assert workspaces.client(ONE) is None
    assert grants_of(several.bot.state, ONE) == ()
    assert workspaces.installed(TWO)
    assert len(grants_of(several.bot.state, TWO)) == 1
    with several.bot.state.transaction() as connection:
        teams = {row.team_id for row in connection.execute(sa.select(installations))}
    assert teams == {TWO}


def test_what_is_left_for_a_forgotten_workspace_is_given_up(
    several: Several, workspaces: Workspaces, workspace_slack: Slack
) -> None:
    ask_in(several.app, ONE, "x")
    workspaces.forget(ONE)
    several.work()
    assert several.senders.outbox.unfinished() == 0
    assert workspace_slack.said("xoxb-one", "chat.postMessage") == []


def test_a_workspace_taken_off_the_list_is_not_served(
    bot: Bot, several: Several, workspace_slack: Slack, clock: Clock
) -> None:
    fewer = Workspaces(bot.state, CREDENTIALS, Vault(KEY), [TWO], workspace_slack, clock)
    assert fewer.installed(ONE) is None
    assert fewer.client(ONE) is None
    assert fewer.client(TWO) is not None


def test_a_form_opens_with_the_right_token(several: Several, workspace_slack: Slack) -> None:
    who = {"team": {"id": TWO}, "user": {"id": "U1", "team_id": TWO}}
    body = {"type": "block_actions", "trigger_id": "5.5", "channel": {"id": "C1"},
            "container": {"channel_id": "C1", "message_ts": "1.1"},
            "actions": [{"type": "button", "action_id": "share", "block_id": "b",
                         "value": "kpis"}]}  # fmt: skip
    assert interaction(several.app, who | body).status == 200
    several.app.listener_runner.listener_executor.shutdown(wait=True)
    (opened,) = workspace_slack.said("xoxb-two", "views.open")
    assert opened["trigger_id"] == "5.5"


def test_files_go_up_with_the_right_token(
    several: Several, workspace_slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, Any]] = []

    def upload(self: Tokened, **more: Any) -> SlackResponse:
        sent.append((str(self.token), more["channel"]))
        return self.api_call("files.completeUploadExternal")

    monkeypatch.setattr(Tokened, "files_upload_v2", upload)
    several.poster.client.files_upload_v2(channel=f"{TWO}/C1", file_uploads=[])
    assert sent == [("xoxb-two", "C1")]


def test_one_workspace_by_token_knows_nothing_of_all_this(bot: Bot, slack: FakeSlack) -> None:
    queue = Queue(bot.state, workers=1, waiting=9, per_person=9)
    app = slack_app(bot, queue, Poster(slack), Identity("T000000001", "B1", "U00000DAY"),
                    signing_secret=SECRET)  # fmt: skip
    assert click(app, "again", "schema").status == 200
    claim = queue.claim(60)
    assert claim is not None
    assert Job.from_json(claim.work).user == "U1"
    app.listener_runner.listener_executor.shutdown()
