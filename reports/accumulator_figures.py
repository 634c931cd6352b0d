"""The accumulator study's figures of time: over M, layer by layer, over groups; and the list of all figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from reports import style
from reports.accumulator import DECODE, EXISTING, HARDWARE, IDEAL, PREFILL, VARIANTS, WORDS, Study
from reports.accumulator_choice_figures import draw_front, draw_groups
from reports.accumulator_findings import gains, run_us
from reports.accumulator_hardware_figures import draw_hardware, draw_widths
from reports.naming import unique

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOP, _PANEL = 1.15, 2.35  # inches
LOOKS = {variant: style.series_style(index, index) for index, variant in enumerate(VARIANTS)}
LAYER_COLOURS = style.LINE_COLOURS


def panels(
    figure: Figure, rows: int, columns: int, top: float = _TOP, left: float = 0.75
) -> list[list[Axes]]:
    """Return axes row by row, below the headline and its legend."""
    width = (style.WIDTH_INCHES - left - 0.15) / columns
    height = figure.get_figheight() - top - 0.1
    return [
        [
            style.inset(
                figure,
                left + column * width,
                top + row * height / rows + 0.2,
                width - 0.55,
                height / rows - 0.75,
            )
            for column in range(columns)
        ]
        for row in range(rows)
    ]


def draw_times(study: Study) -> Figure:
    """Draw the time of each variant over M, as multiples of the one without scales."""
    groups = max(study.groups)
    figure = style.new_figure(_TOP + _PANEL * len(study.models) + 0.1)
    found = [each for scheme in study.schemes for each in gains(study, scheme)]
    best = max(found, key=lambda each: each.linear_pct, default=None)
    finding = "Time of the variants"
    if best is not None:
        place = f"{best.scheme}, {best.phase} M = {best.m}, {best.groups} groups"
        finding = f"A shift in the tensor core gains at most {best.linear_pct:.1f} % ({place})"
    style.headline(
        figure,
        finding,
        f"Linear layers of the whole model on {study.arch}, {groups} groups. M = {_sizes(study, DECODE)}: so many "
        f"sequences get a token each; M = {_sizes(study, PREFILL)}: a prompt of so many.",
    )
    grid = panels(figure, len(study.models), len(study.schemes))
    for row, model in zip(grid, study.models, strict=True):
        for axes, scheme in zip(row, study.schemes, strict=True):
            _over_m(axes, study, scheme, model, groups)
            axes.set_title(scheme if model == study.models[0] else "", size=style.TEXT_POINTS)
        row[0].set_ylabel(f"{model}: time / without scales")
    _legend(figure, grid[0])
    return figure


def _sizes(study: Study, phase: str) -> str:
    return ", ".join(str(m) for name, m in study.phases if name == phase) or "none"


def _legend(figure: Figure, row: Sequence[Axes]) -> None:
    """Write one legend for all panels."""
    found = {}
    for axes in row:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found[label] = handle
    height = figure.get_figheight()
    figure.legend(
        list(found.values()),
        list(found),
        loc="upper left",
        bbox_to_anchor=(0.05, 1 - 0.62 / height),
        ncols=min(len(found), 7 if sum(map(len, found)) < 80 else 3),
        fontsize=style.SMALL_POINTS,
    )


def _over_m(axes: Axes, study: Study, scheme: str, model: str, groups: int) -> None:
    sizes = unique(m for _, m in study.phases)
    for variant in VARIANTS[1:]:
        found = [(m, _ratio(study, scheme, variant, model, groups, m)) for m in sizes]
        known = [(m, ratio) for m, ratio in found if ratio]
        if known:
            axes.plot(*zip(*known, strict=True), label=WORDS[variant], **LOOKS[variant])
    axes.axhline(1, color=style.FAINT, zorder=0)
    axes.set(xscale="log", xlabel="M")
    axes.set_xticks(sizes, [str(m) for m in sizes])
    axes.minorticks_off()


def _ratio(study: Study, scheme: str, variant: str, model: str, groups: int, m: int) -> float:
    ideal = run_us(study, scheme, IDEAL, model, groups, m)
    return run_us(study, scheme, variant, model, groups, m) / ideal if ideal else 0.0


def draw_layers(study: Study) -> Figure:
    """Draw what a step of the first model is made of, so that Amdahl shows."""
    model, groups = study.models[0], max(study.groups)
    bars = [
        (scheme, variant)
        for scheme in study.schemes
        for variant in VARIANTS
        if any(run_us(study, scheme, variant, model, groups, m) for _, m in study.phases)
    ]
    figure = style.new_figure(_TOP + 0.85 + 0.2 * len(bars))
    style.headline(
        figure,
        f"What a step of {model} is made of",
        f"{groups} groups on {study.arch}. The rest of a step is a lower bound: the head in FP16, attention at the "
        "speed of DRAM or of the tensor cores, launches of the other kernels.",
    )
    (row,) = panels(figure, 1, len(study.phases), left=2.3)
    for axes, (phase, m) in zip(row, study.phases, strict=True):
        _stacked(axes, study, bars, model, groups, phase, m)
        axes.set_title(f"{phase}, M = {m}")
        axes.set_yticks(range(len(bars)), [""] * len(bars))
    row[0].set_yticks(range(len(bars)), [f"{scheme} {variant}" for scheme, variant in bars])
    _legend(figure, row)
    return figure


def _stacked(
    axes: Axes, study: Study, bars: Sequence[tuple[str, str]], model: str, groups: int, phase: str, m: int
) -> None:
    rest = study.rest_of(model, phase, m)
    names = unique(each.layer for each in study.timed if each.model == model)
    parts: dict[str, list[float]] = {name: [] for name in (*names, "head", "attention", "launches")}
    for scheme, variant in bars:
        method = study.method(scheme, variant, groups)
        layers = (
            {each.layer: each.count * each.time_us for each in study.layers(model, method, m)}
            if method
            else {}
        )
        others = {"head": rest.head_us, "attention": rest.attention_us, "launches": rest.launches_us}
        for name, values in parts.items():
            values.append((layers | others).get(name, 0.0) / 1e3 if layers else 0.0)
    left = [0.0] * len(bars)
    greys = {"head": "#8f8f8f", "attention": "#b8b8b8", "launches": "#dcdcdc"}
    for index, (name, values) in enumerate(parts.items()):
        colour = greys.get(name, LAYER_COLOURS[index % len(LAYER_COLOURS)])
        axes.barh(range(len(bars)), values, left=left, color=colour, label=name, height=0.75)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("ms")
    axes.tick_params(axis="y", length=0)


def draw_borders(study: Study) -> Figure:
    """Draw the time of one matmul over its groups."""
    if not study.borders:
        return style.words_only("What one more group costs", "nothing was run")
    sizes = sorted({each.m for each in study.borders})
    figure = style.new_figure(_TOP + _PANEL * len(sizes) + 0.1)
    shape = next(((each.n, each.k) for each in study.borders), (0, 0))
    style.headline(
        figure,
        "What one more group costs",
        f"One matmul, N = {shape[0]}, K = {shape[1]}, groups of equal size, on {study.arch}: "
        "time / time without scales.",
    )
    grid = panels(figure, len(sizes), len(study.schemes))
    for row, m in zip(grid, sizes, strict=True):
        for axes, scheme in zip(row, study.schemes, strict=True):
            _over_groups(axes, study, scheme, m)
            axes.set_title(scheme if m == sizes[0] else "", size=style.TEXT_POINTS)
        row[0].set_ylabel(f"M = {m}: time / without scales")
    _legend(figure, grid[0])
    return figure


def _over_groups(axes: Axes, study: Study, scheme: str, m: int) -> None:
    rows = [each for each in study.borders if (each.method.scheme, each.m) == (scheme, m)]
    ideal = min((each.time_us for each in rows if each.method.variant == IDEAL), default=0.0)
    names = unique(each.accumulator for each in rows if each.method.variant == HARDWARE)
    series = [(variant, "") for variant in EXISTING] + [(HARDWARE, name) for name in names]
    for variant, accumulator in series:
        own = [each for each in rows if (each.method.variant, each.accumulator) == (variant, accumulator)]
        if own and ideal:
            look = LOOKS[variant] | ({"linestyle": "--"} if accumulator and accumulator != names[0] else {})
            label = WORDS[variant] if not accumulator else f"shift in the tensor core: {accumulator}"
            axes.plot(
                [each.method.groups for each in own],
                [each.time_us / ideal for each in own],
                label=label,
                **look,
            )
    axes.axhline(1, color=style.FAINT, zorder=0)
    axes.set_xlabel("groups")


FIGURES: Mapping[str, Callable[[Study], Figure]] = MappingProxyType(
    {
        "times": draw_times,
        "layers": draw_layers,
        "borders": draw_borders,
        "widths": draw_widths,
        "hardware": draw_hardware,
        "groups": draw_groups,
        "front": draw_front,
    }
)
