"""What holds an instruction back at issue, in closed form: read ports, code behind a branch, the memory pipe."""

import pytest

from sim.isa.units import Unit
from sim.sm.instructions import read_cycles, registers_sent
from sim.sm.layout import STALL_NAMES
from sim.sm.synthetic import Instruction, strided

pytestmark = pytest.mark.jit

MMA = "m16n8k16.f32.f16"
NOP = Instruction(Unit.NONE)
USE = Instruction(Unit.NONE, wait=1)


def mma(target: int, source: int, stall: int = 6) -> Instruction:
    return Instruction(Unit.TENSOR, stall=stall, registers=(40, 50, source), target=target, mma=MMA)


def tensor(interval: float, latency: float) -> tuple[str, str]:
    path = f"sm.tensor.mma.{MMA}"
    return f"{path}.latency_cycles={latency}", f"{path}.interval_cycles={interval}"


def lost(run, name: str) -> int:  # type: ignore[no-untyped-def]
    return int(run.stalls[STALL_NAMES.index(name)])


@pytest.mark.parametrize(("second", "cycles"), [((16, 19, -1), 1), ((16, 18, -1), 2), ((16, 18, 20), 3)])
def test_instructions_read_one_after_the_other_as_long_as_their_fullest_bank_takes(
    go, second, cycles: int
) -> None:  # type: ignore[no-untyped-def]
    """Banks are even and odd registers, with one port each; other banks' ports stand idle meanwhile."""
    code = [Instruction(Unit.FMA, registers=(11, -1, -1)), Instruction(Unit.FMA, registers=second)]
    few, many = (go([code * count], "sm.pipes.fma.interval_cycles=1").end[0] for count in (20, 60))
    assert many - few == 40 * (1 + cycles)


def test_instructions_issue_ahead_of_their_reads_by_the_window(go) -> None:  # type: ignore[no-untyped-def]
    three = Instruction(Unit.FMA, registers=(10, 12, 14))
    for window, bubbles in ((1, 3), (2, 2), (3, 1)):
        overrides = ("sm.pipes.fma.interval_cycles=1", f"sm.register_file.read_window_cycles={window}")
        run = go([[three] * 3], *overrides)
        assert run.end[0] == 3 + bubbles
        assert lost(run, "dispatch_stall") == bubbles


def test_reuse_cache_saves_the_ports(go) -> None:  # type: ignore[no-untyped-def]
    plain = Instruction(Unit.FMA, registers=(10, 12, 14))
    kept = Instruction(Unit.FMA, registers=(10, 12, 14), reuse=7)
    for each, cycles in ((plain, 3), (kept, 1)):
        few, many = (go([[each] * count], "sm.pipes.fma.interval_cycles=1").end[0] for count in (20, 60))
        assert many - few == 40 * cycles


def test_taken_branch(go) -> None:  # type: ignore[no-untyped-def]
    jump, late = (Instruction(Unit.BRANCH, stall=stall, taken=True) for stall in (1, 14))
    fall = Instruction(Unit.BRANCH)
    overrides = ("sm.control.taken_branch_cycles=12", "sm.control.next_line_cycles=0")
    assert go([[jump, NOP]], *overrides).end[0] == 12 + 1
    assert go([[late, NOP]], *overrides).end[0] == 14 + 1
    assert go([[fall, NOP]], *overrides).end[0] == 2


def test_code_behind_the_line_of_a_branchs_target_comes_later(go) -> None:  # type: ignore[no-untyped-def]
    """Eight instructions are a line: the target is the last of the first one, or the one before."""
    jump = Instruction(Unit.BRANCH, taken=True)
    overrides = ("sm.control.taken_branch_cycles=12", "sm.control.next_line_cycles=20")
    for before, second in ((5, 13), (6, 20)):
        assert go([[NOP] * before + [jump, NOP, NOP]], *overrides).end[0] == before + second + 1


def test_an_access_without_lanes_takes_a_wavefront_of_the_memory_pipe(go) -> None:  # type: ignore[no-untyped-def]
    skipped = Instruction(Unit.GLOBAL_LOAD, lines=32, write=0, lanes=0)
    assert go([[skipped, USE]]).end[0] < 20
    few, many = (go([[skipped] * count] * 4).end[0] for count in (20, 60))
    assert many - few == pytest.approx(4 * 40, abs=2)


