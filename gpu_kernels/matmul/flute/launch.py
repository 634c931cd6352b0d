"""Tiles and launch of the FLUTE matmul kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gpu_kernels.matmul.common import Arrays, Options, build_launch, check_sizes
from gpu_kernels.matmul.tiling import BLOCK_K, WORD_BYTES, Tile
from sim.arch.spec import GpuSpec
from sim.errors import ConfigError, unknown
from sim.isa.launch import KernelLaunch

SCHEME = "flute"
KERNEL = "flute_matmul"
MULTIPLE_N, MULTIPLE_K = 16, BLOCK_K  # one packing block
HALF_BYTES = 2
PRMT_ENTRY_BYTES = 256  # 32 copies of a pair and as much room unused: one PRMT makes the offset of an entry
SCALE_K = 32  # columns to which a row of scales is staged
LUT_UNIT = "lut_unit"  # the extension, and the option that asks for it
LUT_UNIT_TARGETS = ("sm_90a",)
OVERHEAD_STAGES = 3.0  # filling table and pipeline, adding up and storing
INVERSE_BITS = 31  # the kernel computes column / group as column / 32 * inverse >> 31


def _tile(
    bits: int,
    tokens: int,
    outputs: int,
    warps: tuple[int, int, int],
    stages: int,
    blocks: int,
    ctas_per_sm: int,
    copies: int = 32,
) -> Tile:
    weights, activations = outputs * BLOCK_K * bits // 8, tokens * BLOCK_K * HALF_BYTES
    scales = outputs * HALF_BYTES * BLOCK_K // SCALE_K
    warps_m, warps_n, warps_k = warps
    entry = PRMT_ENTRY_BYTES if copies == 32 else WORD_BYTES * copies
    return Tile(
        tokens,
        outputs,
        warps_m,
        warps_n,
        stages,
        blocks,
        blocks * (activations + scales),
        ctas_per_sm,
        warps_k,
        {"BITS": bits, "COPIES": copies, "ENTRY_BYTES": entry},
        {"bits": bits, "lookup": "shared"},
        f"w{bits}" + (f"c{copies}" if copies < 32 else ""),
        conflict_free=copies == 32,
        table_bytes=4**bits * entry,
        register_bytes=blocks * weights,
        overhead_stages=OVERHEAD_STAGES,
    )


def _lut_unit(tile: Tile) -> Tile:
    """The same tile for hardware that looks up beside the tensor core: no table in shared memory."""
    bits = tile.extra["BITS"]
    return replace(
        tile,
        extra={"BITS": bits},
        options={"bits": bits, "lookup": LUT_UNIT},
        label=f"w{bits}-{LUT_UNIT}",
        source="lut_unit.cu",
        targets=LUT_UNIT_TARGETS,
        table_bytes=0,
    )


SHARED = {
    tile.name: tile
    for tile in (
        _tile(4, 8, 128, (1, 2, 4), 3, 4, 2),
        _tile(4, 16, 128, (1, 2, 4), 3, 4, 2),
        _tile(4, 16, 128, (1, 2, 4), 3, 4, 2, copies=1),
        _tile(4, 16, 128, (1, 2, 4), 3, 4, 2, copies=8),
        _tile(4, 32, 128, (1, 4, 2), 4, 2, 2),
        _tile(4, 32, 128, (1, 4, 2), 4, 2, 2, copies=8),  # for GPUs with less shared memory
        _tile(4, 64, 128, (1, 2, 4), 3, 4, 1),
        _tile(3, 8, 128, (1, 2, 4), 3, 4, 2),
        _tile(3, 16, 128, (1, 2, 4), 3, 4, 2),
        _tile(3, 64, 128, (1, 2, 4), 3, 4, 1),
        _tile(2, 16, 128, (1, 2, 4), 3, 4, 2),
        _tile(2, 64, 128, (1, 2, 4), 3, 4, 1),
    )
}
TILES = SHARED | {
    tile.name: tile for tile in (_lut_unit(each) for each in SHARED.values() if each.conflict_free)
}


def launch(
    m: int, n: int, k: int, options: Options, tile: str, gpu: GpuSpec, operands: Arrays | None = None
) -> KernelLaunch:
    """Describe Y[m, n] = X[m, k] · W[n, k]^T; ``operands``: activations, packed indices, scales, table of pairs."""
    if tile not in TILES:
        raise unknown(f"tile of {SCHEME}", tile, TILES)
    check_sizes(SCHEME, m, n, k, MULTIPLE_N, MULTIPLE_K)
    group, bits = _group(k, options), int(TILES[tile].options["bits"])
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
            "weights": (n * k * bits // 8, "weights"),
            "scales": (HALF_BYTES * n * (k // group), "scales"),
            "table": (2 * HALF_BYTES * 4**bits, "scales"),
            "output": (HALF_BYTES * m * n, "output"),
        },
        (np.uint32(inverse),),
        operands,
    )


def _group(k: int, options: Options) -> int:
    """Return the columns that share a scale."""
    size = int(options.get("group_size", 128))
    group = k if size == -1 else size
    if group < SCALE_K or group % SCALE_K or k % group:
        allowed = f"a multiple of {SCALE_K} that divides K = {k}, or -1"
        raise ConfigError("", f"{SCHEME}: group_size: got {size}, allowed: {allowed}")
    return group


def _group_inverse(n: int, k: int, group: int) -> int:
    """Return what the kernel multiplies a column / 32 by to find its row of scales; 0: one row."""
    units, units_per_group = k // SCALE_K, group // SCALE_K
    if units == units_per_group:
        return 0
    if units * units_per_group >= 1 << INVERSE_BITS or n * (k // group) >= 1 << 32:
        raise ConfigError(
            "", f"{SCHEME}: got N = {n}, K = {k}, allowed: fewer scales, the kernel counts them in 32 bits"
        )
    return -(-(1 << INVERSE_BITS) // units_per_group)
