"""Energy per operation: the board's energy counter over seconds of one kind of work on random data.

Each kernel keeps all SMs busy with one kind of work. Its power less that of SMs that only wait, over its rate, is the
energy of one operation with the instructions that ask for it; what is measured by itself is taken off the next. The
counter is NVML's for the whole board, so regulators and fans are in it; voltage follows the clock, so the numbers
belong to the clocks recorded beside them.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.measuring.device import addresses
from gpu_kernels.micro.bandwidth import HEAD, SMS, STAGE_BYTES, scramble
from gpu_kernels.micro.benchmark import Benchmark, Feed, Parameter, Point, Row, Table, launch, loop_of
from gpu_kernels.micro.clock_load import SOURCE as CLOCK_SOURCE
from sim.errors import TcsimError
from sim.isa.launch import Buffer

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

MEGABYTE = 2**20
SETTLE_S = 0.5
MEASURE_US, LAUNCH_US = 2_200_000, 20_000
FEWEST_READINGS = 5
OPS = {"f16": 4096, "bf16": 4096, "s8": 8192}  # multiplications and additions of one mma
STREAM_MB = {"l2": 16, "dram": 4096}
STAGES = 12
UNROLLED = 64
PROBED = 1000  # trips of the launch that says how many fill LAUNCH_US
BITS = 8
PJ = 1e12

_HASH = CLOCK_SOURCE[CLOCK_SOURCE.index("static __device__ __forceinline__ u32 hashed") :].split(
    "#define MMA_F16"
)[0]
_STREAM = HEAD[: HEAD.index("// Fills memory")]
_SCRAMBLE = HEAD[HEAD.index("// Fills memory") : HEAD.index("// The same footprint")]
_MMA = r"""
#define MMA(shape, type, into, of, c) \
  asm volatile("mma.sync.aligned." shape ".row.col." into "." of "." of "." into                \
               " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                             \
               : c(d[j % 8][0]), c(d[j % 8][1]), c(d[j % 8][2]), c(d[j % 8][3])                     \
               : "r"(a[j % 8][0]), "r"(a[j % 8][1]), "r"(a[j % 8][2]), "r"(a[j % 8][3]),            \
                 "r"(b[(j + j / 8) % 4][0]), "r"(b[(j + j / 8) % 4][1]))
#define MULTIPLY(name, shape, type, into, of, c, RANDOM)                                   \
  MICRO(mma_##name) {                                                                      \
    u32 a[8][4], b[4][2];                                                                  \
    type d[8][4] = {};                                                                     \
    REPEAT(i, 8) REPEAT(j, 4) a[i][j] = RANDOM(hashed(threadIdx.x * 64 + i * 4 + j));      \
    REPEAT(i, 4) REPEAT(j, 2) b[i][j] = RANDOM(hashed(threadIdx.x * 64 + 40 + i * 2 + j)); \
    BEGIN                                                                                  \
    LOOP REPEAT(j, 64) MMA(shape, type, into, of, c);                                      \
    type total = 0;                                                                        \
    REPEAT(i, 8) REPEAT(j, 4) total += d[i][j];                                            \
    END(static_cast<u32>(total))                                                           \
  }
// Random signs and mantissas, exponents near one.
#define HALVES(h) (((h) & 0x8fff8fffu) | 0x30003000u)
#define BHALVES(h) (((h) & 0x807f807fu) | 0x3f003f00u)
#define BYTES(h) (h)
MULTIPLY(f16, "m16n8k16", float, "f32", "f16", "+f", HALVES)
MULTIPLY(bf16, "m16n8k16", float, "f32", "bf16", "+f", BHALVES)
MULTIPLY(s8, "m16n8k32", int, "s32", "s8", "+r", BYTES)

MICRO(wait) {
  BEGIN
  LOOP asm volatile("nanosleep.u32 2000;");
  END(0u)
}

MICRO(logic) {
  u32 x[8], y = hashed(threadIdx.x), z = hashed(threadIdx.x + 4096);
  REPEAT(i, 8) x[i] = hashed(threadIdx.x * 8 + i);
  BEGIN
  LOOP REPEAT(j, 64) {
    asm volatile("lop3.b32 %0, %0, %1, %2, 0x96;" : "+r"(x[j % 8]) : "r"(j % 2 ? y : x[(j + 3) % 8]), "r"(z));
  }
  u32 total = 0;
  REPEAT(i, 8) total += x[i];
  END(total)
}

MICRO(shared_load) {
  const u32 base = shared_base() + 4 * threadIdx.x;
  REPEAT(i, 16) {
    asm volatile("st.volatile.shared.u32 [%0], %1;" ::"r"(base + 2048 * i), "r"(hashed(threadIdx.x + 512 * i)));
  }
  u32 total = 0;
  BEGIN
  LOOP REPEAT(j, 64) {
    u32 value;
    asm volatile("ld.volatile.shared.u32 %0, [%1];" : "=r"(value) : "r"(base + 2048 * (j % 16)));
    if (j % 16 == 15) total ^= value;
  }
  END(total)
}

STREAM(12)

// Each CTA its own 64 KiB, which stay in L2: CTAs that walk through common data fall into step and share fetches.
MICRO(regions, const char* data, u64 mask) {
  const u32 base = shared_base() + 16 * threadIdx.x;
  const char* from = data + 65536ull * blockIdx.x + 16 * threadIdx.x;
  u32 at = 0, slot = 0;
  BEGIN
  REPEAT(j, 12) {
    COPY(base + 4096 * j, from + at);
    COMMIT;
    at = (at + 4096) & 65535;
  }
  LOOP {
    WAIT(11);
    COPY(base + slot, from + at);
    COMMIT;
    at = (at + 4096) & 65535;
    slot = slot == 4096 * 11 ? 0 : slot + 4096;
  }
  WAIT(0);
  END(slot + (mask == 0))
}
"""
SOURCE = _STREAM + _HASH + _SCRAMBLE + _MMA


@dataclass(frozen=True)
class Work:
    """One kind of work: its kernel, and how many units of it one warp does in a trip."""

    kernel: str
    units: int
    shared_bytes: int = 0
    data_mb: int = 0
    warps: int = 16


WORKS = {
    "wait": Work("wait", 1),
    "instruction": Work("logic", UNROLLED),
    **{f"mma_{name}": Work(f"mma_{name}", UNROLLED) for name in OPS},
    "shared_load": Work("shared_load", UNROLLED, 32 * 1024),
    "l2": Work("regions", 512, STAGES * STAGE_BYTES, STREAM_MB["l2"], 8),
    "dram": Work(f"stream_{STAGES}", 512, STAGES * STAGE_BYTES, STREAM_MB["dram"], 8),
}


class BoardEnergy:
    """NVML's energy counter of the board, in joules since the driver was loaded."""

    def __init__(self) -> None:
        try:
            self._nvml = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError as error:
            raise TcsimError(f"energy needs NVML: {error}") from None
        self._device = ctypes.c_void_p()
        self._call("nvmlInit_v2")
        self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(0), ctypes.byref(self._device))

    def joules(self) -> float:
        """Read the counter."""
        millijoules = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", self._device, ctypes.byref(millijoules))
        return millijoules.value / 1e3

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._nvml, name)(*arguments)
        if status:
            raise TcsimError(f"{name}: NVML status {status}")


