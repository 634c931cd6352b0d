"""Bank conflicts: wavefronts of each shared-memory instruction against the ideal, and its banks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.naming import m_range, machine_name, plain, scheme_names, tile_name, unique
from reports.output import save_figure, write_csv
from sim.results import RunResult, SharedAccess

NAME = "bank_conflicts"
TITLE = "Bank conflicts: wavefronts against ideal, per instruction"

COLUMNS = (
    "program",
    "machine",
    "pc",
    "sass",
    "source_line",
    "source",
    "executed",
    "wavefronts",
    "ideal",
    "banks",
)
_Key = tuple[str, tuple[tuple[int, str, int], ...]]  # scheme, and (pc, sass, source line) of each access


@dataclass(frozen=True)
class Access:
    """One instruction on one machine, summed over the runs of its program."""

    machine: str
    executed: int
    wavefronts: int
    ideal: int
    banks: tuple[int, ...]  # words asked of each bank by one typical execution

    @property
    def each(self) -> float:
        """Wavefronts per executed warp instruction."""
        return self.wavefronts / max(1, self.executed)

    @property
    def ideal_each(self) -> float:
        """Wavefronts per executed warp instruction if there were no conflicts."""
        return self.ideal / max(1, self.executed)


@dataclass(frozen=True)
class Instruction:
    """One static instruction, on each machine that ran its program."""

    pc: int
    sass: str
    source_line: int
    source: str
    accesses: tuple[Access, ...]

    @property
    def extra(self) -> int:
        """Wavefronts beyond the ideal, over all machines."""
        return sum(access.wavefronts - access.ideal for access in self.accesses)

    @property
    def wavefronts(self) -> int:
        """Wavefronts over all machines."""
        return sum(access.wavefronts for access in self.accesses)

    def groups(self) -> tuple[tuple[Access, tuple[str, ...]], ...]:
        """Return the accesses that differ, each with the machines on which it is so."""
        alike: dict[tuple[object, ...], list[Access]] = {}
        for access in self.accesses:
            key = round(access.each, 2), round(access.ideal_each, 2), access.banks
            alike.setdefault(key, []).append(access)
        return tuple((group[0], tuple(access.machine for access in group)) for group in alike.values())


@dataclass(frozen=True)
class Program:
    """One compiled kernel, known by its shared-memory instructions; the worst instruction first."""

    name: str
    instructions: tuple[Instruction, ...]
    scheme: str = ""

    @property
    def machines(self) -> tuple[str, ...]:
        """Name the machines that ran it."""
        return unique(access.machine for row in self.instructions for access in row.accesses)

    def totals(self, machine: str) -> tuple[int, int]:
        """Return wavefronts and ideal wavefronts on one machine."""
        rows = [access for row in self.instructions for access in row.accesses if access.machine == machine]
        return sum(row.wavefronts for row in rows), sum(row.ideal for row in rows)

    @property
    def clean(self) -> bool:
        """Whether no machine has any conflict."""
        return all(row.extra == 0 for row in self.instructions)


@dataclass(frozen=True)
class BankConflicts:
    """All programs of the runs, in the order of the results."""

    programs: tuple[Program, ...]


def collect(results: Sequence[RunResult]) -> BankConflicts:
    """Sum the accesses of the runs by program and machine."""
    runs: dict[_Key, list[RunResult]] = {}
    for run, scheme in zip(results, scheme_names(results), strict=True):
        if run.shared_accesses:
            rows = tuple((row.pc, row.sass, row.source_line) for row in run.shared_accesses)
            runs.setdefault((scheme, rows), []).append(run)
    names = _names(runs)
    return BankConflicts(
        tuple(Program(names[key], _instructions(group), key[0]) for key, group in runs.items())
    )


def _names(runs: dict[_Key, list[RunResult]]) -> dict[_Key, str]:
    """Name a program by its scheme and, where a scheme has several, its tile or number and its M."""
    names = {}
    for key, group in runs.items():
        rivals = [other for other in runs if other[0] == key[0]]
        sizes = m_range(min(run.m for run in group), max(run.m for run in group))
        tiles = unique(tile_name(run) for run in group if run.tile)
        tile = tiles[0] if len(tiles) == 1 else f"program {rivals.index(key) + 1} of {len(rivals)}"
        names[key] = key[0] if len(rivals) == 1 else f"{key[0]}, {tile} (M {sizes})"
    return names


def _instructions(runs: Sequence[RunResult]) -> tuple[Instruction, ...]:
    rows = [_instruction(index, row, runs) for index, row in enumerate(runs[0].shared_accesses)]
    return tuple(sorted(rows, key=lambda row: (-row.extra, -row.wavefronts, row.pc)))


def _instruction(index: int, row: SharedAccess, runs: Sequence[RunResult]) -> Instruction:
    by_machine: dict[str, list[SharedAccess]] = {}
    for run in runs:
        by_machine.setdefault(machine_name(run), []).append(run.shared_accesses[index])
    accesses = tuple(_access(machine, rows) for machine, rows in by_machine.items())
    return Instruction(row.pc, row.sass, row.source_line, row.source, accesses)


def _access(machine: str, rows: Sequence[SharedAccess]) -> Access:
    executed, wavefronts = sum(row.executed for row in rows), sum(row.wavefronts for row in rows)
    return Access(machine, executed, wavefronts, sum(row.ideal for row in rows), rows[0].banks)


def verdict(program: Program) -> str:
    """Say in words what conflicts cost the program, on its first machine and where it differs from that."""
    if program.clean:
        return "no bank conflicts: every wavefront is ideal"
    told = [(_share(*program.totals(machine)), machine) for machine in program.machines]
    first = told[0][0]
    others = [(share, machine) for share, machine in told if share != first]
    text = f"{first} of wavefronts are conflicts"
    text += f" on {plain(told[0][1], 24)}" if others else ""
    return text + "".join(f", {share} on {plain(machine, 24)}" for share, machine in others[:2])


def _share(wavefronts: int, ideal: int) -> str:
    percent = 100 * (wavefronts - ideal) / max(1, wavefronts)
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def finding(programs: Sequence[Program]) -> str:
    """Say how many programs are free of conflicts, and which instruction is the worst."""
    if all(program.clean for program in programs):
        return "No bank conflicts: every wavefront is ideal"
    program = max(programs, key=lambda program: program.instructions[0].extra)
    row = program.instructions[0]
    worst = max(row.accesses, key=lambda access: access.each / max(access.ideal_each, 1e-9))
    where = f", source line {row.source_line}" if row.source_line else ""
    times = worst.each / max(worst.ideal_each, 1e-9)
    instruction = f"{plain(row.sass.split()[0], 30)} in {plain(program.name, 30)}"
    machine = f" on {plain(worst.machine, 24)}" if len(program.machines) > 1 else ""
    return f"Worst conflict: {instruction}{where}, {times:.3g}x its ideal wavefronts{machine}"


def render(data: BankConflicts, out_dir: Path) -> list[Path]:
    """Write bank_conflicts.png, bank_conflicts.svg and bank_conflicts.csv."""
    from reports.bank_conflicts_figure import draw
    from reports.style import drawing

    with drawing():
        files = save_figure(draw(data), out_dir, NAME)
    return [*files, write_csv(list(_rows(data)), COLUMNS, out_dir / f"{NAME}.csv")]


def _rows(data: BankConflicts) -> Iterator[dict[str, object]]:
    for program in data.programs:
        for row in program.instructions:
            for access in row.accesses:
                head = (program.name, access.machine, f"0x{row.pc:x}", row.sass, row.source_line, row.source)
                tail = (access.executed, access.wavefronts, access.ideal, " ".join(map(str, access.banks)))
                yield dict(zip(COLUMNS, (*head, *tail), strict=True))
