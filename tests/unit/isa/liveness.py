"""Read NVIDIA's register life ranges (``nvdisasm -plr``): what each instruction defines and uses."""

from __future__ import annotations

import itertools
import re
import subprocess
import tempfile
from pathlib import Path

from gpu_kernels.compile import disassembler
from sim.isa.opcodes import Kind
from sim.isa.registers import Register

_FILES = {"GPR": Kind.REG, "PRED": Kind.PRED, "UGPR": Kind.UREG, "UPRED": Kind.UPRED}
Sets = tuple[frozenset[Register], frozenset[Register]]


def life_ranges(cubin: bytes) -> dict[str, dict[int, Sets]]:
    """Return kernel -> byte address -> (definitions, uses)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        command = [str(disassembler()), "-c", "-plr", "-lrm", "wide", str(path)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, dict[int, Sets]] = {}
    for block in re.split(r"^//-+ \.text\.", text, flags=re.MULTILINE)[1:]:
        name = block.split(None, 1)[0]
        found[name] = _block(block.splitlines())
    return found


def _block(lines: list[str]) -> dict[int, Sets]:
    columns: dict[int, Register] = {}
    result: dict[int, Sets] = {}
    for number, line in enumerate(lines):
        if re.search(r"\|\s+# 0 ", line):
            columns = _columns(lines[number - 1], line)
        address = re.match(r"\s+/\*([0-9a-f]{4,})\*/", line)
        if address:
            result[int(address[1], 16)] = _marks(line, columns)
    return result


def _columns(title: str, header: str) -> dict[int, Register]:
    """Return the text column of every register: that of its number's last digit."""
    bars = [match.start() for match in re.finditer(r"\|", header)]
    columns: dict[int, Register] = {}
    for start, end in itertools.pairwise(bars):
        kind = _FILES[title[start + 1 : end].strip()]
        for number in re.finditer(r"\d+", header[start:end]):
            columns[start + number.end() - 1] = (kind, int(number.group()))
    return columns


def _marks(line: str, columns: dict[int, Register]) -> Sets:
    defined, used = set(), set()
    for column, register in columns.items():
        mark = line[column : column + 1].strip() or (
            line[column - 1 : column].strip() if register[1] >= 10 else ""
        )
        if mark in ("^", "x"):
            defined.add(register)
        if mark in ("v", "x"):
            used.add(register)
    return frozenset(defined), frozenset(used)
