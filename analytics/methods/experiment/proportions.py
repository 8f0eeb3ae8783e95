"""Two proportions with few successes or failures: score test and the intervals that invert it.

Source of all: Miettinen, Nurminen 1985, "Comparative analysis of two rates", Statistics in
Medicine 4: 213-226. Arms are (successes, units). The likeliest rates under a given
difference, and the ends of the intervals, are found by halving, not by the paper's closed cubic.
"""

import math
from collections.abc import Callable

from analytics.methods.experiment.roots import root

FEWEST_PER_CELL = 10  # below this many successes or failures in an arm, the score method is used
EDGE = 1e-9  # how near to the end of its range a search starts: at the very end all is 0/0

Counts = tuple[int, int]


def pooled_error(control: Counts, treatment: Counts) -> float:
    """The standard error of the difference when both arms share one rate, times √(N/(N−1))."""
    (x0, n0), (x1, n1) = control, treatment
    n = n0 + n1
    pooled = (x0 + x1) / n
    return math.sqrt(pooled * (1 - pooled) * (1 / n0 + 1 / n1) * n / (n - 1))


def score_statistic(control: Counts, treatment: Counts) -> float:
    """Difference of rates over its error under no effect."""
    (x0, n0), (x1, n1) = control, treatment
    return (x1 / n1 - x0 / n0) / pooled_error(control, treatment)


def difference_interval(control: Counts, treatment: Counts, critical: float) -> tuple[float, float]:
    """The differences that the score test at `critical` does not refuse."""
    (x0, n0), (x1, n1) = control, treatment
    estimate = x1 / n1 - x0 / n0

    def excess(delta: float) -> float:
        rate = _rate_given_difference(control, treatment, delta)
        return _excess(estimate - delta, rate, rate + delta, 1.0, control, treatment, critical)

    inside = min(max(estimate, EDGE - 1), 1 - EDGE)
    return _end(excess, inside, -1.0), _end(excess, inside, 1.0)


def ratio_interval(
    control: Counts, treatment: Counts, critical: float
) -> tuple[float, float] | None:
    """The ratios treatment/control that the score test does not refuse; None without an upper end.

    There is none when the control's own rate is not clear of zero.
    """
    (x0, n0), (x1, n1) = control, treatment
    if not x0:
        return None

    def excess_at(angle: float) -> float:
        """On r = tan(angle), so that every ratio from 0 to infinity is within reach."""
        r = math.tan(angle)
        rate = _rate_given_ratio(control, treatment, r)
        return _excess(
            x1 / n1 - r * x0 / n0, rate, min(1.0, rate * r), r, control, treatment, critical
        )

    at = max(math.atan(x1 / n1 / (x0 / n0)), EDGE)
    highest = math.pi / 2 - 1e-12
    if at >= highest or excess_at(highest) <= 0:
        return None
    return math.tan(_end(excess_at, at, 0.0)), math.tan(_end(excess_at, at, highest))


def _end(excess: Callable[[float], float], inside: float, edge: float) -> float:
    """Where the excess turns positive on the way to the edge; the edge if it never does."""
    near = edge + (inside - edge) * 1e-12
    if inside == edge or excess(near) <= 0:
        return edge
    return root(excess, near, inside)


def _excess(
    gap: float,
    rate: float,
    treated_rate: float,
    weight: float,
    control: Counts,
    treatment: Counts,
    critical: float,
) -> float:
    """Squared gap beyond critical² times its variance: positive = refused."""
    n0, n1 = control[1], treatment[1]
    n = n0 + n1
    variance = treated_rate * (1 - treated_rate) / n1 + weight**2 * rate * (1 - rate) / n0
    return gap * gap - critical**2 * variance * n / (n - 1)


def _rate_given_difference(control: Counts, treatment: Counts, delta: float) -> float:
    """The control rate of greatest likelihood when the treatment's is that plus delta."""
    (x0, n0), (x1, n1) = control, treatment
    low, high = max(0.0, -delta), min(1.0, 1 - delta)

    def slope(p: float) -> float:
        q = p + delta
        gain = _per(x0, p) + _per(x1, q)
        loss = _per(n0 - x0, 1 - p) + _per(n1 - x1, 1 - q)
        return 0.0 if math.isinf(gain) and math.isinf(loss) else gain - loss

    inset = (high - low) * 1e-13
    near, far = low + inset, high - inset
    if near >= far or slope(near) <= 0:
        return low
    return high if slope(far) >= 0 else root(slope, near, far)


def _per(count: int, rate: float) -> float:
    """Count over rate; without a count nothing, whatever the rate."""
    if not count:
        return 0.0
    return count / rate if rate > 0 else math.inf


def _rate_given_ratio(control: Counts, treatment: Counts, ratio: float) -> float:
    """The control rate of greatest likelihood when the treatment's is that times ratio."""
    (x0, n0), (x1, n1) = control, treatment
    a = (n0 + n1) * ratio
    b = n1 * ratio + x1 + n0 + x0 * ratio
    c = x0 + x1
    rate = 2 * c / (b + math.sqrt(max(0.0, b * b - 4 * a * c)))
    return min(rate, 1.0, 1 / ratio if ratio else 1.0)
