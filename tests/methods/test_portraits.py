"""Portraits: scaling, grouping, choosing how many, and naming."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import adjusted_rand_score, silhouette_score

from analytics.methods.portraits import clustering, naming, scaling
from analytics.methods.portraits.naming import Difference, Standing, Trait

TRAITS = (
    Trait("recency", "days since last order", "days", "quiet for longer", "here lately"),
    Trait("orders", "orders", "count", "with more orders", "with fewer orders"),
    Trait("revenue", "net spend", "money", "spending more", "spending less"),
)


def heavy_tailed(n, seed=0, types=6, columns=8):
    """People of known types with log-normal traits, 2 % of them strays (-1): (traits, type)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1.2, (types, columns))
    shares = np.array([6, 5, 4, 3, 2, 2][:types])
    kind = rng.choice(types, n, p=shares / shares.sum())
    spread = rng.uniform(0.4, 0.7, columns) * rng.normal(size=(n, columns))
    traits = np.exp(2 + centres[kind] + spread)
    stray = rng.random(n) < 0.02
    traits[stray] = np.exp(2 + rng.normal(0, 3, (int(stray.sum()), columns)))
    return traits, np.where(stray, -1, kind)


def buyers(recency, orders, revenue, is_new=0):
    """A frame of people for naming."""
    return pd.DataFrame(
        {"recency": recency, "orders": orders, "revenue": revenue, "is_new": is_new}
    )


class TestScaling:
    def test_log_scaling_centres_and_takes_the_tail_away(self):
        traits = np.exp(np.random.default_rng(0).normal(3, 1, (5000, 2)))
        scaled = scaling.fit_scaler(traits).apply(traits)
        assert scaled.dtype == np.float32
        assert np.abs(scaled.mean(axis=0)).max() < 0.01
        assert np.abs(scaled.std(axis=0) - 1).max() < 0.02
        assert np.abs(scaled).max() <= scaling.LIMIT

    def test_unknown_traits_speak_for_no_group(self):
        traits = np.array([[0.0], [np.e - 1], [np.nan]])
        assert scaling.fit_scaler(traits).apply(traits)[:, 0].tolist() == [-1.0, 1.0, 0.0]

    @pytest.mark.parametrize("how", ["log", "normal"])
    def test_a_trait_that_is_the_same_for_all_scales_to_zero(self, how):
        traits = np.column_stack([np.full(50, 7.0), np.full(50, np.nan), np.arange(50.0)])
        scaled = scaling.fit_scaler(traits, how).apply(traits)
        assert not scaled[:, :2].any()
        assert scaled[:, 2].std() > 0.5

    def test_quantile_scaling_makes_any_tail_normal_and_leaves_ties_together(self):
        rng = np.random.default_rng(1)
        traits = np.column_stack([np.exp(rng.normal(0, 3, 20_000)), rng.integers(1, 4, 20_000)])
        scaled = scaling.fit_scaler(traits, "normal").apply(traits)
        assert abs(scaled[:, 0].mean()) < 0.02
        assert np.percentile(scaled[:, 0], 84) == pytest.approx(1, abs=0.05)
        assert len(np.unique(scaled[:, 1].round(3))) == 3

    def test_a_sample_is_the_same_people_wherever_they_stand(self):
        ids = pd.Series([f"person-{i}" for i in range(3000)])
        there = ids.sample(frac=1, random_state=3).reset_index(drop=True)
        sample = set(ids[scaling.stable_sample(ids, 500)])
        assert len(sample) == 500
        assert sample == set(there[scaling.stable_sample(there, 500)])
        grown = pd.concat([ids, pd.Series(["one more"])], ignore_index=True)
        assert len(sample - set(grown[scaling.stable_sample(grown, 500)])) <= 1

    def test_few_people_are_all_in_the_sample(self):
        assert scaling.stable_sample(pd.Series(["a", "b"]), 5).tolist() == [0, 1]


