"""rules: what is bought, or looked at, together, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pandas import DataFrame

from analytics.catalog import ENTITY
from analytics.command import Command, Context, says
from analytics.errors import NotEnoughDataError, UserError
from analytics.market import (
    FALSE_DISCOVERY_RATE,
    LEAST_BASKETS,
    LEAST_ORDERS,
    USUAL_SUPPORT,
    Gathered,
    Held,
    Market,
    gathered,
    item_filters,
    named_items,
    names_of,
    size_notes,
    size_up,
    together,
    too_large,
)
from analytics.methods.itemsets import (
    Itemsets,
    MiningTooLargeError,
    minimum_count,
)
from analytics.methods.rules import (
    association_rules,
    candidate_rules,
    fold_mirrors,
    order_for_people,
    significance,
    stable_in_halves,
)
from analytics.period import Period
from analytics.result import Chart, Column, Note, Part, Result, Series, Table
from analytics.scope import Filters, Scope, in_quotes, scope_of
from analytics.scope import in_words as period_in_words
from analytics.words import counted, decimal_words, listed, share_words

MOST_ROWS = 1_000
CHARTED_RULES = 10


@dataclass(frozen=True)
class Basket:
    """How one kind of basket is spoken of: `Who {does} A also {does} B`; `{done} together`."""

    one: str
    does: str
    done: str
    offer: str


BASKETS: dict[Held, Basket] = {
    "orders": Basket("order", "buys", "bought", "offer them together"),
    "views": Basket("visit", "looks at", "looked at", "show them beside each other"),
}


@dataclass(frozen=True, kw_only=True)
class Rules(Command):
    """What is bought together: "who buys A also buys B".

    Association rules over the orders of a period, by FP-Growth or Apriori; `of views` takes the
    visits that looked at items. Support is the share of all orders that hold both sides, confidence
    the share of A's orders that hold B too, lift how many times as often they meet as by chance.
    Mirrors and redundant rules are folded, what may be chance is left out, and a rule that holds in
    both halves of the period is marked as stable.
    """

    group: ClassVar = "Goods"
    examples: ClassVar = (
        "rules last 90 days",
        "rules for category bags",
        "rules for category bags by apriori min-support 2%",
        "rules of views last 90 days",
    )
    aliases: ClassVar = ("associations", "basket")

    period: Period = says("last 90 days", help="the days whose orders to look at")
    where: Filters = says(
        Filters(), help="only items of a category, only orders from a country, ..."
    )
    item: str | None = says(
        None, words=("with item", "item"), help="only rules that hold this item (or these words)"
    )
    of: Held = says("orders", help="what holds the items: orders, or visits that look at them")
    method: Literal["fpgrowth", "apriori"] = says(
        "fpgrowth", after_by=True, help="how itemsets are found; both find the same"
    )
    min_support: float | None = says(
        None, unit="share", low=0.00001, high=1, help="the least share of all orders or visits "
        "(default: 1 %, and 20 of them)",
    )  # fmt: skip
    min_confidence: float = says(
        0.2, unit="share", low=0, high=1, help="the least share of A's orders that hold B"
    )
    min_lift: float = says(1.2, unit="number", low=0, help="how many times as often as by chance")

    def run(self, ctx: Context) -> Result:
        """Mine, test, fold, order, and say."""
        scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("now", self.period)], self.where)
        named = named_items(ctx, self.item) if self.item else {}
        ctx.tell(f"Reading what was {'bought' if self.of == 'orders' else 'looked at'} together")
        if self.of == "views" and (unknown := scope.missing(ENTITY["events"])):
            raise UserError(
                f"What was looked at is not known by {listed([d.label.lower() for d in unknown])}.",
                hint=f"Ask `rules of views {self.period.words}`.",
            )
        market = size_up(ctx, scope, self.of)
        if market.baskets < LEAST_BASKETS:
            seen = " that looked at an item" if self.of == "views" else ""
            raise NotEnoughDataError(
                f"Only {counted(market.baskets, self.basket.one)}{seen} "
                f"{period_in_words(self.period)}; rules need {LEAST_BASKETS}.",
                hint="Ask for a longer period.",
            )
        support = self.min_support or max(USUAL_SUPPORT, LEAST_ORDERS / market.baskets)
        least = minimum_count(min(support, 1), market.baskets)
        orders = gathered(ctx, scope, market, least, self.of)
        ctx.tell(f"Mining {counted(market.baskets, self.basket.one)}")
        found, support, raised = self.mine(orders, min(support, 1))
        rules, tested = self.rules_of(found)
        if named:
            involved = set(named)
            holds = [
                bool(involved & (a | c))
                for a, c in zip(rules["antecedents"], rules["consequents"], strict=True)
            ]
            rules = rules[holds].reset_index(drop=True)
        folded = fold_mirrors(rules)
        tested_rules = significance(folded.rules, market.baskets, tested=max(tested, len(rules)))
        sure = tested_rules[tested_rules["q"] <= FALSE_DISCOVERY_RATE].reset_index(drop=True)
        notes = self.notes(
            market, scope, found, support, raised, folded.redundant + folded.mirrors,
            chance=len(tested_rules) - len(sure),
        )  # fmt: skip
        if sure.empty:
            return self.nothing(notes, support, market, scope)
        ordered = order_for_people(sure)
        shown = ordered.head(MOST_ROWS)
        shown = stable_in_halves(shown, *orders.halves(sets_of(shown)))
        sides = [*shown["antecedents"], *shown["consequents"]]
        names = names_of(ctx, {str(i) for side in sides for i in side})
        return self.result(shown, len(ordered), names, notes, scope)

    @property
    def basket(self) -> Basket:
        """How its baskets are spoken of."""
        return BASKETS[self.of]

    @property
    def said_of(self) -> str:
        """What holds the items, as it is said; nothing where it is the orders."""
        return "of views" if self.of == "views" else ""

    def mine(self, orders: Gathered, support: float) -> tuple[Itemsets, float, bool]:
        """The itemsets, the support they were found at, and whether it had to be raised.

        A support that was asked for is never changed: TooLargeError says which one fits.
        """
        try:
            found = orders.itemsets(support, self.method)
        except MiningTooLargeError as error:
            if self.min_support is not None or error.feasible_support is None:
                raise too_large(error, self.method) from error
            support = error.feasible_support
            return orders.itemsets(support, self.method), support, True
        return found, support, False

    def rules_of(self, found: Itemsets) -> tuple[DataFrame, int]:
        """The rules above the thresholds, and how many were looked at."""
        try:
            rules = association_rules(
                found,
                min_confidence=self.min_confidence,
                min_lift=self.min_lift,
                single_consequent=True,
            )
        except MiningTooLargeError as error:
            raise too_large(error, self.method) from error
        return rules, candidate_rules(found, single_consequent=True)

    def notes(
        self,
        market: Market,
        scope: Scope,
        found: Itemsets,
        support: float,
        raised: bool,
        folded: int,
        *,
        chance: int,
    ) -> list[Part]:
        """What to know: the sample, the thresholds, what was left out."""
        notes: list[Part] = [*size_notes(market, f"{self.basket.one}s")]
        if raised:
            notes.append(
                Note(f"The least support was raised to {share_words(support)} to fit.", "warning")
            )
        orders = counted(minimum_count(support, market.baskets), self.basket.one)
        notes.append(
            Note(
                f"Found in {counted(market.baskets, self.basket.one)} by {found.engine}: "
                f"{counted(len(found), 'itemset')} in at least {orders} "
                f"({share_words(support)}); confidence from {share_words(self.min_confidence)}, "
                f"lift from {decimal_words(self.min_lift)}."
            )
        )
        left_out = [f"{counted(folded, 'mirror or redundant rule')} folded"] * (folded > 0)
        left_out += [f"{counted(chance, 'rule')} that may be chance left out"] * (chance > 0)
        if left_out:
            notes.append(Note(f"{listed(left_out)}."))
        if item_filters(scope):
            notes.append(Note("Both sides are of the category; the orders counted are all orders."))
        return notes

    def nothing(self, notes: list[Part], support: float, market: Market, scope: Scope) -> Result:
        """No rule passed: say which threshold to lower."""
        least = LEAST_ORDERS / market.baskets / 2
        lower = max(support / 2, least) if support > least else support / 2
        ask = (
            f"rules {self.said_of} {self.period.words} {scope.filters.said()} "
            f"min-support {lower:.3g} min-lift 1"
        )
        return Result(
            "Rules",
            f"No rule stands out {period_in_words(self.period)}: nothing is "
            f"{self.basket.done} together in at least {share_words(support)} of "
            f"{self.basket.one}s more often than by chance.",
            (Note("Lower min-support or min-confidence, or ask for a longer period."), *notes),
            (" ".join(ask.split()),),
        )

    def result(
        self,
        shown: DataFrame,
        total: int,
        names: dict[str, str],
        notes: list[Part],
        scope: Scope,
    ) -> Result:
        """Table, chart and the strongest rule in a sentence."""
        records = [record(row, names) for row in shown.to_dict("records")]
        best, basket = records[0], self.basket
        name = "Rules" if self.of == "orders" else "Rules of views"
        title = ", ".join(t for t in (name, self.period.words, scope.filters.words()) if t)
        said = scope.filters.said()
        first_item = min(map(str, shown.iloc[0]["antecedents"]))
        item = in_quotes(names.get(first_item, first_item))
        follow_ups = [
            f"rules {self.said_of} with item {item} {self.period.words}",
            f"bundle {self.period.words} {said}"
            if self.of == "orders"
            else f"rules {self.period.words} {said}",
            f"segment {self.period.words}",
        ]
        return Result(
            title,
            f"Who {basket.does} {best['antecedents']} also {basket.does} {best['consequents']} in "
            f"{share_words(best['confidence'])} of {basket.one}s, "
            f"{decimal_words(round(best['lift'], 1))} times as often as by chance: {basket.offer}. "
            f"{counted(total, 'rule')} in all.",
            (
                Table.of(
                    title,
                    columns_of(basket),
                    records,
                    of_rows=total if total > len(records) else None,
                ),
                strongest_chart(records),
                *notes,
            ),
            tuple(" ".join(f.split()) for f in follow_ups),
        )


def columns_of(basket: Basket) -> tuple[Column, ...]:
    """The columns of rules over such baskets."""
    return (
        Column("antecedents", f"Who {basket.does}"),
        Column("consequents", f"also {basket.does}"),
        Column("lift", "Lift", "times"),
        Column("confidence", "Confidence", "share"),
        Column("count", f"{basket.one.capitalize()}s with both", "count"),
        Column("extra_baskets", "Beyond chance", "count"),
        Column("support", "Support", "share"),
        Column("reverse_confidence", "Other way round", "share"),
        Column("stable", "Stable", "flag"),
    )


def sets_of(rules: DataFrame) -> list[frozenset[Any]]:
    """Each side of the rules, and both together."""
    left, right = list(rules["antecedents"]), list(rules["consequents"])
    return [*left, *right, *(a | b for a, b in zip(left, right, strict=True))]


def record(row: dict[Any, Any], names: dict[str, str]) -> dict[str, Any]:
    """A rule as a row of the table."""
    return {
        **row,
        "antecedents": together(row["antecedents"], names),
        "consequents": together(row["consequents"], names),
        "extra_baskets": round(row["extra_baskets"]),
        "stable": bool(row["stable"]),
    }


def strongest_chart(records: Sequence[dict[str, Any]]) -> Chart:
    """The lift of the first rules as bars, the highest on top."""
    top = sorted(records[:CHARTED_RULES], key=lambda r: -r["lift"])
    labels = tuple(f"{r['antecedents']} → {r['consequents']}" for r in top)
    return Chart(
        "The first rules by lift: times as often as by chance",
        "bar",
        labels,
        (Series("lift", tuple(float(r["lift"]) for r in top)),),
        "times",
    )
