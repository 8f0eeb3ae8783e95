"""classify: which people are of a kind, told by what they did, as rules to read."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from analytics.catalog import SEGMENT
from analytics.command import Command, Context, says
from analytics.entities import rows_of
from analytics.errors import NotEnoughDataError, UnknownNameError, UserError
from analytics.foresight import LONGEST_LOOK, TRAITS, known_at, table_of, trait_words
from analytics.measure import spans_of
from analytics.methods.classification import (
    KINDS,
    Branch,
    Classifier,
    Floats,
    Kind,
    Labels,
    Quality,
    branches,
    cross_validated,
    goes_by,
    nested,
    quality,
)
from analytics.methods.portraits.clustering import one_thread
from analytics.methods.portraits.scaling import stable_sample
from analytics.parts import MOST_PEOPLE, Shard, crowd_of, drawn_words, sample_of
from analytics.period import DAY, between
from analytics.result import Chart, Column, Note, Part, Result, Series, Table, Unit
from analytics.scope import Filters, Window, column_of, scope_of
from analytics.words import counted, date_words, listed, share_words, words
from storage.schema import people

#: People, and people of each class, below which nothing is learnt.
LEAST_PEOPLE = 200
LEAST_OF_EACH = 30
MOST_CLASSES = 5
#: Right so much more often than by naming the commonest is hardly better.
HARDLY = 0.005
#: More people than these change nothing that is shown.
LEARN_FROM = 20_000
#: Of people too many to be read at once, so many are: rare classes need more than are learnt from.
READ_FROM = 200_000
FOLDS = 5
#: People on whom the kind of model is chosen at most, as many of each class; folds of that choice.
CHOOSE_ON = 1_500
CHOOSING_FOLDS = 3
#: A lead in area under the curve for which a model that can't be read is worth taking.
WORTH_IT = 0.01
#: Values of a column that become traits of their own.
MOST_VALUES = 5
FACTS = ("country", "channel")
CHARTED = 8


@dataclass(frozen=True, kw_only=True)
class Classify(Command):
    """Which people are of a kind, told by what they did: a decision tree to read, SVMs beside it.

    `churned`, `bought category bags`, `segment loyal`, or a column of people such as `country`.
    What happens after a day is learnt only from what was known before it. Quality is that of five
    models, each judged on people it never saw; where it is chance, that is said.
    """

    group: ClassVar = "People"
    examples: ClassVar = (
        "classify churned",
        "classify bought category bags by tree",
        "classify country",
    )
    aliases: ClassVar = ("classification", "explain-group")

    target: str | None = says(
        None, words=("target",), positional=True, unit="target",
        help="churned, bought (with a category or item's dimension), or a column of people",
    )  # fmt: skip
    where: Filters = says(Filters(), help="of whom: `segment loyal`, `category bags`, ...")
    method: Literal["best", "tree", "svm"] = says(
        "best", after_by=True, help="best: the tree, unless a support vector machine is clearly "
        "better",
    )  # fmt: skip
    horizon: int = says(
        90, words=("next", "within", "horizon"), unit="days", low=7, high=365,
        help="how long after a day people stop or buy",
    )  # fmt: skip

    def run(self, ctx: Context) -> Result:
        """Fetch traits and labels, judge all kinds, fit, say."""
        ctx.tell("Reading what each person did")
        asked = question(ctx, self.target, self.where, self.horizon)
        study = studied(ctx, asked, self.method)
        title = f"Who {asked.of}"
        if not study.quality.is_a_model:
            return Result(
                title,
                f"I have no model: nothing that I know of people tells who {asked.of} better than "
                f"chance (ROC-AUC {study.quality.auc:.2f}, 0.5 is a coin).",
                (quality_table(study), *card(study, asked)),
                ("segment last 180 days",),
            )
        parts: list[Part] = [*goes_by_chart(study)]
        if self.method != "svm" and study.qualities["tree"].is_a_model:
            parts += [*tree_chart(ctx, study), tree_table(ctx, study)]
        parts += [
            quality_table(study),
            confusion_table(study),
            calibration_table(study),
            *card(study, asked),
        ]
        said = " ".join(t for t in (self.target or "", self.where.said()) if t)
        other = "tree" if study.kind != "tree" else "svm"
        follow_ups = (f"classify {said} by {other}", "segment last 180 days", "churn")
        return Result(title, headline(ctx, study, asked), tuple(parts), follow_ups)


# --- fetch ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Question:
    """People in the order of ids, what was known of each, and the class that each is of.

    `of` completes "who …", `did` "of these, 40 % …"; `classes` name the labels. Nothing after
    `known_until` is in the features; `ahead` is how many days after it made the labels, 0 where
    they were there already. Where people are a `crowd` of so many, only the `sample` of them was
    read.
    """

    of: str
    did: str
    classes: tuple[str, ...]
    people: pd.DataFrame
    labels: Labels
    facts: dict[str, pd.Series]
    known_until: dt.date
    ahead: int
    look: int
    crowd: int | None
    sample: Shard


def question(ctx: Context, target: str | None, where: Filters, horizon: int) -> Question:
    """What is asked, with its data. Raises UserError and NotEnoughDataError."""
    span = spans_of(ctx.store, ctx.zone, ("orders",)).get("orders")
    if span is None:
        raise NotEnoughDataError(
            "No orders are loaded.", hint="Load orders with `load orders FILE`."
        )
    now = span.last + DAY
    segments = tuple(f for f in where if f.dimension == SEGMENT.name)
    ahead = horizon if target in ("churned", "bought") else 0
    cut = now - ahead * DAY
    if (cut - span.first).days < max(horizon, 1):
        raise NotEnoughDataError(
            f"The orders run for {counted((now - span.first).days, 'day')}; this takes "
            f"{2 * horizon}.",
            hint=f"Ask `within {max(7, (now - span.first).days // 3)} days`.",
        )
    look = min(LONGEST_LOOK, (cut - span.first).days)
    active = min(look, 2 * horizon) if target == "churned" else look
    whole = [("orders", between(span.first, now))]
    learning = where if target == "churned" else Filters()
    scope = scope_of(ctx.store, ctx.catalog, ctx.zone, whole, learning)
    crowd = crowd_of(ctx, scope, MOST_PEOPLE)
    sample = sample_of(crowd, READ_FROM)
    known = known_at(
        ctx, scope, cut, look=look, active=active, days=horizon, ahead=bool(ahead), part=sample
    )
    ids = known["person_id"].astype(str)
    facts = facts_of(ctx, ids, sample, without=target or "")

    def made(of: str, did: str, classes: tuple[str, ...], labels: Any) -> Question:
        codes = np.asarray(labels, np.int64)
        return Question(of, did, classes, known, codes, facts, cut, ahead, look, crowd, sample)

    match target:
        case "churned":
            stopped = 1 - known["came"].to_numpy(dtype=np.int64)
            of = f"stops ordering for {horizon} days"
            return made(of, "stopped ordering", ("stayed", "stopped"), stopped)
        case "bought":
            if not where or segments:
                raise UserError("Bought what?", hint="Try `classify bought category bags`.")
            window = Window.of("later", between(cut, now), ctx.zone)
            rows = rows_of("order_lines", replace(
                scope_of(ctx.store, ctx.catalog, ctx.zone, whole, where), windows=(window,)
            ))  # fmt: skip
            bought = sa.select(rows.c.person_id).distinct().where(
                rows.c.kind == "sale", rows.c.person_id.is_not(None),
                *sample.holds(rows.c.person_id),
            )  # fmt: skip
            what = where.words()
            return made(
                f"buys {what} within {horizon} days",
                f"bought {what}",
                ("did not", "bought"),
                ids.isin(set(ctx.store.column(bought))),
            )
        case None:
            if len(segments) != 1 or len(segments[0].values) != 1 or len(where.all) > 1:
                raise UserError(
                    "Classify what?",
                    hint="Try `classify churned`, `classify bought category bags`, `classify "
                    "segment loyal` or `classify country`.",
                )
            segment = ctx.catalog.find_segment(segments[0].values[0])
            members = segment.people()
            members = members.where(*sample.holds(members.selected_columns[0]))
            inside = set(ctx.store.column(members))
            return made(
                f"is in segment {segment.name}",
                f"are in segment {segment.name}", (f"not {segment.name}", segment.name),
                ids.isin(inside),
            )  # fmt: skip
        case _:
            return by_column(ctx, made, target, ids, where, sample)


def by_column(
    ctx: Context, made: Any, target: str, ids: pd.Series, where: Filters, sample: Shard
) -> Question:
    """A column of people as classes; who is of an unknown or rare value is left out."""
    dimension = ctx.catalog.find_dimension(target)
    if dimension.path("people") is None:
        known = [d.name for d in ctx.catalog.dimensions if d.path("people")]
        raise UnknownNameError("column of people", target, ["churned", "bought", *known])
    if where:
        raise UserError(
            f"`classify {target}` looks at all people.", hint=f"Ask `classify {target}` alone."
        )
    values = value_of(ctx, dimension.name, sample).reindex(ids)
    counts = values.value_counts()
    counts = (
        counts[counts >= LEAST_OF_EACH].sort_index().sort_values(ascending=False, kind="stable")
    )
    classes = tuple(map(str, counts.index[:MOST_CLASSES]))
    labels = values.map({c: k for k, c in enumerate(classes)}).fillna(-1)
    of = f"has which {dimension.label.lower()}"
    return made(of, f"are of {classes[1]}" if len(classes) > 1 else "", classes, labels)  # type: ignore[no-any-return]


def value_of(ctx: Context, name: str, sample: Shard) -> pd.Series:
    """A dimension's value by person of a sample, where it is known."""
    dimension = ctx.catalog.find_dimension(name)
    value = column_of(dimension, "people", people)
    found = ctx.store.frame(
        sa.select(people.c.person_id, sa.type_coerce(value, sa.Text).label("value")).where(
            value.is_not(None), *sample.holds(people.c.person_id)
        )
    )
    return pd.Series(found["value"].to_numpy(dtype=object), index=found["person_id"].astype(str))


