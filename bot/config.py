"""config.yaml and the environment -> Settings: frozen, every key known, errors with the key.

Secrets never stand in the file: they come from the environment, or from a file named by
`<VARIABLE>_FILE` that only its owner may read.
"""

import dataclasses
import datetime as dt
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from analytics.catalog import Catalog, DigestPlan, Limit, Plan, folded
from analytics.errors import UserError, nearest
from analytics.plans import fault_of, with_names
from bot.when import read_when
from storage.overlay import Overlay, OverlayError, parse_overlay


class ConfigError(UserError):
    """config.yaml or the environment is wrong; the message names the key."""

    code = "bad_config"


def checked_zone(name: str) -> str:
    """The name of a zone. Raises ValueError where the zone database lacks it."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("not an IANA time zone such as Europe/Berlin") from error
    return name


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
        "",
        description="Memory of DuckDB and of PostgreSQL's sorts, such as `4GB`; empty: 80 % of the "
        "machine's for DuckDB.",
    )
    threads: int = Field(0, ge=0, description="DuckDB's threads; 0: all cores.")
    totals: bool = Field(
        True,
        description="Totals per person and day, per day, and per item and day, follow each load, "
        "and answer what they cover (DuckDB, PostgreSQL, SQLite).",
    )
    tables: dict[str, dict[str, Any]] = Field(
        {},
        description="Our entities over tables of your own, which are only read: see "
        "docs/engines.md. Empty: the tables are mine, and `load` fills them.",
    )


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
    catch_up_hours: float = Field(
        4,
        ge=0,
        le=24,
        description="A scheduled run that is late by no more is still posted, and says so; a later "
        "one is reported as missed.",
    )
    retry_minutes: float = Field(
        15, gt=0, description="A scheduled run that waits for its data is tried again so often."
    )
    give_up_seconds: float = Field(
        300,
        gt=0,
        description="After so many seconds a question is given up, whatever it does: the process "
        "that computes is ended, and another begins.",
    )
    memory: str = Field(
        "",
        pattern=r"^(\d+(\.\d+)?\s?[KMGT]B)?$",
        description="What the process that computes may take, such as `4GB`; empty: three quarters "
        "of the machine's, or of the container's.",
    )
    rows_shown: int = Field(
        20, ge=1, le=100, description="Rows of a table that are shown; the CSV has all of them."
    )

    @property
    def memory_bytes(self) -> int:
        """`memory` as a number; 0: not set."""
        number = self.memory.rstrip("KMGTB ")
        return int(float(number) * 1024 ** (" KMGT".index(self.memory[-2]))) if number else 0


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
    workspaces: tuple[Annotated[str, Field(pattern=r"^T[A-Z0-9]+$")], ...] = Field(
        (),
        description="The ids of the workspaces that may install the app by OAuth, see "
        "docs/access.md; empty: the one workspace of SLACK_BOT_TOKEN.",
    )
    public_url: str = Field(
        "",
        description="Where browsers reach `http`, such as `https://ops.example.com`; only for "
        "several workspaces.",
    )
    api_url: str = Field(
        "https://slack.com/api/", description="Only changed to test against a stand-in for Slack."
    )

    @model_validator(mode="after")
    def installable(self) -> "SlackSettings":
        """Refuse several workspaces that no browser can come back to."""
        if self.workspaces and (self.mode != "http" or not self.public_url.startswith("http")):
            raise ValueError("several workspaces need mode: http and public_url: https://…")
        return self


class OperateSettings(Section):
    """How whoever runs the bot looks at it, see docs/operating.md."""

    host: str = Field("127.0.0.1", description="Where /healthz, /readyz and /metrics are told.")
    port: int = Field(
        0, ge=0, le=65535, description="Their port, such as 9464; 0: they are not told."
    )
    logs: Literal["text", "json"] = Field(
        "text", description="Log lines of `serve`: for people, or a JSON object each."
    )


class AccessSettings(Section):
    """Who may ask what, see docs/access.md.

    Every full member of the workspace may ask for figures about many. Single people, and what
    changes the bot's memory, take a grant.
    """

    admins: tuple[Annotated[str, Field(pattern=r"^([TE][A-Z0-9]+/)?[UW][A-Z0-9]+$")], ...] = Field(
        (),
        description="The first admins, by their member id in Slack (`U012ABC`; `T012ABC/U012ABC` "
        "where the app is installed in several workspaces): they `grant` rights to others. "
        "DAYBREAK_ADMINS, with commas between, goes before it.",
    )
    everyone: tuple[str, ...] = Field(
        (),
        description="What every full member may do besides: commands that change something, such "
        "as `[schedule, alert]`, or `people`, `writes`, `all`.",
    )


class ScheduleSettings(Section):
    """A question that is asked by the clock."""

    name: str = Field(min_length=1, description="Names it; no two have one name.")
    question: str = Field(description="What to ask, such as `kpis last 7 days`.")
    every: str = Field(description="When, such as `weekday 09:00` or `month on the 1st 08:00`.")
    zone: str = Field("", description="IANA zone of the time; empty: `time_zone`.")
    to: str = Field(description="The channel, such as `#growth` or `C0123ABCD`.")
    owner: str = Field(
        "terminal",
        description="Whose rights it runs with: a Slack user id; `terminal` may do everything.",
    )
    team: str = Field("", description="The workspace's id, where there are several.")

    @field_validator("every")
    @classmethod
    def readable(cls, every: str) -> str:
        """Refuse what is no wall-clock time."""
        try:
            read_when(every.split())
        except UserError as error:
            raise ValueError(str(error)) from error
        return every

    @field_validator("zone")
    @classmethod
    def known_zone(cls, name: str) -> str:
        """Refuse a zone that the zone database lacks."""
        return checked_zone(name) if name else name


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
    strata: str = Field(
        "",
        description="Compare people of one day (`day`: then the shares may change between days) or "
        "of one value of a dimension, such as `device`; empty: all together.",
    )

    @model_validator(mode="after")
    def possible(self) -> "ExperimentSettings":
        """Refuse plans that can't be."""
        fault = fault_of(self.as_said())
        if fault:
            raise ValueError(fault)
        return self

    def as_said(self) -> Plan:
        """The plan, its names as they were written."""
        return Plan(
            name=self.name,
            start=self.start,
            end=self.end,
            metric=self.metric,
            mde=self.mde,
            control=self.control,
            split=tuple(self.split.items()),
            guardrails=tuple(Limit(g.metric, g.margin) for g in self.guardrails),
            adjusted=self.adjusted,
            strata=self.strata,
        )

    def plan(self, catalog: Catalog) -> Plan:
        """The plan, its names looked up. Raises UserError for one that is unknown."""
        return with_names(self.as_said(), catalog)


