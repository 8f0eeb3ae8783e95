"""Mappings are read from plain config, and refuse what cannot be; proposals guess them."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storage.demo.real import FILE
from storage.load.errors import LoadError, MappingError
from storage.load.load import load_files, sample_of
from storage.load.mapping import Mapping, Recipe, Value, canonical, parse_mapping
from storage.load.proposal import propose_mapping
from storage.schema import orders
from storage.sql import isum
from storage.store import Store

ORDER: dict[str, Any] = {"order_id": "a", "ordered_at": "b", "amount_cents": "c"}


def orders_with(columns: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A mapping of orders, with something else in it."""
    return {"entity": "orders", "columns": {**ORDER, **(columns or {})}, **more}


REFUSED: list[tuple[Any, str]] = [
    ("orders", "must be written as `key: value` lines"),
    ({"entity": "baskets", "columns": {}}, "“baskets” is not one of our tables."),
    ({"entity": "orders", "columns": {"order_id": "a"}}, "lacks ordered_at, amount_cents."),
    (orders_with({"colour": "d"}), "orders has no column “colour”"),
    (orders_with({"source": "d"}), "orders has no column “source”"),
    (orders_with({"country": {"form": "d"}}), "I don't understand the spec of orders.country."),
    (orders_with({"country": {"from": "d", "forma": "e"}}), "has no “forma”."),
    (orders_with({"country": 5}), "must be written as `key: value` lines, not 5."),
    (orders_with({"ordered_at": {"from": "b", "as": "text"}}), "takes instant, not text."),
    (orders_with({"ordered_at": {"from": "b", "as": "date"}}), "`as` is one of"),
    (orders_with({"ordered_at": {"from": "b", "timezone": "Mars"}}), "“Mars” is not a time zone."),
    (orders_with({"amount_cents": {"from": "c", "scale": 9}}), "decimals from 0 to 4."),
    (orders_with({"amount_cents": {"multiply": ["a"]}}), "`multiply` takes two columns."),
    (orders_with({"amount_cents": {"from": "c", "pick": "sum"}}), "has no `by`."),
    (orders_with({"country": {"from": "d", "pick": "best"}}), "`pick` is one of"),
    (orders_with({"country": {"from": "d", "spelling": "loud"}}), "`spelling` is upper or lower"),
    (orders_with({"country": {"case": []}}), "`case` must be a list"),
    (orders_with({"country": {"case": [{"when": {"d": {"like": 1}}}]}}), "“like” is not a test."),
    (orders_with({"country": {"running_number_in": "d"}}), "can't be a running number."),
    (orders_with({"ordered_at": {"from": "b", "pseudonym": True}}), "can't be a pseudonym"),
    (orders_with(timezone="Nowhere/Else"), "“Nowhere/Else” is not a time zone."),
    (orders_with(decimal=";"), "`decimal` is “.” or “,”"),
    (orders_with(decimal=",", thousands=","), "can't be the same sign."),
    (orders_with(rejects=[]), "has no “rejects”."),
    (orders_with(reject=[{"when": {}, "because": "x"}]), "needs `when` and `because`."),
    (orders_with(reject={"when": 1}), "`reject` must be a list"),
    (orders_with(reject=[{"when": {"a": {"above": "x"}}, "because": "y"}]), "with a number."),
    (orders_with(where={"a": {"empty": "no"}}), "`empty` is true or false."),
    (orders_with(by={"a": 1}), "must be a column or a list of columns."),
    ({"tables": []}, "`tables` must be a list of tables."),
    ({"tables": [orders_with(), orders_with()]}, "A recipe fills each table once."),
    ({"tables": [orders_with(timezone="UTC")]}, "A table of a recipe has no “timezone”."),
]


@pytest.mark.parametrize(("config", "said"), REFUSED)
def test_a_wrong_mapping_says_what_is_wrong(config: Any, said: str) -> None:
    """In one sentence that names the place."""
    with pytest.raises(MappingError) as caught:
        parse_mapping(config)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (orders_with(by=["b"]), "orders: `by` must be the columns that order_id are made from."),
        (orders_with({"amount_cents": {"constant": "much"}}), "'much' is not an amount."),
        (orders_with({"ordered_at": {"from": "b", "format": "epoch_days"}}), "is not a format."),
        (orders_with({"country": "d"}), "The file has no column “d”."),
    ],
)
def test_what_only_the_file_shows_is_said_when_loading(
    tmp_path: Path, config: Any, said: str
) -> None:
    """Before anything is written."""
    file = tmp_path / "a.csv"
    file.write_text("a,b,c\n1,2026-01-01,5\n")
    store = Store.open("duckdb:///:memory:")
    with pytest.raises(LoadError) as caught:
        load_files(store, "orders", [file], parse_mapping(config), source="s", description="d")
    assert said in caught.value.message
    assert store.sources() == []
    store.close()


