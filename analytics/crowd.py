"""Purchases that do not fit this process: counted by SQL, learnt from by the engine's own library.

What comes here is bounded: the buyers and a vector of each item, and the purchases of some people.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from analytics.command import Context
from analytics.methods.arrays import Ints, Singles
from analytics.methods.embeddings import EXTRA, Embeddings
from analytics.methods.recommenders import (
    COMPARE_ON,
    Kind,
    Log,
    Recommender,
    Study,
    compared,
    most_alike,
)
from storage.schema import order_lines
from storage.sql import bucket, icount, isum

Purchases = sa.Select[*tuple[Any, ...]]

#: Purchases, each a person and an item, beyond which they stay where they are.
MOST_PURCHASES = 10_000_000
#: ALS: numbers of a vector, rounds, and how far each purchase holds its person and item back.
WIDTH, ROUNDS, HELD_BACK = 64, 8, 0.05
#: Scores are the same on each run to so many digits.
DIGITS = 5
#: By whose hash people are drawn to compare on.
PARTS = 1_000_000


def stay(ctx: Context, bought: Purchases) -> int | None:
    """How many purchases there are, where they are too many and the engine has a library."""
    if not ctx.store.library:
        return None
    lines = ctx.store.row(sa.select(icount().label("n")).select_from(order_lines))["n"]
    if lines <= MOST_PURCHASES:
        return None
    pairs = ctx.store.row(sa.select(icount().label("n")).select_from(bought.subquery()))["n"]
    return int(pairs) if pairs > MOST_PURCHASES else None


@dataclass(frozen=True, eq=False)
class Crowd:
    """Purchases (`person_id`, `item_id`, first `day`) of items with at least `least` buyers.

    `every` has the `buyers` of each item there is, and those before the day `cut`.
    """

    ctx: Context
    bought: Purchases
    cut: int
    least: int

    @functools.cached_property
    def every(self) -> pd.DataFrame:
        """By `item_id`, in the order of ids."""
        pairs = self.bought.subquery("pairs")
        early = isum(sa.case((pairs.c.day < self.cut, 1), else_=0)).label("early")
        counts = sa.select(pairs.c.item_id, icount().label("buyers"), early)
        found = self.ctx.store.frame(counts.group_by(pairs.c.item_id))
        return found.sort_values("item_id", ignore_index=True)

    @functools.cached_property
    def in_play(self) -> pd.DataFrame:
        """The items with enough buyers."""
        found = self.every[self.every["buyers"] >= self.least]
        return found.reset_index(drop=True)

    @functools.cached_property
    def items(self) -> NDArray[np.object_]:
        """Their ids."""
        return self.in_play["item_id"].to_numpy(dtype=object)

    @functools.cached_property
    def play(self) -> sa.CTE:
        """Their purchases."""
        pairs = self.bought.cte("purchases")
        often = (
            sa.select(pairs.c.item_id)
            .group_by(pairs.c.item_id)
            .having(icount() >= self.least)
            .subquery("often")
        )
        chosen = sa.select(pairs.c.person_id, pairs.c.item_id, pairs.c.day)
        return chosen.join_from(pairs, often, pairs.c.item_id == often.c.item_id).cte("play")

    @functools.cached_property
    def people(self) -> int:
        """How many have such a purchase."""
        n = sa.func.count(sa.distinct(self.play.c.person_id)).label("n")
        return int(self.ctx.store.row(sa.select(n))["n"])

    @property
    def pairs(self) -> int:
        """How many such purchases there are."""
        return int(self.in_play["buyers"].sum())

    # -- some of the people

    def one(self, person: str) -> Purchases:
        """A person's id, where they bought something."""
        return sa.select(self.play.c.person_id).where(self.play.c.person_id == person).distinct()

    def buyers_of(self, whose: Purchases | None, without: Purchases | None) -> Purchases:
        """Ids of people and the `last` day on which each bought something new to them."""
        found = sa.select(self.play.c.person_id, sa.func.max(self.play.c.day).label("last"))
        if whose is not None:
            found = found.where(self.play.c.person_id.in_(whose))
        if without is not None:
            gone = without.subquery("without")
            found = found.outerjoin_from(
                self.play, gone, gone.c.person_id == self.play.c.person_id
            ).where(gone.c.person_id.is_(None))
        return found.group_by(self.play.c.person_id)

    def latest(
        self, n: int, whose: Purchases | None = None, without: Purchases | None = None
    ) -> Purchases:
        """The ids of the `n` who bought something new last."""
        buyers = self.buyers_of(whose, without).subquery("buyers")
        ranked = sa.select(buyers.c.person_id).order_by(buyers.c.last.desc(), buyers.c.person_id)
        return ranked.limit(n)

    def judges(self) -> Purchases:
        """The ids of up to COMPARE_ON who bought before and after the cut, by a hash."""
        person, day = self.play.c.person_id, self.play.c.day
        both = (
            sa.select(person)
            .group_by(person)
            .having(sa.func.min(day) < self.cut, sa.func.max(day) >= self.cut)
            .subquery("both")
        )
        ranked = sa.select(both.c.person_id)
        return ranked.order_by(bucket(both.c.person_id, PARTS), both.c.person_id).limit(COMPARE_ON)

    def log(self, chosen: Purchases) -> Log:
        """All purchases of some people; its items are all that are in play."""
        ids = chosen.subquery("chosen")
        rows = sa.select(self.play.c.person_id, self.play.c.item_id, self.play.c.day).join_from(
            self.play, ids, ids.c.person_id == self.play.c.person_id
        )
        found = self.ctx.store.frame(rows)
        person, people = pd.factorize(found["person_id"], sort=True)
        item = pd.Index(self.items).get_indexer(pd.Index(found["item_id"].to_numpy(dtype=object)))
        order = np.lexsort((item, person))
        days = found["day"].to_numpy(dtype=np.int64)
        return Log(
            np.array(people, dtype=object),
            self.items,
            person[order].astype(np.int64),
            item[order].astype(np.int64),
            days[order],
        )

    # -- learning from all of them

    def study(self, shown: Log, least: int) -> Study:
        """Popularity and ALS, each fitted on all purchases before the cut, compared after it.

        The best is fitted on all purchases; `shown` has those of the people it is for. Raises
        TooFewError.
        """
        judged = self.log(self.judges())
        kinds: tuple[Kind, ...] = ("popularity", "als")
        qualities, taken = compared(
            judged, self.cut, least, kinds, lambda kind: self.fitted(kind, early=True)
        )
        model = self.fitted(taken, early=False)
        return Study(shown, shown.table(), qualities, taken, model)

    def fitted(self, kind: Kind, *, early: bool) -> Recommender:
        """By the purchases before the cut, or by all."""
        buyers = self.in_play["early" if early else "buyers"]
        popular: Singles = buyers.to_numpy(dtype=np.float32)
        if kind == "popularity":
            return Recommender(kind, popular)
        pairs = sa.select(self.play.c.person_id.label("person"), self.play.c.item_id.label("item"))
        found = self.ctx.store.by_library(
            "factors",
            pairs.where(self.play.c.day < self.cut) if early else pairs,
            pairs=int(buyers.sum()),
            width=WIDTH,
            rounds=ROUNDS,
            extra=EXTRA,
            held_back=HELD_BACK,
        )
        vectors = np.zeros((len(self.items), WIDTH))
        at = pd.Index(self.items).get_indexer(pd.Index(found.column("item").to_pylist()))
        values = found.column("vector").combine_chunks().flatten().to_numpy()
        vectors[at] = values.reshape(-1, WIDTH)
        return Recommender(
            kind,
            popular,
            embeddings=Embeddings(vectors, vectors.T @ vectors, HELD_BACK, DIGITS),
        )

    # -- counts of all of them

    def together(self, sources: Sequence[str], shown: Sequence[str]) -> dict[tuple[str, str], int]:
        """Of each source and shown item, how many people bought both."""
        one, other = self.play.alias("one"), self.play.alias("other")
        found = self.ctx.store.rows(
            sa.select(one.c.item_id.label("source"), other.c.item_id, icount().label("n"))
            .join_from(one, other, one.c.person_id == other.c.person_id)
            .where(one.c.item_id.in_(sources), other.c.item_id.in_(shown))
            .group_by(one.c.item_id, other.c.item_id)
        )
        return {(r["source"], r["item_id"]): r["n"] for r in found}

    def alike(self, position: int, n: int) -> Iterator[tuple[int, float, int]]:
        """As `recommenders.alike`: the items most like one, by who bought both."""
        one, other = self.play.alias("one"), self.play.alias("other")
        found = self.ctx.store.frame(
            sa.select(other.c.item_id, icount().label("n"))
            .join_from(one, other, one.c.person_id == other.c.person_id)
            .where(one.c.item_id == self.items[position])
            .group_by(other.c.item_id)
        )
        at: Ints = pd.Index(self.items).get_indexer(pd.Index(found["item_id"].to_numpy(object)))
        both = np.zeros(len(self.items))
        both[at] = found["n"].to_numpy(dtype=np.int64)
        buyers = self.in_play["buyers"].to_numpy(dtype=np.float64)
        yield from most_alike(both, buyers, self.people, position, n)
