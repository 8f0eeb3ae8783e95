"""Run by alembic inside `State.open`, on a connection that is in a transaction and holds the lock.

To change the state database: change the tables in `storage/state.py`, add a file to `versions/`
whose `down_revision` is the newest there is, and write `upgrade()` with `if_not_exists`. A test
compares the outcome with the tables.
"""

from alembic import context

import storage.alerts
import storage.experiments
import storage.grants
import storage.installs
import storage.processes
import storage.runs
import storage.schedules
import storage.segments
import storage.tallies  # noqa: F401 - their tables
from storage.state import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
