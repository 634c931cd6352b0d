"""A decoded kernel: columns of integers, one row per static instruction."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

I32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Param:
    """One kernel parameter in constant bank 0."""

    offset: int  # from the parameter base
    size: int


@dataclass(frozen=True)
class Operand:
    """One decoded operand; the executors read these through integer columns (``Program.operands``)."""

    kind: int
    value: int
    flags: int


@dataclass(frozen=True, eq=False)
class Program:
    """One kernel of one cubin.

    Shapes: every int32 column has one entry per static instruction (n); ``operands`` is int64[n, slots, 3]
    (kind, value, flags). ``identity`` is the SHA-256 of the cubin and the kernel's name: they determine the rest.
    """

    name: str
    target: str  # "sm_90a"
    identity: str
    toolkit: str  # the compiler's version, "nvrtc 13.5.37"
    registers: int  # per thread, as the compiler allocated them
    static_shared_bytes: int
    params: tuple[Param, ...]
    param_base: int
    constants: dict[int, bytes]  # constant banks that travel with the program
    text: tuple[str, ...]  # disassembly, one line per instruction
    source_line: I32  # line in the CUDA source, 0 where unknown
    # what the executors need
    opcode: I32  # sim.isa.opcodes.Op
    modifiers: npt.NDArray[np.int64]  # packed sub-operation, meaning depends on the opcode
    operands: npt.NDArray[np.int64]
    guard: I32  # predicate register 0-7 (7 = always), +8 if negated, +16 if uniform
    # what the timing engine needs
    unit: I32  # sim.isa.units.Unit
    mma: I32  # index into mma_names for Unit.TENSOR, else -1
    mma_names: tuple[str, ...]  # "m16n8k16.f32.f16"
    stall: I32
    yields: I32
    write_counter: I32  # dependence counter, 7 = none
    read_counter: I32
    wait_mask: I32
    reuse: I32
    argument: I32  # COPY_WAIT: counter * 64 + threshold; BARRIER: barrier number
    register_reads: npt.NDArray[np.int16]  # [n, 3] general registers read by operand slots A, B, C; -1 = none
    source_name: str = ""
    cubin: bytes = field(default=b"", repr=False)

    def __len__(self) -> int:
        """Return the number of static instructions."""
        return int(self.opcode.shape[0])
