"""recommend: what to show whom, why, and how often that would have been right."""

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from analytics.catalog import SEGMENT
from analytics.command import Command, Context, says
from analytics.crowd import ROUNDS, WIDTH, Crowd, stay
from analytics.entities import rows_of
from analytics.errors import NotEnoughDataError, UnknownNameError, UserError, nearest
from analytics.measure import spans_of
from analytics.methods.contents import most_like, weights_of_new, words_of
from analytics.methods.portraits.clustering import one_thread
from analytics.methods.recommenders import (
    COMPARE_ON,
    SHOWN,
    Kind,
    Log,
    Quality,
    Reason,
    Study,
    TooFewError,
    alike,
    fit,
    possible,
    quality,
    reason,
    shown_most,
    speaks_for,
    studied,
)
from analytics.period import DAY, Period, between
from analytics.result import Chart, Column, Note, Part, Result, Series, Table
from analytics.scope import (
    Filters,
    Scope,
    day_number,
    day_of,
    in_quotes,
    in_words,
    scope_of,
    start_of_day,
)
from analytics.words import counted, date_words, decimal_words, listed, share_words, words
from storage.schema import consents, items, order_lines, orders, people
from storage.sql import bucket, icount

Select = sa.Select[*tuple[Any, ...]]

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
#: People in a list, and items for each.
MOST_LISTED = 5_000
LISTED_ITEMS = 3
#: Where there are too many purchases, new items are placed by about so many, of people drawn in
#: parts, of which there are SAMPLED_BY.
MOST_SAMPLED, SAMPLED_BY = 5_000_000, 1_000
#: An item is new for so many days from its first sale on, while few have bought it.
NEW_DAYS = 60
#: One in so many items is hidden to test how well new ones are placed.
HIDDEN_PART = 5
#: Attributes of items that tell whether they can be had.
HAVING, LACKING = ("stock", "in_stock", "available", "availability"), ("discontinued", "sold_out")
NONE_LEFT = ("", "0", "false", "no", "none", "out of stock", "out_of_stock", "sold out")
#: Purposes of a consent that recommending needs, where one was asked for.
PURPOSES = ("personalisation", "personalization", "recommendations", "recommendation", "profiling")


