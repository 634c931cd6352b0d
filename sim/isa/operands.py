"""Operands of disassembled SASS: text -> (kind, value, flags), matched against the signature of a form."""

from __future__ import annotations

import re
import struct

import numpy as np

from sim.isa import opcodes as o
from sim.isa.opcodes import Kind
from sim.isa.program import Operand

Slots = list[Operand]
ABSENT = Operand(Kind.NONE, 0, 0)

_REG = re.compile(r"(U?)R(Z|\d+)")
_PRED = re.compile(r"(!?)(U?)P(T|[0-6])")
_CONST = re.compile(r"c\[(0x[0-9a-f]+)\]\[(.+)\]")
_FLOAT = re.compile(r"[+-]?(\d+(\.\d*)?(e[+-]?\d+)?|INF|QNAN)", re.IGNORECASE)
_HEX = re.compile(r"-?0x[0-9a-f]+")
_TERM = re.compile(r"([+-]{0,2})(0x[0-9a-f]+|U?RZ|U?R\d+)((?:\.[A-Z0-9]+)*)")
# Operands that are a name with a number
_NUMBERED = {
    "B": (re.compile(r"B(\d|1[0-5])"), Kind.BARRIER, 0),
    "k": (re.compile(r"SB(\d)"), Kind.IMM, 0),
    "b": (re.compile(r"gsb(0)"), Kind.IMM, 0),
    "e": (re.compile(r"gdesc\[UR(\d+)\]"), Kind.UREG, 0),
    "u": (re.compile(r"\[UR(\d+)\]"), Kind.UREG, o.WIDE),
    "x": (re.compile(r"desc\[UR(\d+)\]"), Kind.UREG, o.WIDE),
}


class OperandError(Exception):
    """An operand does not fit its place in the form; the decoder names the instruction."""


def bank_base(bank: int) -> int:
    """Return where a constant bank starts in the flattened constant memory (64 KiB each)."""
    return bank << 16


def register(text: str) -> Operand | None:
    """Parse a general or uniform register without flags."""
    match = _REG.fullmatch(text)
    if not match:
        return None
    uniform, number = match.groups()
    zero = o.URZ if uniform else o.RZ
    value = zero if number == "Z" else int(number)
    return Operand(Kind.UREG if uniform else Kind.REG, value, 0) if value <= zero else None


def predicate(text: str) -> Operand | None:
    """Parse a predicate register, ``!`` becoming INV."""
    match = _PRED.fullmatch(text.removesuffix(".reuse"))
    if not match:
        return None
    inverted, uniform, number = match.groups()
    return Operand(
        Kind.UPRED if uniform else Kind.PRED, o.PT if number == "T" else int(number), o.INV if inverted else 0
    )


def source(text: str, numeric: str) -> Operand:
    """Parse a source of type ``s`` (integer), ``f`` (FP32) or ``h`` (packed half)."""
    text = text.replace(".reuse", "")
    immediate = _immediate(text, numeric)
    if immediate is not None:
        return immediate
    text, flags = _strip_flags(text, numeric)
    plain = register(text)
    if plain is not None:
        return Operand(plain.kind, plain.value, flags)
    return _constant(text, flags)


def _immediate(text: str, numeric: str) -> Operand | None:
    if _HEX.fullmatch(text):
        return Operand(Kind.IMM, int(text, 16) & 0xFFFFFFFF, 0)
    if numeric == "s":
        return Operand(Kind.IMM, int(text) & 0xFFFFFFFF, 0) if re.fullmatch(r"-?\d+", text) else None
    if not _FLOAT.fullmatch(text):
        return None
    if numeric == "f":
        return Operand(Kind.IMM, _float_bits(text), 0)
    return Operand(Kind.IMM, _half_bits(text, False) * 0x10001, 0)


def _float_bits(text: str) -> int:
    return int(struct.unpack("<I", struct.pack("<f", float(text.lower().replace("qnan", "nan"))))[0])


def _half_bits(text: str, bf16: bool) -> int:
    """Return the 16 bits of a printed immediate."""
    if _HEX.fullmatch(text):
        return int(text, 16) & 0xFFFF
    if bf16:
        return _float_bits(text) >> 16
    return int(np.array(float(text.lower().replace("qnan", "nan")), np.float16).view(np.uint16))


def join_halves(texts: list[str], bf16: bool) -> list[str]:
    """Join the two immediates of a packed 16-bit instruction, printed high half first, into one word."""
    numeric = [bool(_FLOAT.fullmatch(text) or _HEX.fullmatch(text)) for text in texts]
    for index in range(len(texts) - 1):
        if numeric[index] and numeric[index + 1]:
            high, low = _half_bits(texts[index], bf16), _half_bits(texts[index + 1], bf16)
            return [*texts[:index], f"{high << 16 | low:#x}", *texts[index + 2 :]]
    return texts


