"""The process in which an analyst computes: it alone opens the store, and may be killed.

The analyst's keeper hands it claims over a line; it answers each in a thread of its own and says
when it is done. What can't be stopped from inside is stopped by ending the process: another is
born in its place, and what else was in work is begun again.
"""

import contextlib
import logging
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal, Protocol

from bot.slack.processes import Nursery, memory_of, send
from bot.slack.work import Work
from storage.engines import StoreError
from storage.queue import Claim

log = logging.getLogger("daybreak.slack")

#: Why a process ended: its question took too long, all it did took too much memory, a cancelled
#: question did not stop; or it ended by itself.
Why = Literal["late", "memory", "cancelled", "by itself"]

#: Addresses are reserved beyond what is used: by engines, compilers and drawing.
RESERVED_BYTES = 4 << 30
#: Behind those who answer Slack.
NICE = 5
#: A file that a killed process held is free when the kernel is done with it.
OPEN_WITHIN_S = 5.0
AGAIN_S = 0.1
BEGIN_WITHIN_S = 60.0
HASTY_S = 1.0


class EndedError(Exception):
    """The process ended before the question was done; `by` is the job whose fault it was."""

    def __init__(self, why: Why, by: int | None = None, *, alone: bool = False) -> None:
        """Without a `by` it was any of those in work; `alone`: there was one only."""
        super().__init__(why)
        self.why = why
        self.by = by
        self.alone = alone


class Answering(Protocol):
    """What works a claim off, as `Analyst` does."""

    def work(self, claim: Claim, work: Work) -> None:
        """Answer, and put the answer where it belongs."""
        ...

    def facts(self) -> dict[str, Any]:
        """What others want to know of the data."""
        ...


class Here:
    """Works claims off in this process: nothing can be killed."""

    def __init__(self, answering: Answering) -> None:
        """`answering` does it."""
        self.answering = answering
        self._working: dict[int, Work] = {}

    def start(self) -> None:
        """Nothing is to be started."""

    def work(self, claim: Claim, tell: Callable[[str], None]) -> None:
        """Answer one question."""
        self._working[claim.job] = Work(tell)
        try:
            self.answering.work(claim, self._working[claim.job])
        finally:
            del self._working[claim.job]

    def drop(self, job: int) -> None:
        """Stop it where it lets itself be stopped."""
        if job in self._working:
            self._working[job].drop()

    def end(self, why: Why, by: int | None = None) -> None:
        """It must end by itself."""

    def memory(self) -> int:
        """Not counted."""
        return 0

    def facts(self) -> dict[str, Any]:
        """What others want to know of the data."""
        return self.answering.facts()

    def close(self) -> None:
        """Nothing is to be closed."""


@dataclass
class Process:
    """One process, and what it was given."""

    pid: int
    line: Connection
    waiting: dict[int, tuple[Future[None], Callable[[str], None]]]
    ended: tuple[Why, int | None]
    since: float


