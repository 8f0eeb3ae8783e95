"""An open bot."""

import sqlite3
from pathlib import Path

import pytest

from bot.config import ConfigError, Settings, StateSettings, StoreSettings, load_settings
from bot.setup import Bot, open_store


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


def test_a_fault_over_tables_of_ones_own_is_said_with_its_line(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "their.sqlite") as theirs:
        theirs.execute("CREATE TABLE sales (no INTEGER, sold TEXT, total INTEGER)")
    lines = [
        "store:",
        f"  url: sqlite:///{tmp_path / 'their.sqlite'}",
        "  tables:",
        "    orders:",
        "      from: sales",
        "      columns:",
        "        order_id: t.no",
        "        ordered_at: t.sold",
        "        kind: \"'sale'\"",
        "        amount_cents: t.totl",
    ]
    file = tmp_path / "config.yaml"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line 10: `store\.tables\.orders\.columns\.amount_cent"):
        open_store(load_settings(file, {}))
    file.write_text("\n".join(lines).replace("totl", "total").replace("from", "form"))
    with pytest.raises(ConfigError, match=r"line 5: `store\.tables\.orders\.form`: can be"):
        load_settings(file, {})
    file.write_text("\n".join(lines).replace("totl", "total"), encoding="utf-8")
    open_store(load_settings(file, {})).close()
