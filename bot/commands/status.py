"""status: what data there are, through when, and what runs."""

from dataclasses import dataclass
from typing import ClassVar

from analytics.command import Command, Context
from analytics.errors import NotEnoughDataError
from analytics.result import Column, Figure, Note, Result, Table
from analytics.words import counted, words
from bot import VERSION
from storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Status(Command):
    """What data I have, through when they run, and which version answers."""

    examples: ClassVar = ("status",)
    aliases: ClassVar = ("health", "version")
    group: ClassVar = "About me"

    def run(self, ctx: Context) -> Result:
        """Rows per entity and source, the newest row, engine and version."""
        counts = ctx.store.counts()
        through = ctx.store.data_through()
        if through is None:
            raise NotEnoughDataError(
                "The store is empty.",
                hint="Load data with `python -m bot load orders FILE`, or run `make demo`.",
            )
        now = ctx.now.replace(tzinfo=None)
        age_days = (now - through).total_seconds() / 86400
        columns = (
            Column("entity", "Entity"),
            Column("rows", "Rows", "count"),
            Column("simulated", "Of these simulated", "count"),
            Column("sources", "From"),
        )
        sources = ctx.store.sources()
        rows = tuple(
            (
                entity,
                n,
                sum(s.rows for s in sources if s.entity == entity and s.simulated),
                "; ".join(s.description for s in sources if s.entity == entity) or None,
            )
            for entity, n in counts.items()
            if n
        )
        total = sum(counts.values())
        notes = tuple(
            Note(f"Simulated: {text}.")
            for text in dict.fromkeys(s.description for s in sources if s.simulated)
        )
        return Result(
            "Status",
            f"{counted(total, 'row')} through {words(through, 'instant')}, "
            f"{words(age_days, 'days')} before my clock.",
            (
                Figure("Data through", through, "instant"),
                Figure("My clock", now, "instant"),
                Figure("Engine", ctx.store.engine.version, "text"),
                Figure("Daybreak", VERSION, "text"),
                *totals_of(ctx.store),
                Table("Rows", columns, rows),
                *notes,
            ),
            ("schema", "kpis last 30 days"),
        )


def totals_of(store: Store) -> tuple[Figure, ...]:
    """Whether totals per day can be read; nothing where none are kept."""
    if store.engine.keeper is None:
        return ()
    later = "made with the next load, or by `python -m bot totals`"
    said = "follow the rows" if store.totals() else later
    return (Figure("Totals per day", said, "text"),)
