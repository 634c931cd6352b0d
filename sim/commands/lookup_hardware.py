"""Hypothetical look-up hardware beside the best software kernel: which pays at what M, bits and shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpu_kernels import catalog
from reports.banks_data import Gain
from sim.arch.spec import GpuSpec
from sim.commands.selection import described_launches, machine, shared_memory, workload
from sim.errors import ConfigError
from sim.results import RunResult
from workloads.schemes.base import Options, Scheme, get_scheme

FLUTE, LUT_UNIT, WIDE = "flute", "lut_unit", "wide_shared_memory"
HARDWARE = (WIDE, LUT_UNIT)
BITS = (4, 3, 2)
TOKENS = (1, 2, 4, 8, 16, 32, 64)
SHAPES = ((4096, 4096), (8192, 8192), (28672, 4096))
INPUT = "f16"  # of the activations; kernels with others compute something else
ANY_TABLE, EVEN_LEVELS = (
    "any table",
    "even levels",
)  # what weights are: only FLUTE has the former, all have the latter


@dataclass(frozen=True)
class Work:
    """One matmul of weights with so many bits."""

    arch: str
    bits: int
    m: int
    n: int
    k: int


def hardware_work(arch: str) -> list[Work]:
    """Return the matmuls on which hardware is compared; those that share their kernels side by side."""
    return [Work(arch, bits, m, n, k) for bits in BITS for n, k in SHAPES for m in TOKENS]


def gains(work: Work) -> tuple[Gain, ...]:
    """Time the software kernels on the machine and all kernels on it with each piece of hardware."""
    gpu = machine(work.arch)
    software = _results(work, gpu, ())
    on_wide, marked = _results(work, gpu, (WIDE,)), _results(work, gpu, (LUT_UNIT,))
    found = []
    for hardware, results in ((WIDE, on_wide), (LUT_UNIT, [*software, *marked])):
        for weights in (ANY_TABLE, EVEN_LEVELS):
            before, after = _fastest(software, weights), _fastest(results, weights)
            if before is not None and after is not None:
                found.append(_gain(work, hardware, weights, before, after))
    return tuple(found)


def _fastest(results: Sequence[RunResult], weights: str) -> RunResult | None:
    """Return the fastest of the kernels that can have such weights."""
    able = [each for each in results if weights == EVEN_LEVELS or each.scheme == FLUTE]
    return min(able, key=lambda each: each.time_us, default=None)


def _gain(work: Work, hardware: str, weights: str, software: RunResult, result: RunResult) -> Gain:
    return Gain(
        hardware=hardware,
        weights=weights,
        bits=work.bits,
        m=work.m,
        n=work.n,
        k=work.k,
        kernel=result.tile,
        time_us=result.time_us,
        energy_uj=result.energy_uj,
        bound_by=result.bound_by,
        software=software.tile,
        software_us=software.time_us,
        software_uj=software.energy_uj,
        software_bound_by=software.bound_by,
        spread_us=software.spread_us + result.spread_us,
    )


def _results(work: Work, gpu: GpuSpec, extensions: tuple[str, ...]) -> list[RunResult]:
    """Run the kernels for the bits on a machine: those that ask for its hardware, or all that ask for none."""
    runs = (_run(work, *each, gpu, extensions) for each in candidates(work, marked=LUT_UNIT in extensions))
    return [each for each in runs if each is not None]


def candidates(work: Work, marked: bool) -> Iterator[tuple[Scheme, Options]]:
    """Go through the kernels that multiply weights of so many bits with half activations, all tokens at once."""
    if marked:
        scheme = get_scheme(FLUTE)
        yield scheme, scheme.check_options({"bits": work.bits, "lookup": LUT_UNIT})
        return
    for name in catalog.available():
        scheme, tokens = get_scheme(name), max(tile.tokens for tile in catalog.tiles(name).values())
        if scheme.input_type == INPUT and work.m <= tokens:
            widths = {option.name: option.allowed for option in scheme.options}.get("bits")
            if widths is not None and work.bits in widths:
                yield scheme, scheme.check_options({"bits": work.bits})
            elif widths is None and work.bits == scheme.weight_bits:
                yield scheme, scheme.check_options()


def _run(
    work: Work, scheme: Scheme, options: Options, gpu: GpuSpec, extensions: tuple[str, ...]
) -> RunResult | None:
    """Simulate one kernel, its fastest tile; None if it has none for the machine or the shape."""
    from sim.simulate import simulate

    shape = work.m, work.n, work.k
    try:
        memory = shared_memory(gpu, extensions)
        launches = described_launches(scheme.name, *shape, options, gpu, None, None, memory)
        return simulate(workload(scheme.name, *shape, options), launches, gpu, extensions)
    except ConfigError:
        return None
