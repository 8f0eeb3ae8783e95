"""Moments: what one variant's units add up to, kept so that it survives large numbers.

The store hands over sums about a constant c near the mean, not raw sums: with raw sums of values
near 1e9 the variance of a spread of 1 comes out negative (cancellation; Chan, Golub, LeVeque 1983,
"Algorithms for computing the sample variance").
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# Below this share of the sum of squares, a centred sum of squares is rounding, not spread.
ROUNDING = 1e-10


@dataclass(frozen=True)
class Moments:
    """Sums over the units of one variant: y is the metric, x a second value of the same unit.

    `y1`, `y2`, `y3` are the sums of (y−shift), its square and its cube; `x1`, `x2` those of
    (x−x_shift); `xy` the sum of products; `positives` counts the units with y > 0. x is the
    covariate for CUPED and the denominator for ratios. Sums of days and of segments add with `+`.
    """

    n: int
    shift: float = 0.0
    y1: float = 0.0
    y2: float = 0.0
    y3: float = 0.0
    positives: int = 0
    x_shift: float = 0.0
    x1: float = 0.0
    x2: float = 0.0
    xy: float = 0.0

    def __post_init__(self) -> None:
        """Refuses a negative count and any sum that is not a finite number."""
        if self.n < 0 or not 0 <= self.positives <= self.n:
            raise ValueError(f"impossible counts: n={self.n}, positives={self.positives}")
        sums = (self.shift, self.y1, self.y2, self.y3, self.x_shift, self.x1, self.x2, self.xy)
        if not all(map(math.isfinite, sums)):
            raise ValueError(f"sums must be finite numbers: {sums}")

    @classmethod
    def of(
        cls,
        y: ArrayLike,
        x: ArrayLike | None = None,
        *,
        shift: float | None = None,
        x_shift: float | None = None,
    ) -> "Moments":
        """The moments of arrays, one value per unit; the shift is the first value unless given."""
        ys = np.asarray(y, dtype=np.float64)
        xs = np.zeros_like(ys) if x is None else np.asarray(x, dtype=np.float64)
        if not ys.size:
            return cls(0, shift or 0.0, x_shift=x_shift or 0.0)
        c = float(ys[0]) if shift is None else shift
        d = float(xs[0]) if x_shift is None else x_shift
        dy, dx = ys - c, xs - d
        return cls(
            n=int(ys.size),
            shift=c,
            y1=float(dy.sum()),
            y2=float(dy @ dy),
            y3=float((dy * dy) @ dy),
            positives=int((ys > 0).sum()),
            x_shift=d,
            x1=float(dx.sum()),
            x2=float(dx @ dx),
            xy=float(dx @ dy),
        )

    @classmethod
    def from_row(
        cls, row: Mapping[str, Any], *, shift: float = 0.0, x_shift: float = 0.0
    ) -> "Moments":
        """The moments of one aggregate row with keys n, y1, y2, y3, positives, x1, x2, xy.

        Keys may be absent. A sum over no rows is NULL in SQL and 0 here; NULL over rows is refused.
        """
        n = int(row["n"] or 0)

        def total(key: str) -> float:
            value = row.get(key, 0)
            if value is None and n:
                raise ValueError(f"the sum {key} is NULL over {n} units")
            return float(value or 0)

        names = ("y1", "y2", "y3", "x1", "x2", "xy")
        return cls(
            n=n,
            shift=float(shift),
            positives=int(total("positives")),
            x_shift=float(x_shift),
            **{name: total(name) for name in names},
        )

    @classmethod
    def of_proportion(cls, successes: int, n: int) -> "Moments":
        """The moments of n units of which `successes` are 1 and the rest 0."""
        s = float(successes)
        return cls(n, 0.0, s, s, s, successes)

    def __add__(self, other: "Moments") -> "Moments":
        """Both lots of units together; a different shift is brought to this one's first."""
        if not self.n:
            return other
        if not other.n:
            return self
        o = other.about(self.shift, self.x_shift)
        return replace(
            self,
            n=self.n + o.n,
            y1=self.y1 + o.y1,
            y2=self.y2 + o.y2,
            y3=self.y3 + o.y3,
            positives=self.positives + o.positives,
            x1=self.x1 + o.x1,
            x2=self.x2 + o.x2,
            xy=self.xy + o.xy,
        )

    def about(self, shift: float, x_shift: float) -> "Moments":
        """The same units with sums about other constants (binomial expansion)."""
        d, e, n = self.shift - shift, self.x_shift - x_shift, self.n
        if d == 0 and e == 0:
            return self
        return replace(
            self,
            shift=shift,
            y1=self.y1 + n * d,
            y2=self.y2 + 2 * d * self.y1 + n * d * d,
            y3=self.y3 + 3 * d * self.y2 + 3 * d * d * self.y1 + n * d**3,
            x_shift=x_shift,
            x1=self.x1 + n * e,
            x2=self.x2 + 2 * e * self.x1 + n * e * e,
            xy=self.xy + d * self.x1 + e * self.y1 + n * d * e,
        )

    @property
    def mean(self) -> float | None:
        """The mean of y; None without units."""
        return self.shift + self.y1 / self.n if self.n else None

    @property
    def x_mean(self) -> float | None:
        """The mean of x; None without units."""
        return self.x_shift + self.x1 / self.n if self.n else None

    @property
    def variance(self) -> float | None:
        """The unbiased variance of y; None below two units, exactly 0 when all are equal."""
        return _spread(self.n, self.y1, self.y2)

    @property
    def x_variance(self) -> float | None:
        """The unbiased variance of x; None below two units."""
        return _spread(self.n, self.x1, self.x2)

    @property
    def covariance(self) -> float | None:
        """The unbiased covariance of y and x; None below two units."""
        return (self.xy - self.y1 * self.x1 / self.n) / (self.n - 1) if self.n > 1 else None

    @property
    def skewness(self) -> float | None:
        """The third standardised moment g1 = m3/m2^1.5; None without spread."""
        spread = self.variance
        if not spread:
            return None
        n, a = self.n, self.y1 / self.n
        second = spread * (n - 1) / n
        third = self.y3 / n - 3 * a * self.y2 / n + 2 * a**3
        return third / (second * math.sqrt(second))


def total(parts: Sequence[Moments]) -> Moments:
    """All parts together: days, segments or variants."""
    return sum(parts[1:], parts[0]) if parts else Moments(0)


def _spread(n: int, s1: float, s2: float) -> float | None:
    """The unbiased variance from sums about a constant, with rounding noise taken as 0."""
    if n < 2:
        return None
    centred = s2 - s1 * s1 / n
    return centred / (n - 1) if centred > ROUNDING * s2 else 0.0
