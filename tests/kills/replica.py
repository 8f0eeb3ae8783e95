"""One replica: the product's own ticker, analysts and senders, with short leases."""

import logging
import signal
from dataclasses import dataclass

import sqlalchemy as sa

import bot.slack.keeper as keeper_module
import bot.slack.post as post_module
import bot.slack.sending as sending_module
import bot.slack.ticking as ticking_module
from bot.config import LimitSettings, Settings, StateSettings, StoreSettings
from bot.setup import Bot
from bot.slack.analysts import Analyst
from bot.slack.keeper import Keeper
from bot.slack.post import Poster, web_client
from bot.slack.sending import Senders
from bot.slack.ticking import Ticker
from bot.slack.worker import Here
from storage.outbox import DUE, SENDING, Outbox
from storage.queue import Queue
from storage.schedules import schedule_runs
from storage.state import jobs, posts

#: Short, so that five hundred kills take minutes: the product's are 30 and 60 s.
LEASE_S = 2.0
TIMEOUT_S = 1


@dataclass(frozen=True)
class Place:
    """Where a replica keeps its memory and its data, and finds Slack."""

    state: str
    store: str
    slack: str
    unsafe: bool = False

    @property
    def settings(self) -> Settings:
        """As config.yaml would have them."""
        return Settings(
            state=StateSettings(url=self.state),
            store=StoreSettings(url=self.store),
            limits=LimitSettings(workers=1, retry_minutes=0.05),
        )


def in_haste() -> None:
    """Shorten what the product waits for."""
    keeper_module.LEASE_S = LEASE_S
    keeper_module.RENEW_EVERY_S = 0.5
    keeper_module.POLL_S = 0.1
    sending_module.LEASE_S = LEASE_S
    sending_module.POLL_S = 0.1
    sending_module.SETTLE_S = 0.5
    sending_module.SWEEP_EVERY_S = 0.5
    sending_module.SENDERS = 2
    ticking_module.TICK_S = 0.3
    post_module.TIMEOUT_S = TIMEOUT_S


def blind(*_: object, **__: object) -> str:
    """The planted fault: nothing is looked up before it is sent again."""
    return ""


def live(place: Place) -> None:
    """Work until killed."""
    logging.disable(logging.CRITICAL)
    in_haste()
    if place.unsafe:
        Poster.find = blind  # type: ignore[method-assign]
    bot = Bot.open(place.settings)
    poster = Poster(web_client("xoxb-kills", f"{place.slack}/api/"), patience_seconds=0)
    outbox = Outbox(bot.state)
    queue = Queue(bot.state, workers=3, waiting=50, per_person=3)
    here = Here(Analyst(bot, queue, outbox, poster))
    Senders(outbox, poster).start()
    Keeper(bot, queue, here, slow=lambda *_: None, failed=lambda *_: None).start()
    Ticker(bot.state, bot.settings.limits).start()
    while True:
        signal.pause()


def left(place: Place, *, checks: int) -> int:
    """What is not finished: jobs, runs, posts, and the first `checks` for copies of a post."""
    bot = Bot.open(place.settings)
    try:
        with bot.state.transaction() as connection:
            waiting = sa.select(sa.func.count()).where(jobs.c.status.in_(("waiting", "running")))
            open_runs = sa.select(sa.func.count()).where(
                schedule_runs.c.state.in_(("due", "queued", "posting", "held"))
            )
            unsent = posts.c.status.in_((DUE, SENDING))
            unchecked = (posts.c.check_at > 0) & (posts.c.checks < checks)
            open_posts = sa.select(sa.func.count()).where(unsent | unchecked)
            return sum(
                int(connection.execute(chosen).scalar_one())
                for chosen in (waiting, open_runs, open_posts)
            )
    finally:
        bot.close()


def failed(place: Place) -> dict[str, int]:
    """How many runs ended without a message, by their state and note."""
    bot = Bot.open(place.settings)
    try:
        told = schedule_runs.c.state + ": " + schedule_runs.c.note
        silent = schedule_runs.c.state.not_in(("posting", "posted"))
        counted = sa.select(told, sa.func.count()).where(silent).group_by(told)
        with bot.state.transaction() as connection:
            return {str(why): int(n) for why, n in connection.execute(counted)}
    finally:
        bot.close()
