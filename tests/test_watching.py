"""The rules of incidents: tables by hand, and what holds for any sequence of looks."""

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.errors import NotUnderstoodError
from analytics.period import parse_period
from analytics.scope import Filters
from bot.watching import PATIENCE_S, Seen, Watch, is_quiet, read_quiet, step, step_absence
from storage.alerts import Event, Standing

TODAY = dt.date(2026, 10, 10)
WATCH = Watch("conversion", "below", 0.02, parse_period("yesterday", TODAY), Filters())


def saw(day: int, value: float, *, absence: str = "") -> Seen:
    """What is seen of a day: below 2 % or not; the data are those of its evening."""
    beyond = None if absence else value < 0.02
    return Seen(WATCH, None, None, beyond, f"day {day}", day, absence=absence, value=value)


def events(*looks: Seen, quiet: bool = False) -> list[Event | None]:
    """What is told at each look."""
    standing, told = Standing(), []
    for seen in looks:
        standing, event = step(standing, seen, quiet=quiet)
        told.append(event)
    return told


LOW, LOWER, FINE = 0.018, 0.011, 0.03

SEQUENCES: list[tuple[str, list[Seen], list[Event | None]]] = [
    ("fine", [saw(1, FINE), saw(2, FINE)], [None, None]),
    ("opens once", [saw(1, LOW), saw(1, LOW), saw(1, LOW)], ["opened", None, None]),
    ("newest value", [saw(1, LOW), saw(2, LOWER)], ["opened", "updated"]),
    ("late rows", [saw(1, LOW), saw(1, LOWER), saw(1, LOWER)], ["opened", "updated", None]),
    (
        "over after two days",
        [saw(1, LOW), saw(2, FINE), saw(2, FINE), saw(3, FINE), saw(3, FINE)],
        ["opened", "updated", None, "resolved", None],
    ),
    (
        "on the edge",
        [saw(1, LOW), saw(2, FINE), saw(3, LOW), saw(4, FINE), saw(5, FINE)],
        ["opened", "updated", "updated", "updated", "resolved"],
    ),
    (
        "again",
        [saw(1, LOW), saw(2, FINE), saw(3, FINE), saw(4, LOW)],
        ["opened", "updated", "resolved", "opened"],
    ),
    ("older data are none", [saw(5, LOW), saw(4, FINE), saw(3, FINE)], ["opened", None, None]),
    ("not judged", [saw(1, LOW), saw(2, 0.0, absence="gone"), saw(3, LOW)],
     ["opened", None, "updated"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "looks", "told"), SEQUENCES, ids=[s[0] for s in SEQUENCES])
def test_what_is_told(name: str, looks: list[Seen], told: list[Event | None]) -> None:
    assert events(*looks) == told, name


def test_quiet_hours_put_off_the_first_word_and_not_the_last() -> None:
    standing, event = step(Standing(), saw(1, LOW), quiet=True)
    assert (standing, event) == (Standing(), None)
    standing, event = step(standing, saw(1, LOW), quiet=False)
    assert event == "opened"
    standing, event = step(standing, saw(2, FINE), quiet=True)
    assert event == "updated"
    assert step(standing, saw(3, FINE), quiet=True)[1] == "resolved"


def test_missing_data_are_told_after_an_hour_once_and_are_over_at_once() -> None:
    hour = PATIENCE_S * 1_000_000
    gone = saw(2, 0.0, absence="gone")
    standing, event = step_absence(Standing(), saw(1, FINE), 5, quiet=False)
    assert event is None
    for now, told in (
        (100, None),
        (100 + hour - 1, None),
        (100 + hour, "opened"),
        (9 * hour, None),
    ):
        standing, event = step_absence(standing, gone, now, quiet=False)
        assert event == told, now
    standing, event = step_absence(standing, saw(2, FINE), 10 * hour, quiet=True)
    assert event == "resolved"
    assert not standing.is_open


def test_missing_data_that_come_within_the_hour_are_not_told() -> None:
    standing, _ = step_absence(Standing(), saw(2, 0.0, absence="gone"), 1, quiet=False)
    standing, event = step_absence(standing, saw(2, FINE), 2, quiet=False)
    assert event is None
    assert standing.waits_since == 0


looks = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([LOW, LOWER, FINE]), st.booleans()), max_size=40
)


@given(looks)
def test_one_message_per_incident_and_never_a_repeat(said: list[tuple[int, float, bool]]) -> None:
    """Whatever is seen, in whatever order, however often."""
    standing, is_open = Standing(), False
    for day, value, quiet in said:
        seen = saw(day, value)
        before = standing
        standing, event = step(before, seen, quiet=quiet)
        match event:
            case "opened":
                assert not is_open
                assert not quiet
                assert seen.is_beyond
                is_open = True
            case "updated":
                assert is_open
            case "resolved":
                assert is_open
                assert not seen.is_beyond
                is_open = False
            case None:
                assert standing.is_open == before.is_open
        assert standing.is_open == is_open
        again, repeated = step(standing, seen, quiet=quiet)
        assert repeated is None
        assert replace(again, stamp=0) == replace(standing, stamp=0)


@pytest.mark.parametrize(
    ("said", "at", "hushed"),
    [
        ("22:00-07:00", "23:15", True),
        ("22:00-07:00", "06:59", True),
        ("22:00-07:00", "07:00", False),
        ("22-7", "21:59", False),
        ("12:00-13:30", "13:29", True),
        ("12:00-13:30", "11:00", False),
        ("20-24", "23:59", True),
    ],
)
def test_quiet_hours(said: str, at: str, hushed: bool) -> None:
    local = dt.datetime.combine(TODAY, dt.time.fromisoformat(at), dt.UTC)
    assert is_quiet(said, local) is hushed
    assert not is_quiet(None, local)


@pytest.mark.parametrize("said", ["", "late", "25-7", "22:61-7", "7"])
def test_what_are_no_hours(said: str) -> None:
    with pytest.raises(NotUnderstoodError):
        read_quiet(said)
