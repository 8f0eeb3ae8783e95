"""What goes together: the orders or visits of a question, their items, and names."""

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

import pyarrow as pa
import sqlalchemy as sa

from analytics.catalog import ENTITY
from analytics.command import Context
from analytics.entities import event_rows, order_line_rows
from analytics.errors import TooLargeError, UnknownNameError
from analytics.methods.itemsets import (
    MOST_ITEMSETS,
    Baskets,
    Counted,
    Itemsets,
    Known,
    Method,
    MiningTooLargeError,
    frequent_itemsets,
    minimum_count,
)
from analytics.methods.rules import in_words
from analytics.result import Note
from analytics.scope import Filters, Scope
from analytics.words import share_words
from storage.schema import items
from storage.sql import bucket, icount

#: A set of items must be in so many orders, and in so large a share of them, where nothing is said.
LEAST_ORDERS = 20
USUAL_SUPPORT = 0.01

#: Fewer orders than this answer nothing.
LEAST_BASKETS = 50

#: More lines than this are mined by the engine's library; without one, sampled by orders.
MOST_LINES = 15_000_000
BUCKETS = 1_000

#: Among what is shown, this share may be chance (Benjamini and Hochberg).
FALSE_DISCOVERY_RATE = 0.05

MOST_NAMED_ITEMS = 50

#: What holds items together: the orders they are in, or the visits in which they are looked at.
Held = Literal["orders", "views"]


@dataclass(frozen=True)
class Market:
    """The orders that a question is about: how many, and how many in each half of the period.

    `library` is what mines them in the engine, where they do not fit this process.
    """

    halves: tuple[int, int]
    middle: dt.datetime
    sampled: float
    library: str = ""

    @property
    def baskets(self) -> int:
        """Orders with at least one product, in the sample."""
        return sum(self.halves)


def item_filters(scope: Scope) -> tuple[str, ...]:
    """The filters that narrow the items of an order rather than the orders."""
    return tuple(
        f.dimension
        for f in scope.filters
        if scope.place(ENTITY["order_lines"], scope.catalog.dimension(f.dimension)) == "items"
    )


def sold_lines(scope: Scope) -> sa.Subquery:
    """One row per sold product line of the scope."""
    rows = order_line_rows(scope).subquery("lines")
    chosen = sa.select(rows).where(rows.c.kind == "sale", rows.c.is_product == 1)
    return chosen.subquery("sold")


def viewed_items(scope: Scope) -> sa.Subquery:
    """One row per product looked at in a visit of the scope, as `sold_lines` has them.

    The visit, at its first such view, stands where an order would. Views that name no visit are
    left out. Raises CannotAnswerError.
    """
    rows = event_rows(scope).subquery("events_seen")
    visit = rows.c.session_id
    return (
        sa.select(
            visit.label("order_id"),
            rows.c.item_id,
            sa.func.min(rows.c["at"]).over(partition_by=visit).label("at"),
        )
        .select_from(rows.outerjoin(items, items.c.item_id == rows.c.item_id))
        .where(
            visit.is_not(None),
            rows.c.item_id.is_not(None),
            rows.c.name.like("view%"),
            sa.func.coalesce(items.c.is_product, sa.true()),
        )
        .subquery("viewed")
    )


def lines_in(scope: Scope, baskets: Held) -> sa.Subquery:
    """`order_id`, `item_id` and `at` of what lies in the baskets of a scope."""
    return sold_lines(scope) if baskets == "orders" else viewed_items(scope)


