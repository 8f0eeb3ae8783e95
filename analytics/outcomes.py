"""Outcomes of experiments: what each exposed person did after the first exposure, as sums.

An outcome is a metric of the catalogue read per person (revenue: revenue per exposed person). All
of it is summed in the engine, per variant and day of first exposure, or per variant and segment;
no row of a person comes to Python.

Per-person values are whole numbers, so their sums, squares and products are asked for exactly:
each value is cut into v = 65,536·h + l, and the sums of products of the pieces fit 64 bits on
every engine (while the sum of the values is below 2^47). Put together in Python they are the same
to the last bit on every engine and in every run, and are centred without loss. Only the third
moment, which serves a check, is a sum of doubles about a constant near the mean.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa

from analytics.catalog import ENTITY, Catalog, Dimension, Measure, Metric, folded
from analytics.entities import rows_of
from analytics.errors import UserError
from analytics.measure import holds, per_person, value_of
from analytics.methods.experiment.arms import Kind
from analytics.methods.experiment.moments import Moments
from analytics.result import Unit
from analytics.scope import Scope, column_of, instant
from storage.schema import events, exposures, people
from storage.sql import Sql, dbl, dsum, epoch_s, icount, idiv, isum

#: Where a value is cut in two: its pieces' products sum within 64 bits.
PIECE = 65_536

#: Whose values are read: those of all people, or only of those who did anything at all.
Who = Literal["everyone", "doers"]

#: The days before the first exposure from which an adjusted outcome learns.
DAYS_BEFORE = 28

#: Capped outcomes are cut at this quantile of all arms together, in thousandths.
CAP_THOUSANDTHS = 999


@dataclass(frozen=True)
class Outcome:
    """A metric per exposed person.

    `kind` proportion: the share of people with any; mean: `top` per person; ratio: the sum of
    `top` over the sum of `bottom`, the person staying the unit; quantile: the value that the share
    `at` of `top`'s rows do not exceed, the person staying the unit. `scale` multiplies what is
    shown (NPS: 100). `capped` values are cut at the 99.9th percentile of all arms together. A
    ratio over less than `minimum` is not told. `adjusted` ones come with the same measure over the
    28 days before the exposure, which tells much of a person's later doings (CUPED).
    """

    name: str
    label: str
    unit: Unit
    kind: Kind | Literal["quantile"]
    top: Measure
    bottom: Measure | None = None
    scale: float = 1.0
    more_is_better: bool = True
    capped: bool = False
    minimum: int = 0
    adjusted: bool = False
    at: float = 0.0

    @property
    def entity(self) -> str:
        """The entity whose rows are summed."""
        return self.top.entity

    @property
    def paired(self) -> bool:
        """Whether a second value of each person, x, stands beside the first."""
        return self.bottom is not None or self.adjusted


SALE = (("kind", ("sale",)),)

#: What an experiment is judged by unless another metric is asked for.
ORDERED = Outcome(
    "ordered", "People who ordered", "share", "proportion", Measure("orders", "count", where=SALE)
)


class NoOutcomeError(UserError):
    """The metric can't be read per person after an exposure."""

    code = "no_outcome"


def adjusted(outcome: Outcome) -> Outcome:
    """The outcome beside what was done before; ratios, quantiles and day counts stay as is."""
    can = outcome.kind not in ("ratio", "quantile") and ENTITY[outcome.entity].clock == "at"
    return replace(outcome, adjusted=can)


QUANTILE = re.compile(r"(?:p(?P<percent>\d{1,2}(?:\.\d)?)|(?P<median>median)(?: of)?)\s+(?P<of>.+)")


def named_outcome(said: str, catalog: Catalog) -> Outcome:
    """What a name stands for: a metric, `p90 order value`, or empty for the people who ordered.

    Raises UnknownNameError or NoOutcomeError.
    """
    if not said or folded(said) in ("ordered", "order", "people who ordered"):
        return ORDERED
    quantile = QUANTILE.fullmatch(said.strip().casefold())
    if quantile is None:
        return outcome_of(catalog.find_metric(said))
    percent = 50.0 if quantile["median"] else float(quantile["percent"])
    return quantile_of(catalog.find_metric(quantile["of"]), percent)


