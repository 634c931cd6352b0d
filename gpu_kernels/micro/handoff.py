"""The end of a CTA that shares a tile with others along K: partial sums out, fence, arrival, and the last one sums up.

All CTAs begin at the same time, as they end in a matmul. Thread 0 reads the clock between the steps; no loop, so what
is measured is what happens once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.micro.benchmark import CYCLES, Benchmark, Parameter, Point, Row, launch
from sim.isa.launch import Buffer

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

STORES = (1, 4, 16)  # of 16 bytes, by each thread
WARPS = (4, 8)
GRIDS = ((2, 2), (32, 2), (128, 2), (128, 4))  # CTAs, and of these as many as share a tile
STEPS = ("store", "fence", "arrive", "prepare", "read")
STAMPS = 8  # room for each CTA
REPEATS = 9


def _kernel(stores: int) -> str:
    return f"""
MICRO(handoff_{stores}, float4* workspace, u32* counters, u32* begun, u32 slices, long long* stamps) {{
  __shared__ u32 order;
  const u32 threads = blockDim.x, tile = blockIdx.x / slices;
  long long at[6];
  if (threadIdx.x == 0) {{
    atomicAdd(begun, 1u);
    while (*reinterpret_cast<volatile u32*>(begun) < gridDim.x) {{
    }}
  }}
  __syncthreads();
  at[0] = clock64();
  float4* own = workspace + static_cast<u64>(blockIdx.x) * {stores} * threads + threadIdx.x;
  REPEAT(i, {stores}) own[i * threads] = make_float4(trips, i, threadIdx.x, 1.f);
  at[1] = clock64();
  asm volatile("fence.acq_rel.gpu;" ::: "memory");
  __syncthreads();
  at[2] = clock64();
  if (threadIdx.x == 0) order = atomicAdd(counters + tile, 1u);
  __syncthreads();
  at[3] = at[4] = at[5] = clock64();
  if (order == slices - 1) {{
    if (threadIdx.x == 0) counters[tile] = 0;
    asm volatile("fence.acq_rel.gpu;" ::: "memory");
    at[4] = clock64();
    float total = 0.f;
    const float4* from = workspace + static_cast<u64>(tile) * slices * {stores} * threads + threadIdx.x;
    for (u32 z = 0; z < slices; ++z) {{
      float4 part[{stores}];
      REPEAT(i, {stores})
        asm volatile("ld.global.cg.v4.f32 {{%0,%1,%2,%3}}, [%4];"
                     : "=f"(part[i].x), "=f"(part[i].y), "=f"(part[i].z), "=f"(part[i].w)
                     : "l"(from + (z * {stores} + i) * threads));
      REPEAT(i, {stores}) total += part[i].x + part[i].y + part[i].z + part[i].w;
    }}
    if (total == 12345.f) sink[threadIdx.x] = 1;
    __syncthreads();
    at[5] = clock64();
  }}
  if (threadIdx.x == 0) REPEAT(i, 6) stamps[{STAMPS} * blockIdx.x + i] = at[i];
}}
"""


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    for (ctas, slices), warps, stores in product(GRIDS, WARPS, STORES):
        params: dict[str, Parameter] = {"ctas": ctas, "slices": slices, "warps": warps, "stores": stores}
        steps = np.median(
            [_steps(runner, benchmark, ctas, slices, warps, stores) for _ in range(REPEATS)], axis=0
        )
        for name, cycles in zip(STEPS, steps, strict=True):
            label = " ".join([name, *(f"{key}={value}" for key, value in params.items())])
            yield Row(benchmark.name, label, params, float(cycles), CYCLES, 0.0, REPEATS)


def _steps(
    runner: Runner, benchmark: Benchmark, ctas: int, slices: int, warps: int, stores: int
) -> list[float]:
    """Run once; return the median over the CTAs of what each step took: of the last two, over those that came last."""
    stamps = Buffer("stamps", 8 * STAMPS * ctas, "output")
    arguments = (
        Buffer("workspace", 16 * 32 * warps * stores * ctas, "workspace"),
        Buffer("counters", 4 * ctas, "workspace", zeroed=True),
        Buffer("begun", 4, "workspace", zeroed=True),
        np.uint32(slices),
        stamps,
    )
    point = Point(f"handoff_{stores}", warps=warps, ctas=ctas, arguments=arguments, simulated=False)
    arrays = runner.run(launch(benchmark, point, 1))
    at = arrays["stamps"].get().view(np.int64).reshape(ctas, STAMPS)[:, : len(STEPS) + 1]
    taken = np.diff(at, axis=1)
    last = taken[taken[:, -1] > 0] if (taken[:, -1] > 0).any() else taken
    return [float(np.median((last if step > 2 else taken)[:, step])) for step in range(len(STEPS))]


BENCHMARK = Benchmark(
    name="handoff",
    about="the end of CTAs that share a tile: stores, fence, arrival and the last one's sum, cycles of each step",
    source="".join(_kernel(stores) for stores in STORES),
    measure=_measure,
)
