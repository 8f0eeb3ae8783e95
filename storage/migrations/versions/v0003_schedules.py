"""Schedules and their runs; posts know when to look for copies of themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create both tables, and the columns of the check."""
    op.create_table(
        "schedules",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("name", sa.Text, unique=True, comment="in config.yaml; null: made by asking"),
        sa.Column("question", sa.Text, nullable=False, comment="canonical"),
        sa.Column("every", sa.Text, nullable=False, comment="canonical, without the zone"),
        sa.Column("zone", sa.Text, nullable=False, comment="IANA name"),
        sa.Column("channel", sa.Text, nullable=False, comment="Slack's id; empty: not known yet"),
        sa.Column("place", sa.Text, nullable=False, comment="as people read it: #growth, me"),
        sa.Column("owner", sa.Text, nullable=False, comment="whose rights it runs with"),
        sa.Column(
            "team", sa.Text, nullable=False, comment="the workspace, where there are several"
        ),
        sa.Column("surface", sa.Text, nullable=False, comment="slack, terminal, config"),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("next_at", sa.BigInteger, nullable=False, comment="the next run is due"),
        sa.Column("next_day", sa.Text, nullable=False, comment="its local day, ISO 8601"),
        sa.Column("paused", sa.Text, nullable=False, comment="why it rests; empty: it runs"),
        sa.Column("mark", sa.Text, nullable=False, comment="of the last answer"),
        if_not_exists=True,
    )
    op.create_index("ix_schedules_next_at", "schedules", ["next_at"], if_not_exists=True)
    op.create_table(
        "schedule_runs",
        sa.Column("schedule", ID, primary_key=True, autoincrement=False),
        sa.Column("day", sa.Text, primary_key=True, comment="local, ISO 8601"),
        sa.Column("slot", sa.Text, primary_key=True, comment="empty: the run by the clock"),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("try_until", sa.BigInteger, nullable=False, comment="the catch-up window ends"),
        sa.Column("next_try", sa.BigInteger, nullable=False, comment="of a held run; 0: none"),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False, comment="why it is in this state"),
        sa.Column("is_told", sa.Integer, nullable=False, comment="1: people heard of it"),
        if_not_exists=True,
    )
    op.create_index(
        "ix_schedule_runs_state", "schedule_runs", ["state", "next_try"], if_not_exists=True
    )
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("posts")}
    for column in (
        sa.Column("checks", sa.Integer, nullable=False, server_default="0", comment="for copies"),
        sa.Column(
            "check_at",
            sa.BigInteger,
            nullable=False,
            server_default="0",
            comment="the next; 0: none",
        ),
    ):
        if column.name not in there:
            op.add_column("posts", column)
    op.create_index("ix_posts_check_at", "posts", ["check_at"], if_not_exists=True)
