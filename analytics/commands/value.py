"""value: what the people we know will bring, and who of them is still there."""

import datetime as dt
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, assert_never

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from analytics.command import Command, Context, says
from analytics.entities import rows_of
from analytics.errors import NotEnoughDataError
from analytics.measure import spans_of
from analytics.methods.lifetime import (
    Amounts,
    Histories,
    Lives,
    NoFitError,
    SameAmounts,
    concentration,
    fit_amounts,
    fit_lives,
    same_amounts,
)
from analytics.parts import (
    EVERYBODY,
    MOST_PEOPLE,
    Shard,
    crowd_of,
    drawn_words,
    parts_of,
    sample_of,
)
from analytics.period import DAY, Period, between
from analytics.result import Chart, Column, Figure, Note, Part, Result, Series, Table
from analytics.saved import in_segments, nobody_in
from analytics.scope import Filters, Scope, day_number, day_of, in_words, instant, scope_of
from analytics.words import counted, date_words, share_words, short_words, words
from storage.schema import orders
from storage.sql import Sql, isum

#: Of people too many to be read at once, so many are learnt from: they tell the models' few
#: parameters to the third digit.
LEARN_FROM = 500_000
#: Fewer people who came again do not tell how people differ.
LEAST_REPEAT_BUYERS = 200
#: The check against what came later needs so many before the cut.
LEAST_TO_CHECK = 100
#: The check holds back at most this share of the history.
MOST_HELD_BACK = 1 / 3
WEEK = 7.0
#: Above this, what people spend depends on how often they order, which Gamma-Gamma rules out.
LOOSE_CORRELATION = 0.3
MOST_NAMED = 500
GROUPS = 10
#: What is kept of each person.
TOLD = ["orders", "alive", "chance", "expected", "value"]

Floats = NDArray[np.float64]
AnyAmounts = Amounts | SameAmounts


