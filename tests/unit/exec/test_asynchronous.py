"""wgmma, mbarriers and the copy engine: values, the twin, what the trace says, and loops of producers and consumers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gpu_kernels import catalog
from sim.arch.load import load_gpu
from sim.errors import DeadlockError, TcsimError
from sim.exec.execute import Execution, execute
from sim.exec.probe import first_touches
from sim.exec.reference import execute_reference
from sim.exec.state import buffer_address
from sim.isa.launch import Buffer, BufferRef, CtaClass, KernelLaunch, TensorMap
from sim.isa.opcodes import Op
from sim.isa.synthetic import assemble
from sim.isa.trace import WarpTrace
from tests.unit.exec.twins import (
    SHARED_BYTES,
    Start,
    assert_same,
    launch_of,
    program_of,
    run_executor,
    run_twin,
)

pytestmark = pytest.mark.jit
COLUMNS = "pc lanes lines sectors misses taken buffer mbarrier phase arrivals tx mbarriers".split()  # noqa: SIM905
BASE = 0x400  # a CTA's first shared byte


def run_both(launch: KernelLaunch) -> Execution:
    """Run a CTA in the executor and in the twin, assert that all is equal, return the executor's."""
    ours, twin = execute(launch, launch.classes[0], fold=False), execute_reference(launch, launch.classes[0])
    np.testing.assert_array_equal(ours.memory.flat, twin.memory.flat)
    np.testing.assert_array_equal(ours.memory.shared, twin.memory.shared)
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(ours.trace, column), getattr(twin.trace, column), column)
    return ours


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


# ------------------------------------------------------------------------------------------- producer and consumers

# Four warps read what a fifth copies: R1 stages to come, R2 the stage's mbarriers, R3 its phase bit, UR30 its bytes.
# Full mbarriers lie at 0x400 + 16 * stage and expect one arrival, empty ones 8 bytes further, four.


def ring_lines(stages: int, release: bool = True) -> list[str]:
    """Return the kernel; without ``release`` the consumers never free a stage."""
    around = [  # next stage; the phase bit turns with the ring
        "IADD3 R2, R2, 0x10, RZ", f"ISETP.EQ.AND P3, PT, R2, {16 * stages:#x}, PT",
        "@P3 LOP3.LUT R3, R3, 0x80000000, RZ, 0x3c, !PT", "@P3 MOV R2, RZ", "IADD3 R1, R1, -0x1, RZ",
        "ISETP.NE.AND P4, PT, R1, RZ, PT",
    ]  # fmt: skip
    initialise = [
        f"@!P0 SYNCS.EXCH.64 URZ, [UR4+{16 * stage + 8 * empty:#x}], UR{8 if empty else 6}"
        for stage in range(stages)
        for empty in range(2)
    ]
    return [
        "S2R R0, SR_TID.X", "ISETP.NE.AND P0, PT, R0, RZ, PT", "UMOV UR4, 0x400", "UMOV UR6, 0x1ffffe",
        "UMOV UR8, 0x1ffff8", *initialise, "BAR.SYNC.DEFER_BLOCKING 0x0", "LDC R1, c[0x0][0x298]", "MOV R2, RZ",
        "MOV R3, RZ", "LOP3.LUT R4, R0, 0x1f, RZ, 0xc0, !PT", "ISETP.NE.AND P2, PT, R4, RZ, PT", "MOV R20, RZ",
        "ISETP.GE.U32.AND P1, PT, R0, 0x80, PT", "@P1 BRA .producer",
        ".consume:", "SYNCS.PHASECHK.TRANS64.TRYWAIT P5, [R2+UR4], R3", "SHF.L.U32 R5, R2, 0x5, RZ",
        "LEA R5, R4, R5, 0x2", f"LDS R6, [R5+{TILES:#x}]", "IADD3 R20, R20, R6, RZ",
        *(["@!P2 SYNCS.ARRIVE.TRANS64.A1T0 RZ, [R2+UR4+0x8], RZ"] if release else []),
        *around, "@P4 BRA .consume", "LDC.64 R8, c[0x0][0x290]", "IMAD.WIDE.U32 R8, R0, 0x4, R8",
        "STG.E desc[UR2][R8.64], R20", "EXIT",
        ".producer:", "@P2 EXIT", "MOV R3, 0x80000000", "ULDC.64 UR20, c[0x0][0x198]", "UMOV UR10, 0x0",
        "UMOV UR11, 0x0", "MOV R7, 0x100",
        ".produce:", "SYNCS.PHASECHK.TRANS64.TRYWAIT P5, [R2+UR4+0x8], R3", "SYNCS.ARRIVE.TRANS64 RZ, [R2+UR4], R7",
        "R2UR UR12, R2", "UIADD3 UR9, UR4, UR12, URZ", "USHF.L.U32 UR8, UR12, 0x5, URZ",
        f"UIADD3 UR8, UR8, {TILES:#x}, URZ", "UTMALDG.2D [UR8], [UR20]", "UIADD3 UR10, UR10, 0x40, URZ",
        *around, "@P4 BRA .produce",
    ]  # fmt: skip


