"""segment: the demo shop, and people of planted types in growing numbers."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from analytics.result import Note, Result, Table
from benchmarks.plain.segment import Segments, segments
from benchmarks.side_by_side import Case, Row, measure
from benchmarks.stores import (
    TODAY,
    asking,
    first_table,
    order_table,
    scripted,
    shop_of,
    twin_of,
)

#: Days since the last order, orders, pence per order and share of each planted type.
TYPES = ((6, 9, 30_000, 0.1), (14, 2, 2_500, 0.25), (50, 4, 9_000, 0.2), (120, 1, 60_000, 0.1),
         (210, 1, 1_500, 0.25), (180, 6, 20_000, 0.1))  # fmt: skip

#: Two fits by other seeds, one of them on a sample, may differ by so many people of all.
TOLERANCE = 0.02


def agree(ours: Result, theirs: Segments) -> None:
    """As many segments, of the same sizes (in order of revenue), with the same silhouette."""
    rows = first_table(ours)
    sizes, expected = [int(str(r["people"])) for r in rows], list(theirs.table["people"])
    if len(sizes) != len(expected):
        raise AssertionError(f"segments: ours {sizes}, the script's {expected}; {theirs.scores}")
    n = sum(expected)
    if sum(sizes) != n or max(abs(a - b) for a, b in zip(sizes, expected, strict=True)) > (
        TOLERANCE * n
    ):
        raise AssertionError(f"people: ours {sizes}, the script's {expected}")
    revenue = sum(int(str(r["revenue"])) for r in rows)
    if revenue != int(theirs.table["revenue"].sum()):
        raise AssertionError(f"revenue: ours {revenue}, the script's {theirs.table['revenue']}")
    notes = " ".join(p.text for p in ours.parts if isinstance(p, Note))
    said = re.search(r"silhouette (\d\.\d+)", notes)
    if not said or abs(float(said[1]) - theirs.scores[theirs.k][0]) > 0.02:
        raise AssertionError(f"silhouette: ours {said}, the script's {theirs.scores}")
    if not any(isinstance(p, Table) and "tell" in p.title for p in ours.parts):
        raise AssertionError("no rules to tell the segments")


def case(days: int, size: int, limit: float | None = None) -> Case:
    """The question over so many people."""
    question = f"segment last {days} days"
    return Case(
        question,
        size,
        "people",
        partial(asking, question=question),
        partial(scripted, script=segments, end=TODAY, days=days),
        agree,
        limit,
    )


def on_demo(demo: Path, twin: Path) -> list[Row]:
    """On the demo: a quarter, and all of it."""
    return [
        measure(case(90, 2_873, limit=3.0), demo, twin),
        measure(case(365, 4_243, limit=3.0), demo, twin),
    ]


def growing(folder: Path, *, full: bool) -> Iterator[Row]:
    """10 thousand, 100 thousand and, in full, a million people."""
    for n in (10_000, 100_000, 1_000_000) if full else (10_000, 100_000):
        file = shop_of(folder / f"people-{n}.duckdb", {"orders": orders_of(n)})
        limit = 5.0 if n == 1_000_000 else None
        yield measure(case(365, n, limit), file, twin_of(file), repeats=3 if n < 500_000 else 1)


def orders_of(n: int, seed: int = 5) -> pa.Table:
    """Orders of `n` people of the planted types, with log-normal spread, over a year."""
    rng = np.random.default_rng(seed)
    *habits, shares = (np.array(column) for column in zip(*TYPES, strict=True))
    kind = rng.choice(len(TYPES), n, p=shares)
    days, orders, pence = (habit[kind] for habit in habits)
    last = np.minimum(days * np.exp(rng.normal(0, 0.25, n)), 360).astype(int) + 1
    count = np.maximum(1, np.round(orders * np.exp(rng.normal(0, 0.2, n)))).astype(int)
    person = np.repeat(np.arange(n), count)
    nth = np.arange(len(person)) - np.repeat(np.cumsum(count) - count, count)
    day = np.minimum(last[person] + nth * (365 - last[person]) // (count[person] + 1), 364)
    day[0] = 1  # the clock of the store stands on the day after its last row
    amount = (pence[person] * np.exp(rng.normal(0, 0.4, len(person)))).astype(np.int64) + 1
    at = np.datetime64(TODAY, "us") - day.astype("timedelta64[D]") + np.timedelta64(12, "h")
    ids = pa.array([f"p{i:07}" for i in range(n)])
    return order_table(
        pa.array(np.arange(len(person))).cast(pa.string()),
        ids.take(pa.array(person)),
        pa.array(at),
        pa.array(amount),
    )
