"""ab: what an experiment says, and what to do about it."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from analytics.catalog import Catalog, Dimension, Plan, folded
from analytics.command import Command, Context, says
from analytics.errors import NotEnoughDataError, NotUnderstoodError
from analytics.measure import Spans, local_date, spans_of
from analytics.methods.experiment.arms import Unknown, variance_kept
from analytics.methods.experiment.comparison import SINGLE_LOOK, Comparison
from analytics.methods.experiment.guardrails import worst_gain
from analytics.methods.experiment.health import (
    SRM_BLOCKS,
    Split,
    split_by_segment,
    split_check,
)
from analytics.methods.experiment.moments import Moments, total
from analytics.methods.experiment.multiplicity import benjamini_hochberg
from analytics.methods.experiment.novelty import first_week_check
from analytics.methods.experiment.prior import belief
from analytics.methods.experiment.quantiles import QuantileSums
from analytics.methods.experiment.regimes import FIRST_DAY, Planned, Regime
from analytics.methods.experiment.strata import Strata
from analytics.methods.experiment.verdict import Verdict
from analytics.methods.experiment.words import (
    CAUSES,
    GUARDRAILS,
    STATES,
    by_luck,
    chance,
    time_left_words,
)
from analytics.outcomes import DAYS_BEFORE, ORDERED, Outcome
from analytics.period import DAY, between
from analytics.plans import Registered, registered, registered_as
from analytics.result import (
    Chart,
    Column,
    Figure,
    Note,
    Number,
    Part,
    Result,
    Series,
    Table,
    Unit,
    Value,
)
from analytics.scope import in_quotes
from analytics.trials import (
    ALPHA,
    ByKey,
    Finding,
    Role,
    Side,
    Sighting,
    Trial,
    before_p,
    compared,
    control_of,
    judged,
    leading,
    levels,
    lower,
    main_outcome,
    moments_by,
    on_snapshot,
    read_trial,
    require,
    roles_of,
    said_name,
    sighting_of,
    sightings,
    taken_at,
    trial_of,
    verdict_of,
    whole,
)
from analytics.words import counted, date_words, listed, number_words, share_words

#: How many segments are compared at most, the largest first; the smallest that is compared.
MOST_SEGMENTS = 20
SMALLEST_SEGMENT = 100


@dataclass(frozen=True, kw_only=True)
class Ab(Command):
    """What an experiment says: ship, don't ship, keep running, or not valid.

    The verdict comes first, then the lift with its interval, each guardrail, and whether the
    experiment is sound: split, people in several variants, days, conversions. It may be asked as
    often as you like: answers within a day are the same, from the day's snapshot (`fresh` reads
    the store anew), and looking often does not make luck look like an effect. Without a name: all
    experiments. `by <dimension>` compares segments, `days` shows it day by day. `metric p90 order
    value` judges by a percentile.
    """

    group = "Experiments"
    examples = (
        "ab",
        "ab checkout_v2",
        "ab banner_blue",
        "ab free_delivery_note metric revenue",
        "ab checkout_v2 by device",
        "ab checkout_v2 days",
        "ab checkout_v2 metric p90 order value",
    )
    speaks = "changes"
    aliases = ("abtest", "experiment", "test")

    experiment: str | None = says(
        None, help="the experiment's name; without one, all are listed", positional=True
    )
    metric: str | None = says(
        None, help="what to judge by, such as revenue; otherwise people who ordered"
    )
    by: Dimension | None = says(None, help="compare within each value of a dimension")
    among: str | None = says(
        None,
        help="a saved segment, as it stood when the experiment began",
        words=("for segment", "segment"),
    )
    view: Literal["verdict", "days"] = says("verdict", help="the verdict, or its days")
    reading: Literal["kept", "fresh"] = says(
        "kept", help="the day's snapshot, or the store as it is now"
    )

    def run(self, ctx: Context) -> Result:
        """The verdict; or the list, the segments or the days."""
        if self.experiment is not None and folded(self.experiment) == "plan":
            raise NotUnderstoodError("That is a question of its own.", hint="Try `ab-plan mde 5%`.")
        every = self.experiment is None or folded(self.experiment) == "list"
        said = "" if every or self.experiment is None else self.experiment
        ctx = on_snapshot(said, ctx, fresh=self.reading == "fresh")
        if self.among and not said:
            raise NotUnderstoodError(
                "A segment narrows one experiment.",
                hint=f"Say `ab <name> for segment {self.among}`.",
            )
        result = self.told(said, ctx) if said else overview(ctx)
        return replace(result, parts=(*result.parts, *as_of(ctx)))

    def told(self, said: str, ctx: Context) -> Result:
        """The verdict, the segments or the days of one experiment."""
        sighting = sighting_of(said, ctx)
        spans = spans_of(ctx.store, ctx.zone)
        trial = trial_of(sighting, ctx, self.by, self.among)
        main = main_outcome(self.metric, trial.plan, ctx.catalog)
        require(main, spans)
        if main.kind == "quantile" and (self.by or self.view == "days"):
            raise NotUnderstoodError(
                f"The {lower(main.label)} is told for all together only.",
                hint=f"Say `ab {said_name(said)} metric {in_quotes(main.name)}`.",
            )
        if self.by:
            result = segments(trial, main, self.by, ctx)
        elif self.view == "days":
            result = day_by_day(trial, main, spans, ctx)
        else:
            result = summary(trial, main, spans, ctx)
        return result if self.among is None else of_some(result, trial)


def of_some(result: Result, trial: Trial) -> Result:
    """The result of a part of the people, with what it is worth."""
    (members,) = trial.scope.members
    return replace(
        result,
        title=f"{result.title}, segment {members.name}",
        headline=f"Only segment {members.name}: {result.headline}",
        parts=(
            Note(
                f"Explore only: one part of the people, looked at among many that could be. The "
                f"verdict is that of `ab {said_name(trial.name)}`, about everybody.",
                "warning",
            ),
            *result.parts,
            Note(f"{members.words[0].upper()}{members.words[1:]}: before the experiment began."),
        ),
    )


def as_of(ctx: Context) -> list[Part]:
    """When the store was read for the answer, and how to have it read anew."""
    if ctx.state is None:
        return []
    taken = taken_at(ctx)
    if taken is None:
        return [Note("Read from the store just now: it has nothing of yesterday yet.")]
    return [
        Note(
            f"As of the snapshot taken at {taken:%H:%M} on {date_words(taken.date())}. Asked again "
            "today, the answer is the same; with the word fresh, the store is read anew."
        )
    ]


# --- the verdict --------------------------------------------------------------------------------


def summary(trial: Trial, main: Outcome, spans: Spans, ctx: Context) -> Result:
    """The verdict with its reasons."""
    read = read_trial(trial, main, spans, ctx)
    roles, found, sums = read.roles, read.found, read.sides
    level = levels(trial, main, sums[main])
    findings = {t: judged(trial, roles, sums, t, level[t]) for t in trial.treatments}
    verdicts = {t: verdict_of(trial, main, sums[main], findings[t], t) for t in trial.treatments}
    best = leading(verdicts, findings, trial.treatments)
    about = Told(trial, main, findings, verdicts, best, ctx.catalog, ctx.currency)
    mark = mark_of(trial, verdicts)
    if verdicts[best].state == "invalid":
        parts: list[Part] = [*health_notes(trial), heads_table(trial)]
        return Result(
            title(trial),
            about.headline(),
            tuple(parts),
            follow_ups(trial, main),
            mark=mark,
            labels=LABELS,
        )
    parts = [*health_notes(trial), *about.figures()]
    if verdicts[best].state != "no_result":
        parts += [findings_table(trial, findings, ctx.currency), *forest(trial, findings)]
    parts += [arms_table(trial, roles, sums), *about.notes(found[main], sums[main])]
    end = ": report at its end" if over(trial) else ""
    return Result(
        title(trial, end),
        about.headline(),
        tuple(parts),
        follow_ups(trial, main),
        mark=mark,
        labels=LABELS,
    )


def title(trial: Trial, more: str = "") -> str:
    """`Experiment checkout_v2`."""
    return f"Experiment {trial.name}{more}"


def over(trial: Trial) -> bool:
    """Whether its planned end has come, or it was stopped."""
    return trial.halted is not None or trial.regime(trial.treatments[0]).ended


def mark_of(trial: Trial, verdicts: Mapping[str, Verdict]) -> str:
    """What a schedule speaks on: each treatment's verdict, and whether the end has come."""
    states = [f"{t} {v.state}" for t, v in verdicts.items()]
    return f"{', '.join(states)}; {'over' if over(trial) else 'running'}"


