"""The entities of the analytic store, as SQLAlchemy Core tables.

Conventions that every query may rely on:

* Identifiers are text. A person's identifier is pseudonymous; raw identifiers never come here.
* Instants (`Instant`) are UTC without a zone, in microseconds.
* Money is a signed integer of minor units (cents, pence): columns end in `_cents`. A store holds
  one currency.
* `source` names where the row came from: a load's name, or `simulated` plus a word about what was
  simulated. Answers over simulated rows say so.
"""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect

EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - instants in the store are UTC without a zone
MICROSECOND = dt.timedelta(microseconds=1)


def instant_us(at: dt.datetime) -> int:
    """Microseconds since 1970-01-01 of a naive UTC instant."""
    return (at - EPOCH) // MICROSECOND


class Instant(sa.types.TypeDecorator[dt.datetime]):
    """A UTC instant: a native timestamp, or integer microseconds where there is none (SQLite)."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """SQLite has no timestamp type, and its date texts neither sort nor subtract."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.BigInteger())
        if dialect.name == "bigquery":  # its dialect's own type does not compile on SQLAlchemy 2.1
            return sa.TIMESTAMP()
        return dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> Any:
        """Aware instants are refused: a zone lost in silence is a wrong day later."""
        if value is None:
            return None
        if value.tzinfo is not None:
            raise ValueError(f"{value!r} has a zone; the store takes naive UTC")
        return instant_us(value) if dialect.name == "sqlite" else value


metadata = sa.MetaData()

people = sa.Table(
    "people",
    metadata,
    sa.Column("person_id", sa.Text, primary_key=True),
    sa.Column("first_seen_at", Instant, nullable=False),
    sa.Column("country", sa.Text),
    sa.Column("channel", sa.Text, comment="how the person first came: search, email, ..."),
    sa.Column("attributes", sa.Text, comment="JSON object of further facts"),
    sa.Column("source", sa.Text, nullable=False),
)

items = sa.Table(
    "items",
    metadata,
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("category", sa.Text),
    sa.Column("is_product", sa.Boolean, nullable=False, comment="false: postage, fees, vouchers"),
    sa.Column("attributes", sa.Text, comment="JSON object of further facts"),
    sa.Column("source", sa.Text, nullable=False),
)

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("person_id", sa.Text, comment="null: bought without an account"),
    sa.Column("ordered_at", Instant, nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False, comment="'sale' or 'return' (amount below zero)"),
    sa.Column("amount_cents", sa.BigInteger, nullable=False, comment="sum over the lines"),
    sa.Column("country", sa.Text),
    sa.Column("channel", sa.Text),
    sa.Column("device", sa.Text),
    sa.Column("source", sa.Text, nullable=False),
)

order_lines = sa.Table(
    "order_lines",
    metadata,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("line_no", sa.BigInteger, primary_key=True),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("quantity", sa.BigInteger, nullable=False, comment="below zero on returns"),
    sa.Column("amount_cents", sa.BigInteger, nullable=False, comment="quantity x unit price"),
    sa.Column("source", sa.Text, nullable=False),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("person_id", sa.Text, nullable=False, index=True),
    sa.Column("session_id", sa.Text, comment="null: sessions are cut after 30 idle minutes"),
    sa.Column("at", Instant, nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False, comment="visit, view_item, add_to_cart, ..."),
    sa.Column("item_id", sa.Text),
    sa.Column("order_id", sa.Text, comment="the order that this event completed"),
    sa.Column("channel", sa.Text),
    sa.Column("device", sa.Text),
    sa.Column("country", sa.Text),
    sa.Column("properties", sa.Text, comment="JSON object of further facts"),
    sa.Column("source", sa.Text, nullable=False),
)

exposures = sa.Table(
    "exposures",
    metadata,
    sa.Column("experiment", sa.Text, primary_key=True),
    sa.Column("person_id", sa.Text, primary_key=True),
    sa.Column("variant", sa.Text, primary_key=True),
    sa.Column("exposed_at", Instant, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
)

ratings = sa.Table(
    "ratings",
    metadata,
    sa.Column("rating_id", sa.Text, primary_key=True),
    sa.Column("person_id", sa.Text),
    sa.Column("at", Instant, nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False, comment="'nps' 0-10, 'csat' 1-5, 'review' 1-5"),
    sa.Column("score", sa.BigInteger, nullable=False),
    sa.Column("item_id", sa.Text),
    sa.Column("source", sa.Text, nullable=False),
)

consents = sa.Table(
    "consents",
    metadata,
    sa.Column("person_id", sa.Text, primary_key=True),
    sa.Column("purpose", sa.Text, primary_key=True),
    sa.Column("at", Instant, primary_key=True),
    sa.Column("granted", sa.Boolean, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
)

sources = sa.Table(
    "sources",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("entity", sa.Text, primary_key=True, comment="the table the rows went to"),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("attribution", sa.Text, comment="who to name, and the licence"),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("loaded_at", Instant, nullable=False),
)

loads = sa.Table(
    "loads",
    metadata,
    sa.Column("load_id", sa.Text, primary_key=True, comment="digest of mapping and file bytes"),
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("loaded_at", Instant, nullable=False),
    sa.Column("rows_read", sa.BigInteger, nullable=False),
    sa.Column("rows_taken", sa.BigInteger, nullable=False),
    sa.Column("rows_unchanged", sa.BigInteger, nullable=False),
    sa.Column("rows_rejected", sa.BigInteger, nullable=False),
)

rejected_rows = sa.Table(
    "rejected_rows",
    metadata,
    sa.Column("load_id", sa.Text, primary_key=True),
    sa.Column("line_no", sa.BigInteger, primary_key=True, comment="1 = the first data row"),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("row", sa.Text, nullable=False, comment="the row as JSON"),
)

#: The tables that people load and ask about, in the order they are filled.
ENTITIES = (people, items, orders, order_lines, events, exposures, ratings, consents)
