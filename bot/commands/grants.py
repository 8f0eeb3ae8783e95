"""grants: what may I do; for admins, what everybody was granted."""

from dataclasses import dataclass
from typing import ClassVar

from analytics.command import Command, Context
from analytics.result import Column, Note, Result, Table
from analytics.words import counted
from bot.rights import in_words, state_of, who_is
from storage.grants import Grant, grants_of

BASE = "Every full member of the workspace may ask for figures about many."


@dataclass(frozen=True, kw_only=True)
class Grants(Command):
    """What you may do, and through which grant; for admins, all that was granted."""

    examples: ClassVar = ("grants",)
    aliases: ClassVar = ("rights", "permissions")
    group: ClassVar = "About me"

    def run(self, ctx: Context) -> Result:
        """The grants that hold for the asker, or all of them."""
        rights = ctx.asker.rights
        if rights.is_admin:
            given = grants_of(state_of(ctx), ctx.asker.team)
            some = f"{counted(len(given), 'grant')} to others" if given else "no grant to others"
            return Result(
                "Grants",
                f"You are an admin: you may do everything. There is {some}."
                if len(given) < 2
                else f"You are an admin: you may do everything. There are {some}.",
                (*table("Granted", given), Note(BASE)),
                ("help grant", "help revoke"),
            )
        held = rights.grants
        more = f", and {counted(len(held), 'grant')} more" if held else ", and nothing more"
        return Result(
            "What you may do",
            f"You may ask for figures about many{more}.",
            (*table("You also have", held), Note(f"{BASE} {rights.hint}")),
            ("help",),
        )


def table(title: str, grants: tuple[Grant, ...]) -> tuple[Table, ...]:
    """One row for each grant; nothing where there is none."""
    columns = (
        Column("right", "Right"),
        Column("to", "Given to"),
        Column("by", "By"),
        Column("at", "Since", "instant"),
    )
    rows = tuple(
        (
            in_words(g),
            who_is(g),
            g.granted_by or None,
            g.granted_at.replace(tzinfo=None) if g.granted_at else None,
        )
        for g in grants
    )
    return (Table(title, columns, rows),) if rows else ()
