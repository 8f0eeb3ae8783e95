"""ab-plan: how many people and days an experiment needs, from the shop's own traffic."""

import math
from dataclasses import dataclass

import sqlalchemy as sa

from analytics.catalog import ENTITY, folded
from analytics.command import Command, Context, says
from analytics.entities import rows_of
from analytics.errors import NotEnoughDataError, UnknownNameError
from analytics.measure import span_of, spans_of
from analytics.methods.experiment.arms import Arm, Unknown, mean_arm, ratio_arm
from analytics.methods.experiment.moments import Moments, total
from analytics.methods.experiment.planning import (
    LONGEST_DAYS,
    WEEK,
    inflation,
    smallest_findable,
    units_needed,
)
from analytics.outcomes import Outcome, moments_of, outcome_sums
from analytics.period import DAY, between
from analytics.result import Chart, Column, Figure, Note, Part, Result, Series, Table, Value
from analytics.scope import Filters, Scope, day_of, scope_of
from analytics.trials import ALPHA, lower, main_outcome
from analytics.words import counted, number_words, share_words
from storage.sql import icount

#: The days of real traffic that the plan is made from: four of each weekday.
LOOKED_BACK = 28

#: The days of the end of it from which the traffic of later weeks is taken.
LATELY = 14

LONGEST_WEEKS = LONGEST_DAYS // WEEK

#: Fewer people than this tell nothing.
FEWEST = 100


@dataclass(frozen=True, kw_only=True)
class AbPlan(Command):
    """How many people and weeks an experiment needs.

    From the last four weeks of real traffic: who would have been in it, what they did afterwards,
    and how much that varies. With `mde` (the smallest lift that matters to you) it says how long;
    without, it shows what each number of weeks can find. The plan allows for a look every day.
    """

    examples = (
        "ab-plan mde 10%",
        "ab-plan metric revenue",
        "ab-plan mde 20% event checkout for device mobile",
    )
    group = "Experiments"

    mde: float | None = says(
        None, help="the smallest lift that matters", unit="share", low=0.001, high=10
    )
    metric: str | None = says(
        None, help="what to judge by, such as revenue; otherwise people who ordered"
    )
    event: str | None = says(
        None, help="only people who come as far as this event, such as checkout"
    )
    where: Filters = says(Filters(), help="only these devices, countries, channels, ...")
    variants: int = says(2, help="how many variants, the control included", low=2, high=10)
    power: float = says(
        0.8, help="how often a true lift of that size is found", unit="share", low=0.5, high=0.99
    )

    def run(self, ctx: Context) -> Result:
        """People and weeks for the lift, and what each number of weeks can find."""
        spans = spans_of(ctx.store, ctx.zone)
        outcome = main_outcome(self.metric, None, ctx.catalog)
        if outcome.kind == "quantile":
            raise NotEnoughDataError(
                "How long a percentile takes can't be told beforehand.",
                hint="Plan by a mean, such as `metric average order value`.",
            )
        for entity in (ENTITY["events"], ENTITY[outcome.entity]):
            span = span_of(entity, spans)
            if span is None or span.last < ctx.today - LOOKED_BACK * DAY:
                raise NotEnoughDataError(
                    f"No {entity.label} of the last {LOOKED_BACK} days are loaded: "
                    "the traffic is unknown."
                )
        traffic = traffic_of(self, outcome, ctx)
        weeks = [week_of(self, traffic, n) for n in range(1, LONGEST_WEEKS + 1)]
        return Result(
            "Plan of an experiment",
            headline(self, traffic, weeks),
            parts(self, traffic, weeks, ctx.currency),
            follow_ups(self),
        )


@dataclass(frozen=True)
class Traffic:
    """People who would have been in the experiment, and what they did.

    `arrivals` are people by the day on which they would have entered it; `value` is the outcome per
    person, `variance` that of one person.
    """

    outcome: Outcome
    arrivals: tuple[int, ...]
    value: float
    variance: float

    def people_in(self, days: int) -> int:
        """People who enter within so many days; after those seen, as many a day as lately."""
        seen = sum(self.arrivals[:days])
        lately = sum(self.arrivals[-LATELY:]) / LATELY
        return seen + round(lately * max(0, days - len(self.arrivals)))


