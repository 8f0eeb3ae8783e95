"""Group-sequential bounds: how far out a daily look must be, so that all looks together err 5 %.

Lan, DeMets 1983, "Discrete sequential boundaries for clinical trials", with O'Brien-Fleming-like
spending; the chance of leaving the bounds is integrated look by look after Armitage, McPherson,
Rowe 1969. Spending runs on calendar time (share of the planned days) while the correlation of looks
follows the units actually seen (Lan, DeMets 1989, "Group sequential procedures: calendar versus
information time"): a plan that draws twice the expected units still spends exactly its level.
"""

import math
from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analytics.methods.experiment.roots import root

Floats = NDArray[np.float64]

CEILING = 8.0  # a bound no data reach by chance (1e-15): for looks with nothing to spend
SMALLEST_SPEND = 1e-12  # less than this is carried forward to the next look
SMALLEST_STEP = 1e-3  # a look with less new information than this share repeats the last bound


def obrien_fleming_spent(time: float, alpha: float) -> float:
    """The two-sided error spent by this share of the plan: 4·(1 − Φ(z(α/4)/√t)).

    Each side spends 2·(1 − Φ(z(α/4)/√t)), which is α/2 at t = 1 (Lan, DeMets 1983, α1*).
    """
    if time <= 0:
        return 0.0
    z = -special.ndtri(alpha / 4)
    return float(4 * special.ndtr(-z / math.sqrt(min(time, 1.0))))


@lru_cache(maxsize=4096)
def bounds(
    times: tuple[float, ...], information: tuple[float, ...], alpha: float = 0.05
) -> tuple[float, ...]:
    """The two-sided normal bound of each look: decide when |z| reaches it.

    `times` are shares of the plan (1 = its end), `information` is anything proportional to
    1/variance of the difference, such as units; both rise.
    """
    if len(times) != len(information) or any(t <= 0 for t in (*times, *information)):
        raise ValueError("each look needs a time and an information above zero")
    walk = _Walk(information[-1])
    found: list[float] = []
    for time, seen in zip(times, information, strict=True):
        if not walk.advance(seen):
            found.append(found[-1])
            continue
        increment = obrien_fleming_spent(time, alpha) - walk.left
        spendable = increment >= SMALLEST_SPEND
        bound = root(partial(_overspent, walk, increment), 0.0, CEILING) if spendable else CEILING
        found.append(bound)
        walk.stop_beyond(bound)
    return tuple(found)


def crossing(
    limits: Sequence[float], information: Sequence[float], drift: float = 0.0
) -> list[float]:
    """The chance of first leaving ±limits at each look.

    `drift` is the expected z at the last look: 0 gives the error, an effect gives the power.
    """
    walk = _Walk(information[-1], drift)
    chances: list[float] = []
    for limit, seen in zip(limits, information, strict=True):
        before = walk.left
        if walk.advance(seen):
            walk.stop_beyond(limit)
        chances.append(walk.left - before)
    return chances


def drift_for_power(limits: Sequence[float], information: Sequence[float], power: float) -> float:
    """The expected z at the last look with which the looks together find the effect this often."""
    return root(lambda drift: sum(crossing(limits, information, drift)) - power, 0.0, 20.0)


def _overspent(walk: "_Walk", increment: float, bound: float) -> float:
    """How much more than `increment` leaves at this look with this bound."""
    return walk.leaving(bound) - increment


class _Walk:
    """The score B(t) of a trial still going on: its density on Gauss-Legendre nodes."""

    def __init__(self, last: float, drift: float = 0.0) -> None:
        self.last = last
        self.drift = drift
        self.left = 0.0  # chance to have left so far
        self.seen = 0.0
        self.step = 0.0
        self.nodes: Floats = np.zeros(1)
        self.mass: Floats = np.ones(1)  # density times quadrature weight

    def advance(self, information: float) -> bool:
        """Moves on to the information of the next look; False when it brings next to nothing."""
        fraction = information / self.last
        if fraction - self.seen < SMALLEST_STEP * fraction:
            return False
        self.step, self.seen = fraction - self.seen, fraction
        return True

    def leaving(self, bound: float) -> float:
        """The chance to leave ±bound at this look, having stayed inside before."""
        edge, sd = bound * math.sqrt(self.seen), math.sqrt(self.step)
        centre = self.nodes + self.drift * self.step
        out = special.ndtr((centre - edge) / sd) + special.ndtr((-edge - centre) / sd)
        return float(self.mass @ out)

    def stop_beyond(self, bound: float) -> None:
        """Keeps what stays within ±bound."""
        self.left += self.leaving(bound)
        edge, sd = bound * math.sqrt(self.seen), math.sqrt(self.step)
        count = min(1200, max(48, math.ceil(5 * edge / sd)))
        unit, weights = _legendre(count)
        nodes = unit * edge
        gaps = (nodes[:, None] - self.nodes[None, :] - self.drift * self.step) / sd
        density = np.exp(-0.5 * gaps * gaps) @ self.mass / (sd * math.sqrt(2 * math.pi))
        self.nodes, self.mass = nodes, density * weights * edge


@lru_cache(maxsize=512)
def _legendre(count: int) -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return nodes, weights
