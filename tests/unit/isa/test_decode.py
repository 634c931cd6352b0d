"""Decoding: the bundled programs' facts, control codes, and one line for whatever is not understood."""

from __future__ import annotations

import json
import lzma
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_kernels.programs.store import FOLDER, load_stem
from sim.errors import TcsimError, UnsupportedInstructionError
from sim.isa import opcodes as o
from sim.isa.decode import Listing, decode_program, shared_window
from sim.isa.elf import kernel_names, read_kernel
from sim.isa.forms import expand, forms
from sim.isa.opcodes import Kind, Op
from sim.isa.operands import OperandError, address, join_halves, source
from sim.isa.program import Operand
from sim.isa.synthetic import assemble, control_word
from sim.isa.units import NO_COUNTER, Unit

STEMS = sorted(path.name.removesuffix(".cubin.xz") for path in FOLDER.glob("*.cubin.xz"))
SMALL = "fp16_16x64.sm_90a"
CUDA_CORES_ONLY = ("dequant_optq_", "lut_gemm_")  # schemes without tensor instructions
TENSOR_UNITS = (Unit.TENSOR, Unit.WGMMA)


@cache
def stored(stem: str) -> tuple[bytes, Listing]:
    record = json.loads(lzma.decompress((FOLDER / f"{stem}.listing.json.xz").read_bytes()))
    return lzma.decompress((FOLDER / f"{stem}.cubin.xz").read_bytes()), Listing.from_json(record)


# --------------------------------------------------------------------------------------------------- real programs


@pytest.mark.parametrize("stem", STEMS)
def test_reuse_bits_are_those_of_the_text(stem: str) -> None:
    program, (_, listing) = load_stem(stem), stored(stem)
    printed = [arguments.count(".reuse") for _, _, arguments, _ in listing.rows]
    shown = np.where(program.opcode == int(Op.IMMA_SPARSE), 7, 15)  # its fourth operand's is not printed
    assert [int(bits).bit_count() for bits in program.reuse & shown] == printed


@pytest.mark.parametrize("stem", STEMS)
def test_control_codes_are_plausible(stem: str) -> None:
    program = load_stem(stem)
    variable = np.isin(program.unit, [Unit.SHARED_LOAD, Unit.GLOBAL_LOAD, Unit.ATOMIC])
    fixed = np.isin(program.unit, [Unit.ALU, Unit.FMA, Unit.IMAD, Unit.TENSOR, Unit.WGMMA, Unit.BRANCH])
    assert (program.write_counter[fixed] == NO_COUNTER).all()
    assert (program.write_counter[variable] != NO_COUNTER).any()
    assert set(program.write_counter) | set(program.read_counter) <= {0, 1, 2, 3, 4, 5, NO_COUNTER}
    assert (program.stall[np.isin(program.unit, TENSOR_UNITS)] >= 1).all()


@pytest.mark.parametrize("stem", STEMS)
def test_a_program_multiplies_on_one_kind_of_unit(stem: str) -> None:
    kind = None if stem.startswith(CUDA_CORES_ONLY) else Unit.WGMMA if "_wgmma_" in stem else Unit.TENSOR
    assert set(load_stem(stem).unit) & set(TENSOR_UNITS) == ({kind} if kind is not None else set())


def test_facts_of_the_binary_are_read() -> None:
    program = load_stem(SMALL)
    assert program.target == "sm_90a" and program.param_base == 0x210
    assert 40 < program.registers < 256
    offsets = [param.offset for param in program.params]
    assert offsets == sorted(offsets) and all(param.size in (4, 8) for param in program.params)
    assert program.mma_names == ("m16n8k16.f32.f16",)
    assert (program.mma[program.opcode == int(Op.HMMA)] == 0).all() and program.mma.max() == 0
    assert program.source_line.max() > 1
    assert program.constants[0][program.param_base :] and len(program.cubin) > 0


def test_every_kernel_of_a_cubin_is_listed() -> None:
    cubin, listing = stored(SMALL)
    assert kernel_names(cubin) == (listing.kernel,)
    with pytest.raises(TcsimError, match=f"no kernel 'other'; it has: {listing.kernel}"):
        read_kernel(cubin, "other")


def test_a_listing_survives_its_stored_form() -> None:
    _, listing = stored(SMALL)
    assert Listing.from_json(json.loads(json.dumps(listing.to_json()))) == listing


def test_the_identity_is_that_of_the_binary() -> None:
    cubin, listing = stored(SMALL)
    first, second = decode_program(cubin, listing), decode_program(cubin, listing, "elsewhere.cu")
    assert first.identity == second.identity
    assert decode_program(cubin + b"\0", listing).identity != first.identity


# ------------------------------------------------------------------------------------------------------- encodings


