"""The white list's asynchronous forms of sm_90: warpgroup products, bulk copies and the mbarriers between them.

Patterns and signatures are written as in ``sim.isa.forms``.
"""

from __future__ import annotations

from sim.isa import opcodes as o
from sim.isa.opcodes import Op
from sim.isa.units import Unit

# opcode pattern, operation, unit, signature
ROWS: tuple[tuple[str, Op, Unit, str], ...] = (
    ("ELECT", Op.ELECT, Unit.ALU, "D,d,p"),
    ("USETMAXREG.DEALLOC.CTAPOOL", Op.SET_REGISTERS, Unit.SET_REGISTERS, "i"),
    ("USETMAXREG.TRY_ALLOC.CTAPOOL", Op.SET_REGISTERS, Unit.SET_REGISTERS, "D,i"),
    ("FENCE.VIEW.ASYNC[.S]", Op.NOP, Unit.PROXY_FENCE, ""),
    ("WARPGROUP.ARRIVE", Op.NOP, Unit.WGMMA_ARRIVE, ""),
    ("WARPGROUP.DEPBAR.LE", Op.WGMMA_WAIT, Unit.WGMMA_WAIT, "b,i"),
    ("SYNCS.EXCH.64", Op.MBARRIER_INIT, Unit.MBARRIER_INIT, "d,m,s"),
    ("SYNCS.ARRIVE.TRANS64[.RED][.{A1T0,ART0,A0TR}]", Op.MBARRIER_ARRIVE, Unit.MBARRIER_ARRIVE, "d,m,s"),
    ("SYNCS.PHASECHK.TRANS64.TRYWAIT", Op.MBARRIER_WAIT, Unit.MBARRIER_WAIT, "D,m,s"),
    ("SYNCS.CCTL.IV", Op.NOP, Unit.NONE, "m"),
    ("UTMALDG.{1,2,3,4,5}D", Op.TENSOR_LOAD, Unit.BULK_LOAD, "m,m,x?"),
    ("UTMASTG.{1,2,3,4,5}D", Op.TENSOR_STORE, Unit.BULK_STORE, "m,m,x?"),
    ("UBLKCP.S.G", Op.BULK_LOAD, Unit.BULK_LOAD, "m,m,s,x?"),
    ("UBLKCP.G.S", Op.BULK_STORE, Unit.BULK_STORE, "m,m,s,x?"),
    ("UTMACMDFLUSH", Op.NOP, Unit.BULK_COMMIT, ""),
    ("UTMACCTL.PF", Op.NOP, Unit.NONE, "u"),
)

# Tensor operations of a warpgroup: opcode pattern, types, k and the widths n that it has
WGMMA = (
    ("HGMMA.64x{n}x16.F32", "f32.f16", 16, range(8, 257, 8)),
    ("HGMMA.64x{n}x16.F16", "f16.f16", 16, range(8, 257, 8)),
    ("HGMMA.64x{n}x16.F32.BF16", "f32.bf16", 16, range(8, 257, 8)),
    ("IGMMA.64x{n}x32.S8.S8", "s32.s8", 32, (8, 16, 24, *range(32, 257, 16))),
)

# How many arrivals (A) and bytes (T) an mbarrier hears of: one, none, or what the register says
ARRIVALS = {"A1T0": 0, "ART0": o.COUNT_REGISTER, "A0TR": o.TX_REGISTER | o.NO_ARRIVAL}
