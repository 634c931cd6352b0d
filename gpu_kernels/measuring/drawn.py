"""Cases drawn by chance: shapes, options and tiles that nobody has chosen, for predictions committed beforehand."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gpu_kernels import catalog
from gpu_kernels.measuring.cases import MOST_TOKEN_TILES, Case, is_legal
from sim.arch.spec import GpuSpec
from workloads.schemes.base import OptionValue, Scheme, get_scheme

PER_SCHEME = 72
ATTEMPTS = 40  # per case: schemes that hold few shapes give fewer cases
LARGEST_M = 4096
SMALLEST_NK, LARGEST_NK = 768, 32768
LARGEST_WEIGHTS = 2**27.5  # elements; they and the products below bound the float64 reference's time
LARGEST_PRODUCT = 2**36.5
LARGEST_COUNTED = 2**24.5  # elements: the profiled process draws its operands again, one case at a time
MOST_COUNTED = 20  # cases of a scheme: the profiler takes a second for some launches
LARGEST_FITTED = 2**22  # elements: formats fitted by iteration take half a second for a million
MULTIPLES = (8, 64, 128, 256, 1024)  # of N and K, each as likely: awkward to round
FEW_TOKENS, MOST_TILES_OF_FEW = 8, 4  # tiles of fewer tokens are of kernels for as few: so many tiles at most
ROUND_SHARE = 0.5  # of the M that are powers of two


def drawn_cases(seed: int, gpu: GpuSpec, only: str = "") -> tuple[Case, ...]:
    """Return up to PER_SCHEME timed cases of every scheme, small ones counted; the same ones for the same seed.

    ``only`` one scheme's, if it is named.
    """
    schemes = (only,) if only else catalog.available()
    return tuple(case for scheme in schemes for case in _of_scheme(scheme, seed, gpu))


def _of_scheme(scheme: str, seed: int, gpu: GpuSpec) -> Iterator[Case]:
    random = np.random.default_rng([seed, zlib.crc32(scheme.encode())])
    seen: set[tuple[object, ...]] = set()
    counted = 0
    for _ in range(ATTEMPTS * PER_SCHEME):
        case = _draw(get_scheme(scheme), random, gpu)
        if case is None or (key := (case.weights, case.tile, case.m)) in seen:
            continue
        seen.add(key)
        counted += case.counted
        yield replace(case, counted=case.counted and counted <= MOST_COUNTED)
        if len(seen) == PER_SCHEME:
            return


def _draw(scheme: Scheme, random: np.random.Generator, gpu: GpuSpec) -> Case | None:
    """Draw one case; None if the scheme does not hold it."""
    m, n, k = _tokens(random), _size(random), _size(random)
    options: dict[str, OptionValue] = {
        each.name: each.allowed[int(random.integers(len(each.allowed)))]
        for each in scheme.options
        if each.measured
    }
    usable = [
        name
        for name, tile in catalog.tiles(scheme.name).items()
        if catalog.matches(scheme.name, tile, options)
    ]
    if not usable:
        return None
    case = Case(scheme.name, options, usable[0], m, n, k, timed=True, compared=False)
    if options.get("fit") == "binary" and n * k > LARGEST_FITTED:
        return None
    if n * k > LARGEST_WEIGHTS or m * n * k > LARGEST_PRODUCT or not is_legal(case, gpu):
        return None
    names = [each.label.split()[1] for each in catalog.launches(scheme.name, m, n, k, options, gpu)]
    tile = names[int(random.integers(len(names)))]
    if m > _most_tokens(catalog.tiles(scheme.name)[tile].tokens):
        return None
    return replace(case, tile=tile, counted=n * k <= LARGEST_COUNTED)


def _most_tokens(tile_tokens: int) -> int:
    """Return up to how many tokens anybody would use a tile of so many."""
    return tile_tokens * (MOST_TILES_OF_FEW if tile_tokens < FEW_TOKENS else MOST_TOKEN_TILES)


def _tokens(random: np.random.Generator) -> int:
    """Draw M, evenly over its logarithm."""
    exponent = float(random.uniform(0, np.log2(LARGEST_M)))
    return 2 ** round(exponent) if random.random() < ROUND_SHARE else round(2**exponent)


def _size(random: np.random.Generator) -> int:
    """Draw N or K, evenly over its logarithm, and round it to one of MULTIPLES."""
    size = 2 ** float(random.uniform(np.log2(SMALLEST_NK), np.log2(LARGEST_NK)))
    multiple = int(random.choice(MULTIPLES))
    return max(1, round(size / multiple)) * multiple
