"""The rows behind the figures: for each entity of the catalogue, a query over the store's tables.

Each builder returns rows that lie in the span of the scope's windows and pass its filters, with
the columns that `catalog.ENTITIES` names, and the slice as the column `slice` (`slice_1`, ... for
further dimensions). Aggregates over them run in the engine (`measure.py`); no row comes to Python.

What the filters and slices mean:

* An item's dimension (category) on orders: each order counts once per value, with the amount of
  its lines of that value. "Revenue of category bags" is the revenue of the bags, "orders" are the
  orders with a bag in them.
* A visit's dimension (channel, device, country) is that of its events; of a session with several,
  the alphabetically first.
* What an order's own columns lack is taken from the event that completed it (`events.order_id`);
  what is known nowhere nearer is taken from the person (`people`).
* A saved segment is whoever belongs to it on the day of the question; rows of nobody known are not.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from analytics.catalog import ENTITY, Dimension, Entity, Measure
from analytics.scope import Scope, Window, column_of, instant
from storage.schema import events, items, order_lines, orders, people, ratings
from storage.sql import Sql, epoch_s, icount, isum

#: A visit ends after so many seconds without an event, where the events carry no session.
IDLE_SECONDS = 30 * 60

#: Events that show something: they are the pages of a session. Names that begin with "view" too.
PAGE_EVENTS = ("visit", "page", "page_view", "pageview", "search")
CART_EVENT = "add_to_cart"
ORDER_EVENTS = ("purchase", "order")

ONE: Sql = sa.literal_column("1", sa.Integer)
ZERO: Sql = sa.literal_column("0", sa.Integer)
ONE_DAY = dt.timedelta(days=1)

Rows = sa.Select[*tuple[Any, ...]]


class CannotAnswerError(Exception):
    """The entity's rows do not know a dimension of the question; the caller makes it a note."""

    def __init__(self, entity: Entity, dimensions: tuple[str, ...]) -> None:
        """`dimensions` are their labels."""
        super().__init__(f"{entity.name} cannot answer {dimensions}")
        self.entity = entity
        self.dimensions = dimensions


def rows_of(entity: str, scope: Scope) -> sa.FromClause:
    """The entity's rows for a scope. Raises CannotAnswerError."""
    return BUILDERS[entity](scope).subquery(entity)


def flag(*conditions: Sql) -> Sql:
    """1 where all conditions hold, else 0."""
    return sa.case((sa.and_(*conditions), ONE), else_=ZERO)


def sliced(
    scope: Scope, entity: str, main: sa.FromClause, person_id: Sql, tables: dict[str, Any]
) -> tuple[sa.FromClause, list[Sql], list[Sql]]:
    """(from, filter conditions, the slices' columns or none) of an entity over its main table.

    `tables` are those already in `main`; people and completing events are joined when a dimension
    stands there.
    """
    values: dict[str, Sql] = {}
    for dimension in scope.dimensions:
        table = scope.place(ENTITY[entity], dimension)
        if table is None or (table == "items" and table not in tables):
            raise CannotAnswerError(ENTITY[entity], (dimension.label.lower(),))
        if table == "events" and table not in tables:
            completing = completing_events(dimension)
            main = main.outerjoin(completing, completing.c.order_id == orders.c.order_id)
            values[dimension.name] = completing.c.value
            continue
        if table == "people" and table not in tables:
            tables = {**tables, "people": people}
            main = main.outerjoin(people, people.c.person_id == person_id)
        values[dimension.name] = column_of(dimension, table, tables[table])
    slices: list[Sql] = [
        values[d.name].label(name) for d, name in zip(scope.slices, slice_names(scope), strict=True)
    ]
    return main, [*scope.conditions(values), *scope.whose(person_id)], slices


def slice_names(scope: Scope) -> list[str]:
    """The columns that hold the slices: `slice`, `slice_1`, ..."""
    return [f"slice_{i}" if i else "slice" for i in range(len(scope.slices))]


def slices_of(rows: sa.FromClause) -> list[Any]:
    """The slices' columns of an entity's rows."""
    return [c for c in rows.c if c.name == "slice" or c.name.startswith("slice_")]


