"""Chart -> Vega-Lite specification -> PNG or SVG, and the words for who can't see it.

The same specification is drawn here without a browser and live in one. Money is drawn in major
units and shares in per cent; the colours are Okabe and Ito's, which colour-blind people tell apart.
Slack shows pictures some 360 to 500 px wide: the letters are large beside the drawing.
"""

import datetime as dt
import json
import unicodedata
from typing import Any, assert_never

import vl_convert as vlc

from analytics.result import Chart, Number, Receipt, Series, Unit
from analytics.words import EXPONENTS, SYMBOLS, listed, short_words, words

COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999",
    "#332288", "#882255", "#117733", "#44AA99",
)  # fmt: skip
WIDTH_PX = 520
HEIGHT_PX = 300
#: Where bars lie, their labels take what is left of the width.
LYING_PX = 340
LABEL_CHARACTERS = 28
LABEL_LINES = 4
TICKS = 6
VEGA_LITE = "https://vega.github.io/schema/vega-lite/v5.json"


def png(chart: Chart, currency: str = "", notes: tuple[str, ...] = ()) -> bytes:
    """The picture at twice its size in pixels, for sharp screens."""
    return bytes(vlc.vegalite_to_png(drawable(spec(chart, currency, notes)), scale=2))


def svg(chart: Chart, currency: str = "", notes: tuple[str, ...] = ()) -> str:
    """The picture as SVG."""
    return str(vlc.vegalite_to_svg(drawable(spec(chart, currency, notes))))


def drawable(value: Any) -> Any:
    """A specification without control and half characters: a NUL would end the whole process."""
    if isinstance(value, str):
        return "".join(c for c in value if unicodedata.category(c) not in ("Cc", "Cs"))
    if isinstance(value, dict):
        return {drawable(k): drawable(v) for k, v in value.items()}
    return [drawable(v) for v in value] if isinstance(value, list | tuple) else value


def alt_text(chart: Chart, currency: str = "", limit: int = 1000) -> str:
    """The picture in words: its kind, its span, and for each series the ends and extremes."""
    kind = {"interval": "interval plot", "scatter": "scatter plot"}.get(chart.kind, chart.kind)
    said = [f"{chart.title}: {kind} chart, {len(chart.x)} {chart.x_label or 'values'}".rstrip()]
    said += [_series_words(chart, series, currency) for series in chart.series]
    text = ". ".join(said) + "."
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _series_words(chart: Chart, series: Series, currency: str) -> str:
    known = [(x, v) for x, v in zip(chart.x, series.values, strict=True) if v is not None]
    name = series.name or chart.y_label or "values"
    if not known:
        return f"{name}: unknown"
    if chart.kind in ("bar", "pie", "interval", "waterfall") and len(known) <= 8:
        pairs = [
            f"{_said(x, chart.x_unit, currency)} {short_words(v, chart.unit, currency)}"
            for x, v in known
        ]
        return f"{name}: {listed(pairs)}"
    low = min(known, key=lambda pair: pair[1])
    high = max(known, key=lambda pair: pair[1])
    if chart.kind == "scatter":
        return (
            f"{name}: {len(known)} points between {short_words(low[1], chart.unit, currency)} "
            f"and {short_words(high[1], chart.unit, currency)}"
        )
    return (
        f"{name}: from {short_words(known[0][1], chart.unit, currency)} to "
        f"{short_words(known[-1][1], chart.unit, currency)}, lowest "
        f"{short_words(low[1], chart.unit, currency)} at {_said(low[0], chart.x_unit, currency)}, "
        f"highest {short_words(high[1], chart.unit, currency)} at "
        f"{_said(high[0], chart.x_unit, currency)}"
    )


def _said(x: str | float | dt.date, unit: Unit, currency: str) -> str:
    return x if isinstance(x, str) else words(x, unit, currency)


