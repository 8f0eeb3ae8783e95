"""Values as words: how numbers stand in sentences. Tables, charts and headlines read the same.

Values and units are those of `result.py`. Unknown is the word "unknown", never a zero. Within
`speaking("de")` numbers have the signs of German; the words around them stay English.
"""

import contextlib
import datetime as dt
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import assert_never

from analytics.result import Number, Unit, Value

UNKNOWN = "unknown"

#: Per language: the signs for thousands and decimals, and the names of 10^9, 10^6 and 10^3.
NUMBERS = {
    "en": (",", ".", ("bn", "m", "k")),
    "de": (".", ",", ("\u00a0Mrd.", "\u00a0Mio.", "\u00a0Tsd.")),
    "fr": ("\u202f", ",", ("\u00a0Md", "\u00a0M", "\u00a0k")),
}
_language: ContextVar[str] = ContextVar("language", default="en")


@contextlib.contextmanager
def speaking(language: str) -> Iterator[None]:
    """Within it, numbers have the signs of a language of `NUMBERS`."""
    before = _language.set(language)
    try:
        yield
    finally:
        _language.reset(before)


SYMBOLS = {"EUR": "€", "GBP": "£", "JPY": "¥", "USD": "$"}

#: Minor units per unit, as powers of ten, where it is not two (ISO 4217).
EXPONENTS = {
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0,
    "RWF": 0, "UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
}  # fmt: skip


def words(value: Value, unit: Unit, currency: str = "") -> str:
    """A value in full: `1,234`, `£1,234.50`, `12.3 %`, `3 min 20 s`, `unknown`.

    `currency` is an ISO 4217 code; money without one has no symbol.
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dt.datetime):
        return f"{date_words(value)} {value:%H:%M} UTC"
    if isinstance(value, dt.date):
        return date_words(value)
    if isinstance(value, str):
        return value
    return number_words(value, unit, currency)


def short_words(value: Value, unit: Unit, currency: str = "") -> str:
    """As `words`, but large counts and money are rounded: `£1.2m`, `18.4k`. For headlines."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return words(value, unit, currency)
    if unit == "money":
        major = value / 10 ** EXPONENTS.get(currency, 2)
        sign, text = _signed(_compact(abs(major)) if abs(major) >= 100 else "", major)
        return _priced(sign, text, currency) if text else words(value, unit, currency)
    if unit in ("count", "number") and abs(value) >= 10_000:
        sign, text = _signed(_compact(abs(value)), value)
        return sign + text
    return words(value, unit, currency)


def range_words(low: float, high: float, unit: Unit, currency: str = "") -> str:
    """The ends of a band, counts and money in whole numbers: `41k to 58k`, `4.7 % to 7.1 %`."""
    whole = unit in ("count", "money")
    ends = (round(v) if whole or abs(v) >= 100 else v for v in (low, high))
    return " to ".join(short_words(v, unit, currency) for v in ends)


def number_words(value: float, unit: Unit, currency: str = "") -> str:
    """A number with its unit."""
    match unit:
        case "money":
            return money_words(value, currency)
        case "share":
            return share_words(value)
        case "points":
            return f"{_trimmed(value * 100, 1)} pts"
        case "change":
            return f"{_plus(_trimmed(value * 100, 1 if abs(value) < 1 else 0))} %"
        case "days":
            text = _trimmed(value, 1)
            return f"{text} day{'' if text == '1' else 's'}"
        case "seconds":
            return duration_words(value)
        case "times":
            return f"{decimal_words(value)}×"
        case "score":
            return _trimmed(value, 1)
        case "count" | "number" | "text" | "date" | "instant" | "flag":
            return decimal_words(value)
        case _:
            assert_never(unit)


def money_words(cents: float, currency: str) -> str:
    """Minor units with the currency's sign, or its code: `£1,234.50`, `CHF 1,234.50`, `¥1,234`."""
    exponent = EXPONENTS.get(currency, 2)
    major = cents / 10**exponent
    sign, text = _signed(_in_signs(f"{abs(major):,.{exponent}f}"), major)
    return _priced(sign, text, currency)


def share_words(share: float) -> str:
    """A share 0..1 as per cent; never rounded to 0 or 100 where it is not."""
    percent = share * 100
    if 0 < abs(percent) < 0.01:
        return _in_signs("<0.01 %")
    if 99.95 <= percent < 100:
        return _in_signs(">99.9 %")
    return f"{_trimmed(percent, 2 if abs(percent) < 1 else 1)} %"


