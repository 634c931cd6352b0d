"""Tiles and launch of the MXINT8 matmul kernel. Its mma needs the extension ``block_scaled_mma``."""

from __future__ import annotations

from gpu_kernels.matmul.common import Arrays, Options, build_launch, check_sizes
from gpu_kernels.matmul.tiling import BLOCK_K, Tile
from sim.arch.spec import GpuSpec
from sim.errors import unknown
from sim.isa.launch import KernelLaunch
from workloads.schemes.mx_w8a8 import BLOCK, row_bytes, scale_words

SCHEME = "mx_w8a8"
TARGETS = ("sm_90a",)
KERNEL = "mx_matmul"
MULTIPLE_N, MULTIPLE_K = 8, BLOCK
HALF_BYTES, WORD_BYTES = 2, 4
ROW_BYTES = BLOCK_K * HALF_BYTES
STAGES = 4


def _tile(tokens: int, outputs: int, warps_m: int, warps_n: int, ctas_per_sm: int) -> Tile:
    """Return a tile; of a row a stage has codes, as long as BLOCK_K halves, and a word of scales, in whole rows."""
    rows = tokens + outputs
    scale_rows = -(-rows * WORD_BYTES // ROW_BYTES)
    return Tile(tokens, outputs, warps_m, warps_n, STAGES, 1, (rows + scale_rows) * ROW_BYTES, ctas_per_sm)


TILES = {
    tile.name: tile for tile in (_tile(16, 128, 1, 4, 2), _tile(64, 128, 1, 4, 2), _tile(128, 128, 2, 4, 1))
}


def launch(
    m: int, n: int, k: int, options: Options, tile: str, gpu: GpuSpec, operands: Arrays | None = None
) -> KernelLaunch:
    """Describe Y[m, n]; ``operands``: activations, weights, scales as ``workloads.schemes.mx_w8a8`` packs them."""
    if tile not in TILES:
        raise unknown(f"tile of {SCHEME}", tile, TILES)
    check_sizes(SCHEME, m, n, k, MULTIPLE_N, MULTIPLE_K)
    return build_launch(
        SCHEME,
        TILES[tile],
        m,
        n,
        k // HALF_BYTES,
        gpu,
        {
            "activations": (m * row_bytes(k), "activations"),
            "weights": (n * k, "weights"),
            "scales": (scale_words(k) * n * WORD_BYTES, "scales"),
            "output": (HALF_BYTES * m * n, "output"),
        },
        (),
        operands,
    )