@dataclass(frozen=True, kw_only=True)
class Recommend(Command):
    """What to offer whom: items that people like them went on to buy.

    Popularity, item likeness (cosine, BM25), EASE, likeness of words, a hybrid and embeddings are
    compared on what people bought next, and the best is taken. `user 12347` gives one person's
    items with reasons, for you alone; `for segment loyal` what to show a group; `each person` a
    list to export; `similar to item "RED MUG"` what buyers of an item buy too; `new items` places
    those that nobody knows yet; none of these: how good recommendations are here.
    """

    group: ClassVar = "Goods"
    examples: ClassVar = (
        "recommend",
        "recommend user 12347",
        'recommend similar to item "JUMBO BAG RED RETROSPOT"',
        "recommend new items",
    )
    aliases: ClassVar = ("recommendations", "suggest", "similar")

    user: str | None = says(
        None, words=("user", "person", "customer"), help="whom to recommend to; for you alone"
    )
    item: str | None = says(
        None, words=("similar to item", "similar to", "similar item", "item", "like"),
        help="an item (or words of its name) to find similar ones of",
    )  # fmt: skip
    what: Literal["overview", "new-items", "each-person"] = says(
        "overview", help="new-items: what hardly anybody has bought yet; each-person: a list of "
        "people with their items, for you alone",
    )  # fmt: skip
    period: Period = says("last 365 days", help="the purchases to learn from")
    where: Filters = says(Filters(), help="only items of a category, orders from a country, ...")
    top: int = says(
        SHOWN, words=("top",), unit="count", low=1, high=MOST_SHOWN, help="how many items"
    )

    @property
    def shows_people(self) -> bool:
        """Whether it is about single persons."""
        return self.user is not None or self.what == "each-person"

    def run(self, ctx: Context) -> Result:
        """Read who bought what, compare recommenders, and show what is asked for."""
        if self.user and self.item:
            raise UserError(
                "Say a person or an item, not both.",
                hint=f"Try `recommend user {self.user}`.",
            )
        if self.what != "overview" and (self.item or (self.user and self.what == "each-person")):
            raise UserError(
                f"`{self.what}` goes with neither an item nor, for each person, a user.",
                hint=f"Try `recommend {self.what}`.",
            )
        if self.user:
            refuse_without_consent(ctx, self.user)
        ctx.tell("Reading who bought what")
        whose = tuple(f for f in self.where if f.dimension == SEGMENT.name)
        others = tuple(f for f in self.where if f.dimension != SEGMENT.name)
        market = read(ctx, self, Filters(others))
        named = named_item(market, self.item) if self.item else None
        group = market.log.people
        if whose and not market.crowd:
            group = group_of(ctx, market, self.where)
        with one_thread():
            if self.what == "new-items":
                return self.new(market, newcomers(ctx, market), group)
            kinds: tuple[Kind, ...] = (
                ("popularity", "cosine")
                if named
                else possible(len(market.log.items), len(market.log), market.texts)
            )
            ctx.tell("Comparing recommenders")
            study = market.in_stock(compared(market, kinds))
            if named:
                return self.similar(market, study, named)
            if self.user:
                return self.to_person(market, study)
            if self.what == "each-person":
                crowd = market.crowd
                willing = all_agreed(crowd, market, self) if crowd else agreed(ctx, group)
                return self.to_each(market, study, willing)
            return self.overall(market, study, group if whose else None)

    # -- overall

    def overall(self, market: "Market", study: Study, group: NDArray[np.object_] | None) -> Result:
        """How good each recommender is, and what the best would show most, perhaps to a group."""
        best, usual = study.qualities[study.taken], study.qualities["popularity"]
        headline = (
            f"Ten recommendations by {NAMES[study.taken]} hold something that the person went on "
            f"to buy for {share_words(round(best.hit_rate, 2))} of people"
        )
        if study.taken != "popularity":
            headline += f"; the ten bestsellers do for {share_words(round(usual.hit_rate, 2))}"
        shown = self.shown_table(market, study, group)
        if group is not None and shown:
            item, people = shown[0].rows[0][:2]
            headline = (
                f"Offer {self.where.words()} {item}: it is among the first {self.top} for "
                f"{people} of the latest buyers. {headline}"
            )
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
            f"recommend new items {self.period.words}",
        )
        return Result(self.title("Recommendations"), f"{headline}.", tuple(parts), follow_ups)

    def shown_table(
        self, market: "Market", study: Study, group: NDArray[np.object_] | None
    ) -> list[Table]:
        """What the best would show most, over people (of a group) who bought lately."""
        lately = latest(study.log, study.log.people if group is None else group)[:COUNT_ON]
        buyers = study.model.popular
        records = [
            {
                "item": market.name(study.log.items[i]),
                "people": n,
                "share": n / len(lately),
                "buyers": int(buyers[i]),
            }
            for i, n in shown_most(study, [int(p) for p in lately], self.top)[: self.top]
        ]
        columns = (
            Column("item", "Item"),
            Column("people", "Shown to", "count"),
            Column("share", "Of the people", "share"),
            Column("buyers", "Buyers so far", "count"),
        )
        of = f" of {self.where.words()}" if group is not None else ""
        title = f"What the last {counted(len(lately), 'buyer')}{of} would be shown most"
        return [Table.of(title, columns, records)] if records else []

    # -- one person

    def to_person(self, market: "Market", study: Study) -> Result:
        """A person's items, each with what speaks for it."""
        row = study.row(self.user or "")
        shown = [int(i) for i in study.model.best(row, self.top)[0] if i >= 0]
        if not shown:  # nothing like what they bought is left: what everybody buys
            known = set(row.indices)
            shown = [i for i in bestsellers(study) if i not in known][: self.top]
        buyers = study.model.popular
        records = []
        reasons = market.reasons(study, row, shown)
        for i in shown:
            why = reasons[i]
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
        first = reasons[shown[0]]
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

    # -- each person, for a list

    def to_each(self, market: "Market", study: Study, group: "Agreed") -> Result:
        """The first items of everybody in a group who has not refused, latest buyers first."""
        people = latest(study.log, group.people)[:MOST_LISTED]
        if not len(people):
            raise NotEnoughDataError(
                f"Nobody of them bought anything common {in_words(self.period)}.",
                hint="Ask for a longer period.",
            )
        n = min(self.top, LISTED_ITEMS)
        best = study.model.best(study.bought[people], n)
        popular = bestsellers(study)
        records = []
        for person, row in zip(people, best, strict=True):
            own = study.bought[[int(person)]]
            shown = [int(i) for i in row if i >= 0]
            if len(shown) < n:
                known = {*own.indices, *shown}
                shown += [i for i in popular if i not in known][: n - len(shown)]
            why = speaks_for(study, own, shown[0])
            records.append(
                {
                    "person_id": study.log.people[person],
                    **{f"item_{k}": market.name(study.log.items[i]) for k, i in enumerate(shown)},
                    "because": "most people buy it"
                    if why is None
                    else f"bought {market.name(study.log.items[why])}",
                }
            )
        columns = (
            Column("person_id", "Person"),
            *(Column(f"item_{k}", f"Item {k + 1}") for k in range(n)),
            Column("because", "Why the first"),
        )
        records = [{c.key: r.get(c.key) for c in columns} for r in records]
        title = self.title("Recommendations for each person")
        notes = [Note(f"{counted(group.refused, 'person', 'people')} left out who did not agree.")]
        said = self.where.said()
        return Result(
            title,
            f"{counted(len(records), 'person', 'people')} with what to offer them, latest buyers "
            f"first; `as csv` gives the list. By {NAMES[study.taken]}.",
            (
                Table.of(
                    title, columns, records, person_level=True,
                    of_rows=group.total if group.total > len(records) else None,
                ),
                *(notes if group.refused else []),
                *card(market, study),
            ),
            (" ".join(f"recommend {self.period.words} {said}".split()),),
        )  # fmt: skip

    # -- new items

    def new(self, market: "Market", new: "Newcomers", group: NDArray[np.object_]) -> Result:
        """Items that hardly anybody has bought, placed by the items most like them."""
        log = market.log
        kind: Kind = "ease" if "ease" in possible(len(log.items)) else "cosine"
        found, cosines = most_like(new.words, market.words)
        weights = weights_of_new(fit(kind, log.table()).weights, found, cosines)
        bought = log.table()
        if self.user:
            own = np.flatnonzero(log.people == self.user)
            rows = bought[own] if len(own) else bought[:0]
            title = f"New items for {self.user}"
        else:
            rows = bought[latest(log, group)[:COUNT_ON]]
            title = f"New items for the last {counted(rows.shape[0], 'buyer')}"
        scores = (rows @ weights).toarray()
        if not scores.size or scores.max() <= 0:
            raise NotEnoughDataError(
                f"Nothing that was bought {in_words(self.period)} is like a new item.",
                hint="Ask without `user`, or for a longer period.",
            )
        liking = scores[scores.max(axis=1) > 0]
        best_for = np.bincount(liking.argmax(axis=1), minlength=scores.shape[1])
        mean = scores.mean(axis=0)
        ranked = np.lexsort((np.arange(len(mean)), -mean, -best_for)).tolist()
        order = [i for i in ranked if mean[i] > 0][: self.top]
        records = [
            {
                "item": new.names[i],
                "like": market.name(log.items[found[i, 0]]),
                "alike": float(cosines[i, 0]),
                "people": int(best_for[i]),
                "buyers": new.buyers[i],
            }
            for i in order
        ]
        columns = [
            Column("item", "New item"),
            Column("like", "Most like"),
            Column("alike", "Likeness of words", "share"),
            Column("people", "The best new one for", "count"),
            Column("buyers", "Buyers so far", "count"),
        ]
        if self.user:
            columns = [c for c in columns if c.key != "people"]
        first = records[0]
        headline = (
            f"Offer {self.user} {first['item']}: it is new, and most like {first['like']} of what "
            "people know"
            if self.user
            else f"Show {first['item']} to those who buy {first['like']} and the like: of the new "
            f"items it is the best for {first['people']} of the last "
            f"{counted(rows.shape[0], 'buyer')}"
        )
        parts: list[Part] = [
            Table.of(
                title, columns, [{c.key: r[c.key] for c in columns} for r in records],
                of_rows=len(new.names) if len(new.names) > len(records) else None,
                person_level=bool(self.user),
            ),
            *placed(market, kind),
            *sample_note(market),
            Note(
                f"New: products first sold in the last {NEW_DAYS} days, or never, with fewer than "
                f"{LEAST_BUYERS} known buyers {in_words(self.period)}, and a name. Placed by "
                f"{NAMES[kind]} through the 20 items most like each by the words of name, category "
                f"and attributes. {market.stock_words}"
            ),
        ]  # fmt: skip
        follow_ups = (
            f"recommend similar to item {in_quotes(str(first['like']))} {self.period.words}",
            f"recommend {self.period.words}",
        )
        return Result(self.title(title), f"{headline}.", tuple(parts), follow_ups)

    # -- one item

    def similar(self, market: "Market", study: Study, named: "Named") -> Result:
        """What the buyers of an item buy too."""
        position = int(np.flatnonzero(study.log.items == named.item_id)[0])
        buyers = study.model.popular
        n, everybody = int(buyers[position]), market.size[1]
        records = [
            {
                "item": market.name(study.log.items[i]),
                "share": both / n,
                "lift": both / n / (buyers[i] / everybody),
                "both": both,
                "alike": cosine,
            }
            for i, cosine, both in market.alike(study, position, self.top)
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


@dataclass(frozen=True, eq=False)
class Market:
    """Who bought what in the days that have orders, items with few buyers left out.

    `texts` are the words of the log's items; `gone` marks those that can't be had, None where no
    item tells.
    """

    log: Log
    days: Period
    cut: int
    shelf: dict[str, "Ware"]
    names: dict[str, str]
    left_out: int
    buyers: dict[str, int]
    crowd: Crowd | None = None
    sampled: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """How many purchases and people there are."""
        if self.crowd:
            return self.crowd.pairs, self.crowd.people
        return len(self.log), len(self.log.people)

    def alike(self, study: Study, position: int, n: int) -> Iterator[tuple[int, float, int]]:
        """The items most like one: (item, cosine, people who bought both)."""
        if self.crowd:
            return self.crowd.alike(position, n)
        return alike(study.bought, position, n)

    def reasons(self, study: Study, row: Any, shown: Sequence[int]) -> dict[int, Reason | None]:
        """Why each item is shown to one who bought this."""
        if not self.crowd:
            return {i: reason(study, row, i) for i in shown}
        sources = {i: speaks_for(study, row, i) for i in shown}
        ids, buyers = self.log.items, study.model.popular
        told = {i: s for i, s in sources.items() if s is not None}
        if not told:
            return dict.fromkeys(shown)
        both = self.crowd.together([ids[s] for s in told.values()], [ids[i] for i in told])
        return dict.fromkeys(shown) | {
            i: Reason(s, both.get((ids[s], ids[i]), 0), int(buyers[s])) for i, s in told.items()
        }

    def name(self, item_id: object) -> str:
        """An item's name; its id where it has none, and behind a name that several have."""
        return self.names.get(str(item_id), str(item_id))

    @functools.cached_property
    def texts(self) -> tuple[str, ...]:
        """The words of each item of the log."""
        return tuple(self.shelf[i].text if i in self.shelf else "" for i in self.log.items)

    @functools.cached_property
    def words(self) -> Any:
        """Their weights, items x words, over all items that there are."""
        return self.all_words[self.place_of(list(self.log.items))]

    @functools.cached_property
    def all_words(self) -> Any:
        """Of every item listed; the last row is of one that is not."""
        return words_of([*(ware.text for ware in self.shelf.values()), ""])

    def place_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows of `all_words`."""
        place = {i: n for n, i in enumerate(self.shelf)}
        return np.array([place.get(i, len(place)) for i in ids], dtype=np.int64)

    @functools.cached_property
    def gone(self) -> NDArray[np.bool_] | None:
        """Which items of the log can't be had; None where no item says."""
        said = [self.shelf[i].gone if i in self.shelf else None for i in self.log.items]
        if all(g is None for g in said):
            return None
        return np.array([bool(g) for g in said])

    def in_stock(self, study: Study) -> Study:
        """The study with a model that never shows what can't be had."""
        return replace(study, model=replace(study.model, barred=self.gone))

    @property
    def stock_words(self) -> str:
        """What is known of stock."""
        if self.gone is None:
            return "Stock is not known."
        return f"{counted(int(self.gone.sum()), 'item')} out of stock never shown."


@dataclass(frozen=True)
class Ware:
    """An item as it is listed: `gone` says whether it can't be had, None where nothing tells."""

    name: str
    text: str
    is_product: bool
    gone: bool | None


def read(ctx: Context, asked: Recommend, where: Filters) -> Market:
    """The purchases to learn from: all, or those of some people beside a crowd's.

    Raises NotEnoughDataError.
    """
    period = asked.period
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
    held_back = max(1, min(MOST_HELD_BACK, int(days.days * HELD_BACK)))
    cut = day_number(days.end) - held_back
    shelf = wares(ctx)
    bought, sampled = purchases(scope), 1.0
    pairs = stay(ctx, bought)
    if pairs and asked.what != "new-items":
        return beside(Crowd(ctx, bought, cut, LEAST_BUYERS), asked, days, shelf)
    if pairs:
        bought, sampled = some_of(bought, pairs)
    found = ctx.store.frame(bought)
    every = Log.of(found["person_id"], found["item_id"], found["day"])
    log = every.in_play(LEAST_BUYERS)
    if len(log.items) < LEAST_ITEMS:
        raise NotEnoughDataError(
            f"Only {counted(len(log.items), 'item')} had {LEAST_BUYERS} known buyers or more "
            f"{in_words(period)}; recommending needs {LEAST_ITEMS}.",
            hint="Ask for a longer period, or fewer filters.",
        )
    buyers = np.bincount(every.item, minlength=len(every.items)).tolist()
    return Market(
        log,
        days,
        cut,
        shelf,
        names_of(shelf, log),
        len(every.items) - len(log.items),
        dict(zip(map(str, every.items), buyers, strict=True)),
        sampled=sampled,
    )


def beside(crowd: Crowd, asked: Recommend, days: Period, shelf: dict[str, "Ware"]) -> Market:
    """A market whose purchases stay where they are, but those of the people it is shown to.

    Raises NotEnoughDataError.
    """
    if len(crowd.items) < LEAST_ITEMS:
        raise NotEnoughDataError(
            f"Only {counted(len(crowd.items), 'item')} had {LEAST_BUYERS} known buyers or more "
            f"{in_words(asked.period)}; recommending needs {LEAST_ITEMS}.",
            hint="Ask for a longer period, or fewer filters.",
        )
    if asked.user:
        people = crowd.one(asked.user)
    elif asked.what == "each-person":
        people = crowd.latest(MOST_LISTED, members(crowd, asked, days), refusals())
    else:
        people = crowd.latest(COUNT_ON, members(crowd, asked, days))
    log = crowd.log(people)
    buyers = zip(crowd.every["item_id"], crowd.every["buyers"].tolist(), strict=True)
    return Market(
        log,
        days,
        crowd.cut,
        shelf,
        names_of(shelf, log),
        len(crowd.every) - len(crowd.items),
        {str(i): n for i, n in buyers},
        crowd,
    )


def members(crowd: Crowd, asked: Recommend, days: Period) -> Select | None:
    """Ids of the people of a segment who bought in these days; None where no segment is said."""
    if not any(f.dimension == SEGMENT.name for f in asked.where):
        return None
    ctx = crowd.ctx
    scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("period", days)], asked.where)
    return sa.select(purchases(scope).subquery("of_segment").c.person_id).distinct()