@dataclass(frozen=True)
class Told:
    """The verdict in words."""

    trial: Trial
    main: Outcome
    findings: Mapping[str, Sequence[Finding]]
    verdicts: Mapping[str, Verdict]
    best: str
    catalog: Catalog
    currency: str

    @property
    def verdict(self) -> Verdict:
        """That of the treatment that the headline is about."""
        return self.verdicts[self.best]

    @property
    def comparison(self) -> Comparison | None:
        """Its main metric against the control; None if unknown."""
        found = self.findings[self.best][0].comparison
        return found if isinstance(found, Comparison) else None

    def headline(self) -> str:
        """What to do, and why."""
        what = STATES[self.verdict.state]
        if self.verdict.state == "keep_running" and self.trial.stopped:
            what = "undecided"
        which = f" {self.best}" if len(self.trial.treatments) > 1 else ""
        return f"{self.trial.name}: {what}{which}. {self.reason()}"

    def reason(self) -> str:
        """One sentence behind the verdict."""
        v = self.verdict
        cause = CAUSES[v.cause]
        cause = cause[0].upper() + cause[1:]
        match v.state:
            case "invalid":
                return f"{cause}{self.heads(v)}; its effects are not shown."
            case "no_result" | "too_skewed":
                return f"{cause}."
            case "too_early":
                left = v.left
                again = f"; ask again in {time_left_words(left)}" if left and left.days else ""
                return f"{cause}{again}."
            case "guardrail_harmed":
                main, *others = self.findings[self.best]
                c = self.comparison
                if c is not None and c.finding == "worse":
                    return f"{self.moved(main)}."
                bad = next(f for f in others if f.outcome.name == v.guardrail)
                though = ""
                if c is not None and c.finding == "better":
                    though = f", though {lower(main.outcome.label)} got better"
                return f"{self.moved(bad)}, beyond what luck explains{though}."
            case "ship" | "dont_ship":
                also = [t for t in self.trial.treatments if self.verdicts[t].state == v.state]
                more = f" ({len(also)} variants are so)" if len(also) > 1 else ""
                return f"{self.moved(self.findings[self.best][0])}{more}."
            case "no_meaningful_difference":
                limit = self.trial.plan.mde if self.trial.plan else None
                than = f", less than the {share_words(limit)} that matter" if limit else ""
                return f"{self.main.label} moved by {self.range()}{than}."
            case "keep_running" | "plan_used_up":
                return self.undecided()

    def heads(self, v: Verdict) -> str:
        """`: 7,269 control and 6,603 treatment` where the split is the cause."""
        if v.cause != "split":
            return ""
        each = [f"{n:,} {name}" for name, n in self.trial.people.items()]
        planned = self.trial.shares or [1] * len(each)
        whole = sum(planned)
        wanted = "/".join(f"{100 * s / whole:.3g}" for s in planned)
        return f": {listed(each)} where {wanted} was planned"

    def undecided(self) -> str:
        """What can't be told, and for how long."""
        v = self.verdict
        if v.cause == "guardrail_undecided":
            name = next(
                f.outcome.label for f in self.findings[self.best] if f.outcome.name == v.guardrail
            )
            text = f"{self.main.label}: better, but {lower(name)} is not shown to be safe"
        elif v.cause == "conversions":
            text = "There were fewer than 100 conversions in a variant"
        else:
            text = (
                f"We can't tell {'' if v.state == 'plan_used_up' else 'yet '}whether "
                f"{lower(self.main.label)} moved: {self.range()} "
                "is possible"
            )
        if v.state == "keep_running" and v.left and v.left.days and not self.trial.stopped:
            text += f"; {time_left_words(v.left)} to go"
        elif v.state == "keep_running" and self.trial.stopped:
            last = date_words(self.trial.until - DAY)
            how = "it was stopped" if self.trial.halted else "nobody was exposed"
            text += f", and {how} after {last}"
        return f"{text}."

    def moved(self, finding: Finding) -> str:
        """`People who ordered rose from 8.3 % to 9.5 % (lift +15.1 %, 95 % interval …)`."""
        c = finding.comparison
        if isinstance(c, Unknown):
            return f"{finding.outcome.label} is unknown"
        verb = "rose" if c.difference > 0 else "fell"
        before, now = (shown(finding.outcome, v, self.currency) for v in (c.control, c.treatment))
        effect = (
            f"lift {signed(c.lift)}, 95 % interval {signed(c.lift_low)} to {signed(c.lift_high)}"
            if None not in gains(c, finding.outcome)
            else f"95 % interval of the difference {natural(finding.outcome, c, self.currency)}"
        )
        return f"{finding.outcome.label} {verb} from {before} to {now} ({effect})"

    def range(self) -> str:
        """`between -3 % and +31 %`."""
        c = self.comparison
        if c is None:
            return "anything"
        if None in gains(c, self.main):
            return f"a difference of {natural(self.main, c, self.currency)}"
        return f"between {signed(c.lift_low)} and {signed(c.lift_high)}"

    def figures(self) -> list[Part]:
        """Lift, both arms' main metric."""
        c = self.comparison
        if c is None:
            return []
        lift = gains(c, self.main)
        if None not in lift:
            note = f"95 % interval {signed(c.lift_low)} to {signed(c.lift_high)}"
        else:
            note = f"No lift; the difference is {natural(self.main, c, self.currency)}."
        name = f"{self.main.label}, "
        unit = self.main.unit
        return [
            Figure("Lift", lift[0], "change", note=note, group="Main metric"),
            Figure(
                name + self.trial.control,
                c.control * self.main.scale,
                unit,
                group="Main metric",
                note=counted(c.control_n, "person", "people"),
            ),
            Figure(
                name + self.best,
                c.treatment * self.main.scale,
                unit,
                group="Main metric",
                note=counted(c.treatment_n, "person", "people"),
            ),
        ]

    def pair(self, by_day: ByKey) -> tuple[Moments, Moments]:
        """The main metric's sums of the control and of the treatment told."""
        control, treated = (
            total(list(by_day[v].values())) for v in (self.trial.control, self.best)
        )
        return control, treated

    def notes(self, by_day: ByKey, sides: Mapping[str, Side]) -> list[Part]:
        """How strict, how sure, and how it was counted."""
        trial, c = self.trial, self.comparison
        texts = [strictness(trial, trial.regime(self.best))]
        planned = main_outcome(None, trial.plan, self.catalog)
        if trial.plan and planned.name != self.main.name:
            texts.append(
                f"The plan judges by {lower(planned.label)}: take this metric as a hint, "
                "not as the decision."
            )
        judged_by = self.verdict.cause not in ("skew", "days", "conversions", "guardrail")
        if c is not None and judged_by and trial.regime(self.best).ended:
            texts.append(
                f"A gap this big would be seen {by_luck(c.p)} by luck alone "
                f"if {self.best} made no difference."
            )
        faith = belief(c) if c and gains(c, self.main)[0] is not None else None
        if faith and self.verdict.state in ("ship", "dont_ship", "keep_running", "plan_used_up"):
            text = (
                f"Most changes do little; allowing for that, the chance that {self.best} is "
                f"better at all is {chance(faith)}"
            )
            if self.verdict.state == "ship":
                text += f", and its lift is likely nearer {signed(faith.mean)}: winners flatter"
            texts.append(f"{text}.")
        texts += [adjusted_words(*self.pair(by_day))] if self.main.adjusted else []
        texts += [strata_words(trial, self.catalog)] if isinstance(sides[self.best], Strata) else []
        texts += guardrail_words(trial, self.findings[self.best])
        fresh = novelty_words(trial, self.main, by_day, self.best)
        texts += [fresh] if fresh else []
        texts.append(counting_words(trial, self.main))
        return [Note(t) for t in texts]


