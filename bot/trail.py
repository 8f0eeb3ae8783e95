"""The one id of a question: from its acceptance through queue, worker and outbox to its post.

It is the reference that an asker hears of a fault, and stands in the audit, in each log line and
in the job that the queue keeps. Whoever takes a job up follows its id for as long.
"""

import contextlib
import secrets
from collections.abc import Iterator
from contextvars import ContextVar

_followed: ContextVar[str] = ContextVar("followed", default="")


def new() -> str:
    """An id: 12 characters that can be read out."""
    return secrets.token_hex(6)


def current() -> str:
    """The id that this thread follows; empty where it follows none."""
    return _followed.get()


@contextlib.contextmanager
def following(reference: str) -> Iterator[str]:
    """Follow an id, in this thread."""
    before = _followed.set(reference)
    try:
        yield reference
    finally:
        _followed.reset(before)
