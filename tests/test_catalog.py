"""The catalogue: its own rows, names, and rows of a config file."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from analytics.catalog import (
    ENTITIES,
    ENTITY,
    METRICS,
    Catalog,
    ConfigRowError,
    Dimension,
    Measure,
    Metric,
)
from analytics.entities import BUILDERS, rows_of
from analytics.errors import UnknownNameError
from analytics.measure import read, spans_of
from analytics.period import parse_period
from analytics.scope import Filter, Filters, Scope, Window, scope_of
from tests.conftest import fill

CATALOG = Catalog()
TODAY = dt.date(2026, 10, 10)
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> dt.datetime:
    """A UTC instant of 2026, `10-01 10:00`."""
    return dt.datetime.fromisoformat(f"2026-{text}")


def a_metric(**changes):
    row = {
        "name": "carts", "label": "Carts", "unit": "count",
        "numerator": {"entity": "events", "aggregate": "count", "where": {"name": "add_to_cart"}},
    }  # fmt: skip
    return {**row, **changes}


def test_every_name_is_said_of_one_metric_only():
    words = [w for m in METRICS for w in (m.name, *m.aliases)]
    assert len(words) == len(set(words))


def test_every_metric_explains_itself_and_reads_known_columns():
    for metric in METRICS:
        assert metric.help.endswith("."), metric.name
        for measure in metric.measures:
            columns = ENTITY[measure.entity].columns
            assert not measure.column or measure.column in columns, metric.name
            assert all(name in columns for name, _ in measure.where), metric.name


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda e: e.name)
def test_each_entity_has_rows_with_the_columns_it_names(entity):
    window = Window.of("now", parse_period("last 7 days", TODAY), BERLIN)
    rows = rows_of(entity.name, Scope(BERLIN, (window,), CATALOG))
    assert set(entity.columns) == set(rows.c.keys()) - {"window"}
    assert set(BUILDERS) == set(ENTITY)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("revenue", "revenue"),
        ("AOV", "average_order"),
        ("average order value", "average_order"),
        ("cart-abandonment", "cart_abandonment"),
        ("Net Promoter Score", "nps"),
    ],
)
def test_a_metric_is_found_by_name_label_or_alias(said, name):
    assert CATALOG.find_metric(said).name == name


def test_a_misspelt_metric_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean revenue"):
        CATALOG.find_metric("revenu")
    with pytest.raises(UnknownNameError, match="Did you mean country"):
        CATALOG.find_dimension("contry")


def test_exact_names_only_by_the_strict_way():
    assert CATALOG.metric("nps").label == "NPS"
    assert CATALOG.dimension("country").label == "Country"
    with pytest.raises(KeyError):
        CATALOG.metric("NPS")
    with pytest.raises(KeyError):
        CATALOG.dimension("market")


def test_rows_of_a_config_file_are_added_and_may_replace_ours():
    catalog = CATALOG.extended(
        metrics=[a_metric(minimum=5, aliases=["baskets"]), a_metric(name="orders", label="Deals")],
        dimensions=[{"name": "plan", "label": "Plan", "columns": ["people.attributes.plan"]}],
    )
    assert catalog.metric("carts") == Metric(
        "carts", "Carts", "count",
        Measure("events", "count", where=(("name", ("add_to_cart",)),)),
        minimum=5, aliases=("baskets",),
    )  # fmt: skip
    assert catalog.metric("orders").label == "Deals"
    assert len(catalog.metrics) == len(METRICS) + 1
    assert catalog.dimension("plan") == Dimension(
        "plan", "Plan", "Plan", (), ("people.attributes.plan",)
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["no mapping"], "metrics[0] must be a mapping"),
        ({"name": "x"}, "metrics[0].label is missing"),
        (a_metric(name="Two Words"), "metrics[0].name can't be “Two Words”"),
        (a_metric(lable="x"), "metrics[0] has no field “lable”. Did you mean label?"),
        (a_metric(unit="euros"), "metrics[0] (carts).unit can't be “euros”"),
        (a_metric(label=7), "metrics[0].label must be a text, not 7"),
        (a_metric(scale="x"), "metrics[0].scale must be a number, not 'x'"),
        (a_metric(minimum=True), "metrics[0].minimum must be a number"),
        (a_metric(more_is_better="yes"), "metrics[0].more_is_better must be true, false or null"),
        (a_metric(aliases=[1]), "metrics[0].aliases must be a list of texts"),
        (a_metric(numerator="orders"), "(carts).numerator must be a mapping"),
        (a_metric(numerator={"entity": "orders"}), "(carts).numerator.aggregate is missing"),
        (
            a_metric(numerator={"entity": "order", "aggregate": "count"}),
            "(carts).numerator.entity can't be “order”. Did you mean orders?",
        ),
        (
            a_metric(numerator={"entity": "orders", "aggregate": "mean"}),
            "(carts).numerator.aggregate can't be “mean”",
        ),
        (
            a_metric(numerator={"entity": "orders", "aggregate": "sum"}),
            "(carts).numerator.column is missing",
        ),
        (
            a_metric(numerator={"entity": "orders", "aggregate": "sum", "column": "amount"}),
            "column can't be “amount”. Did you mean amount_cents?",
        ),
        (
            a_metric(
                numerator={"entity": "events", "aggregate": "sum", "column": "properties.price"}
            ),
            "a key of a JSON column can't be summed",
        ),
        (
            a_metric(numerator={"entity": "events", "aggregate": "count", "where": ["name"]}),
            "(carts).numerator.where must map columns to values",
        ),
        (
            a_metric(numerator={"entity": "events", "aggregate": "count", "reach": 0}),
            "(carts).numerator.reach must be `period`, `ever` or a number of days",
        ),
        (
            a_metric(numerator={"entity": "buyers", "aggregate": "count", "reach": 7}),
            "(carts).numerator.reach must be `period` for buyers",
        ),
    ],
)
def test_a_wrong_row_is_refused_by_its_field(row, message):
    with pytest.raises(ConfigRowError) as caught:
        CATALOG.extended(metrics=[row])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "plan", "label": "Plan"}, "dimensions[0].columns is missing"),
        (
            {"name": "plan", "label": "Plan", "columns": ["person.plan"]},
            "dimensions[0].columns: table can't be “person”",
        ),
        (
            {"name": "plan", "label": "Plan", "columns": ["people.plan"]},
            "dimensions[0].columns: “people.plan” is no column",
        ),
        (
            {"name": "plan", "label": "Plan", "columns": ["people.attributes"]},
            "dimensions[0].columns: “people.attributes” is no column",
        ),
    ],
)
def test_a_wrong_dimension_is_refused_by_its_field(row, message):
    with pytest.raises(ConfigRowError) as caught:
        CATALOG.extended(dimensions=[row])
    assert message in str(caught.value)


def test_two_rows_of_one_name_are_refused():
    with pytest.raises(ConfigRowError, match="metrics has two rows called “carts”"):
        CATALOG.extended(metrics=[a_metric(), a_metric()])


def test_a_json_key_is_a_dimension_and_a_condition(ctx):
    from tests.commands.test_kpis import at

    people = [
        {"person_id": "a", "first_seen_at": at("10-01 10:00"), "attributes": '{"plan": "pro"}'},
        {"person_id": "b", "first_seen_at": at("10-01 10:00"), "attributes": '{"plan": "free"}'},
        {"person_id": "c", "first_seen_at": at("10-01 10:00")},
    ]
    events = [
        {"event_id": str(i), "person_id": "a", "at": at("10-05 10:00"), "name": "visit",
         "properties": properties}
        for i, properties in enumerate(('{"page": "home"}', '{"page": "shop"}', None))
    ]  # fmt: skip
    fill(ctx.store, people=people, events=events)
    shop_views = {"entity": "events", "aggregate": "count", "where": {"properties.page": "shop"}}
    catalog = CATALOG.extended(
        metrics=[a_metric(numerator=shop_views)],
        dimensions=[{"name": "plan", "label": "Plan", "columns": ["people.attributes.plan"]}],
    )
    periods = [("now", parse_period("last 7 days", ctx.today))]
    spans = spans_of(ctx.store, ctx.zone)
    for plan, carts, total in (("Pro", 1, 1), ("free", 0, 1)):
        filters = Filters((Filter("plan", (plan,)),))
        scope = scope_of(ctx.store, catalog, ctx.zone, periods, filters)
        metrics = [catalog.metric("carts"), catalog.metric("people")]
        assert [r.now for r in read(ctx.store, scope, metrics, spans)] == [carts, total]
