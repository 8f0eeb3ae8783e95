"""Experiments as read from the store: which there are, who saw what, and how each metric moved.

Answers are as of the morning of the question: rows of the running day wait until tomorrow. What is
read is kept as the day's snapshot, so that all asks of a day see the same data, whatever is loaded
meanwhile. That makes a day one look, which is what the daily bounds of a plan allow for.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import sqlalchemy as sa

from analytics.catalog import ENTITY, Catalog, Dimension, Plan, folded
from analytics.command import Context
from analytics.errors import NotEnoughDataError, UnknownNameError
from analytics.measure import Spans, local_date, span_of
from analytics.methods.experiment.arms import Arm, Unknown
from analytics.methods.experiment.comparison import Comparison, compare_arms, compare_moments
from analytics.methods.experiment.guardrails import (
    Guardrail,
    GuardrailFinding,
    check_guardrails,
)
from analytics.methods.experiment.health import (
    SRM_BLOCKS,
    Health,
    Split,
    allocation_p,
    split_check,
)
from analytics.methods.experiment.moments import Moments, total
from analytics.methods.experiment.proportions import FEWEST_PER_CELL
from analytics.methods.experiment.quantiles import QuantileSums, neighbour_ranks, rank_of
from analytics.methods.experiment.regimes import (
    FIRST_DAY,
    Look,
    OpenEnded,
    Planned,
    Regime,
    information,
)
from analytics.methods.experiment.strata import Strata, stratified_arms
from analytics.methods.experiment.tails import skew_check
from analytics.methods.experiment.verdict import Evidence, State, Verdict, verdict
from analytics.outcomes import (
    Outcome,
    Who,
    adjusted,
    below_sums,
    exposure_logging,
    head_counts,
    moments_of,
    named_outcome,
    outcome_sums,
    units_of,
    value_counts,
    values_after,
    values_at,
)
from analytics.period import DAY, between
from analytics.plans import DAY_STRATUM, registered_as
from analytics.result import Value
from analytics.saved import members_on, narrowed
from analytics.scope import Scope, day_of, in_quotes, scope_of
from analytics.words import date_words, listed
from storage.experiments import Snapshot
from storage.schema import exposures
from storage.sql import Sql

#: Variants of these names are what the others are compared with; the first that is found.
CONTROLS = ("control", "a", "base", "baseline", "off", "original", "old", "default", "holdout")

#: Watched beside the main metric: these may not get worse, those are only shown.
WATCHED = ("revenue", "returns", "nps")
SECOND = ("orders",)

ALPHA = 0.05

Role = Literal["main", "second", "guardrail"]

#: Moments of one outcome by variant and day (or segment).
ByKey = dict[str, dict[Value, Moments]]

#: What one variant's value is made from.
Side = Moments | QuantileSums | Strata


NO_EXPERIMENT = "No experiment is in the store yet."
LOAD_SOME = "Load who saw what with `python -m bot load exposures FILE`."


# --- the day's snapshot -------------------------------------------------------------------------


def on_snapshot(experiment: str, ctx: Context, *, fresh: bool = False) -> Context:
    """The context whose store answers as it first did today; `fresh` begins anew.

    Without a memory, and while the store has nothing of yesterday yet, the store is read each time.
    """
    through = ctx.store.data_through()
    if ctx.state is None or through is None or local_date(through, ctx.zone) < ctx.today - DAY:
        return ctx
    store = Snapshot(
        ctx.store,
        ctx.state,
        experiment=folded(experiment),
        day=ctx.today,
        now=ctx.now,
        fresh=fresh,
    )
    return replace(ctx, store=store)


def taken_at(ctx: Context) -> dt.datetime | None:
    """When the latest of the answers used was read, in the asker's zone; None: not kept."""
    if not isinstance(ctx.store, Snapshot) or not ctx.store.taken:
        return None
    return max(ctx.store.taken).astimezone(ctx.zone)


# --- which there are ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Sighting:
    """What the exposures say about an experiment: naive UTC instants, people per variant."""

    name: str
    first: dt.datetime
    last: dt.datetime
    people: dict[str, int]


def sightings(ctx: Context, *, none_is_fine: bool = False) -> dict[str, Sighting]:
    """All experiments that the store knows, with their people."""
    found = read_sightings(ctx, sa.true(), sa.func.count(sa.distinct(exposures.c.person_id)))
    if not found and not none_is_fine:
        raise NotEnoughDataError(NO_EXPERIMENT, hint=LOAD_SOME)
    return found


