"""The pages: what they show works."""

import re
from pathlib import Path

import pytest
import yaml

from analytics.catalog import Catalog
from bot.config import ConfigError, Settings, load_settings
from bot.render.docs import OWN_ROWS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_rows_shown_for_a_metric_and_a_dimension_of_ones_own_are_taken() -> None:
    rows = yaml.safe_load(OWN_ROWS)
    catalog = Settings.model_validate(rows).catalog()
    assert catalog.metric("searches_per_session").minimum == 30
    assert catalog.dimension("plan").columns == ("people.attributes.plan",)
    assert len(catalog.metrics) == len(Catalog().metrics) + 1


def test_the_shipped_settings_are_the_defaults() -> None:
    assert load_settings(ROOT / "config.yaml", {}).model_dump() == Settings().model_dump()


def test_every_key_of_the_shipped_settings_is_said_in_it() -> None:
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    assert keys_of(Settings().model_dump()) == keys_of(shipped)


def keys_of(settings: dict[str, object], prefix: str = "") -> set[str]:
    """The dotted names of all settings."""
    found = set()
    for name, value in settings.items():
        inner = value if isinstance(value, dict) and value else None
        found |= keys_of(inner, f"{prefix}{name}.") if inner else {f"{prefix}{name}"}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stroe: {}", "`stroe`: no such setting; did you mean `store`?"),
        ("limits: {second: 3}", "`limits.second`: no such setting; did you mean `seconds`?"),
        ("time_zone: Mars/Base", "`time_zone`: not an IANA time zone such as Europe/Berlin."),
        ("currency: euro", "`currency`: String should match pattern"),
        ("limits: {workers: 0}", "`limits.workers`: Input should be greater than or equal to 1."),
        ("- a", "holds no settings."),
        ("a: [", "is not YAML at line"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_settings(path, {})
    assert message in str(refused.value)


def test_urls_come_from_the_environment_first(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("store: {url: 'duckdb:///a.duckdb', threads: 2}", encoding="utf-8")
    settings = load_settings(path, {"DAYBREAK_STORE_URL": "postgresql://u:p@h/d"})
    assert (settings.store.url, settings.store.threads) == ("postgresql://u:p@h/d", 2)
