"""Simulated experiments through the product's own verdict: how often is it wrong?

`python -m benchmarks.validity` prints one line per rate with the band it must lie in, and exits
with 1 when one lies outside; `--short` simulates less, and widens each band by no more than the
chance of that smaller number (99 %). Seeds are fixed. The rows named *naive* do what tools commonly
do; their bands lie where theory says they err, which shows that the harness can fail.
"""

import argparse
import math
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from analytics.methods.experiment.arms import Kind, Unknown
from analytics.methods.experiment.comparison import (
    SINGLE_LOOK,
    Comparison,
    compare_arms,
    compare_moments,
)
from analytics.methods.experiment.guardrails import Guardrail, check_guardrails
from analytics.methods.experiment.health import split_check
from analytics.methods.experiment.moments import Moments
from analytics.methods.experiment.multiplicity import benjamini_hochberg
from analytics.methods.experiment.planning import power, smallest_findable
from analytics.methods.experiment.quantiles import design_effect, neighbour_ranks, quantile_arm
from analytics.methods.experiment.regimes import (
    FIRST_DAY,
    Look,
    OpenEnded,
    Planned,
    Regime,
    SingleLook,
    information,
)
from analytics.methods.experiment.strata import stratified_arms
from analytics.methods.experiment.tails import pooled_cap, skew_check
from analytics.methods.experiment.verdict import Evidence, Verdict, verdict

SEED = 20261123
FULL = 10_000
Z99 = 2.5758293035489004
BUYERS = 0.05
DAILY = 1_000  # units per arm and day where experiments are looked at daily

Floats = NDArray[np.float64]
Rates = dict[str, float]
Pair = tuple[Moments, Moments]
Sizes = tuple[int, int]


@dataclass(frozen=True)
class Study:
    """One simulation and the band of each rate it measures, for `sims` experiments."""

    name: str
    run: Callable[[Generator, int], Rates]
    bands: dict[str, tuple[float, float]]
    sims: int = FULL
    short: int = FULL


@dataclass(frozen=True)
class Line:
    """One rate against its band."""

    study: str
    rate: str
    sims: int
    value: float
    low: float
    high: float

    @property
    def ok(self) -> bool:
        """Within the band."""
        return self.low <= self.value <= self.high


def main(arguments: list[str] | None = None) -> int:
    """Runs all studies; 1 when a rate lies outside its band."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validity", description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer simulations, for CI")
    short = parser.parse_args(arguments).short
    began = time.process_time()
    lines = [line for at in range(len(STUDIES)) for line in measured(at, short=short)]
    print(f"{'':3}{'study':<53}{'rate':<32}{'sims':>7}{'value':>9}   band")
    for line in lines:
        sign = "ok" if line.ok else "!!"
        band = f"{line.low:.4f} to {line.high:.4f}"
        print(f"{sign:3}{line.study:<53}{line.rate:<32}{line.sims:>7}{line.value:>9.4f}   {band}")
    outside = sum(not line.ok for line in lines)
    seconds = time.process_time() - began
    print(f"{len(lines)} rates, {outside} outside their band, {seconds:.1f} s CPU, seed {SEED}")
    return 1 if outside else 0


def measured(at: int, *, short: bool) -> list[Line]:
    """The lines of study number `at`."""
    study = STUDIES[at]
    sims = study.short if short else study.sims
    # Seeded by its name, so that adding a study leaves the others as they were.
    rng = np.random.default_rng([SEED, zlib.crc32(study.name.encode())])
    rates = study.run(rng, sims)
    return [
        Line(
            study.name,
            rate,
            sims,
            rates[rate],
            low - _slack(low, sims, study.sims),
            high + _slack(high, sims, study.sims),
        )
        for rate, (low, high) in study.bands.items()
    ]


def _slack(edge: float, sims: int, full: int) -> float:
    """How much farther chance reaches with fewer simulations."""
    spread = math.sqrt(max(0.0, edge * (1 - edge)))
    return Z99 * spread * (1 / math.sqrt(sims) - 1 / math.sqrt(full))


# One look -------------------------------------------------------------------------------------


def judged(
    kind: Kind,
    pair: Pair,
    *,
    regime: Regime | None = None,
    days: int = 14,
    gated: bool = True,
) -> Verdict:
    """The product's verdict on two arms; for means with the skew gate."""
    control, treatment = pair
    chosen = regime or SingleLook()
    found = compare_moments(kind, control, treatment, critical=chosen.critical())
    counts = (control.positives, treatment.positives) if kind == "proportion" else None
    skew = skew_check(control, treatment) if kind == "mean" and gated else None
    return verdict(Evidence(found, chosen, days, conversions=counts, skew=skew))