class DigestSettings(Section):
    """A digest of a team's own: `digest growth` tells its metrics in their order."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{1,39}$", description="What it is asked by.")
    metrics: tuple[str, ...] = Field(
        min_length=1, max_length=20, description="Metrics, such as `revenue`; your own too."
    )
    language: Literal["en", "de", "fr"] = Field(
        "en", description="Signs in its numbers: `en` 1,234.5, `de` 1.234,5, `fr` 1 234,5."
    )

    def plan(self, catalog: Catalog) -> DigestPlan:
        """The digest, its metrics looked up. Raises UserError for one that is unknown."""
        if any(folded(self.name) == folded(w) for m in catalog.metrics
               for w in (m.name, m.label, *m.aliases)):  # fmt: skip
            raise ConfigError(f"“{self.name}” is the name of a metric.", hint="Take another.")
        names = tuple(catalog.find_metric(m).name for m in self.metrics)
        return DigestPlan(self.name, tuple(dict.fromkeys(names)), self.language)


class Settings(Section):
    """All settings."""

    #: Where they were read from.
    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """The settings file; None: defaults."""
        return self._file

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
    operate: OperateSettings = OperateSettings()
    access: AccessSettings = AccessSettings()
    metrics: tuple[dict[str, Any], ...] = Field(
        (), description="Metrics of your own, with the fields of docs/configuration.md."
    )
    dimensions: tuple[dict[str, Any], ...] = Field(
        (), description="Dimensions of your own, with the fields of docs/configuration.md."
    )
    experiments: tuple[ExperimentSettings, ...] = Field(
        (), description="Experiments as planned, see docs/experiments.md."
    )
    experiments_file: str = Field(
        "", description="More of them: a YAML list in a file, its path from this one's folder."
    )
    digests: tuple[DigestSettings, ...] = Field(
        (), description="Digests of your own, see docs/digests.md."
    )
    schedules: tuple[ScheduleSettings, ...] = Field(
        (), description="Questions asked by the clock, see docs/digests.md."
    )
    loads: dict[str, Any] = Field(
        default_factory=dict, description="How files become rows: one recipe per name."
    )

    @field_validator("time_zone")
    @classmethod
    def known_zone(cls, name: str) -> str:
        """Refuse a zone that the zone database lacks."""
        return checked_zone(name)

    @field_validator("digests")
    @classmethod
    def one_of_a_name(cls, digests: tuple[DigestSettings, ...]) -> tuple[DigestSettings, ...]:
        """Refuse two digests of one name."""
        names = [d.name for d in digests]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice:
            raise ValueError(f"{twice} is there twice")
        return digests

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

    @field_validator("schedules")
    @classmethod
    def named_once(cls, schedules: tuple[ScheduleSettings, ...]) -> tuple[ScheduleSettings, ...]:
        """Refuse two schedules of one name."""
        names = [s.name for s in schedules]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice:
            raise ValueError(f"two are called {twice}")
        return schedules

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which days begin."""
        return ZoneInfo(self.time_zone)

    def overlays(self) -> dict[str, Overlay]:
        """Our entities over other people's tables. Raises OverlayError."""
        return {name: parse_overlay(name, told) for name, told in self.store.tables.items()}

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
        digests = []
        for i, digest in enumerate(self.digests):
            try:
                digests.append(digest.plan(catalog))
            except UserError as error:
                where = f"`digests[{i}]` ({digest.name})"
                raise ConfigError(f"{where}: {error.message}", hint=error.hint) from error
        return dataclasses.replace(catalog, plans=tuple(plans), digests=tuple(digests))


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
    if path is not None and raw.get("experiments_file"):
        more = _experiments_of(path.parent / str(raw["experiments_file"]))
        raw["experiments"] = [*(raw.get("experiments") or []), *more]
    for section in ("store", "state"):
        url = environment.get(f"DAYBREAK_{section.upper()}_URL")
        if url:
            raw[section] = {**(raw.get(section) or {}), "url": url}
    admins = environment.get("DAYBREAK_ADMINS")
    if admins:
        named = [name.strip() for name in admins.split(",") if name.strip()]
        raw["access"] = {**(raw.get("access") or {}), "admins": named}
    try:
        settings = Settings.model_validate(raw)
        settings._file = path
        settings.overlays()
    except ValidationError as error:
        raise ConfigError("\n".join(_faults(error, str(path)))) from error
    except OverlayError as error:
        raise overlay_fault(error, path) from error
    return settings


