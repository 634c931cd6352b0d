"""From a paper's claims to what must be simulated, and from the results to rows beside the published numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from reports.reproduction import Row, Sensitivity
from sim.array.spec import Accelerator, load_accelerator
from sim.commands.accelerator import prefill, total
from sim.commands.decoding import HEAD, DecodeStep, decode_step
from sim.commands.evaluator import check
from sim.commands.selection import machine
from sim.dse.expand import Point
from sim.results import RunResult
from workloads.llm import Model, load_model
from workloads.papers import Claim, Decode, Method, Paper, Prefill, Unknown

Results = Mapping[Point, RunResult]
Changes = tuple[tuple[str, float], ...]  # (field of an accelerator, tokens or attention; value)
HEAD_METHOD = Method(scheme="fp16")  # no paper quantizes it
IMPLIED = "precision.wide_share"
STEPS = 40  # of a bisection
model = cache(load_model)
accelerator = cache(load_accelerator)


# ------------------------------------------------------------------------------------- what to simulate


def points(paper: Paper) -> list[Point]:
    """Return every matmul of the paper's claims on GPUs, each once."""
    found = (
        point for claim in paper.claims for method in _methods(claim) for point in _points(claim, method)
    )
    return list(dict.fromkeys(found))


def _methods(claim: Claim) -> list[Method]:
    return [claim.method, *([claim.against] if claim.against else [])]


def _points(claim: Claim, method: Method) -> Iterator[Point]:
    if claim.matmuls is not None:
        for n, k in claim.matmuls.shapes:
            for m in claim.matmuls.m:
                yield _point(claim.machine, method, m, n, k)
    if claim.decode is not None:
        yield from layer_points(claim.machine, method, model(claim.decode.model), claim.decode.batch).values()


@cache
def _checked(point: Point) -> Point:
    return check(point)


def _point(arch: str, method: Method, m: int, n: int, k: int) -> Point:
    options = tuple(method.options.items())
    return _checked(Point(arch, (), (), method.scheme, options, method.tile, m, n, k))


def layer_points(arch: str, method: Method, llm: Model, batch: int) -> dict[str, Point]:
    """Return the matmuls of a decode step by layer: the method's, and an FP16 head."""
    return {
        layer.name: _point(arch, HEAD_METHOD if layer.name == HEAD else method, batch, layer.n, layer.k)
        for layer in llm.linear_layers(lm_head=True)
    }


# ------------------------------------------------------------------------------------- rows


def rows(paper: Paper, results: Results) -> list[Row]:
    """Return a row per claim, and one per model where the paper has bars."""
    return [row for claim in paper.claims for row in _rows(paper, claim, results)]


def _rows(paper: Paper, claim: Claim, results: Results) -> Iterator[Row]:
    if claim.prefill is not None:
        values = [_ratio(claim, claim.prefill, name) for name in claim.prefill.models]
        yield _row(
            paper, claim, values, f"{min(values):.2f} to {max(values):.2f}; {_share_text(paper, claim)}"
        )
        for bar, value in zip(_bars(claim), values, strict=False):
            yield replace(_row(paper, bar, [value], _share_text(paper, bar)), bar_of=claim.name)
        return
    if claim.decode is not None:
        steps = [_step(claim, method, claim.decode, results) for method in _methods(claim)]
        value = steps[-1].total_us / steps[0].total_us if claim.against else steps[0].total_us / 1e3
        texts = list(map(_step_text, steps))
        if claim.against is None:
            texts[0] += f", {value - claim.ends[0]:+.1f} ms"
        yield _row(paper, claim, [value], "; against ".join(texts))
        return
    yield _matmul_row(paper, claim, results)


def _bars(claim: Claim) -> Iterator[Claim]:
    """Return a claim for each model of which the paper has a bar, in the order of the models."""
    assert claim.prefill is not None
    for name, groups in claim.prefill.models.items() if claim.bars else ():
        own = claim.prefill.model_copy(update={"models": {name: groups}})
        changes = {"name": f"{claim.name}, {name}", "prefill": own, "published": claim.bars[name], "bars": {}}
        yield claim.model_copy(update=changes)


def _row(paper: Paper, claim: Claim, values: Sequence[float], computed: str) -> Row:
    low, high = claim.ends
    where = claim.machine or claim.method.accelerator
    return Row(
        paper.title,
        claim.name,
        where,
        claim.quantity,
        low,
        high,
        geometric_mean(values),
        min(values),
        max(values),
        claim.source,
        claim.note,
        computed,
    )


def _matmul_row(paper: Paper, claim: Claim, results: Results) -> Row:
    runs = [results[point] for point in _points(claim, claim.method)]
    if claim.against is None:
        return _row(paper, claim, [run.time_us for run in runs], _rates(claim, runs))
    others = [results[point] for point in _points(claim, claim.against)]
    values = [other.time_us / run.time_us for run, other in zip(runs, others, strict=True)]
    if len(values) == 1:
        return _row(paper, claim, values, f"{_run_text(runs[0])}; against {_run_text(others[0])}")
    least, most = (runs[values.index(pick(values))] for pick in (min, max))
    return _row(
        paper,
        claim,
        values,
        f"from {min(values):.2f} ({_shape(least)}, {least.tile}) to {max(values):.2f} ({_shape(most)}, {most.tile})",
    )


def _rates(claim: Claim, runs: Sequence[RunResult]) -> str:
    """Return how fast published and simulated read what must be read."""
    moved = sum(run.compulsory_bytes for run in runs)
    found = moved / sum(run.time_us for run in runs) / 1e3
    wanted = moved / claim.ends[0] / 1e3
    stream = machine(claim.machine).dram.bandwidth_gb_per_s
    return (
        f"{moved / 1e6:.0f} MB at {wanted:.0f} GB/s published, {found:.0f} simulated, DRAM streams {stream:.0f}"
        f" ({runs[0].tile})"
    )


