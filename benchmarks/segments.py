"""Segments at growing sizes, beside the same question as a plain pandas and scikit-learn script.

    python -m benchmarks.segments [10000 100000 1000000]

Each size is a DuckDB store of people of six planted types with two orders each on average. Printed
are the wall seconds of `segment` from the question to the Result, of the script over the same
store, their ratio, the agreement with the planted types (adjusted Rand index) and the memory; then
the agreement where the types overlap.
"""

import datetime as dt
import resource
import sys
import time
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.preprocessing import StandardScaler

from analytics.command import Context
from analytics.commands.segment import Segment
from analytics.methods.portraits.clustering import (
    FIT_ON,
    assign,
    centres_of,
    choose_k,
    one_thread,
)
from analytics.methods.portraits.scaling import fit_scaler
from analytics.period import parse_period
from analytics.segments import group, known_people
from storage.store import Store

NOW = dt.datetime(2026, 10, 10, 10, tzinfo=dt.UTC)
TODAY = NOW.date()
PERIOD = parse_period("last 365 days", TODAY)
#: The plain script measures silhouettes on a sample, or it would never end.
SILHOUETTE_ON = 5_000

#: Days since the last order, orders and cents per order of each type; spread is log-normal.
TYPES = ((6, 9, 30_000), (14, 2, 2_500), (50, 4, 9_000), (120, 1, 60_000), (210, 1, 1_500),
         (180, 6, 20_000))  # fmt: skip
SHARES = (0.1, 0.25, 0.2, 0.1, 0.25, 0.1)


def people(n: int, seed: int = 5) -> tuple[pa.Table, np.ndarray]:
    """Orders of `n` people, and each person's type in the order of ids."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(len(TYPES), n, p=SHARES)
    days, orders, cents = (np.array(column)[kind] for column in zip(*TYPES, strict=True))
    last = np.minimum(days * np.exp(rng.normal(0, 0.25, n)), 360).astype(int) + 1
    count = np.maximum(1, np.round(orders * np.exp(rng.normal(0, 0.2, n)))).astype(int)
    person = np.repeat(np.arange(n), count)
    nth = np.arange(len(person)) - np.repeat(np.cumsum(count) - count, count)
    day = np.minimum(last[person] + nth * (365 - last[person]) // (count[person] + 1), 364)
    amount = (cents[person] * np.exp(rng.normal(0, 0.4, len(person)))).astype(np.int64) + 1
    at = np.datetime64(PERIOD.end, "us") - day.astype("timedelta64[D]") + np.timedelta64(12, "h")
    ids = pa.array([f"p{i:07}" for i in range(n)])
    rows = len(person)
    table = pa.table(
        {
            "order_id": pa.array(np.arange(rows)).cast(pa.string()),
            "person_id": ids.take(pa.array(person)),
            "ordered_at": pa.array(at),
            "kind": pa.array(["sale"] * rows),
            "amount_cents": pa.array(amount),
            **{name: pa.nulls(rows, pa.string()) for name in ("country", "channel", "device")},
            "source": pa.array(["benchmark"] * rows),
        }
    )
    return table, kind


def script(connection: duckdb.DuckDBPyConnection) -> np.ndarray:
    """The same question, as one would write it in a notebook: labels in the order of ids."""
    orders = connection.sql("SELECT person_id, order_id, ordered_at, amount_cents FROM orders").df()
    end = pd.Timestamp(PERIOD.end)
    rfm = orders.groupby("person_id").agg(
        last=("ordered_at", "max"), orders=("order_id", "count"), revenue=("amount_cents", "sum")
    )
    rfm["recency"] = (end - rfm.pop("last")).dt.days
    points = StandardScaler().fit_transform(np.log1p(rfm[["recency", "orders", "revenue"]]))
    best = (-1.0, points[:, 0])
    for k in range(2, 9):
        labels = KMeans(k, n_init=10, random_state=0).fit_predict(points)
        size = min(SILHOUETTE_ON, len(points))
        score = silhouette_score(points, labels, sample_size=size, random_state=0)
        best = max(best, (score, labels), key=lambda pair: pair[0])
    return best[1]


def overlapping(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Twelve log-normal traits of six types that overlap, 2 % of the people strays (type -1)."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(6, n, p=rng.dirichlet(np.full(6, 4.0)))
    centres, spreads = rng.normal(0, 0.8, (6, 12)), rng.uniform(0.4, 0.9, (6, 12))
    traits = np.exp(centres[kind] + spreads[kind] * rng.normal(size=(n, 12)))
    stray = rng.random(n) < 0.02
    traits[stray] = np.exp(rng.normal(0, 3.0, (int(stray.sum()), 12)))
    return traits, np.where(stray, -1, kind)


def agreement_where_types_overlap(n: int) -> tuple[int, float]:
    """The number of groups that is chosen, and their agreement with the planted types."""
    traits, kind = overlapping(n)
    points = fit_scaler(traits).apply(traits)
    with one_thread():
        choice = choose_k(points[:FIT_ON])
        labels = assign(points, centres_of(points[:FIT_ON], choice.k))
    known = kind >= 0
    return choice.k, float(adjusted_rand_score(kind[known], labels[known]))


def main(sizes: list[int]) -> None:
    """One line per size."""
    print("people     segment s  script s  ratio  ARI      ARI k=6  ARI script  peak MB")
    for n in sizes:
        store = Store.open("duckdb:///:memory:")
        orders, kind = people(n)
        with store.engine.writing() as writer:
            writer.append("orders", orders)
        ctx = Context(store=store, now=NOW, zone=ZoneInfo("Europe/Berlin"), currency="EUR")
        took = []
        for _ in range(1 if n > 500_000 else 3):
            started = time.perf_counter()
            Segment(period=PERIOD).run(ctx)
            took.append(time.perf_counter() - started)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        known = known_people(ctx, PERIOD, Segment(period=PERIOD).where)
        with one_thread():
            free, asked = (group(known, k, "kmeans", "log").labels for k in (None, 6))
        plain = duckdb.connect()
        plain.register("orders", orders)
        started = time.perf_counter()
        theirs = script(plain)
        other = time.perf_counter() - started
        agreement = [adjusted_rand_score(kind, labels) for labels in (free, asked, theirs)]
        print(
            f"{n:<10} {min(took):<10.2f} {other:<9.2f} {other / min(took):<6.1f} "
            f"{agreement[0]:<8.3f} {agreement[1]:<8.3f} {agreement[2]:<11.3f} {peak}",
            flush=True,
        )
        store.close()
    for n in sizes:
        k, agreed = agreement_where_types_overlap(n)
        print(f"{n:<10} people of 6 types that overlap: {k} groups, ARI {agreed:.3f}")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [10_000, 100_000, 1_000_000])
