"""Tensor copies (TMA): boxes of 128-byte rows with the 128-byte swizzle, as wgmma reads them.

``box`` awaits each box; ``boxes`` keeps stages of them in flight (GPU only): each CTA walks along its rows, as a matmul
goes along K, or all CTAs read the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.micro.bandwidth import BENCHMARK as BANDWIDTH
from gpu_kernels.micro.bandwidth import GB, MEGABYTE, SMS, scramble
from gpu_kernels.micro.benchmark import Benchmark, Parameter, Point, Row, launch
from gpu_kernels.micro.tma import BARRIER_BYTES, COPIES, TRIPS, WAITS
from sim.isa.launch import Buffer, TensorMap

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

ROW_BYTES = 128  # of a box
ROWS = (32, 64, 128, 256)
PITCH_BYTES = 8192  # of the matrix: 4096 halves
BLOCKS = PITCH_BYTES // ROW_BYTES
NEAR_BYTES, FAR_BYTES = 8 * MEGABYTE, 64 * MEGABYTE
EDGES = (
    (64, 64),
    (64, 60),
    (64, 34),
    (64, 8),
    (128, 128),
    (128, 57),
    (128, 12),
)  # rows of a box, rows that exist
EDGE_KB = 64  # in flight
IN_FLIGHT_KB = (8, 16, 32, 64, 128, 192)
RING_DRAM_MB, RING_L2_MB = 2048, 16

BOXES = r"""
struct alignas(64) TensorMap {
  unsigned char opaque[128];
};
#define BOX(to, map, column, row, bar)                                                                     \
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "   \
               "[%1, {%3, %4}], [%2];" ::"r"(to), "l"(&map), "r"(bar), "r"(column), "r"(row) : "memory")
"""

SOURCE = (
    COPIES
    + BOXES
    + r"""
// One box at a time: 64 beside each other, then `rows` further down.
MICRO(box, const char* data, const __grid_constant__ TensorMap map, u32 rows) {
  const u32 bar = shared_base();
  if (threadIdx.x == 0) INIT(bar, 1u);
  u32 number = 0;
  BEGIN
  LOOP REPEAT(j, 8) {
    if (elected()) {
      EXPECT(bar, 128 * rows);
      BOX(bar + 1024, map, number % 64 * 64, number / 64 * rows, bar);
    }
    AWAIT(bar, j % 2u);
    ++number;
  }
  END(number)
}

// One box at a time, of which the matrix has only the first rows: the others are filled with zeros.
MICRO(edge, const char* data, const __grid_constant__ TensorMap map, u32 rows) {
  const u32 bar = shared_base();
  if (threadIdx.x == 0) INIT(bar, 1u);
  u32 number = 0;
  BEGIN
  LOOP REPEAT(j, 8) {
    if (elected()) {
      EXPECT(bar, 128 * rows);
      BOX(bar + 1024, map, number % 64 * 64, 0, bar);
    }
    AWAIT(bar, j % 2u);
    ++number;
  }
  END(number)
}

