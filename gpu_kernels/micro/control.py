"""Barriers, branches, fences, special registers, constant loads and atomics of one SM."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gpu_kernels.micro.benchmark import (
    TARGET,
    Benchmark,
    Feed,
    Point,
    Table,
    loop_of,
    scheduled_cycles,
)
from gpu_kernels.micro.programs.store import load_program
from sim.isa.launch import Buffer
from sim.isa.units import Unit

BARRIER_WARPS = (1, 2, 4, 8, 16)
TINY_BODIES = (1, 2, 4, 8)
RING_WORDS = 64
FENCES, ATOMICS = 4, 4  # of a trip
UNROLL = 16  # barriers of a trip
MULTIPLY_CYCLES = 4  # IMAD to a dependent instruction, as the compiler schedules it
SOURCE = r"""
__constant__ u32 ring[64] = {RING};

MICRO(barrier) {
  BEGIN
  LOOP REPEAT(j, 16) asm volatile("bar.sync 0;" ::: "memory");
  END(0)
}

// A chain of four multiplications between two barriers: what a barrier adds when warps arrive together.
MICRO(work_barrier, u32 seed) {
  u32 x = seed + threadIdx.x;
  BEGIN
  LOOP REPEAT(j, 16) {
    REPEAT(i, 8) asm volatile("mad.lo.u32 %0, %0, %1, %1;" : "+r"(x) : "r"(seed));
    asm volatile("bar.sync 0;" ::: "memory");
  }
  END(x)
}

MICRO(work_alone, u32 seed) {
  u32 x = seed + threadIdx.x;
  BEGIN
  LOOP REPEAT(j, 16) {
    REPEAT(i, 8) asm volatile("mad.lo.u32 %0, %0, %1, %1;" : "+r"(x) : "r"(seed));
  }
  END(x)
}

#define TINY(n)                                                                            \
  MICRO(tiny_##n, u32 seed) {                                                              \
    u32 x = seed + threadIdx.x;                                                            \
    BEGIN                                                                                  \
    LOOP REPEAT(j, n) asm volatile("mad.lo.u32 %0, %0, %1, %1;" : "+r"(x) : "r"(seed));    \
    END(x)                                                                                 \
  }
TINY(1)
TINY(2)
TINY(4)
TINY(8)

MICRO(fence, u32* to) {
  BEGIN
  LOOP REPEAT(j, 4) asm volatile("fence.acq_rel.gpu;" ::: "memory");
  END(0)
}

MICRO(store_fence, u32* to) {
  BEGIN
  LOOP REPEAT(j, 4) {
    asm volatile("st.global.u32 [%0], %1;" ::"l"(to + 64 * j + threadIdx.x), "r"(trip) : "memory");
    asm volatile("fence.acq_rel.gpu;" ::: "memory");
  }
  END(0)
}

// A chain through constant memory: each word is the byte offset of the next.
MICRO(constant_chain, u32 seed) {
  u32 at = seed;
  BEGIN
  LOOP REPEAT(j, 16) {
    at = *reinterpret_cast<const u32*>(reinterpret_cast<const char*>(ring) + at);
    asm volatile("" : "+r"(at));
  }
  END(at)
}

// S2R under a predicate that depends on what it gave before; the same chain with a multiplication in its place.
MICRO(special_chain, u32 seed) {
  u32 x = seed;
  BEGIN
  LOOP REPEAT(j, 16) {
    asm volatile("{ .reg .pred p; setp.ne.u32 p, %0, %1; @p mov.u32 %0, %%smid; }" : "+r"(x) : "r"(seed + 5000));
  }
  END(x)
}

MICRO(predicate_chain, u32 seed) {
  u32 x = seed;
  BEGIN
  LOOP REPEAT(j, 16) {
    asm volatile("{ .reg .pred p; setp.ne.u32 p, %0, %1; @p mad.lo.u32 %0, %0, %2, %2; }"
                 : "+r"(x) : "r"(seed + 5000), "r"(seed));
  }
  END(x)
}

MICRO(atomic_chain, u32* to) {
  u32 x = 0;
  BEGIN
  LOOP REPEAT(j, 4) {
    asm volatile("atom.global.gpu.add.u32 %0, [%1], %2;"
                 : "=r"(x) : "l"(to + (x & 0x80000000u ? 1 : 0)), "r"(1) : "memory");
  }
  END(x)
}

MICRO(red_same, u32* to) {
  BEGIN
  LOOP REPEAT(j, 4) asm volatile("red.global.gpu.add.u32 [%0], %1;" ::"l"(to), "r"(1) : "memory");
  END(0)
}

