"""Outgoing text: nothing in the data acts, and cut text is still well formed."""

import html
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.slack.sendable import assert_sendable
from bot.slack.text import BREAK, code, cut, cut_mrkdwn, escape, fence, field, fit, shown, value

HOSTILE = st.text(
    st.sampled_from("ab1 @#:/.*_~`&<>|!\n\t\u202e\u200b\u0000\u0301😀\ud800") | st.characters()
)


def read(sent: str) -> str:
    """What a person reads of mrkdwn without formatting."""
    return html.unescape(sent.replace(BREAK, ""))


def test_three_characters_are_escaped() -> None:
    assert escape("a & b < c > d") == "a &amp; b &lt; c &gt; d"


@pytest.mark.parametrize(
    ("text", "acts"),
    [
        ("<!channel>", "<!channel>"),
        ("<@U123>", "<@U123>"),
        ("@here", "@here"),
        ("#general", "#general"),
        ("https://evil.example", "://"),
        ("www.evil.example", "www."),
        ("a@b.example", "a@b"),
        ("*bold*", "*b"),
        ("`x`", "`x"),
        (":skull:", ":skull:"),
    ],
)
def test_a_value_is_read_as_it_is_and_does_not_act(text: str, acts: str) -> None:
    assert acts not in value(text)
    assert read(value(text)) == text


def test_a_value_does_not_begin_a_quotation() -> None:
    assert not value("> said").startswith("&gt;")
    assert read(value("> said")) == "> said"


@given(HOSTILE)
@example("<!everyone> https://x @here `a` \u202eb")
def test_no_value_holds_anything_that_slack_acts_on(text: str) -> None:
    sent = value(text)
    assert not re.search(r"[<>\n\ud800-\udfff]|://|[@#]\w|www\.", sent)
    assert not re.search(r"&(?!amp;|lt;|gt;)", sent)
    assert len(read(sent)) <= 80
    assert {unicodedata.category(c) for c in read(sent)}.isdisjoint({"Cc", "Cf", "Cs"})


def test_what_cannot_be_seen_is_dropped() -> None:
    assert shown("a\u202eb\u200bc\ufeffd\u0007e\ud800f\n\tg") == "abcdef g"


def test_a_tick_does_not_end_the_code() -> None:
    assert code("a`b") == "`aˋb`"
    assert code(" ") == ""
    assert fence("a ``` b\n<@U1>", 100) == "```\na ˋˋˋ b\n&lt;@U1&gt;\n```"


@given(HOSTILE, st.integers(20, 60))
def test_a_fence_has_two_ends_and_fits(text: str, most: int) -> None:
    sent = fence(text, most)
    assert len(sent) <= most
    assert re.fullmatch(r"```\n[^`]*\n```", sent)
    assert not re.search(r"&(?!amp;|lt;|gt;)", sent)


def test_text_is_cut_after_a_word() -> None:
    assert cut("Orders fell by half", 100) == "Orders fell by half"
    assert cut("Orders fell by half", 15) == "Orders fell by…"
    assert cut("Orders fell by half", 14) == "Orders fell…"
    assert cut("Orders fell by half", 3) == "Or…"
    assert cut("x" * 100, 10) == "x" * 9 + "…"
    assert cut("ab", 1) == "…"


def test_a_letter_keeps_its_accent() -> None:
    assert cut("abe\u0301f", 4) == "ab…"


@given(st.text(), st.integers(1, 40))
def test_cut_text_fits_and_is_a_beginning(text: str, most: int) -> None:
    short = cut(text, most)
    assert len(short) <= most
    assert text.startswith(short.removesuffix("…"))


def test_no_half_entity_or_link_is_left() -> None:
    assert cut_mrkdwn("aa bbb &amp; &amp; &amp;", 17) == "aa bbb &amp;…"
    assert cut_mrkdwn("see <https://example.com|the page> now", 30) == "see…"


def test_an_open_code_block_is_closed() -> None:
    short = cut_mrkdwn("```\n" + "row of the table\n" * 9 + "```", 60)
    assert short.endswith("…\n```")
    assert short.count("```") == 2
    assert len(short) <= 60


@given(
    st.lists(st.sampled_from(["word ", "```", "&amp;", "&lt;", "<https://a|b>", "`x`", "\n"])),
    st.integers(8, 60),
)
def test_cut_mrkdwn_is_well_formed(parts: list[str], most: int) -> None:
    text = "".join(parts)
    short = cut_mrkdwn(text, most)
    assert len(short) <= most
    if len(text) > most:
        assert short.count("```") % 2 == 0
        assert not re.search(r"&(?!amp;|lt;|gt;)|<[^>]*$", short)


def test_a_field_goes_into_a_section() -> None:
    block = {"type": "section", "fields": [{"type": "mrkdwn", "text": field("<b>", "x" * 3_000)}]}
    assert_sendable({"text": "t", "blocks": [block]})
    assert field("A&B", "12") == "*A&amp;B*  12"


def test_whole_lines_are_kept_and_the_rest_is_counted() -> None:
    assert fit(["one", "two"], 20) == "one\ntwo"
    lines = ["one", "two", "three", "four and more"]
    assert fit(lines, 17) == "one\n… and 3 more"
    assert fit(lines, 21) == "one\ntwo\n… and 2 more"
    assert len(fit(["x" * 50, "y"], 20)) <= 20
