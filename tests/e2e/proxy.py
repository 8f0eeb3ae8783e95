"""What stands between the bot and the emulator: Slack's refusals, faults and Socket Mode.

Every call is recorded, every outgoing message, view and file is held against `assert_sendable`,
and what the emulator lacks is answered here (Socket Mode, streams, assistant threads, user
groups). All else passes to the emulator untouched, so those semantics stay somebody else's.
"""

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TimedOut
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from bot.slack.sendable import Fault, NotSendableError, assert_sendable

JsonObject = dict[str, Any]
MESSAGES = ("chat.postMessage", "chat.update", "chat.postEphemeral")
VIEWS = ("views.open", "views.push", "views.update", "views.publish")
#: Arguments that slack_sdk sends as JSON inside a form.
NESTED = ("blocks", "view", "metadata", "files", "prompts", "attachments", "chunks", "message")
#: Arguments that the client library adds of itself.
ENVELOPE = ("token", "team_id")
ACK_WITHIN = 3.0
NOT_FORWARDED = ("host", "content-length", "connection", "accept-encoding", "transfer-encoding")


@dataclass(frozen=True)
class Call:
    """One call of the Web API, as it came in and as it was answered.

    The bytes of a file are a call of the method `upload`, with their `path` and how many `bytes`.
    `status` is 0 where the answer was cut off. `reached` says whether the emulator acted on it.
    """

    method: str
    arguments: JsonObject
    token: str
    status: int
    answer: JsonObject
    reached: bool
    at: float


@dataclass(frozen=True)
class Refusal:
    """A payload that Slack would have refused, and why."""

    method: str
    arguments: JsonObject
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Limited:
    """Answer 429 and do not act; `retry_after` in seconds."""

    retry_after: int = 1


@dataclass(frozen=True)
class Broken:
    """Answer with a server error and do not act."""

    status: int = 503


@dataclass(frozen=True)
class Lost:
    """Act, then close the connection without an answer."""


@dataclass(frozen=True)
class Slow:
    """Act, and answer after `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Refused:
    """Answer `ok: false` with this error and do not act."""

    error: str


Upset = Limited | Broken | Lost | Slow | Refused


@dataclass(frozen=True)
class Reply:
    """An HTTP answer on its way to the bot."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json; charset=utf-8"),)

    @classmethod
    def of(cls, answer: JsonObject, status: int = 200) -> "Reply":
        """From a JSON answer."""
        return cls(status, json.dumps(answer).encode())

    def json(self) -> JsonObject:
        """The answer as an object; empty where it is none (the bytes of a file)."""
        try:
            answer = json.loads(self.body)
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}