def decided(found: Verdict) -> bool:
    """A verdict that would move someone."""
    return found.state in ("ship", "dont_ship")


def false_verdicts(rng: Generator, sims: int, *, draw: "Draw", sizes: Sizes) -> Rates:
    """A/A at the planned end: the share of experiments with a verdict for or against."""
    return {"false verdicts": _share(decided(judged(*lot)) for lot in draw(rng, sims, sizes))}


def heavy_tails_unequal(rng: Generator, sims: int, *, draw: "Draw", sizes: Sizes) -> Rates:
    """A/A with unequal arms and heavy tails: is it refused, and what would it have said?"""
    refused = naive = 0
    for kind, pair in draw(rng, sims, sizes):
        skew = skew_check(*pair)
        state = judged(kind, pair).state
        refused += bool(skew and skew.warns and state == "too_skewed")
        naive += decided(judged(kind, pair, gated=False))
    return {"warned and no verdict": refused / sims, "naive: without the gate": naive / sims}


def coverage(
    rng: Generator, sims: int, *, draw: "Draw", sizes: Sizes, lift: float, naive: bool = False
) -> Rates:
    """How often the lift interval holds the true lift, and contradicts the verdict's finding."""
    covers = contradicts = naive_contradicts = shown = 0
    for kind, pair in draw(rng, sims, sizes, lift):
        found = compare_moments(kind, *pair)
        if isinstance(found, Unknown) or found.lift_low is None or found.lift_high is None:
            continue
        shown += 1
        covers += found.lift_low <= lift <= found.lift_high
        apart = found.lift_low > 0 or found.lift_high < 0
        contradicts += apart != (found.finding != "unclear")
        naive_contradicts += _linear_apart(found) != (found.finding != "unclear")
    rates = {"coverage": covers / shown, "contradictions": contradicts / shown}
    return rates | ({"naive: linear contradictions": naive_contradicts / shown} if naive else {})


def _linear_apart(found: Comparison) -> bool:
    """Whether lift ± z·(delta error) excludes zero, the interval most products show."""
    assert found.lift is not None
    assert found.lift_error is not None
    return abs(found.lift) > SINGLE_LOOK * found.lift_error


def found_of_real(rng: Generator, sims: int, *, n: int) -> Rates:
    """Power less theory, for +10 % on a conversion of 5 %."""
    base, better = BUYERS, BUYERS * 1.1
    error = math.sqrt((base * (1 - base) + better * (1 - better)) / n)
    theory = power(better - base, error)
    assert theory is not None
    lots = conversions(rng, sims, (n, n), 0.1)
    share = _share(judged(*lot).state == "ship" for lot in lots)
    return {"power less theory": share - theory}


# Daily looks ----------------------------------------------------------------------------------


def daily(
    rng: Generator,
    sims: int,
    *,
    draw: "Draw",
    days: int,
    asked: int = 0,
    traffic: Callable[[int], float] = lambda day: 1.0,
    lift: float = 0.0,
    open_ended: bool = False,
) -> Rates:
    """Looked at every day, stopped at the first verdict.

    `asked` goes on asking that many days after the plan; `traffic` scales the units of a day.
    """
    last = max(days, asked)
    counts = [round(DAILY * traffic(day)) for day in range(1, last + 1)]
    totals = np.cumsum(counts)
    looks = tuple(Look(d, information(int(n), int(n))) for d, n in enumerate(totals, start=1))
    regimes: list[Regime] = [
        OpenEnded(2 * int(totals[d - 1])) if open_ended else Planned(days, looks[:d])
        for d in range(1, last + 1)
    ]
    per_day = [draw(rng, sims, (n, n), lift) for n in counts]
    wins = losses = naive = 0
    for lots in zip(*per_day, strict=True):
        snapshots = _running([pair for _, pair in lots])
        kind = lots[0][0]
        naive += any(_significant(kind, pair) for pair in snapshots[:days])
        state = _first_state(kind, snapshots, regimes)
        wins += state == "ship"
        losses += state == "dont_ship"
    return {
        "verdicts": (wins + losses) / sims,
        "found": wins / sims,
        "naive: p < 0.05 on any day": naive / sims,
    }


