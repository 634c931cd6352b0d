"""An mma whose operands have a power-of-two scale per 32 elements of K, as on newer GPUs: what Tender competes with.

Definition of ``m16n8k32.block_scaled_mma.f32.s8``, with signed bytes a[16][32], b[32][8] and E8M0 scales ea[16], eb[8],
which stand for 2^(e - 127), 255 for NaN (OCP Microscaling 1.0):

    d[i][j] = fp32(c[i][j] + 2^(ea[i] + eb[j] - 254) * sum over k of a[i][k] * b[k][j])

The sum of integers and its scaling are exact; there is one rounding, to nearest even, per block of 32. Where the
kernel's bytes are pairs of nibbles (``int4_tensor_core`` beside it) k is 64: two blocks, one after the other, with a
rounding and a byte of scales each; and the elements are the standard's FP4, E2M1: 0, 0.5, 1, 1.5, 2, 3, 4 and 6 with a
sign in the highest bit. That is MXINT8 and MXFP4. Newer GPUs (PTX: ``mma.sync...kind::mxf8f6f4.block_scale``) have FP8
and FP6 too; how they round sums is not published.

It needs operands that a dense mma has no place for. ``mma.sp`` has: in a kernel with ``pmevent 3``, each
``IMMA.SP.16864`` is such an mma. Its A (four registers) is a's fragment; of its B (four) the lower pair is b's, or the
upper pair if it saturates; its metadata holds the scales, as PTX has them, four bytes for four blocks of K, with lanes
4g and 4g + 1 giving rows g and g + 8 and lanes 4g + 2 and 4g + 3 column g of the lower and of the upper pair; and its
operands' unsignedness says which byte, 1 if A's is and 2 more if B's is; a second block takes the byte behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sim.arch.spec import GpuSpec, TensorOp
from sim.errors import ConfigError
from sim.extensions._interface import MarkedExtension, Quantity, marks_of
from sim.isa import opcodes as o
from sim.isa.opcodes import Op
from sim.isa.program import Program

SPARSE = ".sp.s32."
BASES = {
    "m16n8k32.block_scaled_mma.f32.s8": "m16n8k32.s32.s8",
    "m16n8k64.block_scaled_mma.f32.e2m1": "m16n8k64.s32.s4",
}
DENSE_STALL = 6  # cycles from an IMMA.16832 to the next in code for sm_90; sparse ones have 8
SUMS = 16 * 8  # block sums of one mma
SUMS_PER_CYCLE = 128  # of an SM: 4096 multiply-adds, 32 of them in each
SUM_GATES, GATE_UM2 = 210, 0.14  # see "area"


@dataclass(frozen=True)
class BlockScaledMma(MarkedExtension):
    """Such an mma has ``interval_ratio`` of the integer mma's interval and takes ``latency_cycles`` more."""

    name = "block_scaled_mma"
    mark = 3
    order = 1
    interval_ratio: float = 1.0
    latency_cycles: float = 2.0

    def quantities(self) -> dict[str, Quantity]:
        """Return the numbers it is made of."""
        return {
            "interval": Quantity(
                self.interval_ratio,
                "intervals of the integer mma",
                "literature: Blackwell's datasheets give block-scaled types the rate of unscaled ones of as many bits",
            ),
            "latency": Quantity(
                self.latency_cycles,
                "cycles over the integer mma's",
                "assumed: one stage adds exponents and aligns the block's sum, one more adds it in FP32; without that "
                "the H200's FP32 and INT32 mma take equally long",
            ),
            "granularity": Quantity(32, "elements of K", "paper: OCP Microscaling 1.0, blocks of 32"),
            "operation energy": Quantity(
                1.0,
                "of an integer operation's of as many bits",
                "assumed: INT8's is the same; a product of FP4 numbers is one of 5-bit integers, taken for INT4's",
            ),
            "energy": Quantity(
                SUMS * 0.1,
                "pJ",
                "literature: Horowitz, ISSCC 2014: an FP32 addition takes 0.8 pJ more than an INT32 one in 45 nm; "
                "assumed: an eighth of it in a 5 nm class process, for each of 128 sums; FP4's second 128 are left out",
            ),
            "area": Quantity(
                SUMS_PER_CYCLE * SUM_GATES * GATE_UM2,
                "um2 per SM",
                "assumed: for each of 128 block sums per cycle 60 gates of 0.14 um2 to add exponents and 150 to "
                "normalize 20 bits; the FP32 adders are those of the FP16 mma",
            ),
        }

    def renamed(self, mma: str) -> str:
        """Return the name of a marked mma in the machine's table."""
        return f"m16n8k64.{self.name}.f32.e2m1" if mma.endswith(".s4") else f"m16n8k32.{self.name}.f32.s8"

    def machine(self, gpu: GpuSpec) -> GpuSpec:
        """Return the machine with a block-scaled kind of the integer mma that it has."""
        tensor = gpu.sm.tensor
        scaled = {
            name: TensorOp(
                interval_cycles=tensor.mma[base].interval_cycles * self.interval_ratio,
                latency_cycles=tensor.mma[base].latency_cycles + self.latency_cycles,
            )
            for name, base in BASES.items()
            if base in tensor.mma
        }
        peak, each = tensor.peak_ops_per_cycle, gpu.energy.tensor_pj_per_op
        if "s4" in peak:
            peak, each = {**peak, "e2m1": peak["s4"]}, {**each, "e2m1": each["s4"]}
        tensor = tensor.model_copy(update={"mma": {**tensor.mma, **scaled}, "peak_ops_per_cycle": peak})
        energy = gpu.energy.model_copy(update={"tensor_pj_per_op": each})
        return gpu.model_copy(update={"sm": gpu.sm.model_copy(update={"tensor": tensor}), "energy": energy})

    def targets(self, program: Program) -> dict[int, list[int]]:
        """Return all sparse integer mma of a kernel with the mark."""
        every = [int(pc) for pc in np.flatnonzero(program.opcode == int(Op.IMMA_SPARSE))]
        return dict.fromkeys(marks_of(program, self.mark), every)

    def give_meaning(self, program: Program) -> Program:
        """Return the program with its marks resolved, its mma spaced as the compiler spaces dense ones."""
        found = super().give_meaning(program)
        mine = np.isin(
            np.arange(len(program)), [pc for each in self.targets(program).values() for pc in each]
        )
        return replace(found, stall=np.where(mine, np.minimum(found.stall, DENSE_STALL), found.stall))

    def modifiers(self, program: Program, pc: int, immediate: int) -> int:
        """Return the modifiers that say what the sparse form encodes."""
        if SPARSE not in program.mma_names[program.mma[pc]]:
            place = f"{program.name}+{16 * pc:#06x}"
            raise ConfigError(
                "", f"{place}: {self.name} is encoded as IMMA.SP.16864; got {program.text[pc]!r}"
            )
        encoded = int(program.modifiers[pc])
        byte = (not encoded & o.FIRST_SIGNED) + 2 * (not encoded & o.SECOND_SIGNED)
        upper = o.UPPER_PAIR if encoded & o.SATURATE else 0
        elements = o.E2M1 if encoded & o.NIBBLES else o.FIRST_SIGNED | o.SECOND_SIGNED
        return o.BLOCK_SCALED | elements | upper | byte << o.SCALE_BYTE_SHIFT


EXTENSION = BlockScaledMma()
