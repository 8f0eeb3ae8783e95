"""Portable SQL: one construct per operation that engines spell differently.

Every metric is written once, from SQLAlchemy Core and these. The rules that keep results the same
everywhere:

* Time becomes an integer at once (`epoch_s`, `epoch_day`, `local_day`); calendar arithmetic is
  integer arithmetic.
* Integers are divided by `idiv` only, sums of integers are `isum`, other sums `dsum`, rows are
  counted by `icount`: no engine's own wide or unsigned type comes back.
* What is grouped or ordered by is the same object as what is selected, or its label: two equal
  expressions with bound values are different texts to the engine.
* Seconds are floored, never cast: some engines round.
* `lag` and `lead` take their default as an argument of the column's type; outer joins are
  coalesced.
* Templates never hold a bare percent sign: `pyformat` drivers read it as a placeholder.

To teach an engine: add its rules here. A construct without a rule for an engine uses the default,
which is PostgreSQL's.
"""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import (
    RESERVED_WORDS,
    PGDialect,
    PGIdentifierPreparer,
    PGTypeCompiler,
)
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import GenericTypeCompiler, IdentifierPreparer, SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from storage.schema import Instant

Sql = sa.ColumnElement[Any]


class PortableFunction(FunctionElement[Any]):
    """A construct whose text is a template per dialect, filled with its compiled arguments."""

    inherit_cache = True


def _argument(compiler: SQLCompiler, expression: Any, **kw: Any) -> str:
    """An argument's text, in brackets unless it is one token: templates know no precedence."""
    text = compiler.process(expression, **kw)
    if isinstance(expression, FunctionElement | sa.Cast):
        return text
    simple = isinstance(expression, sa.ColumnClause | sa.BindParameter) and " " not in text
    return text if simple else f"({text})"


#: Dialects that spell alike.
FAMILIES = {"spark": ("spark", "databricks"), "clickhouse": ("clickhousedb",)}


def _construct(name: str, returns: sa.types.TypeEngine[Any], doc: str, **rules: str) -> Any:
    """A construct `name(...)`; `rules` are templates per dialect or family, `default`: the rest."""
    cls = type(
        name,
        (PortableFunction,),
        {"inherit_cache": True, "name": name, "type": returns, "__doc__": doc},
    )

    def rule(template: str) -> Callable[..., str]:
        def render(element: Any, compiler: SQLCompiler, **kw: Any) -> str:
            parts = [_argument(compiler, a, **kw) for a in element.clauses]
            return template.format(*parts)

        return render

    compiles(cls)(rule(rules.pop("default")))
    for family, template in rules.items():
        for dialect in FAMILIES.get(family, (family,)):
            compiles(cls, dialect)(rule(template))
    return cls


epoch_day = _construct(
    "epoch_day",
    sa.Integer(),
    "epoch_day(instant): whole days since 1970-01-01, UTC.",
    default="(CAST({0} AS DATE) - DATE '1970-01-01')",
    sqlite="({0} / 86400000000 - ({0} / 86400000000 * 86400000000 > {0}))",
    spark="unix_date(CAST({0} AS DATE))",
    clickhouse="toInt64(toDate32({0}))",
    trino="date_diff('day', DATE '1970-01-01', CAST({0} AS DATE))",
    snowflake="DATEDIFF(day, DATE '1970-01-01', CAST({0} AS DATE))",
    redshift="DATEDIFF(day, DATE '1970-01-01', CAST({0} AS DATE))",
    bigquery="UNIX_DATE(DATE({0}))",
)

local_day = _construct(
    "local_day",
    sa.Integer(),
    "local_day(instant, zone): the local date in an IANA zone, as days since 1970-01-01.",
    default="(CAST({0} AT TIME ZONE 'UTC' AT TIME ZONE {1} AS DATE) - DATE '1970-01-01')",
    sqlite="local_day({0}, {1})",
    spark="unix_date(CAST(from_utc_timestamp({0}, {1}) AS DATE))",
    clickhouse="toInt64(toDate32({0}, {1}))",
    trino="date_diff('day', DATE '1970-01-01', "
    "CAST(at_timezone(with_timezone({0}, 'UTC'), {1}) AS DATE))",
    snowflake="DATEDIFF(day, DATE '1970-01-01', CAST(CONVERT_TIMEZONE('UTC', {1}, {0}) AS DATE))",
    redshift="DATEDIFF(day, DATE '1970-01-01', CAST(CONVERT_TIMEZONE('UTC', {1}, {0}) AS DATE))",
    bigquery="UNIX_DATE(DATE(TIMESTAMP({0}), {1}))",
)