def test_an_mma_holds_the_read_ports_of_its_sub_core(go) -> None:  # type: ignore[no-untyped-def]
    """Two warps of one sub-core: over and over an mma of ten registers, five cycles at two banks, and additions."""
    multiply = Instruction(Unit.TENSOR, stall=1, mma="m16n8k16.f32.f16")
    add = Instruction(Unit.FMA, stall=1, registers=(0, 1, -1))
    interval = "sm.tensor.mma.m16n8k16.f32.f16.interval_cycles=6"

    def cycles(additions: int) -> float:
        warp = [multiply, *[add] * additions] * 100
        return float(go([warp, [], [], [], warp], interval).end[0]) / 200

    assert cycles(0) == pytest.approx(6, abs=0.1)
    assert cycles(4) == pytest.approx(5 + 4, abs=0.1)


@pytest.mark.parametrize(("registers", "cycles"), [((0, -1, -1), 5 + 1 + 3), ((-1, -1, -1), 5 + 3)])
def test_an_accesses_address_passes_the_read_ports(go, registers, cycles: int) -> None:  # type: ignore[no-untyped-def]
    """Beside mma and additions that leave the ports no cycle, an access costs one (micro/mma_shared)."""
    multiply = Instruction(Unit.TENSOR, stall=1, mma=MMA)
    add = Instruction(Unit.FMA, stall=1, registers=(0, 1, -1))
    load = Instruction(Unit.SHARED_LOAD, stall=1, registers=registers, offsets=strided(32, 4))
    warp = [multiply, add, add, add, load] * 100
    end = float(go([warp, [], [], [], warp], f"sm.tensor.mma.{MMA}.interval_cycles=6").end[0])
    assert end / 200 == pytest.approx(cycles, abs=0.15)


@pytest.mark.parametrize(
    ("name", "cycles"),
    [("m16n8k16.f32.f16", 5), ("m16n8k16.f16.f16", 4), ("m16n8k8.f32.f16", 4), ("m16n8k32.s32.s8", 5)],
)
def test_an_mma_reads_its_operands_registers(name: str, cycles: int) -> None:
    assert read_cycles(name, 2) == cycles


def test_the_warp_that_waits_longest_follows_one_that_cannot_go_on(go) -> None:  # type: ignore[no-untyped-def]
    """Three warps of one sub-core with more mma than it can do get on alike: none waits until the others are done."""
    code = [mma(4, 4, stall=6), mma(8, 8, stall=18)] * 50
    three = [code, [], [], [], code, [], [], [], code]
    assert go(three, *tensor(6, 24)).end[0] == pytest.approx(6 * 3 * 100, abs=24)


@pytest.mark.parametrize(
    ("text", "registers"),
    [
        ("LDS.128 R4, [R3+UR4+0x10]", 1),
        ("@!PT LDS RZ, [RZ]", 0),
        ("STS.128 [R2+0x200], R8", 5),
        ("STSM.16.MT88.2 [R2], R8", 3),
        ("LDGSTS.E.BYPASS.LTC128B.128 [R7+0x4000], desc[UR6][R8.64], P1", 3),
        ("LDG.E.128.STRONG.GPU R4, desc[UR4][R6.64+0x40]", 2),
        ("STG.E.64 desc[UR4][R6.64], R8", 4),
        ("SHFL.IDX PT, R4, R4, R5, 0x1f", 2),
    ],
)
def test_registers_that_an_access_sends(text: str, registers: int) -> None:
    assert registers_sent(text) == registers


def test_barriers_back_to_back_wait_until_the_barrier_counts_again(go) -> None:  # type: ignore[no-untyped-def]
    barrier = Instruction(Unit.BARRIER)
    overrides = (
        "sm.control.barrier_arrival_cycles=2",
        "sm.control.barrier_release_cycles=5",
        "sm.control.barrier_reset_cycles=12",
    )
    for warps in (1, 4):
        few, many = (go([[barrier] * count] * warps, *overrides).end[0] for count in (10, 30))
        assert many - few == 20 * (12 + 2 * warps)
