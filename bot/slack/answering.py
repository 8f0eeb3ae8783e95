"""An accepted question -> its answer, ready to be posted where it belongs."""

import base64
import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bot.dispatch import Answer
from bot.parse import unparse
from bot.setup import Bot
from bot.slack.blocks import File, JsonObject, Message, ladder, plain_message

Way = Literal["command", "mention", "direct", "button", "share", "home"]

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

    `question` is what it answers, in its canonical words.
    """

    job: Job
    message: Message
    private: bool
    question: str = ""

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
            "files": files,
            "private": self.private,
            "question": self.question,
        }
        return json.dumps(body)

    @classmethod
    def from_json(cls, text: str) -> "Delivery":
        """As the outbox gave it."""
        body = json.loads(text)
        files = tuple(File(**{**f, "content": base64.b64decode(f["content"])})
                      for f in body["files"])  # fmt: skip
        message = Message(body["text"], tuple(body["blocks"]), files, body["private"])
        return cls(Job(**body["job"]), message, body["private"], body["question"])


def told(job: Job, message: Message) -> Delivery:
    """A sentence to the asker alone."""
    return Delivery(dataclasses.replace(job, files_only=False), message, private=True)


def delivery_of(bot: Bot, job: Job, answer: Answer) -> tuple[Delivery, Iterator[Message]]:
    """What to post for an answer, and the simpler rungs should Slack refuse it."""
    settings = bot.settings
    rungs = ladder(
        answer.result,
        form=answer.request.form,
        rows=settings.limits.rows_shown,
        native_tables=settings.slack.native_tables,
        native_charts=settings.slack.native_charts,
    )
    first = next(rungs)
    if job.way == "share" and first.ephemeral:
        said = "This answer shows single persons; it is not shared."
        return told(job, plain_message(said)), iter(())
    if job.files_only and not first.files:
        return told(job, plain_message("This answer has no table.")), iter(())
    about_bot = answer.request.command.group == PRIVATE_GROUP
    private = first.ephemeral or job.private or (about_bot and job.way == "command")
    if job.way == "share":
        first = signed(first, job.user)
        rungs = (signed(message, job.user) for message in rungs)
    return Delivery(job, first, private, unparse(answer.request.command)), rungs


def signed(message: Message, user: str) -> Message:
    """A shared answer says who shared it."""
    if not PERSON.fullmatch(user) or not message.blocks:
        return message
    by: JsonObject = {
        "type": "context",
        "elements": [{"type": "mrkdwn", "text": f"Shared by <@{user}>"}],
    }
    return dataclasses.replace(message, blocks=(*message.blocks, by))
