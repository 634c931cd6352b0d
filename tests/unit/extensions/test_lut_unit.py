"""The look-up beside the tensor core: to the bit what shared memory gives, its time, and errors without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gpu_kernels import catalog
from gpu_kernels.programs.store import load_program
from sim.arch.load import load_gpu
from sim.chip.operations import mma_counts, warp_ops
from sim.errors import ConfigError
from sim.exec.execute import execute
from sim.exec.reference import execute_reference
from sim.extensions import extended, get_extension, with_extensions
from sim.extensions._interface import IMMEDIATE_SHIFT, marked_instructions
from sim.extensions.lut_unit import CODE_BITS, CODES, EXTENSION, LutUnit
from sim.isa.launch import KernelLaunch
from sim.isa.opcodes import Op
from sim.isa.units import Unit
from sim.results import Workload
from sim.simulate import simulate
from sim.sm.columns import resolve
from sim.sm.layout import S_ACCUMULATE, S_FACTOR, S_INTERVAL, TICKS
from workloads.operands import random_operands
from workloads.schemes.base import get_scheme

H200 = load_gpu("h200")
M, N, K = 8, 128, 256
NAMES = [name for name, tile in catalog.tiles("flute").items() if tile.options["lookup"] == "lut_unit"]


def _launch(bits: int, hardware: bool, table: str = "normal") -> KernelLaunch:
    options = {"bits": bits, "group_size": 64, "table": table}
    operands = random_operands(get_scheme("flute"), M, N, K, options, seed=1).arrays
    tile = f"16x128-w{bits}" + ("-lut_unit" if hardware else "")
    lookup = "lut_unit" if hardware else "shared"
    (launch,) = catalog.launches("flute", M, N, K, {**options, "lookup": lookup}, H200, tile, operands)
    return replace(launch, program=with_extensions(launch.program)) if hardware else launch


@pytest.mark.jit
@pytest.mark.parametrize("table", ["normal", "learned"])
@pytest.mark.parametrize("bits", CODE_BITS)
def test_it_gives_the_bits_of_lookups_in_shared_memory(bits: int, table: str) -> None:
    launch, software = _launch(bits, True, table), _launch(bits, False, table)
    found = execute(launch, launch.classes[0], fold=False)
    wanted = execute(software, software.classes[0], fold=False).buffer("output")
    assert wanted.any() and np.array_equal(found.buffer("output"), wanted)


@pytest.mark.jit
@pytest.mark.parametrize("bits", CODE_BITS)
def test_the_twin_gives_the_same_bits_and_trace(bits: int) -> None:
    launch = _launch(bits, True)
    fast, slow = execute(launch, launch.classes[0], fold=False), execute_reference(launch, launch.classes[0])
    assert np.array_equal(fast.buffer("output"), slow.buffer("output"))
    assert np.array_equal(fast.trace.pc, slow.trace.pc)


@pytest.mark.parametrize("tile", NAMES)
def test_every_mark_has_its_own_mma_and_each_k16_step_comes_equally_often(tile: str) -> None:
    program = load_program("flute", tile, "sm_90a")
    marked = marked_instructions(program, EXTENSION.mark)
    assert len(marked) == int((program.opcode == int(Op.MARKER)).sum()) > 0
    immediates = [int(program.operands[mark, 0, 1]) >> IMMEDIATE_SHIFT for mark in marked]
    assert {value >> 2 for value in immediates} == {catalog.tiles("flute")[tile].options["bits"]}
    after = EXTENSION.give_meaning(program)
    changed = np.flatnonzero(after.modifiers != program.modifiers)
    assert sorted(marked.values()) == changed.tolist()
    assert {after.mma_names[index] for index in after.mma[changed]} == {"m16n0k16.lut_unit.f32.f16"}
    counts = np.bincount([value & 3 for value in immediates])
    assert counts[1] == counts[2] == counts[3]  # the first step is looked up before the loop, too


def test_a_machine_without_it_names_it() -> None:
    launch = catalog.launches("flute", M, N, K, {"lookup": "lut_unit"}, H200)[0]
    with pytest.raises(ConfigError, match=r"'PMTRIG 0x1010' asks for .* --extension lut_unit"):
        simulate(Workload("flute", M, N, K, {}, 0, 0), [launch], H200)


@pytest.mark.jit
def test_lookups_take_its_interval_and_latency_and_multiply_nothing() -> None:
    launch = _launch(4, True)
    trace = execute(launch, launch.classes[0]).trace
    _, machine = extended([], H200, ["lut_unit:interval_cycles=3:latency_cycles=20"])
    static, program = resolve(trace, machine).static, launch.program
    name = EXTENSION.renamed("m16n8k16.f32.f16")
    look_ups = np.flatnonzero(program.mma == program.mma_names.index(name))
    assert set(static[look_ups, S_INTERVAL]) == {3 * TICKS}
    assert set(static[look_ups, S_ACCUMULATE]) == {20 * TICKS}
    assert warp_ops(name) == 0
    counts = mma_counts(trace)
    once = N * K // CODES
    assert (
        counts[name] == once + 2 * launch.warps
    )  # each code once; and a warp's last two look ahead of the end
    assert counts["m16n8k16.f32.f16"] == 2 * once  # 16 tokens of the tile


@pytest.mark.jit
def test_an_mma_knows_the_register_that_a_lookup_writes() -> None:
    launch = _launch(4, True)
    static = resolve(execute(launch, launch.classes[0]).trace, EXTENSION.machine(H200)).static
    tensor = np.flatnonzero(launch.program.unit == int(Unit.TENSOR))
    assert (static[tensor, S_FACTOR] >= 0).all()


@pytest.mark.jit
def test_the_kernel_is_faster_with_it_and_slower_with_a_slow_one() -> None:
    work = Workload("flute", 16, 4096, 4096, {}, 0, 0)
    (hard,) = catalog.launches("flute", 16, 4096, 4096, {"lookup": "lut_unit"}, H200, "16x128-w4-lut_unit")
    (soft,) = catalog.launches("flute", 16, 4096, 4096, {}, H200, "16x128-w4")
    fast = simulate(work, [hard], H200, ["lut_unit"])
    slow = simulate(work, [hard], H200, ["lut_unit:interval_cycles=60"])
    software = simulate(work, [soft], H200)
    assert fast.time_us < software.time_us < slow.time_us
    lookups = 4096 * 4096 / CODES
    energy = lookups * EXTENSION.quantities()["energy"].value * 1e-6
    assert EXTENSION.energy_uj(lookups) == pytest.approx(energy)
    assert fast.counters["shared_load_wavefronts"] < software.counters["shared_load_wavefronts"]


def test_what_it_cannot_be_is_one_line() -> None:
    program = load_program("flute", "16x128-w4-lut_unit", "sm_90a")
    pc = next(iter(marked_instructions(program, EXTENSION.mark).values()))
    with pytest.raises(ConfigError, match=r"got 5 bits, 'HMMA.*allowed: codes of 4, 3, 2 bits"):
        EXTENSION.modifiers(program, pc, 5 << 2)
    other = load_program("tender_w8a8", "16x128-explicit", "sm_90a")
    with pytest.raises(ConfigError, match=r"takes the place of an mma m16n8k16\.f32\.f16; got 'IMMA"):
        EXTENSION.modifiers(other, int(np.flatnonzero(other.mma >= 0)[0]), 4 << 2)


def test_more_lookups_a_cycle_take_more_area() -> None:
    area = [LutUnit(interval_cycles=cycles).quantities()["area"].value for cycles in (2, 4)]
    assert area[0] == 2 * area[1]
    assert get_extension("lut_unit:interval_cycles=2") == LutUnit(interval_cycles=2)