@dataclass(frozen=True, kw_only=True)
class Value(Command):
    """What each known buyer will bring: expected orders and money in the days to come.

    Learnt from when people ordered and what they spent (BG/NBD and Gamma-Gamma), for those whose
    first order lies in the period. Checked on the last part of the history, which the model did not
    see. `top 20` names the people who will bring most, for you alone.
    """

    group: ClassVar = "People"
    examples: ClassVar = (
        "value",
        "value next 30 days",
        'value where country:"United Kingdom" next 180 days',
    )
    aliases: ClassVar = ("clv", "ltv", "lifetime-value")

    period: Period = says("all time", help="people whose first order lies in it, and their orders")
    where: Filters = says(Filters(), help="only orders like these")
    horizon: int = says(
        90, words=("next", "horizon"), unit="days", low=7, high=730, help="how many days ahead"
    )
    top: int | None = says(
        None, words=("top",), unit="count", low=1, high=MOST_NAMED,
        help="how many people to name; they are shown to you alone",
    )  # fmt: skip

    @property
    def shows_people(self) -> bool:
        """Whether single people are named."""
        return self.top is not None

    def run(self, ctx: Context) -> Result:
        """Fetch histories, fit, check on the last part of them, foresee."""
        period = known_days(ctx, self.period)
        scope = scope_of(ctx.store, ctx.catalog, ctx.zone, [("history", period)], self.where)
        ctx.tell("Reading when each person ordered")
        held_back = min(self.horizon, int(period.days * MOST_HELD_BACK))
        cut = period.end - held_back * DAY
        everybody = scope.of_everybody()
        read = functools.partial(
            histories, ctx, everybody, cut, held_back, whole=period.start <= self.period.start
        )
        crowd = crowd_of(ctx, everybody, MOST_PEOPLE)
        sample = sample_of(crowd, LEARN_FROM)
        drawn = read(sample)
        again = int((drawn["orders"] > 1).sum())
        if again < LEAST_REPEAT_BUYERS:
            of = "" if sample.is_all else " of a sample"
            raise NotEnoughDataError(
                f"Only {counted(again, 'person', 'people')}{of} came back on another day; a "
                f"forecast needs {LEAST_REPEAT_BUYERS}.",
                hint="Ask for a longer period, or fewer filters.",
            )
        learnt = before(drawn, period.end)
        try:
            lives, amounts = fit(learnt)
        except NoFitError as error:
            raise NotEnoughDataError(
                "People's orders do not tell how long they stay: the model finds no best fit.",
                hint="Ask for a longer period, or fewer filters.",
            ) from error

        def foreseen(part: Shard) -> pd.DataFrame:
            people = in_segments(ctx, scope, drawn if part == sample else read(part), part)
            return foresee(people, before(people, period.end), lives, amounts, self.horizon)

        people, best, kept = together(ctx, crowd, foreseen, self.top or 0)
        if people.empty:
            raise nobody_in(scope)
        check = checked(drawn, cut, held_back)
        return self.say(
            ctx,
            Forecast(
                period, people, best, kept, learnt, lives, amounts, check, scope, crowd, sample
            ),
        )

    def say(self, ctx: Context, found: "Forecast") -> Result:
        """Totals, tenths, who is still there, how well it went before."""
        people, ahead = found.people, counted(self.horizon, "day")
        total = float(people["value"].sum())
        title = f"Value in the next {ahead}"
        if found.scope.filters:
            title += f" ({found.scope.filters.words()})"
        leaving = found.lives.leaving
        tenths = tenths_of(people, leaving)
        parts: list[Part] = [
            *totals(people, found),
            tenths,
            Chart(
                f"Expected value in the next {ahead}, by tenth of the buyers",
                "bar",
                tuple(str(row[0]) for row in tenths.rows),
                (Series("Expected value", tuple(row[4] for row in tenths.rows)),),  # type: ignore[misc]
                "money",
                x_label="Tenth of the buyers, best first",
                y_label="Expected value",
            ),
            by_orders(people, leaving),
            chances_chart(people, leaving, ahead),
        ]
        if self.top:
            parts.append(named(found.best, len(people), leaving))
        best = float(people.loc[people["tenth"] == 0, "value"].sum()) / total
        text = (
            f"{counted(len(people), 'known buyer')} should bring "
            f"{short_words(total, 'money', ctx.currency)} in the next {ahead}, "
            f"{share_words(round(best, 2))} of it from the best tenth"
        )
        if found.check:
            text += f"; {found.check.in_short()}"
        parts += card(found, self.horizon, ctx)
        return Result(title, f"{text}.", tuple(parts), self.next(found))

    def next(self, found: "Forecast") -> tuple[str, ...]:
        """The best by name, another horizon, and who will stop."""
        rest = f"next {self.horizon} days {found.scope.filters.said()}".strip()
        longer = 365 if self.horizon < 365 else 90
        return (
            f"value {self.period.words} top 20 {rest}",
            f"value {self.period.words} next {longer} days {found.scope.filters.said()}",
            f"churn {found.scope.filters.said()}",
        )


# --- fetch ---------------------------------------------------------------------------------------


def known_days(ctx: Context, period: Period) -> Period:
    """The part of the period in which the store has orders. Raises NotEnoughDataError."""
    span = spans_of(ctx.store, ctx.zone, ("orders",)).get("orders")
    if span is None:
        raise NotEnoughDataError(
            "No orders are loaded.", hint="Load orders with `load orders FILE`."
        )
    start, end = max(period.start, span.first), min(period.end, span.last + DAY)
    if start >= end:
        raise NotEnoughDataError(
            f"No orders {in_words(period)}.",
            hint=f"The orders run from {date_words(span.first)} to {date_words(span.last)}.",
        )
    return between(start, end)


