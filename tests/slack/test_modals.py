"""Forms: every command has one that Slack takes, and what is in it asks the same question."""

import dataclasses
import datetime as dt
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.catalog import Catalog, Dimension
from analytics.command import COMMANDS, Command, Context, says
from analytics.errors import UserError
from analytics.habits import SAID, Condition, Conditions, Operator
from analytics.period import Period, parse_period
from analytics.result import Note, Result
from analytics.scope import Filter, Filters
from bot.parse import choices, kinds, parse, unparse
from bot.slack.modals import (
    ERROR_TEXT,
    FORM_BLOCK,
    PERIODS,
    FieldsError,
    Filled,
    Origin,
    filled_by,
    filled_in,
    form_for,
    modal_of,
    moved_to,
    question_of,
    said_in,
)
from bot.slack.sendable import assert_sendable
from tests.slack.forms import sent_in

TODAY = dt.date(2026, 10, 10)
CATALOG = Catalog()
ALL = sorted(COMMANDS)
EXAMPLES = [text for name in ALL for text in COMMANDS[name].examples]


def asked(question: str, changes: dict[str, str | None] | None = None) -> str:
    """What a question's form asks, after these changes."""
    view = modal_of(filled_by(parse(question, TODAY, CATALOG)), CATALOG)
    return question_of(filled_in(sent_in(view, changes)), TODAY, CATALOG)


def refused(question: str, changes: dict[str, str | None]) -> dict[str, str]:
    """What is told at which field."""
    with pytest.raises(FieldsError) as caught:
        asked(question, changes)
    return caught.value.errors


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_a_form_that_slack_takes(name: str) -> None:
    view = modal_of(Filled(name), CATALOG)
    assert_sendable(view, "modal")
    labels = [b["label"]["text"] for b in view["blocks"] if b["type"] == "input"]
    assert len(labels) >= len(COMMANDS[name].sayings())
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_form_left_as_it_is_asks_the_same_question(text: str) -> None:
    assert asked(text) == parse(text, TODAY, CATALOG).text
    view = modal_of(filled_by(parse(text, TODAY, CATALOG), Origin("C1", "9.9")), CATALOG)
    assert_sendable(view, "modal")
    assert filled_in(sent_in(view)).origin == Origin("C1", "9.9")


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_form_in_which_to_answer_is_kept(text: str) -> None:
    request = parse(text, TODAY, CATALOG)
    if request.form == "answer" and not request.command.writes:
        assert asked(text, {FORM_BLOCK: "csv"}) == f"{request.text} as csv"


PERIOD = st.one_of(
    st.sampled_from([*PERIODS, "2026-10", "2025", "2026-Q1", "2026-09-01..2026-09-30"]),
    st.integers(1, 400).map(lambda n: f"last {n} days" if n > 1 else "yesterday"),
).map(lambda words: parse_period(words, TODAY))
WORDS = st.text("abcXYZ 0123456789-_'\"\\&<>,:=!?é%", min_size=1, max_size=30).map(
    lambda text: text.strip()
).filter(bool)  # fmt: skip
FILTER = st.builds(
    Filter,
    st.sampled_from([d.name for d in CATALOG.dimensions]),
    st.lists(WORDS, min_size=1, max_size=3, unique=True).map(tuple),
    st.booleans(),
)
FILTERS = st.lists(FILTER, max_size=2, unique=True).map(lambda found: Filters(tuple(found)))
METRIC = st.sampled_from([m.name for m in CATALOG.metrics])
CONDITIONS = st.lists(
    st.builds(
        Condition,
        st.sampled_from(sorted(SAID)),
        st.sampled_from(get_args(Operator)),
        st.integers(0, 10_000).map(lambda n: n / 4),
    ),
    max_size=3,
    unique=True,
).map(lambda found: Conditions(tuple(found)))


def values_of(annotation: Any, saying: Any) -> st.SearchStrategy[Any]:
    """Values that a field may have."""
    kind = kinds(annotation)[0]
    if kind is Period:
        found: st.SearchStrategy[Any] = PERIOD
    elif kind is Filters:
        found = FILTERS
    elif kind is Dimension:
        found = st.sampled_from(CATALOG.dimensions)
    elif kind is Conditions:
        found = CONDITIONS
    elif get_origin(kind) is tuple:
        found = st.lists(METRIC, max_size=3, unique=True).map(tuple)
    elif words := choices(annotation):
        found = st.sampled_from(words)
    elif saying.unit == "metric":
        found = METRIC
    elif kind is int:
        low = int(saying.low or 0)
        found = st.integers(low, int(saying.high) if saying.high is not None else low + 10_000)
    elif kind is float:
        high = saying.high if saying.high is not None else 1_000.0
        found = st.floats(saying.low or 0.0, high).map(lambda n: float(f"{n:.6f}")).filter(
            lambda n: (saying.low or 0.0) <= n <= high
        )  # fmt: skip
    else:
        found = WORDS
    return found | st.just(saying.default) if saying.default is None else found


