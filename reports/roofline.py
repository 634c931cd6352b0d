"""Roofline: what each layer reaches under the roofs of DRAM, L2, shared memory and the tensor core."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from reports.naming import layer_name, machine_name, plain, scheme_names, unique
from reports.output import save_figure, write_csv
from sim.results import RunResult

NAME = "roofline"
TITLE = "Roofline: achieved TFLOP/s against arithmetic intensity"

# Key of RunResult.roofs -> name, and whether it is TFLOP/s (a flat roof) rather than GB/s (a slope).
ROOFS = {
    "shared_gb_per_s": ("shared memory", False),
    "l2_gb_per_s": ("L2", False),
    "dram_gb_per_s": ("DRAM", False),
    "tensor_tflops": ("tensor peak", True),
    "mma_tflops": ("mma.sync", True),
}
COLUMNS = (
    "machine",
    "scheme",
    "layer",
    "m",
    "flop_per_byte",
    "tflops",
    "roof_tflops",
    "percent_of_roof",
    "bound_by",
)


@dataclass(frozen=True)
class Roof:
    """One limit: TFLOP/s if flat, else GB/s."""

    key: str
    value: float

    @property
    def flat(self) -> bool:
        """Whether the roof does not depend on the intensity."""
        return ROOFS[self.key][1]

    @property
    def text(self) -> str:
        """Name and value for the reader."""
        return (
            f"{ROOFS[self.key][0]} {self.value:.0f} TFLOP/s"
            if self.flat
            else f"{ROOFS[self.key][0]} {_bandwidth(self.value)}"
        )

    def at(self, intensity: float) -> float:
        """Return TFLOP/s allowed at an intensity in flop per byte."""
        return self.value if self.flat else self.value * intensity / 1000


@dataclass(frozen=True)
class Point:
    """One run; intensity is flop per compulsory byte."""

    m: int
    intensity: float
    tflops: float
    roof_tflops: float  # the lowest of the DRAM roof and the tensor peak, 0 if neither is known
    bound_by: str

    @property
    def percent(self) -> float:
        """Return the share of the roof that is reached."""
        return 100 * self.tflops / self.roof_tflops if self.roof_tflops else float("nan")


@dataclass(frozen=True)
class Line:
    """One layer under one scheme, over M."""

    layer: str
    scheme: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Panel:
    """One machine."""

    machine: str
    roofs: tuple[Roof, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Roofline:
    """The whole report; order of machines, layers and schemes as in the results."""

    panels: tuple[Panel, ...]
    layers: tuple[str, ...]
    schemes: tuple[str, ...]


def collect(results: Sequence[RunResult]) -> Roofline:
    """Sort the runs into machines and lines; of equal runs the fastest counts."""
    named = [
        (machine_name(result), scheme, result)
        for result, scheme in zip(results, scheme_names(results), strict=True)
    ]
    panels = tuple(
        _panel(machine, [(scheme, result) for name, scheme, result in named if name == machine])
        for machine in unique(name for name, _, _ in named)
    )
    return Roofline(panels, unique(map(layer_name, results)), unique(scheme for _, scheme, _ in named))


def _panel(machine: str, runs: Sequence[tuple[str, RunResult]]) -> Panel:
    roofs = tuple(
        Roof(key, max(values))
        for key in ROOFS
        if (values := [result.roofs[key] for _, result in runs if result.roofs.get(key, 0) > 0])
    )
    lines: dict[tuple[str, str], list[RunResult]] = {}
    for scheme, result in runs:
        lines.setdefault((layer_name(result), scheme), []).append(result)
    return Panel(
        machine, roofs, tuple(Line(layer, scheme, _points(line)) for (layer, scheme), line in lines.items())
    )


def _points(line: Sequence[RunResult]) -> tuple[Point, ...]:
    fastest: dict[int, RunResult] = {}
    for result in sorted(line, key=lambda result: (result.m, result.time_us)):
        if 0 < result.time_us < math.inf and result.compulsory_bytes > 0 and result.flops > 0:
            fastest.setdefault(result.m, result)
    return tuple(map(_point, fastest.values()))


def _point(result: RunResult) -> Point:
    intensity = result.flops / result.compulsory_bytes
    limits = [
        Roof(key, result.roofs[key]).at(intensity)
        for key in ("dram_gb_per_s", "tensor_tflops")
        if result.roofs.get(key, 0) > 0
    ]
    return Point(
        result.m, intensity, result.flops / result.time_us / 1e6, min(limits, default=0.0), result.bound_by
    )


def reached(panel: Panel) -> dict[int, dict[str, float]]:
    """Return each scheme's median percentage of the roof over the layers, at both ends of M."""
    sizes = sorted({point.m for line in panel.lines for point in line.points})
    found: dict[int, dict[str, float]] = {}
    for m in unique(sizes[:1] + sizes[-1:]):
        shares: dict[str, list[float]] = {}
        for line in panel.lines:
            for point in line.points:
                if point.m == m and point.roof_tflops:
                    shares.setdefault(line.scheme, []).append(point.percent)
        found |= {m: {scheme: median(values) for scheme, values in shares.items()}} if shares else {}
    return found


def finding(panel: Panel, each: bool = False) -> str:
    """Say how much of its roof this machine reaches; ``each`` tells every scheme, not the range."""
    parts = [f"{_shares(shares, each)} at M = {m}" for m, shares in reached(panel).items()]
    return ", ".join([parts[0].replace(" at M", " of the roof at M"), *parts[1:]]) if parts else ""


def _shares(shares: dict[str, float], each: bool) -> str:
    if each:
        return " / ".join(f"{plain(scheme, 28)} {share:.0f} %" for scheme, share in shares.items())
    low, high = f"{min(shares.values()):.0f}", f"{max(shares.values()):.0f}"
    return f"{low} %" if low == high else f"{low}-{high} %"


def _bandwidth(gb_per_s: float) -> str:
    """Write a bandwidth with three digits."""
    return f"{gb_per_s / 1000:.3g} TB/s" if gb_per_s >= 1000 else f"{gb_per_s:.3g} GB/s"


def render(data: Roofline, out_dir: Path) -> list[Path]:
    """Write roofline.png, roofline.svg and roofline.csv."""
    from reports.roofline_figure import draw
    from reports.style import drawing

    with drawing():
        files = save_figure(draw(data), out_dir, NAME)
    return [*files, write_csv(list(_rows(data)), COLUMNS, out_dir / f"{NAME}.csv")]


def _rows(data: Roofline) -> Iterator[dict[str, object]]:
    for panel in data.panels:
        for line in panel.lines:
            for point in line.points:
                values = (
                    panel.machine,
                    line.scheme,
                    line.layer,
                    point.m,
                    point.intensity,
                    point.tflops,
                    point.roof_tflops,
                )
                yield dict(zip(COLUMNS, (*values, point.percent, point.bound_by), strict=True))
