"""The simulated part of an accumulator study: layers of models, rest of their steps, borders of one matmul."""

from __future__ import annotations

from collections.abc import Iterator

from gpu_kernels import catalog
from reports.accumulator import (
    DECODE,
    HARDWARE,
    PREFILL,
    Bordered,
    Contender,
    Rest,
    Timed,
)
from sim.commands.decoding import HEAD, DecodeStep, decode_step, prefill_step
from sim.commands.selection import machine
from sim.commands.study_config import ContenderChoice, StudyFile
from sim.commands.study_points import Kernel, Simulated, Wanted, kernel, on_machine, variants
from sim.errors import TcsimError
from sim.extensions import get_extension
from workloads.llm import Layer, Model, load_model

LARGEST_M = 2**30
HEAD_SCHEMES = ("fp16", "fp16_wgmma")  # the head stays in FP16, by the faster of them


def phases(study: StudyFile) -> tuple[tuple[str, int], ...]:
    """Return the kinds of step with their M, those of generation first."""
    return (
        *((DECODE, m) for m in sorted(study.decode.m)),
        *((PREFILL, m) for m in sorted(study.prefill.m)),
    )


def models(study: StudyFile) -> list[Model]:
    """Return the models."""
    return [load_model(name) for name in study.models]


def compared(study: StudyFile) -> list[Kernel]:
    """Return the variants of the schemes, with the first of the accumulators."""
    first = study.accumulators[0].extension
    return [each for scheme in study.schemes for each in variants(scheme, study.groups, study.profile, first)]


def contending(study: StudyFile) -> list[tuple[ContenderChoice, Kernel]]:
    """Return the contenders with what is run of them."""
    first = study.accumulators[0].extension
    return [(each, kernel(each.scheme, each.options, study.profile, first)) for each in study.contenders]


def on_models(study: StudyFile) -> list[tuple[Model, Layer, Wanted]]:
    """Return the launches of the models' linear layers: variants of all models, contenders of the first."""
    every = models(study)
    asked = [(each, every, LARGEST_M) for each in compared(study)]
    asked += [(each, every[:1], choice.up_to_m or LARGEST_M) for choice, each in contending(study)]
    return list(
        dict.fromkeys(
            (model, layer, Wanted(each, m, layer.n, layer.k))
            for each, its_models, limit in asked
            for model in its_models
            for layer in model.linear_layers()
            for _, m in phases(study)
            if m <= limit
        )
    )


def of_heads(study: StudyFile) -> list[tuple[Model, int, Wanted]]:
    """Return the launches of the models' heads; a prompt's head sees its last token."""
    return [
        (model, rows, Wanted(Kernel(scheme), rows, model.vocab_size, model.hidden_size))
        for model in models(study)
        for rows in dict.fromkeys(m if phase == DECODE else 1 for phase, m in phases(study))
        for scheme in HEAD_SCHEMES
        if scheme in catalog.available()
    ]


def at_borders(study: StudyFile) -> list[tuple[str, Wanted]]:
    """Return the launches over groups; with each of the accumulators where one is asked for."""
    asked, found = study.borders, []
    for scheme in study.schemes:
        for number, accumulator in enumerate(study.accumulators):
            for each in variants(scheme, asked.groups, asked.profile, accumulator.extension):
                if number == 0 or each.variant == HARDWARE:
                    name = accumulator.name if each.variant == HARDWARE else ""
                    found += [(name, Wanted(each, m, asked.n, asked.k)) for m in asked.m]
    return found


def wanted(study: StudyFile) -> Iterator[Wanted]:
    """Yield every launch, neighbours of the same program."""
    yield from (each for _, _, each in on_models(study))
    yield from (each for _, _, each in of_heads(study))
    yield from (each for _, each in at_borders(study))


def timed(study: StudyFile, runs: Simulated) -> Iterator[Timed]:
    """Yield a row per layer of a model and method."""
    for model, layer, each in on_models(study):
        if (result := runs.get(each)) is not None:
            yield Timed(
                model.name,
                runs.method(each.kernel),
                each.m,
                layer.name,
                layer.n,
                layer.k,
                layer.count_per_model,
                result.time_us,
                result.energy_uj,
                result.bound_by,
                result.tile,
            )


def rests(study: StudyFile, runs: Simulated) -> Iterator[Rest]:
    """Yield what each step takes beside its linear layers."""
    heads: dict[tuple[str, int], float] = {}
    for model, rows, each in of_heads(study):
        if (result := runs.get(each)) is not None:
            key = model.name, rows
            heads[key] = min(result.time_us, heads.get(key, result.time_us))
    for model in models(study):
        for phase, m in phases(study):
            head = heads.get((model.name, m if phase == DECODE else 1))
            if head is None:
                raise TcsimError(
                    f"{runs.arch} runs none of {', '.join(HEAD_SCHEMES)}: no head of {model.name}"
                )
            step = _step(study, runs.arch, model, phase, m, head)
            yield Rest(model.name, phase, m, step.head_us, step.attention_us, step.launches_us)


def _step(study: StudyFile, arch: str, model: Model, phase: str, m: int, head_us: float) -> DecodeStep:
    times = {HEAD: head_us, **{layer.name: 0.0 for layer in model.linear_layers()}}
    if phase == DECODE:
        return decode_step(model, machine(arch), times, m, study.decode.context_tokens)
    return prefill_step(model, machine(arch), times, m)


def bordered(study: StudyFile, runs: Simulated) -> Iterator[Bordered]:
    """Yield the matmul over groups."""
    for name, each in at_borders(study):
        if (result := runs.get(each)) is not None:
            method = runs.method(each.kernel)
            yield Bordered(method, name, each.m, each.n, each.k, result.time_us, result.energy_uj)


def contenders(study: StudyFile, runs: Simulated) -> Iterator[Contender]:
    """Yield those to choose between, with the area of the hardware that they need beside the machine's."""
    for choice, each in contending(study):
        found = on_machine(runs.arch, each)
        if not isinstance(found, TcsimError):
            area = sum(get_extension(name).quantities()["area"].value for name in found)
            yield Contender(choice.name, choice.accuracy, runs.method(each), area)
