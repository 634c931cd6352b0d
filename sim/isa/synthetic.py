"""Programs from lines of SASS text, without a cubin: for tests, and to try out single instructions."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence

from sim.isa.decode import Listing, build_program, shared_window
from sim.isa.elf import KernelImage
from sim.isa.program import Param, Program
from sim.isa.units import NO_COUNTER

PARAM_BASE = 0x210  # of sm_90
_LINE = re.compile(r"(?:(?P<guard>@\S+)\s+)?(?P<opcode>\S+)\s*(?P<operands>.*)")
_LABEL = re.compile(r"(\.\w+):")


def assemble(
    lines: Sequence[str],
    params: Sequence[int] = (),
    constants: Mapping[int, bytes] | None = None,
    static_shared_bytes: int = 0,
    target: str = "sm_90a",
    name: str = "synthetic",
) -> Program:
    """Build a Program from lines such as ``@!P0 IADD3 R1, R2, -R3, RZ``.

    A line ``.name:`` is a label; a branch names it where a target is expected. ``params`` are the sizes of the
    kernel's parameters in bytes: the first lies at ``c[0x0][0x210]``, each aligned to its size. Control codes are the
    plainest ones: one cycle of stall, no dependence counters. Source lines count the instructions from 1.
    """
    labels, body = _labels(lines)
    rows = tuple(_row(text, index + 1, labels) for index, text in enumerate(body))
    layout = _layout(params)
    image = KernelImage(
        code=control_word() * len(rows),
        constants={0: bytes(PARAM_BASE + 256), **(constants or {})},
        params=layout,
        param_base=PARAM_BASE,
        registers=255,
        symbols={name: 0, **labels},
        shared_section_bytes=shared_window(target) + static_shared_bytes,
    )
    return build_program(image, Listing(name, target, "synthetic", rows), name.encode(), "synthetic.sass")


def control_word(
    stall: int = 1,
    yields: int = 0,
    write: int = NO_COUNTER,
    read: int = NO_COUNTER,
    wait: int = 0,
    reuse: int = 0,
) -> bytes:
    """Return 16 bytes that encode nothing but a control code."""
    control = stall | yields << 4 | write << 5 | read << 8 | wait << 11 | reuse << 17
    return struct.pack("<QQ", 0, control << 41)


def _labels(lines: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    labels: dict[str, int] = {}
    body: list[str] = []
    for line in map(str.strip, lines):
        label = _LABEL.fullmatch(line)
        if label:
            labels[label[1]] = 16 * len(body)
        elif line:
            body.append(line)
    return labels, body


def _row(text: str, line: int, labels: Mapping[str, int]) -> tuple[str, str, str, int]:
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError(f"not an instruction: {text!r}")
    operands = (
        [labels_of(part.strip(), labels) for part in match["operands"].split(",")]
        if match["operands"]
        else []
    )
    return match["guard"] or "", match["opcode"], ",".join(operands), line


def labels_of(operand: str, labels: Mapping[str, int]) -> str:
    """Replace a label by its byte address."""
    return f"{labels[operand]:#x}" if operand in labels else operand


def _layout(sizes: Sequence[int]) -> tuple[Param, ...]:
    found: list[Param] = []
    offset = 0
    for size in sizes:
        offset = -(-offset // size) * size
        found.append(Param(offset, size))
        offset += size
    return tuple(found)
