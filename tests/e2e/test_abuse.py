"""Over a real socket: forged and malformed requests, repeats, a stalled client, a crowd at once."""

import hashlib
import hmac
import http.client
import os
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest
import yaml

from analytics.command import Context
from tests.e2e.driver import SIGNING_SECRET, TEAM, Ack, Driver, OverHttp, Workspace
from tests.e2e.running import Service, bot_settings, running
from tests.e2e.test_durable import process, report

pytestmark = pytest.mark.e2e

CROWD = 100
ROUNDS = int(os.environ.get("DAYBREAK_ROUNDS", "1"))
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@pytest.fixture
def bot(
    workspace: Workspace, tmp_path: Path, shop: Context, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Service, Driver, int]]:
    """The bot over HTTP, its driver and its port."""
    store = f"duckdb:///{shop.store.engine.path}"  # type: ignore[attr-defined]
    settings = bot_settings(workspace, tmp_path, "http", store=store)
    with running(workspace, settings, monkeypatch) as (service, driver):
        yield service, driver, settings.slack.port


def signed(body: bytes, at: str, secret: str = SIGNING_SECRET) -> dict[str, bytes]:
    stamp = at.encode()
    digest = hmac.new(secret.encode(), b"v0:" + stamp + b":" + body, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}".encode()}


def send(
    port: int, body: bytes, headers: list[tuple[str, bytes]], kind: str = FORM, timeout: float = 10
) -> int:
    """One raw request: the status, or 599 where the connection was cut."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with closing(connection):
        try:
            connection.putrequest("POST", "/slack/events", skip_accept_encoding=True)
            if not any(n.lower() == "content-length" for n, _ in headers):
                headers = [*headers, ("Content-Length", str(len(body)).encode())]
            for name, value in [("Content-Type", kind.encode()), *headers]:
                connection.putheader(name, value)
            connection.endheaders()
            connection.send(body)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 599


def command(trigger: str, response_url: str = "http://127.0.0.1:9/x") -> bytes:
    fields = {"command": "/ops", "text": "status", "team_id": TEAM, "user_id": "U1",
              "channel_id": "C1", "trigger_id": trigger, "response_url": response_url}  # fmt: skip
    return urlencode(fields).encode()


def forgeries() -> list[tuple[str, bytes, list[tuple[str, bytes]], str]]:
    """36 requests that are not Slack's: name, body, headers, content type."""
    now = int(time.time())
    body = command("forged")
    good = signed(body, str(now))
    found: list[tuple[str, bytes, list[tuple[str, bytes]], str]] = [
        ("no headers", body, [], FORM),
        ("wrong secret", body, list(signed(body, str(now), "other").items()), FORM),
        ("changed after signing", body + b"&text=x", list(good.items()), FORM),
    ]
    found += [
        (f"signed {seconds} s", body, list(signed(body, str(now + seconds)).items()), FORM)
        for seconds in (-301, -3_600, -31_536_000, 301, 86_400)
    ]
    stamps = ["abc", "", " ", "-1", "1e9", "0x10", "9" * 400, "١٢٣٤٥٦٧٨٩٠", "nan", "1.5",
              f"{now} ", f"+{now}", f"{now}x"]  # fmt: skip
    for stamp in stamps:
        headers = [
            ("X-Slack-Request-Timestamp", stamp.encode()),
            ("X-Slack-Signature", b"v0=" + b"0" * 64),
        ]
        found.append((f"timestamp {stamp[:10]!r}", body, headers, FORM))
    signatures = [
        b"",
        b"v0=",
        b"v1=" + b"0" * 64,
        b"v0=" + b"0" * 63,
        "v0=ü".encode() + b"0" * 60,
        b"v0=" + b"A" * 30_000,
        "\u2028".encode(),
    ]
    stamp_now = ("X-Slack-Request-Timestamp", str(now).encode())
    found += [
        (f"signature {value[:6]!r}", body, [stamp_now, ("X-Slack-Signature", value)], FORM)
        for value in signatures
    ]
    two = [stamp_now, ("X-Slack-Signature", b"v0=" + b"0" * 64),
           ("X-Slack-Signature", good["X-Slack-Signature"])]  # fmt: skip
    found += [
        ("two signatures", body, two, FORM),
        ("unsigned ssl_check", b"ssl_check=1&" + body, [], FORM),
        ("unsigned url_verification", b'{"type":"url_verification","challenge":"c"}', [], JSON),
        ("unsigned not utf-8", b"\xff\xfe\x00" * 10, [], FORM),
        ("unsigned 8 MB", b"a=" + b"x" * (8 << 20), [], FORM),
        ("unsigned many fields", "&".join(f"a{i}=1" for i in range(50_000)).encode(), [], FORM),
        ("unsigned deep", b"[" * 100_000, [], JSON),
        ("length not a number", b"", [("Content-Length", b"abc")], FORM),
    ]
    return found