def overlay_fault(error: OverlayError, path: Path | None) -> ConfigError:
    """What is wrong with one of `store.tables`, with its line."""
    keys = ("store", "tables", *error.where)
    line = line_of(path, keys) if path is not None else 0
    where = f"{path or 'config.yaml'}{f', line {line}' if line else ''}"
    return ConfigError(
        f"{where}: `{'.'.join(keys)}`: {str(error).rstrip('.')}.",
        hint="docs/engines.md shows how to lay our entities over your tables.",
    )


def line_of(path: Path, keys: Sequence[str]) -> int:
    """The line of a key in a YAML file, or of the deepest key before it that is there; 0: none."""
    node = yaml.compose(path.read_text(encoding="utf-8"))
    line = 0
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            break
        found = [(k, v) for k, v in node.value if k.value == key]
        if not found:
            break
        line, node = found[0][0].start_mark.line + 1, found[0][1]
    return line


def _experiments_of(path: Path) -> list[Any]:
    """The experiments of a file of their own."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except OSError as error:
        raise ConfigError(
            f"The experiments' file {path} can't be read.", hint="Check `experiments_file`."
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML.") from error
    if not isinstance(found, list):
        raise ConfigError(f"{path} is no list of experiments.", hint="Begin each with `- name:`.")
    return found


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
