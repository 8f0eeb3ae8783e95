"""Regimes: how often an experiment may be looked at, and what that costs each look.

SingleLook: once, at the planned end. Planned: daily snapshots up to a planned end. OpenEnded: any
number of looks for ever. Each turns a level into the normal quantile that today's interval uses.
With several treatments each is judged at the level divided by their number (Bonferroni).
"""

import math
from dataclasses import dataclass

from scipy import special

from analytics.methods.experiment.bounds import bounds

FIRST_DAY = 7  # full days before any verdict: a week holds each weekday once
TUNED_FOR = 5000  # units at which the confidence sequence is narrowest


@dataclass(frozen=True)
class SingleLook:
    """One look, at the planned end, and none before."""

    def critical(self, alpha: float = 0.05) -> float:
        """The normal quantile for two sides."""
        return float(-special.ndtri(alpha / 2))

    @property
    def ended(self) -> bool:
        """The one look is the last."""
        return True


@dataclass(frozen=True)
class Look:
    """One daily snapshot: full days since the start, and the information it held."""

    day: int
    information: float


@dataclass(frozen=True)
class Planned:
    """Daily snapshots up to a planned end, fixed when the experiment was registered.

    `looks` are the snapshots so far, oldest first. Looks before FIRST_DAY give no verdict and cost
    nothing. The first look at or after `days` is the last: later ones repeat its bound *and must
    repeat its data* (`decides` names its day), for data beyond the plan would be looked at for
    free (0.105 wrong in place of 0.05 by simulation).
    """

    days: int
    looks: tuple[Look, ...]

    def __post_init__(self) -> None:
        """Refuses a plan shorter than a week, and looks out of order."""
        if self.days < FIRST_DAY:
            raise ValueError(f"a plan needs at least {FIRST_DAY} days")
        if any(a.day > b.day for a, b in zip(self.looks, self.looks[1:], strict=False)):
            raise ValueError("looks must be in order of days")

    @property
    def counted(self) -> tuple[Look, ...]:
        """The looks that cost something: one a day from FIRST_DAY to the first at the end."""
        kept: list[Look] = []
        for look in self.looks:
            over = bool(kept) and kept[-1].day >= self.days
            if look.day >= FIRST_DAY and not over and (not kept or look.day > kept[-1].day):
                kept.append(look)
        return tuple(kept)

    @property
    def decides(self) -> int | None:
        """The day of the snapshot to answer from; None before FIRST_DAY."""
        return self.counted[-1].day if self.counted else None

    @property
    def ended(self) -> bool:
        """The planned end has been looked at: the plan is used up."""
        return bool(self.looks) and self.looks[-1].day >= self.days

    def critical(self, alpha: float = 0.05) -> float:
        """Today's Lan-DeMets O'Brien-Fleming bound."""
        looks = self.counted
        if not looks:
            return bounds((1 / self.days,), (1.0,), alpha)[-1]
        times = tuple(min(look.day / self.days, 1.0) for look in looks)
        return bounds(times, tuple(look.information for look in looks), alpha)[-1]


@dataclass(frozen=True)
class OpenEnded:
    """Any number of looks, for ever: the asymptotic confidence sequence.

    `n` are the units of both arms so far. Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas,
    "Time-uniform central limit theory and asymptotic confidence sequences", arXiv 2103.06476,
    eq. 14; the tuning to `tuned_for` units by their eq. 15 for that level. Fixed at registration.
    """

    n: int
    tuned_for: int = TUNED_FOR

    @property
    def ended(self) -> bool:
        """There is no end."""
        return False

    def critical(self, alpha: float = 0.05) -> float:
        """√(2·(nρ²+1)/(nρ²)·ln(√(nρ²+1)/α)): half-width in standard errors."""
        scale = self.n * self._rho_squared(alpha)
        if scale <= 0:
            return math.inf
        return math.sqrt(2 * (scale + 1) / scale * math.log(math.sqrt(scale + 1) / alpha))

    def always_valid_p(self, z: float, alpha: float = 0.05) -> float:
        """The smallest level at which the sequence tuned for `alpha` excludes zero, at most 1."""
        scale = self.n * self._rho_squared(alpha)
        if scale <= 0:
            return 1.0
        log_p = 0.5 * math.log(scale + 1) - z * z * scale / (2 * (scale + 1))
        return min(1.0, math.exp(log_p))

    def _rho_squared(self, alpha: float) -> float:
        tail = -2 * math.log(alpha)
        return (tail + math.log(tail + 1)) / self.tuned_for


Regime = SingleLook | Planned | OpenEnded


def information(control_n: int, treatment_n: int) -> float:
    """Units' worth of information on a difference: 1/(1/n0 + 1/n1); 0 with an empty arm."""
    if not control_n or not treatment_n:
        return 0.0
    return control_n * treatment_n / (control_n + treatment_n)
