"""Association rules: from itemsets to "who buys these also buys that", fit to be read by people.

Metrics have mlxtend's names and meanings (support, confidence: Agrawal, Imieliński, Swami 1993;
lift, conviction: Brin et al. 1997; leverage: Piatetsky-Shapiro 1991), but are computed from whole
numbers of baskets, so that 12 of 15 does reach a confidence of 0.8.

A rule frame has, per rule, `antecedents` and `consequents` (frozensets of item names), the metrics,
`extra_baskets` (baskets with both sides beyond what chance would give), and the baskets behind
them: `count` hold both sides, `antecedent_count` and `consequent_count` the one. No function
changes the frame it is given.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, Series

from analytics.methods.arrays import Ints
from analytics.methods.itemsets import Counted, Itemsets, MiningTooLargeError

Items = frozenset[Hashable]

MOST_RULES = 200_000
SUBSETS_AT_ONCE = 1 << 20


def association_rules(
    itemsets: Itemsets,
    *,
    min_confidence: float = 0.0,
    min_lift: float = 0.0,
    single_consequent: bool = False,
    max_rules: int = MOST_RULES,
) -> DataFrame:
    """All rules of the itemsets that reach both thresholds, in a fixed order.

    `single_consequent` keeps to rules with one item on the right, as R's arules does.
    MiningTooLargeError where more than `max_rules` pass.
    """
    names = np.fromiter(itemsets.names, object, len(itemsets.names))
    antecedents: list[Items] = []
    consequents: list[Items] = []
    counts = [np.zeros((3, 0), np.int64)]
    for split in _splits(itemsets, single_consequent=single_consequent):
        both, left, right = split.counts
        lift = both * itemsets.n_baskets / (left * right)
        passing = (both / left >= min_confidence) & (lift >= min_lift)
        if (total := len(antecedents) + int(passing.sum())) > max_rules:
            raise MiningTooLargeError("rules", total, max_rules)
        sets = names[split.itemsets[passing]]
        antecedents += map(frozenset, sets[:, split.on_left].tolist())
        consequents += map(frozenset, sets[:, ~split.on_left].tolist())
        counts.append(split.counts[:, passing])
    sides = DataFrame(
        {
            "antecedents": Series(antecedents, dtype=object),
            "consequents": Series(consequents, dtype=object),
        }
    )
    return sides.assign(**_metrics(np.concatenate(counts, axis=1), itemsets.n_baskets))


def candidate_rules(itemsets: Itemsets, *, single_consequent: bool = False) -> int:
    """How many rules the itemsets hold before any threshold: all that a test has looked at."""
    return sum(
        len(level.counts) * (length if single_consequent else 2**length - 2)
        for length, level in enumerate(itemsets.levels, 1)
        if length > 1
    )


@dataclass(frozen=True, eq=False)
class _Split:
    """Itemsets of one length, all parted in two in the same way."""

    itemsets: Ints
    on_left: NDArray[np.bool_]  # of each column: is it part of the antecedent
    counts: Ints  # three rows: baskets with both sides, with the left, with the right


def _splits(itemsets: Itemsets, *, single_consequent: bool) -> Iterator[_Split]:
    """Every way to part every itemset; a side is written as a number with a bit per column."""
    for length, level in enumerate(itemsets.levels[1:], 2):
        whole = 2**length - 1
        one_left_out = [whole - (1 << column) for column in range(length)]
        step = max(1, SUBSETS_AT_ONCE >> length)
        for start in range(0, len(level.counts), step):
            rows = slice(start, start + step)
            subsets = _Subsets(itemsets, level.items[rows])
            for left in one_left_out if single_consequent else range(1, whole):
                yield _Split(
                    subsets.of,
                    (left >> np.arange(length) & 1).astype(bool),
                    np.stack(
                        [level.counts[rows], subsets.counts(left), subsets.counts(whole - left)]
                    ),
                )


class _Subsets:
    """Looks up the counts of subsets of many itemsets of one length."""

    def __init__(self, itemsets: Itemsets, of: Ints) -> None:
        self.of = of
        self._itemsets = itemsets
        self._places = {0: np.zeros(len(of), np.int64)}

    def counts(self, columns: int) -> Ints:
        return self._itemsets.levels[columns.bit_count() - 1].counts[self._place(columns)]

    def _place(self, columns: int) -> Ints:
        """Where each subset stands in its level: one step from where all but its last item does."""
        if columns not in self._places:
            last = columns.bit_length() - 1
            shorter = self._place(columns - (1 << last))
            place = self._itemsets.extend(shorter, self.of[:, last], columns.bit_count())
            self._places[columns] = place
        return self._places[columns]


def _metrics(counts: Ints, n: int) -> dict[str, NDArray[Any]]:
    """mlxtend's metrics, each with a single division of whole numbers where that is possible."""
    both, left, right = counts
    confidence = both / left
    beyond_chance = both * n - left * right  # baskets, times n
    return {
        "antecedent support": left / n,
        "consequent support": right / n,
        "support": both / n,
        "confidence": confidence,
        "lift": both * n / (left * right),
        "representativity": np.ones(len(both)),  # no value is ever unknown here
        "leverage": beyond_chance / (n * n),
        "conviction": _ratio(left * (n - right), n * (left - both), or_else=np.inf),
        "zhangs_metric": _ratio(
            beyond_chance, np.maximum(both * (n - left), left * (right - both)), or_else=0.0
        ),
        "jaccard": both / (left + right - both),
        "certainty": _ratio(beyond_chance, left * (n - right), or_else=0.0),
        "kulczynski": (confidence + both / right) / 2,
        "extra_baskets": beyond_chance / n,
        "count": both,
        "antecedent_count": left,
        "consequent_count": right,
    }


