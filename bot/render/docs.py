"""Commands and settings -> docs/commands.md and docs/configuration.md."""

import datetime as dt
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from analytics.catalog import ENTITIES, SEGMENT, SLICED, Aggregate, Catalog, Dimension
from analytics.command import COMMANDS, Command, Saying
from analytics.habits import Conditions
from analytics.period import Period
from analytics.result import Unit
from analytics.scope import Filters
from bot.commands.help import rank
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
    for command in sorted(COMMANDS.values(), key=rank):
        lines += _command_lines(command, catalog)
    lines += ["## Dimensions", "", "| say | meaning | also |", "|---|---|---|"]
    lines += [f"| {d.name} | {d.help} | {', '.join(d.aliases)} |" for d in catalog.dimensions]
    lines.append(f"| {SEGMENT.name} | {SEGMENT.help}, in `for` and `where` only |  |")
    lines += ["", "## Metrics", "", "| metric | unit | meaning | also |", "|---|---|---|---|"]
    lines += [
        f"| {m.label} (`{m.name}`) | {m.unit} | {m.help} | {', '.join(m.aliases)} |"
        for m in catalog.metrics
    ]
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
    if kind is Conditions:
        return "`where trait >= number`"
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
    if saying.default is None or isinstance(saying.default, Filters | Conditions):
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
    lines += [
        "",
        "## Metrics and dimensions of your own",
        "",
        "A row of `metrics` or `dimensions` has the fields that ours have; a row with the name of "
        "one of ours replaces it. A fault is refused at start with the row and the field.",
        "",
        "```yaml",
        OWN_ROWS,
        "```",
        "",
        "A metric is `scale` × `numerator`, or `scale` × `numerator` / `denominator`; `minimum` is "
        "the sample below which it is marked as uncertain. Units: "
        f"{', '.join(f'`{u}`' for u in get_args(Unit))}. A measure aggregates "
        f"({', '.join(f'`{a}`' for a in get_args(Aggregate))}) a `column` of an `entity`'s rows "
        "where all `where` hold; `column` may name a key of a JSON column (`properties.plan`).",
        "",
        "| entity | columns |",
        "|---|---|",
        *(f"| `{e.name}` | {', '.join(f'`{c}`' for c in e.columns)} |" for e in ENTITIES),
        "",
        "A dimension's `columns` are `table.column` or `table.attributes.key`, of the tables "
        f"{', '.join(f'`{t}`' for t in SLICED)}.",
    ]
    return "\n".join(lines) + "\n"


OWN_ROWS = """\
dimensions:
  - name: plan
    label: Plan
    help: the person's plan
    columns: [people.attributes.plan]
metrics:
  - name: searches_per_session
    label: Searches per session
    unit: number
    group: Activity
    numerator: {entity: events, aggregate: count, where: {name: search}}
    denominator: {entity: sessions, aggregate: count}
    minimum: 30
    help: Searches of the period per session."""


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
            for item in get_args(annotation):
                if isinstance(item, type) and issubclass(item, BaseModel):
                    lines += _setting_lines(item, f"{prefix}{name}[].")
    return lines


def _type(annotation: Any) -> str:
    if annotation in (dt.date, float | None):
        return "day" if annotation is dt.date else "number"
    options = get_args(annotation)
    if options and all(isinstance(o, str) for o in options):
        return " or ".join(f"`{o}`" for o in options)
    return {int: "whole number", float: "number", bool: "true or false", str: "text"}.get(
        annotation, "list" if "tuple" in str(annotation) else "map"
    )


def _value(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "must be said"
    if default in ("", (), {}, None):
        return "empty"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"
