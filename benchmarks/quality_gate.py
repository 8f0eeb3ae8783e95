"""The data-quality gate on simulated days: how often does it hold a clean day, or miss an outage?

`python -m benchmarks.quality_gate` prints a table and exits with 1 when a rate lies outside of what
is promised; `--short` simulates fewer days, `--choose` shows the simulation that the limits were
chosen on (other seed, other shapes of the day) instead of the one that judges them.

A shop's day has a shape by hour and a factor by weekday, grows, and scatters: each day by 8 %, each
hour by another 8 %, and by chance.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analytics.methods.quality import HOURS, WEEKS, Day, Judgement, judge

Floats = NDArray[np.float64]

#: The seed of the simulation on which the limits were chosen, and of the one that judges them.
CHOOSING, JUDGING = 20261101, 20261125
NOISE = 0.08
CASES, SHORT_CASES = 1_000, 25

#: Rows by hour in two shops: the first chose the limits, the second judges them.
SHAPES = {
    CHOOSING: (2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 11, 11, 10, 10, 10, 10, 11, 12, 12, 10, 8, 5, 3),
    JUDGING: (3, 2, 1, 1, 1, 1, 2, 4, 6, 8, 9, 9, 10, 9, 8, 8, 9, 11, 13, 14, 13, 11, 8, 5),
}
WEEKDAYS = {
    CHOOSING: (1, 1.02, 1.01, 1.05, 1.15, 0.8, 0.75),
    JUDGING: (1, 0.97, 0.98, 1.0, 1.2, 1.25, 0.9),
}
SIZES = (20_000, 2_000, 500, 200)
USUAL = {"copies": 0.001, "empty: device": 0.02, "orphans": 0.001, "invalid": 0.0005}


@dataclass(frozen=True)
class Shop:
    """A simulated source of rows, `size` of them on a mean day."""

    seed: int
    size: int
    noise: float = NOISE
    growth: float = 0.001

    def days(self, draws: np.random.Generator) -> list[Day]:
        """Ten weeks and one day of a random weekday."""
        shape = np.array(SHAPES[self.seed], dtype=np.float64)
        week = np.array(WEEKDAYS[self.seed])
        first = int(draws.integers(7))
        count = (WEEKS + 2) * 7 + 1
        spread = 1 / self.noise**2
        days = []
        for i in range(count):
            mean = self.size * week[(first + i) % 7] * (1 + self.growth) ** i
            mean *= draws.gamma(spread, 1 / spread)
            hours = draws.poisson(mean * shape / shape.sum() * draws.gamma(spread, 1 / spread, 24))
            rows = int(hours.sum())
            faults = {k: int(draws.binomial(rows, share)) for k, share in USUAL.items()}
            bought = int(draws.binomial(rows, 0.05))
            kinds = {"visit": rows - bought, "purchase": bought}
            days.append(Day(hours.astype(np.float64), np.ones(HOURS), faults, kinds))
        return days


Break = Callable[[Day, np.random.Generator], Day]


def outage(hours: int) -> Break:
    """Nothing arrives for so many hours from a random minute on, within the day."""

    def broken(day: Day, draws: np.random.Generator) -> Day:
        start = draws.uniform(0, HOURS - hours)
        lost = np.clip(
            np.minimum(np.arange(1, 25), start + hours) - np.maximum(np.arange(24), start), 0, 1
        )
        return replace(day, hours=np.round(day.hours * (1 - lost)))

    return broken


def stale(hours: int) -> Break:
    """The last hours of the day have not arrived."""
    return lambda day, _: replace(
        day, hours=np.where(np.arange(24) < HOURS - hours, day.hours, 0.0)
    )


def thinned(share: float) -> Break:
    """So much of every hour is lost."""
    return lambda day, draws: replace(
        day, hours=draws.binomial(day.hours.astype(int), 1 - share).astype(np.float64)
    )


def doubled(day: Day, _: np.random.Generator) -> Day:
    """Loaded twice."""
    return replace(day, hours=2 * day.hours, faults={**day.faults, "copies": int(day.rows)})


def faulty(name: str, share: float) -> Break:
    """So much more of a fault."""

    def broken(day: Day, draws: np.random.Generator) -> Day:
        more = int(draws.binomial(int(day.rows), share))
        return replace(day, faults={**day.faults, name: day.faults[name] + more})

    return broken


def no_purchases(day: Day, _: np.random.Generator) -> Day:
    """One kind of row no longer comes."""
    return replace(day, kinds={"visit": day.kinds["visit"]})


@dataclass(frozen=True)
class Promise:
    """A case, the verdicts that count as right, and the least share of them."""

    name: str
    breaks: Break | None
    right: tuple[str, ...]
    least: float
    sizes: tuple[int, ...] = SIZES


PROMISES = (
    Promise("clean", None, ("ok", "note"), 0.99),
    Promise("clean, without a note", None, ("ok",), 0.95),
    *(Promise(f"outage of {h} h", outage(h), ("held",), 1.0, SIZES[:3]) for h in (6, 8, 12)),
    Promise("outage of 6 h, few rows", outage(6), ("held",), 0.99, SIZES[3:]),
    Promise("last 6 h missing", stale(6), ("held",), 1.0),
    Promise("last 11 h missing", stale(11), ("held",), 1.0),
    Promise("last 3 h missing", stale(3), ("note", "held"), 0.99, (20_000, 2_000)),
    Promise("half of every hour lost", thinned(0.5), ("note", "held"), 0.97, SIZES[:3]),
    Promise("loaded twice", doubled, ("held",), 1.0),
    Promise("2 % copies", faulty("copies", 0.02), ("held",), 0.99, (20_000, 2_000)),
    Promise("device empty in 30 %", faulty("empty: device", 0.3), ("held",), 1.0),
    Promise("5 % orphans", faulty("orphans", 0.05), ("held",), 0.99, (20_000, 2_000)),
    Promise("5 % impossible", faulty("invalid", 0.05), ("held",), 0.99, (20_000, 2_000)),
    Promise("no purchases arrive", no_purchases, ("held",), 0.99, SIZES[:3]),
)


@dataclass(frozen=True)
class Rate:
    """How often a case got a right verdict."""

    promise: Promise
    size: int
    verdicts: tuple[str, ...]

    @property
    def share(self) -> float:
        """Right verdicts of all."""
        return sum(v in self.promise.right for v in self.verdicts) / len(self.verdicts)

    def of(self, verdict: str) -> float:
        """The share of one verdict."""
        return self.verdicts.count(verdict) / len(self.verdicts)

    def is_kept(self, short: bool) -> bool:
        """Whether the promise is kept; few cases may miss it by one."""
        slack = 1 / len(self.verdicts) if short and self.promise.least < 1 else 0.0
        return self.share + slack >= self.promise.least


def rates(seed: int, cases: int, noise: float = NOISE) -> Iterator[Rate]:
    """Every promise at every size; the same days for all promises."""
    for size in SIZES:
        shop = Shop(seed, size, noise)
        draws = np.random.default_rng([seed, size, int(1000 * noise)])
        days = [shop.days(draws) for _ in range(cases)]
        for promise in PROMISES:
            if size not in promise.sizes:
                continue
            verdicts = tuple(told(promise, d, draws).verdict for d in days)
            yield Rate(promise, size, verdicts)


def told(promise: Promise, days: list[Day], draws: np.random.Generator) -> Judgement:
    """The judgement on the last day, broken or not."""
    last = promise.breaks(days[-1], draws) if promise.breaks else days[-1]
    return judge([*days[:-1], last])


def main() -> None:
    """The table; exit 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--noise", type=float, default=NOISE)
    asked = parser.parse_args()
    started = time.perf_counter()
    broken = 0
    cases = SHORT_CASES if asked.short else CASES
    print(f"{'case':28} {'rows a day':>10} {'held':>7} {'note':>7} {'ok':>7}  promised")
    for rate in rates(CHOOSING if asked.choose else JUDGING, cases, asked.noise):
        kept = rate.is_kept(asked.short)
        broken += not kept
        print(
            f"{rate.promise.name:28} {rate.size:10,} {rate.of('held'):7.1%} {rate.of('note'):7.1%} "
            f"{rate.of('ok'):7.1%}  {' or '.join(rate.promise.right)} >= {rate.promise.least:.0%}"
            f"{'' if kept else '   BROKEN'}"
        )
    print(f"{cases} days each, {time.perf_counter() - started:.1f} s, {broken} promises broken")
    sys.exit(broken > 0)


if __name__ == "__main__":
    main()
