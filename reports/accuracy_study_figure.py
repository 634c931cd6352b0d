"""Draws the accuracy study: a line per scheme, then Tender over its number of groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports import style
from reports.accuracy_study import AccuracyStudy, groups_of
from workloads.accuracy.study import MINILM, GroupAccuracy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOP, _LINE, _BOTTOM, _GROUPS = 0.95, 0.19, 0.6, 2.2  # inches
_LEFT, _GAP = 1.6, 0.3
LEAST_LINES = 9  # of a panel, for its legend
LEAST_LOST = 1e-7  # float32's rounding
_WORDS = {MINILM: "MiniLM, middle of its layers"}
_TITLES = ("MiniLM, layer by layer", "MiniLM, embeddings", "synthetic LLM outliers")


def draw(study: AccuracyStudy) -> Figure:
    """Return the figure: three panels with a line per scheme, below them a panel per width of Tender's codes."""
    lines = _LINE * max(LEAST_LINES, len(study.encoder))
    figure = style.new_figure(_TOP + 0.1 + lines + _BOTTOM + (_GROUPS if study.groups else 0))
    style.headline(
        figure,
        "What number formats lose",
        "all-MiniLM-L6-v2 is a small encoder without the outlier channels of LLMs; on the right, matmuls with outliers "
        "as published, the error beside the other channels' share.",
    )
    width = (style.WIDTH_INCHES - _LEFT - 3 * _GAP) / 3
    panels = [
        style.inset(figure, _LEFT + index * (width + _GAP), _TOP + 0.1, width, lines) for index in range(3)
    ]
    for axes, title, fill in zip(panels, _TITLES, (_layers, _embeddings, _profiles), strict=True):
        fill(axes, study)
        axes.set_title(title)
        _lines(axes, study, axes is panels[0])
    if study.groups:
        _over_groups(figure, study, _TOP + 0.1 + lines + _BOTTOM + 0.15)
    return figure


def _lines(axes: Axes, study: AccuracyStudy, named: bool) -> None:
    count = len(study.encoder)
    axes.set_ylim(max(LEAST_LINES, count) - 0.4, -0.6)
    axes.set_yticks(range(count), [each.method for each in study.encoder] if named else [""] * count)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=style.FAINT, linewidth=0.5)
    axes.set_axisbelow(True)


def _layers(axes: Axes, study: AccuracyStudy) -> None:
    for line, each in enumerate(study.encoder):
        levels = [error.sqnr_db for error in each.layers]
        axes.plot([min(levels), max(levels)], [line, line], color=style.FAINT, linewidth=3)
        axes.plot([each.median_db], [line], "o", color=style.LINE_COLOURS[0], markersize=4)
    axes.set_xlabel("SQNR, dB: middle and range")


def _embeddings(axes: Axes, study: AccuracyStudy) -> None:
    for line, each in enumerate(study.encoder):
        lost = [max(LEAST_LOST, 1 - cosine) for cosine in (each.cosine, each.least_cosine)]
        axes.plot(lost, [line, line], color=style.FAINT, linewidth=3)
        axes.plot(lost[:1], [line], "o", color=style.LINE_COLOURS[0], markersize=4)
        axes.annotate(
            f"{each.neighbours_pct:.0f} %",
            (1, line),
            xycoords=("axes fraction", "data"),
            size=style.SMALL_POINTS,
            ha="right",
            va="center",
            color=style.MUTED,
        )
    axes.set_xscale("log")
    axes.set_xlim(right=100)
    ticks = [10.0**power for power in range(-6, 1, 2)]
    axes.set_xticks(ticks, [f"{each:g}" for each in ticks])
    axes.minorticks_off()
    axes.set_xlabel("1 - cosine, mean to worst; same nearest text")


def _profiles(axes: Axes, study: AccuracyStudy) -> None:
    for index, profile in enumerate(study.profiles):
        levels = [study.ordinary_db(each.method, profile) for each in study.encoder]
        look = style.series_style(index, index)
        axes.plot(
            levels,
            range(len(levels)),
            color=look["color"],
            marker=look["marker"],
            linestyle="none",
            markersize=4,
            label=profile,
        )
    axes.legend(fontsize=style.SMALL_POINTS, loc="lower right", handletextpad=0.1, borderpad=0)
    axes.set_xlabel("dB beside the ordinary channels")


def _over_groups(figure: Figure, study: AccuracyStudy, top: float) -> None:
    series = groups_of(study)
    widths = list(dict.fromkeys(bits for bits, _ in series))
    width = (style.WIDTH_INCHES - 0.9) / len(widths) - 0.4
    for column, bits in enumerate(widths):
        axes = style.inset(figure, 0.75 + column * (width + 0.4), top, width, _GROUPS - 0.75)
        for index, where in enumerate(each for width_, each in series if width_ == bits):
            points = series[bits, where]
            axes.plot(
                [each.groups for each in points],
                [each.sqnr_db for each in points],
                label=_WORDS.get(where, where),
                **style.series_style(index, index),
            )
        _mark_wrapped(axes, [each for each in study.groups if each.bits == bits])
        axes.set(title=f"Tender INT{bits} over its groups", xlabel="groups", ylabel="dB")
        axes.set_xticks(sorted({each.groups for each in study.groups}))
        axes.legend(fontsize=style.SMALL_POINTS)


def _mark_wrapped(axes: Axes, points: Sequence[GroupAccuracy]) -> None:
    """Say from where on sums leave INT32: the accumulator's shifts, not the codes, are what goes wrong there."""
    wrapped = [each.groups for each in points if each.wrapped_pct > 0]
    if wrapped:
        axes.axvline(min(wrapped), color=style.MUTED, linewidth=1, linestyle=":")
        place = (min(wrapped), 0.5)
        axes.annotate(
            "INT32 wraps ",
            place,
            xycoords=("data", "axes fraction"),
            size=style.SMALL_POINTS,
            color=style.MUTED,
            ha="right",
        )
