"""ClickHouse's HTTP interface over the real engine (chdb), as a process of its own.

`python -m tests.engines.clickhouse_front FOLDER PORT` serves 127.0.0.1 with the engine's files,
and `asked.jsonl` of what it was asked, in FOLDER; `started()` does it for a test.

The engine's: every answer and its bytes, all errors of questions with code and text, settings and
`readonly`, time limits, KILL QUERY, several questions at once. The front's: users, passwords and
the refusals to users who may only read (the engine in a process has one user who may do
everything), HTTP with its headers and statuses, and the ids that clients give their questions:
they stand in `log_comment`, and a KILL QUERY by id is put to the engine as one by that comment.
Left out, since our driver asks for none of it there: TLS, compressed bodies, sessions, external
tables, `client_protocol_version`.
"""

import base64
import concurrent.futures
import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

with contextlib.suppress(ImportError):  # an extra: only the process of the front needs it
    import chdb

from storage.engines.clickhouse import SETTINGS
from tests.engines.cluster import LOCAL, START_WITHIN_S, free_port, listens

#: What an administrator has made.
DATABASES = ("shop", "aside", "empty")
#: The server ends a connection on which nothing was asked for so long, as by keep_alive_timeout.
KEEP_ALIVE_S = 1
#: Parameters of a request that are no settings of the engine.
NO_SETTINGS = frozenset(
    {"query", "query_id", "database", "user", "password", "wait_end_of_query", "buffer_size"}
    | {"client_protocol_version", "default_format", "session_id", "session_timeout", "role"}
)
#: Statuses of errors that are no 500, as the server's source maps them.
STATUSES = {516: 403, 47: 404, 60: 404, 81: 404, 115: 404, 62: 400, 159: 408, 209: 503}
#: What a reader lacks, by the first word of a statement.
RIGHTS = {
    "CREATE": "CREATE TABLE ON shop.*",
    "INSERT": "INSERT ON shop.*",
    "KILL": "SELECT ON system.processes",
}
#: A text in a question makes the front do what befalls servers.
HANG_UP, BUSY = "front: hang up", "front: too busy"

KILL = re.compile(r"KILL QUERY WHERE query_id = ('[^']*') ASYNC")
INSERT = re.compile(r"(INSERT INTO .*) FORMAT (\w+)", re.DOTALL)
FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*\Z")


@dataclass(frozen=True)
class User:
    """Who may ask: `profile` is set before the request's settings.

    A reader may SELECT from `shop`: no writes, and no look at the questions that run.
    """

    password: str
    profile: dict[str, Any] = field(default_factory=dict)
    is_reader: bool = False


USERS = {
    "ops": User("secret"),
    "o'ps@berlin": User("s/cr%t:é"),
    "reader": User("secret", is_reader=True),
    "careful": User("secret", {"readonly": 2}),
    "bare": User("secret", {"readonly": 1}),
    "prepared": User("secret", {**SETTINGS, "readonly": 1}),
    "hasty": User("secret", {"max_execution_time": 1}),
    "frugal": User("secret", {"max_rows_to_read": 100_000}),
    "small": User("secret", {"max_memory_usage": 50_000_000}),
}


class RefusedError(Exception):
    """What the front refuses itself, in a server's words."""


def setting(name: str, value: object) -> str:
    """`name = 'value'`."""
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"{name} = '{text}'"


def answered(folder: Path, user: User, values: dict[str, str], body: bytes) -> tuple[bytes, str]:
    """The engine's answer in bytes, and its format; empty where a statement has no rows.

    Each request has a connection of its own, so its settings are nobody else's.
    """
    connection = chdb.connect(str(folder / "engine"))
    try:
        profile = ", ".join(setting(k, v) for k, v in user.profile.items() if k != "readonly")
        if profile:
            connection.query(f"SET {profile}")
        connection.query(f"SET {setting('log_comment', values.get('query_id', ''))}")
        if "readonly" in user.profile:
            connection.query(f"SET {setting('readonly', user.profile['readonly'])}")
        asked = {k: v for k, v in values.items() if k not in NO_SETTINGS and k[:6] != "param_"}
        if asked:
            connection.query("SET " + ", ".join(setting(k, v) for k, v in asked.items()))
        if database := values.get("database"):
            connection.query(f"USE `{database}`")
        bound = {k[6:]: v for k, v in values.items() if k.startswith("param_")}
        text = values.get("query", "")
        if found := INSERT.fullmatch(text):
            with tempfile.NamedTemporaryFile(dir=folder) as rows:
                rows.write(body)
                rows.flush()
                connection.query(f"{found[1]} FROM INFILE '{rows.name}' FORMAT {found[2]}")
            return b"", ""
        text += body.decode()
        if found := KILL.fullmatch(text):
            text = f"KILL QUERY WHERE Settings['log_comment'] = {found[1]} ASYNC"
        told = connection.query(text, "TabSeparated", params=bound).bytes() or b""
        form = FORMAT.search(text)
        return told, (form[1] if form else "TabSeparated") if told else ""
    finally:
        connection.close()


