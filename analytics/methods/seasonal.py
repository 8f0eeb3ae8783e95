"""What is usual for a series that repeats by weekday, what is not, and what may come next.

Everything about a point comes from the points before it: a band can be told for the last day of
the data, and does not know the day it judges.

* **Expected** is the median of the same place in the last 8 seasons (the same weekday of 8 weeks),
  moved by the level: the median of how far the last two seasons lay from their own expectations.
* **Scale** is 1.4826 x the median absolute deviation of the points from what was expected of them,
  over the last 13 seasons.
* **Score** is the deviation in scales; beyond `UNUSUAL` a point is out of the band. Where the
  sampling error of a point is known, the band is never narrower than two of them.

A series that is never below zero deviates by ratios (logarithms), others by differences. The
median and its deviation as centre and scale: Hampel, "The Influence Curve and Its Role in Robust
Estimation", JASA 69 (1974) 383-393. The forecast carries the same expectation on; its band holds
the errors that the same forecast made before (nine in ten of them).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: How many seasons back the expectation looks, and how many of them it needs.
SEASONS = 8
LEAST_SEASONS = 4

#: Seasons that tell the level and the scale, and the fewest points that may.
LEVEL_SEASONS = 2
SCALE_SEASONS = 13
LEAST_LEVEL = 3
LEAST_SCALE = 8

#: Scales beyond which a point is unusual: of a day, and of a part of a day, which is looked at
#: more often.
UNUSUAL = 4.0
UNUSUAL_WITHIN_DAY = 5.0

#: No series is so steady that a smaller deviation than this (as a ratio) is worth a word.
LEAST_RATIO = 0.01

#: A band wider than so many times the expectation says nothing: it is unknown.
WIDEST = 20.0

#: A point that fell to nothing deviates as one of a hundredth of what was expected.
NOTHING = 0.01

#: Where a point's sampling error is known, half of it counts as a scale as well.
NOISE = 0.5

MAD = 1.4826

#: The share of earlier errors that a forecast's band holds.
HELD = 0.9

#: Days from which the forecast is tried, to know its error: so many seasons of them.
TRIED_SEASONS = 8


@dataclass(frozen=True)
class Band:
    """Per point: what was expected, the band's ends, and the score; NaN where unknown.

    `limit` is the score beyond which a point is out of the band.
    """

    expected: Floats
    low: Floats
    high: Floats
    score: Floats
    limit: float = UNUSUAL

    @property
    def unusual(self) -> NDArray[np.bool_]:
        """The points out of the band."""
        return np.nan_to_num(np.abs(self.score)) > self.limit


@dataclass(frozen=True)
class Forecast:
    """The next points with a band, and how the same forecast did before.

    `error` and `naive_error` are the sum of absolute errors over the sum of absolute values in the
    trial, of this forecast and of repeating the last season; None where it could not be tried.
    `trials` counts the forecast points of the trial.
    """

    values: Floats
    low: Floats
    high: Floats
    error: float | None
    naive_error: float | None
    trials: int


def season_median(values: Floats, season: int) -> Floats:
    """At each point, and `season` points on: the median of its place in the seasons before it."""
    n = len(values)
    longer = np.append(values, np.full(season, np.nan))
    lags = np.full((SEASONS, n + season), np.nan)
    for q in range(1, SEASONS + 1):
        shift = q * season
        if shift < n + season:
            lags[q - 1, shift:] = longer[: n + season - shift]
    known = np.isfinite(lags).sum(axis=0)
    found = np.full(n + season, np.nan)
    enough = known >= LEAST_SEASONS
    found[enough] = np.nanmedian(lags[:, enough], axis=0)
    return found


def rolling_median(values: Floats, window: int, least: int) -> Floats:
    """At each point, and one on: the median of the `window` points before it."""
    series = pd.Series(np.append(values, np.nan))
    found = series.shift(1).rolling(window, min_periods=least).median()
    return found.to_numpy(dtype=np.float64)


def by_ratio(values: Floats) -> bool:
    """Whether the series is never below zero, and so deviates by ratios."""
    known = values[np.isfinite(values)]
    return bool(len(known)) and bool((known >= 0).all()) and bool((known > 0).any())


def deviation(values: Floats, centre: Floats, *, ratio: bool) -> Floats:
    """How far values lie from a centre: as logarithms of the ratio, or as differences.

    Nothing where nothing is expected is no deviation and says nothing of the scale: NaN.
    """
    if not ratio:
        return values - centre
    found = np.full(len(values), np.nan)
    able = np.isfinite(values) & np.isfinite(centre) & (centre > 0)
    found[able] = np.log(np.maximum(values[able] / centre[able], NOTHING))
    return found


def moved_by(centre: Floats, step: Floats, *, ratio: bool) -> Floats:
    """A centre moved by deviations."""
    return centre * np.exp(step) if ratio else centre + step


def usual_band(
    values: Floats, season: int, noise: Floats | None = None, limit: float = UNUSUAL
) -> Band:
    """The band of what is usual at each point.

    `values` are equally spaced, NaN where unknown; `season` is how many points make one (7 for
    days, 1 for none). `noise` is each value's sampling error, in its own unit.
    """
    n, ratio = len(values), by_ratio(values)
    middle = season_median(values, season)[:n]
    off = deviation(values, middle, ratio=ratio)
    level = rolling_median(off, max(LEVEL_SEASONS * season, 5), LEAST_LEVEL)[:n]
    expected = moved_by(middle, np.nan_to_num(level), ratio=ratio)
    left = deviation(values, expected, ratio=ratio)
    scale = (
        MAD
        * rolling_median(np.abs(left), max(SCALE_SEASONS * season, 2 * LEAST_SCALE), LEAST_SCALE)[
            :n
        ]
    )
    scale = np.maximum(scale, LEAST_RATIO if ratio else 0.0)
    if ratio:
        scale[limit * scale > np.log(WIDEST)] = np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.where(scale > 0, left / scale, np.nan)
    low = moved_by(expected, -limit * scale, ratio=ratio)
    high = moved_by(expected, limit * scale, ratio=ratio)
    if noise is not None:
        error = np.where(np.isfinite(noise) & (noise > 0), NOISE * noise, np.nan)
        own = (values - expected) / error
        score = np.where(np.abs(own) < np.abs(score), own, score)
        low = np.fmin(low, expected - limit * error)
        high = np.fmax(high, expected + limit * error)
        low = np.maximum(low, 0.0) if ratio else low
    return Band(expected, low, high, score, limit)


def usual_within_day(values: Floats, per_day: int) -> Band:
    """The band for points within days: unusual is what is so for the hour and for the weekday.

    `values` are equally spaced, `per_day` of them a day. A point is judged against the same hour
    of the last 8 days and, as soon as 4 weeks are known, of the last 8 weeks; where both know it,
    the one that it surprises less decides, and a point above one and below the other is as usual.
    """
    daily = usual_band(values, per_day, limit=UNUSUAL_WITHIN_DAY)
    weekly = usual_band(values, 7 * per_day, limit=UNUSUAL_WITHIN_DAY)
    both = np.isfinite(daily.score) & np.isfinite(weekly.score)
    nearer = both & (np.abs(weekly.score) < np.abs(daily.score))
    expected, low, high, score = (
        np.where(nearer, ours, theirs)
        for ours, theirs in (
            (weekly.expected, daily.expected),
            (weekly.low, daily.low),
            (weekly.high, daily.high),
            (weekly.score, daily.score),
        )
    )
    apart = both & (np.sign(weekly.score) != np.sign(daily.score))
    score = np.where(apart, 0.0, score)
    low = np.where(apart, np.fmin(daily.low, weekly.low), low)
    high = np.where(apart, np.fmax(daily.high, weekly.high), high)
    return Band(expected, low, high, score, UNUSUAL_WITHIN_DAY)


def on_a_grid(at: NDArray[np.datetime64], values: Floats, hours: int) -> pd.Series:
    """Means of blocks of `hours` from the first instant on, NaN where a block holds no value."""
    series = pd.Series(values, index=pd.DatetimeIndex(at)).sort_index()
    return series.resample(pd.Timedelta(hours=hours), origin="start").mean()


def forecast(values: Floats, season: int, ahead: int) -> Forecast | None:
    """The next `ahead` points; None where no point of the last season has an expectation.

    Each is the median of its place in the last seasons, moved by the level of the last two. The
    band at each distance holds nine in ten of the errors of the same forecast from the points of
    the last seasons, but is never narrower than that of a nearer point.
    """
    n, ratio = len(values), by_ratio(values)
    middle = season_median(values, season)
    off = deviation(values, middle[:n], ratio=ratio)
    level = rolling_median(off, max(LEVEL_SEASONS * season, 5), LEAST_LEVEL)
    if not np.isfinite(level[n]):
        return None

    def told(origins: NDArray[np.int64], distance: int) -> Floats:
        """Forecasts for `distance` points after the last known point of each origin."""
        target = origins + distance - 1
        place = target - (distance - 1) // season * season
        return moved_by(middle[place], level[origins], ratio=ratio)

    now = np.array([n])
    ahead_values = np.array([told(now, h)[0] for h in range(1, ahead + 1)])
    first = max(n - TRIED_SEASONS * max(season, 1) - ahead, 0)
    reach, errors, naive, sizes, trials = 0.0, 0.0, 0.0, 0.0, 0
    reaches = np.full(ahead, np.nan)
    for h in range(1, ahead + 1):
        origins = np.arange(first, n - h + 1)
        target = origins + h - 1
        back = target - ((h - 1) // season + 1) * season
        origins, target, back = (a[back >= 0] for a in (origins, target, back))
        guess, real, last = told(origins, h), values[target], values[back]
        able = np.isfinite(guess) & np.isfinite(real) & np.isfinite(last)
        if able.sum() < LEAST_SCALE:
            continue
        size = np.abs(deviation(real[able], guess[able], ratio=ratio))
        size = size[np.isfinite(size)]
        if len(size):
            reach = max(reach, float(np.quantile(size, HELD)))
        reaches[h - 1] = reach
        errors += float(np.abs(guess[able] - real[able]).sum())
        naive += float(np.abs(last[able] - real[able]).sum())
        sizes += float(np.abs(real[able]).sum())
        trials += int(able.sum())
    return Forecast(
        ahead_values,
        moved_by(ahead_values, -reaches, ratio=ratio),
        moved_by(ahead_values, reaches, ratio=ratio),
        errors / sizes if sizes else None,
        naive / sizes if sizes else None,
        trials,
    )


def season_shape(values: Floats, season: int, first: int) -> Floats:
    """What each place of a season is against the season's mean: 1 is as the mean.

    `first` is the place of the first value. The median over the seasons of a value against the
    mean of the season that it stands in the middle of; NaN where a place is unknown.
    """
    series = pd.Series(values)
    around = series.rolling(season, center=True, min_periods=season).mean()
    share = (series / around.where(around > 0)).to_numpy(dtype=np.float64)
    places = (np.arange(len(values)) + first) % season
    return np.array(
        [
            np.nanmedian(share[places == p]) if np.isfinite(share[places == p]).any() else np.nan
            for p in range(season)
        ]
    )


@dataclass(frozen=True)
class Slope:
    """The change per season as a share of the middle, and whether it is more than chance."""

    per_season: float
    is_clear: bool


def slope(values: Floats, season: int) -> Slope | None:
    """The trend over whole seasons, from the last backwards; None below six of them.

    Theil and Sen's median of all slopes between season means, clear where Kendall's tau has
    |z| > 1.96 (Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", JASA 63
    (1968) 1379-1389).
    """
    seasons = len(values) // season
    whole = values[len(values) - seasons * season :].reshape(seasons, season)
    means = np.array([np.nanmean(row) if np.isfinite(row).any() else np.nan for row in whole])
    means = means[np.isfinite(means)]
    n = len(means)
    if n < 6:
        return None
    i, j = np.triu_indices(n, 1)
    steps = means[j] - means[i]
    middle = float(np.median(means))
    if middle == 0:
        return None
    tau = float(np.sign(steps).sum())
    error = float(np.sqrt(n * (n - 1) * (2 * n + 5) / 18))
    clear = (abs(tau) - 1) / error > 1.96
    return Slope(float(np.median(steps / (j - i))) / abs(middle), bool(clear))
