"""Run one warp of a hand-written program in the executor and in its twin, from the same random state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.exec import image, state
from sim.exec.execute import Execution, execute, instruction_columns
from sim.exec.interpreter import STOPPED, run_warp
from sim.exec.reference import Reference, execute_reference, special_registers
from sim.exec.reference_state import Group, Warp
from sim.extensions import with_extensions
from sim.isa import opcodes as o
from sim.isa.forms import Form, forms
from sim.isa.launch import Buffer, CtaClass, KernelLaunch
from sim.isa.opcodes import Op
from sim.isa.program import Program
from sim.isa.synthetic import assemble
from sim.isa.units import Unit

Array = npt.NDArray[Any]
CONSTANT_BYTES, SHARED_BYTES, BUFFER_BYTES = 1024, 4096, 4096
COLUMNS = "pc lanes lines sectors misses taken buffer mbarrier phase arrivals tx mbarriers".split()  # noqa: SIM905
CONTROL = {
    Op.BRA, Op.EXIT, Op.BSSY, Op.BSYNC, Op.BREAK, Op.WARPSYNC, Op.BAR, Op.CALL, Op.RET, Op.MBARRIER_WAIT, Op.WGMMA_WAIT,
}  # fmt: skip
# Their operands depend on each other: test_asynchronous.py
ASYNCHRONOUS = {
    Op.HGMMA, Op.IGMMA, Op.TENSOR_LOAD, Op.TENSOR_STORE, Op.BULK_LOAD, Op.BULK_STORE,
    Op.MBARRIER_INIT, Op.MBARRIER_ARRIVE,
}  # fmt: skip
WHOLE_WARP = {Op.HMMA, Op.IMMA, Op.IMMA_SPARSE, Op.LDSM, Op.STSM}
MARKED = {Op.IMMA_SPARSE}  # has a meaning only by an extension: tests/unit/extensions

# Registers 0-39 are results and data; these hold addresses and are never written:
SHARED_REGISTER, GLOBAL_REGISTER, LOCAL_REGISTER, INDEX_REGISTER = 42, 44, 46, 48

INTERESTING = np.array(
    [
        0, 1, 2, 3, 7, 8, 31, 32, 33, 63, 64, 127, 255, 256, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF, 0xFFFFFFFE,
        0x3F800000, 0xBF800000, 0x3F000000, 0x7F800000, 0xFF800000, 0x7FFFFFFF, 0x7F7FFFFF, 0x00800000, 0x007FFFFF,
        0x33800000, 0x4B000000, 0x4F000000, 0xCF000000, 0x4F7FFFFF, 0x40200000, 0x7BFF7BFF, 0x3C003C00, 0x04000400,
        0x00010001, 0x03FF8001, 0x7C00FC00, 0x00007E00, 0x3C01BC01, 0x477FE000, 0x477FF000, 0x38800000, 0x33000001,
    ],
    np.uint32,
)  # fmt: skip


def mixed_words(rng: np.random.Generator, count: int) -> Array:
    """Words that are random bits, numbers of every format near each other, or corner cases."""
    single = rng.standard_normal(count) * 2.0 ** rng.integers(-12, 12, count)
    half = rng.standard_normal(2 * count) * 2.0 ** rng.integers(-8, 8, 2 * count)
    choices = [
        rng.integers(0, 1 << 32, count, dtype=np.uint32),
        single.astype(np.float32).view(np.uint32),
        half.astype(np.float16).view(np.uint32),
        rng.choice(INTERESTING, count),
        rng.integers(-40, 40, count).astype(np.int32).view(np.uint32),
    ]
    return np.choose(rng.integers(0, len(choices), count), choices).astype(np.uint32)


@dataclass(frozen=True)
class Outcome:
    """Everything an execution leaves behind."""

    general: Array
    uniform: Array
    predicates: Array
    uniform_predicates: Array
    flat: Array
    shared: Array
    local: Array
    rows: Array  # every column of the trace but the pattern
    patterns: Array


@dataclass(frozen=True)
class Start:
    """A random state of one warp."""

    general: Array
    uniform: Array
    predicates: Array
    uniform_predicates: Array
    shared: Array

    @classmethod
    def random(cls, rng: np.random.Generator) -> Start:
        """Fill every register with corner cases, and the address registers with legal addresses."""
        general = mixed_words(rng, 256 * 32).reshape(256, 32)
        general[o.RZ] = 0
        general[SHARED_REGISTER] = 0x400 + 16 * rng.integers(0, SHARED_BYTES // 32, 32)
        general[GLOBAL_REGISTER] = 16 * rng.integers(0, BUFFER_BYTES // 32, 32)
        general[GLOBAL_REGISTER + 1] = rng.integers(0x7000, 0x7002, 32)
        general[LOCAL_REGISTER] = 0xFFFDC0 - 512 + 16 * rng.integers(0, 16, 32)
        general[INDEX_REGISTER] = 8 * rng.integers(0, 64, 32)
        uniform = mixed_words(rng, 64)
        uniform[8:14] = [0x20, 0, 0x40, 0, 0x18, 0]
        uniform[o.URZ] = 0
        predicates = rng.integers(0, 2, (8, 32)).astype(np.uint8)
        uniform_predicates = rng.integers(0, 2, 8).astype(np.uint8)
        predicates[o.PT] = uniform_predicates[o.PT] = 1
        return cls(
            general,
            uniform,
            predicates,
            uniform_predicates,
            rng.integers(0, 256, SHARED_BYTES, dtype=np.uint8),
        )


def launch_of(program: Program, rng: np.random.Generator, threads: int = 32) -> KernelLaunch:
    """Return a launch of one CTA with two buffers of random words."""
    buffers = tuple(
        Buffer(name, BUFFER_BYTES, "output", mixed_words(rng, BUFFER_BYTES // 4)) for name in ("x", "y")
    )
    return KernelLaunch(program, (1, 1, 1), (threads, 1, 1), 0, (), buffers, (CtaClass((0, 0, 0), 1),))


def program_of(lines: Sequence[str], seed: int = 0) -> Program:
    """Assemble lines with a random constant bank 3; an EXIT is added."""
    bank = np.random.default_rng(seed).integers(0, 256, CONSTANT_BYTES, dtype=np.uint8).tobytes()
    return assemble([*lines, "EXIT"], constants={3: bank}, static_shared_bytes=SHARED_BYTES)


def run_executor(launch: KernelLaunch, start: Start) -> Outcome:
    """Run the compiled executor."""
    registers = state.build_registers(launch, (0, 0, 0))
    memory = image.build_memory(launch, launch.classes[0])
    registers.general[0] = start.general
    registers.uniform[0] = start.uniform
    registers.predicates[0] = start.predicates
    registers.uniform_predicates[0] = start.uniform_predicates
    memory.shared[-SHARED_BYTES:] = start.shared
    recorder = state.build_recorder(1, 1024, 512)
    fault = np.zeros(4, np.int64)
    status = run_warp(
        0, *instruction_columns(launch.program), registers, memory, recorder,
        state.build_folder(1, False), state.build_scratch(), fault,
    )  # fmt: skip
    assert status == STOPPED, f"fault {fault} at {launch.program.text[fault[1]]}"
    rows = recorder.rows[0, : recorder.count[0]]
    patterns = recorder.patterns[rows[rows[:, state.PATTERN] >= 0, state.PATTERN]]
    return Outcome(
        registers.general[0], registers.uniform[0], registers.predicates[0], registers.uniform_predicates[0],
        memory.flat, memory.shared, memory.local, np.delete(rows, state.PATTERN, axis=1), patterns,
    )  # fmt: skip


def run_twin(launch: KernelLaunch, start: Start) -> Outcome:
    """Run the readable twin."""
    memory = image.build_memory(launch, launch.classes[0])
    memory.shared[-SHARED_BYTES:] = start.shared
    mask = np.arange(32) < launch.threads
    warp = Warp(0, memory, special_registers(launch, (0, 0, 0)), [Group(0, mask)], ~mask)
    warp.general[:], warp.uniform[:] = start.general, start.uniform
    warp.predicates[:], warp.uniform_predicates[:] = (
        start.predicates.astype(bool),
        start.uniform_predicates.astype(bool),
    )
    run = Reference(launch, memory, [warp], [[]])
    run.run()
    trace = run.trace()
    names = "pc lanes lines sectors misses taken buffer mbarrier phase arrivals tx"
    columns = [getattr(trace, name) for name in names.split()]
    patterns = trace.patterns[trace.pattern[trace.pattern >= 0]]
    return Outcome(
        warp.general, warp.uniform, warp.predicates.astype(np.uint8), warp.uniform_predicates.astype(np.uint8),
        memory.flat, memory.shared, memory.local, np.stack(columns, axis=1), patterns,
    )  # fmt: skip


def run_both(launch: KernelLaunch) -> Execution:
    """Run a CTA in the executor and in the twin, assert that all is equal, return the executor's."""
    ours, twin = execute(launch, launch.classes[0], fold=False), execute_reference(launch, launch.classes[0])
    np.testing.assert_array_equal(ours.memory.flat, twin.memory.flat)
    np.testing.assert_array_equal(ours.memory.shared, twin.memory.shared)
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(ours.trace, column), getattr(twin.trace, column), column)
    return ours


