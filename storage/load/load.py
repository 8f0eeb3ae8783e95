"""Load files: each file in one transaction, each line taken, unchanged or rejected with a reason.

A file that was loaded before with the same mapping is known by the digest of both and changes
nothing. A rejected line keeps all its reasons, joined by "; ". A key that comes twice in a file
with the same values counts once (the repeat as unchanged); with other values the first line is
taken and the later ones are rejected. Rows that are in the store and not in the file stay.
"""

import datetime as dt
import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from storage.engines import Writer
from storage.load.errors import LoadError
from storage.load.expressions import Compiler, Output, Program, rows_of
from storage.load.files import FileColumn, Staged, file_digest, literal, stage
from storage.load.mapping import (
    TABLES,
    Mapping,
    Reading,
    Recipe,
    Value,
    canonical,
    recipe_of,
)
from storage.load.merge import Merged, alone, arrow_schema, merge, record_source
from storage.load.pseudonym import pseudonym, pseudonym_key
from storage.schema import loads, rejected_rows
from storage.store import Store
from storage.totals import Change, Kept

#: `progress(rows done, rows in all or None, phase)`; phases are reading, checking, writing,
#: recording, done.
Progress = Callable[[int, int | None, str], None]

#: Part of a load's identity: raised when the same mapping comes to mean other rows.
VERSION = 1
BATCH = 250_000


@dataclass(frozen=True)
class EntityReport:
    """What became of one table's rows."""

    entity: str
    new: int
    changed: int
    unchanged: int


@dataclass(frozen=True)
class LoadReport:
    """What became of the files. `rows_read` and `rows_rejected` count lines, the rest rows.

    `reasons`: lines per reason, without the texts at fault (a line may have several).
    `load_ids`: one per file, for `rejected()`. `known`: files that had been loaded before.
    """

    load_ids: tuple[str, ...]
    rows_read: int
    rows_new: int
    rows_changed: int
    rows_unchanged: int
    rows_rejected: int
    reasons: dict[str, int]
    entities: tuple[EntityReport, ...]
    seconds: float
    known: tuple[str, ...] = ()

    @property
    def load_id(self) -> str:
        """Of the last file."""
        return self.load_ids[-1] if self.load_ids else ""

    @property
    def nothing_changed(self) -> bool:
        """The store holds what it held before."""
        return not self.rows_new and not self.rows_changed


@dataclass
class _Tally:
    """Counts over all files."""

    load_ids: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    read: int = 0
    rejected: int = 0
    repeats: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    entities: dict[str, Merged] = field(default_factory=dict)

    def add(self, entity: str, merged: Merged) -> None:
        before = self.entities.get(entity, Merged(0, 0, 0))
        self.entities[entity] = Merged(
            before.new + merged.new,
            before.changed + merged.changed,
            before.unchanged + merged.unchanged,
        )

    def report(self, seconds: float) -> LoadReport:
        entities = tuple(
            EntityReport(e, m.new, m.changed, m.unchanged) for e, m in self.entities.items()
        )
        return LoadReport(
            load_ids=tuple(self.load_ids),
            rows_read=self.read,
            rows_new=sum(e.new for e in entities),
            rows_changed=sum(e.changed for e in entities),
            rows_unchanged=sum(e.unchanged for e in entities),
            rows_rejected=self.rejected,
            reasons=dict(self.reasons.most_common()),
            entities=entities,
            seconds=seconds,
            known=tuple(self.known),
        )


