"""A CSV of orders into DuckDB, in pandas.

python -m benchmarks.plain.load ORDERS.csv STORE.duckdb
"""

import sys
from pathlib import Path

import duckdb
import pandas as pd

ZONE = "Europe/London"
TABLE = (
    "CREATE TABLE IF NOT EXISTS orders (order_id VARCHAR, person_id VARCHAR, ordered_at TIMESTAMP, "
    "kind VARCHAR, amount_cents BIGINT, country VARCHAR, source VARCHAR)"
)


def load(connection: duckdb.DuckDBPyConnection, file: Path) -> tuple[int, int, pd.DataFrame]:
    """Rows taken, their pence, and the rows that were not; loading again changes nothing."""
    raw = pd.read_csv(file, dtype=str, keep_default_na=False)
    amount = pd.to_numeric(raw["Amount"], errors="coerce")
    local = pd.to_datetime(raw["Placed"], format="%Y-%m-%d %H:%M:%S", errors="coerce")
    at = local.dt.tz_localize(ZONE, ambiguous=False, nonexistent="shift_forward")
    good = amount.notna() & at.notna() & (raw["Order"] != "")
    orders = pd.DataFrame(
        {
            "order_id": raw["Order"],
            "person_id": raw["Customer"].where(raw["Customer"] != ""),
            "ordered_at": at.dt.tz_convert("UTC").dt.tz_localize(None),
            "kind": "sale",
            "amount_cents": (amount * 100).round(),
            "country": raw["Country"].where(raw["Country"] != ""),
            "source": file.stem,
        }
    )[good].astype({"amount_cents": "int64"})
    orders = orders.drop_duplicates("order_id")
    connection.register("arrived", orders)
    connection.execute(TABLE)
    connection.execute("BEGIN")
    connection.execute("DELETE FROM orders WHERE order_id IN (SELECT order_id FROM arrived)")
    connection.execute("INSERT INTO orders BY NAME SELECT * FROM arrived")
    connection.execute("COMMIT")
    connection.unregister("arrived")
    return len(orders), int(orders["amount_cents"].sum()), raw[~good]


if __name__ == "__main__":
    with duckdb.connect(sys.argv[2]) as opened:
        taken, pence, refused = load(opened, Path(sys.argv[1]))
        print(f"{taken:,} rows taken ({pence / 100:,.2f}), {len(refused):,} refused")
