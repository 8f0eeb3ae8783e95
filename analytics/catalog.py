"""Metrics and dimensions: each measure, and each way to slice, defined once, one row each.

A metric is a measure, or the ratio of two. A measure says which entity's rows it aggregates, how,
and which of them; it names no period, filter or dimension, so that the same row serves totals,
daily series, slices (`measure.py`) and sums per person for experiments. Only additive parts are
asked of the store; ratios are made of them afterwards.

To add a metric or a dimension: a row here, or the same fields in config.yaml (`Catalog.extended`).
"""

import dataclasses
import datetime as dt
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeVar, get_args

import sqlalchemy as sa

from analytics.errors import UnknownNameError, UserError, either
from analytics.result import Unit
from storage.schema import metadata

Aggregate = Literal["count", "sum", "distinct", "days"]

#: Which rows a measure takes: those of the period; of the last N days up to the period's end; or
#: all up to the period's end.
Reach = int | Literal["period", "ever"]


@dataclass(frozen=True)
class Dimension:
    """A way to slice: its name, the other words for it, and where its values stand.

    `columns` are `table.column`, or `table.column.key` for a key of a JSON column. An entity takes
    the first of its own tables that has one (see `Entity.tables`).
    """

    name: str
    label: str
    help: str
    aliases: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def path(self, table: str) -> tuple[str, str] | None:
        """The column, and JSON key or empty text, that holds the dimension in a table."""
        for column in self.columns:
            owner, _, rest = column.partition(".")
            if owner == table:
                name, _, key = rest.partition(".")
                return name, key
        return None


@dataclass(frozen=True)
class Entity:
    """A kind of row that measures aggregate; `entities.py` builds the rows.

    `tables` are those it can take a dimension from, the nearest first (an order's `events` are the
    ones that completed it); `needs` are those that must
    hold rows for its figures to be known (one of them, with `needs_any`); `clock` says which of
    its columns places a row in time.
    """

    name: str
    label: str
    columns: tuple[str, ...]
    tables: tuple[str, ...]
    needs: tuple[str, ...]
    clock: Literal["at", "day", "window"] = "at"
    needs_any: bool = False


ENTITIES = (
    Entity(
        "people",
        "people",
        ("person_id", "at"),
        ("people",),
        ("people",),
    ),
    Entity(
        "orders",
        "orders",
        ("order_id", "person_id", "at", "kind", "amount_cents", "returned_cents"),
        ("orders", "events", "people", "items"),
        ("orders",),
    ),
    Entity(
        "order_lines",
        "order lines",
        ("order_id", "person_id", "at", "kind", "item_id", "is_product", "quantity",
         "amount_cents"),
        ("orders", "events", "people", "items"),
        ("orders", "order_lines"),
    ),
    Entity(
        "buyers",
        "buyers",
        ("person_id", "orders", "amount_cents", "is_new", "is_returning", "is_repeat"),
        ("orders", "events", "people", "items"),
        ("orders",),
        clock="window",
    ),
    Entity(
        "events",
        "events",
        ("event_id", "person_id", "session_id", "at", "name", "item_id", "order_id", "properties"),
        ("events", "people"),
        ("events",),
    ),
    Entity(
        "sessions",
        "sessions",
        ("person_id", "at", "seconds", "events", "pages", "carted", "ordered", "abandoned"),
        ("events", "people"),
        ("events",),
    ),
    Entity(
        "active_days",
        "active days",
        ("person_id", "day"),
        ("events", "orders", "people"),
        ("events", "orders"),
        clock="day",
        needs_any=True,
    ),
    Entity(
        "ratings",
        "ratings",
        ("rating_id", "person_id", "at", "kind", "score", "nps_sign", "is_satisfied"),
        ("people", "items"),
        ("ratings",),
    ),
)  # fmt: skip

#: The tables whose columns may be dimensions.
SLICED = ("orders", "events", "people", "items")

ENTITY = {e.name: e for e in ENTITIES}