def some_of(bought: Select, pairs: int) -> tuple[Select, float]:
    """The purchases of a stable sample of people, as many as fit, and its share."""
    share = max(1, int(MOST_SAMPLED / pairs * SAMPLED_BY))
    rows = bought.subquery("pairs")
    kept = bucket(rows.c.person_id, SAMPLED_BY) < share
    return sa.select(rows.c.person_id, rows.c.item_id, rows.c.day).where(kept), share / SAMPLED_BY


def wares(ctx: Context) -> dict[str, Ware]:
    """Every item that is listed, by its id, in the order of ids."""
    columns = (items.c.item_id, items.c.name, items.c.category, items.c.attributes)
    rows = ctx.store.rows(sa.select(*columns, items.c.is_product).order_by(items.c.item_id))
    return {str(r["item_id"]): ware(r) for r in sorted(rows, key=lambda r: str(r["item_id"]))}


def ware(row: dict[str, Any]) -> Ware:
    """An item of the table, its attributes read."""
    try:
        facts = json.loads(row["attributes"] or "{}")
    except ValueError:
        facts = {}
    facts = {str(k).casefold(): v for k, v in facts.items()} if isinstance(facts, dict) else {}
    gone = [none_left(facts[k]) for k in HAVING if k in facts]
    gone += [not none_left(facts[k]) for k in LACKING if k in facts]
    said = [str(v) for k, v in sorted(facts.items()) if k not in (*HAVING, *LACKING)]
    text = " ".join([row["name"] or "", row["category"] or "", *said])
    return Ware(row["name"] or "", text.strip(), row["is_product"], any(gone) if gone else None)


