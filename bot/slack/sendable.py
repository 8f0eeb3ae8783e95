"""Would Slack take this payload? The limits of Block Kit as one table of rows.

The rows follow Slack's reference (docs.slack.dev, reference/block-kit and reference/views, as of
November 2026). Where its pages, or its pages and its own client library, have stated two limits
for one thing, the smaller stands here. Three rules are our own: a message always has a
top-level `text` (screen readers read that and not the blocks), a key that is in no row is
refused, and a table has as many cells in each of its rows.

Lengths are in characters, as the text is sent: `&amp;` counts five.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, assert_never

Surface = Literal["message", "modal", "home", "file"]

MESSAGE_BLOCKS = 50
VIEW_BLOCKS = 100
MESSAGE_TEXT = 4_000
MESSAGE_CHARTS = 2
MARKDOWN_TEXT = 12_000
TABLE_ROWS = 100
TABLE_COLUMNS = 20
TABLE_TEXT = 10_000
DATA_TABLE_ROWS = 101  # with its header; a later page says 201
DATA_TABLE_TEXT = 20_000
CHART_SERIES = 6  # and segments of a pie; a later page says 12
CHART_POINTS = 20
CHART_LABEL = 20
CHART_TITLE = 50
HEADER_TEXT = 150
SECTION_TEXT = 3_000
SECTION_FIELDS = 10
FIELD_TEXT = 2_000
BUTTON_TEXT = 75
BUTTON_VALUE = 2_000
OPTION_TEXT = 75
OPTION_VALUE = 150
SELECT_OPTIONS = 100
VIEW_TITLE = 24
VIEW_METADATA = 3_000
VIEW_BYTES = 250_000
ALT_TEXT = 2_000
PICTURE = re.compile(r"\.(png|jpe?g|gif|webp|svg)$", re.IGNORECASE)
FILE_ALT_TEXT = 1_000


@dataclass(frozen=True)
class Fault:
    """One thing that Slack would refuse, and where it stands (`blocks[2].elements[0].text`)."""

    path: str
    problem: str

    def __str__(self) -> str:
        """`path: problem`."""
        return f"{self.path}: {self.problem}"


class NotSendableError(ValueError):
    """A payload that Slack would refuse: a bug of ours, never the asker's to act on."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        """All `faults`, in the order in which they stand in the payload."""
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


def assert_sendable(payload: dict[str, Any], surface: Surface = "message") -> None:
    """Raise NotSendableError, naming every fault, if Slack would refuse `payload`.

    A "message" is the arguments of chat.postMessage, chat.update, chat.postEphemeral or a
    response_url post; "modal" and "home" are a view; "file" is the arguments of
    files.getUploadURLExternal.
    """
    faults = tuple(faults_of(payload, surface))
    if faults:
        raise NotSendableError(faults)


# What a value may be. One class per kind; `check` meets each of them.


@dataclass(frozen=True)
class Words:
    """A string of `least` to `most` characters; more than white space unless `blank`."""

    most: int | None = None
    least: int = 1
    like: str = ""
    blank: bool = False


@dataclass(frozen=True)
class TextObject:
    """A text object; `mrkdwn` says whether it may be other than plain."""

    most: int = SECTION_TEXT
    mrkdwn: bool = False


@dataclass(frozen=True)
class Whole:
    """A whole number."""

    least: int = 0
    most: int | None = None


@dataclass(frozen=True)
class Amount:
    """A finite number."""

    positive: bool = False


@dataclass(frozen=True)
class Flag:
    """True or false."""


