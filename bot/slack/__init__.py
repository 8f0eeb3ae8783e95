"""The Slack surface: what is said there, and what Slack will take."""