def shown(outcome: Outcome, value: float, currency: str) -> str:
    """A variant's value in words."""
    return number_words(value * outcome.scale, outcome.unit, currency)


def signed(share: Number) -> str:
    """`+15.1 %`."""
    value = share or 0.0
    return f"{'+' if value > 0 else ''}{share_words(value)}"


def strictness(trial: Trial, regime: Regime) -> str:
    """What the interval is worth."""
    if isinstance(regime, Planned):
        if regime.ended:
            return (
                f"The planned {regime.days} days are over: this is the last look, and its interval "
                "allows for the daily looks before it."
            )
        return (
            f"Day {trial.days} of {regime.days}: the interval is wider than at the end, so that "
            "you may look every day."
        )
    return (
        "No end was planned, so the interval is one that holds however often, and however long, "
        "you look; it is wider for that. `ab start` registers the next one with an end, and makes "
        "it narrower."
    )


def adjusted_words(control: Moments, treatment: Moments) -> str:
    """How much was gained by allowing for what people did before; and whether they were alike."""
    kept = variance_kept(control, treatment)
    p = before_p(control, treatment)
    text = f"Allowed for what people did in the {DAYS_BEFORE} days before"
    if kept is not None:
        text += f", which takes away {share_words(1 - kept)} of the spread"
    if p is not None and p < SRM_BLOCKS:
        return (
            f"{text}. The variants differed before already: who is in them is not left to chance."
        )
    return f"{text}."


