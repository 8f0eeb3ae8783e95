"""Results of every kind, hostile words in them too, become messages that Slack takes."""

import datetime as dt
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.errors import UserError
from analytics.result import (
    Chart,
    Column,
    Figure,
    Note,
    Part,
    Query,
    Receipt,
    Result,
    Series,
    Table,
)
from bot.slack.blocks import (
    MESSAGE_BLOCKS,
    Message,
    error_message,
    ladder,
    plain_message,
    to_message,
)
from bot.slack.sendable import MESSAGE_TEXT, assert_sendable

RECEIPT = Receipt(
    question="kpis last 30 days",
    window="2026-09-01 to 2026-09-30 (Europe/London)",
    engine="DuckDB 2.0.1",
    data_through=dt.datetime(2026, 9, 30, 23, 5),
    as_of=dt.datetime(2026, 10, 1, 8),
    currency="GBP",
    zone="Europe/London",
    queries=(Query("select 1 where x = ?", ("<@U1>",), 3, 0.1),),
    sources=("UCI Online Retail (CC BY 4.0)",),
    simulated=("web sessions",),
    seconds=0.42,
)
ORDERS = Figure("Orders", 1_234, "count", before=1_102, more_is_better=True, group="Growth")
SALES = Table(
    "Best items",
    (Column("item", "Item"), Column("sales", "Sales", "money")),
    tuple((f"Item {i}", 100_000 - i) for i in range(40)),
    of_rows=480,
)
DAYS = tuple(dt.date(2026, 9, d) for d in range(1, 8))
SALES_BY_DAY = Chart("Sales", "line", DAYS, (Series("Sales", (1.0,) * 7),), "money", x_unit="date")


def result(*parts: Part, **more: Any) -> Result:
    given = {"title": "Key numbers", "headline": "Orders rose.", "receipt": RECEIPT} | more
    return Result(parts=parts, **given)


def block_types(message: Message) -> list[str]:
    return [b["type"] for b in message.blocks]


def rendered(value: Any) -> str:
    """All texts of a message, one a line."""
    if isinstance(value, dict):
        return "\n".join(rendered(v) for v in value.values())
    if isinstance(value, list | tuple):
        return "\n".join(rendered(v) for v in value)
    return value if isinstance(value, str) else ""


def test_an_answer_reads_from_title_to_receipt() -> None:
    message = to_message(result(ORDERS, SALES, SALES_BY_DAY, follow_ups=("rules", "segment")))
    assert block_types(message) == [
        "header",
        "context",
        "rich_text",
        "rich_text",
        "section",
        "data_table",
        "data_visualization",
        "actions",
        "actions",
        "context",
    ]
    assert message.blocks[0]["text"]["text"] == "Key numbers"
    assert "Understood: kpis last 30 days" in rendered(message.blocks[1])
    assert "Simulated in this answer: web sessions." in rendered(message.blocks[3])
    assert message.blocks[4]["text"]["text"] == "*Growth*"
    field = message.blocks[4]["fields"][0]["text"]
    assert field == "*Orders*  1,234\n▲ up 12 % from 1,102"


def test_a_table_says_how_much_of_it_is_shown_and_its_file_has_all() -> None:
    message = to_message(result(SALES), rows=12)
    block = message.blocks[4]
    assert block["caption"] == "Best items – 12 of 480 rows"
    assert len(block["rows"]) == 13
    assert block["rows"][1][1] == {"type": "raw_number", "value": 1000.0, "text": "£1,000.00"}
    (file,) = message.files
    assert file.name == "best-items.csv"
    assert file.content.count(b"\r\n") == 41


def test_a_second_table_is_aligned_text_for_slack_takes_one() -> None:
    other = Table("Countries", (Column("c", "Country"), Column("n", "Orders", "count")),
                  (("France", 12), ("Italy", None)))  # fmt: skip
    message = to_message(result(SALES, other))
    assert block_types(message).count("data_table") == 1
    grid = message.blocks[6]["elements"][0]["elements"][0]["text"]
    assert grid.splitlines() == ["Country  Orders", "France       12", "Italy         –"]


def test_a_table_too_wide_for_a_line_keeps_the_columns_that_fit_and_its_file_has_all() -> None:
    columns = tuple(Column(f"c{i}", f"Column number {i}", "count") for i in range(9))
    wide = Table("Wide", columns, (tuple(range(9)),))
    message = to_message(result(SALES, wide))
    grid = message.blocks[6]["elements"][0]["elements"][0]["text"]
    assert max(map(len, grid.splitlines())) <= 76
    assert "Column number 3" in grid
    assert "Column number 8" not in grid
    assert "wide.csv" in [f.name for f in message.files]