def utc_now() -> dt.datetime:
    """The instant at which a load is recorded, naive UTC."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def load_files(
    store: Store,
    entity: str,
    files: Sequence[Path | str],
    mapping: Mapping | Recipe,
    *,
    source: str,
    description: str,
    attribution: str = "",
    simulated: bool = False,
    progress: Progress | None = None,
    again: bool = False,
    now: dt.datetime | None = None,
) -> LoadReport:
    """Load files one after the other, each in a transaction of its own.

    `again` merges a known file anew (after rows were changed by others). `now` is the naive UTC
    instant to record. Raises LoadError where a file cannot be read or lacks a mapped column; the
    files before it stay loaded.
    """
    started = time.monotonic()
    recipe = recipe_of(mapping)
    if entity not in recipe.entities:
        raise LoadError(
            f"The mapping fills {', '.join(recipe.entities)}, not {entity}.",
            hint="Name one of these.",
        )
    tally = _Tally()
    about = _About(source, description, attribution, simulated, now or utc_now())
    for file in files:
        _load_file(store, Path(file), recipe, about, tally, progress or _quiet, again=again)
    return tally.report(time.monotonic() - started)


def load_tables(
    store: Store,
    tables: dict[str, pa.Table],
    *,
    source: str,
    description: str,
    attribution: str = "",
    simulated: bool = False,
    now: dt.datetime | None = None,
    progress: Progress | None = None,
) -> LoadReport:
    """Merge ready rows into the store in one transaction.

    `tables`: by entity, its columns (`source` may be missing), unique on its key; an unknown
    column is a LoadError, one that is missing is null.
    """
    started = time.monotonic()
    tally = _Tally()
    about = _About(source, description, attribution, simulated, now or utc_now())
    with store.engine.writing() as writer:
        alone(writer)
        change = Change(writer, store.engine.keeper)
        for entity, rows in tables.items():
            table = TABLES[entity]
            merged = merge(writer, table, [_complete(rows, table, source)], change=change)
            tally.read += rows.num_rows
            tally.add(entity, merged)
            about.record(writer, table, merged)
            (progress or _quiet)(tally.read, None, "writing")
        change.follow()
    return tally.report(time.monotonic() - started)


def rebuild_totals(store: Store) -> Kept | None:
    """Make the totals per day of all rows, as the first load does; None where none can be kept."""
    keeper = store.engine.keeper
    if keeper is not None:
        with store.engine.writing() as writer:
            alone(writer)
            keeper.refresh(writer, None, ())
    return store.totals()


def rejected(store: Store, load_id: str, limit: int = 100) -> list[dict[str, Any]]:
    """The first rejected lines of a load: `line_no`, `reason`, `row` (JSON text)."""
    columns = (rejected_rows.c.line_no, rejected_rows.c.reason, rejected_rows.c.row)
    chosen = sa.select(*columns).where(rejected_rows.c.load_id == load_id)
    return store.fork().rows(chosen.order_by(rejected_rows.c.line_no).limit(limit))


def sample_of(
    file: Path | str, rows: int = 1000, reading: Reading | None = None
) -> tuple[list[str], list[dict[str, Any]]]:
    """A file's columns and first rows, for `propose_mapping`."""
    with _Staging() as staging:
        staged = staging.stage(Path(file), reading or Reading())
        names = [c.name for c in staged.columns]
        idents = ", ".join(c.ident for c in staged.columns)
        found = staging.connection.execute(
            f"SELECT {idents} FROM staged ORDER BY line LIMIT {int(rows)}"  # noqa: S608 - our names
        ).fetchall()
    return names, [dict(zip(names, row, strict=True)) for row in found]


def _quiet(_done: int, _total: int | None, _phase: str) -> None:
    """Nobody listens."""


def _complete(rows: pa.Table, table: sa.Table, source: str) -> pa.Table:
    schema = arrow_schema(table)
    unknown = [n for n in rows.column_names if n not in schema.names]
    if unknown:
        raise LoadError(f"{table.name} has no column “{unknown[0]}”.")
    columns = []
    for name in schema.names:
        if name in rows.column_names:
            columns.append(rows.column(name))
        elif name == "source":
            columns.append(pa.repeat(source, rows.num_rows))
        else:
            columns.append(pa.nulls(rows.num_rows, schema.field(name).type))
    return pa.table(columns, names=schema.names)


@dataclass(frozen=True)
class _About:
    """What is said of the rows in `sources`."""

    source: str
    description: str
    attribution: str
    simulated: bool
    now: dt.datetime

    def record(self, writer: Writer, table: sa.Table, merged: Merged) -> None:
        """After a merge that changed nothing there is nothing to count."""
        if merged.taken:
            record_source(
                writer,
                table,
                self.source,
                description=self.description,
                attribution=self.attribution,
                simulated=self.simulated,
                now=self.now,
            )


class _Staging:
    """A DuckDB of our own in memory, with a folder for what does not fit there."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="daybreak-load-")
        self.folder = Path(self._folder.name)
        self.connection = duckdb.connect(
            ":memory:",
            config={
                "temp_directory": str(self.folder / "spill"),
                "python_enable_replacements": "false",
            },
        )
        self.connection.execute("SET TimeZone = 'UTC'")

    def __enter__(self) -> "_Staging":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self._folder.cleanup()

    def stage(self, path: Path, reading: Reading) -> Staged:
        """Read a file."""
        return stage(self.connection, path, reading, self.folder)

    def batches(self, sql: str) -> Iterator[pa.Table]:
        """A query's rows in batches."""
        relation: Any = self.connection.sql(sql)
        reader = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
        for batch in reader(BATCH):
            if batch.num_rows:
                yield pa.Table.from_batches([batch])

    def count(self, sql: str) -> int:
        """The one number of a query."""
        return int(self.connection.execute(sql).fetchall()[0][0])