class Front(BaseHTTPRequestHandler):
    """One connection of a client."""

    folder: ClassVar[Path]
    version: ClassVar[str]
    writing: ClassVar[threading.Lock] = threading.Lock()
    workers: ClassVar[concurrent.futures.Executor] = concurrent.futures.ThreadPoolExecutor(16)
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = KEEP_ALIVE_S

    def log_message(self, *_: Any) -> None:
        """Nothing: `asked.jsonl` tells it."""

    def note(self, **what: Any) -> None:
        """A line of `asked.jsonl`, there even when we are killed next."""
        with self.writing, (self.folder / "asked.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(what) + "\n")

    def finish(self) -> None:
        """The connection ends, ours or theirs."""
        super().finish()
        self.note(event="closed")

    def do_GET(self) -> None:
        """`/ping`, all that is asked so."""
        self.reply(200, {}, b"Ok.\n")

    def do_POST(self) -> None:
        """A statement."""
        url = urllib.parse.urlsplit(self.path)
        values = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name, password = self.who(values)
        query = values.get("query") or body.decode()
        self.note(event="asked", user=name, query=query, values=values)
        if BUSY in query:
            self.reply(503, {"Content-Type": "text/html"}, b"<h1>503 Service Unavailable</h1>")
            return
        begun = False
        asking = self.workers.submit(self.told, name, password, values, body)
        patience = int(values.get("http_headers_progress_interval_ms", 120_000)) / 1000
        while not concurrent.futures.wait([asking], patience).done:
            self.wfile.write(b"" if begun else b"HTTP/1.1 200 OK\r\n")
            self.wfile.write(b'X-ClickHouse-Progress: {"read_rows":"0"}\r\n')
            begun = True
            self.note(event="progress", query=query)
        status, headers, content = asking.result()
        code = headers.get("X-ClickHouse-Exception-Code")
        self.note(event="answered", user=name, query=query, status=status, code=code)
        if HANG_UP in query:
            self.close_connection = True
            return
        self.reply(status, headers, content, begun=begun)

    def who(self, values: dict[str, str]) -> tuple[str, str]:
        """Name and password, in any of the ways of saying them."""
        kind, _, said = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            name, _, password = base64.b64decode(said).decode().partition(":")
            return name, password
        name = self.headers.get("X-ClickHouse-User") or values.get("user", "default")
        return name, self.headers.get("X-ClickHouse-Key") or values.get("password", "")

    def told(
        self, name: str, password: str, values: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content of the answer, or of the refusal."""
        headers = {
            "X-ClickHouse-Server-Display-Name": "front",
            "X-ClickHouse-Query-Id": values.get("query_id", ""),
            "X-ClickHouse-Timezone": values.get("session_timezone", "UTC"),
        }
        try:
            user = self.allowed(name, password, values.get("query") or body.decode())
            content, form = answered(self.folder, user, values, body)
        except (RefusedError, RuntimeError) as error:  # each of chdb's packages has its ChdbError
            text = str(error)
            code = int(text.removeprefix("Code: ").partition(".")[0])
            headers["X-ClickHouse-Exception-Code"] = str(code)
            said = f"{text} (version {self.version} (official build))\n"
            return STATUSES.get(code, 500), headers, said.encode()
        if form:
            headers["X-ClickHouse-Format"] = form
        headers["X-ClickHouse-Summary"] = '{"read_rows":"0","read_bytes":"0"}'
        return 200, headers, content

    def allowed(self, name: str, password: str, query: str) -> User:
        """The user, who may do that."""
        user = USERS.get(name)
        if user is None or user.password != password:
            raise RefusedError(
                f"Code: 516. DB::Exception: {name}: Authentication failed: password is incorrect, "
                "or there is no user with such name. (AUTHENTICATION_FAILED)"
            )
        right = RIGHTS.get(query.partition(" ")[0])
        if user.is_reader and right:
            raise RefusedError(
                f"Code: 497. DB::Exception: {name}: Not enough privileges. To execute this query, "
                f"it's necessary to have the grant {right}. (ACCESS_DENIED)"
            )
        return user

    def reply(
        self, status: int, headers: dict[str, str], content: bytes, *, begun: bool = False
    ) -> None:
        """All of it in one piece; `begun`: the status has gone out already."""
        if not begun:
            self.send_response(status)
        lines = {"Content-Length": str(len(content)), "Keep-Alive": f"timeout={KEEP_ALIVE_S}"}
        for name, value in {"Connection": "Keep-Alive", **lines, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def serve(folder: Path, port: int) -> None:
    """Until we are ended."""
    engine = chdb.connect(str(folder / "engine"))
    for database in DATABASES:
        engine.query(f"CREATE DATABASE IF NOT EXISTS {database}")
    Front.folder = folder
    Front.version = engine.query("SELECT version()").bytes().decode().strip()
    server = ThreadingHTTPServer((LOCAL, port), Front)
    server.serve_forever()


class Server:
    """A front as a process, and what it was asked. Made by `started()`."""

    def __init__(self, folder: Path, port: int) -> None:
        """`folder` keeps the engine's files from one start to the next."""
        self.folder = folder
        self.port = port
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "front.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.engines.clickhouse_front", folder, str(self.port)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
            )

    def url(self, user: str = "ops", password: str = "secret", database: str = "shop") -> str:
        """A store's."""
        name, word = (urllib.parse.quote(text, safe="") for text in (user, password))
        return f"clickhouse://{name}:{word}@{LOCAL}:{self.port}/{database}"

    def lines(self, event: str, text: str = "") -> list[dict[str, Any]]:
        """What was asked, answered or closed so far, where the question holds a text."""
        log = self.folder / "asked.jsonl"
        if not log.exists():
            return []
        found = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        return [x for x in found if x["event"] == event and text in x.get("query", "")]

    def until(self, what: str, is_so: Callable[[], Any]) -> None:
        """Wait for it, or tell what broke."""
        deadline = time.monotonic() + START_WITHIN_S
        while not is_so():
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "front.log").read_text(errors="replace")[-2000:])
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def started(folder: Path, port: int = 0) -> Iterator[Server]:
    """A front while the block runs."""
    server = Server(folder, port or free_port())
    try:
        server.until("the front", lambda: listens(server.port))
        yield server
    finally:
        server.kill()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
