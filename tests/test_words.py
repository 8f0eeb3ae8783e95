"""How values stand in sentences."""

import datetime as dt

import pytest

from analytics.words import change, counted, listed, moved, short_words, words


@pytest.mark.parametrize(
    ("value", "unit", "currency", "text"),
    [
        (None, "count", "", "unknown"),
        (1234, "count", "", "1,234"),
        (0, "count", "", "0"),
        (12.345, "number", "", "12.3"),
        (1.5, "number", "", "1.5"),
        (0.01234, "number", "", "0.0123"),
        (123456.7, "number", "", "123,457"),
        (0.00001234, "number", "", "1.2e-05"),
        (123450, "money", "GBP", "£1,234.50"),
        (-123450, "money", "GBP", "-£1,234.50"),
        (-0.2, "money", "EUR", "€0.00"),
        (1234, "money", "JPY", "¥1,234"),
        (123450, "money", "CHF", "CHF 1,234.50"),
        (1234500, "money", "KWD", "KWD 1,234.500"),
        (123450, "money", "", "1,234.50"),
        (0.123, "share", "", "12.3 %"),
        (0.12, "share", "", "12 %"),
        (0.00123, "share", "", "0.12 %"),
        (0.00001, "share", "", "<0.01 %"),
        (0.9999, "share", "", ">99.9 %"),
        (1.0, "share", "", "100 %"),
        (0.0, "share", "", "0 %"),
        (-0.004, "points", "", "-0.4 pts"),
        (1, "days", "", "1 day"),
        (12.5, "days", "", "12.5 days"),
        (7.25, "seconds", "", "7.2 s"),
        (45, "seconds", "", "45 s"),
        (59.7, "seconds", "", "1 min"),
        (200, "seconds", "", "3 min 20 s"),
        (-200, "seconds", "", "-3 min 20 s"),
        (7500, "seconds", "", "2 h 5 min"),
        (302400, "seconds", "", "3.5 days"),
        (3.2, "times", "", "3.2×"),
        (42.0, "score", "", "42"),
        (dt.date(2026, 10, 9), "date", "", "9 Oct 2026"),
        (dt.datetime(2026, 10, 9, 8, 5), "instant", "", "9 Oct 2026 08:05 UTC"),
        (True, "flag", "", "yes"),
        ("France", "text", "", "France"),
    ],
)
def test_a_value_is_said_with_its_unit(value, unit, currency, text):
    assert words(value, unit, currency) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (123_456_789, "money", "£1.23m"),
        (99_999_999, "money", "£1m"),
        (1_840_000, "money", "£18.4k"),
        (950_000, "money", "£9,500"),
        (-123_456_789, "money", "-£1.23m"),
        (1234, "money", "£12.34"),
        (9_999, "count", "9,999"),
        (18_432, "count", "18.4k"),
        (541_909, "count", "542k"),
        (0.123, "share", "12.3 %"),
        (None, "money", "unknown"),
    ],
)
def test_headlines_round_what_is_large(value, unit, text):
    assert short_words(value, unit, "GBP") == text


@pytest.mark.parametrize(
    ("now", "before", "unit", "signed", "said"),
    [
        (112, 100, "count", "+12 %", "up 12 %"),
        (88, 100, "money", "-12 %", "down 12 %"),
        (101.5, 100, "number", "+1.5 %", "up 1.5 %"),
        (100, 100, "count", "±0 %", "unchanged"),
        (0, 0, "count", "±0 %", "unchanged"),
        (5, 0, "count", None, "up from 0"),
        (5, -3, "money", None, None),
        (None, 5, "count", None, None),
        (5, None, "count", None, None),
        (2500, 100, "count", "×25", "up 25-fold"),
        (0.029, 0.033, "share", "-0.4 pts", "down 0.4 points"),
        (0.0295, 0.0291, "share", "+0.04 pts", "up 0.04 points"),
        (0.5, 0.5, "share", "±0 pts", "unchanged"),
        (45.0, 42.0, "score", "+3", "up 3 points"),
    ],
)
def test_a_change_is_relative_or_in_points(now, before, unit, signed, said):
    assert change(now, before, unit) == signed
    assert moved(now, before, unit) == said


def test_counts_and_lists_are_grammatical():
    assert counted(1, "order") == "1 order"
    assert counted(1200, "order") == "1,200 orders"
    assert counted(2, "person", "people") == "2 people"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
