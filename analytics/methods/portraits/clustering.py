"""Groups of people in a cloud of scaled traits: K-means, how many groups, and DBSCAN.

Everything is the same for the same input: seeds are fixed, and rows come in a fixed order. Callers
run this under one thread (`one_thread`): the default pools spin while they wait, and burn a busy
machine's processors for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Points = NDArray[np.float32]
Labels = NDArray[np.int64]

SEED = 7
#: People on whom the groups are fitted; the rest are assigned to the nearest centre.
FIT_ON = 50_000
#: People on whom numbers of groups are compared: fitted, and judged by silhouette.
COMPARE_ON = 20_000
JUDGE_ON = 5_000
#: Refits on resampled people behind a stability, and the least that counts as stable.
REFITS = 8
STABLE = 0.8
#: A group below this share of the people, or this many, is a handful of strays, not a type.
LEAST_SHARE = 0.02
LEAST_GROUP = 10
#: People there must be for each group that is looked for.
PEOPLE_PER_GROUP = 20
#: Two groups only part who buys much from who buys little: taken where the gap is this clear.
#: (Kaufman and Rousseeuw 1990: 0.5 and above is a reasonable structure, below 0.25 none.)
CLEAR = 0.5
VAGUE = 0.25
#: Silhouettes within this share of the best are as good as the best.
NEAR = 0.15
#: Groups that two halves of the people agree upon: each at least so far (Tibshirani and Walther
#: 2005 take 0.8 to 0.9), and as well as on any other number, up to chance; over so many ways to
#: halve so many people; hopeless below WEAK.
STRONG = 0.8
AS_WELL = 0.04
HALVINGS = 4
HALVE = 10_000
WEAK = 0.6
#: Rows beyond which DBSCAN's neighbour lists do not fit, and HDBSCAN's tree takes too long.
DBSCAN_LIMIT = 50_000
HDBSCAN_LIMIT = 20_000


@dataclass(frozen=True)
class Candidate:
    """One number of groups: its centres (k, d), and how well it parts the people.

    `silhouette` is better when higher, `davies_bouldin` when lower; `least_share` is the share of
    the smallest group.
    """

    k: int
    centres: Points
    silhouette: float
    davies_bouldin: float
    least_share: float


@dataclass(frozen=True)
class Choice:
    """The candidate that was taken, its stability (ARI 0..1), and those it was chosen among.

    `strength` is the prediction strength (0..1) where that is why more groups were taken than the
    silhouette and Davies-Bouldin would have: `fewer`.
    """

    taken: Candidate
    stability: float
    among: tuple[Candidate, ...]
    strength: float | None = None
    fewer: int | None = None

    @property
    def k(self) -> int:
        """The number of groups."""
        return self.taken.k

    @property
    def by_silhouette(self) -> int:
        """The number of groups that the silhouette alone would take."""
        return max(self.among, key=lambda c: (c.silhouette, -c.k)).k

    @property
    def stable(self) -> bool:
        """Whether resampling the people leaves the groups much the same."""
        return self.stability >= STABLE


@dataclass(frozen=True)
class Density:
    """Dense groups: labels 0.. by size, -1 is noise, and how many neighbours make a core.

    `radius` is DBSCAN's; None for HDBSCAN, which looks at all radii. `least` is HDBSCAN's smallest
    group.
    """

    labels: Labels
    radius: float | None
    neighbours: int
    least: int = 0

    @property
    def noise(self) -> float:
        """The share of those who are in no group."""
        return float((self.labels < 0).mean())


def one_thread() -> threadpool_limits:
    """Within this block the numerical libraries use one thread each."""
    # imported here: slow to load; the limit is on the pools of libraries loaded by then
    import sklearn  # noqa: F401

    return threadpool_limits(1)


def centres_of(points: Points, k: int, *, starts: int = 10, seed: int = SEED) -> Points:
    """K-means (k-means++, Lloyd), the best of `starts`; centres in a fixed order."""
    # imported here: slow to load
    from sklearn.cluster import KMeans

    model = KMeans(k, n_init=starts, random_state=seed, algorithm="lloyd").fit(points)
    centres: Points = model.cluster_centers_.astype(np.float32)
    return centres[np.lexsort(centres.T[::-1])]


def kinds(points: Points) -> int:
    """How many different points there are: no more groups than that can be found."""
    return len(np.unique(points, axis=0))


def assign(points: Points, centres: Points, rows: int = 65_536) -> Labels:
    """The nearest centre of each point; the first of equally near ones."""
    labels = np.empty(len(points), dtype=np.int64)
    weights = (centres * centres).sum(axis=1)
    for start in range(0, len(points), rows):
        chunk = points[start : start + rows]
        labels[start : start + rows] = (weights - 2 * (chunk @ centres.T)).argmin(axis=1)
    return labels


def choose_k(points: Points, low: int = 2, high: int = 8) -> Choice:
    """How many groups: the first in order of choice that resampling leaves standing.

    Silhouettes within NEAR of the best are ties, which Davies-Bouldin decides. Numbers with a
    group too small to act on are passed over, and so is 2 unless its silhouette is CLEAR. Where
    none is stable, the most stable is taken, and its stability says so.

    Overlapping groups have low silhouettes, and two that lie close score better as one: where
    nothing is CLEAR, more groups are taken if two halves of the people agree upon each of them.
    """
    points = shuffled(points)
    high = max(low, min(high, len(points) // PEOPLE_PER_GROUP, kinds(points) - 1))
    candidates = compare(points, range(low, high + 1))
    least = max(LEAST_SHARE, LEAST_GROUP / len(points))
    fit = [c for c in candidates if c.least_share >= least and (c.k > 2 or is_clear(c))]
    among = tuple(fit) or candidates[:1]
    choices = []
    for candidate in in_order_of_choice(among):
        choice = Choice(candidate, stability(points, candidate.k), among)
        if choice.stable:
            return choice if is_clear(candidate) else told_further_apart(points, choice)
        choices.append(choice)
    return max(choices, key=lambda c: c.stability)


def told_further_apart(points: Points, choice: Choice) -> Choice:
    """The most groups, no fewer than were chosen, that two halves agree upon as well as on any."""
    no_fewer = [c for c in choice.among if c.k >= choice.k]
    if len(no_fewer) == 1:
        return choice
    strengths = {c.k: prediction_strength(points, c.k) for c in no_fewer}
    least = max(STRONG, max(strengths.values()) - AS_WELL)
    candidate = max(
        (c for c in no_fewer if strengths[c.k] >= least), key=lambda c: c.k, default=None
    )
    if candidate is None or candidate.k == choice.k:
        return choice
    steady = stability(points, candidate.k)
    return Choice(candidate, steady, choice.among, strengths[candidate.k], choice.k)


def prediction_strength(points: Points, k: int) -> float:
    """How well groups found in one half of the people tell those of the other (Tibshirani and
    Walther 2005): the share of pairs of a group that stay together, in the worst group; the mean
    over several ways to halve them.
    """
    found: list[float] = []
    for i in range(HALVINGS):
        order = np.random.default_rng(SEED + i).permutation(len(points))[:HALVE]
        one, other = points[order[: len(order) // 2]], points[order[len(order) // 2 :]]
        own = assign(other, centres_of(other, k, starts=4, seed=SEED + i))
        told = assign(other, centres_of(one, k, starts=4, seed=SEED + i))
        table = np.zeros((k, k))
        np.add.at(table, (own, told), 1)
        sizes = table.sum(axis=1)
        together = (table * (table - 1)).sum(axis=1)
        found.append(float((together / np.maximum(sizes * (sizes - 1), 1)).min()))
        if np.mean(found) < WEAK:
            break
    return float(np.mean(found))


def in_order_of_choice(candidates: Sequence[Candidate]) -> list[Candidate]:
    """By silhouette; those within NEAR of the best come first, by Davies-Bouldin."""
    best = max(c.silhouette for c in candidates)

    def key(c: Candidate) -> tuple[bool, float, int]:
        tied = c.silhouette >= best - NEAR * abs(best)
        return not tied, c.davies_bouldin if tied else -c.silhouette, c.k

    return sorted(candidates, key=key)


def shuffled(points: Points) -> Points:
    """COMPARE_ON of the points in a random order that is always the same."""
    order = np.random.default_rng(SEED).permutation(len(points))
    return points[order[:COMPARE_ON]]


def is_clear(candidate: Candidate) -> bool:
    """Whether the groups lie well apart."""
    return candidate.silhouette >= CLEAR


def judge(points: Points, k: int) -> Choice:
    """A given number of groups, judged as `choose_k` judges its own."""
    points = shuffled(points)
    (candidate,) = compare(points, [k])
    return Choice(candidate, stability(points, k), (candidate,))


def compare(points: Points, ks: Sequence[int]) -> tuple[Candidate, ...]:
    """Each number of groups fitted on the points, and judged on the first JUDGE_ON of them."""
    # imported here: slow to load
    from sklearn.metrics import davies_bouldin_score

    centres = [centres_of(points, k, starts=4) for k in ks]
    labellings = [assign(points, c) for c in centres]
    judged = points[:JUDGE_ON]
    silhouettes = silhouettes_of(judged, [labels[:JUDGE_ON] for labels in labellings])
    return tuple(
        Candidate(
            k,
            found,
            silhouette,
            float(davies_bouldin_score(points, labels)) if len(set(labels)) > 1 else np.inf,
            float(np.bincount(labels, minlength=k).min() / len(labels)),
        )
        for k, found, labels, silhouette in zip(ks, centres, labellings, silhouettes, strict=True)
    )


def silhouettes_of(points: Points, labellings: Sequence[Labels], rows: int = 512) -> list[float]:
    """The mean silhouette (Rousseeuw 1987) of each labelling of the same points.

    Distances are measured once for all labellings: their sums by group are one matrix product.
    A group of one counts 0, and so does a labelling that has one group only.
    """
    n = len(points)
    widths = [int(labels.max()) + 1 for labels in labellings]
    starts = np.concatenate([[0], np.cumsum(widths)])
    member = np.zeros((n, starts[-1]), dtype=np.float32)
    for start, labels in zip(starts, labellings, strict=False):
        member[np.arange(n), start + labels] = 1
    sizes = member.sum(axis=0, dtype=np.float64)
    squares = (points.astype(np.float64) ** 2).sum(axis=1)
    totals = np.zeros(len(labellings))
    for first in range(0, n, rows):
        chunk = slice(first, min(first + rows, n))
        here = np.arange(chunk.stop - first)
        products = points[chunk].astype(np.float64) @ points.T.astype(np.float64)
        squared = squares[chunk, None] + squares[None, :] - 2 * products
        squared[here, here + first] = 0
        distances = np.sqrt(np.maximum(squared, 0)).astype(np.float32)
        sums = (distances @ member).astype(np.float64)
        for i, labels in enumerate(labellings):
            block = slice(starts[i], starts[i + 1])
            totals[i] += silhouette_sum(sums[:, block], sizes[block], labels[chunk])
    return [float(t / n) for t in totals]


def silhouette_sum(sums: NDArray[np.float64], sizes: NDArray[np.float64], own: Labels) -> float:
    """Sum of silhouettes of points whose summed distances to each group are `sums` (n, k)."""
    rows = np.arange(len(own))
    own_size = sizes[own]
    within = sums[rows, own] / np.maximum(own_size - 1, 1)
    means = sums / np.where(sizes > 0, sizes, 1)
    means[:, sizes == 0] = np.inf
    means[rows, own] = np.inf
    nearest = means.min(axis=1)
    larger = np.maximum(within, nearest)
    usable = (own_size > 1) & np.isfinite(nearest) & (larger > 0)
    return float(((nearest - within)[usable] / larger[usable]).sum())


def stability(points: Points, k: int, refits: int = REFITS) -> float:
    """Mean adjusted Rand index of the groups with those of refits on resampled people, 0..1.

    Agreement is measured on the first JUDGE_ON points (Hubert and Arabie 1985; bootstrap as in
    Fang and Wang 2012).
    """
    # imported here: slow to load
    from sklearn.metrics import adjusted_rand_score

    points = points[:JUDGE_ON]
    base = assign(points, centres_of(points, k))
    few = kinds(points) < 10 * k  # so few that a resample may lack some
    agreements = []
    for refit in range(refits):
        rng = np.random.default_rng(SEED + refit)
        resampled = points[rng.integers(0, len(points), len(points))]
        found = min(k, kinds(resampled)) if few else k
        centres = centres_of(resampled, found, starts=4, seed=SEED + refit)
        agreements.append(adjusted_rand_score(base, assign(points, centres)))
    return max(0.0, float(np.mean(agreements)))


def dense_groups(points: Points, neighbours: int = 0) -> Density:
    """DBSCAN with the radius at the knee of the distances to the nth neighbour.

    `neighbours` (with the point itself) make a core; by default 2 % of the points, 10 at least, 40
    at most. Raises ValueError above DBSCAN_LIMIT points.
    """
    # imported here: slow to load
    from sklearn.cluster import DBSCAN

    if len(points) > DBSCAN_LIMIT:
        raise ValueError(f"{len(points)} points; DBSCAN takes {DBSCAN_LIMIT}")
    neighbours = neighbours or min(max(10, len(points) // 50), 40)
    radius = knee_radius(points, neighbours)
    found = DBSCAN(eps=radius, min_samples=neighbours, algorithm="kd_tree").fit(points).labels_
    return Density(by_size(found), radius, neighbours)


def nested_groups(points: Points, least: int = 0) -> Density:
    """HDBSCAN: the groups that last longest as the radius shrinks (Campello et al. 2013).

    `least` people make a group; by default 2 % of them, 10 at least. Raises ValueError above
    HDBSCAN_LIMIT points.
    """
    # imported here: slow to load
    from sklearn.cluster import HDBSCAN

    if len(points) > HDBSCAN_LIMIT:
        raise ValueError(f"{len(points)} points; HDBSCAN takes {HDBSCAN_LIMIT}")
    least = least or max(LEAST_GROUP, len(points) // 50)
    neighbours = min(LEAST_GROUP, least)
    model = HDBSCAN(least, min_samples=neighbours, algorithm="kd_tree", copy=True)
    return Density(by_size(model.fit(points).labels_), None, neighbours, least)


def by_size(found: NDArray[np.integer]) -> Labels:
    """Labels 0.. from the largest group down; -1 stays."""
    sizes = np.bincount(found[found >= 0]) if (found >= 0).any() else np.zeros(0, dtype=np.int64)
    rank = np.empty(len(sizes), dtype=np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    labels = np.full(len(found), -1, dtype=np.int64)
    labels[found >= 0] = rank[found[found >= 0]]
    return labels


def knee_radius(points: Points, neighbours: int) -> float:
    """Where the sorted distances to the nth neighbour bend most: furthest below their chord.

    The k-distance plot of Ester et al. (1996), read as in Satopää et al. (2011).
    """
    # imported here: slow to load
    from sklearn.neighbors import KDTree

    distances = KDTree(points).query(points, k=min(neighbours, len(points)))[0][:, -1]
    distances = np.sort(distances)
    low, high = float(distances[0]), float(distances[-1])
    if high <= low:
        return max(high, 1e-6)
    heights = (distances - low) / (high - low)
    along = np.linspace(0, 1, len(distances))
    return max(float(distances[np.argmax(along - heights)]), 1e-6)
