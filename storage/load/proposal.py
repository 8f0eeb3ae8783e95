"""A mapping guessed from a file's column names and first rows, to be shown and confirmed.

A column's name counts by a table of synonyms, its values by whether they can be read as what the
target takes. A file that holds order, item and quantity on each line is taken for an export of
order lines, and gets a recipe that fills people, items, orders and order_lines.
"""

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from storage.load.errors import LoadError
from storage.load.mapping import (
    DEFAULTS,
    TABLES,
    Kind,
    Mapping,
    Recipe,
    fold,
    kind_of,
    parse_mapping,
    required,
)

#: Names under which exports write a column of ours, best first; compared by `fold`.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "person_id": (
        "person id", "customer id", "user id", "customer", "user", "client id", "buyer id",
        "visitor id", "member id", "account id", "user pseudo id", "anonymous id", "visitorid",
        "customer email", "email", "customer code", "customer no", "customer number", "uid",
    ),
    "order_id": (
        "order id", "invoice no", "order number", "order no", "invoice", "invoice id",
        "invoice number", "transaction id", "order", "receipt no", "receipt id", "order name",
        "purchase id", "transaction",
    ),
    "item_id": (
        "item id", "stock code", "sku", "product id", "product code", "article no", "article id",
        "item code", "variant id", "lineitem sku", "asin", "item", "product", "article",
    ),
    "event_id": ("event id", "message id", "event uuid", "uuid", "id"),
    "rating_id": ("rating id", "review id", "response id", "answer id", "id"),
    "session_id": ("session id", "session", "visit id", "ga session id"),
    "ordered_at": (
        "ordered at", "order date", "invoice date", "created at", "order time", "purchase date",
        "order timestamp", "transaction date", "processed at", "paid at", "date", "timestamp",
        "time", "datetime", "order purchase timestamp",
    ),
    "at": (
        "at", "timestamp", "event time", "event timestamp", "time", "occurred at", "created at",
        "sent at", "datetime", "event date", "date", "submitted at", "ts",
    ),
    "exposed_at": (
        "exposed at", "exposure time", "assigned at", "timestamp", "time", "created at", "date",
    ),
    "first_seen_at": (
        "first seen at", "first seen", "signed up at", "signup date", "registered at",
        "registration date", "created at", "joined", "joined at", "customer since", "timestamp",
    ),
    "amount_cents": (
        "amount cents", "amount", "total", "order total", "total price", "grand total", "revenue",
        "sales", "value", "line total", "subtotal", "price", "total amount", "payment value",
    ),
    "unit_price": (
        "unit price", "price", "item price", "price per unit", "lineitem price", "product price",
        "price each",
    ),
    "quantity": ("quantity", "qty", "units", "lineitem quantity", "count", "pieces"),
    "line_no": ("line no", "line number", "line", "line item", "order item id", "position"),
    "country": (
        "country", "country code", "shipping country", "billing country", "customer country",
        "geo country",
    ),
    "channel": ("channel", "utm source", "source", "traffic source", "medium", "utm medium"),
    "device": ("device", "device type", "platform", "device category"),
    "kind": ("kind", "type", "order type", "rating type"),
    "name": (
        "name", "event name", "event", "event type", "product name", "item name", "description",
        "title", "lineitem name", "action",
    ),
    "category": (
        "category", "product category", "product type", "department", "item category",
        "category name",
    ),
    "is_product": ("is product", "physical"),
    "attributes": ("attributes", "traits"),
    "properties": ("properties", "event properties", "params"),
    "experiment": ("experiment", "experiment id", "experiment name", "test", "test name"),
    "variant": ("variant", "variation", "group", "arm", "bucket", "version"),
    "score": ("score", "rating", "stars", "nps", "csat", "answer"),
    "purpose": ("purpose", "consent purpose", "category"),
    "granted": ("granted", "consent", "opt in", "accepted", "status"),
}  # fmt: skip

#: Formats of times beside ISO 8601. Where day and month could be either, the first is chosen
#: and the proposal says that it is a guess.
TIME_FORMATS = (
    "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y",
    "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y", "%m/%d/%y %H:%M",
    "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y",
    "%d-%m-%Y %H:%M", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d",
    "%Y%m%d", "%d %b %Y", "%b %d, %Y", "%Y-%m-%d %H:%M:%S %z",
)  # fmt: skip
SIGNS = "£$€¥"
COMMA_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d*)?")

