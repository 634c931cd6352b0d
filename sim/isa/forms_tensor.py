"""The white list's tensor operations of one warp: mma.sync."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from sim.isa import opcodes as o
from sim.isa.opcodes import Op

# SASS opcode -> PTX shape and types (accumulator, input), the key of the machine's table, and how it is executed:
# bit 0 = FP16 accumulator, bit 1 = two steps along k, of 8 (FP16), 16 (INT8) or 32 (INT4) each, instead of one
_FLOATS = {
    "HMMA.16816.F32": ("m16n8k16.f32.f16", 2),
    "HMMA.16816.F16": ("m16n8k16.f16.f16", 3),
    "HMMA.16816.F32.BF16": ("m16n8k16.f32.bf16", 2 | o.BF16),
    "HMMA.1688.F32": ("m16n8k8.f32.f16", 0),
}
# Integers have an opcode for each pair of signs; they take the same time, and the machine's table names the signed ones
_INTEGERS = {
    "IMMA.16832.{a}8.{b}8": ("m16n8k32.s32.s8", 2),
    "IMMA.16816.{a}8.{b}8": ("m16n8k16.s32.s8", 0),
    "IMMA.16864.{a}4.{b}4": ("m16n8k64.s32.s4", 2 | o.NIBBLES),
    "IMMA.16832.{a}4.{b}4": ("m16n8k32.s32.s4", o.NIBBLES),
}
# 2:4 sparse; an extension may use their operands: A 16 x 32 and B 64 x 8 bytes, C, a register of metadata, a selector
_SPARSE = "IMMA.SP.16864.{a}8.{b}8{sat}", "m16n8k64.sp.s32.s8"


def tensor_rows() -> Iterator[tuple[str, Op, int, str, str]]:
    """Yield opcode, operation, modifiers, signature and name of each form."""
    for opcode, (mma, modifiers) in _FLOATS.items():
        yield opcode, Op.HMMA, modifiers, "r,r,r,r", mma
    for pattern, (mma, modifiers) in _INTEGERS.items():
        for a, b in product("SU", "SU"):
            yield pattern.format(a=a, b=b), Op.IMMA, modifiers | _signs(a, b), "r,r,r,r", mma
    pattern, mma = _SPARSE
    for a, b, sat in product("SU", "SU", ("", ".SAT")):
        modifiers = _signs(a, b) | (o.SATURATE if sat else 0)
        yield pattern.format(a=a, b=b, sat=sat), Op.IMMA_SPARSE, modifiers, "r,r,r,r,r,i", mma


def _signs(a: str, b: str) -> int:
    """Return the modifiers of operands that are signed, S, or not, U."""
    return (o.FIRST_SIGNED if a == "S" else 0) | (o.SECOND_SIGNED if b == "S" else 0)
