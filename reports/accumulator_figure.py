"""Draws the accumulator study: times over M, the cost of a border, overflows over width, accuracy against time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import style
from reports.accumulator import HARDWARE, IDEAL, VARIANTS, WORDS, Study, model_us, schemes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOP, _PANEL = 0.95, 2.7  # inches


def draw(study: Study) -> Figure:
    """Return the figure: a row of panels for each scheme, then the numerics."""
    found = schemes(study)
    figure = style.new_figure(_TOP + _PANEL * (len(found) + 1) + 0.1)
    style.headline(
        figure,
        f"Shifting accumulators: {study.model} on {study.arch}",
        "Linear layers of the whole model. Top: times. Bottom: synthetic activations with outlier channels.",
    )
    for row, scheme in enumerate(found):
        _over_m(_panel(figure, 0, row), study, scheme)
        _over_groups(_panel(figure, 1, row), study, scheme)
    _widths(_panel(figure, 0, len(found)), study)
    _pareto(_panel(figure, 1, len(found)), study)
    return figure


def _panel(figure: Figure, column: int, row: int) -> Axes:
    width = (style.WIDTH_INCHES - 0.3) / 2
    return style.inset(figure, 0.75 + column * width, _TOP + row * _PANEL + 0.15, width - 0.9, _PANEL - 0.75)


def _over_m(axes: Axes, study: Study, scheme: str) -> None:
    groups = study.groups[-1]
    for index, variant in enumerate(VARIANTS[1:]):
        ratios = [
            model_us(study.timed, scheme, variant, groups, m)
            / model_us(study.timed, scheme, IDEAL, groups, m)
            for m in study.sizes
        ]
        axes.plot(study.sizes, ratios, label=WORDS[variant], **style.series_style(index, index))
    axes.axhline(1, color=style.FAINT)
    axes.set(title=f"{scheme}, {groups} groups", xscale="log", xlabel="M", ylabel="time / without scales")
    axes.set_xticks(study.sizes, [str(m) for m in study.sizes])
    axes.minorticks_off()
    axes.legend()


def _over_groups(axes: Axes, study: Study, scheme: str) -> None:
    m = study.sizes[-1]
    for index, variant in enumerate(VARIANTS[1:]):
        times = [model_us(study.timed, scheme, variant, groups, m) / 1e3 for groups in study.groups]
        axes.plot(study.groups, times, label=WORDS[variant], **style.series_style(index, index))
    axes.set(title=f"{scheme}, M = {m}", xlabel="groups", ylabel="ms", ylim=(0, None))


def _widths(axes: Axes, study: Study) -> None:
    for index, bits in enumerate(sorted({each.bits for each in study.overflow})):
        for groups in study.groups:
            rows = [
                each
                for each in study.overflow
                if (each.bits, each.groups, each.mode) == (bits, groups, "wrap")
            ]
            label = f"INT{bits}, {groups} groups"
            marks = style.series_style(study.groups.index(groups), index)
            axes.plot([each.width for each in rows], [each.sqnr_db for each in rows], label=label, **marks)
    axes.set(title="wrapping accumulators", xlabel="bits of the accumulator", ylabel="SQNR, dB")
    axes.legend(fontsize=style.SMALL_POINTS)


def _pareto(axes: Axes, study: Study) -> None:
    """Show the error of each scheme against the time of its fastest variant that needs no new hardware."""
    m = study.sizes[-1]
    for index, each in enumerate(study.accurate):
        variants = {row.variant for row in study.timed if row.scheme == each.scheme} - {IDEAL, HARDWARE}
        times = [model_us(study.timed, each.scheme, variant, each.groups, m) / 1e3 for variant in variants]
        fastest = min((time for time in times if time), default=0.0)
        if not fastest:
            continue
        look = style.series_style(index, index)
        axes.plot([fastest], [each.sqnr_db], color=look["color"], marker=look["marker"], linestyle="none")
        name = each.scheme + (f" G={each.groups}" if each.groups else "")
        axes.annotate(
            name,
            (fastest, each.sqnr_db),
            size=style.SMALL_POINTS,
            xytext=(5, 4 if index % 2 else -9),
            textcoords="offset points",
        )
    axes.margins(x=0.25, y=0.15)
    axes.set(title=f"accuracy against time, M = {m}", xlabel="ms", ylabel="SQNR, dB")
