"""The questions: commands, metrics and statistics. Knows no chat, HTTP or picture."""