def completing_events(dimension: Dimension) -> sa.FromClause:
    """For each order that an event completed, the dimension's value there; the first of several."""
    value = sa.func.min(column_of(dimension, "events", events)).label("value")
    return (
        sa.select(events.c.order_id, value)
        .where(events.c.order_id.is_not(None))
        .group_by(events.c.order_id)
        .subquery(f"completing_{dimension.name}")
    )


def people_rows(scope: Scope) -> Rows:
    """One row per person, at first sight; all up to the last window's end."""
    main, conditions, slices = sliced(
        scope, "people", people, people.c.person_id, {"people": people}
    )
    return (
        sa.select(people.c.person_id, people.c.first_seen_at.label("at"), *slices)
        .select_from(main)
        .where(people.c.first_seen_at < instant(scope.until), *conditions)
    )


def order_rows(scope: Scope) -> Rows:
    """One row per order or return; with an item's dimension, per order and value of it."""
    columns = [
        orders.c.order_id,
        orders.c.person_id,
        orders.c.ordered_at.label("at"),
        orders.c.kind,
    ]
    in_span = scope.within(orders.c.ordered_at)
    if not by_item(scope):
        main, conditions, slices = sliced(
            scope, "orders", orders, orders.c.person_id, {"orders": orders}
        )
        return (
            sa.select(*columns, *amounts(orders.c.kind, orders.c.amount_cents), *slices)
            .select_from(main)
            .where(in_span, *conditions)
        )
    main, conditions, slices = sliced(
        scope, "orders", lines_and_items(), orders.c.person_id, {"orders": orders, "items": items}
    )
    lines = (
        sa.select(*columns, order_lines.c.amount_cents, *slices)
        .select_from(main)
        .where(in_span, *conditions)
        .subquery("lines")
    )
    keys = [c for c in lines.c if c.name != "amount_cents"]
    return sa.select(*keys, *amounts(lines.c.kind, isum(lines.c.amount_cents))).group_by(*keys)


def amounts(kind: Sql, cents: Sql) -> tuple[Sql, Sql]:
    """A row's amount, and what was taken back by it: 0 for a sale."""
    back = sa.case((kind == "return", -cents), else_=ZERO)
    return cents.label("amount_cents"), back.label("returned_cents")


def by_item(scope: Scope) -> bool:
    """Whether the question is about some items only."""
    return any(scope.place(ENTITY["orders"], d) == "items" for d in scope.dimensions)


def adds_up(measure: Measure, scope: Scope) -> bool:
    """Whether the slices' values sum to the whole: not where a row falls into several slices."""
    if measure.entity == "orders" and measure.aggregate == "count" and by_item(scope):
        return False
    return measure.aggregate in ("count", "sum") and measure.entity != "buyers"


def lines_and_items() -> sa.FromClause:
    """Order lines with their order and item; an item that is not listed has no category."""
    return order_lines.join(orders, orders.c.order_id == order_lines.c.order_id).outerjoin(
        items, items.c.item_id == order_lines.c.item_id
    )


def order_line_rows(scope: Scope) -> Rows:
    """One row per line of an order or return; an item that is not listed counts as a product."""
    main, conditions, slices = sliced(
        scope,
        "order_lines",
        lines_and_items(),
        orders.c.person_id,
        {"orders": orders, "items": items},
    )
    return (
        sa.select(
            order_lines.c.order_id,
            orders.c.person_id,
            orders.c.ordered_at.label("at"),
            orders.c.kind,
            order_lines.c.item_id,
            sa.case((items.c.is_product.is_(sa.false()), ZERO), else_=ONE).label("is_product"),
            order_lines.c.quantity,
            order_lines.c.amount_cents,
            *slices,
        )
        .select_from(main)
        .where(scope.within(orders.c.ordered_at), *conditions)
    )


