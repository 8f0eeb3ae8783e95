"""A recipe over a staged file -> the staging engine's SQL: values, checks, rows per table.

Names of the file's columns never occur in it (`files` gives them names of ours), and what a
mapping says occurs only as quoted literals. A line is taken or refused as a whole: what one table
refuses, none takes, so an order's amount is the sum of the lines that are in the store.

Money is exact: decimal text and the nearest decimal of a double are taken as DECIMAL(18, 6),
multiplied as such, and rounded to minor units once, halves away from zero.
"""

import json
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import sqlalchemy as sa

from storage.load.errors import MappingError
from storage.load.files import FileColumn, Staged, literal
from storage.load.mapping import (
    DEFAULTS,
    TABLES,
    Choice,
    Condition,
    Constant,
    Digest,
    JsonObject,
    Kind,
    Mapping,
    Product,
    Reading,
    Recipe,
    RunningNumber,
    Spec,
    Value,
    fold,
    kind_of,
    required,
)

NUMBER = "DECIMAL(18, 6)"
#: Instants outside are taken for mistakes: a 10-digit year, a default of 1601.
EARLIEST, LATEST = "1900-01-01", "2200-01-01"
WORDS: dict[Kind, str] = {
    "instant": "a time",
    "integer": "a whole number",
    "money": "an amount",
    "boolean": "yes or no",
    "json": "a JSON object",
    "text": "a text",
}
TRUE, FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
ALLOWED = {
    ("orders", "kind"): ("sale", "return"),
    ("ratings", "kind"): ("nps", "csat", "review"),
}


@dataclass(frozen=True)
class Check:
    """A fault of a line: the SQL that finds it, its words, and the text at fault."""

    when: str
    words: str
    raw: str | None = None


@dataclass(frozen=True)
class Output:
    """One table's rows as SQL over `typed`: `values` by column, for the lines where `where`."""

    entity: str
    values: dict[str, str]
    where: str
    keys: tuple[str, ...]
    grouped: bool
    picks: dict[str, str]

    @property
    def keeps_earliest(self) -> tuple[str, ...]:
        """Columns where the store's earlier value stays."""
        return tuple(c for c, pick in self.picks.items() if pick == "earliest")


@dataclass(frozen=True)
class Program:
    """The SQL that makes `typed` (line, v0, v1, …, reasons) and the tables' rows from it."""

    typed: str
    outputs: tuple[Output, ...]


