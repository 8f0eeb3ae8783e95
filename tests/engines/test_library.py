"""The cluster's own library finds what we find, is stopped as questions are, and outlives a worker.

Groceries and MovieLens small fit both. Their baskets and purchases are Parquet files that Spark
reads; the same rows are in DuckDB.
"""

import dataclasses
import datetime as dt
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from analytics import crowd, market
from analytics.command import Context
from analytics.methods import itemsets as miner
from analytics.methods.embeddings import Embeddings
from analytics.methods.itemsets import Baskets, Itemsets, frequent_itemsets
from analytics.methods.portraits.clustering import one_thread
from analytics.methods.recommenders import Log, Recommender, fit, quality
from analytics.result import Note, Result, Table
from bot.dispatch import answer
from bot.moving import comparable
from storage.engines import QueryCancelledError, mllib
from storage.schema import metadata, order_lines, orders
from storage.store import Store
from tests.commands.test_recommend import market as two_tastes
from tests.conftest import fill
from tests.data import shared
from tests.engines.cluster import Cluster, started
from tests.methods.groceries import groceries_lines

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("ignore::Warning:pyspark")]

NOW = dt.datetime(2026, 10, 10, 10, tzinfo=dt.UTC)
FIRST = dt.datetime(2026, 9, 10)

#: Baskets as the commands hand them to the library.
BASKETS = sa.select(
    order_lines.c.order_id.label("basket"),
    order_lines.c.item_id.label("item"),
    sa.case((orders.c.ordered_at >= FIRST + dt.timedelta(days=15), 1), else_=0).label("late"),
).join_from(order_lines, orders, order_lines.c.order_id == orders.c.order_id)
PAIRS = sa.select(
    orders.c.person_id.label("person"), order_lines.c.item_id.label("item")
).join_from(order_lines, orders, order_lines.c.order_id == orders.c.order_id)


@dataclasses.dataclass(frozen=True)
class Both:
    """The same rows here and on the cluster."""

    here: Context
    there: Context

    def table(self, text: str) -> tuple[Table, Table]:
        """Each one's first table."""
        tables = (table_of(answer(text, ctx).result) for ctx in (self.here, self.there))
        return next(tables), next(tables)


def table_of(result: Result) -> Table:
    return next(p for p in result.parts if isinstance(p, Table))


def notes_of(result: Result) -> str:
    return " ".join(p.text for p in result.parts if isinstance(p, Note))


def on_both(cluster: Cluster, folder: Path, tables: dict[str, list[dict[str, Any]]]) -> Both:
    """Rows in DuckDB, and as Parquet files of the cluster."""
    here = Store.open("duckdb:///:memory:")
    fill(here, **tables)
    for name in tables:
        (folder / name).mkdir()
        rows = here.fork().arrow(sa.select(metadata.tables[name]))
        pq.write_table(rows, folder / name / "part-0.parquet")
    there = Store.open(f"{cluster.url}?tables={folder}")
    zone = ZoneInfo("Europe/Berlin")
    contexts = (Context(store=s, now=NOW, zone=zone, currency="EUR") for s in (here, there))
    return Both(*contexts)


