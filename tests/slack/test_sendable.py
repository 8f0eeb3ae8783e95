"""What assert_sendable refuses, and that two other people's readings of the limits agree."""

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
import slackblocks as sb
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models import blocks as sdk
from slack_sdk.models.views import View
from slackblocks import _limits as theirs
from slackblocks.errors import InvalidUsageError

from bot.slack import sendable
from bot.slack.sendable import NotSendableError, Surface, assert_sendable, faults_of

JsonObject = dict[str, Any]


def plain(text: str) -> JsonObject:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> JsonObject:
    return {"type": "mrkdwn", "text": text}


def raw(text: str) -> JsonObject:
    return {"type": "raw_text", "text": text}


def number(value: float, text: str) -> JsonObject:
    return {"type": "raw_number", "value": value, "text": text}


def rich(text: str, **style: bool) -> JsonObject:
    inline: JsonObject = {"type": "text", "text": text}
    if style:
        inline["style"] = style
    return {
        "type": "rich_text",
        "elements": [{"type": "rich_text_section", "elements": [inline]}],
    }


def message(*blocks: JsonObject, **more: Any) -> JsonObject:
    return {"channel": "C1", "text": "Orders are up.", "blocks": list(blocks), **more}


def modal(*blocks: JsonObject, **more: Any) -> JsonObject:
    return {"type": "modal", "title": plain("Settings"), "blocks": list(blocks), **more}


def section(text: str = "ok", **more: Any) -> JsonObject:
    return {"type": "section", "text": mrkdwn(text), **more}


def button(**more: Any) -> JsonObject:
    return {"type": "button", "action_id": "go", "text": plain("Go"), "value": "v", **more}


def actions(*elements: JsonObject) -> JsonObject:
    return {"type": "actions", "elements": list(elements)}


def option(text: str = "One", value: str = "1", **more: Any) -> JsonObject:
    return {"text": plain(text), "value": value, **more}


def select(*options: JsonObject, **more: Any) -> JsonObject:
    return {"type": "static_select", "action_id": "s", "options": list(options), **more}


def table(*rows: list[JsonObject], **more: Any) -> JsonObject:
    return {"type": "table", "rows": list(rows), **more}


def data_table(*rows: list[JsonObject], **more: Any) -> JsonObject:
    return {"type": "data_table", "caption": "Segments", "rows": list(rows), **more}


def chart(kind: str = "bar", days: int = 2, series: int = 1, title: str = "Orders") -> JsonObject:
    labels = [f"d{i}" for i in range(days)]
    data = [{"label": label, "value": -1.5} for label in labels]
    return {
        "type": "data_visualization",
        "title": title,
        "chart": {
            "type": kind,
            "series": [{"name": f"s{i}", "data": list(data)} for i in range(series)],
            "axis_config": {"categories": labels, "x_label": "Day"},
        },
    }


def pie(*segments: tuple[str, float]) -> JsonObject:
    parts = [{"label": label, "value": value} for label, value in segments]
    return {
        "type": "data_visualization",
        "title": "t",
        "chart": {"type": "pie", "segments": parts},
    }


def ask(element: JsonObject, **more: Any) -> JsonObject:
    return {"type": "input", "label": plain("Days"), "element": element, **more}


def task(**more: Any) -> JsonObject:
    return {"task_id": "t1", "title": "Read orders", "status": "complete", **more}


def container(*blocks: JsonObject, **more: Any) -> JsonObject:
    return {"type": "container", "title": plain("Box"), "child_blocks": list(blocks), **more}


def with_chart(change: str, value: Any) -> JsonObject:
    """A bar chart with one thing changed in its `chart`, its axis or its first series."""
    block = chart()
    inner = block["chart"]
    for holder in (inner, inner["axis_config"], inner["series"][0], inner["series"][0]["data"][0]):
        if change in holder:
            holder[change] = value
            return message(block)
    raise KeyError(change)


FEEDBACK = {
    "type": "feedback_buttons",
    "action_id": "f",
    "positive_button": {"text": plain("Good"), "value": "+"},
    "negative_button": {"text": plain("Bad"), "value": "-"},
}
IMAGE = {"type": "image", "image_url": "https://example.com/a.png", "alt_text": "Orders by day"}
NUMBER_INPUT = {"type": "number_input", "action_id": "n", "is_decimal_allowed": False}
FILE = {"filename": "orders.png", "length": 12, "alt_txt": "Orders by day"}

