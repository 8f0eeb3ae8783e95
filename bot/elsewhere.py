"""What a terminal has the running analyst do: put in its line, waited for, dropped.

Where another process has the store open, the bot's memory is where both meet.
"""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from analytics.errors import CancelledError, DataUnavailableError
from bot import trail
from bot.config import Settings
from bot.dispatch import Asked
from bot.scheduling import TERMINAL
from bot.setup import Bot
from storage import processes
from storage.queue import Dropped, Place, Queue

LOOK_EVERY_S = 0.05
#: As the audit calls what was asked of a process that went away.
LOST = "lost_process"


def open_bot(settings: Settings) -> Bot:
    """The bot; without the store where a running analyst has it. Raises UserError."""
    bot = Bot.open(settings, with_store=False)
    if processes.living(bot.state, "analyst"):
        return bot
    bot.close()
    return Bot.open(settings)


def done_elsewhere(
    bot: Bot, job: Mapping[str, str], tell: Callable[[str], None] = lambda _: None
) -> str:
    """Have the running analyst do it; its reply. `tell` hears how far it is. Raises UserError.

    `job` says by its `way` and `text`, and what else that way knows, what is to be done.
    """
    limits = bot.settings.limits
    queue = Queue(
        bot.state, workers=limits.workers, waiting=limits.waiting, per_person=limits.waiting
    )
    reference = trail.new()
    work = json.dumps({"user": TERMINAL, "channel": "", "reference": reference, **job})
    place = queue.put(f"terminal:{secrets.token_hex(8)}", TERMINAL, work)
    if not isinstance(place, Place):
        raise DataUnavailableError("The running bot is busy.", hint="Ask again in a minute.")

    def drop(outcome: str) -> None:
        def record(connection: Any, dropped: Dropped) -> None:
            asked = Asked(
                job["text"], None, TERMINAL, outcome, dropped.seconds, reference, TERMINAL
            )
            bot.audit(asked, connection)

        queue.cancel(place.job, TERMINAL, record)

    told = ""
    try:
        while (reply := processes.take_reply(bot.state, place.job)) is None:
            if not processes.living(bot.state, "analyst"):
                drop(LOST)
                raise DataUnavailableError(
                    "The running bot went away.", hint="Try again: I then open the data myself."
                )
            progress = queue.progress(place.job)
            if progress != told:
                told = progress
                tell(progress)
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        drop(CancelledError.code)
        raise CancelledError("The question was cancelled.") from None
    except LookupError:
        raise CancelledError("The question was cancelled.") from None
    return reply
