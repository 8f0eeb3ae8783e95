"""Experiments registered in chat, and their daily snapshots."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "experiments",
        sa.Column("name", sa.Text, primary_key=True, comment="as the exposures call it"),
        sa.Column("plan", sa.Text, nullable=False, comment="JSON; empty: planned elsewhere or not"),
        sa.Column(
            "stopped", sa.Text, nullable=False, comment="the first local day that doesn't count"
        ),
        sa.Column("by", sa.Text, nullable=False, comment="who said so last"),
        sa.Column("said_on", sa.Text, nullable=False, comment="the local day of it"),
        if_not_exists=True,
    )
    op.create_table(
        "experiment_snapshots",
        sa.Column("experiment", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True, comment="the local day whose morning it shows"),
        sa.Column("query", sa.Text, primary_key=True, comment="SHA-256 of engine, text and values"),
        sa.Column("taken_at", sa.Text, nullable=False, comment="ISO 8601, the asker's clock"),
        sa.Column("rows", sa.LargeBinary, nullable=False, comment="an Arrow stream"),
        if_not_exists=True,
    )
