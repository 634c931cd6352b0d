"""Branches to code that runs for the first time in a launch, ``skip`` bytes further on, and to the same code again.

What lies between is never run. Thread 0 of each CTA reads the clock around each jump: straight code is fetched ahead
(``cold_code``), a branch to code that is not there has to wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.micro.benchmark import CYCLES, Benchmark, Parameter, Point, Row, launch
from sim.isa.launch import Buffer

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

SKIPS = (256, 512, 1024, 2048, 4096)  # bytes
JUMPS, TRIPS = 12, 3
WARPS = (1, 4, 8)
CTAS = 132
REPEATS = 9
INSTRUCTION_BYTES = 16


def _jump(number: int, skip: int) -> str:
    body = "x = x * y + y; " * (skip // INSTRUCTION_BYTES)
    return f"""
    asm volatile("mov.u32 %0, %%clock;" : "=r"(before) :: "memory");
    if (never != {number}) goto over_{number};
    {body}
  over_{number}:
    asm volatile("mov.u32 %0, %%clock;" : "=r"(after) :: "memory");
    if (threadIdx.x == 0) taken[{JUMPS} * ({TRIPS} * blockIdx.x + trip) + {number}] = after - before;"""


def _kernel(skip: int) -> str:
    return f"""
MICRO(jumps_{skip}, int never, float y, u32* taken) {{
  float x = threadIdx.x;
  u32 before, after;
  __syncthreads();
  LOOP {{{"".join(_jump(number, skip) for number in range(JUMPS))}
  }}
  if (x == 12345.f) sink[threadIdx.x] = 1;
}}
"""


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    for skip in SKIPS:
        for warps in WARPS:
            found = np.median([_jumps(runner, benchmark, skip, warps) for _ in range(REPEATS)], axis=0)
            for name, cycles in (("first", found[0]), ("again", found[1])):
                params: dict[str, Parameter] = {"skip": skip, "warps": warps}
                label = f"{name} skip={skip} warps={warps}"
                yield Row(benchmark.name, label, params, float(cycles), CYCLES, 0.0, REPEATS)


def _jumps(runner: Runner, benchmark: Benchmark, skip: int, warps: int) -> list[float]:
    """Run once; return the mean cycles of a jump in each trip, the median over the CTAs."""
    taken = Buffer("taken", 4 * JUMPS * TRIPS * CTAS, "output")
    arguments = (np.int32(-1), np.float32(0.5), taken)
    point = Point(f"jumps_{skip}", warps=warps, ctas=CTAS, arguments=arguments, simulated=False)
    arrays = runner.run(launch(benchmark, point, TRIPS))
    cycles = arrays["taken"].get().view(np.uint32).reshape(CTAS, TRIPS, JUMPS).astype(np.float64)
    return [float(each) for each in np.median(cycles.mean(axis=2), axis=0)]


BENCHMARK = Benchmark(
    name="cold_branches",
    about="branches to code that runs for the first time in a launch, and again: cycles of each by distance",
    source="".join(_kernel(skip) for skip in SKIPS),
    measure=_measure,
)
