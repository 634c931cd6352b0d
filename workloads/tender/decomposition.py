"""Tender's decomposition of activations (arXiv:2406.12930): channel bias, groups of power-of-alpha scales, row chunks.

Each rule is from the authors' released code (snu-comparch/Tender), which quantizes and dequantizes again; the integer
path of ``integer`` follows the paper's hardware.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sim.errors import ConfigError

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
ALPHAS = (2, 3, 4)
LEAST_SCALE = 1e-9  # as in the authors' code: a chunk of zeros needs some scale


@dataclass(frozen=True)
class Format:
    """How activations are quantized: ``bits`` of a code, groups, ratio of neighbouring scales, rows that share them."""

    bits: int = 8
    groups: int = 8
    alpha: int = 2
    chunk_rows: int = 256
    signed: bool = True
    bias: bool = True  # subtract each channel's middle first; unsigned codes go without
    step_channels: int = (
        1  # groups end at multiples of it: channels may get the next larger scale; see ``align``
    )

    def __post_init__(self) -> None:
        """Refuse what the hardware cannot do."""
        for name, value, allowed in (("bits", self.bits, range(2, 9)), ("alpha", self.alpha, ALPHAS)):
            if value not in allowed:
                raise ConfigError("", f"{name}: got {value}, allowed: {', '.join(map(str, allowed))}")
        counts = (
            ("groups", self.groups),
            ("chunk_rows", self.chunk_rows),
            ("step_channels", self.step_channels),
        )
        for name, value in counts:
            if value < 1:
                raise ConfigError("", f"{name}: got {value}, allowed: 1 or more")

    @property
    def largest(self) -> int:
        """The largest code."""
        return int(2 ** (self.bits - self.signed)) - 1

    @property
    def least(self) -> int:
        """The least code."""
        return -self.largest - 1 if self.signed else 0


@dataclass(frozen=True, eq=False)
class Chunk:
    """What is known of a chunk of rows: per channel a bias and a group 0..G-1, 0 of the largest scale; and TMax."""

    bias: F64  # [k]
    group: I64  # [k]
    tmax: float

    def scales(self, how: Format) -> F64:
        """Return the scale of each group, the largest first."""
        top = max(self.tmax / how.largest, LEAST_SCALE)
        return np.asarray(top / float(how.alpha) ** np.arange(how.groups), np.float64)

    def sizes(self, groups: int) -> tuple[int, ...]:
        """Return how many channels each group has."""
        return tuple(np.bincount(self.group, minlength=groups).tolist())

    @property
    def order(self) -> I64:
        """Channels in group order: the index buffer."""
        return np.argsort(self.group, kind="stable")


def chunks_of(x: F64, how: Format) -> list[F64]:
    """Cut X [m, k] into chunks of rows, the last one filled with zero rows as the authors' code does."""
    missing = -len(x) % how.chunk_rows
    filled = np.vstack((x, np.zeros((missing, x.shape[1]))))
    return np.split(filled, len(filled) // how.chunk_rows)


def classify(cmax: F64, tmax: float, how: Format) -> I64:
    """Return the g with TMax / alpha^(g+1) < CMax <= TMax / alpha^g of each channel; the last takes the rest."""
    thresholds = tmax / float(how.alpha) ** np.arange(1, how.groups)
    group: I64 = (cmax[:, None] <= thresholds).sum(axis=1)
    return group


def decompose(chunk: F64, how: Format) -> Chunk:
    """Decompose a chunk by what it holds (dynamic mode)."""
    bias = _bias(chunk, how)
    cmax = np.abs(chunk - bias).max(axis=0)
    tmax = float(cmax.max())
    return align(Chunk(bias, classify(cmax, tmax, how), tmax), how, how.step_channels)


def _bias(chunk: F64, how: Format) -> F64:
    if not (how.bias and how.signed):
        return np.zeros(chunk.shape[1])
    middle: F64 = (chunk.max(axis=0) + chunk.min(axis=0)) / 2
    return middle


def calibrate(samples: Iterable[F64], how: Format, round_down: bool = False) -> list[Chunk]:
    """Decompose each chunk position by samples [m, k] (static mode): mean of the biases, largest of the magnitudes.

    Magnitudes are taken with each sample's own bias, as the authors do, so a value may exceed TMax later and clip.
    ``round_down`` moves every channel one group down, where it may clip: their second candidate.
    """
    biases: list[list[F64]] = []
    largest: list[F64] = []
    for sample in samples:
        for position, chunk in enumerate(chunks_of(sample, how)):
            if position == len(biases):
                biases.append([])
                largest.append(np.zeros(chunk.shape[1]))
            bias = _bias(chunk, how)
            biases[position].append(bias)
            largest[position] = np.maximum(largest[position], np.abs(chunk - bias).max(axis=0))
    return [
        _static(np.mean(own, axis=0), cmax, how, round_down)
        for own, cmax in zip(biases, largest, strict=True)
    ]


def _static(bias: F64, cmax: F64, how: Format, round_down: bool) -> Chunk:
    tmax = float(cmax.max())
    group = classify(cmax, tmax, how)
    found = Chunk(bias, np.minimum(group + 1, how.groups - 1) if round_down else group, tmax)
    return align(found, how, how.step_channels)


def align(chunk: Chunk, how: Format, step: int) -> Chunk:
    """Move each border up to a multiple of ``step`` channels.

    Channels that cross it join the group of the next larger scale: nothing clips, their scale is coarser.
    """
    edges = np.cumsum((0, *chunk.sizes(how.groups)))
    moved = np.minimum(-(-edges // step) * step, len(chunk.group))
    group = np.empty_like(chunk.group)
    for number, (begin, end) in enumerate(pairwise(moved)):
        group[chunk.order[begin:end]] = number
    return Chunk(chunk.bias, group, chunk.tmax)


def quantize(chunk: F64, known: Chunk, how: Format) -> I64:
    """Return the codes of a chunk [rows, k], ties to even, clamped."""
    scales = known.scales(how)[known.group]
    codes: I64 = np.rint((chunk - known.bias) / scales).clip(how.least, how.largest).astype(np.int64)
    return codes
