"""The accumulator study's figures of choices: groups, their ends and orders; accuracy against time and energy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from reports import style
from reports.accumulator import EXISTING, HARDWARE, Study
from reports.accumulator_findings import Choice, choices, front
from reports.naming import unique

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOP, _PANEL, _NAMES = 0.95, 2.6, 2.2  # inches


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
    wrapped = [each for each in study.by_groups if each.bits == bits and each.wrapped_pct]
    if wrapped:
        place = min((each.groups, each.db) for each in wrapped)
        axes.annotate(
            "INT32 wraps  ", place, size=style.SMALL_POINTS, color=style.MUTED, ha="right", va="center"
        )
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
    if axes.lines:
        axes.legend(fontsize=style.SMALLEST_POINTS, loc="upper center", bbox_to_anchor=(0.42, 0.8))


def _ends(axes: Axes, study: Study) -> None:
    """Show a bar per matmul, with its name in it."""
    for position, each in enumerate(study.ends):
        saved = 100 * (1 - each.aligned_us / each.padded_us)
        axes.barh(position, saved, color=style.BOUND_COLOURS["dram"], height=0.85)
        lost = "overflows" if each.overflows else f"-{each.padded_db - each.aligned_db:.1f} dB"
        text = f" {each.scheme}, {each.groups} groups, M = {each.m}: {lost}"
        axes.annotate(text, (min(0.0, saved), position), size=style.SMALLEST_POINTS, va="center")
    axes.set_yticks([])
    axes.invert_yaxis()
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
    axes.set(title=f"quantizing M rows of {k}" if k else "orders: not on this machine", ylabel="µs")
    if study.order_times:
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
    """Draw a line per contender: its error, its time and energy at the first and the last M; the front is filled."""
    if not study.contenders:
        return style.words_only("What to choose", "nothing was asked for that this machine runs")
    model, where = study.models[0], study.places[0]
    picked = unique((study.phases[0], study.phases[-1]))
    level = {each.name: study.level(each.accuracy, where) for each in study.contenders}
    names = sorted(level, key=lambda name: -level[name])
    lines = 0.24 * max(6, len(names))
    figure = style.new_figure(_TOP + lines + 0.75)
    style.headline(
        figure,
        f"What to choose: {model} on {study.arch}",
        f"Error on {where}, linear layers of a step. Filled: on the front, no other is at least as good in "
        "accuracy, time, energy and area, and better in one. Orange: needs new hardware.",
    )
    width = (style.WIDTH_INCHES - _NAMES - 0.1) / (1 + 2 * len(picked))
    every = [
        style.inset(figure, _NAMES + at * width, _TOP + 0.15, width - 0.2, lines)
        for at in range(1 + 2 * len(picked))
    ]
    first = choices(study, model, picked[0][1], where)
    _dots(every[0], names, first, front(first), lambda each: each.db)
    every[0].set(title="error", xlabel="dB")
    for number, (phase, m) in enumerate(picked):
        found = choices(study, model, m, where)
        best = front(found)
        _dots(every[1 + 2 * number], names, found, best, lambda each: each.us / 1e3)
        _dots(every[2 + 2 * number], names, found, best, lambda each: each.mj / 1e3)
        every[1 + 2 * number].set(title=f"{phase}, M = {m}", xlabel="ms")
        every[2 + 2 * number].set(xlabel="J")
    every[0].set_yticks(range(len(names)), names)
    return figure


def _dots(
    axes: Axes,
    names: Sequence[str],
    found: Sequence[Choice],
    best: Sequence[Choice],
    value: Callable[[Choice], float],
) -> None:
    for each in found:
        colour = style.LINE_COLOURS[1 if each.contender.area_um2 else 0]
        fill = colour if each in best else "white"
        line = names.index(each.contender.name)
        axes.plot([value(each)], [line], "o", color=colour, markerfacecolor=fill, markersize=6)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), [""] * len(names))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=style.FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    most = max((value(each) for each in found), default=1.0)
    axes.set_xlim(min(0.0, *(value(each) for each in found), 0.0) - 0.06 * most, 1.06 * most)