def facts_of(ctx: Context, ids: pd.Series, sample: Shard, without: str) -> dict[str, pd.Series]:
    """Further traits of yes and no, by their labels: `country is France`."""
    found: dict[str, pd.Series] = {}
    for name in FACTS:
        if name == without:
            continue
        values = value_of(ctx, name, sample).reindex(ids)
        counts = values.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        common = [v for v in counts.index[:MOST_VALUES] if 0 < counts[v] < len(ids)]
        for value in common:
            found[f"{name} is {value}"] = (values == value).astype(float).reset_index(drop=True)
    return found


# --- compute -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Study:
    """All kinds judged on people they never saw, the one taken, and the tree fitted on them all.

    `quality` is that of taking a kind: it is chosen anew without the people it is judged on.
    """

    kind: Kind
    quality: Quality
    qualities: dict[Kind, Quality]
    tree: Sequence[Branch]
    weights: list[tuple[int, float]]
    names: list[str]
    units: list[Unit]
    classes: tuple[str, ...]
    did: str
    learnt_from: int
    people: int
    simulated: bool


def studied(ctx: Context, asked: Question, method: str) -> Study:
    """Judge the kinds, take one, fit it. Raises NotEnoughDataError."""
    kept = np.flatnonzero(asked.labels >= 0)
    refuse_too_few(asked, asked.labels[kept])
    ids = asked.people["person_id"].iloc[kept].reset_index(drop=True)
    few = kept[stable_sample(ids, LEARN_FROM)]
    table = np.column_stack([table_of(asked.people), *asked.facts.values()])[few]
    labels = asked.labels[few]
    folds, choosing = folds_of(asked.people["person_id"].iloc[few])
    simulated = "events" in ctx.store.tables_read and any(
        s.simulated for s in ctx.store.sources({"events"})
    )
    ctx.tell(f"Learning from {counted(len(few), 'person', 'people')}")
    with one_thread():
        said = {kind: cross_validated(kind, table, labels, folds) for kind in KINDS}
        qualities = {kind: quality(labels, p) for kind, p in said.items()}

        def choose(rows: NDArray[np.intp]) -> Kind:
            return chosen(table[rows], labels[rows], choosing[rows], method)

        kind = choose(np.arange(len(labels)))
        taken_quality = quality(labels, nested(table, labels, folds, choose))
        held_out = folds == 0
        judge = Classifier(kind, table[~held_out], labels[~held_out])
        return Study(
            kind,
            taken_quality,
            qualities | {kind: taken_quality},
            branches(Classifier("tree", table, labels)),
            goes_by(judge, table[held_out], labels[held_out]),
            [*(t.label for t in TRAITS), *asked.facts],
            [*(t.unit for t in TRAITS), *(["flag"] * len(asked.facts))],  # type: ignore[list-item]
            asked.classes,
            asked.did,
            len(few),
            len(kept),
            simulated,
        )


