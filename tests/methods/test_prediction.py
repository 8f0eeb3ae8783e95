"""Models of a yes or no: published data, hand numbers, shuffled labels, drivers and reasons."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedKFold

from analytics.methods import prediction
from analytics.methods.portraits.clustering import one_thread
from analytics.methods.prediction import (
    KINDS,
    Model,
    Prepared,
    auc_error,
    best_kind,
    calibration_error,
    drivers,
    mean_auc,
    quality,
    rank_correlation,
    reasons,
    typical,
)
from tests.data import shared


@pytest.fixture(autouse=True)
def single():
    """As commands do."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def telco():
    """IBM's table: features, labels, five stratified folds, which features are codes."""
    table = pd.read_csv(shared("telco_churn/telco_churn.csv.gz")).drop(columns="customerID")
    labels = (table.pop("Churn") == "Yes").to_numpy(dtype=np.int64)
    table["TotalCharges"] = pd.to_numeric(table["TotalCharges"], errors="coerce")
    numbers = ["tenure", "MonthlyCharges", "TotalCharges", "SeniorCitizen"]
    codes = [c for c in table.columns if c not in numbers]
    columns = [table[c].to_numpy(dtype=float) for c in numbers]
    columns += [np.unique(table[c], return_inverse=True)[1].astype(float) for c in codes]
    features = np.column_stack(columns)
    folds = np.zeros(len(labels), dtype=np.int64)
    split = StratifiedKFold(5, shuffle=True, random_state=0).split(features, labels)
    for fold, (_, held_out) in enumerate(split):
        folds[held_out] = fold
    return features, labels, folds, range(len(numbers), features.shape[1])


def test_telco_churn_is_ranked_as_well_as_published(telco) -> None:
    assert mean_auc("boosting", *telco) >= 0.845
    assert mean_auc("logistic", *telco) >= 0.845
    assert 0.80 < mean_auc("tree", *telco) < 0.84


def test_shuffled_labels_leave_no_model(telco) -> None:
    features, labels, folds, codes = telco
    shuffled = np.random.default_rng(0).permutation(labels)
    model = Model("boosting", features[folds > 0], shuffled[folds > 0], codes)
    found = quality(shuffled[folds == 0], model.probability(features[folds == 0]))
    assert found.auc == pytest.approx(0.5, abs=0.04)
    assert not found.is_a_model
    assert drivers(model, features[folds == 0], shuffled[folds == 0]) == []


def planted(n=3_000, seed=1):
    """Label by the first column; the second is its echo, the third noise, the fourth constant."""
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-2 * cause))).astype(np.int64)
    table = np.column_stack([cause, rng.normal(size=n), rng.normal(size=n), np.ones(n)])
    table[rng.random(n) < 0.1, 2] = np.nan
    return table, labels


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_finds_the_planted_cause_and_repeats_exactly(kind) -> None:
    table, labels = planted()
    one, two = (Model(kind, table[:2000], labels[:2000]) for _ in range(2))
    said = one.probability(table[2000:])
    assert (said == two.probability(table[2000:])).all()
    assert quality(labels[2000:], said).auc > 0.8
    (first, *_) = drivers(one, table[2000:], labels[2000:])
    assert first.feature == 0
    assert first.direction > 0.9


def test_reasons_name_the_cause_of_each_person() -> None:
    table, labels = planted()
    model = Model("logistic", table, labels)
    usual = typical(table)
    assert usual[0] == pytest.approx(np.median(table[:, 0]))
    high, low = np.array([[2.5, 0, 0, 1.0], [-2.5, 0, 0, 1.0]])
    added = reasons(model, np.array([high, low]), usual)
    assert added[0].argmax() == 0
    assert added[0, 0] > 0.3
    assert added[1, 0] < -0.3
    assert added[:, 3] == pytest.approx(0)


