"""Draw the pictures of docs/digests.md: digests, and an alert in each of its states.

`python -m docs.pictures.digests` from the root of the repository; needs npm and Chromium. The
states of the alert come by the bot's own steps on the demo's days, with a clock that is set.
"""

import dataclasses
import datetime as dt
import sys
from unittest.mock import patch

import sqlalchemy as sa

from analytics.errors import UserError
from bot.commands.alert import AlertWhen
from bot.parse import parse, unparse
from bot.setup import Bot
from bot.slack.alerting import Looking, tell
from bot.slack.answering import Delivery
from bot.slack.blocks import Message, error_message, to_message
from bot.watching import look
from docs.pictures.browser import PictureError
from docs.pictures.make import (
    BUILD,
    DESKTOP_PX,
    PHONE_PX,
    bundle,
    demo_folder,
    draw_pieces,
    open_bot,
)
from docs.pictures.surfaces import as_drawn
from storage.alerts import Alerts
from storage.state import State, microseconds, posts

BOTH = (DESKTOP_PX, PHONE_PX)

#: Digests by the name of their picture.
DIGESTS = {
    "digest": "digest 2011-12-08",
    "digest-note": "digest 2011-11-25",
    "digest-held": "digest",
    "digest-anyway": "digest anyway",
}

#: The alert that is drawn, the mornings on which it looks, and what is drawn of what it says.
WATCHED = "alert when conversion below 5 %"
MORNINGS = (26, 27, 28, 29)
LAST_MORNING = dt.datetime(2011, 12, 10, 9, tzinfo=dt.UTC)
STATES = ("opened", "updated", "back", "resolved")


def main() -> int:
    """Draw all of them."""
    BUILD.mkdir(parents=True, exist_ok=True)
    opened = open_bot(demo_folder())
    script, style = bundle()
    for name, question in DIGESTS.items():
        message = answered(opened, question)
        draw_pieces(name, [as_drawn(message)], BOTH, script, style)
        if name == "digest-note" and message.detail is not None:
            draw_pieces("digest-thread", [as_drawn(message.detail)], BOTH, script, style)
    for name, message in alert_messages(opened).items():
        draw_pieces(f"alert-{name}", [as_drawn(message)], BOTH, script, style)
    opened.close()
    return 0


def answered(opened: Bot, question: str) -> Message:
    """A digest, or that it is held."""
    try:
        return to_message(opened.answer(question, surface="docs").result)
    except UserError as error:
        return error_message(error)


def alert_messages(opened: Bot) -> dict[str, Message]:
    """What the alert says on each morning, and when data are missing."""
    path = BUILD / "alerts.sqlite"
    path.unlink(missing_ok=True)
    state = State.open(f"sqlite:///{path}")
    kept = Alerts(state)
    ctx = dataclasses.replace(opened.context(), state=state)
    asked = parse(WATCHED, ctx.today, ctx.catalog).command
    number = kept.add(
        question=unparse(asked), owner="U0", team="", channel="C0000000001", place="#growth"
    )
    mornings = [dt.datetime(2011, 11, day, 9, tzinfo=dt.UTC) for day in MORNINGS]
    for now in (*mornings, LAST_MORNING):
        command = parse(WATCHED, now.date(), ctx.catalog).command
        alert = kept.get(number)
        if alert is None or not isinstance(command, AlertWhen):
            raise PictureError(f"{WATCHED!r} is no alert")
        one = Looking(alert, command, dataclasses.replace(ctx, now=now))
        (seen,) = look(one.ctx, [command.watch(one.ctx)])
        at = sa.literal(microseconds(now.timestamp()), sa.BigInteger)
        with patch("storage.alerts.NowUs", lambda at=at: at), patch("bot.watching.PATIENCE_S", 0):
            tell(kept, one, seen, now)
    with state.transaction() as connection:
        bodies = connection.execute(sa.select(posts.c.body).order_by(posts.c.id)).scalars().all()
    state.close()
    messages = [Delivery.from_json(body).message for body in bodies]
    return dict(zip((*STATES, "absence"), messages, strict=True))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PictureError as error:
        sys.exit(str(error))
