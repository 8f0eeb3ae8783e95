"""ab on a large experiment, beside tea-tasting on the same store and pandas + scipy on its rows.

    python -m benchmarks.large_ab [people] [events]

Of `people` each sees one of two variants within 14 days and has five events on average; one in ten
orders. All three answer: share of people who order and revenue per person, with the lift and its
interval. Ours also checks the experiment's health and watches guardrails. tea-tasting is left out
where it is not installed.
"""

import datetime as dt
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

from analytics.command import Context
from bot.dispatch import answer
from storage.engines import arrow_type
from storage.schema import metadata
from storage.store import Store

START = np.datetime64("2026-09-01", "us")
DAY = np.timedelta64(86_400_000_000, "us")
NOW = dt.datetime(2026, 9, 15, 9, tzinfo=dt.UTC)
REPEATS = 5


def write(store: Store, table: str, columns: dict[str, pa.Array]) -> None:
    """Columns into a table; those that are left out are null."""
    rows = len(next(iter(columns.values())))
    columns = {**columns, "source": pa.repeat("made up", rows)}
    full = {
        c.name: columns.get(c.name, pa.nulls(rows)).cast(arrow_type(c.type))
        for c in metadata.tables[table].columns
    }
    with store.engine.writing() as writer:
        writer.append(table, pa.table(full))


def fill(store: Store, people: int, events: int, seed: int = 9) -> None:
    """Exposures, orders and events."""
    draws = np.random.default_rng(seed)
    ids = pa.array([f"p{i:07}" for i in range(people)])
    comes = draws.uniform(0, 14, people)
    treated = draws.random(people) < 0.5
    write(
        store,
        "exposures",
        {
            "experiment": pa.repeat("large", people),
            "person_id": ids,
            "variant": pa.array(["control", "treatment"]).take(pa.array(treated.astype(int))),
            "exposed_at": pa.array(at(comes)),
        },
    )
    buys = np.flatnonzero(draws.random(people) < np.where(treated, 0.103, 0.1))
    cents = np.exp(draws.normal(8.0, 1.0, len(buys))).astype(np.int64) + 1
    write(
        store,
        "orders",
        {
            "order_id": pa.array([f"o{i:07}" for i in range(len(buys))]),
            "person_id": ids.take(pa.array(buys)),
            "ordered_at": pa.array(
                at(np.minimum(comes[buys] + draws.uniform(0, 2, len(buys)), 14))
            ),
            "kind": pa.repeat("sale", len(buys)),
            "amount_cents": pa.array(cents),
        },
    )
    who = draws.integers(0, people, events)
    write(
        store,
        "events",
        {
            "event_id": pa.array([f"e{i:08}" for i in range(events)]),
            "person_id": ids.take(pa.array(who)),
            "session_id": pa.array(who).cast(pa.string()),
            "at": pa.array(at(comes[who] + draws.uniform(-0.01, 0.01, events))),
            "name": pa.repeat("visit", events),
            "device": pa.array(["desktop", "mobile"]).take(pa.array(who % 2)),
        },
    )


def at(days: np.ndarray) -> np.ndarray:
    """Days since the start as instants."""
    return START + (days * (DAY / np.timedelta64(1, "us"))).astype("timedelta64[us]")


PER_PERSON = """
    SELECT e.variant, e.person_id, count(o.order_id) > 0 AS ordered,
           coalesce(sum(o.amount_cents), 0) AS revenue
    FROM exposures e LEFT JOIN orders o
      ON o.person_id = e.person_id AND o.ordered_at >= e.exposed_at AND o.kind = 'sale'
    WHERE e.experiment = 'large' GROUP BY ALL
"""


def plain(connection: duckdb.DuckDBPyConnection) -> list[float]:
    """pandas + scipy: a row per person, Welch's test, the lift by the delta method."""
    rows = connection.execute(PER_PERSON).df()
    lifts = []
    for column in ("ordered", "revenue"):
        a, b = (rows.loc[rows["variant"] == v, column].astype(float) for v in ARMS)
        stats.ttest_ind(b, a, equal_var=False)
        ratio = b.mean() / a.mean()
        spread = b.var() / len(b) + ratio**2 * a.var() / len(a)
        half = 1.96 * spread**0.5 / a.mean()
        lifts += [ratio - 1, ratio - 1 - half, ratio - 1 + half]
    return lifts


ARMS = ("control", "treatment")


def tea(connection: duckdb.DuckDBPyConnection) -> list[float]:
    """tea-tasting on the same store: its aggregates are pushed down to the engine."""
    import ibis
    import tea_tasting as tt

    backend = ibis.duckdb.from_connection(connection)
    table = backend.sql(PER_PERSON)
    table = table.mutate(ordered=table.ordered.cast("int"))
    found = tt.Experiment(ordered=tt.Mean("ordered"), revenue=tt.Mean("revenue")).analyze(
        table, control="control"
    )
    parts = ("rel_effect_size", "rel_effect_size_ci_lower", "rel_effect_size_ci_upper")
    return [getattr(metric, part) for metric in found.values() for part in parts]


def told(ask: Callable[[], object]) -> str:
    """Median and largest wall seconds, and median CPU seconds, after an ask that is not counted."""
    ask()
    wall, cpu = [], []
    for _ in range(REPEATS):
        started = time.perf_counter(), time.process_time()
        ask()
        wall.append(time.perf_counter() - started[0])
        cpu.append(time.process_time() - started[1])
    return f"{np.median(wall):6.2f} {max(wall):6.2f} {np.median(cpu):6.2f}"


def main() -> None:
    """Fill, ask, print."""
    sizes = [int(a) for a in sys.argv[1:]]
    people, events = (*sizes, *(1_000_000, 5_000_000)[len(sizes) :])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.duckdb"
        store = Store.open(f"duckdb:///{file}")
        fill(store, people, events)
        ctx = Context(store=store, now=NOW, zone=ZoneInfo("UTC"), currency="EUR")
        print(
            f"{people:,} people, {events:,} events: seconds, median and largest of {REPEATS}, CPU"
        )
        for question in ("ab large", "ab large metric conversion", "ab large by device"):
            print(f"  {question:<28} {told(partial(answer, question, ctx))}", flush=True)
        print(answer("ab large", ctx).result.headline)
        store.close()
        with duckdb.connect(str(file), read_only=True) as connection:
            print(f"  {'pandas + scipy':<28} {told(lambda: plain(connection))}")
            try:
                print(f"  {'tea-tasting':<28} {told(lambda: tea(connection))}")
            except ImportError as missing:
                print(f"  tea-tasting is not installed ({missing.name})")
            print("  lifts by the script:", pd.Series(plain(connection)).round(5).tolist())


if __name__ == "__main__":
    main()
