"""What the people judged by each run of a model were like."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """A new table."""
    op.create_table(
        "model_runs",
        sa.Column("question", sa.Text, primary_key=True, comment="its canonical text"),
        sa.Column(
            "day", sa.Text, primary_key=True, comment="the day that the model looked ahead from"
        ),
        sa.Column("facts", sa.Text, nullable=False, comment="JSON: counts by bounds"),
        if_not_exists=True,
    )
