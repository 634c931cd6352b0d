"""The SM clock against load, and what follows it: L2 latency and bandwidth, DRAM bandwidth, at the clocks that result.

Every SM streams (from L2, from DRAM, or not at all) while four warps keep the tensor cores busy for a share of the
time, long enough for the clock to settle. One SM chases pointers in L2.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.measuring.device import addresses
from gpu_kernels.micro.benchmark import Benchmark, Parameter, Point, Row, launch
from gpu_kernels.micro.latency import MEGABYTE, random_lines, ring_of
from sim.isa.launch import Buffer

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

SMS = 132
WARPS = 12  # eight stream, four multiply
STREAM_MB = 4096
L2_MB = 16
SETTLE_S = 0.4
DUTIES = (0, 25, 50, 75, 100)  # percent
LEVELS = {"none": 0, "l2": L2_MB * MEGABYTE, "dram": STREAM_MB * MEGABYTE}
HOPS = 20_000  # about 3 ms
BURST = 64  # mma of a warp
BURST_CYCLES = {"f16": 388, "s8": 388}  # at one mma every 6.06 cycles
SOURCE = r"""
#define WAIT(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")
#define COMMIT asm volatile("cp.async.commit_group;" ::: "memory")
#define COPY(to, from) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory")

MICRO(write_ring, const u32* lines, char* data, int count) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    *reinterpret_cast<u64*>(data + 128ull * lines[i]) = reinterpret_cast<u64>(data + 128ull * lines[i + 1]);
  }
}

static __device__ __forceinline__ u64 nanoseconds() {
  u64 now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

static __device__ __forceinline__ u32 hashed(u32 x) {
  x ^= x >> 16, x *= 0x7feb352du, x ^= x >> 15, x *= 0x846ca68bu;
  return x ^ x >> 16;
}

#define MMA_F16(d, a, b)                                                                             \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, " \
               "{%0,%1,%2,%3};" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                      \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#define MMA_S8(d, a, b)                                                                              \
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, " \
               "{%0,%1,%2,%3};" : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])                      \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

// CTA 0 chases; warps 0 to 7 of the others stream, warps 8 to 11 multiply random numbers, until the chase ends.
#define BUSY(name, type, MMA, RANDOM)                                                                \
  MICRO(name, const u32* lines, char* ring, const char* data, u64 bytes, u32 period, u32* done, u64* out) { \
    u64 rate = 0;                                                                                    \
    const u64 began_ns = nanoseconds();                                                              \
    const long long begin = clock64();                                                               \
    if (blockIdx.x == 0) {                                                                           \
      if (threadIdx.x >= 32) return;                                                                 \
      u64 p = reinterpret_cast<u64>(ring + 128ull * lines[0]);                                       \
      LOOP REPEAT(j, 8) asm volatile("ld.global.L1::no_allocate.u64 %0, [%0];" : "+l"(p)::"memory"); \
      const long long end = clock64() + (p == 1);                                                    \
      const u64 ended_ns = nanoseconds();                                                            \
      if (threadIdx.x == 0) {                                                                        \
        asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(done), "r"(1) : "memory");          \
        out[0] = 0, out[1] = end - begin, out[2] = ended_ns - began_ns;                              \
      }                                                                                              \
      return;                                                                                        \
    }                                                                                                \
    u32 stop = 0;                                                                                    \
    if (threadIdx.x < 256) {                                                                         \
      if (bytes == 0) return;                                                                        \
      const u32 base = shared_base() + 16 * threadIdx.x;                                             \
      const char* from = data + 16 * threadIdx.x;                                                    \
      const u64 step = 4096ull * (gridDim.x - 1);                                                    \
      u64 at = 4096ull * (blockIdx.x - 1);                                                           \
      u32 slot = 0;                                                                                  \
      for (u32 n = 0; n < 400000 && !stop; ++n) {                                                    \
        WAIT(7);                                                                                     \
        COPY(base + slot, from + (at & (bytes - 1)));                                                \
        COMMIT;                                                                                      \
        at += step;                                                                                  \
        rate += 4096;                                                                                \
        slot = slot == 4096 * 7 ? 0 : slot + 4096;                                                   \
        if (n % 64 == 63) asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(stop) : "l"(done) : "memory"); \
      }                                                                                              \
      WAIT(0);                                                                                       \
    } else {                                                                                         \
      u32 a[8][4], b[4][2];                                                                          \
      type d[8][4] = {};                                                                             \
      REPEAT(i, 8) REPEAT(j, 4) a[i][j] = RANDOM(hashed(threadIdx.x * 64 + i * 4 + j));              \
      REPEAT(i, 4) REPEAT(j, 2) b[i][j] = RANDOM(hashed(threadIdx.x * 64 + 40 + i * 2 + j));         \
      u64 next = 0;                                                                                  \
      for (u32 n = 0; n < 4000000 && !stop; ++n) {                                                   \
        if (period > 0) {                                                                            \
          REPEAT(j, 64) MMA(d[j % 8], a[j % 8], b[(j + j / 8) % 4]);                                 \
          rate += 64;                                                                                \
        }                                                                                            \
        next += period == 0 ? 4000 : period;                                                         \
        while (static_cast<u64>(clock64() - begin) < next) {                                         \
        }                                                                                            \
        if (n % 16 == 15) asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(stop) : "l"(done) : "memory"); \
      }                                                                                              \
      type total = 0;                                                                                \
      REPEAT(i, 8) REPEAT(j, 4) total += d[i][j];                                                    \
      if (total == static_cast<type>(12345)) sink[threadIdx.x] = 1;                                  \
    }                                                                                                \
    const long long end = clock64();                                                                 \
    const u64 ended_ns = nanoseconds();                                                              \
    if (threadIdx.x == 0 || threadIdx.x == 256) {                                                    \
      u64* own = out + 8 * blockIdx.x + (threadIdx.x ? 4 : 0);                                       \
      own[0] = rate, own[1] = end - begin, own[2] = ended_ns - began_ns;                             \
    }                                                                                                \
  }
