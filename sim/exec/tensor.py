"""mma.sync on the fragments of one warp (numba).

Fragment layouts are PTX's: lane = 4 * group + thread. Products are exact; FP32 accumulation goes over k in order, one
rounding per addition, starting from the accumulator. The hardware's own summation differs in the last bits.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.exec.lanes import RZ, double_to_half_bits, half_to_float_bits


@njit(cache=True)
def _spread_halves(bits, out, row, column, regs, number):
    """Lay one fragment register (two halves per lane) at (row + group, column + 2 * thread)."""
    for lane in range(32):
        word = regs[number, lane] if number != RZ else np.uint32(0)
        group, thread = lane >> 2, lane & 3
        bits[row + group, column + 2 * thread] = half_to_float_bits(word & np.uint32(0xFFFF))
        bits[row + group, column + 2 * thread + 1] = half_to_float_bits(word >> np.uint32(16))


@njit(cache=True)
def hmma(slots, regs, regs_f, a_bits, a, b_bits, b, acc, steps, half_accumulator):
    """Run m16n8k(8*steps) on FP16 inputs. ``a``/``b``/``acc`` are FP32 scratch; ``*_bits`` the same memory as uint32."""
    base_a, base_b = slots[1, 1], slots[2, 1]
    for step in range(steps):
        _spread_halves(a_bits, a, 0, 8 * step, regs, base_a + 2 * step if base_a != RZ else RZ)
        _spread_halves(a_bits, a, 8, 8 * step, regs, base_a + 2 * step + 1 if base_a != RZ else RZ)
        number = base_b + step if base_b != RZ else RZ
        for lane in range(32):
            word = regs[number, lane]
            column, row = lane >> 2, 8 * step + 2 * (lane & 3)
            b_bits[row, column] = half_to_float_bits(word & np.uint32(0xFFFF))
            b_bits[row + 1, column] = half_to_float_bits(word >> np.uint32(16))
    if half_accumulator:
        _load_half_accumulator(slots[3, 1], regs, acc)
    else:
        _load_accumulator(slots[3, 1], regs_f, acc)
    for row in range(16):
        for inner in range(8 * steps):
            factor = a[row, inner]
            for column in range(8):
                acc[row, column] += factor * b[inner, column]
    if half_accumulator:
        _store_half_accumulator(slots[0, 1], regs, acc)
    else:
        _store_accumulator(slots[0, 1], regs_f, acc)


@njit(cache=True)
def _load_accumulator(number, regs, acc):
    for lane in range(32):
        group, thread = lane >> 2, 2 * (lane & 3)
        if number == RZ:
            acc[group, thread] = acc[group, thread + 1] = acc[group + 8, thread] = acc[group + 8, thread + 1] = 0
        else:
            acc[group, thread] = regs[number, lane]
            acc[group, thread + 1] = regs[number + 1, lane]
            acc[group + 8, thread] = regs[number + 2, lane]
            acc[group + 8, thread + 1] = regs[number + 3, lane]


@njit(cache=True)
def _store_accumulator(number, regs, acc):
    for lane in range(32):
        group, thread = lane >> 2, 2 * (lane & 3)
        regs[number, lane] = acc[group, thread]
        regs[number + 1, lane] = acc[group, thread + 1]
        regs[number + 2, lane] = acc[group + 8, thread]
        regs[number + 3, lane] = acc[group + 8, thread + 1]


@njit(cache=True)
def _load_half_accumulator(number, regs, acc):
    bits = np.empty(1, np.uint32)
    for lane in range(32):
        group, thread = lane >> 2, 2 * (lane & 3)
        for part in range(2):
            word = regs[number + part, lane] if number != RZ else np.uint32(0)
            for side in range(2):
                bits[0] = half_to_float_bits((word >> np.uint32(16 * side)) & np.uint32(0xFFFF))
                acc[group + 8 * part, thread + side] = bits.view(np.float32)[0]


@njit(cache=True)
def _store_half_accumulator(number, regs, acc):
    for lane in range(32):
        group, thread = lane >> 2, 2 * (lane & 3)
        for part in range(2):
            low = double_to_half_bits(float(acc[group + 8 * part, thread]))
            high = double_to_half_bits(float(acc[group + 8 * part, thread + 1]))
            regs[number + part, lane] = low | (high << np.uint32(16))


@njit(cache=True)
def _signed_byte(word, index):
    value = np.int32((word >> np.uint32(8 * index)) & np.uint32(0xFF))
    return value - 256 if value >= 128 else value


@njit(cache=True)
def imma(slots, regs, regs_i, a, b, acc, steps):
    """Run m16n8k(16*steps) on signed bytes with INT32 accumulation that wraps. Scratch is int32."""
    base_a, base_b = slots[1, 1], slots[2, 1]
    for step in range(steps):
        for lane in range(32):
            group, inner = lane >> 2, 16 * step + 4 * (lane & 3)
            for index in range(4):
                a[group, inner + index] = _signed_byte(regs[base_a + 2 * step, lane], index)
                a[group + 8, inner + index] = _signed_byte(regs[base_a + 2 * step + 1, lane], index)
                b[inner + index, group] = _signed_byte(regs[base_b + step, lane], index)
    _load_accumulator(slots[3, 1], regs_i, acc)
    for row in range(16):
        for inner in range(16 * steps):
            factor = a[row, inner]
            for column in range(8):
                acc[row, column] += factor * b[inner, column]
    _store_accumulator(slots[0, 1], regs_i, acc)