@dataclass(frozen=True)
class OneOf:
    """One of a closed set of words."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Many:
    """A list of `least` to `most` things of one kind; `gaps` allows null among them."""

    of: "Kind"
    least: int = 1
    most: int | None = None
    gaps: bool = False


@dataclass(frozen=True)
class Typed:
    """An element: an object whose `type` is one of `names`."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class BlockOf:
    """A block: any of those allowed on the surface, or of those `names` only."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plain:
    """An object without a `type`, of the named shape."""

    name: str


@dataclass(frozen=True)
class Free:
    """Any JSON object; its inside is ours."""


Kind = Words | TextObject | Whole | Amount | Flag | OneOf | Many | Typed | BlockOf | Plain | Free


@dataclass(frozen=True)
class Key:
    """One key of an object."""

    name: str
    kind: Kind
    required: bool = False


Rule = Callable[[dict[str, Any], str], Iterator[Fault]]


@dataclass(frozen=True)
class Shape:
    """One kind of object: its keys, where it may stand, and what a single key cannot say.

    `rules` run only on an object whose keys are all right.
    """

    name: str
    keys: tuple[Key, ...]
    surfaces: tuple[Surface, ...] = ("message", "modal", "home")
    rules: tuple[Rule, ...] = ()


def at(path: str, key: str) -> str:
    """The path of `key` inside the object at `path`."""
    return f"{path}.{key}" if path else key


def repeated(names: Iterable[str]) -> list[str]:
    """Those that stand more than once."""
    return [name for name, times in Counter(names).items() if times > 1]


# Rules over several keys of one object.


def any_of(*names: str) -> Rule:
    """At least one of the keys is there."""

    def rule(value: dict[str, Any], path: str) -> Iterator[Fault]:
        if not any(name in value for name in names):
            yield Fault(path, f"needs {' or '.join(names)}")

    return rule


def not_both(first: str, second: str) -> Rule:
    """At most one of the two keys is there."""

    def rule(value: dict[str, Any], path: str) -> Iterator[Fault]:
        if first in value and second in value:
            yield Fault(path, f"has both {first} and {second}")

    return rule


def ordered(low: str, high: str) -> Rule:
    """The first key's number is not above the second's."""

    def rule(value: dict[str, Any], path: str) -> Iterator[Fault]:
        if low in value and high in value and float(value[low]) > float(value[high]):
            yield Fault(path, f"{low} is above {high}")

    return rule


def distinct(key: str, inner: str) -> Rule:
    """No two of the objects in the list `key` share their `inner` value."""

    def rule(value: dict[str, Any], path: str) -> Iterator[Fault]:
        seen = [item[inner] for item in value.get(key, []) if inner in item]
        yield from (
            Fault(f"{path}.{key}", f"two have the {inner} {name!r}") for name in repeated(seen)
        )

    return rule


def initial_among_options(value: dict[str, Any], path: str) -> Iterator[Fault]:
    """What is chosen at first is one of the options, key for key."""
    groups = value.get("option_groups", [])
    options = [*value.get("options", []), *(o for g in groups for o in g["options"])]
    if "initial_option" in value and value["initial_option"] not in options:
        yield Fault(f"{path}.initial_option", "is none of the options")
    for i, chosen in enumerate(value.get("initial_options", [])):
        if chosen not in options:
            yield Fault(f"{path}.initial_options[{i}]", "is none of the options")


def points_match_categories(value: dict[str, Any], path: str) -> Iterator[Fault]:
    """Categories are distinct, and every series has one point for each."""
    categories = value["axis_config"]["categories"]
    for name in repeated(categories):
        yield Fault(f"{path}.axis_config.categories", f"{name!r} stands twice")
    for i, series in enumerate(value["series"]):
        if sorted(p["label"] for p in series["data"]) != sorted(categories):
            yield Fault(f"{path}.series[{i}].data", "is not one point for each category")


def even_rows(value: dict[str, Any], path: str) -> Iterator[Fault]:
    """All rows have as many cells as the first."""
    rows = value["rows"]
    for i, row in enumerate(rows):
        if len(row) != len(rows[0]):
            yield Fault(f"{path}.rows[{i}]", f"has {len(row)} cells, the first {len(rows[0])}")


def plain_header(value: dict[str, Any], path: str) -> Iterator[Fault]:
    """The header of a data table is not rich text, and the row header is one of its columns."""
    for i, cell in enumerate(value["rows"][0]):
        if cell["type"] == "rich_text":
            yield Fault(f"{path}.rows[0][{i}]", "is rich text in the header")
    if value.get("row_header_column_index", 0) >= len(value["rows"][0]):
        yield Fault(f"{path}.row_header_column_index", "is no column")


def collapsing(value: dict[str, Any], path: str) -> Iterator[Fault]:
    """A container starts collapsed only if it can, and has a header line only if it cannot."""
    if value.get("default_collapsed") and not value.get("is_collapsible"):
        yield Fault(f"{path}.default_collapsed", "needs is_collapsible")
    if value.get("has_header_divider") and value.get("is_collapsible"):
        yield Fault(f"{path}.has_header_divider", "does not go with is_collapsible")


def not_waiting(value: dict[str, Any], path: str) -> Iterator[Fault]:
    """A task card that stands alone is not pending."""
    if value["status"] == "pending":
        yield Fault(f"{path}.status", "is pending outside a plan")


def submit_with_inputs(value: dict[str, Any], path: str) -> Iterator[Fault]:
    """A modal that asks for input has a button to send it."""
    if "submit" not in value and any(b.get("type") == "input" for b in value["blocks"]):
        yield Fault(at(path, "submit"), "is missing though there is an input")


def image_described(value: dict[str, Any], path: str) -> Iterator[Fault]:
    """A picture is sent with words for those who do not see it."""
    if "alt_txt" not in value and PICTURE.search(value["filename"]):
        yield Fault(at(path, "alt_txt"), "is missing on a picture")


# The table of shapes, inner ones first.
# fmt: off

URL = Words(3_000, like=r"https?://\S+")
NUMERAL = Words(like=r"-?\d+(\.\d+)?")
PLAIN_75 = TextObject(75)
PLACEHOLDER = Key("placeholder", TextObject(150))
CONFIRM = Key("confirm", Plain("confirm"))
ACTION_ID = Key("action_id", Words(255))
FOCUS = Key("focus_on_load", Flag())
LABEL = Key("accessibility_label", Words(75))
STYLE = Key("style", OneOf(("primary", "danger")))
VISIBLE_TO = Key("visible_to_user_ids", Many(Words(), 1, 10))
DISPATCH = Key("dispatch_action_config", Plain("dispatch_action_config"))
OPTIONS = Key("options", Many(Plain("option"), 1, SELECT_OPTIONS))
OPTION_GROUPS = Key("option_groups", Many(Plain("option_group"), 1, 100))
CHOSEN = Key("initial_option", Plain("option"))
ALL_CHOSEN = Key("initial_options", Many(Plain("option")))
TEN_OPTIONS = Key("options", Many(Plain("option"), 1, 10), required=True)
AT_MOST = Key("max_selected_items", Whole(1))
QUERY_LENGTH = Key("min_query_length", Whole())
RESPONSE_URL = Key("response_url_enabled", Flag())
FILTER = Key("filter", Plain("conversation_filter"))
CURRENT = Key("default_to_current_conversation", Flag())
INLINE_STYLE = Key("style", Plain("inline_style"))
BORDER = Key("border", Whole(0, 1))
IMAGE_SOURCE = (Key("image_url", URL), Key("slack_file", Plain("slack_file")))
IMAGE_RULES = (any_of("image_url", "slack_file"), not_both("image_url", "slack_file"))
ALT = Key("alt_text", Words(ALT_TEXT), required=True)

SELECTS = ("static_select", "external_select", "users_select", "conversations_select",
           "channels_select")
MULTI_SELECTS = tuple(f"multi_{name}" for name in SELECTS)
CHOICES = ("checkboxes", "radio_buttons", *SELECTS, *MULTI_SELECTS)
ACTION_ELEMENTS = ("button", "overflow", "datepicker", "timepicker", "datetimepicker",
                   "workflow_button", *CHOICES)
ACCESSORIES = ("button", "overflow", "datepicker", "timepicker", "workflow_button", "image",
               *CHOICES)
INPUT_ELEMENTS = ("plain_text_input", "email_text_input", "url_text_input", "number_input",
                  "rich_text_input", "file_input", "datepicker", "timepicker", "datetimepicker",
                  *CHOICES)
INLINE = ("text", "link", "emoji", "user", "usergroup", "channel", "team", "date", "broadcast",
          "color")
CELLS = ("raw_text", "raw_number", "rich_text")
CONTAINED = ("actions", "context", "divider", "header", "image", "input", "rich_text", "section",
             "table", "video")
INLINES = Key("elements", Many(Typed(INLINE)), required=True)

OBJECTS = (
    Shape("confirm", (
        Key("title", TextObject(100), required=True),
        Key("text", TextObject(300, mrkdwn=True), required=True),
        Key("confirm", TextObject(30), required=True),
        Key("deny", TextObject(30), required=True),
        STYLE,
    )),
    Shape("option", (
        Key("text", TextObject(OPTION_TEXT, mrkdwn=True), required=True),
        Key("value", Words(OPTION_VALUE), required=True),
        Key("description", TextObject(75, mrkdwn=True)),
        Key("url", URL),
    )),
    Shape("option_group", (
        Key("label", PLAIN_75, required=True),
        Key("options", Many(Plain("option"), 1, 100), required=True),
    )),
    Shape("slack_file", (Key("id", Words(like=r"F[A-Z0-9]{8,}")), Key("url", URL)),
          rules=(any_of("id", "url"), not_both("id", "url"))),
    Shape("dispatch_action_config", (
        Key("trigger_actions_on",
            Many(OneOf(("on_enter_pressed", "on_character_entered")), 1, 2), required=True),
    )),
    Shape("conversation_filter", (
        Key("include", Many(OneOf(("im", "mpim", "private", "public")))),
        Key("exclude_external_shared_channels", Flag()),
        Key("exclude_bot_users", Flag()),
    ), rules=(any_of("include", "exclude_external_shared_channels", "exclude_bot_users"),)),
    Shape("inline_style", tuple(Key(name, Flag()) for name in (
        "bold", "italic", "strike", "code", "underline", "highlight", "client_highlight",
        "unlink"))),
    Shape("column_settings", (
        Key("align", OneOf(("left", "center", "right"))), Key("is_wrapped", Flag()))),
    Shape("feedback_button", (
        Key("text", PLAIN_75, required=True), Key("value", Words(2_000), required=True), LABEL)),
    Shape("workflow", (Key("trigger", Plain("trigger"), required=True),)),
    Shape("trigger", (
        Key("url", URL, required=True),
        Key("customizable_input_parameters", Many(Plain("parameter"))),
    )),
    Shape("parameter", (Key("name", Words(), required=True), Key("value", Words(), required=True))),
    Shape("segment", (
        Key("label", Words(CHART_LABEL), required=True),
        Key("value", Amount(positive=True), required=True),
    )),
    Shape("point", (
        Key("label", Words(CHART_LABEL), required=True), Key("value", Amount(), required=True))),
    Shape("series", (
        Key("name", Words(CHART_LABEL), required=True),
        Key("data", Many(Plain("point"), 1, CHART_POINTS), required=True),
    )),
    Shape("axis_config", (
        Key("categories", Many(Words(CHART_LABEL), 1, CHART_POINTS), required=True),
        Key("x_label", Words(50)),
        Key("y_label", Words(50)),
    )),
    Shape("task", (
        Key("type", OneOf(("task_card",))),
        Key("task_id", Words(), required=True),
        Key("title", Words(), required=True),
        Key("status", OneOf(("pending", "in_progress", "complete", "error")), required=True),
        Key("details", Typed(("rich_text",))),
        Key("output", Typed(("rich_text",))),
        Key("sources", Many(Typed(("url",)))),
    )),
    Shape("metadata", (
        Key("event_type", Words(), required=True), Key("event_payload", Free(), required=True))),
)

ELEMENTS = (
    Shape("plain_text", (Key("text", Words(SECTION_TEXT), required=True), Key("emoji", Flag()))),
    Shape("mrkdwn", (Key("text", Words(SECTION_TEXT), required=True), Key("verbatim", Flag()))),
    Shape("button", (
        Key("text", PLAIN_75, required=True), ACTION_ID, Key("value", Words(BUTTON_VALUE)),
        Key("url", URL), STYLE, CONFIRM, LABEL, Key("agent_prompt", Words(4_000)),
        Key("agent_prompt_display", Words()), VISIBLE_TO,
    )),
    Shape("workflow_button", (
        Key("text", PLAIN_75, required=True), Key("workflow", Plain("workflow"), required=True),
        Key("action_id", Words(255), required=True), STYLE, LABEL,
    )),
    Shape("overflow", (
        Key("options", Many(Plain("option"), 1, 5), required=True), ACTION_ID, CONFIRM)),
    Shape("checkboxes", (TEN_OPTIONS, ALL_CHOSEN, ACTION_ID, CONFIRM, FOCUS),
          rules=(initial_among_options,)),
    Shape("radio_buttons", (TEN_OPTIONS, CHOSEN, ACTION_ID, CONFIRM, FOCUS),
          rules=(initial_among_options,)),
    Shape("static_select",
          (OPTIONS, OPTION_GROUPS, CHOSEN, PLACEHOLDER, ACTION_ID, CONFIRM, FOCUS),
          rules=(any_of("options", "option_groups"), not_both("options", "option_groups"),
                 initial_among_options)),
    Shape("multi_static_select",
          (OPTIONS, OPTION_GROUPS, ALL_CHOSEN, AT_MOST, PLACEHOLDER, ACTION_ID, CONFIRM, FOCUS),
          rules=(any_of("options", "option_groups"), not_both("options", "option_groups"),
                 initial_among_options)),
    Shape("external_select", (CHOSEN, QUERY_LENGTH, PLACEHOLDER, ACTION_ID, CONFIRM, FOCUS)),
    Shape("multi_external_select",
          (ALL_CHOSEN, QUERY_LENGTH, AT_MOST, PLACEHOLDER, ACTION_ID, CONFIRM, FOCUS)),
    Shape("users_select",
          (Key("initial_user", Words()), PLACEHOLDER, ACTION_ID, CONFIRM, FOCUS)),
    Shape("multi_users_select",
          (Key("initial_users", Many(Words())), AT_MOST, PLACEHOLDER, ACTION_ID, CONFIRM, FOCUS)),
    Shape("channels_select",
          (Key("initial_channel", Words()), RESPONSE_URL, PLACEHOLDER, ACTION_ID, CONFIRM, FOCUS)),
    Shape("multi_channels_select", (
        Key("initial_channels", Many(Words())), AT_MOST, PLACEHOLDER, ACTION_ID, CONFIRM, FOCUS)),
    Shape("conversations_select", (
        Key("initial_conversation", Words()), CURRENT, FILTER, RESPONSE_URL, PLACEHOLDER,
        ACTION_ID, CONFIRM, FOCUS)),
    Shape("multi_conversations_select", (
        Key("initial_conversations", Many(Words())), CURRENT, FILTER, AT_MOST, PLACEHOLDER,
        ACTION_ID, CONFIRM, FOCUS)),
    Shape("datepicker", (
        Key("initial_date", Words(like=r"\d{4}-\d\d-\d\d")), PLACEHOLDER, ACTION_ID, CONFIRM,
        FOCUS)),
    Shape("timepicker", (
        Key("initial_time", Words(like=r"([01]\d|2[0-3]):[0-5]\d")), Key("timezone", Words()),
        PLACEHOLDER, ACTION_ID, CONFIRM, FOCUS)),
    Shape("datetimepicker", (
        Key("initial_date_time", Whole(1_000_000_000, 9_999_999_999)), ACTION_ID, CONFIRM,
        FOCUS)),
    Shape("plain_text_input", (
        Key("initial_value", Words(3_000)), Key("multiline", Flag()),
        Key("min_length", Whole(0, 3_000)), Key("max_length", Whole(1, 3_000)), DISPATCH,
        PLACEHOLDER, ACTION_ID, FOCUS), rules=(ordered("min_length", "max_length"),)),
    Shape("email_text_input",
          (Key("initial_value", Words()), DISPATCH, PLACEHOLDER, ACTION_ID, FOCUS)),
    Shape("url_text_input",
          (Key("initial_value", Words()), DISPATCH, PLACEHOLDER, ACTION_ID, FOCUS)),
    Shape("number_input", (
        Key("is_decimal_allowed", Flag(), required=True), Key("initial_value", NUMERAL),
        Key("min_value", NUMERAL), Key("max_value", NUMERAL), DISPATCH, PLACEHOLDER, ACTION_ID,
        FOCUS), rules=(ordered("min_value", "max_value"), ordered("min_value", "initial_value"),
                       ordered("initial_value", "max_value"))),
    Shape("rich_text_input", (
        Key("initial_value", Typed(("rich_text",))), DISPATCH, PLACEHOLDER,
        Key("action_id", Words(255), required=True), FOCUS, Key("min_lines", Whole(1, 100)),
        Key("max_lines", Whole(1, 100))), rules=(ordered("min_lines", "max_lines"),)),
    Shape("file_input", (
        Key("filetypes", Many(Words())), Key("max_files", Whole(1, 10)), ACTION_ID),
        surfaces=("modal",)),
    Shape("feedback_buttons", (
        Key("positive_button", Plain("feedback_button"), required=True),
        Key("negative_button", Plain("feedback_button"), required=True), ACTION_ID)),
    Shape("icon_button", (
        Key("icon", OneOf(("trash",)), required=True), Key("text", TextObject(), required=True),
        Key("value", Words(2_000)), ACTION_ID, CONFIRM, LABEL, VISIBLE_TO)),
    Shape("image", (*IMAGE_SOURCE, ALT), rules=IMAGE_RULES),
    Shape("icon", (Key("name", Words(), required=True),)),
    Shape("url", (Key("url", URL, required=True), Key("text", Words(), required=True))),
    Shape("rich_text_section", (INLINES,)),
    Shape("rich_text_quote", (INLINES, BORDER)),
    Shape("rich_text_preformatted", (
        Key("elements", Many(Typed(("text", "link"))), required=True), BORDER,
        Key("language", Words()))),
    Shape("rich_text_list", (
        Key("elements", Many(Typed(("rich_text_section",))), required=True),
        Key("style", OneOf(("bullet", "ordered")), required=True), Key("indent", Whole(0, 8)),
        Key("offset", Whole()), BORDER)),
    Shape("text", (Key("text", Words(blank=True), required=True), INLINE_STYLE)),
    Shape("link", (
        Key("url", Words(3_000), required=True), Key("text", Words()), Key("unsafe", Flag()),
        INLINE_STYLE)),
    Shape("emoji", (
        Key("name", Words(), required=True), Key("unicode", Words()),
        Key("skin_tone", Whole(1, 6)), INLINE_STYLE)),
    Shape("user", (Key("user_id", Words(), required=True), INLINE_STYLE)),
    Shape("usergroup", (Key("usergroup_id", Words(), required=True), INLINE_STYLE)),
    Shape("channel", (Key("channel_id", Words(), required=True), INLINE_STYLE)),
    Shape("team", (Key("team_id", Words(), required=True), INLINE_STYLE)),
    Shape("date", (
        Key("timestamp", Whole(), required=True), Key("format", Words(), required=True),
        Key("url", URL), Key("fallback", Words()), INLINE_STYLE)),
    Shape("broadcast", (
        Key("range", OneOf(("here", "channel", "everyone")), required=True), INLINE_STYLE)),
    Shape("color", (Key("value", Words(), required=True), INLINE_STYLE)),
    Shape("raw_text", (Key("text", Words(), required=True),)),
    Shape("raw_number", (Key("value", Amount(), required=True),
                         Key("text", Words(), required=True))),
    Shape("pie", (Key("segments", Many(Plain("segment"), 1, CHART_SERIES), required=True),),
          rules=(distinct("segments", "label"),)),
    *(Shape(kind, (
        Key("series", Many(Plain("series"), 1, CHART_SERIES), required=True),
        Key("axis_config", Plain("axis_config"), required=True)),
        rules=(distinct("series", "name"), points_match_categories))
      for kind in ("bar", "line", "area")),
)

RICH_TEXT = Shape("rich_text", (
    Key("elements", Many(Typed((
        "rich_text_section", "rich_text_list", "rich_text_quote", "rich_text_preformatted"))),
        required=True),
))
CARD = Shape("card", (
    Key("hero_image", Typed(("image",))), Key("icon", Typed(("image",))),
    Key("slack_icon", Typed(("icon",))), Key("title", TextObject(150, mrkdwn=True)),
    Key("subtitle", TextObject(150, mrkdwn=True)), Key("body", TextObject(200, mrkdwn=True)),
    Key("subtext", TextObject(200, mrkdwn=True)),
    Key("actions", Many(Typed(("button",)), 1, 3)),
), rules=(any_of("hero_image", "title", "actions", "body"), not_both("icon", "slack_icon")))

BLOCKS = (
    RICH_TEXT,
    CARD,
    Shape("divider", ()),
    Shape("section", (
        Key("text", TextObject(SECTION_TEXT, mrkdwn=True)),
        Key("fields", Many(TextObject(FIELD_TEXT, mrkdwn=True), 1, SECTION_FIELDS)),
        Key("accessory", Typed(ACCESSORIES)), Key("expand", Flag()),
    ), rules=(any_of("text", "fields"),)),
    Shape("header", (
        Key("text", TextObject(HEADER_TEXT), required=True), Key("level", Whole(1, 4)))),
    Shape("context", (
        Key("elements", Many(Typed(("plain_text", "mrkdwn", "image")), 1, 10), required=True),)),
    Shape("actions", (Key("elements", Many(Typed(ACTION_ELEMENTS), 1, 25), required=True),)),
    Shape("image", (*IMAGE_SOURCE, ALT, Key("title", TextObject(2_000))), rules=IMAGE_RULES),
    Shape("input", (
        Key("label", TextObject(2_000), required=True),
        Key("element", Typed(INPUT_ELEMENTS), required=True), Key("hint", TextObject(2_000)),
        Key("optional", Flag()), Key("dispatch_action", Flag()))),
    Shape("video", (
        ALT, Key("title", TextObject(199), required=True), Key("video_url", URL, required=True),
        Key("thumbnail_url", URL, required=True), Key("title_url", URL),
        Key("description", TextObject(200)), Key("provider_icon_url", URL),
        Key("provider_name", Words(49)), Key("author_name", Words(49)))),
    Shape("markdown", (Key("text", Words(MARKDOWN_TEXT), required=True),), ("message",)),
    Shape("table", (
        Key("rows", Many(Many(Typed(CELLS), 1, TABLE_COLUMNS), 1, TABLE_ROWS), required=True),
        Key("column_settings", Many(Plain("column_settings"), 1, TABLE_COLUMNS, gaps=True)),
    ), ("message", "home"), (even_rows,)),
    Shape("data_table", (
        Key("rows", Many(Many(Typed(CELLS), 1, TABLE_COLUMNS), 2, DATA_TABLE_ROWS),
            required=True),
        Key("caption", Words(), required=True), Key("page_size", Whole(1, 100)),
        Key("row_header_column_index", Whole(0, TABLE_COLUMNS - 1)),
    ), ("message", "home"), (even_rows, plain_header)),
    Shape("data_visualization", (
        Key("title", Words(CHART_TITLE), required=True),
        Key("chart", Typed(("pie", "bar", "line", "area")), required=True)), ("message",)),
    Shape("carousel", (Key("elements", Many(BlockOf(("card",)), 1, 10), required=True),),
          ("message", "home")),
    Shape("container", (
        Key("child_blocks", Many(BlockOf(CONTAINED), 1, 10), required=True),
        Key("title", TextObject(150)), Key("rich_text_title", Typed(("rich_text",))),
        Key("subtitle", TextObject(150, mrkdwn=True)), Key("icon", Typed(("image",))),
        Key("width", OneOf(("narrow", "standard", "wide", "full"))),
        Key("is_collapsible", Flag()), Key("default_collapsed", Flag()),
        Key("has_header_divider", Flag()),
    ), ("message",), (any_of("title", "rich_text_title"), collapsing)),
    Shape("alert", (
        Key("text", TextObject(200, mrkdwn=True), required=True),
        Key("level", OneOf(("default", "info", "warning", "error", "success")))), ("modal",)),
    Shape("context_actions", (
        Key("elements", Many(Typed(("feedback_buttons", "icon_button")), 1, 5),
            required=True),), ("message",)),
    Shape("task_card", tuple(
        key for shape in OBJECTS if shape.name == "task" for key in shape.keys
        if key.name != "type"), ("message",), (not_waiting,)),
    Shape("plan", (
        Key("title", Words(), required=True),
        Key("tasks", Many(Plain("task"), 1, 50), required=True)), ("message",),
        (distinct("tasks", "task_id"),)),
)

VIEW_KEYS = (
    Key("private_metadata", Words(VIEW_METADATA, least=0, blank=True)),
    Key("callback_id", Words(255)), Key("external_id", Words(255)),
    Key("blocks", Many(BlockOf(), 1, VIEW_BLOCKS), required=True),
)
PAYLOADS = (
    Shape("message", (
        Key("channel", Words()), Key("user", Words()), Key("ts", Words()),
        Key("text", Words(MESSAGE_TEXT)), Key("blocks", Many(BlockOf(), 0, MESSAGE_BLOCKS)),
        Key("thread_ts", Words()), Key("reply_broadcast", Flag()), Key("mrkdwn", Flag()),
        Key("unfurl_links", Flag()), Key("unfurl_media", Flag()), Key("parse", OneOf(("none",))),
        Key("metadata", Plain("metadata")), Key("username", Words()), Key("icon_emoji", Words()),
        Key("icon_url", URL), Key("replace_original", Flag()), Key("delete_original", Flag()),
        Key("response_type", OneOf(("ephemeral", "in_channel"))),
    )),
    Shape("modal", (
        Key("type", OneOf(("modal",)), required=True),
        Key("title", TextObject(VIEW_TITLE), required=True), Key("submit", TextObject(VIEW_TITLE)),
        Key("close", TextObject(VIEW_TITLE)), Key("clear_on_close", Flag()),
        Key("notify_on_close", Flag()), *VIEW_KEYS), rules=(submit_with_inputs,)),
    Shape("home", (Key("type", OneOf(("home",)), required=True), *VIEW_KEYS)),
    Shape("file", (
        Key("filename", Words(), required=True), Key("length", Whole(1), required=True),
        Key("alt_txt", Words(FILE_ALT_TEXT)), Key("snippet_type", Words())),
        rules=(image_described,)),
)
# fmt: on

BLOCK = {shape.name: shape for shape in BLOCKS}
ELEMENT = {shape.name: shape for shape in (*ELEMENTS, RICH_TEXT)}
OBJECT = {shape.name: shape for shape in OBJECTS}
PAYLOAD = {shape.name: shape for shape in PAYLOADS}


# Walking a payload.


def faults_of(payload: Any, surface: Surface = "message") -> Iterator[Fault]:
    """Every fault of `payload`; any JSON, and what is none, may be asked about."""
    if not isinstance(payload, dict):
        yield Fault("payload", "is no object")
        return
    given = {key: value for key, value in payload.items() if value is not None}
    yield from shape_faults(PAYLOAD[surface], given, "", surface)
    yield from faults_of_the_whole(given, surface)


def shape_faults(
    shape: Shape, value: dict[str, Any], path: str, surface: Surface, implied: tuple[str, ...] = ()
) -> Iterator[Fault]:
    """The faults of one object; the `implied` keys are looked after by the caller."""
    known = {key.name for key in shape.keys} | set(implied)
    found = [
        Fault(at(path, str(name)), f"is no key of {shape.name}")
        for name in value
        if name not in known
    ]
    for key in shape.keys:
        if key.name in value:
            found.extend(kind_faults(key.kind, value[key.name], at(path, key.name), surface))
        elif key.required:
            found.append(Fault(at(path, key.name), "is missing"))
    yield from found
    if not found:
        for rule in shape.rules:
            yield from rule(value, path)


def kind_faults(kind: Kind, value: Any, path: str, surface: Surface) -> Iterator[Fault]:
    """The faults of one value that should be of this kind."""
    match kind:
        case Words():
            yield from word_faults(kind, value, path)
        case TextObject():
            yield from text_faults(kind, value, path, surface)
        case Whole():
            if not isinstance(value, int) or isinstance(value, bool):
                yield Fault(path, "is no whole number")
            elif value < kind.least or (kind.most is not None and value > kind.most):
                yield Fault(path, f"is {value}, outside {kind.least} to {kind.most or 'any'}")
        case Amount():
            if not isinstance(value, int | float) or isinstance(value, bool):
                yield Fault(path, "is no number")
            elif not math.isfinite(value) or (kind.positive and value <= 0):
                yield Fault(path, f"is {value}{', must be above 0' if kind.positive else ''}")
        case Flag():
            if not isinstance(value, bool):
                yield Fault(path, "is neither true nor false")
        case OneOf():
            if value not in kind.words:
                yield Fault(path, f"is none of {', '.join(kind.words)}")
        case Many():
            yield from list_faults(kind, value, path, surface)
        case Typed():
            yield from typed_faults(ELEMENT, kind.names, value, path, surface)
        case BlockOf():
            yield from block_faults(kind, value, path, surface)
        case Plain() | Free():
            if not isinstance(value, dict):
                yield Fault(path, "is no object")
            elif isinstance(kind, Plain):
                yield from shape_faults(OBJECT[kind.name], value, path, surface)
        case _:
            assert_never(kind)


def word_faults(kind: Words, value: Any, path: str) -> Iterator[Fault]:
    """The faults of a string."""
    if not isinstance(value, str):
        yield Fault(path, "is no text")
        return
    if kind.most is not None and len(value) > kind.most:
        yield Fault(path, f"has {len(value)} characters, at most {kind.most} go")
    if len(value) < kind.least or (kind.least and not kind.blank and not value.strip()):
        yield Fault(path, "is empty")
    elif kind.like and not re.fullmatch(kind.like, value):
        yield Fault(path, f"is not of the form {kind.like}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        yield Fault(path, "holds half a character (a lone surrogate)")


def text_faults(kind: TextObject, value: Any, path: str, surface: Surface) -> Iterator[Fault]:
    """The faults of a text object."""
    names = ("plain_text", "mrkdwn") if kind.mrkdwn else ("plain_text",)
    found = list(typed_faults(ELEMENT, names, value, path, surface))
    yield from found
    if not found and len(value["text"]) > kind.most:
        yield Fault(f"{path}.text", f"has {len(value['text'])} characters, at most {kind.most} go")


def list_faults(kind: Many, value: Any, path: str, surface: Surface) -> Iterator[Fault]:
    """The faults of a list and of all its members."""
    if not isinstance(value, list | tuple):
        yield Fault(path, "is no list")
        return
    if len(value) < kind.least:
        yield Fault(path, f"has {len(value)} entries, at least {kind.least} must be")
    if kind.most is not None and len(value) > kind.most:
        yield Fault(path, f"has {len(value)} entries, at most {kind.most} go")
    for i, member in enumerate(value):
        if not (member is None and kind.gaps):
            yield from kind_faults(kind.of, member, f"{path}[{i}]", surface)


def typed_faults(
    table: dict[str, Shape], names: Iterable[str], value: Any, path: str, surface: Surface
) -> Iterator[Fault]:
    """The faults of an object whose shape its `type` names."""
    if not isinstance(value, dict):
        yield Fault(path, "is no object")
        return
    name = value.get("type")
    if name not in tuple(names):
        yield Fault(f"{path}.type", f"is {name!r}, must be {' or '.join(names)}")
        return
    if surface not in table[name].surfaces:
        yield Fault(path, f"{name} does not go on a {surface}")
    implied = ("type", "block_id") if table is BLOCK else ("type",)
    yield from shape_faults(table[name], value, path, surface, implied)


def block_faults(kind: BlockOf, value: Any, path: str, surface: Surface) -> Iterator[Fault]:
    """The faults of a block, its block_id and the names of its actions."""
    yield from typed_faults(BLOCK, kind.names or tuple(BLOCK), value, path, surface)
    if not isinstance(value, dict):
        return
    if "block_id" in value:
        yield from word_faults(Words(255), value["block_id"], f"{path}.block_id")
    if isinstance(elements := value.get("elements"), list):
        ids = [str(e["action_id"]) for e in elements if isinstance(e, dict) and "action_id" in e]
        for name in repeated(ids):
            yield Fault(f"{path}.elements", f"two have the action_id {name!r}")


def faults_of_the_whole(payload: dict[str, Any], surface: Surface) -> Iterator[Fault]:
    """What only the whole payload shows: the text beside the blocks, totals, repeated ids."""
    if (
        surface == "message"
        and "text" not in payload
        and payload.get("delete_original") is not True
    ):
        yield Fault("text", "is missing: screen readers and notifications have nothing else")
    blocks = all_blocks(payload.get("blocks"))
    for name in repeated(str(b["block_id"]) for b in blocks if "block_id" in b):
        yield Fault("blocks", f"two have the block_id {name!r}")
    of_type = {name: [b for b in blocks if b.get("type") == name] for name in BLOCK}
    if len(of_type["table"]) + len(of_type["data_table"]) > 1:
        yield Fault("blocks", "has more than one table")
    if len(of_type["data_visualization"]) > MESSAGE_CHARTS:
        yield Fault("blocks", f"has more than {MESSAGE_CHARTS} charts")
    for name, limit in (
        ("table", TABLE_TEXT),
        ("data_table", DATA_TABLE_TEXT),
        ("markdown", MARKDOWN_TEXT),
    ):
        total = sum(characters(b.get("rows", b.get("text"))) for b in of_type[name])
        if total > limit:
            yield Fault("blocks", f"{name} text has {total} characters, at most {limit} go")
    if sum(focused(b) for b in blocks) > 1:
        yield Fault("blocks", "more than one element has focus_on_load")
    yield from coding_faults(payload, surface)


def coding_faults(payload: dict[str, Any], surface: Surface) -> Iterator[Fault]:
    """A payload is JSON in UTF-8, and a view is not larger than Slack reads."""
    try:
        size = len(json.dumps(payload, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeError is a ValueError
        yield Fault("payload", f"cannot be sent: {error}")
        return
    if surface in ("modal", "home") and size > VIEW_BYTES:
        yield Fault("payload", f"has {size} bytes, at most {VIEW_BYTES} go")


def all_blocks(blocks: Any) -> list[dict[str, Any]]:
    """The blocks, and those inside containers and carousels."""
    if not isinstance(blocks, list | tuple):
        return []
    found = [block for block in blocks if isinstance(block, dict)]
    for block in tuple(found):
        for inner in ("child_blocks", "elements"):
            if block.get("type") in ("container", "carousel"):
                found.extend(all_blocks(block.get(inner)))
    return found


def characters(value: Any) -> int:
    """The characters that are shown of cells: texts, and addresses without a text."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list | tuple):
        return sum(map(characters, value))
    if isinstance(value, dict):
        return characters(value.get("text", value.get("elements", value.get("url"))))
    return 0


def focused(block: dict[str, Any]) -> int:
    """How many elements of the block ask for the focus."""
    elements = block.get("elements")
    places = [block.get("element"), block.get("accessory")]
    if isinstance(elements, list | tuple):
        places.extend(elements)
    return sum(isinstance(e, dict) and e.get("focus_on_load") is True for e in places)