def quantile_of(metric: Metric, percent: float) -> Outcome:
    """The percentile of the values that the metric adds up, one per row (an order, a session).

    Raises NoOutcomeError where the metric adds up none.
    """
    top, bottom = metric.numerator, metric.denominator
    if not 0 < percent < 100:
        raise NoOutcomeError("A percentile is above 0 and below 100.", hint="Say `p90 revenue`.")
    one_of_each = bottom is None or (bottom.aggregate == "count" and bottom.entity == top.entity)
    of_people = top.entity in ("people", "buyers")
    if top.aggregate != "sum" or top.reach != "period" or not one_of_each or of_people:
        raise NoOutcomeError(
            f"{metric.label} has no percentiles: it does not add up one value per row.",
            hint="Try `metric p90 order value` or `metric median time spent`.",
        )
    what = re.sub(r" \(mean\)$", "", metric.label[0].lower() + metric.label[1:])
    what = f"{what.removeprefix('average ')} value" if what.startswith("average ") else what
    place = "Median" if percent == 50 else f"{percent:g}th percentile of"
    return Outcome(
        f"p{percent:g} {metric.name}",
        f"{place} {what}",
        metric.unit,
        "quantile",
        top,
        more_is_better=metric.more_is_better is not False,
        at=percent / 100,
    )


def outcome_of(metric: Metric) -> Outcome:
    """The metric per exposed person. Raises NoOutcomeError where it has no such meaning."""
    top, bottom = metric.numerator, metric.denominator
    if metric.name == "buyers":
        return ORDERED
    for measure in (top, *([bottom] if bottom else [])):
        why = ""
        if measure.entity in ("people", "buyers"):
            why = f"it counts {ENTITY[measure.entity].label}, not what a person does"
        elif measure.reach != "period":
            why = "it looks back over a fixed number of days"
        if why:
            raise NoOutcomeError(
                f"{metric.label} can't be measured per exposed person: {why}.",
                hint="Try `metric revenue`, `metric orders` or `metric conversion`.",
            )
    better = metric.more_is_better is not False
    if bottom is not None and bottom.aggregate != "days":
        if bottom.entity != top.entity:
            raise NoOutcomeError(
                f"{metric.label} can't be measured per exposed person: its parts come from "
                f"{ENTITY[top.entity].label} and {ENTITY[bottom.entity].label}.",
                hint="Try `metric revenue`, `metric orders` or `metric conversion`.",
            )
        return Outcome(
            metric.name,
            metric.label,
            metric.unit,
            "ratio",
            top,
            bottom,
            metric.scale,
            better,
            minimum=metric.minimum,
        )
    if top.aggregate == "distinct" and top.column == "person_id":
        return Outcome(metric.name, metric.label, "share", "proportion", top, None, 1.0, better)
    unit: Unit = "number" if metric.unit in ("count", "number") else metric.unit
    label = f"{metric.label} per person"
    return Outcome(
        metric.name, label, unit, "mean", top, None, metric.scale, better, top.aggregate == "sum"
    )


# --- who was exposed ----------------------------------------------------------------------------


def first_exposures(experiment: str, scope: Scope) -> sa.Subquery:
    """One row per exposed person: variant, exposed_at, local day; `mixed` is 1 for those in two.

    Who was exposed before the scope's days is not among them: what they saw may have sent some
    away already.
    """
    at = sa.func.min(exposures.c.exposed_at)
    first = (
        sa.select(
            exposures.c.person_id,
            at.label("exposed_at"),
            sa.func.min(exposures.c.variant).label("variant"),
            sa.func.max(exposures.c.variant).label("last_variant"),
        )
        .where(
            exposures.c.experiment == experiment,
            exposures.c.exposed_at < instant(scope.until),
            *scope.whose(exposures.c.person_id),
        )
        .group_by(exposures.c.person_id)
        .having(at >= instant(scope.windows[0].since))
        .subquery("first")
    )
    return sa.select(
        first.c.person_id,
        first.c.variant,
        first.c.exposed_at,
        scope.local_day(first.c.exposed_at).label("day"),
        sa.case((first.c.variant == first.c.last_variant, 0), else_=1).label("mixed"),
    ).subquery("exposed")