def size_up(ctx: Context, scope: Scope, of: Held = "orders") -> Market:
    """Count the orders in each half of the period; decide who mines them, or whether to sample."""
    period_orders = replace(
        scope,
        filters=Filters(tuple(f for f in scope.filters if f.dimension not in item_filters(scope))),
    )
    sold = lines_in(period_orders, of)
    middle = middle_of(ctx, scope, sold)
    late = sa.case((sold.c.at >= sa.literal(middle), 1), else_=0).label("late")
    counted_orders = sa.select(
        late, sa.func.count(sa.distinct(sold.c.order_id)).label("orders"), icount().label("rows")
    ).group_by(late)
    found = {r["late"]: r for r in ctx.store.rows(counted_orders)}
    rows = sum(r["rows"] for r in found.values())
    share = min(1.0, MOST_LINES / rows) if rows else 1.0
    library = ctx.store.library if share < 1 else ""
    buckets = BUCKETS if library else max(1, int(share * BUCKETS))
    orders = [found[h]["orders"] if h in found else 0 for h in (0, 1)]
    if buckets < BUCKETS:
        sampled = counted_orders.where(bucket(sold.c.order_id, BUCKETS) < buckets)
        again = {r["late"]: r["orders"] for r in ctx.store.rows(sampled)}
        orders = [again.get(h, 0) for h in (0, 1)]
    return Market((orders[0], orders[1]), middle, buckets / BUCKETS, library)


def middle_of(ctx: Context, scope: Scope, sold: sa.Subquery) -> dt.datetime:
    """The instant that parts the period in halves; of all time, the middle of the orders."""
    since, until = scope.since, scope.until
    if until - since > dt.timedelta(days=3660):
        span = sa.select(
            sa.func.min(sold.c.at).label("first"), sa.func.max(sold.c.at).label("last")
        )
        row = ctx.store.row(span)
        since, until = row["first"] or since, row["last"] or until
    return since + (until - since) / 2


def order_items(
    scope: Scope, market: Market, least: int, of: Held = "orders"
) -> sa.Select[*tuple[Any, ...]]:
    """`basket`, `item` and `late` of each product line whose item is in at least `least` orders."""
    sold = lines_in(scope, of)
    late = sa.case((sold.c.at >= sa.literal(market.middle), 1), else_=0).label("late")
    pairs = sa.select(sold.c.order_id, sold.c.item_id, late).distinct()
    if market.sampled < 1:
        pairs = pairs.where(bucket(sold.c.order_id, BUCKETS) < round(market.sampled * BUCKETS))
    bought = pairs.cte("bought")
    often = (
        sa.select(bought.c.item_id)
        .group_by(bought.c.item_id)
        .having(icount() >= least)
        .subquery("often")
    )
    return sa.select(
        bought.c.order_id.label("basket"), bought.c.item_id.label("item"), bought.c.late
    ).join_from(bought, often, bought.c.item_id == often.c.item_id)


@dataclass(frozen=True, eq=False)
class Gathered:
    """The baskets of a question, to be mined: `here`, with those of each half, or by the library.

    `lines` has `basket`, `item` and `late`.
    """

    ctx: Context
    market: Market
    lines: sa.Select[*tuple[Any, ...]]
    here: tuple[Baskets, Baskets, Baskets] | None

    def itemsets(
        self, support: float, method: Method = "fpgrowth", longest: int | None = None
    ) -> Itemsets:
        """All in at least this share of the baskets. Raises MiningTooLargeError."""
        if self.here:
            return frequent_itemsets(
                self.here[0], min_support=support, method=method, max_length=longest
            )
        minimum = minimum_count(support, self.market.baskets)
        found = self._in_the_engine(minimum, longest)
        if found.num_rows <= MOST_ITEMSETS:
            sets, counts = found.column("items").to_pylist(), found.column("baskets").to_numpy()
            return Itemsets.of_sets(
                sets, counts, n_baskets=self.market.baskets, engine="Spark MLlib"
            )
        error = MiningTooLargeError("itemsets", found.num_rows, MOST_ITEMSETS)
        while found.num_rows > MOST_ITEMSETS and minimum < self.market.baskets:
            minimum = min(2 * minimum, self.market.baskets)
            found = self._in_the_engine(minimum, longest)
        if found.num_rows <= MOST_ITEMSETS:
            error.feasible_support = minimum / self.market.baskets
        raise error

    def _in_the_engine(self, minimum: int, longest: int | None) -> pa.Table:
        return self.ctx.store.by_library(
            "itemsets", self.lines, minimum=minimum, longest=longest, most=MOST_ITEMSETS
        )

    def halves(self, sets: Iterable[Iterable[Any]]) -> tuple[Counted, Counted]:
        """Baskets of the first and the second half, which know how many hold each of the sets."""
        if self.here:
            return self.here[1:]
        wanted = sorted({tuple(sorted(map(str, s))) for s in sets})
        found = self.ctx.store.by_library("holding", self.lines, sets=wanted).to_pylist()
        first, second = (
            Known(n, {frozenset(wanted[r["place"]]): r["baskets"] for r in found if r["late"] == h})
            for h, n in enumerate(self.market.halves)
        )
        return first, second


