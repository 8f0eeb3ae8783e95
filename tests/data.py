"""Where tests find the data sets that are not shipped with the code."""

from pathlib import Path

import pytest


def shared(name: str) -> Path:
    """The path of a shared data file, or a loud skip where the folder is absent."""
    for parent in Path(__file__).resolve().parents:
        path = parent / "shared" / "data" / name
        if path.exists():
            return path
    pytest.skip(f"NOT RUN: shared/data/{name} is not on this machine")
