"""`/healthz`, `/readyz` and `/metrics`, on a port of their own beside either transport."""

import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from bot.setup import Bot
from bot.slack.metrics import Figures
from bot.slack.ticking import TICK_S
from storage import processes
from storage.state import StateError

log = logging.getLogger("daybreak.slack")

#: A client that says nothing for so long is let go.
SAY_WITHIN_S = 5.0
#: The state database answers by then, or counts as away.
ANSWER_WITHIN_S = 2.0
#: The clock looks every `TICK_S`; a look may take its time.
TICKED_WITHIN_S = 15 * TICK_S


@dataclass(frozen=True)
class Readiness:
    """Whether questions are taken and answered."""

    bot: Bot
    is_connected: Callable[[], bool]
    since_tick: Callable[[], float]
    is_stopping: Callable[[], bool]
    #: One thread: what hangs is not waited for twice.
    _asking: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="ready")
    )

    def faults(self) -> dict[str, str]:
        """What is not well, with why; nothing where all is."""
        found = {}
        if self.is_stopping():
            found["stopping"] = "it takes no more questions"
        if not self.is_connected():
            found["slack"] = "the connection is down"
        if self.since_tick() > TICKED_WITHIN_S:
            found["clock"] = f"it last looked {self.since_tick():.0f} s ago"
        asked = self._asking.submit(processes.living, self.bot.state, "analyst")
        try:
            if not asked.result(ANSWER_WITHIN_S):
                found["analyst"] = f"none was heard of for {processes.GONE_AFTER_S:.0f} s"
        except TimeoutError:
            asked.cancel()
            found["state"] = f"the database did not answer within {ANSWER_WITHIN_S:.0f} s"
        except StateError as error:
            found["state"] = error.message
        return found

    def close(self) -> None:
        """Ask no more."""
        self._asking.shutdown(wait=False, cancel_futures=True)


class Listener:
    """Answers whoever looks after the bot, from `start` on."""

    def __init__(self, bot: Bot, ready: Readiness, host: str, port: int) -> None:
        """`port` 0: any that is free."""
        self.ready = ready
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(Figures(bot))
        self.address = (host, port)
        self._server: ThreadingHTTPServer | None = None
        self._thread = threading.Thread(target=self._serve, name="listener", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1]) if self._server else self.address[1]

    def start(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        self._server = ThreadingHTTPServer(self.address, self._handler())
        self._server.daemon_threads = True
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self.ready.close()

    def _serve(self) -> None:
        if self._server is not None:
            self._server.serve_forever(poll_interval=0.1)

    def answer(self, path: str, accept: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        match path.partition("?")[0]:
            case "/healthz":
                return 200, "text/plain", b"ok\n"
            case "/readyz":
                faults = self.ready.faults()
                body = json.dumps({"ready": not faults, "reasons": faults}) + "\n"
                return 503 if faults else 200, "application/json", body.encode()
            case "/metrics":
                encode, kind = choose_encoder(accept)
                return 200, kind, encode(self.registry)
            case _:
                return 404, "text/plain", b"not here\n"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            timeout = SAY_WITHIN_S
            server_version, sys_version = "Daybreak", ""

            def do_GET(self) -> None:
                """One look."""
                try:
                    status, kind, body = answer(self.path, self.headers.get("Accept", ""))
                except Exception:
                    log.exception("look_failed")
                    status, kind, body = 500, "text/plain", b"failed\n"
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing: it is asked every few seconds."""

        return Handler