def none_left(value: Any) -> bool:
    """Whether a value says that there is none: 0, false, "out of stock"."""
    if isinstance(value, int | float):
        return value <= 0
    return str(value or "").casefold().strip() in NONE_LEFT


def group_of(ctx: Context, market: Market, where: Filters) -> NDArray[np.object_]:
    """The people of a segment who bought in the market's days. Raises UnknownNameError."""
    scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("period", market.days)], where)
    bought = purchases(scope).subquery("bought")
    ids = ctx.store.column(sa.select(bought.c.person_id).distinct())
    return np.array(sorted(map(str, ids)), dtype=object)


@dataclass(frozen=True, eq=False)
class Agreed:
    """People to list, and how many more have refused."""

    people: NDArray[np.object_]
    refused: int
    total: int


def refusals() -> Select:
    """The ids of people who have refused any of PURPOSES at last."""
    purpose = sa.func.lower(consents.c.purpose)
    last = (
        sa.select(
            consents.c.person_id,
            consents.c.granted,
            sa.func.row_number()
            .over(
                partition_by=(consents.c.person_id, purpose),
                order_by=(consents.c["at"].desc(), consents.c.purpose.desc()),
            )
            .label("place"),
        )
        .where(purpose.in_(PURPOSES))
        .subquery("last")
    )
    return sa.select(last.c.person_id).where(last.c.place == 1, ~last.c.granted).distinct()


