"""Pictures and their lines in the terminal: what would mislead the eye does not happen."""

import dataclasses
import datetime as dt

import pytest
import vl_convert as vlc

from analytics.result import Chart, Column, Result, Series, Table, Unit
from bot.render.chart import LABEL_LINES, alt_text, label_lines, spec, svg
from bot.render.text import chart_text, to_text

LONG = (
    "JUMBO BAG VINTAGE CHRISTMAS → JUMBO BAG 50'S CHRISTMAS",
    'A "quoted" <name> → ' + "B " * 99,
)


def drawn_texts(chart: Chart, currency: str = "") -> str:
    """The picture as SVG."""
    return str(vlc.vegalite_to_svg(spec(chart, currency)))


@pytest.mark.parametrize(("unit", "sign"), [("count", ""), ("number", ""), ("money", "£")])
def test_small_numbers_are_not_written_in_thousandths(unit: Unit, sign: str) -> None:
    """0.2 on an axis is 0.2: as "200m" it would read like millions."""
    in_minor_units = 100 if unit == "money" else 1
    values = tuple(v * in_minor_units for v in (0.13, 0.2))
    chart = Chart("Per person", "line", ("a", "b"), (Series("", values),), unit=unit)
    svg = drawn_texts(chart, "GBP")
    assert f">{sign}0.2" in svg
    assert "0m<" not in svg


@pytest.mark.parametrize(("value", "said"), [(2_000_000, "2m"), (2_000_000_000, "2bn")])
def test_large_numbers_are_written_as_in_the_words(value: int, said: str) -> None:
    """An axis says m and bn like the labels beside the bars."""
    chart = Chart("Items", "bar", ("a",), (Series("", (value,)),), unit="count")
    assert drawn_texts(chart).count(f">{said}<") == 2  # the axis, and the bar itself


def test_long_labels_stand_in_lines() -> None:
    """Both sides of a rule can be read whole, whatever signs are in them."""
    chart = Chart("Rules", "bar", LONG, (Series("lift", (8, 3)),), unit="times")
    svg = drawn_texts(chart)
    assert "→ JUMBO BAG 50" in svg
    assert "JUMBO BAG VINTAGE CHRISTMAS<" in svg
    assert "&quot;quoted&quot;" in svg or 'A "quoted"' in svg


def test_a_label_has_an_end() -> None:
    """A very long name takes a few lines, and the last says that it goes on."""
    lines = label_lines("word " * 200)
    assert len(lines) == LABEL_LINES
    assert lines[-1].endswith("…")


def test_sparklines_of_a_chart_share_a_scale() -> None:
    """What is a tenth of the other is drawn as a tenth of the other."""
    chart = Chart("Orders", "line", ("a", "b"), (Series("now", (100, 50)), Series("then", (10, 5))))
    now, then = chart_text(chart, "").splitlines()[1:]
    assert now.split()[0] == "█▄"
    assert then.split()[0] == "▁▁"
    alone = dataclasses.replace(chart, series=chart.series[1:])
    assert chart_text(alone, "").splitlines()[1].split()[0] == "█▄"


def wide_table(rows: int = 3) -> Table:
    """More columns than a terminal of 110 has room for, the last a sentence."""
    numbers = tuple(Column(f"n{i}", "Net revenue", "money") for i in range(6))
    columns = (Column("who", "Segment"), *numbers, Column("why", "What sets it apart"))
    row = ("Lapsed one-time buyers", *([123_456_789] * 6), "few orders, " * 8 + "none for long")
    return Table("Segments", columns, (row,) * rows)


def test_numbers_in_a_wide_table_are_never_cut() -> None:
    """Half a number is a wrong number."""
    text = to_text(Result("Segments", "Four segments.", (wide_table(),)), width=110)
    assert text.count("1,234,567.89") == 18


def test_long_texts_of_a_wide_table_stand_beneath_it() -> None:
    """A sentence in a narrow column would be a tower of words."""
    text = to_text(Result("Segments", "Four segments.", (wide_table(),)), width=110)
    assert text.count("  Lapsed one-time buyers: few orders, few orders,") == 3
    assert len(text.splitlines()) < 25


def test_a_waterfall_goes_on_where_the_step_before_ended() -> None:
    steps = Series("revenue", (100, 30, -80, 50))
    chart = Chart("r", "waterfall", ("before", "up", "down", "now"), (steps,), "count")
    drawn = spec(chart)
    bars = [(r["from"], r["to"], r["way"], r["said"]) for r in drawn["data"]["values"]]
    assert bars == [
        (0.0, 100, "level", "100"),
        (100, 130, "up", "+30"),
        (130, 50, "down", "-80"),
        (0.0, 50, "level", "50"),
    ]
    assert svg(chart).startswith("<svg")
    assert "before 100, up 30, down -80 and now 50" in alt_text(chart)


def test_small_steps_of_a_waterfall_are_drawn_large() -> None:
    steps = Series("conversion", (0.06, -0.01, 0.05))
    chart = Chart("c", "waterfall", ("before", "mobile", "now"), (steps,), "share")
    first, step, _ = spec(chart)["data"]["values"]
    assert first["from"] == pytest.approx(0.05 - 0.01 / 4)
    assert step["said"] == "-1 pts"


def test_a_long_line_of_blocks_is_condensed() -> None:
    days = tuple(dt.date(2026, 1, 1) + dt.timedelta(days=n) for n in range(365))
    chart = Chart("long", "line", days, (Series("x", tuple(range(365))),), "count")
    line = chart_text(chart, "").splitlines()[1].split()[0]
    assert len(line) <= 92
    assert (line[0], line[-1]) == ("▁", "█")


def test_a_band_is_an_area_and_lone_points_are_dots() -> None:
    days = tuple(dt.date(2026, 1, n) for n in range(1, 4))
    band = Series("usual", (2, 2, 2), (1, 1, 1), (3, 3, 3))
    chart = Chart("b", "line", days, (band, Series("unusual", (None, 5, None))), "count")
    drawn = spec(chart)
    assert [layer["mark"]["type"] for layer in drawn["layer"]] == ["area", "line", "point"]
    alone = [(r["series"], r["x"]) for r in drawn["data"]["values"] if r.get("alone")]
    assert alone == [("unusual", "2026-01-02")]
    assert svg(chart).startswith("<svg")
