"""segment: who buys and behaves alike, named by what sets them apart."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from analytics.catalog import ENTITY
from analytics.command import Command, Context, says
from analytics.entities import product_ranges, rows_of
from analytics.errors import NotEnoughDataError, TooLargeError, UserError
from analytics.methods.portraits.clustering import (
    CLEAR,
    DBSCAN_LIMIT,
    FIT_ON,
    VAGUE,
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
    one_thread,
)
from analytics.methods.portraits.naming import (
    LOW,
    SMALL_EFFECT,
    Bound,
    Difference,
    Portrait,
    Rule,
    Trait,
    Tree,
    grow_tree,
    portraits,
)
from analytics.methods.portraits.scaling import fit_scaler, stable_sample
from analytics.period import Period
from analytics.result import Chart, Column, Note, Part, Result, Series, Table, Unit
from analytics.scope import Filters, Scope, day_number, in_words, instant, scope_of
from analytics.words import counted, date_words, listed, short_words, words
from storage.schema import orders
from storage.sql import Sql, icount, isum

#: How much a trait counts: those that make a segment, those that colour it, those that describe it.
FULL, THIRD, NONE = 1.0, 1 / 3, 0.0

Weighed = tuple[tuple[Trait, float], ...]

BUYING: Weighed = (
    (Trait("recency", "days since last order", "days", "quiet for longer", "here lately"), FULL),
    (Trait("orders", "orders", "count", "with more orders", "with fewer orders"), FULL),
    (Trait("revenue", "net spend", "money", "spending more", "spending less"), FULL),
    # spend and orders say it already: it would count twice
    (Trait("basket", "spend per order", "money", "with large orders", "with small orders"), NONE),
    (
        Trait(
            "products", "different products", "count", "with a wide range", "with a narrow range"
        ),
        THIRD,
    ),
)
VISITING: Weighed = (
    (Trait("sessions", "visits", "count", "visiting often", "visiting seldom"), THIRD),
    (Trait("pages", "pages per visit", "number", "who browse", "who go straight to it"), THIRD),
    (
        Trait("abandoned", "carts abandoned", "share", "who abandon carts", "who finish carts"),
        THIRD,
    ),
    (Trait("mobile", "visits on mobile", "share", "on mobile", "not on mobile"), THIRD),
)
DENSITY_TRAITS = ("recency", "orders", "revenue")

#: Fewer people, or fewer per segment, say nothing that would hold next month.
LEAST_PEOPLE = 50
LEAST_PER_SEGMENT = 10
#: Share of the buyers whose visits must be known for visits to count.
LEAST_VISITS_KNOWN = 0.5
#: Differences that are shown of each segment.
SHOWN_DIFFERENCES = 3

OUTSIDE = "Unlike any group"


@dataclass(frozen=True, kw_only=True)
class Segment(Command):
    """Groups of people who buy and behave alike, named by what sets them apart.

    People who ordered in the period are described by recency, orders, net spend and range, and by
    their visits where there are any. K-means groups them after taking the heavy tail away; the
    number of groups is yours, or the one that separates best. `by dbscan` finds dense groups and
    those who fit none.
    """

    examples = (
        "segment last 90 days",
        "segment k 5",
        "segment by dbscan",
        "segment where country:France last 365 days",
    )
    aliases = ("segments", "portraits", "clusters")

    period: Period = says("last 90 days", help="the orders and visits to look at")
    where: Filters = says(Filters(), help="only orders and visits like these")
    k: int | None = says(
        None, help="how many segments; otherwise chosen", words=("k",), unit="count", low=2, high=12
    )
    method: Literal["kmeans", "dbscan"] = says(
        "kmeans", help="how people are grouped", after_by=True
    )
    scaling: Literal["log", "quantile"] = says(
        "log", help="how heavy tails are taken away", words=("scaling",)
    )

    def run(self, ctx: Context) -> Result:
        """Who buys alike, what each group is worth, and how to tell."""
        if self.k and self.method == "dbscan":
            raise UserError(
                "DBSCAN finds the number of segments by itself.",
                hint=f"Leave out `k {self.k}`, or `by dbscan`.",
            )
        ctx.tell("Reading what each person bought and visited")
        known = known_people(ctx, self.period, self.where)
        refuse_too_few(ctx, known, self.period, self.k or 0)
        ctx.tell(f"Grouping {counted(len(known.people), 'buyer')}")
        with one_thread():
            groups = group(known, self.k, self.method, self.scaling)
        return say(ctx, self, known, groups)


# --- fetch ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """What is known about the buyers: one row per person, in the order of ids.

    `weights` say how much each trait counts. `returned` people gave back all they bought,
    `visitors` came and did not buy; `visits` is the share of buyers with a visit. Both are None
    where no buyer has one. `simulated` visits describe segments, and do not make them.
    """

    people: pd.DataFrame
    traits: tuple[Trait, ...]
    weights: tuple[float, ...]
    returned: int
    visitors: int | None
    visits: float | None
    simulated: bool


def known_people(ctx: Context, period: Period, where: Filters) -> Known:
    """The buyers of the period with their traits."""
    device = ctx.catalog.dimension("device")
    scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("period", period)], where, device)
    visits = visit_habits(scope)
    people = traits_of(ctx.store.arrow(buyers(scope.slicing(None), visits)), period)
    kept = people[people["revenue"] > 0].reset_index(drop=True)
    share = float(kept["sessions"].notna().mean()) if len(kept) else 0.0
    simulated = share > 0 and any(s.simulated for s in ctx.store.sources({"events"}))
    chosen = BUYING
    if share >= LEAST_VISITS_KNOWN:
        chosen += tuple((t, NONE if simulated else w) for t, w in VISITING)
    chosen = tuple((t, w) for t, w in chosen if kept[t.key].notna().any())
    return Known(
        kept,
        tuple(t for t, _ in chosen),
        tuple(w for _, w in chosen),
        len(people) - len(kept),
        visitors_only(ctx, scope.slicing(None)) if share else None,
        share or None,
        simulated,
    )


def buyers(scope: Scope, visits: sa.FromClause | None) -> sa.Select[*tuple[Any, ...]]:
    """Per person with an order: last day, orders, net spend, products, whether new, and visits.

    Returns of the period are netted; new is who had never ordered before the period.
    """
    bought, ranges, earlier = purchases(scope), product_ranges(scope), earlier_orders(scope)
    main = bought.outerjoin(ranges, ranges.c.person_id == bought.c.person_id).outerjoin(
        earlier, earlier.c.person_id == bought.c.person_id
    )
    habits: list[Sql] = []
    if visits is not None:
        main = main.outerjoin(visits, visits.c.person_id == bought.c.person_id)
        habits = [c for c in visits.c if c.name != "person_id"]
    return (
        sa.select(
            bought.c.person_id,
            scope.local_day(bought.c.last_at).label("last_day"),
            bought.c.orders,
            bought.c.revenue,
            sa.func.coalesce(ranges.c.products, 0).label("products"),
            sa.case((earlier.c.person_id.is_not(None), 0), else_=1).label("is_new"),
            *habits,
        )
        .select_from(main)
        .where(bought.c.orders > 0)
    )


def purchases(scope: Scope) -> sa.Subquery:
    """Per person: the last order, how many, and their amount less returns."""
    rows = rows_of("orders", scope)
    is_sale = rows.c.kind == "sale"
    return (
        sa.select(
            rows.c.person_id,
            sa.func.max(sa.case((is_sale, rows.c["at"]))).label("last_at"),
            isum(sa.case((is_sale, 1), else_=0)).label("orders"),
            isum(rows.c.amount_cents).label("revenue"),
        )
        .where(rows.c.person_id.is_not(None))
        .group_by(rows.c.person_id)
        .subquery("bought")
    )


def earlier_orders(scope: Scope) -> sa.Subquery:
    """Those who had ordered anything before the period."""
    return (
        sa.select(orders.c.person_id)
        .distinct()
        .where(
            orders.c.kind == "sale",
            orders.c.person_id.is_not(None),
            orders.c.ordered_at < instant(scope.since),
        )
        .subquery("earlier")
    )


def visit_habits(scope: Scope) -> sa.Subquery | None:
    """Per person with a visit: visits, pages, visits with a cart and those that left it, devices.

    None where visits do not know what the question filters by.
    """
    sessions = ENTITY["sessions"]
    if scope.missing(sessions):
        scope = scope.slicing(None)
    if scope.missing(sessions):
        return None
    rows = rows_of("sessions", scope)
    devices = []
    if scope.by:
        mobile = sa.case((sa.func.lower(rows.c.slice) == "mobile", 1), else_=0)
        devices = [isum(mobile).label("on_mobile"), counted_rows(rows.c.slice).label("on_any")]
    return (
        sa.select(
            rows.c.person_id,
            icount().label("sessions"),
            isum(rows.c.pages).label("viewed"),
            isum(rows.c.carted).label("carted"),
            isum(rows.c.abandoned).label("left_behind"),
            *devices,
        )
        .group_by(rows.c.person_id)
        .subquery("visits")
    )


def counted_rows(column: Sql) -> Sql:
    """In how many rows a column is known."""
    return sa.cast(sa.func.count(column), sa.BigInteger)


def traits_of(found: pa.Table, period: Period) -> pd.DataFrame:
    """The traits of what `buyers` found, in the order of ids; what is unknown is NaN."""
    people: pd.DataFrame = found.sort_by("person_id").to_pandas()

    def share(part: str, whole: str) -> pd.Series:
        if part not in people:
            return pd.Series(np.nan, index=people.index)
        return people[part].astype(float) / people[whole].astype(float).replace(0.0, np.nan)

    return people.assign(
        recency=day_number(period.end) - people["last_day"],
        basket=people["revenue"] / people["orders"],
        sessions=people["sessions"].astype(float) if "sessions" in people else np.nan,
        pages=share("viewed", "sessions"),
        abandoned=share("left_behind", "carted"),
        mobile=share("on_mobile", "on_any"),
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

    `choice` says how K-means' number of groups came about, `density` how DBSCAN was set; `sample`
    is on how many people the centres were fitted.
    """

    labels: Labels
    portraits: tuple[Portrait, ...]
    tree: Tree
    choice: Choice | None
    density: Density | None
    sample: int