def test_control_fields_lie_where_the_hardware_has_them() -> None:
    cubin, listing = stored(SMALL)
    code = read_kernel(cubin, listing.kernel).code
    at = cubin.index(code)
    word = control_word(stall=11, yields=1, write=2, read=4, wait=0b100101, reuse=0b0110)
    patched = cubin[:at] + word + cubin[at + 16 :]
    program = decode_program(patched, listing)
    fields = ("stall", "yields", "write_counter", "read_counter", "wait_mask", "reuse")
    assert [int(getattr(program, name)[0]) for name in fields] == [11, 1, 2, 4, 0b100101, 0b0110]


def test_shared_memory_starts_behind_what_the_system_keeps() -> None:
    assert shared_window("sm_90a") == shared_window("sm_120") == 0x400
    assert shared_window("sm_80") == shared_window("sm_89") == 0


@pytest.mark.parametrize(
    ("text", "numeric", "expected"),
    [
        ("R7.reuse", "s", Operand(Kind.REG, 7, 0)),
        ("-R7", "s", Operand(Kind.REG, 7, o.NEG)),
        ("~UR7", "s", Operand(Kind.UREG, 7, o.INV)),
        ("-|R7|", "f", Operand(Kind.REG, 7, o.NEG | o.ABS)),
        ("|R7|.H1_H1", "h", Operand(Kind.REG, 7, o.ABS | o.H1)),
        ("-R7.H0_H0", "h", Operand(Kind.REG, 7, o.NEG | o.H0)),
        ("RZ", "s", Operand(Kind.REG, o.RZ, 0)),
        ("-0x1", "s", Operand(Kind.IMM, 0xFFFFFFFF, 0)),
        ("1.5", "f", Operand(Kind.IMM, 0x3FC00000, 0)),
        ("-INF", "f", Operand(Kind.IMM, 0xFF800000, 0)),
        ("1", "h", Operand(Kind.IMM, 0x3C003C00, 0)),
        ("c[0x3][0x20]", "s", Operand(Kind.CONST, 0x30020, 0)),
    ],
)
def test_sources(text: str, numeric: str, expected: Operand) -> None:
    assert source(text, numeric) == expected


def test_packed_immediates_are_printed_high_half_first() -> None:
    assert join_halves(["R0", "R1", "1.5048828125", "33.21875"], False) == ["R0", "R1", "0x3e055027"]
    assert join_halves(["R0", "R1", "1", "-2", "R3"], False) == ["R0", "R1", "0x3c00c000", "R3"]
    assert join_halves(["R0", "R1", "1", "-2"], True) == ["R0", "R1", "0x3f80c000"]


def test_addresses() -> None:
    base, uniform, offset = address("desc[UR4][R2.64+UR6+-0x10]")
    assert (base.value, base.flags & o.WIDE, uniform.value, offset.value) == (2, o.WIDE, 6, -16)
    base, uniform, offset = address("[R3.X4+0x80]")
    assert (base.value, base.flags >> 8, uniform.kind, offset.value) == (3, 2, Kind.NONE, 128)
    for text in ("[R1+R2+R3]", "[R1.H0]", "R1", "[R1*4]", "[-R1]"):
        with pytest.raises(OperandError):
            address(text)


# --------------------------------------------------------------------------------------------------- the white list


def test_opcode_patterns() -> None:
    assert expand("A.{B,C}[.D]") == ["A.B", "A.B.D", "A.C", "A.C.D"]
    assert all(re.fullmatch(r"[A-Z0-9]+(\.[A-Za-z0-9_]+)*", opcode) for opcode in forms())


@pytest.mark.parametrize(
    ("line", "unit", "argument"),
    [
        ("BAR.SYNC.DEFER_BLOCKING 0x3", Unit.BARRIER, 3),
        ("BAR.SYNC.DEFER_BLOCKING 0x1, 0x80", Unit.BARRIER, 1 + 16 * 4),
        ("HGMMA.64x64x16.F32 R24, gdesc[UR8], R24, !UPT", Unit.WGMMA, 0),
        ("HGMMA.64x64x16.F32 R24, R4, gdesc[UR8], R24, gsb0", Unit.WGMMA, 1),
        ("WARPGROUP.DEPBAR.LE gsb0, 0x2", Unit.WGMMA_WAIT, 2),
        ("USETMAXREG.DEALLOC.CTAPOOL 0x28", Unit.SET_REGISTERS, 40),
        ("USETMAXREG.TRY_ALLOC.CTAPOOL UP0, 0xe8", Unit.SET_REGISTERS, 232),
    ],
)
def test_arguments_of_synchronization(line: str, unit: Unit, argument: int) -> None:
    """What an engine must know beyond the unit stands in one number."""
    program = assemble([line])
    assert (program.unit[0], program.argument[0]) == (unit, argument)


