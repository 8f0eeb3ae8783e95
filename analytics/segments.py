"""People grouped by what they bought and visited: read, grouped, named.

`segment` shows the groups, `segment save` keeps one of them, and a portrait sets a saved one apart
from everybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import sqlalchemy as sa

from analytics.command import Context
from analytics.entities import rows_of
from analytics.errors import NotEnoughDataError, TooLargeError, UserError
from analytics.habits import BROWSING, BUYING, NONE, VISITING, habits_of
from analytics.methods.portraits import rfm
from analytics.methods.portraits.boxes import Boxes, boxes_of
from analytics.methods.portraits.clustering import (
    DBSCAN_LIMIT,
    FIT_ON,
    HDBSCAN_LIMIT,
    Choice,
    Density,
    Labels,
    Points,
    assign,
    centres_of,
    choose_k,
    dense_groups,
    judge,
    kinds,
    nested_groups,
)
from analytics.methods.portraits.model import Model, model_of
from analytics.methods.portraits.naming import Portrait, Trait, Tree, grow_tree, portraits
from analytics.methods.portraits.scaling import fit_scaler, stable_sample
from analytics.parts import MOST_PEOPLE, Shard, crowd_of, drawn_words, sample_of
from analytics.period import Period
from analytics.scope import Filters, Scope, in_words, scope_of
from analytics.words import counted, date_words, words
from storage.sql import icount, isum

Method = Literal["kmeans", "dbscan", "hdbscan", "rfm", "visits"]
Scaling = Literal["log", "quantile"]

#: Methods that find the number of segments by themselves.
COUNTING = {"dbscan": "DBSCAN", "hdbscan": "HDBSCAN", "rfm": "The RFM grid"}

DENSITY_TRAITS = ("recency", "orders", "revenue")

#: Fewer people, or fewer per segment, say nothing that would hold next month.
LEAST_PEOPLE = 50
LEAST_PER_SEGMENT = 10
#: Share of the buyers whose visits must be known for visits to count.
LEAST_VISITS_KNOWN = 0.5

OUTSIDE = "Unlike any group"

# --- fetch ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """How many people, and their net revenue in minor units."""

    people: int
    revenue: int


@dataclass(frozen=True)
class Known:
    """What is known about the buyers: one row per person, in the order of ids.

    `people` are those of `part`: all, or a stable sample where they are too many for this process.
    `total` is of all who paid, and `scope` is how the engine is asked about them. `weights` say how
    much each trait counts. `returned` people gave back all they bought, `visitors` came and did not
    buy; `visits` is the share of buyers with a visit. Both are None where no buyer has one.
    `simulated` visits describe segments, and do not make them.
    """

    people: pd.DataFrame
    part: Shard
    total: Size
    scope: Scope
    traits: tuple[Trait, ...]
    weights: tuple[float, ...]
    returned: int
    visitors: int | None
    visits: float | None
    simulated: bool

    @property
    def in_words(self) -> str:
        """How many paid, and whether only some of them are looked at."""
        if self.part.is_all:
            return counted(self.total.people, "buyer")
        return drawn_words(self.part, self.total.people)


def known_people(
    ctx: Context, period: Period, where: Filters, method: Method = "kmeans", *, beside: str = ""
) -> Known:
    """The buyers of the period with their traits, as they count for a method; in a sample of them
    the one who is called `beside` is too.

    Raises NotEnoughDataError where they are to be told by visits that few of them have.
    """
    device = ctx.catalog.dimension("device")
    scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("period", period)], where, device)
    part = sample_of(crowd_of(ctx, scope.slicing(None), MOST_PEOPLE), MOST_PEOPLE)
    habits = habits_of(scope)
    chosen = sa.select(habits)
    if not part.is_all:
        person = habits.c.person_id
        chosen = chosen.where(sa.or_(sa.and_(*part.holds(person)), person == beside))
    people = ctx.store.arrow(chosen).sort_by("person_id").to_pandas()
    kept = people[people["revenue"] > 0].reset_index(drop=True)
    total, returned = Size(len(kept), int(kept["revenue"].sum())), len(people) - len(kept)
    if not part.is_all:
        total, returned = sizes_in(ctx, scope)
    share = float(kept["sessions"].notna().mean()) if len(kept) else 0.0
    simulated = share > 0 and any(s.simulated for s in ctx.store.sources({"events"}))
    weighed = BUYING
    if method == "visits":
        refuse_unseen(share, len(kept), period)
        weighed = tuple((t, NONE) for t, _ in BUYING) + BROWSING
    elif share >= LEAST_VISITS_KNOWN:
        weighed += tuple((t, NONE if simulated else w) for t, w in VISITING)
    weighed = tuple((t, w) for t, w in weighed if kept[t.key].notna().any())
    return Known(
        kept,
        part,
        total,
        scope,
        tuple(t for t, _ in weighed),
        tuple(w for _, w in weighed),
        returned,
        visitors_only(ctx, scope.slicing(None)) if share else None,
        share or None,
        simulated,
    )


def sizes_in(ctx: Context, scope: Scope) -> tuple[Size, int]:
    """All who paid anything, and how many took back all they bought: counted by the engine."""
    habits = habits_of(scope.slicing(None), ("revenue",))
    paid = habits.c.revenue > 0
    row = ctx.store.row(
        sa.select(
            icount().label("all"),
            sa.func.coalesce(isum(sa.case((paid, 1), else_=0)), 0).label("people"),
            sa.func.coalesce(isum(sa.case((paid, habits.c.revenue), else_=0)), 0).label("revenue"),
        ).select_from(habits)
    )
    return Size(row["people"], row["revenue"]), row["all"] - row["people"]


def refuse_unseen(share: float, people: int, period: Period) -> None:
    """Raises NotEnoughDataError where the visits of too few of some buyers are known."""
    if people and share < LEAST_VISITS_KNOWN:
        raise NotEnoughDataError(
            f"Visits are known of only {words(share, 'share')} of the buyers {in_words(period)}.",
            hint="Load events, or leave out `by visits`: orders tell people apart too.",
        )


def visitors_only(ctx: Context, scope: Scope) -> int:
    """How many people came in the period and ordered nothing."""
    seen, bought = rows_of("events", scope), rows_of("orders", scope)
    buying = sa.select(bought.c.person_id).where(
        bought.c.kind == "sale", bought.c.person_id.is_not(None)
    )
    people = sa.cast(sa.func.count(sa.distinct(seen.c.person_id)), sa.BigInteger)
    found = sa.select(people.label("people")).where(seen.c.person_id.not_in(buying))
    return int(ctx.store.row(found)["people"])


def refuse_number(k: int | None, method: Method) -> None:
    """Raises UserError where a number of segments is asked of a method that finds it by itself."""
    if k and method in COUNTING:
        raise UserError(
            f"{COUNTING[method]} finds the number of segments by itself.",
            hint=f"Leave out `k {k}`, or `by {method}`.",
        )


def refuse_too_few(ctx: Context, known: Known, period: Period, k: int) -> None:
    """Raises NotEnoughDataError where the buyers are too few to be parted."""
    n, least = len(known.people), max(LEAST_PEOPLE, LEAST_PER_SEGMENT * k)
    if n >= least:
        return
    when = in_words(period)
    if not n:
        through = ctx.store.data_through()
        raise NotEnoughDataError(
            f"Nobody we know bought anything {when}.",
            hint="Load orders with `load orders FILE`."
            if through is None
            else f"The data run through {date_words(through)}: try a period before that, "
            "or fewer filters.",
        )
    fewer = " or fewer segments" if k and n >= LEAST_PEOPLE else ""
    raise NotEnoughDataError(
        f"Only {counted(n, 'person', 'people')} bought {when}; "
        f"{f'{k} segments need' if k else 'segments need'} {least} or more.",
        hint=f"Try a longer period{fewer}, or fewer filters.",
    )


def refuse_alike(scaled: Points, k: int) -> None:
    """Raises NotEnoughDataError where people are of fewer kinds than there are to be segments."""
    least = max(3, k)
    if kinds(scaled[:1000]) >= least:
        return
    found = kinds(scaled)
    if found < least:
        raise NotEnoughDataError(
            f"All {words(len(scaled), 'count')} people bought alike: they are of "
            f"{counted(found, 'kind')}, too few to part.",
            hint="Try a longer period.",
        )


# --- compute -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Groups:
    """The people with their segments: portraits in order of value, noise last.

    `choice` says how K-means' number of groups came about, `density` how DBSCAN or HDBSCAN was
    set; `sample` is on how many people the centres were fitted. `model` tells K-means' groups
    again (None after quantile scaling and for dense groups), `grid` those of RFM.
    """

    labels: Labels
    portraits: tuple[Portrait, ...]
    tree: Tree
    choice: Choice | None
    density: Density | None
    sample: int
    model: Model | None
    grid: rfm.Grid | None

    @property
    def named(self) -> tuple[Portrait, ...]:
        """Those that are groups, in order of value: cluster 1, 2, ..."""
        return tuple(p for p in self.portraits if p.label >= 0)


def boxes_for(known: Known, groups: Groups, label: int) -> Boxes:
    """The boxes that tell a dense group, or who fits none (-1), by recency, orders and spend."""
    table = known.people[list(DENSITY_TRAITS)].to_numpy(dtype=np.float64)
    return boxes_of(table, groups.labels == label, DENSITY_TRAITS)


def group(known: Known, k: int | None, method: Method, scaling: Scaling) -> Groups:
    """Scale, group, name. Raises TooLargeError for DBSCAN and HDBSCAN on too many people, and for
    quantiles of a sample, by which the engine can't assign the rest.
    """
    people, traits = known.people, known.traits
    if scaling != "log" and not known.part.is_all:
        raise TooLargeError(
            f"Scaling by quantiles takes up to {words(MOST_PEOPLE, 'count')} people, "
            f"and {words(known.total.people, 'count')} bought.",
            hint="Leave out `scaling quantile` (logarithms take any number), "
            "or ask for a shorter period or a filter.",
        )
    table = people[[t.key for t in traits]].to_numpy(dtype=np.float64)
    scaler = fit_scaler(table, "log" if scaling == "log" else "normal")
    scaled = scaler.apply(table)
    refuse_alike(scaled, k or 0)
    choice, density, model, grid = None, None, None, None
    sample = len(people)
    match method:
        case "kmeans" | "visits":
            weights = np.asarray(known.weights, dtype=np.float32)
            chosen = stable_sample(people["person_id"], FIT_ON)
            sample = len(chosen)
            fit_on = scaled[chosen] * weights
            choice = judge(fit_on, k) if k else choose_k(fit_on)
            centres = centres_of(fit_on, choice.k)
            if scaling == "log":
                model = model_of([t.key for t in traits], scaler, known.weights, centres)
                places = [i for i, t in enumerate(traits) if t.key in model.traits]
                labels = model.labels([table[:, i] for i in places])
            else:
                labels = assign(scaled * weights, centres)
        case "rfm":
            values = [people[key].to_numpy(dtype=np.float64) for key in DENSITY_TRAITS]
            grid = rfm.fit_grid(*values)
            labels = rfm.names_of(*grid.scores(*values))
        case _:
            density = dense(known, scaled, method)
            labels = density.labels
    order = by_value(labels, people["revenue"].to_numpy())
    labels = renamed(labels, order)
    found = portraits(people, scaled, labels, traits, outside=OUTSIDE)
    if grid:
        found = [called(p, order) for p in found]
    in_order = tuple(sorted(found, key=lambda p: (p.label < 0, p.label)))
    model = model.reordered(order) if model else None
    tree = grow_tree(people, labels, traits)
    return Groups(labels, in_order, tree, choice, density, sample, model, grid)


def called(portrait: Portrait, order: Sequence[int]) -> Portrait:
    """A portrait under the name of its cells in the RFM grid."""
    name, description, *_ = rfm.NAMES[order[portrait.label]]
    return replace(portrait, name=name, description=description)


def dense(known: Known, scaled: Points, method: Method) -> Density:
    """Dense groups over recency, orders and net spend. Raises TooLargeError."""
    limit, name = (DBSCAN_LIMIT, "DBSCAN") if method == "dbscan" else (HDBSCAN_LIMIT, "HDBSCAN")
    if known.total.people > limit:
        raise TooLargeError(
            f"{name} takes up to {words(limit, 'count')} people, "
            f"and {words(known.total.people, 'count')} bought.",
            hint=f"Leave out `by {method}` (K-means takes any number), "
            "or ask for a shorter period or a filter.",
        )
    columns = [i for i, t in enumerate(known.traits) if t.key in DENSITY_TRAITS]
    points = scaled[:, columns]
    return dense_groups(points) if method == "dbscan" else nested_groups(points)


def by_value(labels: Labels, revenue: np.ndarray[Any, Any]) -> list[int]:
    """The groups in order of revenue, then of their first person; noise (-1) is none."""
    groups, first = np.unique(labels[labels >= 0], return_index=True)
    totals = [int(revenue[labels == g].sum()) for g in groups]
    rank = sorted(range(len(groups)), key=lambda i: (-totals[i], first[i]))
    return [int(groups[i]) for i in rank]


def renamed(labels: Labels, order: Sequence[int]) -> Labels:
    """Labels 0.. in this order of the groups; -1 stays."""
    places = np.full(int(labels.max(initial=-1)) + 2, -1, dtype=np.int64)
    places[list(order)] = np.arange(len(order))
    return places[labels]
