"""`make bench`: every command beside the same question as a plain script, and at growing sizes.

    python -m benchmarks [--full] [--only kpis,digest,rules,...]

It checks first that both give the same numbers, and writes results.md here. The ratios are what
counts: seconds are those of one machine on one day. Exits with 1 where an answer took longer than
its limit, or the script is faster by both clocks at a question's largest size.
"""

import argparse
import datetime as dt
import importlib.metadata
import itertools
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks import (
    bench_ab,
    bench_churn,
    bench_itemsets,
    bench_kpis,
    bench_load,
    bench_recommend,
    bench_rules,
    bench_segment,
    digest,
    large_ab,
)
from benchmarks.side_by_side import Row, slope
from benchmarks.stores import demo_file, twin_of

RESULTS = Path(__file__).with_name("results.md")
NAMES = ("kpis", "digest", "ab", "segment", "rules", "itemsets", "recommend", "churn", "load")
PACKAGES = (
    "duckdb",
    "sqlalchemy",
    "pandas",
    "scikit-learn",
    "mlxtend",
    "scipy",
    "numpy",
    "pyarrow",
)
#: More work than processors by this much is a busy machine, whose wall seconds say little.
BUSY = 0.5
#: Ratios of two measurements of the same differ by so much.
NOISE = 1.1
#: Nobody feels a shorter answer than this, in seconds.
FELT = 0.001

INTRODUCTION = """# Benchmarks

Written by `make bench`. *Ours* is the second or a later answer of one process, from the text of the
question to its Result with the receipt; *script* is the same question in `plain/`, in pandas,
scikit-learn, mlxtend or scipy, over the same DuckDB file, with its connection open. Both were held
to the same numbers before they were timed in turns (A B A B); seconds are medians. CPU seconds
count all threads. A ratio is our CPU seconds over the script's: below 1 we are faster. Memory is
what a fresh process takes to answer once, beyond its code.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 where a script was faster, or a limit was passed."""
    args = arguments().parse_args(argv)
    chosen = args.only.split(",") if args.only else NAMES
    started = time.monotonic()
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory(prefix="daybreak-bench-") as name:
        folder = Path(name)
        demo = demo_file(folder)
        twin = twin_of(demo)
        on_demo: list[Row] = []
        growing: list[Row] = []
        for rows, benches in (
            (on_demo, on_demo_of(chosen, demo, twin)),
            (growing, growing_of(chosen, demo, twin, args.full)),
        ):
            for row in itertools.chain.from_iterable(bench() for bench in benches):
                tell(row)
                rows.append(row)
                load.append(os.getloadavg()[0])
                seconds = time.monotonic() - started
                page = page_of(on_demo, growing, machine(load, seconds, full=args.full))
                if chosen == NAMES or args.write:  # so that a run cut short leaves what it found
                    RESULTS.write_text(page, encoding="utf-8")
    print(page)
    rows = [*on_demo, *growing]
    faults = [*(("SLOWER than the script", r) for r in rows if loses(r, rows))]
    faults += [("OVER its limit", r) for r in rows if r.ours.wall > (r.case.limit or math.inf)]
    for fault, row in faults:
        print(f"{fault}: {row.case.name}, {row.case.size:,} {row.case.unit}")
    return 1 if faults else 0


def loses(row: Row, rows: Sequence[Row]) -> bool:
    """Whether the script is felt to be faster, by both clocks, at the question's largest size."""
    largest = max(r.case.size for r in rows if r.case.name == row.case.name)
    slower = row.ours.wall > FELT and min(row.ratio, row.wall_ratio) > NOISE
    return row.case.size == largest and slower


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the large sizes too: half an hour")
    parser.add_argument("--only", default="", help=f"some of {','.join(NAMES)}")
    parser.add_argument("--write", action="store_true", help="write results.md with --only too")
    return parser


Bench = Callable[[], Iterable[Row]]


