"""Bank conflicts: wavefronts of each shared-memory instruction against the ideal, and its banks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
_Key = tuple[
    str, object
]  # scheme, and the tile or, where none is known, (pc, sass, source line) of each access


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

    @property
    def extra(self) -> int:
        """Wavefronts beyond the ideal."""
        return self.wavefronts - self.ideal

    @property
    def idle(self) -> float:
        """Share of the banks that has nothing to do in a wavefront of a typical execution."""
        return max(0.0, 1 - sum(self.banks) / max(1.0, self.each * len(self.banks)))


@dataclass(frozen=True)
class Instruction:
    """One static instruction, or several alike, on each machine that ran its program."""

    pc: int
    sass: str
    source_line: int
    source: str
    accesses: tuple[Access, ...]
    count: int = 1  # static instructions in it

    @property
    def opcode(self) -> str:
        """The operation without its guard and operands."""
        words = self.sass.split()
        return next((word for word in words if not word.startswith("@")), self.sass)

    @property
    def extra(self) -> int:
        """Wavefronts beyond the ideal, on the machine that has most of them."""
        return max((access.extra for access in self.accesses), default=0)

    @property
    def wavefronts(self) -> int:
        """Wavefronts on the machine that has most of them."""
        return max((access.wavefronts for access in self.accesses), default=0)

    def groups(self) -> tuple[tuple[Access, tuple[str, ...]], ...]:
        """Return the accesses that differ, each with the machines on which it is so."""
        alike: dict[tuple[object, ...], list[Access]] = {}
        for access in self.accesses:
            key = round(access.each, 2), round(access.ideal_each, 2), access.banks
            alike.setdefault(key, []).append(access)
        groups = sorted(alike.values(), key=lambda group: len(group[0].banks))
        return tuple((group[0], tuple(access.machine for access in group)) for group in groups)


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

    def banks(self, machine: str) -> int:
        """Return how many banks a machine has."""
        accesses = (access for row in self.instructions for access in row.accesses)
        return next(len(access.banks) for access in accesses if access.machine == machine)

    @property
    def extra(self) -> int:
        """Wavefronts beyond the ideal, on the machine that has most of them."""
        return max((actual - ideal for actual, ideal in map(self.totals, self.machines)), default=0)

    @property
    def wavefronts(self) -> int:
        """Wavefronts on the machine that has most of them."""
        return max((actual for actual, _ in map(self.totals, self.machines)), default=0)

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
            runs.setdefault((scheme, tile_name(run) or rows), []).append(run)
    names = _names(runs)
    return BankConflicts(
        tuple(Program(names[key], _instructions(group), key[0]) for key, group in runs.items())
    )


def _names(runs: dict[_Key, list[RunResult]]) -> dict[_Key, str]:
    """Name a program by scheme and tile, or by its number among several of one scheme; and by its M."""
    names = {}
    for key, group in runs.items():
        scheme, tile = key
        rivals = [other for other in runs if other[0] == scheme]
        if not isinstance(tile, str):
            tile = f"program {rivals.index(key) + 1} of {len(rivals)}" if len(rivals) > 1 else ""
        sizes = m_range(min(run.m for run in group), max(run.m for run in group))
        name = scheme if tile in ("", scheme) else f"{scheme} {tile}"
        names[key] = f"{name} (M {sizes})" if len(rivals) > 1 else name
    return names


def _instructions(runs: Sequence[RunResult]) -> tuple[Instruction, ...]:
    """Sum each static instruction over the runs, by machine."""
    found: dict[tuple[int, str, int, str], dict[str, list[SharedAccess]]] = {}
    for run in runs:
        for row in run.shared_accesses:
            machines = found.setdefault((row.pc, row.sass, row.source_line, row.source), {})
            machines.setdefault(machine_name(run), []).append(row)
    rows = [
        Instruction(*key, tuple(_access(machine, rows) for machine, rows in machines.items()))
        for key, machines in found.items()
    ]
    return _worst_first(rows)


def _worst_first(rows: Sequence[Instruction]) -> tuple[Instruction, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.extra, -row.wavefronts, row.pc)))


def _access(machine: str, rows: Sequence[SharedAccess]) -> Access:
    executed, wavefronts = sum(row.executed for row in rows), sum(row.wavefronts for row in rows)
    return Access(machine, executed, wavefronts, sum(row.ideal for row in rows), rows[0].banks)


def merged(rows: Sequence[Instruction]) -> tuple[Instruction, ...]:
    """Join the instructions of one source line that do the same on every machine."""
    alike: dict[object, list[Instruction]] = {}
    for row in rows:
        each = tuple((a.machine, round(a.each, 2), round(a.ideal_each, 2)) for a in row.accesses)
        place = row.source_line or row.pc
        alike.setdefault((row.opcode, place, each), []).append(row)
    return _worst_first([_joined(group) for group in alike.values()])


def _joined(group: Sequence[Instruction]) -> Instruction:
    columns = zip(*(row.accesses for row in group), strict=True)
    accesses = tuple(
        replace(
            column[0],
            executed=sum(access.executed for access in column),
            wavefronts=sum(access.wavefronts for access in column),
            ideal=sum(access.ideal for access in column),
        )
        for column in columns
    )
    return replace(group[0], accesses=accesses, count=sum(row.count for row in group))


def verdict(program: Program) -> str:
    """Say in words what conflicts cost the program: ``conflict-free on 32 banks; 27 % ... on 64 banks``."""
    shares = {machine: _share(*program.totals(machine)) for machine in program.machines}
    places = _places([program])
    order = sorted(unique(shares.values()), key=bool)  # those without conflicts first
    told = [f"{_share_words(share)}{_on(_where(shares, share, places))}" for share in order]
    return "; ".join(told[:3])


def _on(where: str) -> str:
    return f" on {where}" if where else ""


def _share_words(share: str) -> str:
    return f"{share} of wavefronts are conflicts" if share else "conflict-free"


def _where(shares: dict[str, str], share: str, places: dict[str, str]) -> str:
    """Name the machines of one share; nothing if all have it."""
    if len(set(shares.values())) == 1:
        return ""
    return " and ".join(unique(places[machine] for machine in shares if shares[machine] == share)[:2])


def _places(programs: Sequence[Program]) -> dict[str, str]:
    """Name machines by their banks, if these tell apart who has conflicts and who has none."""
    found: dict[str, tuple[int, str]] = {}
    for program in programs:
        for machine in program.machines:
            found[machine] = program.banks(machine), _share(*program.totals(machine))
    if len({banks for banks, _ in found.values()}) == len(set(found.values())):
        return {machine: f"{banks} banks" for machine, (banks, _) in found.items()}
    return {machine: plain(machine, 24) for machine in found}


def _share(wavefronts: int, ideal: int) -> str:
    percent = 100 * (wavefronts - ideal) / max(1, wavefronts)
    if percent <= 0:
        return ""
    return f"{percent:.1f} %" if percent < 10 else f"{percent:.0f} %"


def finding(programs: Sequence[Program]) -> str:
    """Say where there are no conflicts, and what the worst is elsewhere."""
    if all(program.clean for program in programs):
        return "No bank conflicts: every wavefront is ideal"
    row, worst = max(_accesses(programs), key=lambda pair: pair[1].extra)
    banks = {len(access.banks) for _, access in _accesses(programs)}
    dirty = {len(access.banks) for _, access in _accesses(programs) if access.extra}
    clean = " and ".join(str(number) for number in sorted(banks - dirty))
    needs = f"{plain(row.opcode, 30)} takes {worst.each:.3g} wavefronts where {worst.ideal_each:.3g} would do"
    where = f"on {len(worst.banks)} banks " if len(banks) > 1 else ""
    text = (
        f"No bank conflicts on {clean} banks; {where}{needs}" if clean else f"Bank conflicts: {where}{needs}"
    )
    return text + ("" if clean or not row.source_line else f", line {row.source_line}")


def conclusion(programs: Sequence[Program]) -> str:
    """Say what the worst conflict leaves unused; empty without conflicts."""
    conflicts = [(row, access) for row, access in _accesses(programs) if access.extra]
    if not conflicts:
        return ""
    row, worst = max(conflicts, key=lambda pair: pair[1].extra)
    return (
        f"That {plain(row.opcode, 30)} leaves {100 * worst.idle:.0f} % of the {len(worst.banks)} banks idle. "
    )


def _accesses(programs: Sequence[Program]) -> Iterator[tuple[Instruction, Access]]:
    for program in programs:
        for row in program.instructions:
            for access in row.accesses:
                yield row, access


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