#: A column is of a kind when this share of its sample can be read so.
MOSTLY = 0.9


@dataclass(frozen=True)
class Proposed:
    """One column of ours: its spec in config form, how sure (0 to 1), and why."""

    entity: str
    target: str
    spec: Any
    confidence: float
    why: str


@dataclass(frozen=True)
class Proposal:
    """A mapping to be confirmed. `config` is an entry of `loads:`; it is complete only when
    `missing` (columns of ours without which no row can be taken) is empty. `questions`: what the
    file alone does not tell. `unused`: columns of the file that nothing takes.
    """

    entity: str
    config: dict[str, Any]
    columns: tuple[Proposed, ...]
    missing: tuple[str, ...]
    questions: tuple[str, ...]
    unused: tuple[str, ...]
    format: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """It can be loaded."""
        return not self.missing

    @property
    def confidence(self) -> float:
        """That of its least sure required column."""
        needed = [c.confidence for c in self.columns if not TABLES[c.entity].c[c.target].nullable]
        return 0.0 if self.missing else min(needed, default=0.0)

    def mapping(self) -> Mapping | Recipe:
        """To load with. Raises LoadError where something is missing."""
        if self.missing:
            raise LoadError(
                f"I found no column for {', '.join(self.missing)}.",
                hint="Write the mapping under `loads:` in config.yaml.",
            )
        return parse_mapping(self.config)


def propose_mapping(
    entity: str,
    columns: Sequence[str],
    sample: Sequence[dict[str, Any]],
    *,
    timezone: str = "UTC",
) -> Proposal:
    """Guess the mapping of a file with these columns and first rows (dicts by column).

    `timezone` is that of times without an offset.
    """
    if entity not in TABLES:
        raise LoadError(
            f"“{entity}” is not one of our tables.", hint=f"They are {', '.join(TABLES)}."
        )
    guess = _Guess(list(columns), list(sample), timezone)
    if entity in ("orders", "order_lines", "items", "people") and guess.is_wide():
        return guess.wide(entity)
    return guess.single(entity)


