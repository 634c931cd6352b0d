"""Does LDSM slow the tensor core: HMMA alone, LDSM.x4 alone, and both interleaved as in a matmul's main loop."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpu_kernels.micro.benchmark import Benchmark, Point, words
from gpu_kernels.micro.shared import STEP, strided

GROUPS = 8  # of a body
HMMA_PER_GROUP = (0, 2, 4, 8)
SHARED_BYTES = 16 * 1024
WARPS = (4, 8)


def _kernel(hmma: int, ldsm: int) -> str:
    return f"""
MICRO(hmma{hmma}_ldsm{ldsm}, const u32* offsets, u32 seed) {{
  const u32 p = shared_base() + offsets[lane_id()];
  u32 a[4], b[2], d[{GROUPS}][4] = {{}};
  float c[8][4] = {{}};
  REPEAT(i, 4) a[i] = seed * (i + threadIdx.x);
  REPEAT(i, 2) b[i] = seed * (i + 7);
  BEGIN
  LOOP REPEAT(g, {GROUPS}) {{
    if ({ldsm}) {{
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%0,%1,%2,%3}}, [%4];"
                   : "=r"(d[g][0]), "=r"(d[g][1]), "=r"(d[g][2]), "=r"(d[g][3])
                   : "r"(p + {STEP} * g) : "memory");
    }}
    REPEAT(h, {hmma}) {{
      const int k = (g * {hmma} + h) % 8;
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {{%0,%1,%2,%3}}, {{%4,%5,%6,%7}}, "
                   "{{%8,%9}}, {{%0,%1,%2,%3}};"
                   : "+f"(c[k][0]), "+f"(c[k][1]), "+f"(c[k][2]), "+f"(c[k][3])
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }}
  }}
  float total = 0;
  REPEAT(k, 8) REPEAT(i, 4) total += c[k][i];
  u32 more = 0;
  REPEAT(g, {GROUPS}) more += d[g][0];
  END(static_cast<u32>(total) + more)
}}
"""


def _mixes() -> Iterator[tuple[int, int]]:
    for hmma in HMMA_PER_GROUP:
        for ldsm in (0, 1):
            if hmma or ldsm:
                yield hmma, ldsm


BENCHMARK = Benchmark(
    name="mma_shared",
    about="HMMA m16n8k16 and LDSM.x4 together: SM cycles of a group of both, per warp",
    source="".join(_kernel(*mix) for mix in _mixes()),
    points=tuple(
        Point(
            kernel=f"hmma{hmma}_ldsm{ldsm}",
            count=GROUPS,
            warps=warps,
            params={"warps": warps},
            arguments=(words("offsets", strided(16)), np.uint32(0)),
            shared_bytes=SHARED_BYTES,
        )
        for hmma, ldsm in _mixes()
        for warps in WARPS
    ),
)
