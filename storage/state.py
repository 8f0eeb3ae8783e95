"""The bot's own memory, in a database apart from the data: who asked what, what was seen already.

| URL | for |
|---|---|
| `sqlite:///path/state.sqlite` | one bot (the default): write-ahead log, every commit on the disk |
| `postgresql://user:password@host/database` | several bots that share it |

Instants are the database's clock, never ours: bots on several machines agree on it. They are kept
as integer microseconds since 1970-01-01 UTC and come back as aware datetimes. Secrets are not
stored: what looks like one is taken out of texts, and request keys are kept as digests.
"""

import contextlib
import datetime as dt
import hashlib
import re
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from storage.sqlite import write_ahead

metadata = sa.MetaData()

#: Named for us: the database may hold someone else's `alembic_version`.
VERSION_TABLE = "state_version"

#: Texts are cut at so many characters.
LONGEST_TEXT = 4000

UTC_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECONDS_PER_SECOND = 1_000_000
SECONDS_PER_DAY = 86_400

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

questions = sa.Table(
    "questions",
    metadata,
    sa.Column("id", ID, primary_key=True, autoincrement=True),
    sa.Column("asked_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("asker", sa.Text, nullable=False),
    sa.Column("surface", sa.Text, nullable=False, doc="slack, terminal, web, schedule"),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("text", sa.Text, doc="as it was asked; null: forgotten by now"),
    sa.Column("canonical", sa.Text, doc="as it was understood; null: not, or forgotten"),
    sa.Column(
        "outcome",
        sa.Text,
        nullable=False,
        doc="answered, cancelled, killed_for_memory, killed_for_time, lost_process, or why refused",
    ),
    sa.Column("code", sa.Text, nullable=False, doc="the error's word for programs"),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("reference", sa.Text, nullable=False, doc="of the log line, as the asker saw it"),
)

seen_requests = sa.Table(
    "seen_requests",
    metadata,
    sa.Column("key", sa.Text, primary_key=True, doc="SHA-256 of what must not be taken twice"),
    sa.Column("seen_at", sa.BigInteger, nullable=False, index=True),
)

#: Accepted questions, until they are answered. See `storage/queue.py`.
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", ID, primary_key=True, autoincrement=True),
    sa.Column("person", sa.Text, nullable=False, index=True),
    sa.Column("work", sa.Text, nullable=False, comment="JSON; the surface's own"),
    sa.Column("status", sa.Text, nullable=False, comment="waiting, running, done, cancelled"),
    sa.Column("accepted_at", sa.BigInteger, nullable=False),
    sa.Column("lease_until", sa.BigInteger, nullable=False, comment="0: nobody's"),
    sa.Column("fence", sa.Integer, nullable=False, comment="counts claims; an old one is void"),
    sa.Column("begun_at", sa.BigInteger, nullable=False, server_default="0", comment="0: not yet"),
    sa.Column("progress", sa.Text, nullable=False, server_default="", comment="in words"),
    sa.Index("ix_jobs_status", "status", "id"),
)

#: What is to be posted, until it is. See `storage/outbox.py`.
posts = sa.Table(
    "posts",
    metadata,
    sa.Column("id", ID, primary_key=True, autoincrement=True),
    sa.Column("key", sa.Text, nullable=False, unique=True, comment="names the message in Slack"),
    sa.Column("lane", sa.Text, nullable=False, comment="posts of one lane go in order"),
    sa.Column("body", sa.Text, nullable=False, comment="JSON; the surface's own"),
    sa.Column("status", sa.Text, nullable=False, comment="due, sending, sent, failed"),
    sa.Column("made_at", sa.BigInteger, nullable=False),
    sa.Column("not_before", sa.BigInteger, nullable=False),
    sa.Column("lease_until", sa.BigInteger, nullable=False, comment="0: nobody's"),
    sa.Column("fence", sa.Integer, nullable=False, comment="counts claims; an old one is void"),
    sa.Column("tried", sa.Integer, nullable=False, comment="sends whose outcome is not known"),
    sa.Column("step", sa.Integer, nullable=False, comment="how much of the body is sent"),
    sa.Column("ts", sa.Text, nullable=False, comment="of the message in Slack"),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("checks", sa.Integer, nullable=False, server_default="0", comment="for copies"),
    sa.Column(
        "check_at", sa.BigInteger, nullable=False, server_default="0", comment="the next; 0: none"
    ),
    sa.Index("ix_posts_status", "status", "lane", "id"),
    sa.Index("ix_posts_check_at", "check_at"),
)

SECRETS = re.compile(
    r"""\b(?:xox[a-z]|xapp)-[\w-]+          # Slack's tokens
    |   https://hooks\.slack\.com/\S+       # response_url and web hooks: who has it may post
    |   \b(?:Bearer|Basic)\s+[\w.~+/=-]{8,}
    |   (?<=://)[^\s:/@]+:[^\s/@]+(?=@)     # user:password@host
    """,
    re.VERBOSE | re.IGNORECASE,
)

