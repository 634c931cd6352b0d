"""The two matmuls of attention whose operands are both activations, with the terms that undo the biases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from workloads.tender.decomposition import F64, Format, chunks_of, decompose, quantize
from workloads.tender.integer import (
    INT32,
    Accumulator,
    Output,
    Summing,
    Weights,
    accumulate,
    linear,
    quantize_weights,
)


def scores(
    q: F64, keys: F64, how: Format, accumulator: Accumulator = INT32, summing: Summing = accumulate
) -> Output:
    """Return Q K^T of one head [m, s]: Q [m, d] decomposed over d, K [s, d] with a bias per d and a scale per token.

    With q = q' + a and k = k' + b (a: bias of Q's chunk, b: of K): q k = q' k' + a k + q b - a b. The first term
    runs in integers, the others in floating point, as in the authors' code.
    """
    b = (keys.max(axis=0) + keys.min(axis=0)) / 2
    centred = quantize_weights(keys - b, how.bits)
    rows, overflows = [], 0
    for chunk in chunks_of(q, how):
        own = decompose(chunk, how)
        result = summing(quantize(chunk, own, how), centred.codes, own, how, accumulator)
        product = result.sums * own.scales(how)[-1] * centred.scales
        rows.append(product + own.bias @ keys.T + (chunk @ b)[:, None] - own.bias @ b)
        overflows += result.overflows
    return Output(np.vstack(rows)[: len(q)], overflows)


def values(
    probabilities: F64, v: F64, how: Format, accumulator: Accumulator = INT32, summing: Summing = accumulate
) -> Output:
    """Return P V of one head: P [m, s] >= 0 in unsigned codes, decomposed over s; V [s, d] with a scale per column."""
    columns: Weights = quantize_weights(v.T, how.bits)
    return linear(probabilities, columns, replace(how, signed=False, bias=False), None, accumulator, summing)
