"""wgmma, mbarriers and the copy engine: values, the twin, and what the trace says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sim.errors import DeadlockError, TcsimError
from sim.exec.execute import execute
from sim.isa import opcodes as o
from sim.isa.launch import Buffer, BufferRef, CtaClass, KernelLaunch, TensorMap
from sim.isa.opcodes import Op
from sim.isa.synthetic import assemble
from tests.unit.exec.twins import (
    COLUMNS,
    SHARED_BYTES,
    Start,
    assert_same,
    launch_of,
    program_of,
    run_both,
    run_executor,
    run_twin,
)

pytestmark = pytest.mark.jit
BASE = 0x400  # a CTA's first shared byte


# ----------------------------------------------------------------------------------------------------------- wgmma


def descriptor(start: int, swizzle: int, stride: int, leading: int = 16) -> tuple[int, int]:
    """Return the two words of a matrix descriptor."""
    return start >> 4 | leading >> 4 << 16, stride >> 4 | {0: 0, 128: 1, 64: 2, 32: 3}[swizzle] << 30


def wgmma_start(seed: int, swizzle: int, integers: bool) -> Start:
    """Return a random state whose UR8-UR11 describe 16 rows of A and 24 of B, with small numbers in shared memory."""
    rng = np.random.default_rng(seed)
    start = Start.random(rng)
    span = swizzle or 32
    stride = 8 * span
    start.uniform[8:12] = [
        *descriptor(BASE, swizzle, stride, 128),
        *descriptor(BASE + 16 * span, swizzle, stride, 128),
    ]
    if not integers:
        halves = rng.standard_normal(SHARED_BYTES // 2).astype(np.float16)
        words = (
            (halves.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
            if seed % 2
            else halves.view(np.uint16)
        )
        start.shared[:] = words.view(np.uint8)
        start.general[:40] = rng.standard_normal((40, 32)).astype(np.float32).view(np.uint32)
    return start


@pytest.mark.parametrize("swizzle", [0, 32, 64])
@pytest.mark.parametrize(
    "line",
    [
        "HGMMA.64x24x16.F32 R0, gdesc[UR8], R0, gsb0",
        "HGMMA.64x24x16.F32.BF16 R0, gdesc[UR8], R16, UP0",
        "HGMMA.64x16x16.F16 R0, R24, gdesc[UR8], R4",
        "HGMMA.64x8x16.F32 R0, gdesc[UR8], RZ",
        "IGMMA.64x24x32.S8.S8 R0, gdesc[UR8], R0, !UPT, gsb0",
        "IGMMA.64x8x32.S8.S8 R0, R24, gdesc[UR8], R4",
    ],
)
def test_wgmma_equals_the_twin(line: str, swizzle: int) -> None:
    """Every type, A from either place, with and without accumulation, in every layout that fits the test's memory."""
    seed = swizzle + ("BF16" in line)
    launch = launch_of(program_of([line]), np.random.default_rng(seed))
    start = wgmma_start(seed, swizzle, "IGMMA" in line)
    assert_same(run_executor(launch, start), run_twin(launch, start), line, nans=True)


@pytest.mark.parametrize(
    "line", ["IGMMA.64x24x32.S8.S8 R0, gdesc[UR8], R0", "IGMMA.64x8x32.S8.S8 R0, R24, gdesc[UR8], R4"]
)
def test_shifted_accumulators_equal_the_twin_and_a_shift_before(line: str) -> None:
    """D = A B + (C << 3), as an extension has it: every accumulator, and nothing else, is shifted as it is read."""
    launch = launch_of(program_of([line]), np.random.default_rng(7))
    modifiers = launch.program.modifiers.copy()
    modifiers[0] |= 3 << o.ACCUMULATOR_SHIFT
    marked = replace(launch, program=replace(launch.program, modifiers=modifiers))
    start = wgmma_start(7, 32, integers=True)
    fast = run_executor(marked, start)
    assert_same(fast, run_twin(marked, start), line)
    first, count = (0, 12) if "x24x" in line else (4, 4)
    shifted = replace(start, general=start.general.copy())
    shifted.general[first : first + count] <<= np.uint32(3)
    before = run_executor(launch, shifted)
    assert np.array_equal(fast.general[:count], before.general[:count])


