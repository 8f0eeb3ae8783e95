"""Alerts in the state database: a change happens once, whoever brings it, on both databases."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.alerts import Alerts, Event, Incident, Post, Standing, alert_standings, incidents
from storage.state import State, posts


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.sqlite'}"
    return str(request.getfixturevalue("new_database")())


@pytest.fixture
def replicas(url: str) -> Iterator[list[Alerts]]:
    """Four processes' views of one memory."""
    states = [State.open(url) for _ in range(4)]
    yield [Alerts(s) for s in states]
    for state in states:
        state.close()


def opening(standing: Standing, _: int) -> tuple[Standing, Event | None]:
    if standing.is_open:
        return standing, None
    return Standing(is_open=True, value=1.0, block="d", stamp=1), "opened"


def ending(standing: Standing, _: int) -> tuple[Standing, Event | None]:
    return (Standing(stamp=2), "resolved") if standing.is_open else (standing, None)


def say(incident: Incident, event: Event, key: str, replaces: str) -> Post:
    return Post("C1", f"{event} {key} {replaces}")


def add(kept: Alerts) -> int:
    return kept.add(question="q", owner="U1", team="", channel="C1", place="#growth")


def bodies(kept: Alerts) -> list[str]:
    with kept.state.transaction() as connection:
        return list(connection.execute(sa.select(posts.c.body).order_by(posts.c.id)).scalars())


def test_all_at_once_open_and_end_one_incident_after_another(replicas: list[Alerts]) -> None:
    number = add(replicas[0])
    for step in (opening, ending, opening):
        together = threading.Barrier(len(replicas))

        def bring(kept: Alerts, step=step, together=together) -> None:  # type: ignore[no-untyped-def]
            together.wait()
            for _ in range(3):
                kept.advance(number, "condition", step, say)

        threads = [threading.Thread(target=bring, args=(kept,)) for kept in replicas]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    first, second = f"alert:{number}:1", f"alert:{number}:2"
    assert bodies(replicas[1]) == [
        f"opened {first} ", f"resolved {first}:2 {first}", f"opened {second} ",
    ]  # fmt: skip


def test_a_post_that_can_not_be_made_leaves_nothing_changed(replicas: list[Alerts]) -> None:
    kept = replicas[0]
    number = add(kept)

    def fails(*_: object) -> Post:
        raise LookupError("no words")

    with pytest.raises(LookupError):
        kept.advance(number, "condition", opening, fails)
    assert kept.standing(number) == Standing()
    assert kept.incidents_of() == []
    assert kept.advance(number, "condition", opening, say) == "opened"


def test_what_rests_or_is_gone_takes_no_step(replicas: list[Alerts]) -> None:
    kept = replicas[0]
    number = add(kept)
    kept.change(number, paused="because")
    assert kept.advance(number, "condition", opening, say) is None
    kept.change(number, paused="")
    kept.advance(number, "absence", opening, say)
    kept.delete(number, say)
    assert kept.advance(number, "condition", opening, say) is None
    assert [b.split()[0] for b in bodies(kept)] == ["opened", "resolved"]
    with kept.state.transaction() as connection:
        for table in (alert_standings, incidents):
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0
