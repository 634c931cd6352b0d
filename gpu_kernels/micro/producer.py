"""The layer before a Tender matmul: rows of halves become codes, in their own order or in that of the groups.

A CTA takes a row per trip: it multiplies each half by its channel's inverse scale, rounds, and stores a byte. What it
shows is what an order of channels costs that changes every 256 rows, so that no weights can be permuted offline for it:
``gather`` lays the row in shared memory and reads it by an index, ``scatter`` writes codes there by an index.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpu_kernels.micro.benchmark import Benchmark, Point, launch
from sim.isa.launch import Buffer, KernelLaunch

THREADS = 256
WARPS = THREADS // 32
ORDERS = ("plain", "gather", "scatter")
COLUMNS = (4096, 14336)  # of measured rows
SEED = 0
SOURCE = r"""
#define CODES 4  // of a thread and pass: 8 bytes of halves, 4 of codes

static __device__ __forceinline__ float to_float(u32 bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(static_cast<unsigned short>(bits)));
  return value;
}

// Round to even and clamp: the sum with 1.5 * 2^23 has the code in its lowest byte.
static __device__ __forceinline__ u32 code(u32 half, float inverse) {
  return __float_as_uint(fminf(fmaxf(to_float(half) * inverse, -127.f), 127.f) + 12582912.f);
}

static __device__ __forceinline__ u32 packed(u32 a, u32 b, u32 c, u32 d) {
  return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
}

#define PRODUCER(name)                                                                                 \
  MICRO(name, const uint2* x, const float4* inverse, u32* y, const uint2* order, u32 columns)
#define ROW const long long row = blockIdx.x * (long long)trips + trip
#define PASSES for (u32 at = threadIdx.x; at < columns / CODES; at += blockDim.x)

PRODUCER(plain) {
  BEGIN
  LOOP {
    ROW;
    PASSES {
      const uint2 v = x[row * (columns / CODES) + at];
      const float4 s = inverse[at];
      y[row * (columns / CODES) + at] =
          packed(code(v.x & 0xffff, s.x), code(v.x >> 16, s.y), code(v.y & 0xffff, s.z), code(v.y >> 16, s.w));
    }
  }
  END(trips)
}

PRODUCER(gather) {
  uint2* held = reinterpret_cast<uint2*>(dynamic_shared);
  const unsigned short* halves = reinterpret_cast<const unsigned short*>(dynamic_shared);
  BEGIN
  LOOP {
    ROW;
    PASSES held[at] = x[row * (columns / CODES) + at];
    __syncthreads();
    PASSES {
      const uint2 from = order[at];
      const float4 s = inverse[at];
      y[row * (columns / CODES) + at] =
          packed(code(halves[from.x & 0xffff], s.x), code(halves[from.x >> 16], s.y),
                 code(halves[from.y & 0xffff], s.z), code(halves[from.y >> 16], s.w));
    }
    __syncthreads();
  }
  END(trips)
}

PRODUCER(scatter) {
  BEGIN
  LOOP {
    ROW;
    PASSES {
      const uint2 v = x[row * (columns / CODES) + at], to = order[at];
      const float4 s = inverse[at];
      dynamic_shared[to.x & 0xffff] = code(v.x & 0xffff, s.x);
      dynamic_shared[to.x >> 16] = code(v.x >> 16, s.y);
      dynamic_shared[to.y & 0xffff] = code(v.y & 0xffff, s.z);
      dynamic_shared[to.y >> 16] = code(v.y >> 16, s.w);
    }
    __syncthreads();
    for (u32 at = threadIdx.x; at < columns / 16; at += blockDim.x)
      reinterpret_cast<uint4*>(y)[row * (columns / 16) + at] = reinterpret_cast<const uint4*>(dynamic_shared)[at];
    __syncthreads();
  }
  END(trips)
}
"""


def _point(order: str, columns: int, ctas: int, rows: int) -> Point:
    """Return a point whose CTAs take ``rows`` rows each; the order of channels is drawn."""
    drawn = np.random.default_rng(SEED).permutation(columns).astype(np.uint16)
    arguments = (
        Buffer("x", 2 * columns * ctas * rows, "activations"),
        Buffer("inverse", 4 * columns, "scales"),
        Buffer("y", columns * ctas * rows, "output"),
        Buffer("order", drawn.nbytes, "scales", drawn),
        np.uint32(columns),
    )
    params = {"columns": columns} if ctas == 1 else {"columns": columns, "ctas": ctas}
    return Point(
        order,
        warps=WARPS,
        ctas=ctas,
        params=params,
        arguments=arguments,
        shared_bytes=2 * columns,
        trips=(rows // 3, rows),
    )


def _points() -> Iterator[Point]:
    for columns in COLUMNS:
        for order in ORDERS:
            yield _point(order, columns, 1, 96)


def producer_launch(order: str, rows: int, columns: int) -> KernelLaunch:
    """Return the launch that quantizes ``rows`` rows, one by each CTA."""
    return launch(BENCHMARK, _point(order, columns, rows, 1), 1)


BENCHMARK = Benchmark(
    name="producer",
    about="halves to codes in their own order, gathered and scattered: SM cycles of a CTA per row",
    source=SOURCE,
    points=tuple(_points()),
)
