"""Errors whose message the asker may read. Anything else that is raised is a bug."""

from difflib import get_close_matches


class UserError(Exception):
    """Something the asker can put right.

    `message` is one sentence that says what is wrong, `hint` says what to do, `code` is a stable
    word for programs.
    """

    code = "bad_request"

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Both texts are shown as they are: they hold no SQL, path or trace."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """The message, then what to do."""
        return f"{self.message} {self.hint}".strip()


class NotUnderstoodError(UserError):
    """The text is not a question of our language."""

    code = "not_understood"


class UnknownNameError(UserError):
    """A command, dimension, value, metric, item or experiment that we do not know."""

    code = "unknown_name"

    def __init__(self, kind: str, name: str, known: list[str] | tuple[str, ...]) -> None:
        """`known` is what may be said; the nearest of it is suggested."""
        near = nearest(name, known)
        hint = (
            f"Did you mean {either(near)}?"
            if near
            else f"It can be {either(known[:8])}{', …' if len(known) > 8 else ''}."
            if known
            else ""
        )
        super().__init__(f"I don't know the {kind} “{name}”.", hint=hint)
        self.suggestions = near


class NotEnoughDataError(UserError):
    """The data are too few for an honest answer."""

    code = "not_enough_data"


class HeldError(UserError):
    """The data of the day are not whole enough to be told; they may be later."""

    code = "held"


class TooLargeError(UserError):
    """The question does not fit this machine's memory or time."""

    code = "too_large"


class DataUnavailableError(UserError):
    """The store cannot be read: it is missing, locked, unreachable, or lacks a table."""

    code = "data_unavailable"


class CancelledError(UserError):
    """The asker stopped the question."""

    code = "cancelled"


class TooLateError(CancelledError):
    """A time limit stopped the question."""

    code = "too_late"


def nearest(name: str, known: list[str] | tuple[str, ...], n: int = 3) -> list[str]:
    """The names in `known` that `name` was probably meant to be, best first."""
    by_fold = {k.casefold(): k for k in known}
    return [by_fold[k] for k in get_close_matches(name.casefold(), list(by_fold), n, cutoff=0.6)]


def either(names: list[str] | tuple[str, ...]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
