"""One store into another: in pieces, each compared by count and fingerprint, so that it resumes.

A piece is the rows whose key falls into one of n buckets by its MD5: the same on every engine. A
piece whose fingerprint is right already is passed over; one that is empty is copied, in one
transaction where the target has them; one that holds something else is refused.
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


def piece_of(table: sa.Table, number: int, pieces: int) -> Sql:
    """Whether a row belongs to a piece."""
    if pieces == 1:
        return sa.true()
    own: Sql = bucket(joined(list(table.primary_key.columns)), sa.literal_column(str(pieces)))
    return own == sa.literal_column(str(number))


def fingerprint(store: Store, table: sa.Table, number: int = 0, pieces: int = 1) -> tuple[int, int]:
    """Rows of a piece, and a sum over their contents that is the same for the same rows."""
    row_number = bucket(joined(list(table.columns)), sa.literal_column(str(FINGERPRINT_BELOW)))
    asked = sa.select(
        icount().label("rows"), sa.func.coalesce(isum(row_number), 0).label("contents")
    ).where(piece_of(table, number, pieces))
    told = store.fork().row(asked.select_from(table))
    return told["rows"], told["contents"]


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
    for table in metadata.sorted_tables:
        name = str(table.name)
        counting = sa.select(icount().label("n")).select_from(table)
        rows = source.fork().row(counting)["n"]
        pieces = max(1, -(-rows // piece_rows))
        seen = moved = 0
        for number in range(pieces):
            ours = fingerprint(source, table, number, pieces)
            theirs = fingerprint(target, table, number, pieces)
            if ours != theirs:
                if theirs[0]:
                    raise CopyError(
                        f"The target's {name} holds other rows than the source.",
                        hint="Copy into an empty store, or empty this table there and run the same "
                        "command again: what is right already is not copied twice.",
                    )
                chosen: Any = sa.select(table).where(piece_of(table, number, pieces))
                with target.engine.writing() as writer:
                    writer.append(name, source.fork().arrow(chosen))
                moved += ours[0]
                if fingerprint(target, table, number, pieces) != ours:
                    raise CopyError(
                        f"The target's {name} differs from the source after copying.",
                        hint="Does somebody write to one of the two? Stop that, empty the table "
                        "in the target and copy again.",
                    )
            seen += ours[0]
            tell(name, seen, rows)
        extra = target.fork().row(counting)["n"] - rows
        if extra:
            raise CopyError(
                f"The target's {name} holds other rows than the source.",
                hint="Copy into an empty store.",
            )
        done.append(Copied(name, rows, moved))
    return done
