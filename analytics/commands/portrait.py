"""portrait: one person, or the people of one segment."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from analytics.catalog import Measure, Members, folded
from analytics.command import Command, Context, says
from analytics.entities import order_line_rows, rows_of
from analytics.errors import NotEnoughDataError, UnknownNameError, UserError
from analytics.habits import payers
from analytics.measure import daily
from analytics.methods.portraits import rfm
from analytics.methods.portraits.naming import SMALL_EFFECT, Difference, portraits
from analytics.methods.portraits.scaling import fit_scaler
from analytics.period import Period, parse_period
from analytics.result import Chart, Column, Figure, Note, Part, Result, Series, Table
from analytics.saved import RFM, Cell, Rule, narrowed, people_of
from analytics.scope import Filters, Scope, day_number, day_of, in_words, scope_of
from analytics.segments import Known, Size, known_people, refuse_too_few
from analytics.words import counted, listed, share_words, short_words, words
from storage.schema import events, items, orders
from storage.segments import saved_segments
from storage.sql import Sql, icount, isum

#: Rows of the tables of items, and of what a person did last.
SHOWN_ITEMS = 10
SHOWN_EVENTS = 12
#: A silence longer than this share of a person's gaps between orders is worth a word.
OVERDUE = 0.8
#: Gaps from which a person has a rhythm.
LEAST_GAPS = 3
#: Buyers of an item in a segment from which its lift is told.
LEAST_BUYERS = 10
#: Days of a bar of a segment's trend.
WEEK = 7
#: Months of a person that are drawn.
MONTHS = 24

REVENUE = Measure("orders", "sum", "amount_cents")


@dataclass(frozen=True, kw_only=True)
class Portrait(Command):
    """One person, or the people of one segment: who they are, and what they do.

    `portrait user <id>` shows one person to you alone: recency, orders and spend beside everybody,
    the segments they belong to, what they buy, their rhythm and what they did last. `portrait
    segment <name>` shows a saved segment, or one of the RFM grid: its size and worth, what sets it
    apart, what it buys more than others, and how its revenue goes.
    """

    group = "People"
    examples = ("portrait user 17850", "portrait segment at-risk")
    aliases = ("profile",)

    user: str | None = says(None, words=("user", "person", "customer"), help="whom; for you alone")
    segment: str | None = says(None, help="a saved segment, or one of the RFM grid")
    period: Period = says("all time", help="the days to look at; a saved segment has its own")

    @property
    def shows_people(self) -> bool:
        """Whether a single person is shown."""
        return self.user is not None

    def run(self, ctx: Context) -> Result:
        """The person's portrait, or the segment's."""
        if (self.user is None) == (self.segment is None):
            raise UserError(
                "Say one person or one segment.",
                hint="Try `portrait user 17850` or `portrait segment at-risk`.",
            )
        if self.user is not None:
            return of_person(ctx, self.user, self.period)
        return of_segment(ctx, self.segment or "", self.period)


# --- one person ----------------------------------------------------------------------------------


def of_person(ctx: Context, user: str, period: Period) -> Result:
    """What is known of one person, beside all buyers of the period."""
    refuse_unknown(ctx, user)
    scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("period", period)])
    ctx.tell("Reading all buyers, to compare with")
    known = known_people(ctx, period, Filters(), beside=user)
    row = known.people["person_id"] == user
    last = last_doings(ctx, user, scope)
    if not row.any():
        return Result(
            f"Portrait of {user}",
            f"{user} bought nothing {in_words(period)}.",
            (last, Note("Only who paid for an order has recency, orders and spend.")),
            (f'portrait user "{user}" all time',),
        )
    own = {str(k): v for k, v in known.people[row].iloc[0].items()}
    days = order_days(ctx, user, scope)
    bought = items_of(ctx, user, scope)
    name, meaning = cell_of(known, user)
    belongs = [s for s, rule in saved_rules(ctx) if holds(ctx, rule, user)]
    parts: list[Part] = [
        *figures_of(known, own),
        *rhythm(days, period),
        Table.of(f"What {user} buys", ITEM_COLUMNS, bought[:SHOWN_ITEMS], of_rows=len(bought),
                 person_level=True),
        *orders_chart(days),
        last,
        Note(
            f"RFM grid: “{name}” ({meaning}). "
            + (f"Saved segments: {listed(belongs)}." if belongs else "In no saved segment.")
        ),
        Note(
            f"Compared with {known.in_words} who paid anything "
            f"{in_words(period)}. Returns are netted; the person is known by a pseudonym only."
        ),
    ]  # fmt: skip
    return Result(
        f"Portrait of {user}",
        person_headline(user, own, name, days, period, ctx),
        tuple(parts),
        (f'recommend user "{user}"', f"segment by rfm {period.words}"),
    )


def refuse_unknown(ctx: Context, user: str) -> None:
    """Raises UnknownNameError where nobody of that id did anything."""
    one = sa.literal_column("1", sa.Integer)
    parts = [
        sa.select(one.label("n")).where(sa.exists(sa.select(one).where(t.c.person_id == user)))
        for t in (orders, events)
    ]
    if not ctx.store.rows(sa.union_all(*parts)):
        raise UnknownNameError("person", user, ())


def saved_rules(ctx: Context) -> Iterator[tuple[str, Rule]]:
    """The saved segments with their rules, by name."""
    for segment in saved_segments(ctx.state) if ctx.state else ():
        yield segment.name, Rule.from_json(segment.rule)


def holds(ctx: Context, rule: Rule, user: str) -> bool:
    """Whether a person belongs to a segment today."""
    members = people_of(ctx, rule).subquery("members")
    found = sa.select(icount().label("n")).where(members.c.person_id == user)
    return bool(ctx.store.row(found)["n"])


def cell_of(known: Known, user: str) -> tuple[str, str]:
    """The name of a person's cell of the RFM grid, and what it means."""
    places = grid_places(known)
    name, meaning, *_ = rfm.NAMES[int(places[(known.people["person_id"] == user).to_numpy()][0])]
    return name, meaning


