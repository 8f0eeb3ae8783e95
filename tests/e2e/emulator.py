"""Start and stop `emulate`, a stateful emulator of Slack's Web API (npm, Apache-2.0, pinned).

It keeps channels, users, messages, files and views, and knows nothing of Socket Mode, slash
commands or the limits of blocks: `proxy.py` and `driver.py` add those.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic

HERE = Path(__file__).parent
NODE = HERE / "node_modules" / "node" / "bin" / "node"
PROGRAM = HERE / "node_modules" / "emulate" / "dist" / "index.js"
SEED = HERE / "seed.yaml"
STARTS_WITHIN = 30.0


class EmulatorError(RuntimeError):
    """The emulator did not come up; the message holds what it printed."""


def installed() -> bool:
    """Whether `npm ci` has been run in this folder."""
    return NODE.exists() and PROGRAM.exists()


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def emulator(log: Path, advertised: str = "") -> Iterator[str]:
    """A running emulator's address; its output goes to `log`, and it is gone afterwards.

    `advertised` is the address that it writes into upload and download links.
    """
    port = free_port()
    command = [str(NODE), str(PROGRAM), "start", "--service", "slack"]
    command += ["--port", str(port), "--seed", str(SEED)]
    if advertised:
        command += ["--base-url", advertised]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, cwd=log.parent, start_new_session=True
        )
    try:
        wait_for_port(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process)


def wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return once the port answers; EmulatorError if the process ends or time runs out."""
    until, pause = monotonic() + STARTS_WITHIN, Event()
    while monotonic() < until:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            pause.wait(0.05)
        else:
            return
    raise EmulatorError(f"no emulator on port {port}:\n{log.read_text(errors='replace')}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started: kindly, then not."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            continue
        break
    process.wait(5)
