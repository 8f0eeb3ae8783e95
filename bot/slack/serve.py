"""`python -m bot serve`: the running bot, over Socket Mode or HTTP, until SIGTERM."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Literal, Protocol

import uvicorn
from apscheduler.schedulers.background import BackgroundScheduler
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from analytics.errors import DataUnavailableError, UserError
from analytics.methods.slow import load_all
from bot import logs, spans
from bot.config import OperateSettings, Settings, secret
from bot.scheduling import take_config
from bot.setup import Bot
from bot.slack.analysts import Analyst, finish_without
from bot.slack.answering import Job
from bot.slack.app import Identity, SlackRefusedError, identify, slack_app
from bot.slack.blocks import Message
from bot.slack.edge import Edge
from bot.slack.keeper import Keeper, Killed
from bot.slack.listener import Listener, Readiness
from bot.slack.notices import Notices
from bot.slack.oauth import TeamsClient, pages, workspaces_of
from bot.slack.people import People
from bot.slack.post import Poster, error_word, web_client
from bot.slack.processes import (
    EXIT_REFUSED,
    Bell,
    Nursery,
    Role,
    Supervisor,
    machine_memory,
)
from bot.slack.sending import Senders
from bot.slack.ticking import Ticker
from bot.slack.worker import Here, Worker, serve_line
from bot.terminal import say_error
from storage import processes
from storage.engines import StoreError, of_one_process
from storage.installs import purge_oauth_states
from storage.outbox import Outbox
from storage.processes import BEAT_EVERY_S
from storage.queue import Claim, Queue, purge_jobs
from storage.schedules import Schedules
from storage.state import StateError

log = logging.getLogger("daybreak.slack")

#: What runs at SIGTERM gets so long; what is left is kept for the next process.
FINISH_WITHIN_S = 12.0
SEND_WITHIN_S = 3.0
#: A process that has not ended by then is killed; together they stay below 20 s.
ANALYST_WITHIN_S = 14.0
EDGE_WITHIN_S = 5.0
ASIDE = 4
SEEN_FOR_S = 24 * 3600.0
RUNS_FOR_S = 90 * 24 * 3600.0
#: The audit keeps who asked what kind of question so long; its text goes earlier, by the settings.
AUDIT_DAYS = 730
HOUSEKEEPING_EVERY_S = 3600
FRESHNESS_EVERY_S = 300
#: A process that was held up says once that it lives.
BEATS = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
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

    def __init__(self, host: str, port: int, section: str = "slack") -> None:
        """`host` and `port` are those of a section of the settings."""
        keys = f"{section}.host and {section}.port"
        super().__init__(
            f"I can't listen on {host}:{port}.",
            hint=f"Stop what listens there, or change {keys} in config.yaml.",
        )


def needed(name: str) -> str:
    """A secret that the bot can't do without. Raises MissingSecretError."""
    value = secret(name)
    if not value:
        raise MissingSecretError(name)
    return value


