"""Streams in the order of a matmul's tiles: stages of 64 rows of 128 bytes, several SMs reading the same tile or not.

Each reading is a node of a CUDA graph whose nodes read other weights, as matmuls are timed, but nothing is computed.
What it shows: DRAM's rate against stages on their way when a CTA waits for whole stages, what it costs that further SMs
read lines which are on their way from DRAM, and how unevenly DRAM serves the SMs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.measuring.device import addresses
from gpu_kernels.measuring.timing import time_calls
from gpu_kernels.micro import bandwidth, copies, loaded
from gpu_kernels.micro.benchmark import Benchmark, Feed, Parameter, Point, Row, Table, launch, significant
from gpu_kernels.micro.collect import durations
from sim.isa.launch import Buffer, KernelLaunch

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

SMS = 132
MEGABYTE = 2**20
DATA_MB = 2048
NODES = 32  # together more than four times the L2
ROWS, ROW_BYTES, THREADS = 64, 128, 128
STAGE_BYTES = ROWS * ROW_BYTES
WARPS, COPY_BYTES = THREADS // 32, 512  # what a warp copies by an instruction
SM_SHARED_BYTES = 227 * 1024
BURNS = (100, 1000, 4000)  # of 32 mma a warp
STAGES = (2, 3, 4, 6, 8)
LEAST_STEP = 0.01  # between two points of a curve
COPY = r"""
#define WAIT(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")
#define COMMIT asm volatile("cp.async.commit_group;" ::: "memory")
#define COPY(to, from) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory")
"""
SOURCE = (
    COPY
    + r"""
// Random numbers multiplied on all tensor cores: what makes the clock fall.
MICRO(burn, u32 seed) {
  u32 a[8][4], b[4][2], x = seed + threadIdx.x;
  float d[8][4] = {};
  REPEAT(i, 8) REPEAT(j, 4) a[i][j] = (x = x * 1664525u + 1013904223u) & 0x8fff8fffu | 0x30003000u;
  REPEAT(i, 4) REPEAT(j, 2) b[i][j] = (x = x * 1664525u + 1013904223u) & 0x8fff8fffu | 0x30003000u;
  LOOP REPEAT(j, 32) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[j % 8][0]), "+f"(d[j % 8][1]), "+f"(d[j % 8][2]), "+f"(d[j % 8][3])
                 : "r"(a[j % 8][0]), "r"(a[j % 8][1]), "r"(a[j % 8][2]), "r"(a[j % 8][3]),
                   "r"(b[(j + j / 8) % 4][0]), "r"(b[(j + j / 8) % 4][1]));
  }
  float total = 0.f;
  REPEAT(i, 8) REPEAT(j, 4) total += d[i][j];
  if (total == 12345.f) sink[threadIdx.x] = 1;
}

// A CTA goes through `trips` blocks of 128 bytes along 64 rows, `pitch` bytes apart. 2^share_log CTAs read the same
// tile: with eight tiles between two of them, as the matmuls order their tiles of tokens.
#define WALK(stages)                                                                                \
  MICRO(walk_##stages, const char* data, u64 pitch, u64 tile_bytes, u32 share_log) {                 \
    const u32 tile = blockIdx.x >> (3 + share_log) << 3 | (blockIdx.x & 7);                          \
    const char* from = data + tile * tile_bytes + threadIdx.x / 8 * pitch + 16 * (threadIdx.x % 8);  \
    const u32 base = shared_base() + 16 * threadIdx.x;                                               \
    u32 to = base;                                                                                  \
    BEGIN                                                                                           \
    REPEAT(s, stages - 1) {                                                                         \
      REPEAT(r, 4) COPY(base + 8192 * s + 2048 * r, from + 16 * r * pitch);                          \
      COMMIT;                                                                                       \
      from += 128;                                                                                  \
    }                                                                                               \
    to = base + 8192 * (stages - 1);                                                                \
    LOOP {                                                                                          \
      WAIT(stages - 2);                                                                             \
      __syncthreads();                                                                              \
      REPEAT(r, 4) COPY(to + 2048 * r, from + 16 * r * pitch);                                       \
      COMMIT;                                                                                       \
      from += 128;                                                                                  \
      to = to == base + 8192 * (stages - 1) ? base : to + 8192;                                      \
    }                                                                                               \
    WAIT(0);                                                                                        \
    END(to)                                                                                         \
  }
