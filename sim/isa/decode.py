"""Cubin + disassembly -> Program. Text comes from nvdisasm, control bits and the image from the ELF itself."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.errors import TcsimError, UnsupportedInstructionError
from sim.isa import opcodes as o
from sim.isa.elf import KernelImage, read_kernel
from sim.isa.forms import Form, forms
from sim.isa.opcodes import Kind, Op
from sim.isa.operands import ABSENT, OperandError, join_halves, match_signature, predicate
from sim.isa.program import Operand, Program
from sim.isa.units import Unit

SLOTS = 10
NO_GUARD = 7
_ONE_SLOT = "dDsfhprin"  # letters of signatures that stand for one operand each
_ADDITIONS = (Op.FADD, Op.HADD2, Op.HADD2_F32)


@dataclass(frozen=True)
class Listing:
    """The disassembly of one kernel: [predicate, opcode, operands, source line] per instruction."""

    kernel: str
    target: str
    toolkit: str
    rows: tuple[tuple[str, str, str, int], ...]

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Listing:
        """Rebuild a listing from its stored form."""
        rows = tuple((str(p), str(op), str(args), int(line)) for p, op, args, line in record["rows"])
        return cls(record["kernel"], record["target"], record["toolkit"], rows)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"kernel": self.kernel, "target": self.target, "toolkit": self.toolkit, "rows": self.rows}


@dataclass(frozen=True)
class _Instruction:
    form: Form
    slots: list[Operand]
    guard: int
    text: str
    line: int


def decode_program(cubin: bytes, listing: Listing, source_name: str = "") -> Program:
    """Decode one kernel; an instruction outside the white list raises UnsupportedInstructionError."""
    return build_program(read_kernel(cubin, listing.kernel), listing, cubin, source_name)


def build_program(image: KernelImage, listing: Listing, cubin: bytes = b"", source_name: str = "") -> Program:
    """Join a kernel's image and its listing to the columns of a Program."""
    rows = [_decode_row(listing, index, row, image.symbols) for index, row in enumerate(listing.rows)]
    mma = [_mma_name(row) for row in rows]
    mma_names = tuple(sorted({name for name in mma if name}))
    if len(image.code) < 16 * len(rows):
        raise TcsimError(
            f"{listing.kernel}: the listing has {len(rows)} instructions, the cubin {len(image.code) // 16}"
        )
    control = _control_columns(image.code, len(rows))
    return Program(
        name=listing.kernel,
        target=listing.target,
        identity=hashlib.sha256(cubin + listing.kernel.encode()).hexdigest(),
        toolkit=listing.toolkit,
        registers=image.registers,
        static_shared_bytes=max(0, image.shared_section_bytes - shared_window(listing.target)),
        params=image.params,
        param_base=image.param_base,
        constants=image.constants,
        text=tuple(row.text for row in rows),
        source_line=_column([row.line for row in rows]),
        opcode=_column([int(row.form.op) for row in rows]),
        modifiers=np.array([row.form.modifiers for row in rows], np.int64),
        operands=_operand_columns(rows),
        guard=_column([row.guard for row in rows]),
        unit=_column([int(row.form.unit) for row in rows]),
        mma=_column([mma_names.index(name) if name else -1 for name in mma]),
        mma_names=mma_names,
        argument=_column([_argument(row) for row in rows]),
        register_reads=np.array([_register_reads(row.form, row.slots) for row in rows], np.int16).reshape(
            -1, 3
        ),
        source_name=source_name,
        cubin=cubin,
        **control,
    )


