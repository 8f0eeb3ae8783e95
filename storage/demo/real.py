"""The shipped Online Retail file, read by the same rules that MAPPING.md states for the loader.

The frames here are for the simulation and for tests; the store gets the real rows from the loader.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

FILE = Path(__file__).with_name("online_retail.parquet")
SOURCE = "online_retail"
ZONE = "Europe/London"
CURRENCY = "GBP"

#: Why a line is not taken, in the order in which the rules are tried.
REJECTIONS = (
    ("adjustment", "an accounting adjustment, not an order"),
    ("no price", "the price is not above zero: a stock write-off, not a sale"),
)


def raw_lines(file: Path = FILE) -> pd.DataFrame:
    """The file as it is, in its order: 541,909 lines of eight columns."""
    frame: pd.DataFrame = pq.read_table(file).to_pandas()
    return frame


def rejection(raw: pd.DataFrame) -> "pd.Series[str]":
    """Per line the key of `REJECTIONS`, or an empty text where the line is taken."""
    adjustment = raw["InvoiceNo"].str.startswith("A")
    no_price = raw["UnitPrice"] <= 0
    return pd.Series(
        np.select([adjustment, no_price], [key for key, _ in REJECTIONS], ""), raw.index
    )


def lines(file: Path = FILE) -> pd.DataFrame:
    """The lines that are taken, in the file's order.

    Columns: order_id, line_no (1 is the invoice's first taken line), kind ('sale' or 'return'),
    person_id (None without an account), item_id (upper case), name, quantity, amount_cents, at
    (local, no zone), country. An invoice that bears several times gets its earliest one.
    """
    raw = raw_lines(file)
    taken = raw[rejection(raw) == ""]
    invoice = taken.groupby("InvoiceNo", sort=False)
    person = taken["CustomerID"].astype("Int64").astype("string").astype(object)
    return pd.DataFrame(
        {
            "order_id": taken["InvoiceNo"],
            "line_no": invoice.cumcount() + 1,
            "kind": np.where(taken["InvoiceNo"].str.startswith("C"), "return", "sale"),
            "person_id": person.where(person.notna(), None),
            "item_id": taken["StockCode"].map(spelled(taken["StockCode"])),
            "name": taken["Description"].map(spelled(taken["Description"])),
            "quantity": taken["Quantity"].astype("int64"),
            "amount_cents": (taken["Quantity"] * taken["UnitPrice"] * 100).round().astype("int64"),
            "at": invoice["InvoiceDate"].transform("min").astype("datetime64[s]"),
            "country": taken["Country"],
        }
    ).reset_index(drop=True)


def spelled(texts: "pd.Series[str]") -> dict[str, str]:
    """Each text that occurs, and it in upper case with single spaces."""
    return {text: " ".join(text.upper().split()) for text in texts.dropna().unique()}


def people(taken: pd.DataFrame) -> pa.Table:
    """The people table's rows of everybody with an account: first seen at the first invoice."""
    known = taken[taken["person_id"].notna()].sort_values("at", kind="stable")
    first = known.drop_duplicates("person_id").sort_values("person_id")
    return pa.table(
        {
            "person_id": pa.array(first["person_id"], pa.string()),
            "first_seen_at": pa.array(utc(first["at"]), pa.timestamp("us")),
            "country": pa.array(first["country"], pa.string()),
            "channel": pa.nulls(len(first), pa.string()),
            "attributes": pa.nulls(len(first), pa.string()),
            "source": pa.array([SOURCE] * len(first), pa.string()),
        }
    )


def utc(local: "pd.Series[pd.Timestamp]") -> npt.NDArray[np.datetime64]:
    """The shop's local times as naive UTC, in microseconds."""
    index = pd.DatetimeIndex(local).tz_localize(ZONE).tz_convert("UTC").tz_localize(None)
    return index.to_numpy(dtype="datetime64[us]")
