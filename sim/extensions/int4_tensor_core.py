"""INT4 on Hopper's tensor cores, at twice INT8's rate, as Turing, Ampere and Ada have it: m16n8k64 of packed nibbles.

The compiler has no such instruction for sm_90: it expands PTX's ``m16n8k64.s4`` into two INT8 mma and some 190 integer
instructions. A fragment of 64 nibbles fills the same registers as one of 32 bytes (four of A, two of B, four of C, the
same lanes), so in a marked kernel ``IMMA.16832.S8.S8`` stands for ``IMMA.16864.S4.S4``: the same registers, read as
nibbles. One ``pmevent 2`` marks all mma of a kernel; the binary is that of an INT8 kernel with half as many steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.arch.spec import GpuSpec, TensorOp
from sim.errors import ConfigError
from sim.extensions._interface import MarkedExtension, Quantity, marks_of
from sim.isa import opcodes as o
from sim.isa.opcodes import Op
from sim.isa.program import Program

WIDE, NARROW = "m16n8k32.s32.s8", "m16n8k64.s32.s4"
NAMES = {
    WIDE: NARROW,
    "m16n8k64.sp.s32.s8": "m16n8k128.sp.s32.s4",
}  # sparse forms lend their operands to others
MACS_PER_SM = 4096  # 8-bit multipliers of the H200's SM: 8192 operations per cycle, the datasheet's rate
SPLIT_GATES, GATE_UM2 = 32, 0.14  # see "area"


@dataclass(frozen=True)
class Int4TensorCore(MarkedExtension):
    """An mma of twice the K takes ``interval_ratio`` of the INT8 mma's interval, ``latency_cycles`` more, in all."""

    name = "int4_tensor_core"
    mark = 2
    interval_ratio: float = 1.0
    latency_cycles: float = 0.0
    energy_ratio: float = 0.5

    def quantities(self) -> dict[str, Quantity]:
        """Return the numbers it is made of."""
        return {
            "interval": Quantity(
                self.interval_ratio,
                "intervals of the INT8 mma",
                "literature: INT4 has twice INT8's rate on Turing, Ampere and Ada (A100: 1248 and 624 TOPS)",
            ),
            "latency": Quantity(
                self.latency_cycles,
                "cycles over the INT8 mma's",
                "literature: for sm_80, 86 and 89 the compiler waits as long for IMMA.16864.S4 as for IMMA.16832.S8",
            ),
            "operation energy": Quantity(
                self.energy_ratio,
                "of an INT8 operation's",
                "assumed: twice the operations on as many operand bits; products take a quarter of the gates, but "
                "their sums and the operands' way do not, so half is the careful choice",
            ),
            "energy": Quantity(
                0.0,
                "pJ",
                "assumed: none per instruction beside its operations, which the machine's table has",
            ),
            "area": Quantity(
                MACS_PER_SM * SPLIT_GATES * GATE_UM2,
                "um2 per SM",
                "assumed: 4096 multipliers of 8 x 8 bits, each split into two of 4 x 4: 32 gates of 0.14 um2 for the "
                "signs of the low halves, multiplexers on partial products and one more input of the adder tree",
            ),
        }

    def renamed(self, mma: str) -> str:
        """Return the name that the instruction has on GPUs with INT4."""
        return NAMES[mma]

    def machine(self, gpu: GpuSpec) -> GpuSpec:
        """Return the machine with INT4 beside each INT8 rate."""
        tensor, energy = gpu.sm.tensor, gpu.energy
        if NARROW in tensor.mma:
            raise ConfigError("", f"{self.name}: {gpu.name} has {NARROW} already")
        if WIDE not in tensor.mma:
            raise ConfigError("", f"{self.name}: {gpu.name} has no {WIDE} to make one of")
        base = tensor.mma[WIDE]
        own = TensorOp(
            interval_cycles=base.interval_cycles * self.interval_ratio,
            latency_cycles=base.latency_cycles + self.latency_cycles,
        )
        peak = round(2 * tensor.peak_ops_per_cycle["s8"] / self.interval_ratio)
        tensor = tensor.model_copy(
            update={
                "mma": {**tensor.mma, NARROW: own},
                "peak_ops_per_cycle": {**tensor.peak_ops_per_cycle, "s4": peak},
            }
        )
        each = energy.tensor_pj_per_op
        energy = energy.model_copy(
            update={"tensor_pj_per_op": {**each, "s4": each["s8"] * self.energy_ratio}}
        )
        return gpu.model_copy(update={"sm": gpu.sm.model_copy(update={"tensor": tensor}), "energy": energy})

    def targets(self, program: Program) -> dict[int, list[int]]:
        """Return all integer mma of a kernel with the mark."""
        every = [int(pc) for pc in np.flatnonzero(np.isin(program.opcode, (Op.IMMA, Op.IMMA_SPARSE)))]
        return dict.fromkeys(marks_of(program, self.mark), every)

    def modifiers(self, program: Program, pc: int, immediate: int) -> int:
        """Return the modifiers of the mma with its operands read as nibbles, signed as the bytes were."""
        if program.mma_names[program.mma[pc]] not in NAMES:
            place = f"{program.name}+{16 * pc:#06x}"
            raise ConfigError("", f"{place}: {self.name} reads {WIDE} as nibbles; got {program.text[pc]!r}")
        return int(program.modifiers[pc]) | o.NIBBLES


EXTENSION = Int4TensorCore()
