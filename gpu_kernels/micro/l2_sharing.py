"""L2 bandwidth when several SMs read the same lines at the same time, by how many and by which.

Every CTA walks through a region of its own group again and again; groups are neighbouring CTAs, or CTAs as far apart
as can be. What the SMs receive together is compared with what they receive when each has lines of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.micro.bandwidth import HEAD, SMS, STAGE_BYTES, THREADS, scramble
from gpu_kernels.micro.benchmark import Benchmark, Parameter, Point, Row, launch
from sim.isa.launch import Buffer

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

REGION_BYTES = 128 * 1024
SHARERS = (1, 2, 3, 4, 6, 11, 12, 22, 33, 44, 66, 132)  # divisors of the number of SMs
PLACES = ("near", "far")
STAGES = (12, 32)
TRIPS = (1000, 5000)
GB = 1e3  # bytes per microsecond in a GB/s

_BODY = r"""
// `near`: groups of `sharers` neighbouring CTAs; otherwise CTAs that are `gridDim.x / sharers` apart.
#define SHARED_REGION(stages)                                                                       \
  MICRO(region_##stages, const char* data, u32 sharers, u32 near) {                                  \
    const u32 base = shared_base() + 16 * threadIdx.x;                                               \
    const u32 group = near ? blockIdx.x / sharers : blockIdx.x % (gridDim.x / sharers);              \
    const char* from = data + 131072ull * group + 16 * threadIdx.x;                                  \
    u32 at = 0, slot = 0;                                                                            \
    BEGIN                                                                                            \
    REPEAT(j, stages) {                                                                              \
      COPY(base + 4096 * j, from + at);                                                              \
      COMMIT;                                                                                        \
      at = (at + 4096) & 131071;                                                                     \
    }                                                                                                \
    LOOP {                                                                                           \
      WAIT(stages - 1);                                                                              \
      COPY(base + slot, from + at);                                                                  \
      COMMIT;                                                                                        \
      at = (at + 4096) & 131071;                                                                     \
      slot = slot == 4096 * (stages - 1) ? 0 : slot + 4096;                                          \
    }                                                                                                \
    WAIT(0);                                                                                         \
    END(slot)                                                                                        \
  }
SHARED_REGION(12)
SHARED_REGION(32)
"""
SOURCE = (
    HEAD[: HEAD.index("// A ring of stages")]
    + HEAD[HEAD.index("// Fills memory") : HEAD.index("// The same footprint")]
    + _BODY
)


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    data = Buffer("data", SMS * REGION_BYTES, "weights", zeroed=True)
    scramble(runner, benchmark, data)
    for stages in STAGES:
        for place in PLACES:
            for sharers in SHARERS:
                if place == "near" or sharers not in (1, SMS):
                    yield _one(runner, benchmark, data, stages, place, sharers)


def _one(runner: Runner, benchmark: Benchmark, data: Buffer, stages: int, place: str, sharers: int) -> Row:
    point = Point(
        f"region_{stages}",
        warps=THREADS // 32,
        ctas=SMS,
        arguments=(data, np.uint32(sharers), np.uint32(place == "near")),
        shared_bytes=stages * STAGE_BYTES,
        trips=TRIPS,
        simulated=False,
    )
    few, many = (runner.time_us(launch(benchmark, point, trips)) for trips in TRIPS)
    rate = (TRIPS[1] - TRIPS[0]) * SMS * STAGE_BYTES / (many - few) / GB
    params: dict[str, Parameter] = {"kb": stages * STAGE_BYTES // 1024, "place": place, "sharers": sharers}
    name = " ".join(["received", *(f"{key}={value}" for key, value in params.items())])
    return Row(benchmark.name, name, params, rate * GB / runner.clock_mhz, "bytes/cycle", 0.0, 1)


BENCHMARK = Benchmark(
    name="l2_sharing",
    about="L2 bandwidth against how many SMs read the same lines at the same time",
    source=SOURCE,
    measure=_measure,
)
