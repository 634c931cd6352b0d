"""Draws the banks study: wavefronts over tables and banks, what conflicts cost, where hardware for look-ups pays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from reports import style
from reports.banks_data import RANDOM, WORTH_PCT, Design, Gain, Looked, Study, banks_name
from reports.naming import unique

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOP, _PANEL = 0.95, 2.75  # inches
_BAR, _CELL = 0.24, 0.25  # inches of a kernel's bar, of a row of cells
_NONE, _FULL = "#ededed", 60.0  # colour of a gain that is none; % at which the colour is deepest
_GAIN, _LOSS = (0, 0.45, 0.70), (0.76, 0.31, 0.0)
_COLUMN = (style.WIDTH_INCHES - 0.3) / 2


def draw(study: Study) -> Figure:
    """Return the figure of the kernels: wavefronts above, time below, tables in closed form at the end."""
    kernels = unique(each.name for each in study.own)
    tables = unique(_table(each) for each in study.designs)
    bars, cells = _BAR * len(kernels) + 0.75, _CELL * len(tables) + 0.75
    figure = style.new_figure(_TOP + _PANEL + max(bars, _PANEL) + cells + 0.2)
    style.headline(
        figure,
        f"Look-ups and banks on {study.arch}",
        f"Lines are the closed form for random codes, points are simulated: full ones random codes, open ones "
        f"{study.weights}.",
    )
    _over_copies(_panel(figure, 0, _TOP, _PANEL), study)
    _over_mu(_panel(figure, 1, _TOP, _PANEL), study)
    below = _TOP + _PANEL
    label = style.label_inches(kernels)
    _costs(style.inset(figure, label, below + 0.15, 1.25 * _COLUMN - label, bars - 0.75), study)
    left = 1.25 * _COLUMN + 0.75
    _over_banks(
        style.inset(figure, left, below + 0.15, style.WIDTH_INCHES - left - 0.2, max(bars, _PANEL) - 0.85),
        study,
    )
    width = style.label_inches(tables)
    at = below + max(bars, _PANEL) + 0.15
    _tables(style.inset(figure, width, at, style.WIDTH_INCHES - width - 0.3, cells - 0.75), study)
    return figure


def _panel(figure: Figure, column: int, top: float, height: float) -> Axes:
    return style.inset(figure, 0.75 + column * _COLUMN, top + 0.15, _COLUMN - 0.9, height - 0.8)


def _over_copies(axes: Axes, study: Study) -> None:
    """Draw wavefronts over copies of tables of pairs, on the machine's own banks."""
    pairs = [each for each in study.designs if each.codes_per_entry == 2 and _own(study, each)]
    for index, bits in enumerate(unique(each.bits for each in pairs)):
        rows = [each for each in pairs if each.bits == bits]
        marks = style.series_style(index, index)
        label = f"{bits} bits, {rows[0].table_bytes // rows[0].entry_bytes} pairs"
        axes.plot(
            [each.copies for each in rows],
            [each.expected for each in rows],
            color=marks["color"],
            label=label,
        )
        _points(
            axes,
            [each for each in study.own if not each.mu and each.bits == bits],
            marks,
            lambda each: each.copies,
        )
    axes.set(
        title=f"weights looked up in pairs, {_own_name(study)}",
        xlabel="copies of the table",
        ylabel="wavefronts",
    )
    axes.set_xscale("log", base=2)
    _whole_ticks(axes, [each.copies for each in pairs])
    axes.set_ylim(0, None)
    if pairs:
        axes.legend()


def _over_mu(axes: Axes, study: Study) -> None:
    """Draw wavefronts over the columns of a sum, on every kind of banks."""
    sums = [each for each in study.looked if each.mu and each.copies == 1]
    whole = [each for each in sums if each.entries == 2**each.mu]
    for index, machine in enumerate(_machines(whole)):
        rows = [each for each in whole if (each.bank_bytes, each.banks) == machine]
        random = sorted((each for each in rows if each.codes == RANDOM), key=lambda each: each.mu)
        marks, label = style.series_style(index, index), _short(*machine)
        axes.plot(
            [each.mu for each in random],
            [each.expected for each in random],
            color=marks["color"],
            label=label,
        )
        _points(axes, rows, marks, lambda each: each.mu)
    axes.set(
        title="sums of µ activations, one table of halves", xlabel="µ", ylabel="wavefronts", ylim=(0, None)
    )
    _whole_ticks(axes, [each.mu for each in whole])
    if whole:
        axes.legend(ncols=2, fontsize=style.SMALL_POINTS)


