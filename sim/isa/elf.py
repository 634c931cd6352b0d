"""What a cubin's ELF says: code, constant banks, parameters, registers, static shared memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sim.errors import TcsimError
from sim.isa.program import Param

_PARAM_CBANK, _KPARAM_INFO, _REGCOUNT = 0x0A, 0x17, 0x2F  # EIATTR codes of .nv.info and .nv.info.<kernel>
_NOBITS = 8
_DAMAGE = (struct.error, IndexError, KeyError, OverflowError, ValueError)  # what reading nonsense raises


@dataclass(frozen=True)
class KernelImage:
    """One kernel of a cubin."""

    code: bytes  # 16 bytes per instruction
    constants: dict[int, bytes]
    params: tuple[Param, ...]
    param_base: int
    registers: int
    symbols: dict[str, int]  # functions in the kernel's code: byte address
    shared_section_bytes: int  # static shared memory, with what the system reserves before it (sm_90: 1 KiB)


@dataclass(frozen=True)
class _Section:
    name: str
    info: int
    size: int
    data: bytes


def kernel_names(cubin: bytes) -> tuple[str, ...]:
    """Return the kernels of a cubin, in file order."""
    return tuple(name.removeprefix(".text.") for name in _sections(cubin) if name.startswith(".text."))


def read_kernel(cubin: bytes, name: str) -> KernelImage:
    """Read one kernel's image out of a cubin."""
    try:
        return _read_kernel(cubin, name)
    except _DAMAGE:
        raise TcsimError(f"the cubin is damaged: what it says about kernel {name!r} cannot be read") from None


def _read_kernel(cubin: bytes, name: str) -> KernelImage:
    sections = _sections(cubin)
    text = sections.get(f".text.{name}")
    if text is None:
        raise TcsimError(
            f"the cubin has no kernel {name!r}; it has: {', '.join(kernel_names(cubin)) or 'none'}"
        )
    shared = sections.get(f".nv.shared.{name}")
    info = sections.get(f".nv.info.{name}")
    params, base = _parameters(info.data if info else b"")
    return KernelImage(
        code=text.data,
        constants=_constant_banks(sections, name),
        params=params,
        param_base=base,
        registers=_register_count(sections, name),
        symbols=_symbols(sections, list(sections).index(f".text.{name}")),
        shared_section_bytes=shared.size if shared else 0,
    )


def _constant_banks(sections: dict[str, _Section], name: str) -> dict[int, bytes]:
    banks = {}
    for section in sections.values():
        head, _, kernel = section.name.removeprefix(".nv.constant").partition(".")
        if section.name.startswith(".nv.constant") and head.isdigit() and kernel in (name, ""):
            banks[int(head)] = section.data
    return banks


def _sections(cubin: bytes) -> dict[str, _Section]:
    try:
        offset = struct.unpack_from("<Q", cubin, 0x28)[0]
        entry, count, names_index = struct.unpack_from("<HHH", cubin, 0x3A)
        headers = [struct.unpack_from("<IIQQQQIIQQ", cubin, offset + index * entry) for index in range(count)]
        names_at = headers[names_index][4]
        return {
            section.name: section for section in (_section(cubin, names_at, header) for header in headers)
        }
    except _DAMAGE:
        raise TcsimError("not a cubin: its ELF headers cannot be read") from None


def _section(cubin: bytes, names_at: int, header: tuple[int, ...]) -> _Section:
    start = names_at + header[0]
    name = cubin[start : cubin.index(0, start)].decode()
    data = b"" if header[1] == _NOBITS else cubin[header[4] : header[4] + header[5]]
    return _Section(name, header[7], header[5], data)


def _register_count(sections: dict[str, _Section], name: str) -> int:
    """Find the kernel's REGCOUNT attribute: it names the kernel by its index in the symbol table."""
    index = list(sections).index(f".text.{name}")
    symbols = sections[".symtab"].data
    for code, body in _attributes(sections[".nv.info"].data):
        if code == _REGCOUNT:
            symbol, count = struct.unpack("<II", body)
            if struct.unpack_from("<H", symbols, 24 * symbol + 6)[0] == index:
                return int(count)
    return 0


def _symbols(sections: dict[str, _Section], index: int) -> dict[str, int]:
    """Return the addresses of the symbols that lie in one section."""
    table, names = sections.get(".symtab"), sections.get(".strtab")
    if table is None or names is None:
        return {}
    found = {}
    for name_at, _, _, section, value, _ in struct.iter_unpack(
        "<IBBHQQ", table.data[: len(table.data) // 24 * 24]
    ):
        if section == index:
            found[names.data[name_at : names.data.index(0, name_at)].decode()] = value
    return found


def _parameters(info: bytes) -> tuple[tuple[Param, ...], int]:
    found: dict[int, Param] = {}
    base = 0
    for code, body in _attributes(info):
        if code == _KPARAM_INFO:
            _, ordinal, offset, bits = struct.unpack("<IHHI", body)
            found[ordinal] = Param(offset, (bits >> 18) & 0x3FFF)
        elif code == _PARAM_CBANK:
            base = struct.unpack("<IHH", body)[1]
    return tuple(found[ordinal] for ordinal in sorted(found)), base


def _attributes(info: bytes) -> list[tuple[int, bytes]]:
    """Walk the attributes: one byte layout, one byte code, two bytes size (layout 4) or value."""
    found = []
    at = 0
    while at + 4 <= len(info):
        layout, code, size = struct.unpack_from("<BBH", info, at)
        body = info[at + 4 : at + 4 + size] if layout == 4 else b""
        at += 4 + len(body)
        found.append((code, body))
    return found