epoch_s = _construct(
    "epoch_s",
    sa.BigInteger(),
    "epoch_s(instant): whole seconds since 1970-01-01, floored.",
    default="CAST(floor(extract(epoch FROM {0})) AS BIGINT)",
    duckdb="(epoch_us(date_trunc('second', {0})) // 1000000)",
    sqlite="({0} / 1000000 - ({0} / 1000000 * 1000000 > {0}))",
    spark="unix_seconds(CAST({0} AS TIMESTAMP))",
    clickhouse="toInt64(floor(toUnixTimestamp64Micro({0}) / 1000000))",
    trino="CAST(floor(to_unixtime({0})) AS BIGINT)",
    snowflake="DATE_PART(epoch_second, {0})",
    bigquery="UNIX_SECONDS(TIMESTAMP({0}))",
)

epoch_us = _construct(
    "epoch_us",
    sa.BigInteger(),
    "epoch_us(instant): microseconds since 1970-01-01.",
    default="CAST(extract(epoch FROM {0}) * 1000000 AS BIGINT)",
    duckdb="epoch_us({0})",
    sqlite="({0} + 0)",
    spark="unix_micros(CAST({0} AS TIMESTAMP))",
    clickhouse="toUnixTimestamp64Micro({0})",
    trino="CAST(to_unixtime({0}) * 1000000 AS BIGINT)",
    snowflake="DATE_PART(epoch_microsecond, {0})",
    bigquery="UNIX_MICROS(TIMESTAMP({0}))",
)

utc_of = _construct(
    "utc_of",
    Instant(),
    "utc_of(time, zone): a time of other people's as a UTC instant: read in the zone where it has "
    "none of its own.",
    default="CAST(CAST({0} AS TIMESTAMP) AT TIME ZONE {1} AT TIME ZONE 'UTC' AS TIMESTAMP)",
    sqlite="utc_us({0}, {1})",
    spark="CAST(to_utc_timestamp(CAST({0} AS TIMESTAMP), {1}) AS TIMESTAMP_NTZ)",
    clickhouse="toTimeZone(toDateTime64(toString({0}), 6, {1}), 'UTC')",
    trino="CAST(at_timezone(with_timezone(CAST({0} AS TIMESTAMP), {1}), 'UTC') AS TIMESTAMP)",
    snowflake="CONVERT_TIMEZONE({1}, 'UTC', CAST({0} AS TIMESTAMP_NTZ))",
    redshift="CONVERT_TIMEZONE({1}, 'UTC', CAST({0} AS TIMESTAMP))",
    bigquery="DATETIME(TIMESTAMP(CAST({0} AS DATETIME), {1}), 'UTC')",
)

idiv = _construct(
    "idiv",
    sa.BigInteger(),
    "idiv(a, b): integer division of integers that are not negative; null where b is 0.",
    default="({0} / NULLIF({1}, 0))",
    duckdb="({0} // NULLIF({1}, 0))",
    spark="({0} div NULLIF({1}, 0))",
    clickhouse="intDiv({0}, NULLIF({1}, 0))",
    snowflake="CAST(FLOOR({0} / NULLIF({1}, 0)) AS BIGINT)",
    bigquery="DIV({0}, NULLIF({1}, 0))",
)

isum = _construct(
    "isum",
    sa.BigInteger(),
    "isum(x): the sum of integers, as a 64-bit integer; null over no rows.",
    default="CAST(SUM({0}) AS BIGINT)",
    sqlite="SUM({0})",
    clickhouse="toInt64(sum({0}))",
    bigquery="CAST(SUM({0}) AS INT64)",
)

dsum = _construct(
    "dsum",
    sa.Double(),
    "dsum(x): the sum as a double; null over no rows.",
    default="SUM(CAST({0} AS DOUBLE PRECISION))",
    duckdb="SUM(CAST({0} AS DOUBLE))",
    sqlite="SUM(CAST({0} AS REAL))",
    spark="SUM(CAST({0} AS DOUBLE))",
    trino="SUM(CAST({0} AS DOUBLE))",
    clickhouse="sum(toFloat64({0}))",
    bigquery="SUM(CAST({0} AS FLOAT64))",
)