class Proxy:
    """The Slack that a bot under test sees; `url` is the base of its Web API."""

    def __init__(self) -> None:
        """Listens at once on loopback ports of its own; set `upstream` before the first call."""
        self.upstream = ""
        self.calls: list[Call] = []
        self.refusals: list[Refusal] = []
        #: Handle of a user group -> its id and the ids of its users.
        self.user_groups: dict[str, tuple[str, tuple[str, ...]]] = {}
        #: Method -> what answers it in place of the emulator.
        self.answers: dict[str, Callable[[JsonObject, str], JsonObject]] = {
            "api.test": lambda arguments, _: {"ok": True, "args": arguments},
            "apps.connections.open": self._open_connection,
            "assistant.threads.setStatus": lambda *_: {"ok": True},
            "assistant.threads.setTitle": lambda *_: {"ok": True},
            "assistant.threads.setSuggestedPrompts": self._set_prompts,
            "blocks.validate": lambda *_: {"ok": True},
            "chat.appendStream": self._append_stream,
            "chat.startStream": self._start_stream,
            "chat.stopStream": self._stop_stream,
            "usergroups.list": self._list_user_groups,
            "usergroups.users.list": self._list_group_users,
        }
        self._upsets: defaultdict[str, deque[Upset]] = defaultdict(deque)
        self._streams: dict[tuple[str, str], str] = {}
        self._changed = Condition()
        self._closing = Event()
        self._sockets: list[ServerConnection] = []
        self._retired: list[ServerConnection] = []
        self._acks: dict[str, Future[JsonObject | None]] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(self))
        self._socket_server = serve(self._socket, "127.0.0.1", 0, close_timeout=1)
        self.root = f"http://127.0.0.1:{self._http.server_port}"
        self.url = f"{self.root}/api/"
        self.socket_url = f"ws://127.0.0.1:{self._socket_server.socket.getsockname()[1]}/link/"
        self._threads = [
            Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}),
            Thread(target=self._socket_server.serve_forever),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop listening; slow answers are let go."""
        self._closing.set()
        self._socket_server.shutdown()
        for connection in (*self._sockets, *self._retired):
            connection.close()
        self._http.shutdown()
        self._http.server_close()
        for thread in self._threads:
            thread.join(5)

    # What a test asks and orders.

    def upset(self, method: str, *upsets: Upset) -> None:
        """The next calls of `method` meet these, in this order, one each."""
        self._upsets[method].extend(upsets)

    def calls_of(self, method: str) -> list[Call]:
        """The calls of one method, in the order in which they were answered."""
        return [call for call in self.calls if call.method == method]

    def wait_for(self, true: Callable[[], Any], seconds: float = 10.0) -> Any:
        """What `true` returns once that is truthy; it is asked again after each call.

        AssertionError, with the calls so far, if it never is.
        """
        until = monotonic() + seconds
        while not (found := true()):
            left = until - monotonic()
            if left <= 0:
                methods = [(call.method, call.status) for call in self.calls]
                raise AssertionError(f"waited {seconds} s in vain; calls so far: {methods}")
            with self._changed:
                self._changed.wait(min(left, 0.1))
        return found

    # The Web API.

    def answer(self, method: str, arguments: JsonObject, token: str, request: "Request") -> Reply:
        """Answer one call, meeting the next upset that was ordered for its method."""
        with self._changed:
            upset = self._upsets[method].popleft() if self._upsets[method] else None
        reply, reached = self._reply(method, arguments, token, request, upset)
        if isinstance(upset, Slow):
            self._closing.wait(upset.seconds)
        status = 0 if isinstance(upset, Lost) else reply.status
        call = Call(method, arguments, token, status, reply.json(), reached, monotonic())
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        return Reply(0, b"") if isinstance(upset, Lost) else reply

    def _reply(
        self,
        method: str,
        arguments: JsonObject,
        token: str,
        request: "Request",
        upset: Upset | None,
    ) -> tuple[Reply, bool]:
        """The answer, and whether anything was done."""
        match upset:
            case Limited(retry_after):
                body = json.dumps({"ok": False, "error": "ratelimited"}).encode()
                kind = ("Content-Type", "application/json; charset=utf-8")
                return Reply(429, body, (kind, ("Retry-After", str(retry_after)))), False
            case Broken(status):
                kind = ("Content-Type", "text/plain")
                return Reply(status, b"upstream connect error", (kind,)), False
            case Refused(error):
                return Reply.of({"ok": False, "error": error}), False
            case _:
                pass
        if refusal := refuse(method, arguments):
            self.refusals.append(refusal)
            return Reply.of(refusal_answer(refusal)), False
        if method in self.answers:
            return Reply.of(self.answers[method](arguments, token)), True
        reply = self.forward(request)
        if request.path.startswith("/api/") and reply.status == 404:
            return Reply.of({"ok": False, "error": "unknown_method"}), False
        return reply, True

    def forward(self, request: "Request") -> Reply:
        """The emulator's answer."""
        address = urlsplit(self.upstream)
        connection = HTTPConnection(address.hostname or "", address.port, timeout=30)
        try:
            connection.request(request.verb, request.path, request.body, request.headers)
            response = connection.getresponse()
            body = response.read()
            headers = tuple(
                (k, v) for k, v in response.getheaders() if k.lower() not in NOT_FORWARDED
            )
            return Reply(response.status, body, headers)
        finally:
            connection.close()

    def _ask(self, method: str, arguments: JsonObject, token: str) -> JsonObject:
        """A call of ours to the emulator, on the bot's behalf."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = json.dumps(arguments).encode()
        return self.forward(Request("POST", f"/api/{method}", body, headers)).json()

    # Streams: a message that grows. The emulator holds it as a message of its own.

    def _start_stream(self, arguments: JsonObject, token: str) -> JsonObject:
        text = arguments.get("markdown_text", "")
        wanted = {k: arguments[k] for k in ("channel", "thread_ts") if k in arguments}
        posted = self._ask("chat.postMessage", wanted | {"text": text or "…"}, token)
        if posted.get("ok"):
            self._streams[posted["channel"], posted["ts"]] = text
        return posted

    def _append_stream(self, arguments: JsonObject, token: str) -> JsonObject:
        key = (arguments.get("channel", ""), arguments.get("ts", ""))
        if key not in self._streams:
            return {"ok": False, "error": "message_not_in_streaming_state"}
        self._streams[key] += arguments.get("markdown_text", "")
        changed = {"channel": key[0], "ts": key[1], "text": self._streams[key] or "…"}
        return self._ask("chat.update", changed, token)

    def _stop_stream(self, arguments: JsonObject, token: str) -> JsonObject:
        answer = self._append_stream(arguments, token)
        key = (arguments.get("channel", ""), arguments.get("ts", ""))
        text = self._streams.pop(key, "")
        if answer.get("ok") and "blocks" in arguments:
            final = {"channel": key[0], "ts": key[1], "text": text or "…"}
            answer = self._ask("chat.update", final | {"blocks": arguments["blocks"]}, token)
        return answer

    def _set_prompts(self, arguments: JsonObject, _: str) -> JsonObject:
        """As an agent's messages tab takes them: one to four, and no thread named."""
        prompts = arguments.get("prompts") or []
        whole = all(p.get("title") and p.get("message") for p in prompts)
        if "thread_ts" in arguments or not 1 <= len(prompts) <= 4 or not whole:
            return {"ok": False, "error": "invalid_arguments"}
        return {"ok": True}

    # User groups.

    def _list_user_groups(self, *_: Any) -> JsonObject:
        groups = [{"id": g, "handle": h, "name": h} for h, (g, _) in self.user_groups.items()]
        return {"ok": True, "usergroups": groups}

    def _list_group_users(self, arguments: JsonObject, _: str) -> JsonObject:
        for group, users in self.user_groups.values():
            if group == arguments.get("usergroup"):
                return {"ok": True, "users": list(users)}
        return {"ok": False, "error": "no_such_subteam"}

    # Socket Mode.

    def _open_connection(self, _: JsonObject, token: str) -> JsonObject:
        if not token.startswith("xapp-"):
            return {"ok": False, "error": "not_allowed_token_type"}
        return {"ok": True, "url": f"{self.socket_url}?ticket={uuid4().hex}"}

    def _socket(self, connection: ServerConnection) -> None:
        """One connection of the bot: greet it, then take its acknowledgements."""
        hello = {
            "type": "hello",
            "num_connections": len(self._sockets) + 1,
            "connection_info": {"app_id": "A000DAYBR"},
            "debug_info": {"host": "e2e", "approximate_connection_time": 18_060},
        }
        connection.send(json.dumps(hello))
        with self._changed:
            self._sockets.append(connection)
            self._changed.notify_all()
        while self._retired:
            closing = Thread(target=self._retired.pop().close)
            closing.start()
            self._threads.append(closing)
        try:
            for text in connection:
                message = json.loads(text)
                waiting = self._acks.pop(str(message.get("envelope_id")), None)
                if waiting is not None:
                    waiting.set_result(message.get("payload"))
        except ConnectionClosed:
            pass  # the bot went without saying so
        finally:
            if connection in self._sockets:
                self._sockets.remove(connection)

    @property
    def connected(self) -> int:
        """How many Socket Mode connections are open."""
        return len(self._sockets)

    def deliver(
        self, kind: str, payload: JsonObject, retry: int = 0, reason: str = "timeout"
    ) -> JsonObject | None:
        """Send an envelope to the newest connection: the acknowledgement's payload, if it has one.

        TimeoutError if it is not acknowledged within three seconds.
        """
        connection = self.wait_for(lambda: self._sockets[-1:])[0]
        envelope: JsonObject = {
            "envelope_id": str(uuid4()),
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind != "events_api",
        }
        if kind == "events_api":
            envelope |= {"retry_attempt": retry, "retry_reason": reason if retry else ""}
        waiting = self._acks[envelope["envelope_id"]] = Future()
        connection.send(json.dumps(envelope))
        try:
            return waiting.result(ACK_WITHIN)
        except TimedOut:
            raise TimeoutError(f"{kind} not acknowledged within {ACK_WITHIN} s") from None

    def refresh_connections(self) -> None:
        """Tell the bot to connect anew, as Slack does every few hours.

        The old connections get nothing more, and are closed once there is a new one.
        """
        self._retired, self._sockets = self._sockets, []
        for connection in self._retired:
            connection.send(json.dumps({"type": "disconnect", "reason": "refresh_requested"}))


