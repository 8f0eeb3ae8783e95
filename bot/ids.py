"""Ids of people, channels and views: plain, or `T1/U1` where the bot serves several workspaces.

They are qualified where they come in and made plain where they go out (`bot.slack.oauth`); in
between an id is an id, and no two workspaces meet in a queue, a lane, a grant or the audit.
"""

import re

QUALIFIED = re.compile(r"([TE][A-Z0-9]{2,30})/(.+)")


def split(qualified: str) -> tuple[str, str]:
    """The workspace, empty where there is one only, and the plain id."""
    match = QUALIFIED.fullmatch(qualified)
    return (match[1], match[2]) if match else ("", qualified)


def within(team: str, plain: str) -> str:
    """An id in a workspace; what is no id, or qualified already, stays as it is."""
    return f"{team}/{plain}" if team and plain and not QUALIFIED.fullmatch(plain) else plain


def is_direct(channel: str) -> bool:
    """Whether a channel is one between us and one person."""
    return split(channel)[1].startswith("D")
