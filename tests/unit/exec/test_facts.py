"""What instructions compute, as NumPy and closed forms say it: conversions, matrix layouts, shuffles, atomics, bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.unit.exec import twins

pytestmark = pytest.mark.jit
Array = npt.NDArray[Any]
SHARED = 0x400  # where the CTA's shared memory starts


def run(lines: Sequence[str], registers: Mapping[int, Array], shared: Array | None = None) -> twins.Outcome:
    """Run lines with given registers (uint32[32] or any 32-bit array)."""
    rng = np.random.default_rng(0)
    launch = twins.launch_of(twins.program_of(lines), rng)
    start = twins.Start.random(rng)
    for number, value in registers.items():
        start.general[number] = np.ascontiguousarray(np.broadcast_to(value, 32)).view(np.uint32)
    if shared is not None:
        raw = np.ascontiguousarray(shared).view(np.uint8).reshape(-1)
        start.shared[: len(raw)] = raw
    return twins.run_executor(launch, start)


def test_every_half_converts_to_fp32() -> None:
    for block in np.arange(65536, dtype=np.uint16).reshape(-1, 32, 32):
        lines = [f"HADD2.F32 R{i}, -RZ, R{i}.H0_H0" for i in range(32)]
        out = run(lines, {i: block[i].astype(np.uint32) for i in range(32)}).general[:32].view(np.float32)
        np.testing.assert_array_equal(out, block.view(np.float16).astype(np.float32))


def rounding_cases() -> Array:
    """Every half, every midpoint of two halves, their FP32 neighbours, and what lies beyond the largest half."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middles = ((halves[:-1].astype(np.float64) + halves[1:]) / 2).astype(np.float32)
    beyond = np.array([65519.996, 65520, 65536, 1e30, np.inf, 1e-45, 2.0**-25, 2.0**-26], np.float32)
    values = np.concatenate(
        [halves, middles, np.nextafter(middles, 0), np.nextafter(middles, np.float32(1e9)), beyond]
    )
    values = np.concatenate([values, -values]).astype(np.float32)
    return np.resize(values, (-(-len(values) // 1280), 40, 32))


def test_fp32_rounds_to_half_to_nearest_even() -> None:
    for block in rounding_cases():
        lines = [f"F2FP.F16.F32.PACK_AB R{i}, RZ, R{i}" for i in range(40)]
        out = run(lines, {i: block[i] for i in range(40)}).general[:40]
        with np.errstate(over="ignore"):
            expected = block.astype(np.float16).view(np.uint16)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("suffix", ["", ".TRUNC", ".U32", ".U32.TRUNC"])
def test_fp32_converts_to_integers(suffix: str) -> None:
    values = np.array(
        [0.5, 1.5, 2.5, -0.5, -1.5, 2147483648.0, 4294967296.0, -3e9, np.nan, 1e-20, 1e20, -1e20], np.float32
    )
    values = np.resize(values, 32)
    out = run([f"F2I{suffix}.NTZ R1, R0"], {0: values}).general[1]
    exact = np.trunc(values.astype(np.float64)) if "TRUNC" in suffix else np.rint(values.astype(np.float64))
    low, high = (0, 2**32 - 1) if "U32" in suffix else (-(2**31), 2**31 - 1)
    expected = [0 if np.isnan(v) else int(min(max(v, low), high)) % 2**32 for v in exact]
    np.testing.assert_array_equal(out, expected)


def fragments(matrix: Array) -> list[Array]:
    """Cut a matrix of 16-bit numbers into registers as PTX lays out mma: 8x8 blocks, columns of blocks first."""
    rows, columns = matrix.shape
    blocks = [matrix[r : r + 8, c : c + 8] for c in range(0, columns, 8) for r in range(0, rows, 8)]
    return [np.ascontiguousarray(block).view(np.uint32).reshape(32) for block in blocks]


@pytest.mark.parametrize(
    "opcode", ["HMMA.16816.F32", "HMMA.1688.F32", "HMMA.16816.F16", "HMMA.16816.F32.BF16"]
)
def test_matrix_multiplication(opcode: str) -> None:
    depth = 8 if "1688" in opcode and "16816" not in opcode else 16
    rng = np.random.default_rng(1)
    a, b = rng.integers(-8, 9, (16, depth)) / 4, rng.integers(-8, 9, (depth, 8)) / 2
    c = rng.integers(-8, 9, (16, 8)).astype(np.float64)

    def packed(matrix: Array) -> list[Array]:
        if "BF16" in opcode:
            return fragments((matrix.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16))
        return fragments(matrix.astype(np.float16))

    half = opcode.endswith(".F16")
    accumulators = (
        packed(c) if half else list(c.reshape(2, 32, 2).transpose(0, 2, 1).reshape(4, 32).astype(np.float32))
    )
    registers = (
        dict(enumerate(packed(a))) | dict(enumerate(packed(b.T), 4)) | dict(enumerate(accumulators, 8))
    )
    out = run([f"{opcode} R12, R0, R4, R8"], registers).general[12:16]
    if half:
        result = out[:2].view(np.float16).reshape(16, 8)
    else:
        result = out.view(np.float32).reshape(2, 2, 32).transpose(0, 2, 1).reshape(16, 8)
    np.testing.assert_array_equal(result, a @ b + c)


@pytest.mark.parametrize("signs", ["SS", "SU", "US", "UU"])
@pytest.mark.parametrize(("bits", "depth"), [(8, 32), (8, 16), (4, 64), (4, 32)])
def test_integer_matrix_multiplication(bits: int, depth: int, signs: str) -> None:
    rng = np.random.default_rng(2)
    ranges = {"S": (-(2 ** (bits - 1)), 2 ** (bits - 1)), "U": (0, 2**bits)}
    a, b = rng.integers(*ranges[signs[0]], (16, depth)), rng.integers(*ranges[signs[1]], (depth, 8))
    c = rng.integers(-(2**31), 2**31, (16, 8)).astype(np.int32)
    words = depth * bits // 128  # registers that hold a row of eight lanes

    def packed(matrix: Array) -> list[Array]:
        """Cut rows of 4 words of neighbouring integers, the first in the lowest bits."""
        places = np.arange(32 // bits, dtype=np.uint64) * np.uint64(bits)
        fields = (matrix & (2**bits - 1)).astype(np.uint64).reshape(len(matrix), 4 * words, -1)
        rows = (fields << places).sum(axis=2).astype(np.uint32)
        blocks = [rows[r : r + 8, 4 * w : 4 * w + 4] for w in range(words) for r in range(0, len(rows), 8)]
        return [block.reshape(32) for block in blocks]

    accumulators = list(c.reshape(2, 32, 2).transpose(0, 2, 1).reshape(4, 32))
    registers = (
        dict(enumerate(packed(a))) | dict(enumerate(packed(b.T), 4)) | dict(enumerate(accumulators, 8))
    )
    opcode = f"IMMA.168{depth}.{signs[0]}{bits}.{signs[1]}{bits}"
    out = run([f"{opcode} R12, R0.ROW, R4.COL, R8"], registers).general[12:16]
    result = out.view(np.int32).reshape(2, 2, 32).transpose(0, 2, 1).reshape(16, 8)
    wide = a.astype(np.int64) @ b.astype(np.int64) + c
    np.testing.assert_array_equal(result, wide.astype(np.uint32).view(np.int32))


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_travel_between_registers_and_shared_memory(count: int, transposed: bool) -> None:
    matrices = np.arange(4 * 64, dtype=np.uint16).reshape(4, 8, 8)
    rows = np.random.default_rng(3).permutation(32)  # row r of the four matrices lies in line rows[r]
    lines = np.zeros((32, 8), np.uint16)
    lines[rows] = matrices.reshape(32, 8)
    size = {1: "", 2: ".2", 4: ".4"}[count]
    order = "MT88" if transposed else "M88"
    address = (SHARED + 16 * rows).astype(np.uint32)
    loaded = run([f"LDSM.16.{order}{size} R4, [R0]"], {0: address}, lines).general[4 : 4 + count]
    expected = matrices[:count].transpose(0, 2, 1) if transposed else matrices[:count]
    np.testing.assert_array_equal(loaded, np.ascontiguousarray(expected).view(np.uint32).reshape(count, 32))
    stored = run(
        [f"STSM.16.{order}{size} [R0], R4"],
        {0: address, **dict(enumerate(loaded, 4))},
        np.zeros(1024, np.uint8),
    )
    back = stored.shared[SHARED : SHARED + 512].view(np.uint16).reshape(32, 8)[rows].reshape(4, 8, 8)
    np.testing.assert_array_equal(back[:count], matrices[:count])


LANE = np.arange(32)


@pytest.mark.parametrize(
    ("opcode", "step", "clamp", "source"),
    [
        ("BFLY", 5, 0x1F, LANE ^ 5),
        ("DOWN", 3, 0x1F, np.where(LANE + 3 < 32, LANE + 3, LANE)),
        ("UP", 7, 0, np.where(LANE >= 7, LANE - 7, LANE)),
        ("IDX", 9, 0x1F, np.full(32, 9)),
        ("IDX", 3, 0x181F, LANE & 24 | 3),  # segments of eight lanes
        ("DOWN", 1, 0x1C1F, np.where(LANE % 4 < 3, LANE + 1, LANE)),
    ],
)
def test_shuffles(opcode: str, step: int, clamp: int, source: Array) -> None:
    out = run([f"SHFL.{opcode} P0, R1, R0, {step:#x}, {clamp:#x}"], {0: (100 + LANE).astype(np.uint32)})
    np.testing.assert_array_equal(out.general[1], 100 + source)
    inside = (source != LANE) | (opcode == "IDX") | (step == 0)
    np.testing.assert_array_equal(out.predicates[0], inside)


def test_votes() -> None:
    out = run(
        [
            "ISETP.LT.AND P1, PT, R0, 0x5, PT",
            "VOTE.ANY R1, P2, P1",
            "VOTE.ALL R2, P3, P1",
            "@P1 VOTE.ALL P4, P1",
        ],
        {0: LANE.astype(np.uint32)},
    )
    assert set(out.general[1]) == set(out.general[2]) == {0x1F}
    assert out.predicates[2].all() and not out.predicates[3].any() and out.predicates[4][:5].all()


def test_atomics_of_one_warp_add_up_in_lane_order() -> None:
    lines = ["ATOMS.ADD R1, [R2], R0", "ATOMS.POPC.INC.32 RZ, [R2+0x4]", "ATOMS.MAX.S32 R4, [R2+0x8], R5"]
    values = (LANE + 1).astype(np.uint32)
    out = run(lines, {0: values, 2: np.uint32(SHARED), 5: -values}, np.full(256, 0x80, np.uint8))
    words = out.shared[SHARED : SHARED + 12].view(np.uint32)
    base = 0x80808080
    np.testing.assert_array_equal(out.general[1], base + np.cumsum(values) - values)
    assert list(words) == [base + 528, base + 32, 0xFFFFFFFF]


def test_carries_of_64_bit_addition() -> None:
    low = np.array([0xFFFFFFFF, 0, 0x80000000, 5], np.uint32).repeat(8)
    out = run(
        ["IADD3 R2, P0, R0, R1, RZ", "IADD3.X R3, R4, R5, RZ, P0, !PT"], {0: low, 1: low, 4: low, 5: low}
    )
    wide = (low.astype(object) << 32 | low.astype(object)) * 2 % (1 << 64)
    np.testing.assert_array_equal(out.general[2], [int(v) & 0xFFFFFFFF for v in wide])
    np.testing.assert_array_equal(out.general[3], [int(v) >> 32 for v in wide])


@pytest.mark.parametrize(("opcode", "kind"), [("IMAD.WIDE", np.int32), ("IMAD.WIDE.U32", np.uint32)])
def test_wide_products_by_sign(opcode: str, kind: type) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 2**32, (2, 32), dtype=np.uint32)
    out = run([f"{opcode} R2, R0, R1, R4"], {0: a, 1: b, 4: np.uint32(7), 5: np.uint32(1)})
    exact = a.view(kind).astype(object) * b.view(kind).astype(object) + 7 + (1 << 32)
    np.testing.assert_array_equal(out.general[2], [int(v) & 0xFFFFFFFF for v in exact])
    np.testing.assert_array_equal(out.general[3], [int(v) >> 32 & 0xFFFFFFFF for v in exact])


@pytest.mark.parametrize("amount", [0, 1, 15, 31, 32, 33, 100])
def test_shifts_clamp_or_wrap(amount: int) -> None:
    value = np.uint32(0x81234567)
    lines = [
        "SHF.L.U32 R2, R0, R1, RZ",
        "SHF.R.U32.HI R3, RZ, R1, R0",
        "SHF.R.S32.HI R4, RZ, R1, R0",
        "SHF.L.W.U32.HI R5, R0, R1, R0",
    ]
    out = run(lines, {0: value, 1: np.uint32(amount)}).general[2:6, 0]
    clamped, turned = min(amount, 32), amount % 32
    expected = [
        (int(value) << clamped) & 0xFFFFFFFF,
        int(value) >> clamped,
        (int(value.view(np.int32)) >> clamped) & 0xFFFFFFFF,
        ((int(value) << turned) | (int(value) >> (32 - turned))) & 0xFFFFFFFF,
    ]
    assert list(out) == expected


@pytest.mark.parametrize("amount", [0, 1, 31, 32, 63, 64, 65, 1 << 31])
def test_shifts_of_pairs_clamp_to_64(amount: int) -> None:
    """As PTX says of shl.b64 and shr.{u,s}64: a shift by 64 or more leaves nothing but the sign."""
    low, high = 0x89ABCDEF, 0x81234567
    lines = [
        "SHF.L.U64.HI R3, R0, R1, R2",
        "SHF.L.S64.HI R4, R0, R1, R2",
        "SHF.R.U64 R5, R0, R1, R2",
        "SHF.R.S64 R6, R0, R1, R2",
        "SHF.L.W.U64.HI R7, R0, R1, R2",
    ]
    out = run(lines, {0: np.uint32(low), 1: np.uint32(amount), 2: np.uint32(high)}).general[3:8, 0]
    pair, clamped = high << 32 | low, min(amount, 64)
    left = pair << clamped >> 32 & 0xFFFFFFFF
    expected = [
        left,
        left,
        pair >> clamped & 0xFFFFFFFF,
        (pair - (1 << 64)) >> clamped & 0xFFFFFFFF,
        pair << amount % 64 >> 32 & 0xFFFFFFFF,
    ]
    assert list(out) == expected


def test_byte_permutation_picks_and_replicates_signs() -> None:
    lines = [
        "PRMT R2, R0, 0x7610, R1",
        "PRMT R3, R0, 0x8888, R1",
        "PRMT R4, R0, 0xba98, R1",
        "PRMT R5, R0, 0x0123, R1",
    ]
    out = run(lines, {0: np.uint32(0x817F0280), 1: np.uint32(0x44332211)}).general[2:6, 0]
    assert list(out) == [0x44330280, 0xFFFFFFFF, 0xFF0000FF, 0x80027F81]


def test_upper_words_of_shifted_pairs() -> None:
    low, high = np.uint32(0xC0000001), np.uint32(0x00000005)
    out = run(
        ["LEA.HI R2, R0, R3, R1, 0x2", "LEA.HI.X.SX32 R4, R0, R3, 0x2, PT"],
        {0: low, 1: high, 3: np.uint32(10)},
    )
    assert out.general[2, 0] == 0x17 + 10
    assert out.general[4, 0] == (0xFFFFFFFF + 10 + 1) & 0xFFFFFFFF
