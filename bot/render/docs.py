"""Commands and settings -> docs/commands.md and docs/configuration.md."""

from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from analytics.catalog import Catalog, Dimension
from analytics.command import COMMANDS, Command, Saying
from analytics.period import Period
from analytics.scope import Filters
from bot.config import Settings
from bot.parse import choices, field_words, kinds

MADE = "<!-- Made by `make docs` from the code: change it there. -->"


def commands_page(catalog: Catalog) -> str:
    """Every command: its meaning, what may be said, and examples."""
    lines = [
        "# Commands",
        "",
        MADE,
        "",
        'Ask in Slack (`/ops …`), in the terminal (`python -m bot ask "…"`) or at its prompt '
        "(`python -m bot`). After the verb, clauses come in any order.",
        "",
    ]
    for command in sorted(COMMANDS.values(), key=lambda c: (c.group, c.verb())):
        lines += _command_lines(command, catalog)
    lines += ["## Dimensions", "", "| say | meaning | also |", "|---|---|---|"]
    lines += [f"| {d.name} | {d.help} | {', '.join(d.aliases)} |" for d in catalog.dimensions]
    lines += [
        "",
        "## Periods",
        "",
        "`today`, `yesterday`, `last 30 days`, `30d`, `last 4 weeks`, `last week`, `this month`, "
        "`2011-10`, `2011-Q3`, `Q3`, `2011-W40`, `October`, `October 2011`, `5 November`, "
        "`since 1 March`, `2011-10-01..2011-10-31`, `from 1 October to 3 October`, `all time`. "
        "Days are those of the configured zone; `last N …` ends yesterday.",
        "",
        "## Forms",
        "",
        "`as chart`, `as table`, `as csv` and `as sql` (the queries behind every number).",
        "",
    ]
    return "\n".join(lines)


def _command_lines(command: type[Command], catalog: Catalog) -> list[str]:
    about = "\n".join(line.strip() for line in (command.__doc__ or "").strip().splitlines())
    lines = [f"## {command.verb()}", "", about, ""]
    if command.aliases:
        lines += [f"Also: {', '.join(f'`{a}`' for a in command.aliases)}.", ""]
    fields = command.sayings()
    if fields:
        lines += ["| say | meaning | if not said |", "|---|---|---|"]
        for name, (annotation, saying) in fields.items():
            said = _said(name, annotation, saying, catalog).replace("|", "\\|")
            lines.append(f"| {said} | {saying.help} | {_default(saying)} |")
        lines.append("")
    lines += ["```text", *command.examples, "```", ""]
    return lines


def _said(name: str, annotation: Any, saying: Saying, catalog: Catalog) -> str:
    kind = kinds(annotation)[0]
    if kind is Period:
        return "a period"
    if kind is Filters:
        return "`where dimension:value`, `for dimension value`"
    if kind is Dimension:
        return "`by " + " | ".join(d.name for d in catalog.dimensions) + "`"
    options = choices(annotation)
    if options:
        return "`" + ("by " if saying.after_by else "") + " | ".join(options) + "`"
    if saying.positional:
        return f"*{name.replace('_', ' ')}*"
    bounds = [f"{b:g}" for b in (saying.low, saying.high) if b is not None]
    takes = "text" if kind is str else " to ".join(bounds) or "number"
    return f"`{field_words(name, saying)[0]}` *{takes}*"


def _default(saying: Saying) -> str:
    if type(saying.default).__name__ == "_MISSING_TYPE":
        return "must be said"
    if saying.default is None or isinstance(saying.default, Filters):
        return ""
    return f"`{saying.default}`"


def configuration_page() -> str:
    """Every setting: its type, default and meaning."""
    lines = [
        "# Configuration",
        "",
        MADE,
        "",
        "`config.yaml`, or the file named by `--config`. Unknown keys are refused. Secrets come "
        "from the environment: `SLACK_BOT_TOKEN`, `SLACK_APP_TOKEN`, `SLACK_SIGNING_SECRET`, "
        "`DAYBREAK_STORE_URL`, `DAYBREAK_STATE_URL` (where they hold a password) and "
        "`DAYBREAK_PSEUDONYM_KEY`; each may be a file, named by the variable with `_FILE` "
        "behind it, that only its owner can read.",
        "",
        "| setting | type | default | meaning |",
        "|---|---|---|---|",
    ]
    lines += _setting_lines(Settings, "")
    return "\n".join(lines) + "\n"


def _setting_lines(model: type[BaseModel], prefix: str) -> list[str]:
    lines = []
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            lines += _setting_lines(annotation, f"{prefix}{name}.")
        else:
            meaning = (field.description or "").replace("|", "\\|")
            lines.append(
                f"| `{prefix}{name}` | {_type(annotation)} | {_value(field)} | {meaning} |"
            )
    return lines


def _type(annotation: Any) -> str:
    options = get_args(annotation)
    if options and all(isinstance(o, str) for o in options):
        return " or ".join(f"`{o}`" for o in options)
    return {int: "whole number", float: "number", bool: "true or false", str: "text"}.get(
        annotation, "list" if "tuple" in str(annotation) else "map"
    )


def _value(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return ""
    if default in ("", (), {}):
        return "empty"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"
