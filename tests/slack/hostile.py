"""Hostile questions, and a scan of everything that is said to them.

`python -m tests.slack.hostile 10000` asks so many, `--unsafe` asks a twin whose faults are planted:
a harness that finds nothing there finds nothing.
"""

import datetime as dt
import json
import logging
import random
import re
import sqlite3
import sys
import time
import traceback
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from analytics.errors import UserError
from bot.config import LimitSettings, Settings, StateSettings, StoreSettings
from bot.setup import Bot
from bot.slack import text as safe
from bot.slack.analysts import Analyst
from bot.slack.app import Identity, slack_app
from bot.slack.post import Poster
from bot.slack.sending import Senders
from storage.outbox import Outbox
from storage.queue import Queue
from tests.conftest import fill
from tests.slack.conftest import BOT_ID, BOT_USER, TEAM, FakeSlack
from tests.slack.test_app import command

CANARY = "canary-7f3a@leak.example"
FORMS = [
    "kpis {}", "kpis last {} days", "kpis last 30 days by {}", "kpis where country:{}",
    "segment last {} days", "segment {}", "rules for category {}", 'rules for category "{}"',
    "rules with item {}", "rules min-support {}", "ab {}", "help {}", "status {}", "schema {}",
    "{}", "{} {}", "kpis as {}", "kpis last 30 days where category:{} by country", "kpis {} {}",
]  # fmt: skip
PIECES = [
    "' OR '1'='1", "x' UNION SELECT person_id FROM people--", "'; DROP TABLE orders;--",
    "'; DELETE FROM people;--",
    "\" OR \"\"=\"", "1; SELECT pg_sleep(10)", "');DELETE FROM people;--", "$$;select 1;$$",
    "%' OR email LIKE '%", "\\'; --", "`people`", "[people]", "information_schema.tables",
    "sqlite_master", "1/0", "read_csv('x')", "<!channel>", "<!here>", "<!everyone>", "<@U123ABC>",
    "<!subteam^S1|ops>", "<https://evil.example|invoice>", "<mailto:x@evil.example|x>", "@channel",
    "@here", "&lt;!channel&gt;", "&amp;lt;!channel&amp;gt;", "```", "`", "*bold*_it_~s~",
    ":tada:" * 20, ">quote", "\n\n*Fake message*", "http://evil.example/x?y=1", "www.evil.example",
    "<!date^1392734382^x^https://evil.example|y>", "\x00", "a\x00b", "\x1b[31m", "\ud800",
    "\udfff\ud800", "\u202egnimmargorp", "\u200b\u200c\ufeff", "ѕegment", "ｓｅｇｍｅｎｔ",
    "\ufdfa" * 300, "e\u0301" * 200, "🧑\u200d💻", "İ", "ß", "\u2028", "\u0085", "٣٠", "３０", "①",
    "Ⅷ", "½", "9" * 26, "-1", "0", "1e309", "NaN", "Infinity", "0x1e", "1_000", "2026-02-30",
    "0000-00-00", "9999-12-31", "-9223372036854775809", "007", "3.14", "last last last",
    "a" * 399, "a" * 1_001, "a" * 50_000, "a " * 5_000 + "!", "((((" * 500, "{" * 1_000,
    "[" * 1_000, "(a+)+$", "a" * 32 + "!", "word " * 40 + "!", "=1+1",
    '=HYPERLINK("http://evil.example")', "+1", "@SUM(A1)", "\t=1", "{{7*7}}", "${7*7}",
    "{0.__class__}", "%s%n%x", "%(x)s", "{text}", "../../etc/passwd", "$(id)", "; id", "| id",
    "file:///etc/passwd", "__import__('os')", "null", "None", "true", "'", '"', "\\", "''", ",",
    ";", "--", "/*", "*/", "#", "?", ":", "=", "!=", "bags,toys", "bags AND toys",
    "“smart quotes”", "password", "", "country", "France", "category", "30", "by", "as csv",
    "as sql", "last 30 days", "vs previous", "k 5", "k -5", "k 1e9", "where", "where where",
]  # fmt: skip

#: What the twin does wrong.
PLANTED = {"traceback", "sql", "mention", "link", "fence", "canary", "crash", "store changed"}

RULES = {
    "traceback": re.compile(r"Traceback \(most recent|File \"[^\"]+\", line \d+|\b\w+Error\b:"),
    "sql": re.compile(
        r"\b(select|insert|update|delete)\b.{1,80}\b(from|into|set|where)\b|psycopg|sqlalchemy"
        r"|syntax error|no such (table|column)|unrecognized token|parser error|binder error",
        re.IGNORECASE | re.DOTALL,
    ),
    "mention": re.compile(
        r"<!(channel|here|everyone|subteam)|<@[UW]|(?<![\w\u200c])@(here|channel)"
    ),
    "link": re.compile(r"<(https?|mailto):[^>]*>|<!date|https?://|\bwww\.\w"),
    "path": re.compile(r"/(home|usr|var|root|opt)/\w+"),
    "canary": re.compile(re.escape(CANARY), re.IGNORECASE),
}