GOOD: dict[str, tuple[JsonObject, Surface]] = {
    "text alone": ({"channel": "C1", "text": "Orders are up."}, "message"),
    "empty blocks": (message(), "message"),
    "nothing given is None": (message(section(), thread_ts=None, blocks=None), "message"),
    "header and fields": (
        message(
            {"type": "header", "text": plain("Morning"), "level": 2},
            {"type": "section", "fields": [mrkdwn("*Orders*\n12"), plain("x")]},
            section("Up.", accessory=button(style="primary"), expand=True),
            {"type": "divider"},
        ),
        "message",
    ),
    "context": (
        message({"type": "context", "elements": [mrkdwn("a"), plain("b"), IMAGE]}),
        "message",
    ),
    "image by file": (
        message({"type": "image", "slack_file": {"id": "F0123456789"}, "alt_text": "chart"}),
        "message",
    ),
    "image by address": (message({**IMAGE, "title": plain("orders.png")}), "message"),
    "actions": (
        message(
            actions(
                button(url="https://example.com", style="danger"),
                select(option(), option("Two", "2"), initial_option=option()),
                {"type": "overflow", "action_id": "o", "options": [option()]},
                {"type": "datepicker", "action_id": "d", "initial_date": "2026-11-25"},
            )
        ),
        "message",
    ),
    "confirm": (
        message(
            actions(
                button(
                    confirm={
                        "title": plain("Sure?"),
                        "text": mrkdwn("It goes."),
                        "confirm": plain("Yes"),
                        "deny": plain("No"),
                    }
                )
            )
        ),
        "message",
    ),
    "table": (
        message(
            table(
                [rich("Segment", bold=True), rich("Users", bold=True)],
                [raw("Loyal"), number(1204, "1,204")],
                column_settings=[None, {"align": "right", "is_wrapped": True}],
            )
        ),
        "message",
    ),
    "table at its limits": (
        message(table(*([[raw("12345")] * 20] * 100))),
        "message",
    ),
    "data table": (
        message(
            data_table([raw("a"), raw("b")], [raw("x"), number(1.5, "1.5")], page_size=10),
        ),
        "message",
    ),
    "two charts": (message(chart("line", 20, 6), pie(("a", 1), ("b", 0.5))), "message"),
    "area": (message(chart("area")), "message"),
    "markdown": (message({"type": "markdown", "text": "**x**"}), "message"),
    "rich text": (
        message(
            {
                "type": "rich_text",
                "block_id": "r",
                "elements": [
                    {
                        "type": "rich_text_section",
                        "elements": [
                            {"type": "text", "text": " "},
                            {"type": "user", "user_id": "U1"},
                            {"type": "link", "url": "mailto:a@example.com", "text": "mail"},
                            {"type": "emoji", "name": "wave"},
                        ],
                    },
                    {
                        "type": "rich_text_list",
                        "style": "bullet",
                        "indent": 1,
                        "elements": [
                            {
                                "type": "rich_text_section",
                                "elements": [{"type": "text", "text": "a"}],
                            }
                        ],
                    },
                    {
                        "type": "rich_text_preformatted",
                        "elements": [{"type": "text", "text": "select 1"}],
                        "border": 0,
                    },
                ],
            }
        ),
        "message",
    ),
    "card": (
        message(
            {"type": "card", "title": mrkdwn("Loyal"), "body": plain("b"), "actions": [button()]}
        ),
        "message",
    ),
    "carousel": (
        message({"type": "carousel", "elements": [{"type": "card", "title": mrkdwn("Loyal")}]}),
        "message",
    ),
    "container with a table": (
        message(container(section(), table([raw("a")]), is_collapsible=True)),
        "message",
    ),
    "context actions": (message({"type": "context_actions", "elements": [FEEDBACK]}), "message"),
    "plan": (
        message(
            {
                "type": "plan",
                "title": "Working",
                "tasks": [
                    task(status="pending"),
                    task(
                        task_id="t2",
                        details=rich("rows"),
                        sources=[{"type": "url", "url": "https://example.com", "text": "docs"}],
                    ),
                ],
            }
        ),
        "message",
    ),
    "task card": (message({"type": "task_card", **task(output=rich("done"))}), "message"),
    "response_url": (
        {"text": "Done", "response_type": "ephemeral", "replace_original": False},
        "message",
    ),
    "deletion": ({"delete_original": True}, "message"),
    "metadata": (
        message(metadata={"event_type": "answer", "event_payload": {"key": "k", "n": 1}}),
        "message",
    ),
    "modal": (
        modal(
            ask(NUMBER_INPUT, hint=plain("1 to 365"), optional=True, block_id="days"),
            ask(
                {
                    "type": "plain_text_input",
                    "action_id": "t",
                    "min_length": 1,
                    "max_length": 400,
                    "dispatch_action_config": {"trigger_actions_on": ["on_enter_pressed"]},
                }
            ),
            ask({"type": "radio_buttons", "action_id": "r", "options": [option()]}),
            {"type": "alert", "text": mrkdwn("Careful."), "level": "warning"},
            submit=plain("Save"),
            close=plain("Cancel"),
            callback_id="settings",
            private_metadata="",
            notify_on_close=True,
        ),
        "modal",
    ),
    "home": ({"type": "home", "blocks": [section(), table([raw("a")])]}, "home"),
    "file": (FILE, "file"),
    "CSV needs no alt text": ({"filename": "orders.csv", "length": 12}, "file"),
}

