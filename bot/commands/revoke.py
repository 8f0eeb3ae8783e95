"""revoke: take a right back."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from analytics.command import Command, Context, says
from analytics.errors import UserError
from analytics.result import Note, Result
from bot.rights import grant_of, in_words, only_admins, state_of, who_is
from storage.grants import take


@dataclass(frozen=True, kw_only=True)
class Revoke(Command):
    """Take back a right that was granted. Only admins can.

    It is said as the grant was: `revoke people from @U012ABC`.
    """

    examples: ClassVar = ("revoke people from @U012ABC", "revoke churn from #C012ABC")
    group: ClassVar = "About me"
    writes: ClassVar = True

    what: Literal["people", "writes", "all", "admin"] | None = says(
        None, help="which right; without, both people and writes of the command"
    )
    command: str | None = says(None, positional=True, help="only on this command")
    of: str = says(
        words=("from", "of"),
        help="a @person, a @group or a #channel, chosen from Slack's list, or its id",
    )

    def run(self, ctx: Context) -> Result:
        """Forget the grant."""
        only_admins(ctx)
        grant = grant_of(self.what, self.command, self.of)
        if not take(state_of(ctx), ctx.asker.team, grant):
            raise UserError(
                f"{who_is(grant)} had not been granted {in_words(grant)}.",
                hint="`grants` lists what was granted; say it in the same words.",
            )
        return Result(
            "Taken back",
            f"{who_is(grant)} may no longer have {in_words(grant)} by this grant.",
            (Note("Other grants, to a group or a channel, may still give it."),),
            ("grants",),
        )