class TestGrouping:
    @pytest.mark.parametrize("how", ["log", "normal"])
    def test_planted_types_are_recovered_from_heavy_tails(self, how):
        traits, kind = heavy_tailed(50_000)
        scaled = scaling.fit_scaler(traits, how).apply(traits)
        with clustering.one_thread():
            labels = clustering.assign(scaled, clustering.centres_of(scaled, 6))
        planted = kind >= 0
        assert adjusted_rand_score(kind[planted], labels[planted]) >= 0.85

    def test_without_taking_the_tail_away_nothing_is_found(self):
        traits, kind = heavy_tailed(20_000)
        scaled = ((traits - traits.mean(axis=0)) / traits.std(axis=0)).astype(np.float32)
        with clustering.one_thread():
            labels = clustering.assign(scaled, clustering.centres_of(scaled, 6))
        planted = kind >= 0
        assert adjusted_rand_score(kind[planted], labels[planted]) < 0.1

    def test_each_point_goes_to_its_nearest_centre(self):
        rng = np.random.default_rng(2)
        points = rng.normal(size=(1000, 3)).astype(np.float32)
        centres = rng.normal(size=(5, 3)).astype(np.float32)
        nearest = ((points[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
        assert (clustering.assign(points, centres, rows=64) == nearest).all()

    @pytest.mark.parametrize("k", [2, 5])
    def test_silhouettes_are_those_of_scikit_learn(self, k):
        points = np.random.default_rng(3).normal(size=(700, 4)).astype(np.float32)
        points[:50] = points[0]  # many in one place
        labels = clustering.assign(points, points[::100][:k])
        other = np.arange(700) % 3
        other[0] = 3  # a group of one
        ours = clustering.silhouettes_of(points, [labels, other], rows=100)
        assert ours == pytest.approx(
            [silhouette_score(points, labels), silhouette_score(points, other)], abs=1e-5
        )

    def test_one_group_only_has_no_silhouette(self):
        points = np.random.default_rng(3).normal(size=(20, 2)).astype(np.float32)
        assert clustering.silhouettes_of(points, [np.zeros(20, dtype=np.int64)]) == [0.0]

    @pytest.mark.parametrize("types", [3, 4, 6])
    def test_the_number_of_planted_types_is_chosen_and_stable(self, types):
        traits, _ = heavy_tailed(6000, types=types, seed=types)
        scaled = scaling.fit_scaler(traits).apply(traits)
        with clustering.one_thread():
            choice = clustering.choose_k(scaled)
        assert choice.k == types
        assert choice.stable

    def test_two_groups_are_taken_only_where_they_lie_well_apart(self):
        rng = np.random.default_rng(4)
        cloud = rng.normal(size=(800, 2)).astype(np.float32)
        apart = cloud * 0.3 + np.repeat([[-2.0, 0.0], [2.0, 0.0]], 400, axis=0).astype(np.float32)
        assert clustering.choose_k(apart).k == 2
        assert clustering.choose_k(cloud).k > 2

    def test_noise_has_no_stable_groups(self):
        cloud = np.random.default_rng(5).normal(size=(300, 6)).astype(np.float32)
        choice = clustering.choose_k(cloud)
        assert not choice.stable
        assert choice.stability < 0.8

    def test_people_who_are_all_alike_are_one_crowd(self):
        choice = clustering.judge(np.ones((100, 3), dtype=np.float32), 1)
        assert choice.k == 1
        assert choice.taken.silhouette == 0.0

    def test_the_same_points_give_the_same_answer(self):
        traits, _ = heavy_tailed(3000)
        scaled = scaling.fit_scaler(traits).apply(traits)
        first, second = clustering.choose_k(scaled), clustering.choose_k(scaled)
        assert (first.k, first.stability) == (second.k, second.stability)
        assert (first.taken.centres == second.taken.centres).all()

    def test_strays_do_not_become_a_group_of_their_own(self):
        traits, _ = heavy_tailed(2000, types=3)
        traits[:3] = 1e9
        choice = clustering.choose_k(scaling.fit_scaler(traits).apply(traits))
        assert choice.taken.least_share >= clustering.LEAST_SHARE


class TestDensity:
    def test_dense_cores_are_found_and_strays_are_noise(self):
        rng = np.random.default_rng(6)
        cores = [rng.normal(at, 0.1, (n, 2)) for at, n in (((0, 0), 200), ((3, 3), 300))]
        strays = rng.uniform(-10, 10, (20, 2)) + 20
        points = np.vstack([*cores, strays]).astype(np.float32)
        found = clustering.dense_groups(points)
        assert np.bincount(found.labels[200:500] + 1).argmax() - 1 == 0  # the larger comes first
        assert (found.labels[:200] == 1).mean() > 0.9
        assert (found.labels[500:] == -1).all()
        assert 0.05 < found.radius < 1

    def test_identical_people_are_one_group(self):
        assert (
            clustering.dense_groups(np.ones((60, 3), dtype=np.float32)).labels.tolist() == [0] * 60
        )

    def test_too_many_points_are_refused(self):
        with pytest.raises(ValueError, match="DBSCAN takes 50000"):
            clustering.dense_groups(np.zeros((50_001, 2), dtype=np.float32))


class TestNaming:
    def test_standings_are_mean_percentiles(self):
        people = buyers([1, 2, 3, 4], [4, 2, 1, 1], [40, 30, 20, 10], is_new=[0, 0, 1, 1])
        best, rest = naming.standings_of(people, np.array([0, 0, 1, 1]), [0, 1])
        assert (best.recency, best.frequency, best.money) == (0.75, 0.75, 0.75)
        assert (rest.recency, rest.frequency, rest.money) == (0.25, 0.25, 0.25)
        assert (best.days, best.one_time, best.new) == (1.5, 0.0, 0.0)
        assert (rest.days, rest.one_time, rest.new) == (3.5, 1.0, 1.0)

    def test_who_is_new_cannot_be_told_where_everybody_is(self):
        people = buyers([1, 2], [1, 1], [1, 2], is_new=1)
        assert naming.standings_of(people, np.array([0, 0]), [0])[0].new is None

    @pytest.mark.parametrize(
        ("standing", "name"),
        [
            (Standing(0.9, 0.9, 0.9, 5, 0.0, 0.0), "Champions"),
            (Standing(0.8, 0.7, 0.7, 5, 0.0, 0.0), "Loyal regulars"),
            (Standing(0.8, 0.2, 0.3, 5, 1.0, 0.8), "New one-time buyers"),
            (Standing(0.8, 0.2, 0.3, 5, 1.0, None), "Recent one-time buyers"),
            (Standing(0.8, 0.3, 0.3, 5, 0.4, 0.1), "Recent occasional buyers"),
            (Standing(0.2, 0.5, 0.8, 60, 0.2, 0.1), "Lapsed big spenders"),
            (Standing(0.2, 0.5, 0.8, 20, 0.2, 0.1), "Quiet big spenders"),
            (Standing(0.2, 0.9, 0.9, 60, 0.0, 0.0), "Lapsed champions"),
            (Standing(0.2, 0.2, 0.2, 60, 0.9, 0.1), "Lapsed one-time buyers"),
            (Standing(0.5, 0.5, 0.5, 20, 0.5, 0.1), "Typical buyers"),
        ],
    )
    def test_a_standing_has_its_name(self, standing, name):
        assert naming.name_of(standing)[0] == name

    percentile = st.floats(0, 1)

    @given(st.builds(Standing, *[percentile] * 3, st.floats(0, 400), percentile, percentile))
    def test_every_standing_has_a_name_and_a_meaning(self, standing):
        name, description = naming.name_of(standing)
        assert name[0].isupper()
        assert description
        assert "{" not in name + description

    @settings(max_examples=50)
    @given(
        st.lists(st.sampled_from(["Champions", "Small spenders"]), min_size=2, max_size=12),
        st.integers(0, 1000),
    )
    def test_no_two_groups_bear_one_name(self, names, seed):
        rng = np.random.default_rng(seed)
        effects = rng.normal(size=(len(names), 3)).round()
        differences = {
            i: [Difference(t, 1.0, 1.0, float(e)) for t, e in zip(TRAITS, row, strict=True)]
            for i, row in enumerate(effects)
        }
        apart = naming.told_apart(dict(enumerate(names)), differences)
        assert len(set(apart.values())) == len(names)
        assert all(apart[i].startswith(name) for i, name in enumerate(names))

    def test_two_of_one_name_are_told_apart_by_their_largest_difference(self):
        def one(recency, revenue):
            return [
                Difference(TRAITS[0], 1.0, 1.0, recency),
                Difference(TRAITS[2], 1.0, 1.0, revenue),
            ]

        apart = naming.told_apart(
            {0: "Small spenders", 1: "Small spenders"}, {0: one(0.1, 1.0), 1: one(0.2, -1.0)}
        )
        assert apart == {0: "Small spenders spending more", 1: "Small spenders spending less"}

    def test_effects_are_cohens_d(self):
        own = np.array([[1.0], [3.0]], dtype=np.float32)
        rest = np.array([[4.0], [6.0]])
        both = np.vstack([own, rest])
        # means 2 and 5, both variances 2: d = -3 / sqrt(2)
        effect = naming.effects_of(own, both.sum(axis=0), (both**2).sum(axis=0), 4)
        assert effect[0] == pytest.approx(-3 / np.sqrt(2))

    def test_a_group_of_all_has_no_differences(self):
        own = np.ones((5, 2), dtype=np.float32)
        assert naming.effects_of(own, own.sum(axis=0), own.sum(axis=0), 5).tolist() == [0.0, 0.0]

    def test_portraits_hold_medians_of_the_group_and_of_all(self):
        people = buyers([1, 1, 9, 9], [5, 7, 1, 1], [100, 300, 10, 20])
        scaled = scaling.fit_scaler(people[["recency", "orders", "revenue"]].to_numpy(float))
        points = scaled.apply(people[["recency", "orders", "revenue"]].to_numpy(float))
        best, rest = naming.portraits(people, points, np.array([0, 0, 1, 1]), TRAITS)
        assert (best.people, best.median("orders"), best.median("revenue")) == (2, 6.0, 200.0)
        assert next(d for d in best.differences if d.trait.key == "orders").ratio == 2.0
        assert best.name != rest.name

    def test_there_is_no_ratio_to_nothing(self):
        assert Difference(TRAITS[1], 3.0, 0.0, 1.0).ratio is None
        assert Difference(TRAITS[1], None, 2.0, 1.0).ratio is None

    def test_noise_is_called_what_it_is(self):
        people = buyers([1, 1, 9, 9], [5, 7, 1, 1], [100, 300, 10, 20])
        points = people[["recency", "orders", "revenue"]].to_numpy(np.float32)
        found = naming.portraits(people, points, np.array([-1, 0, 0, 0]), TRAITS)
        assert found[0].name == "Unlike any group"

    def test_the_tree_finds_the_bounds_that_made_the_groups(self):
        rng = np.random.default_rng(7)
        people = buyers(
            rng.integers(1, 91, 2000), rng.integers(1, 9, 2000), rng.integers(1, 99, 2000)
        )
        labels = np.where(people["orders"] > 4, 0, np.where(people["recency"] > 30, 2, 1))
        tree = naming.grow_tree(people, labels, TRAITS)
        assert tree.fidelity > 0.99
        often, lately, silent = tree.rules
        assert [(b.trait.key, b.low, b.high) for b in often.bounds] == [("orders", 4.5, None)]
        assert [(b.trait.key, b.low, b.high) for b in lately.bounds] == [
            ("recency", None, 30.5),
            ("orders", None, 4.5),
        ]
        assert silent.bounds[0].low == 30.5
        assert (often.reach, often.purity) == (1.0, 1.0)

    def test_the_tree_does_with_unknown_traits(self):
        people = buyers([1.0, np.nan] * 50, [1] * 100, [5] * 100)
        tree = naming.grow_tree(people, np.array([0, 1] * 50), TRAITS)
        assert 0 <= tree.fidelity <= 1


def overlapping(n, seed=0, types=6, columns=12):
    """People of types that overlap, each of a log-normal spread of its own: (traits, type).

    Two of the types may lie so close that they score better as one.
    """
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(types, 4.0))
    kind = rng.choice(types, n, p=shares)
    centres = rng.normal(0, 0.8, (types, columns))
    spreads = rng.uniform(0.4, 0.9, (types, columns))
    traits = np.exp(centres[kind] + spreads[kind] * rng.normal(size=(n, columns)))
    stray = rng.random(n) < 0.02
    traits[stray] = np.exp(rng.normal(0, 3.0, (int(stray.sum()), columns)))
    return traits, np.where(stray, -1, kind)


class TestOverlappingTypes:
    @pytest.mark.parametrize(("n", "seed"), [(50_000, 13), (50_000, 23), (300_000, 0)])
    def test_types_that_lie_close_are_told_apart(self, n, seed):
        """In the first two, silhouette and Davies-Bouldin would merge some of the types."""
        traits, kind = overlapping(n, seed)
        points = scaling.fit_scaler(traits).apply(traits)
        with clustering.one_thread():
            fit_on = points[: clustering.FIT_ON]
            choice = clustering.choose_k(fit_on)
            labels = clustering.assign(points, clustering.centres_of(fit_on, choice.k))
        known = kind >= 0
        assert choice.k == 6
        assert choice.fewer == {13: 3, 23: 5}.get(seed)
        assert adjusted_rand_score(kind[known], labels[known]) >= 0.85

    def test_halves_agree_on_real_groups_and_not_on_made_up_ones(self):
        traits, _ = overlapping(10_000, seed=2)
        points = scaling.fit_scaler(traits).apply(traits)
        with clustering.one_thread():
            assert clustering.prediction_strength(points, 6) >= clustering.STRONG
            assert clustering.prediction_strength(points, 8) < clustering.STRONG


class TestNestedGroups:
    def test_dense_groups_are_found_by_size_and_strays_stay_out(self):
        rng = np.random.default_rng(4)
        big, small = rng.normal(0, 0.1, (300, 2)), rng.normal(3, 0.1, (100, 2))
        strays = rng.uniform(-20, 20, (20, 2))
        points = np.concatenate([small, strays, big]).astype(np.float32)
        found = clustering.nested_groups(points)
        assert (found.labels[:100] == 1).mean() > 0.9
        assert (found.labels[120:] == 0).mean() > 0.9
        assert (found.labels[100:120] == -1).mean() > 0.9
        assert found.radius is None
        assert found.least == 10
        assert 0 < found.noise < 0.15

    def test_too_many_points_are_refused(self, monkeypatch):
        monkeypatch.setattr(clustering, "HDBSCAN_LIMIT", 10)
        with pytest.raises(ValueError, match="HDBSCAN takes 10"):
            clustering.nested_groups(np.zeros((11, 2), dtype=np.float32))


@given(st.lists(st.integers(0, 50) | st.floats(0, 1e6), min_size=1, max_size=60))
def test_ranks_share_ties_as_scipy_has_it(values):
    column = np.array(values, dtype=np.float64)
    assert naming.ranks_of(column).tolist() == rankdata(column).tolist()