class _Guess:
    """Finds columns by name, reads their values, and remembers what it used."""

    def __init__(self, columns: list[str], sample: list[dict[str, Any]], timezone: str) -> None:
        self.columns = columns
        self.sample = sample
        self.timezone = timezone
        self.used: set[str] = set()
        self.questions: list[str] = []
        self.reading: dict[str, str] = {}
        self.local_times = False

    def find(self, target: str, free: bool = True) -> tuple[str, float] | None:
        """The column that is named like the target, and how sure that is."""
        by_fold = {fold(c): c for c in reversed(self.columns) if not free or c not in self.used}
        names = (target, *SYNONYMS.get(target, ()))
        for rank, name in enumerate(names):
            if fold(name) in by_fold:
                return by_fold[fold(name)], max(0.95 - 0.02 * rank, 0.6)
        for name in names:
            if len(fold(name)) < 5:
                continue
            for folded, column in by_fold.items():
                if folded.endswith(fold(name)) or folded.startswith(fold(name)):
                    return column, 0.5
        return None

    def values(self, column: str) -> list[Any]:
        """The sample's values that are not empty."""
        found = [row.get(column) for row in self.sample]
        return [v for v in found if v is not None and str(v).strip()]

    def proposed(self, entity: str, target: str, kind: Kind) -> Proposed | None:
        """The spec of one column of ours; None where the file has nothing like it."""
        found = self.find(target)
        if found is None:
            return None
        column, named = found
        spec, fits = self.spec(column, kind)
        if not fits and named < 0.9:
            return None
        self.used.add(column)
        why = f"named “{column}”" + ("" if fits else f", but its values are not {kind}")
        return Proposed(entity, target, spec, round(named if fits else named * 0.3, 2), why)

    def spec(self, column: str, kind: Kind) -> tuple[Any, bool]:
        """The spec of a column as `kind`, and whether the sample can be read so."""
        values = self.values(column)
        match kind:
            case "instant":
                return self.time_spec(column, values)
            case "money" | "integer":
                fits = self.numbers(values)
                cents = kind == "money" and fold(column).endswith("cents")
                return ({"from": column, "as": "integer"} if cents else column), fits
            case "boolean":
                words = {"true", "false", "yes", "no", "0", "1", "t", "f", "y", "n"}
                return column, mostly(str(v).strip().casefold() in words for v in values)
            case "json":
                return column, all(str(v).lstrip().startswith("{") for v in values)
            case "text":
                if values and any("@" in str(v) for v in values):
                    return {"from": column, "pseudonym": True}, True
                if values and all(re.fullmatch(r"\d+\.0", str(v)) for v in values):
                    return {"from": column, "as": "integer"}, True
                return column, True

    def time_spec(self, column: str, values: list[Any]) -> tuple[Any, bool]:
        """ISO 8601, one of our formats, or a Unix time."""
        if all(isinstance(v, dt.date) for v in values):
            self.local_times |= any(getattr(v, "tzinfo", None) is None for v in values)
            return column, True
        texts = [str(v).strip() for v in values]
        parsed = [_iso(t) for t in texts]
        if mostly(p is not None for p in parsed):
            self.local_times |= any(p is not None and p.tzinfo is None for p in parsed)
            return column, True
        if mostly(re.fullmatch(r"\d{9,16}", t) is not None for t in texts):
            unit = {10: "epoch_s", 9: "epoch_s", 13: "epoch_ms", 12: "epoch_ms"}
            return {"from": column, "format": unit.get(len(texts[0]), "epoch_us")}, True
        hits = {f: sum(_parses(t, f) for t in texts) for f in TIME_FORMATS}
        best = max(hits.values())
        if best < MOSTLY * len(texts):
            return column, False
        fitting = [f for f, n in hits.items() if n == best]
        self.local_times |= "%z" not in fitting[0]
        if fitting[0].startswith("%d/%m") and any(f.startswith("%m/%d") for f in fitting):
            self.questions.append(f"In “{column}”, does the day come before the month?")
        return {"from": column, "format": fitting[0]}, True

    def numbers(self, values: list[Any]) -> bool:
        """Whether the values are numbers; remembers how they are written."""
        texts = [str(v).strip() for v in values]
        signs = {c for t in texts for c in t if c in SIGNS}
        bare = ["".join(c for c in t if c not in signs).strip() for t in texts]
        if mostly(_number(t) for t in bare):
            found = {}
        elif mostly(_number(t) or COMMA_THOUSANDS.fullmatch(t) is not None for t in bare):
            found = {"thousands": ","}
        elif mostly(DECIMAL_COMMA.fullmatch(t) is not None for t in bare):
            found = {"decimal": ","}
            if any("." in t for t in bare):
                found["thousands"] = "."
        else:
            return False
        if signs:
            found["strip"] = "".join(sorted(signs))
        self.reading |= found
        return True

    def single(self, entity: str) -> Proposal:
        """One table from the file."""
        table = TABLES[entity]
        proposed, missing = [], []
        wanted = [c for c in table.columns if c.name != "source"]
        for column in sorted(wanted, key=lambda c: not required(c)):
            # the price of a line is a unit's, where there is a quantity
            one = self.product(entity) if column.name == "amount_cents" else None
            name = str(column.name)
            one = one or self.proposed(entity, name, kind_of(column))
            one = one or self.made_up(entity, name)
            if one is not None:
                proposed.append(one)
            elif required(column) and (entity, name) not in DEFAULTS:
                missing.append(name)
        order = {str(c.name): i for i, c in enumerate(table.columns)}
        proposed.sort(key=lambda p: order[p.target])
        config = {"entity": entity, "columns": {p.target: p.spec for p in proposed}}
        return self.finished(entity, config, proposed, missing)

    def made_up(self, entity: str, target: str) -> Proposed | None:
        """What can be had without a column of its own."""
        if target in ("event_id", "rating_id"):
            why = "no column of its own: made from the whole line, equal lines are one"
            return Proposed(entity, target, {"digest": list(self.columns)}, 0.6, why)
        if target == "line_no" and (order := self.find("order_id", free=False)):
            spec = {"running_number_in": order[0]}
            return Proposed(entity, target, spec, 0.8, "the lines of an order, numbered")
        return None

    def product(self, entity: str) -> Proposed | None:
        """Quantity times unit price."""
        quantity, price = self.find("quantity", free=False), self.find("unit_price", free=False)
        if quantity is None or price is None or quantity[0] == price[0]:
            return None
        if not self.numbers(self.values(price[0])):
            return None
        self.used |= {quantity[0], price[0]}
        spec = {"multiply": [quantity[0], price[0]]}
        return Proposed(entity, "amount_cents", spec, 0.8, "quantity times unit price")

    def is_wide(self) -> bool:
        """Order, item, quantity and time on each line."""
        targets = ("order_id", "item_id", "quantity", "ordered_at")
        found = [self.find(t) for t in targets]
        return len({f[0] for f in found if f and f[1] > 0.5}) == len(targets)

    def wide(self, entity: str) -> Proposal:
        """People, items, orders and lines from one file."""
        source = {t: f[0] for t in ("order_id", "item_id", "person_id") if (f := self.find(t))}
        tables: list[dict[str, Any]] = []
        proposed: list[Proposed] = []
        missing: list[str] = []
        self.used |= set(source.values())
        time = self.proposed("orders", "ordered_at", "instant")
        # quantity times price comes first: a lone "Price" of a line is a unit's
        amount = self.product("orders") or self.proposed("orders", "amount_cents", "money")
        quantity = self.find("quantity", free=False)
        country = self.proposed("orders", "country", "text")
        name = self.proposed("items", "name", "text")
        category = self.proposed("items", "category", "text")
        for target, one in (("ordered_at", time), ("amount_cents", amount)):
            if one is None:
                missing.append(target)
        if time is None or amount is None or quantity is None:
            return self.finished(entity, {"tables": []}, proposed, missing)
        self.used.add(quantity[0])
        order_id, item_id = source["order_id"], source["item_id"]
        earliest = _picked(time.spec, "earliest")
        if "person_id" in source:
            person, _ = self.spec(source["person_id"], "text")
            columns = {"person_id": person, "first_seen_at": earliest}
            columns |= {"country": country.spec} if country else {}
            tables.append({"entity": "people", "by": [source["person_id"]], "columns": columns})
        goods: dict[str, Any] = {"item_id": item_id}
        goods |= {"name": _picked(name.spec, "most")} if name else {}
        goods |= {"category": _picked(category.spec, "most")} if category else {}
        tables.append({"entity": "items", "by": [item_id], "columns": goods})
        head = {"order_id": order_id, "ordered_at": earliest}
        head |= {"person_id": person} if "person_id" in source else {}
        head |= {"amount_cents": _picked(amount.spec, "sum")}
        head |= {"country": country.spec} if country else {}
        tables.append({"entity": "orders", "by": [order_id], "columns": head})
        lines = {
            "order_id": order_id,
            "line_no": {"running_number_in": order_id},
            "item_id": item_id,
            "quantity": quantity[0],
            "amount_cents": amount.spec,
        }
        tables.append({"entity": "order_lines", "columns": lines})
        sure = {p.target: p for p in (time, amount, country, name, category) if p}
        for table in tables:
            for target, spec in table["columns"].items():
                known = sure.get("ordered_at" if target == "first_seen_at" else target)
                found = self.find(target, free=False)
                confidence = known.confidence if known else found[1] if found else 0.8
                why = known.why if known else f"named “{found[0]}”" if found else "made"
                proposed.append(Proposed(table["entity"], target, spec, confidence, why))
        return self.finished(entity, {"tables": tables}, proposed, missing)

    def finished(
        self,
        entity: str,
        config: dict[str, Any],
        proposed: list[Proposed],
        missing: list[str],
    ) -> Proposal:
        """With how numbers and times are written, and what is open."""
        if self.local_times:
            config = {**config, "timezone": self.timezone}
            self.questions.append(f"The times have no offset: are they those of {self.timezone}?")
        config = {**config, **self.reading}
        whole = any(isinstance(p.spec, dict) and "digest" in p.spec for p in proposed)
        unused = () if whole else tuple(c for c in self.columns if c not in self.used)
        return Proposal(
            entity=entity,
            config=config,
            columns=tuple(proposed),
            missing=tuple(missing),
            questions=tuple(self.questions),
            unused=unused,
            format=dict(self.reading),
        )


def mostly(fits: Iterable[bool]) -> bool:
    """Whether nearly all fit: a few bad values are rejected by line, not by column."""
    flags = list(fits)
    return sum(flags) >= MOSTLY * len(flags)


def _picked(spec: Any, pick: str) -> dict[str, Any]:
    return {**(spec if isinstance(spec, dict) else {"from": spec}), "pick": pick}


def _iso(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        return None


def _parses(text: str, format_: str) -> bool:
    try:
        dt.datetime.strptime(text, format_)  # noqa: DTZ007 - only whether it can be read
    except ValueError:
        return False
    return True


def _number(text: str) -> bool:
    try:
        return Decimal(text).is_finite() and "_" not in text
    except InvalidOperation:
        return False
