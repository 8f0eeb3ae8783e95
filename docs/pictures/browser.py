"""HTML -> PNG, by a headless Chromium that may load nothing: cut to its content, few colours."""

import io
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TALLEST = 6000
MARGIN = 8
SCALE = 1.5
MOST_BYTES = 200_000
#: Narrower windows than this Chromium does not open.
NARROWEST = 500

FLAGS = """
--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars
--disable-background-networking --disable-component-update --disable-sync --disable-extensions
--virtual-time-budget=4000
""".split()


class PictureError(RuntimeError):
    """A picture that can't be made; says what to do."""


def browser() -> str:
    """The path of Chromium: CHROMIUM of the environment, else the first that is installed."""
    named = os.environ.get("CHROMIUM")
    found = named or next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if not found:
        raise PictureError("No Chromium found; install one or name it in CHROMIUM.")
    return found


def draw(page: str, width: int, to: Path) -> None:
    """Write `to`: the page `width` CSS pixels wide, as high as what is on it."""
    with tempfile.TemporaryDirectory() as scratch:
        html, shot = Path(scratch) / "page.html", Path(scratch) / "shot.png"
        html.write_text(page, encoding="utf-8")
        command = [
            browser(),
            *FLAGS,
            f"--user-data-dir={scratch}/profile",
            f"--force-device-scale-factor={SCALE}",
            f"--window-size={max(width, NARROWEST)},{TALLEST}",
            f"--screenshot={shot}",
            html.as_uri(),
        ]
        done = subprocess.run(  # noqa: S603 -- our own page in an installed browser
            command, capture_output=True, text=True, timeout=120, check=False
        )
        if not shot.exists():
            raise PictureError(f"Chromium drew nothing for {to.name}: {done.stderr[-500:]}")
        with Image.open(shot) as picture:
            to.write_bytes(small(trimmed(picture.convert("RGB"), round(width * SCALE))))


def trimmed(picture: Image.Image, width: int) -> Image.Image:
    """The left `width` pixels down to the last row that is not the corner's colour."""
    page = picture.crop((0, 0, width, picture.height))
    empty = Image.new("RGB", page.size, page.getpixel((0, page.height - 1)))
    box = ImageChops.difference(page, empty).getbbox()
    if box is None:
        raise PictureError("The page is empty.")
    if box[3] >= page.height - 1:
        raise PictureError(f"The page is higher than {TALLEST} px.")
    return page.crop((0, 0, width, min(page.height, box[3] + round(MARGIN * SCALE))))


def small(picture: Image.Image) -> bytes:
    """PNG with as many colours as fit the limit, at full size or a smaller one."""
    content = b""
    for scale in (1.0, 0.8, 0.65):
        size = (round(picture.width * scale), round(picture.height * scale))
        resized = picture if scale == 1 else picture.resize(size, Image.Resampling.LANCZOS)
        for colours in (192, 96, 48, 24):
            file = io.BytesIO()
            few = resized.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            few.save(file, "PNG", optimize=True)
            content = file.getvalue()
            if len(content) <= MOST_BYTES:
                return content
    raise PictureError(f"A picture of {len(content):,} bytes is too large for the docs.")
