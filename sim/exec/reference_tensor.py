"""The twin's tensor operations: mma.sync on whole matrices, laid out as PTX lays out its fragments."""

from __future__ import annotations

import numpy as np

from sim.errors import TcsimError
from sim.exec.reference_float import pack
from sim.exec.reference_integer import meaning
from sim.exec.reference_state import LANES, Array, Step
from sim.isa import opcodes as o
from sim.isa.opcodes import Kind, Op


def fragments(step: Step, index: int, count: int, dtype: type) -> list[Array]:
    """Return ``count`` registers as 8 x n tiles: row = lane // 4, elements of a row in lane order."""
    number = step.slots[index].value
    registers = [step.warp.register(number if number == o.RZ else number + part) for part in range(count)]
    return [np.ascontiguousarray(register).view(dtype).reshape(8, -1) for register in registers]


@meaning(Op.HMMA, Op.IMMA)
def multiply_matrices(step: Step) -> None:
    """D = A B + C as PTX lays out mma.sync: quadrants of A in (row block, column block) order, B by column blocks."""
    if Op(step.operation) == Op.HMMA and step.modified(o.LOOKUP_BITS_MASK):
        look_up(step)
        return
    steps = 1 + (step.modifiers >> 1 & 1)
    integers = Op(step.operation) == Op.IMMA
    kind = np.uint8 if integers else np.float16
    a_tiles = [_values(step, tile, o.FIRST_SIGNED) for tile in fragments(step, 1, 2 * steps, kind)]
    b_tiles = [_values(step, tile, o.SECOND_SIGNED) for tile in fragments(step, 2, steps, kind)]
    a = np.hstack([np.vstack(a_tiles[2 * block : 2 * block + 2]) for block in range(steps)])
    b = np.hstack(b_tiles).T
    accumulate_half = not integers and bool(step.modifiers & 1)
    c = _accumulator(step, accumulate_half, np.int32 if integers else np.float32)
    if integers:
        c = c << ((step.modifiers & o.ACCUMULATOR_SHIFT_MASK) >> o.ACCUMULATOR_SHIFT)
    for inner in range(a.shape[1]):
        c = c + a[:, inner : inner + 1] * b[inner]
    _write_accumulator(step, c, accumulate_half)


