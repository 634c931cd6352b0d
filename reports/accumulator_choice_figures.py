"""The accumulator study's figures of choices: groups, their ends and orders; accuracy against time and energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports import style
from reports.accumulator import EXISTING, HARDWARE, Study
from reports.accumulator_findings import Choice, choices, front
from reports.naming import unique

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOP, _PANEL = 0.95, 2.6  # inches


def _panel(figure: Figure, column: int, row: int, columns: int, height: float = _PANEL) -> Axes:
    width = (style.WIDTH_INCHES - 0.6) / columns
    return style.inset(figure, 0.7 + column * width, _TOP + row * height + 0.15, width - 0.7, height - 0.75)


def draw_groups(study: Study) -> Figure:
    """Draw accuracy over groups, time over groups beside it; what aligned groups and shared orders lose."""
    bits = unique(each.bits for each in study.by_groups)
    figure = style.new_figure(_TOP + 2 * _PANEL + 0.1)
    style.headline(
        figure,
        "Groups: what they bring, where they end, in which order channels lie",
        "Top: error over groups, and error against the time of one matmul with so many groups. Bottom: padding against "
        "alignment, orders per chunk against one for all.",
    )
    for column, each in enumerate(bits[:2]):
        _accuracy(_panel(figure, column, 0, 3), study, each)
    _against_time(_panel(figure, 2, 0, 3), study)
    _ends(_panel(figure, 0, 1, 3), study)
    _order_times(_panel(figure, 1, 1, 3), study)
    _order_levels(_panel(figure, 2, 1, 3), study)
    return figure


def _accuracy(axes: Axes, study: Study, bits: int) -> None:
    for index, where in enumerate(study.places):
        own = [each for each in study.by_groups if (each.bits, each.where) == (bits, where)]
        axes.plot(
            [each.groups for each in own],
            [each.db for each in own],
            label=where,
            **style.series_style(index, index),
        )
        for each in own:
            if each.wrapped_pct:
                axes.annotate(
                    "INT32 wraps ",
                    (each.groups, each.db),
                    size=style.SMALL_POINTS,
                    color=style.MUTED,
                    ha="right",
                )
                break
    axes.set(title=f"Tender INT{bits}", xlabel="groups", ylabel="dB")
    axes.legend(fontsize=style.SMALL_POINTS)


def _against_time(axes: Axes, study: Study) -> None:
    """Show a line per scheme: each number of groups is a point."""
    m = max((each.m for each in study.borders), default=0)
    for index, scheme in enumerate(study.schemes):
        bits = 4 if "4" in scheme else 8
        for names, line in ((EXISTING, "-"), ((HARDWARE,), "--")):
            points = []
            for level in study.by_groups:
                times = [
                    each.time_us
                    for each in study.borders
                    if (each.method.scheme, each.m, each.method.groups) == (scheme, m, level.groups)
                    and each.method.variant in names
                ]
                if times and (level.bits, level.where) == (bits, study.places[0]) and not level.wrapped_pct:
                    points.append((min(times), level.db))
            look = style.series_style(index, index) | {"linestyle": line, "markersize": 3.5}
            if points:
                label = scheme if line == "-" else None
                axes.plot(*zip(*points, strict=True), label=label, **look)
    axes.set(title=f"error and time, M = {m}", xlabel="µs (dashed: with the extension)", ylabel="dB")
    axes.legend(fontsize=style.SMALL_POINTS, loc="center right")


def _ends(axes: Axes, study: Study) -> None:
    names = []
    for position, each in enumerate(study.ends):
        names.append(f"{each.scheme.removeprefix('tender_')}, {each.groups}, M={each.m}")
        saved = 100 * (1 - each.aligned_us / each.padded_us)
        axes.barh(position, saved, color=style.LINE_COLOURS[0], height=0.7)
        lost = "overflows" if each.overflows else f"-{each.padded_db - each.aligned_db:.1f} dB"
        axes.annotate(f" {lost}", (max(0.0, saved), position), size=style.SMALL_POINTS, va="center")
    axes.set_yticks(range(len(names)), names, size=style.SMALLEST_POINTS)
    axes.invert_yaxis()
    axes.margins(x=0.35)
    axes.set(title="aligned, not padded", xlabel="time saved, %")


def _order_times(axes: Axes, study: Study) -> None:
    ways = ("plain", "gather", "scatter")
    for index, each in enumerate(study.order_times):
        times = [each.plain_us, each.gather_us, each.scatter_us]
        places = [position + 0.38 * index for position in range(len(ways))]
        axes.bar(places, times, width=0.36, color=style.LINE_COLOURS[index], label=f"M = {each.m}")
        for place, us in zip(places, times, strict=True):
            axes.annotate(f"{us:.1f}", (place, us), size=style.SMALL_POINTS, ha="center", va="bottom")
    axes.set_xticks([0.19 * max(1, len(study.order_times) - 1) + each for each in range(len(ways))], ways)
    axes.margins(y=0.15)
    k = next((each.k for each in study.order_times), 0)
    axes.set(title=f"quantizing M rows of {k}", ylabel="µs")
    axes.legend(fontsize=style.SMALL_POINTS)


def _order_levels(axes: Axes, study: Study) -> None:
    drift = [each.drift_octaves for each in study.order_levels]
    for index, (name, values) in enumerate(
        (
            ("an order per chunk", [each.own_db for each in study.order_levels]),
            ("one for all", [each.shared_db for each in study.order_levels]),
        )
    ):
        axes.plot(drift, values, label=name, **style.series_style(index, index))
    axes.set(title="orders of channels", xlabel="drift of a channel, octaves", ylabel="dB")
    axes.legend(fontsize=style.SMALL_POINTS)


def draw_front(study: Study) -> Figure:
    """Draw accuracy against time and against energy, at the first and the last M; the front is filled."""
    picked = unique((study.phases[0], study.phases[-1]))
    height = 3.6
    figure = style.new_figure(_TOP + height * len(picked) + 0.1)
    style.headline(
        figure,
        f"What to choose: {study.models[0]} on {study.arch}",
        f"Error on {study.places[0]} in dB, linear layers of a step. Filled: no other is at least as good in "
        "accuracy, time, energy and area of new hardware, and better in one. Orange: needs new hardware.",
    )
    for row, (phase, m) in enumerate(picked):
        found = choices(study, study.models[0], m, study.places[0])
        best = front(found)
        for column, energy in enumerate((False, True)):
            axes = _panel(figure, column, row, 2, height)
            _scatter(axes, found, best, energy)
            axes.set(title=f"{phase}, M = {m}", ylabel="dB", xlabel="mJ" if energy else "ms", xscale="log")
    return figure


def _scatter(axes: Axes, found: Sequence[Choice], best: Sequence[Choice], energy: bool) -> None:
    for index, each in enumerate(found):
        x = each.mj if energy else each.us / 1e3
        colour = style.LINE_COLOURS[0] if not each.contender.area_um2 else style.LINE_COLOURS[1]
        fill = colour if each in best else "white"
        axes.plot([x], [each.db], "o", color=colour, markerfacecolor=fill, markersize=6)
        axes.annotate(
            each.contender.name,
            (x, each.db),
            size=style.SMALL_POINTS,
            xytext=(6, 3 if index % 2 else -8),
            textcoords="offset points",
        )
    axes.margins(x=0.3, y=0.12)