def test_the_name_of_a_wgmma_says_where_a_is() -> None:
    lines = [
        "HGMMA.64x128x16.F32.BF16 R24, gdesc[UR8], R24",
        "IGMMA.64x64x32.S8.S8 R24, R4, gdesc[UR8], R24, UP0, gsb0",
    ]
    assert assemble(lines).mma_names == ("wgmma.m64n128k16.f32.bf16.ss", "wgmma.m64n64k32.s32.s8.rs")


# Modifiers that change timing or spelling, not results; of IMAD the names of its simple uses
HINTS = frozenset(
    """EF EL LTC64B LTC128B LTC256B CONSTANT NTZ MMA RELIABLE RECONVERGENT DEFER_BLOCKING STRONG GPU SM CTA SYS
    RN F16 F32 PACK_AB S32 LUT M88 16 32 E SC ALL IVALL REL NOINC NODEC SPIN S RED""".split()  # noqa: SIM905
)
IMAD_USES = {"MOV", "SHL", "IADD", "U32"}


def test_no_modifier_is_ignored_but_hints() -> None:
    """Opcodes that decode alike have the same modifiers."""
    seen: dict[tuple[object, ...], set[str]] = {}
    for opcode, form in forms().items():
        tokens = set(opcode.split(".")[1:]) - HINTS - (IMAD_USES if form.op == Op.IMAD else set())
        first = seen.setdefault((form.op, form.unit, form.modifiers, form.signature), tokens)
        assert first == tokens, f"{opcode} decodes like one with {first}"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("FROB R1, R2", "FROB"),
        ("IADD3.FOO R1, R2, R3, R4", "IADD3.FOO"),
        ("IADD.64 R2, R4, R6", "IADD.64"),
        ("MOV.64 R2, R4", "MOV.64"),
        ("IADD3 R1, R2, R3", "missing operand"),
        ("IADD3 R1, R2, R3, R4, R5, R6", "R5"),
        ("MOV R1, SR_TID.X", "SR_TID.X"),
        ("S2R R1, SR_NOSUCH", "SR_NOSUCH"),
        ("LDS R1, [R2*4]", "[R2*4]"),
        ("LDG.E R1, desc[UR4][R2.U32+UR6]", "R2.U32"),
        ("BAR.SYNC.DEFER_BLOCKING 0x1, R3", "constant number of warps"),
        ("BAR.SYNC.DEFER_BLOCKING R3, 0x40", "constant number"),
        ("SYNCS.PHASECHK.TRANS64 P0, [R3], R2", "SYNCS.PHASECHK.TRANS64"),
        ("HGMMA.64x64x16.F32 R24, gdesc[UR4].tnspB, R24, gsb0", "gdesc[UR4].tnspB"),
        ("HGMMA.64x60x16.F32 R24, gdesc[UR4], R24, gsb0", "HGMMA.64x60x16.F32"),
        ("@Q0 MOV R1, R2", "@Q0"),
        ("MOV R256, R2", "R256"),
        ("ISETP.LT.AND P7, PT, R1, R2, PT", "P7"),
        ("BRA 0x1000", "jumps out of the kernel"),
    ],
)
def test_what_is_not_understood_is_named_with_its_place(line: str, named: str) -> None:
    with pytest.raises(UnsupportedInstructionError) as caught:
        assemble(["NOP", line], name="mine")
    message = str(caught.value)
    assert named in message and "\n" not in message
    assert "mine+0x0010" in message


# ------------------------------------------------------------------------------------------------------------- fuzz


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_cubins_are_one_line(data: st.DataObject) -> None:
    cubin, listing = stored(SMALL)
    damaged = bytearray(cubin)
    for _ in range(data.draw(st.integers(1, 20))):
        header = data.draw(st.booleans())
        place = data.draw(st.integers(0, 0x3F if header else len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    try:
        decode_program(bytes(damaged), listing)
    except TcsimError as error:
        assert "\n" not in str(error)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_not_a_cubin(garbage: bytes) -> None:
    with pytest.raises(TcsimError):
        kernel_names(garbage)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_listings_are_one_line(data: st.DataObject) -> None:
    cubin, listing = stored(SMALL)
    index = data.draw(st.integers(0, len(listing.rows) - 1))
    guard, opcode, arguments, line = listing.rows[index]
    field = data.draw(st.integers(0, 2))
    text = [guard, opcode, arguments][field]
    at = data.draw(st.integers(0, len(text)))
    noise = data.draw(st.text(st.sampled_from("RUPTZ0123456789.,[]|~-+@!xcH "), max_size=4))
    changed = text[:at] + noise + text[at + data.draw(st.integers(0, 2)) :]
    row = tuple(changed if field == place else old for place, old in enumerate((guard, opcode, arguments)))
    rows = (*listing.rows[:index], (*row, line), *listing.rows[index + 1 :])
    try:
        decode_program(cubin, replace(listing, rows=rows))
    except TcsimError as error:
        assert "\n" not in str(error)
