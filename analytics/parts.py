"""People who are too many for this process: a stable sample of them, or all of them in parts.

Models learn from a sample. What they say of everybody is an expression that the engine works out
(`saved.labelled`), or is worked out here part by part, so that memory is bounded by the part.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from analytics.command import Context
from analytics.entities import rows_of
from analytics.scope import Scope
from analytics.words import counted, decimal_words
from storage.sql import Sql, bucket, icount

#: People whose traits are read at once.
MOST_PEOPLE = 2_000_000
#: By a hash of their ids people fall into so many buckets, on every engine into the same.
BUCKETS = 10_000


@dataclass(frozen=True)
class Shard:
    """The people of the buckets `low <= bucket < high`; by itself everybody."""

    low: int = 0
    high: int = BUCKETS

    @property
    def share(self) -> float:
        """Of all people."""
        return (self.high - self.low) / BUCKETS

    @property
    def is_all(self) -> bool:
        """Whether nobody is left out."""
        return self.high - self.low == BUCKETS

    def holds(self, person_id: Sql) -> list[Sql]:
        """Conditions on a column of ids; none where nobody is left out."""
        if self.is_all:
            return []
        own = bucket(person_id, BUCKETS)
        return [own >= self.low] * (self.low > 0) + [own < self.high] * (self.high < BUCKETS)


EVERYBODY = Shard()


def sample_of(people: int | None, most: int) -> Shard:
    """About `most` of the people, always the same; everybody where they are no more."""
    return Shard(high=max(1, BUCKETS * most // people)) if people and people > most else EVERYBODY


def parts_of(people: int | None, most: int) -> list[Shard]:
    """All the people, in parts of about `most`."""
    n = min(-(-people // most), BUCKETS) if people and people > most else 1
    return [Shard(BUCKETS * i // n, BUCKETS * (i + 1) // n) for i in range(n)]


def crowd_of(ctx: Context, scope: Scope, most: int) -> int | None:
    """How many people ordered in the scope, where they are more than `most`; else None."""
    bought = rows_of("orders", scope)
    known = bought.c.kind == "sale", bought.c.person_id.is_not(None)
    if ctx.store.row(sa.select(icount().label("n")).where(*known))["n"] <= most:
        return None
    people = sa.cast(sa.func.count(sa.distinct(bought.c.person_id)), sa.BigInteger)
    n = int(ctx.store.row(sa.select(people.label("n")).where(*known))["n"])
    return n if n > most else None


def drawn_words(sample: Shard, people: int) -> str:
    """`a stable sample of about 500,000 of 3,000,000 people (by a hash of their ids)`."""
    drawn = decimal_words(round(people * sample.share))
    of = counted(people, "person", "people")
    return f"a stable sample of about {drawn} of {of} (by a hash of their ids)"
