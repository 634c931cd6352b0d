"""Bandwidth of L2 and DRAM: against bytes in flight per SM, busy SMs, contiguous run length, reads and writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.micro.benchmark import Benchmark, Feed, Parameter, Point, Row, Table, launch
from sim.isa.launch import Buffer

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

SMS = 132
THREADS = 256
STAGE_BYTES = 16 * THREADS  # one cp.async of every thread
STAGES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
DEEP = 32
BUSY_SMS = (1, 2, 8, 33, 66, 99, 132)
MEGABYTE = 2**20
DRAM_MB = 4096  # each byte is read once per launch
L2_MB = 16
L2_PASSES = 128
FOOTPRINTS_MB = (16, 24, 32, 40, 44, 48, 52, 56, 60, 64, 72, 80, 96, 128)
SHARED_PASSES = 2  # of a footprint that all SMs read
RUNS = (64, 128, 256, 512, 1024, 2048, 4096)
PITCHES = (16_384, 32_768)
MIXES = ((4, 0), (3, 1), (2, 2), (1, 3), (0, 4))
SURELY_FITS_MB = 40
FITS = 0.8  # of the rate of footprints that surely fit
GB = 1e3  # bytes per microsecond in a GB/s

HEAD = r"""
#define WAIT(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")
#define COMMIT asm volatile("cp.async.commit_group;" ::: "memory")
#define COPY(to, from) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory")

// A ring of stages of 4 KiB; every trip one stage is awaited and asked for again. CTAs take stages in turn;
// offsets wrap around at `mask`.
#define STREAM(stages)                                                                     \
  MICRO(stream_##stages, const char* data, u64 mask) {                                     \
    const u32 base = shared_base() + 16 * threadIdx.x;                                     \
    const char* from = data + 16 * threadIdx.x;                                            \
    const u64 step = 4096ull * gridDim.x;                                                  \
    u64 at = 4096ull * blockIdx.x;                                                         \
    u32 slot = 0;                                                                          \
    BEGIN                                                                                  \
    REPEAT(j, stages) {                                                                    \
      COPY(base + 4096 * j, from + (at & mask));                                           \
      COMMIT;                                                                              \
      at += step;                                                                          \
    }                                                                                      \
    LOOP {                                                                                 \
      WAIT(stages - 1);                                                                    \
      COPY(base + slot, from + (at & mask));                                               \
      COMMIT;                                                                              \
      at += step;                                                                          \
      slot = slot == 4096 * (stages - 1) ? 0 : slot + 4096;                                \
    }                                                                                      \
    WAIT(0);                                                                               \
    END(slot)                                                                              \
  }

// Fills memory with bits that look random: zeros are cheaper to move.
MICRO(scramble, uint4* data, u64 count) {
  for (u64 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += static_cast<u64>(gridDim.x) * blockDim.x) {
    u32 x = static_cast<u32>(i) * 2654435761u + 12345u;
    uint4 value;
    x ^= x >> 15; x *= 2246822519u; value.x = x ^ (x >> 13);
    x ^= x >> 15; x *= 2246822519u; value.y = x ^ (x >> 13);
    x ^= x >> 15; x *= 2246822519u; value.z = x ^ (x >> 13);
    x ^= x >> 15; x *= 2246822519u; value.w = x ^ (x >> 13);
    data[i] = value;
  }
}

// The same footprint again and again, `count` stages: each stage by one CTA in a pass (first = 1, step = CTAs),
// or all stages by all CTAs (first = 0, step = 1).
MICRO(revisit, const char* data, u32 count, u32 first, u32 step) {
  const u32 base = shared_base() + 16 * threadIdx.x;
  const char* from = data + 16 * threadIdx.x;
  u32 stage = first * blockIdx.x, slot = 0;
  BEGIN
  LOOP {
    WAIT(15);
    COPY(base + slot, from + 4096ull * stage);
    COMMIT;
    stage += step;
    if (stage >= count) stage -= count;
    slot = slot == 61440 ? 0 : slot + 4096;
  }
  WAIT(0);
  END(slot)
}

// Runs of `run` bytes, `pitch` bytes apart, as the rows of a matrix tile are; each byte once.
MICRO(rows, const char* data, u32 log_run, u32 log_pitch, u32 log_rows) {
  const u32 base = shared_base() + 16 * threadIdx.x;
  const u32 inside = (16 * threadIdx.x) & ((1u << log_run) - 1);
  const u32 runs_per_stage = 4096u >> log_run;
  u64 number = static_cast<u64>(blockIdx.x) * runs_per_stage + ((16 * threadIdx.x) >> log_run);
  const u64 step = static_cast<u64>(gridDim.x) * runs_per_stage;
  u32 slot = 0;
  BEGIN
  LOOP {
    WAIT(15);
    const u64 row = number & ((1ull << log_rows) - 1), column = number >> log_rows;
    COPY(base + slot, data + (row << log_pitch) + (column << log_run) + inside);
    COMMIT;
    number += step;
    slot = slot == 61440 ? 0 : slot + 4096;
  }
  WAIT(0);
  END(slot)
}

