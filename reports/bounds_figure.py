"""Draws the map of bounds: a table of times per machine, coloured by what bounds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports import style
from reports.bounds import BoundRow, Bounds, finding
from reports.naming import bound_words, plain, unique

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_ROWS = 24  # of a panel
MAX_SIZES = 16
MAX_NOTES = 3  # speed-ups under a machine's name
_TOP, _ROW, _NOTE, _MAX_CELL = 1.0, 0.2, 0.125, 0.95  # inches
_OTHER = "#eeeeee"


def draw(data: Bounds) -> Figure:
    """Return the figure."""
    machines = unique(row.machine for row in data.rows)
    shown = machines[: style.MAX_PANELS]
    names = unique((row.scheme, row.layer) for row in data.rows)[:MAX_ROWS]
    sizes = _sizes(data.rows)
    side = style.label_inches(map(_row_name, names))
    columns = 1 if len(shown) == 1 else 2
    lines = -(-len(shown) // columns)
    notes = {machine: _notes(data, machine, 80 if columns == 2 else 150) for machine in shown}
    most = max(map(len, notes.values()))
    head = 0.4 + _NOTE * (most - 1)
    width, height = (style.WIDTH_INCHES - side - 0.1) / columns, _ROW * len(names) + head + 0.22
    figure = style.new_figure(_TOP + lines * height + 0.16)
    style.headline(
        figure, finding(data.rows), _note(data, len(names)) + style.left_out(len(machines) - len(shown))
    )
    for number, machine in enumerate(shown):
        column, line = number % columns, number // columns
        axes = style.inset(
            figure,
            side + column * width,
            _TOP + line * height + head,
            min(width - 0.15, _MAX_CELL * len(sizes)),
            height - head - 0.22,
        )
        _draw_panel(axes, [row for row in data.rows if row.machine == machine], names, sizes)
        axes.set_title(plain(machine, 60), pad=14 + 72 * _NOTE * (most - 1))
        style.panel_note(axes, "\n".join(notes[machine] + [""] * (most - len(notes[machine]))))
        axes.tick_params(labelleft=column == 0)
        if number + columns >= len(shown):
            axes.set_xlabel("M", labelpad=2)
    _draw_legend(figure, data.rows)
    return figure


def _row_name(name: tuple[str, str]) -> str:
    return f"{plain(name[0], 20)}  {name[1]}"


def _sizes(rows: Sequence[BoundRow]) -> list[int]:
    """Return the columns: all M, or evenly chosen ones with both ends."""
    sizes = sorted({cell.m for row in rows for cell in row.cells})
    if len(sizes) <= MAX_SIZES:
        return sizes
    return [sizes[index * (len(sizes) - 1) // (MAX_SIZES - 1)] for index in range(MAX_SIZES)]


def _note(data: Bounds, rows: int) -> str:
    left = len(unique((row.scheme, row.layer) for row in data.rows)) - rows
    return "Time of one launch in µs; colour: what limits it. Below a machine's name: its speed-up." + (
        f" {left} more layers are in the CSV file." if left else ""
    )


def _notes(data: Bounds, machine: str, limit: int) -> list[str]:
    """Return the lines under a machine's name: how much faster it is, by scheme where these differ."""
    told = [speed_up.short for speed_up in data.speed_ups if speed_up.machine == machine]
    if not told:
        return ["the machine that speed-ups refer to" if data.speed_ups else ""]
    left = [f"{len(told) - MAX_NOTES} more schemes are in the CSV file"] if len(told) > MAX_NOTES else []
    return [plain(text, limit) for text in (*told[:MAX_NOTES], *left)]


def _draw_panel(
    axes: Axes, rows: Sequence[BoundRow], names: Sequence[tuple[str, str]], sizes: Sequence[int]
) -> None:
    for row in rows:
        if (row.scheme, row.layer) in names:
            _draw_row(axes, row, names.index((row.scheme, row.layer)), sizes)
    axes.set(xlim=(-0.5, len(sizes) - 0.5), ylim=(len(names) - 0.5, -0.5))
    axes.set_xticks(range(len(sizes)), [str(m) for m in sizes])
    axes.set_yticks(range(len(names)), [_row_name(name) for name in names])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for edge in (index for index in range(1, len(names)) if names[index][0] != names[index - 1][0]):
        axes.axhline(edge - 0.5, color=style.INK, linewidth=0.8)


def _draw_row(axes: Axes, row: BoundRow, y: int, sizes: Sequence[int]) -> None:
    from matplotlib.patches import Rectangle

    for cell in row.cells:
        if cell.m in sizes:
            x = sizes.index(cell.m)
            colour = style.BOUND_COLOURS.get(cell.bound_by, _OTHER)
            axes.add_patch(
                Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=0.8)
            )
            axes.text(x, y, _three_digits(cell.time_us), ha="center", va="center_baseline", size=6.8)


def _three_digits(value: float) -> str:
    """Write a number with three digits, never with an exponent below a million."""
    digits = max(0, 2 - len(str(int(abs(value)))) + 1)
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.1e}"


def _draw_legend(figure: Figure, rows: Sequence[BoundRow]) -> None:
    from matplotlib.patches import Patch

    present = {cell.bound_by for row in rows for cell in row.cells}
    order = [
        *(bound for bound in style.BOUND_COLOURS if bound in present),
        *sorted(present - set(style.BOUND_COLOURS)),
    ]
    handles = [
        Patch(color=style.BOUND_COLOURS.get(bound, _OTHER), label=bound_words(bound)) for bound in order
    ]
    top = 1 - 0.56 / figure.get_figheight()
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.003, top),
        ncols=7,
        handlelength=1.2,
        handletextpad=0.5,
    )