#: What is said by words of its own has its own grammar, and examples to test it.
OWN_UNITS = ("when", "place", "question")
FREE = [n for n in ALL if all(s.unit not in OWN_UNITS for _, s in COMMANDS[n].sayings().values())]


@pytest.mark.parametrize("name", FREE)
@settings(max_examples=30)
@given(data=st.data())
def test_any_question_goes_through_its_form_unchanged(name: str, data: st.DataObject) -> None:
    command = COMMANDS[name]
    values = {n: data.draw(values_of(a, s), n) for n, (a, s) in command.sayings().items()}
    text = unparse(command(**values))
    try:
        before = parse(text, TODAY, CATALOG).command
    except UserError:
        return  # no sentence says it, so no message has it
    filled = Filled(name, said_in(before))
    view = modal_of(filled, CATALOG)
    assert_sendable(view, "modal")
    assert question_of(filled_in(sent_in(view)), TODAY, CATALOG) == unparse(before)


TEXTS = st.text(max_size=60) | st.sampled_from(
    ["<!channel>", "`x`", "a\x00b", "'; DROP TABLE orders", "1e999", "nan", "-1", "10..", "every",
     "where where", 'country:"', "last 0 days", "9999-99-99", "by by", "\u202eabc", "€" * 400]
)  # fmt: skip


@settings(max_examples=150)
@given(name=st.sampled_from(ALL), data=st.data())
def test_any_text_in_a_field_is_asked_or_refused_at_its_field(
    name: str, data: st.DataObject
) -> None:
    view = sent_in(modal_of(Filled(name), CATALOG))
    values = view["state"]["values"]
    for block, actions in values.items():
        if actions["value"]["type"] in ("plain_text_input", "number_input"):
            actions["value"]["value"] = data.draw(st.none() | TEXTS, block)
    try:
        text = question_of(filled_in(view), TODAY, CATALOG)
    except FieldsError as refused:
        assert set(refused.errors) <= set(values)
        assert all(0 < len(said) <= ERROR_TEXT for said in refused.errors.values())
    else:
        assert parse(text, TODAY, CATALOG).text


def test_a_command_that_is_no_more_gets_the_choice() -> None:
    assert moved_to(Filled("kpis"), "gone").verb == ""
    assert "submit" not in modal_of(Filled("gone"), CATALOG)


@pytest.mark.parametrize(
    ("question", "changes", "says"),
    [
        ("kpis", {"kpis/period": "last 7 days"}, "kpis last 7 days"),
        ("kpis", {"kpis/period/own": "October"}, "kpis October"),
        ("kpis", {"kpis/period/own": "since  1 March"}, "kpis since 1 March"),
        ("kpis", {"kpis/by": "country"}, "kpis last 30 days by country"),
        ("kpis by country", {"kpis/by": None}, "kpis last 30 days"),
        ("kpis", {"kpis/where": "country:France and category!=bags"},
         "kpis last 30 days where country:France and category!=bags"),
        ("kpis", {"kpis/where": "where category lunch bags"},
         'kpis last 30 days where category:"lunch bags"'),
        ("segment", {"segment/k": "5"}, "segment last 90 days k 5"),
        ("segment", {"segment/method": "dbscan"}, "segment last 90 days by dbscan"),
        ("rules", {"rules/min_support": "2.5"}, "rules last 90 days min-support 0.025"),
        ("rules", {"rules/item": "last 7 days"}, 'rules last 90 days with item "last 7 days"'),
        ("kpis", {FORM_BLOCK: "sql"}, "kpis last 30 days as sql"),
    ],
)  # fmt: skip
def test_what_is_changed_is_asked(question: str, changes: dict[str, str | None], says: str) -> None:
    assert asked(question, changes) == says


