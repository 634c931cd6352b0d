"""Which channel lies in which column, where every chunk of 256 rows would have its own order.

The residual stream is shared: a chunk's order cannot be folded into the weights that produce it, since other chunks'
rows pass through the same weights. It is applied where activations are quantized, for a price in time, or it is given
up for one order of all chunks, for a price in accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workloads.tender.decomposition import F64, Chunk, Format, align, classify, decompose
from workloads.tender.integer import linear, quantize_weights
from workloads.tender.layout import TAIL_EXPONENT
from workloads.tender.synthetic import sqnr_db

OUTPUTS = 64  # of the matmul whose error is measured


@dataclass(frozen=True)
class OrderAccuracy:
    """The error of a product with an order and groups per chunk, and with one order for all."""

    chunks: int
    own_db: float
    shared_db: float

    @property
    def lost_db(self) -> float:
        """What one order for all chunks loses."""
        return self.own_db - self.shared_db


def shared_order(own: Sequence[Chunk], maxima: Sequence[F64], how: Format) -> list[Chunk]:
    """Return chunks that all have the same groups, by the largest of each channel's magnitudes relative to its chunk's.

    ``maxima`` [k] are each chunk's largest magnitudes of its channels less their biases. A chunk keeps scales of its
    own, the smallest that clip nothing: a channel that is larger than its group is meant for makes all of them larger.
    """
    relative = np.max([each / max(each.max(), np.finfo(float).tiny) for each in maxima], axis=0)
    group = align(
        Chunk(np.zeros(len(relative)), classify(relative, 1.0, how), 1.0), how, how.step_channels
    ).group
    worth = float(how.alpha) ** group
    return [
        Chunk(chunk.bias, group, float((each * worth).max())) for chunk, each in zip(own, maxima, strict=True)
    ]


def order_accuracy(chunks: Sequence[F64], how: Format, seed: int = 0) -> OrderAccuracy:
    """Measure both on chunks of activations [chunk_rows, k], multiplied in integers by drawn weights."""
    x, k = np.vstack(chunks), chunks[0].shape[1]
    weight = np.random.default_rng(seed).standard_normal((OUTPUTS, k)) / k**0.5
    codes, exact = quantize_weights(weight, how.bits), x @ weight.T
    own = [decompose(chunk, how) for chunk in chunks]
    maxima = [np.abs(chunk - each.bias).max(axis=0) for chunk, each in zip(chunks, own, strict=True)]
    shared = shared_order(own, maxima, how)
    found = [sqnr_db(exact, linear(x, codes, how, known).y) for known in (own, shared)]
    return OrderAccuracy(len(chunks), *found)


def drifting_chunks(
    count: int, k: int, how: Format, drift_octaves: float, random: np.random.Generator
) -> list[F64]:
    """Draw chunks whose channels' magnitudes follow the outlier profile and differ from chunk to chunk.

    ``drift_octaves`` is the standard deviation of log2 of a channel's magnitude about its mean over the chunks; with 0
    all chunks have the same order but for chance. It is an assumption of the caller's, not of any model.
    """
    share = (np.arange(k) + 0.5) / k
    tail = np.minimum(share, 1 - share) * 2
    octaves = random.permutation(np.where(share < 0.5, 1.0, -1.0) * -np.log2(tail) / TAIL_EXPONENT)
    return [
        random.standard_normal((how.chunk_rows, k))
        * np.exp2(octaves + drift_octaves * random.standard_normal(k))
        for _ in range(count)
    ]