def test_the_kind_that_ranks_best_is_taken() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1_500, 2))
    either = (table[:, 0] > 0) != (table[:, 1] > 0)  # no straight line parts it
    folds = np.arange(1_500) % 3
    assert best_kind(table, either.astype(np.int64), folds) == "boosting"
    straight = (rng.random(1_500) < 1 / (1 + np.exp(-table.sum(axis=1)))).astype(np.int64)
    assert best_kind(table, straight, folds) == "logistic"


def test_quality_by_hand() -> None:
    labels = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0, 0])
    said = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.3, 0.2, 0.1, 0.0])
    found = quality(labels, said)
    assert found.share == 0.3
    assert found.auc == pytest.approx(20 / 21)  # one of 21 pairs stands the wrong way
    assert found.precision == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert found.lift == pytest.approx(1 / 0.3)
    assert [b.rows for b in found.bins] == [1] * 10
    assert found.bins[0].said == pytest.approx(0.9)
    assert found.bins[0].came == 1.0
    assert calibration_error(labels, said) == pytest.approx(
        (0.1 + 0.2 + 0.7 + 0.4 + 0.4 + 0.6 + 0.2 + 0.1) / 10
    )


def test_the_interval_is_hanley_and_mcneils() -> None:
    # their example: an area of 0.893 from 51 abnormal and 58 normal images has an error of 0.032
    assert auc_error(0.893, 51, 58) == pytest.approx(0.032, abs=0.001)


def test_linear_models_take_codes_unknowns_and_long_tails() -> None:
    table = np.array([[0.0, 1.0, 5.0], [9.0, np.nan, 6.0], [1000.0, 1.0, 7.0], [1.0, 0.0, np.nan]])
    prepared = Prepared(table, [1])
    shaped = prepared.apply(table)
    assert shaped.shape == (4, 2 + 1 + 2)  # numbers, one unknown, two codes
    assert prepared.bent == [True, False]
    assert shaped[:, 0].mean() == pytest.approx(0)
    assert shaped[3, 1:3].tolist() == [0, 1]  # unknown: the mean, and marked
    assert shaped[1, 3:].tolist() == [0, 0]
    unseen = prepared.apply(np.array([[1e6, 7.0, np.nan]]))
    assert np.isfinite(unseen).all()


def test_more_rows_than_are_needed_are_sampled(monkeypatch) -> None:
    table, labels = planted()
    monkeypatch.setattr(prediction, "FIT_ON", 500)
    model = Model("tree", table, labels)
    assert model.estimator.tree_.n_node_samples[0] == 500
    monkeypatch.setattr(prediction, "MANY_ROWS", 100)
    assert Model("boosting", table, labels).estimator.max_leaf_nodes == 31


def test_what_does_not_vary_has_no_direction_and_no_driver() -> None:
    assert rank_correlation(np.ones(5), np.arange(5.0)) == 0
    assert rank_correlation(np.array([1.0, np.nan]), np.arange(2.0)) == 0
    assert rank_correlation(np.array([1.0, 5.0, 2.0]), np.array([0.1, 0.9, 0.2])) == 1
    table, labels = planted()
    model = Model("tree", table, labels)
    assert drivers(model, table[labels == 1], labels[labels == 1]) == []
    assert np.isnan(typical(np.full((3, 1), np.nan))[0])


@pytest.mark.parametrize("seed", range(5))
def test_outcomes_without_a_cause_give_an_area_within_noise(seed) -> None:
    """Of a later time, as `churn` judges: the three kinds, each within 3.5 errors of a half."""
    rng = np.random.default_rng(seed)
    table = np.column_stack([rng.gamma(2, 20, 1_200), rng.poisson(3, 1_200), rng.random(1_200)])
    labels = (rng.random(1_200) < 0.35).astype(np.int64)
    error = auc_error(0.5, int(labels[600:].sum()), int((1 - labels[600:]).sum()))
    for kind in KINDS:
        found = quality(
            labels[600:], Model(kind, table[:600], labels[:600]).probability(table[600:])
        )
        assert abs(found.auc - 0.5) < 3.5 * error
