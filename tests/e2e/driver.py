"""What people and Slack do to a bot: commands, mentions, clicks, forms, retries.

A `Driver` builds the payloads of Slack's documentation and hands them to a way in: signed HTTP
requests (`OverHttp`) or Socket Mode envelopes (`OverSocket`). What the bot sends to a
response_url is kept by a `ResponseSink`, which allows five uses as Slack does.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any, Literal, Protocol
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from uuid import uuid4

from slack_sdk import WebClient
from slack_sdk.signature import SignatureVerifier

from bot.slack.sendable import NotSendableError, assert_sendable
from tests.e2e.proxy import Proxy

JsonObject = dict[str, Any]
Kind = Literal["slash_commands", "events_api", "interactive"]
TEAM = "T000000001"
APP = "A000DAYBR"
BOT_USER = "U00000DAY"
BOT_TOKEN = "xoxb-e2e"
APP_TOKEN = "xapp-1-A000DAYBR-e2e"
SIGNING_SECRET = "e2e-signing-secret"
RESPONSE_URL_USES = 5


@dataclass(frozen=True)
class Ack:
    """How the bot acknowledged: HTTP status (504 for none in time), what it said, seconds."""

    status: int
    body: Any
    seconds: float

    @property
    def text(self) -> str:
        """The words in the acknowledgement, if it had any."""
        return self.body.get("text", "") if isinstance(self.body, dict) else str(self.body or "")


class WayIn(Protocol):
    """How Slack reaches the bot."""

    def send(self, kind: Kind, payload: JsonObject, retry: int = 0) -> Ack:
        """Hand over one payload and wait for the acknowledgement."""
        ...


class OverHttp:
    """Signed requests to the bot's request URL.

    `forged` spoils the signature; `age` is how many seconds ago the request was signed.
    """

    def __init__(self, url: str, secret: str = SIGNING_SECRET) -> None:
        """`url` takes commands, events and interactions alike."""
        self.url = url
        self.verifier = SignatureVerifier(secret)
        self.forged = False
        self.age = 0

    def send(self, kind: Kind, payload: JsonObject, retry: int = 0) -> Ack:
        """Events as JSON, commands as a form, interactions as JSON in a form."""
        match kind:
            case "events_api":
                return self.post(json.dumps(payload), "application/json", retry)
            case "slash_commands":
                return self.post(urlencode(payload), "application/x-www-form-urlencoded")
            case "interactive":
                form = urlencode({"payload": json.dumps(payload)})
                return self.post(form, "application/x-www-form-urlencoded")

    def post(self, body: str, content_type: str, retry: int = 0) -> Ack:
        """Sign and send a raw body."""
        at = str(int(time.time()) - self.age)
        signature = self.verifier.generate_signature(timestamp=at, body=body) or ""
        headers = {
            "Content-Type": content_type,
            "X-Slack-Request-Timestamp": at,
            "X-Slack-Signature": "v0=" + "0" * 64 if self.forged else signature,
        }
        if retry:
            headers |= {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"}
        began = time.monotonic()
        try:
            with urlopen(Request(self.url, body.encode(), headers), timeout=10) as response:
                status, text = response.status, response.read().decode()
        except HTTPError as error:
            with error:
                status, text = error.code, error.read().decode()
        return Ack(status, read(text), time.monotonic() - began)


class OverSocket:
    """Envelopes over the bot's newest Socket Mode connection."""

    def __init__(self, proxy: Proxy) -> None:
        """The proxy holds the connections."""
        self.proxy = proxy

    def send(self, kind: Kind, payload: JsonObject, retry: int = 0) -> Ack:
        """Wait three seconds at most, as Slack does."""
        began = time.monotonic()
        try:
            body, status = self.proxy.deliver(kind, payload, retry), 200
        except TimeoutError:
            body, status = None, 504
        return Ack(status, body, time.monotonic() - began)


