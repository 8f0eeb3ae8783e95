"""churn of people too many to be read at once: everybody at once, beside a sample and parts.

    python -m benchmarks.crowd [3000000]

Each way answers once in a process of its own over one DuckDB file, with nothing cached. Printed are
seconds, the peak of memory beyond what was there before the question (the engine's own is in it),
the headline, and the areas under the curve in the test.
"""

import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest.mock import patch

from analytics.commands import churn
from analytics.parts import MOST_PEOPLE
from analytics.result import Result, Table
from benchmarks.bench_churn import QUESTION, fill
from benchmarks.engines import forget_peak
from benchmarks.large_ab import asking
from benchmarks.side_by_side import memory
from storage.store import Store

#: People at once, and people to learn from: the first is all at once.
WAYS = (
    (10**12, 10**12),
    (MOST_PEOPLE, churn.LEARN_FROM),
    (MOST_PEOPLE, 200_000),
    (MOST_PEOPLE, 50_000),
    (500_000, churn.LEARN_FROM),
)


def answered(file: Path, most: int, learn_from: int) -> tuple[float, float, float, Result]:
    """Wall and CPU seconds, megabytes, and the answer; in this process."""
    with (
        patch.object(churn, "MOST_PEOPLE", most),
        patch.object(churn, "LEARN_FROM", learn_from),
        asking(file, QUESTION) as ask,
    ):
        before = memory("VmRSS") or 0.0
        forget_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        result = ask()
        took = time.perf_counter() - wall, time.process_time() - cpu
        peak = (memory("VmHWM") or 0.0) - before
    return *took, peak, result


def areas(result: Result) -> str:
    """Of each kind of model, the area under the curve and its 95 %."""
    tables = (p for p in result.parts if isinstance(p, Table))
    quality = next(t for t in tables if t.title.startswith("How good"))
    return "; ".join("{} {} ({} to {})".format(*row[:4]) for row in quality.rows)


def main(people: int) -> None:
    """One line per way."""
    fresh = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="daybreak-crowd-") as folder:
        file = Path(folder) / "crowd.duckdb"
        store = Store.open(f"duckdb:///{file}")
        fill(store, people)
        store.close()
        print(f"{QUESTION}, {people:,} people")
        for most, learn_from in WAYS:
            with ProcessPoolExecutor(1, mp_context=fresh) as pool:
                asked = pool.submit(answered, file, min(most, people), learn_from)
                wall, cpu, peak, result = asked.result()
            parts = -(-people // most)
            way = f"{parts} parts, learnt from {learn_from:,}" if parts > 1 else "all at once"
            print(f"{way:<34} {wall:6.1f} s {cpu:6.1f} CPU s {peak:7,.0f} MB")
            print(f"    {result.headline}\n    {areas(result)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3_000_000)