class Transport(Protocol):
    """How Slack reaches the app."""

    @property
    def is_connected(self) -> bool:
        """Whether Slack's requests can come."""
        ...

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

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open."""
        return bool(self.handler.client.is_connected())

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

    @property
    def is_connected(self) -> bool:
        """Whether it listens."""
        return self.server.started and self.thread.is_alive() and not self.server.should_exit

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
class EdgeService:
    """The process that Slack talks to: it takes questions and posts answers. It has no store."""

    bot: Bot
    app: App
    poster: Poster
    queue: Queue
    senders: Senders
    transport: Transport
    ticker: BackgroundScheduler
    clock: Ticker
    listener: Listener | None = None
    is_quiet: bool = False

    def start(self) -> None:
        """Take questions. Raises UserError where Slack says no."""
        if self.listener is not None:
            try:
                self.listener.start()
            except OSError as error:
                raise PortTakenError(*self.listener.address, "operate") from error
        self.senders.start()
        self.transport.start()
        self.ticker.start()
        self.clock.start()

    def quiet(self) -> None:
        """Take no more questions; what is answered is still posted."""
        if self.is_quiet:
            return
        self.is_quiet = True
        self.transport.stop()
        self.clock.stop()
        if self.ticker.running:
            self.ticker.shutdown(wait=True)

    def stop(self, send: float = SEND_WITHIN_S) -> int:
        """Take no more, and send what there is; how much is left for later."""
        self.quiet()
        self.poster.stop()
        self.app.listener_runner.listener_executor.shutdown()
        unsent = self.senders.stop(send)
        left = self.queue.unfinished() + unsent
        processes.gone(self.bot.state, processes.own_name("edge"))
        if self.listener is not None:
            self.listener.stop()
        self.bot.close()
        return left


def edge_service(settings: Settings, asked: Callable[[], None]) -> EdgeService:
    """Open what the edge needs; nothing runs yet. Raises UserError with what to do.

    `asked()` is called when there is a question, or one was cancelled.
    """
    http = settings.slack.mode == "http"
    client = client_of(settings)
    other = needed("SLACK_SIGNING_SECRET" if http else "SLACK_APP_TOKEN")
    identity = identity_of(client)
    bot = open_bot(settings, client, identity, with_store=False)
    queue = queue_of(bot)
    senders = Senders(Outbox(bot.state), Poster(client, patience_seconds=0), asked)
    poster = Poster(client)
    several = client.workspaces if isinstance(client, TeamsClient) else None
    app = slack_app(
        bot,
        queue,
        poster,
        identity,
        wake=asked,
        signing_secret=other if http else "",
        workspaces=several,
    )
    transport: Transport
    if http:
        opened = pages(several, settings) if several else {}
        edge = Edge(app, other, ready=lambda: can_remember(bot), pages=opened)
        transport = HttpTransport(edge, settings.slack.host, settings.slack.port)
    else:
        transport = SocketTransport(app, other)
    take_config(bot.state, settings, bot.catalog)
    clock = Ticker(bot.state, settings.limits)
    every = ticker(bot)
    every.add_job(beat, "interval", args=(bot, "edge", dict), seconds=BEAT_EVERY_S, **BEATS)
    edge_of_slack = EdgeService(bot, app, poster, queue, senders, transport, every, clock)
    if settings.operate.port:
        edge_of_slack.listener = listener_of(edge_of_slack, settings.operate)
    return edge_of_slack


def listener_of(edge: EdgeService, told: OperateSettings) -> Listener:
    """What tells whoever looks after the bot how the edge is, and all behind it."""
    ready = Readiness(
        edge.bot,
        is_connected=lambda: edge.transport.is_connected,
        since_tick=lambda: edge.clock.since_tick,
        is_stopping=lambda: edge.is_quiet,
    )
    return Listener(edge.bot, ready, told.host, told.port)


def client_of(settings: Settings) -> WebClient:
    """What speaks to Slack: by the token, or by that of each of several workspaces."""
    if settings.slack.workspaces:
        return TeamsClient(settings.slack.api_url)
    return web_client(needed("SLACK_BOT_TOKEN"), settings.slack.api_url)


def identity_of(client: WebClient) -> Identity:
    """Who we are in the one workspace; nobody where there are several."""
    return Identity("", "", "") if isinstance(client, TeamsClient) else identify(client)


def open_bot(settings: Settings, client: WebClient, identity: Identity, *, with_store: bool) -> Bot:
    """The bot of a process that knows Slack. Raises UserError."""
    bot = Bot.open(settings, with_store=with_store)
    if isinstance(client, TeamsClient):
        client.workspaces = workspaces_of(settings, bot.state)
        return bot.knowing(People(client.workspaces.client, lambda team: team))
    return bot.knowing(People(lambda _: client, lambda _: identity.team))


def queue_of(bot: Bot) -> Queue:
    """The line of accepted questions, as long as the settings say."""
    limits = bot.settings.limits
    return Queue(
        bot.state,
        workers=limits.workers,
        waiting=limits.waiting,
        per_person=limits.per_person,
    )


def analyst_of(bot: Bot, client: WebClient, answered: Callable[[], None]) -> Analyst:
    """What works questions off, over a bot with a store; `answered()` hears of each answer."""
    return Analyst(bot, queue_of(bot), Outbox(bot.state), Poster(client), answered)


@dataclass
class AnalystService:
    """The process that has questions worked off, by a worker that it can kill."""

    bot: Bot
    keeper: Keeper
    aside: ThreadPoolExecutor
    ticker: BackgroundScheduler

    def start(self) -> None:
        """Begin to answer. Raises UserError where the store can't be opened."""
        try:
            self.keeper.worker.start()
        except StoreError as error:
            raise DataUnavailableError(error.message, hint=error.hint) from error
        beat(self.bot, "analyst", self.keeper.worker.facts)  # terminals come to us from now on
        if of_one_process(self.bot.settings.store.url):
            # whoever had claims had the store, which is ours now
            log.info("taken_over", extra={"jobs": self.keeper.queue.take_over()})
        self.keeper.start()
        self.ticker.start()

    def stop(self, finish: float = FINISH_WITHIN_S) -> int:
        """Begin nothing more, finish what runs; how many questions were given back."""
        left = self.keeper.stop(finish)
        if self.ticker.running:
            self.ticker.shutdown(wait=True)
        self.aside.shutdown()
        processes.gone(self.bot.state, processes.own_name("analyst"))
        self.bot.close()
        return left


def analyst_service(
    bot: Bot, client: WebClient, worker: Worker | Here, answered: Callable[[], None]
) -> AnalystService:
    """What the analyst's process needs beside its worker; nothing runs yet."""
    aside = ThreadPoolExecutor(ASIDE, thread_name_prefix="notices")
    outbox = Outbox(bot.state)
    queue = queue_of(bot)

    def failed(claim: Claim, job: Job, words: Message, outcome: Killed) -> None:
        if finish_without(bot, queue, outbox, claim, job, words, outcome):
            answered()

    notices = Notices(Poster(client), aside)
    keeper = Keeper(
        bot,
        queue,
        worker,
        slow=notices.slow,
        turn=notices.working,
        failed=failed,
        memory_bytes=bot.settings.limits.memory_bytes or machine_memory() * 3 // 4,
    )
    beats = BackgroundScheduler(timezone="UTC")
    beats.add_job(
        beat, "interval", args=(bot, "analyst", worker.facts), seconds=BEAT_EVERY_S, **BEATS
    )
    return AnalystService(bot, keeper, aside, beats)


