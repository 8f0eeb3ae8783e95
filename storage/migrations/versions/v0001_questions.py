"""The audit of questions, and the requests that were seen."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "questions",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("asker", sa.Text, nullable=False),
        sa.Column("surface", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("canonical", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_questions_asked_at", "questions", ["asked_at"], if_not_exists=True)
    op.create_table(
        "seen_requests",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_seen_requests_seen_at", "seen_requests", ["seen_at"], if_not_exists=True)