// Plain loads and stores of 16 bytes, four per trip and thread.
#define MIX(reads, writes)                                                                 \
  MICRO(mix_##reads##_##writes, char* data, u64 mask) {                                    \
    const u64 step = 16ull * blockDim.x * gridDim.x;                                       \
    u64 at = 16ull * (blockIdx.x * blockDim.x + threadIdx.x);                              \
    u32 total = 0;                                                                         \
    BEGIN                                                                                  \
    LOOP {                                                                                 \
      u32 d[reads + 1][4];                                                                 \
      REPEAT(j, reads) {                                                                   \
        asm volatile("ld.global.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"               \
                     : "=r"(d[j][0]), "=r"(d[j][1]), "=r"(d[j][2]), "=r"(d[j][3])          \
                     : "l"(data + (at & mask)) : "memory");                                \
        at += step;                                                                        \
      }                                                                                    \
      REPEAT(j, writes) {                                                                  \
        asm volatile("st.global.v4.u32 [%0], {%1,%1,%1,%1};"                               \
                     ::"l"(data + (at & mask)), "r"(trip) : "memory");                     \
        at += step;                                                                        \
      }                                                                                    \
      REPEAT(j, reads) REPEAT(i, 4) total ^= d[j][i];                                      \
    }                                                                                      \
    END(total)                                                                             \
  }
