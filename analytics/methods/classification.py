"""Which of several: a tree that people can read, support vector machines beside it, their quality.

* tree: a decision tree of few leaves (CART, Breiman et al. 1984);
* linear svm, rbf svm: support vector machines on bent and scaled features, the kernel one by
  Nyström's columns (Williams and Seeger 2001), so that time grows with rows and not their square;
  margins are made probabilities by Platt's curve, one class against the rest (Platt 1999).

Features are floats (n, d), unknown is NaN. Labels are codes 0 to k - 1. Seeds are fixed: the same
input gives the same model. Callers run this under one thread.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, assert_never

import numpy as np
from numpy.typing import NDArray

from analytics.methods.prediction import SEED, Bin, Prepared, auc, auc_error

Kind = Literal["tree", "linear svm", "rbf svm"]
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

KINDS: tuple[Kind, ...] = ("tree", "linear svm", "rbf svm")
MOST_LEAVES = 8
LANDMARKS = 200
#: Rows and shuffles on which it is measured what a model goes by.
SHUFFLED_ON = 1_000
SHUFFLES = 3


class Classifier:
    """A fitted model. `probabilities(features)` has a column per class."""

    def __init__(self, kind: Kind, features: Floats, labels: Labels) -> None:
        """Every class must be among the rows, several times each."""
        self.kind = kind
        missing = np.isnan(features)
        self.blank = missing.all(axis=0)
        self.unknown = np.asarray(missing.any(axis=0) & ~self.blank)
        self.prepared = None if kind == "tree" else Prepared(features, ())
        self.estimator = estimator(kind, len(labels))
        self.estimator.fit(self._shape(features), labels)

    def probabilities(self, features: Floats) -> Floats:
        """Of each class, per row."""
        found: Floats = self.estimator.predict_proba(self._shape(features))
        return found

    def _shape(self, features: Floats) -> Floats:
        if self.prepared:
            return self.prepared.apply(features)
        return np.where(self.blank, 0.0, features)


def estimator(kind: Kind, rows: int) -> Any:
    """An unfitted model."""
    # imported here: slow to load
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.kernel_approximation import Nystroem
    from sklearn.pipeline import make_pipeline
    from sklearn.tree import DecisionTreeClassifier

    match kind:
        case "tree":
            return DecisionTreeClassifier(
                max_leaf_nodes=MOST_LEAVES, min_samples_leaf=max(10, rows // 50), random_state=SEED
            )
        case "linear svm":
            return CalibratedClassifierCV(margin(), cv=3)
        case "rbf svm":
            columns = Nystroem(n_components=min(LANDMARKS, rows // 2), random_state=SEED)
            return CalibratedClassifierCV(make_pipeline(columns, margin()), cv=3)
        case _:
            assert_never(kind)


def margin() -> Any:
    """A linear support vector machine; its dual is solved where rows are fewer than columns."""
    # imported here: slow to load
    from sklearn.svm import LinearSVC

    return LinearSVC(C=0.1, dual=False, random_state=SEED)


# --- quality -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Quality:
    """How good cross-validated probabilities are, each row's by a model that never saw it.

    `auc` is the mean over classes of one against the rest, `auc_low` its lower 95 % bound; `right`
    the share whose likeliest class came, `usual` that of always naming the commonest; `ece` the
    calibration error of the likeliest class's probability, over `bins` of ten of it. `confusion`
    has a row per class that came and a column per class that was named.
    """

    auc: float
    auc_low: float
    right: float
    usual: float
    ece: float
    confusion: Labels
    bins: tuple[Bin, ...]

    @property
    def is_a_model(self) -> bool:
        """Whether it tells classes apart better than chance would."""
        return self.auc_low > 0.5


def cross_validated(kind: Kind, features: Floats, labels: Labels, folds: Labels) -> Floats:
    """Per row, the probabilities by a model that was fitted on the other folds."""
    found = np.zeros((len(labels), int(labels.max()) + 1))
    for fold in range(int(folds.max()) + 1):
        held_out = folds == fold
        model = Classifier(kind, features[~held_out], labels[~held_out])
        found[held_out] = model.probabilities(features[held_out])
    return found


def nested(
    features: Floats, labels: Labels, folds: Labels, choose: Callable[[NDArray[np.intp]], Kind]
) -> Floats:
    """As `cross_validated`, of the kind that `choose` takes when it is given the other folds' rows.

    A choice that looks at rows by which it is judged flatters (Cawley and Talbot 2010): here
    neither the model nor the choice of its kind has seen them.
    """
    found = np.zeros((len(labels), int(labels.max()) + 1))
    for fold in range(int(folds.max()) + 1):
        held_out = folds == fold
        kind = choose(np.flatnonzero(~held_out))
        model = Classifier(kind, features[~held_out], labels[~held_out])
        found[held_out] = model.probabilities(features[held_out])
    return found


def quality(labels: Labels, probabilities: Floats) -> Quality:
    """Of probabilities, a column per class; each class is among the rows."""
    classes = probabilities.shape[1]
    areas, spread = [], 0.0
    for k in range(classes):
        own = (labels == k).astype(np.int64)
        areas.append(auc(own, probabilities[:, k]))
        spread += auc_error(areas[-1], int(own.sum()), len(own) - int(own.sum())) ** 2
    area = float(np.mean(areas))
    named, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = (named == labels).astype(np.float64)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, named), 1)
    order = np.argsort(-sure, kind="stable")
    parts = np.array_split(order, min(10, len(order)))
    bins = tuple(Bin(len(p), float(sure[p].mean()), float(right[p].mean())) for p in parts)
    return Quality(
        area,
        area - 1.96 * float(np.sqrt(spread / classes)),
        float(right.mean()),
        float(np.bincount(labels).max() / len(labels)),
        sum(abs(b.said - b.came) * b.rows for b in bins) / len(labels),
        confusion,
        bins,
    )


def goes_by(model: Classifier, features: Floats, labels: Labels) -> list[tuple[int, float]]:
    """(feature, area under the curve lost when it is shuffled), heaviest first (Breiman 2001)."""
    random = np.random.default_rng(SEED)
    rows = np.sort(random.permutation(len(labels))[:SHUFFLED_ON])
    table, truth = features[rows], labels[rows]
    if len(np.unique(truth)) < max(2, int(labels.max()) + 1):
        return []
    whole = quality(truth, model.probabilities(table)).auc
    found = []
    for i in range(table.shape[1]):
        lost = []
        for _ in range(SHUFFLES):
            mixed = table.copy()
            mixed[:, i] = table[random.permutation(len(table)), i]
            lost.append(whole - quality(truth, model.probabilities(mixed)).auc)
        if np.mean(lost) > 0.002:
            found.append((i, float(np.mean(lost))))
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


# --- a tree to read ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Branch:
    """A node of a tree in reading order: all above it hold too.

    `feature` is compared with `bound`: at most it where `below`, else more; `unknown` says that
    rows where it is unknown go this way. An infinite bound parts the known from the unknown. Of
    `rows` training rows, `shares` are of each class.
    The root has no feature.
    """

    depth: int
    feature: int | None
    below: bool
    bound: float
    unknown: bool
    rows: int
    shares: tuple[float, ...]
    leaf: bool


def branches(model: Classifier) -> Sequence[Branch]:
    """The tree of a classifier of the kind "tree", depth first, the lower side first."""
    every = _below(model.estimator.tree_, 0, 0, None, False, 0.0, False)
    return [
        replace(b, unknown=b.unknown and b.feature is not None and bool(model.unknown[b.feature]))
        for b in every
    ]


def _below(
    tree: Any, node: int, depth: int, feature: int | None, below: bool, bound: float, unknown: bool
) -> Iterator[Branch]:
    leaf = tree.children_left[node] < 0
    shares = tree.value[node][0] / tree.value[node][0].sum()
    rows = int(tree.n_node_samples[node])
    yield Branch(depth, feature, below, bound, unknown, rows, tuple(map(float, shares)), bool(leaf))
    if leaf:
        return
    split, at = int(tree.feature[node]), float(tree.threshold[node])
    left = bool(tree.missing_go_to_left[node])
    yield from _below(tree, int(tree.children_left[node]), depth + 1, split, True, at, left)
    yield from _below(tree, int(tree.children_right[node]), depth + 1, split, False, at, not left)