def group(known: Known, k: int | None, method: str, scaling: Literal["log", "quantile"]) -> Groups:
    """Scale, group, name. Raises TooLargeError for DBSCAN on too many people."""
    people, traits = known.people, known.traits
    table = people[[t.key for t in traits]].to_numpy(dtype=np.float64)
    scaled = fit_scaler(table, "log" if scaling == "log" else "normal").apply(table)
    choice = density = None
    sample = len(people)
    refuse_alike(scaled, k or 0)
    if method == "dbscan":
        if len(people) > DBSCAN_LIMIT:
            raise TooLargeError(
                f"DBSCAN takes up to {words(DBSCAN_LIMIT, 'count')} people, "
                f"and {words(len(people), 'count')} bought.",
                hint="Leave out `by dbscan` (K-means takes any number), "
                "or ask for a shorter period or a filter.",
            )
        columns = [i for i, t in enumerate(traits) if t.key in DENSITY_TRAITS]
        density = dense_groups(scaled[:, columns])
        labels = density.labels
    else:
        points = scaled * np.asarray(known.weights, dtype=np.float32)
        chosen = stable_sample(people["person_id"], FIT_ON)
        sample = len(chosen)
        fit_on = points[chosen]
        choice = judge(fit_on, k) if k else choose_k(fit_on)
        labels = assign(points, centres_of(fit_on, choice.k))
    labels = by_value(labels, people["revenue"].to_numpy())
    found = portraits(people, scaled, labels, traits, outside=OUTSIDE)
    in_order = tuple(sorted(found, key=lambda p: (p.label < 0, p.label)))
    return Groups(labels, in_order, grow_tree(people, labels, traits), choice, density, sample)


