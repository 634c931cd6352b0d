"""What to measure of the kernels that look up in tables: bits, tables, copies, tokens, shapes, codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

from gpu_kernels import catalog
from gpu_kernels.measuring.cases import Case
from workloads.schemes.base import OptionValue, get_scheme

SQUARE, LARGER = (4096, 4096), (8192, 8192)
WIDE, DEEP = (28672, 4096), (4096, 14336)
LARGE = ((12288, 12288), (57344, 8192))
SMALL = (1024, 1024)  # to count shared wavefronts that depend on codes: the simulator then executes every CTA
Weights = tuple[int, int]


def lookup_cases() -> Iterator[Case]:
    """Go through the timed cases of all schemes, and through some to count."""
    yield from _private_tables()
    yield from _shared_tables()
    yield from _dequantizing()
    yield from _pairs()
    yield from _copies_of_pairs()


def _private_tables() -> Iterator[Case]:
    for bits, weights in product((3, 4), (SQUARE, LARGER, WIDE, DEEP, *LARGE)):
        yield _case("lut_gemm", "1x128-private", 1, weights, bits=bits, codes="random")
    for bits, weights in product((1, 2, 5, 6, 8), (SQUARE, LARGER)):
        yield _case("lut_gemm", "1x128-private", 1, weights, bits=bits, codes="random")
    for bits, weights, m in product((3, 4), (SQUARE, LARGER, WIDE), (2, 4, 8)):
        yield _case("lut_gemm", "2x128-private", m, weights, bits=bits, codes="random")
    for weights, group in product((SQUARE, LARGER), (64, -1)):
        yield _case("lut_gemm", "1x128-private", 1, weights, group_size=group)
    for weights in (SQUARE, LARGER, DEEP):
        yield _case("lut_gemm", "1x64-private", 1, weights, codes="random")


def _shared_tables() -> Iterator[Case]:
    tiles = [name for name, tile in catalog.tiles("lut_gemm").items() if tile.options["table"] != "private"]
    for tile, weights in product(tiles, (SQUARE, LARGER, DEEP)):
        yield _case("lut_gemm", tile, 1, weights)
    for tile, bits in product(("1x1024-shared-mu8", "1x1024-signed-mu8"), (2, 3)):
        yield _case("lut_gemm", tile, 1, SQUARE, bits=bits)
    for tile, weights in product(
        ("1x1024-shared-mu7", "1x1024-shared-mu8", "1x1024-signed-mu8"), (SQUARE, LARGER)
    ):
        yield _case("lut_gemm", tile, 1, weights, codes="random")
    for tile, codes in product(tiles, ("gaussian", "random")):
        yield replace(_case("lut_gemm", tile, 1, SMALL, codes=codes), timed=False, counted=True)
    yield replace(_case("lut_gemm", tiles[-1], 3, SMALL, fit="binary"), timed=False, counted=True)


def _dequantizing() -> Iterator[Case]:
    for bits, weights, m in product((3, 4), (SQUARE, (6144, 4096), LARGER, WIDE, DEEP), (1, 4)):
        yield _case("dequant_optq", f"{m}x256-{bits}bit", m, weights, bits=bits)
    for bits, weights, m in product((3, 4), (SQUARE, (6144, 4096), LARGER, DEEP), (2, 3, 5, 8)):
        yield _case("dequant_optq", f"4x256-{bits}bit", m, weights, bits=bits)
    for bits, weights, group in product((3, 4), (SQUARE, LARGER), (64, -1)):
        yield _case("dequant_optq", f"1x256-{bits}bit", 1, weights, bits=bits, group_size=group)


def _pairs() -> Iterator[Case]:
    """FLUTE's tables, copied so often that each lane has a bank to itself."""
    for m, weights in product((1, 16, 32, 64), (SQUARE, (6144, 4096), LARGER, WIDE, DEEP)):
        yield _case("flute", f"{max(8, m)}x128-w4", m, weights)
    for m, weights in product((1, 16), (*LARGE, (8192, 28672))):
        yield _case("flute", f"{max(8, m)}x128-w4", m, weights, codes="random")
    for m, weights in product((1, 16, 64), (SQUARE, LARGER, WIDE)):
        yield _case("flute", f"{max(8, m)}x128-w3", m, weights)
    for weights in (*LARGE, (8192, 28672)):
        yield _case("flute", "16x128-w3", 16, weights, codes="random")
    for m, weights in product((16, 64), (SQUARE, LARGER, WIDE)):
        yield _case("flute", f"{m}x128-w2", m, weights)
    for group in (32, 64, 256):
        yield _case("flute", "16x128-w4", 16, LARGER, group_size=group)
    for table in ("uniform", "learned"):
        yield _case("flute", "16x128-w4", 16, LARGER, table=table)


def _copies_of_pairs() -> Iterator[Case]:
    """Fewer copies, whose bank conflicts are a matter of the codes: peaked ones, and every code equally often."""
    tiles = ("16x128-w4", "16x128-w4c8", "16x128-w4c1")
    for tile, weights, codes in product(tiles, (SQUARE, LARGER), ("gaussian", "random")):
        yield _case("flute", tile, 16, weights, table="uniform", codes=codes)
    for tile in tiles[1:]:
        yield _case("flute", tile, 16, WIDE)
    for tile, codes in product((*tiles, "8x128-w3", "64x128-w2"), ("gaussian", "random")):
        yield replace(_case("flute", tile, 5, SMALL, codes=codes), timed=False, counted=True)


def _case(scheme: str, tile: str, m: int, weights: Weights, **options: OptionValue) -> Case:
    compiled: Mapping[str, OptionValue] = catalog.tiles(scheme)[tile].options
    complete = get_scheme(scheme).check_options({**options, **compiled})
    counted = weights == SQUARE and not get_scheme(scheme).codes_matter(complete)
    return Case(scheme, complete, tile, m, *weights, timed=True, counted=counted)