def sighting_of(said: str, ctx: Context) -> Sighting:
    """The experiment of this name; case, hyphens and underscores do not matter.

    Its people are not counted: that is left to the reading of the trial.
    """
    names = sorted(ctx.store.column(sa.select(exposures.c.experiment).distinct()))
    if not names:
        raise NotEnoughDataError(NO_EXPERIMENT, hint=LOAD_SOME)
    name = said if said in names else next((n for n in names if folded(n) == folded(said)), None)
    if name is None:
        plan = registered_as(said, ctx).plan
        if plan is not None:
            raise NotEnoughDataError(
                f"{said} is registered from {date_words(plan.start)} on, but nobody was exposed "
                "to it yet.",
                hint=LOAD_SOME,
            )
        raise UnknownNameError("experiment", said, names)
    return read_sightings(ctx, exposures.c.experiment == name, sa.literal_column("0"))[name]


def read_sightings(ctx: Context, wanted: Sql, people: Sql) -> dict[str, Sighting]:
    """The experiments whose exposures are wanted, by name, variants in order."""
    keys = (exposures.c.experiment, exposures.c.variant)
    rows = ctx.store.rows(
        sa.select(
            *keys,
            sa.func.min(exposures.c.exposed_at).label("first"),
            sa.func.max(exposures.c.exposed_at).label("last"),
            people.label("people"),
        )
        .where(wanted)
        .group_by(*keys)
    )
    found: dict[str, Sighting] = {}
    for row in sorted(rows, key=lambda r: (r["experiment"], r["variant"])):
        name = row["experiment"]
        s = found.get(name, Sighting(name, row["first"], row["last"], {}))
        counts = s.people | {row["variant"]: row["people"]}
        found[name] = Sighting(name, min(s.first, row["first"]), max(s.last, row["last"]), counts)
    return found


@dataclass(frozen=True)
class Trial:
    """An experiment up to the morning of the question, or to its end.

    `start` is its first local day, `until` the day after the last that counts. `counts` are people
    per variant and day of first exposure, without the `mixed` ones who saw several variants.
    `halted` is the day from which on it was stopped by hand; `logging` what tells whether all
    variants record who saw them alike.
    """

    name: str
    control: str
    treatments: tuple[str, ...]
    start: dt.date
    until: dt.date
    plan: Plan | None
    scope: Scope
    counts: dict[str, dict[dt.date, int]]
    mixed: int
    stopped: bool
    halted: dt.date | None = None
    logging: tuple["Logging", ...] = ()

    @property
    def variants(self) -> tuple[str, ...]:
        """The control first."""
        return (self.control, *self.treatments)

    @property
    def days(self) -> int:
        """Full days so far."""
        return (self.until - self.start).days

    @cached_property
    def people(self) -> dict[str, int]:
        """People per variant."""
        return {v: sum(self.counts[v].values()) for v in self.variants}

    @cached_property
    def split(self) -> Split:
        """The head counts against the plan."""
        found = split_check(list(self.people.values()), self.shares)
        return replace(found, p=None) if self.by_day else found

    @property
    def by_day(self) -> bool:
        """Whether each day is compared by itself: then the shares may change between days."""
        return self.plan is not None and self.plan.strata == DAY_STRATUM

    @cached_property
    def shares(self) -> list[float] | None:
        """The planned shares in the order of the variants; None for equal ones."""
        planned = dict(self.plan.split) if self.plan else {}
        return [planned[v] for v in self.variants] if planned else None

    @cached_property
    def health(self) -> Health:
        """What the exposures alone say about its soundness."""
        every = [self.start + n * DAY for n in range(self.days)]
        p = allocation_p([[self.counts[v].get(day, 0) for v in self.variants] for day in every])
        return Health(
            split=self.split,
            contaminated=self.mixed,
            exposed=sum(self.people.values()) + self.mixed,
            allocation_changed=p is not None and p < SRM_BLOCKS and not self.by_day,
            exposure_logging_differs=differ([row.before for row in self.logging], self.people),
        )

    @cached_property
    def silence_differs(self) -> bool:
        """Whether the shares of people who did nothing after the exposure differ beyond luck."""
        return differ([row.silent for row in self.logging], self.people)

    def regime(self, treatment: str) -> Regime:
        """How strict a look must be: by the plan's daily looks, or for any number of looks."""
        pair = (self.control, treatment)
        if self.plan is None:
            return OpenEnded(sum(self.people[v] for v in pair))
        looks = []
        for day in range(1, self.days + 1):
            end = self.start + day * DAY
            seen = [sum(n for d, n in self.counts[v].items() if d < end) for v in pair]
            looks.append(Look(day, max(information(*seen), 1e-9)))
        return Planned(self.plan.days, tuple(looks))