def ring_launch(stages: int, turns: int, columns: int | None = None, release: bool = True) -> KernelLaunch:
    """Return a ring of copies of 2 x 64 halves along ``columns`` (by default all that the turns ask for)."""
    columns = 64 * turns if columns is None else columns
    data = np.random.default_rng(2).integers(0, 100, (2, max(1024, 64 * turns)), dtype=np.uint16)
    tensor = TensorMap("x", 2, (columns, 2), (2 * data.shape[1],), (64, 2))
    program = assemble([*ring_lines(stages, release), "EXIT"], params=(128, 8, 4), static_shared_bytes=8192)
    buffers = (
        Buffer("x", data.nbytes, "weights", data),
        Buffer("y", 512, "output", np.zeros(128, np.uint32)),
    )
    return KernelLaunch(
        program, (1, 1, 1), (160, 1, 1), 0, (tensor, BufferRef("y"), np.int32(turns)), buffers,
        (CtaClass((0, 0, 0), 1),),
    )  # fmt: skip


@pytest.mark.parametrize(("stages", "turns"), [(1, 5), (2, 7), (3, 3), (4, 13)])
def test_a_ring_hands_over_every_stage(stages: int, turns: int) -> None:
    """Every consumer adds up all boxes, though it runs ahead or behind; the trace holds one row per wait."""
    launch = ring_launch(stages, turns)
    done = run_both(launch)
    data = launch.buffers[0].data
    assert data is not None
    sums = data.view(np.uint32)[:, : 32 * turns].reshape(2, turns, 32).sum(axis=1, dtype=np.uint64)
    np.testing.assert_array_equal(done.buffer("y").view(np.uint32), np.tile(sums[0], 4).astype(np.uint32))
    waits = done.trace.program.opcode[done.trace.pc] == int(Op.MBARRIER_WAIT)
    assert waits.sum() == 5 * turns
    producer = waits & (np.arange(len(waits)) >= done.trace.offset[4])
    expected = [
        turn // stages for turn in range(turns)
    ]  # an empty stage is waited for from the second turn on
    assert done.trace.phase[producer].tolist() == expected
    first = waits & (np.arange(len(waits)) < done.trace.offset[1])
    assert done.trace.phase[first].tolist() == [phase + 1 for phase in expected]
    assert done.trace.mbarriers.tolist() == [1, 4] * stages


def unfolded(trace: WarpTrace) -> list[Counter[tuple[int, ...]]]:
    """Return per warp how often each (instruction, lanes, sectors, mbarrier, bytes, phase) was executed."""
    found = []
    times, extra = trace.repeats(), dict.fromkeys(range(len(trace.pc)), 0)
    for begin, end, count in trace.loops:
        extra.update(dict.fromkeys(range(begin, end), int(count)))
    for warp in range(trace.warps):
        counts: Counter[tuple[int, ...]] = Counter()
        for row in range(trace.offset[warp], trace.offset[warp + 1]):
            for run in range(extra[row] + 1):
                phase = int(trace.phase[row] + run * trace.phase_step[row])
                values = (trace.pc, trace.lanes, trace.sectors, trace.mbarrier, trace.tx)
                counts[(*(int(column[row]) for column in values), phase)] += 1
        assert counts.total() == times[trace.offset[warp] : trace.offset[warp + 1]].sum()
        found.append(counts)
    return found


