"""Tiles and launch of the FP16 matmul kernel."""

from __future__ import annotations

from gpu_kernels.matmul.common import Arrays, Options, build_launch, check_sizes
from gpu_kernels.matmul.tiling import BLOCK_K, Tile
from sim.arch.spec import GpuSpec
from sim.errors import unknown
from sim.isa.launch import KernelLaunch

SCHEME = "fp16"
KERNEL = "fp16_matmul"
MULTIPLE_N = MULTIPLE_K = 8  # 16-byte copies
HALF_BYTES = 2


def _tile(
    tokens: int, outputs: int, warps: tuple[int, int, int], stages: int, blocks: int, ctas_per_sm: int
) -> Tile:
    stage_bytes = blocks * (tokens + outputs) * BLOCK_K * HALF_BYTES
    warps_m, warps_n, warps_k = warps
    return Tile(tokens, outputs, warps_m, warps_n, stages, blocks, stage_bytes, ctas_per_sm, warps_k)


TILES = {
    tile.name: tile
    for tile in (
        _tile(8, 64, (1, 2, 2), 5, 2, 2),
        _tile(16, 64, (1, 2, 2), 5, 2, 2),
        _tile(16, 128, (1, 4, 1), 4, 1, 3),
        _tile(32, 64, (1, 1, 4), 4, 4, 1),
        _tile(32, 128, (1, 4, 1), 5, 1, 2),
        _tile(64, 64, (1, 2, 2), 6, 2, 1),
        _tile(64, 128, (1, 4, 1), 4, 1, 2),
        _tile(64, 256, (1, 4, 1), 5, 1, 1),
        _tile(128, 64, (2, 2, 2), 4, 2, 1),
        _tile(128, 128, (2, 2, 1), 3, 1, 2),
        _tile(128, 256, (2, 4, 1), 4, 1, 1),
        _tile(256, 128, (4, 2, 1), 4, 1, 1),
    )
}


def launch(
    m: int, n: int, k: int, options: Options, tile: str, gpu: GpuSpec, operands: Arrays | None = None
) -> KernelLaunch:
    """Describe Y[m, n] = X[m, k] · W[n, k]^T; ``operands``: activations, weights, in float16."""
    if tile not in TILES:
        raise unknown(f"tile of {SCHEME}", tile, TILES)
    check_sizes(SCHEME, m, n, k, MULTIPLE_N, MULTIPLE_K)
    return build_launch(
        SCHEME,
        TILES[tile],
        m,
        n,
        k,
        gpu,
        {
            "activations": (HALF_BYTES * m * k, "activations"),
            "weights": (HALF_BYTES * n * k, "weights"),
            "output": (HALF_BYTES * m * n, "output"),
        },
        (),
        operands,
    )
