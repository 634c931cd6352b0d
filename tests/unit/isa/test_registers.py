"""Register sets equal NVIDIA's own, and data dependence follows from them."""

from __future__ import annotations

import re

import pytest

from gpu_kernels.programs.store import FOLDER, load_stem
from sim.isa.dataflow import Dependence, data_dependence
from sim.isa.opcodes import Kind, Op
from sim.isa.program import Program
from sim.isa.registers import Register, RegisterSets, register_sets
from sim.isa.synthetic import assemble
from tests.unit.isa.liveness import life_ranges

STEMS = sorted(path.name.removesuffix(".cubin.xz") for path in FOLDER.glob("*.cubin.xz"))


def described(program: Program, pc: int) -> RegisterSets:
    return register_sets(program)[pc]


def descriptor(text: str) -> set[Register]:
    """Return the uniform pair of a memory descriptor, which has no meaning here."""
    found = re.search(r"desc\[UR(\d+)\]", text)
    return {(Kind.UREG, int(found[1])), (Kind.UREG, int(found[1]) + 1)} if found else set()


@pytest.mark.compile
@pytest.mark.parametrize("stem", STEMS)
def test_every_instruction_reads_and_writes_what_nvidia_says(stem: str) -> None:
    program = load_stem(stem)
    ranges = life_ranges(program.cubin)[program.name]
    wrong = []
    for pc, sets in enumerate(register_sets(program)):
        if 16 * pc not in ranges:
            assert program.text[pc] == "NOP", "only the padding at the end is not listed"
            continue
        defined, used = ranges[16 * pc]
        if program.opcode[pc] == int(Op.LDGSTS):  # the zero-fill predicate is listed as defined too
            defined -= {register for register in sets.reads if register[0] == Kind.PRED}
        if program.opcode[pc] == int(Op.P2R):  # a predicate that nobody wrote is not listed
            used |= {register for register in sets.reads if register[0] == Kind.PRED}
        if (sets.writes, sets.reads | descriptor(program.text[pc])) != (
            defined,
            used | descriptor(program.text[pc]),
        ):
            wrong.append(
                f"{program.text[pc]}: writes {sorted(sets.writes ^ defined)}, reads {sorted(sets.reads ^ used)}"
            )
    assert not wrong, wrong[:5]


def names(registers: frozenset[Register]) -> set[str]:
    prefix = {Kind.REG: "R", Kind.UREG: "UR", Kind.PRED: "P", Kind.UPRED: "UP"}
    return {f"{prefix[kind]}{number}" for kind, number in registers}


@pytest.mark.parametrize(
    ("line", "reads", "writes", "address"),
    [
        ("@!P3 IMAD.WIDE R2, R4, UR6, R8", "P3 R4 UR6 R8 R9", "R2 R3", ""),
        ("HMMA.16816.F32 R0, R4, R8, R12", "R4 R5 R6 R7 R8 R9 R12 R13 R14 R15", "R0 R1 R2 R3", ""),
        ("LDG.E.128 R8, desc[UR4][R2.64+UR6]", "R2 R3 UR6 UR7", "R8 R9 R10 R11", "R2 R3 UR6 UR7"),
        ("STS.64 [R2+UR3], R4", "R2 UR3 R4 R5", "", "R2 UR3"),
        ("LDSM.16.MT88.4 R4, [R9]", "R9", "R4 R5 R6 R7", "R9"),
        ("IADD3.X R1, R2, R3, RZ, P0, !PT", "R2 R3 P0", "R1", ""),
        ("LOP3.LUT P1, RZ, R2, 0x1, RZ, 0xc0, !PT", "R2", "P1", ""),
        ("P2R PR, R4, R5, 0x5", "R5 P0 P2", "R4", ""),
        ("R2P PR, R4, 0x6", "R4", "P1 P2", ""),
        ("ATOMG.E.ADD.STRONG.GPU PT, R0, desc[UR4][R2.64], R6", "R2 R3 R6", "R0", "R2 R3"),
        ("HGMMA.64x8x16.F32 R4, gdesc[UR8], R4, UP0", "UR8 UR9 UR10 UR11 R4 R5 R6 R7 UP0", "R4 R5 R6 R7", ""),
        (
            "HGMMA.64x8x16.F16 R4, R8, gdesc[UR8], R2, gsb0",
            "UR8 UR9 UR10 UR11 R8 R9 R10 R11 R2 R3",
            "R4 R5",
            "",
        ),
        ("UTMALDG.3D [UR8], [UR16], desc[UR18]", "UR8 UR9 UR10 UR11 UR12 UR16 UR17 UR18 UR19", "", ""),
        ("UTMASTG.2D [UR8], [UR16]", "UR8 UR9 UR10 UR16 UR17", "", ""),
        ("UBLKCP.S.G [UR8], [UR6], UR4", "UR8 UR9 UR6 UR7 UR4", "", ""),
        ("UBLKCP.G.S [UR6], [UR8], UR4", "UR8 UR6 UR7 UR4", "", ""),
        ("SYNCS.EXCH.64 URZ, [UR8+0x8], UR4", "UR8 UR4 UR5", "", "UR8"),
        ("SYNCS.ARRIVE.TRANS64 RZ, [R5+UR17], R2", "R5 UR17 R2", "", "R5 UR17"),
        ("SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [R5+UR16], R0", "R5 UR16 R0", "P0", "R5 UR16"),
        ("ELECT P1, UR3, PT", "", "P1 UR3", ""),
        ("LDGSTS.E.BYPASS.128 [R3], desc[UR4][R6.64], !P2", "R3 R6 R7 P2", "", "R3 R6 R7 P2"),
    ],
)
def test_register_sets(line: str, reads: str, writes: str, address: str) -> None:
    sets = described(assemble([line]), 0)
    assert names(sets.reads) == set(reads.split())
    assert names(sets.writes) == set(writes.split())
    assert names(sets.address) == set(address.split())


def dependence(*lines: str) -> list[Dependence]:
    return [Dependence(int(value)) for value in data_dependence(assemble([*lines, "EXIT"]))]


def test_what_hangs_on_loaded_data() -> None:
    found = dependence(
        "LDG.E R0, desc[UR4][R2.64]",
        "IADD3 R1, R0, 0x4, RZ",
        "LDS R5, [R1]",
        "ISETP.NE.AND P0, PT, R5, RZ, PT",
        "@P0 MOV R6, R7",
        "MOV R1, 0x400",
        "LDS R8, [R1]",
    )
    none, address, control = Dependence.NONE, Dependence.ADDRESS, Dependence.CONTROL
    assert found == [none, none, address, none, control, none, none, none]


def test_data_travels_around_loops_and_through_calls() -> None:
    found = dependence(
        ".loop:", "LDS R1, [R0]", "MOV R20, .back", "CALL.REL.NOINC .copy", ".back:", "ISETP.GT.AND P0, PT, R9, RZ, PT",
        "@P0 BRA .loop", "EXIT", ".copy:", "MOV R0, R1", "RET.REL.NODEC R20, synthetic",
    )  # fmt: skip
    assert found[0] == Dependence.ADDRESS
    assert found[4] == Dependence.NONE


def test_a_guarded_write_does_not_clean_a_register() -> None:
    lines = ["LDS R1, [R0]", "@P1 MOV R1, RZ", "LDS R2, [R1]", "MOV R1, RZ", "LDS R3, [R1]"]
    assert dependence(*lines)[2] == Dependence.ADDRESS
    assert dependence(*lines)[4] == Dependence.NONE
