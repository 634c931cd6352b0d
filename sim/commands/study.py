"""``tcsim study accumulator``: timing, numerics, energy and area of accumulators that shift, on one page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gpu_kernels import catalog
from reports.accumulator import (
    HARDWARE,
    VARIANTS,
    Accurate,
    Hardware,
    Overflow,
    Study,
    Timed,
    conclusion,
    render,
)
from sim.arch.spec import GpuSpec
from sim.commands.evaluator import check, evaluate
from sim.commands.parallel import in_order
from sim.commands.selection import machine
from sim.commands.terminal import progress_shown, say
from sim.dse.expand import Point
from sim.dse.files import make_directory
from sim.dse.run import default_workers
from sim.errors import TcsimError, unknown
from sim.extensions import get_extension
from sim.results import RunResult
from workloads.llm import Layer, Model, load_model
from workloads.schemes.base import get_scheme
from workloads.tender.synthetic import (
    MODES,
    Accumulated,
    Decomposed,
    accumulate,
    activations,
    decompose,
    quantized_rows,
    sqnr_db,
)

EXTENSION = "tender_accumulator"
TENDER = "tender_"  # schemes with variants
GROUPS = (1, 8, 20)
SIZES = (1, 16, 256, 2048)
WIDTHS = (16, 20, 24, 28, 32, 36, 40)
ROWS, OUTPUTS, CHANNELS = 256, 64, 4096  # of the synthetic matmul
CONTEXT_TOKENS = 2048
OTHER_KERNELS = (
    6  # launches of a decoder layer beside its linear layers: norms, rotation, attention, activation
)
SEED = 0


def accumulator(arch: str, model_name: str, out: Path | None, workers: int | None) -> None:
    """Run the study; write its page if ``out`` is given, say its conclusion in any case."""
    gpu, model = machine(arch), load_model(model_name, "--model")
    if out is not None:
        make_directory(out)
    study = Study(
        arch=gpu.name,
        model=model.name,
        timed=tuple(timed(arch, model, workers or default_workers())),
        overflow=tuple(overflows()),
        accurate=tuple(accuracies()),
        hardware=tuple(
            Hardware(name, each.value, each.unit, each.rationale)
            for name, each in get_extension(EXTENSION).quantities().items()
        ),
        other_us={m: other_us(gpu, model, m) for m in SIZES},
    )
    for line in conclusion(study):
        say(line)
    for path in render(study, out) if out is not None else ():
        say(f"wrote {path}")


# ------------------------------------------------------------------------------------- time


def timed(arch: str, model: Model, workers: int) -> Iterator[Timed]:
    """Simulate every layer with every scheme and variant."""
    work = [
        (scheme, variant, groups, layer, point)
        for scheme, variant, groups in methods()
        for layer in model.linear_layers()
        for m in SIZES
        if (point := _point(arch, scheme, variant, groups, layer, m)) is not None
    ]
    points = [each[-1] for each in work]
    with progress_shown() as progress:
        for done, (each, result) in enumerate(zip(work, in_order(evaluate, points, workers), strict=True), 1):
            progress(done, len(work), 0)
            scheme, variant, groups, layer, _ = each
            yield _timed(scheme, variant, groups, layer, result)


def methods() -> list[tuple[str, str, int]]:
    """Return scheme, variant and groups of all that is compared."""
    found: list[tuple[str, str, int]] = []
    for name in catalog.available():
        variants = next((o.allowed for o in get_scheme(name).options if o.name == "variant"), ())
        if not name.startswith(TENDER):
            found.append((name, "", 0))
        for variant in VARIANTS:
            if variant in variants:
                found += [(name, variant, groups) for groups in GROUPS]
    return found


def _point(arch: str, scheme: str, variant: str, groups: int, layer: Layer, m: int) -> Point | None:
    """Return the point, or None if the scheme does not hold the shape."""
    options = (("variant", variant), ("groups", groups)) if variant else ()
    extensions = (EXTENSION,) if variant == HARDWARE else ()
    try:
        catalog.launches(
            scheme, m, layer.n, layer.k, get_scheme(scheme).check_options(dict(options)), machine(arch)
        )
        return check(Point(arch, (), extensions, scheme, options, None, m, layer.n, layer.k))
    except TcsimError:
        return None


def _timed(scheme: str, variant: str, groups: int, layer: Layer, result: RunResult) -> Timed:
    return Timed(
        scheme,
        variant,
        groups,
        result.m,
        layer.name,
        layer.count_per_model,
        result.time_us,
        result.energy_uj,
        result.bound_by,
    )


def other_us(gpu: GpuSpec, model: Model, m: int) -> float:
    """Return a bound for the rest of one pass: the launches of its kernels, and the KV cache of the context read once.

    Attention's own multiplications are left out, so the linear layers' share is an upper bound.
    """
    kv_bytes = 2 * 2 * model.num_kv_heads * model.head_dim * max(CONTEXT_TOKENS, m)
    launch_us = gpu.launch.graph_node_us + gpu.launch.ramp_us
    per_layer = OTHER_KERNELS * launch_us + kv_bytes / (gpu.dram.bandwidth_gb_per_s * 1e3)
    return model.num_layers * per_layer


# ------------------------------------------------------------------------------------- numerics


def overflows() -> Iterator[Overflow]:
    """Run narrow accumulators on the synthetic matmul."""
    x, weight = _synthetic()
    want = x @ weight.T
    for bits in (4, 8):
        codes, scales = quantized_rows(weight, bits)
        for groups in GROUPS:
            found = decompose(x, groups, bits)
            for width in WIDTHS:
                for mode in MODES:
                    run = accumulate(found.codes, codes[:, found.order], found.sizes, width, mode)
                    yield _overflow(bits, groups, width, mode, run, found, scales, want)


def _overflow(
    bits: int,
    groups: int,
    width: int,
    mode: str,
    run: Accumulated,
    found: Decomposed,
    scales: np.ndarray,
    want: np.ndarray,
) -> Overflow:
    got = run.sums * found.scale * scales
    return Overflow(
        bits, groups, width, mode, 1e6 * run.overflows / run.steps, sqnr_db(want, got), run.widest_bits
    )


def accuracies() -> Iterator[Accurate]:
    """Return the error of every scheme that is timed, on the same activations and weights."""
    x, weight = _synthetic()
    want = x @ weight.T
    for name in catalog.available():
        scheme = get_scheme(name)
        if name.startswith(TENDER):
            bits = int(getattr(scheme, "bits", scheme.weight_bits))  # of a code; a code has a byte
            codes, scales = quantized_rows(weight, bits)
            for groups in GROUPS:
                found = decompose(x, groups, bits)
                sums = accumulate(found.codes, codes[:, found.order], found.sizes).sums
                yield Accurate(name, groups, sqnr_db(want, sums * found.scale * scales))
        else:
            held = scheme.dequantize(scheme.quantize(weight.astype(np.float32)))
            yield Accurate(name, 0, sqnr_db(want, x.astype(np.float16).astype(np.float64) @ held.T))


def _synthetic() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(SEED)
    x = activations(ROWS, CHANNELS, random)
    return x, random.standard_normal((OUTPUTS, CHANNELS)) / CHANNELS**0.5


STUDIES = {"accumulator": accumulator}


def run(what: str, arch: str, model: str, out: Path | None, workers: int | None) -> None:
    """Run the study called ``what``."""
    if what not in STUDIES:
        raise unknown("study", what, STUDIES)
    STUDIES[what](arch, model, out, workers)
