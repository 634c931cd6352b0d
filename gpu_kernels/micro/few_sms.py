"""What an SM gets from L2 and DRAM while only some SMs are at work, and which SMs these are.

Every CTA walks along rows of its own (or every other time along rows that all of them read) and notes how long it
took and on which SM. SMs 2i and 2i + 1 are a TPC: a CTA whose neighbour has one as well is *paired*.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gpu_kernels.micro.bandwidth import BENCHMARK as BANDWIDTH
from gpu_kernels.micro.bandwidth import DEEP, HEAD, SMS, STAGE_BYTES, THREADS, scramble
from gpu_kernels.micro.benchmark import Benchmark, Feed, Parameter, Point, Row, Table, launch, significant
from gpu_kernels.micro.tma import BARRIER_BYTES, COPIES
from gpu_kernels.micro.tma_boxes import BOXES
from sim.isa.launch import Buffer, TensorMap

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

I64 = npt.NDArray[np.int64]
BUSY = (1, 2, 4, 8, 12, 16, 24, 33, 40, 48, 52, 60, 66, 72, 80, 88, 99, 110, 120, 132)
FEW, MANY = (8, 33, 66, 99, 132), 99
ROWS, ROW_BYTES = 64, 128  # of a box
BOX_BYTES = ROWS * ROW_BYTES
L2_BLOCKS, DRAM_BLOCKS = 16, 64  # of 128 bytes along a row
DRAM_ROWS = 96 * 1024
DEPTHS_KB = (32, 64, 128)
OFFSETS = (0, 64, 16)  # bytes from a line's begin to a row's
TRIPS = {"l2": 2048, "common": 2048, "dram": 512}
STREAM_TRIPS = 8192
INSIDE = (60, 34, 8)  # rows that exist, of a box
RUNS = 4
CLUSTER_SMS = 16.5  # l2.cluster_sms

SOURCE = (
    HEAD[: HEAD.index("// A ring of stages")]
    + COPIES
    + BOXES
    + r"""
#define PLACE if (threadIdx.x == 0) { u32 sm; asm("mov.u32 %0, %%smid;" : "=r"(sm)); sink[blockIdx.x] = sm; }

