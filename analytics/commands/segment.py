"""segment: who buys and behaves alike, named by what sets them apart."""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from analytics.catalog import SEGMENT
from analytics.command import Command, Context, says
from analytics.habits import VISITING, payers
from analytics.methods.portraits.clustering import CLEAR, VAGUE, Choice, Density, one_thread
from analytics.methods.portraits.naming import (
    LOW,
    SMALL_EFFECT,
    Bound,
    Difference,
    Portrait,
    Rule,
)
from analytics.methods.portraits.rfm import BEST, NAMES, names_of
from analytics.period import Period
from analytics.result import Chart, Column, Note, Part, Result, Series, Table, Unit
from analytics.saved import RFM, cell_scores, labelled
from analytics.scope import Filters, in_words
from analytics.segments import (
    Groups,
    Known,
    Method,
    Scaling,
    Size,
    group,
    known_people,
    refuse_number,
    refuse_too_few,
)
from analytics.words import counted, listed, short_words, words
from storage.sql import icount, isum

#: Differences that are shown of each segment.
SHOWN_DIFFERENCES = 3

#: Names of the RFM grid whose people are worth winning back.
LEAVING = ("At risk", "Can't lose them")


@dataclass(frozen=True, kw_only=True)
class Segment(Command):
    """Groups of people who buy and behave alike, named by what sets them apart.

    People who ordered in the period are described by recency, orders, net spend and range, and by
    their visits where there are any. K-means groups them after taking the heavy tail away; the
    number of groups is yours, or the one that separates best. `by visits` groups buyers by how they
    look around instead; `by dbscan` finds dense groups and those who fit none.
    """

    group = "People"
    examples = (
        "segment last 90 days",
        "segment k 5",
        "segment by dbscan",
        "segment by rfm last 365 days",
        "segment by visits last 365 days",
        "segment where country:France last 365 days",
    )
    aliases = ("clusters",)

    period: Period = says("last 90 days", help="the orders and visits to look at")
    where: Filters = says(Filters(), help="only orders and visits like these")
    k: int | None = says(
        None, help="how many segments; otherwise chosen", words=("k",), unit="count", low=2, high=12
    )
    method: Method = says("kmeans", help="how people are grouped", after_by=True)
    scaling: Scaling = says("log", help="how heavy tails are taken away", words=("scaling",))

    def run(self, ctx: Context) -> Result:
        """Who buys alike, what each group is worth, and how to tell."""
        refuse_number(self.k, self.method)
        ctx.tell("Reading what each person bought and visited")
        known = known_people(ctx, self.period, self.where, self.method)
        refuse_too_few(ctx, known, self.period, self.k or 0)
        ctx.tell(f"Grouping {known.in_words}")
        with one_thread():
            groups = group(known, self.k, self.method, self.scaling)
        if not known.part.is_all:
            ctx.tell(f"Assigning {counted(known.total.people, 'buyer')}")
        return say(ctx, self, known, groups, placed(ctx, known, groups))


# --- assign --------------------------------------------------------------------------------------

#: Recency, and orders and spend together, scored 1 to 5.
CellScores = tuple[int, int]


@dataclass(frozen=True)
class Placed:
    """Everybody in the groups: sizes by label, and people by cell where there is a grid."""

    sizes: dict[int, Size]
    cells: dict[CellScores, int]


def placed(ctx: Context, known: Known, groups: Groups) -> Placed:
    """Those who are here by their labels; where they are a sample, all by the engine."""
    if known.part.is_all:
        return placed_here(known, groups)
    if groups.grid:
        people = payers(known.scope, RFM)
        late, much = cell_scores(groups.grid, people)
        each = sa.select(late.label("late"), much.label("much"), people.c.revenue).subquery("each")
        keys: list[Any] = [each.c.late, each.c.much]
    elif groups.model:
        people = payers(known.scope, groups.model.traits)
        each = labelled(groups.model, people).subquery("each")
        keys = [each.c.place]
    else:
        raise TypeError("groups found in a sample have a grid or a model")
    size = icount().label("people"), isum(each.c.revenue).label("revenue")
    found = ctx.store.rows(sa.select(*keys, *size).group_by(*keys))
    if groups.grid is None:
        return Placed({int(r["place"]): Size(r["people"], r["revenue"]) for r in found}, {})
    numbers = {p.name: p.label for p in groups.portraits}
    sizes = dict.fromkeys(numbers.values(), Size(0, 0))
    for row in found:
        label = numbers.get(cell_name(row["late"], row["much"]))
        if label is not None:  # cells of nobody in the sample are in the grid alone
            before = sizes[label]
            sizes[label] = Size(before.people + row["people"], before.revenue + row["revenue"])
    return Placed(sizes, {(int(r["late"]), int(r["much"])): r["people"] for r in found})