@dataclass(frozen=True)
class Logging:
    """One variant's people with an event in the day before the exposure, and with none after it.

    Nobody knows beforehand which variant comes, so the first share is the same in all, unless they
    record the exposure at different moments. The second may also be an effect.
    """

    variant: str
    before: int
    silent: int


def differ(some: Sequence[int], people: Mapping[str, int]) -> bool:
    """Whether the shares of people differ between variants at the level that blocks a split."""
    rest = [n - k for k, n in zip(some, people.values(), strict=False)]
    p = allocation_p([list(some), rest]) if some else None
    return p is not None and p < SRM_BLOCKS


def trial_of(
    sighting: Sighting, ctx: Context, by: Dimension | None, segment: str | None = None
) -> Trial:
    """The experiment as of this morning: answers within a day repeat.

    `segment` is a saved one: its people are those of the morning on which the experiment began.
    """
    known = registered_as(sighting.name, ctx)
    plan = known.plan
    first, last = (local_date(at, ctx.zone) for at in (sighting.first, sighting.last))
    start = plan.start if plan else first
    end = min(ctx.today, plan.end + DAY if plan else ctx.today)
    # nobody was exposed yesterday or the day before, after a week or more: it is over
    stopped = last < ctx.today - 2 * DAY and (last - first).days + 1 >= FIRST_DAY
    if plan is None and stopped:
        end = last + DAY
    if known.stopped:
        end, stopped = min(end, known.stopped), True
    if len(sighting.people) < 2:
        raise NotEnoughDataError(
            f"{sighting.name} has only one variant: {listed(list(sighting.people))}.",
            hint="An experiment needs people who saw something else, or nothing new.",
        )
    if start >= end:
        raise NotEnoughDataError(
            f"{sighting.name} has no full day behind it yet.", hint="Ask again tomorrow."
        )
    scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("now", between(start, end))], by=by)
    if segment:
        scope = narrowed(scope, members_on(ctx, segment, start))
    variants = list(sighting.people)
    counts: dict[str, dict[dt.date, int]] = {v: {} for v in variants}
    mixed = 0
    for row in ctx.store.rows(head_counts(sighting.name, scope)):
        if row["mixed"]:
            mixed += row["people"]
        else:
            counts[row["variant"]][day_of(row["day"])] = row["people"]
    planned = [v for v, _ in plan.split] if plan else []
    if planned and set(planned) != set(variants):
        raise NotEnoughDataError(
            f"{sighting.name} was planned with {listed(planned)}, but the exposures "
            f"know {listed(variants)}.",
            hint="Correct the experiment's split where it is registered.",
        )
    control = control_of(variants, plan)
    treatments = tuple(v for v in variants if v != control)
    seen = {
        r["variant"]: Logging(r["variant"], r["before"], r["silent"])
        for r in ctx.store.rows(exposure_logging(units_of(sighting.name, scope), scope))
    }
    return Trial(
        sighting.name,
        control,
        treatments,
        start,
        end,
        plan,
        scope,
        counts,
        mixed,
        stopped,
        known.stopped,
        tuple(seen.get(v, Logging(v, 0, 0)) for v in (control, *treatments)),
    )


def control_of(variants: Sequence[str], plan: Plan | None) -> str:
    """The variant that the others are compared with: named so, or first in the alphabet."""
    if plan and plan.control in variants:
        return plan.control
    by_fold = {folded(v): v for v in sorted(variants, reverse=True)}
    return next((by_fold[name] for name in CONTROLS if name in by_fold), min(variants))


def main_outcome(said: str | None, plan: Plan | None, catalog: Catalog) -> Outcome:
    """What it is judged by: what was asked for, else what was planned, else who ordered."""
    outcome = named_outcome(said or (plan.metric if plan else ""), catalog)
    return adjusted(outcome) if plan and plan.adjusted else outcome


