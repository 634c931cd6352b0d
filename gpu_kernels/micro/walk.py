"""Streams in the order of a matmul's tiles: rows of 128 bytes, few stages, shared tiles and hot lines, split-K's end.

Nodes of a CUDA graph that read other weights each, as the matmuls are timed; nothing is computed. Every CTA writes
when it began, when its first stage was there, when its last one was, and when it ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gpu_kernels.measuring.device import addresses
from gpu_kernels.measuring.timing import time_calls
from gpu_kernels.micro.benchmark import Benchmark, Parameter, Point, Row, launch
from sim.isa.launch import Buffer, KernelLaunch

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

MEGABYTE = 2**20
DATA_MB = 2048
STAGES = (3, 4, 5, 6, 8)
STAMPS = 6  # words of a CTA: SM, global timer at its begin and end (ns), cycles to first stage, last stage, end
MOST_CTAS = 2048
NODES = 32  # together more than four times the L2, where one is 8 MB
ROW_BYTES = 128
SOURCE = r"""
#define WAIT(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")
#define COMMIT asm volatile("cp.async.commit_group;" ::: "memory")
#define COPY(to, from) asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory")

static __device__ __forceinline__ u64 nanoseconds() {
  u64 now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

// As split-K ends: a partial tile is stored, and the CTA that comes last reads all of them.
static __device__ __forceinline__ void reduce(float4* workspace, u32* counters, u32 tile, u32 slice, u32 slices,
                                              u32 quads) {
  __shared__ u32 arrived;
  float4* all = workspace + static_cast<u64>(tile) * slices * quads * blockDim.x + threadIdx.x;
  for (u32 i = 0; i < quads; ++i) all[(slice * quads + i) * blockDim.x] = make_float4(1.f, 2.f, 3.f, 4.f);
  asm volatile("fence.acq_rel.gpu;" ::: "memory");
  __syncthreads();
  if (threadIdx.x == 0) arrived = atomicAdd(counters + tile, 1u);
  __syncthreads();
  if (arrived != slices - 1) return;
  if (threadIdx.x == 0) counters[tile] = 0;
  asm volatile("fence.acq_rel.gpu;" ::: "memory");
  float sum = 0.f;
  for (u32 i = 0; i < slices * quads; i += 4) {
    float4 part[4];
    REPEAT(j, 4) {
      asm volatile("ld.global.cg.v4.f32 {%0,%1,%2,%3}, [%4];"
                   : "=f"(part[j].x), "=f"(part[j].y), "=f"(part[j].z), "=f"(part[j].w)
                   : "l"(all + (i + j) * blockDim.x) : "memory");
    }
    REPEAT(j, 4) sum += part[j].x + part[j].y + part[j].z + part[j].w;
  }
  all[0].x = sum;
}

// CTA: a tile of `rows` rows, `pitch` bytes apart, `trips` blocks of 128 bytes along them from slice * trips on; `share`
// CTAs read the same tile (groups of 8 tiles, as the matmuls order them); `hot_rows` rows that all CTAs of a slice read.
#define WALK(stages)                                                                                       \
  MICRO(walk_##stages, const char* data, const char* hot, u64 pitch, u32 rows, u32 hot_rows, u32 tiles,     \
        u32 share, u32 slices, u32 quads, float4* workspace, u32* counters, u64* stamps) {                  \
    const u64 began_ns = nanoseconds();                                                                    \
    const long long begin = clock64();                                                                     \
    const u32 slice = blockIdx.x / (tiles * share), place = blockIdx.x % (tiles * share);                   \
    const u32 tile = share == 1 ? place : place / (8 * share) * 8 + place % 8;                              \
    const u32 row = threadIdx.x / 8, step = blockDim.x / 8, panel = 128 * (rows + hot_rows);                \
    const u64 at = 128ull * slice * trips + 16 * (threadIdx.x % 8) + row * pitch;                           \
    const char* from = data + static_cast<u64>(tile) * rows * pitch + at;                                   \
    const char* warm = hot + at;                                                                            \
    const u32 base = shared_base() + 16 * threadIdx.x;                                                      \
    u32 to = base;                                                                                         \
    auto issue = [&]() {                                                                                   \
      for (u32 r = 0; r < rows; r += step) COPY(to + 128 * r, from + r * pitch);                            \
      for (u32 r = row; r < hot_rows; r += step) COPY(to + 128 * (rows + r - row), warm + (r - row) * pitch); \
      from += 128, warm += 128;                                                                            \
      to = to == base + (stages - 1) * panel ? base : to + panel;                                           \
    };                                                                                                     \
    REPEAT(s, stages - 1) {                                                                                \
      issue();                                                                                             \
      COMMIT;                                                                                              \
    }                                                                                                      \
    long long first = 0;                                                                                   \
    LOOP {                                                                                                 \
      WAIT(stages - 2);                                                                                    \
      __syncthreads();                                                                                     \
      if (trip == 0) first = clock64();                                                                    \
      if (trip + stages - 1 < trips) issue();                                                              \
      COMMIT;                                                                                              \
    }                                                                                                      \
    WAIT(0);                                                                                               \
    __syncthreads();                                                                                       \
    const long long last = clock64();                                                                      \
    if (slices > 1) reduce(workspace, counters, tile, slice, slices, quads);                                \
    __syncthreads();                                                                                       \
    if (threadIdx.x == 0) {                                                                                \
      u32 sm;                                                                                              \
      asm volatile("mov.u32 %0, %%smid;" : "=r"(sm));                                                      \
      u64* own = stamps + 6 * blockIdx.x;                                                                  \
      own[0] = sm, own[3] = first - begin, own[4] = last - begin, own[5] = clock64() - begin;               \
      own[1] = began_ns, own[2] = nanoseconds();                                                           \
    }                                                                                                      \
  }
"""


@dataclass(frozen=True)
class Walk:
    """One shape: a weight matrix of ``rows_all`` x ``row_bytes`` in tiles of ``rows``, ``stages`` of 128-byte blocks."""

    rows_all: int
    row_bytes: int
    rows: int
    stages: int
    threads: int = 128
    share: int = 1
    slices: int = 1
    hot_rows: int = 0
    ctas_per_sm: int = 4

    @property
    def tiles(self) -> int:
        """Different tiles."""
        return self.rows_all // self.rows

    @property
    def nbytes(self) -> int:
        """Bytes of the matrix."""
        return self.rows_all * self.row_bytes

    @property
    def shared_bytes(self) -> int:
        """Shared memory: the stages, or more where fewer CTAs are to share an SM."""
        return max(self.stages * ROW_BYTES * (self.rows + self.hot_rows), 227 * 1024 // (self.ctas_per_sm + 1))

    @property
    def params(self) -> dict[str, Parameter]:
        """What tells it from others."""
        return {
            "n": self.rows_all, "kb": self.row_bytes, "rows": self.rows, "stages": self.stages,
            "share": self.share, "slices": self.slices, "hot": self.hot_rows, "per_sm": self.ctas_per_sm,
        }  # fmt: skip


WALKS = (
    Walk(4096, 8192, 64, 6, slices=2),
    Walk(4096, 8192, 64, 6, slices=2, hot_rows=8),
    Walk(4096, 8192, 64, 6),
    Walk(8192, 8192, 64, 6),
    Walk(8448, 8192, 64, 6, hot_rows=8),
    Walk(28672, 8192, 64, 6, slices=2),
    Walk(28672, 8192, 64, 6, slices=2, hot_rows=8),
    Walk(28672, 8192, 64, 6),
    Walk(28672, 8192, 64, 6, share=2, hot_rows=8),
    Walk(28672, 8192, 64, 6, share=2, ctas_per_sm=1),
    Walk(28672, 8192, 64, 6, share=2),
    Walk(28672, 8192, 64, 6, share=4),
    Walk(8192, 16384, 64, 6),
    Walk(8192, 16384, 64, 6, share=2),
    Walk(28672, 8192, 128, 4, ctas_per_sm=3, slices=4),
    Walk(28672, 8192, 128, 8, ctas_per_sm=1),
    Walk(28672, 8192, 256, 5, threads=256, ctas_per_sm=1),
    Walk(6144, 8192, 128, 4, ctas_per_sm=2, slices=5),
    Walk(28672, 2048, 64, 8, slices=2),
    Walk(4096, 2048, 64, 4, slices=4),
)


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    data = Buffer("data", DATA_MB * MEGABYTE, "activations", zeroed=True)
    hot = Buffer("hot", MEGABYTE, "activations", zeroed=True)
    for walk in WALKS:
        yield from _one(runner, benchmark, data, hot, walk)


def _one(runner: Runner, benchmark: Benchmark, data: Buffer, hot: Buffer, walk: Walk) -> Iterator[Row]:
    each = _launch(benchmark, data, hot, walk)
    arrays = runner.place(each)
    pointers = addresses(arrays)
    runner.device.kernel(each)
    copies = max(2, min(NODES, data.nbytes // walk.nbytes))
    stride = STAMPS * 8 * MOST_CTAS
    calls = [
        lambda i=i: runner.device.enqueue(
            each, pointers | {"data": pointers["data"] + i * walk.nbytes, "stamps": pointers["stamps"] + i * stride}
        )
        for i in range(copies)
    ]
    times = time_calls(runner.device, calls)
    stamps = arrays["stamps"].get().view(np.int64).reshape(NODES, MOST_CTAS, STAMPS)[:copies, : each.ctas]
    found = {"node_us": times.median_us, "clock_mhz": times.clock_mhz or 0.0, **_summary(stamps)}
    for kernel, value in found.items():
        label = " ".join([kernel, *(f"{key}={number}" for key, number in walk.params.items())])
        yield Row(
            benchmark.name, label, walk.params, value, kernel.rsplit("_", 1)[1],
            times.spread_us / times.median_us, times.replays,
        )  # fmt: skip


def _launch(benchmark: Benchmark, data: Buffer, hot: Buffer, walk: Walk) -> KernelLaunch:
    ctas = walk.tiles * walk.share * walk.slices
    quads = 4
    words = 4 * 4 * quads * walk.threads * ctas
    arguments = (
        data, hot, np.int64(walk.row_bytes), np.uint32(walk.rows), np.uint32(walk.hot_rows), np.uint32(walk.tiles),
        np.uint32(walk.share), np.uint32(walk.slices), np.uint32(quads),
        Buffer("workspace", words, "workspace", zeroed=True),
        Buffer("counters", 4 * walk.tiles, "workspace", zeroed=True),
        Buffer("stamps", NODES * MOST_CTAS * STAMPS * 8, "output"),
    )  # fmt: skip
    point = Point(
        f"walk_{walk.stages}", warps=walk.threads // 32, ctas=ctas, arguments=arguments,
        shared_bytes=walk.shared_bytes, simulated=False,
    )  # fmt: skip
    return launch(benchmark, point, walk.row_bytes // ROW_BYTES // walk.slices)


def _summary(stamps: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return means over the nodes; ``stamps``: [node, CTA, word]."""
    began, ended, last = stamps[..., 1], stamps[..., 2], stamps[..., 4]
    starts, ends = began.min(axis=1), ended.max(axis=1)
    first_wave = began < starts[:, None] + 1000
    gap = np.median(starts[1:] - ends[:-1])
    first = stamps[..., 3][first_wave]
    return {
        "gap_ns": float(gap),
        "span_ns": float((ends - starts).mean()),
        "stagger_ns": float(np.mean([b[w].max() - b.min() for b, w in zip(began, first_wave, strict=True)])),
        "first_stage_cycles": float(np.median(first)),
        "first_stage_most_cycles": float(first.max()),
        "stream_cycles": float(np.median(last)),
        "stream_least_cycles": float(np.percentile(last, 2)),
        "stream_most_cycles": float(np.percentile(last, 98)),
        "tail_cycles": float(np.median(stamps[..., 5] - last)),
        "tail_most_cycles": float((stamps[..., 5] - last).max()),
        "end_tenth_ns": float((ends - np.percentile(ended, 10, axis=1)).mean()),
        "end_half_ns": float((ends - np.percentile(ended, 50, axis=1)).mean()),
    }


BENCHMARK = Benchmark(
    name="walk",
    about="streams in the order of matmul tiles: shared tiles, hot lines, pitch, stages, split-K's end",
    source=SOURCE + "".join(f"WALK({stages})\n" for stages in STAGES),
    measure=_measure,
)
