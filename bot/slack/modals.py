"""Forms: a command's fields as a modal, and what was filled in as a question again.

A form holds the text of each field, as it would be said; sent in, each text is read by the same
readers that read a typed question, so what is wrong is told at its field.
"""

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, get_origin

from analytics.catalog import Catalog, Dimension
from analytics.command import COMMANDS, Command, Saying
from analytics.errors import NotUnderstoodError, UserError, either
from analytics.habits import Conditions
from analytics.period import Period, parse_period
from analytics.scope import Filters
from bot.commands.help import Help, rank
from bot.ids import is_direct
from bot.parse import (
    FORMS,
    MAX_CHARACTERS,
    VERB_WORDS,
    Request,
    choices,
    filters_said,
    fold,
    kinds,
    parse,
    read_part,
    read_value,
    unparse,
    verbs,
)
from bot.slack import text as safe
from bot.slack.blocks import JsonObject, mrkdwn, plain, rich_lines
from bot.slack.sendable import (
    OPTION_TEXT,
    OPTION_VALUE,
    SELECT_OPTIONS,
    VIEW_TITLE,
)

#: The form's callback_id, and the action_id of its choice of a command.
FORM, PICK = "form", "pick"
VALUE = "value"
#: Behind the name of a period's field: the text that goes before the choice.
OWN = "own"
FORM_BLOCK, PLACE_BLOCK = "show-as", "place"
ANSWER = "answer"
#: The characters of an error that are read beneath a field.
ERROR_TEXT = 300

PERIODS = (
    "today",
    "yesterday",
    "last 7 days",
    "last 14 days",
    "last 30 days",
    "last 90 days",
    "last 365 days",
    "this week",
    "last week",
    "this month",
    "last month",
    "this quarter",
    "last quarter",
    "this year",
    "last year",
    "all time",
)
SHOWN_AS = {
    ANSWER: "An answer",
    "chart": "Charts only",
    "table": "Tables only",
    "csv": "Files (CSV)",
    "sql": "The SQL behind it, for me alone",
}
#: What a field is called where its name is too short for a label.
LABELS = {"by": "Split by", "k": "How many (k)", "to": "Post to", "vs": "Versus"}
UNITS = {"share": " (%)", "days": " (days)"}
CODE = re.compile(r"`([^`]*)`")


@dataclass(frozen=True)
class Origin:
    """Where a form was opened, and so where its answer goes; no channel: a direct message."""

    channel: str = ""
    thread_ts: str = ""
    hidden: bool = False
    response_url: str = ""


NOWHERE = Origin()


@dataclass(frozen=True)
class Filled:
    """A form as it was sent in, or is to be shown: the text of each field by its name.

    A period's own text stands under its name and `/own`.
    """

    verb: str = ""
    said: Mapping[str, str] = field(default_factory=dict)
    form: str = ANSWER
    origin: Origin = NOWHERE


class FieldsError(Exception):
    """What is wrong, by the block at which it is to be shown."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        """`errors` by block_id."""
        super().__init__("; ".join(errors.values()))
        self.errors = dict(errors)


# A question -> what its form holds.


def form_for(question: str, origin: Origin, today: dt.date, catalog: Catalog) -> Filled:
    """The form of a question, empty where it is one said wrongly; else the choice of a command.

    `help` is the choice too, and `help rules` the form of `rules`.
    """
    try:
        request = parse(question, today, catalog)
    except UserError:
        words = question.split()[:VERB_WORDS]
        called = (verbs().get(fold("".join(words[:n]))) for n in range(len(words), 0, -1))
        meant = next(filter(None, called), None)
        return Filled(meant.verb() if meant else "", origin=origin)
    if isinstance(request.command, Help):
        topic = verbs().get(fold(request.command.topic or ""))
        return Filled(topic.verb() if topic else "", origin=origin)
    return filled_by(request, origin)


def filled_by(request: Request, origin: Origin = NOWHERE) -> Filled:
    """The form that asks a request as it stands."""
    return Filled(request.command.verb(), said_in(request.command), request.form, origin)


def said_in(command: Command) -> dict[str, str]:
    """The text of each field, as its form shows it."""
    return {
        name: text_of(getattr(command, name), saying)
        for name, (_, saying) in command.sayings().items()
    }


def text_of(value: Any, saying: Saying) -> str:
    """One value: a share as the per cent that read back to it exactly, nothing for None."""
    match value:
        case None:
            return ""
        case Period():
            return value.words
        case Filters():
            return filters_said(value)
        case Conditions():
            return value.said()
        case tuple():
            return ", ".join(value)
        case Dimension():
            return value.name
        case int() | float():
            return decimals(Decimal(repr(value)).scaleb(2 if saying.unit == "share" else 0))
        case _:
            return str(value)


def decimals(number: Decimal) -> str:
    """Without an exponent or needless noughts."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


