"""Alerts from the question to the post: once each, over restarts and replicas."""

import dataclasses
import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import bot.watching
from analytics.command import Asker
from analytics.errors import UserError
from bot.access import RefusedError
from bot.config import AccessSettings, Settings, SlackSettings, StateSettings, StoreSettings
from bot.setup import Bot
from bot.slack import alerting
from bot.slack.answering import Delivery
from bot.slack.chores import CHORES
from bot.slack.sendable import assert_sendable
from storage.alerts import Alerts
from storage.outbox import Outbox
from storage.state import posts
from tests.conftest import fill
from tests.slack.conftest import ADMIN, Members

FIRST = dt.date(2026, 7, 1)
WEEKS = 10
CHANNEL = "C0000000001"


class Shop:
    """Orders and visits of many days, a new one whenever it is asked for."""

    def __init__(self, bot: Bot) -> None:
        """Ten weeks of 20 visits a day, of which 10 buy."""
        self.bot = bot
        self.days = 0
        self.rows: dict[str, list[dict[str, Any]]] = {"orders": [], "events": [], "people": []}
        for _ in range(7 * WEEKS):
            self.day(write=False)
        self.write()

    def day(self, orders: int = 10, visits: int = 20, *, write: bool = True) -> None:
        """One more day, from 8 to 18 o'clock."""
        start = dt.datetime.combine(FIRST + dt.timedelta(days=self.days), dt.time(8))
        for i in range(visits):
            at = start + dt.timedelta(minutes=30 * i)
            key = f"{self.days}-{i}"
            self.rows["people"].append({"person_id": key, "first_seen_at": at})
            self.rows["events"].append(
                {"event_id": key, "person_id": key, "session_id": key, "at": at, "name": "visit",
                 "order_id": key if i < orders else None, "country": "France", "device": "mobile",
                 "channel": "ads"}
            )  # fmt: skip
        for i in range(orders):
            key = f"{self.days}-{i}"
            at = start + dt.timedelta(minutes=60 * i)
            self.rows["orders"].append(
                {"order_id": key, "person_id": key, "ordered_at": at, "kind": "sale",
                 "amount_cents": 1000, "country": "France"}
            )  # fmt: skip
        self.days += 1
        if write:
            self.write()

    def write(self) -> None:
        """Into the store."""
        fill(self.bot.store, **{name: rows for name, rows in self.rows.items() if rows})
        self.rows = {name: [] for name in self.rows}


@pytest.fixture
def watched(tmp_path: Path, members: Members) -> Iterator[Bot]:
    """A bot whose clock stands on the morning after the last row."""
    settings = Settings(
        clock="after data",
        store=StoreSettings(url=f"duckdb:///{tmp_path / 'store.duckdb'}"),
        state=StateSettings(url=f"sqlite:///{tmp_path / 'state.sqlite'}"),
        slack=SlackSettings(mode="http"),
        access=AccessSettings(admins=(ADMIN,)),
    )
    opened = Bot.open(settings).knowing(members)
    yield opened
    opened.close()


@pytest.fixture
def shop(watched: Bot) -> Shop:
    return Shop(watched)


def asked(bot_: Bot, text: str, user: str = ADMIN) -> Any:
    asker = bot_.asker(user, channel=CHANNEL, surface="slack")
    return bot_.answer(text, asker, surface="slack", channel=CHANNEL).result


def posted(bot_: Bot) -> list[Delivery]:
    """All deliveries, in their order; each fits Slack."""
    with bot_.state.transaction() as connection:
        rows = connection.execute(sa.select(posts.c.body).order_by(posts.c.id)).scalars().all()
    found = [Delivery.from_json(body) for body in rows]
    for delivery in found:
        assert_sendable({"channel": CHANNEL, **delivery.message.payload})
    return found


def said(bot_: Bot) -> list[str]:
    """The first sign of each message."""
    return [d.message.text[:1] for d in posted(bot_)]


def test_an_incident_is_one_message_from_its_opening_to_its_end(watched: Bot, shop: Shop) -> None:
    assert "inside" in asked(watched, "alert when conversion below 40 % sample 10").headline
    alerting.watch(watched)
    assert posted(watched) == []
    for orders, told in ((6, "●"), (5, "●"), (10, "◐"), (10, "✓"), (10, None), (6, "●")):
        before = len(posted(watched))
        shop.day(orders=orders)
        for _ in range(3):
            alerting.watch(watched)
        assert said(watched)[before:] == ([told] if told else [])
    first, *later, other = posted(watched)
    assert not first.replaces
    assert all(d.replaces == first.key for d in later)
    assert not other.replaces
    assert len({d.key for d in posted(watched)}) == 5
    assert "30 %" in first.message.text
    assert "below 40 %" in first.message.text
    assert len(Alerts(watched.state).incidents_of(1)) == 2


def test_nothing_is_repeated_after_a_restart(watched: Bot, shop: Shop) -> None:
    asked(watched, "alert when conversion below 40 % sample 10")
    shop.day(orders=6)
    alerting.watch(watched)
    again = dataclasses.replace(watched)
    Alerts(again.state).change(1, seen="")  # as if it had died before it wrote down what it saw
    alerting.watch(again)
    assert said(watched) == ["●"]


