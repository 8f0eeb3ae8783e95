"""The bot's own memory, on SQLite and PostgreSQL."""

import contextlib
import datetime as dt
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.state import LONGEST_TEXT, VERSION_TABLE, State, StateError, metadata

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that does not hold our schema yet."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("new_database")())
    return f"sqlite:///{tmp_path / 'deep' / 'state.sqlite'}"


@pytest.fixture
def state(state_url: str) -> Iterator[State]:
    """An empty state on each engine in turn."""
    opened = State.open(state_url)
    yield opened
    opened.close()


def ask(state: State, **more: Any) -> int:
    """Record an answered question."""
    asked: dict[str, Any] = {
        "asker": "U1",
        "surface": "slack",
        "channel": "C1",
        "text": "Kpis please",
        "canonical": "kpis",
        "outcome": "answered",
        "seconds": 0.25,
    }
    return state.record_question(**asked | more)


def tables(url: str) -> set[str]:
    """The tables that a database holds."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        return set(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()


# --- the audit ----------------------------------------------------------------------------------


def test_a_question_comes_back_as_it_was_recorded(state: State) -> None:
    before = state.now()
    first = ask(state, text="kpis “ü” 😀 ' \" \\ % $1", reference="r-1", code="not_understood")
    second = ask(state, asker="U2", canonical=None, outcome="refused")
    newest, oldest = state.recent_questions()
    assert (newest.id, oldest.id) == (second, first)
    assert oldest.text == "kpis “ü” 😀 ' \" \\ % $1"
    assert (oldest.asker, oldest.surface, oldest.channel) == ("U1", "slack", "C1")
    assert (oldest.canonical, oldest.outcome) == ("kpis", "answered")
    assert (oldest.code, oldest.reference, oldest.seconds) == ("not_understood", "r-1", 0.25)
    assert newest.canonical is None
    assert before <= oldest.asked_at <= newest.asked_at <= state.now()


def test_the_clock_is_the_databases_and_has_a_zone(state: State) -> None:
    """The same machine here, so the two agree to some seconds."""
    assert abs(state.now() - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=30)


def test_recent_questions_can_be_those_of_one_asker(state: State) -> None:
    for n in range(5):
        ask(state, asker=f"U{n % 2}", text=str(n))
    assert [q.text for q in state.recent_questions(2)] == ["4", "3"]
    assert [q.text for q in state.recent_questions(asker="U1")] == ["3", "1"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("use xoxb-12-AbC_d please", "use [removed] please"),
        ("xapp-1-A0-99", "[removed]"),
        ("post to https://hooks.slack.com/commands/T1/2/abc now", "post to [removed] now"),
        ("Authorization: Bearer abc.def-ghi=", "Authorization: [removed]"),
        ("postgresql://ann:pa55@host/db", "postgresql://[removed]@host/db"),
        ("kpis by country", "kpis by country"),
        ("nul \x00 here", "nul \ufffd here"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
    ],
)
def test_secrets_and_what_no_database_takes_are_not_stored(
    state: State, said: str, kept: str
) -> None:
    ask(state, text=said, canonical=said)
    (question,) = state.recent_questions()
    assert (question.text, question.canonical) == (kept, kept)


def test_a_text_is_cut_at_its_longest(state: State) -> None:
    ask(state, text="x" * 50_000)
    assert state.recent_questions()[0].text == "x" * LONGEST_TEXT


@pytest.fixture(scope="module")
def memory() -> Iterator[State]:
    """One in-memory state for property tests."""
    opened = State.open("sqlite:///:memory:")
    yield opened
    opened.close()


@given(text=st.text(st.characters(), max_size=200))
@settings(max_examples=50, deadline=None)
def test_any_text_can_be_recorded(memory: State, text: str) -> None:
    number = ask(memory, text=text, asker=text, channel=text, canonical=text)
    assert memory.recent_questions(1)[0].id == number


def age(state: State, number: int, days: float) -> None:
    """Make a question older."""
    table = metadata.tables["questions"]
    older = table.c.asked_at - round(days * 86_400_000_000)
    with state.engine.begin() as connection:
        connection.execute(sa.update(table).where(table.c.id == number).values(asked_at=older))


def test_old_texts_are_forgotten_and_old_questions_deleted(state: State) -> None:
    ids = [ask(state) for _ in range(3)]
    for number, days in zip(ids, (800, 31, 29), strict=True):
        age(state, number, days)
    assert state.forget_texts(older_than_days=30) == 2
    assert state.forget_texts(older_than_days=30) == 0
    kept = {q.id: q.text for q in state.recent_questions()}
    assert kept == {ids[0]: None, ids[1]: None, ids[2]: "Kpis please"}
    assert state.recent_questions()[1].outcome == "answered"
    assert state.purge_questions(older_than_days=730) == 1
    assert state.purge_questions(older_than_days=730) == 0
    assert [q.id for q in state.recent_questions()] == [ids[2], ids[1]]


# --- requests that were seen --------------------------------------------------------------------


def test_a_key_is_new_only_once(state: State) -> None:
    assert state.first_time("v0=abc")
    assert not state.first_time("v0=abc")
    assert state.first_time("v0=abd")
    assert state.first_time("")
    assert state.first_time("x" * 100_000)
    assert state.first_time("\x00\ud800 ' % $1")


def test_request_keys_are_kept_as_digests(state: State) -> None:
    """A signature is no one's to read."""
    state.first_time("v0=signature")
    with state.engine.begin() as connection:
        (key,) = connection.execute(sa.select(metadata.tables["seen_requests"].c.key)).one()
    assert len(key) == 64
    assert "signature" not in key