def _load_file(
    store: Store,
    path: Path,
    recipe: Recipe,
    about: _About,
    tally: _Tally,
    progress: Progress,
    *,
    again: bool,
) -> None:
    progress(0, None, "reading")
    load_id = _load_id(path, recipe, about.source)
    tally.load_ids.append(load_id)
    if not again and _known(store, load_id, recipe, path, tally):
        progress(0, 0, "done")
        return
    with _Staging() as staging:
        staged = staging.stage(path, recipe.reading)
        read = staged.rows + len(staged.bad)
        progress(0, read, "checking")
        hidden = _hide(staging, staged, recipe)
        program = Compiler(staged, recipe.reading, hidden).program(recipe)
        staging.connection.execute(f"CREATE TABLE typed AS {program.typed}")
        repeats = _refuse_repeats(staging, program)
        reasons = _gather_rejects(staging, staged, hidden)
        refused = staging.count("SELECT count(*) FROM rejects")
        done = 0
        with store.engine.writing() as writer:
            alone(writer)
            change = Change(writer, store.engine.keeper)
            results: dict[str, Merged] = {}
            for output in program.outputs:

                def tell(rows: int) -> None:
                    nonlocal done
                    done += rows
                    progress(done, None if len(program.outputs) > 1 else read, "writing")

                table = TABLES[output.entity]
                merged = merge(
                    writer,
                    table,
                    staging.batches(rows_of(output, about.source)),
                    keeps_earliest=output.keeps_earliest,
                    tell=tell,
                    change=change,
                )
                again_said = repeats.get(output.entity, 0)
                merged = Merged(merged.new, merged.changed, merged.unchanged + again_said)
                results[output.entity] = merged
                about.record(writer, table, merged)
                progress(done, read, "recording")
            _record_load(writer, staging, load_id, path.name, about, results, read, refused)
            progress(done, read, "recording")
            change.follow()
    tally.read += read
    tally.rejected += refused
    tally.reasons.update(reasons)
    for entity, merged in results.items():
        tally.add(entity, merged)
    progress(read, read, "done")