def _points(
    axes: Axes, rows: Sequence[Looked], marks: dict[str, Any], place: Callable[[Looked], int]
) -> None:
    for each in rows:
        filled = marks["color"] if each.codes == RANDOM else "none"
        look: dict[str, Any] = {
            "marker": marks["marker"],
            "markeredgecolor": marks["color"],
            "markerfacecolor": filled,
        }
        axes.plot(
            [place(each)],
            [each.wavefronts],
            linestyle="none",
            markersize=6 if each.codes == RANDOM else 9,
            **look,
        )


def _costs(axes: Axes, study: Study) -> None:
    """Draw each kernel's time: what conflicts add, and what was measured."""
    rows = [each for each in study.own if each.codes == study.weights]
    measured = {each.name: each.measured_us for each in study.own if each.measured_us is not None}
    axes.barh(
        [each.name for each in rows],
        [each.ideal_us for each in rows],
        color="#b9dceb",
        label="without conflicts",
    )
    lost = [max(0.0, each.time_us - each.ideal_us) for each in rows]
    axes.barh(
        [each.name for each in rows],
        lost,
        left=[each.ideal_us for each in rows],
        color="#f5b183",
        label="conflicts",
    )
    shown = [each.name for each in rows if each.name in measured]
    if shown:
        axes.plot(
            [measured[name] for name in shown], shown, "D", color=style.INK, markersize=4, label="measured"
        )
    for place, each in enumerate(rows):
        axes.text(0, place, f" {each.wavefronts:.2f}", va="center", size=style.SMALL_POINTS)
    axes.invert_yaxis()
    axes.margins(x=0.4)
    axes.set(title=f"time, and wavefronts per look-up, {_own_name(study)}", xlabel="µs")
    axes.legend(loc="lower right", fontsize=style.SMALL_POINTS)


def _over_banks(axes: Axes, study: Study) -> None:
    """Draw the kernels' time on other banks, over that on their own."""
    own = {each.name: each.time_us for each in study.own if each.codes == study.weights}
    machines = _machines(study.looked)
    for index, name in enumerate(_most_different(study)):
        rows = [each for each in study.looked if (each.name, each.codes) == (name, study.weights)]
        ratios = {(each.bank_bytes, each.banks): each.time_us / own[name] for each in rows}
        shown = [machine for machine in machines if machine in ratios]
        places, marks = [machines.index(each) for each in shown], style.series_style(index, index)
        axes.plot(places, [ratios[each] for each in shown], label=name, **marks)
    axes.set(title="time on other banks", ylabel="over the machine's own", xlabel="banks × width")
    axes.set_xticks(range(len(machines)), [_short(*each) for each in machines])
    axes.legend(fontsize=style.SMALL_POINTS)


def _machines(rows: Iterable[Looked | Design]) -> list[tuple[int, int]]:
    """Return the machines in order: bytes of a bank, banks."""
    return sorted({(each.bank_bytes, each.banks) for each in rows})


def _short(bank_bytes: int, banks: int) -> str:
    return f"{banks}×{bank_bytes} B"


def _most_different(study: Study, most: int = 8) -> list[str]:
    """Name the kernels whose time hangs most on the banks."""
    times: dict[str, list[float]] = {}
    for each in study.looked:
        if each.codes == study.weights:
            times.setdefault(each.name, []).append(each.time_us)
    return sorted(times, key=lambda name: -max(times[name]) / min(times[name]))[:most]


