"""digest: the planted day, the gate, and what a config file may name."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from analytics.command import Context
from analytics.errors import HeldError, NotEnoughDataError, UserError
from analytics.result import Chart, Figure, Note, Result, Table
from bot.config import ConfigError, DigestSettings, Settings, load_settings
from bot.dispatch import answer
from bot.parse import parse
from bot.render.text import to_text
from bot.slack.blocks import to_message
from tests.conftest import fill


def asked(text: str, ctx: Context) -> Result:
    return answer(text, replace(ctx, store=ctx.store.fork())).result


def figures(result: Result) -> dict[str, Figure]:
    return {p.label: p for p in result.parts if isinstance(p, Figure)}


def test_the_planted_fault_is_the_headline_and_its_cause_is_named(shop: Context) -> None:
    """On 2011-11-25 the checkout was broken for mobile visitors from ads."""
    result = asked("digest 2011-11-25", shop)
    assert result.headline.startswith("Conversion fell to 4.3 %, below the usual 4.7 % to 7.1 %")
    assert "ads explains" in result.headline
    assert result.mark == "note, conversion"
    conversion = figures(result)["Conversion"]
    assert conversion.out_of_usual == "below"
    assert len(conversion.course) == 28
    assert conversion.course[-1] == conversion.value
    assert conversion.when == "the Friday before"
    assert conversion.earlier[0][0] == "the day before"
    assert result.follow_ups[0] == "why conversion 2011-11-25"


def test_a_usual_day_says_so(shop: Context) -> None:
    result = asked("digest 2011-12-08", shop)
    assert result.headline.startswith("All as usual on Thu 8 Dec 2011: revenue £82.5k")
    assert result.mark == "ok"
    assert all(not f.out_of_usual for f in figures(result).values())


def test_two_queries_bring_all_of_it(shop: Context) -> None:
    result = asked("digest 2011-12-08", shop)
    assert result.receipt is not None
    assert len(result.receipt.queries) == 2
    assert len(figures(result)) == 9


def test_a_day_without_its_afternoon_is_held_and_shown_marked_when_asked(shop: Context) -> None:
    """The demo's last day ends at 12:50."""
    with pytest.raises(HeldError) as held:
        asked("digest", shop)
    assert held.value.code == "held"
    assert "nothing from 13:00 to 18:00" in held.value.message
    assert "11 hours are without data: 47.6 % complete" in held.value.message
    assert "`digest 2011-12-09 anyway`" in held.value.hint
    result = asked("digest anyway", shop)
    assert result.headline.startswith("Incomplete data.")
    warning = next(p for p in result.parts if isinstance(p, Note) and p.level == "warning")
    assert "not whole" in warning.text
    assert result.mark.startswith("held")


def test_a_note_stands_under_the_numbers(shop: Context) -> None:
    notes = [p.text for p in asked("digest 2011-11-25", shop).parts if isinstance(p, Note)]
    assert notes[-2].startswith("Read with care: Ratings")
    assert notes[-1].startswith("Data through")
    assert notes[-1].endswith("100 % complete.")


def test_the_detail_is_in_the_thread_and_below_in_the_terminal(shop: Context) -> None:
    result = asked("digest 2011-11-25", shop)
    titles = [p.title for p in result.detail if isinstance(p, Table)]
    assert "Conversion: what moved from the Friday before" in titles
    assert isinstance(result.detail[0], Chart)
    message = to_message(result)
    assert message.detail is not None
    assert "what moved" in message.detail.text
    assert "what moved" not in message.text
    assert "what moved" in to_text(result)


def test_metrics_are_told_in_the_order_that_was_said(shop: Context) -> None:
    result = asked("digest conversion, buyers and net revenue 2011-12-08", shop)
    assert set(figures(result)) == {"Conversion", "Buyers", "Net revenue"}
    request = parse("digest conversion buyers", shop.today, shop.catalog)
    assert request.text == "digest conversion, buyers yesterday"


