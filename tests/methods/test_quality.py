"""The gate: hand-made days, and the promises it makes by simulation."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.methods.quality import HOURS, Day, gaps_of, judge, usual_hours
from benchmarks.quality_gate import CHOOSING, JUDGING, rates

SHAPE = np.array([0.0] * 6 + [10.0] * 12 + [5.0] * 6)  # 150 rows a day, at night none
WEEKS = 10


def flat(days: int = 7 * WEEKS + 1, **last: object) -> list[Day]:
    """The same day again and again; the last one changed."""
    faults, kinds = {"copies": 0, "empty: device": 3}, {"visit": 140, "purchase": 10}
    day = Day(SHAPE, np.ones(HOURS), faults, kinds)
    return [*[day] * (days - 1), replace(day, **last)]  # type: ignore[arg-type]


def checks(days: list[Day]) -> list[tuple[str, str]]:
    return [(f.check, f.verdict) for f in judge(days).findings]


def test_a_day_like_all_others_is_ok() -> None:
    told = judge(flat())
    assert (told.verdict, told.complete, told.ratio) == ("ok", 1.0, 1.0)
    assert told.expected == 150


def test_five_silent_hours_hold_and_one_is_a_note() -> None:
    hours = SHAPE.copy()
    hours[8:13] = 0
    told = judge(flat(hours=hours))
    assert told.verdict == "held"
    (gap,) = told.findings
    assert (gap.check, gap.hours, gap.usual, gap.value) == ("gap", (8, 13), 50, 0)
    assert told.complete == pytest.approx(100 / 150)
    hours = SHAPE.copy()
    hours[8] = 0
    assert checks(flat(hours=hours)) == [("gap", "note")]


def test_a_gap_joins_over_hours_in_which_nothing_is_expected() -> None:
    found = gaps_of(Day(np.zeros(HOURS), np.ones(HOURS)), SHAPE)
    assert [(g.first, g.last, g.expected) for g in found] == [(6, 23, 150)]


def test_few_rows_are_judged_by_the_day_only() -> None:
    days = [replace(d, hours=SHAPE / 10) for d in flat()]
    quiet = SHAPE / 10
    quiet[8:14] = 0
    assert judge([*days[:-1], replace(days[-1], hours=quiet)]).verdict != "held"
    assert judge([*days[:-1], replace(days[-1], hours=np.zeros(HOURS))]).verdict == "held"


def test_a_closed_weekday_is_no_gap() -> None:
    days = flat()
    closed = Day(np.zeros(HOURS), np.ones(HOURS))
    days = [closed if i % 7 == 0 else d for i, d in enumerate(days)]
    assert len(days) % 7 == 1
    told = judge(days)
    assert (told.verdict, told.expected, told.ratio) == ("ok", 0, None)


def test_hours_that_are_not_over_or_come_twice_are_expected_so() -> None:
    length = np.ones(HOURS)
    length[12:] = 0
    hours = SHAPE.copy()
    hours[12:] = 0
    assert judge(flat(hours=hours, length=length)).verdict == "ok"
    skipped = flat(hours=np.where(np.arange(24) == 7, 0, SHAPE), length=np.arange(24) != 7)
    assert judge(skipped).verdict == "ok"
    twice = flat(
        hours=np.where(np.arange(24) == 7, 20, SHAPE), length=1 + 1.0 * (np.arange(24) == 7)
    )
    told = judge(twice)
    assert (told.verdict, told.expected) == ("ok", 160)


def test_volume_is_held_far_from_the_usual() -> None:
    assert checks(flat(hours=SHAPE * 0.4)) == [("volume", "held")]
    assert checks(flat(hours=SHAPE * 2.5)) == [("volume", "held")]
    assert checks(flat(hours=SHAPE * 0.9)) == []


def test_faults_hold_beyond_the_usual_share_and_chance() -> None:
    assert checks(flat(faults={"copies": 30, "empty: device": 3})) == [("copies", "held")]
    assert checks(flat(faults={"copies": 1, "empty: device": 4})) == []
    assert checks(flat(faults={"copies": 0, "empty: device": 60})) == [("empty: device", "held")]


def test_kinds_that_vanish_or_are_new_are_told() -> None:
    told = judge(flat(kinds={"visit": 150}))
    assert [(f.check, f.subject, f.verdict) for f in told.findings] == [
        ("vanished", "purchase", "held")
    ]
    told = judge(flat(kinds={"visit": 130, "purchase": 10, "signup": 10}))
    assert [(f.check, f.subject, f.verdict) for f in told.findings] == [("new", "signup", "note")]


def test_too_little_history_is_no_judgement() -> None:
    told = judge(flat(15))
    assert (told.expected, told.complete, told.verdict) == (None, None, "ok")
    assert usual_hours(flat(22)) is not None


def test_an_hour_skipped_a_week_ago_is_as_in_the_other_weeks() -> None:
    days = flat()
    length = np.ones(HOURS)
    length[7] = 0
    days[-8] = replace(days[-1], hours=SHAPE * length, length=length)
    told = judge(days)
    assert (told.verdict, told.expected) == ("ok", 150)


def test_two_bad_weeks_do_not_move_what_is_usual() -> None:
    days = flat()
    for weeks in (1, 2):
        days[-1 - 7 * weeks] = replace(days[-1], hours=np.zeros(HOURS))
    assert judge(days).verdict == "ok"


def test_the_promises_are_kept_on_days_that_did_not_choose_the_limits() -> None:
    assert CHOOSING != JUDGING
    for rate in rates(JUDGING, 12):
        assert rate.is_kept(short=True), (rate.promise.name, rate.size, rate.share)
