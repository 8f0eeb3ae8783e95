"""Treatment against control: one test, one interval, and a lift that cannot contradict it.

A look's strictness comes in as `critical`, a normal quantile (1.96 for a single look at 5 %;
larger at interim looks, see regimes). It is turned into the t quantile of the same level.
"""

import math
from dataclasses import dataclass
from typing import Literal

from scipy import special

from analytics.methods.experiment.arms import Arm, Kind, Unknown, arms
from analytics.methods.experiment.moments import Moments
from analytics.methods.experiment.proportions import (
    FEWEST_PER_CELL,
    difference_interval,
    pooled_error,
    ratio_interval,
    score_statistic,
)

SINGLE_LOOK = 1.959963984540054

Finding = Literal["better", "worse", "unclear"]


@dataclass(frozen=True)
class Comparison:
    """Treatment against control in natural units and as a lift (share of the control's size).

    `low`, `high` bound treatment − control at this look's strictness; `p` is the two-sided value of
    a single look. The lift is None where the control mean is not clear of zero: then only natural
    units are honest. `lift_error` is the lift's standard error (delta method), for priors only.
    """

    method: Literal["welch", "score"]
    control: float
    treatment: float
    control_n: int
    treatment_n: int
    low: float
    high: float
    standard_error: float
    df: float | None
    p: float
    critical: float
    lift: float | None
    lift_low: float | None
    lift_high: float | None
    lift_error: float | None
    more_is_better: bool = True

    @property
    def difference(self) -> float:
        """Treatment − control."""
        return self.treatment - self.control

    @property
    def finding(self) -> Finding:
        """What the interval says, in the metric's own good direction."""
        if self.low > 0:
            return "better" if self.more_is_better else "worse"
        if self.high < 0:
            return "worse" if self.more_is_better else "better"
        return "unclear"

    @property
    def gain(self) -> tuple[float, float, float] | None:
        """Lift, low and high end, turned so that more is better; None where the lift is hidden."""
        if self.lift is None or self.lift_low is None or self.lift_high is None:
            return None
        return _turned(self.lift, self.lift_low, self.lift_high, self.more_is_better)

    @property
    def natural_gain(self) -> tuple[float, float, float]:
        """Difference, low and high end in natural units, turned so that more is better."""
        return _turned(self.difference, self.low, self.high, self.more_is_better)

    @property
    def z(self) -> float:
        """The normal quantile of this p, positive when better: to set beside any critical value."""
        size = float(-special.ndtri(self.p / 2)) if self.p > 0 else math.inf
        return size if (self.difference > 0) == self.more_is_better else -size

    @property
    def look_p(self) -> float:
        """A p-value at a look's strictness: 5 % where the interval at `critical` touches zero.

        For `critical` of the 5 % level: so that several comparisons of one look can be corrected
        for their number.
        """
        return float(2 * special.ndtr(-abs(self.z) * SINGLE_LOOK / self.critical))


def compare_moments(
    kind: Kind,
    control: Moments,
    treatment: Moments,
    *,
    critical: float = SINGLE_LOOK,
    more_is_better: bool = True,
) -> Comparison | Unknown:
    """The comparison for a metric of this kind; small counts of a proportion take the score way."""
    counts = (control.positives, treatment.positives)
    if kind == "proportion" and control.n and treatment.n:
        cells = (*counts, control.n - counts[0], treatment.n - counts[1])
        if min(cells) < FEWEST_PER_CELL:
            return compare_small_proportions(
                (counts[0], control.n),
                (counts[1], treatment.n),
                critical=critical,
                more_is_better=more_is_better,
            )
    pair = arms(kind, control, treatment)
    return compare_arms(*pair, critical=critical, more_is_better=more_is_better)


