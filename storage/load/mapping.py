"""How the columns of a file become ours: the mapping, and its form in `config.yaml`.

One table::

    loads:
      signups:
        entity: people
        timezone: Europe/London        # of times without an offset; UTC where it is left out
        decimal: ","                   # in numbers; "." where it is left out
        thousands: "."
        strip: "€"                     # characters to take out of numbers
        columns:
          person_id: {from: Customer ID, pseudonym: true}
          first_seen_at: {from: Joined, format: "%d/%m/%Y %H:%M"}
          channel: {constant: web}

Several tables from one wide file (a recipe): `tables:` holds a list of such tables, in the order
they are filled. A table with `by: [column, …]` has one row per value of these columns; lines
where one of them is empty are left out of it. `where:` takes only some lines. `reject:` refuses
lines, with the reason that people will read::

    reject:
      - {when: {UnitPrice: {not_above: 0}}, because: "the price is not above zero"}

Columns are named as in the file; case, spaces and `_` do not matter. A column's spec is one of

| spec | value |
|---|---|
| `Name` | the file's column, as the type of ours |
| `{from: Name, as: …, format: …, timezone: …, scale: …, spelling: …, default: …, pseudonym: true}` | the same, said in full |
| `{constant: value}` | the same on each line |
| `{multiply: [A, B]}` | the exact product, rounded once |
| `{case: [{when: {…}, give: value}, …], otherwise: value}` | the first case that holds |
| `{running_number_in: [A, …]}` | 1, 2, … among the taken lines with equal A, in the file's order |
| `{digest: [A, …]}` | an identifier made from the columns' values |
| `{json: {key: Column, …}}` | a JSON object of the columns that are not empty |

`as` is `text`, `integer`, `money` (an amount in major units, kept in minor ones; `scale` decimals,
2 where left out), `boolean`, `json` or `instant`. `format` of an instant is `strptime`'s, or
`epoch_s`, `epoch_ms`, `epoch_us`; without it ISO 8601 is read and its offset honoured. A local
time that the clocks skipped is moved on by the gap; one that they passed twice is the later one.
`spelling: upper` (or `lower`) of a text makes one of texts that differ in case or blanks only.

In a table with `by:` each spec may have `pick:` `first`, `last` (by line), `earliest`, `latest` (by
value), `most` (the most frequent; the smallest of equals) or `sum`; `first` where it is left out.
`earliest` also keeps what the store holds where that is earlier, so files may come in any order.

Conditions are `{Column: {op: value}}`, all of which must hold: `is`, `in`, `starts`, `ends`,
`contains` (texts), `above`, `not_above`, `below` (numbers), `empty: true|false`.
"""  # noqa: E501 - a table

import dataclasses
import json
import unicodedata
from dataclasses import dataclass, field
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa

from storage.load.errors import MappingError
from storage.schema import ENTITIES, Instant

Kind = Literal["text", "integer", "money", "boolean", "json", "instant"]
Pick = Literal["", "first", "last", "earliest", "latest", "most", "sum"]

Spelling = Literal["", "upper", "lower"]

KINDS = ("text", "integer", "money", "boolean", "json", "instant")
PICKS = ("first", "last", "earliest", "latest", "most", "sum")
OPERATORS = ("is", "in", "starts", "ends", "contains", "above", "not_above", "below", "empty")
TABLES = {table.name: table for table in ENTITIES}
DOCUMENTS = ("attributes", "properties")


@dataclass(frozen=True)
class Condition:
    """`column operator value`."""

    column: str
    operator: str
    value: Any


@dataclass(frozen=True)
class Value:
    """A column of the file."""

    column: str
    kind: Kind | None = None
    format: str = ""
    timezone: str = ""
    scale: int = 2
    default: Any = None
    spelling: Spelling = ""
    pseudonym: bool = False
    pick: Pick = ""


@dataclass(frozen=True)
class Constant:
    """The same value on each line."""

    value: Any
    pick: Pick = ""


@dataclass(frozen=True)
class Product:
    """The product of two columns."""

    columns: tuple[str, ...]
    kind: Kind | None = None
    scale: int = 2
    pick: Pick = ""


@dataclass(frozen=True)
class Choice:
    """The value of the first case whose conditions all hold."""

    cases: tuple[tuple[tuple[Condition, ...], Any], ...]
    otherwise: Any = None
    pick: Pick = ""


