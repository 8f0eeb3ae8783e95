"""The language: tables of good and bad texts, and what holds for any text."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.catalog import Catalog, Dimension
from analytics.command import COMMANDS, Command, Context, says
from analytics.errors import UserError
from analytics.period import Period, parse_period
from analytics.result import Note, Result
from analytics.scope import Filter, Filters
from bot.parse import Request, clean, fold, parse, unparse

TODAY = dt.date(2026, 10, 10)
CATALOG = Catalog()


@dataclass(frozen=True, kw_only=True)
class Probe(Command):
    """A command with a field of every kind."""

    examples: ClassVar = ("probe shop last 30 days",)
    aliases: ClassVar = ("sonde",)

    place: str | None = says(None, positional=True, help="where")
    period: Period = says("last 7 days", help="when")
    where: Filters = says(Filters(), help="which rows")
    by: Dimension | None = says(None, help="split")
    method: Literal["fast", "slow"] = says("fast", after_by=True, help="how")
    order: Literal["spend", "size"] = says("spend", help="which first")
    k: int | None = says(None, low=2, high=12, unit="count", help="how many")
    min_support: float = says(0.01, low=0.0001, high=1, unit="share", help="at least so often")
    item: str | None = says(None, words=("with item",), help="an item")
    ahead: int | None = says(None, words=("next",), low=1, unit="days", help="how far")

    def run(self, ctx: Context) -> Result:
        """Not asked here."""
        return Result("probe", "Nothing.", (Note("Nothing."),))


@dataclass(frozen=True, kw_only=True)
class Mute(Command):
    """A command that can be told nothing."""

    examples: ClassVar = ("mute",)

    def run(self, ctx: Context) -> Result:
        """Not asked here."""
        return Result("mute", "Nothing.", (Note("Nothing."),))


del COMMANDS["probe"], COMMANDS["mute"]  # only these tests know them


@pytest.fixture(autouse=True)
def probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe is a command while a test of this file runs."""
    monkeypatch.setitem(COMMANDS, "probe", Probe)
    monkeypatch.setitem(COMMANDS, "mute", Mute)


def understood(text: str) -> str:
    return parse(text, TODAY, CATALOG).text


GOOD = [
    ("probe", "probe last 7 days"),
    ("PROBE Last 30 Days", "probe last 30 days"),
    ("probes 30d?", "probe last 30 days"),
    ("sonde", "probe last 7 days"),
    ("please show me the probe of last week", "probe last week"),
    ("probe shop", "probe shop last 7 days"),
    ("probe last 30 days shop", "probe shop last 30 days"),
    ("probe for category bags", "probe last 7 days where category:bags"),
    ("probe in category lunch bags last week", 'probe last week where category:"lunch bags"'),
    ("probe where category is not bags", "probe last 7 days where category!=bags"),
    ("probe category != bags", "probe last 7 days where category!=bags"),
    (
        'probe where country:France,"United Kingdom" and device=mobile',
        'probe last 7 days where country:France,"United Kingdom" and device:mobile',
    ),
    ("probe country: France", "probe last 7 days where country:France"),
    ("probe for countries France,Spain", "probe last 7 days where country:France,Spain"),
    ('probe market:"Côte d’Ivoire"',
     'probe last 7 days where country:"Côte d’Ivoire"'),
    ("probe by device", "probe last 7 days by device"),
    ("probe per Categories", "probe last 7 days by category"),
    ("probe by slow", "probe last 7 days by slow"),
    ("probe slow", "probe last 7 days by slow"),
    ("probe by country by slow", "probe last 7 days by country by slow"),
    ("probe order size", "probe last 7 days size"),
    ("probe size", "probe last 7 days size"),
    ("probe k 5", "probe last 7 days k 5"),
    ("probe k=5", "probe last 7 days k 5"),
    ("probe K: 5", "probe last 7 days k 5"),
    ("probe next 90 days", "probe last 7 days next 90 days"),
    ("probe next 90", "probe last 7 days next 90 days"),
    ("probe next 90d k 5", "probe last 7 days k 5 next 90 days"),
    ("probe next 1 day last 30 days", "probe last 30 days next 1 day"),
    ("probe ahead:30", "probe last 7 days next 30 days"),
    ("probe min-support 2%", "probe last 7 days min-support 0.02"),
    ("probe min support 2 %", "probe last 7 days min-support 0.02"),
    ("probe MIN_SUPPORT:.02", "probe last 7 days min-support 0.02"),
    ("probe minsupport 0.01", "probe last 7 days"),
    ("probe with item RED MUG last week", 'probe last week with item "RED MUG"'),
    ('probe item:"6\\" RULER"', 'probe last 7 days with item "6\\" RULER"'),
    ("probe as csv", "probe last 7 days as csv"),
    ("probe as Tables last week", "probe last week as table"),
    ('probe "last week"', 'probe "last week" last 7 days'),
    ('probe "k"', 'probe "k" last 7 days'),
    ("probe period:yesterday", "probe yesterday"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "canonical"), GOOD)
def test_a_text_is_understood_and_its_canonical_text_means_the_same(
    text: str, canonical: str
) -> None:
    assert understood(text) == canonical
    assert parse(canonical, TODAY, CATALOG) == parse(text, TODAY, CATALOG)


