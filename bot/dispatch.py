"""One path: `answer(text, ctx)`. Every surface is a thin adapter over it."""

import dataclasses
import datetime as dt
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import analytics.commands
import bot.commands
from analytics.catalog import SEGMENT
from analytics.command import Command, Context, load_commands
from analytics.errors import (
    CancelledError,
    DataUnavailableError,
    TooLargeError,
    TooLateError,
    UserError,
)
from analytics.period import Period
from analytics.result import Query, Receipt, Result, plain
from analytics.saved import knowing_segments
from analytics.scope import Filters
from bot import trail
from bot.access import admit, allow, allow_result
from bot.parse import Request, parse
from storage.engines import OutOfMemoryError, QueryCancelledError, StoppedError, StoreError
from storage.store import Read, Store
from storage.totals import TOTALS

load_commands(analytics.commands)
load_commands(bot.commands)

log = logging.getLogger("daybreak")


class BugError(UserError):
    """A fault of ours. The asker gets the reference under which the log has the trace."""

    code = "internal"

    def __init__(self, reference: str) -> None:
        """`reference` stands in the log too."""
        super().__init__(
            "Something went wrong on my side.",
            hint=f"Please tell whoever runs me this reference: {reference}.",
        )
        self.reference = reference


@dataclass(frozen=True)
class Answer:
    """What was understood, and the result with its receipt."""

    request: Request
    result: Result
    seconds: float


@dataclass(frozen=True)
class Asked:
    """One question for the audit: what was said, what was understood, and how it ended.

    `canonical` is None where nobody read it; `seconds` are those for which it was worked on;
    `reference` is the id that the log's lines have too.
    """

    text: str
    canonical: str | None
    asker: str
    outcome: str
    seconds: float
    reference: str = ""
    surface: str = ""
    channel: str = ""


def ignore(_: Asked) -> None:
    """No audit."""


def answer(
    text: str,
    ctx: Context,
    record: Callable[[Asked], None] = ignore,
    begun: Callable[[Store], None] = lambda _: None,
) -> Answer:
    """Understand, run, and hand out the receipt. Raises UserError only.

    `record` is told of every question, answered or not; `begun` gets the store that the question
    reads, whose `cancel()` stops it.
    """
    with trail.following(trail.current() or trail.new()) as reference:
        started = time.monotonic()
        request: Request | None = None
        outcome = "answered"
        try:
            admit(ctx.asker)
            request = parse(text, ctx.today, ctx.catalog)
            ctx = dataclasses.replace(ctx, asker=allow(request.command, ctx.asker))
            result = run(request.command, ctx, question=request.text, begun=begun)
            allow_result(result, ctx.asker)
            return Answer(request, result, time.monotonic() - started)
        except UserError as error:
            outcome = error.code
            raise
        except Exception as error:
            outcome = BugError.code
            log.exception("question_failed")
            raise BugError(reference) from error
        finally:
            seconds = time.monotonic() - started
            canonical = request.text if request else ""
            record(Asked(text, canonical, ctx.asker.name, outcome, seconds, reference))
            verb = request.command.verb() if request else ""
            log.info(
                "question_done",
                extra={"verb": verb, "outcome": outcome, "seconds": round(seconds, 3)},
            )


def run(
    command: Command,
    ctx: Context,
    *,
    question: str,
    begun: Callable[[Store], None] = lambda _: None,
) -> Result:
    """Run a command on a fork of the store, and add the receipt."""
    started = time.monotonic()
    ctx = knowing_segments(dataclasses.replace(ctx, store=ctx.store.fork()))
    begun(ctx.store)
    try:
        result = command.run(ctx)
        receipt = receipt_of(command, ctx, question, time.monotonic() - started)
        follow_ups = tuple(parse(f, ctx.today, ctx.catalog).text for f in result.follow_ups)
        return dataclasses.replace(result, receipt=receipt, follow_ups=follow_ups)
    except StoppedError as error:
        raise TooLateError(error.message, hint=error.hint) from error
    except QueryCancelledError as error:
        raise CancelledError(error.message, hint=error.hint) from error
    except MemoryError as error:
        raise TooLargeError(
            "This question needs more memory than I have.",
            hint="Ask for a shorter period or fewer items, or raise limits.memory in config.yaml.",
        ) from error
    except OutOfMemoryError as error:
        log.warning("out_of_memory", extra={"detail": error.detail})
        raise TooLargeError(error.message, hint=error.hint) from error
    except StoreError as error:
        log.warning("store_error", extra={"detail": error.detail})
        raise DataUnavailableError(error.message, hint=error.hint) from error


def receipt_of(command: Command, ctx: Context, question: str, seconds: float) -> Receipt:
    """How the numbers of this run came about."""
    store: Store = ctx.store
    period = next((v for v in vars(command).values() if isinstance(v, Period)), None)
    read_from = store.sources(store.tables_read) if store.tables_read else []
    return Receipt(
        question=question,
        window="; ".join(w for w in (window_of(period, ctx), *segments_of(command, ctx)) if w),
        engine=store.engine.version,
        data_through=store.data_through(),
        as_of=ctx.now.astimezone(dt.UTC).replace(tzinfo=None),
        currency=ctx.currency,
        zone=ctx.zone.key,
        queries=tuple(query_of(r) for r in store.reads),
        sources=tuple(dict.fromkeys(s.attribution for s in read_from if s.attribution)),
        simulated=tuple(dict.fromkeys(s.description for s in read_from if s.simulated)),
        seconds=seconds,
        from_totals=not store.tables_read.isdisjoint(t.name for t in TOTALS),
    )


def window_of(period: Period | None, ctx: Context) -> str:
    """The days that were asked about."""
    if period is None:
        return ""
    if period.is_all_time:
        return f"all time ({ctx.zone.key})"
    return f"{period.start.isoformat()} to {period.last_day.isoformat()} ({ctx.zone.key})"


def segments_of(command: Command, ctx: Context) -> list[str]:
    """The saved segments that a question names, each with its rule and days in words."""
    names = [
        value
        for name, (_, saying) in command.sayings().items()
        if saying.unit == "segment" and (value := getattr(command, name))
    ]
    for filters in (v for v in vars(command).values() if isinstance(v, Filters)):
        names += [v for f in filters if f.dimension == SEGMENT.name for v in f.values]
    return [ctx.catalog.find_segment(name).words for name in dict.fromkeys(names)]


def query_of(read: Read) -> Query:
    """A read of the store as the receipt shows it."""
    return Query(read.sql, tuple(plain(v) for v in read.values), read.rows, read.seconds)