dbl = _construct(
    "dbl",
    sa.Double(),
    "dbl(x): as a double, so that `/` is division.",
    default="CAST({0} AS DOUBLE PRECISION)",
    duckdb="CAST({0} AS DOUBLE)",
    sqlite="CAST({0} AS REAL)",
    spark="CAST({0} AS DOUBLE)",
    trino="CAST({0} AS DOUBLE)",
    clickhouse="toFloat64({0})",
    bigquery="CAST({0} AS FLOAT64)",
)

icount = _construct(
    "icount",
    sa.BigInteger(),
    "icount(): the number of rows.",
    default="COUNT(*)",
    clickhouse="toInt64(count())",
)

distinct_where = _construct(
    "distinct_where",
    sa.BigInteger(),
    "distinct_where(value, condition): the number of different values where the condition holds. "
    "SQLite looks each null up too, unless the rows are filtered.",
    default="count(DISTINCT CASE WHEN {1} THEN {0} END)",
    sqlite="count(DISTINCT {0}) FILTER (WHERE {1})",
)

json_text = _construct(
    "json_text",
    sa.Text(),
    "json_text(object, key): a key's value in a JSON object, as text; null where there is none. "
    "A number is written as Python writes it, a list or object as the engine does.",
    default="(CAST({0} AS jsonb) ->> {1})",
    # a pointer, since DuckDB reads a bare key with $, * or [ in it as a path
    duckdb="json_extract_string({0}, '/' || replace(replace({1}, '~', '~0'), '/', '~1'))",
    sqlite="json_text({0}, {1})",
    spark="try_element_at(from_json({0}, 'MAP<STRING,STRING>'), {1})",
    clickhouse="if(JSONType({0}, {1}) = 'Null', NULL, if(JSONType({0}, {1}) = 'String', "
    "JSONExtractString({0}, {1}), JSONExtractRaw({0}, {1})))",
    trino="json_extract_scalar({0}, '$[\"' || {1} || '\"]')",
    snowflake="TO_VARCHAR(GET(PARSE_JSON({0}), {1}))",
    bigquery="JSON_VALUE(PARSE_JSON({0})[{1}])",
    redshift="json_extract_path_text({0}, {1})",
)

bucket = _construct(
    "bucket",
    sa.BigInteger(),
    "bucket(key, n): a stable bucket 0..n-1 of a text, by the first 32 bits of its MD5.",
    default="mod(CAST(CAST('x' || substr(md5({0}), 1, 8) AS bit(32)) AS bigint), {1})",
    duckdb="mod(CAST('0x' || substr(md5({0}), 1, 8) AS BIGINT), {1})",
    sqlite="md5_bucket({0}, {1})",
    spark="mod(CAST(conv(substr(md5({0}), 1, 8), 16, 10) AS BIGINT), {1})",
    clickhouse="toInt64(modulo(reinterpretAsUInt32(reverse(substring(MD5({0}), 1, 4))), {1}))",
    trino="mod(from_base(substr(to_hex(md5(to_utf8({0}))), 1, 8), 16), {1})",
    snowflake="MOD(TO_NUMBER(SUBSTR(MD5({0}), 1, 8), 'XXXXXXXX'), {1})",
    bigquery="MOD(CAST(CONCAT('0x', SUBSTR(TO_HEX(MD5({0})), 1, 8)) AS INT64), {1})",
    redshift="mod(strtol(substring(md5({0}), 1, 8), 16), {1})",
)

sum_of_squares = _construct(
    "sum_of_squares",
    sa.Double(),
    "sum_of_squares(x): the sum of x*x as a double.",
    default="SUM(CAST({0} AS DOUBLE PRECISION) * CAST({0} AS DOUBLE PRECISION))",
    duckdb="SUM(CAST({0} AS DOUBLE) * CAST({0} AS DOUBLE))",
    sqlite="SUM(CAST({0} AS REAL) * CAST({0} AS REAL))",
    spark="SUM(CAST({0} AS DOUBLE) * CAST({0} AS DOUBLE))",
    trino="SUM(CAST({0} AS DOUBLE) * CAST({0} AS DOUBLE))",
    clickhouse="sum(toFloat64({0}) * toFloat64({0}))",
    bigquery="SUM(CAST({0} AS FLOAT64) * CAST({0} AS FLOAT64))",
)