def grid_places(known: Known) -> Any:
    """Each person's number in `rfm.NAMES`."""
    values = [known.people[key].to_numpy(dtype=np.float64) for key in RFM]
    return rfm.names_of(*rfm.fit_grid(*values).scores(*values))


def figures_of(known: Known, own: dict[str, Any]) -> Iterator[Figure]:
    """The person's traits, each with where it stands among all."""
    for trait in known.traits:
        value = own[trait.key]
        if pd.isna(value):
            continue
        column = known.people[trait.key].dropna().to_numpy(dtype=np.float64)
        below, above = float((column < value).mean()), float((column > value).mean())
        median = words(float(np.median(column)), trait.unit if trait.unit != "money" else "number")
        # floored, so that nobody has more than all
        share = share_words(math.floor(max(below, above) * 1000) / 1000)
        note = f"{'more' if below >= above else 'less'} than {share} of buyers"
        if trait.unit != "money":
            note += f"; usual is {median}"
        number = float(value)
        plain = int(number) if trait.unit in ("count", "days") or number == int(number) else number
        yield Figure(trait.label.capitalize(), plain, trait.unit, group="Traits", note=note)


@dataclass(frozen=True)
class OrderDay:
    """A local day with orders of a person: their number, and net amount."""

    day: int
    orders: int
    cents: int