def _strip_flags(text: str, numeric: str) -> tuple[str, int]:
    flags = 0
    if text[:1] == "-":
        flags, text = flags | o.NEG, text[1:]
    if text[:1] == "~":
        flags, text = flags | o.INV, text[1:]
    if text[:1] == "|":
        flags, text = flags | o.ABS, text.replace("|", "")
    for suffix, flag in ((".H0_H0", o.H0), (".H1_H1", o.H1), (".64", o.WIDE)):
        if text.endswith(suffix) and (numeric == "h" or suffix == ".64"):
            flags, text = flags | flag, text.removesuffix(suffix)
    return text, flags


def _constant(text: str, flags: int = 0) -> Operand:
    match = _CONST.fullmatch(text)
    if not match or not _HEX.fullmatch(match[2]):
        raise OperandError(text)
    return Operand(Kind.CONST, bank_base(int(match[1], 16)) + int(match[2], 16), flags)


def constant_reference(text: str) -> Slots:
    """Parse LDC's ``c[bank][reg+offset]`` into base register and flattened offset."""
    match = _CONST.fullmatch(text)
    if not match:
        raise OperandError(text)
    base, uniform, offset = address(f"[{match[2]}]")
    return [base, uniform, Operand(Kind.IMM, offset.value + bank_base(int(match[1], 16)), 0)]


def address(text: str) -> Slots:
    """Parse ``[R4.64+UR5+0x10]``, with or without a descriptor before it: base, uniform base, offset."""
    inner = re.fullmatch(r"(?:desc\[UR\d+\])?\[([^\[\]]*)\]", text)
    if not inner:
        raise OperandError(text)
    base, uniform, offset = ABSENT, ABSENT, 0
    terms = list(_TERM.finditer(inner[1]))
    if "".join(match.group() for match in terms) != inner[1]:
        raise OperandError(text)
    for match in terms:
        sign, body, suffix = match.groups()
        if body.startswith("0x"):
            offset += -int(body, 16) if "-" in sign else int(body, 16)
            continue
        found = register(body)
        if found is None or "-" in sign or suffix not in ("", ".64", ".X4", ".X8", ".X16"):
            raise OperandError(text)
        scale = {".X4": 2, ".X8": 3, ".X16": 4}.get(suffix, 0)
        wide = o.WIDE if suffix == ".64" or (found.kind == Kind.UREG and text.startswith("desc")) else 0
        operand = Operand(found.kind, found.value, wide | scale << 8)
        if found.kind == Kind.UREG and uniform is ABSENT:
            uniform = operand
        elif base is ABSENT:
            base = operand
        else:
            raise OperandError(text)
    return [base, uniform, Operand(Kind.IMM, offset, 0)]


def _global_address(text: str) -> Slots:
    """Parse an address of 64 bits: a general register is a pair, also where ``.64`` is not printed."""
    base, uniform, offset = address(text)
    if base.kind == Kind.REG and base.value != o.RZ:
        base = Operand(base.kind, base.value, base.flags | o.WIDE)
    return [base, uniform, offset]


def match_signature(signature: str, texts: list[str]) -> Slots:
    """Match operand texts against a signature; absent optional operands become empty slots."""
    slots: Slots = []
    rest = list(texts)
    for letter in filter(None, signature.split(",")):
        optional = letter.endswith("?")
        if rest and (found := _match(letter[0], rest[0])) is not None:
            slots += found
            rest.pop(0)
        elif optional:
            slots.append(ABSENT)
        else:
            raise OperandError(rest[0] if rest else "missing operand")
    if rest:
        raise OperandError(rest[0])
    return slots


def _match(letter: str, text: str) -> Slots | None:
    """Return the slots of one operand, or None where the text is of another class."""
    if letter in "sfh":
        return None if predicate(text) else [source(text, letter)]
    if letter in "Dp":
        found = predicate(text)
        return [found] if found else None
    if letter in "dr":
        found = register(text.replace(".reuse", ""))
        return [found] if found else None
    return _match_other(letter, text)


def _match_other(letter: str, text: str) -> Slots | None:
    if letter == "i":
        return [source(text, "s")]
    if letter == "m":
        return address(text)
    if letter == "g":
        return _global_address(text)
    if letter == "c":
        return constant_reference(text)
    if letter == "S" and text in o.SPECIAL_REGISTERS:
        return [Operand(Kind.SREG, o.SPECIAL_REGISTERS[text], 0)]
    if letter == "t" and _HEX.fullmatch(text):
        return [Operand(Kind.IMM, int(text, 16), 0)]
    if letter == "n" and text == "PR":
        return [Operand(Kind.NONE, 0, 0)]
    if letter in _NUMBERED:
        pattern, kind, flags = _NUMBERED[letter]
        if found := pattern.fullmatch(text):
            return [Operand(kind, int(found[1]), flags)]
    raise OperandError(text)
