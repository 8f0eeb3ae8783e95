"""How long people stay and what they will bring: BG/NBD and Gamma-Gamma by maximum likelihood.

A person orders at random times, at a rate of their own, and after each order stops for good with a
probability of their own; rates are Gamma and probabilities Beta distributed over people (BG/NBD:
Fader, Hardie and Lee 2005, "Counting your customers the easy way", Marketing Science 24(2)). What
an order brings varies around each person's own mean, and means vary over people (Gamma-Gamma: Fader
and Hardie 2013, "The Gamma-Gamma model of monetary value").

Where nobody can be told to have stopped (the silence of each is what their own rate explains), the
simpler model that has everybody stay is taken: Ehrenberg's NBD.

The likelihoods have analytic gradients. People who are alike are counted once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln, hyp2f1

Floats = NDArray[np.float64]
Gradient = Callable[[Floats], tuple[float, Floats]]

#: Parameters are sought between exp(-BOUND) and exp(BOUND): at an end the data do not tell them.
#: Only r and alpha may grow without end, together: then everybody orders at one rate.
BOUND = 9.0
#: By so much the log-likelihood must rise for the two parameters of stopping (Akaike's criterion).
WORTH_STOPPING = 2.0
#: From so large an r on, rates differ by a tenth at most (their deviation is their mean / sqrt(r)).
ONE_RATE = 100.0
#: The formulas have removable gaps at these parameters; so far away from them the gap is not felt.
GAP = 1e-6


class NoFitError(Exception):
    """The data do not determine the parameters of a model."""


@dataclass(frozen=True)
class Histories:
    """What the models know of people: arrays of one length.

    `repeats` are orders after the first (days with an order, so that one visit counts once), `last`
    is the time from the first to the last order, `age` from the first order to the end of the data,
    both in one unit of time, 0 <= last <= age. `mean` is the mean amount of a repeat order; 0
    where there is none.
    """

    repeats: Floats
    last: Floats
    age: Floats
    mean: Floats

    def __len__(self) -> int:
        """How many people."""
        return len(self.repeats)


@dataclass(frozen=True)
class Lives:
    """A fitted BG/NBD: rates ~ Gamma(r, alpha), stopping after an order ~ Beta(a, b).

    Times are in the unit of the histories it was fitted to; `loglik` is the log-likelihood. With
    a = 0 nobody stops (NBD).
    """

    r: float
    alpha: float
    a: float
    b: float
    loglik: float

    @property
    def alike(self) -> bool:
        """Whether everybody orders at one rate, or nearly."""
        return self.r >= ONE_RATE

    @property
    def leaving(self) -> bool:
        """Whether people are seen to stop at all."""
        return self.a > 0

    def alive(self, people: Histories) -> Floats:
        """The probability that each person will order again (Fader, Hardie and Lee 2008, note)."""
        return 1.0 / (1.0 + self.odds_gone(people))

    def odds_gone(self, people: Histories) -> Floats:
        """The odds that a person stopped at their last order; 0 without a repeat order."""
        x = people.repeats
        quiet = np.log(self.alpha + people.age) - np.log(self.alpha + people.last)
        odds = self.a / (self.b + np.maximum(x, 1) - 1) * np.exp((self.r + x) * quiet)
        return np.where(x > 0, odds, 0.0)

    def orders(self, ahead: float, people: Histories) -> Floats:
        """The orders expected of each person within the time `ahead` after the end of the data.

        Equation 10 of the paper, after Euler's transformation of the hypergeometric function: no
        power of the number of orders is left in it, so nothing overflows.
        """
        x = people.repeats
        if not self.leaving:
            return (self.r + x) / (self.alpha + people.age) * ahead
        r, a, b = self.r, away_from(self.a, 1.0), self.b
        start = a + b - 1 + x
        start = np.where(np.abs(start) < GAP, GAP, start)
        share = ahead / (self.alpha + people.age + ahead)
        series = hyp2f1(a + b - 1 - r, a - 1, start, share)
        expected = start / (a - 1) * (1 - (1 - share) ** (a - 1) * series)
        found: Floats = np.maximum(expected, 0.0) / (1.0 + self.odds_gone(people))
        return found

    def chance(self, ahead: float, people: Histories) -> Floats:
        """The probability that each person orders within the time `ahead` after the data's end.

        Who is there orders at a rate ~ Gamma(r + x, alpha + age), and stops after an order only.
        """
        none = np.log(self.alpha + people.age) - np.log(self.alpha + people.age + ahead)
        found: Floats = self.alive(people) * -np.expm1((self.r + people.repeats) * none)
        return found


@dataclass(frozen=True)
class Amounts:
    """A fitted Gamma-Gamma: an order ~ Gamma(p, v_i), v_i ~ Gamma(q, v); `n` people behind it."""

    p: float
    q: float
    v: float
    loglik: float
    n: int

    @property
    def mean(self) -> float:
        """The mean amount of an order of a person of whom nothing is known."""
        return self.p * self.v / (self.q - 1)

    def expected(self, people: Histories) -> Floats:
        """The mean amount that each person's orders tend to: between their own and all people's."""
        x, m = people.repeats, people.mean
        return self.p * (self.v + x * m) / (self.p * x + self.q - 1)


@dataclass(frozen=True)
class SameAmounts:
    """What everybody's orders bring alike, where Gamma-Gamma has no fit; `n` people behind it."""

    mean: float
    n: int

    def expected(self, people: Histories) -> Floats:
        """The mean amount of each person's orders."""
        return np.full(len(people), self.mean)