class Compiler:
    """Collects values (each computed once) and checks over one staged file."""

    def __init__(self, staged: Staged, reading: Reading, pseudonyms: dict[str, str]) -> None:
        """`pseudonyms`: by column of `staged`, the table (raw, value) that hides it."""
        self.staged = staged
        self.reading = reading
        self.pseudonyms = pseudonyms
        self.names: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        self.checks: list[Check] = []

    def program(self, recipe: Recipe) -> Program:
        """The SQL of a recipe. Raises LoadError where a column is not in the file."""
        for rule in recipe.reject:
            self.checks.append(Check(self.conditions(rule.when), rule.because))
        outputs = tuple(self.output(m) for m in recipe.mappings)
        values = "".join(f", {sql} AS {name}" for sql, name in self.names.items())
        kept = "".join(f", {name}" for name in self.names.values())
        faults = " OR ".join(f"({c.when})" for c in self.checks) or "false"
        reasons = ", ".join(fault(c) for c in self.checks)
        found = f"list_filter([{reasons}], lambda r: r IS NOT NULL)" if self.checks else "NULL"
        typed = (
            f"SELECT line{kept}, CASE WHEN {faults} THEN {found} END AS reasons "  # noqa: S608 - literals are quoted
            f"FROM (SELECT *{values} FROM staged)"
        )
        if self.numbers:
            numbers = "".join(f", {sql} AS {name}" for sql, name in self.numbers.items())
            typed = f"SELECT *{numbers} FROM ({typed})"  # noqa: S608 - our names
        return Program(typed, outputs)

    def output(self, mapping: Mapping) -> Output:
        """One table: its values, the checks of its lines, its keys."""
        table = TABLES[mapping.entity]
        keys = [c.name for c in table.primary_key.columns]
        if mapping.by:
            check_by(mapping, keys)
        taken = [self.conditions(mapping.where)] if mapping.where else []
        values: dict[str, str] = {}
        picks: dict[str, str] = {}
        if mapping.by:
            taken += [f"{self.add(self.key(mapping, by))} IS NOT NULL" for by in mapping.by]
        where = " AND ".join(f"({t})" for t in taken) or "true"
        where = "true" if where == "true" else self.add(f"coalesce({where}, false)")
        for column in table.columns:
            if column.name == "source":
                continue
            spec = mapping.columns.get(column.name)
            if spec is None:
                values[column.name] = default_of(mapping.entity, column)
                continue
            values[column.name] = self.checked(column, spec, where, mapping.entity)
            if mapping.by and column.name not in keys:
                picks[column.name] = spec.pick or "first"
        if mapping.entity == "ratings":
            kind, score = values["kind"], values["score"]
            outside = (
                f"CASE WHEN {kind} = 'nps' THEN {score} NOT BETWEEN 0 AND 10 "
                f"ELSE {score} NOT BETWEEN 1 AND 5 END"
            )
            words = "`score` is outside of its scale"
            self.checks.append(Check(f"{where} AND {outside}", words, f"CAST({score} AS VARCHAR)"))
        return Output(mapping.entity, values, where, tuple(keys), bool(mapping.by), picks)

    def key(self, mapping: Mapping, by: str) -> str:
        """The value by which lines are grouped: that of the key column made from `by`."""
        for column in TABLES[mapping.entity].primary_key.columns:
            spec = mapping.columns.get(column.name)
            if isinstance(spec, Value) and fold(spec.column) == fold(by):
                return self.value(spec, kind_of(column))
        raise MappingError(f"{mapping.entity}: “{by}” of `by` is not one of its key's columns.")

    def add(self, sql: str) -> str:
        """The name of a value in `typed`."""
        return self.names.setdefault(sql, f"v{len(self.names)}")

    def checked(self, column: sa.Column[Any], spec: Spec, where: str, entity: str) -> str:
        """The value's name, after adding its checks for the lines that the table takes."""
        if isinstance(spec, RunningNumber):
            return self.running_number(spec, where)
        kind = kind_of(column)
        value = self.add(self.value(spec, kind))
        here = "" if where == "true" else f"{where} AND "
        label = f"`{column.name}`"
        given = spec.kind if isinstance(spec, Value | Product) else None
        missing = f"{value} IS NULL"
        match spec:
            case Value():
                raw = self.text(self.staged.column(spec.column))
                words = f"{label} is not {WORDS[given or kind]}"
                if not (kind == "text" and given in (None, "text")):
                    fault = f"{here}{value} IS NULL AND {raw} IS NOT NULL"
                    self.checks.append(Check(fault, words, raw))
                missing = f"{value} IS NULL AND {raw} IS NULL"
            case Product():
                raws = [self.text(self.staged.column(c)) for c in spec.columns]
                for name, raw in zip(spec.columns, raws, strict=True):
                    number = self.number(self.staged.column(name))
                    fault = f"{here}{number} IS NULL AND {raw} IS NOT NULL"
                    words = f"{label} needs a number in `{name}`"
                    self.checks.append(Check(fault, words, raw))
                missing = f"{value} IS NULL AND ({' OR '.join(f'{r} IS NULL' for r in raws)})"
        if required(column):
            self.checks.append(Check(f"{here}{missing}", f"{label} is missing"))
        if (entity, column.name) in ALLOWED:
            allowed = ALLOWED[entity, column.name]
            listed = ", ".join(literal(a) for a in allowed)
            words = f"{label} is not {' or '.join(allowed)}"
            self.checks.append(Check(f"{here}{value} NOT IN ({listed})", words, value))
        if kind in ("text", "json") and self.staged.zero_bytes:
            fault = f"{here}contains({value}, chr(0))"
            self.checks.append(Check(fault, f"{label} holds a zero byte"))
        return value

    def value(self, spec: Spec, kind: Kind) -> str:
        """A spec's SQL over `staged`, null where it has no value or cannot be read."""
        match spec:
            case Value():
                return self.column_value(spec, kind)
            case Constant():
                return self.constant(spec.value, kind)
            case Product():
                a, b = (self.number(self.staged.column(c)) for c in spec.columns)
                if kind == "integer":
                    return whole(f"({a} * {b})")
                return minor_units(f"({a} * {b})", spec.scale)
            case Choice():
                cases = " ".join(
                    f"WHEN {self.conditions(when)} THEN {self.constant(give, kind)}"
                    for when, give in spec.cases
                )
                return f"CASE {cases} ELSE {self.constant(spec.otherwise, kind)} END"
            case RunningNumber():
                return self.running_number(spec, "true")
            case Digest():
                # a separator and a mark for null keep ("ab", "c") apart from ("a", "bc")
                parts = ", ".join(
                    f"coalesce({self.text(self.staged.column(c))}, chr(30))" for c in spec.columns
                )
                return f"md5(concat_ws(chr(31), {parts}))"
            case JsonObject():
                return self.json_object(spec)

    def running_number(self, spec: RunningNumber, where: str) -> str:
        """Numbers the lines that are taken: given once it is known which these are."""
        within = ", ".join(self.add(self.text(self.staged.column(c))) for c in spec.within)
        partition = f"reasons IS NULL AND {where}, {within}"
        sql = f"row_number() OVER (PARTITION BY {partition} ORDER BY line)"
        return self.numbers.setdefault(sql, f"n{len(self.numbers)}")

    def json_object(self, spec: JsonObject) -> str:
        """The columns that are not empty, as an object; null where all are."""
        fields = [(key, self.text(self.staged.column(c))) for key, c in spec.fields]
        empty = " AND ".join(f"{sql} IS NULL" for _, sql in fields) or "true"
        pairs = ", ".join(f"{literal(key)}, {sql}" for key, sql in fields)
        document = f"json_merge_patch('{{}}', json_object({pairs}))"
        return f"CASE WHEN NOT ({empty}) THEN CAST({document} AS VARCHAR) END"

    def column_value(self, spec: Value, kind: Kind) -> str:
        """A column as `kind`."""
        column = self.staged.column(spec.column)
        text = self.text(column)
        read: Kind = spec.kind or kind
        match read:
            case "text" if spec.pseudonym:
                table = self.pseudonyms[column.ident]
                sql = f"(SELECT value FROM {table} WHERE raw = {text})"  # noqa: S608 - our names
            case "text" if spec.spelling:
                sql = f"{spec.spelling}(regexp_replace({text}, '\\s+', ' ', 'g'))"
            case "text":
                sql = text
            case "integer":
                sql = self.integer(column)
            case "money":
                sql = minor_units(self.number(column), spec.scale)
            case "boolean":
                sql = boolean(column.type, column.ident, text)
            case "json":
                fine = f"json_valid({text}) AND json_type({text}) = 'OBJECT'"
                sql = f"CASE WHEN {fine} THEN {text} END"
            case "instant":
                sql = instant(column, text, spec.timezone or self.reading.timezone, spec.format)
        if kind == "text" and read not in ("text", "json"):
            sql = f"CAST({sql} AS VARCHAR)"
        if spec.default is None:
            return sql
        return f"CASE WHEN {text} IS NULL THEN {self.constant(spec.default, kind)} ELSE {sql} END"

    def text(self, column: FileColumn) -> str:
        """A column as text without blanks around it, null where empty."""
        match column.type:
            case "VARCHAR":
                return f"nullif(trim({column.ident}), '')"
            case "DOUBLE":
                c = column.ident
                return (
                    f"CASE WHEN {c} = trunc({c}) AND abs({c}) < 1e15 "
                    f"THEN CAST(CAST({c} AS BIGINT) AS VARCHAR) ELSE CAST({c} AS VARCHAR) END"
                )
            case _:
                return f"CAST({column.ident} AS VARCHAR)"

    def digits(self, column: FileColumn) -> str:
        """A text column's number as SQL reads it."""
        sql = self.text(column)
        for sign in (*self.reading.strip, self.reading.thousands):
            if sign:
                sql = f"replace({sql}, {literal(sign)}, '')"
        if self.reading.decimal == ",":
            # a point that is no thousands sign is a fault, not a decimal point
            sql = f"replace(replace({sql}, '.', '?'), ',', '.')"
        return sql

    def number(self, column: FileColumn) -> str:
        """A column as an exact decimal; null where it is no number."""
        if column.type != "VARCHAR":
            return f"TRY_CAST({column.ident} AS {NUMBER})"
        digits = self.digits(column)
        return f"CASE WHEN NOT contains({digits}, '_') THEN TRY_CAST({digits} AS {NUMBER}) END"

    def integer(self, column: FileColumn) -> str:
        """A column as a whole number: `7` and `7.0`, not `7.5`, `0x7` or `7_0`."""
        if column.type == "BIGINT":
            return column.ident
        if column.type != "VARCHAR":
            return whole(self.number(column))
        digits = self.digits(column)
        plain = f"regexp_full_match({digits}, '\\s*[+-]?[0-9]+\\s*')"
        return (
            f"CASE WHEN {plain} THEN TRY_CAST({digits} AS BIGINT) "
            f"ELSE {whole(self.number(column))} END"
        )

    def conditions(self, conditions: tuple[Condition, ...]) -> str:
        """All of them hold; what is unknown does not."""
        tests = " AND ".join(self.condition(c) for c in conditions) or "true"
        return f"coalesce({tests}, false)"

    def condition(self, condition: Condition) -> str:
        """One test."""
        column = self.staged.column(condition.column)
        text, operand = self.text(column), condition.value
        match condition.operator:
            case "is":
                return f"{text} = {literal(operand)}"
            case "in":
                return f"{text} IN ({', '.join(literal(v) for v in operand)})"
            case "starts":
                return f"starts_with({text}, {literal(operand)})"
            case "ends":
                return f"suffix({text}, {literal(operand)})"
            case "contains":
                return f"contains({text}, {literal(operand)})"
            case "above":
                return f"{self.number(column)} > {float(operand)!r}"
            case "not_above":
                return f"{self.number(column)} <= {float(operand)!r}"
            case "below":
                return f"{self.number(column)} < {float(operand)!r}"
            case _:
                return f"({text} IS NULL) = {'true' if operand else 'false'}"

    def constant(self, value: Any, kind: Kind) -> str:
        """A mapping's own value. Raises MappingError where it is not of the kind."""
        if value is None:
            return "NULL"
        try:
            match kind:
                case "text":
                    return literal(value)
                case "json":
                    return literal(value if isinstance(value, str) else json.dumps(value))
                case "integer":
                    return f"CAST({int(value)} AS BIGINT)"
                case "money":
                    cents = (Decimal(str(value)) * 100).quantize(Decimal(1), ROUND_HALF_UP)
                    return f"CAST({int(cents)} AS BIGINT)"
                case "boolean":
                    word = str(value).casefold()
                    return ("true", "false")[(TRUE + FALSE).index(word) // len(TRUE)]
                case "instant":
                    fixed = FileColumn("", literal(value), "VARCHAR")
                    return instant(fixed, fixed.ident, self.reading.timezone, "")
        except (ValueError, InvalidOperation) as error:
            raise MappingError(f"The constant {value!r} is not {WORDS[kind]}.") from error


def check_by(mapping: Mapping, keys: list[str]) -> None:
    """A table with `by` has one row per key: the key's columns are those of `by`."""
    specs = [mapping.columns[k] for k in keys]
    named = [fold(s.column) for s in specs if isinstance(s, Value)]
    if sorted(named) != sorted(fold(b) for b in mapping.by):
        raise MappingError(
            f"{mapping.entity}: `by` must be the columns that {' and '.join(keys)} are made from."
        )


def default_of(entity: str, column: sa.Column[Any]) -> str:
    """What a column gets that is not mapped."""
    default = DEFAULTS.get((entity, column.name))
    return "true" if default is True else "NULL"


def fault(check: Check) -> str:
    """A check as a list element: its words, and the whole reason; null where all is well."""
    said = literal(check.words)
    if check.raw is not None:
        said = f"{literal(check.words + ': “')} || left({check.raw}, 80) || '”'"
    return f"CASE WHEN {check.when} THEN {{'words': {literal(check.words)}, 'said': {said}}} END"


def whole(number: str) -> str:
    """A decimal as an integer; null where it has a fraction."""
    return f"CASE WHEN {number} = trunc({number}) THEN TRY_CAST({number} AS BIGINT) END"


def minor_units(number: str, scale: int) -> str:
    """A decimal in major units as an integer of minor ones, halves away from zero."""
    rounded = f"TRY_CAST({number} AS DECIMAL(30, {scale}))"
    return f"TRY_CAST({rounded} * {10**scale} AS BIGINT)"


def boolean(type_: str, ident: str, text: str) -> str:
    """`yes`, `true`, `1` … and their opposites."""
    if type_ == "BOOLEAN":
        return ident
    word = f"lower({text})"
    yes, no = (", ".join(literal(w) for w in words) for words in (TRUE, FALSE))
    return f"CASE WHEN {word} IN ({yes}) THEN true WHEN {word} IN ({no}) THEN false END"


def instant(column: FileColumn, text: str, zone: str, format_: str) -> str:
    """A column as naive UTC, within the years that we believe."""
    sql = _instant(column, text, zone, format_)
    return (
        f"CASE WHEN {sql} >= TIMESTAMP '{EARLIEST}' AND {sql} < TIMESTAMP '{LATEST}' THEN {sql} END"
    )


def _instant(column: FileColumn, text: str, zone: str, format_: str) -> str:
    if format_.startswith("epoch_"):
        factor = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}.get(format_)
        if factor is None:
            raise MappingError(f"“{format_}” is not a format.", hint="Use epoch_s, _ms or _us.")
        # within the years 1900 to 2200, in microseconds
        number = f"TRY_CAST({column.ident} AS DECIMAL(24, 6)) * {factor}"
        bounded = (
            f"CASE WHEN {number} BETWEEN -3000000000000000 AND 8000000000000000 THEN {number} END"
        )
        return f"make_timestamp(CAST({bounded} AS BIGINT))"
    match column.type:
        case "VARCHAR" if "%z" in format_ or "%Z" in format_:
            return f"timezone('UTC', try_strptime({text}, {literal(format_)}))"
        case "VARCHAR" if format_:
            return in_utc(f"try_strptime({text}, {literal(format_)})", zone)
        case "VARCHAR":
            # with an offset or a zone's name at its end, the text is an instant by itself
            last = f"right({text}, 1)"
            signs = " OR ".join(f"substr({text}, -{n}, 1) IN ('+', '-')" for n in (3, 5, 6))
            own = f"(({last} NOT BETWEEN '0' AND '9') OR (length({text}) > 12 AND ({signs})))"
            absolute = f"timezone('UTC', TRY_CAST({text} AS TIMESTAMPTZ))"
            local = in_utc(f"TRY_CAST({text} AS TIMESTAMP)", zone)
            return f"CASE WHEN {own} THEN {absolute} ELSE {local} END"
        case "TIMESTAMP WITH TIME ZONE":
            return f"timezone('UTC', {column.ident})"
        case "TIMESTAMP" | "DATE":
            return in_utc(f"CAST({column.ident} AS TIMESTAMP)", zone)
        case _:
            return "CAST(NULL AS TIMESTAMP)"