def test_equal_mappings_have_one_identity() -> None:
    """A single table and a recipe of one are the same; a changed rule is not."""
    one = parse_mapping(orders_with())
    assert isinstance(one, Mapping)
    assert one.columns["order_id"] == Value("a")
    assert canonical(one) == canonical(parse_mapping(orders_with()))
    assert canonical(one) == canonical(Recipe((one,)))
    assert canonical(one) != canonical(parse_mapping(orders_with(timezone="Europe/Paris")))


def test_the_demo_file_is_recognised_as_wide_order_lines() -> None:
    """The proposal alone loads four tables with the right amounts."""
    columns, sample = sample_of(FILE)
    proposal = propose_mapping("orders", columns, sample, timezone="Europe/London")
    recipe = proposal.mapping()
    assert isinstance(recipe, Recipe)
    assert recipe.entities == ("people", "items", "orders", "order_lines")
    assert (proposal.missing, proposal.unused) == ((), ())
    assert "Europe/London" in proposal.questions[0]
    store = Store.open("duckdb:///:memory:")
    report = load_files(store, "orders", [FILE], recipe, source="s", description="d")
    assert report.rows_rejected == 0
    assert store.column(sa.select(isum(orders.c.amount_cents))) == [974774793]
    store.close()


PROPOSED = [
    (
        "orders",
        {"Order Number": "7", "E-Mail": "a@b.c", "Date": "25/12/2025 10:00", "Total": "€1.234,50"},
        {
            "order_id": "Order Number",
            "person_id": None,
            "ordered_at": {"from": "Date", "format": "%d/%m/%Y %H:%M"},
            "amount_cents": "Total",
        },
        {"decimal": ",", "thousands": ".", "strip": "€"},
    ),
    (
        "events",
        {"user_id": "u1", "event": "visit", "timestamp": "1784118600000", "properties": "{}"},
        {
            "event_id": {"digest": ["user_id", "event", "timestamp", "properties"]},
            "person_id": "user_id",
            "at": {"from": "timestamp", "format": "epoch_ms"},
            "name": "event",
            "properties": "properties",
        },
        {},
    ),
    (
        "order_lines",
        {"Order ID": "1", "SKU": "x", "Qty": "2", "Unit Price": "1,000.50"},
        {
            "order_id": "Order ID",
            "line_no": {"running_number_in": "Order ID"},
            "item_id": "SKU",
            "quantity": "Qty",
            "amount_cents": {"multiply": ["Qty", "Unit Price"]},
        },
        {"thousands": ","},
    ),
    (
        "people",
        {"email": "a@b.c", "joined": "2026-01-01T00:00:00Z", "country": "DE"},
        {
            "person_id": {"from": "email", "pseudonym": True},
            "first_seen_at": "joined",
            "country": "country",
        },
        {},
    ),
]


@pytest.mark.parametrize(("entity", "row", "columns", "reading"), PROPOSED)
def test_a_mapping_is_proposed_from_names_and_values(
    entity: str, row: dict[str, Any], columns: dict[str, Any], reading: dict[str, str]
) -> None:
    """Synonyms, formats of times and numbers; what is not there is made where it can be."""
    proposal = propose_mapping(entity, list(row), [row])
    expected = {k: v for k, v in columns.items() if v is not None}
    got = {k: v for k, v in proposal.config["columns"].items() if k in expected}
    assert got == expected
    assert proposal.format == reading
    assert proposal.complete
    assert proposal.mapping()


def test_a_proposal_says_what_is_missing_and_asks_what_is_open() -> None:
    """It refuses to be used before it is complete."""
    row = {"order": "1", "date": "03/04/2026", "colour": "red"}
    proposal = propose_mapping("orders", list(row), [row])
    assert proposal.missing == ("amount_cents",)
    assert proposal.unused == ("colour",)
    assert proposal.confidence == 0
    assert "does the day come before the month?" in proposal.questions[0]
    with pytest.raises(LoadError, match="I found no column for amount_cents"):
        proposal.mapping()
    with pytest.raises(LoadError, match="“baskets” is not one of our tables"):
        propose_mapping("baskets", [], [])