// `stages` boxes in flight. A CTA goes along `blocks` blocks of its rows from `column` on, then `down` rows further;
// with `common` every other box is from the first CTA's rows.
MICRO(boxes, const char* data, const __grid_constant__ TensorMap map, u32 rows, u32 stages, u32 blocks, u32 column,
      u32 down, u32 common) {
  const u32 bars = shared_base(), base = bars + 1024;
  if (threadIdx.x == 0) for (u32 j = 0; j < stages; ++j) INIT(bars + 8 * j, 1u);
  u32 row = rows * blockIdx.x, block = 0, slot = 0, parity = 0;
  PLACE
  BEGIN
  for (u32 i = 0; i < trips + stages; ++i) {
    const u32 bar = bars + 8 * slot;
    if (i >= stages) AWAIT(bar, parity ^ 1);
    if (elected()) {
      EXPECT(bar, 128 * rows);
      BOX(base + slot * 128 * rows, map, column + 64 * block, common && i % 2 ? 0 : row, bar);
    }
    if (++block == blocks) {
      block = 0;
      row += down;
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

// 32 stages of 4 KiB in flight, through 128 KiB of the CTA's own.
MICRO(stream, const char* data) {
  const u32 base = shared_base() + 16 * threadIdx.x;
  const char* from = data + 131072ull * blockIdx.x + 16 * threadIdx.x;
  u32 at = 0, slot = 0;
  PLACE
  BEGIN
  REPEAT(j, 32) {
    COPY(base + 4096 * j, from + at);
    COMMIT;
    at = (at + 4096) & 131071;
  }
  LOOP {
    WAIT(31);
    COPY(base + slot, from + at);
    COMMIT;
    at = (at + 4096) & 131071;
    slot = slot == 4096 * 31 ? 0 : slot + 4096;
  }
  WAIT(0);
  END(slot)
}
"""
)


class Reading(NamedTuple):
    """What the CTAs of one run noted: bytes per cycle of each, and its SM."""

    rates: npt.NDArray[np.float64]
    sms: I64

    @property
    def paired(self) -> npt.NDArray[np.bool_]:
        """Say of each CTA whether the other SM of its TPC has one."""
        return np.isin(self.sms ^ 1, self.sms)


def _measure(runner: Runner, benchmark: Benchmark) -> Iterator[Row]:
    near = Buffer("data", SMS * ROWS * (L2_BLOCKS + 1) * ROW_BYTES, "weights", zeroed=True)
    far = Buffer("data", DRAM_ROWS * (DRAM_BLOCKS + 1) * ROW_BYTES, "weights", zeroed=True)
    for data in (near, far):
        scramble(runner, BANDWIDTH, data)
    for ctas in BUSY:
        yield from _stream(runner, benchmark, near, ctas)
        for kilobytes in DEPTHS_KB:
            for offset in OFFSETS if kilobytes == 64 else OFFSETS[:1]:
                yield from _boxes(runner, benchmark, near, "l2", kilobytes, offset, ctas)
        for offset in OFFSETS[:2]:
            yield from _boxes(runner, benchmark, near, "common", 128, offset, ctas)
            yield from _boxes(runner, benchmark, far, "dram", 128, offset, ctas)
    for inside in INSIDE:
        for ctas in FEW:
            yield from _boxes(runner, benchmark, near, "l2", 64, 0, ctas, inside)


def _stream(runner: Runner, benchmark: Benchmark, data: Buffer, ctas: int) -> Iterator[Row]:
    point = Point(
        "stream",
        warps=THREADS // 32,
        ctas=ctas,
        arguments=(data,),
        shared_bytes=DEEP * STAGE_BYTES,
        simulated=False,
    )
    found = read(runner, benchmark, point, STREAM_TRIPS, (STREAM_TRIPS + DEEP) * STAGE_BYTES)
    yield from _rows(benchmark, found, "stream", {"ctas": ctas})


def boxes_point(data: Buffer, level: str, kilobytes: int, offset: int, ctas: int, inside: int = 0) -> Point:
    """Describe one depth and width; with ``inside`` each box has only so many rows, the matrix ends there."""
    blocks, stages = DRAM_BLOCKS if level == "dram" else L2_BLOCKS, kilobytes * 1024 // BOX_BYTES
    pitch = (blocks + 1) * ROW_BYTES
    rows = inside or data.nbytes // pitch
    place = TensorMap(data.name, 2, (pitch // 2, rows), (pitch,), (ROW_BYTES // 2, ROWS), ROW_BYTES)
    down = ROWS * ctas if level == "dram" else 0
    numbers = (ROWS, stages, blocks, offset // 2, down, int(level == "common"))
    return Point(
        "boxes",
        ctas=ctas,
        arguments=(data, place, *(np.uint32(each) for each in numbers)),
        shared_bytes=BARRIER_BYTES + stages * BOX_BYTES,
        cold=level == "dram",
        simulated=False,
    )


def _boxes(
    runner: Runner,
    benchmark: Benchmark,
    data: Buffer,
    level: str,
    kilobytes: int,
    offset: int,
    ctas: int,
    inside: int = 0,
) -> Iterator[Row]:
    point = boxes_point(data, level, kilobytes, offset, ctas, inside)
    nbytes = TRIPS[level] * BOX_BYTES + kilobytes * 1024
    found = read(runner, benchmark, point, TRIPS[level], nbytes)
    params: dict[str, Parameter] = {"level": level, "kb": kilobytes, "offset": offset, "ctas": ctas}
    yield from _rows(benchmark, found, "boxes", {**params, **({"inside": inside} if inside else {})})


def read(runner: Runner, benchmark: Benchmark, point: Point, trips: int, nbytes: int) -> Reading:
    """Run several times; return the run whose slowest CTA was fastest."""
    from gpu_kernels.micro.collect import durations

    described, best = launch(benchmark, point, trips), Reading(np.zeros(1), np.zeros(1, np.int64))
    for _ in range(RUNS):
        if point.cold:
            runner.flush()
        arrays = runner.run(described)
        sms = arrays["sink"].get().view(np.uint32)[: point.ctas].astype(np.int64)
        found = Reading(nbytes / durations(arrays["clocks"].get(), point.ctas), sms)
        best = max(best, found, key=lambda each: float(each.rates.min()))
    return best


def _rows(benchmark: Benchmark, found: Reading, kernel: str, params: dict[str, Parameter]) -> Iterator[Row]:
    paired = found.paired
    groups: dict[str, Any] = {
        "all": found.rates,
        "slowest": found.rates[[int(found.rates.argmin())]],
        "paired": found.rates[paired],
        "alone": found.rates[~paired],
    }
    for name, rates in groups.items():
        if len(rates):
            every = {**params, "of": name, "sms": len(rates)}
            tail = " ".join(f"{key}={value}" for key, value in every.items())
            mean = float(1 / (1 / rates).mean())
            yield Row(benchmark.name, f"{kernel} {tail}", every, mean, "bytes/cycle/SM", 0.0, RUNS)


def busy_share(table: Table) -> list[dict[str, float]]:
    """Return what part of L2's bandwidth SMs get together, each as much as the slowest, against how many there are."""
    everyone = table.of("l2_sharing").value("received", kb=48, place="near", sharers=1)
    together = {
        int(row.params["ctas"]): float(row.params["ctas"]) * row.value
        for row in table.values("stream")
        if row.params["of"] == "slowest"
    }
    points, most = [{"busy": 0.0, "share": 0.0}], 0.0
    for ctas in sorted(together)[:-1]:
        most = max(most, min(1.0, together[ctas] / everyone))
        points.append({"busy": significant(ctas / SMS, 3), "share": significant(most, 3)})
    return [*points, {"busy": 1.0, "share": 1.0}]


def late_share(table: Table) -> float:
    """Return what part of the answers that SMs could share they do not, while they also read data of their own.

    Half of what a CTA reads all of them read. L2 is the limit where three quarters of the SMs and more are at work:
    the less it sends twice, the faster they are.
    """
    found = []
    for ctas in (each for each in BUSY if each >= MANY):
        own, common = (_mean_rate(table, level, ctas) for level in ("l2", "common"))
        alone = 0.5 + 0.5 / (CLUSTER_SMS * ctas / SMS)
        found.append((own / common - alone) / (1.0 - alone))
    return float(np.mean(found))


def _mean_rate(table: Table, level: str, ctas: int) -> float:
    shape: dict[str, Parameter] = {"level": level, "kb": DEPTHS_KB[-1], "offset": 0, "ctas": ctas}
    return table.value("boxes", **shape, of="all", sms=ctas)


def piece_interval(table: Table) -> float:
    """Return what a piece of a row takes: one SM, each row cut in two by a line's end."""
    shape: dict[str, Parameter] = {"level": "l2", "kb": 64, "offset": 64, "ctas": 1}
    return BOX_BYTES / table.value("boxes", **shape, of="all", sms=1) / (2 * ROWS)


BENCHMARK = Benchmark(
    name="few_sms",
    about="bytes per cycle of an SM against how many SMs are at work; rows of boxes that begin inside a line",
    source=SOURCE,
    feeds=(
        Feed("l2.busy_share", busy_share, needs=("l2_sharing",)),
        Feed("l2.late_share", late_share, digits=2),
        Feed("sm.bulk_copy.piece_interval_cycles", piece_interval),
    ),
    measure=_measure,
)
