"""Names: what sets each group of people apart, said in words.

A group is named by its standing in recency, frequency and money against everybody: the mean
percentile of its people, 0..1, where 0.5 is like all. The table NAMES says what each standing is
called; two groups never bear one name.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analytics.methods.portraits.clustering import SEED, Labels
from analytics.result import Unit

Level = Literal["top", "high", "middle", "low"]

#: Mean percentiles from which a group stands at the top or high, and up to which it stands low.
TOP = 0.8
HIGH = 0.6
LOW = 0.4
#: Median days without an order from which people are called lapsed, not just quiet.
LAPSED_DAYS = 30
#: Shares of a group with a single order, or new in the period, that make it "one-time" or "new".
ONE_TIME = 0.75
NEW = 0.5
#: Effects (Cohen's d) below this are not worth a word (Cohen 1988: 0.2 is small).
SMALL_EFFECT = 0.2
#: Leaves of the tree that tells groups apart, and people on whom it grows.
LEAVES = 12
TREE_ON = 20_000


@dataclass(frozen=True)
class Trait:
    """One column of what is known about people.

    `more` and `less` follow a group's name where it has more or less of the trait than a group
    that would be called the same.
    """

    key: str
    label: str
    unit: Unit
    more: str
    less: str


@dataclass(frozen=True)
class Standing:
    """Mean percentiles of a group, 0..1: `recency` is high where people bought lately.

    `days` is the median since the last order, `one_time` the share with a single order, `new` the
    share first seen in the period, None where that cannot be told.
    """

    recency: float
    frequency: float
    money: float
    days: float
    one_time: float
    new: float | None


@dataclass(frozen=True)
class Name:
    """What a standing is called; None where a level does not matter, and top is high as well.

    `{Quiet}` becomes "Lapsed" where the silence is long, `{times}` "one-time" or "occasional".
    """

    recency: Level | None
    frequency: Level | None
    money: Level | None
    name: str
    description: str


#: The first row that fits names the group.
NAMES = (
    Name("high", "top", "top", "Champions", "recent, frequent, big spenders"),
    Name("high", "high", None, "Loyal regulars", "recent and frequent"),
    Name("high", "middle", "high", "Rising big spenders", "recent, and spending much"),
    Name("high", "low", "high", "Recent big spenders", "few orders, but recent and large"),
    Name("high", "low", None, "{New} {times} buyers", "recent, with few orders so far"),
    Name("high", None, "low", "Recent small spenders", "recent, but spending little"),
    Name("high", None, None, "Recent buyers", "recent, otherwise like most"),
    Name("middle", "high", "high", "Core big spenders", "frequent, big spenders"),
    Name("middle", "high", "low", "Frequent small spenders", "frequent, but spending little"),
    Name("middle", "high", None, "Steady regulars", "frequent, otherwise like most"),
    Name("middle", "low", "high", "Few large orders", "rare, but spending much"),
    Name("middle", None, "high", "Big spenders", "spending much, otherwise like most"),
    Name("middle", "low", None, "{Times} buyers", "few orders"),
    Name("middle", None, "low", "Small spenders", "spending little, otherwise like most"),
    Name("middle", None, None, "Typical buyers", "like most"),
    Name("low", "top", "top", "{Quiet} champions", "frequent, big spenders, {quiet}"),
    Name("low", "high", "high", "{Quiet} loyal spenders", "frequent, spending much, {quiet}"),
    Name("low", "high", None, "{Quiet} regulars", "frequent, {quiet}"),
    Name("low", None, "high", "{Quiet} big spenders", "big spenders, {quiet}"),
    Name("low", "low", None, "{Quiet} {times} buyers", "few orders, {quiet}"),
    Name("low", None, "low", "{Quiet} small spenders", "spending little, {quiet}"),
    Name("low", None, None, "{Quiet} buyers", "{quiet}, otherwise like most"),
)


@dataclass(frozen=True)
class Difference:
    """How a group differs in one trait.

    `effect` is Cohen's d of the scaled trait, the group against the rest; the medians are in the
    trait's unit, None where it is known of nobody.
    """

    trait: Trait
    median: float | None
    median_of_all: float | None
    effect: float

    @property
    def ratio(self) -> float | None:
        """The group's median over everybody's; None where that is unknown or zero."""
        if self.median is None or not self.median_of_all:
            return None
        return self.median / self.median_of_all


@dataclass(frozen=True)
class Portrait:
    """One group: its label, name, what the name means, and its differences, largest first."""

    label: int
    name: str
    description: str
    people: int
    standing: Standing
    differences: tuple[Difference, ...]

    def median(self, key: str) -> float | None:
        """The group's median of a trait."""
        return next(d.median for d in self.differences if d.trait.key == key)


