"""What each person bought and visited in a period, one row per buyer, as expressions of the store.

The one place that says what recency, orders, net spend and the other traits of a person are:
`segment` groups people by them, saved segments ask for them, and a portrait shows them.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt
from typing import Any, Literal

import sqlalchemy as sa

from analytics.catalog import ENTITY, Measure
from analytics.entities import ONE, product_ranges, rows_of
from analytics.methods.portraits.naming import Trait
from analytics.scope import Scope, day_number, instant
from analytics.totals import source_of
from storage.schema import orders
from storage.sql import Sql, dbl, isum

#: How much a trait counts: those that make a segment, those that colour it, those that describe it.
FULL, THIRD, NONE = 1.0, 1 / 3, 0.0

Weighed = tuple[tuple[Trait, float], ...]

BUYING: Weighed = (
    (Trait("recency", "days since last order", "days", "quiet for longer", "here lately"), FULL),
    (Trait("orders", "orders", "count", "with more orders", "with fewer orders"), FULL),
    (Trait("revenue", "net spend", "money", "spending more", "spending less"), FULL),
    # spend and orders say it already: it would count twice
    (Trait("basket", "spend per order", "money", "with large orders", "with small orders"), NONE),
    (
        Trait(
            "products", "different products", "count", "with a wide range", "with a narrow range"
        ),
        THIRD,
    ),
)
VISITING: Weighed = (
    (Trait("sessions", "visits", "count", "visiting often", "visiting seldom"), THIRD),
    (Trait("pages", "pages per visit", "number", "who browse", "who go straight to it"), THIRD),
    (
        Trait("abandoned", "carts abandoned", "share", "who abandon carts", "who finish carts"),
        THIRD,
    ),
    (Trait("mobile", "visits on mobile", "share", "on mobile", "not on mobile"), THIRD),
)
#: How visits count where they alone make the segments: how people look around, more than how often.
BROWSING: Weighed = tuple((t, FULL if t.key in ("pages", "mobile") else THIRD) for t, _ in VISITING)
TRAITS: dict[str, Trait] = {t.key: t for t, _ in (*BUYING, *VISITING)}
IS_NEW = "is_new"

#: How a trait is called in a condition: `orders >= 5 and spend > 500`.
SAID = {
    "recency": "recency",
    "orders": "orders",
    "spend": "revenue",
    "revenue": "revenue",
    "basket": "basket",
    "products": "products",
    "visits": "sessions",
    "sessions": "sessions",
    "pages": "pages",
    "abandoned": "abandoned",
    "mobile": "mobile",
}
#: What visits are asked for: sums that totals per day hold too.
VISIT_SUMS = tuple(Measure("sessions", "sum", c) for c in ("pages", "carted", "abandoned"))

Operator = Literal[">=", "<=", ">", "<", "="]


@dataclass(frozen=True)
class Condition:
    """A bound on a trait of a person, as it is said: money in whole units, a share 0..1."""

    trait: str
    operator: Operator
    value: float

    def said(self) -> str:
        """As part of a question: `spend > 500`."""
        number = str(int(self.value)) if self.value == int(self.value) else repr(self.value)
        return f"{self.trait} {self.operator} {number}"

    def holds(self, habits: sa.FromClause, minor: int) -> Sql:
        """Over the rows of `habits_of`; what is unknown meets no condition.

        `minor` units of money make one of what people say.
        """
        key = SAID[self.trait]
        column: Sql = habits.c[key]
        value = self.value * minor if TRAITS[key].unit == "money" else self.value
        bound: Sql = sa.literal(float(value), sa.Double())
        compare = {">=": ge, "<=": le, ">": gt, "<": lt, "=": eq}[self.operator]
        return compare(dbl(column), bound)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Conditions:
    """Bounds on traits that must all hold."""

    all: tuple[Condition, ...] = ()

    def __iter__(self) -> Iterator[Condition]:
        """In the order they were said."""
        return iter(self.all)

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.all)

    def said(self) -> str:
        """`orders >= 5 and spend > 500`; empty for none."""
        return " and ".join(c.said() for c in self.all)


def habits_of(scope: Scope, wanted: Collection[str] = (*TRAITS, IS_NEW)) -> sa.Subquery:
    """Per person with an order in the scope's one window: the wanted traits, and `is_new`.

    Returns of the period are netted; new is who had never ordered before it. Traits of visits are
    null for who has none, and where visits do not know what the question filters by. A scope that
    is sliced by device tells that of visits. What is not wanted is not read.
    """
    (window,) = scope.windows
    bought = purchases(scope.slicing(None))
    end: Sql = sa.literal_column(str(day_number(window.end)), sa.BigInteger)
    traits: dict[str, Sql] = {
        "recency": end - scope.local_day(bought.c.last_at),
        "orders": bought.c.orders,
        "revenue": bought.c.revenue,
        "basket": dbl(bought.c.revenue) / dbl(bought.c.orders),
    }
    main: sa.FromClause = bought
    if "products" in wanted:
        ranges = product_ranges(scope.slicing(None))
        main = main.outerjoin(ranges, ranges.c.person_id == bought.c.person_id)
        traits["products"] = sa.func.coalesce(ranges.c.products, 0)
    if IS_NEW in wanted:
        earlier = earlier_orders(scope)
        main = main.outerjoin(earlier, earlier.c.person_id == bought.c.person_id)
        traits[IS_NEW] = sa.case((earlier.c.person_id.is_not(None), 0), else_=1)
    visiting = [t.key for t, _ in VISITING if t.key in wanted]
    visits = visit_habits(scope) if visiting else None
    known: dict[str, Sql] = {}
    if visits is not None:
        main = main.outerjoin(visits, visits.c.person_id == bought.c.person_id)
        known = visiting_traits(visits)
    traits |= {key: known.get(key, unknown()) for key in visiting}
    return (
        sa.select(bought.c.person_id, *(value.label(key) for key, value in traits.items()))
        .select_from(main)
        .where(bought.c.orders > 0)
        .subquery("habits")
    )


def payers(scope: Scope, wanted: Collection[str]) -> sa.Subquery:
    """The habits of those who paid anything."""
    habits = habits_of(scope, wanted)
    return sa.select(habits).where(habits.c.revenue > 0).subquery("payers")


def unknown() -> Sql:
    """A trait that nobody has."""
    return sa.cast(sa.null(), sa.Double())


def visiting_traits(visits: sa.FromClause) -> dict[str, Sql]:
    """The traits of visits, from their sums."""

    def share(part: str, whole: str) -> Sql:
        return dbl(visits.c[part]) / sa.func.nullif(dbl(visits.c[whole]), 0.0)  # type: ignore[no-any-return]

    found: dict[str, Sql] = {
        "sessions": dbl(visits.c.sessions),
        "pages": share("viewed", "sessions"),
        "abandoned": share("left_behind", "carted"),
    }
    if "on_any" in visits.c:
        found["mobile"] = share("on_mobile", "on_any")
    return found


def purchases(scope: Scope) -> sa.Subquery:
    """Per person: the last order, how many, and their amount less returns."""
    rows = rows_of("orders", scope)
    is_sale = rows.c.kind == "sale"
    return (
        sa.select(
            rows.c.person_id,
            sa.func.max(sa.case((is_sale, rows.c["at"]))).label("last_at"),
            isum(sa.case((is_sale, 1), else_=0)).label("orders"),
            isum(rows.c.amount_cents).label("revenue"),
        )
        .where(rows.c.person_id.is_not(None))
        .group_by(rows.c.person_id)
        .subquery("bought")
    )


def earlier_orders(scope: Scope) -> sa.Subquery:
    """Those who had ordered anything before the period."""
    return (
        sa.select(orders.c.person_id)
        .distinct()
        .where(
            orders.c.kind == "sale",
            orders.c.person_id.is_not(None),
            orders.c.ordered_at < instant(scope.since),
        )
        .subquery("earlier")
    )


def visit_habits(scope: Scope) -> sa.Subquery | None:
    """Per person with a visit: visits, pages, visits with a cart and those that left it, devices.

    None where visits do not know what the question filters by.
    """
    sessions = ENTITY["sessions"]
    if scope.missing(sessions):
        scope = scope.slicing(None)
    if scope.missing(sessions):
        return None
    source = source_of("sessions", scope, VISIT_SUMS, by_person=True)
    rows = source.rows
    each: Sql = rows.c.visits if source.is_totals else ONE
    devices: list[Any] = []
    if scope.by:
        mobile = sa.case((sa.func.lower(rows.c.slice) == "mobile", each), else_=0)
        known = sa.case((rows.c.slice.is_not(None), each), else_=0)
        devices = [isum(mobile).label("on_mobile"), isum(known).label("on_any")]
    return (
        sa.select(
            rows.c.person_id,
            isum(each).label("sessions"),
            isum(rows.c.pages).label("viewed"),
            isum(rows.c.carted).label("carted"),
            isum(rows.c.abandoned).label("left_behind"),
            *devices,
        )
        .group_by(rows.c.person_id)
        .subquery("visits")
    )
