"""The bot against a Slack that somebody else wrote."""
