"""`python -m bot load`: files into the store, with a mapping that is configured or confirmed."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.prompt import Confirm
from rich.table import Table as Grid

from analytics.errors import DataUnavailableError, UserError
from analytics.words import counted
from bot.setup import Bot
from storage.engines import StoreError
from storage.load.files import file_digest
from storage.load.load import (
    LoadReport,
    Progress,
    load_files,
    rebuild_totals,
    rejected,
    sample_of,
)
from storage.load.mapping import parse_mapping, recipe_of
from storage.load.proposal import Proposal, propose_mapping

REJECTS_SHOWN = 5


class MappingNeededError(UserError):
    """The file's columns can't be matched without help."""

    code = "mapping_needed"


@dataclass(frozen=True)
class Order:
    """What is to be loaded: files by their whole paths, as which entity, by which mapping.

    `mapping` is an entry of `loads:` as YAML. `digests` are those of the files, where somebody else
    is to load them: what is found there must be what was meant.
    """

    entity: str
    files: tuple[str, ...]
    mapping: str
    source: str
    digests: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """As the audit calls it."""
        return f"load {self.entity} {' '.join(Path(f).name for f in self.files)}"

    def to_json(self) -> str:
        """As the queue keeps it."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Order":
        """As the queue gave it."""
        body = json.loads(text)
        lists = {name: tuple(body[name]) for name in ("files", "digests")}
        return cls(**{**body, **lists})


def order_of(
    bot: Bot,
    entity: str,
    files: Sequence[Path],
    console: Console,
    *,
    source: str | None,
    yes: bool,
) -> Order:
    """What is to be loaded, as an entity or by a recipe of config.yaml. Raises UserError.

    Without a configured mapping one is proposed from the first file, shown, and confirmed unless
    `yes`.
    """
    refuse_tables_of_others(bot)
    missing = [str(f) for f in files if not f.is_file()]
    if missing:
        raise DataUnavailableError(f"There is no file {missing[0]}.", hint="Check its path.")
    try:
        config, target = mapping_for(bot, entity, files[0], console, yes=yes)
    except StoreError as error:
        raise DataUnavailableError(error.message, hint=error.hint) from error
    whole = tuple(str(f.resolve()) for f in files)
    mapping = yaml.safe_dump(config, sort_keys=False)
    return Order(target, whole, mapping, source or files[0].stem)


def vouched(order: Order) -> Order:
    """The order with the digests of its files."""
    return replace(order, digests=tuple(file_digest(Path(f)).hex() for f in order.files))


def loaded(bot: Bot, order: Order, tell: Progress) -> LoadReport:
    """Take the files into the store; `tell` hears how far it is. Raises UserError."""
    refuse_tables_of_others(bot)
    files = [Path(f) for f in order.files]
    try:
        for file, digest in zip(files, order.digests or [""] * len(files), strict=True):
            refuse_another(file, digest)
        return load_files(
            bot.store,
            order.entity,
            files,
            parse_mapping(yaml.safe_load(order.mapping)),
            source=order.source,
            description=f"rows of {', '.join(f.name for f in files)}"[:200],
            progress=tell,
        )
    except StoreError as error:
        raise DataUnavailableError(error.message, hint=error.hint) from error


def refuse_tables_of_others(bot: Bot) -> None:
    """Raises DataUnavailableError where the store is not ours to fill."""
    if bot.settings.store.tables:
        raise DataUnavailableError(
            "The store's tables are your own: I only read them.",
            hint="Fill them with your own tools, or take `store.tables` out of config.yaml.",
        )


def refuse_another(file: Path, digest: str) -> None:
    """Raises DataUnavailableError where a file is not the one that was meant; none was: no digest.

    Raises StoreError where it can't be read.
    """
    if not digest:
        return
    if not file.is_file():
        raise DataUnavailableError(
            f"The running bot sees no file {file}.",
            hint="Put it on the bot's machine, where the bot may read it.",
        )
    if file_digest(file).hex() != digest:
        raise DataUnavailableError(
            f"{file.name} is not what it was when you asked.",
            hint="Load it again once nobody writes to it.",
        )


