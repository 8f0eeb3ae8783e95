"""Commands: one frozen dataclass is what may be said, its help, and how it is answered.

A field's annotation says what kind of value it takes, and `says(...)` says how it is worded:

    Period, Period | None     a period anywhere in the text
    Filters                   `where country:France`, `for category bags`
    Conditions                `where orders >= 5 and spend > 500`
    Dimension | None          `by country`
    int, float (or None)      `k 5`, `min-support 1%`, `next 90 days`
    Literal[...]              the word alone, or behind `by` / its own words
    str (or None)             positional, or behind its own words; a metric's name may have several

The parser, help, schema of the API, Slack modal and docs read the same fields.
"""

import dataclasses
import datetime as dt
import importlib
import pkgutil
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from analytics.catalog import Catalog
from analytics.result import Result
from storage.grants import Grant, Scope
from storage.state import State
from storage.store import Store

#: A text of the unit `metric` is the name of one, in the catalogue's spelling; `question` is the
#: canonical text of a question, `when` that of wall-clock times, `place` that of where to post,
#: `segment` the name of a saved one, `target` what to explain, perhaps a dimension's name, `hours`
#: a span of the day such as `22:00-07:00`.
FieldUnit = Literal[
    "count",
    "share",
    "number",
    "days",
    "text",
    "metric",
    "question",
    "when",
    "place",
    "segment",
    "target",
    "hours",
]


@dataclass(frozen=True)
class Saying:
    """How a field is said. `default` of a period field is its words."""

    help: str
    words: tuple[str, ...]
    positional: bool
    after_by: bool
    unit: FieldUnit
    low: float | None
    high: float | None
    default: Any


def says(
    default: Any = dataclasses.MISSING,
    *,
    help: str,  # noqa: A002 - it is the field's help
    words: tuple[str, ...] = (),
    positional: bool = False,
    after_by: bool = False,
    unit: FieldUnit = "text",
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """Declare a command's field.

    `words` introduce its value (the field's own name always does); `positional` takes the text
    that stands alone; `after_by` takes a Literal's word behind `by`; `low` and `high` bound a
    number, both included. A period's default is its words: it is read on the day of the question.
    """
    saying = Saying(help, words, positional, after_by, unit, low, high, default)
    return dataclasses.field(default=default, metadata={"saying": saying})


@dataclass(frozen=True)
class Rights:
    """What a person may do in a place; without more said, everything.

    An admin may do everything, and give rights to others. `refusal` says why nothing at all is
    answered; `hint` what to do where a right is missing.
    """

    is_admin: bool = True
    grants: tuple[Grant, ...] = ()
    refusal: str = ""
    hint: str = ""

    def covers(self, verb: str, scope: Scope) -> bool:
        """Whether there is a right on the command of that name."""
        return self.is_admin or any(g.covers(verb, scope) for g in self.grants)


@dataclass(frozen=True)
class Asker:
    """Who asks, and where: the terminal's user may do everything.

    `name` is the surface's own id of the person, `channel` of the place; empty: no place. `team`
    is the workspace, where there are several.
    """

    name: str = "terminal"
    may_see_people: bool = True
    channel: str = ""
    team: str = ""
    rights: Rights = Rights()


@dataclass(frozen=True)
class Context:
    """All that an answer may depend on besides the question itself.

    `now` is aware UTC; `currency` is an ISO 4217 code; `tell(text)` shows progress. `state` is the
    bot's memory: None where an answer is made without one, as in a library.
    """

    store: Store
    now: dt.datetime
    zone: ZoneInfo
    currency: str
    catalog: Catalog = Catalog()  # noqa: RUF009 - frozen
    asker: Asker = Asker()
    tell: Callable[[str], None] = lambda _: None
    state: State | None = None

    @property
    def today(self) -> dt.date:
        """The local day of `now`."""
        return self.now.astimezone(self.zone).date()


COMMANDS: dict[str, type["Command"]] = {}


@dataclass(frozen=True, kw_only=True)
class Command(ABC):
    """A question that can be asked.

    Subclasses are frozen, keyword-only dataclasses in a file of their own. Equal values are equal
    questions, and the same context gives the same result. `examples` run on the demo store.
    `aliases` are other words for the verb; `group` orders the help; `writes` marks commands that
    change what the bot keeps or does. A schedule posts the answer always, or, where a command
    `speaks` on changes, only if `Result.mark` differs from the last one.
    """

    examples: ClassVar[tuple[str, ...]]
    aliases: ClassVar[tuple[str, ...]] = ()
    group: ClassVar[str] = "Numbers"
    writes: ClassVar[bool] = False
    speaks: ClassVar[Literal["always", "changes"]] = "always"

    @property
    def shows_people(self) -> bool:
        """Whether the answer may show single persons: known before it is computed."""
        return False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register under the class's name in lower case; names are unique."""
        super().__init_subclass__(**kwargs)
        name = cls.verb()
        if name in COMMANDS and COMMANDS[name].__module__ != cls.__module__:
            raise TypeError(f"two commands are called {name!r}")
        COMMANDS[name] = cls

    @classmethod
    def verb(cls) -> str:
        """The first word of the question: `SegmentSave` is said `segment-save`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    @classmethod
    def sayings(cls) -> dict[str, tuple[Any, Saying]]:
        """Field name -> (annotation, how it is said), in the order of the fields."""
        return {
            f.name: (f.type, f.metadata["saying"])
            for f in dataclasses.fields(cls)
            if "saying" in f.metadata
        }

    @abstractmethod
    def run(self, ctx: Context) -> Result:
        """The answer. Raises UserError for what the asker can put right."""


def load_commands(package: ModuleType) -> None:
    """Import every module of a package of commands, so that they register themselves."""
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
