"""The block-scaled mma: its definition in exact numbers, the twin, what encodes it, its kernel and its cost."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from gpu_kernels import catalog
from gpu_kernels.matmul import common
from gpu_kernels.programs.store import load_program
from sim.arch.load import load_gpu
from sim.errors import ConfigError, UnsupportedInstructionError
from sim.exec.execute import execute
from sim.exec.reference import execute_reference
from sim.extensions import extended, get_extension, require_no_marks, with_extensions
from sim.isa.opcodes import Op
from sim.isa.synthetic import assemble
from sim.results import Workload
from sim.simulate import simulate
from sim.sm.columns import resolve
from sim.sm.layout import S_ACCUMULATE, S_INTERVAL, TICKS
from tests.unit.exec.twins import Start, compare, launch_of, opcodes_of, program_of, random_line, run_executor
from workloads.operands import random_operands
from workloads.schemes.base import get_scheme
from workloads.tender.baselines import FP4_MAGNITUDES, microscaled

pytestmark = pytest.mark.jit

H200 = load_gpu("h200")
NAME = "m16n8k32.block_scaled_mma.f32.s8"
SCALED, BOTH = ("block_scaled_mma",), ("int4_tensor_core", "block_scaled_mma")


def _bytes(rows: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Return the registers of a matrix of 32-byte rows: four neighbours a lane, blocks of 8 rows, then of 16 bytes."""
    blocks = [rows[r : r + 8, k : k + 16] for k in (0, 16) for r in range(0, len(rows), 8)]
    return [np.ascontiguousarray(block).view(np.uint32).reshape(32) for block in blocks]


def _run(
    opcode: str, registers: dict[int, np.ndarray[Any, Any]], names: tuple[str, ...]
) -> np.ndarray[Any, Any]:
    """Return D, 16 x 8, of ``opcode R12, R0, R4, R8, R16``."""
    lines = [f"PMTRIG {4 if 'int4_tensor_core' in names else 8:#x}", "PMTRIG 0x8"][-len(names) :]
    program = with_extensions(program_of([*lines, f"{opcode} R12, R0.ROW, R4.COL, R8, R16, 0x0"]), names)
    start = Start.random(np.random.default_rng(0))
    for number, value in registers.items():
        start.general[number] = value
    out = run_executor(launch_of(program, np.random.default_rng(0)), start).general[12:16].view(np.float32)
    return out.reshape(2, 2, 32).transpose(0, 2, 1).reshape(16, 8)


