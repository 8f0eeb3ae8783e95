"""segment and portrait of more buyers than are read at once: found in a sample, asked of everybody.

The demo's buyers of a year are four thousand; here a thousand are too many.
"""

import dataclasses

import numpy as np
import pytest

from analytics.command import Context
from analytics.commands.segment import cell_name, placed
from analytics.errors import TooLargeError
from analytics.methods.portraits.clustering import one_thread
from analytics.period import parse_period
from analytics.result import Figure, Note, Result, Table
from analytics.saved import RFM
from analytics.scope import Filters
from analytics.segments import Groups, Known, Method, group, known_people
from bot.dispatch import answer
from bot.moving import comparable

YEAR = "last 365 days"
MOST = 1_000
TOO_MANY = "analytics.segments.MOST_PEOPLE"


@pytest.fixture
def ctx(shop: Context, monkeypatch: pytest.MonkeyPatch) -> Context:
    """The demo, where more than MOST people do not fit."""
    monkeypatch.setattr(TOO_MANY, MOST)
    return dataclasses.replace(shop, store=shop.store.fork())


def read(ctx: Context, method: Method) -> Known:
    return known_people(ctx, parse_period(YEAR, ctx.today), Filters(), method)


def grouped(known: Known, method: Method, k: int | None) -> Groups:
    with one_thread():
        return group(known, k, method, "log")


def everybody(ctx: Context, method: Method, monkeypatch: pytest.MonkeyPatch) -> Known:
    with monkeypatch.context() as patched:
        patched.setattr(TOO_MANY, 10**9)
        return read(ctx, method)


def notes(result: Result) -> str:
    return " ".join(p.text for p in result.parts if isinstance(p, Note))


def columns(result: Result, title: str) -> dict[str, list[object]]:
    table = next(p for p in result.parts if isinstance(p, Table) and p.title.startswith(title))
    return dict(
        zip([c.key for c in table.columns], map(list, zip(*table.rows, strict=True)), strict=True)
    )


def test_a_sample_is_read_and_all_are_counted(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, full = read(ctx, "kmeans"), everybody(ctx, "kmeans", monkeypatch)
    assert len(full.people) > 4 * MOST
    assert 0.8 * MOST < len(known.people) < 1.2 * MOST
    assert set(known.people["person_id"]) < set(full.people["person_id"])
    assert known.total == full.total
    assert known.total.people == len(full.people)
    assert known.total.revenue == full.people["revenue"].sum()
    assert (known.returned, known.visitors) == (full.returned, full.visitors)


@pytest.mark.parametrize("method", ["kmeans", "visits"])
def test_the_engine_assigns_everybody_as_the_model_here_does(
    method: Method, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = read(ctx, method)
    groups = grouped(known, method, 4)
    found = placed(ctx, known, groups)
    full = everybody(ctx, method, monkeypatch).people
    assert groups.model is not None
    labels = groups.model.labels([full[t].to_numpy(np.float64) for t in groups.model.traits])
    assert {k: (s.people, s.revenue) for k, s in found.sizes.items()} == {
        k: ((labels == k).sum(), full["revenue"][labels == k].sum()) for k in range(4)
    }


def test_the_engine_counts_the_cells_of_the_grid(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = read(ctx, "rfm")
    groups = grouped(known, "rfm", None)
    found = placed(ctx, known, groups)
    full = everybody(ctx, "rfm", monkeypatch).people
    assert groups.grid is not None
    late, much = groups.grid.scores(*(full[key].to_numpy(np.float64) for key in RFM))
    cells = list(zip(late.tolist(), much.tolist(), strict=True))
    assert found.cells == {c: cells.count(c) for c in set(cells)}
    names = np.array([cell_name(*c) for c in cells])
    assert {p.name: found.sizes[p.label].people for p in groups.portraits} == {
        p.name: (names == p.name).sum() for p in groups.portraits
    }


@pytest.mark.parametrize("text", [f"segment {YEAR} k 4", f"segment by rfm {YEAR}"])
def test_numbers_are_of_all_and_what_is_not_is_said(
    text: str, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = answer(text, ctx).result
    full = everybody(ctx, "kmeans", monkeypatch)
    segments = columns(said, "Segments")
    assert sum(segments["people"]) == len(full.people)  # type: ignore[arg-type]
    assert sum(segments["revenue"]) == full.people["revenue"].sum()  # type: ignore[arg-type]
    assert sum(segments["people_share"]) == pytest.approx(1)  # type: ignore[arg-type]
    assert f"{len(full.people):,} buyers" in said.headline
    assert f"of {len(full.people):,} people (by a hash of their ids)" in notes(said)
    assert "people and revenue are of all" in notes(said)


@pytest.mark.parametrize("text", [f"segment {YEAR} k 4", f"segment by rfm {YEAR}"])
def test_every_engine_draws_and_assigns_the_same(
    text: str, shops: dict[str, Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TOO_MANY, MOST)
    said = [comparable(answer(text, ctx).result) for ctx in shops.values()]
    assert len(said) == 3
    assert said[1:] == said[:-1]


def test_what_the_engine_cannot_assign_is_refused(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TooLargeError, match="quantiles takes up to 1,000 people, and 4,"):
        answer(f"segment scaling quantile {YEAR}", ctx)
    monkeypatch.setattr("analytics.segments.DBSCAN_LIMIT", 2 * MOST)
    with pytest.raises(TooLargeError, match="DBSCAN takes up to 2,000 people, and 4,"):
        answer(f"segment by dbscan {YEAR}", ctx)


def test_a_portrait_knows_a_person_beyond_the_sample(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = set(read(ctx, "kmeans").people["person_id"])
    full = everybody(ctx, "kmeans", monkeypatch).people
    person = next(p for p in full["person_id"] if p not in sample)
    said = answer(f'portrait user "{person}" {YEAR}', ctx).result
    orders = next(p for p in said.parts if isinstance(p, Figure) and p.label == "Orders")
    assert orders.value == full["orders"][full["person_id"] == person].iloc[0]
    assert "Compared with a stable sample of about 99" in notes(said)
    assert f"of {len(full):,} people (by a hash of their ids) who paid" in notes(said)


def test_a_portrait_counts_all_of_a_segment(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    known = read(ctx, "rfm")
    found = placed(ctx, known, grouped(known, "rfm", None))
    said = answer(f"portrait segment champions {YEAR}", ctx).result
    figures = {p.label: p.value for p in said.parts if isinstance(p, Figure)}
    champions = sum(n for cell, n in found.cells.items() if cell_name(*cell) == "Champions")
    assert figures["People"] == champions
    assert figures["Share of buyers"] == pytest.approx(champions / known.total.people)
    assert "Medians and effects are of a stable sample" in notes(said)
