"""What was known of people before a day, and who did something after it: for models of a future.

Only rows before the day are read for what was known: the scope of their queries ends there.
"""

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from analytics.catalog import ENTITY
from analytics.command import Context
from analytics.entities import CART_EVENT, product_ranges, rows_of
from analytics.parts import EVERYBODY, Shard
from analytics.period import DAY, between
from analytics.result import Unit
from analytics.scope import Scope, Window, day_number
from analytics.words import short_words, words
from storage.sql import Sql, isum

#: Days that are looked back at most.
LONGEST_LOOK = 365
#: Events that begin a checkout; one after the last order was not completed.
CHECKOUT_EVENTS = ("checkout", "begin_checkout", "checkout_started")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trait:
    """What is known of a person before a cut; `event` where it comes from visits."""

    key: str
    label: str
    unit: Unit
    event: bool = False


TRAITS = (
    Trait("recency", "days since the last order", "days"),
    Trait("overdue", "time since the last order, in usual gaps", "times"),
    Trait("gap", "days between orders", "days"),
    Trait("tenure", "days since the first order", "days"),
    Trait("orders", "orders", "count"),
    Trait("recent_orders", "orders lately", "count"),
    Trait("revenue", "net spend", "money"),
    Trait("recent_revenue", "net spend lately", "money"),
    Trait("basket", "spend per order", "money"),
    Trait("returned", "share returned", "share"),
    Trait("products", "different products", "count"),
    Trait("visit_days", "days with a visit lately", "count", event=True),
    Trait("since_visit", "days since the last visit", "days", event=True),
    Trait("carts", "things put into carts since the last order", "count", event=True),
    Trait("checkouts", "checkouts left behind since the last order", "count", event=True),
)
RECENCY = 0


def known_at(
    ctx: Context,
    scope: Scope,
    cut: dt.date,
    *,
    look: int,
    active: int,
    days: int,
    ahead: bool,
    part: Shard = EVERYBODY,
) -> pd.DataFrame:
    """People who ordered in the `active` days before a cut, in the order of ids, with TRAITS.

    `look` days are looked back; "lately" are the last `days` of them. With `ahead`, `came` says
    whether an order came in as many days from the cut on. Only those of the `part` are read.
    """
    known = replace(scope, windows=(Window.of("known", between(cut - look * DAY, cut), ctx.zone),))
    bought = bought_before(known, cut, active, days, part)
    visits = visit_habits(known, bought, cut, days)
    ranges = product_ranges(known)
    if not part.is_all:
        # engines cut by what is grouped by before they group
        own = part.holds(ranges.c.person_id)
        ranges = sa.select(ranges).where(*own).subquery("ranges_of_part")
    main = bought.outerjoin(ranges, ranges.c.person_id == bought.c.person_id)
    columns: list[Sql] = [c for c in bought.c if c.name != "last_at"]
    columns.append(sa.func.coalesce(ranges.c.products, 0).label("products"))
    if visits is not None:
        main = main.outerjoin(visits, visits.c.person_id == bought.c.person_id)
        columns += [c for c in visits.c if c.name != "person_id"]
    if ahead:
        window = Window.of("later", between(cut, cut + days * DAY), ctx.zone)
        later = bought_after(replace(scope, windows=(window,)), part)
        main = main.outerjoin(later, later.c.person_id == bought.c.person_id)
        columns.append(sa.case((later.c.person_id.is_(None), 0), else_=1).label("came"))
    found = ctx.store.frame(sa.select(*columns).select_from(main))
    found = found.sort_values("person_id", kind="stable").reset_index(drop=True)
    return with_traits(found, cut, days / look)


def bought_before(scope: Scope, cut: dt.date, active: int, days: int, part: Shard) -> sa.Subquery:
    """Per person who ordered within the last `active` days: orders, spend, and lately."""
    rows = rows_of("orders", scope)
    day = scope.local_day(rows.c["at"]).label("day")
    dated = sa.select(*rows.c, day).where(*part.holds(rows.c.person_id)).subquery("dated")
    sale = dated.c.kind == "sale"
    lately = dated.c.day >= day_number(cut) - days
    last_day = sa.func.max(sa.case((sale, dated.c.day)))
    return (
        sa.select(
            dated.c.person_id,
            last_day.label("last_day"),
            sa.func.min(sa.case((sale, dated.c.day))).label("first_day"),
            sa.func.max(sa.case((sale, dated.c["at"]))).label("last_at"),
            total(sale, 1).label("orders"),
            total(sale, dated.c.amount_cents).label("gross"),
            isum(dated.c.returned_cents).label("returned_cents"),
            total(sa.and_(sale, lately), 1).label("recent_orders"),
            total(lately, dated.c.amount_cents).label("recent_revenue"),
        )
        .where(dated.c.person_id.is_not(None))
        .group_by(dated.c.person_id)
        .having(last_day >= day_number(cut) - active)
        .subquery("bought")
    )


