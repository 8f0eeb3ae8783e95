"""A load that is killed leaves the store as before or as after, on every engine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.test_load import WIDE_CONFIG, WIDE_HEADER

#: Loads files into stores, each load in a forked process, which kills itself at a word of progress
#: or is ended by an alarm that nobody handles; prints the states that the store was found in.
DRIVER = """
import json, os, signal, sys
import sqlalchemy as sa
import storage.engines
from storage.load.load import load_files
from storage.load.mapping import parse_mapping
from storage.schema import metadata
from storage.store import Store
if sys.argv[1].startswith("postgresql"):
    import adbc_driver_postgresql.dbapi

url, whole, first, second, config = sys.argv[1:6]
recipe = parse_mapping(json.loads(config))

def forked(work):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        os.write(write, json.dumps(work()).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else json.loads(said)

def load(into, file, kill_at=0, alarm=0.0):
    heard = 0
    def hear(done, total, phase):
        nonlocal heard
        heard += 1
        if heard == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
    store = Store.open(into)
    signal.setitimer(signal.ITIMER_REAL, alarm)
    report = load_files(store, "orders", [file], recipe, source="s", description="d", progress=hear)
    store.close()
    return [heard, report.seconds]

def state(of):
    store = Store.open(of)
    found = []
    for table in metadata.sorted_tables:
        columns = [c for c in table.columns if c.name != "loaded_at"]
        rows = store.rows(sa.select(*columns).order_by(*table.primary_key.columns))
        found.append([table.name, rows])
    store.close()
    text = json.dumps(found, default=str)
    import hashlib
    return hashlib.sha256(text.encode()).hexdigest()

forked(lambda: load(url, first))
before = forked(lambda: state(url))
forked(lambda: load(whole, first))
heard, seconds = forked(lambda: load(whole, second))
after = forked(lambda: state(whole))
kills = [(n, 0.0) for n in range(1, heard)] + [(0, seconds * p / 5) for p in (1, 2, 3, 4)]
ends, found = [], []
for kill_at, alarm in kills:
    end = forked(lambda: load(url, second, kill_at, alarm))
    ends.append(end if isinstance(end, int) else 0)
    found.append(forked(lambda: state(url)))
    if found[-1] == after:
        break
forked(lambda: load(url, second))
print(json.dumps({"before": before, "after": after, "ends": ends, "found": found,
                  "last": forked(lambda: state(url))}))
"""


def wide_file(path: Path, orders: int, price: int) -> Path:
    """Three lines per order."""
    lines = (
        f"o{o},u{o % 97},2026-01-0{1 + o % 9},i{n},Item,{n + 1},{price},AT\n"
        for o in range(orders)
        for n in range(3)
    )
    path.write_text(WIDE_HEADER + "".join(lines))
    return path


def test_a_killed_load_is_done_or_not_done(
    engine_name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Killed at each word of progress, and at instants between them; then loaded to the end."""
    if engine_name == "postgresql":
        create = request.getfixturevalue("new_database")
        urls = [create(), create()]
    else:
        urls = [f"{engine_name}:///{tmp_path / name}" for name in ("a.db", "b.db")]
    first = wide_file(tmp_path / "first.csv", 100, 2)
    second = wide_file(tmp_path / "second.csv", 150, 3)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *urls, str(first), str(second), json.dumps(WIDE_CONFIG)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:3000]
    told = json.loads(done.stdout)
    assert told["before"] != told["after"]
    assert set(told["found"]) <= {told["before"], told["after"]}
    assert told["ends"].count(9) >= 10  # SIGKILL
    assert told["found"][:10] == [told["before"]] * 10
    assert told["last"] == told["after"]
