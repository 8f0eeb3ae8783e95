"""segment save: keep a group of people under a name."""

from dataclasses import dataclass

import sqlalchemy as sa

from analytics.catalog import SEGMENT
from analytics.command import Command, Context, says
from analytics.errors import NotEnoughDataError, UnknownNameError, UserError
from analytics.habits import SAID, TRAITS, Conditions
from analytics.methods.portraits.clustering import one_thread
from analytics.methods.portraits.naming import Portrait
from analytics.period import Period
from analytics.result import Figure, Note, Result
from analytics.saved import (
    RFM,
    Cell,
    Nearest,
    Rule,
    Within,
    checked_name,
    habits_in,
    memory_of,
    passing,
    traits_of,
)
from analytics.scope import Filters, in_words, scope_of
from analytics.segments import (
    Groups,
    Known,
    Method,
    boxes_for,
    group,
    known_people,
    refuse_number,
    refuse_too_few,
)
from analytics.words import counted, listed, share_words
from storage.segments import SavedSegment, put_segment
from storage.sql import icount, isum

#: Of a dense group, what a rule must find, and of what it finds, what must be of the group.
LEAST_FAITHFUL = 0.6
#: Below this the difference is warned of.
FAITHFUL = 0.9


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
        'segment save outliers by dbscan like "Unlike any group" last 90 days',
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
    method: Method = says("kmeans", help="how people are grouped", after_by=True)

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
        refuse_number(self.k, self.method)
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
                Note(self.promise(rule), "warning" if differs(rule) else "info"),
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
        parts += [f"by {self.method}"] if self.method != "kmeans" and not self.conditions else []
        return " ".join(p for p in parts if p)

    def rule(self, ctx: Context, where: Filters) -> Rule:
        """The rule of the group that is meant. Raises UserError."""
        period = self.period.words
        if self.conditions:
            return Rule(period, where, self.conditions, "")
        ctx.tell("Finding the groups again")
        known = known_people(ctx, self.period, where, self.method)
        refuse_too_few(ctx, known, self.period, self.k or 0)
        with one_thread():
            groups = group(known, self.k, self.method, "log")
        portrait = self.meant(groups)
        if groups.grid:
            return Rule(period, where, Cell(groups.grid, portrait.name), portrait.name)
        if groups.density:
            return Rule(period, where, self.boxes(known, groups, portrait), portrait.name)
        if groups.model is None:
            raise TypeError("K-means on logarithms has a model")
        return Rule(period, where, Nearest(groups.model, portrait.label), portrait.name)

    def meant(self, groups: Groups) -> Portrait:
        """Which of the groups is meant; those who fit none have a name, no number.

        Raises UserError.
        """
        if self.like:
            wanted = self.like.casefold()
            found = next((p for p in groups.portraits if p.name.casefold() == wanted), None)
            if found is None:
                raise UnknownNameError("group", self.like, [p.name for p in groups.portraits])
            return found
        place = (self.cluster or 1) - 1
        names = [p.name for p in groups.named]
        if not names:
            raise UserError(
                "There are no dense groups: people differ too gradually to be parted.",
                hint=f"Leave out `by {self.method}`.",
            )
        if place >= len(names):
            raise UserError(
                f"There are {len(names)} groups: {listed(names)}.",
                hint=f"Say a number up to {len(names)}.",
            )
        return groups.named[place]

    def boxes(self, known: Known, groups: Groups, portrait: Portrait) -> Within:
        """The bounds that tell a dense group. Raises UserError where none do."""
        with one_thread():
            found = boxes_for(known, groups, portrait.label)
        if not found.boxes or min(found.reach, found.purity) < LEAST_FAITHFUL:
            raise UserError(
                f"“{portrait.name}” can't be told by bounds on what people did: too few of those "
                "whom a rule takes would be of it.",
                hint=f"Leave out `by {self.method}`: the groups of K-means can be kept.",
            )
        return Within(found)

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
            case Within(boxes=boxes):
                labels = listed([TRAITS[t].label for t in boxes.traits])
                return (
                    f"Kept are {counted(len(boxes.boxes), 'box', 'boxes')} of bounds on {labels}, "
                    f"learnt from the group found now. A dense group is no rule by itself: on "
                    f"people it was not learnt from, the rule finds {share_words(boxes.reach)} of "
                    f"the group, and {share_words(boxes.purity)} of those it takes are of it. "
                    f"{again}"
                )
            case Cell():
                labels = listed([TRAITS[t].label for t in RFM])
                return f"Kept are the quintiles of {labels} found now. {again}"
            case Conditions():
                labels = listed([TRAITS[SAID[c.trait]].label for c in rule.test])
                return f"Kept is the condition on {labels}, among buyers who paid. {again}"


def differs(rule: Rule) -> bool:
    """Whether a rule holds others than the group it stands for, by more than a few."""
    boxes = rule.test.boxes if isinstance(rule.test, Within) else None
    return boxes is not None and min(boxes.reach, boxes.purity) < FAITHFUL