def test_a_table_of_long_texts_is_a_list() -> None:
    rules = Table(
        "How to tell them",
        (Column("s", "Segment"), Column("how", "mostly"), Column("share", "of it", "share")),
        (("Champions", "orders from 3, net spend from £876", 0.766), ("Others", None, None)),
    )
    bullets = to_message(result(SALES, rules)).blocks[6]["elements"][0]
    said = [item["elements"][0]["text"] for item in bullets["elements"]]
    assert said == [
        "Champions: mostly orders from 3, net spend from £876, of it 76.6 %",
        "Others",
    ]


def test_simpler_rungs_use_no_block_of_slacks_own() -> None:
    native, simple, words = ladder(result(ORDERS, SALES, SALES_BY_DAY))
    assert {"data_table", "data_visualization"} <= set(block_types(native))
    assert not {"data_table", "data_visualization"} & set(block_types(simple))
    assert words.blocks == ()
    assert native.text == simple.text == words.text
    assert [f.name for f in simple.files] == ["chart-1.png", "best-items.csv"]
    assert [f.name for f in words.files] == ["chart-1.png", "best-items.csv"]
    assert simple.files[0].alt.startswith("Sales: line chart")
    assert simple.files[0].content.startswith(b"\x89PNG")


def test_settings_turn_native_blocks_off() -> None:
    (first, *_) = ladder(result(SALES, SALES_BY_DAY), native_tables=False)
    assert "data_table" not in block_types(first)
    assert "data_visualization" in block_types(first)
    rungs = list(ladder(result(SALES), native_tables=False, native_charts=False))
    assert len(rungs) == 2


@pytest.mark.parametrize(
    "chart",
    [
        Chart("t", "scatter", (1, 2), (Series("a", (1.0, 2.0)),)),
        Chart("t", "interval", ("a",), (Series("a", (1.0,), (0.5,), (1.5,)),)),
        Chart("t", "line", tuple(range(21)), (Series("a", (1.0,) * 21),)),
        Chart("t", "line", (1, 2), (Series("a", (1.0, None)),)),
        Chart("t", "bar", ("x" * 21,), (Series("a", (1.0,)),)),
        Chart("t", "bar", ("x", "x"), (Series("a", (1.0, 2.0)),)),
        Chart("t", "pie", ("x", "y"), (Series("a", (1.0, 0)),)),
        Chart("t", "bar", ("x",), tuple(Series(f"s{i}", (1.0,)) for i in range(7))),
    ],
)
def test_a_chart_that_slack_cannot_draw_is_a_picture(chart: Chart) -> None:
    message = to_message(result(chart))
    assert "data_visualization" not in block_types(message)
    assert [f.name for f in message.files] == ["chart-1.png"]
    assert message.files[0].alt


def test_money_and_shares_are_drawn_in_units_that_people_read() -> None:
    money = Chart("Sales", "bar", ("a",), (Series("s", (12_345,)),), "money", y_label="Sales")
    share = Chart("Rate", "bar", ("a",), (Series("s", (0.125,)),), "share", y_label="Rate")
    blocks = to_message(result(money, share)).blocks
    drawn = [b["chart"] for b in blocks if b["type"] == "data_visualization"]
    assert drawn[0]["series"][0]["data"] == [{"label": "a", "value": 123.45}]
    assert drawn[0]["axis_config"]["y_label"] == "Sales (GBP)"
    assert drawn[1]["series"][0]["data"] == [{"label": "a", "value": 12.5}]
    assert drawn[1]["axis_config"]["y_label"] == "Rate (%)"


def test_the_words_hold_the_whole_finding() -> None:
    text = to_message(result(ORDERS, SALES, SALES_BY_DAY, Note("Sales are net."))).text
    for part in (
        "Orders rose.",
        "Simulated in this answer: web sessions.",
        "Orders: 1,234, up 12 % from 1,102",
        "Best items – 5 of 480 rows",
        "Item: Item 0; Sales: £1,000.00",
        "Sales: line chart",
        "Sales are net.",
        "DuckDB 2.0.1",
    ):
        assert part in text
    assert text.index("Simulated") < text.index("1,234")


def test_single_persons_are_for_the_asker_and_are_not_shared() -> None:
    people = Table("People", (Column("p", "Person"),), (("p1",),), person_level=True)
    message = to_message(result(people))
    assert message.ephemeral
    actions = [e["action_id"] for b in message.blocks if b["type"] == "actions"
               for e in b["elements"]]  # fmt: skip
    assert actions == ["again", "change", "sql", "csv"]
    assert not to_message(result(ORDERS)).ephemeral


