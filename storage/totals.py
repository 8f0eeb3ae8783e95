"""Totals per local day, derived from the rows: what they are, and whether they may be believed.

A keeper, which knows what a visit is, makes and refreshes them in the transaction of the load that
changed the rows. `totals_kept` has one row while they agree with the rows, and none otherwise: any
other write to the rows that they are made from empties it, by triggers where other processes may
write (PostgreSQL, SQLite), by the writer where the file is ours (DuckDB).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.sql.dml import UpdateBase

from storage.schema import events, order_lines, orders
from storage.sql import epoch_day

#: Tables of ours that nobody loads, maps or copies.
derived = sa.MetaData()


def visit_columns() -> list[sa.Column[Any]]:
    """The dimensions of visits, and their sums."""
    sums = ("seconds", "events", "pages", "carted", "ordered", "abandoned")
    return [
        *(sa.Column(name, sa.Text) for name in ("country", "channel", "device")),
        sa.Column("visits", sa.BigInteger, nullable=False),
        sa.Column("timed", sa.BigInteger, nullable=False, comment="visits of a known length"),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in sums),
    ]


person_days = sa.Table(
    "person_days",
    derived,
    sa.Column("day", sa.BigInteger, nullable=False, index=True),
    sa.Column("person_id", sa.Text, nullable=False),
    comment="each local day on which a person visited or ordered",
)

person_day_visits = sa.Table(
    "person_day_visits",
    derived,
    sa.Column("day", sa.BigInteger, nullable=False, index=True),
    sa.Column("person_id", sa.Text, nullable=False),
    *visit_columns(),
    sa.Column("longest", sa.BigInteger, nullable=False, comment="seconds of the longest visit"),
    comment="a person's visits that began on a local day, by their dimensions",
)

day_visits = sa.Table(
    "day_visits",
    derived,
    sa.Column("day", sa.BigInteger, nullable=False, index=True),
    *visit_columns(),
    comment="all visits that began on a local day, by their dimensions",
)

item_days = sa.Table(
    "item_days",
    derived,
    sa.Column("day", sa.BigInteger, nullable=False, index=True),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("lines", sa.BigInteger, nullable=False),
    sa.Column("quantity", sa.BigInteger, nullable=False),
    sa.Column("amount_cents", sa.BigInteger, nullable=False),
    comment="an item's order lines of a local day, by kind",
)

totals_kept = sa.Table(
    "totals_kept",
    derived,
    sa.Column("zone", sa.Text, nullable=False, comment="whose days they are"),
    sa.Column("definition", sa.Text, nullable=False, comment="digest of what they are made by"),
    sa.Column("whole_visits", sa.Boolean, nullable=False, comment="none is too long to tell"),
)

TOTALS = (person_days, person_day_visits, day_visits, item_days)

#: Which rows each is made from.
MADE_FROM = {
    "person_days": frozenset({"events", "orders"}),
    "person_day_visits": frozenset({"events"}),
    "day_visits": frozenset({"events"}),
    "item_days": frozenset({"orders", "order_lines"}),
}

#: The rows whose change makes totals stale.
ROWS = (events, orders, order_lines)
ROW_NAMES = frozenset(str(t.name) for t in ROWS)
NAMED_ROWS = re.compile(rf"\b({'|'.join(sorted(ROW_NAMES))})\b")


@dataclass(frozen=True)
class Kept:
    """Totals that agree with the rows. `whole_visits`: those of visits can be told."""

    zone: str
    definition: str
    whole_visits: bool


class Writes(Protocol):
    """What of a writer is needed here."""

    def run(self, statement: Any) -> None:
        """Run a statement that returns nothing."""

    def fetch(self, statement: Any) -> pa.Table:
        """Run a statement inside the transaction and fetch its rows."""


class Keeper(Protocol):
    """Who makes the totals: of which zone's days, and by which definition."""

    @property
    def zone_name(self) -> str:
        """The zone whose days they are."""

    @property
    def definition(self) -> str:
        """A digest of what they are made by."""

    def refresh(self, writer: Writes, before: Kept | None, days: Iterable[int]) -> None:
        """Make them agree with the rows again, of which those of some UTC days changed; all of
        them where they did not agree `before`.
        """