def head_counts(experiment: str, scope: Scope) -> sa.Select[*tuple[Any, ...]]:
    """People per variant and day of first exposure; `mixed` 1 counts those in several variants."""
    exposed = first_exposures(experiment, scope)
    keys = (exposed.c.variant, exposed.c.day, exposed.c.mixed)
    return sa.select(*keys, icount().label("people")).group_by(*keys).order_by(*keys)


def units_of(experiment: str, scope: Scope, by: Dimension | None = None) -> sa.CTE:
    """The people who were in one variant only; `segment` is theirs at the exposure."""
    exposed = first_exposures(experiment, scope)
    columns = (exposed.c.person_id, exposed.c.variant, exposed.c.exposed_at, exposed.c.day)
    clean = sa.select(*columns).where(exposed.c.mixed == 0)
    if by is None:
        return clean.cte("units")
    units = clean.cte("exposed_units")
    value, joined = segment_of(units, by, scope)
    return sa.select(*units.c, value.label("segment")).select_from(joined).cte("units")


def segment_of(units: sa.CTE, by: Dimension, scope: Scope) -> tuple[Sql, sa.FromClause]:
    """A dimension's value before the experiment could change it, and where it is joined.

    It is that of the latest event up to the exposure, else the person's own. Raises
    NoOutcomeError where neither knows the dimension.
    """
    known: list[Sql] = []
    joined: sa.FromClause = units
    if by.path("events") and (by.name, "events") not in scope.blank:
        value = column_of(by, "events", events)
        ranked = (
            sa.select(
                units.c.person_id,
                value.label("value"),
                sa.func.row_number()
                .over(
                    partition_by=units.c.person_id,
                    order_by=(events.c["at"].desc(), events.c.event_id),
                )
                .label("place"),
            )
            .join_from(units, events, events.c.person_id == units.c.person_id)
            .where(events.c["at"] <= units.c.exposed_at, value.is_not(None))
            .subquery("seen")
        )
        # grouped, though there is one row each: SQLite joins a bare filter by nested loops
        latest = (
            sa.select(ranked.c.person_id, sa.func.max(ranked.c.value).label("value"))
            .where(ranked.c.place == 1)
            .group_by(ranked.c.person_id)
        )
        last = latest.subquery("last_seen")
        joined = joined.outerjoin(last, last.c.person_id == units.c.person_id)
        known.append(last.c.value)
    if by.path("people") and (by.name, "people") not in scope.blank:
        joined = joined.outerjoin(people, people.c.person_id == units.c.person_id)
        known.append(column_of(by, "people", people))
    if not known:
        raise NoOutcomeError(
            f"Nothing tells people's {by.label.lower()} before they were exposed.",
            hint="Segments must be known beforehand, such as `by country` or `by device`.",
        )
    return (sa.func.coalesce(*known) if len(known) > 1 else known[0]), joined


def exposure_logging(units: sa.CTE, scope: Scope) -> sa.Select[*tuple[Any, ...]]:
    """Per variant: people, those with an event in the day `before` the exposure, the `silent` ones.

    Silent are those without any event from the exposure on.
    """
    earliest = epoch_s(units.c.exposed_at) - sa.literal_column("86400")
    before = sa.and_(events.c["at"] < units.c.exposed_at, epoch_s(events.c["at"]) >= earliest)
    seen = (
        sa.select(
            units.c.person_id,
            sa.func.max(sa.case((before, 1), else_=0)).label("before"),
            sa.func.max(sa.case((events.c["at"] >= units.c.exposed_at, 1), else_=0)).label("after"),
        )
        .join_from(units, events, events.c.person_id == units.c.person_id)
        .where(events.c["at"] < instant(scope.until))
        .group_by(units.c.person_id)
        .subquery("seen")
    )
    return (
        sa.select(
            units.c.variant,
            icount().label("people"),
            isum(sa.func.coalesce(seen.c.before, 0)).label("before"),
            isum(1 - sa.func.coalesce(seen.c.after, 0)).label("silent"),
        )
        .select_from(units.outerjoin(seen, seen.c.person_id == units.c.person_id))
        .group_by(units.c.variant)
        .order_by(units.c.variant)
    )


