"""Arm: one variant's estimate with its error, whatever the kind of metric.

Every kind (mean, ratio, quantile, CUPED, strata) ends in a value, a squared standard error and
degrees of freedom, so that one comparison serves them all.
"""

from dataclasses import dataclass
from typing import Literal, assert_never

from analytics.methods.experiment.moments import Moments

Reason = Literal["no_data", "one_arm", "too_few", "zero_variance", "zero_denominator"]


@dataclass(frozen=True)
class Unknown:
    """No number can be given, and why."""

    reason: Reason


@dataclass(frozen=True)
class Arm:
    """A variant's estimate: its value, squared standard error and degrees of freedom."""

    n: int
    value: float
    squared_error: float
    df: float


Kind = Literal["mean", "proportion", "ratio", "cuped"]


def mean_arm(moments: Moments) -> Arm | Unknown:
    """The mean per unit; squared error s²/n."""
    mean, variance = moments.mean, moments.variance
    if mean is None:
        return Unknown("no_data")
    if variance is None:
        return Unknown("too_few")
    return Arm(moments.n, mean, variance / moments.n, moments.n - 1)


def ratio_arm(moments: Moments) -> Arm | Unknown:
    """Σy/Σx over units, by the delta method: var = (s_y² − 2R s_xy + R² s_x²) / (n x̄²).

    Source: Deng, Knoblich, Lu 2018, "Applying the delta method in metric analytics", eq. 5. The
    unit stays the randomised one: sessions or orders of one person are not independent.
    """
    y, x, n = moments.mean, moments.x_mean, moments.n
    if y is None or x is None:
        return Unknown("no_data")
    variance, x_variance, covariance = moments.variance, moments.x_variance, moments.covariance
    if variance is None or x_variance is None or covariance is None:
        return Unknown("too_few")
    if x == 0:
        return Unknown("zero_denominator")
    ratio = y / x
    parts = (variance, -2 * ratio * covariance, ratio * ratio * x_variance)
    return Arm(n, ratio, _positive(parts) / (n * x * x), n - 1)


def cuped_arms(control: Moments, treatment: Moments) -> tuple[Arm | Unknown, Arm | Unknown]:
    """Both means adjusted by what x said before the experiment: ȳ − θ(x̄ − x̄ of both).

    θ = cov(y, x)/var(x) over both arms. Source: Deng, Xu, Kohavi, Walker 2013, "Improving the
    sensitivity of online controlled experiments by utilizing pre-experiment data", eq. 3-5. The
    lift is then over the *adjusted* control mean, so that it cannot contradict the test. x must be
    measured before the first exposure.
    """
    both = control + treatment
    x_variance, covariance, centre = both.x_variance, both.covariance, both.x_mean
    if not x_variance or covariance is None or centre is None:
        return mean_arm(control), mean_arm(treatment)
    theta = covariance / x_variance
    return _adjusted(control, theta, centre), _adjusted(treatment, theta, centre)


def variance_kept(control: Moments, treatment: Moments) -> float | None:
    """The share of the variance that CUPED leaves: 1 − ρ² (Deng et al. 2013, eq. 4)."""
    both = control + treatment
    variance, x_variance, covariance = both.variance, both.x_variance, both.covariance
    if not variance or not x_variance or covariance is None:
        return None
    return max(0.0, 1 - covariance * covariance / (variance * x_variance))


def arms(kind: Kind, control: Moments, treatment: Moments) -> tuple[Arm | Unknown, Arm | Unknown]:
    """Both arms of a metric of this kind."""
    match kind:
        case "mean" | "proportion":
            return mean_arm(control), mean_arm(treatment)
        case "ratio":
            return ratio_arm(control), ratio_arm(treatment)
        case "cuped":
            return cuped_arms(control, treatment)
        case _:
            assert_never(kind)


def _adjusted(moments: Moments, theta: float, centre: float) -> Arm | Unknown:
    mean, x_mean = moments.mean, moments.x_mean
    if mean is None or x_mean is None:
        return Unknown("no_data")
    variance, x_variance, covariance = moments.variance, moments.x_variance, moments.covariance
    if variance is None or x_variance is None or covariance is None:
        return Unknown("too_few")
    parts = (variance, -2 * theta * covariance, theta * theta * x_variance)
    n = moments.n
    return Arm(n, mean - theta * (x_mean - centre), _positive(parts) / n, n - 1)


def _positive(parts: tuple[float, ...]) -> float:
    """The sum of the terms of a variance; what is only rounding is 0."""
    value, scale = sum(parts), max(map(abs, parts))
    return value if value > 1e-12 * scale else 0.0