def strata_words(trial: Trial, catalog: Catalog) -> str:
    """What like was compared with like by."""
    what = "the same day of first exposure"
    if trial.plan and not trial.by_day:
        what = f"the same {catalog.dimension(trial.plan.strata).label.lower()}"
    return f"People are compared with those of {what}, each lot weighted by its size."


def guardrail_words(trial: Trial, findings: Sequence[Finding]) -> list[str]:
    """Each guardrail with a limit; or that none was set."""
    texts = []
    for f in findings:
        if f.guardrail is None or trial.plan is None or not trial.plan.guardrails:
            continue
        low = worst_gain(f.guardrail.guardrail)
        could = f", could be {signed(low)}" if low is not None else ""
        texts.append(
            f"{f.outcome.label}: {GUARDRAILS[f.guardrail.status]}{could}; the limit is "
            f"{signed(-f.guardrail.guardrail.margin)}."
        )
    if not texts and any(f.guardrail for f in findings):
        texts.append(
            "The guardrails have no registered limits: they are only checked for clear harm."
        )
    return texts


def novelty_words(trial: Trial, main: Outcome, by_day: ByKey, treatment: str) -> str:
    """Whether the first week's effect differs from the later one; empty where it does not."""
    first = trial.start
    days = {
        (first + n * DAY): tuple(
            by_day[v].get(first + n * DAY, Moments(0)) for v in (trial.control, treatment)
        )
        for n in range(trial.days)
    }
    if main.kind == "quantile":
        return ""
    found = first_week_check(
        {(day - first).days: (pair[0], pair[1]) for day, pair in days.items()},
        kind="cuped" if main.adjusted else main.kind,
        more_is_better=main.more_is_better,
    )
    if found is None or not found.noted or main.unit == "score":
        return ""
    turned = found.first.difference * found.later.difference < 0
    how = "turned" if turned else "is fading" if found.fading else "grew"
    return (
        f"The effect {how}: it was {signed(found.first.lift)} for people of the first week and "
        f"{signed(found.later.lift)} for those after it."
    )


def counting_words(trial: Trial, main: Outcome) -> str:
    """From when to when outcomes were counted."""
    texts = [
        f"Counted from each person's first exposure to the end of {date_words(trial.until - DAY)}"
    ]
    if folded(trial.control) != "control":
        texts.append(f"{trial.control} is taken as the control")
    if main.capped:
        texts.append("amounts are cut at the 99.9th percentile of all people")
    return f"{'; '.join(texts)}."


# --- health -------------------------------------------------------------------------------------


