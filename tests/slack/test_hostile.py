"""Hostile questions: the short form of `python -m tests.slack.hostile`."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slack.hostile import PLANTED, Subject, Traces, planted, run

ASKED = int(os.environ.get("DAYBREAK_HOSTILE", "300"))


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Subject]:
    made = Subject(tmp_path)
    yield made
    made.close()


@pytest.fixture
def traces() -> Iterator[Traces]:
    kept, log = Traces(), logging.getLogger("daybreak")
    log.addHandler(kept)
    yield kept
    log.removeHandler(kept)


def test_hostile_questions_are_answered_and_nothing_in_them_acts(
    subject: Subject, traces: Traces
) -> None:
    found = run(subject, ASKED)
    assert found.counts == {}, found.examples
    assert traces.lines == []
    assert found.slowest_ack < 1


def test_the_harness_finds_what_is_planted(subject: Subject) -> None:
    with planted(subject):
        found = run(subject, 1_500)
    assert set(found.counts) >= PLANTED, found.counts