def cell_name(late: int, much: int) -> str:
    """The name of a cell of the RFM grid."""
    return NAMES[int(names_of(np.array([int(late)]), np.array([int(much)]))[0])][0]


def placed_here(known: Known, groups: Groups) -> Placed:
    """Counted in this process."""
    revenue = known.people["revenue"].to_numpy()
    sizes = {
        p.label: Size(p.people, int(revenue[groups.labels == p.label].sum()))
        for p in groups.portraits
    }
    cells: dict[CellScores, int] = {}
    if groups.grid:
        values = (known.people[key].to_numpy(dtype=np.float64) for key in RFM)
        late, much = groups.grid.scores(*values)
        cells = Counter(zip(late.tolist(), much.tolist(), strict=True))
    return Placed(sizes, cells)


# --- say -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Worth:
    """A segment in numbers: people, revenue, and their shares of all segmented."""

    portrait: Portrait
    people: int
    people_share: float
    revenue: int
    revenue_share: float


def say(ctx: Context, asked: Segment, known: Known, groups: Groups, everybody: Placed) -> Result:
    """The result of what was found."""
    worths = worths_of(known, groups, everybody)
    title = f"Segments {in_words(asked.period)}"
    if asked.where:
        title += f" ({asked.where.words()})"
    parts: list[Part] = [
        segments_table(worths, ctx.currency),
        shares_chart(worths),
        profile_table(known, groups),
        *grid_tables(groups, everybody),
        *differences_tables(groups),
        *rules_tables(groups, ctx.currency),
        *notes(known, groups, asked.method),
    ]
    return Result(
        title,
        headline(worths, known, ctx.currency, grid=groups.grid is not None),
        tuple(parts),
        follow_ups(asked, groups),
    )


def worths_of(known: Known, groups: Groups, everybody: Placed) -> list[Worth]:
    """What each segment is worth, in the order of the portraits."""
    found = []
    for portrait in groups.portraits:
        own = everybody.sizes.get(portrait.label, Size(0, 0))
        shares = own.people / known.total.people, own.revenue / known.total.revenue
        found.append(Worth(portrait, own.people, shares[0], own.revenue, shares[1]))
    return found


def headline(worths: Sequence[Worth], known: Known, currency: str, *, grid: bool) -> str:
    """Who brings the most, and the silent segment that is worth the most to win back."""
    buyers = words(known.total.people, "count")
    grouped = [w for w in worths if w.portrait.label >= 0]
    outside = next((w for w in worths if w.portrait.label < 0), None)
    if grid:
        return grid_headline(grouped, buyers, currency)
    if not grouped:
        return f"No dense groups among {buyers} buyers: they differ too gradually to be parted."
    if outside or len(grouped) == 1:
        text = f"{counted(len(grouped), 'dense group')} among {buyers} buyers"
        if outside is None:
            return f"{text}: nobody stands apart."
        return (
            f"{text}; {words(outside.people, 'count')} fit none and bring "
            f"{percent(outside.revenue_share)} of revenue: look at them one by one."
        )
    top = grouped[0]
    text = (
        f"{top.portrait.name} are {percent(top.people_share)} of {buyers} buyers "
        f"and {percent(top.revenue_share)} of revenue"
    )
    silent = [w for w in grouped[1:] if is_silent(w.portrait)]
    if not silent:
        last = grouped[-1]
        return (
            f"{text}; {words(last.people, 'count')} {mid_sentence(last.portrait.name)} "
            f"bring {percent(last.revenue_share)}."
        )
    worth = silent[0]
    days = words(round(worth.portrait.standing.days), "days")
    return (
        f"{text}; {words(worth.people, 'count')} {mid_sentence(worth.portrait.name)} "
        f"({short_words(worth.revenue, 'money', currency)}) have not bought for {days}."
    )