def all_agreed(crowd: Crowd, market: Market, asked: Recommend) -> Agreed:
    """Of a crowd: those who are listed, how many have refused, and how many have not."""
    whose = members(crowd, asked, market.days)
    everybody, willing = (
        crowd.ctx.store.row(
            sa.select(icount().label("n")).select_from(crowd.buyers_of(whose, without).subquery())
        )["n"]
        for without in (None, refusals())
    )
    return Agreed(market.log.people, everybody - willing, willing)


def agreed(ctx: Context, group: NDArray[np.object_]) -> Agreed:
    """Those of a group who have not refused any of PURPOSES at last."""
    said = ctx.store.rows(
        sa.select(consents.c.person_id, consents.c.purpose, consents.c["at"], consents.c.granted)
        .where(sa.func.lower(consents.c.purpose).in_(PURPOSES))
        .order_by(consents.c["at"], consents.c.purpose)
    )
    latest_of = {(r["person_id"], r["purpose"].casefold()): r["granted"] for r in said}
    refused = {person for (person, _), granted in latest_of.items() if not granted}
    kept = np.array([p for p in group if p not in refused], dtype=object)
    return Agreed(kept, len(group) - len(kept), len(kept))


def latest(log: Log, group: NDArray[np.object_]) -> NDArray[np.int64]:
    """Positions of a group's people in the log, those who bought something new last first."""
    last = np.zeros(len(log.people), dtype=np.int64)
    np.maximum.at(last, log.person, log.day)
    order = np.argsort(-last, kind="stable")
    wanted = np.isin(log.people.astype(str), group.astype(str))
    return order[wanted[order]]


