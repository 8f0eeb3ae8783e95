"""churn at growing numbers of people, beside the same study as a plain script in pandas.

People order at rates of their own and some stop for good, so that what is to be learnt is there.
The script reads the same orders and does the same study in pandas and scikit-learn: traits at four
days, three kinds of model, the best by cross-validation, tested at a later day, what it goes by,
refitted for today. It makes fewer traits and gives no reasons.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from analytics.result import Result, Table
from benchmarks.large_ab import asking, write
from benchmarks.side_by_side import Case, Row, measure
from benchmarks.stores import twin_of
from storage.store import Store

QUESTION = "churn next 60 days"
DAYS, HORIZON = 365, 60
END = np.datetime64("2026-09-15", "us")
#: Areas under the curve of both may differ by so much.
CLOSE = 0.03


def growing(folder: Path, *, full: bool) -> Iterator[Row]:
    """10 thousand, 100 thousand and, in full, half a million people."""
    for n in (10_000, 100_000, 500_000) if full else (10_000, 100_000):
        file = folder / f"churn-{n}.duckdb"
        store = Store.open(f"duckdb:///{file}")
        fill(store, n)
        store.close()
        limit = 60.0 if n == 500_000 else None
        case = Case(QUESTION, n, "people", ours, theirs, agree, limit)
        yield measure(case, file, twin_of(file), repeats=1)


@contextmanager
def ours(file: Path) -> Iterator[Any]:
    """From text to Result."""
    with asking(file, QUESTION) as ask:
        yield ask


@contextmanager
def theirs(file: Path) -> Iterator[Any]:
    """The script, over a connection of its own."""
    with duckdb.connect(str(file), read_only=True) as connection, threadpool_limits(1):
        yield lambda: scripted(connection)


def agree(mine: Result, area: float) -> None:
    """Both rank people of a later time about as well."""
    quality = next(p for p in mine.parts if isinstance(p, Table) and p.title.startswith("How good"))
    taken = quality.rows[0][[c.key for c in quality.columns].index("auc")]
    if abs(taken - area) > CLOSE:
        raise AssertionError(f"ROC-AUC: ours {taken}, the script's {area}")


def scripted(connection: duckdb.DuckDBPyConnection) -> float:
    """The same study: three kinds, the best by cross-validation, tested later; its area there."""
    orders = connection.execute(
        "SELECT person_id, ordered_at AS at, amount_cents AS cents FROM orders WHERE kind = 'sale'"
    ).df()
    end = orders["at"].max().normalize() + pd.Timedelta(days=1)
    now, test, *earlier = (traits(orders, end - pd.Timedelta(days=HORIZON * k)) for k in range(4))
    train = pd.concat(earlier, ignore_index=True)
    names = [c for c in train.columns if c != "label"]
    few = train.sample(min(5_000, len(train)), random_state=7)
    scores, areas = {}, {}
    for kind, model in models().items():
        scored = cross_val_score(model, few[names], few["label"], cv=3, scoring="roc_auc")
        scores[kind] = scored.mean()
        model.fit(train[names], train["label"])
        areas[kind] = float(roc_auc_score(test["label"], model.predict_proba(test[names])[:, 1]))
    best = max(scores, key=scores.__getitem__)
    model = models()[best].fit(train[names], train["label"])
    some = test.sample(1_000, random_state=7)
    permutation_importance(
        model, some[names], some["label"], scoring="roc_auc", n_repeats=3, random_state=7
    )
    whole = pd.concat([train, test], ignore_index=True)
    models()[best].fit(whole[names], whole["label"]).predict_proba(now[names])
    return areas[best]


def models() -> dict[str, Any]:
    """The kinds that ours compares, as scikit-learn has them."""
    return {
        "boosting": HistGradientBoostingClassifier(max_iter=100, random_state=7),
        "logistic": make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
        "tree": DecisionTreeClassifier(max_leaf_nodes=16, random_state=7),
    }


def traits(orders: pd.DataFrame, cut: pd.Timestamp) -> pd.DataFrame:
    """Of who ordered in the two horizons before a day; the label is no order in that after it."""
    before = orders[orders["at"] < cut]
    horizon = pd.Timedelta(days=HORIZON)
    by = before.groupby("person_id")
    found = by.agg(
        n=("at", "size"), first=("at", "min"), last=("at", "max"), spend=("cents", "sum")
    )
    found = found[found["last"] >= cut - 2 * horizon]
    late = before[before["at"] >= cut - horizon].groupby("person_id")["cents"].agg(["size", "sum"])
    found["lately"] = late["size"].reindex(found.index).fillna(0)
    found["spent_lately"] = late["sum"].reindex(found.index).fillna(0)
    found["recency"] = (cut - found["last"]).dt.days
    found["tenure"] = (cut - found["first"]).dt.days
    found["gap"] = (found["last"] - found["first"]).dt.days / (found["n"] - 1).replace(0, np.nan)
    found["overdue"] = found["recency"] / found["gap"].replace(0, np.nan)
    found["basket"] = found["spend"] / found["n"]
    later = orders[(orders["at"] >= cut) & (orders["at"] < cut + horizon)]["person_id"].unique()
    return found.drop(columns=["first", "last"]).assign(label=~found.index.isin(later))


def fill(store: Store, people: int, seed: int = 4) -> None:
    """Orders of a year: Poisson at gamma rates until a person stops, which some do early."""
    draws = np.random.default_rng(seed)
    rate = draws.gamma(1.5, 0.02, people)  # orders a day
    begins = draws.uniform(0, DAYS * 0.7, people)
    lives = draws.exponential(1.0 / draws.gamma(2.0, 0.003, people))
    ends = np.minimum(begins + lives, DAYS)
    counts = 1 + draws.poisson(rate * (ends - begins))
    who = np.repeat(np.arange(people), counts)
    day = begins[who] + draws.uniform(size=len(who)) * (ends - begins)[who]
    start = END - np.timedelta64(DAYS, "D")
    at = start + (day * 86_400e6).astype("timedelta64[us]")
    ids = pa.array([f"p{i:07}" for i in range(people)])
    orders = {
        "order_id": pa.array(np.arange(len(who)).astype(str)),
        "person_id": ids.take(pa.array(who)),
        "ordered_at": pa.array(at),
        "kind": pa.repeat("sale", len(who)),
        "amount_cents": pa.array(np.exp(draws.normal(8.0, 1.0, len(who))).astype(np.int64) + 1),
    }
    lines = {
        "order_id": orders["order_id"],
        "line_no": pa.repeat(1, len(who)),
        "item_id": pa.array(draws.integers(0, 500, len(who)).astype(str)),
        "quantity": pa.repeat(1, len(who)),
        "amount_cents": orders["amount_cents"],
    }
    write(store, "orders", orders)
    write(store, "order_lines", lines)