#: Mean amounts within this part of their mean are one amount.
SAME_AMOUNT = 1e-6


def same_amounts(people: Histories) -> SameAmounts:
    """The mean amount of all repeat orders. Raises NoFitError where there is none."""
    kept = people.repeats > 0
    if not kept.any():
        raise NoFitError("nobody ordered again")
    x, m = people.repeats[kept], people.mean[kept]
    return SameAmounts(float(x @ m / x.sum()), int(kept.sum()))


def fit_lives(people: Histories) -> Lives:
    """BG/NBD by maximum likelihood; NBD where stopping explains too little. Raises NoFitError."""
    rows, weights = distinct(people)
    n = weights.sum()
    try:
        (r, alpha, a, b), value = maximise(lives_likelihood(rows, weights), 4, n)
    except NoFitError:
        value = -np.inf
    (r0, alpha0), staying = maximise(stayers_likelihood(rows, weights), 2, n, one_rate=True)
    if value < staying + WORTH_STOPPING:
        return Lives(r0, alpha0, 0.0, 1.0, staying)
    return Lives(r, alpha, a, b, value)


def fit_amounts(people: Histories) -> Amounts:
    """Gamma-Gamma by maximum likelihood, on people with a repeat order that brought something.

    Raises NoFitError where the likelihood has no inner maximum, or its mean is infinite.
    """
    kept = (people.repeats > 0) & (people.mean > 0)
    x, m = people.repeats[kept], people.mean[kept]
    if not len(x):
        raise NoFitError("nobody ordered again")
    if np.ptp(m) <= SAME_AMOUNT * m.mean():  # p and q grow together without end
        raise NoFitError("all orders bring the same")
    unit = float(np.exp(np.mean(np.log(m))))  # amounts near 1: cents and pounds fit alike
    (p, q, v), value = maximise(amounts_likelihood(x, m / unit), 3, len(x))
    if q <= 1 + GAP:
        raise NoFitError("the mean amount is infinite")
    return Amounts(p, q, v * unit, value - len(x) * float(np.log(unit)), len(x))


def maximise(
    likelihood: Gradient, size: int, n: float, *, one_rate: bool = False
) -> tuple[tuple[float, ...], float]:
    """Parameters above zero that maximise a likelihood of their logarithms; and its value.

    The optimiser sees the mean over `n` people, so that its tolerances mean the same everywhere.
    With `one_rate` the first two are r and alpha, which may grow together without end. Raises
    NoFitError where there is no maximum inside.
    """

    # imported here: slow to load
    from scipy.optimize import minimize

    def loss(logs: Floats) -> tuple[float, Floats]:
        value, gradient = likelihood(np.exp(logs))
        return -value / n, -gradient * np.exp(logs) / n

    best = minimize(
        loss,
        np.zeros(size),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-BOUND, BOUND)] * size,
        options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
    )
    ends = np.abs(best.x) > BOUND - 1e-6
    if one_rate and best.x[0] >= np.log(ONE_RATE):
        ends[:2] = False
    if not np.isfinite(best.fun) or ends.any():
        raise NoFitError("the likelihood has no inner maximum")
    return tuple(float(p) for p in np.exp(best.x)), float(-best.fun * n)


def distinct(people: Histories) -> tuple[Histories, Floats]:
    """Each different (repeats, last, age) once, with the number of people who have it."""
    order = np.lexsort((people.age, people.last, people.repeats))
    columns = [c[order] for c in (people.repeats, people.last, people.age)]
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.any([np.diff(c) != 0 for c in columns], axis=0)
    starts = np.flatnonzero(new)
    counts = np.diff(np.append(starts, len(order))).astype(np.float64)
    x, last, age = (c[starts] for c in columns)
    return Histories(x, last, age, np.zeros(len(x))), counts


