"""Draws the bank conflicts: per program its worst instructions, their wavefronts and a map of their banks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from reports import style
from reports.bank_conflicts import (
    TITLE,
    Access,
    BankConflicts,
    Instruction,
    Program,
    conclusion,
    finding,
    merged,
    verdict,
)
from reports.naming import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PROGRAMS = 4
MAX_ROWS = 18  # of the figure
MAX_PROGRAM_ROWS = 12
_IDEAL, _EXTRA = "#8cc4e8", "#c24e00"
_TOP, _ROW, _HEAD, _FOOT, _AXIS = 0.82, 0.36, 0.36, 0.2, 0.16  # inches
_TEXT, _BARS, _MAP = 3.95, 2.6, 2.65  # inches: widths of the three columns

_Row = tuple[Instruction, Access, tuple[str, ...]]


def draw(data: BankConflicts) -> Figure:
    """Return the figure."""
    if not data.programs:
        return style.words_only(TITLE, "No run recorded accesses to shared memory.")
    programs = _chosen(data.programs)
    rows = [_rows(program, min(MAX_PROGRAM_ROWS, MAX_ROWS // len(programs))) for program in programs]
    heights = [_ROW * len(part) + _HEAD + _FOOT for part in rows]
    figure = style.new_figure(_TOP + sum(heights) + _AXIS)
    style.headline(figure, finding(data.programs), _note(data, programs))
    most = max(max(access.banks, default=0) for part in rows for _, access, _ in part)
    for number, (program, part) in enumerate(zip(programs, rows, strict=True)):
        top = _TOP + sum(heights[:number]) + _HEAD
        bars = style.inset(figure, _TEXT, top, _BARS - 0.85, _ROW * len(part))
        banks = style.inset(figure, _TEXT + _BARS + 0.15, top, _MAP, _ROW * len(part))
        _draw_bars(bars, program, part)
        _draw_banks(banks, part, max(1, most))
        if number == len(programs) - 1:
            bars.set_xlabel("wavefronts of one execution", size=6.6, labelpad=1)
            banks.set_xlabel("bank", size=6.6, labelpad=1)
        x, y = 0.12 / style.WIDTH_INCHES, 1 - (top - 0.08) / figure.get_figheight()
        heading = f"{plain(program.name, 60)}: {verdict(program)}"
        style.fit(figure.text(x, y, heading, size=style.PANEL_POINTS, weight="bold", va="bottom"))
    return figure


def _chosen(programs: Sequence[Program]) -> list[Program]:
    """Return the programs with most conflicts, else the busiest, of each scheme in turn."""
    by_scheme: dict[str, list[Program]] = {}
    for program in sorted(programs, key=lambda program: (-program.extra, -program.wavefronts)):
        by_scheme.setdefault(program.scheme, []).append(program)
    turns = zip_longest(*by_scheme.values())
    return [program for turn in turns for program in turn if program is not None][:MAX_PROGRAMS]


def _rows(program: Program, most: int) -> list[_Row]:
    """Return the rows that are drawn: whole instructions, each once per group of machines on which it differs."""
    rows: list[_Row] = []
    for row in merged(program.instructions):
        groups = [(row, access, machines) for access, machines in row.groups()]
        if rows and len(rows) + len(groups) > most:
            break
        rows += groups
    return rows[:most]


def _note(data: BankConflicts, programs: Sequence[Program]) -> str:
    left, clean = len(data.programs) - len(programs), sum(program.clean for program in data.programs)
    text = "Blue: wavefronts without conflicts, orange: what conflicts add; %: share of the program's wavefronts. "
    text += "Maps: words that one execution asks of each bank.\n" + conclusion(data.programs)
    text += (
        f"{clean} of {len(data.programs)} programs are free of conflicts everywhere. "
        if clean and left
        else ""
    )
    return text + (f"{left} more programs are in the CSV file." if left else "")


def _draw_bars(axes: Axes, program: Program, rows: Sequence[_Row]) -> None:
    """Draw ideal and extra wavefronts; SASS and source stand at the left, once per instruction."""
    longest = max([1.0, *(access.each for _, access, _ in rows)])
    for y, (row, access, machines) in enumerate(rows):
        axes.barh(y - 0.1, access.ideal_each, 0.44, color=_IDEAL)
        axes.barh(y - 0.1, access.each - access.ideal_each, 0.44, access.ideal_each, color=_EXTRA)
        axes.text(access.each + 0.02 * longest, y - 0.1, _bar_text(program, access), va="center", size=6.6)
        if y == 0 or rows[y - 1][0] is not row:
            _write_instruction(axes, row, y)
        if len(machines) < len(program.machines):
            name = f"{len(access.banks)} banks: {_machines(machines)}"
            axes.text(0.01 * longest, y + 0.14, name, va="top", size=6.2, color=style.MUTED)
    axes.set(xlim=(0, longest), ylim=(len(rows) - 0.5, -0.5), yticks=[])
    axes.locator_params(axis="x", nbins=4, integer=True)
    axes.tick_params(axis="x", pad=1, length=2)


def _bar_text(program: Program, access: Access) -> str:
    share = 100 * access.wavefronts / max(1, program.totals(access.machine)[0])
    extra = f", ideal {access.ideal_each:.3g}" if access.wavefronts != access.ideal else ""
    return f"{access.each:.3g}{extra}; {share:.0f} %"


def _machines(machines: Sequence[str]) -> str:
    others = f" and {len(machines) - 1} more" if len(machines) > 1 else ""
    return f"{plain(machines[0], 28)}{others}"


def _write_instruction(axes: Axes, row: Instruction, y: int) -> None:
    """Write SASS and CUDA source left of the bars."""
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    figure = axes.get_figure(root=True)
    assert figure is not None  # inset() made these axes
    shift = ScaledTranslation(-_TEXT + 0.12, 0, figure.dpi_scale_trans)
    place = blended_transform_factory(axes.transAxes, axes.transData) + shift
    font: dict[str, Any] = {"family": "monospace", "transform": place, "ha": "left"}
    more = f"  + {row.count - 1} alike" if row.count > 1 else ""
    axes.text(0, y, plain(row.sass, 58 - len(more)) + more, va="bottom", size=7.2, **font)
    line = f"line {row.source_line}: " if row.source_line else ""
    axes.text(0, y + 0.04, plain(line + row.source, 72), va="top", size=6.4, color=style.MUTED, **font)


def _draw_banks(axes: Axes, rows: Sequence[_Row], most: int) -> None:
    """Draw the words asked of each bank; banks a machine does not have stay blank."""
    banks = max(len(access.banks) for _, access, _ in rows)
    words = np.full((len(rows), max(1, banks)), np.nan)
    for y, (_, access, _) in enumerate(rows):
        words[y, : len(access.banks)] = access.banks
    axes.imshow(words, aspect="auto", cmap="YlGnBu", vmin=0, vmax=most * 1.15, interpolation="nearest")
    axes.set_xticks(range(0, max(1, banks), 8), [str(bank) for bank in range(0, max(1, banks), 8)])
    axes.set_xticks(np.arange(0.5, max(1, banks) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(rows) - 1), minor=True)
    axes.set_yticks([])
    axes.grid(True, which="minor", color="white", linewidth=0.6)
    axes.hlines(np.arange(0.5, len(rows) - 1), -0.5, max(1, banks) - 0.5, color="white", linewidth=4)
    axes.tick_params(which="both", length=0, pad=2)
    axes.spines[:].set_visible(False)
    for y, (_, access, _) in enumerate(rows):
        _write_most(axes, y, access, banks)


def _write_most(axes: Axes, y: int, access: Access, banks: int) -> None:
    """Write how many words the banks are asked for behind a row of the map."""
    if not access.banks:
        return
    least, most = min(access.banks), max(access.banks)
    text = f"{most} each" if least == most else f"{least} to {most}"
    axes.text(banks - 0.5 + 0.015 * banks, y, text, va="center", size=6.6, color=style.MUTED)
