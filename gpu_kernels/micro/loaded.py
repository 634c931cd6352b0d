"""Latency of DRAM and of L2 while all other SMs read at a given rate: one chain among paced streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.micro import bandwidth
from gpu_kernels.micro.benchmark import Benchmark, Feed, Parameter, Point, Row, Table, launch
from gpu_kernels.micro.latency import MEGABYTE, random_lines, ring_of
from sim.isa.launch import Buffer

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

SMS = 132
THREADS = 256
STAGES = 16
STAGE_BYTES = 16 * THREADS
HOPS = 1536  # of the chain, in one launch
CHAIN_MB = 256
STREAM_MB = 4096
L2_MB = 16
MOST_TRIPS = 100_000  # ends a stream whose chain never does
# cycles between two stages of 4 KiB of one SM
PACES = (0, 60, 80, 100, 150, 200, 220, 235, 245, 255, 270, 300, 400, 600, 1200, 4000)
IDLE = 4000
GB = 1e3
SOURCE = r"""
#define WAIT(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")
#define COMMIT asm volatile("cp.async.commit_group;" ::: "memory")
#define COPY(to, from) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory")

MICRO(write_ring, const u32* lines, char* data, int count) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    *reinterpret_cast<u64*>(data + 128ull * lines[i]) = reinterpret_cast<u64>(data + 128ull * lines[i + 1]);
  }
}

// CTA 0 follows the ring; the others stream until it is done. They write what they read and how long it took.
MICRO(loaded, const u32* lines, char* ring, const char* data, u64 mask, int pace, int* done, u64* streamed) {
  if (blockIdx.x == 0) {
    if (threadIdx.x >= 32) return;
    u64 p = reinterpret_cast<u64>(ring + 128ull * lines[0]);
    const long long settled = clock64() + 20000;
    while (clock64() < settled) {
    }
    const long long begin = clock64();
    LOOP REPEAT(j, 8) asm volatile("ld.global.L1::no_allocate.u64 %0, [%0];" : "+l"(p)::"memory");
    const long long end = clock64() + (p == 1);
    if (threadIdx.x == 0) {
      clocks[0] = begin;
      clocks[1] = end;
      asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(done), "r"(1) : "memory");
    }
    return;
  }
  const u32 base = shared_base() + 16 * threadIdx.x;
  const char* from = data + 16 * threadIdx.x;
  const u64 step = 4096ull * (gridDim.x - 1);
  u64 at = 4096ull * (blockIdx.x - 1);
  u32 slot = 0, stop = 0, n = 0;
  const long long begin = clock64();
  for (; n < 100000 && !stop; ++n) {
    WAIT(15);
    while (clock64() - begin < static_cast<long long>(n) * pace) {
    }
    COPY(base + slot, from + (at & mask));
    COMMIT;
    at += step;
    slot = slot == 61440 ? 0 : slot + 4096;
    if (n % 32 == 31) {  // a round trip that the stages on their way cover
      asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(stop) : "l"(done) : "memory");
    }
  }
  WAIT(0);
  const long long end = clock64();
  if (threadIdx.x == 0) {
    streamed[2 * blockIdx.x] = 4096ull * n;
    streamed[2 * blockIdx.x + 1] = end - begin;
  }
}
"""


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    data = Buffer("data", STREAM_MB * MEGABYTE, "weights", zeroed=True)
    bandwidth.scramble(runner, bandwidth.BENCHMARK, data)
    for level, megabytes, mask in (("dram", CHAIN_MB, data.nbytes - 1), ("l2", 1, L2_MB * MEGABYTE - 1)):
        ring = Buffer("ring", megabytes * MEGABYTE, "activations")
        lines = random_lines(HOPS + 512, ring.nbytes, megabytes)
        order = ring_of(lines)
        setup = Point("write_ring", warps=8, arguments=(order, ring, np.int32(len(lines))), simulated=False)
        for pace in PACES:
            runner.run(launch(benchmark, setup, 1))
            if level == "dram":
                runner.flush()
            yield from _one(runner, benchmark, level, (order, ring, data, np.int64(mask)), pace)


def _one(
    runner: Runner,
    benchmark: Benchmark,
    level: str,
    arguments: tuple[Buffer, Buffer, Buffer, np.int64],
    pace: int,
) -> Iterator[Row]:
    done = Buffer("done", 4, "workspace", zeroed=True)
    streamed = Buffer("streamed", 16 * SMS, "output", zeroed=True)
    point = Point(
        "loaded",
        warps=THREADS // 32,
        ctas=SMS,
        arguments=(*arguments, np.int32(pace), done, streamed),
        shared_bytes=STAGES * STAGE_BYTES,
        simulated=False,
    )
    arrays = runner.run(launch(benchmark, point, HOPS // 8))
    begin, end = arrays["clocks"].get().view(np.int64)[:2]
    counts = arrays["streamed"].get().view(np.uint64).reshape(-1, 2)[1:].astype(np.float64)
    latency = float(end - begin) / HOPS
    per_cycle = float((counts[:, 0] / counts[:, 1]).sum())
    params: dict[str, Parameter] = {"level": level, "pace": pace}
    for kernel, value, unit in (
        ("latency", latency, "cycles"),
        ("latency_ns", latency / runner.clock_mhz * 1e3, "ns"),
        ("rate", per_cycle * runner.clock_mhz / GB, "GB/s"),
    ):
        name = f"{kernel} level={level} pace={pace}"
        yield Row(benchmark.name, name, dict(params), value, unit, 0.0, 1)


def mean_latency_ns(table: Table) -> Callable[[float], float]:
    """Return the round trip of a line that misses L2 as a function of DRAM's utilization."""
    points = curve(table)
    hit = table.value("latency_ns", level="l2", pace=IDLE)
    x, y = [each["utilization"] for each in points], [hit + each["latency_ns"] for each in points]
    return lambda utilization: float(np.interp(utilization, x, y))


def curve(table: Table) -> list[dict[str, float]]:
    """Return what DRAM adds to an L2 hit against the share of the best rate, from 0 to 1, never falling."""
    idle = table.value("latency_ns", level="l2", pace=IDLE)
    points = []
    for pace in PACES:
        rate = table.value("rate", level="dram", pace=pace)
        points.append((rate, table.value("latency_ns", level="dram", pace=pace) - idle))
    best = max(rate for rate, _ in points)
    ordered = sorted((round(rate / best, 3), added) for rate, added in points)
    found: list[dict[str, float]] = [{"utilization": 0.0, "latency_ns": float(round(ordered[0][1]))}]
    for utilization, added in ordered:
        if utilization > found[-1]["utilization"] + 0.01:
            highest = max(found[-1]["latency_ns"], float(round(added)))
            found.append({"utilization": utilization, "latency_ns": highest})
    found[-1]["utilization"] = 1.0
    return found


BENCHMARK = Benchmark(
    name="loaded",
    about="latency of a DRAM chain and of an L2 chain while the other SMs stream at a paced rate",
    source=SOURCE,
    feeds=(Feed("dram.loaded_latency", curve),),
    measure=_measure,
)
