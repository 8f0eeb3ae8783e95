"""Starting and ticking: what is missing is named, secrets stay out of the log."""

import pytest
import sqlalchemy as sa

from bot.config import Settings, SlackSettings
from bot.setup import Bot
from bot.slack.app import SlackRefusedError, identify
from bot.slack.serve import (
    MissingSecretError,
    can_remember,
    data_age,
    edge_service,
    housekeeping,
    ticker,
)
from storage import processes
from tests.slack.conftest import FakeSlack


@pytest.mark.parametrize(
    ("mode", "given", "missing"),
    [
        ("socket", {}, "SLACK_BOT_TOKEN"),
        ("socket", {"SLACK_BOT_TOKEN": "xoxb-1"}, "SLACK_APP_TOKEN"),
        ("http", {"SLACK_BOT_TOKEN": "xoxb-1"}, "SLACK_SIGNING_SECRET"),
    ],
)
def test_a_missing_secret_is_named(
    monkeypatch: pytest.MonkeyPatch, mode: str, given: dict[str, str], missing: str
) -> None:
    for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings(slack=SlackSettings.model_validate({"mode": mode}))
    with pytest.raises(MissingSecretError, match=missing) as caught:
        edge_service(settings, lambda: None)
    assert "api.slack.com/apps" in caught.value.hint
    assert f"{missing}_FILE" in caught.value.hint


def test_a_refused_token_is_said(slack: FakeSlack) -> None:
    slack.fail("auth.test", slack.refuse("invalid_auth"))
    with pytest.raises(SlackRefusedError, match="invalid_auth"):
        identify(slack)
    slack.fail("auth.test", OSError("no route"))
    with pytest.raises(SlackRefusedError, match="can't be reached"):
        identify(slack)


def test_housekeeping_lets_go_of_the_audit_after_two_years(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[float] = []
    monkeypatch.setattr(
        bot.state, "purge_questions", lambda *, older_than_days: kept.append(older_than_days)
    )
    housekeeping(bot)
    assert kept == [730]


def test_housekeeping_lets_go_of_answers_that_no_terminal_fetched(bot: Bot) -> None:
    """They may be about single persons."""
    with bot.state.transaction() as connection:
        processes.put_reply_in(connection, 1, "new")
        connection.execute(sa.insert(processes.replies).values(job=2, body="old", made_at=1))
    housekeeping(bot)
    with bot.state.transaction() as connection:
        assert connection.execute(sa.select(processes.replies.c.body)).scalars().all() == ["new"]


def test_housekeeping_forgets(bot: Bot) -> None:
    bot.state.first_time("a key")
    assert housekeeping(bot) == (0, 0)
    assert can_remember(bot)
    assert data_age(bot) is None


def test_the_ticker_keeps_house_and_watches_the_data(bot: Bot) -> None:
    scheduler = ticker(bot)
    assert [job.func.__name__ for job in scheduler.get_jobs()] == ["housekeeping", "data_age"]
