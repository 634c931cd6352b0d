"""What must hold between the numbers of a GPU; every message names both sides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sim.arch.spec import Dram, GpuSpec, L2Cache, SharedMemory, Sm, TensorCore
from sim.config import KeyPath, dotted

Finding = tuple[KeyPath, str]
RATE_SLACK = 1.01  # a measured issue interval may be so much shorter than the peak allows


def findings(gpu: GpuSpec) -> Iterator[Finding]:
    """Yield (path, message) for each contradiction in the spec."""
    yield from _sm(gpu.sm)
    yield from _shared_memory(gpu.sm.shared_memory)
    yield from _tensor(gpu.sm.tensor, gpu.sm.sub_cores)
    yield from _energy(gpu)
    yield from _caches(gpu)
    yield from _busy(gpu.l2)
    yield from _dram(gpu.dram)


def mma_ops(key: str) -> int:
    """Return the multiplies and adds of one warp instruction: ``m16n8k16.f32.f16`` -> 4096."""
    m, n, k = (int(text) for text in re.findall(r"\d+", key.split(".")[0]))
    return 2 * m * n * k


def _sm(sm: Sm) -> Iterator[Finding]:
    if sm.max_warps % sm.sub_cores:
        message = f"got {sm.max_warps}, allowed: a multiple of sm.sub_cores = {sm.sub_cores}"
        yield ("sm", "max_warps"), message
    yield from _at_most(
        ("sm", "sustained_clock_mhz"), sm.sustained_clock_mhz, "sm.mma_clock_mhz", sm.mma_clock_mhz
    )
    yield from _at_most(("sm", "mma_clock_mhz"), sm.mma_clock_mhz, "sm.max_clock_mhz", sm.max_clock_mhz)
    file = sm.register_file
    unit = file.allocation_unit * sm.sub_cores
    if file.registers % unit:
        wanted = f"a multiple of sm.register_file.allocation_unit x sm.sub_cores = {unit}"
        yield ("sm", "register_file", "registers"), f"got {file.registers}, allowed: {wanted}"


def _shared_memory(shared: SharedMemory) -> Iterator[Finding]:
    path = ("sm", "shared_memory")
    yield from _power_of_two((*path, "banks"), shared.banks)
    yield from _power_of_two((*path, "bank_bytes"), shared.bank_bytes)
    room = shared.capacity_bytes - shared.cta_reserved_bytes
    limit = "sm.shared_memory.capacity_bytes - sm.shared_memory.cta_reserved_bytes"
    yield from _at_most((*path, "cta_limit_bytes"), shared.cta_limit_bytes, limit, room)


def _tensor(tensor: TensorCore, sub_cores: int) -> Iterator[Finding]:
    for key, op in tensor.mma.items():
        path = ("sm", "tensor", "mma", key, "interval_cycles")
        latency = dotted((*path[:-1], "latency_cycles"))
        yield from _at_most(path, op.interval_cycles, latency, op.latency_cycles)
        input_type = key.rpartition(".")[2]
        peak = tensor.peak_ops_per_cycle.get(input_type)
        rate = mma_ops(key) * sub_cores / op.interval_cycles
        if peak is None:
            yield path[:-1], f"sm.tensor.peak_ops_per_cycle has no {input_type}"
        elif rate > peak * RATE_SLACK:
            limit = f"sm.tensor.peak_ops_per_cycle.{input_type} = {peak}"
            got = f"{op.interval_cycles:g}, with sm.sub_cores = {sub_cores} {rate:.0f} operations per cycle"
            yield path, f"got {got}, allowed: at most {limit}"


def _energy(gpu: GpuSpec) -> Iterator[Finding]:
    for input_type in gpu.sm.tensor.peak_ops_per_cycle:
        if input_type not in gpu.energy.tensor_pj_per_op:
            yield ("energy", "tensor_pj_per_op"), f"has no {input_type}, sm.tensor.peak_ops_per_cycle has"


def _caches(gpu: GpuSpec) -> Iterator[Finding]:
    l1, l2 = gpu.sm.l1, gpu.l2
    yield from _power_of_two(("sm", "l1", "line_bytes"), l1.line_bytes)
    yield from _power_of_two(("sm", "l1", "sector_bytes"), l1.sector_bytes)
    yield from _at_most(("sm", "l1", "sector_bytes"), l1.sector_bytes, "sm.l1.line_bytes", l1.line_bytes)
    hit, near, far = l1.hit_latency_cycles, l2.near_latency_cycles, l2.far_latency_cycles
    yield from _at_most(("sm", "l1", "hit_latency_cycles"), hit, "l2.near_latency_cycles", near)
    yield from _at_most(("l2", "near_latency_cycles"), near, "l2.far_latency_cycles", far)
    yield from _at_most(
        ("l2", "sm_port_bytes_per_cycle"),
        l2.sm_port_bytes_per_cycle,
        "l2.bandwidth_bytes_per_cycle",
        l2.bandwidth_bytes_per_cycle,
    )
    yield from _at_most(
        ("l2", "capacity_bytes"), l2.capacity_bytes, "dram.capacity_bytes", gpu.dram.capacity_bytes
    )


def _busy(l2: L2Cache) -> Iterator[Finding]:
    path = ("l2", "busy_share")
    yield from _curve(path, [(each.busy, each.share) for each in l2.busy_share], "", "busy")
    if l2.busy_share[-1].share != 1.0:
        yield path, f"got share {l2.busy_share[-1].share:g} of all SMs, allowed: 1"


def _dram(dram: Dram) -> Iterator[Finding]:
    path = ("dram", "bandwidth_gb_per_s")
    yield from _at_most(path, dram.bandwidth_gb_per_s, "dram.peak_gb_per_s", dram.peak_gb_per_s)
    latency = [(point.utilization, point.latency_ns) for point in dram.loaded_latency]
    yield from _curve(("dram", "loaded_latency"), latency, " ns")
    excess = [(point.utilization, point.factor) for point in dram.stage_excess]
    yield from _curve(("dram", "stage_excess"), excess, "")


def _curve(
    path: KeyPath, points: Sequence[tuple[float, float]], unit: str, against: str = "utilization"
) -> Iterator[Finding]:
    """Check a curve: from 0 to 1, never falling."""
    first, last = points[0][0], points[-1][0]
    if (first, last) != (0.0, 1.0):
        yield path, f"got {against} from {first:g} to {last:g}, allowed: from 0 to 1"
    for (low, before), (high, after) in pairwise(points):
        if high <= low:
            yield path, f"got {against} {high:g} after {low:g}, allowed: rising"
        if after < before:
            yield path, f"got {after:g}{unit} after {before:g}{unit}, allowed: not falling"


def _at_most(path: KeyPath, value: float, limit_name: str, limit: float) -> Iterator[Finding]:
    if value > limit:
        yield path, f"got {value:.10g}, allowed: at most {limit_name} = {limit:.10g}"


def _power_of_two(path: KeyPath, value: int) -> Iterator[Finding]:
    if value & (value - 1):
        yield path, f"got {value}, allowed: a power of two"
