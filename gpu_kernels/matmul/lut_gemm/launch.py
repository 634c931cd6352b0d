"""Tiles and launch of the LUT-GEMM kernel."""

from __future__ import annotations

import numpy as np

from gpu_kernels.matmul.common import Arrays, Options, check_sizes
from gpu_kernels.matmul.cut import Cut, cut_columns, plain_tile, sliced_launch
from gpu_kernels.matmul.tiling import FLOAT_BYTES, Tile
from sim.arch.spec import GpuSpec
from sim.errors import ConfigError, unknown
from sim.isa.launch import KernelLaunch

SCHEME = "lut_gemm"
KERNEL = "lut_gemm_matmul"
WORD = 32  # columns of K
QUAD = 4  # outputs of a unit of 16 bytes
MULTIPLE_N, MULTIPLE_K = QUAD, WORD
HALF_BYTES = 2
SLAB, STEP = 1024, 128  # columns of K that have tables at a time, private and shared ones
LEAST_GROUP = 64  # columns
ONE_GROUP = 31  # the group shift that puts all words in one group
SHARED_CTAS = 4  # CTAs per SM that K is cut for, with shared tables: enough loads in flight


def _private(tokens: int, threads: int, stages: int) -> Tile:
    """Tables in every lane's own bank: an entry is an FP32, or a pair of halves."""
    warps, tables = threads // 32, SLAB // 8 * 256 * FLOAT_BYTES
    ring = warps * stages * (32 * 16 + 2 * SLAB // LEAST_GROUP * QUAD * HALF_BYTES)
    macros = {"TOKENS": tokens, "MU": 8, "PRIVATE": 1, "SIGNED": 0, "THREADS": threads, "STAGES": stages}
    return plain_tile(
        tokens, warps * QUAD, tables + ring, 1, macros, {"table": "private", "mu": 8}, "private"
    )


def _shared(mu: int, signed: bool = False, threads: int = 256, ctas_per_sm: int = 3) -> Tile:
    """Tables of halves that all lanes look into."""
    tables = STEP // WORD * -(-WORD // mu) * HALF_BYTES << (mu - signed)
    macros = {"TOKENS": 1, "MU": mu, "PRIVATE": 0, "SIGNED": int(signed), "THREADS": threads}
    kind = "signed" if signed else "shared"
    options: Options = {"table": kind, "mu": mu}
    return plain_tile(
        1, threads * QUAD, tables, ctas_per_sm, macros, options, f"{kind}-mu{mu}", conflict_free=False
    )


TILES = {
    tile.name: tile
    for tile in (
        _private(1, 512, 2),  # for GPUs with less shared memory
        _private(1, 1024, 3),
        _private(2, 1024, 3),
        *(_shared(mu) for mu in (4, 5, 6, 7, 8)),
        _shared(8, signed=True),
    )
}


def launch(
    m: int, n: int, k: int, options: Options, tile: str, gpu: GpuSpec, operands: Arrays | None = None
) -> KernelLaunch:
    """Describe Y[m, n] = X[m, k] · W[n, k]^T; ``operands``: activations, packed weights and scales."""
    if tile not in TILES:
        raise unknown(f"tile of {SCHEME}", tile, TILES)
    chosen = TILES[tile]
    check_sizes(SCHEME, m, n, k, MULTIPLE_N, MULTIPLE_K)
    bits, group = int(options.get("bits", 4)), _group(k, chosen, options)
    sizes = {
        "activations": (HALF_BYTES * m * k, "activations"),
        "weights": (n * k // 8 * bits, "weights"),
        "scales": (HALF_BYTES * n * (bits + 1) * (k // group), "scales"),
        "output": (HALF_BYTES * m * n, "output"),
    }
    cut, arguments = _cut(m, n, k, chosen, gpu)
    group_shift = ONE_GROUP if group == k else (group // WORD).bit_length() - 1
    scalars = tuple(np.int32(value) for value in (bits, group_shift, *arguments))
    return sliced_launch(SCHEME, chosen, m, n, k, gpu, cut, sizes, scalars, operands)


def _group(k: int, tile: Tile, options: Options) -> int:
    """Return the columns that share scales: a power of two of words, or all; whole steps of shared tables."""
    size = int(options.get("group_size", 128))
    least = LEAST_GROUP if tile.extra["PRIVATE"] else STEP
    if size in (-1, k):
        return k
    if size < least or size > SLAB or size & (size - 1) or k % size:
        allowed = f"a power of two from {least} to {SLAB} that divides K = {k}, or -1"
        raise ConfigError("", f"tile {tile.name} of {SCHEME}: group_size: got {size}, allowed: {allowed}")
    return size


def _cut(m: int, n: int, k: int, tile: Tile, gpu: GpuSpec) -> tuple[Cut, tuple[int, ...]]:
    """Cut the matmul; return the kernel's last arguments too."""
    if tile.extra["PRIVATE"]:
        cut = _cut_private(m, n, k, tile, gpu)
        return cut, (cut.rows // tile.outputs,)
    cut = cut_columns(m, n, k, tile, gpu, STEP, SHARED_CTAS)
    return cut, (cut.slice, cut.longer_slices)


def _cut_private(m: int, n: int, k: int, tile: Tile, gpu: GpuSpec) -> Cut:
    """Give every SM one CTA, if there is work: its tables are built once, for as many rows as that takes."""
    slabs, token_tiles = -(-k // SLAB), -(-m // tile.tokens)
    blocks = max(1, gpu.sm.count // (slabs * token_tiles))
    rows = -(-n // (tile.outputs * blocks)) * tile.outputs  # so many quads of each warp
    return Cut(rows, -(-n // rows), token_tiles, slabs, 1)
