"""What holds for every command, on every engine and surface. A new command is in here by itself."""

import csv
import io
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from analytics.command import COMMANDS, Command, Context
from analytics.errors import UserError
from analytics.result import Chart, Note, Result, Table
from analytics.totals import Totals
from bot.dispatch import Answer, answer
from bot.moving import comparable
from bot.parse import VERB_WORDS, Request, choices, fold, parse, unparse
from bot.render.chart import alt_text, spec, svg
from bot.render.docs import commands_page, configuration_page
from bot.render.sheet import sheets
from bot.render.text import to_text
from bot.slack.blocks import ladder
from bot.slack.sendable import assert_sendable
from storage.load.load import rebuild_totals
from tests.conftest import ENGINES

DOCS = Path(__file__).resolve().parents[1] / "docs"
ALL = sorted(COMMANDS)
EXAMPLES = [(name, text) for name in ALL for text in COMMANDS[name].examples]
#: What writes is asked in tests of its own: asked again, it may answer something else.
READING = [(name, text) for name, text in EXAMPLES if not COMMANDS[name].writes]

ANSWERS: dict[tuple[str, str], Answer] = {}


def answered(text: str, engine: str, shops: dict[str, Context]) -> Result:
    """The answer on the demo store of an engine; asked once in a run of the tests."""
    if (text, engine) not in ANSWERS:
        ANSWERS[text, engine] = answer(text, shops[engine])
    return ANSWERS[text, engine].result


@pytest.mark.parametrize("name", ALL)
def test_a_command_explains_itself(name: str, ctx: Context) -> None:
    command = COMMANDS[name]
    assert command.summary().endswith(".")
    assert command.examples
    assert all(
        fold("".join(e.split()[:VERB_WORDS])).startswith(fold(name)) for e in command.examples
    )
    assert all(saying.help for _, saying in command.sayings().values())
    shown = to_text(answer(f"help {name}", ctx).result)
    assert all(e.split()[-1] in shown for e in command.examples)


@pytest.mark.parametrize("name", ALL)
def test_no_two_fields_share_a_choice(name: str) -> None:
    words = [c for annotation, _ in COMMANDS[name].sayings().values() for c in choices(annotation)]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_an_example_round_trips(name: str, text: str, ctx: Context) -> None:
    request = parse(text, ctx.today, ctx.catalog)
    assert type(request.command) is COMMANDS[name]
    assert parse(unparse(request.command), ctx.today, ctx.catalog) == Request(request.command)
    assert hash(request.command) == hash(parse(text, ctx.today, ctx.catalog).command)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("text", ["kpis last 30 days by country", "digest 2011-12-08"])
def test_the_zone_of_the_machine_is_nothing_to_an_answer(
    text: str, engine: str, shops: dict[str, Context], machine_zone: Callable[[str], None]
) -> None:
    expected = comparable(answered(text, engine, shops))
    machine_zone("Asia/Tokyo")
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(answer, text, shops[engine]).result().result
    assert comparable(said) == expected


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "text"), READING)
def test_an_example_is_answered_and_repeats_exactly(
    name: str, text: str, engine: str, shops: dict[str, Context]
) -> None:
    first = answered(text, engine, shops)
    assert answer(text, shops[engine]).result == first
    assert json.loads(json.dumps(first.to_dict(), allow_nan=False)) == first.to_dict()
    assert first.receipt is not None
    assert first.receipt.question == parse(text, shops[engine].today, shops[engine].catalog).text


@pytest.mark.parametrize("engine", [e for e in ENGINES if e != "duckdb"])
@pytest.mark.parametrize(("name", "text"), READING)
def test_engines_agree_to_ten_digits(
    name: str, text: str, engine: str, shops: dict[str, Context]
) -> None:
    if name == "status":
        return  # it names the engine
    ours, theirs = (comparable(answered(text, e, shops)) for e in ("duckdb", engine))
    assert ours == theirs


@pytest.mark.parametrize(("name", "text"), READING)
def test_an_answer_fits_every_surface(name: str, text: str, shops: dict[str, Context]) -> None:
    result = answered(text, "duckdb", shops)
    for form in ("answer", "chart", "table", "csv", "sql"):
        shown = to_text(result, form=form)  # type: ignore[arg-type]
        assert "nan" not in shown.lower().split()
        assert "None" not in shown.split()
    assert result.headline in " ".join(to_text(result, width=10_000).split("\n"))
    for sheet in sheets(result):
        rows = list(csv.reader(io.StringIO(sheet.content.decode("utf-8-sig"))))
        assert len(rows) == len(sheet.rows) + 1
        assert {len(row) for row in rows} == {len(sheet.header)}
    for chart in (p for p in result.parts if isinstance(p, Chart)):
        assert svg(chart, "GBP").startswith("<svg")
        assert spec(chart, "GBP")["data"]["values"]
        assert chart.title in alt_text(chart, "GBP")
    for message in ladder(result):
        assert_sendable({"channel": "C0000000001", **message.payload})
        plain = message.text.replace("\u200c", "")  # put beside signs that Slack would act on
        assert result.headline[:40] in plain


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_an_empty_store_is_answered_or_politely_refused(name: str, text: str, ctx: Context) -> None:
    try:
        result = answer(text, ctx).result
    except UserError as refusal:
        assert refusal.code != "internal"
        assert refusal.message.endswith(".")
    else:
        assert result.headline


@pytest.mark.parametrize(("name", "text"), READING)
def test_follow_ups_can_be_asked(name: str, text: str, shops: dict[str, Context]) -> None:
    ctx = shops["duckdb"]
    for follow_up in answered(text, "duckdb", shops).follow_ups:
        assert isinstance(parse(follow_up, ctx.today, ctx.catalog).command, Command)


@pytest.mark.parametrize(("name", "text"), READING)
def test_simulated_data_is_said(name: str, text: str, shops: dict[str, Context]) -> None:
    result = answered(text, "duckdb", shops)
    assert result.receipt is not None
    asked = " ".join(q.sql for q in result.receipt.queries)
    if re.search(r"\b(FROM|JOIN) (events|exposures|ratings)\b", asked):
        assert result.receipt.simulated
    for simulated in result.receipt.simulated:
        assert simulated in " ".join(to_text(result, width=10_000).split())


def test_the_pages_made_from_the_code_are_not_stale(ctx: Context) -> None:
    assert (DOCS / "commands.md").read_text(encoding="utf-8") == commands_page(ctx.catalog)
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == configuration_page()


def test_every_part_of_every_answer_has_content(shops: dict[str, Context]) -> None:
    for _, text in READING:
        for part in answered(text, "duckdb", shops).parts:
            match part:
                case Table():
                    assert part.rows
                case Note():
                    assert part.text


@pytest.mark.parametrize("engine", ENGINES)
def test_totals_per_day_give_the_answers_of_the_rows(
    engine: str, shops: dict[str, Context]
) -> None:
    store = shops[engine].store
    verbs = ("digest", "kpis", "portrait", "segment-moves", "top", "trend", "why")
    asked = [text for name, text in READING if name in verbs]
    from_rows = [comparable(answered(text, engine, shops)) for text in asked]
    store.keep(Totals(shops[engine].zone))
    try:
        assert rebuild_totals(store) is not None
        found = [answer(text, shops[engine]).result for text in asked]
    finally:
        store.engine.keeper = None
    assert [comparable(result) for result in found] == from_rows
    receipts = [(t, r.receipt) for t, r in zip(asked, found, strict=True)]
    told = {t.split()[0] for t, receipt in receipts if receipt and receipt.from_totals}
    assert told >= {"digest", "kpis", "trend", "why"}