def matmul_launch(
    lines: Sequence[str], a: npt.NDArray[Any], b: npt.NDArray[Any], threads: int = 128
) -> KernelLaunch:
    """Return a CTA with a and b as tensors in boxes of 64 x 128 bytes, and an output of FP32."""
    program = assemble([*lines, "EXIT"], params=(128, 128, 8), static_shared_bytes=32768)
    out = np.zeros(len(a) * len(b), np.float32)
    maps = tuple(
        TensorMap(name, 2, (data.shape[1], len(data)), (2 * data.shape[1],), (64, 64), 128)
        for name, data in (("a", a), ("b", b))
    )
    buffers = (
        Buffer("a", a.nbytes, "activations", a), Buffer("b", b.nbytes, "weights", b),
        Buffer("c", out.nbytes, "output", out),
    )  # fmt: skip
    arguments = (*maps, BufferRef("c"))
    return KernelLaunch(program, (1, 1, 1), (threads, 1, 1), 0, arguments, buffers, (CtaClass((0, 0, 0), 1),))


STAGE = 0x2000  # bytes of a box
TILES = BASE + 0x400  # of A; those of B one stage further
SETUP = [  # one mbarrier at 0x400 that expects one arrival; thread 0 loads both boxes
    "ULDC.64 UR20, c[0x0][0x198]",
    "UIADD3 UR22, UR20, 0x80, URZ",
    "UMOV UR23, UR21",
    "S2R R0, SR_TID.X",
    "ISETP.NE.AND P0, PT, R0, RZ, PT",
    "MOV R1, 0x4000",
    "UMOV UR4, 0x1ffffe",
    "UMOV UR5, 0x0",
    "UMOV UR6, 0x400",
    "@!P0 SYNCS.EXCH.64 URZ, [UR6], UR4",
    "BAR.SYNC.DEFER_BLOCKING 0x0",
    "@!P0 SYNCS.ARRIVE.TRANS64 RZ, [UR6], R1",
    f"UMOV UR8, {TILES:#x}",
    "UMOV UR9, UR6",
    "UMOV UR10, 0x0",
    "UMOV UR11, 0x0",
    "@!P0 UTMALDG.2D [UR8], [UR20]",
    f"UMOV UR8, {TILES + STAGE:#x}",
    "@!P0 UTMALDG.2D [UR8], [UR22]",
    "SYNCS.PHASECHK.TRANS64.TRYWAIT P1, [UR6], RZ",
]


def test_one_product_of_two_boxes() -> None:
    """TMA's swizzle and wgmma's descriptors agree: C = A B^T of 64 x 64 x 64 from four steps along k."""
    rng = np.random.default_rng(5)
    a, b = (rng.standard_normal((64, 64)).astype(np.float16) for _ in range(2))
    lines = [*SETUP, "WARPGROUP.ARRIVE"]
    for step in range(4):
        words = [*descriptor(TILES + 32 * step, 128, 1024), *descriptor(TILES + STAGE + 32 * step, 128, 1024)]
        lines += [f"UMOV UR{12 + index}, {word:#x}" for index, word in enumerate(words)]
        lines.append(
            f"HGMMA.64x64x16.F32 R24, gdesc[UR12], {'R24' if step else 'RZ'}{', gsb0' if step == 3 else ''}"
        )
    lines += [
        "WARPGROUP.DEPBAR.LE gsb0, 0x0", "LDC.64 R4, c[0x0][0x310]", "SHF.R.U32.HI R2, RZ, 0x5, R0",
        "LOP3.LUT R3, R0, 0x1f, RZ, 0xc0, !PT", "SHF.L.U32 R2, R2, 0xa, RZ", "SHF.R.U32.HI R6, RZ, 0x2, R3",
        "LOP3.LUT R3, R3, 0x3, RZ, 0xc0, !PT", "IMAD R2, R6, 0x40, R2", "IMAD R2, R3, 0x2, R2",
        "IMAD.WIDE.U32 R4, R2, 0x4, R4",
    ]  # fmt: skip
    for block in range(8):
        for side in range(2):
            place, register = 32 * block + 8 * 64 * 4 * side, 24 + 4 * block + 2 * side
            lines.append(f"STG.E.64 desc[UR2][R4.64+{place:#x}], R{register}")
    done = run_both(matmul_launch(lines, a, b))
    exact = a.astype(np.float64) @ b.astype(np.float64).T
    np.testing.assert_allclose(done.buffer("c").view(np.float32).reshape(64, 64), exact, atol=2e-5)


# ----------------------------------------------------------------------------------------------------- copy engine


