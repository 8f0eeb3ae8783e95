"""Wall-clock times: how they are said, and that each local day has one instant."""

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.errors import NotUnderstoodError
from bot.when import DAYS, WEEK, WORKING_WEEK, When, fire_of, read_place, read_when

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("day 09:00", "day 09:00"),
        ("days at 9", "day 09:00"),
        ("weekday 9am Berlin", "weekday 09:00 Europe/Berlin"),
        ("workday 12 pm in Europe/Berlin", "weekday 12:00 Europe/Berlin"),
        ("Monday and Thursday 08:00", "monday and thursday 08:00"),
        ("thursday, mon at 8:30 pm", "monday and thursday 20:30"),
        ("weekend 10h Lord_Howe", "saturday and sunday 10:00 Australia/Lord_Howe"),
        ("mondays 7.15 utc", "monday 07:15 UTC"),
        ("week 9am", "monday 09:00"),
        ("week on friday 17:00", "friday 17:00"),
        ("month 9am", "month on the 1st 09:00"),
        ("month on the 1st 09:00", "month on the 1st 09:00"),
        ("month on the 22 day 12am", "month on the 22nd 00:00"),
        ("month on the 31st at noon new york", "month on the 31st 12:00 America/New_York"),
        ("day midnight asia/kolkata", "day 00:00 Asia/Kolkata"),
    ],
)
def test_times_are_understood(text: str, canonical: str) -> None:
    assert read_when(text.split()).words == canonical
    assert read_when(canonical.split()) == read_when(text.split())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "on which days"),
        ("dya 9", "Did you mean `every day`?"),
        ("15 minutes", "on which days"),
        ("monday", "At what time?"),
        ("day soon", "At what time?"),
        ("day 25:00", "“25:00” is no time of day."),
        ("day 9:61", "no time of day"),
        ("day 13pm", "no time of day"),
        ("month on the 32nd 9", "No month has a day 32."),
        ("day 9 in Atlantis", "no time zone “Atlantis”"),
        ("day 9 Europe/Berln", "Did you mean Europe/Berlin?"),
        ("day 9 Berlin please", "“please”"),
    ],
)
def test_other_times_are_refused_with_what_to_say(text: str, says: str) -> None:
    with pytest.raises(NotUnderstoodError) as refused:
        read_when(text.split())
    assert says in str(refused.value)


WHENS = st.builds(
    When,
    weekdays=st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    time=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    zone=st.sampled_from(["", "Europe/Berlin", "America/Argentina/Buenos_Aires", "UTC"]),
) | st.builds(
    When,
    weekdays=st.just(()),
    time=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    month_day=st.integers(1, 31),
)


@given(WHENS)
def test_the_canonical_text_means_the_same(when: When) -> None:
    assert read_when(when.words.split()) == when


@pytest.mark.parametrize(
    ("said", "words", "shown"),
    [
        ("#growth", "#growth", "#growth"),
        ("<#C0123ABCD|growth>", "<#C0123ABCD|growth>", "#growth"),
        ("<#C0123ABCD|>", "C0123ABCD", "C0123ABCD"),
        ("<#C0123ABCD>", "C0123ABCD", "C0123ABCD"),
        ("Me", "me", "me"),
        ("HERE", "here", "here"),
    ],
)
def test_places_keep_slacks_id(said: str, words: str, shown: str) -> None:
    assert (read_place(said).words, read_place(said).shown) == (words, shown)


@pytest.mark.parametrize("said", ["growth", "#", "<@U1>", "#a b", "everyone", "<#c1|x>"])
def test_what_is_no_place_is_refused(said: str) -> None:
    with pytest.raises(NotUnderstoodError, match="no place to post"):
        read_place(said)


# --- days ---------------------------------------------------------------------------------------


def days_of(when: When, first: dt.date, n: int) -> list[dt.date]:
    start = dt.datetime.combine(first, dt.time(), dt.UTC)
    return [fire.day for fire in itertools.islice(when.after(start, ZoneInfo("UTC")), n)]


def test_weekdays_and_months_fall_on_their_days() -> None:
    friday = dt.date(2026, 11, 27)
    assert days_of(When(WORKING_WEEK, dt.time(9)), friday, 3) == [
        friday, dt.date(2026, 11, 30), dt.date(2026, 12, 1)
    ]  # fmt: skip
    assert days_of(When((0, 3), dt.time(9)), friday, 2) == [
        dt.date(2026, 11, 30), dt.date(2026, 12, 3)
    ]  # fmt: skip
    last = When((), dt.time(9), month_day=31)
    assert days_of(last, friday, 5) == [
        dt.date(2026, 11, 30), dt.date(2026, 12, 31), dt.date(2027, 1, 31),
        dt.date(2027, 2, 28), dt.date(2027, 3, 31),
    ]  # fmt: skip