def bestsellers(study: Study) -> list[int]:
    """Items by their number of buyers, without what is barred."""
    order = np.argsort(-study.model.popular, kind="stable")
    barred = study.model.barred
    return [int(i) for i in order if barred is None or not barred[i]]


@dataclass(frozen=True, eq=False)
class Newcomers:
    """New items: their names, the weights of their words, and their known buyers so far."""

    names: list[str]
    words: Any
    buyers: list[int]


def newcomers(ctx: Context, market: Market) -> Newcomers:
    """Products that can be had, first sold lately or never, whom few have bought."""
    lines = order_lines.join(orders, orders.c.order_id == order_lines.c.order_id)
    first = sa.select(order_lines.c.item_id, sa.func.min(orders.c.ordered_at).label("at"))
    sold = ctx.store.rows(
        first.select_from(lines).where(orders.c.kind == "sale").group_by(order_lines.c.item_id)
    )
    since = start_of_day(market.days.end - NEW_DAYS * DAY, ctx.zone)
    old = {str(r["item_id"]) for r in sold if r["at"] < since}
    known = set(map(str, market.log.items))
    ids = [
        i
        for i, ware in market.shelf.items()
        if ware.is_product and ware.name and not ware.gone and i not in old | known
    ]
    words = market.all_words[market.place_of(ids)]
    kept = np.flatnonzero(np.diff(words.indptr))
    if not len(kept):
        raise NotEnoughDataError(
            f"No item is new: all were first sold more than {NEW_DAYS} days ago, or already have "
            f"{LEAST_BUYERS} buyers.",
            hint="Load new items with a name and a category: `load items FILE`.",
        )
    return Newcomers(
        [market.shelf[ids[i]].name for i in kept],
        words[kept],
        [market.buyers.get(ids[i], 0) for i in kept],
    )


