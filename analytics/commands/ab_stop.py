"""ab-stop: end an experiment before its planned end."""

from dataclasses import dataclass

from analytics.catalog import folded
from analytics.command import Command, Context, says
from analytics.errors import UnknownNameError
from analytics.period import DAY
from analytics.plans import keep, memory, registered, registered_as
from analytics.result import Note, Result
from analytics.trials import said_name, sightings
from analytics.words import date_words


@dataclass(frozen=True, kw_only=True)
class AbStop(Command):
    """End an experiment before its planned end.

    Its answers stay as they were this morning: what comes later does not count. One that has not
    begun is forgotten. Stopping does not make a verdict: what was undecided stays undecided.
    """

    examples = ("ab-stop checkout_v2",)
    group = "Experiments"
    writes = True

    experiment: str = says(help="the experiment's name", positional=True)

    def run(self, ctx: Context) -> Result:
        """Keep the day, or forget a plan that has not begun."""
        kept = memory(ctx)
        seen = sightings(ctx, none_is_fine=True)
        names = sorted({*seen, *registered(ctx)})
        name = next((n for n in names if folded(n) == folded(self.experiment)), None)
        if name is None:
            raise UnknownNameError("experiment", self.experiment, names)
        known = registered_as(name, ctx)
        if known.stopped is not None:
            text = f"{name} was stopped on {date_words(known.stopped)} already."
            return Result(f"Experiment {name} stopped", text, (Note("Nothing was changed."),))
        in_file = any(p.name == name for p in ctx.catalog.plans)
        if known.plan and known.plan.start > ctx.today and name not in seen and not in_file:
            kept.drop(name)
            text = f"{name} is forgotten: it had not begun."
            return Result(f"Experiment {name} forgotten", text, (Note("Nobody was exposed."),))
        keep(ctx, name, None if in_file else known.plan, ctx.today)
        until = date_words(ctx.today - DAY)
        return Result(
            f"Experiment {name} stopped",
            f"{name} is stopped: what people do after {until} does not count.",
            (Note("Switch it off where people are dealt their variants, too: I can't do that."),),
            (f"ab {said_name(name)}", "ab list"),
        )
