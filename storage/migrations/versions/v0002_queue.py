"""The queue of accepted questions, and the outbox of what is to be posted."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "jobs",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("work", sa.Text, nullable=False, comment="JSON; the surface's own"),
        sa.Column("status", sa.Text, nullable=False, comment="waiting, running, done, cancelled"),
        sa.Column("accepted_at", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False, comment="0: nobody's"),
        sa.Column("fence", sa.Integer, nullable=False, comment="counts claims; an old one is void"),
        if_not_exists=True,
    )
    op.create_index("ix_jobs_person", "jobs", ["person"], if_not_exists=True)
    op.create_index("ix_jobs_status", "jobs", ["status", "id"], if_not_exists=True)
    op.create_table(
        "posts",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column(
            "key", sa.Text, nullable=False, unique=True, comment="names the message in Slack"
        ),
        sa.Column("lane", sa.Text, nullable=False, comment="posts of one lane go in order"),
        sa.Column("body", sa.Text, nullable=False, comment="JSON; the surface's own"),
        sa.Column("status", sa.Text, nullable=False, comment="due, sending, sent, failed"),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False, comment="0: nobody's"),
        sa.Column("fence", sa.Integer, nullable=False, comment="counts claims; an old one is void"),
        sa.Column("tried", sa.Integer, nullable=False, comment="sends whose outcome is not known"),
        sa.Column("step", sa.Integer, nullable=False, comment="how much of the body is sent"),
        sa.Column("ts", sa.Text, nullable=False, comment="of the message in Slack"),
        sa.Column("error", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_posts_status", "posts", ["status", "lane", "id"], if_not_exists=True)
