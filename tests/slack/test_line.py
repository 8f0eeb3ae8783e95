"""The line is bounded, fair, and finishes what it took."""

import threading

from bot.slack.line import Full, Line, Place


def test_places_are_numbered_and_the_line_is_bounded() -> None:
    gate, started, done = threading.Event(), threading.Semaphore(0), []

    def work(item: int) -> None:
        started.release()
        gate.wait(10)
        done.append(item)

    line = Line(work, workers=1, waiting=2, per_person=2)
    assert line.put("a", 1) == Place(0)
    assert started.acquire(timeout=10)
    assert line.put("a", 2) == Place(1)
    assert line.put("a", 3) == Full(by_person=True)
    assert line.put("b", 4) == Place(2)
    assert line.put("c", 5) == Full(by_person=False)
    gate.set()
    assert line.close(10) == 0
    assert done == [1, 2, 4]
    assert line.put("c", 6) == Full(by_person=False)


def test_a_worker_outlives_a_bug() -> None:
    done = threading.Event()

    def work(item: int) -> None:
        if item == 1:
            raise RuntimeError("a bug")
        done.set()

    line = Line(work, workers=1, waiting=5, per_person=5)
    line.put("a", 1)
    line.put("a", 2)
    assert done.wait(10)
    assert line.close(10) == 0


def test_what_does_not_end_in_time_is_counted() -> None:
    gate = threading.Event()
    line: Line[int] = Line(lambda _: bool(gate.wait(10)) and None, workers=1, waiting=5,
                           per_person=5)  # fmt: skip
    line.put("a", 1)
    line.put("a", 2)
    assert line.close(0.05) == 2
    gate.set()
