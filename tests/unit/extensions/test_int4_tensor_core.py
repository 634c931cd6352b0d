"""INT4 on Hopper: nibbles in an INT8 mma's registers, bit for bit; beside the shift; at the rate that it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpu_kernels import catalog
from gpu_kernels.programs.store import load_program
from sim.arch.load import load_gpu
from sim.commands.evaluator import check
from sim.dse.expand import AxisError, Point
from sim.errors import ConfigError
from sim.exec.execute import execute
from sim.exec.reference import execute_reference
from sim.extensions import extended, get_extension, require_no_marks, with_extensions
from sim.isa import opcodes as o
from sim.isa.launch import KernelLaunch
from sim.isa.opcodes import Op
from sim.results import Workload
from sim.simulate import simulate
from workloads.operands import random_operands
from workloads.schemes.base import get_scheme
from workloads.schemes.tender_int4 import pack_nibbles, unpack_nibbles

H200 = load_gpu("h200")
OLDER = load_gpu("a100-sxm-80gb")
BOTH = ("int4_tensor_core", "tender_accumulator")
NAME = "m16n8k64.s32.s4"


def _options(variant: str) -> dict[str, Any]:
    return {"variant": variant, "groups": 4, "profile": "even"}


def _launch(variant: str, arch: Any = H200, names: tuple[str, ...] = BOTH) -> KernelLaunch:
    options = _options(variant)
    operands = random_operands(get_scheme("tender_int4"), 8, 64, 512, options, seed=1).arrays
    (found,) = catalog.launches("tender_int4", 8, 64, 512, options, arch, f"16x128-{variant}", operands)
    return replace(found, program=with_extensions(found.program, names))


def _output(launch: KernelLaunch) -> Any:
    return execute(launch, launch.classes[0], fold=False).buffer("output")


@pytest.mark.jit
@pytest.mark.parametrize("variant", ["software_shift", "extension"])
def test_hopper_with_int4_computes_what_ampere_does(variant: str) -> None:
    """The same kernel: native on sm_80, reinterpreted INT8 on sm_90a; with and without shifted accumulators."""
    ours = _launch(variant)
    assert np.array_equal(_output(ours), _output(_launch(variant, OLDER)))
    assert np.array_equal(_output(ours), _output(_launch("software_shift")))


@pytest.mark.jit
@pytest.mark.parametrize("arch", [H200, OLDER], ids=lambda gpu: gpu.name)
def test_a_whole_cta_equals_the_twin(arch: Any) -> None:
    launch = _launch("extension", arch)
    twin = execute_reference(launch, launch.classes[0])
    assert np.array_equal(_output(launch), twin.buffer("output"))


def test_one_mark_changes_every_integer_mma_and_nothing_else() -> None:
    before = load_program("tender_int4", "16x128-software_shift", "sm_90a")
    after = with_extensions(before)
    integer = before.opcode == int(Op.IMMA)
    assert (before.opcode == int(Op.MARKER)).sum() == 1 and integer.any()
    assert np.array_equal(before.modifiers != after.modifiers, integer)
    assert (after.modifiers[integer] == before.modifiers[integer] | o.NIBBLES).all()
    assert {after.mma_names[index] for index in after.mma[integer]} == {NAME}
    require_no_marks(after)


def test_the_binary_is_the_int8_kernels_but_for_the_mark() -> None:
    ours = load_program("tender_int4", "64x128-software_shift", "sm_90a")
    wide = load_program("tender_w8a8", "64x128-software_shift", "sm_90a")
    differ = [text for text in ours.text if text not in set(wide.text)]
    assert [text for text in differ if text.startswith("PMTRIG")] == ["PMTRIG 0x4"]
    for opcode in ("IMMA", "LDSM", "LDGSTS", "BAR"):
        counts = [sum(opcode in text for text in program.text) for program in (ours, wide)]
        assert counts[0] == counts[1], opcode


@pytest.mark.parametrize("names", [BOTH, BOTH[::-1]])
def test_shifts_and_nibbles_combine_in_any_order(names: tuple[str, ...]) -> None:
    program = with_extensions(load_program("tender_int4", "16x128-extension", "sm_90a"), names)
    _, machine = extended([], H200, names)
    assert {NAME, "m16n8k64.tender_accumulator.s32.s4"} <= set(machine.sm.tensor.mma)
    used = {program.mma_names[index] for index in program.mma[program.mma >= 0]}
    assert used == {NAME, "m16n8k64.tender_accumulator.s32.s4"}


def test_its_rate_is_twice_that_of_int8() -> None:
    _, machine = extended([], H200, ["int4_tensor_core"])
    wide, narrow = (machine.sm.tensor.mma[name] for name in ("m16n8k32.s32.s8", NAME))
    assert narrow == wide, "twice the K in the same time"
    assert machine.sm.tensor.peak_ops_per_cycle["s4"] == 2 * machine.sm.tensor.peak_ops_per_cycle["s8"]
    assert machine.energy.tensor_pj_per_op["s4"] == H200.energy.tensor_pj_per_op["s8"] / 2
    _, slow = extended([], H200, ["int4_tensor_core:interval_ratio=2:latency_cycles=3"])
    assert slow.sm.tensor.mma[NAME].interval_cycles == 2 * wide.interval_cycles
    assert slow.sm.tensor.mma[NAME].latency_cycles == wide.latency_cycles + 3


@pytest.mark.parametrize("name", ["a100-sxm-80gb", "rtx-a6000", "rtx-4090", "l40s"])
def test_gpus_that_have_int4_run_it_at_twice_the_rate_of_int8(name: str) -> None:
    mma = load_gpu(name).sm.tensor.mma
    assert mma[NAME].interval_cycles == mma["m16n8k32.s32.s8"].interval_cycles


def test_a_gpu_with_int4_needs_no_extension() -> None:
    with pytest.raises(ConfigError, match=r"a100-sxm-80gb has m16n8k64.s32.s4 already"):
        extended([], OLDER, ["int4_tensor_core"])


def test_without_it_the_kernel_is_refused_before_and_when_it_runs() -> None:
    launch, workload = _launch("ideal", names=()), Workload("tender_int4", 8, 64, 512, {}, 0, 0)
    with pytest.raises(ConfigError, match="--extension int4_tensor_core"):
        simulate(workload, [launch], H200)
    options = tuple(_options("ideal").items())
    point = Point("h200", (), (), "tender_int4", options, None, 8, 64, 512)
    with pytest.raises(AxisError, match="--extension int4_tensor_core") as caught:
        check(point)
    assert caught.value.axis == "extensions" and "\n" not in str(caught.value)
    check(replace(point, extensions=("int4_tensor_core",)))
    check(replace(point, arch="a100-sxm-80gb"))


def test_only_int8_of_32_columns_becomes_int4() -> None:
    launch = _launch("ideal", OLDER)
    with pytest.raises(
        ConfigError, match=r"int4_tensor_core reads m16n8k32.s32.s8 as nibbles; got 'IMMA.16864"
    ):
        pc = int(np.flatnonzero(launch.program.opcode == int(Op.IMMA))[0])
        get_extension("int4_tensor_core").modifiers(launch.program, pc, 0)


def test_every_quantity_has_a_unit_and_a_reason() -> None:
    for quantity in get_extension("int4_tensor_core").quantities().values():
        assert quantity.unit and quantity.rationale.startswith(("paper", "assumed", "measured", "literature"))


def test_nibbles_are_packed_low_half_first() -> None:
    codes = np.random.default_rng(0).integers(-8, 8, (5, 64)).astype(np.int8)
    assert np.array_equal(unpack_nibbles(pack_nibbles(codes)), codes)
    assert pack_nibbles(np.array([[1, -1]], np.int8)).tolist() == [[0xF1]]
