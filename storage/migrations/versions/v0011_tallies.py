"""What happened so far, counted."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """A new table."""
    op.create_table(
        "tallies",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("labels", sa.Text, primary_key=True, comment="JSON: values by name, in order"),
        sa.Column(
            "bound", sa.Text, primary_key=True, comment="of seconds; empty: nothing was timed"
        ),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False, comment="of them together"),
        if_not_exists=True,
    )
