"""Which registers an instruction reads and writes: from its operands and the width of its operation.

NVIDIA's own sets (``nvdisasm -plr``) are the judge: the tests compare the two on every bundled program.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sim.isa import opcodes as o
from sim.isa.decode import NO_GUARD
from sim.isa.opcodes import Kind, Op
from sim.isa.program import Program

Register = tuple[Kind, int]
FILES = {
    Kind.REG: o.RZ,
    Kind.UREG: o.URZ,
    Kind.PRED: o.PT,
    Kind.UPRED: o.PT,
}  # and the number that is no register
MEMORY_LOADS = {Op.LDS, Op.LDG, Op.LDL, Op.LDSM, Op.ATOMG, Op.ATOMS}
_STORES = {Op.STS, Op.STG, Op.STL, Op.STSM, Op.RED}
_ADDRESS_AT = {
    Op.LDS: 1, Op.LDG: 1, Op.LDL: 1, Op.LDSM: 1, Op.ATOMS: 1, Op.ATOMG: 2,
    Op.STS: 0, Op.STG: 0, Op.STL: 0, Op.STSM: 0, Op.RED: 0, Op.LDGSTS: 0, Op.LDC: 1,
    Op.MBARRIER_INIT: 1, Op.MBARRIER_ARRIVE: 1, Op.MBARRIER_WAIT: 1,
}  # fmt: skip
_BULK = {
    Op.TENSOR_LOAD,
    Op.TENSOR_STORE,
    Op.BULK_LOAD,
    Op.BULK_STORE,
}  # two addresses of consecutive registers
_WGMMA = {Op.HGMMA, Op.IGMMA}
_PREDICATE_FIRST = {Op.ISETP, Op.FSETP, Op.HSETP2, Op.PLOP3}  # two predicates, then sources
_RESULT_IN_1 = {Op.LOP3, Op.SHFL, Op.ATOMG}  # a predicate in slot 0


@dataclass(frozen=True)
class RegisterSets:
    """The registers of one instruction; ``address`` is the part of the reads that forms an address."""

    reads: frozenset[Register]
    writes: frozenset[Register]
    address: frozenset[Register]
    guard: frozenset[Register]


@lru_cache(maxsize=8)
def register_sets(program: Program) -> tuple[RegisterSets, ...]:
    """Return the sets of every static instruction."""
    return tuple(_sets(program, pc) for pc in range(len(program)))


def _sets(program: Program, pc: int) -> RegisterSets:
    operation, modifiers = Op(int(program.opcode[pc])), int(program.modifiers[pc])
    slots = [(Kind(int(kind)), int(value), int(flags)) for kind, value, flags in program.operands[pc]]
    results = _result_slots(operation)
    masks = _mask_sets(operation, slots)
    writes, reads = set(masks[1]), set(masks[0])
    for index, (kind, value, flags) in enumerate(slots):
        if kind not in FILES or value == FILES[kind]:
            continue
        if index in results:
            writes |= _run(kind, value, _result_width(operation, modifiers, kind))
        else:
            reads |= _run(kind, value, _source_width(operation, modifiers, index, kind, flags))
    guard = _guard(int(program.guard[pc]))
    at = _ADDRESS_AT.get(operation)
    address = {read for index in _address_slots(operation, at) for read in _slot_reads(slots, index)}
    return RegisterSets(frozenset(reads | guard), frozenset(writes), frozenset(address), frozenset(guard))


def _run(kind: Kind, first: int, width: int) -> set[Register]:
    return {(kind, number) for number in range(first, first + width)}


def _result_slots(operation: Op) -> set[int]:
    if operation in _PREDICATE_FIRST | _RESULT_IN_1 | {Op.VOTE, Op.ELECT}:
        return {0, 1}
    if operation == Op.IADD3:
        return {0, 1, 2}
    if operation == Op.LEA:
        return {0, 1}
    if operation == Op.P2R:
        return {1}
    if operation in _STORES | _BULK | {
        Op.NOP,
        Op.R2P,
        Op.LDGSTS,
        Op.BRA,
        Op.RET,
        Op.BREAK,
        Op.WARPSYNC,
        Op.BAR,
    }:
        return set()
    return {0}


def _result_width(operation: Op, modifiers: int, kind: Kind) -> int:
    if kind in (Kind.PRED, Kind.UPRED):
        return 1
    if operation == Op.HMMA:
        return 2 if modifiers & 1 else 4
    if operation in (Op.IMMA, Op.IMMA_SPARSE):
        return 4
    if operation in _WGMMA:
        return _wgmma_accumulators(modifiers)
    if operation == Op.IMAD:
        return 2 if modifiers & o.WIDE_RESULT else 1
    if operation == Op.IADD64:
        return 2
    if operation in (Op.LDC, Op.S2R):
        return 2 if modifiers & o.DOUBLE else 1
    return _access_width(modifiers) if operation in (Op.LDS, Op.LDG, Op.LDL, Op.LDSM) else 1


def _access_width(modifiers: int) -> int:
    """Return the registers that an access moves: matrices, or 32-bit words."""
    matrices = (modifiers & o.MATRICES_MASK) >> o.MATRICES_SHIFT
    return matrices or max(1, (1 << ((modifiers & o.SIZE_MASK) >> o.SIZE_SHIFT)) // 4)


def _wgmma_accumulators(modifiers: int) -> int:
    """Return the registers that hold a thread's part of 64 x n results: n / 2 words, or n / 4 of two halves."""
    columns = (modifiers & o.COLUMNS_MASK) >> o.COLUMNS_SHIFT
    return columns * (2 if modifiers & 1 else 4)


