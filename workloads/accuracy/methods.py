"""Every way to multiply that the accuracy study compares, behind one interface: X and W in float32 to Y in float32.

Integer and block formats quantize activations by what they hold at that moment (dynamic), weights per output or in
groups; none is trained, calibrated or clipped beyond what its own rule says. Quantized values are multiplied in
floating point, which is off by float32's rounding; Tender's sums are the integers of ``workloads.tender.integer``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType

import numpy as np

from sim.errors import unknown
from workloads.accuracy.arrays import F32, Real
from workloads.schemes.base import Options, get_scheme
from workloads.tender import attention, integer
from workloads.tender.baselines import BASELINES
from workloads.tender.decomposition import Format

LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Site:
    """A linear layer's place in its block, and what that says of its input: Tender treats them differently."""

    name: str
    signed: bool = True  # False: never negative (after a ReLU), so Tender's codes are unsigned
    centred: bool = True  # whether Tender subtracts each channel's middle first


Linear = Callable[[F32, F32, Site], F32]  # X [m, k], W [n, k]
HeadsMatmul = Callable[[F32, F32], F32]  # of all heads of one text


def plain(x: F32, w: F32, site: Site) -> F32:
    """Multiply in float32."""
    return x @ w.T


def plain_scores(q: F32, k: F32) -> F32:
    """Return Q K^T [heads, m, s] of Q [heads, m, d] and K [heads, s, d]."""
    return q @ k.transpose(0, 2, 1)


def plain_values(probabilities: F32, v: F32) -> F32:
    """Return P V [heads, m, d] of P [heads, m, s] and V [heads, s, d]."""
    return probabilities @ v


@dataclass(frozen=True)
class Method:
    """A number format for weights and activations, and how it multiplies."""

    name: str
    doc: str
    weight_bits: float  # of one stored weight, its share of scales included
    activation_bits: float
    linear: Linear = plain
    scores: HeadsMatmul = plain_scores
    values: HeadsMatmul = plain_values


@dataclass(frozen=True, eq=False)
class Affine:
    """Y = X W^T + b: W [n, k], b [n] if there is one."""

    weight: F32
    bias: F32 | None

    def apply(self, x: F32, method: Method, site: Site) -> F32:
        """Multiply as the method does."""
        y = method.linear(x, self.weight, site)
        return y if self.bias is None else y + self.bias


FP32 = Method("fp32", "float32: what the others are compared with", 32, 32)


def half(x: Real) -> F32:
    """Round to float16, the largest ones to its largest."""
    return np.clip(x, -LARGEST_HALF, LARGEST_HALF).astype(np.float16).astype(np.float32)


def _fp16(x: F32, w: F32, site: Site) -> F32:
    return half(x) @ half(w).T


def _baseline(name: str) -> Linear:
    multiply = BASELINES[name]
    return lambda x, w, site: multiply(x, w).astype(np.float32, copy=False)


def _stored(scheme_name: str, options: Options) -> Linear:
    """Multiply float16 activations by weights that one of the kernels' schemes stores."""
    scheme = get_scheme(scheme_name)

    def multiply(x: F32, w: F32, site: Site) -> F32:
        held = scheme.dequantize(scheme.quantize(w, options))
        return half(x) @ held.astype(np.float32).T

    return multiply


def _stored_bits(scheme_name: str, options: Options, size: int = 4096) -> float:
    scheme = get_scheme(scheme_name)
    return 8 * scheme.weight_bytes(size, size, scheme.check_options(options)) / size**2


# ------------------------------------------------------------------------------------- Tender

_TENDER = re.compile(r"tender_int(?P<bits>[4-8])_g(?P<groups>[1-9][0-9]?)(?P<everything>_all)?")


def tender_name(bits: int, groups: int, everything: bool = False) -> str:
    """Name Tender with so many groups; ``everything``: the matmuls of two activations, too."""
    return f"tender_int{bits}_g{groups}" + ("_all" if everything else "")