def _word(
    rows: np.ndarray[Any, Any], low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Lay scales [16, 4], [8, 4] and [8, 4] out over the lanes' metadata."""
    lanes = np.stack((rows[:8], rows[8:], low, high), axis=1).astype(np.uint8)
    return np.ascontiguousarray(lanes).view(np.uint32).reshape(32)


def _once(value: Fraction) -> np.float32:
    """Round an exact number to FP32, ties to even, by comparing with its neighbours."""
    near = np.float32(float(value))
    around = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    return min(around, key=lambda f: (abs(Fraction(float(f)) - value), int(f.view(np.uint32)) & 1))


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("byte", range(4))
def test_a_block_is_summed_exactly_and_rounded_once(byte: int, upper: bool) -> None:
    rng = np.random.default_rng(10 * byte + upper)
    a, b = rng.integers(-128, 128, (16, 32), np.int8), rng.integers(-128, 128, (2, 8, 32), np.int8)
    c = (rng.standard_normal((16, 8)) * 2.0 ** rng.integers(-30, 30, (16, 8))).astype(np.float32)
    rows, columns = rng.integers(100, 150, (16, 4)), rng.integers(100, 150, (2, 8, 4))
    opcode = f"IMMA.SP.16864.{'SU'[byte & 1]}8.{'SU'[byte >> 1]}8{'.SAT' * upper}"
    registers = dict(enumerate(_bytes(a))) | {16: _word(rows, columns[0], columns[1])}
    for half in range(2):
        registers |= dict(enumerate(_bytes(b[half]), 4 + 2 * half))
    registers |= dict(enumerate(c.reshape(2, 32, 2).transpose(0, 2, 1).reshape(4, 32).view(np.uint32), 8))
    got = _run(opcode, registers, SCALED)
    for i in range(16):
        for j in range(8):
            total = int(a[i].astype(int) @ b[int(upper), j].astype(int))
            exponent = int(rows[i, byte] + columns[int(upper), j, byte]) - 254
            assert got[i, j] == _once(Fraction(float(c[i, j])) + total * Fraction(2) ** exponent)


def test_every_fp4_number_is_multiplied() -> None:
    """E2M1, in one lane's words: code c of A meets 1 in B, so that row g has the sum of the eight magnitudes."""
    registers = {number: np.zeros(32, np.uint32) for number in range(17)}
    registers[0] = np.where(np.arange(32) % 4 == 0, 0x76543210, 0).astype(np.uint32)
    registers[1] = np.where(np.arange(32) % 4 == 0, 0xFEDCBA98, 0).astype(np.uint32)
    registers[4] = np.full(32, 0x22222222, np.uint32)
    registers[16] = _word(np.full((16, 4), 127), np.full((8, 4), 127), np.full((8, 4), 127))
    got = _run("IMMA.SP.16864.S8.S8", registers, BOTH)
    assert (got[:8] == sum((0, 0.5, 1, 1.5, 2, 3, 4, 6))).all() and (got[8:] == -18).all()


def test_nibbles_have_two_blocks_of_32_and_a_rounding_each() -> None:
    """2^24 + 1 - 2^24: the first block's one is rounded away before the second block comes."""
    registers = {number: np.zeros(32, np.uint32) for number in range(17)}
    registers |= dict.fromkeys((0, 1, 2, 3, 4, 5), np.full(32, 1, np.uint32))  # every eighth is a half
    registers |= dict.fromkeys(range(8, 12), np.full(32, np.float32(2.0**24).view(np.uint32)))
    ones = np.full((16, 4), 127)  # four quarters in each block
    many = ones.copy()
    many[:, 1] = 127 + 24
    registers[16] = _word(many, np.full((8, 4), 127), np.full((8, 4), 127))
    assert (_run("IMMA.SP.16864.S8.S8", registers, BOTH) == 2.0**25).all(), "the one is gone"
    registers[16] = _word(ones, np.full((8, 4), 127), np.full((8, 4), 127))
    assert (_run("IMMA.SP.16864.S8.S8", registers, BOTH) == 2.0**24).all(), "2^24 + 2 if rounded only once"


def test_a_scale_of_255_is_not_a_number() -> None:
    registers = {number: np.zeros(32, np.uint32) for number in range(17)}
    rows = np.full((16, 4), 127)
    rows[3] = 255
    registers[16] = _word(rows, np.full((8, 4), 127), np.full((8, 4), 127))
    got = _run("IMMA.SP.16864.S8.S8", registers, SCALED)
    assert np.isnan(got[3]).all() and not got[np.arange(16) != 3].any()


@pytest.mark.parametrize("names", [SCALED, BOTH])
def test_every_encoding_equals_the_twin(names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(len(names))
    marks = ["PMTRIG 0x8", "PMTRIG 0x4"][: len(names)]
    for opcode in opcodes_of(Op.IMMA_SPARSE) * 3:
        compare([*marks, random_line(rng, opcode)], int(rng.integers(2**31)), nans=True, extensions=names)


@pytest.mark.parametrize("scheme", ["mx_w8a8", "mx_w4a4"])
def test_the_kernel_equals_the_twin_and_the_scheme(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "choose_splits", lambda *_: 1)
    operands = random_operands(get_scheme(scheme), 16, 128, 416, {}, seed=1)
    (launch,) = catalog.launches(scheme, 16, 128, 416, {}, H200, "16x128", operands.arrays)
    launch = replace(launch, program=with_extensions(launch.program))
    ours = execute(launch, launch.classes[0], fold=False).buffer("output")
    assert np.array_equal(ours, execute_reference(launch, launch.classes[0]).buffer("output"))
    want, got = operands.reference(), ours.view(np.float16).reshape(16, 128)
    assert np.linalg.norm(got - want) < 2**-11 * np.linalg.norm(want)


@pytest.mark.parametrize(("scheme", "magnitudes"), [("mx_w8a8", None), ("mx_w4a4", FP4_MAGNITUDES)])
def test_codes_are_those_of_the_standards_formats(scheme: str, magnitudes: Any) -> None:
    x = np.random.default_rng(2).standard_normal((5, 128)) * np.exp2(np.arange(128) // 16)
    found = get_scheme(scheme)
    held = found.dequantize(found.quantize(x.astype(np.float32)))
    assert np.array_equal(held, microscaled(x.astype(np.float32).astype(np.float64), magnitudes))


def test_one_mark_changes_every_sparse_mma_of_the_kernel() -> None:
    before = load_program("mx_w8a8", "64x128", "sm_90a")
    after = with_extensions(before, SCALED)
    sparse = before.opcode == int(Op.IMMA_SPARSE)
    assert sparse.any() and {after.mma_names[index] for index in after.mma[sparse]} == {NAME}
    require_no_marks(after)
    with pytest.raises(ConfigError, match="--extension block_scaled_mma"):
        require_no_marks(before)


def test_a_sparse_mma_as_such_is_not_simulated() -> None:
    program = assemble(["IMMA.SP.16864.S8.S8 R12, R0.ROW, R4.COL, R8, R16, 0x0", "EXIT"])
    with pytest.raises(UnsupportedInstructionError, match="sparse mma are not simulated"):
        require_no_marks(program)


def test_other_mma_do_not_become_block_scaled() -> None:
    program = load_program("fp16", "16x64", "sm_90a")
    with pytest.raises(ConfigError, match=r"encoded as IMMA.SP.16864; got 'HMMA"):
        get_extension("block_scaled_mma").modifiers(program, int(np.flatnonzero(program.mma >= 0)[0]), 0)


def test_it_takes_what_the_extension_says() -> None:
    slow = get_extension("block_scaled_mma:interval_ratio=2:latency_cycles=5")
    operands = random_operands(get_scheme("mx_w8a8"), 8, 64, 128, {}, seed=1).arrays
    (launch,) = catalog.launches("mx_w8a8", 8, 64, 128, {}, H200, "16x128", operands)
    program = slow.give_meaning(launch.program)
    trace = execute(replace(launch, program=program), launch.classes[0]).trace
    static = resolve(trace, slow.machine(H200)).static
    base = H200.sm.tensor.mma["m16n8k32.s32.s8"]
    pc = int(np.flatnonzero(program.mma == program.mma_names.index(NAME))[0])
    assert static[pc, S_INTERVAL] == pytest.approx(2 * base.interval_cycles * TICKS, abs=1)
    assert static[pc, S_ACCUMULATE] == pytest.approx((base.latency_cycles + 5) * TICKS, abs=1)


def test_its_energy_is_counted_per_mma() -> None:
    workload = Workload("mx_w8a8", 16, 128, 1024, {}, 0, 0)
    launches = catalog.launches("mx_w8a8", 16, 128, 1024, {}, H200, "16x128")
    run = simulate(workload, launches, H200, SCALED)
    tensor = 2 * 16 * 128 * 1024 * H200.energy.tensor_pj_per_op["s8"] * 1e-6
    sums = get_extension("block_scaled_mma").energy_uj(16 // 8 * 128 // 16 * 1024 // 32)
    assert sums == pytest.approx(512 * 128 * 0.1e-6)
    assert run.energy_uj > tensor + sums


def test_int4_hardware_gives_it_fp4() -> None:
    _, machine = extended([], H200, BOTH)
    names = {name for name in machine.sm.tensor.mma if "block_scaled" in name}
    assert names == {NAME, "m16n8k64.block_scaled_mma.f32.e2m1"}
    assert machine.sm.tensor.peak_ops_per_cycle["e2m1"] == 2 * machine.sm.tensor.peak_ops_per_cycle["s8"]


def test_every_quantity_has_a_unit_and_a_reason() -> None:
    for quantity in get_extension("block_scaled_mma").quantities().values():
        assert quantity.unit and quantity.rationale.startswith(("paper", "assumed", "measured", "literature"))
