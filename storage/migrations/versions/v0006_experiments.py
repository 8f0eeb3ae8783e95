"""Experiments registered in chat, and their daily snapshots."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Nothing yet."""
