"""Tiles and launch of the FP16 matmul kernel for Hopper's wgmma and copy engine."""

from __future__ import annotations

from gpu_kernels.matmul.common import Arrays, Options, build_launch, check_sizes
from gpu_kernels.matmul.tiling import BLOCK_K, OUTPUTS_OF_WARPGROUP, WARPGROUP, Tile, WgmmaTile
from sim.arch.spec import GpuSpec
from sim.errors import unknown
from sim.isa.launch import KernelLaunch, TensorMap

SCHEME = "fp16_wgmma"
KERNEL = "fp16_wgmma_matmul"
TARGETS = ("sm_90a",)
MULTIPLE_N = MULTIPLE_K = 8  # rows start at multiples of 16 bytes, as the copy engine wants
HALF_BYTES = 2


def _tile(tokens: int, outputs: int, stages: int, blocks: int = 1, warpgroups_k: int = 1) -> Tile:
    """A warpgroup per 64 outputs, and as many again along K."""
    warps_n = outputs // OUTPUTS_OF_WARPGROUP * WARPGROUP
    stage_bytes = blocks * (tokens + outputs) * BLOCK_K * HALF_BYTES
    return WgmmaTile(tokens, outputs, 1, warps_n, stages, blocks, stage_bytes, 1, warpgroups_k)


TILES = {
    tile.name: tile
    for tile in (
        _tile(8, 64, 8, 2),
        _tile(16, 64, 8, 2, 2),
        _tile(32, 64, 8, 2, 2),
        _tile(64, 64, 6, 2, 2),
        _tile(128, 64, 8),
        _tile(128, 128, 6),
        _tile(128, 192, 5),
        _tile(256, 128, 4),
    )
}


def launch(
    m: int, n: int, k: int, options: Options, tile: str, gpu: GpuSpec, operands: Arrays | None = None
) -> KernelLaunch:
    """Describe Y[m, n] = X[m, k] · W[n, k]^T; ``operands``: activations, weights, in float16."""
    if tile not in TILES:
        raise unknown(f"tile of {SCHEME}", tile, TILES)
    check_sizes(SCHEME, m, n, k, MULTIPLE_N, MULTIPLE_K)
    chosen = TILES[tile]
    return build_launch(
        SCHEME,
        chosen,
        m,
        n,
        k,
        gpu,
        {
            "activations": (HALF_BYTES * m * k, "activations"),
            "weights": (HALF_BYTES * n * k, "weights"),
            "output": (HALF_BYTES * m * n, "output"),
        },
        (_panels("activations", m, k, m % chosen.tokens or chosen.tokens),),
        operands,
        {
            "activations": _panels("activations", m, k, chosen.tokens),
            "weights": _panels("weights", n, k, chosen.outputs),
        },
    )


def _panels(buffer: str, rows: int, columns: int, rows_of_box: int) -> TensorMap:
    """Read a row-major matrix in panels of 64 columns, swizzled as wgmma wants them."""
    return TensorMap(
        buffer,
        HALF_BYTES,
        dims=(columns, rows),
        strides_bytes=(HALF_BYTES * columns,),
        box=(BLOCK_K, rows_of_box),
        swizzle_bytes=HALF_BYTES * BLOCK_K,
    )
