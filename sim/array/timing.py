"""Closed forms: cycles of a matmul on a systolic array, and the bytes it moves.

Checked against the cycle-by-cycle array in ``sim.array.systolic``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, floor

from sim.array.spec import Accelerator

BITS_PER_BYTE = 8


@dataclass(frozen=True)
class Matmul:
    """Y[m, n] = X[m, k] · W[k, n], X in ``bits``, W in ``weight_bits``; ``groups`` of the reduction have own scales."""

    m: int
    n: int
    k: int
    bits: int
    groups: int = 1
    output_bits: int = 8
    batch: int = 1  # independent matmuls of this shape, as heads of an attention
    weight_bits: float = 0  # 0: as X

    @property
    def macs(self) -> int:
        """Count the multiplications."""
        return self.batch * self.m * self.n * self.k

    @property
    def input_row_bytes(self) -> int:
        """Count the bytes of a row of X."""
        return ceil(self.k * self.bits / BITS_PER_BYTE)

    @property
    def weight_column_bytes(self) -> int:
        """Count the bytes of a column of W."""
        return ceil(self.k * (self.weight_bits or self.bits) / BITS_PER_BYTE)


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
    array = machine.array
    fused = 1 if machine.dataflow == "broadcast" else ceil(bits / array.pe_bits)
    return max(1, array.rows // fused), max(1, array.columns // fused)


def passes(machine: Accelerator, matmul: Matmul) -> int:
    """Return the cycles that a PE spends on an element: bit-serial ones take the weight bit by bit.

    Fractions of a bit are a group's scales.
    """
    serial = machine.array.serial_bits
    return ceil(floor(matmul.weight_bits or matmul.bits) / serial) if serial else 1


def compute_cycles(machine: Accelerator, matmul: Matmul) -> int:
    """Return the index of the cycle in which the last PE is done, tile after tile.

    Output-stationary: each tile takes its reduction, the bubbles between groups and the skew of both edges. Its sums
    leave for the output buffer while the next tile is multiplied.
    Weight-stationary: the rows of the array hold a piece of the reduction, which is loaded row by row.
    Broadcast: each tile takes its reduction, in lanes and passes; the number of cycles, as its artifact counts.
    """
    rows, columns = effective_size(machine, matmul.bits)
    skew = rows + columns - 2
    tiles = matmul.batch * ceil(matmul.m / rows) * ceil(matmul.n / columns)
    if machine.dataflow == "broadcast":
        return tiles * ceil(matmul.k / machine.array.lanes) * passes(machine, matmul)
    if machine.dataflow == "output_stationary":
        bubbles = (matmul.groups - 1) * machine.array.rescale_cycles
        return tiles * (matmul.k + bubbles + skew) - 1
    tiles = matmul.batch * ceil(matmul.k / rows) * ceil(matmul.n / columns)
    return tiles * (rows + matmul.m + skew) - 1


def fetches(machine: Accelerator, matmul: Matmul) -> tuple[int, int]:
    """Return how often inputs and weights are read from DRAM: whichever costs least.

    Inputs stay in their buffer piece by piece (in half of it: the other half is being filled) and all weights pass by
    each piece; or the reverse. A systolic array takes its operands in whole tiles, so a piece is at least one; where
    not even that fits, every tile streams both of its operands.
    """
    rows, columns = effective_size(machine, matmul.bits)
    if machine.dataflow == "broadcast":
        rows = columns = 1
    buffers = machine.buffers
    row, column = matmul.input_row_bytes, matmul.weight_column_bytes
    input_pieces = _pieces(matmul.m, rows, row, buffers.input_bytes // 2)
    weight_pieces = _pieces(matmul.n, columns, column, buffers.weight_bytes // 2)
    if 1 in (input_pieces, weight_pieces):
        return 1, 1
    ways = [(ceil(matmul.n / columns), ceil(matmul.m / rows))]
    ways += [(1, input_pieces)] if input_pieces else []
    ways += [(weight_pieces, 1)] if weight_pieces else []
    return min(reversed(ways), key=lambda way: way[0] * matmul.m * row + way[1] * matmul.n * column)


def _pieces(count: int, tile: int, each: int, room: int) -> int:
    """Return in how many pieces so many rows of ``each`` bytes stay in ``room``; 0: a tile of them does not fit.

    One that needs no whole tiles is filled to the last byte.
    """
    if count * each <= room:
        return 1
    if tile == 1:
        return ceil(count * each / room)
    fitting = room // each // tile * tile
    return ceil(count / fitting) if fitting else 0


def run_matmul(machine: Accelerator, matmul: Matmul) -> ArrayRun:
    """Time one matmul."""
    inputs, weights = matmul.m * matmul.input_row_bytes, matmul.n * matmul.weight_column_bytes
    outputs = matmul.m * ceil(matmul.n * matmul.output_bits / BITS_PER_BYTE)
    input_reads, weight_reads = fetches(machine, matmul)
    dram = matmul.batch * (inputs * input_reads + weights * weight_reads + outputs)
    sram = matmul.batch * _sram_bytes(machine, matmul) + dram
    last = min(outputs, machine.buffers.output_bytes // 2)
    return ArrayRun(
        compute_cycles=compute_cycles(machine, matmul),
        vector_cycles=ceil(matmul.batch * matmul.m * matmul.n / machine.vector_lanes),
        dram_cycles=ceil(dram / machine.dram_bytes_per_cycle),
        exposed_cycles=ceil((_edge(machine, matmul) + last) / machine.dram_bytes_per_cycle),
        dram_bytes=dram,
        sram_bytes=sram,
        energy_uj=_energy_uj(machine, matmul, sram, dram),
    )


def _edge(machine: Accelerator, matmul: Matmul) -> int:
    """Return the bytes that must be there before the array starts: a first tile's, not whole buffers."""
    rows, columns = effective_size(machine, matmul.bits)
    inputs = min(rows, matmul.m) * matmul.input_row_bytes
    weights = min(columns, matmul.n) * matmul.weight_column_bytes
    return min(inputs, machine.buffers.input_bytes // 2) + min(weights, machine.buffers.weight_bytes // 2)


def _sram_bytes(machine: Accelerator, matmul: Matmul) -> int:
    """Count what the array reads of its buffers: each tile its rows and columns, in one piece."""
    rows, columns = effective_size(machine, matmul.bits)
    tiles = ceil(matmul.m / rows) * ceil(matmul.n / columns)
    return tiles * (rows * matmul.input_row_bytes + columns * matmul.weight_column_bytes)


def _energy_uj(machine: Accelerator, matmul: Matmul, sram: int, dram: int) -> float:
    serial = machine.array.serial_bits is not None
    steps = passes(machine, matmul) if serial else ceil(matmul.bits / machine.array.pe_bits) ** 2
    energy = machine.energy
    mac = steps * energy.multiply_pj + energy.accumulate_pj
    picojoules = matmul.macs * mac + sram * energy.sram_pj_per_byte + dram * energy.dram_pj_per_byte
    return picojoules / 1e6


def run_mixed(machine: Accelerator, matmul: Matmul, stored: bool = True) -> tuple[float, float]:
    """Return cycles and µJ of a matmul whose ``wide_share`` runs in twice the operand bits.

    ``stored`` False: W is made of activations, as in an attention, and has their bits.
    """
    precision = machine.precision
    share = precision.wide_share
    narrow, wide = (run_matmul(machine, _in_bits(machine, matmul, factor, stored)) for factor in (1, 2))
    return (
        (1 - share) * narrow.cycles + share * wide.cycles,
        (1 - share) * narrow.energy_uj + share * wide.energy_uj,
    )


def _in_bits(machine: Accelerator, matmul: Matmul, factor: int, stored: bool) -> Matmul:
    precision = machine.precision
    own = ceil(precision.operand_bits) if precision.activation_bits is None else precision.activation_bits
    weight_bits = factor * precision.operand_bits if stored else 0.0
    return replace(matmul, bits=factor * own, weight_bits=weight_bits)
