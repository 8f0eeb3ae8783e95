"""Nothing accepted is lost, nothing is answered twice: over cuts, storms, SIGTERM and kill -9."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
import yaml

from analytics.command import COMMANDS, Command, Context
from analytics.result import Figure, Result
from bot.slack import sending
from bot.slack.processes import end_with
from storage.schema import order_lines
from storage.sql import icount
from tests.e2e.driver import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, Driver, Workspace
from tests.e2e.proxy import Broken, Limited, Lost
from tests.e2e.running import Mode, bot_settings, running, wait_for_port

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
#: The short form; `make abuse` runs the full one.
ROUNDS = int(os.environ.get("DAYBREAK_ROUNDS", "1"))


@pytest.fixture
def store_url(shop: Context) -> str:
    """The demo shop's store."""
    return f"duckdb:///{shop.store.engine.path}"  # type: ignore[attr-defined]


def questions(workspace: Workspace) -> Counter[str]:
    """How often each question was answered in the channel."""
    return Counter(
        block["elements"][0]["text"].removeprefix("Understood: ")
        for message in workspace.history()
        for block in message.get("blocks") or []
        if block["type"] == "context" and "Understood: " in json.dumps(block)
    )


@pytest.fixture
def slow_command() -> Iterator[str]:
    """A question whose one query takes far longer than anybody waits."""

    @dataclass(frozen=True, kw_only=True)
    class Crawl(Command):
        """Count pairs of pairs of order lines."""

        examples: ClassVar = ("crawl",)

        def run(self, ctx: Context) -> Result:
            ctx.tell("Counting pairs.")
            a, b = order_lines.alias(), order_lines.alias()
            pairs = sa.select(icount().label("n")).select_from(
                a.join(b, a.c.quantity < b.c.quantity)
            )
            return Result("Crawl", "Done.", (Figure("Pairs", ctx.store.row(pairs)["n"], "count"),))

    yield "crawl"
    del COMMANDS["crawl"]