def health_notes(trial: Trial) -> list[Part]:
    """Warnings first: what may be wrong with the experiment itself."""
    health = trial.health
    notes: list[Part] = []
    split = trial.split
    if split.status != "ok" and split.p is not None:
        each = listed([f"{v} {n:,}" for v, n in trial.people.items()])
        expected = listed([f"{e:,.0f}" for e in split.expected])
        often = by_luck(split.p)
        advice = (
            "Find out where people are lost before you trust it; if the split was meant, "
            "register it with its shares."
            if split.status == "block"
            else "Watch it."
        )
        notes.append(
            Note(
                f"Uneven split: {each}, where {expected} were expected; luck does that {often}. "
                f"{advice}",
                "warning",
            )
        )
    if health.allocation_changed:
        notes.append(
            Note(
                "The share of each variant changed between days, more than luck explains.",
                "warning",
            )
        )
    if trial.mixed:
        share = share_words(health.contamination or 0.0)
        level: Literal["info", "warning"] = "warning" if health.too_contaminated else "info"
        notes.append(
            Note(
                f"{counted(trial.mixed, 'person', 'people')} ({share}) saw several variants and "
                "are left out.",
                level,
            )
        )
    if health.exposure_logging_differs:
        notes.append(
            Note(
                f"Active in the day before they first saw it: {logged(trial, 'before')}. Nobody "
                "knows beforehand what they will see, so the variants record it at different "
                "moments.",
                "warning",
            )
        )
    if trial.silence_differs:
        notes.append(
            Note(
                f"Did nothing at all from then on: {logged(trial, 'silent')}. Either a variant "
                "records people who never saw it, or it sends them away at once.",
                "warning",
            )
        )
    if trial.by_day:
        notes.append(
            Note("The split may change between days here, so it is not checked against a plan.")
        )
    return notes


def logged(trial: Trial, what: Literal["before", "silent"]) -> str:
    """`control 12 % and treatment 31 %`."""
    shares = [
        f"{row.variant} {share_words(getattr(row, what) / max(1, trial.people[row.variant]))}"
        for row in trial.logging
    ]
    return listed(shares)


def heads_table(trial: Trial) -> Table:
    """People per variant against the plan, and nothing else."""
    columns = (
        Column("variant", "Variant"),
        Column("people", "People", "count"),
        Column("expected", "Planned", "count"),
    )
    rows = tuple(
        (v, n, round(e))
        for (v, n), e in zip(trial.people.items(), trial.split.expected, strict=True)
    )
    return Table("Split", columns, rows)


# --- tables and chart ---------------------------------------------------------------------------


def arms_table(
    trial: Trial,
    roles: Mapping[Outcome, Role],
    sums: Mapping[Outcome, Mapping[str, Side]],
) -> Table:
    """Each variant: people, the main metric, and revenue where it is known."""
    main = next(iter(roles))
    money = next((o for o in roles if o.name == "revenue" and o is not main), None)
    columns = [
        Column("variant", "Variant"),
        Column("people", "People", "count"),
        Column("share", "Of all", "share"),
    ]
    if main.kind != "ratio":
        columns.append(
            Column("with", "Ordered" if main.name == ORDERED.name else "With any", "count")
        )
    did = {v: whole(sums[main][v]) for v in trial.variants}
    columns.append(Column("value", main.label, main.unit))
    if money:
        columns.append(Column("revenue", money.label, money.unit))
    in_all = sum(trial.people.values())
    rows = []
    for v, people in trial.people.items():
        row: list[Value] = [v, people, people / in_all if in_all else None]
        if main.kind != "ratio":
            row.append(did[v].n if main.kind == "quantile" else did[v].positives)
        row.append(value_of(main, sums[main][v]))
        if money:
            row.append(value_of(money, sums[money][v]))
        rows.append(tuple(row))
    return Table("Variants", tuple(columns), tuple(rows))


def value_of(outcome: Outcome, side: Side) -> float | None:
    """A variant's value: mean, share, ratio or quantile, scaled as it is shown."""
    if isinstance(side, QuantileSums):
        return outcome.scale * side.value
    m = whole(side)
    if outcome.kind == "quantile":
        return None
    if outcome.kind == "ratio":
        if m.mean is None or not m.x_mean:
            return None
        return outcome.scale * m.mean / m.x_mean
    return None if m.mean is None else outcome.scale * m.mean


ROLE_WORDS: dict[Role, str] = {"main": "main", "second": "also", "guardrail": "guardrail"}


def findings_table(trial: Trial, findings: Mapping[str, Sequence[Finding]], currency: str) -> Table:
    """Every metric of every treatment: both values, lift with interval, what it means."""
    many = len(trial.treatments) > 1
    columns = [
        *([Column("variant", "Variant")] if many else []),
        Column("metric", "Metric"),
        Column("role", "Role"),
        Column("control", trial.control),
        Column("treatment", "Variant's" if many else trial.treatments[0]),
        Column("lift", "Lift", "change"),
        Column("low", "From", "change"),
        Column("high", "To", "change"),
        Column("finding", "Finding"),
    ]
    rows: list[tuple[Value, ...]] = []
    for treatment in trial.treatments:
        for f in findings[treatment]:
            c = f.comparison
            head: list[Value] = [*([treatment] if many else []), f.outcome.label]
            head.append(ROLE_WORDS[f.role])
            if isinstance(c, Unknown):
                rows.append((*head, None, None, None, None, None, CAUSES[c.reason]))
                continue
            values = (shown(f.outcome, v, currency) for v in (c.control, c.treatment))
            rows.append((*head, *values, *gains(c, f.outcome), finding_words(f, c, currency)))
    return Table("Metrics, with 95 % intervals", tuple(columns), tuple(rows))


def finding_words(finding: Finding, c: Comparison, currency: str) -> str:
    """What the interval says of a metric; the interval itself where no lift is told."""
    if finding.guardrail and finding.guardrail.guardrail.margin > 0:
        text = GUARDRAILS[finding.guardrail.status]
    else:
        text = {"better": "better", "worse": "worse", "unclear": "can't tell"}[c.finding]
    if gains(c, finding.outcome)[0] is None:
        text += f" (difference {natural(finding.outcome, c, currency)})"
    return text


