"""One store into another: in pieces, each compared by count and fingerprint, so that it resumes.

A piece is the rows whose key falls into one of n buckets by its MD5: the same on every engine. A
piece whose fingerprint is right already is passed over; one that is empty is copied, in one
transaction where the target has them; one that holds something else is refused. The fingerprints
of all pieces of a table are taken in one read before, and in one after.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from storage.engines import StoreError
from storage.schema import Instant, metadata
from storage.sql import Sql, bucket, epoch_us, icount, isum
from storage.store import Store

PIECE_ROWS = 500_000
#: Fingerprints add up numbers below this: a thousand million rows still fit 64 bits.
FINGERPRINT_BELOW = 2**31
#: The fingerprint of no rows.
NOTHING = (0, 0)


class CopyError(StoreError):
    """The target holds other rows than the source, or lost some."""


@dataclass(frozen=True)
class Copied:
    """One table of the copy: the rows it has, and how many of them were copied now."""

    table: str
    rows: int
    moved: int


def as_text(column: Sql) -> Sql:
    """A value as the same text on every engine; null is told apart from every text."""
    match column.type:
        case Instant() | sa.DateTime():
            text: Sql = sa.cast(epoch_us(column), sa.Text)
        case sa.Boolean():
            text = sa.case((column.is_(sa.true()), "1"), (column.is_(sa.false()), "0"))
        case sa.String():
            text = column
        case _:
            text = sa.cast(column, sa.Text)
    return sa.func.coalesce(sa.literal("=", sa.Text).concat(text), sa.literal("~", sa.Text))


def joined(columns: list[Sql]) -> Sql:
    """Several values as one text."""
    whole, *rest = (as_text(c) for c in columns)
    for part in rest:
        whole = whole.concat(part)
    return whole


def piece_number(table: sa.Table, pieces: int) -> Sql:
    """The piece to which a row belongs, from 0."""
    number: Sql = bucket(joined(list(table.primary_key.columns)), sa.literal_column(str(pieces)))
    return number


def fingerprints(store: Store, table: sa.Table, pieces: int = 1) -> list[tuple[int, int]]:
    """Rows of each piece, and a sum over their contents that is the same for the same rows."""
    row_number = bucket(joined(list(table.columns)), sa.literal_column(str(FINGERPRINT_BELOW)))
    asked: Any = sa.select(
        icount().label("rows"), sa.func.coalesce(isum(row_number), 0).label("contents")
    ).select_from(table)
    if pieces == 1:
        whole = store.fork().row(asked)
        return [(whole["rows"], whole["contents"])]
    number = piece_number(table, pieces).label("piece")
    told = store.fork().rows(asked.add_columns(number).group_by(number))
    found = {row["piece"]: (row["rows"], row["contents"]) for row in told}
    return [found.get(i, NOTHING) for i in range(pieces)]


def counts(store: Store) -> dict[str, int]:
    """Rows of every table, in one read."""
    each = [
        sa.select(sa.literal(t.name, sa.Text).label("name"), icount().label("n")).select_from(t)
        for t in metadata.sorted_tables
    ]
    return {row["name"]: row["n"] for row in store.fork().rows(sa.union_all(*each))}


def copy_store(
    source: Store,
    target: Store,
    tell: Callable[[str, int, int], None] = lambda *_: None,
    *,
    piece_rows: int = PIECE_ROWS,
) -> list[Copied]:
    """Copy all tables; `tell(table, rows done, rows in all)` hears of progress.

    Raises CopyError where the target holds something else; what is right there already stays.
    """
    done = []
    there, held = counts(source), counts(target)
    for table in metadata.sorted_tables:
        name = str(table.name)
        rows = there[name]
        pieces = max(1, -(-rows // piece_rows))
        ours = fingerprints(source, table, pieces) if rows else [NOTHING]
        theirs = fingerprints(target, table, pieces) if held[name] else [NOTHING] * pieces
        if any(b not in (a, NOTHING) for a, b in zip(ours, theirs, strict=True)):
            raise CopyError(
                f"The target's {name} holds other rows than the source.",
                hint="Copy into an empty store, or empty this table there and run the same "
                "command again: what is right already is not copied twice.",
            )
        seen = moved = 0
        for number in range(pieces):
            if ours[number] != theirs[number]:
                chosen: Any = sa.select(table)
                if pieces > 1:
                    one: Sql = piece_number(table, pieces) == sa.literal_column(str(number))
                    chosen = chosen.where(one)
                with target.engine.writing() as writer:
                    writer.append(name, source.fork().arrow(chosen))
                moved += ours[number][0]
            seen += ours[number][0]
            tell(name, seen, rows)
        if moved and fingerprints(target, table, pieces) != ours:
            raise CopyError(
                f"The target's {name} differs from the source after copying.",
                hint="Does somebody write to one of the two? Stop that, empty the table "
                "in the target and copy again.",
            )
        done.append(Copied(name, rows, moved))
    return done
