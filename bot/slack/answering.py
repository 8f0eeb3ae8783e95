"""An accepted question -> its answer, ready to be posted where it belongs."""

import base64
import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analytics.errors import UserError
from bot import trail
from bot.dispatch import Answer, Asked
from bot.parse import unparse
from bot.setup import Bot
from bot.slack.agent import prompts_for
from bot.slack.blocks import File, JsonObject, Message, error_message, ladder, plain_message
from bot.slack.sendable import DATA_TABLE_ROWS, MESSAGE_TEXT
from bot.slack.text import cut_mrkdwn

Way = Literal[
    "command",
    "mention",
    "direct",
    "button",
    "share",
    "home",
    "prompts",
    "schedule",
    "chore",
    "redraw",
    "terminal",
    "load",
]
#: What is shown for somebody who asked nothing: no part of the conversation.
UNASKED: tuple[Way, ...] = ("home", "prompts", "schedule", "chore", "redraw")
#: A terminal waits for the reply.
BY_TERMINAL: tuple[Way, ...] = ("terminal", "load")

PERSON = re.compile(r"(?:T[A-Z0-9]+/)?([UW][A-Z0-9]{2,20})")
#: Questions about the bot itself and its clock are answered to the asker alone.
PRIVATE_GROUPS = ("About me", "By the clock")


@dataclass(frozen=True)
class Job:
    """A question of one person, and where its answer goes.

    `private` asks for the asker's eyes alone; `files_only` for the tables as files and no message.
    What the clock asks is of the way `schedule`, where `run` names the run, or `chore`, where
    `text` is the chore's name. `wanted` says how the terminal shows the answer; what it wants to
    have loaded is of the way `load`, with its `order`. `reference` is its id (`bot.trail`): that of
    the job from which another one comes.
    """

    text: str
    user: str
    channel: str
    way: Way
    thread_ts: str = ""
    response_url: str = ""
    private: bool = False
    files_only: bool = False
    run: str = ""
    wanted: str = ""
    order: str = ""
    reference: str = dataclasses.field(default_factory=trail.current, compare=False)

    @property
    def surface(self) -> str:
        """As the audit calls it."""
        if self.way in BY_TERMINAL:
            return "terminal"
        return self.way if self.way in UNASKED else "slack"

    def asked(self, outcome: str, seconds: float = 0.0) -> Asked:
        """The audit's row of a question that ended without being answered or refused by its words.

        `seconds` are those for which it was worked on.
        """
        return Asked(
            text=self.text or self.run,
            canonical=None,
            asker=self.user,
            outcome=outcome,
            seconds=seconds,
            surface=self.surface,
            channel=self.channel,
            reference=self.reference,
        )

    def to_json(self) -> str:
        """As the queue keeps it."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """As the queue gave it."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Delivery:
    """A message on its way: to the asker alone where `private`, else to the job's channel.

    `question` is what it answers, in its canonical words. `key` names its message in Slack, and two
    of one key are posted once (empty: a name of its own); with `replaces`, the key of an earlier
    delivery, that message is changed into this one, wherever it stands by now. Where it is the
    simplest form, nothing but its words is left should Slack refuse it.
    """

    job: Job
    message: Message
    private: bool
    question: str = ""
    key: str = ""
    replaces: str = ""
    is_simplest: bool = False

    @property
    def lane(self) -> str:
        """Deliveries of one lane go out in order."""
        return f"person:{self.job.user}" if self.private else self.job.channel

    def to_json(self) -> str:
        """As the outbox keeps it."""
        message = self.message
        files = [
            {**vars(f), "content": base64.b64encode(f.content).decode()} for f in message.files
        ]
        body = {
            "job": dataclasses.asdict(self.job),
            "text": message.text,
            "blocks": list(message.blocks),
            "detail": message.detail and [message.detail.text, list(message.detail.blocks)],
            "files": files,
            "private": self.private,
            "question": self.question,
            "key": self.key,
            "replaces": self.replaces,
            "is_simplest": self.is_simplest,
        }
        return json.dumps(body)

    @classmethod
    def from_json(cls, text: str) -> "Delivery":
        """As the outbox gave it."""
        body = json.loads(text)
        files = tuple(File(**{**f, "content": base64.b64decode(f["content"])})
                      for f in body["files"])  # fmt: skip
        detail = None
        if body.get("detail"):
            text, blocks = body["detail"]
            detail = Message(text, tuple(blocks), (), body["private"])
        message = Message(body["text"], tuple(body["blocks"]), files, body["private"], detail)
        return cls(
            Job(**body["job"]),
            message,
            body["private"],
            body["question"],
            body.get("key", ""),
            body.get("replaces", ""),
            body.get("is_simplest", False),
        )


