"""Writes the names into a roofline panel: along the roofs, M beside its points, layers at the lines' ends."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from reports import style
from reports.naming import plain
from reports.placement import Box, Label, Placed, place
from reports.roofline import ROOFS, Line, Panel, Point, Roof, Roofline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_NAMES = 10  # of the lines of a scheme; the legend tells more of them apart
_LINE_PIXELS = 18.0  # height of a row of small text
_CHARACTER_PIXELS = 10.6  # width of a digit of small text; most letters are narrower

_ON_WHITE: dict[str, Any] = {
    "color": style.INK,
    "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.2},
}

Spot = tuple[float, float]


def write_labels(axes: Axes, panel: Panel, data: Roofline, drawn: Any, large: bool) -> None:
    """Name the roofs, then, in a large panel, the layers, then M; ``drawn`` [n, 2]: pixels to keep off."""
    edges = axes.get_window_extent()
    area = Box(edges.x0, edges.y0, edges.x1, edges.y1)
    taken: list[Box] = []
    for text, roof in _roof_names(panel.roofs):
        taken += _along_flat(axes, text, roof) if roof.flat else _along_slope(axes, text, roof, taken)
    if large:
        blocks, leaders = _name_lines(axes, panel, data, drawn, area, taken)
        taken += blocks
        drawn = np.concatenate([drawn, leaders])
    _name_sizes(axes, panel, data, drawn, area, taken, large)


def _roof_names(roofs: tuple[Roof, ...]) -> list[tuple[str, Roof]]:
    """Return each roof's text; flat roofs of one height share theirs."""
    named: list[tuple[str, Roof]] = []
    for roof in roofs:
        last = named[-1][1] if named else None
        if last and roof.flat and last.flat and abs(roof.value - last.value) < 0.03 * last.value:
            named[-1] = (f"{ROOFS[roof.key][0]} = {named[-1][0]}", last)
        else:
            named.append((roof.text, roof))
    return named


def _along_flat(axes: Axes, text: str, roof: Roof) -> list[Box]:
    """Write above the right end of a flat roof; return the room it takes."""
    x, y = axes.transData.transform((axes.get_xlim()[1], roof.value))
    _write(axes, text, (x - 3, y + 1), ha="right", va="bottom", **_ON_WHITE)
    return [Box(x - 3 - _width(text), y, x, y + _LINE_PIXELS)]


def _along_slope(axes: Axes, text: str, roof: Roof, taken: list[Box]) -> list[Box]:
    """Write along the lower part of a slope, moving up where another name is; return the room it takes."""
    low, high = axes.get_xlim()
    floor = max(low, 1000 * axes.get_ylim()[0] / roof.value)
    start, end = axes.transData.transform([(floor, roof.at(floor)), (high, roof.at(high))])
    along = (end - start) / np.hypot(*(end - start))
    across = np.array([-along[1], along[0]])
    for step in range(12, 400, 12):
        spot = start + along * step + across * 3
        boxes = _row_of_boxes(spot, along, across, _width(text))
        if not any(box.overlaps(other) for box in boxes for other in taken):
            break
    angle = math.degrees(math.atan2(along[1], along[0]))
    _write(
        axes, text, tuple(spot), ha="left", va="bottom", rotation=angle, rotation_mode="anchor", **_ON_WHITE
    )
    return boxes


def _row_of_boxes(spot: Any, along: Any, across: Any, length: float) -> list[Box]:
    """Cover a rotated row of text by squares along it."""
    half = _LINE_PIXELS / 2
    centres = [spot + across * half + along * step for step in np.arange(half, length, half)]
    return [Box(x - half, y - half, x + half, y + half) for x, y in centres]


