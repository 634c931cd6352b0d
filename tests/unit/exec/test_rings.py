"""Rings of mbarriers between a producer and its consumers: what they hand over, how their loops fold, deadlocks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from gpu_kernels import catalog
from sim.arch.load import load_gpu
from sim.errors import DeadlockError
from sim.exec.execute import execute
from sim.exec.image import buffer_address
from sim.exec.probe import first_touches
from sim.exec.reference import execute_reference
from sim.isa.launch import Buffer, BufferRef, CtaClass, KernelLaunch, TensorMap
from sim.isa.opcodes import Op
from sim.isa.synthetic import assemble
from sim.isa.trace import WarpTrace
from tests.unit.exec.twins import run_both

pytestmark = pytest.mark.jit
TILES = 0x800  # shared address of the stages' bytes, after the mbarriers

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


def test_a_ring_that_nobody_empties_is_a_deadlock_that_says_so() -> None:
    """The producer waits for its first stage to be freed, the consumers for the third to be filled."""
    launch = ring_launch(2, 4, release=False)
    with pytest.raises(
        DeadlockError, match=r"warp 4 at mbarrier 1, which has completed 0 phases \(SYNCS.PHASECHK"
    ):
        execute(launch, launch.classes[0])
    with pytest.raises(DeadlockError):
        execute_reference(launch, launch.classes[0])