def gathered(
    ctx: Context, scope: Scope, market: Market, least: int, of: Held = "orders"
) -> Gathered:
    """The baskets to mine, of items in at least `least` of them."""
    lines = order_items(scope, market, least, of)
    if market.library:
        return Gathered(ctx, market, lines, None)
    here = Baskets.in_halves(ctx.store.frame(lines), market.halves)
    return Gathered(ctx, market, lines, here)


def size_notes(market: Market, orders: str, more: str = "") -> list[Note]:
    """That the baskets were too many for this process, and what was done about it."""
    if market.library:
        where = f"{market.library} counted all of them where they are"
        return [Note(f"Too many {orders} for this process: {where}.")]
    if market.sampled == 1:
        return []
    share = share_words(market.sampled)
    return [
        Note(
            f"Too many {orders} for this machine: these are from a stable sample of {share} of "
            f"them{more}.",
            "warning",
        )
    ]


def too_large(error: MiningTooLargeError, method: str) -> TooLargeError:
    """What does not fit, and what to say instead."""
    what = {"itemsets": "itemsets", "bytes": "memory", "rules": "rules"}[error.what]
    fits = error.feasible_support
    if fits is None:
        hint = "Say a larger min-support or a category."
        if method == "apriori":
            hint = "Say a larger min-support, or leave out `by apriori`: FP-Growth needs less."
    else:
        digits = 2 - math.floor(math.log10(fits * 100))  # three digits, rounded up so that it fits
        hint = f"min-support {math.ceil(fits * 100 * 10**digits) / 10**digits:.6g}% fits."
    return TooLargeError(f"That asks for more {what} than this machine may take.", hint=hint)


def named_items(ctx: Context, said: str) -> dict[str, str]:
    """The items that are meant: the exact name or id, else all names that hold every word."""
    rows = ctx.store.rows(sa.select(items.c.item_id, items.c.name))
    wanted = said.casefold().split()
    exact = {
        r["item_id"]: r["name"] or r["item_id"]
        for r in rows
        if said.casefold() in ((r["name"] or "").casefold(), r["item_id"].casefold())
    }
    if exact:
        return exact
    holding = {
        r["item_id"]: r["name"]
        for r in rows
        if r["name"] and all(w in r["name"].casefold() for w in wanted)
    }
    if not holding:
        names = {r["name"].casefold(): r["name"] for r in rows if r["name"]}
        near = get_close_matches(said.casefold(), list(names), 3, cutoff=0.5)
        raise UnknownNameError("item", said, [names[n] for n in near])
    if len(holding) > MOST_NAMED_ITEMS:
        raise UnknownNameError(
            f"one item among {len(holding)} whose names hold", said, sorted(holding.values())[:3]
        )
    return holding


def names_of(ctx: Context, wanted: Iterable[str]) -> dict[str, str]:
    """Item id -> the name to show; where two items share a name, the id stands behind it."""
    ids = sorted(set(wanted))
    found = {
        r["item_id"]: r["name"] or r["item_id"]
        for r in ctx.store.rows(
            sa.select(items.c.item_id, items.c.name).where(items.c.item_id.in_(ids))
        )
    }
    names = {i: found.get(i, i) for i in ids}
    shared = [n for n in set(names.values()) if list(names.values()).count(n) > 1]
    return {i: f"{n} ({i})" if n in shared else n for i, n in names.items()}


def together(side: frozenset[Any], names: dict[str, str]) -> str:
    """The items of a side by name."""
    return " + ".join(sorted(names[i] for i in in_words(side)))