def chosen(table: Floats, labels: Labels, folds: Labels, method: str) -> Kind:
    """The kind to take, by cross-validation on some of these people, as many of each class."""
    if method == "tree":
        return "tree"
    each = CHOOSE_ON // (int(labels.max()) + 1)
    rows = np.sort(
        np.concatenate([np.flatnonzero(labels == k)[:each] for k in range(int(labels.max()) + 1)])
    )
    own, truth = table[rows], labels[rows]
    said = {kind: cross_validated(kind, own, truth, folds[rows]) for kind in KINDS}
    return taken({kind: quality(truth, p) for kind, p in said.items()}, method)


def taken(qualities: dict[Kind, Quality], method: str) -> Kind:
    """The better support vector machine where it is asked for, or clearly better than the tree."""
    svm: Kind = max(("linear svm", "rbf svm"), key=lambda k: qualities[k].auc)
    if method == "best":
        method = "svm" if qualities[svm].auc > qualities["tree"].auc + WORTH_IT else "tree"
        if not qualities[svm].is_a_model:
            method = "tree"
    return svm if method == "svm" else "tree"


def refuse_too_few(asked: Question, labels: Labels) -> None:
    """Raises NotEnoughDataError where there are too few people, classes, or people of one."""
    drawn = "" if asked.sample.is_all else " of a sample"
    if len(labels) < LEAST_PEOPLE:
        raise NotEnoughDataError(
            f"Of only {counted(len(labels), 'person', 'people')}{drawn} is it known who "
            f"{asked.of}; a model needs {LEAST_PEOPLE}.",
            hint="Ask without filters, or load more orders.",
        )
    counts = np.bincount(labels, minlength=len(asked.classes))
    if len(counts) < 2 or counts.min() < LEAST_OF_EACH:
        rare = asked.classes[int(counts.argmin())] if len(counts) > 1 else "another kind"
        few = int(counts.min()) if len(counts) > 1 else 0
        raise NotEnoughDataError(
            f"Only {counted(few, 'person', 'people')}{drawn} are of the class “{rare}”; a "
            f"model needs {LEAST_OF_EACH} of each.",
            hint="Ask about something that more people do.",
        )


