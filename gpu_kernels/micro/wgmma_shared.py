"""What a stream of wgmma leaves to others: a second warpgroup loads, stores, copies into shared memory, or computes.

A trip is 16 wgmma of one warpgroup, and ``pieces`` of work by the other. A piece is 64 wavefronts of 128 bytes (of
each warp four LDSM.x4 or STS.128), a bulk copy of 32 KiB from L2, or 16 FFMA, FADD, LOP3 or IMAD of each warp.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpu_kernels.micro.benchmark import Benchmark, Point
from gpu_kernels.micro.tma import COPIES
from gpu_kernels.micro.wgmma import A_BYTES, B_BYTES, KINDS, OPERATIONS, PRELUDE, fill, operation, wait
from sim.isa.launch import Buffer

HALF = KINDS[0]
SHAPES = ((64, "ss"), (128, "ss"), (128, "rs"), (256, "ss"))
PIECES = {
    "ldsm": (0, 4, 8, 16),
    "sts": (4, 8, 16),
    "bulk": (1, 2, 4),
    "ffma": (16, 32, 64, 128),
    "fadd": (32, 64, 128),
    "lop3": (16, 32, 64),
    "imad": (16, 32, 64),
}
PIECE_BYTES = 32768  # of a bulk copy
STAGES = 4
BARRIERS = A_BYTES + B_BYTES  # where they lie; the other warpgroup's data after them
SHARED_BYTES = BARRIERS + 1024 + STAGES * PIECE_BYTES
DATA_BYTES = 2**20


def _scalar(statement: str) -> str:
    """Return 16 independent operations a piece."""
    return f"""
    _Pragma("unroll 1") for (u32 i = 0; i < pieces; ++i) REPEAT(j, 16) {statement}"""


OTHERS = {
    "ldsm": """
    _Pragma("unroll 1") for (u32 i = 0; i < pieces; ++i) REPEAT(j, 4) {
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                   : "=r"(d[4 * j]), "=r"(d[4 * j + 1]), "=r"(d[4 * j + 2]), "=r"(d[4 * j + 3])
                   : "r"(own + 512 * j) : "memory");
    }""",
    "sts": """
    _Pragma("unroll 1") for (u32 i = 0; i < pieces; ++i) REPEAT(j, 4) {
      asm volatile("st.shared.v4.u32 [%0], {%1,%1,%1,%1};" ::"r"(own + 512 * j), "r"(seed) : "memory");
    }""",
    "bulk": f"""
    if (threadIdx.x / 32 == 4) for (u32 i = 0; i < pieces; ++i) {{
      const u32 slot = number % {STAGES}, bar = bars + 8 * slot;
      if (number >= {STAGES}) AWAIT(bar, number / {STAGES} + 1 & 1);
      if (elected()) {{
        EXPECT(bar, {PIECE_BYTES}u);
        BULK(bars + 1024 + {PIECE_BYTES} * slot, data + {PIECE_BYTES} * (number % {DATA_BYTES // PIECE_BYTES}),
             {PIECE_BYTES}u, bar);
      }}
      ++number;
    }}""",
    "ffma": _scalar('asm volatile("fma.rn.f32 %0, %0, %1, %2;" : "+f"(f[j]) : "f"(f[16]), "f"(f[17]));'),
    "fadd": _scalar('asm volatile("add.rn.f32 %0, %0, %1;" : "+f"(f[j]) : "f"(f[16 + j]));'),
    "lop3": _scalar('asm volatile("lop3.b32 %0, %0, %1, %2, 0x96;" : "+r"(d[j]) : "r"(d[16]), "r"(d[17]));'),
    "imad": _scalar('asm volatile("mad.lo.u32 %0, %0, %1, %2;" : "+r"(d[j]) : "r"(d[16]), "r"(d[17]));'),
}


def _kernel(columns: int, source: str, other: str) -> str:
    step = operation(HALF, columns, source == "rs")
    return f"""
BOUNDED(256, n{columns}_{source}_{other}, const char* data, u32 pieces, u32 seed) {{
  {fill(HALF, BARRIERS)}
  const u32 bars = shared_base() + {BARRIERS};
  if (threadIdx.x == 0) REPEAT(j, {STAGES}) INIT(bars + 8 * j, 1u);
  const u32 own = bars + 1024 + 2048 * (threadIdx.x / 32 % 4) + 16 * lane_id();
  u32 d[18], number = 0;
  float f[32];
  REPEAT(i, 18) d[i] = threadIdx.x + seed * i;
  REPEAT(i, 32) f[i] = static_cast<float>(d[0] + i);
  BEGIN
  if (threadIdx.x < 128) {{
    const u64 a0 = descriptor(shared_base() + {B_BYTES}), b0 = descriptor(shared_base());
    u32 a[4];
    REPEAT(i, 4) a[i] = scrambled(seed + 128 * i + threadIdx.x) {HALF.mask};
    {HALF.element} c[{columns // 2}] = {{}};
    LOOP REPEAT(g, {OPERATIONS // 4}) {{
      FENCE;
      REPEAT(j, 4) {{
        const u64 da = a0 + 2 * j, db = b0 + 2 * j;
        {step}
      }}
      COMMIT;
      {wait(HALF, columns, 1)}
    }}
    {wait(HALF, columns, 0)}
    float sum = 0;
    REPEAT(i, {columns // 2}) sum += c[i];
    d[0] = static_cast<u32>(sum) + a[0];
  }} else {{
    LOOP {{
      {OTHERS[other]}
    }}
    if (number) REPEAT(j, {STAGES}) {{
      const u32 last = number - 1 - j;
      if (number > j) AWAIT(bars + 8 * (last % {STAGES}), last / {STAGES} & 1);
    }}
  }}
  REPEAT(i, 18) d[0] += d[i] + static_cast<u32>(f[i]);
  END(d[0])
}}
"""


DATA = Buffer("data", DATA_BYTES, "activations", zeroed=True)


def _points() -> Iterator[Point]:
    for columns, source in SHAPES:
        for other, amounts in PIECES.items():
            for pieces in amounts:
                yield Point(
                    kernel=f"n{columns}_{source}_{other}",
                    count=OPERATIONS,
                    warps=8,
                    params={"pieces": pieces},
                    arguments=(DATA, np.uint32(pieces), np.uint32(1)),
                    shared_bytes=SHARED_BYTES,
                    trips=(16, 48),
                    simulated=(columns, source) in SHAPES[:2],
                )


BENCHMARK = Benchmark(
    name="wgmma_shared",
    about="wgmma beside loads, stores, bulk copies or arithmetic of another warpgroup: SM cycles per wgmma",
    source=PRELUDE
    + COPIES
    + "".join(_kernel(columns, source, other) for columns, source in SHAPES for other in PIECES),
    points=tuple(_points()),
)