def _ratio(above: Ints, below: Ints, *, or_else: float) -> NDArray[np.float64]:
    ratio = np.full(len(above), or_else)
    np.divide(above, below, out=ratio, where=below != 0)
    return ratio


@dataclass(frozen=True, eq=False)
class Folded:
    """Rules for people, and how many were left out as `redundant` and as `mirrors`."""

    rules: DataFrame
    redundant: int
    mirrors: int


def fold_mirrors(rules: DataFrame) -> Folded:
    """Without redundant rules, and with A → B and B → A as one row: the more confident direction.

    `reverse_confidence` is the confidence of the other direction.
    """
    general = rules[~is_redundant(rules)]
    words = general["antecedents"].map(in_words)
    rank = list(zip(-general["confidence"], words, strict=True))
    kept: dict[frozenset[Items], int] = {}
    for at, sides in enumerate(zip(general["antecedents"], general["consequents"], strict=True)):
        other = kept.setdefault(frozenset(sides), at)
        if rank[at] < rank[other]:
            kept[frozenset(sides)] = at
    folded = general.iloc[sorted(kept.values())]
    return Folded(
        rules=folded.assign(
            reverse_confidence=folded["count"] / folded["consequent_count"]
        ).reset_index(drop=True),
        redundant=len(rules) - len(general),
        mirrors=len(general) - len(folded),
    )


def is_redundant(rules: DataFrame) -> Series:
    """Whether a rule with fewer antecedents and the same consequents is at least as confident.

    Bayardo, Agrawal, Gunopulos 2000, "Constraint-based rule mining in large, dense databases":
    the rule's improvement is not positive. Looking among `rules` alone misses nothing as long as
    only thresholds of confidence, lift and support have passed over them: the simpler rule of at
    least that confidence has passed too.
    """
    confidence_of: dict[Items, dict[Items, float]] = {}
    for antecedent, consequent, confidence in zip(
        rules["antecedents"], rules["consequents"], rules["confidence"], strict=True
    ):
        confidence_of.setdefault(consequent, {})[antecedent] = confidence
    best_of: dict[Items, dict[Items, float]] = {consequent: {} for consequent in confidence_of}

    def best_of_simpler(antecedent: Items, consequent: Items) -> float:
        known = best_of[consequent]
        if antecedent not in known:
            simpler = [antecedent - {item} for item in antecedent] if len(antecedent) > 1 else []
            own = confidence_of[consequent]
            known[antecedent] = max(
                (max(own.get(one, -1.0), best_of_simpler(one, consequent)) for one in simpler),
                default=-1.0,
            )
        return known[antecedent]

    best = map(best_of_simpler, rules["antecedents"], rules["consequents"])
    return Series(list(best), index=rules.index, dtype=float) >= rules["confidence"]


