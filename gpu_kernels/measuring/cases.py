"""What to measure: kernels, shapes and tiles, as suites; and the plan that worker processes read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from gpu_kernels import catalog
from sim.arch.spec import GpuSpec
from sim.errors import ConfigError, unknown
from sim.isa.launch import KernelLaunch
from sim.isa.opcodes import Op
from workloads.operands import Operands
from workloads.schemes.base import OptionValue, get_scheme
from workloads.suite import available_suites, load_suite

# Full and partial tiles of M and N, split and unsplit K, K shorter than every pipeline. Schemes whose format
# does not hold a shape pass over it: N = 520 is for those that need multiples of 8, 528 for 16.
COUNTER_SHAPES = (
    (16, 4096, 4096),
    (5, 1024, 768),
    (64, 520, 1024),
    (64, 528, 1024),
    (200, 1040, 768),
    (1, 2048, 128),
    (512, 1024, 1024),
)
MOST_TOKEN_TILES = 64  # nobody multiplies more tokens by a kernel for a few
OPTION_SHAPES = ((16, 1024, 1024), (5, 1040, 768))  # where every choice of every option is run once
DECODE_TOKENS = (1, 16, 64, 256)
DECODE_WEIGHTS = ((4096, 4096), (6144, 4096), (28672, 4096), (4096, 14336), (8192, 8192))
PREFILL = ((512, 6144, 4096), (1024, 4096, 4096), (2048, 6144, 4096))
SQUARES = ((4096, 4096, 4096), (8192, 8192, 8192))
NINES = (8, 20)  # groups that shifted operands need no border for, and some that they do
# What a group's border costs: few and many tokens, K split and not, one wave of CTAs and several.
BORDER_SHAPES = (
    (16, 4096, 4096),
    (64, 4096, 4096),
    (1024, 4096, 4096),
    (4096, 4096, 4096),
    (16, 8192, 8192),
    (256, 8192, 8192),
)


@dataclass(frozen=True)
class Case:
    """One kernel on one shape; ``timed`` and ``counted`` say what to measure besides correctness.

    ``compared``: cuBLAS is timed on the shape as well.
    """

    scheme: str
    options: Mapping[str, OptionValue]
    tile: str
    m: int
    n: int
    k: int
    timed: bool = False
    counted: bool = False
    compared: bool = True

    @property
    def weights(self) -> tuple[object, ...]:
        """What cases with the same weights have in common."""
        return self.scheme, tuple(sorted(self.options.items())), self.n, self.k

    def launch(self, gpu: GpuSpec, operands: Operands | None = None) -> KernelLaunch:
        """Describe the launch, with data if ``operands`` (of M tokens or more) are given."""
        arrays = None
        if operands is not None:
            arrays = {**operands.arrays, "activations": operands.arrays["activations"][: self.m]}
        return catalog.launches(self.scheme, self.m, self.n, self.k, self.options, gpu, self.tile, arrays)[0]


def is_legal(case: Case, gpu: GpuSpec) -> bool:
    """Tell whether the scheme holds the shape and the kernel can run it."""
    try:
        get_scheme(case.scheme).check_shape(case.m, case.n, case.k, case.options)
        program = case.launch(gpu).program
    except ConfigError:
        return False
    return not (program.opcode == int(Op.MARKER)).any()  # a mark asks for hardware that no GPU has


def counter_cases() -> Iterator[Case]:
    """Every tile on shapes that reach every path of its kernel, and every option on two shapes."""
    for scheme in catalog.available():
        tiles, defaults = tuple(catalog.tiles(scheme)), get_scheme(scheme).check_options({})
        for tile, (m, n, k) in product(tiles, COUNTER_SHAPES):
            chosen = catalog.tiles(scheme)[tile]
            if m <= MOST_TOKEN_TILES * chosen.tokens:
                yield Case(scheme, {**defaults, **chosen.options}, tile, m, n, k, counted=True)
        for options, (m, n, k) in product(_option_choices(scheme), OPTION_SHAPES):
            usable = [tile for tile in tiles if catalog.matches(scheme, catalog.tiles(scheme)[tile], options)]
            if usable:
                yield Case(scheme, options, usable[len(usable) // 2], m, n, k, counted=True)


def _option_choices(scheme: str) -> list[dict[str, OptionValue]]:
    """Return the defaults with one option changed, for every value that is not the default."""
    found = get_scheme(scheme)
    defaults = found.check_options({})
    return [
        {**defaults, option.name: value}
        for option in found.options
        for value in option.allowed
        if value != option.default and option.measured
    ]


def timed_cases(shapes: Sequence[tuple[int, int, int]], gpu: GpuSpec) -> Iterator[Case]:
    """Every scheme with its default options, every tile worth trying, on every shape."""
    for scheme in catalog.available():
        options = get_scheme(scheme).check_options({})
        for m, n, k in shapes:
            try:
                names = [_tile_of(each) for each in catalog.launches(scheme, m, n, k, options, gpu)]
            except ConfigError:
                continue
            yield from (Case(scheme, options, name, m, n, k, timed=True) for name in names)


def _tile_of(launch: KernelLaunch) -> str:
    """Return the tile's name: the second word of a label, ``w4a16 16x128 split 4``."""
    return launch.label.split()[1]


