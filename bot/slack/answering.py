"""One accepted question -> its answer where it belongs: channel, thread, or the asker alone."""

import dataclasses
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from analytics.command import Asker
from analytics.errors import UserError
from bot.dispatch import Answer
from bot.setup import Bot
from bot.slack.blocks import (
    JsonObject,
    Message,
    error_message,
    ladder,
    plain_message,
)
from bot.slack.post import NOT_THERE, Posted, Poster

log = logging.getLogger("daybreak.slack")

Way = Literal["command", "mention", "direct", "button", "share"]

PERSON = re.compile(r"[UW][A-Z0-9]{2,20}")
#: Questions about the bot itself are answered to the asker alone.
PRIVATE_GROUP = "About me"


@dataclass(frozen=True)
class Job:
    """A question of one person, and where its answer goes.

    `private` asks for the asker's eyes alone; `files_only` for the tables as files and no message.
    """

    text: str
    user: str
    channel: str
    way: Way
    thread_ts: str = ""
    response_url: str = ""
    private: bool = False
    files_only: bool = False


class Answering:
    """Answers questions and posts what comes out."""

    def __init__(self, bot: Bot, poster: Poster) -> None:
        """Uses the bot's store; many threads may call `work`."""
        self.bot = bot
        self.poster = poster

    def work(self, job: Job) -> None:
        """Answer one question. The asker hears in any case."""
        try:
            answer = self.bot.answer(
                job.text, Asker(name=job.user), surface="slack", channel=job.channel
            )
        except UserError as error:
            self.tell(job, error_message(error))
            return
        try:
            self.deliver(job, answer)
        except Exception:
            log.exception("delivery_failed", extra={"question": answer.request.text})
            self.tell(job, plain_message("I have the answer, but could not post it."))

    def deliver(self, job: Job, answer: Answer) -> None:
        """Post the message, then its files beside it."""
        settings = self.bot.settings
        rungs = ladder(
            answer.result,
            form=answer.request.form,
            rows=settings.limits.rows_shown,
            native_tables=settings.slack.native_tables,
            native_charts=settings.slack.native_charts,
        )
        first = next(rungs)
        about_bot = answer.request.command.group == PRIVATE_GROUP
        private = first.ephemeral or job.private or (about_bot and job.way == "command")
        if job.way == "share" and first.ephemeral:
            said = "This answer shows single persons; it is not shared."
            self.tell(job, plain_message(said))
            return
        if job.files_only:
            self.send_files(job, first, private=private, thread_ts=job.thread_ts)
            return
        if job.way == "share":
            first = signed(first, job.user)
        messages = self._chained(first, rungs)
        posted = self.to_asker(job, messages) if private else self.to_channel(job, messages)
        if posted.outcome == "not sent":
            self.tell(job, not_posted(job, posted))
        elif posted.message is not None and posted.message.files:
            in_place = bool(posted.ts) and not private
            self.send_files(
                job,
                posted.message,
                private=not in_place,
                thread_ts=(job.thread_ts or posted.ts) if in_place else "",
            )

    @staticmethod
    def _chained(first: Message, rest: Iterable[Message]) -> Iterable[Message]:
        yield first
        yield from rest

    def to_channel(self, job: Job, messages: Iterable[Message]) -> Posted:
        """Post for all; where we are no member, the question's response_url still can."""
        kept = list(messages) if job.response_url else messages
        posted = self.poster.post(job.channel, kept, thread_ts=job.thread_ts)
        if posted.outcome == "not sent" and posted.error in NOT_THERE and job.response_url:
            return self.poster.respond(job.response_url, kept, to_all=True)
        return posted

    def to_asker(self, job: Job, messages: Iterable[Message]) -> Posted:
        """Show to the asker alone: by the response_url, in the channel, or in a direct message."""
        if job.way == "direct":
            return self.poster.post(job.channel, messages, thread_ts=job.thread_ts)
        kept = list(messages)
        if job.response_url:
            posted = self.poster.respond(job.response_url, kept, to_all=False)
            if posted.outcome != "not sent":
                return posted
        if job.way != "share":
            posted = self.poster.whisper(job.channel, job.user, kept, thread_ts=job.thread_ts)
            if posted.outcome != "not sent":
                return posted
        direct = self.poster.direct_channel(job.user)
        if not direct:
            return Posted("not sent", error="no_direct_channel")
        return self.poster.post(direct, kept)

    def tell(self, job: Job, message: Message) -> None:
        """A sentence to the asker."""
        posted = self.to_asker(job, [message])
        if posted.outcome != "sent":
            log.error("asker_not_reached", extra={"user": job.user, "error": posted.error})

    def send_files(self, job: Job, message: Message, *, private: bool, thread_ts: str) -> None:
        """Files into the thread, or into the direct messages of the asker."""
        if not message.files:
            self.tell(job, plain_message("This answer has no table."))
            return
        if not private or job.way == "direct":
            posted = self.poster.upload(job.channel, message.files, thread_ts=thread_ts)
            if posted.outcome != "not sent":
                return
        direct = self.poster.direct_channel(job.user)
        posted = (
            self.poster.upload(direct, message.files)
            if direct
            else Posted("not sent", error="no_direct_channel")
        )
        if posted.outcome == "not sent":
            log.error("files_not_sent", extra={"user": job.user, "error": posted.error})
            self.tell(job, plain_message("I could not upload the files of this answer."))
        elif job.way != "direct":
            self.tell(job, plain_message("The files are in our direct messages."))


def signed(message: Message, user: str) -> Message:
    """A shared answer says who shared it."""
    if not PERSON.fullmatch(user) or not message.blocks:
        return message
    by: JsonObject = {
        "type": "context",
        "elements": [{"type": "mrkdwn", "text": f"Shared by <@{user}>"}],
    }
    return dataclasses.replace(message, blocks=(*message.blocks, by))


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
