"""Grants in words, and out of them: what `grant`, `revoke` and `grants` share."""

import re

from analytics.command import COMMANDS, Context
from analytics.errors import DataUnavailableError, UnknownNameError, UserError
from bot.parse import command_called
from storage.grants import Grant, Kind, Scope
from storage.state import State

#: People, groups and channels as Slack hands them over, or by their ids alone.
NAMED: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("user", re.compile(r"(?:<@|@?)([UW][A-Z0-9]{2,30})(?:\|([^<>]*))?>?")),
    ("usergroup", re.compile(r"(?:<!subteam\^|@?)(S[A-Z0-9]{2,30})(?:\|([^<>]*))?>?")),
    ("channel", re.compile(r"(?:<#|#?)([CG][A-Z0-9]{2,30})(?:\|([^<>]*))?>?")),
)
SIGNS: dict[Kind, str] = {"user": "@", "usergroup": "@", "channel": "#", "everyone": ""}
RIGHTS: dict[Scope, str] = {
    "people": "single people",
    "writes": "changes",
    "all": "single people and changes",
    "admin": "everything, and the giving of rights",
}


def grant_of(what: Scope | None, command: str | None, to: str) -> Grant:
    """The grant that is said so. Raises UserError."""
    if what is None and command is None:
        raise UserError(
            "Say which right.", hint="`people`, `writes`, `all`, or a command such as `churn`."
        )
    verb = command_called(command) if command else ""
    if verb is None:
        raise UnknownNameError("command", str(command), sorted(COMMANDS))
    kind, principal, label = named(to)
    if what == "admin" and (verb or kind != "user"):
        raise UserError(
            "Only a person can be made an admin, and of all commands.",
            hint="Say `grant admin to @person`.",
        )
    return Grant(verb, what or "all", kind, principal, label)


def named(said: str) -> tuple[Kind, str, str]:
    """Kind, id and name of a person, group or channel. Raises UserError."""
    for kind, pattern in NAMED:
        match = pattern.fullmatch(said.strip())
        if match:
            name = (match[2] or "").lstrip("@#")
            return kind, match[1], SIGNS[kind] + (name or match[1])
    raise UserError(
        f"I can't tell whom “{said[:40]}” names.",
        hint="In Slack, choose the @person, @group or #channel from the list that opens while you "
        "type; elsewhere, say its id (@U012ABC, @S012ABC, #C012ABC).",
    )


def in_words(grant: Grant) -> str:
    """What a grant gives: “single people in `churn`”."""
    where = f" in `{grant.command}`" if grant.command else ""
    return f"{RIGHTS[grant.scope]}{where}"


def who_is(grant: Grant) -> str:
    """Whose a grant is."""
    return "every member" if grant.kind == "everyone" else grant.label


def only_admins(ctx: Context) -> None:
    """Raises UserError where the asker can't give rights."""
    if not ctx.asker.rights.is_admin:
        raise UserError("Only admins can give rights.", hint=ctx.asker.rights.hint)


def state_of(ctx: Context) -> State:
    """The bot's memory. Raises DataUnavailableError where an answer is made without one."""
    if ctx.state is None:
        raise DataUnavailableError("I have no memory here, so there are no grants.")
    return ctx.state