natural_log1p = _construct(
    "natural_log1p",
    sa.Double(),
    "natural_log1p(x): ln(1 + x) of a number that is not below zero.",
    default="ln(1.0 + CAST({0} AS DOUBLE PRECISION))",
    duckdb="ln(1.0 + CAST({0} AS DOUBLE))",
    spark="ln(1.0D + CAST({0} AS DOUBLE))",
    trino="ln(1.0 + CAST({0} AS DOUBLE))",
    clickhouse="log(1.0 + toFloat64({0}))",
    bigquery="LN(1.0 + CAST({0} AS FLOAT64))",
)


class _ExactPercentile(FunctionElement[Any]):
    """An interpolated percentile as an ordinary aggregate, where the engine has one."""

    inherit_cache = True
    name = "exact_percentile"
    type = sa.Double()


@compiles(_ExactPercentile)
def _percentile_default(element: Any, compiler: SQLCompiler, **kw: Any) -> str:
    fraction, value = (_argument(compiler, a, **kw) for a in element.clauses)
    return f"percentile_cont({fraction}) WITHIN GROUP (ORDER BY {value})"


@compiles(_ExactPercentile, "duckdb")
def _percentile_duckdb(element: Any, compiler: SQLCompiler, **kw: Any) -> str:
    fraction, value = (_argument(compiler, a, **kw) for a in element.clauses)
    return f"quantile_cont(CAST({value} AS DOUBLE), {fraction})"


@compiles(_ExactPercentile, "clickhousedb")
def _percentile_clickhouse(element: Any, compiler: SQLCompiler, **kw: Any) -> str:
    fraction, value = (_argument(compiler, a, **kw) for a in element.clauses)
    return f"quantileExactInclusive({fraction})(toFloat64({value}))"


@compiles(_ExactPercentile, "spark")
@compiles(_ExactPercentile, "databricks")
def _percentile_spark(element: Any, compiler: SQLCompiler, **kw: Any) -> str:
    fraction, value = (_argument(compiler, a, **kw) for a in element.clauses)
    return f"percentile(CAST({value} AS DOUBLE), {fraction})"


#: Dialects without an exact percentile aggregate: there it is written with row numbers.
WITHOUT_PERCENTILE = frozenset({"sqlite", "trino", "bigquery"})


def percentiles(
    source: sa.FromClause,
    by: tuple[str, ...],
    value: str,
    fractions: Mapping[str, float],
    dialect: str,
) -> sa.Select[*tuple[Any, ...]]:
    """Per group: `n` and each fraction's interpolated percentile, ordered by the group.

    The percentile is Hyndman and Fan's type 7 (numpy's default), on every engine to 12 digits.
    """
    groups = [source.c[k] for k in by]
    column = source.c[value]
    if dialect not in WITHOUT_PERCENTILE:
        aggregates = [
            _ExactPercentile(sa.literal_column(repr(float(f))), column).label(name)
            for name, f in fractions.items()
        ]
        chosen = sa.select(*groups, icount().label("n"), *aggregates).where(column.is_not(None))
        return chosen.group_by(*groups).order_by(*groups)
    ranked = (
        sa.select(
            *groups,
            column.label("v"),
            sa.func.row_number().over(partition_by=groups, order_by=column).label("rank"),
            sa.func.count().over(partition_by=groups).label("n"),
        )
        .where(column.is_not(None))
        .subquery()
    )
    columns = []
    for name, f in fractions.items():
        # the percentile lies at rank 1 + f(n-1): its two neighbours weigh by their distance
        distance = dbl(ranked.c.rank - 1) - sa.literal_column(repr(float(f))) * dbl(ranked.c.n - 1)
        weight = sa.case(
            (sa.and_(distance > -1, distance <= 0), 1.0 + distance),
            (sa.and_(distance > 0, distance < 1), 1.0 - distance),
            else_=0.0,
        )
        columns.append(sa.func.sum(weight * dbl(ranked.c.v)).label(name))
    keys = [ranked.c[k] for k in by]
    chosen = sa.select(*keys, sa.func.max(ranked.c.n).label("n"), *columns)
    return chosen.group_by(*keys).order_by(*keys)


