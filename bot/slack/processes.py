"""The processes of a running bot: born of a clean parent, watched, and never left behind.

`Supervisor` starts the roles and starts again what ends by itself. It has one thread and no
connections, so that its children may be forks: born in milliseconds, with everything imported.
A `Nursery` is the same for the process in which an analyst computes. The kernel ends a process
when its parent ends (Linux; elsewhere it ends when it hears nothing any more).
"""

import contextlib
import ctypes
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

log = logging.getLogger("daybreak.processes")

#: A process that could not do its work ends so where another start would not help.
EXIT_REFUSED = 2
#: The pause before a process that ended by itself is started again, growing while it goes on.
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
#: After so long alive its ends are counted anew.
STEADY_S = 60.0
STOP_LOOK_S = 0.02
STOPPING = (signal.SIGTERM, signal.SIGINT)
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
PAGE = os.sysconf("SC_PAGE_SIZE")


def born(live: Callable[[], int], name: str = "") -> int:
    """A child that lives `live()`, ends with its status, and with its parent at the latest.

    `ps` shows its `name`. Call it where there is one thread and no open database. The child's id.
    """
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*STOPPING, signal.SIGCHLD})
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child
    status = 1
    try:
        end_with(parent)
        be_called(name)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent tells
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        status = live()
    except BaseException:
        log.exception("process_failed")
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def end_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends; at once where it has."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def be_called(name: str) -> None:
    """Show a name of this process where processes are listed by their own names."""
    if name and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, f"daybreak-{name}".encode()[:15], 0, 0, 0)


class Bell:
    """Wakes another process: made before both are born, and good for those born later."""

    def __init__(self) -> None:
        """A pipe, of which no end ever waits."""
        self._hears, self._rings = os.pipe()
        os.set_blocking(self._hears, False)
        os.set_blocking(self._rings, False)

    def ring(self) -> None:
        """There is work; one that nobody has heard yet is enough."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._rings, b"!")

    def heard(self, seconds: float) -> bool:
        """Whether it rang, within so long."""
        if not select.select([self._hears], [], [], seconds)[0]:
            return False
        with contextlib.suppress(BlockingIOError):
            os.read(self._hears, 4096)
        return True

    def answer(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever it rings, for ever: for a thread of its own."""
        while True:
            if self.heard(60.0):
                wake()

    def close(self) -> None:
        """Give back the pipe."""
        os.close(self._hears)
        os.close(self._rings)


class Nursery:
    """A child without threads, of which workers are born whenever one is asked for."""

    def __init__(self, work: Callable[[Connection], int]) -> None:
        """Call it while this process has one thread and no open database."""
        self._asking, asked = socket.socketpair()
        with asked:

            def live() -> int:
                self._asking.close()
                return self._serve(asked, work)

            self.pid = born(live, "nursery")

    @staticmethod
    def _serve(asked: socket.socket, work: Callable[[Connection], int]) -> int:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who ends needs no burial
        while True:
            _, ends, _, _ = socket.recv_fds(asked, 1, 1)
            if not ends:
                return 0

            def live(end: int = ends[0]) -> int:
                asked.close()
                return work(Connection(end))

            child = born(live, "worker")
            os.close(ends[0])
            asked.sendall(f"{child:10}".encode())

    def worker(self) -> tuple[int, Connection]:
        """The id of a new worker, and our end of the line to it. OSError: there is no nursery."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._asking, [b"!"], [theirs.fileno()])
        told = self._asking.recv(10, socket.MSG_WAITALL)
        if not told:
            ours.close()
            raise ConnectionError("the nursery is gone")
        return int(told), Connection(ours.detach())

    def close(self) -> None:
        """End it, and its workers."""
        self._asking.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def memory_of(pid: int) -> int:
    """Bytes of a process's own in memory; 0 where that can't be told."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    words = next((line.split() for line in status.splitlines() if line[:8] == "RssAnon:"), None)
    return int(words[1]) * 1024 if words else 0


def machine_memory() -> int:
    """Bytes that this machine, or the container that it is, may use."""
    limits = [PAGE * os.sysconf("SC_PHYS_PAGES")]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # no such limit, or `max`
            limits.append(int(Path(file).read_text()))
    return min(limits)


@dataclass
class Role:
    """What a supervised process does; it rings `up` once it does it.

    It is killed `stop_within` seconds after it was told to end.
    """

    name: str
    live: Callable[[], int]
    up: Bell
    stop_within: float
    pid: int = 0
    since: float = 0.0
    pause: float = FIRST_PAUSE_S
    due: float = 0.0
    was_up: bool = False


class Supervisor:
    """Starts the roles, starts again what ends by itself, and stops them, the last first.

    The first role is told by SIGUSR1 to take no more, before the others are told to end.
    """

    def __init__(self, roles: Sequence[Role]) -> None:
        """A role that refuses before it was ever up ends the whole."""
        self.roles = roles
        self._status = 0
        self._asked = False

    def run(self) -> int:
        """Until SIGTERM or SIGINT, or until a role refuses to start; the exit status."""
        hears, rings = socket.socketpair()
        hears.setblocking(False)
        rings.setblocking(False)
        signal.set_wakeup_fd(rings.fileno(), warn_on_full_buffer=False)
        for sign in STOPPING:
            signal.signal(sign, self._asked_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            while not self._asked:
                self._start_due()
                select.select([hears], [], [], self._patience())
                with contextlib.suppress(BlockingIOError):
                    hears.recv(4096)
                self._bury()
        finally:
            self._stop()
            signal.set_wakeup_fd(-1)
            hears.close()
            rings.close()
        return self._status

    def _asked_to_stop(self, *_: object) -> None:
        self._asked = True

    def _start_due(self) -> None:
        now = time.monotonic()
        for role in self.roles:
            if not role.pid and role.due <= now:
                role.since = now
                role.pid = born(role.live, role.name)
                log.info("process_started", extra={"child": role.name, "child_id": role.pid})

    def _patience(self) -> float | None:
        due = [r.due for r in self.roles if not r.pid]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _bury(self) -> None:
        """Take note of what has ended."""
        now = time.monotonic()
        for role in self.roles:
            status = ended(role.pid) if role.pid else None
            if status is None:
                continue
            lived, role.pid = now - role.since, 0
            role.was_up = role.up.heard(0) or role.was_up
            if status == EXIT_REFUSED and not role.was_up:
                self._status, self._asked = EXIT_REFUSED, True
                continue
            role.pause = FIRST_PAUSE_S if lived >= STEADY_S else role.pause
            role.due = now + role.pause
            role.pause = min(LONGEST_PAUSE_S, 2 * role.pause)
            log.error("process_ended", extra={"child": role.name, "status": status})

    def _stop(self) -> None:
        living = [role for role in self.roles if role.pid]
        for role in living[:1] if len(living) > 1 else ():
            send(role.pid, signal.SIGUSR1)
        for role in reversed(living):
            send(role.pid, signal.SIGTERM)
            until = time.monotonic() + role.stop_within
            while (status := ended(role.pid)) is None and time.monotonic() < until:
                time.sleep(STOP_LOOK_S)
            if status is None:
                log.error("process_killed", extra={"child": role.name})
                send(role.pid, signal.SIGKILL)
                ended(role.pid, wait=True)


def ended(pid: int, *, wait: bool = False) -> int | None:
    """The status of a child that has ended (a signal's number below zero), None while it lives."""
    try:
        child, status = os.waitpid(pid, 0 if wait else os.WNOHANG)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status) if child else None


def send(pid: int, sign: signal.Signals) -> None:
    """A signal, if there is still somebody to take it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sign)