def mapping_for(
    bot: Bot, entity: str, file: Path, console: Console, *, yes: bool
) -> tuple[Any, str]:
    """The configured mapping of this name, else a confirmed proposal; and the entity it fills."""
    configured = bot.settings.loads.get(entity)
    if configured is not None:
        return configured, recipe_of(parse_mapping(configured)).entities[0]
    columns, sample = sample_of(file)
    proposal = propose_mapping(entity, columns, sample, timezone=bot.settings.time_zone)
    show_proposal(proposal, console)
    if not proposal.complete:
        raise MappingNeededError(
            f"I found no column for {', '.join(proposal.missing)} in {file.name}.",
            hint="Write the mapping under `loads:` in config.yaml (docs/loading.md shows how).",
        )
    if not yes:
        if not console.is_terminal:
            raise MappingNeededError(
                "I need a yes to this mapping.", hint="Add --yes, or configure it under `loads:`."
            )
        if not Confirm.ask("Load by this mapping?", console=console, default=False):
            raise MappingNeededError(
                "Nothing was loaded.", hint="Write the mapping under `loads:` in config.yaml."
            )
    return proposal.config, proposal.entity


def show_proposal(proposal: Proposal, console: Console) -> None:
    """The proposed mapping as a table, what is open, and its form for config.yaml."""
    grid = Grid(title="Proposed mapping", title_justify="left", header_style="bold")
    for heading in ("Column", "From", "Sure", "Why"):
        grid.add_column(heading)
    for c in proposal.columns:
        said = c.spec if isinstance(c.spec, str) else yaml.safe_dump(
            c.spec, default_flow_style=True, width=1000
        ).strip()  # fmt: skip
        grid.add_row(f"{c.entity}.{c.target}", said, f"{c.confidence * 100:.0f} %", c.why)
    console.print(grid)
    if proposal.unused:
        console.print(f"Not used: {', '.join(proposal.unused)}.", markup=False)
    for question in proposal.questions:
        console.print(f"Mind: {question}", style="yellow", markup=False)
    entry = yaml.safe_dump({"loads": {proposal.entity: proposal.config}}, sort_keys=False)
    console.print("To keep or change it, put this into config.yaml:", style="dim")
    console.print(entry, style="dim", markup=False)


@contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    """A bar of rows with the phase; on no terminal, nothing."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} rows"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def tell(done: int, total: int | None, phase: str) -> None:
            bar.update(task, completed=done, total=total, description=phase)

        yield tell


def show(report: LoadReport, bot: Bot, console: Console) -> None:
    """What was taken and what was not, with the first rejected rows."""
    if report.known and report.nothing_changed:
        console.print(f"{', '.join(report.known)}: loaded before. Nothing changed.", markup=False)
    for e in report.entities:
        console.print(
            f"{e.entity}: {e.new:,} new, {e.changed:,} changed, {e.unchanged:,} unchanged.",
            markup=False,
        )
    console.print(
        f"{counted(report.rows_read, 'line')} read in {report.seconds:.1f} s, "
        f"{counted(report.rows_rejected, 'line')} rejected.",
        style="bold",
        markup=False,
    )
    for reason, n in report.reasons.items():
        console.print(f"  {n:,}: {reason}", style="yellow", markup=False)
    for load_id in report.load_ids if report.rows_rejected else ():
        first: list[dict[str, Any]] = rejected(bot.store, load_id, REJECTS_SHOWN)
        for row in first:
            console.print(f"  line {row['line_no']}: {row['reason']}", style="dim", markup=False)
        if first:
            console.print(
                f"  All of them are kept in rejected_rows under load {load_id}.",
                style="dim",
                markup=False,
            )


class NoTotalsError(UserError):
    """No totals per day can be made here."""

    code = "no_totals"


def make_totals(bot: Bot, console: Console) -> int:
    """Make the totals per day of all rows, at once; the exit status. Raises UserError."""
    if bot.opened is None:
        raise DataUnavailableError(
            "The running bot has the store open.",
            hint="It makes the totals with its next load; or stop it, and try again.",
        )
    if bot.opened.engine.keeper is None:
        raise NoTotalsError(
            "No totals per day are kept in this store.",
            hint="DuckDB, PostgreSQL and SQLite keep them, over tables that are mine, with "
            "store.totals: true.",
        )
    if rebuild_totals(bot.opened) is None:
        raise NoTotalsError(
            f"The days of {bot.settings.zone.key} can't be told apart in these data, so the rows "
            "answer.",
            hint="Its clocks step back over midnight, or rows are older than 1970.",
        )
    console.print("The totals per day follow the rows.")
    return 0
