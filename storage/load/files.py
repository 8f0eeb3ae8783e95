"""A file of any format -> the table `staged` of a DuckDB connection.

`staged` has `line` (1 = the first data row) and the file's columns as `c0`, `c1`, …: no name from
a file becomes part of a query. CSV, JSON Lines and Excel come as text, Parquet in its own types.
Empty cells are null, empty lines are not counted. Lines that cannot be read as a row are returned,
not staged.
"""

import codecs
import csv
import datetime as dt
import gzip
import hashlib
import io
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import duckdb
import pyarrow as pa

from storage.load.errors import LoadError
from storage.load.mapping import Reading, fold

Format = Literal["csv", "parquet", "jsonl", "excel"]

DELIMITERS = (",", ";", "\t", "|")
CHUNK = 1 << 22
ROWS = 100_000


@dataclass(frozen=True)
class FileColumn:
    """A column of the file: its name there, its name in `staged`, its DuckDB type."""

    name: str
    ident: str
    type: str


@dataclass(frozen=True)
class BadLine:
    """A line that is no row."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Staged:
    """What a file holds. `zero_bytes`: its texts may hold U+0000, which some stores refuse."""

    columns: tuple[FileColumn, ...]
    rows: int
    bad: tuple[BadLine, ...]
    zero_bytes: bool

    def column(self, name: str) -> FileColumn:
        """The column that a mapping means. Raises LoadError with the file's columns."""
        exact = [c for c in self.columns if c.name == name]
        alike = exact or [c for c in self.columns if fold(c.name) == fold(name)]
        if len(alike) == 1:
            return alike[0]
        names = ", ".join(c.name for c in self.columns)
        if alike:
            raise LoadError(
                f"“{name}” could be {' or '.join(c.name for c in alike)}.",
                hint="Write the column's name exactly as in the file.",
            )
        raise LoadError(f"The file has no column “{name}”.", hint=f"Its columns are {names}.")


def literal(text: object) -> str:
    """A value as a SQL text literal."""
    return "'" + str(text).replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def file_digest(path: Path) -> bytes:
    """BLAKE2b of the file's bytes."""
    digest = hashlib.blake2b(digest_size=16)
    with _opened(path) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.digest()


def _opened(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise LoadError(
            f"{path.name} can't be read.", hint="Check the path and its rights.", detail=str(error)
        ) from error


def format_of(path: Path) -> Format:
    """By the first bytes, then by the name."""
    with _opened(path) as file:
        head = file.read(4096)
    if head[:2] == b"\x1f\x8b":
        with gzip.open(path) as unpacked:
            head = unpacked.read(4096)
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:4] == b"PK\x03\x04":
        return "excel"
    names = {".jsonl", ".ndjson", ".json"} & {s.lower() for s in path.suffixes}
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    return "jsonl" if names or start == b"{" else "csv"


def stage(
    connection: duckdb.DuckDBPyConnection, path: Path, reading: Reading, folder: Path
) -> Staged:
    """Make the table `staged`. `folder` is for temporary files."""
    connection.execute("DROP VIEW IF EXISTS staged; DROP TABLE IF EXISTS raw")
    match format_of(path):
        case "parquet":
            return _stage_parquet(connection, path, folder)
        case "excel":
            return _stage_excel(connection, path, reading)
        case "jsonl":
            return _stage_jsonl(connection, path, reading, folder)
        case "csv":
            return _stage_csv(connection, path, reading, folder)


def _finish(
    connection: duckdb.DuckDBPyConnection,
    columns: list[FileColumn],
    bad: Iterable[BadLine],
    *,
    numbered: bool,
    zero_bytes: bool,
) -> Staged:
    """`raw` becomes `staged`; unless it is numbered, its order is the file's."""
    line = "line" if numbered else "rowid + 1 AS line"
    names = ", ".join(c.ident for c in columns)
    connection.execute(f"CREATE VIEW staged AS SELECT {line}, {names} FROM raw")  # noqa: S608 - our names
    (rows,) = connection.execute("SELECT count(*) FROM raw").fetchall()[0]
    return Staged(tuple(columns), rows, tuple(bad), zero_bytes)


