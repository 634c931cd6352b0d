"""The microbenchmarks in the simulator: the same launches, through the same path as any kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gpu_kernels.micro.benchmark import CYCLES, Benchmark, Point, Row, launches
from sim.arch.spec import GpuSpec
from sim.exec.execute import execute
from sim.isa.launch import KernelLaunch
from sim.sm.columns import resolve
from sim.sm.layout import Drive
from sim.sm.replay import replay

SEED = 0


def simulated(benchmark: Benchmark, gpu: GpuSpec, points: Sequence[Point] | None = None) -> list[Row]:
    """Return the readings that the simulator gives for a benchmark's points on one SM, unloaded memory."""
    chosen = benchmark.points if points is None else points
    return [_row(benchmark, point, gpu) for point in chosen if point.simulated]


def _row(benchmark: Benchmark, point: Point, gpu: GpuSpec) -> Row:
    first, second = (cycles(launch, gpu) for launch in launches(benchmark, point, gpu.program_target))
    few, many = point.trips
    value = (second - first) / (many - few) / point.count
    return Row(benchmark.name, point.name, dict(point.params), value, CYCLES, 0.0, 1)


def cycles(launch: KernelLaunch, gpu: GpuSpec) -> int:
    """Return the SM cycles of one CTA, every iteration replayed."""
    trace = execute(launch, launch.classes[0]).trace
    columns = resolve(trace, gpu)
    replays = np.asarray(columns.loops[:, 2], np.int64)
    drive = Drive(
        sms=1,
        resident=1,
        ctas=1,
        stagger_cycles=0,
        near_cycles=round(gpu.l2.near_latency_cycles),
        far_cycles=round(gpu.l2.far_latency_cycles),
        far_threshold=round(gpu.l2.far_fraction * 2**31),
        seed=SEED,
        sector_ticks=0,
        mark_warp=0,
        marks=0,
        max_cycles=1 << 31,
    )
    return int(replay(columns, drive, replays).end.max())


@dataclass(frozen=True)
class Comparison:
    """One reading beside its simulation."""

    benchmark: str
    point: str
    measured: float
    simulated: float

    @property
    def error(self) -> float:
        """Relative error of the simulation."""
        return self.simulated / self.measured - 1


def compare(measured: Iterable[Row], predictions: Iterable[Row]) -> list[Comparison]:
    """Pair readings with their simulations by benchmark and point."""
    found = {(row.benchmark, row.point): row.value for row in predictions}
    return [
        Comparison(row.benchmark, row.point, row.value, found[row.benchmark, row.point])
        for row in measured
        if (row.benchmark, row.point) in found
    ]
