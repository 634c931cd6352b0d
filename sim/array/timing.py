"""Closed forms: cycles of a matmul on a systolic array, and the bytes it moves.

Checked against the cycle-by-cycle array in ``sim.array.systolic``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from sim.array.spec import Accelerator

BITS_PER_BYTE = 8


@dataclass(frozen=True)
class Matmul:
    """Y[m, n] = X[m, k] · W[k, n], in operands of ``bits``; ``groups`` of the reduction have their own scale."""

    m: int
    n: int
    k: int
    bits: int
    groups: int = 1
    output_bits: int = 8
    batch: int = 1  # independent matmuls of this shape, as heads of an attention

    @property
    def macs(self) -> int:
        """Count the multiplications."""
        return self.batch * self.m * self.n * self.k


@dataclass(frozen=True)
class ArrayRun:
    """Time and traffic of one matmul, in cycles of the accelerator."""

    compute_cycles: int  # of the array, as if data were always there
    vector_cycles: int
    dram_cycles: int
    exposed_cycles: int  # of the first load and the last store, which nothing hides
    dram_bytes: int
    sram_bytes: int
    energy_uj: float

    @property
    def cycles(self) -> int:
        """Return the time: what is double-buffered overlaps, the slowest counts."""
        return max(self.compute_cycles, self.vector_cycles, self.dram_cycles) + self.exposed_cycles


def effective_size(machine: Accelerator, bits: int) -> tuple[int, int]:
    """Return rows and columns of the array for operands of ``bits``: PEs of a square work as one wider PE."""
    fused = ceil(bits / machine.array.pe_bits)
    return max(1, machine.array.rows // fused), max(1, machine.array.columns // fused)


def compute_cycles(machine: Accelerator, matmul: Matmul) -> int:
    """Return the index of the cycle in which the last PE is done, tile after tile.

    Output-stationary: each tile takes its reduction, the bubbles between groups and the skew of both edges.
    Weight-stationary: the rows of the array hold a piece of the reduction, which is loaded row by row.
    """
    rows, columns = effective_size(machine, matmul.bits)
    skew = rows + columns - 2
    if machine.dataflow == "output_stationary":
        tiles = matmul.batch * ceil(matmul.m / rows) * ceil(matmul.n / columns)
        bubbles = (matmul.groups - 1) * machine.array.rescale_cycles
        return tiles * (matmul.k + bubbles + skew) - 1
    tiles = matmul.batch * ceil(matmul.k / rows) * ceil(matmul.n / columns)
    return tiles * (rows + matmul.m + skew) - 1


def fetches(inputs: int, weights: int, machine: Accelerator) -> tuple[int, int]:
    """Return how often inputs and weights are read from DRAM.

    Once each if one of them fits its buffer (half of it: the other half is being filled); else the cheaper of
    reading all weights for each piece of the inputs and the reverse.
    """
    input_room, weight_room = (
        size // 2 for size in (machine.buffers.input_bytes, machine.buffers.weight_bytes)
    )
    if inputs <= input_room or weights <= weight_room:
        return 1, 1
    input_pieces, weight_pieces = ceil(inputs / input_room), ceil(weights / weight_room)
    if input_pieces * weights + inputs < weight_pieces * inputs + weights:
        return 1, input_pieces
    return weight_pieces, 1


def run_matmul(machine: Accelerator, matmul: Matmul) -> ArrayRun:
    """Time one matmul."""
    inputs = ceil(matmul.m * matmul.k * matmul.bits / BITS_PER_BYTE)
    weights = ceil(matmul.n * matmul.k * matmul.bits / BITS_PER_BYTE)
    outputs = ceil(matmul.m * matmul.n * matmul.output_bits / BITS_PER_BYTE)
    input_reads, weight_reads = fetches(inputs, weights, machine)
    dram = matmul.batch * (inputs * input_reads + weights * weight_reads + outputs)
    sram = matmul.batch * _sram_bytes(machine, matmul) + dram
    first = min(inputs, machine.buffers.input_bytes // 2) + min(weights, machine.buffers.weight_bytes // 2)
    last = min(outputs, machine.buffers.output_bytes // 2)
    return ArrayRun(
        compute_cycles=compute_cycles(machine, matmul),
        vector_cycles=ceil(matmul.batch * matmul.m * matmul.n / machine.vector_lanes),
        dram_cycles=ceil(dram / machine.dram_bytes_per_cycle),
        exposed_cycles=ceil((_edge(machine, matmul, first) + last) / machine.dram_bytes_per_cycle),
        dram_bytes=dram,
        sram_bytes=sram,
        energy_uj=_energy_uj(machine, matmul, sram, dram),
    )


def _edge(machine: Accelerator, matmul: Matmul, first: int) -> int:
    """Return the bytes that must be there before the array starts: a first tile's, not whole buffers."""
    rows, columns = effective_size(machine, matmul.bits)
    tile = ceil((min(rows, matmul.m) + min(columns, matmul.n)) * matmul.k * matmul.bits / BITS_PER_BYTE)
    return min(first, tile)


def _sram_bytes(machine: Accelerator, matmul: Matmul) -> int:
    """Count what the array reads of its buffers: each tile its rows and columns, in one piece."""
    rows, columns = effective_size(machine, matmul.bits)
    tiles = ceil(matmul.m / rows) * ceil(matmul.n / columns)
    return ceil(tiles * (rows + columns) * matmul.k * matmul.bits / BITS_PER_BYTE)


def _energy_uj(machine: Accelerator, matmul: Matmul, sram: int, dram: int) -> float:
    pes = ceil(matmul.bits / machine.array.pe_bits) ** 2
    energy = machine.energy
    picojoules = (
        matmul.macs * pes * energy.mac_pj + sram * energy.sram_pj_per_byte + dram * energy.dram_pj_per_byte
    )
    return picojoules / 1e6


def run_mixed(machine: Accelerator, matmul: Matmul) -> tuple[float, float]:
    """Return cycles and µJ of a matmul whose ``wide_share`` runs in twice the operand bits."""
    share = machine.precision.wide_share
    narrow, wide = (
        run_matmul(machine, Matmul(**{**vars(matmul), "bits": bits}))
        for bits in (machine.precision.operand_bits, 2 * machine.precision.operand_bits)
    )
    return (
        (1 - share) * narrow.cycles + share * wide.cycles,
        (1 - share) * narrow.energy_uj + share * wide.energy_uj,
    )
