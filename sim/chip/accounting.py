"""From a chip run to what a reader wants: counters, busy times, the bound, and the breakdown of the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.arch.checks import mma_ops
from sim.arch.spec import GpuSpec
from sim.chip.curves import TracedClass
from sim.chip.memory_system import MemorySystem
from sim.chip.operations import accumulator_blocks, input_type, mma_counts, warp_ops
from sim.chip.run import ChipRun
from sim.exec.execute import execute_grid
from sim.isa.launch import KernelLaunch
from sim.isa.trace import WarpTrace
from sim.isa.units import STORES, Unit
from sim.results import STALLS, SharedAccess
from sim.sm.banks import bank_words, ideal_wavefronts, wavefronts
from sim.sm.instructions import tensor_op
from sim.sm.layout import STALL_NAMES

F64 = npt.NDArray[np.float64]
SHARED_UNITS = {
    "shared_load_wavefronts": Unit.SHARED_LOAD,
    "shared_store_wavefronts": Unit.SHARED_STORE,
    "shared_copy_wavefronts": Unit.ASYNC_COPY,
}
SECTOR_LOADS = (Unit.GLOBAL_LOAD, Unit.ASYNC_COPY)  # the hardware's counter passes over the copy engine's
WORDS = {
    "dram": "DRAM bandwidth",
    "l2": "L2 bandwidth",
    "shared_memory": "Shared-memory bandwidth",
    "tensor": "The tensor cores' issue interval",
    "issue": "Instruction issue",
    "latency": "Latency (no unit is busy enough to be the limit)",
    "launch": "The fixed cost of a launch",
}


@dataclass(frozen=True)
class Usage:
    """How long each resource would need on its own for the launch, in ns, were its work spread evenly."""

    ns: Mapping[str, float]


def counters(run: ChipRun, gpu: GpuSpec) -> dict[str, float]:
    """Return the launch's totals, named as in ``sim.results.COUNTERS``."""
    totals: dict[str, float] = {
        "ctas": run.launch.ctas,
        "ctas_per_sm": run.occupancy.ctas_per_sm,
        "waves": run.device.waves,
    }
    for traced in run.classes:
        for name, value in _class_counters(traced, gpu).items():
            totals[name] = totals.get(name, 0.0) + traced.cta_class.count * value
    return totals | {"dram_bytes": run.dram.read_bytes + run.dram.write_bytes}


def _class_counters(traced: TracedClass, gpu: GpuSpec) -> dict[str, float]:
    """Count one CTA of a class."""
    trace = traced.trace
    times = trace.repeats()
    unit = trace.program.unit[trace.pc]
    ran = trace.lanes > 0
    per_row, ideal = row_wavefronts(trace, gpu)
    shared = {name: float((per_row * times)[unit == int(kind)].sum()) for name, kind in SHARED_UNITS.items()}
    loads, stores = np.isin(unit, SECTOR_LOADS), np.isin(unit, STORES)
    return {
        "instructions": float(times.sum()),
        "tensor_instructions": float(times[np.isin(unit, (int(Unit.TENSOR), int(Unit.WGMMA))) & ran].sum()),
        **shared,
        "shared_wavefronts_ideal": float((ideal * times).sum()),
        "global_load_sectors": float((trace.sectors * times)[loads].sum()),
        "global_store_sectors": float((trace.sectors * times)[stores].sum()),
        "l2_bytes": traced.traffic.total,
    }


def row_wavefronts(trace: WarpTrace, gpu: GpuSpec) -> tuple[F64, F64]:
    """Return wavefronts and ideal wavefronts of each trace row on this machine's banks."""
    memory = gpu.sm.shared_memory
    none = np.zeros(1, np.float64)
    actual = np.concatenate([wavefronts(trace.patterns, memory), none])
    ideal = np.concatenate([ideal_wavefronts(trace.patterns, memory), none])
    return actual[trace.pattern], ideal[trace.pattern]  # pattern -1 = the last, zero


def counted_shared_wavefronts(launch: KernelLaunch, gpu: GpuSpec) -> dict[str, float]:
    """Count the wavefronts on shared memory over all CTAs, each executed with its own codes.

    ``counters`` takes one CTA of a class for all of them: with other codes they have other bank conflicts, and that
    is right within the chance of a sample only.
    """
    totals = dict.fromkeys(SHARED_UNITS, 0.0)
    for each in execute_grid(launch):
        trace = each.trace
        unit, per_row = trace.program.unit[trace.pc], row_wavefronts(trace, gpu)[0]
        for name, kind in SHARED_UNITS.items():
            totals[name] += float(per_row[unit == int(kind)].sum())
    return totals


def usage(run: ChipRun, gpu: GpuSpec, totals: Mapping[str, float]) -> Usage:
    """Return each resource's own time for the launch's work."""
    cycle_ns = 1e3 / run.clock_mhz
    memory = MemorySystem(gpu, run.clock_mhz)
    writes = gpu.sm.load_store.copy_write_wavefront_cycles * totals["shared_copy_wavefronts"]
    shared = totals["shared_load_wavefronts"] + totals["shared_store_wavefronts"] + writes
    return Usage(
        {
            "dram": totals["dram_bytes"] / memory.dram_bytes_per_ns,
            "l2": (totals["l2_bytes"] - run.l2_merged_bytes) / memory.l2_bytes_per_ns,
            "shared_memory": shared / gpu.sm.count * cycle_ns,
            "tensor": tensor_cycles(run, gpu) * cycle_ns,
            "issue": totals["instructions"] / (gpu.sm.count * gpu.sm.sub_cores) * cycle_ns,
        }
    )


