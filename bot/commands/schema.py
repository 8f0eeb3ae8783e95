"""schema: the entities, their columns, and the dimensions and metrics that can be said."""

from dataclasses import dataclass
from typing import ClassVar

from analytics.command import Command, Context
from analytics.result import Column, Note, Result, Table
from analytics.words import counted
from storage.schema import ENTITIES

LAID = (Column("column", "Column"), Column("is", "Is"), Column("of", "Of"))


@dataclass(frozen=True, kw_only=True)
class Schema(Command):
    """Which entities and columns I read, and the dimensions that you can say."""

    examples: ClassVar = ("schema",)
    aliases: ClassVar = ("tables", "columns")
    group: ClassVar = "About me"

    def run(self, ctx: Context) -> Result:
        """Every column with its type and meaning."""
        counts = ctx.store.counts()
        columns = (
            Column("entity", "Entity"),
            Column("column", "Column"),
            Column("type", "Type"),
            Column("meaning", "Meaning"),
        )
        rows = tuple(
            (str(table.name), str(column.name), type_name(str(column.type)), column.comment)
            for table in ENTITIES
            for column in table.columns
        )
        dimensions = (Column("dimension", "Dimension"), Column("meaning", "Meaning"))
        laid = ctx.store.engine.laid_said()
        filled = [name for name, n in counts.items() if n]
        return Result(
            "Schema",
            f"{counted(len(ENTITIES), 'entity', 'entities')}, {len(filled)} of them filled; "
            f"split or narrow by {len(ctx.catalog.dimensions)} dimensions.",
            (
                Table(
                    "Dimensions",
                    dimensions,
                    tuple((d.name, d.help) for d in ctx.catalog.dimensions),
                ),
                Table("Columns", columns, rows),
                *([Table("Read from your tables", LAID, laid)] if laid else []),
                Note("Instants are UTC; money is in minor units; ids are pseudonymous."),
            ),
            ("status", "help"),
        )


def type_name(sql_type: str) -> str:
    """A column's type in plain words."""
    return {"DATETIME": "instant", "BIGINT": "whole number", "BOOLEAN": "yes or no"}.get(
        sql_type, sql_type.lower()
    )
