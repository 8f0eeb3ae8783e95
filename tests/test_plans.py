"""Experiments in config.yaml: what is read, and what is refused with its key."""

import datetime as dt
from pathlib import Path

import pytest

from analytics.catalog import Limit, Plan
from bot.config import ConfigError, load_settings

WHOLE = """
experiments:
  - name: new_page
    start: 2026-11-02
    end: 2026-11-29
    metric: turnover
    mde: 0.03
    control: "off"
    split: {"off": 0.9, "on": 0.1}
    guardrails: [{metric: refunds, margin: 0.05}]
"""


def settings_of(tmp_path: Path, text: str):
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file, {})


def test_a_plan_is_read_with_its_metrics_looked_up(tmp_path: Path) -> None:
    (plan,) = settings_of(tmp_path, WHOLE).catalog().plans
    assert plan == Plan(
        "new_page",
        dt.date(2026, 11, 2),
        dt.date(2026, 11, 29),
        metric="revenue",
        mde=0.03,
        control="off",
        split=(("off", 0.9), ("on", 0.1)),
        guardrails=(Limit("returns", 0.05),),
    )
    assert plan.days == 28


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("end: 2026-11-29", "end: 2026-11-05", "at least 7 days"),
        ('"on": 0.1}', '"on": 0}', "shares above zero"),
        ('control: "off"', "control: blue", "control blue is not in its split"),
        ("mde: 0.03", "mdee: 0.03", "did you mean `mde`"),
        ("margin: 0.05", "margin: 5", "less than 1"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match="experiments") as refused:
        settings_of(tmp_path, WHOLE.replace(old, new))
    assert said in refused.value.message


def test_two_plans_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="planned twice"):
        settings_of(tmp_path, WHOLE + WHOLE.partition("experiments:")[2])


@pytest.mark.parametrize("metric", ["turnovr", "people"])
def test_a_metric_that_cannot_be_measured_is_named(tmp_path: Path, metric: str) -> None:
    settings = settings_of(tmp_path, WHOLE.replace("turnover", metric))
    with pytest.raises(ConfigError, match=r"experiments\[0\]` \(new_page\)"):
        settings.catalog()
