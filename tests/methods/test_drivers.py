"""Drivers: parts that add up, by hand and for any cells."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.methods.drivers import (
    Cell,
    Whole,
    culprit,
    drivers,
    marginal,
    summed,
    within_chance,
)

REST = ("rest",)


def ratio(cells: dict[tuple[str | None, ...], Cell], scale: float = 1.0) -> Whole:
    return Whole(sum(cells.values(), Cell(0, 0, 0, 0)), True, scale, scale)


def test_rate_and_mix_by_hand() -> None:
    # before: a 10 of 100, b 40 of 100, all 25 %; now: a 30 of 150, b 20 of 50, all 25 %
    cells = {("a",): Cell(30, 10, 150, 100), ("b",): Cell(20, 40, 50, 100)}
    whole = ratio(cells)
    a, b = sorted(drivers(whole, cells, REST), key=lambda d: d.key[0] or "")
    assert whole.change == 0
    # a: mean weight 5/8, rate +10 pts; weight +1/4 at a mean rate of 15 % against 25 %
    assert a.rate == pytest.approx(0.625 * 0.1)
    assert a.mix == pytest.approx(0.25 * (0.15 - 0.25))
    # b: unchanged rate of 40 %; weight -1/4 at 40 % against 25 %
    assert b.rate == pytest.approx(0)
    assert b.mix == pytest.approx(-0.25 * (0.4 - 0.25))
    assert a.part + b.part == pytest.approx(0)


def test_a_cell_that_was_not_there_before_is_all_mix() -> None:
    cells = {("a",): Cell(10, 10, 100, 100), ("new",): Cell(0, 0, 100, 0)}
    new = next(d for d in drivers(ratio(cells), cells, REST) if d.key == ("new",))
    assert (new.rate, new.before) == (0, None)
    assert new.mix == pytest.approx(0.5 * (0 - 0.075))


def test_sums_move_by_their_own_change() -> None:
    cells = {("a",): Cell(120, 100), ("b",): Cell(30, 50)}
    found = drivers(Whole(Cell(150, 150), False), cells, REST)
    assert [(d.key, d.part, d.weight) for d in found] == [(("a",), 20, 0.8), (("b",), -20, 0.2)]


def test_what_cells_share_is_a_part_of_its_own() -> None:
    # 10 people, of whom 4 stand in both cells; before 8, of whom 1 did
    cells = {("a",): Cell(8, 5), ("b",): Cell(6, 4)}
    found = drivers(Whole(Cell(10, 8), False), cells, REST)
    rest = next(d for d in found if d.key == REST)
    assert rest.part == (10 - 14) - (8 - 9)
    assert math.fsum(d.part for d in found) == 2
    assert culprit(found, 2, 0.1) is not rest


def test_the_culprit_is_the_cell_that_moves_against_the_rest() -> None:
    # the large cell falls like everything; the small one lost far more than that
    cells = {("large",): Cell(900, 1000), ("small",): Cell(10, 100), ("flat",): Cell(90, 100)}
    whole = Whole(Cell(1000, 1200), False)
    cause = culprit(drivers(whole, cells, REST), whole.change, 0.2)
    assert cause is not None
    assert cause.key == ("small",)
    assert culprit(drivers(whole, cells, REST), 0, 0.2) is None
    assert culprit(drivers(whole, cells, REST)[:1], whole.change, 0.2) is None


def test_an_unknown_value_is_no_culprit() -> None:
    cells = {(None,): Cell(0, 100), ("a",): Cell(100, 100)}
    whole = Whole(Cell(100, 200), False)
    assert culprit(drivers(whole, cells, REST), whole.change, 0.2) is None


def test_marginals_sum_the_other_dimensions() -> None:
    cells = {("m", "ads"): Cell(1, 2), ("m", "email"): Cell(3, 4), ("d", "ads"): Cell(5, 6)}
    assert marginal(cells, [0]) == {("m",): Cell(4, 6), ("d",): Cell(5, 6)}
    assert marginal(cells, [1, 0])["ads", "m"] == Cell(1, 2)


def test_small_shares_of_small_samples_differ_by_chance() -> None:
    assert within_chance(0.06, 0.05, 300, 300)
    assert not within_chance(0.06, 0.05, 30_000, 30_000)


counts = st.integers(0, 10**9)
cell = st.builds(Cell, counts, counts, counts, counts)
keys = st.tuples(st.sampled_from(["a", "b", "c", "d", None]), st.sampled_from(["x", "y", None]))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(keys, cell, min_size=1), cell, st.booleans())
def test_the_parts_always_add_up(
    cells: dict[tuple[str | None, ...], Cell], more: Cell, is_ratio: bool
) -> None:
    """Also where the cells do not make up the whole."""
    total = sum(cells.values(), more)
    if is_ratio and not (total.bottom and total.bottom_before):
        return
    whole = Whole(total, is_ratio)
    found = drivers(whole, cells, REST)
    size = max(abs(whole.now), abs(whole.before), *(abs(d.mix) + abs(d.rate) for d in found), 1)
    assert math.fsum(d.part for d in found) == pytest.approx(whole.change, abs=1e-9 * size)
    together = summed(found, whole, cells, ("all",))
    assert together.part == pytest.approx(whole.change, abs=1e-9 * size)
    sizes = [abs(d.part) for d in found]
    assert sizes == sorted(sizes, reverse=True)
