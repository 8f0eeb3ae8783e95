"""segment moves: who went from one segment to another since the period before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from analytics.command import Command, Context, says
from analytics.errors import NotEnoughDataError
from analytics.measure import spans_of
from analytics.methods.portraits.clustering import one_thread
from analytics.methods.portraits.model import Model
from analytics.period import Period
from analytics.result import Chart, Column, Note, Part, Result, Series, Table
from analytics.saved import habits_in, labelled
from analytics.scope import Filters, in_words, previous_in_words
from analytics.segments import group, known_people, refuse_too_few
from analytics.words import counted, date_words, share_words
from storage.sql import icount

#: Who bought in one of the periods only.
ABSENT = "Did not buy"

COLUMNS = (
    Column("before", "From"),
    Column("now", "To"),
    Column("people", "People", "count"),
    Column("of_before", "Of those before", "share"),
    Column("of_now", "Of those now", "share"),
)


@dataclass(frozen=True)
class Flow:
    """So many people went from one segment to another; None is who did not buy."""

    before: int | None
    now: int | None
    people: int


@dataclass(frozen=True, kw_only=True)
class SegmentMoves(Command):
    """Who went from one segment to another since the period before.

    The segments are those of `segment`, found in this period; the period before is read with the
    same frozen scaling and centres, so only people move and never the borders.
    """

    group = "People"
    examples = ("segment moves last 90 days", "segment moves last 90 days k 4")
    aliases = ("segment-movement", "migration")

    period: Period = says("last 90 days", help="the days to look at; compared with as many before")
    where: Filters = says(Filters(), help="only orders and visits like these")
    k: int | None = says(
        None, help="how many segments; otherwise chosen", words=("k",), unit="count", low=2, high=12
    )

    def run(self, ctx: Context) -> Result:
        """The flows, the sizes then and now, and the largest step."""
        refuse_unknown_past(ctx, self.period)
        ctx.tell("Finding the segments of this period")
        known = known_people(ctx, self.period, self.where)
        refuse_too_few(ctx, known, self.period, self.k or 0)
        with one_thread():
            groups = group(known, self.k, "kmeans", "log")
        if groups.model is None:
            raise TypeError("K-means on logarithms has a model")
        ctx.tell("Reading the period before with the same model")
        found = flows(ctx, groups.model, self.period, self.where)
        if all(f.before is None for f in found):
            raise NotEnoughDataError(
                f"Nobody we know bought anything in {previous_in_words(self.period)}.",
                hint="Try a shorter period, or fewer filters.",
            )
        names = {p.label: p.name for p in groups.named}
        title = f"Moves between segments {in_words(self.period)}"
        stability = groups.choice.stability if groups.choice else 0.0
        parts: list[Part] = [flow_table(found, names), sizes_chart(found, names, self.period)]
        parts += [
            Note(
                f"{len(names)} segments found {in_words(self.period)} (stability: ARI "
                f"{stability:.2f}), and applied as they are to {previous_in_words(self.period)}. "
                "Recency counts to the end of each period. Who stands near a border may cross it "
                "by one order."
            ),
            Note(
                f"“{ABSENT}” are people without a paid order in that period; who did not buy in "
                "either is not shown."
            ),
        ]
        k = f" k {self.k}" if self.k else ""
        rest = f"{self.period.words} {self.where.said()}".strip()
        return Result(
            title,
            headline(found, names, self.period),
            tuple(parts),
            (f"segment {rest}{k}", f"churn {self.where.said()}".strip(), f"kpis {rest}"),
        )


def refuse_unknown_past(ctx: Context, period: Period) -> None:
    """Raises NotEnoughDataError where the orders do not reach back to the period before."""
    spans = spans_of(ctx.store, ctx.zone, ("orders",))
    if period.is_all_time or "orders" not in spans:
        raise NotEnoughDataError(
            "There is no period before to compare with.",
            hint="Say `segment moves last 90 days`."
            if "orders" in spans
            else "Load orders with `load orders FILE`.",
        )
    before = period.previous()
    first = spans["orders"].first
    if before.start < first:
        raise NotEnoughDataError(
            f"The orders begin on {date_words(first)}; {previous_in_words(period)} are not "
            "known as a whole.",
            hint="Ask for a shorter period.",
        )


def flows(ctx: Context, model: Model, period: Period, where: Filters) -> list[Flow]:
    """How many people went from where to where, the largest first."""
    nobody = sa.literal_column("-1", sa.Integer)
    parts = []
    for then, days in (("now", period), ("before", period.previous())):
        of_period = labelled(model, habits_in(ctx, days, where, model.traits)).subquery(then)
        place = of_period.c.place
        now, before = (place, nobody) if then == "now" else (nobody, place)
        parts.append(sa.select(of_period.c.person_id, now.label("now"), before.label("before")))
    both = sa.union_all(*parts).subquery("both_periods")
    person = (
        sa.select(
            both.c.person_id,
            sa.func.max(both.c.now).label("now"),
            sa.func.max(both.c.before).label("before"),
        )
        .group_by(both.c.person_id)
        .subquery("moves")
    )
    rows = ctx.store.rows(
        sa.select(person.c.before, person.c.now, icount().label("people")).group_by(
            person.c.before, person.c.now
        )
    )
    found = [Flow(place_of(r["before"]), place_of(r["now"]), int(r["people"])) for r in rows]
    return sorted(found, key=lambda f: (-f.people, f.before or -1, f.now or -1))


def place_of(number: int) -> int | None:
    """A segment, or None for who did not buy."""
    return None if number < 0 else int(number)


def flow_table(found: Sequence[Flow], names: dict[int, str]) -> Table:
    """From where to where, with the shares of both ends; first who moved, then who stayed."""
    before, now = sizes(found)
    rows: list[dict[str, Any]] = [
        {
            "before": named(f.before, names),
            "now": named(f.now, names),
            "people": f.people,
            "of_before": None if f.before is None else f.people / before[f.before],
            "of_now": None if f.now is None else f.people / now[f.now],
        }
        for f in sorted(found, key=lambda f: f.before == f.now)
    ]
    return Table.of("From where to where", COLUMNS, rows)


def named(place: int | None, names: dict[int, str]) -> str:
    """A segment's name."""
    return ABSENT if place is None else names[place]


