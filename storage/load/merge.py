"""Rows into a table of the store: what is new is added, what changed is replaced.

All statements are portable and run in the writer's transaction. Tables without keys (DuckDB) and
with keys (PostgreSQL, SQLite) take the same path: rows go to a temporary table, rows of the store
whose key is there with other values are deleted, and what the store then lacks is inserted. An
empty table is filled directly.
"""

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from storage.engines import Writer, arrow_type
from storage.schema import sources
from storage.sql import icount, isum
from storage.totals import Change

INCOMING = "incoming_"
#: Any two loads wait for each other on PostgreSQL ("daybreak" in ASCII).
LOCK = 0x6461796272656B


@dataclass(frozen=True)
class Merged:
    """Rows by what became of them."""

    new: int
    changed: int
    unchanged: int

    @property
    def taken(self) -> int:
        """New or changed."""
        return self.new + self.changed


def alone(writer: Writer) -> None:
    """Wait until no other load writes. DuckDB and SQLite have one writer anyway."""
    if writer.engine.name == "postgresql":
        writer.fetch(sa.select(sa.cast(sa.func.pg_advisory_xact_lock(LOCK), sa.Text)))


def arrow_schema(table: sa.Table) -> pa.Schema:
    """The Arrow types of a table of ours."""
    return pa.schema([(c.name, arrow_type(c.type)) for c in table.columns])


def number(writer: Writer, statement: sa.Select[Any]) -> int:
    """The one number that a query gives; nothing is 0."""
    return int(writer.fetch(statement).column(0)[0].as_py() or 0)


def merge(
    writer: Writer,
    table: sa.Table,
    batches: Iterable[pa.Table],
    *,
    keeps_earliest: tuple[str, ...] = (),
    tell: Callable[[int], None] = lambda _: None,
    change: Change | None = None,
) -> Merged:
    """Merge rows, unique on the table's key and with its columns, into the table.

    `keeps_earliest`: columns of which the earlier value stays, the store's or the row's.
    `tell(rows)` hears of each batch, `change` of the days whose rows come or go.
    """
    schema = arrow_schema(table)
    fresh = not writer.fetch(
        sa.select(sa.literal(1).label("x")).select_from(table).limit(1)
    ).num_rows
    target = table.name if fresh else INCOMING + table.name
    rows = 0
    for batch in batches:
        chosen = batch.select(schema.names).cast(schema)
        if fresh or not rows:
            writer.append(target, chosen, temporary=not fresh)
        else:
            # PostgreSQL's driver does not find a temporary table again: each batch has its own
            part = f"{target}_{rows}"
            writer.append(part, chosen, temporary=True)
            writer.run(sa.text(f'INSERT INTO "{target}" SELECT * FROM "{part}"'))  # noqa: S608 - our names
        rows += chosen.num_rows
        tell(chosen.num_rows)
    if fresh and rows and change is not None:
        change.note(table, table)
    if fresh or not rows:
        return Merged(rows, 0, 0)
    return _merge_incoming(writer, table, rows, keeps_earliest, change)


def _merge_incoming(
    writer: Writer,
    table: sa.Table,
    rows: int,
    keeps_earliest: tuple[str, ...],
    change: Change | None,
) -> Merged:
    incoming = sa.Table(
        INCOMING + table.name, sa.MetaData(), *(sa.Column(c.name, c.type) for c in table.columns)
    )
    if writer.engine.name == "postgresql":
        writer.run(sa.text(f"ANALYZE {INCOMING}{table.name}"))
    keys = [c.name for c in table.primary_key.columns]
    others = [c.name for c in table.columns if c.name not in keys]
    same_key = sa.and_(*(incoming.c[k] == table.c[k] for k in keys))
    for name in keeps_earliest:
        stored = sa.select(table.c[name]).where(same_key).scalar_subquery()
        earlier = sa.exists().where(same_key, table.c[name] < incoming.c[name])
        writer.run(sa.update(incoming).values({name: stored}).where(earlier))
    differs = sa.or_(sa.false(), *(incoming.c[o].is_distinct_from(table.c[o]) for o in others))
    both = incoming.join(table, same_key)
    counts = writer.fetch(
        sa.select(
            icount().label("matched"), isum(sa.case((differs, 1), else_=0)).label("changed")
        ).select_from(both)
    ).to_pylist()[0]
    matched, changed = int(counts["matched"]), int(counts["changed"] or 0)
    if change is not None and (rows > matched or changed):
        unlike = sa.or_(table.c[keys[0]].is_(None), differs)
        change.note(table, incoming.outerjoin(table, same_key), unlike)
    if changed:
        if change is not None:
            change.note(table, table.join(incoming, same_key), differs)
        chosen = sa.select(*(incoming.c[k] for k in keys)).select_from(both).where(differs)
        key = table.c[keys[0]] if len(keys) == 1 else sa.tuple_(*(table.c[k] for k in keys))
        writer.run(sa.delete(table).where(key.in_(chosen)))
    if rows > matched or changed:
        names = [c.name for c in table.columns]
        missing = sa.select(*(incoming.c[n] for n in names)).where(~sa.exists().where(same_key))
        writer.run(sa.insert(table).from_select(names, missing))
    return Merged(rows - matched, changed, matched - changed)


def record_source(
    writer: Writer,
    table: sa.Table,
    source: str,
    *,
    description: str,
    attribution: str,
    simulated: bool,
    now: dt.datetime,
) -> None:
    """Say where the table's rows come from, and count each source's rows anew."""
    counted = writer.fetch(
        sa.select(table.c.source, icount().label("rows")).group_by(table.c.source)
    ).to_pylist()
    rows = {r["source"]: int(r["rows"]) for r in counted}
    ours = sa.and_(sources.c.entity == table.name, sources.c.source == source)
    writer.run(sa.delete(sources).where(ours))
    row = {
        "source": source,
        "entity": table.name,
        "description": description,
        "attribution": attribution or None,
        "simulated": simulated,
        "rows": rows.pop(source, 0),
        "loaded_at": now,
    }
    writer.append("sources", pa.Table.from_pylist([row], schema=arrow_schema(sources)))
    for other, count in rows.items():
        # rows of other sources may have been replaced by ours
        theirs = sa.and_(sources.c.entity == table.name, sources.c.source == other)
        writer.run(sa.update(sources).values(rows=count).where(theirs))
