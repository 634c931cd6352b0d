"""Draws published beside simulated: a line per claim, on a logarithmic axis of simulated / published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports import style
from reports.reproduction import UNITS, Reproduction, Row, number, value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOP, _ROW, _GAP = 0.85, 0.2, 0.55  # inches
_LEFT, _WIDTH = 6.1, 3.7
_FACTORS = (0.25, 0.5, 0.8, 1, 1.25, 2, 4)


def draw(found: Sequence[Reproduction]) -> Figure:
    """Return the figure: a panel per paper."""
    heights = [_ROW * max(2, len(each.rows)) for each in found]
    figure = style.new_figure(_TOP + sum(heights) + _GAP * len(found) + 0.1)
    style.headline(
        figure,
        "Published and simulated",
        "A point per claim: simulated / published, with the range over its matmuls or models; grey: a published range.",
    )
    top = _TOP
    for each, height in zip(found, heights, strict=True):
        _panel(style.inset(figure, _LEFT, top, _WIDTH, height), each)
        top += height + _GAP
    return figure


def _panel(axes: Axes, each: Reproduction) -> None:
    for index, row in enumerate(each.rows):
        _line(axes, index, row)
    axes.axvline(1, color=style.FAINT, zorder=0)
    least, most = _limits(each.rows)
    axes.set(xscale="log", xlim=(least, most), ylim=(len(each.rows) - 0.4, -0.6))
    factors = [factor for factor in _FACTORS if least <= factor <= most]
    axes.set_xticks(factors, [f"{factor:g}" for factor in factors])
    axes.minorticks_off()
    axes.set_yticks(range(len(each.rows)), [_label(row) for row in each.rows])
    axes.tick_params(axis="y", length=0)
    axes.set_title(each.title)


def _limits(rows: Sequence[Row]) -> tuple[float, float]:
    least = min(min(row.simulated_low, row.published_low) / row.nearest for row in rows)
    most = max(max(row.simulated_high, row.published_high) / row.nearest for row in rows)
    return min(0.7, least / 1.1), max(1.4, most * 1.1)


def _line(axes: Axes, index: int, row: Row) -> None:
    colour = style.LINE_COLOURS[0]
    scale = row.nearest
    axes.plot(
        [row.simulated_low / scale, row.simulated_high / scale], [index, index], color=colour, linewidth=1.2
    )
    axes.plot([row.ratio], [index], "o", color=colour, markersize=4.5)
    if row.published_low < row.published_high:
        ends = [row.published_low / scale, row.published_high / scale]
        axes.plot(ends, [index, index], color=style.FAINT, linewidth=6, solid_capstyle="butt", zorder=0)


def _label(row: Row) -> str:
    published = value_text(row.published_low, row.published_high, row.quantity)
    where = f" ({row.machine})" if row.machine and row.machine not in row.claim.lower() else ""
    return (
        f"{row.claim}{where}: published {published}, simulated {number(row.simulated)} {UNITS[row.quantity]}"
    )
