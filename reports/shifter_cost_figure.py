"""Draws what a shifter costs: its share of each unit, over its range, and beside the width of the accumulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import style
from reports.shifter_cost import BEHIND, C_PATH, PLACES, USUAL_BITS, Unit, at, shift_share, units, widths
from sim.arch.accumulator import Costs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTS = (
    ("multipliers", "multiplier_um2", "#b9dceb"),
    ("adder", "adder_um2", "#9fd8c2"),
    ("registers", "register_um2", "#d5d5d5"),
    ("shifter", "shifter_um2", "#f5b183"),
)
DRAWN = (Unit("pe", 4, 1), Unit("pe", 8, 1), Unit("dot", 8, 8), Unit("dot", 8, 32))
LOOK = {C_PATH: "-", BEHIND: "--"}
COLOURS = {C_PATH: style.LINE_COLOURS[0], BEHIND: style.LINE_COLOURS[1]}
RANGES = (1, 2, 3, 4)
_TOP, _BARS, _PANEL = 0.75, 2.1, 2.55  # inches


def draw(costs: Costs) -> Figure:
    """Return the figure."""
    figure = style.new_figure(_TOP + _BARS + 2 * _PANEL + 0.1)
    style.headline(
        figure,
        "Where the shifter of an accumulator sits, and what it costs",
        f"Synthesized with {costs.origin.tool.split(' (')[0]} for {costs.library}. Accumulators of {USUAL_BITS} bits "
        "that wrap, unless said otherwise. PE: of a systolic array, with its registers.",
    )
    _shares(style.inset(figure, 1.6, _TOP + 0.2, 8.2, _BARS - 0.75), costs)
    row = _TOP + _BARS + 0.15
    for column, panel in enumerate((_areas, _delays, _energies)):
        panel(style.inset(figure, 0.6 + column * 3.3, row, 2.6, _PANEL - 0.85), costs)
    for column, unit in enumerate((DRAWN[0], DRAWN[2])):
        _widths(style.inset(figure, 0.6 + column * 4.95, row + _PANEL, 4.2, _PANEL - 0.75), costs, unit)
    return figure


def _shares(axes: Axes, costs: Costs) -> None:
    """Draw the parts of each unit's area, with a shifter by one bit in the path of C."""
    chosen = units(costs)
    for row, unit in enumerate(chosen):
        cost, left = at(costs, unit, C_PATH, 1).cost, 0.0
        for _, field, colour in PARTS:
            share = 100 * getattr(cost, field) / cost.area_um2
            axes.barh(row, share, left=left, color=colour, height=0.72)
            left += share
        text = f"{100 * cost.shifter_um2 / cost.area_um2:.1f} % of {costs.gates(cost.area_um2):,.0f} gates"
        axes.text(101, row, text, va="center", size=style.SMALL_POINTS)
    axes.set_yticks(range(len(chosen)), [unit.label for unit in chosen])
    axes.invert_yaxis()
    axes.set(xlim=(0, 118), xlabel="% of the area, with a shifter by 1 bit in the path of C")
    axes.set_xticks(range(0, 101, 20))
    _legend(axes)


def _legend(axes: Axes) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=name) for name, _, colour in PARTS]
    axes.legend(handles=handles, ncols=4, loc="lower left", bbox_to_anchor=(-0.01, 0.98), borderaxespad=0)


def _areas(axes: Axes, costs: Costs) -> None:
    for index, unit in enumerate(DRAWN):
        for position, line in LOOK.items():
            values = [100 * at(costs, unit, position, reach).area for reach in RANGES]
            look = {**style.series_style(index, index), "linestyle": line}
            label = PLACES[position] if not index else None
            axes.plot(RANGES, values, markersize=4, label=label, **look)
        colour = style.LINE_COLOURS[index]
        axes.text(4.15, values[-1], unit.short, size=style.SMALL_POINTS, color=colour, va="center")
    axes.set(title="area", xlabel="shift by up to … bits", ylabel="% added", yscale="log")
    axes.set(xlim=(0.8, 5.1), ylim=(0.3, 250))
    axes.set_xticks(RANGES)
    _percent_ticks(axes, (0.5, 1, 2, 5, 10, 20, 50))
    _place_legend(axes)


def _place_legend(axes: Axes) -> None:
    axes.legend(fontsize=style.SMALL_POINTS, loc="upper right", borderaxespad=0)


def _percent_ticks(axes: Axes, values: tuple[float, ...]) -> None:
    axes.set_yticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()


def _delays(axes: Axes, costs: Costs) -> None:
    for offset, position in ((-0.2, C_PATH), (0.2, BEHIND)):
        values = [max(0.0, 100 * at(costs, unit, position, 1).delay) for unit in DRAWN]
        places = [index + offset for index in range(len(DRAWN))]
        bars = axes.bar(places, values, 0.36, color=COLOURS[position], label=PLACES[position])
        axes.bar_label(bars, [f"{value:.1f}" for value in values], size=style.SMALL_POINTS)
    _named(axes)
    axes.set(title="delay of the longest path, 1 bit", ylabel="% added", ylim=(0, 4))
    _place_legend(axes)


def _energies(axes: Axes, costs: Costs) -> None:
    """Draw what each operation pays, and what a shift pays on top of it or, behind the adder, in its own cycle."""
    for offset, position in ((-0.2, C_PATH), (0.2, BEHIND)):
        found = [at(costs, unit, position, 1) for unit in DRAWN]
        places = [index + offset for index in range(len(DRAWN))]
        label = "every operation" if position == C_PATH else None
        axes.bar(
            places, [100 * each.mac_energy for each in found], 0.36, color=COLOURS[position], label=label
        )
        label = "a shift" if position == C_PATH else None
        shifts = [100 * shift_share(each) for each in found]
        axes.plot(places, shifts, "_", color=style.INK, markersize=11, label=label)
    _named(axes)
    axes.set(title="energy, 1 bit", ylabel="% of an operation", yscale="log", ylim=(0.2, 800))
    _percent_ticks(axes, (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100))
    _place_legend(axes)


def _named(axes: Axes) -> None:
    axes.set_xticks(range(len(DRAWN)), [unit.short.replace(" ", "\n", 1) for unit in DRAWN])


def _widths(axes: Axes, costs: Costs, unit: Unit) -> None:
    """Draw the area over the accumulator's width: what a narrower one saves against what a shifter costs."""
    reference = at(costs, unit, "none", 0).cost.area_um2
    found = widths(costs, unit)
    for index, (overflow, position, label) in enumerate(
        (
            ("wrap", "none", "wraps, no shifter"),
            ("wrap", C_PATH, "wraps, 1-bit shift"),
            ("saturate", "none", "saturates, no shifter"),
            ("saturate", C_PATH, "saturates, 1-bit shift"),
        )
    ):
        reach = int(position != "none")
        areas = [at(costs, unit, position, reach, width, overflow).cost.area_um2 for width in found]
        look = style.series_style(index, index)
        axes.plot(found, [area / reference for area in areas], label=label, markersize=4, **look)
    axes.axhline(1, color=style.FAINT, zorder=0)
    low, high = axes.get_ylim()
    axes.set(
        title=f"{unit.short}: area over the accumulator's width",
        xlabel="bits of the accumulator; shifts in the path of C",
        ylabel=f"of {USUAL_BITS} bits, no shifter",
        ylim=(low, high + 0.35 * (high - low)),
    )
    axes.set_xticks(found)
    axes.legend(fontsize=style.SMALL_POINTS, loc="upper left", ncols=2, borderaxespad=0)
