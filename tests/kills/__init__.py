"""Schedules under kill -9: `python -m tests.kills`."""