def _text_columns(names: Iterable[str]) -> list[FileColumn]:
    """Names as in the file; a second `total` becomes `total (2)`, an empty one `column 3`."""
    columns: list[FileColumn] = []
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        clean = name.strip() or f"column {i + 1}"
        seen[clean] = seen.get(clean, 0) + 1
        unique = clean if seen[clean] == 1 else f"{clean} ({seen[clean]})"
        columns.append(FileColumn(unique, f"c{i}", "VARCHAR"))
    return columns


# --- text ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Text:
    """A plain UTF-8 file with the content of the original."""

    path: Path
    zero_bytes: bool


def _as_utf8(path: Path, encoding: str, folder: Path) -> _Text:
    """The file itself where it is plain UTF-8, else a copy that is.

    Without a byte order mark, what is not UTF-8 is taken for Windows-1252 (of which Latin-1's
    letters are a part).
    """
    with _opened(path) as file:
        packed = file.read(2) == b"\x1f\x8b"
    plain = path
    if packed:
        plain = folder / "unpacked"
        with gzip.open(path) as source, plain.open("wb") as target:
            while chunk := source.read(CHUNK):
                target.write(chunk)
    found, zero_bytes = _encoding(plain)
    wanted = encoding.lower() or found
    try:
        codec = codecs.lookup(wanted).name
    except LookupError as error:
        raise LoadError(
            f"“{encoding}” is not an encoding.", hint="Try utf-8 or latin-1."
        ) from error
    if codec == "utf-8":
        if found != "utf-8":
            raise LoadError(
                f"{path.name} is not UTF-8.", hint="Leave `encoding` out, or say which."
            )
        return _Text(plain, zero_bytes)
    copy = folder / "utf8"
    with (
        plain.open("r", encoding=codec, errors="replace", newline="") as source_text,
        copy.open("w", encoding="utf-8", newline="") as target_text,
    ):
        while text := source_text.read(CHUNK):
            target_text.write(text)
    return _Text(copy, zero_bytes)


