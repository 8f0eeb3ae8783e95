"""Edge, analyst and worker as processes, over work that takes them a while."""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from bot.config import Settings
from storage.queue import DONE, Queue
from storage.state import State, jobs
from tests.e2e.busy import busy_shop
from tests.e2e.driver import Driver, Workspace
from tests.e2e.running import bot_settings, running
from tests.e2e.test_durable import ROOT, ROUNDS, called, process, questions, report

pytestmark = pytest.mark.e2e

#: What is asked, and what it says while it computes.
SEGMENT = ("segment last 90 days", "Grouping")
RULES = ("rules last 90 days by apriori", "Mining")
#: A promise is a second; a machine that does much else besides is given three.
CANCELLED_WITHIN_S = 3.0
#: A process that is born, and the answer, on a busy machine.
TAKEN_UP_WITHIN_S = 120.0
ASKED = 50 if ROUNDS > 1 else 15
#: Lines of a file that takes a few seconds to load.
ORDERS = 1_500_000


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store over which both questions take more than five seconds."""
    file = tmp_path_factory.mktemp("busy") / "store.duckdb"
    return busy_shop(file, people=2_000_000, orders=3_000_000, items=600, skew=2)


@dataclass
class Running:
    """The bot's processes, who acts on them, and the bot's memory."""

    leader: int
    driver: Driver
    queue: Queue
    log: Path
    wait_for: Callable[..., Any]

    def begin(self, question: str, doing: str) -> int:
        """Ask, and wait until it is doing that; the job's number."""
        assert self.driver.command(question).status == 200
        with self.queue.state.transaction() as connection:
            ours = sa.select(sa.func.max(jobs.c.id)).where(jobs.c.work.contains(question))
            job = int(connection.execute(ours).scalar_one())  # chores come in between
        self.wait_for(lambda: self.queue.progress(job).startswith(doing), 60)
        return job

    def progress(self) -> str:
        """How far the newest job of a terminal is."""
        chosen = sa.select(jobs.c.progress).where(jobs.c.person == "terminal")
        with self.queue.state.transaction() as connection:
            newest = connection.execute(chosen.order_by(jobs.c.id.desc()).limit(1))
            return str(newest.scalar_one_or_none() or "")

    def is_done(self, job: int) -> bool:
        with self.queue.state.transaction() as connection:
            chosen = sa.select(jobs.c.status).where(jobs.c.id == job)
            return bool(connection.execute(chosen).scalar_one() == DONE)


@contextmanager
def processes(workspace: Workspace, folder: Path, settings: Settings) -> Iterator[Running]:
    """The bot as people run it."""
    file, log = folder / "config.yaml", folder / "log"
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    driver = workspace.over_http(f"http://127.0.0.1:{settings.slack.port}/slack/events")
    with process(file, settings.slack.port, log) as bot:
        state = State.open(settings.state.url)
        queue = Queue(state, workers=2, waiting=50, per_person=50)
        workspace.proxy.wait_for(lambda: called(bot.pid, "worker"), 60)
        yield Running(bot.pid, driver, queue, log, workspace.proxy.wait_for)
        state.close()
    assert b"Traceback" not in log.read_bytes()


@pytest.mark.parametrize(("question", "doing"), [SEGMENT, RULES], ids=["segment", "rules"])
def test_cancel_ends_clustering_and_mining(
    workspace: Workspace, tmp_path: Path, busy: str, question: str, doing: str
) -> None:
    settings = bot_settings(workspace, tmp_path, "http", store=busy)
    with processes(workspace, tmp_path, settings) as bot:
        job = bot.begin(question, doing)
        worker = called(bot.leader, "worker")
        said = bot.log.read_bytes().count(b"answer_dropped")

        def has_ended() -> bool:
            """It let itself be stopped, or its process is gone."""
            is_gone = not Path(f"/proc/{worker}").exists()
            return is_gone or bot.log.read_bytes().count(b"answer_dropped") > said

        action = {"action_id": "cancel", "type": "button", "value": str(job)}
        began = time.monotonic()
        assert bot.driver.click({"ts": "1.1", "text": "", "blocks": []}, action).status == 200
        workspace.proxy.wait_for(has_ended, 30)
        took = time.monotonic() - began
        workspace.sink.wait_for(lambda r: r.body["text"] == "Cancelled.")
        assert took < CANCELLED_WITHIN_S
        assert bot.driver.command("schema").status == 200
        workspace.sink.wait_for(lambda r: "data_table" in str(r.body), 60)
        (audited,) = [
            row for row in bot.queue.state.recent_questions() if row.outcome == "cancelled"
        ]
    assert audited.text == question
    assert audited.seconds > 1
    assert questions(workspace)[question] == 0
    report(
        f"Cancel of `{question}` while {doing.lower()}, {audited.seconds:.1f} s after it began: "
        f"ended {took:.2f} s after the press"
    )


