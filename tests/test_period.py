"""Periods: what people say, and what they must not."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.errors import UserError
from analytics.period import Period, between, parse_period

TODAY = dt.date(2026, 10, 10)  # a Saturday

GOOD = [
    ("today", "2026-10-10", "2026-10-11", "today"),
    ("yesterday", "2026-10-09", "2026-10-10", "yesterday"),
    ("last 30 days", "2026-09-10", "2026-10-10", "last 30 days"),
    ("Past 30 Days", "2026-09-10", "2026-10-10", "last 30 days"),
    ("30d", "2026-09-10", "2026-10-10", "last 30 days"),
    ("2w", "2026-09-26", "2026-10-10", "last 2 weeks"),
    ("last 1 day", "2026-10-09", "2026-10-10", "last 1 day"),
    ("last 3 months", "2026-07-10", "2026-10-10", "last 3 months"),
    ("last 2 quarters", "2026-04-10", "2026-10-10", "last 2 quarters"),
    ("1y", "2025-10-10", "2026-10-10", "last 1 year"),
    ("last week", "2026-09-28", "2026-10-05", "last week"),
    ("last month", "2026-09-01", "2026-10-01", "last month"),
    ("last quarter", "2026-07-01", "2026-10-01", "last quarter"),
    ("last year", "2025-01-01", "2026-01-01", "last year"),
    ("this week", "2026-10-05", "2026-10-11", "this week"),
    ("this month", "2026-10-01", "2026-10-11", "this month"),
    ("2026", "2026-01-01", "2027-01-01", "2026"),
    ("2026-02", "2026-02-01", "2026-03-01", "2026-02"),
    ("2026-W01", "2025-12-29", "2026-01-05", "2026-W01"),
    ("2026-q3", "2026-07-01", "2026-10-01", "2026-Q3"),
    ("Q3", "2026-07-01", "2026-10-01", "2026-Q3"),
    ("Q4", "2026-10-01", "2027-01-01", "2026-Q4"),
    ("q1 2025", "2025-01-01", "2025-04-01", "2025-Q1"),
    ("october", "2026-10-01", "2026-11-01", "2026-10"),
    ("November", "2025-11-01", "2025-12-01", "2025-11"),
    ("feb 2024", "2024-02-01", "2024-03-01", "2024-02"),
    ("1 March", "2026-03-01", "2026-03-02", "2026-03-01"),
    ("december 24th", "2025-12-24", "2025-12-25", "2025-12-24"),
    ("29 feb", "2024-02-29", "2024-03-01", "2024-02-29"),
    ("2026-10-01..2026-10-31", "2026-10-01", "2026-11-01", "2026-10-01..2026-10-31"),
    ("2026-10-01...2026-10-01", "2026-10-01", "2026-10-02", "2026-10-01"),
    ("from 1 march to 3 march", "2026-03-01", "2026-03-04", "2026-03-01..2026-03-03"),
    ("between 2026-01-01 and yesterday", "2026-01-01", "2026-10-10", "2026-01-01..2026-10-09"),
    ("since 1 March", "2026-03-01", "2026-10-11", "since 2026-03-01"),
    ("since yesterday", "2026-10-09", "2026-10-11", "since 2026-10-09"),
    ("all time", "1970-01-01", "2026-10-11", "all time"),
]

BAD = [
    "", "soon", "last", "last 0 days", "last days 30", "2026-13", "2026-02-30", "Q5", "2026-W54",
    "30 feb", "2026-10-31..2026-10-01", "from 1 march", "from 1 march to", "since",
    "between 1 march and 1 february", "last 99999999 days", "last 900000 years", "1969", "0d",
    "last 30 days extra",
]  # fmt: skip


@pytest.mark.parametrize(("text", "start", "end", "words"), GOOD)
def test_a_period_is_read_and_has_canonical_words(
    text: str, start: str, end: str, words: str
) -> None:
    period = parse_period(text, TODAY)
    assert (period.start.isoformat(), period.end.isoformat(), period.words) == (start, end, words)
    assert parse_period(words, TODAY) == period


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_period_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_period(text, TODAY)
    assert refused.value.hint


PREVIOUS = [
    ("last 30 days", "2026-08-11", "2026-09-10"),
    ("last week", "2026-09-21", "2026-09-28"),
    ("2026-03", "2026-02-01", "2026-03-01"),
    ("Q1 2026", "2025-10-01", "2026-01-01"),
    ("2026", "2025-01-01", "2026-01-01"),
    # ten days of October so far: the first ten of September
    ("this month", "2026-09-01", "2026-09-11"),
    ("this week", "2026-09-28", "2026-10-04"),
    ("2026-10-01..2026-10-07", "2026-09-24", "2026-10-01"),
]


@pytest.mark.parametrize(("text", "start", "end"), PREVIOUS)
def test_the_period_before(text: str, start: str, end: str) -> None:
    before = parse_period(text, TODAY).previous()
    assert (before.start.isoformat(), before.end.isoformat()) == (start, end)


def test_thirty_one_days_of_march_so_far_are_compared_with_all_of_february() -> None:
    march = parse_period("this month", dt.date(2026, 3, 31))
    assert march.days == 31
    assert (march.previous().start, march.previous().end) == (
        dt.date(2026, 2, 1),
        dt.date(2026, 3, 1),
    )


def test_an_empty_period_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="empty period"):
        Period(TODAY, TODAY, "nothing")


DAYS = st.dates(dt.date(1971, 1, 1), dt.date(2150, 1, 1))


@given(a=DAYS, b=DAYS, today=DAYS)
def test_any_days_round_trip_and_their_previous_is_adjacent(
    a: dt.date, b: dt.date, today: dt.date
) -> None:
    if a == b:
        return
    period = between(min(a, b), max(a, b))
    assert parse_period(period.words, today) == period
    before = period.previous()
    assert before.end == period.start
    assert before.days == period.days


@given(
    n=st.integers(1, 400),
    unit=st.sampled_from(["day", "week", "month", "quarter", "year"]),
    how=st.sampled_from(["last {n} {u}s", "last {u}", "this {u}", "past {n} {u}s"]),
    today=st.dates(dt.date(2001, 1, 1), dt.date(2100, 1, 1)),
)
def test_relative_words_stay_relative(n: int, unit: str, how: str, today: dt.date) -> None:
    text = how.format(n=n, u=unit)
    if text == "this day":
        return
    try:
        period = parse_period(text, today)
    except UserError:
        assert n * 365 > today.year
        return
    assert parse_period(period.words, today) == period
    assert period.start < period.end <= today + dt.timedelta(days=1)