# name: payload, surface, path of the fault that is expected
BAD: dict[str, tuple[Any, Surface, str]] = {
    "no object": (["x"], "message", "payload"),
    "no text": ({"channel": "C1", "blocks": [section()]}, "message", "text"),
    "blank text": (message(section()) | {"text": " \n"}, "message", "text"),
    "text too long": (message() | {"text": "x" * 4_001}, "message", "text"),
    "unknown argument": (message(link_names=True), "message", "link_names"),
    "51 blocks": (message(*[{"type": "divider"}] * 51), "message", "blocks"),
    "block is no object": (message("divider"), "message", "blocks[0]"),  # type: ignore[arg-type]
    "blocks is no list": (message() | {"blocks": {"type": "divider"}}, "message", "blocks"),
    "unknown block": (message({"type": "nope"}), "message", "blocks[0].type"),
    "received block": (message({"type": "file", "external_id": "x"}), "message", "blocks[0].type"),
    "unknown key": (message({"type": "divider", "colour": "red"}), "message", "blocks[0].colour"),
    "unknown key inside": (
        message(actions(button(colour="red"))),
        "message",
        "blocks[0].elements[0].colour",
    ),
    "block_id twice": (message(section(block_id="a"), section(block_id="a")), "message", "blocks"),
    "block_id twice, once inside": (
        message(section(block_id="a"), container(section(block_id="a"))),
        "message",
        "blocks",
    ),
    "block_id too long": (message(section(block_id="x" * 256)), "message", "blocks[0].block_id"),
    "section text too long": (message(section("x" * 3_001)), "message", "blocks[0].text.text"),
    "section text empty": (message(section("")), "message", "blocks[0].text.text"),
    "section empty": (message({"type": "section"}), "message", "blocks[0]"),
    "section 11 fields": (
        message({"type": "section", "fields": [mrkdwn("x")] * 11}),
        "message",
        "blocks[0].fields",
    ),
    "field too long": (
        message({"type": "section", "fields": [mrkdwn("x" * 2_001)]}),
        "message",
        "blocks[0].fields[0].text",
    ),
    "text is a bare string": (
        message({"type": "section", "text": "x"}),
        "message",
        "blocks[0].text",
    ),
    "header too long": (
        message({"type": "header", "text": plain("x" * 151)}),
        "message",
        "blocks[0].text.text",
    ),
    "header in mrkdwn": (
        message({"type": "header", "text": mrkdwn("x")}),
        "message",
        "blocks[0].text.type",
    ),
    "header level": (
        message({"type": "header", "text": plain("x"), "level": 5}),
        "message",
        "blocks[0].level",
    ),
    "header without text": (message({"type": "header"}), "message", "blocks[0].text"),
    "image without alt text": (
        message({"type": "image", "image_url": "https://example.com/a.png"}),
        "message",
        "blocks[0].alt_text",
    ),
    "image with empty alt text": (
        message({**IMAGE, "alt_text": " "}),
        "message",
        "blocks[0].alt_text",
    ),
    "image alt text too long": (
        message({**IMAGE, "alt_text": "x" * 2_001}),
        "message",
        "blocks[0].alt_text",
    ),
    "image of nothing": (message({"type": "image", "alt_text": "x"}), "message", "blocks[0]"),
    "image of both": (
        message({**IMAGE, "slack_file": {"id": "F0123456789"}}),
        "message",
        "blocks[0]",
    ),
    "image address": (
        message({**IMAGE, "image_url": "data:image/png;base64,AAAA"}),
        "message",
        "blocks[0].image_url",
    ),
    "image address too long": (
        message({**IMAGE, "image_url": "https://example.com/" + "x" * 3_000}),
        "message",
        "blocks[0].image_url",
    ),
    "file id": (
        message({"type": "image", "alt_text": "x", "slack_file": {"id": "f1"}}),
        "message",
        "blocks[0].slack_file.id",
    ),
    "26 actions": (
        message(actions(*[button(action_id=str(i)) for i in range(26)])),
        "message",
        "blocks[0].elements",
    ),
    "no actions": (message(actions()), "message", "blocks[0].elements"),
    "action_id twice": (message(actions(button(), button())), "message", "blocks[0].elements"),
    "button text too long": (
        message(actions(button(text=plain("x" * 76)))),
        "message",
        "blocks[0].elements[0].text.text",
    ),
    "button value too long": (
        message(actions(button(value="x" * 2_001))),
        "message",
        "blocks[0].elements[0].value",
    ),
    "button style": (
        message(actions(button(style="green"))),
        "message",
        "blocks[0].elements[0].style",
    ),
    "button action_id too long": (
        message(actions(button(action_id="x" * 256))),
        "message",
        "blocks[0].elements[0].action_id",
    ),
    "confirm title too long": (
        message(
            actions(
                button(
                    confirm={
                        "title": plain("x" * 101),
                        "text": plain("t"),
                        "confirm": plain("y"),
                        "deny": plain("n"),
                    }
                )
            )
        ),
        "message",
        "blocks[0].elements[0].confirm.title.text",
    ),
    "no options": (message(actions(select())), "message", "blocks[0].elements[0].options"),
    "101 options": (
        message(actions(select(*[option(value=str(i)) for i in range(101)]))),
        "message",
        "blocks[0].elements[0].options",
    ),
    "option text too long": (
        message(actions(select(option("x" * 76)))),
        "message",
        "blocks[0].elements[0].options[0].text.text",
    ),
    "option value too long": (
        message(actions(select(option(value="x" * 151)))),
        "message",
        "blocks[0].elements[0].options[0].value",
    ),
    "initial option": (
        message(actions(select(option(), initial_option=option("Two", "2")))),
        "message",
        "blocks[0].elements[0].initial_option",
    ),
    "six in an overflow": (
        message(actions({"type": "overflow", "options": [option()] * 6})),
        "message",
        "blocks[0].elements[0].options",
    ),
    "11 checkboxes": (
        message(actions({"type": "checkboxes", "action_id": "c", "options": [option()] * 11})),
        "message",
        "blocks[0].elements[0].options",
    ),
    "placeholder too long": (
        message(actions(select(option(), placeholder=plain("x" * 151)))),
        "message",
        "blocks[0].elements[0].placeholder.text",
    ),
    "date": (
        message(actions({"type": "datepicker", "initial_date": "25.11.2026"})),
        "message",
        "blocks[0].elements[0].initial_date",
    ),
    "input among the actions": (
        message(actions(NUMBER_INPUT)),
        "message",
        "blocks[0].elements[0].type",
    ),
    "context of 11": (
        message({"type": "context", "elements": [mrkdwn("x")] * 11}),
        "message",
        "blocks[0].elements",
    ),
    "button in the context": (
        message({"type": "context", "elements": [button()]}),
        "message",
        "blocks[0].elements[0].type",
    ),
    "markdown too long in all": (
        message(*[{"type": "markdown", "text": "x" * 6_001}] * 2),
        "message",
        "blocks",
    ),
    "markdown too long": (
        message({"type": "markdown", "text": "x" * 12_001}),
        "message",
        "blocks[0].text",
    ),
    "table of 101 rows": (message(table(*[[raw("a")]] * 101)), "message", "blocks[0].rows"),
    "table without rows": (message(table()), "message", "blocks[0].rows"),
    "table of 21 columns": (message(table([raw("a")] * 21)), "message", "blocks[0].rows[0]"),
    "table ragged": (
        message(table([raw("a"), raw("b")], [raw("a")])),
        "message",
        "blocks[0].rows[1]",
    ),
    "table with an empty cell": (
        message(table([raw("")])),
        "message",
        "blocks[0].rows[0][0].text",
    ),
    "table too long in all": (
        message(table([raw("x" * 5_000), rich("x" * 5_001)])),
        "message",
        "blocks",
    ),
    "table with 21 settings": (
        message(table([raw("a")], column_settings=[None] * 21)),
        "message",
        "blocks[0].column_settings",
    ),
    "table alignment": (
        message(table([raw("a")], column_settings=[{"align": "middle"}])),
        "message",
        "blocks[0].column_settings[0].align",
    ),
    "number without text": (
        message(table([{"type": "raw_number", "value": 1}])),
        "message",
        "blocks[0].rows[0][0].text",
    ),
    "number that is none": (
        message(table([number(math.nan, "?")])),
        "message",
        "blocks[0].rows[0][0].value",
    ),
    "two tables": (
        message(table([raw("a")]), data_table([raw("a")], [raw("b")])),
        "message",
        "blocks",
    ),
    "two tables, one inside": (
        message(table([raw("a")]), container(table([raw("a")]))),
        "message",
        "blocks",
    ),
    "data table of 102 rows": (
        message(data_table(*[[raw("a")]] * 102)),
        "message",
        "blocks[0].rows",
    ),
    "data table with a header only": (
        message(data_table([raw("a")])),
        "message",
        "blocks[0].rows",
    ),
    "data table ragged": (
        message(data_table([raw("a"), raw("b")], [raw("a")])),
        "message",
        "blocks[0].rows[1]",
    ),
    "data table without caption": (
        message({"type": "data_table", "rows": [[raw("a")], [raw("b")]]}),
        "message",
        "blocks[0].caption",
    ),
    "data table rich header": (
        message(data_table([rich("a")], [raw("b")])),
        "message",
        "blocks[0].rows[0][0]",
    ),
    "data table page size": (
        message(data_table([raw("a")], [raw("b")], page_size=101)),
        "message",
        "blocks[0].page_size",
    ),
    "data table row header": (
        message(data_table([raw("a")], [raw("b")], row_header_column_index=1)),
        "message",
        "blocks[0].row_header_column_index",
    ),
    "data table too long in all": (
        message(data_table([raw("a")], [raw("x" * 20_000)])),
        "message",
        "blocks",
    ),
    "three charts": (message(chart(), chart(), chart()), "message", "blocks"),
    "chart title": (message(chart(title="x" * 51)), "message", "blocks[0].title"),
    "chart kind": (message(chart("scatter")), "message", "blocks[0].chart.type"),
    "chart of 21 points": (
        message(chart(days=21)),
        "message",
        "blocks[0].chart.axis_config.categories",
    ),
    "chart of 7 series": (message(chart(series=7)), "message", "blocks[0].chart.series"),
    "chart series of one name": (
        with_chart("series", [chart()["chart"]["series"][0]] * 2),
        "message",
        "blocks[0].chart.series",
    ),
    "chart series name": (
        with_chart("name", "x" * 21),
        "message",
        "blocks[0].chart.series[0].name",
    ),
    "chart label": (
        with_chart("label", "x" * 21),
        "message",
        "blocks[0].chart.series[0].data[0].label",
    ),
    "chart value is text": (
        with_chart("value", "1"),
        "message",
        "blocks[0].chart.series[0].data[0].value",
    ),
    "chart category too long": (
        with_chart("categories", ["x" * 21, "d1"]),
        "message",
        "blocks[0].chart.axis_config.categories[0]",
    ),
    "chart without a point": (
        with_chart("categories", ["d0", "d1", "d2"]),
        "message",
        "blocks[0].chart.series[0].data",
    ),
    "chart category twice": (
        with_chart("categories", ["d0", "d0"]),
        "message",
        "blocks[0].chart.axis_config.categories",
    ),
    "chart axis title": (
        with_chart("x_label", "x" * 51),
        "message",
        "blocks[0].chart.axis_config.x_label",
    ),
    "pie of 7": (
        message(pie(*[(str(i), 1.0) for i in range(7)])),
        "message",
        "blocks[0].chart.segments",
    ),
    "pie of nothing": (message(pie(("a", 0))), "message", "blocks[0].chart.segments[0].value"),
    "pie label": (message(pie(("x" * 21, 1))), "message", "blocks[0].chart.segments[0].label"),
    "chart on the home": ({"type": "home", "blocks": [chart()]}, "home", "blocks[0]"),
    "rich text of nothing": (
        message({"type": "rich_text", "elements": []}),
        "message",
        "blocks[0].elements",
    ),
    "rich text with empty text": (
        message(rich("")),
        "message",
        "blocks[0].elements[0].elements[0].text",
    ),
    "rich text list style": (
        message(
            {
                "type": "rich_text",
                "elements": [
                    {"type": "rich_text_list", "style": "star", "elements": rich("a")["elements"]}
                ],
            }
        ),
        "message",
        "blocks[0].elements[0].style",
    ),
    "rich text style": (
        message(rich("a", fat=True)),
        "message",
        "blocks[0].elements[0].elements[0].style.fat",
    ),
    "card of nothing": (message({"type": "card"}), "message", "blocks[0]"),
    "card body": (
        message({"type": "card", "body": plain("x" * 201)}),
        "message",
        "blocks[0].body.text",
    ),
    "card of four buttons": (
        message({"type": "card", "actions": [button(action_id=str(i)) for i in range(4)]}),
        "message",
        "blocks[0].actions",
    ),
    "carousel of 11": (
        message({"type": "carousel", "elements": [{"type": "card", "body": plain("b")}] * 11}),
        "message",
        "blocks[0].elements",
    ),
    "container in a container": (
        message(container(container(section()))),
        "message",
        "blocks[0].child_blocks[0].type",
    ),
    "chart in a container": (
        message(container(chart())),
        "message",
        "blocks[0].child_blocks[0].type",
    ),
    "container of 11": (message(container(*[section()] * 11)), "message", "blocks[0].child_blocks"),
    "container without title": (
        message({"type": "container", "child_blocks": [section()]}),
        "message",
        "blocks[0]",
    ),
    "container collapsed for ever": (
        message(container(section(), default_collapsed=True)),
        "message",
        "blocks[0].default_collapsed",
    ),
    "container line": (
        message(container(section(), is_collapsible=True, has_header_divider=True)),
        "message",
        "blocks[0].has_header_divider",
    ),
    "alert in a message": (
        message({"type": "alert", "text": mrkdwn("x")}),
        "message",
        "blocks[0]",
    ),
    "alert level": (
        modal({"type": "alert", "text": mrkdwn("x"), "level": "loud"}),
        "modal",
        "blocks[0].level",
    ),
    "alert text": (
        modal({"type": "alert", "text": mrkdwn("x" * 201)}),
        "modal",
        "blocks[0].text.text",
    ),
    "six context actions": (
        message(
            {
                "type": "context_actions",
                "elements": [
                    {
                        "type": "icon_button",
                        "icon": "trash",
                        "text": plain("Remove"),
                        "action_id": str(i),
                    }
                    for i in range(6)
                ],
            }
        ),
        "message",
        "blocks[0].elements",
    ),
    "task alone and pending": (
        message({"type": "task_card", **task(status="pending")}),
        "message",
        "blocks[0].status",
    ),
    "task status": (
        message({"type": "task_card", **task(status="done")}),
        "message",
        "blocks[0].status",
    ),
    "plan of 51": (
        message({"type": "plan", "title": "p", "tasks": [task(task_id=str(i)) for i in range(51)]}),
        "message",
        "blocks[0].tasks",
    ),
    "plan with a task twice": (
        message({"type": "plan", "title": "p", "tasks": [task(), task()]}),
        "message",
        "blocks[0].tasks",
    ),
    "plan title is an object": (
        message({"type": "plan", "title": plain("p"), "tasks": [task()]}),
        "message",
        "blocks[0].title",
    ),
    "view title": (modal(section()) | {"title": plain("x" * 25)}, "modal", "title.text"),
    "view without title": ({"type": "modal", "blocks": [section()]}, "modal", "title"),
    "view submit": (modal(section(), submit=plain("x" * 25)), "modal", "submit.text"),
    "view metadata": (modal(section(), private_metadata="x" * 3_001), "modal", "private_metadata"),
    "view callback_id": (modal(section(), callback_id="x" * 256), "modal", "callback_id"),
    "view of 101 blocks": (modal(*[{"type": "divider"}] * 101), "modal", "blocks"),
    "view with input and no submit": (modal(ask(NUMBER_INPUT)), "modal", "submit"),
    "view of the wrong type": (modal(section()), "home", "type"),
    "view with a table": (modal(table([raw("a")])), "modal", "blocks[0]"),
    "view too large": (
        modal(*[section("€" * 3_000)] * 30),
        "modal",
        "payload",
    ),
    "home with a title": (
        {"type": "home", "title": plain("Home"), "blocks": [section()]},
        "home",
        "title",
    ),
    "input label": (
        modal(ask(NUMBER_INPUT) | {"label": plain("x" * 2_001)}, submit=plain("Save")),
        "modal",
        "blocks[0].label.text",
    ),
    "input bounds": (
        modal(ask(NUMBER_INPUT | {"min_value": "9", "max_value": "1"}), submit=plain("Save")),
        "modal",
        "blocks[0].element",
    ),
    "input value": (
        modal(ask(NUMBER_INPUT | {"initial_value": 7}), submit=plain("Save")),
        "modal",
        "blocks[0].element.initial_value",
    ),
    "two in focus": (
        modal(
            ask(NUMBER_INPUT | {"focus_on_load": True}),
            ask(NUMBER_INPUT | {"focus_on_load": True}),
            submit=plain("Save"),
        ),
        "modal",
        "blocks",
    ),
    "file input in a message": (
        message(ask({"type": "file_input", "action_id": "f"})),
        "message",
        "blocks[0].element",
    ),
    "half a character": (message(section("\ud800")), "message", "blocks[0].text.text"),
    "metadata that is no JSON": (
        message(metadata={"event_type": "a", "event_payload": {"at": {1}}}),
        "message",
        "payload",
    ),
    "picture without alt text": ({"filename": "a.PNG", "length": 1}, "file", "alt_txt"),
    "empty file": (FILE | {"length": 0}, "file", "length"),
    "alt text of a file too long": (FILE | {"alt_txt": "x" * 1_001}, "file", "alt_txt"),
}


