"""A shop so busy that grouping its people, or mining its baskets, takes a machine a while."""

from pathlib import Path

import duckdb

from storage.store import Store

#: Six lines an order; the last order is on 2026-10-31.
FILL = (
    """INSERT INTO people SELECT 'p' || i, TIMESTAMP '2026-08-01', NULL, NULL, NULL, 'busy'
    FROM range({people}) r(i)""",
    """INSERT INTO items SELECT 'i' || i, 'Item ' || i, NULL, true, NULL, 'busy'
    FROM range({items}) r(i)""",
    """INSERT INTO order_lines SELECT 'o' || o, n, 'i' || i, 1, 100 + hash(o, n, 1) % 5000, 'busy'
    FROM (
        SELECT o, n, CAST(floor({items} * power((hash(o, n) % 100000) / 100000, {skew})) AS BIGINT)
        AS i FROM range({orders}) r(o), range(1, 7) s(n)
    )""",
    """INSERT INTO orders SELECT 'o' || o,
        'p' || CAST(floor({people} * power((hash(o, 7) % 1000000) / 1000000, 2)) AS BIGINT),
        TIMESTAMP '2026-10-31 12:00:00' - to_seconds(hash(o, 8) % 6900000), 'sale',
        (SELECT sum(amount_cents) FROM order_lines l WHERE l.order_id = 'o' || o),
        NULL, NULL, NULL, 'busy'
    FROM range({orders}) r(o)""",
)


def busy_shop(file: Path, *, people: int, orders: int, items: int, skew: float) -> str:
    """The URL of a store of made-up orders; a greater `skew` makes some items more liked."""
    Store.open(f"duckdb:///{file}").close()
    with duckdb.connect(str(file)) as connection:
        for statement in FILL:
            connection.execute(
                statement.format(people=people, orders=orders, items=items, skew=skew)
            )
    return f"duckdb:///{file}"