@pytest.mark.parametrize("mode", ["http", "socket"])
def test_a_long_question_shows_progress_and_is_cancelled_within_a_second(
    workspace: Workspace,
    tmp_path: Path,
    mode: Mode,
    store_url: str,
    slow_command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = bot_settings(workspace, tmp_path, mode, store=store_url)
    with running(workspace, settings, monkeypatch) as (service, driver):
        assert driver.command(slow_command).status == 200
        told = workspace.sink.wait_for(lambda r: "Still working" in r.body["text"])
        assert "Counting pairs" in told.body["text"]
        value = told.body["blocks"][1]["elements"][0]["value"]
        action = {"action_id": "cancel", "type": "button", "value": value}
        message = {"ts": "1.1", "text": "", "blocks": told.body["blocks"]}
        began = time.monotonic()
        assert driver.click(message, action).status == 200
        workspace.sink.wait_for(lambda r: r.body["text"] == "Cancelled.")
        workspace.proxy.wait_for(lambda: not service.keeper.running, 1.0)
        assert time.monotonic() - began < 1.0
        driver.click(message, action)
        workspace.sink.wait_for(lambda r: "nothing left" in r.body["text"])
        driver.command("status")
        workspace.sink.wait_for(lambda r: "data_table" in json.dumps(r.body))
    assert workspace.history() == []


def test_cut_answers_are_looked_up_and_each_message_stands_once(
    workspace: Workspace, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SETTLE_S", 0.2)
    workspace.proxy.upset("chat.postMessage", *[Lost()] * 12)
    settings = bot_settings(workspace, tmp_path, "http", store=store_url)
    asked = [f"kpis last {n} days" for n in range(10, 22)]
    with running(workspace, settings, monkeypatch) as (service, driver):
        for text in asked:
            assert driver.command(text).status == 200
        workspace.proxy.wait_for(lambda: set(questions(workspace)) == set(asked), 90)
        workspace.proxy.wait_for(
            lambda: service.queue.unfinished() + service.senders.outbox.unfinished() == 0, 60
        )
    assert questions(workspace) == Counter(asked)
    assert len(workspace.proxy.calls_of("chat.postMessage")) == 12


def test_a_storm_of_429_keeps_order_and_loses_nothing(
    workspace: Workspace, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storm = [Limited(1), Broken(503), Limited(1), Limited(1), Limited(0), Lost(), Limited(1)]
    workspace.proxy.upset("chat.postMessage", *storm)
    monkeypatch.setattr(sending, "SETTLE_S", 0.2)
    settings = bot_settings(workspace, tmp_path, "socket", store=store_url)
    with running(workspace, settings, monkeypatch) as (service, driver):
        asked = []
        for n in range(10, 16):
            asked.append(f"kpis last {n} days")
            driver.command(asked[-1])
            # one at a time, so that the order of the answers is that of the questions
            workspace.proxy.wait_for(lambda: service.queue.unfinished() == 0, 30)
        workspace.proxy.wait_for(lambda: service.senders.outbox.unfinished() == 0, 60)
    order = [
        block["elements"][0]["text"].removeprefix("Understood: ")
        for message in reversed(workspace.history())
        for block in (message.get("blocks") or [])[1:2]
    ]
    assert order == asked


@contextmanager
def process(settings_file: Path, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The bot as a process of its own, as people run it."""
    environment = os.environ | {
        "SLACK_BOT_TOKEN": BOT_TOKEN,
        "SLACK_APP_TOKEN": APP_TOKEN,
        "SLACK_SIGNING_SECRET": SIGNING_SECRET,
    }
    command = [sys.executable, "-m", "bot", "--config", str(settings_file), "serve"]
    with log.open("ab") as out:
        started = subprocess.Popen(  # ends with us, however we end
            command,
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=partial(end_with, os.getpid()),
        )
        try:
            wait_for_port(port, 60)
            yield started
        finally:
            if started.poll() is None:
                started.kill()
            started.wait(10)


def family(session: int) -> list[str]:
    """The processes of a session, as their ids and states."""
    listed = subprocess.run(
        ["ps", "-s", str(session), "-o", "pid=,stat="], capture_output=True, text=True, check=False
    )
    return [line for line in listed.stdout.splitlines() if "Z" not in line]


def orphans(workspace: Workspace, session: int) -> list[str]:
    """What is left of a session whose leader is gone, two seconds later at the latest."""
    with contextlib.suppress(AssertionError):
        workspace.proxy.wait_for(lambda: not family(session), 2.0)
    return family(session)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_twenty_accepted_questions_are_answered_once_though_the_process_ends(
    workspace: Workspace, tmp_path: Path, store_url: str, sign: signal.Signals, round_: int
) -> None:
    copy = tmp_path / "store.duckdb"
    shutil.copy(store_url.removeprefix("duckdb:///"), copy)
    settings = bot_settings(workspace, tmp_path, "http", store=f"duckdb:///{copy}")
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    log, port = tmp_path / "log", settings.slack.port
    driver: Driver = workspace.over_http(f"http://127.0.0.1:{port}/slack/events")
    asked = [f"kpis last {n} days" for n in range(10, 30)]
    with process(file, port, log) as first:
        acks = [driver.command(text) for text in asked]
        assert [a.status for a in acks] == [200] * 20
        assert max(a.seconds for a in acks) < 3
        began = time.monotonic()
        first.send_signal(sign)
        first.wait(25)
        took = time.monotonic() - began
        assert took <= 20
        assert orphans(workspace, first.pid) == []
        if sign is signal.SIGTERM:
            assert first.returncode == 0
    answered_first = sum(questions(workspace).values())
    assert answered_first < 20
    with process(file, port, log):
        workspace.proxy.wait_for(lambda: len(questions(workspace)) == 20, 120)
        ack = driver.command("status")
        assert ack.status == 200
        workspace.sink.wait_for(lambda r: "data_table" in json.dumps(r.body), 30)
    assert questions(workspace) == Counter(asked)
    assert b"Traceback" not in log.read_bytes()
    report(f"{sign.name}: 20 accepted, {answered_first} answered before the end, exit {took:.1f} s")


def called(session: int, name: str) -> int:
    """The process of a session that bears a name; 0: there is none."""
    listed = subprocess.run(
        ["ps", "-s", str(session), "-o", "pid=,comm="], capture_output=True, text=True, check=False
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    return next((int(pid) for pid, comm, *_ in rows if comm == f"daybreak-{name}"[:15]), 0)


@pytest.mark.parametrize("name", ["edge", "analyst", "nursery", "worker"])
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_each_process_may_be_killed_and_nothing_is_lost(
    workspace: Workspace, tmp_path: Path, store_url: str, name: str, round_: int
) -> None:
    copy = tmp_path / "store.duckdb"
    shutil.copy(store_url.removeprefix("duckdb:///"), copy)
    settings = bot_settings(workspace, tmp_path, "http", store=f"duckdb:///{copy}")
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    log, port = tmp_path / "log", settings.slack.port
    driver: Driver = workspace.over_http(f"http://127.0.0.1:{port}/slack/events")
    asked = [f"kpis last {n} days" for n in range(10, 20)]
    with process(file, port, log) as bot:
        first = workspace.proxy.wait_for(lambda: called(bot.pid, name), 30)
        acks = [driver.command(text) for text in asked]
        assert [a.status for a in acks] == [200] * 10
        workspace.proxy.wait_for(lambda: questions(workspace), 30)
        began = time.monotonic()
        os.kill(first, signal.SIGKILL)
        workspace.proxy.wait_for(lambda: called(bot.pid, name) not in (0, first), 30)
        back = time.monotonic() - began
        # what a killed analyst had in work is begun again by the one that has its store
        workspace.proxy.wait_for(lambda: len(questions(workspace)) == 10, 120)
        took = time.monotonic() - began
        wait_for_port(port, 30)
        assert driver.command("status").status == 200
        workspace.sink.wait_for(lambda r: "data_table" in json.dumps(r.body), 60)
        bot.send_signal(signal.SIGTERM)
        bot.wait(25)
        assert orphans(workspace, bot.pid) == []
    assert questions(workspace) == Counter(asked)
    report(
        f"kill -9 of the {name}: another after {back:.2f} s, 10 of 10 answered after {took:.1f} s"
    )


def report(line: str) -> None:
    """A figure for the log of the full form."""
    target: Any = os.environ.get("DAYBREAK_FIGURES")
    if target:
        with Path(target).open("a") as out:
            out.write(line + "\n")