# The two other readings: slack_sdk's models, and slackblocks' constructors fed from JSON.

OTHERS_SAY_NO = (
    SlackObjectFormationError,
    InvalidUsageError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
)


def sdk_parse(block: JsonObject) -> None:
    """Raise if slack_sdk's own classes refuse the block, or an element, option or card in it."""
    parsed = sdk.Block.parse(copy.deepcopy(block))
    if parsed is not None:
        parsed.to_dict()
    elements = block.get("elements", []) if block["type"] == "actions" else []
    for element in [*elements, *(block[k] for k in ("accessory", "element") if k in block)]:
        built = sdk.BlockElement.parse(copy.deepcopy(element))
        if built is not None:
            built.to_dict()


def their_text(text: JsonObject | None) -> sb.Text | None:
    return None if text is None else sb.Text.from_dict(text)


def their_cell(cell: JsonObject) -> Any:
    match cell["type"]:
        case "raw_text":
            return sb.RawText(cell["text"])
        case "raw_number":
            return sb.RawNumber(cell["value"], cell["text"])
        case "rich_text":
            return sb.RichTextBlock(sb.RichTextSection(sb.RichText("x")))
    raise TypeError(cell["type"])


def their_chart(chart: JsonObject) -> Any:
    if chart["type"] == "pie":
        return sb.PieChart([sb.ChartSegment(s["label"], s["value"]) for s in chart["segments"]])
    axis = chart["axis_config"]
    kinds = {"bar": sb.BarChart, "line": sb.LineChart, "area": sb.AreaChart}
    return kinds[chart["type"]](
        [
            sb.DataSeries(s["name"], [sb.DataPoint(p["label"], p["value"]) for p in s["data"]])
            for s in chart["series"]
        ],
        sb.AxisConfig(axis["categories"], axis.get("x_label"), axis.get("y_label")),
    )