def read(text: str) -> Any:
    """A body as JSON where it is JSON, else as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class Response:
    """What the bot sent to a response_url; refused ones are kept with their `error`."""

    url: str
    body: JsonObject
    error: str = ""


class ResponseSink:
    """Gives out response URLs and keeps what is posted there: five uses each, then `used_url`."""

    def __init__(self) -> None:
        """Listens at once on a loopback port of its own."""
        self.responses: list[Response] = []
        self.expired: set[str] = set()
        self._changed = Condition()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), sink_handler(self))
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    def new_url(self) -> str:
        """A fresh response URL."""
        return f"http://127.0.0.1:{self._http.server_port}/commands/{uuid4().hex}"

    def take(self, url: str, body: JsonObject) -> Response:
        """Keep one post, refusing a used or expired URL and what Slack would refuse."""
        error = ""
        used = sum(r.url == url and not r.error for r in self.responses)
        try:
            assert_sendable(body)
        except NotSendableError:
            error = "invalid_blocks"
        if url in self.expired:
            error = "expired_url"
        elif used >= RESPONSE_URL_USES:
            error = "used_url"
        response = Response(url, body, error)
        with self._changed:
            self.responses.append(response)
            self._changed.notify_all()
        return response

    def wait_for(
        self, true: Callable[[Response], bool] = lambda _: True, seconds: float = 10.0
    ) -> Response:
        """The first accepted response that is so; AssertionError if none comes."""

        def found() -> list[Response]:
            return [r for r in self.responses if not r.error and true(r)]

        with self._changed:
            if not self._changed.wait_for(found, seconds):
                raise AssertionError(f"no such response in {seconds} s: {self.responses}")
        return found()[0]


def sink_handler(sink: ResponseSink) -> type[BaseHTTPRequestHandler]:
    """A request handler that belongs to this sink."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            response = sink.take(f"http://{self.headers['Host']}{self.path}", body)
            self.send_response(404 if response.error else 200)
            self.end_headers()
            self.wfile.write((response.error or "ok").encode())

        def log_message(self, *_: Any) -> None:
            """Responses are kept, not printed."""

    return Handler


@contextmanager
def response_sink() -> Iterator[ResponseSink]:
    """A sink that is closed afterwards."""
    sink = ResponseSink()
    try:
        yield sink
    finally:
        sink.close()


class Driver:
    """One person in one channel, acting on a bot."""

    def __init__(
        self, way_in: WayIn, slack: WebClient, sink: ResponseSink, *, user: str, channel: str
    ) -> None:
        """`slack` speaks to the emulator, for trigger ids and for reading back."""
        self.way_in = way_in
        self.slack = slack
        self.sink = sink
        self.user = user
        self.channel = channel

    def command(self, text: str, name: str = "/ops", **changes: Any) -> Ack:
        """Type a slash command."""
        payload = {
            "token": "legacy",
            "team_id": TEAM,
            "team_domain": "acme",
            "channel_id": self.channel,
            "channel_name": "ops",
            "user_id": self.user,
            "user_name": "maria",
            "command": name,
            "text": text,
            "api_app_id": APP,
            "is_enterprise_install": "false",
            "response_url": self.sink.new_url(),
            "trigger_id": self.trigger(),
        }
        return self.way_in.send("slash_commands", payload | changes)

    def event(
        self, event: JsonObject, *, event_id: str = "", retry: int = 0, **changes: Any
    ) -> Ack:
        """Deliver an event; the same `event_id` with `retry` is a retry of it."""
        payload = {
            "token": "legacy",
            "team_id": TEAM,
            "api_app_id": APP,
            "type": "event_callback",
            "event": event,
            "event_id": event_id or f"Ev{uuid4().hex[:9].upper()}",
            "event_time": int(time.time()),
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": TEAM,
                    "user_id": BOT_USER,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": False,
            "event_context": f"1-{uuid4().hex}",
        }
        return self.way_in.send("events_api", payload | changes, retry)

    def mention(self, text: str, *, ts: str = "", **more: Any) -> Ack:
        """Mention the bot in the channel; `more` are `event_id` and `retry`."""
        stamp = ts or f"{time.time():.6f}"
        event = {
            "type": "app_mention",
            "user": self.user,
            "text": f"<@{BOT_USER}> {text}",
            "ts": stamp,
            "channel": self.channel,
            "event_ts": stamp,
            "team": TEAM,
        }
        return self.event(event, **more)

    def direct_message(
        self, text: str, channel: str, *, ts: str = "", thread_ts: str = "", **more: Any
    ) -> Ack:
        """Write to the bot alone, in the direct-message channel of that id."""
        stamp = ts or f"{time.time():.6f}"
        event = {
            "type": "message",
            "channel_type": "im",
            "user": self.user,
            "text": text,
            "ts": stamp,
            "channel": channel,
            "event_ts": stamp,
            "team": TEAM,
        }
        if thread_ts:
            event["thread_ts"] = thread_ts
        return self.event(event, **more)

    def open_home(self, tab: Literal["home", "messages"] = "home", channel: str = "D0") -> Ack:
        """Open the bot's home, or its messages tab: the direct-message channel of that id."""
        stamp = f"{time.time():.6f}"
        event = {"type": "app_home_opened", "user": self.user, "channel": channel, "tab": tab}
        return self.event(event | {"event_ts": stamp})

    def click(self, message: JsonObject, action: JsonObject, **changes: Any) -> Ack:
        """Use an interactive element of a message: `action` has action_id, type and its value."""
        payload = {
            "type": "block_actions",
            **self._interaction(),
            "trigger_id": self.trigger(),
            "response_url": self.sink.new_url(),
            "container": {
                "type": "message",
                "message_ts": message["ts"],
                "channel_id": self.channel,
                "is_ephemeral": False,
            },
            "channel": {"id": self.channel, "name": "ops"},
            "message": message,
            "actions": [{"block_id": "b", "action_ts": f"{time.time():.6f}", **action}],
        }
        return self.way_in.send("interactive", payload | changes)

    def shortcut(self, callback_id: str, message: JsonObject | None = None) -> Ack:
        """Use a shortcut, on a message of the channel or anywhere."""
        payload: JsonObject = {"type": "shortcut"}
        if message is not None:
            payload = {
                "type": "message_action",
                "message_ts": message["ts"],
                "message": message,
                "channel": {"id": self.channel, "name": "ops"},
                "response_url": self.sink.new_url(),
            }
        more = {"callback_id": callback_id, "trigger_id": self.trigger()}
        return self.way_in.send("interactive", payload | self._interaction() | more)

    def pick(self, view: JsonObject, action_id: str, value: str) -> Ack:
        """Choose in a select of an open modal that acts at once."""
        chosen = {"selected_option": {"value": value}}
        action = {"action_id": action_id, "block_id": "b", "type": "static_select", **chosen}
        payload = {
            "type": "block_actions",
            **self._interaction(),
            "trigger_id": self.trigger(),
            "container": {"type": "view", "view_id": view["id"]},
            "view": view,
            "actions": [action],
        }
        return self.way_in.send("interactive", payload)

    def submit(self, view: JsonObject, values: JsonObject) -> Ack:
        """Send in a modal with these state values: {block_id: {action_id: {type, value}}}."""
        state = {"state": {"values": values}, "hash": "1.x", "team_id": TEAM, "app_id": APP}
        seen = {"id": "V1", "private_metadata": "", **view, **state}
        payload = {"type": "view_submission", **self._interaction(), "view": seen}
        return self.way_in.send("interactive", payload)

    def trigger(self) -> str:
        """A trigger id that the emulator will take, once and for three seconds."""
        answer = self.slack.api_call("views.generateTriggerId", json={"user_id": self.user})
        return str(answer["trigger_id"])

    def _interaction(self) -> JsonObject:
        return {
            "team": {"id": TEAM, "domain": "acme"},
            "user": {"id": self.user, "username": "maria", "name": "maria", "team_id": TEAM},
            "api_app_id": APP,
            "token": "legacy",
            "is_enterprise_install": False,
            "enterprise": None,
        }


