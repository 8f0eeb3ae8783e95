"""Saved segments."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "segments",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("question", sa.Text, nullable=False, comment="the canonical text that saved it"),
        sa.Column("rule", sa.Text, nullable=False, comment="JSON"),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("saved_on", sa.Text, nullable=False, comment="the local day of it"),
        sa.Column("people", sa.BigInteger, nullable=False, comment="how many it had then"),
        if_not_exists=True,
    )
