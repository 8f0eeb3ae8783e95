"""Posts leave in order, once, whoever sends them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.outbox import Outbox, Parcel
from storage.state import State, microseconds, posts


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """An empty state on each engine in turn."""
    url = f"sqlite:///{tmp_path / 'state.sqlite'}"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("new_database")())
    opened = State.open(url)
    yield opened
    opened.close()


@pytest.fixture
def outbox(state: State) -> Outbox:
    return Outbox(state)


def claimed(outbox: Outbox) -> Parcel:
    parcel = outbox.claim(60)
    assert parcel is not None
    return parcel


def let_time_pass(state: State) -> None:
    """As if leases had ended and waits were over."""
    with state.transaction() as connection:
        connection.execute(sa.update(posts).values(lease_until=0, not_before=0))


def test_a_lane_goes_in_order_one_at_a_time(outbox: Outbox) -> None:
    for key, lane in (("a1", "A"), ("a2", "A"), ("b1", "B")):
        outbox.add(key=key, lane=lane, body="{}")
    first, other = claimed(outbox), claimed(outbox)
    assert (first.key, other.key) == ("a1", "b1")
    assert outbox.claim(60) is None
    assert outbox.sent(first)
    assert claimed(outbox).key == "a2"


def test_who_is_told_to_wait_holds_up_its_lane_only(outbox: Outbox) -> None:
    for key, lane in (("a1", "A"), ("a2", "A"), ("b1", "B")):
        outbox.add(key=key, lane=lane, body="{}")
    assert outbox.not_sent(claimed(outbox), wait_seconds=60)
    assert claimed(outbox).key == "b1"
    assert outbox.claim(60) is None


def test_a_post_whose_sender_died_is_to_be_looked_up(outbox: Outbox, state: State) -> None:
    outbox.add(key="a", lane="A", body="{}")
    first = claimed(outbox)
    assert first.tried == 0
    let_time_pass(state)
    second = claimed(outbox)
    assert second.tried == 1
    assert not outbox.sent(first)
    assert not outbox.step_done(first, 1, "4.4", 60)
    assert outbox.step_done(second, 1, "5.5", 60)
    let_time_pass(state)
    third = claimed(outbox)
    assert (third.tried, third.step, third.ts) == (1, 1, "5.5")


def test_a_post_that_surely_was_not_made_is_not_looked_up(outbox: Outbox) -> None:
    outbox.add(key="a", lane="A", body="{}")
    assert outbox.not_sent(claimed(outbox))
    assert claimed(outbox).tried == 0


def test_an_unknown_post_is_looked_up_later(outbox: Outbox, state: State) -> None:
    outbox.add(key="a", lane="A", body="{}")
    parcel = claimed(outbox)
    assert outbox.look_later(parcel, wait_seconds=60)
    assert outbox.claim(60) is None
    let_time_pass(state)
    assert claimed(outbox).tried == 1


def test_a_post_that_cannot_be_sent_lets_the_lane_go_on(outbox: Outbox) -> None:
    outbox.add(key="a", lane="A", body="{}")
    outbox.add(key="b", lane="A", body="{}")
    assert outbox.failed(claimed(outbox), "is_archived")
    assert claimed(outbox).key == "b"
    assert outbox.unfinished() == 1
    assert outbox.purge(older_than_seconds=60) == 0
    assert outbox.purge(older_than_seconds=-1) == 1


def test_one_key_is_posted_once(outbox: Outbox) -> None:
    assert outbox.add(key="a", lane="A", body="{}") is not None
    assert outbox.add(key="a", lane="A", body="{}") is None
    assert outbox.unfinished() == 1


def test_where_a_message_stands_stays_known_when_its_body_is_gone(outbox: Outbox) -> None:
    assert outbox.ts_of("a") is None
    outbox.add(key="a", lane="A", body="{}")
    assert outbox.ts_of("a") == ""
    assert outbox.sent(claimed(outbox), ts="5.5")
    assert outbox.purge(older_than_seconds=-1) == 1
    assert outbox.ts_of("a") is None  # thirty times -1 s ago is ancient, too
    outbox.add(key="b", lane="A", body="{}")
    assert outbox.sent(claimed(outbox), ts="6.6")
    with outbox.state.transaction() as connection:
        an_hour = microseconds(3600)
        connection.execute(sa.update(posts).values(made_at=posts.c.made_at - an_hour))
    assert outbox.purge(older_than_seconds=600) == 1
    assert outbox.ts_of("b") == "6.6"


def test_only_posts_that_others_claimed_too_are_checked_ever_more_seldom(
    outbox: Outbox, state: State
) -> None:
    outbox.add(key="a", lane="A", body="{}")
    outbox.add(key="b", lane="B", body="{}")
    assert outbox.sent(claimed(outbox), ts="1.1", check_seconds=60)
    frozen = claimed(outbox)
    let_time_pass(state)
    assert outbox.sent(claimed(outbox), ts="2.2", check_seconds=60)
    assert outbox.to_check(60) == []
    for n in range(6):
        with state.transaction() as connection:
            connection.execute(sa.update(posts).where(posts.c.check_at > 0).values(check_at=1))
        assert [p.key for p in outbox.to_check(60)] == ["b"], n
    with state.transaction() as connection:
        assert connection.execute(sa.select(sa.func.max(posts.c.check_at))).scalar() == 0
    outbox.check_now(frozen)
    assert [p.key for p in outbox.to_check(60)] == ["b"]
