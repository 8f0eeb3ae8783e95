"""top: what sells best, and what climbs or falls."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import sqlalchemy as sa

from analytics.command import Command, Context, says
from analytics.entities import in_window, order_line_rows
from analytics.errors import NotEnoughDataError
from analytics.period import Period
from analytics.result import Chart, Column, Result, Series, Table
from analytics.scope import Filters, in_quotes, in_words, previous_in_words, scope_of
from analytics.words import moved, share_words, short_words
from storage.schema import items
from storage.sql import isum

CHARTED = 10
MOST_ROWS = 500

COLUMNS = (
    Column("name", "Name"),
    Column("revenue", "Net revenue", "money"),
    Column("share", "Share", "share"),
    Column("before", "Before", "money"),
    Column("quantity", "Sold", "count"),
    Column("orders", "Orders", "count"),
)


@dataclass(frozen=True, kw_only=True)
class Top(Command):
    """What sells best: items or categories by revenue less returns, against the period before."""

    group: ClassVar = "Goods"
    examples: ClassVar = ("top items last 30 days", "top categories where country:France")
    aliases: ClassVar = ("bestsellers", "best")

    what: Literal["items", "categories"] = says("items", help="what to rank")
    period: Period = says("last 30 days", help="the days whose sales to count")
    where: Filters = says(Filters(), help="only a country, a category, ...")

    def run(self, ctx: Context) -> Result:
        """One query over the sold lines of both periods, ranked in the engine."""
        periods = [("now", self.period), ("before", self.period.previous())]
        scope = scope_of(ctx.store, ctx.catalog, ctx.zone, periods, self.where)
        ranked = ctx.store.rows(self.ranking(order_line_rows(scope).subquery("lines"), scope))
        if not ranked:
            raise NotEnoughDataError(
                f"Nothing was sold {in_words(self.period)}.", hint="Ask for a longer period."
            )
        total = sum(r["revenue"] for r in ranked)
        records = [{**r, "share": r["revenue"] / total} for r in ranked]
        title = ", ".join(
            t for t in (f"Top {self.what}", self.period.words, scope.filters.words()) if t
        )
        best, top = records[0], records[:CHARTED]
        more = len(records) > MOST_ROWS
        table = Table.of(
            title, COLUMNS, records[:MOST_ROWS], of_rows=len(records) if more else None
        )
        chart = Chart(
            title,
            "bar",
            tuple(str(r["name"]) for r in top),
            (Series("revenue", tuple(r["revenue"] for r in top)),),
            "money",
            y_label="Net revenue",
        )
        return Result(
            title, self.headline(best, records, total, ctx), (table, chart), self.next(best)
        )

    def ranking(self, lines: sa.FromClause, scope: Any) -> Any:
        """Net revenue, pieces and orders now, and net revenue before; best first, then by name."""
        now, before = scope.windows
        sold = sa.case((sa.and_(*in_window(lines.c.at, now)), 1), else_=0)
        earlier = sa.case((sa.and_(*in_window(lines.c.at, before)), 1), else_=0)
        by_item = sa.func.coalesce(items.c.name, lines.c.item_id)
        by_category = sa.func.coalesce(items.c.category, "without category")
        name = (by_item if self.what == "items" else by_category).label("name")
        revenue = isum(lines.c.amount_cents * sold).label("revenue")
        order = sa.case((sa.and_(sold == 1, lines.c.kind == "sale"), lines.c.order_id), else_=None)
        return (
            sa.select(
                name,
                revenue,
                isum(lines.c.amount_cents * earlier).label("before"),
                isum(lines.c.quantity * sold).label("quantity"),
                sa.func.count(sa.distinct(order)).label("orders"),
            )
            .join_from(lines, items, items.c.item_id == lines.c.item_id, isouter=True)
            .where(lines.c.is_product == 1)
            .group_by(name)
            .having(revenue > 0)
            .order_by(revenue.desc(), name)
        )

    def headline(
        self, best: dict[str, Any], records: list[dict[str, Any]], total: int, ctx: Context
    ) -> str:
        """The best seller and how it moved, then how much the first tenth brings."""
        text = (
            f"{best['name']} sells best {in_words(self.period)}: "
            f"{short_words(best['revenue'], 'money', ctx.currency)}, "
            f"{share_words(best['share'])} of all"
        )
        change = moved(best["revenue"], best["before"], "money") if best["before"] > 0 else None
        if change:
            against = "from" if change == "unchanged" else "on"
            text += f", {change} {against} {previous_in_words(self.period)}"
        if len(records) >= CHARTED * 2:
            tenth = records[: len(records) // 10]
            share = sum(r["revenue"] for r in tenth) / total
            text += f"; the best tenth of {len(records):,} {self.what} brings {share_words(share)}"
        return f"{text}."

    def next(self, best: dict[str, Any]) -> tuple[str, ...]:
        """What is bought with it, and the other ranking."""
        if self.what == "items":
            return (
                f"rules with item {in_quotes(best['name'])} {self.period.words}",
                f"top categories {self.period.words}",
            )
        return (
            f"rules {self.period.words} where category:{in_quotes(best['name'])}",
            f"top items {self.period.words} where category:{in_quotes(best['name'])}",
        )