@dataclass(frozen=True)
class Bound:
    """A trait above `low` (excluded) and up to `high` (included); None is unbounded."""

    trait: Trait
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Rule:
    """How to tell a group: the bounds of the leaf that holds most of it.

    `reach` is the share of the group that they catch, `purity` the share of those caught who
    belong to it.
    """

    label: int
    bounds: tuple[Bound, ...]
    reach: float
    purity: float


@dataclass(frozen=True)
class Tree:
    """A shallow tree over the traits.

    `fidelity` is the share of people that it puts right, measured where it was not grown.
    """

    fidelity: float
    rules: tuple[Rule, ...]


def portraits(
    people: pd.DataFrame,
    scaled: NDArray[np.float32],
    labels: Labels,
    traits: Sequence[Trait],
    *,
    outside: str = "Unlike any group",
) -> list[Portrait]:
    """A portrait of each label, ascending; label -1 (noise) is called `outside`.

    `people` has one row per person with every trait's column, "recency", "orders" and "revenue"
    among them, and "is_new" (null: cannot be told); `scaled` has a column per trait.
    """
    present = [int(label) for label in np.unique(labels)]
    standings = dict(zip(present, standings_of(people, labels, present), strict=True))
    differences = differences_of(people, scaled, labels, present, traits)
    named = {label: name_of(standings[label]) for label in present if label >= 0}
    plain = {label: name for label, (name, _) in named.items()}
    names = told_apart(plain, differences)
    if -1 in present:
        names[-1] = outside
        named[-1] = (outside, "far from every group")
    sizes = Counter(labels.tolist())
    return [
        Portrait(
            label,
            names[label],
            named[label][1],
            sizes[label],
            standings[label],
            tuple(sorted(differences[label], key=lambda d: -abs(d.effect))),
        )
        for label in present
    ]