def button(message: JsonObject, action_id: str) -> JsonObject:
    """A button as Slack hands it back."""
    for block in message["blocks"]:
        for element in block.get("elements", []):
            if element.get("action_id") == action_id:
                return {"action_id": action_id, "type": "button", "value": element["value"]}
    raise AssertionError(f"no button {action_id}: {json.dumps(message['blocks'])[:2000]}")


@dataclass(frozen=True)
class Workspace:
    """An emulated workspace with the proxy before it: what a test of the bot needs.

    `slack` reads and acts straight at the emulator, past the proxy, so that it leaves no record.
    """

    proxy: Proxy
    sink: ResponseSink
    slack: WebClient
    channel: str
    user: str

    def bot_client(self, token: str = BOT_TOKEN) -> WebClient:
        """A client as the bot under test would have: every call passes the proxy, no retries."""
        return WebClient(token, base_url=self.proxy.url, retry_handlers=[])

    def over_http(self, url: str) -> Driver:
        """The person acts on a bot that listens at `url`."""
        return self._driver(OverHttp(url))

    def over_socket(self) -> Driver:
        """The person acts on a bot that is connected by Socket Mode."""
        return self._driver(OverSocket(self.proxy))

    def _driver(self, way_in: WayIn) -> Driver:
        return Driver(way_in, self.slack, self.sink, user=self.user, channel=self.channel)

    def history(self, channel: str = "") -> list[JsonObject]:
        """The messages of a channel, newest first."""
        answer = self.slack.conversations_history(channel=channel or self.channel, limit=100)
        return list(answer["messages"])

    def replies(self, ts: str, channel: str = "") -> list[JsonObject]:
        """The replies in the thread under the message `ts`, oldest first."""
        answer = self.slack.conversations_replies(channel=channel or self.channel, ts=ts)
        return [m for m in answer["messages"] if m["ts"] != ts]

    def wait_for_message(self, part: str, seconds: float = 10.0) -> JsonObject:
        """The newest message of the channel whose text holds `part`."""

        def found() -> list[JsonObject]:
            return [m for m in self.history() if part in (m.get("text") or "")]

        return dict(self.proxy.wait_for(found, seconds)[0])

    def file_bytes(self, message: JsonObject) -> bytes:
        """The bytes of the first file of a message, downloaded."""
        answer = self.slack.files_info(file=message["files"][0]["id"])
        address = answer["file"]["url_private"]
        request = Request(address, headers={"Authorization": f"Bearer {BOT_TOKEN}"})
        with urlopen(request, timeout=10) as response:
            return bytes(response.read())
