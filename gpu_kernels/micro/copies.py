"""cp.async of 16 bytes per lane: pipe time by lines per instruction, release of its source register, latency.

Data lies in L2 (cp.async.cg passes L1 by). Every warp copies its own region.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpu_kernels.micro.benchmark import (
    LANES,
    TARGET,
    Benchmark,
    Feed,
    Point,
    Table,
    loop_of,
    words,
)
from gpu_kernels.micro.programs.store import load_program
from gpu_kernels.micro.shared import strided
from sim.isa.launch import Buffer
from sim.isa.program import Program
from sim.isa.units import NO_COUNTER, Unit

UNROLL = 16
TURN_CYCLES = (
    3 * 2
)  # from a copy's issue to its turn: three accesses of no lane leave before it, two cycles each
BACK_EDGE_CYCLES = 10  # from a taken branch to its target: micro/control
WAITS = 8  # copies of a trip that are each waited for
LINE = 128
REGION = 64 * 1024  # bytes of global memory that one warp reads, again and again
WARPS = (1, 2, 4, 8, 16)
MAX_WARPS = max(WARPS)
STEP = 4096  # between the copies of a body: the widest pattern
SHARED_BYTES = 16 * 1024 + MAX_WARPS * 512  # LDSM's rows, then 512 bytes that each warp copies to

SOURCE = r"""
#define COPY(to, from) \
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory")
#define COMMIT asm volatile("cp.async.commit_group;" ::: "memory")
#define WAIT_ALL asm volatile("cp.async.wait_all;" ::: "memory")
#define LDSM4(d, p)                                                                        \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"             \
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(p) : "memory")
#define ADDRESSES                                                                          \
  const u32 rows = shared_base() + 16 * lane_id();                                         \
  const u32 to = shared_base() + 16384 + threadIdx.x / 32 * 512 + 16 * lane_id();          \
  const char* from = data + threadIdx.x / 32 * 65536 + offsets[lane_id()];

MICRO(copy, const u32* offsets, const char* data) {
  ADDRESSES
  BEGIN
  LOOP REPEAT(j, 16) COPY(to, from + 4096 * j);
  WAIT_ALL;
  END(rows)
}

// Half of the lanes, or fewer, take part.
MICRO(copy_few, const u32* offsets, const char* data, u32 lanes) {
  ADDRESSES
  BEGIN
  LOOP REPEAT(j, 16) {
    asm volatile("{ .reg .pred p; setp.lt.u32 p, %2, %3; @p cp.async.cg.shared.global [%0], [%1], 16; }"
                 ::"r"(to), "l"(from + 4096 * j), "r"(lane_id()), "r"(lanes) : "memory");
  }
  WAIT_ALL;
  END(rows)
}

MICRO(copy_ldsm, const u32* offsets, const char* data) {
  ADDRESSES
  u32 d[16][4] = {};
  BEGIN
  LOOP REPEAT(j, 16) {
    COPY(to, from + 4096 * j);
    LDSM4(d[j], rows + 512 * j);
  }
  WAIT_ALL;
  u32 total = 0;
  REPEAT(j, 16) total ^= d[j][0];
  END(total)
}

// In groups of four: the compiler puts predicated-off LDS between an LDSM and a copy after it.
MICRO(copy_ldsm_grouped, const u32* offsets, const char* data) {
  ADDRESSES
  u32 d[16][4] = {};
  BEGIN
  LOOP REPEAT(g, 4) {
    REPEAT(j, 4) COPY(to, from + 4096 * (4 * g + j));
    REPEAT(j, 4) LDSM4(d[4 * g + j], rows + 512 * (4 * g + j));
  }
  WAIT_ALL;
  u32 total = 0;
  REPEAT(j, 16) total ^= d[j][0];
  END(total)
}

MICRO(ldsm, const u32* offsets, const char* data) {
  ADDRESSES
  u32 d[16][4] = {};
  BEGIN
  LOOP REPEAT(j, 16) LDSM4(d[j], rows + 512 * j);
  u32 total = 0;
  REPEAT(j, 16) total ^= d[j][0];
  END(total ^ static_cast<u32>(reinterpret_cast<u64>(from)) ^ to)
}

// One copy per trip, whose address register is advanced right after it: the loop waits for its release.
MICRO(copy_release, const u32* offsets, const char* data, u32 step, u32 mask) {
  ADDRESSES
  u32 low = static_cast<u32>(reinterpret_cast<u64>(from));
  const u32 high = static_cast<u32>(reinterpret_cast<u64>(from) >> 32);
  BEGIN
  LOOP {
    asm volatile("{ .reg .b64 p; mov.b64 p, {%1, %2}; cp.async.cg.shared.global [%0], [p], 16; }"
                 ::"r"(to), "r"(low), "r"(high) : "memory");
    asm volatile("xor.b32 %0, %0, %1;" : "+r"(low) : "r"(step));
  }
  WAIT_ALL;
  END(low + mask)
}

// The same for the data of a store.
MICRO(store_release, const u32* offsets, const char* data, u32 step, u32 mask) {
  ADDRESSES
  u32 x = step;
  BEGIN
  LOOP {
    asm volatile("st.volatile.shared.u32 [%0], %1;" ::"r"(to), "r"(x) : "memory");
    asm volatile("mad.lo.u32 %0, %0, %1, %2;" : "+r"(x) : "r"(step), "r"(mask));
  }
  END(x ^ static_cast<u32>(reinterpret_cast<u64>(from)))
}

// One copy at a time: issue, arrival in shared memory, wait.
MICRO(copy_wait, const u32* offsets, const char* data) {
  ADDRESSES
  BEGIN
  LOOP REPEAT(j, 8) {
    COPY(to, from + 4096 * j);
    COMMIT;
    asm volatile("cp.async.wait_group 0;" ::: "memory");
  }
  END(rows)
}

