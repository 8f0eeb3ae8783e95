"""Whether a day's rows are whole enough to be told: a gate on counts, `ok`, `note` or `held`.

A day is judged by the days before it: its hours against the same hours of the same weekday in the
last eight weeks, at the level of the last two weeks; its faults (copies, empty fields, impossible
values, orphans) against their usual share. Where rows come seldom, silence says little: a gap
counts only if so many rows were expected in it that chance does not explain their absence. Rows
scatter more than a Poisson count does; the history says by how much (the ratio of variance to
mean), and evidence is worth the less.

The limits were chosen on one simulation and judged on another (`benchmarks/quality_gate.py`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Verdict = Literal["ok", "note", "held"]

HOURS = 24
WEEK = 7

#: Weeks that tell what is usual, how many of them there must be, and days that tell the level.
WEEKS = 8
LEAST_WEEKS = 3
LEVEL_DAYS = 14

#: Of the sorted weeks so many at either end are left out: two bad weeks do no harm.
TRIMMED = 4

#: The scatter is told by few weeks: so much of it may be chance.
SCATTER_ERROR = 0.2

#: An hour with less than this share of its rows is silent.
SILENT = 0.05


@dataclass(frozen=True)
class Limits:
    """Beyond which a finding is a note, or holds the numbers back."""

    #: rows expected in a gap, in units of the scatter, for it to be no chance: a long gap, a short
    evidence: float = 4.0
    evidence_short: float = 7.0
    #: rows a day from which hours are looked at: of fewer, only a day without any is a gap
    least_rows: float = 100.0
    #: silent hours in a row, or the share of the day's rows in gaps, that hold
    gap_hours: int = 5
    missing_held: float = 0.10
    #: volume against usual, and how many deviations it must be as well
    low_held: float = 0.60
    high_held: float = 1.60
    low_note: float = 0.78
    high_note: float = 1.28
    deviations_held: float = 3.5
    deviations_note: float = 2.5
    #: additional shares of rows, and deviations of chance
    copies: float = 0.005
    invalid: float = 0.01
    orphans: float = 0.02
    empty: float = 0.05
    unmatched: float = 0.05
    deviations_share: float = 4.0
    #: a kind of row counts from this usual share on, and if so many were expected
    kind_share: float = 0.01
    kind_rows: float = 10.0


LIMITS = Limits()

#: The faults that hold, and the limit of each; names before a colon (`empty: device`).
FAULTS = ("copies", "invalid", "orphans", "empty", "unmatched")


@dataclass(frozen=True)
class Day:
    """A day's counts: rows per local hour, how long each hour is on that day (0 where the clock
    skips it or it is still to come, 2 where it comes twice), rows with each fault, rows per kind.
    """

    hours: Floats
    length: Floats
    faults: Mapping[str, int] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def rows(self) -> float:
        """All rows of the day."""
        return float(self.hours.sum())


@dataclass(frozen=True)
class Finding:
    """What is wrong: a stable word, the verdict it leads to, and the numbers to say it with."""

    check: str
    verdict: Verdict
    value: float
    usual: float
    hours: tuple[int, int] | None = None
    subject: str = ""


@dataclass(frozen=True)
class Judgement:
    """A day's verdict. `expected` is None where too little came before to judge it.

    `complete` is the share of the expected rows that lies outside of gaps, `ratio` the rows
    against the expected ones.
    """

    verdict: Verdict
    rows: float
    expected: float | None
    complete: float | None
    ratio: float | None
    findings: tuple[Finding, ...]


def judge(days: Sequence[Day], limits: Limits = LIMITS) -> Judgement:
    """The last of consecutive days, by those before it."""
    day = days[-1]
    usual = usual_hours(days)
    found: list[Finding] = []
    complete = ratio = expected = None
    if usual is not None:
        expected = float(usual.expected.sum())
        gaps = [
            g
            for g in gaps_of(day, usual.expected)
            if g.expected / usual.scatter
            > (limits.evidence if g.hours >= limits.gap_hours else limits.evidence_short)
            and (expected >= limits.least_rows or not day.rows)
        ]
        missing = sum(g.expected for g in gaps) / expected if expected > 0 else 0.0
        complete = 1.0 - missing
        for gap in gaps:
            long = gap.hours >= limits.gap_hours
            verdict: Verdict = "held" if long or missing >= limits.missing_held else "note"
            found.append(
                Finding("gap", verdict, gap.found, gap.expected, (gap.first, gap.last + 1))
            )
        if expected > 0:
            ratio = day.rows / expected
            if missing < limits.missing_held:
                found += volume(day.rows, expected, usual, limits)
    history = [d for d in days[:-1][-WEEKS * WEEK :] if d.rows]
    found += faults(day, history, limits)
    weekdays = [d for d in days[-1 - WEEK :: -WEEK][:WEEKS] if d.rows]
    found += kinds(day, weekdays, limits)
    return Judgement(worst(found), day.rows, expected, complete, ratio, tuple(found))


def worst(found: Sequence[Finding]) -> Verdict:
    """The gravest verdict of all findings."""
    verdicts = {f.verdict for f in found}
    return "held" if "held" in verdicts else "note" if "note" in verdicts else "ok"


# --- hours --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Usual:
    """Expected rows per hour; `scatter` is variance over mean of an hour's rows (at least 1),
    `spread` the deviation of a day's volume as a share of it.
    """

    expected: Floats
    scatter: float
    spread: float


@dataclass(frozen=True)
class Gap:
    """Silent hours in a row, first and last in; what came in them and what was expected."""

    first: int
    last: int
    hours: int
    found: float
    expected: float


def usual_hours(days: Sequence[Day]) -> Usual | None:
    """What the last of consecutive days should have held; None where too little came before."""
    hours = np.array([d.hours for d in days])
    length = np.array([d.length for d in days])
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(length > 0, hours / length, np.nan)
    n = len(days)
    weeks = weeks_before(rate, n - 1)
    if len(weeks) < LEAST_WEEKS:
        return None
    base = middle_mean(weeks)
    ratios = []
    for i in range(max(n - 1 - LEVEL_DAYS, 0), n - 1):
        before = weeks_before(rate, i)
        if len(before) >= LEAST_WEEKS:
            told = float((middle_mean(before) * length[i]).sum())
            if told > 0:
                ratios.append(float(hours[i].sum()) / told)
    level = float(np.median(ratios)) if ratios else 1.0
    if level <= 0:
        level = 1.0
    deviations = np.abs(np.log(np.maximum(np.array(ratios), 0.01) / level)) if ratios else None
    spread = 1.4826 * float(np.median(deviations)) if deviations is not None else 0.0
    busy = float(np.nanmean(weeks, axis=0).sum())
    scatter = float(np.nanvar(weeks, axis=0, ddof=1).sum()) / busy if busy > 0 else 1.0
    return Usual(base * length[-1] * level, max(scatter - SCATTER_ERROR, 1.0), spread)


def weeks_before(rate: Floats, day: int) -> Floats:
    """The rates of the same weekday in the weeks before a day, the latest first."""
    places = [day - WEEK * q for q in range(1, WEEKS + 1) if day - WEEK * q >= 0]
    return rate[places]


def middle_mean(weeks: Floats) -> Floats:
    """Per hour the mean of the middle of the sorted weeks; the mean of few."""
    if np.isnan(weeks).any():  # an hour that a clock skipped is as in the other weeks
        weeks = np.where(np.isnan(weeks), np.nanmedian(weeks, axis=0), weeks)
    if len(weeks) <= TRIMMED + 1:
        return np.asarray(np.median(weeks, axis=0))
    cut = TRIMMED // 2
    return np.asarray(np.sort(weeks, axis=0)[cut:-cut].mean(axis=0))


def gaps_of(day: Day, expected: Floats) -> list[Gap]:
    """The runs of silent hours; hours in which nothing is expected neither end nor make one."""
    found: list[Gap] = []
    run: list[int] = []
    for hour in range(HOURS + 1):
        at_end = hour == HOURS
        silent = not at_end and day.hours[hour] <= SILENT * expected[hour]
        if silent:
            run.append(hour)
            continue
        told = [h for h in run if expected[h] > 0]
        if told:
            first, last = told[0], told[-1]
            places = slice(first, last + 1)
            found.append(
                Gap(
                    first,
                    last,
                    round(float(day.length[places].sum())),
                    float(day.hours[places].sum()),
                    float(expected[places].sum()),
                )
            )
        run = []
    return found


def volume(rows: float, expected: float, usual: Usual, limits: Limits) -> list[Finding]:
    """Too few or too many rows: by a share of the usual, and by more than days scatter."""
    ratio = rows / expected
    chance = math.sqrt(usual.scatter / expected)
    spread = math.hypot(max(usual.spread, 0.03), chance)
    deviations = abs(math.log(max(ratio, 0.001))) / spread
    if deviations > limits.deviations_held and not limits.low_held <= ratio <= limits.high_held:
        return [Finding("volume", "held", rows, expected)]
    if deviations > limits.deviations_note and not limits.low_note <= ratio <= limits.high_note:
        return [Finding("volume", "note", rows, expected)]
    return []


# --- faults and kinds ---------------------------------------------------------------------------


def faults(day: Day, history: Sequence[Day], limits: Limits) -> list[Finding]:
    """The faults whose share of the rows is beyond the usual one, and beyond chance."""
    found: list[Finding] = []
    if not day.rows:
        return found
    for name in sorted(day.faults):
        kind = name.partition(":")[0]
        shares = [d.faults.get(name, 0) / d.rows for d in history]
        usual = float(np.median(shares)) if shares else 0.0
        share = day.faults[name] / day.rows
        more = share - usual
        floor = max(usual, 1 / day.rows)
        chance = math.sqrt(floor * (1 - min(floor, 1.0)) / day.rows)
        spread = 1.4826 * float(np.median(np.abs(np.array(shares) - usual))) if shares else 0.0
        least = max(getattr(limits, kind), limits.deviations_share * max(chance, spread))
        if more > least:
            found.append(Finding(name, "held", share, usual))
    return found


def kinds(day: Day, history: Sequence[Day], limits: Limits) -> list[Finding]:
    """Kinds of rows that are no more, and kinds that never were, by the same weekdays before."""
    total = sum(sum(d.kinds.values()) for d in history)
    if not total or not day.kinds:
        return []
    found: list[Finding] = []
    rows = sum(day.kinds.values())
    seen: dict[str, int] = {}
    for before in history:
        for name, count in before.kinds.items():
            seen[name] = seen.get(name, 0) + count
    for name, count in sorted(seen.items()):
        usual = count / total
        expected = usual * rows
        if usual >= limits.kind_share and expected >= limits.kind_rows and not day.kinds.get(name):
            found.append(Finding("vanished", "held", 0.0, usual, subject=name))
    for name, count in sorted(day.kinds.items()):
        if name not in seen and count / rows >= limits.kind_share:
            found.append(Finding("new", "note", count / rows, 0.0, subject=name))
    return found
