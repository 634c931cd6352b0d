"""Tiles and launch of the Tender W8A8 matmul kernel."""

from __future__ import annotations

from gpu_kernels.matmul.common import Arrays, Options
from gpu_kernels.matmul.tender import MULTIPLE_K, MULTIPLE_N, tender_launch, tiles_of
from sim.arch.spec import GpuSpec
from sim.isa.launch import KernelLaunch

__all__ = ["KERNEL", "MULTIPLE_K", "MULTIPLE_N", "SCHEME", "TARGETS", "TILES", "launch"]
SCHEME = "tender_w8a8"
TARGETS = ("sm_90a",)
KERNEL = "tender_matmul"
INTEGER = ((16, 128, 1, 4, 3), (64, 128, 1, 4, 2), (128, 128, 2, 4, 1))
TILES = tiles_of(
    {
        "software_shift": INTEGER,
        "explicit": ((16, 128, 1, 4, 3), (64, 128, 2, 4, 1), (128, 64, 4, 2, 1)),  # two sets of sums
        "extension": INTEGER,
        "ideal": INTEGER,
    }
)


def launch(
    m: int, n: int, k: int, options: Options, tile: str, gpu: GpuSpec, operands: Arrays | None = None
) -> KernelLaunch:
    """Describe the launch; see ``tender_launch``."""
    return tender_launch(SCHEME, TILES, m, n, k, options, tile, gpu, operands)
