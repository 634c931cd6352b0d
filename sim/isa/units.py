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
    BARRIER = 19  # BAR.SYNC
    BRANCH = 20  # BRA, BSSY, BSYNC, CALL, RET, ...
    EXIT = 21
    MEMBAR = 22


NO_COUNTER = 7  # the value of a write or read barrier field that names no dependence counter
COUNTERS = 6  # dependence counters (scoreboards) of a warp