@dataclass(frozen=True)
class Measure:
    """A number that adds up: `aggregate` of `column` over the entity's rows where all `where` hold.

    `count` counts rows (with a column: those where it is known), `sum` adds whole numbers,
    `distinct` counts values, `days` is the length of the period and reads nothing. `where` pairs a
    column with the values it may have. Columns are the entity's; `properties.plan` is a key of a
    JSON column, for `where` and `distinct`.

    Because a measure holds no period and no grouping, the sum per person within any window is the
    same aggregate over the same rows, grouped by `person_id`: `measure.aggregate` builds both.
    """

    entity: str
    aggregate: Aggregate
    column: str = ""
    where: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    reach: Reach = "period"


@dataclass(frozen=True)
class Metric:
    """A number with a name: `scale` x `numerator`, or `scale` x `numerator` / `denominator`.

    `minimum` is the sample (the denominator) below which the value is marked as uncertain.
    `proof` is a measure that must be above zero for the metric to mean anything: a store whose
    events never name an order has an unknown conversion, not one of zero; `unproven` says so.
    """

    name: str
    label: str
    unit: Unit
    numerator: Measure
    denominator: Measure | None = None
    scale: float = 1.0
    more_is_better: bool | None = True
    group: str = "Other"
    minimum: int = 0
    help: str = ""
    aliases: tuple[str, ...] = ()
    proof: Measure | None = None
    unproven: str = ""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All that must be asked of the store."""
        return tuple(m for m in (self.numerator, self.denominator, self.proof) if m is not None)


DIMENSIONS = (
    Dimension(
        "country",
        "Country",
        "where the person or order is from",
        ("market",),
        ("orders.country", "events.country", "people.country"),
    ),
    Dimension("category", "Category", "the item's category", ("department",), ("items.category",)),
    Dimension(
        "channel",
        "Channel",
        "how the visit came: search, email, ...",
        ("medium",),
        ("orders.channel", "events.channel", "people.channel"),
    ),
    Dimension(
        "device",
        "Device",
        "desktop, mobile or tablet",
        ("platform",),
        ("orders.device", "events.device"),
    ),
)

#: A saved group of people: a filter on whoever did it, and no column of any table. Groups overlap,
#: so nothing is split by them.
SEGMENT = Dimension("segment", "Segment", "a saved group of people")

Row = TypeVar("Row", bound=Dimension | Metric)

SALE = (("kind", ("sale",)),)
SALES = Measure("orders", "count", where=SALE)
GROSS = Measure("orders", "sum", "amount_cents", SALE)
BUYERS = Measure("buyers", "count")
SESSIONS = Measure("sessions", "count")
VISITORS = Measure("sessions", "distinct", "person_id")
ORDERED = Measure("sessions", "sum", "ordered")
NO_ORDER_EVENTS = "No event of these periods names an order, so visits can't be tied to orders."

METRICS = (
    Metric(
        "new_people", "New people", "count", Measure("people", "count"),
        group="Growth", help="People first seen in the period.", aliases=("new", "signups"),
    ),
    Metric(
        "people", "People in total", "count", Measure("people", "count", reach="ever"),
        group="Growth", help="All people first seen before the end of the period.",
        aliases=("total people", "users"),
    ),
    Metric(
        "buyers", "Buyers", "count", BUYERS, group="Growth", aliases=("customers",),
        help="People with at least one order in the period.",
    ),
    Metric(
        "new_buyers", "New buyers", "count", Measure("buyers", "sum", "is_new"),
        group="Growth", aliases=("new customers",),
        help="Buyers whose first order ever lies in the period.",
    ),
    Metric(
        "returning_buyers", "Returning buyers", "count", Measure("buyers", "sum", "is_returning"),
        group="Growth", aliases=("returning", "returning customers"),
        help="Buyers of the period who had bought before it.",
    ),
    Metric(
        "orders", "Orders", "count", SALES, group="Growth", aliases=("sales count",),
        help="Orders placed in the period; returns are not subtracted.",
    ),
    Metric(
        "revenue", "Revenue", "money", GROSS,
        group="Growth", aliases=("sales", "turnover", "gross revenue", "gmv"),
        help="The amount of the period's orders, before returns.",
    ),
    Metric(
        "returns", "Returns", "money", Measure("orders", "sum", "returned_cents"),
        more_is_better=False, group="Growth", aliases=("refunds", "cancellations"),
        help="The amount taken back in the period, whenever it was ordered.",
    ),
    Metric(
        "net_revenue", "Net revenue", "money", Measure("orders", "sum", "amount_cents"),
        group="Growth", aliases=("net", "net sales"),
        help="Revenue less the period's returns.",
    ),
    Metric(
        "items_sold", "Items sold", "count",
        Measure("order_lines", "sum", "quantity", (*SALE, ("is_product", (1,)))),
        group="Growth", aliases=("items", "units", "quantity"),
        help="Pieces in the period's orders, without postage, fees and vouchers.",
    ),
    Metric(
        "daily_active", "Active per day", "number",
        Measure("active_days", "count"), Measure("active_days", "days"),
        group="Activity", aliases=("dau", "daily active users"),
        help="People who visited or ordered on a day: the mean over the period's days.",
    ),
    Metric(
        "weekly_active", "Active in 7 days", "count",
        Measure("active_days", "distinct", "person_id", reach=7),
        group="Activity", aliases=("wau", "weekly active users"),
        help="People who visited or ordered in the last 7 days of the period.",
    ),
    Metric(
        "monthly_active", "Active in 30 days", "count",
        Measure("active_days", "distinct", "person_id", reach=30),
        group="Activity", aliases=("mau", "monthly active users"),
        help="People who visited or ordered in the last 30 days up to the period's end.",
    ),
    Metric(
        "stickiness", "Stickiness", "share",
        Measure("active_days", "count", reach=30),
        Measure("active_days", "distinct", "person_id", reach=30),
        scale=1 / 30, group="Activity", minimum=30, aliases=("dau mau",),
        help="Mean active people per day over the people active at all, in the last 30 days up to "
        "the period's end: the share of days on which an active person comes.",
    ),
    Metric(
        "orders_per_buyer", "Orders per buyer", "number",
        Measure("buyers", "sum", "orders"), BUYERS,
        group="Activity", minimum=30, aliases=("order frequency", "frequency"),
        help="Orders of the period by known people, per buyer.",
    ),
    Metric(
        "sessions", "Sessions", "count", SESSIONS, group="Activity", aliases=("visits",),
        help="Visits that began in the period; 30 idle minutes end a visit.",
    ),
    Metric(
        "sessions_per_person", "Sessions per person", "number", SESSIONS, VISITORS,
        group="Activity", minimum=30, aliases=("visits per person",),
        help="Sessions of the period per person who had one.",
    ),
    Metric(
        "time_per_session", "Time per session (mean)", "seconds",
        Measure("sessions", "sum", "seconds"), Measure("sessions", "count", "seconds"),
        group="Activity", minimum=30, aliases=("time spent", "session duration"),
        help="Mean time from a session's first to its last event. Sessions of one event have no "
        "known length and are left out.",
    ),
    Metric(
        "pages_per_session", "Pages per session", "number",
        Measure("sessions", "sum", "pages"), SESSIONS,
        group="Activity", minimum=30, aliases=("page views per session", "depth"),
        help="Views of pages, items or search results per session.",
    ),
    Metric(
        "conversion", "Conversion", "share", ORDERED, SESSIONS,
        group="Conversion", minimum=100, aliases=("conversion rate", "visit to order", "cr"),
        help="Sessions in which an order was completed, of all sessions.",
        proof=ORDERED, unproven=NO_ORDER_EVENTS,
    ),
    Metric(
        "person_conversion", "People who ordered", "share",
        Measure("sessions", "distinct", "person_id", (("ordered", (1,)),)), VISITORS,
        group="Conversion", minimum=100, aliases=("visitor conversion", "user conversion"),
        help="People who completed an order in a session, of all people with a session.",
        proof=ORDERED, unproven=NO_ORDER_EVENTS,
    ),
    Metric(
        "cart_abandonment", "Cart abandonment", "share",
        Measure("sessions", "sum", "abandoned"), Measure("sessions", "sum", "carted"),
        more_is_better=False, group="Conversion", minimum=30, aliases=("abandoned carts",),
        help="Sessions with something put into the cart and no order, of those with a cart.",
        proof=ORDERED, unproven=NO_ORDER_EVENTS,
    ),
    Metric(
        "repeat_rate", "Repeat rate", "share", Measure("buyers", "sum", "is_repeat"), BUYERS,
        group="Conversion", minimum=30, aliases=("repeat purchase rate",),
        help="Buyers of the period who ordered twice or more in it, or had ordered before it, "
        "of all buyers of the period.",
    ),
    Metric(
        "average_order", "Average order", "money", GROSS, SALES,
        group="Conversion", minimum=30, help="Revenue per order.",
        aliases=("aov", "average order value", "order value", "basket"),
    ),
    Metric(
        "nps", "NPS", "score",
        Measure("ratings", "sum", "nps_sign", (("kind", ("nps",)),)),
        Measure("ratings", "count", where=(("kind", ("nps",)),)),
        scale=100, group="Satisfaction", minimum=50, aliases=("net promoter score",),
        help="Share of scores 9 and 10 less share of scores 0 to 6, times 100.",
    ),
    Metric(
        "csat", "Satisfied (CSAT)", "share",
        Measure("ratings", "sum", "is_satisfied", (("kind", ("csat",)),)),
        Measure("ratings", "count", where=(("kind", ("csat",)),)),
        group="Satisfaction", minimum=30, aliases=("satisfaction", "satisfied"),
        help="Share of satisfaction scores 4 and 5 of 5.",
    ),
    Metric(
        "review_score", "Review score", "score",
        Measure("ratings", "sum", "score", (("kind", ("review",)),)),
        Measure("ratings", "count", where=(("kind", ("review",)),)),
        group="Satisfaction", minimum=30, aliases=("stars", "rating"),
        help="Mean stars of reviews, 1 to 5.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Limit:
    """A guardrail: a metric, and the share of the control's value that may be lost."""

    metric: str
    margin: float


