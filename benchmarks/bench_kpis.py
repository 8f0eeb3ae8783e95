"""kpis: the demo shop, and 4 and 16 of it in one store."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from analytics.result import Chart, Figure, Result
from benchmarks.plain.kpis import Figures, key_figures
from benchmarks.side_by_side import Case, Row, measure, same
from benchmarks.stores import TODAY, asking, scripted, several, twin_of

QUESTION = "kpis last 30 days"
ORDER_LINES = 539_391


def agree(ours: Result, theirs: tuple[Figures, pd.Series]) -> None:
    """Every figure of the script, now and before, and each day's revenue."""
    figures, by_day = theirs
    found = {p.label: p for p in ours.parts if isinstance(p, Figure)}
    for label, (now, before) in figures.items():
        same(label, found[label].value, now)
        same(f"{label} before", found[label].before, before)
    chart = next(p for p in ours.parts if isinstance(p, Chart))
    for day, value in zip(chart.x, chart.series[0].values, strict=True):
        same(f"revenue of {day}", value, by_day.get(pd.Timestamp(day), 0))


def case(size: int) -> Case:
    """The question over a store of so many order lines."""
    return Case(
        QUESTION,
        size,
        "order lines",
        partial(asking, question=QUESTION),
        partial(scripted, script=key_figures, end=TODAY),
        agree,
        limit=1.0 if size == ORDER_LINES else None,
    )


def on_demo(demo: Path, twin: Path) -> list[Row]:
    """On the demo."""
    return [measure(case(ORDER_LINES), demo, twin)]


def growing(demo: Path, twin: Path, *, full: bool) -> Iterator[Row]:
    """1, 4 and 16 demos."""
    for times in (1, 4, 16):
        file = demo if times == 1 else several(demo, times)
        copy = twin if times == 1 else twin_of(file)
        yield measure(case(times * ORDER_LINES), file, copy, repeats=3)
        if times > 1:
            file.unlink()
            copy.unlink()
