"""The analysts: threads that claim accepted questions, answer them, and fill the outbox.

The answer goes into the outbox in the transaction that ends the claim, so a question is answered
once however often it was begun. A watch keeps the claims, hears of cancelled ones within a
second, and says so where an answer takes its time.
"""

import dataclasses
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from analytics.errors import UserError
from bot.setup import Bot
from bot.slack.agent import asked_before
from bot.slack.answering import UNASKED, Delivery, Finished, Job, delivery_of, told
from bot.slack.blocks import Message, error_message, plain_message
from bot.slack.runs import MOST_BEGUN, Runner
from bot.slack.sending import Rungs, Senders
from bot.slack.threads import continued
from storage.queue import Claim, Queue
from storage.state import StateError
from storage.store import Store

log = logging.getLogger("daybreak.slack")

LEASE_S = 30.0
RENEW_EVERY_S = 10.0
WATCH_EVERY_S = 0.25
POLL_S = 0.5
#: Then the asker is told that it takes longer, and can cancel.
PROGRESS_AFTER_S = 3.0

GAVE_UP = plain_message("This question stopped me three times, so I gave it up. Ask for less.")
NO_ANSWER = plain_message("I have the answer, but could not draw it. Whoever runs me finds why.")


@dataclass
class Running:
    """A question in work; `store` is what it reads, once it does."""

    claim: Claim
    job: Job
    since: float
    store: Store | None = None
    progress: str = ""
    was_told: bool = False
    dropped: bool = False

    @property
    def may_be_told(self) -> bool:
        """Whether the asker waits for it somewhere, and has not been told yet."""
        return not self.was_told and self.job.way not in UNASKED and bool(self.job.channel)

    def begun(self, store: Store) -> None:
        """Know what to cancel; at once, where it was cancelled before."""
        self.store = store
        if self.dropped:
            store.cancel()

    def tell(self, progress: str) -> None:
        """Remember how far it is."""
        self.progress = progress

    def drop(self) -> None:
        """Stop reading."""
        self.dropped = True
        if self.store is not None:
            self.store.cancel()


class Analysts:
    """Worker threads and their watch."""

    def __init__(
        self,
        bot: Bot,
        queue: Queue,
        senders: Senders,
        slow: Callable[[Job, int, str], None],
    ) -> None:
        """`slow(job, number, progress)` hears of each question that takes long."""
        self.bot = bot
        self.queue = queue
        self.senders = senders
        self.slow = slow
        self._running: dict[int, Running] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._loop, name=f"analyst-{i}", daemon=True)
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
        """There is a question."""
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
            running.drop()
        for thread in self._threads:
            thread.join(1.0)
        self._ended.set()
        self._watcher.join(5.0)
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
                log.exception("analyst_failed")
            with self._changed:
                if not self._stopping:
                    self._changed.wait(POLL_S)

    def work(self, claim: Claim) -> None:
        """Answer one question, and put the answer in the outbox."""
        job = Job.from_json(claim.work)
        running = Running(claim, job, time.monotonic())
        with self._changed:
            self._running[claim.job] = running
        try:
            finished = self._finished(running)
            with self.bot.state.transaction() as connection:
                if self.queue.finish_in(connection, claim):
                    finished.record(connection)
                    for delivery, rungs in finished.outgoing:
                        key = delivery.key or secrets.token_hex(8)
                        body = delivery.to_json()
                        self.senders.keep_rungs(key, Rungs(delivery.message, rungs))
                        self.senders.outbox.add_in(
                            connection, key=key, lane=delivery.lane, body=body
                        )
                else:
                    log.info("answer_dropped", extra={"job": claim.job})
            self.senders.wake()
        finally:
            with self._changed:
                del self._running[claim.job]
                self._changed.notify_all()

    def _finished(self, running: Running) -> Finished:
        """What the job comes to."""
        job = running.job
        runner = Runner(self.bot, self.senders.poster)
        match job.way:
            case "chore":
                return runner.chore(job, begun=running.claim.fence)
            case "schedule" if running.claim.fence > MOST_BEGUN:
                return runner.given_up(job)
            case "schedule":
                return runner.run(job, tell=running.tell, begun=running.begun)
            case _:
                return Finished((self._answer(running),))

    def _answer(self, running: Running) -> tuple[Delivery, Iterator[Message]]:
        """The answer, or the sentence in its place."""
        job = running.job
        if job.way == "direct" and not job.channel:  # asked in App Home, where no channel is
            channel = self.senders.poster.direct_channel(job.user)
            job = dataclasses.replace(job, channel=channel)
        if running.claim.fence > MOST_BEGUN:
            log.error("question_given_up", extra={"question": job.text})
            return told(job, GAVE_UP), iter(())
        try:
            asker = self.bot.asker(job.user, channel=job.channel, surface="slack")
            answer = self.bot.answer(
                job.text if asker.rights.refusal else self._meant(job),
                asker,
                surface=job.surface,
                channel=job.channel,
                tell=running.tell,
                begun=running.begun,
            )
            return delivery_of(self.bot, job, answer)
        except UserError as error:
            return told(job, error_message(error, job.text)), iter(())
        except Exception:
            log.exception("answer_not_drawn", extra={"question": job.text})
            return told(job, NO_ANSWER), iter(())

    def _meant(self, job: Job) -> str:
        """The question; in a thread, with what the thread last asked. Raises UserError."""
        if job.way not in ("mention", "direct") or not job.thread_ts:
            return job.text
        earlier = self.senders.poster.last_question(job.channel, job.thread_ts)
        if job.way == "direct":
            earlier = earlier or asked_before(self.bot.state, job.user, job.channel)
        if not earlier:
            return job.text
        ctx = self.bot.context()
        return continued(job.text, earlier, ctx.today, ctx.catalog)

    def _watch(self) -> None:
        renewed = time.monotonic()
        while not self._ended.wait(WATCH_EVERY_S):
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
            except StateError as error:
                log.exception("state_error", extra={"detail": error.detail})
                continue
            for running in all_running:
                if running.claim not in kept and not running.dropped:
                    running.drop()
                elif now - running.since >= PROGRESS_AFTER_S and running.may_be_told:
                    running.was_told = True
                    self.slow(running.job, running.claim.job, running.progress)