# --- what they did ------------------------------------------------------------------------------


def values_after(units: sa.CTE, outcome: Outcome, scope: Scope) -> sa.CTE:
    """The rows' values after each person's exposure: variant, person_id, value."""
    rows, late = after_exposure(units, outcome.entity, scope)
    value = value_of(rows, outcome.top.column)
    wanted = [holds(rows, column, values) for column, values in outcome.top.where]
    return (
        sa.select(rows.c.given.label("variant"), rows.c.person_id, value.label("value"))
        .where(late, value.is_not(None), *wanted)
        .cte("after")
    )


def value_counts(values: sa.CTE) -> sa.Select[*tuple[Any, ...]]:
    """How many values each variant has."""
    counted = sa.select(values.c.variant, icount().label("values")).group_by(values.c.variant)
    return counted.order_by(values.c.variant)


def values_at(values: sa.CTE, places: Mapping[str, Sequence[int]]) -> sa.Select[*tuple[Any, ...]]:
    """The values at these places, from 1, of each variant's in order: variant, place, value."""
    order = values.c.value
    place = sa.func.row_number().over(partition_by=values.c.variant, order_by=order)
    ranked = sa.select(values.c.variant, values.c.value, place.label("place")).subquery("ranked")
    wanted = [
        sa.and_(ranked.c.variant == variant, ranked.c.place.in_(sorted(set(numbers))))
        for variant, numbers in places.items()
    ]
    columns = (ranked.c.variant, ranked.c.place, ranked.c.value)
    return sa.select(*columns).where(sa.or_(*wanted)).order_by(ranked.c.variant, ranked.c.place)


def below_sums(values: sa.CTE, edges: Mapping[str, int]) -> sa.Select[*tuple[Any, ...]]:
    """Per variant over people: n, Σy, Σy², Σx, Σx², Σxy; y counts values up to the edge, x all."""
    edge = sa.case(*((values.c.variant == v, sa.literal(e)) for v, e in edges.items()))
    each = (
        sa.select(
            values.c.variant,
            values.c.person_id,
            icount().label("x"),
            isum(sa.case((values.c.value <= edge, 1), else_=0)).label("y"),
        )
        .group_by(values.c.variant, values.c.person_id)
        .subquery("each")
    )
    x, y = each.c.x, each.c.y
    return (
        sa.select(
            each.c.variant,
            icount().label("n"),
            isum(y).label("y1"),
            isum(y * y).label("y2"),
            isum(x).label("x1"),
            isum(x * x).label("x2"),
            isum(x * y).label("xy"),
        )
        .group_by(each.c.variant)
        .order_by(each.c.variant)
    )