MICRO(red_line, u32* to) {
  BEGIN
  LOOP REPEAT(j, 4) {
    asm volatile("red.global.gpu.add.u32 [%0], %1;" ::"l"(to + threadIdx.x % 32), "r"(1) : "memory");
  }
  END(0)
}
"""


def _source() -> str:
    ring = ", ".join(str(4 * ((7 * i + 11) % RING_WORDS)) for i in range(RING_WORDS))
    return SOURCE.replace("{RING}", "{" + ring + "}")


def _to() -> Buffer:
    return Buffer("to", 4096, "workspace", zeroed=True)


def _points() -> Iterator[Point]:
    seed, address = (np.uint32(0),), (_to(),)
    for warps in BARRIER_WARPS:
        params = {"warps": warps}
        yield Point("barrier", 16, warps, params=params)
        yield Point("work_barrier", 16, warps, params=params, arguments=seed)
        yield Point("work_alone", 16, warps, params=params, arguments=seed)
    for body in TINY_BODIES:
        yield Point(f"tiny_{body}", arguments=seed, trips=(256, 512))
    yield Point("fence", 4, arguments=address)
    yield Point("store_fence", 4, arguments=address)
    yield Point("constant_chain", 16, arguments=seed)
    yield Point("special_chain", 16, arguments=seed, simulated=False)
    yield Point("predicate_chain", 16, arguments=seed)
    yield Point("atomic_chain", 4, arguments=address)
    for ctas, warps in ((1, 1), (1, 4), (132, 4)):
        for kernel in ("red_same", "red_line"):
            params = {"ctas": ctas, "warps": warps}
            alone = ctas == 1
            yield Point(kernel, 4, warps, params=params, ctas=ctas, arguments=address, simulated=alone)


def special_cycles(table: Table) -> float:
    """Return S2R's latency: it stands where the other chain has a multiplication of known latency."""
    return table.value("special_chain") - table.value("predicate_chain") + MULTIPLY_CYCLES


def taken_branch_cycles(table: Table) -> float:
    """Return the least cycles from a taken branch to its target: all else in the chain's loop is what ptxas timed."""
    program = load_program("control", "predicate_chain", TARGET)
    branch = int(program.stall[loop_of(program)[-1]])
    return UNROLL * table.value("predicate_chain") - scheduled_cycles("control", "predicate_chain") + branch


def next_line_cycles(table: Table) -> float:
    """Return the least cycles from a taken branch to the next 128 bytes of code: a tiny loop begins right before it."""
    program = load_program("control", "tiny_1", TARGET)
    loop = loop_of(program)
    edge = int(program.stall[loop[-1]]) + int(program.stall[loop[0]])
    return table.value("tiny_1") - scheduled_cycles("control", "tiny_1") + edge


def atomic_extra(table: Table) -> float:
    """Return what an atomic's answer takes beyond L2's latency and the chain's own instructions."""
    near, far, share = (table.of("latency").value(name) for name in ("l2_near", "l2_far", "l2_far_fraction"))
    own = scheduled_cycles("control", "atomic_chain") / ATOMICS
    return table.value("atomic_chain") - near * (1 - share) - far * share - own


def _own(kernel: str, unit: Unit, count: int, **params: int) -> Callable[[Table], float]:
    """Return an instruction's own time: without what the compiler scheduled around the ``count`` of a trip."""

    def compute(table: Table) -> float:
        program = load_program("control", kernel, TARGET)
        others = [pc for pc in loop_of(program) if program.unit[pc] != unit]
        return table.value(kernel, **params) - float(program.stall[others].sum()) / count

    return compute


def _barrier_fit(table: Table) -> tuple[float, float]:
    """Return what each warp adds to a barrier's time, and what is left without any: a line over 1 to 16 warps."""
    times = [table.value("barrier", warps=warps) for warps in BARRIER_WARPS]
    slope, rest = np.polyfit(BARRIER_WARPS, times, 1)
    program = load_program("control", "barrier", TARGET)
    others = [pc for pc in loop_of(program) if program.unit[pc] != Unit.BARRIER]
    return float(slope), float(rest) - float(program.stall[others].sum()) / UNROLL


def _at(kernel: str, **params: int) -> Callable[[Table], float]:
    return lambda table: table.value(kernel, **params)


BENCHMARK = Benchmark(
    name="control",
    about="bar.sync, back edges, fences, S2R, LDC, atomics: cycles per operation of one warp",
    source=_source(),
    points=tuple(_points()),
    feeds=(
        Feed("sm.control.barrier_arrival_cycles", lambda table: _barrier_fit(table)[0], whole=True),
        Feed("sm.control.barrier_release_cycles", lambda table: _barrier_fit(table)[1], whole=True),
        Feed("sm.load_store.constant_load_latency_cycles", _at("constant_chain"), whole=True),
        Feed("sm.control.membar_latency_cycles", _own("fence", Unit.MEMBAR, FENCES), whole=True),
        Feed("sm.control.taken_branch_cycles", taken_branch_cycles, whole=True),
        Feed("sm.load_store.atomic_extra_latency_cycles", atomic_extra, needs=("latency",)),
        Feed("sm.control.next_line_cycles", next_line_cycles, whole=True),
        Feed("sm.pipes.special.latency_cycles", special_cycles, whole=True),
    ),
)