def power_w(joules: Callable[[], float], busy: Callable[[], bool]) -> float:
    """Return the mean power while ``busy``: between changes of the counter, which come now and then."""
    readings: list[tuple[float, float]] = []
    began = time.monotonic()
    while busy():
        now, energy = time.monotonic(), joules()
        if now - began >= SETTLE_S and (not readings or energy != readings[-1][1]):
            readings.append((now, energy))
    if len(readings) < FEWEST_READINGS:
        raise TcsimError(
            f"the energy counter changed {len(readings)} times, allowed: {FEWEST_READINGS} or more"
        )
    (first_s, first_j), (last_s, last_j) = readings[1], readings[-1]
    return (last_j - first_j) / (last_s - first_s)


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    board = BoardEnergy()
    buffers = {size: Buffer("data", size * MEGABYTE, "weights", zeroed=True) for size in STREAM_MB.values()}
    for data in buffers.values():
        scramble(runner, benchmark, data)
    for name, work in WORKS.items():
        yield from _one(runner, benchmark, board, name, work, buffers.get(work.data_mb))


def _one(
    runner: Runner, benchmark: Benchmark, board: BoardEnergy, name: str, work: Work, data: Buffer | None
) -> Iterator[Row]:
    arguments = () if data is None else (data, np.int64(data.nbytes - 1))
    point = Point(work.kernel, 1.0, work.warps, 4, SMS, {}, arguments, work.shared_bytes, simulated=False)
    trips = _trips(runner, benchmark, point)
    each = launch(benchmark, point, trips)
    arrays = runner.place(each)
    launches = round(MEASURE_US / runner.time_us(each, 2))
    cuda, stream = runner.device.cupy.cuda, runner.device.stream
    before, after = cuda.Event(), cuda.Event()
    with stream:  # all at once: between launches the GPU must not wait for the host
        before.record(stream)
        for _ in range(launches):
            runner.device.enqueue(each, addresses(arrays))
        after.record(stream)
    watts = power_w(board.joules, lambda: not stream.done)
    seconds = float(cuda.get_elapsed_time(before, after)) / 1e3
    clocks = arrays["clocks"].get().view(np.int64).reshape(-1, 2)
    cycles = float((clocks[:, 1] - clocks[:, 0]).mean())
    rate = launches * trips * SMS * work.warps / seconds
    found = {
        "power": (watts, "W"),
        "units": (rate * work.units / 1e9, "G/s"),
        "instructions": (rate * _loop_length(benchmark, work.kernel) / 1e9, "G/s"),
        "clock": (launches * cycles / seconds / 1e6, "MHz"),
    }
    for kernel, (value, unit) in found.items():
        params: dict[str, Parameter] = {"work": name}
        yield Row(benchmark.name, f"{kernel} work={name}", params, value, unit, 0.0, launches)


