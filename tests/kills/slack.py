"""A Slack that loses answers: enough of its Web API to post, change, find and delete messages.

Faults are drawn at random: the message stands there and the answer is cut or is a 5xx, or nothing
happened and the answer is cut, a 5xx or a 429. `GET /_messages` shows what stands in the channels,
`GET /_counts` what was called and which faults there were.
"""

import collections
import json
import random
import socket
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Faults:
    """Shares of the calls that end badly; `lag` is how late history shows a message, in seconds."""

    cut_after: float = 0.03
    error_after: float = 0.02
    error: float = 0.03
    limited: float = 0.02
    cut_before: float = 0.02
    history_error: float = 0.03
    lag: float = 0.0


class Slack(ThreadingHTTPServer):
    """Keeps all messages in memory."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, faults: Faults, seed: int) -> None:
        """Listens on a free port of this machine."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults = faults
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.messages: list[dict[str, Any]] = []
        self.counts: collections.Counter[str] = collections.Counter()

    @property
    def url(self) -> str:
        """Where the Web API is."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def falls(self, share: float, name: str) -> bool:
        """Whether a fault happens this time; counted."""
        happens = self.random.random() < share
        self.counts[name] += happens
        return happens

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is no news."""


class Handler(BaseHTTPRequestHandler):
    """One call."""

    server: Slack

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """What stands there."""
        with self.server.lock:
            shown = {
                "/_messages": [m for m in self.server.messages if not m["deleted"]],
                "/_counts": dict(self.server.counts),
            }[self.path]
        self.answer(200, shown)

    def do_POST(self) -> None:
        """A method of the Web API."""
        raw = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        if "json" in (self.headers.get("content-type") or ""):
            arguments = json.loads(raw or "{}")
        else:
            arguments = {k: v[0] for k, v in parse_qs(raw).items()}
        method = self.path.rpartition("/")[2]
        with self.server.lock:
            self.server.counts[method] += 1
            act = getattr(self, method.replace(".", "_"), self.anything)
            status, body = act(arguments)
        if status == 0:  # cut
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.answer(status, body)

    def answer(self, status: int, body: Any) -> None:
        """Send it."""
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        if status == 429:
            self.send_header("retry-after", "1")
        self.end_headers()
        self.wfile.write(text)

    # Methods: status (0: the connection is cut) and body.

    def anything(self, _: dict[str, Any]) -> tuple[int, Any]:
        """Everything else is fine."""
        return 200, {"ok": True, "channel": {"id": "D1"}}

    def chat_postMessage(self, arguments: dict[str, Any]) -> tuple[int, Any]:  # noqa: N802
        """A message, or a fault."""
        slack, faults = self.server, self.server.faults
        if slack.falls(faults.limited, "429"):
            return 429, {"ok": False, "error": "ratelimited"}
        if slack.falls(faults.error, "5xx"):
            return 503, {"ok": False, "error": "fatal_error"}
        if slack.falls(faults.cut_before, "cut before"):
            return 0, None
        metadata = arguments.get("metadata") or {}
        if isinstance(metadata, str):
            metadata = json.loads(metadata)
        ts = f"{int(time.time())}.{len(slack.messages):06d}"
        slack.messages.append(
            {
                "ts": ts,
                "at": time.monotonic(),
                "channel": arguments["channel"],
                "text": arguments.get("text", ""),
                "metadata": metadata,
                "deleted": False,
            }
        )
        if slack.falls(faults.cut_after, "cut after"):
            return 0, None
        if slack.falls(faults.error_after, "5xx after"):
            return 500, {"ok": False, "error": "fatal_error"}
        return 200, {"ok": True, "ts": ts, "channel": arguments["channel"]}

    def conversations_history(self, arguments: dict[str, Any]) -> tuple[int, Any]:
        """The latest messages of a channel."""
        slack = self.server
        if slack.falls(slack.faults.history_error, "history 5xx"):
            return 503, {"ok": False, "error": "fatal_error"}
        seen_before = time.monotonic() - slack.faults.lag
        there = [
            {k: m[k] for k in ("ts", "text", "metadata")}
            for m in reversed(slack.messages)
            if m["channel"] == arguments["channel"] and not m["deleted"] and m["at"] <= seen_before
        ]
        return 200, {"ok": True, "messages": there[: int(arguments.get("limit", 100))]}

    def chat_delete(self, arguments: dict[str, Any]) -> tuple[int, Any]:
        """A message goes."""
        for message in self.server.messages:
            if message["ts"] == arguments["ts"] and not message["deleted"]:
                message["deleted"] = True
                return 200, {"ok": True}
        return 200, {"ok": False, "error": "message_not_found"}

    def chat_update(self, arguments: dict[str, Any]) -> tuple[int, Any]:
        """A message is changed."""
        for message in self.server.messages:
            if message["ts"] == arguments["ts"] and not message["deleted"]:
                message["text"] = arguments.get("text", message["text"])
                return 200, {"ok": True, "ts": message["ts"]}
        return 200, {"ok": False, "error": "message_not_found"}