@dataclass(frozen=True)
class Finished:
    """What a job comes to: deliveries with their simpler rungs, and what is kept with them.

    `record(connection)` writes in the transaction that ends the job's claim.
    """

    outgoing: tuple[tuple[Delivery, Iterator[Message]], ...] = ()
    record: Callable[[Any], None] = lambda _: None


def rows_shown(bot: Bot, answer: Answer) -> int:
    """Rows of a table in a message: what can be asked, and what the bot keeps, is shown whole."""
    about_bot = answer.request.command.group in PRIVATE_GROUPS
    return DATA_TABLE_ROWS - 1 if about_bot else bot.settings.limits.rows_shown


def told(job: Job, message: Message) -> Delivery:
    """A sentence to the asker alone."""
    return Delivery(dataclasses.replace(job, files_only=False), message, private=True)


def to_owner(job: Job, words: str, hint: str = "") -> Delivery | None:
    """A sentence, and what to do, in the direct messages of a schedule's owner.

    None: they are no one in Slack.
    """
    if not PERSON.fullmatch(job.user):
        return None
    message = error_message(UserError(words, hint=hint))
    return told(Job(job.text, job.user, job.channel, "share"), message)


def delivery_of(bot: Bot, job: Job, answer: Answer) -> tuple[Delivery, Iterator[Message]]:
    """What to post for an answer, and the simpler rungs should Slack refuse it."""
    settings = bot.settings
    if job.way == "prompts":
        questions = "\n".join(prompts_for(answer.result))
        return Delivery(job, Message(questions), private=True, question=job.text), iter(())
    rungs = ladder(
        answer.result,
        form=answer.request.form,
        rows=rows_shown(bot, answer),
        native_tables=settings.slack.native_tables,
        native_charts=settings.slack.native_charts,
    )
    first = next(rungs)
    if job.way == "share" and first.ephemeral:
        said = "This answer shows single persons; it is not shared."
        return told(job, plain_message(said)), iter(())
    if job.files_only and not first.files:
        return told(job, plain_message("This answer has no table.")), iter(())
    about_bot = answer.request.command.group in PRIVATE_GROUPS
    private = first.ephemeral or job.private or (about_bot and job.way == "command")
    if job.way == "share":
        first = signed(first, job.user)
        rungs = (signed(message, job.user) for message in rungs)
    return Delivery(job, first, private, unparse(answer.request.command)), rungs


def noted(message: Message, lines: Sequence[str]) -> Message:
    """A message with sentences (mrkdwn of ours) under it."""
    if not lines:
        return message
    under: JsonObject = {
        "type": "context",
        "elements": [{"type": "mrkdwn", "text": line} for line in lines],
    }
    blocks = (*message.blocks, under) if message.blocks else ()
    text = cut_mrkdwn("\n".join((message.text, *lines)), MESSAGE_TEXT)
    return dataclasses.replace(message, text=text, blocks=blocks)


def signed(message: Message, user: str) -> Message:
    """A shared answer says who shared it."""
    person = PERSON.fullmatch(user)
    if not person or not message.blocks:
        return message
    by: JsonObject = {
        "type": "context",
        "elements": [{"type": "mrkdwn", "text": f"Shared by <@{person[1]}>"}],
    }
    return dataclasses.replace(message, blocks=(*message.blocks, by))
