"""The data: schema, engines, loading, the bot's own memory. Imports nothing of ours."""