def natural(outcome: Outcome, c: Comparison, currency: str) -> str:
    """The interval of the difference in the metric's own unit."""
    unit: Unit = "points" if outcome.unit == "share" else outcome.unit
    low, high = (number_words(e * outcome.scale, unit, currency) for e in (c.low, c.high))
    return f"{low} to {high}"


def forest(trial: Trial, findings: Mapping[str, Sequence[Finding]]) -> list[Part]:
    """Lift with interval of every metric; none where no lift is known."""
    outcomes = [f.outcome for f in findings[trial.treatments[0]]]
    ends = {t: [gains(f.comparison, f.outcome) for f in findings[t]] for t in trial.treatments}
    known = [i for i in range(len(outcomes)) if any(e[i][0] is not None for e in ends.values())]
    if not known:
        return []
    series = [
        Series(t, *(tuple(e[i][side] for i in known) for side in range(3))) for t, e in ends.items()
    ]
    labels = tuple(outcomes[i].label for i in known)
    return [
        Chart(
            f"{trial.name}: lift over {trial.control}, with 95 % intervals",
            "interval",
            labels,
            tuple(series),
            "change",
            y_label="Lift",
        )
    ]


def gains(c: Comparison | Unknown, outcome: Outcome) -> tuple[Number, Number, Number]:
    """Lift, low and high as they are; None where hidden.

    A score's zero is nobody's zero (NPS runs from -100): per cent of it would mean nothing.
    """
    if isinstance(c, Unknown) or outcome.unit == "score":
        return None, None, None
    return c.lift, c.lift_low, c.lift_high


#: What the first follow-ups are called on buttons.
LABELS = ("Segments", "Days", "How computed")


def follow_ups(trial: Trial, main: Outcome) -> tuple[str, ...]:
    """Further into it."""
    name = said_name(trial.name)
    asked = [f"ab {name} by device", f"ab {name} days", f"ab {name} as sql"]
    if main.name == ORDERED.name:
        asked.append(f"ab {name} metric revenue")
    return (*asked, f"kpis {between(trial.start, trial.until).words}")


# --- list, segments, days -----------------------------------------------------------------------


def overview(ctx: Context) -> Result:
    """All experiments: those that are registered and not begun, then the latest first."""
    plans = registered(ctx)
    known = sightings(ctx, none_is_fine=bool(plans))
    seen = {folded(name) for name in known}
    waiting = sorted(n for n, r in plans.items() if r.plan and folded(n) not in seen)
    rows: list[tuple[Value, ...]] = [
        (n, None, 0, None, None, None, None, plan_words(plans[n], ctx)) for n in waiting
    ]
    uneven = []
    order = sorted(known.values(), key=lambda s: s.name)
    order.sort(key=lambda s: s.first, reverse=True)
    for s in order:
        plan = registered_as(s.name, ctx)
        split, names = split_seen(s, plan.plan)
        uneven += [s.name] if split.status == "block" else []
        first, last = (local_date(at, ctx.zone) for at in (s.first, s.last))
        words = {"ok": "as planned", "warn": "doubtful", "block": "uneven"}[split.status]
        rows.append(
            (
                s.name, ", ".join(names), sum(s.people.values()), first, last,
                (last - first).days + 1, words, plan_words(plan, ctx),
            )
        )  # fmt: skip
    columns = (
        Column("experiment", "Experiment"),
        Column("variants", "Variants"),
        Column("people", "People", "count"),
        Column("first", "First exposure", "date"),
        Column("last", "Last exposure", "date"),
        Column("days", "Days", "count"),
        Column("split", "Split"),
        Column("plan", "Plan"),
    )
    latest = order[0].name if order else waiting[0]
    headline = f"{counted(len(rows), 'experiment')}; {latest} is the latest."
    if uneven:
        headline = f"{headline[:-1]}. The split of {listed(uneven)} is uneven: not to be trusted."
    return Result(
        "Experiments",
        headline,
        (Table("Experiments", columns, tuple(rows)),),
        tuple(f"ab {said_name(s.name)}" for s in order[:3]) or ("ab-plan mde 10%",),
        mark=", ".join(f"{row[0]} {row[6] or 'waiting'}" for row in rows),
    )


def split_seen(seen: Sighting, plan: Plan | None) -> tuple[Split, list[str]]:
    """The head counts against the plan, and the variants, the control first."""
    control = control_of(list(seen.people), plan)
    names = [control, *(v for v in seen.people if v != control)]
    planned = dict(plan.split) if plan and {v for v, _ in plan.split} == set(names) else {}
    shares = [planned[v] for v in names] if planned else None
    return split_check([seen.people[v] for v in names], shares), names


def plan_words(known: Registered, ctx: Context) -> str:
    """`day 12 of 28`, `ended 9 Oct 2026`, `from 1 Nov 2026`, `stopped 4 Oct 2026`, or `none`."""
    if known.stopped:
        return f"stopped {date_words(known.stopped)}"
    plan = known.plan
    if plan is None:
        return "none"
    if ctx.today > plan.end:
        return f"ended {date_words(plan.end)}"
    if ctx.today < plan.start:
        return f"from {date_words(plan.start)}"
    return f"day {(ctx.today - plan.start).days + 1} of {plan.days}"


