"""Shared memory of 64 banks (or of 8-byte banks): 256 bytes in a wavefront, for every kernel as it is.

More banks spread the words that a warp asks for: fewer look-ups meet in one, and 8- and 16-byte accesses take half as
many phases. Wider banks do the latter; of 4-byte look-ups they join those that ask for neighbouring words, so a table
of 128 words then has two words in every bank. ``ldmatrix`` reads rows of 16 bytes, eight at a time: what of its rows is
laid out for 32 banks may meet in 64.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.arch.spec import GpuSpec
from sim.errors import ConfigError
from sim.extensions._interface import Extension, Quantity

CROSSING_UM2 = 0.02  # of one bit line over another: two tracks of some 0.07 um each way, drivers in between
LANES, LANE_BITS = 32, 32


@dataclass(frozen=True)
class WideSharedMemory(Extension):
    """``banks`` banks of ``bank_bytes``; what that adds to a load's latency and to a wavefront's energy."""

    name = "wide_shared_memory"
    banks: int = 64
    bank_bytes: int = 4
    latency_cycles: float = 1.0
    energy_factor: float = 1.5

    def quantities(self) -> dict[str, Quantity]:
        """Return the numbers it is made of."""
        return {
            "width": Quantity(
                self.banks * self.bank_bytes,
                "bytes per wavefront",
                "paper: LUT kernels are bound by shared-memory wavefronts (LUT-GEMM, arXiv:2206.09557; FLUTE, "
                "arXiv:2407.10960); twice the H200's 128 is the next power of two",
            ),
            "latency": Quantity(
                self.latency_cycles,
                "cycles",
                "assumed: twice the banks are one more level of multiplexers and longer wires: one more stage",
            ),
            "interval": Quantity(
                1,
                "cycle per wavefront",
                "assumed: pipelined as it is; the crossbar starts a wavefront every cycle",
            ),
            "energy": Quantity(
                self.energy_factor,
                "of a wavefront's",
                "assumed: the words read stay the same 32, but every one travels past twice as many banks; half of a "
                "wavefront's energy taken to be wires, the other half in arrays and latches",
            ),
            "area": Quantity(
                LANES * LANE_BITS * CROSSING_UM2 * self.banks * self.bank_bytes * 8 / 2,
                "um2 per SM",
                "assumed: the crossbar's part that is new, half of the crossings of 32 lanes x 32 bits with all bank "
                "bits, 0.02 um2 each in a 5 nm class process; the arrays keep their capacity, cut into more banks",
            ),
        }

    def machine(self, gpu: GpuSpec) -> GpuSpec:
        """Return the machine with these banks."""
        for field, value in (("banks", self.banks), ("bank_bytes", self.bank_bytes)):
            if value < 1 or value & (value - 1):
                raise ConfigError("", f"{self.name}: {field}: got {value}, allowed: a power of two")
        memory, energy = gpu.sm.shared_memory, gpu.energy
        wide = memory.model_copy(
            update={
                "banks": self.banks,
                "bank_bytes": self.bank_bytes,
                "load_latency_cycles": memory.load_latency_cycles + self.latency_cycles,
            }
        )
        wavefront = {"shared_wavefront_pj": energy.shared_wavefront_pj * self.energy_factor}
        sm = gpu.sm.model_copy(update={"shared_memory": wide})
        return gpu.model_copy(update={"sm": sm, "energy": energy.model_copy(update=wavefront)})


EXTENSION = WideSharedMemory()
