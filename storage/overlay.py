"""Our entities laid over other people's tables: names, casts, filters, joins, a table per month.

An entity is read as a subquery over their tables wherever a question names it; nothing is created
or changed on their side. Expressions are SQL of their engine, written by whoever runs the bot.
"""

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from storage.schema import Instant, metadata
from storage.sql import utc_of

#: How a table of theirs is called in `join`, `where` and the columns' expressions.
THEIRS = "t"


class OverlayError(ValueError):
    """An overlay that cannot be; `where` are the keys that lead to the fault, the
    entity first."""

    def __init__(self, message: str, where: tuple[str, ...]) -> None:
        """`message` is a sentence's end: what is wrong there."""
        super().__init__(message)
        self.where = where


@dataclass(frozen=True)
class Overlay:
    """One entity over their tables.

    `tables` are names, a star standing for any letters; `columns` are expressions by our column;
    instants without a zone are read in `zone`.
    """

    tables: tuple[str, ...]
    columns: Mapping[str, str] = field(hash=False)
    join: str = ""
    where: str = ""
    zone: str = "UTC"


def parse_overlay(entity: str, told: Mapping[str, Any]) -> Overlay:
    """An entry of the settings. Raises OverlayError with the key at fault."""
    if entity not in metadata.tables:
        raise OverlayError(
            f"is none of our entities ({', '.join(sorted(metadata.tables))})", (entity,)
        )
    table = metadata.tables[entity]
    known = {"from", "columns", "join", "where", "zone"}
    for key in told:
        if key not in known:
            raise OverlayError(f"can be {', '.join(sorted(known))}", (entity, key))
    tables = told.get("from") or []
    named = (tables,) if isinstance(tables, str) else tuple(tables)
    if not named:
        raise OverlayError("must name a table of yours", (entity, "from"))
    columns = told.get("columns") or {}
    for name in columns:
        if name not in table.columns:
            raise OverlayError(
                f"is no column of {entity} ({', '.join(table.columns.keys())})",
                (entity, "columns", name),
            )
    for column in table.columns:
        if not column.nullable and column.name not in columns and column.name != "source":
            raise OverlayError(f"must say what {column.name} is", (entity, "columns"))
    return Overlay(
        named,
        {name: str(expression) for name, expression in columns.items()},
        str(told.get("join") or ""),
        str(told.get("where") or ""),
        str(told.get("zone") or "UTC"),
    )


def expanded(patterns: Iterable[str], there: Iterable[str]) -> list[str]:
    """The tables that the patterns name, each once, in order; a name without a star is taken."""
    found: dict[str, None] = {}
    for pattern in patterns:
        if "*" not in pattern:
            found[pattern] = None
        else:
            found.update(dict.fromkeys(sorted(fnmatch.filter(there, pattern))))
    return list(found)


def overlay_sql(entity: str, overlay: Overlay, tables: Iterable[str], dialect: Dialect) -> str:
    """The subquery that stands for an entity; over no tables it has no rows."""
    own = metadata.tables[entity]
    chosen = []
    for column in own.columns:
        expression = overlay.columns.get(column.name)
        if expression is None and column.name == "source":
            expression = "'your tables'"
        type_ = column.type.compile(dialect=dialect)
        name = dialect.identifier_preparer.quote(column.name)
        if expression is not None and isinstance(column.type, Instant):
            text = str(
                utc_of(sa.literal_column(expression), sa.literal_column(f"'{overlay.zone}'"))
                .compile(dialect=dialect)
            )  # fmt: skip
        else:
            text = f"CAST({expression or 'NULL'} AS {nullable(type_, column, dialect)})"
        chosen.append(f"{text} AS {name}")
    parts = [
        " ".join(
            filter(
                None,
                (
                    f"SELECT {', '.join(chosen)} FROM {table} AS {THEIRS}",  # noqa: S608 - the
                    # operator's own names and expressions, never an asker's
                    overlay.join,
                    f"WHERE {overlay.where}" if overlay.where else "",
                ),
            )
        )
        for table in tables
    ]
    return " UNION ALL ".join(parts) if parts else empty_sql(entity, dialect)


def empty_sql(entity: str, dialect: Dialect) -> str:
    """An entity that they have not: no rows, with our types."""
    quote = dialect.identifier_preparer.quote
    columns = ", ".join(
        f"CAST(NULL AS {nullable(c.type.compile(dialect=dialect), c, dialect)}) AS {quote(c.name)}"
        for c in metadata.tables[entity].columns
    )
    return f"SELECT {columns} WHERE 1 = 0"


def nullable(type_: str, column: sa.Column[Any], dialect: Dialect) -> str:
    """ClickHouse's types hold nulls only where they say so."""
    may = column.nullable or dialect.name != "clickhousedb"
    return type_ if may and dialect.name != "clickhousedb" else f"Nullable({type_})"


@compiles(sa.Table)
def _table(table: sa.Table, compiler: SQLCompiler, **kw: Any) -> str:
    """Their subquery in place of our table, where an overlay lies over it."""
    overlays: Mapping[str, str] = getattr(compiler.dialect, "overlays", {})
    laid = overlays.get(table.name) if table.metadata is metadata else None
    if laid is None or not kw.get("asfrom") or kw.get("iscrud"):
        return compiler.visit_table(table, **kw)  # type: ignore[no-any-return, no-untyped-call]
    if compiler.dialect.paramstyle in ("format", "pyformat"):
        laid = laid.replace("%", "%%")
    linter = kw.get("from_linter")
    if linter:
        linter.froms[table] = table.fullname
    alias = kw.get("enclosing_alias")
    if alias is not None and alias.element is table:
        return f"({laid})"
    return f"({laid}) AS {compiler.preparer.quote(table.name)}"