#: Alembic's `op` and `context` are one for the whole process.
_MIGRATING = threading.Lock()


class StateError(Exception):
    """The bot's memory cannot be used. `message` and `hint` may be shown; `detail` is logged."""

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        """`message` is one sentence without SQL or passwords."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


@dataclass(frozen=True)
class Question:
    """One question of the audit."""

    id: int
    asked_at: dt.datetime
    asker: str
    surface: str
    channel: str
    text: str | None
    canonical: str | None
    outcome: str
    code: str
    seconds: float
    reference: str


class NowUs(FunctionElement[int]):
    """The database's clock: microseconds since 1970-01-01 UTC."""

    inherit_cache = True
    name = "now_us"
    type = sa.BigInteger()


@compiles(NowUs, "postgresql")
def _now_postgresql(*_: Any, **__: Any) -> str:
    return "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000000) AS BIGINT)"


@compiles(NowUs, "sqlite")
def _now_sqlite(*_: Any, **__: Any) -> str:
    return "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000"


class State:
    """Safe to use from many threads and, by one URL, from many processes."""

    def __init__(self, engine: sa.Engine) -> None:
        """A database whose schema is ours and current; use `open`."""
        self.engine = engine
        #: SQLite's writers poll for their turn with growing pauses; our threads queue up instead.
        self._turn: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if self.is_sqlite else contextlib.nullcontext()
        )

    @classmethod
    def open(cls, url: str) -> "State":
        """Open, create or migrate. Raises StateError with what to do.

        Several processes may do it at once: the first migrates, the others wait for it. The
        migration is one transaction; before it, an existing SQLite file is copied beside itself.
        """
        engine = _engine(url)
        try:
            _migrate(engine)
        except sa.exc.DBAPIError as error:
            engine.dispose()
            raise _unreachable(error) from error
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Give back the connections."""
        self.engine.dispose()

    def now(self) -> dt.datetime:
        """The database's clock."""
        with self.transaction() as connection:
            return instant(connection.execute(sa.select(NowUs())).scalar_one())

    def version(self) -> str:
        """The revision of the schema."""
        with self.transaction() as connection:
            return _revision(connection) or ""

    def record_question(
        self,
        *,
        asker: str,
        surface: str,
        channel: str,
        text: str,
        canonical: str | None,
        outcome: str,
        seconds: float,
        reference: str = "",
        code: str = "",
        connection: sa.Connection | None = None,
    ) -> int:
        """Keep a question in the audit; its id. What looks like a secret is taken out.

        In a transaction of its own, or in that of the `connection`.
        """
        row = {
            "asked_at": NowUs(),
            "asker": storable(asker),
            "surface": surface,
            "channel": storable(channel),
            "text": storable(text),
            "canonical": None if canonical is None else storable(canonical),
            "outcome": outcome,
            "code": code,
            "seconds": seconds,
            "reference": reference,
        }
        with contextlib.nullcontext(connection) if connection else self.transaction() as kept:
            inserted = kept.execute(sa.insert(questions).values(row).returning(questions.c.id))
            return int(inserted.scalar_one())

    def recent_questions(self, limit: int = 50, *, asker: str | None = None) -> list[Question]:
        """The latest questions, newest first; of one asker, or of all."""
        chosen = sa.select(questions).order_by(questions.c.id.desc()).limit(limit)
        if asker is not None:
            chosen = chosen.where(questions.c.asker == asker)
        with self.transaction() as connection:
            rows = connection.execute(chosen).mappings().all()
        return [Question(**{**row, "asked_at": instant(row["asked_at"])}) for row in rows]

    def forget_texts(self, *, older_than_days: float) -> int:
        """Take the texts out of old questions; the rest of the row stays. How many it were."""
        old = questions.c.asked_at < NowUs() - microseconds(older_than_days * SECONDS_PER_DAY)
        holds = questions.c.text.is_not(None) | questions.c.canonical.is_not(None)
        forget = sa.update(questions).where(old, holds).values(text=None, canonical=None)
        with self.transaction() as connection:
            return connection.execute(forget).rowcount

    def purge_questions(self, *, older_than_days: float) -> int:
        """Delete old questions; how many it were."""
        old = questions.c.asked_at < NowUs() - microseconds(older_than_days * SECONDS_PER_DAY)
        with self.transaction() as connection:
            return connection.execute(sa.delete(questions).where(old)).rowcount

    def first_time(self, key: str) -> bool:
        """True for exactly one of all callers, in any thread or process, that bring this key."""
        with self.transaction() as connection:
            return self.first_time_in(connection, key)

    def first_time_in(self, connection: sa.Connection, key: str) -> bool:
        """As `first_time`, inside a transaction: undone with it."""
        row = {"key": hashlib.sha256(key.encode(errors="replace")).hexdigest(), "seen_at": NowUs()}
        wanted = self.insert(seen_requests).values(row).on_conflict_do_nothing()
        return connection.execute(wanted.returning(seen_requests.c.key)).first() is not None

    def purge_seen(self, *, older_than_seconds: float) -> int:
        """Forget old request keys; how many it were."""
        old = seen_requests.c.seen_at < NowUs() - microseconds(older_than_seconds)
        with self.transaction() as connection:
            return connection.execute(sa.delete(seen_requests).where(old)).rowcount

    def insert(self, table: sa.Table) -> Any:
        """The engine's own insert, which knows `on_conflict_do_nothing`."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    @property
    def is_sqlite(self) -> bool:
        """Whether all writers take turns."""
        return self.engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Committed at the end of the block, undone when it raises."""
        try:
            with self._turn, self.engine.begin() as connection:
                yield connection
        except sa.exc.OperationalError as error:
            raise _unreachable(error) from error


