"""A fresh workspace for each test that lives here: emulator, proxy and response sink."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from slack_sdk import WebClient

from tests.e2e.driver import BOT_TOKEN, Workspace, response_sink
from tests.e2e.emulator import emulator, installed
from tests.e2e.proxy import proxy


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
