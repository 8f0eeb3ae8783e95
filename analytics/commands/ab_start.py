"""ab-start: register an experiment before it begins."""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from analytics.catalog import Limit, Plan, folded
from analytics.command import Command, Context, says
from analytics.errors import NotUnderstoodError, UserError
from analytics.measure import local_date
from analytics.outcomes import named_outcome
from analytics.period import DAY
from analytics.plans import fault_of, keep, memory, registered_as, with_names
from analytics.result import Column, Note, Part, Result, Table, Value
from analytics.scope import in_quotes
from analytics.trials import Sighting, lower, read_sightings, said_name
from analytics.words import counted, date_words, listed, share_words
from storage.schema import exposures


class PlanError(UserError):
    """The experiment can't be registered so."""

    code = "bad_plan"


@dataclass(frozen=True, kw_only=True)
class AbStart(Command):
    """Register an experiment before it begins.

    What is fixed beforehand can't be chosen by its result: from when to when it runs, what it is
    judged by, the smallest lift that matters, each variant's share, and what must not get worse
    by how much. A plan can be said anew until its first day. `ab plan` says how long it takes.
    """

    examples = (
        "ab-start new_page end:2031-12-23 metric:revenue mde:3%",
        'ab-start new_page days 28 split:"control=90,treatment=10" guardrails:"returns=5%"',
        "ab-start new_page start:2031-12-01 end:2031-12-28 adjusted",
    )
    group = "Experiments"
    writes = True

    experiment: str = says(help="the experiment's name, as the exposures call it", positional=True)
    end: str | None = says(None, help="its last day, such as 2026-12-23")
    days: int | None = says(
        None, help="or how many days it runs; whole weeks are best", unit="days", low=7, high=400
    )
    start: str | None = says(None, help="its first day; otherwise today")
    metric: str | None = says(
        None, help="what to judge by, such as revenue; otherwise people who ordered"
    )
    mde: float | None = says(
        None, help="the smallest lift that matters", unit="share", low=0.001, high=10
    )
    split: str | None = says(
        None, help='each variant\'s share, such as "control=90,treatment=10"; otherwise equal'
    )
    control: str | None = says(None, help="the variant to compare with; otherwise by its name")
    guardrails: str | None = says(
        None,
        help='what must not get worse, and by how much at most: "returns=5%,revenue=2%"',
        words=("guardrail",),
    )
    allowing: Literal["raw", "adjusted"] = says(
        "raw", help="`adjusted` allows for what people did in the 28 days before"
    )
    strata: str | None = says(
        None, help="compare people of one day (`day`) or one value of a dimension (`device`)"
    )

    def run(self, ctx: Context) -> Result:
        """Check it, keep it, and say it back."""
        seen = sighting(self.experiment, ctx)
        name = seen.name if seen else self.experiment
        plan = with_names(plan_of(self, name, ctx.today), ctx.catalog)
        fault = fault_of(plan)
        if fault:
            raise PlanError(f"{name} can't be registered so: {fault}.", hint="Say it anew.")
        refuse_if_begun(name, plan, ctx)
        keep(ctx, name, plan)
        label = named_outcome(plan.metric, ctx.catalog).label
        return Result(
            f"Experiment {name} registered",
            f"{name} is registered: {date_words(plan.start)} to {date_words(plan.end)}, "
            f"{counted(plan.days, 'day')}, judged by {lower(label)}.",
            (*notes(plan, seen, ctx), plan_table(plan, label, ctx)),
            (f"ab {said_name(name)}", ask_plan(self), "ab list"),
        )


def sighting(said: str, ctx: Context) -> Sighting | None:
    """The experiment's exposures, if there are any already."""
    names = ctx.store.column(sa.select(exposures.c.experiment).distinct())
    name = next((n for n in sorted(names) if folded(n) == folded(said)), None)
    if name is None:
        return None
    return read_sightings(ctx, exposures.c.experiment == name, sa.literal_column("0"))[name]


def plan_of(said: AbStart, name: str, today: dt.date) -> Plan:
    """The plan as said. Raises NotUnderstoodError for what can't be read."""
    start = day_of(said.start, "start") if said.start else today
    if (said.end is None) == (said.days is None):
        what = "an end" if said.end is None else "one end, not its last day and its days"
        raise NotUnderstoodError(
            f"An experiment needs {what}.", hint="Say `end:2026-12-23` or `days 28`."
        )
    end = day_of(said.end, "end") if said.end else start + ((said.days or 0) - 1) * DAY
    if end < start:
        raise PlanError(f"{name} would end before it starts.", hint="Say a later end.")
    if end < today:
        raise PlanError(
            f"{date_words(end)} is over: a plan is made before it ends.", hint="Say a later end."
        )
    return Plan(
        name,
        start,
        end,
        metric=said.metric or "",
        mde=said.mde,
        control=said.control or "",
        split=shares_of(said.split),
        guardrails=tuple(
            Limit(metric, margin) for metric, margin in pairs_of(said.guardrails, "guardrails")
        ),
        adjusted=said.allowing == "adjusted",
        strata=said.strata or "",
    )