def decimal_words(value: float) -> str:
    """Whole numbers in full, others to three digits or so: `1,234`, `12.3`, `0.0123`."""
    if value == int(value):
        return _in_signs(f"{int(value):,}")
    size = abs(value)
    if size >= 1000:
        return _in_signs(f"{value:,.0f}")
    if size >= 0.001:
        digits = 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.1 else 4
        return _trimmed(value, digits)
    return _in_signs(f"{value:.2g}")


def duration_words(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 5 min`, `3.5 days`."""
    if seconds < 0:
        return f"-{duration_words(-seconds)}"
    if seconds < 10:
        return f"{_trimmed(seconds, 1)} s"
    whole = round(seconds)
    for size, name, below, below_name in ((3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size and whole < 48 * 3600:
            rest = whole % size // below
            return f"{whole // size} {name}" + (f" {rest} {below_name}" if rest else "")
    return f"{whole} s" if whole < 60 else f"{_trimmed(whole / 86400, 1)} days"


def date_words(day: dt.date) -> str:
    """`9 Oct 2026`."""
    return f"{day.day} {day:%b} {day.year}"


def change(now: Number, before: Number, unit: Unit) -> str | None:
    """How a value moved, with its sign: `+12 %`, or `+0.4 pts` for shares, `-3` for scores.

    None where it can't be said: a value is unknown, or the base is zero or below.
    """
    if now is None or before is None:
        return None
    if unit in ("share", "points", "change", "score"):
        difference = (now - before) * (1 if unit == "score" else 100)
        text = _trimmed(difference, 1 if abs(difference) >= 0.1 else 2)
        return _plus(text) + ("" if unit == "score" else " pts")
    if before <= 0:
        return None if now != before else "±0 %"
    relative = (now - before) / before * 100
    if not math.isfinite(relative):  # before was next to nothing
        return None
    if relative >= 1000:
        return f"×{decimal_words(round(now / before, 1))}"
    return f"{_plus(_trimmed(relative, 0 if abs(relative) >= 9.95 else 1))} %"


def moved(now: Number, before: Number, unit: Unit) -> str | None:
    """The same in words: `up 12 %`, `down 0.4 points`, `unchanged`, `up from 0`."""
    text = change(now, before, unit)
    if now is None or before is None:
        return None
    if text is None:
        return f"{'up' if now > 0 else 'down'} from 0" if before == 0 else None
    text = text.replace("pts", "points")
    if unit == "score" and not text.startswith("±"):
        text += " points"
    match text[0]:
        case "±":
            return "unchanged"
        case "×":
            return f"up {text[1:]}-fold"
        case "+":
            return f"up {text[1:]}"
        case _:
            return f"down {text[1:]}"


def counted(n: float, one: str, many: str = "") -> str:
    """`1 order`, `1,234 orders`, `2 people`."""
    return f"{decimal_words(n)} {one if n == 1 else many or one + 's'}"


def listed(names: list[str] | tuple[str, ...]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _in_signs(text: str) -> str:
    """A number in English signs, in those of the language that is spoken."""
    thousands, decimal, _ = NUMBERS[_language.get()]
    return text.translate(str.maketrans(",.", thousands + decimal))


def _priced(sign: str, text: str, currency: str) -> str:
    """An amount with its currency: before it in English, behind it elsewhere."""
    if _language.get() == "en" or not currency:
        return f"{sign}{_symbol(currency)}{text}"
    return f"{sign}{text}\u00a0{_symbol(currency).strip()}"


def _symbol(currency: str) -> str:
    return SYMBOLS.get(currency, f"{currency} " if currency else "")


def _compact(size: float) -> str:
    """Three digits or so of a size that is not negative: `950`, `9,500`, `18.4k`, `1.2m`, `3bn`."""
    for unit, name in zip((1e9, 1e6, 1e3), NUMBERS[_language.get()][2], strict=True):
        if size >= unit * (10 if unit == 1e3 else 1) * (1 - 0.0005 * (unit > 1e3)):
            scaled = size / unit
            return _trimmed(scaled, 0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2) + name
    return _in_signs(f"{size:,.0f}")


def _trimmed(value: float, digits: int) -> str:
    """Rounded to at most `digits` decimals, without trailing zeros or a negative zero."""
    text = f"{value:,.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else _in_signs(text)


def _signed(text: str, value: float) -> tuple[str, str]:
    """The minus sign to stand before a currency's, unless the text shows only zeros."""
    return ("-" if value < 0 and any(c in "123456789" for c in text) else ""), text


def _plus(text: str) -> str:
    """`+3`, `-3`, `±0`."""
    return f"±{text}" if text == "0" else text if text.startswith("-") else f"+{text}"