@pytest.mark.parametrize(
    ("question", "changes", "block", "told"),
    [
        ("kpis", {"kpis/period/own": "last fortnight"}, "kpis/period/own", "is no period"),
        ("kpis", {"kpis/period/own": "2026-13"}, "kpis/period/own", "2026-13"),
        ("kpis", {"kpis/where": "contry:France"}, "kpis/where", "Did you mean country?"),
        ("kpis", {"kpis/where": "last 7 days"}, "kpis/where", "field of its own for the period"),
        ("kpis", {"kpis/where": "country:"}, "kpis/where", "needs a value"),
        ("kpis", {"kpis/where": 'country:"Fra'}, "kpis/where", "quote"),
        ("segment", {"segment/k": "99"}, "segment/k", "between 2 and 12"),
        ("segment", {"segment/k": "many"}, "segment/k", "not a number"),
        ("rules", {"rules/min_support": "120"}, "rules/min_support", "not 120%"),
        ("trend revenue", {"trend/metric": None}, "trend/metric", "I need to know"),
        ("kpis", {"kpis/where": "country:" + "x" * 995}, "kpis/where", "too long"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(
    question: str, changes: dict[str, str | None], block: str, told: str
) -> None:
    errors = refused(question, changes)
    assert list(errors) == [block]
    assert told in errors[block]
    assert "`" not in errors[block]
    assert len(errors[block]) <= ERROR_TEXT


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong: dict[str, str | None] = {"segment/k": "99", "segment/where": "contry:France"}
    assert set(refused("segment", wrong)) == set(wrong)


def test_a_question_too_long_to_ask_is_told_where_most_was_said() -> None:
    values = ",".join(f'"{"x" * 40}{i}"' for i in range(25))
    errors = refused("kpis", {"kpis/where": values[:990]})
    assert set(errors) <= {"kpis/where", FORM_BLOCK}


def test_another_command_takes_the_period_and_filters_along() -> None:
    view = modal_of(form_for("kpis by country", Origin("C1"), TODAY, CATALOG), CATALOG)
    said: dict[str, str | None] = {"kpis/period/own": "2026-09", "kpis/where": "country:France"}
    filled = moved_to(filled_in(sent_in(view, said)), "segment")
    assert filled.said == {"period": "2026-09", "where": "country:France"}
    assert filled.origin == Origin("C1")
    again = question_of(filled_in(sent_in(modal_of(filled, CATALOG))), TODAY, CATALOG)
    assert again == "segment 2026-09 where country:France"


def test_a_default_period_does_not_move_to_another_command() -> None:
    view = modal_of(form_for("kpis", Origin(), TODAY, CATALOG), CATALOG)
    assert moved_to(filled_in(sent_in(view)), "segment").said == {}


@pytest.mark.parametrize(
    ("question", "verb"),
    [
        ("", ""),
        ("nonsense", ""),
        ("rules for catgory bags", "rules"),
        ("help", ""),
        ("help rules", "rules"),
        ("help nothing", ""),
    ],
)
def test_what_is_no_question_gets_the_choice(question: str, verb: str) -> None:
    filled = form_for(question, Origin(), TODAY, CATALOG)
    assert filled.verb == verb
    view = modal_of(filled, CATALOG)
    assert_sendable(view, "modal")
    assert ("submit" in view) is bool(verb)
    assert [g["label"]["text"] for g in view["blocks"][0]["accessory"]["option_groups"]]


def test_a_place_is_asked_for_in_channels_only() -> None:
    def ids(origin: Origin) -> list[str]:
        view = modal_of(Filled("kpis", {}, "answer", origin), CATALOG)
        return [b["block_id"] for b in view["blocks"] if "block_id" in b]

    assert ids(Origin())[-1] == ids(Origin("C1"))[-1] == "place"
    assert "place" not in ids(Origin("D1"))
    assert "place" not in ids(Origin("C1", hidden=True))


def test_another_place_is_no_thread() -> None:
    view = modal_of(Filled("kpis", {}, "answer", Origin("C1", "9.9")), CATALOG)
    assert filled_in(sent_in(view, {"place": "C2"})).origin == Origin("C2")
    assert filled_in(sent_in(view, {"place": None})).origin == Origin()


def test_a_refusal_of_the_whole_is_told_at_the_field_that_it_names() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Touchy(Command):
        """A command that refuses values together."""

        examples = ("touchy",)
        size: int | None = says(None, help="a size", low=1, high=9)
        kind: Literal["red", "green"] = says("red", help="a kind")

        def __post_init__(self) -> None:
            if self.size == 5 and self.kind == "green":
                raise UserError("Green takes no size.", hint="Leave the size out.")

        def run(self, ctx: Context) -> Result:
            return Result("t", "t", (Note("t"),))

    try:
        assert refused("touchy green", {"touchy/size": "5"}) == {
            "touchy/size": "Green takes no size. Leave the size out."
        }
    finally:
        del COMMANDS["touchy"]
