"""Register sets equal NVIDIA's own, and data dependence follows from them."""

from __future__ import annotations

import json
import lzma
import re

import pytest

from gpu_kernels.compile import compile_cuda, compiler, disassemble
from gpu_kernels.programs.store import FOLDER, load_stem
from sim.isa.dataflow import Dependence, data_dependence
from sim.isa.decode import decode_program
from sim.isa.opcodes import Kind, Op
from sim.isa.program import Program
from sim.isa.registers import Register, RegisterSets, register_sets
from sim.isa.synthetic import assemble
from tests.unit.isa.liveness import life_ranges

GLOBAL = [int(op) for op in (Op.LDG, Op.STG, Op.LDGSTS, Op.RED, Op.ATOMG)]


def stems() -> list[str]:
    """Return programs that together hold every opcode of the bundled ones."""
    chosen, seen = [], set[str]()
    for path in sorted(FOLDER.glob("*.listing.json.xz")):
        opcodes = {opcode for _, opcode, _, _ in json.loads(lzma.decompress(path.read_bytes()))["rows"]}
        if opcodes - seen:
            chosen.append(path.name.removesuffix(".listing.json.xz"))
            seen |= opcodes
    return chosen


def described(program: Program, pc: int) -> RegisterSets:
    return register_sets(program)[pc]


def descriptor(text: str) -> set[Register]:
    """Return the uniform pair of a memory descriptor, which has no meaning here."""
    found = re.search(r"desc\[UR(\d+)\]", text)
    return {(Kind.UREG, int(found[1])), (Kind.UREG, int(found[1]) + 1)} if found else set()


@pytest.mark.compile
@pytest.mark.parametrize("stem", stems())
def test_every_instruction_reads_and_writes_what_nvidia_says(stem: str) -> None:
    assert not disagreements(load_stem(stem))[:5]


def disagreements(program: Program) -> list[str]:
    """Return the instructions whose register sets are not NVIDIA's."""
    ranges = life_ranges(program.cubin)[program.name]
    wrong = []
    for pc, sets in enumerate(register_sets(program)):
        if 16 * pc not in ranges:
            assert program.text[pc] == "NOP", "only the padding at the end is not listed"
            continue
        defined, used = ranges[16 * pc]
        if program.opcode[pc] == int(Op.CALL):  # everything that lives is listed
            continue
        if program.opcode[pc] == int(Op.R2P):  # the predicates are not listed
            defined |= sets.writes
        if program.opcode[pc] == int(Op.LDGSTS):  # the zero-fill predicate is listed as defined too
            defined -= {register for register in sets.reads if register[0] == Kind.PRED}
        if program.opcode[pc] == int(Op.P2R):  # a predicate that nobody wrote is not listed
            used |= {register for register in sets.reads if register[0] == Kind.PRED}
        if (
            program.target < "sm_90" and program.opcode[pc] in GLOBAL
        ):  # the descriptor is used, but not printed
            used -= {register for register in used - sets.reads if register[0] == Kind.UREG}
        if (sets.writes, sets.reads | descriptor(program.text[pc])) != (
            defined,
            used | descriptor(program.text[pc]),
        ):
            wrong.append(
                f"{program.text[pc]}: writes {sorted(sets.writes ^ defined)}, reads {sorted(sets.reads ^ used)}"
            )
    return wrong


# What no bundled kernel holds yet: other types of wgmma, A from registers, copies of rows, stores
ASYNCHRONOUS = """
typedef unsigned u32; typedef unsigned long long u64;
struct alignas(64) Map { u64 words[16]; };
#define FOUR "{%0, %1, %2, %3}"
#define WGMMA(SHAPE, C, D, TAIL) asm volatile("{ .reg .pred p; setp.ne.b32 p, %6, 0;" \
    "wgmma.mma_async.sync.aligned." SHAPE FOUR ", %4, %5, p" TAIL ";}" \
    : C(D[0]), C(D[1]), C(D[2]), C(D[3]) : "l"(a), "l"(b), "r"(n))
#define WGMMA_R(SHAPE, C, D, TAIL) asm volatile("{ .reg .pred p; setp.ne.b32 p, %9, 0;" \
    "wgmma.mma_async.sync.aligned." SHAPE FOUR ", {%4, %5, %6, %7}, %8, p" TAIL ";}" \
    : C(D[0]), C(D[1]), C(D[2]), C(D[3]) : "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]), "l"(b), "r"(n))
extern "C" __global__ void __launch_bounds__(128) sample(const __grid_constant__ Map map, float* f, int* i, u64 a,
                                                         u64 b, int n, char* g) {
    float d[4]; int s[4]; u32 r[4]; int t = threadIdx.x;
    for (int j = 0; j < 4; j++) d[j] = f[128 * j + t], s[j] = i[128 * j + t], r[j] = i[128 * j + t + 512];
    asm volatile("wgmma.fence.sync.aligned;");
    WGMMA("m64n8k16.f32.bf16.bf16 ", "+f", d, ", 1, 1, 0, 0");
    WGMMA_R("m64n8k16.f32.f16.f16 ", "+f", d, ", 1, 1, 0");
    WGMMA("m64n8k32.s32.s8.s8 ", "+r", s, "");
    WGMMA_R("m64n8k32.s32.s8.s8 ", "+r", s, "");
    asm volatile("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;");
    for (int j = 0; j < 4; j++) f[128 * j + t] = d[j], i[128 * j + t] = s[j];
    extern __shared__ char memory[];
    u32 to = (u32)__cvta_generic_to_shared(memory), bar = to + 8192;
    if (t == 0) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(n));
        asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(n));
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                     ::"r"(to), "l"(g), "r"(n * 16), "r"(bar));
        asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                     " [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(to), "l"(&map), "r"(bar), "r"(n), "r"(n + 1), "r"(n + 2));
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint"
                     " [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(to), "l"(&map), "r"(bar), "r"(n), "r"(n + 1), "l"(a));
    }
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(n));
    asm volatile("bar.sync 1, 128;");
    if (t == 0) {
        asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];"
                     ::"l"(&map), "r"(to), "r"(n), "r"(n + 1));
        asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(g), "r"(to), "r"(n * 16));
        asm volatile("cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;");
        asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(bar));
    }
    __syncthreads();
    f[t + n] = memory[t];
}
"""


@pytest.mark.compile
def test_asynchronous_instructions_read_and_write_what_nvidia_says() -> None:
    """A sample of every asynchronous form decodes, and its register sets are NVIDIA's."""
    cubin = compile_cuda(ASYNCHRONOUS, "sample.cu")
    program = decode_program(cubin, disassemble(cubin, "sm_90a", compiler().version())["sample"])
    found = {Op(int(op)) for op in program.opcode}
    assert found >= {
        Op.HGMMA, Op.IGMMA, Op.TENSOR_LOAD, Op.TENSOR_STORE, Op.BULK_LOAD, Op.BULK_STORE, Op.MBARRIER_INIT,
        Op.MBARRIER_ARRIVE, Op.BAR,
    }  # fmt: skip
    assert program.mma_names == (
        "wgmma.m64n8k16.f32.bf16.ss", "wgmma.m64n8k16.f32.f16.rs", "wgmma.m64n8k32.s32.s8.rs",
        "wgmma.m64n8k32.s32.s8.ss",
    )  # fmt: skip
    assert not disagreements(program)


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
        ("USETMAXREG.TRY_ALLOC.CTAPOOL UP0, 0xe8", "", "UP0", ""),
        ("USETMAXREG.DEALLOC.CTAPOOL 0x28", "", "", ""),
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
