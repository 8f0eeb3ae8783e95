"""Who may ask what: nothing is answered, kept or changed that these rules do not allow.

| who asks, or where | gets |
|---|---|
| the terminal | everything |
| an admin, named in config.yaml or by an admin | everything, and gives rights to others |
| a full member of the workspace | answers about many; more by a grant, or by `access.everyone` |
| a guest, an app, somebody of another workspace | nothing |
| anybody in a channel that people of other workspaces read | nothing |
| who or where can't be found out | nothing, and is asked to try again |

A right is a grant to a person, a user group or a channel; what it covers, `storage.grants` says.
The rules hold twice: in passing, when a question is accepted, by what is known without asking
anybody (`Access.refusal`); and in full when it is answered, before anything is read (`admit`,
`allow`).
"""

import dataclasses
import datetime as dt
from dataclasses import dataclass
from typing import Literal, Protocol

from analytics.catalog import Catalog
from analytics.command import COMMANDS, Asker, Command, Rights
from analytics.errors import UserError, either, nearest
from analytics.result import Result
from bot.config import AccessSettings, ConfigError
from bot.ids import split
from bot.parse import command_called, parse
from storage.grants import Grant, Scope, grants_of
from storage.state import State

Person = Literal["member", "guest", "app", "stranger"]
Place = Literal["own", "shared", "unseen"]

#: So many admins are named to who lacks a right.
MOST_NAMED = 3
TRY_AGAIN = "Please try again in a minute."
ELSEWHERE = "Ask me in a direct message, or in a channel that only your own workspace reads."
#: Why a person or place gets nothing, and what to do about it.
REFUSALS: dict[Person | Place | Literal["who?", "where?"], tuple[str, str]] = {
    "guest": (
        "I only answer full members of this workspace.",
        "Ask a member to share the answer with you.",
    ),
    "app": ("I only answer people.", ""),
    "stranger": ("I only answer people of the workspace that I was installed in.", ""),
    "shared": (
        "People of other workspaces read this channel, so I answer nothing here.",
        ELSEWHERE,
    ),
    "unseen": (
        "I can't see this channel, so I don't know who would read the answer.",
        "Invite me there (type /invite and my name), or ask me in a direct message.",
    ),
    "who?": ("I could not find out whether you are a member of this workspace.", TRY_AGAIN),
    "where?": ("I could not find out who reads this channel.", TRY_AGAIN),
}
LACKS: dict[Scope, str] = {
    "people": "You may not see single people here.",
    "writes": "You may not change what I keep or do.",
}
#: What `access.everyone` may name besides commands.
SCOPES: tuple[Scope, ...] = ("people", "writes", "all")


class RefusedError(UserError):
    """The asker, or the place, has no right to the answer."""

    code = "refused"


class Directory(Protocol):
    """What the surface knows of people and channels; `team` is empty where there is one workspace.

    With `ask` it may look them up, and does so again after five minutes; without, it tells what it
    knows. None: it can't be told.
    """

    def person(self, team: str, user: str, *, ask: bool) -> Person | None:
        """What kind of person that is."""
        ...

    def place(self, team: str, channel: str, *, ask: bool) -> Place | None:
        """Who reads that channel."""
        ...

    def members(self, team: str, group: str, *, ask: bool) -> frozenset[str] | None:
        """The people of a user group."""
        ...

    def name(self, team: str, user: str) -> str:
        """How people call that person, as far as known."""
        ...


class NoDirectory:
    """Knows nobody: where no surface is attached, only the terminal is answered."""

    def person(self, team: str, user: str, *, ask: bool) -> Person | None:  # noqa: ARG002
        """Nobody is known."""
        return None

    def place(self, team: str, channel: str, *, ask: bool) -> Place | None:  # noqa: ARG002
        """No channel is known."""
        return None

    def members(self, team: str, group: str, *, ask: bool) -> frozenset[str] | None:  # noqa: ARG002
        """No group is known."""
        return None

    def name(self, team: str, user: str) -> str:  # noqa: ARG002
        """The id."""
        return f"@{user}"


