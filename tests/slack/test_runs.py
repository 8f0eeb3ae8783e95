"""A scheduled run from the line to its message: once, in place, with the owner's rights."""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest
import sqlalchemy as sa

from analytics.catalog import Catalog
from analytics.command import COMMANDS, Command, Context, says
from analytics.errors import DataUnavailableError, UserError
from analytics.result import Column, Note, Result, Table
from bot.setup import Bot
from bot.slack import sending
from bot.slack.analysts import Analyst, finish_without
from bot.slack.answering import Delivery, Job
from bot.slack.blocks import Message
from bot.slack.chores import Chore
from bot.slack.post import Poster
from bot.slack.runs import MOST_BEGUN, MOST_GIVEN_UP, Runner
from bot.slack.sending import Senders
from bot.slack.ticking import Ticker
from storage.outbox import Outbox
from storage.queue import Queue
from storage.schedules import Run, RunKey, Schedules, schedule_runs
from storage.state import jobs, posts
from tests.commands.test_ab import split_of
from tests.commands.test_ab_registration import planned
from tests.conftest import fill
from tests.slack.conftest import Members
from tests.slack.test_sending import History, send_all


class HeldError(UserError):
    """As the gate of the digest holds an answer back."""

    code = "held"


@dataclass(frozen=True, kw_only=True)
class Tide(Command):
    """Answers what the test says next."""

    examples: ClassVar = ("tide",)

    what: Literal["level", "people"] = says("level", help="what to show")

    def run(self, ctx: Context) -> Result:
        """An answer, or the refusal that the test laid out."""
        said = SAID.pop(0) if SAID else "calm"
        if isinstance(said, UserError):
            raise said
        rows = Table("Rows", (Column("a", "A"),), (("x",),), person_level=self.what == "people")
        return Result("Tide", f"The tide is {said}.", (rows, Note("n")), mark=said)


@dataclass(frozen=True, kw_only=True)
class Ripple(Tide):
    """Speaks on changes only."""

    examples: ClassVar = ("ripple",)
    speaks: ClassVar = "changes"


SAID: list[Any] = []
del COMMANDS["tide"], COMMANDS["ripple"]


