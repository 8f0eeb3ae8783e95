"""The gate before a number: whether the data of each day are whole enough to be told.

Every table is profiled in one pass: rows, distinct rows and rows with each fault, per local hour
and kind. `methods/quality.py` judges a day by the days before it.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import sqlalchemy as sa

from analytics.command import Context
from analytics.entities import ONE_DAY, flag
from analytics.methods.quality import (
    HOURS,
    LEAST_WEEKS,
    WEEK,
    WEEKS,
    Day,
    Finding,
    Floats,
    Judgement,
    Verdict,
    judge,
)
from analytics.period import between
from analytics.scope import Scope, Window, day_of, instant, start_of_day
from analytics.words import share_words
from storage.schema import events, items, order_lines, orders, people, ratings
from storage.sql import Sql, epoch_s, icount, isum

#: Days that are read before the first one that is judged: eight weeks, and the level before each.
HISTORY_DAYS = WEEK * (WEEKS + 2)

#: The most kinds of rows that are told apart.
MOST_KINDS = 200

ORDER_KINDS = ("sale", "return")
SCORES = {"nps": (0, 10), "csat": (1, 5), "review": (1, 5)}

VERDICTS: tuple[Verdict, ...] = ("ok", "note", "held")


@dataclass(frozen=True)
class Source:
    """How the rows of one table are checked, in one pass over them.

    `rows` is what they are read from, `at` when they came, `kind` what tells kinds apart; `text`
    are the columns that make a copy where all agree (none: copies are not looked for); `faults`
    are conditions counted per hour.
    """

    name: str
    label: str
    rows: sa.FromClause
    at: Sql
    kind: Sql
    text: tuple[Sql, ...]
    faults: Mapping[str, Sql]


# --- one pass over each table -------------------------------------------------------------------

Told = Mapping[str, Sequence[Judgement | None]]


def judged(ctx: Context, start: dt.date, end: dt.date) -> tuple[Told, dict[str, str]]:
    """Each table's judgement on each local day of `start <= day < end`, and the tables' labels.

    A table that has too few weeks before the last day is left out; a day before its first is None.
    """
    now = ctx.now.astimezone(dt.UTC).replace(tzinfo=None)
    read = between(start - dt.timedelta(days=HISTORY_DAYS), end)
    scope = Scope(ctx.zone, (Window.of("now", read, ctx.zone),), ctx.catalog)
    days = [read.start + dt.timedelta(days=d) for d in range(read.days)]
    lengths = [hour_lengths(day, ctx.zone, now) for day in days]
    told: dict[str, list[Judgement | None]] = {}
    labels: dict[str, str] = {}
    for source in sources(now):
        rows = ctx.store.rows(profile(source, scope))
        found = days_of(rows, source, days, lengths)
        first = next((i for i, day in enumerate(found) if day.rows), len(days))
        if len(days) - 1 - first < LEAST_WEEKS * WEEK:
            continue
        told[source.name] = [
            judge(found[max(first, i - HISTORY_DAYS) : i + 1]) if i > first else None
            for i in range(HISTORY_DAYS, len(days))
        ]
        labels[source.name] = source.label
    return told, labels


def sources(now: dt.datetime, nearby: Scope | None = None) -> tuple[Source, ...]:
    """What is checked of each table; `now` is naive UTC.

    An order's event is looked for at any time, or in the span of `nearby` and a day around it.
    """
    buyer = people.alias("known_people")
    around = (
        ()
        if nearby is None
        else (
            events.c["at"] >= instant(nearby.since - ONE_DAY),
            events.c["at"] < instant(nearby.until + ONE_DAY),
        )
    )
    told = (
        sa.select(events.c.order_id.label("order_id"))
        .where(events.c.order_id.is_not(None), *around)
        .distinct()
        .subquery("told")
    )
    sold = orders.alias("known_orders")
    item = items.alias("known_items")
    line_orders = order_lines.join(orders, orders.c.order_id == order_lines.c.order_id)
    sale = orders.c.kind == "sale"
    return (
        Source(
            "events",
            "Events",
            events.outerjoin(buyer, buyer.c.person_id == events.c.person_id).outerjoin(
                sold, sold.c.order_id == events.c.order_id
            ),
            events.c["at"],
            events.c.name,
            (
                events.c.person_id,
                events.c.name,
                events.c.item_id,
                events.c.order_id,
                events.c.session_id,
            ),
            {
                "empty: session": events.c.session_id.is_(None),
                "empty: device": blank(events.c.device),
                "empty: channel": blank(events.c.channel),
                "empty: country": blank(events.c.country),
                "orphans: person": buyer.c.person_id.is_(None),
                "orphans: order": sa.and_(
                    events.c.order_id.is_not(None), sold.c.order_id.is_(None)
                ),
                "invalid: time": events.c["at"] > instant(now),
            },
        ),
        Source(
            "orders",
            "Orders",
            orders.outerjoin(buyer, buyer.c.person_id == orders.c.person_id).outerjoin(
                told, told.c.order_id == orders.c.order_id
            ),
            orders.c.ordered_at,
            orders.c.kind,
            (orders.c.person_id, orders.c.kind, sa.cast(orders.c.amount_cents, sa.Text)),
            {
                "empty: person": orders.c.person_id.is_(None),
                "empty: country": blank(orders.c.country),
                "orphans: person": sa.and_(
                    orders.c.person_id.is_not(None), buyer.c.person_id.is_(None)
                ),
                "invalid: amount": sa.or_(
                    sa.and_(sale, orders.c.amount_cents < 0),
                    sa.and_(orders.c.kind == "return", orders.c.amount_cents > 0),
                ),
                "invalid: kind": orders.c.kind.not_in(ORDER_KINDS),
                "invalid: time": orders.c.ordered_at > instant(now),
                "unmatched: event": sa.and_(
                    sale, orders.c.person_id.is_not(None), told.c.order_id.is_(None)
                ),
            },
        ),
        Source(
            "order_lines",
            "Order lines",
            line_orders.outerjoin(item, item.c.item_id == order_lines.c.item_id),
            orders.c.ordered_at,
            orders.c.kind,
            (),
            {
                "orphans: item": item.c.item_id.is_(None),
                "invalid: quantity": sa.and_(sale, order_lines.c.quantity <= 0),
            },
        ),
        Source(
            "ratings",
            "Ratings",
            ratings.outerjoin(buyer, buyer.c.person_id == ratings.c.person_id),
            ratings.c["at"],
            ratings.c.kind,
            (
                ratings.c.person_id,
                ratings.c.kind,
                ratings.c.item_id,
                sa.cast(ratings.c.score, sa.Text),
            ),
            {
                "empty: person": ratings.c.person_id.is_(None),
                "orphans: person": sa.and_(
                    ratings.c.person_id.is_not(None), buyer.c.person_id.is_(None)
                ),
                "invalid: score": sa.or_(
                    *(
                        sa.and_(ratings.c.kind == kind, sa.not_(ratings.c.score.between(*ends)))
                        for kind, ends in SCORES.items()
                    )
                ),
                "invalid: time": ratings.c["at"] > instant(now),
            },
        ),
    )


def blank(column: Sql) -> Sql:
    """Null or empty."""
    return sa.func.coalesce(column, "") == ""


def profile(source: Source, scope: Scope) -> sa.Select[*tuple[Any, ...]]:
    """Per local hour and kind: rows, distinct rows, and rows with each fault. One pass."""
    inside = (
        sa.select(
            scope.local_hour(source.at).label("hour"),
            source.kind.label("kind"),
            *([fingerprint(source).label("text")] if source.text else []),
            *(flag(c).label(f"fault_{i}") for i, c in enumerate(source.faults.values())),
        )
        .select_from(source.rows)
        .where(scope.within(source.at))
        .subquery("inside")
    )
    faults = [isum(inside.c[f"fault_{i}"]).label(f"fault_{i}") for i in range(len(source.faults))]
    return sa.select(
        inside.c.hour,
        inside.c.kind,
        icount().label("rows"),
        (sa.func.count(sa.distinct(inside.c.text)) if source.text else icount()).label("different"),
        *faults,
    ).group_by(inside.c.hour, inside.c.kind)


def fingerprint(source: Source) -> Sql:
    """A row's content as one text: two rows of one second with the same text are copies."""
    text: Sql = sa.cast(epoch_s(source.at), sa.Text)
    for column in source.text:
        text = text.concat("|").concat(sa.func.coalesce(column, ""))
    return text


