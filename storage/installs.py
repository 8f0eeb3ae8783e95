"""The workspaces that installed the app, in the state database.

They have the columns of slack_sdk's stores, which read and write them (`bot/slack/oauth.py`).
Tokens are texts of any length, for they are kept encrypted. Instants are naive UTC datetimes.
"""

import datetime as dt

import sqlalchemy as sa

from storage.state import State, metadata

bots = sa.Table(
    "slack_bots",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("app_id", sa.Text, nullable=False),
    sa.Column("enterprise_id", sa.Text),
    sa.Column("enterprise_name", sa.Text),
    sa.Column("team_id", sa.Text),
    sa.Column("team_name", sa.Text),
    sa.Column("bot_token", sa.Text, comment="encrypted"),
    sa.Column("bot_id", sa.Text),
    sa.Column("bot_user_id", sa.Text),
    sa.Column("bot_scopes", sa.Text),
    sa.Column("bot_refresh_token", sa.Text, comment="encrypted"),
    sa.Column("bot_token_expires_at", sa.DateTime),
    sa.Column("is_enterprise_install", sa.Boolean, nullable=False),
    sa.Column("installed_at", sa.DateTime, nullable=False),
    sa.Index("slack_bots_idx", "client_id", "enterprise_id", "team_id", "installed_at"),
)

installations = sa.Table(
    "slack_installations",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("app_id", sa.Text, nullable=False),
    sa.Column("enterprise_id", sa.Text),
    sa.Column("enterprise_name", sa.Text),
    sa.Column("enterprise_url", sa.Text),
    sa.Column("team_id", sa.Text),
    sa.Column("team_name", sa.Text),
    sa.Column("bot_token", sa.Text, comment="encrypted"),
    sa.Column("bot_id", sa.Text),
    sa.Column("bot_user_id", sa.Text),
    sa.Column("bot_scopes", sa.Text),
    sa.Column("bot_refresh_token", sa.Text, comment="encrypted"),
    sa.Column("bot_token_expires_at", sa.DateTime),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("user_token", sa.Text, comment="never asked for"),
    sa.Column("user_scopes", sa.Text),
    sa.Column("user_refresh_token", sa.Text),
    sa.Column("user_token_expires_at", sa.DateTime),
    sa.Column("incoming_webhook_url", sa.Text, comment="never asked for"),
    sa.Column("incoming_webhook_channel", sa.Text),
    sa.Column("incoming_webhook_channel_id", sa.Text),
    sa.Column("incoming_webhook_configuration_url", sa.Text),
    sa.Column("is_enterprise_install", sa.Boolean, nullable=False),
    sa.Column("token_type", sa.Text),
    sa.Column("installed_at", sa.DateTime, nullable=False),
    sa.Index(
        "slack_installations_idx",
        "client_id", "enterprise_id", "team_id", "user_id", "installed_at",
    ),
)  # fmt: skip

oauth_states = sa.Table(
    "slack_oauth_states",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("expire_at", sa.DateTime, nullable=False),
)


def purge_oauth_states(state: State) -> int:
    """Delete what was begun in a browser and can't be ended any more; how many it were."""
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    with state.transaction() as connection:
        expired = sa.delete(oauth_states).where(oauth_states.c.expire_at < now)
        return connection.execute(expired).rowcount
