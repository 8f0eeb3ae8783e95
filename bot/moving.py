"""`copy-store` and `verify-engine`: one store into another, and whether an engine is right."""

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from analytics.command import COMMANDS, Context
from analytics.errors import DataUnavailableError, UserError
from analytics.period import morning_after
from analytics.result import Result
from analytics.words import counted
from bot.config import Settings
from bot.dispatch import answer
from bot.loading import progress_bar
from storage.copying import copy_store
from storage.demo.install import install_demo
from storage.engines import StoreError
from storage.load.load import utc_now
from storage.schema import ENTITIES
from storage.store import Store

#: Floats are compared at so many significant digits.
DIGITS = 10
#: Commands that name the engine or the machine answer differently by design.
ABOUT_THE_ENGINE = frozenset({"status"})


class NotEmptyError(UserError):
    """There is no data to compare, or it would be mixed with others."""

    code = "store_not_empty"


def opened(url: str, *, may_be_empty: bool = False) -> Store:
    """A store by its URL. Raises DataUnavailableError."""
    try:
        return Store.open(url, may_be_empty=may_be_empty)
    except StoreError as error:
        raise DataUnavailableError(error.message, hint=error.hint) from error


def copy(source_url: str, target_url: str) -> int:
    """Copy a store and say what was copied; the exit status. Raises UserError."""
    console = Console(stderr=True, highlight=False)
    if source_url == target_url:
        raise NotEmptyError("Both stores are the same.", hint="Name another target.")
    source = opened(source_url)
    started = time.monotonic()
    try:
        target = opened(target_url, may_be_empty=True)
        try:
            with progress_bar(console) as tell:
                done = copy_store(source, target, lambda name, n, of: tell(n, of, name))
        except StoreError as error:
            raise DataUnavailableError(error.message, hint=error.hint) from error
        finally:
            target.close()
    finally:
        source.close()
    grid = Grid("Table", "Rows", "Copied now", header_style="bold")
    for table in done:
        if table.rows:
            grid.add_row(table.table, f"{table.rows:,}", f"{table.moved:,}")
    console.print(grid)
    moved, rows = sum(t.moved for t in done), sum(t.rows for t in done)
    console.print(
        f"{counted(rows, 'row')} in the target, {moved:,} of them copied now, counts and contents "
        f"equal, in {time.monotonic() - started:.1f} s.",
        style="bold",
    )
    return 0


def comparable(result: Result) -> Any:
    """An answer without what may differ between engines, floats to ten digits."""
    parts = result.to_dict()
    del parts["receipt"]
    return rounded(parts)


def rounded(value: Any) -> Any:
    """Floats at ten significant digits, all the way down."""
    match value:
        case float():
            return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else value
        case dict():
            return {k: rounded(v) for k, v in value.items()}
        case list():
            return [rounded(v) for v in value]
        case _:
            return value


def questions() -> list[str]:
    """The examples of all commands that read, and answer the same on every engine."""
    return [
        text
        for name, command in sorted(COMMANDS.items())
        if not command.writes and name not in ABOUT_THE_ENGINE
        for text in command.examples
    ]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How one question went: what differs is empty where the engines agree."""

    question: str
    differs: str
    seconds: float
    seconds_duckdb: float


def compared(ours: Context, theirs: Context) -> Iterator[Verdict]:
    """Each question on DuckDB and on the other engine, which hold the same rows."""
    for text in questions():
        first, here = told(text, ours)
        second, there = told(text, theirs)
        yield Verdict(text, difference(first, second), there, here)


def told(text: str, ctx: Context) -> tuple[Any, float]:
    """The comparable answer, or the refusal, and the seconds it took."""
    started = time.monotonic()
    try:
        said: Any = comparable(answer(text, ctx).result)
    except UserError as error:
        said = {"refused": error.code, "message": error.message}
    return said, time.monotonic() - started


def difference(ours: Any, theirs: Any, where: str = "") -> str:
    """Where two answers first differ; empty where they are equal."""
    if ours == theirs:
        return ""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        return next(d for k in ours if (d := difference(ours[k], theirs[k], f"{where}.{k}")))
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return next(d for i, (a, b) in pairs if (d := difference(a, b, f"{where}[{i}]")))
    return f"{where.lstrip('.')}: {str(ours)[:80]} on DuckDB, {str(theirs)[:80]} there"


def verify(url: str, settings: Settings, *, fill: bool) -> int:
    """Ask all commands on DuckDB and on the engine at `url`; 0 where all answers agree.

    The engine's own rows are copied to a DuckDB aside and asked there; an empty store is filled
    with the demo first, where `fill` says so. Raises UserError.
    """
    console = Console(highlight=False, width=None if Console().is_terminal else 110)
    theirs = opened(url, may_be_empty=fill)
    try:
        with TemporaryDirectory(prefix="daybreak-verify-") as folder:
            ours = opened(f"duckdb:///{Path(folder) / 'aside.duckdb'}")
            try:
                _same_rows(ours, theirs, console, fill=fill)
                now = morning_after(ours.data_through() or utc_now(), settings.zone)
                context = Context(ours, now, settings.zone, settings.currency, settings.catalog())
                other = dataclasses.replace(context, store=theirs)
                return _report(theirs.engine.version, compared(context, other), console)
            finally:
                ours.close()
    except StoreError as error:
        raise DataUnavailableError(error.message, hint=error.hint) from error
    finally:
        theirs.close()


def _same_rows(ours: Store, theirs: Store, console: Console, *, fill: bool) -> None:
    """The same rows in both."""
    holds = any(theirs.counts()[str(t.name)] for t in ENTITIES)
    if fill and holds:
        raise NotEmptyError(
            "The store holds data; I don't add the demo to them.",
            hint="Leave out --fill to verify with these data, or name an empty database.",
        )
    if not fill and not holds:
        raise NotEmptyError(
            "The store is empty.", hint="Add --fill to fill it with the demo's data first."
        )
    with progress_bar(Console(stderr=True)) as tell:
        if fill:
            install_demo(ours)
            copy_store(ours, theirs, lambda name, n, of: tell(n, of, f"filling {name}"))
        else:
            copy_store(theirs, ours, lambda name, n, of: tell(n, of, f"copying {name}"))
    console.print(f"{counted(sum(ours.counts().values()), 'row')} in both.")


def _report(version: str, verdicts: Iterator[Verdict], console: Console) -> int:
    grid = Grid("Question", "Agrees", "DuckDB", version, header_style="bold")
    asked = wrong = 0
    for v in verdicts:
        asked += 1
        wrong += bool(v.differs)
        grid.add_row(
            v.question, v.differs or "yes", f"{v.seconds_duckdb:.2f} s", f"{v.seconds:.2f} s"
        )
    console.print(grid)
    console.print(
        f"{version}: {asked - wrong} of {asked} questions give DuckDB's answer to {DIGITS} digits."
        if wrong
        else f"{version} gives DuckDB's answer to all {asked} questions, to {DIGITS} digits.",
        style="bold red" if wrong else "bold green",
    )
    return 1 if wrong else 0