# The form.


def modal_of(filled: Filled, catalog: Catalog, notice: str = "") -> JsonObject:
    """The view: the choice of a command, and below it the fields of the one that was chosen.

    `notice` stands before the fields.
    """
    command = COMMANDS.get(filled.verb)
    view: JsonObject = {
        "type": "modal",
        "callback_id": FORM,
        "title": plain("Ask Daybreak"[:VIEW_TITLE]),
        "close": plain("Cancel"),
        "private_metadata": metadata_of(filled),
        "blocks": [picker(command)],
    }
    if notice:
        view["blocks"].append(rich_lines([notice]))
    if command is None:
        return view
    view["submit"] = plain("Ask")
    for name, (annotation, saying) in command.sayings().items():
        view["blocks"] += field_blocks(command, name, annotation, saying, filled.said, catalog)
    view["blocks"].append(shown_as(filled.form))
    if not filled.origin.hidden and not is_direct(filled.origin.channel):
        view["blocks"].append(place(filled.origin))
    return view


def metadata_of(filled: Filled) -> str:
    """What the form must remember."""
    return json.dumps({"verb": filled.verb, **dataclasses.asdict(filled.origin)})


def picker(chosen: type[Command] | None) -> JsonObject:
    """The choice of a command, by group; beside it, what the chosen one answers."""
    by_group: dict[str, list[JsonObject]] = {}
    ordered = sorted(COMMANDS.values(), key=rank)
    for command in ordered:
        by_group.setdefault(command.group, []).append(command_option(command))
    select: JsonObject = {
        "type": "static_select",
        "action_id": PICK,
        "placeholder": plain("Choose a question"),
        "option_groups": [
            {"label": plain(group), "options": options[:SELECT_OPTIONS]}
            for group, options in by_group.items()
        ],
    }
    said = "What do you want to know?"
    if chosen is not None:
        select["initial_option"] = command_option(chosen)
        said = f"*{chosen.verb()}*\n{safe.value(chosen.summary(), 300)}"
    return {"type": "section", "block_id": PICK, "text": mrkdwn(said), "accessory": select}


def command_option(command: type[Command]) -> JsonObject:
    """A command to choose."""
    return option(command.verb(), f"{command.verb()}: {command.summary().rstrip('.')}")


def option(word: str, label: str = "") -> JsonObject:
    """One choice of a select."""
    shown = safe.cut(safe.shown(label or word), OPTION_TEXT)
    return {"text": plain(shown), "value": word}


def block_of(command: type[Command], name: str) -> str:
    """A field's block_id, the verb in it: Slack keeps what was typed while the id stays."""
    return f"{command.verb()}/{name}"


def field_blocks(
    command: type[Command],
    name: str,
    annotation: Any,
    saying: Saying,
    said: Mapping[str, str],
    catalog: Catalog,
) -> list[JsonObject]:
    """One field as an input; a period is a choice and a text."""
    text = said.get(name, default_text(saying))
    block = block_of(command, name)
    label = LABELS.get(name, name.replace("_", " ").capitalize()) + UNITS.get(saying.unit, "")
    optional = saying.default is not dataclasses.MISSING
    kind = kinds(annotation)[0]
    if kind is Period:
        own = said.get(f"{name}/{OWN}", "")
        return [
            entry(block, label, saying.help, select_of([(p, p) for p in PERIODS], text), optional),
            entry(
                f"{block}/{OWN}",
                f"Or another {name.replace('_', ' ')}",
                "Such as 2026-10, Q3, since 1 March, 2026-10-01..2026-10-31",
                text_input(own),
                True,
            ),
        ]
    hint = saying.help
    element = text_input(text)
    if kind is Filters:
        dimensions = either([d.name for d in catalog.dimensions])
        hint = f"{hint.rstrip(' .,')}, such as country:France and category!=bags. By {dimensions}"
    elif kind in (int, float):
        element = number_input(text, saying, whole=kind is int)
        hint += bounds_in_words(element)
    elif pairs := select_pairs(kind, annotation, saying, catalog):
        element = select_of(pairs, text)
    return [entry(block, label, hint, element, optional)]