def test_of_eight_threads_with_one_key_exactly_one_is_first(state: State) -> None:
    keys = [f"key {n}" for n in range(20)]
    line = threading.Barrier(8)
    firsts: list[str] = []
    faults: list[BaseException] = []

    def work() -> None:
        try:
            line.wait(30)
            firsts.extend(key for key in keys if state.first_time(key))
        except BaseException as error:  # noqa: BLE001 - looked at below
            faults.append(error)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert faults == []
    assert sorted(firsts) == sorted(keys)


def test_a_purged_key_is_new_again(state: State) -> None:
    assert state.first_time("a")
    assert state.purge_seen(older_than_seconds=600) == 0
    assert not state.first_time("a")
    assert state.purge_seen(older_than_seconds=-1) == 1
    assert state.first_time("a")


# --- opening and migrating ----------------------------------------------------------------------


def test_what_was_recorded_is_there_after_opening_again(state_url: str) -> None:
    first = State.open(state_url)
    ask(first)
    first.first_time("seen")
    first.close()
    second = State.open(state_url)
    assert len(second.recent_questions()) == 1
    assert not second.first_time("seen")
    second.close()


def test_the_migrations_make_exactly_the_declared_tables(state: State) -> None:
    with state.engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_sqlite_syncs_each_commit_and_keeps_the_file_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    state = State.open(f"sqlite:///{path}")
    with state.engine.begin() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000,
    }  # fmt: skip
    assert path.stat().st_mode & 0o777 == 0o600
    state.close()


OPEN = """
import sys
from storage.state import State
print("ready", flush=True)
sys.stdin.readline()
state = State.open(sys.argv[1])
print(state.first_time("the one"), flush=True)
state.close()
"""


