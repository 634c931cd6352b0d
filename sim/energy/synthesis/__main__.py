"""``python -m sim.energy.synthesis --liberty FILE``: synthesize all units again and write arch_configs/hardware.

The first library is used for all designs, further ones for those of 32 bits, to see how ratios depend on the process.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from sim.arch.accumulator import CellLibrary, Cost, Design, Origin, directory
from sim.energy.synthesis.characterize import characterized
from sim.energy.synthesis.designs import DEVIATIONS, LENGTH_OF_SUM, PAIRS, SEED, designs
from sim.energy.synthesis.liberty import Library, read_library
from sim.energy.synthesis.timing import INPUT_SLEW_NS
from sim.energy.synthesis.yosys import DELAY_TARGET_PS, synthesized, verilog_sha256, version
from sim.errors import TcsimError
from sim.jsonl import to_text

METHOD = (
    "Modules stay apart in synthesis: multiplier (Booth), adder (carry-save tree, Brent-Kung adder), saturator, rows "
    f"of the shifter. Yosys' own script for ABC, delay target {DELAY_TARGET_PS} ps. Area: the cells' sum.",
    f"Delay: longest path by the library's tables, inputs with a transition of {INPUT_SLEW_NS} ns, no wires, no setup "
    "time, no buffers for the shifter's control.",
    f"Energy: {PAIRS} pairs of successive operations (seed {SEED}); every net's change times what its driver takes "
    "inside by the library's tables and half its load times V^2. No wires, no clock tree or gating, no leakage.",
    f"gaussian: operands with the largest code at {DEVIATIONS} deviations, accumulators as after {LENGTH_OF_SUM} "
    "products. uniform: all codes alike. glitching: gaussian, with the changes that are taken back when every gate "
    "takes one unit of time; that overstates them.",
)


def main(arguments: Sequence[str]) -> int:
    """Synthesize and write; return the exit status."""
    parser = argparse.ArgumentParser("python -m sim.energy.synthesis", description=__doc__)
    parser.add_argument(
        "--liberty", type=Path, action="append", required=True, help="a cell library; repeatable"
    )
    parser.add_argument(
        "--source", action="append", default=[], help="where each library comes from, in its order"
    )
    parser.add_argument("--out", type=Path, default=directory())
    given = parser.parse_args(arguments)
    try:
        write(given.liberty, given.source, given.out)
    except TcsimError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def write(paths: Sequence[Path], sources: Sequence[str], out: Path) -> None:
    """Write ``accumulator.jsonl`` and ``accumulator.yaml``."""
    libraries = [read_library(path) for path in paths]
    rows: list[Cost] = []
    for index, (path, library) in enumerate(zip(paths, libraries, strict=True)):
        rows += _rows(path, library, index == 0)
    named = [*sources, *(path.name for path in paths[len(sources) :])]
    origin = Origin(
        title="Multiply-accumulate units with and without a shifter of the accumulator",
        tool=version(),
        command=" ".join(["python -m sim.energy.synthesis", *(f"--liberty {path.name}" for path in paths)]),
        date=datetime.date.today().isoformat(),
        verilog_sha256=verilog_sha256(),
        method=METHOD,
        libraries={
            library.name: _described(path, library, source)
            for path, library, source in zip(paths, libraries, named, strict=True)
        },
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "accumulator.jsonl").write_text(to_text(rows), encoding="utf-8")
    text = yaml.safe_dump(origin.model_dump(mode="json"), sort_keys=False, width=110, allow_unicode=True)
    (out / "accumulator.yaml").write_text(text, encoding="utf-8")
    _say(f"wrote {len(rows)} units to {out}")


def _rows(path: Path, library: Library, everything: bool) -> Iterator[Cost]:
    chosen = [each for each in designs() if everything or _usual(each)]
    _say(f"{library.name}: synthesizing {len(chosen)} units")
    netlists = synthesized(chosen, path)
    for number, (design, netlist) in enumerate(zip(chosen, netlists, strict=True), 1):
        if number % 50 == 0:
            _say(f"{library.name}: {number} of {len(chosen)} units simulated")
        yield characterized(design, netlist, library)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _usual(design: Design) -> bool:
    return design.width_bits == 32 and design.overflow == "wrap" and design.length <= 8


def _described(path: Path, library: Library, source: str) -> CellLibrary:
    gates = [cell.area_um2 for name, cell in library.cells.items() if name.upper().startswith("NAND2")]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return CellLibrary(source=source, sha256=digest, supply_v=library.voltage, nand2_um2=min(gates))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