def require(outcome: Outcome, spans: Spans) -> None:
    """Refuse an outcome of rows that are not loaded."""
    entity = ENTITY[outcome.entity]
    if span_of(entity, spans) is None:
        raise NotEnoughDataError(
            f"{outcome.label} is unknown: no {entity.label} are loaded.",
            hint=f"Load some with `python -m bot load {entity.needs[-1]} FILE`.",
        )


# --- reading ------------------------------------------------------------------------------------


def moments_by(
    trial: Trial, outcomes: Sequence[Outcome], ctx: Context, by: Dimension | None = None
) -> dict[Outcome, ByKey]:
    """Each outcome's moments per variant and day, or segment: one query per entity."""
    key = "segment" if by else "day"
    in_all = sum(trial.people.values())
    found: dict[Outcome, ByKey] = {o: {v: {} for v in trial.variants} for o in outcomes}
    for entity in dict.fromkeys(o.entity for o in outcomes):
        chosen = [o for o in outcomes if o.entity == entity and o.kind != "quantile"]
        if not chosen:
            continue
        units = units_of(trial.name, trial.scope, by)
        # the head counts know the days' people, so the many who did nothing need not be read
        who: Who = "everyone" if by or any(o.adjusted for o in chosen) else "doers"
        rows = ctx.store.rows(outcome_sums(units, key, chosen, trial.scope, in_all, who))
        rows.sort(key=lambda r: (r["variant"], r[key] is None, r[key]))
        for i, o in enumerate(chosen):
            middle = sum(r[f"xs{i}"] for r in rows) // max(in_all, 1) if o.paired else 0
            if not by:
                for v in trial.variants:
                    found[o][v] = {day: Moments(n) for day, n in trial.counts[v].items()}
            for row in rows:
                variant, place = row["variant"], row[key] if by else day_of(row[key])
                people = 0 if by else trial.counts[variant].get(place, 0)
                found[o][variant][place] = moments_of(row, i, o, middle, people)
    return found


def sides_of(
    trial: Trial, main: Outcome, found: Mapping[Outcome, ByKey], ctx: Context
) -> dict[Outcome, dict[str, Side]]:
    """What each outcome of each variant is judged from; the main one within the plan's strata."""
    sides: dict[Outcome, dict[str, Side]] = {
        o: {v: total(list(by_key[v].values())) for v in trial.variants}
        for o, by_key in found.items()
    }
    strata = trial.plan.strata if trial.plan else ""
    if main.kind == "quantile":
        sides[main] = dict(quantiles(trial, main, ctx))
    elif strata and main.kind in ("mean", "proportion") and not main.adjusted:
        by_key = found[main] if trial.by_day else within(trial, main, strata, ctx)
        keys = {k for v in trial.variants for k in by_key[v]}
        order = sorted(keys, key=lambda k: (k is None, str(k)))
        for v in trial.variants:
            sides[main][v] = Strata(tuple(by_key[v].get(k, Moments(0)) for k in order))
    return sides


@dataclass(frozen=True)
class Reading:
    """All that a verdict is made from: which outcomes, what was summed, what each side comes to."""

    trial: Trial
    main: Outcome
    roles: dict[Outcome, Role]
    found: dict[Outcome, ByKey]
    sides: dict[Outcome, dict[str, Side]]


def read_trial(trial: Trial, main: Outcome, spans: Spans, ctx: Context) -> Reading:
    """Reads all outcomes of an experiment."""
    roles = roles_of(trial, main, spans, ctx.catalog)
    found = moments_by(trial, list(roles), ctx)
    return Reading(trial, main, roles, found, sides_of(trial, main, found, ctx))


def within(trial: Trial, main: Outcome, strata: str, ctx: Context) -> ByKey:
    """The main metric's moments by the dimension that the plan compares within."""
    by = ctx.catalog.dimension(strata)
    days = [("now", between(trial.start, trial.until))]
    scope = scope_of(ctx.store, ctx.catalog, ctx.zone, days, by=by)
    scope = replace(scope, filters=trial.scope.filters, members=trial.scope.members)
    return moments_by(replace(trial, scope=scope), [main], ctx, by)[main]