def assert_same(a: Outcome, b: Outcome, text: str, nans: bool = False) -> None:
    """Compare two outcomes bit for bit; with ``nans`` any NaN equals any other."""
    for name in ("predicates", "uniform", "uniform_predicates", "rows", "patterns", "shared", "local"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), f"{name} after\n{text}")
    for name in ("general", "flat"):
        left, right = (np.ascontiguousarray(getattr(each, name)).view(np.uint32) for each in (a, b))
        if nans:
            left, right = (np.where(is_nan(each), np.uint32(0x7FFFFFFF), each) for each in (left, right))
        np.testing.assert_array_equal(left, right, f"{name} after\n{text}")


def is_nan(words: Array) -> Array:
    """Return which words are NaN as FP32, or have a NaN half."""
    single = (words & 0x7FFFFFFF) > 0x7F800000
    halves = ((words & 0x7FFF) > 0x7C00) | ((words >> 16 & 0x7FFF) > 0x7C00)
    return np.asarray(single | halves)


def compare(
    lines: Sequence[str], seed: int, threads: int = 32, nans: bool = False, extensions: tuple[str, ...] = ()
) -> Outcome:
    """Run lines in both from the same random state, assert equality, return the executor's outcome."""
    rng = np.random.default_rng(seed)
    launch = launch_of(with_extensions(program_of(lines, seed), extensions), rng, threads)
    start = Start.random(rng)
    outcome = run_executor(launch, start)
    assert_same(outcome, run_twin(launch, start), "\n".join(lines), nans)
    return outcome