def product_ranges(scope: Scope) -> sa.Subquery:
    """Per person: how many different products were ordered."""
    lines = rows_of("order_lines", scope)
    products = sa.cast(sa.func.count(sa.distinct(lines.c.item_id)), sa.BigInteger)
    return (
        sa.select(lines.c.person_id, products.label("products"))
        .where(lines.c.person_id.is_not(None), lines.c.kind == "sale", lines.c.is_product == 1)
        .group_by(lines.c.person_id)
        .subquery("ranges")
    )


def buyer_rows(scope: Scope) -> Rows:
    """One row per person and window in which the person ordered (and slice).

    New are those whose first order of anything, filtered or not, lies in the window; returning
    those who had ordered before it; repeat buyers have two orders in it, or had ordered before.
    """
    first = (
        sa.select(orders.c.person_id, sa.func.min(orders.c.ordered_at).label("first_at"))
        .where(orders.c.kind == "sale", orders.c.person_id.is_not(None))
        .group_by(orders.c.person_id)
        .subquery("first_orders")
    )
    sales = order_rows(scope).subquery("sales")
    slices = slices_of(sales)
    parts = []
    for i, window in enumerate(scope.windows):
        bought = (
            sa.select(
                sales.c.person_id,
                icount().label("orders"),
                isum(sales.c.amount_cents).label("amount_cents"),
                *slices,
            )
            .where(
                sales.c.kind == "sale",
                sales.c.person_id.is_not(None),
                *in_window(sales.c["at"], window),
            )
            .group_by(sales.c.person_id, *slices)
            .subquery(f"bought_{window.name}")
        )
        before = first.c.first_at < instant(window.since)
        parts.append(
            sa.select(
                sa.literal_column(str(i), sa.Integer).label("window"),
                bought.c.person_id,
                bought.c.orders,
                bought.c.amount_cents,
                flag(sa.not_(before)).label("is_new"),
                flag(before).label("is_returning"),
                flag(sa.or_(before, bought.c.orders >= 2)).label("is_repeat"),
                *slices_of(bought),
            ).join_from(bought, first, first.c.person_id == bought.c.person_id)
        )
    union = sa.union_all(*parts).subquery("buyers_by_window")
    return sa.select(*union.c)


def in_window(at: Sql, window: Window) -> tuple[Sql, Sql]:
    """An instant inside a window."""
    return at >= instant(window.since), at < instant(window.until)


def event_rows(scope: Scope) -> Rows:
    """One row per event."""
    main, conditions, slices = sliced(
        scope, "events", events, events.c.person_id, {"events": events}
    )
    names = ("event_id", "person_id", "session_id", "at", "name", "item_id", "order_id")
    return (
        sa.select(*(events.c[n] for n in names), events.c.properties, *slices)
        .select_from(main)
        .where(scope.within(events.c["at"]), *conditions)
    )


def session_rows(scope: Scope) -> Rows:
    """One row per visit, at its first event.

    Events with a session id belong to it; others are cut after 30 idle minutes of the person. A
    day on either side of the windows is read too, so that visits across their edges are whole.
    """
    main, conditions, slices = sliced(
        scope, "sessions", events, events.c.person_id, {"events": events}
    )
    seen = seen_events(scope, main, conditions, slices)
    named = seen.where(events.c.session_id.is_not(None)).subquery("named")
    nameless = seen.where(events.c.session_id.is_(None)).subquery("nameless")
    visits = sa.union_all(
        grouped_visits(named, named.c.session_id), grouped_visits(*cut_visits(nameless))
    ).subquery("visits")
    return sa.select(*visits.c).where(scope.within(visits.c["at"]))


def seen_events(
    scope: Scope, main: sa.FromClause, conditions: Sequence[Sql], slices: Sequence[Sql] = ()
) -> Rows:
    """Events as visits need them, of the windows and a day on either side."""
    return (
        sa.select(
            events.c.person_id,
            events.c.session_id,
            events.c["at"],
            flag(sa.or_(events.c.name.in_(PAGE_EVENTS), events.c.name.like("view%"))).label("page"),
            flag(events.c.name == CART_EVENT).label("cart"),
            flag(sa.or_(events.c.order_id.is_not(None), events.c.name.in_(ORDER_EVENTS))).label(
                "buys"
            ),
            *slices,
        )
        .select_from(main)
        .where(
            events.c["at"] >= instant(scope.since - ONE_DAY),
            events.c["at"] < instant(scope.until + ONE_DAY),
            *conditions,
        )
    )


