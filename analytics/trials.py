"""Experiments as read from the store: which there are, who saw what, and how each metric moved.

Answers are as of the morning of the question: rows of the running day wait until tomorrow, so that
all asks of a day see the same data. That makes a day one look, which is what the daily bounds of a
plan allow for.
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
from analytics.methods.experiment.moments import Moments
from analytics.methods.experiment.regimes import (
    FIRST_DAY,
    Look,
    OpenEnded,
    Planned,
    Regime,
    information,
)
from analytics.methods.experiment.tails import skew_check
from analytics.methods.experiment.verdict import Evidence, State, Verdict, verdict
from analytics.outcomes import (
    ORDERED,
    Outcome,
    Who,
    adjusted,
    head_counts,
    moments_of,
    outcome_of,
    outcome_sums,
    units_of,
)
from analytics.period import DAY, between
from analytics.result import Value
from analytics.scope import Scope, day_of, scope_of
from analytics.words import listed
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


NO_EXPERIMENT = "No experiment is in the store yet."
LOAD_SOME = "Load who saw what with `python -m bot load exposures FILE`."


@dataclass(frozen=True)
class Sighting:
    """What the exposures say about an experiment: naive UTC instants, people per variant."""

    name: str
    first: dt.datetime
    last: dt.datetime
    people: dict[str, int]


def sightings(ctx: Context) -> dict[str, Sighting]:
    """All experiments that the store knows, with their people."""
    found = read_sightings(ctx, sa.true(), sa.func.count(sa.distinct(exposures.c.person_id)))
    if not found:
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
        return split_check(list(self.people.values()), self.shares)

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
            allocation_changed=p is not None and p < SRM_BLOCKS,
        )

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


def trial_of(sighting: Sighting, ctx: Context, by: Dimension | None) -> Trial:
    """The experiment as of this morning: answers within a day repeat."""
    plan = ctx.catalog.plan(sighting.name)
    first, last = (local_date(at, ctx.zone) for at in (sighting.first, sighting.last))
    start = plan.start if plan else first
    end = min(ctx.today, plan.end + DAY if plan else ctx.today)
    # nobody was exposed yesterday or the day before, after a week or more: it is over
    stopped = last < ctx.today - 2 * DAY and (last - first).days + 1 >= FIRST_DAY
    if plan is None and stopped:
        end = last + DAY
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
            hint="Correct the experiment's split in config.yaml.",
        )
    control = control_of(variants, plan)
    treatments = tuple(v for v in variants if v != control)
    return Trial(
        sighting.name, control, treatments, start, end, plan, scope, counts, mixed, stopped
    )


def control_of(variants: Sequence[str], plan: Plan | None) -> str:
    """The variant that the others are compared with: named so, or first in the alphabet."""
    if plan and plan.control in variants:
        return plan.control
    by_fold = {folded(v): v for v in sorted(variants, reverse=True)}
    return next((by_fold[name] for name in CONTROLS if name in by_fold), min(variants))


def main_outcome(said: str | None, plan: Plan | None, catalog: Catalog) -> Outcome:
    """What it is judged by: what was asked for, else what was planned, else who ordered."""
    wanted = said or (plan.metric if plan else "")
    if not wanted or folded(wanted) in ("ordered", "order", "people who ordered"):
        outcome = ORDERED
    else:
        outcome = outcome_of(catalog.find_metric(wanted))
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
        chosen = [o for o in outcomes if o.entity == entity]
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


@dataclass(frozen=True)
class Finding:
    """One outcome of one treatment against the control."""

    outcome: Outcome
    role: Role
    treatment: str
    comparison: Comparison | Unknown
    guardrail: GuardrailFinding | None = None


def compared(
    outcome: Outcome, control: Moments, treatment: Moments, critical: float
) -> Comparison | Unknown:
    """The comparison at a strictness; a ratio over too few is unknown."""
    if outcome.kind == "ratio":
        seen = [(m.x_mean or 0) * m.n for m in (control, treatment)]
        if min(seen) < outcome.minimum:
            return Unknown("too_few")
    return compare_moments(
        "cuped" if outcome.adjusted else outcome.kind,
        control,
        treatment,
        critical=critical,
        more_is_better=outcome.more_is_better,
    )


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


def levels(trial: Trial, outcome: Outcome, sums: Mapping[str, Moments]) -> dict[str, float]:
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
    sums: Mapping[Outcome, Mapping[str, Moments]],
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
    sums: Mapping[str, Moments],
    findings: Sequence[Finding],
    treatment: str,
) -> Verdict:
    """The verdict on one treatment. Without a registered limit a guardrail can only harm."""
    control, treated = sums[trial.control], sums[treatment]
    guards = [f.guardrail for f in findings if f.guardrail]
    if trial.plan is None or not trial.plan.guardrails:
        guards = [g for g in guards if g.status == "harmed"]
    return verdict(
        Evidence(
            primary=findings[0].comparison,
            regime=trial.regime(treatment),
            days=trial.days,
            health=trial.health,
            conversions=None if main.kind == "ratio" else (control.positives, treated.positives),
            skew=skew_check(control, treated) if main.kind == "mean" else None,
            guardrails=tuple(guards),
            meaningful=trial.plan.mde if trial.plan else None,
        )
    )


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
