"""ab-snapshot: read the day's snapshot of every running experiment."""

import contextlib
from dataclasses import dataclass

import sqlalchemy as sa

from analytics.catalog import folded
from analytics.command import Command, Context, says
from analytics.errors import NotEnoughDataError, UnknownNameError, UserError
from analytics.measure import local_date, spans_of
from analytics.period import DAY
from analytics.plans import memory, registered_as
from analytics.result import Column, Note, Part, Result, Table, Value
from analytics.trials import (
    Sighting,
    main_outcome,
    moments_by,
    on_snapshot,
    read_sightings,
    read_trial,
    require,
    said_name,
    sighting_of,
    taken_at,
    trial_of,
)
from analytics.words import counted
from storage.experiments import KEPT_DAYS


@dataclass(frozen=True, kw_only=True)
class AbSnapshot(Command):
    """Read the day's snapshot of every running experiment, by day and by segment.

    The bot does it each morning by itself; whoever asks before that takes it. All answers of the
    day come from it. Snapshots are kept for 35 days.
    """

    examples = ("ab-snapshot", "ab-snapshot checkout_v2")
    group = "Experiments"
    writes = True

    experiment: str | None = says(
        None, help="the experiment's name; otherwise all that run", positional=True
    )

    def run(self, ctx: Context) -> Result:
        """Read each, keep it, and let go of old ones."""
        memory(ctx).purge_snapshots(before=ctx.today - KEPT_DAYS * DAY)
        known = read_sightings(ctx, sa.true(), sa.literal_column("0"))
        if self.experiment is None:
            chosen = [name for name, s in sorted(known.items()) if runs(s, ctx)]
        else:
            chosen = [n for n in known if folded(n) == folded(self.experiment)]
            if not chosen:
                raise UnknownNameError("experiment", self.experiment, sorted(known))
        if not chosen:
            raise NotEnoughDataError("No experiment runs today.", hint="Say `ab list`.")
        rows, notes = [], []
        for name in chosen:
            try:
                rows.append(taken(name, ctx))
            except UserError as error:
                notes.append(Note(f"{name}: {error.message}", "warning"))
        columns = (
            Column("experiment", "Experiment"),
            Column("until", "Up to the end of", "date"),
            Column("people", "People", "count"),
            Column("at", "Taken at"),
        )
        table: list[Part] = [Table("Snapshots", columns, tuple(rows))] if rows else []
        return Result(
            "Snapshots of experiments",
            f"{counted(len(rows), 'experiment')} read: today's answers come from these snapshots.",
            (*notes, *table),
            tuple(f"ab {said_name(name)}" for name in chosen[:3]),
        )


def runs(seen: Sighting, ctx: Context) -> bool:
    """Whether answers about it still change: exposed lately, or its end was yesterday at most."""
    known = registered_as(seen.name, ctx)
    if known.stopped is not None:
        return known.stopped == ctx.today
    if known.plan is not None:
        return known.plan.start < ctx.today <= known.plan.end + 2 * DAY
    return local_date(seen.last, ctx.zone) >= ctx.today - 2 * DAY


def taken(name: str, ctx: Context) -> tuple[Value, ...]:
    """Read all that a day's questions ask for: the verdict's sums, and those of each segment."""
    ctx = on_snapshot(name, ctx)
    spans = spans_of(ctx.store, ctx.zone)
    seen = sighting_of(name, ctx)
    trial = trial_of(seen, ctx, None)
    main = main_outcome(None, trial.plan, ctx.catalog)
    require(main, spans)
    read_trial(trial, main, spans, ctx)
    if main.kind != "quantile":
        for by in ctx.catalog.dimensions:
            with contextlib.suppress(UserError):  # not known before the exposure
                moments_by(trial_of(seen, ctx, by), [main], ctx, by)
    at = taken_at(ctx)
    told = f"{at:%H:%M}" if at else "not kept: nothing of yesterday is in the store yet"
    return (name, trial.until - DAY, sum(trial.people.values()), told)
