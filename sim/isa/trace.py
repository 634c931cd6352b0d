"""What one CTA did: the order of its warps' instructions and what each asked of the memories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.isa.program import Program

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WarpTrace:
    """The executed instructions of one CTA, warp after warp, loops folded.

    Rows ``offset[w]:offset[w+1]`` belong to warp w, in program order. A row of ``loops`` (begin, end, extra) says
    that rows begin:end of the columns, executed once here, ran ``extra`` further times before row ``end`` goes on:
    identical but for linearly advancing addresses. Columns have one entry per executed warp instruction.
    """

    program: Program
    offset: I64  # [warps + 1]
    pc: I32  # index of the static instruction
    lanes: I32  # active lanes after the guard; 0 = passed over
    pattern: I32  # row of `patterns` for an access to shared memory, else -1
    lines: I32  # distinct 128-byte lines of a global access
    sectors: I32  # distinct 32-byte sectors of a global access
    misses: I32  # of these sectors, how many L1 has not seen from this CTA (all of them where L1 is bypassed)
    taken: I32  # 1 for a branch that jumped
    buffer: I32  # index into the launch's buffers of a global access, else -1
    loops: I64  # [loops, 3]
    # [patterns, 34]: access bytes per lane, kind (0 load, 1 store, 2 matrix), 32 lane offsets (-1 = inactive)
    patterns: I32

    @property
    def warps(self) -> int:
        """Warps of the CTA."""
        return len(self.offset) - 1

    def repeats(self) -> I64:
        """Return how many times each row was executed: 1, or 1 + the extra runs of its loop."""
        times = np.ones(len(self.pc), dtype=np.int64)
        for begin, end, extra in self.loops:
            times[begin:end] += extra
        return times