def their_button(element: JsonObject) -> Any:
    if element["type"] != "button":
        raise NotImplementedError
    return sb.Button(
        text=their_text(element["text"]),
        action_id=element.get("action_id", "a"),
        value=element.get("value"),
        url=element.get("url"),
        style=element.get("style"),
    )


def their_task(block: JsonObject) -> Any:
    return sb.TaskCardBlock(block["task_id"], block["title"], status=block["status"])


def their_block(block: JsonObject) -> Any:
    """The block as slackblocks builds it; NotImplementedError where it cannot be asked."""
    match block["type"]:
        case "data_table":
            return sb.DataTableBlock(
                [[their_cell(c) for c in row] for row in block["rows"]],
                block["caption"],
                block.get("page_size", 5),
                block.get("row_header_column_index", 0),
            )
        case "data_visualization":
            return sb.DataVisualizationBlock(block["title"], their_chart(block["chart"]))
        case "table":
            if any(c["type"] != "raw_text" for row in block["rows"] for c in row):
                raise NotImplementedError
            return sb.TableBlock([[their_cell(c) for c in row] for row in block["rows"]])
        case "actions":
            return sb.ActionsBlock([their_button(e) for e in block["elements"]])
        case "card":
            return sb.CardBlock(
                title=their_text(block.get("title")),
                body=their_text(block.get("body")),
                actions=[their_button(e) for e in block.get("actions", [])] or None,
            )
        case "carousel":
            return sb.CarouselBlock([their_block(b) for b in block["elements"]])
        case "container":
            return sb.ContainerBlock(
                [their_block(b) for b in block["child_blocks"]],
                title=their_text(block.get("title")),
                is_collapsible=block.get("is_collapsible", False),
                default_collapsed=block.get("default_collapsed", False),
                has_header_divider=block.get("has_header_divider", False),
            )
        case "task_card":
            return their_task(block)
        case "plan":
            return sb.PlanBlock(block["title"], [their_task(t) for t in block["tasks"]])
        case _:
            return sb.Block.from_dict(copy.deepcopy(block))