def in_utc(local: str, zone: str) -> str:
    """A local time as naive UTC. Skipped times move on; of two, the later (ICU's rule)."""
    if zone == "UTC":
        return local
    return f"timezone('UTC', timezone({literal(zone)}, {local}))"


def rows_of(output: Output, source: str) -> str:
    """The SELECT of a table's rows from `typed`."""
    table = TABLES[output.entity]
    order = [c.name for c in table.columns]
    taken = f"FROM typed WHERE reasons IS NULL AND {output.where}"
    if output.grouped:
        inner = grouped_rows(output, taken)
    else:
        listed = ", ".join(f'{v} AS "{c}"' for c, v in output.values.items())
        inner = f"SELECT {listed} {taken}"
    named = []
    for name in order:
        if name == "source":
            named.append(f"{literal(source)} AS source")
        elif (output.entity, name) == ("orders", "kind") and output.values[name] == "NULL":
            named.append("CASE WHEN amount_cents < 0 THEN 'return' ELSE 'sale' END AS kind")
        else:
            named.append(f'CAST("{name}" AS {duck_type(table.columns[name])}) AS "{name}"')
    return f"SELECT {', '.join(named)} FROM ({inner})"  # noqa: S608 - literals are quoted


def duck_type(column: sa.Column[Any]) -> str:
    """The staging engine's type of a column of ours."""
    match kind_of(column):
        case "instant":
            return "TIMESTAMP"
        case "money" | "integer":
            return "BIGINT"
        case "boolean":
            return "BOOLEAN"
        case "text" | "json":
            return "VARCHAR"


