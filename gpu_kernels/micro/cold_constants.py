"""Constants that are read for the first time in a launch: a kernel's arguments, 64 bytes after 64 bytes.

A chain of loads by register index, twice through 1 KiB of arguments; thread 0 of each CTA reads the clock around each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.micro.benchmark import CYCLES, Benchmark, Feed, Point, Row, Table, launch
from sim.isa.launch import Buffer

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

STEP_BYTES, STEPS, PASSES = 64, 16, 2
CTAS = 132
REPEATS = 9
SOURCE = f"""
struct Words {{
  u32 v[{STEP_BYTES * STEPS // 4}];
}};

MICRO(constants, const __grid_constant__ Words words, u32* taken) {{
  u32 at = 0, cycles[{PASSES * STEPS}], before = clock();
  REPEAT(pass, {PASSES}) REPEAT(step, {STEPS}) {{
    at = words.v[(at + {STEP_BYTES // 4} * step) & {STEP_BYTES * STEPS // 4 - 1}];
    const u32 after = clock() + at;
    cycles[pass * {STEPS} + step] = after - before;
    before = after;
  }}
  if (threadIdx.x == 0) REPEAT(i, {PASSES * STEPS}) taken[{PASSES * STEPS} * blockIdx.x + i] = cycles[i];
}}
"""


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    steps = np.median([_steps(runner, benchmark) for _ in range(REPEATS)], axis=0)
    for number, cycles in enumerate(steps):
        params = {"pass": number // STEPS, "step": number % STEPS}
        label = f"load pass={number // STEPS} step={number % STEPS}"
        yield Row(benchmark.name, label, params, float(cycles), CYCLES, 0.0, REPEATS)


def _steps(runner: Runner, benchmark: Benchmark) -> list[float]:
    """Run once; return the median over the CTAs of what each load took."""
    zeros = np.void(bytes(STEP_BYTES * STEPS))
    point = Point(
        "constants",
        ctas=CTAS,
        arguments=(zeros, Buffer("taken", 4 * PASSES * STEPS * CTAS, "output")),
        simulated=False,
    )
    arrays = runner.run(launch(benchmark, point, 1))
    taken = arrays["taken"].get().view(np.uint32).reshape(CTAS, PASSES * STEPS)
    return [float(each) for each in np.median(taken, axis=0)]


def line_cycles(table: Table) -> float:
    """Return what a line takes the first time beyond what it takes again; the chains' ends are left out."""
    first, again = (
        [table.value("load", **{"pass": number, "step": step}) for step in range(2, STEPS)]
        for number in range(2)
    )
    return float(np.mean(first) - np.mean(again))


BENCHMARK = Benchmark(
    name="cold_constants",
    about="a kernel's arguments, read for the first time and again: cycles of each load of 64 bytes further on",
    source=SOURCE,
    feeds=(Feed("launch.argument_line_cycles", line_cycles, whole=True),),
    measure=_measure,
)
