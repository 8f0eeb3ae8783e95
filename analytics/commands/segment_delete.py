"""segment delete: forget a saved segment."""

from dataclasses import dataclass

from analytics.command import Command, Context, says
from analytics.errors import UserError
from analytics.result import Note, Result
from analytics.saved import find_saved, memory_of
from storage.segments import drop_segment


@dataclass(frozen=True, kw_only=True)
class SegmentDelete(Command):
    """Forget a saved segment; its owner may, and an admin."""

    group = "People"
    examples = ("segment delete loyal",)
    writes = True

    name: str = says(positional=True, help="which", unit="segment")

    def run(self, ctx: Context) -> Result:
        """Forget it, and say how to have it again."""
        state = memory_of(ctx)
        segment = find_saved(ctx, self.name)
        if segment.owner != ctx.asker.name and not ctx.asker.rights.is_admin:
            raise UserError(
                f"Segment {segment.name} is somebody else's.",
                hint="Its owner can delete it, or an admin.",
            )
        drop_segment(state, segment.name)
        return Result(
            f"Deleted segment {segment.name}",
            f"Segment {segment.name} is forgotten: questions that name it will be refused.",
            (Note(f"It came from `{segment.question}`: save it again from there."),),
            ("segments",),
        )