def traffic_of(plan: AbPlan, outcome: Outcome, ctx: Context) -> Traffic:
    """Reads it. Raises NotEnoughDataError where too few people came, or none does anything."""
    period = between(ctx.today - LOOKED_BACK * DAY, ctx.today)
    named = [("now", period)]
    coming = scope_of(ctx.store, ctx.catalog, ctx.zone, named, plan.where)
    doing = scope_of(ctx.store, ctx.catalog, ctx.zone, named)
    units = arriving(coming, event_named(plan.event, coming, ctx))
    by_day = {
        row["day"]: row["people"]
        for row in ctx.store.rows(
            sa.select(units.c.day, icount().label("people")).group_by(units.c.day)
        )
    }
    people = sum(by_day.values())
    if people < FEWEST:
        raise NotEnoughDataError(
            f"Only {counted(people, 'person', 'people')} would have been in it in the last "
            f"{LOOKED_BACK} days.",
            hint="Ask for fewer conditions, or an earlier event.",
        )
    rows = ctx.store.rows(outcome_sums(units, "day", [outcome], doing, people))
    rows.sort(key=lambda r: r["day"])
    middle = sum(r["xs0"] for r in rows) // people if outcome.paired else 0
    moments = total([moments_of(r, 0, outcome, middle) for r in rows])
    arm = arm_of(outcome, moments)
    if isinstance(arm, Unknown) or arm.value == 0 or arm.squared_error == 0:
        raise NotEnoughDataError(
            f"{outcome.label} is the same for everyone who came in the last {LOOKED_BACK} days: "
            "nothing to plan with."
        )
    arrivals = {day_of(d): n for d, n in by_day.items()}
    days = [period.start + n * DAY for n in range(LOOKED_BACK)]
    return Traffic(
        outcome,
        tuple(arrivals.get(d, 0) for d in days),
        arm.value,
        arm.squared_error * arm.n,
    )


def arm_of(outcome: Outcome, moments: Moments) -> Arm | Unknown:
    """The estimate of everybody together."""
    return ratio_arm(moments) if outcome.kind == "ratio" else mean_arm(moments)


def event_named(said: str | None, scope: Scope, ctx: Context) -> str | None:
    """The event's name as it is stored. Raises UnknownNameError with the nearest."""
    if said is None:
        return None
    rows = rows_of("events", scope)
    names = sorted(ctx.store.column(sa.select(rows.c.name).distinct()))
    for name in names:
        if folded(name) == folded(said):
            return str(name)
    raise UnknownNameError("event", said, names)


def arriving(scope: Scope, event: str | None) -> sa.CTE:
    """The people who would have been exposed: at their first event, as one variant."""
    rows = rows_of("events", scope)
    first = sa.select(rows.c.person_id, sa.func.min(rows.c["at"]).label("exposed_at"))
    if event is not None:
        first = first.where(rows.c.name == event)
    come = first.group_by(rows.c.person_id).subquery("first")
    return sa.select(
        come.c.person_id,
        sa.literal_column("'all'", sa.Text).label("variant"),
        come.c.exposed_at,
        scope.local_day(come.c.exposed_at).label("day"),
    ).cte("units")


# --- the plan -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Week:
    """What so many weeks can do: people in all, and the smallest lift that is found."""

    weeks: int
    people: int
    lift: float | None


def level(plan: AbPlan) -> float:
    """Each treatment is judged at its share of the level."""
    return ALPHA / (plan.variants - 1)


def week_of(plan: AbPlan, traffic: Traffic, weeks: int) -> Week:
    """The smallest lift found in so many weeks, daily looks allowed for."""
    days = WEEK * weeks
    people = traffic.people_in(days)
    per_arm = people / plan.variants
    cost = cost_of_looks(plan, weeks)
    error = math.sqrt(2 * traffic.variance * cost / per_arm) if per_arm else 0.0
    found = smallest_findable(error, level(plan), plan.power)
    return Week(weeks, people, None if found is None else found / abs(traffic.value))


