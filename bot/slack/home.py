"""App Home: yesterday's key figures, what one asked lately, and what can be asked."""

from collections.abc import Sequence

from bot.slack.blocks import ASK, JsonObject, Message, button, can_be_value, context, plain, rich
from bot.slack.sendable import VIEW_BLOCKS
from storage.state import Question

#: What a Home shows first.
QUESTION = "kpis yesterday"
#: Blocks that Slack takes in messages only.
MESSAGE_ONLY = frozenset({"data_visualization"})
LATELY = 5
IDEAS = ("kpis last 30 days", "segment last 90 days", "rules last 90 days", "help", "status")


def home_view(message: Message, recent: Sequence[Question]) -> JsonObject:
    """The view: the answer to `QUESTION` (or why there is none), then buttons that ask."""
    answer = [b for b in message.blocks if b["type"] not in MESSAGE_ONLY]
    blocks: list[JsonObject] = answer or [rich(message.text)]
    asked = dict.fromkeys(q.canonical for q in recent if q.canonical and can_be_value(q.canonical))
    lately = [text for text in asked if text != QUESTION][:LATELY]
    for title, questions, prefix in (
        ("You asked lately", lately, f"{ASK}_1"),
        ("Ask me", [text for text in IDEAS if text not in lately], f"{ASK}_2"),
    ):
        if questions:
            blocks += [
                {"type": "header", "text": plain(title)},
                {
                    "type": "actions",
                    "elements": [
                        button(f"{prefix}{i}", text, text) for i, text in enumerate(questions)
                    ],
                },
            ]
    blocks.append(context("Answers to these buttons come as direct messages."))
    return {"type": "home", "blocks": blocks[-VIEW_BLOCKS:]}
