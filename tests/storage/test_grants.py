"""Grants, on SQLite and PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.grants import Grant, forget_grants, give, grants_of, take
from storage.state import State

PEOPLE = Grant("", "people", "user", "U1", "@maria")


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """An empty state on each engine in turn."""
    url = f"sqlite:///{tmp_path / 'state.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("new_database")()
    opened = State.open(url)
    yield opened
    opened.close()


def test_a_grant_is_given_once_and_taken_once(state: State) -> None:
    before = state.now()
    assert give(state, "", PEOPLE, by="U9")
    assert not give(state, "", PEOPLE, by="U8")
    (kept,) = grants_of(state, "")
    assert (kept.scope, kept.kind, kept.principal, kept.label) == ("people", "user", "U1", "@maria")
    assert kept.granted_by == "U9"
    assert kept.granted_at is not None
    assert before <= kept.granted_at <= state.now()
    assert take(state, "", PEOPLE)
    assert not take(state, "", PEOPLE)
    assert grants_of(state, "") == ()


def test_workspaces_are_apart(state: State) -> None:
    give(state, "T1", PEOPLE, by="U9")
    give(state, "T2", Grant("churn", "all", "channel", "C1", "#ops"), by="U9")
    assert [g.command for g in grants_of(state, "T1")] == [""]
    assert not take(state, "T2", PEOPLE)
    assert forget_grants(state, "T2") == 1
    assert grants_of(state, "T2") == ()
    assert len(grants_of(state, "T1")) == 1


@pytest.mark.parametrize(
    ("grant", "verb", "scope", "covered"),
    [
        (Grant("", "people", "user"), "churn", "people", True),
        (Grant("", "people", "user"), "churn", "writes", False),
        (Grant("", "all", "user"), "anything", "writes", True),
        (Grant("churn", "all", "user"), "churn", "people", True),
        (Grant("churn", "all", "user"), "value", "people", False),
        (Grant("schedule", "writes", "user"), "schedule-pause", "writes", True),
        (Grant("schedule", "writes", "user"), "schedules", "writes", False),
        (Grant("", "all", "user"), "", "admin", False),
        (Grant("", "admin", "user"), "", "admin", True),
        (Grant("", "admin", "user"), "churn", "people", False),
    ],
)
def test_a_grant_covers_what_it_names(grant: Grant, verb: str, scope: str, covered: bool) -> None:
    assert grant.covers(verb, scope) is covered  # type: ignore[arg-type]
