"""The Groceries baskets of R's arules, as lines."""

import gzip
from functools import cache

from pandas import DataFrame

from tests.data import shared


@cache
def groceries_lines() -> DataFrame:
    """A line per `basket` and `item`; 9,835 baskets, 169 items. Skips where the file is absent."""
    with gzip.open(shared("groceries/groceries.csv.gz"), "rt", encoding="utf-8") as file:
        rows = [(at, item.strip()) for at, line in enumerate(file) for item in line.split(",")]
    return DataFrame(rows, columns=["basket", "item"])