def notes_of(receipt: Receipt | None) -> tuple[str, ...]:
    """What stands under a picture's title: its days, through when the data run, what is made up."""
    if receipt is None:
        return ()
    through = receipt.data_through
    said = [receipt.window, f"data through {through:%Y-%m-%d %H:%M} UTC" if through else ""]
    days = ", ".join(t for t in said if t)
    return tuple(t for t in (days, receipt.caution) if t)


def spec(chart: Chart, currency: str = "", notes: tuple[str, ...] = ()) -> dict[str, Any]:
    """The Vega-Lite specification; `notes` stand under the title (simulated, data through)."""
    drawn: dict[str, Any] = {
        "$schema": VEGA_LITE,
        "background": "white",
        "padding": 12,
        "title": {
            "text": wrapped(chart.title, 54),
            "subtitle": [line for note in notes for line in wrapped(note, 76)],
            "anchor": "start",
        },
        "data": {"values": records(chart, currency)},
        "config": CONFIG,
        "width": WIDTH_PX,
        "height": HEIGHT_PX,
    }
    match chart.kind:
        case "line" | "area":
            drawn |= _line(chart, currency)
        case "bar":
            drawn |= _bar(chart, currency)
        case "pie":
            drawn |= _pie(chart, currency)
        case "scatter":
            drawn |= _scatter(chart, currency)
        case "interval":
            drawn |= _interval(chart, currency)
        case "waterfall":
            drawn |= _waterfall(chart, currency)
        case _:
            assert_never(chart.kind)
    return drawn


CONFIG = {
    "font": "DejaVu Sans, Arial, sans-serif",
    "title": {"fontSize": 18, "subtitleFontSize": 13, "subtitleColor": "#616061", "offset": 14},
    "axis": {
        "labelFontSize": 14, "titleFontSize": 14, "titleFontWeight": "normal",
        "titleColor": "#616061", "gridColor": "#ebebeb", "domainColor": "#bbb", "tickColor": "#bbb",
        "labelLimit": 260,
    },
    "axisQuantitative": {"labelOverlap": True, "labelSeparation": 10},
    "legend": {
        "orient": "bottom", "labelFontSize": 14, "title": None, "labelLimit": 400, "columns": 4,
    },
    "view": {"stroke": None},
    "range": {"category": list(COLOURS)},
}  # fmt: skip


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of at most `width` characters, broken at blanks."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def records(chart: Chart, currency: str) -> list[dict[str, Any]]:
    """One record for each x and series that has a value there."""
    rows = []
    for series in chart.series:
        for i, x in enumerate(chart.x):
            value = series.values[i]
            if value is None and chart.kind != "line":
                continue
            row = {
                "x": scaled(x, chart.x_unit, currency),
                "series": series.name,
                "y": scaled(value, chart.unit, currency),
                "said": short_words(value, chart.unit, currency),
            }
            if chart.kind == "line" and value is not None:
                beside = (*series.values[max(i - 1, 0) : i], *series.values[i + 1 : i + 2])
                row["alone"] = all(v is None for v in beside)
            if series.low is not None and series.high is not None:
                row["low"] = scaled(series.low[i], chart.unit, currency)
                row["high"] = scaled(series.high[i], chart.unit, currency)
            rows.append(row)
    return rows


def scaled(value: Number | str | dt.date, unit: Unit, currency: str) -> Any:
    """A value as it is drawn: money in major units, points in per cent, dates in ISO 8601."""
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, str) or value is None:
        return value
    if unit == "money":
        return value / 10 ** EXPONENTS.get(currency, 2)
    return value * 100 if unit == "points" else value


