"""Tiles and launch of the MXFP4 matmul kernel.

Its mma needs the extension ``block_scaled_mma`` beside ``int4_tensor_core``.
"""

from __future__ import annotations

from gpu_kernels.matmul.common import Arrays, Options
from gpu_kernels.matmul.mx import MULTIPLE_K, MULTIPLE_N, mx_launch, tiles_of
from sim.arch.spec import GpuSpec
from sim.isa.launch import KernelLaunch

__all__ = ["KERNEL", "MULTIPLE_K", "MULTIPLE_N", "SCHEME", "SOURCE", "TARGETS", "TILES", "launch"]
SCHEME = "mx_w4a4"
SOURCE = "mx_w8a8"  # the folder of its kernel.cu
TARGETS = ("sm_90a",)
KERNEL = "mx_matmul"
TILES = tiles_of(fp4=True)


def launch(
    m: int, n: int, k: int, options: Options, tile: str, gpu: GpuSpec, operands: Arrays | None = None
) -> KernelLaunch:
    """Describe the launch; see ``mx_launch``."""
    return mx_launch(SCHEME, TILES, m, n, k, tile, gpu, operands)
