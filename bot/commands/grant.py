"""grant: give a right to a person, a user group or a channel."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from analytics.command import Command, Context, says
from analytics.result import Note, Result
from bot.ids import split
from bot.rights import grant_of, in_words, only_admins, state_of, who_is
from storage.grants import give


@dataclass(frozen=True, kw_only=True)
class Grant(Command):
    """Give a right: a command's single people and changes, or those of every command.

    `people` are answers about single persons, `writes` what changes my memory, `all` both; `admin`
    may give rights as well. Only admins can. A grant to a channel holds for who asks there, and
    what is about single persons still comes to the asker alone.
    """

    examples: ClassVar = ("grant people to @U012ABC", "grant churn to #C012ABC",
                          "grant writes to @S012ABC")  # fmt: skip
    group: ClassVar = "About me"
    writes: ClassVar = True

    what: Literal["people", "writes", "all", "admin"] | None = says(
        None, help="which right; without, both people and writes of the command"
    )
    command: str | None = says(None, positional=True, help="only on this command")
    to: str = says(
        words=("to",), help="a @person, a @group or a #channel, chosen from Slack's list, or its id"
    )

    def run(self, ctx: Context) -> Result:
        """Keep the grant."""
        only_admins(ctx)
        grant = grant_of(self.what, self.command, self.to)
        is_new = give(state_of(ctx), ctx.asker.team, grant, by=split(ctx.asker.name)[1])
        had = "" if is_new else ", as it was before"
        return Result(
            "Granted",
            f"{who_is(grant)} may have {in_words(grant)}{had}.",
            (Note("It holds from the next question on. Take it back with `revoke`."),),
            ("grants",),
        )
