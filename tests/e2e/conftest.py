"""A fresh workspace for each test that lives here: emulator, proxy and response sink."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from slack_sdk import WebClient

from analytics.command import Context
from tests.e2e.driver import BOT_TOKEN, Driver, Workspace, response_sink
from tests.e2e.emulator import emulator, installed
from tests.e2e.proxy import proxy
from tests.e2e.running import Mode, Service, bot_settings, chores_are_done, running


@pytest.fixture(scope="session")
def emulator_installed() -> None:
    """Skip, loudly, where `npm ci` has not been run."""
    if not installed():
        pytest.skip("NOT RUN: the Slack emulator is not here; run `npm ci` in tests/e2e")


@pytest.fixture
def workspace(emulator_installed: None, tmp_path: Path) -> Iterator[Workspace]:
    """An emulated Slack with a channel #ops and a person, maria."""
    with (
        proxy() as between,
        emulator(tmp_path / "emulator.log", advertised=between.root) as upstream,
        response_sink() as sink,
    ):
        between.upstream = upstream
        slack = WebClient(BOT_TOKEN, base_url=f"{upstream}/api/", retry_handlers=[])
        channels = {c["name"]: c["id"] for c in slack.conversations_list()["channels"]}
        users = {u["name"]: u["id"] for u in slack.users_list()["members"]}
        yield Workspace(between, sink, slack, channels["ops"], users["maria"])


@pytest.fixture(params=get_args(Mode))
def mode(request: pytest.FixtureRequest) -> Mode:
    """Each transport in turn."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def store_url(shop: Context) -> str:
    """The demo shop's store."""
    return f"duckdb:///{shop.store.engine.path}"  # type: ignore[attr-defined]


@pytest.fixture
def bot(
    workspace: Workspace,
    tmp_path: Path,
    mode: Mode,
    store_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Service, Driver]]:
    """The bot over the demo shop; afterwards, every message was one that Slack takes."""
    settings = bot_settings(workspace, tmp_path, mode, store=store_url)
    with running(workspace, settings, monkeypatch) as started:
        service, _ = started
        workspace.proxy.wait_for(lambda: chores_are_done(service.queue), 60)
        yield started
    assert workspace.proxy.refusals == []
    assert all(not r.error for r in workspace.sink.responses)


@pytest.fixture
def driver(bot: tuple[Service, Driver]) -> Driver:
    """Maria in #ops."""
    return bot[1]
