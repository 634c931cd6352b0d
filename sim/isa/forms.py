"""The white list: every (opcode, modifiers, operand kinds) that is understood. Anything else is an error that names it.

Opcode patterns: ``{A,B}`` is one of, ``[.X]`` is optional. Signatures, one letter per operand, ``?`` = optional:
``d`` destination register (general or uniform), ``D`` destination predicate, ``s`` integer source, ``f`` FP32 source,
``h`` packed-half source, ``p`` predicate source, ``i`` immediate, ``m`` shared address, ``g`` global address,
``S`` special register, ``c`` constant bank, ``B`` convergence barrier, ``t`` branch target, ``k`` dependence counter,
``n`` the name PR, ``r`` a general register only, ``e`` the descriptors of a wgmma, ``b`` its commit group, ``x`` a
cache hint, ``u`` the address of a tensor map. Meanings follow NVIDIA's own def/use sets (``nvdisasm -plr``) and were
checked by execution.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from sim.isa import opcodes as o
from sim.isa.forms_async import ARRIVALS, ROWS, WGMMA
from sim.isa.forms_tensor import tensor_rows
from sim.isa.opcodes import Op
from sim.isa.units import Unit


@dataclass(frozen=True)
class Form:
    """One understood instruction form."""

    op: Op
    unit: Unit
    modifiers: int
    signature: str
    mma: str = ""  # PTX shape and types of a tensor operation


_COMPARE = {"LT": o.LT, "LE": o.LE, "GT": o.GT, "GE": o.GE, "EQ": o.EQ, "NE": o.NE, "NUM": o.NUM}
_COMPARE |= {f"{name}U": code | o.UNORDERED for name, code in list(_COMPARE.items())[:6]}
_TOKENS: dict[str, int] = {
    **_COMPARE,
    "AND": o.AND, "OR": o.OR, "XOR": o.XOR,
    "U32": o.UNSIGNED, "EX": o.EX, "X": o.CARRY_IN, "HI": o.HIGH, "L": o.LEFT, "W": o.WRAP,
    "WIDE": o.WIDE_RESULT, "SX32": o.SIGN_EXTEND, "PAND": o.PRED_AND,
    "MT88": o.TRANSPOSE, "BYPASS": o.BYPASS,
    "F32": o.FLOAT, "SAT": o.SATURATE, "RP": o.ROUND_UP, "RM": o.ROUND_DOWN, "RZ": o.ROUND_ZERO, "FTZ": o.FTZ,
    "BF16": o.BF16, "BF16_V2": o.BF16, "BF": o.BF16,
    "FLOOR": o.ROUND_DOWN, "CEIL": o.ROUND_UP, "CLEAR": o.CLEAR, "CONV": o.CONVERGED, "TRUNC": o.TRUNCATE,
    "RCP": o.MUFU_RCP, "EX2": o.MUFU_EX2, "RSQ": o.MUFU_RSQ, "SQRT": o.MUFU_SQRT,
    "LG2": o.MUFU_LG2, "TANH": o.MUFU_TANH,
    "IDX": o.SHFL_IDX, "BFLY": o.SHFL_BFLY, "DOWN": o.SHFL_DOWN, "UP": o.SHFL_UP,
    "ANY": o.VOTE_ANY, "ALL": o.VOTE_ALL, "SH": o.SHIFT_AMOUNT,
}  # fmt: skip
_SIZES = {"U8": 0, "S8": 0, "U16": 1, "S16": 1, "64": 3, "128": 4}
_ATOMICS = {
    "ADD": o.ADD, "MIN": o.MIN, "MAX": o.MAX, "INC": o.INC, "EXCH": o.EXCH, "AND": o.AND_OP, "OR": o.OR_OP,
    "XOR": o.XOR_OP, "CAS": o.CAS, "CAST": o.TEST_AND_SET, "SUM": o.ADD,
}  # fmt: skip

_INT_COMPARE = "{LT,LE,GT,GE,EQ,NE}"
_FLOAT_COMPARE = "{LT,LE,GT,GE,EQ,NE,NUM,LTU,LEU,GTU,GEU,EQU,NEU}"
_JOIN = "{AND,OR,XOR}"
_SCOPE = "{GPU,SM,CTA,SYS}"
_LOAD_HINTS = "[.EF][.EL][.LTC64B][.LTC128B][.LTC256B]"

# opcode pattern, operation, unit, signature
_ROWS: tuple[tuple[str, Op, Unit, str], ...] = (
    ("NOP", Op.NOP, Unit.NONE, ""),
    ("MOV", Op.MOV, Unit.ALU, "d,s,i?"),
    ("UMOV", Op.MOV, Unit.UNIFORM, "d,s"),
    ("IADD3[.X]", Op.IADD3, Unit.ALU, "d,D?,D?,s,s,s,p?,p?"),
    ("UIADD3[.X]", Op.IADD3, Unit.UNIFORM, "d,D?,D?,s,s,s,p?,p?"),
    ("UIADD3.64", Op.IADD64, Unit.UNIFORM, "d,s,s,s"),
    ("VIADD", Op.IADD, Unit.ALU, "d,s,s"),
    ("IMAD[.U32]", Op.IMAD, Unit.IMAD, "d,s,s,s"),
    ("IMAD.{IADD,MOV.U32,SHL.U32,SHL,MOV}", Op.IMAD, Unit.IMAD, "d,s,s,s"),
    ("IMAD.X", Op.IMAD, Unit.IMAD, "d,s,s,s,p"),
    ("IMAD.WIDE[.U32]", Op.IMAD, Unit.IMAD, "d,s,s,s"),
    ("IMAD.HI[.U32]", Op.IMAD, Unit.IMAD, "d,s,s,s"),
    ("UIMAD[.U32]", Op.IMAD, Unit.UNIFORM, "d,s,s,s"),
    ("UIMAD.WIDE[.U32]", Op.IMAD, Unit.UNIFORM, "d,s,s,s"),
    ("LEA", Op.LEA, Unit.ALU, "d,D?,s,s,i"),
    ("LEA.HI[.X]", Op.LEA, Unit.ALU, "d,D?,s,s,s,i,p?"),
    ("LEA.HI.SX32", Op.LEA, Unit.ALU, "d,D?,s,s,i"),
    ("LEA.HI.X.SX32", Op.LEA, Unit.ALU, "d,D?,s,s,i,p"),
    ("ULEA", Op.LEA, Unit.UNIFORM, "d,D?,s,s,i"),
    ("ULEA.HI[.X]", Op.LEA, Unit.UNIFORM, "d,D?,s,s,s,i,p?"),
    ("ULEA.HI.SX32", Op.LEA, Unit.UNIFORM, "d,D?,s,s,i"),
    ("ULEA.HI.X.SX32", Op.LEA, Unit.UNIFORM, "d,D?,s,s,i,p"),
    ("LOP3.LUT[.PAND]", Op.LOP3, Unit.ALU, "D?,d,s,s,s,i,p"),
    ("ULOP3.LUT[.PAND]", Op.LOP3, Unit.UNIFORM, "D?,d,s,s,s,i,p"),
    ("PLOP3.LUT", Op.PLOP3, Unit.ALU, "D,D,p,p,p,i,i"),
    ("UPLOP3.LUT", Op.PLOP3, Unit.UNIFORM, "D,D,p,p,p,i,i"),
    ("SHF.{L,R}[.W].{U32,S32,U64,S64}[.HI]", Op.SHF, Unit.ALU, "d,s,s,s"),
    ("USHF.{L,R}[.W].{U32,S32,U64,S64}[.HI]", Op.SHF, Unit.UNIFORM, "d,s,s,s"),
    ("PRMT", Op.PRMT, Unit.ALU, "d,s,s,s"),
    ("UPRMT", Op.PRMT, Unit.UNIFORM, "d,s,s,s"),
    ("SEL", Op.SEL, Unit.ALU, "d,s,s,p"),
    ("USEL", Op.SEL, Unit.UNIFORM, "d,s,s,p"),
    ("{VIMNMX,IMNMX}[.U32]", Op.IMNMX, Unit.ALU, "d,s,s,p"),
    ("{VIMNMX,IMNMX}.S32", Op.IMNMX, Unit.ALU, "d,s,s,p"),
    (f"ISETP.{_INT_COMPARE}[.U32].{_JOIN}", Op.ISETP, Unit.ALU, "D,D,s,s,p"),
    (f"ISETP.{_INT_COMPARE}[.U32].{_JOIN}.EX", Op.ISETP, Unit.ALU, "D,D,s,s,p,p"),
    (f"UISETP.{_INT_COMPARE}[.U32].{_JOIN}", Op.ISETP, Unit.UNIFORM, "D,D,s,s,p"),
    (f"UISETP.{_INT_COMPARE}[.U32].{_JOIN}.EX", Op.ISETP, Unit.UNIFORM, "D,D,s,s,p,p"),
    ("IABS", Op.IABS, Unit.ALU, "d,s"),
    ("VIADDMNMX[.U32]", Op.VIADDMNMX, Unit.ALU, "d,s,s,s,p"),
    ("IDP.4A.{S8,U8}.{S8,U8}", Op.IDP, Unit.IMAD, "d,s,s,s"),
    ("BMSK[.W]", Op.BMSK, Unit.ALU, "d,s,s"),
    ("SGXT[.W][.U32]", Op.SGXT, Unit.ALU, "d,s,s"),
    ("USGXT[.U32]", Op.SGXT, Unit.UNIFORM, "d,s,s"),
    ("BREV", Op.BREV, Unit.XU, "d,s"),
    ("UBREV", Op.BREV, Unit.UNIFORM, "d,s"),
    ("POPC", Op.POPC, Unit.XU, "d,s"),
    ("UPOPC", Op.POPC, Unit.UNIFORM, "d,s"),
    ("FLO[.U32][.SH]", Op.FLO, Unit.XU, "d,s"),
    ("UFLO[.U32][.SH]", Op.FLO, Unit.UNIFORM, "d,s"),
    ("REDUX[.{SUM,MIN,MAX,OR,XOR}][.S32]", Op.REDUX, Unit.XU, "d,r"),
    ("P2R", Op.P2R, Unit.ALU, "n,d,s,i"),
    ("R2P", Op.R2P, Unit.ALU, "n,s,i"),
    ("S2R", Op.S2R, Unit.SPECIAL, "d,S"),
    ("S2UR", Op.S2R, Unit.SPECIAL, "d,S"),
    ("CS2R[.32]", Op.S2R, Unit.SPECIAL, "d,S"),
    ("R2UR", Op.R2UR, Unit.SPECIAL, "d,r"),
    ("LDC[.64]", Op.LDC, Unit.CONSTANT_LOAD, "d,c"),
    ("ULDC[.64]", Op.LDC, Unit.UNIFORM, "d,c"),
    ("FADD[.FTZ][.{RM,RP,RZ}][.SAT]", Op.FADD, Unit.FMA, "d,f,f"),
    ("FMUL[.FTZ][.{RM,RP,RZ}][.SAT]", Op.FMUL, Unit.FMA, "d,f,f"),
    ("FFMA[.FTZ][.{RM,RP,RZ}][.SAT]", Op.FFMA, Unit.FMA, "d,f,f,f"),
    ("FMNMX[.FTZ]", Op.FMNMX, Unit.ALU, "d,f,f,p"),
    ("FSEL", Op.FSEL, Unit.ALU, "d,f,f,p"),
    (f"FSETP.{_FLOAT_COMPARE}[.FTZ].{_JOIN}", Op.FSETP, Unit.ALU, "D,D,f,f,p"),
    ("MUFU.{RCP,EX2,RSQ,SQRT,LG2,TANH}", Op.MUFU, Unit.XU, "d,f"),
    ("I2F[.U32][.RP]", Op.I2F, Unit.XU, "d,s"),
    ("I2F.{S8,U8,S16,U16}", Op.I2F, Unit.XU, "d,s"),
    ("I2FP.F32.{S32,U32}", Op.I2F, Unit.ALU, "d,s"),
    ("F2I[.FTZ][.U32][.{TRUNC,FLOOR,CEIL}][.NTZ]", Op.F2I, Unit.XU, "d,f"),
    ("FRND[.FTZ][.{TRUNC,FLOOR,CEIL}]", Op.FRND, Unit.XU, "d,f"),
    ("F2FP[.F16.F32].PACK_AB", Op.F2FP, Unit.ALU, "d,f,f"),
    ("F2FP.BF16[.F32].PACK_AB", Op.F2FP, Unit.ALU, "d,f,f"),
    ("HADD2[.BF16_V2]", Op.HADD2, Unit.HALF, "d,h,h"),
    ("HADD2.F32", Op.HADD2_F32, Unit.HALF, "d,h,h"),
    ("HMUL2[.BF16_V2]", Op.HMUL2, Unit.HALF, "d,h,h"),
    ("HFMA2[.MMA][.BF16_V2]", Op.HFMA2, Unit.HALF, "d,h,h,h"),
    ("HMNMX2[.BF16_V2]", Op.HMNMX2, Unit.ALU, "d,h,h,p"),
    (f"HSET2[.BF].{_FLOAT_COMPARE}.{_JOIN}", Op.HSET2, Unit.HALF, "d,h,h,p"),
    (f"HSETP2[.BF16_V2].{_FLOAT_COMPARE}.{_JOIN}", Op.HSETP2, Unit.HALF, "D,D,h,h,p"),
    ("FCHK", Op.FCHK, Unit.XU, "D,f,f"),
    ("LDS[.{U8,S8,U16,S16,64,128}]", Op.LDS, Unit.SHARED_LOAD, "d,m"),
    ("STS[.{U8,U16,64,128}]", Op.STS, Unit.SHARED_STORE, "m,r"),
    ("LDSM.16.{M88,MT88}[.{2,4}]", Op.LDSM, Unit.SHARED_LOAD, "d,m"),
    ("STSM.16.{M88,MT88}[.{2,4}]", Op.STSM, Unit.SHARED_STORE, "m,r"),
    (f"LDG.E{_LOAD_HINTS}[.{{U8,S8,U16,S16,64,128}}][.CONSTANT]", Op.LDG, Unit.GLOBAL_LOAD, "d,g"),
    (f"LDG.E[.{{U8,S8,U16,S16,64,128}}].STRONG.{_SCOPE}", Op.LDG, Unit.GLOBAL_LOAD, "d,g"),
    (f"STG.E{_LOAD_HINTS}[.{{U8,U16,64,128}}]", Op.STG, Unit.GLOBAL_STORE, "g,r"),
    (f"STG.E[.{{U8,U16,64,128}}].STRONG.{_SCOPE}", Op.STG, Unit.GLOBAL_STORE, "g,r"),
    ("LDGSTS.E[.BYPASS][.LTC64B][.LTC128B][.LTC256B][.{64,128}]", Op.LDGSTS, Unit.ASYNC_COPY, "m,g,p?"),
    (
        f"{{RED,REDG}}.E.{{ADD,MIN,MAX,INC,AND,OR,XOR}}[.S32].STRONG.{_SCOPE}",
        Op.RED,
        Unit.GLOBAL_STORE,
        "g,r",
    ),
    (f"{{RED,REDG}}.E.ADD.F32.FTZ.RN.STRONG.{_SCOPE}", Op.RED, Unit.GLOBAL_STORE, "g,r"),
    (f"ATOMG.E.{{ADD,MIN,MAX,INC,EXCH,AND,OR,XOR}}[.S32].STRONG.{_SCOPE}", Op.ATOMG, Unit.ATOMIC, "D,d,g,r"),
    (f"ATOMG.E.ADD.F32.FTZ.RN.STRONG.{_SCOPE}", Op.ATOMG, Unit.ATOMIC, "D,d,g,r"),
    (f"ATOMG.E.CAS.STRONG.{_SCOPE}", Op.ATOMG, Unit.ATOMIC, "D,d,g,r,r"),
    ("ATOMS.{ADD,MIN,MAX,INC,EXCH,AND,OR,XOR}[.S32]", Op.ATOMS, Unit.SHARED_LOAD, "d,m,r"),
    ("ATOMS.POPC.INC.32", Op.ATOMS, Unit.SHARED_LOAD, "d,m"),
    ("ATOMS.CAS", Op.ATOMS, Unit.SHARED_LOAD, "d,m,r,r"),
    ("ATOMS.CAST.SPIN", Op.ATOMS, Unit.SHARED_LOAD, "d,m,r,r"),
    ("LDL[.{U8,S8,U16,S16,64,128}]", Op.LDL, Unit.GLOBAL_LOAD, "d,m"),
    ("STL[.{U8,U16,64,128}]", Op.STL, Unit.GLOBAL_STORE, "m,r"),
    ("SHFL.{IDX,BFLY,DOWN,UP}", Op.SHFL, Unit.SHUFFLE, "D,d,s,s,s"),
    ("VOTE.{ANY,ALL}", Op.VOTE, Unit.ALU, "d?,D,p"),
    ("VOTEU.{ANY,ALL}", Op.VOTE, Unit.UNIFORM, "d?,D,p"),
    ("LDGDEPBAR", Op.COPY_COMMIT, Unit.COPY_COMMIT, ""),
    ("DEPBAR.LE", Op.COPY_WAIT, Unit.COPY_WAIT, "k,i"),
    (f"MEMBAR.{{SC,ALL}}.{_SCOPE}", Op.MEMBAR, Unit.MEMBAR, ""),
    ("{ERRBAR,CGAERRBAR}", Op.NOP, Unit.NONE, ""),
    ("CCTL.IVALL", Op.NOP, Unit.NONE, ""),
    ("YIELD", Op.NOP, Unit.NONE, ""),
    ("NANOSLEEP", Op.NOP, Unit.NONE, "s"),
    ("BRA", Op.BRA, Unit.BRANCH, "p?,t"),
    ("BRA.{DIV,CONV}", Op.BRA, Unit.BRANCH, "s,t"),
    ("BRA.U.ANY", Op.BRA, Unit.BRANCH, "p?,t"),
    ("CALL.REL.NOINC", Op.CALL, Unit.BRANCH, "t"),
    ("RET.REL.NODEC", Op.RET, Unit.BRANCH, "r,t"),
    ("BMOV.32.CLEAR", Op.BMOV, Unit.BRANCH, "r,B"),
    ("BMOV.32", Op.BMOV, Unit.BRANCH, "B,r"),
    ("EXIT", Op.EXIT, Unit.EXIT, ""),
    ("BSSY[.RECONVERGENT][.RELIABLE]", Op.BSSY, Unit.BRANCH, "B,t"),
    ("BSYNC[.RECONVERGENT][.RELIABLE]", Op.BSYNC, Unit.BRANCH, "B"),
    ("BREAK[.RELIABLE]", Op.BREAK, Unit.BRANCH, "p?,B"),
    ("WARPSYNC[.ALL]", Op.WARPSYNC, Unit.BRANCH, "s?"),
    ("BAR.SYNC[.DEFER_BLOCKING]", Op.BAR, Unit.BARRIER, "s,s?"),
    ("PMTRIG", Op.MARKER, Unit.NONE, "i"),
    *ROWS,
)


def expand(pattern: str) -> list[str]:
    """Expand ``{a,b}`` and ``[x]`` of an opcode pattern into every opcode it stands for."""
    start = re.search(r"[\[{]", pattern)
    if not start:
        return [pattern]
    opening = start.start()
    closing = _matching(pattern, opening)
    head, inner, tail = pattern[:opening], pattern[opening + 1 : closing], pattern[closing + 1 :]
    choices = inner.split(",") if pattern[opening] == "{" else ["", inner]
    return [full for choice in choices for full in expand(head + choice + tail)]


def _matching(text: str, opening: int) -> int:
    depth = 0
    for index in range(opening, len(text)):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return index
    raise ValueError(f"unbalanced pattern {text!r}")


def _modifiers(op: Op, opcode: str) -> int:
    tokens = opcode.split(".")[1:]
    if op in (Op.RED, Op.ATOMG, Op.ATOMS, Op.REDUX):
        return _atomic_modifiers(tokens)
    if op in (Op.LDS, Op.STS, Op.LDG, Op.STG, Op.LDGSTS, Op.LDL, Op.STL):
        return _memory_modifiers(tokens)
    if op in (Op.LDSM, Op.STSM):
        count = next((int(token) for token in tokens if token in ("2", "4")), 1)
        return (count << o.MATRICES_SHIFT) | (4 << o.SIZE_SHIFT) | (o.TRANSPOSE if "MT88" in tokens else 0)
    bits = 0
    for token in tokens:
        bits |= _TOKENS.get(token, 0)
    return bits | _special_modifiers(op, tokens, opcode)


def _special_modifiers(op: Op, tokens: list[str], opcode: str) -> int:
    """Bits that one token means in one operation only."""
    if op == Op.SHF:
        unsigned = o.UNSIGNED if {"U32", "U64"} & set(tokens) else 0
        return unsigned | (o.DOUBLE if "U64" in tokens or "S64" in tokens else 0)
    if op == Op.I2F and tokens and tokens[0] in ("S8", "U8", "S16", "U16"):
        width = o.BYTE if tokens[0].endswith("8") else o.SHORT
        return width | (o.UNSIGNED if tokens[0].startswith("U") else 0)
    if op == Op.IDP:
        return (o.FIRST_SIGNED if tokens[1] == "S8" else 0) | (o.SECOND_SIGNED if tokens[2] == "S8" else 0)
    if op == Op.LDC and "64" in tokens:
        return o.DOUBLE
    if op in (Op.TENSOR_LOAD, Op.TENSOR_STORE):
        return int(tokens[0][0])
    if op == Op.MBARRIER_ARRIVE:
        return ARRIVALS.get(tokens[-1], o.TX_REGISTER)
    if op == Op.BRA:
        return o.ANY_LANE if "U" in tokens else 0
    if op == Op.S2R and opcode == "CS2R":
        return o.DOUBLE
    return 0


def _memory_modifiers(tokens: list[str]) -> int:
    size = next((_SIZES[token] for token in tokens if token in _SIZES), 2)
    signed = o.SIGNED_LOAD if {"S8", "S16"} & set(tokens) else 0
    return (size << o.SIZE_SHIFT) | signed | (o.BYPASS if "BYPASS" in tokens or "STRONG" in tokens else 0)


def _atomic_modifiers(tokens: list[str]) -> int:
    if "POPC" in tokens:  # each lane adds one
        return (o.INC << o.ATOMIC_SHIFT) | (2 << o.SIZE_SHIFT) | o.DOUBLE
    code = next((_ATOMICS[token] for token in tokens if token in _ATOMICS), o.AND_OP)  # plain REDUX: and
    unsigned = 0 if "S32" in tokens or "F32" in tokens else o.UNSIGNED
    return (code << o.ATOMIC_SHIFT) | (2 << o.SIZE_SHIFT) | (o.FLOAT if "F32" in tokens else 0) | unsigned


@cache
def forms() -> dict[str, Form]:
    """Return the white list, keyed by the full opcode with its modifiers."""
    table = {
        opcode: Form(op, unit, _modifiers(op, opcode), signature)
        for pattern, op, unit, signature in _ROWS
        for opcode in expand(pattern)
    }
    for opcode, op, modifiers, signature, mma in tensor_rows():
        table[opcode] = Form(op, Unit.TENSOR, modifiers, signature, mma)
    return table | _wgmma_forms()


def _wgmma_forms() -> dict[str, Form]:
    """Return one form per width; A is a register or the first descriptor, which the decoder adds to the name."""
    table = {}
    for pattern, types, k, widths in WGMMA:
        op = Op.HGMMA if pattern.startswith("HGMMA") else Op.IGMMA
        half = 1 if types == "f16.f16" else 0
        bf16 = o.BF16 if types == "f32.bf16" else 0
        for n in widths:
            modifiers = half | bf16 | n // 8 << o.COLUMNS_SHIFT
            table[pattern.format(n=n)] = Form(
                op, Unit.WGMMA, modifiers, "r,r?,e,r,p?,b?", f"wgmma.m64n{n}k{k}.{types}"
            )
    return table
