"""Labels keep off each other, off the data and inside the picture."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.placement import Box, Label, place

AREA = Box(0, 0, 400, 300)
NOTHING = np.empty((0, 2))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 300)), min_size=1, max_size=8))
def test_labels_never_overlap_nor_leave_the_area(anchors: list[tuple[int, int]]) -> None:
    labels = [Label(60, 14, (anchor,)) for anchor in anchors]
    boxes = [spot.box for spot in place(labels, NOTHING, AREA) if spot]
    assert boxes
    assert all(box.inside(AREA) for box in boxes)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_label_goes_where_nothing_is_drawn() -> None:
    line = np.column_stack([np.arange(400.0), np.full(400, 158.0)])  # just above the anchor
    (spot,) = place([Label(60, 14, ((200.0, 150.0),))], line, AREA)
    assert spot is not None
    assert spot.box.top <= 158.0
    assert spot.distance == 5.0


def test_label_without_room_is_dropped() -> None:
    assert place([Label(500, 14, ((200.0, 150.0),))], NOTHING, AREA) == [None]
    assert place([Label(60, 14, ((200.0, 150.0),))], NOTHING, AREA, [AREA]) == [None]


def test_intolerant_label_is_dropped_rather_than_put_on_the_data() -> None:
    everywhere = np.stack(np.meshgrid(np.arange(0, 400, 2.0), np.arange(0, 300, 2.0)), axis=-1).reshape(-1, 2)
    assert place([Label(60, 14, ((200.0, 150.0),), tolerance=50.0)], everywhere, AREA) == [None]


def test_label_beside_its_anchor_leaves_the_gap() -> None:
    (spot,) = place([Label(60, 100, ((200.0, 150.0),), gap=20.0, beside=True)], NOTHING, AREA)
    assert spot is not None
    assert max(spot.box.left - 200.0, 200.0 - spot.box.right) >= 16.0