def _timed_shapes() -> list[tuple[int, int, int]]:
    decode = [(m, n, k) for (n, k), m in product(DECODE_WEIGHTS, DECODE_TOKENS)]
    return [*decode, *PREFILL, *SQUARES]


def border_cases(gpu: GpuSpec) -> Iterator[Case]:
    """Every number of equally long groups, in every variant of the schemes that have groups."""
    for scheme in catalog.available():
        for options in _border_options(scheme):
            for m, n, k in BORDER_SHAPES:
                names = [_tile_of(each) for each in catalog.launches(scheme, m, n, k, options, gpu)]
                yield Case(scheme, options, names[-1], m, n, k, timed=True, counted=True)


def _border_options(scheme: str) -> Iterator[dict[str, OptionValue]]:
    """Return the options of ``border_cases``; without borders to cross, one number of groups is enough."""
    known = {option.name: option for option in get_scheme(scheme).options}
    if not {"variant", "groups", "profile"} <= known.keys():
        return
    shifted = "operand_shift" in known["variant"].allowed
    counts = NINES if shifted else known["groups"].allowed
    for variant, groups in product(known["variant"].allowed, counts):
        if variant != "ideal" or groups == counts[0]:
            yield {"variant": variant, "groups": groups, "profile": "even"}


SUITES: dict[str, Callable[[GpuSpec], Sequence[Case]]] = {
    "smoke": lambda gpu: [
        *(case for case in counter_cases() if (case.m, case.n) == (5, 1024)),
        *timed_cases([(16, 4096, 4096)], gpu),
    ],
    "counters": lambda gpu: list(counter_cases()),
    "borders": lambda gpu: list(border_cases(gpu)),
    "quick": lambda gpu: list(timed_cases(_timed_shapes(), gpu)),
    "all": lambda gpu: [*counter_cases(), *timed_cases(_timed_shapes(), gpu)],
}


def suite_cases(name: str, gpu: GpuSpec) -> tuple[Case, ...]:
    """Return the legal cases of a measuring suite, or the timed ones of a workload suite.

    ``drawn-SEED`` draws shapes, options and tiles by chance. ``SUITE:SCHEME``: only those of a scheme.
    """
    name, _, scheme = name.partition(":")
    if scheme and scheme not in catalog.available():
        raise unknown("scheme with a kernel", scheme, catalog.available())
    if name in SUITES:
        cases = SUITES[name](gpu)
    elif name == "lookups":
        from gpu_kernels.measuring.lookups import lookup_cases

        cases = list(lookup_cases())
    elif name == "goals":
        from gpu_kernels.measuring.goals import goal_cases

        cases = list(goal_cases(gpu))
    elif drawn := re.fullmatch(r"drawn-(\d{1,9})", name):
        from gpu_kernels.measuring.drawn import drawn_cases

        cases = drawn_cases(int(drawn[1]), gpu, scheme)
    elif name in available_suites() or name.endswith((".yaml", ".yml")):
        shapes = dict.fromkeys((each.m, each.n, each.k) for each in load_suite(name))
        cases = list(timed_cases(list(shapes), gpu))
    else:
        raise unknown("suite", name, (*SUITES, "lookups", "goals", "drawn-SEED", *available_suites()))
    wanted = (case for case in _merged(cases) if scheme in ("", case.scheme))
    return tuple(case for case in wanted if is_legal(case, gpu))


def _merged(cases: Sequence[Case]) -> list[Case]:
    """Make one case of those that differ only in what is to be measured."""
    found: dict[tuple[object, ...], Case] = {}
    for case in cases:
        key = (case.weights, case.tile, case.m)
        other = found.get(key, case)
        found[key] = replace(case, timed=case.timed or other.timed, counted=case.counted or other.counted)
    return list(found.values())


def write_plan(path: Path, gpu: str, seed: int, cases: Sequence[Case]) -> None:
    """Write what a worker needs to know."""
    record = {
        "gpu": gpu,
        "seed": seed,
        "cases": [{**asdict(case), "options": {**case.options}} for case in cases],
    }
    path.write_text(json.dumps(record, indent=0) + "\n", encoding="utf-8")


def read_plan(path: Path) -> tuple[str, int, tuple[Case, ...]]:
    """Return GPU, seed and cases of a plan."""
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record["gpu"], record["seed"], tuple(Case(**each) for each in record["cases"])