def grid_headline(grouped: Sequence[Worth], buyers: str, currency: str) -> str:
    """Who brings the most by the RFM grid, and who is about to be lost."""
    top = grouped[0]
    text = (
        f"{top.portrait.name} are {percent(top.people_share)} of {buyers} buyers and bring "
        f"{percent(top.revenue_share)} of revenue"
    )
    leaving = [w for w in grouped if w.portrait.name in LEAVING and w is not top]
    if not leaving:
        return f"{text}."
    worth = sum(w.revenue for w in leaving)
    people = sum(w.people for w in leaving)
    names = listed([f"“{w.portrait.name}”" for w in leaving])
    return (
        f"{text}; {counted(people, 'person', 'people')} worth "
        f"{short_words(worth, 'money', currency)} are in {names}: write to them first."
    )


def is_silent(portrait: Portrait) -> bool:
    """Whether its people stand low in recency."""
    return portrait.standing.recency <= LOW


def percent(share: float) -> str:
    """A share for a headline, in whole per cent from 10 % on."""
    return words(round(share, 2) if 0.1 <= share < 0.99 else share, "share")


def mid_sentence(name: str) -> str:
    """A name inside a sentence."""
    return name[:1].lower() + name[1:]


def segments_table(worths: Sequence[Worth], currency: str) -> Table:
    """The segments, most valuable first."""
    columns = (
        Column("cluster", "No.", "count"),
        Column("segment", "Segment"),
        Column("people", "People", "count"),
        Column("people_share", "Share of people", "share"),
        Column("revenue", "Net revenue", "money"),
        Column("revenue_share", "Share of revenue", "share"),
        Column("recency", "Days since last order (median)", "days"),
        Column("orders", "Orders (median)", "number"),
        Column("spend", "Net spend (median)", "money"),
        Column("apart", "What sets it apart"),
    )
    records = [
        {
            "cluster": w.portrait.label + 1 if w.portrait.label >= 0 else None,
            "segment": w.portrait.name,
            "people": w.people,
            "people_share": w.people_share,
            "revenue": w.revenue,
            "revenue_share": w.revenue_share,
            "recency": w.portrait.median("recency"),
            "orders": w.portrait.median("orders"),
            "spend": w.portrait.median("revenue"),
            "apart": apart(w.portrait, currency),
        }
        for w in worths
    ]
    return Table.of("Segments", columns, records)


def apart(portrait: Portrait, currency: str) -> str:
    """What its name means, and its largest differences from all: `… orders 6 (all: 1)`."""
    telling = list(itertools.islice(told_differences(portrait), SHOWN_DIFFERENCES))
    parts = [
        f"{d.trait.label} {median_words(d.median, d.trait.unit, currency)} "
        f"(all: {median_words(d.median_of_all, d.trait.unit, currency)})"
        for d in telling
    ]
    return f"{portrait.description}: {'; '.join(parts)}" if parts else portrait.description


def told_differences(portrait: Portrait) -> Iterator[Difference]:
    """Differences worth telling: not small, and seen in the medians."""
    for d in portrait.differences:
        seen = d.median is not None and d.median != d.median_of_all
        if abs(d.effect) >= SMALL_EFFECT and seen:
            yield d


def median_words(value: float | None, unit: Unit, currency: str) -> str:
    """A median in a sentence: money rounded, and days as a number, since the label says days."""
    if value is not None and unit == "money":
        return short_words(round(value), "money", currency)
    if unit == "days":
        return words(value, "number")
    return words(value, unit, currency)


def shares_chart(worths: Sequence[Worth]) -> Chart:
    """Share of people beside share of revenue: who carries the shop."""
    return Chart(
        "Who the buyers are, and who brings the revenue",
        "bar",
        tuple(w.portrait.name for w in worths),
        (
            Series("Share of people", tuple(w.people_share for w in worths)),
            Series("Share of revenue", tuple(w.revenue_share for w in worths)),
        ),
        unit="share",
        y_label="Share",
    )


def profile_table(known: Known, groups: Groups) -> Table:
    """The median of each trait, per segment and for all."""
    columns = [Column("segment", "Segment")]
    columns += [Column(t.key, t.label.capitalize(), as_number(t.unit)) for t in known.traits]
    records: list[dict[str, Any]] = [
        {"segment": p.name} | {t.key: p.median(t.key) for t in known.traits}
        for p in groups.portraits
    ]
    of_all = {d.trait.key: d.median_of_all for d in groups.portraits[0].differences}
    records.append({"segment": "All buyers"} | of_all)
    return Table.of("Profiles (medians)", columns, records)


