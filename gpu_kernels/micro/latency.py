"""Latency of L2, nearer and farther half, line by line, and of DRAM by footprint: one thread, nothing else runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gpu_kernels.micro.benchmark import CYCLES, Benchmark, Feed, Point, Row, Table, launch, words
from sim.errors import TcsimError
from sim.isa.launch import Buffer

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

LINE = 128
LINES = 512  # timed one by one
L2_BYTES = 8 * 2**20
SMS = (0, 1, 9, 18, 27, 40, 53, 66, 77, 90, 105, 118)
BIN_CYCLES = 10
MEGABYTE = 2**20
FOOTPRINTS_MB = (64, 256, 1024, 4096)
HOPS = (2048, 6144)
GRID = 16 * 132  # so that every SM is given some
UNWRITTEN = 0xFFFFFFFF
SOURCE = r"""
// Whether this CTA, of one warp, is the first on the SM asked for.
static __device__ __forceinline__ bool chosen(int sm, u32* claim) {
  u32 here, before = 1;
  asm volatile("mov.u32 %0, %%smid;" : "=r"(here));
  if (here == sm && threadIdx.x == 0) before = atomicAdd(claim, 1);
  return __shfl_sync(0xffffffff, before, 0) == 0;
}

// Times every line on its own, on the SM asked for. The data is all zeros; that it is added to the address keeps
// the load in the loop. A store that needs the loaded value stands between the load
// and the second reading of the clock.
MICRO(one_by_one, const u32* lines, const char* data, u32* cycles, int count, int sm, u32* claim) {
  if (!chosen(sm, claim) || threadIdx.x != 0) return;
  u32 kept = 0;
  for (int i = 0; i < count; ++i) {
    const u64 at = reinterpret_cast<u64>(data) + 128ull * lines[i];
    u32 best = 0xffffffffu;
#pragma unroll 1
    for (int n = 0; n < trips; ++n) {
      u32 value;
      const long long before = clock64();
      asm volatile("ld.global.L1::no_allocate.u32 %0, [%1];" : "=r"(value) : "l"(at + kept) : "memory");
      asm volatile("st.volatile.shared.u32 [%0], %1;" ::"r"(shared_base()), "r"(value) : "memory");
      const u32 took = static_cast<u32>(clock64() - before);
      best = took < best ? took : best;
      kept += value;
    }
    cycles[i] = best;
  }
  if (kept == 0x9e3779b9u) sink[0] = kept;
}

MICRO(write_ring, const u32* lines, char* data, int count) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    *reinterpret_cast<u64*>(data + 128ull * lines[i]) = reinterpret_cast<u64>(data + 128ull * lines[i + 1]);
  }
}

#define FOLLOW(name, load)                                                       \
  MICRO(name, const u32* lines, char* data, int sm, u32* claim) {                \
    if (!chosen(sm, claim)) return;                                              \
    u64 p = reinterpret_cast<u64>(data + 128ull * lines[0]);                     \
    BEGIN                                                                        \
    LOOP REPEAT(j, 8) asm volatile(load " %0, [%0];" : "+l"(p)::"memory");       \
    END(static_cast<u32>(p))                                                     \
  }
FOLLOW(follow_ring, "ld.global.L1::no_allocate.u64")
FOLLOW(follow_strong, "ld.relaxed.gpu.global.u64")
"""


def random_lines(count: int, nbytes: int, seed: int) -> npt.NDArray[np.uint32]:
    """Choose distinct lines of a buffer, in random order."""
    chosen = np.random.default_rng(seed).choice(nbytes // LINE, count, replace=False)
    return chosen.astype(np.uint32)


def ring_of(lines: npt.NDArray[np.uint32]) -> Buffer:
    """Close a list of lines to a ring."""
    return words("lines", [*lines.tolist(), int(lines[0])])


def two_clusters(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the means of the lower and the upper cluster, and the share of the upper one."""
    low, high = float(np.percentile(values, 10)), float(np.percentile(values, 90))
    for _ in range(50):
        upper = values > (low + high) / 2
        if upper.all() or not upper.any():
            break
        low, high = float(values[~upper].mean()), float(values[upper].mean())
    return low, high, float((values > (low + high) / 2).mean())


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    data = Buffer("data", L2_BYTES, "activations", zeroed=True)
    lines = random_lines(LINES, L2_BYTES, 1)
    timed = {sm: _one_by_one(runner, benchmark, data, lines, sm) for sm in SMS}
    chained = {sm: _chain(runner, benchmark, data, lines, sm) for sm in SMS[:3]}
    strong = _chain(runner, benchmark, data, lines, SMS[0], "follow_strong")
    yield _row(benchmark, "l2_chain", {"sm": SMS[0]}, chained[SMS[0]])
    yield _row(benchmark, "l2_chain_strong", {"sm": SMS[0]}, strong)
    overhead = float(np.mean([timed[sm].mean() - chained[sm] for sm in chained]))
    yield _row(benchmark, "overhead", {}, overhead)
    for sm in SMS:
        yield _row(benchmark, "l2_mean", {"sm": sm}, float(timed[sm].mean()) - overhead)
    every = np.concatenate([timed[sm] for sm in SMS]) - overhead
    for name, value in zip(("l2_near", "l2_far", "l2_far_fraction"), two_clusters(every), strict=True):
        yield _row(benchmark, name, {}, value, "fraction" if name.endswith("fraction") else CYCLES)
    yield from _histogram(benchmark, every)
    for megabytes in FOOTPRINTS_MB:
        cycles = cold_hop(runner, benchmark, megabytes)
        yield _row(benchmark, "dram", {"megabytes": megabytes}, cycles)
        yield _row(benchmark, "dram_ns", {"megabytes": megabytes}, 1e3 * cycles / runner.clock_mhz, "ns")