@dataclass(frozen=True)
class Request:
    """An HTTP request as it came in."""

    verb: str
    path: str
    body: bytes
    headers: dict[str, str]

    def arguments(self) -> JsonObject:
        """The call's arguments from query, form or JSON; those sent as JSON in a form are read."""
        given: JsonObject = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        kind = self.headers.get("content-type", "")
        if kind.startswith("application/json") and self.body:
            sent = json.loads(self.body)
            given |= sent if isinstance(sent, dict) else {}
        elif kind.startswith("application/x-www-form-urlencoded"):
            given |= dict(parse_qsl(self.body.decode(), keep_blank_values=True))
        for name in NESTED:
            if isinstance(given.get(name), str):
                given[name] = json.loads(given[name])
        return {name: value for name, value in given.items() if name not in ENVELOPE}


def refuse(method: str, arguments: JsonObject) -> Refusal | None:
    """Why Slack would not take this call's message, view, blocks or file."""
    try:
        if method in MESSAGES:
            assert_sendable(arguments)
        elif method in VIEWS:
            view = arguments.get("view")
            kind = view.get("type") if isinstance(view, dict) else None
            assert_sendable(view or {}, "home" if kind == "home" else "modal")
        elif method in ("chat.stopStream", "blocks.validate") and "blocks" in arguments:
            assert_sendable({"text": "…", "blocks": arguments["blocks"]})
        elif method == "files.getUploadURLExternal":
            length = str(arguments.get("length", ""))
            file = arguments | {"length": int(length) if length.isdigit() else 0}
            assert_sendable(file, "file")
    except NotSendableError as error:
        return Refusal(method, arguments, error.faults)
    return None