class Worker:
    """Works claims off in a process that can be killed, and is born again."""

    def __init__(self, nursery: Nursery, lost: Callable[[], None] = lambda: None) -> None:
        """Processes are born in the nursery; `lost()` is called where it can bear no more."""
        self.nursery = nursery
        self.lost = lost
        self._process: Process | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._facts: dict[str, Any] = {}
        self.ends = 0

    def start(self) -> None:
        """Let the first process be born. Raises StoreError where it can't open the store."""
        opened: Future[None] = Future()
        self._begin(opened)
        opened.result(BEGIN_WITHIN_S)

    def work(self, claim: Claim, tell: Callable[[str], None]) -> None:
        """Answer one question. Raises EndedError."""
        future: Future[None] = Future()
        with self._changed:
            if not self._changed.wait_for(lambda: self._process or self._closed, BEGIN_WITHIN_S):
                raise EndedError("by itself")
            if self._process is None:
                raise EndedError("by itself")
            self._process.waiting[claim.job] = (future, tell)
            self._say("work", claim)
        future.result()

    def drop(self, job: int) -> None:
        """Ask it to stop."""
        with self._changed:
            self._say("drop", job)

    def end(self, why: Why, by: int | None = None) -> None:
        """Kill the process; `by` is whose fault it is."""
        with self._changed:
            process = self._process
            if process is None or (by is not None and by not in process.waiting):
                return
            process.ended = (why, by)
            log.warning("worker_killed", extra={"why": why, "job": by})
            send(process.pid, signal.SIGKILL)

    def memory(self) -> int:
        """Bytes in use by the process."""
        process = self._process
        return memory_of(process.pid) if process else 0

    def facts(self) -> dict[str, Any]:
        """What it last knew of the data; asks anew."""
        with self._changed:
            self._say("facts", None)
        return self._facts | {"worker_ends": self.ends}

    def close(self) -> None:
        """End the process for good."""
        with self._changed:
            self._closed = True
            process, self._process = self._process, None
            self._changed.notify_all()
        if process is not None:
            send(process.pid, signal.SIGKILL)
        self.nursery.close()

    def _say(self, what: str, about: Any) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):  # it has ended: its listener hears
                self._process.line.send((what, about))

    def _begin(self, opened: "Future[None]") -> None:
        """A new process, and a thread that hears it."""
        with self._changed:
            if self._closed:
                return
            try:
                pid, line = self.nursery.worker()
            except OSError:
                log.exception("nursery_lost")
                self._closed = True
                self._changed.notify_all()
                self.lost()
                return
            self._process = Process(pid, line, {}, ("by itself", None), time.monotonic())
            self._changed.notify_all()
            hearing = threading.Thread(
                target=self._hear, args=(self._process, opened), name="worker", daemon=True
            )
        hearing.start()

    def _hear(self, process: Process, opened: "Future[None]") -> None:
        """Until it ends; then another takes its place, and those who wait hear why."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._heard(process, opened, *process.line.recv())
        process.line.close()
        with self._changed:
            if self._process is process:
                self._process = None
            self.ends += not self._closed
        ended = EndedError(*process.ended, alone=len(process.waiting) == 1)
        for future, _ in process.waiting.values():
            future.set_exception(ended)
        if not opened.done():
            opened.set_exception(ended)
        elif ended.why == "by itself" and time.monotonic() - process.since < HASTY_S:
            time.sleep(HASTY_S)  # what ends as soon as it is born is not born in haste
        self._begin(Future())

    def _heard(self, process: Process, opened: "Future[None]", what: str, *about: Any) -> None:
        match what:
            case "opened":
                opened.set_result(None)
            case "refused":
                opened.set_exception(about[0])
            case "facts":
                self._facts = about[0]
            case "told":
                if about[0] in process.waiting:
                    process.waiting[about[0]][1](about[1])
            case "done":
                with self._changed:
                    future, _ = process.waiting.pop(about[0])
                future.set_result(None)


# Inside the process.


def serve_line(line: Connection, opened: Callable[[], Answering], *, memory_bytes: int) -> int:
    """Work off what comes over the line, until it ends; the exit status."""
    os.nice(NICE)
    if memory_bytes:
        most = memory_bytes + RESERVED_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        answering = patiently(opened)
    except StoreError as error:
        line.send(("refused", error))
        return 1
    inside = Inside(line, answering)
    inside.say("opened")
    with contextlib.suppress(EOFError, OSError):
        while True:
            inside.heard(*line.recv())
    return 0


def patiently(opened: Callable[[], Answering]) -> Answering:
    """Open the store; again for a while, where another holds it. Raises StoreError."""
    until = time.monotonic() + OPEN_WITHIN_S
    while True:
        try:
            return opened()
        except StoreError:
            if time.monotonic() > until:
                raise
            time.sleep(AGAIN_S)


class Inside:
    """The process's end of the line."""

    def __init__(self, line: Connection, answering: Answering) -> None:
        """`answering` works claims off."""
        self.line = line
        self.answering = answering
        self._saying = threading.Lock()
        self._working: dict[int, Work] = {}

    def say(self, *what: Any) -> None:
        """From any thread."""
        with self._saying:
            self.line.send(what)

    def heard(self, what: str, about: Any) -> None:
        """Begin, or stop, or tell; nothing is waited for."""
        match what:
            case "work":
                self._working[about.job] = Work(lambda text: self.say("told", about.job, text))
                self._aside(self._work, about)
            case "drop":
                work = self._working.get(about)
                if work is not None:
                    work.drop()
            case "facts":
                self._aside(self._tell_facts)

    def _aside(self, do: Callable[..., None], *about: Any) -> None:
        threading.Thread(target=do, args=about, name=do.__name__, daemon=True).start()

    def _work(self, claim: Claim) -> None:
        try:
            self.answering.work(claim, self._working[claim.job])
        except Exception:
            log.exception("analyst_failed")
        del self._working[claim.job]
        self.say("done", claim.job)

    def _tell_facts(self) -> None:
        try:
            self.say("facts", self.answering.facts())
        except StoreError as error:
            log.exception("facts_failed", extra={"detail": error.detail})
