"""Recommenders: published data, small tables by hand, and that nothing bought is shown."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from analytics.methods import recommenders
from analytics.methods.portraits.clustering import one_thread
from analytics.methods.recommenders import (
    KINDS,
    Log,
    TooFewError,
    alike,
    by_words,
    ease,
    fit,
    neighbours,
    possible,
    quality,
    reason,
    shown_most,
    studied,
    together,
    weighed_down,
)
from tests.data import shared


@pytest.fixture(autouse=True)
def single():
    """As commands do."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def films():
    """MovieLens small: each person's last five films held out; films with five people or more.

    (before, after, columns of `before` among those of `after`, their titles and genres); what was
    held out of other films counts as missed.
    """
    ratings = pd.read_csv(shared("movielens_small_2016/ratings.csv.gz"))
    ratings = ratings.sort_values(["userId", "timestamp", "movieId"], kind="stable")
    last = ratings.groupby("userId").cumcount(ascending=False) < 5
    log = Log.of(ratings["userId"].astype(str), ratings["movieId"].astype(str), last.astype(int))
    before, after = log.table(log.day == 0), log.table(log.day == 1)
    kept = np.flatnonzero(np.asarray(before.sum(axis=0)).ravel() >= 5)
    films = pd.read_csv(shared("movielens_small_2016/movies.csv.gz")).set_index("movieId")
    texts = (films["title"] + " " + films["genres"]).loc[log.items[kept].astype(int)]
    return before[:, kept], after, kept, tuple(texts)


def ndcg(shown, films):
    _, after, kept, _ = films
    return quality(np.where(shown >= 0, kept[shown], -1), after).ndcg


@pytest.fixture(scope="module")
def film_scores(films):
    """NDCG@10 of each recommender."""
    with one_thread():
        return {kind: ndcg(fit(kind, films[0], films[3]).best(films[0]), films) for kind in KINDS}


def test_films_are_recommended_better_than_by_popularity(film_scores) -> None:
    assert film_scores["ease"] >= 1.6 * film_scores["popularity"]
    assert film_scores["ease"] > film_scores["bm25"] > film_scores["popularity"]
    assert film_scores["cosine"] > 1.5 * film_scores["popularity"]
    assert film_scores["embedding"] > 1.9 * film_scores["popularity"]
    assert film_scores["hybrid"] > 0.98 * film_scores["ease"]


def test_ease_is_within_two_per_cent_of_implicit_als(films, film_scores) -> None:
    als = pytest.importorskip("implicit.als", reason="NOT RUN: implicit is not installed")
    bought = films[0].astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = als.AlternatingLeastSquares(
            factors=64, alpha=1.0, regularization=10.0, iterations=15, random_state=0, num_threads=1
        )
        model.fit(bought, show_progress=False)
        shown = model.recommend(
            np.arange(bought.shape[0]), bought, N=10, filter_already_liked_items=True
        )[0]
    assert film_scores["ease"] >= 0.98 * ndcg(shown.astype(np.int64), films)


def log(*pairs):
    """Of (person, item, day)."""
    frame = pd.DataFrame(pairs, columns=["person", "item", "day"])
    return Log.of(frame["person"], frame["item"], frame["day"])


def test_a_log_keeps_the_first_day_of_each_pair_and_is_equal_by_content() -> None:
    one = log(("bob", "mug", 5), ("ann", "mug", 9), ("ann", "mug", 2), ("ann", "bag", 1))
    assert one.people.tolist() == ["ann", "bob"]
    assert one.items.tolist() == ["bag", "mug"]
    assert list(zip(one.person, one.item, one.day, strict=True)) == [
        (0, 0, 1),
        (0, 1, 2),
        (1, 1, 5),
    ]
    same = log(("ann", "mug", 2), ("ann", "bag", 1), ("bob", "mug", 5))
    assert one == same
    assert hash(one) == hash(same)
    assert one != log(("ann", "mug", 2), ("ann", "bag", 1), ("bob", "mug", 6))
    assert one != 5
    assert one.table().toarray().tolist() == [[1, 1], [0, 1]]
    assert one.table(one.day < 2).toarray().tolist() == [[1, 0], [0, 0]]
    assert one.in_play(2).items.tolist() == ["mug"]


TABLE = sp.csr_matrix(
    np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1]], dtype="f4")
)