def tender(
    bits: int, groups: int, everything: bool = False, summing: integer.Summing = integer.accumulate_at_once
) -> Method:
    """Return Tender in its dynamic mode, with the integer sums of its hardware; ``accumulate`` runs step by step."""
    how = Format(bits=bits, groups=groups)

    def linear(x: F32, w: F32, site: Site) -> F32:
        return tender_output(x, w, site, how, summing).y.astype(np.float32)

    def scores(q: F32, k: F32) -> F32:
        heads = zip(q.astype(np.float64), k.astype(np.float64), strict=True)
        return _heads(attention.scores(*each, how, summing=summing) for each in heads)

    def values(probabilities: F32, v: F32) -> F32:
        heads = zip(probabilities.astype(np.float64), v.astype(np.float64), strict=True)
        return _heads(attention.values(*each, how, summing=summing) for each in heads)

    found = Method(
        tender_name(bits, groups, everything),
        f"Tender, {groups} groups of channels, INT{bits}" + (", attention too" if everything else ""),
        bits,
        bits,
        linear,
    )
    return replace(found, scores=scores, values=values) if everything else found


def tender_output(
    x: F32, w: F32, site: Site, how: Format, summing: integer.Summing = integer.accumulate_at_once
) -> integer.Output:
    """Return Tender's Y for a layer's input, with the count of sums that did not fit INT32."""
    weights = integer.quantize_weights(w.astype(np.float64), how.bits)
    own = replace(how, signed=site.signed, bias=site.centred)
    return integer.linear(x.astype(np.float64), weights, own, summing=summing)


def _heads(outputs: Iterable[integer.Output]) -> F32:
    return np.stack([each.y for each in outputs]).astype(np.float32)


# ------------------------------------------------------------------------------------- by name

_FP16 = Method("fp16", "FP16 weights and activations", 16, 16, _fp16)
_INTEGER = (
    ("per_tensor", "per tensor", "one scale for all activations"),
    ("per_row", "per row", "a scale per token"),
    ("per_channel", "per channel", "a scale per channel, which no integer matmul can have: a bound"),
)
_STORED: tuple[tuple[str, str, Options, str], ...] = (
    ("w4a16_g128", "w4a16", {}, "INT4 weights, a scale per 128"),
    ("nf4_g128", "flute", {}, "4-bit NormalFloat look-up table, a scale per 128"),
    ("lut3_g128", "flute", {"bits": 3}, "3-bit look-up table, a scale per 128"),
    ("bcq4_g128", "lut_gemm", {"fit": "binary"}, "4 binary-coded planes, scales per 128"),
    ("bcq3_g128", "lut_gemm", {"fit": "binary", "bits": 3}, "3 binary-coded planes, scales per 128"),
)
TENDER_GROUPS = 8  # of the methods compared by default; the published INT4 OPT-6.7B has as many


def _known() -> tuple[Method, ...]:
    integers = [
        Method(f"int{bits}_{name}", f"INT{bits}, {doc}", bits, bits, _baseline(f"int{bits} {key}"))
        for bits in (8, 4)
        for name, key, doc in _INTEGER
    ]
    smooth = [
        Method(
            f"smoothquant_int{bits}",
            f"SmoothQuant, INT{bits}",
            bits,
            bits,
            _baseline(f"SmoothQuant int{bits}"),
        )
        for bits in (8, 4)
    ]
    others = [
        Method("llm_int8", "INT8, channels with a magnitude above 6 in FP16", 8, 8, _baseline("LLM.int8()")),
        Method("ant4", "ANT, 4 bits of an adaptive type", 4, 4, _baseline("ANT 4 bit")),
        Method("olive4", "OliVe, 4 bits, outlier-victim pairs", 4, 4, _baseline("OliVe 4 bit")),
        Method("mxint8", "MXINT8, blocks of 32", 8.25, 8.25, _baseline("MXINT8")),
        Method("mxfp4", "MXFP4, blocks of 32", 4.25, 4.25, _baseline("MXFP4")),
    ]
    stored = [
        Method(name, doc, _stored_bits(scheme, options), 16, _stored(scheme, options))
        for name, scheme, options, doc in _STORED
    ]
    tenders = [tender(bits, TENDER_GROUPS, everything) for bits in (8, 4) for everything in (False, True)]
    return (_FP16, *integers, *smooth, *others, *tenders, *stored)


@cache
def methods() -> Mapping[str, Method]:
    """Return the methods that are compared by default, by name."""
    return MappingProxyType({each.name: each for each in _known()})


def method(name: str, where: str = "") -> Method:
    """Return a method; ``tender_intB_gG`` and ``tender_intB_gG_all`` exist for all B from 4 to 8 and G from 1 to 99."""
    if name in methods():
        return methods()[name]
    found = _TENDER.fullmatch(name)
    if not found:
        raise unknown("scheme", name, methods(), where)
    return tender(int(found["bits"]), int(found["groups"]), bool(found["everything"]))