def _tables(axes: Axes, study: Study) -> None:
    """Show the closed form of every table on every kind of banks, per 32 weights."""
    names = list(unique(_table(each) for each in study.designs))
    machines = [_short(*each) for each in _machines(study.designs)]
    most = max((each.per_weight for each in study.designs), default=1.0)
    for each in study.designs:
        place = machines.index(_short(each.bank_bytes, each.banks)), names.index(_table(each))
        _cell(axes, place, _shade(_LOSS, each.per_weight / most), f"{each.per_weight:.2f}")
    _cells(axes, machines, names)
    axes.set_title("tables of weights, random codes: wavefronts per 32 weights, closed form")


def _table(each: Design) -> str:
    codes = "code" if each.codes_per_entry == 1 else "codes"
    copies = "copy" if each.copies == 1 else "copies"
    return f"{each.bits} bits, {each.codes_per_entry} {codes} in {each.entry_bytes} B, {each.copies} {copies}"


def _own(study: Study, each: Looked | Design) -> bool:
    return (each.banks, each.bank_bytes) == (study.banks, study.bank_bytes)


def _own_name(study: Study) -> str:
    return banks_name(study.banks, study.bank_bytes)


def _whole_ticks(axes: Axes, values: Sequence[int]) -> None:
    ticks = sorted(set(values))
    axes.set_xticks(ticks, [str(value) for value in ticks])
    axes.minorticks_off()


# ------------------------------------------------------------------------------------- hardware


def draw_gains(study: Study) -> Figure:
    """Return the map of gains: a row per hardware, a column per number of bits, cells over M and shape."""
    rows = unique((each.hardware, each.weights) for each in study.gains)
    bits = unique(each.bits for each in study.gains)
    shapes = unique((each.n, each.k) for each in study.gains)
    height = _CELL * len(shapes) + 1.0
    figure = style.new_figure(_TOP + height * len(rows) + 0.1)
    style.headline(
        figure,
        f"Hardware for look-ups on {study.arch}: gain over the best software kernel, %",
        f"The best kernel for the same bits on either machine, simulated. Grey: less than {WORTH_PCT:g} %, or than the "
        "times' spread.",
    )
    label = style.label_inches([_shape(each) for each in shapes])
    width = (style.WIDTH_INCHES - label - 0.2) / len(bits)
    for row, (hardware, weights) in enumerate(rows):
        top = _TOP + row * height
        heading = f"{hardware}, weights of {weights}"
        at = 1 - top / figure.get_figheight()
        figure.text(0.012, at, heading, size=style.PANEL_POINTS, weight="bold", va="top")
        for column, each in enumerate(bits):
            axes = style.inset(figure, label + column * width, top + 0.4, width - 0.15, height - 1.0)
            wanted = hardware, weights, each
            cells = [gain for gain in study.gains if (gain.hardware, gain.weights, gain.bits) == wanted]
            _gains(axes, cells, column == 0)
            style.panel_note(axes, f"{each} bits")
    return figure


def _gains(axes: Axes, rows: Sequence[Gain], labelled: bool) -> None:
    sizes, shapes = list(unique(each.m for each in rows)), list(unique((each.n, each.k) for each in rows))
    for each in rows:
        base = _GAIN if each.gain_pct > 0 else _LOSS
        colour = _NONE if not each.differs else _shade(base, min(1.0, 0.15 + abs(each.gain_pct) / _FULL))
        _cell(axes, (sizes.index(each.m), shapes.index((each.n, each.k))), colour, f"{each.gain_pct:+.0f}")
    names = [_shape(each) if labelled else "" for each in shapes]
    _cells(axes, [str(m) for m in sizes], names)
    axes.set_xlabel("M", labelpad=1)


def _shape(shape: tuple[int, int]) -> str:
    return f"{shape[0]}×{shape[1]}"


def _shade(colour: tuple[float, float, float], depth: float) -> tuple[float, float, float]:
    """Return the colour, mixed with white so far that dark text can be read on it."""
    red, green, blue = (1 - 0.6 * depth * (1 - part) for part in colour)
    return red, green, blue


def _cell(axes: Axes, place: tuple[int, int], colour: str | tuple[float, float, float], text: str) -> None:
    from matplotlib.patches import Rectangle

    x, y = place
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=1.5))
    axes.text(x, y, text, ha="center", va="center", size=style.SMALL_POINTS)


def _cells(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    """Frame the cells: names along both sides, no lines."""
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
