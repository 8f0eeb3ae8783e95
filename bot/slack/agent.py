"""The agent surface: direct messages are threads, with prompts to begin with, a status and a title.

Slack calls it `agent_view`: its messages tab tells by `app_home_opened` that it was opened, and
prompts set without a thread stand in it. (docs.slack.dev, ai/migrating-to-agent-messaging.)
"""

import datetime as dt
from dataclasses import dataclass

from analytics.catalog import Catalog
from analytics.command import COMMANDS
from analytics.errors import UserError
from analytics.result import Result, Table
from bot.parse import EVERY, tokens
from bot.slack import text as safe
from bot.slack.blocks import JsonObject
from bot.slack.threads import continued
from storage.state import State

#: What is asked to know what the data can answer.
QUESTION = "status"


@dataclass(frozen=True)
class Prompt:
    """A question to begin with, as it is offered and as it is asked; the rows that it needs."""

    title: str
    question: str
    needs: str = ""


#: The first that fit are shown.
PROMPTS = (
    Prompt("Key figures of the last 90 days", "kpis last 90 days", "orders"),
    Prompt("How do the experiments do?", "ab", "exposures"),
    Prompt("Who buys alike?", "segment last 90 days", "orders"),
    Prompt("What is bought together?", "rules last 90 days", "order_lines"),
    Prompt("How does conversion move?", "trend conversion last 60 days", "events"),
    Prompt("What data are there?", "status"),
    Prompt("What can I ask?", "help"),
)
#: Where nothing is known of the data.
FALLBACK = ("help", "status")
MOST_PROMPTS = 4
PROMPTS_TITLE = "Begin with"
#: What a status and a title show of a question.
STATUS_TEXT, TITLE_TEXT = 80, 120
#: A question is looked for among so many of the asker's latest.
LOOK_BACK = 20


def prompts_for(status: Result) -> tuple[str, ...]:
    """Questions that the data can answer, by the answer to `QUESTION`."""
    held = {
        row[0]
        for table in status.parts
        if isinstance(table, Table) and table.columns[0].key == "entity"
        for row in table.rows
    }
    fitting = [p.question for p in PROMPTS if not p.needs or p.needs in held]
    return tuple(fitting[:MOST_PROMPTS])


def prompts(questions: tuple[str, ...]) -> list[JsonObject]:
    """As Slack takes them."""
    return [{"title": p.title, "message": p.question} for p in PROMPTS if p.question in questions]


def status_of(question: str) -> str:
    """What stands beside our name while we work."""
    return f"is working on {safe.cut(safe.shown(question), STATUS_TEXT)} …"


def waiting_status(number: int) -> str:
    """What stands beside our name while a question waits in the line."""
    return f"has you as number {number} in line …"


def title_of(question: str) -> str:
    """The name of a thread."""
    return safe.cut(safe.shown(question), TITLE_TEXT)


def writes(canonical: str) -> bool:
    """Whether a canonical question changes what the bot keeps; a schedule says when to ask."""
    words = tokens(canonical)
    command = COMMANDS.get(words[0].text) if words else None
    timed = any(t.text == EVERY and not t.is_quoted for t in words)
    return timed or command is None or command.writes


def asked_before(state: State, user: str, channel: str) -> str:
    """What a person was last answered in a direct channel; empty where nothing was."""
    for asked in state.recent_questions(LOOK_BACK, asker=user):
        text = asked.canonical
        if asked.channel == channel and asked.outcome == "answered" and text and not writes(text):
            return text
    return ""


def begun(text: str, before: str, today: dt.date, catalog: Catalog) -> str:
    """What the first message of a thread asks: itself, or what was asked before, refined by it."""
    try:
        return continued(text, before, today, catalog) if before else text
    except UserError:
        return text