def by_value(labels: Labels, revenue: np.ndarray[Any, Any]) -> Labels:
    """Labels 0.. in order of the groups' revenue, then their first person; -1 stays."""
    groups, first = np.unique(labels[labels >= 0], return_index=True)
    totals = [int(revenue[labels == g].sum()) for g in groups]
    rank = sorted(range(len(groups)), key=lambda i: (-totals[i], first[i]))
    renamed = np.full(int(labels.max(initial=-1)) + 2, -1, dtype=np.int64)
    for new, i in enumerate(rank):
        renamed[groups[i]] = new
    return renamed[labels]


# --- say -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Worth:
    """A segment in numbers: people, revenue, and their shares of all segmented."""

    portrait: Portrait
    people: int
    people_share: float
    revenue: int
    revenue_share: float


def say(ctx: Context, asked: Segment, known: Known, groups: Groups) -> Result:
    """The result of what was found."""
    worths = worths_of(known.people, groups)
    title = f"Segments {in_words(asked.period)}"
    if asked.where:
        title += f" ({asked.where.words()})"
    parts: list[Part] = [
        segments_table(worths, ctx.currency),
        shares_chart(worths),
        profile_table(known, groups),
        *differences_tables(groups),
        *rules_tables(groups, ctx.currency),
        *notes(known, groups),
    ]
    return Result(title, headline(worths, known, ctx.currency), tuple(parts), follow_ups(asked))