def histories(
    ctx: Context,
    scope: Scope,
    cut: dt.date,
    days: int,
    part: Shard = EVERYBODY,
    *,
    whole: bool,
) -> pd.DataFrame:
    """One row per person of a part with a purchase, in the order of ids.

    A purchase is a local day with a sale that its returns did not undo; several orders of a day are
    one. `orders`, `amount`, `first_day`, `last_day`, `first_amount`, and the same `early_` before
    the day `cut`; `just_orders` lie in the `days` before it; `net` is all that the person paid less
    all returns. Unless `whole`, those who had bought before the period are left out.
    """
    dated = dated_orders(scope, part)
    sales = isum(sa.case((dated.c.kind == "sale", 1), else_=0))
    net = isum(dated.c.amount_cents)
    by_day = (
        sa.select(
            dated.c.person_id,
            dated.c.day,
            net.label("net"),
            sa.case((sa.and_(sales > 0, net > 0), 1), else_=0).label("buys"),
        )
        .group_by(dated.c.person_id, dated.c.day)
        .subquery("by_day")
    )
    number = sa.func.row_number().over(
        partition_by=(by_day.c.person_id, by_day.c.buys), order_by=by_day.c.day
    )
    days_of = sa.select(*by_day.c, number.label("number")).subquery("days_of")
    cut_day = day_number(cut)
    buys = days_of.c.buys == 1
    early = sa.and_(buys, days_of.c.day < cut_day)
    just = sa.and_(early, days_of.c.day >= cut_day - days)
    chosen = (
        sa.select(
            days_of.c.person_id,
            sa.func.min(sa.case((buys, days_of.c.day))).label("first_day"),
            sa.func.max(sa.case((buys, days_of.c.day))).label("last_day"),
            total(buys, 1).label("orders"),
            total(buys, days_of.c.net).label("amount"),
            total(sa.and_(buys, days_of.c.number == 1), days_of.c.net).label("first_amount"),
            sa.func.max(sa.case((early, days_of.c.day))).label("early_last_day"),
            total(early, 1).label("early_orders"),
            total(early, days_of.c.net).label("early_amount"),
            total(just, 1).label("just_orders"),
            isum(days_of.c.net).label("net"),
        )
        .group_by(days_of.c.person_id)
        .having(sa.func.max(days_of.c.buys) == 1)
    )
    if not whole:
        chosen = chosen.where(days_of.c.person_id.not_in(earlier_buyers(scope, part)))
    found = ctx.store.frame(chosen)
    return found.sort_values("person_id", kind="stable").reset_index(drop=True)


def dated_orders(scope: Scope, part: Shard) -> sa.Subquery:
    """Orders and returns of known people of a part with their local day."""
    rows = rows_of("orders", scope)
    return (
        sa.select(
            rows.c.person_id,
            rows.c.kind,
            rows.c.amount_cents,
            scope.local_day(rows.c["at"]).label("day"),
        )
        .where(rows.c.person_id.is_not(None), *part.holds(rows.c.person_id))
        .subquery("dated")
    )


def total(condition: Sql, value: Any) -> Sql:
    """The sum where a condition holds."""
    return isum(sa.case((condition, value), else_=0))  # type: ignore[no-any-return]


def earlier_buyers(scope: Scope, part: Shard) -> sa.Select[*tuple[Any, ...]]:
    """Those who had bought anything before the period: how they began is not in it."""
    return sa.select(orders.c.person_id).where(
        orders.c.kind == "sale",
        orders.c.person_id.is_not(None),
        orders.c.ordered_at < instant(scope.since),
        *part.holds(orders.c.person_id),
    )


# --- compute -------------------------------------------------------------------------------------


def before(people: pd.DataFrame, end: dt.date, part: str = "") -> Histories:
    """The histories up to the day `end`, in weeks and minor units; `part` names the columns."""
    first = people["first_day"].to_numpy(dtype=np.float64)
    last = people[f"{part}last_day"].to_numpy(dtype=np.float64)
    repeats = people[f"{part}orders"].to_numpy(dtype=np.float64) - 1
    later = (people[f"{part}amount"] - people["first_amount"]).to_numpy(dtype=np.float64)
    return Histories(
        repeats,
        (last - first) / WEEK,
        (day_number(end) - 1 - first) / WEEK,
        np.where(repeats > 0, later / np.maximum(repeats, 1), 0.0),
    )


def fit(seen: Histories) -> tuple[Lives, AnyAmounts]:
    """Both models; without a Gamma-Gamma everybody's mean. Raises NoFitError."""
    try:
        return fit_lives(seen), fit_amounts(seen)
    except NoFitError:
        return fit_lives(seen), same_amounts(seen)


def foresee(
    people: pd.DataFrame, seen: Histories, lives: Lives, amounts: AnyAmounts, days: int
) -> pd.DataFrame:
    """`alive`, `chance` to order, `expected` orders and their `value` before later returns."""
    expected = lives.orders(days / WEEK, seen)
    return people.assign(
        alive=lives.alive(seen),
        chance=lives.chance(days / WEEK, seen),
        expected=expected,
        value=expected * amounts.expected(seen),
    )


