"""segments: the saved ones, with how many people are in each today."""

from dataclasses import dataclass

import sqlalchemy as sa

from analytics.command import Command, Context
from analytics.result import Column, Note, Result, Table
from analytics.saved import Rule, memory_of, people_of
from analytics.words import counted, listed
from storage.segments import saved_segments
from storage.sql import icount

COLUMNS = (
    Column("name", "Segment"),
    Column("people", "People today", "count"),
    Column("then", "When saved", "count"),
    Column("what", "Who they are"),
    Column("period", "Days that tell"),
    Column("owner", "Saved by"),
    Column("saved_on", "Saved on", "date"),
)


@dataclass(frozen=True, kw_only=True)
class Segments(Command):
    """The saved segments, and how many people are in each today."""

    group = "People"
    examples = ("segments",)

    def run(self, ctx: Context) -> Result:
        """One row per segment, counted anew."""
        found = saved_segments(memory_of(ctx))
        if not found:
            return Result(
                "Saved segments",
                "No segment is saved yet.",
                (Note("Ask `segment`, then keep a group: `segment save loyal cluster 1`."),),
                ("segment",),
            )
        rows = []
        for segment in found:
            rule = Rule.from_json(segment.rule)
            people = people_of(ctx, rule).subquery("people")
            today = int(ctx.store.row(sa.select(icount().label("n")).select_from(people))["n"])
            what = rule.label or segment.question.partition(" where ")[2]
            where = f", {rule.where.words()}" if rule.where else ""
            rows.append(
                (
                    segment.name, today, segment.people, f"{what}{where}", rule.period,
                    segment.owner, segment.saved_on,
                )
            )  # fmt: skip
        sizes = [f"{name} ({today:,})" for name, today, *_ in rows]
        first = found[0].name
        return Result(
            "Saved segments",
            f"{counted(len(rows), 'saved segment')}: {listed(sizes)}.",
            (Table("Saved segments", COLUMNS, tuple(rows)),),
            (f"kpis for segment {first}", f"portrait segment {first}"),
        )