def placed(market: Market, kind: Kind) -> Iterator[Note]:
    """How well items are placed that are hidden as if they were new, against chance."""
    log = market.log
    hashes = pd.util.hash_array(log.items, categorize=False)
    hidden = hashes % HIDDEN_PART == 0
    early = log.day < market.cut
    before, after = log.table(early), log.table(~early)
    judged = np.flatnonzero((np.diff(before[:, ~hidden].indptr) > 0)
                            & (np.diff(after[:, hidden].indptr) > 0))[:COMPARE_ON]  # fmt: skip
    if len(judged) < LEAST_JUDGED:
        yield Note("Too few bought further items to test how well new ones are placed.", "warning")
        return
    found, cosines = most_like(market.words[hidden], market.words[~hidden])
    weights = weights_of_new(fit(kind, before[:, ~hidden]).weights, found, cosines)
    scores = (before[judged][:, ~hidden] @ weights).toarray()
    scores[before[judged][:, hidden].nonzero()] = -np.inf
    later = after[judged][:, hidden]
    shown = np.argsort(-scores, axis=1, kind="stable")[:, :SHOWN]
    chance = np.random.default_rng(7).random(scores.shape)
    at_random = np.argsort(chance, axis=1)[:, :SHOWN]
    best, random = quality(shown, later), quality(at_random, later)
    yield Note(
        f"Test: one in {HIDDEN_PART} items hidden as if nobody had bought them, and placed by "
        f"words; from {date_words(day_of(market.cut))} on, ten of these "
        f"{words(int(hidden.sum()), 'count')} hold one that the person went on to buy for "
        f"{share_words(round(best.hit_rate, 2))} of {words(len(judged), 'count')} people, against "
        f"{share_words(round(random.hit_rate, 2))} at random."
    )


