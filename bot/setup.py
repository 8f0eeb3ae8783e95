"""Settings -> an open bot: the store, the state, and the context of a question."""

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analytics.catalog import Catalog
from analytics.command import COMMANDS, Asker, Context
from analytics.errors import DataUnavailableError
from analytics.period import morning_after
from analytics.totals import Totals
from bot.access import Access, Directory, everyone
from bot.config import Settings, overlay_fault
from bot.dispatch import Answer, Asked, answer
from storage import processes
from storage.engines import StoreError
from storage.overlay import OverlayError
from storage.state import State, StateError
from storage.store import Store
from storage.tallies import count_in


@dataclass(frozen=True)
class Bot:
    """Everything that a surface needs to answer; `opened` is None where others read the store."""

    settings: Settings
    opened: Store | None
    state: State
    catalog: Catalog
    access: Access

    @classmethod
    def open(cls, settings: Settings, *, with_store: bool = True) -> "Bot":
        """Open the bot's memory, and the store. Raises UserError with what to do."""
        everyone(settings.access)  # a command that is misspelt there is said at once
        try:
            store = open_store(settings) if with_store else None
            state = State.open(settings.state.url)
        except (StoreError, StateError) as error:
            raise DataUnavailableError(error.message, hint=error.hint) from error
        return cls(settings, store, state, settings.catalog(), Access(settings.access, state))

    def close(self) -> None:
        """Give back files and connections."""
        if self.opened is not None:
            self.opened.close()
        self.state.close()

    @property
    def store(self) -> Store:
        """The data. Raises DataUnavailableError in a process that must not read them."""
        if self.opened is None:
            raise DataUnavailableError("The data are read by another process.")
        return self.opened

    def knowing(self, directory: Directory) -> "Bot":
        """This bot, told who people are and who reads which channel."""
        return dataclasses.replace(
            self, access=dataclasses.replace(self.access, directory=directory)
        )

    def asker(self, user: str, *, channel: str, surface: str, team: str = "") -> Asker:
        """The person, and what they may do in that place; may ask the directory."""
        return self.access.asker(user, channel=channel, surface=surface, team=team)

    def context(self, asker: Asker | None = None) -> Context:
        """The context of one question, asked now."""
        return Context(
            store=self.store.fork(),
            now=self.now(),
            zone=self.settings.zone,
            currency=self.settings.currency,
            catalog=self.catalog,
            asker=asker or Asker(),
            state=self.state,
        )

    def now(self) -> dt.datetime:
        """The clock; for old data, the morning after the last row."""
        through = self.data_through() if self.settings.clock == "after data" else None
        if through is None:
            return dt.datetime.now(dt.UTC)
        return morning_after(through, self.settings.zone)

    def data_through(self) -> dt.datetime | None:
        """The latest instant in the data, naive UTC; without a store, as its analyst said."""
        if self.opened is None:
            return processes.data_through(self.state)
        # a fork: the time limit of the store itself runs from its opening
        return self.opened.fork().data_through()

    def answer(
        self,
        text: str,
        asker: Asker | None = None,
        *,
        surface: str,
        channel: str = "",
        tell: Callable[[str], None] = lambda _: None,
        begun: Callable[[Store], None] = lambda _: None,
        keep: Callable[[Asked], None] | None = None,
    ) -> Answer:
        """Answer, and keep the question in the audit. Raises UserError only.

        `tell` hears of progress; `begun` gets the store whose `cancel()` stops the question. Where
        `keep` is given it gets the audit's row, to be written with what comes of the answer.
        """
        audit = keep or self.audit

        def placed(asked: Asked) -> None:
            audit(dataclasses.replace(asked, surface=surface, channel=channel))

        try:
            ctx = dataclasses.replace(self.context(asker), tell=tell)
        except StoreError as error:
            name = (asker or Asker()).name
            placed(Asked(text, None, name, DataUnavailableError.code, 0.0))
            raise DataUnavailableError(error.message, hint=error.hint) from error
        return answer(text, ctx, placed, begun)

    def audit(self, asked: Asked, connection: Any = None) -> None:
        """Keep a question in the audit, and count it; in a transaction of its own, or in that of
        the `connection`.
        """
        verb = (asked.canonical or "").partition(" ")[0]
        known = verb if verb in COMMANDS else "unknown"
        with contextlib.nullcontext(connection) if connection else self.state.transaction() as kept:
            self.state.record_question(
                asker=asked.asker,
                surface=asked.surface,
                channel=asked.channel,
                text=asked.text,
                canonical=asked.canonical,
                outcome=asked.outcome,
                seconds=asked.seconds,
                reference=asked.reference,
                connection=kept,
            )
            ending = {"verb": known, "outcome": asked.outcome}
            count_in(self.state, kept, "question", seconds=asked.seconds, **ending)


def open_store(settings: Settings) -> Store:
    """The store, bounded as the settings say. Raises StoreUnavailableError or ConfigError."""
    try:
        store = Store.open(
            settings.store.url,
            memory_limit=settings.store.memory_limit,
            threads=settings.store.threads,
            seconds_limit=settings.limits.seconds,
            overlays=settings.overlays(),
        )
    except OverlayError as error:
        raise overlay_fault(error, settings.file) from error
    if settings.store.totals:
        store.keep(Totals(settings.zone))
    return store
