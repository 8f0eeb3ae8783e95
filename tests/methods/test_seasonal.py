"""What is usual, by hand and on series with planted shocks; forecasts against repeating a week."""

import numpy as np
import pytest
from numpy.typing import NDArray

from analytics.methods.seasonal import (
    UNUSUAL,
    forecast,
    season_median,
    season_shape,
    slope,
    usual_band,
    usual_within_day,
)
from benchmarks.unusual import DETECTORS, Labelled, score, scores
from tests.data import shared

Floats = NDArray[np.float64]

WEEK = np.array([100.0, 110, 120, 110, 150, 80, 60])


def shocked(rng: np.random.Generator, days: int = 730) -> tuple[Floats, NDArray[np.bool_]]:
    """Two years with a week, a year, growth, 5 % noise and twelve shocks of 20 to 60 %."""
    t = np.arange(days)
    values = 1000 * (1 + 0.0006 * t) * WEEK[t % 7] / 100
    values = values * (1 + 0.1 * np.sin(2 * np.pi * t / 365)) * np.exp(rng.normal(0, 0.05, days))
    places = rng.choice(np.arange(60, days), 12, replace=False)
    factor = np.where(rng.random(12) < 0.5, rng.uniform(0.55, 0.8, 12), rng.uniform(1.25, 1.6, 12))
    values[places] *= factor
    return values, np.isin(t, places)


def test_the_median_is_of_the_same_weekday() -> None:
    values = np.tile(WEEK, 6)
    found = season_median(values, 7)
    assert np.isnan(found[:28]).all()  # four seasons first
    assert found[28:] == pytest.approx(np.tile(WEEK, 3))  # one season beyond the last value


def test_a_steady_week_is_usual_and_a_fallen_day_is_not() -> None:
    rng = np.random.default_rng(1)
    values = np.tile(WEEK, 20) * np.exp(rng.normal(0, 0.03, 140))
    values[-1] *= 0.5
    band = usual_band(values, 7)
    assert band.unusual[-1]
    assert band.score[-1] < -UNUSUAL
    assert band.low[-1] > values[-1]
    assert band.unusual[:-1].sum() <= 1
    assert not usual_band(values[:-1], 7).unusual[-1]


def test_a_day_does_not_change_its_own_band() -> None:
    values = np.tile(WEEK, 20)
    changed = values.copy()
    changed[-1] = 10 * values[-1]
    a, b = usual_band(values, 7), usual_band(changed, 7)
    assert (a.low[-1], a.high[-1]) == (b.low[-1], b.high[-1])


def test_growth_is_not_unusual() -> None:
    rng = np.random.default_rng(2)
    values = np.tile(WEEK, 30) * 1.004 ** np.arange(210) * np.exp(rng.normal(0, 0.04, 210))
    assert usual_band(values, 7).unusual.sum() <= 1


def test_a_closed_weekday_is_usual_at_zero() -> None:
    values = np.tile(np.where(np.arange(7) == 5, 0, WEEK), 20)
    band = usual_band(values, 7)
    assert band.expected[5 + 7 * 19] == 0
    assert not band.unusual.any()
    told = forecast(values, 7, 7)
    assert told is not None
    assert told.values[5] == 0


def test_a_band_is_no_narrower_than_two_sampling_errors() -> None:
    values = np.tile(WEEK, 20)
    noise = np.full(140, 20.0)
    band = usual_band(values, 7, noise)
    assert (band.high - band.expected)[-7:] == pytest.approx(np.full(7, 2 * 20.0))
    lower = values.copy()
    lower[-1] -= 35
    assert usual_band(lower, 7).unusual[-1]
    assert not usual_band(lower, 7, noise).unusual[-1]


def test_values_below_zero_are_told_by_differences() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0, 5, 140) + np.tile(np.arange(7.0), 20)
    values[-2] = 90
    band = usual_band(values, 7)
    assert band.unusual[-2]
    assert (band.low[60:] < 0).all()


