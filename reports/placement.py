"""Puts text labels into a picture so that they overlap neither each other nor, if possible, the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]  # [points, 2], pixels
_ANGLES = np.arange(16) * (np.pi / 8)
_CROSSING_COST = 6.0  # pixels of distance that a label goes to free itself of one pixel of drawn line


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two share any area."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    def inside(self, other: Box) -> bool:
        """Whether this box lies within the other."""
        across = other.left <= self.left and self.right <= other.right
        return across and other.bottom <= self.bottom and self.top <= other.top

    def count(self, points: Points) -> int:
        """Return how many of the points lie in the box."""
        x, y = points[:, 0], points[:, 1]
        inside = (x > self.left) & (x < self.right) & (y > self.bottom) & (y < self.top)
        return int(np.count_nonzero(inside))


@dataclass(frozen=True)
class Label:
    """A text's size in pixels, the points it may stand beside, and how far away it may go."""

    width: float
    height: float
    anchors: tuple[tuple[float, float], ...]
    gap: float = 5.0  # and how near it may come
    reach: float = 160.0
    beside: bool = False  # it must leave the gap to the left or right, not only above or below
    tolerance: float = 1e9  # dropped where it would cost more than this


@dataclass(frozen=True)
class Placed:
    """Where a label went, and the anchor it belongs to."""

    box: Box
    anchor: tuple[float, float]
    distance: float


def place(
    labels: Sequence[Label], drawn: Points, area: Box, taken: Sequence[Box] = ()
) -> list[Placed | None]:
    """Place labels in turn, each where it costs least; None where there is no room for one.

    ``drawn`` samples everything a label should keep off, about a point per pixel of line; a label never
    overlaps ``taken`` nor the labels before it, and never leaves ``area``.
    """
    occupied = list(taken)
    placed: list[Placed | None] = []
    for label in labels:
        options = [
            (_cost(option, drawn), option)
            for option in _candidates(label)
            if option.box.inside(area) and not any(map(option.box.overlaps, occupied))
        ]
        cost, best = min(options, key=lambda pair: pair[0], default=(0.0, None))
        chosen = best if cost <= label.tolerance else None
        occupied += [chosen.box] if chosen else []
        placed.append(chosen)
    return placed


def _cost(option: Placed, drawn: Points) -> float:
    """Weigh what the label hides against its distance."""
    return option.distance + _CROSSING_COST * option.box.count(drawn)


def _candidates(label: Label) -> Iterator[Placed]:
    """Yield boxes around each anchor, near ones first, their nearest edge or corner at the distance."""
    for anchor_x, anchor_y in label.anchors:
        distance = label.gap
        while distance <= label.reach:
            for angle in _ANGLES:
                across, up = float(np.cos(angle)), float(np.sin(angle))
                x = anchor_x + distance * across + (_sign(across) - 1) * label.width / 2
                y = anchor_y + distance * up + (_sign(up) - 1) * label.height / 2
                box = Box(x, y, x + label.width, y + label.height)
                if not label.beside or max(box.left - anchor_x, anchor_x - box.right) >= 0.8 * label.gap:
                    yield Placed(box, (anchor_x, anchor_y), distance)
            distance *= 1.35


def _sign(value: float) -> int:
    """Return -1, 0 or 1; nearly zero counts as zero."""
    return 0 if abs(value) < 1e-9 else 1 if value > 0 else -1