def test_follow_ups_hand_back_their_question() -> None:
    message = to_message(result(ORDERS, follow_ups=("rules", "segment", "rules")))
    first = next(b for b in message.blocks if b["type"] == "actions")
    assert [(e["action_id"], e["value"]) for e in first["elements"]] == [
        ("ask_0", "rules"),
        ("ask_1", "segment"),
    ]


def test_forms_choose_the_parts() -> None:
    whole = result(ORDERS, SALES, SALES_BY_DAY)
    assert "data_table" not in block_types(to_message(whole, form="chart"))
    assert "data_visualization" not in block_types(to_message(whole, form="table"))
    assert [f.name for f in to_message(whole, form="csv").files] == [
        "figures.csv",
        "best-items.csv",
    ]
    assert "no chart" in to_message(result(ORDERS), form="chart").text
    sql = to_message(whole, form="sql")
    assert sql.ephemeral
    assert "select 1 where x = ?" in sql.text
    assert "<@U1>" not in sql.text
    assert "&lt;@U1&gt;" in sql.text


def test_buttons_ask_without_the_form() -> None:
    receipt = RECEIPT.__class__(**{**vars(RECEIPT), "question": "kpis last 30 days as chart"})
    message = to_message(result(SALES_BY_DAY, receipt=receipt), form="chart")
    values = {e["value"] for b in message.blocks if b["type"] == "actions" for e in b["elements"]}
    assert values == {"kpis last 30 days"}


def test_a_refusal_says_what_to_do() -> None:
    message = error_message(UserError("I don't know <!here>.", hint="Did you mean `kpis`?"))
    assert message.ephemeral
    assert "<!here>" not in message.text
    code = message.blocks[1]["elements"][0]["elements"][1]
    assert code == {"type": "text", "text": "kpis", "style": {"code": True}}
    assert_sendable(message.payload)
    assert_sendable(error_message(UserError("", hint="")).payload)
    assert_sendable(plain_message("x" * 9_000).payload)


def test_words_that_nobody_can_see_are_a_dash() -> None:
    assert to_message(Result("\x00", "\x08", (Note("\x00"),))).text == "–"


# Any result.

HOSTILE = st.sampled_from(
    [
        "<@U12345>", "<!channel>", "<!here|x>", "<https://evil.example|click>", "@here",
        "@channel",
        "https://evil.example/a", "www.evil.example", "*bold*", "```", "`", "&amp;", "&lt;",
        ":tada:",
        "\u202egnp.exe", "\x00", "\ud800", "\u200b", "", " ", "\n\n", "=1+1", "<", ">", "> quote",
        "#general", "mailto:a@b.c", "ﷺ" * 50, "x" * 500, "a" * 4_000, "é\u0301" * 60,
        "[a](http://b)",
    ]
)  # fmt: skip
WORD = st.one_of(HOSTILE, st.text(max_size=60), st.tuples(HOSTILE, HOSTILE).map("".join))
SOME_WORD = WORD.filter(lambda w: bool(w.strip()))
UNITS = st.sampled_from(
    "text count number share points score money days seconds times date instant flag".split()
)
NUMBERS = st.one_of(
    st.integers(-(10**15), 10**15), st.floats(-1e12, 1e12, allow_nan=False), st.just(0)
)
INSTANTS = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2100, 1, 1))


@st.composite
def typed_values(draw: st.DrawFn, unit: str) -> Any:
    if draw(st.integers(0, 5)) == 0:
        return None
    match unit:
        case "text":
            return draw(WORD)
        case "date":
            return draw(INSTANTS).date()
        case "instant":
            return draw(INSTANTS)
        case "flag":
            return draw(st.booleans())
        case _:
            return draw(NUMBERS)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    wide = draw(st.sampled_from([1, 1, 7]))
    units = draw(st.lists(UNITS, min_size=1, max_size=3)) * wide
    columns = tuple(Column(f"c{i}", draw(WORD), u) for i, u in enumerate(units))  # type: ignore[arg-type]
    row = st.tuples(*(typed_values(u) for u in units))
    rows = draw(st.lists(row, min_size=1, max_size=3))
    many = tuple(rows) * draw(st.sampled_from([1, 1, 40]))
    more = draw(st.sampled_from([None, len(many), 10**6]))
    return Table(draw(WORD), columns, many, more, draw(st.booleans()))