def outcome_sums(
    units: sa.CTE,
    key: str,
    outcomes: Sequence[Outcome],
    scope: Scope,
    people_in_all: int,
    who: Who = "everyone",
) -> sa.Select[*tuple[Any, ...]]:
    """Sums of one entity's outcomes per variant and `key` ("day" or "segment").

    Per outcome i: `s{i}` Σy; `hh{i}`, `hl{i}`, `ll{i}` the pieces of Σy²; `c{i}` the constant of
    `k{i}` = Σ(y−c)³; `p{i}` how many have y > 0. Where a second value x stands beside y (the
    denominator of a ratio, or what was done before): `xs{i}`, `xhh{i}`, `xhl{i}`, `xll{i}` for x
    and `zhh{i}`, `zhl{i}`, `zll{i}` for the product. `people_in_all` are the units of all
    variants: it places the cap. `who` "doers" reads only people with any row of the entity, which
    is far less work; the zeros of the others are for `moments_of` to add.
    """
    measures = list(dict.fromkeys(m for o in outcomes for m in (o.top, o.bottom) if m is not None))
    entity = outcomes[0].entity
    done = per_person(measures, *after_exposure(units, entity, scope)).subquery("done")
    joined = units.join(done, done.c.person_id == units.c.person_id, isouter=who == "everyone")
    early = list(dict.fromkeys(o.top for o in outcomes if o.adjusted))
    if early:
        past = per_person(early, *before_exposure(units, entity, scope)).subquery("past")
        joined = joined.outerjoin(past, past.c.person_id == units.c.person_id)
    values: list[Sql] = []
    for i, o in enumerate(outcomes):
        y: Sql = sa.func.coalesce(done.c[f"m{measures.index(o.top)}"], 0)
        values.append(
            (sa.case((y > 0, 1), else_=0) if o.kind == "proportion" else y).label(f"y{i}")
        )
        if o.bottom is not None:
            x: Sql = done.c[f"m{measures.index(o.bottom)}"]
            values.append(sa.func.coalesce(x, 0).label(f"x{i}"))
        elif o.adjusted:
            x = past.c[f"m{early.index(o.top)}"]
            values.append(sa.func.coalesce(x, 0).label(f"x{i}"))
    raw = sa.select(units.c.variant, units.c[key], *values).select_from(joined).cte("outcomes")
    capped, pieces = with_caps(raw, key, outcomes, people_in_all), []
    middle = middles(capped, outcomes)
    for i, o in enumerate(outcomes):
        for name in (f"y{i}", *([f"x{i}"] if o.paired else [])):
            value = capped.c[name]
            high = quotient(value)
            pieces += [value, high.label(f"{name}h"), (value - high * PIECE).label(f"{name}l")]
    split = (
        sa.select(capped.c.variant, capped.c[key], *pieces, *middle.c)
        .select_from(capped.join(middle, sa.true()))
        .subquery("pieces")
    )
    columns: list[Sql] = []
    for i, o in enumerate(outcomes):
        y = split.c[f"y{i}"]
        away = dbl(y - split.c[f"c{i}"])
        columns += [
            isum(y).label(f"s{i}"),
            *products(split, f"y{i}", f"y{i}", "", i),
            dsum(away * away * away).label(f"k{i}"),
            sa.func.max(split.c[f"c{i}"]).label(f"c{i}"),
            isum(sa.case((y > 0, 1), else_=0)).label(f"p{i}"),
        ]
        if o.paired:
            columns += [
                isum(split.c[f"x{i}"]).label(f"xs{i}"),
                *products(split, f"x{i}", f"x{i}", "x", i),
                *products(split, f"x{i}", f"y{i}", "z", i),
            ]
    keys = (split.c.variant, split.c[key])
    return sa.select(*keys, icount().label("n"), *columns).group_by(*keys).order_by(*keys)


def after_exposure(units: sa.CTE, entity: str, scope: Scope) -> tuple[sa.FromClause, Sql]:
    """The entity's rows of exposed people with the variant that was `given`, and the condition that
    they came after the exposure.
    """
    rows = rows_of(entity, scope)
    by_day = ENTITY[entity].clock == "day"
    exposed = (units.c.day if by_day else units.c.exposed_at).label("exposed")
    joined = (
        sa.select(*rows.c, units.c.variant.label("given"), exposed)
        .join_from(rows, units, units.c.person_id == rows.c.person_id)
        .subquery("of_exposed")
    )
    return joined, joined.c["day" if by_day else "at"] >= joined.c.exposed


def before_exposure(units: sa.CTE, entity: str, scope: Scope) -> tuple[sa.FromClause, Sql]:
    """The entity's rows of exposed people, and the condition that they came shortly before."""
    rows = rows_of(entity, scope.looking_back(scope.windows[0].days + DAYS_BEFORE))
    joined = (
        sa.select(*rows.c, units.c.exposed_at.label("exposed"))
        .join_from(rows, units, units.c.person_id == rows.c.person_id)
        .subquery("before_exposed")
    )
    earliest = epoch_s(joined.c.exposed) - sa.literal_column(str(86_400 * DAYS_BEFORE))
    at = joined.c["at"]
    return joined, sa.and_(at < joined.c.exposed, epoch_s(at) >= earliest)