def purchases(scope: Scope) -> sa.Select[*tuple[Any, ...]]:
    """Each person and product that they bought, with the first day."""
    lines = rows_of("order_lines", scope)
    day = scope.local_day(sa.func.min(lines.c["at"])).label("day")
    return (
        sa.select(lines.c.person_id, lines.c.item_id, day)
        .where(lines.c.person_id.is_not(None), lines.c.kind == "sale", lines.c.is_product == 1)
        .group_by(lines.c.person_id, lines.c.item_id)
    )


def names_of(shelf: dict[str, Ware], log: Log) -> dict[str, str]:
    """Item id -> name; where several share one, the id stands behind it."""
    ids = [str(i) for i in log.items]
    names = pd.Series(
        [(shelf[i].name if i in shelf else "") or i for i in ids], index=ids, dtype=object
    )
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
    best, *others = sorted(holding, key=lambda i: (-market.buyers[i], i))
    return Named(best, tuple(names[i] for i in others))


def compared(market: Market, kinds: tuple[Kind, ...]) -> Study:
    """The recommenders compared. Raises NotEnoughDataError where too few bought on."""
    try:
        if market.crowd:
            return market.crowd.study(market.log, LEAST_JUDGED)
        return studied(market.log, market.cut, LEAST_JUDGED, kinds, market.texts)
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
    "content": "likeness of words",
    "hybrid": "EASE and words",
    "embedding": "embeddings",
    "als": "ALS",
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


def sample_note(market: Market) -> list[Note]:
    """That not all people were read, where that is so."""
    if market.sampled == 1:
        return []
    return [
        Note(
            "Too many purchases for this process: new items are placed by a stable sample of "
            f"{share_words(market.sampled)} of the people.",
            "warning",
        )
    ]


def card(market: Market, study: Study) -> list[Note]:
    """The model card: test against the baseline, data, method, limits."""
    best, usual = study.qualities[study.taken], study.qualities["popularity"]
    notes = [Note(test_words(market, study, best, usual))]
    if study.taken == "popularity" or best.ndcg < WORTH_IT * usual.ndcg:
        notes.append(
            Note("Here nothing does better than showing everybody the bestsellers.", "warning")
        )
    pairs, people = market.size
    if market.crowd:
        store = market.crowd.ctx.store
        notes.append(
            Note(
                f"Too many purchases for this process: {store.library} "
                f"({store.engine.version}) fitted ALS to all of them where they are, {WIDTH} "
                f"numbers for each item in {ROUNDS} rounds; scores are rounded to five decimals, "
                "equal ones stand by buyers, then by id."
            )
        )
    notes.append(
        Note(
            f"Learnt from {counted(pairs, 'purchase')} of "
            f"{counted(people, 'person', 'people')} and "
            f"{counted(len(study.log.items), 'item')} from {date_words(market.days.start)} to "
            f"{date_words(market.days.last_day)}; {counted(market.left_out, 'item')} with fewer "
            f"than {LEAST_BUYERS} buyers left out, for `recommend new items`. {market.stock_words} "
            "Margins and seasons are not known; only items new to the person are shown."
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
