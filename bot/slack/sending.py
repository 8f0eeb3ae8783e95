"""The outbox's senders: each post leaves once, in the order of its lane.

A claim is written down before a call that may post. If the outcome is never known (the answer
was cut off, or the process died), the message is looked for in Slack by its key before it is sent
again. A message that replaces another changes it, which may be done as often as one likes.
A sweeper, beside the senders, deletes later copies of a message that a frozen process may have
left. What is shown to one person alone can't be looked for: after a cut it counts as sent, after
a death it is sent again, for the asker must hear.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from bot import spans, trail
from bot.slack.agent import FALLBACK, PROMPTS_TITLE, prompts
from bot.slack.answering import Delivery, Job, to_owner
from bot.slack.blocks import Message, plain_message
from bot.slack.home import home_view
from bot.slack.post import NOT_CHANGEABLE, NOT_THERE, NotShownNowError, Posted, Poster
from storage.outbox import Outbox, Parcel
from storage.queue import add_job_in
from storage.schedules import RunKey, Schedules
from storage.state import StateError

log = logging.getLogger("daybreak.slack")

LEASE_S = 60.0
POLL_S = 0.2
#: Slack shows a message in its history a while after it took it.
SETTLE_S = 2.0
MOST_CLAIMS = 200
SWEEP_EVERY_S = 5.0
SENDERS = 4
#: A simpler form that was not drawn so long is asked for anew.
REDRAW_WITHIN_S = 60.0

FILES_NOT_SENT = plain_message("I could not post the files or details of this answer.")


class Senders:
    """Threads that empty the outbox."""

    def __init__(
        self, outbox: Outbox, poster: Poster, asked: Callable[[], None] = lambda: None
    ) -> None:
        """`poster` waits for nothing by itself: the outbox does.

        `asked()` hears that there is a job for an analyst.
        """
        self.outbox = outbox
        self.poster = poster
        self.asked = asked
        self.schedules = Schedules(outbox.state)
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._loop, name=f"sender-{i}", daemon=True)
            for i in range(SENDERS)
        ]
        self._ended = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        for thread in (*self._threads, self._sweeper):
            thread.start()

    def stop(self, seconds: float) -> int:
        """Send what there is within `seconds`, then stop; how many posts were left."""
        until = time.monotonic() + seconds
        with self._changed:
            while self.outbox.unfinished() and time.monotonic() < until:
                self._changed.wait(0.1)
            self._stopping = True
            self._changed.notify_all()
        self.poster.stop()
        self._ended.set()
        for thread in (*self._threads, self._sweeper):
            if thread.ident is not None:
                thread.join(seconds)
        return self.outbox.unfinished()

    def wake(self) -> None:
        """There is something to send."""
        with self._changed:
            self._changed.notify_all()

    def _loop(self) -> None:
        while not self._stopping:
            try:
                parcel = self.outbox.claim(LEASE_S)
                if parcel is not None:
                    self.send(parcel)
                    self.wake()
                    continue
            except StateError as error:
                log.exception("state_error", extra={"detail": error.detail})
            except Exception:
                log.exception("sender_failed")
            with self._changed:
                if not self._stopping:
                    self._changed.wait(POLL_S)

    def send(self, parcel: Parcel) -> None:
        """One post: its message, the detail in the thread under it, then its files."""
        delivery = Delivery.from_json(parcel.body)
        way = delivery.job.way
        with trail.following(delivery.job.reference), spans.span("post", way=way):
            self._send(parcel, delivery)

    def _send(self, parcel: Parcel, delivery: Delivery) -> None:
        if parcel.fence > MOST_CLAIMS:
            self._give_up(parcel, delivery, Posted("not sent", error="too_often"))
            return
        ts = parcel.ts
        if parcel.step == 0:
            try:
                posted = (
                    Posted("sent") if delivery.job.files_only else self._message(parcel, delivery)
                )
            except SimplerNeededError:
                self._ask_for_simpler(parcel, delivery)
                return
            if not self._settled(parcel, delivery, posted):
                return
            ts = posted.ts
            delivery = with_files_of(delivery, posted)
            is_more = bool(delivery.message.files) or has_detail(delivery)
            if is_more and not self.outbox.step_done(parcel, 1, ts, LEASE_S):
                self.outbox.check_now(parcel)
                return
        if has_detail(delivery) and parcel.step < 2:
            tried = parcel.tried if parcel.step == 1 else 0
            posted = self._detail(parcel, delivery, ts, tried)
            if not self._settled(parcel, delivery, posted, files=True):
                return
            if delivery.message.files and not self.outbox.step_done(parcel, 2, ts, LEASE_S):
                return
        if delivery.message.files and delivery.job.way != "home":
            tried = parcel.tried if parcel.step == 1 + has_detail(delivery) else 0
            posted = self._files(delivery, ts, tried)
            if not self._settled(parcel, delivery, posted, files=True):
                return
        self._sent(parcel, delivery, ts)

    def _sent(self, parcel: Parcel, delivery: Delivery, ts: str) -> None:
        """Write down that it is sent; a sender that has lost its claim may have left a copy."""
        with self.outbox.state.transaction() as connection:
            ours = self.outbox.sent_in(connection, parcel, ts=ts, check_seconds=LEASE_S)
            if ours and delivery.job.run:
                key = RunKey.from_text(delivery.job.run)
                self.schedules.posted_in(connection, key)
        if not ours:
            self.outbox.check_now(parcel)
            return
        spans.tell(outcome="sent")
        log.info("posted", extra={"way": delivery.job.way, "post": parcel.id, "ts": ts})

    def _sweep(self) -> None:
        while not self._ended.wait(SWEEP_EVERY_S):
            try:
                self.sweep()
            except StateError as error:
                log.exception("state_error", extra={"detail": error.detail})
            except Exception:
                log.exception("sweeper_failed")

    def sweep(self) -> int:
        """Delete later copies of a few doubtful messages; how many it were."""
        deleted = 0
        for parcel in self.outbox.to_check(LEASE_S):
            delivery = Delivery.from_json(parcel.body)
            job = delivery.job
            if job.way == "home" or (delivery.private and job.way != "direct"):
                continue
            try:
                found = self.poster.copies(job.channel, parcel.key, thread_ts=job.thread_ts)
            except NotShownNowError:
                continue  # the next check will see
            for ts in (found or [])[1:]:
                deleted += self.poster.delete(job.channel, ts)
        if deleted:
            log.warning("copies_deleted", extra={"copies": deleted})
        return deleted

    def _settled(
        self, parcel: Parcel, delivery: Delivery, posted: Posted, *, files: bool = False
    ) -> bool:
        """Whether a step is done; else the post waits, or is given up."""
        if posted.outcome == "sent":
            return True
        spans.tell(outcome=posted.outcome)
        if posted.outcome == "unknown":
            self.outbox.look_later(parcel, wait_seconds=SETTLE_S)
        elif posted.wait_seconds is not None:
            self.outbox.not_sent(parcel, wait_seconds=posted.wait_seconds)
        elif posted.error == "stopping":
            self.outbox.not_sent(parcel)
        else:
            self._give_up(parcel, delivery, posted, files=files)
        return False

    def _give_up(
        self, parcel: Parcel, delivery: Delivery, posted: Posted, *, files: bool = False
    ) -> None:
        """It can't be sent: the asker is told why, if that can be told."""
        log.error("post_given_up", extra={"error": posted.error, "lane": parcel.lane})
        if delivery.job.run and not files:
            self._run_failed(parcel, delivery.job, posted)
            return
        self.outbox.failed(parcel, posted.error)
        if files:
            self._to_asker(delivery.job, [FILES_NOT_SENT])
        elif not delivery.private:
            self._to_asker(delivery.job, [not_posted(delivery.job, posted)])

    def _run_failed(self, parcel: Parcel, job: Job, posted: Posted) -> None:
        """A scheduled answer can't be posted: its owner hears, and it rests if it never can."""
        key = RunKey.from_text(job.run)
        rests = posted.error in NOT_THERE
        with self.outbox.state.transaction() as connection:
            if not self.outbox.failed_in(connection, parcel, posted.error):
                return
            self.schedules.set_in(connection, key, "failed", note=posted.error)
            if rests:
                why = f"Slack did not take it: {posted.error}"
                self.schedules.change_in(connection, key.schedule, paused=why)
            notice = to_owner(job, *refused_words(key.schedule, posted.error, rests=rests))
            if notice is not None:
                body = notice.to_json()
                self.outbox.add_in(
                    connection, key=f"{parcel.key}:told", lane=notice.lane, body=body
                )

    # The message.

    def _message(self, parcel: Parcel, delivery: Delivery) -> Posted:
        """Post it, or find that it was posted."""
        job = delivery.job
        if job.way == "home":
            recent = self.outbox.state.recent_questions(asker=job.user)
            own = [s for s in self.schedules.all() if s.owner == job.user]
            view = home_view(delivery.message, recent, own)
            return certain(self.poster.publish_home(job.user, view))
        if job.way == "prompts":
            known = tuple(delivery.message.text.splitlines()) if delivery.question else FALLBACK
            return certain(self.poster.suggest(job.channel, PROMPTS_TITLE, prompts(known)))
        public = not delivery.private or job.way == "direct"
        if delivery.replaces and public:
            changed = self._changed_into(delivery)
            if changed is not None:
                return changed
        if parcel.tried and public:
            try:
                found = self.poster.find(job.channel, parcel.key, thread_ts=job.thread_ts)
            except NotShownNowError:
                return Posted("unknown", error="history_not_shown")
            if found is None:
                log.error("post_not_found_out", extra={"channel": job.channel})
                return Posted("sent", message=delivery.message)
            if found:
                return Posted("sent", ts=found, message=delivery.message)
        rungs = Rungs(delivery)
        if not public:
            posted = certain(self._to_asker(job, rungs))
            if job.way == "mention":
                self.poster.set_status(job.channel, job.thread_ts, "")
            return posted
        posted = self.poster.post(
            job.channel,
            rungs,
            thread_ts=job.thread_ts,
            key=parcel.key,
            question=delivery.question,
        )
        if posted.error in NOT_THERE and job.response_url:
            return certain(self.poster.respond(job.response_url, rungs, to_all=True))
        return posted

    def _ask_for_simpler(self, parcel: Parcel, delivery: Delivery) -> None:
        """Let an analyst draw a simpler form, which takes this one's place in the lane."""
        redraw = Job(text=parcel.key, user=delivery.job.user, channel="", way="redraw")
        with self.outbox.state.transaction() as connection:
            if self.outbox.not_sent_in(connection, parcel, wait_seconds=REDRAW_WITHIN_S):
                add_job_in(connection, redraw.user, redraw.to_json())
        self.asked()

    def _changed_into(self, delivery: Delivery) -> Posted | None:
        """Change the earlier message into this one; None where there is none to change."""
        job = delivery.job
        ts = self.outbox.ts_of(delivery.replaces)
        if ts is None:
            try:
                ts = self.poster.find(job.channel, delivery.replaces, thread_ts=job.thread_ts)
            except NotShownNowError:
                return Posted("not sent", error="history_not_shown", wait_seconds=SETTLE_S)
        if not ts:
            return None
        rungs = Rungs(delivery)
        posted = self.poster.update(
            job.channel, ts, rungs, key=delivery.replaces, question=delivery.question
        )
        if posted.error in NOT_CHANGEABLE:
            return None
        if posted.outcome == "unknown":
            return replace(posted, outcome="not sent", wait_seconds=SETTLE_S)
        return posted

    def _to_asker(self, job: Job, rungs: Iterable[Message]) -> Posted:
        """Show to the asker alone: by the response_url, in the channel, or in a direct message.

        `rungs` can be gone through several times.
        """
        if job.way == "direct":
            return self.poster.post(job.channel, rungs, thread_ts=job.thread_ts)
        posted = Posted("not sent")
        if job.response_url:
            posted = self.poster.respond(job.response_url, rungs, to_all=False)
        if goes_on(posted) and job.way != "share":
            posted = self.poster.whisper(job.channel, job.user, rungs, thread_ts=job.thread_ts)
        if goes_on(posted):
            direct = self.poster.direct_channel(job.user)
            if direct:
                posted = self.poster.post(direct, rungs)
        return posted

    # The detail.

    def _detail(self, parcel: Parcel, delivery: Delivery, ts: str, tried: int) -> Posted:
        """In the thread under the message; to the asker alone where that one went there."""
        job, detail = delivery.job, delivery.message.detail
        assert detail is not None  # noqa: S101 - the caller knows
        rungs = (detail, Message(detail.text))
        if not ts or (delivery.private and job.way != "direct"):
            return certain(self._to_asker(job, rungs))
        key, thread = f"{parcel.key}-detail", job.thread_ts or ts
        if tried:
            found = self.poster.find(job.channel, key, thread_ts=thread)
            if found is None:
                log.error("post_not_found_out", extra={"channel": job.channel})
            if found is None or found:
                return Posted("sent")
        return self.poster.post(job.channel, rungs, thread_ts=thread, key=key)

    # The files.

    def _files(self, delivery: Delivery, ts: str, tried: int) -> Posted:
        """Beside the message, or in the direct messages of the asker."""
        job, files = delivery.job, delivery.message.files
        in_place = job.way == "direct" or (not delivery.private and (bool(ts) or job.files_only))
        channel = job.channel if in_place else self.poster.direct_channel(job.user)
        thread = (job.thread_ts or ts) if in_place else ""
        if not channel:
            return Posted("not sent", error="no_direct_channel")
        names = [f.name for f in files]
        if tried and self.poster.has_files(channel, names, thread_ts=thread):
            return Posted("sent")
        posted = self.poster.upload(channel, files, thread_ts=thread)
        if posted.error in NOT_THERE and in_place and job.way != "direct":
            direct = self.poster.direct_channel(job.user)
            posted = self.poster.upload(direct, files) if direct else posted
            in_place = False
        if posted.outcome == "sent" and not in_place:
            self._to_asker(job, [plain_message("The files are in our direct messages.")])
        return posted


