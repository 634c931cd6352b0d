"""Draws the roofline: one panel per machine, lines labelled at their ends."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from reports import style
from reports.naming import plain
from reports.roofline import Panel, Roof, Roofline, finding
from reports.roofline_labels import write_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOTE = (
    "Intensity counts compulsory bytes only: every operand and result moved once. "
    "The L2 and shared-memory roofs count each byte once, too;\n"
    "what is read again lowers them. Percentages: median over the layers, of the lower of DRAM roof and "
    "tensor peak. Grey numbers are M."
)
_TOP, _SIDE = 0.88, 0.6  # inches above and left of the panels


def draw(data: Roofline) -> Figure:
    """Return the figure."""
    panels = data.panels[: style.MAX_PANELS]
    columns = style.columns_for(len(panels))
    rows = math.ceil(len(panels) / columns)
    width = (style.WIDTH_INCHES - _SIDE - 0.1) / columns
    height = {1: 5.4, 2: 4.6, 3: 3.5, 4: 2.9}[columns]
    legend = 0.2 * (_legend_rows(data.layers) + _legend_rows(data.schemes))
    figure = style.new_figure(_TOP + rows * height + 0.45 + legend)
    style.headline(figure, _title(data.panels[0]), _NOTE + style.left_out(len(data.panels) - len(panels)))
    limits = _limits(data)
    for number, panel in enumerate(panels):
        column, row = number % columns, number // columns
        axes = style.inset(
            figure, _SIDE + column * width, _TOP + row * height + 0.38, width - 0.14, height - 0.62
        )
        _draw_panel(axes, panel, data, limits, large=columns <= 2)
        axes.tick_params(labelleft=column == 0, labelbottom=number + columns >= len(panels))
    _axis_names(figure, legend)
    _draw_legends(figure, data)
    return figure


def _title(first: Panel) -> str:
    text = finding(first)
    return f"{plain(first.machine, 30)} reaches {text}" if text else f"Roofline of {plain(first.machine, 60)}"


def _limits(data: Roofline) -> tuple[float, float, float, float]:
    """Return the shared range of the axes: points and ridges, with room for labels at both sides."""
    points = [point for panel in data.panels for line in panel.lines for point in line.points]
    tops = [roof.value for panel in data.panels for roof in panel.roofs if roof.flat]
    slopes = [roof.value for panel in data.panels for roof in panel.roofs if roof.key == "dram_gb_per_s"]
    ridge = 1000 * max(tops) / min(slopes) if tops and slopes else 0.0
    x = [point.intensity for point in points] or [1.0, 100.0]
    y = [point.tflops for point in points] or [1.0, 100.0]
    return min(x) / 4, max(6 * max(x), 4 * ridge), min(y) / 2.5, max([*y, *tops]) * 2.2


def _draw_panel(axes: Axes, panel: Panel, data: Roofline, limits: tuple[float, ...], large: bool) -> None:
    axes.set(xscale="log", yscale="log", xlim=limits[:2], ylim=limits[2:])
    axes.set_title(plain(panel.machine, 60), pad=14 if large else 12)
    note = finding(panel, each=large and len(data.schemes) <= 3)
    axes.text(
        0, 1.015, plain(note, 110), transform=axes.transAxes, size=style.SMALL_POINTS, color=style.MUTED
    )
    axes.grid(True, which="major", color="#eeeeee", linewidth=0.6)
    style.plain_log_ticks(axes)
    drawn = [_draw_roof(axes, roof, panel) for roof in panel.roofs]
    for line in panel.lines:
        look = style.series_style(data.layers.index(line.layer), data.schemes.index(line.scheme))
        x, y = [point.intensity for point in line.points], [point.tflops for point in line.points]
        axes.plot(x, y, **look, linewidth=1.0, markersize=3.6 if large else 2.8, markeredgewidth=0, alpha=0.9)
        drawn.append(_pixels(axes, x, y))
    write_labels(axes, panel, data, np.concatenate([*drawn, np.empty((0, 2))]), large)


def _draw_roof(axes: Axes, roof: Roof, panel: Panel) -> Any:
    """Draw a roof as far as it limits anything and return its pixels."""
    low, high = axes.get_xlim()
    flat = [other.value for other in panel.roofs if other.flat]
    if roof.flat:
        slopes = [other.value for other in panel.roofs if not other.flat]
        low = max(low, 1000 * roof.value / max(slopes)) if slopes else low
    elif flat:
        high = min(high, 1000 * max(flat) / roof.value)
    strong = roof.key in ("dram_gb_per_s", "tensor_tflops")
    x, y = [low, high], [roof.at(low), roof.at(high)]
    axes.plot(
        x,
        y,
        color=style.INK if strong else style.MUTED,
        linewidth=1.3 if strong else 0.8,
        linestyle="-" if strong else (0, (5, 3)),
    )
    return _pixels(axes, x, y)


def _pixels(axes: Axes, x: list[float], y: list[float]) -> Any:
    """Return the drawn line as a dense row of pixels."""
    if not x:
        return np.empty((0, 2))
    corners = axes.transData.transform(np.column_stack([x, y]))
    pieces = [corners[:1]]
    for start, end in pairwise(corners):
        steps = max(2, int(np.hypot(*(end - start))))
        pieces.append(start + (end - start) * np.linspace(0, 1, steps)[1:, None])
    return np.concatenate(pieces)


def _axis_names(figure: Figure, legend: float) -> None:
    height = figure.get_figheight()
    figure.text(
        0.5,
        (legend + 0.2) / height,
        "arithmetic intensity (flop per compulsory byte)",
        ha="center",
        size=style.TEXT_POINTS,
    )
    figure.text(0.008, 0.5, "achieved TFLOP/s", va="center", rotation=90, size=style.TEXT_POINTS)


def _legend_rows(names: tuple[str, ...]) -> int:
    return math.ceil(len(names) / _legend_columns(names))


def _legend_columns(names: tuple[str, ...]) -> int:
    return max(1, min(len(names), int(118 / (max(map(len, names)) + 6))))


def _draw_legends(figure: Figure, data: Roofline) -> None:
    """Say below the panels which colour is which layer and which marker which scheme."""
    from matplotlib.lines import Line2D

    looks = [style.series_style(number, number) for number in range(max(len(data.layers), len(data.schemes)))]
    layers = [
        Line2D([], [], color=look["color"], linestyle=look["linestyle"], label=layer)
        for layer, look in zip(data.layers, looks, strict=False)
    ]
    schemes = [
        Line2D(
            [],
            [],
            color=style.MUTED,
            linestyle="",
            marker=look["marker"],
            markersize=5,
            label=plain(scheme, 60),
        )
        for scheme, look in zip(data.schemes, looks, strict=False)
    ]
    above = 0.2 * _legend_rows(data.schemes) / figure.get_figheight()
    spacing = {"borderaxespad": 0.1, "columnspacing": 1.6, "handletextpad": 0.5}
    columns = _legend_columns(data.layers), _legend_columns(data.schemes)
    figure.legend(
        handles=layers, loc="lower center", bbox_to_anchor=(0.5, above), ncols=columns[0], **spacing
    )
    figure.legend(handles=schemes, loc="lower center", ncols=columns[1], **spacing)
