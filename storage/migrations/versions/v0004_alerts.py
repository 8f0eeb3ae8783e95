"""Alerts and their incidents."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the three tables."""
    op.create_table(
        "alerts",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("question", sa.Text, nullable=False, comment="canonical"),
        sa.Column("owner", sa.Text, nullable=False, comment="whose rights it looks with"),
        sa.Column(
            "team", sa.Text, nullable=False, comment="the workspace, where there are several"
        ),
        sa.Column("channel", sa.Text, nullable=False, comment="Slack's id"),
        sa.Column("place", sa.Text, nullable=False, comment="as people read it: #growth, me"),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("paused", sa.Text, nullable=False, comment="why it rests; empty: it looks"),
        sa.Column("seen", sa.Text, nullable=False, comment="the data it looked at last"),
        if_not_exists=True,
    )
    op.create_table(
        "alert_standings",
        sa.Column("alert", ID, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, primary_key=True, comment="condition, absence"),
        sa.Column("incident", ID, nullable=False, autoincrement=False, comment="open; 0: none is"),
        sa.Column("value", sa.Double, comment="said last"),
        sa.Column("block", sa.Text, nullable=False, comment="the day said last"),
        sa.Column("calm", sa.Integer, nullable=False, comment="days in a row back inside"),
        sa.Column("stamp", sa.BigInteger, nullable=False, comment="of the data looked at last"),
        sa.Column(
            "waits_since", sa.BigInteger, nullable=False, comment="absence, until it is told"
        ),
        if_not_exists=True,
    )
    op.create_table(
        "incidents",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("alert", ID, nullable=False, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("resolved_at", sa.BigInteger, nullable=False, comment="0: open"),
        sa.Column("version", sa.Integer, nullable=False, comment="counts what was said of it"),
        sa.Column("first_block", sa.Text, nullable=False),
        sa.Column("first_value", sa.Double),
        sa.Column("value", sa.Double, comment="the newest"),
        if_not_exists=True,
    )
    op.create_index("ix_incidents_alert", "incidents", ["alert"], if_not_exists=True)
