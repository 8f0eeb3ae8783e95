"""App Home: yesterday's key figures, one's schedules, what one asked lately, what can be asked."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from bot.scheduling import local_words
from bot.slack import text as safe
from bot.slack.agent import writes
from bot.slack.answering import UNASKED
from bot.slack.blocks import (
    ASK,
    BUTTON_LABEL,
    CHANGE,
    HELP,
    JsonObject,
    Message,
    button,
    can_be_value,
    context,
    mrkdwn,
    plain,
    rich,
)
from bot.slack.sendable import BLOCK, VIEW_BLOCKS
from storage.schedules import Schedule
from storage.state import Question

#: What a Home shows first.
QUESTION = "kpis yesterday"
LATELY = 5
SCHEDULES = 5
IDEAS = ("kpis last 30 days", "segment last 90 days", "rules last 90 days", "help", "status")
SCHEDULING = f"{HELP} schedule-add"


def home_view(
    message: Message, recent: Sequence[Question], schedules: Sequence[Schedule] = ()
) -> JsonObject:
    """The view: the answer to `QUESTION` (or why there is none), then buttons that ask.

    `schedules` are those of the person who looks.
    """
    answer = [b for b in message.blocks if "home" in BLOCK[b["type"]].surfaces]
    lately = asked_lately(recent)
    below = [*schedule_blocks(schedules), *asking("You asked lately", f"{ASK}_1", lately)]
    ideas = [text for text in IDEAS if text not in lately]
    below += asking("Ask me", f"{ASK}_2", ideas, button(CHANGE, "Ask with a form", HELP))
    below.append(
        context("What you ask here is answered in our direct messages, where you can go on.")
    )
    room = VIEW_BLOCKS - len(below)
    return {"type": "home", "blocks": [*(answer or [rich(message.text)])[:room], *below]}


def asked_lately(recent: Sequence[Question]) -> list[str]:
    """What was answered, each once, the latest first; what writes is not asked again by a click."""
    asked = [
        q.canonical
        for q in recent
        if q.canonical and q.surface not in UNASKED and q.outcome == "answered"
    ]
    distinct = dict.fromkeys(text for text in asked if can_be_value(text) and not writes(text))
    return [text for text in distinct if text != QUESTION][:LATELY]


def asking(
    title: str, prefix: str, questions: Sequence[str], *more: JsonObject
) -> list[JsonObject]:
    """A heading and a button for each question; nothing where there is none."""
    buttons = [
        button(f"{prefix}{i}", safe.cut(text, BUTTON_LABEL), text)
        for i, text in enumerate(questions)
    ]
    if not buttons and not more:
        return []
    return [
        {"type": "header", "text": plain(title)},
        {"type": "actions", "elements": [*more, *buttons]},
    ]


def schedule_blocks(schedules: Sequence[Schedule]) -> list[JsonObject]:
    """One's schedules, each with buttons that rest it, set it going or end it; the next first."""
    ordered = sorted(schedules, key=lambda s: (bool(s.paused), s.next_at, s.id))
    blocks: list[JsonObject] = [{"type": "header", "text": plain("Your schedules")}]
    for schedule in ordered[:SCHEDULES]:
        blocks += schedule_blocks_of(schedule)
    if not ordered:
        said = "None yet. Any question can come by itself: `kpis every weekday 09:00 to #ops`."
        blocks.append(rich(said))
    buttons = [button(CHANGE, "Schedule a question", SCHEDULING)]
    if ordered:
        more = f"All {len(ordered)} schedules" if len(ordered) > SCHEDULES else "Details"
        buttons.append(button(f"{ASK}_30", more, "schedules"))
    return [*blocks, {"type": "actions", "elements": buttons}]


def schedule_blocks_of(schedule: Schedule) -> list[JsonObject]:
    """What is asked, when and where to; when next; and what can be done with it."""
    following = f"next {local_words(schedule.next_at, ZoneInfo(schedule.zone))}"
    resting = "paused" if schedule.owner in schedule.paused else schedule.paused
    state = resting if schedule.paused else following
    where = f"<#{schedule.channel}>" if schedule.channel[:1] == "C" else safe.value(schedule.place)
    text = f"*{safe.value(schedule.question, 200)}*\nevery {safe.value(schedule.every, 100)}"
    text += f" to {where} · {safe.value(state, 200)}" if where else f" · {safe.value(state, 200)}"
    verb = "resume" if schedule.paused else "pause"
    change = button(f"{ASK}_3{schedule.id}", verb.capitalize(), f"schedule {verb} {schedule.id}")
    delete = button(f"{ASK}_4{schedule.id}", "Delete", f"schedule delete {schedule.id}")
    sure: JsonObject = {
        "title": plain("Delete this schedule?"),
        "text": plain(safe.cut(safe.shown(schedule.question), 200)),
        "confirm": plain("Delete"),
        "deny": plain("Keep"),
    }
    return [
        {"type": "section", "text": mrkdwn(text)},
        {"type": "actions", "elements": [change, delete | {"confirm": sure}]},
    ]