def default_text(saying: Saying) -> str:
    """What a field holds where nothing was said."""
    missing = saying.default is dataclasses.MISSING
    return "" if missing else text_of(saying.default, saying)


def select_pairs(
    kind: Any, annotation: Any, saying: Saying, catalog: Catalog
) -> list[tuple[str, str]]:
    """The words to choose among, with their labels; none where they are too many, or any text."""
    pairs: list[tuple[str, str]] = []
    if kind is Dimension:
        pairs = [(d.name, d.label) for d in catalog.dimensions]
    elif words := choices(annotation):
        pairs = [(word, word) for word in words]
    elif saying.unit == "metric" and kind is str:
        pairs = [(m.name, m.label) for m in catalog.metrics]
    return pairs if len(pairs) < SELECT_OPTIONS else []


def entry(block: str, label: str, hint: str, element: JsonObject, optional: bool) -> JsonObject:
    """An input with its label and what it is for."""
    return {
        "type": "input",
        "block_id": block,
        "label": plain(label),
        "hint": plain(safe.cut(hint[:1].upper() + hint[1:], 500)),
        "optional": optional,
        "element": element | {"action_id": VALUE},
    }


def select_of(pairs: Sequence[tuple[str, str]], text: str) -> JsonObject:
    """A choice; what was said is among it."""
    known = dict(pairs)
    if text and text not in known and len(text) <= OPTION_VALUE:
        known = {text: text} | known
    select: JsonObject = {
        "type": "static_select",
        "placeholder": plain("Not set"),
        "options": [option(word, label) for word, label in known.items()][:SELECT_OPTIONS],
    }
    return select | ({"initial_option": option(text, known[text])} if text in known else {})


def text_input(text: str) -> JsonObject:
    """A line to type in."""
    element: JsonObject = {"type": "plain_text_input", "max_length": MAX_CHARACTERS}
    return element | ({"initial_value": text[:MAX_CHARACTERS]} if safe.shown(text) else {})


def number_input(text: str, saying: Saying, *, whole: bool) -> JsonObject:
    """A number within the field's bounds; shares in per cent."""
    element: JsonObject = {
        "type": "number_input",
        "is_decimal_allowed": not whole or saying.unit == "share",
    }
    scale = 2 if saying.unit == "share" else 0
    bounds = {"min_value": saying.low, "max_value": saying.high}
    element |= {
        key: decimals(Decimal(repr(bound)).scaleb(scale))
        for key, bound in bounds.items()
        if bound is not None
    }
    return element | ({"initial_value": text} if text else {})


def bounds_in_words(element: JsonObject) -> str:
    """` (2 to 12)`, as far as there are bounds."""
    low, high = element.get("min_value"), element.get("max_value")
    if low and high:
        return f" ({low} to {high})"
    return f" ({low} or more)" if low else f" ({high} at most)" if high else ""


def shown_as(form: str) -> JsonObject:
    """In which form to answer."""
    pairs = [(word, SHOWN_AS[word]) for word in (ANSWER, *FORMS)]
    return entry(FORM_BLOCK, "Show as", "How the answer is shown", select_of(pairs, form), True)


def place(origin: Origin) -> JsonObject:
    """In which channel to answer."""
    select: JsonObject = {
        "type": "conversations_select",
        "placeholder": plain("A direct message to me"),
        "response_url_enabled": True,
        "filter": {
            "include": ["public", "private"],
            "exclude_external_shared_channels": True,
            "exclude_bot_users": True,
        },
    }
    if origin.channel:
        select["initial_conversation"] = origin.channel
    hint = "Without a channel I answer you in a direct message"
    return entry(PLACE_BLOCK, "Answer in", hint, select, True)


# What was sent in -> a question.


def filled_in(view: JsonObject) -> Filled:
    """What a form holds that Slack hands back, with the place that was chosen."""
    kept = json.loads(view["private_metadata"])
    verb = kept.pop("verb")
    origin = Origin(**kept)
    said: dict[str, str] = {}
    form, state = ANSWER, view["state"]["values"]
    for block, actions in state.items():
        content = actions.get(VALUE, {})
        text = value_in(content)
        if block == FORM_BLOCK:
            form = text or ANSWER
        elif block == PLACE_BLOCK:
            channel = content.get("selected_conversation") or ""
            if channel != origin.channel:
                origin = Origin(channel)
        elif block.startswith(f"{verb}/"):
            said[block.removeprefix(f"{verb}/")] = text
    return Filled(verb, said, form, origin)


def value_in(content: JsonObject) -> str:
    """The text of one input."""
    chosen = content.get("selected_option") or {}
    return (chosen.get("value") or content.get("value") or "").strip()


