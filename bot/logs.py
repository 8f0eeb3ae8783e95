"""Log lines: a JSON object each, or for people. Each has the id that its thread follows.

Secrets are taken out of everything that is written: messages, facts and traces.
"""

import datetime as dt
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

from bot import trail
from storage.state import SECRETS

Form = Literal["text", "json"]

REMOVED = "[removed]"
#: What every line has, however it is written.
OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "id", "role"}
#: They tell of each look at the clock, and of each opened database.
TALKATIVE = ("apscheduler", "alembic")


class Stamped(logging.Filter):
    """Puts on each line the id that its thread follows, and the role of this process."""

    def __init__(self, role: str) -> None:
        """`role` is this process's."""
        super().__init__()
        self.role = role

    def filter(self, record: logging.LogRecord) -> bool:
        """Every line is kept."""
        record.id, record.role = trail.current(), self.role
        return True


class Lines(logging.Formatter):
    """What both forms share."""

    def facts(self, record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
        """What a line tells beside its message."""
        for name, value in record.__dict__.items():
            if name not in OWN:
                known = isinstance(value, bool | int | float | None)
                yield name, value if known else clean(str(value))

    def trace(self, record: logging.LogRecord) -> str:
        """The trace of an exception; empty where there is none."""
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        return clean(record.exc_text or "")


class JsonLines(Lines):
    """For programs."""

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object in one line of ASCII."""
        at = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage()),
            "id": getattr(record, "id", ""),
            "role": getattr(record, "role", ""),
            "process": record.process,
            **dict(self.facts(record)),
        }
        trace = self.trace(record)
        return json.dumps(line | ({"trace": trace} if trace else {}))


class TextLines(Lines):
    """For people."""

    def format(self, record: logging.LogRecord) -> str:
        """The time, who says it and what; then facts as `name=value`, and a trace below."""
        at = dt.datetime.fromtimestamp(record.created, dt.UTC)
        facts = {"id": getattr(record, "id", ""), **dict(self.facts(record))}
        words = [
            f"{at:%Y-%m-%dT%H:%M:%SZ}",
            f"{record.levelname:<7}",
            f"{getattr(record, 'role', '')}[{record.process}]",
            clean(record.getMessage()),
            *(f"{name}={shown(value)}" for name, value in facts.items() if value != ""),
        ]
        trace = self.trace(record)
        return "\n".join((" ".join(words), *([trace] if trace else [])))


def clean(text: str) -> str:
    """Without tokens, passwords, and addresses that let anyone post."""
    return SECRETS.sub(REMOVED, text)


def shown(value: Any) -> str:
    """A fact in a line of text: in quotes where it has blanks."""
    text = str(value)
    return text if text.isprintable() and " " not in text else json.dumps(text)


def begin(form: Form, role: str) -> None:
    """Write this process's lines so, from now on."""
    for handler in logging.getLogger().handlers:
        for stamp in [f for f in handler.filters if isinstance(f, Stamped)]:
            handler.removeFilter(stamp)
        handler.addFilter(Stamped(role))
        handler.setFormatter(JsonLines() if form == "json" else TextLines())
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
