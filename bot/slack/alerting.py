"""Alerts in Slack: looked at by the clock, each incident one message that is kept up to date.

A look costs two queries for all alerts of one period and filter, and nothing while no new data
came. What it changes is written down in one transaction with the post that tells of it.
"""

import dataclasses
import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from analytics.command import Context
from analytics.errors import UserError
from analytics.period import Period, between
from analytics.result import Figure, Note, Part, Result
from analytics.words import short_words
from bot.access import TRY_AGAIN
from bot.commands.alert import AlertWhen, command_of
from bot.dispatch import receipt_of
from bot.scheduling import TERMINAL
from bot.setup import Bot
from bot.slack.answering import Delivery, Job, to_owner
from bot.slack.blocks import Message, to_message
from bot.watching import REARM, Seen, expected, is_quiet, look, step, step_absence
from storage.alerts import DELETED, Alert, Alerts, Event, Incident, Kind, Post, Standing

log = logging.getLogger("daybreak.slack")

#: The days that are drawn.
SHOWN = 28


@dataclass(frozen=True)
class Looking:
    """One alert that is to be looked at, as it was asked, with its owner's rights."""

    alert: Alert
    asked: AlertWhen
    ctx: Context


def watch(bot: Bot) -> Sequence[Delivery]:
    """Look at every alert, and tell what is new; what its owner is to hear comes back."""
    kept = Alerts(bot.state)
    every = kept.all()
    for alert in every:
        if alert.paused == DELETED:
            kept.delete(alert.id, lambda *said, a=alert: ended_post(a, *said))
    now = bot.now()
    local = now.astimezone(bot.settings.zone)
    fresh = f"{local.date().isoformat()} {local:%H} {bot.data_through()}"
    notices: list[Delivery] = []
    looking: list[Looking] = []
    for alert in every:
        if alert.paused or alert.seen == fresh:
            continue
        try:
            looking.append(looked_at(bot, alert))
        except NotAllowedError as error:
            notices += rests(kept, alert, error.message)
        except UserError as error:
            if error.hint != TRY_AGAIN:
                notices += rests(kept, alert, str(error))
    for one, seen in zip(looking, seen_by(looking), strict=True):
        if seen is None:
            continue
        told = tell(kept, one, seen, local)
        kept.change(one.alert.id, seen=fresh if told else "")
    return notices


class NotAllowedError(UserError):
    """The owner may not ask that any more."""


def looked_at(bot: Bot, alert: Alert) -> Looking:
    """An alert with its owner's rights of now. Raises UserError."""
    surface = TERMINAL if alert.owner == TERMINAL else "slack"
    asker = bot.asker(alert.owner, channel=alert.channel, surface=surface, team=alert.team)
    if asker.rights.refusal:
        if asker.rights.hint == TRY_AGAIN:
            raise UserError(asker.rights.refusal, hint=TRY_AGAIN)
        raise NotAllowedError(asker.rights.refusal, hint=asker.rights.hint)
    ctx = bot.context(asker)
    return Looking(alert, command_of(alert, ctx.today, ctx), ctx)


def rests(kept: Alerts, alert: Alert, why: str) -> list[Delivery]:
    """The alert rests, and its owner hears why."""
    kept.change(alert.id, paused=why.rstrip("."))
    words = f"Alert {alert.id} rests: {why} When that is mended, say `alert resume {alert.id}`."
    notice = to_owner(Job(f"alert {alert.id}", alert.owner, alert.channel, "share"), words)
    return [] if notice is None else [notice]


def seen_by(looking: Sequence[Looking]) -> list[Seen | None]:
    """What each sees; None where looking failed, which the log has."""
    if not looking:
        return []
    try:
        ctx = looking[0].ctx
        return list(look(ctx, [one.asked.watch(one.ctx) for one in looking]))
    except UserError:
        found: list[Seen | None] = []
        for one in looking:  # one of them is at fault: the others are looked at alone
            try:
                found += look(one.ctx, [one.asked.watch(one.ctx)])
            except UserError as error:
                log.warning("alert_not_looked", extra={"alert": one.alert.id, "error": str(error)})
                found.append(None)
        return found


def tell(kept: Alerts, one: Looking, seen: Seen, local: dt.datetime) -> bool:
    """Take the steps of both kinds; whether nothing waits for the clock."""
    quiet = is_quiet(one.asked.quiet, local)
    waits = bool(seen.is_beyond) and quiet
    # before the steps: in their transaction nothing is read
    receipt = receipt_of(one.asked, seen.read or one.ctx, f"alert check {one.alert.id}", took(seen))

    def condition(standing: Standing, _: int) -> tuple[Standing, Event | None]:
        return step(standing, seen, quiet=quiet)

    def absence(standing: Standing, now_us: int) -> tuple[Standing, Event | None]:
        nonlocal waits
        after, event = step_absence(standing, seen, now_us, quiet=quiet)
        waits |= bool(seen.absence) and not after.is_open
        return after, event

    kinds: tuple[Kind, ...] = ("absence", "condition")
    for kind in kinds:
        taken = condition if kind == "condition" else absence
        event = kept.advance(
            one.alert.id,
            kind,
            taken,
            lambda incident, event, key, replaces: delivered(
                one.alert,
                to_message(dataclasses.replace(told(one, seen, incident, event), receipt=receipt)),
                key,
                replaces,
            ),
        )
        if event is not None:
            log.info("alert_told", extra={"alert": one.alert.id, "kind": kind, "event": event})
    return not waits