def _encoding(path: Path) -> tuple[str, bool]:
    """The encoding, and whether there are zero bytes in it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    zeros = False
    utf8 = True
    with path.open("rb") as file:
        first = file.read(4)
        if first[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16", True
        file.seek(0)
        while chunk := file.read(CHUNK):
            zeros = zeros or b"\0" in chunk
            if utf8:
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    utf8 = False
    if utf8:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            utf8 = False
    return ("utf-8" if utf8 else "cp1252"), zeros


# --- CSV ----------------------------------------------------------------------------------------


def _delimiter(sample: str) -> str:
    """The sign that cuts most of the first lines into equally many columns, and most of them."""
    best = (0.0, 0)
    chosen = ","
    for sign in DELIMITERS:
        lines = csv.reader(io.StringIO(sample, newline=""), delimiter=sign)
        rows = [r for r in itertools.islice(lines, 200) if r][:50]
        if not rows or len(rows[0]) < 2:
            continue
        even = sum(len(r) == len(rows[0]) for r in rows) / len(rows)
        if (even, len(rows[0])) > best:
            best, chosen = (even, len(rows[0])), sign
    return chosen


def _stage_csv(
    connection: duckdb.DuckDBPyConnection, path: Path, reading: Reading, folder: Path
) -> Staged:
    text = _as_utf8(path, reading.encoding, folder)
    with text.path.open(encoding="utf-8-sig", newline="") as file:
        sample = file.read(1 << 16)
    delimiter = reading.delimiter or _delimiter(sample)
    header = next(
        (r for r in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if r), None
    )
    if header is None:
        raise LoadError(f"{path.name} is empty.", hint="The first line must name the columns.")
    columns = _text_columns(header)
    types = ", ".join(f"{literal(c.ident)}: 'VARCHAR'" for c in columns)
    plain = _linked(text.path, folder)
    try:
        connection.execute(
            f"CREATE TABLE raw AS SELECT * FROM read_csv({literal(plain)}, auto_detect=false, "  # noqa: S608 - quoted
            f"header=true, delim={literal(delimiter)}, quote='\"', escape='\"', nullstr='', "
            f"columns={{{types}}})"
        )
    except duckdb.Error:
        # some line is no row: read again, slower, and tell which
        return _stage_uneven_csv(connection, text, delimiter, columns)
    return _finish(connection, columns, (), numbered=False, zero_bytes=text.zero_bytes)


def _stage_uneven_csv(
    connection: duckdb.DuckDBPyConnection, text: _Text, delimiter: str, columns: list[FileColumn]
) -> Staged:
    width = len(columns)
    bad: list[BadLine] = []
    csv.field_size_limit(sys.maxsize)

    def good_rows() -> Iterator[list[Any]]:
        with text.path.open(encoding="utf-8-sig", newline="") as file:
            rows = (r for r in csv.reader(file, delimiter=delimiter) if r)
            next(rows, None)
            for line, row in enumerate(rows, start=1):
                if len(row) == width:
                    yield [line, *(cell or None for cell in row)]
                else:
                    bad.append(
                        BadLine(
                            line,
                            f"the line has {len(row)} columns, the header {width}",
                            json.dumps(row, ensure_ascii=False)[:10_000],
                        )
                    )

    _fill_raw(connection, columns, good_rows())
    return _finish(connection, columns, bad, numbered=True, zero_bytes=text.zero_bytes)


def _fill_raw(
    connection: duckdb.DuckDBPyConnection, columns: list[FileColumn], rows: Iterator[list[Any]]
) -> None:
    """`raw` from rows of (line, text, …)."""
    connection.execute("DROP TABLE IF EXISTS raw")
    declared = ", ".join(f"{c.ident} VARCHAR" for c in columns)
    connection.execute(f"CREATE TABLE raw (line BIGINT, {declared})")
    schema = pa.schema([("line", pa.int64()), *((c.ident, pa.string()) for c in columns)])
    while batch := list(itertools.islice(rows, ROWS)):
        arrays = [
            pa.array(values, field.type)
            for values, field in zip(zip(*batch, strict=True), schema, strict=True)
        ]
        connection.register("batch", pa.table(arrays, schema=schema))
        connection.execute("INSERT INTO raw SELECT * FROM batch")
        connection.unregister("batch")


def _linked(path: Path, folder: Path) -> Path:
    """A link with a plain name: `*`, `?` and `[` in a file's own name would be a pattern."""
    link = folder / "linked"
    link.unlink(missing_ok=True)
    link.symlink_to(path.resolve())
    return link


# --- JSON Lines ---------------------------------------------------------------------------------


def _stage_jsonl(
    connection: duckdb.DuckDBPyConnection, path: Path, reading: Reading, folder: Path
) -> Staged:
    text = _as_utf8(path, reading.encoding, folder)
    source = _lines_of_array(text.path, folder) or text.path
    connection.execute("DROP TABLE IF EXISTS lines")
    connection.execute(
        "CREATE TEMP TABLE lines AS SELECT j, CASE WHEN json_valid(j) THEN "  # noqa: S608 - quoted
        "CASE WHEN json_type(j) = 'OBJECT' THEN j END END AS doc "
        f"FROM read_csv({literal(_linked(source, folder))}, "
        "auto_detect=false, header=false, delim='\x01', quote='', escape='', "
        "max_line_size=33554432, columns={'j': 'VARCHAR'}) WHERE trim(j) <> ''"
    )
    found = connection.execute(
        "SELECT k, min(line * 10000 + i) AS first FROM (SELECT rowid AS line, "
        "unnest(json_keys(doc)) AS k, generate_subscripts(json_keys(doc), 1) AS i FROM lines "
        "WHERE doc IS NOT NULL) GROUP BY k ORDER BY first"
    ).fetchall()
    columns = _text_columns(name for name, _ in found)
    if not columns:
        raise LoadError(f"{path.name} holds no JSON objects.", hint="Write one object per line.")
    pointers = ", ".join(
        literal("/" + name.replace("~", "~0").replace("/", "~1")) for name, _ in found
    )
    names = ", ".join(f"v[{i + 1}] AS {c.ident}" for i, c in enumerate(columns))
    connection.execute(
        f"CREATE TABLE raw AS SELECT line, {names} FROM (SELECT rowid + 1 AS line, "  # noqa: S608 - quoted
        f"json_extract_string(doc, [{pointers}]) AS v FROM lines WHERE doc IS NOT NULL)"
    )
    bad = connection.execute(
        "SELECT rowid + 1, left(j, 10000) FROM lines WHERE doc IS NULL ORDER BY rowid"
    ).fetchall()
    connection.execute("DROP TABLE lines")
    lines = [BadLine(n, "the line is not a JSON object", json.dumps(j)) for n, j in bad]
    return _finish(connection, columns, lines, numbered=True, zero_bytes=True)


