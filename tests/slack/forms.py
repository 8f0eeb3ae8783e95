"""What Slack hands back for a form: its first values, unless something else was filled in."""

from collections.abc import Mapping
from typing import Any

from bot.slack.modals import VALUE

JsonObject = dict[str, Any]


def first_value(element: JsonObject) -> JsonObject:
    """The state of an input that nobody touched."""
    state: JsonObject = {"type": element["type"]}
    match element["type"]:
        case "static_select":
            return state | {"selected_option": element.get("initial_option")}
        case "conversations_select":
            return state | {"selected_conversation": element.get("initial_conversation")}
        case _:
            return state | {"value": element.get("initial_value")}


def sent_in(view: JsonObject, changes: Mapping[str, str | None] | None = None) -> JsonObject:
    """The view of a view_submission; `changes` are texts by block_id, None clears."""
    values: JsonObject = {}
    for block in view["blocks"]:
        if block["type"] == "input":
            values[block["block_id"]] = {VALUE: first_value(block["element"])}
    for block, text in (changes or {}).items():
        state = values[block][VALUE]
        match state["type"]:
            case "static_select":
                state["selected_option"] = {"value": text} if text else None
            case "conversations_select":
                state["selected_conversation"] = text
            case _:
                state["value"] = text
    return {"id": "V1", "hash": "1.a", **view, "state": {"values": values}}