def together(
    ctx: Context, crowd: int | None, foreseen: Callable[[Shard], pd.DataFrame], top: int
) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """All people, foreseen part by part; the `top` by value with their histories; what is kept.

    Of all are told: `orders`, `alive`, `chance`, `expected`, `value` less later returns, and the
    `tenth` of it. The share that is returned is everybody's, since few people return often enough
    to have one.
    """
    parts = parts_of(crowd, MOST_PEOPLE)
    told, best, net, amount = [], [], 0, 0
    for i, part in enumerate(parts):
        if len(parts) > 1:
            ctx.tell(f"Foreseeing everybody: part {i + 1} of {len(parts)}")
        people = foreseen(part)
        net, amount = net + int(people["net"].sum()), amount + int(people["amount"].sum())
        best.append(people.iloc[np.argsort(-people["value"].to_numpy(), kind="stable")[:top]])
        told.append(people[TOLD].astype({"orders": np.int32}))
        del people  # before the next are read
    everybody = pd.concat(told, ignore_index=True)
    kept = net / amount if amount else 1.0
    value = everybody["value"].to_numpy() * kept
    first = pd.concat(best, ignore_index=True)
    first = first.assign(value=first["value"] * kept)
    return (
        everybody.assign(value=value, tenth=concentration(value, GROUPS)),
        first.sort_values(["value", "person_id"], ascending=[False, True]).head(top),
        kept,
    )


@dataclass(frozen=True)
class Check:
    """What the model would have said at `cut` about the `days` after it, and what came.

    Orders and money of the people known then; `usual` is the baseline: as many orders as in as
    many days before the cut. Correlations are over people.
    """

    cut: dt.date
    days: int
    people: int
    orders: int
    expected: float
    usual: int
    amount: int
    expected_amount: float
    correlation: float
    usual_correlation: float
    error: float
    usual_error: float

    @property
    def amounts(self) -> tuple[float, float]:
        """The money that was expected, and that came."""
        return self.expected_amount, float(self.amount)

    def in_short(self) -> str:
        """For the headline: how far off it would have been."""
        same = f"the same forecast for the last {counted(self.days, 'day')}"
        off = self.expected_amount / self.amount - 1 if self.amount else 0.0
        if abs(off) < 0.01:
            return f"{same} was right to 1 %"
        return f"{same} was {share_words(round(abs(off), 2))} too {'high' if off > 0 else 'low'}"


def checked(people: pd.DataFrame, cut: dt.date, days: int) -> Check | None:
    """Fit on what was known at the cut, compare with what came; None where too little was."""
    known = people[people["early_orders"] > 0]
    if int((known["early_orders"] > 1).sum()) < LEAST_TO_CHECK or days < 1:
        return None
    seen = before(known, cut, "early_")
    try:
        lives, amounts = fit(seen)
    except NoFitError:
        return None
    expected = lives.orders(days / WEEK, seen)
    came = (known["orders"] - known["early_orders"]).to_numpy(dtype=np.float64)
    usual = known["just_orders"].to_numpy(dtype=np.float64)
    return Check(
        cut,
        days,
        len(known),
        int(came.sum()),
        float(expected.sum()),
        int(usual.sum()),
        int((known["amount"] - known["early_amount"]).sum()),
        float((expected * amounts.expected(seen)).sum()),
        correlation(expected, came),
        correlation(usual, came),
        float(np.abs(expected - came).mean()),
        float(np.abs(usual - came).mean()),
    )


def correlation(one: Floats, other: Floats) -> float:
    """Pearson's; 0 where one of them is the same for all."""
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


# --- say -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forecast:
    """All that was found of people, the `best` by value, and the models behind it.

    The models were `learnt` from the `sample` of the `crowd`, or from everybody where there is
    none; later returns leave the share `kept` of what people buy.
    """

    period: Period
    people: pd.DataFrame
    best: pd.DataFrame
    kept: float
    learnt: Histories
    lives: Lives
    amounts: AnyAmounts
    check: Check | None
    scope: Scope
    crowd: int | None
    sample: Shard