@pytest.mark.parametrize(("stages", "turns"), [(1, 64), (2, 83), (3, 100), (5, 200)])
def test_folded_rings_stand_for_every_phase(stages: int, turns: int) -> None:
    """Folded, the same instructions meet the same completions of the same mbarriers as when all of it is executed."""
    launch = ring_launch(stages, turns)
    folded = execute(launch, launch.classes[0]).trace
    plain = execute(launch, launch.classes[0], fold=False).trace
    assert len(folded.pc) < len(plain.pc)
    assert len(folded.loops) == 5
    assert unfolded(folded) == unfolded(plain)
    assert not (folded.phase_step % 2).any()
    for number in range(2 * stages):  # all loops leave out the same completions of an mbarrier
        left_out = {
            int(extra) * int(folded.phase_step[row])
            for begin, end, extra in folded.loops
            for row in range(begin, end)
            if folded.mbarrier[row] == number
        }
        assert len(left_out) == 1


def test_a_tensor_that_ends_early_is_not_folded_over() -> None:
    """From some box on nothing is inside: the copies before and after keep their own sectors."""
    launch = ring_launch(2, 160, columns=64 * 97 + 8)
    folded, plain = (execute(launch, launch.classes[0], fold=fold).trace for fold in (True, False))
    assert len(folded.pc) < len(plain.pc)
    assert unfolded(folded) == unfolded(plain)


def test_cost_does_not_grow_with_the_loop() -> None:
    """Ten times the turns, as many rows."""
    launches = [ring_launch(4, turns) for turns in (200, 2000)]
    short, long = (execute(launch, launch.classes[0]).trace for launch in launches)
    assert len(short.pc) == len(long.pc)
    assert long.repeats().sum() > 9 * short.repeats().sum()


def test_which_ctas_share_is_seen_where_a_warp_of_its_own_copies() -> None:
    """The producer's first box of each CTA, though warp 0 never loads."""
    lines = [line.replace("UMOV UR11, 0x0", "S2UR UR11, SR_CTAID.X") for line in ring_lines(2)]
    launch = ring_launch(2, 9)
    launch = replace(launch, program=assemble([*lines, "EXIT"], params=(128, 8, 4), static_shared_bytes=8192))
    touches = first_touches(launch, [(0, 0, 0), (1, 0, 0), (0, 1, 0)])
    begin, row = buffer_address(0), 2 * 1024
    assert touches[:, 0].tolist() == [begin, begin + row, begin]


@pytest.mark.parametrize(("tile", "k"), [("64x64", 16376), ("256x128", 8384)])
def test_a_bundled_kernel_folds_to_the_same_phases(tile: str, k: int) -> None:
    """Two boxes a stage and warpgroups along K, or a single box: folded and unfolded meet the same completions."""
    (launch,) = catalog.launches("fp16_wgmma", 100, 200, k, {}, load_gpu("h200"), tile)
    folded, plain = (execute(launch, launch.classes[-1], fold=fold).trace for fold in (True, False))
    assert 2 * len(folded.pc) < len(plain.pc)
    assert unfolded(folded) == unfolded(plain)


# ---------------------------------------------------------------------------------------------------------- errors


def test_a_ring_that_nobody_empties_is_a_deadlock_that_says_so() -> None:
    """The producer waits for its first stage to be freed, the consumers for the third to be filled."""
    launch = ring_launch(2, 4, release=False)
    with pytest.raises(
        DeadlockError, match=r"warp 4 at mbarrier 1, which has completed 0 phases \(SYNCS.PHASECHK"
    ):
        execute(launch, launch.classes[0])
    with pytest.raises(DeadlockError):
        execute_reference(launch, launch.classes[0])


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