def order_for_people(rules: DataFrame) -> DataFrame:
    """By baskets beyond chance, then lift, then confidence, then names: an order without ties.

    Confidence first would list whatever goes with the best sellers, lift first the coincidences of
    a handful of baskets. Baskets beyond chance weigh how strong a bond is by how often it shows,
    and are what a shelf, a bundle or a page can hope to move.
    """
    words = [rules[side].map(in_words) for side in ("antecedents", "consequents")]
    strongest = (-rules[metric] for metric in ("leverage", "lift", "confidence"))
    by = list(zip(*strongest, *words, strict=True))
    return rules.iloc[sorted(range(len(rules)), key=by.__getitem__)].reset_index(drop=True)


def in_words(items: Items) -> list[str]:
    """The names of the items, in their order."""
    return sorted(map(str, items))


def significance(rules: DataFrame, n_baskets: int, *, tested: int | None = None) -> DataFrame:
    """The rules with `p` and `q`: could they be chance?

    `p`: Fisher's exact test, one-sided: the chance of `count` or more baskets in common when sides
    this frequent fall on baskets independently. `q`: p adjusted for many rules by Benjamini and
    Hochberg 1995. Say in `tested` how many rules were looked at to find these (candidate_rules):
    rules chosen for their strength and tested only among themselves look better than they are
    (Webb 2007, "Discovering significant patterns").
    """
    # imported here: slow to load
    from scipy.stats import hypergeom

    tested = len(rules) if tested is None else tested
    if tested < len(rules):
        raise ValueError(f"{len(rules)} rules cannot come from {tested} tested")
    sides = np.sort(rules[["antecedent_count", "consequent_count"]].to_numpy(), axis=1)
    cases, case_of = np.unique(
        np.column_stack([rules["count"].to_numpy(), sides]), axis=0, return_inverse=True
    )
    both, rarer, commoner = cases.T
    p = hypergeom.sf(both - 1, n_baskets, commoner, rarer)[case_of.reshape(-1)]
    return rules.assign(p=p, q=benjamini_hochberg(p, tested))


def benjamini_hochberg(p: NDArray[np.float64], tested: int) -> NDArray[np.float64]:
    """The least false discovery rate at which each is a discovery, the untested ones at p = 1."""
    order = np.argsort(p)
    scaled = p[order] * tested / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


def stable_in_halves(rules: DataFrame, first: Counted, second: Counted) -> DataFrame:
    """The rules with `count_` and `lift_` in the `first` and `second` half, and whether `stable`.

    Stable: the sides meet more often than by chance in both halves. A lift is NaN where a half
    lacks a side.
    """
    left, right = list(rules["antecedents"]), list(rules["consequents"])
    both = [one | other for one, other in zip(left, right, strict=True)]
    columns: dict[str, NDArray[Any]] = {}
    for half, baskets in (("first", first), ("second", second)):
        together = baskets.counts_of(both)
        apart = baskets.counts_of(left) * baskets.counts_of(right)
        columns[f"count_{half}"] = together
        columns[f"lift_{half}"] = _ratio(together * baskets.n_baskets, apart, or_else=np.nan)
    stable = (columns["lift_first"] > 1) & (columns["lift_second"] > 1)
    return rules.assign(**columns, stable=stable)
