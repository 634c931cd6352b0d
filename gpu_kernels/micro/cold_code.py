"""Code that runs for the first time: what an SM waits for its instructions when a launch begins.

Straight code of independent instructions, run twice in one launch: the first trip fetches it from L2, the second finds
what the instruction caches hold. Thread 0 of each CTA reads the clock around each trip.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.micro.benchmark import CYCLES, Benchmark, Parameter, Point, Row, launch
from sim.isa.launch import Buffer

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

KILOBYTES = (2, 8, 16, 32, 64, 96)
WARPS = (1, 4, 8, 16)
CTAS = 132
TRIPS = 3
REPEATS = 5
PER_KILOBYTE = 64  # instructions of 16 bytes
CHAINS = 8  # independent ones: a warp could issue every cycle


def _kernel(kilobytes: int) -> str:
    line = " ".join(f"x{i} = x{i} * y + y;" for i in range(CHAINS))
    return f"""
MICRO(cold_{kilobytes}, float y, u32* taken) {{
  {" ".join(f"float x{i} = threadIdx.x + {i};" for i in range(CHAINS))}
  __syncthreads();
  LOOP {{
    const u32 begin = clock();
    {line * (kilobytes * PER_KILOBYTE // CHAINS)}
    const u32 end = clock();
    if (threadIdx.x == 0) taken[{TRIPS} * blockIdx.x + trip] = end - begin;
  }}
  if ({" + ".join(f"x{i}" for i in range(CHAINS))} == 12345.f) sink[threadIdx.x] = 1;
}}
"""


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    for kilobytes in KILOBYTES:
        for warps in WARPS:
            found = np.median([_trips(runner, benchmark, kilobytes, warps) for _ in range(REPEATS)], axis=0)
            for name, cycles in (("first", found[0]), ("second", found[1])):
                params: dict[str, Parameter] = {"kb": kilobytes, "warps": warps}
                label = f"{name} kb={kilobytes} warps={warps}"
                yield Row(benchmark.name, label, params, float(cycles), CYCLES, 0.0, REPEATS)


def _trips(runner: Runner, benchmark: Benchmark, kilobytes: int, warps: int) -> list[float]:
    """Run once; return the median over the CTAs of the cycles of each trip."""
    arguments = (np.float32(0.5), Buffer("taken", 4 * TRIPS * CTAS, "output"))
    point = Point(f"cold_{kilobytes}", warps=warps, ctas=CTAS, arguments=arguments, simulated=False)
    arrays = runner.run(launch(benchmark, point, TRIPS))
    taken = arrays["taken"].get().view(np.uint32).reshape(CTAS, TRIPS)
    return [float(each) for each in np.median(taken, axis=0)]


BENCHMARK = Benchmark(
    name="cold_code",
    about="straight code in its first and in its second trip, on all SMs: what instruction fetch costs at a launch",
    source="".join(_kernel(kilobytes) for kilobytes in KILOBYTES),
    measure=_measure,
)
