"""Streams from DRAM and L2 in warps that also multiply: what the clock falls to, and how much of the rate goes with it.

As in a matmul of few tokens, stages of 64 rows of 128 bytes arrive in shared memory by cp.async while the tensor
cores work; operands and data are random, since zeros draw less power.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.measuring.device import addresses
from gpu_kernels.measuring.timing import time_calls
from gpu_kernels.micro.benchmark import Benchmark, Parameter, Point, Row, launch
from gpu_kernels.micro.collect import durations
from sim.isa.launch import Buffer, KernelLaunch

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

MEGABYTE = 2**20
DATA_MB = 2048
SMS, PER_SM, WARPS = 132, 4, 4
STAGES, ROWS, ROW_BYTES = 6, 64, 8192
TILE_BYTES = ROWS * ROW_BYTES
STAGE_BYTES = ROWS * 128
L2_TILES = 32  # 16 MB
BATCH = 8  # mma of a warp
SOURCE = r"""
#define WAIT(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")
#define COMMIT asm volatile("cp.async.commit_group;" ::: "memory")
#define COPY(to, from) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory")

static __device__ __forceinline__ u32 hashed(u32 x) {
  x ^= x >> 16, x *= 0x7feb352du, x ^= x >> 15, x *= 0x846ca68bu;
  return x ^ x >> 16;
}

MICRO(fill, u32* data, u64 words) {
  for (u64 i = blockIdx.x * 512ull + threadIdx.x; i < words; i += gridDim.x * 512ull) data[i] = hashed(i);
}

// Each CTA goes through 64 rows of a tile; `batches` of 8 mma per stage of 128 columns.
MICRO(burn, const char* data, u64 pitch, u64 tile_bytes, u32 tiles, u32 batches) {
  const char* from = data + blockIdx.x % tiles * tile_bytes + threadIdx.x / 8 * pitch + 16 * (threadIdx.x % 8);
  const u32 base = shared_base() + 16 * threadIdx.x;
  u32 a[2][4], b[2][2], to = base;
  float d[4][4] = {};
  REPEAT(i, 2) REPEAT(j, 4) a[i][j] = hashed(threadIdx.x * 64 + i * 4 + j) & 0x8fff8fffu | 0x30003000u;
  REPEAT(i, 2) REPEAT(j, 2) b[i][j] = hashed(threadIdx.x * 64 + 40 + i * 2 + j) & 0x8fff8fffu | 0x30003000u;
  REPEAT(i, 2) REPEAT(j, 4) asm volatile("" : "+r"(a[i][j]));  // made once, not in the loop
  REPEAT(i, 2) REPEAT(j, 2) asm volatile("" : "+r"(b[i][j]));
  BEGIN
  REPEAT(s, 5) {
    REPEAT(r, 4) COPY(base + 8192 * s + 2048 * r, from + 16 * r * pitch);
    COMMIT;
    from += 128;
  }
  to = base + 8192 * 5;
  LOOP {
    WAIT(4);
    __syncthreads();
    REPEAT(r, 4) COPY(to + 2048 * r, from + 16 * r * pitch);
    COMMIT;
    from += 128;
    to = to == base + 8192 * 5 ? base : to + 8192;
    for (u32 n = 0; n < batches; ++n)
      REPEAT(j, 8)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                     "{%0,%1,%2,%3};"
                     : "+f"(d[j % 4][0]), "+f"(d[j % 4][1]), "+f"(d[j % 4][2]), "+f"(d[j % 4][3])
                     : "r"(a[j % 2][0]), "r"(a[j % 2][1]), "r"(a[j % 2][2]), "r"(a[j % 2][3]), "r"(b[j / 4][0]),
                       "r"(b[j / 4][1]));
  }
  WAIT(0);
  float total = 0.f;
  REPEAT(i, 4) REPEAT(j, 4) total += d[i][j];
  END(to + static_cast<u32>(total))
}
"""


@dataclass(frozen=True)
class Stream:
    """What all SMs read in one launch: tiles of their own from DRAM, or few that L2 holds."""

    level: str
    batches: int

    @property
    def tiles(self) -> int:
        """Different tiles that are read."""
        return SMS * PER_SM if self.level == "dram" else L2_TILES

    @property
    def params(self) -> dict[str, Parameter]:
        """What tells it from others."""
        return {"level": self.level, "mma": BATCH * self.batches}


STREAMS = (
    *(Stream("dram", batches) for batches in (0, 1, 2, 3, 4)),
    *(Stream("l2", batches) for batches in (0, 1, 2, 3)),
)


def _launch(benchmark: Benchmark, stream: Stream, data: Buffer) -> KernelLaunch:
    sizes = (np.int64(ROW_BYTES), np.int64(TILE_BYTES), np.uint32(stream.tiles), np.uint32(stream.batches))
    point = Point(
        "burn", warps=WARPS, ctas=SMS * PER_SM, arguments=(data, *sizes),
        shared_bytes=STAGES * STAGE_BYTES, simulated=False,
    )  # fmt: skip
    return launch(benchmark, point, ROW_BYTES // 128 - STAGES + 1)


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    data = Buffer("data", DATA_MB * MEGABYTE, "activations")
    fill = Point("fill", warps=16, ctas=SMS, arguments=(data, np.int64(data.nbytes // 4)), simulated=False)
    runner.run(launch(benchmark, fill, 1))
    for stream in STREAMS:
        yield from _one(runner, benchmark, data, stream)


def _one(runner: Runner, benchmark: Benchmark, data: Buffer, stream: Stream) -> Iterator[Row]:
    each = _launch(benchmark, stream, data)
    arrays = runner.place(each)
    pointers = addresses(arrays)
    runner.device.kernel(each)
    nbytes = stream.tiles * TILE_BYTES
    copies = data.nbytes // nbytes if stream.level == "dram" else 1
    moved = [pointers | {"data": pointers["data"] + i * nbytes} for i in range(copies)]
    calls: list[Callable[[], None]] = [partial(runner.device.enqueue, each, to) for to in moved]
    times = time_calls(runner.device, calls)
    cycles = durations(arrays["clocks"].get(), SMS * PER_SM)
    found = {"node_us": times.median_us, "clock_mhz": times.clock_mhz or 0.0}
    found["gb_per_s"] = SMS * PER_SM * TILE_BYTES / times.median_us / 1e3
    found["p50_cycles"] = float(np.percentile(cycles, 50))
    for kernel, value in found.items():
        label = " ".join([kernel, *(f"{key}={number}" for key, number in stream.params.items())])
        unit = kernel if kernel == "gb_per_s" else kernel.rsplit("_", 1)[1]
        spread = times.spread_us / times.median_us
        yield Row(benchmark.name, label, stream.params, value, unit, spread, times.replays)


BENCHMARK = Benchmark(
    name="burning",
    about="streams from DRAM and L2 in warps that multiply too: rates at the clocks that result",
    source=SOURCE,
    measure=_measure,
)
