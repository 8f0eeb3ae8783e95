"""Totals per day: seven questions with and without them, and what they add to a load.

    python -m benchmarks.totals [MILLIONS ...]

The rows are those of `benchmarks.digest`, in DuckDB. Each answer from totals is held to that from
the rows before its time is kept; seconds are the smallest of three. The load is of the last 100,000
events: into a store of the rest, whose totals follow.
"""

import argparse
import datetime as dt
import shutil
import sys
import tempfile
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb

from analytics.command import Context
from analytics.totals import Totals
from benchmarks.digest import made_up
from benchmarks.engines import QUESTIONS, answers
from benchmarks.stores import TODAY
from storage.load.load import load_tables, rebuild_totals
from storage.store import Store

ZONE = ZoneInfo("UTC")
LOADED = 100_000


def asked(store: Store) -> dict[str, tuple[object, float]]:
    """The last answer to each question, and the smallest of its seconds."""
    ctx = Context(store, dt.datetime.combine(TODAY, dt.time(9), dt.UTC), ZONE, "EUR")
    found = {}
    for question in QUESTIONS:
        said, seconds = zip(*answers(question, ctx), strict=True)
        found[question] = (said[-1], min(seconds))
    return found


def loading(file: Path, *, keep: bool) -> float:
    """Seconds of loading the last events into a store that lacks them."""
    copy = file.with_name(f"loading-{keep}.duckdb")
    shutil.copyfile(file, copy)
    newest = f'SELECT * FROM events ORDER BY "at" DESC, event_id LIMIT {LOADED}'
    with duckdb.connect(str(copy)) as connection:
        result = connection.execute(newest)
        rows = result.to_arrow_table() if hasattr(result, "to_arrow_table") else result.arrow()
        connection.execute(
            f"DELETE FROM events WHERE event_id IN (SELECT event_id FROM ({newest}))"
        )
    store = Store.open(f"duckdb:///{copy}")
    if keep:
        store.keep(Totals(ZONE))
        rebuild_totals(store)
    began = time.perf_counter()
    load_tables(store, {"events": rows.drop_columns(["source"])}, source="s", description="d")
    seconds = time.perf_counter() - began
    if keep and store.totals() is None:
        raise AssertionError("the totals did not follow the load")
    store.close()
    copy.unlink()
    return seconds


def main() -> int:
    """Measure and print; 1 where an answer differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("millions", type=int, nargs="*", default=[1, 5])
    differing = 0
    for millions in parser.parse_args().millions:
        with tempfile.TemporaryDirectory(prefix="daybreak-totals-") as folder:
            file = made_up(Path(folder) / "rows.duckdb", millions * 1_000_000)
            store = Store.open(f"duckdb:///{file}")
            rows = asked(store)
            store.keep(Totals(ZONE))
            began = time.perf_counter()
            rebuild_totals(store)
            built = time.perf_counter() - began
            totals = asked(store)
            store.close()
            print(f"\n{millions} million events; all totals made in {built:.2f} s\n")
            print("| Question | from rows, s | from totals, s | ratio |\n|---|--:|--:|--:|")
            for question, (said, seconds) in rows.items():
                other, faster = totals[question]
                differing += other != said
                differs = " differs" if other != said else ""
                ratio = faster / seconds
                print(f"| `{question}` | {seconds:.3f} | {faster:.3f} | {ratio:.2f}{differs} |")
            without, beside = loading(file, keep=False), loading(file, keep=True)
            print(f"\nLoading {LOADED:,} events: {without:.2f} s, with totals {beside:.2f} s")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
