"""Tiles and launch of OPTQ's dequantizing kernel."""

from __future__ import annotations

import numpy as np

from gpu_kernels.matmul.common import Arrays, Options, check_sizes
from gpu_kernels.matmul.cut import Cut, cut_columns, plain_tile, sliced_launch
from gpu_kernels.matmul.tiling import Tile
from sim.arch.spec import GpuSpec
from sim.errors import ConfigError, unknown
from sim.isa.launch import KernelLaunch

SCHEME = "dequant_optq"
KERNEL = "dequant_optq_matmul"
CHUNK, STEP = 64, 256  # columns that are loaded at a time; whose tokens are in shared memory at a time
MULTIPLE_N, MULTIPLE_K = 8, CHUNK
HALF_BYTES = 2
ONE_GROUP = 31  # the group shift that puts all chunks in one group
THREADS = 256


def _tile(tokens: int, bits: int, ctas_per_sm: int) -> Tile:
    table = 32 * 4 << 2 * bits  # a pair of halves per pair of codes and lane
    macros = {"TOKENS": tokens, "BITS": bits, "THREADS": THREADS}
    return plain_tile(tokens, THREADS, table, ctas_per_sm, macros, {"bits": bits}, f"{bits}bit")


TILES = {tile.name: tile for tile in (_tile(1, 3, 4), _tile(4, 3, 4), _tile(1, 4, 4), _tile(4, 4, 4))}


def launch(
    m: int, n: int, k: int, options: Options, tile: str, gpu: GpuSpec, operands: Arrays | None = None
) -> KernelLaunch:
    """Describe Y[m, n] = X[m, k] · W[n, k]^T; ``operands``: activations, packed weights and scales."""
    if tile not in TILES:
        raise unknown(f"tile of {SCHEME}", tile, TILES)
    chosen = TILES[tile]
    check_sizes(SCHEME, m, n, k, MULTIPLE_N, MULTIPLE_K)
    group, bits = _group(k, options), chosen.extra["BITS"]
    cut = cut_columns(m, n, k, chosen, gpu, STEP, chosen.ctas_per_sm)
    sizes = {
        "activations": (HALF_BYTES * m * k, "activations"),
        "weights": (n * k // 8 * bits, "weights"),
        "scales": (2 * HALF_BYTES * n * (k // group), "scales"),
        "output": (HALF_BYTES * m * n, "output"),
    }
    group_shift = ONE_GROUP if group == k else (group // CHUNK).bit_length() - 1
    return sliced_launch(
        SCHEME, chosen, m, n, k, gpu, cut, sizes, (np.int32(group_shift), *_slices(cut)), operands
    )


def _slices(cut: Cut) -> tuple[np.int32, np.int32]:
    return np.int32(cut.slice), np.int32(cut.longer_slices)


def _group(k: int, options: Options) -> int:
    """Return the columns that share a scale: a power of two of chunks, or all."""
    size = int(options.get("group_size", 128))
    if size in (-1, k):
        return k
    if size < CHUNK or size & (size - 1) or k % size:
        allowed = f"a power of two from {CHUNK} that divides K = {k}, or -1"
        raise ConfigError("", f"{SCHEME}: group_size: got {size}, allowed: {allowed}")
    return size
