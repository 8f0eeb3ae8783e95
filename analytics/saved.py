"""Saved segments: a rule over people, kept as text, and asked of the store anew each time.

| a rule | kept |
|---|---|
| the group of a `segment` | the frozen model: scaling, centres, and which of them |
| a dense group | the boxes that tell it: bounds on recency, orders and net spend |
| a cell of the RFM grid | the frozen quintiles, and the cell's name |
| conditions | as they were said: `orders >= 5 and spend > 500` |

The period is kept in its words and read on the day of the question: people come and go as they
buy, the rule stays. With the same data the same people belong to it, on every engine.
"""

import datetime as dt
import functools
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd
import sqlalchemy as sa

from analytics.catalog import SEGMENT, Catalog, Members
from analytics.command import Context
from analytics.errors import NotEnoughDataError, UserError
from analytics.habits import SAID, Condition, Conditions, payers
from analytics.methods.portraits.boxes import Bounds, Boxes
from analytics.methods.portraits.model import Model
from analytics.methods.portraits.rfm import BEST, NAMES, Grid
from analytics.methods.portraits.scaling import LIMIT
from analytics.parts import EVERYBODY, Shard
from analytics.period import Period, parse_period
from analytics.scope import Filter, Filters, Scope, scope_of, start_of_day
from analytics.words import EXPONENTS, listed
from storage.schema import orders
from storage.segments import SavedSegment, saved_segments
from storage.sql import Sql, dbl, natural_log1p
from storage.state import State

#: The traits of the RFM grid.
RFM = ("recency", "orders", "revenue")


@dataclass(frozen=True)
class Nearest:
    """Who is nearer to the centre of `group` than to all others."""

    model: Model
    group: int


@dataclass(frozen=True)
class Cell:
    """Who stands in the cells of the RFM grid that bear a name."""

    grid: Grid
    name: str


@dataclass(frozen=True)
class Within:
    """Who lies in the boxes that tell a dense group."""

    boxes: Boxes


Test = Nearest | Cell | Within | Conditions


