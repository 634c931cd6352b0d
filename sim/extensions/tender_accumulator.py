"""An integer mma that reads its accumulator shifted left, D = A B + (C << 1): a group border of Tender (ISCA'24).

Tender's systolic array (arXiv:2406.12930) spends a cycle of every processing element on a border, because its
shifter sits behind the adder. A tensor core reads C from registers and writes D back once per instruction, so here a
row of 2:1 multiplexers stands in the path of C, and the products need not wait for it.

The kernels' marks stand in code of its own for borders, which takes time for branches and for leaving and entering the
loop, whatever the mma does. Hardware whose shift hangs on a predicate would need no such code: the variant ``ideal``
bounds it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.arch.spec import GpuSpec, TensorOp
from sim.errors import ConfigError
from sim.extensions._interface import MarkedExtension, Quantity
from sim.isa import opcodes as o
from sim.isa.opcodes import Op
from sim.isa.program import Program

MULTIPLEXER_BITS = 128 * 32  # accumulators of m16n8 times their width: what one marked mma switches


@dataclass(frozen=True)
class TenderAccumulator(MarkedExtension):
    """Marked mma take ``latency_cycles`` and ``bubble_cycles`` more, and shift by ``shift_bits``."""

    name = "tender_accumulator"
    mark = 1
    shift_bits: int = 1
    latency_cycles: float = 1.0
    bubble_cycles: float = 0.0

    def quantities(self) -> dict[str, Quantity]:
        """Return the numbers it is made of."""
        return {
            "shift": Quantity(
                self.shift_bits,
                "bits",
                "paper: scales of neighbouring groups are a factor of 2 apart, one shift",
            ),
            "latency": Quantity(
                self.latency_cycles,
                "cycles",
                "assumed: a 2:1 multiplexer fits in a stage's slack or costs one more; that is the careful choice",
            ),
            "bubble": Quantity(
                self.bubble_cycles,
                "cycles",
                "assumed: C passes the multiplexer where it is read anyway, at the same rate (the paper's array: 1)",
            ),
            "granularity": Quantity(
                1, "mma", "assumed: a bit of the instruction; all 16 x 8 accumulators of it shift alike"
            ),
            "energy": Quantity(
                MULTIPLEXER_BITS * 1e-3,
                "pJ",
                "assumed: 4096 multiplexed bits at 1 fJ, a few gate capacitances of a 5 nm class process",
            ),
            "area": Quantity(
                1300,
                "um2 per SM",
                "assumed: C of 32 lanes x 32 bits in 4 sub-cores, 4096 multiplexers of 2.25 gates of 0.14 um2",
            ),
        }

    def machine(self, gpu: GpuSpec) -> GpuSpec:
        """Return the machine with a shifted kind of each integer mma."""
        tensor = gpu.sm.tensor
        shifted = {
            self.renamed(name): TensorOp(
                interval_cycles=op.interval_cycles + self.bubble_cycles,
                latency_cycles=op.latency_cycles + self.latency_cycles + self.bubble_cycles,
            )
            for name, op in tensor.mma.items()
            if ".s32." in name
        }
        tensor = tensor.model_copy(update={"mma": {**tensor.mma, **shifted}})
        return gpu.model_copy(update={"sm": gpu.sm.model_copy(update={"tensor": tensor})})

    def modifiers(self, program: Program, pc: int, immediate: int) -> int:
        """Return the modifiers of the mma with the shift of its accumulator in them."""
        if program.opcode[pc] != int(Op.IMMA):
            place = f"{program.name}+{16 * pc:#06x}"
            raise ConfigError(
                "", f"{place}: {self.name} shifts integer accumulators; got {program.text[pc]!r}"
            )
        return int(program.modifiers[pc]) | self.shift_bits << o.ACCUMULATOR_SHIFT


EXTENSION = TenderAccumulator()
