"""Look-up kernels on machines with other banks: wavefronts of their look-ups, and time with and without conflicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpu_kernels import catalog
from gpu_kernels.matmul.tiling import Tile
from gpu_kernels.measuring.rows import FOLDER, SUFFIX, Row, load_rows
from reports.banks_data import Looked
from sim.arch.spec import SharedMemory
from sim.chip.accounting import breakdown_us, counters, usage
from sim.chip.curves import TracedClass
from sim.chip.run import ChipRun, run_launch, trace_launch, traced_class
from sim.commands.selection import described_launches, machine
from sim.errors import TcsimError
from sim.isa.launch import KernelLaunch
from sim.isa.units import Unit
from sim.sm.banks import FIRST_LANE, LANES, LOAD, wavefronts, without_conflicts
from sim.sm.expectation import Table, expected_wavefronts
from workloads.codes import SAMPLE_OUTPUTS, SEED, Codes, codes_of, quantized_file, whole_codes
from workloads.lookups import Asked, entries_asked, entries_equally
from workloads.operands import draw_weights
from workloads.schemes.base import Options, get_scheme

TOKENS = {"flute": 16, "lut_gemm": 1}  # schemes with look-ups, and the tokens of the tiles that are compared
DRAWN = ("random", "gaussian")
BANKS = (16, 32, 64, 128)
HALF_BYTES, PAIR_BYTES, PRIVATE_LANES = 2, 4, 32


@dataclass(frozen=True)
class Work:
    """A kernel with some codes, on every machine."""

    arch: str
    scheme: str
    tile: str
    n: int
    k: int
    codes: str  # one of DRAWN, or a file of weights

    @property
    def options(self) -> Options:
        """Return the scheme's options, complete."""
        drawn = {"codes": self.codes} if self.codes in DRAWN else {}
        return get_scheme(self.scheme).check_options(
            {**catalog.tiles(self.scheme)[self.tile].options, **drawn}
        )


def lookup_work(arch: str, n: int, k: int, weights: Path | None) -> list[Work]:
    """Return every kernel with a table in shared memory, with random codes and with normal or the user's weights."""
    return [
        Work(arch, scheme, tile, n, k, codes)
        for scheme in TOKENS
        for tile in _tiles(scheme)
        for codes in (DRAWN if weights is None else (DRAWN[0], str(weights)))
    ]


def _tiles(scheme: str) -> list[str]:
    """Name the tiles for the compared tokens; of those with the same table the one with most outputs.

    Tiles for one kind of machine only are passed over: they look up in the same tables.
    """
    largest: dict[tuple[object, ...], str] = {}
    tiles = catalog.tiles(scheme)
    for name, tile in tiles.items():
        compared = tile.tokens == TOKENS[scheme] and not tile.targets
        if compared and tile.options.get("lookup", "shared") == "shared":
            key = (table_of(scheme, tile), *sorted(tile.options.items()))
            if key not in largest or tile.outputs > tiles[largest[key]].outputs:
                largest[key] = name
    return list(largest.values())


def table_of(scheme: str, tile: Tile) -> Table:
    """Return where the entries of a tile's table lie."""
    if scheme == "flute":
        return Table(PAIR_BYTES, tile.extra["ENTRY_BYTES"], tile.extra["COPIES"])
    if tile.extra["PRIVATE"]:
        return Table(PAIR_BYTES, PAIR_BYTES * PRIVATE_LANES, PRIVATE_LANES)
    return Table(HALF_BYTES, HALF_BYTES)


def bank_machines(arch: str) -> list[tuple[str, ...]]:
    """Return what is set of the machine: nothing, other numbers of banks, wider banks."""
    memory = machine(arch).sm.shared_memory
    others = [banks for banks in BANKS if banks != memory.banks]
    wide = (f"sm.shared_memory.bank_bytes={2 * memory.bank_bytes}",)
    return [(), *((f"sm.shared_memory.banks={banks}",) for banks in others), wide]


def looked(work: Work) -> tuple[Looked, ...]:
    """Simulate a kernel on every machine; nothing where the machine has no binary of it or the scheme not the shape."""
    try:
        codes, asked = _codes(work)
        launch = _launch(work, codes)
        classes = trace_launch(launch)
    except TcsimError:
        if work.codes not in DRAWN:  # the user's file is to blame, or may be
            raise
        return ()
    return tuple(_looked(work, launch, classes, asked, overrides) for overrides in bank_machines(work.arch))


def _launch(work: Work, codes: Codes) -> KernelLaunch:
    shape = TOKENS[work.scheme], work.n, work.k
    return described_launches(work.scheme, *shape, work.options, machine(work.arch), work.tile, codes)[0]


def _codes(work: Work) -> tuple[Codes, tuple[Asked, ...]]:
    """Return codes, and how often they ask for each entry."""
    scheme, options = get_scheme(work.scheme), work.options
    if work.codes not in DRAWN:
        operands, identity = quantized_file(scheme, Path(work.codes), options)
        return codes_of(scheme, operands, identity), entries_asked(work.scheme, operands, options)
    outputs = min(work.n, SAMPLE_OUTPUTS)
    codes = whole_codes(scheme, outputs, work.k, options)
    if work.codes == "random":
        return codes, entries_equally(work.scheme, options)
    operands = draw_weights(scheme, outputs, work.k, options, SEED)
    return codes, entries_asked(work.scheme, operands, options)


