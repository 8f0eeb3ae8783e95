"""What is done by the clock without being asked: each chore once in its time slot.

The ticker puts a chore in the queue under a key of its name and slot, an analyst does it, and what
it wants to say goes into the outbox in the transaction that ends the claim. A chore may be begun
again after a death: it must not mind.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analytics.commands.ab_snapshot import AbSnapshot
from analytics.errors import UserError
from bot.dispatch import run
from bot.setup import Bot
from bot.slack import alerting
from bot.slack.answering import Delivery


@dataclass(frozen=True)
class Chore:
    """Something to be done every so often; what it returns is posted."""

    name: str
    every_seconds: int
    run: Callable[[Bot], Sequence[Delivery]]


def snapshots(bot: Bot) -> Sequence[Delivery]:
    """Read the day's snapshot of each running experiment; again in the day it is there already."""
    with contextlib.suppress(UserError):  # none runs, or nothing is loaded yet
        run(AbSnapshot(), bot.context(), question="ab-snapshot")
    return ()


#: To add one: a line.
CHORES: tuple[Chore, ...] = (
    Chore("alerts", 300, alerting.watch),
    Chore("snapshots", 1_800, snapshots),
)
