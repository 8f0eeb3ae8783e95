"""The strict front: what is not surely Slack's gets 4xx, never 5xx, and has no effect."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slack_bolt import App, BoltRequest, BoltResponse

from bot.slack import edge as edge_module
from bot.slack.edge import FORM, MOST_BYTES, PATH, Edge

SECRET = "edge-secret"
NOW = 1_800_000_000
JSON = "application/json"
COMMAND = urlencode(
    {"command": "/ops", "text": "kpis", "user_id": "U1", "channel_id": "C1", "trigger_id": "1.1"}
).encode()
EVENT = json.dumps({"type": "event_callback", "event_id": "E1", "event": {"type": "x"}}).encode()


class Echo(App):
    """Says what it was given."""

    def __init__(self) -> None:
        self.requests: list[BoltRequest] = []

    def dispatch(self, req: BoltRequest) -> BoltResponse:
        self.requests.append(req)
        return BoltResponse(status=200, body="taken")


@pytest.fixture
def app() -> Echo:
    return Echo()


@pytest.fixture
def front(app: Echo) -> Iterator[Edge]:
    made = Edge(app, SECRET, clock=lambda: NOW)
    yield made
    made.close()


def signed(body: bytes, at: str = str(NOW), secret: str = SECRET) -> list[tuple[str, bytes]]:
    stamp = at.encode("utf-8", "surrogatepass")
    digest = hmac.new(secret.encode(), b"v0:" + stamp + b":" + body, hashlib.sha256).hexdigest()
    return [
        ("x-slack-request-timestamp", stamp),
        ("x-slack-signature", f"v0={digest}".encode()),
    ]


def request(
    front: Edge,
    body: bytes,
    headers: list[tuple[str, bytes]],
    kind: str = FORM,
    *,
    method: str = "POST",
    path: str = PATH,
    receive: Any = None,
    query: bytes = b"",
) -> tuple[int, bytes]:
    """One request by ASGI: the status and the body."""
    sent: list[dict[str, Any]] = []
    pieces = [body[i : i + 65_536] for i in range(0, len(body), 65_536)] or [b""]

    async def give() -> dict[str, Any]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def keep(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(n.encode(), v) for n, v in [("content-type", kind.encode()), *headers]],
    }
    asyncio.run(front(scope, receive or give, keep))
    return sent[0]["status"], sent[1]["body"]


def test_a_signed_request_is_taken(front: Edge, app: Echo) -> None:
    assert request(front, COMMAND, signed(COMMAND)) == (200, b"taken")
    assert request(front, EVENT, signed(EVENT), JSON) == (200, b"taken")
    assert [r.raw_body for r in app.requests] == [COMMAND.decode(), EVENT.decode()]


def test_a_copy_is_answered_and_not_taken(front: Edge, app: Echo) -> None:
    headers = signed(COMMAND)
    answers = [request(front, COMMAND, headers) for _ in range(5)]
    assert answers == [(200, b"taken")] + [(200, b"")] * 4
    assert len(app.requests) == 1


def test_copies_are_forgotten_when_they_are_stale_anyway(front: Edge) -> None:
    assert front.is_new("a")
    front.clock = lambda: NOW + 601
    assert front.is_new("b")
    assert front.is_new("a")
    assert not front.is_new("a")


STAMPS = ["abc", "", " ", "-1", "1e9", "0x10", "9" * 400, "١٢٣٤٥٦٧٨٩٠", "nan", "1.5", f"{NOW} ",
          f"+{NOW}", f"{NOW}\x0b", str(NOW - 301), str(NOW + 301), str(NOW - 86_400)]  # fmt: skip


@pytest.mark.parametrize("at", STAMPS)
def test_a_bad_timestamp_is_refused_even_if_signed(front: Edge, app: Echo, at: str) -> None:
    assert request(front, COMMAND, signed(COMMAND, at))[0] == 401
    assert app.requests == []


@pytest.mark.parametrize(
    "signature",
    [b"", b"v0=", b"v1=" + b"0" * 64, b"v0=" + b"0" * 63, "v0=ü".encode() + b"0" * 60,
     b"v0=" + b"A" * 100_000, "\u2028".encode()],
)  # fmt: skip
def test_a_bad_signature_is_refused(front: Edge, app: Echo, signature: bytes) -> None:
    stamp, _ = signed(COMMAND)
    assert request(front, COMMAND, [stamp, ("x-slack-signature", signature)])[0] == 401
    assert app.requests == []


def test_exactly_one_of_each_header(front: Edge, app: Echo) -> None:
    stamp, signature = signed(COMMAND)
    for headers in (
        [],
        [stamp],
        [signature],
        [stamp, stamp, signature],
        [stamp, signature, signature],
    ):
        assert request(front, COMMAND, headers)[0] == 401
    assert request(front, COMMAND + b"&text=x", [stamp, signature])[0] == 401
    assert request(front, COMMAND, signed(COMMAND, secret="other"))[0] == 401
    assert app.requests == []


MALFORMED = [
    (b"payload=%7Bnot", FORM),
    (b"payload=%7B%7D", FORM),
    (b"payload=%5B%5D", FORM),
    (b"payload=" + b"%7B%22type%22%3A%22block_actions%22%7D", FORM),
    (b"{", JSON),
    (b"[]", JSON),
    (b"null", JSON),
    (b'{"type":"event_callback"}', JSON),
    (b'{"type":"event_callback","event":{}}', JSON),
    (b'{"a":NaN}', JSON),
    (b'{"a":' * 20_000, JSON),
    (b"[" * 100_000, JSON),
    (b'{"a":' + b"9" * 10_000 + b"}", JSON),
    (b"", FORM),
    (b"command=%ff\xff", FORM),
    (b"command=/ops&text=x", FORM),
    (COMMAND + b"&text=again", FORM),
    ("&".join(f"a{i}=1" for i in range(20_000)).encode(), FORM),
    (COMMAND, "text/plain"),
    (COMMAND, ""),
    (b"\xff\xfe\x00" * 10, FORM),
]


@pytest.mark.parametrize(("body", "kind"), MALFORMED)
def test_a_signed_body_that_cannot_be_read_is_4xx(
    front: Edge, app: Echo, body: bytes, kind: str
) -> None:
    assert 400 <= request(front, body, signed(body), kind)[0] < 500
    assert app.requests == []


def test_a_large_body_is_not_read(front: Edge) -> None:
    body = b"a=" + b"x" * MOST_BYTES
    assert request(front, body, signed(body))[0] == 413
    assert request(front, b"", [("content-length", str(10**9).encode())])[0] == 413


def test_a_client_that_stalls_is_let_go(front: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_module, "BODY_WITHIN_S", 0.01)

    async def never() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    assert request(front, b"", [], receive=never)[0] == 408
    assert request(front, b"", [], receive=gone)[0] == 400


def test_health_needs_no_signature(front: Edge) -> None:
    assert request(front, b"", [], method="GET", path="/healthz") == (200, b"ok")
    assert request(front, b"", [], method="GET", path="/readyz") == (200, b"ready")
    front.ready = lambda: False
    assert request(front, b"", [], method="GET", path="/readyz")[0] == 503
    assert request(front, b"", [], method="GET")[0] == 405
    assert request(front, b"", [], path="/other")[0] == 404


def test_a_page_is_opened_by_get_alone(front: Edge) -> None:
    seen: list[dict[str, Any]] = []

    def page(asked: BoltRequest) -> BoltResponse:
        seen.append(dict(asked.query))
        return BoltResponse(status=302, body="", headers={"Location": "https://slack.example"})

    front.pages = {"/slack/install": page}
    for query in (b"team=T1&state=a%20b", b"", b"\xff&&=&" + b"a=1&" * 50):
        assert request(front, b"", [], method="GET", path="/slack/install", query=query)[0] == 302
    assert seen[0] == {"team": ["T1"], "state": ["a b"]}
    assert request(front, b"", [], path="/slack/install")[0] == 404


def test_who_stops_asks_to_come_back(front: Edge, app: Echo) -> None:
    front.stopping = True
    assert request(front, COMMAND, signed(COMMAND))[0] == 503
    assert app.requests == []


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200), st.binary(max_size=80), st.sampled_from([FORM, JSON, "x"]))
def test_any_bytes_are_refused_without_a_crash(
    front: Edge, app: Echo, body: bytes, junk: bytes, kind: str
) -> None:
    headers = [("x-slack-request-timestamp", junk), ("x-slack-signature", junk)]
    assert request(front, body, headers, kind)[0] == 401
    assert 400 <= request(front, body, signed(body), kind)[0] < 500
    assert app.requests == []
