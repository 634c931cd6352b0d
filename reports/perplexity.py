"""Perplexity of a user's language model in each number format.

Not one of the reports on a sweep: its data come from ``tcsim study accuracy --model-dir``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import style
from reports.output import save_figure, write_csv
from workloads.accuracy.perplexity import Perplexity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("scheme", "weight_bits", "activation_bits", "perplexity", "times_fp32", "last_layer_db")
_TOP, _LINE, _BOTTOM, _LEFT, _GAP = 0.95, 0.19, 0.6, 1.6, 0.35  # inches
Row = dict[str, Any]


@dataclass(frozen=True)
class PerplexityStudy:
    """All that the study found; float32 comes first."""

    model: str
    text: str
    tokens: int
    window: int
    bits: dict[str, tuple[float, float]]  # of a weight and of an activation, of each scheme
    found: tuple[Perplexity, ...]


def rows(study: PerplexityStudy) -> list[Row]:
    """Return a row per scheme."""
    exact = study.found[0].perplexity
    return [
        dict(
            zip(
                COLUMNS,
                (
                    each.method,
                    *study.bits[each.method],
                    each.perplexity,
                    each.perplexity / exact,
                    each.after_db[-1],
                ),
                strict=True,
            )
        )
        for each in study.found
    ]


def layer_rows(study: PerplexityStudy) -> list[Row]:
    """Return a row per scheme and layer."""
    return [
        {"scheme": each.method, "layer": layer, "after_db": level}
        for each in study.found[1:]
        for layer, level in enumerate(each.after_db)
    ]


def render(study: PerplexityStudy, out_dir: Path) -> list[Path]:
    """Write the tables and the figure."""
    with style.drawing():
        figures = save_figure(draw(study), out_dir, "perplexity")
    return [
        *figures,
        write_csv(rows(study), COLUMNS, out_dir / "perplexity.csv"),
        write_csv(layer_rows(study), ("scheme", "layer", "after_db"), out_dir / "perplexity_layers.csv"),
    ]


def draw(study: PerplexityStudy) -> Figure:
    """Return the figure: perplexities, and the error of the rows through the layers."""
    shown = study.found[1:]
    lines = _LINE * max(3, len(shown))
    figure = style.new_figure(_TOP + 0.1 + lines + _BOTTOM)
    note = f"{study.tokens} tokens of {study.text} in windows of {study.window}."
    style.headline(figure, f"Perplexity of {study.model}", note)
    width = (style.WIDTH_INCHES - _LEFT - 2 * _GAP) / 2
    panels = [
        style.inset(figure, _LEFT + index * (width + _GAP), _TOP + 0.1, width, lines) for index in (0, 1)
    ]
    _perplexities(panels[0], study)
    _layers(panels[1], study)
    for axes in panels:
        names = [each.method for each in shown] if axes is panels[0] else [""] * len(shown)
        axes.set_yticks(range(len(shown)), names)
        axes.set_ylim(max(3, len(shown)) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color=style.FAINT, linewidth=0.5)
        axes.set_axisbelow(True)
    return figure


def _perplexities(axes: Axes, study: PerplexityStudy) -> None:
    exact, *others = (each.perplexity for each in study.found)
    axes.axvline(exact, color=style.MUTED, linewidth=1)
    axes.plot(others, range(len(others)), "o", color=style.LINE_COLOURS[0], markersize=4)
    axes.set(title="perplexity", xscale="log", xlabel=f"the line is float32's: {exact:.4g}")
    largest = max((each for each in others if each < float("inf")), default=exact)
    low, high = min(exact, *others), max(largest, exact)
    margin = max(1.01, (high / low) ** 0.04)
    axes.set_xlim(low / margin, high * margin)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}" if largest < 8 * exact else "")


def _layers(axes: Axes, study: PerplexityStudy) -> None:
    for line, each in enumerate(study.found[1:]):
        axes.plot([min(each.after_db), max(each.after_db)], [line, line], color=style.FAINT, linewidth=3)
        axes.plot([each.after_db[-1]], [line], "o", color=style.LINE_COLOURS[0], markersize=4)
    axes.set(title="rows after the layers", xlabel="SQNR, dB: after the last layer, and range of all")