def quantiles(trial: Trial, outcome: Outcome, ctx: Context) -> dict[str, Side]:
    """Each variant's quantile with what its error is made from; no moments where it has too few."""
    units = units_of(trial.name, trial.scope)
    values = values_after(units, outcome, trial.scope)
    counts = {r["variant"]: r["values"] for r in ctx.store.rows(value_counts(values))}
    places: dict[str, tuple[int, ...]] = {}
    for v, n in counts.items():
        ranks = neighbour_ranks(outcome.at, n)
        if ranks is not None:
            places[v] = tuple(rank_of(share, n) for share in (outcome.at, *ranks))
    empty: Side = Moments(0)
    if not places:
        return dict.fromkeys(trial.variants, empty)
    at = {(r["variant"], r["place"]): r["value"] for r in ctx.store.rows(values_at(values, places))}
    edges = {v: at[v, three[0]] for v, three in places.items()}
    sums = {r["variant"]: r for r in ctx.store.rows(below_sums(values, edges))}
    sides: dict[str, Side] = dict.fromkeys(trial.variants, empty)
    for v, three in places.items():
        middle, low, high = (float(at[v, place]) for place in three)
        sides[v] = QuantileSums(outcome.at, middle, low, high, Moments.from_row(sums[v]))
    return sides


def whole(side: Side) -> Moments:
    """All of a side's units together; of a quantile, the people and their values up to it."""
    match side:
        case Moments():
            return side
        case QuantileSums():
            return side.below
        case Strata():
            return side.whole


@dataclass(frozen=True)
class Finding:
    """One outcome of one treatment against the control."""

    outcome: Outcome
    role: Role
    treatment: str
    comparison: Comparison | Unknown
    guardrail: GuardrailFinding | None = None


def compared(
    outcome: Outcome, control: Side, treatment: Side, critical: float
) -> Comparison | Unknown:
    """The comparison at a strictness; a ratio over too few, or a quantile of them, is unknown."""
    better = outcome.more_is_better
    match control, treatment:
        case QuantileSums(), QuantileSums():
            arms = control.arm(), treatment.arm()
            return compare_arms(*arms, critical=critical, more_is_better=better)
        case Strata(), Strata() if not few(outcome, control.whole, treatment.whole):
            pairs = list(zip(control.parts, treatment.parts, strict=True))
            arms = stratified_arms(pairs)
            return compare_arms(*arms, critical=critical, more_is_better=better)
    control, treatment = whole(control), whole(treatment)
    if outcome.kind == "quantile":
        return Unknown("too_few")
    if outcome.kind == "ratio":
        seen = [(m.x_mean or 0) * m.n for m in (control, treatment)]
        if min(seen) < outcome.minimum:
            return Unknown("too_few")
    return compare_moments(
        "cuped" if outcome.adjusted else outcome.kind,
        control,
        treatment,
        critical=critical,
        more_is_better=better,
    )


def few(outcome: Outcome, *sides: Moments) -> bool:
    """Whether a share is of so few that it takes the small-sample way, strata or not."""
    cells = [n for m in sides for n in (m.positives, m.n - m.positives)]
    return outcome.kind == "proportion" and min(cells) < FEWEST_PER_CELL


def before_p(control: Moments, treatment: Moments) -> float | None:
    """Did the two differ before the exposure already? p of what they did then; None if unknown.

    A difference there is one of the people, not of what they saw.
    """
    sides = [
        Arm(m.n, m.x_mean, m.x_variance / m.n, m.n - 1)
        for m in (control, treatment)
        if m.x_mean is not None and m.x_variance is not None
    ]
    if len(sides) < 2:
        return None
    found = compare_arms(*sides)
    return found.p if isinstance(found, Comparison) else None


def levels(trial: Trial, outcome: Outcome, sums: Mapping[str, Side]) -> dict[str, float]:
    """The level at which each treatment's main metric is judged: Holm's steps over treatments.

    The treatment furthest from the control is judged at 5 % over their number, the next at 5 %
    over one less, until one is not decided: it and the rest stay at its level (Holm 1979).
    """
    k = len(trial.treatments)
    away: dict[str, float] = {}
    for t in trial.treatments:
        found = compared(outcome, sums[trial.control], sums[t], trial.regime(t).critical(ALPHA / k))
        away[t] = abs(found.z) if isinstance(found, Comparison) else 0.0
    chosen: dict[str, float] = {}
    level, open_ = ALPHA / k, True
    for rank, t in enumerate(sorted(away, key=lambda t: -away[t])):
        level = ALPHA / (k - rank) if open_ else level
        open_ = open_ and away[t] > trial.regime(t).critical(level)
        chosen[t] = level
    return chosen


