"""segment save: keep a group of people under a name."""

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from analytics.catalog import SEGMENT
from analytics.command import Command, Context, says
from analytics.errors import NotEnoughDataError, UnknownNameError, UserError
from analytics.habits import SAID, TRAITS, Conditions
from analytics.methods.portraits.clustering import one_thread
from analytics.period import Period
from analytics.result import Figure, Note, Result
from analytics.saved import (
    RFM,
    Cell,
    Nearest,
    Rule,
    checked_name,
    habits_in,
    memory_of,
    passing,
    traits_of,
)
from analytics.scope import Filters, in_words, scope_of
from analytics.segments import Groups, group, known_people, refuse_too_few
from analytics.words import counted, listed, share_words
from storage.segments import SavedSegment, put_segment
from storage.sql import icount, isum


@dataclass(frozen=True, kw_only=True)
class SegmentSave(Command):
    """Keep a segment under a name, to ask `for segment <name>` in any question about people.

    Either one of the groups that `segment` shows, by its number or name, or conditions on what
    people did. What is kept is a rule and not a list: who meets it belongs, on the day of each
    question. A name of your own is replaced, one of somebody else is not.
    """

    group = "People"
    examples = (
        "segment save loyal cluster 1 last 90 days",
        'segment save at-risk by rfm like "At risk" last 365 days',
        "segment save big where orders >= 5 and spend > 500 last 365 days",
    )
    writes = True

    name: str = says(positional=True, help="what to call it")
    cluster: int | None = says(
        None, help="which of the groups, as `segment` numbers them", unit="count", low=1, high=12
    )
    like: str | None = says(None, help="which of the groups, by what `segment` calls it")
    conditions: Conditions = says(
        Conditions(),
        help="instead of a group: bounds on recency, orders, spend, basket, products, "
        "visits, pages, abandoned, mobile",
    )
    period: Period = says("last 90 days", help="the days that tell; read anew in each question")
    where: Filters = says(Filters(), help="only orders and visits like these")
    k: int | None = says(
        None, help="how many segments; otherwise chosen", words=("k",), unit="count", low=2, high=12
    )
    method: Literal["kmeans", "rfm"] = says("kmeans", help="how people are grouped", after_by=True)

    def run(self, ctx: Context) -> Result:
        """Find the group again, keep its rule, and say who is in it."""
        name, state = checked_name(self.name), memory_of(ctx)
        if sum(map(bool, (self.cluster, self.like, self.conditions))) != 1:
            raise UserError(
                "Say which people: one of the groups of `segment`, or conditions.",
                hint=f"Try `segment save {name} cluster 1`, "
                f"or `segment save {name} where orders >= 5`.",
            )
        if any(f.dimension == SEGMENT.name for f in self.where):
            raise UserError("A saved segment can't stand on another one.", hint=self.examples[0])
        where = scope_of(ctx.store, ctx.catalog, ctx.zone, [("now", self.period)], self.where)
        rule = self.rule(ctx, where.filters)
        habits = habits_in(ctx, self.period, rule.where, {*traits_of(rule.test), "revenue"})
        passes = habits.c.person_id.in_(passing(rule.test, habits, ctx.currency))
        found = ctx.store.row(
            sa.select(
                icount().label("all"),
                isum(sa.case((passes, 1), else_=0)).label("people"),
                isum(habits.c.revenue).label("revenue_of_all"),
                isum(sa.case((passes, habits.c.revenue), else_=0)).label("revenue"),
            )
        )
        if not found["people"]:
            raise NotEnoughDataError(
                f"Nobody met that {in_words(self.period)}.", hint="Try other bounds, or more days."
            )
        people = int(found["people"])
        saved = SavedSegment(name, self.question, rule.to_json(), ctx.asker.name, ctx.today, people)
        if not put_segment(state, saved):
            raise UserError(
                f"Somebody else saved a segment called {name}.", hint="Choose another name."
            )
        of_all = people / int(found["all"])
        called = f"“{rule.label}” are" if rule.label else "Kept:"
        return Result(
            f"Saved segment {name}",
            f"{called} now segment {name}: {counted(people, 'person', 'people')}, "
            f"{share_words(of_all)} of buyers; say `for segment {name}` in any question.",
            (
                Figure("People", people, "count"),
                Figure("Share of buyers", of_all, "share"),
                Figure("Net revenue", int(found["revenue"]), "money"),
                Figure("Share of revenue", found["revenue"] / found["revenue_of_all"], "share"),
                Note(self.promise(rule)),
            ),
            (f"kpis for segment {name}", f"top items for segment {name}", "segments"),
        )

    @property
    def question(self) -> str:
        """The question in which its people are seen, in canonical words."""
        begun = ["segment"]
        if self.conditions:
            begun = ["segment save", self.name, "where", self.conditions.said()]
        parts = [*begun, self.period.words, self.where.said()]
        parts += [f"k {self.k}"] if self.k else []
        parts += ["by rfm"] if self.method == "rfm" else []
        return " ".join(p for p in parts if p)

    def rule(self, ctx: Context, where: Filters) -> Rule:
        """The rule of the group that is meant. Raises UserError."""
        period = self.period.words
        if self.conditions:
            return Rule(period, where, self.conditions, "")
        ctx.tell("Finding the groups again")
        known = known_people(ctx, self.period, where)
        refuse_too_few(ctx, known, self.period, self.k or 0)
        with one_thread():
            groups = group(known, self.k, self.method, "log")
        place = self.place(groups)
        label = groups.named[place].name
        if groups.grid:
            return Rule(period, where, Cell(groups.grid, label), label)
        if groups.model is None:
            raise TypeError("K-means on logarithms has a model")
        return Rule(period, where, Nearest(groups.model, place), label)

    def place(self, groups: Groups) -> int:
        """Which of the groups is meant. Raises UserError."""
        names = [p.name for p in groups.named]
        if self.like:
            wanted = self.like.casefold()
            if wanted not in (n.casefold() for n in names):
                raise UnknownNameError("group", self.like, names)
            return [n.casefold() for n in names].index(wanted)
        place = (self.cluster or 1) - 1
        if place >= len(names):
            raise UserError(
                f"There are {len(names)} groups: {listed(names)}.",
                hint=f"Say a number up to {len(names)}.",
            )
        return place

    def promise(self, rule: Rule) -> str:
        """What was kept, in a sentence or two."""
        again = (
            f"Each question reads “{self.period.words}” on its own day, so people come and go as "
            "they buy; the rule stays."
        )
        match rule.test:
            case Nearest(model=model):
                labels = listed([TRAITS[t].label for t in model.traits])
                return (
                    f"Kept are the scaling and the {len(model.offsets)} centres found now, over "
                    f"{labels}: with the same data the same people belong. {again}"
                )
            case Cell():
                labels = listed([TRAITS[t].label for t in RFM])
                return f"Kept are the quintiles of {labels} found now. {again}"
            case Conditions():
                labels = listed([TRAITS[SAID[c.trait]].label for c in rule.test])
                return f"Kept is the condition on {labels}, among buyers who paid. {again}"