def test_replicas_at_once_tell_once(watched: Bot, shop: Shop) -> None:
    for limit in (40, 45, 50):
        asked(watched, f"alert when conversion below {limit} % sample 10")
    shop.day(orders=6)
    together = threading.Barrier(4)
    faults: list[BaseException] = []

    def replica() -> None:
        together.wait()
        try:
            alerting.watch(watched)
        except BaseException as error:  # noqa: BLE001 - shown below
            faults.append(error)

    threads = [threading.Thread(target=replica) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert said(watched) == ["●"] * 3
    assert len({d.key for d in posted(watched)}) == 3


def test_a_drop_a_rise_and_what_is_unusual(watched: Bot, shop: Shop) -> None:
    asked(watched, "alert when conversion drops 30 % sample 10")
    asked(watched, "alert when conversion unusual sample 10")
    asked(watched, "alert when conversion rises 30 % sample 10")
    asked(watched, "alert when revenue above 100 where country:France")
    shop.day(orders=4)
    alerting.watch(watched)
    texts = [d.message.text for d in posted(watched)]
    assert len(texts) == 2
    assert "30 % below the usual (50 %)" in texts[0]
    assert "below its usual band" in texts[1]


def test_missing_data_are_an_incident_of_their_own(
    watched: Bot, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot.watching, "PATIENCE_S", 0)
    asked(watched, "alert when sessions below 5")
    start = dt.datetime.combine(FIRST + dt.timedelta(days=shop.days), dt.time(8))
    fill(
        watched.store,
        orders=[{"order_id": "x", "person_id": "x", "ordered_at": start, "kind": "sale",
                 "amount_cents": 1000}],
    )  # fmt: skip
    for _ in range(3):
        alerting.watch(watched)
    assert said(watched) == ["○"]
    shop.day()
    for _ in range(2):
        alerting.watch(watched)
    assert said(watched) == ["○", "✓"]
    assert posted(watched)[1].replaces == posted(watched)[0].key


def test_quiet_hours_wait_for_their_end(watched: Bot, shop: Shop) -> None:
    asked(watched, "alert when conversion below 40 % sample 10 quiet 8-10")
    shop.day(orders=6)
    alerting.watch(watched)
    assert posted(watched) == []
    table = asked(watched, "alert check").parts[0]
    assert table.rows[0][-1] == "nothing: quiet hours"
    kept = Alerts(watched.state)
    question = kept.all()[0].question
    kept.change(1, question=question.replace("8-10", "10-11"))
    alerting.watch(watched)
    assert said(watched) == ["●"]


def test_a_small_sample_is_not_judged(watched: Bot, shop: Shop) -> None:
    result = asked(watched, "alert when conversion below 40 %")
    assert "Too small a sample: 20 of at least 100" in result.headline
    shop.day(orders=2)
    alerting.watch(watched)
    assert posted(watched) == []


def test_an_alert_whose_owner_lost_their_rights_rests(
    watched: Bot, shop: Shop, members: Members
) -> None:
    asked(watched, "alert when conversion below 40 % sample 10")
    members.people[ADMIN] = "guest"
    shop.day(orders=6)
    (notice,) = alerting.watch(watched)
    assert "rests" in notice.message.text
    assert posted(watched) == []
    assert Alerts(watched.state).all()[0].paused


def test_what_is_deleted_ends_its_message(watched: Bot, shop: Shop) -> None:
    asked(watched, "alert when conversion below 40 % sample 10")
    shop.day(orders=6)
    alerting.watch(watched)
    assert "1 with an open incident" in asked(watched, "alerts").headline
    asked(watched, "alert delete 1")
    assert asked(watched, "alerts").headline == "Nothing is watched yet."
    for _ in range(2):
        alerting.watch(watched)
    first, last = posted(watched)
    assert last.replaces == first.key
    assert "deleted" in last.message.text
    assert Alerts(watched.state).all() == []


def test_what_rests_is_silent_and_goes_on(watched: Bot, shop: Shop) -> None:
    asked(watched, "alert when conversion below 40 % sample 10")
    asked(watched, "alert pause 1")
    shop.day(orders=6)
    alerting.watch(watched)
    assert posted(watched) == []
    asked(watched, "alert resume 1")
    alerting.watch(watched)
    assert said(watched) == ["●"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("alert when conversion", "When shall I say something?"),
        ("alert when conversion below 2 % above 5 %", "Say one condition."),
        ("alert when conversion below 2", "lies between 0 % and 100 %"),
        ("alert when revenue below 5000 today", "While the day runs"),
        ("alert when sessions unusual quiet late", "are no hours"),
        ("alert when sessions unusual to #growth", "by its id"),
        ("alert pause 9", "There is no alert 9"),
        ("alert when weekly_active below 5", "looks back over many days"),
    ],
)
def test_what_can_not_be_watched_is_refused(text: str, fault: str, watched: Bot) -> None:
    with pytest.raises(UserError, match=fault):
        asked(watched, text)


def test_only_its_owner_or_an_admin_changes_an_alert(watched: Bot, shop: Shop) -> None:
    asked(watched, "alert when conversion below 40 %")
    with pytest.raises(RefusedError):
        asked(watched, "alert pause 1", user="U1")
    assert shop.days == 7 * WEEKS
    assert Outbox(watched.state).unfinished() == 0
    assert Asker().name == "terminal"


def test_the_clock_looks_at_alerts() -> None:
    (chore,) = [c for c in CHORES if c.name == "alerts"]
    assert chore.run is alerting.watch
    assert chore.every_seconds <= 300


def test_an_alert_of_the_terminal_is_looked_at_too(watched: Bot, shop: Shop) -> None:
    watched.answer(f"alert when conversion below 40 % sample 10 to {CHANNEL}", surface="terminal")
    shop.day(orders=6)
    assert alerting.watch(watched) == []
    assert said(watched) == ["●"]