def _looked(
    work: Work,
    launch: KernelLaunch,
    classes: tuple[TracedClass, ...],
    asked: tuple[Asked, ...],
    overrides: tuple[str, ...],
) -> Looked:
    gpu, tile = machine(work.arch, overrides), catalog.tiles(work.scheme)[work.tile]
    memory, table, options = gpu.sm.shared_memory, table_of(work.scheme, tile), work.options
    run = run_launch(launch, gpu)
    lookups, total = count_lookups(classes, table, memory)
    measured = _measured(work, launch, run) if not overrides else None
    split = breakdown_us(run, usage(run, gpu, counters(run, gpu)))
    return Looked(
        scheme=work.scheme,
        tile=work.tile,
        codes=work.codes if work.codes in DRAWN else Path(work.codes).name,
        m=TOKENS[work.scheme],
        n=work.n,
        k=work.k,
        bits=int(options["bits"]),
        mu=int(options.get("mu", 0)),
        entries=max(len(each.chances) for each in asked),
        entry_bytes=table.access_bytes,
        copies=table.copies,
        banks=memory.banks,
        bank_bytes=memory.bank_bytes,
        lookups=lookups,
        wavefronts=total / lookups,
        expected=sum(each.share * expected_wavefronts(each.chances, table, memory) for each in asked),
        time_us=run.time_us,
        ideal_us=run_launch(launch, gpu, traced=ideal(launch, classes, memory)).time_us,
        bound_by=max(split, key=lambda name: split[name]),
        measured_us=measured[0] if measured else None,
        predicted_us=measured[1] if measured else None,
    )


def ideal(
    launch: KernelLaunch, classes: tuple[TracedClass, ...], memory: SharedMemory
) -> tuple[TracedClass, ...]:
    """Return the CTA classes as they would be if no two words ever met in a bank."""
    return tuple(
        traced_class(
            replace(each.trace, patterns=without_conflicts(each.trace.patterns, memory)),
            each.cta_class,
            len(launch.buffers),
        )
        for each in classes
    )


def count_lookups(classes: tuple[TracedClass, ...], table: Table, memory: SharedMemory) -> tuple[int, int]:
    """Return a launch's look-ups and their wavefronts: the loads of that source line which does most of them.

    Loads in which all lanes ask for the same entry are left out, if there are others: LUT-GEMM reads the sum of its
    columns so.
    """
    program = classes[0].trace.program
    counts = np.zeros(
        (2, 2, int(program.source_line.max()) + 1), np.int64
    )  # entries differ; executed, wavefronts
    for each in classes:
        trace = each.trace
        rows = np.flatnonzero((program.unit[trace.pc] == int(Unit.SHARED_LOAD)) & (trace.pattern >= 0))
        rows = rows[trace.patterns[trace.pattern[rows], 1] == LOAD]
        pattern, line = trace.pattern[rows], program.source_line[trace.pc[rows]]
        times = trace.repeats()[rows] * each.cta_class.count
        differ = _entries_differ(trace.patterns, table)[pattern].astype(np.int64)
        np.add.at(counts, (differ, 0, line), times)
        np.add.at(counts, (differ, 1, line), times * wavefronts(trace.patterns, memory)[pattern])
    alike, drawn = counts[:, :, int(np.argmax(counts[:, 0].sum(axis=0)))]
    executed, total = drawn if drawn[0] else alike
    return int(executed), int(total)


def _entries_differ(patterns: npt.NDArray[np.int32], table: Table) -> npt.NDArray[np.bool_]:
    """Mark the accesses whose lanes do not all ask for the same entry, each in its copy."""
    lanes = patterns[:, FIRST_LANE:]
    entry = np.where(lanes < 0, lanes, lanes - np.arange(LANES) % table.copies * table.access_bytes)
    differ: npt.NDArray[np.bool_] = (entry != entry[:, :1]).any(axis=1)
    return differ


def _measured(work: Work, launch: KernelLaunch, run: ChipRun) -> tuple[float, float] | None:
    """Return the measured time of the very launch, and the simulated one at the clock that was recorded."""
    row = _rows(work.arch).get(_key(work.scheme, work.tile, work.options, *_shape(work)))
    if row is None or row.timing is None or row.timing.clock_mhz is None or work.codes not in DRAWN:
        return None
    if row.program != launch.program.identity or row.grid != launch.grid:
        return None  # of another kernel than today's
    return row.timing.median_us, run_launch(launch, machine(work.arch), row.timing.clock_mhz).time_us


def _shape(work: Work) -> tuple[int, int, int]:
    return TOKENS[work.scheme], work.n, work.k


@cache
def _rows(arch: str) -> Mapping[tuple[object, ...], Row]:
    """Return the launches that were measured on a machine, the latest of each."""
    folder = FOLDER / machine(arch).name
    rows = load_rows(folder) if any(folder.glob(f"*{SUFFIX}")) else ()
    return {
        _key(row.scheme, row.tile, row.options, row.m, row.n, row.k): row
        for row in rows
        if row.scheme in TOKENS
    }


def _key(scheme: str, tile: str, options: Mapping[str, Any], *shape: int) -> tuple[object, ...]:
    """Return what a launch is known by; options that a row does not name have their defaults."""
    complete = {**get_scheme(scheme).check_options(), **options}
    return scheme, tile, tuple(sorted(complete.items())), *shape