# --- what is said -------------------------------------------------------------------------------


def took(seen: Seen) -> float:
    """The seconds of its queries."""
    return sum(r.seconds for r in seen.read.store.reads) if seen.read else 0.0


def delivered(alert: Alert, message: Message, key: str, replaces: str) -> Post:
    """A message to the alert's place."""
    job = Job(f"alert check {alert.id}", alert.owner, alert.channel, "schedule")
    delivery = Delivery(job, message, private=False, key=key, replaces=replaces)
    return Post(delivery.lane, delivery.to_json())


def ended_post(alert: Alert, incident: Incident, _: Event, key: str, replaces: str) -> Post:
    """An open incident of an alert that was deleted."""
    since = incident.opened_at
    said = Result(
        f"Alert {alert.id}, no longer watched",
        f"○ The alert was deleted; this incident was open since {since:%d %b %Y %H:%M} UTC.",
        (Note(alert.question.removeprefix("alert-when ")),),
    )
    return delivered(alert, to_message(said), key, replaces)


def told(one: Looking, seen: Seen, incident: Incident, event: Event) -> Result:
    """The message of an incident: what is so, since when, and how to go on."""
    ctx, alert = one.ctx, one.alert
    words = seen.watch.words(ctx.catalog, ctx.currency)
    if incident.kind == "absence":
        head = f"Alert {alert.id}: data for “{words}”"
        return Result(
            head,
            absence_headline(seen, event),
            (Note(since_words(incident, event, ctx)),),
            (f"quality {days_words(one.asked.period)}", "status"),
        )
    line = seen.line
    assert line is not None  # noqa: S101 - a condition is judged by a value
    parts: list[Part] = [
        Figure(
            line.metric.label,
            line.now,
            line.metric.unit,
            line.reference,
            line.metric.more_is_better,
            when="the week before",
            course=tuple(plain(v) for v in line.values[-SHOWN:]),
            usual=line.usual,
        ),
        Note(since_words(incident, event, ctx)),
    ]
    if line.sample is not None:
        least = seen.watch.least(line.metric)
        parts.append(Note(f"Sample: {line.sample:,}; below {least:,} it would not be judged."))
    if seen.course is not None and seen.course.gate.reasons:
        parts.append(Note(f"Read the data with care: {seen.course.gate.reasons[0][1]}."))
    period, said = days_words(one.asked.period), seen.watch.where.said()
    steps = [f"why {line.metric.name} {period} {said}", f"trend {line.metric.name} {said}",
             f"digest {period} {said}"]  # fmt: skip
    return Result(
        f"Alert {alert.id}: {words}",
        headline(seen, event, ctx),
        tuple(parts),
        tuple(" ".join(s.split()) for s in steps),
    )


def days_words(period: Period) -> str:
    """A period by its days: a button is pressed later than it is made."""
    return between(period.start, period.end).words


def plain(value: float) -> float | None:
    """None for NaN."""
    return float(value) if value == value else None


def headline(seen: Seen, event: Event, ctx: Context) -> str:
    """What is so, with a sign that is seen from afar."""
    line = seen.line
    assert line is not None  # noqa: S101 - see told
    unit, metric = line.metric.unit, line.metric
    value = short_words(line.now, unit, ctx.currency)
    limit = seen.watch.limit_words(metric, ctx.currency)
    middle = expected(line)
    if seen.watch.condition in ("drops", "rises") and middle is not None:
        usual = round(middle) if middle > 1 else middle
        limit += f" ({short_words(usual, unit, ctx.currency)})"
    if seen.watch.condition == "unusual":
        side = "above" if middle is None or float(line.now or 0) > middle else "below"
        limit = f"{side} its usual band"
    on = f"on {seen.block}"
    if event == "resolved":
        return f"✓ Over: {metric.label} is {value} {on}, {not_so(seen, limit)}."
    if seen.is_beyond:
        return f"● {metric.label} is {value} {on}, {more_than(seen, limit)}."
    left = REARM - 1
    return (
        f"◐ {metric.label} is back: {value} {on}, {not_so(seen, limit)}. "
        f"It is over after {left} more day like this."
    )


def more_than(seen: Seen, limit: str) -> str:
    """`below 2 %`, `at least 20 % below the usual (£41k)`."""
    return f"at least {limit}" if seen.watch.condition in ("drops", "rises") else limit


def not_so(seen: Seen, limit: str) -> str:
    """`no longer below 2 %`, `back in its usual band`."""
    return "back in its usual band" if seen.watch.condition == "unusual" else f"no longer {limit}"


def absence_headline(seen: Seen, event: Event) -> str:
    """That there are no data to judge by, or that they are there again."""
    if event == "resolved":
        return "✓ The data are there again."
    return f"○ I can't judge this now, since the data are not whole: {seen.absence}."


def since_words(incident: Incident, event: Event, ctx: Context) -> str:
    """`Open since 25 Nov 2026 09:12 (4.3 % on 2011-11-25); said 3 times, newest 10:05.`"""
    opened = incident.opened_at.astimezone(ctx.zone)
    text = f"Open since {opened:%d %b %Y %H:%M}"
    if event == "resolved" and incident.resolved_at is not None:
        over = incident.resolved_at.astimezone(ctx.zone)
        text = f"Open from {opened:%d %b %Y %H:%M} to {over:%d %b %Y %H:%M}"
    if incident.kind == "condition":
        text += f", first on {incident.first_block}"
    return f"{text}." if incident.version == 1 else f"{text}; told {incident.version} times."
