"""Draws simulated against measured time: one colour per scheme, the farthest off by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports import style
from reports.placement import Box, Label, place
from reports.validation import BAND_PCT, Validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED_SCHEMES = 3  # in the headline; the legend has all
HEIGHT, TOP, LEFT = 6.6, 0.95, 0.75  # inches
NOTE = (
    "Each dot is one kernel, tile and shape in the steady state of decoding, simulated at the clock recorded "
    "while it was measured.\nThe band is ±10 %. Rows farthest outside it are named: tile, M, N×K."
)


def draw(data: Validation) -> Figure:
    """Return the figure."""
    if not data.dots:
        return style.words_only("Simulated against measured time", "No row has a time.")
    figure = style.new_figure(HEIGHT, 8.0)
    style.headline(figure, _title(data), NOTE)
    axes = style.inset(figure, LEFT, TOP, 8.0 - LEFT - 0.2, HEIGHT - TOP - 0.6)
    limits = _limits(data)
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits)
    axes.set_xlabel("measured time (µs)")
    axes.set_ylabel("simulated time at the recorded clock (µs)")
    axes.grid(True, which="major", color="#eeeeee", linewidth=0.6)
    style.plain_log_ticks(axes)
    _draw_band(axes, limits)
    _draw_dots(axes, data)
    _draw_labels(axes, data)
    return figure


def _title(data: Validation) -> str:
    parts = [f"{scheme}: MAPE {each.mape_pct:.1f} %" for scheme, each in data.accuracy.items()]
    share = f"{data.inside} of {len(data.dots)} kernels within ±{BAND_PCT:.0f} % on {', '.join(data.gpus)}"
    return f"{share} ({', '.join(parts)})" if len(parts) <= NAMED_SCHEMES else share


def _limits(data: Validation) -> tuple[float, float]:
    values = [value for dot in data.dots for value in (dot.measured_us, dot.simulated_us)]
    return min(values) / 1.25, max(values) * 1.25


def _draw_band(axes: Axes, limits: tuple[float, float]) -> None:
    line = np.array(limits)
    share = BAND_PCT / 100
    axes.fill_between(line, line * (1 - share), line * (1 + share), color="#ececec", zorder=0, linewidth=0)
    axes.plot(line, line, color=style.MUTED, linewidth=0.8, zorder=1)


def _draw_dots(axes: Axes, data: Validation) -> None:
    for number, (scheme, each) in enumerate(data.accuracy.items()):
        own = [dot for dot in data.dots if dot.scheme == scheme]
        look = style.series_style(number, number)
        r = "" if each.pearson_r is None else f", r {each.pearson_r:.4f}"
        axes.plot(
            [dot.measured_us for dot in own],
            [dot.simulated_us for dot in own],
            color=look["color"],
            marker=look["marker"],
            linestyle="",
            markersize=4,
            alpha=0.75,
            markeredgewidth=0,
            label=f"{scheme}: {each.cases} kernels, MAPE {each.mape_pct:.1f} %, max {each.max_ape_pct:.1f} %{r}",
        )
    axes.legend(loc="upper left", handletextpad=0.3)


def _draw_labels(axes: Axes, data: Validation) -> None:
    """Name the rows farthest off, where there is room for their names."""
    dots = axes.transData.transform([(dot.measured_us, dot.simulated_us) for dot in data.dots])
    middle = axes.transData.transform(np.column_stack([np.geomspace(*_limits(data), 400)] * 2))
    texts = [
        axes.text(0, 0, f"{dot.label} {dot.error_pct:+.0f} %", size=style.SMALL_POINTS) for dot in data.worst
    ]
    renderer_boxes = [text.get_window_extent() for text in texts]
    anchors = axes.transData.transform(
        [(dot.measured_us, dot.simulated_us) for dot in data.worst] or [(1, 1)]
    )
    labels = [
        Label(box.width + 4, box.height, ((float(x), float(y)),), gap=6.0)
        for box, (x, y) in zip(renderer_boxes, anchors, strict=False)
    ]
    frame = axes.get_window_extent()
    area = Box(frame.x0, frame.y0, frame.x1, frame.y1)
    legend = axes.get_legend()
    taken = [legend.get_window_extent()] if legend is not None else []
    boxes = [Box(each.x0, each.y0, each.x1, each.y1) for each in taken]
    for text, placed in zip(texts, place(labels, np.concatenate([dots, middle]), area, boxes), strict=True):
        if placed is None:
            text.remove()
            continue
        position = axes.transData.inverted().transform((placed.box.left + 2, placed.box.bottom))
        text.set(position=position, color=style.MUTED, verticalalignment="bottom")
        start = (
            placed.box.left if placed.box.left > placed.anchor[0] else placed.box.right,
            placed.box.bottom + 4,
        )
        line = axes.transData.inverted().transform([placed.anchor, start])
        axes.plot(*line.T, color=style.FAINT, linewidth=0.7, zorder=1)
