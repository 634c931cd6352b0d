"""Bulk copies into shared memory: latency by size, cost of one more copy, and rates against bytes in flight.

One lane issues. ``wait`` awaits each copy, ``batch`` issues several before it waits for all of them, ``ring`` keeps
stages in flight (GPU only, up to all SMs). Data are random bits; from DRAM every byte is read once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.micro.bandwidth import BENCHMARK as BANDWIDTH
from gpu_kernels.micro.bandwidth import GB, MEGABYTE, SMS, scramble
from gpu_kernels.micro.benchmark import Benchmark, Feed, Parameter, Point, Row, Table, launch
from sim.isa.launch import Buffer

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

WAITS = 8
SIZES = (16, 128, 512, 1024, 2048, 4096, 8192, 16384, 32768)
LEAST_STEP = 4096  # so that no copy finds what one before brought to L2
BATCHES = (1, 2, 4, 8, 16)
BATCH_SIZES = (16, 128, 1024, 4096, 8192)
NEAR_BYTES = 8 * MEGABYTE  # stays in L2; no point reads beyond its end
TRIPS = 8, 24
FAR_BYTES = 64 * MEGABYTE  # more than L2 holds; a copy's address moves on by its size
BARRIER_BYTES = 1024
RING_SIZES = (1024, 2048, 4096, 8192, 16384, 32768)
IN_FLIGHT_KB = (4, 8, 16, 32, 64, 128, 192)
RING_DRAM_MB, RING_L2_MB = 2048, 16

COPIES = r"""
#define INIT(at, count) asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(at), "r"(count) : "memory")
#define EXPECT(at, n) asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(at), "r"(n) : "memory")
#define BULK(to, from, n, bar)                                                                             \
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"   \
               ::"r"(to), "l"(from), "r"(n), "r"(bar) : "memory")
