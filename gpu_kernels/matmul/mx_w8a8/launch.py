"""Tiles and launch of the MXINT8 matmul kernel. Its mma needs the extension ``block_scaled_mma``."""

from __future__ import annotations

from gpu_kernels.matmul.common import Arrays, Options
from gpu_kernels.matmul.mx import MULTIPLE_K, MULTIPLE_N, mx_launch, tiles_of
from sim.arch.spec import GpuSpec
from sim.isa.launch import KernelLaunch

__all__ = ["KERNEL", "MULTIPLE_K", "MULTIPLE_N", "SCHEME", "TARGETS", "TILES", "launch"]
SCHEME = "mx_w8a8"
TARGETS = ("sm_90a",)
KERNEL = "mx_matmul"
TILES = tiles_of(fp4=False)


def launch(
    m: int, n: int, k: int, options: Options, tile: str, gpu: GpuSpec, operands: Arrays | None = None
) -> KernelLaunch:
    """Describe the launch; see ``mx_launch``."""
    return mx_launch(SCHEME, TILES, m, n, k, tile, gpu, operands)