@dataclass(frozen=True)
class RunningNumber:
    """1, 2, … among the taken lines with equal values, in the file's order."""

    within: tuple[str, ...]
    pick: Pick = ""


@dataclass(frozen=True)
class Digest:
    """An identifier made from values: equal lines are one row."""

    columns: tuple[str, ...]
    pick: Pick = ""


@dataclass(frozen=True)
class JsonObject:
    """A document of further columns."""

    fields: tuple[tuple[str, str], ...]
    pick: Pick = ""


Spec = Value | Constant | Product | Choice | RunningNumber | Digest | JsonObject


@dataclass(frozen=True)
class Reject:
    """Lines that are refused, and why."""

    when: tuple[Condition, ...]
    because: str


@dataclass(frozen=True)
class Reading:
    """How the file is written. Empty `delimiter`, `encoding`, `sheet`: found out."""

    timezone: str = "UTC"
    decimal: str = "."
    thousands: str = ""
    strip: str = ""
    delimiter: str = ""
    encoding: str = ""
    sheet: str = ""


@dataclass(frozen=True)
class Mapping:
    """One of our tables from a file's columns."""

    entity: str
    columns: dict[str, Spec]
    by: tuple[str, ...] = ()
    where: tuple[Condition, ...] = ()
    reject: tuple[Reject, ...] = ()
    reading: Reading = field(default_factory=Reading)

    def __post_init__(self) -> None:
        """Raises MappingError unless the table can be filled from these columns."""
        check(self)


@dataclass(frozen=True)
class Recipe:
    """Several of our tables from one file, in the order they are filled."""

    mappings: tuple[Mapping, ...]
    reject: tuple[Reject, ...] = ()
    reading: Reading = field(default_factory=Reading)

    @property
    def entities(self) -> tuple[str, ...]:
        """The tables that are filled."""
        return tuple(m.entity for m in self.mappings)


def recipe_of(mapping: Mapping | Recipe) -> Recipe:
    """A single mapping is a recipe of one."""
    if isinstance(mapping, Recipe):
        return mapping
    return Recipe((mapping,), mapping.reject, mapping.reading)


def canonical(mapping: Mapping | Recipe) -> str:
    """The mapping as JSON text: equal texts load equal rows."""
    recipe = recipe_of(mapping)
    return json.dumps(dataclasses.asdict(recipe), sort_keys=True, default=str)


