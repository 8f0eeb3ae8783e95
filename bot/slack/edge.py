"""The strict front of HTTP, before Bolt: what is not surely Slack's goes no further.

A plain ASGI application. A request is turned away with 4xx, never 5xx, unless it is within the
size limit, carries exactly one timestamp and one signature, is younger than five minutes, is
signed with our secret, and can be read. A copy of a request that was taken is answered 200 and
not executed again. (docs.slack.dev, authentication/verifying-requests-from-slack.)
"""

import asyncio
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from slack_bolt import App, BoltRequest, BoltResponse

log = logging.getLogger("daybreak.edge")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = dict[str, list[str]]

PATH = "/slack/events"
MOST_BYTES = 256 * 1024
MOST_AGE_S = 300
#: A client that has not sent its body by then is let go.
BODY_WITHIN_S = 5.0
MOST_DEPTH = 64
MOST_FIELDS = 100
#: Requests that are handled at a time: most of it is waiting for one commit that all share.
DISPATCHERS = 64
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Refusal(Exception):  # noqa: N818 - it is an answer
    """A request that goes no further; `reason` is for the log, not for who sent it."""

    status: int
    reason: str


#: What a browser may open.
Page = Callable[[BoltRequest], BoltResponse]


class Edge:
    """Signed requests to a Bolt app; `/healthz`, `/readyz` and pages for browsers beside them."""

    def __init__(
        self,
        app: App,
        signing_secret: str,
        ready: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        """`ready` says whether questions can be taken; `clock` is in seconds since 1970.

        `pages` answer GET, by their path.
        """
        self.pages = pages or {}
        self.app = app
        self._seen: dict[str, float] = {}
        self.secret = signing_secret.encode()
        self.ready = ready
        self.clock = clock
        self.pool = ThreadPoolExecutor(DISPATCHERS, thread_name_prefix="edge")
        self.stopping = False

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        try:
            status, headers, body = await self.answer(scope, receive)
        except Refusal as refusal:
            log.warning("request_refused", extra={"reason": refusal.reason})
            status, headers, body = refusal.status, {}, b"refused"
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    *((k.encode(), v.encode()) for k, vs in headers.items() for v in vs),
                    (b"content-length", str(len(body)).encode()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})

    async def answer(self, scope: Scope, receive: Receive) -> tuple[int, Headers, bytes]:
        """Status, headers and body. Raises Refusal."""
        match scope["method"], scope["path"]:
            case "GET", "/healthz":
                return 200, {}, b"ok"
            case "GET", "/readyz":
                ready = await self._in_thread(self.ready)
                return (200, {}, b"ready") if ready else (503, {}, b"not ready")
            case "GET", path if path in self.pages:
                return await self.open(self.pages[path], scope)
            case "POST", path if path == PATH:
                return await self.take(scope, receive)
            case _, path if path == PATH:
                raise Refusal(405, "method")
            case _:
                raise Refusal(404, "path")

    async def open(self, page: Page, scope: Scope) -> tuple[int, Headers, bytes]:
        """A page for a browser."""
        query = scope["query_string"].decode("latin-1")
        request = BoltRequest(body="", query=query, headers=dict(headers_of(scope)))
        response = await self._in_thread(page, request)
        return response.status, response.headers, (response.body or "").encode()

    async def take(self, scope: Scope, receive: Receive) -> tuple[int, Headers, bytes]:
        """A request of Slack's: check it, take it once, hand it to Bolt."""
        if self.stopping:
            return 503, {"retry-after": ["10"]}, b"stopping"
        headers = headers_of(scope)
        body = await body_of(receive, headers)
        signature = verified(body, headers, self.secret, self.clock())
        text = readable(body, headers)
        if not self.is_new(signature):
            log.info("request_repeated")
            return 200, {}, b""
        request = BoltRequest(body=text, query=scope["query_string"].decode("latin-1"),
                              headers=dict(headers))  # fmt: skip
        response = await self._in_thread(self.app.dispatch, request)
        kept = {k: v for k, v in response.headers.items() if k.lower() != "content-length"}
        return response.status, kept, (response.body or "").encode()

    def is_new(self, signature: str) -> bool:
        """Whether this process has not taken that request yet; on the event loop's thread only.

        Another process, or this one after a restart, knows a repeat by its trigger or event id,
        in the transaction that takes the question.
        """
        now = self.clock()
        while self._seen and next(iter(self._seen.values())) < now - 2 * MOST_AGE_S:
            del self._seen[next(iter(self._seen))]
        if signature in self._seen:
            return False
        self._seen[signature] = now
        return True

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *arguments)