def others_refuse(payload: Any, surface: Surface) -> bool:
    """Whether slack_sdk or slackblocks refuses the payload; what neither can read passes."""
    try:
        blocks = payload.get("blocks") or []
        for block in blocks:
            sdk_parse(block)
        if surface == "modal":
            View(**copy.deepcopy(payload)).to_dict()
        built = []
        for block in blocks:
            try:
                built.append(their_block(block))
            except NotImplementedError:
                return False
        match surface:
            case "message":
                sb.Message(channel="C1", text=payload.get("text", ""), blocks=built or None)
            case "modal":
                sb.ModalView(
                    title=their_text(payload["title"]),
                    blocks=built,
                    submit=their_text(payload.get("submit")),
                    close=their_text(payload.get("close")),
                    private_metadata=payload.get("private_metadata"),
                    callback_id=payload.get("callback_id"),
                )
            case "home":
                sb.HomeTabView(built)
    except OTHERS_SAY_NO:
        return True
    return False


@pytest.mark.parametrize("name", GOOD)
def test_a_good_payload_passes_here_and_with_the_others(name: str) -> None:
    payload, surface = GOOD[name]
    before = copy.deepcopy(payload)
    assert_sendable(payload, surface)
    assert payload == before
    if surface != "file":
        assert not others_refuse(payload, surface)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_payload_is_refused_at_its_fault(name: str) -> None:
    payload, surface, path = BAD[name]
    with pytest.raises(NotSendableError) as caught:
        assert_sendable(payload, surface)
    assert path in [fault.path for fault in caught.value.faults]


def test_the_others_refuse_many_of_the_bad_ones() -> None:
    """The comparison has teeth: it is not that they accept everything."""
    refused = [n for n, (p, surface, _) in BAD.items() if others_refuse(p, surface)]
    assert len(refused) >= 40
    assert len(BAD) - len(refused) >= 20  # what only our table catches


def test_all_faults_are_named() -> None:
    payload = message(section("x" * 3_001), {"type": "nope"}, {"type": "divider", "a": 1}, text="")
    with pytest.raises(NotSendableError) as caught:
        assert_sendable(payload)
    assert [fault.path for fault in caught.value.faults] == [
        "text",
        "blocks[0].text.text",
        "blocks[1].type",
        "blocks[2].a",
    ]
    assert "blocks[2].a: is no key of divider" in str(caught.value)


