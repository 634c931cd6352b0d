"""The end of a CTA that shares a tile with others along K: partial sums out, fence, arrival, and the last one sums up.

All CTAs begin at the same time, as they end in a matmul. Thread 0 reads the clock between the steps; no loop, so what
is measured is what happens once. The last one reads all partial sums, slice after slice, and then the same ones again:
how much longer the first time takes is what it costs that others wrote them a moment ago. CTAs that share a tile are
neighbours in the grid or, as in the matmuls, as far from each other as the grid allows (``apart``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.micro.benchmark import CYCLES, Benchmark, Feed, Parameter, Point, Row, Table, launch
from sim.isa.launch import Buffer

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

STORES = (1, 4, 16)  # of 16 bytes, by each thread
WARPS = (1, 4, 8)
GRIDS = ((2, 2, 0), (128, 2, 0), (128, 2, 1), (128, 4, 0), (128, 4, 1))  # CTAs, as many share a tile, apart
STEPS = ("store", "fence", "arrive", "prepare", "read", "again")
LAST = ("prepare", "read", "again")  # steps of the CTA that comes last
STAMPS = 8  # room for each CTA
REPEATS = 9


def _kernel(stores: int) -> str:
    return f"""
MICRO(handoff_{stores}, float4* workspace, u32* counters, u32* begun, u32 slices, u32 apart, long long* stamps) {{
  __shared__ u32 order;
  const u32 threads = blockDim.x, tiles = gridDim.x / slices;
  const u32 tile = apart ? blockIdx.x % tiles : blockIdx.x / slices;
  const u32 slice = apart ? blockIdx.x / tiles : blockIdx.x % slices;
  long long at[7];
  if (threadIdx.x == 0) {{
    atomicAdd(begun, 1u);
    while (*reinterpret_cast<volatile u32*>(begun) < gridDim.x) {{
    }}
  }}
  __syncthreads();
  at[0] = clock64();
  float4* shared_tile = workspace + static_cast<u64>(tile) * slices * {stores} * threads + threadIdx.x;
  float4* own = shared_tile + static_cast<u64>(slice) * {stores} * threads;
  REPEAT(i, {stores}) own[i * threads] = make_float4(trips, i, threadIdx.x, 1.f);
  at[1] = clock64();
  asm volatile("fence.acq_rel.gpu;" ::: "memory");
  __syncthreads();
  at[2] = clock64();
  if (threadIdx.x == 0) order = atomicAdd(counters + tile, 1u);
  __syncthreads();
  at[3] = at[4] = at[5] = at[6] = clock64();
  if (order == slices - 1) {{
    if (threadIdx.x == 0) counters[tile] = 0;
    asm volatile("fence.acq_rel.gpu;" ::: "memory");
    at[4] = clock64();
    REPEAT(time, 2) {{
      float total = 0.f;
#pragma unroll 1
      for (u32 z = 0; z < slices; ++z) {{
        float4 part[{stores}];
        REPEAT(i, {stores})
          asm volatile("ld.global.cg.v4.f32 {{%0,%1,%2,%3}}, [%4];"
                       : "=f"(part[i].x), "=f"(part[i].y), "=f"(part[i].z), "=f"(part[i].w)
                       : "l"(shared_tile + (z * {stores} + i) * threads));
        REPEAT(i, {stores}) total += part[i].x + part[i].y + part[i].z + part[i].w;
      }}
      if (total == 12345.f) sink[threadIdx.x] = 1;
      __syncthreads();
      at[5 + time] = clock64();
    }}
  }}
  if (threadIdx.x == 0) REPEAT(i, 7) stamps[{STAMPS} * blockIdx.x + i] = at[i];
}}
"""


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    for (ctas, slices, apart), warps, stores in product(GRIDS, WARPS, STORES):
        params: dict[str, Parameter] = {
            "ctas": ctas, "slices": slices, "apart": apart, "warps": warps, "stores": stores,
        }  # fmt: skip
        steps = np.median([_steps(runner, benchmark, params) for _ in range(REPEATS)], axis=0)
        for name, cycles in zip(STEPS, steps, strict=True):
            label = " ".join([name, *(f"{key}={value}" for key, value in params.items())])
            yield Row(benchmark.name, label, params, float(cycles), CYCLES, 0.0, REPEATS)


def _steps(runner: Runner, benchmark: Benchmark, params: Mapping[str, Parameter]) -> list[float]:
    """Run once; return the median over the CTAs of each step's cycles: of ``LAST``, over those that came last."""
    ctas, slices, apart, warps, stores = (int(each) for each in params.values())
    stamps = Buffer("stamps", 8 * STAMPS * ctas, "output")
    arguments = (
        Buffer("workspace", 16 * 32 * warps * stores * ctas, "workspace"),
        Buffer("counters", 4 * ctas, "workspace", zeroed=True),
        Buffer("begun", 4, "workspace", zeroed=True),
        np.uint32(slices),
        np.uint32(apart),
        stamps,
    )
    point = Point(f"handoff_{stores}", warps=warps, ctas=ctas, arguments=arguments, simulated=False)
    arrays = runner.run(launch(benchmark, point, 1))
    at = arrays["stamps"].get().view(np.int64).reshape(ctas, STAMPS)[:, : len(STEPS) + 1]
    taken = np.diff(at, axis=1)
    last = taken[taken[:, -1] > 0] if (taken[:, -1] > 0).any() else taken
    return [float(np.median((last if name in LAST else taken)[:, step])) for step, name in enumerate(STEPS)]


def _more_per_line(table: Table) -> float:
    """Return how much longer a line takes when it is read for the first time after another SM wrote it."""
    far = {"ctas": 128, "slices": 4, "apart": 1, "warps": 4, "stores": 16}
    lines = 4 * far["slices"] * far["warps"] * far["stores"]
    return (table.value("read", **far) - table.value("again", **far)) / lines


BENCHMARK = Benchmark(
    name="handoff",
    about="the end of CTAs that share a tile: stores, fence, arrival and the last one's sum, cycles of each step",
    source="".join(_kernel(stores) for stores in STORES),
    measure=_measure,
    feeds=(Feed("sm.load_store.handed_line_cycles", _more_per_line),),
)