"""


def _source() -> str:
    streams = "".join(f"STREAM({stages})\n" for stages in STAGES)
    mixes = "".join(f"MIX({reads}, {writes})\n" for reads, writes in MIXES)
    return HEAD + streams + mixes


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    dram = Buffer("data", DRAM_MB * MEGABYTE, "weights", zeroed=True)
    near = Buffer("data", L2_MB * MEGABYTE, "weights", zeroed=True)
    for data in (dram, near):
        scramble(runner, benchmark, data)
    shapes = [(stages, SMS) for stages in STAGES] + [(DEEP, sms) for sms in BUSY_SMS[:-1]]
    shapes += [(12, 2 * SMS), (12, 4 * SMS)]
    for level, data in (("l2", near), ("dram", dram)):
        for stages, ctas in shapes:
            row = _stream(runner, benchmark, level, data, stages, ctas)
            yield row
            per_cycle = row.value * GB / runner.clock_mhz
            yield _row(benchmark, "stream_bytes", dict(row.params), per_cycle, "bytes/cycle")
    for megabytes in FOOTPRINTS_MB:
        yield _footprint(runner, benchmark, dram, megabytes, "own")
        yield _footprint(runner, benchmark, dram, megabytes, "shared")
    for pitch in PITCHES:
        for run in RUNS:
            yield _rows(runner, benchmark, dram, run, pitch)
    for reads, writes in MIXES:
        yield _mix(runner, benchmark, dram, reads, writes)


def scramble(runner: Runner, benchmark: Benchmark, data: Buffer) -> None:
    """Fill a buffer that stays on the device."""
    arguments = (data, np.int64(data.nbytes // 16))
    point = Point("scramble", warps=THREADS // 32, ctas=8 * SMS, arguments=arguments, simulated=False)
    runner.run(launch(benchmark, point, 1))


def _row(benchmark: Benchmark, kernel: str, params: dict[str, Parameter], value: float, unit: str) -> Row:
    name = " ".join([kernel, *(f"{key}={number}" for key, number in params.items())])
    return Row(benchmark.name, name, params, value, unit, 0.0, 1)


def _gb_per_s(runner: Runner, benchmark: Benchmark, point: Point, bytes_per_trip: int) -> float:
    """Return the rate of the slope over trips, by events."""
    few, many = (runner.time_us(launch(benchmark, point, trips)) for trips in point.trips)
    return (point.trips[1] - point.trips[0]) * bytes_per_trip / (many - few) / GB


def _stream(runner: Runner, benchmark: Benchmark, level: str, data: Buffer, stages: int, ctas: int) -> Row:
    """Stream through a power of two of bytes, so that the mask wraps."""
    total = data.nbytes if level == "dram" else L2_PASSES * data.nbytes
    trips = max(64, min(total // (ctas * STAGE_BYTES), 20_000) - stages)
    point = Point(
        f"stream_{stages}",
        warps=THREADS // 32,
        ctas=ctas,
        arguments=(data, np.int64(data.nbytes - 1)),
        shared_bytes=stages * STAGE_BYTES,
        trips=(trips // 4, trips),
        simulated=False,
    )
    rate = _gb_per_s(runner, benchmark, point, ctas * STAGE_BYTES)
    params: dict[str, Parameter] = {"level": level, "kb": stages * STAGE_BYTES // 1024, "ctas": ctas}
    return _row(benchmark, "stream", params, rate, "GB/s")


def _footprint(runner: Runner, benchmark: Benchmark, data: Buffer, megabytes: int, readers: str) -> Row:
    """Read one footprint again and again."""
    stages = megabytes * MEGABYTE // STAGE_BYTES
    own = readers == "own"
    point = Point(
        "revisit",
        warps=THREADS // 32,
        ctas=SMS,
        arguments=(data, np.uint32(stages), np.uint32(own), np.uint32(SMS if own else 1)),
        shared_bytes=16 * STAGE_BYTES,
        trips=(2000, 8000) if own else (stages, (1 + SHARED_PASSES) * stages),
        simulated=False,
    )
    rate = _gb_per_s(runner, benchmark, point, SMS * STAGE_BYTES)
    return _row(benchmark, "revisit", {"readers": readers, "megabytes": megabytes}, rate, "GB/s")


def _rows(runner: Runner, benchmark: Benchmark, data: Buffer, run: int, pitch: int) -> Row:
    rows = data.nbytes // pitch
    trips = data.nbytes // (SMS * STAGE_BYTES) - 1
    logs = tuple(np.uint32(value.bit_length() - 1) for value in (run, pitch, rows))
    point = Point(
        "rows",
        warps=THREADS // 32,
        ctas=SMS,
        arguments=(data, *logs),
        shared_bytes=16 * STAGE_BYTES,
        trips=(trips // 4, trips),
        simulated=False,
    )
    rate = _gb_per_s(runner, benchmark, point, SMS * STAGE_BYTES)
    return _row(benchmark, "rows", {"run": run, "pitch": pitch}, rate, "GB/s")


def _mix(runner: Runner, benchmark: Benchmark, data: Buffer, reads: int, writes: int) -> Row:
    ctas = 4 * SMS
    per_trip = 4 * 16 * THREADS * ctas
    trips = data.nbytes // per_trip
    point = Point(
        f"mix_{reads}_{writes}",
        warps=THREADS // 32,
        ctas=ctas,
        arguments=(data, np.int64(data.nbytes - 1)),
        trips=(trips // 4, trips),
        simulated=False,
    )
    rate = _gb_per_s(runner, benchmark, point, per_trip)
    return _row(benchmark, "mix", {"reads": reads, "writes": writes}, rate, "GB/s")


def best_dram(table: Table) -> float:
    """Return the best streaming read."""
    return max(row.value for row in table.values("stream") if row.params["level"] == "dram")


def l2_bytes_per_cycle(table: Table) -> float:
    """Return the rate of all SMs together with as much on its way as a matmul's pipelines have."""
    return table.value("stream_bytes", level="l2", kb=DEEP * STAGE_BYTES // 1024, ctas=SMS)


def port_bytes_per_cycle(table: Table) -> float:
    """Return what one SM alone gets from L2."""
    return table.value("stream_bytes", level="l2", kb=DEEP * STAGE_BYTES // 1024, ctas=1)


def capacity_bytes(table: Table) -> float:
    """Return the largest footprint, each line read by one SM in a pass, that is read at L2's rate."""
    rows = [row for row in table.values("revisit") if row.params["readers"] == "own"]
    usual = sorted(row.value for row in rows if int(row.params["megabytes"]) <= SURELY_FITS_MB)
    least = FITS * usual[len(usual) // 2]
    fits = 0
    for row in rows:
        if row.value < least:
            break
        fits = int(row.params["megabytes"])
    return fits * MEGABYTE


BENCHMARK = Benchmark(
    name="bandwidth",
    about="L2 and DRAM: GB/s against bytes in flight, busy SMs, footprint, run length, reads and writes",
    source=_source(),
    feeds=(
        Feed("dram.bandwidth_gb_per_s", best_dram, digits=3),
        Feed("l2.bandwidth_bytes_per_cycle", l2_bytes_per_cycle),
        Feed("l2.sm_port_bytes_per_cycle", port_bytes_per_cycle),
        Feed("l2.capacity_bytes", capacity_bytes, whole=True),
    ),
    measure=_measure,
)