def days_of(
    rows: Sequence[Mapping[str, Any]],
    source: Source,
    days: Sequence[dt.date],
    lengths: Sequence[Floats],
) -> list[Day]:
    """The profile of each day; `lengths` are those of its hours."""
    names = list(source.faults)
    hours = {day: np.zeros(HOURS) for day in days}
    faults: dict[dt.date, dict[str, int]] = {
        day: dict.fromkeys(["copies", *names], 0) for day in days
    }
    kinds: dict[dt.date, dict[str, int]] = {day: {} for day in days}
    for row in rows:
        day, hour = day_of(row["hour"] // HOURS), row["hour"] % HOURS
        hours[day][hour] += row["rows"]
        faults[day]["copies"] += row["rows"] - row["different"]
        for i, name in enumerate(names):
            faults[day][name] += row[f"fault_{i}"]
        if len(kinds[day]) < MOST_KINDS:
            kinds[day][str(row["kind"])] = kinds[day].get(str(row["kind"]), 0) + row["rows"]
    return [
        Day(hours[d], length, faults[d], kinds[d]) for d, length in zip(days, lengths, strict=True)
    ]


def hour_lengths(day: dt.date, zone: ZoneInfo, now: dt.datetime) -> Floats:
    """How long each local hour is on a day: 0 where a clock skips it or it is not over, 2 twice."""
    start = start_of_day(day, zone)
    end = start_of_day(day + dt.timedelta(days=1), zone)
    if end - start == dt.timedelta(days=1) and end <= now:
        return np.ones(HOURS)
    length = np.zeros(HOURS)
    at = start
    while at < end:
        if at + dt.timedelta(minutes=15) <= now:
            length[at.replace(tzinfo=dt.UTC).astimezone(zone).hour] += 0.25
        at += dt.timedelta(minutes=15)
    return np.floor(length + 1e-9) if end > now else length


# --- in words ----------------------------------------------------------------------------------


def verdict_of(told: Told, place: int) -> Verdict | None:
    """The gravest verdict over all tables on a day; None where none can be judged."""
    found = [j.verdict for js in told.values() if (j := js[place]) and j.expected is not None]
    return max(found, key=VERDICTS.index, default=None)


def said(finding: Finding, label: str) -> str:
    """A finding in words."""
    what, _, column = finding.check.partition(": ")
    share, usual = share_words(finding.value), share_words(finding.usual)
    match what:
        case "gap":
            first, end = finding.hours or (0, HOURS)
            came = f"{finding.value:,.0f} rows" if finding.value else "nothing"
            return (
                f"{label}: {came} from {first:02}:00 to {end:02}:00, usually "
                f"{finding.usual:,.0f} rows"
            )
        case "volume":
            ratio = share_words(finding.value / finding.usual)
            return f"{label}: {ratio} of the usual rows ({finding.value:,.0f})"
        case "copies":
            return f"{label}: {share} of the rows are copies (usually {usual})"
        case "empty":
            return f"{label}: {column} is empty in {share} (usually {usual})"
        case "invalid":
            return f"{label}: {column} is impossible in {share} (usually {usual})"
        case "orphans":
            return f"{label}: {column} is unknown to us in {share} (usually {usual})"
        case "unmatched":
            return f"{label}: {share} have no event that tells of them (usually {usual})"
        case "vanished":
            return f"{label}: no “{finding.subject}” came (usually {usual} of the rows)"
        case _:
            return f"{label}: “{finding.subject}” is new ({share} of the rows)"


def reasons(told: Told, labels: Mapping[str, str], place: int) -> list[tuple[Verdict, str]]:
    """All findings of a day, the gravest first."""
    found = [
        (f.verdict, said(f, labels[name]))
        for name, js in told.items()
        if (j := js[place]) is not None
        for f in j.findings
    ]
    return sorted(found, key=lambda f: -VERDICTS.index(f[0]))