def with_caps(
    raw: sa.CTE, key: str, outcomes: Sequence[Outcome], people_in_all: int
) -> sa.FromClause:
    """Capped outcomes cut at the 99.9th percentile of all people: the value with 0.1 % above it.

    What they did before is cut there too. Where no more than 0.1 % have a value above zero,
    everything would be cut away: then nothing is.
    """
    if not any(o.capped for o in outcomes):
        return raw
    above = people_in_all - -(-CAP_THOUSANDTHS * people_in_all // 1_000)
    edges: list[Sql] = []
    columns: list[Sql] = []
    chosen = [i for i, o in enumerate(outcomes) if o.capped]
    for i in chosen:
        y = raw.c[f"y{i}"]
        ranked = sa.select(y).where(y > 0).order_by(y.desc())
        place = ranked.limit(1).offset(above).correlate(None)
        edges += [
            sa.func.max(y).label(f"most{i}"),
            place.scalar_subquery().label(f"place{i}"),
        ]
    edge = sa.select(*edges).select_from(raw).subquery("edges").c
    caps = sa.select(
        *(sa.func.coalesce(edge[f"place{i}"], edge[f"most{i}"]).label(f"cap{i}") for i in chosen)
    ).cte("caps")
    for i, o in enumerate(outcomes):
        y = raw.c[f"y{i}"]
        if o.capped:
            limit = caps.c[f"cap{i}"]
            columns.append(sa.case((y > limit, limit), else_=y).label(f"y{i}"))
            if o.adjusted:
                x = raw.c[f"x{i}"]
                columns.append(sa.case((x > limit, limit), else_=x).label(f"x{i}"))
        else:
            columns += [y, *([raw.c[f"x{i}"]] if o.paired else [])]
    return (
        sa.select(raw.c.variant, raw.c[key], *columns)
        .select_from(raw.join(caps, sa.true()))
        .cte("capped")
    )


def middles(values: sa.FromClause, outcomes: Sequence[Outcome]) -> sa.CTE:
    """A whole number near each outcome's mean, over all variants."""
    columns = [
        sa.func.coalesce(idiv(isum(values.c[f"y{i}"]), icount()), 0).label(f"c{i}")
        for i in range(len(outcomes))
    ]
    return sa.select(*columns).cte("middles")


def quotient(value: Sql) -> Sql:
    """A value's upper piece; engines may round towards zero or down: the lower piece makes up."""
    return idiv(value, sa.literal_column(str(PIECE)))  # type: ignore[no-any-return]


def products(source: sa.FromClause, a: str, b: str, prefix: str, i: int) -> list[Sql]:
    """The pieces of Σa·b: high times high, the two mixed products, low times low."""
    ah, al, bh, bl = (source.c[f"{v}{piece}"] for v in (a, b) for piece in "hl")
    return [
        isum(ah * bh).label(f"{prefix}hh{i}"),
        isum(ah * bl + al * bh).label(f"{prefix}hl{i}"),
        isum(al * bl).label(f"{prefix}ll{i}"),
    ]


def moments_of(
    row: Mapping[str, Any], i: int, outcome: Outcome, x_shift: int = 0, people: int = 0
) -> Moments:
    """The moments of outcome `i` in a row of `outcome_sums`, about its constant.

    `x_shift` is a constant near the denominator's mean, the same for all rows. `people` are all
    who belong to the row, where only the doers were read: the others' values are 0.
    """
    n, c, y = max(people, row["n"]), row[f"c{i}"], row[f"s{i}"]
    idle = n - row["n"]
    x = xx = xy = 0
    if outcome.paired:
        x, xx, xy = row[f"xs{i}"], whole(row, "x", i), whole(row, "z", i)
    d = x_shift
    return Moments(
        n=n,
        shift=float(c),
        y1=float(y - n * c),
        y2=float(whole(row, "", i) - 2 * c * y + n * c * c),
        y3=row[f"k{i}"] - float(idle * c**3),
        positives=row[f"p{i}"],
        x_shift=float(d),
        x1=float(x - n * d),
        x2=float(xx - 2 * d * x + n * d * d),
        xy=float(xy - c * x - d * y + n * c * d),
    )


def whole(row: Mapping[str, Any], prefix: str, i: int) -> int:
    """A sum of products put together from its pieces."""
    hh, hl, ll = (int(row[f"{prefix}{piece}{i}"]) for piece in ("hh", "hl", "ll"))
    return PIECE * PIECE * hh + PIECE * hl + ll
