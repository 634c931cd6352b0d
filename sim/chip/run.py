"""One launch on one GPU: execute its CTA classes, time them on an SM, compose them on the chip."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.arch.spec import GpuSpec
from sim.chip.cache import Cache
from sim.chip.curves import LatencyCurve, SmTimer, TracedClass, one_loop_per_warp
from sim.chip.device import STREAMING, CtaWork, DeviceRun, run_device
from sim.chip.fixed_cost import fixed_cost_us
from sim.chip.memory_system import MemorySystem
from sim.chip.occupancy import Occupancy, occupancy
from sim.chip.operations import input_type, mma_counts, warp_ops
from sim.chip.sharing import merged_shares
from sim.chip.traffic import DramTraffic, cta_traffic, dram_traffic
from sim.chip.waits import awaited_share
from sim.exec.execute import execute
from sim.exec.probe import first_touches
from sim.extensions import require_no_marks
from sim.isa.launch import CtaClass, KernelLaunch
from sim.isa.trace import WarpTrace
from sim.sm.plan import MOST_ITERATIONS

F64 = npt.NDArray[np.float64]
TRACES_KEPT = 256

_TRACES = Cache(TRACES_KEPT, lambda classes: sum(len(each.trace.pc) for each in classes))
_TRAFFIC = Cache(TRACES_KEPT)
_SHARES = Cache(TRACES_KEPT)


@dataclass(frozen=True, eq=False)
class ChipRun:
    """A launch on a chip: what ran, how long, and under which load."""

    launch: KernelLaunch
    classes: tuple[TracedClass, ...]
    occupancy: Occupancy
    dram: DramTraffic
    device: DeviceRun
    clock_mhz: float
    launch_us: float  # fixed costs
    sms: int
    timer: SmTimer
    l2_merged_bytes: float = 0.0  # of what SMs read: what L2 sent along with another SM's

    @property
    def resident(self) -> int:
        """CTAs that share an SM while the launch fills the chip: its occupancy, or what the grid gives."""
        return min(self.occupancy.ctas_per_sm, -(-self.launch.ctas // self.sms))

    @property
    def latency_cycles(self) -> float:
        """The loaded memory latency that the CTAs saw, mean over time, in SM cycles."""
        spans = self.device.spans
        weights = [
            (span.end_ns - span.start_ns) * span.sms * (span.phase == STREAMING) + 1e-12 for span in spans
        ]
        mean = sum(w * span.latency_ns for w, span in zip(weights, spans, strict=True)) / sum(weights)
        return mean * self.clock_mhz / 1e3

    @property
    def spread_us(self) -> float:
        """Half range of the time over seeds of the latency's jitter: of its first class's CTAs, as they ran."""
        waves = max(1, self.device.waves)
        first = self.timer.curve(self.classes[0], self.resident).nearest(self.latency_cycles)
        return waves * first.spread / self.clock_mhz

    @property
    def time_us(self) -> float:
        """Time of the launch in a CUDA graph."""
        return self.launch_us + self.device.duration_ns / 1e3


def trace_launch(launch: KernelLaunch) -> tuple[TracedClass, ...]:
    """Execute one CTA of each class; traces are kept and serve every machine."""
    identity = launch_identity(launch)
    if not launch.data_identity and any(buffer.data is not None for buffer in launch.buffers):
        return _trace_classes(launch)  # data may drive addresses, and which data these are is not known
    return _TRACES.get(identity, lambda: _trace_classes(launch))


def launch_identity(launch: KernelLaunch) -> Hashable:
    """Return all that determines a launch's traces: data by their identity, where they drive them."""
    buffers = tuple((buffer.name, buffer.nbytes, buffer.role) for buffer in launch.buffers)
    classes = tuple((c.cta, c.count, tuple(sorted(c.patches.items()))) for c in launch.classes)
    arguments = tuple(str(argument) for argument in launch.args)
    return (
        launch.program.identity,
        launch.grid,
        launch.block,
        launch.dynamic_shared_bytes,
        arguments,
        buffers,
        classes,
        launch.data_identity,
    )


def _trace_classes(launch: KernelLaunch) -> tuple[TracedClass, ...]:
    buffers = len(launch.buffers)
    return tuple(traced_class(execute(launch, each).trace, each, buffers) for each in launch.classes)


def traced_class(trace: WarpTrace, cta_class: CtaClass, buffers: int) -> TracedClass:
    """Put a trace together with what the chip needs to know of it."""
    return TracedClass(cta_class, trace, _signature(trace), cta_traffic(trace, buffers), awaited_share(trace))