def test_a_killed_analyst_is_taken_over_and_answers_once(
    workspace: Workspace, tmp_path: Path, busy: str
) -> None:
    question, doing = SEGMENT
    settings = bot_settings(workspace, tmp_path, "http", store=busy)
    with processes(workspace, tmp_path, settings) as bot:
        job = bot.begin(question, doing)
        began = time.monotonic()
        os.kill(called(bot.leader, "analyst"), signal.SIGKILL)
        workspace.proxy.wait_for(lambda: bot.is_done(job), TAKEN_UP_WITHIN_S)
        workspace.proxy.wait_for(lambda: questions(workspace)[question], 20)
        took = time.monotonic() - began
        (audited,) = [r for r in bot.queue.state.recent_questions() if r.text == question]
        assert bot.driver.command("schema").status == 200
        workspace.sink.wait_for(lambda r: "data_table" in str(r.body), 60)
    assert questions(workspace)[question] == 1
    assert audited.outcome == "answered"
    report(
        f"kill -9 of the analyst in mid-question: answered once, {took:.1f} s after the kill "
        f"({audited.seconds:.1f} s of them computing)"
    )


def test_a_process_apart_costs_little_between_ack_and_post(
    workspace: Workspace, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {}
    for name in ("here", "apart"):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "shop.duckdb"
        shutil.copy(store_url.removeprefix("duckdb:///"), file)
        url = f"duckdb:///{file}"
        ours[name] = bot_settings(workspace, tmp_path / name, "http", store=url)
    with running(workspace, ours["here"], monkeypatch) as (_, driver):
        here = latencies(workspace, driver)
    with processes(workspace, tmp_path / "apart", ours["apart"]) as bot:
        apart = latencies(workspace, bot.driver)
    for name, seconds in (("in one process", here), ("edge, analyst, worker", apart)):
        cuts = statistics.quantiles(seconds, n=20)
        report(
            f"ack to post of `kpis`, {name}, {len(seconds)} in turn: "
            f"p50 {1000 * cuts[9]:.0f} ms, p95 {1000 * cuts[18]:.0f} ms"
        )
    assert statistics.median(apart) < 3.0


@pytest.mark.parametrize("name", ["", "worker", *["analyst"] * (ROUNDS > 1)])
def test_a_load_beside_the_running_bot_is_taken_once_whatever_dies(
    workspace: Workspace, tmp_path: Path, name: str
) -> None:
    rows = ORDERS if name else 1000
    file = tmp_path / "orders.csv"
    lines = (f"o{i},p{i % 999},2026-10-{1 + i % 28:02} 10:00:00,{i % 90}.50" for i in range(rows))
    file.write_text("order_id,person_id,ordered_at,amount\n" + "\n".join(lines) + "\n")
    settings = bot_settings(workspace, tmp_path, "http")
    with processes(workspace, tmp_path, settings) as bot:
        began = time.monotonic()
        told = (tmp_path / "told").open("w+")
        arguments = ["--config", str(tmp_path / "config.yaml"), "load", "orders", str(file)]
        command = [sys.executable, "-m", "bot", *arguments, "--source", "shop", "--yes"]
        terminal = subprocess.Popen(command, cwd=ROOT, stderr=told, stdout=told)
        if name:
            workspace.proxy.wait_for(lambda: bot.progress().startswith("Writing"), 60)
            os.kill(called(bot.leader, name), signal.SIGKILL)
        assert terminal.wait(120) == 0
        took = time.monotonic() - began
        told.seek(0)
        said = told.read()
        told.close()
        assert f"orders: {rows:,} new, 0 changed, 0 unchanged." in said
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert "loaded before. Nothing changed." in again.stderr
        asked = [*command[:5], "ask", "kpis", "all", "time", "--csv"]
        answer = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    orders = next(line for line in answer.stdout.splitlines() if "Orders" in line)
    assert str(rows) in orders
    killed = f", its {name} killed while it wrote" if name else ""
    report(f"load of {rows:,} lines beside the running bot{killed}: {took:.1f} s, each line once")


def latencies(workspace: Workspace, driver: Driver) -> list[float]:
    """Seconds between acknowledgement and post of one question after the other, once warm."""
    took = []
    for days in range(10, 10 + ASKED + 5):
        before = len(workspace.proxy.calls_of("chat.postMessage"))
        assert driver.command(f"kpis last {days} days").status == 200
        acknowledged = time.monotonic()
        workspace.proxy.wait_for(
            lambda n=before: len(workspace.proxy.calls_of("chat.postMessage")) > n, 30
        )
        took.append(workspace.proxy.calls_of("chat.postMessage")[-1].at - acknowledged)
    return took[5:]
