"""The terminal: one question, or a prompt with history and completion."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory
from rich.console import Console

from analytics.command import COMMANDS
from analytics.errors import UserError
from analytics.result import Chart, Result
from bot.dispatch import Answer
from bot.parse import FORMS, choices, field_words, fold, verbs
from bot.render.chart import notes_of, png
from bot.render.sheet import file_name, sheets
from bot.render.text import renderable
from bot.setup import Bot

EXIT_REFUSED = 2
PERIODS = ("last 7 days", "last 30 days", "last 90 days", "last week", "last month", "this month")


def say_error(error: UserError) -> None:
    """A refusal: the sentence, then what to do, on standard error."""
    console = Console(stderr=True, highlight=False)
    console.print(error.message, style="bold", markup=False)
    if error.hint:
        console.print(error.hint, markup=False)


def ask(
    bot: Bot,
    text: str,
    *,
    as_json: bool = False,
    as_csv: bool = False,
    pictures: Path | None = None,
) -> int:
    """Answer one question on standard output; the exit status says whether it was answered."""
    try:
        answer = bot.answer(text, surface="terminal")
    except UserError as error:
        if as_json:
            body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
            sys.stdout.write(json.dumps(body, ensure_ascii=False, indent=2) + "\n")
        else:
            say_error(error)
        return EXIT_REFUSED
    if pictures is not None:
        for path in write_pictures(answer.result, pictures):
            Console(stderr=True, highlight=False).print(f"Wrote {path}", markup=False)
    if as_json:
        sys.stdout.write(to_json(answer) + "\n")
    elif as_csv or answer.request.form == "csv":
        sys.stdout.write(csv_text(answer.result))
    else:
        show(answer, rows=bot.settings.limits.rows_shown)
    return 0


def show(answer: Answer, *, rows: int) -> None:
    """The answer in colours where the terminal has them."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    console.print(renderable(answer.result, form=answer.request.form, rows=rows))


def to_json(answer: Answer) -> str:
    """The answer as JSON: raw values with units."""
    body: dict[str, Any] = {"question": answer.request.text, **answer.result.to_dict()}
    return json.dumps(body, ensure_ascii=False, indent=2)


def csv_text(result: Result) -> str:
    """All sheets, one after the other with a blank line between; no byte-order mark."""
    texts = [s.content.decode("utf-8-sig") for s in sheets(result)]
    if not texts:
        return "No table in this answer.\r\n"
    return "\r\n".join(texts)


def write_pictures(result: Result, where: Path) -> list[Path]:
    """The charts as PNG: into a folder, or the first into the named file."""
    charts = [p for p in result.parts if isinstance(p, Chart)]
    currency = result.receipt.currency if result.receipt else ""
    notes = notes_of(result.receipt)
    if where.suffix.lower() == ".png":
        paths = [where, *(where.with_stem(f"{where.stem}-{i}") for i in range(2, len(charts) + 1))]
    else:
        stem = file_name(result.title)
        paths = [where / f"{stem}-{i}.png" for i in range(1, len(charts) + 1)]
    written = []
    for path, chart in zip(paths, charts, strict=False):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(chart, currency, notes))
        written.append(path)
    return written


class Words(Completer):
    """Completes verbs, then what the verb's fields can take."""

    def __init__(self, bot: Bot) -> None:
        """Dimensions come from the bot's catalogue."""
        self.dimensions = [d.name for d in bot.catalog.dimensions]

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterable[Completion]:
        """Words that begin with what has been typed of the last one."""
        before = document.text_before_cursor
        word = document.get_word_before_cursor(WORD=True)
        first, space, _rest = before.lstrip().partition(" ")
        behind_by = before[: len(before) - len(word)].endswith((" by ", " per "))
        options = self.after(first, behind_by) if space else sorted(COMMANDS)
        for option in options:
            if option.startswith(word.lower()) and option != word:
                yield Completion(option, start_position=-len(word))

    def after(self, verb: str, behind_by: bool) -> list[str]:
        """What may follow a verb, or its "by"."""
        command = verbs().get(fold(verb))
        if command is None:
            return []
        if behind_by:
            sayings = command.sayings().values()
            return [*self.dimensions, *(c for a, s in sayings if s.after_by for c in choices(a))]
        words = list(PERIODS)
        for name, (annotation, saying) in command.sayings().items():
            words += choices(annotation) or [w for w in field_words(name, saying) if " " not in w]
        words += [f"by {d}" for d in self.dimensions] + [f"{d}:" for d in self.dimensions]
        return [*words, *(f"as {f}" for f in FORMS)]


def prompt(bot: Bot, history: Path) -> int:
    """Ask and answer until the end of input."""
    history.parent.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(history)), completer=Words(bot), complete_while_typing=False
    )
    Console(highlight=False).print(
        "Ask me: kpis · segment · rules · ab · help. Tab completes; Ctrl-D ends.", style="cyan"
    )
    while True:
        try:
            text = session.prompt("ops> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        if text.strip() in ("exit", "quit"):
            return 0
        if text.strip():
            ask(bot, text)