def grid_tables(groups: Groups, everybody: Placed) -> Iterator[Table]:
    """People in each cell of the RFM grid, the most recent first; nothing for other methods."""
    if groups.grid is None:
        return
    scores = range(1, BEST + 1)
    columns = [Column("late", "Recency score", "count")]
    columns += [Column(f"much_{m}", f"Orders and spend {m}", "count") for m in scores]
    rows = [
        {"late": r} | {f"much_{m}": everybody.cells.get((r, m), 0) for m in scores}
        for r in reversed(scores)
    ]
    yield Table.of("The grid: people in each cell (5 is best)", columns, rows)


def as_number(unit: Unit) -> Unit:
    """The unit of a median: that of counts may lie between two."""
    return "number" if unit == "count" else unit


def differences_tables(groups: Groups) -> Iterator[Table]:
    """The largest differences of each segment from the others; nothing where there are none."""
    rows = [
        {"segment": p.name, "trait": d.trait.label, "ratio": d.ratio, "effect": d.effect}
        for p in groups.portraits
        for d in itertools.islice(told_differences(p), SHOWN_DIFFERENCES)
    ]
    columns = (
        Column("segment", "Segment"),
        Column("trait", "Differs most in"),
        Column("ratio", "Median against all", "times"),
        Column("effect", "Effect size (d)", "number"),
    )
    if rows:
        yield Table.of("What sets each segment apart", columns, rows)


def rules_tables(groups: Groups, currency: str) -> Iterator[Table]:
    """How to tell each segment by a few bounds; nothing where one leaf holds them all."""
    rules = {rule.label: rule for rule in groups.tree.rules}
    rows = [
        {
            "segment": p.name,
            "rule": rule_words(rules[p.label], currency),
            "reach": rules[p.label].reach,
            "purity": rules[p.label].purity,
        }
        for p in groups.portraits
        if p.label in rules and rules[p.label].bounds
    ]
    columns = (
        Column("segment", "Segment"),
        Column("rule", "Mostly people with"),
        Column("reach", "Of the segment", "share"),
        Column("purity", "Of those it catches", "share"),
    )
    if rows:
        yield Table.of("How to tell them", columns, rows)


def rule_words(rule: Rule, currency: str) -> str:
    """`orders from 4, days since last order up to 18`."""
    return ", ".join(bound_words(b, currency) for b in rule.bounds)


def bound_words(bound: Bound, currency: str) -> str:
    """A bound in words; traits that are whole numbers get whole bounds."""
    unit = bound.trait.unit
    whole = unit in ("count", "days", "money")

    def said(value: float) -> str:
        return median_words(value, unit, currency)

    low = None if bound.low is None else float(np.floor(bound.low) + 1 if whole else bound.low)
    high = None if bound.high is None else float(np.floor(bound.high) if whole else bound.high)
    label = bound.trait.label
    if low is None or high is None:
        return (
            f"{label} from {said(low)}" if low is not None else f"{label} up to {said(high or 0)}"
        )
    return f"{label} {said(low)}" if low == high else f"{label} {said(low)} to {said(high)}"


def notes(known: Known, groups: Groups, method: Method) -> Iterator[Note]:
    """How the segments came about, who is not in them, and how far to trust them."""
    if groups.choice:
        yield Note(choice_words(groups.choice))
        if not groups.choice.stable:
            yield Note(
                "These segments are unstable: drawing the people again moves many of them to "
                f"another segment (ARI {groups.choice.stability:.2f}, stable from 0.8). "
                "Treat them as a sketch, or ask for another number of segments.",
                "warning",
            )
    if groups.density:
        yield Note(density_words(groups.density))
    if groups.grid:
        yield Note(
            "People are scored 1 to 5 by the quintiles of recency, and of orders and net spend "
            "together; each name stands for some cells of that grid. The cuts are the same for "
            "everybody: no group is looked for, so this says who is where, not who is alike."
        )
    if not known.part.is_all:
        yield Note(
            f"Medians, effects and the tree are those of {known.in_words}; people and revenue are "
            "of all, who were assigned where the data are."
        )
    if groups.sample < known.total.people:
        yield Note(
            f"The segments were found on {words(groups.sample, 'count')} people, chosen by a hash "
            f"of their ids, and all {words(known.total.people, 'count')} were assigned to them."
        )
    yield Note(
        f"A tree of at most 12 leaves puts {words(groups.tree.fidelity, 'share')} of people into "
        "the right segment by these traits alone; “How to tell them” shows its main branches."
    )
    yield from notes_on_people(known, method)