def segments(trial: Trial, main: Outcome, by: Dimension, ctx: Context) -> Result:
    """The main metric within each segment, the largest first: to explore, not to decide."""
    found = moments_by(trial, [main], ctx, by)[main]
    heads = {
        k: [found[v].get(k, Moments(0)).n for v in trial.variants]
        for k in {k for v in trial.variants for k in found[v]}
    }
    kept = [k for k, counts in heads.items() if k is not None and sum(counts) >= SMALLEST_SEGMENT]
    kept = sorted(kept, key=lambda k: (-sum(heads[k]), str(k)))[:MOST_SEGMENTS]
    if not kept:
        raise NotEnoughDataError(
            f"No {by.label.lower()} has {SMALLEST_SEGMENT} people in {trial.name}.",
            hint=f"Ask `ab {said_name(trial.name)}` for all together.",
        )
    splits = split_by_segment({str(k): heads[k] for k in kept}, trial.shares)
    notes = [*health_notes(trial), *segment_notes(by, heads, kept, splits)]
    name = title(trial, f" by {by.label.lower()}")
    more = (f"ab {said_name(trial.name)}", f"ab {said_name(trial.name)} days")
    if trial.split.status == "block":
        worst = min(splits, key=lambda k: 1.0 if splits[k].p is None else splits[k].p or 0.0)
        headline = f"{trial.name} by {by.label.lower()}: the split is most uneven in {worst}."
        parts: tuple[Part, ...] = (*notes, split_table(trial, by, heads, kept))
        return Result(name, headline, parts, more, mark=f"uneven {worst}")
    rows: list[SegmentRow] = []
    for k in kept:
        control, *others = (found[v].get(k, Moments(0)) for v in trial.variants)
        for t, treated in zip(trial.treatments, others, strict=True):
            rows.append((k, t, compared(main, control, treated, trial.regime(t).critical(ALPHA))))
    adjusted = benjamini_hochberg([1.0 if isinstance(c, Unknown) else c.look_p for *_, c in rows])
    out = [
        f"{k}{f' ({t})' if len(trial.treatments) > 1 else ''}"
        for (k, t, _), p in zip(rows, adjusted, strict=True)
        if p < ALPHA
    ]
    what = f"{listed(out)} {'stands' if len(out) == 1 else 'stand'} out" if out else (
        f"no {by.label.lower()} stands out"
    )  # fmt: skip
    headline = (
        f"{trial.name} by {by.label.lower()}: {what} in {lower(main.label)}, corrected for their "
        "number; explore only."
    )
    notes.append(
        Note(
            "Explore only: of many segments some stand out by luck. What stands out here, "
            "corrected for their number, deserves an experiment of its own."
        )
    )
    table = segment_table(trial, main, by, rows, adjusted, ctx.currency)
    parts = (*notes, table, *segment_forest(trial, main, by, rows))
    mark = f"{listed(out) if out else 'none'}; {'over' if over(trial) else 'running'}"
    return Result(name, headline, parts, more, mark=mark)


#: A segment, a treatment, and its main metric against the control within the segment.
SegmentRow = tuple[Value, str, Comparison | Unknown]


def segment_notes(
    by: Dimension,
    heads: Mapping[Value, Sequence[int]],
    kept: Sequence[Value],
    splits: Mapping[str, Split],
) -> list[Part]:
    """Uneven splits within segments, and who is not shown."""
    notes: list[Part] = [
        Note(f"The split within {name} is uneven: don't trust it.", "warning")
        for name, split in splits.items()
        if split.status == "block"
    ]
    unknown = sum(heads.get(None, ()))
    rest = sum(sum(counts) for k, counts in heads.items() if k is not None and k not in kept)
    each = [f"{counted(unknown, 'person', 'people')} of unknown {by.label.lower()}"] * bool(unknown)
    each += [f"{counted(rest, 'person', 'people')} in smaller segments"] * bool(rest)
    return notes + ([Note(f"Not shown: {listed(each)}.")] if each else [])


def split_table(
    trial: Trial, by: Dimension, heads: Mapping[Value, Sequence[int]], kept: Sequence[Value]
) -> Table:
    """People per segment and variant."""
    columns = (
        Column("segment", by.label),
        *(Column(f"people_{i}", v, "count") for i, v in enumerate(trial.variants)),
    )
    return Table(f"Split by {by.label.lower()}", columns, tuple((k, *heads[k]) for k in kept))


def segment_table(
    trial: Trial,
    main: Outcome,
    by: Dimension,
    rows: Sequence[SegmentRow],
    adjusted: Sequence[float],
    currency: str,
) -> Table:
    """A row per segment and treatment."""
    many = len(trial.treatments) > 1
    columns = (
        Column("segment", by.label),
        *([Column("variant", "Variant")] if many else []),
        Column("people", "People", "count"),
        Column("control", trial.control),
        Column("treatment", "Variant's" if many else trial.treatments[0]),
        Column("lift", "Lift", "change"),
        Column("low", "From", "change"),
        Column("high", "To", "change"),
        Column("finding", "Finding"),
    )
    cells: list[tuple[Value, ...]] = []
    for (k, t, c), p in zip(rows, adjusted, strict=True):
        head: list[Value] = [k, *([t] if many else [])]
        if isinstance(c, Unknown):
            cells.append((*head, None, None, None, None, None, None, CAUSES[c.reason]))
            continue
        values = (shown(main, c.control, currency), shown(main, c.treatment, currency))
        word = ("better" if c.z > 0 else "worse") if p < ALPHA else "can't tell"
        cells.append((*head, c.control_n + c.treatment_n, *values, *gains(c, main), word))
    heading = f"{main.label} by {by.label.lower()}, with 95 % intervals"
    return Table(heading, columns, tuple(cells))