def _signature(trace: WarpTrace) -> str:
    digest = hashlib.sha256(trace.program.identity.encode())
    columns = (trace.offset, trace.pc, trace.lanes, trace.pattern, trace.lines, trace.sectors, trace.misses,
               trace.taken)  # fmt: skip
    loops = trace.loops.copy()
    if one_loop_per_warp(trace):
        loops[:, 2] = np.minimum(loops[:, 2], MOST_ITERATIONS)
    for column in (*columns, loops, trace.patterns):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def run_launch(
    launch: KernelLaunch,
    gpu: GpuSpec,
    clock_mhz: float | None = None,
    traced: tuple[TracedClass, ...] | None = None,
) -> ChipRun:
    """Simulate a launch; the clock follows the load on the tensor cores, unless ``clock_mhz`` fixes it.

    ``traced`` are its CTA classes, where they shall have done something else than the launch says.
    """
    require_no_marks(launch.program)
    classes = trace_launch(launch) if traced is None else traced
    fits = occupancy(launch, gpu)
    dram = _dram(launch, gpu, classes, fits.ctas_per_sm * gpu.sm.count)
    shares = _shares(launch, gpu, fits.ctas_per_sm)
    timer = SmTimer(gpu)
    clock = gpu.sm.max_clock_mhz if clock_mhz is None else clock_mhz
    device = _device(launch, gpu, classes, fits, dram, shares, timer, clock)
    fixed_us = fixed_cost_us(launch, gpu)
    duty = tensor_duty(classes, gpu, (fixed_us + device.duration_ns / 1e3) * clock)
    settled = sustained_clock(gpu, duty) if clock_mhz is None else clock_mhz
    if settled != clock:
        device = _device(launch, gpu, classes, fits, dram, shares, timer, settled)
    merged = sum(each.cta_class.count * each.traffic.merged(shares) for each in classes)
    return ChipRun(launch, classes, fits, dram, device, settled, fixed_us, gpu.sm.count, timer, merged)


def _dram(
    launch: KernelLaunch, gpu: GpuSpec, classes: tuple[TracedClass, ...], concurrent: int
) -> DramTraffic:
    traffic = [each.traffic for each in classes]
    capacity = gpu.l2.capacity_bytes

    def found() -> DramTraffic:
        return dram_traffic(launch, traffic, concurrent, capacity, first_touches)

    if any(buffer.data is not None for buffer in launch.buffers):
        return found()
    return _TRAFFIC.get((launch_identity(launch), concurrent, capacity), found)


def _shares(launch: KernelLaunch, gpu: GpuSpec, ctas_per_sm: int) -> F64:
    """Return, for each buffer, the share of the bytes read from it that leave L2."""
    together: F64 = _SHARES.get(
        (launch_identity(launch), gpu.sm.count, gpu.l2.cluster_sms, ctas_per_sm),
        lambda: merged_shares(launch, gpu.sm.count, gpu.l2.cluster_sms, ctas_per_sm, first_touches),
    )
    return together + gpu.l2.late_share * (1.0 - together)


def _device(
    launch: KernelLaunch,
    gpu: GpuSpec,
    classes: tuple[TracedClass, ...],
    fits: Occupancy,
    dram: DramTraffic,
    shares: F64,
    timer: SmTimer,
    clock_mhz: float,
) -> DeviceRun:
    memory = MemorySystem(gpu, clock_mhz)
    weight = 1.0 / gpu.l2.write_share
    works = [_work(traced, launch, dram, shares, timer, memory.ns_per_cycle, weight) for traced in classes]
    return run_device(memory, gpu.sm.count, fits.ctas_per_sm, works)


def _work(
    traced: TracedClass,
    launch: KernelLaunch,
    dram: DramTraffic,
    shares: F64,
    timer: SmTimer,
    ns_per_cycle: float,
    store_weight: float,
) -> CtaWork:
    curves: dict[int, LatencyCurve] = {}
    total, bulk = traced.traffic.weighted(store_weight)
    handed_over = store_weight * traced.traffic.handed_over

    def curve(resident: int) -> LatencyCurve:
        if resident not in curves:
            curves[resident] = timer.curve(traced, resident)
        return curves[resident]

    def phases_ns(resident: int, latency_ns: float) -> tuple[float, ...]:
        phases = curve(resident).phases(latency_ns / ns_per_cycle)
        return tuple(cycles * ns_per_cycle for cycles in phases)

    return CtaWork(
        f"{traced.cta_class.label} {traced.cta_class.cta}",
        traced.cta_class.count,
        phases_ns,
        (dram.read_bytes + (0.0 if total > bulk else dram.write_bytes)) / launch.ctas,
        (dram.write_bytes if total > bulk else 0.0) / launch.ctas,
        bulk,
        traced.traffic.merged(shares),
        dram.reread_bytes / launch.ctas,
        handed_over,
        total - bulk - handed_over,
        dram.share,
        traced.awaited,
    )


def tensor_duty(classes: tuple[TracedClass, ...], gpu: GpuSpec, cycles: float) -> float:
    """Return the tensor cores' work over ``cycles``, as a share of their fastest rate."""
    full_rate_cycles = sum(
        each.cta_class.count * count * warp_ops(name) / gpu.sm.tensor.peak_ops_per_cycle[input_type(name)]
        for each in classes
        for name, count in mma_counts(each.trace).items()
        if input_type(name) in gpu.sm.tensor.peak_ops_per_cycle
    )
    return min(1.0, full_rate_cycles / gpu.sm.count / cycles) if cycles else 0.0


def sustained_clock(gpu: GpuSpec, duty: float) -> float:
    """Return the clock at a tensor duty: a step as soon as there is any, from there linear to that of the full rate."""
    sm = gpu.sm
    return sm.mma_clock_mhz - (sm.mma_clock_mhz - sm.sustained_clock_mhz) * duty if duty else sm.max_clock_mhz
