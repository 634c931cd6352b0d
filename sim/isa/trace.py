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

    **mbarriers.** The mbarriers of a CTA are numbered in the order in which they are initialised; ``mbarriers``
    holds the arrivals that complete a phase of each. A phase completes when so many arrivals have come *and* the
    bytes that copies have delivered equal those announced; then the next phase begins, with none of either. A row
    that names an mbarrier says with ``phase`` which completion is meant, counted from 1 at its initialisation:

    - a wait (``Unit.MBARRIER_WAIT``) goes on once the mbarrier has completed at least ``phase`` times; 0 never waits.
      One wait of the program is one row, however often the hardware would spin;
    - an arrival (``MBARRIER_ARRIVE``) or a copy (``BULK_LOAD``) is part of what makes completion ``phase`` happen.
      The arrival counts ``arrivals`` (summed over its lanes) and announces ``tx`` bytes; the copy delivers ``tx``
      bytes (of a tensor map the whole box, also what lies outside the tensor and is filled with zeros).

    In a folded loop ``phase_step`` says by how much ``phase`` advances each time that the loop's rows run again: run
    number r (0 = the one in the trace) of row i means completion ``phase[i] + r * phase_step[i]``. A loop's rows span
    whole turns of its ring of stages and of the phase bit, so ``phase_step`` is even and every run of a row has the
    same parity of phase: an engine may do as the hardware does, keep one parity per mbarrier, and let a wait go on
    while ``completed % 2 == phase % 2``. Warps are folded each on its own, producers and consumers at different
    rows and with different numbers of runs, but all loops that touch an mbarrier leave out the same number of
    its completions: ``extra * phase_step`` is the same in each of them. Who replays only some runs of the loops
    must keep that true; the phases of the rows behind a loop then count less by what was left out.
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
    mbarrier: I32  # number of the mbarrier that the row waits for, arrives at or copies for, else -1
    phase: I32  # which completion of it: see above; 0 without an mbarrier
    phase_step: I32  # by how much `phase` advances per run of a folded loop; 0 outside loops
    arrivals: I32  # arrivals at the mbarrier by this row, all lanes together
    tx: I32  # bytes: announced by an arrival, moved by a bulk copy
    loops: I64  # [loops, 3]
    # [patterns, 34]: access bytes per lane, kind (0 load, 1 store, 2 matrix), 32 lane offsets (-1 = inactive)
    patterns: I32
    mbarriers: I32  # [mbarriers]: arrivals that complete a phase

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