def cut_visits(seen: sa.FromClause) -> tuple[sa.FromClause, Sql]:
    """Events with the running number of the person's visit, cut where the person was idle."""
    second = epoch_s(seen.c["at"])
    before = sa.func.lag(second).over(partition_by=seen.c.person_id, order_by=seen.c["at"])
    gaps = sa.select(*seen.c, (second - before).label("gap")).subquery("gaps")
    begins = sa.case((gaps.c.gap <= IDLE_SECONDS, ZERO), else_=ONE)
    number = isum_over(begins, gaps)
    cut = sa.select(*gaps.c, number.label("visit")).subquery("cut")
    return cut, cut.c.visit


def isum_over(value: Sql, source: sa.FromClause) -> Sql:
    """The running sum per person; events of one instant belong together."""
    total = sa.func.sum(value).over(partition_by=source.c.person_id, order_by=source.c["at"])
    return sa.cast(total, sa.BigInteger)


def grouped_visits(seen: sa.FromClause, key: Sql) -> Rows:
    """One row per person and visit."""
    start, end = sa.func.min(seen.c["at"]), sa.func.max(seen.c["at"])
    carted, ordered = sa.func.max(seen.c.cart), sa.func.max(seen.c.buys)
    slices = [sa.func.min(c).label(c.name) for c in slices_of(seen)]
    seconds = epoch_s(end) - epoch_s(start)
    return sa.select(
        seen.c.person_id,
        start.label("at"),
        sa.case((icount() > ONE, seconds)).label("seconds"),
        icount().label("events"),
        isum(seen.c.page).label("pages"),
        carted.label("carted"),
        ordered.label("ordered"),
        flag(carted == ONE, ordered == ZERO).label("abandoned"),
        *slices,
    ).group_by(seen.c.person_id, key)


def active_day_rows(scope: Scope) -> Rows:
    """One row per person and local day with an event or an order (and slice)."""
    bought = (orders.c.kind == "sale", orders.c.person_id.is_not(None))
    parts = []
    for table, at, wanted in ((events, events.c["at"], ()), (orders, orders.c.ordered_at, bought)):
        main, conditions, slices = sliced(
            scope, table.name, table, table.c.person_id, {table.name: table}
        )
        parts.append(
            sa.select(table.c.person_id, scope.local_day(at).label("day"), *slices)
            .select_from(main)
            .where(scope.within(at), *wanted, *conditions)
        )
    union = sa.union(*parts).subquery("person_days")
    return sa.select(*union.c)


def rating_rows(scope: Scope) -> Rows:
    """One row per rating."""
    main: sa.FromClause = ratings
    tables: dict[str, Any] = {}
    if any(scope.place(ENTITY["ratings"], d) == "items" for d in scope.dimensions):
        main = ratings.outerjoin(items, items.c.item_id == ratings.c.item_id)
        tables["items"] = items
    main, conditions, slices = sliced(scope, "ratings", main, ratings.c.person_id, tables)
    score = ratings.c.score
    return (
        sa.select(
            ratings.c.rating_id,
            ratings.c.person_id,
            ratings.c["at"],
            ratings.c.kind,
            score,
            sa.case((score >= 9, ONE), (score <= 6, -ONE), else_=ZERO).label("nps_sign"),
            flag(score >= 4).label("is_satisfied"),
            *slices,
        )
        .select_from(main)
        .where(scope.within(ratings.c["at"]), *conditions)
    )


BUILDERS: dict[str, Callable[[Scope], Rows]] = {
    "people": people_rows,
    "orders": order_rows,
    "order_lines": order_line_rows,
    "buyers": buyer_rows,
    "events": event_rows,
    "sessions": session_rows,
    "active_days": active_day_rows,
    "ratings": rating_rows,
}
