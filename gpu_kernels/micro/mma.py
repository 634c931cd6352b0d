"""mma.sync: latency of a chain through the accumulator, and issue interval with independent accumulators."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from gpu_kernels.micro.benchmark import Benchmark, Feed, Point, Table

UNROLL = 48  # a multiple of every number of chains
CHAINS = (1, 2, 3, 4, 6, 8)
WARPS = (1, 4, 8, 12, 16)
SUB_CORES = 4  # a CTA's warp w issues from sub-core w modulo 4


@dataclass(frozen=True)
class Shape:
    """One PTX operation: its key in the YAML file, its kernels' prefix, and its operands' registers."""

    key: str
    prefix: str
    ptx: str
    accumulators: int
    a: int
    b: int
    simulated: bool = True

    @property
    def floats(self) -> bool:
        """Whether the accumulators are FP32."""
        return ".f32." in self.key


SHAPES = (
    Shape("m16n8k16.f32.f16", "k16_f32_f16", "m16n8k16.row.col.f32.f16.f16.f32", 4, 4, 2),
    Shape("m16n8k16.f32.bf16", "k16_f32_bf16", "m16n8k16.row.col.f32.bf16.bf16.f32", 4, 4, 2),
    Shape("m16n8k16.f16.f16", "k16_f16_f16", "m16n8k16.row.col.f16.f16.f16.f16", 2, 4, 2),
    Shape("m16n8k8.f32.f16", "k8_f32_f16", "m16n8k8.row.col.f32.f16.f16.f32", 4, 2, 1),
    Shape("m16n8k8.f32.tf32", "k8_f32_tf32", "m16n8k8.row.col.f32.tf32.tf32.f32", 4, 4, 2, False),
    Shape("m16n8k32.s32.s8", "k32_s32_s8", "m16n8k32.row.col.s32.s8.s8.s32", 4, 4, 2),
    Shape("m16n8k16.s32.s8", "k16_s32_s8", "m16n8k16.row.col.s32.s8.s8.s32", 4, 2, 1),
    Shape("m16n8k256.s32.b1", "k256_s32_b1", "m16n8k256.row.col.s32.b1.b1.s32.and.popc", 4, 4, 2, False),
)

PRELUDE = r"""
template <typename T, int N>
static __device__ __forceinline__ void fill(T (&to)[N], u32 seed) {
  REPEAT(i, N) to[i] = static_cast<T>(seed * (threadIdx.x + i));
}
"""


def _operands(letter: str, first: int, count: int) -> str:
    return "{" + ",".join(f"%{first + i}" for i in range(count)) + "}"


def _statement(shape: Shape) -> str:
    """Return the inline assembly of one operation on accumulators c[k]."""
    n, a, b = shape.accumulators, shape.a, shape.b
    accumulators = _operands("c", 0, n)
    text = f"mma.sync.aligned.{shape.ptx}"
    parts = (accumulators, _operands("a", n, a), _operands("b", n + a, b), accumulators)
    outputs = ", ".join(f'"+{"f" if shape.floats else "r"}"(c[k][{i}])' for i in range(n))
    sources = ", ".join([f'"r"(a[{i}])' for i in range(a)] + [f'"r"(b[{i}])' for i in range(b)])
    return f'asm volatile("{text} {", ".join(parts)};" : {outputs} : {sources});'


def _kernel(shape: Shape, chains: int) -> str:
    kind = "float" if shape.floats else "u32"
    return f"""
MICRO({shape.prefix}_{chains}, u32 seed) {{
  u32 a[{shape.a}], b[{shape.b}];
  {kind} c[{chains}][{shape.accumulators}];
  fill(a, seed);
  fill(b, seed + 1);
  REPEAT(k, {chains}) fill(c[k], 0);
  BEGIN
  LOOP {{
    REPEAT(j, {UNROLL}) {{
      const int k = j % {chains};
      {_statement(shape)}
    }}
  }}
  {kind} total = 0;
  REPEAT(k, {chains}) REPEAT(i, {shape.accumulators}) total += c[k][i];
  END(static_cast<u32>(total))
}}
"""


def _points() -> tuple[Point, ...]:
    return tuple(
        Point(
            kernel=f"{shape.prefix}_{chains}",
            count=UNROLL,
            warps=warps,
            params={"chains": chains, "warps": warps},
            arguments=(np.uint32(0),),
            trips=(16, 48),
            simulated=shape.simulated,
        )
        for shape in SHAPES
        for chains in CHAINS
        for warps in WARPS
    )


def latency(shape: Shape, table: Table) -> float:
    """Return cycles from accumulator to accumulator: one warp, one chain."""
    return table.value(f"{shape.prefix}_1", chains=1, warps=1)


def interval(shape: Shape, table: Table) -> float:
    """Return cycles per operation of a sub-core when none waits for a result: the least of all its readings.

    What they have beyond whole cycles is the loop's end, where the tensor core runs dry.
    """
    shared = [
        (warps, table.value(f"{shape.prefix}_8", chains=8, warps=warps)) for warps in WARPS if warps >= 8
    ]
    return min(cycles / (warps / SUB_CORES) for warps, cycles in shared)


def _feeds() -> tuple[Feed, ...]:
    return tuple(
        Feed(f"sm.tensor.mma.{shape.key}.{what}_cycles", partial(compute, shape), whole=True)
        for shape in SHAPES
        for what, compute in (("interval", interval), ("latency", latency))
    )


BENCHMARK = Benchmark(
    name="mma",
    about="mma.sync: cycles per operation of one warp, by independent accumulators and warps per SM",
    source=PRELUDE + "".join(_kernel(shape, chains) for shape in SHAPES for chains in CHAINS),
    points=_points(),
    feeds=_feeds(),
)