class _DuckTypes(PGTypeCompiler):
    """DuckDB's names where they differ: its FLOAT has 32 bits."""

    def visit_FLOAT(self, *_: Any, **__: Any) -> str:  # noqa: N802
        return "DOUBLE"

    def visit_DOUBLE_PRECISION(self, *_: Any, **__: Any) -> str:  # noqa: N802
        return "DOUBLE"

    def visit_TEXT(self, *_: Any, **__: Any) -> str:  # noqa: N802
        return "VARCHAR"


class _DuckIdentifiers(PGIdentifierPreparer):
    """Quotes the words that DuckDB keeps for itself, beside PostgreSQL's."""

    reserved_words = RESERVED_WORDS | {
        "anti", "asof", "at", "by", "columns", "concurrently", "collation", "describe",
        "generated", "glob", "lambda", "lateral", "map", "pivot", "pivot_longer", "pivot_wider",
        "positional", "qualify", "semi", "show", "struct", "summarize", "tablesample", "try_cast",
        "tuple", "unpack", "unpivot",
    }  # fmt: skip


class DuckDialect(PGDialect):
    """Compile-only: the text goes to DuckDB's own connection."""

    name = "duckdb"
    driver = "native"
    type_compiler_cls = _DuckTypes
    preparer = _DuckIdentifiers
    supports_statement_cache = True
    use_native_hstore = False

    def __init__(self, **kwargs: Any) -> None:
        """Numbered dollar parameters, as DuckDB binds them."""
        super().__init__(paramstyle="numeric_dollar", **kwargs)  # type: ignore[no-untyped-call]


class _SparkCompiler(SQLCompiler):
    """Spark's words for truth and for limits; instants are bound as what the tables hold."""

    def visit_true(self, *_: Any, **__: Any) -> str:
        return "true"

    def visit_false(self, *_: Any, **__: Any) -> str:
        return "false"

    def visit_bindparam(self, bindparam: Any, *args: Any, **kw: Any) -> str:
        text: str = super().visit_bindparam(bindparam, *args, **kw)  # type: ignore[no-untyped-call]
        is_instant = isinstance(bindparam.type, Instant | sa.DateTime)
        return f"CAST({text} AS TIMESTAMP_NTZ)" if is_instant else text

    def limit_clause(self, select: Any, **kw: Any) -> str:
        text = ""
        if select._limit_clause is not None:
            text += "\n LIMIT " + self.process(select._limit_clause, **kw)
        if select._offset_clause is not None:
            text += "\n OFFSET " + self.process(select._offset_clause, **kw)
        return text


class _SparkTypes(GenericTypeCompiler):
    """Spark's names; every integer has 64 bits."""

    def visit_TEXT(self, *_: Any, **__: Any) -> str:  # noqa: N802
        return "STRING"

    visit_VARCHAR = visit_TEXT  # noqa: N815

    def visit_FLOAT(self, *_: Any, **__: Any) -> str:  # noqa: N802
        return "DOUBLE"

    visit_DOUBLE_PRECISION = visit_FLOAT  # noqa: N815

    def visit_INTEGER(self, *_: Any, **__: Any) -> str:  # noqa: N802
        return "BIGINT"

    def visit_DATETIME(self, *_: Any, **__: Any) -> str:  # noqa: N802
        return "TIMESTAMP_NTZ"


class _SparkIdentifiers(IdentifierPreparer):
    """Names stand in back-ticks."""

    def __init__(self, dialect: Any) -> None:
        """Spark reads double quotes as texts."""
        super().__init__(dialect, initial_quote="`", final_quote="`", escape_quote="`")


class SparkDialect(DefaultDialect):
    """Compile-only: the text goes to Spark Connect."""

    name = "spark"
    driver = "connect"
    statement_compiler = _SparkCompiler
    type_compiler_cls = _SparkTypes
    preparer = _SparkIdentifiers  # type: ignore[assignment]
    supports_statement_cache = True
    supports_native_boolean = True

    def __init__(self, **kwargs: Any) -> None:
        """Question marks, bound by position."""
        super().__init__(paramstyle="qmark", **kwargs)