def started(script: str, url: str) -> subprocess.Popen[str]:
    """A process of ours that runs a script on a state."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", script, url], stdin=pipe, stdout=pipe, text=True, cwd=ROOT
    )


def test_processes_that_open_a_new_state_at_once_all_succeed(state_url: str) -> None:
    """And agree on which of them was first."""
    processes = [started(OPEN, state_url) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert sorted(said) == ["False", "False", "True"]
    assert [process.returncode for process in processes] == [0, 0, 0]


def test_threads_that_open_a_new_state_at_once_all_succeed(state_url: str) -> None:
    opened: list[State] = []
    workers = [
        threading.Thread(target=lambda: opened.append(State.open(state_url))) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(opened) == 4
    for state in opened:
        state.close()


KILLED = """
import os, signal, sys
from alembic import op
from storage.state import State
op.create_index = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
State.open(sys.argv[1])
"""


def test_a_kill_in_the_middle_of_a_migration_leaves_a_state_that_opens(state_url: str) -> None:
    """The first table stands by then, uncommitted."""
    process = started(KILLED, state_url)
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert tables(state_url) == set()
    state = State.open(state_url)
    assert ask(state) == 1
    state.close()


def test_a_half_made_schema_is_completed(state_url: str) -> None:
    """Of a database that committed each table by itself."""
    State.open(state_url).close()
    engine = sa.create_engine(state_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE seen_requests"))
        connection.execute(sa.text(f"DELETE FROM {VERSION_TABLE}"))
    engine.dispose()
    state = State.open(state_url)
    assert state.first_time("a")
    state.close()


def test_a_sqlite_file_is_copied_before_it_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    state = State.open(f"sqlite:///{path}")
    ask(state)
    with state.engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM {VERSION_TABLE}")
    state.close()
    assert not path.with_name("state.sqlite.before-first").exists()
    State.open(f"sqlite:///{path}").close()
    copy = path.with_name("state.sqlite.before-first")
    assert copy.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT text FROM questions").fetchall() == [("Kpis please",)]


def test_a_newer_schema_is_refused_and_left_alone(state_url: str) -> None:
    state = State.open(state_url)
    ask(state)
    with state.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(StateError, match="newer version") as caught:
        State.open(state_url)
    assert "Run that version" in caught.value.hint
    assert "9999" in caught.value.detail
    assert len(state.recent_questions()) == 1
    state.close()


def test_other_tables_of_the_database_are_left_alone(state_url: str) -> None:
    """Even the mark of somebody else's migrations."""
    if state_url.startswith("sqlite:///"):
        Path(state_url.removeprefix("sqlite:///")).parent.mkdir(parents=True)
    engine = sa.create_engine(state_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num text)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('theirs')"))
    engine.dispose()
    State.open(state_url).close()
    assert tables(state_url) == {*metadata.tables, VERSION_TABLE, "alembic_version"}


@pytest.mark.parametrize(
    ("url", "says", "hints"),
    [
        ("nonsense", "no URL", "sqlite:///"),
        ("", "no URL", "sqlite:///"),
        ("duckdb:///x", "kind “duckdb”", "sqlite:///"),
        ("sqlite://", "names no file", "three slashes"),
        ("sqlite:////dev/null/x/state", "can't be written", "who may write"),
        ("sqlite:////dev", "can't be", "state.url"),
        ("postgresql://ann:secret@127.0.0.1:1/none", "can't be reached", "state.url"),
        ("postgresql://no-such-host.invalid/none", "can't be reached", "state.url"),
    ],
)
def test_a_state_that_cannot_be_opened_says_what_to_do(url: str, says: str, hints: str) -> None:
    with pytest.raises(StateError) as caught:
        State.open(url)
    assert says in caught.value.message
    assert hints in caught.value.hint
    assert "secret" not in caught.value.message + caught.value.hint + caught.value.detail


def test_a_file_of_another_kind_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("I am a letter, not a database. " * 200)
    with pytest.raises(StateError, match="can't be reached"):
        State.open(f"sqlite:///{path}")
    assert path.read_text().startswith("I am a letter")


def test_a_connection_that_the_server_ended_is_replaced_unseen(new_database: Any) -> None:
    """Such as by a restart."""
    url = new_database()
    state, other = State.open(url), State.open(url)
    end = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    with other.engine.begin() as connection:
        connection.execute(end)
    assert state.first_time("a")
    other.close()
    state.close()