@dataclass(frozen=True)
class Plan:
    """What was fixed about an experiment before it began; days are local, `end` is the last one.

    `metric` is the catalogue's (empty: the share of people who order), `mde` the smallest lift
    that matters. `split` pairs each variant with its planned share (empty: equal), `control` names
    the variant that the others are compared with. `adjusted` takes what people did before into
    account (CUPED). `strata` compares like with like: people of one day ("day"), or of one value
    of a dimension, weighted by their number.
    """

    name: str
    start: dt.date
    end: dt.date
    metric: str = ""
    mde: float | None = None
    control: str = ""
    split: tuple[tuple[str, float], ...] = ()
    guardrails: tuple[Limit, ...] = ()
    adjusted: bool = False
    strata: str = ""

    @property
    def days(self) -> int:
        """How long it is to run."""
        return (self.end - self.start).days + 1


@dataclass(frozen=True)
class DigestPlan:
    """A digest with a name: its metrics in their order, and the language of its numbers."""

    name: str
    metrics: tuple[str, ...]
    language: str = "en"


@dataclass(frozen=True)
class Members:
    """A saved segment as questions know it: `people()` selects the `person_id` of those in it.

    `words` say what it is and of which days, for the receipt.
    """

    name: str
    words: str
    people: Callable[[], sa.Select[tuple[str]]]