def _load_id(path: Path, recipe: Recipe, source: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in (str(VERSION).encode(), canonical(recipe).encode(), source.encode()):
        digest.update(len(part).to_bytes(8, "big") + part)
    digest.update(file_digest(path))
    return digest.hexdigest()


def _known(store: Store, load_id: str, recipe: Recipe, path: Path, tally: _Tally) -> bool:
    """Whether the file is in the store; then its rows count as unchanged."""
    columns = (loads.c.rows_read, loads.c.rows_taken, loads.c.rows_unchanged, loads.c.rows_rejected)
    found = store.fork().rows(sa.select(*columns).where(loads.c.load_id == load_id))
    if not found:
        return False
    tally.known.append(path.name)
    tally.read += found[0]["rows_read"]
    tally.rejected += found[0]["rows_rejected"]
    rows = found[0]["rows_taken"] + found[0]["rows_unchanged"]
    tally.add(", ".join(recipe.entities), Merged(0, 0, rows))
    return True


def _hide(staging: _Staging, staged: Staged, recipe: Recipe) -> dict[str, str]:
    """A table (raw, value) of pseudonyms for each column that asks for them."""
    specs = [s for m in recipe.mappings for s in m.columns.values()]
    columns = {staged.column(s.column) for s in specs if isinstance(s, Value) and s.pseudonym}
    if not columns:
        return {}
    key = pseudonym_key()
    compiler = Compiler(staged, recipe.reading, {})
    hidden = {}
    for column in columns:
        name = f"hidden_{column.ident}"
        text = compiler.text(column)
        raw = [
            r
            for (r,) in staging.connection.execute(
                f"SELECT DISTINCT {text} FROM staged WHERE {text} IS NOT NULL"  # noqa: S608 - our names
            ).fetchall()
        ]
        pairs = pa.table(
            {
                "raw": pa.array(raw, pa.string()),
                "value": pa.array([pseudonym(r, key) for r in raw], pa.string()),
            }
        )
        staging.connection.register("pairs", pairs)
        staging.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM pairs")  # noqa: S608 - our names
        staging.connection.unregister("pairs")
        hidden[column.ident] = name
    return hidden


def _refuse_repeats(staging: _Staging, program: Program) -> dict[str, int]:
    """Refuse lines whose key came before with other values; drop those that say the same.

    Gives the number of dropped lines per table.
    """
    dropped: dict[str, int] = {}
    for output in program.outputs:
        if output.grouped:
            continue
        taken = f"reasons IS NULL AND {output.where}"
        keys = ", ".join(output.values[k] for k in output.keys)
        staging.connection.execute(
            f"CREATE OR REPLACE TABLE twice AS SELECT {keys}, min(line) AS first FROM typed "  # noqa: S608 - our names
            f"WHERE {taken} GROUP BY {keys} HAVING count(*) > 1"
        )
        if not staging.count("SELECT count(*) FROM twice"):
            continue
        dropped[output.entity] = _refuse_twice(staging, output, taken)
    return dropped


def _refuse_twice(staging: _Staging, output: Output, taken: str) -> int:
    same_key = " AND ".join(f"t.{output.values[k]} = d.{output.values[k]}" for k in output.keys)
    values = {v for v in output.values.values() if v[0] in "vn" and v[1:].isdigit()}
    same = " AND ".join(f"t.{v} IS NOT DISTINCT FROM f.{v}" for v in sorted(values))
    label = " and ".join(f"`{k}`" for k in output.keys)
    shown = " || ', ' || ".join(f"CAST(t.{output.values[k]} AS VARCHAR)" for k in output.keys)
    words = f"{label} came before with other values"
    staging.connection.execute(
        "CREATE OR REPLACE TABLE later AS SELECT t.line, "  # noqa: S608 - our names
        f"{same} AS same, {literal(words + ', on line ')} || d.first || ': “' || "
        f"left({shown}, 80) || '”' AS said "
        f"FROM (SELECT * FROM typed WHERE {taken}) t JOIN twice d ON {same_key} "
        "JOIN typed f ON f.line = d.first WHERE t.line > d.first"
    )
    # what says the same is left out without a reason: an empty list of them
    staging.connection.execute(
        "UPDATE typed SET reasons = CASE WHEN later.same THEN [] "  # noqa: S608 - quoted
        f"ELSE [{{'words': {literal(words)}, 'said': later.said}}] END "
        "FROM later WHERE later.line = typed.line"
    )
    return staging.count("SELECT count(*) FROM later WHERE same")


def _gather_rejects(staging: _Staging, staged: Staged, hidden: dict[str, str]) -> dict[str, int]:
    """Make `rejects` (line, reason, row); gives the number of lines per reason."""
    staging.connection.execute(
        "CREATE TABLE faults AS SELECT line, unnest(reasons).words AS words, "
        "unnest(reasons).said AS said FROM typed WHERE len(reasons) > 0"
    )
    fields = ", ".join(f"{literal(c.name)}, {_shown(c, hidden)}" for c in staged.columns)
    staging.connection.execute(
        "CREATE TABLE rejects AS SELECT r.line, r.reason, "  # noqa: S608 - our names
        f"CAST(json_object({fields}) AS VARCHAR) AS row "
        "FROM (SELECT line, array_to_string([x.said for x in reasons], '; ') AS reason FROM typed "
        "WHERE len(reasons) > 0) r JOIN staged USING (line)"
    )
    bad = pa.table(
        {
            "line": pa.array([b.line for b in staged.bad], pa.int64()),
            "reason": pa.array([b.reason for b in staged.bad], pa.string()),
            "row": pa.array(['"withheld"' if hidden else b.text for b in staged.bad], pa.string()),
        }
    )
    if staged.bad:
        staging.connection.register("bad", bad)
        staging.connection.execute("INSERT INTO rejects SELECT line, reason, row FROM bad")
        staging.connection.unregister("bad")
    counted = staging.connection.execute(
        "SELECT words, count(DISTINCT line) FROM faults GROUP BY words"
    ).fetchall()
    return dict(counted) | dict(Counter(b.reason for b in staged.bad))


def _shown(column: FileColumn, hidden: dict[str, str]) -> str:
    """A cell in a rejected row: identifiers that are kept out of the store stay out of it too."""
    if column.ident in hidden:
        return f"CASE WHEN {column.ident} IS NOT NULL THEN 'withheld' END"
    if column.type in ("BIGINT", "DOUBLE", "BOOLEAN"):
        return column.ident
    return f"CAST({column.ident} AS VARCHAR)"


def _record_load(
    writer: Writer,
    staging: _Staging,
    load_id: str,
    file: str,
    about: _About,
    results: dict[str, Merged],
    read: int,
    refused: int,
) -> None:
    writer.run(sa.delete(rejected_rows).where(rejected_rows.c.load_id == load_id))
    writer.run(sa.delete(loads).where(loads.c.load_id == load_id))
    rejects = staging.batches(
        f"SELECT {literal(load_id)} AS load_id, line AS line_no, "  # noqa: S608 - quoted
        "replace(reason, chr(0), '\\0') AS reason, row FROM rejects ORDER BY line"
    )
    for batch in rejects:
        writer.append("rejected_rows", batch.cast(arrow_schema(rejected_rows)))
    row = {
        "load_id": load_id,
        "entity": ", ".join(results),
        "source": about.source,
        "file": file,
        "loaded_at": about.now,
        "rows_read": read,
        "rows_taken": sum(m.taken for m in results.values()),
        "rows_unchanged": sum(m.unchanged for m in results.values()),
        "rows_rejected": refused,
    }
    writer.append("loads", pa.Table.from_pylist([row], schema=arrow_schema(loads)))