def axis(unit: Unit, currency: str, label: str) -> dict[str, Any]:
    """How the numbers along an axis are written: as `short_words` writes them."""
    drawn: dict[str, Any] = {"title": label or None, "tickCount": TICKS}
    match unit:
        case "share":
            drawn["format"] = ".2~%"
        case "change":
            drawn["format"] = "+.2~%"
        case "points":
            drawn |= {"format": "+.2~f", "title": f"{label} (points)" if label else "points"}
        case "money":
            sign = SYMBOLS.get(currency, "")
            drawn["labelExpr"] = f"(datum.value < 0 ? '-' : '') + '{sign}' + {SHORT}"
            if not sign:
                drawn["title"] = f"{label} ({currency})" if label else currency
        case "count" | "number":
            drawn["labelExpr"] = f"(datum.value < 0 ? '-' : '') + {SHORT}"
        case _:
            unit_name = {"days": "days", "seconds": "seconds", "times": "times (×)"}.get(unit)
            drawn |= {"format": ".3~g", "title": label or unit_name}
    return drawn


#: A size without its sign. SI prefixes are for large numbers only: a milli reads like a million.
SHORT = (
    "(abs(datum.value) < 1 ? format(abs(datum.value), '.2~r') : "
    "replace(replace(format(abs(datum.value), '.3~s'), 'G', 'bn'), 'M', 'm'))"
)


def _colour(chart: Chart) -> dict[str, Any]:
    names = [s.name for s in chart.series]
    legend = {"columns": max(1, min(4, (WIDTH_PX + 60) // (9 * max(map(len, names)) + 30)))}
    return {
        "field": "series",
        "type": "nominal",
        "scale": {"domain": names, "range": list(COLOURS[: len(names)])},
        "legend": legend if len(names) > 1 else None,
    }


def _line(chart: Chart, currency: str) -> dict[str, Any]:
    dated = isinstance(chart.x[0], dt.date)
    x: dict[str, Any] = {"field": "x", "title": chart.x_label or None}
    if dated:
        x |= {"type": "temporal", "axis": {"format": _day_format(chart), "labelAngle": 0}}
        x["axis"]["tickCount"] = min(len(chart.x), TICKS)
    else:
        x |= {"type": "ordinal", "sort": None, "axis": {"labelAngle": 0 if _short(chart) else -40}}
    mark: dict[str, Any] = {
        "type": chart.kind,
        "interpolate": "linear",
        "strokeWidth": 3,
        "strokeJoin": "round",
    }
    if len(chart.x) <= 31:
        mark["point"] = {"size": 36, "filled": True}
    if chart.kind == "area":
        mark["opacity"] = 0.75
    y: dict[str, Any] = {
        "field": "y",
        "type": "quantitative",
        "axis": axis(chart.unit, currency, chart.y_label),
        "stack": "zero" if chart.kind == "area" else None,
        "scale": {"zero": True},
    }
    encoding = {"x": x, "y": y, "color": _colour(chart)}
    banded = any(s.low is not None and s.high is not None for s in chart.series)
    if not banded or chart.kind != "line":
        return {"mark": mark, "encoding": encoding}
    ends = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    colour = _colour(chart)
    if colour["legend"] is not None:
        colour["legend"] = {**colour["legend"], "symbolOpacity": 1}
    encoding["color"] = colour
    return {
        "layer": [
            {
                "transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
                "mark": {"type": "area", "opacity": 0.18},
                "encoding": {"x": x, **ends, "color": colour},
            },
            {"mark": mark | {"strokeWidth": 2}, "encoding": encoding},
            {
                "transform": [{"filter": "datum.alone"}],
                "mark": {"type": "point", "filled": True, "size": 130, "opacity": 1},
                "encoding": encoding,
            },
        ]
    }


def _day_format(chart: Chart) -> str:
    first, last = chart.x[0], chart.x[-1]
    if isinstance(first, dt.date) and isinstance(last, dt.date) and (last - first).days > 200:
        return "%b %Y"
    return "%-d %b"


def _waterfall(chart: Chart, currency: str) -> dict[str, Any]:
    """Lying bars that go on where the one above ends; the first and the last are whole levels.

    Levels begin at zero, or near the smallest where the steps would be too small to be seen.
    """
    values = [scaled(v, chart.unit, currency) or 0 for v in chart.series[0].values]
    ends: list[float] = []
    for i, value in enumerate(values):
        level = i in (0, len(values) - 1)
        ends.append(value if level else ends[-1] + value)
    low, high = min(ends), max(ends)
    floor = low - (high - low) * 0.25 if low > 0.6 * high > 0 else min(0.0, low)
    rows = []
    for i, value in enumerate(values):
        level = i in (0, len(values) - 1)
        rows.append(
            {
                "x": str(chart.x[i]),
                "from": floor if level else ends[i - 1],
                "to": ends[i],
                "right": max(ends[i], floor if level else ends[i - 1]),
                "way": "level" if level else "up" if value >= 0 else "down",
                "said": short_words(chart.series[0].values[i], chart.unit, currency)
                if level
                else step_words(chart.series[0].values[i], chart.unit, currency),
            }
        )
    lines = {str(v): label_lines(str(v)) for v in chart.x}
    y = {
        "field": "x",
        "type": "nominal",
        "sort": list(lines),
        "title": None,
        "axis": {"labelLimit": 260, "labelExpr": f"({json.dumps(lines)})[datum.label]"},
    }
    x = {
        "field": "from",
        "type": "quantitative",
        "axis": axis(chart.unit, currency, chart.y_label),
        "scale": {"zero": floor == 0, "nice": True},
    }
    ways = {"level": COLOURS[7], "up": COLOURS[2], "down": COLOURS[5]}
    colour = {
        "field": "way",
        "type": "nominal",
        "scale": {"domain": list(ways), "range": list(ways.values())},
        "legend": None,
    }
    thick = max(26, 19 * max(map(len, lines.values())) + 8)
    return {
        "data": {"values": rows},
        "width": LYING_PX,
        "height": max(120, min(thick * len(rows), 1_000)),
        "layer": [
            {
                "mark": {"type": "bar"},
                "encoding": {"y": y, "x": x, "x2": {"field": "to"}, "color": colour},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 4, "fontSize": 13, "color": "#444"},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "right"},
                    "text": {"field": "said", "type": "nominal"},
                },
            },
        ],
    }