def cost_of_looks(plan: AbPlan, weeks: int) -> float:
    """How many times the people of a single look a look every day needs.

    Long plans are given the cost of the longest, a few in a thousand more than their own: it takes
    the better part of a second to work out.
    """
    days = WEEK * (weeks if weeks <= LOOKED_BACK // WEEK else LONGEST_WEEKS)
    return inflation(days, level(plan), plan.power)


def needed(plan: AbPlan, traffic: Traffic, lift: float, weeks: int) -> int:
    """People in all for a lift, with a look on each day of so many weeks."""
    pair = units_needed(
        lift * traffic.value,
        traffic.variance,
        alpha=level(plan),
        wanted=plan.power,
        inflation=cost_of_looks(plan, weeks),
    )
    return math.ceil((pair or 0) / 2) * plan.variants


def first_enough(weeks: list[Week], lift: float) -> Week | None:
    """The shortest run that finds the lift; None where none does."""
    return next((w for w in weeks if w.lift is not None and w.lift <= lift), None)


def headline(plan: AbPlan, traffic: Traffic, weeks: list[Week]) -> str:
    """People and weeks; or what four weeks find."""
    what = lower(traffic.outcome.label)
    if plan.mde is None:
        month = weeks[3]
        return (
            f"In 4 weeks, {month.people:,} people, a lift of {share_words(month.lift or 0)} or "
            f"more in {what} is found {often(plan)}."
        )
    enough = first_enough(weeks, plan.mde)
    lift = share_words(plan.mde)
    if enough is None:
        people = needed(plan, traffic, plan.mde, LONGEST_WEEKS)
        return (
            f"A lift of {lift} in {what} would take {people:,} people and more than "
            f"{LONGEST_DAYS} days: look for a larger one, or another metric."
        )
    people = needed(plan, traffic, plan.mde, enough.weeks)
    return (
        f"To find a lift of {lift} in {what}, run {counted(enough.weeks, 'week')}: it takes "
        f"{people:,} people, and {enough.people:,} come in that time."
    )


def often(plan: AbPlan) -> str:
    """`4 times in 5`, or the power in per cent."""
    return "4 times in 5" if plan.power == 0.8 else f"{share_words(plan.power)} of the time"


def parts(plan: AbPlan, traffic: Traffic, weeks: list[Week], currency: str) -> tuple[Part, ...]:
    """Baseline figures, the table of weeks, the chart, and what it rests on."""
    o = traffic.outcome
    figures: list[Part] = [
        Figure(f"{o.label} now", traffic.value * o.scale, o.unit, group="Baseline"),
        Figure("People a week, lately", 7 * sum(traffic.arrivals[-LATELY:]) / LATELY, "number",
               group="Baseline"),
    ]  # fmt: skip
    if plan.mde is not None:
        enough = first_enough(weeks, plan.mde)
        people = needed(plan, traffic, plan.mde, enough.weeks if enough else LONGEST_WEEKS)
        note = "" if enough else f"More than {LONGEST_DAYS} days."
        figures += [
            Figure("People needed", people, "count", group="Plan"),
            Figure("Per variant", math.ceil(people / plan.variants), "count", group="Plan"),
            Figure("Weeks", enough.weeks if enough else None, "count", group="Plan", note=note),
        ]
        now, then = (
            number_words(v * traffic.value * o.scale, o.unit, currency) for v in (1, 1 + plan.mde)
        )
        figures.append(Note(f"A lift of {share_words(plan.mde)} is from {now} to {then}."))
    shown = [w for w in weeks if w.lift is not None]
    columns = (
        Column("weeks", "Weeks", "count"),
        Column("people", "People", "count"),
        Column("per_variant", "Per variant", "count"),
        Column("lift", "Smallest lift found", "share"),
    )
    rows: list[tuple[Value, ...]] = [
        (w.weeks, w.people, w.people // plan.variants, w.lift) for w in shown
    ]
    chart = Chart(
        "Smallest lift that is found, by weeks",
        "line",
        tuple(str(w.weeks) for w in shown),
        (Series(o.label, tuple(w.lift for w in shown)),),
        "share",
        x_label="weeks",
        y_label="Lift",
    )
    return (*figures, Table("What each length can find", columns, tuple(rows)), chart, basis(plan))


def basis(plan: AbPlan) -> Note:
    """What the plan assumes."""
    arms = f"{plan.variants} equal variants"
    return Note(
        f"For {arms}, 5 % false alarms, and an effect found {often(plan)}; a look every day is "
        f"allowed for. From the last {LOOKED_BACK} days: whoever came would have entered at the "
        "first event, and what was done from then on counts. Later weeks are taken to be like the "
        "last two; plan whole weeks, and at least one."
    )


def follow_ups(plan: AbPlan) -> tuple[str, ...]:
    """The same with another size or metric."""
    metric = f" metric {plan.metric}" if plan.metric else ""
    sizes = [s for s in (0.05, 0.1, 0.2) if s != plan.mde][:2]
    asked = [f"ab-plan mde {s * 100:g}%{metric}" for s in sizes]
    return (*asked, "ab")
