"""Two ways to one answer, measured in turns: A B A B, in one process, on the same data.

The first answer of each is not measured: it loads code and fills caches. CPU seconds count all
threads of the process. Peak memory is what a fresh process takes to answer once, beyond the memory
that its code fills.
"""

import gc
import math
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

Ask = Callable[[], Any]
Side = Callable[[Path], AbstractContextManager[Ask]]


@dataclass(frozen=True)
class Case:
    """A question in both forms, and what `agree(ours, theirs)` holds them to.

    A side opens a file and gives a function that answers; it survives pickling. `size` counts
    `unit`s. `limit` is how many wall seconds an answer may take on an idle machine.
    """

    name: str
    size: int
    unit: str
    ours: Side
    theirs: Side
    agree: Callable[[Any, Any], None]
    limit: float | None = None


@dataclass(frozen=True)
class Cost:
    """Medians over the repeats, in seconds; the peak in megabytes, None where it is untold."""

    wall: float
    cpu: float
    peak: float | None


@dataclass(frozen=True)
class Row:
    """A case as measured."""

    case: Case
    ours: Cost
    theirs: Cost

    @property
    def ratio(self) -> float:
        """Our CPU seconds over the script's: below 1 we are faster."""
        return self.ours.cpu / self.theirs.cpu

    @property
    def wall_ratio(self) -> float:
        """The same in wall seconds."""
        return self.ours.wall / self.theirs.wall


def measure(case: Case, file: Path, twin: Path, repeats: int = 5) -> Row:
    """Check that both sides agree, then time them in turns; `twin` is a copy of `file`."""
    with case.ours(file) as ours, case.theirs(twin) as theirs:
        case.agree(ours(), theirs())
        turns = [(timed(ours), timed(theirs)) for _ in range(repeats)]
    peaks = [peak_of(case.ours, file), peak_of(case.theirs, twin)]
    costs = [
        Cost(*(statistics.median(t[side][clock] for t in turns) for clock in (0, 1)), peaks[side])
        for side in (0, 1)
    ]
    return Row(case, costs[0], costs[1])


def timed(ask: Ask) -> tuple[float, float]:
    """Wall and CPU seconds of one answer."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    ask()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_of(side: Side, file: Path) -> float | None:
    """The megabytes that a new process takes to answer once, beyond its code; None if untold."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(partial(answer_once, side, file)).result()


def answer_once(side: Side, file: Path) -> float | None:
    """Answer in this process, and say by how much that raised its memory at most."""
    before = memory("VmRSS")
    with side(file) as ask:
        ask()
    highest = memory("VmHWM")
    return None if before is None or highest is None else highest - before


def memory(what: str) -> float | None:
    """This process's memory in megabytes, as Linux tells it; None elsewhere."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    found = re.search(rf"^{what}:\s*(\d+) kB", status.read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else None


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """How cost grows with size: the least-squares slope of logarithms (1 is in proportion)."""
    if len(sizes) < 2:
        return None
    x, y = [math.log(s) for s in sizes], [math.log(c) for c in costs]
    return statistics.linear_regression(x, y).slope


def same(what: str, ours: float | None, theirs: float | None, tolerance: float = 1e-9) -> None:
    """Hold two numbers to each other; AssertionError names them."""
    if ours is None or theirs is None:
        if ours is not theirs:
            raise AssertionError(f"{what}: ours {ours}, the script's {theirs}")
    elif not math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=1e-12):
        raise AssertionError(f"{what}: ours {ours}, the script's {theirs}")
