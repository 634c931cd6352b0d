"""The chip's composition (one SM against latency, SMs as fluid cohorts) against brute force: 8 SMs in full detail.

Brute force replays every iteration of every CTA on 8 SMs in one engine, behind one server of limited bandwidth. The
composition knows only one CTA class, its curve of time against latency, and the server's bandwidth.
"""

from __future__ import annotations

import numpy as np
import pytest

from gpu_kernels.catalog import launches
from sim.arch.load import load_gpu
from sim.arch.spec import GpuSpec
from sim.chip.curves import SmTimer
from sim.chip.device import CtaWork, run_device
from sim.chip.memory_system import MemorySystem
from sim.chip.run import traced_class
from sim.exec.execute import execute
from sim.isa.launch import CtaClass
from sim.isa.trace import WarpTrace
from sim.isa.units import Unit
from sim.sm import layout as y
from sim.sm.columns import resolve
from sim.sm.model import STAGGER_CYCLES, drive_for
from sim.sm.plan import plan_replays
from sim.sm.replay import replay

SMS = 8
pytestmark = pytest.mark.jit


def machine(bytes_per_cycle: float) -> GpuSpec:
    """Return an H200 of 8 SMs whose memory answers at once up to ``bytes_per_cycle``, then queues."""
    gpu = load_gpu("h200")
    flat = [{"utilization": u, "latency_ns": ns} for u, ns in ((0.0, 0.001), (1.0, 0.002))]
    none = [{"utilization": u, "factor": 0.0} for u in (0.0, 1.0)]
    document = gpu.model_dump()
    document["sm"]["count"] = SMS
    document["dram"]["bandwidth_gb_per_s"] = bytes_per_cycle * gpu.sm.max_clock_mhz / 1e3
    document["dram"]["peak_gb_per_s"] = document["dram"]["bandwidth_gb_per_s"]
    document["dram"]["loaded_latency"] = flat
    document["dram"]["stage_excess"] = none
    return GpuSpec.model_validate(document)


def decode_trace(m: int, n: int, k: int, tile: str) -> WarpTrace:
    """Execute the interior CTA of a bundled kernel."""
    launch = launches("fp16", m, n, k, {}, load_gpu("h200"), tile)[0]
    return execute(launch, launch.classes[0]).trace


def fetched_bytes(trace: WarpTrace) -> float:
    """Return what one CTA asks of the server: the sectors of its loads, copies and stores."""
    unit = trace.program.unit[trace.pc]
    asked = np.where(unit == int(Unit.GLOBAL_STORE), trace.sectors, trace.misses)
    return float((asked * trace.repeats()).sum() * 32)


def brute_force_cycles(
    trace: WarpTrace, gpu: GpuSpec, resident: int, ctas: int, bytes_per_cycle: float
) -> float:
    """Replay all CTAs on all SMs, every iteration; the mean over staggers, which can hold co-resident CTAs in step."""
    columns = resolve(trace, gpu)
    plan = plan_replays(columns)
    latency = gpu.l2.near_latency_cycles * 0.5 + gpu.l2.far_latency_cycles * 0.5
    ends = []
    for stagger in STAGGER_CYCLES:
        one_sm = drive_for(gpu, plan, latency, resident, 3, stagger)
        drive = one_sm._replace(
            sms=SMS, ctas=ctas, sector_ticks=round(32 / bytes_per_cycle * y.TICKS), marks=0
        )
        ends.append(float(replay(columns, drive, columns.loops[:, 2]).end.max()))
    return sum(ends) / len(ends)


def composed_cycles(trace: WarpTrace, gpu: GpuSpec, resident: int, ctas: int) -> float:
    """Compose the same from one SM's curve."""
    memory = MemorySystem(gpu, gpu.sm.max_clock_mhz)
    traced = traced_class(trace, CtaClass((0, 0, 0), ctas), 8)
    timer = SmTimer(gpu)

    def phases_ns(count: int, latency_ns: float) -> tuple[float, ...]:
        phases = timer.curve(traced, count).phases(latency_ns / memory.ns_per_cycle)
        return tuple(cycles * memory.ns_per_cycle for cycles in phases)

    total, bulk = traced.traffic.weighted(1.0)
    share = bulk / total
    fetched = fetched_bytes(trace)

    work = CtaWork(
        "interior",
        ctas,
        phases_ns,
        fetched * share,
        fetched * (1 - share),
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        1.0,
    )
    return run_device(memory, SMS, resident, [work]).duration_ns / memory.ns_per_cycle


# tile, m, n, k, resident CTAs, CTAs: one wave and several, with and without a partial one
GRIDS = [
    ("16x64", 16, 4096, 2048, 3, 24),
    ("16x128", 16, 4096, 8192, 3, 24),
    ("64x128", 64, 4096, 2048, 2, 32),
    ("128x128", 4096, 4096, 1024, 2, 64),
    ("128x128", 4096, 4096, 1024, 2, 24),
]
# Where SMs and server need about the same time, requests queue behind each other's bursts in part, and where the last
# CTAs go depends on whose slots fall free first; the fluid model knows averages only.
CROSSOVER = {
    ("16x64", 24, 256.0), ("16x64", 24, 64.0), ("64x128", 32, 64.0),
    ("128x128", 64, 256.0), ("128x128", 24, 256.0),
}  # fmt: skip
CROSSOVER_REASON = "fluid model at the crossover of SM and memory time"
UNEXPLAINED = {("64x128", 32, 1e6)}  # without a limit on the bytes
TOLERANCE = 0.02


def _known(case: tuple[object, ...]) -> tuple[pytest.MarkDecorator, ...]:
    reasons = {CROSSOVER_REASON: CROSSOVER, "2.1 % off: why is not known": UNEXPLAINED}
    return tuple(
        pytest.mark.xfail(strict=True, reason=why) for why, which in reasons.items() if case in which
    )


def cases() -> list[object]:
    """From unlimited bandwidth to a fraction of what the SMs ask for."""
    return [
        pytest.param(
            *grid,
            rate,
            marks=_known((grid[0], grid[-1], rate)),
        )
        for grid in GRIDS
        for rate in (1e6, 256.0, 64.0)
    ]


@pytest.mark.parametrize(("tile", "m", "n", "k", "resident", "ctas", "bytes_per_cycle"), cases())
def test_composition_is_close_to_brute_force(
    tile: str, m: int, n: int, k: int, resident: int, ctas: int, bytes_per_cycle: float
) -> None:
    gpu, trace = machine(bytes_per_cycle), decode_trace(m, n, k, tile)
    brute = brute_force_cycles(trace, gpu, resident, ctas, bytes_per_cycle)
    composed = composed_cycles(trace, gpu, resident, ctas)
    assert composed == pytest.approx(brute, rel=TOLERANCE)