@dataclass(frozen=True)
class Access:
    """The rules, with what they need to know."""

    settings: AccessSettings
    state: State
    directory: Directory = NoDirectory()  # noqa: RUF009 - knows nothing, so it can't change

    def asker(self, user: str, *, channel: str, surface: str, team: str = "") -> Asker:
        """A person in a place, with all rights that they have there; looks up what is not known."""
        team = split(user)[0] or team
        if surface == "terminal":
            return Asker(user, channel=channel, team=team)
        rights = self.rights(split(user)[1], split(channel)[1], team)
        return Asker(user, channel=channel, team=team, rights=rights)

    def rights(self, user: str, channel: str, team: str) -> Rights:
        """What a person may do in a channel (empty: in no channel)."""
        refused = self._barred(team, user, channel, ask=True)
        if refused is not None:
            return Rights(is_admin=False, refusal=refused.message, hint=refused.hint)
        given = grants_of(self.state, team)
        admins = self.admins(team, given)
        groups = {g.principal for g in given if g.kind == "usergroup"}
        members = {g: self.directory.members(team, g, ask=True) for g in sorted(groups)}
        principals = {("user", user), ("channel", channel)}
        principals |= {("usergroup", g) for g, people in members.items() if user in (people or ())}
        held = tuple(g for g in given if (g.kind, g.principal) in principals)
        unsure = any(people is None for people in members.values())
        return Rights(
            is_admin=user in admins,
            grants=(*held, *everyone(self.settings)),
            hint=TRY_AGAIN if unsure else self.whom_to_ask(team, admins, ask=True),
        )

    def refusal(
        self, text: str, catalog: Catalog, user: str, *, channel: str
    ) -> RefusedError | None:
        """Why a question need not even be accepted, by what is known now; None: nothing against it.

        A text that is not understood is not refused here.
        """
        (team, user), channel = split(user), split(channel)[1]
        barred = self._barred(team, user, channel, ask=False)
        if barred is not None:
            return barred
        try:
            # what it asks does not depend on the day
            command = parse(text, dt.datetime.now(dt.UTC).date(), catalog).command
        except UserError:
            return None
        if not needs(command):
            return None
        given = grants_of(self.state, team)
        admins = self.admins(team, given)
        possible = [
            g
            for g in given
            if (g.kind, g.principal) in (("user", user), ("channel", channel))
            or (g.kind == "usergroup" and self.may_be_in(team, g.principal, user))
        ]
        rights = Rights(
            is_admin=user in admins,
            grants=(*possible, *everyone(self.settings)),
            hint=self.whom_to_ask(team, admins, ask=False),
        )
        try:
            allow(command, Asker(user, channel=channel, team=team, rights=rights))
        except RefusedError as refused:
            return refused
        return None

    def barred(self, user: str, channel: str) -> RefusedError | None:
        """Why that person, or anybody in that place, gets nothing; None: they are answered."""
        team, plain = split(user)
        return self._barred(team, plain, split(channel)[1], ask=True)

    def _barred(self, team: str, user: str, channel: str, *, ask: bool) -> RefusedError | None:
        """As `barred`; without `ask`, who is not known is not barred."""
        kind = self.directory.person(team, user, ask=ask)
        if kind is None and ask:
            return RefusedError(REFUSALS["who?"][0], hint=REFUSALS["who?"][1])
        if kind not in ("member", None):
            return RefusedError(REFUSALS[kind][0], hint=REFUSALS[kind][1])
        place = self.directory.place(team, channel, ask=ask) if channel else "own"
        if place is None and ask:
            return RefusedError(REFUSALS["where?"][0], hint=REFUSALS["where?"][1])
        if place not in ("own", None):
            return RefusedError(REFUSALS[place][0], hint=REFUSALS[place][1])
        return None

    def may_be_in(self, team: str, group: str, user: str) -> bool:
        """Whether a person is in a user group, or it is not known."""
        people = self.directory.members(team, group, ask=False)
        return people is None or user in people

    def learn(self, user: str, channel: str) -> None:
        """Look up who and where it is, so that the next question can be refused in passing."""
        self.barred(user, channel)

    def admins(self, team: str, given: tuple[Grant, ...]) -> frozenset[str]:
        """The admins of a workspace: named in config.yaml (as `T1/U1`) or by an admin."""
        named = {
            who.rpartition("/")[2] for who in self.settings.admins if who.rpartition("/")[0] == team
        }
        return frozenset(named | {g.principal for g in given if g.covers("", "admin")})

    def whom_to_ask(self, team: str, admins: frozenset[str], *, ask: bool) -> str:
        """Who can give a right, by their names where they are known."""
        if not admins:
            return (
                "Nobody can give rights yet: whoever runs me names `access.admins` in config.yaml."
            )
        named = sorted(admins)[:MOST_NAMED]
        for who in named if ask else ():
            self.directory.person(team, who, ask=True)
        names = either([self.directory.name(team, who) for who in named])
        return f"Ask {names} for it: they can say `grant`."


def admit(asker: Asker) -> None:
    """Raises RefusedError where nothing at all is answered."""
    if asker.rights.refusal:
        raise RefusedError(asker.rights.refusal, hint=asker.rights.hint)


def allow(command: Command, asker: Asker) -> Asker:
    """The asker as the command sees them. RefusedError, naming who can help, without the right."""
    admit(asker)
    verb, rights = command.verb(), asker.rights
    sees_people = asker.may_see_people and rights.covers(verb, "people")
    for scope in needs(command):
        if not (sees_people if scope == "people" else rights.covers(verb, scope)):
            raise RefusedError(LACKS[scope], hint=rights.hint)
    return dataclasses.replace(asker, may_see_people=sees_people)


def allow_result(result: Result, asker: Asker) -> None:
    """Raises RefusedError where an answer shows people to one who may not see them."""
    if result.person_level and not asker.may_see_people:
        raise RefusedError(LACKS["people"], hint=asker.rights.hint)


def needs(command: Command) -> tuple[Scope, ...]:
    """The rights that a question takes; none for answers about many."""
    scopes: tuple[tuple[Scope, bool], ...] = (
        ("people", command.shows_people),
        ("writes", command.writes),
    )
    return tuple(scope for scope, needed in scopes if needed)


def everyone(settings: AccessSettings) -> tuple[Grant, ...]:
    """The rights that all full members have. Raises ConfigError for a name that is no command.

    A command's name opens its changes only: single people are opened to all by `people`.
    """
    opened = []
    for name in settings.everyone:
        command = command_called(name)
        if name in SCOPES:
            opened.append(Grant("", name, "everyone"))
        elif command:
            opened.append(Grant(command, "writes", "everyone"))
        else:
            near = nearest(name, [*COMMANDS, *SCOPES])
            hint = f"Did you mean `{near[0]}`?" if near else "Say `people`, `writes` or a command."
            raise ConfigError(f"`access.everyone`: there is no command {name}.", hint=hint)
    return tuple(opened)