def fold(name: str) -> str:
    """What is compared of a name: letters and digits, without case."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in folded if c.isalnum())


def kind_of(column: sa.Column[Any]) -> Kind:
    """What a column of ours takes."""
    if isinstance(column.type, Instant):
        return "instant"
    if isinstance(column.type, sa.Boolean):
        return "boolean"
    if column.name.endswith("_cents"):
        return "money"
    if isinstance(column.type, sa.Integer):
        return "integer"
    return "json" if column.name in DOCUMENTS else "text"


def required(column: sa.Column[Any]) -> bool:
    """May not be null."""
    return not column.nullable


#: What a required column gets where the mapping does not name it. An order's kind follows the
#: sign of its amount.
DEFAULTS: dict[tuple[str, str], Any] = {("items", "is_product"): True, ("orders", "kind"): None}


def check(mapping: Mapping) -> None:
    """Raises MappingError with what is wrong."""
    if mapping.entity not in TABLES:
        raise MappingError(
            f"“{mapping.entity}” is not one of our tables.", hint=f"They are {', '.join(TABLES)}."
        )
    table = TABLES[mapping.entity]
    for name, spec in mapping.columns.items():
        if name not in table.columns or name == "source":
            known = ", ".join(c.name for c in table.columns if c.name != "source")
            raise MappingError(
                f"{mapping.entity} has no column “{name}” to be mapped.",
                hint=f"Its columns are {known}.",
            )
        wanted = kind_of(table.columns[name])
        given = spec.kind if isinstance(spec, Value | Product) else None
        fits = (
            given in (None, wanted) or wanted == "text" or (given, wanted) == ("integer", "money")
        )
        if not fits:
            raise MappingError(f"{mapping.entity}.{name} takes {wanted}, not {given}.")
        if isinstance(spec, RunningNumber) and (mapping.by or wanted != "integer"):
            raise MappingError(f"{mapping.entity}.{name} can't be a running number.")
        if spec.pick and not mapping.by:
            raise MappingError(
                f"{mapping.entity}.{name} has a `pick`, but the table has no `by`.",
                hint="Add `by: [column]`, or leave `pick` out.",
            )
        if isinstance(spec, Value) and spec.pseudonym and wanted != "text":
            raise MappingError(f"{mapping.entity}.{name} can't be a pseudonym: it is no text.")
    missing = [
        c.name
        for c in table.columns
        if required(c)
        and c.name not in mapping.columns
        and c.name != "source"
        and (mapping.entity, c.name) not in DEFAULTS
    ]
    if missing:
        raise MappingError(
            f"The mapping of {mapping.entity} lacks {', '.join(missing)}.",
            hint="Map each of them to a column of the file or a constant.",
        )


# --- from config.yaml ---------------------------------------------------------------------------


def parse_mapping(config: Any) -> Mapping | Recipe:
    """The mapping or recipe of one entry of `loads:`. Raises MappingError."""
    entry = _object(config, "A mapping")
    reading = _reading(entry)
    reject = _rejects(entry.get("reject", []))
    if "tables" not in entry:
        _only(entry, {"entity", "columns", "by", "where", "reject", *READING}, "A mapping")
        return _mapping(entry, reject, reading)
    _only(entry, {"tables", "reject", *READING}, "A recipe")
    tables = entry["tables"]
    if not isinstance(tables, list) or not tables:
        raise MappingError("`tables` must be a list of tables.")
    mappings = []
    for table in tables:
        one = _object(table, "A table of a recipe")
        _only(one, {"entity", "columns", "by", "where"}, "A table of a recipe")
        mappings.append(_mapping(one, (), reading))
    entities = [m.entity for m in mappings]
    if len(set(entities)) < len(entities):
        raise MappingError("A recipe fills each table once.", hint="Join the entries of one table.")
    return Recipe(tuple(mappings), reject, reading)


READING = tuple(f.name for f in dataclasses.fields(Reading))


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MappingError(f"{what} must be written as `key: value` lines, not {value!r}.")
    return value


def _only(entry: dict[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(str(k) for k in entry if k not in known)
    if unknown:
        raise MappingError(
            f"{what} has no “{unknown[0]}”.", hint=f"It may have {', '.join(sorted(known))}."
        )


def _reading(entry: dict[str, Any]) -> Reading:
    said = {k: str(entry[k]) for k in READING if k in entry}
    reading = Reading(**said)
    _zone(reading.timezone)
    if reading.decimal not in (".", ","):
        raise MappingError(f"`decimal` is “.” or “,”, not “{reading.decimal}”.")
    if reading.thousands and reading.thousands == reading.decimal:
        raise MappingError("`decimal` and `thousands` can't be the same sign.")
    return reading


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise MappingError(
            f"“{name}” is not a time zone.", hint="Use an IANA name such as Europe/London."
        ) from error
    return name


def _mapping(entry: dict[str, Any], reject: tuple[Reject, ...], reading: Reading) -> Mapping:
    entity = str(entry.get("entity", ""))
    columns = _object(entry.get("columns", {}), f"`columns` of {entity or 'a mapping'}")
    return Mapping(
        entity=entity,
        columns={str(name): _spec(spec, f"{entity}.{name}") for name, spec in columns.items()},
        by=_names(entry.get("by", []), f"`by` of {entity}"),
        where=_conditions(entry.get("where", {}), f"`where` of {entity}"),
        reject=reject,
        reading=reading,
    )


def _names(value: Any, what: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
        raise MappingError(f"{what} must be a column or a list of columns.")
    return tuple(names)


def _rejects(value: Any) -> tuple[Reject, ...]:
    if not isinstance(value, list):
        raise MappingError("`reject` must be a list of `{when: …, because: …}`.")
    rules = []
    for rule in value:
        one = _object(rule, "A `reject` rule")
        _only(one, {"when", "because"}, "A `reject` rule")
        when = _conditions(one.get("when", {}), "`when` of a `reject` rule")
        if not when or not one.get("because"):
            raise MappingError("A `reject` rule needs `when` and `because`.")
        rules.append(Reject(when, str(one["because"])))
    return tuple(rules)


def _conditions(value: Any, what: str) -> tuple[Condition, ...]:
    found = []
    for column, tests in _object(value, what).items():
        for operator, operand in _object(tests, f"{what}, column {column},").items():
            if operator not in OPERATORS:
                raise MappingError(
                    f"{what}: “{operator}” is not a test.",
                    hint=f"The tests are {', '.join(OPERATORS)}.",
                )
            if operator in ("above", "not_above", "below") and (
                isinstance(operand, bool) or not isinstance(operand, int | float)
            ):
                raise MappingError(f"{what}: `{operator}` compares with a number.")
            if operator == "empty" and not isinstance(operand, bool):
                raise MappingError(f"{what}: `empty` is true or false.")
            texts = operand if isinstance(operand, list) else [operand]
            stored = tuple(str(t) for t in texts) if operator == "in" else operand
            found.append(Condition(str(column), operator, stored))
    return tuple(found)


def _spec(value: Any, where: str) -> Spec:
    if isinstance(value, str):
        return Value(value)
    spec = dict(_object(value, f"The spec of {where}"))
    pick = spec.pop("pick", "")
    if pick and pick not in PICKS:
        raise MappingError(f"{where}: `pick` is one of {', '.join(PICKS)}, not “{pick}”.")
    kind = spec.get("as")
    if kind is not None and kind not in KINDS:
        raise MappingError(f"{where}: `as` is one of {', '.join(KINDS)}, not “{kind}”.")
    scale = spec.get("scale", 2)
    if not isinstance(scale, int) or isinstance(scale, bool) or not 0 <= scale <= 4:
        raise MappingError(f"{where}: `scale` is a number of decimals from 0 to 4.")
    what = f"The spec of {where}"
    if "from" in spec:
        _only(
            spec,
            {"from", "as", "format", "timezone", "scale", "default", "spelling", "pseudonym"},
            what,
        )
        zone = str(spec.get("timezone", ""))
        spelling = spec.get("spelling", "")
        if spelling not in ("", "upper", "lower"):
            raise MappingError(f"{where}: `spelling` is upper or lower, not “{spelling}”.")
        return Value(
            column=str(spec["from"]),
            kind=kind,
            format=str(spec.get("format", "")),
            timezone=_zone(zone) if zone else "",
            scale=scale,
            default=spec.get("default"),
            spelling=spelling,
            pseudonym=bool(spec.get("pseudonym", False)),
            pick=pick,
        )
    if "constant" in spec:
        _only(spec, {"constant"}, what)
        return Constant(spec["constant"], pick)
    if "multiply" in spec:
        _only(spec, {"multiply", "as", "scale"}, what)
        columns = _names(spec["multiply"], f"{where}: `multiply`")
        if len(columns) != 2:
            raise MappingError(f"{where}: `multiply` takes two columns.")
        return Product(columns, kind, scale, pick)
    if "case" in spec:
        _only(spec, {"case", "otherwise"}, what)
        return Choice(_cases(spec["case"], where), spec.get("otherwise"), pick)
    if "running_number_in" in spec:
        _only(spec, {"running_number_in"}, what)
        within = _names(spec["running_number_in"], f"{where}: `running_number_in`")
        return RunningNumber(within)
    if "digest" in spec:
        _only(spec, {"digest"}, what)
        return Digest(_names(spec["digest"], f"{where}: `digest`"), pick)
    if "json" in spec:
        _only(spec, {"json"}, what)
        fields = _object(spec["json"], f"{where}: `json`")
        return JsonObject(tuple((str(k), str(c)) for k, c in fields.items()), pick)
    raise MappingError(
        f"I don't understand the spec of {where}.",
        hint="It is a column's name, or has from, constant, multiply, case, running_number_in, "
        "digest or json.",
    )


def _cases(value: Any, where: str) -> tuple[tuple[tuple[Condition, ...], Any], ...]:
    if not isinstance(value, list) or not value:
        raise MappingError(f"{where}: `case` must be a list of `{{when: …, give: …}}`.")
    cases = []
    for case in value:
        one = _object(case, f"{where}: a case")
        _only(one, {"when", "give"}, f"{where}: a case")
        cases.append((_conditions(one.get("when", {}), f"{where}: `when`"), one.get("give")))
    return tuple(cases)