@st.composite
def charts(draw: st.DrawFn) -> Chart:
    kind = draw(st.sampled_from("line area bar pie scatter interval".split()))
    n = draw(st.sampled_from([1, 2, 5, 20, 25]))
    x: tuple[Any, ...]
    if kind == "scatter":
        x = tuple(float(i) for i in range(n))
    else:
        x = draw(st.sampled_from([
            tuple(f"{i} {draw(WORD)}" for i in range(n)),
            tuple(dt.date(2026, 1, 1) + dt.timedelta(i) for i in range(n)),
            ("same",) * n,
        ]))  # fmt: skip
    value = st.one_of(st.floats(0, 1e6), st.integers(-100, 100), st.none())
    values = st.lists(value, min_size=n, max_size=n).map(tuple)
    series = tuple(
        Series(draw(WORD), draw(values), (0.0,) * n, (2.0,) * n)
        for _ in range(1 if kind == "pie" else draw(st.integers(1, 7)))
    )
    unit: Any = draw(st.sampled_from("count share money points number".split()))
    x_unit: Any = "date" if isinstance(x[0], dt.date) else "text"
    return Chart(draw(WORD), kind, x, series, unit, draw(WORD), draw(WORD), x_unit)  # type: ignore[arg-type]


@st.composite
def figures(draw: st.DrawFn) -> Figure:
    unit = draw(UNITS)
    value, before = draw(typed_values(unit)), draw(typed_values(unit))
    better = draw(st.sampled_from([None, True, False]))
    return Figure(draw(WORD), value, unit, before, better, draw(WORD), draw(WORD))  # type: ignore[arg-type]


NOTES = st.builds(Note, WORD, st.sampled_from(["info", "warning"]))
RECEIPTS = st.builds(
    Receipt,
    question=WORD,
    window=WORD,
    engine=WORD,
    data_through=st.none() | INSTANTS,
    as_of=INSTANTS,
    currency=st.sampled_from(["GBP", "JPY", "XXX", ""]),
    zone=st.just("UTC"),
    queries=st.lists(st.builds(Query, WORD, st.just(()), st.just(1), st.just(0.1)), max_size=3).map(
        tuple
    ),
    sources=st.lists(WORD, max_size=2).map(tuple),
    simulated=st.lists(WORD, max_size=2).map(tuple),
    seconds=st.floats(0, 100),
)


def results(*, drawn: bool) -> st.SearchStrategy[Result]:
    kinds = [tables(), figures(), NOTES, *([charts()] if drawn else [])]
    return st.builds(
        Result,
        title=WORD,
        headline=SOME_WORD,
        parts=st.lists(st.one_of(kinds), min_size=1, max_size=5).map(tuple),
        follow_ups=st.lists(WORD, max_size=8).map(tuple),
        receipt=st.none() | RECEIPTS,
    )


ACTIVE = re.compile(r"<[@#!]|<https?:|<mailto:|(?<![\w\u200c])@\w|://|\bwww\.\w")


def mrkdwn_texts(message: Message) -> list[str]:
    """What Slack reads as mrkdwn."""
    found = [message.text]

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("type") == "mrkdwn":
                found.append(value["text"])
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                walk(inner)

    walk(message.blocks)
    return found


def active_elements(value: Any) -> list[Any]:
    """Rich-text elements that act."""
    if isinstance(value, dict):
        acts = value.get("type") in ("link", "user", "usergroup", "channel", "broadcast", "emoji")
        return ([value] if acts else []) + [a for v in value.values() for a in active_elements(v)]
    if isinstance(value, list | tuple):
        return [a for v in value for a in active_elements(v)]
    return []


def check(message: Message) -> None:
    assert_sendable(message.payload)
    assert len(message.text) <= MESSAGE_TEXT
    assert len(message.blocks) <= MESSAGE_BLOCKS
    assert active_elements(message.blocks) == []
    for text in mrkdwn_texts(message):
        outside_code = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        assert not ACTIVE.search(outside_code), text
        assert text.count("```") % 2 == 0
    for file in message.files:
        said = {"filename": file.name, "length": len(file.content)}
        assert_sendable(said | ({"alt_txt": file.alt} if file.alt else {}), "file")


@settings(max_examples=60, deadline=None)
@given(results(drawn=False), st.sampled_from([1, 20, 100]))
def test_any_result_is_sendable_and_inert(answer: Result, rows: int) -> None:
    for message in ladder(answer, rows=rows):
        check(message)
    for form in ("csv", "sql"):
        check(to_message(answer, form=form, rows=rows))  # type: ignore[arg-type]


@settings(max_examples=8, deadline=None)
@given(results(drawn=True))
def test_any_chart_is_sendable_and_inert(answer: Result) -> None:
    check(to_message(answer))
    check(to_message(answer, form="chart"))


@given(WORD, WORD)
def test_any_refusal_is_sendable_and_inert(message: str, hint: str) -> None:
    check(error_message(UserError(message, hint=hint)))
    check(plain_message(message))
