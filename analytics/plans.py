"""Experiments as registered, in config.yaml or in chat, and as stopped before their time."""

import dataclasses
import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

from analytics.catalog import Catalog, Limit, Plan, folded
from analytics.command import Context
from analytics.errors import UserError
from analytics.methods.experiment.regimes import FIRST_DAY
from analytics.outcomes import ORDERED, named_outcome
from analytics.words import date_words
from storage.experiments import Experiments, Registration
from storage.state import State

#: The stratum that is no dimension: the day of the first exposure.
DAY_STRATUM = "day"


class PlanClashError(UserError):
    """One experiment is registered twice, differently."""

    code = "plan_clash"


class NoMemoryError(UserError):
    """What is to be kept has no place."""

    code = "no_memory"

    def __init__(self) -> None:
        """The terminal and Slack have one always."""
        super().__init__(
            "There is no memory to keep it in.", hint="Ask through the bot, or use config.yaml."
        )


@dataclass(frozen=True)
class Registered:
    """What is known of an experiment beforehand. `stopped` is the first day that doesn't count."""

    plan: Plan | None = None
    stopped: dt.date | None = None
    by: str = ""


def registered(ctx: Context) -> dict[str, Registered]:
    """All registered or stopped experiments by name. Raises PlanClashError."""
    found = {plan.name: Registered(plan) for plan in ctx.catalog.plans}
    names = {folded(name): name for name in found}
    for row in Experiments(ctx.state).all() if ctx.state else []:
        plan = plan_from(row.plan) if row.plan else None
        name = names.get(folded(row.name), row.name)
        planned = found[name].plan if name in found else None
        if plan and planned and dataclasses.replace(plan, name=name) != planned:
            raise PlanClashError(
                f"{name} is registered twice: in config.yaml until {date_words(planned.end)}, and "
                f"by {row.by} in chat until {date_words(plan.end)}.",
                hint=f"Take it out of config.yaml, or say `ab start {name}` as it stands there.",
            )
        found[name] = Registered(planned or plan, row.stopped, row.by)
    return found


def registered_as(name: str, ctx: Context) -> Registered:
    """How one experiment is registered; nothing known where it is not."""
    known = registered(ctx)
    by_fold = {folded(n): r for n, r in known.items()}
    found = known.get(name) or by_fold.get(folded(name)) or Registered()
    plan = dataclasses.replace(found.plan, name=name) if found.plan else None
    return dataclasses.replace(found, plan=plan)


def fault_of(plan: Plan) -> str:
    """Why a plan can't be, as the end of a sentence about it; empty where it can."""
    shares = dict(plan.split)
    if plan.days < FIRST_DAY:
        return f"an experiment needs at least {FIRST_DAY} days"
    if shares and (len(shares) < 2 or any(share <= 0 for share in shares.values())):
        return "a split needs two or more variants with shares above zero"
    if plan.control and shares and plan.control not in shares:
        return f"its control {plan.control} is not in its split"
    if plan.adjusted and plan.strata:
        return "it can be adjusted or compared within strata, not both"
    return ""


def with_names(plan: Plan, catalog: Catalog) -> Plan:
    """The plan, its metrics and dimension as the catalogue spells them.

    Raises UserError for what is unknown or can't be read per person.
    """
    outcome = named_outcome(plan.metric, catalog) if plan.metric else ORDERED
    limits = tuple(Limit(named_outcome(g.metric, catalog).name, g.margin) for g in plan.guardrails)
    strata = plan.strata
    if strata and folded(strata) != DAY_STRATUM:
        strata = catalog.find_dimension(strata).name
    return dataclasses.replace(
        plan,
        metric="" if outcome is ORDERED else outcome.name,
        guardrails=limits,
        strata=folded(strata) if folded(strata) == DAY_STRATUM else strata,
    )


def keep(ctx: Context, name: str, plan: Plan | None, stopped: dt.date | None = None) -> None:
    """Keep what was said in chat. Raises NoMemoryError."""
    text = plan_text(plan) if plan else ""
    memory(ctx).put(Registration(name, text, stopped, ctx.asker.name, ctx.today))


def memory(ctx: Context) -> Experiments:
    """Where registrations are kept. Raises NoMemoryError."""
    state: State | None = ctx.state
    if state is None:
        raise NoMemoryError
    return Experiments(state)


def plan_text(plan: Plan) -> str:
    """A plan as JSON; `plan_from` gives it back."""
    body = dataclasses.asdict(plan) | {"start": str(plan.start), "end": str(plan.end)}
    return json.dumps(body, sort_keys=True)


def plan_from(text: str) -> Plan:
    """The plan of `plan_text`."""
    body: dict[str, Any] = json.loads(text)
    return Plan(
        **body
        | {
            "start": dt.date.fromisoformat(body["start"]),
            "end": dt.date.fromisoformat(body["end"]),
            "split": tuple((name, share) for name, share in body["split"]),
            "guardrails": tuple(Limit(**g) for g in body["guardrails"]),
        }
    )
