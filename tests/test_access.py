"""Who may ask what: the rules, and that every answer passes them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from analytics.command import COMMANDS, Asker, Command, Context
from analytics.errors import UserError
from analytics.result import Column, Note, Result, Table
from bot.access import NoDirectory, Person, Place, RefusedError
from bot.config import (
    AccessSettings,
    ConfigError,
    Settings,
    StateSettings,
    StoreSettings,
    load_settings,
)
from bot.parse import command_called
from bot.setup import Bot
from storage.grants import Grant, give, grants_of
from tests.slack.conftest import Members

ADMIN = "U0ADMIN"


@pytest.fixture(autouse=True)
def commands() -> Iterator[None]:
    """Two commands more: one that names people by surprise, one that changes something."""

    @dataclass(frozen=True, kw_only=True)
    class Leaky(Command):
        """People whom it did not announce."""

        examples: ClassVar = ("leaky",)

        def run(self, ctx: Context) -> Result:
            people = Table("P", (Column("p", "Person"),), (("p1",),), person_level=True)
            return Result("Leak", "p1 is here.", (people,))

    @dataclass(frozen=True, kw_only=True)
    class PlanKeep(Command):
        """A change."""

        examples: ClassVar = ("plan-keep",)
        writes: ClassVar = True

        def run(self, ctx: Context) -> Result:
            return Result("Kept", "It is kept.", (Note("Done."),))

    yield
    for name in ("leaky", "plan-keep"):
        del COMMANDS[name]


@pytest.fixture
def members() -> Members:
    return Members()


def opened(folder: Path, **access: tuple[str, ...]) -> Bot:
    return Bot.open(
        Settings(
            store=StoreSettings(url=f"duckdb:///{folder / 'store.duckdb'}"),
            state=StateSettings(url=f"sqlite:///{folder / 'state.sqlite'}"),
            access=AccessSettings(**{"admins": (ADMIN,)} | access),  # type: ignore[arg-type]
        )
    )


@pytest.fixture
def bot(tmp_path: Path, members: Members) -> Iterator[Bot]:
    made = opened(tmp_path).knowing(members)
    yield made
    made.close()


def ask(bot: Bot, text: str, user: str = "U1", channel: str = "C1", team: str = "") -> Result:
    asker = bot.asker(user, channel=channel, surface="slack", team=team)
    return bot.answer(text, asker, surface="slack", channel=channel).result


def outcomes(bot: Bot) -> list[tuple[str, str]]:
    return [(q.asker, q.outcome) for q in reversed(bot.state.recent_questions())]


def test_the_terminal_may_do_everything(bot: Bot) -> None:
    assert bot.answer("plan keep", surface="terminal").result.title == "Kept"
    assert bot.answer("leaky", surface="terminal").result.person_level
    here = bot.asker("me", channel="", surface="terminal")
    assert bot.answer("plan keep", here, surface="terminal").result.title == "Kept"


def test_a_member_may_ask_about_many_and_no_more(bot: Bot) -> None:
    assert ask(bot, "schema").title == "Schema"
    for text in ("churn top 5", "purchase top 5", "value top 5", "recommend user p1", "leaky"):
        with pytest.raises(RefusedError, match="single people"):
            ask(bot, text)
    with pytest.raises(RefusedError, match="may not change") as refused:
        ask(bot, "plan keep")
    assert refused.value.hint == f"Ask @{ADMIN} for it: they can say `grant`."
    assert outcomes(bot)[-1] == ("U1", "refused")
    assert [o for _, o in outcomes(bot)].count("refused") == 6


def test_what_is_about_many_is_no_business_of_grants(bot: Bot) -> None:
    """It is refused for want of data, not of rights."""
    for text in ("churn", "value", "recommend", "kpis", "segment"):
        with pytest.raises(UserError) as error:
            ask(bot, text)
        assert not isinstance(error.value, RefusedError)


def test_an_admin_may_do_everything(bot: Bot) -> None:
    assert ask(bot, "leaky", ADMIN).person_level
    assert ask(bot, "plan keep", ADMIN).title == "Kept"


@pytest.mark.parametrize(
    ("grant", "user", "channel", "allowed"),
    [
        (Grant("", "people", "user", "U1"), "U1", "C1", True),
        (Grant("", "people", "user", "U1"), "U2", "C1", False),
        (Grant("", "writes", "user", "U1"), "U1", "C1", False),
        (Grant("", "all", "user", "U1"), "U1", "C9", True),
        (Grant("leaky", "all", "user", "U1"), "U1", "", True),
        (Grant("churn", "all", "user", "U1"), "U1", "C1", False),
        (Grant("", "people", "channel", "C1"), "U2", "C1", True),
        (Grant("", "people", "channel", "C1"), "U2", "C2", False),
        (Grant("", "people", "channel", "C1"), "U2", "", False),
        (Grant("", "people", "usergroup", "S1"), "U3", "C1", True),
        (Grant("", "people", "usergroup", "S1"), "U1", "C1", False),
    ],
)
def test_a_grant_holds_for_whom_and_where_it_was_given(
    bot: Bot, members: Members, grant: Grant, user: str, channel: str, allowed: bool
) -> None:
    members.groups["S1"] = frozenset({"U3"})
    give(bot.state, "", grant, by=ADMIN)
    if allowed:
        assert ask(bot, "leaky", user, channel).person_level
    else:
        with pytest.raises(RefusedError):
            ask(bot, "leaky", user, channel)


def test_a_grant_of_another_workspace_is_none(bot: Bot) -> None:
    give(bot.state, "T2", Grant("", "all", "user", "U1"), by="U9")
    with pytest.raises(RefusedError):
        ask(bot, "leaky")
    with pytest.raises(RefusedError):  # nor is the admin of the first one admin of the second
        ask(bot, "leaky", ADMIN, team="T2")
    assert ask(bot, "leaky", team="T2").person_level


def test_a_commands_grant_holds_for_its_family(bot: Bot) -> None:
    give(bot.state, "", Grant("plan", "writes", "user", "U1"), by=ADMIN)
    assert ask(bot, "plan keep").title == "Kept"


@pytest.mark.parametrize(
    ("person", "place", "said"),
    [
        ("guest", "own", "only answer full members"),
        ("app", "own", "only answer people"),
        ("stranger", "own", "people of the workspace"),
        (None, "own", "could not find out whether you"),
        ("member", "shared", "other workspaces read this channel"),
        ("member", "unseen", "can't see this channel"),
        ("member", None, "could not find out who reads"),
    ],
)
def test_who_and_where_that_are_not_ours_get_nothing(
    bot: Bot, members: Members, person: Person | None, place: Place | None, said: str
) -> None:
    give(bot.state, "", Grant("", "all", "user", "U1"), by=ADMIN)
    members.people["U1"], members.places["C1"] = person, place
    for text in ("schema", "help", "leaky", "plan keep", "no question at all"):
        with pytest.raises(RefusedError, match=said):
            ask(bot, text)
    assert {o for _, o in outcomes(bot)} == {"refused"}


def test_a_group_that_cannot_be_looked_up_gives_nothing(bot: Bot, members: Members) -> None:
    members.groups["S1"] = None
    give(bot.state, "", Grant("", "people", "usergroup", "S1"), by=ADMIN)
    with pytest.raises(RefusedError) as refused:
        ask(bot, "leaky", "U3")
    assert refused.value.hint == "Please try again in a minute."


def test_nobody_is_known_without_a_directory(tmp_path: Path) -> None:
    made = opened(tmp_path)
    try:
        with pytest.raises(RefusedError, match="could not find out"):
            ask(made, "schema")
        assert NoDirectory().members("", "S1", ask=True) is None
    finally:
        made.close()


def test_who_may_not_see_an_answer_may_not_schedule_it(bot: Bot) -> None:
    said = "churn top 20 every monday 09:00 UTC to me"
    give(bot.state, "", Grant("schedule", "all", "user", "U1"), by=ADMIN)
    with pytest.raises(UserError, match="may not see single people") as refused:
        ask(bot, said, channel="D1")
    assert refused.value.code == "refused"
    give(bot.state, "", Grant("churn", "people", "user", "U1"), by=ADMIN)
    assert "Schedule 1" in ask(bot, said, channel="D1").headline


# --- in passing, by what is known ---------------------------------------------------------------


def in_passing(bot: Bot, text: str, user: str = "U1", channel: str = "C1") -> str:
    refused = bot.access.refusal(text, bot.catalog, user, channel=channel)
    return refused.message if refused else ""


def test_what_is_known_refuses_and_what_is_not_waits(bot: Bot, members: Members) -> None:
    members.people["U1"] = "guest"
    assert in_passing(bot, "kpis") == ""
    bot.access.learn("U1", "C1")
    assert "full members" in in_passing(bot, "kpis")
    assert "full members" in in_passing(bot, "no question")
    members.places["C2"] = "shared"
    bot.access.learn("U2", "C2")
    assert "other workspaces" in in_passing(bot, "kpis", "U2", "C2")


def test_a_missing_right_is_seen_in_passing(bot: Bot) -> None:
    assert "single people" in in_passing(bot, "churn top 5")
    assert "may not change" in in_passing(bot, "plan keep")
    assert in_passing(bot, "churn top 5", ADMIN) == ""
    assert in_passing(bot, "churn top many") == ""  # not understood: told when it is read
    give(bot.state, "", Grant("churn", "all", "user", "U1"), by=ADMIN)
    assert in_passing(bot, "churn top 5") == ""


def test_a_group_that_is_not_known_is_not_refused_in_passing(bot: Bot, members: Members) -> None:
    members.groups["S1"] = frozenset({"U3"})
    give(bot.state, "", Grant("", "people", "usergroup", "S1"), by=ADMIN)
    assert in_passing(bot, "churn top 5") == ""
    members.members("", "S1", ask=True)
    assert "single people" in in_passing(bot, "churn top 5")
    assert in_passing(bot, "churn top 5", "U3") == ""


# --- what everybody may, and who is admin --------------------------------------------------------


def test_a_line_of_config_opens_commands_to_everyone(tmp_path: Path, members: Members) -> None:
    made = opened(tmp_path, everyone=("plan",)).knowing(members)
    try:
        assert ask(made, "plan keep").title == "Kept"
        with pytest.raises(RefusedError):
            ask(made, "leaky")
        members.people["U1"] = "guest"
        with pytest.raises(RefusedError):
            ask(made, "plan keep")
    finally:
        made.close()


def test_people_can_be_opened_to_everyone(tmp_path: Path, members: Members) -> None:
    made = opened(tmp_path, everyone=("people",)).knowing(members)
    try:
        assert ask(made, "leaky").person_level
    finally:
        made.close()


def test_a_misspelt_command_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no command chrun") as error:
        opened(tmp_path, everyone=("chrun",))
    assert error.value.hint == "Did you mean `churn`?"


def test_admins_come_from_the_environment_too() -> None:
    settings = load_settings(None, {"DAYBREAK_ADMINS": "U012ABC, T1/U034DEF"})
    assert settings.access.admins == ("U012ABC", "T1/U034DEF")
    with pytest.raises(ConfigError, match="admins"):
        load_settings(None, {"DAYBREAK_ADMINS": "maria"})


def test_without_admins_it_is_said_where_to_name_them(tmp_path: Path, members: Members) -> None:
    made = opened(tmp_path, admins=()).knowing(members)
    try:
        with pytest.raises(RefusedError) as refused:
            ask(made, "leaky")
        assert "access.admins" in refused.value.hint
    finally:
        made.close()


# --- grant, revoke, grants ----------------------------------------------------------------------


def test_an_admin_grants_and_takes_back(bot: Bot) -> None:
    told = ask(bot, "grant people to <@U0123|maria>", ADMIN)
    assert told.headline == "@maria may have single people."
    assert "as it was before" in ask(bot, "grant people to @U0123", ADMIN).headline
    assert ask(bot, "leaky", "U0123").person_level
    told = ask(bot, "revoke people from <@U0123|maria>", ADMIN)
    assert told.headline == "@maria may no longer have single people by this grant."
    with pytest.raises(RefusedError):
        ask(bot, "leaky", "U0123")
    with pytest.raises(UserError, match="had not been granted"):
        ask(bot, "revoke people from @U0123", ADMIN)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("grant all to <#C0123|ops>", ("", "all", "channel", "C0123", "#ops")),
        ("grant churn to <!subteam^S0123|@data>", ("churn", "all", "usergroup", "S0123", "@data")),
        ("grant churn people to U0123", ("churn", "people", "user", "U0123", "@U0123")),
        ("please grant writes to #C0123", ("", "writes", "channel", "C0123", "#C0123")),
        ("grant plan to @U0123", ("plan", "all", "user", "U0123", "@U0123")),
        ("grant segments to @U0123", ("segment", "all", "user", "U0123", "@U0123")),
        ("grant admin to @U0123", ("", "admin", "user", "U0123", "@U0123")),
    ],
)
def test_grants_are_said_in_words(bot: Bot, said: str, kept: tuple[str, ...]) -> None:
    ask(bot, said, ADMIN)
    (g,) = grants_of(bot.state, "")
    assert (g.command, g.scope, g.kind, g.principal, g.label) == kept


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("grant people to maria", "whom “maria” names"),
        ("grant nonsense to @U0123", "command “nonsense”"),
        ("grant to @U0123", "Say which right"),
        ("grant people", "needs to know"),
        ("grant admin to #C0123", "Only a person"),
        ("grant churn admin to @U0123", "Only a person"),
    ],
)
def test_what_is_no_grant_is_refused(bot: Bot, said: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ask(bot, said, ADMIN)
    assert grants_of(bot.state, "") == ()


def test_only_admins_grant_whatever_else_they_have(bot: Bot) -> None:
    for text in ("grant all to @U0001", "revoke all from @U0001"):
        with pytest.raises(RefusedError, match="may not change"):
            ask(bot, text, "U0001")
    give(bot.state, "", Grant("", "all", "user", "U0001"), by=ADMIN)
    for text in ("grant all to @U0002", "revoke all from @U0001"):
        with pytest.raises(UserError, match="Only admins"):
            ask(bot, text, "U0001")
    give(bot.state, "", Grant("", "admin", "user", "U0001"), by=ADMIN)
    ask(bot, "grant all to @U0002", "U0001")


def test_anyone_may_ask_what_they_may(bot: Bot) -> None:
    assert ask(bot, "grants").headline == "You may ask for figures about many, and nothing more."
    give(bot.state, "", Grant("churn", "all", "user", "U1", "@maria"), by=ADMIN)
    told = ask(bot, "grants")
    assert told.headline == "You may ask for figures about many, and 1 grant more."
    (table,) = [p for p in told.parts if isinstance(p, Table)]
    assert table.rows[0][:3] == ("single people and changes in `churn`", "@maria", ADMIN)
    assert "There is 1 grant to others." in ask(bot, "grants", ADMIN).headline
    give(bot.state, "", Grant("", "people", "channel", "C1", "#ops"), by=ADMIN)
    assert "There are 2 grants to others." in ask(bot, "grants", ADMIN).headline


def test_grant_and_grants_are_two_commands(bot: Bot) -> None:
    assert "Give a right" in ask(bot, "help grant").headline
    assert "What you may do" in ask(bot, "help grants").headline
    assert command_called("plan-nothing") is None
    assert [command_called(name) for name in ("ab", "plan", "plans")] == ["ab", "plan", "plan"]


def test_an_asker_who_may_not_see_people_is_refused_whatever_the_rights(bot: Bot) -> None:
    with pytest.raises(RefusedError):
        bot.answer("leaky", Asker("web", may_see_people=False), surface="web")