def _trips(runner: Runner, benchmark: Benchmark, point: Point) -> int:
    """Return the trips of a launch of about LAUNCH_US."""
    few = runner.time_us(launch(benchmark, point, PROBED), 1)
    return max(PROBED, round(PROBED * LAUNCH_US / few))


def _loop_length(benchmark: Benchmark, kernel: str) -> int:
    """Count the instructions of a trip."""
    point = Point(kernel, warps=1)
    return len(loop_of(launch(benchmark, point, 1).program))


def _joules_per(table: Table, work: str) -> float:
    """Return the energy above waiting for one unit of work, in pJ."""
    extra = table.value("power", work=work) - table.value("power", work="wait")
    return extra / (table.value("units", work=work) * 1e9) * PJ


def _overhead(table: Table, work: str) -> float:
    """Return the energy of the instructions that one unit takes, in pJ."""
    each = table.value("instructions", work=work) / table.value("units", work=work)
    return each * instruction_pj(table)


def instruction_pj(table: Table) -> float:
    """Return the energy of one warp instruction, loop instructions counted as such."""
    extra = table.value("power", work="instruction") - table.value("power", work="wait")
    return extra / (table.value("instructions", work="instruction") * 1e9) * PJ


def mma_pj_per_op(of: str) -> Callable[[Table], float]:
    """Return how the energy of one multiplication or addition in an mma is found."""
    return lambda table: (_joules_per(table, f"mma_{of}") - _overhead(table, f"mma_{of}")) / OPS[of]


def shared_wavefront_pj(table: Table) -> float:
    """Return the energy of 128 bytes read from shared memory."""
    return _joules_per(table, "shared_load") - _overhead(table, "shared_load")


def l2_pj_per_bit(table: Table) -> float:
    """Return the energy of a bit from L2 into an SM; 128 bytes are one wavefront of shared memory."""
    per_byte = _joules_per(table, "l2") - _overhead(table, "l2") - shared_wavefront_pj(table) / 128
    return per_byte / BITS


def dram_pj_per_bit(table: Table) -> float:
    """Return the energy of a bit from DRAM into L2."""
    per_byte = _joules_per(table, "dram") - _overhead(table, "dram") - shared_wavefront_pj(table) / 128
    return per_byte / BITS - l2_pj_per_bit(table)


def idle_w(table: Table) -> float:
    """Return the power of the board while every SM waits."""
    return table.value("power", work="wait")


BENCHMARK = Benchmark(
    name="energy",
    about="energy per warp instruction, mma operation, shared wavefront, bit of L2 and DRAM: NVML's board counter",
    source=SOURCE,
    feeds=(
        Feed("energy.instruction_pj", instruction_pj, digits=3),
        *(Feed(f"energy.tensor_pj_per_op.{of}", mma_pj_per_op(of), digits=3) for of in OPS),
        Feed("energy.shared_wavefront_pj", shared_wavefront_pj, digits=3),
        Feed("energy.l2_pj_per_bit", l2_pj_per_bit, digits=3),
        Feed("energy.dram_pj_per_bit", dram_pj_per_bit, digits=3),
        Feed("energy.idle_w", idle_w, whole=True),
    ),
    measure=_measure,
)