def totals(people: pd.DataFrame, found: Forecast) -> Iterator[Figure]:
    """Value, orders and who is still there, over all."""
    again = people["orders"].to_numpy() > 1
    yield Figure("Expected value", float(people["value"].sum()), "money")
    yield Figure("Expected orders", float(round(people["expected"].sum(), 1)), "number")
    yield Figure("People who will order", float(round(people["chance"].sum(), 1)), "number")
    if found.lives.leaving:
        yield Figure(
            "Repeat buyers still there",
            float(people["alive"].to_numpy()[again].mean()),
            "share",
            note=f"of {words(int(again.sum()), 'count')} who came back at least once",
        )


ALIVE = Column("alive", "Still there", "share")
COLUMNS = (
    Column("people", "People", "count"),
    Column("chance", "Will order", "share"),
    Column("expected", "Expected orders", "number"),
    Column("value", "Expected value", "money"),
    Column("share", "Share of value", "share"),
)


def columns_of(leaving: bool, *first: Column) -> tuple[Column, ...]:
    """The columns of a group of people; who is still there only where people leave."""
    return (*first, *COLUMNS, *((ALIVE,) if leaving else ()))


def tenths_of(people: pd.DataFrame, leaving: bool) -> Table:
    """People by tenths of expected value, the best first."""
    columns = columns_of(leaving, Column("tenth", "Tenth", "count"))
    return Table.of(
        "Buyers by expected value, best tenth first",
        columns,
        grouped(people, people["tenth"] + 1, "tenth"),
    )


def by_orders(people: pd.DataFrame, leaving: bool) -> Table:
    """People by how often they have ordered."""
    bounds = [0, 1, 2, 4, 9, np.inf]
    names = ["1", "2", "3 to 4", "5 to 9", "10 or more"]
    band = pd.cut(people["orders"], bounds, labels=names)
    columns = columns_of(leaving, Column("orders", "Orders so far"))
    return Table.of("Buyers by orders so far", columns, grouped(people, band, "orders"))


def grouped(people: pd.DataFrame, by: pd.Series, name: str) -> list[dict[str, Any]]:
    """Sums and means per group, in the groups' order."""
    whole = people["value"].sum()
    return [
        {
            name: group,
            "people": len(rows),
            "chance": rows["chance"].mean(),
            "alive": rows["alive"].mean(),
            "expected": rows["expected"].sum(),
            "value": rows["value"].sum(),
            "share": rows["value"].sum() / whole if whole > 0 else None,
        }
        for group, rows in people.groupby(by, observed=True)
    ]


def chances_chart(people: pd.DataFrame, leaving: bool, ahead: str) -> Chart:
    """How sure it is that people come again: repeat buyers still there, or orders in the horizon.

    Without anybody leaving all are there, and what differs is how soon they order.
    """
    if leaving:
        title = "Repeat buyers by the chance that they are still there"
        chances = people.loc[people["orders"] > 1, "alive"].to_numpy()
    else:
        title = f"Buyers by the chance that they order in the next {ahead}"
        chances = people["chance"].to_numpy()
    bands = np.minimum((chances * GROUPS).astype(np.int64), GROUPS - 1)
    counts = np.bincount(bands, minlength=GROUPS)
    return Chart(
        title,
        "bar",
        tuple(f"{i * 10}–{i * 10 + 10} %" for i in range(GROUPS)),
        (Series("People", tuple(int(n) for n in counts)),),
        "count",
        x_label="Chance",
        y_label="People",
    )


def named(best: pd.DataFrame, people: int, leaving: bool) -> Table:
    """The people who will bring most, of so many."""
    columns = (
        Column("person_id", "Person"),
        Column("orders", "Orders so far", "count"),
        Column("last", "Last order", "date"),
        Column("chance", "Will order", "share"),
        Column("expected", "Expected orders", "number"),
        Column("value", "Expected value", "money"),
        *((ALIVE,) if leaving else ()),
    )
    records = best.assign(last=[day_of(int(d)) for d in best["last_day"]])
    return Table.of(
        f"The {counted(len(best), 'person', 'people')} who will bring most",
        columns,
        ({str(k): v for k, v in r.items()} for r in records.to_dict("records")),
        of_rows=people if len(best) < people else None,
        person_level=True,
    )


