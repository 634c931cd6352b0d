"""What the launches of the MX kernels share: tiles and buffers."""

from __future__ import annotations

from collections.abc import Mapping

from gpu_kernels.matmul.common import Arrays, build_launch, check_sizes
from gpu_kernels.matmul.tiling import BLOCK_K, Tile
from sim.arch.spec import GpuSpec
from sim.errors import unknown
from sim.isa.launch import KernelLaunch
from workloads.schemes._mx import BLOCK, Mx
from workloads.schemes.base import get_scheme

MULTIPLE_N, MULTIPLE_K = 8, BLOCK
HALF_BYTES, WORD_BYTES = 2, 4
ROW_BYTES = BLOCK_K * HALF_BYTES
STAGES = 4
SHAPES = ((16, 128, 1, 4, 2), (64, 128, 1, 4, 2), (128, 128, 2, 4, 1))  # tokens, outputs, warps, CTAs per SM


def tiles_of(fp4: bool) -> dict[str, Tile]:
    """Return the tiles by name; of a row a stage has 128 bytes of elements and one or two words of scales."""
    found = {}
    for tokens, outputs, warps_m, warps_n, ctas_per_sm in SHAPES:
        rows = tokens + outputs
        scale_rows = -(-rows * WORD_BYTES * (1 + fp4) // ROW_BYTES)  # as many whole rows as they fill
        stage_bytes = (rows + scale_rows) * ROW_BYTES
        tile = Tile(
            tokens, outputs, warps_m, warps_n, STAGES, 1, stage_bytes, ctas_per_sm, extra={"FP4": int(fp4)}
        )
        found[tile.name] = tile
    return found


def mx_launch(
    scheme: str,
    tiles: Mapping[str, Tile],
    m: int,
    n: int,
    k: int,
    tile: str,
    gpu: GpuSpec,
    operands: Arrays | None,
) -> KernelLaunch:
    """Describe Y[m, n]; ``operands``: activations, weights, scales as the scheme packs them. K counts in half-words."""
    if tile not in tiles:
        raise unknown(f"tile of {scheme}", tile, tiles)
    check_sizes(scheme, m, n, k, MULTIPLE_N, MULTIPLE_K)
    described = get_scheme(scheme)
    assert isinstance(described, Mx)
    return build_launch(
        scheme,
        tiles[tile],
        m,
        n,
        described.row_codes(k) // HALF_BYTES,
        gpu,
        {
            "activations": (m * described.row_bytes(k), "activations"),
            "weights": (n * described.row_codes(k), "weights"),
            "scales": (described.scale_bytes(n, k), "scales"),
            "output": (HALF_BYTES * m * n, "output"),
        },
        (),
        operands,
    )
