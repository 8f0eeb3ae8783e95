"""help: what can be asked, and how."""

from dataclasses import dataclass
from typing import ClassVar

from analytics.catalog import Dimension
from analytics.command import COMMANDS, Command, Context, Saying, says
from analytics.errors import UnknownNameError
from analytics.habits import Conditions
from analytics.period import Period
from analytics.result import Column, Note, Result, Table
from analytics.scope import Filters
from bot.parse import choices, command_of, field_words, kinds

GROUPS = ("Numbers", "People", "Goods", "Experiments", "By the clock", "About me")


@dataclass(frozen=True, kw_only=True)
class Help(Command):
    """What can be asked, and how one command is said."""

    examples: ClassVar = ("help", "help rules")
    group: ClassVar = "About me"

    topic: str | None = says(None, positional=True, help="a command to explain")

    def run(self, ctx: Context) -> Result:
        """All commands, or one with its fields and examples."""
        if self.topic is None:
            return overview()
        command = command_of(self.topic)
        if command is None:
            raise UnknownNameError("command", self.topic, sorted(COMMANDS))
        return explain(command, ctx)


def overview() -> Result:
    """One row for each command, in the order of the groups."""
    ordered = sorted(COMMANDS.values(), key=rank)
    columns = (Column("command", "Command"), Column("answers", "Answers"), Column("say", "Say"))
    rows = tuple((c.verb(), c.summary().rstrip("."), c.examples[0]) for c in ordered)
    return Result(
        "What you can ask",
        f"I answer {len(rows)} kinds of question, always the same way for the same data; "
        "start with `kpis last 30 days`.",
        (
            Table("Commands", columns, rows),
            Note(
                "Add a period (`last 30 days`, `last week`, `2011-10`), narrow with "
                "`where country:France`, split with `by country`, and end with `as csv`, "
                "`as chart`, `as table` or `as sql`."
            ),
        ),
        tuple(f"help {name}" for name, *_ in rows if name != "help"),
    )


def rank(command: type[Command]) -> tuple[int, int, str]:
    """By group; in a group what is asked alone before what is done with it (`ab`, `ab-plan`)."""
    return GROUPS.index(command.group), "-" in command.verb(), command.verb()


def explain(command: type[Command], ctx: Context) -> Result:
    """One command: its fields with what they take, and examples that run."""
    columns = (Column("say", "Say"), Column("meaning", "Meaning"), Column("default", "If not said"))
    rows = tuple(
        (spelling(name, annotation, saying, ctx), saying.help, default_of(saying.default))
        for name, (annotation, saying) in command.sayings().items()
    )
    parts = (Table("You can say", columns, rows),) if rows else ()
    about = " ".join((command.__doc__ or "").split())
    return Result(f"help {command.verb()}", about, (*parts, Note(examples_note(command))),
                  command.examples)  # fmt: skip


def examples_note(command: type[Command]) -> str:
    """The examples as one sentence."""
    return "Examples: " + ", ".join(f"`{e}`" for e in command.examples) + "."


def spelling(name: str, annotation: object, saying: Saying, ctx: Context) -> str:
    """How a field is said: `by country | category`, `k <number>`, `last 30 days`."""
    kind = kinds(annotation)[0]
    options = choices(annotation)
    word = field_words(name, saying)[0]
    if kind is Period:
        return "a period, such as last 30 days"
    if kind is Filters:
        return "where <dimension>:<value>, or for <dimension> <value>"
    if kind is Conditions:
        return "where <trait> >= <number>"
    if kind is Dimension:
        return "by " + " | ".join(d.name for d in ctx.catalog.dimensions)
    if options:
        return ("by " if saying.after_by else "") + " | ".join(options)
    if saying.positional:
        return f"<{name.replace('_', ' ')}>"
    units = {"share": "share, such as 1%", "days": "days"}
    takes = "text" if kind is str else units.get(saying.unit, "number")
    return f"{word} <{takes}>"


def default_of(default: object) -> str:
    """A field's default in words."""
    if default is None or not str(default) or isinstance(default, Filters | Conditions):
        return "–"
    return "must be said" if type(default).__name__ == "_MISSING_TYPE" else str(default)