def _lines_of_array(path: Path, folder: Path) -> Path | None:
    """A file that is one JSON array, as lines; None where it is none."""
    with path.open(encoding="utf-8-sig") as file:
        if file.read(4096).lstrip()[:1] != "[":
            return None
        file.seek(0)
        try:
            rows = json.load(file)
        except ValueError as error:
            raise LoadError(f"{path.name} is not JSON.", detail=str(error)) from error
    lines = folder / "lines"
    with lines.open("w", encoding="utf-8") as target:
        target.writelines(json.dumps(row) + "\n" for row in rows)
    return lines


# --- Parquet and Excel --------------------------------------------------------------------------


def _stage_parquet(connection: duckdb.DuckDBPyConnection, path: Path, folder: Path) -> Staged:
    source = f"read_parquet({literal(_linked(path, folder))})"
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608 - quoted
    except duckdb.Error as error:
        raise LoadError(f"{path.name} is not a Parquet file.", detail=str(error)) from error
    columns, casts = [], []
    for i, (name, type_, *_) in enumerate(described):
        ours, cast = _parquet_cast(type_, quoted(name))
        columns.append(FileColumn(name, f"c{i}", ours))
        casts.append(f"{cast} AS c{i}")
    connection.execute(f"CREATE TABLE raw AS SELECT {', '.join(casts)} FROM {source}")  # noqa: S608 - quoted
    return _finish(connection, columns, (), numbered=False, zero_bytes=True)


def _parquet_cast(type_: str, name: str) -> tuple[str, str]:
    """The type in which we stage a Parquet column, and the text that makes it."""
    if type_.startswith("TIMESTAMP"):
        ours = "TIMESTAMP WITH TIME ZONE" if "ZONE" in type_ else "TIMESTAMP"
    elif type_ in ("FLOAT", "DOUBLE"):
        ours = "DOUBLE"
    elif type_ in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"):
        ours = "BIGINT"
    elif type_ in ("DATE", "BOOLEAN") or type_.startswith("DECIMAL"):
        ours = type_
    elif type_.endswith("]") or type_.startswith(("STRUCT", "MAP")):
        return "VARCHAR", f"CAST(to_json({name}) AS VARCHAR)"
    else:
        ours = "VARCHAR"
    return ours, f"CAST({name} AS {ours})"


def _stage_excel(connection: duckdb.DuckDBPyConnection, path: Path, reading: Reading) -> Staged:
    # imported here: slow to load
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise LoadError(f"{path.name} is not an Excel workbook.", detail=str(error)) from error
    try:
        if reading.sheet and reading.sheet not in book.sheetnames:
            raise LoadError(
                f"{path.name} has no sheet “{reading.sheet}”.",
                hint=f"Its sheets are {', '.join(book.sheetnames)}.",
            )
        sheet = book[reading.sheet or book.sheetnames[0]]
        rows = (r for r in sheet.iter_rows(values_only=True) if any(c is not None for c in r))
        header = next(rows, None)
        if header is None:
            raise LoadError(f"{path.name} is empty.", hint="The first row must name the columns.")
        columns = _text_columns(_cell_text(c) or "" for c in header)
        width = len(columns)
        numbered = (
            [line, *(_cell_text(c) for c in (*row, *[None] * width)[:width])]
            for line, row in enumerate(rows, start=1)
        )
        _fill_raw(connection, columns, numbered)
    finally:
        book.close()
    return _finish(connection, columns, (), numbered=True, zero_bytes=False)


def _cell_text(value: Any) -> str | None:
    """A cell as text that reads back to the same value."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case _:
            return str(value) or None
