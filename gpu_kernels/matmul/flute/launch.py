"""Tiles and launch of the FLUTE matmul kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gpu_kernels.matmul.common import Arrays, Options, build_launch, check_sizes
from gpu_kernels.matmul.tiling import BLOCK_K, WORD_BYTES, Tile
from sim.arch.spec import GpuSpec
from sim.errors import ConfigError, unknown
from sim.isa.launch import KernelLaunch
from workloads.schemes.flute import NIBBLES, SLICED

SCHEME = "flute"
KERNEL = "flute_matmul"
MULTIPLE_N, MULTIPLE_K = 16, BLOCK_K  # one packing block
HALF_BYTES = 2
PRMT_ENTRY_BYTES = 256  # 32 copies of a pair and as much room unused: one PRMT makes the offset of an entry
ALIGNMENT = 128  # of a warp's blocks in shared memory
SCALE_K = 32  # columns to which a row of scales is staged
LUT_UNIT = "lut_unit"  # the extension, and the option that asks for it
LUT_UNIT_TARGETS = ("sm_90a",)
OVERHEAD_STAGES = 3.0  # filling table and pipeline, adding up and storing
STREAM_TOKENS = 16
STREAM_OVERHEAD = 14.0  # beginning and end take as long as so many spans
SPAN = 2  # blocks of 64 columns that share their scales
REGISTER_STEPS = {4: 0, 3: 1 << 3}  # steps of a block of which half the pairs come from registers
STREAM_TARGETS = ("sm_90a",)  # others have too little shared memory for what is in flight
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
        _options(bits, "shared", SLICED),
        f"w{bits}" + (f"c{copies}" if copies < 32 else ""),
        conflict_free=copies == 32,
        table_bytes=4**bits * entry,
        register_bytes=blocks * weights,
        overhead_stages=OVERHEAD_STAGES,
    )


def _options(bits: int, lookup: str, layout: str) -> dict[str, int | str | bool]:
    """What a tile is compiled for; the layout is one of 3-bit indices."""
    return {"bits": bits, "lookup": lookup, **({"layout": layout} if bits == 3 else {})}


def _stream(bits: int, outputs: int, warps: tuple[int, int], fold: int, stages: int) -> Tile:
    """A tile of stream.cu. ``warps``: along N and K; ``fold``: of those along K, layers that are added up first."""
    warps_n, warps_k = warps
    own = outputs // warps_n
    rows = own * BLOCK_K * bits // 8 + STREAM_TOKENS * BLOCK_K * HALF_BYTES + own * HALF_BYTES
    block = -(-rows // ALIGNMENT) * ALIGNMENT
    return Tile(
        STREAM_TOKENS,
        outputs,
        1,
        warps_n,
        stages,
        SPAN,
        warps_n * warps_k * block,
        1,
        warps_k,
        {
            "BITS": bits,
            "BLOCKS": warps_k,
            "WARPS_K": warps_k // fold,
            "FOLD": fold,
            "SPAN": SPAN,
            "REGISTER_STEPS": REGISTER_STEPS[bits],
        },
        _options(bits, "shared", NIBBLES),
        f"w{bits}-stream",
        table_bytes=256 * PRMT_ENTRY_BYTES,
        source="stream.cu",
        targets=STREAM_TARGETS,
        overhead_stages=STREAM_OVERHEAD,
        fewest_tokens=8,
        excluded={"group_size": (32, 64)},
    )


def _lut_unit(tile: Tile) -> Tile:
    """The same tile for hardware that looks up beside the tensor core: no table in shared memory."""
    bits = tile.extra["BITS"]
    return replace(
        tile,
        extra={"BITS": bits},
        options=_options(bits, LUT_UNIT, SLICED),
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
STREAMED = {
    tile.name: tile
    for tile in (
        _stream(bits, outputs, warps, fold, stages)
        for bits in (4, 3)
        for outputs, warps, fold, stages in (
            (64, (1, 8), 1, 4),
            (96, (1, 8), 2, 3),
            (192, (2, 4), 1, 3),
            (224, (2, 4), 2, 3),
        )
    )
}
TILES = (
    SHARED
    | STREAMED
    | {tile.name: tile for tile in (_lut_unit(each) for each in SHARED.values() if each.conflict_free)}
)


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
