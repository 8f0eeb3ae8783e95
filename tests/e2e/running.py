"""Our bot, running in this process, between a driver and the proxy."""

import dataclasses
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Literal

import pytest
import sqlalchemy as sa

from bot.config import LimitSettings, Settings, SlackSettings, StateSettings, StoreSettings
from bot.setup import open_store
from bot.slack.chores import CHORES
from bot.slack.keeper import Keeper
from bot.slack.post import Poster
from bot.slack.sending import Senders
from bot.slack.serve import (
    AnalystService,
    EdgeService,
    analyst_of,
    analyst_service,
    edge_service,
)
from bot.slack.worker import Here
from storage.queue import DONE, Queue
from storage.state import State, jobs
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


@dataclass
class Service:
    """Both roles in this process, which meet in the state database alone, as processes do."""

    edge: EdgeService
    analyst: AnalystService

    @property
    def queue(self) -> Queue:
        return self.edge.queue

    @property
    def senders(self) -> Senders:
        return self.edge.senders

    @property
    def keeper(self) -> Keeper:
        return self.analyst.keeper

    @property
    def poster(self) -> Poster:
        return self.edge.poster

    def start(self) -> None:
        self.analyst.start()
        self.edge.start()

    def stop(self, finish: float, send: float) -> None:
        self.edge.quiet()
        self.analyst.stop(finish)
        self.edge.stop(send)


def service(settings: Settings) -> Service:
    """Both roles; nothing runs yet."""
    keepers: list[Keeper] = []
    edge = edge_service(settings, asked=lambda: keepers[0].wake())
    client = edge.poster.client
    bot = dataclasses.replace(
        edge.bot, opened=open_store(settings), state=State.open(settings.state.url)
    )
    here = Here(analyst_of(bot, client, edge.senders.wake))
    analyst = analyst_service(bot, client, here, edge.senders.wake)
    keepers.append(analyst.keeper)
    return Service(edge, analyst)


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


def chores_are_done(queue: Queue) -> bool:
    """Whether what the clock asks for at the start is over: it takes places in the line."""
    done = sa.select(sa.func.count()).where(jobs.c.status == DONE)
    with queue.state.transaction() as connection:
        finished = connection.execute(done).scalar_one()
    return finished >= len(CHORES) and queue.unfinished() == 0


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