def test_no_limit_of_ours_is_above_theirs() -> None:
    pairs = (
        (sendable.MESSAGE_BLOCKS, theirs.MESSAGE_BLOCKS_MAX_ITEMS),
        (sendable.VIEW_BLOCKS, theirs.VIEW_BLOCKS_MAX_ITEMS),
        (sendable.MESSAGE_CHARTS, theirs.MESSAGE_DATA_VISUALIZATIONS_MAX_ITEMS),
        (sendable.MARKDOWN_TEXT, theirs.MARKDOWN_TOTAL_TEXT_MAX_LENGTH),
        (sendable.TABLE_ROWS, theirs.TABLE_ROWS_MAX_ITEMS),
        (sendable.TABLE_COLUMNS, theirs.TABLE_COLUMNS_MAX_ITEMS),
        (sendable.DATA_TABLE_ROWS, theirs.DATA_TABLE_ROWS_MAX_ITEMS),
        (sendable.DATA_TABLE_TEXT, theirs.DATA_TABLE_TOTAL_CONTENT_MAX_LENGTH),
        (sendable.CHART_SERIES, theirs.DATA_VISUALIZATION_SERIES_MAX_ITEMS),
        (sendable.CHART_SERIES, theirs.DATA_VISUALIZATION_SEGMENTS_MAX_ITEMS),
        (sendable.CHART_POINTS, theirs.DATA_VISUALIZATION_DATA_MAX_ITEMS),
        (sendable.CHART_LABEL, theirs.DATA_VISUALIZATION_POINT_LABEL_MAX_LENGTH),
        (sendable.CHART_TITLE, theirs.DATA_VISUALIZATION_TITLE_MAX_LENGTH),
        (sendable.HEADER_TEXT, sdk.HeaderBlock.text_max_length),
        (sendable.SECTION_TEXT, sdk.SectionBlock.text_max_length),
        (sendable.SECTION_FIELDS, sdk.SectionBlock.fields_max_length),
        (sendable.FIELD_TEXT, theirs.SECTION_FIELDS_ITEM_MAX_LENGTH),
        (sendable.BUTTON_TEXT, sdk.ButtonElement.text_max_length),
        (sendable.BUTTON_VALUE, sdk.ButtonElement.value_max_length),
        (sendable.OPTION_TEXT, theirs.OPTION_TEXT_MAX_LENGTH),
        (sendable.OPTION_VALUE, theirs.OPTION_VALUE_MAX_LENGTH),
        (sendable.SELECT_OPTIONS, theirs.SELECT_OPTIONS_MAX_ITEMS),
        (sendable.VIEW_TITLE, theirs.VIEW_TITLE_MAX_LENGTH),
        (sendable.VIEW_METADATA, theirs.VIEW_PRIVATE_METADATA_MAX_LENGTH),
        (sendable.ALT_TEXT, sdk.ImageBlock.alt_text_max_length),
    )
    assert [(ours, other) for ours, other in pairs if ours > other] == []


def test_every_shape_that_is_named_exists() -> None:
    """A misspelt name in the table would otherwise be found only by a message that uses it."""

    def kinds(kind: sendable.Kind) -> Iterator[sendable.Kind]:
        yield kind
        if isinstance(kind, sendable.Many):
            yield from kinds(kind.of)

    shapes = (*sendable.BLOCKS, *sendable.ELEMENTS, *sendable.OBJECTS, *sendable.PAYLOADS)
    for shape in shapes:
        for kind in (k for key in shape.keys for k in kinds(key.kind)):
            match kind:
                case sendable.Typed():
                    assert set(kind.names) <= set(sendable.ELEMENT), shape.name
                case sendable.BlockOf():
                    assert set(kind.names) <= set(sendable.BLOCK), shape.name
                case sendable.Plain():
                    assert kind.name in sendable.OBJECT, shape.name
                case _:
                    pass


# Made-up payloads.

LETTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp"))


def words(most: int) -> st.SearchStrategy[str]:
    """Text of up to `most` characters, often of exactly so many."""
    short = st.text(LETTERS, min_size=1, max_size=min(most, 30))
    return short | short.map(lambda t: (t * most)[:most])


def texts(most: int, *, mrkdwn_too: bool = True) -> st.SearchStrategy[JsonObject]:
    kind = st.sampled_from(["plain_text", "mrkdwn"]) if mrkdwn_too else st.just("plain_text")
    return st.fixed_dictionaries({"type": kind, "text": words(most)})


def cells(most: int) -> st.SearchStrategy[JsonObject]:
    amounts = st.floats(allow_nan=False, allow_infinity=False) | st.integers()
    return words(most).map(raw) | words(most).map(rich) | st.builds(number, amounts, words(most))