def sold(pairs: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Orders of `order`, `person`, `item` and `day`."""
    first = pairs.drop_duplicates("order")
    return {
        "orders": [
            {"order_id": o, "person_id": p, "ordered_at": FIRST + dt.timedelta(days=d),
             "kind": "sale", "amount_cents": 100}
            for o, p, d in zip(first["order"], first["person"], first["day"].tolist(), strict=True)
        ],
        "order_lines": [
            {"order_id": o, "line_no": n, "item_id": i, "quantity": 1, "amount_cents": 100}
            for n, (o, i) in enumerate(zip(pairs["order"], pairs["item"], strict=True))
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def groceries(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """9,835 baskets over thirty days."""
    lines = groceries_lines()
    pairs = pd.DataFrame(
        {"order": lines["basket"].astype(str), "person": None, "item": lines["item"],
         "day": lines["basket"] % 30}
    )  # fmt: skip
    both = on_both(cluster, tmp_path_factory.mktemp("groceries"), sold(pairs))
    yield both
    both.there.store.close()
    both.here.store.close()


@pytest.fixture(scope="module")
def films() -> pd.DataFrame:
    """MovieLens small: `person`, `item`, and `late`: whether it is among a person's last five."""
    found = pd.read_csv(shared("movielens_small_2016/ratings.csv.gz"))
    found = found.sort_values(["userId", "timestamp", "movieId"], kind="stable")
    late = found.groupby("userId").cumcount(ascending=False) < 5
    return pd.DataFrame(
        {"person": found["userId"].astype(str), "item": found["movieId"].astype(str), "late": late}
    )


@pytest.fixture(scope="module")
def tastes(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """People of two tastes, one of whom refuses."""
    refused = {"person_id": "p001", "purpose": "Profiling", "granted": False}
    consents = [refused | {"at": FIRST}, refused | {"person_id": "p003", "at": FIRST},
                {"person_id": "p003", "purpose": "profiling", "granted": True, "at": FIRST
                 + dt.timedelta(days=1)}]  # fmt: skip
    folder = tmp_path_factory.mktemp("tastes")
    both = on_both(cluster, folder, two_tastes() | {"consents": consents})
    yield both
    both.there.store.close()
    both.here.store.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fits this process, and fits are short."""
    monkeypatch.setattr(crowd, "MOST_PURCHASES", 100)
    monkeypatch.setattr(crowd, "WIDTH", 8)
    monkeypatch.setattr(crowd, "ROUNDS", 2)
    monkeypatch.setattr(mllib, "LEAST_BLOCKS", 2)


# -- itemsets


def test_mllibs_itemsets_are_ours(groceries: Both) -> None:
    ours = frequent_itemsets(Baskets.from_lines(groceries_lines()), min_support=0.001)
    found = groceries.there.store.fork().by_library(
        "itemsets", BASKETS, minimum=10, longest=None, most=miner.MOST_ITEMSETS
    )
    theirs = Itemsets.of_sets(
        found.column("items").to_pylist(),
        found.column("baskets").to_numpy(),
        n_baskets=9_835,
        engine="Spark MLlib",
    )
    assert len(theirs) == 13_492
    one, other = (dict(zip(f["itemsets"], f["count"], strict=True)) for f in
                  (theirs.frame(), ours.frame()))  # fmt: skip
    assert one == other


@pytest.mark.parametrize(
    "text",
    ["rules last 30 days min-support 0.3% min-lift 1.5", "bundle last 30 days min-support 0.3%"],
)
def test_commands_answer_the_same_through_the_library(
    text: str, groceries: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = answer(text, groceries.here).result
    monkeypatch.setattr(market, "MOST_LINES", 1_000)
    there = answer(text, groceries.there).result
    assert "Found in 9,835 orders by Spark MLlib" in notes_of(there)
    assert "counted all of them where they are" in notes_of(there)
    assert there.headline == here.headline
    same = (comparable(dataclasses.replace(r, parts=(table_of(r),))) for r in (here, there))
    assert next(same) == next(same)
    assert len(table_of(here).rows) > 50


def test_what_is_too_much_is_refused_with_a_support_that_fits(
    groceries: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market, "MOST_LINES", 1_000)
    monkeypatch.setattr(market, "MOST_ITEMSETS", 200)
    answered = answer("rules last 30 days min-lift 1", groceries.there).result
    assert "support was raised to 2 % to fit" in notes_of(answered)


# -- recommending


def test_als_of_the_cluster_is_as_good_as_ours(
    cluster: Cluster, films: pd.DataFrame, tmp_path: Path
) -> None:
    early = films[~films["late"]]
    often = early["item"].map(early["item"].value_counts()) >= 5
    pairs = early[often].assign(order=lambda f: [str(n) for n in range(len(f))], day=0)
    both = on_both(cluster, tmp_path, sold(pairs))
    log = Log.of(films["person"], films["item"], films["late"].astype(int))
    before, after = log.table(log.day == 0), log.table(log.day == 1)
    kept = np.flatnonzero(np.asarray(before.sum(axis=0)).ravel() >= 5)
    known = before[:, kept].tocsr()

    def ndcg(model: Recommender) -> float:
        shown = model.best(known)
        return quality(np.where(shown >= 0, kept[shown], -1), after).ndcg

    found = both.there.store.fork().by_library(
        "factors", PAIRS, pairs=len(pairs), width=crowd.WIDTH, rounds=crowd.ROUNDS, extra=1.0,
        held_back=crowd.HELD_BACK,
    ).to_pandas().set_index("item")  # fmt: skip
    vectors = np.stack(list(found["vector"].loc[log.items[kept]])).astype(float)
    gram = vectors.T @ vectors
    popular = np.asarray(known.sum(axis=0), dtype=np.float32).ravel()
    theirs = Recommender(
        "als", popular, embeddings=Embeddings(vectors, gram, crowd.HELD_BACK, crowd.DIGITS)
    )
    with one_thread():
        by_als, by_ours = ndcg(theirs), ndcg(fit("embedding", known))
        by_ease, by_popularity = ndcg(fit("ease", known)), ndcg(fit("popularity", known))
    assert by_als >= 0.95 * max(by_ours, by_ease)
    assert by_als >= 1.6 * by_popularity
    both.there.store.close()
    both.here.store.close()


def test_purchases_that_stay_away_are_recommended_from(tastes: Both, quick: None) -> None:
    text = "recommend each person last 365 days"
    said = answer(text, tastes.there).result
    assert "By ALS" in said.headline
    assert "fitted ALS to all of them where they are" in notes_of(said)
    assert "1 person left out" in notes_of(said)
    here = answer(text, tastes.here).result
    for end in ("1,686 purchases of 246 people and 26 items", "1 item with fewer than 5 buyers"):
        assert end in notes_of(said)
        assert end in notes_of(here)
    rows = {r[0]: r[1:4] for r in table_of(said).rows}
    assert list(rows) == [r[0] for r in table_of(here).rows]  # the same people, in the same order
    assert "p001" not in rows
    assert "p003" in rows
    fits = [
        tastes.there.store.fork()
        .by_library("factors", PAIRS, pairs=1, width=8, rounds=2, extra=1.0, held_back=0.05)
        .to_pandas()
        .set_index("item")["vector"]
        .sort_index()
        for _ in range(2)
    ]
    assert np.allclose(*(np.stack(list(f)) for f in fits), atol=1e-5)  # the same each time


def test_what_is_counted_away_is_what_is_counted_here(tastes: Both, quick: None) -> None:
    text = 'recommend similar to item "RED MUG" last 365 days'
    here, there = tastes.table(text)
    assert here.rows == there.rows


def test_new_items_are_placed_by_a_sample_of_people(
    tastes: Both, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analytics.commands import recommend

    monkeypatch.setattr(recommend, "MOST_SAMPLED", 1_000)
    monkeypatch.setattr(recommend, "NEW_DAYS", 165)
    said = answer("recommend new items last 365 days", tastes.there).result
    assert "by a stable sample of 59" in notes_of(said)


# -- what goes wrong


def test_mining_and_fitting_are_cancelled(groceries: Both) -> None:
    for method, how in (
        ("itemsets", {"minimum": 2, "longest": None, "most": 10**8}),
        ("factors", {"pairs": 1, "width": 64, "rounds": 99, "extra": 1.0, "held_back": 0.05}),
    ):
        store = groceries.there.store.fork()
        rows = BASKETS.subquery()
        pairs = sa.select(rows.c.basket.label("person"), rows.c.item)
        cancelling = threading.Timer(2.0, store.cancel)
        cancelling.start()
        begun = time.monotonic()
        with pytest.raises(QueryCancelledError, match="was cancelled"):
            store.by_library(method, BASKETS if method == "itemsets" else pairs, **how)
        assert time.monotonic() - begun < 10
        cancelling.join()


def test_a_fit_ends_at_the_time_limit(groceries: Both) -> None:
    store = Store(groceries.there.store.engine, seconds_limit=1.0)
    with pytest.raises(QueryCancelledError, match="longer than the time limit"):
        store.by_library("itemsets", BASKETS, minimum=2, longest=None, most=10**8)


def test_a_fit_outlives_a_worker(groceries: Both, tmp_path: Path) -> None:
    folder = groceries.there.store.engine.place
    with started(tmp_path / "spark") as cluster:
        store = Store.open(f"{cluster.url}?tables={folder}")
        threading.Timer(2.0, cluster.kill, ("worker0",)).start()
        found = store.fork().by_library(
            "itemsets", BASKETS, minimum=5, longest=None, most=miner.MOST_ITEMSETS
        )
        assert "worker0" not in cluster.processes  # it went in mid-fit
        ours = frequent_itemsets(Baskets.from_lines(groceries_lines()), min_support=5 / 9_835)
        assert found.num_rows == len(ours)
        assert found.column("baskets").to_numpy().sum() == sum(
            int(level.counts.sum()) for level in ours.levels
        )
        store.close()