def _column(values: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.array(values, np.int32)


def _decode_row(
    listing: Listing, index: int, row: tuple[str, str, str, int], symbols: Mapping[str, int]
) -> _Instruction:
    guard_text, opcode, arguments, line = row
    text = f"{guard_text + ' ' if guard_text else ''}{opcode} {arguments.replace(',', ', ')}".strip()
    form = forms().get(opcode)
    place = f"{listing.kernel}+{index * 16:#06x} ({text})"
    if form is None:
        raise UnsupportedInstructionError(f"{place}: instruction form {opcode!r} is not supported")
    try:
        texts = [_address_of(text, form, symbols) for text in _split(form, opcode, arguments)]
        slots = match_signature(form.signature, texts)
        guard = _guard(guard_text)
    except OperandError as error:
        raise UnsupportedInstructionError(
            f"{place}: operand {str(error)!r} is not supported for {opcode}; its form is ({form.signature})"
        ) from None
    if form.op in (Op.BRA, Op.CALL, Op.BSSY) and not 0 <= slots[-1].value < 16 * len(listing.rows):
        raise UnsupportedInstructionError(f"{place}: jumps out of the kernel")
    if form.op == Op.BAR and not _constant_barrier(slots):
        raise UnsupportedInstructionError(
            f"{place}: only barriers of a constant number, of all threads or a constant number of warps, are supported"
        )
    return _Instruction(form, slots, guard, text, line)


def _constant_barrier(slots: list[Operand]) -> bool:
    number, threads = slots
    whole = threads is ABSENT or (threads.kind == Kind.IMM and threads.value % 32 == 0)
    return number.kind == Kind.IMM and number.value < 16 and whole


def _address_of(text: str, form: Form, symbols: Mapping[str, int]) -> str:
    """Replace the function that a call or a return names by its address."""
    return f"{symbols[text]:#x}" if form.op in (Op.CALL, Op.RET) and text in symbols else text


def _split(form: Form, opcode: str, arguments: str) -> list[str]:
    """Split operands at commas; sm_8x prints ``[R19][R6.64]`` without one."""
    if form.op == Op.LDGSTS and "desc" not in arguments:
        arguments = arguments.replace("][", "],[")
    if form.op in (Op.IMMA, Op.IMMA_SPARSE):
        arguments = arguments.replace(".ROW", "").replace(".COL", "")
    texts = [text.strip() for text in arguments.split(",")] if arguments else []
    return join_halves(texts, "BF16" in opcode) if "h" in form.signature else texts


def _guard(text: str) -> int:
    """Encode ``@!UP0`` as register + 8 if negated + 16 if uniform."""
    if not text:
        return NO_GUARD
    found = predicate(text.removeprefix("@"))
    if found is None:
        raise OperandError(text)
    return found.value + (8 if found.flags & o.INV else 0) + (16 if found.kind == Kind.UPRED else 0)


def _operand_columns(rows: list[_Instruction]) -> np.ndarray[Any, np.dtype[np.int64]]:
    columns = np.zeros((len(rows), SLOTS, 3), np.int64)
    for index, row in enumerate(rows):
        for slot, operand in enumerate(row.slots):
            columns[index, slot] = (operand.kind, operand.value, operand.flags)
    return columns


def _mma_name(row: _Instruction) -> str:
    """Return the name of a tensor operation; a warpgroup's says where A comes from."""
    if row.form.unit != Unit.WGMMA:
        return row.form.mma
    return row.form.mma + (".rs" if row.slots[1].kind == Kind.REG else ".ss")


def _argument(row: _Instruction) -> int:
    unit, slots = row.form.unit, row.slots
    if unit == Unit.COPY_WAIT:
        return slots[0].value * 64 + slots[1].value
    if unit == Unit.BARRIER:
        return slots[0].value + 16 * (slots[1].value // 32)
    if unit in (Unit.SET_REGISTERS, Unit.WGMMA_WAIT):
        return slots[-1].value
    if unit == Unit.WGMMA:
        return int(slots[5] is not ABSENT)
    return slots[0].value if row.form.op == Op.MARKER else 0


def _register_reads(form: Form, slots: list[Operand]) -> list[int]:
    """General registers that the operand slots A, B and C read, -1 = none.

    A source's place among the sources is its slot, whatever register, immediate or constant stands there. An addition
    of floats is a multiplication by one whose second source is C; a lone source is B. So the reuse bits say.
    """
    if any(letter[0] not in _ONE_SLOT for letter in form.signature.split(",") if letter):
        return [-1] * 3  # an address: its registers do not pass the ports of the arithmetic pipes
    sources = [
        slot for letter, slot in zip(form.signature.split(","), slots, strict=False) if letter[:1] in "sfhr"
    ]
    places = (0, 2) if form.op in _ADDITIONS else (1,) if len(sources) == 1 else (0, 1, 2)
    reads = [-1] * 3
    for place, slot in zip(places, sources, strict=False):
        if slot.kind == Kind.REG and slot.value != o.RZ:
            reads[place] = slot.value
    return reads


def _control_columns(code: bytes, count: int) -> dict[str, np.ndarray[Any, np.dtype[np.int32]]]:
    """Cut the control fields out of bits 105-125 of each encoding."""
    high = np.array([struct.unpack_from("<Q", code, 16 * index + 8)[0] for index in range(count)], np.uint64)
    control = (high >> np.uint64(41)).astype(np.int64)
    fields = {
        "stall": (0, 4),
        "yields": (4, 1),
        "write_counter": (5, 3),
        "read_counter": (8, 3),
        "wait_mask": (11, 6),
        "reuse": (17, 4),
    }
    return {
        name: ((control >> shift) & ((1 << width) - 1)).astype(np.int32)
        for name, (shift, width) in fields.items()
    }


def shared_window(target: str) -> int:
    """Return the shared address of a CTA's first byte: from sm_90 on the system keeps 1 KiB before it."""
    return 0x400 if int(target.removeprefix("sm_").rstrip("af")) >= 90 else 0