def look_up(step: Step) -> None:
    """D = table[codes in A] * scale in B, laid out as the A operand of m16n8k16; the table lies along C's lanes."""
    at = (step.modifiers & o.LOOKUP_STEP_MASK) >> o.LOOKUP_STEP_SHIFT
    bits = (step.modifiers & o.LOOKUP_BITS_MASK) >> o.LOOKUP_BITS_SHIFT
    packed = [step.warp.register(step.slots[1].value + part) for part in range(4)]
    table = np.ascontiguousarray(step.warp.register(step.slots[3].value)).view(np.float16)
    scales = step.warp.register(step.slots[2].value + at // 2)
    scales = np.ascontiguousarray(scales).view(np.float16).reshape(LANES, 2)
    for pair in range(4):
        codes = np.stack([_codes(packed, at, pair, bits, which) for which in range(2)], axis=1)
        exact = table[codes].astype(np.float64) * scales[:, pair % 2, None].astype(np.float64)
        step.write_register(Kind.REG, step.slots[0].value + pair, pack(step, exact))


def _codes(packed: list[Array], step: int, pair: int, bits: int, which: int) -> Array:
    """Return the first or second code of a pair per lane, from FLUTE's packing (workloads/schemes/flute.py)."""
    if bits == 4:
        return packed[step] >> np.uint32(8 * pair + 4 * which) & np.uint32(15)
    low = packed[step // 2] >> np.uint32(8 * pair + 4 * (step % 2) + 2 * which) & np.uint32(3)
    if bits == 2:
        return low
    return low | (packed[2] >> np.uint32(8 * pair + 2 * step + which) & np.uint32(1)) << np.uint32(2)


@meaning(Op.IMMA_SPARSE)
def multiply_scaled_blocks(step: Step) -> None:
    """D = C + sum over blocks of 32 of k of (A B) 2^(ea + eb - 254), in order, FP32 rounded once per block.

    Metadata of lane 4g + 0, 1: scales of rows g and g + 8; + 2, 3: of column g of B's lower and upper pair.
    """
    if not step.modified(o.BLOCK_SCALED):
        raise TcsimError("a sparse mma to which no extension gives a meaning")
    upper = step.modified(o.UPPER_PAIR)
    a_tiles = [_elements(step, tile) for tile in fragments(step, 1, 4, np.uint8)]
    b_tiles = [_elements(step, tile) for tile in fragments(step, 2, 4, np.uint8)][2 * upper :][:2]
    a = np.hstack((np.vstack(a_tiles[:2]), np.vstack(a_tiles[2:])))
    b = np.hstack(b_tiles).T
    scales = fragments(step, 4, 1, np.uint8)[0].reshape(8, 4, 4).astype(np.int64)  # group, thread, byte
    c = _accumulator(step, False, np.float32)
    first = (step.modifiers & o.SCALE_BYTE_MASK) >> o.SCALE_BYTE_SHIFT
    for block in range(a.shape[1] // 32):
        inner, byte = slice(32 * block, 32 * block + 32), (first + block) % 4
        rows = np.concatenate((scales[:, 0, byte], scales[:, 1, byte]))[:, None]
        columns = scales[:, 3 if upper else 2, byte]
        value = np.ldexp(a[:, inner] @ b[inner], rows + columns - 254)
        value[(rows == 255) | (columns == 255)] = np.nan
        c = (c.astype(np.float64) + value).astype(np.float32)
    _write_accumulator(step, c, False)


E2M1_MAGNITUDES = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def _elements(step: Step, tile: Array) -> Array:
    """Return the elements of a block-scaled operand in FP64, in which their products and sums are exact."""
    if not step.modified(o.E2M1):
        return _integers(step, tile, True).astype(np.float64)
    codes = np.stack((tile & 15, tile >> 4), axis=2).reshape(8, -1)
    return np.asarray(np.where(codes & 8, -1.0, 1.0) * E2M1_MAGNITUDES[codes & 7])


def _values(step: Step, tile: Array, signed: int) -> Array:
    """Return the numbers of a tile, 8 x n; ``signed`` is the modifier that says so of integers."""
    if tile.dtype == np.uint8:
        return _integers(step, tile, step.modified(signed))
    if step.modified(o.BF16):
        return (tile.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return tile.astype(np.float32)


def _integers(step: Step, tile: Array, signed: bool) -> Array:
    """Return the integers in bytes, or those in halves of bytes, the low half first."""
    wide, bits = tile.astype(np.int32), 8
    if step.modified(o.NIBBLES):
        wide, bits = np.stack((wide & 15, wide >> 4), axis=2).reshape(8, -1), 4
    sign = 1 << (bits - 1)
    return (wide ^ sign) - sign if signed else wide


def _accumulator(step: Step, half: bool, dtype: type) -> Array:
    """Return C, 16 x 8: with FP32 or INT32 two registers make one row block, with FP16 one does."""
    if half:
        return np.vstack(fragments(step, 3, 2, np.float16)).astype(np.float32)
    tiles = fragments(step, 3, 4, dtype)
    return np.vstack([np.stack(tiles[block : block + 2], axis=2).reshape(8, 8) for block in (0, 2)])


def _write_accumulator(step: Step, c: Array, half: bool) -> None:
    number = step.slots[0].value
    for block in range(2):
        rows = c[8 * block : 8 * block + 8]
        if half:
            step.write_register(
                Kind.REG, number + block, pack(step, rows.astype(np.float64).reshape(LANES, 2))
            )
            continue
        for part in range(2):
            word = np.ascontiguousarray(rows.reshape(LANES, 2)[:, part]).view(np.uint32)
            step.write_register(Kind.REG, number + 2 * block + part, word)
