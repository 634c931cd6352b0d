"""mbarrier: what an arrival and a wait cost a warp, and how long after the last arrival a waiting warp goes on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpu_kernels.micro.benchmark import Benchmark, Feed, Point, Scalar, Table

UNROLL = 16  # even: phases of a barrier alternate
SHARED_BYTES = 1024

SOURCE = r"""
#define INIT(at, count) asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(at), "r"(count) : "memory")
#define ARRIVE(at) asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(at) : "memory")
#define EXPECT(at, n) asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(at), "r"(n) : "memory")
// sets `done` if the phase of this parity is over
#define TEST(done, kind, at, parity)                                                                 \
  asm volatile("{ .reg .pred p; mbarrier." kind ".parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }" \
               : "=r"(done) : "r"(at), "r"(parity) : "memory")
#define WAIT(at, parity)                                                                             \
  asm volatile("{ .reg .pred p; again: mbarrier.try_wait.parity.shared.b64 p, [%0], %1; @!p bra again; }" \
               ::"r"(at), "r"(parity) : "memory")
#define SET_UP(n, count)                                      \
  const u32 bar = shared_base();                              \
  if (threadIdx.x == 0) REPEAT(j, n) INIT(bar + 8 * j, count);

// One lane of each warp arrives at its warp's own barrier, again and again.
MICRO(arrive) {
  SET_UP(16, 1u)
  BEGIN
  const u32 own = bar + 8 * (threadIdx.x / 32);
  if (lane_id() == 0) LOOP REPEAT(j, 16) ARRIVE(own);
  END(own)
}

// All warps arrive at the same barrier.
MICRO(arrive_same, u32 count) {
  SET_UP(1, count)
  BEGIN
  if (lane_id() == 0) LOOP REPEAT(j, 16) ARRIVE(bar);
  END(bar)
}

// The arrival of a producer: it also announces bytes, here none.
MICRO(expect) {
  SET_UP(16, 1u)
  BEGIN
  const u32 own = bar + 8 * (threadIdx.x / 32);
  if (lane_id() == 0) LOOP REPEAT(j, 16) EXPECT(own, 0u);
  END(own)
}

// Every lane waits for the phase before the first, which is over: each wait feeds the next one's address.
MICRO(chase_over) {
  SET_UP(16, 1u)
  BEGIN
  u32 own = bar + 8 * (threadIdx.x / 32), done;
  LOOP REPEAT(j, 16) {
    TEST(done, "try_wait", own, 1u);
    own += done - 1u;
  }
  END(own)
}

// The same without the chain: a loop that goes on when the phase is over, as kernels write it.
MICRO(wait_over) {
  SET_UP(16, 1u)
  BEGIN
  const u32 own = bar + 8 * (threadIdx.x / 32);
  LOOP REPEAT(j, 16) {
    u32 done = 0;
    while (!done) TEST(done, "try_wait", own, 1u);
  }
  END(own)
}

// A warp arrives at its own barrier and waits for the phase that this ends.
MICRO(arrive_wait) {
  SET_UP(16, 1u)
  BEGIN
  const u32 own = bar + 8 * (threadIdx.x / 32);
  LOOP REPEAT(j, 16) {
    if (lane_id() == 0) ARRIVE(own);
    u32 done = 0;
    while (!done) TEST(done, "try_wait", own, j % 2u);
  }
  END(own)
}

// Two halves of the CTA's warps hand over to each other: a trip is 16 hand-overs, 8 there and 8 back.
MICRO(hand_over, u32 half) {
  SET_UP(2, half)
  BEGIN
  const u32 second = threadIdx.x / 32 / half;
  const u32 mine = bar + 8 * second, other = bar + 8 - 8 * second;
  LOOP REPEAT(j, 8) {
    u32 done = 0;
    if (second == 0 && lane_id() == 0) ARRIVE(other);
    while (!done) TEST(done, "try_wait", mine, j % 2u);
    if (second == 1 && lane_id() == 0) ARRIVE(other);
  }
  END(mine)
}
"""


def _points() -> Iterator[Point]:
    for warps in (1, 4, 8):
        for kernel in ("arrive", "expect", "chase_over", "wait_over", "arrive_wait"):
            yield _point(kernel, warps)
        yield _point("arrive_same", warps, np.uint32(1))
    for warps in (2, 4, 8, 16):
        yield _point("hand_over", warps, np.uint32(warps // 2))


def _point(kernel: str, warps: int, *more: Scalar) -> Point:
    return Point(
        kernel=kernel,
        count=UNROLL,
        warps=warps,
        params={"warps": warps},
        arguments=more,
        shared_bytes=SHARED_BYTES,
    )


def arrival_interval(table: Table) -> float:
    """Return the cycles per arrival when eight warps arrive, each at its own mbarrier."""
    return table.value("arrive", warps=8) / 8


BENCHMARK = Benchmark(
    name="mbarrier",
    about="mbarrier: SM cycles of an arrival, of a wait for a phase that is over, and of a hand-over",
    source=SOURCE,
    points=tuple(_points()),
    feeds=(Feed("sm.control.mbarrier_arrival_interval_cycles", arrival_interval),),
)
