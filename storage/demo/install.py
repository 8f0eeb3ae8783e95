"""Put the demo into a store: the real rows by the loader and its recipe, the made-up ones beside.

Doing it again changes nothing.
"""

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import sqlalchemy as sa
import yaml

from storage.demo.items import items
from storage.demo.real import FILE, SOURCE, lines
from storage.demo.simulate import simulate
from storage.demo.sources import SOURCES, DemoSource
from storage.load.load import LoadReport, load_files, load_tables, utc_now
from storage.load.mapping import Mapping, Recipe, parse_mapping
from storage.load.merge import alone, arrow_schema
from storage.schema import loads, sources
from storage.store import Store

FOLDER = Path(__file__).parent
RECIPE = FOLDER / "recipe.yaml"

Progress = Callable[[int, int | None, str], None]


@dataclass(frozen=True)
class DemoReport:
    """What was put in: the real lines, and rows of each source and table. Empty: all was there."""

    real: LoadReport | None
    rows: dict[tuple[str, str], int]

    @property
    def nothing_changed(self) -> bool:
        """The demo was complete."""
        return self.real is None


def demo_recipe() -> Mapping | Recipe:
    """The mapping of the shipped file."""
    return parse_mapping(yaml.safe_load(RECIPE.read_text(encoding="utf-8")))


def install_demo(
    store: Store, progress: Progress | None = None, *, now: dt.datetime | None = None
) -> DemoReport:
    """Load the shipped orders and the simulation around them.

    `progress(done, total or None, phase)` as in `load_files`, and the phase "simulating". `now` is
    the naive UTC instant to record.
    """
    tell = progress or _quiet
    at = now or utc_now()
    mark = demo_mark()
    if store.fork().rows(sa.select(loads.c.load_id).where(loads.c.load_id == mark)):
        return DemoReport(None, {})
    about = {(s.source, s.entity): s for s in SOURCES}
    orders = about[SOURCE, "orders"]
    real = load_files(
        store,
        "orders",
        [FILE],
        demo_recipe(),
        source=SOURCE,
        description=orders.description,
        attribution=orders.attribution or "",
        progress=tell,
        now=at,
    )
    tell(0, None, "simulating")
    taken = lines()
    made: dict[DemoSource, pa.Table] = {about[SOURCE, "items"]: items(taken)}
    for entity, rows in simulate(taken).items():
        (source,) = rows.column("source").unique().to_pylist()
        made[about[source, entity]] = rows
    for one, rows in made.items():
        load_tables(
            store,
            {one.entity: rows},
            source=one.source,
            description=one.description,
            attribution=one.attribution or "",
            simulated=one.simulated,
            now=at,
            progress=tell,
        )
    _describe(store)
    _record(store, mark, at, sum(rows.num_rows for rows in made.values()))
    counted = {(s.name, s.entity): s.rows for s in store.sources()}
    return DemoReport(real, {key: counted[key] for key in about})


def demo_mark() -> str:
    """A digest of all that the demo is made from: its data, rules and code."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in (".py", ".csv", ".yaml", ".parquet"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _describe(store: Store) -> None:
    """Each table's own words: the loader gave the recipe's tables one description."""
    with store.engine.writing() as writer:
        for s in SOURCES:
            here = sa.and_(sources.c.source == s.source, sources.c.entity == s.entity)
            writer.run(sa.update(sources).values(description=s.description).where(here))


def _record(store: Store, mark: str, now: dt.datetime, rows: int) -> None:
    """The mark of a complete demo."""
    row = {
        "load_id": mark,
        "entity": "items, people, events, exposures, ratings",
        "source": "demo",
        "file": "simulate.py",
        "loaded_at": now,
        "rows_read": rows,
        "rows_taken": rows,
        "rows_unchanged": 0,
        "rows_rejected": 0,
    }
    with store.engine.writing() as writer:
        alone(writer)
        writer.run(sa.delete(loads).where(loads.c.load_id == mark))
        writer.append("loads", pa.Table.from_pylist([row], schema=arrow_schema(loads)))


def _quiet(_done: int, _total: int | None, _phase: str) -> None:
    """Nobody listens."""
