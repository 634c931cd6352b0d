"""What few SMs get from L2, and what boxes cost whose rows begin inside a line: as micro/few_sms measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gpu_kernels
from gpu_kernels import catalog
from gpu_kernels.micro.benchmark import Table, launch
from gpu_kernels.micro.collect import read_rows
from gpu_kernels.micro.few_sms import BENCHMARK, BOX_BYTES, L2_BLOCKS, ROW_BYTES, ROWS, TRIPS, boxes_point
from sim.arch.load import load_gpu
from sim.chip.memory_system import Demand, MemorySystem
from sim.chip.run import trace_launch
from sim.commands.micro import cycles
from sim.isa.launch import Buffer

GPU = load_gpu("h200")
READINGS = Table(read_rows(Path(gpu_kernels.__file__).parent / "measurements/h200/micro/few_sms.jsonl")[0])


def rate(sms: float, merged: float = 0.0) -> float:
    """Return the bytes per SM cycle that each of so many SMs receives, if none waits for anything but L2's rate."""
    memory, nbytes = MemorySystem(GPU, GPU.sm.max_clock_mhz), 1e9 * sms
    demand = Demand(lambda latency: 0.0, 0.0, nbytes, 0.0, sms, merged_bytes=merged * nbytes)
    (duration_ns,) = memory.balance([demand]).durations_ns
    return 1e9 / duration_ns * memory.ns_per_cycle


@pytest.mark.parametrize("sms", [12, 24, 33, 48, 66, 72, 99, 120, 132])
def test_sms_receive_what_the_slowest_of_so_many_was_measured_to(sms: int) -> None:
    assert rate(sms) == pytest.approx(READINGS.value("stream", ctas=sms, of="slowest", sms=1), rel=0.03)


def test_sms_at_work_get_as_much_however_they_are_grouped_and_whoever_else_computes() -> None:
    memory = MemorySystem(GPU, GPU.sm.max_clock_mhz)

    def slowest(cohorts: int, idle: float) -> float:
        def waits(latency: float) -> float:
            return latency * 1e5  # with 16 KB on their way

        some = [Demand(waits, 0.0, 16e8 * 40 / cohorts, 0.0, 40 / cohorts)] * cohorts
        others = [Demand(lambda latency: 1e9, 0.0, 0.0, 0.0, idle)] if idle else []
        return memory.balance([*some, *others]).durations_ns[0]

    assert slowest(2, 0) == pytest.approx(slowest(1, 0), rel=1e-3)
    assert slowest(2, 92) == pytest.approx(slowest(1, 0), rel=1e-3)
    assert slowest(4, 92) == pytest.approx(slowest(1, 0), rel=1e-3)


def test_one_sm_is_held_to_its_port() -> None:
    assert rate(1) == pytest.approx(GPU.l2.sm_port_bytes_per_cycle, rel=0.01)


def test_more_sms_receive_more_together() -> None:
    received = [sms * rate(sms) for sms in range(1, 133)]
    assert (np.diff(received) >= -1e-6).all()
    assert received[-1] == pytest.approx(GPU.l2.bandwidth_bytes_per_cycle)


@pytest.mark.parametrize("sms", [99, 110, 120, 132])
def test_half_of_the_data_in_common_helps_as_much_as_measured(sms: int) -> None:
    """Each SM's mean rate, with the other half its own: as many times that without anything in common."""
    shape = {"kb": 128, "offset": 0, "ctas": sms, "of": "all", "sms": sms}
    own, common = (READINGS.value("boxes", level=level, **shape) for level in ("l2", "common"))
    together = 132 / 16.5 / sms  # the share that leaves L2, if all ask in time
    late = GPU.l2.late_share
    sent = 0.5 + 0.5 * (together + late * (1 - together))
    assert rate(sms, merged=1 - sent) / rate(sms) == pytest.approx(common / own, rel=0.06)


@pytest.mark.jit
@pytest.mark.parametrize(("offset", "tolerance"), [(0, 0.02), (64, 0.02), (16, 0.02)])
def test_a_box_takes_a_cycle_per_piece_of_a_row(offset: int, tolerance: float) -> None:
    """Rows of 128 bytes that begin 64 bytes into a line are two pieces, 16 bytes into it three."""
    data = Buffer("data", ROWS * (L2_BLOCKS + 1) * ROW_BYTES, "weights", zeroed=True)
    point = replace(boxes_point(data, "l2", 64, offset, 1), simulated=True)
    few, many = (cycles(launch(BENCHMARK, point, trips), GPU) for trips in (TRIPS["l2"] // 2, TRIPS["l2"]))
    measured = READINGS.value("boxes", level="l2", kb=64, offset=offset, ctas=1, of="all", sms=1)
    assert BOX_BYTES * TRIPS["l2"] / 2 / (many - few) == pytest.approx(measured, rel=tolerance)


@pytest.mark.jit
@pytest.mark.parametrize(("k", "whole"), [(4096, 1.0), (4128, 0.5), (4112, 0.25)])
def test_rows_that_a_lines_end_cuts_are_not_sent_to_several_sms(k: int, whole: float) -> None:
    """Of halves: of 4128 every other row begins at a line, of 4112 every fourth."""
    (described,) = catalog.launches("fp16_wgmma", 64, 1024, k, {}, GPU, "64x64")
    traffic = trace_launch(described)[0].traffic
    assert traffic.whole_loads.sum() / traffic.bulk_loads.sum() == pytest.approx(whole, abs=0.04)
