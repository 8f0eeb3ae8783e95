"""churn and purchase: who will stop ordering, who will order, how sure that is, and why."""

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analytics.catalog import SEGMENT
from analytics.command import Command, Context, says
from analytics.errors import NotEnoughDataError, UserError
from analytics.foresight import (
    LONGEST_LOOK,
    RECENCY,
    TRAITS,
    Floats,
    known_at,
    table_of,
    trait_words,
)
from analytics.measure import Span, spans_of
from analytics.methods.drift import MOVED, MOVED_FAR, Histogram, stability
from analytics.methods.portraits.clustering import one_thread
from analytics.methods.portraits.scaling import stable_sample
from analytics.methods.prediction import (
    KINDS,
    Driver,
    Kind,
    Model,
    Quality,
    best_kind,
    drivers,
    quality,
    rank_correlation,
    reasons,
    typical,
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
from analytics.period import DAY, between
from analytics.result import Chart, Column, Note, Part, Result, Series, Table
from analytics.saved import in_segments, nobody_in
from analytics.scope import Filters, Scope, day_of, scope_of
from analytics.words import EXPONENTS, counted, date_words, listed, share_words, short_words, words
from storage.runs import Run, Runs

#: People, and people of either outcome, that training and test must each have.
LEAST_PEOPLE = 200
LEAST_OF_EACH = 30
#: Of people too many to be read at once, so many are learnt from, even if few of them ordered
#: lately: areas under the curve are those of three million, within 0.001 (`benchmarks.crowd`).
LEARN_FROM = 500_000
#: Times at which the model learns, one horizon apart, and days that features look back at most.
MOST_CUTS = 2
FOLDS = 3
#: People on whom the kind of model is chosen.
CHOOSE_ON = 5_000
#: A lead over the baseline in area under the curve that is worth a model.
WORTH_A_MODEL = 0.01
#: A driver whose mean has moved by so many deviations since training has drifted.
DRIFTED = 0.5
#: The model's mean risk this far from what came in the test is said.
MISJUDGED = 0.05
SHOWN_REASONS = 2
#: A reason adds so much to a chance, at least.
LEAST_REASON = 0.01
SHOWN_DRIVERS = 8
MOST_NAMED = 500

Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Churn(Command):
    """Who will stop ordering, what that costs, why, and whether acting on it pays.

    People who ordered lately are judged by what they did before today; stopping is no order within
    the horizon. The model learns at earlier cuts in time and is tested at a later one. `top 100`
    names those whose loss would cost most, for you alone; with a `budget` it says what acting on
    them is expected to bring.
    """

    group: ClassVar = "People"
    examples: ClassVar = ("churn next 60 days", "churn top 100 budget 5000")
    aliases: ClassVar = ("churners", "leaving")

    horizon: int = says(
        90, words=("next", "horizon"), unit="days", low=7, high=365,
        help="without an order for so long, a person has stopped",
    )  # fmt: skip
    where: Filters = says(Filters(), help="only orders like these")
    top: int | None = says(
        None, words=("top",), unit="count", low=1, high=MOST_NAMED,
        help="how many people to name; they are shown to you alone",
    )  # fmt: skip
    budget: float | None = says(
        None, words=("budget",), unit="number", low=0,
        help="what acting on the named people costs in all, in the store's currency",
    )  # fmt: skip
    saved: float = says(
        0.1, words=("saved", "save-rate"), unit="share", low=0.001, high=1,
        help="of those who would stop, the share that acting keeps: your assumption",
    )  # fmt: skip

    @property
    def shows_people(self) -> bool:
        """Whether single people are named."""
        return self.top is not None

    def run(self, ctx: Context) -> Result:
        """Learn, test, judge today's people, say."""
        if self.budget is not None and self.top is None:
            raise UserError(
                "A budget is spent on people: say how many.",
                hint=f"Try `churn top 100 budget {self.budget:g}`.",
            )
        question = Question(self.horizon, self.where, stays=False)
        study = studied(ctx, question)
        if not study.is_a_model:
            return no_model(ctx, study, "segment last 90 days")
        people = judged(ctx, study, self.top or 0, by="stake")
        lost = float(people.stake.sum())
        ahead = counted(self.horizon, "day")
        text = (
            f"About {short_words(round(float(people.risk.sum())), 'count')} of "
            f"{counted(len(people), 'recent buyer')} will not order in the next {ahead}: "
            f"{short_words(round(lost), 'money', ctx.currency)} of their usual spending"
        )
        if study.drivers:
            text += f"; what tells most is {TRAITS[study.drivers[0].feature].label}"
        parts: list[Part] = []
        if self.top:
            if self.budget is not None:
                acting = self.acting(ctx, people)
                parts.append(acting)
                brings = acting.rows[0][-1]
                text += (
                    f"; acting on the {counted(len(people.best), 'person', 'people')} with most at "
                    f"stake should bring {short_words(brings, 'money', ctx.currency)} after its "
                    "cost"
                )
            parts.append(named(ctx, study, people, "Will stop", "At stake"))
        parts = [
            risk_table(people, "Expected to stop", "At stake"),
            test_chart(study, "stopped"),
            *parts,
            *explained(ctx, study),
            Note(
                "At stake is what a person usually spends in such a time (by the last "
                f"{study.plan.look} days), times the chance that they stop."
            ),
        ]
        if self.budget is not None:
            parts.append(
                Note(
                    f"That acting keeps {share_words(self.saved)} of those who would stop is an "
                    "assumption: say your own with `saved 5%`, or test it with half of the people "
                    "left alone.",
                    "warning",
                )
            )
        said = self.where.said()
        follow_ups = (
            f"churn next {self.horizon} days {said} top 100 budget 5000",
            f"purchase next 30 days {said}",
            "segment last 180 days",
        )
        return Result(f"Churn in the next {ahead}", f"{text}.", tuple(parts), follow_ups)

    def acting(self, ctx: Context, people: "Judged") -> Table:
        """What acting on the best is expected to bring, beside as many people at random."""
        best = people.best
        cents = round((self.budget or 0.0) * 10 ** EXPONENTS.get(ctx.currency, 2))
        records = []
        for name, stop, stake in (
            ("Those with most at stake", best["risk"].sum(), best["stake"].sum()),
            (
                "As many at random",
                people.risk.mean() * len(best),
                people.stake.mean() * len(best),
            ),
        ):
            records.append(
                {
                    "whom": name,
                    "people": len(best),
                    "stop": float(stop),
                    "kept": float(stop) * self.saved,
                    "revenue": float(stake) * self.saved,
                    "cost": cents,
                    "brings": float(stake) * self.saved - cents,
                }
            )
        columns = (
            Column("whom", "Acting on"),
            Column("people", "People", "count"),
            Column("stop", "Would stop", "number"),
            Column("kept", "Kept", "number"),
            Column("revenue", "Spending kept", "money"),
            Column("cost", "Cost", "money"),
            Column("brings", "Brings", "money"),
        )
        return Table.of("What acting brings", columns, records)


@dataclass(frozen=True, kw_only=True)
class Purchase(Command):
    """Who will order next, what that brings, and why.

    Everybody who ordered in the last year is judged by what they did before today. The model learns
    at earlier cuts in time and is tested at a later one. `top 50` names the likeliest, for you
    alone.
    """

    group: ClassVar = "People"
    examples: ClassVar = ("purchase next 30 days",)
    aliases: ClassVar = ("purchases", "will-buy")

    horizon: int = says(
        30, words=("next", "horizon"), unit="days", low=7, high=365, help="an order within so long"
    )
    where: Filters = says(Filters(), help="only orders like these")
    top: int | None = says(
        None, words=("top",), unit="count", low=1, high=MOST_NAMED,
        help="how many people to name; they are shown to you alone",
    )  # fmt: skip

    @property
    def shows_people(self) -> bool:
        """Whether single people are named."""
        return self.top is not None

    def run(self, ctx: Context) -> Result:
        """Learn, test, judge today's people, say."""
        study = studied(ctx, Question(self.horizon, self.where, stays=True))
        if not study.is_a_model:
            return no_model(ctx, study, "segment last 90 days")
        people = judged(ctx, study, self.top or 0, by="risk")
        ahead = counted(self.horizon, "day")
        order = np.argsort(-people.risk, kind="stable")[: max(1, len(people) // 10)]
        text = (
            f"About {short_words(round(float(people.risk.sum())), 'count')} of "
            f"{counted(len(people), 'known buyer')} will order in the next {ahead}; of the "
            f"likeliest tenth {share_words(round(float(people.risk[order].mean()), 2))} will"
        )
        if study.drivers:
            text += f"; what tells most is {TRAITS[study.drivers[0].feature].label}"
        parts: list[Part] = [
            risk_table(people, "Expected to order", "Expected from a first order"),
            test_chart(study, "ordered"),
        ]
        if self.top:
            parts.append(named(ctx, study, people, "Will order", "Expected"))
        parts += explained(ctx, study)
        said = self.where.said()
        follow_ups = (
            f"purchase next {self.horizon} days {said} top 50",
            f"value next {max(self.horizon, 7)} days {said}",
            f"churn {said}",
        )
        return Result(f"Orders in the next {ahead}", f"{text}.", tuple(parts), follow_ups)


# --- fetch: what was known at a cut, and what came after it --------------------------------------


@dataclass(frozen=True)
class Question:
    """An order within `horizon` days is label 1 where `stays`, else label 0."""

    horizon: int
    where: Filters
    stays: bool


@dataclass(frozen=True)
class Plan:
    """The cuts: days before which all is known and from which on the horizon runs.

    `train` are the cuts to learn at, latest first; the model is tested at `test` and asked at
    `now`. Their horizons do not overlap, and that of `test` ends with the data. Features look back
    `look` days at every cut; people ordered within the last `active` of them.
    """

    train: tuple[dt.date, ...]
    test: dt.date
    now: dt.date
    look: int
    active: int


def planned(span: Span, question: Question) -> Plan:
    """Cuts for the days that have orders. Raises NotEnoughDataError where they are too few."""
    days, now = question.horizon, span.last + DAY
    test = now - days * DAY
    train: list[dt.date] = []
    cut = test - days * DAY
    while len(train) < MOST_CUTS and (cut - span.first).days >= days * (1 if not train else 2):
        train.append(cut)
        cut -= days * DAY
    if not train:
        most = (now - span.first).days // 3
        shorter = f"Ask `next {most} days`, or load" if most >= 7 else "Load"
        raise NotEnoughDataError(
            f"The orders run for {counted((now - span.first).days, 'day')}; to learn and test over "
            f"{counted(days, 'day')} takes {3 * days}.",
            hint=f"{shorter} earlier orders.",
        )
    look = min(LONGEST_LOOK, (train[-1] - span.first).days)
    return Plan(tuple(train), test, now, look, look if question.stays else min(look, 2 * days))


def people_at(
    ctx: Context,
    scope: Scope,
    plan: Plan,
    cut: dt.date,
    question: Question,
    part: Shard = EVERYBODY,
) -> pd.DataFrame:
    """The people of a cut in the order of ids: their traits before it, and their label after it.

    `label` is missing at the last cut. Only those of the `part` are read.
    """
    found = known_at(
        ctx, scope, cut, look=plan.look, active=plan.active, days=question.horizon,
        ahead=cut < plan.now, part=part,
    )  # fmt: skip
    if "came" not in found:
        return found
    label = found["came"] if question.stays else 1 - found["came"]
    return found.drop(columns="came").assign(label=label)


# --- compute -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """What was learnt and tested, and those of today's people who are of the `sample`.

    `crowd` is how many people there are, where they are too many to be read at once; else the
    sample is everybody. `asked` says whom the question is about. `qualities` are of every kind on
    the test, and of the baseline (time since the last order alone); `kind` was chosen on the
    training people. `risk` is the probability of `people`, by `model`, which was refitted on all
    cuts: their traits are `training`, and it `said` so of them.
    """

    question: Question
    plan: Plan
    asked: Scope
    crowd: int | None
    sample: Shard
    kind: Kind
    qualities: dict[str, Quality]
    people: pd.DataFrame
    risk: Floats
    model: Model
    drivers: tuple[Driver, ...]
    training: Floats
    said: Floats
    learnt_from: int
    simulated: bool

    @property
    def quality(self) -> Quality:
        """Of the kind that was chosen."""
        return self.qualities[self.kind]

    @property
    def baseline(self) -> Quality:
        """Of time since the last order alone."""
        return self.qualities["baseline"]

    @property
    def is_a_model(self) -> bool:
        """Whether it tells people apart at all."""
        return self.quality.is_a_model


def studied(ctx: Context, question: Question) -> Study:
    """Fetch the cuts, learn at the earlier ones, test at the later one; of too many, a sample."""
    span = spans_of(ctx.store, ctx.zone, ("orders",)).get("orders")
    if span is None:
        raise NotEnoughDataError(
            "No orders are loaded.", hint="Load orders with `load orders FILE`."
        )
    plan = planned(span, question)
    whole = between(span.first, plan.now)
    asked = scope_of(ctx.store, ctx.catalog, ctx.zone, [("orders", whole)], question.where)
    scope = asked.of_everybody()
    ctx.tell("Reading what each person did before each cut")
    crowd = crowd_of(ctx, scope, MOST_PEOPLE)
    sample = sample_of(crowd, LEARN_FROM)
    train = pd.concat(
        [people_at(ctx, scope, plan, cut, question, sample) for cut in plan.train],
        ignore_index=True,
    )
    test = people_at(ctx, scope, plan, plan.test, question, sample)
    now = people_at(ctx, scope, plan, plan.now, question, sample)
    refuse_too_few(train, test, now, question, sample)
    now = in_segments(ctx, asked, now, sample)
    ctx.tell(f"Learning from {counted(len(train), 'person', 'people')}")
    with one_thread():
        return learn(ctx, question, plan, asked, crowd, train, test, now)


def refuse_too_few(
    train: pd.DataFrame, test: pd.DataFrame, now: pd.DataFrame, question: Question, sample: Shard
) -> None:
    """Raises NotEnoughDataError where a cut has too few people, or too few of an outcome."""
    few = min(len(train), len(test), len(now))
    drawn = "" if sample.is_all else " of a sample"
    if few < LEAST_PEOPLE:
        raise NotEnoughDataError(
            f"Only {counted(few, 'person', 'people')}{drawn} had ordered at one of the cuts; a "
            f"model needs {LEAST_PEOPLE}.",
            hint="Ask without filters, or for a longer horizon.",
        )
    for labels in (train["label"], test["label"]):
        rarer = int(min(labels.sum(), len(labels) - labels.sum()))
        if rarer < LEAST_OF_EACH:
            did = "stopped" if (labels.mean() < 0.5) != question.stays else "ordered again"
            raise NotEnoughDataError(
                f"Only {counted(rarer, 'person', 'people')}{drawn} {did}; a model needs "
                f"{LEAST_OF_EACH} of them.",
                hint="Ask for another horizon, such as `next 60 days`.",
            )


def learn(
    ctx: Context,
    question: Question,
    plan: Plan,
    asked: Scope,
    crowd: int | None,
    train: pd.DataFrame,
    test: pd.DataFrame,
    now: pd.DataFrame,
) -> Study:
    """Choose a kind on the training people, test all kinds later, refit for today."""
    x, y = table_of(train), labels_of(train)
    later, came = table_of(test), labels_of(test)
    few = stable_sample(train["person_id"], CHOOSE_ON)
    kind = best_kind(x[few], y[few], folds_of(train["person_id"].iloc[few]))
    models = {k: Model(k, x, y) for k in KINDS}
    qualities: dict[str, Quality] = {
        k: quality(came, m.probability(later)) for k, m in models.items()
    }
    alone = Model("logistic", x[:, [RECENCY]], y)
    qualities["baseline"] = quality(came, alone.probability(later[:, [RECENCY]]))
    whole = np.concatenate([x, later])
    final = Model(kind, whole, np.concatenate([y, came]))
    risk = risk_of(final, now)
    return Study(
        question,
        plan,
        asked,
        crowd,
        sample_of(crowd, LEARN_FROM),
        kind,
        qualities,
        now.assign(risk=risk),
        risk,
        final,
        tuple(drivers(models[kind], later, came)),
        whole,
        final.probability(whole),
        len(train),
        is_simulated(ctx),
    )


def is_simulated(ctx: Context) -> bool:
    """Whether events were read, and some of them are made up."""
    return "events" in ctx.store.tables_read and any(
        s.simulated for s in ctx.store.sources({"events"})
    )


def risk_of(model: Model, people: pd.DataFrame) -> Floats:
    """The probability of label 1 per person; of nobody, none."""
    return model.probability(table_of(people)) if len(people) else np.zeros(0)


def labels_of(people: pd.DataFrame) -> Labels:
    """The labels as integers."""
    return people["label"].to_numpy(dtype=np.int64)


def folds_of(ids: pd.Series) -> Labels:
    """A fold per row by a hash of the person: who is there at several cuts is in one fold."""
    hashes = pd.util.hash_array(ids.to_numpy(dtype=object), categorize=False)
    return (hashes % FOLDS).astype(np.int64)


# --- judge ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """Everybody of today: the probability, what it puts at stake, days since the last order.

    They stand by part, in the order of ids within it. Of the `best` by stake or risk, the likeliest
    or dearest first, there are whole rows.
    """

    risk: Floats
    stake: Floats
    recency: NDArray[np.float32]
    best: pd.DataFrame

    def __len__(self) -> int:
        """How many people."""
        return len(self.risk)


def judged(ctx: Context, study: Study, top: int, by: Literal["stake", "risk"]) -> Judged:
    """Judge today's people, part by part. Raises NotEnoughDataError where there is nobody."""
    parts = parts_of(study.crowd, MOST_PEOPLE)
    risks, stakes, recencies, best = [], [], [], []
    for i, part in enumerate(parts):
        if len(parts) > 1:
            ctx.tell(f"Judging everybody: part {i + 1} of {len(parts)}")
        people = study.people if part == study.sample else read_and_judged(ctx, study, part)
        spent = people["basket" if study.question.stays else "worth"]
        people = people.assign(stake=people["risk"] * spent)
        risks.append(people["risk"].to_numpy())
        stakes.append(people["stake"].to_numpy())
        recencies.append(people["recency"].to_numpy(dtype=np.float32))
        best.append(people.iloc[np.argsort(-people[by].to_numpy(), kind="stable")[:top]])
        del people, spent  # before the next are read
    named = pd.concat(best, ignore_index=True)
    if not sum(map(len, risks)):
        raise nobody_in(study.asked)
    return Judged(
        np.concatenate(risks),
        np.concatenate(stakes),
        np.concatenate(recencies),
        named.sort_values([by, "person_id"], ascending=[False, True]).head(top),
    )


def read_and_judged(ctx: Context, study: Study, part: Shard) -> pd.DataFrame:
    """Those of today's people who are of a part, with their `risk`."""
    everybody, plan = study.asked.of_everybody(), study.plan
    people = people_at(ctx, everybody, plan, plan.now, study.question, part)
    people = in_segments(ctx, study.asked, people, part)
    with one_thread():
        return people.assign(risk=risk_of(study.model, people))


# --- say -----------------------------------------------------------------------------------------

NAMES: dict[str, str] = {
    "boosting": "gradient boosting",
    "logistic": "logistic regression",
    "tree": "decision tree",
    "baseline": "days since the last order alone",
}


def risk_table(people: Judged, expected: str, stake: str) -> Table:
    """Today's people by tenths of their probability, highest first."""
    order = np.argsort(-people.risk, kind="stable")
    records = [
        {
            "tenth": i + 1,
            "people": len(rows),
            "share": people.risk[rows].mean(),
            "expected": people.risk[rows].sum(),
            "stake": people.stake[rows].sum(),
            "recency": float(np.median(people.recency[rows])),
        }
        for i, rows in enumerate(np.array_split(order, 10))
    ]
    columns = (
        Column("tenth", "Tenth", "count"),
        Column("people", "People", "count"),
        Column("share", "Chance", "share"),
        Column("expected", expected, "number"),
        Column("stake", stake, "money"),
        Column("recency", "Days since last order (median)", "days"),
    )
    return Table.of("Today's people, highest chance first", columns, records)


def test_chart(study: Study, did: str) -> Chart:
    """What was said in the test and what came, by tenths."""
    bins = study.quality.bins
    return Chart(
        f"Test from {date_words(study.plan.test)}: share that {did}, by tenth of the people",
        "line",
        tuple(range(1, len(bins) + 1)),
        (
            Series("Said before", tuple(b.said for b in bins)),
            Series("Came", tuple(b.came for b in bins)),
        ),
        "share",
        x_label="Tenth of the people, highest chance first",
        y_label="Share",
        x_unit="count",
    )


def named(ctx: Context, study: Study, people: Judged, will: str, stake: str) -> Table:
    """The best by name with what speaks for their outcome.

    A trait is a reason where it adds to the chance and lies, seen over all people, on that side.
    """
    best, usual = people.best, typical(study.training)
    table = table_of(best)
    with one_thread():
        added = reasons(study.model, table, usual)
        ways = [rank_correlation(column, study.said) for column in study.training.T]
    added = np.where(np.sign(table - usual) * ways > 0, added, 0.0)
    records = [
        {
            "person_id": row["person_id"],
            "risk": row["risk"],
            "stake": row["stake"],
            "last": day_of(int(row["last_day"])),
            "why": why(added[i], table[i], usual, ctx.currency),
        }
        for i, row in enumerate(best.to_dict("records"))
    ]
    columns = (
        Column("person_id", "Person"),
        Column("risk", will, "share"),
        Column("stake", stake, "money"),
        Column("last", "Last order", "date"),
        Column("why", "Why"),
    )
    return Table.of(
        f"The first {counted(len(best), 'person', 'people')}",
        columns,
        records,
        of_rows=len(people) if len(best) < len(people) else None,
        person_level=True,
    )


def why(added: Floats, values: Floats, usual: Floats, currency: str) -> str:
    """The traits that add most: `days since the last order 82 (usually 31)`."""
    order = [int(i) for i in np.argsort(-added, kind="stable") if added[i] > LEAST_REASON]
    texts = []
    for i in order[:SHOWN_REASONS]:
        unit = TRAITS[i].unit
        now, then = (trait_words(v[i], unit, currency) for v in (values, usual))
        texts.append(f"{TRAITS[i].label} {now} (usually {then})")
    return "; ".join(texts) or "like most people"


def explained(ctx: Context, study: Study) -> Iterator[Part]:
    """How good it is, what drives it, and the model card."""
    yield quality_table(study)
    yield calibration_table(study)
    yield from drivers_table(study)
    yield from card(ctx, study)


def quality_table(study: Study) -> Table:
    """Every model and the baseline on the test."""
    columns = (
        Column("model", "Model"),
        Column("auc", "ROC-AUC", "number"),
        Column("low", "95 % from", "number"),
        Column("high", "to", "number"),
        Column("precision", "PR-AUC", "number"),
        Column("lift", "Lift in the first tenth", "times"),
        Column("ece", "Calibration error", "share"),
    )
    order = [study.kind, *(k for k in KINDS if k != study.kind), "baseline"]
    records = [
        {
            "model": NAMES[name] + (" (taken)" if name == study.kind else ""),
            "auc": round(q.auc, 3),
            "low": round(q.auc_low, 3),
            "high": round(q.auc_high, 3),
            "precision": round(q.precision, 3),
            "lift": round(q.lift, 2),
            "ece": round(q.ece, 3),
        }
        for name in order
        for q in (study.qualities[name],)
    ]
    return Table.of("How good it was on people of a later time", columns, records)


def calibration_table(study: Study) -> Table:
    """What was said in the test, and what came."""
    columns = (
        Column("tenth", "Tenth", "count"),
        Column("people", "People", "count"),
        Column("said", "Said before", "share"),
        Column("came", "Came", "share"),
    )
    records = [
        {"tenth": i + 1, "people": b.rows, "said": b.said, "came": b.came}
        for i, b in enumerate(study.quality.bins)
    ]
    return Table.of("Said before and came, in the test", columns, records)


def drivers_table(study: Study) -> Iterator[Table]:
    """What the model leans on; nothing where there is nothing."""
    outcome = "order" if study.question.stays else "stop"
    records = [
        {
            "trait": TRAITS[d.feature].label,
            "weight": d.weight,
            "way": way(d.direction, outcome),
        }
        for d in study.drivers[:SHOWN_DRIVERS]
    ]
    columns = (
        Column("trait", "What tells"),
        Column("weight", "ROC-AUC lost without it", "number"),
        Column("way", "How"),
    )
    if records:
        yield Table.of("What it goes by", columns, records)


def way(direction: float, outcome: str) -> str:
    """A direction in words."""
    if abs(direction) < 0.1:
        return "not one way only"
    return f"the {'more' if direction > 0 else 'less'}, the likelier to {outcome}"


def card(ctx: Context, study: Study) -> Iterator[Note]:
    """The model card: test, data, method, limits."""
    q, plan, question = study.quality, study.plan, study.question
    came = q.share
    said = sum(b.said * b.rows for b in q.bins) / q.rows
    did = "ordered" if question.stays else "stopped"
    if study.crowd:
        text = f"Learnt from {drawn_words(study.sample, study.crowd)}, tested on it, and held to it"
        text += " where people have moved."
        if study.is_a_model:
            parts = counted(len(parts_of(study.crowd, MOST_PEOPLE)), "part")
            text += f" Everybody was judged, in {parts}."
        yield Note(text)
    yield Note(
        f"Test: learnt from {counted(study.learnt_from, 'person', 'people')} at "
        f"{listed([date_words(c) for c in plan.train])}, asked about "
        f"{words(q.rows, 'count')} at {date_words(plan.test)}: ROC-AUC {q.auc:.2f}, against "
        f"{study.baseline.auc:.2f} by days since the last order alone; the likeliest tenth {did} "
        f"{words(round(q.lift, 2), 'times')} as often as all."
    )
    if q.auc < study.baseline.auc + WORTH_A_MODEL:
        yield Note(
            "It is hardly better than days since the last order alone: that list is as good.",
            "warning",
        )
    if abs(said - came) > MISJUDGED:
        yield Note(
            f"In the test it said {share_words(round(said, 2))} on average and "
            f"{share_words(round(came, 2))} {did}: read the chances as an order of people, not to "
            "the per cent (seasons move them).",
            "warning",
        )
    yield from drifted(ctx, study)
    yield from since_last_run(ctx, study)
    if study.simulated and any(TRAITS[d.feature].event for d in study.drivers):
        yield Note(
            "Visits, carts and checkouts are simulated in this store: so is what they tell.",
            "warning",
        )
    who = "the last year" if plan.active >= LONGEST_LOOK else f"the {plan.active} days before"
    yield Note(
        f"People are those who ordered in {who}. Only what happened before a cut is read, at most "
        f"{plan.look} days back; the label is {'an' if question.stays else 'no'} order in the "
        f"{question.horizon} days after it. “Lately” is the last {question.horizon} days. Today "
        f"is {date_words(plan.now)}, the day after the last order."
    )
    yield Note(
        f"By {NAMES[study.kind]}, the best of three in cross-validation on the training people; "
        "refitted on the test's people too for today. Returns are netted; prices, campaigns and "
        "reasons that leave no trace in orders or visits are not known."
    )


def drifted(ctx: Context, study: Study) -> Iterator[Note]:
    """Warns of drivers that stand elsewhere today than where the model learnt."""
    if any(f.dimension == SEGMENT.name for f in study.question.where):
        yield Note(
            "Learnt from and tested on all buyers; asked about those of the segment, who were "
            "chosen by what they did."
        )
        return
    today = table_of(study.people)
    for driver in study.drivers[:SHOWN_DRIVERS]:
        then, now = study.training[:, driver.feature], today[:, driver.feature]
        then, now = then[~np.isnan(then)], now[~np.isnan(now)]
        spread = float(then.std())
        if not len(now) or abs(now.mean() - then.mean()) <= DRIFTED * spread:
            continue
        trait = TRAITS[driver.feature]
        before, after = (
            trait_words(float(v.mean()), trait.unit, ctx.currency) for v in (then, now)
        )
        yield Note(
            f"Today's people differ from those it learnt from in {trait.label}: {after} on "
            f"average, {before} then.",
            "warning",
        )


def since_last_run(ctx: Context, study: Study) -> Iterator[Note]:
    """How far people have moved since the model's last run of an earlier day; keeps this run.

    One run of a question is kept for a day of the data, so that asking again says the same.
    """
    question, day = study.question, study.plan.now
    if ctx.state is None or len(study.people) < LEAST_PEOPLE:
        return
    verb = "purchase" if question.stays else "churn"
    said = f"{verb} next {question.horizon} days {question.where.said()}".strip()
    columns = {"the chance": study.risk} | dict(
        zip((t.label for t in TRAITS), table_of(study.people).T, strict=True)
    )
    kept = Runs(ctx.state)
    last = kept.before(said, day)
    found = {name: Histogram.of(values) for name, values in columns.items()}
    facts = {name: {"bounds": h.bounds, "counts": h.counts} for name, h in found.items()}
    kept.keep(said, Run(day, json.dumps(facts)))
    if last is None:
        yield Note("There is no run of this model for an earlier day to tell drift from.")
        return
    before = json.loads(last.facts)
    moved = {
        name: stability(Histogram(tuple(h["bounds"]), tuple(h["counts"])), columns[name])
        for name, h in before.items()
        if name in columns
    }
    far = sorted((n for n in moved if moved[n] > MOVED), key=lambda n: -moved[n])
    text = f"Since the last run, at {date_words(last.day)}, "
    if not far:
        text += (
            f"neither the chance nor a trait has moved: all stability indices are below {MOVED}."
        )
    else:
        told = [f"{n} ({words(round(moved[n], 2), 'number')})" for n in far[:SHOWN_DRIVERS]]
        text += f"people have moved in {listed(told)}: a stability index above {MOVED} is a move, "
        text += f"above {MOVED_FAR} a far one."
    yield Note(text, "warning" if any(moved[n] > MOVED_FAR for n in far) else "info")


def no_model(ctx: Context, study: Study, instead: str) -> Result:
    """What was tried, and that it tells nothing."""
    ahead = counted(study.question.horizon, "day")
    what = "orders" if study.question.stays else "stops ordering"
    q = study.quality
    return Result(
        f"No model of who {what}",
        f"I have no model: nothing that I know of people tells who {what} in the next {ahead} "
        f"better than chance (ROC-AUC {q.auc:.2f}, 0.5 is a coin).",
        (quality_table(study), *card(ctx, study)),
        (instead, *no_follow(study)),
    )


def no_follow(study: Study) -> Sequence[str]:
    """Another horizon to try."""
    other = study.question.horizon // 2
    verb = "purchase" if study.question.stays else "churn"
    return (f"{verb} next {other} days",) if other >= 7 else ()
