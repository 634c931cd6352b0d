"""Tiles and launch of the Tender W4A4 matmul on INT4 tensor cores: the W8A8 kernel, whose steps are m16n8k64.

On sm_90 its mma are marked: they need the extension ``int4_tensor_core``.
"""

from __future__ import annotations

from gpu_kernels.matmul.common import Arrays, Options
from gpu_kernels.matmul.tender import MULTIPLE_N, tender_launch, tiles_of
from sim.arch.spec import GpuSpec
from sim.isa.launch import KernelLaunch

__all__ = ["KERNEL", "MULTIPLE_K", "MULTIPLE_N", "SCHEME", "SOURCE", "TILES", "launch"]
SCHEME = "tender_int4"
SOURCE = "tender_w8a8"  # the folder of its kernel.cu
KERNEL = "tender_matmul"
MULTIPLE_K = 64
# GPUs whose SMs have 100 KB of shared memory run no larger tile than 128x64.
INTEGER = ((16, 128, 1, 4, 3), (64, 128, 1, 4, 2), (128, 64, 4, 2, 1), (128, 128, 2, 4, 1))
TILES = tiles_of(
    {
        "software_shift": INTEGER,
        "explicit": ((16, 128, 1, 4, 3), (64, 128, 2, 4, 1), (128, 64, 4, 2, 1)),  # two sets of sums
        "extension": INTEGER,
        "ideal": INTEGER,
    },
    magic=True,
    int4=True,
)


def launch(
    m: int, n: int, k: int, options: Options, tile: str, gpu: GpuSpec, operands: Arrays | None = None
) -> KernelLaunch:
    """Describe the launch; see ``tender_launch``."""
    return tender_launch(SCHEME, TILES, m, n, k, options, tile, gpu, operands)