def day_of(said: str, what: str) -> dt.date:
    """A day as `2026-12-23`."""
    try:
        return dt.date.fromisoformat(said.strip())
    except ValueError as error:
        raise NotUnderstoodError(
            f"The {what} “{said[:40]}” is not a day.", hint=f"Say `{what}:2026-12-23`."
        ) from error


def shares_of(said: str | None) -> tuple[tuple[str, float], ...]:
    """Each variant's share of the whole; equal ones (`50/50`) need no names."""
    if said is None or re.fullmatch(r"(\d+)(?:/\1)+", said.replace(" ", "")):
        return ()
    found = pairs_of(said, "split")
    whole = sum(share for _, share in found)
    if whole <= 0 or any(share <= 0 for _, share in found):
        raise PlanError("Every variant needs a share above zero.", hint='Say `split:"a=90,b=10"`.')
    return tuple((name, round(share / whole, 12)) for name, share in found)


def pairs_of(said: str | None, what: str) -> list[tuple[str, float]]:
    """`a=90,b=10` or `returns 5%`: names with numbers, per cent as shares."""
    found: list[tuple[str, float]] = []
    for piece in (said or "").split(","):
        if not piece.strip():
            continue
        match = re.fullmatch(r"\s*(.+?)\s*[=: ]\s*(\d+(?:\.\d+)?)\s*(%?)\s*", piece)
        if match is None:
            example = "a=90,b=10" if what == "split" else "returns=5%,revenue=2%"
            raise NotUnderstoodError(
                f"I can't read the {what} “{piece.strip()[:40]}”.",
                hint=f'Say `{what}:"{example}"`.',
            )
        value = float(match[2]) / (100 if match[3] else 1)
        if what == "guardrails" and not 0 < value < 1:
            raise PlanError(
                f"A guardrail's limit is a loss between 0 and 100 %, not {match[2]}{match[3]}.",
                hint='Say `guardrails:"returns=5%"`.',
            )
        found.append((match[1], value))
    return found


def refuse_if_begun(name: str, plan: Plan, ctx: Context) -> None:
    """A plan that has begun is not changed: neither the file's nor one said in chat."""
    memory(ctx)
    if any(folded(p.name) == folded(name) and p != plan for p in ctx.catalog.plans):
        raise PlanError(
            f"{name} is registered in config.yaml.", hint="Change it there, before it begins."
        )
    old = registered_as(name, ctx)
    if old.plan is None or old.plan == plan:
        return
    if old.stopped is None and old.plan.start <= ctx.today:
        raise PlanError(
            f"{name} is registered by {old.by} until {date_words(old.plan.end)} and has begun: a "
            "plan that is changed along the way proves nothing.",
            hint=f"Say `ab stop {said_name(name)}` to end it, and then start anew.",
        )
    if old.stopped is not None and plan.start < old.stopped:
        raise PlanError(
            f"{name} was stopped on {date_words(old.stopped)}: it can start anew from then on.",
            hint=f"Say `start:{old.stopped.isoformat()}`.",
        )


def notes(plan: Plan, seen: Sighting | None, ctx: Context) -> list[Part]:
    """What to mind about the plan."""
    found: list[Part] = []
    first = local_date(seen.first, ctx.zone) if seen else None
    if first is not None and first < plan.start:
        found.append(
            Note(
                f"People were exposed since {date_words(first)} already: only those who come "
                "first within the plan's days count.",
                "warning",
            )
        )
    if plan.start < ctx.today:
        found.append(
            Note(
                f"It is registered {counted((ctx.today - plan.start).days, 'day')} after its "
                "start: whoever has seen results by now could choose by them.",
                "warning",
            )
        )
    planned = [v for v, _ in plan.split]
    if seen and planned and set(planned) != set(seen.people):
        found.append(
            Note(
                f"The exposures know {listed(sorted(seen.people))}, the split names "
                f"{listed(planned)}: they must be the same.",
                "warning",
            )
        )
    if plan.days % 7:
        found.append(Note("Whole weeks are fairer: each weekday counts as often."))
    return found


def plan_table(plan: Plan, label: str, ctx: Context) -> Table:
    """The plan, line by line."""
    shares = [f"{v} {share_words(share)}" for v, share in plan.split]
    rows: list[tuple[Value, ...]] = [
        ("First day", date_words(plan.start)),
        ("Last day", date_words(plan.end)),
        ("Judged by", label),
        ("Smallest lift that matters", share_words(plan.mde) if plan.mde else "not said"),
        ("Split", listed(shares) if shares else "equal"),
        ("Control", plan.control or "by its name"),
    ]
    for limit in plan.guardrails:
        what = lower(named_outcome(limit.metric, ctx.catalog).label)
        rows.append((f"Limit of {what}", f"at most {share_words(limit.margin)} worse"))
    if plan.adjusted:
        rows.append(("Allows for", "what people did in the 28 days before"))
    if plan.strata:
        rows.append(("Compared within", f"the same {plan.strata}"))
    return Table("Plan", (Column("what", "What"), Column("said", "Planned")), tuple(rows))


def ask_plan(said: AbStart) -> str:
    """How long it would take."""
    metric = f" metric {in_quotes(said.metric)}" if said.metric else ""
    return f"ab-plan mde {100 * (said.mde or 0.1):g}%{metric}"