def step_words(value: Number, unit: Unit, currency: str) -> str:
    """A step with its sign; between shares it is points."""
    said = short_words(value, "points" if unit == "share" else unit, currency)
    return f"+{said}" if value is not None and value > 0 else said


def _short(chart: Chart) -> bool:
    return sum(len(str(x)) for x in chart.x) <= 50


def _bar(chart: Chart, currency: str) -> dict[str, Any]:
    """Upright while the labels fit beneath; else lying, with the labels to the left."""
    lying = not _short(chart) or len(chart.x) > 12
    order = [scaled(x, chart.x_unit, currency) for x in chart.x]
    lines = {str(x): label_lines(str(x)) for x in order}
    category: dict[str, Any] = {
        "field": "x",
        "type": "nominal",
        "sort": order,
        "title": chart.x_label or None,
        "axis": {"labelAngle": 0, "labelLimit": 260 if lying else 150},
    }
    if lying:
        category["axis"]["labelExpr"] = f"({json.dumps(lines)})[datum.label]"
    value = {
        "field": "y",
        "type": "quantitative",
        "axis": axis(chart.unit, currency, chart.y_label),
        "scale": {"zero": True},
    }
    a, b = ("y", "x") if lying else ("x", "y")
    encoding: dict[str, Any] = {a: category, b: value, "color": _colour(chart)}
    if len(chart.series) > 1:
        names = [s.name for s in chart.series]
        encoding[f"{a}Offset"] = {"field": "series", "sort": names}
    text = {"align": "left", "dx": 4} if lying else {"dy": -7}
    layers = [
        {"mark": {"type": "bar", "cornerRadiusEnd": 2}, "encoding": encoding},
        {
            "mark": {"type": "text", "fontSize": 13, "color": "#444", **text},
            "encoding": {
                k: v for k, v in encoding.items() if k != "color"
            } | {"text": {"field": "said", "type": "nominal"}},
        },
    ]  # fmt: skip
    bars = len(chart.x) * len(chart.series)
    thick = max(26 * len(chart.series), 19 * max(map(len, lines.values())) + 8)
    size = (
        {"width": LYING_PX, "height": max(120, min(thick * len(chart.x), 1_000))} if lying else {}
    )
    return {"layer": layers if bars <= 40 else layers[:1], **size}


