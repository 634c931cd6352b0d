"""What a launch costs before it computes: nodes of a CUDA graph from empty to a streaming read, waves of CTAs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.measuring.device import addresses
from gpu_kernels.measuring.timing import time_calls
from gpu_kernels.micro import bandwidth, latency
from gpu_kernels.micro.benchmark import Benchmark, Feed, Parameter, Point, Row, Table, launch
from sim.isa.launch import Buffer, KernelLaunch

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

SMS = 132
MEGABYTE = 2**20
DATA_MB = 4096
BIG_SHARED_BYTES = 200 * 1024
WAVES = (1, 2, 4, 8, 16, 32, 64)
TILES = (1, 2, 4, 8, 16)
STREAM_MB = (4, 8, 16, 32, 64, 128, 256, 512)
THREADS = 256
SOURCE = r"""
MICRO(empty) {}

// As many registers and as much shared memory as a matmul's tile.
MICRO(registers, u32 seed) {
  u32 x[96];
  if (seed == 0) return;
  REPEAT(i, 96) asm volatile("mov.u32 %0, %%clock;" : "=r"(x[i]));
  u32 total = 0;
  REPEAT(i, 96) total ^= x[i];
  REPEAT(i, 96) total += x[i] * total;
  sink[threadIdx.x] = total;
}

// A CTA's `trips` tiles of 16 KiB, one after the other: each waits for its data.
MICRO(tiles, const char* data) {
  const u32 to = shared_base() + 16 * threadIdx.x;
  const char* from = data + 16ull * threadIdx.x + (static_cast<u64>(blockIdx.x) << 18);
  BEGIN
  LOOP {
    REPEAT(j, 2) {
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                   ::"r"(to + 8192 * j), "l"(from + 16384 * trip + 8192 * j) : "memory");
    }
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncthreads();
  }
  END(0)
}