def order_days(ctx: Context, user: str, scope: Scope) -> list[OrderDay]:
    """The person's days with an order, the first first."""
    rows = rows_of("orders", scope)
    by_day = (
        sa.select(scope.local_day(rows.c["at"]).label("day"), rows.c.kind, rows.c.amount_cents)
        .where(rows.c.person_id == user)
        .subquery("by_day")
    )
    sales = isum(sa.case((by_day.c.kind == "sale", 1), else_=0))
    found = ctx.store.rows(
        sa.select(by_day.c.day, sales.label("orders"), isum(by_day.c.amount_cents).label("cents"))
        .group_by(by_day.c.day)
        .having(sales > 0)
        .order_by(by_day.c.day)
    )
    return [OrderDay(int(r["day"]), int(r["orders"]), int(r["cents"])) for r in found]


def gaps_of(days: Sequence[OrderDay]) -> list[int]:
    """Days between one order day and the next."""
    return [b.day - a.day for a, b in itertools.pairwise(days)]


def silence_of(days: Sequence[OrderDay], period: Period) -> int:
    """Days since the last order at the end of the period, as recency counts them."""
    return day_number(period.end) - days[-1].day


def rhythm(days: Sequence[OrderDay], period: Period) -> Iterator[Part]:
    """How often the person orders, and whether an order is overdue by their own habit."""
    gaps = gaps_of(days)
    if len(gaps) < LEAST_GAPS:
        yield Note(
            f"{counted(len(days), 'day')} with orders: too few for a rhythm "
            f"({LEAST_GAPS + 1} make one)."
        )
        return
    silence = silence_of(days, period)
    shorter = sum(g < silence for g in gaps) / len(gaps)
    yield Figure("Days between orders (median)", float(np.median(gaps)), "days", group="Rhythm")
    yield Figure(
        "Gaps that were shorter than the silence now",
        shorter,
        "share",
        group="Rhythm",
        note=f"{sum(g < silence for g in gaps)} of {len(gaps)} gaps; it is silent for "
        f"{counted(silence, 'day')}",
    )


def is_overdue(days: Sequence[OrderDay], period: Period) -> bool:
    """Whether the silence is longer than most of the person's own gaps."""
    gaps = gaps_of(days)
    silence = silence_of(days, period)
    return len(gaps) >= LEAST_GAPS and sum(g < silence for g in gaps) >= OVERDUE * len(gaps)


ITEM_COLUMNS = (
    Column("name", "Item"),
    Column("category", "Category"),
    Column("revenue", "Net spend", "money"),
    Column("quantity", "Pieces", "count"),
    Column("orders", "Orders", "count"),
)


def items_of(ctx: Context, user: str, scope: Scope) -> list[dict[str, Any]]:
    """What the person bought, by net spend."""
    lines = order_line_rows(scope).subquery("lines")
    name = sa.func.coalesce(items.c.name, lines.c.item_id).label("name")
    category = sa.func.coalesce(items.c.category, "without category").label("category")
    revenue = isum(lines.c.amount_cents).label("revenue")
    sale = sa.case((lines.c.kind == "sale", lines.c.order_id))
    return ctx.store.rows(
        sa.select(
            name,
            category,
            revenue,
            isum(lines.c.quantity).label("quantity"),
            sa.cast(sa.func.count(sa.distinct(sale)), sa.BigInteger).label("orders"),
        )
        .join_from(lines, items, items.c.item_id == lines.c.item_id, isouter=True)
        .where(lines.c.person_id == user, lines.c.is_product == 1)
        .group_by(name, category)
        .order_by(revenue.desc(), name)
    ) or [{c.key: None for c in ITEM_COLUMNS} | {"name": "no item is known"}]


def orders_chart(days: Sequence[OrderDay]) -> list[Chart]:
    """Net spend by month, from the first order to the last; at most the latest MONTHS.

    None where all is of one month: the figures say it.
    """
    first, last = (12 * d.year + d.month - 1 for d in (day_of(days[i].day) for i in (0, -1)))
    by_month = dict.fromkeys(range(first, last + 1), 0)
    for d in days:
        day = day_of(d.day)
        by_month[12 * day.year + day.month - 1] += d.cents
    if len(by_month) == 1:
        return []
    shown = list(by_month.items())[-MONTHS:]
    return [
        Chart(
            "Net spend by month",
            "bar",
            tuple(f"{m // 12}-{m % 12 + 1:02}" for m, _ in shown),
            (Series("Net spend", tuple(cents for _, cents in shown)),),
            unit="money",
            y_label="Net spend",
        )
    ]


