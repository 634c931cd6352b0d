"""What Tender is compared with, behind one interface: X [m, k] and W [n, k] in floating point to Y [m, n]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from workloads.tender.decomposition import Format
from workloads.tender.integer import linear, quantize_weights

Real = npt.NDArray[np.floating[Any]]  # float64, or float32 where a whole model is multiplied
Matmul = Callable[[Real, Real], Real]
MX_BLOCK = 32  # elements that share a power-of-two scale (OCP Microscaling)
FP4_MAGNITUDES = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])  # E2M1
FP4_EXPONENT, INT8_EXPONENT = 2, 0  # of the largest power of two of an element
FLINT4 = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0])  # ANT's magnitudes of a signed 4-bit flint
POWERS4 = np.array([0.0, *2.0 ** np.arange(7)])
ABFLOAT4 = (
    np.array([48.0, 64.0, 96.0, 128.0, 192.0, 256.0, 384.0]) / 4
)  # OliVe's outliers, in units of an INT4 step
OUTLIER = 6.0  # LLM.int8(): channels with a magnitude beyond it stay in floating point


def symmetric(values: Real, bits: int, axis: int | None) -> Real:
    """Quantize to signed integers and back; one scale for what lies along ``axis``, or for all."""
    largest = 2 ** (bits - 1) - 1
    scale = np.maximum(np.abs(values).max(axis=axis, keepdims=True), 1e-30) / largest
    found: Real = np.rint(values / scale).clip(-largest, largest) * scale
    return found


def integer(bits: int, axis: int | None) -> Matmul:
    """Scales for X per tensor (None), row (1) or channel (0), for W per output.

    A scale per channel of X cannot leave the sum: it bounds what any decomposition can reach.
    """
    return lambda x, w: symmetric(x, bits, axis) @ symmetric(w, bits, 1).T


def smooth_quant(bits: int, strength: float = 0.5) -> Matmul:
    """SmoothQuant (arXiv:2211.10438): channels of X divided by s, W's multiplied; then per row and per output."""

    def multiply(x: Real, w: Real) -> Real:
        s = np.abs(x).max(axis=0) ** strength / np.maximum(np.abs(w).max(axis=0), 1e-9) ** (1 - strength)
        s = np.where(s > 0, s, 1.0)
        return symmetric(x / s, bits, 1) @ symmetric(w * s, bits, 1).T

    return multiply


def mixed_precision(bits: int) -> Matmul:
    """LLM.int8() (arXiv:2208.07339): channels with outliers in floating point, the rest per row and output."""

    def multiply(x: Real, w: Real) -> Real:
        kept = np.abs(x).max(axis=0) > OUTLIER
        rest = symmetric(x[:, ~kept], bits, 1) @ symmetric(w[:, ~kept], bits, 1).T if not kept.all() else 0.0
        product: Real = x[:, kept] @ w[:, kept].T + rest
        return product

    return multiply


def nearest(values: Real, magnitudes: Real) -> Real:
    """Round to the nearest of some magnitudes, with the sign; ties to the smaller."""
    magnitudes = magnitudes.astype(values.dtype)
    middles = (magnitudes[1:] + magnitudes[:-1]) / 2
    return np.copysign(magnitudes[np.searchsorted(middles, np.abs(values))], values)


def ant(values: Real, axis: int | None) -> Real:
    """ANT (arXiv:2208.14286), 4 bits: of integers, powers of two and flint, the type with the least squared error."""
    largest = np.maximum(np.abs(values).max(axis=axis, keepdims=True), 1e-30)
    candidates = [
        nearest(values / largest * magnitudes[-1], magnitudes) * largest / magnitudes[-1]
        for magnitudes in (np.arange(8.0), POWERS4, FLINT4)
    ]
    return min(candidates, key=lambda found: float(np.sum((found - values) ** 2)))


def olive(values: Real, axis: int | None, deviations: float = 3.0) -> Real:
    """OliVe (arXiv:2304.07493), 4 bits: an outlier takes its pair neighbour's code, which becomes zero."""
    scale = np.maximum(deviations * values.std(axis=axis, keepdims=True), 1e-30) / 7
    pairs = (values / scale).reshape(len(values), -1, 2)
    outlier = np.abs(pairs) > 7.5
    first = outlier[..., 0] & (np.abs(pairs[..., 0]) >= np.abs(pairs[..., 1]))
    second = outlier[..., 1] & ~first
    taken = np.stack((first, second), axis=-1)
    codes = np.where(taken, nearest(pairs, np.concatenate(([0.0], ABFLOAT4))), np.rint(pairs).clip(-7, 7))
    codes[taken[..., ::-1]] = 0.0
    found: Real = codes.reshape(values.shape) * scale
    return found


def microscaled(values: Real, magnitudes: Real | None) -> Real:
    """MXINT8, or MXFP4 with ``magnitudes`` (OCP Microscaling 1.0): blocks of 32 along K share a power of two."""
    m, k = values.shape
    blocks = np.pad(values, ((0, 0), (0, -k % MX_BLOCK))).reshape(m, -1, MX_BLOCK)
    largest = np.maximum(np.abs(blocks).max(axis=2, keepdims=True), 2.0**-126)
    exponent = np.floor(np.log2(largest)) - (INT8_EXPONENT if magnitudes is None else FP4_EXPONENT)
    scaled = blocks / 2.0**exponent
    rounded = np.rint(scaled * 64).clip(-127, 127) / 64 if magnitudes is None else nearest(scaled, magnitudes)
    found: Real = (rounded * 2.0**exponent).reshape(m, -1)[:, :k]
    return found


def tender(how: Format) -> Matmul:
    """Tender with scales from the activations at hand, by its integer path."""
    return lambda x, w: linear(x.astype(np.float64), quantize_weights(w.astype(np.float64), how.bits), how).y


BASELINES: Mapping[str, Matmul] = {
    **{f"int{bits} per tensor": integer(bits, None) for bits in (8, 4)},
    **{f"int{bits} per row": integer(bits, 1) for bits in (8, 4)},
    **{f"int{bits} per channel": integer(bits, 0) for bits in (8, 4)},
    **{f"SmoothQuant int{bits}": smooth_quant(bits) for bits in (8, 4)},
    "LLM.int8()": mixed_precision(8),
    "ANT 4 bit": lambda x, w: ant(x, None) @ ant(w, 1).T,
    "OliVe 4 bit": lambda x, w: olive(x, None) @ olive(w, 1).T,
    "MXINT8": lambda x, w: microscaled(x, None) @ microscaled(w, None).T,
    "MXFP4": lambda x, w: microscaled(x, FP4_MAGNITUDES) @ microscaled(w, FP4_MAGNITUDES).T,
    **{f"Tender int{bits}": tender(Format(bits=bits)) for bits in (8, 4)},
}


def signal_to_noise_db(exact: Real, approximate: Real) -> float:
    """Return the ratio of the signal's power to the error's, in dB; infinite without an error."""
    noise = float(np.sum((approximate - exact) ** 2))
    return float(10 * np.log10(np.sum(exact**2) / noise)) if noise else float("inf")