def test_cosine_by_hand() -> None:
    found = neighbours(TABLE, k=3, shrink=0.0).toarray()
    assert found[0, 1] == pytest.approx(2 / np.sqrt(3 * 2))
    assert found[0, 2] == pytest.approx(2 / 3)
    assert (np.diag(found) == 0).all()
    assert found == pytest.approx(found.T)
    shrunk = neighbours(TABLE, k=3, shrink=10.0).toarray()
    assert shrunk[0, 1] == pytest.approx(2 / (np.sqrt(6) + 10))
    assert (neighbours(TABLE, k=1, shrink=0.0).getnnz(axis=1) == 1).all()


def test_ease_is_the_inverse_by_its_definition() -> None:
    gram = (TABLE.T @ TABLE).toarray() + 3.0 * np.eye(4)
    inverse = np.linalg.inv(gram)
    wanted = -inverse / np.diag(inverse)
    np.fill_diagonal(wanted, 0)
    assert ease(TABLE, 3.0) == pytest.approx(wanted, abs=1e-5)


def test_a_table_that_cannot_be_inverted_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="inverted"):
        ease(TABLE, -100.0)


def test_ease_mirrors_every_block(monkeypatch) -> None:
    table = sp.random(60, 23, 0.3, format="csr", random_state=1, dtype=np.float32)
    whole = ease(table, 2.0)
    monkeypatch.setattr(recommenders, "ROWS", 5)
    assert ease(table, 2.0) == pytest.approx(whole, abs=1e-6)


