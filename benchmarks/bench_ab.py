"""ab: an experiment of the demo shop."""

from functools import partial
from pathlib import Path

from analytics.result import Result, Table
from benchmarks.plain.ab import Arms, compare
from benchmarks.side_by_side import Case, Row, measure, same
from benchmarks.stores import asking, scripted

EXPERIMENT = "checkout_v2"
#: Our labels -> the script's names.
METRICS = {
    "People who ordered": "ordered",
    "Orders per person": "orders",
    "Revenue per person": "revenue",
    "Returns per person": "returns",
}


def agree(ours: Result, theirs: Arms) -> None:
    """People and orders per arm, means per person and the lift of each metric.

    The intervals differ: ours holds however often one looks, theirs for a single look.
    """
    tables = {p.title.split(",")[0]: p for p in ours.parts if isinstance(p, Table)}
    for row in records(tables["Variants"]):
        arm = str(row["variant"])
        for key, name in (
            ("people", "people"),
            ("with", "ordered"),
            ("value", "rate"),
            ("revenue", "revenue"),
        ):
            same(f"{key} of {arm}", row[key], theirs.table.loc[arm, name])
    for row in records(tables["Metrics"]):
        if row["metric"] in METRICS:
            expected = theirs.metrics.loc[METRICS[str(row["metric"])]]
            same(f"lift of {row['metric']}", row["lift"], expected["lift"])
            if not row["low"] < expected["low"] < expected["high"] < row["high"]:
                raise AssertionError(f"{row['metric']}: {row}, the script's {expected.to_dict()}")


def records(table: Table) -> list[dict[str, float]]:
    """The rows of a table as dicts."""
    return [dict(zip([c.key for c in table.columns], row, strict=True)) for row in table.rows]


def on_demo(demo: Path, twin: Path) -> list[Row]:
    """On the demo."""
    question = f"ab {EXPERIMENT}"
    return [
        measure(
            Case(
                question,
                17_727,
                "people",
                partial(asking, question=question),
                partial(scripted, script=compare, experiment=EXPERIMENT),
                agree,
                limit=1.0,
            ),
            demo,
            twin,
        )
    ]
