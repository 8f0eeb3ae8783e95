"""One file per step: `revision`, `down_revision`, `upgrade()`. Steps are never edited."""