def last_doings(ctx: Context, user: str, scope: Scope) -> Table | Note:
    """The latest events, orders and returns of a person, the newest first."""
    seen, bought = rows_of("events", scope), rows_of("orders", scope)
    parts = [
        sa.select(
            seen.c["at"],
            seen.c.name.label("what"),
            seen.c.item_id.label("of"),
            sa.cast(sa.null(), sa.BigInteger).label("cents"),
        ).where(seen.c.person_id == user),
        sa.select(
            bought.c["at"],
            sa.case((bought.c.kind == "sale", "order"), else_="return").label("what"),
            bought.c.order_id.label("of"),
            bought.c.amount_cents.label("cents"),
        ).where(bought.c.person_id == user),
    ]
    both = sa.union_all(*parts).subquery("doings")
    newest = (
        sa.select(both.c["at"], both.c.what, both.c.of, both.c.cents)
        .order_by(both.c["at"].desc(), both.c.what, both.c.of)
        .limit(SHOWN_EVENTS)
    )
    found = ctx.store.rows(newest)
    if not found:
        return Note("Nothing is known of this person in these days.")
    columns = (
        Column("at", "When", "instant"),
        Column("what", "What"),
        Column("of", "Of"),
        Column("cents", "Amount", "money"),
    )
    return Table.of(f"What {user} did last", columns, found, person_level=True)


def person_headline(
    user: str,
    own: dict[str, Any],
    name: str,
    days: Sequence[OrderDay],
    period: Period,
    ctx: Context,
) -> str:
    """What kind of buyer it is, and whether an order is overdue."""
    spent = short_words(int(own["revenue"]), "money", ctx.currency)
    text = (
        f"{user} stands under “{name}” of the RFM grid: {counted(int(own['orders']), 'order')} and "
        f"{spent} {in_words(period)}, the last {counted(int(own['recency']), 'day')} ago"
    )
    if is_overdue(days, period):
        usual = words(float(np.median(gaps_of(days))), "days")
        return f"{text}; that is late for somebody who orders every {usual}."
    return f"{text}."


# --- one segment ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """The segment that is meant: its name, rule, and what the rule is in words."""

    name: str
    rule: Rule
    said: str
    saved: bool


def of_segment(ctx: Context, said: str, period: Period) -> Result:
    """A segment beside all buyers of its days."""
    chosen = chosen_of(ctx, said, period)
    days = parse_period(chosen.rule.period, ctx.today)
    ctx.tell("Reading all buyers, to compare with")
    known = known_people(ctx, days, chosen.rule.where)
    refuse_too_few(ctx, known, days, 0)
    members = people_of(ctx, chosen.rule).subquery("members").c.person_id
    here = ctx.store.column(sa.select(members).where(*known.part.holds(members)))
    within = known.people["person_id"].isin(here)
    own = Size(int(within.sum()), int(known.people["revenue"][within].sum()))
    if not known.part.is_all:
        own = size_of(ctx, known, members)
    n, total, revenue = own.people, known.total.people, own.revenue
    if not n:
        raise NotEnoughDataError(
            f"Nobody is in segment {chosen.name} today.", hint="See `segments` for who is where."
        )
    of_all = revenue / known.total.revenue
    apart = [] if within.all() or not within.any() else differences(known, within.to_numpy())
    scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("period", days)], chosen.rule.where)
    parts: list[Part] = [
        Figure("People", n, "count"),
        Figure("Share of buyers", n / total, "share"),
        Figure("Net revenue", revenue, "money"),
        Figure("Share of revenue", of_all, "share"),
        *apart_table(apart),
        *favourites(ctx, scope, chosen, n, total),
        *trend_chart(ctx, scope, chosen, days),
        Note(f"{chosen.said[0].upper()}{chosen.said[1:]}."),
        Note(
            "Effects are Cohen's d of each trait after its heavy tail is taken away: 0.2 is small, "
            "0.8 large. These people were chosen by what they did, so they differ in that by "
            "choice."
        ),
        *([] if known.part.is_all else [Note(f"Medians and effects are of {known.in_words}.")]),
    ]
    follow = f"for segment {chosen.name}"
    if chosen.saved:
        asks = [f"kpis vs segment {chosen.name}", f"recommend {follow}", f"churn {follow}"]
    else:
        asks = [f'segment save {folded(chosen.name).replace(" ", "-")} by rfm '
                f'like "{chosen.rule.label}" {chosen.rule.period}']  # fmt: skip
    return Result(
        f"Portrait of segment {chosen.name}",
        segment_headline(ctx, chosen, n, n / total, of_all, apart),
        tuple(parts),
        (*asks, "segments"),
    )