def _first_state(kind: Kind, snapshots: list[Pair], regimes: list[Regime]) -> str:
    """The first verdict of someone who asks every day and stops when told."""
    for day in range(FIRST_DAY, len(snapshots) + 1):
        regime = regimes[day - 1]
        answers_from = (regime.decides or day) if isinstance(regime, Planned) else day
        pair = snapshots[answers_from - 1]
        found = judged(kind, pair, regime=regime, days=answers_from)
        if decided(found):
            return found.state
    return "undecided"


def _significant(kind: Kind, pair: Pair) -> bool:
    found = compare_moments(kind, *pair)
    return isinstance(found, Comparison) and found.p < 0.05


def _running(days: list[Pair]) -> list[Pair]:
    """What each day's snapshot holds: the sums of all days so far."""
    out = [days[0]]
    for control, treatment in days[1:]:
        out.append((out[-1][0] + control, out[-1][1] + treatment))
    return out


# Other methods --------------------------------------------------------------------------------


def cuped(rng: Generator, sims: int) -> Rates:
    """A/A with a covariate of correlation 0.53; and the variance that it leaves."""
    n, rho = 1_000, 0.53
    wrong = 0
    kept: list[float] = []
    for _ in range(sims):
        x = rng.standard_normal((2, n))
        y = rho * x + math.sqrt(1 - rho * rho) * rng.standard_normal((2, n))
        pair = (Moments.of(y[0], x[0]), Moments.of(y[1], x[1]))
        wrong += decided(judged("cuped", pair))
        raw, adjusted = (compare_moments(kind, *pair) for kind in ("mean", "cuped"))
        assert isinstance(raw, Comparison)
        assert isinstance(adjusted, Comparison)
        kept.append((adjusted.standard_error / raw.standard_error) ** 2)
    return {"false verdicts": wrong / sims, "variance left (0.719)": float(np.mean(kept))}


def ratio(rng: Generator, sims: int) -> Rates:
    """A/A on orders per session, people randomised, habits differing between people."""
    n = 1_000
    wrong = naive = 0
    for _ in range(sims):
        sessions = 1 + rng.poisson(rng.gamma(1.0, 4.0, (2, n)))
        orders = rng.binomial(sessions, rng.beta(1.2, 4.8, (2, n)))
        y, x = orders.astype(float), sessions.astype(float)
        wrong += decided(judged("ratio", (Moments.of(y[0], x[0]), Moments.of(y[1], x[1]))))
        done, tried = orders.sum(axis=1), sessions.sum(axis=1)
        as_sessions = [
            Moments.of_proportion(int(a), int(b)) for a, b in zip(done, tried, strict=True)
        ]
        naive += _significant("proportion", (as_sessions[0], as_sessions[1]))
    return {"false verdicts": wrong / sims, "naive: sessions as units": naive / sims}


def changed_allocation(rng: Generator, sims: int) -> Rates:
    """A/A where day 2 has a better conversion and more treatment: 10 % then 50 % of units."""
    wrong = naive = 0
    days = (((18_000, 2_000), 0.05), ((10_000, 10_000), 0.08))
    draws = [(sizes, rng.binomial(sizes, rate, (sims, 2)).tolist()) for sizes, rate in days]
    for row in zip(*(counts for _, counts in draws), strict=True):
        strata: list[Pair] = [
            (Moments.of_proportion(a, sizes[0]), Moments.of_proportion(b, sizes[1]))
            for (a, b), (sizes, _) in zip(row, draws, strict=True)
        ]
        found = compare_arms(*stratified_arms(strata))
        wrong += decided(verdict(Evidence(found, SingleLook(), 14)))
        naive += _significant("proportion", _running(strata)[-1])
    return {"false verdicts": wrong / sims, "naive: days pooled": naive / sims}


