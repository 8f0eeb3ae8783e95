"""Text on its way to Slack: what readers see is what the data hold, and nothing in it acts.

Slack's mrkdwn gives meaning to `& < >` (mentions, links), to `* _ ~` and the back-tick, to names
after `@` and `#`, to bare addresses and to `:names:` of emoji. Text of our own is only escaped;
a value from the data is also kept from acting. Where a block takes `plain_text`, `raw_text` or
rich text, prefer that, and use `shown` alone. (docs.slack.dev, messaging/formatting-message-text.)
"""

import re
import unicodedata

from bot.slack.sendable import FIELD_TEXT

ELLIPSIS = "…"
#: Zero-width non-joiner: invisible, and the character after it is no longer part of a name.
BREAK = "\u200c"
#: Stands for a back-tick where a real one would end the code.
TICK = "ˋ"

ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE)
NAME = re.compile(r"(?<=[@#])")
EMOJI = re.compile(r"(?<=:)(?=[\w+'-]+:)")
MARKER = re.compile(r"([*_~`])")
HALF_ENTITY = re.compile(r"&[a-z]{0,4}$")
OPEN_ANGLE = re.compile(r"<[^>]*$")
FENCE = "```"


def shown(text: str) -> str:
    """One line without what cannot be seen: control, bidi, zero-width and half characters."""
    spaced = re.sub(r"\s", " ", text)
    seen = "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return " ".join(seen.split())


def escape(text: str) -> str:
    """Text of our own, so that Slack shows `& < >` instead of acting on them."""
    return text.translate(ENTITIES)


def value(text: str, most: int = 80) -> str:
    """A value from the data for use in mrkdwn: one line, no mention, link, emoji or formatting.

    At most `most` characters as read; as sent, `&` alone takes five.
    """
    seen = cut(shown(text), most)
    for pattern in (ADDRESS, NAME, EMOJI):
        seen = pattern.sub(BREAK, seen)
    inert = escape(MARKER.sub(rf"{BREAK}\1{BREAK}", seen))
    return BREAK + inert if inert.startswith("&gt;") else inert  # at a line's start it quotes


def code(text: str, most: int = 200) -> str:
    """A value as inline code."""
    return f"`{escape(cut(shown(text), most)).replace('`', TICK)}`" if shown(text) else ""


def fence(text: str, most: int) -> str:
    """Lines as a code block of at most `most` characters as sent; no back-tick closes it early."""
    lines = [re.sub(r"\s", " ", line) for line in text.splitlines()]
    seen = "\n".join(
        "".join(c for c in line if unicodedata.category(c) not in ("Cc", "Cf", "Cs")).rstrip()
        for line in lines
    )
    frame = f"{FENCE}\n\n{FENCE}"
    inner = cut_mrkdwn(escape(seen).replace("`", TICK), most - len(frame))
    return f"{FENCE}\n{inner}\n{FENCE}"


def cut(text: str, most: int) -> str:
    """At most `most` characters: cut after a word if one ends near, and marked with “…”."""
    if len(text) <= most:
        return text
    end = most - 1
    while end > 0 and (unicodedata.combining(text[end]) or text[end] in "\u200d\ufe0f"):
        end -= 1  # a letter keeps its accents
    head = text[:end]
    if not text[end].isspace():
        whole_words = re.sub(r"\S+$", "", head)
        if len(whole_words) >= end - 40 and whole_words.strip():
            head = whole_words
    return head.rstrip() + ELLIPSIS


def cut_mrkdwn(text: str, most: int) -> str:
    """As `cut`, of mrkdwn: no half entity or link is left, and an open code block is closed.

    `most` is at least 5.
    """
    if len(text) <= most:
        return text
    closing = "\n" + FENCE
    head = cut(text, most - len(closing)).removesuffix(ELLIPSIS)
    head = head.rstrip("`") if text[len(head) :].startswith("`") else head
    head = OPEN_ANGLE.sub("", HALF_ENTITY.sub("", head)).rstrip()
    return head + ELLIPSIS + (closing if head.count(FENCE) % 2 else "")


def field(label: str, text: str) -> str:
    """A labelled mrkdwn text for a section's fields; `text` is mrkdwn, `label` a value."""
    return cut_mrkdwn(f"*{value(label)}*  {text}", FIELD_TEXT)


def fit(lines: list[str], most: int) -> str:
    """As many whole lines as go into `most` characters; the last says how many were left out."""
    text = "\n".join(lines)
    if len(text) <= most:
        return text
    kept = list(lines)
    while kept and len("\n".join([*kept, left_out(len(lines) - len(kept))])) > most:
        kept.pop()
    if not kept:
        return cut_mrkdwn(text, most)
    return "\n".join([*kept, left_out(len(lines) - len(kept))])


def left_out(lines: int) -> str:
    """What stands in place of lines that did not fit."""
    return f"{ELLIPSIS} and {lines:,} more"
