"""An open bot."""

from pathlib import Path

from bot.config import Settings, StateSettings, StoreSettings
from bot.setup import Bot


def test_the_clock_of_old_data_is_read_as_a_question_of_its_own(tmp_path: Path) -> None:
    """The time limit of one question, or its cancel, does not stop the bot's clock."""
    settings = Settings(
        store=StoreSettings(url=f"duckdb:///{tmp_path / 'store.duckdb'}"),
        state=StateSettings(url=f"sqlite:///{tmp_path / 'state.sqlite'}"),
        clock="after data",
    )
    bot = Bot.open(settings)
    bot.store.cancel()
    try:
        assert bot.answer("help", surface="test").result.parts
    finally:
        bot.close()
