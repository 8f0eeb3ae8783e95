"""Who was given which right, in the state database.

A right is a command's, or every command's (`command` is empty), and covers what it names:
answers about single persons, changes of what the bot keeps, both, or the giving of rights.
A command's name stands also for the commands that begin with it: `schedule` for `schedule-pause`.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from storage.state import NowUs, State, instant, metadata, storable

Scope = Literal["people", "writes", "all", "admin"]
Kind = Literal["user", "usergroup", "channel", "everyone"]

grants = sa.Table(
    "grants",
    metadata,
    sa.Column("team", sa.Text, primary_key=True, comment="empty: the workspace of the token"),
    sa.Column("command", sa.Text, primary_key=True, comment="its name; empty: every command"),
    sa.Column("scope", sa.Text, primary_key=True, comment="people, writes, all, admin"),
    sa.Column("kind", sa.Text, primary_key=True, comment="user, usergroup, channel"),
    sa.Column("principal", sa.Text, primary_key=True, comment="the surface's own id"),
    sa.Column("label", sa.Text, nullable=False, comment="how it was called then"),
    sa.Column("granted_by", sa.Text, nullable=False),
    sa.Column("granted_at", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True)
class Grant:
    """One right, and whose it is."""

    command: str
    scope: Scope
    kind: Kind
    principal: str = ""
    label: str = ""
    granted_by: str = ""
    granted_at: dt.datetime | None = None

    def covers(self, verb: str, scope: Scope) -> bool:
        """Whether it gives this right on the command of that name."""
        named = self.command in ("", verb) or verb.startswith(f"{self.command}-")
        return named and self.scope in ((scope,) if scope == "admin" else (scope, "all"))


def grants_of(state: State, team: str) -> tuple[Grant, ...]:
    """All rights that were given in a workspace, in the order of their names."""
    keys = (grants.c.command, grants.c.scope, grants.c.kind, grants.c.principal)
    chosen = (
        sa.select(*keys, grants.c.label, grants.c.granted_by, grants.c.granted_at)
        .where(grants.c.team == team)
        .order_by(*keys)
    )
    with state.transaction() as connection:
        rows = connection.execute(chosen).mappings().all()
    return tuple(Grant(**{**row, "granted_at": instant(row["granted_at"])}) for row in rows)


def give(state: State, team: str, grant: Grant, *, by: str) -> bool:
    """Give a right; False where it was given before."""
    about = {"label": storable(grant.label), "granted_by": storable(by), "granted_at": NowUs()}
    row = _key(team, grant) | about
    insert: Any = sqlite.insert if state.is_sqlite else postgresql.insert
    wanted = insert(grants).values(row).on_conflict_do_nothing()
    with state.transaction() as connection:
        return connection.execute(wanted.returning(grants.c.team)).first() is not None


def take(state: State, team: str, grant: Grant) -> bool:
    """Take a right back; whether it had been given."""
    is_it = [grants.c[name] == value for name, value in _key(team, grant).items()]
    with state.transaction() as connection:
        return connection.execute(sa.delete(grants).where(*is_it)).rowcount == 1


def forget_grants(state: State, team: str) -> int:
    """Delete all rights of a workspace; how many it were."""
    with state.transaction() as connection:
        return connection.execute(sa.delete(grants).where(grants.c.team == team)).rowcount


def _key(team: str, grant: Grant) -> dict[str, Any]:
    return {
        "team": team,
        "command": storable(grant.command),
        "scope": grant.scope,
        "kind": grant.kind,
        "principal": storable(grant.principal),
    }