def clustered_quantile(rng: Generator, sims: int) -> Rates:
    """A/A on the 90th percentile of latency, people randomised, several events each."""
    people, p = 500, 0.9
    wrong = naive = 0
    for _ in range(sims):
        arms, independent = [], []
        for _arm in range(2):
            events = rng.geometric(0.1, people)
            own = np.repeat(rng.normal(0, 0.6, people), events)
            values = np.exp(own + rng.normal(0, 0.6, own.size))
            ranks = neighbour_ranks(p, values.size)
            assert ranks is not None
            middle, low, high = np.quantile(values, [p, *ranks])
            starts = np.concatenate([[0], np.cumsum(events)[:-1]])
            under = np.add.reduceat((values <= middle).astype(float), starts)
            below = Moments.of(under, events.astype(float))
            arm = quantile_arm(p, float(middle), float(low), float(high), below)
            assert not isinstance(arm, Unknown)
            effect = design_effect(p, below)
            assert effect is not None
            arms.append(arm)
            independent.append((arm.value, arm.squared_error / effect))
        found = compare_arms(arms[0], arms[1])
        wrong += decided(verdict(Evidence(found, SingleLook(), 14)))
        gap = independent[1][0] - independent[0][0]
        naive += abs(gap) > SINGLE_LOOK * math.sqrt(independent[0][1] + independent[1][1])
    return {"false verdicts": wrong / sims, "naive: events as units": naive / sims}


def split_faults(rng: Generator, sims: int, *, share: float) -> Rates:
    """The share of experiments ever blocked for their split over 28 daily looks."""
    arrived = rng.binomial(2 * DAILY, share, (sims, 28)).cumsum(axis=1)
    blocked = at_end = 0
    for row in arrived:
        states = [
            split_check((int(a), 2 * DAILY * day - int(a))).status
            for day, a in enumerate(row, start=1)
        ]
        blocked += "block" in states
        at_end += states[-1] == "block"
    return {"blocked on any day": blocked / sims, "blocked at the end": at_end / sims}


def guardrail_at_margin(rng: Generator, sims: int) -> Rates:
    """A guardrail truly worse by its margin of 5 %: how often is it called safe?"""
    safe = 0
    for kind, pair in conversions(rng, sims, (20_000, 20_000), -0.05):
        guardrail = Guardrail("conversion", compare_moments(kind, *pair), margin=0.05)
        safe += check_guardrails([guardrail], SingleLook())[0].status == "safe"
    return {"called safe": safe / sims}


def guardrails_unharmed(rng: Generator, sims: int) -> Rates:
    """Five guardrails without any effect: how often is one called harmed? (Holm, one side)"""
    lots = [conversions(rng, sims, (10_000, 10_000)) for _ in range(5)]
    harmed = 0
    for row in zip(*lots, strict=True):
        guardrails = [
            Guardrail(str(i), compare_moments(kind, *pair), margin=0.0)
            for i, (kind, pair) in enumerate(row)
        ]
        harmed += any(f.status == "harmed" for f in check_guardrails(guardrails, SingleLook()))
    return {"any called harmed": harmed / sims}


def segments(rng: Generator, sims: int) -> Rates:
    """Ten segments without any effect: any find, with and without Benjamini-Hochberg."""
    lots = [conversions(rng, sims, (4_000, 4_000)) for _ in range(10)]
    found = naive = 0
    for row in zip(*lots, strict=True):
        compared = [compare_moments(kind, *pair) for kind, pair in row]
        p = [c.p for c in compared if isinstance(c, Comparison)]
        found += min(benjamini_hochberg(p)) < 0.05
        naive += min(p) < 0.05
    return {"any found": found / sims, "naive: uncorrected": naive / sims}


# Draws ----------------------------------------------------------------------------------------

Lots = Iterator[tuple[Kind, Pair]]
Draw = Callable[..., Lots]


def conversions(rng: Generator, sims: int, sizes: Sizes, lift: float = 0.0) -> Lots:
    """Experiments on a conversion of 5 %, raised by `lift` in the treatment."""
    control = rng.binomial(sizes[0], BUYERS, sims)
    treatment = rng.binomial(sizes[1], BUYERS * (1 + lift), sims)
    for a, b in zip(control.tolist(), treatment.tolist(), strict=True):
        pair = (Moments.of_proportion(a, sizes[0]), Moments.of_proportion(b, sizes[1]))
        yield "proportion", pair


