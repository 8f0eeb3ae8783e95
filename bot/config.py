"""config.yaml and the environment -> Settings: frozen, every key known, errors with the key.

Secrets never stand in the file: they come from the environment, or from a file named by
`<VARIABLE>_FILE` that only its owner may read.
"""

import dataclasses
import datetime as dt
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from analytics.catalog import Catalog, Limit, Plan
from analytics.errors import UserError, nearest
from analytics.methods.experiment.regimes import FIRST_DAY
from analytics.outcomes import outcome_of


class ConfigError(UserError):
    """config.yaml or the environment is wrong; the message names the key."""

    code = "bad_config"


class Section(BaseModel):
    """Unknown keys are refused: a typing error must not be a setting silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSettings(Section):
    """Where the analytic data are."""

    url: str = Field(
        "duckdb:///.daybreak/store.duckdb",
        description="`duckdb:///file`, `postgresql://user@host/database` or `sqlite:///file`. "
        "DAYBREAK_STORE_URL goes before it (a password belongs there).",
    )
    memory_limit: str = Field(
        "", description="DuckDB's memory, such as `4GB`; empty: 80 % of the machine's."
    )
    threads: int = Field(0, ge=0, description="DuckDB's threads; 0: all cores.")


class StateSettings(Section):
    """The bot's own memory: who asked what, and what was already answered."""

    url: str = Field(
        "sqlite:///.daybreak/state.sqlite",
        description="`sqlite:///file`, or `postgresql://…` where several bots share it. "
        "DAYBREAK_STATE_URL goes before it.",
    )
    keep_questions_days: int = Field(
        30, ge=1, description="How long the text of questions is kept in the audit."
    )


class LimitSettings(Section):
    """What one question may cost."""

    seconds: float = Field(
        60, gt=0, description="After so many seconds a question's reads are stopped."
    )
    per_person: int = Field(
        3, ge=1, description="Questions of one person that may wait or run at a time."
    )
    workers: int = Field(2, ge=1, description="Questions that run at a time.")
    waiting: int = Field(
        50, ge=1, description="Questions that may wait; more are told to come back."
    )
    rows_shown: int = Field(
        20, ge=1, le=100, description="Rows of a table that are shown; the CSV has all of them."
    )


class SlackSettings(Section):
    """How the bot talks to Slack.

    Its secrets are SLACK_BOT_TOKEN, SLACK_APP_TOKEN (socket) and SLACK_SIGNING_SECRET (http).
    """

    mode: Literal["socket", "http"] = Field(
        "socket", description="`socket` needs no open port; `http` listens on host and port."
    )
    host: str = Field("127.0.0.1", description="Where `http` listens.")
    port: int = Field(3000, ge=1, le=65535, description="Where `http` listens.")
    command: str = Field("/ops", pattern=r"^/[a-z0-9_-]{1,31}$", description="The slash command.")
    native_tables: bool = Field(
        True, description="Slack's own table blocks; false: tables as text and CSV."
    )
    native_charts: bool = Field(
        True, description="Slack's own chart blocks where they fit; false: always a PNG."
    )
    api_url: str = Field(
        "https://slack.com/api/", description="Only changed to test against a stand-in for Slack."
    )


class GuardrailSettings(Section):
    """A metric that an experiment must not harm."""

    metric: str = Field(description="A metric, such as `revenue`.")
    margin: float = Field(
        gt=0,
        lt=1,
        description="The loss that may be tolerated: 0.02 is 2 % of the control's value.",
    )


class ExperimentSettings(Section):
    """An experiment, registered before it begins: what was fixed can't be chosen by its result."""

    name: str = Field(min_length=1, description="As the exposures call it.")
    start: dt.date = Field(description="The first day, such as `2026-11-02`.")
    end: dt.date = Field(description="The last day: at least 7 days, better whole weeks.")
    metric: str = Field(
        "", description="What it is judged by; empty: the share of people who order."
    )
    mde: float | None = Field(
        None, gt=0, le=10, description="The smallest lift that matters: 0.03 is 3 %."
    )
    control: str = Field("", description="The variant to compare with; empty: found by its name.")
    split: dict[str, float] = Field(
        default_factory=dict, description="Each variant's planned share; empty: equal shares."
    )
    guardrails: tuple[GuardrailSettings, ...] = Field(
        (), description="What must not get worse, and by how much at most."
    )
    adjusted: bool = Field(
        False, description="Allow for what people did in the 28 days before (CUPED)."
    )

    @field_validator("split")
    @classmethod
    def shares(cls, split: dict[str, float]) -> dict[str, float]:
        """Refuse shares of nothing, and one variant alone."""
        if split and (len(split) < 2 or any(share <= 0 for share in split.values())):
            raise ValueError("needs two or more variants with shares above zero")
        return split

    @model_validator(mode="after")
    def a_week(self) -> "ExperimentSettings":
        """Refuse plans that miss a weekday, and a control outside of the split."""
        if (self.end - self.start).days + 1 < FIRST_DAY:
            raise ValueError(f"an experiment needs at least {FIRST_DAY} days")
        if self.control and self.split and self.control not in self.split:
            raise ValueError(f"its control {self.control} is not in its split")
        return self

    def plan(self, catalog: Catalog) -> Plan:
        """The plan, its metrics looked up. Raises UserError for one that is unknown."""
        metric = catalog.find_metric(self.metric) if self.metric else None
        if metric:
            outcome_of(metric)
        return Plan(
            name=self.name,
            start=self.start,
            end=self.end,
            metric=metric.name if metric else "",
            mde=self.mde,
            control=self.control,
            split=tuple(self.split.items()),
            guardrails=tuple(
                Limit(outcome_of(catalog.find_metric(g.metric)).name, g.margin)
                for g in self.guardrails
            ),
            adjusted=self.adjusted,
        )


