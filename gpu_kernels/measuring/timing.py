"""Time per call in the steady state: CUDA graphs over rotating copies of what does not stay in the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from gpu_kernels.measuring.clock import ClockStamps, mean_clock_mhz
from gpu_kernels.measuring.device import Device
from sim.isa.launch import KernelLaunch

ROTATING_ROLES = ("weights", "scales")  # a model's other layers evict them between two uses
L2_MULTIPLE = 4  # copies together are this many times the L2
MAX_ROTATION_BYTES = 8 * 10**9
MAX_COPIES = 512  # bounds the graph where one copy is tiny
MIN_CALLS = 48  # per graph: spreads the 1 to 2 us between two graphs
MIN_REPLAYS, MAX_REPLAYS = 24, 200
LEAST_TOTAL_MS = 20.0  # of all replays together, where MAX_REPLAYS allows
ALIGNMENT = 512
WARM_UPS = 2


@dataclass(frozen=True)
class Times:
    """Microseconds per call over the replays; ``spread_us`` is the distance between the quartiles."""

    median_us: float
    spread_us: float
    minimum_us: float
    replays: int
    calls: int  # per replay
    clock_mhz: float | None  # mean SM clock while the replays ran


def copies_needed(bytes_per_copy: int, l2_bytes: int) -> int:
    """Return how many copies make L2_MULTIPLE times the L2, within what memory and graph allow; 2 or more."""
    wanted = -(-L2_MULTIPLE * l2_bytes // max(1, bytes_per_copy))
    allowed = min(MAX_COPIES, MAX_ROTATION_BYTES // max(1, bytes_per_copy))
    return max(2, min(wanted, allowed))


def calls_per_graph(copies: int) -> int:
    """Return the least multiple of ``copies`` that is MIN_CALLS or more: every copy is used equally often."""
    return copies * -(-MIN_CALLS // copies)


def replays_for(graph_ms: float) -> int:
    """Return how often to replay a graph that takes so long."""
    wanted = LEAST_TOTAL_MS / max(graph_ms, 1e-3)
    return int(min(MAX_REPLAYS, max(MIN_REPLAYS, wanted)))


def rotating_bytes(launch: KernelLaunch) -> int:
    """Return the bytes of a launch's weights and scales."""
    return sum(each.nbytes for each in launch.buffers if each.role in ROTATING_ROLES)


class RotatingCopies:
    """Copies of a launch's weights and scales, each in memory of its own."""

    def __init__(self, device: Device, launch: KernelLaunch, copies: int) -> None:
        self.copies = copies
        self.bytes_per_copy = rotating_bytes(launch)
        self._areas: dict[str, Any] = {}
        self._strides: dict[str, int] = {}
        for each in launch.buffers:
            if each.role in ROTATING_ROLES and each.data is not None:
                stride = -(-each.nbytes // ALIGNMENT) * ALIGNMENT
                self._strides[each.name] = stride
                self._areas[each.name] = repeated(device, each.data, stride, copies)
        device.synchronize()

    @property
    def first(self) -> dict[str, Any]:
        """Return arrays whose start is the first copy."""
        return dict(self._areas)

    @property
    def total_bytes(self) -> int:
        """Bytes of all copies."""
        return self.copies * self.bytes_per_copy

    def pointers(self, copy: int) -> dict[str, int]:
        """Return where copy number ``copy`` of each buffer lies."""
        return {name: int(area.data.ptr) + copy * self._strides[name] for name, area in self._areas.items()}


def repeated(device: Device, data: np.ndarray[Any, Any], stride: int, copies: int) -> Any:
    """Upload ``data`` once and copy it on the device."""
    area, original = device.empty(stride * copies), device.upload(data)
    for copy in range(copies):
        (area.data + copy * stride).copy_from_device(original.data, original.nbytes)
    return area


def time_launch(
    device: Device, launch: KernelLaunch, fixed: Mapping[str, int], rotation: RotatingCopies
) -> Times:
    """Time a launch; ``fixed`` are the addresses of what stays: activations, output, workspace."""
    device.kernel(launch)
    sets = [{**fixed, **rotation.pointers(copy)} for copy in range(rotation.copies)]
    return time_calls(device, [partial(device.enqueue, launch, each) for each in sets])


def time_calls(device: Device, each_copy: Sequence[Callable[[], None]]) -> Times:
    """Capture the calls, one per copy, as one graph and time its replays.

    Replays are enqueued back to back with events between them, so that the host is never waited for.
    """
    count = calls_per_graph(len(each_copy))
    with device.stream:
        each_copy[0]()  # loads the code before the capture
        device.synchronize()
        graph = _capture(device, each_copy, count)
        graph_ms = _milliseconds(device, graph, WARM_UPS)[-1]
        _milliseconds(device, graph, replays_for(graph_ms))  # until the clock has settled
        replays = replays_for(graph_ms)
        stamps = ClockStamps(device)
        stamps.before()
        times = np.array(_milliseconds(device, graph, replays)) * 1e3 / count
        stamps.after()
    low, median, high = (float(each) for each in np.percentile(times, (25, 50, 75)))
    return Times(median, high - low, float(times.min()), replays, count, mean_clock_mhz(stamps))


def _capture(device: Device, each_copy: Sequence[Callable[[], None]], count: int) -> Any:
    device.stream.begin_capture()
    try:
        for call in range(count):
            each_copy[call % len(each_copy)]()
    except Exception:
        with suppress(Exception):  # a stream left in capture would spoil every later case
            device.stream.end_capture()
        raise
    graph = device.stream.end_capture()
    graph.upload(device.stream)
    return graph


def _milliseconds(device: Device, graph: Any, replays: int) -> list[float]:
    """Replay a graph and return the time of each replay."""
    cuda = device.cupy.cuda
    events = [cuda.Event() for _ in range(replays + 1)]
    graph.launch(device.stream)  # the host gets ahead while this one runs
    events[0].record(device.stream)
    for event in events[1:]:
        graph.launch(device.stream)
        event.record(device.stream)
    device.stream.synchronize()
    return [float(cuda.get_elapsed_time(a, b)) for a, b in pairwise(events)]