def revenue(
    rng: Generator, sims: int, sizes: Sizes, lift: float = 0.0, *, sigma: float, chunk: int = 500
) -> Lots:
    """Experiments on revenue per user: 5 % buy, for lognormal amounts of this sigma."""
    for start in range(0, sims, chunk):
        some = min(chunk, sims - start)
        control = _spent(rng, some, sizes[0], sigma, 1.0)
        treatment = _spent(rng, some, sizes[1], sigma, 1 + lift)
        yield from (("mean", pair) for pair in zip(control, treatment, strict=True))


def _spent(rng: Generator, sims: int, n: int, sigma: float, factor: float) -> list[Moments]:
    """One arm's moments in each of `sims` experiments, about the expected mean."""
    buyers = np.maximum(1, rng.binomial(n, BUYERS, sims))
    values = factor * rng.lognormal(0.0, sigma, int(buyers.sum()))
    starts = np.concatenate([[0], np.cumsum(buyers)[:-1]])
    s1, s2, s3 = (np.add.reduceat(values**k, starts) for k in (1, 2, 3))
    c = BUYERS * math.exp(sigma * sigma / 2)
    y1 = s1 - n * c
    y2 = s2 - 2 * c * s1 + n * c * c
    y3 = s3 - 3 * c * s2 + 3 * c * c * s1 - n * c**3
    return [
        Moments(n, c, a, b, d, k)
        for a, b, d, k in zip(y1.tolist(), y2.tolist(), y3.tolist(), buyers.tolist(), strict=True)
    ]


def capped_revenue(rng: Generator, sims: int, sizes: Sizes, *, sigma: float) -> Lots:
    """The same, each experiment capped at the 99.9th percentile of both arms together."""
    for _ in range(sims):
        arms = [np.zeros(n) for n in sizes]
        for arm in arms:
            buyers = rng.binomial(arm.size, BUYERS)
            arm[:buyers] = rng.lognormal(0.0, sigma, buyers)
        cap = pooled_cap(np.concatenate(arms))
        assert cap is not None
        control, treatment = (Moments.of(cap.apply(arm), shift=0.1) for arm in arms)
        yield "mean", (control, treatment)


def _share(hits: Iterator[bool]) -> float:
    seen = list(hits)
    return sum(seen) / len(seen)


def _effect_found_in_775_of_1000(days: int) -> float:
    """The lift on a conversion of 5 % that one look at the end finds with power 0.775."""
    error = math.sqrt(2 * BUYERS * (1 - BUYERS) / (days * DAILY))
    effect = smallest_findable(error, wanted=0.775)
    assert effect is not None
    return effect / BUYERS


# Studies --------------------------------------------------------------------------------------

EQUAL, UNEQUAL = (10_000, 10_000), (36_000, 4_000)
LEVEL = (0.044, 0.056)
AT_MOST = (0.0, 0.056)
COVERAGE = {"coverage": (0.944, 0.958), "contradictions": (0.0, 0.0)}


def _aa(name: str, draw: Draw, band: tuple[float, float], short: int = FULL) -> Study:
    return Study(
        f"A/A, 10,000 per arm: {name}",
        partial(false_verdicts, draw=draw, sizes=EQUAL),
        {"false verdicts": band},
        short=short,
    )


def _lopsided(sigma: float, band: tuple[float, float]) -> Study:
    return Study(
        f"A/A, 36,000 / 4,000: revenue, sigma {sigma}",
        partial(heavy_tails_unequal, draw=partial(revenue, sigma=sigma), sizes=UNEQUAL),
        {"warned and no verdict": (0.99, 1.0), "naive: without the gate": band},
        short=2_000,
    )


def _covered(name: str, draw: Draw, n: int, lift: float = 0.1, short: int = FULL) -> Study:
    return Study(
        f"lift interval: {name}, {n:,} per arm",
        partial(coverage, draw=draw, sizes=(n, n), lift=lift),
        COVERAGE,
        short=short,
    )


def _power(n: int) -> Study:
    rate = {"power less theory": (-0.013, 0.013)}
    return Study(f"power: +10 % of 5 %, {n:,} per arm", partial(found_of_real, n=n), rate)