@dataclass(frozen=True)
class Catalog:
    """What can be asked about: ours, and the rows that the user's config.yaml adds.

    `segments()` are the saved ones, as of the question's day; they are read when one is named.
    """

    dimensions: tuple[Dimension, ...] = DIMENSIONS
    metrics: tuple[Metric, ...] = METRICS
    plans: tuple[Plan, ...] = ()
    segments: Callable[[], tuple[Members, ...]] = tuple
    digests: tuple[DigestPlan, ...] = ()

    def digest(self, name: str) -> DigestPlan | None:
        """The digest of exactly this name; None where there is none."""
        return next((d for d in self.digests if d.name == name), None)

    def plan(self, experiment: str) -> Plan | None:
        """How an experiment was registered; None where it was not."""
        return next((p for p in self.plans if p.name == experiment), None)

    def dimension(self, name: str) -> Dimension:
        """The dimension of exactly this name; KeyError where there is none."""
        for dimension in (*self.dimensions, SEGMENT):
            if dimension.name == name:
                return dimension
        raise KeyError(name)

    def metric(self, name: str) -> Metric:
        """The metric of exactly this name; KeyError where there is none."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(name)

    def find_metric(self, said: str) -> Metric:
        """The metric of this name, label or alias; UnknownNameError with the nearest."""
        return _find("metric", said, self.metrics)

    def find_dimension(self, said: str) -> Dimension:
        """The dimension of this name, label or alias; UnknownNameError with the nearest."""
        return _find("dimension", said, (*self.dimensions, SEGMENT))

    def find_segment(self, said: str) -> Members:
        """The saved segment of this name; UnknownNameError with the nearest."""
        known = {folded(m.name): m for m in self.segments()}
        if folded(said) in known:
            return known[folded(said)]
        error = UnknownNameError("segment", said, [m.name for m in known.values()])
        if not known:
            error.hint = "None is saved yet: ask `segment`, then `segment save loyal cluster 1`."
        raise error

    def extended(
        self,
        *,
        metrics: Iterable[Mapping[str, Any]] = (),
        dimensions: Iterable[Mapping[str, Any]] = (),
    ) -> "Catalog":
        """With the rows of a config file added; a row of a known name replaces ours.

        Raises UserError naming the row and the field that is wrong.
        """
        added_dimensions = [_dimension(d, f"dimensions[{i}]") for i, d in enumerate(dimensions)]
        added_metrics = [_metric(m, f"metrics[{i}]") for i, m in enumerate(metrics)]
        _refuse_twice("dimensions", added_dimensions)
        _refuse_twice("metrics", added_metrics)
        return dataclasses.replace(
            self,
            dimensions=_merged(self.dimensions, added_dimensions),
            metrics=_merged(self.metrics, added_metrics),
        )


def folded(text: str) -> str:
    """A name without case, hyphens, underscores or doubled spaces: how names are compared."""
    return re.sub(r"[\s_-]+", " ", text.strip().casefold())


def _find(kind: str, said: str, rows: tuple[Row, ...]) -> Row:
    wanted = folded(said)
    known: list[str] = []
    for row in rows:
        names = (row.name, row.label, *row.aliases)
        if wanted in map(folded, names):
            return row
        known += (row.name, *row.aliases)
    raise UnknownNameError(kind, said, known)


def _merged(ours: tuple[Row, ...], added: list[Row]) -> tuple[Row, ...]:
    new = {r.name: r for r in added}
    kept = tuple(new.pop(r.name, r) for r in ours)
    return kept + tuple(new.values())


# --- rows of a config file ----------------------------------------------------------------------


class ConfigRowError(UserError):
    """A metric or dimension of the config file that can't be."""

    code = "bad_config"