def compare_arms(
    control: Arm | Unknown,
    treatment: Arm | Unknown,
    *,
    critical: float = SINGLE_LOOK,
    more_is_better: bool = True,
) -> Comparison | Unknown:
    """Welch's test on the difference, and Fieller's interval for the lift with the same quantile.

    Source: Welch 1947, "The generalization of Student's problem"; Satterthwaite 1946.
    """
    if isinstance(control, Unknown) or isinstance(treatment, Unknown):
        return _why_unknown(control, treatment)
    squared = control.squared_error + treatment.squared_error
    if squared <= 0:
        return Unknown("zero_variance")
    error = math.sqrt(squared)
    df = (
        squared
        * squared
        / (control.squared_error**2 / control.df + treatment.squared_error**2 / treatment.df)
    )
    quantile = t_quantile(critical, df)
    difference = treatment.value - control.value
    lift = fieller(control, treatment, quantile)
    return Comparison(
        method="welch",
        control=control.value,
        treatment=treatment.value,
        control_n=control.n,
        treatment_n=treatment.n,
        low=difference - quantile * error,
        high=difference + quantile * error,
        standard_error=error,
        df=df,
        p=float(2 * special.stdtr(df, -abs(difference) / error)),
        critical=critical,
        lift=lift[0] if lift else None,
        lift_low=lift[1] if lift else None,
        lift_high=lift[2] if lift else None,
        lift_error=lift_error(control, treatment) if lift else None,
        more_is_better=more_is_better,
    )


def compare_small_proportions(
    control: tuple[int, int],
    treatment: tuple[int, int],
    *,
    critical: float = SINGLE_LOOK,
    more_is_better: bool = True,
) -> Comparison | Unknown:
    """(successes, units) of both arms by the score method, for cells below 10.

    Test and both intervals invert the same pooled statistic at no effect, so they agree. Source:
    Miettinen, Nurminen 1985, "Comparative analysis of two rates".
    """
    (x0, n0), (x1, n1) = control, treatment
    if not n0 or not n1:
        return Unknown("no_data" if n0 == n1 else "one_arm")
    if n0 + n1 < 4:
        return Unknown("too_few")
    if x0 + x1 in (0, n0 + n1):
        return Unknown("zero_variance")
    p0, p1 = x0 / n0, x1 / n1
    low, high = difference_interval(control, treatment, critical)
    ratio = ratio_interval(control, treatment, critical)
    return Comparison(
        method="score",
        control=p0,
        treatment=p1,
        control_n=n0,
        treatment_n=n1,
        low=low,
        high=high,
        standard_error=pooled_error(control, treatment),
        df=None,
        p=float(2 * special.ndtr(-abs(score_statistic(control, treatment)))),
        critical=critical,
        lift=p1 / p0 - 1 if ratio else None,
        lift_low=ratio[0] - 1 if ratio else None,
        lift_high=ratio[1] - 1 if ratio else None,
        lift_error=pooled_error(control, treatment) / p0 if ratio else None,
        more_is_better=more_is_better,
    )


def fieller(control: Arm, treatment: Arm, quantile: float) -> tuple[float, float, float] | None:
    """Lift over |control| with Fieller's interval; None when g = q²·var/mean² of the control ≥ 1.

    The set of ratios r with (t − r·c)² ≤ q²(var_t + r²·var_c): at r = 1 that is exactly the test,
    so the interval holds 0 if and only if the test is silent. Source: Fieller 1954, "Some problems
    in interval estimation". A negative control turns the sign: −5.0 → −4.5 is +10 %.
    """
    if control.value == 0:
        return None
    g = quantile * quantile * control.squared_error / control.value**2
    if g >= 1:
        return None
    ratio = treatment.value / control.value
    spread = treatment.squared_error * (1 - g) + ratio * ratio * control.squared_error
    half = quantile / abs(control.value) * math.sqrt(spread)
    ends = ((ratio - half) / (1 - g) - 1, (ratio + half) / (1 - g) - 1)
    return _turned(ratio - 1, *ends, control.value > 0)


def lift_error(control: Arm, treatment: Arm) -> float:
    """The lift's standard error by the delta method: √(var_t + r²·var_c)/|c|, r = t/c."""
    ratio = treatment.value / control.value
    variance = treatment.squared_error + ratio * ratio * control.squared_error
    return math.sqrt(variance) / abs(control.value)


def t_quantile(critical: float, df: float) -> float:
    """The t quantile of the two-sided level that the normal quantile `critical` stands for."""
    return float(-special.stdtrit(df, special.ndtr(-critical)))


def _turned(middle: float, low: float, high: float, upright: bool) -> tuple[float, float, float]:
    return (middle, low, high) if upright else (-middle, -high, -low)


def _why_unknown(control: Arm | Unknown, treatment: Arm | Unknown) -> Unknown:
    reasons = {a.reason for a in (control, treatment) if isinstance(a, Unknown)}
    empty = [isinstance(a, Unknown) and a.reason == "no_data" for a in (control, treatment)]
    if any(empty):
        return Unknown("no_data" if all(empty) else "one_arm")
    return Unknown("too_few") if "too_few" in reasons else Unknown(min(reasons))
