"""Scalar pipes: issue interval, dependent latency, and which pairs of pipes issue side by side.

Bodies of two lengths are timed; their difference is free of the loop's own instructions. Operations and operands
are chosen so that the compiler cannot fold a chain of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from gpu_kernels.micro.benchmark import Benchmark, Feed, Point, Table

SHORT, LONG = 64, 128  # instructions of a body
CHAINS = 8
WARPS = (4, 8, 16)
ALL_WARPS = max(WARPS)
SUB_CORES = 4


@dataclass(frozen=True)
class Operation:
    """One instruction on a 32-bit chain x with two loop-invariant operands b and c."""

    name: str
    ptx: str  # %0 is x, %1 and %2 are b and c
    sass: str  # the opcode it must become
    simulated: bool = True


OPERATIONS = (
    Operation("lop3", "lop3.b32 %0, %0, %1, %2, 0xe8;", "LOP3.LUT"),
    Operation("shf", "shf.l.wrap.b32 %0, %0, %1, %2;", "SHF.L.W.U32.HI"),
    Operation("prmt", "prmt.b32 %0, %0, %1, %2;", "PRMT"),
    Operation("imad", "mad.lo.u32 %0, %0, %1, %2;", "IMAD"),
    Operation("idp4a", "dp4a.u32.u32 %0, %0, %1, %2;", "IDP.4A.U8.U8"),
    Operation("ffma", "fma.rn.f32 %0, %0, %1, %2;", "FFMA"),
    Operation("hfma2", "fma.rn.f16x2 %0, %0, %1, %2;", "HFMA2"),
    Operation("hmul2", "mul.rn.f16x2 %0, %0, %1;", "HMUL2"),
    Operation("hadd2", "add.rn.f16x2 %0, %0, %1;", "HADD2"),
    Operation("f2fp", "cvt.rn.f16x2.f32 %0, %0, %1;", "F2FP.F16.F32.PACK_AB"),
    Operation("i2fp", "cvt.rn.f32.s32 %0, %0;", "I2FP.F32.S32"),
    Operation("mufu", "ex2.approx.ftz.f32 %0, %0;", "MUFU.EX2"),
    Operation("f2i", "cvt.rzi.s32.f32 %0, %0;", "F2I.TRUNC.NTZ"),
    Operation("popc", "popc.b32 %0, %0;", "POPC"),
    Operation("brev", "brev.b32 %0, %0;", "BREV"),
    Operation("shfl", "shfl.sync.idx.b32 %0, %0, %0, 0x1f, 0xffffffff;", "SHFL.IDX"),
)
FLOATS = ("ffma", "f2fp", "i2fp", "mufu", "f2i")
PAIRS = (
    ("lop3", "imad"), ("lop3", "ffma"), ("lop3", "hfma2"), ("shf", "imad"), ("shf", "prmt"), ("imad", "ffma"),
    ("imad", "hfma2"), ("ffma", "hfma2"), ("lop3", "i2fp"), ("lop3", "f2fp"), ("lop3", "mufu"), ("ffma", "mufu"),
)  # fmt: skip
MMA_PARTNERS = ("lop3", "imad", "hfma2", "ffma")
BY_NAME = {operation.name: operation for operation in OPERATIONS}

PRELUDE = r"""
#define OPERANDS                                           \
  u32 x[8], b = seed + 0x11111111u * (seed & 7), c = seed; \
  REPEAT(k, 8) x[k] = seed * (k + threadIdx.x);
#define TOTAL        \
  u32 total = 0;     \
  REPEAT(k, 8) total ^= x[k];
"""


def _statement(operation: Operation, chain: str) -> str:
    """Return inline assembly; numbers of FP32 instructions travel as bits."""
    text = operation.ptx
    if operation.name in FLOATS:
        names = {"%0": "x", "%1": "b", "%2": "c"}
        used = [name for name in names if name in text]
        for name in used:
            text = text.replace(name, names[name])
        moves = "".join(f"mov.b32 {names[name]}, {name}; " for name in used)
        text = f"{{ .reg .b32 x, b, c; {moves}{text} mov.b32 %0, x; }}"
    return f'asm volatile("{text}" : "+r"(x[{chain}]) : "r"(b), "r"(c));'


def _loop(name: str, body: str, extra: str = "") -> str:
    return f"""