def folds_of(ids: pd.Series) -> tuple[Labels, Labels]:
    """A fold per person to judge by, and one to choose by, from a hash of the id."""
    hashes = pd.util.hash_array(ids.to_numpy(dtype=object), categorize=False)
    return (hashes % FOLDS).astype(np.int64), (hashes // FOLDS % CHOOSING_FOLDS).astype(np.int64)


# --- say -----------------------------------------------------------------------------------------

NAMES: dict[Kind, str] = {
    "tree": "decision tree",
    "linear svm": "linear support vector machine",
    "rbf svm": "RBF support vector machine",
}


def headline(ctx: Context, study: Study, asked: Question) -> str:
    """The surest leaf of a tree in words, else how often it is right and what tells most."""
    q = study.quality
    told = f"what tells most is {study.names[study.weights[0][0]]}" if study.weights else ""
    if study.kind == "tree" and len(study.classes) == 2:
        tree = study.tree
        best = max((n for n, b in enumerate(tree) if b.leaf), key=lambda n: tree[n].shares[1])
        if tree[best].depth:
            leaf, root = tree[best], tree[0]
            return (
                f"Of people with {path_words(ctx, study, best)}, "
                f"{share_words(round(leaf.shares[1], 2))} {asked.did} "
                f"({words(leaf.rows, 'count')} people), against "
                f"{share_words(round(root.shares[1], 2))} of all."
            )
    if q.right <= q.usual + HARDLY:
        return (
            f"What people do hardly tells who {asked.of}: naming the commonest for all is right as "
            f"often ({share_words(round(q.usual, 2))}), though the {NAMES[study.kind]} puts people "
            f"in order better than chance (ROC-AUC {q.auc:.2f})."
        )
    text = (
        f"The {NAMES[study.kind]} is right for {share_words(round(q.right, 2))} of people it never "
        f"saw, against {share_words(round(q.usual, 2))} by always naming the commonest"
    )
    return f"{text}; {told}." if told else f"{text}."


def path_words(ctx: Context, study: Study, at: int) -> str:
    """What holds on the way to a node, each trait once, tightest bounds only."""
    steps: dict[tuple[int, bool], Branch] = {}
    depth = study.tree[at].depth
    for branch in reversed(study.tree[: at + 1]):
        if branch.depth == depth and branch.feature is not None:
            steps.setdefault((branch.feature, branch.below), branch)
            depth -= 1
    return listed([step_words(ctx, study, s) for s in reversed(list(steps.values()))])


def step_words(ctx: Context, study: Study, branch: Branch) -> str:
    """A comparison in words: `orders up to 3`, `country is not France`."""
    feature = branch.feature or 0
    name, unit = study.names[feature], study.units[feature]
    if unit == "flag":
        return name.replace(" is ", " is not ", 1) if branch.below else name
    bound = branch.bound
    if np.isinf(bound):
        return f"{name} {'known' if branch.below else 'unknown'}"
    if unit in ("count", "days") and branch.bound % 1 == 0.5:
        bound = branch.bound - 0.5
    value = trait_words(bound, unit, ctx.currency)
    unknown = " or unknown" if branch.unknown else ""
    return f"{name} {'up to' if branch.below else 'over'} {value}{unknown}"


def tree_chart(ctx: Context, study: Study) -> Iterator[Chart]:
    """The tree as a picture, in reading order; of two classes only."""
    if len(study.classes) == 2 and len(study.tree) > 1:
        yield Chart(
            f"The tree: share that {study.did}",
            "bar",
            tuple(f"{rule(ctx, study, b)} ({words(b.rows, 'count')})" for b in study.tree),
            (Series("Share", tuple(b.shares[1] for b in study.tree)),),
            "share",
        )


def rule(ctx: Context, study: Study, branch: Branch) -> str:
    """A branch in words; what hangs under another is set in from it."""
    if not branch.depth:
        return "all people"
    return "· " * (branch.depth - 1) + step_words(ctx, study, branch)


def tree_table(ctx: Context, study: Study) -> Table:
    """The whole tree in reading order."""
    two = len(study.classes) == 2
    records = [
        {
            "rule": rule(ctx, study, b),
            "people": b.rows,
            "mostly": study.classes[int(np.argmax(b.shares))],
            "share": b.shares[1] if two else max(b.shares),
        }
        for b in study.tree
    ]
    columns = (
        Column("rule", "If"),
        Column("people", "People", "count"),
        Column("share", f"Share that {study.did}" if two else "Share of these", "share"),
        *(() if two else (Column("mostly", "Mostly"),)),
    )
    return Table.of("The tree", columns, records)


def goes_by_chart(study: Study) -> Iterator[Chart]:
    """What the model leans on."""
    top = study.weights[:CHARTED]
    if top:
        yield Chart(
            "What it goes by: how much worse it tells without each trait",
            "bar",
            tuple(study.names[i] for i, _ in top),
            (Series("ROC-AUC lost", tuple(w for _, w in top)),),
            "number",
        )


def quality_table(study: Study) -> Table:
    """Every kind, the taken one first."""
    columns = (
        Column("model", "Model"),
        Column("auc", "ROC-AUC", "number"),
        Column("right", "Right", "share"),
        Column("usual", "By the commonest", "share"),
        Column("ece", "Calibration error", "share"),
    )
    records = [
        {
            "model": NAMES[kind] + (" (taken)" if kind == study.kind else ""),
            "auc": round(q.auc, 3),
            "right": q.right,
            "usual": q.usual,
            "ece": round(q.ece, 3),
        }
        for kind in sorted(study.qualities, key=lambda k: (k != study.kind, KINDS.index(k)))
        for q in (study.qualities[kind],)
    ]
    return Table.of("How good it is on people it never saw", columns, records)


def confusion_table(study: Study) -> Table:
    """What was named of each class that came."""
    columns = (
        Column("came", "Is"),
        *(Column(f"c{k}", f"Named {name}", "count") for k, name in enumerate(study.classes)),
    )
    records = [
        {"came": name, **{f"c{j}": int(n) for j, n in enumerate(row)}}
        for name, row in zip(study.classes, study.quality.confusion, strict=True)
    ]
    return Table.of("What is, and what was named", columns, records)


def calibration_table(study: Study) -> Table:
    """How sure it said to be, and how often it was right."""
    columns = (
        Column("tenth", "Tenth", "count"),
        Column("people", "People", "count"),
        Column("said", "Said to be sure", "share"),
        Column("came", "Was right", "share"),
    )
    records = [
        {"tenth": i + 1, "people": b.rows, "said": b.said, "came": b.came}
        for i, b in enumerate(study.quality.bins)
    ]
    return Table.of("How sure it was, and how often right", columns, records)


def card(study: Study, asked: Question) -> Iterator[Note]:
    """The model card: test, data, method, limits."""
    if asked.crowd:
        yield Note(f"Drawn from {drawn_words(asked.sample, asked.crowd)}; nobody else was read.")
    sample = (
        f" (of {words(study.people, 'count')}, by a hash of their ids)"
        if study.people > study.learnt_from
        else ""
    )
    yield Note(
        f"Test: {FOLDS} models, each asked about the fifth of people it never saw; "
        f"{words(study.learnt_from, 'count')} people{sample}. Which kind to take was "
        "chosen on the other four fifths each time, so the choice does not flatter it. ROC-AUC is "
        "of one class against the "
        f"rest, {study.quality.auc:.2f} on average, above {study.quality.auc_low:.2f} with 97.5 % "
        "certainty."
    )
    if study.simulated and any(i < len(TRAITS) and TRAITS[i].event for i, _ in study.weights):
        yield Note(
            "Visits, carts and checkouts are simulated in this store: so is what they tell.",
            "warning",
        )
    after = (
        f"the label is what came in the {asked.ahead} days after it"
        if asked.ahead
        else "the label is that of today, so a rule says what goes with it and not what comes first"
    )
    yield Note(
        f"Only what happened before {date_words(asked.known_until)} is read, at most {asked.look} "
        f"days back; {after}. “Lately” is the last horizon of days."
    )
    yield Note(
        "A tree of at most eight leaves; support vector machines linear and by RBF kernel "
        "(Nyström), their margins calibrated. What goes with a kind need not cause it; prices, "
        "campaigns and reasons that leave no trace are not known."
    )