def _row(benchmark: Benchmark, point: str, params: dict[str, int], value: float, unit: str = CYCLES) -> Row:
    name = " ".join([point, *(f"{key}={number}" for key, number in params.items())])
    return Row(benchmark.name, name, dict(params), value, unit, 0.0, 1)


def _histogram(benchmark: Benchmark, values: npt.NDArray[np.float64]) -> Iterator[Row]:
    bins, counts = np.unique((values // BIN_CYCLES).astype(int) * BIN_CYCLES, return_counts=True)
    for start, count in zip(bins, counts, strict=True):
        yield _row(benchmark, "l2_share", {"cycles": int(start)}, float(count / len(values)), "fraction")


def _one_by_one(
    runner: Runner, benchmark: Benchmark, data: Buffer, lines: npt.NDArray[np.uint32], sm: int
) -> npt.NDArray[np.float64]:
    """Return the least cycles of each line; the first visit brings it into L2."""
    cycles = Buffer("cycles", 4 * len(lines), "output")
    arguments = (words("lines", lines.tolist()), data, cycles, np.int32(len(lines)), np.int32(sm), claim())
    point = Point("one_by_one", ctas=GRID, arguments=arguments, simulated=False, shared_bytes=1024)
    arrays = runner.run(launch(benchmark, point, 7))
    found: npt.NDArray[np.float64] = arrays["cycles"].get().view(np.uint32).astype(np.float64)
    if found.max() == UNWRITTEN:
        raise TcsimError(f"no CTA ran on SM {sm}")
    return found


def claim() -> Buffer:
    """Return a counter that the first CTA on an SM raises."""
    return Buffer("claim", 4, "workspace", zeroed=True)


def _chain(
    runner: Runner,
    benchmark: Benchmark,
    data: Buffer,
    lines: npt.NDArray[np.uint32],
    sm: int,
    kernel: str = "follow_ring",
) -> float:
    """Return the mean cycles of a hop around the same lines in L2."""
    return _ring(runner, benchmark, data, lines, sm, (LINES, 3 * LINES), False, kernel)


def cold_hop(runner: Runner, benchmark: Benchmark, megabytes: int) -> float:
    """Return the cycles of a hop between lines that are not in L2, spread over a footprint."""
    nbytes = megabytes * MEGABYTE
    data = Buffer("data", nbytes, "activations")
    lines = random_lines(HOPS[1] + 1024, nbytes, megabytes)
    return _ring(runner, benchmark, data, lines, SMS[0], HOPS, True)


def _ring(
    runner: Runner,
    benchmark: Benchmark,
    data: Buffer,
    lines: npt.NDArray[np.uint32],
    sm: int,
    hops: tuple[int, int],
    cold: bool,
    kernel: str = "follow_ring",
) -> float:
    order = ring_of(lines)
    setup = Point("write_ring", warps=8, arguments=(order, data, np.int32(len(lines))), simulated=False)
    runner.run(launch(benchmark, setup, 1))
    point = Point(kernel, ctas=GRID, arguments=(order, data, np.int32(sm), claim()), simulated=False)
    least = []
    for count in hops:
        chase = launch(benchmark, point, count // 8)
        least.append(runner.least(chase, repeats=3, cold=cold))
    return (least[1] - least[0]) / (hops[1] - hops[0])


def _value(name: str) -> Feed:
    paths = {
        "l2_near": "near_latency_cycles",
        "l2_far": "far_latency_cycles",
        "l2_far_fraction": "far_fraction",
    }
    return Feed(f"l2.{paths[name]}", lambda table: table.value(name))


def unloaded_curve_point(table: Table) -> float:
    """Return what DRAM adds to an L2 hit, in ns, at the footprint of a weight matrix."""
    near, far, share = (table.value(name) for name in ("l2_near", "l2_far", "l2_far_fraction"))
    l2 = near * (1 - share) + far * share
    cycles, ns = table.value("dram", megabytes=256), table.value("dram_ns", megabytes=256)
    return ns * (1 - l2 / cycles)


BENCHMARK = Benchmark(
    name="latency",
    about="L2 latency line by line from several SMs (two clusters), DRAM latency by footprint",
    source=SOURCE,
    feeds=(_value("l2_near"), _value("l2_far"), _value("l2_far_fraction")),
    measure=_measure,
)
