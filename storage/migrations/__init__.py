"""Migrations of the state database, applied in order by `State.open`."""
