"""Detectors of unusual points on the labelled series of the Numenta Anomaly Benchmark (NAB).

`python -m benchmarks.unusual` prints one line per detector. A window of NAB's labels is found if
an alert lies in it. Outside of the windows alerts are false: counted one by one, and as incidents
(alerts no more than a day apart are one, as the bot keeps one message per incident). The first
15 % of a series, at most 750 points, are for learning and not scored, as in NAB (Lavin and Ahmad,
"Evaluating Real-Time Anomaly Detection Algorithms", ICMLA 2015). All detectors are causal but the
one named so.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analytics.methods.seasonal import on_a_grid, usual_within_day

#: Points within a day are judged in blocks of so many hours.
BLOCK_HOURS = 3

#: An incident ends after so long without an alert.
QUIET = np.timedelta64(1, "D")

#: The share of a series, and the most points, that a detector may learn from unscored.
LEARNING_SHARE, LEARNING_POINTS = 0.15, 750

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Labelled:
    """One series and its windows (first and last instant, both in)."""

    name: str
    at: Times
    values: Floats
    windows: tuple[tuple[np.datetime64, np.datetime64], ...]

    @property
    def per_day(self) -> int:
        """How many points make a day."""
        return round(np.timedelta64(1, "D") / np.median(np.diff(self.at)))


@dataclass(frozen=True)
class Score:
    """Windows found and missed, false alerts and false incidents."""

    found: int
    missed: int
    false_alerts: int
    false_incidents: int

    def __add__(self, other: "Score") -> "Score":
        """Of both together."""
        return Score(
            self.found + other.found,
            self.missed + other.missed,
            self.false_alerts + other.false_alerts,
            self.false_incidents + other.false_incidents,
        )

    @property
    def f1(self) -> float:
        """Of windows found, windows missed and false incidents."""
        return 2 * self.found / max(2 * self.found + self.missed + self.false_incidents, 1)

    @property
    def f1_by_alert(self) -> float:
        """The same where every false alert counts."""
        return 2 * self.found / max(2 * self.found + self.missed + self.false_alerts, 1)


def series_of(folder: Path) -> Iterator[Labelled]:
    """The series of a folder with `nab.parquet` and `label_windows.csv`."""
    points = pd.read_parquet(folder / "nab.parquet")
    windows = pd.read_csv(folder / "label_windows.csv", parse_dates=["start", "end"])
    for name, rows in points.groupby("file", sort=True):
        rows = rows.sort_values("timestamp").drop_duplicates("timestamp")
        own = windows[windows["file"] == name]
        yield Labelled(
            str(name),
            rows["timestamp"].to_numpy(),
            rows["value"].to_numpy(dtype=np.float64),
            tuple(zip(own["start"].to_numpy(), own["end"].to_numpy(), strict=True)),
        )


def score(series: Labelled, flags: Flags) -> Score:
    """What alerts at the flagged points are worth."""
    learning = min(int(LEARNING_SHARE * len(flags)), LEARNING_POINTS)
    alerts = np.flatnonzero(flags)
    alerts = alerts[alerts >= learning]
    at = series.at[alerts]
    inside = np.zeros(len(alerts), dtype=bool)
    found = 0
    for start, end in series.windows:
        within = (at >= start) & (at <= end)
        found += bool(within.any())
        inside |= within
    false = at[~inside]
    incidents = int((np.diff(false) > QUIET).sum()) + bool(len(false))
    return Score(found, len(series.windows) - found, len(false), incidents)


# --- detectors ----------------------------------------------------------------------------------


def usual(series: Labelled) -> Flags:
    """Ours: the band of the hour and the weekday, in blocks; the alert is at a block's end."""
    blocks = on_a_grid(series.at, series.values, BLOCK_HOURS)
    out = usual_within_day(blocks.to_numpy(), 24 // BLOCK_HOURS).unusual
    block = (series.at - blocks.index[0].to_numpy()) // np.timedelta64(BLOCK_HOURS, "h")
    ends = np.append(block[1:] != block[:-1], True)
    return np.asarray(ends & out[block.astype(int)])


def three_sigma(series: Labelled) -> Flags:
    """Three standard deviations from the mean of all points before."""
    values = pd.Series(series.values)
    before = values.shift(1).expanding(24)
    return np.asarray((values - before.mean()).abs() > 3 * before.std())


def three_sigma_of_a_week(series: Labelled) -> Flags:
    """The same of the last seven days."""
    values = pd.Series(series.values)
    before = values.shift(1).rolling(7 * series.per_day, min_periods=24)
    return np.asarray((values - before.mean()).abs() > 3 * before.std())


def three_sigma_in_hindsight(series: Labelled) -> Flags:
    """The same of the whole series, the future too."""
    values = series.values
    return np.asarray(np.abs(values - values.mean()) > 3 * values.std())


def naive(series: Labelled, days: int) -> Flags:
    """Three standard deviations of the differences to the point so many days before."""
    change = pd.Series(series.values).diff(days * series.per_day)
    spread = change.shift(1).expanding(24).std()
    return np.asarray(change.abs() > 3 * spread)


DETECTORS: dict[str, Callable[[Labelled], Flags]] = {
    "usual band (ours)": usual,
    "3 sigma": three_sigma,
    "3 sigma, last week": three_sigma_of_a_week,
    "3 sigma, hindsight": three_sigma_in_hindsight,
    "seasonal naive, day": lambda series: naive(series, 1),
    "seasonal naive, week": lambda series: naive(series, 7),
}


def in_blocks(series: Labelled) -> Labelled:
    """The series in the blocks that ours sees, each at its end."""
    blocks = on_a_grid(series.at, series.values, BLOCK_HOURS).interpolate(limit_direction="both")
    ends = blocks.index.to_numpy() + np.timedelta64(BLOCK_HOURS, "h") - np.timedelta64(1, "s")
    return Labelled(series.name, ends, blocks.to_numpy(), series.windows)


def scores(folder: Path) -> dict[str, Score]:
    """Each detector's score over all series; the rivals also in the blocks that ours sees."""
    found: dict[str, Score] = {}
    for series in series_of(folder):
        for name, detect in DETECTORS.items():
            own = score(series, detect(series))
            found[name] = found.get(name, Score(0, 0, 0, 0)) + own
            if detect is not usual:
                blocks = in_blocks(series)
                key = f"{name}, blocks"
                found[key] = found.get(key, Score(0, 0, 0, 0)) + score(blocks, detect(blocks))
    return found


def main() -> None:
    """The table."""
    folder = next(
        p / "shared" / "data" / "nab_kpi"
        for p in Path(__file__).resolve().parents
        if (p / "shared" / "data" / "nab_kpi").exists()
    )
    started = time.perf_counter()
    print(f"{'detector':32} {'F1':>6} {'F1 by alert':>12} {'found':>6} {'missed':>7} {'false':>6}")
    for name, s in scores(folder).items():
        print(
            f"{name:32} {s.f1:6.3f} {s.f1_by_alert:12.3f} {s.found:6} {s.missed:7} "
            f"{s.false_incidents:6}"
        )
    print(f"{time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
