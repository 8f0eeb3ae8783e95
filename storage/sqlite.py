"""What SQLite needs said for the analytic store and for the state."""

import sqlite3
import threading
import time

SWITCH_WITHIN_S = 30.0


def write_ahead(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on. SQLite does not wait for others here as it does elsewhere."""
    until = time.monotonic() + SWITCH_WITHIN_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            threading.Event().wait(0.02)
        else:
            return