def test_bm25_weighs_long_baskets_and_common_items_down() -> None:
    found = weighed_down(TABLE).toarray()
    assert found[0, 0] > found[1, 0]  # two things in the basket against three
    assert found[0, 1] > found[0, 0]  # two buyers against three
    assert ((found > 0) == (TABLE.toarray() > 0)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_bought_is_shown_and_nothing_twice(kind) -> None:
    bought = sp.random(200, 40, 0.15, format="csr", random_state=3, dtype=np.float32)
    bought.data[:] = 1
    texts = [f"thing {n % 7} red{n % 3}" for n in range(40)]
    shown = fit(kind, bought, texts).best(bought, 6)
    assert (shown == fit(kind, bought, texts).best(bought, 6)).all()
    for row, items in zip(bought, shown, strict=True):
        real = items[items >= 0]
        assert not set(real) & set(row.indices)
        assert len(set(real)) == len(real)


def test_equal_scores_stand_in_order_of_popularity() -> None:
    bought = sp.csr_matrix(np.array([[0, 0, 0], [0, 1, 1], [0, 0, 1], [1, 0, 0]], dtype="f4"))
    assert fit("popularity", bought).best(bought, 2)[0].tolist() == [2, 0]
    assert fit("popularity", bought).best(bought, 9)[1].tolist() == [0] + [-1] * 8
    assert fit("cosine", bought).best(bought, 2)[3].tolist() == [-1, -1]  # alone with its item


def test_quality_by_hand() -> None:
    later = sp.csr_matrix(np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype="f4"))
    shown = np.array([[0, 1, 2], [0, 2, 1], [0, 1, -1]])
    found = quality(shown, later)
    first = (1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert found.ndcg == pytest.approx((first + 1 / np.log2(4) + 0) / 3)
    assert found.hit_rate == pytest.approx(2 / 3)
    assert (found.people, found.coverage) == (3, 3 / 4)
    assert quality(shown, later, items=6).coverage == 0.5


BOUGHT = possible(25)


def two_worlds(n=240, seed=0):
    """People of two tastes, who go on buying of the same; one bestseller that all buy."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(n):
        world = "ab"[i % 2]
        own = rng.permutation(12)[:6]
        pairs += [(f"p{i:03}", f"{world}{j:02}", 1 + 9 * (k > 2)) for k, j in enumerate(own)]
        pairs.append((f"p{i:03}", "zz", 1))
    return log(*pairs)


def test_the_best_is_chosen_on_one_half_and_judged_on_the_other() -> None:
    study = studied(two_worlds(), 5, 20, BOUGHT)
    assert study.taken != "popularity"
    assert study.qualities[study.taken].ndcg > 1.5 * study.qualities["popularity"].ndcg
    assert study.qualities["popularity"].people < 240
    assert study.bought.nnz == len(study.log)
    assert studied(two_worlds(), 5, 20, BOUGHT) is study  # of one content: made once
    with pytest.raises(TooFewError):
        studied(two_worlds(), 5, 200, BOUGHT)
    with pytest.raises(TooFewError):
        studied(two_worlds(), 99, 1, BOUGHT)


def test_a_reason_is_a_bought_item_of_the_same_taste() -> None:
    study = studied(two_worlds(), 5, 20, ("popularity", "bm25"))
    row = study.bought[[0]]
    shown = int(study.model.best(row, 1)[0, 0])
    why = reason(study, row, shown)
    assert study.log.items[shown].startswith("a")
    assert study.log.items[why.item].startswith("a")
    assert (why.both, why.buyers) == together(study.bought, why.item, shown)
    assert 0 < why.both < why.buyers
    assert study.row("p000").indices.tolist() == row.indices.tolist()
    assert reason(study, study.row("nobody"), shown) is None
    popular = studied(two_worlds(), 5, 20, ("popularity",))
    assert reason(popular, row, shown) is None


def test_items_alike_and_items_shown_most() -> None:
    study = studied(two_worlds(), 5, 20, ("popularity", "cosine"))
    first = study.log.items.tolist().index("b00")
    found = list(alike(study.bought, first, 5))
    assert sum(study.log.items[i].startswith("b") for i, _, _ in found) >= 4
    assert [c for _, c, _ in found] == sorted((c for _, c, _ in found), reverse=True)
    assert "zz" not in [study.log.items[i] for i, _, _ in found]  # all buy it: like nothing
    assert found[0][2] == together(study.bought, first, found[0][0])[0]
    most = shown_most(study, [0, 2, 4], 3)
    assert sum(n for _, n in most) == 9
    assert most[0][1] >= most[-1][1]


def test_what_does_not_fit_is_no_candidate() -> None:
    assert possible(100, texts=["a mug"]) == KINDS
    assert set(KINDS) - set(possible(100)) == {"content", "hybrid"}
    assert "ease" not in possible(recommenders.MOST_ITEMS + 1)
    assert "embedding" not in possible(100, recommenders.MOST_TRAINED + 1)


def test_the_nearest_are_those_of_the_whole_table() -> None:
    table = sp.random(90, 31, 0.2, format="csr", random_state=2, dtype=np.float32)
    norms = np.sqrt((table.toarray() ** 2).sum(axis=0)) + 1e-9
    whole = (table.T @ table).toarray() / (np.outer(norms, norms) + 10)
    np.fill_diagonal(whole, 0)
    found = neighbours(table, 6).toarray()
    for row, near in zip(whole, found, strict=True):
        assert np.sort(near[near > 0]) == pytest.approx(np.sort(row)[-6:], rel=1e-5)
        assert near[near > 0] == pytest.approx(row[near > 0], rel=1e-5)
    ties = neighbours(sp.csr_matrix(np.ones((3, 5), dtype="f4")), 2, 0.0).toarray()
    assert ties[4].nonzero()[0].tolist() == [0, 1]  # all alike: the first


def test_a_hybrid_is_ease_and_a_little_of_words() -> None:
    texts = ["red mug", "red mug", "blue bag", "blue bag"]
    both = fit("hybrid", TABLE, texts).weights
    alone, words = ease(TABLE), by_words(texts).toarray()
    assert words == pytest.approx(np.kron(np.eye(2), [[0, 1], [1, 0]]))
    added = both - alone
    assert np.linalg.norm(added) == pytest.approx(0.2 * np.linalg.norm(alone), rel=1e-5)
    assert (added > 0).tolist() == (words > 0).tolist()
    assert fit("hybrid", TABLE, ["a", "b", "c", "d"]).weights == pytest.approx(alone)


def test_a_hybrid_of_many_items_stays_sparse(monkeypatch) -> None:
    monkeypatch.setattr(recommenders, "MOST_ITEMS", 3)
    both = fit("hybrid", TABLE, ["red mug", "red mug", "blue bag", "blue bag"]).weights
    assert sp.issparse(both)
    assert both[0, 1] > neighbours(weighed_down(TABLE), shrink=0.0)[0, 1]


def test_what_is_barred_is_never_shown() -> None:
    model = dataclasses.replace(fit("popularity", TABLE), barred=np.array([True, False] * 2))
    assert set(model.best(sp.csr_matrix((1, 4), dtype="f4"), 4)[0]) == {1, 3, -1}
