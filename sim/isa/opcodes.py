"""Operations, operand kinds and modifier bits of decoded SASS: the integers that the executors dispatch on."""

from __future__ import annotations

from enum import IntEnum


class Op(IntEnum):
    """What an instruction computes. One value serves the vector and the uniform datapath."""

    NOP = 0
    MOV = 1
    IADD3 = 2
    IADD = 3
    IMAD = 4
    LEA = 5
    LOP3 = 6
    PLOP3 = 7
    SHF = 8
    PRMT = 9
    SEL = 10
    IMNMX = 11
    ISETP = 12
    IABS = 13
    SGXT = 14
    BREV = 15
    POPC = 16
    FLO = 17
    P2R = 18
    R2P = 19
    BMSK = 20
    VIADDMNMX = 24
    IDP = 25
    REDUX = 26
    BMOV = 27
    MARKER = 28  # PMTRIG: marks a hypothetical operation for an extension
    S2R = 21
    R2UR = 22
    LDC = 23
    IADD64 = 29
    FADD = 30
    FMUL = 31
    FFMA = 32
    FMNMX = 33
    FSEL = 34
    FSETP = 35
    MUFU = 36
    I2F = 37
    F2I = 38
    F2FP = 39
    HADD2 = 40
    HMUL2 = 41
    HFMA2 = 42
    HADD2_F32 = 43
    HMNMX2 = 44
    HSET2 = 45
    HSETP2 = 46
    FRND = 47
    FCHK = 48
    HMMA = 50
    IMMA = 51
    HGMMA = 52
    IGMMA = 53
    TENSOR_STORE = 54
    BULK_STORE = 55
    IMMA_SPARSE = 56  # has a meaning only where an extension gives it one
    LDL = 57
    STL = 58
    ATOMS = 59
    LDS = 60
    STS = 61
    LDSM = 62
    STSM = 63
    LDG = 64
    STG = 65
    LDGSTS = 66
    RED = 67
    ATOMG = 68
    SHFL = 69
    VOTE = 70
    COPY_COMMIT = 71
    COPY_WAIT = 72
    MEMBAR = 73
    SET_REGISTERS = 74
    ELECT = 75
    MBARRIER_INIT = 76
    MBARRIER_ARRIVE = 77
    TENSOR_LOAD = 78
    BULK_LOAD = 79
    BRA = 80
    EXIT = 81
    BSSY = 82
    BSYNC = 83
    BREAK = 84
    WARPSYNC = 85
    BAR = 86
    MBARRIER_WAIT = 87  # control: a warp stays there until the phase is complete
    CALL = 88
    RET = 89
    WGMMA_WAIT = 90  # control: the warps of a warpgroup wait for each other, since its wgmma end together


class Kind(IntEnum):
    """What an operand is."""

    NONE = 0
    REG = 1  # 255 = RZ
    UREG = 2  # 63 = URZ
    PRED = 3  # 7 = PT
    UPRED = 4
    IMM = 5
    CONST = 6  # byte offset into the flattened constant banks
    SREG = 7
    BARRIER = 8  # convergence barrier B0..B15


RZ, URZ, PT = 255, 63, 7

# Operand flags
NEG, ABS, INV, H0, H1, WIDE = 1, 2, 4, 8, 16, 32