class SimplerNeededError(Exception):
    """Slack refused a form of an answer, and simpler ones are to be drawn where the answer is."""


class Rungs:
    """The forms of an answer that there are here; can be gone through several times."""

    def __init__(self, delivery: Delivery) -> None:
        """The one that was drawn; then its words, if nothing better can be drawn."""
        self.delivery = delivery

    def __iter__(self) -> Iterator[Message]:
        """The best first. Raises SimplerNeededError at the end."""
        message = self.delivery.message
        yield message
        if message.blocks and not self.delivery.is_simplest:
            raise SimplerNeededError
        if message.blocks:
            yield Message(message.text)


def goes_on(posted: Posted) -> bool:
    """Whether another way is to be tried: this one surely did not work, and not for haste."""
    return posted.outcome == "not sent" and posted.wait_seconds is None


def certain(posted: Posted) -> Posted:
    """What can't be looked for counts as sent where its outcome is unknown."""
    if posted.outcome == "unknown":
        log.warning("counted_as_sent", extra={"error": posted.error})
        return Posted("sent", message=posted.message)
    return posted


def has_detail(delivery: Delivery) -> bool:
    """Whether a second message belongs under the first."""
    job = delivery.job
    return delivery.message.detail is not None and job.way != "home" and not job.files_only


def with_files_of(delivery: Delivery, posted: Posted) -> Delivery:
    """The files that belong to the rung that was sent: pictures, where charts were refused."""
    sent = posted.message
    if sent is None or not sent.files:
        return delivery
    return replace(delivery, message=sent)


def refused_words(schedule: int, error: str, *, rests: bool) -> tuple[str, str]:
    """Why a schedule's answer is not where it was wanted, and what to do."""
    if rests:
        return (
            f"Schedule {schedule} rests: Slack did not let me post there ({error}).",
            f"Invite me to the channel, then say `schedule resume {schedule}`.",
        )
    return (
        f"Slack did not take the answer of schedule {schedule} ({error}).",
        f"`schedule run {schedule}` tries it again.",
    )


def not_posted(job: Job, posted: Posted) -> Message:
    """Why an answer is not where it was wanted, and what to do."""
    if posted.error in NOT_THERE:
        return plain_message(
            "I am not in that channel. Invite me there (type /invite and my name), then ask again."
        )
    return plain_message(
        f"I have the answer to “{job.text}”, but Slack did not take it ({posted.error}). "
        "Please ask again in a minute."
    )