def segment_forest(
    trial: Trial, main: Outcome, by: Dimension, rows: Sequence[SegmentRow]
) -> list[Part]:
    """Lift with interval of every segment in which it is known."""
    known = list(dict.fromkeys(k for k, _, c in rows if gains(c, main)[0] is not None))
    if not known:
        return []
    found = {(k, t): gains(c, main) for k, t, c in rows}
    series = tuple(
        Series(t, *(tuple(found[k, t][end] for k in known) for end in range(3)))
        for t in trial.treatments
    )
    heading = f"{trial.name}: lift in {lower(main.label)} by {by.label.lower()}"
    labels = tuple(str(k) for k in known)
    return [Chart(heading, "interval", labels, series, "change", y_label="Lift")]


def day_by_day(trial: Trial, main: Outcome, spans: Spans, ctx: Context) -> Result:
    """People and the main metric by day of first exposure, and the lift as it came together."""
    notes = health_notes(trial)
    days = [trial.start + n * DAY for n in range(trial.days)]
    heads = [
        Column("day", "First exposed", "date"),
        *(Column(f"people_{i}", f"{v}, people", "count") for i, v in enumerate(trial.variants)),
    ]
    if trial.split.status == "block":
        rows: list[tuple[Value, ...]] = [
            (d, *(trial.counts[v].get(d, 0) for v in trial.variants)) for d in days
        ]
        text = f"{trial.name} by day: not valid, so only the head counts are shown."
        table = Table("People by day of first exposure", tuple(heads), tuple(rows))
        more: tuple[str, ...] = (f"ab {said_name(trial.name)}",)
        parts: tuple[Part, ...] = (*notes, table)
        return Result(title(trial, " by day"), text, parts, more, mark=str(trial.until))
    # what the verdict reads, so that both come from one snapshot
    found = moments_by(trial, list(roles_of(trial, main, spans, ctx.catalog)), ctx)[main]
    running = {v: Moments(0) for v in trial.variants}
    cells: list[tuple[Value, ...]] = []
    lifts: dict[str, list[Number]] = {t: [] for t in trial.treatments}
    for d in days:
        today = {v: found[v].get(d, Moments(0)) for v in trial.variants}
        running = {v: running[v] + today[v] for v in trial.variants}
        for t in trial.treatments:
            c = compared(main, running[trial.control], running[t], SINGLE_LOOK)
            lifts[t].append(gains(c, main)[0])
        cells.append(
            (
                d,
                *(today[v].n for v in trial.variants),
                *(value_of(main, today[v]) for v in trial.variants),
                *(lifts[t][-1] for t in trial.treatments),
            )
        )
    columns = (
        *heads,
        *(Column(f"value_{i}", v, main.unit) for i, v in enumerate(trial.variants)),
        *(
            Column(f"lift_{i}", f"Lift so far{f', {t}' if len(lifts) > 1 else ''}", "change")
            for i, t in enumerate(trial.treatments)
        ),
    )
    for t in trial.treatments:
        fresh = novelty_words(trial, main, found, t)
        which = f"{t}: " if len(trial.treatments) > 1 else ""
        same = "The first week's effect and the later one do not differ beyond what luck explains."
        if fresh or trial.days > FIRST_DAY:
            notes.append(Note(which + (fresh or same)))
    notes.append(
        Note("Single days and running lifts swing by luck: the verdict is the only one to act on.")
    )
    table = Table(f"{main.label} by day of first exposure", columns, tuple(cells))
    chart = day_chart(trial, main, days, lifts)
    last = {t: values[-1] for t, values in lifts.items() if values[-1] is not None}
    told = listed([f"{signed(v)}{f' ({t})' if len(lifts) > 1 else ''}" for t, v in last.items()])
    headline = f"{trial.name} by day: {counted(trial.days, 'day')}, " + (
        f"a lift of {told} in {lower(main.label)} so far." if last else "no lift can be told yet."
    )
    more = (f"ab {said_name(trial.name)}", f"ab {said_name(trial.name)} by device")
    parts = (*notes, *chart, table)
    return Result(title(trial, " by day"), headline, parts, more, mark=str(trial.until))


def day_chart(
    trial: Trial, main: Outcome, days: Sequence[dt.date], lifts: Mapping[str, Sequence[Number]]
) -> list[Part]:
    """The running lift; none where it is never known."""
    if not any(v is not None for values in lifts.values() for v in values):
        return []
    series = tuple(Series(t, tuple(values)) for t, values in lifts.items())
    heading = f"{trial.name}: lift in {lower(main.label)}, people exposed up to each day"
    return [Chart(heading, "line", tuple(days), series, "change", y_label="Lift", x_unit="date")]
