"""Stall breakdown: what the warps of each run wait for, in warp cycles per issued instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reports import style
from reports.naming import layer_name, machine_name, plain, scheme_names, unique
from reports.output import save_figure, write_csv
from sim.results import STALLS, RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "stalls"
TITLE = "Stalls: warp cycles per issued instruction, by reason"

MAX_BARS = 28  # of a panel
_COLOURS = {
    "issued": "#4d4d4d",
    "wait": "#bdbdbd",
    "long_scoreboard": "#0072b2",
    "short_scoreboard": "#8cc4e8",
    "math_pipe_throttle": "#e08214",
    "mio_throttle": "#009e73",
    "barrier": "#cc79a7",
    "membar": "#7b3294",
    "dispatch_stall": "#f0d43a",
    "gmma": "#a6611a",
    "not_selected": "#e6e0d0",
}
_TOP, _ROW = 1.22, 0.17  # inches
_TOTAL, _CHARACTER = 0.27, 0.052  # inches: behind a bar, and of the text in it


@dataclass(frozen=True)
class Bar:
    """The warps of one run; ``cycles`` are in the order of STALLS, ``issued`` among them."""

    machine: str
    scheme: str
    layer: str
    m: int
    cycles: tuple[float, ...]

    @property
    def total(self) -> float:
        """Warp cycles per issued instruction."""
        return sum(self.cycles)

    @property
    def worst(self) -> str:
        """Name the largest stall and its share; empty if there is none."""
        stalls = {name: cycles for name, cycles in zip(STALLS, self.cycles, strict=True) if name != "issued"}
        name = max(stalls, key=lambda key: stalls[key])
        return f"{words(name)} {100 * stalls[name] / self.total:.0f} %" if stalls[name] > 0 else ""


@dataclass(frozen=True)
class Stalls:
    """All runs that recorded stalls, in the order of the results."""

    bars: tuple[Bar, ...]


def words(reason: str) -> str:
    """Return a reason's name for a reader."""
    return reason.replace("_", " ")


def collect(results: Sequence[RunResult]) -> Stalls:
    """Take the stalls of each run that recorded any."""
    bars = (
        Bar(
            machine_name(run),
            scheme,
            layer_name(run),
            run.m,
            tuple(float(run.stalls.get(key, 0)) for key in STALLS),
        )
        for run, scheme in zip(results, scheme_names(results), strict=True)
    )
    return Stalls(tuple(bar for bar in bars if bar.total > 0))


