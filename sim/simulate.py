"""Simulate one quantized matmul, or any kernel launch, on one GPU: all runs from here, top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from sim.arch.hash import config_hash
from sim.arch.spec import GpuSpec
from sim.chip import accounting
from sim.chip.run import ChipRun, run_launch
from sim.energy.model import energy_uj
from sim.errors import ConfigError, TcsimError
from sim.extensions import extended, get_extension
from sim.isa.launch import KernelLaunch
from sim.results import RunResult, Workload
from sim.sm.timeline import TraceSpan, record


def simulate(
    workload: Workload, launches: Sequence[KernelLaunch], gpu: GpuSpec, extensions: Sequence[str] = ()
) -> RunResult:
    """Return the result of the fastest of ``launches`` (one per tile configuration) on ``gpu`` with the extensions."""
    own, machine = extended(launches, gpu, extensions)
    best = min(_runs(own, machine), key=lambda run: run.time_us)
    return _result(workload, best, machine, tuple(extensions))


def timeline(
    launches: Sequence[KernelLaunch], gpu: GpuSpec, extensions: Sequence[str] = ()
) -> tuple[TraceSpan, ...]:
    """Return what happens on one SM in the fastest of ``launches``: CTAs of its first class, run together.

    ``extensions`` are those of ``simulate``.
    """
    own, machine = extended(launches, gpu, extensions)
    best = min(_runs(own, machine), key=lambda run: run.time_us)
    first = best.classes[0]
    resident = min(best.resident, first.cta_class.count)
    return record(first.trace, machine, resident, best.latency_cycles, best.launch.source_lines)


def _runs(launches: Sequence[KernelLaunch], gpu: GpuSpec) -> list[ChipRun]:
    """Run every launch that this GPU can hold; if none can, the last reason is the error."""
    runs: list[ChipRun] = []
    refusal: TcsimError = ConfigError("", "there is nothing to launch")
    for launch in launches:
        if launch.program.target != gpu.program_target:
            refusal = ConfigError(
                launch.label, f"built for {launch.program.target}; {gpu.name} runs {gpu.program_target}"
            )
            continue
        try:
            runs.append(run_launch(launch, gpu))
        except ConfigError as error:
            refusal = error
    if not runs:
        raise refusal
    return runs


def _result(workload: Workload, run: ChipRun, gpu: GpuSpec, extensions: tuple[str, ...]) -> RunResult:
    totals = accounting.counters(run, gpu)
    split = accounting.breakdown_us(run, accounting.usage(run, gpu, totals))
    bound = max(split, key=lambda name: split[name])
    energy = energy_uj(totals, accounting.tensor_ops(run), run.time_us, gpu) | {
        each.name: each.energy_uj(accounting.marked_blocks(run, each.name))
        for each in map(get_extension, extensions)
    }
    return RunResult(
        arch=gpu.name,
        scheme=workload.scheme,
        m=workload.m,
        n=workload.n,
        k=workload.k,
        options=dict(workload.options),
        extensions=extensions,
        time_us=run.time_us,
        cycles=run.time_us * run.clock_mhz,
        clock_mhz=run.clock_mhz,
        bound_by=bound,
        bound_text=accounting.bound_text(bound, split, run.time_us, totals),
        breakdown_us=split,
        stalls=accounting.stalls(run),
        counters=totals,
        energy_uj=sum(energy.values()),
        flops=workload.flops,
        compulsory_bytes=workload.compulsory_bytes,
        config_hash=config_hash(gpu),
        version=package_version(),
        tile=run.launch.label,
        spread_us=run.spread_us,
        shared_accesses=accounting.shared_accesses(run, gpu, run.launch.source_lines),
        roofs=accounting.roofs(gpu, run.clock_mhz, workload.input_type),
    )


def package_version() -> str:
    """Return the installed version, or what a checkout calls itself."""
    try:
        return version("tensorcore-sim")
    except PackageNotFoundError:
        return "0+checkout"