STUDIES: tuple[Study, ...] = (
    _aa("conversion", conversions, LEVEL),
    _aa("revenue, sigma 1", partial(revenue, sigma=1.0), LEVEL),
    _aa("revenue, sigma 1.5, capped", partial(capped_revenue, sigma=1.5), LEVEL, 2_000),
    _aa("revenue, sigma 1.5", partial(revenue, sigma=1.5), AT_MOST),
    _aa("revenue, sigma 2", partial(revenue, sigma=2.0), AT_MOST),
    _lopsided(1.5, (0.07, 0.11)),
    _lopsided(2.0, (0.11, 0.15)),
    Study(
        "lift interval: conversion, 500 per arm",
        partial(coverage, draw=conversions, sizes=(500, 500), lift=0.1, naive=True),
        {**COVERAGE, "naive: linear contradictions": (0.05, 0.09)},
    ),
    _covered("conversion", conversions, 5_000),
    _covered("revenue, sigma 1", partial(revenue, sigma=1.0), 2_000),
    _covered("revenue, sigma 1.5", partial(revenue, sigma=1.5), 20_000, short=4_000),
    _covered("conversion, +50 %", conversions, 2_000, 0.5),
    _power(10_000),
    _power(31_234),
    _power(40_000),
    Study(
        "daily looks, A/A, plan of 14 days",
        partial(daily, draw=conversions, days=14),
        {"verdicts": AT_MOST, "naive: p < 0.05 on any day": (0.209, 0.231)},
        short=2_000,
    ),
    Study(
        "daily looks, A/A, plan of 28 days",
        partial(daily, draw=conversions, days=28),
        {"verdicts": AT_MOST, "naive: p < 0.05 on any day": (0.263, 0.287)},
        short=2_000,
    ),
    Study(
        "daily looks, A/A, 28 days, revenue sigma 1",
        partial(daily, draw=partial(revenue, sigma=1.0), days=28),
        {"verdicts": AT_MOST},
        short=700,
    ),
    Study(
        "daily looks, A/A, asked on to day 42 of 28",
        partial(daily, draw=conversions, days=28, asked=42),
        {"verdicts": AT_MOST},
        short=700,
    ),
    Study(
        "daily looks, A/A, traffic x3 after day 14 of 28",
        partial(daily, draw=conversions, days=28, traffic=lambda day: 3.0 if day > 14 else 1.0),
        {"verdicts": AT_MOST},
        short=700,
    ),
    Study(
        "daily looks, A/A, no planned end, 28 days",
        partial(daily, draw=conversions, days=28, open_ended=True),
        {"verdicts": AT_MOST},
        short=700,
    ),
    Study(
        "daily looks, power where one look has 0.775",
        partial(daily, draw=conversions, days=28, lift=_effect_found_in_775_of_1000(28)),
        {"found": (0.70, 1.0)},
        short=2_000,
    ),
    Study(
        "CUPED, A/A, 1,000 per arm",
        cuped,
        {"false verdicts": (0.044, 0.057), "variance left (0.719)": (0.71, 0.73)},
        short=3_000,
    ),
    Study(
        "ratio, A/A, 1,000 per arm",
        ratio,
        {"false verdicts": (0.044, 0.057), "naive: sessions as units": (0.12, 1.0)},
        short=3_000,
    ),
    Study(
        "days as strata, A/A, 10 % then 50 % treated",
        changed_allocation,
        {"false verdicts": (0.044, 0.057), "naive: days pooled": (0.9, 1.0)},
        short=3_000,
    ),
    Study(
        "clustered p90, A/A, 500 people per arm",
        clustered_quantile,
        {"false verdicts": (0.0, 0.065), "naive: events as units": (0.15, 1.0)},
        sims=3_000,
        short=1_000,
    ),
    Study(
        "split 50/50, 28 daily looks",
        partial(split_faults, share=0.5),
        {"blocked on any day": (0.0, 0.012)},
        short=2_000,
    ),
    Study(
        "split 51/49, 56,000 units",
        partial(split_faults, share=0.51),
        {"blocked at the end": (0.90, 1.0)},
        short=1_000,
    ),
    Study(
        "guardrail worse by exactly its margin",
        guardrail_at_margin,
        {"called safe": (0.0, 0.029)},
    ),
    Study(
        "five guardrails without effect",
        guardrails_unharmed,
        {"any called harmed": (0.0, 0.029)},
        short=3_000,
    ),
    Study(
        "ten segments without effect",
        segments,
        {"any found": (0.0, 0.058), "naive: uncorrected": (0.37, 0.43)},
        short=2_000,
    ),
)

if __name__ == "__main__":
    sys.exit(main())