def on_demo_of(chosen: Sequence[str], demo: Path, twin: Path) -> list[Bench]:
    """The questions to the demo shop."""
    known = {
        "kpis": bench_kpis.on_demo,
        "ab": bench_ab.on_demo,
        "segment": bench_segment.on_demo,
        "rules": bench_rules.on_demo,
    }
    return [lambda b=known[name]: b(demo, twin) for name in chosen if name in known]


def growing_of(chosen: Sequence[str], demo: Path, twin: Path, full: bool) -> list[Bench]:
    """The questions at growing sizes."""
    folder = demo.parent
    known: dict[str, Bench] = {
        "kpis": lambda: bench_kpis.growing(demo, twin, full=full),
        "ab": lambda: large_ab.rows(folder),
        "segment": lambda: bench_segment.growing(folder, full=full),
        "rules": lambda: bench_rules.growing(folder, full=full),
        "itemsets": lambda: bench_itemsets.growing(folder, full=full),
        "recommend": lambda: bench_recommend.growing(folder, full=full),
        "churn": lambda: bench_churn.growing(folder, full=full),
        "digest": lambda: digest.growing(folder),
        "load": lambda: bench_load.growing(folder, full=full),
    }
    return [known[name] for name in chosen if name in known]


def tell(row: Row) -> None:
    """Say a row as soon as it is known."""
    print(
        f"{row.case.name}, {row.case.size:,} {row.case.unit}: {row.ours.cpu:.3f} s CPU, "
        f"script {row.theirs.cpu:.3f} s, ratio {row.ratio:.2f}",
        file=sys.stderr,
        flush=True,
    )


def page_of(on_demo: Sequence[Row], growing: Sequence[Row], about: str) -> str:
    """results.md."""
    parts = [INTRODUCTION, about]
    if on_demo:
        parts += ["\n## On the demo shop\n", table(on_demo)]
    if growing:
        parts += ["\n## At growing sizes\n", table(growing), "", slopes(growing)]
    return "\n".join(parts) + "\n"


def machine(load: Sequence[float], seconds: float, *, full: bool) -> str:
    """Where and when, and how busy it was."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in PACKAGES)
    busy = max(load) > BUSY + (cores or 1)
    note = (
        " **Others were at work on it: trust CPU seconds and ratios, not wall seconds.**"
        if busy
        else ""
    )
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, {'full' if full else 'default'} sizes, "
        f"{seconds:.0f} s in all. {platform.system()} {platform.machine()}, {cores} cores, load "
        f"{load[0]:.1f} at the start and {load[-1]:.1f} at the end.{note}\n\n"
        f"Python {platform.python_version()}, {versions}; "
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}."
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| Question | Size | Ours: CPU s | wall s | MB | Script: CPU s | wall s | MB | CPU ratio "
        "| Wall ratio | Limit s |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for r in rows:
        cells = [r.case.name, f"{r.case.size:,} {r.case.unit}"]
        for cost in (r.ours, r.theirs):
            peak = "–" if cost.peak is None else f"{cost.peak:,.0f}"
            cells += [f"{cost.cpu:.3f}", f"{cost.wall:.3f}", peak]
        cells += [f"**{r.ratio:.2f}**", f"{r.wall_ratio:.2f}"]
        cells.append("" if r.case.limit is None else f"{r.case.limit:g}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def slopes(rows: Sequence[Row]) -> str:
    """How the cost of each question grows."""
    lines = [
        "Growth: the slope of log CPU seconds over log size, 1 is in proportion.",
        "",
        "| Question | Sizes | Ours | Script |",
        "|---|---|--:|--:|",
    ]
    for name in dict.fromkeys(r.case.name for r in rows):
        found = [r for r in rows if r.case.name == name]
        sizes = [r.case.size for r in found]
        ours = slope(sizes, [r.ours.cpu for r in found])
        theirs = slope(sizes, [r.theirs.cpu for r in found])
        if ours is not None and theirs is not None:
            span = f"{sizes[0]:,} to {sizes[-1]:,} {found[0].case.unit}"
            lines.append(f"| {name} | {span} | {ours:.2f} | {theirs:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