def copy_launch(
    tensor: TensorMap, lines: Sequence[str], nbytes: int = 1 << 16, data: bool = True
) -> KernelLaunch:
    values = np.random.default_rng(1).integers(0, 256, nbytes, dtype=np.uint8)
    program = assemble([*lines, "EXIT"], params=(128, 8), static_shared_bytes=32768)
    buffers = (Buffer("x", nbytes, "output", values if data else None),)
    return KernelLaunch(
        program, (1, 1, 1), (32, 1, 1), 0, (tensor, BufferRef("x")), buffers, (CtaClass((0, 0, 0), 1),)
    )


def copy_lines(copy: str, coordinates: Sequence[int], size: int = 0, target: int = TILES) -> list[str]:
    """Return one copy by an elected lane, with its mbarrier."""
    return [
        "ULDC.64 UR20, c[0x0][0x198]", "ULDC.64 UR22, c[0x0][0x290]", "UMOV UR4, 0x1ffffe", "UMOV UR6, 0x400",
        f"UMOV UR24, {size // 16:#x}", "ELECT P0, URZ, PT", "@P0 SYNCS.EXCH.64 URZ, [UR6], UR4",
        f"UMOV UR8, {target:#x}", "UMOV UR9, UR6", f"MOV R1, {size:#x}",
        *(f"UMOV UR{10 + d}, {value & 0xFFFFFFFF:#x}" for d, value in enumerate(coordinates)),
        "@P0 SYNCS.ARRIVE.TRANS64 RZ, [UR6], R1", f"@P0 {copy}", "SYNCS.PHASECHK.TRANS64.TRYWAIT P1, [UR6], RZ",
    ]  # fmt: skip


PLANE = TensorMap("x", 2, (100, 40), (256,), (64, 16), swizzle_bytes=128, offset_bytes=512)
SPACE = TensorMap("x", 4, (20, 9, 5), (96, 1024), (8, 4, 3), swizzle_bytes=32)
LINE = TensorMap("x", 1, (1000,), (), (256,))


@pytest.mark.parametrize(
    ("tensor", "coordinates"),
    [
        (PLANE, (0, 0)), (PLANE, (64, 32)), (PLANE, (-8, -3)), (PLANE, (200, 0)), (PLANE, (37, 39)),
        (SPACE, (4, 2, 1)), (SPACE, (16, 7, 3)), (SPACE, (-4, -2, -1)), (LINE, (900,)), (LINE, (16,)),
        (replace(PLANE, box=(32, 16), swizzle_bytes=64), (40, 5)), (replace(PLANE, swizzle_bytes=0), (3, 5)),
    ],
)  # fmt: skip
def test_boxes_equal_the_twin(tensor: TensorMap, coordinates: tuple[int, ...]) -> None:
    """Inside, across and outside the edges: equal bytes, zeros and sectors; the mbarrier hears of the whole box."""
    copy = f"UTMALDG.{len(tensor.dims)}D [UR8], [UR20]"
    done = run_both(copy_launch(tensor, copy_lines(copy, coordinates, tensor.box_bytes)))
    row = int(np.flatnonzero(done.trace.program.opcode[done.trace.pc] == int(Op.TENSOR_LOAD))[0])
    assert (done.trace.tx[row], done.trace.phase[row], done.trace.phase[-2]) == (tensor.box_bytes, 1, 1)


def test_what_lies_outside_a_tensor_is_zero_and_asks_for_nothing() -> None:
    """A box that hangs over two edges: 36 of 64 columns and 8 of 16 rows are read, the others are zeros."""
    done = run_both(
        copy_launch(replace(PLANE, swizzle_bytes=0), copy_lines("UTMALDG.2D [UR8], [UR20]", (64, 32), 2048))
    )
    box = done.memory.shared[TILES : TILES + 2048].view(np.uint16).reshape(16, 64)
    source = done.buffer("x")[512 : 512 + 40 * 256].view(np.uint16).reshape(40, 128)
    np.testing.assert_array_equal(box[:8, :36], source[32:, 64:100])
    assert not box[8:].any()
    assert not box[:, 36:].any()
    row = int(np.flatnonzero(done.trace.buffer >= 0)[0])
    assert (done.trace.lines[row], done.trace.sectors[row]) == (8, 8 * 3)  # 72 bytes from the start of a line


def test_a_buffer_without_data_asks_for_the_same() -> None:
    """Lines and sectors do not need values."""
    lines = copy_lines("UTMALDG.2D [UR8], [UR20]", (64, 32), 2048)
    big = 1 << 22
    first, second = (
        execute(copy_launch(PLANE, lines, big, data), CtaClass((0, 0, 0), 1)) for data in (True, False)
    )
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(first.trace, column), getattr(second.trace, column))