def tensor_cycles(run: ChipRun, gpu: GpuSpec) -> float:
    """Return the cycles that every sub-core's tensor core is busy, work spread evenly."""
    total = sum(
        traced.cta_class.count * count * tensor_op(name, gpu.sm.tensor).interval_cycles
        for traced in run.classes
        for name, count in mma_counts(traced.trace).items()
    )
    return total / (gpu.sm.count * gpu.sm.sub_cores)


def tensor_ops(run: ChipRun) -> dict[str, float]:
    """Return the multiplies and adds the tensor cores did by type of their operands, padding included."""
    totals: dict[str, float] = {}
    for traced in run.classes:
        for name, count in mma_counts(traced.trace).items():
            ops = traced.cta_class.count * count * warp_ops(name)
            totals[input_type(name)] = totals.get(input_type(name), 0.0) + ops
    return totals


def marked_blocks(run: ChipRun, extension: str) -> float:
    """Return how many blocks of 16 x 8 accumulators an extension has changed: one per mma, more per wgmma."""
    return float(
        sum(
            traced.cta_class.count * count * accumulator_blocks(name)
            for traced in run.classes
            for name, count in mma_counts(traced.trace).items()
            if f".{extension}." in name
        )
    )


def breakdown_us(run: ChipRun, use: Usage) -> dict[str, float]:
    """Split the time exclusively: fixed costs, then the busiest resource's own time, the rest is latency.

    What other resources did meanwhile was hidden behind the busiest and counts nothing.
    """
    duration = run.device.duration_ns
    busiest = max(use.ns, key=lambda name: use.ns[name])
    own = min(use.ns[busiest], duration)
    return {"launch": run.launch_us, busiest: own / 1e3, "latency": (duration - own) / 1e3}


def bound_text(bound: str, split: Mapping[str, float], time_us: float, totals: Mapping[str, float]) -> str:
    """Say in one sentence what bounds the launch."""
    text = f"{WORDS[bound]} takes {split[bound] / time_us:.0%} of {time_us:.1f} µs"
    return f"{text}: {totals['dram_bytes'] / 1e6:.1f} MB" if bound == "dram" else text


def stalls(run: ChipRun) -> dict[str, float]:
    """Return warp cycles per issued instruction by reason, classes weighted by their instructions."""
    total = dict.fromkeys(STALLS, 0.0)
    issued = 0.0
    for traced in run.classes:
        weight = traced.cta_class.count * float(traced.trace.repeats().sum())
        shares = run.timer.curve(traced, run.resident).nearest(run.latency_cycles).stalls
        for name, value in zip(STALL_NAMES, shares, strict=True):
            total[name] += weight * float(value)
        issued += weight
    return {name: value / issued for name, value in total.items()}


def shared_accesses(run: ChipRun, gpu: GpuSpec, sources: tuple[str, ...] = ()) -> tuple[SharedAccess, ...]:
    """Return one row per static instruction that touches shared memory, over the whole launch."""
    program = run.launch.program
    executed = np.zeros(len(program))
    actual = np.zeros(len(program))
    ideal = np.zeros(len(program))
    typical: dict[int, npt.NDArray[np.int64]] = {}
    for traced in run.classes:
        trace = traced.trace
        times = trace.repeats() * traced.cta_class.count
        rows = np.flatnonzero(trace.pattern >= 0)
        per_row, ideal_row = row_wavefronts(trace, gpu)
        for total, weight in ((executed, 1.0), (actual, per_row[rows]), (ideal, ideal_row[rows])):
            total += np.bincount(trace.pc[rows], times[rows] * weight, len(program))
        for pc in np.unique(trace.pc[rows]):
            if int(pc) not in typical:
                pattern = trace.pattern[rows[trace.pc[rows] == pc][0]]
                typical[int(pc)] = bank_words(trace.patterns[pattern], gpu.sm.shared_memory)
    return tuple(
        SharedAccess(
            pc=16 * pc,
            sass=program.text[pc],
            source_line=int(program.source_line[pc]),
            executed=round(executed[pc]),
            wavefronts=round(actual[pc]),
            ideal=round(ideal[pc]),
            banks=tuple(int(words) for words in typical[pc]),
            source=_source(sources, int(program.source_line[pc])),
        )
        for pc in sorted(typical)
    )


def _source(lines: tuple[str, ...], number: int) -> str:
    return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def roofs(gpu: GpuSpec, clock_mhz: float, input_type: str) -> dict[str, float]:
    """Return the machine's roofs for a roofline: bandwidths in GB/s, tensor rates in TFLOP/s."""
    shared, memory = gpu.sm.shared_memory, MemorySystem(gpu, clock_mhz)
    ghz = clock_mhz / 1e3
    same_input = {name: op for name, op in gpu.sm.tensor.mma.items() if name.endswith(f".{input_type}")}
    mma = max((mma_ops(name) / op.interval_cycles for name, op in same_input.items()), default=0.0)
    return {
        "tensor_tflops": gpu.sm.tensor.peak_ops_per_cycle.get(input_type, 0) * gpu.sm.count * ghz / 1e3,
        "mma_tflops": mma * gpu.sm.sub_cores * gpu.sm.count * ghz / 1e3,
        "dram_gb_per_s": memory.dram_bytes_per_ns,
        "l2_gb_per_s": memory.l2_bytes_per_ns,
        "shared_gb_per_s": shared.banks * shared.bank_bytes * gpu.sm.count * ghz,
    }
