"""One launch of a kernel, described once: CuPy runs it on a GPU, the simulator runs it without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.isa.program import Program

Dim3 = tuple[int, int, int]
BYTE_ROLES = ("weights", "scales", "activations", "output", "workspace")


@dataclass(frozen=True)
class Buffer:
    """One array in global memory.

    ``data`` may be None (the simulator then lays a small scratch window behind it: addresses stay real, values do
    not) or any contiguous array of ``nbytes``. Outputs and workspace are None unless they must start at a value.
    """

    name: str
    nbytes: int
    role: str  # one of BYTE_ROLES
    data: npt.NDArray[Any] | None = None
    zeroed: bool = False  # must be zero before the launch (counters); otherwise it may hold anything


@dataclass(frozen=True)
class BufferRef:
    """An argument that points into a buffer."""

    name: str
    offset_bytes: int = 0


@dataclass(frozen=True)
class CtaClass:
    """CTAs that do the same work: one of them is executed, ``count`` of them are timed.

    ``patches`` are 32-bit words written into buffers before this class runs: what CTAs before it left behind
    (an arrival counter, say). Keys: (buffer name, byte offset).
    """

    cta: Dim3
    count: int
    label: str = "interior"
    patches: Mapping[tuple[str, int], int] = field(default_factory=dict)


@dataclass(frozen=True)
class KernelLaunch:
    """Program, grid, arguments and memory image of one kernel launch."""

    program: Program
    grid: Dim3
    block: Dim3
    dynamic_shared_bytes: int
    args: tuple[BufferRef | np.int32 | np.uint32 | np.int64 | np.float32, ...]
    buffers: tuple[Buffer, ...]
    classes: tuple[CtaClass, ...]
    label: str = ""
    source_lines: tuple[str, ...] = ()  # the CUDA source, for reports

    @property
    def ctas(self) -> int:
        """CTAs of the whole grid."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    @property
    def threads(self) -> int:
        """Threads of one CTA."""
        return self.block[0] * self.block[1] * self.block[2]

    @property
    def warps(self) -> int:
        """Warps of one CTA."""
        return (self.threads + 31) // 32


def edge_classes(grid: Dim3) -> tuple[CtaClass, ...]:
    """Return the classes of a grid whose last CTA in each dimension may be partial: at most eight."""
    classes = []
    for z, nz in _split(grid[2]):
        for y, ny in _split(grid[1]):
            for x, nx in _split(grid[0]):
                label = "interior" if (x, y, z) == (0, 0, 0) else f"edge {x},{y},{z}"
                classes.append(CtaClass((x, y, z), nx * ny * nz, label))
    return tuple(classes)


def _split(extent: int) -> list[tuple[int, int]]:
    """First index and count of (all but the last, the last)."""
    return [(0, extent - 1), (extent - 1, 1)] if extent > 1 else [(0, 1)]