KEPT = sa.select(*totals_kept.c)


def kept_of(rows: Iterable[Any], keeper: Keeper) -> Kept | None:
    """What the rows of `totals_kept` say to a keeper: None where they are stale or another's."""
    found = [Kept(r["zone"], r["definition"], bool(r["whole_visits"])) for r in rows]
    wanted = (keeper.zone_name, keeper.definition)
    return next((k for k in found if (k.zone, k.definition) == wanted), None)


class Change:
    """The rows that a load changes, from before its first write until the totals follow."""

    def __init__(self, writer: Writes, keeper: Keeper | None) -> None:
        """Without a keeper nothing follows: what was kept is stale by the write itself."""
        self.writer = writer
        self.keeper = keeper
        self.days: set[int] = set()
        self._before = kept_of(writer.fetch(KEPT).to_pylist(), keeper) if keeper else None

    def note(self, table: sa.Table, rows: sa.FromClause, *conditions: Any) -> None:
        """These rows of a table, or of a copy of it, come or go."""
        if self.keeper is None or table.name not in ROW_NAMES:
            return
        if table is order_lines:
            at: Any = orders.c.ordered_at
            key = next(c for t in parts_of(rows) for c in t.c if c.name == "order_id")
            rows = rows.join(orders, orders.c.order_id == key)
        else:
            name = "at" if table is events else "ordered_at"
            at = parts_of(rows)[0].c[name]
        chosen = sa.select(epoch_day(at).label("day")).select_from(rows).where(*conditions)
        self.days.update(self.writer.fetch(chosen.distinct()).column(0).to_pylist())

    def follow(self) -> None:
        """The totals after the rows; untouched rows leave them as they were, stale ones too."""
        if self.keeper is not None and self.days:
            self.keeper.refresh(self.writer, self._before, sorted(self.days))


def parts_of(rows: sa.FromClause) -> list[Any]:
    """The tables of a join, the left one first."""
    if isinstance(rows, sa.Join):
        return [*parts_of(rows.left), *parts_of(rows.right)]
    return [rows]


def changes_rows(statement: Any) -> bool:
    """Whether a statement may write to rows that totals are made from."""
    if isinstance(statement, UpdateBase):
        return getattr(statement.table, "name", "") in ROW_NAMES
    return isinstance(statement, sa.TextClause) and bool(NAMED_ROWS.search(statement.text))


def watches(engine: str) -> tuple[str, ...]:
    """Triggers by which any write to the rows makes the totals stale."""
    if engine == "postgresql":
        return (
            "CREATE OR REPLACE FUNCTION totals_are_stale() RETURNS trigger LANGUAGE plpgsql "
            "SECURITY DEFINER SET search_path FROM CURRENT AS "
            "$$ BEGIN DELETE FROM totals_kept; RETURN NULL; END $$",
            *(f"DROP TRIGGER IF EXISTS totals_of_{t.name} ON {t.name}" for t in ROWS),
            *(
                f"CREATE TRIGGER totals_of_{t.name} AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE "
                f"ON {t.name} FOR EACH STATEMENT EXECUTE FUNCTION totals_are_stale()"
                for t in ROWS
            ),
        )
    if engine == "sqlite":
        return tuple(
            f"CREATE TRIGGER IF NOT EXISTS totals_of_{t.name}_{verb} "  # noqa: S608 - our names
            f"AFTER {verb} ON {t.name} "
            "WHEN EXISTS (SELECT 1 FROM totals_kept) BEGIN DELETE FROM totals_kept; END"
            for t in ROWS
            for verb in ("insert", "update", "delete")
        )
    return ()
