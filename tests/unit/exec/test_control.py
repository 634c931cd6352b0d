"""Divergence, calls, barriers, and what happens when a kernel goes wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from sim.errors import DeadlockError, TcsimError
from sim.exec import execute as executor
from sim.exec.execute import Execution, execute
from sim.exec.reference import execute_reference
from sim.isa.launch import Buffer, BufferRef, CtaClass, KernelLaunch
from sim.isa.synthetic import assemble

pytestmark = pytest.mark.jit
STORE = [
    "LDC.64 R4, c[0x0][0x210]",
    "S2R R7, SR_TID.X",
    "IMAD.WIDE.U32 R4, R7, 0x4, R4",
    "STG.E desc[UR4][R4.64], R0",
]
TID = ["S2R R2, SR_TID.X"]


def launch_of(lines: Sequence[str], threads: int = 32, shared: int = 256, nbytes: int = 4096) -> KernelLaunch:
    program = assemble([*lines, "EXIT"], params=(8,), static_shared_bytes=shared)
    buffer = Buffer("out", nbytes, "output", np.zeros(nbytes // 4, np.uint32))
    return KernelLaunch(
        program, (1, 1, 1), (threads, 1, 1), 0, (BufferRef("out"),), (buffer,), (CtaClass((0, 0, 0), 1),)
    )


def run(lines: Sequence[str], threads: int = 32) -> tuple[np.ndarray, Execution]:
    """Run to the end in both executors; return what each thread stored from R0."""
    launch = launch_of([*lines, *STORE], threads)
    ours, twin = execute(launch, launch.classes[0], fold=False), execute_reference(launch, launch.classes[0])
    np.testing.assert_array_equal(ours.memory.flat, twin.memory.flat)
    for column in ("pc", "lanes", "taken"):
        np.testing.assert_array_equal(getattr(ours.trace, column), getattr(twin.trace, column))
    return ours.buffer("out").view(np.uint32)[:threads], ours


def test_both_sides_of_a_branch_run_and_converge() -> None:
    lines = [
        *TID, "MOV R0, RZ", "ISETP.LT.AND P0, PT, R2, 0xa, PT", "BSSY B0, .join", "@P0 BRA .small",
        "IADD3 R0, R2, 0x64, RZ", "BRA .join", ".small:", "IADD3 R0, R2, R2, RZ", ".join:", "BSYNC B0",
    ]  # fmt: skip
    values, done = run(lines)
    np.testing.assert_array_equal(values, [2 * t if t < 10 else t + 100 for t in range(32)])
    assert done.trace.lanes[-1] == 32


def test_loops_that_lanes_leave_one_by_one() -> None:
    lines = [
        *TID, "MOV R0, RZ", "BSSY B0, .out", ".loop:", "IADD3 R0, R0, 0x3, RZ", "IADD3 R2, R2, -0x1, RZ",
        "ISETP.GE.AND P0, PT, R2, RZ, PT", "@P0 BRA .loop", ".out:", "BSYNC B0",
    ]  # fmt: skip
    values, done = run(lines)
    np.testing.assert_array_equal(values, 3 * (np.arange(32) + 1))
    assert done.trace.lanes[-1] == 32


def test_lanes_that_exit_early_are_not_waited_for() -> None:
    lines = [
        *TID,
        "MOV R0, 0x1",
        "BSSY B0, .join",
        "ISETP.GT.AND P0, PT, R2, 0x13, PT",
        "@P0 EXIT",
        ".join:",
        "BSYNC B0",
    ]
    values, done = run(lines)
    np.testing.assert_array_equal(values, np.arange(32) < 20)
    assert done.trace.lanes[-1] == 20


def test_break_releases_those_who_wait() -> None:
    lines = [
        *TID, "MOV R0, RZ", "BSSY B1, .after", "ISETP.EQ.AND P0, PT, R2, 0x5, PT", "@!P0 BRA .wait", "BREAK B1",
        "MOV R0, 0x7", "BRA .end", ".wait:", ".after:", "BSYNC B1", "IADD3 R0, R0, 0x1, RZ", ".end:",
    ]  # fmt: skip
    values, _ = run(lines)
    np.testing.assert_array_equal(values, [7 if t == 5 else 1 for t in range(32)])


def test_recursion_keeps_waiting_lanes_of_each_frame_apart() -> None:
    # f(n) = n < 2 ? 1 : f(n - 1) + 1, n = lane % 4; the convergence register is saved over the call
    lines = [
        *TID, "LDC R1, c[0x0][0x28]", "LOP3.LUT R4, R2, 0x3, RZ, 0xc0, !PT", "MOV R20, .first", "MOV R21, RZ",
        "CALL.REL.NOINC .f", ".first:", "BRA .done",
        ".f:", "IADD3 R1, R1, -0x10, RZ", "STL [R1], R20", "STL [R1+0x4], R16", "BMOV.32.CLEAR R16, B6",
        "ISETP.GE.AND P0, PT, R4, 0x2, PT", "BSSY B6, .join", "@!P0 BRA .leaf", "IADD3 R4, R4, -0x1, RZ",
        "MOV R20, .again", "CALL.REL.NOINC .f", ".again:", "IADD3 R0, R0, 0x1, RZ", "BRA .join",
        ".leaf:", "MOV R0, 0x1",
        ".join:", "BSYNC B6", "BMOV.32 B6, R16", "LDL R20, [R1]", "LDL R16, [R1+0x4]", "IADD3 R1, R1, 0x10, RZ",
        "RET.REL.NODEC R20, synthetic", ".done:",
    ]  # fmt: skip
    values, _ = run(lines)
    np.testing.assert_array_equal(values, [max(1, t % 4) for t in range(32)])


def test_warps_exchange_data_across_a_barrier() -> None:
    lines = [
        *TID, "LEA R3, R2, 0x400, 0x2", "STS [R3], R2", "BAR.SYNC.DEFER_BLOCKING 0x0",
        "LOP3.LUT R4, R2, 0x3f, RZ, 0x3c, !PT", "LEA R4, R4, 0x400, 0x2", "LDS R0, [R4]",
    ]  # fmt: skip
    launch = launch_of([*lines, *STORE], 64)
    done = execute(launch, launch.classes[0])
    np.testing.assert_array_equal(done.buffer("out").view(np.uint32)[:64], 63 - np.arange(64))


# ------------------------------------------------------------------------------------------------------------ mistakes


def fails(lines: Sequence[str], *words: str, threads: int = 32) -> None:
    """Assert that the kernel ends with one line that says all these words."""
    launch = launch_of(lines, threads)
    with pytest.raises(TcsimError) as caught:
        execute(launch, launch.classes[0])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_global_address_beyond_its_buffer_names_instruction_line_and_buffer() -> None:
    lines = ["LDC.64 R4, c[0x0][0x210]", "LDG.E R0, desc[UR4][R4.64+0x1000]"]
    fails(
        lines,
        "synthetic+0x0010",
        "LDG.E R0",
        "synthetic.sass:2",
        "lane 0",
        "offset 4096 of 'out'",
        "4096 bytes",
    )


def test_an_address_in_no_buffer_is_named() -> None:
    fails(
        ["MOV R4, 0x10", "MOV R5, RZ", "LDG.E R0, desc[UR4][R4.64]"], "global address 0x10 lies in no buffer"
    )


def test_a_misaligned_address_is_named() -> None:
    lines = ["LDC.64 R4, c[0x0][0x210]", "LDG.E.128 R8, desc[UR4][R4.64+0x8]"]
    fails(lines, "LDG.E.128", "not aligned", "0x700000000008")
    fails(["MOV R4, 0x402", "LDS R0, [R4]"], "LDS R0", "0x402", "not aligned")


def test_shared_and_local_addresses_out_of_range_are_named() -> None:
    fails(["MOV R4, 0x500", "STS [R4], R0"], "STS [R4]", "shared address 0x500")
    fails(["LDL R0, [R1+0x10]"], "LDL R0", "local address 0x10", "stack")


def test_a_barrier_that_one_warp_never_reaches_is_a_deadlock() -> None:
    lines = [
        *TID,
        "ISETP.GE.AND P0, PT, R2, 0x20, PT",
        "@P0 BAR.SYNC.DEFER_BLOCKING 0x1",
        "@!P0 BAR.SYNC.DEFER_BLOCKING 0x2",
    ]
    launch = launch_of(lines, 64)
    with pytest.raises(
        DeadlockError, match=r"synthetic: deadlock: warp 0 at barrier 2 .*; warp 1 at barrier 1 .*no warp can"
    ):
        execute(launch, launch.classes[0])


def test_a_barrier_in_divergent_code_is_refused() -> None:
    lines = [
        *TID,
        "ISETP.GE.AND P0, PT, R2, 0x5, PT",
        "@P0 BRA .there",
        ".there:",
        "BAR.SYNC.DEFER_BLOCKING 0x0",
    ]
    fails([*lines[:3], "NOP", *lines[3:]], "BAR.SYNC", "diverged")


def test_control_may_not_leave_the_code() -> None:
    fails(
        ["@!PT NOP", "MOV R20, 0x7000", "RET.REL.NODEC R20, synthetic"],
        "RET.REL.NODEC",
        "control left the kernel's code",
    )


def test_an_endless_loop_ends_with_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "MAX_ROWS", 1 << 14)
    fails(
        [".loop:", "IADD3 R0, R0, 0x1, RZ", "BRA .loop"],
        "synthetic: warp 0 executed more than",
        "does its loop end?",
    )