MICRO({name}, u32 seed) {{
  OPERANDS
  {extra}
  BEGIN
  LOOP {{ {body} }}
  TOTAL
  END(total)
}}
"""


def _rate(operation: Operation, length: int) -> str:
    body = f"REPEAT(j, {length}) {_statement(operation, 'j % 8')}"
    return _loop(f"{operation.name}_{length}", body)


def _chain(operation: Operation) -> str:
    return _loop(f"chain_{operation.name}", f"REPEAT(j, {SHORT}) {_statement(operation, '0')}")


def _pair(first: str, second: str, length: int) -> str:
    one = _statement(BY_NAME[first], "j % 4")
    two = _statement(BY_NAME[second], "4 + j % 4")
    return _loop(f"{first}_{second}_{length}", f"REPEAT(j, {length // 2}) {{ {one} {two} }}")


def _with_mma(partner: str, per_mma: int) -> str:
    accumulators = (
        "float acc[8][4] = {}; u32 a[4], m[2]; "
        "REPEAT(i, 4) a[i] = seed * (13 + i) + threadIdx.x; REPEAT(i, 2) m[i] = seed * (29 + i) + threadIdx.x;"
    )
    mma = (
        'asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, '
        '{%0,%1,%2,%3};" : "+f"(acc[g][0]), "+f"(acc[g][1]), "+f"(acc[g][2]), "+f"(acc[g][3]) : "r"(a[0]), '
        '"r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(m[0]), "r"(m[1]));'
    )
    other = f"REPEAT(h, {per_mma}) {_statement(BY_NAME[partner], f'(g * {per_mma} + h) % 8')}"
    text = _loop(f"mma_{partner}{per_mma}", f"REPEAT(g, 8) {{ {mma} {other} }}", accumulators)
    return text.replace(
        "END(total)", "REPEAT(k, 8) REPEAT(i, 4) total ^= __float_as_uint(acc[k][i]);\n  END(total)"
    )


def _source() -> Iterator[str]:
    yield PRELUDE
    for operation in OPERATIONS:
        yield _chain(operation)
        for length in (SHORT, LONG):
            yield _rate(operation, length)
    for first, second in PAIRS:
        for length in (SHORT, LONG):
            yield _pair(first, second, length)
    for partner in MMA_PARTNERS:
        for per_mma in (2, 4):
            yield _with_mma(partner, per_mma)


def _points() -> Iterator[Point]:
    seed = (np.uint32(1),)
    for operation in OPERATIONS:
        yield Point(f"chain_{operation.name}", SHORT, 1, arguments=seed, simulated=operation.simulated)
        for length in (SHORT, LONG):
            for warps in WARPS:
                yield _point(f"{operation.name}_{length}", warps, operation.simulated)
    for first, second in PAIRS:
        for length in (SHORT, LONG):
            for warps in (ALL_WARPS, 4, 8):
                yield _point(f"{first}_{second}_{length}", warps, True)
    for partner in MMA_PARTNERS:
        for per_mma in (2, 4):
            for warps in (4, 8):
                yield Point(f"mma_{partner}{per_mma}", 8, warps, params={"warps": warps}, arguments=seed)


def _point(kernel: str, warps: int, simulated: bool) -> Point:
    """Time a whole body, in cycles of a sub-core per warp."""
    return Point(
        kernel,
        count=warps / SUB_CORES,
        warps=warps,
        params={"warps": warps},
        arguments=(np.uint32(1),),
        simulated=simulated,
    )


def marginal(table: Table, name: str, warps: int = ALL_WARPS) -> float:
    """Return a sub-core's cycles per instruction, from the difference of the two bodies."""
    short, long = (table.value(f"{name}_{length}", warps=warps) for length in (SHORT, LONG))
    return (long - short) / (LONG - SHORT)


def _interval(name: str) -> Callable[[Table], float]:
    return lambda table: marginal(table, name)


def _latency(name: str) -> Callable[[Table], float]:
    return lambda table: table.value(f"chain_{name}")


PIPES = {"alu": "lop3", "fma": "ffma", "imad": "imad", "half": "hfma2", "xu": "mufu"}


def _feeds() -> Iterator[Feed]:
    for pipe, name in PIPES.items():
        yield Feed(f"sm.pipes.{pipe}.interval_cycles", _interval(name), digits=2)
        if pipe != "half":  # the compiler alternates HFMA2 and HFMA2.MMA, whose crossing takes longer
            yield Feed(f"sm.pipes.{pipe}.latency_cycles", _latency(name), whole=True)
    yield Feed(
        "sm.load_store.shuffle_interval_cycles", lambda table: marginal(table, "shfl") / SUB_CORES, digits=2
    )
    yield Feed("sm.load_store.shuffle_latency_cycles", _latency("shfl"), whole=True)


BENCHMARK = Benchmark(
    name="scalar",
    about="ALU, FMA, half, XU, SHFL: cycles of a sub-core per body, of a dependent chain, of interleaved pairs",
    source="".join(_source()),
    points=tuple(_points()),
    feeds=tuple(_feeds()),
)
