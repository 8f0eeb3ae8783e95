"""Spark's own library, MLlib, through Connect: itemsets and factors of all rows, where they are.

Only what was found travels here: itemsets and their counts, and a vector per item.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from storage.engines.base import Running

#: Ids are numbered within so many parts, so that no part of the cluster sees them all.
PARTS = 1_000
#: Purchases of one block of ALS: their number, not the cluster's size, decides about the blocks.
BLOCK_PAIRS = 2_000_000
LEAST_BLOCKS = 4
SEED = 7


class MLlib:
    """FP-Growth and ALS over the rows of a statement."""

    name = "Spark MLlib"

    def __init__(self, engine: Any) -> None:
        """`engine` is the SparkEngine whose library it is."""
        self._engine = engine

    @contextlib.contextmanager
    def _session(self, running: Running) -> Iterator[Any]:
        """The engine's session, as the one of this thread: what a model is asked goes there."""
        from pyspark.sql.connect.session import SparkSession

        active = SparkSession._active_session
        before = getattr(active, "session", None)
        with self._engine.asking(running) as session:
            active.session = session
            try:
                yield session
            finally:
                active.session = before

    def itemsets(
        self,
        sql: str,
        values: Sequence[Any],
        running: Running,
        *,
        minimum: int,
        longest: int | None,
        most: int,
    ) -> pa.Table:
        """`items` and `baskets` of the sets of items that `minimum` baskets or more hold.

        By FP-Growth over `basket` and `item`, each pair once. Past `most` sets one more is given
        and no others; sets of more than `longest` items are left out.
        """
        with self._session(running) as session:
            lines = session.sql(sql, args=self._engine.literals(values))
            return self._mined(lines, minimum, longest, most)

    def _mined(self, lines: Any, minimum: int, longest: int | None, most: int) -> pa.Table:
        # a model is dropped on the server when its last name goes: while its session is at hand
        from pyspark.ml.fpm import FPGrowth
        from pyspark.sql import functions as f

        baskets = lines.groupBy("basket").agg(f.collect_list("item").alias("items")).persist()
        try:
            rows = baskets.count()
            if rows < minimum:
                return pa.table({"items": pa.array([], pa.list_(pa.string())), "baskets": []})
            # half a basket low: no rounding can cross it
            growth = FPGrowth(minSupport=(minimum - 0.5) / rows, minConfidence=1.0)
            model = growth.fit(baskets)
            found = model.freqItemsets
            if longest is not None:
                found = found.where(f.size("items") <= longest)
            return found.select("items", f.col("freq").alias("baskets")).limit(most + 1).toArrow()
        finally:
            with contextlib.suppress(*self._engine.faults):
                baskets.unpersist()

    def holding(
        self, sql: str, values: Sequence[Any], running: Running, sets: Sequence[Sequence[str]]
    ) -> pa.Table:
        """`place` of each set of `sets`, `late`, and how many `baskets` of that kind hold it all.

        Over `basket`, `item` and `late`, each pair once; a set that no basket holds has no row.
        """
        from pyspark.sql import functions as f

        wanted = pa.table(
            {
                "place": [n for n, items in enumerate(sets) for _ in items],
                "item": pa.array([i for items in sets for i in items], pa.string()),
                "size": [len(items) for items in sets for _ in items],
            }
        )
        with self._session(running) as session:
            lines = session.sql(sql, args=self._engine.literals(values))
            parts = lines.join(f.broadcast(session.createDataFrame(wanted)), "item")
            held = parts.groupBy("place", "size", "basket", "late").agg(f.count("*").alias("n"))
            whole = held.where(f.col("n") == f.col("size")).groupBy("place", "late")
            return whole.agg(f.count("*").alias("baskets")).toArrow()

    def factors(
        self,
        sql: str,
        values: Sequence[Any],
        running: Running,
        *,
        pairs: int,
        width: int,
        rounds: int,
        extra: float,
        held_back: float,
    ) -> pa.Table:
        """`item` and its `vector` of `width` numbers, by ALS over `person` and `item`, each once.

        Every cell counts, those of pairs 1 + `extra` times as much (Hu, Koren, Volinsky 2008);
        each row is held back by `held_back` for each of its pairs. The blocks follow from the
        number of `pairs`, the numbers of ids from the ids: the same on a cluster of any size, but
        for the last digits, which hang on the order in which blocks arrive.
        """
        blocks = max(LEAST_BLOCKS, -(-pairs // BLOCK_PAIRS))
        how = {
            "rank": width,
            "maxIter": rounds,
            "alpha": extra,
            "regParam": held_back,
            "numUserBlocks": blocks,
            "numItemBlocks": blocks,
        }
        with self._session(running) as session:
            return fitted(session.sql(sql, args=self._engine.literals(values)), how)


def fitted(bought: Any, how: dict[str, Any]) -> pa.Table:
    """`item` and `vector` by ALS of `person` and `item`."""
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import functions as f

    items = numbered(bought, "item")
    table = bought.join(numbered(bought, "person"), "person").join(items, "item")
    once = f.lit(1.0).cast("float").alias("bought")
    als = ALS(
        userCol="person_number",
        itemCol="item_number",
        ratingCol="bought",
        implicitPrefs=True,
        seed=SEED,
        **how,
    )
    model = als.fit(table.select("person_number", "item_number", once))
    found = items.join(model.itemFactors, f.col("item_number") == f.col("id"))
    return found.select("item", f.col("features").alias("vector")).toArrow()


def numbered(rows: Any, column: str) -> Any:
    """Each id of a column and its number, such as `item_number`: 32 bits, the same each time.

    Ids are counted in their order within the part that their hash falls into.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    part = f.pmod(f.xxhash64(column), f.lit(PARTS))
    place = f.row_number().over(Window.partitionBy(part).orderBy(column)) - 1
    number = (place * PARTS + part).cast("int").alias(f"{column}_number")
    return rows.select(column).distinct().select(column, number)