@dataclass(frozen=True)
class Rule:
    """Who belongs to a segment: buyers of the period (and filters) who pass a test.

    `label` is what the segment was called where it was found.
    """

    period: str
    where: Filters
    test: Test
    label: str

    def to_json(self) -> str:
        """As it is kept."""
        kinds = {Nearest: "nearest", Cell: "cell", Within: "within", Conditions: "conditions"}
        kind = kinds[type(self.test)]
        where = [asdict(f) for f in self.where]
        kept = {"period": self.period, "where": where, "label": self.label, "kind": kind}
        return json.dumps(kept | {"test": asdict(self.test)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Rule":
        """What `to_json` kept."""
        kept = json.loads(text)
        where = Filters(
            tuple(Filter(f["dimension"], tuple(f["values"]), f["negated"]) for f in kept["where"])
        )
        return cls(kept["period"], where, test_of(kept["kind"], kept["test"]), kept["label"])


def test_of(kind: str, kept: dict[str, Any]) -> Test:
    """A test from its plain parts."""
    match kind:
        case "nearest":
            model = {k: tuple(v) for k, v in kept["model"].items()}
            model["slopes"] = tuple(tuple(row) for row in model["slopes"])
            return Nearest(Model(**model), kept["group"])
        case "cell":
            return Cell(Grid(**{k: tuple(v) for k, v in kept["grid"].items()}), kept["name"])
        case "within":
            boxes = kept["boxes"]
            bounds = tuple(tuple(map(tuple, box)) for box in boxes["boxes"])
            return Within(Boxes(tuple(boxes["traits"]), bounds, boxes["reach"], boxes["purity"]))
        case _:
            return Conditions(tuple(Condition(**c) for c in kept["all"]))


# --- known to questions -------------------------------------------------------------------------


def knowing_segments(ctx: Context) -> Context:
    """The context whose catalogue knows the saved segments; they are read when one is named."""

    @functools.cache
    def read() -> tuple[Members, ...]:
        found = saved_segments(ctx.state) if ctx.state else ()
        return tuple(members_of(ctx, segment) for segment in found)

    return replace(ctx, catalog=replace(ctx.catalog, segments=read))


def members_of(ctx: Context, segment: SavedSegment) -> Members:
    """A saved segment, as of the day of the question."""
    rule = Rule.from_json(segment.rule)
    period = parse_period(rule.period, ctx.today)
    found = f"“{rule.label}” of " if rule.label else ""
    days = "all time" if period.is_all_time else f"{period.start} to {period.last_day}"
    words = (
        f"segment {segment.name} ({found}`{segment.question}`, saved on {segment.saved_on}) "
        f"by what people did in {days}"
    )
    return Members(segment.name, words, functools.cache(lambda: people_of(ctx, rule)))


def people_of(ctx: Context, rule: Rule) -> sa.Select[tuple[str]]:
    """The `person_id` of those who belong to it today."""
    period = parse_period(rule.period, ctx.today)
    habits = habits_in(ctx, period, rule.where, (*traits_of(rule.test), "revenue"))
    return passing(rule.test, habits, ctx.currency)


def habits_in(ctx: Context, period: Period, where: Filters, wanted: Collection[str]) -> sa.Subquery:
    """The habits of buyers who paid anything in a period."""
    device = ctx.catalog.dimension("device") if "mobile" in wanted else None
    return payers(scope_for(ctx, period, where, device), wanted)


def scope_for(ctx: Context, period: Period, where: Filters, by: Any = None) -> Scope:
    """One window, without saved segments: none stands on another."""
    catalog = replace(ctx.catalog, segments=Catalog().segments)
    return scope_of(ctx.store, catalog, ctx.zone, [("period", period)], where, by)


def traits_of(test: Test) -> tuple[str, ...]:
    """The traits that a test looks at."""
    match test:
        case Nearest(model=model):
            return model.traits
        case Cell():
            return RFM
        case Within(boxes=boxes):
            return boxes.traits
        case Conditions():
            return tuple(SAID[c.trait] for c in test)


def members_on(ctx: Context, said: str, day: dt.date) -> Members:
    """A saved segment as it stood on the morning of a day, by what people had done before it.

    Raises UnknownNameError.
    """
    morning = start_of_day(day, ctx.zone).replace(tzinfo=dt.UTC)
    return knowing_segments(replace(ctx, now=morning)).catalog.find_segment(said)


def narrowed(scope: Scope, members: Members) -> Scope:
    """The scope of the people of one more segment."""
    return replace(
        scope,
        filters=scope.filters.plus(SEGMENT.name, members.name),
        members=(*scope.members, members),
    )


def in_segments(
    ctx: Context, scope: Scope, people: pd.DataFrame, part: Shard = EVERYBODY
) -> pd.DataFrame:
    """Those of the rows, all of a part, who are in the scope's saved segments; all where none is.

    Raises NotEnoughDataError where nobody is, unless others may be in other parts.
    """
    if not scope.members:
        return people
    person = orders.c.person_id
    known = [person.is_not(None), *part.holds(person)]
    chosen = sa.select(person).distinct().where(*known, *scope.whose(person))
    kept = people[people["person_id"].isin(ctx.store.column(chosen))].reset_index(drop=True)
    if kept.empty and part.is_all:
        raise nobody_in(scope)
    return kept


def nobody_in(scope: Scope) -> NotEnoughDataError:
    """What is said where nobody of the scope's saved segments is among the people."""
    named = listed([m.name for m in scope.members])
    return NotEnoughDataError(
        f"Nobody of segment {named} is among them.", hint="See `segments` for who is where."
    )


# --- as expressions -----------------------------------------------------------------------------


def passing(test: Test, habits: sa.FromClause, currency: str) -> sa.Select[tuple[str]]:
    """The `person_id` of the rows of `habits_of` that pass a test."""
    match test:
        case Nearest():
            scores = scored(test.model, habits)
            own = scores.c[f"s{test.group}"]
            others = enumerate(c for c in scores.c if c.name.startswith("s"))
            # the first of equals, as Model.labels has it
            least = [own < c if i < test.group else own <= c for i, c in others if c is not own]
            return sa.select(scores.c.person_id).where(*least)
        case Cell():
            late, much = cell_scores(test.grid, habits)
            (rows, columns) = next((r, c) for name, _, r, c in NAMES if name == test.name)
            return sa.select(habits.c.person_id).where(late.in_(rows), much.in_(columns))
        case Within(boxes=boxes):
            traits: list[Sql] = [dbl(habits.c[trait]) for trait in boxes.traits]
            return sa.select(habits.c.person_id).where(
                sa.or_(*(within(traits, box) for box in boxes.boxes))
            )
        case Conditions():
            minor = 10 ** EXPONENTS.get(currency, 2)
            return sa.select(habits.c.person_id).where(*(c.holds(habits, minor) for c in test))


def within(columns: Sequence[Sql], box: Bounds) -> Sql:
    """All the bounds of a box, as in `Boxes.holds`."""
    every: list[Sql] = []
    for column, (low, high) in zip(columns, box, strict=True):
        every += [column > number(low)] if low is not None else []
        every += [column <= number(high)] if high is not None else []
    return sa.and_(sa.true(), *every)


def scored(model: Model, habits: sa.FromClause) -> sa.Subquery:
    """Per person: `s0`, `s1`, ... the score of each group, and the revenue."""
    points = sa.select(
        habits.c.person_id,
        habits.c.revenue,
        *(
            point(habits.c[trait], *frozen).label(f"z{i}")
            for i, (trait, *frozen) in enumerate(
                zip(model.traits, model.means, model.deviations, model.weights, strict=True)
            )
        ),
    ).subquery("points")
    scores = []
    for group, (offset, slopes) in enumerate(zip(model.offsets, model.slopes, strict=True)):
        total: Sql = number(offset)
        for i, slope in enumerate(slopes):
            total = total + number(slope) * points.c[f"z{i}"]
        scores.append(total.label(f"s{group}"))
    return sa.select(points.c.person_id, points.c.revenue, *scores).subquery("scores")


def labelled(model: Model, habits: sa.FromClause) -> sa.Select[*tuple[Any, ...]]:
    """Per person: the number of the group, `place`, and the revenue."""
    scores = scored(model, habits)
    each = [scores.c[f"s{i}"] for i in range(len(model.offsets))]
    place = sa.case(
        *((sa.and_(*(own <= c for c in each if c is not own)), i) for i, own in enumerate(each)),
        else_=0,
    )
    return sa.select(scores.c.person_id, scores.c.revenue, place.label("place"))


def point(value: Sql, mean: float, deviation: float, weight: float) -> Sql:
    """A trait scaled, cut and weighed; 0 where it is unknown."""
    scaled = (natural_log1p(dbl(value)) - number(mean)) / number(deviation)
    cut = sa.case(
        (scaled > number(LIMIT), number(LIMIT)),
        (scaled < number(-LIMIT), number(-LIMIT)),
        (value.is_(None), number(0.0)),
        else_=scaled,
    )
    return cut * number(weight)


def number(value: float) -> Sql:
    """A double inside a query."""
    return sa.literal(value, sa.Double())


def cell_scores(grid: Grid, habits: sa.FromClause) -> tuple[Sql, Sql]:
    """(recency, orders and spend together) of a person, 1 to 5, as in `Grid.scores`."""

    def passed(key: str) -> Sql:
        column: Sql = habits.c[key]
        cuts = getattr(grid, key)
        return sum(
            (sa.case((dbl(column) > number(c), 1), else_=0) for c in cuts[1:]),
            start=sa.case((dbl(column) > number(cuts[0]), 1), else_=0),
        )

    late = sa.literal_column(str(BEST), sa.Integer) - passed("recency")
    together = passed("orders") + passed("revenue") + sa.literal_column("2", sa.Integer)
    # (often + much + 1) // 2, written for whole numbers from 2 to 10
    much = sa.case(*((together <= 2 * n, n) for n in range(1, BEST)), else_=BEST)
    return late, much


# --- names --------------------------------------------------------------------------------------


def checked_name(said: str) -> str:
    """A name in the one spelling that is kept: `At Risk` is `at-risk`. Raises UserError."""
    name = "-".join(said.casefold().replace("_", " ").replace("-", " ").split())
    if not name or len(name) > 40 or not name.replace("-", "").isalnum() or name[0].isdigit():
        raise UserError(
            f"“{said[:40]}” can't be the name of a segment.",
            hint="Begin with a letter, and use up to 40 letters, digits and hyphens: `loyal`, "
            "`at-risk`.",
        )
    return name


def memory_of(ctx: Context) -> State:
    """The bot's memory. Raises UserError where an answer is made without one."""
    if ctx.state is None:
        raise UserError(
            "Segments are saved in the bot's memory, and there is none here.",
            hint="Set state.url in config.yaml.",
        )
    return ctx.state


def find_saved(ctx: Context, said: str) -> SavedSegment:
    """The saved segment of a name. Raises UnknownNameError with the nearest."""
    name = ctx.catalog.find_segment(said).name
    return next(s for s in saved_segments(memory_of(ctx)) if s.name == name)
