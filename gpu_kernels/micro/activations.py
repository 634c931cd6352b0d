"""Streams from DRAM with lines beside them that all SMs read, as a matmul's weights and activations.

A CTA's stage is 8 KiB of its own stream and ``extra`` KiB more: from a small matrix that all CTAs go through together
("hot"), or from one of its own that L2 holds as well ("own"). What the extra costs, beside the same stream alone, says
what L2's answers to many SMs at once take. Each reading is a node of a CUDA graph, as in ``walk``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.measuring.device import addresses
from gpu_kernels.measuring.timing import time_calls
from gpu_kernels.micro.benchmark import Benchmark, Parameter, Point, Row, launch
from gpu_kernels.micro.walk import COPY, DATA_MB, MEGABYTE, NODES, ROW_BYTES, ROWS, SMS, STAGE_BYTES, THREADS
from sim.isa.launch import Buffer

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

STAGES = (3, 5)
EXTRA_KB = (0, 2, 8, 16)
ROW = 16384  # bytes of a CTA's stream along each of its 64 rows
HOT_ROWS = 128
OWN_COLUMNS = 512  # bytes
KINDS = ("hot", "own")


def _kernel(stages: int, extra: int) -> str:
    rows = extra // 2  # passes of 16 rows of 128 bytes
    return f"""
MICRO(beside_{stages}_{extra}, const char* data, const char* common, u64 apart, u32 mask) {{
  const u32 row = threadIdx.x / 8, column = 16 * (threadIdx.x % 8);
  const char* from = data + blockIdx.x * {ROWS * ROW}ull + row * {ROW}ull + column;
  const char* beside = common + blockIdx.x * apart + row * {ROW}ull + column;
  u32 at = 0;
  const u32 base = shared_base() + 16 * threadIdx.x, last = base + {(STAGE_BYTES + 1024 * extra) * (stages - 1)};
  u32 to = base;
  BEGIN
  REPEAT(s, {stages - 1}) {{
    REPEAT(r, 4) COPY(to + 2048 * r, from + r * {16 * ROW});
    REPEAT(r, {rows}) COPY(to + {STAGE_BYTES} + 2048 * r, beside + at + r * {16 * ROW});
    COMMIT;
    from += 128, at = (at + 128) & mask, to += {STAGE_BYTES + 1024 * extra};
  }}
  LOOP {{
    WAIT({stages - 2});
    __syncthreads();
    REPEAT(r, 4) COPY(to + 2048 * r, from + r * {16 * ROW});
    REPEAT(r, {rows}) COPY(to + {STAGE_BYTES} + 2048 * r, beside + at + r * {16 * ROW});
    COMMIT;
    from += 128, at = (at + 128) & mask;
    to = to == last ? base : to + {STAGE_BYTES + 1024 * extra};
  }}
  WAIT(0);
  END(to)
}}
"""


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    data = Buffer("data", DATA_MB * MEGABYTE, "activations", zeroed=True)
    for stages in STAGES:
        for extra in EXTRA_KB:
            for kind in KINDS if extra else ("hot",):
                yield _one(runner, benchmark, data, stages, extra, kind)


def _one(runner: Runner, benchmark: Benchmark, data: Buffer, stages: int, extra: int, kind: str) -> Row:
    """Time a node. What is a CTA's own are the first columns of as many rows, read again and again."""
    rows = 8 * extra  # of 128 bytes, in a stage
    own_bytes, mask = (rows * ROW, OWN_COLUMNS - 1) if kind == "own" else (0, ROW - 1)
    common = Buffer("common", HOT_ROWS * ROW + SMS * own_bytes + ROW, "activations", zeroed=True)
    point = Point(
        f"beside_{stages}_{extra}",
        warps=THREADS // 32,
        ctas=SMS,
        arguments=(data, common, np.int64(own_bytes), np.uint32(mask)),
        shared_bytes=(STAGE_BYTES + 1024 * extra) * stages,
        simulated=False,
    )
    each = launch(benchmark, point, ROW // ROW_BYTES - stages + 1)
    arrays = runner.place(each)
    pointers = addresses(arrays)
    runner.device.kernel(each)
    nbytes = SMS * ROWS * ROW
    copies = min(NODES, data.nbytes // nbytes - 1)
    moved = [pointers | {"data": pointers["data"] + i * nbytes} for i in range(copies)]
    times = time_calls(runner.device, [partial(runner.device.enqueue, each, to) for to in moved])
    params: dict[str, Parameter] = {"stages": stages, "extra": extra, "kind": kind}
    label = " ".join(["node_us", *(f"{key}={value}" for key, value in params.items())])
    spread = times.spread_us / times.median_us
    return Row(benchmark.name, label, params, times.median_us, "us", spread, times.replays)


BENCHMARK = Benchmark(
    name="activations",
    about="streams from DRAM with lines beside them that all SMs read at the same time, or each its own from L2",
    source=COPY + "".join(_kernel(stages, extra) for stages in STAGES for extra in EXTRA_KB),
    measure=_measure,
)