def refusal_answer(refusal: Refusal) -> JsonObject:
    """The refusal in Slack's words."""
    if any(fault.path == "text" for fault in refusal.faults):
        error = "no_text"
    elif refusal.method in VIEWS or refusal.method.startswith("files."):
        error = "invalid_arguments"
    else:
        error = "invalid_blocks"
    messages = [f"[ERROR] {fault.problem} [json-pointer:{fault.path}]" for fault in refusal.faults]
    return {"ok": False, "error": error, "response_metadata": {"messages": messages}}


def handler_for(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    """A request handler that belongs to this proxy."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {
                k.lower(): v for k, v in self.headers.items() if k.lower() not in NOT_FORWARDED
            }
            request = Request(self.command, self.path, body, headers)
            path = urlsplit(self.path).path
            token = headers.get("authorization", "").removeprefix("Bearer ")
            if path.startswith("/api/"):
                method = path.removeprefix("/api/")
                reply = proxy.answer(method, request.arguments(), token, request)
            else:
                method = path.split("/")[1]
                reply = proxy.answer(method, {"path": path, "bytes": len(body)}, token, request)
            self.close_connection = True
            if reply.status == 0:
                return
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_PUT = do_POST  # noqa: N815 - the base class names them so

        def log_message(self, *_: Any) -> None:
            """Calls are recorded, not printed."""

    return Handler


@contextmanager
def proxy() -> Iterator[Proxy]:
    """A proxy that is closed afterwards."""
    running = Proxy()
    try:
        yield running
    finally:
        running.close()