def _run_text(run: RunResult) -> str:
    share = run.breakdown_us[run.bound_by] / run.time_us
    return f"{run.scheme} {run.time_us:.1f} µs, {share:.0%} {run.bound_by.replace('_', ' ')} ({run.tile})"


def _shape(run: RunResult) -> str:
    return f"M = {run.m}, {run.n} x {run.k}"


def _step(claim: Claim, method: Method, decode: Decode, results: Results) -> DecodeStep:
    llm = model(decode.model)
    found = layer_points(claim.machine, method, llm, decode.batch)
    times = {name: results[point].time_us for name, point in found.items()}
    return decode_step(llm, machine(claim.machine), times, decode.batch, decode.context_tokens)


def _step_text(step: DecodeStep) -> str:
    parts = {
        "linear layers": step.linear_us,
        "head": step.head_us,
        "attention": step.attention_us,
        "launches": step.launches_us,
    }
    return (
        " + ".join(f"{name} {us / 1e3:.2f}" for name, us in parts.items())
        + f" = {step.total_us / 1e3:.2f} ms"
    )


# ------------------------------------------------------------------------------------- accelerators


def _share_text(paper: Paper, claim: Claim) -> str:
    """Say with which share of 8 bits the published number would come out, and what its speed-up's share gives."""
    assert claim.against is not None
    rival = claim.against.accelerator
    share, own = implied(claim), accelerator(rival).precision.wide_share
    wanted = (
        "no share gives the published number" if share is None else f"{share:.0%} give the published number"
    )
    text = f"{own:.0%} of {rival} in 8 bits, {wanted}"
    if claim.quantity == "energy_ratio":
        found = [implied(each) for each in _speedups(paper, claim)]
        shares = [each for each in found if each is not None]
        text += "".join(f", the {each:.0%} of its speed-up {_at(claim, each):.2f}" for each in shares)
    return text


def _speedups(paper: Paper, claim: Claim) -> Iterator[Claim]:
    """Return the paper's speed-up over the same rival, of the same models."""
    for each in paper.claims:
        if (each.quantity, each.method, each.against) == ("speedup", claim.method, claim.against):
            yield from (one for one in (each, *_bars(each)) if one.prefill == claim.prefill)


def _ratio(claim: Claim, work: Prefill, name: str, own: Changes = (), other: Changes = ()) -> float:
    """Return how much faster, or how much less energy, the claim's accelerator is for one model."""
    assert claim.against is not None
    groups = work.models[name]
    cost = (
        _cost(claim, changed(accelerator(method.accelerator), changes), work.tokens, groups, name, changes)
        for method, changes in ((claim.against, other), (claim.method, own))
    )
    return next(cost) / next(cost)


def _cost(claim: Claim, chosen: Accelerator, tokens: int, groups: int, name: str, changes: Changes) -> float:
    values = dict(changes)
    works = prefill(
        model(name), int(values.get("tokens", tokens)), groups, bool(values.get("attention", True))
    )
    done = total(chosen, works)
    return done.time_us if claim.quantity == "speedup" else done.energy_uj


def changed(chosen: Accelerator, changes: Changes) -> Accelerator:
    """Return the accelerator with some numbers replaced; ``tokens`` and ``attention`` are none of its own."""
    data = chosen.model_dump()
    for field, value in changes:
        *path, last = field.split(".")
        level = data
        for part in path:
            level = level[part]
        if path or last in data:
            level[last] = value
    return Accelerator.model_validate(data) if changes else chosen


def mean_ratio(claim: Claim, own: Changes = (), other: Changes = ()) -> float:
    """Return the geometric mean over the models of the claim."""
    assert claim.prefill is not None
    return geometric_mean([_ratio(claim, claim.prefill, name, own, other) for name in claim.prefill.models])


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean, which lies between the values to the last bit."""
    mean = math.exp(sum(map(math.log, values)) / len(values))
    return min(max(mean, min(values)), max(values))


def sensitivities(paper: Paper) -> list[Sensitivity]:
    """Return the range of each claim while one unknown input goes through its values."""
    return [
        _sensitivity(claim, unknown)
        for unknown in paper.unknowns
        for claim in paper.claims
        if claim.prefill is not None
    ]


def _sensitivity(claim: Claim, unknown: Unknown) -> Sensitivity:
    found = [_with(claim, unknown, value) for value in unknown.values]
    return Sensitivity(
        claim.name,
        unknown.name,
        unknown.why,
        min(unknown.values),
        max(unknown.values),
        min(found),
        max(found),
        implied(claim) if unknown.fields == (IMPLIED,) else None,
    )


def _with(claim: Claim, unknown: Unknown, value: float) -> float:
    changes = tuple((field, value) for field in unknown.fields)
    own, other = (
        changes if not unknown.only or method.accelerator in unknown.only else ()
        for method in _methods(claim)
    )
    return mean_ratio(claim, own, other)


def implied(claim: Claim) -> float | None:
    """Return the share of the rival's multiplications in 8 bits with which the published number would come out."""
    return _zero(lambda share: _at(claim, share) - claim.ends[0], 0.0, 1.0)


def _at(claim: Claim, share: float) -> float:
    return mean_ratio(claim, (), ((IMPLIED, share),))


def _zero(rising: Callable[[float], float], low: float, high: float) -> float | None:
    if rising(low) > 0 or rising(high) < 0:
        return None
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


def all_points(papers: Iterable[Paper]) -> list[Point]:
    """Return every matmul of several papers, each once."""
    return list(dict.fromkeys(point for paper in papers for point in points(paper)))
