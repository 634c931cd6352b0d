"""FLUTE: weights of 4, 3 or 2 bits that index a table of any values, with FP16 group scales and FP16 activations.

The format is that of FLUTE (arXiv:2407.10960): w = table[code] * scale. The kernel looks up two codes at a time, in a
table of pairs.

Packing: as for W4A16, W is the A operand of mma.m16n8k16; lane l, with g = l // 4 and t = l % 4, holds of each step
of 16 columns the pairs of codes (c, c + 1)
    pair 0: row g,     c = 2t          pair 2: row g,     c = 2t + 8
    pair 1: row g + 8, c = 2t          pair 3: row g + 8, c = 2t + 8
of a block of 16 rows (n) x 64 columns (k), the k blocks of one row block side by side. In a block:
* 4 bits: 16 bytes per lane; byte 4 * step + j is pair j, first | second << 4;
* 2 bits: 8 bytes per lane; byte 4 * (step // 2) + j has pair j, first | second << 2, at bit 4 * (step % 2);
* 3 bits: the low two bits of all codes as 2-bit codes (256 bytes), then the top bits (128 bytes): 4 bytes per lane,
  byte j has those of pair j, first | second << 1, at bit 2 * step.
So the index of a pair is 8, 4 or 6 bits (top bits above), and the table of pairs has 256, 16 or 64 entries.

Scales are [k / group, n / 16, 8, 2]: those of rows g and g + 8 side by side.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from workloads.schemes._tables import clips, learned_table, named_table, nearest_codes
from workloads.schemes.base import Array, Arrays, Option, Options, Scheme, check_weight
from workloads.shapes import check_multiple

BLOCK_N, BLOCK_K = 16, 64
_MAX_WEIGHT = float(np.finfo(np.float16).max)  # the largest weight of a group is its scale
_SMALLEST_SCALE = np.finfo(np.float16).smallest_subnormal
_ROWS_AT_ONCE = 256  # bounds the temporaries of quantization
Bytes = npt.NDArray[np.uint8]


class Flute(Scheme):
    """Table weights; operands ``codes`` uint8 [n, k], ``scales`` float16 [k / group, n], ``table`` float16 [2^bits]."""

    name = "flute"
    doc = (
        "4-, 3- or 2-bit indices of a table of FP16 values, group scales, FP16 activations, FP32 accumulation"
    )
    input_type = "f16"
    weight_bits = 4
    code_buffers = ("weights",)
    options = (
        Option("bits", 4, (4, 3, 2), "of a weight's index"),
        Option("group_size", 128, (32, 64, 128, 256, -1), "columns of K that share a scale; -1: all of them"),
        Option(
            "table", "normal", ("normal", "uniform", "learned"), "values: NormalFloat, equidistant, or fitted"
        ),
        Option("codes", "gaussian", ("gaussian", "random"), "of normal weights, or every code equally often"),
        Option(
            "lookup",
            "shared",
            ("shared", "lut_unit"),
            "in shared memory, or beside hypothetical tensor cores",
            measured=False,
        ),
    )

    def codes_matter(self, options: Options) -> bool:
        """Look-ups in shared memory meet in banks; those beside the tensor core take their time whatever the code."""
        return (
            options.get("lookup") != "lut_unit"
        )  # launches that were recorded before there was a choice name none

    def _check_shape(self, n: int, k: int, options: Options, where: str) -> None:
        check_multiple("K", k, BLOCK_K, "", where)
        check_multiple("K", k, _group(k, options), "the group size", where)
        check_multiple("N", n, BLOCK_N, "", where)

    def weight_bytes(self, n: int, k: int, options: Options) -> int:
        """Count the bits of the indices, two bytes per scale and four per pair of table entries."""
        bits = int(options["bits"])
        return n * k * bits // 8 + 2 * n * (k // _group(k, options)) + (4 << 2 * bits)

    def draw(self, generator: np.random.Generator, n: int, k: int, options: Options) -> Arrays:
        """Quantize normal weights, or draw the codes themselves."""
        if options["codes"] == "gaussian":
            return super().draw(generator, n, k, options)
        bits, groups = int(options["bits"]), k // _group(k, options)
        codes = generator.integers(0, 2**bits, (n, k), np.uint8)
        scales = np.full((groups, n), k**-0.5, np.float16)
        return {"codes": codes, "scales": scales, "table": named_table(str(options["table"]), bits)}

    def quantize(self, weight: Array, options: Options | None = None) -> Arrays:
        """Scale each group by its largest magnitude, or by less where that is nearer; take the nearest entries."""
        checked = self.check_options(options)
        check_weight(weight, _MAX_WEIGHT)
        n, k = weight.shape
        self.check_shape(1, n, k, checked)
        bits, groups, kind = int(checked["bits"]), k // _group(k, checked), str(checked["table"])
        table = learned_table(weight, groups, bits) if kind == "learned" else named_table(kind, bits)
        codes, scales = np.empty((n, k), np.uint8), np.empty((groups, n), np.float16)
        for first in range(0, n, _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            part = weight[rows].astype(np.float32).reshape(-1, groups, k // groups)
            chosen, best = _quantize_rows(part, table, clips(kind, bits))
            codes[rows], scales[:, rows] = chosen.reshape(-1, k), best.T
        return {"codes": codes, "scales": scales, "table": table}

    def dequantize(self, operands: Mapping[str, Array]) -> Array:
        """Return table[code] * scale in float64."""
        codes, scales = operands["codes"], operands["scales"]
        per_group = operands["table"].astype(np.float64)[codes].reshape(len(codes), len(scales), -1)
        weight: Array = per_group * scales.T.astype(np.float64)[:, :, None]
        return weight.reshape(codes.shape)

    def pack(self, operands: Mapping[str, Array]) -> Arrays:
        """Return ``weights`` uint8 [n/16, k/64, bytes of a block], ``scales`` and the ``table`` of pairs."""
        table = operands["table"]
        first, second = pair_codes(_bits(table))
        scales = operands["scales"].reshape(len(operands["scales"]), -1, 2, 8)
        return {
            "weights": pack_codes(operands["codes"], _bits(table)),
            "scales": np.ascontiguousarray(scales.transpose(0, 1, 3, 2)),
            "table": np.stack((table[first], table[second]), axis=1),
        }

    def unpack(self, arrays: Mapping[str, Array], n: int, k: int) -> Arrays:
        """Return codes [n, k], scales and table."""
        bits = (len(arrays["table"]).bit_length() - 1) // 2
        first, second = pair_codes(bits)
        table = np.empty(2**bits, np.float16)
        table[first[second == 0]] = arrays["table"][second == 0, 0]
        scales = arrays["scales"].reshape(-1, n // BLOCK_N, 8, 2).transpose(0, 1, 3, 2)
        return {
            "codes": unpack_codes(arrays["weights"], n, k, bits),
            "scales": np.ascontiguousarray(scales).reshape(-1, n),
            "table": table,
        }


def pair_codes(bits: int) -> tuple[Bytes, Bytes]:
    """Return the two codes of each entry of the table of pairs."""
    index = np.arange(4**bits)
    if bits == 3:
        first, second = (index & 3) | (index >> 4 & 1) << 2, (index >> 2 & 3) | (index >> 5) << 2
    else:
        first, second = index & (1 << bits) - 1, index >> bits
    return first.astype(np.uint8), second.astype(np.uint8)


def pack_codes(codes: Bytes, bits: int) -> Bytes:
    """Pack codes of [n, k] into the fragment order above: uint8 [n/16, k/64, 128 * bits]."""
    n, k = codes.shape
    #            n block,      +8, g,    k block,      step, +8, t, +1
    axes = (n // BLOCK_N, 2, 8, k // BLOCK_K, 4, 2, 4, 2)
    # to: n block, k block, lane (g, t), step, pair (+8 in k, +8 in n), first or second
    pairs = codes.reshape(axes).transpose(0, 3, 2, 6, 4, 5, 1, 7)
    pairs = pairs.reshape(n // BLOCK_N, k // BLOCK_K, 32, 4, 4, 2)
    if bits == 4:
        planes = [pairs[..., 0] | pairs[..., 1] << 4]
    else:
        low = pairs[..., 0] & 3 | (pairs[..., 1] & 3) << 2
        planes = [low[..., 0::2, :] | low[..., 1::2, :] << 4]
    if bits == 3:
        top = (pairs[..., 0] >> 2 | pairs[..., 1] >> 2 << 1) << np.arange(0, 8, 2, dtype=np.uint8)[:, None]
        planes.append(np.bitwise_or.reduce(top, axis=3))
    blocks = [plane.reshape(n // BLOCK_N, k // BLOCK_K, -1) for plane in planes]
    return np.ascontiguousarray(np.concatenate(blocks, axis=2))


def unpack_codes(packed: Bytes, n: int, k: int, bits: int) -> Bytes:
    """Invert ``pack_codes``."""
    blocks = packed.reshape(n // BLOCK_N, k // BLOCK_K, 128 * bits)
    pairs = np.empty((n // BLOCK_N, k // BLOCK_K, 32, 4, 4, 2), np.uint8)
    if bits == 4:
        index = blocks.reshape(pairs.shape[:-1])
        pairs[..., 0], pairs[..., 1] = index & 15, index >> 4
    else:
        low = blocks[..., :256].reshape(*pairs.shape[:3], 2, 4)
        for step in range(4):
            nibble = low[..., step // 2, :] >> 4 * (step % 2)
            pairs[..., step, :, 0], pairs[..., step, :, 1] = nibble & 3, nibble >> 2 & 3
    if bits == 3:
        top = blocks[..., 256:].reshape(*pairs.shape[:3], 1, 4) >> np.arange(0, 8, 2, dtype=np.uint8)[:, None]
        pairs[..., 0] |= (top & 1) << 2
        pairs[..., 1] |= (top >> 1 & 1) << 2
    ordered = pairs.reshape(n // BLOCK_N, k // BLOCK_K, 8, 4, 4, 2, 2, 2)
    return np.ascontiguousarray(ordered.transpose(0, 6, 2, 1, 4, 5, 3, 7)).reshape(n, k)


def _group(k: int, options: Options) -> int:
    """Return the columns that share a scale."""
    size = int(options["group_size"])
    return k if size == -1 else size


def _bits(table: Array) -> int:
    return len(table).bit_length() - 1


def _quantize_rows(weight: Array, table: Array, factors: tuple[float, ...]) -> tuple[Array, Array]:
    """Return codes of weight [rows, groups, columns] and scales [rows, groups]: of the factors the nearest one."""
    largest = np.abs(weight).max(axis=2)
    tried = [_quantize_by(weight, table, largest * np.float32(factor)) for factor in factors]
    best = np.argmin(np.stack([error for _, _, error in tried]), axis=0)
    codes, scales, _ = tried[0]
    for index in range(1, len(tried)):
        better = best == index
        codes[better], scales[better] = tried[index][0][better], tried[index][1][better]
    return codes, scales


def _quantize_by(weight: Array, table: Array, wanted: Array) -> tuple[Array, Array, Array]:
    """Return codes, the scales rounded to float16, and each group's squared error."""
    scales = np.maximum(wanted.astype(np.float16), _SMALLEST_SCALE)
    relative = weight / scales.astype(np.float32)[:, :, None]
    codes = nearest_codes(relative, table)
    error = ((table.astype(np.float32)[codes] - relative) ** 2).sum(axis=2) * scales.astype(np.float32) ** 2
    return codes, scales, error


SCHEME = Flute()