def test_shocks_are_found_and_little_else() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(20):
        values, shocks = shocked(rng)
        out = usual_band(values, 7).unusual[60:]
        hits = (out & shocks[60:]).sum()
        found.append(2 * hits / (out.sum() + shocks[60:].sum()))
    assert np.mean(found) > 0.9


def test_the_forecast_beats_repeating_the_week_and_holds_nine_in_ten() -> None:
    rng = np.random.default_rng(4)
    inside, errors, naives = [], [], []
    for _ in range(10):
        values, _ = shocked(rng, 400)
        told = forecast(values[:-14], 7, 14)
        assert told is not None
        real = values[-14:]
        inside += list((real >= told.low) & (real <= told.high))
        errors.append(told.error or 0)
        naives.append(told.naive_error or 0)
    assert np.mean(errors) < np.mean(naives)
    assert 0.82 <= np.mean(inside) <= 1


def test_nothing_is_forecast_from_too_little() -> None:
    assert forecast(np.tile(WEEK, 4), 7, 7) is None
    told = forecast(np.tile(WEEK, 5), 7, 7)
    assert told is None or told.error is None


def test_the_week_and_the_slope_are_told() -> None:
    assert season_shape(np.tile(WEEK, 10), 7, 0) == pytest.approx(WEEK / WEEK.mean())
    assert season_shape(np.tile(WEEK, 10), 7, 3)[3] == pytest.approx(WEEK[0] / WEEK.mean())
    growing = slope(np.tile(WEEK, 10) * np.repeat(1 + 0.02 * np.arange(10), 7), 7)
    assert growing is not None
    assert growing.is_clear
    assert growing.per_season == pytest.approx(0.02 / 1.09, rel=1e-6)
    flat = slope(np.tile(WEEK, 10), 7)
    assert flat is not None
    assert (flat.per_season, flat.is_clear) == (0, False)
    assert slope(np.tile(WEEK, 5), 7) is None
    assert slope(np.zeros(70), 7) is None


def test_within_days_the_weekday_excuses_what_the_hour_does_not() -> None:
    rng = np.random.default_rng(5)
    day = 100 + 50 * np.sin(np.arange(8) / 8 * 2 * np.pi)
    values = np.concatenate([day * (0.4 if d % 7 in (5, 6) else 1) for d in range(70)])
    values *= np.exp(rng.normal(0, 0.05, len(values)))
    weekends = np.repeat([d % 7 in (5, 6) for d in range(70)], 8)
    late = np.arange(len(values)) > 8 * 49
    band = usual_within_day(values, 8)
    assert not (band.unusual & weekends & late).any()
    values[-4] *= 0.2
    assert usual_within_day(values, 8).unusual[-4]


def test_alerts_are_scored_by_windows_and_incidents() -> None:
    at = np.arange("2026-01-01", "2026-03-01", dtype="datetime64[h]").astype("datetime64[us]")
    series = Labelled("x", at, np.zeros(len(at)), ((at[600], at[650]), (at[900], at[950])))
    flags = np.zeros(len(at), dtype=bool)
    flags[[10, 620, 640, 700, 710, 800]] = True  # the first is still learning
    found = score(series, flags)
    assert (found.found, found.missed) == (1, 1)
    assert (found.false_alerts, found.false_incidents) == (3, 2)
    assert found.f1 == pytest.approx(2 / 5)


def test_the_band_beats_three_sigma_and_the_seasonal_naive_on_nab() -> None:
    found = scores(shared("nab_kpi/nab.parquet").parent)
    ours = found["usual band (ours)"]
    rivals = {name: s for name, s in found.items() if name != "usual band (ours)"}
    assert len(rivals) == 2 * (len(DETECTORS) - 1)
    assert ours.f1 > 0.58
    assert ours.f1 > max(s.f1 for s in rivals.values()) + 0.05
    assert ours.f1_by_alert > max(s.f1_by_alert for s in rivals.values())