# The processes.


def serve(settings: Settings, role: Literal["all", "edge", "analyst"] = "all") -> int:
    """Run until SIGTERM or SIGINT; the exit status. Says on standard error why it can't start."""
    logs.begin(settings.operate.logs, "supervisor")
    spans.check()
    asked, answered = Bell(), Bell()
    edge_up, analyst_up = Bell(), Bell()
    edge = partial(live_edge, settings, asked, answered, edge_up)
    analyst = partial(live_analyst, settings, asked, answered, analyst_up)
    roles = {
        "edge": Role("edge", partial(refusing, edge), edge_up, EDGE_WITHIN_S),
        "analyst": Role("analyst", partial(refusing, analyst), analyst_up, ANALYST_WITHIN_S),
    }
    chosen = list(roles.values()) if role == "all" else [roles[role]]
    if role != "edge":
        load_all()  # once, for all that are born
    status = Supervisor(chosen).run()
    log.info("stopped", extra={"status": status})
    return status


def refusing(live: Callable[[], int]) -> int:
    """Say what keeps a process from its work."""
    try:
        return live()
    except UserError as error:
        say_error(error)
        return EXIT_REFUSED


def live_edge(settings: Settings, asked: Bell, answered: Bell, up: Bell) -> int:
    """The edge, from its birth to its end."""
    logs.begin(settings.operate.logs, "edge")
    spans.begin("edge")
    signs = signals()
    edge = edge_service(settings, asked.ring)
    threading.Thread(target=answered.answer, args=(edge.senders.wake,), daemon=True).start()
    try:
        edge.start()
        up.ring()
        log.info("serving", extra={"mode": settings.slack.mode})
        while signs.get() != signal.SIGTERM:
            edge.quiet()
    finally:
        left = edge.stop()
        log.info("edge_stopped", extra={"left": left})
        spans.end()
    return 0


def live_analyst(settings: Settings, asked: Bell, answered: Bell, up: Bell) -> int:
    """The analyst, from its birth to its end. Its worker is born of a process without threads."""
    logs.begin(settings.operate.logs, "analyst")
    client = client_of(settings)
    identity = identity_of(client)
    nursery = Nursery(partial(compute, settings, client, identity, answered.ring))
    signs = signals()
    bot = open_bot(settings, client, identity, with_store=False)
    worker = Worker(nursery, lost=partial(os.kill, os.getpid(), signal.SIGTERM))
    analyst = analyst_service(bot, client, worker, answered.ring)
    try:
        analyst.start()
        threading.Thread(target=asked.answer, args=(analyst.keeper.wake,), daemon=True).start()
        up.ring()
        log.info("analysing", extra={"workers": settings.limits.workers})
        while signs.get() != signal.SIGTERM:
            pass
    finally:
        left = analyst.stop()
        log.info("analyst_stopped", extra={"given_back": left})
    return 0


def compute(
    settings: Settings,
    client: WebClient,
    identity: Identity,
    answered: Callable[[], None],
    line: Connection,
) -> int:
    """The worker, from its birth to its end."""
    logs.begin(settings.operate.logs, "worker")
    spans.begin("worker")

    def opened() -> Analyst:
        bot = open_bot(settings, client, identity, with_store=True)
        return analyst_of(bot, client, answered)

    most = settings.limits.memory_bytes or machine_memory() * 3 // 4
    try:
        return serve_line(line, opened, memory_bytes=most)
    finally:
        spans.end()


def signals() -> "SimpleQueue[int]":
    """What this process is told: SIGUSR1 to take no more, SIGTERM to end."""
    told: SimpleQueue[int] = SimpleQueue()
    for sign in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(sign, lambda number, _: told.put(number))
    return told


def beat(bot: Bot, role: processes.Role, facts: Callable[[], dict[str, Any]]) -> None:
    """Say that this process lives, and what it knows."""
    try:
        processes.beat(bot.state, processes.own_name(role), role, facts())
    except StateError as error:
        log.exception("state_error", extra={"detail": error.detail})


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
        processes.purge_replies(bot.state, older_than_seconds=SEEN_FOR_S)
        Outbox(bot.state).purge(older_than_seconds=SEEN_FOR_S)
        Schedules(bot.state).purge(older_than_seconds=RUNS_FOR_S)
        seen = bot.state.purge_seen(older_than_seconds=SEEN_FOR_S)
        purge_oauth_states(bot.state)
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
    """Seconds from the newest row to now, written to the log; None where there is none."""
    try:
        through = bot.data_through()
    except StateError as error:
        log.exception("state_error", extra={"detail": error.detail})
        return None
    if through is None:
        log.warning("data_age_unknown")
        return None
    seconds = (bot.now().replace(tzinfo=None) - through).total_seconds()
    log.info("data_age", extra={"seconds": round(seconds)})
    return seconds
