"""mma.sync on the fragments of one warp (numba).

Fragment layouts are PTX's: lane = 4 * group + thread. Products are exact; FP32 accumulation goes over k in order, one
rounding per addition, starting from the accumulator. The hardware's own summation differs in the last bits.
"""

from __future__ import annotations

import numpy as np

from sim.exec.lanes import RZ
from sim.exec.rounding import half_to_float, to_half
from sim.jit import inner as compiled

INFINITE = np.uint32(0x7C00)


@compiled
def expand(bits, values, count, bfloat):
    """Convert raw 16-bit numbers in ``bits`` to FP32 in place; ``values`` is the same memory."""
    if bfloat:
        for index in range(count):
            bits[index] <<= np.uint32(16)
        return
    for index in range(count):
        word = bits[index]
        scaled = np.uint32((word & np.uint32(0x7FFF)) << np.uint32(13)).view(np.float32) * np.float32(
            2.0**112
        )
        special = np.uint32(0x7F800000) if (word & INFINITE) == INFINITE else np.uint32(0)
        bits[index] = (
            np.float32(scaled).view(np.uint32) | ((word & np.uint32(0x8000)) << np.uint32(16)) | special
        )


@compiled
def _gather(bits, inner, width, column, regs, number):
    """Lay one fragment register (two raw halves per lane) at row inner + 2 * thread of k, column + group."""
    for group in range(8):
        for thread in range(4):
            word = regs[number, 4 * group + thread]
            place = (inner + 2 * thread) * width + column + group
            bits[place] = word & np.uint32(0xFFFF)
            bits[place + width] = word >> np.uint32(16)


@compiled
def multiply(a, b, acc, depth):
    """Add the products of a (depth x 16) and b (depth x 8) to a 16 x 8 accumulator, over k in order."""
    for inner in range(depth):
        for row in range(16):
            factor = a[16 * inner + row]
            for column in range(8):
                acc[8 * row + column] += factor * b[8 * inner + column]


@compiled
def hmma(slots, regs, regs_f, a_bits, a, b_bits, b, acc, steps, half_accumulator, bfloat):
    """Run m16n8k(8*steps) on 16-bit inputs. Flat scratch: ``a``, ``b``, ``acc`` FP32, ``*_bits`` the same as uint32."""
    base_a, base_b = slots[1, 1], slots[2, 1]
    for step in range(steps):
        _gather(a_bits, 8 * step, 16, 0, regs, base_a + 2 * step if base_a != RZ else RZ)
        _gather(a_bits, 8 * step, 16, 8, regs, base_a + 2 * step + 1 if base_a != RZ else RZ)
        _gather(b_bits, 8 * step, 8, 0, regs, base_b + step if base_b != RZ else RZ)
    expand(a_bits, a, 256, bfloat)
    expand(b_bits, b, 128, bfloat)
    if half_accumulator:
        load_half_accumulator(slots[3, 1], regs, acc)
    else:
        load_accumulator(slots[3, 1], regs_f, acc)
    multiply(a, b, acc, 8 * steps)
    if half_accumulator:
        store_half_accumulator(slots[0, 1], regs, acc)
    else:
        store_accumulator(slots[0, 1], regs_f, acc)


# The accumulator is 16 rows of 8, flat: lane 4 * group + thread holds (group, 2 * thread) at 2 * lane, its
# neighbour behind it, and the same of row group + 8 another 64 further on.


@compiled
def load_accumulator(number, regs, acc):
    """Read 16 x 8 words from four registers; RZ reads as zeros."""
    for lane in range(32):
        for part in range(2):
            place = 64 * part + 2 * lane
            acc[place] = regs[number + 2 * part, lane] if number != RZ else 0
            acc[place + 1] = regs[number + 2 * part + 1, lane] if number != RZ else 0


@compiled
def store_accumulator(number, regs, acc):
    """Write 16 x 8 words to four registers."""
    for lane in range(32):
        for part in range(2):
            regs[number + 2 * part, lane] = acc[64 * part + 2 * lane]
            regs[number + 2 * part + 1, lane] = acc[64 * part + 2 * lane + 1]


