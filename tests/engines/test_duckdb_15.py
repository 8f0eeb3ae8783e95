"""Every command gives the same answer on DuckDB 1.5 and 2, from a file that either can read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from analytics.command import Context
from bot.moving import questions, told
from tests.shop import shop_file

pytestmark = pytest.mark.engines

ROOT = Path(__file__).resolve().parents[2]
#: Where `make test-engines` puts it.
OLDER = ROOT / "build" / "duckdb-1.5"


def test_duckdb_15_gives_duckdb_2s_answers(
    shop: Context, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    if not OLDER.exists():
        pytest.skip("DuckDB 1.5 is not in build/duckdb-1.5: run make test-engines")
    assert duckdb.__version__.startswith("2.")
    file = shop_file(tmp_path, Path(pytestconfig.cache.mkdir("daybreak-shop")))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.engines.answers", str(file)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(OLDER), str(ROOT)))},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert theirs.pop("").startswith("1.5.")
    assert set(theirs) == set(questions())
    for text, there in theirs.items():
        assert there == json.loads(json.dumps(told(text, shop)[0])), text