"""
)


@dataclass(frozen=True)
class Walk:
    """``ctas`` CTAs, ``per_sm`` of them on an SM at once, each through 64 rows of ``row_bytes`` bytes."""

    ctas: int
    row_bytes: int
    stages: int
    per_sm: int = 4
    share_log: int = 0
    burn: int = 0  # trips of a kernel before every walk that keeps the tensor cores busy

    @property
    def nbytes(self) -> int:
        """Different bytes that are read."""
        return (self.ctas >> self.share_log) * ROWS * self.row_bytes

    @property
    def shared_bytes(self) -> int:
        """Shared memory: the stages, or more, so that not more CTAs share an SM."""
        return max(self.stages * STAGE_BYTES, SM_SHARED_BYTES // (self.per_sm + 1) - 512)

    @property
    def params(self) -> dict[str, Parameter]:
        """What tells it from others."""
        return {
            "ctas": self.ctas, "row": self.row_bytes, "stages": self.stages, "per_sm": self.per_sm,
            "share": 1 << self.share_log, "burn": self.burn,
        }  # fmt: skip


WALKS = (
    *(Walk(ctas, 16384, stages, 1) for stages in (3, 6) for ctas in (1, 33, 66)),
    *(Walk(132, row, stages, 1) for stages in (2, 3, 4, 6, 8) for row in (8192, 16384)),
    *(
        Walk(132 * per_sm, row, stages, per_sm)
        for per_sm in (2, 4)
        for stages in (3, 6)
        for row in (4096, 8192)
    ),
    *(Walk(896, 8192, stages, per_sm) for stages, per_sm in ((3, 4), (6, 4), (6, 2))),
    *(Walk(528 << share, 8192, stages, 4, share) for stages in (3, 6) for share in (1, 2)),
    *(Walk(128 << share, 8192, 6, 4, share) for share in (0, 1, 2)),
    *(Walk(64 << share, 8192, 6, 2, share) for share in (1, 2)),
    *(
        Walk(ctas, row, stages, per_sm, burn=burn)
        for burn in BURNS
        for ctas, row, stages, per_sm in (
            (132, 16384, 2, 1),
            (132, 16384, 6, 1),
            (528, 8192, 3, 4),
            (528, 8192, 6, 4),
        )
    ),
)


def walk_launch(benchmark: Benchmark, walk: Walk, data: Buffer, simulated: bool = False) -> KernelLaunch:
    """Return the launch; its last stages - 1 trips read beyond the row, which is the next row's begin."""
    arguments = (data, np.int64(walk.row_bytes), np.int64(ROWS * walk.row_bytes), np.uint32(walk.share_log))
    point = Point(
        f"walk_{walk.stages}", warps=THREADS // 32, ctas=walk.ctas, arguments=arguments,
        shared_bytes=walk.shared_bytes, simulated=simulated,
    )  # fmt: skip
    return launch(benchmark, point, walk.row_bytes // ROW_BYTES - walk.stages + 1)


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    data = Buffer("data", DATA_MB * MEGABYTE, "activations", zeroed=True)
    for walk in WALKS:
        yield from _one(runner, benchmark, data, walk)


def _one(runner: Runner, benchmark: Benchmark, data: Buffer, walk: Walk) -> Iterator[Row]:
    each = walk_launch(benchmark, walk, data)
    arrays = runner.place(each)
    pointers = addresses(arrays)
    runner.device.kernel(each)
    copies = max(2, min(NODES, data.nbytes // walk.nbytes))
    moved = [pointers | {"data": pointers["data"] + i * walk.nbytes} for i in range(copies)]
    calls: list[Callable[[], None]] = [partial(runner.device.enqueue, each, to) for to in moved]
    if walk.burn:
        calls = _burning(runner, benchmark, walk.burn, calls)
    times = time_calls(runner.device, calls)
    cycles = durations(arrays["clocks"].get(), walk.ctas)
    found = {"node_us": times.median_us, "clock_mhz": times.clock_mhz or runner.clock_mhz}
    found |= {f"p{p}_cycles": float(np.percentile(cycles, p)) for p in (2, 50, 98)}
    for kernel, value in found.items():
        label = " ".join([kernel, *(f"{key}={number}" for key, number in walk.params.items())])
        yield Row(
            benchmark.name, label, walk.params, value, kernel.rsplit("_", 1)[1],
            times.spread_us / times.median_us, times.replays,
        )  # fmt: skip


def _burning(
    runner: Runner, benchmark: Benchmark, trips: int, calls: list[Callable[[], None]]
) -> list[Callable[[], None]]:
    """Put a kernel that draws power before each call; of the node's time only the CTAs' own cycles are then of use."""
    each = launch(
        benchmark, Point("burn", warps=16, ctas=132, arguments=(np.uint32(1),), simulated=False), trips
    )
    pointers = addresses(runner.place(each))
    runner.device.kernel(each)

    def both(call: Callable[[], None]) -> None:
        runner.device.enqueue(each, pointers)
        call()

    return [partial(both, call) for call in calls]


def stage_excess(table: Table) -> list[dict[str, float]]:
    """Return what the slowest line of a stage takes beyond the mean line, against DRAM's utilization.

    A walk has ``stages - 1`` stages on their way all the time but while the SM itself is busy with one; what two walks
    of different length have in common is their fixed cost. In units of the unloaded miss; the mean line's latency is
    that of ``loaded``.
    """
    plain = [
        walk for walk in WALKS if not walk.burn and not walk.share_log and walk.ctas <= SMS * walk.per_sm
    ]
    fixed_us, own_cycles = _fixed_us(table, plain), _own_cycles(table)
    mean, best = loaded.mean_latency_ns(table.of("loaded")), bandwidth.best_dram(table.of("bandwidth"))
    unloaded = max(1.0, loaded.curve(table.of("loaded"))[0]["latency_ns"])
    found = []
    for walk in plain:
        streaming_us = table.value("node_us", **walk.params) - fixed_us
        utilization = walk.nbytes / streaming_us / best * 1e-3
        own_ns = own_cycles / table.value("clock_mhz", **walk.params) * 1e3
        latency_ns = (walk.stages - 1) * streaming_us / (walk.row_bytes // ROW_BYTES) * 1e3 - own_ns
        found.append((round(utilization, 3), significant((latency_ns - mean(utilization)) / unloaded, 3)))
    return _rising(sorted(found))


def _fixed_us(table: Table, walks: list[Walk]) -> float:
    """Return what a walk's node takes beside its stages: the median over pairs of walks, one twice as long."""
    longer = [(walk, replace(walk, row_bytes=2 * walk.row_bytes)) for walk in walks]
    pairs = [(short, long) for short, long in longer if long in walks]
    times = [[table.value("node_us", **walk.params) for walk in pair] for pair in pairs]
    return float(np.median([2 * short - long for short, long in times]))


def _own_cycles(table: Table) -> float:
    """Return what an SM takes to issue the copies of a stage and to see them arrive, and for its barrier."""
    copying, control = table.of("copies"), table.of("control")
    instructions = STAGE_BYTES // COPY_BYTES
    barrier = control.value("work_barrier", warps=WARPS) - control.value("work_alone", warps=WARPS)
    return (
        instructions * copying.value("copy", lines=4, sectors=16, warps=copies.MAX_WARPS)
        + copies.extra_latency(copying)
        + barrier
    )


def _rising(found: list[tuple[float, float]]) -> list[dict[str, float]]:
    """Make a curve from 0 to 1 that never falls."""
    points = [{"utilization": 0.0, "factor": found[0][1]}]
    for utilization, factor in found:
        if utilization > points[-1]["utilization"] + LEAST_STEP:
            points.append({"utilization": utilization, "factor": max(factor, points[-1]["factor"])})
        else:
            points[-1]["factor"] = max(factor, points[-1]["factor"])
    return [*points, {"utilization": 1.0, "factor": points[-1]["factor"]}]


BENCHMARK = Benchmark(
    name="walk",
    about="streams in the order of matmul tiles: whole stages awaited, tiles shared between SMs, evenness over SMs",
    source=SOURCE + "".join(f"WALK({stages})\n" for stages in STAGES),
    feeds=(Feed("dram.stage_excess", stage_excess, needs=("bandwidth", "loaded", "copies", "control")),),
    measure=_measure,
)
