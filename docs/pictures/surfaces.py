"""What is drawn of Slack besides answers: forms, App Home, prompts, and sentences beside them.

Each is made by the bot's own code, and is what Slack would be sent.
"""

import base64
from collections.abc import Callable
from pathlib import Path

import yaml

from analytics.command import Asker
from bot.parse import parse
from bot.setup import Bot
from bot.slack import agent
from bot.slack.app import share_form
from bot.slack.blocks import JsonObject, Message, to_message
from bot.slack.home import QUESTION, home_view
from bot.slack.modals import FieldsError, Origin, filled_by, filled_in, modal_of, question_of
from bot.slack.notices import slow_message
from bot.slack.sendable import assert_sendable
from storage.schedules import Schedules
from tests.slack.forms import sent_in

ROOT = Path(__file__).resolve().parents[2]
PERSON = "U012MARIA"
ASKED = ("ab checkout_v2", "top categories last 90 days", "kpis last 30 days by country")
SCHEDULED = (
    "kpis last 7 days every monday 09:00 Europe/London to #growth",
    "kpis yesterday every weekday 08:30 Europe/London to me",
)
#: What is typed into the form that is drawn with its errors.
TYPED = {"segment/k": "99", "segment/where": "contry:France"}


def as_drawn(message: Message) -> JsonObject:
    """A message as the page takes it; pictures among the files as data: addresses."""
    return {
        "text": message.text,
        "blocks": list(message.blocks),
        "ephemeral": message.ephemeral,
        "files": [
            {
                "name": file.name,
                "title": file.title,
                "alt": file.alt,
                "src": "data:image/png;base64," + base64.b64encode(file.content).decode()
                if file.name.endswith(".png")
                else "",
            }
            for file in message.files
        ],
    }


def modal(view: JsonObject, typed: JsonObject, errors: JsonObject) -> list[JsonObject]:
    """A modal with what was typed, and what is told at which field."""
    assert_sendable(view, "modal")
    return [{"kind": "modal", "view": view, "typed": typed, "errors": errors}]


def form(bot: Bot) -> list[JsonObject]:
    """The form of an answer's question, as “Change…” opens it."""
    request = parse("kpis last 30 days by country", bot.context().today, bot.catalog)
    return modal(modal_of(filled_by(request, Origin("C1")), bot.catalog), {"place": "# ops"}, {})


def form_error(bot: Bot) -> list[JsonObject]:
    """A form that was sent in with two mistakes."""
    today = bot.context().today
    request = parse("segment last 90 days", today, bot.catalog)
    view = modal_of(filled_by(request), bot.catalog)
    try:
        question_of(filled_in(sent_in(view, TYPED)), today, bot.catalog)
    except FieldsError as error:
        return modal(view, TYPED, error.errors)
    raise AssertionError("nothing was wrong")


def share(_: Bot) -> list[JsonObject]:
    """The form that asks where to share."""
    return modal(share_form("kpis last 30 days"), {"channel": "# growth"}, {})


def progress(_: Bot) -> list[JsonObject]:
    """What is told of a question that takes long."""
    message = slow_message("churn next 60 days", 7, "Learning from earlier people, part 2 of 4.")
    return [as_drawn(message)]


def home(bot: Bot) -> list[JsonObject]:
    """App Home of somebody who asked a few questions and has two schedules."""
    asker = Asker(name=PERSON, channel="D012MARIA")
    for question in (*SCHEDULED, *ASKED):
        bot.answer(question, asker, surface="slack", channel=asker.channel)
    kept = [s for s in Schedules(bot.state).all() if s.owner == PERSON]
    message = to_message(bot.answer(QUESTION, surface="docs").result)
    view = home_view(message, bot.state.recent_questions(asker=PERSON), kept)
    assert_sendable(view, "home")
    return [{"kind": "home", "view": view}]


def prompts(bot: Bot) -> list[JsonObject]:
    """The messages tab, as it is opened for the first time."""
    manifest = yaml.safe_load((ROOT / "manifest.yaml").read_text(encoding="utf-8"))
    found = agent.prompts_for(bot.answer(agent.QUESTION, surface="docs").result)
    return [
        {
            "kind": "prompts",
            "title": agent.PROMPTS_TITLE,
            "prompts": agent.prompts(found),
            "about": manifest["features"]["agent_view"]["agent_description"],
        }
    ]


#: The pieces of each picture.
SURFACES: dict[str, Callable[[Bot], list[JsonObject]]] = {
    "form": form,
    "form-error": form_error,
    "share": share,
    "progress": progress,
    "home": home,
    "prompts": prompts,
}
