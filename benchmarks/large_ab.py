"""ab on a large experiment, beside tea-tasting on the same store and pandas + scipy on its rows.

    python -m benchmarks.large_ab [people] [events]

Of `people` each sees one of two variants within 14 days and has five events on average; one in ten
orders. All three answer: share of people who order and revenue per person, with the lift and its
interval. Ours also checks the experiment's health and watches guardrails; it is asked from the
day's snapshot, as everybody but the first asker of a day is, and with `fresh`, which reads the
store. Others' lifts are held to ours. `make bench` has the snapshot beside both.
"""

import datetime as dt
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
from scipy import stats

from analytics.command import Context
from analytics.result import Result, Table
from benchmarks.side_by_side import Case, Row, measure, same
from bot.dispatch import answer
from storage.engines import arrow_type
from storage.schema import metadata
from storage.state import State
from storage.store import Store

START = np.datetime64("2026-09-01", "us")
DAY = np.timedelta64(86_400_000_000, "us")
NOW = dt.datetime(2026, 9, 15, 9, tzinfo=dt.UTC)
PEOPLE, EVENTS = 1_000_000, 5_000_000
FRESH_ASKS, KEPT_ASKS = 5, 40
#: By so much a lift of revenue may differ because only ours is capped.
CAP_MOVES = 0.05

QUESTION = "ab large"


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
                at(np.minimum(comes[buys] + draws.uniform(0, 2, len(buys)), 13.999))
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
    for column in METRICS:
        a, b = (rows.loc[rows["variant"] == v, column].astype(float) for v in ARMS)
        stats.ttest_ind(b, a, equal_var=False)
        ratio = b.mean() / a.mean()
        spread = b.var() / len(b) + ratio**2 * a.var() / len(a)
        half = 1.96 * spread**0.5 / a.mean()
        lifts += [ratio - 1, ratio - 1 - half, ratio - 1 + half]
    return lifts


ARMS = ("control", "treatment")
METRICS = {"ordered": "People who ordered", "revenue": "Revenue per person"}


def tea(connection: duckdb.DuckDBPyConnection) -> list[float]:
    """tea-tasting on the same store: its aggregates are pushed down to the engine."""
    import tea_tasting as tt

    with warnings.catch_warnings():  # others' deprecations
        warnings.simplefilter("ignore")
        people = connection.sql(f"SELECT * REPLACE (ordered::INT AS ordered) FROM ({PER_PERSON})")
        metrics = {m: tt.Mean(m) for m in METRICS}
        found = tt.Experiment(**metrics).analyze(people, control="control")
    parts = ("rel_effect_size", "rel_effect_size_ci_lower", "rel_effect_size_ci_upper")
    return [getattr(found[metric], part) for metric in METRICS for part in parts]


@contextmanager
def asking(file: Path, question: str) -> Iterator[Callable[[], Result]]:
    """Our side: from text to Result, with a memory of its own beside the store."""
    store = Store.open(f"duckdb:///{file}")
    state = State.open(f"sqlite:///{file.with_suffix('.state')}")
    zone = ZoneInfo("UTC")
    ctx = Context(store=store, now=NOW, zone=zone, currency="EUR", state=state)
    try:
        yield lambda: answer(question, ctx).result
    finally:
        state.close()
        store.close()


@contextmanager
def scripted(
    file: Path, script: Callable[[duckdb.DuckDBPyConnection], list[float]]
) -> Iterator[Callable[[], list[float]]]:
    """Their side: over a connection of its own."""
    with duckdb.connect(str(file), read_only=True) as connection:
        yield lambda: script(connection)


def agree(ours: Result, theirs: list[float]) -> None:
    """Lifts of both metrics: the share to 1e-9; revenue is capped by us alone, so roughly.

    Intervals differ: ours holds however often one looks, theirs for a single look.
    """
    table = next(p for p in ours.parts if isinstance(p, Table) and p.title.startswith("Metrics"))
    keys = [c.key for c in table.columns]
    lifts = {row[keys.index("metric")]: row[keys.index("lift")] for row in table.rows}
    for i, (metric, label) in enumerate(METRICS.items()):
        ours_is, theirs_is = float(lifts[label] or 0), theirs[3 * i]  # type: ignore[arg-type]
        if metric == "ordered":
            same(f"lift of {metric}", ours_is, theirs_is)
        elif abs(ours_is - theirs_is) > CAP_MOVES:
            raise AssertionError(f"lift of {metric}: ours {ours_is}, theirs {theirs_is}")


def large_file(folder: Path, people: int = PEOPLE, events: int = EVENTS) -> Path:
    """A store that holds the experiment."""
    file = folder / "large.duckdb"
    store = Store.open(f"duckdb:///{file}")
    fill(store, people, events)
    store.close()
    return file


def rows(folder: Path) -> Iterator[Row]:
    """For `make bench`: from the day's snapshot, beside each of the others."""
    file = large_file(folder)
    twin = file.with_name("large-twin.duckdb")
    twin.write_bytes(file.read_bytes())
    for name, script in (("pandas + scipy", plain), ("tea-tasting", tea)):
        question = partial(asking, question=QUESTION)
        theirs = partial(scripted, script=script)
        case = Case(
            f"{QUESTION}, snapshot, beside {name}", PEOPLE, "people", question, theirs, agree, 2.0
        )
        yield measure(case, file, twin)


def told(ask: Callable[[], object], asks: int) -> str:
    """Median and 95th percentile of wall seconds, median CPU, after an ask that is not counted."""
    ask()
    wall, cpu = [], []
    for _ in range(asks):
        started = time.perf_counter(), time.process_time()
        ask()
        wall.append(time.perf_counter() - started[0])
        cpu.append(time.process_time() - started[1])
    p95 = np.quantile(wall, 0.95, method="inverted_cdf")
    return f"{np.median(wall):7.3f} {p95:7.3f} {np.median(cpu):7.3f}   {asks}"


def main() -> None:
    """Fill, ask, print."""
    sizes = [int(a) for a in sys.argv[1:]]
    people, events = (*sizes, *(PEOPLE, EVENTS)[len(sizes) :])
    with tempfile.TemporaryDirectory() as folder:
        file = large_file(Path(folder), people, events)
        print(f"{people:,} people, {events:,} events: seconds, median and p95, CPU; asks")
        for more in ("", " by device", " days", " metric conversion", " metric p90 order value"):
            for fresh, asks in ((" fresh", FRESH_ASKS), ("", KEPT_ASKS)):
                question = QUESTION + fresh + more
                with asking(file, question) as ask:
                    print(f"  {question:<42} {told(ask, asks)}", flush=True)
        with asking(file, QUESTION) as ask:
            ours = ask()
        print(ours.headline)
        for name, script in (
            ("pandas + scipy, two metrics", plain),
            ("tea-tasting, the same", tea),
        ):
            with scripted(file, script) as theirs:
                agree(ours, theirs())
                print(f"  {name:<42} {told(theirs, FRESH_ASKS)}", flush=True)


if __name__ == "__main__":
    main()