def grouped_rows(output: Output, taken: str) -> str:
    """One row per key; the most frequent values come from counts of their own."""
    keys = ", ".join(output.values[k] for k in output.keys)
    parts, joins = [], []
    for column, value in output.values.items():
        match output.picks.get(column):
            case None if column in output.keys:
                parts.append(f'g.{value} AS "{column}"')
            case None:
                parts.append(f'{value} AS "{column}"')
            case "most":
                joins.append(
                    f" LEFT JOIN (SELECT {keys}, min({{'n': -n, 'v': v}}).v AS m FROM "  # noqa: S608 - our names
                    f"(SELECT {keys}, {value} AS v, count(*) AS n {taken} AND {value} IS NOT NULL "
                    f"GROUP BY ALL) GROUP BY {keys}) m_{column} USING ({keys})"
                )
                parts.append(f'm_{column}.m AS "{column}"')
            case _:
                parts.append(f'g."{column}" AS "{column}"')
    aggregates = "".join(
        f', {aggregate(pick, output.values[column])} AS "{column}"'
        for column, pick in output.picks.items()
        if pick != "most"
    )
    grouped = f"(SELECT {keys}{aggregates} {taken} GROUP BY {keys}) g"
    return f"SELECT {', '.join(parts)} FROM {grouped}{''.join(joins)}"  # noqa: S608 - our names


def aggregate(pick: str, value: str) -> str:
    """One value of many; nulls are passed over."""
    match pick:
        case "first":
            return f"arg_min({value}, line)"
        case "last":
            return f"arg_max({value}, line)"
        case "earliest":
            return f"min({value})"
        case "latest":
            return f"max({value})"
        case _:
            return f"CAST(sum({value}) AS BIGINT)"