def _name_sizes(
    axes: Axes, panel: Panel, data: Roofline, drawn: Any, area: Box, taken: list[Box], large: bool
) -> None:
    """Write M above or below its points, once per scheme, since M sets the intensity."""
    names, labels, seen = [], [], set()
    for scheme in data.schemes:
        points = [point for line in panel.lines if line.scheme == scheme for point in line.points]
        sizes = sorted({point.m for point in points})
        for m in sizes if len(sizes) <= 2 else sizes[::2] if large else [sizes[0], sizes[-1]]:
            column = sorted((point.tflops, point.intensity) for point in points if point.m == m)
            place_of_m = m, round(4 * math.log(column[0][1]))
            if place_of_m in seen:  # another scheme's points stand here with the same M
                continue
            seen.add(place_of_m)
            names.append(f"M={m}" if m == sizes[0] else str(m))
            spots = axes.transData.transform([(x, y) for y, x in (column[0], column[-1])])
            anchors = tuple((float(x), float(y)) for x, y in spots)
            labels.append(
                Label(_width(names[-1]) - 2, _LINE_PIXELS - 3, anchors, gap=9.0, reach=26.0, tolerance=50.0)
            )
    placed = place(labels, drawn, area, taken)
    for name, spot in zip(names, placed, strict=True):
        if spot:
            _write(axes, name, _centre(spot.box), ha="center", va="center", color=style.MUTED)


def _name_lines(
    axes: Axes, panel: Panel, data: Roofline, drawn: Any, area: Box, taken: list[Box]
) -> tuple[list[Box], Any]:
    """Write a block per scheme, its layers in the order of their lines, at the lines' first or last points.

    Return the room the blocks take and the pixels of their leaders.
    """
    blocks = []
    for scheme in data.schemes:
        lines = [line for line in panel.lines if line.scheme == scheme and line.points]
        blocks += [(plain(scheme, 24), lines)] if 0 < len(lines) <= MAX_NAMES else []
    labels = [_block(axes, name, lines) for name, lines in blocks]
    placed = place(labels, drawn, area, taken)
    leaders = [
        _write_block(axes, name, lines, spot, data.layers)
        for (name, lines), spot in zip(blocks, placed, strict=True)
        if spot
    ]
    return [spot.box for spot in placed if spot], np.concatenate([*leaders, np.empty((0, 2))])


def _block(axes: Axes, name: str, lines: list[Line]) -> Label:
    """Return the label of a scheme's block; it stands at the lowest first or the outermost last point."""
    starts, ends = _ends(axes, lines, 0), _ends(axes, lines, -1)
    anchors = (min(starts, key=lambda spot: spot[1]), max(ends))
    width = max(_width(text) for text in (name, *(line.layer for line in lines))) + 8
    return Label(width, (len(lines) + 1) * _LINE_PIXELS + 6, anchors, gap=24.0, reach=240.0, beside=True)


def _ends(axes: Axes, lines: list[Line], end: int) -> list[Spot]:
    """Return the pixels of the lines' first (0) or last (-1) points."""
    points: list[Point] = [line.points[end] for line in lines]
    spots = axes.transData.transform([(point.intensity, point.tflops) for point in points])
    return [(float(x), float(y)) for x, y in spots]


def _write_block(axes: Axes, name: str, lines: list[Line], placed: Placed, layers: tuple[str, ...]) -> Any:
    """Write the scheme, its layers below it, and a hairline from each to its line; return their pixels."""
    pixels = []
    box = placed.box
    at_start = placed.anchor in _ends(axes, lines, 0)
    spots = dict(zip(lines, _ends(axes, lines, 0 if at_start else -1), strict=True))
    _write(axes, name, (box.left + 4, box.top - _LINE_PIXELS / 2), weight="bold", color=style.INK)
    for row, line in enumerate(sorted(lines, key=lambda line: -spots[line][1]), start=1):
        colour = style.series_style(layers.index(line.layer), 0)["color"]
        y = box.top - _LINE_PIXELS * (row + 0.5)
        _write(axes, line.layer, (box.left + 4, y), color=colour)
        x, right = spots[line][0], box.left + 4 + _width(line.layer)
        edge = box.left if x < (box.left + box.right) / 2 else right
        ends = axes.transData.inverted().transform([(edge, y), spots[line]])
        axes.plot(*ends.T, color=colour, linewidth=0.6, alpha=0.7)
        pixels.append(np.linspace((edge, y), spots[line], 40))
    return np.concatenate(pixels)


def _write(axes: Axes, text: str, spot: Spot, **look: Any) -> None:
    """Write small text at a place given in pixels."""
    x, y = axes.transData.inverted().transform(spot)
    axes.text(x, y, text, **{"size": style.SMALL_POINTS, "va": "center", **look})


def _width(text: str) -> float:
    return _CHARACTER_PIXELS * len(text)


def _centre(box: Box) -> Spot:
    return (box.left + box.right) / 2, (box.bottom + box.top) / 2