// A plain streaming read: every thread has four loads of 16 bytes on their way.
MICRO(stream, const char* data, u64 bytes) {
  const u64 step = 16ull * blockDim.x * gridDim.x;
  u32 total = 0;
  for (u64 at = 16ull * (blockIdx.x * blockDim.x + threadIdx.x); at < bytes; at += 4 * step) {
    u32 d[4][4] = {};
    REPEAT(j, 4) {
      if (at + j * step < bytes) {
        asm volatile("ld.global.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                     : "=r"(d[j][0]), "=r"(d[j][1]), "=r"(d[j][2]), "=r"(d[j][3])
                     : "l"(data + at + j * step) : "memory");
      }
    }
    REPEAT(j, 4) REPEAT(i, 4) total ^= d[j][i];
  }
  if (total == 0x9e3779b9u) sink[threadIdx.x] = 1;
}
"""


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    data = Buffer("data", DATA_MB * MEGABYTE, "activations", zeroed=True)
    bandwidth.scramble(runner, bandwidth.BENCHMARK, data)
    yield _node(runner, benchmark, "empty", {"ctas": 1}, Point("empty"), 1)
    yield _node(runner, benchmark, "empty", {"ctas": SMS}, Point("empty", ctas=SMS, warps=4), 1)
    big = Point("empty", ctas=SMS, warps=4, shared_bytes=BIG_SHARED_BYTES)
    yield _node(runner, benchmark, "big_shared", {"ctas": SMS}, big, 1)
    full = Point("registers", ctas=SMS, warps=8, arguments=(np.uint32(0),), shared_bytes=BIG_SHARED_BYTES)
    yield _node(runner, benchmark, "registers", {"ctas": SMS}, full, 1)
    for waves in WAVES:
        point = Point("empty", ctas=SMS * waves, warps=4, shared_bytes=BIG_SHARED_BYTES)
        yield _node(runner, benchmark, "waves", {"waves": waves}, point, 1)
    for tiles in TILES:
        point = Point("tiles", ctas=SMS, warps=16, arguments=(data,), shared_bytes=16 * 1024)
        yield _node(runner, benchmark, "tiles", {"tiles": tiles}, point, tiles, data)
    for megabytes in STREAM_MB:
        size = np.int64(megabytes * MEGABYTE)
        point = Point("stream", ctas=4 * SMS, warps=THREADS // 32, arguments=(data, size))
        yield _node(runner, benchmark, "stream", {"megabytes": megabytes}, point, 1, data, megabytes)
    yield from _first_trip(runner, benchmark, data)


def _node(
    runner: Runner,
    benchmark: Benchmark,
    name: str,
    params: dict[str, Parameter],
    point: Point,
    trips: int,
    data: Buffer | None = None,
    megabytes: int = 64,
) -> Row:
    """Time a node of a graph; what reads memory reads another part of it in every node."""
    each = launch(benchmark, _measured_only(point), trips)
    arrays = runner.place(each)
    pointers = addresses(arrays)
    runner.device.kernel(each)
    shifts = [0] if data is None else [i * megabytes * MEGABYTE for i in range(DATA_MB // megabytes)][:64]
    calls = [lambda shift=shift: _call(runner, each, pointers, shift) for shift in shifts]
    times = time_calls(runner.device, calls)
    label = " ".join([name, *(f"{key}={value}" for key, value in params.items())])
    spread = times.spread_us / times.median_us
    return Row(benchmark.name, label, params, times.median_us, "us", spread, times.replays)


def _measured_only(point: Point) -> Point:
    return Point(
        point.kernel, 1, point.warps, ctas=point.ctas, arguments=point.arguments,
        shared_bytes=point.shared_bytes, simulated=False,
    )  # fmt: skip


def _call(runner: Runner, each: KernelLaunch, pointers: dict[str, int], shift: int) -> None:
    moved = {name: at + (shift if name == "data" else 0) for name, at in pointers.items()}
    runner.device.enqueue(each, moved)


def _first_trip(runner: Runner, benchmark: Benchmark, data: Buffer) -> Iterator[Row]:
    """Return the time of one cold tile as the CTAs themselves see it."""
    point = Point("tiles", ctas=SMS, warps=16, arguments=(data,), shared_bytes=16 * 1024, simulated=False)
    one = runner.least(launch(benchmark, point, 1), cold=True)
    yield Row(benchmark.name, "cold_tile", {}, one / runner.clock_mhz, "us", 0.0, 9)
    trip = latency.cold_hop(runner, latency.BENCHMARK, 256) / runner.clock_mhz
    yield Row(benchmark.name, "dram_trip", {}, trip, "us", 0.0, 3)
    yield Row(benchmark.name, "clock", {}, runner.clock_mhz, "MHz", 0.0, 1)


def stream_fit(table: Table) -> tuple[float, float]:
    """Return intercept in µs and slope in µs per byte of the streaming read, relative errors weighted alike."""
    rows = table.values("stream")
    nbytes = np.array([float(row.params["megabytes"]) for row in rows]) * MEGABYTE
    times = np.array([row.value for row in rows])
    slope, intercept = np.polyfit(nbytes, times, 1, w=1 / times)
    return float(intercept), float(slope)


def cta_start_cycles(table: Table) -> float:
    """Return the cycles of one more wave of empty CTAs, one per SM."""
    rows = [row for row in table.values("waves") if int(row.params["waves"]) >= 8]
    slope = np.polyfit([float(row.params["waves"]) for row in rows], [row.value for row in rows], 1)[0]
    return float(slope) * table.value("clock")


def ramp_us(table: Table) -> float:
    """Return what is left of the streaming read's intercept after the node and an unloaded trip to DRAM."""
    return stream_fit(table)[0] - table.value("empty", ctas=1) - table.value("dram_trip")


BENCHMARK = Benchmark(
    name="fixed_cost",
    about="graph nodes from empty to streaming reads, waves of empty CTAs: microseconds per node",
    source=SOURCE,
    feeds=(
        Feed("launch.graph_node_us", lambda table: table.value("empty", ctas=1)),
        Feed("launch.ramp_us", ramp_us),
        Feed("sm.control.cta_start_cycles", cta_start_cycles, whole=True),
    ),
    measure=_measure,
)
