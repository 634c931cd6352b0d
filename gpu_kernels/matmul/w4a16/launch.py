"""Tiles and launch of the W4A16 matmul kernel."""

from __future__ import annotations

import numpy as np

from gpu_kernels.matmul.common import Arrays, Options, build_launch, check_sizes
from gpu_kernels.matmul.tiling import BLOCK_K, Tile
from sim.arch.spec import GpuSpec
from sim.errors import ConfigError, unknown
from sim.isa.launch import KernelLaunch

SCHEME = "w4a16"
KERNEL = "w4a16_matmul"
MULTIPLE_N, MULTIPLE_K = 16, BLOCK_K  # one packing block
HALF_BYTES = 2
INVERSE_BITS = 31  # the kernel computes block / blocks_per_group as block * inverse >> 31
# Up to so many tokens per warp the scale goes to the accumulators (4 FFMA per 8 tokens, 16 outputs and group of
# columns, and the codes need no conversion), above to the weights (16 HMUL2 and 16 conversions per 16 outputs and
# 64 columns, no second set of accumulators, no extra mma).
ACCUMULATOR_SCALES_UP_TO = 16


def _tile(
    tokens: int, outputs: int, warps: tuple[int, int, int], stages: int, blocks: int, ctas_per_sm: int
) -> Tile:
    weights, activations, scales = outputs * BLOCK_K // 2, tokens * BLOCK_K * HALF_BYTES, outputs * HALF_BYTES
    warps_m, warps_n, warps_k = warps
    extra = {"SCALE_ACCUMULATORS": int(tokens // warps_m <= ACCUMULATOR_SCALES_UP_TO)}
    stage_bytes = blocks * (weights + activations + scales)
    return Tile(tokens, outputs, warps_m, warps_n, stages, blocks, stage_bytes, ctas_per_sm, warps_k, extra)


TILES = {
    tile.name: tile
    for tile in (
        _tile(8, 64, (1, 1, 4), 5, 8, 1),
        _tile(8, 128, (1, 2, 2), 5, 4, 2),
        _tile(16, 32, (1, 1, 4), 4, 8, 2),
        _tile(16, 64, (1, 1, 4), 6, 8, 1),
        _tile(16, 96, (1, 1, 4), 5, 8, 1),
        _tile(16, 128, (1, 2, 2), 4, 4, 2),
        _tile(16, 192, (1, 2, 2), 3, 4, 2),
        _tile(32, 64, (1, 1, 8), 3, 8, 1),
        _tile(32, 256, (1, 4, 1), 4, 2, 1),
        _tile(64, 64, (1, 2, 4), 5, 4, 1),
        _tile(64, 128, (1, 4, 1), 4, 2, 2),
        _tile(64, 256, (1, 4, 2), 4, 2, 1),
    )
}


def launch(
    m: int, n: int, k: int, options: Options, tile: str, gpu: GpuSpec, operands: Arrays | None = None
) -> KernelLaunch:
    """Describe Y[m, n] = X[m, k] · W[n, k]^T; ``operands``: activations, packed weights and scales."""
    if tile not in TILES:
        raise unknown(f"tile of {SCHEME}", tile, TILES)
    check_sizes(SCHEME, m, n, k, MULTIPLE_N, MULTIPLE_K)
    group = _group(k, options)
    blocks = 0 if group == k else group // BLOCK_K
    inverse = _group_inverse(n, k, group)
    return build_launch(
        SCHEME,
        TILES[tile],
        m,
        n,
        k,
        gpu,
        {
            "activations": (HALF_BYTES * m * k, "activations"),
            "weights": (n * k // 2, "weights"),
            "scales": (HALF_BYTES * n * (k // group), "scales"),
            "output": (HALF_BYTES * m * n, "output"),
        },
        (np.int32(blocks), np.uint32(inverse)),
        operands,
    )


def _group(k: int, options: Options) -> int:
    """Return the columns that share a scale."""
    size = int(options.get("group_size", 128))
    group = k if size == -1 else size
    if group < BLOCK_K or group % BLOCK_K or k % group:
        allowed = f"a multiple of {BLOCK_K} that divides K = {k}, or -1"
        raise ConfigError("", f"{SCHEME}: group_size: got {size}, allowed: {allowed}")
    return group


def _group_inverse(n: int, k: int, group: int) -> int:
    """Return what the kernel multiplies a block's number by to find its row of scales; 0: one row."""
    blocks, blocks_per_group = k // BLOCK_K, group // BLOCK_K
    if blocks == blocks_per_group:
        return 0
    if blocks * blocks_per_group >= 1 << INVERSE_BITS or n * (k // group) >= 1 << 32:
        raise ConfigError(
            "", f"{SCHEME}: got N = {n}, K = {k}, allowed: fewer scales, the kernel counts them in 32 bits"
        )
    return -(-(1 << INVERSE_BITS) // blocks_per_group)