def worths_of(people: pd.DataFrame, groups: Groups) -> list[Worth]:
    """What each segment is worth, in the order of the portraits."""
    revenue = people["revenue"].to_numpy()
    total = int(revenue.sum())
    found = []
    for portrait in groups.portraits:
        own = int(revenue[groups.labels == portrait.label].sum())
        share = portrait.people / len(people)
        found.append(Worth(portrait, portrait.people, share, own, own / total))
    return found


def headline(worths: Sequence[Worth], known: Known, currency: str) -> str:
    """Who brings the most, and the silent segment that is worth the most to win back."""
    buyers = words(len(known.people), "count")
    grouped = [w for w in worths if w.portrait.label >= 0]
    outside = next((w for w in worths if w.portrait.label < 0), None)
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


def notes(known: Known, groups: Groups) -> Iterator[Note]:
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
        yield Note(
            "DBSCAN on recency, orders and net spend: a person is in a dense group with "
            f"{groups.density.neighbours} people or more within {groups.density.radius:.2f} "
            "standard deviations (the knee of the distances); the others fit none. It finds "
            "dense cores and outliers, not the whole portrait: for that leave out `by dbscan`."
        )
    if groups.sample < len(known.people):
        yield Note(
            f"The segments were found on {words(groups.sample, 'count')} people, chosen by a hash "
            f"of their ids, and all {words(len(known.people), 'count')} were assigned to them."
        )
    yield Note(
        f"A tree of at most 12 leaves puts {words(groups.tree.fidelity, 'share')} of people into "
        "the right segment by these traits alone; “How to tell them” shows its main branches."
    )
    yield from notes_on_people(known)


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
        if choice.by_silhouette != taken.k:
            text += f"; by silhouette alone it would be {choice.by_silhouette}"
        text += ")"
    if choice.stable:
        text += f", and drawing the people again moves few of them (ARI {choice.stability:.2f})"
    if taken.silhouette < VAGUE:
        return f"{text}. There are no sharp edges: people differ by degrees."
    return f"{text}. They lie well apart." if taken.silhouette >= CLEAR else f"{text}."


def notes_on_people(known: Known) -> Iterator[Note]:
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
            f"Simulated in this store: {listed(visiting)}. They describe the segments, and do not "
            "make them.",
            "warning",
        )
    yield Note(
        "Recency, orders and net spend make the segments; the number of products"
        f"{' and visits count' if visiting and not known.simulated else ' counts'} a third, "
        "and spend per order only describes."
    )


def follow_ups(asked: Segment) -> tuple[str, ...]:
    """What to ask next: the other method for the same people, what they buy, and how it goes."""
    period = asked.period.words
    other = "segment" if asked.method == "dbscan" else "segment by dbscan"
    same = " and ".join(
        f"{f.dimension}{'!=' if f.negated else ':'}" + ",".join(f'"{v}"' for v in f.values)
        for f in asked.where
    )
    where = f" where {same}" if same and "\\" not in same else ""
    return (f"{other} {period}{where}", f"rules {period}", f"kpis {period}")
