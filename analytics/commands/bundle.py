"""bundle: what to offer as one, and what that should bring."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from analytics.command import Command, Context, says
from analytics.errors import NotEnoughDataError
from analytics.market import (
    FALSE_DISCOVERY_RATE,
    LEAST_BASKETS,
    LEAST_ORDERS,
    USUAL_SUPPORT,
    Gathered,
    Market,
    gathered,
    named_items,
    names_of,
    size_notes,
    size_up,
    sold_lines,
    too_large,
)
from analytics.methods.bundles import (
    LARGEST,
    Bundles,
    break_even,
    bundles_of,
    extra_revenue,
    price_of,
    unlike,
)
from analytics.methods.itemsets import (
    Counted,
    Itemsets,
    MiningTooLargeError,
    minimum_count,
)
from analytics.period import Period
from analytics.result import Chart, Column, Note, Part, Result, Series, Table
from analytics.scope import Filters, Scope, in_quotes, scope_of
from analytics.scope import in_words as period_in_words
from analytics.words import counted, decimal_words, share_words, short_words, words
from storage.sql import isum

#: Every way to part a bundle meets so many times as often as by chance.
LEAST_LIFT = 1.2
MOST_BUNDLES = 100
CHARTED = 8


@dataclass(frozen=True, kw_only=True)
class Bundle(Command):
    """What to offer as a bundle, and what that should bring.

    Pairs and triples of items, each of which meets the rest more often than by chance (Benjamini
    and Hochberg on the least sure), ranked by the revenue that offering them together should add.
    The discount and the uptake are yours to say; the uptake from which it pays is shown beside.
    """

    group: ClassVar = "Goods"
    examples: ClassVar = (
        "bundle last 90 days",
        "bundle for category bags discount 5% uptake 30%",
    )
    aliases: ClassVar = ("offer-together",)

    period: Period = says("last 90 days", help="the days whose orders to look at")
    where: Filters = says(
        Filters(), help="only items of a category, only orders from a country, ..."
    )
    item: str | None = says(
        None, words=("with item", "item"), help="only bundles that hold this item (or these words)"
    )
    discount: float = says(
        0.1, words=("discount", "off"), unit="share", low=0, high=0.9,
        help="how much less the bundle costs than its items",
    )  # fmt: skip
    uptake: float = says(
        0.5, words=("uptake", "taken by"), unit="share", low=0.001, high=1,
        help="of the orders that lack one item and are inclined to it, the share that would take "
        "the bundle: your assumption",
    )  # fmt: skip
    min_support: float | None = says(
        None, unit="share", low=0.00001, high=1, help="the least share of all orders (default: "
        "1 %, and 20 orders)",
    )  # fmt: skip

    def run(self, ctx: Context) -> Result:
        """Mine, test, price, fold, and say."""
        scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("now", self.period)], self.where)
        named = named_items(ctx, self.item) if self.item else {}
        market = size_up(ctx, scope)
        if market.baskets < LEAST_BASKETS:
            raise NotEnoughDataError(
                f"Only {counted(market.baskets, 'order')} {period_in_words(self.period)}; bundles "
                f"need {LEAST_BASKETS}.",
                hint="Ask for a longer period.",
            )
        support = min(self.min_support or max(USUAL_SUPPORT, LEAST_ORDERS / market.baskets), 1)
        least = minimum_count(support, market.baskets)
        gathering = gathered(ctx, scope, market, least)
        found = mined(gathering, support)
        likely = bundles_of(found, min_lift=LEAST_LIFT)
        sure = likely.only(np.flatnonzero(likely.q <= FALSE_DISCOVERY_RATE))
        if named:
            codes = [code for code, name in enumerate(found.names) if name in named]
            sure = sure.only(np.flatnonzero(np.isin(sure.items, codes).any(axis=1)))
        orders = f"{counted(least, 'order')} ({share_words(support)})"
        if not len(sure):
            return self.nothing(market, orders)
        prices = unit_prices(ctx, scope, found)
        brings = extra_revenue(sure, prices, self.discount, self.uptake)
        best = sure.only(np.lexsort((*sure.items.T, -brings)))
        shown = best.only(unlike(best, MOST_BUNDLES))
        return self.result(ctx, market, found, shown, prices, gathering, len(sure), orders)

    def result(
        self,
        ctx: Context,
        market: Market,
        found: Itemsets,
        shown: Bundles,
        prices: NDArray[np.float64],
        gathering: Gathered,
        sure: int,
        orders: str,
    ) -> Result:
        """Table, chart, and the best bundle in a sentence."""
        names = names_in(ctx, found, shown)
        brings = extra_revenue(shown, prices, self.discount, self.uptake) / market.sampled
        pays = break_even(shown, prices, self.discount)
        whole = price_of(shown, prices)
        stable = steady(found, shown, gathering)
        records = [
            {
                "bundle": names[k],
                "brings": round(float(brings[k])),
                "pays_from": pays[k],
                "price": round(float(whole[k])),
                "offered": round(float(whole[k] * (1 - self.discount))),
                "count": int(shown.count[k]),
                "lacking": int(shown.lacking[k].sum()),
                "inclined": round(float(shown.inclined[k].sum())),
                "lift": shown.lift[k],
                "stable": bool(stable[k]),
            }
            for k in range(len(shown))
        ]
        title = ", ".join(t for t in ("Bundles", self.period.words, self.where.words()) if t)
        first = in_quotes(names[0].split(" + ")[0])
        said = self.where.said()
        follow_ups = (
            f"rules with item {first} {self.period.words}",
            f"bundle {self.period.words} {said} discount {self.discount / 2:.3g}",
            f"recommend similar to item {first}",
        )
        return Result(
            title,
            self.headline(ctx, records[0]),
            (
                Table.of(title, COLUMNS, records),
                brings_chart(records),
                *self.card(market, found, orders, sure - len(shown)),
            ),
            tuple(" ".join(f.split()) for f in follow_ups),
        )

    def headline(self, ctx: Context, best: dict[str, Any]) -> str:
        """What to offer, what it brings, from when on it pays; or that nothing does."""
        off = f"at {share_words(self.discount)} off" if self.discount else "at full price"
        taken = f"{share_words(self.uptake)} of those who are inclined to it"
        if best["brings"] <= 0:
            return (
                f"No bundle pays {off} where {taken} take it: those who buy all of it anyway would "
                "cost more than the others bring."
            )
        more = words(round(self.uptake * best["inclined"]), "count")
        money = short_words(best["brings"], "money", ctx.currency)
        pays = f"; it pays from {share_words(round(best['pays_from'], 3))} on" * bool(self.discount)
        return (
            f"Offer {best['bundle']} together {off}: if {taken} take it, {more} more orders hold "
            f"it, which is {money} more in as many orders{pays}."
        )

    def card(self, market: Market, found: Itemsets, orders: str, folded: int) -> list[Part]:
        """What was looked at, how the revenue is reckoned, and what that leaves out."""
        notes: list[Part] = [*size_notes(market, "orders", "; revenue is for all")]
        notes += [
            Note(
                f"That {share_words(self.uptake)} of the inclined take it is an assumption: say "
                "your own with `uptake 20%`, or offer it to half of the people and ask `ab`.",
                "warning",
            ),
            Note(
                "Extra revenue = uptake × Σ inclined × (price of the item they lack − discount × "
                "price of all) − discount × price of all × orders with all. Inclined: of the "
                "orders that lack one item, the share in which the rest goes with it, beyond "
                "chance. Prices are the period's average for one piece. It is revenue: costs, "
                "stock, and orders that the offer itself draws are not known."
            ),
            Note(
                f"Found in {counted(market.baskets, 'order')} by {found.engine}: two or {LARGEST} "
                f"items in at least {orders}, each with the rest {decimal_words(LEAST_LIFT)} times "
                "as often as by chance, one in twenty of them perhaps by chance all the same; "
                f"{counted(folded, 'bundle')} that share two items with a better one folded."
            ),
        ]
        return notes

    def nothing(self, market: Market, orders: str) -> Result:
        """No set of items is sure."""
        holding = " with that item" if self.item else ""
        return Result(
            "Bundles",
            f"No bundle{holding} stands out {period_in_words(self.period)}: in "
            f"{counted(market.baskets, 'order')}, no items are together in at least {orders} more "
            "often than by chance.",
            (Note("Lower min-support, or ask for a longer period."),),
            (" ".join(f"rules {self.period.words} {self.where.said()} min-lift 1".split()),),
        )


COLUMNS = (
    Column("bundle", "Bundle"),
    Column("brings", "Extra revenue", "money"),
    Column("pays_from", "Pays from", "share"),
    Column("price", "Price of all", "money"),
    Column("offered", "Offered at", "money"),
    Column("count", "Orders with all", "count"),
    Column("lacking", "Lack one item", "count"),
    Column("inclined", "Inclined to it", "count"),
    Column("lift", "Least lift", "times"),
    Column("stable", "Stable", "flag"),
)


def mined(gathering: Gathered, support: float) -> Itemsets:
    """Sets of up to LARGEST items. Raises TooLargeError."""
    try:
        return gathering.itemsets(support, longest=LARGEST)
    except MiningTooLargeError as error:
        raise too_large(error, "fpgrowth") from error


def unit_prices(ctx: Context, scope: Scope, found: Itemsets) -> NDArray[np.float64]:
    """The average price of one piece of each item, by its code, in minor units."""
    sold = sold_lines(scope)
    per_item = (
        sa.select(
            sold.c.item_id,
            isum(sold.c.amount_cents).label("cents"),
            isum(sold.c.quantity).label("pieces"),
        )
        .group_by(sold.c.item_id)
        .having(isum(sold.c.quantity) > 0)
    )
    price = {r["item_id"]: r["cents"] / r["pieces"] for r in ctx.store.rows(per_item)}
    return np.array([max(price.get(name, 0.0), 0.0) for name in found.names])


def names_in(ctx: Context, found: Itemsets, shown: Bundles) -> list[str]:
    """Each bundle's items by name."""
    ids = [[str(found.names[i]) for i in row if i >= 0] for row in shown.items.tolist()]
    names = names_of(ctx, {i for row in ids for i in row})
    return [" + ".join(sorted(names[i] for i in row)) for row in ids]