// `stages` boxes in flight. A CTA goes along the 64 blocks of its rows, then further down; rows wrap around at `mask`.
MICRO(boxes, const char* data, const __grid_constant__ TensorMap map, u32 rows, u32 stages, u32 mask, u32 step) {
  const u32 bars = shared_base(), base = bars + 1024;
  if (threadIdx.x == 0) for (u32 j = 0; j < stages; ++j) INIT(bars + 8 * j, 1u);
  u32 row = step ? rows * blockIdx.x : 0, column = 0, slot = 0, parity = 0;
  BEGIN
  for (u32 i = 0; i < trips + stages; ++i) {
    const u32 bar = bars + 8 * slot;
    if (i >= stages) AWAIT(bar, parity ^ 1);
    if (elected()) {
      EXPECT(bar, 128 * rows);
      BOX(base + slot * 128 * rows, map, column, row, bar);
    }
    column += 64;
    if (column == 4096) {
      column = 0;
      row = (row + (step ? rows * gridDim.x : rows)) & mask;
    }
    if (++slot == stages) {
      slot = 0;
      parity ^= 1;
    }
  }
  for (u32 j = 0; j < stages; ++j) {
    AWAIT(bars + 8 * slot, parity ^ 1);
    if (++slot == stages) {
      slot = 0;
      parity ^= 1;
    }
  }
  END(slot)
}
"""
)

NEAR = Buffer("data", NEAR_BYTES, "activations", zeroed=True)
FAR = Buffer("data", FAR_BYTES, "weights", zeroed=True)


def tensor_map(data: Buffer, rows: int, inside: int = 0) -> TensorMap:
    """Return the map of a buffer as a matrix of halves (of so many rows), read in boxes of 64 columns."""
    dims = (PITCH_BYTES // 2, inside or data.nbytes // PITCH_BYTES)
    return TensorMap(data.name, 2, dims, (PITCH_BYTES,), (ROW_BYTES // 2, rows), ROW_BYTES)


def _points() -> Iterator[Point]:
    for rows in ROWS:
        for level, data in (("l2", NEAR), ("dram", FAR)):
            yield Point(
                kernel="box",
                count=WAITS,
                params={"level": level, "rows": rows},
                arguments=(data, tensor_map(data, rows), np.uint32(rows)),
                shared_bytes=BARRIER_BYTES + ROW_BYTES * rows,
                trips=TRIPS,
                cold=level == "dram",
                simulated=level == "l2",
            )

    for rows, inside in EDGES:
        yield Point(
            kernel="edge",
            count=WAITS,
            params={"rows": rows, "inside": inside},
            arguments=(NEAR, tensor_map(NEAR, rows, inside), np.uint32(rows)),
            shared_bytes=BARRIER_BYTES + ROW_BYTES * rows,
            trips=TRIPS,
        )


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    far = Buffer("data", RING_DRAM_MB * MEGABYTE, "weights", zeroed=True)
    near = Buffer("data", RING_L2_MB * MEGABYTE, "weights", zeroed=True)
    for data in (far, near):
        scramble(runner, BANDWIDTH, data)
    for rows in ROWS:
        for kilobytes in IN_FLIGHT_KB:
            stages = kilobytes * 1024 // (ROW_BYTES * rows)
            if stages:
                yield _boxes(runner, benchmark, "l2", near, rows, stages, 1)
                yield _boxes(runner, benchmark, "l2", near, rows, stages, SMS)
                yield _boxes(runner, benchmark, "dram", far, rows, stages, SMS)
                yield _boxes(runner, benchmark, "shared", far, rows, stages, SMS)
    for rows, inside in EDGES:
        for ctas in (1, SMS):
            yield _boxes(
                runner, benchmark, "edge", near, rows, EDGE_KB * 1024 // (ROW_BYTES * rows), ctas, inside
            )


def _boxes(
    runner: Runner,
    benchmark: Benchmark,
    level: str,
    data: Buffer,
    rows: int,
    stages: int,
    ctas: int,
    inside: int = 0,
) -> Row:
    """Time one width and depth; with ``shared`` all CTAs read the same boxes, 1/132 of the buffer.

    With ``inside`` they read the matrix's only boxes, of which it has so many rows.
    """
    size = ROW_BYTES * rows
    passes = {"l2": 16, "dram": 1, "shared": 1, "edge": 16}[level] * data.nbytes
    trips = max(4 * stages, min(passes // (SMS * size), 16_384) - stages)
    lines = 1 if inside else data.nbytes // PITCH_BYTES
    step = np.uint32(level not in ("shared", "edge"))
    shape = (np.uint32(rows), np.uint32(stages), np.uint32(lines - 1), step)
    point = Point(
        "boxes",
        ctas=ctas,
        arguments=(data, tensor_map(data, rows, inside), *shape),
        shared_bytes=BARRIER_BYTES + stages * size,
        trips=(trips // 4, trips),
        simulated=False,
    )
    few, many = (runner.time_us(launch(benchmark, point, count)) for count in point.trips)
    rate = (trips - trips // 4) * ctas * size / (many - few) / GB
    params: dict[str, Parameter] = {"level": level, "rows": rows, "kb": stages * size // 1024, "ctas": ctas}
    params |= {"inside": inside} if inside else {}
    tail = " ".join(f"{key}={value}" for key, value in params.items())
    return Row(benchmark.name, f"boxes {tail}", params, rate, "GB/s", 0.0, 1)


BENCHMARK = Benchmark(
    name="tma_boxes",
    about="tensor copies of swizzled boxes: SM cycles of one that is awaited; GB/s against bytes in flight",
    source=SOURCE,
    points=tuple(_points()),
    measure=_measure,
)
