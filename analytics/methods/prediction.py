"""Who will: models of a yes or no, their quality, what drives them, and why for each person.

Three models of one kind of table: gradient boosting (histograms of features, scikit-learn's), one
small decision tree, and logistic regression. The one that ranks best in cross-validation on the
training rows is taken; how good it is, is said on rows of a later time that it never saw.

Features are floats (n, d), unknown is NaN; a categorical feature holds whole codes 0, 1, ... .
Labels are 0 and 1. Seeds are fixed and rows come in a fixed order: the same input gives the same
model. Callers run this under one thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never

import numpy as np
from numpy.typing import NDArray

Kind = Literal["boosting", "logistic", "tree"]
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

KINDS: tuple[Kind, ...] = ("boosting", "logistic", "tree")
SEED = 7
#: Rows that a model is fitted on at most: more change the second digit of nothing.
FIT_ON = 100_000
#: From so many rows boosting grows larger trees.
MANY_ROWS = 50_000
#: Rows and shuffles on which the drivers are measured.
DRIVERS_ON = 1_000
SHUFFLES = 3
#: Below this share of a model's lead over chance, a driver is noise.
LEAST_DRIVER = 0.02


class Model:
    """A fitted model of one kind. `probability(features)` is that of label 1."""

    def __init__(
        self,
        kind: Kind,
        features: Floats,
        labels: Labels,
        categorical: Sequence[int] = (),
        *,
        seed: int = SEED,
    ) -> None:
        """Fit on at most FIT_ON rows, drawn at random; both labels must be among them."""
        rows = np.arange(len(labels))
        if len(rows) > FIT_ON:
            rows = np.sort(np.random.default_rng(seed).choice(rows, FIT_ON, replace=False))
        self.kind = kind
        self.blank = np.isnan(features[rows]).all(axis=0)
        self.prepared = Prepared(features[rows], categorical) if kind == "logistic" else None
        self.estimator = estimator(kind, len(rows), categorical, seed)
        self.estimator.fit(self._shape(features[rows]), labels[rows])

    def probability(self, features: Floats) -> Floats:
        """Of label 1, per row."""
        found: Floats = self.estimator.predict_proba(self._shape(features))[:, 1]
        return found

    def _shape(self, features: Floats) -> Floats:
        """As the estimator takes them; what was never known in training tells nothing."""
        if self.prepared:
            return self.prepared.apply(features)
        return np.where(self.blank, 0.0, features)


def estimator(kind: Kind, n: int, categorical: Sequence[int], seed: int) -> Any:
    """An unfitted model; sizes follow the number of rows."""
    # imported here: slow to load
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    match kind:
        case "boosting":
            many = n >= MANY_ROWS
            return HistGradientBoostingClassifier(
                learning_rate=0.1 if many else 0.08,
                max_iter=100,
                max_leaf_nodes=31 if many else 8,
                min_samples_leaf=100 if many else 20,
                categorical_features=list(categorical) or None,
                early_stopping=False,
                random_state=seed,
            )
        case "tree":
            return DecisionTreeClassifier(
                max_leaf_nodes=16, min_samples_leaf=max(20, n // 200), random_state=seed
            )
        case "logistic":
            return LogisticRegression(C=0.1, max_iter=500)
        case _:
            assert_never(kind)


class Prepared:
    """Features as a linear model takes them: bent, standardised, unknown as its own column.

    Numbers that are not below zero and lean far to the right are taken as log(1 + x); codes become
    one column each.
    """

    def __init__(self, features: Floats, categorical: Sequence[int]) -> None:
        """Learn from the training rows only."""
        self.numbers = [i for i in range(features.shape[1]) if i not in set(categorical)]
        self.codes = {i: np.unique(known(features[:, i])) for i in categorical}
        self.bent = [leans(features[:, i]) for i in self.numbers]
        table = self.bend(features)
        self.unknown = np.isnan(table).any(axis=0)
        counts = np.maximum((~np.isnan(table)).sum(axis=0), 1)
        self.means = np.nansum(table, axis=0) / counts
        deviations = np.sqrt(np.nansum((table - self.means) ** 2, axis=0) / counts)
        self.deviations = np.where(deviations > 1e-12, deviations, np.inf)

    def bend(self, features: Floats) -> Floats:
        """The numbers, long tails taken away."""
        columns = [
            np.log1p(np.maximum(features[:, i], 0.0)) if bent else features[:, i]
            for i, bent in zip(self.numbers, self.bent, strict=True)
        ]
        return np.column_stack(columns) if columns else np.zeros((len(features), 0))

    def apply(self, features: Floats) -> Floats:
        """The columns of the linear model; an unknown number is the mean, and marked."""
        table = self.bend(features)
        missing = np.isnan(table)
        scaled = np.where(missing, 0.0, (table - self.means) / self.deviations)
        codes = [
            (features[:, [i]] == values[None, :]).astype(np.float64)
            for i, values in self.codes.items()
        ]
        return np.column_stack([scaled, missing[:, self.unknown].astype(np.float64), *codes])


def known(column: Floats) -> Floats:
    """The values that are not NaN."""
    return column[~np.isnan(column)]


def leans(column: Floats) -> bool:
    """Whether a column has a long tail to the right: its mean far above its median."""
    values = known(column)
    if not len(values) or values.min() < 0 or values.max() <= 1:
        return False
    return bool(values.mean() > 1.2 * np.median(values))


# --- choosing ------------------------------------------------------------------------------------


def cross_validated(
    kind: Kind,
    features: Floats,
    labels: Labels,
    folds: Labels,
    categorical: Sequence[int] = (),
) -> list[Floats]:
    """Per fold 0..: the probabilities of its rows, by a model that was fitted on the others."""
    found = []
    for fold in range(int(folds.max()) + 1):
        held_out = folds == fold
        model = Model(kind, features[~held_out], labels[~held_out], categorical)
        found.append(model.probability(features[held_out]))
    return found


def mean_auc(
    kind: Kind,
    features: Floats,
    labels: Labels,
    folds: Labels,
    categorical: Sequence[int] = (),
) -> float:
    """The mean over folds of the area under the ROC curve on held-out rows."""
    each = cross_validated(kind, features, labels, folds, categorical)
    return float(np.mean([auc(labels[folds == i], p) for i, p in enumerate(each)]))


def best_kind(
    features: Floats,
    labels: Labels,
    folds: Labels,
    categorical: Sequence[int] = (),
    kinds: Sequence[Kind] = KINDS,
) -> Kind:
    """The kind that ranks held-out rows best; the first of equals."""
    scores = [mean_auc(k, features, labels, folds, categorical) for k in kinds]
    return kinds[int(np.argmax(scores))]


# --- quality -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bin:
    """Rows of like probability: how many, the mean probability said, the share that came."""

    rows: int
    said: float
    came: float


@dataclass(frozen=True)
class Quality:
    """How good probabilities are on `rows` rows of which `share` have label 1.

    `auc` is the area under the ROC curve with its 95 % interval (Hanley and McNeil 1982),
    `precision` the area under the precision-recall curve (average precision), `lift` how many times
    `share` is found among the tenth with the highest probabilities, `ece` the expected calibration
    error over ten bins of equal width. `bins` are tenths of the rows, highest first.
    """

    rows: int
    share: float
    auc: float
    auc_low: float
    auc_high: float
    precision: float
    lift: float
    ece: float
    bins: tuple[Bin, ...]

    @property
    def is_a_model(self) -> bool:
        """Whether it ranks better than chance would."""
        return self.auc_low > 0.5


def quality(labels: Labels, probabilities: Floats) -> Quality:
    """Of probabilities of label 1; both labels must be among the rows."""
    # imported here: slow to load
    from sklearn.metrics import average_precision_score

    n, share = len(labels), float(labels.mean())
    area = auc(labels, probabilities)
    error = auc_error(area, int(labels.sum()), n - int(labels.sum()))
    order = np.argsort(-probabilities, kind="stable")
    tenth = order[: max(1, n // 10)]
    parts = np.array_split(order, min(10, n))
    return Quality(
        n,
        share,
        area,
        max(0.0, area - 1.96 * error),
        min(1.0, area + 1.96 * error),
        float(average_precision_score(labels, probabilities)),
        float(labels[tenth].mean()) / share,
        calibration_error(labels, probabilities),
        tuple(Bin(len(p), float(probabilities[p].mean()), float(labels[p].mean())) for p in parts),
    )


def auc(labels: Labels, scores: Floats) -> float:
    """Area under the ROC curve: the chance that a 1 stands above a 0."""
    # imported here: slow to load
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores))


def auc_error(area: float, ones: int, zeros: int) -> float:
    """The standard error of an area under the ROC curve (Hanley and McNeil 1982, Radiology 143)."""
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    spread = area * (1 - area) + (ones - 1) * (q1 - area**2) + (zeros - 1) * (q2 - area**2)
    return float(np.sqrt(max(spread, 0.0) / (ones * zeros)))


def calibration_error(labels: Labels, probabilities: Floats, bins: int = 10) -> float:
    """Mean distance of what was said and what came, over bins of equal width, by their rows."""
    which = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    said = np.bincount(which, probabilities, bins)
    came = np.bincount(which, labels, bins)
    return float(np.abs(said - came).sum() / len(labels))


# --- reasons -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Driver:
    """A feature that a model leans on.

    `weight` is by how much the area under the ROC curve falls when the feature is shuffled over
    people; `direction` is the rank correlation of the feature and the probability (-1..1).
    """

    feature: int
    weight: float
    direction: float


def drivers(model: Model, features: Floats, labels: Labels, *, seed: int = SEED) -> list[Driver]:
    """The features a model leans on, heaviest first; noise, and what is no model, is left out.

    Permutation importance (Breiman 2001) on at most DRIVERS_ON rows that the model did not see.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(labels))[:DRIVERS_ON])
    table, truth = features[rows], labels[rows]
    if truth.min() == truth.max():
        return []
    said = model.probability(table)
    whole = auc(truth, said)
    if whole - 1.96 * auc_error(whole, int(truth.sum()), int((1 - truth).sum())) <= 0.5:
        return []
    found = []
    for i in range(table.shape[1]):
        falls = []
        for _ in range(SHUFFLES):
            shuffled = table.copy()
            shuffled[:, i] = table[rng.permutation(len(table)), i]
            falls.append(whole - auc(truth, model.probability(shuffled)))
        weight = float(np.mean(falls))
        if weight > LEAST_DRIVER * (whole - 0.5) and weight > 2 * np.std(falls):
            found.append(Driver(i, weight, rank_correlation(table[:, i], said)))
    return sorted(found, key=lambda d: (-d.weight, d.feature))


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's, over rows where the first is known; 0 where one does not vary."""
    # imported here: slow to load
    from scipy.stats import rankdata

    kept = ~np.isnan(one)
    a, b = rankdata(one[kept]), rankdata(other[kept])
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def typical(features: Floats) -> Floats:
    """What is usual: each feature's median over the rows where it is known."""
    return np.array([np.median(known(c)) if len(known(c)) else np.nan for c in features.T])


def reasons(model: Model, features: Floats, usual: Floats) -> Floats:
    """Per row and feature: how much its value adds to the probability, against a usual value.

    One feature at a time is set to what is usual; what several do together is not shared out.
    """
    whole = model.probability(features)
    added = np.zeros(features.shape)
    for i, value in enumerate(usual):
        replaced = features.copy()
        replaced[:, i] = value
        added[:, i] = whole - model.probability(replaced)
    return added