def moved_to(filled: Filled, verb: str) -> Filled:
    """The form of another command; a period and filters that were said go with it."""
    old, new = COMMANDS.get(filled.verb), COMMANDS.get(verb)
    if new is None:
        return Filled(origin=filled.origin)
    kept: dict[str, str] = {}
    if old is not None:
        for name, (annotation, saying) in old.sayings().items():
            same = name in new.sayings() and kinds(annotation)[0] in (Period, Filters)
            own = filled.said.get(f"{name}/{OWN}", "")
            text = own or filled.said.get(name, "")
            if same and text and text != default_text(saying):
                kept[name] = text
    return Filled(verb, kept, filled.form, filled.origin)


def question_of(filled: Filled, today: dt.date, catalog: Catalog) -> str:
    """The question that a form asks. Raises FieldsError.

    A period is asked as it was said: its days are read where the data are.
    """
    command = COMMANDS[filled.verb]
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, (annotation, saying) in command.sayings().items():
        own = filled.said.get(f"{name}/{OWN}", "")
        text = own or filled.said.get(name, "")
        if not text:
            if saying.default is not dataclasses.MISSING:
                text = default_text(saying)
            else:
                errors[block_of(command, name)] = f"I need to know: {saying.help}."
        if not text:
            continue
        try:
            values[name] = read_field(command, name, annotation, saying, text, today, catalog)
        except UserError as error:
            errors[block_of(command, name) + (f"/{OWN}" if own else "")] = told(error)
    if errors:
        raise FieldsError(errors)
    suffix = "" if filled.form == ANSWER else f" as {filled.form}"
    try:
        asked = command(**values)
        for words in (as_said(asked, filled), asked):
            text = unparse(words) + suffix
            if parse(text, today, catalog).command == asked:
                return text
        raise NotUnderstoodError("I can't ask that in one sentence.", hint="Say it simpler.")
    except UserError as error:
        raise FieldsError({fitting(error, command, filled): told(error)}) from error


def read_field(
    command: type[Command],
    name: str,
    annotation: Any,
    saying: Saying,
    text: str,
    today: dt.date,
    catalog: Catalog,
) -> Any:
    """The value of one field. Raises UserError."""
    kind = kinds(annotation)[0]
    if kind is Period:
        return parse_period(text, today)
    if kind in (Filters, Conditions):
        bare = re.sub(r"^\s*where\s+", "", text, flags=re.IGNORECASE)
        return only(name, read_part(command, f"where {bare}", today, catalog))
    if get_origin(kind) is tuple:
        return only(name, read_part(command, text, today, catalog))
    if kind is Dimension:
        return only(name, read_part(command, f"by {text}", today, catalog))
    if saying.unit == "metric":
        return catalog.find_metric(text).name
    if saying.unit == "share":
        read_value(name, annotation, saying, f"{text.removesuffix('%')}%")
        return float(Decimal(text.removesuffix("%").strip()).scaleb(-2))
    return read_value(name, annotation, saying, text)


def only(name: str, found: Mapping[str, Any]) -> Any:
    """The one field that a text may set. Raises NotUnderstoodError."""
    strangers = [other for other in found if other != name]
    if strangers or name not in found:
        said = strangers[0].replace("_", " ") if strangers else name
        raise NotUnderstoodError(f"There is a field of its own for the {said}.")
    return found[name]


def as_said(asked: Command, filled: Filled) -> Command:
    """The command with each period in the words that were typed."""
    typed: dict[str, Any] = {}
    for name, value in vars(asked).items():
        own = filled.said.get(f"{name}/{OWN}", "")
        if isinstance(value, Period) and own:
            typed[name] = dataclasses.replace(value, words=" ".join(own.split()))
    return dataclasses.replace(asked, **typed)


def fitting(error: UserError, command: type[Command], filled: Filled) -> str:
    """The block of the field that an error speaks of; of all, where it speaks of none."""
    message = error.message.casefold()
    for named in ("name", "text"):
        for name in command.sayings():
            word = name.replace("_", "-") if named == "name" else filled.said.get(name, "")
            if word and re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", message):
                return block_of(command, name)
    return FORM_BLOCK


def told(error: UserError) -> str:
    """An error as it stands beneath a field: nothing is code, and how to say it is plain."""
    said = error.message if error.hint.startswith("Say `") else str(error)
    return safe.cut(CODE.sub(r"“\1”", safe.shown(said)), ERROR_TEXT)