def headers_of(scope: Scope) -> Headers:
    """Names in lower case, with all their values."""
    found: Headers = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


async def body_of(receive: Receive, headers: Headers) -> bytes:
    """The whole body. Raises Refusal where it is too large, too slow, or breaks off."""
    declared = headers.get("content-length", ["0"])[0]
    if declared.isascii() and declared.isdigit() and int(declared[:12]) > MOST_BYTES:
        raise Refusal(413, "too_large")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Refusal(400, "broken_off")
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > MOST_BYTES:
                    raise Refusal(413, "too_large")
                if not message.get("more_body"):
                    return b"".join(chunks)
    except TimeoutError:
        raise Refusal(408, "too_slow") from None


def verified(body: bytes, headers: Headers, secret: bytes, now: float) -> str:
    """The signature, if it is ours and fresh. Raises Refusal, and nothing else."""
    stamps = headers.get("x-slack-request-timestamp", [])
    signatures = headers.get("x-slack-signature", [])
    if len(stamps) != 1 or len(signatures) != 1:
        raise Refusal(401, "not_one_signature")
    stamp, signature = stamps[0], signatures[0]
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise Refusal(401, "timestamp")
    if abs(now - int(stamp)) > MOST_AGE_S:
        raise Refusal(401, "stale")
    wanted = hmac.new(secret, b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(f"v0={wanted}".encode(), signature.encode("latin-1", "replace")):
        raise Refusal(401, "signature")
    return signature


def readable(body: bytes, headers: Headers) -> str:
    """The body as text that Bolt can read without surprises. Raises Refusal."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(400, "not_utf8") from None
    kinds = headers.get("content-type", [])
    kind = kinds[0].partition(";")[0].strip().lower() if len(kinds) == 1 else ""
    if kind == "application/json":
        check_event(json_object(text))
    elif kind == FORM:
        check_form(text)
    else:
        raise Refusal(415, "content_type")
    return text


def check_event(body: dict[str, Any]) -> None:
    """An event has an id and a type inside. Raises Refusal."""
    event = body.get("event")
    if body.get("type") == "url_verification":
        need(body, "challenge")
    elif isinstance(event, dict):
        need(body, "event_id", "type")
        need(event, "type")
    else:
        raise Refusal(400, "no_event")


def check_form(text: str) -> None:
    """A form is a command, or holds an interaction as JSON. Raises Refusal."""
    try:
        fields = parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Refusal(400, "too_many_fields") from None
    if any(len(values) != 1 for values in fields.values()):
        raise Refusal(400, "repeated_field")
    form = {name: values[0] for name, values in fields.items()}
    if "payload" in form:
        payload = json_object(form["payload"])
        need(payload, "type")
        user = payload.get("user")
        if not isinstance(user, dict):
            raise Refusal(400, "no_user")
        need(user, "id")
    elif "ssl_check" not in form:
        need(form, "command", "user_id", "channel_id", "trigger_id")


def need(fields: dict[str, Any], *names: str) -> None:
    """Texts that must be there. Raises Refusal."""
    for name in names:
        if not isinstance(fields.get(name), str) or not fields[name]:
            raise Refusal(400, f"no_{name}")


def json_object(text: str) -> dict[str, Any]:
    """A JSON object of moderate depth. Raises Refusal."""
    if deepest(text) > MOST_DEPTH:
        raise Refusal(400, "too_deep")
    try:
        value = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal(400, "not_json") from None
    if not isinstance(value, dict):
        raise Refusal(400, "no_object")
    return value


def refuse_constant(name: str) -> Any:
    """NaN and Infinity are no JSON."""
    raise ValueError(name)


def deepest(text: str) -> int:
    """How deep brackets nest; those inside strings count too, which is only stricter for depth."""
    depth = most = 0
    inside = escaped = False
    for character in text:
        if inside:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                inside = False
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            most = max(most, depth)
        elif character in "]}":
            depth -= 1
    return most