def test_bulk_copies_and_stores() -> None:
    """A row of bytes goes to shared memory and back elsewhere; a tensor store leaves out what lies outside."""
    lines = [
        *copy_lines("UBLKCP.S.G [UR8], [UR22], UR24", (), 2048), "UIADD3 UR22, UR22, 0x4000, URZ",
        "@P0 UBLKCP.G.S [UR22], [UR8], UR24", "UMOV UR9, 0x40", "UMOV UR10, 0x20", "@P0 UTMASTG.2D [UR8], [UR20]",
        "@P0 UTMACMDFLUSH", "@P0 DEPBAR.LE SB0, 0x0",
    ]  # fmt: skip
    plain = replace(PLANE, swizzle_bytes=0, offset_bytes=0x8000)
    done = run_both(copy_launch(plain, lines))
    before = np.random.default_rng(1).integers(0, 256, 1 << 16, dtype=np.uint8)
    after = done.buffer("x")
    np.testing.assert_array_equal(after[0x4000:0x4800], before[:2048])
    stored = after[0x8000 : 0x8000 + 40 * 256].view(np.uint16).reshape(40, 128)
    np.testing.assert_array_equal(stored[32:, 64:100], before[:2048].view(np.uint16).reshape(16, 64)[:8, :36])
    changed = np.flatnonzero(after != before)
    assert changed.min() >= 0x4000
    assert changed.max() < 0x8000 + 40 * 256


# ---------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["SYNCS.ARRIVE.TRANS64.A1T0 RZ, [UR6+0x8], RZ"],
            "shared address 0x408 holds no initialised mbarrier",
        ),
        (
            ["S2R R0, SR_LANEID", "SYNCS.ARRIVE.TRANS64.A1T0 RZ, [R0+UR6], RZ"],
            "the lanes name different mbarriers",
        ),
        (["SYNCS.ARRIVE.TRANS64.A1T0 RZ, [UR6], RZ"], "more arrivals than the mbarrier expects in a phase"),
        (["UMOV UR20, 0x10", "UTMALDG.2D [UR8], [UR20]"], "the address is not that of a tensor map argument"),
        (["UTMALDG.3D [UR8], [UR20]"], "the address is not that of a tensor map argument of this rank"),
        (["UMOV UR8, 0x440", "UTMALDG.2D [UR8], [UR20]"], "address 0x440 is not aligned"),
        (["UMOV UR8, 0x8200", "UTMALDG.2D [UR8], [UR20]"], "beyond the CTA's shared memory"),
        (["SYNCS.ARRIVE.TRANS64.A1T0 R4, [UR6], RZ"], "the state that an mbarrier operation returns"),
        (
            ["UMOV UR9, 0x20000", "HGMMA.64x8x16.F32 R4, gdesc[UR8], R4"],
            "matrix descriptors with a base offset",
        ),
    ],
)
def test_what_is_wrong_is_named(lines: list[str], message: str) -> None:
    """Each mistake is one line with the instruction in it."""
    setup = copy_lines("NOP", (0, 0))[:-1]
    launch = copy_launch(PLANE, [*setup, *lines])
    with pytest.raises(TcsimError, match=re.escape(message)):
        execute(launch, launch.classes[0])


def test_a_buffer_smaller_than_its_tensor_is_named() -> None:
    launch = copy_launch(replace(PLANE, dims=(100, 400)), copy_lines("UTMALDG.2D [UR8], [UR20]", (0, 384)))
    with pytest.raises(TcsimError, match=r"lies in no buffer \(offset \d+ of 'x', which has 65536 bytes\)"):
        execute(launch, launch.classes[0])


def test_named_barriers_hold_only_the_warps_that_meet_there() -> None:
    """Two of three warps meet at barrier 1; the third goes to the end on its own."""
    lines = [
        "S2R R0, SR_TID.X", "ISETP.GE.U32.AND P0, PT, R0, 0x40, PT", "@P0 BRA .end",
        "BAR.SYNC.DEFER_BLOCKING 0x1, 0x40", ".end:", "NOP",
    ]  # fmt: skip
    launch = replace(copy_launch(PLANE, lines), block=(96, 1, 1))
    assert run_both(launch).trace.warps == 3
    alone = replace(launch, block=(32, 1, 1))
    with pytest.raises(DeadlockError, match="warp 0 at barrier 1"):
        execute(alone, alone.classes[0])
