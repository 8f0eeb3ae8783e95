"""The keeper: claims accepted questions, has them worked off, and watches over them.

It renews the claims, hears of cancelled ones within a second, and says so where an answer takes
its time. What does not stop when it should, or takes too much memory, costs the worker its
process; the questions beside it are given back and begun again.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from bot import trail
from bot.setup import Bot
from bot.slack.answering import UNASKED, Job
from bot.slack.blocks import Message, plain_message
from bot.slack.worker import EndedError, Here, Worker
from storage.queue import Claim, Queue
from storage.state import StateError

log = logging.getLogger("daybreak.slack")

#: How a question ends that costs its process, as the audit calls it.
Killed = Literal["killed_for_time", "killed_for_memory"]

LEASE_S = 15.0
RENEW_EVERY_S = 4.0
WATCH_EVERY_S = 0.2
POLL_S = 0.2
#: Then the asker is told that it takes longer, and can cancel.
PROGRESS_AFTER_S = 3.0
#: Who has waited so long in the line was told so, and hears that it is their turn.
WAITED_S = 1.0
#: How far a question is, is written down from then on.
KEPT_AFTER_S = 1.0
#: A cancelled question that has not stopped by itself so long after costs its process.
GRACE_S = 0.5


@dataclass
class Running:
    """A question in work; `dropped_at` is when it lost its claim."""

    claim: Claim
    job: Job
    since: float
    progress: str = ""
    kept: str = ""
    was_told: bool = False
    dropped_at: float | None = None
    begun: bool = False

    @property
    def may_be_told(self) -> bool:
        """Whether the asker waits for it somewhere, and has not been told yet."""
        return not self.was_told and self.job.way not in UNASKED and bool(self.job.channel)

    def is_late(self, now: float, seconds: float) -> bool:
        """Whether it takes longer than a question may; a load takes as long as its files."""
        return self.begun and self.job.way != "load" and now - self.since >= seconds

    def tell(self, progress: str) -> None:
        """Remember how far it is."""
        self.progress = progress


class Keeper:
    """A thread for each question that may run at a time, and a watch."""

    def __init__(
        self,
        bot: Bot,
        queue: Queue,
        worker: Worker | Here,
        *,
        slow: Callable[[Job, int, str], None],
        failed: Callable[[Claim, Job, Message, Killed], None],
        turn: Callable[[Job], None] = lambda _: None,
        memory_bytes: int = 0,
    ) -> None:
        """`slow(job, number, progress)` hears of each question that takes long.

        `turn(job)` hears that one which has waited in the line is begun.
        `failed(claim, job, words, outcome)` finishes one that can't be answered. The worker may
        take `memory_bytes` (0: as much as it likes).
        """
        self.bot = bot
        self.queue = queue
        self.worker = worker
        self.slow = slow
        self.failed = failed
        self.turn = turn
        self.memory_bytes = memory_bytes
        self._running: dict[int, Running] = {}
        #: Among these was one that ended its process: each has the next one to itself.
        self._suspects: set[int] = set()
        self._changed = threading.Condition()
        self._stopping = False
        self._ended = threading.Event()
        self._look = threading.Event()
        self._threads = [
            threading.Thread(target=self._loop, name=f"keeper-{i}", daemon=True)
            for i in range(bot.settings.limits.workers)
        ]
        self._watcher = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        for thread in (*self._threads, self._watcher):
            thread.start()

    @property
    def running(self) -> int:
        """Questions in work."""
        return len(self._running)

    def wake(self) -> None:
        """There is a question, or one was cancelled."""
        self._look.set()
        with self._changed:
            self._changed.notify_all()

    def stop(self, seconds: float) -> int:
        """Begin nothing more, finish what runs within `seconds`; how many were given back."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._running, seconds)
            left = list(self._running.values())
        for running in left:
            self.queue.give_back(running.claim)
            self.worker.drop(running.claim.job)
        self._ended.set()
        self._look.set()
        if self._watcher.ident is not None:
            self._watcher.join(5.0)
        self.worker.close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(1.0)
        return len(left)

    def _loop(self) -> None:
        while not self._stopping:
            try:
                claim = self.queue.claim(LEASE_S)
                if claim is not None:
                    self.work(claim)
                    continue
            except StateError as error:
                log.exception("state_error", extra={"detail": error.detail})
            except Exception:
                log.exception("keeper_failed")
            with self._changed:
                if not self._stopping:
                    self._changed.wait(POLL_S)

    def work(self, claim: Claim) -> None:
        """Have one question worked off."""
        running = Running(claim, Job.from_json(claim.work), time.monotonic())
        with trail.following(running.job.reference), self._place(running):
            if claim.waited >= WAITED_S:
                self.turn(running.job)
            try:
                self.worker.work(claim, running.tell)
            except EndedError as ended:
                self._after(ended, running)
            else:
                self._suspects.discard(claim.job)

    @contextlib.contextmanager
    def _place(self, running: Running) -> Iterator[None]:
        """Its place beside the others; a suspect works alone."""
        job = running.claim.job
        with self._changed:
            self._running[job] = running
            self._changed.wait_for(lambda: self._may_begin(job))
            running.begun, running.since = True, time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                del self._running[job]
                self._changed.notify_all()

    def _may_begin(self, job: int) -> bool:
        begun = [r.claim.job for r in self._running.values() if r.begun]
        return not begun or not (self._suspects & {job, *begun})

    def _after(self, ended: EndedError, running: Running) -> None:
        """What becomes of a question whose process ended under it."""
        job, seconds = running.claim.job, time.monotonic() - running.since
        if running.dropped_at is not None or self._stopping:
            self._suspects.discard(job)
            return
        log.warning("question_lost_its_process", extra={"job": job, "why": ended.why})
        if ended.by == job and ended.why == "late":
            self.failed(running.claim, running.job, too_late(seconds), "killed_for_time")
        elif ended.by == job:
            self.failed(running.claim, running.job, TOO_LARGE, "killed_for_memory")
        elif ended.by is not None:
            self.queue.give_back(running.claim)
        else:
            # one of those in work did it: each is begun again, alone, and then it counts
            self.queue.give_back(running.claim, counts=ended.alone)
            self._suspects.add(job)

    # The watch.

    def _watch(self) -> None:
        renewed = time.monotonic()
        while not self._ended.is_set():
            self._look.wait(WATCH_EVERY_S)
            self._look.clear()
            with self._changed:
                all_running = list(self._running.values())
            if not all_running:
                continue
            try:
                now = time.monotonic()
                claims = [r.claim for r in all_running]
                if now - renewed >= RENEW_EVERY_S:
                    kept, renewed = self.queue.renew(claims, LEASE_S), now
                else:
                    kept = self.queue.held(claims)
                self._keep_progress(all_running, now)
            except StateError as error:
                log.exception("state_error", extra={"detail": error.detail})
                continue
            for running in all_running:
                self._look_at(running, now, is_ours=running.claim in kept)
            if 0 < self.memory_bytes < self.worker.memory():
                self.worker.end("memory", self._only_one())

    def _keep_progress(self, all_running: list[Running], now: float) -> None:
        """Write down how far they are, for who waits elsewhere; quick ones are not worth it."""
        for running in all_running:
            progress = running.progress
            if progress != running.kept and now - running.since >= KEPT_AFTER_S:
                self.queue.tell(running.claim, progress)
                running.kept = progress

    def _look_at(self, running: Running, now: float, *, is_ours: bool) -> None:
        """Stop it, tell of it, or let it go on."""
        job = running.claim.job
        if running.dropped_at is not None:
            if now - running.dropped_at >= GRACE_S:
                self.worker.end("cancelled", job)
        elif not is_ours:
            running.dropped_at = now
            self.worker.drop(job)
        elif running.is_late(now, self.bot.settings.limits.give_up_seconds):
            self.worker.end("late", job)
        elif now - running.since >= PROGRESS_AFTER_S and running.may_be_told:
            running.was_told = True
            self.slow(running.job, job, running.progress)

    def _only_one(self) -> int | None:
        """The one question in work, if it is one."""
        with self._changed:
            begun = [r.claim.job for r in self._running.values() if r.begun]
        return begun[0] if len(begun) == 1 else None


TOO_LARGE = plain_message(
    "This question needs more memory than I have. Ask for a shorter period or fewer items."
)


def too_late(seconds: float) -> Message:
    """Why there is no answer."""
    return plain_message(
        f"I gave this question up after {seconds:.0f} seconds. Ask for a shorter period or fewer "
        "items."
    )