@pytest.fixture(autouse=True)
def tide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The commands are known while a test of this file runs."""
    monkeypatch.setitem(COMMANDS, "tide", Tide)
    monkeypatch.setitem(COMMANDS, "ripple", Ripple)
    monkeypatch.setattr(sending, "SETTLE_S", 0.0)
    yield
    SAID.clear()


@pytest.fixture
def slack_history() -> History:
    return History()


class World:
    """All parts of a running bot, each moved by hand."""

    def __init__(self, bot: Bot, slack: History) -> None:
        self.bot = bot
        self.slack = slack
        self.poster = Poster(slack, patience_seconds=0)
        self.senders = Senders(Outbox(bot.state), self.poster)
        self.queue = Queue(bot.state, workers=1, waiting=9, per_person=9)
        self.analyst = Analyst(bot, self.queue, self.senders.outbox, self.poster)
        self.ticker = Ticker(bot.state, bot.settings.limits)
        self.kept = Schedules(bot.state)

    def schedule(self, question: str = "tide", **more: Any) -> int:
        """One whose only run is due: by its own minute, else that of `now` may be due as well."""
        due = self.bot.state.now() - dt.timedelta(seconds=1)
        values: dict[str, Any] = {
            "question": question, "every": f"day {due:%H:%M}", "zone": "UTC", "channel": "C1",
            "place": "#growth", "owner": "U0ANN", "team": "", "surface": "slack",
            "next_at": due, "next_day": due.date(),
        }  # fmt: skip
        return self.kept.add(**values | more)

    def turn(self) -> None:
        """Tick, answer, post; then time goes on to the next try."""
        self.ticker.tick()
        while (claim := self.queue.claim(60)) is not None:
            self.analyst.work(claim)
        send_all(self.senders)
        with self.bot.state.transaction() as connection:
            waits = schedule_runs.c.next_try > 0
            connection.execute(sa.update(schedule_runs).where(waits).values(next_try=1))

    def close_window(self) -> None:
        """As if the time to catch up were over."""
        with self.bot.state.transaction() as connection:
            connection.execute(sa.update(schedule_runs).values(try_until=1))

    def texts(self) -> list[str]:
        """What stands in the channel."""
        return [m["text"] for m in self.slack.messages if m["channel"] == "C1"]

    def updates(self) -> list[dict[str, Any]]:
        """How messages were changed."""
        return self.slack.of("chat.update")

    def last(self) -> Run:
        """The latest run of the only schedule."""
        (run,) = self.kept.last_runs().values()
        return run


@pytest.fixture
def world(bot: Bot, slack_history: History) -> World:
    return World(bot, slack_history)


def test_a_run_is_answered_posted_once_and_said_to_be(world: World) -> None:
    number = world.schedule()
    world.turn()
    world.turn()
    (text,) = world.texts()
    assert text.startswith("The tide is calm.")
    assert f"Schedule {number} · every day" in text
    assert "late" not in text
    assert world.last().state == "posted"
    (message,) = world.slack.messages
    assert message["metadata"]["event_payload"]["key"] == world.last().key.text
    (question,) = world.bot.state.recent_questions()
    assert (question.asker, question.surface, question.canonical) == ("U0ANN", "schedule", "tide")


def test_a_late_run_says_so_and_what_was_missed(world: World) -> None:
    now = world.bot.state.now()
    due = now - dt.timedelta(days=2, hours=1)
    number = world.schedule(every=f"day {due:%H:%M}", next_at=due, next_day=due.date())
    world.turn()
    (text,) = world.texts()
    assert f"*Late*: it was due at {due:%H:%M}." in text
    assert "Missed while I was not running: " in text
    assert f"{due:%a %d %b}" in text
    assert world.kept.missed(number) == []


def test_run_now_posts_beside_the_runs_of_the_clock(world: World) -> None:
    number = world.schedule("ripple")
    world.turn()
    now = world.bot.state.now()
    with world.bot.state.transaction() as connection:
        key = RunKey(number, now.date(), "101500")
        world.kept.begin_in(connection, key, due_at=now, try_until=now, state="due")
    world.turn()
    assert len(world.texts()) == 2
    assert "asked for" in world.texts()[1]


# Held.


def test_what_is_held_says_so_once_is_changed_in_place_and_becomes_the_answer(
    world: World,
) -> None:
    SAID.extend([HeldError("No rows since 03:00.", hint="Wait."),
                 HeldError("No rows since 04:00.", hint="Wait."), "high"])  # fmt: skip
    world.schedule()
    world.turn()
    assert len(world.texts()) == 1
    assert "No rows since 03:00." in world.texts()[0]
    assert "I try again every 15 min" in world.texts()[0]
    assert (world.last().state, world.last().tries) == ("held", 1)
    world.turn()
    world.turn()
    world.turn()
    assert len(world.texts()) == 1
    (again, answered) = world.updates()
    assert "No rows since 04:00." in again["text"]
    assert answered["text"].startswith("The tide is high.")
    assert {u["ts"] for u in world.updates()} == {world.slack.messages[0]["ts"]}
    assert world.last().state == "posted"


def test_what_is_held_to_the_end_of_the_window_is_given_up_in_place(world: World) -> None:
    SAID.extend([HeldError("No rows.")] * 9)
    world.schedule()
    world.turn()
    world.close_window()
    for _ in range(3):
        world.turn()
    (last,) = world.updates()
    assert "I try no more" in last["text"]
    assert world.last().state == "held"
    assert len(world.texts()) == 1


def test_a_fault_that_passes_is_not_spoken_of(world: World) -> None:
    SAID.extend([DataUnavailableError("The store is locked."), "low"])
    world.schedule()
    world.turn()
    assert world.texts() == []
    assert (world.last().state, world.last().note) == ("held", "The store is locked.")
    world.turn()
    assert world.texts()[0].startswith("The tide is low.")


def test_a_fault_that_does_not_pass_is_told_to_the_owner(world: World) -> None:
    SAID.extend([DataUnavailableError("The store is locked.")] * 9)
    world.schedule()
    world.turn()
    world.close_window()
    world.turn()
    world.turn()
    assert world.texts() == []
    (told,) = [m for m in world.slack.messages if m["channel"] == "D1"]
    assert "could not run" in told["text"]
    assert world.last().state == "failed"


def test_a_question_without_an_answer_says_why_in_its_place(world: World) -> None:
    SAID.append(UserError("Only 3 people bought.", hint="Ask for more days."))
    world.schedule()
    world.turn()
    (text,) = world.texts()
    assert "Only 3 people bought." in text
    assert (world.last().state, world.last().note) == ("failed", "Only 3 people bought.")


# Changes only.


def test_what_speaks_on_changes_is_quiet_while_nothing_changes(world: World) -> None:
    SAID.extend(["calm", "calm", "storm"])
    number = world.schedule("ripple")
    for days in range(3):
        now = world.bot.state.now()
        world.kept.change(number, next_at=now, next_day=now.date() + dt.timedelta(days=days))
        world.turn()
    assert [t.split(".")[0] for t in world.texts()] == ["The tide is calm", "The tide is storm"]
    states = [world.kept.run(RunKey(number, now.date() + dt.timedelta(days=d))) for d in range(3)]
    assert [run and run.state for run in states] == ["posted", "unchanged", "posted"]


def test_an_experiment_speaks_when_its_verdict_changes_and_at_its_end(
    bot: Bot, slack_history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bot.store, **split_of([("control", 3000, 300), ("treatment", 3000, 303)]))
    planning = dataclasses.replace(bot, catalog=Catalog(plans=(planned(),)))
    world = World(planning, slack_history)
    number = world.schedule("ab new_page")
    states = []
    for day in ("10-05", "10-06", "10-12", "10-13", "10-29", "10-30"):
        now = dt.datetime.fromisoformat(f"2026-{day}T10:00+00:00")
        monkeypatch.setattr(Bot, "now", lambda _, now=now: now)
        world.kept.change(number, next_at=world.bot.state.now(), next_day=now.date())
        world.turn()
        run = world.kept.run(RunKey(number, now.date()))
        states.append(run and run.state)
    assert states == ["posted", "unchanged"] * 3
    verdicts = [t.split(".")[0].partition(": ")[2] for t in world.texts()]
    assert verdicts == ["too early to say", "undecided", "undecided, and the plan is used up"]


# Rights and places.


def test_a_schedule_whose_owner_left_rests_and_says_so_once(world: World, members: Members) -> None:
    number = world.schedule()
    members.people["U0ANN"] = "stranger"
    world.turn()
    world.turn()
    schedule = world.kept.get(number)
    assert schedule is not None
    assert "I only answer people" in schedule.paused
    assert world.texts() == []
    (told,) = [m for m in world.slack.messages if m["channel"] == "D1"]
    assert f"schedule resume {number}" in told["text"]


def test_persons_are_not_posted_to_a_channel(world: World) -> None:
    world.schedule("tide people", owner="terminal", surface="terminal")
    world.schedule("tide people", owner="terminal", surface="terminal", channel="D7", place="me")
    world.turn()
    assert world.texts() == []
    assert [m["channel"] for m in world.slack.messages] == ["D7"]
    assert [run.state for run in world.kept.last_runs().values()] == ["failed", "posted"]


@pytest.mark.parametrize("error", ["channel_not_found", "is_archived", "not_in_channel"])
def test_a_channel_that_refuses_for_good_lets_the_schedule_rest(world: World, error: str) -> None:
    number = world.schedule()
    world.slack.fail("chat.postMessage", world.slack.refuse(error))
    world.turn()
    world.turn()
    schedule = world.kept.get(number)
    assert schedule is not None
    assert error in schedule.paused
    assert (world.last().state, world.last().note) == ("failed", error)
    (told,) = [m for m in world.slack.messages if m["channel"] == "D1"]
    assert "Slack did not let me post there" in told["text"]


def test_a_channel_is_found_by_its_name_and_its_id_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"growth": "C1"}
    monkeypatch.setattr(world.poster, "channel_called", lambda name, _: found.get(name, ""))
    number = world.schedule(channel="")
    lost = world.schedule(channel="", place="#nowhere")
    world.turn()
    assert len(world.texts()) == 1
    known, unknown = world.kept.get(number), world.kept.get(lost)
    assert known is not None
    assert unknown is not None
    assert (known.channel, known.paused) == ("C1", "")
    assert "I see no channel #nowhere" in unknown.paused


def test_to_me_goes_to_the_direct_messages(world: World) -> None:
    world.schedule(channel="", place="me")
    world.turn()
    assert [m["channel"] for m in world.slack.messages] == ["D1"]
    assert world.last().state == "posted"


def test_what_was_dropped_or_paused_meanwhile_is_not_run(world: World) -> None:
    first, second = world.schedule(), world.schedule()
    world.ticker.tick()
    world.kept.delete(first)
    world.kept.change(second, paused="paused by U1")
    world.turn()
    assert world.texts() == []
    assert world.last().state == "missed"


def end_the_process(world: World) -> None:
    """Begun so often, and never finished."""
    world.ticker.tick()
    for _ in range(MOST_BEGUN):
        assert world.queue.claim(60)
        with world.bot.state.transaction() as connection:
            connection.execute(sa.update(jobs).values(lease_until=1))


def test_a_run_that_ends_its_process_is_begun_anew_later(world: World) -> None:
    world.schedule()
    end_the_process(world)
    world.turn()
    assert world.last().state == "held"
    world.turn()
    assert world.last().state == "posted"
    (message,) = world.slack.messages
    assert message["metadata"]["event_payload"]["key"] == world.last().key.text


def test_a_run_that_ends_its_process_again_and_again_is_given_up(world: World) -> None:
    world.schedule()
    for _ in range(MOST_GIVEN_UP + 1):
        end_the_process(world)
        world.turn()
    assert (world.last().state, world.last().note) == (
        "failed", "it ended my process three times"
    )  # fmt: skip
    (told,) = [m for m in world.slack.messages if m["channel"] == "D1"]
    assert "could not run" in told["text"]


def test_a_run_that_is_stopped_from_outside_is_begun_anew_later(world: World) -> None:
    world.schedule()
    world.ticker.tick()
    claim = world.queue.claim(60)
    assert claim is not None
    job = Job.from_json(claim.work)
    assert finish_without(
        world.bot, world.queue, world.senders.outbox, claim, job, Message("late"), "killed_for_time"
    )
    assert (world.last().state, world.last().note) == ("held", "it took too long")
    assert world.senders.outbox.unfinished() == 0


# Messages in place, and copies.


def deliver(world: World, text: str, **more: Any) -> None:
    delivery = Delivery(Job("q", "U1", "C1", "chore"), Message(text), False, **more)
    world.senders.outbox.add(key=delivery.key, lane=delivery.lane, body=delivery.to_json())
    send_all(world.senders)


def test_a_delivery_that_replaces_changes_the_message(world: World) -> None:
    deliver(world, "open", key="incident:1")
    deliver(world, "worse", key="incident:1:2", replaces="incident:1")
    deliver(world, "over", key="incident:1:3", replaces="incident:1")
    assert world.texts() == ["open"]
    assert [u["text"] for u in world.updates()] == ["worse", "over"]
    assert {u["metadata"]["event_payload"]["key"] for u in world.updates()} == {"incident:1"}


def test_a_message_is_changed_after_the_outbox_has_forgotten_it(world: World) -> None:
    deliver(world, "open", key="incident:1")
    with world.bot.state.transaction() as connection:
        connection.execute(sa.delete(posts))
    deliver(world, "over", key="incident:1:2", replaces="incident:1")
    assert [u["text"] for u in world.updates()] == ["over"]


def test_an_unanswered_change_is_made_again(world: World) -> None:
    world.slack.fail("chat.update", TimeoutError(), world.slack.refuse("fatal_error", 503))
    deliver(world, "open", key="incident:1")
    deliver(world, "over", key="incident:1:2", replaces="incident:1")
    assert len(world.updates()) == 3
    assert world.texts() == ["open"]


def test_what_cannot_be_changed_any_more_is_posted_anew(world: World) -> None:
    deliver(world, "open", key="incident:1")
    world.slack.fail("chat.update", world.slack.refuse("message_not_found"))
    deliver(world, "over", key="incident:1:2", replaces="incident:1")
    deliver(world, "new", key="incident:2:2", replaces="incident:2")
    assert world.texts() == ["open", "over", "new"]


def test_a_post_whose_history_is_not_shown_now_is_looked_up_later(world: World) -> None:
    world.slack.cut = 1
    world.slack.fail(
        "conversations.history", world.slack.refuse("fatal_error", 503),
        world.slack.refuse("ratelimited", 429), OSError(),
    )  # fmt: skip
    deliver(world, "once", key="k")
    assert world.texts() == ["once"]
    assert len(world.slack.of("conversations.history")) == 4


def test_later_copies_are_deleted(world: World) -> None:
    """Two senders had it; the frozen one posts when the other is done."""
    outbox = world.senders.outbox
    outbox.add(key="k", lane="C1", body=Delivery(
        Job("q", "U1", "C1", "chore"), Message("once"), False).to_json())  # fmt: skip
    frozen = outbox.claim(60)
    assert frozen is not None
    with world.bot.state.transaction() as connection:
        connection.execute(sa.update(posts).values(lease_until=0))
    send_all(world.senders)
    assert world.senders.sweep() == 0
    world.poster.post("C1", [Message("once")], key="k")
    world.senders._sent(frozen, Delivery.from_json(frozen.body), "2.5")
    assert world.senders.sweep() == 1
    (deleted,) = world.slack.of("chat.delete")
    assert deleted["ts"] == "2.5"


# Chores.


def test_a_chore_says_what_it_has_to_say_once(bot: Bot, world: World) -> None:
    said = Delivery(Job("q", "U1", "C1", "chore"), Message("done"), False, key="count:1")
    runner = Runner(bot, world.poster, (Chore("count", 60, lambda _: [said]),))
    ((delivery, _),) = runner.chore(Job("count", "", "", "chore")).outgoing
    assert delivery == said
    assert runner.chore(Job("unknown", "", "", "chore")).outgoing == ()
    assert runner.chore(Job("count", "", "", "chore"), begun=MOST_BEGUN + 1).outgoing == ()


def test_a_chore_that_fails_waits_for_its_next_slot(bot: Bot, world: World) -> None:
    def broken(_: Bot) -> list[Delivery]:
        raise RuntimeError("a bug")

    runner = Runner(bot, world.poster, (Chore("count", 60, broken),))
    assert runner.chore(Job("count", "", "", "chore")).outgoing == ()
