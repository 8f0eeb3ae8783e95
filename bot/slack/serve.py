"""`python -m bot serve`: the running bot, over Socket Mode or HTTP, until SIGTERM."""

import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

import uvicorn
from apscheduler.schedulers.background import BackgroundScheduler
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk.errors import SlackApiError, SlackClientError

from analytics.errors import UserError
from bot.config import Settings, secret
from bot.scheduling import take_config
from bot.setup import Bot
from bot.slack.analysts import Analysts
from bot.slack.app import SlackRefusedError, identify, slack_app
from bot.slack.edge import Edge
from bot.slack.notices import Notices
from bot.slack.people import People
from bot.slack.post import Poster, error_word, web_client
from bot.slack.sending import Senders
from bot.slack.ticking import Ticker
from storage.engines import StoreError
from storage.outbox import Outbox
from storage.queue import Queue, purge_jobs
from storage.state import SECRETS, StateError

log = logging.getLogger("daybreak.slack")

#: What runs at SIGTERM gets so long; what is left is kept for the next process.
FINISH_WITHIN_S = 12.0
SEND_WITHIN_S = 3.0
SEEN_FOR_S = 24 * 3600.0
#: The audit keeps who asked what kind of question so long; its text goes earlier, by the settings.
AUDIT_DAYS = 730
HOUSEKEEPING_EVERY_S = 3600
FRESHNESS_EVERY_S = 300
KEEP_ALIVE_S = 5
CONNECTIONS = 200

WHERE = {
    "SLACK_BOT_TOKEN": "It is the Bot User OAuth Token (xoxb-…) under OAuth & Permissions",
    "SLACK_APP_TOKEN": "It is an app-level token (xapp-…) with the scope connections:write, "
    "under Basic Information",
    "SLACK_SIGNING_SECRET": "It is the Signing Secret under Basic Information",
}


class MissingSecretError(UserError):
    """A secret is in neither the environment nor a file."""

    code = "missing_secret"

    def __init__(self, name: str) -> None:
        """`name` is the variable."""
        super().__init__(
            f"{name} is not set.",
            hint=f"{WHERE[name]} of your app at https://api.slack.com/apps. Set {name}, or "
            f"{name}_FILE to a file that only you can read; docs/slack.md goes step by step.",
        )


class PortTakenError(UserError):
    """Nobody can listen there."""

    code = "port_taken"

    def __init__(self, host: str, port: int) -> None:
        """`host` and `port` are those of the settings."""
        super().__init__(
            f"I can't listen on {host}:{port}.",
            hint="Stop what listens there, or change slack.host and slack.port in config.yaml.",
        )


class Redacting(logging.Filter):
    """Takes tokens and addresses that let anyone post out of log lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Every line is kept, without secrets."""
        message = record.getMessage()
        clean = SECRETS.sub("[removed]", message)
        if clean != message:
            record.msg, record.args = clean, ()
        return True


def needed(name: str) -> str:
    """A secret that the bot can't do without. Raises MissingSecretError."""
    value = secret(name)
    if not value:
        raise MissingSecretError(name)
    return value


class Transport(Protocol):
    """How Slack reaches the app."""

    def start(self) -> None:
        """Begin to take requests. Raises SlackRefusedError where Slack says no."""
        ...

    def stop(self) -> None:
        """Take no more."""
        ...


class SocketTransport:
    """A connection that we open: no port, no address."""

    def __init__(self, app: App, app_token: str) -> None:
        """`app_token` is the xapp token."""
        self.handler = SocketModeHandler(app, app_token, trace_enabled=False)

    def start(self) -> None:
        """Connect."""
        try:
            self.handler.connect()  # type: ignore[no-untyped-call]
        except SlackApiError as error:
            raise SlackRefusedError(
                f"Slack does not take SLACK_APP_TOKEN ({error_word(error)}).",
                hint=f"{WHERE['SLACK_APP_TOKEN']} of your app at https://api.slack.com/apps.",
            ) from error
        except (SlackClientError, OSError) as error:
            raise SlackRefusedError(
                "Slack can't be reached.", hint="Check this machine's way to Slack."
            ) from error

    def stop(self) -> None:
        """Disconnect."""
        self.handler.close()  # type: ignore[no-untyped-call]


class HttpTransport:
    """A server that Slack calls."""

    def __init__(self, edge: Edge, host: str, port: int) -> None:
        """Listens from `start` on."""
        self.edge = edge
        self.server = uvicorn.Server(
            uvicorn.Config(
                edge,
                host=host,
                port=port,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=KEEP_ALIVE_S,
                limit_concurrency=CONNECTIONS,
            )
        )
        self.thread = threading.Thread(target=self.server.run, name="http")

    def start(self) -> None:
        """Listen. Raises PortTakenError."""
        self.thread.start()
        while not self.server.started:
            self.thread.join(0.02)
            if not self.thread.is_alive():
                raise PortTakenError(self.server.config.host, self.server.config.port)

    def stop(self) -> None:
        """Answer what is on its way, then close."""
        self.edge.stopping = True
        self.server.should_exit = True
        if self.thread.ident is not None:
            self.thread.join(2 * KEEP_ALIVE_S)
        self.edge.close()


