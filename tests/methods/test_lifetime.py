"""BG/NBD, NBD and Gamma-Gamma: published figures, simulation, and the corners of the formulas."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.optimize import check_grad
from scipy.stats import beta, gamma

from analytics.methods.lifetime import (
    Amounts,
    Histories,
    Lives,
    NoFitError,
    amounts_likelihood,
    concentration,
    distinct,
    fit_amounts,
    fit_lives,
    lives_likelihood,
    same_amounts,
    stayers_likelihood,
)
from tests.data import shared

#: Fader, Hardie and Lee 2005, table 2.
PUBLISHED = Lives(0.243, 4.414, 0.793, 2.426, -9582.4)


def people(*rows):
    """(repeats, last, age, mean) of each."""
    return Histories(*np.array(rows, dtype=float).T)


@pytest.fixture(scope="module")
def cdnow():
    """The log of the published sample: people who first bought in the first quarter of 1997."""
    log = pd.read_csv(shared("cdnow/cdnow_sample.csv.gz"), dtype={"customer_id": str})
    days = log.groupby(["customer_id", pd.to_datetime(log["date"])])["amount"].sum()
    return days.reset_index()


def histories(log, end):
    """Up to the day `end`, in weeks, as the paper counts."""
    log = log[log["date"] <= end]
    by = log.groupby("customer_id")
    first, last, n = by["date"].min(), by["date"].max(), by["date"].count()
    later = log[log["date"] != log["customer_id"].map(first)]
    mean = later.groupby("customer_id")["amount"].mean().reindex(n.index).fillna(0.0)
    age = (pd.Timestamp(end) - first).dt.days / 7
    return Histories(
        *(c.to_numpy(dtype=float) for c in (n - 1, (last - first).dt.days / 7, age, mean))
    )


def test_cdnow_gives_the_published_figures(cdnow) -> None:
    seen = histories(cdnow, "1997-09-30")
    assert len(seen) == 2357
    lives = fit_lives(seen)
    assert (round(lives.r, 3), round(lives.alpha, 3)) == (0.243, 4.414)
    assert (round(lives.a, 3), round(lives.b, 3)) == (0.793, 2.426)
    assert round(lives.loglik, 1) == -9582.4
    amounts = fit_amounts(seen)
    assert (round(amounts.p, 2), round(amounts.q, 2), round(amounts.v, 2)) == (6.25, 3.74, 15.44)
    assert amounts.n == 946


def test_cdnow_foresees_the_39_weeks_that_were_held_out(cdnow) -> None:
    seen = histories(cdnow, "1997-09-30")
    expected = fit_lives(seen).orders(39, seen)
    after = cdnow[cdnow["date"] > "1997-09-30"].groupby("customer_id").size()
    came = after.reindex(sorted(cdnow["customer_id"].unique())).fillna(0).to_numpy()
    assert np.corrcoef(expected, came)[0, 1] == pytest.approx(0.626, abs=0.001)
    assert expected.sum() == pytest.approx(1653.4, abs=0.1)


def test_the_published_expectation_of_one_person() -> None:
    # Fader, Hardie and Lee's spreadsheet note: x = 2, t_x = 30.43, T = 38.86, 39 weeks ahead
    assert PUBLISHED.orders(39, people((2, 30.43, 38.86, 0)))[0] == pytest.approx(1.226, abs=5e-4)


def test_who_never_came_back_is_alive_and_expected_as_by_direct_integration() -> None:
    # E[X] of one with rate L ~ Gamma(r, alpha + T) and stopping p ~ Beta(a, b): (1 - e^{-Lpt}) / p
    one = people((0, 0, 30, 0))
    r, alpha, a, b = 0.8, 6.0, 1.7, 2.9
    lives = Lives(r, alpha, a, b, 0.0)

    def given(p):
        rate = gamma(r, scale=1 / (alpha + 30))
        return (1 - quad(lambda x: rate.pdf(x) * np.exp(-x * p * 13), 0, 3)[0]) / p

    direct = quad(lambda p: beta(a, b).pdf(p) * given(p), 0, 1)[0]
    assert lives.alive(one)[0] == 1
    assert lives.orders(13, one)[0] == pytest.approx(direct, rel=1e-3)


def test_parameters_are_recovered_from_simulated_people() -> None:
    rng = np.random.default_rng(5)
    n, age = 20_000, 60.0
    rate, stop = rng.gamma(0.6, 1 / 5.0, n), rng.beta(1.2, 3.0, n)
    at, repeats, last = np.zeros(n), np.zeros(n), np.zeros(n)
    there, gone = np.ones(n, dtype=bool), np.zeros(n, dtype=bool)
    while there.any():
        who = np.flatnonzero(there)
        at[who] += rng.exponential(1, len(who)) / np.maximum(rate[who], 1e-12)
        there[who[at[who] > age]] = False
        came = who[at[who] <= age]
        repeats[came] += 1
        last[came] = at[came]
        leaves = came[rng.random(len(came)) < stop[came]]
        there[leaves] = False
        gone[leaves] = True
    seen = Histories(repeats, last, np.full(n, age), np.zeros(n))
    lives = fit_lives(seen)
    assert [lives.r, lives.alpha] == pytest.approx([0.6, 5.0], rel=0.08)
    assert lives.a / (lives.a + lives.b) == pytest.approx(1.2 / 4.2, rel=0.08)
    assert lives.alive(seen).mean() == pytest.approx(1 - gone.mean(), abs=0.01)
    sure = lives.alive(seen) > 0.9
    assert gone[sure].mean() < 0.1


def test_where_nobody_leaves_the_model_is_the_nbd() -> None:
    rng = np.random.default_rng(3)
    n, age = 5_000, rng.uniform(20, 60, 5_000)
    repeats = rng.poisson(rng.gamma(0.9, 1 / 8.0, n) * age).astype(float)
    last = np.where(repeats > 0, age * rng.beta(np.maximum(repeats, 1), 1), 0.0)
    seen = Histories(repeats, last, age, np.zeros(n))
    lives = fit_lives(seen)
    assert not lives.leaving
    assert [lives.r, lives.alpha] == pytest.approx([0.9, 8.0], rel=0.1)
    assert (lives.alive(seen) == 1).all()
    one = people((3, 10, 20, 0))
    rate = (lives.r + 3) / (lives.alpha + 20)
    assert lives.orders(10, one)[0] == pytest.approx(10 * rate)
    none = ((lives.alpha + 20) / (lives.alpha + 30)) ** (lives.r + 3)
    assert lives.chance(10, one)[0] == pytest.approx(1 - none)


def test_people_of_one_rate_are_fitted_as_such() -> None:
    rng = np.random.default_rng(8)
    age = rng.uniform(20, 60, 3_000)
    repeats = np.floor(age / 4.0)  # as regular as a subscription
    seen = Histories(repeats, repeats * 4.0, age, np.full(3_000, 9.99))
    lives = fit_lives(seen)
    assert lives.alike
    one = people((5, 20, 21, 0))
    assert lives.orders(8, one)[0] == pytest.approx(2, rel=0.1)
    assert same_amounts(seen).expected(one).tolist() == pytest.approx([9.99])
    with pytest.raises(NoFitError):
        fit_amounts(seen)  # q has no end: amounts do not differ
    with pytest.raises(NoFitError):
        same_amounts(people((0, 0, 9, 0)))


def test_expectations_are_smooth_where_the_formula_has_gaps() -> None:
    one = people((0, 0, 30, 0), (4, 20, 30, 0))
    near = Lives(0.5, 5.0, 1.001, 2.0, 0.0).orders(13, one)
    assert Lives(0.5, 5.0, 1.0, 2.0, 0.0).orders(13, one) == pytest.approx(near, rel=0.01)
    near = Lives(0.5, 5.0, 0.401, 0.6, 0.0).orders(13, one)
    assert Lives(0.5, 5.0, 0.4, 0.6, 0.0).orders(13, one) == pytest.approx(near, rel=0.01)


def test_a_thousand_orders_do_not_overflow() -> None:
    one = people((1000, 300, 300, 50))
    assert PUBLISHED.orders(1.0, one)[0] == pytest.approx(3.28, abs=0.1)
    assert PUBLISHED.alive(one)[0] > 0.99
    assert np.isfinite(PUBLISHED.orders(500.0, one))[0]


def test_chances_and_expectations_lie_between_their_bounds() -> None:
    rows = [(x, last, 40, 0) for x in (0, 1, 5, 60) for last in (0.5 * (x > 0), 39 * (x > 0))]
    seen = people(*rows)
    chance, alive, expected = (
        f(seen) for f in (lambda s: PUBLISHED.chance(8, s), PUBLISHED.alive,
                          lambda s: PUBLISHED.orders(8, s))
    )  # fmt: skip
    assert ((chance >= 0) & (chance <= alive) & (alive <= 1)).all()
    assert (expected >= chance - 1e-12).all()  # at least one order with that chance


@pytest.mark.parametrize("likelihood", [lives_likelihood, stayers_likelihood])
def test_gradients_are_those_of_the_likelihoods(likelihood) -> None:
    rows, weights = distinct(people((0, 0, 9, 0), (2, 4, 9, 0), (2, 4, 9, 0), (7, 8, 12, 0)))
    assert weights.tolist() == [1, 2, 1]
    value = likelihood(rows, weights)
    at = np.array([0.7, 3.0, 0.9, 2.0][: 4 if likelihood is lives_likelihood else 2])
    assert check_grad(lambda p: value(p)[0], lambda p: value(p)[1], at) < 1e-4


def test_the_gradient_of_gamma_gamma() -> None:
    value = amounts_likelihood(np.array([1.0, 3.0, 8.0]), np.array([2.0, 0.5, 1.1]))
    at = np.array([2.0, 3.0, 1.5])
    assert check_grad(lambda p: value(p)[0], lambda p: value(p)[1], at) < 1e-4


def test_amounts_shrink_towards_all_peoples_mean_and_know_no_unit() -> None:
    rng = np.random.default_rng(1)
    n = 3_000
    repeats = rng.integers(1, 12, n).astype(float)
    scale = rng.gamma(3.7, 1 / 15.0, n)
    mean = rng.gamma(6.0 * repeats, 1 / scale) / repeats
    zero = np.zeros(n)
    pounds = Histories(repeats, zero, zero, mean)
    pence = Histories(repeats, zero, zero, mean * 100)
    a, b = fit_amounts(pounds), fit_amounts(pence)
    assert a.p == pytest.approx(b.p, rel=1e-4)
    assert a.mean * 100 == pytest.approx(b.mean, rel=1e-4)
    assert a.expected(people((0, 0, 0, 0)))[0] == pytest.approx(a.mean)
    seldom, often = a.expected(people((1, 0, 0, 99), (50, 0, 0, 99)))
    assert a.mean < seldom < often < 99
    assert isinstance(a, Amounts)


def test_what_the_data_do_not_tell_is_not_fitted() -> None:
    with pytest.raises(NoFitError):
        fit_amounts(people((0, 0, 9, 0)))
    with pytest.raises(NoFitError):
        fit_amounts(people(*[(2, 4, 9, 10.0)] * 50))  # all alike: no variance to learn
    with pytest.raises(NoFitError):
        fit_lives(people(*[(0, 0, 9, 0)] * 50))  # nobody ever came back
    rng = np.random.default_rng(1)
    scale = rng.gamma(0.6, 1.0, 4_000)  # q below 1: no mean
    wild = Histories(*[np.full(4_000, v) for v in (4.0, 1.0, 9.0)], rng.gamma(12.0, 1 / scale) / 4)
    with pytest.raises(NoFitError, match="infinite"):
        fit_amounts(wild)


def test_tenths_are_even_and_best_first() -> None:
    assert concentration(np.array([1.0, 9.0, 5.0, 5.0]), 2).tolist() == [1, 0, 0, 1]
    assert np.bincount(concentration(np.arange(25.0), 10)).tolist() == [
        3,
        2,
        3,
        2,
        3,
        2,
        3,
        2,
        3,
        2,
    ]