class Settings(Section):
    """All settings."""

    store: StoreSettings = StoreSettings()
    state: StateSettings = StateSettings()
    time_zone: str = Field(
        "UTC", description="IANA zone in which days begin, such as `Europe/Berlin`."
    )
    currency: str = Field(
        "EUR", pattern=r"^[A-Z]{3}$", description="ISO 4217 code of the store's money."
    )
    clock: Literal["now", "after data"] = Field(
        "now",
        description="`after data` lets the clock stand on the morning after the last row: "
        "for old data, such as the demo's.",
    )
    limits: LimitSettings = LimitSettings()
    slack: SlackSettings = SlackSettings()
    metrics: tuple[dict[str, Any], ...] = Field(
        (), description="Metrics of your own, with the fields of docs/configuration.md."
    )
    dimensions: tuple[dict[str, Any], ...] = Field(
        (), description="Dimensions of your own, with the fields of docs/configuration.md."
    )
    experiments: tuple[ExperimentSettings, ...] = Field(
        (), description="Experiments as planned, see docs/experiments.md."
    )
    loads: dict[str, Any] = Field(
        default_factory=dict, description="How files become rows: one recipe per name."
    )

    @field_validator("time_zone")
    @classmethod
    def known_zone(cls, name: str) -> str:
        """Refuse a zone that the zone database lacks."""
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("not an IANA time zone such as Europe/Berlin") from error
        return name

    @field_validator("experiments")
    @classmethod
    def each_once(
        cls, experiments: tuple[ExperimentSettings, ...]
    ) -> tuple[ExperimentSettings, ...]:
        """Refuse two plans for one experiment."""
        names = [e.name for e in experiments]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice:
            raise ValueError(f"{twice} is planned twice")
        return experiments

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which days begin."""
        return ZoneInfo(self.time_zone)

    def catalog(self) -> Catalog:
        """Our catalogue with the rows of the file. Raises UserError naming a bad field."""
        catalog = Catalog().extended(metrics=self.metrics, dimensions=self.dimensions)
        plans = []
        for i, experiment in enumerate(self.experiments):
            try:
                plans.append(experiment.plan(catalog))
            except UserError as error:
                where = f"`experiments[{i}]` ({experiment.name})"
                raise ConfigError(f"{where}: {error.message}", hint=error.hint) from error
        return dataclasses.replace(catalog, plans=tuple(plans))


def load_settings(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the file (none: all defaults) and the environment. Raises ConfigError."""
    raw: Any = {}
    if path is not None:
        try:
            raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise ConfigError(
                f"The settings file {path} can't be read.", hint="Name another with --config."
            ) from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" at line {mark.line + 1}" if mark else ""
            raise ConfigError(f"{path} is not YAML{where}.") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds no settings.", hint="It must be `key: value` lines.")
    for section in ("store", "state"):
        url = environment.get(f"DAYBREAK_{section.upper()}_URL")
        if url:
            raw[section] = {**(raw.get(section) or {}), "url": url}
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(_faults(error, str(path)))) from error


def _faults(error: ValidationError, path: str) -> list[str]:
    """One line for each wrong key."""
    lines = []
    for fault in error.errors(include_url=False):
        key = ".".join(str(part) for part in fault["loc"])
        text = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            near = nearest(str(fault["loc"][-1]), _keys_of(fault["loc"][:-1]))
            text = "no such setting" + (f"; did you mean `{near[0]}`?" if near else "")
        lines.append(f"{path}: `{key}`: {text}.")
    return lines


def _keys_of(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        annotation = next((a for a in get_args(annotation) if isinstance(a, type)), annotation)
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def secret(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """A secret from the variable, or from the owner's file that `<name>_FILE` names."""
    if environment.get(name):
        return environment[name]
    path = environment.get(f"{name}_FILE")
    if not path:
        return None
    try:
        mode = stat.S_IMODE(Path(path).stat().st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"The file of {name} can be read by others.", hint="Run `chmod 600` on it."
            )
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f"The file of {name} can't be read.", hint=f"Check {name}_FILE."
        ) from error
