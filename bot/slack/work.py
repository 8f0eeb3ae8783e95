"""A question while it is worked on: how far it is, and how it is stopped."""

from collections.abc import Callable

from analytics.errors import CancelledError
from storage.store import Store


class Work:
    """Hears of progress from the question, and of its end from outside."""

    def __init__(self, said: Callable[[str], None] = lambda _: None) -> None:
        """`said` hears how far it is."""
        self._said = said
        self._store: Store | None = None
        self._dropped = False

    def begun(self, store: Store) -> None:
        """Know what to cancel; at once, where it was cancelled before."""
        self._store = store
        if self._dropped:
            store.cancel()

    def tell(self, progress: str) -> None:
        """It is so far. Raises CancelledError once it was dropped: long work tells often."""
        if self._dropped:
            raise CancelledError("The question was cancelled.")
        self._said(progress)

    def drop(self) -> None:
        """Stop it."""
        self._dropped = True
        if self._store is not None:
            self._store.cancel()
