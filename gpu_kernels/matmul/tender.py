"""What the launches of the Tender kernels share: variants, tiles, borders as arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpu_kernels.matmul.common import Arrays, Options, build_launch, check_sizes
from gpu_kernels.matmul.tiling import BLOCK_K, Tile
from sim.arch.spec import GpuSpec
from sim.errors import ConfigError, unknown
from sim.isa.launch import KernelLaunch
from workloads.schemes._tender import TRAILER_BYTES, Tender
from workloads.schemes.base import get_scheme
from workloads.tender.layout import STEP_COLUMNS

# As in tender.cuh; shifted operands need no code, only borders where their spare bits are used up.
VARIANTS = {"explicit": 0, "software_shift": 1, "operand_shift": 1, "extension": 2, "ideal": 3}
BORDERS = 24  # as in tender.cuh; the last one stays unused
NEVER = 0xFFFFFFFF
MULTIPLE_N, MULTIPLE_K = 8, STEP_COLUMNS
HALF_BYTES, FLOAT_BYTES = 2, 4
Shape = tuple[int, int, int, int, int]  # tokens, outputs, warps along each, CTAs per SM


def tiles_of(
    shapes: Mapping[str, tuple[Shape, ...]], magic: bool = False, stages: int = 4, int4: bool = False
) -> dict[str, Tile]:
    """Return the tiles of each variant; ``magic``: no group's sum reaches 2^22; ``int4``: two codes in a byte."""
    packed = {"INT4": 1} if int4 else {}
    found = {}
    for variant, of_variant in shapes.items():
        for tokens, outputs, warps_m, warps_n, ctas_per_sm in of_variant:
            tile = Tile(
                tokens,
                outputs,
                warps_m,
                warps_n,
                stages,
                blocks=1,
                stage_bytes=(tokens + outputs) * BLOCK_K * HALF_BYTES,
                ctas_per_sm=ctas_per_sm,
                extra={"VARIANT": VARIANTS[variant], "MAGIC": int(magic), **packed},
                options={"variant": variant},
                label=variant,
            )
            found[tile.name] = tile
    return found


def tender_launch(
    scheme: str,
    tiles: Mapping[str, Tile],
    m: int,
    n: int,
    k: int,
    options: Options,
    tile: str,
    gpu: GpuSpec,
    operands: Arrays | None,
) -> KernelLaunch:
    """Describe Y[m, n]; ``operands``: activations, weights, scales, and borders if not those of the options.

    The kernels count K in half-words, as the FP16 kernel counts halves.
    """
    if tile not in tiles:
        raise unknown(f"tile of {scheme}", tile, tiles)
    described = get_scheme(scheme)
    assert isinstance(described, Tender)
    check_sizes(scheme, m, n, k, MULTIPLE_N, described.step_columns)
    row = described.row_bytes(k)
    at = borders_of(scheme, k, {**tiles[tile].options, **options}, operands)
    return build_launch(
        scheme,
        tiles[tile],
        m,
        n,
        row // HALF_BYTES,
        gpu,
        {
            "activations": (m * (row + TRAILER_BYTES), "activations"),
            "weights": (described.weight_rows(n) * row, "weights"),
            "scales": (FLOAT_BYTES * n, "scales"),
            "output": (HALF_BYTES * m * n, "output"),
        },
        (as_argument(at),),
        operands,
    )


def borders_of(scheme: str, k: int, options: Options, operands: Arrays | None) -> np.ndarray[Any, Any]:
    """Return the borders that ``operands`` name, or else those of the options."""
    described = get_scheme(scheme)
    assert isinstance(described, Tender)
    own = described.borders(k, described.check_options(options))
    return own if operands is None else operands.get("borders", own)


def as_argument(at: np.ndarray[Any, Any]) -> np.void:
    """Return the borders as the kernel's struct."""
    if len(at) >= BORDERS or (np.diff(at.astype(np.int64)) < 0).any():
        raise ConfigError("", f"borders: got {at.tolist()}, allowed: fewer than {BORDERS}, ascending")
    filled = np.full(BORDERS, NEVER, "<u4")
    filled[: len(at)] = at
    return np.void(filled.tobytes())