def _refuse_twice(where: str, rows: list[Row]) -> None:
    names = [r.name for r in rows]
    for name in names:
        if names.count(name) > 1:
            raise ConfigRowError(f"{where} has two rows called “{name}”.")


def _metric(row: Mapping[str, Any], where: str) -> Metric:
    """A `Metric` of plain fields; `numerator` and `denominator` are mappings too."""
    fields = _checked(row, Metric, where, required=("name", "label", "unit", "numerator"))
    where = f"{where} ({fields['name']})"
    for part in ("numerator", "denominator", "proof"):
        if fields.get(part) is not None:
            fields[part] = _measure(fields[part], f"{where}.{part}")
    if fields["unit"] not in get_args(Unit):
        raise ConfigRowError(
            f"{where}.unit can't be “{fields['unit']}”.",
            hint=f"It can be {either(get_args(Unit))}.",
        )
    return Metric(**fields)


def _measure(row: Any, where: str) -> Measure:
    fields = _checked(row, Measure, where, required=("entity", "aggregate"))
    entity = ENTITY.get(fields["entity"])
    if entity is None:
        _refuse_choice(f"{where}.entity", fields["entity"], tuple(ENTITY))
    if fields["aggregate"] not in get_args(Aggregate):
        _refuse_choice(f"{where}.aggregate", fields["aggregate"], get_args(Aggregate))
    column = fields.get("column", "")
    if fields["aggregate"] in ("sum", "distinct") and not column:
        raise ConfigRowError(f"{where}.column is missing: what is to be aggregated?")
    if fields["aggregate"] == "sum" and "." in column:
        raise ConfigRowError(f"{where}.column: a key of a JSON column can't be summed.")
    chosen = fields.get("where", {})
    if not isinstance(chosen, Mapping):
        raise ConfigRowError(f"{where}.where must map columns to values.")
    for name in [*([column] if column else []), *chosen]:
        if name.partition(".")[0] not in entity.columns:
            _refuse_choice(f"{where}: column", name, entity.columns)
    fields["where"] = tuple(
        (str(k), tuple(v) if isinstance(v, list | tuple) else (v,)) for k, v in chosen.items()
    )
    reach = fields.get("reach", "period")
    if reach not in ("period", "ever") and (type(reach) is not int or reach < 1):
        raise ConfigRowError(f"{where}.reach must be `period`, `ever` or a number of days.")
    if entity.clock == "window" and reach != "period":
        raise ConfigRowError(f"{where}.reach must be `period` for {entity.name}.")
    return Measure(**fields)


