"""The keeper and its worker: what does not stop is stopped, and takes nobody along."""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from bot.config import LimitSettings, Settings, StateSettings
from bot.setup import Bot
from bot.slack.answering import Job
from bot.slack.blocks import Message
from bot.slack.keeper import PROGRESS_AFTER_S, Keeper, Running
from bot.slack.processes import Bell, Nursery, Role, Supervisor, born, ended, memory_of
from bot.slack.work import Work
from bot.slack.worker import Worker, serve_line
from storage.queue import DONE, Claim, Queue, jobs
from storage.state import State


def until(true: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What `true` returns once that is truthy."""
    end, pause = time.monotonic() + seconds, Event()
    while not (found := true()):
        assert time.monotonic() < end, "waited in vain"
        pause.wait(0.02)
    return found


class Player:
    """Answers by what it is asked: at once, never, with much memory, or with its death."""

    def __init__(self, url: str, folder: Path) -> None:
        self.state = State.open(url)
        self.queue = queue_of(self.state)
        self.folder = folder

    def facts(self) -> dict[str, Any]:
        return {"data_through": "2026-11-01T00:00:00"}

    def work(self, claim: Claim, work: Work) -> None:
        text = Job.from_json(claim.work).text
        with (self.folder / text).open("a") as out:
            out.write(".")
        match text:
            case "stuck":
                work.tell("I am stuck.")
                while True:
                    pass
            case "polite":
                while True:
                    work.tell("I listen.")
            case "greedy":
                held = []
                while True:
                    held.append(bytearray(b"x" * (1 << 24)))
            case "deadly":
                os._exit(9)
            case "slow":
                Event().wait(1.0)
        self.queue.finish(claim)


def queue_of(state: State) -> Queue:
    return Queue(state, workers=2, waiting=9, per_person=9)


def play(url: str, folder: Path, line: Connection) -> int:
    return serve_line(line, partial(Player, url, folder), memory_bytes=0)


class Bench:
    """A keeper over a worker that plays."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder / 'state.sqlite'}"
        self.folder = folder
        self.worker = Worker(Nursery(partial(play, url, folder)))
        limits = LimitSettings(give_up_seconds=3.5)
        settings = Settings(state=StateSettings(url=url), limits=limits)
        self.bot = Bot.open(settings, with_store=False)
        self.queue = queue_of(self.bot.state)
        self.failures: list[tuple[str, str]] = []
        self.slow: list[str] = []
        self.turns: list[str] = []
        self.keeper = Keeper(
            self.bot,
            self.queue,
            self.worker,
            slow=lambda _job, _number, progress: self.slow.append(progress),
            failed=self.failed,
            turn=lambda job: self.turns.append(job.text),
        )
        self.worker.start()
        self.keeper.start()

    def failed(self, claim: Claim, job: Job, _: Message, outcome: str) -> None:
        assert self.queue.finish(claim)
        self.failures.append((job.text, outcome))

    def ask(self, text: str) -> int:
        job = Job(text, "U1", "C1", "mention")
        place = self.queue.put(f"{text}{time.monotonic()}", "U1", job.to_json())
        self.keeper.wake()
        return place.job  # type: ignore[union-attr]

    def begun(self, text: str) -> int:
        file = self.folder / text
        return len(file.read_text()) if file.exists() else 0

    def is_done(self, number: int) -> bool:
        with self.bot.state.transaction() as connection:
            query = jobs.select().where(jobs.c.id == number)
            return bool(connection.execute(query).one().status == DONE)

    def close(self) -> None:
        self.keeper.stop(0.1)
        self.bot.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    opened = Bench(tmp_path)
    yield opened
    opened.close()


def test_a_question_is_worked_off_in_another_process(bench: Bench) -> None:
    number = bench.ask("quick")
    until(lambda: bench.is_done(number))
    until(lambda: bench.worker.facts().get("data_through"))
    assert not (bench.keeper.running and bench.worker.ends)


def test_what_listens_is_cancelled_without_a_death(bench: Bench) -> None:
    number = bench.ask("polite")
    until(lambda: bench.begun("polite"))
    assert bench.queue.cancel(number, "U1")
    bench.keeper.wake()
    until(lambda: not bench.keeper.running, 1.0)
    assert bench.worker.ends == 0


def test_what_does_not_listen_is_gone_within_a_second_and_its_neighbour_is_answered(
    bench: Bench,
) -> None:
    slow, number = bench.ask("slow"), bench.ask("stuck")
    until(lambda: bench.begun("stuck") and bench.begun("slow"))
    assert bench.queue.cancel(number, "U1")
    began = time.monotonic()
    bench.keeper.wake()
    until(lambda: bench.worker.ends)
    assert time.monotonic() - began < 1.0
    until(lambda: bench.is_done(slow))
    assert bench.begun("slow") == 2
    assert bench.failures == []


def test_what_takes_too_long_is_given_up_and_said(bench: Bench) -> None:
    number = bench.ask("stuck")
    until(lambda: bench.failures)
    assert bench.failures == [("stuck", "killed_for_time")]
    assert bench.is_done(number)
    after = bench.ask("quick")
    until(lambda: bench.is_done(after))


def test_what_takes_too_much_memory_is_found_though_it_was_not_alone(bench: Bench) -> None:
    bench.keeper.memory_bytes = bench.worker.memory() + (200 << 20)
    slow, _ = bench.ask("slow"), bench.ask("greedy")
    until(lambda: bench.failures)
    assert bench.failures == [("greedy", "killed_for_memory")]
    until(lambda: bench.is_done(slow))


def test_what_ends_its_process_is_begun_alone_and_three_times_at_most(bench: Bench) -> None:
    slow, number = bench.ask("slow"), bench.ask("deadly")
    until(lambda: bench.begun("deadly") >= 2)
    until(lambda: bench.is_done(slow))
    with bench.bot.state.transaction() as connection:
        query = jobs.select().where(jobs.c.id == number)
        assert connection.execute(query).one().fence <= bench.begun("deadly")


def test_who_waits_hears_how_far_it_is(bench: Bench) -> None:
    claim = Claim(1, 1, "U1", Job("stuck", "U1", "C1", "mention").to_json())
    running = Running(claim, Job("stuck", "U1", "C1", "mention"), 0.0, "so far", begun=True)
    bench.keeper._look_at(running, PROGRESS_AFTER_S, is_ours=True)
    bench.keeper._look_at(running, PROGRESS_AFTER_S, is_ours=True)
    assert bench.slow == ["so far"]


def test_a_load_may_take_as_long_as_its_files(bench: Bench) -> None:
    for way, late in (("mention", True), ("load", False)):
        job = Job("x", "U1", "C1", way)  # type: ignore[arg-type]
        running = Running(Claim(1, 1, "U1", job.to_json()), job, 0.0, begun=True)
        assert running.is_late(400.0, 300.0) == late


def test_who_has_waited_hears_that_it_is_their_turn(bench: Bench) -> None:
    for waited in (0.2, 3.0):
        claim = Claim(1, 1, "U1", Job(f"quick {waited}", "U1", "C1", "mention").to_json(), waited)
        bench.keeper.work(claim)
    assert bench.turns == ["quick 3.0"]


def test_a_worker_ends_with_its_nursery_and_the_nursery_with_its_parent(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.sqlite'}"
    told = tmp_path / "pids"

    def live() -> int:
        nursery = Nursery(partial(play, url, tmp_path))
        pid, _line = nursery.worker()
        told.with_suffix(".new").write_text(f"{nursery.pid} {pid}")
        told.with_suffix(".new").rename(told)
        Event().wait(60)
        return 0

    parent = born(live)
    until(told.exists)
    pids = [int(word) for word in told.read_text().split()]
    assert all(memory_of(pid) for pid in pids)
    os.kill(parent, 9)
    assert until(lambda: ended(parent) is not None)
    until(lambda: not any(memory_of(pid) for pid in pids))


def test_the_supervisor_starts_again_what_ends_and_stops_when_told(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def role(name: str, up: Bell) -> int:
        with log.open("a") as out:
            out.write(f"{name} ")
        up.ring()
        if log.read_text().split().count(name) < 3:
            return 1
        Event().wait(60)
        return 0

    def live() -> int:
        ups = {name: Bell() for name in ("a", "b")}
        roles = [Role(name, partial(role, name, up), up, 1.0) for name, up in ups.items()]
        return Supervisor(roles).run()

    supervisor = born(live)
    until(lambda: log.exists() and sorted(log.read_text().split()) == [*"aaabbb"])
    os.kill(supervisor, 15)
    assert until(lambda: (status := ended(supervisor)) is not None and (status,)) == (0,)


def test_a_role_that_refuses_to_start_ends_the_whole(tmp_path: Path) -> None:
    def live() -> int:
        up = Bell()
        waiting = Role("waiting", lambda: Event().wait(60) and 0, Bell(), 1.0)
        return Supervisor([waiting, Role("refusing", lambda: 2, up, 1.0)]).run()

    supervisor = born(live)
    assert until(lambda: (status := ended(supervisor)) is not None and (status,)) == (2,)


def test_a_bell_that_rang_before_anybody_listened_is_heard() -> None:
    bell = Bell()
    for _ in range(100_000):
        bell.ring()
    assert bell.heard(1.0)
    until(lambda: not bell.heard(0.0))
    bell.close()


def test_how_far_a_long_question_is_can_be_read_by_others(bench: Bench) -> None:
    number = bench.ask("stuck")
    assert until(lambda: bench.queue.progress(number)) == "I am stuck."
    assert bench.queue.cancel(number, "U1")