def roles_of(trial: Trial, main: Outcome, spans: Spans, catalog: Catalog) -> dict[Outcome, Role]:
    """What is read: the main metric, what is only shown, and what may not get worse."""
    planned = tuple(g.metric for g in trial.plan.guardrails) if trial.plan else ()
    wanted: list[tuple[str, Role]] = [
        *((name, "second") for name in SECOND),
        *((name, "guardrail") for name in planned or WATCHED),
    ]
    roles: dict[Outcome, Role] = {main: "main"}
    names = {m.name for m in catalog.metrics}
    for name, role in wanted:
        if name not in names and name not in planned:
            continue
        outcome = main_outcome(name, None, catalog)
        if outcome.name != main.name and span_of(ENTITY[outcome.entity], spans) is not None:
            roles[outcome] = role
    return roles


def judged(
    trial: Trial,
    roles: Mapping[Outcome, Role],
    sums: Mapping[Outcome, Mapping[str, Side]],
    treatment: str,
    level: float,
) -> list[Finding]:
    """All outcomes of one treatment at today's strictness."""
    regime = trial.regime(treatment)
    critical = regime.critical(level)
    rows = [
        Finding(o, role, treatment, compared(o, s[trial.control], s[treatment], critical))
        for o, role in roles.items()
        for s in (sums[o],)
    ]
    margins = {g.metric: g.margin for g in trial.plan.guardrails} if trial.plan else {}
    guards = [
        Guardrail(f.outcome.name, f.comparison, margins.get(f.outcome.name, 0.0))
        for f in rows
        if f.role == "guardrail"
    ]
    status = {g.guardrail.name: g for g in check_guardrails(guards, regime, level)}
    return [replace(f, guardrail=status.get(f.outcome.name)) for f in rows]


def verdict_of(
    trial: Trial,
    main: Outcome,
    sums: Mapping[str, Side],
    findings: Sequence[Finding],
    treatment: str,
) -> Verdict:
    """The verdict on one treatment. Without a registered limit a guardrail can only harm."""
    control, treated = whole(sums[trial.control]), whole(sums[treatment])
    guards = [f.guardrail for f in findings if f.guardrail]
    if trial.plan is None or not trial.plan.guardrails:
        guards = [g for g in guards if g.status == "harmed"]
    return verdict(
        Evidence(
            primary=findings[0].comparison,
            regime=trial.regime(treatment),
            days=trial.days,
            health=trial.health,
            conversions=conversions(main, control, treated),
            skew=skew_check(control, treated) if main.kind == "mean" else None,
            guardrails=tuple(guards),
            meaningful=trial.plan.mde if trial.plan else None,
        )
    )


def conversions(main: Outcome, control: Moments, treated: Moments) -> tuple[int, int] | None:
    """People who did it in each arm; for a quantile, those with any value.

    None for a ratio, and for a mean below zero (a cost booked so), of which nobody has any above.
    """
    if main.kind == "mean" and min(control.mean or 0, treated.mean or 0) < 0:
        return None
    match main.kind:
        case "ratio":
            return None
        case "quantile":
            return control.n, treated.n
        case _:
            return control.positives, treated.positives


#: Which state an experiment with several treatments is known by, the first that one has.
FIRST_TOLD: tuple[State, ...] = (
    "invalid", "ship", "guardrail_harmed", "keep_running", "too_early", "plan_used_up",
    "dont_ship", "no_meaningful_difference", "too_skewed", "no_result",
)  # fmt: skip


def leading(
    verdicts: Mapping[str, Verdict],
    findings: Mapping[str, Sequence[Finding]],
    treatments: Sequence[str],
) -> str:
    """The treatment that the headline is about: the best of those in the state told first."""

    def rank(treatment: str) -> tuple[int, float]:
        comparison = findings[treatment][0].comparison
        z = comparison.z if isinstance(comparison, Comparison) else 0.0
        return FIRST_TOLD.index(verdicts[treatment].state), -z

    return min(treatments, key=rank)


# --- words ---------------------------------------------------------------------------------------


def said_name(name: str) -> str:
    """An experiment's name inside a question."""
    return name if name.replace("_", "").isalnum() and name.casefold() == name else in_quotes(name)


def lower(label: str) -> str:
    """A label inside a sentence; abbreviations keep their capitals."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]
