"""The terminal: one question with its answer in words, JSON, CSV or pictures; files in."""

import base64
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from analytics.errors import UserError
from analytics.result import Chart, Result
from bot.dispatch import Answer, Asked
from bot.elsewhere import done_elsewhere
from bot.loading import Order, loaded, order_of, progress_bar, show, vouched
from bot.render.chart import notes_of, png
from bot.render.sheet import file_name, sheets
from bot.render.text import renderable
from bot.scheduling import TERMINAL
from bot.setup import Bot
from storage.store import Store

EXIT_REFUSED = 2


def say_error(error: UserError) -> None:
    """A refusal: the sentence, then what to do, on standard error."""
    console = Console(stderr=True, highlight=False)
    console.print(error.message, style="bold", markup=False)
    if error.hint:
        console.print(error.hint, markup=False)


@dataclass(frozen=True)
class Wanted:
    """How an answer is to be shown: its form, and what the terminal can do."""

    as_json: bool = False
    as_csv: bool = False
    pictures: bool = False
    width: int = 110
    colours: bool = False


@dataclass(frozen=True)
class Shown:
    """An answer or a refusal as the terminal shows it; pictures are PNGs by the chart's number."""

    out: str
    err: str = ""
    status: int = 0
    pictures: tuple[tuple[str, bytes], ...] = ()

    def to_json(self) -> str:
        """As the bot's memory keeps it."""
        drawn = [[name, base64.b64encode(png_).decode()] for name, png_ in self.pictures]
        return json.dumps({**vars(self), "pictures": drawn})

    @classmethod
    def from_json(cls, text: str) -> "Shown":
        """As the bot's memory gave it."""
        body = json.loads(text)
        drawn = tuple((name, base64.b64decode(png_)) for name, png_ in body["pictures"])
        return cls(**{**body, "pictures": drawn})


def ask(
    bot: Bot,
    text: str,
    *,
    as_json: bool = False,
    as_csv: bool = False,
    pictures: Path | None = None,
) -> int:
    """Answer one question on standard output; the exit status says whether it was answered."""
    wanted = wanted_here(as_json=as_json, as_csv=as_csv, pictures=pictures is not None)
    try:
        answer = shown(bot, text, wanted) if bot.opened else asked_elsewhere(bot, text, wanted)
    except UserError as error:
        answer = refused(error, wanted)
    sys.stderr.write(answer.err)
    if pictures is not None:
        for path in write_pictures(answer.pictures, pictures):
            Console(stderr=True, highlight=False).print(f"Wrote {path}", markup=False)
    sys.stdout.write(answer.out)
    return answer.status


def shown(
    bot: Bot,
    text: str,
    wanted: Wanted,
    *,
    tell: Callable[[str], None] = lambda _: None,
    begun: Callable[[Store], None] = lambda _: None,
    keep: Callable[[Asked], None] | None = None,
) -> Shown:
    """The answer, or why there is none; `keep` gets the audit's row."""
    try:
        answer = bot.answer(text, surface=TERMINAL, tell=tell, begun=begun, keep=keep)
    except UserError as error:
        return refused(error, wanted)
    drawn = tuple(drawings(answer.result)) if wanted.pictures else ()
    if wanted.as_json:
        out = to_json(answer) + "\n"
    elif wanted.as_csv or answer.request.form == "csv":
        out = csv_text(answer.result)
    else:
        out = in_colours(answer, wanted, rows=bot.settings.limits.rows_shown)
    return Shown(out, pictures=drawn)


def wanted_here(*, as_json: bool = False, as_csv: bool = False, pictures: bool = False) -> Wanted:
    """The form, and what this terminal can do."""
    is_terminal = sys.stdout.isatty()
    width = Console().width if is_terminal else Wanted.width
    return Wanted(as_json, as_csv, pictures, width, is_terminal)


def refused(error: UserError, wanted: Wanted) -> Shown:
    """A refusal: as JSON in the answer's place, else in words on standard error."""
    if wanted.as_json:
        body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        return Shown(json.dumps(body, ensure_ascii=False, indent=2) + "\n", status=EXIT_REFUSED)
    said = io.StringIO()
    console = Console(file=said, force_terminal=wanted.colours, highlight=False, width=wanted.width)
    console.print(error.message, style="bold", markup=False)
    if error.hint:
        console.print(error.hint, markup=False)
    return Shown("", said.getvalue(), EXIT_REFUSED)


def in_colours(answer: Answer, wanted: Wanted, *, rows: int) -> str:
    """The answer in colours where the terminal has them."""
    said = io.StringIO()
    console = Console(file=said, force_terminal=wanted.colours, highlight=False, width=wanted.width)
    console.print(renderable(answer.result, form=answer.request.form, rows=rows))
    return said.getvalue()


# Where another process has the store.


def asked_elsewhere(bot: Bot, text: str, wanted: Wanted) -> Shown:
    """Have the running analyst answer. Raises UserError."""
    job = {"text": text, "way": TERMINAL, "wanted": json.dumps(vars(wanted))}
    with Console(stderr=True).status("The running bot works on it.") as status:
        return Shown.from_json(done_elsewhere(bot, job, lambda said: status.update(escape(said))))


def load(bot: Bot, entity: str, files: Sequence[Path], *, source: str | None, yes: bool) -> int:
    """Load files into the store, wherever it is open; the exit status. Raises UserError."""
    console = Console(stderr=True, highlight=False)
    order = order_of(bot, entity, files, console, source=source, yes=yes)
    if bot.opened is not None:
        with progress_bar(console) as tell:
            report = loaded(bot, order, tell)
        show(report, bot, console)
        return 0
    wanted = Wanted(width=console.width, colours=console.is_terminal)
    job = {
        "text": order.words,
        "way": "load",
        "wanted": json.dumps(vars(wanted)),
        "order": vouched(order).to_json(),
    }
    with console.status("The running bot loads it.") as status:
        told = Shown.from_json(done_elsewhere(bot, job, lambda said: status.update(escape(said))))
    sys.stderr.write(told.err)
    return told.status


def load_shown(
    bot: Bot, order: Order, wanted: Wanted, tell: Callable[[str], None] = lambda _: None
) -> Shown:
    """The report of a load that another terminal waits for, or why there is none."""

    def progress(done: int, total: int | None, phase: str) -> None:
        of_all = f" of {total:,}" if total else ""
        tell(f"{phase.capitalize()}: {done:,}{of_all} rows")

    said = io.StringIO()
    console = Console(file=said, force_terminal=wanted.colours, highlight=False, width=wanted.width)
    try:
        show(loaded(bot, order, progress), bot, console)
    except UserError as error:
        return refused(error, wanted)
    return Shown("", said.getvalue())


# What is shown.


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


def drawings(result: Result) -> Iterator[tuple[str, bytes]]:
    """The charts as PNGs, with the file names that they have in a folder."""
    charts = [p for p in result.parts if isinstance(p, Chart)]
    currency = result.receipt.currency if result.receipt else ""
    notes = notes_of(result.receipt)
    for i, chart in enumerate(charts, 1):
        yield f"{file_name(result.title)}-{i}.png", png(chart, currency, notes)


def write_pictures(pictures: Iterable[tuple[str, bytes]], where: Path) -> list[Path]:
    """Into a folder, or into the named file, with numbers from the second on."""
    written = []
    for i, (name, drawn) in enumerate(pictures, 1):
        path = where / name
        if where.suffix.lower() == ".png":
            path = where if i == 1 else where.with_stem(f"{where.stem}-{i}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawn)
        written.append(path)
    return written
