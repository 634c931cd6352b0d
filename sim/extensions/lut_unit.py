"""A table look-up beside the tensor core: codes and scales in, the A operand of the next mma out, in one instruction.

Two kinds of hardware could take the look-ups off shared memory. LUT Tensor Core (arXiv:2408.06003) precomputes tables
of the *activations*' partial sums and indexes them with planes of binary-coded weights: it needs weights that are sums
of signs, tables for every tile of tokens, and accumulates without a multiplier. FLUTE's weights are *codes of any
table* (NF4, fitted values), which are no such sums, and its kernels have tokens enough for the tensor core's
multipliers. So this unit decodes: it turns codes into values on their way to the tensor core, which stays as it is.
FLUTE's authors wish for that (arXiv:2407.10960: dynamic indexing of registers).

The instruction has the shape of an mma.m16n8k16, so that compiled kernels can hold its place. A: a lane's codes of 16
rows x 64 columns, as one load brings them (16 bytes at 4 bits); the mark says which 16 columns, and how many bits a
code has. B: the scales of rows g and g + 8, for either half of the columns. C: the table, 16 halves along the lanes of
a register; no state beside the registers, so any warp has any table at any time. D: table[code] * scale, rounded to
half as HMUL2 does, laid out as the mma takes its A operand: the bits that look-ups in shared memory give.

The mma itself has no operand left for scale and table, and would look up again for every 8 tokens: hence an instruction
of its own. It takes the tensor core's place at the register file and in issuing, and no mma begins meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.arch.spec import GpuSpec, TensorOp
from sim.errors import ConfigError
from sim.extensions._interface import MarkedExtension, Quantity
from sim.isa import opcodes as o
from sim.isa.opcodes import RZ, Op
from sim.isa.program import Program

MMA = "m16n8k16.f32.f16"  # whose shape the instruction has
OPERAND = "m16n0k16"  # what it makes: rows and columns of A, multiplied with nothing
CODES = 16 * 16  # that one instruction looks up
ENTRIES, ENTRY_BITS = 16, 16
STEP_BITS = 2  # of the mark's immediate; the bits of a code above
CODE_BITS = (4, 3, 2)

# A 2:1 multiplexer: 2.25 gates of 0.14 um2 and 1 fJ a bit, in a 5 nm class process. A half
# multiplier: 1640 um2 and 1.1 pJ in 45 nm (Horowitz, ISSCC'14), taken to be 1/30 and 1/6 of that.
MULTIPLEXER_UM2, MULTIPLEXER_PJ = 2.25 * 0.14, 1e-3
MULTIPLIER_UM2, MULTIPLIER_PJ = 1640 / 30, 1.1 / 6
SUB_CORES = 4


@dataclass(frozen=True)
class LutUnit(MarkedExtension):
    """Look-ups start every ``interval_cycles`` on a sub-core and are readable after ``latency_cycles``."""

    name = "lut_unit"
    mark = 4
    interval_cycles: float = 4.0
    latency_cycles: float = 16.0

    def quantities(self) -> dict[str, Quantity]:
        """Return the numbers it is made of."""
        lanes = math.ceil(CODES / self.interval_cycles) if self.interval_cycles else CODES
        selection = (ENTRIES - 1) * ENTRY_BITS  # 2:1 multiplexers that choose one entry
        return {
            "interval": Quantity(
                self.interval_cycles,
                "cycles",
                "assumed: it writes four registers, one a cycle as everything else; m16n8k8 does too, every 4.1 cycles",
            ),
            "latency": Quantity(
                self.latency_cycles,
                "cycles",
                "assumed: m16n8k8's, measured on the H200: as many registers read and written, and one multiplication "
                "behind a choice instead of eight and their sum",
            ),
            "entries": Quantity(
                ENTRIES,
                "halves",
                "paper: FLUTE's tables have 2^b entries, b up to 4; 8 lanes of a register hold them",
            ),
            "energy": Quantity(
                CODES * (selection * MULTIPLEXER_PJ + MULTIPLIER_PJ),
                "pJ",
                "assumed: 256 codes, for each 15 multiplexers of 16 bits at 1 fJ a bit and a half multiplication of "
                "1.1 pJ / 6 (Horowitz, ISSCC'14: 45 nm); its fetch and operands count as any instruction's",
            ),
            "area": Quantity(
                SUB_CORES * lanes * (selection * MULTIPLEXER_UM2 + MULTIPLIER_UM2),
                "um2 per SM",
                f"assumed: in 4 sub-cores {lanes} look-ups a cycle, each 240 one-bit multiplexers of 2.25 gates of "
                "0.14 um2 and a half multiplier of 1640 um2 / 30 (Horowitz, ISSCC'14: 45 nm)",
            ),
        }

    def renamed(self, mma: str) -> str:
        """Return the name of a look-up in the machine's table, by the operand that it makes."""
        return f"{OPERAND}.{super().renamed(mma).partition('.')[2]}"

    def machine(self, gpu: GpuSpec) -> GpuSpec:
        """Return the machine with look-ups among its tensor instructions."""
        tensor = gpu.sm.tensor
        look_up = TensorOp(
            interval_cycles=max(self.interval_cycles, 1.0),
            latency_cycles=max(self.latency_cycles, self.interval_cycles, 1.0),
        )
        tensor = tensor.model_copy(update={"mma": {**tensor.mma, self.renamed(MMA): look_up}})
        return gpu.model_copy(update={"sm": gpu.sm.model_copy(update={"tensor": tensor})})

    def modifiers(self, program: Program, pc: int, immediate: int) -> int:
        """Return the modifiers of an HMMA that looks up."""
        step, bits = immediate & (1 << STEP_BITS) - 1, immediate >> STEP_BITS
        place = f"{program.name}+{16 * pc:#06x}"
        if program.mma_names[program.mma[pc]] != MMA or program.opcode[pc] != int(Op.HMMA):
            raise ConfigError(
                "", f"{place}: {self.name} takes the place of an mma {MMA}; got {program.text[pc]!r}"
            )
        if bits not in CODE_BITS or RZ in program.operands[pc, :4, 1]:
            allowed = f"codes of {', '.join(map(str, CODE_BITS))} bits in registers"
            raise ConfigError(
                "", f"{place}: {self.name}: got {bits} bits, {program.text[pc]!r}, allowed: {allowed}"
            )
        return int(program.modifiers[pc]) | step << o.LOOKUP_STEP_SHIFT | bits << o.LOOKUP_BITS_SHIFT


EXTENSION = LutUnit()
