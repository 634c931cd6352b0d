"""``tcsim accelerator``: a matmul, or a model's prefill, on the stand-alone arrays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from sim.array.spec import Accelerator, available, load_accelerator
from sim.array.timing import Matmul, run_matmul, run_mixed
from sim.commands.terminal import Table, say, show
from sim.errors import ConfigError
from workloads.llm import Model, load_model

BASELINE = "ant"


@dataclass(frozen=True)
class Total:
    """All matmuls on one accelerator."""

    accelerator: str
    operand_bits: float
    wide_share: float
    cycles: float
    time_us: float
    energy_uj: float


def run(
    arch: str | None,
    m: int,
    n: int | None,
    k: int | None,
    model: str | None,
    bits: int | None,
    groups: int,
    as_json: bool,
) -> None:
    """Time the matmul, or the model's linear and attention matmuls for m tokens."""
    machines = [load_accelerator(name) for name in ([arch] if arch else available())]
    if model is not None:
        if n is not None or k is not None:
            raise ConfigError("--model", "gives N and K itself; leave --n and --k out")
        works = prefill(load_model(model, "--model"), m, groups)
    elif n is None or k is None:
        raise ConfigError("--n, --k", "missing; or give --model")
    else:
        works = [Work(1, Matmul(m, n, k, 1, groups))]
    totals = [total(machine, works, bits) for machine in machines]
    if as_json:
        say(json.dumps([asdict(each) for each in totals], allow_nan=False))
    else:
        show(table(totals))


@dataclass(frozen=True)
class Work:
    """One kind of matmul of a model; operand bits are the accelerator's."""

    count: int
    matmul: Matmul
    stored: bool = True  # W is a stored weight, not made of activations


def prefill(model: Model, tokens: int, groups: int, attention: bool = True) -> list[Work]:
    """Return the matmuls of ``tokens`` tokens.

    The reduction of Q·K^T is the head's, that of P·V the tokens; both are grouped as well.
    """
    found = [
        Work(layer.count_per_model, Matmul(tokens, layer.n, layer.k, 1, groups))
        for layer in model.linear_layers()
    ]
    scores = Matmul(tokens, tokens, model.head_dim, 1, min(groups, model.head_dim), batch=model.num_heads)
    values = Matmul(tokens, model.head_dim, tokens, 1, min(groups, tokens), batch=model.num_heads)
    others = [Work(model.num_layers, each, stored=False) for each in (scores, values)]
    return [*found, *others] if attention else found


def total(machine: Accelerator, works: Sequence[Work], bits: int | None = None) -> Total:
    """Sum the matmuls; ``bits`` replaces the accelerator's own precision."""
    cycles = energy = 0.0
    for work in works:
        shaped = work.matmul if machine.array.rescale_cycles else replace(work.matmul, groups=1)
        if bits is None:
            own_cycles, own_energy = run_mixed(machine, shaped, work.stored)
        else:
            done = run_matmul(machine, replace(shaped, bits=bits))
            own_cycles, own_energy = done.cycles, done.energy_uj
        cycles, energy = cycles + work.count * own_cycles, energy + work.count * own_energy
    precision = machine.precision
    return Total(
        machine.name,
        precision.operand_bits if bits is None else bits,
        precision.wide_share if bits is None else 0.0,
        cycles,
        cycles / machine.clock_mhz,
        energy,
    )


def table(totals: Sequence[Total]) -> Table:
    """Return one row per accelerator, with the speed beside ANT's where it is among them."""
    base = next((each for each in totals if each.accelerator == BASELINE), None)
    rows = tuple(
        (
            each.accelerator,
            f"{each.operand_bits:g}",
            f"{each.wide_share:.0%}",
            f"{each.cycles:.4g}",
            f"{each.time_us:.4g}",
            f"{each.energy_uj:.4g}",
            f"{base.cycles / each.cycles:.2f}" if base else "",
        )
        for each in totals
    )
    header = ("accelerator", "bits", "in twice the bits", "cycles", "µs", "µJ", f"speed of {BASELINE} = 1")
    return Table(header, rows, right=(1, 2, 3, 4, 5, 6))