def microseconds(seconds: float) -> int:
    """Seconds as instants are kept."""
    return round(seconds * MICROSECONDS_PER_SECOND)


def instant(us: int) -> dt.datetime:
    """A kept instant."""
    return UTC_EPOCH + dt.timedelta(microseconds=us)


def storable(text: str) -> str:
    """Without secrets, and without what PostgreSQL refuses: NUL and lone surrogates."""
    clean = text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    return SECRETS.sub("[removed]", clean)[:LONGEST_TEXT]


def _unreachable(error: sa.exc.DBAPIError) -> StateError:
    return StateError(
        "The bot's memory can't be reached.",
        hint="Check state.url: the file or server, and who may write there.",
        detail=str(error.orig),
    )


# --- opening ------------------------------------------------------------------------------------


def _engine(url: str) -> sa.Engine:
    """The engine of a state URL; nothing is opened yet, but a missing folder and file are made."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise StateError(
            "state.url is no URL.", hint="Use sqlite:///file or postgresql://user@host/database."
        ) from error
    match parsed.drivername.partition("+")[0]:
        case "sqlite":
            return _sqlite_engine(parsed.database or "")
        case "postgresql" | "postgres":
            return sa.create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_pre_ping=True,
                connect_args={"connect_timeout": 10},
            )
        case kind:
            raise StateError(
                f"I can't keep my memory in a database of the kind “{kind}”.",
                hint="Use sqlite:///file or postgresql://user@host/database.",
            )


def _sqlite_engine(path: str) -> sa.Engine:
    if not path:
        raise StateError(
            "state.url names no file.",
            hint="Write sqlite:///path/to/state.sqlite, with three slashes before the path.",
        )
    options: dict[str, Any] = {}
    if path == ":memory:":
        # each connection would be a database of its own: all take turns with one
        options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 60}
    else:
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch(mode=0o600)
        except OSError as error:
            raise StateError(
                f"{path} can't be written.",
                hint="Check the path in state.url, and who may write there.",
                detail=str(error),
            ) from error
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=path),
        poolclass=sa.QueuePool,
        connect_args={"timeout": 30, "check_same_thread": False, "isolation_level": None},
        **options,
    )

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _: object) -> None:
        write_ahead(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def on_begin(connection: sa.Connection) -> None:
        # a reader that becomes a writer would be refused instead of waiting: lock at once
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _migrate(engine: sa.Engine) -> None:
    """Bring the schema to the newest we know. StateError where it is newer than that."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    script = ScriptDirectory.from_config(config)
    with _MIGRATING, engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            lock = sa.func.pg_advisory_xact_lock(sa.func.hashtextextended("daybreak state", 0))
            connection.execute(sa.select(lock))
        at = _revision(connection)
        if at == script.get_current_head():
            return
        if at is not None and at not in {step.revision for step in script.walk_revisions()}:
            raise StateError(
                "The bot's memory was written by a newer version of this program.",
                hint="Run that version, or go back to the copy that it made beside the file.",
                detail=f"its schema is {at}, ours {script.get_current_head()}",
            )
        if engine.dialect.name == "sqlite" and sa.inspect(connection).get_table_names():
            _copy_aside(Path(str(engine.url.database)), at)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(connection: sa.Connection) -> str | None:
    """The revision of the schema that is there."""
    options = {"version_table": VERSION_TABLE}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def _copy_aside(path: Path, revision: str | None) -> None:
    """A consistent copy of a file that is about to be migrated; one per revision, kept."""
    copy = path.with_name(f"{path.name}.before-{revision or 'first'}")
    copy.touch(mode=0o600)
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