def selected(bars: Sequence[Bar]) -> tuple[tuple[int, str, str], ...]:
    """Choose the rows (M, scheme, layer) of the figure: smallest, middle and largest M, as many as fit.

    Where even the two ends of M are too many, each keeps its first layers.
    """
    sizes = sorted({bar.m for bar in bars})
    for few in (sizes, [sizes[0], sizes[len(sizes) // 2], sizes[-1]], [sizes[0], sizes[-1]]):
        rows = [unique((m, bar.scheme, bar.layer) for bar in bars if bar.m == m) for m in unique(few)]
        if sum(map(len, rows)) <= MAX_BARS:
            break
    return tuple(row for part in rows for row in part[: MAX_BARS // len(rows)])


def finding(bars: Sequence[Bar]) -> str:
    """Name the largest stall at the smallest and at the largest M of the given bars."""
    sizes = sorted({bar.m for bar in bars})
    parts = [
        f"{_largest([bar for bar in bars if bar.m == m])} at M = {m}" for m in unique((sizes[0], sizes[-1]))
    ]
    return "Largest stall on {}: {}".format(plain(bars[0].machine, 30), ", ".join(parts))


def _largest(bars: Sequence[Bar]) -> str:
    """Name the reason with the most warp cycles over the bars, and its share."""
    sums = tuple(map(sum, zip(*(bar.cycles for bar in bars), strict=True)))
    return Bar("", "", "", 0, sums).worst or "none"


def render(data: Stalls, out_dir: Path) -> list[Path]:
    """Write stalls.png, stalls.svg and stalls.csv."""
    with style.drawing():
        figure = _draw(data) if data.bars else style.words_only(TITLE, "No run recorded stalls.")
        files = save_figure(figure, out_dir, NAME)
    rows = [
        {
            "machine": bar.machine,
            "scheme": bar.scheme,
            "layer": bar.layer,
            "m": bar.m,
            **dict(zip(STALLS, bar.cycles, strict=True)),
        }
        for bar in data.bars
    ]
    return [*files, write_csv(rows, ("machine", "scheme", "layer", "m", *STALLS), out_dir / f"{NAME}.csv")]


def _draw(data: Stalls) -> Figure:
    machines = unique(bar.machine for bar in data.bars)
    shown = machines[: style.MAX_PANELS]
    rows = selected(data.bars)
    side = style.label_inches(map(_row_name, rows))
    columns = min(len(shown), 4 if len(shown) in (4, 7, 8) else 3)
    lines = -(-len(shown) // columns)
    width, height = (style.WIDTH_INCHES - side - 0.1) / columns, _ROW * (len(rows) + _gaps(rows)) + 0.6
    figure = style.new_figure(_TOP + lines * height - 0.1)
    drawn = [bar for bar in data.bars if (bar.m, bar.scheme, bar.layer) in set(rows) and bar.machine in shown]
    first = [bar for bar in drawn if bar.machine == shown[0]]
    note = "Each bar is what the warps of one run do with their time; the text in it is the largest stall's share. "
    note += f"{len(drawn)} of {len(data.bars)} runs."
    style.headline(figure, finding(first), note + style.left_out(len(machines) - len(shown)))
    for number, machine in enumerate(shown):
        column, line = number % columns, number // columns
        axes = style.inset(figure, side + column * width, _TOP + line * height, width - 0.12, height - 0.55)
        _draw_panel(axes, machine, [bar for bar in drawn if bar.machine == machine], rows, width - 0.12)
        axes.tick_params(labelleft=column == 0)
    figure.text(
        0.5,
        0.06 / figure.get_figheight(),
        "share of the warps' time; behind each bar: warp cycles per issued instruction",
        ha="center",
        size=style.TEXT_POINTS,
    )
    _draw_legend(figure, drawn)
    return figure


def _row_name(row: tuple[int, str, str]) -> str:
    return f"M={row[0]}  {plain(row[1], 20)}  {row[2]}"


def _gaps(rows: Sequence[tuple[int, str, str]]) -> int:
    return len({m for m, _, _ in rows}) - 1


def _draw_panel(
    axes: Axes,
    machine: str,
    bars: Sequence[Bar],
    rows: Sequence[tuple[int, str, str]],
    inches: float,
) -> None:
    """Draw one machine's bars, a gap between the values of M."""
    order = unique(m for m, _, _ in rows)
    places = {row: number + order.index(row[0]) for number, row in enumerate(rows)}
    for bar in bars:
        _draw_bar(axes, bar, places[bar.m, bar.scheme, bar.layer], inches)
    axes.set_title(plain(machine, int(10 * inches)))
    axes.set(xlim=(0, 100 * inches / (inches - _TOTAL)), ylim=(max(places.values()) + 0.6, -0.6))
    axes.set_yticks(list(places.values()), [_row_name(row) for row in places])
    axes.set_xticks([0, 25, 50, 75, 100], ["0", "", "50 %", "", "100 %"])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _draw_bar(axes: Axes, bar: Bar, y: int, inches: float) -> None:
    """Draw a run's bar of 100 %, and the cycles that stand for it."""
    shares = [100 * cycles / bar.total for cycles in bar.cycles]
    left = 0.0
    for reason, share in zip(STALLS, shares, strict=True):
        axes.barh(y, share, 0.82, left, color=_COLOURS[reason], edgecolor="white", linewidth=0.4)
        left += share
    axes.text(102, y, f"{bar.total:.3g}", va="center_baseline", size=6.4, color=style.MUTED)
    worst = max(range(1, len(STALLS)), key=lambda index: shares[index])
    middle = sum(shares[:worst]) + shares[worst] / 2
    for text in (bar.worst, f"{shares[worst]:.0f} %"):
        if shares[worst] / 100 * (inches - _TOTAL) > _CHARACTER * len(text):
            colour = "white" if STALLS[worst] in ("long_scoreboard", "membar", "mio_throttle") else style.INK
            axes.text(middle, y, text, ha="center", va="center_baseline", size=6.4, color=colour)
            break


def _draw_legend(figure: Figure, bars: Sequence[Bar]) -> None:
    """Explain the colours of the reasons that can be seen."""
    from matplotlib.patches import Patch

    seen = [
        name
        for index, name in enumerate(STALLS)
        if any(bar.cycles[index] > 0.004 * bar.total for bar in bars)
    ]
    handles = [
        Patch(color=_COLOURS[name], label="issued (no stall)" if name == "issued" else words(name))
        for name in seen
    ]
    top = 1 - 0.56 / figure.get_figheight()
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.003, top), ncols=min(len(handles), 7),
                  columnspacing=1.3, handlelength=1.2, handletextpad=0.5, fontsize=7.5)  # fmt: skip