# ---------------------------------------------------------------------------------------------- random instructions


def opcodes_of(operation: Op) -> list[str]:
    """Return the white-listed opcodes of one operation."""
    return [opcode for opcode, form in forms().items() if form.op == operation]


def random_line(rng: np.random.Generator, opcode: str) -> str:
    """Return an instruction of this opcode with random operands, flags and guard."""
    form = forms()[opcode]
    return _Line(rng, opcode, form).text()


@dataclass(frozen=True)
class _Line:
    rng: np.random.Generator
    opcode: str
    form: Form

    @property
    def uniform(self) -> bool:
        return self.form.unit == Unit.UNIFORM

    def pick(self, *choices: str) -> str:
        return choices[int(self.rng.integers(len(choices)))]

    def below(self, end: int) -> int:
        return int(self.rng.integers(end))

    def text(self) -> str:
        operands = []
        for letter in filter(None, self.form.signature.split(",")):
            if letter.endswith("?") and self.below(2) and not self.always_present(letter):
                continue
            operands.append(self.operand(letter[0], len(operands)))
        return f"{self.guard()} {self.opcode} {', '.join(operands)}".strip()

    def always_present(self, letter: str) -> bool:
        """Return whether an optional operand may not be left out: a carry that .X reads, LEA.HI.X's."""
        return letter == "p?" and ".X" in self.opcode

    def guard(self) -> str:
        if self.form.op in WHOLE_WARP or self.below(2):
            return ""
        bank = "UP" if self.uniform and not self.opcode.startswith("VOTEU") else "P"
        return f"@{self.pick('', '!')}{bank}{self.below(7)}"

    def operand(self, letter: str, index: int) -> str:
        return str(getattr(self, f"_{letter}")(index))

    def _d(self, index: int) -> str:
        if self.uniform or self.opcode in ("S2UR", "R2UR", "ELECT") or self.form.op == Op.REDUX:
            return self.pick("URZ", f"UR{16 + 2 * self.below(20)}")
        return self.pick("RZ", *[f"R{4 * self.below(10)}"] * 4, f"R{self.odd_register()}")

    def odd_register(self) -> int:
        """Return any data register where the result is one word."""
        wide = self.form.op in WHOLE_WARP | {Op.IMAD, Op.LDC, Op.S2R, Op.LDS, Op.LDG, Op.LDL}
        return 4 * self.below(10) if wide else self.below(40)

    def _D(self, index: int) -> str:  # noqa: N802
        bank = "UP" if self.uniform or self.form.op == Op.SET_REGISTERS else "P"
        return f"{bank}{self.pick('T', str(self.below(7)))}"

    def _u(self, index: int) -> str:
        return "[UR10]"

    def _p(self, index: int) -> str:
        bank = "UP" if self.uniform and not self.opcode.startswith("VOTEU") else "P"
        return f"{self.pick('', '!')}{bank}{self.pick('T', str(self.below(7)))}"

    def _r(self, index: int) -> str:
        if self.form.op in (Op.HMMA, Op.IMMA, Op.IMMA_SPARSE) and index == 0:
            return f"R{4 * self.below(10)}"
        return self.pick("RZ", f"R{4 * self.below(10)}", f"R{4 * self.below(10)}")

    def _s(self, index: int) -> str:
        register = f"UR{2 * self.below(30)}" if self.uniform else f"R{2 * self.below(20)}"
        zero = "URZ" if self.uniform else "RZ"
        flagged = self.pick("", "", "-", "~") + register
        if self.form.op == Op.IMAD and (".WIDE" in self.opcode or ".HI" in self.opcode):
            return self.pick(register, register, zero)
        if self.form.op == Op.IADD3 and ".X" in self.opcode:
            flagged = self.pick("", "~") + register
        small = f"{self.below(70):#x}"
        word = f"{int(mixed_words(self.rng, 1)[0]):#x}"
        return self.pick(
            flagged, flagged, register, zero, small, word, self.constant(), f"UR{2 * self.below(30)}"
        )

    def _f(self, index: int) -> str:
        register = f"{self.pick('', '-')}{self.pick('R{}', '|R{}|').format(self.below(40))}"
        number = self.pick("1", "-0.5", "+INF", "-INF", "QNAN", "1.1754943508222875e-38", "12582913", "0.1")
        return self.pick(register, register, register, number, self.constant(), "RZ", f"-UR{self.below(60)}")

    def _h(self, index: int) -> str:
        half = self.pick("", "", ".H0_H0", ".H1_H1")
        body = self.pick("R{}" + half, "|R{}|" + half).format(self.below(40))
        immediate = index == len(self.form.signature.split(",")) - 1
        pair = (
            f"{self.pick('1', '-0.5', '65504', '6.103515625e-05')}, {self.pick('2', '-QNAN', '+INF', '-0')}"
        )
        return self.pick(
            *[self.pick("", "-") + body] * 4, pair if immediate and "F32" not in self.opcode else "RZ"
        )

    def _i(self, index: int) -> str:
        limit = {Op.LEA: 32, Op.P2R: 128, Op.R2P: 128, Op.MOV: 16, Op.LOP3: 256, Op.PLOP3: 256}.get(
            self.form.op, 4
        )
        return f"{self.below(limit):#x}"

    def _S(self, index: int) -> str:  # noqa: N802
        return self.pick(*o.SPECIAL_REGISTERS)

    def constant(self) -> str:
        return f"c[0x3][{8 * self.below(CONSTANT_BYTES // 8):#x}]"

    def _c(self, index: int) -> str:
        if self.uniform:
            return self.pick(self.constant(), f"c[0x3][UR12+{8 * self.below(8):#x}]")
        return self.pick(
            self.constant(), f"c[0x3][R{INDEX_REGISTER}]", f"c[0x3][R{INDEX_REGISTER}+{8 * self.below(8):#x}]"
        )

    def _m(self, index: int) -> str:
        offset = 16 * self.below(8)
        if self.form.op in (Op.LDL, Op.STL):
            return f"[R{LOCAL_REGISTER}+{offset:#x}]"
        base = f"[R{SHARED_REGISTER}"
        return self.pick(
            f"{base}]", f"{base}+{offset:#x}]", f"{base}+UR8+{offset:#x}]", f"[UR10+{0x500 + offset:#x}]"
        )

    def _g(self, index: int) -> str:
        base = f"desc[UR4][R{GLOBAL_REGISTER}.64"
        return self.pick(f"{base}]", f"{base}+{16 * self.below(8):#x}]", f"{base}+UR8]")

    def _k(self, index: int) -> str:
        return "SB0"

    def _n(self, index: int) -> str:
        return "PR"

    def _B(self, index: int) -> str:  # noqa: N802
        return f"B{self.below(8)}"
