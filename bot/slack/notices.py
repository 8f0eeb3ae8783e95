"""Sentences beside the answers, to the asker alone: how long it takes, and a button to cancel."""

import logging
from concurrent.futures import Executor

from bot.slack import text as safe
from bot.slack.agent import status_of, waiting_status
from bot.slack.answering import Job
from bot.slack.blocks import CANCEL, JsonObject, Message, button, mrkdwn
from bot.slack.post import Poster

log = logging.getLogger("daybreak.slack")


class Notices:
    """Tells askers, off the caller's thread; what can't be told is not tried again."""

    def __init__(self, poster: Poster, aside: Executor) -> None:
        """`aside` makes the calls."""
        self.poster = poster
        self.aside = aside

    def tell(self, job: Job, message: Message) -> None:
        """Say it where the asker is."""
        self.aside.submit(self._tell, job, message)

    def working(self, job: Job) -> None:
        """A question asked in a thread is worked on: its answer takes the status away."""
        self._set_status(job, status_of(job.text))

    def waiting(self, job: Job, number: int) -> None:
        """A question asked in a thread waits in the line."""
        self._set_status(job, waiting_status(number))

    def slow(self, job: Job, number: int, progress: str) -> None:
        """An answer takes longer than a few seconds."""
        self.tell(job, slow_message(job.text, number, progress))

    def _set_status(self, job: Job, status: str) -> None:
        if job.way in ("mention", "direct") and job.channel and job.thread_ts:
            self.aside.submit(self.poster.set_status, job.channel, job.thread_ts, status)

    def _tell(self, job: Job, message: Message) -> None:
        if job.response_url:
            posted = self.poster.respond(job.response_url, [message], to_all=False)
        elif job.way == "share" or not job.channel:
            direct = self.poster.direct_channel(job.user)
            posted = self.poster.post(direct, [message])
        else:
            posted = self.poster.whisper(job.channel, job.user, [message], thread_ts=job.thread_ts)
        if posted.outcome != "sent":
            log.warning("notice_not_sent", extra={"error": posted.error})


def slow_message(question: str, number: int, progress: str) -> Message:
    """That a question takes longer, and how far it is, with a button that drops it."""
    how_far = f" {safe.value(progress, 200)}" if safe.shown(progress) else ""
    return with_cancel(f"Still working on {safe.code(question)} …{how_far}", number)


def with_cancel(said: str, number: int) -> Message:
    """A sentence (mrkdwn of ours) with a button that drops the question."""
    section: JsonObject = {"type": "section", "text": mrkdwn(said)}
    cancel = button(CANCEL, "Cancel", str(number)) | {"style": "danger"}
    return Message(said, (section, {"type": "actions", "elements": [cancel]}), (), True)
