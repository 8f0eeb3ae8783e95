"""What the demo shop sells: each stock code's name, and its category by a shipped rule table.

The data set has no categories. `categories.csv` gives them: a row is (category, pattern, note),
and an item belongs to the first row, in the table's order, whose pattern stands in its name.
Patterns and names are compared as whole words: upper-cased, signs read as spaces, plural and
singular alike ("T-LIGHTS" holds "T LIGHT").
"""

import csv
import functools
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from storage.demo.real import SOURCE

RULES_FILE = Path(__file__).with_name("categories.csv")

OTHER = "other"
FEES = "fees and postage"

#: Stock codes, upper-cased, of lines that are no goods: postage, fees, adjustments, vouchers.
NOT_PRODUCTS = (
    "AMAZONFEE",
    "B",
    "BANK CHARGES",
    "C2",
    "CRUK",
    "D",
    "DOT",
    "M",
    "PADS",
    "POST",
    "S",
    "23444",  # Next Day Carriage
    "23702",  # High Resolution Image
    "22016",  # Dotcomgiftshop Gift Voucher £100.00
    "23574",  # Packing Charge
)
VOUCHER_PREFIX = "GIFT_"


def is_product(item_id: str) -> bool:
    """Whether the stock code (upper-cased) stands for goods."""
    return item_id not in NOT_PRODUCTS and not item_id.startswith(VOUCHER_PREFIX)


@functools.cache
def rules() -> tuple[tuple[str, str], ...]:
    """(category, pattern as it is compared), in the order in which they are tried."""
    with RULES_FILE.open(encoding="utf-8", newline="") as file:
        return tuple((r["category"], comparable(r["pattern"])) for r in csv.DictReader(file))


def comparable(text: str) -> str:
    """The words of a text, upper-cased and singular, each between spaces."""
    words = re.findall(r"[A-Z0-9]+", text.upper().replace("'", ""))
    return f" {' '.join(singular(word) for word in words)} "


def singular(word: str) -> str:
    """The word without its plural ending; the same wrong stem for rule and name does no harm."""
    if len(word) < 4 or word.endswith("SS"):
        return word
    if word.endswith(("XES", "CHES", "SHES", "SSES")):
        return word[:-2]
    return word.removesuffix("S")


@functools.cache
def categorise_one(name: str) -> str:
    """The category of one item's name."""
    words = comparable(name)
    return next((category for category, pattern in rules() if pattern in words), OTHER)


def categorise(names: Iterable[str]) -> list[str]:
    """The category of each name; `other` where no rule fits."""
    return [categorise_one(name) for name in names]


def items(taken: pd.DataFrame) -> pa.Table:
    """The items table's rows for the taken lines of `storage.demo.real.lines`.

    An item is a stock code in upper case ("85099b" and "85099B" are one); its name is the most
    frequent description on its lines, upper case, the alphabetically first among equals.
    """
    counted = taken.groupby(["item_id", "name"]).size().rename("count").reset_index()
    counted = counted.sort_values(["item_id", "count", "name"], ascending=[True, False, True])
    named = counted.drop_duplicates("item_id")
    product = [is_product(item_id) for item_id in named["item_id"]]
    category = [
        category if sold else FEES
        for sold, category in zip(product, categorise(named["name"]), strict=True)
    ]
    return pa.table(
        {
            "item_id": pa.array(named["item_id"], pa.string()),
            "name": pa.array(named["name"], pa.string()),
            "category": pa.array(category, pa.string()),
            "is_product": pa.array(product, pa.bool_()),
            "attributes": pa.nulls(len(named), pa.string()),
            "source": pa.array([SOURCE] * len(named), pa.string()),
        }
    )