def label_lines(label: str) -> list[str]:
    """A label in a few lines; what is longer ends in “…”."""
    lines = wrapped(label, LABEL_CHARACTERS)
    if len(lines) > LABEL_LINES:
        lines = [*lines[: LABEL_LINES - 1], lines[LABEL_LINES - 1] + "…"]
    return lines


def _pie(chart: Chart, currency: str) -> dict[str, Any]:
    order = [str(scaled(x, chart.x_unit, currency)) for x in chart.x]
    theta = {"field": "y", "type": "quantitative", "stack": True}
    colour = {
        "field": "x",
        "type": "nominal",
        "scale": {"domain": order, "range": list(COLOURS[: len(order)])},
        "legend": {"orient": "right", "columns": 1},
    }
    encoding = {"theta": theta, "color": colour, "order": {"field": "y", "sort": "descending"}}
    return {
        "width": LYING_PX,
        "encoding": encoding,
        "layer": [
            {"mark": {"type": "arc", "innerRadius": 60, "outerRadius": 130, "stroke": "white"}},
            {
                "mark": {"type": "text", "radius": 160, "fontSize": 14},
                "encoding": {"text": {"field": "said"}, "color": {"value": "#333"}},
            },
        ],
    }


def _scatter(chart: Chart, currency: str) -> dict[str, Any]:
    def along(field: str, unit: Unit, label: str) -> dict[str, Any]:
        return {
            "field": field,
            "type": "quantitative",
            "axis": axis(unit, currency, label),
            "scale": {"zero": True, "nice": True},
        }

    encoding = {
        "x": along("x", chart.x_unit, chart.x_label),
        "y": along("y", chart.unit, chart.y_label),
        "color": _colour(chart),
    }
    mark = {"type": "circle", "size": 50, "opacity": 0.65}
    return {"mark": mark, "encoding": encoding}


def _interval(chart: Chart, currency: str) -> dict[str, Any]:
    order = [str(x) for x in chart.x]
    y = {
        "field": "x",
        "type": "nominal",
        "sort": order,
        "title": None,
        "axis": {"labelLimit": 220},
    }
    if len(chart.series) > 1:
        offset = {"yOffset": {"field": "series", "sort": [s.name for s in chart.series]}}
    else:
        offset = {}
    values = axis(chart.unit, currency, chart.y_label)
    wide = max(map(len, order)) > 14
    x = {"field": "low", "type": "quantitative", "axis": values, "scale": {"nice": True}}
    return {
        "width": LYING_PX + 60 if wide else WIDTH_PX,
        "height": max(110, 56 * len(chart.x) * len(chart.series)),
        "layer": [
            {
                "mark": {"type": "rule", "color": "#888", "strokeDash": [4, 4]},
                "encoding": {"x": {"datum": 0, "type": "quantitative"}},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 4, "strokeCap": "round", "opacity": 0.55},
                "encoding": {"y": y, "x": x, "x2": {"field": "high"}, "color": _colour(chart)}
                | offset,
            },
            {
                "mark": {"type": "point", "filled": True, "size": 130, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": {"field": "y", "type": "quantitative"},
                    "color": _colour(chart),
                }
                | offset,
            },
            {
                "mark": {"type": "text", "dy": -15, "fontSize": 14, "color": "#333"},
                "encoding": {
                    "y": y,
                    "x": {"field": "y", "type": "quantitative"},
                    "text": {"field": "said"},
                }
                | offset,
            },
        ],
    }
