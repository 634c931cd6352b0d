"""An integer mma or wgmma that reads its accumulator shifted left, D = A B + (C << 1): a border of Tender (ISCA'24).

Tender's systolic array (arXiv:2406.12930) spends a cycle of every processing element on a border, because its
shifter sits behind the adder. A tensor core reads C from registers and writes D back once per instruction, so here a
row of 2:1 multiplexers stands in the path of C, and the products need not wait for it.

A wgmma's accumulators lie in registers as well: each wgmma reads them as it goes over its N columns, 16 x 8 of a warp
at a time, and writes them back, though those before it have not been awaited. They pass the same multiplexers, so a
shift needs no wait; software has to drain the warpgroup's wgmmas before it may touch them.

The kernels' marks stand in code of its own for borders, which takes time for branches and for leaving and entering the
loop, whatever the mma does. Hardware whose shift hangs on a predicate would need no such code: the variant ``ideal``
bounds it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.arch.accumulator import TRANSISTORS_PER_GATE, Design, Overhead, load_costs, overhead
from sim.arch.spec import GpuSpec, TensorCore, TensorOp, WarpgroupOp
from sim.errors import ConfigError
from sim.extensions._interface import MarkedExtension, Quantity
from sim.isa import opcodes as o
from sim.isa.opcodes import Op
from sim.isa.program import Program
from sim.isa.wgmma import BLOCK_COLUMNS

DOT_LENGTH = 32  # products of INT8 that one mma m16n8k32 adds to an accumulator
WIDTH_BITS = 32
ACCUMULATORS = 128  # of m16n8, all shifted by one marked mma, and by a wgmma for every 8 columns of a warp
MACS = ACCUMULATORS * DOT_LENGTH
DOTS_PER_SM = 128  # 4096 INT8 MACs per SM and cycle, Hopper's peak, in dot products of 32
MAC_PJ = 0.3  # Horowitz, ISSCC 2014, 45 nm: an 8-bit product 0.2, a 32-bit sum 0.1
TRANSISTORS_PER_UM2 = 80e9 / 814e6  # GH100: NVIDIA's H100 white paper
GIVEN = "assumed: given by the user"
UNNOTICED = 0.005  # a path longer by this share is made up for by larger gates
WIDEST_SHIFT = 4  # of those that were synthesized


@dataclass(frozen=True)
class TenderAccumulator(MarkedExtension):
    """Marked mma take ``latency_cycles`` and ``bubble_cycles`` more, and shift by ``shift_bits``.

    A marked wgmma takes ``latency_cycles`` more, and ``bubble_cycles`` for every 16 x 8 accumulators of a warp.
    Latency, energy per 16 x 8 accumulators and area per SM are those of synthesized units unless they are given.
    """

    name = "tender_accumulator"
    mark = 1
    order = 1
    shift_bits: int = 1
    latency_cycles: float | None = None
    bubble_cycles: float = 0.0
    energy_pj: float | None = None
    area_um2: float | None = None

    def quantities(self) -> dict[str, Quantity]:
        """Return the numbers it is made of."""
        return {
            "shift": Quantity(
                self.shift_bits,
                "bits",
                "paper: scales of neighbouring groups are a factor of 2 apart, one shift",
            ),
            "latency": self._latency(),
            "bubble": Quantity(
                self.bubble_cycles,
                "cycles",
                "assumed: C passes the multiplexers where it is read anyway, at the same rate (the paper's array: 1)",
            ),
            "granularity": Quantity(
                1, "instruction", "assumed: a bit of the mma or wgmma; all accumulators of it shift alike"
            ),
            "energy": self._energy(),
            "area": self._area(),
        }

    def synthesized(self) -> Overhead:
        """Return what the shifter adds to a dot product: any shift up to ``shift_bits``, in the path of C."""
        if not 1 <= self.shift_bits <= WIDEST_SHIFT:
            raise ConfigError(
                "",
                f"{self.name}: shift_bits: got {self.shift_bits}, synthesized: 1 to {WIDEST_SHIFT}; "
                "others need latency_cycles, energy_pj and area_um2",
            )
        return overhead(
            load_costs(),
            Design(
                unit="dot",
                operand_bits=8,
                length=DOT_LENGTH,
                width_bits=WIDTH_BITS,
                overflow="wrap",
                position="c_path",
                shift_range=self.shift_bits,
            ),
        )

    def _latency(self) -> Quantity:
        if self.latency_cycles is not None:
            return Quantity(self.latency_cycles, "cycles", GIVEN)
        growth = self.synthesized().delay
        return Quantity(
            float(growth > UNNOTICED),
            "cycles",
            f"synthesized: the longest path of a dot product of {DOT_LENGTH} grows by {100 * max(0.0, growth):.1f} %, "
            "since C waits for the products anyway; behind the adder it would grow",
        )

    def _energy(self) -> Quantity:
        if self.energy_pj is not None:
            return Quantity(self.energy_pj, "pJ per 16 x 8", GIVEN)
        found = self.synthesized()
        share = found.shift_energy
        return Quantity(
            share * MACS * MAC_PJ,
            "pJ per 16 x 8",
            f"synthesized: shifting adds {100 * share:.2f} % to a dot product of {DOT_LENGTH} (and "
            f"{100 * found.mac_energy:.2f} % to one that does not shift, which is not counted); of {MACS} MACs at "
            f"{MAC_PJ} pJ, Horowitz's at 45 nm, more than a newer process takes",
        )

    def _area(self) -> Quantity:
        if self.area_um2 is not None:
            return Quantity(self.area_um2, "um2 per SM", GIVEN)
        found = self.synthesized()
        gates = load_costs().gates(found.cost.area_um2 - found.plain.area_um2)
        return Quantity(
            DOTS_PER_SM * gates * TRANSISTORS_PER_GATE / TRANSISTORS_PER_UM2,
            "um2 per SM",
            f"synthesized: {gates:.0f} gates of {TRANSISTORS_PER_GATE} transistors, {100 * found.area:.2f} % of a dot "
            f"product of {DOT_LENGTH}; {DOTS_PER_SM} of them per SM, at the mean density of GH100 (80e9 on 814 mm2)",
        )

    def machine(self, gpu: GpuSpec) -> GpuSpec:
        """Return the machine with a shifted kind of each integer mma and wgmma."""
        tensor, latency = gpu.sm.tensor, self._latency().value
        shifted = {
            self.renamed(name): TensorOp(
                interval_cycles=op.interval_cycles + self.bubble_cycles,
                latency_cycles=op.latency_cycles + latency + self.bubble_cycles,
            )
            for name, op in tensor.mma.items()
            if ".s32." in name
        }
        tensor = tensor.model_copy(
            update={"mma": {**tensor.mma, **shifted}, "wgmma": {**tensor.wgmma, **self._warpgroups(tensor)}}
        )
        return gpu.model_copy(update={"sm": gpu.sm.model_copy(update={"tensor": tensor})})

    def _warpgroups(self, tensor: TensorCore) -> dict[str, WarpgroupOp]:
        """Return a shifted kind of each integer wgmma, by types."""
        latency = self._latency().value
        return {
            f"{self.name}.{types}": WarpgroupOp(
                column_interval_cycles=op.column_interval_cycles + self.bubble_cycles / BLOCK_COLUMNS,
                shared_latency_cycles=op.shared_latency_cycles + latency,
                register_latency_cycles=op.register_latency_cycles + latency,
            )
            for types, op in tensor.wgmma.items()
            if types.startswith("s32.")
        }

    def modifiers(self, program: Program, pc: int, immediate: int) -> int:
        """Return the modifiers of the mma or wgmma with the shift of its accumulator in them."""
        if program.opcode[pc] not in (Op.IMMA, Op.IGMMA):
            place = f"{program.name}+{16 * pc:#06x}"
            raise ConfigError(
                "", f"{place}: {self.name} shifts integer accumulators; got {program.text[pc]!r}"
            )
        return int(program.modifiers[pc]) | self.shift_bits << o.ACCUMULATOR_SHIFT


EXTENSION = TenderAccumulator()
