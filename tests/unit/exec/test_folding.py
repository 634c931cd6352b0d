"""A folded execution stands for exactly what an unfolded one does, for loops of every kind and length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.exec.execute import execute
from sim.isa.launch import Buffer, BufferRef, CtaClass, KernelLaunch
from sim.isa.synthetic import assemble
from sim.isa.trace import WarpTrace

pytestmark = pytest.mark.jit

# R0 counts, R1 is the number of iterations; R4:R5 points into the buffer, R8 is the lane's shared address
PROLOGUE = [
    "S2R R7, SR_TID.X",
    "LDC R1, c[0x0][0x210]",
    "LDC R2, c[0x0][0x214]",
    "LDC.64 R4, c[0x0][0x218]",
    "IMAD.WIDE.U32 R4, R7, 0x4, R4",
    "LEA R8, R7, 0x400, 0x2",
    "MOV R0, RZ",
    "MOV R10, RZ",
]
NEXT = ["IADD3 R0, R0, 0x1, RZ", "ISETP.LT.AND P0, PT, R0, R1, PT", "@P0 BRA .loop"]

PLAIN = [".loop:", "FFMA R20, R20, R21, R20", *NEXT]
STREAM = [  # a pointer that advances
    ".loop:",
    "LDG.E R20, desc[UR4][R4.64]",
    "IADD3 R4, P1, R4, 0x80, RZ",
    "IADD3.X R5, R5, RZ, RZ, P1, !PT",
    *NEXT,
]
GROUPS = [  # every fourth iteration another scale: address (i >> 2) * 128
    ".loop:",
    "SHF.R.U32.HI R12, RZ, 0x2, R0",
    "IMAD.WIDE.U32 R12, R12, 0x80, R4",
    "LDG.E R20, desc[UR4][R12.64]",
    *NEXT,
]
RARE_GROUPS = [line.replace("0x2, R0", "0x4, R0") for line in GROUPS]
PREFETCH = [  # a copy that stops two iterations before the end
    ".loop:",
    "IADD3 R12, R0, 0x2, RZ",
    "ISETP.GE.AND P2, PT, R12, R1, PT",
    "@!P2 LDG.E R20, desc[UR4][R4.64+0x100]",
    "IADD3 R4, P1, R4, 0x80, RZ",
    "IADD3.X R5, R5, RZ, RZ, P1, !PT",
    *NEXT,
]
LATE = [  # something new happens in iteration 40, far from both ends
    ".loop:",
    "ISETP.EQ.AND P2, PT, R0, 0x28, PT",
    "@P2 STS [R8], R0",
    *NEXT,
]
MASKED = [  # every second iteration by a mask, joined with a bound
    ".loop:",
    "LOP3.LUT P2, RZ, R0, 0x1, RZ, 0xc0, !PT",
    "@P2 LDS R20, [R8]",
    "@!P2 LDS.U8 R20, [R8+0x100]",
    *NEXT,
]
CLAMPED = [  # an address that stops advancing: min(i, 50)
    ".loop:",
    "VIMNMX R12, R0, 0x32, PT",
    "IMAD.WIDE.U32 R12, R12, 0x80, R4",
    "LDG.E R20, desc[UR4][R12.64]",
    *NEXT,
]
SHRINKING = [  # the number of active lanes depends on the iteration
    ".loop:",
    "ISETP.GT.AND P2, PT, R7, R0, PT",
    "@P2 LDG.E R20, desc[UR4][R4.64]",
    *NEXT,
]
WARPS_APART = [  # the second warp starts later in memory and does more per iteration
    "ISETP.GE.AND P3, PT, R7, 0x20, PT",
    ".loop:",
    "@P3 LDS R20, [R8]",
    "BAR.SYNC.DEFER_BLOCKING 0x0",
    *NEXT,
]


def staged(stages: int) -> list[str]:
    """A ring of shared-memory stages: the stage number wraps by a comparison and a selection."""
    return [
        ".loop:",
        "IMAD R12, R10, 0x200, R8",
        "STS [R12], R0",
        "BAR.SYNC.DEFER_BLOCKING 0x0",
        "LDS R20, [R12+0x4]",
        "IADD3 R10, R10, 0x1, RZ",
        f"ISETP.NE.AND P2, PT, R10, {stages:#x}, PT",
        "SEL R10, R10, RZ, P2",
        *NEXT,
    ]


NESTED = [
    ".outer:",
    "MOV R0, RZ",
    ".loop:",
    "LDS R20, [R8]",
    *NEXT,
    "LDG.E R21, desc[UR4][R4.64]",
    "IADD3 R10, R10, 0x1, RZ",
    "ISETP.LT.AND P2, PT, R10, R2, PT",
    "@P2 BRA .outer",
]

LOOPS = {
    "plain": PLAIN,
    "stream": STREAM, "groups": GROUPS, "rare groups": RARE_GROUPS,
    "prefetch": PREFETCH, "late": LATE, "masked": MASKED,
    "clamped": CLAMPED, "shrinking": SHRINKING, "warps": WARPS_APART,
    "two stages": staged(2), "three stages": staged(3),
    "four stages": staged(4), "five stages": staged(5), "seven stages": staged(7),
}  # fmt: skip


def launch_of(
    body: Sequence[str], trips: int, outer: int = 1, data: np.ndarray | None = None
) -> KernelLaunch:
    program = assemble([*PROLOGUE, *body, "EXIT"], params=(4, 4, 8), static_shared_bytes=8192)
    arguments = (np.int32(trips), np.int32(outer), BufferRef("x"))
    buffer = Buffer("x", 1 << 22 if data is None else data.nbytes, "weights", data)
    return KernelLaunch(program, (1, 1, 1), (64, 1, 1), 0, arguments, (buffer,), (CtaClass((0, 0, 0), 1),))


def totals(trace: WarpTrace) -> dict[str, object]:
    """Add up all that was executed, per warp and static instruction."""
    times = trace.repeats()
    warp = np.repeat(np.arange(trace.warps), np.diff(trace.offset))
    counted: Counter[tuple[object, ...]] = Counter()
    for row, count in enumerate(times):
        pattern = tuple(trace.patterns[trace.pattern[row]]) if trace.pattern[row] >= 0 else ()
        key = (
            int(warp[row]),
            int(trace.pc[row]),
            int(trace.lanes[row]),
            int(trace.taken[row]),
            int(trace.buffer[row]),
        )
        counted[(*key, pattern, int(trace.lines[row]), int(trace.sectors[row]))] += int(count)
    return {"rows": counted, "instructions": int(times.sum())}


def assert_equal(launch: KernelLaunch) -> WarpTrace:
    """Compare the totals of both executions; return the folded trace."""
    folded = execute(launch, launch.classes[0], fold=True).trace
    full = execute(launch, launch.classes[0], fold=False).trace
    assert len(full.loops) == 0
    assert totals(folded) == totals(full)
    return folded


@pytest.mark.parametrize("name", sorted(LOOPS))
@pytest.mark.parametrize("trips", [1, 2, 3, 5, 9, 17, 31, 32, 33, 41, 64, 100, 255, 1000])
def test_totals_are_those_of_the_full_execution(name: str, trips: int) -> None:
    assert_equal(launch_of(LOOPS[name], trips))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(LOOPS)), st.integers(1, 400))
def test_totals_for_any_number_of_iterations(name: str, trips: int) -> None:
    assert_equal(launch_of(LOOPS[name], trips))


@pytest.mark.parametrize("trips", [1, 7, 40, 300])
@pytest.mark.parametrize("outer", [1, 2, 5, 40])
def test_nested_loops(trips: int, outer: int) -> None:
    assert_equal(launch_of(NESTED, trips, outer))


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_the_cost_does_not_grow_with_the_number_of_iterations(name: str) -> None:
    rows = [
        len(execute(launch_of(LOOPS[name], trips), CtaClass((0, 0, 0), 1)).trace.pc)
        for trips in (1680, 16800)
    ]
    assert rows[0] == rows[1]


def test_order_is_kept_around_a_folded_loop() -> None:
    trace = assert_equal(launch_of(PREFETCH, 200))
    assert len(trace.loops) == 2  # one per warp
    for begin, end, extra in trace.loops:
        assert extra > 100 and 0 < begin < end
        body = trace.pc[begin:end]
        np.testing.assert_array_equal(trace.pc[end : end + len(body)], body)


# ------------------------------------------------------------------------------------------- loops that depend on data

UNTIL_ZERO = [  # leaves at the first zero word, although the bound is far away
    ".loop:",
    "LDG.E R20, desc[UR4][R4.64]",
    "ISETP.EQ.AND P2, PT, R20, RZ, PT",
    "@P2 BRA .out",
    "IADD3 R4, P1, R4, 0x100, RZ",
    "IADD3.X R5, R5, RZ, RZ, P1, !PT",
    *NEXT,
    ".out:",
]
LOOK_UP = [  # shared address = loaded word
    ".loop:",
    "LDG.E R20, desc[UR4][R4.64]",
    "IADD3 R21, R8, R20, RZ",
    "LDS R22, [R21]",
    "IADD3 R4, P1, R4, 0x100, RZ",
    "IADD3.X R5, R5, RZ, RZ, P1, !PT",
    *NEXT,
]
COUNTER_IN_MEMORY = [  # the number of iterations is kept in shared memory
    "STS [R8], RZ",
    ".loop:",
    "LDS R0, [R8]",
    "IADD3 R0, R0, 0x1, RZ",
    "STS [R8], R0",
    "ISETP.LT.AND P0, PT, R0, R1, PT",
    "@P0 BRA .loop",
]
TICKETS = [  # a persistent kernel: warps draw tickets from a global counter
    ".loop:",
    "ATOMG.E.ADD.STRONG.GPU PT, R20, desc[UR4][R4.64], R1",
    "SHFL.IDX PT, R20, R20, RZ, 0x1f",
    "ISETP.LT.AND P0, PT, R20, R2, PT",
    "@P0 BRA .loop",
]


def test_a_loop_that_ends_by_its_data_is_not_folded() -> None:
    data = np.full((500, 64), 5, np.int32)
    data[237] = 0
    trace = assert_equal(launch_of(UNTIL_ZERO, 400, data=data))
    assert len(trace.loops) == 0


def test_look_ups_that_repeat_for_a_long_time_are_not_folded() -> None:
    data = np.zeros((500, 64), np.int32)
    data[300:] = 64 * np.arange(200)[:, None] % 2048
    trace = assert_equal(launch_of(LOOK_UP, 450, data=data))
    assert len(trace.loops) == 0


def test_look_ups_without_data_are_folded() -> None:
    assert len(assert_equal(launch_of(LOOK_UP, 450)).loops) == 2


def test_counters_in_memory_are_not_folded() -> None:
    assert len(assert_equal(launch_of(COUNTER_IN_MEMORY, 300)).loops) == 0
    assert len(assert_equal(launch_of(TICKETS, 1, outer=300)).loops) == 0


WRAPPING = [  # an offset that is advanced and masked: linear until it wraps, beyond the buffer if it did not
    ".loop:",
    "IADD3 R12, P1, R4, R10, RZ",
    "IADD3.X R13, R5, RZ, RZ, P1, !PT",
    "LDG.E R20, desc[UR4][R12.64]",
    "IADD3 R10, R10, 0x100, RZ",
    "LOP3.LUT R10, R10, 0x1fff, RZ, 0xc0, !PT",
    *NEXT,
]


def test_a_fold_that_leads_out_of_a_buffer_is_not_the_programs_fault() -> None:
    launch = launch_of(WRAPPING, 300, data=np.zeros(0x2000 + 256, np.uint8))
    folded, whole = (execute(launch, launch.classes[0], fold).trace for fold in (True, False))
    assert totals(folded) == totals(whole)
