"""What an extension is: other numbers of a machine, or a meaning for marked instructions; a reason for each number."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from sim.arch.spec import GpuSpec
from sim.errors import ConfigError, unknown
from sim.isa.opcodes import Op
from sim.isa.program import Program
from sim.isa.units import Unit

WARPGROUP = "wgmma."  # begins the names of a warpgroup's operations
MULTIPLIES = (Unit.TENSOR, Unit.WGMMA)
IMMEDIATE_SHIFT = 8  # of a mark's mask: below, the extension's bit; from there on, what it says to it
NAMES = (1 << IMMEDIATE_SHIFT) - 1


@dataclass(frozen=True)
class Quantity:
    """A number that stands for hardware nobody has built, and why it is what it is."""

    value: float
    unit: str
    rationale: str


@dataclass(frozen=True)
class Extension(ABC):
    """Hardware that a machine may have. What serves every kernel only changes the machine's numbers."""

    name: ClassVar[str]
    order: ClassVar[int] = 0  # of several extensions the lower is applied first: operands before accumulators

    def with_settings(self, settings: Mapping[str, str]) -> Self:
        """Return the extension with other numbers, given as text."""
        known = {each.name: each for each in fields(self)}
        for field, text in settings.items():
            if field not in known:
                raise unknown(f"number of {self.name}", field, known)
            value = _number(text)
            if value is None or (known[field].type == "int" and value % 1):
                kind = "a whole number" if known[field].type == "int" else "a number"
                raise ConfigError(
                    "", f"{self.name}: {field}: got {text[:60]!r}, allowed: {kind} from 0 to 1000"
                )
        numbers: dict[str, Any] = {
            field: int(text) if known[field].type == "int" else float(text)
            for field, text in settings.items()
        }
        return replace(self, **numbers)

    @abstractmethod
    def quantities(self) -> dict[str, Quantity]:
        """Return the numbers it is made of."""

    @abstractmethod
    def machine(self, gpu: GpuSpec) -> GpuSpec:
        """Return ``gpu`` with this hardware in it."""

    def give_meaning(self, program: Program) -> Program:
        """Return the program as it is on a machine with this hardware."""
        return program

    def energy_uj(self, marked: float) -> float:
        """Return the energy of what it does in a kernel, over what that takes without it."""
        return 0.0


@dataclass(frozen=True)
class MarkedExtension(Extension):
    """Hardware that kernels ask for, by marks: ``pmevent`` before the instruction whose meaning it changes.

    ``pmevent N`` names the extension; ``pmevent.mask`` with bit N may say more in the bits from IMMEDIATE_SHIFT on.
    Meanings are given before a run: the marked instruction gets other modifiers, which the executor and its twin
    know, and another name in the machine's table, by which the engine finds its cost. Where a whole kernel's
    instructions are meant (``targets``), one mark does: a mark before each would keep the compiler from interleaving
    them with others.
    """

    mark: ClassVar[int]  # N, below IMMEDIATE_SHIFT

    def renamed(self, mma: str) -> str:
        """Return the name of a marked operation: ``m16n8k32.NAME.s32.s8``, ``wgmma.m64n8k32.NAME.s32.s8.ss``."""
        group = WARPGROUP if mma.startswith(WARPGROUP) else ""
        shape, _, types = mma.removeprefix(group).partition(".")
        return f"{group}{shape}.{self.name}.{types}"

    def targets(self, program: Program) -> dict[int, list[int]]:
        """Return the instructions that each mark changes: the next mma."""
        return {mark: [pc] for mark, pc in marked_instructions(program, self.mark).items()}

    @abstractmethod
    def modifiers(self, program: Program, pc: int, immediate: int) -> int:
        """Return the modifiers of the marked instruction ``pc``, or raise ConfigError if it cannot be changed."""

    def give_meaning(self, program: Program) -> Program:
        """Return the program with this extension's marks resolved; they cost nothing but their issue slots."""
        targets = self.targets(program)
        if not targets:
            return program
        changed, columns, names = program.modifiers.copy(), program.mma.copy(), list(program.mma_names)
        opcode, stall = program.opcode.copy(), program.stall.copy()
        for mark, found in targets.items():
            opcode[mark], stall[mark] = int(Op.NOP), 1
            immediate = int(program.operands[mark, 0, 1]) >> IMMEDIATE_SHIFT
            for pc in found:
                changed[pc] = self.modifiers(program, pc, immediate)
                name = self.renamed(program.mma_names[program.mma[pc]])
                if name not in names:
                    names.append(name)
                columns[pc] = names.index(name)
            if len(found) == 1:
                stall[_fillers(program, mark, found[0])] = 1
        used = sorted(set(columns[columns >= 0].tolist()))
        columns[columns >= 0] = np.searchsorted(used, columns[columns >= 0])
        identity = hashlib.sha256(f"{program.identity}+{self!r}".encode()).hexdigest()
        return replace(
            program,
            identity=identity,
            opcode=opcode,
            stall=stall,
            modifiers=changed,
            mma=columns,
            mma_names=tuple(names[index] for index in used),
        )

    def energy_uj(self, marked: float) -> float:
        """Return the energy of so many marked blocks of 16 x 8 accumulators, over what they take without the mark."""
        return marked * self.quantities()["energy"].value * 1e-6


def _number(text: str) -> float | None:
    """Read a number from 0 to 1000."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1000 else None


def marks_of(program: Program, mark: int) -> list[int]:
    """Return where ``pmevent mark`` stands."""
    names = program.operands[:, 0, 1] & NAMES
    return [int(pc) for pc in np.flatnonzero((program.opcode == int(Op.MARKER)) & (names == 1 << mark))]


def marked_instructions(program: Program, mark: int) -> dict[int, int]:
    """Return the tensor instruction of each mark, a warp's or a warpgroup's.

    Mark and instruction are one statement, but the assembler may put other mma between them.
    """
    found: dict[int, int] = {}
    for at in marks_of(program, mark):
        pc = _tensor_instruction(program, at)
        if pc is None or pc in found.values():
            raise ConfigError("", f"{program.name}+{16 * at:#06x}: no mma of its own follows the mark")
        found[at] = pc
    return found


def _tensor_instruction(program: Program, mark: int) -> int | None:
    """Return the next tensor instruction of a mark's line, before another mark or a branch.

    Without lines it is the next one; so it is of a warpgroup's, which bear a neighbour's line.
    """
    line = int(program.source_line[mark])
    for pc in range(mark + 1, len(program)):
        unit = program.unit[pc]
        if unit == Unit.WGMMA or (unit == Unit.TENSOR and line in (0, program.source_line[pc])):
            return pc
        if unit in (Unit.BRANCH, Unit.EXIT) or program.opcode[pc] == int(Op.MARKER):
            return None
    return None


def _fillers(program: Program, mark: int, pc: int) -> list[int]:
    """Return the never-executed instructions by which the compiler lets the tensor cores run dry at a mark.

    They stand before it, or behind the marked instruction where the next mark follows.
    """
    before, behind = mark - 1, pc + 1
    while before >= 0 and _is_filler(program, before):
        before -= 1
    while behind < len(program) and _is_filler(program, behind):
        behind += 1
    return [*range(before + 1, mark), *range(pc + 1, behind)]


def _is_filler(program: Program, pc: int) -> bool:
    return program.text[pc].startswith("@!UPT UIADD3 URZ")