@dataclass
class Service:
    """The parts of a running bot, in the order in which they stop."""

    bot: Bot
    app: App
    poster: Poster
    queue: Queue
    analysts: Analysts
    senders: Senders
    transport: Transport
    ticker: BackgroundScheduler
    clock: Ticker

    def start(self) -> None:
        """Take questions. Raises UserError where Slack says no."""
        self.senders.start()
        self.analysts.start()
        self.transport.start()
        self.ticker.start()
        self.clock.start()

    def stop(self, finish: float = FINISH_WITHIN_S, send: float = SEND_WITHIN_S) -> int:
        """Take no more, finish what runs, send what there is; what is left is kept: how much."""
        self.transport.stop()
        self.clock.stop()
        if self.ticker.running:
            self.ticker.shutdown(wait=True)
        self.analysts.stop(finish)
        self.poster.stop()
        self.app.listener_runner.listener_executor.shutdown()
        unsent = self.senders.stop(send)
        left = self.queue.unfinished() + unsent
        self.bot.close()
        return left


def service(settings: Settings) -> Service:
    """Open everything; nothing runs yet. Raises UserError with what to do."""
    http = settings.slack.mode == "http"
    token = needed("SLACK_BOT_TOKEN")
    other = needed("SLACK_SIGNING_SECRET" if http else "SLACK_APP_TOKEN")
    client = web_client(token, settings.slack.api_url)
    identity = identify(client)
    bot = Bot.open(settings).knowing(People(lambda _: client, lambda _: identity.team))
    limits = settings.limits
    queue = Queue(
        bot.state,
        workers=limits.workers,
        waiting=limits.waiting,
        per_person=limits.per_person,
    )
    senders = Senders(Outbox(bot.state), Poster(client, patience_seconds=0))
    poster = Poster(client)
    # the app wakes the analysts, and they tell by its threads: one must be made first
    waking: list[Analysts] = []
    app = slack_app(
        bot,
        queue,
        poster,
        identity,
        wake=lambda: waking[0].wake(),
        signing_secret=other if http else "",
    )
    notices = Notices(poster, app.listener_runner.listener_executor)
    analysts = Analysts(bot, queue, senders, notices.slow)
    waking.append(analysts)
    transport: Transport
    if http:
        edge = Edge(app, other, ready=lambda: can_remember(bot))
        transport = HttpTransport(edge, settings.slack.host, settings.slack.port)
    else:
        transport = SocketTransport(app, other)
    take_config(bot.state, settings, bot.catalog)
    clock = Ticker(bot.state, limits)
    return Service(bot, app, poster, queue, analysts, senders, transport, ticker(bot), clock)


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; the exit status. Raises UserError where it can't start."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(Redacting())
    running = service(settings)
    stop = threading.Event()

    def asked_to_stop(_: int, __: FrameType | None) -> None:
        stop.set()

    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, asked_to_stop)
    try:
        running.start()
        log.info("serving", extra={"mode": settings.slack.mode})
        stop.wait()
    finally:
        left = running.stop()
        log.info("stopped", extra={"left": left})
    return 0


def can_remember(bot: Bot) -> bool:
    """Whether questions can be taken: the bot's memory answers."""
    try:
        bot.state.now()
    except StateError:
        return False
    return True


# What is done by the clock.


def ticker(bot: Bot) -> BackgroundScheduler:
    """Housekeeping by the hour, the age of the data every few minutes; not started."""
    scheduler = BackgroundScheduler(timezone="UTC")
    jobs: tuple[tuple[Callable[[Bot], Any], int], ...] = (
        (housekeeping, HOUSEKEEPING_EVERY_S),
        (data_age, FRESHNESS_EVERY_S),
    )
    for job, seconds in jobs:
        scheduler.add_job(
            job, "interval", args=(bot,), seconds=seconds, coalesce=True, misfire_grace_time=None
        )
    return scheduler


def housekeeping(bot: Bot) -> tuple[int, int]:
    """Forget old requests, answers, texts of questions, and the oldest audit; requests, texts."""
    try:
        purge_jobs(bot.state, older_than_seconds=SEEN_FOR_S)
        Outbox(bot.state).purge(older_than_seconds=SEEN_FOR_S)
        seen = bot.state.purge_seen(older_than_seconds=SEEN_FOR_S)
        texts = bot.state.forget_texts(older_than_days=bot.settings.state.keep_questions_days)
        bot.state.purge_questions(
            older_than_days=max(AUDIT_DAYS, bot.settings.state.keep_questions_days)
        )
    except StateError as error:
        log.exception("housekeeping_failed", extra={"detail": error.detail})
        return 0, 0
    log.info("housekeeping", extra={"seen": seen, "texts": texts})
    return seen, texts


def data_age(bot: Bot) -> float | None:
    """Seconds from the newest row to now, written to the log; None for an empty store."""
    try:
        through = bot.store.fork().data_through()
    except StoreError as error:
        log.exception("data_age_failed", extra={"detail": error.detail})
        return None
    if through is None:
        log.warning("store_empty")
        return None
    seconds = (bot.now().replace(tzinfo=None) - through).total_seconds()
    log.info("data_age", extra={"seconds": round(seconds)})
    return seconds