def standings_of(people: pd.DataFrame, labels: Labels, present: Sequence[int]) -> list[Standing]:
    """Where each group stands among all."""
    recency = people["recency"].to_numpy(dtype=np.float64)
    orders = people["orders"].to_numpy(dtype=np.float64)
    revenue = people["revenue"].to_numpy(dtype=np.float64)
    n = len(people)
    late, often, much = ((ranks_of(v) - 0.5) / n for v in (recency, orders, revenue))
    ranks = [1 - late, often, much]
    is_new = people["is_new"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    telling = 0 < np.nansum(is_new) < 0.9 * n
    found = []
    for label in present:
        own = labels == label
        r, f, m = (float(rank[own].mean()) for rank in ranks)
        new = float(np.nan_to_num(is_new[own]).mean()) if telling else None
        days = float(np.median(recency[own]))
        found.append(Standing(r, f, m, days, float((orders[own] == 1).mean()), new))
    return found


def ranks_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean ranks from 1, ties sharing theirs; small whole numbers are counted, not sorted."""
    n = len(values)
    if not n or values.min() < 0 or values.max() > 4 * n or (values != np.floor(values)).any():
        from scipy.stats import rankdata  # imported here: slow to load

        ranks: NDArray[np.float64] = rankdata(values)
        return ranks
    whole = values.astype(np.int64)
    counts = np.bincount(whole)
    through = np.cumsum(counts)
    return (through - (counts - 1) / 2)[whole]


def level(percentile: float) -> Level:
    """Top, high, middle or low among all."""
    if percentile >= HIGH:
        return "top" if percentile >= TOP else "high"
    return "low" if percentile <= LOW else "middle"


def name_of(standing: Standing) -> tuple[str, str]:
    """The name of a standing, and what it means."""
    row = next(
        row
        for row in NAMES
        if meets(row.recency, standing.recency)
        and meets(row.frequency, standing.frequency)
        and meets(row.money, standing.money)
    )
    lapsed = standing.days >= LAPSED_DAYS
    times = "one-time" if standing.one_time >= ONE_TIME else "occasional"
    words = {
        "Quiet": "Lapsed" if lapsed else "Quiet",
        "quiet": "no order for long" if lapsed else "no order lately",
        "New": "New" if standing.new is not None and standing.new >= NEW else "Recent",
        "times": times,
        "Times": times.capitalize(),
    }
    return row.name.format(**words), row.description.format(**words)


def meets(wanted: Level | None, percentile: float) -> bool:
    """Whether a percentile is at a level; what is at the top is high too."""
    found = level(percentile)
    return wanted in (None, found) or (wanted == "high" and found == "top")


def told_apart(
    names: Mapping[int, str], differences: Mapping[int, Sequence[Difference]]
) -> dict[int, str]:
    """The names, those borne twice followed by what most sets their bearer apart from the others.

    Should even that not do, they are numbered.
    """
    apart = dict(names)
    for name, bearers in Counter(names.values()).items():
        if bearers > 1:
            alike = [label for label in sorted(names) if names[label] == name]
            apart |= {k: f"{name} {words}" for k, words in qualifiers(alike, differences).items()}
    return apart


def qualifiers(
    alike: Sequence[int], differences: Mapping[int, Sequence[Difference]]
) -> dict[int, str]:
    """Distinct words for each of several groups: the trait that is furthest from their mean."""
    effects = np.array([[d.effect for d in differences[label]] for label in alike])
    away = effects - effects.mean(axis=0)
    traits = [d.trait for d in differences[alike[0]]]
    found: dict[int, str] = {}
    taken: set[str] = set()
    order = sorted(np.ndindex(away.shape), key=lambda cell: (-abs(away[cell]), cell))
    for row, column in order:
        words = traits[column].more if away[row, column] > 0 else traits[column].less
        if alike[row] not in found and words not in taken and abs(away[row, column]) > 1e-9:
            found[alike[row]] = words
            taken.add(words)
    left = (label for label in alike if label not in found)
    return found | {label: f"({number})" for number, label in enumerate(left, start=1)}


def differences_of(
    people: pd.DataFrame,
    scaled: NDArray[np.float32],
    labels: Labels,
    present: Sequence[int],
    traits: Sequence[Trait],
) -> dict[int, list[Difference]]:
    """Each group's differences from the rest, in the order of `traits`."""
    values = {t.key: people[t.key].to_numpy(dtype=np.float64, na_value=np.nan) for t in traits}
    of_all = {key: known_median(column) for key, column in values.items()}
    sums, squares = scaled.sum(axis=0, dtype=np.float64), (scaled.astype(np.float64) ** 2).sum(0)
    found = {}
    for label in present:
        own = labels == label
        effects = effects_of(scaled[own], sums, squares, len(labels))
        found[label] = [
            Difference(t, known_median(values[t.key][own]), of_all[t.key], float(effect))
            for t, effect in zip(traits, effects, strict=True)
        ]
    return found


def effects_of(
    own: NDArray[np.float32], sums: NDArray[np.float64], squares: NDArray[np.float64], n: int
) -> NDArray[np.float64]:
    """Cohen's d of rows against all others, with the pooled deviation (Cohen 1988, eq. 2.5.1).

    `sums` and `squares` are those of all `n` rows. 0 where nobody is left to compare with.
    """
    n1, n2 = len(own), n - len(own)
    if n1 == 0 or n2 == 0 or n < 3:
        return np.zeros(own.shape[1])
    sum1, square1 = own.sum(axis=0, dtype=np.float64), (own.astype(np.float64) ** 2).sum(axis=0)
    mean1, mean2 = sum1 / n1, (sums - sum1) / n2
    spread = (square1 - n1 * mean1**2) + (squares - square1 - n2 * mean2**2)
    pooled = np.sqrt(np.maximum(spread, 0) / (n - 2))
    return np.where(pooled > 1e-9, (mean1 - mean2) / np.where(pooled > 1e-9, pooled, 1), 0.0)


def known_median(column: NDArray[np.float64]) -> float | None:
    """The median of what is known; None where nothing is."""
    known = column[~np.isnan(column)]
    return float(np.median(known)) if known.size else None


def grow_tree(people: pd.DataFrame, labels: Labels, traits: Sequence[Trait]) -> Tree:
    """A tree of at most LEAVES leaves that tells the groups apart by their traits.

    Unknown traits count as the median. `people` are in a fixed order.
    """
    order = np.random.default_rng(SEED).permutation(len(people))[:TREE_ON]
    table = np.column_stack(
        [people[t.key].to_numpy(dtype=np.float64, na_value=np.nan)[order] for t in traits]
    )
    medians = [known_median(column) or 0.0 for column in table.T]
    table = np.where(np.isnan(table), medians, table)
    own = labels[order]
    half = len(own) // 2
    fidelity = new_tree(half).fit(table[:half], own[:half]).score(table[half:], own[half:])
    grown = new_tree(len(own)).fit(table, own)
    return Tree(float(fidelity), rules_of(grown, table, own, traits))


def new_tree(n: int) -> Any:
    """A shallow tree for `n` rows."""
    # imported here: slow to load
    from sklearn.tree import DecisionTreeClassifier

    least = max(2, n // 200)
    return DecisionTreeClassifier(max_leaf_nodes=LEAVES, min_samples_leaf=least, random_state=SEED)


def rules_of(
    model: Any, table: NDArray[np.float64], own: Labels, traits: Sequence[Trait]
) -> tuple[Rule, ...]:
    """The rule of each group's largest leaf, by label; the path's bounds on a trait are merged."""
    leaves = model.apply(table)
    rules = []
    for label in np.unique(own):
        mine = leaves[own == label]
        leaf = int(np.bincount(mine).argmax())
        caught = leaves == leaf
        bounds = bounds_of(model, leaf, traits)
        reach = float((mine == leaf).mean())
        rules.append(Rule(int(label), bounds, reach, float((own[caught] == label).mean())))
    return tuple(rules)


def bounds_of(model: Any, leaf: int, traits: Sequence[Trait]) -> tuple[Bound, ...]:
    """The bounds on the way from the root to a leaf, in the order of `traits`."""
    tree = model.tree_
    parents = {}
    for node in range(tree.node_count):
        if tree.children_left[node] >= 0:
            parents[int(tree.children_left[node])] = (node, True)
            parents[int(tree.children_right[node])] = (node, False)
    low: dict[int, float] = {}
    high: dict[int, float] = {}
    node = leaf
    while node in parents:
        node, is_left = parents[node]
        trait, at = int(tree.feature[node]), float(tree.threshold[node])
        if is_left:
            high[trait] = min(at, high.get(trait, at))
        else:
            low[trait] = max(at, low.get(trait, at))
    return tuple(
        Bound(t, low.get(i), high.get(i)) for i, t in enumerate(traits) if i in low or i in high
    )