def test_a_digest_of_ones_own_is_asked_by_its_name(shop: Context) -> None:
    own = Settings(
        digests=(DigestSettings(name="growth", metrics=("revenue", "new buyers")),),
        metrics=(
            {"name": "searches", "label": "Searches", "unit": "count",
             "numerator": {"entity": "events", "aggregate": "count", "where": {"name": "search"}}},
        ),
    ).catalog()  # fmt: skip
    ctx = replace(shop, catalog=own)
    result = asked("digest growth 2011-12-08", ctx)
    assert result.title == "Growth digest, Thu 8 Dec 2011"
    assert list(figures(result)) == ["Revenue", "New buyers"]
    both = asked("digest growth, searches 2011-12-08", ctx)
    assert len(figures(both)) == 3
    assert parse("digest growth", ctx.today, own).text == "digest growth yesterday"


@pytest.mark.parametrize(
    ("digest", "fault"),
    [
        ({"name": "growth", "metrics": ["revenu"]}, "I don't know the metric"),
        ({"name": "sales", "metrics": ["revenue"]}, "is the name of a metric"),
        ({"name": "growth", "metrics": []}, "at least 1 item"),
        ({"name": "growth", "metrics": ["revenue"], "language": "xx"}, "language"),
    ],
)
def test_a_digest_that_can_not_be_is_refused_at_start(
    digest: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"digests": [digest]}), encoding="utf-8")
    with pytest.raises(ConfigError, match=fault):
        load_settings(path, {}).catalog()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("digest last 30 days", "neither a day nor a week"),
        ("digest weekly_active", "looks back"),
        ("digest today", "is not over"),
        ("digest revenu", "I don't know the metric"),
    ],
)
def test_what_has_no_value_for_a_day_is_refused(text: str, fault: str, shop: Context) -> None:
    with pytest.raises(UserError, match=fault):
        asked(text, shop)


def test_before_the_data_there_is_no_digest(shop: Context) -> None:
    with pytest.raises((NotEnoughDataError, HeldError)):
        asked("digest 2009-01-05", shop)


def test_a_digest_of_one_country_counts_what_is_from_there(shop: Context) -> None:
    alone = asked("kpis 2011-12-08 for country France", shop)
    value = next(p.value for p in alone.parts if isinstance(p, Figure) and p.label == "Revenue")
    told = figures(asked("digest revenue anyway 2011-12-08 for country France", shop))
    assert told["Revenue"].value == value


def test_numbers_have_the_signs_of_the_digest_s_language(shop: Context) -> None:
    own = Settings(
        digests=(
            DigestSettings(name="umsatz", metrics=("revenue", "conversion"), language="de"),
            DigestSettings(name="ventes", metrics=("revenue",), language="fr"),
        )
    ).catalog()
    ctx = replace(shop, catalog=own)
    german = asked("digest umsatz 2011-12-08", ctx)
    assert "revenue 82,5\u00a0Tsd.\u00a0£" in german.headline
    assert "82.495,00\u00a0£" in to_text(german, width=200)
    assert "*Conversion 6 %*" in str(to_message(german).blocks)
    assert "revenue 82,5\u00a0k\u00a0£" in asked("digest ventes 2011-12-08", ctx).headline
    assert "£82.5k" in asked("digest revenue 2011-12-08", ctx).headline


def test_a_shop_without_visits_says_what_is_unknown(ctx: Context) -> None:
    """Ten orders, all of them yesterday: no events, no ratings, and nothing before."""
    at = dt.datetime(2026, 10, 9, 9)
    fill(
        ctx.store,
        orders=[
            {"order_id": str(i), "person_id": str(i), "ordered_at": at, "kind": "sale",
             "amount_cents": 100}
            for i in range(10)
        ],
    )  # fmt: skip
    result = asked("digest", ctx)
    assert result.headline.startswith("What is usual is not known yet on Fri 9 Oct 2026: revenue")
    assert figures(result)["Revenue"].value == 1000
    notes = " ".join(p.text for p in result.parts if isinstance(p, Note))
    assert "Unknown: Sessions, Conversion" in notes
    assert "too little came before" in notes