def size_of(ctx: Context, known: Known, members: Sql) -> Size:
    """How many of all who paid are members, and their revenue: counted by the engine."""
    paid = payers(known.scope, ("revenue",))
    row = ctx.store.row(
        sa.select(
            icount().label("people"), sa.func.coalesce(isum(paid.c.revenue), 0).label("revenue")
        ).where(paid.c.person_id.in_(sa.select(members)))
    )
    return Size(row["people"], row["revenue"])


def chosen_of(ctx: Context, said: str, period: Period) -> Chosen:
    """A saved segment, or a cell of the RFM grid. Raises UnknownNameError."""
    saved = {folded(m.name): m for m in ctx.catalog.segments()}
    if folded(said) in saved:
        member = saved[folded(said)]
        rule = next(r for name, r in saved_rules(ctx) if name == member.name)
        return Chosen(member.name, rule, member.words, saved=True)
    cells = {folded(name).replace("'", ""): (name, meaning) for name, meaning, *_ in rfm.NAMES}
    if folded(said).replace("'", "") not in cells:
        names = [*(m.name for m in saved.values()), *(name for name, *_ in rfm.NAMES)]
        raise UnknownNameError("segment", said, names)
    name, meaning = cells[folded(said).replace("'", "")]
    known = known_people(ctx, period, Filters())
    refuse_too_few(ctx, known, period, 0)
    grid = rfm.fit_grid(*(known.people[key].to_numpy(dtype=np.float64) for key in RFM))
    rule = Rule(period.words, Filters(), Cell(grid, name), name)
    return Chosen(
        name,
        rule,
        f"{name} of the RFM grid of buyers {in_words(period)} ({meaning}); not saved",
        saved=False,
    )


def differences(known: Known, within: Any) -> list[Difference]:
    """How the segment differs from the rest, the largest first."""
    table = known.people[[t.key for t in known.traits]].to_numpy(dtype=np.float64)
    scaled = fit_scaler(table).apply(table)
    drawn = portraits(known.people, scaled, np.where(within, 0, 1), known.traits)
    return [d for d in drawn[0].differences if abs(d.effect) >= SMALL_EFFECT]


def apart_table(apart: Sequence[Difference]) -> Iterator[Part]:
    """What sets the segment apart; a note where nothing does."""
    if not apart:
        yield Note("Nothing that is known sets these people apart from the other buyers.")
        return
    columns = (
        Column("trait", "Differs in"),
        Column("ratio", "Median against all", "times"),
        Column("effect", "Effect size (d)", "number"),
    )
    rows = [{"trait": d.trait.label, "ratio": d.ratio, "effect": d.effect} for d in apart]
    yield Table.of("What sets it apart", columns, rows)


