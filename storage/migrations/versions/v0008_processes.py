"""Processes that live, and replies to the terminal."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Two new tables."""
    op.create_table(
        "processes",
        sa.Column("name", sa.Text, primary_key=True, comment="host and process id"),
        sa.Column("role", sa.Text, nullable=False, comment="edge, analyst"),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("facts", sa.Text, nullable=False, comment="JSON: numbers and instants by name"),
        if_not_exists=True,
    )
    op.create_table(
        "replies",
        sa.Column("job", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text, nullable=False, comment="JSON; the surface's own"),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
