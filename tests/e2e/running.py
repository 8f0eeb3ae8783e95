"""Our bot, running in this process, between a driver and the proxy."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Literal

import pytest

from bot.config import LimitSettings, Settings, SlackSettings, StateSettings, StoreSettings
from bot.slack.serve import Service, service
from tests.e2e.driver import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, Driver, Workspace
from tests.e2e.emulator import free_port

Mode = Literal["http", "socket"]


def bot_settings(
    workspace: Workspace, folder: Path, mode: Mode, *, store: str = "", **slack: Any
) -> Settings:
    """Settings that point at the proxy."""
    more = {"mode": mode, "port": free_port(), "api_url": workspace.proxy.url} | slack
    return Settings(
        store=StoreSettings(url=store or f"duckdb:///{folder / 'store.duckdb'}"),
        state=StateSettings(url=f"sqlite:///{folder / 'state.sqlite'}"),
        clock="after data",
        time_zone="Europe/London",
        currency="GBP",
        limits=LimitSettings(per_person=50),
        slack=SlackSettings.model_validate(more),
    )


@contextmanager
def running(
    workspace: Workspace, settings: Settings, patch: pytest.MonkeyPatch
) -> Iterator[tuple[Service, Driver]]:
    """The bot with its secrets in the environment, and a person who acts on it."""
    patch.setenv("SLACK_BOT_TOKEN", BOT_TOKEN)
    patch.setenv("SLACK_APP_TOKEN", APP_TOKEN)
    patch.setenv("SLACK_SIGNING_SECRET", SIGNING_SECRET)
    started = service(settings)
    started.start()
    try:
        if settings.slack.mode == "http":
            wait_for_port(settings.slack.port)
            driver = workspace.over_http(f"http://127.0.0.1:{settings.slack.port}/slack/events")
        else:
            driver = workspace.over_socket()
        yield started, driver
    finally:
        started.stop(5, 5)


def wait_for_port(port: int, seconds: float = 10.0) -> None:
    """Return once somebody listens."""
    until, pause = monotonic() + seconds, Event()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if monotonic() > until:
                raise
            pause.wait(0.05)
        else:
            return