#define HALVES(h) (((h) & 0x8fff8fffu) | 0x30003000u)
#define BYTES(h) (h)
BUSY(busy_f16, float, MMA_F16, HALVES)
BUSY(busy_s8, int, MMA_S8, BYTES)
"""


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    data = Buffer("data", STREAM_MB * MEGABYTE, "weights", zeroed=True)
    ring = Buffer("ring", MEGABYTE, "activations")
    lines = random_lines(1024, ring.nbytes, 1)
    order = ring_of(lines)
    setup = Point("write_ring", warps=8, arguments=(order, ring, np.int32(len(lines))), simulated=False)
    runner.run(launch(benchmark, setup, 1))
    for level, nbytes in LEVELS.items():
        for kind in ("f16", "s8") if level == "none" else ("f16",):
            for duty in DUTIES:
                if kind == "f16" or duty in (50, 100):
                    yield from _one(runner, benchmark, (order, ring, data), (level, nbytes), kind, duty)


def _one(
    runner: Runner,
    benchmark: Benchmark,
    buffers: tuple[Buffer, Buffer, Buffer],
    stream: tuple[str, int],
    kind: str,
    duty: int,
) -> Iterator[Row]:
    level, nbytes = stream
    period = round(BURST_CYCLES[kind] * 100 / duty) if duty else 0
    done, out = Buffer("done", 4, "workspace", zeroed=True), Buffer("out", 64 * SMS, "output", zeroed=True)
    arguments = (*buffers, np.int64(nbytes), np.uint32(period), done, out)
    point = Point(
        f"busy_{kind}", warps=WARPS, ctas=SMS, arguments=arguments, shared_bytes=200 * 1024, simulated=False
    )
    each = launch(benchmark, point, HOPS // 8)
    arrays = runner.place(each)
    runner.device.kernel(each)
    started = time.monotonic()
    while time.monotonic() - started < SETTLE_S:
        with runner.device.stream:
            for _ in range(8):
                arrays["done"].data.memset_async(0, 4, runner.device.stream)
                runner.device.enqueue(each, addresses(arrays))
        runner.device.synchronize()
    yield from _rows(benchmark, arrays["out"].get().view(np.uint64).reshape(SMS, 2, 4), level, kind, duty)


def _rows(benchmark: Benchmark, out: np.ndarray, level: str, kind: str, duty: int) -> Iterator[Row]:
    cycles, ns = float(out[0, 0, 1]), float(out[0, 0, 2])
    found = {
        "clock_mhz": 1e3 * cycles / ns,
        "latency_cycles": cycles / HOPS,
        "latency_ns": ns / HOPS,
        "mma_of_a_warp_per_kcycle": 1e3 * float((out[1:, 1, 0] / np.maximum(out[1:, 1, 1], 1)).mean()),
    }
    if level != "none":
        found["stream_bytes_per_ns"] = float((out[1:, 0, 0] / out[1:, 0, 2]).sum())
        found["stream_bytes_per_cycle"] = float((out[1:, 0, 0] / out[1:, 0, 1]).sum())
    params: dict[str, Parameter] = {"level": level, "mma": kind, "duty": duty}
    for kernel, value in found.items():
        name = " ".join([kernel, *(f"{key}={number}" for key, number in params.items())])
        yield Row(benchmark.name, name, params, value, kernel.split("_", 1)[1], 0.0, 1)


BENCHMARK = Benchmark(
    name="clock_load",
    about="the SM clock against tensor duty beside no, L2 and DRAM streams; L2 latency and bandwidths at that clock",
    source=SOURCE,
    measure=_measure,
)