def sizes(found: Sequence[Flow]) -> tuple[dict[int | None, int], dict[int | None, int]]:
    """People of each segment before, and now."""
    before: dict[int | None, int] = {}
    now: dict[int | None, int] = {}
    for f in found:
        before[f.before] = before.get(f.before, 0) + f.people
        now[f.now] = now.get(f.now, 0) + f.people
    return before, now


def sizes_chart(found: Sequence[Flow], names: dict[int, str], period: Period) -> Chart:
    """Each segment's people before and now."""
    before, now = sizes(found)
    return Chart(
        "People in each segment, before and now",
        "bar",
        tuple(names.values()),
        (
            Series(previous_in_words(period), tuple(before.get(p, 0) for p in names)),
            Series(period.words, tuple(now.get(p, 0) for p in names)),
        ),
        unit="count",
        y_label="People",
    )


def headline(found: Sequence[Flow], names: dict[int, str], period: Period) -> str:
    """How many stayed, and the largest step between two segments."""
    both = [f for f in found if f.before is not None and f.now is not None]
    before, _ = sizes(found)
    of_before = sum(n for place, n in before.items() if place is not None)
    left = sum(f.people for f in found if f.before is not None and f.now is None)
    stayed = sum(f.people for f in both if f.before == f.now)
    text = (
        f"Of {counted(of_before, 'buyer')} of {previous_in_words(period)}, "
        f"{share_words(stayed / of_before)} are in the same segment now and "
        f"{share_words(left / of_before)} did not buy again"
    )
    moved = [f for f in both if f.before != f.now]
    if not moved:
        return f"{text}; nobody moved between segments."
    step = moved[0]
    start, end = named(step.before, names), named(step.now, names)
    return (
        f"{text}; the largest step is from {start} to {end}: "
        f"{counted(step.people, 'person', 'people')}."
    )