def steady(found: Itemsets, shown: Bundles, gathering: Gathered) -> NDArray[np.bool_]:
    """Whether all of a bundle meets more often than by chance in both halves of the period."""
    sets = [[found.names[i] for i in row if i >= 0] for row in shown.items.tolist()]
    ones = sorted({str(name) for one in sets for name in one})
    first, second = gathering.halves([*sets, *([name] for name in ones)])
    return often(first, sets, ones) & often(second, sets, ones)


def often(half: Counted, sets: list[list[Any]], ones: list[str]) -> NDArray[np.bool_]:
    """Of each set, whether it is in more of these orders than by chance."""
    counts = half.counts_of([[name] for name in ones])
    share = dict(zip(ones, counts / max(half.n_baskets, 1), strict=True))
    chance = np.array([math.prod(share[name] for name in one) for one in sets])
    kept: NDArray[np.bool_] = half.counts_of(sets) > half.n_baskets * chance
    return kept


def brings_chart(records: list[dict[str, Any]]) -> Chart:
    """The extra revenue of the first bundles as bars."""
    top = records[:CHARTED]
    return Chart(
        "What the first bundles should bring",
        "bar",
        tuple(r["bundle"] for r in top),
        (Series("Extra revenue", tuple(r["brings"] for r in top)),),
        "money",
        y_label="Extra revenue",
    )
