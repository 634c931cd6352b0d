"""Tiles and launch of the Tender W8A8 matmul kernel for Hopper's wgmma and copy engine."""

from __future__ import annotations

import numpy as np

from gpu_kernels.matmul.common import Arrays, Options, build_launch, check_sizes
from gpu_kernels.matmul.tender import (
    FLOAT_BYTES,
    HALF_BYTES,
    MULTIPLE_K,
    MULTIPLE_N,
    VARIANTS,
    as_argument,
    borders_of,
)
from gpu_kernels.matmul.tiling import BLOCK_K, OUTPUTS_OF_WARPGROUP, WARPGROUP, Tile, WgmmaTile
from sim.arch.spec import GpuSpec
from sim.errors import unknown
from sim.isa.launch import BufferRef, KernelLaunch, TensorMap
from workloads.schemes._tender import TRAILER_BYTES

__all__ = ["KERNEL", "MULTIPLE_K", "MULTIPLE_N", "SCHEME", "TARGETS", "TILES", "launch"]
SCHEME = "tender_w8a8_wgmma"
KERNEL = "tender_wgmma_matmul"
TARGETS = ("sm_90a",)
ROW_BYTES = HALF_BYTES * BLOCK_K  # of a panel
Shape = tuple[
    int, int, int, int, int, int
]  # tokens, outputs, stages, panels in one, warpgroups along tokens and K


def _tile(shape: Shape, variant: str) -> Tile:
    """A warpgroup per 64 outputs, and as many again along the tokens or along K."""
    tokens, outputs, stages, panels, warpgroups_m, warpgroups_k = shape
    return WgmmaTile(
        tokens,
        outputs,
        warpgroups_m,
        outputs // OUTPUTS_OF_WARPGROUP * WARPGROUP,
        stages,
        panels,
        stage_bytes=panels * (tokens + outputs) * ROW_BYTES,
        ctas_per_sm=1,
        warps_k=warpgroups_k,
        extra={"VARIANT": VARIANTS[variant], "MAGIC": 0},
        options={"variant": variant},
        label=variant,
    )


FEW: tuple[Shape, ...] = ((16, 64, 8, 2, 1, 2), (64, 64, 6, 2, 1, 2), (128, 64, 8, 1, 1, 1))
MANY: tuple[Shape, ...] = ((128, 128, 6, 1, 1, 1), (256, 128, 4, 1, 1, 1), (128, 256, 4, 1, 1, 1))
SHAPES = {
    "software_shift": (*FEW, *MANY),
    "explicit": (*FEW, (128, 128, 6, 1, 2, 1)),  # two sets of sums
    "extension": (*FEW, *MANY),
    "ideal": (*FEW, *MANY),
}
TILES = {
    tile.name: tile
    for variant, shapes in SHAPES.items()
    for tile in (_tile(each, variant) for each in shapes)
}


def launch(
    m: int, n: int, k: int, options: Options, tile: str, gpu: GpuSpec, operands: Arrays | None = None
) -> KernelLaunch:
    """Describe Y[m, n]; operands as in ``tender_launch``. Columns of K are bytes, twice as many as a block's halves."""
    if tile not in TILES:
        raise unknown(f"tile of {SCHEME}", tile, TILES)
    check_sizes(SCHEME, m, n, k, MULTIPLE_N, MULTIPLE_K)
    chosen = TILES[tile]
    at = borders_of(SCHEME, k, {**chosen.options, **options}, operands)
    return build_launch(
        SCHEME,
        chosen,
        m,
        n,
        k,
        gpu,
        {
            "activations": (m * (k + TRAILER_BYTES), "activations"),
            "weights": (n * k, "weights"),
            "scales": (FLOAT_BYTES * n, "scales"),
            "output": (HALF_BYTES * m * n, "output"),
        },
        (
            _panels("activations", m, k, k + TRAILER_BYTES, m % chosen.tokens or chosen.tokens),
            BufferRef("activations"),
            as_argument(at),
            np.int32(len(at)),
        ),
        operands,
        {
            "activations": _panels("activations", m, k, k + TRAILER_BYTES, chosen.tokens),
            "weights": _panels("weights", n, k, k, chosen.outputs),
        },
    )


def _panels(buffer: str, rows: int, columns: int, row_bytes: int, rows_of_box: int) -> TensorMap:
    """Read a row-major matrix of bytes in panels of 128 columns, swizzled as wgmma wants them."""
    return TensorMap(
        buffer,
        1,
        dims=(columns, rows),
        strides_bytes=(row_bytes,),
        box=(ROW_BYTES, rows_of_box),
        swizzle_bytes=ROW_BYTES,
    )
