"""Draw the pictures of docs/: the bot's own answers and forms on the demo, in Slack and terminal.

`python -m docs.pictures.make [NAME …]` from the root of the repository; needs npm and Chromium.
What is in between (the bundle, a demo store, the pages) is left in build/pictures.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from analytics.errors import UserError
from bot.actions import DEMO
from bot.config import StateSettings, StoreSettings
from bot.setup import Bot
from bot.slack.answering import rows_shown
from bot.slack.blocks import JsonObject, error_message, to_message
from docs.pictures.browser import PictureError, draw
from docs.pictures.surfaces import SURFACES, as_drawn
from docs.pictures.terminal import CELL_PX, python, session
from tests.shop import shop_file

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "pictures"
SOURCES = ("package.json", "package-lock.json", "entry.jsx", "page.css")

DESKTOP_PX, PHONE_PX = 760, 390
COLUMNS = 110

#: The one question that is to be refused.
REFUSED = "rules for catgory bags"

#: What is asked in Slack for each picture, and at which widths it is drawn.
SLACK: dict[str, tuple[str, tuple[int, ...]]] = {
    "kpis": ("kpis last 30 days", (DESKTOP_PX, PHONE_PX)),
    "kpis-by-country": ("kpis last 30 days by country", (DESKTOP_PX,)),
    "top": ("top categories last 90 days", (DESKTOP_PX,)),
    "segment": ("segment last 90 days", (DESKTOP_PX, PHONE_PX)),
    "rules": ("rules for category bags last 90 days", (DESKTOP_PX, PHONE_PX)),
    "ab": ("ab checkout_v2", (DESKTOP_PX, PHONE_PX)),
    "help": ("help", (DESKTOP_PX,)),
    "sql": ("top categories last 90 days as sql", (DESKTOP_PX,)),
    "cut": ("top items last 90 days", (DESKTOP_PX,)),
    "people": ("recommend user 12347", (DESKTOP_PX,)),
    "error": (REFUSED, (DESKTOP_PX,)),
}

#: What is asked in the terminal.
TERMINAL = {
    "kpis": "kpis last 30 days",
    "segment": "segment last 90 days",
    "rules": "rules for category bags last 90 days",
    "ab": "ab checkout_v2",
    "help": "help",
    "error": REFUSED,
}
#: What is typed at the prompt, each when the last has been answered.
PROMPT = ("kpis last 30 days by", "\t")

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
font-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<style>{style}</style><style>:root {{ --width: {width}px }}</style></head>
<body><div id="root"></div><script>window.MESSAGES = {messages}</script>
<script>{script}</script></body></html>"""


def main(names: Sequence[str]) -> int:
    """Draw the named pictures (`slack-kpis`, `terminal-help`, …), or all."""
    makers: dict[str, Callable[[], None]] = {}
    BUILD.mkdir(parents=True, exist_ok=True)
    folder = demo_folder()
    bot = open_bot(folder)
    script, style = bundle()
    for name, (question, widths) in SLACK.items():
        makers[f"slack-{name}"] = lambda q=question, w=widths, n=name: slack_picture(  # type: ignore[misc]
            bot, n, q, w, script, style
        )
    for name, pieces in SURFACES.items():
        makers[f"slack-{name}"] = lambda p=pieces, n=name: draw_pieces(  # type: ignore[misc]
            n, p(bot), (DESKTOP_PX,), script, style
        )
    for name, question in TERMINAL.items():
        makers[f"terminal-{name}"] = lambda q=question, n=name: terminal_picture(  # type: ignore[misc]
            n, python("ask", q), folder
        )
    makers["terminal-prompt"] = lambda: terminal_picture("prompt", python(), folder, PROMPT)
    unknown = sorted(set(names) - set(makers))
    if unknown:
        raise PictureError(f"No picture is called {', '.join(unknown)}: {', '.join(makers)}.")
    for name, make in makers.items():
        if not names or name in names:
            make()
    bot.close()
    return 0