def density_words(density: Density) -> str:
    """How the dense groups came about, and how many fit none."""
    noise = f"{words(density.noise, 'share')} of people fit none"
    if density.radius is None:
        return (
            "HDBSCAN on recency, orders and net spend: groups of "
            f"{density.least} people or more that hold together over the widest range of radii, "
            f"with {density.neighbours} neighbours for a core; {noise}. It finds dense cores and "
            "outliers, not the whole portrait: for that leave out `by hdbscan`."
        )
    return (
        "DBSCAN on recency, orders and net spend: a person is in a dense group with "
        f"{density.neighbours} people or more within {density.radius:.2f} "
        f"standard deviations (the knee of the distances); {noise}. It finds "
        "dense cores and outliers, not the whole portrait: for that leave out `by dbscan`."
    )


def choice_words(choice: Choice) -> str:
    """How many segments and why, in a sentence or two."""
    taken = choice.taken
    scores = f"silhouette {taken.silhouette:.2f}, Davies–Bouldin {taken.davies_bouldin:.2f}"
    if len(choice.among) == 1:
        text = f"{counted(taken.k, 'segment')} ({scores})"
    else:
        low, high = choice.among[0].k, choice.among[-1].k
        text = (
            f"{taken.k} segments part these people best of {low} to {high}: each is close "
            f"together and away from the next ({scores}"
            if choice.stable
            else f"{taken.k} segments are the steadiest of {low} to {high} ({scores}"
        )
        if choice.strength is not None:
            text = (
                f"{choice.fewer} segments of {low} to {high} would lie further apart, but two "
                f"halves of the people, grouped by themselves, agree on {taken.k} (prediction "
                f"strength {choice.strength:.2f}), so {choice.fewer} would hide some ({scores}"
            )
        elif choice.by_silhouette != taken.k:
            text += f"; by silhouette alone it would be {choice.by_silhouette}"
        text += ")"
    if choice.stable:
        text += f", and drawing the people again moves few of them (ARI {choice.stability:.2f})"
    if taken.silhouette < VAGUE:
        return f"{text}. There are no sharp edges: people differ by degrees."
    return f"{text}. They lie well apart." if taken.silhouette >= CLEAR else f"{text}."


def notes_on_people(known: Known, method: Method) -> Iterator[Note]:
    """Who is not among the segments, and which traits are missing or made up."""
    if known.visitors:
        yield Note(
            f"{counted(known.visitors, 'person', 'people')} visited but did not buy: not part of "
            "these segments."
        )
    if known.returned:
        yield Note(
            f"{counted(known.returned, 'buyer')} took back all they bought, or paid nothing: "
            "not part of these segments."
        )
    visiting = [t.label for t, _ in VISITING if t in known.traits]
    if not visiting:
        yield Note(
            f"Visits are known of only {words(known.visits, 'share')} of the buyers, and left out."
            if known.visits
            else "No visits are known here: the segments stand on orders alone."
        )
    elif known.simulated:
        yield Note(
            f"Simulated in this store: {listed(visiting)}. "
            + (
                "They alone make these segments: so is what these tell."
                if method == "visits"
                else "They describe the segments, and do not make them."
            ),
            "warning",
        )
    if method == "visits":
        yield Note(
            "Pages per visit and the share on mobile make the segments; how many visits and carts "
            "abandoned count a third, and what people bought only describes."
        )
        return
    yield Note(
        "Recency, orders and net spend make the segments; the number of products"
        f"{' and visits count' if visiting and not known.simulated else ' counts'} a third, "
        "and spend per order only describes."
    )


def follow_ups(asked: Segment, groups: Groups) -> tuple[str, ...]:
    """What to ask next: the people by another method, who moved, and the first group kept."""
    rest = f"{asked.period.words} {asked.where.said()}".strip()
    others = ["segment"] if asked.method != "kmeans" else ["segment by dbscan", "segment by rfm"]
    asks = [f"{other} {rest}" for other in others]
    plain = all(f.dimension != SEGMENT.name for f in asked.where)
    kept = groups.model or groups.grid or groups.density
    if kept and groups.named and plain:
        k = f" k {asked.k}" if asked.k else ""
        by = f" by {asked.method}" if asked.method != "kmeans" else ""
        first = groups.named[0].name
        asks += [f"segment moves {rest}{k}"] if groups.model and not by else []
        asks += [f"segment save {slug(first)} cluster 1 {rest}{k}{by}"]
    return (*asks, f"kpis {rest}")


def slug(name: str) -> str:
    """A group's name as that of a saved segment."""
    return re.sub(r"[^a-z0-9]+", "-", name.casefold().replace("'", "")).strip("-")