def lives_likelihood(rows: Histories, weights: Floats) -> Gradient:
    """Log-likelihood of BG/NBD (equation 6 of the paper) and its gradient, of (r, alpha, a, b).

    ln A1 + ln A2 + ln(A3 + [x > 0] A4); the gamma functions are taken once per number of orders.
    """
    orders, which = np.unique(rows.repeats, return_inverse=True)
    people = np.bincount(which, weights)
    again = rows.repeats > 0
    n, w0, age0 = weights.sum(), weights[~again], rows.age[~again]
    x, last, age, w = (c[again] for c in (rows.repeats, rows.last, rows.age, weights))

    def likelihood(parameters: Floats) -> tuple[float, Floats]:
        r, alpha, a, b = parameters
        log_alpha = np.log(alpha)
        value = people @ (
            gammaln(r + orders) - gammaln(r) + r * log_alpha
            + gammaln(a + b) + gammaln(b + orders) - gammaln(b) - gammaln(a + b + orders)
        )  # fmt: skip
        d_ab = digamma(a + b) - digamma(a + b + orders)
        dr = people @ (digamma(r + orders) - digamma(r) + log_alpha)
        da = people @ d_ab
        db = people @ (d_ab + digamma(b + orders) - digamma(b))
        dalpha = n * r / alpha
        quiet = np.log(alpha + age0)  # without a repeat order only A3 is left
        value -= r * (w0 @ quiet)
        dr -= w0 @ quiet
        dalpha -= r * (w0 @ (1 / (alpha + age0)))
        log_age, log_last = np.log(alpha + age), np.log(alpha + last)
        staying = -(r + x) * log_age
        leaving = np.log(a) - np.log(b + x - 1) - (r + x) * log_last
        both = np.logaddexp(staying, leaving)
        stays, leaves = np.exp(staying - both), np.exp(leaving - both)
        value += w @ both
        dr -= w @ (stays * log_age + leaves * log_last)
        dalpha -= w @ ((r + x) * (stays / (alpha + age) + leaves / (alpha + last)))
        da += (w @ leaves) / a
        db -= w @ (leaves / (b + x - 1))
        return float(value), np.array([dr, dalpha, da, db])

    return likelihood


def stayers_likelihood(rows: Histories, weights: Floats) -> Gradient:
    """Log-likelihood of NBD, where nobody stops, and its gradient, of (r, alpha)."""
    x, age, w = rows.repeats, rows.age, weights

    def likelihood(parameters: Floats) -> tuple[float, Floats]:
        r, alpha = parameters
        log_alpha, log_age = np.log(alpha), np.log(alpha + age)
        value = w @ (gammaln(r + x) - gammaln(r) + r * log_alpha - (r + x) * log_age)
        dr = w @ (digamma(r + x) - digamma(r) + log_alpha - log_age)
        dalpha = w @ (r / alpha - (r + x) / (alpha + age))
        return float(value), np.array([dr, dalpha])

    return likelihood


def amounts_likelihood(x: Floats, m: Floats) -> Gradient:
    """Log-likelihood of Gamma-Gamma (equation 1a of the note) and its gradient, of (p, q, v)."""
    log_m, log_x = np.log(m), np.log(x)
    n = len(x)

    def likelihood(parameters: Floats) -> tuple[float, Floats]:
        p, q, v = parameters
        px = p * x
        log_v, log_sum = np.log(v), np.log(v + x * m)
        value = (
            gammaln(px + q) - gammaln(px) - gammaln(q)
            + q * log_v + (px - 1) * log_m + px * log_x - (px + q) * log_sum
        ).sum()  # fmt: skip
        upper = digamma(px + q)
        dp = x @ (upper - digamma(px) + log_m + log_x - log_sum)
        dq = (upper - digamma(q) + log_v - log_sum).sum()
        dv = n * q / v - ((px + q) / (v + x * m)).sum()
        return float(value), np.array([dp, dq, dv])

    return likelihood


def away_from(value: float, gap: float) -> float:
    """The value, or the nearest one that is not at a gap of the formulas."""
    return value if abs(value - gap) > GAP else gap + GAP


def concentration(values: Floats, groups: int = 10) -> NDArray[np.int64]:
    """The group 0.. of each value, highest values first, groups as equal as they can be.

    Equal values keep their order, so rows in a fixed order give fixed groups.
    """
    order = np.argsort(-values, kind="stable")
    found = np.empty(len(values), dtype=np.int64)
    found[order] = np.arange(len(values)) * groups // max(len(values), 1)
    return found