def _bulk_width(operation: Op, modifiers: int, index: int) -> int:
    """Return the uniform registers of a bulk copy's operands: first address, second address, size."""
    coordinates = modifiers & o.RANK_MASK
    widths = {
        Op.TENSOR_LOAD: {1: 2 + coordinates, 4: 2},  # shared address, mbarrier, coordinates; tensor map
        Op.TENSOR_STORE: {1: 1 + coordinates, 4: 2},
        Op.BULK_LOAD: {1: 2, 4: 2},  # shared address, mbarrier; global address
        Op.BULK_STORE: {1: 2},  # global address; shared address
    }
    return widths[operation].get(index, 1)


def _source_width(operation: Op, modifiers: int, index: int, kind: Kind, flags: int) -> int:
    if kind in (Kind.PRED, Kind.UPRED):
        return 1
    if operation in _WGMMA:
        return {1: 4, 2: 4, 3: _wgmma_accumulators(modifiers)}[index]
    if operation in _BULK and not flags & o.WIDE:
        return _bulk_width(operation, modifiers, index)
    if operation == Op.MBARRIER_INIT and index == 4:
        return 2
    if flags & o.WIDE or operation in (Op.RET, Op.IADD64):
        return 2
    steps = 1 + (modifiers >> 1 & 1)
    if operation in (Op.HMMA, Op.IMMA):
        return {1: 2 * steps, 2: steps, 3: 2 if operation == Op.HMMA and modifiers & 1 else 4}[index]
    if operation == Op.IMMA_SPARSE:
        return 1 if index == 4 else 4
    if operation == Op.IMAD and modifiers & (o.WIDE_RESULT | o.HIGH):
        return 2 if index == 3 else 1
    return _access_width(modifiers) if operation in (Op.STS, Op.STG, Op.STL, Op.STSM) and index == 3 else 1


def _address_slots(operation: Op, at: int | None) -> tuple[int, ...]:
    if at is None:
        return ()
    return (0, 1, 3, 4, 6) if operation == Op.LDGSTS else (at, at + 1)


def _slot_reads(slots: list[tuple[Kind, int, int]], index: int) -> set[Register]:
    kind, value, flags = slots[index]
    if kind not in FILES or value == FILES[kind]:
        return set()
    return _run(kind, value, 2 if flags & o.WIDE else 1)


def _guard(guard: int) -> set[Register]:
    if guard & 7 == NO_GUARD:
        return set()
    return {(Kind.UPRED if guard & 16 else Kind.PRED, guard & 7)}


def _mask_sets(operation: Op, slots: list[tuple[Kind, int, int]]) -> tuple[set[Register], set[Register]]:
    """Return the predicates that P2R reads and R2P writes, named by a mask."""
    if operation not in (Op.P2R, Op.R2P):
        return set(), set()
    mask = slots[3][1] if operation == Op.P2R else slots[2][1]
    found: set[Register] = {(Kind.PRED, number) for number in range(7) if mask >> number & 1}
    return (found, set()) if operation == Op.P2R else (set(), found)