BAD = [
    ("", "You asked nothing yet."),
    ("   ", "You asked nothing yet."),
    ("prob", "I don't know the command “prob”. Did you mean `probe`?"),
    ("xyzzy", "I don't know the command “xyzzy”."),
    ("probe for catgory bags", "I don't know the dimension “catgory”. Did you mean category?"),
    ("probe by catgory", "I don't know the dimension “catgory”. Did you mean category?"),
    ("probe by", "I don't know the dimension “”."),
    ("probe shop for France", "I don't know what “France” is."),
    ("probe shop lst 30 days", "I don't understand “lst” in a `probe` question. Did you mean"),
    ("probe shop garden", "I don't understand “garden” in a `probe` question."),
    ("probe category", "“category” needs a value."),
    ("probe category last week", "“category” needs a value."),
    ("probe country:", "“country” needs a value."),
    ("probe colour:red", "I don't know the field or dimension “colour”."),
    ("probe k", "“k” needs a value."),
    ("probe k five", "k “five” is not a number."),
    ("probe k 2.5", "k must be a whole number, not 2.5."),
    ("probe k 99", "k must be between 2 and 12, not 99."),
    ("probe k 5%", "k “5%” is not a number."),
    ("probe next weeks", "ahead “weeks” is not a number."),
    ("probe k 3 k 4", "You said k twice: “3” and “4”. Say one."),
    ("probe min-support 2", "min-support must be between 0.01 % and 100 %, not 2."),
    ("probe min-support nan", "min-support “nan” is not a number."),
    ("probe order price", "I don't know the order “price”."),
    ("probe slow fast", "You said method twice: “slow” and “fast”."),
    ("probe last week last month", "You said period twice: “last week” and “last month”."),
    ("probe 2026-13", "“2026-13” is no day or period."),
    ("probe as pdf", "I don't know the form “pdf”. It can be chart, table, csv or sql."),
    ('probe "open', "A quote is opened and not closed."),
    ("probe " + "x" * 1000, "The question is too long: 1,006 characters."),
    ("probe " + "ﷺ" * 300, "The question is too long"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_bad_text_is_refused_with_what_to_do(text: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(text, TODAY, CATALOG)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mute last week", "`mute` takes no period."),
        ("mute by country", "`mute` can't be split by anything."),
        ("mute country:France", "`mute` can't be narrowed by country."),
        ("mute button", "I don't understand “button” in a `mute` question."),
    ],
)
def test_a_command_without_the_field_says_so(text: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(text, TODAY, CATALOG)
    assert refused.value.message == message


def test_invisible_and_control_characters_are_dropped() -> None:
    assert clean("kp\u200bis\u202e \x00last\n30\tdays\ud800") == "kpis last 30 days"


def test_words_of_ours_fold_case_hyphens_and_plural() -> None:
    assert len({fold(w) for w in ("Category", "categories", "CATEGORY")}) == 1
    assert fold("min-support") == fold("MIN_SUPPORT") == fold("min supports")
    assert fold("as") == "as"


VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).map(
    lambda s: clean(s)[:40]
)
WORDS = st.sampled_from(
    "probe k 5 last 30 days by country where category : = != , as csv for in item with \" “ ' %"
    " min-support 1% size slow q3 2026-10 .. since march 1 and not is . ? \\".split(" ")
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(WORDS, VALUES), max_size=14))
def test_any_text_is_understood_or_refused(words: list[str]) -> None:
    for text in (" ".join(words), "probe " + " ".join(words)):
        try:
            request = parse(text, TODAY, CATALOG)
        except UserError as refused:
            assert refused.message
        else:
            assert parse(request.text, TODAY, CATALOG) == request


SOME_PERIODS = st.sampled_from(["last 30 days", "last week", "2026-Q3", "all time", "today"])
SAFE = VALUES.filter(lambda s: s.strip() == s and s != "")


@st.composite
def probes(draw: st.DrawFn) -> Probe:
    """Any probe that can be said."""
    names = st.sampled_from([d.name for d in CATALOG.dimensions])
    filters = st.builds(
        Filter, names, st.lists(SAFE, min_size=1, max_size=3).map(tuple), st.booleans()
    )
    fields: dict[str, Any] = {
        "place": draw(st.none() | SAFE),
        "period": parse_period(draw(SOME_PERIODS), TODAY),
        "where": Filters(tuple(draw(st.lists(filters, max_size=3, unique=True)))),
        "by": draw(st.none() | st.sampled_from(CATALOG.dimensions)),
        "method": draw(st.sampled_from(["fast", "slow"])),
        "order": draw(st.sampled_from(["spend", "size"])),
        "k": draw(st.none() | st.integers(2, 12)),
        "min_support": draw(st.floats(0.0001, 1)),
        "item": draw(st.none() | SAFE),
    }
    return Probe(**fields)


@settings(max_examples=300, deadline=None)
@given(probes())
def test_parse_of_unparse_is_the_same_command(command: Probe) -> None:
    assert parse(unparse(command), TODAY, CATALOG) == Request(command)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (
            "digest yesterday for country France anyway",
            'digest anyway yesterday where country:"France"',
        ),
        ("ab checkout_v2 metric revenue fresh", "ab checkout_v2 metric revenue fresh"),
        ("top items for category lunch bags", 'top where category:"lunch bags"'),
        ("top category last 7 days", "top categories last 7 days"),
    ],
)
def test_a_choice_ends_a_value_and_a_dimension_with_a_value_is_no_choice(
    text: str, canonical: str
) -> None:
    asked = parse(text, TODAY, CATALOG)
    assert asked.command == parse(canonical, TODAY, CATALOG).command