def question(chance: random.Random) -> str:
    """One hostile question."""
    form = chance.choice(FORMS)
    text = form.format(*[chance.choice(PIECES) for _ in range(form.count("{}"))])
    for _ in range(chance.choice([0, 0, 0, 1, 2])):
        i = chance.randrange(len(text) + 1)
        if chance.random() < 0.5:
            text = text[:i] + chance.choice(PIECES)[:200] + text[i:]
        else:
            point = chance.choice(
                [
                    chance.randrange(1, 128),
                    chance.randrange(128, 0x3000),
                    chance.randrange(0x1F300, 0x1F700),
                ]
            )
            text = text[:i] + chr(point) + text[i:]
    return text.upper() if chance.random() < 0.05 else text


def letters(text: str) -> str:
    """A text without what Slack's escaping and ours change."""
    plain = re.sub(r"&(lt|gt|amp);", "", text)
    return re.sub(r"[^0-9a-z]", "", unicodedata.normalize("NFKC", plain).lower())


def mrkdwn(payload: Any) -> Iterator[str]:
    """What Slack reads as mrkdwn: the top-level text, and text objects of that type."""
    if isinstance(payload, dict):
        if payload.get("type") == "mrkdwn" or ("text" in payload and "type" not in payload):
            yield payload["text"]
        for value in payload.values():
            yield from mrkdwn(value)
    elif isinstance(payload, list | tuple):
        for value in payload:
            yield from mrkdwn(value)


def strings(payload: Any) -> Iterator[str]:
    """Every string that people may read."""
    if isinstance(payload, str):
        yield payload
    elif isinstance(payload, dict):
        for key, value in payload.items():
            if key not in ("metadata", "value", "type", "action_id"):
                yield from strings(value)
    elif isinstance(payload, list | tuple):
        for value in payload:
            yield from strings(value)


@dataclass
class Findings:
    """What was found, with an example of each."""

    asked: int = 0
    seconds: float = 0.0
    slowest_ack: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, asked: str, said: str) -> None:
        """One more."""
        self.counts[kind] += 1
        self.examples.setdefault(kind, f"{asked[:80]!r} -> {said[:160]!r}")

    def scan(self, asked: str, payload: Any) -> None:
        """Look through one message for what must not be in it."""
        wants_sql = "sql" in asked.lower()
        for text in mrkdwn(payload):
            if text.count("```") % 2:
                self.add("fence", asked, text)
            outside_code = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
            for kind in ("mention", "link"):
                if RULES[kind].search(outside_code):
                    self.add(kind, asked, text)
        for text in strings(payload):
            for kind in ("traceback", "sql", "path", "canary"):
                match = RULES[kind].search(text)
                if not match or (kind == "sql" and wants_sql):
                    continue
                # the asker's own words, made harmless, are no leak
                own = match.group(1) if kind == "sql" and match.group(1) else match.group(0)
                if letters(own) not in letters(asked):
                    self.add(kind, asked, text)