def total(condition: Sql, value: Any) -> Sql:
    """The sum where a condition holds."""
    return isum(sa.case((condition, value), else_=0))  # type: ignore[no-any-return]


def visit_habits(scope: Scope, bought: sa.Subquery, cut: dt.date, days: int) -> sa.Subquery | None:
    """Per buyer: days with a visit lately, the last one, carts and checkouts after the last order.

    None where events do not know what the question filters by.
    """
    if scope.missing(ENTITY["events"]):
        return None
    rows = rows_of("events", scope)
    day = scope.local_day(rows.c["at"])
    seen = (
        sa.select(rows.c.person_id, rows.c.name, rows.c["at"], bought.c.last_at, day.label("day"))
        .join_from(rows, bought, bought.c.person_id == rows.c.person_id)
        .subquery("seen")
    )
    lately = sa.case((seen.c.day >= day_number(cut) - days, seen.c.day))
    after = seen.c["at"] > seen.c.last_at
    return (
        sa.select(
            seen.c.person_id,
            sa.cast(sa.func.count(sa.distinct(lately)), sa.BigInteger).label("visit_days"),
            sa.func.max(seen.c.day).label("last_visit"),
            total(sa.and_(after, seen.c.name == CART_EVENT), 1).label("carts"),
            total(sa.and_(after, seen.c.name.in_(CHECKOUT_EVENTS)), 1).label("checkouts"),
        )
        .group_by(seen.c.person_id)
        .subquery("visits")
    )


def bought_after(scope: Scope, part: Shard) -> sa.Subquery:
    """Those of a part who ordered in the scope's window."""
    rows = rows_of("orders", scope)
    return (
        sa.select(rows.c.person_id)
        .distinct()
        .where(
            rows.c.kind == "sale",
            rows.c.person_id.is_not(None),
            *part.holds(rows.c.person_id),
        )
        .subquery("later")
    )


def with_traits(found: pd.DataFrame, cut: dt.date, share: float) -> pd.DataFrame:
    """The traits, as floats; what is unknown is NaN.

    `worth` is what a person usually spends in a horizon: that `share` of the net spend in the days
    that are looked back on.
    """
    as_they_are = ("person_id", "came", "last_day")
    people = found.astype({c: float for c in found.columns if c not in as_they_are})
    cut_day = day_number(cut)
    again = people["orders"] > 1
    recency = cut_day - people["last_day"].astype(float)
    gap = ((people["last_day"] - people["first_day"]) / (people["orders"] - 1)).where(again)
    tenure = cut_day - people["first_day"]
    revenue = people["gross"] - people["returned_cents"]
    unknown = pd.Series(np.nan, index=people.index)
    return people.assign(
        recency=recency,
        gap=gap,
        overdue=recency / gap.where(gap > 0),
        tenure=tenure,
        revenue=revenue,
        basket=people["gross"] / people["orders"],
        returned=people["returned_cents"] / people["gross"].where(people["gross"] > 0),
        since_visit=cut_day - people["last_visit"] if "last_visit" in people else unknown,
        visit_days=people["visit_days"].fillna(0) if "visit_days" in people else unknown,
        carts=people["carts"].fillna(0) if "carts" in people else unknown,
        checkouts=people["checkouts"].fillna(0) if "checkouts" in people else unknown,
        worth=np.maximum(revenue, 0) * share,
    )


def table_of(people: pd.DataFrame) -> Floats:
    """The traits as a table of floats, in the order of TRAITS."""
    return people[[t.key for t in TRAITS]].to_numpy(dtype=np.float64)


def trait_words(value: float, unit: Unit, currency: str) -> str:
    """A trait's value; days as a number, since the label says days."""
    if unit == "money":
        return short_words(round(float(value)), "money", currency)
    return words(round(float(value), 2), "number" if unit in ("days", "count") else unit)