@compiled
def load_half_accumulator(number, regs, acc):
    """Read 16 x 8 halves from two registers."""
    for lane in range(32):
        for part in range(2):
            word = regs[number + part, lane] if number != RZ else np.uint32(0)
            acc[64 * part + 2 * lane] = half_to_float(word & np.uint32(0xFFFF))
            acc[64 * part + 2 * lane + 1] = half_to_float(word >> np.uint32(16))


@compiled
def store_half_accumulator(number, regs, acc):
    """Round 16 x 8 numbers to halves in two registers."""
    for lane in range(32):
        for part in range(2):
            low = to_half(np.float64(acc[64 * part + 2 * lane]))
            high = to_half(np.float64(acc[64 * part + 2 * lane + 1]))
            regs[number + part, lane] = low | (high << np.uint32(16))


@compiled
def signed_byte(word, index):
    """Return byte ``index`` of a word, sign-extended."""
    value = np.int32((word >> np.uint32(8 * index)) & np.uint32(0xFF))
    return value - 256 if value >= 128 else value


@compiled
def imma(slots, regs, regs_i, a, b, acc, steps, shift):
    """Run m16n8k(16*steps) on signed bytes; INT32 sums wrap, from the accumulator << shift. Scratch is int32."""
    base_a, base_b = slots[1, 1], slots[2, 1]
    for step in range(steps):
        first, second = (base_a + 2 * step, base_a + 2 * step + 1) if base_a != RZ else (RZ, RZ)
        third = base_b + step if base_b != RZ else RZ
        for lane in range(32):
            group, inner = lane >> 2, 16 * step + 4 * (lane & 3)
            for index in range(4):
                a[16 * (inner + index) + group] = signed_byte(regs[first, lane], index)
                a[16 * (inner + index) + group + 8] = signed_byte(regs[second, lane], index)
                b[8 * (inner + index) + group] = signed_byte(regs[third, lane], index)
    load_accumulator(slots[3, 1], regs_i, acc)
    for index in range(128):
        acc[index] <<= shift
    multiply(a, b, acc, 16 * steps)
    store_accumulator(slots[0, 1], regs_i, acc)


# Of an HMMA that extension lut_unit has changed: A holds a lane's codes of 16 rows x 64 columns as FLUTE packs them, B
# the scales of rows g and g + 8 for the first and the last 32 columns, the first register of C the table.


@compiled
def pair_of_codes(regs, base, lane, step, pair, bits):
    """Return two codes of a k16 step, the second in the upper half-word."""
    if bits == 4:
        codes = regs[base + step, lane] >> np.uint32(8 * pair)
        return (codes & np.uint32(15)) | (codes << np.uint32(12) & np.uint32(15 << 16))
    low = regs[base + (step >> 1), lane] >> np.uint32(8 * pair + 4 * (step & 1))
    codes = (low & np.uint32(3)) | (low << np.uint32(14) & np.uint32(3 << 16))
    if bits == 3:
        top = regs[base + 2, lane] >> np.uint32(8 * pair + 2 * step)
        codes |= (top << np.uint32(2) & np.uint32(4)) | (top << np.uint32(17) & np.uint32(4 << 16))
    return codes


@compiled
def look_up(slots, regs, out, step, bits):
    """Write the A operand of a k16 step, table[code] * scale rounded to half, to four registers. Scratch is uint32."""
    base, scales, table = slots[1, 1], slots[2, 1] + (step >> 1), slots[3, 1]
    for lane in range(32):
        for pair in range(4):
            codes = pair_of_codes(regs, base, lane, step, pair, bits)
            scale = half_to_float(regs[scales, lane] >> np.uint32(16 * (pair & 1)) & np.uint32(0xFFFF))
            word = np.uint32(0)
            for half in range(2):
                code = codes >> np.uint32(16 * half) & np.uint32(15)
                entry = regs[table, code >> np.uint32(1)] >> np.uint32(16 * (code & np.uint32(1)))
                value = np.float64(half_to_float(entry & np.uint32(0xFFFF))) * np.float64(scale)
                word |= to_half(value) << np.uint32(16 * half)
            out[32 * pair + lane] = word
    for pair in range(4):
        for lane in range(32):
            regs[slots[0, 1] + pair, lane] = out[32 * pair + lane]
