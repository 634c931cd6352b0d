"""The classes of work that the engines know: which pipe an instruction takes, and what it does to the warp's order."""

from __future__ import annotations

from enum import IntEnum


class Unit(IntEnum):
    """Where one warp instruction goes. Engines branch on these, never on opcodes."""

    NONE = 0  # NOP and what a timing model may pass over
    ALU = 1
    FMA = 2
    IMAD = 3
    HALF = 4
    XU = 5  # variable latency, 16 lanes/clk per SM
    UNIFORM = 6
    SPECIAL = 7  # variable latency: S2R, R2UR, CS2R
    TENSOR = 8
    SHARED_LOAD = 9  # LDS, LDSM
    SHARED_STORE = 10  # STS, STSM
    GLOBAL_LOAD = 11  # LDG
    GLOBAL_STORE = 12  # STG, RED
    ATOMIC = 13  # ATOMG: returns a value from L2
    ASYNC_COPY = 14  # LDGSTS (cp.async)
    CONSTANT_LOAD = 15  # LDC
    SHUFFLE = 16
    COPY_COMMIT = 17  # LDGDEPBAR: dependence counter 0 falls when all earlier copies of this warp are done
    COPY_WAIT = 18  # DEPBAR.LE: wait until the dependence counter is at most `argument`
    BARRIER = 19  # BAR.SYNC: `argument` = barrier + 16 * warps that meet there, 0 = all of the CTA
    BRANCH = 20  # BRA, BSSY, BSYNC, CALL, RET, ...
    EXIT = 21
    MEMBAR = 22
    WGMMA = 23  # HGMMA, IGMMA: one warp's 16 rows of a warpgroup's mma; `argument` = 1: closes a commit group
    WGMMA_ARRIVE = 24  # WARPGROUP.ARRIVE (wgmma.fence): the four warps meet, their registers are written
    WGMMA_WAIT = (
        25  # WARPGROUP.DEPBAR.LE: wait until at most `argument` commit groups of this warp are pending
    )
    BULK_LOAD = (
        26  # UTMALDG, UBLKCP.S.G: the copy engine moves a box of global memory, then tells an mbarrier
    )
    BULK_STORE = 27  # UTMASTG, UBLKCP.G.S: from shared to global memory, in this thread's bulk group
    BULK_COMMIT = 28  # UTMACMDFLUSH: closes the bulk group; COPY_WAIT on its dependence counter waits for it
    MBARRIER_INIT = 29
    MBARRIER_ARRIVE = 30  # SYNCS.ARRIVE: `lanes` arrivals each of `arrivals`, and `tx` bytes announced
    MBARRIER_WAIT = (
        31  # SYNCS.PHASECHK.TRYWAIT: holds the warp until its mbarrier has completed `phase` times
    )
    SET_REGISTERS = 32  # USETMAXREG: `argument` = registers per thread from here on
    PROXY_FENCE = (
        33  # FENCE.VIEW.ASYNC: what this thread wrote becomes visible to the copy engine and to wgmma
    )


# what of these asks memory beyond the SM for data, or writes there; atomics do both
LOADS = (Unit.GLOBAL_LOAD, Unit.ASYNC_COPY, Unit.BULK_LOAD)
STORES = (Unit.GLOBAL_STORE, Unit.BULK_STORE)
NO_COUNTER = 7  # the value of a write or read barrier field that names no dependence counter
COUNTERS = 6  # dependence counters (scoreboards) of a warp
