"""Totals per day as the bot keeps them: by a setting, said in the receipt, made by a word."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from analytics.errors import DataUnavailableError
from bot import terminal
from bot.config import Settings, StateSettings, StoreSettings
from bot.elsewhere import open_bot
from bot.loading import NoTotalsError, make_totals
from bot.render.text import receipt_line
from bot.setup import Bot
from storage.processes import beat, own_name

QUESTION = "kpis 2026-10-02"
EVENTS = "event_id,person_id,at,name\n" + "\n".join(
    f"e{i},p{i % 3},2026-10-0{1 + i % 3}T10:00:00Z,visit" for i in range(9)
)


def settings(tmp_path: Path, *, totals: bool = True) -> Settings:
    return Settings(
        store=StoreSettings(url=f"duckdb:///{tmp_path / 'store.duckdb'}", totals=totals),
        state=StateSettings(url=f"sqlite:///{tmp_path / 'state.sqlite'}"),
        clock="after data",
    )


def load(bot: Bot, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text(EVENTS)
    assert terminal.load(bot, "events", [file], source=None, yes=True) == 0


def asked(bot: Bot, text: str = QUESTION) -> tuple[str, str]:
    """The headline, and the line on where the numbers come from."""
    result = bot.answer(text, surface="test").result
    assert result.receipt is not None
    return result.headline, receipt_line(result.receipt)


def test_a_load_makes_them_and_the_receipt_names_them(tmp_path: Path) -> None:
    bot = Bot.open(settings(tmp_path))
    load(bot, tmp_path)
    headline, receipt = asked(bot)
    assert "from totals per day" in receipt
    assert "Totals per day" in str(bot.answer("status", surface="test").result.to_dict())
    bot.close()
    without = Bot.open(settings(tmp_path, totals=False))
    assert asked(without)[0] == headline
    assert "from totals" not in asked(without)[1]
    with pytest.raises(NoTotalsError, match="No totals per day are kept"):
        make_totals(without, Console(file=io.StringIO()))
    without.close()


def test_rows_loaded_without_them_answer_until_they_are_made(tmp_path: Path) -> None:
    without = Bot.open(settings(tmp_path, totals=False))
    load(without, tmp_path)
    without.close()
    bot = Bot.open(settings(tmp_path))
    assert "from totals" not in asked(bot)[1]
    assert "made with the next load" in str(bot.answer("status", surface="test").result.to_dict())
    assert make_totals(bot, Console(file=io.StringIO())) == 0
    assert "from totals per day" in asked(bot)[1]
    bot.close()


def test_beside_a_running_bot_it_says_who_has_the_store(tmp_path: Path) -> None:
    running = Bot.open(settings(tmp_path))
    beat(running.state, own_name("analyst"), "analyst", {})
    bot = open_bot(settings(tmp_path))
    with pytest.raises(DataUnavailableError, match="has the store open"):
        make_totals(bot, Console(file=io.StringIO()))
    bot.close()
    running.close()
