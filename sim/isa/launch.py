"""One launch of a kernel, described once: CuPy runs it on a GPU, the simulator runs it without."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.errors import ConfigError
from sim.isa.program import Program

Dim3 = tuple[int, int, int]
BYTE_ROLES = ("weights", "scales", "activations", "output", "workspace")


@dataclass(frozen=True)
class Buffer:
    """One array in global memory.

    ``data`` may be None (the simulator then lays a small scratch window behind it: addresses stay real, values do
    not), any contiguous array of ``nbytes``, or a shorter one of a multiple of 256 bytes, which then repeats over the
    buffer (for the simulator only). Outputs and workspace are None unless they must start at a value.
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
class TensorMap:
    """A ``__grid_constant__ const CUtensorMap`` argument (128 bytes, aligned to 64): a tensor that is read in boxes.

    Dimensions stand innermost first, as the driver's ``cuTensorMapEncodeTiled`` takes them. What of a box lies outside
    the tensor is filled with zeros. With ``swizzle_bytes`` of 32, 64 or 128 the copy engine exchanges the 16-byte
    pieces of a row of so many bytes by the address bits from bit 7 on. A GPU gets the driver's encoding; the
    simulator finds the map by the argument's address.
    """

    buffer: str
    element_bytes: int  # 1, 2, 4 or 8
    dims: tuple[int, ...]  # elements
    strides_bytes: tuple[int, ...]  # of dims[1:]; the innermost one is dense
    box: tuple[int, ...]  # elements per dimension
    swizzle_bytes: int = 0
    offset_bytes: int = 0  # of the tensor in its buffer

    def __post_init__(self) -> None:
        """Refuse what the driver would refuse."""
        rank = len(self.dims)
        _allow("dims", rank, 1 <= rank <= 5, "1 to 5 dimensions")
        _allow(
            "strides_bytes", self.strides_bytes, len(self.strides_bytes) == rank - 1, f"{rank - 1} strides"
        )
        _allow(
            "box", self.box, len(self.box) == rank and all(1 <= n <= 256 for n in self.box), "1 to 256 each"
        )
        _allow("element_bytes", self.element_bytes, self.element_bytes in (1, 2, 4, 8), "1, 2, 4, 8")
        aligned = all(stride % 16 == 0 for stride in (self.offset_bytes, *self.strides_bytes))
        _allow(
            "strides_bytes",
            (self.offset_bytes, *self.strides_bytes),
            aligned,
            "multiples of 16, the offset too",
        )
        _allow("swizzle_bytes", self.swizzle_bytes, self.swizzle_bytes in (0, 32, 64, 128), "0, 32, 64, 128")
        row = self.box[0] * self.element_bytes
        _allow("box", f"rows of {row} bytes", row % 16 == 0, "rows of a multiple of 16 bytes")
        fits = self.swizzle_bytes in (0, row)  # the driver takes shorter rows too; how they lie was not seen
        _allow("box", f"rows of {row} bytes", fits, f"rows of the swizzle's {self.swizzle_bytes} bytes")

    @property
    def box_bytes(self) -> int:
        """Bytes that one copy writes to shared memory and reports to its mbarrier."""
        return math.prod(self.box) * self.element_bytes


def _allow(key: str, got: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ConfigError("", f"tensor map: {key}: got {got}, allowed: {allowed}")


Argument = BufferRef | TensorMap | np.int32 | np.uint32 | np.int64 | np.float32 | np.void


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
    args: tuple[Argument, ...]
    buffers: tuple[Buffer, ...]
    classes: tuple[CtaClass, ...]
    label: str = ""
    source_lines: tuple[str, ...] = ()  # the CUDA source, for reports
    # What the buffers' data are (how they were drawn, or a hash): launches that are equal but for their data and have
    # the same identity do the same. Without one, nothing of a launch with data is kept.
    data_identity: str = ""

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
