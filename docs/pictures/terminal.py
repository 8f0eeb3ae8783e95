"""A program in a terminal of our own -> what stands on its screen, as HTML."""

import fcntl
import html
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pyte

from docs.pictures.browser import PictureError

ROWS = 160
CELL_PX = 8.43
QUIET_S = 0.7
PATIENCE_S = 120.0

COLOURS = {
    "black": "#24292f", "red": "#ff7b72", "green": "#7ee787", "brown": "#e3b341",
    "blue": "#79c0ff", "magenta": "#d2a8ff", "cyan": "#76e3ea", "white": "#c9d1d9",
    "default": "",
}  # fmt: skip
INK, PAPER, DIM = "#e6edf3", "#0d1117", "#8b949e"

STYLE = f"""
body {{ margin: 0; background: {PAPER}; }}
pre {{ margin: 0; padding: 14px 16px; color: {INK}; }}
pre {{ font: 14px/1.165 "DejaVu Sans Mono", monospace; }}
"""


class Screen(pyte.Screen):
    """A screen that answers its program, and remembers faint text, which pyte leaves out."""

    terminal: int

    def write_process_input(self, data: str) -> None:
        """What a terminal reports: where its cursor is."""
        os.write(self.terminal, data.encode())

    def select_graphic_rendition(self, *attrs: int, **_: bool) -> None:
        """Faint becomes the colour white, which nothing else here uses."""
        super().select_graphic_rendition(*attrs)
        if 2 in attrs:
            self.cursor.attrs = self.cursor.attrs._replace(fg="white")


def session(command: Sequence[str], folder: Path, columns: int, keys: Sequence[str] = ()) -> str:
    """Run a command in `folder` and press `keys`, each when the screen has come to rest.

    The screen as HTML. Without keys the program runs to its end; with keys it is stopped after
    the last one.
    """
    screen = Screen(columns, ROWS)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    screen.terminal = ours
    environment = os.environ | {
        "TERM": "xterm-256color", "COLUMNS": str(columns), "PYTHONPATH": str(Path.cwd()),
    }  # fmt: skip
    program = subprocess.Popen(  # noqa: S603 -- the bot itself
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        for key in keys:
            follow(stream, ours, program, until_quiet=True)
            os.write(ours, key.encode())
        follow(stream, ours, program, until_quiet=bool(keys))
    finally:
        if program.poll() is None:
            program.terminate()
        program.wait(10)
        os.close(ours)
    return page(screen)


def follow(
    stream: pyte.ByteStream, ours: int, program: subprocess.Popen[bytes], *, until_quiet: bool
) -> None:
    """Feed the screen until the program ends, or has written and then rests."""
    give_up = time.monotonic() + PATIENCE_S
    written = False
    while time.monotonic() < give_up:
        ready, _, _ = select.select([ours], [], [], QUIET_S)
        if ready:
            try:
                data = os.read(ours, 65_536)
            except OSError:  # how Linux says that the program has closed its terminal
                return
            if not data:
                return
            stream.feed(data)
            written = True
        elif program.poll() is not None or (until_quiet and written):
            return
    raise PictureError(f"No end within {PATIENCE_S:.0f} s: {program.args!r}")


def page(screen: Screen) -> str:
    """The screen down to its last line with text."""
    lines = [line_html(screen, y) for y in range(ROWS)]
    while lines and not lines[-1].strip():
        lines.pop()
    text = "\n".join(lines)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><style>{STYLE}</style>"
        f"<pre>{text}</pre></html>"
    )


def line_html(screen: Screen, y: int) -> str:
    """One line, a span for each run of cells of one look."""
    line = screen.buffer[y]
    used = max((x for x, c in line.items() if c.data.strip() or c.bg != "default"), default=-1)
    spans = []
    for css, run in groupby((line[x] for x in range(used + 1)), key=look):
        text = html.escape("".join(cell.data for cell in run))
        spans.append(f'<span style="{css}">{text}</span>' if css else text)
    return "".join(spans)


def look(cell: pyte.screens.Char) -> str:
    """The CSS of a cell."""
    ink = DIM if cell.fg == "white" else colour(cell.fg)
    paper = colour(cell.bg)
    if cell.reverse:
        ink, paper = paper or PAPER, ink or INK
    css = [f"color:{ink}" if ink else "", f"background:{paper}" if paper else ""]
    css += ["font-weight:bold" if cell.bold else "", "font-style:italic" if cell.italics else ""]
    css += ["text-decoration:underline" if cell.underscore else ""]
    return ";".join(c for c in css if c)


def colour(name: str) -> str:
    """A colour of pyte's as CSS; bright ones as the plain."""
    plain = name.removeprefix("bright")
    return COLOURS.get(plain, f"#{name}")


def python(*arguments: str) -> list[str]:
    """A command of this bot."""
    return [sys.executable, "-m", "bot", "--demo", *arguments]
