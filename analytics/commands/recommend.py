"""recommend: what to show whom, why, and how often that would have been right."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import sqlalchemy as sa

from analytics.command import Command, Context, says
from analytics.entities import rows_of
from analytics.errors import NotEnoughDataError, UnknownNameError, UserError, nearest
from analytics.measure import spans_of
from analytics.methods.portraits.clustering import one_thread
from analytics.methods.recommenders import (
    COMPARE_ON,
    SHOWN,
    Kind,
    Log,
    Quality,
    Study,
    TooFewError,
    alike,
    possible,
    reason,
    shown_most,
    studied,
)
from analytics.period import DAY, Period, between
from analytics.result import Chart, Column, Note, Part, Result, Series, Table
from analytics.scope import Filters, Scope, day_number, day_of, in_quotes, in_words, scope_of
from analytics.words import counted, date_words, decimal_words, listed, share_words, words
from storage.schema import consents, items, orders, people

#: Items with fewer buyers, and comparisons on fewer people, tell too little.
LEAST_BUYERS = 5
LEAST_JUDGED = 30
LEAST_ITEMS = 20
#: The last share of the days, and at most so many, are held back to compare on.
HELD_BACK, MOST_HELD_BACK = 0.2, 60
#: People over whom it is counted what would be shown.
COUNT_ON = 500
#: A lead of the best over popularity that is worth having.
WORTH_IT = 1.05
MOST_SHOWN = 50
CHARTED = 10
#: Purposes of a consent that recommending needs, where one was asked for.
PURPOSES = ("personalisation", "personalization", "recommendations", "recommendation", "profiling")


@dataclass(frozen=True, kw_only=True)
class Recommend(Command):
    """What to offer whom: items that people like them went on to buy.

    Popularity, item likeness (cosine, BM25) and EASE are compared on what people bought next, and
    the best is taken. `user 12347` gives one person's items with reasons, for you alone; `similar
    to item "RED MUG"` what buyers of an item buy too; neither: how good recommendations are here.
    """

    examples: ClassVar = (
        "recommend",
        "recommend user 12347",
        'recommend similar to item "JUMBO BAG RED RETROSPOT"',
    )
    aliases: ClassVar = ("recommendations", "suggest")

    user: str | None = says(
        None, words=("user", "person", "customer"), help="whom to recommend to; for you alone"
    )
    item: str | None = says(
        None, words=("similar to item", "similar to", "item", "like"),
        help="an item (or words of its name) to find similar ones of",
    )  # fmt: skip
    period: Period = says("last 365 days", help="the purchases to learn from")
    where: Filters = says(Filters(), help="only items of a category, orders from a country, ...")
    top: int = says(
        SHOWN, words=("top",), unit="count", low=1, high=MOST_SHOWN, help="how many items"
    )

    @property
    def shows_people(self) -> bool:
        """Whether it is about one person."""
        return self.user is not None

    def run(self, ctx: Context) -> Result:
        """Read who bought what, compare recommenders, and show what is asked for."""
        if self.user and self.item:
            raise UserError(
                "Say a person or an item, not both.",
                hint=f"Try `recommend user {self.user}`.",
            )
        if self.user:
            refuse_without_consent(ctx, self.user)
        ctx.tell("Reading who bought what")
        market = read(ctx, self.period, self.where)
        named = named_item(market, self.item) if self.item else None
        kinds: tuple[Kind, ...] = (
            ("popularity", "cosine") if named else possible(len(market.log.items))
        )
        ctx.tell("Comparing recommenders")
        with one_thread():
            study = compared(market, kinds)
            if named:
                return self.similar(market, study, named)
            return self.to_person(market, study) if self.user else self.overall(market, study)

    # -- overall

    def overall(self, market: "Market", study: Study) -> Result:
        """How good each recommender is, and what the best would show most."""
        best, usual = study.qualities[study.taken], study.qualities["popularity"]
        headline = (
            f"Ten recommendations by {NAMES[study.taken]} hold something that the person went on "
            f"to buy for {share_words(round(best.hit_rate, 2))} of people"
        )
        if study.taken != "popularity":
            headline += f"; the ten bestsellers do for {share_words(round(usual.hit_rate, 2))}"
        shown = self.shown_table(market, study)
        first = market.name(study.log.items[0]) if not shown else str(shown[0].rows[0][0])
        parts: list[Part] = [
            qualities_table(study),
            Chart(
                "People for whom ten items hold one that they went on to buy",
                "bar",
                tuple(NAMES[k] for k in study.qualities),
                (Series("Hit rate", tuple(q.hit_rate for q in study.qualities.values())),),
                "share",
                y_label="Share of people",
            ),
            *shown,
            *card(market, study),
        ]
        follow_ups = (
            f"recommend similar to item {in_quotes(first)} {self.period.words}",
            f"rules with item {in_quotes(first)} {self.period.words}",
            f"top items {self.period.words}",
        )
        return Result(self.title("Recommendations"), f"{headline}.", tuple(parts), follow_ups)

    def shown_table(self, market: "Market", study: Study) -> list[Table]:
        """What the best would show most, over people who bought lately."""
        last = np.zeros(len(study.log.people), dtype=np.int64)
        np.maximum.at(last, study.log.person, study.log.day)
        lately = np.argsort(-last, kind="stable")[:COUNT_ON]
        buyers = np.asarray(study.bought.sum(axis=0)).ravel()
        records = [
            {
                "item": market.name(study.log.items[i]),
                "people": n,
                "share": n / len(lately),
                "buyers": int(buyers[i]),
            }
            for i, n in shown_most(study, [int(p) for p in lately])[: self.top]
        ]
        columns = (
            Column("item", "Item"),
            Column("people", "Shown to", "count"),
            Column("share", "Of the people", "share"),
            Column("buyers", "Buyers so far", "count"),
        )
        title = f"What the last {counted(len(lately), 'buyer')} would be shown most"
        return [Table.of(title, columns, records)] if records else []

    # -- one person

    def to_person(self, market: "Market", study: Study) -> Result:
        """A person's items, each with what speaks for it."""
        row = study.row(self.user or "")
        shown = [int(i) for i in study.model.best(row, self.top)[0] if i >= 0]
        if not shown:  # nothing like what they bought is left: what everybody buys
            order = np.argsort(-study.model.popular, kind="stable")
            shown = [int(i) for i in order if i not in set(row.indices)][: self.top]
        buyers = np.asarray(study.bought.sum(axis=0)).ravel()
        records = []
        for i in shown:
            why = reason(study, row, i)
            records.append(
                {
                    "item": market.name(study.log.items[i]),
                    "because": f"bought {market.name(study.log.items[why.item])}" if why else
                    "most people buy it",
                    "share": why.both / why.buyers if why else None,
                    "buyers": int(buyers[i]),
                }
            )  # fmt: skip
        columns = (
            Column("item", "Item"),
            Column("because", "Why"),
            Column("share", "Of those, bought this too", "share"),
            Column("buyers", "Buyers so far", "count"),
        )
        table = Table.of(f"For {self.user}", columns, records, person_level=True)
        headline = f"Offer {self.user} {records[0]['item']}"
        first = reason(study, row, shown[0])
        if first:
            headline += (
                f": they bought {market.name(study.log.items[first.item])}, and "
                f"{share_words(round(first.both / first.buyers, 2))} of those who did bought it too"
            )
        notes: list[Part] = list(card(market, study))
        if not row.nnz:
            notes.insert(
                0,
                Note(
                    f"{self.user} bought nothing {in_words(self.period)} that others bought too: "
                    "these are what most people buy.",
                    "warning",
                ),
            )
        follow_ups = (
            f"recommend similar to item {in_quotes(str(records[0]['item']))} {self.period.words}",
            f"recommend {self.period.words}",
        )
        return Result(
            self.title(f"Recommendations for {self.user}"), f"{headline}.", (table, *notes),
            follow_ups,
        )  # fmt: skip

    # -- one item

    def similar(self, market: "Market", study: Study, named: "Named") -> Result:
        """What the buyers of an item buy too."""
        position = int(np.flatnonzero(study.log.items == named.item_id)[0])
        buyers = np.asarray(study.bought.sum(axis=0)).ravel()
        n, everybody = int(buyers[position]), len(study.log.people)
        records = [
            {
                "item": market.name(study.log.items[i]),
                "share": both / n,
                "lift": both / n / (buyers[i] / everybody),
                "both": both,
                "alike": cosine,
            }
            for i, cosine, both in alike(study.bought, position, self.top)
        ]
        name = market.name(named.item_id)
        if not records:
            raise NotEnoughDataError(
                f"Nobody who bought {name} bought anything else {in_words(self.period)}.",
                hint="Ask for a longer period.",
            )
        columns = (
            Column("item", "Item"),
            Column("share", "Of its buyers", "share"),
            Column("lift", "Times as likely as anybody", "times"),
            Column("both", "Bought both", "count"),
            Column("alike", "Likeness (cosine)", "number"),
        )
        best = records[0]
        headline = (
            f"Most like {name} is {best['item']}: {share_words(round(best['share'], 2))} of its "
            f"{counted(n, 'buyer')} bought it too, {decimal_words(round(best['lift'], 1))} times "
            "as many as of all"
        )
        charted = records[:CHARTED]
        parts: list[Part] = [
            Table.of(f"Bought by the buyers of {name}", columns, records),
            Chart(
                f"Share of the buyers of {name} who bought it too",
                "bar",
                tuple(str(r["item"]) for r in charted),
                (Series("Of its buyers", tuple(float(r["share"]) for r in charted)),),
                "share",
                y_label="Share of its buyers",
            ),
        ]
        if named.others:
            parts.append(
                Note(
                    f"“{self.item}” is also in {counted(len(named.others), 'other name')}, such as "
                    f"{listed(named.others[:2])}: this is the one with most buyers."
                )
            )
        parts.append(
            Note(
                "They were bought by the same people, not always at once; `rules with item` tells "
                "what goes into one order."
            )
        )
        parts += card(market, study)
        follow_ups = (
            f"rules with item {in_quotes(name)} {self.period.words}",
            f"recommend similar to item {in_quotes(str(best['item']))} {self.period.words}",
        )
        return Result(self.title(f"Similar to {name}"), f"{headline}.", tuple(parts), follow_ups)

    def title(self, what: str) -> str:
        """With the period and what it is narrowed to."""
        return ", ".join(t for t in (what, self.period.words, self.where.words()) if t)


# --- fetch ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Market:
    """Who bought what in the days that have orders, items with few buyers left out."""

    log: Log
    days: Period
    cut: int
    names: dict[str, str]
    left_out: int

    def name(self, item_id: object) -> str:
        """An item's name; its id where it has none, and behind a name that several have."""
        return self.names.get(str(item_id), str(item_id))


def read(ctx: Context, period: Period, where: Filters) -> Market:
    """The purchases to learn from. Raises NotEnoughDataError."""
    span = spans_of(ctx.store, ctx.zone, ("order_lines",)).get("order_lines")
    if span is None:
        raise NotEnoughDataError(
            "No order lines are loaded.", hint="Load them with `load order_lines FILE`."
        )
    start, end = max(period.start, span.first), min(period.end, span.last + DAY)
    if start >= end:
        raise NotEnoughDataError(
            f"No orders {in_words(period)}.",
            hint=f"They run from {date_words(span.first)} to {date_words(span.last)}.",
        )
    days = between(start, end)
    scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("period", days)], where)
    found = ctx.store.frame(purchases(scope))
    every = Log.of(found["person_id"], found["item_id"], found["day"])
    log = every.in_play(LEAST_BUYERS)
    if len(log.items) < LEAST_ITEMS:
        raise NotEnoughDataError(
            f"Only {counted(len(log.items), 'item')} had {LEAST_BUYERS} known buyers or more "
            f"{in_words(period)}; recommending needs {LEAST_ITEMS}.",
            hint="Ask for a longer period, or fewer filters.",
        )
    held_back = max(1, min(MOST_HELD_BACK, int(days.days * HELD_BACK)))
    cut = day_number(days.end) - held_back
    return Market(log, days, cut, names_of(ctx, log), len(every.items) - len(log.items))


def purchases(scope: Scope) -> sa.Select[*tuple[Any, ...]]:
    """Each person and product that they bought, with the first day."""
    lines = rows_of("order_lines", scope)
    day = scope.local_day(sa.func.min(lines.c["at"])).label("day")
    return (
        sa.select(lines.c.person_id, lines.c.item_id, day)
        .where(lines.c.person_id.is_not(None), lines.c.kind == "sale", lines.c.is_product == 1)
        .group_by(lines.c.person_id, lines.c.item_id)
    )


def names_of(ctx: Context, log: Log) -> dict[str, str]:
    """Item id -> name; where several share one, the id stands behind it."""
    found = {
        r["item_id"]: r["name"]
        for r in ctx.store.rows(sa.select(items.c.item_id, items.c.name))
        if r["name"]
    }
    names = pd.Series([found.get(i, str(i)) for i in log.items], index=log.items, dtype=object)
    shared = names.duplicated(keep=False)
    return {
        str(i): f"{name} ({i})" if twice else str(name)
        for i, name, twice in zip(names.index, names, shared, strict=True)
    }


def refuse_without_consent(ctx: Context, user: str) -> None:
    """Raises UnknownNameError for nobody we know, UserError for one who has said no."""
    for column in (orders.c.person_id, people.c.person_id):
        if ctx.store.rows(sa.select(column.label("person_id")).where(column == user).limit(1)):
            break
    else:
        raise UnknownNameError("person", user, [])
    said = ctx.store.rows(
        sa.select(consents.c.purpose, consents.c["at"], consents.c.granted)
        .where(consents.c.person_id == user)
        .order_by(consents.c["at"], consents.c.purpose)
    )
    latest = {r["purpose"].casefold(): r["granted"] for r in said}
    if any(latest.get(p) is False for p in PURPOSES):
        raise UserError(
            f"{user} has not agreed to be recommended to.",
            hint="Ask `recommend` for what people are shown in general.",
        )


@dataclass(frozen=True)
class Named:
    """The item that was meant, and the names of others that fit the words."""

    item_id: str
    others: tuple[str, ...]


def named_item(market: Market, said: str) -> Named:
    """By id or name, else the one with most buyers of those whose names hold every word."""
    wanted = said.casefold().strip()
    names = {str(i): market.name(i) for i in market.log.items}
    exact = [i for i, name in names.items() if wanted in (i.casefold(), name.casefold())]
    parts = wanted.split()
    holding = exact[:1] or [
        i for i, name in names.items() if all(p in name.casefold() for p in parts)
    ]
    if not holding:
        near = nearest(said, list(names.values()))
        raise UnknownNameError("item", said, near)
    buyers = np.bincount(market.log.item, minlength=len(market.log.items))
    count = dict(zip(names, buyers.tolist(), strict=True))
    best, *others = sorted(holding, key=lambda i: (-count[i], i))
    return Named(best, tuple(names[i] for i in others))


def compared(market: Market, kinds: tuple[Kind, ...]) -> Study:
    """The recommenders compared. Raises NotEnoughDataError where too few bought on."""
    try:
        return studied(market.log, market.cut, LEAST_JUDGED, kinds)
    except TooFewError as error:
        raise NotEnoughDataError(
            f"Too few people bought something new to them from {date_words(day_of(market.cut))} "
            f"on to compare recommenders; it takes {2 * LEAST_JUDGED}.",
            hint="Ask for a longer period, or fewer filters.",
        ) from error


# --- say -----------------------------------------------------------------------------------------

NAMES: dict[Kind, str] = {
    "popularity": "popularity",
    "cosine": "item likeness (cosine)",
    "bm25": "item likeness (BM25)",
    "ease": "EASE",
}


def qualities_table(study: Study) -> Table:
    """Every recommender on the people who did not choose, the taken one first."""
    columns = (
        Column("recommender", "Recommender"),
        Column("ndcg", "NDCG@10", "number"),
        Column("hit_rate", "Hit rate", "share"),
        Column("coverage", "Items ever shown", "share"),
    )
    order = sorted(study.qualities, key=lambda k: (k != study.taken, -study.qualities[k].ndcg))
    records = [
        {
            "recommender": NAMES[kind] + (" (taken)" if kind == study.taken else ""),
            "ndcg": round(q.ndcg, 4),
            "hit_rate": q.hit_rate,
            "coverage": q.coverage,
        }
        for kind in order
        for q in (study.qualities[kind],)
    ]
    return Table.of("Recommenders on what people bought next", columns, records)


def card(market: Market, study: Study) -> list[Note]:
    """The model card: test against the baseline, data, method, limits."""
    best, usual = study.qualities[study.taken], study.qualities["popularity"]
    notes = [Note(test_words(market, study, best, usual))]
    if study.taken == "popularity" or best.ndcg < WORTH_IT * usual.ndcg:
        notes.append(
            Note("Here nothing does better than showing everybody the bestsellers.", "warning")
        )
    notes.append(
        Note(
            f"Learnt from {counted(len(study.log), 'purchase')} of "
            f"{counted(len(study.log.people), 'person', 'people')} and "
            f"{counted(len(study.log.items), 'item')} from {date_words(market.days.start)} to "
            f"{date_words(market.days.last_day)}; {counted(market.left_out, 'item')} with fewer "
            f"than {LEAST_BUYERS} buyers left out: new items are not recommended. Stock, margins "
            "and seasons are not known; only items new to the person are shown."
        )
    )
    return notes


def test_words(market: Market, study: Study, best: Quality, usual: Quality) -> str:
    """How the recommenders were compared, and what came of it."""
    more = best.ndcg / usual.ndcg - 1 if usual.ndcg else 0.0
    lead = f", {share_words(round(more, 2))} more than popularity" if more > 0 else ""
    sample = f" (up to {words(COMPARE_ON, 'count')} people, by a hash of their ids)"
    return (
        f"Test: learnt from what was bought before {date_words(day_of(market.cut))}, compared on "
        f"what was new to people after it{sample}: one half chose {NAMES[study.taken]} of "
        f"{listed([NAMES[k] for k in study.qualities])}, and on the other half's "
        f"{words(best.people, 'count')} it has NDCG@10 {best.ndcg:.3f}{lead}, hit rate "
        f"{share_words(best.hit_rate)} against {share_words(usual.hit_rate)}, and shows "
        f"{share_words(best.coverage)} of the items."
    )