// One load at a time, of the same lines past L1: what the wait above takes without shared memory.
MICRO(load_wait, const u32* offsets, const char* data) {
  ADDRESSES
  u64 p = reinterpret_cast<u64>(from);
  u32 x = to & 0;
  BEGIN
  LOOP REPEAT(j, 8) {
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(x) : "l"(p + 4096 * j + x) : "memory");
  }
  END(x)
}
"""


def lines(count: int, sectors_each: int) -> list[int]:
    """Return offsets of 32 lanes over ``count`` lines, ``sectors_each`` of each; lanes may share an address."""
    pieces = [LINE * line + 16 * piece for line in range(count) for piece in range(2 * sectors_each)]
    return [pieces[lane * len(pieces) // LANES] for lane in range(LANES)]


# (lines, sectors of each line that are read): as many lanes as there are pieces of 16 bytes, or several per piece
PATTERNS = {(1, 1): lines(1, 1), (1, 4): lines(1, 4), (2, 4): lines(2, 4), (4, 4): lines(4, 4), (8, 2): lines(8, 2),
            (16, 1): lines(16, 1), (32, 1): [LINE * lane for lane in range(LANES)]}  # fmt: skip


def _data() -> Buffer:
    return Buffer("data", MAX_WARPS * REGION, "activations", zeroed=True)


DATA = _data()


def _points() -> Iterator[Point]:
    for (count, each), offsets in PATTERNS.items():
        for warps in WARPS:
            params = {"lines": count, "sectors": count * each, "warps": warps}
            for kernel in ("copy", "copy_ldsm", "copy_ldsm_grouped"):
                yield _point(kernel, params, offsets, warps, UNROLL * warps)
        for kernel in ("copy_wait", "load_wait"):
            yield _point(kernel, {"lines": count, "sectors": count * each}, offsets, 1, 8)
    for warps in WARPS:
        yield _point("ldsm", {"warps": warps}, strided(16), warps, UNROLL * warps)
        for count in (4, 8):
            offsets = PATTERNS[count, 16 // count]
            params = {"lines": count, "warps": warps}
            yield _point("copy_release", params, offsets, warps, 1, np.uint32(32), np.uint32(0))
        more = np.uint32(3), np.uint32(1)
        yield _point("store_release", {"warps": warps}, PATTERNS[4, 4], warps, 1, *more)
        for lanes in (8, 16):
            params = {"lanes": lanes, "warps": warps}
            yield _point("copy_few", params, PATTERNS[1, 1], warps, UNROLL * warps, np.uint32(lanes))


def _point(
    kernel: str, params: dict[str, int], offsets: list[int], warps: int, count: int, *more: np.uint32
) -> Point:
    return Point(
        kernel=kernel,
        count=count,
        warps=warps,
        params=params,
        arguments=(words("offsets", offsets), DATA, *more),
        shared_bytes=SHARED_BYTES,
    )


def extra_latency(table: Table) -> float:
    """Return how much later than a load's data a copy's data can be used; of whole lines, as matmuls copy them."""
    copied = table.value("copy_wait", lines=4, sectors=16) - _around("copy_wait", Unit.ASYNC_COPY) / WAITS
    loaded = table.value("load_wait", lines=4, sectors=16) - _around("load_wait", Unit.GLOBAL_LOAD) / WAITS
    return max(0.0, copied - loaded)


def copy_release_cycles(table: Table) -> float:
    """Return the cycles from a copy's turn in its sub-core until its sources are read: its wait hides the back edge."""
    return (
        table.value("copy_release", lines=4, warps=1) - _around("copy_release", Unit.ASYNC_COPY) - TURN_CYCLES
    )


def store_release_cycles(table: Table) -> float:
    """Return the same from the issue of an access that sends one register: a store sends two, two cycles apart.

    Here the back edge lies behind the wait, and takes more than its stall count.
    """
    program = load_program("copies", "store_release", TARGET)
    back_edge = BACK_EDGE_CYCLES - int(program.stall[loop_of(program)[-1]])
    return table.value("store_release", warps=1) - _around("store_release", Unit.SHARED_STORE) - back_edge - 2


def _around(kernel: str, unit: Unit) -> int:
    """Return the stall counts of a trip outside of the waits for ``unit``: from each wait's end to the next start."""
    program = load_program("copies", kernel, TARGET)
    loop = list(loop_of(program))
    first = next(i for i, pc in enumerate(loop) if program.unit[pc] == unit)
    total, started = 0, -1
    for pc in loop[first:] + loop[:first]:
        if started >= 0 and _waits(program, pc, started):
            started = -1
        if program.unit[pc] == unit:
            started = pc
        elif started < 0:
            total += int(program.stall[pc])
    return total


def _waits(program: Program, pc: int, start: int) -> bool:
    """Whether an instruction waits for another: for its copies where they are awaited, else for its counter."""
    if Unit.COPY_WAIT in program.unit[list(loop_of(program))]:
        return bool(program.unit[pc] == Unit.COPY_WAIT)
    counters = {int(program.write_counter[start]), int(program.read_counter[start])} - {NO_COUNTER}
    return any(program.wait_mask[pc] >> counter & 1 for counter in counters)


BENCHMARK = Benchmark(
    name="copies",
    about="cp.async 16 B from L2: SM cycles per instruction by lines, with LDSM.x4; source release; latency",
    source=SOURCE,
    points=tuple(_points()),
    feeds=(
        Feed("sm.load_store.copy_extra_latency_cycles", extra_latency),
        Feed("sm.load_store.copy_release_cycles", copy_release_cycles, whole=True),
        Feed("sm.load_store.source_release_cycles", store_release_cycles, whole=True),
    ),
)