def demo_folder() -> Path:
    """A folder in which `python -m bot --demo` finds the demo store."""
    data = BUILD / ".daybreak"
    data.mkdir(exist_ok=True)
    shop_file(data, BUILD / "shops").replace(data / "demo.duckdb")
    return BUILD


def open_bot(folder: Path) -> Bot:
    """The demo's bot over a copy of its store: DuckDB gives a file to one process at a time."""
    copy = folder / "slack.duckdb"
    for left in folder.glob("slack-state.sqlite*"):
        left.unlink()
    shutil.copyfile(folder / ".daybreak" / "demo.duckdb", copy)
    stores = {
        "store": StoreSettings(url=f"duckdb:///{copy}"),
        "state": StateSettings(url=f"sqlite:///{folder / 'slack-state.sqlite'}"),
    }
    return Bot.open(DEMO.model_copy(update=stores))


def bundle() -> tuple[str, str]:
    """The script and the style sheet of a page, fonts inside."""
    for name in SOURCES:
        shutil.copyfile(HERE / name, BUILD / name)
    installed, lock = BUILD / "node_modules" / ".package-lock.json", BUILD / "package-lock.json"
    if not installed.exists() or "".join(installed_versions(installed)) != "".join(
        installed_versions(lock)
    ):
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    run(
        "node_modules/.bin/esbuild", "entry.jsx", "--bundle", "--minify", "--jsx=automatic",
        "--outfile=out.js", "--loader:.woff2=dataurl", "--loader:.woff=empty",
        '--define:process.env.NODE_ENV="production"', "--log-level=warning",
    )  # fmt: skip
    script = (BUILD / "out.js").read_text(encoding="utf-8").replace("</script", "<\\/script")
    return script, (BUILD / "out.css").read_text(encoding="utf-8")


def installed_versions(lock: Path) -> list[str]:
    """Name and version of what a lock file lists for this machine or any."""
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    return sorted(f"{n} {p['version']} " for n, p in packages.items() if n and "os" not in p)


def run(*command: str) -> None:
    """A tool in the build folder."""
    done = subprocess.run(  # noqa: S603 -- npm and esbuild
        command, cwd=BUILD, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PictureError(f"{command[0]} failed: {done.stderr[-1000:]}")


def slack_picture(
    bot: Bot, name: str, question: str, widths: Sequence[int], script: str, style: str
) -> None:
    """Ask, and draw the message at each width; the narrow one is called `…-phone`."""
    try:
        answer = bot.answer(question, surface="docs")
        rows = rows_shown(bot, answer)
        message = to_message(answer.result, form=answer.request.form, rows=rows)
    except UserError as error:
        if question != REFUSED:
            raise PictureError(f"{question!r} was not answered: {error.message}") from error
        message = error_message(error, question)
    draw_pieces(name, [as_drawn(message)], widths, script, style)


def draw_pieces(
    name: str, pieces: Sequence[JsonObject], widths: Sequence[int], script: str, style: str
) -> None:
    """Draw what stands below each other on a page, at each width."""
    messages = json.dumps(pieces).replace("</", "<\\/")
    for width in widths:
        page = PAGE.format(script=script, style=style, width=width, messages=messages)
        stem = f"slack-{name}" + ("-phone" if width == PHONE_PX else "")
        (BUILD / f"{stem}.html").write_text(page, encoding="utf-8")
        finish(page, width, HERE / f"{stem}.png")


def terminal_picture(
    name: str, command: Sequence[str], folder: Path, keys: Sequence[str] = ()
) -> None:
    """Run the bot in a terminal and draw its screen."""
    page = session(command, folder, COLUMNS, keys)
    (BUILD / f"terminal-{name}.html").write_text(page, encoding="utf-8")
    finish(page, round(COLUMNS * CELL_PX) + 32, HERE / f"terminal-{name}.png")


def finish(page: str, width: int, to: Path) -> None:
    """Draw one page, and say how large it came out."""
    draw(page, width, to)
    sys.stdout.write(f"{to.name}  {to.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except PictureError as error:
        sys.exit(str(error))
