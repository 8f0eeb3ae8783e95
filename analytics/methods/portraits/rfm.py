"""The RFM grid: people scored 1 to 5 for recency, and for orders and spend together.

Scores count the quintiles that a person has passed; the names are the usual ones of marketing
(the grid of recency against frequency and money goes back to Hughes, Strategic Database Marketing).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.methods.portraits.clustering import Labels

Floats = NDArray[np.float64]

BEST = 5
FRACTIONS = (0.2, 0.4, 0.6, 0.8)

#: Name, meaning, and the cells: (recency scores, scores of orders and spend).
NAMES: tuple[tuple[str, str, tuple[int, ...], tuple[int, ...]], ...] = (
    ("Champions", "bought just now, often, and much", (5,), (4, 5)),
    ("Loyal", "buy often and much, and lately", (3, 4), (4, 5)),
    ("Potential loyalists", "recent, on their way to buying often", (4, 5), (2, 3)),
    ("New buyers", "bought just now, little so far", (5,), (1,)),
    ("Promising", "recent, little so far", (4,), (1,)),
    ("Need attention", "middling in everything", (3,), (3,)),
    ("About to sleep", "little, and not lately", (3,), (1, 2)),
    ("Can't lose them", "bought the most, and fell silent", (1, 2), (5,)),
    ("At risk", "bought often or much, and fell silent", (1, 2), (3, 4)),
    ("Hibernating", "little, and long ago", (2,), (1, 2)),
    ("Lost", "little, and the longest ago", (1,), (1, 2)),
)


@dataclass(frozen=True)
class Grid:
    """The four quintiles of each trait, frozen."""

    recency: tuple[float, ...]
    orders: tuple[float, ...]
    revenue: tuple[float, ...]

    def scores(self, recency: Floats, orders: Floats, revenue: Floats) -> tuple[Labels, Labels]:
        """(recency, orders and spend together) of each person, 1 to 5, 5 is best."""
        late = BEST - passed(recency, self.recency)
        often, much = (
            1 + passed(x, c) for x, c in ((orders, self.orders), (revenue, self.revenue))
        )
        return late, (often + much + 1) // 2


def passed(values: Floats, cuts: tuple[float, ...]) -> Labels:
    """How many of the cuts each value lies above."""
    found: Labels = np.sum([values > cut for cut in cuts], axis=0, dtype=np.int64)
    return found


def fit_grid(recency: Floats, orders: Floats, revenue: Floats) -> Grid:
    """The quintiles of people who bought."""
    cuts = [
        tuple(float(c) for c in np.quantile(values, FRACTIONS, method="lower"))
        for values in (recency, orders, revenue)
    ]
    return Grid(*cuts)


def names_of(late: Labels, much: Labels) -> Labels:
    """The number of each person's name in NAMES."""
    table = np.zeros((BEST + 1, BEST + 1), dtype=np.int64)
    for number, (_, _, rows, columns) in enumerate(NAMES):
        table[np.ix_(rows, columns)] = number
    found: Labels = table[late, much]
    return found
