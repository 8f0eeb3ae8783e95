"""The demo shop for tests: built once per state of storage/, then copied."""

import datetime as dt
import hashlib
import shutil
import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo

from analytics.command import Context
from analytics.period import morning_after
from bot.config import Settings
from bot.demo import PLANS
from storage.demo.install import install_demo
from storage.demo.real import CURRENCY, ZONE
from storage.store import Store

STORAGE = Path(__file__).resolve().parents[1] / "storage"


def storage_digest() -> str:
    """Of all sources and data that the demo store is made from."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(STORAGE.rglob("*")):
        if path.suffix in (".py", ".csv", ".yaml", ".parquet"):
            digest.update(str(path.relative_to(STORAGE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def shop_file(folder: Path, cache: Path) -> Path:
    """A DuckDB file in `folder` that holds the demo; `cache` keeps one for the next session."""
    kept = cache / f"shop-{storage_digest()}.duckdb"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            made = Path(scratch) / "shop.duckdb"
            store = Store.open(f"duckdb:///{made}")
            install_demo(store, now=dt.datetime(2026, 1, 1))
            store.close()
            for old in cache.glob("shop-*.duckdb"):
                old.unlink(missing_ok=True)
            made.replace(kept)  # at once: other sessions see all of it or nothing
    copy = folder / "shop.duckdb"
    shutil.copyfile(kept, copy)
    return copy


def shop_context(store: Store) -> Context:
    """The demo's own clock, zone, currency and plans of experiments."""
    through, zone = store.data_through(), ZoneInfo(ZONE)
    assert through
    return Context(
        store=store,
        now=morning_after(through, zone),
        zone=zone,
        currency=CURRENCY,
        catalog=Settings(experiments=PLANS).catalog(),
    )