def test_a_run_of_this_very_instant_is_past() -> None:
    nine = dt.datetime(2026, 11, 25, 9, tzinfo=dt.UTC)
    assert next(When(WEEK, dt.time(9)).after(nine, ZoneInfo("UTC"))).day == dt.date(2026, 11, 26)
    before = nine - dt.timedelta(microseconds=1)
    assert next(When(WEEK, dt.time(9)).after(before, ZoneInfo("UTC"))).at == nine


def test_a_skipped_time_is_the_end_of_the_gap_and_a_double_one_the_first() -> None:
    spring = fire_of(dt.date(2026, 3, 29), dt.time(2, 30), BERLIN)
    assert spring is not None
    assert (spring.at.isoformat(), spring.oddity) == ("2026-03-29T01:00:00+00:00", "skipped")
    autumn = fire_of(dt.date(2026, 10, 25), dt.time(2, 30), BERLIN)
    assert autumn is not None
    assert (autumn.at.isoformat(), autumn.oddity) == ("2026-10-25T00:30:00+00:00", "twice")


def test_a_day_that_the_zone_skips_has_no_run() -> None:
    apia = ZoneInfo("Pacific/Apia")
    assert fire_of(dt.date(2011, 12, 30), dt.time(9), apia) is None
    start = dt.datetime(2011, 12, 29, tzinfo=dt.UTC)
    days = [f.day.day for f in itertools.islice(When(WEEK, dt.time(9)).after(start, apia), 3)]
    assert days == [29, 31, 1]


ZONES = (
    "Europe/Berlin", "Europe/London", "America/New_York", "America/Santiago", "America/St_Johns",
    "America/Havana", "Africa/Cairo", "Africa/Casablanca", "Asia/Beirut", "Asia/Kolkata",
    "Australia/Lord_Howe", "Pacific/Chatham",
)  # fmt: skip
TIMES = tuple(
    dt.time(hour, minute)
    for hour, minute in (
        (0, 0), (0, 30), (1, 0), (1, 30), (1, 45), (2, 0), (2, 15), (2, 30), (3, 0), (9, 0),
        (12, 0), (23, 45),
    )
)  # fmt: skip
FIRST, LAST = dt.date(2026, 1, 1), dt.date(2027, 12, 31)
QUARTER = dt.timedelta(minutes=15)


@pytest.mark.parametrize("name", ZONES)
def test_each_local_day_of_two_years_has_one_run_where_the_wall_clock_first_shows_it(
    name: str,
) -> None:
    """Against a walk through the two years in steps of 15 minutes, at which all clocks change."""
    zone = ZoneInfo(name)
    start = dt.datetime.combine(FIRST, dt.time(), dt.UTC) - dt.timedelta(days=2)
    steps = range(int((LAST - FIRST).days + 5) * 96)
    instants = [start + n * QUARTER for n in steps]
    local = [instant.astimezone(zone) for instant in instants]
    day = np.array([d.toordinal() for d in local])
    minute = np.array([d.hour * 60 + d.minute for d in local])
    odd = 0
    for time in TIMES:
        reached = np.flatnonzero(minute >= time.hour * 60 + time.minute)
        days, first = np.unique(day[reached], return_index=True)
        oracle = {
            dt.date.fromordinal(int(d)): instants[int(reached[i])]
            for d, i in zip(days, first, strict=True)
        }
        before = dt.datetime.combine(FIRST, dt.time(), zone) - QUARTER
        runs = itertools.takewhile(
            lambda fire: fire.day <= LAST, When(WEEK, time).after(before, zone)
        )
        fires = [fire for fire in runs if fire.day >= FIRST]
        assert [f.day for f in fires] == [
            FIRST + dt.timedelta(days=n) for n in range((LAST - FIRST).days + 1)
        ]
        assert [f.at for f in fires] == [oracle[f.day] for f in fires]
        odd += sum(bool(f.oddity) for f in fires)
    has_summer_time = len({d.utcoffset() for d in local}) > 1
    assert bool(odd) == has_summer_time


def test_names_of_days_are_those_of_the_calendar() -> None:
    assert [f"{dt.date(2026, 11, 23 + n):%A}".lower() for n in range(7)] == list(DAYS)