class Subject:
    """The bot from signed request to Slack's API, over a small store with a canary in it."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(
            store=StoreSettings(url=f"duckdb:///{folder / 'store.duckdb'}"),
            state=StateSettings(url="sqlite:///:memory:"),
            limits=LimitSettings(seconds=20),
        )
        self.bot = Bot.open(settings)
        at = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=2)
        people = [
            {"person_id": f"p{i}", "country": "France", "first_seen_at": at} for i in range(30)
        ]
        people[0]["person_id"] = CANARY
        orders = [
            {
                "order_id": f"o{i}",
                "person_id": p["person_id"],
                "ordered_at": at,
                "kind": "sale",
                "amount_cents": 1_000 + i,
                "country": "<!channel> https://evil.example *x*" if i % 2 else "France",
            }
            for i, p in enumerate(people)
        ]
        fill(self.bot.store, people=people, orders=orders)
        self.slack = FakeSlack()
        self.queue = Queue(self.bot.state, workers=1, waiting=9, per_person=9)
        self.senders = Senders(Outbox(self.bot.state), Poster(self.slack, patience_seconds=0))
        self.analysts = Analyst(self.bot, self.queue, self.senders.outbox, self.senders.poster)
        self.app = slack_app(
            self.bot,
            self.queue,
            Poster(self.slack),
            Identity(TEAM, BOT_ID, BOT_USER),
            signing_secret="test-secret",
        )
        self.slack.files_upload_v2 = lambda **_: None  # type: ignore[method-assign, assignment, return-value]

    def ask(self, text: str, number: int) -> tuple[list[Any], float]:
        """All that is said to a question, and the seconds to the acknowledgement."""
        self.slack.calls.clear()
        began = time.monotonic()
        shown = text.encode("utf-8", "replace").decode()
        ack = command(self.app, shown, f"h{number}", response_url="")
        seconds = time.monotonic() - began
        acknowledged = json.loads(ack.body) if ack.body else {}
        while claim := self.queue.claim(60):
            self.analysts.work(claim)
        while parcel := self.senders.outbox.claim(60):
            self.senders.send(parcel)
        answers = [arguments for _, arguments in self.slack.calls if "text" in arguments]
        return [acknowledged, *answers], seconds

    def fingerprint(self) -> str:
        """Changes when the store does."""
        return json.dumps([self.bot.store.counts(), str(self.bot.store.fork().data_through())])

    def close(self) -> None:
        """Give everything back."""
        self.app.listener_runner.listener_executor.shutdown()
        self.bot.close()


@contextmanager
def planted(subject: Subject) -> Iterator[None]:
    """The faults that the harness must find: no escaping, SQL as text, traces to the asker."""
    scratch = sqlite3.connect(":memory:", check_same_thread=False)
    changes = 0

    def restored() -> int:
        """Put the table back; 1 where it was not as it was."""
        scratch.executescript("create table if not exists people(person_id text, country text)")
        if scratch.execute("select count(*) from people").fetchone()[0] == 1:
            return 0
        scratch.executescript("delete from people")
        scratch.execute("insert into people values (?, 'France')", (CANARY,))
        return 1

    restored()

    def answer(text: str) -> Any:
        nonlocal changes
        try:
            scratch.executescript(f"select * from people where country = '{text}'")
            rows = scratch.execute(f"select * from people where country = '{text}'").fetchall()
        except Exception as error:
            raise UserError(traceback.format_exc()) from error
        finally:
            changes += restored()
        if text.startswith("="):
            raise RuntimeError("the worker dies")
        raise UserError(f"{text}: {rows}")

    with (
        patch.object(Bot, "answer", lambda _self, text, *a, **k: answer(text)),
        patch.object(safe, "value", lambda text, *_: text[:1_000]),
        patch.object(safe, "code", lambda text, *_: text[:1_000]),
        patch.object(Subject, "fingerprint", lambda _self: str(changes)),
        patch("bot.slack.post.assert_sendable", lambda *_: None),
        patch("bot.slack.app.assert_sendable", lambda *_: None),
        patch("bot.slack.analysts.NO_ANSWER", None),
    ):
        yield
    scratch.close()


def run(subject: Subject, asked: int, seed: int = 1) -> Findings:
    """Ask so many hostile questions, and scan what is said."""
    found = Findings(asked=asked)
    chance = random.Random(seed)
    before, began = subject.fingerprint(), time.monotonic()
    for number in range(asked):
        text = question(chance)
        try:
            said, seconds = subject.ask(text, number)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            found.add("crash", text, repr(error))
            continue
        found.slowest_ack = max(found.slowest_ack, seconds)
        if len(said) < 2:
            found.add("unanswered", text, json.dumps(said))
        for payload in said:
            found.scan(text, payload)
    if subject.fingerprint() != before:
        found.add("store changed", "", "")
    found.seconds = time.monotonic() - began
    return found


class Traces(logging.Handler):
    """Counts faults of ours in the log."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.lines.append(f"{record.getMessage()} {record.__dict__.get('question', '')!r}")


def main(arguments: list[str]) -> int:
    """From the command line: the status is 1 where the bot (or, unsafe, the harness) failed."""
    asked = int(next((a for a in arguments if a.isdigit()), "10000"))
    traces = Traces()
    logging.getLogger("daybreak").addHandler(traces)
    with TemporaryDirectory() as folder:
        subject = Subject(Path(folder))
        if "--unsafe" in arguments:
            with planted(subject):
                found = run(subject, asked)
        else:
            found = run(subject, asked)
        subject.close()
    print(f"{asked} questions in {found.seconds:.0f} s, slowest ack {found.slowest_ack:.2f} s")
    print(f"found: {dict(found.counts)}; traces in the log: {len(traces.lines)}")
    for kind, example in found.examples.items():
        print(f"  {kind}: {example}")
    for line in traces.lines[:5]:
        print(f"  log: {line[:300]}")
    if "--unsafe" in arguments:
        return 0 if set(found.counts) >= PLANTED else 1
    return 1 if found.counts or traces.lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