def _dimension(row: Mapping[str, Any], where: str) -> Dimension:
    fields = _checked(row, Dimension, where, required=("name", "label", "columns"))
    for column in fields["columns"]:
        table, _, rest = column.partition(".")
        known = metadata.tables.get(table)
        if table not in ("orders", "events", "people", "items") or known is None:
            _refuse_choice(
                f"{where}.columns: table", table, ("orders", "events", "people", "items")
            )
        name, dot, _ = rest.partition(".")
        if name not in known.c or bool(dot) != (name in ("attributes", "properties")):
            raise ConfigRowError(
                f"{where}.columns: “{column}” is no column.",
                hint="Write table.column, or table.attributes.key for a JSON key.",
            )
    fields.setdefault("help", fields["label"])
    return Dimension(**fields)


def _checked(
    row: Any, kind: type[Metric | Measure | Dimension], where: str, required: tuple[str, ...]
) -> dict[str, Any]:
    """The row's fields, each known, of the right type and none that is required missing."""
    if not isinstance(row, Mapping):
        raise ConfigRowError(f"{where} must be a mapping of fields to values.")
    known = {f.name: f for f in dataclasses.fields(kind)}
    for name in row:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            raise ConfigRowError(
                f"{where} has no field “{name}”.",
                hint=f"Did you mean {near[0]}?" if near else f"It can be {either(tuple(known))}.",
            )
    for name in required:
        if not row.get(name):
            raise ConfigRowError(f"{where}.{name} is missing.")
    fields = dict(row)
    for name, value in row.items():
        expected = known[name].type
        if expected == tuple[str, ...]:
            texts = [value] if isinstance(value, str) else value
            if not isinstance(texts, list | tuple) or not all(isinstance(t, str) for t in texts):
                raise ConfigRowError(f"{where}.{name} must be a list of texts.")
            fields[name] = tuple(texts)
        elif expected is str and not isinstance(value, str):
            raise ConfigRowError(f"{where}.{name} must be a text, not {value!r}.")
        elif expected in (int, float) and type(value) not in (int, float):
            raise ConfigRowError(f"{where}.{name} must be a number, not {value!r}.")
        elif expected == bool | None and not isinstance(value, bool | None):
            raise ConfigRowError(f"{where}.{name} must be true, false or null.")
    if "name" in fields and not re.fullmatch(r"[a-z][a-z0-9_]*", fields["name"]):
        raise ConfigRowError(
            f"{where}.name can't be “{fields['name']}”.",
            hint="Use small letters, digits and underscores.",
        )
    return fields


def _refuse_choice(where: str, value: Any, known: tuple[str, ...]) -> NoReturn:
    near = difflib.get_close_matches(str(value), known, 1)
    raise ConfigRowError(
        f"{where} can't be “{value}”.",
        hint=f"Did you mean {near[0]}?" if near else f"It can be {either(known)}.",
    )