def favourites(ctx: Context, scope: Scope, chosen: Chosen, n: int, total: int) -> Iterator[Part]:
    """What the segment buys most, and how much oftener than all buyers."""
    lines = order_line_rows(scope).subquery("lines")
    within = lines.c.person_id.in_(people_of(ctx, chosen.rule))
    buyer = sa.case((lines.c.kind == "sale", lines.c.person_id))
    name = sa.func.coalesce(items.c.name, lines.c.item_id).label("name")
    revenue = isum(sa.case((within, lines.c.amount_cents), else_=0)).label("revenue")
    found = ctx.store.rows(
        sa.select(
            name,
            revenue,
            sa.cast(sa.func.count(sa.distinct(sa.case((within, buyer)))), sa.BigInteger).label(
                "buyers"
            ),
            sa.cast(sa.func.count(sa.distinct(buyer)), sa.BigInteger).label("of_all"),
        )
        .join_from(lines, items, items.c.item_id == lines.c.item_id, isouter=True)
        .where(lines.c.is_product == 1, lines.c.person_id.is_not(None))
        .group_by(name)
        .having(revenue > 0)
        .order_by(revenue.desc(), name)
        .limit(SHOWN_ITEMS)
    )
    if not found:
        return
    columns = (
        Column("name", "Item"),
        Column("revenue", "Net revenue", "money"),
        Column("share", "Of the segment bought it", "share"),
        Column("lift", "Against all buyers", "times"),
    )
    rows = [
        {
            "name": r["name"],
            "revenue": r["revenue"],
            "share": r["buyers"] / n,
            "lift": (r["buyers"] / n) / (r["of_all"] / total)
            if r["buyers"] >= LEAST_BUYERS
            else None,
        }
        for r in found
    ]
    yield Table.of("What it buys most", columns, rows)


def trend_chart(ctx: Context, scope: Scope, chosen: Chosen, days: Period) -> Iterator[Part]:
    """Net revenue of the segment by week; nothing where the days are fewer than two weeks."""
    found = daily(ctx.store, chosen_scope(ctx, scope, chosen), [REVENUE])[REVENUE]
    known = (days.end - min(found, default=days.end)).days if days.is_all_time else days.days
    weeks = min(known // WEEK, 60)
    if weeks < 2:
        return
    starts = [days.end.toordinal() - WEEK * w for w in range(weeks, 0, -1)]
    by_week = dict.fromkeys(starts, 0)
    for day, cents in found.items():
        place = starts[0] + (day.toordinal() - starts[0]) // WEEK * WEEK
        if place in by_week:
            by_week[place] += cents
    kind = type(days.end)
    yield Chart(
        f"Net revenue of segment {chosen.name} per week",
        "line",
        tuple(kind.fromordinal(start) for start in starts),
        (Series("Net revenue", tuple(by_week.values())),),
        unit="money",
        y_label="Net revenue",
        x_unit="date",
    )


def chosen_scope(ctx: Context, scope: Scope, chosen: Chosen) -> Scope:
    """The scope of the segment's people, saved or not."""
    member = Members(chosen.name, chosen.said, lambda: people_of(ctx, chosen.rule))
    return narrowed(scope, member)


def segment_headline(
    ctx: Context,
    chosen: Chosen,
    n: int,
    of_people: float,
    of_revenue: float,
    apart: Sequence[Difference],
) -> str:
    """Its size, its worth, and the two things that set it most apart."""
    text = (
        f"Segment {chosen.name} is {counted(n, 'person', 'people')}, {share_words(of_people)} of "
        f"buyers with {share_words(of_revenue)} of revenue"
    )
    told = [
        f"{d.trait.label} {short_words(d.median, d.trait.unit, ctx.currency)} "
        f"(all: {short_words(d.median_of_all, d.trait.unit, ctx.currency)})"
        for d in apart[:2]
        if d.median is not None and d.median != d.median_of_all
    ]
    return f"{text}; what sets it most apart: {listed(told)}." if told else f"{text}."