#define AWAIT(at, parity)                                                                                  \
  {                                                                                                        \
    u32 done = 0;                                                                                          \
    while (!done) {                                                                                        \
      asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }" \
                   : "=r"(done) : "r"(at), "r"(parity) : "memory");                                        \
    }                                                                                                      \
  }

// True in one lane of a converged warp; the compiler knows that it is one.
static __device__ __forceinline__ bool elected() {
  u32 one;
  asm volatile("{ .reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p; }" : "=r"(one));
  return one;
}
"""

SOURCE = (
    COPIES
    + r"""
// One copy at a time, `step` bytes after the one before.
MICRO(wait, const char* data, u32 bytes, u32 mask, u32 step) {
  const u32 bar = shared_base();
  if (threadIdx.x == 0) INIT(bar, 1u);
  u32 at = 0;
  BEGIN
  LOOP REPEAT(j, 8) {
    if (elected()) {
      EXPECT(bar, bytes);
      BULK(bar + 1024, data + at, bytes, bar);
    }
    AWAIT(bar, j % 2u);
    at = (at + step) & mask;
  }
  END(at)
}

// `copies` at a time: what each further copy costs.
#define BATCH(copies)                                                 \
  MICRO(batch_##copies, const char* data, u32 bytes, u32 mask) {      \
    const u32 bar = shared_base();                                    \
    if (threadIdx.x == 0) INIT(bar, 1u);                              \
    u32 at = 0;                                                       \
    BEGIN                                                             \
    LOOP REPEAT(j, 2) {                                               \
      if (elected()) {                                                \
        EXPECT(bar, copies * bytes);                                  \
        REPEAT(k, copies) {                                           \
          const u32 from = (at + k * bytes) & mask;                   \
          BULK(bar + 1024 + k * bytes, data + from, bytes, bar);      \
        }                                                             \
      }                                                               \
      at += copies * bytes;                                           \
      AWAIT(bar, j % 2u);                                             \
    }                                                                 \
    END(at)                                                           \
  }

// `stages` copies in flight; CTAs take pieces in turn.
MICRO(ring, const char* data, u64 mask, u32 bytes, u32 stages) {
  const u32 bars = shared_base(), base = bars + 1024;
  if (threadIdx.x == 0) for (u32 j = 0; j < stages; ++j) INIT(bars + 8 * j, 1u);
  const u64 step = static_cast<u64>(bytes) * gridDim.x;
  u64 at = static_cast<u64>(bytes) * blockIdx.x;
  u32 slot = 0, parity = 0;
  BEGIN
  if (elected()) {
    for (u32 j = 0; j < stages; ++j) {
      EXPECT(bars + 8 * j, bytes);
      BULK(base + j * bytes, data + (at & mask), bytes, bars + 8 * j);
      at += step;
    }
  }
  at = static_cast<u64>(bytes) * blockIdx.x + stages * step;
  LOOP {
    const u32 bar = bars + 8 * slot;
    AWAIT(bar, parity);
    if (elected()) {
      EXPECT(bar, bytes);
      BULK(base + slot * bytes, data + (at & mask), bytes, bar);
    }
    at += step;
    if (++slot == stages) {
      slot = 0;
      parity ^= 1;
    }
  }
  for (u32 j = 0; j < stages; ++j) {
    AWAIT(bars + 8 * slot, parity);
    if (++slot == stages) {
      slot = 0;
      parity ^= 1;
    }
  }
  END(slot)
}
"""
    + "".join(f"BATCH({copies})\n" for copies in BATCHES)
)

NEAR = Buffer("data", NEAR_BYTES, "activations", zeroed=True)
FAR = Buffer("data", FAR_BYTES, "weights", zeroed=True)


def _points() -> Iterator[Point]:
    for size in SIZES:
        for level in ("l2", "dram"):
            yield _point("wait", level, size, WAITS, 1, np.uint32(max(size, LEAST_STEP)))
    for copies in BATCHES:
        for size in BATCH_SIZES:
            yield _point(f"batch_{copies}", "l2", size, 2, copies)


def _point(kernel: str, level: str, size: int, count: int, copies: int, *more: np.uint32) -> Point:
    params: dict[str, Parameter] = {"level": level, "bytes": size}
    data = NEAR if level == "l2" else FAR
    return Point(
        kernel=kernel,
        count=count,
        params=params,
        arguments=(data, np.uint32(size), np.uint32(data.nbytes - 1), *more),
        shared_bytes=BARRIER_BYTES + copies * size,
        trips=TRIPS,
        cold=level == "dram",
        simulated=level == "l2",
    )


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    far = Buffer("data", RING_DRAM_MB * MEGABYTE, "weights", zeroed=True)
    near = Buffer("data", RING_L2_MB * MEGABYTE, "weights", zeroed=True)
    for data in (far, near):
        scramble(runner, BANDWIDTH, data)
    for level, data in (("l2", near), ("dram", far)):
        for size in RING_SIZES:
            for kilobytes in IN_FLIGHT_KB:
                stages = kilobytes * 1024 // size
                if 1 <= stages <= BARRIER_BYTES // 8:
                    for ctas in (1, SMS) if level == "l2" else (SMS,):
                        yield from _ring(runner, benchmark, level, data, size, stages, ctas)


def _ring(
    runner: Runner, benchmark: Benchmark, level: str, data: Buffer, size: int, stages: int, ctas: int
) -> Iterator[Row]:
    total = data.nbytes if level == "dram" else 32 * data.nbytes if ctas > 1 else data.nbytes
    trips = max(4 * stages, min(total // (ctas * size), 20_000) - stages)
    point = Point(
        "ring",
        ctas=ctas,
        arguments=(data, np.int64(data.nbytes - 1), np.uint32(size), np.uint32(stages)),
        shared_bytes=BARRIER_BYTES + stages * size,
        trips=(trips // 4, trips),
        simulated=False,
    )
    few, many = (runner.time_us(launch(benchmark, point, count)) for count in point.trips)
    rate = (trips - trips // 4) * ctas * size / (many - few) / GB
    params: dict[str, Parameter] = {"level": level, "bytes": size, "kb": stages * size // 1024, "ctas": ctas}
    tail = " ".join(f"{key}={value}" for key, value in params.items())
    yield Row(benchmark.name, f"ring {tail}", params, rate, "GB/s", 0.0, 1)
    per_cycle = rate * GB / runner.clock_mhz / ctas
    yield Row(benchmark.name, f"ring_bytes {tail}", params, per_cycle, "bytes/cycle/SM", 0.0, 1)


def bytes_per_cycle(table: Table) -> float:
    """Return the best rate at which one SM's engine copies from L2."""
    return max(row.value for row in table.values("ring_bytes") if row.params["ctas"] == 1)


def issue_interval(table: Table) -> float:
    """Return the cycles that a further small copy takes."""
    many, few = (table.value(f"batch_{copies}", level="l2", bytes=16) for copies in (16, 8))
    return (many - few) / (16 - 8)


BENCHMARK = Benchmark(
    name="tma",
    about="bulk copies: SM cycles of one awaited copy and of further ones; GB/s against bytes in flight",
    source=SOURCE,
    points=tuple(_points()),
    feeds=(
        Feed("sm.bulk_copy.bytes_per_cycle", bytes_per_cycle),
        Feed("sm.bulk_copy.issue_interval_cycles", issue_interval),
    ),
    measure=_measure,
)