MALFORMED: list[tuple[bytes, str]] = [
    (b"payload=%7Bnot", FORM),
    (b"payload=%7B%7D", FORM),
    (b"{", JSON),
    (b"", FORM),
    (b"command=%ff\xff", FORM),
    (b'{"type":"event_callback"}', JSON),
    (b'{"a":' * 20_000, JSON),
]


def test_forged_and_malformed_requests_have_no_effect(
    workspace: Workspace, bot: tuple[Service, Driver, int]
) -> None:
    service, driver, port = bot
    asked = forgeries()
    slow = 0.0
    for name, body, headers, kind in asked:
        began = time.monotonic()
        status = send(port, body, headers, kind)
        slow = max(slow, time.monotonic() - began)
        # a body that is refused before it is read may see its connection closed
        assert 400 <= status < 500 or (status == 599 and len(body) > 1 << 20), (name, status)
    for body, kind in MALFORMED:
        headers = list(signed(body, str(int(time.time()))).items())
        assert 400 <= send(port, body, headers, kind) < 500, body[:40]
    assert len(asked) + len(MALFORMED) == 43
    assert service.queue.unfinished() == 0
    assert workspace.sink.responses == []
    assert driver.command("status").status == 200
    workspace.sink.wait_for(lambda r: "blocks" in r.body, 30)
    report(f"43 forged or malformed: 0 effects, 0 of 5xx, slowest {slow:.2f} s")


def test_repeats_are_executed_once(workspace: Workspace, bot: tuple[Service, Driver, int]) -> None:
    service, driver, port = bot
    url = workspace.sink.new_url()
    body = command("777.1", url)
    copy = list(signed(body, str(int(time.time()))).items())
    assert [send(port, body, copy) for _ in range(5)] == [200] * 5
    retries = []
    for n in range(3):  # signed anew each time, as a retry is
        body = command("777.2", url) + f"&retry={n}".encode()
        retries.append(send(port, body, list(signed(body, str(int(time.time()))).items())))
    assert retries == [200] * 3
    for retry in range(4):
        assert driver.mention("status", event_id="Ev777", retry=retry).status == 200
    workspace.proxy.wait_for(
        lambda: service.queue.unfinished() + service.senders.outbox.unfinished() == 0, 60
    )
    assert len([r for r in workspace.sink.responses if "blocks" in r.body]) == 2
    assert len(workspace.proxy.calls_of("chat.postMessage")) == 1
    report("one request 5 times, one command 3 times, one event 4 times: each executed once")


def test_a_client_that_stalls_holds_up_nobody(
    workspace: Workspace, bot: tuple[Service, Driver, int]
) -> None:
    _, driver, port = bot
    stalled = []
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", port))
        head = b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab"
        connection.sendall(head)
        stalled.append(connection)
    ack = driver.command("status")
    assert ack.status == 200
    assert ack.seconds < 1
    for connection in stalled:
        connection.close()
    workspace.sink.wait_for(lambda r: "blocks" in r.body, 30)
    report(f"20 clients that stall: acknowledged in {ack.seconds:.2f} s")


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_crowd_is_acknowledged_and_everyone_hears(
    workspace: Workspace, tmp_path: Path, shop: Context, round_: int
) -> None:
    """The bot is a process of its own here: a hundred threads of ours would slow it down."""
    copy = tmp_path / "store.duckdb"
    shutil.copy(shop.store.engine.path, copy)  # type: ignore[attr-defined]
    settings = bot_settings(workspace, tmp_path, "http", store=f"duckdb:///{copy}")
    file, port = tmp_path / "config.yaml", settings.slack.port
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    way_in = OverHttp(f"http://127.0.0.1:{port}/slack/events")
    urls = [workspace.sink.new_url() for _ in range(CROWD)]

    def ask(n: int) -> Ack:
        fields = {"command": "/ops", "text": "status", "team_id": TEAM, "user_id": f"U{n:04}",
                  "channel_id": "C1", "trigger_id": f"c.{n}", "response_url": urls[n]}  # fmt: skip
        return way_in.send("slash_commands", fields)

    with process(file, port, tmp_path / "log"), ThreadPoolExecutor(CROWD) as pool:
        acks = list(pool.map(ask, range(CROWD)))
        assert [ack.status for ack in acks] == [200] * CROWD
        busy = {url for url, ack in zip(urls, acks, strict=True) if "busy" in ack.text}

        def heard() -> bool:
            answered = {r.url for r in workspace.sink.responses if "blocks" in r.body}
            return set(urls) <= answered | busy

        workspace.proxy.wait_for(heard, 120)
    seconds = sorted(ack.seconds for ack in acks)
    p99 = seconds[int(0.99 * CROWD) - 1]
    report(
        f"{CROWD} at once: ack median {seconds[CROWD // 2]:.2f} s, p99 {p99:.2f} s, slowest "
        f"{seconds[-1]:.2f} s; {CROWD - len(busy)} answered, {len(busy)} told to come back"
    )
    assert p99 < 1.0, seconds[-10:]
    assert seconds[-1] < 3.0
