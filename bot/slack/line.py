"""The line of questions: bounded, fair to each person, worked off by a few threads."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

log = logging.getLogger("daybreak.slack")

Work = TypeVar("Work")


@dataclass(frozen=True)
class Place:
    """Where a question stands: 0 is being worked on at once, n has n-1 before it."""

    number: int


@dataclass(frozen=True)
class Full:
    """No place: the line is full, or this person has enough in it."""

    by_person: bool


class Line(Generic[Work]):
    """Work in the order in which it came, `workers` at a time."""

    def __init__(
        self, work: Callable[[Work], None], *, workers: int, waiting: int, per_person: int
    ) -> None:
        """`work` must not raise; what it raises is logged as a bug."""
        self._work = work
        self._waiting: deque[tuple[str, Work]] = deque()
        self._most_waiting = waiting
        self._per_person = per_person
        self._people: Counter[str] = Counter()
        self._running = 0
        self._workers = workers
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._loop, name=f"analyst-{i}", daemon=True)
            for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, person: str, work: Work) -> Place | Full:
        """Take a place, or be told that there is none."""
        with self._changed:
            if self._people[person] >= self._per_person:
                return Full(by_person=True)
            if self._closed or len(self._waiting) >= self._most_waiting:
                return Full(by_person=False)
            self._people[person] += 1
            self._waiting.append((person, work))
            free = self._workers - self._running
            self._changed.notify_all()
            return Place(max(0, len(self._waiting) - free))

    def close(self, seconds: float) -> int:
        """Take no more, finish what there is within `seconds`; how many were left undone."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting and not self._running, seconds)
            undone = len(self._waiting) + self._running
            self._waiting.clear()
            self._changed.notify_all()
        if not undone:
            for thread in self._threads:
                thread.join()
        return undone

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                person, work = self._waiting.popleft()
                self._running += 1
            try:
                self._work(work)
            except Exception:
                log.exception("worker_failed")
            finally:
                with self._changed:
                    self._running -= 1
                    self._people[person] -= 1
                    if not self._people[person]:
                        del self._people[person]
                    self._changed.notify_all()
