"""Boxes: a group told by bounds, as far as bounds tell it."""

import numpy as np

from analytics.methods.portraits.boxes import Boxes, boxes_of


def test_a_box_that_was_planted_is_found() -> None:
    rng = np.random.default_rng(1)
    table = rng.uniform(0, 100, (2_000, 2))
    inside = (table[:, 0] > 20) & (table[:, 0] <= 60) & (table[:, 1] <= 50)
    found = boxes_of(table, inside, ("a", "b"))
    assert (found.holds(table) == inside).all()
    ((low, high), (none, top)) = found.boxes[0]
    assert len(found.boxes) == 1
    assert none is None
    assert np.allclose([low, high, top], [20, 60, 50], atol=1)
    assert min(found.reach, found.purity) > 0.98


def test_bounds_exclude_below_and_include_above() -> None:
    box = Boxes(("a",), (((1.0, 3.0),),), 1, 1)
    assert box.holds(np.array([[1.0], [1.5], [3.0], [3.1]])).tolist() == [False, True, True, False]


def test_a_group_without_any_shape_is_not_told() -> None:
    rng = np.random.default_rng(2)
    found = boxes_of(rng.normal(size=(1_000, 3)), rng.random(1_000) < 0.3, ("a", "b", "c"))
    assert found.reach < 0.3
    assert found.purity < 0.45


def test_everybody_and_nobody() -> None:
    table = np.arange(20.0)[:, None]
    everybody = boxes_of(table, np.ones(20, dtype=bool), ("a",))
    assert everybody.holds(table).all()
    assert (everybody.reach, everybody.purity) == (1, 1)
    assert boxes_of(table, np.zeros(20, dtype=bool), ("a",)).boxes == ()
