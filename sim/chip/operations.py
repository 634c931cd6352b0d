"""What the tensor instructions of a trace compute."""

from __future__ import annotations

import numpy as np

from sim.arch.checks import mma_ops
from sim.isa.trace import WarpTrace
from sim.isa.wgmma import BLOCK_COLUMNS, parse_wgmma
from sim.sm.layout import WARPGROUP


def mma_counts(trace: WarpTrace) -> dict[str, int]:
    """Count the tensor instructions of one CTA by shape and types."""
    which = trace.program.mma[trace.pc]
    ran = (which >= 0) & (trace.lanes > 0)
    totals = np.bincount(which[ran], trace.repeats()[ran], len(trace.program.mma_names))
    return {name: int(total) for name, total in zip(trace.program.mma_names, totals, strict=True)}


def input_type(name: str) -> str:
    """Return the type of an mma's inputs: the last part of its name, but for a wgmma's operand source."""
    shape = parse_wgmma(name)
    return shape.input if shape else name.rsplit(".", 1)[-1]


def warp_ops(name: str) -> int:
    """Return the multiplies and adds of one warp instruction; of a wgmma as one of its four warps' share."""
    shape = parse_wgmma(name)
    return 2 * shape.macs // WARPGROUP if shape else mma_ops(name)


def accumulator_blocks(name: str) -> int:
    """Return the blocks of 16 x 8 accumulators that one warp instruction reads and writes."""
    shape = parse_wgmma(name)
    return shape.n // BLOCK_COLUMNS if shape else 1