# Comparison, bits 0-3 of the modifiers; +8 = also true when unordered
LT, LE, GT, GE, EQ, NE, NUM = 1, 2, 3, 4, 5, 6, 7
UNORDERED = 8
COMPARE_MASK = 15
# How a comparison joins its predicate, bits 4-5
AND, OR, XOR = 0, 1 << 4, 2 << 4
JOIN_MASK = 3 << 4
# Integer modifiers
UNSIGNED = 1 << 6
EX = 1 << 7
CARRY_IN = 1 << 8
HIGH = 1 << 9
LEFT = 1 << 10
WRAP = 1 << 11
DOUBLE = 1 << 12  # 64-bit value (SHF.*.U64, LDC.64, MOV.64)
WIDE_RESULT = 1 << 13
SIGN_EXTEND = 1 << 14
PRED_AND = 1 << 15
# Memory: log2 of the bytes per lane in bits 16-18, sign extension, transposition, matrices
SIZE_SHIFT = 16
SIZE_MASK = 7 << SIZE_SHIFT
SIGNED_LOAD = 1 << 20
TRANSPOSE = 1 << 21
MATRICES_SHIFT = 22
MATRICES_MASK = 7 << MATRICES_SHIFT
BYPASS = 1 << 26  # cp.async.cg: not through L1
HIGH_HALF = 1 << 27  # LDS/LDG .U16 into the upper half of the register
# Atomics, bits 28-31
ATOMIC_SHIFT = 28
ADD, MIN, MAX, INC, EXCH, AND_OP, OR_OP, CAS, XOR_OP, TEST_AND_SET = range(10)
ATOMIC_MASK = 15 << ATOMIC_SHIFT
FLOAT = 1 << 32
HALF2 = 1 << 33
BF16 = 1 << 34
SATURATE = 1 << 35
# Shuffles, votes, special functions: small codes in bits 0-3
SHFL_IDX, SHFL_BFLY, SHFL_DOWN, SHFL_UP = range(4)
VOTE_ANY, VOTE_ALL = range(2)
MUFU_RCP, MUFU_EX2, MUFU_RSQ, MUFU_SQRT, MUFU_LG2, MUFU_TANH = range(6)
ROUND_UP = 1 << 4
TRUNCATE = 1 << 5
SHIFT_AMOUNT = 1 << 4  # FLO.SH, BMSK.C
FTZ = 1 << 36  # subnormal inputs and results are zeros
ROUND_DOWN = 1 << 37
ROUND_ZERO = 1 << 38
CONVERGED = 1 << 39  # BRA.CONV
FIRST_SIGNED, SECOND_SIGNED = 1 << 40, 1 << 41  # IDP, IMMA: A, B
CLEAR = 1 << 42  # BMOV
BYTE, SHORT = 1 << 43, 1 << 44  # I2F of the lowest 8 or 16 bits
ANY_LANE = 1 << 45  # BRA.U.ANY: the whole group jumps if one of its lanes would
# mbarriers: what an arrival takes from its register
COUNT_REGISTER, TX_REGISTER, NO_ARRIVAL = 1 << 46, 1 << 47, 1 << 48
RANK_MASK = 7  # of a tensor copy, bits 0-2
# wgmma: n / 8 in bits 16-21
COLUMNS_SHIFT = 16
COLUMNS_MASK = 63 << COLUMNS_SHIFT
NIBBLES = 1 << 49  # IMMA on 4-bit integers
# IMMA, IGMMA reading their accumulators shifted left, by an extension: bits 50-54
ACCUMULATOR_SHIFT = 50
ACCUMULATOR_SHIFT_MASK = 31 << ACCUMULATOR_SHIFT
# HMMA that looks its result up in a table, by an extension: the k16 step in bits 55-56, bits of a code in 57-59
LOOKUP_STEP_SHIFT, LOOKUP_BITS_SHIFT = 55, 57
LOOKUP_STEP_MASK, LOOKUP_BITS_MASK = 3 << LOOKUP_STEP_SHIFT, 7 << LOOKUP_BITS_SHIFT
# IMMA_SPARSE as a block-scaled mma, by an extension: which two of B's registers, first byte of the scales' register
BLOCK_SCALED, UPPER_PAIR = 1 << 55, 1 << 56
SCALE_BYTE_SHIFT = 57
SCALE_BYTE_MASK = 3 << SCALE_BYTE_SHIFT
E2M1 = 1 << 59  # its elements are FP4

SPECIAL_REGISTERS = {
    "SR_TID.X": 0,
    "SR_TID.Y": 1,
    "SR_TID.Z": 2,
    "SR_CTAID.X": 3,
    "SR_CTAID.Y": 4,
    "SR_CTAID.Z": 5,
    "SR_LANEID": 6,
    "SRZ": 7,
    "SR_CgaCtaId": 7,  # no clusters: always zero
    "SR_EQMASK": 8,
    "SR_LTMASK": 9,
    "SR_LEMASK": 10,
    "SR_GTMASK": 11,
    "SR_GEMASK": 12,
    "SR_NTID.X": 13,
    "SR_CLOCKLO": 14,
    "SR_SWINHI": 7,
    "SR_VIRTID": 7,
    "SR_VIRTUALSMID": 7,  # the executed CTA runs on the first SM
}
