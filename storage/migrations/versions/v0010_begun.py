"""When a question was first worked on, and how far it is."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Two columns of jobs."""
    columns = {c["name"] for c in sa.inspect(op.get_bind()).get_columns("jobs")}
    added = (
        sa.Column(
            "begun_at", sa.BigInteger, nullable=False, server_default="0", comment="0: not yet"
        ),
        sa.Column("progress", sa.Text, nullable=False, server_default="", comment="in words"),
    )
    for column in added:
        if column.name not in columns:
            op.add_column("jobs", column)