@st.composite
def grids(draw: st.DrawFn, rows: int, total: int) -> list[list[JsonObject]]:
    height, width = draw(st.integers(2, rows)), draw(st.integers(1, 20))
    few = [draw(cells(total // (height * width))) for _ in range(4)]
    grid = [[few[(r * width + c) % 4] for c in range(width)] for r in range(height)]
    grid[0] = [raw(str(i)) for i in range(width)]
    return grid


@st.composite
def charts(draw: st.DrawFn) -> JsonObject:
    labels = draw(st.lists(words(20), min_size=1, max_size=20, unique=True))
    names = draw(st.lists(words(20), min_size=1, max_size=6, unique=True))
    if draw(st.booleans()):
        return pie(*[(name, draw(st.floats(0.001, 1e9))) for name in names])
    block = chart(draw(st.sampled_from(["bar", "line", "area"])), title=draw(words(50)))
    block["chart"] = block["chart"] | {
        "series": [
            {"name": n, "data": [{"label": x, "value": draw(st.integers())} for x in labels]}
            for n in names
        ],
        "axis_config": {"categories": labels, "y_label": draw(words(50))},
    }
    return block


def buttons() -> st.SearchStrategy[JsonObject]:
    return st.fixed_dictionaries(
        {
            "type": st.just("button"),
            "text": texts(75, mrkdwn_too=False),
            "value": words(2_000),
        },
        optional={"style": st.sampled_from(["primary", "danger"])},
    )


def block_of(kind: str, **keys: st.SearchStrategy[Any]) -> st.SearchStrategy[JsonObject]:
    return st.fixed_dictionaries({"type": st.just(kind), **keys})


CLASSIC = st.one_of(
    block_of("divider"),
    block_of("section", text=texts(3_000)),
    block_of("section", fields=st.lists(texts(2_000), min_size=1, max_size=10)),
    block_of("section", text=texts(3_000), accessory=buttons()),
    block_of("header", text=texts(150, mrkdwn_too=False)),
    block_of("context", elements=st.lists(texts(3_000), min_size=1, max_size=10)),
    block_of("actions", elements=st.lists(buttons(), min_size=1, max_size=25)),
    block_of("image", image_url=st.just("https://example.com/a.png"), alt_text=words(2_000)),
    words(3_000).map(rich),
)
TABLES = st.one_of(
    grids(100, 10_000).map(lambda rows: table(*rows)),
    st.builds(lambda rows, c: data_table(*rows, caption=c), grids(101, 20_000), words(300)),
)


@st.composite
def good_messages(draw: st.DrawFn) -> JsonObject:
    blocks = draw(st.lists(CLASSIC, max_size=8))
    blocks += draw(st.lists(charts(), max_size=2)) + draw(st.lists(TABLES, max_size=1))
    blocks = draw(st.permutations(blocks))
    for i, block in enumerate(blocks):
        if draw(st.booleans()):
            block = block | {"block_id": f"b{i}"}
            blocks[i] = block
    return message(*blocks) | {"text": draw(words(4_000))}


@settings(max_examples=60, deadline=None)
@given(good_messages())
def test_a_message_within_all_limits_passes(payload: JsonObject) -> None:
    assert_sendable(payload)
    assert_sendable(json.loads(json.dumps(payload)))


def just_about(most: int) -> st.SearchStrategy[str]:
    """Text around a limit: nothing, one, the limit, one more."""
    return st.sampled_from([0, 1, most, most + 1]).map(lambda n: "x" * n)


def any_texts(most: int) -> st.SearchStrategy[JsonObject]:
    kind = st.sampled_from(["plain_text", "mrkdwn"])
    return st.fixed_dictionaries({"type": kind, "text": just_about(most)})


def about(kind: str, **keys: st.SearchStrategy[Any]) -> st.SearchStrategy[JsonObject]:
    return st.fixed_dictionaries({"type": st.just(kind)}, optional=keys)


EDGE_BLOCKS = st.one_of(
    about("section", text=any_texts(3_000), fields=st.lists(any_texts(2_000), max_size=11)),
    about("header", text=any_texts(150)),
    about("context", elements=st.lists(any_texts(3_000), max_size=11)),
    about("image", image_url=just_about(3_000), alt_text=just_about(2_000)),
    about("markdown", text=just_about(12_000)),
    about("alert", text=any_texts(200), level=st.sampled_from(["info", "loud"])),
    about("card", title=any_texts(150), body=any_texts(200)),
    about("task_card", task_id=just_about(9), title=just_about(9),
          status=st.sampled_from(["pending", "complete", "done"])),
    about("input", label=any_texts(2_000), hint=any_texts(2_000),
          element=st.sampled_from([NUMBER_INPUT, select(option()), button()])),
    about("data_table", caption=just_about(9), page_size=st.integers(0, 101),
          rows=st.builds(lambda h, w: [[raw("a")] * w] * h,
                         st.sampled_from([0, 1, 2, 201, 202]), st.integers(0, 21))),
    about("table", rows=st.builds(lambda h, w: [[raw("a")] * w] * h,
                                  st.sampled_from([0, 1, 100, 101]), st.integers(1, 21))),
    st.builds(chart, st.sampled_from(["bar", "line", "disc"]), st.integers(0, 21),
              st.integers(0, 13), just_about(50)),
    st.lists(st.tuples(just_about(20), st.integers(-1, 2)), max_size=13).map(lambda s: pie(*s)),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(EDGE_BLOCKS, st.sampled_from(["message", "modal", "home"]))
def test_what_the_others_refuse_is_refused_here(block: JsonObject, surface: Surface) -> None:
    whole: dict[Surface, JsonObject] = {
        "message": message(block),
        "modal": modal(block, submit=plain("Save")),
        "home": {"type": "home", "blocks": [block]},
    }
    if others_refuse(whole[surface], surface):
        assert list(faults_of(whole[surface], surface))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "blocks", "elements", "rows", "chart", "block_id"]),
            inner | st.sampled_from(["section", "table", "container", "data_visualization"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(JSON, st.sampled_from(["message", "modal", "home", "file"]))
def test_nothing_but_a_refusal_comes_of_nonsense(payload: Any, surface: Surface) -> None:
    faults = list(faults_of(payload, surface))
    faults += faults_of({"text": "t", "blocks": payload}, surface)
    faults += faults_of({"text": "t", "blocks": [payload]}, surface)
    assert all(isinstance(str(fault), str) for fault in faults)
