"""The terminal beside a running bot: the analyst that has the store answers."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from bot import terminal
from bot.config import Settings, StateSettings, StoreSettings
from bot.elsewhere import open_bot
from bot.loading import Order, order_of, vouched
from bot.setup import Bot
from bot.slack.analysts import MOST_BEGUN, Analyst
from bot.slack.post import Poster
from bot.slack.work import Work
from storage import processes
from storage.outbox import Outbox
from storage.processes import beat, own_name
from storage.queue import Queue
from tests.slack.conftest import FakeSlack


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        store=StoreSettings(url=f"duckdb:///{tmp_path / 'store.duckdb'}"),
        state=StateSettings(url=f"sqlite:///{tmp_path / 'state.sqlite'}"),
    )


@pytest.fixture
def running(settings: Settings) -> Iterator[Bot]:
    """A bot with the store, that is said to live."""
    bot = Bot.open(settings)
    beat(bot.state, own_name("analyst"), "analyst", {})
    yield bot
    bot.close()


@pytest.fixture
def analyst(running: Bot) -> Iterator[Analyst]:
    """Works off what is asked, in a thread."""
    queue = Queue(running.state, workers=1, waiting=9, per_person=9)
    analyst = Analyst(running, queue, Outbox(running.state), Poster(FakeSlack()))
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.02):
            claim = queue.claim(60)
            if claim is not None:
                analyst.work(claim, Work())

    thread = threading.Thread(target=work)
    thread.start()
    yield analyst
    ended.set()
    thread.join()


def test_an_analyst_that_lives_answers_the_terminal(
    settings: Settings, analyst: Analyst, capsys: pytest.CaptureFixture[str]
) -> None:
    bot = open_bot(settings)
    assert bot.opened is None
    assert terminal.ask(bot, "schema") == 0
    there = capsys.readouterr().out
    assert terminal.ask(bot, "schema as csv") == 0
    as_csv = capsys.readouterr().out
    bot.close()
    assert terminal.ask(analyst.bot, "schema") == 0
    assert capsys.readouterr().out.splitlines()[:3] == there.splitlines()[:3]
    assert terminal.ask(analyst.bot, "schema as csv") == 0
    assert capsys.readouterr().out == as_csv


ORDERS = """order_id,person_id,ordered_at,amount
o1,p1,2026-10-01 10:00:00,12.50
o2,p2,2026-10-02 10:00:00,7.00
o3,p2,yesterday,7.00
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two orders, and a line that is none."""
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    return path


def ordered(bot: Bot, file: Path) -> Order:
    console = Console(file=io.StringIO())
    return order_of(bot, "orders", [file], console, source="shop", yes=True)


def test_an_analyst_that_lives_loads_for_the_terminal(
    settings: Settings, analyst: Analyst, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bot = open_bot(settings)
    said = []
    for _ in range(2):
        assert terminal.load(bot, "orders", [file], source="shop", yes=True) == 0
        said.append(capsys.readouterr().err)
    assert "orders: 2 new, 0 changed, 0 unchanged." in said[0]
    assert "3 lines read" in said[0]
    assert "“yesterday”" in said[0]
    assert "orders.csv: loaded before. Nothing changed." in said[1]
    assert analyst.bot.store.fork().counts()["orders"] == 2
    audited = bot.state.recent_questions()
    assert [(row.text, row.outcome, row.surface) for row in audited] == [
        ("load orders orders.csv", "answered", "terminal")
    ] * 2
    bot.close()


def test_a_file_that_has_changed_meanwhile_is_not_loaded(running: Bot, file: Path) -> None:
    meant = vouched(ordered(running, file))
    file.write_text(ORDERS.replace("12.50", "99.00"))
    told = terminal.load_shown(running, meant, terminal.Wanted())
    assert told.status == terminal.EXIT_REFUSED
    assert "orders.csv is not what it was" in told.err
    file.unlink()
    assert "sees no file" in terminal.load_shown(running, meant, terminal.Wanted()).err
    assert Order.from_json(meant.to_json()) == meant


def test_a_load_tells_how_far_it_is(running: Bot, file: Path) -> None:
    said: list[str] = []
    terminal.load_shown(running, ordered(running, file), terminal.Wanted(), said.append)
    assert said[0] == "Reading: 0 rows"
    assert said[-1] == "Done: 3 of 3 rows"


def test_a_load_that_is_cancelled_leaves_nothing(running: Bot, file: Path) -> None:
    work = Work()

    def tell(said: str) -> None:
        if said.startswith("Recording"):
            work.drop()
        work.tell(said)

    told = terminal.load_shown(running, ordered(running, file), terminal.Wanted(), tell)
    assert "cancelled" in told.err
    assert running.store.fork().counts()["orders"] == 0


def test_a_refusal_comes_back_as_a_refusal(
    settings: Settings, analyst: Analyst, capsys: pytest.CaptureFixture[str]
) -> None:
    bot = open_bot(settings)
    assert terminal.ask(bot, "kpsi") == terminal.EXIT_REFUSED
    said = capsys.readouterr()
    assert said.out == ""
    assert "kpis" in said.err
    bot.close()


def test_without_an_analyst_the_terminal_reads_the_store_itself(settings: Settings) -> None:
    bot = open_bot(settings)
    assert bot.opened is not None
    bot.close()


def test_who_waits_for_an_analyst_that_went_away_hears(
    settings: Settings,
    running: Bot,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bot = open_bot(settings)
    monkeypatch.setattr(processes, "living", lambda *_: [])
    assert terminal.ask(bot, "schema") == terminal.EXIT_REFUSED
    assert "went away" in capsys.readouterr().err
    bot.close()


def test_a_question_that_ended_its_process_is_given_up_in_the_terminal_too(
    settings: Settings, running: Bot
) -> None:
    bot = open_bot(settings)
    queue = Queue(running.state, workers=1, waiting=9, per_person=9)
    analyst = Analyst(running, queue, Outbox(running.state), Poster(FakeSlack()))

    def work() -> None:
        for _ in range(MOST_BEGUN):
            while (claim := queue.claim(60)) is None:
                threading.Event().wait(0.01)
            queue.give_back(claim, counts=True)
        last = queue.claim(60)
        assert last is not None
        analyst.work(last)

    thread = threading.Thread(target=work)
    thread.start()
    answer = terminal.asked_elsewhere(bot, "schema", terminal.Wanted())
    thread.join()
    assert "gave it up" in answer.err
    bot.close()
