"""Marks and what the Tender accumulator makes of them: bits, time, energy, and errors without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gpu_kernels import catalog
from gpu_kernels.programs.store import load_program
from sim.arch.load import load_gpu
from sim.chip.operations import accumulator_blocks
from sim.errors import ConfigError
from sim.exec.execute import execute
from sim.exec.reference import execute_reference
from sim.extensions import extended, get_extension, require_no_marks, with_extensions
from sim.extensions._interface import marked_instructions
from sim.extensions.tender_accumulator import EXTENSION, TenderAccumulator
from sim.isa.launch import KernelLaunch
from sim.isa.opcodes import Op
from sim.results import Workload
from sim.simulate import simulate
from sim.sm.columns import resolve
from sim.sm.layout import S_ACCUMULATE, S_INTERVAL, S_LATENCY, TICKS
from workloads.operands import random_operands
from workloads.schemes.base import get_scheme

H200 = load_gpu("h200")
TILE = "16x128-extension"
WARPGROUPS = "tender_w8a8_wgmma"
OPTIONS = {"variant": "extension", "groups": 4, "profile": "even"}


def _launch(data: bool = True) -> KernelLaunch:
    operands = (
        random_operands(get_scheme("tender_w8a8"), 8, 64, 256, OPTIONS, seed=1).arrays if data else None
    )
    return catalog.launches("tender_w8a8", 8, 64, 256, OPTIONS, H200, TILE, operands)[0]


def test_a_mark_without_the_hardware_is_one_line_that_names_it() -> None:
    workload = Workload("tender_w8a8", 8, 64, 256, OPTIONS, 0, 0)
    with pytest.raises(
        ConfigError, match=r"'PMTRIG 0x2' asks for .* --extension tender_accumulator"
    ) as caught:
        simulate(workload, [_launch(data=False)], H200)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "tile", "name"),
    [
        ("tender_w8a8", TILE, "m16n8k32.tender_accumulator.s32.s8"),
        (WARPGROUPS, "128x128-extension", "wgmma.m64n128k32.tender_accumulator.s32.s8.ss"),
    ],
)
def test_each_mark_changes_one_mma_and_no_mark_is_left(scheme: str, tile: str, name: str) -> None:
    before = load_program(scheme, tile, "sm_90a")
    after = with_extensions(before)
    marks = int((before.opcode == int(Op.MARKER)).sum())
    assert marks and int((before.modifiers != after.modifiers).sum()) == marks
    changed = np.flatnonzero(before.modifiers != after.modifiers)
    of_zeros = name.replace(".ss", ".rs")  # a wgmma of zeros in registers, for an empty group
    assert {name} <= {after.mma_names[index] for index in after.mma[changed]} <= {name, of_zeros}
    assert after.identity != before.identity
    require_no_marks(after)


@pytest.mark.parametrize("scheme", ["tender_w8a8", "tender_w4a4", WARPGROUPS])
def test_the_compiler_kept_each_mark_before_its_own_mma(scheme: str) -> None:
    """They are one statement; the assembler once put another mma between them."""
    for tile in catalog.tiles(scheme):
        program = load_program(scheme, tile, "sm_90a")
        for mark, pc in marked_instructions(program, EXTENSION.mark).items():
            assert program.source_line[mark] == program.source_line[pc], tile


@pytest.mark.jit
def test_shifted_accumulators_equal_the_twin_and_shifts_in_registers() -> None:
    launch = _launch()
    marked = replace(launch, program=with_extensions(launch.program))
    fast = execute(marked, launch.classes[0], fold=False)
    assert np.array_equal(
        fast.buffer("output"), execute_reference(marked, launch.classes[0]).buffer("output")
    )
    options = {**OPTIONS, "variant": "software_shift"}
    operands = random_operands(get_scheme("tender_w8a8"), 8, 64, 256, OPTIONS, seed=1).arrays
    (other,) = catalog.launches("tender_w8a8", 8, 64, 256, options, H200, "16x128-software_shift", operands)
    assert np.array_equal(
        fast.buffer("output"), execute(other, other.classes[0], fold=False).buffer("output")
    )


@pytest.mark.jit
def test_marked_mma_take_longer_by_what_the_extension_says() -> None:
    slow = TenderAccumulator(latency_cycles=3, bubble_cycles=2)
    launch = _launch(data=False)
    program = slow.give_meaning(launch.program)
    trace = execute(replace(launch, program=program), launch.classes[0]).trace
    static = resolve(trace, slow.machine(H200)).static
    plain = np.flatnonzero(program.mma == program.mma_names.index("m16n8k32.s32.s8"))[0]
    marked = np.flatnonzero(program.mma == program.mma_names.index("m16n8k32.tender_accumulator.s32.s8"))[0]
    assert static[marked, S_INTERVAL] - static[plain, S_INTERVAL] == 2 * TICKS
    assert static[marked, S_ACCUMULATE] - static[plain, S_ACCUMULATE] == 5 * TICKS


@pytest.mark.jit
def test_marked_wgmma_take_longer_by_a_bubble_per_eight_columns() -> None:
    slow = TenderAccumulator(latency_cycles=3, bubble_cycles=2)
    (launch,) = catalog.launches(WARPGROUPS, 128, 128, 256, OPTIONS, H200, "128x128-extension")
    program = slow.give_meaning(launch.program)
    trace = execute(replace(launch, program=program), launch.classes[0]).trace
    static = resolve(trace, slow.machine(H200)).static
    plain, marked = (
        np.flatnonzero(program.mma == program.mma_names.index(f"wgmma.m64n128k32{name}.s32.s8.ss"))[0]
        for name in ("", ".tender_accumulator")
    )
    assert static[marked, S_INTERVAL] - static[plain, S_INTERVAL] == 16 * 2 * TICKS
    assert static[marked, S_LATENCY] - static[plain, S_LATENCY] == 16 * 2 + 3


@pytest.mark.jit
def test_borders_that_a_wgmma_shifts_at_cost_less_than_a_drain() -> None:
    """256 tokens, 7 borders in 32 stages: in the tensor core none of the time, in registers some."""
    times = {}
    for variant in ("ideal", "extension", "software_shift"):
        options = {"variant": variant, "groups": 8, "profile": "even"}
        launches = catalog.launches(WARPGROUPS, 4096, 4096, 4096, options, H200, f"256x128-{variant}")
        named = ("tender_accumulator",) if variant == "extension" else ()
        times[variant] = simulate(
            Workload(WARPGROUPS, 4096, 4096, 4096, options, 0, 0), launches, H200, named
        ).time_us
    assert times["extension"] < 1.01 * times["ideal"] < times["software_shift"]


def test_a_marked_wgmma_switches_its_sixteen_blocks_of_accumulators() -> None:
    assert accumulator_blocks("wgmma.m64n128k32.tender_accumulator.s32.s8.ss") == 16
    assert accumulator_blocks("m16n8k32.tender_accumulator.s32.s8") == 1


def test_its_numbers_can_be_set_by_name() -> None:
    found = get_extension("tender_accumulator:latency_cycles=2.5:shift_bits=2")
    assert found == TenderAccumulator(shift_bits=2, latency_cycles=2.5)
    before = load_program("tender_w8a8", TILE, "sm_90a")
    assert found.give_meaning(before).identity != EXTENSION.give_meaning(before).identity


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tender_acumulator", "unknown extension 'tender_acumulator'. Did you mean 'tender_accumulator'"),
        ("tender_accumulator:latency=2", "unknown number of tender_accumulator 'latency'"),
        ("tender_accumulator:shift_bits=1.5", "shift_bits: got '1.5', allowed: a whole number"),
        ("tender_accumulator:bubble_cycles=nan", "bubble_cycles: got 'nan', allowed: a number from 0"),
        ("tender_accumulator:bubble_cycles", "bubble_cycles: got '', allowed: a number from 0"),
    ],
)
def test_numbers_it_does_not_have_are_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        get_extension(text)
    assert "\n" not in str(caught.value)


def test_the_machine_without_it_stays_as_it_was() -> None:
    _, machine = extended([], H200, ["tender_accumulator"])
    assert set(machine.sm.tensor.mma) - set(H200.sm.tensor.mma) == {
        "m16n8k32.tender_accumulator.s32.s8",
        "m16n8k16.tender_accumulator.s32.s8",
        "m16n8k256.tender_accumulator.s32.b1",
    }
    assert set(machine.sm.tensor.wgmma) - set(H200.sm.tensor.wgmma) == {"tender_accumulator.s32.s8"}


@pytest.mark.parametrize(
    ("scheme", "tile", "got"), [("fp16", "16x64", "HMMA"), ("fp16_wgmma", "16x64", "HGMMA")]
)
def test_floating_point_sums_cannot_be_shifted(scheme: str, tile: str, got: str) -> None:
    program = load_program(scheme, tile, "sm_90a")
    with pytest.raises(ConfigError, match=f"tender_accumulator shifts integer accumulators; got '{got}"):
        EXTENSION.modifiers(program, int(np.flatnonzero(program.mma >= 0)[0]), 0)


def test_every_quantity_has_a_unit_and_a_reason() -> None:
    for quantity in get_extension("tender_accumulator").quantities().values():
        assert quantity.unit and quantity.rationale.startswith(("paper", "assumed", "synthesized"))


def test_energy_area_and_latency_are_those_of_the_synthesized_units() -> None:
    """In the path of C no cycle is lost; a wider shifter takes more of the rest."""
    narrow, wide = (TenderAccumulator(shift_bits=bits).quantities() for bits in (1, 4))
    for name in ("energy", "area", "latency"):
        assert narrow[name].rationale.startswith("synthesized")
    assert narrow["latency"].value == wide["latency"].value == 0
    assert 2 < wide["area"].value / narrow["area"].value < 4
    assert 0 < narrow["energy"].value < wide["energy"].value
    assert (
        narrow["energy"].value < 0.02 * 8192 * H200.energy.tensor_pj_per_op["s8"]
    )  # of the mma it is part of


def test_numbers_that_are_given_stand_instead_of_the_synthesized_ones() -> None:
    found = get_extension("tender_accumulator:energy_pj=3:area_um2=900:latency_cycles=2").quantities()
    assert [found[name].value for name in ("energy", "area", "latency")] == [3, 900, 2]
    assert found["energy"].rationale == "assumed: given by the user"
    plain, slower = (
        get_extension(f"tender_accumulator:latency_cycles={each}").machine(H200) for each in (0, 2)
    )
    shifted = "m16n8k32.tender_accumulator.s32.s8"
    assert slower.sm.tensor.mma[shifted].latency_cycles == plain.sm.tensor.mma[shifted].latency_cycles + 2


def test_shifts_that_were_not_synthesized_need_numbers() -> None:
    with pytest.raises(ConfigError, match=r"shift_bits: got 5, synthesized: 1 to 4; others need") as caught:
        TenderAccumulator(shift_bits=5).quantities()
    assert "\n" not in str(caught.value)
    given = TenderAccumulator(shift_bits=5, latency_cycles=1, energy_pj=10, area_um2=900)
    assert given.quantities()["energy"].value == 10
    assert given.energy_uj(1e6) == pytest.approx(10)