def card(found: Forecast, horizon: int, ctx: Context) -> Iterator[Note]:
    """The model card: check, data, method, limits."""
    yield from quality(found.check, ctx.currency)
    seen, lives, amounts = found.learnt, found.lives, found.amounts
    if found.crowd:
        parts = counted(len(parts_of(found.crowd, MOST_PEOPLE)), "part")
        yield Note(
            f"Learnt from {drawn_words(found.sample, found.crowd)}, and checked on it. Everybody "
            f"was foreseen, in {parts}."
        )
    yield Note(
        f"Learnt from {counted(int(seen.repeats.sum()) + len(seen), 'purchase day')} of "
        f"{counted(len(seen), 'person', 'people')} from {date_words(found.period.start)} to "
        f"{date_words(found.period.last_day)}; several orders of a day count once, and a day whose "
        f"returns undo its sales does not count. Later returns take {share_words(1 - found.kept)} "
        "off everybody's value."
    )
    orders_by = f"r {lives.r:.3g}, alpha {lives.alpha:.3g}"
    if lives.leaving:
        orders_by = f"BG/NBD ({orders_by}, a {lives.a:.3g}, b {lives.b:.3g})"
    else:
        orders_by = f"NBD ({orders_by}), which is BG/NBD where nobody leaves"
        yield Note(
            "Nobody can be told to have left for good: every silence so far is as long as people's "
            "own pace explains. What differs is how often they order."
        )
    if lives.alike:
        yield Note("People order at one rate: their paces hardly differ.")
    yield Note(
        f"Orders by {orders_by}, amounts by {amounts_words(amounts, ctx.currency)}; both by "
        "maximum likelihood, with time in weeks."
    )
    again = seen.repeats > 0
    tied = correlation(np.log(seen.repeats[again]), np.log(np.maximum(seen.mean[again], 1)))
    if abs(tied) > LOOSE_CORRELATION:
        more = "more" if tied > 0 else "less"
        yield Note(
            f"Who orders often also spends {more} each time (correlation {tied:.2f}), which the "
            "model does not know: values of the busiest are less sure.",
            "warning",
        )
    one = "People with one order count as still there, and order rarely. " * lives.leaving
    yield Note(
        "It knows no seasons, campaigns or prices: it carries people's own habits on. "
        f"{one}Who first buys after {date_words(found.period.last_day)} is not in it."
    )
    if horizon > found.period.days:
        yield Note(
            f"{counted(horizon, 'day')} ahead is further than the {found.period.days} days of "
            "orders behind it.",
            "warning",
        )


def amounts_words(amounts: AnyAmounts, currency: str) -> str:
    """How amounts were foreseen."""
    match amounts:
        case Amounts():
            scale = words(round(amounts.v), "money", currency)
            return f"Gamma-Gamma (p {amounts.p:.3g}, q {amounts.q:.3g}, v {scale})"
        case SameAmounts():
            mean = words(round(amounts.mean), "money", currency)
            return f"everybody's mean of {mean} (people differ too little or too wildly for more)"
        case _:
            assert_never(amounts)


def quality(check: Check | None, currency: str) -> Iterator[Note]:
    """How it would have done on the last part of the history, beside the baseline."""
    if check is None:
        yield Note("The history is too short to check the forecast on its last part.", "warning")
        return
    better = check.error < check.usual_error
    people, days = counted(check.people, "person", "people"), counted(check.days, "day")
    money, came = (short_words(round(m), "money", currency) for m in check.amounts)
    yield Note(
        f"Check: fitted on what was known on {date_words(check.cut)}, it expected "
        f"{words(round(check.expected), 'count')} orders of {people} in the {days} after, and "
        f"{words(check.orders, 'count')} came ({money} against {came}). Correlation over people "
        f"{check.correlation:.2f}, mean error {check.error:.2f} orders; the baseline “as many "
        f"orders as in the {days} before” said {words(check.usual, 'count')}, "
        f"{check.usual_correlation:.2f} and {check.usual_error:.2f}.",
        "info" if better else "warning",
    )
