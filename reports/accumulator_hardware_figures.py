"""The accumulator study's figures of its hardware: widths and shift ranges, cost of the shifter against savings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import style
from reports.accumulator import Study
from reports.accumulator_findings import gains
from reports.naming import unique
from reports.shifter_cost import PLACES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOP, _PANEL = 0.95, 2.5  # inches
LEAST_PER_MILLION = 0.1  # shown in place of none


def _panel(figure: Figure, column: int, row: int, columns: int = 2, left: float = 0.7) -> Axes:
    width = (style.WIDTH_INCHES - left) / columns
    return style.inset(figure, left + column * width, _TOP + row * _PANEL + 0.15, width - 0.75, _PANEL - 0.75)


def draw_widths(study: Study) -> Figure:
    """Draw the error over the accumulator's width, a row of panels per width of the operands."""
    bits = unique(each.bits for each in study.overflow)
    places = unique(each.where for each in study.overflow)
    figure = style.new_figure(_TOP + _PANEL * max(1, len(bits)) + 0.1)
    style.headline(
        figure,
        "How wide an accumulator Tender needs",
        f"Activations with outliers ({', '.join(places)}), dB beside the ordinary channels. Left: the first, wrapping "
        "(solid) or saturating (dashed). Right: the widest accumulator, by bits of a shift.",
    )
    for row, each in enumerate(bits):
        _over_width(_panel(figure, 0, row, 4), study, each, rate=True)
        _over_width(_panel(figure, 1, row, 4), study, each, rate=False)
        for column, where in enumerate(unique((places[0], places[-1])), 2):
            _over_shift(_panel(figure, column, row, 4), study, each, where)
    if bits:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        place = (0.05, 1 - 0.52 / figure.get_figheight())
        figure.legend(
            handles, labels, loc="upper left", bbox_to_anchor=place, ncols=8, fontsize=style.SMALL_POINTS
        )
    return figure


def _over_width(axes: Axes, study: Study, bits: int, rate: bool) -> None:
    where = study.overflow[0].where
    rows = [each for each in study.overflow if (each.where, each.bits, each.shift) == (where, bits, 1)]
    for index, groups in enumerate(sorted({each.groups for each in rows})):
        for mode, line in (("wrap", "-"), ("saturate", "--")):
            own = [each for each in rows if (each.groups, each.mode) == (groups, mode)]
            values = [max(LEAST_PER_MILLION, each.overflows_per_million) if rate else each.db for each in own]
            look = style.series_style(index, index) | {"linestyle": line, "markersize": 4}
            label = f"{groups} group{'s' if groups > 1 else ''}" if mode == "wrap" else None
            axes.plot([each.width for each in own], values, label=label, **look)
    axes.set_xlabel("bits of the accumulator")
    axes.set_xticks(sorted({each.width for each in rows}))
    if rate:
        axes.set(title=f"INT{bits}: overflows", yscale="log", ylabel="of a million steps")
        axes.set_yticks([0.1, 1, 100, 10000], ["none", "1", "100", "10000"])
        axes.minorticks_off()
    else:
        axes.set(title=f"INT{bits}: error", ylabel="dB")


def _over_shift(axes: Axes, study: Study, bits: int, where: str) -> None:
    asked = where, bits, max(each.width for each in study.overflow), "wrap"
    rows = [each for each in study.overflow if (each.where, each.bits, each.width, each.mode) == asked]
    for index, shift in enumerate(sorted({each.shift for each in rows})):
        own = [each for each in rows if each.shift == shift]
        label = f"{shift} bit{'s' if shift > 1 else ''}"
        axes.plot(
            [each.groups for each in own],
            [each.db for each in own],
            label=label,
            **style.series_style(index, index),
        )
    axes.set(title=f"INT{bits}: {where}", xlabel="groups", ylabel="dB")
    axes.legend(fontsize=style.SMALL_POINTS)


def draw_hardware(study: Study) -> Figure:
    """Draw what the shifter adds in each place, and what a shift in the tensor core saves."""
    figure = style.new_figure(_TOP + 2 * _PANEL + 0.1)
    style.headline(
        figure,
        "Where the shifter sits, what it costs, what it saves",
        f"Top: {study.unit}, with a shifter against without. Bottom: linear layers, against the best kernel without "
        "the extension; below zero it loses.",
    )
    quantities = (
        ("area_pct", "area, %"),
        ("delay_pct", "longest path, %"),
        ("mac_energy_pct", "energy of every operation, %"),
    )
    for column, (field, label) in enumerate(quantities):
        axes = _panel(figure, column, 0, 3)
        for index, (position, words) in enumerate(PLACES.items()):
            own = [each for each in study.shifters if each.position == position]
            values = [getattr(each, field) for each in own]
            axes.plot(
                [each.shift_range for each in own], values, label=words, **style.series_style(index, index)
            )
        axes.set(title=label, xlabel="bits that it can shift", ylim=(min(0, axes.get_ylim()[0]), None))
        axes.set_xticks(sorted({each.shift_range for each in study.shifters}))
        if column == 0:
            axes.legend(fontsize=style.SMALL_POINTS)
    _savings(_panel(figure, 0, 1), study, "time, %")
    _savings(_panel(figure, 1, 1), study, "energy, mJ of a step")
    return figure


def _savings(axes: Axes, study: Study, what: str) -> None:
    model, groups = study.models[0], max(study.groups)
    sizes = [m for _, m in study.phases]
    for index, scheme in enumerate(study.schemes):
        found = {
            each.m: each for each in gains(study, scheme) if (each.model, each.groups) == (model, groups)
        }
        values = [
            found[m].linear_pct if what.startswith("time") else found[m].saved_mj for m in sizes if m in found
        ]
        axes.plot([m for m in sizes if m in found], values, label=scheme, **style.series_style(index, index))
    axes.axhline(0, color=style.MUTED, linewidth=0.8)
    axes.set(title=f"saved {what}: {model}, {groups} groups", xscale="log", xlabel="M")
    axes.set_xticks(sizes, [str(m) for m in sizes])
    axes.minorticks_off()
    if not what.startswith("time"):
        axes.legend(fontsize=style.SMALL_POINTS, loc="lower left")
